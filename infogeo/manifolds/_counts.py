r"""Coordinates of families of counts: trials that succeed or fail, and how long one waits.

The differences of a probability and of its complement are the same number, which is taken from
the parameter itself: the complement has lost the digits of small ones.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from infogeo import _array
from infogeo._array import Array, Namespace, entries
from infogeo.manifolds._family import log_cosh
from infogeo.manifolds._line import (
    IDENTITY,
    Coordinate,
    log_ratio,
    relative_entropy,
    with_geometric_mean,
)


def _are_whole(x: Array, low: float) -> bool:
    on_host = np.asarray(_array.on_host(x))
    return bool(np.all((on_host >= low) & (on_host < math.inf) & (on_host == np.floor(on_host))))


COUNTS = entries(
    "be whole numbers, not negative",
    lambda x, coarseness: _are_whole(x, 0.0),
    lambda x: (x >= 0.0) & (x < math.inf) & (x == np.floor(x)),
)
WHOLE = entries(
    "be whole numbers, positive",
    lambda x, coarseness: _are_whole(x, 1.0),
    lambda x: (x >= 1.0) & (x < math.inf) & (x == np.floor(x)),
)
UNIT_ENTRIES = entries(
    "lie in [0, 1]",
    lambda x, coarseness: float(x.min()) >= 0.0 and float(x.max()) <= 1.0,
    lambda x: (x >= 0.0) & (x <= 1.0),
)
POSITIVE_SHARES = entries(
    "be positive, and 1 at most",
    lambda x, coarseness: float(x.min()) > 0.0 and float(x.max()) <= 1.0,
    lambda x: (x > 0.0) & (x <= 1.0),
)
SHARES_BELOW_1 = entries(
    "lie in [0, 1), below 1",
    lambda x, coarseness: float(x.min()) >= 0.0 and float(x.max()) < 1.0,
    lambda x: (x >= 0.0) & (x < 1.0),
)


def _root(x: Array, xp: Namespace) -> Array:
    return _array.safe_sqrt(_array.clip(x, xp, min=0.0), xp)


def _inverse(x: Array, xp: Namespace) -> Array:
    """Return 1 / x, inf at 0."""
    is_zero = x == 0.0
    return xp.where(is_zero, xp.inf, 1.0 / xp.where(is_zero, xp.ones_like(x), x))


def _within(x: Array, scale: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return whether a root is not negative, but for rounding, and the root with it taken off."""
    is_inside = x >= -8.0 * float(xp.finfo(x.dtype).eps) * scale
    return is_inside, _array.clip(x, xp, min=0.0)


# ---------------------------------------------------------------- one trial


def _arc(a: Array, b: Array, xp: Namespace) -> Array:
    r"""Return :math:`2 \arcsin \sqrt b - 2 \arcsin \sqrt a`."""
    up_a, up_b, down_a, down_b = (_array.safe_sqrt(x, xp) for x in (a, b, 1.0 - a, 1.0 - b))
    total = up_b * down_a + up_a * down_b
    sine = (b - a) / xp.where(total == 0.0, xp.ones_like(total), total)
    cosine = up_a * up_b + down_a * down_b
    return 2.0 * xp.atan2(sine, cosine)


def _turned(a: Array, step: Array, xp: Namespace) -> Array:
    """Return the probability at an angle from that of a; NaN beyond 0 and 1."""
    sine, cosine = _root(a, xp), _root(1.0 - a, xp)
    turn, along = xp.sin(0.5 * step), xp.cos(0.5 * step)
    is_up, up = _within(sine * along + cosine * turn, xp.ones_like(sine), xp)
    is_down, down = _within(cosine * along - sine * turn, xp.ones_like(sine), xp)
    reached = xp.where(up < down, up * up, 1.0 - down * down)
    # Beside the edges, 0 apart; elsewhere the way from a, which keeps the digits of small steps.
    way = turn * (2.0 * sine * cosine * along + (1.0 - 2.0 * a) * turn)
    is_short = 2.0 * xp.abs(way) < xp.minimum(a, 1.0 - a)
    reached = xp.where(is_short, a + way, reached)
    return xp.where(is_up & is_down & (xp.abs(step) < 4.0), reached, xp.nan)


def _logit_moved(a: Array, step: Array, xp: Namespace) -> Array:
    decay = xp.exp(-xp.abs(step))
    up, down = a, 1.0 - a
    shrunk = xp.where(step < 0.0, up, down) * decay
    other = xp.where(step < 0.0, down, up)
    total = shrunk + other
    is_edge = (a == 0.0) | (a == 1.0)
    share = xp.where(step < 0.0, shrunk, other) / xp.where(total == 0.0, xp.ones_like(a), total)
    return xp.where(is_edge, a, share)


def _log_odds(a: Array, xp: Namespace) -> Array:
    return _array.safe_log(a, xp) - _array.safe_log(1.0 - a, xp)


def _log_odds_ratio(a: Array, b: Array, xp: Namespace) -> Array:
    return log_ratio(a, b, xp) + log_ratio(1.0 - b, 1.0 - a, xp, difference=b - a)


