"""Linear algebra that keeps its digits."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.linalg

# Outcomes that are worked on together: a few rows of that many numbers stay in the cache.
_BLOCK = 4096


def power_of_two(x: Any) -> Any:
    """Return powers of two of the size of x, by which scaling is exact; 1 where x is 0."""
    return np.ldexp(1.0, np.frexp(x)[1])


def is_identity(lower: np.ndarray) -> bool:
    return np.array_equal(lower, np.eye(lower.shape[0]))


def solve_lower(lower: np.ndarray, right: np.ndarray, *, transposed: bool = False) -> np.ndarray:
    """Solve lower @ x = right (or lower.T @ x = right) for a lower triangular matrix."""
    if is_identity(lower):
        return right
    return scipy.linalg.solve_triangular(lower, right, lower=True, trans=int(transposed))


def combined(inverse: np.ndarray, F: np.ndarray, b: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return inverse @ ((F - b) / scale) as if it were computed exactly and then rounded.

    The combinations of nearly dependent rows cancel: of monomials up to the 12th power, all but
    seven digits. What is lost there is lost for the probabilities.
    """
    high = F - b[:, None]
    if scale.size == 0:
        return high
    back = high - F
    low = (F - (high - back)) - (b[:, None] + back)  # the rounding error of F - b
    high /= scale[:, None]
    low /= scale[:, None]
    num_parts = 3
    bits = (53 - math.ceil(math.log2(scale.size))) // 2
    right_parts = _split(high, bits, num_parts, axis=0)
    carry = inverse @ low
    total = np.zeros_like(carry)
    for i, left in enumerate(_split(inverse, bits, num_parts, axis=1)):
        for right in right_parts[: num_parts - i]:
            term = left @ right  # exact: sums of integers below 2^53, scaled
            total, before = total + term, total
            back = total - before
            carry += (before - (total - back)) + (term - back)
    return total + carry


def _split(x: np.ndarray, bits: int, num_parts: int, axis: int) -> list[np.ndarray]:
    """Split x into parts of few leading bits, relative to the largest entries along an axis."""
    parts = []
    for _ in range(num_parts):
        unit = np.ldexp(power_of_two(np.abs(x).max(axis=axis, keepdims=True)), -bits)
        parts.append(np.rint(x / unit) * unit)
        x = x - parts[-1]
    return parts


def blocks(rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slices of outcomes, and an array to fill of the shape of the rows there."""
    num_outcomes = rows.shape[1]
    size = num_outcomes if num_outcomes < 2 * _BLOCK else _BLOCK
    buffer = np.empty((rows.shape[0], size), dtype=rows.dtype)
    for first in range(0, num_outcomes, size):
        last = min(first + size, num_outcomes)
        yield slice(first, last), buffer[:, : last - first]


def sums(x: Any) -> np.ndarray:
    """Return the sums along the first axis: of many by halves, which keeps rounding small."""
    x = np.asarray(x)
    while len(x) > 8:
        half, is_odd = divmod(len(x), 2)
        folded = x[:half] + x[half : 2 * half]
        if is_odd:
            folded[0] += x[-1]
        x = folded
    return x.sum(axis=0)


def depth_of_sums(count: int) -> int:
    """Return in how many additions of `sums` one of so many terms takes part at most."""
    depth = 0
    while count > 8:
        depth, count = depth + 1 + count % 2, count // 2
    return depth + count - 1


def mean_of(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted sums of the rows, added pairwise: accurate where they nearly cancel."""
    parts = [
        np.multiply(rows[:, block], weights[block], out=terms).sum(axis=-1)
        for block, terms in blocks(rows)
    ]
    return parts[0] if len(parts) == 1 else np.stack(parts, axis=-1).sum(axis=-1)


def covariance_of(rows: np.ndarray, weights: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the covariance of the rows, without letting it cancel."""
    roots = np.sqrt(weights)
    second = np.zeros((mean.size, mean.size))
    for block, scaled in blocks(rows):
        np.multiply(rows[:, block], roots[block], out=scaled)
        second += scaled @ scaled.T  # of a matrix and itself: half the work
    covariance = second - np.outer(mean, mean)
    if (np.diagonal(covariance) > 0.01 * np.diagonal(second)).all():
        return covariance
    centred = (rows - mean[:, None]) * roots
    return centred @ centred.T


def norms_of(whitener: np.ndarray, rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the norms of whitener @ (rows - mean) for every outcome."""
    squares = np.empty(rows.shape[1])
    centre = (whitener @ mean)[:, None]
    for block, whitened in blocks(rows):
        np.matmul(whitener, rows[:, block], out=whitened)
        whitened -= centre
        np.einsum("ij,ij->j", whitened, whitened, out=squares[block])
    return np.sqrt(squares)


def sizes_of(
    rows: np.ndarray, left: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return left @ |rows| and |rows| @ right."""
    combined_sizes, sums = np.empty(rows.shape[1]), np.zeros(rows.shape[0])
    left, right = left.astype(rows.dtype, copy=False), right.astype(rows.dtype, copy=False)
    for block, size in blocks(rows):
        np.abs(rows[:, block], out=size)
        np.matmul(left, size, out=combined_sizes[block])
        sums += size @ right[block]
    return combined_sizes, sums


def whitener_of(reduced: Any, point: Any) -> tuple[np.ndarray, bool]:
    """Return W with W'W the inverse of the Hessian, and whether it is known well enough."""
    rows, ridge = reduced.rows, np.broadcast_to(reduced.ridge, point.t.shape)
    try:
        covariance = reduced.covariance
        if covariance is None or point.t.any():
            covariance = covariance_of(rows, point.p, point.mean)
        lower = np.linalg.cholesky(covariance + np.diag(ridge) if ridge.any() else covariance)
        diagonal = np.diagonal(lower)
        is_reliable = diagonal.size == 0 or bool(diagonal.min() > 1e-3 * diagonal.max())
    except np.linalg.LinAlgError:
        is_reliable = False
    if not is_reliable:
        roots = (rows - point.mean[:, None]) * np.sqrt(point.p)
        if ridge.any():
            roots = np.hstack([roots, np.diag(np.sqrt(ridge))])
        lower, is_reliable = _orthogonal_factor(roots)
    if lower.size == 0:
        return lower, is_reliable
    inverse, _ = scipy.linalg.lapack.dtrtri(lower, lower=1)
    return inverse, is_reliable


def _orthogonal_factor(roots: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return L with LL' the covariance, without squaring its condition as Cholesky does.

    Directions in which it vanishes to working precision get a small variance: enough for a
    direction of descent, and the second value says that no bound can be built on it.
    """
    upper = np.asarray(np.linalg.qr(roots.T, mode="r"))
    diagonal = np.abs(np.diagonal(upper))
    if diagonal.min() > 1e-12 * diagonal.max():
        return upper.T, True
    smallest = max(1e-7 * diagonal.max(), 1e-40)
    padded = np.vstack([upper, smallest * np.eye(upper.shape[0])])
    return np.asarray(np.linalg.qr(padded, mode="r")).T, False
