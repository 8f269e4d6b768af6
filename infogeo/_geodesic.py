"""Curves on the simplex in a form that probabilities and logits share."""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from infogeo import _array, _blocks
from infogeo._array import Array, Namespace, bad_value


def require_common_outcome(names: str, joint: Array, check: bool, xp: Namespace) -> None:
    """Raise if two distributions have no outcome in common."""
    if check and _array.is_readable(joint) and not bool(xp.all(xp.any(joint, axis=-1))):
        raise bad_value(
            names,
            "have an outcome in common for this geodesic to join them",
            "their supports are disjoint",
            "The Fisher-Rao and m-geodesics join any two distributions.",
        )


def with_ends(inside: Array, p: Array, q: Array, t: Array, differ: Array, xp: Namespace) -> Array:
    """Return p at t = 0 and q at t = 1 where their supports differ: the curve jumps there.

    Elsewhere the curve itself goes through its ends, with its derivatives.
    """
    differ = xp.any(differ, axis=-1, keepdims=True)
    ends = xp.where(t == 0.0, p, q)
    return xp.where(((t == 0.0) | (t == 1.0)) & differ, ends, inside)


# ---------------------------------------------------------------- alpha-geodesics


class _Share(NamedTuple):
    """How far along the straight line between the alpha-representations, in (0, 1)."""

    of_q: Array
    of_p: Array  # 1 - of_q
    log_of_q: Array
    log_of_p: Array


def log_alpha_geodesic(log_p: Array, log_q: Array, t: Array, beta: float, xp: Namespace) -> Array:
    """Return the logarithm of the alpha-geodesic's point, beta = (1 - alpha) / 2 not 0."""
    dtype, wide = (log_p + t).dtype, _array.widest_dtype(log_p, xp)
    log_p, log_q, t = (xp.astype(x, wide) for x in (log_p, log_q, t))
    lowest = -0.25 * xp.finfo(wide).max / max(1.0, abs(beta))  # of finite masks: powers of p / q
    log_p, log_q = (
        xp.where(x > -xp.inf, _array.clip(x, xp, min=lowest), x) for x in (log_p, log_q)
    )
    # From the nearer end, so that what is small there keeps its digits.
    is_late = t > 0.5
    start, end = xp.where(is_late, log_q, log_p), xp.where(is_late, log_p, log_q)
    t = xp.where(is_late, 1.0 - t, t)
    share = _share_at(t, is_late, log_p, log_q, start, end, beta, xp)
    return xp.astype(_array.log_softmax(_power_line(start, end, share, beta, xp), xp), dtype)


def _power_line(log_p: Array, log_q: Array, share: _Share, beta: float, xp: Namespace) -> Array:
    """Return 1 / beta log(share.of_p p^beta + share.of_q q^beta), from the larger of the two."""
    q_is_larger = log_q > log_p
    larger, smaller = xp.where(q_is_larger, log_q, log_p), xp.where(q_is_larger, log_p, log_q)
    of_smaller = xp.where(q_is_larger, share.of_p, share.of_q)
    in_both, zero = smaller > -xp.inf, xp.zeros_like(smaller)
    exponent = beta * (xp.where(in_both, smaller, zero) - xp.where(in_both, larger, zero))
    limit = 0.5 * math.log(xp.finfo(exponent.dtype).max)
    no_cancellation = (exponent > -0.5) & (exponent < limit) | (exponent < 0.0) & (of_smaller < 0.5)
    by_change = in_both & no_cancellation
    line = xp.log1p(
        xp.where(by_change, of_smaller * xp.expm1(xp.where(by_change, exponent, zero)), zero)
    )
    # A sum of two positive numbers, or of their logarithms where one may underflow or overflow.
    by_sum, by_logs = in_both & (exponent < -0.5), in_both & (xp.abs(exponent) >= limit)
    by_sum, by_logs = by_sum & ~by_change & ~by_logs, by_logs & ~by_change
    of_larger = xp.where(q_is_larger, share.of_q, share.of_p)
    total = of_larger + of_smaller * xp.exp(xp.where(by_sum, exponent, zero))
    line = xp.where(by_sum, xp.log(xp.where(by_sum, total, zero + 1.0)), line)
    log_of_smaller = xp.where(q_is_larger, share.log_of_p, share.log_of_q) + exponent
    log_of_larger = xp.where(q_is_larger, share.log_of_q, share.log_of_p) + zero
    line = xp.where(by_logs, _log_add(log_of_smaller, log_of_larger, by_logs, xp), line)
    if beta > 0.0:  # the power of 0 is 0
        in_any = larger > -xp.inf
        line = xp.where(in_both, line, log_of_larger)
    else:
        in_any = in_both
    return xp.where(in_any, xp.where(in_any, larger, zero) + line / beta, -xp.inf)