ANGLE = Coordinate(
    value=lambda a, xp: 2.0 * xp.atan2(_root(a, xp), _root(1.0 - a, xp)),
    inverse=lambda x, xp: xp.sin(0.5 * x) ** 2,
    difference=_arc,
    moved=_turned,
    slope=lambda a, xp: _inverse(_root(a * (1.0 - a), xp), xp),
    bend=lambda a, xp: 0.5 * (_inverse(1.0 - a, xp) - _inverse(a, xp)),
)
LOGIT = Coordinate(
    value=_log_odds,
    inverse=lambda x, xp: 1.0 / (1.0 + _array.times_exp(xp.ones_like(x), -x, xp)),
    difference=_log_odds_ratio,
    moved=_logit_moved,
    slope=lambda a, xp: _inverse(a * (1.0 - a), xp),
)


def _trial_kl(a: Array, b: Array, xp: Namespace) -> Array:
    """Return the divergence of two trials: nothing cancels in either term."""
    succeeding = relative_entropy(a, b, xp)
    return succeeding + relative_entropy(1.0 - a, 1.0 - b, xp, difference=a - b)


def _trial_log_affinity(a: Array, b: Array, xp: Namespace) -> Array:
    """Return minus log cos of half the difference of the angles."""
    squared = xp.sin(0.5 * _arc(a, b, xp)) ** 2
    is_apart = squared >= 1.0 - float(xp.finfo(squared.dtype).eps)
    inside = -0.5 * xp.log1p(-xp.where(is_apart, xp.zeros_like(squared), squared))
    return xp.where(is_apart & ((a - b) ** 2 == 1.0), xp.inf, inside)


def _trial_renyi(a: Array, b: Array, order: float, xp: Namespace) -> Array:
    """Return -log of the sum of two geometric means: of 1 less their gaps, where it is near 1."""
    up, gap = with_geometric_mean(a, b, order, xp)
    down, other_gap = with_geometric_mean(1.0 - a, 1.0 - b, order, xp, difference=a - b)
    gap = gap + other_gap
    is_near = gap < 0.5
    near = xp.log1p(-xp.where(is_near, gap, xp.zeros_like(gap)))
    far = _array.safe_log(xp.where(is_near, xp.ones_like(gap), up + down), xp)
    return xp.where(is_near, near, far) / (order - 1.0)


# What the space of trials, and of their numbers of successes, declares.
TRIALS: dict[str, Any] = {
    "flat": ANGLE,
    "natural": LOGIT,
    "expectation": IDENTITY,
    "kl": _trial_kl,
    "log_affinity": _trial_log_affinity,
    "renyi": _trial_renyi,
}


# ---------------------------------------------------------------- waiting


