"""Means and logarithms of standard deviations: the parameters that a network may put out."""

import math

from infogeo import _array
from infogeo._spaces import RawParameters
from infogeo.normal._distance import ROOT_2
from infogeo.normal._geodesics import fisher_rao_geodesic
from infogeo.normal._point import Normal


def _log_lengths(z, xp):
    """Return the logarithms of 1 / std and of sqrt 2."""
    _, log_std = z
    return -log_std, xp.full_like(log_std, 0.5 * math.log(2.0))


def _raw_distance(z, w, xp):
    r"""Return the distance by the logarithms l of the deviations.

    With l the difference of the log stds and g their mean it is
    2 sqrt2 arcsinh(hypot(sinh(l / 2), dmu exp(-g) / sqrt 8)). No std is formed: where the terms
    reach exp(20), the larger one is taken out, and arcsinh x is log 2x to rounding.
    """
    (mean_z, log_z), (mean_w, log_w) = z, w
    step = xp.abs(mean_z - mean_w)
    half, level = 0.5 * xp.abs(log_z - log_w), 0.5 * (log_z + log_w)
    zero, one, moves = xp.zeros_like(step), xp.ones_like(step), step > 0.0
    log_step = xp.log(xp.where(moves, step, one))
    t = xp.maximum(xp.where(moves, log_step - level, half), half)
    is_far = t > 20.0
    t = xp.where(is_far, t, zero)
    root = xp.exp(xp.where(moves, 0.5 * (-level - t), zero))
    across = root * (root * step) / math.sqrt(8.0)
    along = -0.5 * xp.expm1(-2.0 * half) * xp.exp(half - t)
    scaled = _array.norm(xp.stack([across, along], axis=-1), xp)
    arc = xp.where(is_far, t + xp.log(xp.where(is_far, 2.0 * scaled, one)), xp.asinh(scaled))
    return 2.0 * ROOT_2 * arc


def _raw_geodesic(z, w, t, xp):
    """Return points on the geodesic, computed in the widest dtype, whose stds overflow last."""
    dtype, wide = z[0].dtype, _array.widest_dtype(z[0], xp)
    a, b = ([xp.astype(x, wide, copy=False) for x in y] for y in (z, w))
    ends = (Normal(mean, xp.exp(log_std), check=False) for mean, log_std in (a, b))
    path = fisher_rao_geodesic(*ends, xp.astype(t, wide, copy=False), check=False)
    return xp.astype(path.mean, dtype, copy=False), xp.astype(xp.log(path.std), dtype, copy=False)


RAW = RawParameters(
    ("means", "logarithms of standard deviations"), _log_lengths, _raw_distance, _raw_geodesic
)
