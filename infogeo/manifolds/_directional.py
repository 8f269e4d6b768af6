r"""What von Mises and von Mises-Fisher distributions share, on the sphere of R^p.

In the concentration kappa and the mean direction m the metric is

.. math:: ds^2 = A'(\kappa) \, d\kappa^2 + \kappa A(\kappa) \, |dm|^2

with the ratio A of Bessel functions: a surface of revolution, of radius
:math:`\sqrt{\kappa A}`. Near the center it is flat, and far out hyperbolic.
"""

import functools
from collections.abc import Sequence

import numpy as np
from array_api_compat import numpy as numpy_namespace

from infogeo import _array
from infogeo._array import Array, Namespace
from infogeo.manifolds._bessel import complement, ratio, scaled_log_partition
from infogeo.manifolds._revolution import Surface

_NUM_COEFFICIENTS = 72
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)  # on [-1, 1]


# ---------------------------------------------------------------- the surface


@functools.lru_cache(maxsize=32)
def surface_of(p: int) -> Surface:
    """Return the surface in p dimensions: W is c + y G(y), y = x / (x + 2 p), G a polynomial.

    The polynomial interpolates, in y, which maps all squares x of radii to [0, 1].
    """
    c, scale = np.sqrt(2.0 * (p - 1.0)), 2.0 * p
    half = np.pi * (np.arange(_NUM_COEFFICIENTS) + 0.5) / (2 * _NUM_COEFFICIENTS)
    y = np.sin(half) ** 2
    x = scale * (np.sin(half) / np.cos(half)) ** 2
    kappa = concentration_at(np.sqrt(x), p)
    A, slope, _ = ratio(kappa, p, numpy_namespace)
    speed = np.sqrt(slope * (c * c + x)) * (2.0 * np.sqrt(x) / (A + kappa * slope))
    values = (speed - c) / y
    coefficients = np.polynomial.chebyshev.chebfit(-np.cos(2.0 * half), values, len(y) - 1)

    def rise(x: np.ndarray) -> np.ndarray:
        position = np.where(x > 1e300, 1.0, (x - scale) / (x + scale))
        return np.polynomial.chebyshev.chebval(position, coefficients)

    return Surface(
        c=float(c),
        speed=lambda x: c + x / (x + scale) * rise(x),
        excess=lambda x, _: rise(x) / (x + scale),
        start=float(c),
        least=float(c) * (1.0 - 1e-12),
        most=1.01 * float(np.max(speed)),
        strip=0.35,
    )


def concentration_at(r: np.ndarray, p: int) -> np.ndarray:
    """Return the concentration at a radius, by Newton's method."""
    x = r * r
    kappa = r * np.sqrt(x + p)
    for _ in range(6):
        A, slope, _ = ratio(kappa, p, numpy_namespace)
        kappa = kappa - (kappa * A - x) / (A + kappa * slope)
    return kappa


def radius(kappa: np.ndarray, p: int) -> np.ndarray:
    return np.sqrt(kappa) * np.sqrt(ratio(kappa, p, numpy_namespace).value)


def gap(kappa: np.ndarray, other: np.ndarray, p: int) -> np.ndarray:
    """Return asinh(r / c) of the second less that of the first, also of near concentrations."""
    c = np.sqrt(2.0 * (p - 1.0))
    r, s = radius(kappa, p), radius(other, p)
    step = other - kappa
    is_near = np.abs(step) < 0.5 * kappa
    # The difference of the squares of near radii is an integral.
    at = kappa[..., None] + 0.5 * (1.0 + _NODES) * np.where(is_near, step, 0.0)[..., None]
    A, slope, _ = ratio(at, p, numpy_namespace)
    squares = step * np.sum(0.5 * _WEIGHTS * (A + at * slope), axis=-1)
    near = np.arcsinh(squares / (s * np.hypot(c, r) + r * np.hypot(c, s)))
    return np.where(is_near, near, np.arcsinh(s / c) - np.arcsinh(r / c))


# ---------------------------------------------------------------- the metric and divergences


