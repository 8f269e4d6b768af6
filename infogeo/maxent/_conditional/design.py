"""The columns of a conditional problem: centred, scaled, and independent of each other."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from infogeo.maxent._dual.linear import combined, power_of_two
from infogeo.maxent._dual.problem import CAUTION, EPS

_BLOCK = 4096  # rows that are factored at once


@dataclass(frozen=True)
class Design:
    """Independent columns of spread about 1, the constant one first if there is an intercept."""

    rows: np.ndarray  # (n, r)
    transform: np.ndarray  # (d, r - 1), or (d, r) without intercept: coef = transform @ t
    centre: np.ndarray  # (d,)
    has_intercept: bool
    penalty: np.ndarray | None = None  # (r, r): P, so that t'Pt is the price of the coefficients
    free: np.ndarray | None = None  # (r, f): orthonormal directions without a price

    def to_user(self, theta):
        """Return coef (c, d) and intercept (c,) for parameters theta (r, c) of the columns."""
        slopes = theta[1:] if self.has_intercept else theta
        coef = (self.transform @ slopes).T
        intercept = np.zeros(theta.shape[1])
        if self.has_intercept:
            intercept = theta[0] - coef @ self.centre
        return coef, intercept


def design_of(X, has_intercept, penalty=None):
    """Choose independent columns that span those of X (n, d), and the constant if asked for.

    Columns that depend on others (or are constant, beside an intercept) get the coefficients of
    the lowest price, penalty (d,) times their squares, and then of minimum norm. A centre is free
    to choose: the intercept makes up for it.
    """
    centre = X.mean(axis=0) if has_intercept else np.zeros(X.shape[1])
    moved = X - centre
    size = np.abs(X).max(axis=0, initial=0.0)
    unit = power_of_two(size)  # sums of the squares of large columns overflow
    spread = unit * np.sqrt(np.square(moved / unit).mean(axis=0))
    blur = EPS * size
    varying = np.flatnonzero(spread > CAUTION * blur)
    scale = power_of_two(spread)[varying]
    moved = (moved if varying.size == X.shape[1] else moved[:, varying]) / scale
    basis, idle, inverse = _independent(moved, blur[varying] / scale)
    kept = varying[basis]
    if inverse is None:
        rows = moved if basis.size == varying.size else moved[:, basis]
        inverse = np.eye(kept.size)
    else:
        rows = combined(inverse, X[:, kept].T, centre[kept], scale[basis]).T
    transform = np.zeros((X.shape[1], kept.size))
    transform[kept] = inverse.T / scale[basis, None]
    if idle.shape[1]:
        vectors = np.zeros((X.shape[1], idle.shape[1]))
        vectors[varying] = idle / scale[:, None]
        transform = _cheapest(transform, vectors / np.linalg.norm(vectors, axis=0), penalty)
    first = int(has_intercept)
    rows = np.ascontiguousarray(np.hstack([np.ones((X.shape[0], first)), rows]))
    if penalty is None:
        return Design(rows, transform, centre, has_intercept, None, np.eye(rows.shape[1]))
    price = np.zeros((rows.shape[1],) * 2)
    price[first:, first:] = transform.T @ (penalty[:, None] * transform)
    free = scipy.linalg.block_diag(np.eye(first), _without_price(transform, penalty))
    return Design(rows, transform, centre, has_intercept, price, free)


def _cheapest(transform, idle, penalty):
    """Return the transform less what the idle vectors, which change no logits, can save."""
    if penalty is not None:
        priced = np.sqrt(penalty)[:, None] * idle
        left, values, right = np.linalg.svd(priced, full_matrices=True)
        rank = int((values > 1e-8 * values.max(initial=0.0)).sum())
        saved = right[:rank].T @ (
            (left[:, :rank] / values[:rank]).T @ (np.sqrt(penalty)[:, None] * transform)
        )
        transform = transform - idle @ saved
        idle = idle @ right[rank:].T
    idle, _ = np.linalg.qr(idle)
    return transform - idle @ (idle.T @ transform)


def _without_price(transform, penalty):
    """Return orthonormal combinations of the columns of the transform that have no price."""
    priced = np.sqrt(penalty)[:, None] * transform
    is_priced = priced.any(axis=0)
    free = np.eye(transform.shape[1])[:, ~is_priced]  # exact: the others are rounded
    size = np.linalg.norm(priced[:, is_priced], axis=0)
    _, values, right = np.linalg.svd(priced[:, is_priced] / size, full_matrices=True)
    rank = int((values > 1e-8).sum())
    mixed = np.zeros((transform.shape[1], size.size - rank))
    mixed[is_priced], _ = np.linalg.qr(right[rank:].T / size[:, None])
    return np.hstack([free, mixed])


def _independent(columns, blur):
    """Return independent columns, the vectors that the columns map to 0, and the inverse factor.

    With the inverse factor, ``columns[:, basis] @ inverse.T`` is nearly orthonormal; it is None
    where the columns are that nearly enough themselves.
    """
    num_rows, num_columns = columns.shape
    everything = np.arange(num_columns)
    gram = columns.T @ columns / max(1, num_rows)
    if num_columns == 0 or (num_columns < num_rows and np.linalg.eigvalsh(gram)[0] > 1e-3):
        return everything, np.zeros((num_columns, 0)), None
    factor = _triangular_factor(columns) / np.sqrt(num_rows)
    blur = np.maximum(blur, EPS) + num_columns * EPS
    # In units of their rounding errors, so that the most significant columns come first.
    upper, order = scipy.linalg.qr(factor / blur, mode="r", pivoting=True)
    upper = upper[: min(upper.shape)]
    rank = 0
    while rank < upper.shape[0]:
        mixture = scipy.linalg.solve_triangular(upper[:rank, :rank], upper[:rank, rank])
        if abs(upper[rank, rank]) <= CAUTION * (1.0 + np.abs(mixture).sum()):
            break
        rank += 1
    basis, dependent = order[:rank], order[rank:]
    square = upper[:rank, :rank]
    mixture = scipy.linalg.solve_triangular(square, upper[:rank, rank:])
    idle = np.zeros((num_columns, dependent.size))
    idle[dependent, np.arange(dependent.size)] = 1.0
    idle[basis] = -mixture * blur[dependent] / blur[basis, None]
    inverse = scipy.linalg.solve_triangular(
        square * blur[basis], np.eye(rank), trans=1, lower=False
    )
    return basis, idle, inverse


def _triangular_factor(columns):
    """Return R of a QR factorisation, in blocks of rows."""
    factor = np.zeros((0, columns.shape[1]))
    for start in range(0, columns.shape[0], _BLOCK):
        stacked = np.vstack([factor, columns[start : start + _BLOCK]])
        factor = np.linalg.qr(stacked, mode="r")
    return factor
