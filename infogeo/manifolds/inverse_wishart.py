r"""Inverse Wishart distributions of fixed degrees of freedom with the Fisher metric.

A point is an `InverseWishart`, of n degrees of freedom and a scale matrix S. The metric is

.. math:: ds^2 = \tfrac{n}{2} \operatorname{tr}\bigl((S^{-1} dS)^2\bigr)
"""

from typing import Any

import numpy as np

from infogeo._array import Array
from infogeo._docs import finish
from infogeo._points import tangents
from infogeo._system.registry import storable
from infogeo.manifolds._positive import (
    Positive,
    WithDegrees,
    fit_matrices,
    log_determinant,
    log_normalizer,
    require_positive_definite,
    standard_wishart,
    trace_of_ratio,
)

__all__ = ["InverseWishart", "Tangent"]


@storable("InverseWishart")
class InverseWishart(WithDegrees):
    r"""A batch of inverse Wishart distributions: the inverse is Wishart, of scale S^-1.

    Parameters
    ----------
    df : array, shape (...)
        Degrees of freedom n, above d - 1: a constant, in which points of one call agree.
    scale : array, shape (..., d, d)
        Scale matrices: symmetric, positive definite. The mean of the inverse is n S^-1.
    check : bool

    Attributes
    ----------
    df, scale : array, shape (...) and (..., d, d)
        Of one batch shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError

    Notes
    -----
    All distances are sqrt(n) times those of the normals of mean 0 whose covariances are the scale
    matrices, and divergences n times theirs, with their order exchanged.

    Examples
    --------
    >>> import numpy as np
    >>> from infogeo import manifolds
    >>> a, b = InverseWishart(4.0, np.eye(2)), InverseWishart(4.0, np.diag([np.e, 1 / np.e]))
    >>> round(float(manifolds.fisher_rao_distance(a, b)), 12)
    2.0
    """

    @staticmethod
    def fit(samples: Array, df: float, *, check: bool = True) -> "InverseWishart":
        """Estimate the scale matrix by maximum likelihood.

        Parameters
        ----------
        samples : array, shape (n, d, d)
            Symmetric positive definite matrices.
        df : float
            Degrees of freedom.
        check : bool

        Returns
        -------
        InverseWishart
            Of scale df / mean(1 / X).

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        >>> InverseWishart.fit([[[1.0]], [[1.0]]], 2.0).scale
        array([[2.]])
        """
        xp, samples = fit_matrices(samples, check, ndim=3, shape="(n, d, d)")
        if check:
            require_positive_definite("samples", samples)
        mean = xp.mean(xp.linalg.inv(samples), axis=0)
        return InverseWishart(df, df * xp.linalg.inv(mean), check=check)


Tangent = storable("inverse_wishart.Tangent")(tangents(InverseWishart))


def _draw(a: InverseWishart, size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    A = standard_wishart(a.df, a.scale.shape[-1], size, rng)
    # X^-1 = L^-T A A' L^-1, so that X = M M' with M = L A^-T.
    half = np.linalg.cholesky(a.scale) @ np.swapaxes(np.linalg.inv(A), -1, -2)
    return half @ np.swapaxes(half, -1, -2)


def _log_density(a: InverseWishart, x: Any) -> Any:
    power = 0.5 * (a.df + x.shape[-1] + 1.0)
    size = -power * log_determinant(x) - 0.5 * trace_of_ratio(x, a.scale)
    return size - log_normalizer(a.df, np.linalg.inv(a.scale))


SPACE = Positive(
    POINTS=InverseWishart,
    TANGENTS=Tangent,
    DISTRIBUTIONS={"scipy.stats.invwishart": ("df", "scale")},
    log_density=_log_density,
    draw=_draw,
    is_inverse=True,
)


finish(globals())
