r"""Laplace distributions with the Fisher metric: a half-plane of curvature -1.

A point is a `Laplace`, of location and scale. The metric is

.. math:: ds^2 = \frac{d\mu^2 + d s^2}{s^2}
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo import _array
from infogeo._array import POSITIVE, REAL, Array, Namespace
from infogeo._docs import finish
from infogeo._points import fill, tangents
from infogeo._system.registry import storable
from infogeo.manifolds._family import Family, excess, log_cosh, mirrored, quotient
from infogeo.manifolds._half_plane import Fields, HalfPlane
from infogeo.manifolds._line import log_ratio

__all__ = ["Laplace", "Tangent"]


@storable("Laplace")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Laplace(Family):
    r"""A batch of Laplace distributions, of the density :math:`e^{-|x - \mu| / s} / 2 s`.

    Parameters
    ----------
    loc : array, shape (...)
    scale : array, shape (...)
    check : bool

    Attributes
    ----------
    loc, scale : array, shape (...)

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> from infogeo import manifolds
    >>> d = manifolds.fisher_rao_distance(Laplace(0.0, 1.0), Laplace(0.0, np.e))
    >>> round(float(d), 12)
    1.0
    """

    loc: Array
    scale: Array

    rules: ClassVar = {"loc": REAL, "scale": POSITIVE}

    def __init__(self, loc: Any, scale: Any, *, check: bool = True):
        fill(self, check, loc=loc, scale=scale)


Tangent = storable("laplace.Tangent")(tangents(Laplace))


def _kl(p: Fields, q: Fields, xp: Namespace) -> Array:
    """Return (s/s') (e^-x - 1 + x) + (y - 1 - log y), x = |mu - mu'| / s and y = s / s'.

    From x = 1 on it is d / s' + (s/s') e^-x - 1 - log y, in which d is |mu - mu'|.
    """
    y, d = log_ratio(q[1], p[1], xp), _size(q[0] - p[0], xp)
    x = quotient(d, p[1], xp)
    is_near, zero = x < 1.0, xp.zeros_like(x + y)
    by_loc = excess(-xp.where(is_near, x, zero), xp)
    is_zero = by_loc == 0.0  # beside a ratio that overflows
    ratio = xp.exp(xp.where(is_zero | ~is_near, zero, y))
    near = xp.where(is_zero, by_loc, ratio * by_loc) + excess(y, xp)
    far = d / q[1] + _array.times_exp(zero + 1.0, y - x, xp) - 1.0 - y
    return xp.where(is_near, near, far)


def _size(x: Array, xp: Namespace) -> Array:
    """Return |x| with the derivative 1 at 0: smooth even functions of it have both derivatives."""
    return xp.where(x < 0.0, -x, x)


def _log_affinity(p: Fields, q: Fields, xp: Namespace) -> Array:
    r"""Return minus the logarithm of the integral of the root of the product.

    With z and w half the sum and half the difference of d / 2s and d / 2s', for d = |mu - mu'|, it
    is log cosh of half the logarithm of the ratio, and z - log(z sinh(w) / w + cosh w).
    """
    d = _size(q[0] - p[0], xp)
    x, y = quotient(d, p[1], xp), quotient(d, q[1], xp)
    z, w = 0.25 * (x + y), 0.25 * xp.abs(x - y)
    is_near, zero = z < 1.0, xp.zeros_like(z)
    near_z, near_w = xp.where(is_near, z, zero), xp.where(is_near, w, zero)
    rest = near_z * _sinhc_minus_1(near_w, xp) + 2.0 * xp.sinh(0.5 * near_w) ** 2
    near = _minus_log1p(near_z, xp) - xp.log1p(rest / (1.0 + near_z))
    far_z, far_w = xp.where(is_near, zero + 1.0, z), xp.where(is_near, zero, w)
    decay = xp.exp(-2.0 * far_w)
    is_small = far_w < 0.1
    mean = -0.5 * xp.expm1(-2.0 * far_w) / xp.where(is_small, zero + 1.0, far_w)
    mean = xp.where(is_small, xp.exp(-far_w) * (1.0 + _sinhc_minus_1(far_w, xp)), mean)
    far = far_z - far_w - xp.log(far_z * mean + 0.5 * (1.0 + decay))
    by_scale = log_cosh(0.5 * log_ratio(p[1], q[1], xp), xp)
    return by_scale + xp.where(is_near, near, far)


def _sinhc_minus_1(w: Array, xp: Namespace) -> Array:
    """Return sinh(w) / w - 1 for |w| < 1."""
    w = xp.where(w < 1.0, w, xp.zeros_like(w))
    total = xp.zeros_like(w)
    for n in range(9, 0, -1):
        total = total * w * w + 1.0 / math.factorial(2 * n + 1)
    return total * w * w


def _minus_log1p(z: Array, xp: Namespace) -> Array:
    """Return z - log(1 + z) for 0 <= z < 1, by the series of the half-angle variable."""
    r = z / (2.0 + z)  # log(1 + z) = 2 artanh r, and z = 2 r / (1 - r)
    total = xp.zeros_like(r)
    for n in range(17, 0, -1):
        total = total * r * r + 1.0 / (2 * n + 1)
    return r * z - 2.0 * total * r * r * r


SPACE = HalfPlane(
    POINTS=Laplace,
    TANGENTS=Tangent,
    metric=lambda xp: (1.0, 0.0, 1.0),
    DISTRIBUTIONS={
        "torch.distributions.Laplace": ("loc", "scale"),
        "scipy.stats.laplace": ("loc", "scale"),
    },
    log_density=lambda a, x: -np.abs(x - a.loc) / a.scale - np.log(2.0 * a.scale),
    window=lambda a: np.linspace(np.min(a.loc - 6.0 * a.scale), np.max(a.loc + 6.0 * a.scale), 400),
    REFLECTED=mirrored("laplace"),
    SAMPLES=REAL,
    estimate=lambda x, xp: _estimate(x, xp),
    kl=_kl,
    log_affinity=_log_affinity,
    REFUSED={"renyi_divergence": "it is not provided. Integrate the densities."},
)


def _estimate(x: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return the median and the mean distance from it."""
    n = x.shape[0]
    ordered = xp.sort(x, axis=0)
    loc = 0.5 * ordered[(n - 1) // 2, ...] + 0.5 * ordered[n // 2, ...]
    return loc, xp.mean(xp.abs(x - loc), axis=0)


finish(globals())