def _log_add(x: Array, y: Array, is_wanted: Array, xp: Namespace) -> Array:
    """Return log(exp x + exp y) where it is wanted, 0 elsewhere."""
    x, y = (xp.where(is_wanted, z, xp.zeros_like(z)) for z in (x, y))
    top, gap = xp.where(x > y, x, y), xp.where(x > y, y - x, x - y)
    return xp.where(is_wanted, top + xp.log1p(xp.exp(gap)), xp.zeros_like(top))


def _share_of(u: Array, xp: Namespace) -> _Share:
    """Return the share of q with logit u."""
    size = xp.where(u > 0.0, u, -u)
    decay = xp.exp(-size)
    small, large = decay / (1.0 + decay), 1.0 / (1.0 + decay)
    log_large = -xp.log1p(decay)
    log_small = log_large - size
    is_late = u > 0.0
    return _Share(
        xp.where(is_late, large, small),
        xp.where(is_late, small, large),
        xp.where(is_late, log_large, log_small),
        xp.where(is_late, log_small, log_large),
    )


def _share_at(
    t: Array,
    is_late: Array,
    log_p: Array,
    log_q: Array,
    start: Array,
    end: Array,
    beta: float,
    xp: Namespace,
) -> _Share:
    """Return the share at which the alpha-geodesic from start to end has the parameter t <= 1/2.

    The time change is an integral over the logit u of the share. Beyond reach, on either side, the
    integrand is exp(-|u|), so that the part of the integral that lies there is exp(-reach).
    """
    in_steps = all(_array.is_readable(x) for x in (log_p, log_q, t))
    in_both = (log_p > -xp.inf) & (log_q > -xp.inf)
    zero = xp.zeros_like(log_p) + xp.zeros_like(log_q)
    gap = xp.abs(xp.where(in_both, log_p, zero) - xp.where(in_both, log_q, zero))
    reach = abs(beta) * xp.max(gap, axis=-1, keepdims=True) + 40.0 * max(1.0, abs(beta))
    reach = _array.clip(reach, xp, max=-0.98 * math.log(xp.finfo(reach.dtype).smallest_normal))
    fractions, integrals = _panels(log_p, log_q, reach, beta, in_steps, xp)
    rest = xp.exp(-reach)
    goal = t * (2.0 * rest + sum(integrals))
    left, right, before, reached = -reach + 0.0 * goal, 0.0 * goal, rest + 0.0 * goal, rest
    for i, fraction in enumerate(fractions[1:]):
        right = xp.where(reached <= goal, fraction * reach, right)
        reached = reached + xp.where(is_late, integrals[-1 - i], integrals[i])
        is_passed = reached <= goal
        left = xp.where(is_passed, fraction * reach, left)
        before = xp.where(is_passed, reached, before)
    u = _invert(start, end, goal - before, left, right, beta, in_steps, xp)
    is_rest = goal < rest
    share = _share_of(xp.where(is_rest, xp.zeros_like(u), u), xp)
    tiny = xp.where(is_rest, goal, xp.zeros_like(goal))
    of_rest = _Share(tiny, 1.0 - tiny, _array.safe_log(tiny, xp), xp.log1p(-tiny))
    return _Share(*(xp.where(is_rest, x, y) for x, y in zip(of_rest, share, strict=True)))


def _invert(
    log_p: Array,
    log_q: Array,
    goal: Array,
    left: Array,
    right: Array,
    beta: float,
    in_steps: bool,
    xp: Namespace,
) -> Array:
    """Return the u between left and right up to which the integral from left is the goal."""
    low, high, u = left, right, 0.5 * (left + right)
    for _ in range(60 if in_steps else 10):
        excess = _panel(log_p, log_q, left, u, beta, in_steps, xp) - goal
        low, high = xp.where(excess < 0.0, u, low), xp.where(excess < 0.0, high, u)
        newton = u - excess / _speed(log_p, log_q, u, beta, xp)
        is_inside = (newton >= low) & (newton <= high)
        update = xp.where(is_inside, newton, 0.5 * (low + high))
        is_done = xp.abs(update - u) <= 4.0 * xp.finfo(u.dtype).eps * (1.0 + xp.abs(u))
        u = update
        if in_steps and bool(xp.all(is_done)):
            break
    return u


