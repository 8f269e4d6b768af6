"""The nearest predictions: candidates by matrix products or a k-d tree, then their distances."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, is_torch_array

from infogeo import _array
from infogeo._array import Array, Namespace
from infogeo.neighbors._any_space import searched_with
from infogeo.neighbors._blocks import (
    PAIR_ENTRIES,
    arange_like,
    is_in_host_memory,
    length_of,
    pair_rows,
    panel_rows,
    slices,
    tile_rows,
)
from infogeo.neighbors._copies import copies_of, with_copies
from infogeo.neighbors._distances import (
    Panel,
    cosine_error,
    cosines_of,
    is_exact_to_float32,
    pair_chords,
    panel_of,
    positions_of,
    unit_error,
)

_TREE_OUTCOMES, _TREE_POINTS = 7, 10_000  # where a k-d tree starts to beat matrix products


def nearest_predictions(
    batches: list[Array], space: Any, num_neighbors: int
) -> tuple[Array, Array]:
    """Return indices and distances of the nearest probabilities or logits."""
    queries, points = batches[0], batches[-1]
    if queries.shape[0] == 0:
        xp = array_namespace(queries)
        nothing = xp.zeros((0, num_neighbors), dtype=points.dtype, device=_array.device_of(points))
        return xp.astype(nothing, arange_like(0, points).dtype), nothing
    distance = functools.partial(space.fisher_rao_distance, check=False)
    if _array.is_readable(queries) and _array.is_readable(points):
        search = functools.partial(_searched, space=space, distance=distance)
    else:
        search = functools.partial(searched_with, distance=distance)
    return in_order(search, batches, num_neighbors)


def _searched(
    queries: Array, points: Array, num: int, *, space: Any, distance: Callable[..., Any]
) -> tuple[Array, Array]:
    """Return indices and distances of the nearest points, in no order."""
    xp = array_namespace(queries)
    chords, indices = _candidates(queries, points, space, num)
    d = with_ties(_measured(queries, points, indices, distance), chords, xp)
    return indices, xp.astype(d, points.dtype, copy=False)


def in_order(search: Callable[..., Any], batches: list[Any], num: int) -> tuple[Array, Array]:
    """Return indices and distances of the nearest points, from a search among different ones.

    How a batch is summed may part the distances of copies by a unit in the last place, and they
    would lose their order: so a point is measured once for all its copies.
    """
    queries, points = batches[0], batches[-1]
    among = len(batches) == 1
    copies = copies_of(points)
    if copies is not None:
        points = array_namespace(points).take(points, copies.firsts, axis=0)
    width = min(num + among, length_of(points))
    indices, d = search(queries, points, width)
    xp, parts = array_namespace(d), []
    for rows in slices(0, d.shape[0], max(1, PAIR_ENTRIES // width**2)):
        index, distance = indices[rows, :], d[rows, :]
        if copies is not None:
            index, distance = with_copies(index, distance, copies, num + among, xp)
        if among:
            row = arange_like(rows.stop, d)[rows][:, None]
            distance = xp.where(index == row, xp.inf, distance)
        parts.append(_sorted(index, distance, num, xp))
    indices, d = (xp.concat(part, axis=0) for part in zip(*parts, strict=True))
    return indices, d


def _measured(queries: Array, points: Array, indices: Array, distance: Callable[..., Any]) -> Array:
    """Return the distances of each query to its candidates."""
    xp = array_namespace(queries)
    num, wide = indices.shape[1], _array.widest_dtype(points, xp)
    parts = []
    for rows in slices(0, queries.shape[0], max(1, pair_rows(points) // num)):
        flat = xp.reshape(indices[rows, :], (-1,))
        found = xp.reshape(xp.take(points, flat, axis=0), (-1, num, points.shape[1]))
        near = xp.astype(queries[rows, None, :], wide, copy=False)
        parts.append(distance(near, xp.astype(found, wide, copy=False)))
    return xp.concat(parts, axis=0)


def with_ties(d: Array, keys: Array, xp: Namespace) -> Array:
    """Return the distances with one value for neighbouring candidates of one key."""
    ties = keys[:, 1:] == keys[:, :-1]
    if not bool(xp.any(ties)):
        return d
    columns = [d[:, 0]]
    for column in range(1, d.shape[1]):
        columns.append(xp.where(ties[:, column - 1], columns[-1], d[:, column]))
    return xp.stack(columns, axis=1)


def _sorted(indices: Array, d: Array, num: int, xp: Namespace) -> tuple[Array, Array]:
    """Return the first candidates, by distance and then by index."""
    order = xp.argsort(indices, axis=1)
    indices, d = xp.take_along_axis(indices, order, axis=1), xp.take_along_axis(d, order, axis=1)
    order = xp.argsort(d, axis=1, stable=True)[:, :num]
    return xp.take_along_axis(indices, order, axis=1), xp.take_along_axis(d, order, axis=1)


def _candidates(queries: Array, points: Array, space: Any, num: int) -> tuple[Array, Array]:
    """Return chords and indices of the points next to each query, sorted by both."""
    queries, points = _array.detached(queries), _array.detached(points)
    if (
        points.shape[1] <= _TREE_OUTCOMES
        and points.shape[0] >= max(_TREE_POINTS, 2 * num)
        and is_in_host_memory(points)
    ):
        return _from_tree(queries, points, space, num)
    return _from_blocks(queries, points, space, num)


def _from_blocks(queries: Array, points: Array, space: Any, num: int) -> tuple[Array, Array]:
    """Find candidates by matrix products, tile by tile."""
    xp, panel, tile = array_namespace(points), panel_rows(points), tile_rows(points)
    best = []
    for outer in slices(0, queries.shape[0], panel):
        left = panel_of(queries[outer, :], space)
        spans = list(slices(0, outer.stop - outer.start, tile))
        found = [_no_candidates(rows, num, left) for rows in spans]
        for inner in slices(0, points.shape[0], panel):
            right = panel_of(points[inner, :], space)
            for columns in slices(0, inner.stop - inner.start, 4 * tile):
                found = [
                    _improved(best_yet, left, rows, right, columns, inner.start)
                    for best_yet, rows in zip(found, spans, strict=True)
                ]
        best += found
    chords, indices, _ = zip(*best, strict=True)
    return xp.concat(chords, axis=0), xp.concat(indices, axis=0)


class _Candidates(NamedTuple):
    """The best points found so far for some rows, sorted by chord and then by index."""

    chords: Array  # (rows, num)
    indices: Array  # (rows, num)
    is_spread: bool  # products in float32 have told the points apart so far


def _no_candidates(rows: slice, num: int, left: Panel) -> _Candidates:
    xp, shape, device = left.xp, (rows.stop - rows.start, num), _array.device_of(left.roots)
    chords = xp.full(shape, xp.inf, dtype=left.roots.dtype, device=device)
    indices = xp.zeros(shape, dtype=arange_like(0, left.roots).dtype, device=device)
    return _Candidates(chords, indices, is_exact_to_float32(left.points))


def _improved(
    best: _Candidates, left: Panel, rows: slice, right: Panel, columns: slice, first: int
) -> _Candidates:
    """Return the candidates after a look at some columns of a panel that starts at `first`."""
    xp, (num_rows, num) = left.xp, best.chords.shape
    if best.is_spread:
        i, j = _within_reach(best, left, left.narrow_roots[rows, :], right.narrow_roots[columns, :])
        best = best._replace(is_spread=i.shape[0] < 4 * num * num_rows)
    if not best.is_spread:
        i, j = _within_reach(best, left, left.roots[rows, :], right.roots[columns, :])
    if i.shape[0] == 0:
        return best
    new = pair_chords(left, i + rows.start, right, j + columns.start)
    (is_better,) = xp.nonzero(new < xp.take(best.chords[:, -1], i))
    new, i, j = (xp.take(part, is_better) for part in (new, i, j))
    return _merged(best, i, new, j + columns.start + first, xp)


def _within_reach(best: _Candidates, left: Panel, x: Array, y: Array) -> tuple[Array, Array]:
    """Return the positions of the pairs of rows of x and y that may better the candidates."""
    xp, farthest = left.xp, best.chords[:, -1]
    slack = 2.0 * cosine_error(left, x)
    # Nothing is nearer than 0, and among copies the first ones win.
    bar = xp.where(farthest == 0.0, xp.inf, 1.0 - 0.5 * farthest**2 - slack)
    bar = xp.astype(bar, x.dtype, copy=False)
    return _above(cosines_of(x, y, xp), bar, best.chords.shape[1], slack, xp)


def _above(
    cosines: Array, bar: Array, num: int, slack: float, xp: Namespace
) -> tuple[Array, Array]:
    """Return the positions of the cosines that reach the bar of their row.

    If there are many, the bar is raised so that the `num` largest of each row still reach it.
    """
    num_rows, length = cosines.shape
    depth = 20 if length % 20 == 0 else 1
    # The largest of 20 each: most of these are below the bar.
    peaks = xp.max(xp.reshape(cosines, (num_rows, depth, -1)), axis=1)
    i, peak = positions_of(peaks >= bar[:, None], xp)
    if i.shape[0] > num * num_rows and length >= num:
        values = peaks if peaks.shape[1] >= num else cosines
        bar = xp.maximum(bar, _largest(values, num, xp) - slack)
        i, peak = positions_of(peaks >= bar[:, None], xp)
    columns = peak[:, None] + length // depth * arange_like(depth, cosines)
    found = xp.take(xp.reshape(cosines, (-1,)), xp.reshape(i[:, None] * length + columns, (-1,)))
    is_above = xp.reshape(found, columns.shape) >= xp.take(bar, i)[:, None]
    k, member = positions_of(is_above, xp)
    return xp.take(i, k), xp.take(xp.reshape(columns, (-1,)), k * depth + member)


def _largest(x: Array, num: int, xp: Namespace) -> Array:
    """Return the entry of each row that is the `num`-th largest."""
    if isinstance(x, np.ndarray):
        return -np.partition(-x, num - 1, axis=1)[:, num - 1]
    if is_torch_array(x):
        return x.topk(num, dim=1).values[:, -1]
    return xp.sort(x, axis=1, descending=True)[:, num - 1]


def _merged(best: _Candidates, i: Array, new: Array, j: Array, xp: Namespace) -> _Candidates:
    """Return the candidates with new ones: point j for row i, at a chord; i is ascending."""
    if i.shape[0] == 0:
        return best
    chords, indices, is_spread = best
    num = chords.shape[1]
    (ends,) = xp.nonzero(i[1:] != i[:-1])
    rows = xp.concat([i[:1], xp.take(i, ends + 1)])
    row = xp.concat([xp.repeat(rows, num), i])
    chord = xp.concat([xp.reshape(xp.take(chords, rows, axis=0), (-1,)), new])
    index = xp.concat([xp.reshape(xp.take(indices, rows, axis=0), (-1,)), j])
    order = xp.argsort(index, stable=True)
    for key in (chord, row):
        order = xp.take(order, xp.argsort(xp.take(key, order), stable=True))
    starts = xp.searchsorted(xp.take(row, order), rows)
    kept = xp.take(order, xp.reshape(starts[:, None] + arange_like(num, chords), (-1,)))
    chords = _with_rows(chords, rows, xp.reshape(xp.take(chord, kept), (-1, num)), xp)
    indices = _with_rows(indices, rows, xp.reshape(xp.take(index, kept), (-1, num)), xp)
    return _Candidates(chords, indices, is_spread)


def _with_rows(values: Array, rows: Array, new: Array, xp: Namespace) -> Array:
    """Return the values with some rows, in ascending order, replaced."""
    if isinstance(values, np.ndarray):
        values[rows] = new
        return values
    place = xp.searchsorted(rows, arange_like(values.shape[0], values))
    place = _array.clip(place, xp, max=rows.shape[0] - 1)
    is_new = xp.take(rows, place) == arange_like(values.shape[0], values)
    return xp.where(is_new[:, None], xp.take(new, place, axis=0), values)


def _from_tree(queries: Array, points: Array, space: Any, num: int) -> tuple[Array, Array]:
    """Find candidates by a k-d tree, and by matrix products where the tree may miss some."""
    from scipy.spatial import cKDTree

    xp = array_namespace(points)
    tree = cKDTree(np.asarray(panel_of(points, space).roots, dtype=np.float64))
    roots = panel_of(queries, space).roots
    chords, indices = tree.query(np.asarray(roots, dtype=np.float64), k=num + 1, workers=-1)
    (unsure,) = np.nonzero(chords[:, num] - chords[:, num - 1] <= 4.0 * unit_error(roots, xp))
    chords, indices = chords[:, :num], indices[:, :num]
    if unsure.size:
        some = xp.take(queries, xp.asarray(unsure, device=_array.device_of(queries)), axis=0)
        found = _from_blocks(some, points, space, num)
        chords[unsure], indices[unsure] = (np.asarray(part) for part in found)
    device = _array.device_of(points)
    dtype = arange_like(0, points).dtype
    return xp.asarray(chords, device=device), xp.asarray(indices, dtype=dtype, device=device)
