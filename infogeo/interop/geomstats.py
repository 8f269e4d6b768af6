"""geomstats with infogeo's formulas: its algorithms on simplex and normals, exact and fast.

geomstats' current release needs numpy < 2.4; infogeo does not. Importing this module loads
geomstats with the backend that it is configured for, which has to be numpy.
"""

import numpy as np

from infogeo import normal, simplex
from infogeo._docs import finish
from infogeo._system.extras import missing
from infogeo.normal import Normal, Tangent

try:
    import geomstats.backend
    from geomstats.geometry.riemannian_metric import RiemannianMetric
    from geomstats.information_geometry.categorical import CategoricalDistributions
    from geomstats.information_geometry.normal import UnivariateNormalDistributions
except ModuleNotFoundError as error:
    raise missing(error, "infogeo.interop.geomstats") from None
except (ImportError, AttributeError) as error:
    if np.lib.NumpyVersion(np.__version__) < "2.4.0":
        raise
    raise ImportError(
        f"geomstats does not work with numpy {np.__version__} ({error}): "
        "pip install 'numpy<2.4'. infogeo itself works with both."
    ) from None

__all__ = ["categorical_distributions", "normal_distributions"]


class _FisherRaoMetric(RiemannianMetric):
    """The Fisher-Rao metric of categorical distributions, computed by `infogeo.simplex`.

    Parameters
    ----------
    space : geomstats.information_geometry.categorical.CategoricalDistributions
        The space that it is the metric of.
    """

    def inner_product(
        self, tangent_vec_a: np.ndarray, tangent_vec_b: np.ndarray, base_point: np.ndarray
    ) -> np.ndarray:
        return simplex.inner_product(base_point, tangent_vec_a, tangent_vec_b)

    def squared_dist(self, point_a: np.ndarray, point_b: np.ndarray) -> np.ndarray:
        return simplex.fisher_rao_squared_distance(point_a, point_b)

    def dist(self, point_a: np.ndarray, point_b: np.ndarray) -> np.ndarray:
        return simplex.fisher_rao_distance(point_a, point_b)

    def exp(self, tangent_vec: np.ndarray, base_point: np.ndarray) -> np.ndarray:
        return simplex.exp_map(base_point, tangent_vec)

    def log(self, point: np.ndarray, base_point: np.ndarray) -> np.ndarray:
        return simplex.log_map(base_point, point)


class _NormalMetric(RiemannianMetric):
    """The Fisher-Rao metric of univariate normals, computed by `infogeo.normal`.

    Parameters
    ----------
    space : geomstats.information_geometry.normal.UnivariateNormalDistributions
        The space that it is the metric of: points are (mean, std) along the last axis.
    """

    def inner_product(
        self, tangent_vec_a: np.ndarray, tangent_vec_b: np.ndarray, base_point: np.ndarray
    ) -> np.ndarray:
        u, v = (Tangent(*_columns(x)) for x in (tangent_vec_a, tangent_vec_b))
        return normal.inner_product(_normal(base_point), u, v)

    def squared_dist(self, point_a: np.ndarray, point_b: np.ndarray) -> np.ndarray:
        return normal.fisher_rao_squared_distance(_normal(point_a), _normal(point_b))

    def dist(self, point_a: np.ndarray, point_b: np.ndarray) -> np.ndarray:
        return normal.fisher_rao_distance(_normal(point_a), _normal(point_b))

    def exp(self, tangent_vec: np.ndarray, base_point: np.ndarray) -> np.ndarray:
        reached = normal.exp_map(_normal(base_point), Tangent(*_columns(tangent_vec)))
        return np.stack([reached.mean, reached.std], axis=-1)

    def log(self, point: np.ndarray, base_point: np.ndarray) -> np.ndarray:
        v = normal.log_map(_normal(base_point), _normal(point))
        return np.stack([v.mean, v.std], axis=-1)


def _columns(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.asarray(x), -1, 0)


def _normal(points: np.ndarray) -> Normal:
    return Normal(*_columns(points))


def categorical_distributions(num_outcomes: int) -> CategoricalDistributions:
    """Make the space of categorical distributions for geomstats, with infogeo's metric.

    Parameters
    ----------
    num_outcomes : int
        c, at least 2.

    Returns
    -------
    geomstats.information_geometry.categorical.CategoricalDistributions
        Of dimension c - 1, points of shape (..., c), equipped with the metric of `infogeo.simplex`.

    Raises
    ------
    RuntimeError
        geomstats is configured for another backend than numpy.

    Examples
    --------
    >>> from infogeo.interop.geomstats import categorical_distributions
    >>> space = categorical_distributions(2)
    >>> bool(space.metric.dist(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == np.pi)
    True
    """
    _require_numpy()
    space = CategoricalDistributions(num_outcomes - 1, equip=False)
    space.equip_with_metric(_FisherRaoMetric)
    return space


def normal_distributions() -> UnivariateNormalDistributions:
    """Make the space of univariate normals for geomstats, with infogeo's metric.

    Returns
    -------
    geomstats.information_geometry.normal.UnivariateNormalDistributions
        Points (mean, std) of shape (..., 2), equipped with the metric of `infogeo.normal`.

    Raises
    ------
    RuntimeError
        geomstats is configured for another backend than numpy.

    Examples
    --------
    >>> from infogeo.interop.geomstats import normal_distributions
    >>> d = normal_distributions().metric.dist(np.array([0.0, 1.0]), np.array([0.0, 2.0]))
    >>> bool(np.isclose(d, np.sqrt(2.0) * np.log(2.0), rtol=1e-15))
    True
    """
    _require_numpy()
    space = UnivariateNormalDistributions(equip=False)
    space.equip_with_metric(_NormalMetric)
    return space


def _require_numpy() -> None:
    if "numpy" not in geomstats.backend.__name__:
        raise RuntimeError(
            f"geomstats must use its numpy backend here: it uses {geomstats.backend.__name__}. "
            "Set GEOMSTATS_BACKEND=numpy before it is imported."
        )


finish(globals())
