r"""Gumbel distributions of maxima with the Fisher metric: a half-plane of curvature -6 / pi^2.

A point is a `Gumbel`, of location and scale.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo._array import POSITIVE, REAL, Array, Namespace
from infogeo._docs import finish
from infogeo._points import fill, tangents
from infogeo._system.registry import storable
from infogeo.manifolds import _estimates
from infogeo.manifolds._extremes import extreme_value_kl, extreme_value_metric
from infogeo.manifolds._family import Family, mirrored
from infogeo.manifolds._half_plane import NO_AFFINITY, Fields, HalfPlane
from infogeo.manifolds._line import log_ratio

__all__ = ["Gumbel", "Tangent"]


@storable("Gumbel")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Gumbel(Family):
    r"""A batch of Gumbel distributions of maxima.

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

    Notes
    -----
    With Euler's constant :math:`\gamma` the metric is
    :math:`(d\mu^2 - 2 (1 - \gamma) \, d\mu \, ds + (\pi^2 / 6 + (1 - \gamma)^2) \, ds^2) / s^2`.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> d = manifolds.fisher_rao_distance(Gumbel(0.0, 1.0), Gumbel(0.0, np.e))
    >>> round(float(d), 6)
    1.344937
    """

    loc: Array
    scale: Array

    rules: ClassVar = {"loc": REAL, "scale": POSITIVE}

    def __init__(self, loc: Any, scale: Any, *, check: bool = True):
        fill(self, check, loc=loc, scale=scale)


Tangent = storable("gumbel.Tangent")(tangents(Gumbel))


def _kl(p: Fields, q: Fields, xp: Namespace) -> Array:
    way = q[0] - p[0]
    log_r = log_ratio(q[1], p[1], xp)
    return extreme_value_kl(way / q[1], (p[1] - q[1]) / q[1], log_r, xp)


SPACE = HalfPlane(
    POINTS=Gumbel,
    TANGENTS=Tangent,
    metric=lambda xp: extreme_value_metric(-1.0),
    DISTRIBUTIONS={
        "torch.distributions.Gumbel": ("loc", "scale"),
        "scipy.stats.gumbel_r": ("loc", "scale"),
    },
    log_density=lambda a, x: (
        -(x - a.loc) / a.scale - np.exp(-(x - a.loc) / a.scale) - np.log(a.scale)
    ),
    window=lambda a: np.linspace(np.min(a.loc - 6.0 * a.scale), np.max(a.loc + 6.0 * a.scale), 400),
    REFLECTED=mirrored("gumbel_min"),
    SAMPLES=REAL,
    estimate=lambda x, xp: _estimates.by_components(x, xp, _estimates.gumbel),
    kl=_kl,
    REFUSED=NO_AFFINITY,
)


finish(globals())
