r"""Weibull distributions with the Fisher metric: a half-plane of curvature -6 / pi^2.

A point is a `Weibull`, of scale and concentration.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo._array import POSITIVE, Array, Namespace
from infogeo._docs import finish
from infogeo._points import fill, tangents
from infogeo._system.registry import storable
from infogeo.manifolds import _estimates
from infogeo.manifolds._extremes import extreme_value_kl, extreme_value_metric
from infogeo.manifolds._family import Family
from infogeo.manifolds._half_plane import NO_AFFINITY, Fields, HalfPlane
from infogeo.manifolds._line import LOGARITHM, log_ratio, power

__all__ = ["Tangent", "Weibull"]


@storable("Weibull")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Weibull(Family):
    r"""A batch of Weibull distributions.

    .. math:: P(X \le x) = 1 - e^{-(x / \lambda)^k}, \qquad x \ge 0

    Parameters
    ----------
    scale : array, shape (...)
    concentration : array, shape (...)
        Exponents, positive and finite.
    check : bool

    Attributes
    ----------
    scale, concentration : array, shape (...)
        Of one shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError

    Notes
    -----
    The logarithm of a variable has the Gumbel distribution of minima with the location log scale
    and the scale 1 / concentration.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> d = manifolds.fisher_rao_distance(Weibull(1.0, 2.0), Weibull(np.e, 2.0))
    >>> round(float(d), 6)
    1.838498
    """

    scale: Array
    concentration: Array

    rules: ClassVar = {"scale": POSITIVE, "concentration": POSITIVE}

    def __init__(self, scale: Any, concentration: Any, *, check: bool = True):
        fill(self, check, scale=scale, concentration=concentration)


Tangent = storable("weibull.Tangent")(tangents(Weibull))


def _kl(p: Fields, q: Fields, xp: Namespace) -> Array:
    """Return the divergence of the logarithms, whose scales are 1 / concentration."""
    way = q[1] * log_ratio(q[0], p[0], xp)
    log_r = log_ratio(p[1], q[1], xp)
    return extreme_value_kl(way, (q[1] - p[1]) / p[1], log_r, xp)


def _estimate(x: Array, xp: Namespace) -> tuple[Array, Array]:
    loc, scale = _estimates.by_components(xp.log(x), xp, _estimates.gumbel_of_minima)
    return xp.exp(loc), 1.0 / scale


SPACE = HalfPlane(
    POINTS=Weibull,
    TANGENTS=Tangent,
    metric=lambda xp: extreme_value_metric(1.0),
    DISTRIBUTIONS={
        "torch.distributions.Weibull": ("scale", "concentration"),
        "scipy.stats.weibull_min": ("scale", "c"),
    },
    log_density=lambda a, x: (
        np.log(a.concentration)
        - np.log(x)
        + a.concentration * np.log(x / a.scale)
        - (x / a.scale) ** a.concentration
    ),
    window=lambda a: np.linspace(1e-3, 3.5, 400) * float(np.max(a.scale)),
    SAMPLES=POSITIVE,
    estimate=_estimate,
    location=LOGARITHM,
    scale=power(-1.0),
    kl=_kl,
    REFUSED=NO_AFFINITY,
)


finish(globals())
