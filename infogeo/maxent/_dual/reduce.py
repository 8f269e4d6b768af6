"""Independent features: scaling, rank, and targets that contradict each other."""

import numpy as np
import scipy.linalg

from infogeo.maxent._dual.dense import Reduced
from infogeo.maxent._dual.features import is_whole
from infogeo.maxent._dual.linear import (
    combined,
    covariance_of,
    is_identity,
    power_of_two,
    solve_lower,
)
from infogeo.maxent._dual.problem import CAUTION, EPS
from infogeo.maxent._dual.proofs import affine_certificate, range_certificate


def scale_features(problem):
    """Return the features of a problem whose violations have a price: all of them, scaled.

    The dual is log sum exp(C + theta'(F - b)) + sum of theta^2 / (2 penalty): strictly convex, so
    that redundant and contradictory features need no care.
    """
    F, b = problem.features, problem.targets
    weights = reference_weights(problem.base)
    low, high = problem.ranges
    unit = power_of_two(high - low)  # without it, squares under- and overflow
    spread = unit * np.sqrt(np.square((F - (F @ weights)[:, None]) / unit[:, None]) @ weights)
    slack = 1.0 / np.sqrt(problem.penalty)
    scale = power_of_two(np.hypot(spread, slack))
    return Reduced(
        rows=(F - b[:, None]) / scale[:, None],
        base=problem.base,
        transform=np.diag(1.0 / scale),
        lower=np.eye(b.size),
        blur=problem.blur / scale,
        combinations=np.zeros((b.size, 0)),
        unmet=np.zeros(0, dtype=bool),
        varies=np.zeros(0, dtype=bool),
        ridge=(slack / scale) ** 2,
    )


def reduce_features(problem):
    """Scale the features and drop the redundant ones.

    Returns the reduced problem, and a certificate if a target is out of reach for its feature
    or at odds with those of the features that determine it.
    """
    F, b = problem.features, problem.targets
    low, high = problem.ranges
    rounding = problem.blur
    entries = rounding_of_features(F, low, high)
    blur = rounding + entries
    # A target at the end of its range may be exact (0, of a feature that is never negative), but
    # the outcomes that it rules out keep some mass to the end of the search.
    at_end = np.minimum(high - b, b - low) <= CAUTION * rounding
    unit = power_of_two(np.maximum(high - b, b - low))
    weights = reference_weights(problem.base)
    rows = F - b[:, None]
    rows *= 1.0 / unit[:, None]
    centre = rows @ weights
    covariance = covariance_of(rows, weights, centre)
    spread = np.sqrt(np.diagonal(covariance))
    varying = np.flatnonzero(spread * unit > CAUTION * entries)
    scale = unit * power_of_two(spread)
    rescale = (unit / scale)[varying]
    rows = rows if varying.size == b.size else rows[varying]
    rows *= rescale[:, None]
    covariance = covariance[np.ix_(varying, varying)] * np.outer(rescale, rescale)
    of_rows = (entries / scale)[varying]
    basis, dependent, mixture, lower = _independent(rows, weights, covariance, of_rows)
    kept = varying[basis]
    others = np.concatenate([varying[dependent], np.setdiff1d(np.arange(b.size), varying)])
    combinations = np.zeros((b.size, others.size))
    combinations[others, np.arange(others.size)] = 1.0
    combinations[kept, : dependent.size] = -mixture
    combinations /= scale[:, None]
    transform = np.zeros((b.size, kept.size))
    inverse = solve_lower(lower, np.eye(kept.size))
    transform[kept] = inverse.T / scale[kept, None]
    are_combined = not (is_identity(lower) and np.array_equal(kept, varying))
    if are_combined:
        rows = combined(inverse, F[kept], b[kept], scale[kept])
    is_constant = _polish(problem, combinations, scale, transform, rows, weights)
    disagreement = (centre * unit) @ combinations
    reduced = Reduced(
        rows=rows,
        base=problem.base,
        transform=minimum_norm(transform, combinations),
        lower=lower,
        blur=(rounding / scale + at_end * EPS)[kept],
        combinations=combinations,
        unmet=np.abs(disagreement) > CAUTION * (blur @ np.abs(combinations)),
        varies=~is_constant,
        kept=kept,
        covariance=None if are_combined or problem.base.any() else covariance,
    )
    certificate = range_certificate(problem, low, high, blur)
    if certificate is None:
        certificate = affine_certificate(problem, reduced, disagreement)
    return reduced, certificate


