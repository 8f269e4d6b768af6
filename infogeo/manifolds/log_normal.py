r"""Lognormal distributions with the Fisher metric: that of the normals of the logarithms.

A point is a `LogNormal`, of location and scale of the logarithm: its mean and its standard
deviation. Every formula is that of `infogeo.normal`.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo import normal
from infogeo._array import POSITIVE, REAL, Array, Namespace
from infogeo._docs import finish
from infogeo._points import Points, Vectors, fill, recast, require_kind, tangents
from infogeo._spaces import Foreign
from infogeo._system.registry import storable
from infogeo.manifolds._family import Family, log_cosh, quotient
from infogeo.manifolds._half_plane import Fields, HalfPlane
from infogeo.manifolds._line import log_ratio, renyi_of_rates

__all__ = ["LogNormal", "Tangent"]


@storable("LogNormal")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class LogNormal(Family):
    r"""A batch of lognormal distributions: of variables whose logarithms are normal.

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
    Of a lognormal distribution of torch or scipy, `from_distribution` makes the normal of the
    logarithms, unless it is asked for the space "log_normal".

    Examples
    --------
    >>> from infogeo import manifolds
    >>> d = manifolds.fisher_rao_distance(LogNormal(0.0, 1.0), LogNormal(0.0, np.e))
    >>> round(float(d) ** 2, 12)
    2.0
    """

    loc: Array
    scale: Array

    rules: ClassVar = {"loc": REAL, "scale": POSITIVE}

    def __init__(self, loc: Any, scale: Any, *, check: bool = True):
        fill(self, check, loc=loc, scale=scale)


Tangent = storable("log_normal.Tangent")(tangents(LogNormal))


def _of_logarithms(verb: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Return what a function of normals makes of the normals of the logarithms."""
    for position, value in enumerate(given):
        if isinstance(value, Points | Vectors):
            require_kind("ab"[min(position, 1)], LogNormal | Tangent, value)
    result = verb(*(_exchanged(value) for value in given), **named)
    return _exchanged(result)


def _exchanged(value: Any) -> Any:
    """Return points and vectors of lognormal distributions as those of normals, and back."""
    for cls, other in _PAIRS:
        if type(value) is cls:
            return recast(value, other)
    return value


_PAIRS: Any = (
    (LogNormal, normal.Normal),
    (Tangent, normal.Tangent),
    (normal.Normal, LogNormal),
    (normal.Tangent, Tangent),
)
_SHARED = (
    *("e_geodesic", "m_geodesic", "e_transport", "m_transport", "e_mean", "m_mean"),
    *("natural_parameters", "from_natural_parameters", "expectation_parameters"),
    *("from_expectation_parameters", "kl_divergence", "jeffreys_divergence"),
    "hellinger_distance",
)


def _log_density(a: LogNormal, x: Any) -> Any:
    logs = np.log(x)
    return normal.log_density(normal.Normal(a.loc, a.scale, check=False), logs) - logs


def _estimate(x: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return mean and standard deviation of the logarithms."""
    logs = xp.log(x)
    mean = xp.mean(logs, axis=0)
    return mean, xp.sqrt(xp.mean((logs - mean) ** 2, axis=0))


def _log_affinity(p: Fields, q: Fields, xp: Namespace) -> Array:
    """Return minus the logarithm of the affinity of the normals of the logarithms."""
    unit = xp.hypot(p[1], q[1])
    largest = 1e4 * unit  # whose square does not overflow: beyond, the affinity is 0
    way = xp.maximum(xp.minimum(q[0] - p[0], largest), -largest) / unit
    return 0.25 * way * way + 0.5 * log_cosh(log_ratio(p[1], q[1], xp), xp)


def _renyi(p: Fields, q: Fields, order: float, xp: Namespace) -> Array:
    """Return n d^2 / 2 (n s'^2 + (1 - n) s^2), and half that of the rates 1 / s^2."""
    unit = xp.hypot(order**0.5 * q[1], (1.0 - order) ** 0.5 * p[1])
    way = quotient(q[0] - p[0], unit, xp)
    by_scale = renyi_of_rates(2.0 * log_ratio(q[1], p[1], xp), order, xp)
    return 0.5 * (order * way * way + by_scale)


SPACE = HalfPlane(
    POINTS=LogNormal,
    TANGENTS=Tangent,
    metric=lambda xp: (1.0, 0.0, 2.0),
    DISTRIBUTIONS={
        "torch.distributions.LogNormal": ("loc", "scale"),
        "scipy.stats.lognorm": Foreign(
            ("scale", "s"), lambda x, s: (np.log(x), s), lambda loc, s: (np.exp(loc), s)
        ),
    },
    log_density=_log_density,
    window=lambda a: np.exp(
        np.linspace(np.min(a.loc - 3.0 * a.scale), np.max(a.loc + a.scale), 400)
    ),
    SAMPLES=POSITIVE,
    estimate=_estimate,
    log_affinity=_log_affinity,
    renyi=_renyi,
    more={name: functools.partial(_of_logarithms, getattr(normal, name)) for name in _SHARED},
)


finish(globals())
