"""Matrices of distances, tile by tile, so that memory is bounded and the cache is used."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse
from array_api_compat import (
    array_namespace,
    is_array_api_obj,
    is_jax_array,
    is_torch_array,
    is_writeable_array,
)

from infogeo import _array
from infogeo._array import Array


def length_of(batch: Any) -> int:
    has_shape = is_array_api_obj(batch) or scipy.sparse.issparse(batch)
    return batch.shape[0] if has_shape else len(batch)


_TILE = 500  # rows and columns of a block of distances: 2 MB of float64, often in the cache
_LARGE_TILE = 1000  # for long products, and for libraries that pay more for a call than numpy
PANEL_ENTRIES = 2_000_000  # numbers in the largest panel, 16 MB of float64
PAIR_ENTRIES = 65_536  # numbers in a batch of pairs that are measured one by one


def tile_rows(points: Array) -> int:
    is_small = isinstance(points, np.ndarray) and points.shape[-1] < 256
    return _TILE if is_small else _LARGE_TILE


def panel_rows(points: Array) -> int:
    """Return the rows of a panel: whole tiles, so that none is cut."""
    return max(1, min(4, PANEL_ENTRIES // (1000 * points.shape[-1]))) * 1000


def pair_rows(points: Array) -> int:
    entries = PAIR_ENTRIES if isinstance(points, np.ndarray) else 16 * PAIR_ENTRIES
    return max(1, entries // max(1, math.prod(points.shape[1:])))


def slices(start: int, stop: int, step: int) -> Iterator[slice]:
    """Yield slices from start to stop; one empty slice if there is nothing."""
    for first in range(start, max(stop, start + 1), step):
        yield slice(first, min(first + step, stop))


def grid_of(
    n: int, m: int, panel: int, tile: int, is_symmetric: bool
) -> Iterator[tuple[slice, slice]]:
    """Yield the tiles of an n x m matrix, panel by panel; of a symmetric one the upper half."""
    for outer_rows in slices(0, n, panel):
        for outer_columns in slices(0, m, panel):
            for rows in slices(outer_rows.start, outer_rows.stop, tile):
                for columns in slices(outer_columns.start, outer_columns.stop, tile):
                    if not is_symmetric or columns.start >= rows.start:
                        yield rows, columns


def assembled(
    measure: Callable[[slice, slice], Array],
    grid: Iterator[tuple[slice, slice]],
    shape: tuple[int, int],
    is_symmetric: bool,
) -> Array:
    """Return the matrix of all tiles, mirrored if it is symmetric."""
    result, tiles = None, {}
    for rows, columns in grid:
        tile = measure(rows, columns)
        xp = array_namespace(tile)
        if is_symmetric and rows == columns:
            upper = xp.triu(tile, k=1)
            tile = upper + upper.T
        if not (is_writeable_array(tile) and _array.is_readable(tile)):
            tiles[rows.start, columns.start] = tile
            continue
        if result is None:
            result = xp.empty(shape, dtype=tile.dtype, device=_array.device_of(tile))
        result[rows, columns] = tile
        if is_symmetric and rows != columns:
            result[columns, rows] = tile.T
    return _joined(tiles, is_symmetric) if result is None else result


def _joined(tiles: dict[tuple[int, int], Array], is_symmetric: bool) -> Array:
    """Join tiles of a library whose arrays cannot be written to."""
    if is_symmetric:
        tiles |= {(j, i): tile.T for (i, j), tile in tiles.items() if i != j}
    xp = array_namespace(tiles[0, 0])
    starts, column_starts = ({key[axis]: None for key in sorted(tiles)} for axis in (0, 1))
    strips = [xp.concat([tiles[i, j] for j in sorted(column_starts)], axis=1) for i in starts]
    return xp.concat(strips, axis=0)


def within(rows: slice, panel: int) -> slice:
    """Return the same rows, counted from the start of their panel."""
    start = rows.start % panel
    return slice(start, start + rows.stop - rows.start)


def arange_like(stop: int, like: Array) -> Array:
    """Return 0, 1, ..., stop - 1 beside an array."""
    return array_namespace(like).arange(stop, device=_array.device_of(like))


def is_in_host_memory(x: Array) -> bool:
    if is_jax_array(x):
        return all(device.platform == "cpu" for device in x.devices())
    return not is_torch_array(x) or x.is_cpu
