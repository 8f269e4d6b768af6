r"""Families of positive definite matrices: the metric is a multiple of tr((S^-1 dS)^2).

Normals of mean 0 are the model, with the factor 1/2: they lie in `infogeo.multivariate_normal` as
a totally geodesic submanifold. Wishart distributions of n degrees of freedom have n times that
metric and n times its divergences, in their scale matrix; inverse Wishart distributions too, with
the e- and the m-geometry exchanged. All formulas are in the frame of the first matrix, S = L L',
in which the second one is U exp(l) U'.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from infogeo import _array, _divergence, _points
from infogeo._array import POSITIVE, REAL, UNIT_INTERVAL, Array, Namespace, bad_value
from infogeo._points import Points, fill, make
from infogeo.manifolds import _family
from infogeo.manifolds._family import excess, log_cosh
from infogeo.multivariate_normal._divergences import is_small, log_ratios
from infogeo.multivariate_normal._point import (
    MultivariateNormal,
    factor_of,
    narrow,
    precision_of,
    solve_lower,
    transposed,
    whitened,
    wide,
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
        the family has them.
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
    REFUSED: Mapping[str, str] = field(default_factory=dict)

    def dimension(self, a: Any, *, check: bool = True) -> int:
        """Return the number of entries on and above the diagonal."""
        _, _, (S,) = _family.gated(self, check, a=a)
        return S.shape[-1] * (S.shape[-1] + 1) // 2

    # ------------------------------------------------------------ the Fisher metric

    def fisher_rao_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the root of n / 2 times the length of the logarithms of the eigenvalues."""
        xp, n, S, logs = self._compared(check, a, b)
        return narrow(xp.sqrt(0.5 * n) * _array.norm(logs, xp), S, xp)

    def fisher_rao_squared_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the squared distance, smooth at a = b."""
        xp, n, S, logs = self._compared(check, a, b)
        return narrow(0.5 * n * xp.sum(logs * logs, axis=-1), S, xp)

    def inner_product(self, a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
        """Return n / 2 tr(S^-1 u S^-1 v)."""
        xp, n, S, x, y = self._in_frame(check, a, u=u, v=v)
        return narrow(0.5 * n * xp.sum(x * y, axis=(-2, -1)), S, xp)

    def norm(self, a: Any, v: Any, *, check: bool = True) -> Array:
        """Return the root of n / 2 times the length of L^-1 v L^-T."""
        xp, n, S, x = self._in_frame(check, a, v=v)
        flat = xp.reshape(x, (*x.shape[:-2], -1))
        return narrow(xp.sqrt(0.5 * n) * _array.norm(flat, xp), S, xp)

    def sectional_curvature(self, a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
        """Return the curvature of a plane, from the commutator of its vectors; NaN for a line."""
        xp, n, S, x, y = self._in_frame(check, a, u=u, v=v)
        bracket = xp.matmul(x, y) - xp.matmul(y, x)
        squared, uu, vv, uv = (
            xp.sum(p * q, axis=(-2, -1)) for p, q in ((bracket, bracket), (x, x), (y, y), (x, y))
        )
        area = uu * vv - uv * uv
        is_plane = area > 1e-14 * uu * vv
        found = -0.5 / n * squared / xp.where(is_plane, area, xp.ones_like(area))
        return narrow(xp.where(is_plane, found, xp.nan * found), S, xp)

    # ------------------------------------------------------------ geodesics

    def exp_map(self, a: Any, v: Any, *, check: bool = True) -> Any:
        """Return L exp(L^-1 v L^-T) L'."""
        xp, _, S, x = self._in_frame(check, a, v=v)
        logs, U = xp.linalg.eigh(x)
        return self._point(a, _bent(S, U, logs, xp), S, xp)

    def log_map(self, a: Any, b: Any, *, check: bool = True) -> Any:
        """Return L log(L^-1 S_b L^-T) L'."""
        xp, _, (S,), (T,) = _family.gated(self, check, a=a, b=b)
        L, U, logs = _decomposed(S, T, xp)
        return self._vector(_sandwiched(xp.matmul(L, U), logs, xp), S, xp)

    def fisher_rao_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return L U exp(t l) U' L', from the nearer end."""
        return self._path(a, b, t, check, lambda logs, t, xp: t * logs)

    def parallel_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return E v E' with E = (S_b S_a^-1)^(1/2)."""
        xp, _, (S,), (T,), (v,) = _family.gated(self, check, a=a, b=b, v=v)
        L, U, logs = _decomposed(S, T, xp)
        half = xp.exp(0.5 * logs)
        inner = xp.matmul(transposed(U), xp.matmul(whitened(L, wide(v, xp), xp), U))
        inner = half[..., :, None] * inner * half[..., None, :]
        outer = xp.matmul(L, U)
        return self._vector(xp.matmul(outer, xp.matmul(inner, transposed(outer))), S, xp)

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
        n = _factor(constants, S, xp)[..., None, None]
        return narrow(n * (_inverse(S, xp) if self.is_inverse else wide(S, xp)), S, xp)

    # ------------------------------------------------------------ divergences

    def kl_divergence(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return n / 2 times the sum of exp(-l) - 1 + l, of an inverse family with -l."""
        xp, n, S, logs = self._compared(check, a, b)
        y = logs if self.is_inverse else -logs
        return narrow(0.5 * n * xp.sum(excess(y, xp), axis=-1), S, xp)

    def renyi_divergence(self, a: Any, b: Any, order: float, *, check: bool = True) -> Array:
        """Return the Renyi divergence of an order between 0 and 1, KL of order 1."""
        order = _divergence.finite_order(order, 1.0)
        if order == 1.0:
            return self.kl_divergence(a, b, check=check)
        xp, n, S, logs = self._compared(check, a, b)
        y, rest = (-logs if self.is_inverse else logs), 1.0 - order
        # From the member between the two, whose precision is the mean of theirs.
        to_a = excess(-xp.log1p(rest * _array.expm1(-y, xp)), xp)
        to_b = excess(-xp.log1p(order * _array.expm1(y, xp)), xp)
        total = xp.sum(order * to_a + rest * to_b, axis=-1)
        return narrow(0.5 * n / rest * total, S, xp)

    def bhattacharyya_coefficient(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the product of the cosh(l / 2)^(-n / 2)."""
        xp, n, S, logs = self._compared(check, a, b)
        return narrow(xp.exp(-0.5 * n * xp.sum(log_cosh(0.5 * logs, xp), axis=-1)), S, xp)

    def hellinger_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the root of 1 minus the Bhattacharyya coefficient."""
        xp, n, S, logs = self._compared(check, a, b)
        affinity = 0.5 * n * xp.sum(log_cosh(0.5 * logs, xp), axis=-1)
        return narrow(_array.safe_sqrt(-_array.expm1(-affinity, xp), xp), S, xp)

    # ------------------------------------------------------------ shared

    def _compared(self, check: bool, a: Any, b: Any) -> tuple[Any, ...]:
        """Return the namespace, n, one of the matrices, and the logarithms of the eigenvalues."""
        xp, constants, (S,), (T,) = _family.gated(self, check, a=a, b=b)
        return xp, _factor(constants, S, xp), S, log_ratios(_normal(S, xp), _normal(T, xp), xp)

    def _in_frame(self, check: bool, a: Any, **vectors: Any) -> tuple[Any, ...]:
        """Return the namespace, n, the matrix, and the vectors in its frame."""
        xp, constants, (S,), *arrays = _family.gated(self, check, a=a, **vectors)
        L = factor_of(_normal(S, xp), xp)
        framed = (whitened(L, wide(v, xp), xp) for (v,) in arrays)
        return xp, _factor(constants, S, xp), S, *framed

    def _point(self, a: Any, matrix: Array, like: Array, xp: Namespace) -> Any:
        """Return the point of a matrix, with the degrees of freedom of another one."""
        matrix = narrow(0.5 * (matrix + transposed(matrix)), like, xp)
        constants = (getattr(a, name) for name in self.POINTS.constants)
        return make(self.POINTS, *constants, matrix, xp=xp)

    def _vector(self, matrix: Array, like: Array, xp: Namespace) -> Any:
        return make(self.TANGENTS, narrow(0.5 * (matrix + transposed(matrix)), like, xp))

    def _path(self, a: Any, b: Any, t: Any, check: bool, logs_at: Callable[..., Array]) -> Any:
        """Return the points whose logarithms of eigenvalues are functions of t, between ends."""
        kinds = {"a": (self.POINTS, a), "b": (self.POINTS, b), "t": (UNIT_INTERVAL, t)}
        xp, (*_, S), (*_, T), t = _points.gate(check, **kinds)
        S, T = xp.broadcast_arrays(S, T)
        t = wide(xp.reshape(t, (*t.shape, *(1,) * (S.ndim - 1))), xp)
        L, U, logs = _decomposed(S, T, xp)
        there = _bent_in(S, xp.matmul(L, U), logs_at(logs, t, xp), xp)
        L, U, logs = _decomposed(T, S, xp)
        back = _bent_in(T, xp.matmul(L, U), logs_at(logs, 1.0 - t, xp), xp)
        return self._point(a, xp.where(t[..., None] < 0.5, there, back), S, xp)

    def _moved(self, a: Any, b: Any, v: Any, check: bool, by_inverse: bool) -> Any:
        """Return a vector that moves the matrix as much, or its inverse."""
        xp, _, (S,), (T,), (v,) = _family.gated(self, check, a=a, b=b, v=v)
        moved = wide(v, xp) + xp.zeros_like(wide(S + T, xp))
        if by_inverse:
            across = xp.matmul(wide(T, xp), _inverse(S, xp))
            moved = xp.matmul(across, xp.matmul(moved, transposed(across)))
        return self._vector(moved, S, xp)

    def _mean(self, points: Any, weights: Any, axis: int, check: bool, by_inverse: bool) -> Any:
        xp, constants, (S,), weights = _family.gated_mean(self, check, points, weights, axis)
        matrices = _inverse(S, xp) if by_inverse else wide(S, xp)
        mean = xp.sum(wide(weights, xp)[..., None, None] * matrices, axis=int(axis))
        matrix = narrow(_inverse(mean, xp) if by_inverse else mean, S, xp)
        return _family.point_of(self, (0.5 * (matrix + transposed(matrix)),), constants, xp)


# ---------------------------------------------------------------- matrices


def _factor(constants: Any, S: Array, xp: Namespace) -> Array:
    """Return the degrees of freedom, 1 if there are none."""
    return wide(constants[0], xp) if constants else xp.ones_like(wide(S[..., 0, 0], xp))


def _normal(S: Array, xp: Namespace) -> MultivariateNormal:
    return make(MultivariateNormal, xp.zeros_like(S[..., 0]), S)


def _inverse(S: Array, xp: Namespace) -> Array:
    return precision_of(_normal(S, xp), xp)


def _decomposed(S: Array, T: Array, xp: Namespace) -> tuple[Array, Array, Array]:
    """Return L, U and l with S = L L' and T = L U exp(l) U' L', also for near matrices."""
    L = factor_of(_normal(S, xp), xp)
    excess_of_T = whitened(L, wide(T, xp) - wide(S, xp), xp)
    is_near = is_small(excess_of_T, xp)
    changes, U = xp.linalg.eigh(excess_of_T)
    near = xp.log1p(xp.where(is_near[..., 0], changes, xp.zeros_like(changes)))
    ratio = solve_lower(L, factor_of(_normal(T, xp), xp) + xp.zeros_like(excess_of_T), xp)
    V, sizes, _ = xp.linalg.svd(ratio)
    logs = xp.where(is_near[..., 0], near, 2.0 * xp.log(sizes))
    return L, xp.where(is_near, U, V), logs


def _sandwiched(outer: Array, diagonal: Array, xp: Namespace) -> Array:
    return xp.matmul(outer * diagonal[..., None, :], transposed(outer))


def _bent(S: Array, U: Array, logs: Array, xp: Namespace) -> Array:
    return _bent_in(S, xp.matmul(factor_of(_normal(S, xp), xp), U), logs, xp)


def _bent_in(S: Array, outer: Array, logs: Array, xp: Namespace) -> Array:
    """Return the matrix of these logarithms; near S by its difference."""
    is_near = xp.max(xp.abs(logs), axis=-1)[..., None, None] < 0.5
    near = wide(S, xp) + _sandwiched(outer, _array.expm1(logs, xp), xp)
    return xp.where(is_near, near, _sandwiched(outer, xp.exp(logs), xp))


def _straight(logs: Array, t: Array, xp: Namespace) -> Array:
    """Return log(1 - t + t exp l)."""
    is_far = logs > 30.0
    near = xp.log1p(t * _array.expm1(xp.where(is_far, xp.zeros_like(logs), logs), xp))
    moves = t > 0.0
    far = logs + xp.log(xp.where(moves, t + (1.0 - t) * xp.exp(-xp.abs(logs)), 1.0 + 0.0 * t))
    return xp.where(is_far, xp.where(moves, far, 0.0 * far), near)


def _inverse_straight(logs: Array, t: Array, xp: Namespace) -> Array:
    """Return -log(1 - t + t exp -l)."""
    return -_straight(-logs, t, xp)


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
