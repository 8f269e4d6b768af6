"""Sparse matrices of distances, as scikit-learn takes them: rows sorted by distance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
from array_api_compat import is_dask_array

from infogeo import _array
from infogeo._array import Array
from infogeo.neighbors._blocks import length_of, slices

_PAIRS_AT_A_TIME = 4_000_000


def graph_of(indices: np.ndarray, distances: np.ndarray, num_points: int) -> scipy.sparse.csr_array:
    """Return the matrix of the nearest points of each query."""
    num_queries, num_neighbors = indices.shape
    starts = np.arange(num_queries + 1) * num_neighbors
    return scipy.sparse.csr_array(
        (distances.ravel(), indices.ravel(), starts), shape=(num_queries, num_points)
    )


def graph_within(batches: list[Any], radius: float, measure: Callable[[Any, Any], Array]) -> Any:
    """Return the matrix of all pairs within a radius; each pair of one batch is measured once."""
    batches = [np.asarray(batch) if is_dask_array(batch) else batch for batch in batches]
    queries, points = batches[0], batches[-1]
    shape = length_of(queries), length_of(points)
    is_among = len(batches) == 1
    found: list[tuple[np.ndarray, ...]] = []
    for rows in slices(0, shape[0], max(1, _PAIRS_AT_A_TIME // max(1, shape[1]))):
        first = rows.start if is_among else 0
        d = np.asarray(_array.on_host(measure(queries[rows, ...], points[first:, ...])))
        is_near = d <= radius
        if is_among:
            is_near = np.triu(is_near, 1)  # the block begins on the diagonal
        i, j = np.nonzero(is_near)
        found.append((i + rows.start, j + first, d[i, j]))
    i, j, d = (np.concatenate(part) for part in zip(*found, strict=True)) if found else _NOTHING
    if is_among:
        i, j, d = np.concatenate([i, j]), np.concatenate([j, i]), np.concatenate([d, d])
    order = np.lexsort((j, d, i))
    starts = np.searchsorted(i[order], np.arange(shape[0] + 1))
    return scipy.sparse.csr_array((d[order], j[order], starts), shape=shape)


_NOTHING = np.zeros(0, dtype=int), np.zeros(0, dtype=int), np.zeros(0)
