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

    def to_user(self, theta):
        """Return coef (c, d) and intercept (c,) for parameters theta (r, c) of the columns."""
        slopes = theta[1:] if self.has_intercept else theta
        coef = (self.transform @ slopes).T
        intercept = np.zeros(theta.shape[1])
        if self.has_intercept:
            intercept = theta[0] - coef @ self.centre
        return coef, intercept

    def penalty_matrix(self, penalty):
        """Return P with t'Pt = penalty |coef|^2; the intercept is free."""
        first = int(self.has_intercept)
        matrix = np.zeros((self.rows.shape[1],) * 2)
        matrix[first:, first:] = penalty * (self.transform.T @ self.transform)
        return matrix


def design_of(X, has_intercept):
    """Choose independent columns that span those of X (n, d), and the constant if asked for.

    Columns that depend on others (or are constant, beside an intercept) get the coefficients of
    minimum norm. A centre is free to choose: the intercept makes up for it.
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
        vectors, _ = np.linalg.qr(vectors / np.linalg.norm(vectors, axis=0))
        transform -= vectors @ (vectors.T @ transform)
    if has_intercept:
        rows = np.hstack([np.ones((X.shape[0], 1)), rows])
    return Design(np.ascontiguousarray(rows), transform, centre, has_intercept)


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
