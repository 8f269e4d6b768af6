r"""Von Mises distributions of angles with the Fisher metric: a surface of revolution.

A point is a `VonMises`, of a location (an angle) and a concentration. The metric is

.. math:: ds^2 = A'(\kappa) \, d\kappa^2 + \kappa A(\kappa) \, d\mu^2, \qquad
          A = \frac{I_1(\kappa)}{I_0(\kappa)}

Near concentration 0 it is that of a plane in polar coordinates; for large concentrations the family
is that of normals, of curvature -1/2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import numpy as numpy_namespace

from infogeo import _array
from infogeo._array import POSITIVE, REAL, Array, Namespace
from infogeo._docs import finish
from infogeo._points import fill, tangents
from infogeo._spaces import Foreign, RawParameters
from infogeo._system.registry import storable
from infogeo.manifolds import _directional, _family
from infogeo.manifolds._bessel import complement, ratio
from infogeo.manifolds._family import Family
from infogeo.manifolds._rotational import Exponential, Polar, Rotational

__all__ = ["Tangent", "VonMises"]

Fields = Sequence[Array]


@storable("VonMises")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class VonMises(Family):
    r"""A batch of von Mises distributions, of the density :math:`\propto e^{\kappa \cos(x - \mu)}`.

    Parameters
    ----------
    loc : array, shape (...)
        Mean angles in radians, finite. Angles that differ by a full turn are the same.
    concentration : array, shape (...)
        Positive and finite.
    check : bool

    Attributes
    ----------
    loc, concentration : array, shape (...)
        Of one shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError

    Notes
    -----
    Distances, maps and transports are solved for in float64 of numpy, whatever the library of the
    points. On torch tensors the distance and its square have first derivatives, and maps have
    none.

    References
    ----------
    K. V. Mardia and P. E. Jupp, Directional Statistics, 2000.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> round(float(manifolds.fisher_rao_distance(VonMises(0.0, 1.0), VonMises(1.0, 2.0))), 12)
    0.983713033641
    """

    loc: Array
    concentration: Array

    rules: ClassVar = {"loc": REAL, "concentration": POSITIVE}

    def __init__(self, loc: Any, concentration: Any, *, check: bool = True):
        fill(self, check, loc=loc, concentration=concentration)


Tangent = storable("von_mises.Tangent")(tangents(VonMises))


def _turn(p: Fields, q: Fields, xp: Namespace) -> Array:
    """Return the angle from one location to the other, in [-pi, pi]."""
    turn = q[0] - p[0]
    return turn - 2.0 * math.pi * xp.round(turn / (2.0 * math.pi))


def _polar(p: Fields, q: Fields) -> Polar:
    turn = np.asarray(_turn(p, q, numpy_namespace))
    sign = np.where(turn < 0.0, -1.0, 1.0)[..., None]
    r, s = (_directional.radius(x[1], 2) for x in (p, q))
    return Polar(r, s, _directional.gap(p[1], q[1], 2), np.abs(turn), sign, sign)


def _placed(p: Fields, direction: np.ndarray, r: np.ndarray, angle: np.ndarray) -> Fields:
    return p[0] + direction[..., 0] * angle, _directional.concentration_at(r, 2)


def _frame(p: Fields, v: Fields, xp: Namespace) -> Array:
    along, across = _directional.lengths(p[1], 2, xp)
    return xp.stack(xp.broadcast_arrays(along * v[1], across * v[0]), axis=-1)


def _unframed(p: Fields, x: Array, xp: Namespace) -> Fields:
    along, across = _directional.lengths(p[1], 2, xp)
    return x[..., 1] / across, x[..., 0] / along


def _lowered(p: Fields, x: np.ndarray) -> np.ndarray:
    along, across = _directional.lengths(p[1], 2, numpy_namespace)
    return np.stack([x[..., 1] * across, x[..., 0] * along], axis=-1)


def _matrix(entries: list[list[Array]], xp: Namespace) -> Array:
    rows = [xp.stack(row, axis=-1) for row in entries]
    return xp.stack(rows, axis=-2)


def _information(p: Fields, xp: Namespace) -> Array:
    A, slope, _ = ratio(p[1], 2, xp)
    zero = xp.zeros_like(A)
    return _matrix([[p[1] * A, zero], [zero, slope]], xp)


def _christoffel(p: Fields, xp: Namespace) -> Array:
    at = _directional.bounded(p[1], xp)
    A, slope, bend = ratio(at, 2, xp)
    zero, by_kappa, share = xp.zeros_like(A), A + at * slope, at / p[1]
    turning = 0.5 * by_kappa / (p[1] * A)
    of_loc = _matrix([[zero, turning], [turning, zero]], xp)
    outward = -0.5 * by_kappa / slope / share / share
    of_kappa = _matrix([[outward, zero], [zero, 0.5 * bend / slope * share]], xp)
    return xp.stack([of_loc, of_kappa], axis=-3)


# ---------------------------------------------------------------- the exponential family


def _vector(p: Fields, size: Array, xp: Namespace) -> tuple[Array, Array]:
    return size * xp.cos(p[0]), size * xp.sin(p[0])


def _from_natural(theta: Fields, xp: Namespace) -> tuple[Array, Array]:
    return xp.atan2(theta[1], theta[0]), xp.hypot(theta[0], theta[1])


def _from_expectation(eta: Fields, xp: Namespace) -> tuple[Array, Array]:
    loc, size = _from_natural(eta, xp)
    return loc, _directional.inverse_ratio(size, 1.0 - size, 2, xp)


def _mean(x: Fields, weights: Array, axis: int, xp: Namespace) -> tuple[Array, ...]:
    return tuple(xp.sum(weights * y, axis=axis) for y in x)


def _of_angles(
    x: Array, ratios: Array, rests: Array, weights: Array, axis: int, xp: Namespace
) -> tuple[Array, Array]:
    """Return what has the mean of vectors of angles x and lengths A, given with 1 - A."""
    loc, size = _from_natural(_mean(_vector((x,), ratios, xp), weights, axis, xp), xp)
    turn = _turn((xp.expand_dims(loc, axis=axis),), (x,), xp)
    rest = xp.sum(weights * (rests + ratios * 2.0 * xp.sin(0.5 * turn) ** 2), axis=axis)
    return loc, _directional.inverse_ratio(size, rest, 2, xp)


def _e_mean(p: Fields, weights: Array, axis: int, xp: Namespace) -> tuple[Array, Array]:
    return _from_natural(_mean(_vector(p, p[1], xp), weights, axis, xp), xp)


def _m_mean(p: Fields, weights: Array, axis: int, xp: Namespace) -> tuple[Array, Array]:
    A, rest = ratio(p[1], 2, xp).value, complement(p[1], 2, xp)
    return _of_angles(p[0], A, rest, weights, axis, xp)


def _moved(p: Fields, q: Fields, along: Array, across: Array, xp: Namespace) -> Fields:
    """Return the parts along and across the direction of q, of a vector given by those of p."""
    turn = _turn(p, q, xp)
    cosine, sine = xp.cos(turn), xp.sin(turn)
    return cosine * along + sine * across, cosine * across - sine * along


def _e_moved(p: Fields, q: Fields, v: Fields, xp: Namespace) -> Fields:
    along, across = _moved(p, q, v[1], p[1] * v[0], xp)
    return across / q[1], along


def _m_moved(p: Fields, q: Fields, v: Fields, xp: Namespace) -> Fields:
    A, B = (ratio(x[1], 2, xp).value for x in (p, q))
    size, other = (_directional.lengths(x[1], 2, xp)[0] for x in (p, q))
    along, across = _moved(p, q, size * (size * v[1]), A * v[0], xp)
    return across / B, along / other / other


def _kl(p: Fields, q: Fields, xp: Namespace) -> Array:
    apart = 4.0 * xp.sin(0.5 * _turn(p, q, xp)) ** 2
    return _directional.kl(p[1], q[1], 2, apart, xp)


def _from_middle(p: Fields, q: Fields, share: float, xp: Namespace) -> tuple[Array, Array]:
    """Return the divergences from the point between two, whose location is that of p turned."""
    turn = _turn(p, q, xp)
    rest = 1.0 - share
    along = share * p[1] + rest * q[1] * xp.cos(turn)
    across = rest * q[1] * xp.sin(turn)
    middle = xp.atan2(across, along), xp.hypot(along, across)
    zero = xp.zeros_like(turn)
    return _kl(middle, (zero, p[1]), xp), _kl(middle, (turn, q[1]), xp)


def _estimate(x: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return the direction and the concentration of the mean of the unit vectors."""
    one = xp.ones_like(x)
    return _of_angles(x, one, 0.0 * one, one / x.shape[0], 0, xp)


