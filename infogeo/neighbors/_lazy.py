"""Distances and nearest points of dask arrays, block by block."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from infogeo._array import Array
from infogeo.neighbors._copies import row_keys
from infogeo.neighbors._distances import all_distances
from infogeo.neighbors._search import nearest_predictions, with_ties


def lazy_pairwise(batches: list[Array], space: Any, block_size: int | None) -> Array:
    """Return all distances of dask arrays, block by block."""
    import dask.array

    a, b = _in_rows(batches)
    block = functools.partial(_pairwise_block, space, block_size, len(batches) == 1)
    return dask.array.blockwise(
        block, "ij", a, "ik", b, "jk", _numbers(a), "i", _numbers(b), "j",
        dtype=a.dtype, meta=a._meta, concatenate=True, align_arrays=False,
    )  # fmt: skip


def _in_rows(batches: list[Array]) -> tuple[Array, Array]:
    batches = [batch.rechunk({1: -1}) for batch in batches]
    return batches[0], batches[-1]


def _numbers(a: Array) -> Array:
    """Return the numbers of the blocks of rows, one in each block."""
    import dask.array

    return dask.array.arange(a.numblocks[0], chunks=1)


def _pairwise_block(
    space: Any, block_size: int | None, among: bool, a: Array, b: Array, i: Array, j: Array
) -> Array:
    if not among or i[0] < j[0]:
        return all_distances([a, b], space, block_size)
    if i[0] == j[0]:
        return all_distances([a], space, block_size)
    return all_distances([b, a], space, block_size).T  # the very numbers of the block it mirrors


def lazy_nearest(batches: list[Array], space: Any, num: int) -> tuple[Array, Array]:
    """Return the nearest points of dask arrays: block by block, then the best of all blocks."""
    import dask.array

    queries, points = _in_rows(batches)
    record = record_of(points.dtype)
    found = dask.array.blockwise(
        functools.partial(nearest_block, space, num, len(batches) == 1, record),
        "ij", queries, "ik", points, "jk", _starts(queries), "i", _starts(points), "j",
        adjust_chunks={"j": num}, dtype=record, meta=np.empty((0, 0), record),
        concatenate=True, align_arrays=False,
    )  # fmt: skip
    best = dask.array.reduction(
        found,
        chunk=_unchanged,
        aggregate=functools.partial(best_of_blocks, num),
        axis=1,
        keepdims=True,
        dtype=record,
        meta=np.empty((0, 0), record),
        split_every=8,
        output_size=num,
    )
    return best["index"], best["distance"]


def record_of(dtype: Any) -> np.dtype:
    """Return what a neighbour is: its row, its distance, and a key that its copies share."""
    return np.dtype([("index", np.int64), ("distance", dtype), ("key", np.int64)])


def _starts(a: Array) -> Array:
    """Return the number of the first row of each block, one in each block."""
    import dask.array

    return dask.array.from_array(np.cumsum((0, *a.chunks[0]))[:-1], chunks=1)


def nearest_block(
    space: Any, num: int, among: bool, record: Any, queries: Any, points: Any, i: Any, j: Any
) -> np.ndarray:
    is_diagonal = among and i[0] == j[0]
    batches = [queries] if is_diagonal else [queries, points]
    found = np.zeros((queries.shape[0], num), record)
    found["distance"] = np.inf
    num = min(num, points.shape[0] - is_diagonal)
    if num > 0:
        indices, d = nearest_predictions(batches, space, num)
        found["index"][:, :num] = np.asarray(indices) + j[0]
        found["distance"][:, :num] = np.asarray(d)
        found["key"][:, :num] = row_keys(points)[np.asarray(indices)]
    return found


def _unchanged(found: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    return found


def best_of_blocks(num: int, found: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    order = np.lexsort((found["distance"], found["key"]), axis=1)
    found = np.take_along_axis(found, order, axis=1)
    found["distance"] = with_ties(found["distance"], found["key"], np)  # copies in other blocks
    order = np.lexsort((found["index"], found["distance"]), axis=1)[:, :num]
    return np.take_along_axis(found, order, axis=1)