@dataclass(frozen=True)
class _Waiting:
    r"""The coordinates of numbers of failures before a success.

    Parameters
    ----------
    sign : float
        1 if the parameter is the probability p of the success that ends the waiting, -1 if it is
        the probability c = 1 - p of what is counted. The mean is c / p, the metric
        :math:`dp^2 / (p^2 c)`.
    """

    sign: float

    def declared(self) -> dict[str, Any]:
        """Return what the space declares."""
        return {
            "flat": self._flat(),
            "natural": self._natural(),
            "expectation": self._expectation(),
            "kl": self._kl,
            "log_affinity": lambda a, b, xp: log_cosh(0.5 * self._difference(a, b, xp), xp),
            "renyi": self._renyi,
        }

    def _parts(self, a: Array) -> tuple[Array, Array]:
        return (a, 1.0 - a) if self.sign > 0.0 else (1.0 - a, a)

    def _difference(self, a: Array, b: Array, xp: Namespace) -> Array:
        (p, c), (q, d) = self._parts(a), self._parts(b)
        p, q, c, d = (_array.safe_sqrt(x, xp) for x in (p, q, c, d))
        total = (c + d) * (p * q)
        return 2.0 * xp.asinh((b - a) / xp.where(total == 0.0, xp.ones_like(total), total))

    def _moved(self, a: Array, step: Array, xp: Namespace) -> Array:
        p, c = self._parts(a)
        root, half = _root(c, xp), 0.5 * self.sign * step
        # Cosh and sinh without the factor exp(|half|), which is put back at the end.
        growth, decay = xp.abs(half), xp.exp(-2.0 * xp.abs(half))
        cosh, sinh = 0.5 * (1.0 + decay), 0.5 * (1.0 - decay) * xp.sign(half)
        below = cosh - root * sinh
        is_inside, above = _within(root * cosh - sinh, cosh, xp)
        waits = p / below / below * xp.exp(-2.0 * growth)
        counts = (above / below) ** 2
        reached = waits if self.sign > 0.0 else counts
        # The way from a, where it is short: it keeps the digits of small steps.
        is_small = growth < 1.0
        way = xp.sinh(xp.where(is_small, half, xp.zeros_like(half)))
        way = self.sign * _root(p, xp) * _root(waits, xp) * way * (root + _root(counts, xp))
        reached = xp.where(is_small & (2.0 * xp.abs(way) < a), a + way, reached)
        return xp.where(is_inside, reached, xp.nan)

    def _flat_value(self, a: Array, xp: Namespace) -> Array:
        p, c = self._parts(a)
        return -2.0 * self.sign * xp.asinh(_root(c, xp) / _root(p, xp))

    def _flat_inverse(self, x: Array, xp: Namespace) -> Array:
        counts = xp.tanh(0.5 * x) ** 2
        return 1.0 / xp.cosh(0.5 * x) ** 2 if self.sign > 0.0 else counts

    def _log_moved(self, a: Array, step: Array, xp: Namespace) -> Array:
        if self.sign < 0.0:
            reached = _array.times_exp(a, step, xp)
            return xp.where(reached < 1.0, reached, xp.nan)
        reached = a - (1.0 - a) * _array.expm1(xp.where(a == 1.0, xp.zeros_like(step), step), xp)
        return xp.where(reached > 0.0, reached, xp.nan)

    def _log_difference(self, a: Array, b: Array, xp: Namespace) -> Array:
        return log_ratio(self._parts(a)[1], self._parts(b)[1], xp, difference=-self.sign * (b - a))

    def _mean_inverse(self, m: Array, xp: Namespace) -> Array:
        return 1.0 / (1.0 + m) if self.sign > 0.0 else m / (1.0 + m)

    def _mean_moved(self, a: Array, step: Array, xp: Namespace) -> Array:
        p, c = self._parts(a)
        whole = 1.0 + step * p
        counted = c + step * p
        is_inside = (whole > 0.0) & (counted >= 0.0)
        whole = xp.where(is_inside, whole, xp.ones_like(whole))
        return xp.where(is_inside, (p if self.sign > 0.0 else counted) / whole, xp.nan)

    def _bend(self, a: Array, xp: Namespace) -> Array:
        p, c = self._parts(a)
        return self.sign * (0.5 * _inverse(c, xp) - 1.0 / p)

    def _mean_difference(self, a: Array, b: Array, xp: Namespace) -> Array:
        return -self.sign * (b - a) / self._parts(a)[0] / self._parts(b)[0]

    def _kl(self, a: Array, b: Array, xp: Namespace) -> Array:
        (p, c), (q, d) = self._parts(a), self._parts(b)
        way = self.sign * (b - a)
        return (
            relative_entropy(p, q, xp, difference=way) + relative_entropy(c, d, xp, difference=-way)
        ) / p

    def _renyi(self, a: Array, b: Array, order: float, xp: Namespace) -> Array:
        """Return log(1 - c^n d^(1 - n)) less log p^n q^(1 - n), over 1 - n, for the order n."""
        (p, c), (q, d) = self._parts(a), self._parts(b)
        way = self.sign * (b - a)
        stop, gap = with_geometric_mean(p, q, order, xp, difference=way)
        _, other_gap = with_geometric_mean(c, d, order, xp, difference=-way)
        change, zero = (gap + other_gap) / stop, xp.zeros_like(stop)
        # Orders above 1 have integrals that are near 0, or have no value.
        logs = [xp.log1p(-x) if self.sign > 0.0 else _array.safe_log(x, xp) for x in (a, b)]
        is_far = change < -0.5
        whole = xp.where(is_far, order * logs[0] + (1.0 - order) * logs[1], zero - 1.0)
        is_inside = whole < 0.0
        far = xp.log(-_array.expm1(xp.where(is_inside, whole, zero - 1.0), xp) / stop)
        near = xp.log1p(xp.where(is_far, zero, change))
        return xp.where(is_inside, xp.where(is_far, far, near) / (1.0 - order), xp.inf)

    def _flat(self) -> Coordinate:
        return Coordinate(
            value=self._flat_value,
            inverse=self._flat_inverse,
            difference=self._difference,
            moved=self._moved,
            slope=lambda a, xp: _inverse(self._parts(a)[0] * _root(self._parts(a)[1], xp), xp),
            bend=lambda a, xp: (
                self.sign * (0.5 * _inverse(self._parts(a)[1], xp) - 1.0 / self._parts(a)[0])
            ),
        )

    def _natural(self) -> Coordinate:
        return Coordinate(
            value=lambda a, xp: _array.safe_log(self._parts(a)[1], xp),
            inverse=lambda x, xp: -_array.expm1(x, xp) if self.sign > 0.0 else xp.exp(x),
            difference=self._log_difference,
            moved=self._log_moved,
            slope=lambda a, xp: -self.sign * _inverse(self._parts(a)[1], xp),
        )

    def _expectation(self) -> Coordinate:
        return Coordinate(
            value=lambda a, xp: self._parts(a)[1] / self._parts(a)[0],
            inverse=self._mean_inverse,
            difference=lambda a, b, xp: (
                -self.sign * (b - a) / self._parts(a)[0] / self._parts(b)[0]
            ),
            moved=self._mean_moved,
            slope=lambda a, xp: -self.sign / self._parts(a)[0] ** 2,
        )


def waiting(sign: float) -> dict[str, Any]:
    """Return what the space of numbers of failures before a success declares."""
    return _Waiting(sign).declared()
