r"""Families of positive definite matrices: the metric is a multiple of tr((S^-1 dS)^2).

Normals of mean 0 are the model, with the factor 1/2: they lie in `infogeo.multivariate_normal` as
a totally geodesic submanifold. Wishart distributions of n degrees of freedom have n times that
metric and n times its divergences, in their scale matrix; inverse Wishart distributions too, with
the e- and the m-geometry exchanged. All formulas are in the frame of the first matrix, S = L L',
in which the second one is U exp(l) U'.

The covariance may be a Kronecker product of several matrices, of sizes n_k and with the product N
of these. With :math:`x_k = S_k^{-1} dS_k` of trace :math:`n_k \tau_k` the metric is

.. math:: \tfrac12 \operatorname{tr}(x^2) = \textstyle\sum_k \frac{N}{2 n_k}
          \operatorname{tr}\bigl((x_k - \tau_k)^2\bigr) + \frac N2 (\sum_k \tau_k)^2

a product of the cones of determinant 1 and a line, that of the common scale. Geodesics, maps and
transports go matrix by matrix. The logarithms of the eigenvalues are the sums of those of the
matrices.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from infogeo import _array, _divergence
from infogeo._array import POSITIVE, REAL, UNIT_INTERVAL, Array, Namespace, bad_value
from infogeo._points import Points, fill, make
from infogeo.manifolds import _family
from infogeo.manifolds._family import excess, log_cosh
from infogeo.multivariate_normal._metric import information_of_covariances
from infogeo.multivariate_normal._point import (
    MultivariateNormal,
    factor_of,
    narrow,
    precision_of,
    transposed,
    whitened,
    wide,
)
from infogeo.multivariate_normal._relative import (
    Ratios,
    change_of_exp,
    change_of_log,
    chord_of_exp,
    chord_of_renyi,
    eigen_of,
    log_ratios,
    of_product,
    relative,
)

MATRIX = _array.along(REAL, "coordinates", "coordinates")


def require_positive_definite(name: str, S: Array) -> None:
    """Raise unless matrices are symmetric and positive definite."""
    if not _array.is_readable(S):
        return
    try:
        MultivariateNormal(0.0 * S[..., 0], S)
    except _array.BadValueError as error:
        raise bad_value(
            name, error.rule, str(error.seen).replace("cov", name), error.advice
        ) from None


def require_degrees(df: Array, S: Array) -> None:
    """Raise unless the degrees of freedom are more than the coordinates, less one."""
    least = S.shape[-1] - 1
    if _array.is_readable(df) and bool((df <= least).any()):
        low = float(_array.on_host(df.min()))
        raise bad_value(
            "df",
            f"be more than d - 1 = {least}",
            f"the smallest is {low:.6g}",
            "With fewer there is no density.",
        )


@dataclass(frozen=True, eq=False, init=False, repr=False)
class WithDegrees(Points):
    """A batch of points of some degrees of freedom, a constant, and a scale matrix."""

    df: Array
    scale: Array

    rules: ClassVar = {"df": POSITIVE, "scale": MATRIX}
    constants: ClassVar = ("df",)

    def __init__(self, df: Any, scale: Any, *, check: bool = True):
        fill(self, check, df=df, scale=scale)
        if check:
            require_positive_definite("scale", self.scale)
            require_degrees(self.df, self.scale)


@dataclass(frozen=True)
class Positive:
    """The space of a family of positive definite matrices.

    Parameters
    ----------
    POINTS, TANGENTS : type
        The classes of points and of tangent vectors: a matrix, beside the degrees of freedom if
        the family has them, or the factors of a Kronecker product. Such products are no
        exponential family.
    DISTRIBUTIONS, log_density
        As in `infogeo._spaces`.
    draw : callable
        ``draw(point, size, rng)``: samples, with numpy.
    is_inverse : bool
        Whether the matrix is that of an inverse: it is the natural parameter, but for a factor.
    REFUSED : dict
        Why verbs are lacking.
    """

    POINTS: Any
    TANGENTS: Any
    DISTRIBUTIONS: dict[str, Any]
    log_density: Callable[[Any, Any], Any]
    draw: Callable[[Any, tuple[int, ...], np.random.Generator], np.ndarray]
    is_inverse: bool = False
    REFUSED: Mapping[str, str] = field(default_factory=lambda: _family.NO_SOLVE)

    def __post_init__(self) -> None:
        if len(_family.parameters_of(self.POINTS)) > 1:
            for verb in _family.OF_EXPONENTIAL_FAMILIES:
                object.__setattr__(self, verb, None)

    def dimension(self, a: Any, *, check: bool = True) -> int:
        """Return the number of entries on and above the diagonals; the scale is one for all."""
        _, _, matrices = _family.gated(self, check, a=a)
        sizes = [S.shape[-1] for S in matrices]
        return sum(d * (d + 1) // 2 for d in sizes) - len(sizes) + 1

    # ------------------------------------------------------------ the Fisher metric

    def fisher_rao_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the root of n / 2 times the length of the logarithms of the eigenvalues."""
        xp, n, S, ratios = self._compared(check, a, b)
        return narrow(xp.sqrt(0.5 * n) * _array.norm(ratios.entries(xp), xp), S, xp)

    def fisher_rao_squared_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the squared distance, smooth at a = b."""
        xp, n, S, ratios = self._compared(check, a, b)
        return narrow(0.5 * n * xp.sum(ratios.entries(xp) ** 2, axis=-1), S, xp)

    def inner_product(self, a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
        """Return n / 2 tr(S^-1 u S^-1 v)."""
        xp, n, S, *vectors = self._in_frame(check, a, u=u, v=v)
        x, y = (_flat(x, xp) for x in vectors)
        return narrow(n * xp.sum(x * y, axis=-1), S, xp)

    def norm(self, a: Any, v: Any, *, check: bool = True) -> Array:
        """Return the root of n / 2 times the length of L^-1 v L^-T."""
        xp, n, S, x = self._in_frame(check, a, v=v)
        return narrow(xp.sqrt(n) * _array.norm(_flat(x, xp), xp), S, xp)

    def sectional_curvature(self, a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
        """Return the curvature of a plane, from the commutator of its vectors; NaN for a line."""
        xp, n, S, x, y = self._in_frame(check, a, u=u, v=v)
        is_plane = ~(_is_still(x, xp) | _is_still(y, xp))
        x, y = (_scaled(z, _inverse_length(z, xp)) for z in (x, y))
        share = xp.sum(_flat(x, xp) * _flat(y, xp), axis=-1)
        y = [second - _per_matrix(share) * first for first, second in zip(x, y, strict=True)]
        is_plane = is_plane & (_array.norm(_flat(y, xp), xp) > 1e-7)
        y = _scaled(y, _inverse_length(y, xp))
        total = math.prod(z.shape[-1] for z in x)
        squared = 0.0
        for first, second in zip(x, y, strict=True):
            bracket = xp.matmul(first, second) - xp.matmul(second, first)
            copies = total // first.shape[-1]
            squared = squared + copies * xp.sum(bracket * bracket, axis=(-2, -1))
        found = -0.125 / n * squared
        return narrow(xp.where(is_plane, found, xp.nan * found), S, xp)

    def fisher_information(self, a: Any, *, check: bool = True) -> Array:
        """Return the Fisher information in the entries of the lower triangles, row by row."""
        xp, constants, matrices = _family.gated(self, check, a=a)
        precisions = [_inverse(S, xp) for S in matrices]
        sizes = [S.shape[-1] for S in matrices]
        total = math.prod(sizes)
        # Their units apart, so that what overflows is inf, and nothing is inf - inf.
        units = [xp.max(xp.abs(P), axis=(-2, -1)) for P in precisions]
        precisions = [P / _per_matrix(c) for P, c in zip(precisions, units, strict=True)]
        rows, scales = [], []
        for k, P in enumerate(precisions):
            row = [
                (0.5 * total / sizes[k] / sizes[j])
                * _traces(P, xp)[..., :, None]
                * _traces(Q, xp)[..., None, :]
                for j, Q in enumerate(precisions)
            ]
            row[k] = (total / sizes[k]) * information_of_covariances(P, xp)
            rows.append(xp.concat(row, axis=-1))
            scales.append(units[k][..., None] + 0.0 * row[k][..., 0, :])
        n = _per_matrix(_factor(constants, matrices[0], xp))
        found, scale = n * xp.concat(rows, axis=-2), xp.concat(scales, axis=-1)
        wide_found = scale[..., :, None] * (scale[..., None, :] * found)
        return narrow(xp.where(found == 0.0, found, wide_found), matrices[0], xp)

    def christoffel_symbols(self, a: Any, *, check: bool = True) -> Array:
        """Return those of -u S^-1 v for each matrix, in the entries of the lower triangles."""
        xp, _, matrices = _family.gated(self, check, a=a)
        symbols = _family.on_diagonal([_symbols(_inverse(S, xp), xp) for S in matrices], 3, xp)
        return narrow(symbols, matrices[0], xp)

    # ------------------------------------------------------------ geodesics

    def exp_map(self, a: Any, v: Any, *, check: bool = True) -> Any:
        """Return L exp(L^-1 v L^-T) L'."""
        xp, _, matrices, vectors = _family.gated(self, check, a=a, v=v)
        reached = []
        for S, v in zip(matrices, vectors, strict=True):
            L = factor_of(_normal(S, xp), xp)
            logs, U, change = eigen_of(whitened(L, wide(v, xp), xp), xp)
            if change is not None:
                change = change_of_exp(logs, change, xp)
            reached.append(_bent_in(S, xp.matmul(L, U), logs, change, xp))
        return self._point(a, reached, matrices[0], xp)

    def log_map(self, a: Any, b: Any, *, check: bool = True) -> Any:
        """Return L log(L^-1 S_b L^-T) L'."""
        xp, _, matrices, others = _family.gated(self, check, a=a, b=b)
        velocities = []
        for S, T in zip(matrices, others, strict=True):
            L, U, logs, change = relative(_normal(S, xp), _normal(T, xp), xp)
            outer = xp.matmul(L, U)
            velocity = _sandwiched(outer, logs, xp)
            if change is not None:
                velocity = velocity + _around(outer, change_of_log(logs, change, xp), xp)
            velocities.append(velocity)
        return self._vector(velocities, matrices[0], xp)

    def fisher_rao_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return L U exp(t l) U' L', from the nearer end."""
        return self._path(a, b, t, check, _power)

    def parallel_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return E v E' with E = (S_b S_a^-1)^(1/2)."""
        xp, _, matrices, others, vectors = _family.gated(self, check, a=a, b=b, v=v)
        carried = []
        for S, T, v in zip(matrices, others, vectors, strict=True):
            L, U, logs, change = relative(_normal(S, xp), _normal(T, xp), xp)
            inner = xp.matmul(transposed(U), xp.matmul(whitened(L, wide(v, xp), xp), U))
            outer = xp.matmul(L, U) * xp.exp(0.5 * logs)[..., None, :]
            if change is not None:
                half = 0.5 * change_of_log(logs, change, xp)
                bent = change_of_exp(0.5 * logs, half, xp)
                quarter = xp.exp(0.25 * logs)
                bent = quarter[..., :, None] * bent * quarter[..., None, :]
                outer = outer + xp.matmul(xp.matmul(L, U), bent)
            carried.append(xp.matmul(outer, xp.matmul(inner, transposed(outer))))
        return self._vector(carried, matrices[0], xp)

    # ------------------------------------------------------------ the e- and the m-geometry

    def e_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return points on the line in the natural parameters."""
        return self._path(a, b, t, check, _straight if self.is_inverse else _inverse_straight)

    def m_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return points on the line in the expectation parameters."""
        return self._path(a, b, t, check, _inverse_straight if self.is_inverse else _straight)

    def e_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return the vector at b with the same velocity of the natural parameters."""
        return self._moved(a, b, v, check, not self.is_inverse)

    def m_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return the vector at b with the same velocity of the expectation parameters."""
        return self._moved(a, b, v, check, self.is_inverse)

    def e_mean(self, points: Any, *, weights: Any = None, axis: int = 0, check: bool = True) -> Any:
        """Return the mean in the natural parameters."""
        return self._mean(points, weights, axis, check, not self.is_inverse)

    def m_mean(self, points: Any, *, weights: Any = None, axis: int = 0, check: bool = True) -> Any:
        """Return the mean in the expectation parameters."""
        return self._mean(points, weights, axis, check, self.is_inverse)

    def natural_parameters(self, a: Any, *, check: bool = True) -> Array:
        """Return -1/2 times the inverse of the matrix; of an inverse family the matrix itself."""
        xp, _, (S,) = _family.gated(self, check, a=a)
        return -0.5 * (S if self.is_inverse else narrow(_inverse(S, xp), S, xp))

    def expectation_parameters(self, a: Any, *, check: bool = True) -> Array:
        """Return n times the matrix; of an inverse family its inverse."""
        xp, constants, (S,) = _family.gated(self, check, a=a)
        n = _per_matrix(_factor(constants, S, xp))
        return narrow(n * (_inverse(S, xp) if self.is_inverse else wide(S, xp)), S, xp)

    # ------------------------------------------------------------ divergences

    def kl_divergence(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return n / 2 times the sum of exp(-l) - 1 + l, of an inverse family with -l."""
        xp, n, S, ratios = self._compared(check, a, b)
        sign = 1.0 if self.is_inverse else -1.0
        total = xp.sum(excess(sign * ratios.logs, xp), axis=-1)
        total = total + ratios.bend(chord_of_exp(xp, sign), xp)
        return narrow(0.5 * n * total, S, xp)

    def renyi_divergence(self, a: Any, b: Any, order: float, *, check: bool = True) -> Array:
        """Return the Renyi divergence of an order between 0 and 1, KL of order 1."""
        order = _divergence.finite_order(order, 1.0)
        if order == 1.0:
            return self.kl_divergence(a, b, check=check)
        xp, n, S, ratios = self._compared(check, a, b)
        sign, rest = (-1.0 if self.is_inverse else 1.0), 1.0 - order
        y, chord = sign * ratios.logs, chord_of_renyi(order, xp)
        # From the member between the two, whose precision is the mean of theirs.
        to_a = excess(-xp.log1p(rest * _array.expm1(-y, xp)), xp)
        to_b = excess(-xp.log1p(order * _array.expm1(y, xp)), xp)
        near = order * to_a + rest * to_b
        first = _array.safe_log(order + 0.0 * y, xp) + rest * y
        far = xp.logaddexp(first, math.log(rest) - order * y)
        total = xp.sum(xp.where(xp.abs(y) < 30.0, near, far), axis=-1)
        total = total + ratios.bend(lambda a, b: chord(sign * a, sign * b), xp)
        return narrow(0.5 * n / rest * total, S, xp)

    def bhattacharyya_coefficient(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the product of the cosh(l / 2)^(-n / 2)."""
        xp, S, exponent = self._affinity(check, a, b)
        return narrow(xp.exp(-exponent), S, xp)

    def hellinger_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the root of 1 minus the Bhattacharyya coefficient."""
        xp, S, exponent = self._affinity(check, a, b)
        return narrow(_array.safe_sqrt(-_array.expm1(-exponent, xp), xp), S, xp)

    # ------------------------------------------------------------ shared

    def _affinity(self, check: bool, a: Any, b: Any) -> tuple[Any, ...]:
        """Return minus the logarithm of the Bhattacharyya coefficient, last."""
        xp, n, S, ratios = self._compared(check, a, b)
        total = xp.sum(log_cosh(0.5 * ratios.logs, xp), axis=-1)
        return xp, S, 0.5 * n * (total + ratios.bend(chord_of_renyi(0.5, xp), xp))

    def _compared(self, check: bool, a: Any, b: Any) -> tuple[Any, ...]:
        """Return the namespace, n, one of the matrices, and the ratios of the eigenvalues."""
        xp, constants, matrices, others = _family.gated(self, check, a=a, b=b)
        S, pairs = matrices[0], list(zip(matrices, others, strict=True))
        if len(pairs) == 2:
            pairs = _in_one_scale(pairs, xp)
        ratios = [log_ratios(_normal(S, xp), _normal(T, xp), xp) for S, T in pairs]
        total: Ratios = functools.reduce(lambda x, y: of_product(x, y, xp), ratios)
        return xp, _factor(constants, S, xp), S, total

    def _in_frame(self, check: bool, a: Any, **vectors: Any) -> tuple[Any, ...]:
        """Return the namespace, n, a matrix, and the vectors in the frame of each matrix."""
        xp, constants, matrices, *groups = _family.gated(self, check, a=a, **vectors)
        factors = [factor_of(_normal(S, xp), xp) for S in matrices]
        framed = (
            [whitened(L, wide(v, xp), xp) for L, v in zip(factors, group, strict=True)]
            for group in groups
        )
        return xp, _factor(constants, matrices[0], xp), matrices[0], *framed

    def _point(self, a: Any, matrices: Sequence[Array], like: Array, xp: Namespace) -> Any:
        """Return the point of matrices, with the degrees of freedom of another one."""
        narrowed = (narrow(0.5 * (x + transposed(x)), like, xp) for x in matrices)
        constants = (getattr(a, name) for name in self.POINTS.constants)
        return make(self.POINTS, *constants, *narrowed, xp=xp)

    def _vector(self, matrices: Sequence[Array], like: Array, xp: Namespace) -> Any:
        narrowed = (narrow(0.5 * (x + transposed(x)), like, xp) for x in matrices)
        return make(self.TANGENTS, *narrowed, xp=xp)

    def _path(self, a: Any, b: Any, t: Any, check: bool, motion: Callable[..., Any]) -> Any:
        """Return the points whose logarithms of eigenvalues are functions of t, between ends."""
        xp, _, matrices, others, t = _family.gated(self, check, a=a, b=b, t=(UNIT_INTERVAL, t))
        reached = []
        for S, T in zip(matrices, others, strict=True):
            S, T = xp.broadcast_arrays(S, T)
            times = wide(xp.reshape(t, (*t.shape, *(1,) * (S.ndim - 1))), xp)
            there = _moved_in(S, T, times, motion, xp)
            back = _moved_in(T, S, 1.0 - times, motion, xp)
            reached.append(xp.where(times[..., None] < 0.5, there, back))
        return self._point(a, reached, matrices[0], xp)

    def _moved(self, a: Any, b: Any, v: Any, check: bool, by_inverse: bool) -> Any:
        """Return a vector that moves the matrix as much, or its inverse."""
        xp, _, (S,), (T,), (v,) = _family.gated(self, check, a=a, b=b, v=v)
        moved = wide(v, xp) + xp.zeros_like(wide(S + T, xp))
        if by_inverse:
            # Units apart: what overflows is inf, and nothing is inf - inf.
            unit, other = (xp.max(xp.abs(wide(x, xp)), axis=(-2, -1)) for x in (S, T))
            S, T = S / _per_matrix(unit), T / _per_matrix(other)
            across = xp.matmul(wide(T, xp), _inverse(S, xp))
            moved = xp.matmul(across, xp.matmul(moved, transposed(across)))
            growth = _per_matrix(other / unit)
            moved = xp.where(moved == 0.0, moved, growth * (growth * moved))
        return self._vector([moved], S, xp)

    def _mean(self, points: Any, weights: Any, axis: int, check: bool, by_inverse: bool) -> Any:
        xp, constants, (S,), weights = _family.gated_mean(self, check, points, weights, axis)
        matrices = _inverse(S, xp) if by_inverse else wide(S, xp)
        mean = xp.sum(wide(weights, xp)[..., None, None] * matrices, axis=int(axis))
        matrix = narrow(_inverse(mean, xp) if by_inverse else mean, S, xp)
        return _family.point_of(self, (0.5 * (matrix + transposed(matrix)),), constants, xp)


# ---------------------------------------------------------------- vectors in the frame of matrices


def _flat(vector: Sequence[Array], xp: Namespace) -> Array:
    """Return the parts of a vector in the frame along orthonormal axes, but for the factor n."""
    total = math.prod(x.shape[-1] for x in vector)
    scale, parts = 0.0 * vector[0][..., 0, 0], []
    for x in vector:
        d = x.shape[-1]
        mean = xp.sum(xp.linalg.diagonal(x), axis=-1) / d
        identity = xp.eye(d, dtype=x.dtype, device=_array.device_of(x))
        rest = math.sqrt(0.5 * total / d) * (x - _per_matrix(mean) * identity)
        parts.append(xp.reshape(rest, (*x.shape[:-2], d * d)))
        scale = scale + mean
    return xp.concat([*parts, math.sqrt(0.5 * total) * scale[..., None]], axis=-1)


def _scaled(vector: Sequence[Array], factor: Array) -> list[Array]:
    return [_per_matrix(factor) * x for x in vector]


def _inverse_length(vector: Sequence[Array], xp: Namespace) -> Array:
    """Return 1 / the length of a vector, 1 for the vector 0."""
    length = _array.norm(_flat(vector, xp), xp)
    return 1.0 / xp.where(length > 0.0, length, xp.ones_like(length))


def _is_still(vector: Sequence[Array], xp: Namespace) -> Array:
    """Tell whether a vector is 0, or moves a scale from one matrix to another, but for rounding."""
    size = sum(_array.norm(_flat([x], xp), xp) for x in vector)
    return _array.norm(_flat(vector, xp), xp) <= 1e-12 * size


def _per_matrix(x: Array) -> Array:
    return x[..., None, None]


# ---------------------------------------------------------------- entries of the lower triangle


def _traces(P: Array, xp: Namespace) -> Array:
    """Return tr(P E) for the unit matrices E of the entries of the lower triangle."""
    return xp.sum(_units(P, xp) * P[..., None, :, :], axis=(-2, -1))


def _symbols(P: Array, xp: Namespace) -> Array:
    """Return the entries of -(E P F + F P E) / 2 for the unit matrices E and F."""
    i, j = np.tril_indices(P.shape[-1])
    units = _units(P, xp)
    right = xp.matmul(P[..., None, :, :], units)
    products = -xp.matmul(units[:, None, :, :], right[..., None, :, :, :])
    products = 0.5 * (products + transposed(products))
    chosen = xp.asarray(i * P.shape[-1] + j, device=_array.device_of(P))
    flat = xp.reshape(products, (*products.shape[:-2], P.shape[-1] ** 2))
    return _array.with_axis_moved(xp.take(flat, chosen, axis=-1), -1, -3, xp)


def _units(P: Array, xp: Namespace) -> Array:
    """Return the symmetric matrices of the entries of the lower triangle, (m, d, d)."""
    i, j = np.tril_indices(P.shape[-1])
    units = np.zeros((len(i), P.shape[-1], P.shape[-1]))
    units[np.arange(len(i)), i, j] = units[np.arange(len(i)), j, i] = 1.0
    return xp.asarray(units.tolist(), dtype=P.dtype, device=_array.device_of(P))


# ---------------------------------------------------------------- matrices


def _factor(constants: Any, S: Array, xp: Namespace) -> Array:
    """Return the degrees of freedom, 1 if there are none."""
    return wide(constants[0], xp) if constants else xp.ones_like(wide(S[..., 0, 0], xp))


def _normal(S: Array, xp: Namespace) -> MultivariateNormal:
    return make(MultivariateNormal, xp.zeros_like(S[..., 0]), S)


def _in_one_scale(pairs: list[tuple[Array, Array]], xp: Namespace) -> list[tuple[Array, Array]]:
    """Return two pairs without the power of 2 that one product of matrices gains and one loses."""
    (S, T), (S_2, T_2) = ((wide(x, xp), wide(y, xp)) for x, y in pairs)
    sizes = (_array.detached(xp.sum(xp.linalg.diagonal(x), axis=-1)) for x in (S, T, S_2, T_2))
    first, other, second, last = (xp.log2(x) for x in sizes)
    gain, loss = xp.round(other - first), xp.round(second - last)
    shared = xp.where(gain * loss > 0.0, xp.minimum(xp.abs(gain), xp.abs(loss)), 0.0 * gain)
    shift = _per_matrix(xp.where(gain > 0.0, shared, -shared))
    two = 2.0 * xp.ones_like(shift)
    return [(S, T * two ** (-shift)), (S_2, T_2 * two**shift)]


def _inverse(S: Array, xp: Namespace) -> Array:
    return precision_of(_normal(S, xp), xp)


def _sandwiched(outer: Array, diagonal: Array, xp: Namespace) -> Array:
    return xp.matmul(outer * diagonal[..., None, :], transposed(outer))


def _around(outer: Array, inner: Array, xp: Namespace) -> Array:
    return xp.matmul(outer, xp.matmul(inner, transposed(outer)))


def _bent_in(S: Array, outer: Array, logs: Array, change: Array | None, xp: Namespace) -> Array:
    """Return outer exp(l/2) (1 + V) exp(l/2) outer' for the change V; near S by its difference."""
    is_near = xp.max(xp.abs(logs), axis=-1)[..., None, None] < 0.5
    near = wide(S, xp) + _sandwiched(outer, _array.expm1(logs, xp), xp)
    half = outer * xp.exp(0.5 * logs)[..., None, :]  # exp(l) may overflow where L is small
    found = xp.where(is_near, near, xp.matmul(half, transposed(half)))
    return found if change is None else found + _around(half, change, xp)


# ---------------------------------------------------------------- curves from S to T


def _moved_in(S: Array, T: Array, t: Array, motion: Callable[..., Any], xp: Namespace) -> Array:
    """Return the matrix at t of a curve that is a function of T in the frame of S.

    The motion gives its logarithms and, for the change Y of T, the change V.
    """
    L, U, logs, change = relative(_normal(S, xp), _normal(T, xp), xp)
    reached, moved = motion(logs, change, t, xp)
    return _bent_in(S, xp.matmul(L, U), reached, moved, xp)


def _power(logs: Array, change: Array | None, t: Array, xp: Namespace) -> tuple[Any, ...]:
    """Return the power t."""
    if change is None:
        return t * logs, None
    change = t[..., None] * change_of_log(logs, change, xp)
    return t * logs, change_of_exp(t * logs, change, xp)


def _straight(logs: Array, change: Array | None, t: Array, xp: Namespace) -> tuple[Any, ...]:
    """Return the line 1 - t + t exp l."""
    reached = _log_of_line(logs, t, xp)
    if change is None:
        return reached, None
    root = xp.exp(0.5 * (logs - reached))
    return reached, t[..., None] * root[..., :, None] * change * root[..., None, :]


def _inverse_straight(
    logs: Array, change: Array | None, t: Array, xp: Namespace
) -> tuple[Any, ...]:
    """Return the inverse of the line 1 - t + t exp -l."""
    reached, change = _straight(-logs, _inverted(change, xp), t, xp)
    return -reached, _inverted(change, xp)


def _inverted(change: Array | None, xp: Namespace) -> Array | None:
    """Return (1 + Y)^-1 - 1 to the second order."""
    return None if change is None else xp.matmul(change, change) - change


def _log_of_line(logs: Array, t: Array, xp: Namespace) -> Array:
    """Return log(1 - t + t exp l)."""
    is_far = logs > 30.0
    near = xp.log1p(t * _array.expm1(xp.where(is_far, xp.zeros_like(logs), logs), xp))
    moves = t > 0.0
    far = logs + xp.log(xp.where(moves, t + (1.0 - t) * xp.exp(-xp.abs(logs)), 1.0 + 0.0 * t))
    return xp.where(is_far, xp.where(moves, far, 0.0 * far), near)


# ---------------------------------------------------------------- samples


def log_determinant(S: np.ndarray) -> np.ndarray:
    return np.linalg.slogdet(S)[1]


def trace_of_ratio(S: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return tr(S^-1 x)."""
    return np.trace(np.linalg.solve(S, x), axis1=-2, axis2=-1)


def log_normalizer(df: np.ndarray, S: np.ndarray) -> np.ndarray:
    """Return the logarithm of the integral of |x|^((n - d - 1) / 2) exp(-tr(S^-1 x) / 2)."""
    from scipy.special import multigammaln

    d = S.shape[-1]
    gamma = np.vectorize(lambda n: multigammaln(0.5 * n, d))(df)
    return 0.5 * df * (d * math.log(2.0) + log_determinant(S)) + gamma


def standard_wishart(df: np.ndarray, dim: int, size: Any, rng: np.random.Generator) -> np.ndarray:
    """Return lower triangular A with A A' of the Wishart distribution of scale 1 (Bartlett)."""
    A = np.tril(rng.standard_normal((*size, dim, dim)), -1)
    degrees = df[..., None] - np.arange(dim)
    A[..., range(dim), range(dim)] = np.sqrt(rng.chisquare(degrees, size=(*size, dim)))
    return A


def fit_matrices(samples: Any, check: bool, *, ndim: int, shape: str) -> tuple[Any, Array]:
    """Gate samples along a first axis."""
    rule = _array.along(REAL, "coordinates") if ndim == 2 else MATRIX
    xp, samples = _array.gate(check, samples=(rule, samples))
    if samples.ndim != ndim or 0 in samples.shape:
        raise bad_value("samples", f"have shape {shape}", f"got {tuple(samples.shape)}")
    return xp, samples
