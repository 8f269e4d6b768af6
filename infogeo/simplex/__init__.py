r"""The probability simplex with the Fisher metric: points are probabilities, last axis.

The metric is :math:`g_p(u, v) = \sum_i u_i v_i / p_i`, so that :math:`p \mapsto 2\sqrt p` is an
isometry onto the positive orthant of the sphere of radius 2: diameter pi, sectional curvature
+1/4. Tangent vectors sum to 0. Sums of p that differ from 1 by rounding are harmless: every
function is that of the normalised vectors.

Where p or q excludes an outcome, some functions have an infinite slope by its probability.
Automatic differentiation gives the derivative within the face there, which is finite: a root of 0
counts as a constant. An outcome that both exclude has the derivative 0. So has every outcome where
the Fisher-Rao or Hellinger distance is 0 or as large as it can be, and where a divergence is
infinite.
"""

from __future__ import annotations

from infogeo import _array, _spaces
from infogeo._array import PROBABILITIES, Array, Namespace
from infogeo._docs import finish
from infogeo.simplex._coordinates import (
    christoffel_symbols,
    dimension,
    expectation_parameters,
    fisher_information,
    from_expectation_parameters,
    from_natural_parameters,
    from_sphere,
    natural_parameters,
    sphere_embedding,
)
from infogeo.simplex._distance import (
    bhattacharyya_coefficient,
    fisher_rao_distance,
    fisher_rao_squared_distance,
    hellinger_distance,
    normalised,
)
from infogeo.simplex._divergences import (
    alpha_divergence,
    chi_square_divergence,
    entropy,
    jeffreys_divergence,
    jensen_shannon_distance,
    jensen_shannon_divergence,
    kl_divergence,
    renyi_divergence,
    total_variation_distance,
)
from infogeo.simplex._geodesics import (
    alpha_geodesic,
    boundary_time,
    e_geodesic,
    exp_map,
    fisher_rao_geodesic,
    log_map,
    m_geodesic,
)
from infogeo.simplex._means import e_mean, m_mean
from infogeo.simplex._tangents import (
    e_representation,
    e_transport,
    inner_product,
    m_representation,
    m_transport,
    norm,
    parallel_transport,
)
from infogeo.simplex._volume import random_uniform, volume

__all__ = [
    "alpha_divergence",
    "alpha_geodesic",
    "bhattacharyya_coefficient",
    "boundary_time",
    "chi_square_divergence",
    "christoffel_symbols",
    "dimension",
    "e_geodesic",
    "e_mean",
    "e_representation",
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
    "from_sphere",
    "hellinger_distance",
    "inner_product",
    "jeffreys_divergence",
    "jensen_shannon_distance",
    "jensen_shannon_divergence",
    "kl_divergence",
    "log_map",
    "m_geodesic",
    "m_mean",
    "m_representation",
    "m_transport",
    "natural_parameters",
    "norm",
    "parallel_transport",
    "random_uniform",
    "renyi_divergence",
    "sphere_embedding",
    "total_variation_distance",
    "volume",
]

POINTS = PROBABILITIES


def _unit_vectors(p: Array, xp: Namespace) -> Array:
    return _array.safe_sqrt(p, xp) / xp.sqrt(xp.sum(p, axis=-1, keepdims=True))


def _combined(coefficients: Array, p: Array, xp: Namespace) -> Array:
    roots = _array.safe_sqrt(normalised(p, xp), xp)
    return normalised(xp.matmul(coefficients[..., None, :], roots)[..., 0, :] ** 2, xp)


SPHERE = _spaces.SphereChart(
    unit_vectors=_unit_vectors,
    combined=_combined,
    probabilities=lambda p, xp: p,
    logits=_array.safe_log,
    converted=lambda chart, points, xp: chart.probabilities(points, xp),
    cooled=lambda p, temperature: p ** (1.0 / temperature),
    excluded=0.0,
)

finish(
    globals(),
    {
        "p, q : array, shape (..., c)": (
            "Probabilities along the last axis; leading axes broadcast."
        ),
        "v : array, shape (..., c)": (
            "Tangent vector: sums to 0, and is 0 where p is. Leading axes broadcast."
        ),
    },
)