def _log_density(a: VonMises, x: Any) -> Any:
    from scipy.special import i0e

    bend = -2.0 * a.concentration * np.sin(0.5 * (x - a.loc)) ** 2
    return bend - np.log(2.0 * np.pi * i0e(a.concentration))


# ---------------------------------------------------------------- logarithms of concentrations

_LEAST = -650.0  # so small concentrations are 0 to all digits of a distance


def _log_lengths(z, xp):
    """Return the logarithms of the lengths of a unit of angle and of a logarithm.

    Beyond 100 in size, they are powers of the concentration to all digits.
    """
    low = xp.clip(z[1], -50.0, 50.0)
    kappa = xp.exp(low)
    _, across = _directional.lengths(kappa, 2, xp)
    rest = z[1] - low
    grown = xp.where(rest > 0.0, 0.5 * rest, rest)
    along = xp.log(_directional.slope_root(kappa, 2, xp)) + xp.where(rest > 0.0, 0.0 * rest, rest)
    return xp.log(across) + grown, along


def _of_logarithms(z, xp):
    """Return the point in the widest dtype, whose concentration overflows last."""
    _family.require_exponentials(z[1], -math.inf, xp)
    loc, log_kappa = (xp.astype(x, _array.widest_dtype(x, xp), copy=False) for x in z)
    return VonMises(loc, xp.exp(xp.clip(log_kappa, min=_LEAST)), check=False)


