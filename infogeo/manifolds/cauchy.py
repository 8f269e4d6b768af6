r"""Cauchy distributions with the Fisher metric: a half-plane of curvature -2.

A point is a `Cauchy`, of location and scale.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo._array import POSITIVE, REAL, Array, Namespace
from infogeo._docs import finish
from infogeo._points import fill, tangents
from infogeo._system.registry import storable
from infogeo.manifolds import _estimates
from infogeo.manifolds._family import Family, mirrored
from infogeo.manifolds._half_plane import NO_AFFINITY, Fields, HalfPlane

__all__ = ["Cauchy", "Tangent"]


@storable("Cauchy")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Cauchy(Family):
    r"""A batch of Cauchy distributions, of the density :math:`s / \pi (s^2 + (x - \mu)^2)`.

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
    The metric is :math:`(d\mu^2 + ds^2) / 2 s^2`. The Kullback-Leibler divergence is symmetric:
    :math:`\log (1 + ((\mu - \mu')^2 + (s - s')^2) / 4 s s')`.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> d = manifolds.fisher_rao_distance(Cauchy(0.0, 1.0), Cauchy(0.0, np.exp(np.sqrt(2.0))))
    >>> round(float(d), 12)
    1.0
    """

    loc: Array
    scale: Array

    rules: ClassVar = {"loc": REAL, "scale": POSITIVE}

    def __init__(self, loc: Any, scale: Any, *, check: bool = True):
        fill(self, check, loc=loc, scale=scale)


Tangent = storable("cauchy.Tangent")(tangents(Cauchy))


def _kl(p: Fields, q: Fields, xp: Namespace) -> Array:
    root = xp.sqrt(p[1]) * xp.sqrt(q[1])
    x, y = (q[0] - p[0]) / root, (q[1] - p[1]) / root
    return xp.log1p(0.25 * (x * x + y * y))


SPACE = HalfPlane(
    POINTS=Cauchy,
    TANGENTS=Tangent,
    metric=lambda xp: (0.5, 0.0, 0.5),
    DISTRIBUTIONS={
        "torch.distributions.Cauchy": ("loc", "scale"),
        "scipy.stats.cauchy": ("loc", "scale"),
    },
    log_density=lambda a, x: -np.log(np.pi * a.scale) - np.log1p(((x - a.loc) / a.scale) ** 2),
    window=lambda a: np.linspace(np.min(a.loc - 6.0 * a.scale), np.max(a.loc + 6.0 * a.scale), 400),
    REFLECTED=mirrored("cauchy"),
    SAMPLES=REAL,
    estimate=lambda x, xp: _estimates.by_components(x, xp, lambda y: _estimates.student_t(y, 1.0)),
    kl=_kl,
    REFUSED=NO_AFFINITY,
)


finish(globals())
