r"""Differences of the gamma function's logarithm and derivative, which near arguments keep exact.

A function of x between a and a + d is split into logarithms, whose differences are known, and a
remainder. For near arguments the remainder is an integral of one sign, by Gauss' rule.
"""

import numpy as np

from infogeo import _array
from infogeo._array import Array, Namespace
from infogeo.manifolds import _special

_NODES, _WEIGHTS = (x.tolist() for x in np.polynomial.legendre.leggauss(12))


Triple = tuple[Array, Array, Array]


def with_sums(a: Array, b: Array, xp: Namespace) -> tuple[Triple, Triple]:
    """Return a, b and b - a, and the sums of each over the last axis, kept."""
    d = b - a
    total_a, total_b, total = (xp.sum(x, axis=-1, keepdims=True) for x in (a, b, d))
    return (a, b, d), (total_a, total_b, total)


def log_shift(a: Array, b: Array, d: Array, xp: Namespace) -> Array:
    """Return log b - log a of positive numbers, to the relative precision of d = b - a."""
    is_near, one = xp.abs(d) < 0.5 * a, xp.ones_like(a)
    near = xp.log1p(xp.where(is_near, d, 0.0 * one) / a)
    far = xp.log(xp.where(is_near, one, b)) - xp.log(xp.where(is_near, one, a))
    return xp.where(is_near, near, far)


def digamma_rest(a: Array, b: Array, d: Array, xp: Namespace) -> Array:
    """Return what digamma(b) - digamma(a) is beyond the difference of the logarithms."""
    is_near, one = xp.abs(d) < 0.5 * a, xp.ones_like(a)
    (ratio, density), _, weights = _between(a, xp.where(is_near, d, 0.0 * one), xp)
    near = d / a / a * xp.sum(weights * ratio * ratio * density, axis=0)
    x, y = xp.where(is_near, one, a), xp.where(is_near, one, b)
    # Half the difference of 1 / x, and that of the slope of Binet's function.
    far = 0.5 * (y - x) / x / y + _special.binet_slope(y, xp) - _special.binet_slope(x, xp)
    return xp.where(is_near, near, far)


def mean_logarithms(a: Array, xp: Namespace) -> Array:
    """Return digamma(a_i) - digamma(S) of concentrations along the last axis and their sum S.

    S is a_i and the sum of the others, which is no difference: a share near 1 keeps its digits.
    """
    zero = xp.zeros_like(a[..., :1])
    before, behind = (
        xp.concat([zero, xp.cumulative_sum(x[..., :-1], axis=-1)], axis=-1)
        for x in (a, xp.flip(a, axis=-1))
    )
    others = before + xp.flip(behind, axis=-1)
    total = a + others
    return -log_shift(a, total, others, xp) - digamma_rest(a, total, others, xp)


def excess_fall(log_a: Array, gap: Array, xp: Namespace) -> Array:
    """Return f(a) - f(a exp gap) of f(a) = a^2 psi_1(a) - a, which falls; to digits of the gap."""
    is_near, zero = gap < 0.5, xp.zeros_like(gap)
    like = {"dtype": gap.dtype, "device": _array.device_of(gap)}
    nodes, weights = (xp.asarray(v, **like) for v in (_NODES, _WEIGHTS))
    short = xp.where(is_near, gap, zero)[..., None]
    slopes = _special.trigamma_excess_slope(
        xp.exp(log_a[..., None] + 0.5 * (nodes + 1.0) * short), xp
    )
    near = -short[..., 0] * xp.sum(0.5 * weights * slopes, axis=-1)
    ends = (_special.trigamma_excess(xp.exp(x), xp) for x in (log_a, log_a + gap))
    low, high = ends
    return xp.where(is_near, near, low - high)


def bregman_rest(a: Array, b: Array, d: Array, xp: Namespace) -> Array:
    r"""Return the Bregman divergence from a to b of :math:`\log \Gamma(x) - x \log x + x`.

    It is not negative, as the second derivative is :math:`\psi_1(x) - 1 / x`.
    """
    is_near, one = xp.abs(d) < 0.5 * a, xp.ones_like(a)
    shift = xp.where(is_near, d, 0.0 * one)
    (ratio, density), left, weights = _between(a, shift, xp)
    near = (shift / a) ** 2 * xp.sum(weights * left * ratio * ratio * density, axis=0)
    x, y = xp.where(is_near, one, a), xp.where(is_near, one, b)
    change = y / x - 1.0
    far = (
        0.5 * (change - log_shift(x, y, y - x, xp)) + _special.binet(y, xp) - _special.binet(x, xp)
    )
    return xp.where(is_near, near, far - (y - x) * _special.binet_slope(x, xp))


def _between(a: Array, d: Array, xp: Namespace) -> tuple[tuple[Array, Array], Array, Array]:
    """Return a / x and x^2 psi_1(x) - x at the nodes x between, what is left, and weights."""
    like = {"dtype": a.dtype, "device": _array.device_of(a)}
    column = (-1, *(1,) * len(d.shape))  # d has the batch axes of both ends
    nodes, weights = (xp.reshape(xp.asarray(v, **like), column) for v in (_NODES, _WEIGHTS))
    t = 0.5 * (nodes + 1.0)
    ratio = 1.0 / (1.0 + t * (d / a))
    return (ratio, _special.trigamma_excess(a / ratio, xp)), 1.0 - t, 0.5 * weights
