r"""Von Mises-Fisher distributions of directions with the Fisher metric.

A point is a `VonMisesFisher`, of a mean direction m, a unit vector of R^p, and a concentration. The
metric is

.. math:: ds^2 = A'(\kappa) \, d\kappa^2 + \kappa A(\kappa) \, |dm|^2, \qquad
          A = \frac{I_{p/2}(\kappa)}{I_{p/2 - 1}(\kappa)}

Geodesics stay in the plane of two directions, where the family is a surface of revolution.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import numpy as numpy_namespace

from infogeo import _array
from infogeo._array import POSITIVE, REAL, Array, Namespace, bad_value
from infogeo._docs import finish
from infogeo._points import Points, fill, tangents
from infogeo._system.registry import storable
from infogeo.manifolds import _directional
from infogeo.manifolds._bessel import complement, log_partition, ratio
from infogeo.manifolds._rotational import Exponential, Polar, Rotational

__all__ = ["Tangent", "VonMisesFisher"]

Fields = Sequence[Array]
_DIRECTION = _array.along(REAL, "coordinates")


@storable("VonMisesFisher")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class VonMisesFisher(Points):
    r"""A batch of von Mises-Fisher distributions, of the density :math:`\propto e^{\kappa m'x}`.

    Parameters
    ----------
    mean_direction : array, shape (..., p)
        Unit vectors along the last axis, p at least 2.
    concentration : array, shape (...)
        Positive and finite.
    check : bool

    Attributes
    ----------
    mean_direction, concentration : array, shape (..., p) and (...)
        Of one batch shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError

    Notes
    -----
    Distances, maps and transports are solved for in float64 of numpy, whatever the library of the
    points. On torch tensors the distance and its square have first derivatives, and maps have
    none. Between opposite directions there are many shortest paths: one is taken.

    References
    ----------
    K. V. Mardia and P. E. Jupp, Directional Statistics, 2000.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> a = VonMisesFisher([1.0, 0.0, 0.0], 0.5)
    >>> b = VonMisesFisher([0.0, 1.0, 0.0], [0.5, 50.0])
    >>> manifolds.fisher_rao_distance(a, b).round(6)
    array([0.404904, 4.215791])
    """

    mean_direction: Array
    concentration: Array

    rules: ClassVar = {"mean_direction": _DIRECTION, "concentration": POSITIVE}

    def __init__(self, mean_direction: Any, concentration: Any, *, check: bool = True):
        fill(self, check, mean_direction=mean_direction, concentration=concentration)
        if check and _array.is_readable(self.mean_direction):
            _require_unit_vectors(np.asarray(_array.on_host(self.mean_direction)))

    @staticmethod
    def fit(samples: Array, *, check: bool = True) -> "VonMisesFisher":
        """Fit a distribution to unit vectors by maximum likelihood.

        Parameters
        ----------
        samples : array, shape (n, p)
            One unit vector per row.
        check : bool

        Returns
        -------
        VonMisesFisher
            The one whose mean is the mean of the samples.

        Raises
        ------
        TypeError, ValueError
            Samples that are no unit vectors, or all the same, or whose mean is 0.

        Examples
        --------
        >>> VonMisesFisher.fit([[1.0, 0.0], [0.0, 1.0]]).mean_direction.round(6)
        array([0.707107, 0.707107])
        """
        xp, samples = _array.gate(check, samples=(_DIRECTION, samples))
        if samples.ndim != 2 or samples.shape[0] == 0:
            raise bad_value("samples", "have shape (n, p)", f"got {tuple(samples.shape)}")
        if check and _array.is_readable(samples):
            _require_unit_vectors(np.asarray(_array.on_host(samples)), "samples")
        mean = xp.mean(samples, axis=0)
        size = _array.norm(mean, xp)
        if check and _array.is_readable(size) and not 0.0 < float(size) < 1.0:
            raise bad_value(
                "samples", "have a mean of a length between 0 and 1", f"its length is {float(size)}"
            )
        one = xp.ones_like(samples[:, 0])
        return VonMisesFisher(
            *_of_vectors(samples, one, 0.0 * one, one / samples.shape[0], 0, xp), check=check
        )


def _require_unit_vectors(x: np.ndarray, name: str = "mean_direction") -> None:
    if x.shape[-1] < 2:
        raise bad_value(name, "have at least two coordinates", f"got shape {x.shape}")
    excess = np.abs(np.linalg.norm(x, axis=-1) - 1.0)
    if not (excess <= 2e-6).all():
        raise bad_value(
            name,
            "hold unit vectors in its last axis",
            f"largest | |x| - 1 | is {excess.max():.6g}",
            f"Divide {name} by its norm.",
            where=excess == excess.max(),
        )


Tangent = storable("von_mises_fisher.Tangent")(tangents(VonMisesFisher))


def _dim(p: Fields) -> int:
    return int(p[0].shape[-1])


def _norm(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x, axis=-1)[..., None]


def _across(m: Array, x: Array, xp: Namespace) -> Array:
    """Return the part of vectors that is tangent to the sphere at m."""
    return x - xp.sum(m * x, axis=-1, keepdims=True) * m


def _polar(p: Fields, q: Fields) -> Polar:
    """Return the angle of the directions, and the unit vectors along the arc between them."""
    dim = _dim(p)
    m, n = np.broadcast_arrays(*(x[0] / _norm(x[0]) for x in (p, q)))
    angle = 2.0 * np.arctan2(_norm(n - m), _norm(n + m))[..., 0]
    ends = []
    for at, way in ((m, n - m), (n, n - m)):
        # Opposite directions: the way, projected, is lost; one across it serves.
        along = _across(at, way, numpy_namespace)
        along = _across(at, along / np.maximum(_norm(along), 1e-300), numpy_namespace)
        ends.append(along / np.where(_norm(along) > 0.5, _norm(along), np.inf))
    is_opposite = (_norm(n + m) < 1e-9) & (_norm(n - m) > 1.0)
    least = np.abs(m) == np.min(np.abs(m), axis=-1, keepdims=True)
    other = _across(m, np.where(least, 1.0, 0.0), numpy_namespace)
    other = other / _norm(other)
    ends = [np.where(is_opposite, x, end) for x, end in zip((other, -other), ends, strict=True)]
    r, s = (_directional.radius(x[1], dim) for x in (p, q))
    return Polar(r, s, _directional.gap(p[1], q[1], dim), angle, *ends)


def _placed(p: Fields, direction: np.ndarray, r: np.ndarray, angle: np.ndarray) -> Fields:
    moved = np.cos(angle)[..., None] * p[0] + np.sin(angle)[..., None] * direction
    return moved / _norm(moved), _directional.concentration_at(r, _dim(p))


def _frame(p: Fields, v: Fields, xp: Namespace) -> Array:
    along, across = _directional.lengths(p[1], _dim(p), xp)
    turned = across[..., None] * _across(p[0], v[0], xp)
    radial = along * v[1] + xp.zeros_like(turned[..., 0])
    turned = turned + xp.zeros_like(radial[..., None])
    return xp.concat([radial[..., None], turned], axis=-1)


def _unframed(p: Fields, x: Array, xp: Namespace) -> Fields:
    along, across = _directional.lengths(p[1], _dim(p), xp)
    return x[..., 1:] / across[..., None], x[..., 0] / along


def _lowered(p: Fields, x: np.ndarray) -> np.ndarray:
    along, across = _directional.lengths(p[1], _dim(p), numpy_namespace)
    return np.concatenate([across[..., None] * x[..., 1:], (along * x[..., 0])[..., None]], axis=-1)


def _information(p: Fields, xp: Namespace) -> Array:
    """Return the matrix in the p coordinates of the direction, of rank p - 1, and kappa."""
    dim = _dim(p)
    A, slope, _ = ratio(p[1], dim, xp)
    m = p[0]
    kind = {"dtype": m.dtype, "device": _array.device_of(m)}
    square = (p[1] * A)[..., None, None] * (xp.eye(dim, **kind) - m[..., :, None] * m[..., None, :])
    column = xp.zeros_like(square[..., :1])
    row = xp.concat([xp.zeros_like(m), slope[..., None]], axis=-1)[..., None, :]
    return xp.concat([xp.concat([square, column], axis=-1), row], axis=-2)


def _christoffel(p: Fields, xp: Namespace) -> Array:
    """Return those of the sphere in the coordinates around it, where velocities are tangent to it.

    With P = 1 - m m' the acceleration of a geodesic is -m P(m', m') and -(log r)' 2 k' m' along m,
    and that of kappa follows from the metric A'(k) k'^2 + r^2 |m'|^2, r^2 = k A.
    """
    (m, kappa), dim = p, _dim(p)
    at = _directional.bounded(kappa, xp)
    A, slope, bend = ratio(at, dim, xp)
    by_kappa, share = A + at * slope, at / kappa
    kind = {"dtype": m.dtype, "device": _array.device_of(m)}
    across = xp.eye(dim, **kind) - m[..., :, None] * m[..., None, :]
    turning = (0.5 * by_kappa / (kappa * A))[..., None, None] * across
    outward = (-0.5 * by_kappa / slope / share / share)[..., None, None] * across
    along = (0.5 * bend / slope * share)[..., None, None]

    def table(square: Array, mixed: Array, last: Array) -> Array:
        upper = xp.concat([square, mixed], axis=-1)
        lower = xp.concat([xp.matrix_transpose(mixed), last], axis=-1)
        return xp.concat([upper, lower], axis=-2)

    of_m = [
        table(m[..., k, None, None] * across, turning[..., k, :, None], 0.0 * along)
        for k in range(dim)
    ]
    of_kappa = table(outward, 0.0 * across[..., :, :1], along)
    return xp.stack([*of_m, of_kappa], axis=-3)


# ---------------------------------------------------------------- the exponential family


def _from_natural(theta: Fields, xp: Namespace) -> tuple[Array, Array]:
    size = _array.norm(theta[0], xp)
    return theta[0] / size[..., None], size


def _from_expectation(eta: Fields, xp: Namespace) -> tuple[Array, Array]:
    direction, size = _from_natural(eta, xp)
    return direction, _directional.inverse_ratio(size, 1.0 - size, int(direction.shape[-1]), xp)


def _of_vectors(
    m: Array, ratios: Array, rests: Array, weights: Array, axis: int, xp: Namespace
) -> tuple[Array, Array]:
    """Return what has the mean of vectors of directions m and lengths A, given with 1 - A."""
    (mean,) = _mean((m,), ratios, weights, axis, xp)
    direction, size = _from_natural((mean,), xp)
    way = m - xp.expand_dims(direction, axis=axis)
    rest = xp.sum(weights * (rests + 0.5 * ratios * xp.sum(way * way, axis=-1)), axis=axis)
    return direction, _directional.inverse_ratio(size, rest, int(m.shape[-1]), xp)


def _mean(p: Fields, size: Array, weights: Array, axis: int, xp: Namespace) -> tuple[Array]:
    return (xp.sum((weights * size)[..., None] * p[0], axis=axis),)


def _e_mean(p: Fields, weights: Array, axis: int, xp: Namespace) -> tuple[Array, Array]:
    return _from_natural(_mean(p, p[1], weights, axis, xp), xp)


def _m_mean(p: Fields, weights: Array, axis: int, xp: Namespace) -> tuple[Array, Array]:
    A, rest = ratio(p[1], _dim(p), xp).value, complement(p[1], _dim(p), xp)
    return _of_vectors(p[0], A, rest, weights, axis, xp)


def _e_moved(p: Fields, q: Fields, v: Fields, xp: Namespace) -> Fields:
    moved = v[1][..., None] * p[0] + p[1][..., None] * _across(p[0], v[0], xp)
    return _across(q[0], moved, xp) / q[1][..., None], xp.sum(q[0] * moved, axis=-1)


def _m_moved(p: Fields, q: Fields, v: Fields, xp: Namespace) -> Fields:
    A, B = (ratio(x[1], _dim(p), xp).value for x in (p, q))
    size, other = (_directional.lengths(x[1], _dim(p), xp)[0] for x in (p, q))
    moved = (size * (size * v[1]))[..., None] * p[0] + A[..., None] * _across(p[0], v[0], xp)
    return _across(q[0], moved, xp) / B[..., None], xp.sum(q[0] * moved, axis=-1) / other / other


def _kl(p: Fields, q: Fields, xp: Namespace) -> Array:
    apart = xp.sum((p[0] - q[0]) ** 2, axis=-1)
    return _directional.kl(p[1], q[1], _dim(p), apart, xp)


def _from_middle(p: Fields, q: Fields, share: float, xp: Namespace) -> tuple[Array, Array]:
    """Return the divergences from the point between two, by differences that are kept."""
    rest = 1.0 - share
    (m, kappa), (n, other) = p, q
    step = rest * (other[..., None] * (n - m) + (other - kappa)[..., None] * m)
    middle = kappa[..., None] * m + step
    size = _array.norm(middle, xp)
    found = []
    for at, concentration, way in ((m, kappa, step), (n, other, step * (-share / rest))):
        # The middle is at k + way; what it turns is the part of the way across.
        turned = _across(at, way, xp) / size[..., None]
        sine_squared = xp.sum(turned * turned, axis=-1)
        cosine = xp.sum(at * middle, axis=-1) / size
        apart = xp.where(
            cosine > 0.5,
            2.0 * sine_squared / (1.0 + xp.where(cosine > 0.5, cosine, xp.ones_like(cosine))),
            2.0 * (1.0 - cosine),
        )
        found.append(_directional.kl(size, concentration, _dim(p), apart, xp))
    return found[0], found[1]


# ---------------------------------------------------------------- densities and samples


def _log_density(a: VonMisesFisher, x: Any) -> Any:
    dim = a.mean_direction.shape[-1]
    sphere = math.log(2.0) + 0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim)
    partition = log_partition(a.concentration, dim, numpy_namespace)
    return a.concentration * np.sum(a.mean_direction * x, axis=-1) - partition - sphere


def _draw(a: VonMisesFisher, size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return samples of scipy, one distribution after the other."""
    import scipy.stats

    dim = a.mean_direction.shape[-1]
    num_batch_axes = len(a.shape)
    shape = size[: len(size) - num_batch_axes]
    count = math.prod(shape)
    directions = a.mean_direction.reshape(-1, dim)
    drawn = [
        scipy.stats.vonmises_fisher(m / np.linalg.norm(m), kappa)
        .rvs(count, random_state=rng)
        .reshape(count, dim)
        for m, kappa in zip(directions, a.concentration.ravel(), strict=True)
    ]
    return np.stack(drawn, axis=1).reshape(*size, dim)


