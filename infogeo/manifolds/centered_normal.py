r"""Normal distributions of mean 0 with the Fisher metric: positive definite matrices.

A point is a `CenteredNormal`, of a covariance S. The metric is

.. math:: ds^2 = \tfrac12 \operatorname{tr}\bigl((S^{-1} dS)^2\bigr)

which is that of `infogeo.multivariate_normal`, in which these normals are a totally geodesic
submanifold.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo._array import Array
from infogeo._docs import finish
from infogeo._points import Points, fill, tangents
from infogeo._system.registry import storable
from infogeo.manifolds._positive import (
    MATRIX,
    Positive,
    fit_matrices,
    log_determinant,
    require_positive_definite,
    trace_of_ratio,
)

__all__ = ["CenteredNormal", "Tangent"]


@storable("CenteredNormal")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class CenteredNormal(Points):
    r"""A batch of normal distributions of mean 0.

    Parameters
    ----------
    cov : array, shape (..., d, d)
        Covariances: symmetric, positive definite.
    check : bool

    Attributes
    ----------
    cov : array, shape (..., d, d)
        As given.

    Raises
    ------
    TypeError, ValueError

    Notes
    -----
    The distance is the root of half the sum of the squared logarithms of the eigenvalues of
    :math:`S_a^{-1} S_b`. Differences of near covariances keep their digits.

    Examples
    --------
    >>> import numpy as np
    >>> from infogeo import manifolds
    >>> a, b = CenteredNormal(np.eye(2)), CenteredNormal(np.diag([np.e, 1 / np.e]))
    >>> round(float(manifolds.fisher_rao_distance(a, b)), 12)
    1.0
    """

    cov: Array

    rules: ClassVar = {"cov": MATRIX}

    def __init__(self, cov: Any, *, check: bool = True):
        fill(self, check, cov=cov)
        if check:
            require_positive_definite("cov", self.cov)

    @staticmethod
    def fit(samples: Array, *, check: bool = True) -> "CenteredNormal":
        """Estimate the covariance about 0 by maximum likelihood.

        Parameters
        ----------
        samples : array, shape (n, d)
            One sample per row, n >= d.
        check : bool

        Returns
        -------
        CenteredNormal
            Of the mean of x x'.

        Raises
        ------
        TypeError, ValueError
            Samples that do not span all coordinates.

        Examples
        --------
        >>> CenteredNormal.fit([[1.0, 0.0], [0.0, 2.0]]).cov
        array([[0.5, 0. ],
               [0. , 2. ]])
        """
        xp, samples = fit_matrices(samples, check, ndim=2, shape="(n, d), one sample per row")
        columns = xp.permute_dims(samples, (1, 0))
        return CenteredNormal(xp.matmul(columns, samples) / samples.shape[0], check=check)


Tangent = storable("centered_normal.Tangent")(tangents(CenteredNormal))


def _draw(a: CenteredNormal, size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    normals = rng.standard_normal((*size, a.cov.shape[-1]))
    return (np.linalg.cholesky(a.cov) @ normals[..., None])[..., 0]


def _log_density(a: CenteredNormal, x: Any) -> Any:
    outer = x[..., :, None] * x[..., None, :]
    size = x.shape[-1] * math.log(2.0 * math.pi) + log_determinant(a.cov)
    return -0.5 * (size + trace_of_ratio(a.cov, outer))


SPACE = Positive(
    POINTS=CenteredNormal,
    TANGENTS=Tangent,
    DISTRIBUTIONS={},
    log_density=_log_density,
    draw=_draw,
)


finish(globals())
