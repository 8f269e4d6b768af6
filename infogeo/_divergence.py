"""Divergences from probabilities and an accurate log-ratio: shared by `simplex` and `logits`.

The arguments are normalised p and q and ratio = log(p / q) with all its digits, +-inf where one of
the two is 0 and 0 where both are. Every sum has terms that are not negative, so that near points
keep their digits: KL(p, q) is not sum p log(p / q), whose terms cancel, but
sum p (exp(-ratio) - 1 + ratio).
"""

import math
from collections.abc import Callable

from infogeo._array import Array, Namespace, bad_value, clip


def alpha(p: Array, q: Array, ratio: Array, order: float, xp: Namespace) -> Array:
    """Return 4 / (1 - order^2) sum(a p + b q - p^a q^b), a = (1 - order) / 2, b = 1 - a."""
    if order > 0.0:  # exchange the roles: the limit b -> 0 is the one that the formulas allow
        p, q, ratio, order = q, p, -ratio, -order
    a, b = 0.5 * (1.0 - order), 0.5 * (1.0 + order)
    zero = xp.zeros_like(ratio)
    is_near, is_above = xp.abs(ratio) < 1.0 / max(1.0, abs(b)), ratio > 0.0
    is_below = (ratio < 0.0) & (p > 0.0)
    # Three forms of p (expm1(-e) - expm1(-b e) / b) / a, e = log(p / q): near 0, e > 0, e < 0.
    e = xp.where(is_near, ratio, zero)
    near = p * (expm1_minus(-e, xp) - _scaled(lambda y: expm1_minus(y, xp), -e, b, 0.0)) / a
    e = xp.where(is_above, ratio, zero)
    grown = _scaled(lambda y: expm1(y, xp), -e, b, -e)
    above = xp.where(is_above, p, zero + 1.0) * (xp.expm1(-e) - grown) / a
    e = xp.where(is_below, ratio, zero)
    below = (q - p - p * _scaled(lambda y: expm1(y, xp), -e, b, -e)) / a
    terms = xp.where(is_near, near, xp.where(is_above, above, xp.where(is_below, below, q / a)))
    return xp.sum(xp.where((p == 0.0) & (q == 0.0), xp.zeros_like(terms), terms), axis=-1)


def kullback_leibler(p: Array, q: Array, ratio: Array, xp: Namespace) -> Array:
    """Return sum p log(p / q)."""
    return alpha(p, q, ratio, -1.0, xp)


def jeffreys(p: Array, q: Array, ratio: Array, xp: Namespace) -> Array:
    """Return sum (p - q) log(p / q)."""
    size = xp.abs(ratio)
    is_infinite = size == xp.inf
    size = xp.where(is_infinite, xp.ones_like(size), size)
    terms = xp.where(ratio > 0.0, p, q) * -xp.expm1(-size) * size
    return xp.sum(xp.where(is_infinite, size + xp.inf, terms), axis=-1)


def renyi(p: Array, q: Array, log_p: Array, ratio: Array, order: float, xp: Namespace) -> Array:
    """Return 1 / (order - 1) log sum p^order q^(1 - order), order >= 0."""
    if order == 1.0:
        return kullback_leibler(p, q, ratio, xp)
    nothing = xp.full_like(ratio, -xp.inf)
    if order == math.inf:
        return xp.max(xp.where(log_p > -xp.inf, ratio, nothing), axis=-1)
    in_p, zero = log_p > -xp.inf, xp.zeros_like(ratio)
    exponent = xp.where(in_p, log_p, zero) + (order - 1.0) * xp.where(in_p, ratio, zero)
    exponent = xp.where(in_p, exponent, nothing)
    far = log_sum_exp(exponent, xp)
    if order == 0.0:
        return clip(-far, xp, min=0.0)
    if order > 1e4:
        return far / (order - 1.0)
    # The sum is 1 - order (1 - order) D: near 1 the divergence D has the digits.
    deficit = (1.0 - order) * order * alpha(p, q, ratio, 1.0 - 2.0 * order, xp)
    is_near = xp.abs(deficit) < 0.5
    near = xp.log1p(-xp.where(is_near, deficit, xp.zeros_like(deficit)))
    return xp.where(is_near, near, far) / (order - 1.0)


def checked_order(order: float) -> float:
    """Return the order of a Renyi divergence, which has to lie in [0, inf]."""
    try:
        number = float(order)
    except (TypeError, ValueError):
        raise TypeError(f"order must be a number: got {order!r}.") from None
    if not number >= 0.0:
        raise bad_value("order", "lie in [0, inf]", f"got {order!r}")
    return number


def log_sum_exp(x: Array, xp: Namespace) -> Array:
    """Return log sum exp over the last axis for rows that may be all -inf or hold +inf."""
    top = xp.max(x, axis=-1, keepdims=True)
    is_finite = xp.abs(top) < xp.inf
    shifted = xp.where(is_finite, x - xp.where(is_finite, top, xp.zeros_like(top)), x)
    total = xp.sum(xp.exp(xp.where(is_finite, shifted, xp.zeros_like(x))), axis=-1)
    return xp.squeeze(top, axis=-1) + xp.log(total)


def expm1(y: Array, xp: Namespace) -> Array:
    """Return exp(y) - 1, inf without a warning where it overflows."""
    overflows = y > math.log(xp.finfo(y.dtype).max)
    return xp.where(overflows, xp.inf, xp.expm1(xp.where(overflows, xp.zeros_like(y), y)))


def expm1_minus(y: Array, xp: Namespace) -> Array:
    """Return exp(y) - 1 - y for |y| <= 1, to full relative precision."""
    total = xp.full_like(y, 1.0 / math.factorial(19))
    for k in range(18, 1, -1):
        total = total * y + 1.0 / math.factorial(k)
    return total * y * y


def _scaled(function: Callable[[Array], Array], y: Array, b: float, limit: Array | float) -> Array:
    """Return function(b y) / b, its limit for b = 0."""
    return limit if b == 0.0 else function(b * y) / b