@dataclass(frozen=True)
class _Directions(Rotational):
    """The space, with samples of its own: scipy has a class of another kind."""

    def draw(self, a: Any, size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Return samples."""
        return _draw(a, size, rng)


SPACE = _Directions(
    POINTS=VonMisesFisher,
    TANGENTS=Tangent,
    surface=lambda p: _directional.surface_of(_dim(p)),
    frame=_frame,
    unframed=_unframed,
    lowered=_lowered,
    polar=_polar,
    placed=_placed,
    curvature=lambda p, xp: _directional.curvatures(p[1], _dim(p), xp),
    information=_information,
    christoffel=_christoffel,
    exponential=Exponential(
        natural=(lambda p, xp: (p[1][..., None] * p[0],), _from_natural),
        expectation=(
            lambda p, xp: (ratio(p[1], _dim(p), xp).value[..., None] * p[0],),
            _from_expectation,
        ),
        e_mean=_e_mean,
        m_mean=_m_mean,
        e_moved=_e_moved,
        m_moved=_m_moved,
        kl=_kl,
        from_middle=_from_middle,
    ),
    DISTRIBUTIONS={"scipy.stats.vonmises_fisher": ("mu", "kappa")},
    log_density=_log_density,
    window=lambda a: np.linspace(-1.0, 1.0, 400),
)


finish(globals())
