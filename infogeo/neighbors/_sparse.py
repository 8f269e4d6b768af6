"""Rows of scipy's sparse matrices: blocks of them are made dense, in the outcomes that they have.

Outcomes that are 0 in all rows of two blocks change none of their distances, so they are left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse

from infogeo._array import PROBABILITIES, Array, BadValueError, Rule, gate
from infogeo.neighbors._blocks import assembled, grid_of, slices
from infogeo.neighbors._distances import all_distances
from infogeo.neighbors._lazy import best_of_blocks, nearest_block, record_of

_DENSE_ENTRIES = 8_000_000  # numbers in the dense rows of a block, 64 MB of float64


def has_sparse(given: dict[str, Any]) -> bool:
    """Whether some of the arguments are sparse."""
    return any(map(scipy.sparse.issparse, given.values()))


def gate_sparse(
    check: bool, rule: Any, given: dict[str, Any], gate_rows: Callable[..., Any]
) -> list[Any]:
    """Gate arguments of which some are sparse; return all as csr arrays of one dtype."""
    sparse = {n: scipy.sparse.csr_array(x) for n, x in given.items() if scipy.sparse.issparse(x)}
    if rule is not PROBABILITIES:
        name = next(iter(sparse))
        raise TypeError(
            f"{name} must be a dense array in this space, where an entry that a sparse matrix "
            f"leaves out is no 0 of a probability: got {type(given[name]).__name__}. Call "
            "toarray() first."
        )
    without_rows = {n: (x[:0] if x.ndim == 2 else x).toarray() for n, x in sparse.items()}
    _, *arrays = gate_rows(check, rule, given | without_rows)
    if not isinstance(arrays[0], np.ndarray):
        raise TypeError(f"{next(iter(sparse))} is sparse, so all arguments must be numpy's.")
    for name, x in sparse.items() if check else ():
        for rows in slices(0, x.shape[0], max(1, _DENSE_ENTRIES // x.shape[1])):
            _check(name, rule, x[rows].toarray(), rows.start)
    found = [scipy.sparse.csr_array(sparse.get(n, x)) for n, x in zip(given, arrays, strict=True)]
    return [_canonical(x.astype(arrays[0].dtype)) for x in found]


def _check(name: str, rule: Rule, block: np.ndarray, start: int) -> None:
    """Gate a block of rows; messages number the rows of the whole."""
    try:
        gate(True, **{name: (rule, block)})
    except BadValueError as error:
        seen = re.sub(r"\(row (\d+)\)", lambda row: f"(row {int(row[1]) + start})", error.seen)
        row = None if error.row is None else error.row + start
        raise BadValueError(name, error.rule, seen, error.advice, row) from None


def _canonical(x: Any) -> Any:
    """Return a copy without stored zeros, each row in the order of its columns."""
    x = x.copy()
    x.sum_duplicates()
    x.eliminate_zeros()
    return x


def _block_rows(batches: list[Any]) -> int:
    """Return the rows of a block: two of them have few outcomes, or all."""
    most = max(1, *(math.ceil(x.nnz / max(1, x.shape[0])) for x in batches))
    few = math.isqrt(_DENSE_ENTRIES // (2 * most))
    return min(4000, max(1, few, _DENSE_ENTRIES // batches[0].shape[1]))


def _dense(*blocks: Any) -> list[np.ndarray]:
    """Return blocks of rows as dense ones, in the outcomes that any of them has."""
    used = np.unique(np.concatenate([block.indices for block in blocks]))
    used = used if used.size else np.zeros(1, dtype=int)
    return [block[:, used].toarray() for block in blocks]


def sparse_pairwise(batches: list[Any], space: Any, block_size: int | None) -> Array:
    """Return all distances of sparse rows, as a dense matrix."""
    a, b = batches[0], batches[-1]
    among = len(batches) == 1
    shape = a.shape[0], b.shape[0]
    step = block_size or _block_rows(batches)

    def measure(rows: slice, columns: slice) -> Array:
        is_diagonal = among and rows == columns
        blocks = [a[rows]] if is_diagonal else [a[rows], b[columns]]
        return all_distances(_dense(*blocks), space, None)

    return assembled(measure, grid_of(*shape, step, step, among), shape, among)


def sparse_nearest(
    batches: list[Any], space: Any, num_neighbors: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return indices and distances of the nearest rows: of each block, then of all."""
    queries, points = batches[0], batches[-1]
    among = len(batches) == 1
    step, record, keys = _block_rows(batches), record_of(points.dtype), _row_keys(points)
    best = []
    for rows in slices(0, queries.shape[0], step):
        parts = []
        for columns in slices(0, points.shape[0], step):
            left, right = _dense(queries[rows], points[columns])
            starts = np.array([rows.start]), np.array([columns.start])
            found = nearest_block(space, num_neighbors, among, record, left, right, *starts)
            is_there = found["distance"] < np.inf  # a block may have fewer rows
            # Outcomes have other places in each block.
            found["key"] = np.where(is_there, keys[found["index"]], 0)
            parts.append(found)
        best.append(best_of_blocks(num_neighbors, np.concatenate(parts, axis=1), 1, True))
    every = np.concatenate(best)
    return every["index"].copy(), every["distance"].copy()


def _row_keys(points: Any) -> np.ndarray:
    """Return an integer for each row, the same for copies."""
    ends = zip(points.indptr[:-1], points.indptr[1:], strict=True)
    parts = ((points.indices[i:j].tobytes(), points.data[i:j].tobytes()) for i, j in ends)
    return np.fromiter(map(hash, parts), dtype=np.int64, count=points.shape[0])
