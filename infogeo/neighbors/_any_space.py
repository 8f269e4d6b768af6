"""All distances and nearest points in any space, from a distance that broadcasts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from array_api_compat import (
    array_namespace,
    is_array_api_obj,
)

from infogeo._array import Array
from infogeo.neighbors._blocks import (
    PAIR_ENTRIES,
    arange_like,
    assembled,
    grid_of,
    length_of,
    slices,
)


def all_distances_with(
    batches: list[Any], distance: Callable[..., Any], block_size: int | None
) -> Array:
    """Return all distances, from a function that broadcasts."""
    a, b = batches[0], batches[-1]
    among = len(batches) == 1
    shape = length_of(a), length_of(b)
    tile = block_size or _direct_rows(a)

    def measure(rows: slice, columns: slice) -> Array:
        return distance(a[rows, None, ...], b[None, columns, ...])

    return assembled(measure, grid_of(*shape, tile, tile, among), shape, among)


def searched_with(
    queries: Any, points: Any, num: int, *, distance: Callable[..., Any]
) -> tuple[Array, Array]:
    """Return indices and distances of the nearest points, from a function that broadcasts."""
    tile = _direct_rows(queries)
    best = []
    for rows in slices(0, length_of(queries), tile):
        d = indices = None
        for columns in slices(0, length_of(points), tile):
            block = distance(queries[rows, None, ...], points[None, columns, ...])
            xp = array_namespace(block)
            column = xp.broadcast_to(arange_like(columns.stop, block)[columns], block.shape)
            d = block if d is None else xp.concat([d, block], axis=1)
            indices = column if indices is None else xp.concat([indices, column], axis=1)
            order = xp.argsort(d, axis=1, stable=True)[:, :num]
            d = xp.take_along_axis(d, order, axis=1)
            indices = xp.take_along_axis(indices, order, axis=1)
        best.append((indices, d))
    indices, d = (xp.concat(part, axis=0) for part in zip(*best, strict=True))
    return indices, d


def _direct_rows(batch: Any) -> int:
    """Return how many rows a block has.

    The arrays of its pairs hold about a quarter million numbers. Where the size of a point is not
    known, a block has 4096 pairs.
    """
    if not is_array_api_obj(batch):
        return 64
    return max(1, math.isqrt(4 * PAIR_ENTRIES // max(1, math.prod(batch.shape[1:]))))
