r"""Inverse Gaussian distributions with the Fisher metric: one side of a half-plane.

A point is an `InverseGaussian`, of a mean and a concentration. The metric is

.. math:: ds^2 = \frac{\lambda}{\mu^3} d\mu^2 + \frac{d\lambda^2}{2 \lambda^2}

that of the normals of mean :math:`2 / \sqrt \mu` and standard deviation
:math:`1 / \sqrt \lambda`: those of positive mean, so that some geodesics leave the family.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo import _array
from infogeo._array import NEGATIVE, POSITIVE, UNIT_INTERVAL, Array, Namespace
from infogeo._docs import finish
from infogeo._points import fill, make, tangents
from infogeo._spaces import Foreign
from infogeo._system.registry import storable
from infogeo.manifolds import _family
from infogeo.manifolds._family import Family, excess
from infogeo.manifolds._half_plane import Fields, HalfPlane
from infogeo.manifolds._line import log_ratio, power, renyi_of_rates

__all__ = ["InverseGaussian", "Tangent"]


@storable("InverseGaussian")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class InverseGaussian(Family):
    r"""A batch of inverse Gaussian distributions.

    .. math:: p(x) = \sqrt{\frac{\lambda}{2 \pi x^3}}
              e^{-\lambda (x - \mu)^2 / 2 \mu^2 x}, \qquad x > 0

    Parameters
    ----------
    mean : array, shape (...)
        Means, positive and finite.
    concentration : array, shape (...)
        Positive and finite; the variance is mean^3 / concentration.
    check : bool

    Attributes
    ----------
    mean, concentration : array, shape (...)
        Of one shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError

    Notes
    -----
    It says when a Brownian motion with drift first reaches a level. scipy's
    ``invgauss(mu, scale=s)`` is that of mean mu s and concentration s.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> a, b = InverseGaussian(1.0, 2.0), InverseGaussian(5.0, 0.7)
    >>> round(float(manifolds.fisher_rao_distance(a, b)), 12)
    1.364251396325
    """

    mean: Array
    concentration: Array

    rules: ClassVar = {"mean": POSITIVE, "concentration": POSITIVE}

    def __init__(self, mean: Any, concentration: Any, *, check: bool = True):
        fill(self, check, mean=mean, concentration=concentration)


Tangent = storable("inverse_gaussian.Tangent")(tangents(InverseGaussian))


# ---------------------------------------------------------------- divergences


def _kl(p: Fields, q: Fields, xp: Namespace) -> Array:
    """Return that of the concentrations, and lambda' (mu - mu')^2 / 2 mu mu'^2."""
    root = xp.sqrt(q[1]) / xp.sqrt(p[0]) * ((q[0] - p[0]) / q[0])
    return 0.5 * (excess(log_ratio(p[1], q[1], xp), xp) + root * root)


def _renyi(p: Fields, q: Fields, order: float, xp: Namespace) -> Array:
    r"""Return half that of the rates lambda, and a term of the means.

    With the means S, T and M of lambda, lambda / mu^2 and lambda / mu, of the weights n and 1 - n,
    the second term is sqrt(S T) - M, over 1 - n: that is :math:`n \lambda \lambda' (1 / \mu -
    1 / \mu')^2` divided by sqrt(S T) + M.
    """
    rest, is_less = 1.0 - order, p[0] <= q[0]
    by_rate = renyi_of_rates(log_ratio(p[1], q[1], xp), order, xp)
    (m, k), (n, h) = (
        [xp.where(is_less, *x) for x in zip(*y, strict=True)] for y in ((p, q), (q, p))
    )
    share = xp.where(is_less, order + 0.0 * m, rest + 0.0 * m)  # of the one with the smaller mean
    other = 1.0 - share
    # Fourth roots of S and T, and the roots of S T and of M, none of which overflows.
    roots = [xp.sqrt(w * x) for w, x in ((share, k), (other, h))]
    quarters = [xp.sqrt(x) / xp.sqrt(mu) for x, mu in zip(roots, (m, n), strict=True)]
    top = xp.maximum(*quarters)
    low = xp.minimum(*quarters) / top
    of_t = top * xp.sqrt(xp.sqrt(1.0 + low * low * (low * low)))
    of_s = xp.sqrt(xp.hypot(*roots))
    means = xp.hypot(*(x / xp.sqrt(mu) for x, mu in zip(roots, (m, n), strict=True)))
    unit = xp.hypot(of_s * of_t, means)
    root = (xp.sqrt(k) / xp.sqrt(m) / unit) * (xp.sqrt(h) / xp.sqrt(m)) * ((n - m) / n)
    return 0.5 * by_rate + order * root * root


def _log_affinity(p: Fields, q: Fields, xp: Namespace) -> Array:
    """Return minus the logarithm of the Bhattacharyya coefficient."""
    return 0.5 * _renyi(p, q, 0.5, xp)


# ---------------------------------------------------------------- e- and m-geometry


def _e_mix(p: Any, weights: Any, total: Any, xp: Namespace) -> tuple[Array, Array]:
    """Return the fields of weighted means of the natural parameters, by a function that sums."""
    concentration = total(weights, p[1])
    return xp.sqrt(concentration / total(weights, p[1] / p[0] / p[0])), concentration


def _m_mix(p: Any, weights: Any, total: Any, xp: Namespace) -> tuple[Array, Array]:
    """Return the fields of weighted means of x and 1 / x."""
    mean, whole = total(weights, p[0]), total(weights, 1.0 / p[1])
    return mean, 1.0 / (whole + total(weights, ((mean - p[0]) / mean) ** 2 / p[0]))


