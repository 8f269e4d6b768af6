r"""Surfaces of revolution: geodesics by Clairaut's integral, in numpy's float64.

The metric of a surface of revolution is :math:`ds^2 = H(r)^2 dr^2 + r^2 d\varphi^2`. Along a
geodesic the product L of r and the sine of its angle to the radius is constant (Clairaut). With
:math:`r^2 = L^2 + s^2` its length is :math:`\int H \, ds`, and the angle that it turns is
:math:`\int L H / r^2 \, ds`. One unknown remains, on which both ends depend.

The surfaces here look like a plane of constant negative curvature, far out or everywhere. Such a
plane has :math:`H = W / q` with :math:`q = \sqrt{c^2 + r^2}` and a constant W; a surface has a W
that varies with r, within narrow bounds. (With c = 0 the plane is the half-plane, whose angle is
no angle: it has no period.) The substitution :math:`s = \sqrt{L^2 + c^2} \sinh w` takes the
plane's part out of the integrals: the length is :math:`\int W \, dw`. So the geodesic of the
surface is that of the plane to some other angle, which is the unknown.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# Intervals of w up to the first length get the first number of Gauss-Legendre nodes, and so on;
# longer ones are halved. The integrands have no singularity within pi / 2 of the real line.
_RULES = ((0.5, 9), (1.5, 15), (3.0, 24))
_MOST_ENTRIES = 100_000  # of an array over pairs and nodes
_MAX_STEPS = 40
_LONGEST = 3000.0  # no two points whose coordinates are numbers are so far apart


@dataclass(frozen=True)
class Surface:
    """A surface of revolution.

    Parameters
    ----------
    c : float
        The scale of the plane that it resembles; 0 for a half-plane.
    speed : callable
        ``speed(x)``: W, at x = r^2.
    excess : callable
        ``excess(x, speed)``: (W - W(0)) / x.
    start, least, most : float
        W at 0, and bounds of all W.
    strip : float
        How far from the real line W has no singularity, beside the pi / 2 of a half-plane.
    """

    c: float
    speed: Callable[[np.ndarray], np.ndarray]
    excess: Callable[[np.ndarray, np.ndarray], np.ndarray]
    start: float
    least: float
    most: float
    strip: float = 1.0

    def along(self, r: np.ndarray) -> np.ndarray:
        """Return q, the root of c^2 + r^2."""
        return np.hypot(self.c, r) if self.c else r


Direction = tuple[np.ndarray, np.ndarray]


class Arc(NamedTuple):
    """A geodesic between two points, in its direction.

    Parameters
    ----------
    length : array
        Its length.
    start, end : (array, array)
        The cosine and the sine of its angle to the radius, at its two ends; the sine has the sign
        of the angle that it turns.
    momentum : array
        Clairaut's constant, with that sign.
    """

    length: np.ndarray
    start: Direction
    end: Direction
    momentum: np.ndarray


# ---------------------------------------------------------------- between two points


def connect(
    surface: Surface, r_1: np.ndarray, r_2: np.ndarray, gap: np.ndarray, angle: np.ndarray
) -> Arc:
    """Return the shortest geodesic between points.

    Parameters
    ----------
    surface : Surface
        With a unique shortest geodesic between any two points, but for opposite ones.
    r_1, r_2 : array
        The radii.
    gap : array
        asinh(r_2 / c) - asinh(r_1 / c), or log(r_2 / r_1) if c is 0, to full relative precision.
    angle : array
        From the first point to the second; with c > 0 in [-pi, pi].
    """
    r_1, r_2, gap, angle = np.broadcast_arrays(r_1, r_2, gap, angle)
    shape, size = gap.shape, np.abs(gap).ravel()
    is_inward, turn = gap < 0.0, np.abs(angle).ravel()
    inner, outer = (np.where(is_inward, *x).ravel() for x in ((r_2, r_1), (r_1, r_2)))
    solved = np.empty((6, turn.size))
    with np.errstate(all="ignore"):
        # The plane with the least W has the longest of the curves that are tried.
        longest = _plane(surface, inner, outer, size, _bounds(surface, turn)[1]).width
        for rows, rule in _grouped(longest / surface.strip):
            r_1, r_2, gap, aim = (x[rows] for x in (inner, outer, size, turn))
            solved[:, rows] = _solve(surface, r_1, r_2, gap, aim, rule)
    length, along_1, across_1, along_2, across_2, momentum = solved.reshape(6, *shape)
    # The other way round the radial parts change their sign, and the ends their places.
    sign = np.where(angle < 0.0, -1.0, 1.0)
    start = np.where(is_inward, -along_2, along_1), sign * np.where(is_inward, across_2, across_1)
    end = np.where(is_inward, -along_1, along_2), sign * np.where(is_inward, across_1, across_2)
    return Arc(length, start, end, sign * momentum)


def _bounds(surface: Surface, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return bounds of the angle in the plane that becomes a given one on the surface."""
    half_turn = np.pi / surface.c if surface.c else np.inf
    return turn / surface.most, np.minimum(turn / surface.least, half_turn)


