"""Divergences from probabilities and an accurate log-ratio: shared by `simplex` and `logits`.

The arguments are normalised p and q, log p, and ratio = log(p / q) with all its digits, +-inf where
one of the two is 0 and 0 where both are. Every sum has terms that are not negative, so that near
points keep their digits: KL(p, q) is not sum p log(p / q), whose terms cancel, but
sum p (exp(-ratio) - 1 + ratio).

Automatic differentiation sees every branch only where it is taken, so that none of its derivatives
is NaN. A divergence that is infinite has the gradient 0.
"""

import math
from collections.abc import Callable

import numpy as np

from infogeo import _array
from infogeo._array import Array, Namespace, bad_value


def alpha(p: Array, q: Array, log_p: Array, ratio: Array, order: float, xp: Namespace) -> Array:
    """Return 4 / (1 - order^2) sum(a p + b q - p^a q^b), a = (1 - order) / 2, b = 1 - a."""
    if order > 0.0:  # exchange the roles: the limit b -> 0 is the one that the formulas allow
        is_finite = xp.abs(ratio) < xp.inf
        log_q = log_p - xp.where(is_finite, ratio, xp.zeros_like(ratio))
        log_q = xp.where(is_finite, log_q, _array.safe_log(q, xp))
        p, q, log_p, ratio, order = q, p, log_q, -ratio, -order
    b = 0.5 * (1.0 + order)
    if b == 0.0:
        return kullback_leibler(p, q, ratio, xp)
    return _sum_of_excess(p, q, ratio, b, lambda e: _growth(p, log_p, -b * e, b, xp), xp)


def kullback_leibler(p: Array, q: Array, ratio: Array, xp: Namespace) -> Array:
    """Return sum p log(p / q)."""
    return _sum_of_excess(p, q, ratio, 0.0, lambda e: -p * e, xp)


def _sum_of_excess(
    p: Array,
    q: Array,
    ratio: Array,
    b: float,
    growth: Callable[[Array], Array],
    xp: Namespace,
) -> Array:
    """Return sum(a p + b q - p^a q^b) / (a b), a = 1 - b, with growth(e) = p expm1(-b e) / a b."""
    a, zero = 1.0 - b, xp.zeros_like(ratio)
    is_near, is_finite = xp.abs(ratio) < 1.0 / max(1.0, abs(b)), ratio < xp.inf
    is_above, is_below = ~is_near & (ratio > 0.0) & is_finite, ~is_near & (ratio < 0.0) & (p > 0.0)
    # Three forms of p (expm1(-e) - expm1(-b e) / b), e = log(p / q): near 0, e > 0, e < 0.
    e = xp.where(is_near, ratio, zero)
    near = expm1_minus(-e, xp)
    if b != 0.0:
        near = near - expm1_minus(-b * e, xp) / b
    e = xp.where(is_above, ratio, zero)
    above = p * _array.expm1(-e, xp) / a - growth(e)
    e = xp.where(is_below, ratio, zero)
    below = (q - p) / a - growth(e)
    # Where p or q is 0 the power is 0, or for b <= 0 infinite.
    without_power = q / a if b == 0.0 else q / a + p / b
    terms = xp.where(is_above, above, xp.where(is_below, below, without_power))
    terms = xp.where(is_near, p * near / a, terms)
    excluded = without_power if b > 0.0 else zero + xp.inf
    return _sum(xp.where(is_finite, terms, excluded), xp)


def jeffreys(p: Array, q: Array, ratio: Array, xp: Namespace) -> Array:
    """Return sum (p - q) log(p / q)."""
    p_is_larger = ratio > 0.0
    size = xp.where(p_is_larger, ratio, -ratio)  # abs has no second derivative at 0
    is_infinite = size == xp.inf
    size = xp.where(is_infinite, xp.ones_like(size), size)
    terms = xp.where(p_is_larger, p, q) * -_array.expm1(-size, xp) * size
    return _sum(xp.where(is_infinite, xp.zeros_like(size) + xp.inf, terms), xp)