def _speed(log_p: Array, log_q: Array, u: Array, beta: float, xp: Namespace) -> Array:
    """Return dt / du up to a constant: Z^(-2 beta) times the derivative of the share."""
    share = _share_of(u, xp)
    z = _array.logsumexp(_power_line(log_p, log_q, share, beta, xp), xp)
    return xp.exp(share.log_of_p + share.log_of_q - 2.0 * beta * z)


def _panel(
    log_p: Array,
    log_q: Array,
    left: Array,
    right: Array,
    beta: float,
    in_steps: bool,
    xp: Namespace,
) -> Array:
    """Return the integral of the speed by Gauss' rule; of large arrays node by node."""
    nodes, weights = _GAUSS
    half, middle = 0.5 * (right - left), 0.5 * (right + left)
    if in_steps and math.prod((log_p + middle).shape) > _blocks.BLOCK_SIZE:
        total = xp.zeros_like(half)
        for node, weight in zip(nodes, weights, strict=True):
            total = total + weight * _speed(log_p, log_q, middle + node * half, beta, xp)
        return half * total
    like = {"dtype": half.dtype, "device": _array.device_of(half)}
    column = (-1, *(1,) * len((log_p + half).shape))
    x, w = (xp.reshape(xp.asarray(values, **like), column) for values in (nodes, weights))
    return half * xp.sum(w * _speed(log_p, log_q, middle + x * half, beta, xp), axis=0)


def _panels(
    log_p: Array, log_q: Array, reach: Array, beta: float, in_steps: bool, xp: Namespace
) -> tuple[list[float], list[Array]]:
    """Return the edges of panels, as fractions of the reach from -1 to 1, and their integrals.

    Where two outcomes are equally probable, the integrand bends over a length of about beta. There
    panels are halved, on both sides alike, until a halving changes nothing but rounding. Where
    values cannot be read, there are 18 panels, which are narrow in the middle.
    """
    narrow = (0.0, 0.5, 1.0, 2.0, 3.5, 5.5, 8.5, 13.0, 20.0, 40.0)
    edges = [-edge / 40.0 for edge in reversed(range(0, 41, 5) if in_steps else narrow)]
    half = list(itertools.pairwise(edges))

    def integrals(panel: tuple[float, float]) -> tuple[Array, Array]:
        a, b = panel[0] * reach, panel[1] * reach
        return (
            _panel(log_p, log_q, a, b, beta, in_steps, xp),
            _panel(log_p, log_q, -b, -a, beta, in_steps, xp),
        )

    panels = [(panel, integrals(panel)) for panel in half]
    if in_steps:
        panels = [part for panel in panels for part in _refined(*panel, integrals, reach, xp)]
    fractions = [a for (a, _), _ in panels] + [0.0] + [-a for (a, _), _ in reversed(panels)]
    return fractions, [x for _, (x, _) in panels] + [y for _, (_, y) in reversed(panels)]


def _refined(
    panel: tuple[float, float],
    whole: tuple[Array, Array],
    integrals: Callable[[tuple[float, float]], tuple[Array, Array]],
    reach: Array,
    xp: Namespace,
) -> list[tuple[tuple[float, float], tuple[Array, Array]]]:
    """Halve a panel until a further halving changes nothing; return parts and integrals."""
    roundoff = (64.0 + 4.0 * reach) * xp.finfo(reach.dtype).eps  # the exponent's, and some more
    a, b = panel
    middle = 0.5 * (a + b)
    parts = [((a, middle), integrals((a, middle))), ((middle, b), integrals((middle, b)))]
    sums = [x + y for x, y in zip(*(values for _, values in parts), strict=True)]
    changes = [xp.abs(x - y) <= roundoff * y for x, y in zip(whole, sums, strict=True)]
    if b - a < 1e-14 or all(bool(xp.all(x)) for x in changes):
        return parts  # so that a part of one is as exact
    return [part for half in parts for part in _refined(*half, integrals, reach, xp)]


_GAUSS = tuple(x.tolist() for x in np.polynomial.legendre.leggauss(16))
