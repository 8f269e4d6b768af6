r"""Matrix normal distributions of mean 0 with the Fisher metric.

A point is a `MatrixNormal`, of a covariance U of the n rows and a covariance V of the p columns.
The entries of the random matrix, column by column, have the covariance :math:`V \otimes U`. With
:math:`x = U^{-1} dU` and :math:`y = V^{-1} dV` the metric is

.. math:: ds^2 = \tfrac p2 \operatorname{tr}(x^2) + \tfrac n2 \operatorname{tr}(y^2)
          + \operatorname{tr}(x) \operatorname{tr}(y)

that of `CenteredNormal` at the Kronecker product, in which these distributions are a totally
geodesic submanifold.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo import _array, _points
from infogeo._array import REAL, Array, bad_value
from infogeo._docs import finish
from infogeo._points import Points, fill, make, tangents
from infogeo._spaces import Foreign
from infogeo._status import SolveError
from infogeo._system.registry import storable
from infogeo.manifolds._family import NO_SOLVE, OF_EXPONENTIAL_FAMILIES
from infogeo.manifolds._positive import Positive, log_determinant, require_positive_definite
from infogeo.multivariate_normal._point import as_like, to_host

__all__ = ["MatrixNormal", "Tangent"]

_MAX_SWEEPS = 5_000
_TOLERANCE = 1e-12  # of the fit, relative to the Fisher metric of one sample


@storable("MatrixNormal")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class MatrixNormal(Points):
    r"""A batch of matrix normal distributions of mean 0.

    Parameters
    ----------
    row_cov : array, shape (..., n, n)
        Covariances U of the rows: symmetric, positive definite.
    column_cov : array, shape (..., p, p)
        Covariances V of the columns: symmetric, positive definite.
    check : bool

    Attributes
    ----------
    row_cov, column_cov : array, shape (..., n, n) and (..., p, p)
        As given, of one batch shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError

    Notes
    -----
    Only the Kronecker product counts: c U and V / c are the same distribution as U and V, at the
    distance 0, and so they are for all verbs. Results have the scales of the points that they come
    from. The velocity of U that is U, with that of V that is -V, has the norm 0. The Fisher
    information has it as its kernel.

    With the logarithms :math:`l_i` of the eigenvalues of :math:`U_a^{-1} U_b` and :math:`m_j` of
    those of :math:`V_a^{-1} V_b` the distance is the root of half the sum of all
    :math:`(l_i + m_j)^2`. Differences of near points keep their digits if the two are written with
    one scale, or with scales whose ratio is a power of 2.

    References
    ----------
    A. P. Dawid, Biometrika 68, 1981. A. Wiesel, IEEE Transactions on Signal Processing 60, 2012
    (the likelihood is convex along geodesics).

    Examples
    --------
    >>> import numpy as np
    >>> from infogeo import manifolds
    >>> a = MatrixNormal(np.eye(2), np.eye(3))
    >>> b = MatrixNormal(np.diag([np.e, 1 / np.e]), np.eye(3))
    >>> round(float(manifolds.fisher_rao_distance(a, b)) ** 2, 12)
    3.0
    >>> float(manifolds.fisher_rao_distance(a, MatrixNormal(2.0 * np.eye(2), 0.5 * np.eye(3))))
    0.0
    """

    row_cov: Array
    column_cov: Array

    rules: ClassVar = {
        "row_cov": _array.along(REAL, "rows", "rows"),
        "column_cov": _array.along(REAL, "columns", "columns"),
    }

    def __init__(self, row_cov: Any, column_cov: Any, *, check: bool = True):
        fill(self, check, row_cov=row_cov, column_cov=column_cov)
        if check:
            require_positive_definite("row_cov", self.row_cov)
            require_positive_definite("column_cov", self.column_cov)

    @staticmethod
    def fit(samples: Array, labels: Any = None, *, check: bool = True) -> "MatrixNormal":
        r"""Fit distributions to matrices by maximum likelihood, one for each class.

        Parameters
        ----------
        samples : array, shape (N, n, p)
            Matrices, more than n / p + p / n of them (of rows alone, n = 1, at least p).
        labels : array or list, shape (N,), or None
            Numbers or strings: the class of each sample. None: all samples are of one class.
        check : bool

        Returns
        -------
        MatrixNormal
            Of shape (). With labels one for each class, along a first axis, in the order of
            ``numpy.unique(labels)``. The column covariance has the mean variance 1, and the row
            covariance has the units. `num_samples` says how many samples each was fitted to. It
            carries no gradients.

        Raises
        ------
        TypeError, ValueError
            Too few samples, or samples that do not span all rows and columns, or of which many
            distributions are the most likely one.
        SolveError
            No convergence in 5,000 sweeps: the likelihood has no maximum, or a very flat one. It
            carries ``.result``, the last MatrixNormal.

        Notes
        -----
        Each of the two covariances has a closed form if the other is known, and a sweep takes both
        in turn (flip-flop). The negative logarithm of the likelihood is convex along geodesics, so
        that there is no other minimum. With fewer samples there need not be one most likely
        distribution. Sweeps end when what is left, estimated from the last two, is below 1e-12 of
        the Fisher metric.

        References
        ----------
        P. Dutilleul, Journal of Statistical Computation and Simulation 64, 1999. M. Drton, S.
        Kuriki and P. Hoff, Annals of Statistics 49, 2021.

        Examples
        --------
        >>> samples = [[[1.0, 0.0]], [[0.0, 3.0]]]
        >>> fitted = MatrixNormal.fit(samples)
        >>> fitted.row_cov.round(12), fitted.column_cov.round(12)
        (array([[2.5]]), array([[0.2, 0. ],
               [0. , 1.8]]))
        """
        rule = _array.along(REAL, "rows", "columns")
        given, (xp, samples) = samples, _array.gate(check, samples=(rule, samples))
        if samples.ndim != 3 or 0 in samples.shape:
            raise bad_value("samples", "have shape (N, n, p)", f"got {tuple(samples.shape)}")
        values = to_host(samples)

        def fit_rows(name: str, rows: np.ndarray | None) -> list[Array]:
            fitted, is_done = _flip_flop(name, values if rows is None else values[rows])
            found = [as_like(x, samples, xp) for x in fitted]
            if not is_done:
                raise SolveError(
                    f"{name}: the covariances still move after {_MAX_SWEEPS} sweeps. Their "
                    "likelihood has no maximum, or a very flat one: take more samples.",
                    make(MatrixNormal, *found),
                )
            for field, x in zip(MatrixNormal.rules, found, strict=True):
                require_positive_definite(field, x)
            return found

        return _points.fit(MatrixNormal, given, labels, tuple(samples.shape), fit_rows, xp)


def _flip_flop(name: str, samples: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], bool]:
    """Return the most likely covariances of rows and columns, and whether they are settled."""
    count, n, p = samples.shape
    least = max(n, p) - 1 if min(n, p) == 1 else n / p + p / n
    if not count > least:
        raise bad_value(
            name,
            f"be more than {least:.3g} matrices of shape ({n}, {p})",
            f"there are {count}",
            "Fewer need not have one most likely distribution.",
        )
    unit = np.abs(samples).max()
    scaled = samples / (unit if unit > 0.0 else 1.0)
    of_columns, change, is_done = np.eye(p), math.inf, False
    for _ in range(_MAX_SWEEPS):
        last, before = change, np.linalg.inv(of_columns)
        try:
            U = _mean_square(scaled @ before.T) / p
            of_rows = np.linalg.cholesky(U)
            V = _mean_square(np.swapaxes(np.linalg.inv(of_rows) @ scaled, 1, 2)) / n
            of_columns = np.linalg.cholesky(V)
        except np.linalg.LinAlgError:
            raise bad_value(
                name,
                "span all rows and columns",
                "their covariance is singular",
                "Leave out rows and columns that others determine.",
            ) from None
        change = math.sqrt(0.5 * n) * float(np.linalg.norm(before @ V @ before.T - np.eye(p)))
        rate = change / last
        is_done = change <= 4e-16 * n * p or (
            0.0 < rate < 1.0 and change * rate / (1.0 - rate) <= _TOLERANCE
        )
        if is_done:
            break
    whitened = np.linalg.inv(of_rows) @ scaled @ np.linalg.inv(of_columns).T
    if is_done and _flatness(whitened) > 1.0 - 1e-9:
        raise bad_value(
            name,
            "have one most likely distribution",
            "many are equally likely",
            "Take more samples.",
        )
    size = np.linalg.norm(of_columns) / math.sqrt(p)  # the mean variance of the columns is 1
    row, column = (size * unit) * of_rows, of_columns / size
    return (row @ row.T, column @ column.T), is_done


def _mean_square(x: np.ndarray) -> np.ndarray:
    """Return the mean of x x'."""
    return np.einsum("kij,klj->il", x, x) / len(x)


