r"""Generalised normal distributions of a fixed power with the Fisher metric: a half-plane.

A point is a `GeneralizedNormal`, of location, scale, and a power that all points of one call share.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo._array import POSITIVE, REAL, Array, Namespace, entries
from infogeo._docs import finish
from infogeo._points import fill, tangents
from infogeo._spaces import Foreign
from infogeo._system.registry import storable
from infogeo.manifolds import _estimates
from infogeo.manifolds._family import Family, log_gamma, mirrored
from infogeo.manifolds._half_plane import NO_DIVERGENCES, HalfPlane

__all__ = ["GeneralizedNormal", "Tangent"]

ABOVE_A_HALF = entries(
    "exceed 1/2 and be finite",
    lambda x, coarseness: float(x.min()) > 0.5 and float(x.max()) < np.inf,
    lambda x: (x > 0.5) & (x < np.inf),
)


@storable("GeneralizedNormal")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class GeneralizedNormal(Family):
    r"""A batch of generalised normal distributions.

    .. math:: p(x) = \frac{\beta}{2 s \Gamma(1 / \beta)} e^{-|(x - \mu) / s|^\beta}

    Parameters
    ----------
    loc : array, shape (...)
    scale : array, shape (...)
    power : array, shape (...)
        Exponents, above 1/2: the same for all points of one call.
    check : bool

    Attributes
    ----------
    loc, scale, power : array, shape (...)
        Of one shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError

    Notes
    -----
    With the power :math:`\beta` the metric is
    :math:`(\beta^2 \, \Gamma(2 - 1 / \beta) / \Gamma(1 / \beta) \, d\mu^2 + \beta \, ds^2) / s^2`.
    Power 1 is Laplace, power 2 is normal with the standard deviation :math:`s / \sqrt 2`. Up to
    power 1/2 no Fisher information belongs to the location.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> a, b = GeneralizedNormal(0.0, 1.0, 4.0), GeneralizedNormal(0.0, np.e, 4.0)
    >>> d = manifolds.fisher_rao_distance(a, b)
    >>> round(float(d), 12)
    2.0
    """

    loc: Array
    scale: Array
    power: Array

    rules: ClassVar = {"loc": REAL, "scale": POSITIVE, "power": ABOVE_A_HALF}
    constants: ClassVar = ("power",)

    def __init__(self, loc: Any, scale: Any, power: Any, *, check: bool = True):
        fill(self, check, loc=loc, scale=scale, power=power)


Tangent = storable("generalized_normal.Tangent")(tangents(GeneralizedNormal))


def _metric(xp: Namespace, power: Array) -> tuple[Array, float, Array]:
    inverse = 1.0 / power
    ratio = xp.exp(log_gamma(2.0 - inverse, xp) - log_gamma(inverse, xp))
    return power * power * ratio, 0.0, power


def _log_density(a: GeneralizedNormal, x: Any) -> Any:
    from scipy.special import gammaln

    norm = np.log(2.0 * a.scale) + gammaln(1.0 + 1.0 / a.power)
    return -(np.abs((x - a.loc) / a.scale) ** a.power) - norm


SPACE = HalfPlane(
    POINTS=GeneralizedNormal,
    TANGENTS=Tangent,
    metric=_metric,
    DISTRIBUTIONS={"scipy.stats.gennorm": Foreign(("loc", "scale", "beta"))},
    log_density=_log_density,
    window=lambda a: np.linspace(np.min(a.loc - 6.0 * a.scale), np.max(a.loc + 6.0 * a.scale), 400),
    REFLECTED=mirrored("generalized_normal"),
    SAMPLES=REAL,
    estimate=lambda x, xp, power: _estimates.by_components(
        x, xp, _estimates.generalized_normal, power
    ),
    REFUSED=NO_DIVERGENCES,
)


finish(globals())
