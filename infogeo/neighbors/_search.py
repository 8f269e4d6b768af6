"""The nearest predictions: candidates by matrix products or trees, then their distances."""

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
    PANEL_ENTRIES,
    arange_like,
    is_in_host_memory,
    length_of,
    pair_rows,
    panel_rows,
    slices,
    tile_rows,
)
from infogeo.neighbors._cells import Cells, cells_of
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

_TREE_POINTS = 10_000  # from so many points on, a tree pays for its making
_TREE_OUTCOMES = 5  # up to so many, a search point by point sees fewer of them than a product
_CELL_QUERIES = 2000  # with fewer, multiplying all of them costs less than to make cells
_CELL_ROWS = 2000  # queries that are multiplied with a cell at a time: 2 MB of float32


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
    if points.shape[0] < max(_TREE_POINTS, 2 * num) or not is_in_host_memory(points):
        return _from_blocks(queries, points, space, num)
    if points.shape[1] <= _TREE_OUTCOMES:
        return _from_tree(queries, points, space, num)
    if queries.shape[0] < _CELL_QUERIES:
        return _from_blocks(queries, points, space, num)
    xp, device = array_namespace(points), _array.device_of(points)
    found = _from_cells(np.asarray(queries), np.asarray(points), space, num)
    return tuple(xp.asarray(part, device=device) for part in found)


def _from_blocks(queries: Array, points: Array, space: Any, num: int) -> tuple[Array, Array]:
    """Find candidates by matrix products, tile by tile."""
    xp, panel, tile = array_namespace(points), panel_rows(points), tile_rows(points)
    found = []
    for outer in slices(0, queries.shape[0], panel):
        left = panel_of(queries[outer, :], space)
        best = _no_candidates(num, left)
        for inner in slices(0, points.shape[0], panel):
            right = panel_of(points[inner, :], space)
            numbers = arange_like(inner.stop, points)[inner]
            for columns in slices(0, inner.stop - inner.start, 4 * tile):
                for rows in slices(0, outer.stop - outer.start, tile):
                    best = _improved(best, left, rows, right, columns, numbers)
        found.append(best)
    chords, indices, _ = zip(*found, strict=True)
    return xp.concat(chords, axis=0), xp.concat(indices, axis=0)


class _Candidates(NamedTuple):
    """The best points found so far for some rows, sorted by chord and then by index."""

    chords: Array  # (rows, num)
    indices: Array  # (rows, num)
    is_spread: bool  # products in float32 have told the points apart so far


def _no_candidates(num: int, left: Panel) -> _Candidates:
    xp, shape, device = left.xp, (left.roots.shape[0], num), _array.device_of(left.roots)
    chords = xp.full(shape, xp.inf, dtype=left.roots.dtype, device=device)
    indices = xp.zeros(shape, dtype=arange_like(0, left.roots).dtype, device=device)
    return _Candidates(chords, indices, is_exact_to_float32(left.points))


def _improved(
    best: _Candidates,
    left: Panel,
    rows: slice | Array,
    right: Panel,
    columns: slice,
    numbers: Array,
) -> _Candidates:
    """Return the candidates after some rows looked at some columns, whose points have numbers."""
    xp, num, farthest = left.xp, best.chords.shape[1], best.chords[rows, -1]
    if best.is_spread:
        x, y = left.narrow_roots[rows, :], right.narrow_roots[columns, :]
        i, j = _within_reach(farthest, num, left, x, y)
        best = best._replace(is_spread=i.shape[0] < 4 * num * farthest.shape[0])
    if not best.is_spread:
        x, y = left.roots[rows, :], right.roots[columns, :]
        i, j = _within_reach(farthest, num, left, x, y)
    if i.shape[0] == 0:
        return best
    row, j = i + rows.start if isinstance(rows, slice) else rows[i], j + columns.start
    new = pair_chords(left, row, right, j)
    (is_better,) = xp.nonzero(new <= xp.take(farthest, i))
    new, row, j = (xp.take(part, is_better) for part in (new, row, j))
    return _merged(best, row, new, xp.take(numbers, j), xp)


