r"""Univariate normal distributions with the Fisher metric; batches of them, and diagonal normals.

A point is a `Normal`, of mean and standard deviation. The metric is

.. math:: ds^2 = \frac{d\mu^2 + 2 \, d\sigma^2}{\sigma^2}

that of the hyperbolic half-plane of curvature -1/2: :math:`(\mu / \sqrt 2, \sigma)` are its usual
coordinates. A tangent vector is a `Tangent`, of a velocity of the mean and one of the standard
deviation.

For diagonal normals the last batch axis holds the independent components. Geodesics, maps,
transports and means work component by component, divergences and squared distances add up over
the components (`diagonal_fisher_rao_distance` does it for the distance).
"""

import math
from typing import Any

import numpy as np

from infogeo._array import Array
from infogeo._docs import finish
from infogeo.normal._coordinates import (
    christoffel_symbols,
    dimension,
    expectation_parameters,
    fisher_information,
    from_expectation_parameters,
    from_natural_parameters,
    natural_parameters,
    sectional_curvature,
)
from infogeo.normal._distance import (
    diagonal_fisher_rao_distance,
    diagonal_fisher_rao_squared_distance,
    fisher_rao_distance,
    fisher_rao_squared_distance,
)
from infogeo.normal._divergences import (
    entropy,
    hellinger_distance,
    jeffreys_divergence,
    kl_divergence,
)
from infogeo.normal._geodesics import e_geodesic, exp_map, fisher_rao_geodesic, log_map, m_geodesic
from infogeo.normal._means import e_mean, m_mean
from infogeo.normal._point import Normal, Tangent
from infogeo.normal._raw import RAW as RAW
from infogeo.normal._tangents import (
    e_transport,
    inner_product,
    m_transport,
    norm,
    parallel_transport,
)

__all__ = [
    "Normal",
    "Tangent",
    "christoffel_symbols",
    "diagonal_fisher_rao_distance",
    "diagonal_fisher_rao_squared_distance",
    "dimension",
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
    "parallel_transport",
    "sectional_curvature",
]

POINTS = Normal
TANGENTS = Tangent
ORTHOGONAL = True
DISTRIBUTIONS = {
    "torch.distributions.Normal": ("loc", "scale"),
    "scipy.stats.norm": ("loc", "scale"),
    "scipy.stats.Normal": ("mu", "sigma"),
    "scipy.stats.StandardNormal": ("mu", "sigma"),
}


def AFFINE(  # noqa: N802  a declaration of the space
    a: Normal, shift: Array, factor: Array, *, check: bool = True
) -> Normal:
    """Return the distribution of shift + factor X."""
    return Normal(shift + factor * a.mean, abs(factor) * a.std, check=check)


def LOCATION_SCALE(a: Normal) -> tuple[Array, Array]:  # noqa: N802  a declaration of the space
    """Return shift and factor of the map that makes the distribution from N(0, 1)."""
    return a.mean[..., None], a.std[..., None, None]


def log_density(a: Normal, x: Any) -> Any:
    """Return the logarithm of the density at x, for plots."""
    return -0.5 * ((x - a.mean) / a.std) ** 2 - np.log(a.std) - 0.5 * math.log(2.0 * math.pi)


def window(a: Normal) -> np.ndarray:
    """Return the x within four standard deviations of the means, for plots."""
    return np.linspace(np.min(a.mean - 4.0 * a.std), np.max(a.mean + 4.0 * a.std), 400)


finish(
    globals(),
    {
        "a, b : Normal": "Their batch axes broadcast.",
        "v : Tangent": "At a.",
        "a : Normal": "The distributions.",
    },
)
