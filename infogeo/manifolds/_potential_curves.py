"""Geodesics of a log-partition: what `_spectral` asks of a metric, and the geodesic equation.

All functions take and return arrays of numpy in float64. The derivatives are torch's, on a device.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from infogeo.manifolds import _spectral
from infogeo.manifolds._potential import Potential, over, theta_of_means
from infogeo.manifolds._spectral import Level, level

# From slopes at the nodes of a step, but the first, to differences of the values. From values at
# all nodes to the last two coefficients of their Legendre series.
_NODES = level(16)
_INTEGRAL = np.linalg.inv(_NODES.slopes[1:, 1:]).T
_TAIL = np.linalg.inv(np.polynomial.legendre.legvander(2.0 * _NODES.times - 1.0, 15))[-2:].T
# Shares of a line that are dense at its ends, where its speed may change by powers of ten.
_DONE = 1.0 / (1.0 + np.exp(-np.linspace(-45.0, 45.0, 91)))
_DONE[[0, -1]] = 0.0, 1.0
# Gauss' rules for parts of a line, and how often a part is halved.
_RULES_OF_PARTS = [
    (slice(first, first + size), 0.5 * np.polynomial.legendre.leggauss(size)[1])
    for first, size in ((0, 16), (16, 12))
]
_NODES_OF_PARTS = np.concatenate(
    [0.5 * (np.polynomial.legendre.leggauss(size)[0] + 1.0) for size in (16, 12)]
)
_MOST_HALVINGS, _MOST_PARTS = 60, 512
_BLOCK = 1200  # coordinates of the pairs that are solved for at once


class Terms(NamedTuple):
    """The energy (n,) of curves, its gradient (n, k, N), places and velocities at the nodes."""

    energy: np.ndarray
    gradient: np.ndarray
    x: np.ndarray
    v: np.ndarray


class CurveMetric:
    """Derivatives of f(x, v), half the squared speed, at the nodes of curves."""

    def __init__(self, potential: Potential, device: Any):
        import torch

        def half_square(z: Any) -> Any:
            x, v = z.chunk(2)
            return 0.5 * potential.metric(x, v, v)

        func = torch.func
        self._potential, self._device = potential, device
        self._first = func.vmap(func.grad_and_value(half_square))
        self._second = func.vmap(func.jacrev(func.grad(half_square)))
        self._metric, self._bend = func.vmap(potential.metric), func.vmap(potential.bend)
        self._doubt = func.vmap(potential.doubt)

    def _at_nodes(self, function: Any, *arrays: np.ndarray) -> Any:
        """Return a function at all nodes of arrays (n, k, N), as arrays (n, N, ...)."""
        import torch

        n, _, size = arrays[0].shape
        given = (torch.tensor(np.moveaxis(x, 1, 2)).reshape(n * size, -1) for x in arrays)
        with torch.no_grad():
            made = function(*(x.to(self._device) for x in given))
        parts = made if isinstance(made, tuple) else (made,)
        return [p.cpu().numpy().reshape(n, size, *p.shape[1:]) for p in parts]

    def at(self, nodes: Level, x: np.ndarray, chord: np.ndarray, bend: np.ndarray) -> Terms:
        place = x[..., None] + nodes.times * chord[..., None] + bend
        v = chord[..., None] + bend @ nodes.slopes.T
        slopes, values = self._at_nodes(self._first, np.concatenate([place, v], axis=1))
        by_x, by_v = np.split(np.moveaxis(slopes, 1, 2), 2, axis=1)
        gradient = (nodes.weights * by_v) @ nodes.slopes + nodes.weights * by_x
        return Terms((nodes.weights * values).sum(-1), gradient, place, v)

    def rows_of(self, terms: Terms, rows: np.ndarray) -> Terms:
        return Terms(*(part[rows] for part in terms))

    def guesses(self, times: np.ndarray, x: np.ndarray, chord: np.ndarray) -> Iterator[np.ndarray]:
        """Yield lines of the three kinds of parameters, at constant speed.

        They are those of points, the natural ones, and the means of the statistics.
        """
        import torch

        k = x.shape[1]
        t, s = (
            torch.tensor(z.copy(), device=self._device)[:, None, None] for z in (_DONE, _DONE[::-1])
        )
        line = x[..., None] + times * chord[..., None]
        with torch.no_grad():
            start, end = (torch.tensor(z, device=self._device) for z in (x, x + chord))
            a, b = (over(self._potential.theta, z) for z in (start, end))
            natural = s * a + t * b
            p, q = (over(self._potential.slope, z) for z in (a, b))
            means = (s * p + t * q).reshape(-1, k)
            dual, left = theta_of_means(self._potential, means, natural.reshape(-1, k))
            dual = torch.where(left.isfinite()[:, None], dual, float("nan")).reshape(natural.shape)
            for theta in (None, natural, dual):
                if theta is None:
                    points = s * start + t * end
                else:
                    points = over(self._potential.point, theta)
                    points[0], points[-1] = start, end
                    for i in range(1, len(points)):  # where there is no such point, the one before
                        points[i] = points[i].where(
                            points[i].isfinite().all(-1, True), points[i - 1]
                        )
                steps = points.diff(dim=0)
                middles = 0.5 * (points[1:] + points[:-1])
                sizes = over(self._potential.metric, middles, steps, steps).sqrt()
                yield _at_constant_speed(points.cpu().numpy(), sizes.cpu().numpy(), times) - line

    def newton_step(
        self, nodes: Level, terms: Terms, share: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the step, and how much of the energy it promises to take away.

        Only that share of what derivatives by places contribute is kept.
        """
        (second,) = self._at_nodes(self._second, np.concatenate([terms.x, terms.v], axis=1))
        n, k, size = terms.x.shape
        m = size - 2
        weighted = nodes.weights[:, None, None] * second
        kept = share[:, None, None, None] * weighted[..., :k, :]
        slopes = nodes.slopes[:, 1:-1]
        matrix = np.einsum(
            "nqij,ql,qm->niljm", weighted[..., k:, k:], slopes, slopes, optimize=True
        )
        cross = np.einsum("nlij,lm->niljm", kept[:, 1:-1, :, k:], slopes[1:-1])
        matrix += cross + cross.transpose(0, 3, 4, 1, 2)
        i = np.arange(m)
        matrix[:, :, i, :, i] += np.moveaxis(kept[:, 1:-1, :, :k], 1, 0)
        right = terms.gradient[..., 1:-1].reshape(n, k * m)
        step = -_solved(matrix.reshape(n, k * m, k * m), right)
        whole = np.zeros_like(terms.x)
        whole[..., 1:-1] = step.reshape(n, k, m)
        return whole, -(step * right).sum(-1)

    def certificate(
        self, nodes: Level, x: np.ndarray, chord: np.ndarray, bend: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the lengths of curves and how far they turn."""
        values, slopes, curves = (bend @ matrix.T for matrix in nodes.fine)
        place = x[..., None] + nodes.fine_times * chord[..., None] + values
        v = chord[..., None] + slopes
        excess = curves - self.bend(place, v, v)
        squares = [self.squares(place, w) for w in (v, excess)]
        length = (nodes.fine_weights * np.sqrt(squares[0])).sum(-1)
        turn = squares[1] / np.where(squares[0] == 0.0, 1.0, squares[0])
        return length, np.sqrt((nodes.fine_weights * turn).sum(-1))

    def squares(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return the squared speeds (n, N) of velocities."""
        return self._at_nodes(self._metric, x, v, v)[0]

    def bend(self, x: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return minus the Christoffel symbols times two velocities, all (n, k, N)."""
        return np.moveaxis(self._at_nodes(self._bend, x, u, v)[0], 2, 1)

    def doubts(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return how doubtful the derivatives along velocities at points (n, k) are."""
        return self._at_nodes(self._doubt, x[..., None], v[..., None])[0][:, 0]

    def unit(self, x: np.ndarray, covector: np.ndarray) -> np.ndarray:
        """Return the vectors of length 1 of covectors at points (n, k); 0 for 0."""
        k = x.shape[1]
        packed = np.concatenate([x, np.zeros_like(x)], axis=1)[..., None]
        (second,) = self._at_nodes(self._second, packed)
        w = _solved(second[:, 0, k:, k:], covector)
        size = np.sqrt((w * covector).sum(-1, keepdims=True))
        return w / np.where(size > 0.0, size, 1.0)


def _at_constant_speed(points: np.ndarray, sizes: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return polygons (m, n, k) with edges of given lengths at times of constant speed."""
    passed = np.concatenate([np.zeros_like(sizes[:1]), sizes.cumsum(0)]) / sizes.sum(0)
    made = np.full((*points.shape[1:], len(times)), np.nan)
    for row in np.flatnonzero(np.isfinite(passed).all(0)):
        for i in range(points.shape[2]):
            made[row, i] = np.interp(times, passed[:, row], points[:, row, i])
    return made


def _solved(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the solutions of systems (n, m, m); NaN where a matrix is not finite or singular."""
    result = np.full(right.shape, np.nan)
    rows = np.isfinite(matrix).all((1, 2))
    try:
        result[rows] = np.linalg.solve(matrix[rows], right[rows, :, None])[..., 0]
    except np.linalg.LinAlgError:
        if rows.sum() > 1:
            for i in np.flatnonzero(rows):
                result[i] = _solved(matrix[i, None], right[i, None])[0]
    return result


# ---------------------------------------------------------------- curves between points


@dataclass(frozen=True)
class Found:
    """Geodesics between n pairs of points (n, k)."""

    length: np.ndarray
    error: np.ndarray  # relative
    steps: np.ndarray
    start: np.ndarray  # velocities at both ends
    end: np.ndarray


def between(
    metric: CurveMetric, x: np.ndarray, chord: np.ndarray, rtol: float, *, has_ends: bool
) -> Found:
    """Solve for the geodesics from points along chords (n, k); velocities if they are asked for."""
    n, k = x.shape
    found = Found(np.zeros(n), np.zeros(n), np.zeros(n, int), *np.zeros((2, n, k)))
    tolerance = 0.1 * math.sqrt(8.0 * rtol)
    # Velocities are not as exact as lengths, whose error is of second order.
    wanted = 3e-3 * tolerance if has_ends else tolerance
    size, far = max(1, _BLOCK // k), np.stack([x + chord, -chord])
    for first in range(0, n, size):
        block = slice(first, first + size)
        with np.errstate(all="ignore"):
            groups = _spectral.solve(metric, x[block], chord[block], tolerance, wanted)
            for group, steps in groups:
                rows = np.arange(n)[block][group.rows]
                found.length[rows], found.error[rows] = group.length, group.turning**2 / 8.0
                found.steps[rows] = steps
                if not has_ends:
                    continue
                terms = metric.at(group.nodes, x[rows], chord[rows], group.bend)
                for sign, end, velocity in ((-1.0, 0, found.start), (1.0, -1, found.end)):
                    unit = metric.unit(terms.x[..., end], terms.gradient[..., end])
                    velocity[rows] = sign * group.length[:, None] * unit
            # The squared speed is twice as uncertain as the length.
            doubts = metric.doubts(x[block], chord[block]), metric.doubts(*far[:, block])
            found.error[block] += 0.5 * np.maximum(*doubts)
    return found


def on_line(metric: CurveMetric, x: np.ndarray, y: np.ndarray) -> Found:
    """Return the geodesics of families of one parameter: all ways are one, whose length is taken.

    Gauss' rule integrates the speed over parts, which are halved while they matter. The two halves
    of the way begin at its ends, so that places near these have their digits.
    """
    n, chord = len(x), y - x
    length, doubt, steps = np.zeros(n), np.zeros(n), np.zeros(n, int)
    rows, sign = np.tile(np.arange(n), 2), np.repeat([1.0, -1.0], n)
    start, width = np.zeros(2 * n), np.full(2 * n, 0.5)
    with np.errstate(all="ignore"):
        for _ in range(_MOST_HALVINGS):
            times = start[:, None] + width[:, None] * _NODES_OF_PARTS
            way = sign[:, None] * chord[rows]
            place = np.where(sign[:, None] > 0.0, x[rows], y[rows]) + way * times
            speeds = np.sqrt(metric.squares(place[:, None], (way + 0.0 * times)[:, None]))
            fine, coarse = (width * (speeds[:, part] @ w) for part, w in _RULES_OF_PARTS)
            gap, whole = np.abs(fine - coarse), length + np.bincount(rows, fine, n)
            is_done = (gap <= 2e-14 * fine) | (gap <= 1e-15 * whole[rows])
            is_done |= rows.size > _MOST_PARTS * max(n, 1)
            length += np.bincount(rows[is_done], fine[is_done], n)
            doubt += np.bincount(rows[is_done], gap[is_done], n)
            rows, sign, start, width = (z[~is_done] for z in (rows, sign, start, width))
            if not rows.size:
                break
            steps[rows] += 1
            rows, sign, start = (np.repeat(z, 2) for z in (rows, sign, start))
            width = np.repeat(0.5 * width, 2)
            start[1::2] += width[1::2]
        doubt[rows] = np.inf
        error = np.where(length > 0.0, doubt / length, doubt)
        speeds = (np.sqrt(metric.squares(z[..., None], chord[..., None])) for z in (x, y))
        velocities = (length[:, None] / np.where(v > 0.0, v, 1.0) * chord for v in speeds)
        doubts = np.maximum(metric.doubts(x, chord), metric.doubts(y, -chord))
        error = np.where(np.isnan(error), np.inf, error) + 0.5 * doubts
        return Found(length, error, steps, *velocities)


def flow(metric: CurveMetric, x: np.ndarray, *vectors: np.ndarray) -> tuple[np.ndarray, ...]:
    """Follow geodesics from points (n, k) for a unit of time, in steps of Picard's iteration.

    The first of the vectors (n, k) is the velocity. The others are carried along. All are returned
    as they arrive, after the point; NaN where a geodesic cannot be followed to the end, for which
    the others of a batch are followed one by one.
    """
    first, time, step, is_first = x, 0.0, 0.5, True
    carried = np.stack(vectors)
    if not x.size:
        return x, *carried
    while time < 1.0:
        step = min(step, 1.0 - time)
        w, change = _picard(metric, x, carried, step)
        if change < 1e-12:
            x = x + step * (w[0] @ _INTEGRAL)[..., -1]
            carried, time = w[..., -1], time + step
            step, is_first = 1.5 * step if is_first else step, True
        else:
            step, is_first = 0.5 * step, False
            if step < 1e-3:
                break
    else:
        return x, *carried
    if len(x) == 1:
        return np.full_like(x, np.nan), *np.full_like(carried, np.nan)
    alone = [flow(metric, *(y[i, None] for y in (first, *vectors))) for i in range(len(x))]
    return tuple(np.concatenate(parts) for parts in zip(*alone, strict=True))


def _picard(
    metric: CurveMetric, x: np.ndarray, vectors: np.ndarray, step: float
) -> tuple[np.ndarray, float]:
    """Return the vectors (m, n, k, N) over one step of time, and their relative error.

    It is how far they still changed, or the last coefficients of their polynomials if these are
    larger.
    """
    start = vectors[..., None]
    w, last, change = np.repeat(start, len(_INTEGRAL), axis=-1), math.inf, math.inf
    for _ in range(40):
        with np.errstate(all="ignore"):
            path = x[..., None] + step * w[0] @ _INTEGRAL
            slopes = np.stack([metric.bend(path, w[0], vector) for vector in w])
            new = start + step * slopes @ _INTEGRAL
            scale = np.abs(w).max((2, 3), keepdims=True)
            scale = np.where(scale > 0.0, scale, 1.0)
            change = float((np.abs(new - w) / scale).max())
        w = new
        if not change < last or change < 1e-15:  # it is rounding now, or the step is too long
            break
        last = change
    with np.errstate(all="ignore"):
        tail = np.concatenate([start, w], axis=-1) @ _TAIL / scale
    return w, max(change, float(np.abs(tail).max()))