def _flatness(x: np.ndarray) -> float:
    """Return the share that the covariances of rows and columns may take over from each other.

    At the maximum, with samples of both covariances 1, it is the largest eigenvalue of the map that
    takes y, symmetric and without a trace, to the mean of x'(x y x')x, but for a factor. If it is 1
    the likelihood is flat.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    n, p = x.shape[1:]
    if min(n, p) == 1:
        return 0.0

    def inner(y: np.ndarray) -> np.ndarray:
        y = 0.5 * (y + y.T)
        return y - np.trace(y) / p * np.eye(p)

    def moved(y: np.ndarray) -> np.ndarray:
        rows = np.mean(x @ inner(y.reshape(p, p)) @ np.swapaxes(x, 1, 2), axis=0)
        return inner(np.mean(np.swapaxes(x, 1, 2) @ rows @ x, axis=0)).ravel() / (n * p)

    operator = LinearOperator((p * p, p * p), matvec=moved, dtype=float)
    start = np.random.default_rng(0).normal(size=p * p)
    return float(
        eigsh(operator, k=1, which="LA", v0=start, tol=1e-12, return_eigenvectors=False)[0]
    )


Tangent = storable("matrix_normal.Tangent")(tangents(MatrixNormal))


def _draw(a: MatrixNormal, size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    of_rows, of_columns = (np.linalg.cholesky(x) for x in (a.row_cov, a.column_cov))
    normals = rng.standard_normal((*size, of_rows.shape[-1], of_columns.shape[-1]))
    return of_rows @ normals @ np.swapaxes(of_columns, -1, -2)


def _log_density(a: MatrixNormal, x: Any) -> Any:
    n, p = x.shape[-2:]
    size = p * log_determinant(a.row_cov) + n * log_determinant(a.column_cov)
    without = np.linalg.solve(a.row_cov, x)
    other = np.swapaxes(np.linalg.solve(a.column_cov, np.swapaxes(x, -1, -2)), -1, -2)
    squared = np.sum(without * other, axis=(-2, -1))
    return -0.5 * (n * p * math.log(2.0 * math.pi) + size + squared)


def _without_mean(mean: Any, row_cov: Any, column_cov: Any) -> tuple[Any, Any]:
    """Return the covariances of a distribution of mean 0."""
    largest = float(np.max(np.abs(mean)))
    if largest != 0.0:
        raise bad_value(
            "distribution",
            "have the mean 0 if it is a matrix normal one",
            f"the largest entry of its mean is {largest:.6g}",
            "MultivariateNormal(mean.T.ravel(), numpy.kron(colcov, rowcov)) is the same one.",
        )
    return row_cov, column_cov


def _with_mean(row_cov: Any, column_cov: Any) -> tuple[Any, Any, Any]:
    return np.zeros((row_cov.shape[-1], column_cov.shape[-1])), row_cov, column_cov


_CURVED = (
    "Kronecker products are no exponential family. CenteredNormal(kron(column_cov, row_cov)) "
    "has it, and its lines leave the products."
)

SPACE = Positive(
    POINTS=MatrixNormal,
    TANGENTS=Tangent,
    DISTRIBUTIONS={
        "scipy.stats.matrix_normal": Foreign(
            ("mean", "rowcov", "colcov"), _without_mean, _with_mean
        )
    },
    log_density=_log_density,
    draw=_draw,
    REFUSED=dict.fromkeys(OF_EXPONENTIAL_FAMILIES, _CURVED) | NO_SOLVE,
)


finish(globals())
