r"""All distances of predictions, in the first of three forms that is exact enough for a pair.

On the simplex the unit vectors :math:`x = \sqrt p` turn all pairs into one matrix product:
:math:`d = 2 \arccos x \cdot y`. That is good for far pairs; near ones drown in the rounding of
the product. So each pair takes the first of three forms whose error bound is small enough for it:
the product; the chord :math:`|x - y|`, measured from a common vertex if both points are close to
one; `fisher_rao_distance` itself.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import (
    array_namespace,
    is_jax_array,
    is_torch_array,
)

from infogeo import _array
from infogeo._array import Array, Namespace
from infogeo.neighbors._any_space import all_distances_with
from infogeo.neighbors._blocks import (
    arange_like,
    assembled,
    grid_of,
    is_in_host_memory,
    pair_rows,
    panel_rows,
    slices,
    tile_rows,
    within,
)


def all_distances(points: list[Array], space: Any, block_size: int | None) -> Array:
    """Return all distances of probabilities or logits."""
    a, b = points[0], points[-1]
    among = len(points) == 1
    shape = a.shape[0], b.shape[0]
    if 0 in shape:
        xp = array_namespace(a)
        return xp.empty(shape, dtype=a.dtype, device=_array.device_of(a))
    if not (_array.is_readable(a) and _array.is_readable(b)):
        unchecked = functools.partial(space.fisher_rao_distance, check=False)
        return all_distances_with(points, unchecked, block_size)
    panel = block_size or panel_rows(a)

    @functools.lru_cache(maxsize=2)
    def prepared(which: int, start: int) -> Panel:
        return panel_of(points[which][start : min(start + panel, shape[which]), :], space)

    def measure(rows: slice, columns: slice) -> Array:
        left = prepared(0, rows.start // panel * panel)
        right = prepared(len(points) - 1, columns.start // panel * panel)
        return _distances(left, within(rows, panel), right, within(columns, panel))

    return assembled(measure, grid_of(*shape, panel, tile_rows(a), among), shape, among)


@dataclass(frozen=True)
class Panel:
    """Rows of points, ready to be compared.

    Parameters
    ----------
    points : array, shape (n, c)
        As given.
    roots : array, shape (n, c)
        The unit vectors sqrt(p), in the widest floating-point type of the device.
    space : module
        The space of the points, which has a sphere chart.
    xp : module
        The array namespace.
    """

    points: Array
    roots: Array
    space: Any
    xp: Namespace

    @functools.cached_property
    def narrow_roots(self) -> Array:
        """The roots in float32, without those whose products underflow slowly."""
        narrow = self.xp.astype(self.roots, self.xp.float32)
        return _without(narrow, narrow < 1e-15, self.xp)

    @functools.cached_property
    def offsets(self) -> Array:
        """The roots minus the vertex they are close to, with all digits; only for numpy."""
        offsets, (rows,) = self.roots.copy(), np.nonzero(self.vertices.label >= 0)
        offsets[rows, self.vertices.label[rows]] = -self.vertices.gap[rows]
        return offsets

    @functools.cached_property
    def vertices(self) -> _Vertices:
        """Where the rows are, seen from the vertices of the simplex."""
        return _vertices(self.roots, self.xp)


class _Vertices(NamedTuple):
    """Where unit vectors are, as seen from the vertex (one-hot point) that each is close to."""

    label: Array  # (n,) the outcome of probability above 3/4, -1 if there is none
    gap: Array  # (n,) 1 - x of that outcome, to full relative precision
    error: Array  # (n,) bound on the rounding error of the vector from the vertex to x


def panel_of(points: Array, space: Any) -> Panel:
    xp = array_namespace(points)
    wide = xp.astype(points, _array.widest_dtype(points, xp), copy=False)
    return Panel(points, space.SPHERE.unit_vectors(wide, xp), space, xp)


def _vertices(x: Array, xp: Namespace) -> _Vertices:
    top = xp.argmax(x, axis=-1)
    is_top = arange_like(x.shape[-1], x) == top[:, None]
    rest = xp.sum(xp.where(is_top, 0.0, x) ** 2, axis=-1)
    is_close = rest < 0.25
    gap = xp.where(is_close, rest / (1.0 + xp.sqrt(1.0 - rest)), 1.0)
    # Squares that underflow have no digits: such gaps count as larger than they are. Logits
    # that are t below the largest are rounded by t units, and gap is about exp(-t).
    size = _array.clip(gap, xp, min=float(xp.finfo(x.dtype).smallest_normal) ** 0.9)
    error = unit_error(x, xp) * (1.0 - xp.log(size) / 16.0) * xp.sqrt(2.0 * size)
    return _Vertices(xp.where(is_close, top, -1), gap, error)


def unit_error(x: Array, xp: Namespace) -> float:
    """Bound the rounding error of a unit vector, relative to its length."""
    return (16.0 + math.log(x.shape[-1])) * 0.5 * float(xp.finfo(x.dtype).eps)


def _tolerance(points: Array, xp: Namespace) -> float:
    """Return half the promised relative error."""
    return 5e-11 if xp.finfo(points.dtype).bits == 64 else 5e-5


def _sum_length(x: Array, xp: Namespace) -> int:
    """Return how many products are summed at most: the error bound grows with their number."""
    return 512 if xp.finfo(x.dtype).bits == 64 else 256


def cosines_of(x: Array, y: Array, xp: Namespace) -> Array:
    """Return the products of all rows of x with all rows of y."""
    multiply = functools.partial(xp.matmul, precision="highest") if is_jax_array(x) else xp.matmul
    cosines = None
    for columns in slices(0, x.shape[-1], _sum_length(x, xp)):
        part = multiply(x[:, columns], y[:, columns].T)
        cosines = part if cosines is None else cosines + part
    return cosines


def cosine_error(panel: Panel, x: Array) -> float:
    """Bound the rounding error of `cosines_of` for x, the unit vectors of the panel."""
    unit = 0.5 * float(panel.xp.finfo(x.dtype).eps)
    step = _sum_length(x, panel.xp)
    num_sums = min(x.shape[-1], step) + x.shape[-1] // step
    return (num_sums + 2) * unit + 2.0 * unit_error(panel.roots, panel.xp)


def _distances(left: Panel, rows: slice, right: Panel, columns: slice) -> Array:
    """Return the distances of some rows of one panel to some rows of another."""
    xp = left.xp
    for x, y in _factors(left, right):
        cosines = cosines_of(x[rows, :], y[columns, :], xp)
        # d = 2 arccos(g) turns an error e of g into the relative error e / (2 (1 - g)).
        limit = 1.0 - cosine_error(left, x) / (2.0 * _tolerance(left.points, xp))
        if bool(xp.max(cosines) < limit):
            return xp.astype(_arcs(cosines, xp), left.points.dtype, copy=False)
        is_near = cosines >= limit
        i, j = positions_of(is_near, xp)
        if i.shape[0] < _FEW * math.prod(cosines.shape):
            break
    chords = _near_chords(left, rows, right, columns, is_near, i, j)
    arcs = xp.astype(_arcs(_without(cosines, is_near, xp), xp), left.points.dtype, copy=False)
    return _scattered(arcs, is_near, xp.astype(4.0 * xp.asin(0.5 * chords), arcs.dtype), xp)


_FEW = 1 / 32  # the share of near pairs that is better measured pair by pair than multiplied anew


def _factors(left: Panel, right: Panel) -> Iterator[tuple[Array, Array]]:
    """Yield the unit vectors to multiply, in float32 first if that can do for the points."""
    if left.points.dtype == left.xp.float32 and is_exact_to_float32(left.points):
        yield left.narrow_roots, right.narrow_roots
    yield left.roots, right.roots


def is_exact_to_float32(x: Array) -> bool:
    """Whether float32 is an extra, and products of float32 matrices have all its digits."""
    if is_torch_array(x) and not x.is_cpu:
        import torch

        return x.device.type == "cuda" and torch.get_float32_matmul_precision() == "highest"
    return not is_jax_array(x) or is_in_host_memory(x)


def _arcs(cosines: Array, xp: Namespace) -> Array:
    if not isinstance(cosines, np.ndarray):
        return 2.0 * xp.acos(cosines)
    np.arccos(cosines, out=cosines)
    cosines *= 2.0
    return cosines


def _without(values: Array, flags: Array, xp: Namespace) -> Array:
    """Return the values with 0 in place of the flagged ones."""
    if not isinstance(values, np.ndarray):
        return xp.where(flags, xp.zeros_like(values), values)
    values[flags] = 0.0
    return values


def _near_chords(
    left: Panel, rows: slice, right: Panel, columns: slice, is_near: Array, i: Array, j: Array
) -> Array:
    """Return the chords of the flagged pairs of a tile; i and j are their positions."""
    i, j = i + rows.start, j + columns.start
    if not isinstance(is_near, np.ndarray) or i.size < _DENSE * is_near.size:
        return pair_chords(left, i, right, j)
    from scipy.spatial.distance import cdist

    vertices, others = left.vertices, right.vertices
    squared = cdist(left.offsets[rows], right.offsets[columns], "sqeuclidean")[is_near]
    error = vertices.error[i] + others.error[j]
    error[vertices.label[i] != others.label[j]] = np.inf
    return _settled(squared, error, left, i, right, j)


_DENSE = 1 / 6  # the share of near pairs from which on all differences cost less than theirs


def pair_chords(left: Panel, i: Array, right: Panel, j: Array) -> Array:
    """Return |x - y| for rows i of one panel and rows j of another, pair by pair."""
    spans = slices(0, i.shape[0], pair_rows(left.points))
    parts = [_squared_chords(left, i[pairs], right, j[pairs]) for pairs in spans]
    squared, error = (left.xp.concat(part) for part in zip(*parts, strict=True))
    return _settled(squared, error, left, i, right, j)


def _squared_chords(left: Panel, i: Array, right: Panel, j: Array) -> tuple[Array, Array]:
    """Return |x - y|^2 and bounds on the error of |x - y|."""
    xp = left.xp
    label, gap, error = (xp.take(part, i) for part in left.vertices)
    other_label, other_gap, other_error = (xp.take(part, j) for part in right.vertices)
    difference = xp.take(left.roots, i, axis=0) - xp.take(right.roots, j, axis=0)
    # From a common vertex, errors are relative to the distance from it, not to 1.
    is_shared = (label == other_label) & (label >= 0)
    difference = _with_entries(difference, is_shared, label, other_gap - gap, xp)
    error = xp.where(is_shared, error + other_error, 2.0 * unit_error(left.roots, xp))
    return xp.vecdot(difference, difference), error


def _settled(squared: Array, error: Array, left: Panel, i: Array, right: Panel, j: Array) -> Array:
    """Return the chords: those whose error is too large come from `fisher_rao_distance`."""
    xp = left.xp
    is_sure = squared * _tolerance(left.points, xp) ** 2 > error**2
    chords = xp.sqrt(xp.where(is_sure, squared, xp.ones_like(squared)))
    (unsure,) = xp.nonzero(~is_sure)
    if unsure.shape[0] == 0:
        return chords
    i, j = xp.take(i, unsure), xp.take(j, unsure)
    d = [
        left.space.fisher_rao_distance(
            xp.astype(xp.take(left.points, i[pairs], axis=0), chords.dtype, copy=False),
            xp.astype(xp.take(right.points, j[pairs], axis=0), chords.dtype, copy=False),
            check=False,
        )
        for pairs in slices(0, i.shape[0], pair_rows(left.points))
    ]
    exact = 2.0 * xp.sin(0.25 * xp.concat(d))
    return _scattered(chords, ~is_sure, exact, xp)


def positions_of(flags: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return the rows and columns of the flagged entries, row by row."""
    if isinstance(flags, np.ndarray):
        return np.divmod(np.flatnonzero(flags), flags.shape[1])
    (flat,) = xp.nonzero(xp.reshape(flags, (-1,)))
    return flat // flags.shape[1], flat % flags.shape[1]


def _scattered(values: Array, flags: Array, new: Array, xp: Namespace) -> Array:
    """Return the values with the flagged entries, in their order, replaced by new ones."""
    if isinstance(values, np.ndarray):
        values[flags] = new
        return values
    rank = xp.cumulative_sum(xp.astype(xp.reshape(flags, (-1,)), xp.int64)) - 1
    spread = xp.take(new, _array.clip(rank, xp, min=0))
    return xp.where(flags, xp.reshape(spread, values.shape), values)


def _with_entries(values: Array, flags: Array, columns: Array, new: Array, xp: Namespace) -> Array:
    """Return the values with one entry of each flagged row replaced."""
    if isinstance(values, np.ndarray):
        (rows,) = np.nonzero(flags)
        values[rows, columns[rows]] = new[rows]
        return values
    column = xp.arange(values.shape[1], device=_array.device_of(values))
    return xp.where(flags[:, None] & (column == columns[:, None]), new[:, None], values)
