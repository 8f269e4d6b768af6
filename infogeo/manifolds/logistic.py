r"""Logistic distributions with the Fisher metric: a half-plane of curvature -9 / (3 + pi^2).

A point is a `Logistic`, of location and scale.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo._array import POSITIVE, REAL, Array
from infogeo._docs import finish
from infogeo._points import fill, tangents
from infogeo._spaces import Foreign
from infogeo._system.registry import storable
from infogeo.manifolds import _estimates
from infogeo.manifolds._family import Family, mirrored
from infogeo.manifolds._half_plane import NO_DIVERGENCES, HalfPlane

__all__ = ["Logistic", "Tangent"]


@storable("Logistic")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Logistic(Family):
    r"""A batch of logistic distributions.

    .. math:: P(X \le x) = \frac{1}{1 + e^{-(x - \mu) / s}}

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
    The metric is :math:`(d\mu^2 / 3 + (3 + \pi^2) / 9 \, ds^2) / s^2`.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> d = manifolds.fisher_rao_distance(Logistic(0.0, 1.0), Logistic(0.0, np.e))
    >>> round(float(d), 6)
    1.195808
    """

    loc: Array
    scale: Array

    rules: ClassVar = {"loc": REAL, "scale": POSITIVE}

    def __init__(self, loc: Any, scale: Any, *, check: bool = True):
        fill(self, check, loc=loc, scale=scale)


Tangent = storable("logistic.Tangent")(tangents(Logistic))


def _log_density(z: Any) -> Any:
    """Return the logarithm of the standard density, without overflow."""
    size = np.abs(z)
    return -size - 2.0 * np.log1p(np.exp(-size))


SPACE = HalfPlane(
    POINTS=Logistic,
    TANGENTS=Tangent,
    metric=lambda xp: (1.0 / 3.0, 0.0, (3.0 + math.pi**2) / 9.0),
    DISTRIBUTIONS={
        "scipy.stats.logistic": ("loc", "scale"),
        "scipy.stats.Logistic": Foreign((), lambda: (0.0, 1.0)),
    },
    log_density=lambda a, x: _log_density((x - a.loc) / a.scale) - np.log(a.scale),
    window=lambda a: np.linspace(np.min(a.loc - 6.0 * a.scale), np.max(a.loc + 6.0 * a.scale), 400),
    REFLECTED=mirrored("logistic"),
    SAMPLES=REAL,
    estimate=lambda x, xp: _estimates.by_components(x, xp, _estimates.logistic),
    REFUSED=NO_DIVERGENCES,
)


finish(globals())
