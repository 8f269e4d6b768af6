r"""Multinomial distributions of a fixed number of trials: a simplex of another size.

A point is a `Multinomial`, of a number of trials, which all points of one call share, and
probabilities. The metric is :math:`n \sum_i dp_i^2 / p_i`.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from infogeo import _array, simplex
from infogeo._array import PROBABILITIES, UNIT_INTERVAL, Array, Namespace
from infogeo._docs import finish
from infogeo._points import fill, make, tangents
from infogeo._spaces import Foreign
from infogeo._system.registry import storable
from infogeo.manifolds import _family
from infogeo.manifolds._counts import COUNTS, WHOLE
from infogeo.manifolds._family import Family

__all__ = ["Multinomial", "Tangent"]


@storable("Multinomial")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Multinomial(Family):
    r"""A batch of multinomial distributions: how often each outcome occurs in a number of trials.

    Parameters
    ----------
    total_count : array, shape (...)
        The number n of trials, a positive integer: the same for all points of one call.
    probs : array, shape (..., c)
        Probabilities along the last axis.
    check : bool

    Attributes
    ----------
    total_count, probs : array
        Of one batch shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> from infogeo import manifolds
    >>> a, b = Multinomial(4, [1.0, 0.0, 0.0]), Multinomial(4, [0.0, 0.0, 1.0])
    >>> round(float(manifolds.fisher_rao_distance(a, b)), 12)
    6.28318530718
    """

    total_count: Array
    probs: Array

    rules: ClassVar = {"total_count": WHOLE, "probs": PROBABILITIES}
    constants: ClassVar = ("total_count",)

    def __init__(self, total_count: Any, probs: Any, *, check: bool = True):
        fill(self, check, total_count=total_count, probs=probs)


Tangent = storable("multinomial.Tangent")(tangents(Multinomial))


class _Space:
    """The simplex, whose metric is multiplied by the number of trials."""

    POINTS = Multinomial
    TANGENTS = Tangent
    REFUSED = _family.NO_SOLVE
    SAMPLES = replace(COUNTS, axes=("...", "outcomes"))
    DISTRIBUTIONS: ClassVar = {
        "torch.distributions.Multinomial": Foreign(
            ("total_count", "probs"), from_fields=lambda n, p: (int(n.reshape(-1)[0]), p)
        ),
        "scipy.stats.multinomial": Foreign(
            ("n", "p"), from_fields=lambda n, p: (np.rint(n).astype(int), p)
        ),
    }

    def estimate(self, x: Array, xp: Namespace, count: Array) -> tuple[Array]:
        """Return the mean shares of the outcomes."""
        return (xp.mean(x, axis=0) / count,)

    def draw(self, a: Multinomial, size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Return samples, by numpy."""
        return rng.multinomial(np.rint(a.total_count).astype(int), a.probs, size=size)

    def log_density(self, a: Multinomial, x: Any) -> Any:
        """Return the logarithm of the probability of a table of counts."""
        from scipy.special import gammaln, xlogy

        orders = gammaln(a.total_count + 1.0) - np.sum(gammaln(x + 1.0), axis=-1)
        return orders + np.sum(xlogy(x, a.probs), axis=-1)

    def dimension(self, a: Any, *, check: bool = True) -> int:
        """Return the number of outcomes, less 1."""
        _family.gated(self, check, a=a)
        return int(a.probs.shape[-1]) - 1

    def fisher_rao_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return sqrt n times the distance on the simplex."""
        return self._times("fisher_rao_distance", 0.5, check, a=a, b=b)

    def fisher_rao_squared_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return n times the squared distance on the simplex, smooth at a = b."""
        return self._times("fisher_rao_squared_distance", 1.0, check, a=a, b=b)

    def kl_divergence(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return n times the divergence of one trial."""
        return self._times("kl_divergence", 1.0, check, a=a, b=b)

    def jeffreys_divergence(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return n times the divergence of one trial."""
        return self._times("jeffreys_divergence", 1.0, check, a=a, b=b)

    def renyi_divergence(self, a: Any, b: Any, *, order: float, check: bool = True) -> Array:
        """Return n times the divergence of one trial."""
        _, (count,), (p,), (q,) = _family.gated(self, check, a=a, b=b)
        return _array.as_number(count * simplex.renyi_divergence(p, q, order=order, check=False))

    def fisher_information(self, a: Any, *, check: bool = True) -> Array:
        """Return n times that of one trial, in the probabilities without the last."""
        _, (count,), (p,) = _family.gated(self, check, a=a)
        return count[..., None, None] * simplex.fisher_information(p, check=check)

    def christoffel_symbols(self, a: Any, *, check: bool = True) -> Array:
        """Return those of the simplex, in the probabilities without the last."""
        _, _, (p,) = _family.gated(self, check, a=a)
        return simplex.christoffel_symbols(p, check=check)

    def sectional_curvature(self, a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
        """Return 1 / 4 n, of whatever plane."""
        xp, (count,), (p,), (u,), (v,) = _family.gated(self, check, a=a, u=u, v=v)
        return _array.as_number(0.25 / count + xp.zeros_like(xp.sum(p + u + v, axis=-1)))

    def natural_parameters(self, a: Any, *, check: bool = True) -> Array:
        """Return the logarithms of the probabilities, less their mean."""
        _, _, (p,) = _family.gated(self, check, a=a)
        return simplex.natural_parameters(p, check=False)

    def expectation_parameters(self, a: Any, *, check: bool = True) -> Array:
        """Return the mean counts of the outcomes, without the last."""
        _, (count,), (p,) = _family.gated(self, check, a=a)
        return count[..., None] * simplex.expectation_parameters(p, check=False)

    def inner_product(self, a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
        """Return n times the inner product on the simplex."""
        return self._times("inner_product", 1.0, check, a=a, u=u, v=v)

    def norm(self, a: Any, v: Any, *, check: bool = True) -> Array:
        """Return sqrt n times the norm on the simplex."""
        return self._times("norm", 0.5, check, a=a, v=v)

    def hellinger_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the root of 1 minus the power n of the affinity of one trial."""
        xp, log_affinity = self._log_affinity(a, b, check)
        return _array.as_number(_array.safe_sqrt(-_array.expm1(log_affinity, xp), xp))

    def bhattacharyya_coefficient(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the power n of the affinity of one trial."""
        xp, log_affinity = self._log_affinity(a, b, check)
        return _array.as_number(xp.exp(log_affinity))

    def fisher_rao_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return the geodesic of the simplex."""
        return self._along("fisher_rao_geodesic", a, b, t, check)

    def e_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return the e-geodesic of the simplex."""
        return self._along("e_geodesic", a, b, t, check)

    def m_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return the m-geodesic of the simplex."""
        return self._along("m_geodesic", a, b, t, check)

    def exp_map(self, a: Any, v: Any, *, check: bool = True) -> Any:
        """Return the point that the geodesic with velocity v reaches at time 1."""
        xp, constants, (p,), (v,) = _family.gated(self, check, a=a, v=v)
        return _family.point_of(self, (simplex.exp_map(p, v, check=check),), constants, xp)

    def log_map(self, a: Any, b: Any, *, check: bool = True) -> Any:
        """Return the velocity at a of the geodesic that reaches b at time 1."""
        _, _, (p,), (q,) = _family.gated(self, check, a=a, b=b)
        return make(Tangent, simplex.log_map(p, q, check=check))

    def parallel_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return the transport of the simplex."""
        return self._moved("parallel_transport", a, b, v, check)

    def e_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return the transport of the simplex by the e-connection."""
        return self._moved("e_transport", a, b, v, check)

    def m_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return the transport of the simplex by the m-connection."""
        return self._moved("m_transport", a, b, v, check)

    def e_mean(self, points: Any, *, weights: Any = None, axis: int = 0, check: bool = True) -> Any:
        """Return the mean in the natural parameters."""
        return self._mean("e_mean", points, weights, axis, check)

    def m_mean(self, points: Any, *, weights: Any = None, axis: int = 0, check: bool = True) -> Any:
        """Return the mean of the probabilities."""
        return self._mean("m_mean", points, weights, axis, check)

    def _log_affinity(self, a: Any, b: Any, check: bool) -> tuple[Namespace, Array]:
        xp, (count,), (p,), (q,) = _family.gated(self, check, a=a, b=b)
        squared = simplex.hellinger_distance(p, q, check=False) ** 2
        is_near, zero = squared < 0.5, xp.zeros_like(squared)
        near = xp.log1p(-xp.where(is_near, squared, zero))
        far = _array.safe_log(simplex.bhattacharyya_coefficient(p, q, check=False), xp)
        return xp, count * xp.where(is_near, near, far)

    def _times(self, name: str, exponent: float, check: bool, **given: Any) -> Array:
        """Return a number of the simplex times a power of the number of trials."""
        _, (count,), *groups = _family.gated(self, check, **given)
        value = getattr(simplex, name)(*(x for (x,) in groups), check=False)
        return _array.as_number(count**exponent * value)

    def _along(self, name: str, a: Any, b: Any, t: Any, check: bool) -> Any:
        xp, constants, (p,), (q,), t = _family.gated(self, check, a=a, b=b, t=(UNIT_INTERVAL, t))
        path = getattr(simplex, name)(p, q, t, check=check)
        return _family.point_of(self, (path,), constants, xp)

    def _moved(self, name: str, a: Any, b: Any, v: Any, check: bool) -> Any:
        _, _, (p,), (q,), (v,) = _family.gated(self, check, a=a, b=b, v=v)
        return make(Tangent, getattr(simplex, name)(p, q, v, check=check))

    def _mean(self, name: str, points: Any, weights: Any, axis: int, check: bool) -> Any:
        xp, constants, (p,), weights = _family.gated_mean(self, check, points, weights, axis)
        mean = getattr(simplex, name)(p, weights=weights, axis=axis, check=check)
        return _family.point_of(self, (mean,), constants, xp)


SPACE = _Space()


finish(globals())