def _geodesic(mix: Any) -> Any:
    def geodesic(a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        xp, _, p, q, t = _family.gated(SPACE, check, a=a, b=b, t=(UNIT_INTERVAL, t))
        pairs = [xp.stack(xp.broadcast_arrays(x, y)) for x, y in zip(p, q, strict=True)]
        pairs = [x[:, *(None,) * t.ndim, ...] for x in pairs]
        t = _array.as_leading(t, pairs[0][0, *(0,) * t.ndim, ...], xp)
        weights = xp.stack([1.0 - t, t])
        fields = mix(pairs, weights, lambda w, x: xp.sum(w * x, axis=0), xp)
        return make(InverseGaussian, *fields, xp=xp)

    return geodesic


def _mean(mix: Any) -> Any:
    def mean(points: Any, *, weights: Any = None, axis: int = 0, check: bool = True) -> Any:
        xp, _, p, weights = _family.gated_mean(SPACE, check, points, weights, axis)
        p = tuple(_array.with_axis_moved(x, int(axis), 0, xp) for x in p)
        weights = _array.with_axis_moved(weights, int(axis), 0, xp)
        fields = mix(p, weights, lambda w, x: xp.sum(w * x, axis=0), xp)
        return make(InverseGaussian, *fields, xp=xp)

    return mean


def _e_transport(a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
    """Keep the velocities of the natural parameters, of lambda and of lambda / mu^2."""
    xp, _, (m, k), (n, h), v = _family.gated(SPACE, check, a=a, b=b, v=v)
    slope = v[1] / m / m - 2.0 * (k / m / m) * (v[0] / m)
    return make(Tangent, 0.5 * (n / h) * (v[1] - slope * n * n), v[1], xp=xp)


def _m_transport(a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
    """Keep the velocities of the means of x and of 1 / x."""
    xp, _, (m, k), (n, h), v = _family.gated(SPACE, check, a=a, b=b, v=v)
    whole = v[0] * (1.0 / n - 1.0 / m) * (1.0 / n + 1.0 / m)
    return make(Tangent, v[0], h * h * (v[1] / k / k - whole), xp=xp)


def _natural_parameters(a: Any, *, check: bool = True) -> tuple[Array, Array]:
    """Return the factors of x and of 1 / x in the logarithm of the density."""
    _, _, (mean, concentration) = _family.gated(SPACE, check, a=a)
    return -0.5 * concentration / mean / mean, -0.5 * concentration


def _from_natural_parameters(theta_1: Any, theta_2: Any, *, check: bool = True) -> Any:
    xp, theta_1, theta_2 = _array.gate(
        check, theta_1=(NEGATIVE, theta_1), theta_2=(NEGATIVE, theta_2)
    )
    return InverseGaussian(xp.sqrt(theta_2 / theta_1), -2.0 * theta_2, check=check)


def _expectation_parameters(a: Any, *, check: bool = True) -> tuple[Array, Array]:
    """Return the means of x and of 1 / x."""
    _, _, (mean, concentration) = _family.gated(SPACE, check, a=a)
    return mean, 1.0 / mean + 1.0 / concentration


def _from_expectation_parameters(eta_1: Any, eta_2: Any, *, check: bool = True) -> Any:
    _, eta_1, eta_2 = _array.gate(check, eta_1=(POSITIVE, eta_1), eta_2=(POSITIVE, eta_2))
    return InverseGaussian(eta_1, 1.0 / (eta_2 - 1.0 / eta_1), check=check)


# ---------------------------------------------------------------- the space


def _log_density(a: InverseGaussian, x: Any) -> Any:
    z = (x - a.mean) / a.mean
    return 0.5 * np.log(a.concentration / (2.0 * np.pi * x**3)) - 0.5 * a.concentration * z * z / x


def _estimate(x: Array, xp: Namespace) -> tuple[Array, Array]:
    mean = xp.mean(x, axis=0)
    return mean, 1.0 / xp.mean(((x - mean) / mean) ** 2 / x, axis=0)


SPACE = HalfPlane(
    POINTS=InverseGaussian,
    TANGENTS=Tangent,
    metric=lambda xp: (1.0, 0.0, 2.0),
    location=power(-0.5, 2.0),
    scale=power(-0.5),
    DISTRIBUTIONS={
        "scipy.stats.invgauss": Foreign(
            ("mu", "scale"), lambda mu, s: (mu * s, s), lambda mean, k: (mean / k, k)
        ),
        "scipy.stats.wald": Foreign(("scale",), lambda s: (s, s)),
    },
    log_density=_log_density,
    window=lambda a: np.linspace(0.01, 4.0, 400) * float(np.max(a.mean)),
    SAMPLES=POSITIVE,
    estimate=_estimate,
    kl=_kl,
    log_affinity=_log_affinity,
    renyi=_renyi,
    more={
        "e_geodesic": _geodesic(_e_mix),
        "m_geodesic": _geodesic(_m_mix),
        "e_mean": _mean(_e_mix),
        "m_mean": _mean(_m_mix),
        "e_transport": _e_transport,
        "m_transport": _m_transport,
        "natural_parameters": _natural_parameters,
        "from_natural_parameters": _from_natural_parameters,
        "expectation_parameters": _expectation_parameters,
        "from_expectation_parameters": _from_expectation_parameters,
    },
)


finish(globals())
