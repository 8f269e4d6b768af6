"""Features, dense or sparse: what the proofs need of them."""

import numpy as np
import scipy.sparse


def is_sparse(features):
    return scipy.sparse.issparse(features)


def on_outcomes(features, outcomes):
    """Return the features on some of their outcomes only, bool (c,)."""
    if is_sparse(features):
        return features if outcomes.all() else features[:, np.flatnonzero(outcomes)]
    # Sums over the outcomes are pairwise, and accurate, only along a contiguous axis.
    return np.ascontiguousarray(features if outcomes.all() else features[:, outcomes])


def ranges(features):
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


def heights(eta, features, targets):
    """Return eta'(F_y - b) for every outcome y, and the size of the terms it is a sum of."""
    size = np.abs(eta)
    if is_sparse(features):
        of_target = float(size @ np.abs(targets))
        return eta @ features - float(eta @ targets), size @ abs(features) + of_target
    above = features - targets[:, None]
    return eta @ above, size @ np.abs(above)


def violations(features, targets, p):
    """Return E_p[F] - b."""
    return features @ p - targets * p.sum()
