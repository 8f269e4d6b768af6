r"""Multivariate normals with the Fisher metric: points are `MultivariateNormal(mean, cov)`.

The metric is :math:`ds^2 = d\mu' S^{-1} d\mu + \tfrac12 \operatorname{tr}((S^{-1} dS)^2)`. It is
invariant under affine maps. No closed form of its distance is known; here it is exact to rounding,
by a minimisation over the fibre of a Riemannian submersion (its formulas are in ``_fibre.py``).
Everything is computed in float64 and returned in the dtype of the points.
"""

from infogeo._docs import finish
from infogeo.multivariate_normal._connect import (
    Bounds,
    Connection,
    connect,
    distance_bounds,
    fisher_rao_distance,
    fisher_rao_geodesic,
    fisher_rao_squared_distance,
    log_map,
)
from infogeo.multivariate_normal._divergences import (
    entropy,
    fixed_covariance_distance,
    fixed_mean_distance,
    hellinger_distance,
    jeffreys_divergence,
    kl_divergence,
)
from infogeo.multivariate_normal._dual import (
    e_geodesic,
    e_mean,
    e_transport,
    expectation_parameters,
    from_expectation_parameters,
    from_natural_parameters,
    m_geodesic,
    m_mean,
    m_transport,
    natural_parameters,
)
from infogeo.multivariate_normal._metric import (
    dimension,
    exp_map,
    fisher_information,
    inner_product,
    norm,
)
from infogeo.multivariate_normal._point import MultivariateNormal, Tangent, location_scale

__all__ = [
    "Bounds",
    "Connection",
    "MultivariateNormal",
    "Tangent",
    "connect",
    "dimension",
    "distance_bounds",
    "e_geodesic",
    "e_mean",
    "e_transport",
    "entropy",
    "exp_map",
    "expectation_parameters",
    "fisher_information",
    "fisher_rao_distance",
    "fisher_rao_geodesic",
    "fisher_rao_squared_distance",
    "fixed_covariance_distance",
    "fixed_mean_distance",
    "from_expectation_parameters",
    "from_natural_parameters",
    "hellinger_distance",
    "inner_product",
    "jeffreys_divergence",
    "kl_divergence",
    "log_map",
    "m_geodesic",
    "m_mean",
    "m_transport",
    "natural_parameters",
    "norm",
]

POINTS = MultivariateNormal
TANGENTS = Tangent
DISTRIBUTIONS = {
    "torch.distributions.MultivariateNormal": ("loc", "covariance_matrix"),
    "torch.distributions.LowRankMultivariateNormal": ("loc", "covariance_matrix"),
    "scipy.stats.multivariate_normal": ("mean", "cov"),
}

LOCATION_SCALE = location_scale

finish(
    globals(),
    {
        "check : bool": "Has no effect: the values of normals are verified when they are built.",
        "rtol, max_steps : float, int": "As in `fisher_rao_distance`.",
        "TypeError": "a is not a MultivariateNormal.",
    },
)
