r"""The simplex in logits: points of the quotient R^c/1, last axis; a constant changes nothing.

Every function is that of the probabilities softmax(z), computed without forming them: classes of
probability 1e-300 count, and -inf masks a class. So does a large negative number, -1e9 or
``finfo.min``: no result is rounded by it. Functions that return a point return the representative
with sum zero. Masked classes are left out of that sum, and so are those more than 1416.8 below the
largest (174.7 in float32), where even the root of the probability underflows. A tangent vector v is
a change of the logits, again up to a constant; it acts on the probabilities as dp = p (v - E_p[v]).
Functions that return a tangent vector return the representative with E_p[v] = 0, which is the
score.
"""

from __future__ import annotations

import math

from infogeo import _array, _divergence, _spaces
from infogeo._array import LOGITS, Array, Namespace
from infogeo._docs import finish
from infogeo.logits._distance import (
    bhattacharyya_coefficient,
    fisher_rao_distance,
    fisher_rao_squared_distance,
    hellinger_distance,
)
from infogeo.logits._divergences import (
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
from infogeo.logits._fisher import (
    apply_fisher,
    apply_inverse_fisher,
    fisher_information,
    natural_gradient,
)
from infogeo.logits._geodesics import (
    alpha_geodesic,
    boundary_time,
    e_geodesic,
    exp_map,
    fisher_rao_geodesic,
    log_map,
    m_geodesic,
)
from infogeo.logits._means import e_mean, m_mean
from infogeo.logits._quotient import (
    canonical,
    dimension,
    from_simplex,
    quotient_norm,
    sphere_embedding,
    to_simplex,
)
from infogeo.logits._tangents import (
    e_transport,
    inner_product,
    m_transport,
    norm,
    parallel_transport,
)

__all__ = [
    "alpha_divergence",
    "alpha_geodesic",
    "apply_fisher",
    "apply_inverse_fisher",
    "bhattacharyya_coefficient",
    "boundary_time",
    "canonical",
    "chi_square_divergence",
    "dimension",
    "e_geodesic",
    "e_mean",
    "e_transport",
    "entropy",
    "exp_map",
    "fisher_information",
    "fisher_rao_distance",
    "fisher_rao_geodesic",
    "fisher_rao_squared_distance",
    "from_simplex",
    "hellinger_distance",
    "inner_product",
    "jeffreys_divergence",
    "jensen_shannon_distance",
    "jensen_shannon_divergence",
    "kl_divergence",
    "log_map",
    "m_geodesic",
    "m_mean",
    "m_transport",
    "natural_gradient",
    "norm",
    "parallel_transport",
    "quotient_norm",
    "renyi_divergence",
    "sphere_embedding",
    "to_simplex",
    "total_variation_distance",
]

POINTS = LOGITS


def _unit_vectors(z: Array, xp: Namespace) -> Array:
    return xp.exp(0.5 * _array.log_softmax(z, xp))


def _combined(coefficients: Array, z: Array, xp: Namespace) -> Array:
    terms = _array.safe_log(coefficients, xp)[..., None] + 0.5 * _array.log_softmax(z, xp)
    return _array.centred(2.0 * _divergence.log_sum_exp(xp.moveaxis(terms, -2, -1), xp), xp)


SPHERE = _spaces.SphereChart(
    unit_vectors=_unit_vectors,
    combined=_combined,
    probabilities=_array.softmax,
    logits=lambda z, xp: z,
    converted=lambda chart, points, xp: _array.centred(chart.logits(points, xp), xp),
    cooled=lambda z, temperature: z / temperature,
    excluded=-math.inf,
)

finish(
    globals(),
    {
        "TypeError, ValueError": "Arrays of different libraries; NaN, +inf or rows of -inf.",
        "z, w : array, shape (..., c)": (
            "Logits along the last axis, -inf for a masked class; leading axes broadcast."
        ),
        "z : array, shape (..., c)": "Logits along the last axis, -inf for a masked class.",
        "v : array, shape (..., c)": (
            "Tangent vector: a change of the logits, up to a constant. Leading axes broadcast."
        ),
    },
)
