r"""Poisson distributions with the Fisher metric: a line, :math:`ds^2 = d\lambda^2 / \lambda`.

A point is a `Poisson`, of a rate. The rate 0 is at a finite distance from all others: the edge of
the family.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo import _array
from infogeo._array import WEIGHTS, Array
from infogeo._docs import finish
from infogeo._points import fill, tangents
from infogeo._spaces import RawParameters
from infogeo._system.registry import storable
from infogeo.manifolds._counts import COUNTS
from infogeo.manifolds._family import Family
from infogeo.manifolds._line import (
    IDENTITY,
    Coordinate,
    Line,
    log_ratio,
    relative_entropy,
    with_geometric_mean,
)

__all__ = ["Poisson", "Tangent"]


@storable("Poisson")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Poisson(Family):
    """A batch of Poisson distributions.

    Parameters
    ----------
    rate : array, shape (...)
        Expected counts, finite and not negative.
    check : bool

    Attributes
    ----------
    rate : array, shape (...)
        As given.

    Raises
    ------
    TypeError, ValueError
        Something else than real numbers; rates that are negative or not finite.

    Notes
    -----
    The Fisher metric is 1 / rate. In the coordinate 2 sqrt(rate) it is 1, so that this coordinate
    measures distances.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> float(manifolds.fisher_rao_distance(Poisson(4.0), Poisson([9.0]))[0])
    2.0
    """

    rate: Array

    rules: ClassVar = {"rate": WEIGHTS}

    def __init__(self, rate: Any, *, check: bool = True):
        fill(self, check, rate=rate)


Tangent = storable("poisson.Tangent")(tangents(Poisson))


# ---------------------------------------------------------------- the coordinates


def _difference(a, b, xp):
    """Return 2 sqrt(b) - 2 sqrt(a) as 2 (b - a) / (sqrt(b) + sqrt(a)): nothing cancels."""
    total = _array.safe_sqrt(a, xp) + _array.safe_sqrt(b, xp)
    return 2.0 * (b - a) / xp.where(total == 0.0, xp.ones_like(total), total)


def _moved(a, step, xp):
    """Return the rate whose root is sqrt(a) + step / 2; NaN where that is negative.

    A root that is negative by rounding alone is the edge.
    """
    root = _array.safe_sqrt(a, xp)
    moved = root + 0.5 * step
    is_rounding = moved >= -8.0 * xp.finfo(a.dtype).eps * root
    moved = xp.where((moved < 0.0) & is_rounding, xp.zeros_like(moved), moved)
    return xp.where(is_rounding, moved * moved, xp.nan)


def _slope(a, xp):
    return xp.where(a == 0.0, math.inf, 1.0 / xp.sqrt(xp.where(a == 0.0, xp.ones_like(a), a)))


def _inverse_rate(a, xp):
    return xp.where(a == 0.0, math.inf, 1.0 / xp.where(a == 0.0, xp.ones_like(a), a))


_FLAT = Coordinate(
    value=lambda a, xp: 2.0 * _array.safe_sqrt(a, xp),
    inverse=lambda x, xp: (0.5 * x) ** 2,
    difference=_difference,
    moved=_moved,
    slope=_slope,
    bend=lambda a, xp: -0.5 * _inverse_rate(a, xp),
)
_LOGARITHM = Coordinate(
    value=_array.safe_log,
    inverse=lambda x, xp: xp.exp(x),
    difference=log_ratio,
    moved=_array.times_exp,
    slope=_inverse_rate,
)


# ---------------------------------------------------------------- divergences and densities


def _log_density(point, x):
    r"""Return :math:`x \log \lambda - \lambda - \log x!`."""
    from scipy.special import gammaln, xlogy

    return xlogy(x, point.rate) - point.rate - gammaln(x + 1.0)


def _window(point):
    """Return the counts within some four standard deviations of the rates, or 1000 of them."""
    low, high = float(np.min(point.rate)), float(np.max(point.rate))
    low, high = low - 4.0 * math.sqrt(low) - 2.0, high + 4.0 * math.sqrt(high) + 2.0
    low = max(0.0, math.floor(low))
    counts = np.linspace(low, math.ceil(high), min(1000, math.ceil(high - low) + 1))
    return np.unique(np.round(counts).astype(int))


# ---------------------------------------------------------------- logarithms of rates


def _log_lengths(z, xp):
    """Return the logarithm of the root of the rate."""
    return (0.5 * z[0],)


def _raw_distance(z, w, xp):
    """Return the difference of 2 exp(z / 2), whose larger term is taken out."""
    (z,), (w,) = z, w
    decrease = -2.0 * _array.expm1(-0.5 * xp.abs(z - w), xp)
    return _array.times_exp(decrease, 0.5 * xp.maximum(z, w), xp)


def _raw_geodesic(z, w, t, xp):
    """Return the straight line between the roots of the rates."""
    (z,), (w,) = z, w
    t = _array.as_leading(t, z, xp)
    return (2.0 * xp.logaddexp(0.5 * z + xp.log1p(-t), 0.5 * w + xp.log(t)),)


SPACE = Line(
    POINTS=Poisson,
    TANGENTS=Tangent,
    flat=_FLAT,
    natural=_LOGARITHM,
    expectation=IDENTITY,
    kl=relative_entropy,
    log_affinity=lambda a, b, xp: 0.125 * _difference(a, b, xp) ** 2,
    renyi=lambda a, b, order, xp: with_geometric_mean(a, b, order, xp)[1] / (1.0 - order),
    DISTRIBUTIONS={"torch.distributions.Poisson": ("rate",), "scipy.stats.poisson": ("mu",)},
    log_density=_log_density,
    window=_window,
    SAMPLES=COUNTS,
    estimate=lambda x, xp: (xp.mean(x, axis=0),),
    RAW=RawParameters(("logarithms of rates",), _log_lengths, _raw_distance, _raw_geodesic),
)


finish(globals())