def curvatures(kappa: Array, p: int, xp: Namespace) -> tuple[Array, Array]:
    """Return the curvatures of planes with and without the radius r, of radial length l.

    They are -r'' / r and (1 - r'^2) / r^2, with derivatives by l.
    """
    kappa = bounded(kappa, xp)
    A, slope, bend = ratio(kappa, p, xp)
    x, by_kappa, twice = kappa * A, A + kappa * slope, 2.0 * slope + kappa * bend
    squared = by_kappa * by_kappa / (4.0 * x * slope)  # r'^2
    second = twice - by_kappa * (0.5 * by_kappa / x + 0.5 * bend / slope)  # 2 r r'' A'
    return -0.5 * second / (x * slope), (1.0 - squared) / x


def kl(kappa: Array, other: Array, p: int, apart: Array, xp: Namespace) -> Array:
    """Return the divergence of concentrations, for the square of the distance of directions."""
    A = ratio(kappa, p, xp).value
    step, low = other - kappa, xp.minimum(kappa, other)
    is_near = (xp.abs(step) <= 2.0) | (xp.abs(step) <= 3.0 * low)
    zero = xp.zeros_like(step)
    kind = {"dtype": kappa.dtype, "device": _array.device_of(kappa)}
    share, rest = (xp.asarray(0.5 * (1.0 + s * _NODES), **kind) for s in (1, -1))
    short = xp.where(is_near, step, zero)
    at = kappa[..., None] + share * short[..., None]
    weights = xp.asarray(0.5 * _WEIGHTS, **kind)
    slopes = (short[..., None] / at * slope_root(at, p, xp)) ** 2
    near = xp.sum(weights * rest * slopes, axis=-1)
    far = scaled_log_partition(other, p, xp) - scaled_log_partition(kappa, p, xp)
    far = far + step * complement(kappa, p, xp)
    return xp.where(is_near, near, far) + other * (0.5 * apart * A)


def inverse_ratio(value: Array, rest: Array, p: int, xp: Namespace) -> Array:
    """Return the concentration at a ratio in (0, 1), which is given with 1 less it.

    The last step passes derivatives on.
    """
    fixed, low = _array.detached(value), _array.detached(rest)
    kappa = fixed * (p - fixed * fixed) / (low * (1.0 + fixed))
    for _ in range(5):
        kappa = _array.detached(kappa * _newton_factor(kappa, fixed, low, p, xp))
    return kappa * _newton_factor(kappa, value, rest, p, xp)


def _newton_factor(kappa: Array, value: Array, rest: Array, p: int, xp: Namespace) -> Array:
    A, beyond = ratio(kappa, p, xp).value, complement(kappa, p, xp)
    miss = xp.where(_array.detached(rest) < 0.5, rest - beyond, A - value)
    size = slope_root(kappa, p, xp)
    # Of concentrations beyond the bound 1 - A is a multiple of 1 / kappa.
    return 1.0 - _array.detached(kappa / size / size) * miss


def bounded(kappa: Array, xp: Namespace) -> Array:
    """Return concentrations, or a large one: beyond, all is a power of kappa to all digits."""
    most = float(xp.finfo(kappa.dtype).eps) ** -1.5
    return xp.minimum(kappa, most * xp.ones_like(kappa))


def slope_root(kappa: Array, p: int, xp: Namespace) -> Array:
    """Return kappa times the root of the slope of A, which neither overflows nor underflows."""
    at = bounded(kappa, xp)
    return at * xp.sqrt(ratio(at, p, xp).slope)


def lengths(kappa: Array, p: int, xp: Namespace) -> tuple[Array, Array]:
    """Return the Fisher lengths of a unit of concentration and of a unit of direction."""
    across = xp.sqrt(kappa) * xp.sqrt(ratio(kappa, p, xp).value)
    return slope_root(kappa, p, xp) / kappa, across


def middle(x: Sequence[Array], y: Sequence[Array], share: float) -> list[Array]:
    return [share * u + (1.0 - share) * v for u, v in zip(x, y, strict=True)]
