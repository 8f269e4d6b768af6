r"""Gamma distributions with the Fisher metric: a surface of revolution.

A point is a `Gamma`, of a concentration (shape) k and a rate. In k and the logarithm of the mean
:math:`m = k / \lambda` the metric is

.. math:: ds^2 = \frac{k^2 \psi_1(k) - k}{k^2} \, dk^2 + k \, (d \log m)^2

with the trigamma function :math:`\psi_1`. The radius is the root of k. The curvature lies between
-1/4, for small k, and -1/2, for large k, where the family is that of normals.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import numpy as numpy_namespace

from infogeo import _array
from infogeo._array import POSITIVE, Array, Namespace
from infogeo._docs import finish
from infogeo._points import fill, tangents
from infogeo._spaces import Foreign, RawParameters
from infogeo._system.registry import storable
from infogeo.manifolds import _envelope
from infogeo.manifolds._family import Family, excess
from infogeo.manifolds._line import log_ratio
from infogeo.manifolds._revolution import Surface, connect, travel
from infogeo.manifolds._rotational import Exponential, Polar, Rotational
from infogeo.manifolds._special import (
    binet,
    binet_slope,
    digamma,
    trigamma,
    trigamma_excess,
    trigamma_excess_slope,
)

__all__ = ["Gamma", "Tangent"]

Fields = Sequence[Array]


@storable("Gamma")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Gamma(Family):
    r"""A batch of gamma distributions, of the density :math:`\propto x^{k - 1} e^{-\lambda x}`.

    Parameters
    ----------
    concentration : array, shape (...)
        The shape k, positive and finite.
    rate : array, shape (...)
        1 over the scale, positive and finite.
    check : bool

    Attributes
    ----------
    concentration, rate : array, shape (...)
        Of one shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError

    Notes
    -----
    Distances, maps and transports are solved for in float64 of numpy, whatever the library of the
    points, to a few roundoffs. On torch tensors the distance and its square have first
    derivatives, and maps have none.

    References
    ----------
    S. L. Lauritzen, Statistical manifolds, in Differential Geometry in Statistical Inference, 1987.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> round(float(manifolds.fisher_rao_distance(Gamma(1.0, 1.0), Gamma(2.0, 2.0))), 12)
    0.541277985276
    """

    concentration: Array
    rate: Array

    rules: ClassVar = {"concentration": POSITIVE, "rate": POSITIVE}

    def __init__(self, concentration: Any, rate: Any, *, check: bool = True):
        fill(self, check, concentration=concentration, rate=rate)


Tangent = storable("gamma.Tangent")(tangents(Gamma))


# ---------------------------------------------------------------- the surface


def _speed(k: np.ndarray) -> np.ndarray:
    # It is constant at both ends of the range of numbers.
    return 2.0 * np.sqrt(trigamma_excess(np.clip(k, 1e-300, 1e300), numpy_namespace))


def _turning(k: np.ndarray, speed: np.ndarray) -> np.ndarray:
    is_zero = k == 0.0
    return np.where(is_zero, -1.0, (speed - 2.0) / np.where(is_zero, 1.0, k))


_SURFACE = Surface(
    c=0.0,
    speed=_speed,
    excess=_turning,
    start=2.0,
    least=np.sqrt(2.0) * (1.0 - 1e-14),
    most=2.0 * (1.0 + 1e-14),
)


def _log_ratio_of_means(p: Fields, q: Fields, xp: Namespace) -> Array:
    """Return log(m_q / m_p); for near means from the exact difference of two quotients."""
    (k, rate), (l, other) = p, q
    by_logs = log_ratio(k, l, xp) - log_ratio(rate, other, xp)
    one = xp.ones_like(by_logs)
    is_near = (xp.abs(by_logs) < 0.2) & (xp.abs(log_ratio(k, l, xp)) < 300.0)
    by_shape, more = _quotient(xp.where(is_near, l, one), xp.where(is_near, k, one), xp)
    by_rate, more_by_rate = _quotient(
        xp.where(is_near, other, one), xp.where(is_near, rate, one), xp
    )
    change = ((by_shape - by_rate) + (more - more_by_rate)) / by_rate
    return xp.where(is_near, xp.log1p(change), by_logs)


def _quotient(x: Array, y: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return x / y and its rounding error: halves of the bits multiply exactly."""
    quotient = x / y
    num_bits = 1 - round(math.log2(float(xp.finfo(x.dtype).eps)))
    parts = []
    with _array.overflowing(xp):
        for number in (quotient, y):
            scaled = number * (2.0 ** ((num_bits + 1) // 2) + 1.0)
            high = scaled - (scaled - number)
            parts.append((high, number - high))
    (high, low), (other_high, other_low) = parts
    rest = ((x - high * other_high) - high * other_low - low * other_high) - low * other_low
    error = _array.detached(rest / y)
    return quotient, xp.where(xp.isfinite(error), error, xp.zeros_like(error))


def _polar(p: Fields, q: Fields) -> Polar:
    """Return roots of the concentrations, and logarithms of ratios."""
    xp = numpy_namespace
    angle = np.asarray(_log_ratio_of_means(p, q, xp))
    sign = np.where(angle < 0.0, -1.0, 1.0)[..., None]
    gap = 0.5 * np.asarray(log_ratio(p[0], q[0], xp))
    return Polar(np.sqrt(p[0]), np.sqrt(q[0]), gap, np.abs(angle), sign, sign)


def _placed(p: Fields, direction: np.ndarray, r: np.ndarray, angle: np.ndarray) -> Fields:
    """Return concentration and rate at a radius, for a mean that has turned by an angle."""
    k, rate = p
    with np.errstate(over="ignore", under="ignore"):
        ratio = (r / np.sqrt(k)) ** 2
        return k * ratio, rate * (ratio * np.exp(-direction[..., 0] * angle))


def _frame(p: Fields, v: Fields, xp: Namespace) -> Array:
    """Return the parts along dk and along d log m, of unit vectors."""
    (k, rate), (dk, drate) = p, v
    by_shape = dk / k
    along = xp.sqrt(trigamma_excess(k, xp)) * by_shape
    across = xp.sqrt(k) * (by_shape - drate / rate)
    return xp.stack(xp.broadcast_arrays(along, across), axis=-1)


def _unframed(p: Fields, x: Array, xp: Any) -> Fields:
    k, rate = p
    by_shape = x[..., 0] / xp.sqrt(trigamma_excess(k, xp))
    return k * by_shape, rate * (by_shape - x[..., 1] / xp.sqrt(k))


def _lowered(p: Fields, x: np.ndarray) -> np.ndarray:
    """Return the inner product of a vector with the unit vectors of the fields."""
    k, rate = p
    size = np.sqrt(trigamma_excess(k, numpy_namespace))
    across = x[..., 1] * np.sqrt(k)
    return np.stack([(x[..., 0] * size + across) / k, -across / rate], axis=-1)


def _curvature(p: Fields, xp: Namespace) -> tuple[Array, Array]:
    r"""Return :math:`-(1 - k f' / f) / 4 f`, with :math:`f = k^2 \psi_1 - k`."""
    f = trigamma_excess(p[0], xp)
    curvature = -0.25 * (1.0 - trigamma_excess_slope(p[0], xp) / f) / f
    return curvature, xp.zeros_like(curvature)


def _matrix(rows: list[list[Array]], xp: Namespace) -> Array:
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


def _information(p: Fields, xp: Namespace) -> Array:
    k, rate = p
    return _matrix([[trigamma(k, xp), -1.0 / rate], [-1.0 / rate, k / rate / rate]], xp)


def _christoffel(p: Fields, xp: Namespace) -> Array:
    """Return half the third derivatives of the log-partition, by the inverse information."""
    k, rate = p
    f = trigamma_excess(k, xp)
    mean = k / rate
    third = -1.0 - (2.0 * f - trigamma_excess_slope(k, xp)) / k  # k^2 psi_2
    of_k, of_rate = 0.5 * third / f, 0.5 * (1.0 / k + 1.0 / f)
    mixed = 0.5 * (mean / f)
    return xp.stack(
        [
            _matrix([[of_k, mixed], [mixed, -mixed * mean]], xp),
            _matrix([[of_k / mean, of_rate], [of_rate, -1.0 / rate - mixed]], xp),
        ],
        axis=-3,
    )


# ---------------------------------------------------------------- the exponential family


def _log_minus_digamma(k: Array, xp: Namespace) -> Array:
    return 0.5 / k - binet_slope(k, xp)


def _inverse_log_minus_digamma(gap: Array, xp: Namespace) -> Array:
    """Return the k at which log k - psi(k) is a positive number.

    On logarithmic scales its slope varies slowly, so that Newton's method needs few steps. The
    last one passes derivatives on.
    """
    fixed = _array.detached(gap)
    # Within a few per cent: 1 / gap for small k, 1 / (2 gap) for large k.
    root = xp.hypot(fixed - 3.0, 24.0**0.5 * xp.sqrt(fixed))
    is_large = fixed < 3.0
    k = xp.where(is_large, (3.0 - fixed + root) / fixed / 12.0, 2.0 / (fixed - 3.0 + root))
    for _ in range(4):
        k = k * _step(k, fixed, xp)
    return k * _step(k, gap, xp)


def _step(k: Array, gap: Array, xp: Namespace) -> Array:
    """Return the factor of a Newton step for the logarithms."""
    value = _log_minus_digamma(k, xp)
    return xp.exp((k * value / trigamma_excess(k, xp)) * xp.log(value / gap))


def _of_mean_and_gap(mean: Array, gap: Array, xp: Namespace) -> tuple[Array, Array]:
    k = _inverse_log_minus_digamma(gap, xp)
    return k, k / mean


def _m_mean(p: Fields, weights: Array, axis: int, xp: Namespace) -> Fields:
    """Return the gamma distribution that has the mean of x and of log x.

    What log of the mean exceeds the mean of log by is a sum of terms that are not negative.
    """
    k, rate = p
    logs = xp.log(k) - xp.log(rate)
    used = xp.where(weights > 0.0, logs, -math.inf + 0.0 * weights)
    top = _array.detached(xp.max(used, axis=axis, keepdims=True))
    unit = xp.exp(0.5 * top)  # its square is the largest mean, which may be no number
    means = k / unit / (rate * unit)
    mean = _mean(means, weights, axis, xp)
    whole = xp.expand_dims(mean, axis=axis)
    is_number = means > 1e4 * float(xp.finfo(k.dtype).tiny)
    near = log_ratio(whole, xp.where(is_number, means, xp.ones_like(means)), xp)
    spread = excess(xp.where(is_number, near, logs - top - xp.log(whole)), xp)
    gap = _mean(spread + _log_minus_digamma(k, xp), weights, axis, xp)
    k, unit = _inverse_log_minus_digamma(gap, xp), xp.squeeze(unit, axis=axis)
    return k, k / unit / mean / unit


def _mean(x: Array, weights: Array, axis: int, xp: Namespace) -> Array:
    return xp.sum(weights * xp.where(weights > 0.0, x, xp.zeros_like(x)), axis=axis)


def _estimate(x: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return what has the mean of the samples and of their logarithms."""
    mean = xp.mean(x, axis=0)
    return _of_mean_and_gap(mean, xp.mean(excess(log_ratio(mean, x, xp), xp), axis=0), xp)


def _m_moved(p: Fields, q: Fields, v: Fields, xp: Namespace) -> Fields:
    """Return the vector that moves the means of x and of log x as much."""
    (k, rate), (l, other), (dk, drate) = p, q, v
    by_shape = dk / k
    log_mean = by_shape - drate / rate  # velocity of log m
    moved = log_mean * (k / l) * (other / rate)
    change = log_mean - moved + trigamma_excess(k, xp) / k * by_shape
    by_shape = change * l / trigamma_excess(l, xp)
    return l * by_shape, other * (by_shape - moved)


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)  # on [-1, 1]


def _kl_of_ratios(k: Array, y: Array, z: Array, xp: Namespace) -> Array:
    """Return KL from a concentration k, for log ratios y of concentrations and z of means."""
    is_near, zero = xp.abs(y) < 1.0, xp.zeros_like(y)
    step = xp.where(is_near, y, zero)
    kind = {"dtype": y.dtype, "device": _array.device_of(y)}
    share, rest = (xp.asarray(0.5 * (1.0 + s * _NODES), **kind) for s in (1, -1))
    weights, steps = xp.asarray(0.5 * _WEIGHTS, **kind), step[..., None]
    f = trigamma_excess(k[..., None] * xp.exp(share * steps), xp)
    near = xp.sum(weights * f * _array.expm1(rest * steps, xp), axis=-1)
    far = xp.where(is_near, zero, y)
    reached, other = _array.times_exp(k, y, xp), _array.times_exp(k, far, xp)
    bend = binet(other, xp) - binet(k, xp) - (other - k) * binet_slope(k, xp)
    of_shape = xp.where(is_near, step * near, 0.5 * excess(far, xp) + bend)
    is_less = z < -50.0  # far below the first mean: the power of e alone counts, and may overflow
    by_mean = xp.where(
        is_less,
        _array.times_exp(k, xp.where(is_less, y - z, zero), xp),
        reached * excess(xp.where(is_less, zero, -z), xp),
    )
    return of_shape + by_mean


def _kl(p: Fields, q: Fields, xp: Namespace) -> Array:
    return _kl_of_ratios(p[0], log_ratio(p[0], q[0], xp), _log_ratio_of_means(p, q, xp), xp)


def _from_middle(p: Fields, q: Fields, share: float, xp: Namespace) -> tuple[Array, Array]:
    """Return the divergences from the point between two, by differences that are kept."""
    (k, rate), (l, other) = p, q
    middle = share * k + (1.0 - share) * l
    between = share * rate + (1.0 - share) * other
    z = _log_ratio_of_means(p, q, xp)

    def divergence(at: Fields, step: Array, rise: Array) -> Array:
        """Return that to the point at which the middle is after a step, by how its mean rises."""
        is_near, zero = xp.abs(rise) < 0.5, xp.zeros_like(rise)
        near = -xp.log1p(xp.where(is_near, rise, zero))
        z = xp.where(is_near, near, _log_ratio_of_means((middle, between), at, xp))
        return _kl_of_ratios(middle, -log_ratio(at[0], middle, xp, difference=step), z, xp)

    rest = 1.0 - share
    return (
        divergence(p, rest * (l - k), rest * (other / between) * _array.expm1(z, xp)),
        divergence(q, share * (k - l), share * (rate / between) * _array.expm1(-z, xp)),
    )


_EXPONENTIAL = Exponential(
    natural=(lambda p, xp: (p[0], -p[1]), lambda theta, xp: (theta[0], -theta[1])),
    expectation=(
        lambda p, xp: (digamma(p[0], xp) - xp.log(p[1]), p[0] / p[1]),
        lambda eta, xp: _of_mean_and_gap(eta[1], xp.log(eta[1]) - eta[0], xp),
    ),
    e_mean=lambda p, weights, axis, xp: tuple(_mean(x, weights, axis, xp) for x in p),
    m_mean=_m_mean,
    e_moved=lambda p, q, v, xp: tuple(x + xp.zeros_like(p[0] + q[0]) for x in v),
    m_moved=_m_moved,
    kl=_kl,
    from_middle=_from_middle,
)


# ---------------------------------------------------------------- logarithms


def _log_lengths(z, xp):
    """Return the logarithms of the Fisher lengths of d log k and of d log m."""
    log_k = _array.clip(z[0], xp, min=-80.0, max=80.0)  # beyond, the length is constant
    return 0.5 * xp.log(trigamma_excess(xp.exp(log_k), xp)), 0.5 * z[0]


def _raw_arc(z: Any, w: Any) -> Any:
    (log_k, log_m), (log_l, log_n) = z, w
    turn = log_n - log_m
    arc = connect(
        _SURFACE, np.exp(0.5 * log_k), np.exp(0.5 * log_l), 0.5 * (log_l - log_k), np.abs(turn)
    )
    return arc, np.where(turn < 0.0, -1.0, 1.0)


def _raw_slopes(log_k: np.ndarray, length: np.ndarray, direction: Any, sign: Any) -> np.ndarray:
    """Return a vector of a length, by its products with d log k and d log m."""
    radial = 0.5 * _speed(np.exp(log_k)) * direction[0]
    return np.stack([length * radial, length * sign * direction[1] * np.exp(0.5 * log_k)], axis=-1)


def _raw_solve(a: np.ndarray, b: np.ndarray, _: bool) -> tuple[np.ndarray, ...]:
    z, w = ((x[..., 0], x[..., 1]) for x in (a, b))
    arc, sign = _raw_arc(z, w)
    return (
        arc.length**2,
        _raw_slopes(z[0], -2.0 * arc.length, arc.start, sign),
        _raw_slopes(w[0], 2.0 * arc.length, arc.end, sign),
    )


def _raw_distance(z, w, xp):
    """Return the distance by the logarithms."""
    a, b = (xp.stack(xp.broadcast_arrays(*x), axis=-1) for x in (z, w))
    if _envelope.needs_gradient(a, b):
        return _array.safe_sqrt(_envelope.squared_distance(a, b, _raw_solve, xp), xp)
    arc, _ = _raw_arc(*([_envelope.to_host(x) for x in y] for y in (z, w)))
    return _envelope.as_like(arc.length, a, xp)


def _raw_geodesic(z, w, t, xp):
    """Return points of the shortest path, from the first end; in float64 of numpy."""
    start, end = ([_envelope.to_host(x) for x in y] for y in (z, w))
    arc, sign = _raw_arc(start, end)
    share = _envelope.to_host(t)
    share = share.reshape((*share.shape, *(1,) * arc.length.ndim))
    journey = travel(_SURFACE, np.exp(0.5 * start[0]), arc.start, share * arc.length)
    path = 2.0 * np.log(journey.r), start[1] + sign * journey.angle
    return tuple(_envelope.as_like(x, z[0], xp) for x in path)


# ---------------------------------------------------------------- the space


def _log_density(a: Gamma, x: Any) -> Any:
    from scipy.special import gammaln, xlogy

    k, rate = a.concentration, a.rate
    return k * np.log(rate) - gammaln(k) + xlogy(k - 1.0, x) - rate * x


def _window(a: Gamma) -> np.ndarray:
    """Return the x up to four standard deviations above the means."""
    most = np.max((a.concentration + 4.0 * np.sqrt(a.concentration)) / a.rate)
    return np.linspace(most / 400.0, most, 400)


SPACE = Rotational(
    POINTS=Gamma,
    TANGENTS=Tangent,
    surface=lambda p: _SURFACE,
    frame=_frame,
    unframed=_unframed,
    lowered=_lowered,
    polar=_polar,
    placed=_placed,
    curvature=_curvature,
    information=_information,
    christoffel=_christoffel,
    exponential=_EXPONENTIAL,
    DISTRIBUTIONS={
        "torch.distributions.Gamma": ("concentration", "rate"),
        "scipy.stats.gamma": Foreign(
            ("a", "scale"), lambda a, scale: (a, 1.0 / scale), lambda k, rate: (k, 1.0 / rate)
        ),
        "scipy.stats.erlang": Foreign(("a", "scale"), lambda a, scale: (a, 1.0 / scale)),
        "scipy.stats.chi2": Foreign(("df", "scale"), lambda df, s: (0.5 * df, 0.5 / s)),
    },
    log_density=_log_density,
    window=_window,
    SAMPLES=POSITIVE,
    estimate=_estimate,
    RAW=RawParameters(
        ("logarithms of concentrations", "logarithms of means"),
        _log_lengths,
        _raw_distance,
        _raw_geodesic,
    ),
)


finish(globals())