def rounding_of_features(F, low, high):
    """Return by how much the entries of each feature, (m,), may be off: whole numbers are exact."""
    size = np.maximum(np.abs(low), np.abs(high))
    # It decides something only where a feature hardly varies: the others need no look.
    for i in np.flatnonzero(high - low < 1e-6 * size):
        if is_whole(F[i]):
            size[i] = 0.0
    return EPS * size


def _polish(problem, combinations, scale, transform, rows, weights):
    """Correct the combinations in place; return which are constant to the rounding of the data.

    The rounding is that of the factors and of the entries, unless these are whole numbers: less
    than what a factorisation of the features tells from 0.
    """
    (used,) = np.nonzero(combinations.any(axis=1))
    if used.size == 0:
        return np.ones(combinations.shape[1], dtype=bool)
    F, b = problem.features[used], problem.targets[used]

    def variations():
        scaled = (combinations[used] * scale[used, None]).T
        values = combined(scaled, F, b, scale[used])
        return values - values[:, :1]  # exactly 0 where they are constant

    values = variations()
    # The rows are orthonormal but for their means.
    left = (values * weights) @ rows.T - np.outer(values @ weights, rows @ weights)
    combinations -= transform @ left.T
    largest = np.abs(variations()).max(axis=-1)
    size, (low, high) = np.abs(combinations).T, problem.ranges
    allowed = 2.0 * EPS * (size @ (high - low))
    if (largest > allowed).any():
        is_rounded = np.array([not is_whole(row) for row in problem.features])
        entries = is_rounded * np.maximum(np.abs(low), np.abs(high))
        allowed += 2.0 * EPS * (size @ entries)
    return largest <= allowed


def reference_weights(base):
    """Return the weights in which spreads are measured.

    Half of them are uniform: an outcome with hardly any mass under exp(C) may still be the one
    that a target needs.
    """
    p = np.exp(base)
    return 0.5 * (p / p.sum() + 1.0 / p.size)


def _independent(rows, weights, covariance, blur):
    """Choose independent rows; return how the others follow, and the factor of the chosen.

    Parameters
    ----------
    rows : array, shape (m, c)
        Rows of standard deviation about 1.
    weights, covariance : arrays of shapes (c,) and (m, m)
        The weights of the outcomes, and the covariance of the rows for them.
    blur : array, shape (m,)
        The size of the rows' rounding errors.

    Returns
    -------
    basis, dependent : index arrays of shapes (r,) and (m - r,)
    mixture : array, shape (r, m - r)
        rows[dependent] = mixture' rows[basis] + constants, up to rounding.
    lower : array, shape (r, r)
        rows[basis] = lower @ (orthonormal rows) + constants; the identity if they are nearly
        orthonormal already.
    """
    num_rows, num_outcomes = rows.shape
    if num_rows == 0 or (num_rows < num_outcomes and np.linalg.eigvalsh(covariance)[0] > 1e-3):
        return np.arange(num_rows), np.arange(0), np.zeros((num_rows, 0)), np.eye(num_rows)
    blur = blur + num_rows * EPS
    centred = rows - (rows @ weights)[:, None]
    factor = np.linalg.qr((centred * np.sqrt(weights)).T, mode="r")
    # In units of their rounding errors, so that the most significant rows come first.
    upper, order = scipy.linalg.qr(factor / blur, mode="r", pivoting=True)
    rank = 0
    while rank < min(upper.shape):
        mixture = solve_lower(upper[:rank, :rank].T, upper[:rank, rank], transposed=True)
        if abs(upper[rank, rank]) <= CAUTION * (1.0 + np.abs(mixture).sum()):
            break
        rank += 1
    basis, dependent = order[:rank], order[rank:]
    lower = upper[:rank, :rank].T
    mixture = solve_lower(lower, upper[:rank, rank:], transposed=True)
    mixture *= blur[dependent] / blur[basis, None]
    return basis, dependent, mixture, lower * blur[basis, None]


def minimum_norm(transform, combinations):
    """Remove from the natural parameters what does not act on the distribution."""
    if combinations.shape[1] == 0:
        return transform
    idle, _ = np.linalg.qr(combinations / np.linalg.norm(combinations, axis=0))
    return transform - idle @ (idle.T @ transform)