def _within_reach(
    farthest: Array, num: int, left: Panel, x: Array, y: Array
) -> tuple[Array, Array]:
    """Return the positions of the pairs of rows of x and y that may better the candidates."""
    xp = left.xp
    slack = 2.0 * cosine_error(left, x)
    # Nothing is nearer than 0, and among copies the first ones win.
    bar = xp.where(farthest == 0.0, xp.inf, 1.0 - 0.5 * farthest**2 - slack)
    bar = xp.astype(bar, x.dtype, copy=False)
    return _above(cosines_of(x, y, xp), bar, num, slack, xp)


def _above(
    cosines: Array, bar: Array, num: int, slack: float, xp: Namespace
) -> tuple[Array, Array]:
    """Return the positions of the cosines that reach the bar of their row.

    If there are many, the bar is raised so that the `num` largest of each row still reach it.
    """
    num_rows, length = cosines.shape
    depth = 20 if length % 20 == 0 and length >= 1000 else 1
    # The largest of 20 each: most of these are below the bar.
    peaks = xp.max(xp.reshape(cosines, (num_rows, depth, -1)), axis=1) if depth > 1 else cosines
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


def _from_cells(queries: Array, points: Array, space: Any, num: int) -> tuple[Array, Array]:
    """Find candidates by matrix products with the cells that are near enough; only for numpy."""
    cells = cells_of(points, space)
    coordinates = cells.coordinates(queries)
    numbers, places = zip(*cells.homes(coordinates), strict=True)
    # In this order the queries of a cell are next to each other, which makes the cache useful.
    order, home = np.concatenate(places), np.repeat(numbers, [place.size for place in places])
    chords, indices = np.empty((order.size, num)), np.empty((order.size, num), dtype=np.int64)
    for part in slices(0, order.size, max(1, PANEL_ENTRIES // points.shape[1])):
        rows = order[part]
        left = panel_of(queries[rows, :], space)
        best = _found_in(cells, left, coordinates[:, rows], home[part], num)
        if best is None:
            chords[rows], indices[rows] = _from_blocks(queries[rows, :], points, space, num)
        else:
            chords[rows], indices[rows] = best.chords, best.indices
    (unsure,) = np.nonzero(chords[:, -1] == 0.0)  # more points than wanted may be as near
    if unsure.size:
        chords[unsure], indices[unsure] = _from_blocks(queries[unsure], points, space, num)
    return chords, indices


def _found_in(
    cells: Cells, left: Panel, coordinates: Array, home: Array, num: int
) -> _Candidates | None:
    """Return the nearest points in cells to some queries, or None if most of the cells are near."""
    best, reach = _no_candidates(num, left), np.empty(home.size)

    def look_into(cell: int, rows: Array) -> None:
        right, now = panel_of(cells.points[cells.rows[cell], :], cells.space), best
        for part in (rows[span] for span in slices(0, rows.size, _CELL_ROWS) if rows.size):
            now = _improved(now, left, part, right, slice(0, None), cells.rows[cell])
            reach[part] = cells.reach(now.chords[part, -1])  # the arrays are those of `best`

    starts = np.flatnonzero(np.diff(home, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], home.size], strict=True):
        look_into(int(home[start]), np.arange(start, stop))
    few = slice(None, None, 50)
    num_visits = sum(rows.size for _, rows, _ in cells.visits(coordinates[:, few], reach[few]))
    if num_visits > 2 / 3 * len(cells.rows) * reach[few].size:
        return None
    # First what is much nearer than the candidates so far: then fewer visits are left.
    soon = 0.6 * reach
    for cell, rows, _ in cells.visits(coordinates, soon):
        look_into(cell, rows[home[rows] != cell])
    for cell, rows, squared in cells.visits(coordinates, reach):
        look_into(cell, rows[(home[rows] != cell) & (squared > soon[rows] ** 2)])
    return best


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
