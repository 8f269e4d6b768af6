"""Which rows of points are copies of others: these are measured once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from array_api_compat import (
    array_namespace,
    is_array_api_obj,
    is_torch_array,
)

from infogeo import _array
from infogeo._array import Array, Namespace
from infogeo.neighbors._blocks import arange_like, pair_rows, slices


class _Copies(NamedTuple):
    """The rows of an array, grouped so that the rows of a group are copies of one point."""

    firsts: Array  # (u,) the first row of each point, ascending
    starts: Array  # (u,) where its rows start in `rows`
    counts: Array  # (u,) how many they are
    rows: Array  # (n,) the rows of one point after the other, ascending for each


def copies_of(points: Any) -> _Copies | None:
    """Return which rows are copies, or None if there are no copies or rows cannot be compared."""
    if not (is_array_api_obj(points) and _array.is_readable(points)):
        return None
    xp = array_namespace(points)
    if not xp.isdtype(points.dtype, "real floating") or xp.finfo(points.dtype).bits > 64:
        return None
    keys = row_keys(points)
    order = np.argsort(keys, kind="stable")
    (places,) = np.nonzero(keys[order[1:]] == keys[order[:-1]])
    if places.size == 0:
        return None
    is_first = np.ones(order.size, dtype=bool)
    is_first[places + 1] = ~_are_equal(points, order[places], order[places + 1])
    first = np.empty_like(order)
    first[order] = order[is_first][np.cumsum(is_first) - 1]
    firsts, counts = np.unique(first, return_counts=True)
    parts = firsts, np.cumsum(counts) - counts, counts, np.argsort(first, kind="stable")
    return _Copies(*(xp.asarray(part, device=_array.device_of(points)) for part in parts))


def row_keys(points: Array) -> np.ndarray:
    """Return an integer for each row of points: sums of integers are the same everywhere."""
    if points.shape[0] == 0:
        return np.zeros(0, np.int64)
    step = pair_rows(points)
    flat = array_namespace(points).reshape(_array.detached(points), (points.shape[0], -1))
    factors = 2 * np.random.default_rng(0).integers(2**62, size=flat.shape[1]) + 1
    return np.concatenate([_keys_of(flat[i, :], factors) for i in slices(0, flat.shape[0], step)])


def _keys_of(x: Array, factors: np.ndarray) -> np.ndarray:
    positive = x + 0.0  # of both zeros
    if is_torch_array(x):
        import torch

        bits = positive.contiguous().view(getattr(torch, f"int{8 * x.dtype.itemsize}"))
        bits = bits.to(torch.int64)
        scaled = (bits ^ (bits >> 47)) * torch.from_numpy(factors).to(x.device)
        return scaled.sum(-1).numpy(force=True)
    values = np.ascontiguousarray(np.asarray(positive))
    bits = values.view(f"i{values.itemsize}").astype(np.int64)
    return (bits ^ (bits >> 47)) @ factors


def _are_equal(points: Array, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Return whether rows i and j of the points have equal entries, pair by pair."""
    xp, device = array_namespace(points), _array.device_of(points)
    parts = []
    for pairs in slices(0, i.size, pair_rows(points)):
        one, other = (
            xp.take(_array.detached(points), xp.asarray(rows[pairs], device=device), axis=0)
            for rows in (i, j)
        )
        is_equal = xp.all(xp.reshape(one == other, (one.shape[0], -1)), axis=1)
        parts.append(is_equal.numpy(force=True) if is_torch_array(one) else np.asarray(is_equal))
    return np.concatenate(parts)


def with_copies(
    indices: Array, d: Array, copies: _Copies, num: int, xp: Namespace
) -> tuple[Array, Array]:
    """Return rows and distances of up to `num` copies of each candidate, inf where it has fewer."""
    flat = xp.reshape(indices, (-1,))
    starts, counts = (xp.take(part, flat)[:, None] for part in (copies.starts, copies.counts))
    number = arange_like(num, d)[None, :]
    is_there = number < counts
    rows = xp.take(copies.rows, xp.reshape(xp.where(is_there, starts + number, 0), (-1,)))
    d = xp.where(xp.reshape(is_there, (*d.shape, num)), d[:, :, None], xp.inf)
    shape = d.shape[0], -1
    return xp.reshape(rows, shape), xp.reshape(d, shape)