def jensen_shannon(p: Array, q: Array, ratio: Array, xp: Namespace) -> Array:
    """Return (KL(p, m) + KL(q, m)) / 2 for m = (p + q) / 2.

    With d = tanh(ratio / 2), p is m (1 + d) and q is m (1 - d). The terms of near points are
    m (log(1 - d^2) + d ratio) / 2, which lose one bit to cancellation.
    """
    size, zero = xp.abs(ratio), xp.zeros_like(ratio)
    is_near, is_finite = size < 1.0, size < xp.inf
    near = xp.where(is_near, ratio, zero)
    d = xp.tanh(0.5 * near)
    near = 0.25 * (p + q) * (xp.log1p(-d * d) + d * near)
    far = xp.where(is_finite & ~is_near, size, zero + 1.0)
    larger, smaller = (xp.where((ratio > 0.0) == flag, p, q) for flag in (True, False))
    # log(p / m) of the larger one is log 2 - log(1 + exp(-far)); that of the other is far less.
    to_larger = math.log(2.0) - xp.log1p(xp.exp(-far))
    far = 0.5 * (larger * to_larger + smaller * (to_larger - far))
    apart = 0.5 * math.log(2.0) * larger
    total = xp.sum(xp.where(is_near, near, xp.where(is_finite, far, apart)), axis=-1)
    return _or_largest(total, p, is_finite, math.log(2.0), xp)


def total_variation(p: Array, q: Array, ratio: Array, xp: Namespace) -> Array:
    """Return sum |p - q| / 2; a difference has all digits of the log-ratio."""
    size = xp.abs(ratio)
    is_finite = size < xp.inf
    share = -_array.expm1(-xp.where(is_finite, size, xp.zeros_like(size)), xp)
    larger = xp.where(ratio > 0.0, p, q)
    total = 0.5 * xp.sum(larger * xp.where(is_finite, share, xp.ones_like(share)), axis=-1)
    return _or_largest(total, p, is_finite, 1.0, xp)


def _or_largest(total: Array, p: Array, is_finite: Array, largest: float, xp: Namespace) -> Array:
    """Return the largest value where the supports are disjoint: its derivatives are 0."""
    meet = xp.any(is_finite & (p > 0.0), axis=-1)
    return _array.as_number(xp.where(meet, total, xp.full_like(total, largest)))


def renyi(p: Array, q: Array, log_p: Array, ratio: Array, order: float, xp: Namespace) -> Array:
    """Return 1 / (order - 1) log sum p^order q^(1 - order), order >= 0."""
    if order == 1.0:
        return kullback_leibler(p, q, ratio, xp)
    in_p, zero = log_p > -xp.inf, xp.zeros_like(ratio)
    nothing = zero - xp.inf
    if order == math.inf:
        return xp.max(xp.where(in_p, ratio, nothing), axis=-1)
    if order == 0.0:
        return _minus_log_of_covered(q, in_p, xp)
    in_both = in_p & (ratio < xp.inf)
    log_in_p, finite = xp.where(in_both, log_p, zero), xp.where(in_both, ratio, zero)
    if order > float(xp.finfo(p.dtype).max) ** 0.25:
        value = xp.max(
            xp.where(in_both, finite + log_in_p * (1.0 / (order - 1.0)), nothing), axis=-1
        )
    else:
        with _array.overflowing(xp):
            exponent = xp.where(in_both, log_in_p + (order - 1.0) * finite, nothing)
        far = log_sum_exp(exponent, xp)
        # The sum is 1 - order (1 - order) D: near 1 the divergence D has the digits.
        is_near = (xp.abs(far) < 0.4)[..., None]
        p, q, log_p, ratio = (xp.where(is_near, x, zero) for x in (p, q, log_p, ratio))
        deficit = (1.0 - order) * order * alpha(p, q, log_p, ratio, 1.0 - 2.0 * order, xp)
        value = xp.where(is_near[..., 0], xp.log1p(-deficit), far) / (order - 1.0)
    if order > 1.0:
        value = xp.where(xp.any(in_p & ~in_both, axis=-1), xp.zeros_like(value) + xp.inf, value)
    return _array.as_number(value)