class _Curve(NamedTuple):
    """A geodesic of the plane, from its inner end."""

    width: np.ndarray  # of the interval of w
    inner: Direction
    outer: Direction


def _plane(
    surface: Surface, r_1: np.ndarray, r_2: np.ndarray, gap: np.ndarray, turn: np.ndarray
) -> _Curve:
    """Return the geodesic of the plane W = 1 that turns by an angle, r_1 <= r_2.

    In the hyperbolic plane sinh^2(w / 2) = sinh^2(gap / 2) + r_1 r_2 sn(turn / 2)^2, where
    sn(x) = sin(c x) / c. The direction at an end is the velocity there, by the same functions.
    """
    half = 0.5 * turn
    sn = np.sin(surface.c * half) / surface.c if surface.c else half
    cs = np.cos(surface.c * half)
    rise = np.sinh(0.5 * gap)
    sinh = np.hypot(rise, np.sqrt(r_1) * np.sqrt(r_2) * sn)
    unit = np.where(sinh == 0.0, 1.0, sinh)
    direct = 2.0 * np.cosh(0.5 * gap) * (rise / unit)
    ends = []
    for near, far, sign in ((r_1, r_2, -1.0), (r_2, r_1, 1.0)):
        share = far * sn / unit
        along = direct + sign * 2.0 * surface.along(near) * sn * share
        across = 2.0 * cs * share
        size = np.hypot(along, across)
        is_point = size == 0.0
        size = np.where(is_point, 1.0, size)
        ends.append((np.where(is_point, 1.0, along / size), across / size))
    return _Curve(2.0 * np.arcsinh(sinh), *ends)


def _solve(
    surface: Surface,
    r_1: np.ndarray,
    r_2: np.ndarray,
    gap: np.ndarray,
    turn: np.ndarray,
    rule: Direction,
) -> tuple[np.ndarray, ...]:
    """Return length, directions at both ends and momentum, for r_1 <= r_2.

    The unknown is the angle in the plane. On logarithmic scales the angle on the surface grows
    with it at a rate near 1, which secants find out.
    """
    turns = turn > 0.0
    low, high = _bounds(surface, np.where(turns, turn, 1.0))
    guess, rate = np.sqrt(low) * np.sqrt(high), np.ones_like(turn)
    last_guess = last_miss = np.full_like(turn, np.nan)
    for _ in range(_MAX_STEPS):
        angle = np.where(turns, guess, 0.0)
        curve = _plane(surface, r_1, r_2, gap, angle)
        length, excess = _integrals(surface, r_1, curve.inner, curve.width, rule)
        reached = surface.start * angle + excess
        miss = np.log(np.where(turns, reached / np.where(turns, turn, 1.0), 1.0))
        is_done = ~(np.abs(miss) > 2e-15)
        is_rounding = (np.abs(miss) < 1e-12) & (np.abs(miss) >= 0.5 * np.abs(last_miss))
        if np.all(is_done | is_rounding):
            break
        low, high = np.where(miss < 0.0, guess, low), np.where(miss > 0.0, guess, high)
        step, change = np.log(guess / last_guess), miss - last_miss
        is_clear = np.abs(change) > 1e-11
        secant = np.where(is_clear, change, 1.0) / np.where(is_clear & (step != 0.0), step, 1.0)
        rate = np.where(is_clear, np.clip(secant, 0.25, 4.0), rate)
        by_secant = guess * np.exp(-miss / rate)
        is_inside = (np.abs(miss) < 1e-6) | ((by_secant > low) & (by_secant < high))
        last_guess, last_miss = guess, miss
        guess = np.where(is_inside, by_secant, np.sqrt(low) * np.sqrt(high))
    momentum = r_1 * curve.inner[1]
    # The derivative of the length by the angle is the momentum: what is missed hardly counts.
    length = length + momentum * (turn - np.where(turns, reached, 0.0))
    return length, *curve.inner, *curve.outer, momentum


# ---------------------------------------------------------------- from one point


class Journey(NamedTuple):
    """Where a geodesic arrives.

    Parameters
    ----------
    r : array
        The radius.
    angle : array
        The angle that it has turned.
    """

    r: np.ndarray
    angle: np.ndarray


def travel(surface: Surface, r: np.ndarray, start: Direction, length: np.ndarray) -> Journey:
    """Return where the geodesic arrives that leaves r in a direction, after a length."""
    r, along, across, length = np.broadcast_arrays(r, *start, length)
    shape = r.shape
    columns = [x.ravel() for x in (r, along, across, np.minimum(length, _LONGEST))]
    arrived = np.empty((2, r.size))
    with np.errstate(all="ignore"):
        for rows, rule in _grouped(columns[3] / surface.least / surface.strip):
            r_1, cosine, sine, way = (x[rows] for x in columns)
            arrived[:, rows] = _travel(surface, r_1, cosine, sine, way, rule)
    return Journey(*np.where(length > _LONGEST, np.nan, arrived.reshape(2, *shape)))


