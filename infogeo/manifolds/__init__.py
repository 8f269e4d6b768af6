r"""Statistical manifolds beyond predictions and normals, one file for each family.

A point of a family is an object: `Poisson`, `Exponential`, `Laplace`. The functions of this module
take points of any family that infogeo knows, those of `infogeo.normal` and
`infogeo.multivariate_normal` among them, and ask the space of the point.
``docs/spaces.md`` says how to add a family.
"""

from infogeo._docs import finish
from infogeo.manifolds._verbs import (
    bhattacharyya_coefficient,
    christoffel_symbols,
    connect,
    dimension,
    e_geodesic,
    e_mean,
    e_transport,
    exp_map,
    expectation_parameters,
    fisher_information,
    fisher_rao_distance,
    fisher_rao_geodesic,
    fisher_rao_squared_distance,
    hellinger_distance,
    inner_product,
    jeffreys_divergence,
    kl_divergence,
    log_map,
    m_geodesic,
    m_mean,
    m_transport,
    natural_parameters,
    norm,
    parallel_transport,
    renyi_divergence,
    sample,
    sectional_curvature,
    to_distribution,
)
from infogeo.manifolds.bernoulli import Bernoulli
from infogeo.manifolds.beta import Beta
from infogeo.manifolds.binomial import Binomial
from infogeo.manifolds.cauchy import Cauchy
from infogeo.manifolds.centered_normal import CenteredNormal
from infogeo.manifolds.dirichlet import Dirichlet
from infogeo.manifolds.exponential import Exponential
from infogeo.manifolds.exponential_family import ExponentialFamily
from infogeo.manifolds.frechet import Frechet
from infogeo.manifolds.gamma import Gamma
from infogeo.manifolds.generalized_normal import GeneralizedNormal
from infogeo.manifolds.geometric import Geometric
from infogeo.manifolds.gumbel import Gumbel
from infogeo.manifolds.gumbel_min import GumbelMin
from infogeo.manifolds.half_normal import HalfNormal
from infogeo.manifolds.inverse_gaussian import InverseGaussian
from infogeo.manifolds.inverse_wishart import InverseWishart
from infogeo.manifolds.laplace import Laplace
from infogeo.manifolds.log_normal import LogNormal
from infogeo.manifolds.logistic import Logistic
from infogeo.manifolds.matrix_normal import MatrixNormal
from infogeo.manifolds.maxwell import Maxwell
from infogeo.manifolds.multinomial import Multinomial
from infogeo.manifolds.negative_binomial import NegativeBinomial
from infogeo.manifolds.negative_multinomial import NegativeMultinomial
from infogeo.manifolds.pareto import Pareto
from infogeo.manifolds.poisson import Poisson
from infogeo.manifolds.product import Product
from infogeo.manifolds.rayleigh import Rayleigh
from infogeo.manifolds.student_t import StudentT
from infogeo.manifolds.von_mises import VonMises
from infogeo.manifolds.von_mises_fisher import VonMisesFisher
from infogeo.manifolds.weibull import Weibull
from infogeo.manifolds.wishart import Wishart

__all__ = [
    "Bernoulli",
    "Beta",
    "Binomial",
    "Cauchy",
    "CenteredNormal",
    "Dirichlet",
    "Exponential",
    "ExponentialFamily",
    "Frechet",
    "Gamma",
    "GeneralizedNormal",
    "Geometric",
    "Gumbel",
    "GumbelMin",
    "HalfNormal",
    "InverseGaussian",
    "InverseWishart",
    "Laplace",
    "LogNormal",
    "Logistic",
    "MatrixNormal",
    "Maxwell",
    "Multinomial",
    "NegativeBinomial",
    "NegativeMultinomial",
    "Pareto",
    "Poisson",
    "Product",
    "Rayleigh",
    "StudentT",
    "VonMises",
    "VonMisesFisher",
    "Weibull",
    "Wishart",
    "bhattacharyya_coefficient",
    "christoffel_symbols",
    "connect",
    "dimension",
    "e_geodesic",
    "e_mean",
    "e_transport",
    "exp_map",
    "expectation_parameters",
    "fisher_information",
    "fisher_rao_distance",
    "fisher_rao_geodesic",
    "fisher_rao_squared_distance",
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
    "parallel_transport",
    "renyi_divergence",
    "sample",
    "sectional_curvature",
    "to_distribution",
]


finish(
    globals(),
    {
        "a : point": "Of any family.",
        "a, b : point": "Two of one family; their batch axes broadcast.",
        "v : tangent vector": "Its batch axes broadcast with those of the points.",
        "TypeError, ValueError": "Points of two families; values that no point has.",
    },
)
