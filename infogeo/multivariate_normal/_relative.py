r"""The relative eigenvalues of two covariances, and derivatives that see no eigenvectors.

Eigenvectors have no derivative where eigenvalues coincide, but functions of matrices do: the
Daleckii-Krein theorem gives it in the frame of any eigenvectors. So the decomposition

.. math:: S = L L', \qquad T = L U e^{l / 2} (1 + Y) e^{l / 2} U' L'

has U and l without derivatives, and Y, which is 0 but has all of them, up to the second. The
matrix :math:`\log L^{-1} T L^{-T} = U (l + D) U'` follows from Y, and :math:`e^G` of a matrix
:math:`G = U (l + D) U'` from D, to the second order. With :math:`x = l_i - l_j` the theorem reads

.. math:: e^G = U e^{l / 2} (1 + V) e^{l / 2} U', \qquad
          V_{ij} = \frac{\sinh (x / 2)}{x / 2} D_{ij} + O(D^2)

where no digits cancel. The second order has the divided differences of three points,

.. math:: \exp[a, b, c] = \int_0^1 e^{(1 - s) a} \, s \exp[s b, s c] \, ds,

a sum of positive terms for near points, and a quotient of differences for others.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from infogeo import _array
from infogeo._array import Array, Namespace
from infogeo.multivariate_normal._point import (
    MultivariateNormal,
    factor_of,
    solve_lower,
    transposed,
    whitened,
    wide,
)

_NODES, _WEIGHTS = (x.tolist() for x in np.polynomial.legendre.leggauss(8))

Chord = Callable[[Array, Array], Array]


class Relative(NamedTuple):
    """A covariance in the frame of another one: T = L U exp(l/2) (1 + Y) exp(l/2) U' L'."""

    L: Array
    U: Array
    logs: Array
    change: Array | None  # Y, if derivatives may be asked for


class Ratios(NamedTuple):
    """The logarithms of relative eigenvalues, with what their second derivatives need.

    The logs have the first derivatives of the diagonal of the logarithm in its own frame. Each
    part has logarithms without derivatives, the entries off that diagonal, which are 0 and have
    derivatives, and the logarithms that are added to those of the part in a Kronecker product.
    """

    logs: Array
    parts: tuple[tuple[Array, Array, Array], ...] = ()

    def entries(self, xp: Namespace) -> Array:
        """Return the logarithm along orthonormal axes: the root of the sum of squares is smooth."""
        found = [self.logs]
        for _, off, rest in self.parts:
            flat = xp.reshape(off, (*off.shape[:-2], off.shape[-1] ** 2))
            found.append(math.sqrt(rest.shape[-1]) * flat)
        return xp.concat(found, axis=-1) if self.parts else self.logs

    def bend(self, chord: Chord, xp: Namespace) -> Array | float:
        """Return what a sum of h(l) lacks in its second derivatives: it is 0.

        The chord of a and b is the divided difference of h', without derivatives.
        """
        total: Array | float = 0.0
        for logs, off, rest in self.parts:
            rest = rest[..., None, None, :]
            slopes = chord(logs[..., :, None, None] + rest, logs[..., None, :, None] + rest)
            slopes = xp.where(xp.isfinite(slopes), slopes, 0.0 * off[..., None])
            total = total + 0.5 * xp.sum(xp.sum(slopes, axis=-1) * off * off, axis=(-2, -1))
        return total


# ---------------------------------------------------------------- pairs of covariances


def relative(a: MultivariateNormal, b: MultivariateNormal, xp: Namespace) -> Relative:
    """Return the covariance of b in the frame of a, with the digits of near ones."""
    L, excess, ratio = _compared(a, b, xp)
    fixed_excess, fixed = _array.detached(excess), _array.detached(ratio)
    is_near = is_small(fixed_excess, xp)
    zero = xp.zeros_like(fixed_excess)
    changes, U = xp.linalg.eigh(xp.where(is_near, fixed_excess, zero))
    near = xp.log1p(changes)
    far_U, sizes, far_V = xp.linalg.svd(fixed)
    logs = xp.where(is_near[..., 0], near, 2.0 * xp.log(sizes))
    U = xp.where(is_near, U, far_U)
    if not _array.has_derivatives(excess):
        return Relative(L, U, logs, None)
    inward = xp.exp(-0.5 * logs)[..., :, None] * transposed(U)
    V = xp.where(is_near, transposed(xp.matmul(inward, fixed)), transposed(far_V))
    z = xp.matmul(inward, xp.matmul(ratio - fixed, V))
    change = z + transposed(z) + xp.matmul(z, transposed(z))
    # The power has third derivatives that are infinite: they become NaN instead of wrong.
    return Relative(L, U, logs, change + 0.0 * change**2.5)


def log_ratios(a: MultivariateNormal, b: MultivariateNormal, xp: Namespace) -> Ratios:
    """Return the logarithms of the eigenvalues of S_a^-1 S_b, with the digits of near ones."""
    if _array.has_derivatives(a.cov, b.cov):
        _, _, logs, change = relative(a, b, xp)
        if change is not None:
            log_change = change_of_log(logs, change, xp)
            diagonal = xp.linalg.diagonal(log_change)
            off = log_change * _off_diagonal(log_change, xp)
            return Ratios(logs + diagonal, ((logs, off, xp.zeros_like(logs[..., :1])),))
    _, excess, ratio = _compared(a, b, xp)
    is_near = is_small(excess, xp)
    near = xp.log1p(xp.linalg.eigvalsh(xp.where(is_near, excess, xp.zeros_like(excess))))
    far = 2.0 * xp.log(xp.linalg.svdvals(ratio))
    return Ratios(xp.where(is_near[..., 0], near, far))


def of_product(first: Ratios, second: Ratios, xp: Namespace) -> Ratios:
    """Return the ratios of Kronecker products: the logarithms are all sums of two."""
    sums = first.logs[..., :, None] + second.logs[..., None, :]
    logs = xp.reshape(sums, (*sums.shape[:-2], sums.shape[-2] * sums.shape[-1]))
    if not (first.parts or second.parts):
        return Ratios(logs)
    rests = (_array.detached(x.logs) for x in (second, first))
    parts = (
        (own, off, rest)
        for x, rest in zip((first, second), rests, strict=True)
        for own, off, _ in x.parts
    )
    return Ratios(logs, tuple(parts))


def is_small(excess: Array, xp: Namespace) -> Array:
    """Return whether matrices have a norm below 1/2, shape (..., 1, 1); none of them overflows."""
    bounded = _array.clip(excess, xp, min=-1.0, max=1.0)
    return xp.sum(bounded * bounded, axis=(-2, -1), keepdims=True) < 0.25


def _compared(
    a: MultivariateNormal, b: MultivariateNormal, xp: Namespace
) -> tuple[Array, Array, Array]:
    """Return L, and in its frame T - S and the factor of T."""
    L = factor_of(a, xp)
    excess = whitened(L, wide(b.cov, xp) - wide(a.cov, xp), xp)
    return L, excess, solve_lower(L, factor_of(b, xp) + xp.zeros_like(excess), xp)


def _off_diagonal(x: Array, xp: Namespace) -> Array:
    return 1.0 - xp.eye(x.shape[-1], dtype=x.dtype, device=_array.device_of(x))


# ---------------------------------------------------------------- logarithm and exponential


def eigen_of(matrix: Array, xp: Namespace) -> tuple[Array, Array, Array | None]:
    """Return l, U and D of a symmetric matrix U (l + D) U', where D is 0 with derivatives."""
    fixed = _array.detached(matrix)
    logs, U = xp.linalg.eigh(fixed)
    if not _array.has_derivatives(matrix):
        return logs, U, None
    change = xp.matmul(transposed(U), xp.matmul(matrix - fixed, U))
    return logs, U, change + 0.0 * change**2.5