def _minus_log_of_covered(q: Array, in_p: Array, xp: Namespace) -> Array:
    """Return -log of the probability that q gives to the support of p."""
    zero = xp.zeros_like(q)
    covered, rest = (xp.sum(xp.where(x, q, zero), axis=-1) for x in (in_p, ~in_p))
    is_near = rest < 0.5
    near = -xp.log1p(-xp.where(is_near, rest, xp.zeros_like(rest)))
    far = -_array.safe_log(xp.where(is_near, xp.ones_like(rest), covered), xp)
    return _array.as_number(xp.where(is_near, near, far))


def unit_of(base: float | None) -> float:
    """Return how many nats a unit of information has: those of logarithms to a base, or 1."""
    if base is None:
        return 1.0
    number = _array.finite_number("base", base)
    if not number > 1.0:
        raise bad_value("base", "be above 1", f"got {base!r}", "Bits are base=2; omit it for nats.")
    return math.log(number)


def checked_order(order: float) -> float:
    """Return the order of a Renyi divergence, which has to lie in [0, inf]."""
    number = _array.plain_number("order", order)
    if not number >= 0.0:
        raise bad_value("order", "lie in [0, inf]", f"got {order!r}")
    return number


def finite_order(order: float, most: float = math.inf) -> float:
    """Return the order of a Renyi divergence of a family in which it has to be finite."""
    order = checked_order(order)
    if order > most:
        raise bad_value("order", f"lie in [0, {most:g}]", f"got {order!r}")
    if order == math.inf:
        raise bad_value("order", "be finite for this family", f"got {order!r}")
    return order


def log_sum_exp(x: Array, xp: Namespace) -> Array:
    """Return log sum exp over the last axis for rows that may be all -inf or hold +inf."""
    top = xp.max(x, axis=-1, keepdims=True)
    is_finite = xp.abs(top) < xp.inf
    shifted = xp.where(is_finite, x - xp.where(is_finite, top, xp.zeros_like(top)), x)
    total = xp.sum(xp.exp(xp.where(is_finite, shifted, xp.zeros_like(x))), axis=-1)
    return xp.squeeze(top, axis=-1) + xp.log(total)


def expm1_minus(y: Array, xp: Namespace) -> Array:
    """Return exp(y) - 1 - y for |y| <= 1, to full relative precision."""
    total = xp.full_like(y, 1.0 / math.factorial(19))
    for k in range(18, 1, -1):
        total = total * y + 1.0 / math.factorial(k)
    return total * y * y


def _growth(p: Array, log_p: Array, y: Array, b: float, xp: Namespace) -> Array:
    """Return p (exp(y) - 1) / (b - b^2), where the exponential may overflow and the result not."""
    largest, divisor = _largest_exponent(y, xp), b * (1.0 - b)
    zero, is_large = xp.zeros_like(y), y > 0.5 * largest
    product = p * _array.expm1(xp.where(is_large, zero, y), xp) / divisor
    exponent = xp.where(is_large, log_p, zero) + xp.where(is_large, y, zero)
    exponent = exponent - math.log(abs(divisor))
    overflows = exponent > largest
    large = xp.where(overflows, zero + xp.inf, xp.exp(xp.where(overflows, zero, exponent)))
    return xp.where(is_large, large if b > 0.0 else -large, product)


def _largest_exponent(y: Array, xp: Namespace) -> float:
    return math.log(xp.finfo(y.dtype).max)


def _sum(terms: Array, xp: Namespace) -> Array:
    """Return the sum over the last axis; one that is infinite has the gradient 0."""
    if isinstance(terms, np.ndarray):
        return xp.sum(terms, axis=-1)
    is_infinite = xp.any(terms == xp.inf, axis=-1)
    finite = xp.sum(xp.where(is_infinite[..., None], xp.zeros_like(terms), terms), axis=-1)
    return xp.where(is_infinite, xp.zeros_like(finite) + xp.inf, finite)