def _travel(
    surface: Surface,
    r: np.ndarray,
    along: np.ndarray,
    across: np.ndarray,
    length: np.ndarray,
    rule: Direction,
) -> tuple[np.ndarray, np.ndarray]:
    low, high = length / surface.most, length / surface.least
    width = np.clip(length / surface.speed(r * r), low, high)
    for _ in range(_MAX_STEPS):
        reached, excess = _integrals(surface, r, (along, across), width, rule)
        miss = reached - length
        low, high = np.where(miss < 0.0, width, low), np.where(miss > 0.0, width, high)
        if not np.any(np.abs(miss) > 4e-16 * length):
            break
        speed = surface.speed(_squares(surface, r, along, across, width[:, None])[:, 0])
        moved = width - miss / speed
        is_inside = (moved >= low) & (moved <= high) | (np.abs(miss) < 1e-6 * length)
        before, width = width, np.where(is_inside, moved, 0.5 * (low + high))
        if not np.any(np.abs(width - before) > 4e-16 * width):
            break
    out, growth, decay = (x[:, 0] for x in _moved(surface, r, along, across, width[:, None]))
    if surface.c:
        q = surface.along(r)
        across_c = surface.c * across * np.sinh(width)
        turned = np.arctan2(across_c, r * np.cosh(width) + q * along * np.sinh(width)) / surface.c
        return np.hypot(r * across, out), surface.start * turned + excess
    end = growth + decay
    return end, surface.start * (across * np.sinh(width) * (r / end)) / r + excess


# ---------------------------------------------------------------- integrals


def _squares(
    surface: Surface, r: np.ndarray, along: np.ndarray, across: np.ndarray, v: np.ndarray
) -> np.ndarray:
    """Return r^2 at steps v of w from a point."""
    return (r * across)[:, None] ** 2 + _moved(surface, r, along, across, v)[0] ** 2


def _moved(
    surface: Surface, r: np.ndarray, along: np.ndarray, across: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return s at steps v of w from a point, and the two exponentials of which q is the sum."""
    momentum, s, q = r * across, r * along, surface.along(r)
    large = q + np.abs(s)
    small = momentum * (momentum / large) + surface.c * (surface.c / large)
    plus, minus = (np.log(0.5 * np.where(s < 0.0, *x)) for x in ((small, large), (large, small)))
    growth, decay = np.exp(plus[:, None] + v), np.exp(minus[:, None] - v)
    out = growth - decay
    if surface.c:  # beside the centre, where s is small beside q
        out = np.where(np.abs(v) < 1.0, s[:, None] * np.cosh(v) + q[:, None] * np.sinh(v), out)
    return out, growth, decay


def _integrals(
    surface: Surface, r: np.ndarray, start: Direction, width: np.ndarray, rule: Direction
) -> tuple[np.ndarray, np.ndarray]:
    """Return the length, and how much more the geodesic turns than with the W of the centre."""
    nodes, weights = rule
    x = _squares(surface, r, *start, width[:, None] * nodes)
    speed = surface.speed(x)
    excess = surface.excess(x, speed)
    return width * (speed @ weights), r * start[1] * width * (excess @ weights)


def _grouped(width: np.ndarray) -> Iterator[tuple[np.ndarray, Direction]]:
    """Yield rows whose intervals are of one kind, in blocks, with nodes and weights on [0, 1]."""
    bounds = [bound for bound, _ in _RULES]
    width = np.where(np.isfinite(width), width, 0.0)
    doubled = np.ceil(np.log2(np.maximum(width, bounds[-1]) / bounds[-1]))
    kind = np.searchsorted(bounds, np.minimum(width, bounds[-1])) + doubled
    for value in np.unique(kind.astype(int)):
        rule = _rule(int(value))
        rows = np.flatnonzero(kind == value)
        step = max(1, _MOST_ENTRIES // len(rule[0]))
        for first in range(0, len(rows), step):
            yield rows[first : first + step], rule


@functools.cache
def _rule(kind: int) -> Direction:
    """Return nodes and weights of a Gauss-Legendre rule on [0, 1], in equal pieces."""
    num_nodes = _RULES[min(kind, len(_RULES) - 1)][1]
    num_pieces = 2 ** max(0, kind - len(_RULES) + 1)
    x, w = np.polynomial.legendre.leggauss(num_nodes)
    nodes = (np.arange(num_pieces)[:, None] + 0.5 * (1.0 + x)) / num_pieces
    return nodes.ravel(), np.tile(0.5 * w / num_pieces, num_pieces)
