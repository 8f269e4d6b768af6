"""Features, dense or sparse: what the proofs need of them."""

from typing import Any

import numpy as np
import scipy.sparse

_EPS = float(np.finfo(np.float64).eps)
# Outcomes that `exact_heights` works on together: a few arrays of that size stay in the cache.
_BLOCK = 8192


def is_sparse(features: Any) -> bool:
    return scipy.sparse.issparse(features)


def is_whole(row: np.ndarray) -> bool:
    """Whether all entries are whole numbers, which are taken as exact."""
    return bool((row == np.rint(row)).all())


def on_outcomes(features: Any, outcomes: np.ndarray) -> Any:
    """Return the features on some of their outcomes only, bool (c,)."""
    if is_sparse(features):
        return features if outcomes.all() else features[:, np.flatnonzero(outcomes)]
    # Sums over the outcomes are pairwise, and accurate, only along a contiguous axis.
    return np.ascontiguousarray(features if outcomes.all() else features[:, outcomes])


def ranges(features: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and the largest value of every feature, each (m,)."""
    if not is_sparse(features):
        return features.min(axis=-1), features.max(axis=-1)
    # reduceat over the entries of each row, and 0 where some are not stored.
    stored = np.diff(features.indptr)
    low, high = np.zeros(stored.size), np.zeros(stored.size)
    some = stored > 0
    if some.any():
        starts = features.indptr[:-1][some]
        low[some] = np.minimum.reduceat(features.data, starts)
        high[some] = np.maximum.reduceat(features.data, starts)
    is_full = stored == features.shape[1]
    low = np.where(is_full, low, np.minimum(low, 0.0))
    return low, np.where(is_full, high, np.maximum(high, 0.0))


def heights(eta: np.ndarray, features: Any, targets: np.ndarray) -> tuple[np.ndarray, Any]:
    """Return eta'(F_y - b) for every outcome y, and the size of the terms it is a sum of."""
    size = np.abs(eta)
    if is_sparse(features):
        of_target = float(size @ np.abs(targets))
        return eta @ features - float(eta @ targets), size @ abs(features) + of_target
    above = features - targets[:, None]
    return eta @ above, size @ np.abs(above)


def exact_heights(
    eta: np.ndarray, features: Any, targets: np.ndarray, outcomes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return eta'(F_y - b) for some outcomes in twice the working precision, and error bounds.

    Every difference, product and sum is followed by its rounding error, which is added up beside
    it: a proof may rest on a difference of targets far below the rounding of the features.
    """
    (used,) = np.nonzero(eta)
    values, slack = np.empty(outcomes.size), np.empty(outcomes.size)
    for first in range(0, outcomes.size, _BLOCK):
        block = slice(first, first + _BLOCK)
        inside = features[used][:, outcomes[block]]
        inside = inside.toarray() if is_sparse(inside) else inside
        total, carry, size = (np.zeros(inside.shape[1]) for _ in range(3))
        for weight, row, target in zip(eta[used], inside, targets[used], strict=True):
            above, of_difference = _two_sum(row, -target)
            term, of_product = _two_product(weight, above)
            total, of_sum = _two_sum(total, term)
            carry += of_sum + (of_product + weight * of_difference)
            size += np.abs(term)
        values[block] = total + carry
        slack[block] = 4.0 * ((used.size + 4) * _EPS) ** 2 * size + _EPS * np.abs(values[block])
    return values, slack


def _two_sum(x: Any, y: Any) -> tuple[Any, Any]:
    """Return x + y rounded, and its rounding error (Knuth)."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


def _two_product(x: Any, y: Any) -> tuple[Any, Any]:
    """Return x y rounded, and its rounding error (Dekker)."""
    product = x * y
    x_high, x_low = _halves(x)
    y_high, y_low = _halves(y)
    return product, x_low * y_low - (
        ((product - x_high * y_high) - x_low * y_high) - x_high * y_low
    )


def _halves(x: Any) -> tuple[Any, Any]:
    """Return two numbers of 26 bits that add up to x (Veltkamp)."""
    scaled = 134217729.0 * x  # 2^27 + 1
    high = scaled - (scaled - x)
    return high, x - high


def violations(features: Any, targets: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return E_p[F] - b."""
    return features @ p - targets * p.sum()