def change_of_log(logs: Array, change: Array, xp: Namespace) -> Array:
    """Return D of the logarithm of exp(l/2) (1 + Y) exp(l/2), for the change Y."""
    first = change / _sinhc(_differences(logs), xp)
    return (change - _second_order(logs, first, xp)) / _sinhc(_differences(logs), xp)


def change_of_exp(logs: Array, change: Array, xp: Namespace) -> Array:
    """Return V of the exponential exp(l/2) (1 + V) exp(l/2), for the change D."""
    first = _sinhc(_differences(logs), xp) * change
    return first + _second_order(logs, change, xp)


def _second_order(logs: Array, change: Array, xp: Namespace) -> Array:
    """Return the sum over k of exp[l_i, l_k, l_j] D_ik D_kj exp(-(l_i + l_j) / 2).

    Points at a distance above 1 are told apart, so that in each case a product of matrices is
    left: first i from j, then i from k.
    """
    x, zero = _differences(logs), xp.zeros_like(change)
    is_far = xp.abs(x) > 1.0
    gap = xp.where(is_far, x, xp.ones_like(x))
    first, falling = _sinhc(x, xp) * change, xp.exp(-0.5 * x) * change
    rising = xp.exp(0.5 * x) * change
    apart = (xp.matmul(first, rising) - xp.matmul(falling, first)) / gap
    near, to_far = xp.where(is_far, zero, change), xp.where(is_far, change / gap, zero)
    beside = _sinhc(x, xp) * xp.matmul(to_far, change)
    beside = beside - xp.matmul(to_far * xp.exp(-0.5 * x), first)
    is_used = xp.abs(x) <= 2.0
    used, x = xp.where(is_used, change, zero), xp.where(is_used, x, xp.zeros_like(x))
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        s = 0.5 * (node + 1.0)
        left = xp.exp((0.5 - s) * x) * near
        right = xp.exp((0.5 - 0.5 * s) * x) * _sinhc(s * x, xp) * used
        beside = beside + (0.5 * weight * s) * xp.matmul(left, right)
    return xp.where(is_far, apart, beside)


def _differences(logs: Array) -> Array:
    return logs[..., :, None] - logs[..., None, :]


def _sinhc(x: Array, xp: Namespace) -> Array:
    """Return sinh(x / 2) / (x / 2)."""
    half = xp.where(x == 0.0, xp.ones_like(x), 0.5 * x)
    return xp.where(x == 0.0, xp.ones_like(x), xp.sinh(half) / half)


# ---------------------------------------------------------------- chords of slopes


def chord_of_exp(xp: Namespace, sign: float = 1.0) -> Chord:
    """Return the divided differences of the derivative of exp(sign l)."""
    return lambda a, b: xp.exp(0.5 * sign * (a + b)) * _sinhc(a - b, xp)


def chord_of_cosh(xp: Namespace) -> Chord:
    """Return the divided differences of the derivative of cosh."""
    return lambda a, b: xp.cosh(0.5 * (a + b)) * _sinhc(a - b, xp)


def chord_of_renyi(order: float, xp: Namespace) -> Chord:
    """Return those of log(order exp((1 - order) l) + (1 - order) exp(-order l)).

    Of order 1/2 it is log cosh(l / 2).
    """

    def weight(l: Array) -> Array:
        return order * xp.exp(0.5 * l) + (1.0 - order) * xp.exp(-0.5 * l)

    factor = order * (1.0 - order)
    return lambda a, b: factor * _sinhc(a - b, xp) / weight(a) / weight(b)