def _raw_distance(z, w, xp):
    """Return the distance of the points of these logarithms."""
    a, b = (_of_logarithms(y, xp) for y in (z, w))
    d = SPACE.fisher_rao_distance(a, b, check=False)
    return xp.astype(d, z[0].dtype, copy=False)


def _raw_geodesic(z, w, t, xp):
    """Return angles and logarithms on the shortest path."""
    a, b = (_of_logarithms(y, xp) for y in (z, w))
    t = xp.astype(t, a.loc.dtype, copy=False)
    path = SPACE.fisher_rao_geodesic(a, b, t, check=False)
    return tuple(
        xp.astype(x, z[0].dtype, copy=False) for x in (path.loc, xp.log(path.concentration))
    )


SPACE = Rotational(
    POINTS=VonMises,
    TANGENTS=Tangent,
    surface=lambda p: _directional.surface_of(2),
    frame=_frame,
    unframed=_unframed,
    lowered=_lowered,
    polar=_polar,
    placed=_placed,
    curvature=lambda p, xp: _directional.curvatures(p[1], 2, xp),
    information=_information,
    christoffel=_christoffel,
    exponential=Exponential(
        natural=(lambda p, xp: _vector(p, p[1], xp), _from_natural),
        expectation=(lambda p, xp: _vector(p, ratio(p[1], 2, xp).value, xp), _from_expectation),
        e_mean=_e_mean,
        m_mean=_m_mean,
        e_moved=_e_moved,
        m_moved=_m_moved,
        kl=_kl,
        from_middle=_from_middle,
    ),
    DISTRIBUTIONS={
        "torch.distributions.VonMises": ("loc", "concentration"),
        "scipy.stats.vonmises": Foreign(
            ("kappa", "loc"), lambda kappa, loc: (loc, kappa), lambda loc, kappa: (kappa, loc)
        ),
    },
    log_density=_log_density,
    window=lambda a: np.linspace(-np.pi, np.pi, 400),
    SAMPLES=REAL,
    estimate=_estimate,
    RAW=RawParameters(
        ("angles", "logarithms of concentrations"), _log_lengths, _raw_distance, _raw_geodesic
    ),
)


finish(globals())
