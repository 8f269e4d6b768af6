r"""Negative multinomial distributions of a fixed number of failures: part of a hyperbolic space.

A point is a `NegativeMultinomial`, of a number r of failures, which all points of one call share,
and the probabilities of what is counted. With :math:`p_0 = 1 - \sum p_i` the vectors
:math:`(1, \sqrt{p_1}, \ldots, \sqrt{p_c}) / \sqrt{p_0}` lie on a hyperboloid, and the metric is
4 r times that of the hyperboloid. The curvature is :math:`-1 / 4r`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo import _array, _divergence, simplex
from infogeo._array import POSITIVE, UNIT_INTERVAL, Array, Namespace, along, bad_value
from infogeo._docs import finish
from infogeo._points import fill, make, tangents
from infogeo._system.registry import storable
from infogeo.manifolds import _family
from infogeo.manifolds._counts import COUNTS, SHARES_BELOW_1
from infogeo.manifolds._family import Family, log_cosh
from infogeo.manifolds._line import with_geometric_mean

__all__ = ["NegativeMultinomial", "Tangent"]


@storable("NegativeMultinomial")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class NegativeMultinomial(Family):
    r"""A batch of negative multinomial distributions: what occurs before a number of failures.

    Parameters
    ----------
    total_count : array, shape (...)
        The number r of failures, positive: the same for all points of one call.
    probs : array, shape (..., c)
        Probabilities of the c outcomes that are counted, along the last axis. Their sum is below 1:
        the rest is the probability of a failure.
    check : bool

    Attributes
    ----------
    total_count, probs : array
        Of one batch shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError

    Notes
    -----
    One outcome makes it a `NegativeBinomial`. The means are :math:`r p_i / p_0`. Counts of several
    kinds whose rates share one gamma factor have this distribution.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> a, b = NegativeMultinomial(4.0, [0.0, 0.0]), NegativeMultinomial(4.0, [0.25, 0.25])
    >>> round(float(manifolds.fisher_rao_distance(a, b)), 12)
    3.525494348078
    """

    total_count: Array
    probs: Array

    rules: ClassVar = {"total_count": POSITIVE, "probs": along(SHARES_BELOW_1, "outcomes")}
    constants: ClassVar = ("total_count",)

    def __init__(self, total_count: Any, probs: Any, *, check: bool = True):
        fill(self, check, total_count=total_count, probs=probs)
        if check and _array.is_readable(self.probs):
            most = np.max(np.sum(np.asarray(_array.on_host(self.probs)), axis=-1), initial=0.0)
            if not most < 1.0:
                raise bad_value(
                    "probs",
                    "have a sum below 1 along the last axis",
                    f"the largest is {float(most):.6g}",
                    "Leave out the probability of the failure that ends the counting.",
                )


Tangent = storable("negative_multinomial.Tangent")(tangents(NegativeMultinomial))


class _Space:
    """A part of the hyperboloid; vectors on it have the coordinate along 1 / sqrt(p_0) last."""

    POINTS = NegativeMultinomial
    TANGENTS = Tangent
    REFUSED = _family.NO_SOLVE
    SAMPLES = along(COUNTS, "outcomes")
    DISTRIBUTIONS: ClassVar[dict[str, Any]] = {}

    def estimate(self, x: Array, xp: Namespace, count: Array) -> tuple[Array]:
        """Return the point that has the means of the samples."""
        return (_of_means(xp.mean(x, axis=0), count, xp),)

    def draw(
        self, a: NegativeMultinomial, size: tuple[int, ...], rng: np.random.Generator
    ) -> np.ndarray:
        """Return Poisson variates whose rates share a gamma factor."""
        odds = a.probs / _failing(a.probs, np)
        factor = rng.standard_gamma(a.total_count, size=size)
        return rng.poisson(factor[..., None] * odds)

    def log_density(self, a: NegativeMultinomial, x: Any) -> Any:
        """Return the logarithm of the probability of counts."""
        from scipy.special import gammaln, xlogy

        r, total = a.total_count, np.sum(x, axis=-1)
        orders = gammaln(r + total) - gammaln(r) - np.sum(gammaln(x + 1.0), axis=-1)
        return orders + np.sum(xlogy(x, a.probs), axis=-1) + r * np.log1p(-np.sum(a.probs, axis=-1))

    def dimension(self, a: Any, *, check: bool = True) -> int:
        """Return the number of outcomes that are counted."""
        _family.gated(self, check, a=a)
        return int(a.probs.shape[-1])

    # ------------------------------------------------------------ the Fisher metric

    def fisher_rao_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return 2 sqrt r times the distance on the hyperboloid."""
        xp, (r,), (p,), (q,) = _family.gated(self, check, a=a, b=b)
        return _array.as_number(4.0 * xp.sqrt(r) * xp.asinh(_half_sinh(p, q, xp)))

    def fisher_rao_squared_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the squared distance, smooth at a = b inside the family."""
        xp, (r,), (p,), (q,) = _family.gated(self, check, a=a, b=b)
        squared = _half_sinh_squared(p, q, xp)
        size = _array.safe_sqrt(squared, xp)
        is_zero = squared == 0.0
        unit = xp.where(is_zero, xp.ones_like(size), size)
        ratio = xp.where(is_zero, xp.ones_like(size), xp.asinh(unit) / unit)
        return _array.as_number(16.0 * r * squared * ratio * ratio)

    def inner_product(self, a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
        """Return r / p_0 times the sum of u_i v_i / p_i, over the failure too."""
        xp, (r,), (p,), (u,), (v,) = _family.gated(self, check, a=a, u=u, v=v)
        rest = _failing(p, xp)[..., 0]
        inner = xp.sum(_over(u, p, xp) * v, axis=-1)
        return _array.as_number(r / rest * (inner + xp.sum(u, axis=-1) * xp.sum(v, axis=-1) / rest))

    def norm(self, a: Any, v: Any, *, check: bool = True) -> Array:
        """Return 2 sqrt r times the length of the vector on the hyperboloid."""
        xp, (r,), (p,), (v,) = _family.gated(self, check, a=a, v=v)
        return _array.as_number(2.0 * xp.sqrt(r) * _length(p, v, xp))

    def fisher_information(self, a: Any, *, check: bool = True) -> Array:
        """Return the Fisher information in the probabilities, shape (..., c, c)."""
        xp, (r,), (p,) = _family.gated(self, check, a=a)
        rest = _failing(p, xp)[..., None]
        identity = xp.eye(p.shape[-1], dtype=p.dtype, device=_array.device_of(p))
        inverse = xp.where(identity > 0.0, _over(xp.ones_like(p), p, xp)[..., None], 0.0 * rest)
        return r[..., None, None] / rest * (inverse + 1.0 / rest)

    def christoffel_symbols(self, a: Any, *, check: bool = True) -> Array:
        """Return the mean of those of the e- and the m-connection, (..., c, c, c)."""
        xp, _, (p,) = _family.gated(self, check, a=a)
        rest = _failing(p, xp)[..., None, None]
        identity = xp.eye(p.shape[-1], dtype=p.dtype, device=_array.device_of(p))
        of_m = (identity[:, :, None] + identity[:, None, :]) / rest
        inverse = _over(xp.ones_like(p), p, xp)[..., None, None]
        is_one = identity[:, :, None] * identity[:, None, :] > 0.0
        return 0.5 * (of_m - xp.where(is_one, inverse, xp.zeros_like(of_m)))

    def sectional_curvature(self, a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
        """Return -1 / 4 r, of whatever plane."""
        xp, (r,), (p,), (u,), (v,) = _family.gated(self, check, a=a, u=u, v=v)
        return _array.as_number(-0.25 / r + xp.zeros_like(xp.sum(p + u + v, axis=-1)))

    # ------------------------------------------------------------ geodesics

    def fisher_rao_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return the geodesic of the hyperboloid."""
        xp, constants, (p,), (q,), t = _family.gated(self, check, a=a, b=b, t=(UNIT_INTERVAL, t))
        p, q = xp.broadcast_arrays(p, q)
        t = _array.as_leading(t, p, xp)
        width = 2.0 * xp.asinh(_half_sinh(p, q, xp))[..., None]
        # Shares of the two vectors, without the factor exp(width), which may overflow.
        shares = [
            _array.expm1(-2.0 * x * width, xp) * xp.exp((x - 1.0) * width) for x in (1.0 - t, t)
        ]
        is_equal = (width == 0.0) & (t >= 0.0)
        shares = [xp.where(is_equal, -x, y) for x, y in zip((1.0 - t, t), shares, strict=True)]
        X, Y = (_lifted(x, xp) for x in (p, q))
        path = _dropped(-(shares[0] * X + shares[1] * Y))
        path = xp.where(t == 0.0, p, xp.where(t == 1.0, q, path))
        return _family.point_of(self, (path,), constants, xp)

    def exp_map(self, a: Any, v: Any, *, check: bool = True) -> Any:
        """Return the point that the geodesic with velocity v reaches at time 1."""
        xp, constants, (p,), (v,) = _family.gated(self, check, a=a, v=v)
        size = _length(p, v, xp)[..., None]
        unit = xp.where(size > 0.0, size, xp.ones_like(size))
        X = _lifted(p, xp)
        step = xp.sinh(size) * (_lifted_vector(p, v, xp) / unit)
        step = step + 2.0 * xp.sinh(0.5 * size) ** 2 * X
        reached = X + step
        eps = float(xp.finfo(p.dtype).eps)
        is_inside = xp.all(reached >= -8.0 * eps * xp.cosh(size), axis=-1)
        _family.require_inside(is_inside & xp.isfinite(size[..., 0]), check, xp)
        path = _dropped(_array.clip(reached, xp, min=0.0))
        # The way from a, where it is short, keeps the digits of small steps.
        root = _array.safe_sqrt(p, xp)
        change = (step[..., :-1] - root * step[..., -1:]) / reached[..., -1:]
        way = change * (2.0 * root + change)
        path = xp.where(2.0 * xp.abs(way) < p, p + way, path)
        return _family.point_of(
            self, (xp.where(is_inside[..., None], path, xp.nan),), constants, xp
        )

    def log_map(self, a: Any, b: Any, *, check: bool = True) -> Any:
        """Return the velocity at a of the geodesic that reaches b at time 1."""
        xp, _, (p,), (q,) = _family.gated(self, check, a=a, b=b)
        squared = _half_sinh_squared(p, q, xp)[..., None]
        half = _array.safe_sqrt(squared, xp)
        is_zero = half == 0.0
        safe = xp.where(is_zero, xp.ones_like(half), half)
        # rho / sinh rho, with the sine of half of it known.
        ratio = xp.asinh(safe) / safe / xp.sqrt(1.0 + safe * safe)
        ratio = xp.where(is_zero, xp.ones_like(half), ratio)
        way = ratio * (_between(p, q, xp) - 2.0 * squared * _lifted(p, xp))
        return make(Tangent, _dropped_vector(p, way, xp))

    def parallel_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return a tangent vector at a, carried to b along the shortest path."""
        xp, _, (p,), (q,), (v,) = _family.gated(self, check, a=a, b=b, v=v)
        X, Y, V = _lifted(p, xp), _lifted(q, xp), _lifted_vector(p, v, xp)
        across = xp.sum(Y[..., :-1] * V[..., :-1], axis=-1, keepdims=True)
        across = across - Y[..., -1:] * V[..., -1:]
        moved = V + across / (2.0 + 2.0 * _half_sinh_squared(p, q, xp)[..., None]) * (X + Y)
        return make(Tangent, _dropped_vector(q, moved, xp))

    # ------------------------------------------------------------ the e- and the m-geometry

    def e_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return the points at shares t of the way of the logarithms of the probabilities."""
        xp, constants, (p,), (q,), t = _family.gated(self, check, a=a, b=b, t=(UNIT_INTERVAL, t))
        t = _array.as_leading(t, p + q, xp)
        logs = [x * _array.safe_log(y + 0.0 * t, xp) for x, y in ((1.0 - t, p), (t, q))]
        inside = xp.exp(logs[0] + logs[1])
        path = xp.where(t == 0.0, p, xp.where(t == 1.0, q, inside))
        return _family.point_of(self, (path,), constants, xp)

    def m_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return the points at shares t of the way of the means."""
        xp, constants, (p,), (q,), t = _family.gated(self, check, a=a, b=b, t=(UNIT_INTERVAL, t))
        t = _array.as_leading(t, p + q, xp)
        share = (1.0 - t) * _failing(q, xp)
        other = t * _failing(p, xp)
        path = (share * p + other * q) / (share + other)
        return _family.point_of(self, (path,), constants, xp)

    def e_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return the vector at b with the same velocity of the logarithms."""
        xp, _, (p,), (q,), (v,) = _family.gated(self, check, a=a, b=b, v=v)
        return make(Tangent, _over(v, p, xp) * q)

    def m_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return the vector at b with the same velocity of the means."""
        xp, _, (p,), (q,), (v,) = _family.gated(self, check, a=a, b=b, v=v)
        rest = _failing(p, xp)
        moved = (v + p * (xp.sum(v, axis=-1, keepdims=True) / rest)) / rest
        moved = moved - q * xp.sum(moved, axis=-1, keepdims=True)
        return make(Tangent, _failing(q, xp) * moved)

    def e_mean(self, points: Any, *, weights: Any = None, axis: int = 0, check: bool = True) -> Any:
        """Return the geometric mean of the probabilities."""
        xp, constants, (p,), weights = _family.gated_mean(self, check, points, weights, axis)
        weights = weights[..., None]
        is_used = weights > 0.0
        logs = xp.where(is_used, weights * _array.safe_log(p, xp), 0.0 * (weights + p))
        mean = xp.exp(xp.sum(logs, axis=int(axis)))
        return _family.point_of(self, (mean,), constants, xp)

    def m_mean(self, points: Any, *, weights: Any = None, axis: int = 0, check: bool = True) -> Any:
        """Return the point of the mean of the means."""
        xp, constants, (p,), weights = _family.gated_mean(self, check, points, weights, axis)
        odds = xp.sum(weights[..., None] * (p / _failing(p, xp)), axis=int(axis))
        mean = odds / (1.0 + xp.sum(odds, axis=-1, keepdims=True))
        return _family.point_of(self, (mean,), constants, xp)

    def natural_parameters(self, a: Any, *, check: bool = True) -> Array:
        """Return the logarithms of the probabilities."""
        xp, _, (p,) = _family.gated(self, check, a=a)
        return _array.safe_log(p, xp)

    def expectation_parameters(self, a: Any, *, check: bool = True) -> Array:
        """Return the means of the counts."""
        xp, (r,), (p,) = _family.gated(self, check, a=a)
        return r[..., None] * p / _failing(p, xp)

    # ------------------------------------------------------------ divergences

    def kl_divergence(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return r / p_0 times the divergence of one trial."""
        xp, (r,), (p,), (q,) = _family.gated(self, check, a=a, b=b)
        one = simplex.kl_divergence(*(_with_failure(x, xp) for x in (p, q)), check=False)
        return _array.as_number(r / _failing(p, xp)[..., 0] * one)

    def renyi_divergence(self, a: Any, b: Any, *, order: float, check: bool = True) -> Array:
        """Return the Renyi divergence of an order in [0, 1], KL of order 1."""
        order = _divergence.finite_order(order, 1.0)
        if order == 1.0:
            return self.kl_divergence(a, b, check=check)
        xp, (r,), (p,), (q,) = _family.gated(self, check, a=a, b=b)
        first, second = (_failing(x, xp) for x in (p, q))
        step = -xp.sum(q - p, axis=-1, keepdims=True)
        stop, gap = with_geometric_mean(first, second, order, xp, difference=step)
        gaps = xp.sum(with_geometric_mean(p, q, order, xp)[1], axis=-1) + gap[..., 0]
        return _array.as_number(r / (1.0 - order) * xp.log1p(gaps / stop[..., 0]))

    def bhattacharyya_coefficient(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return cosh(d / 2 sqrt r) to the power -r."""
        xp, r, log_affinity = self._log_affinity(a, b, check)
        return _array.as_number(xp.exp(-r * log_affinity))

    def hellinger_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the root of 1 minus the Bhattacharyya coefficient."""
        xp, r, log_affinity = self._log_affinity(a, b, check)
        return _array.as_number(_array.safe_sqrt(-_array.expm1(-r * log_affinity, xp), xp))

    def _log_affinity(self, a: Any, b: Any, check: bool) -> tuple[Namespace, Array, Array]:
        xp, (r,), (p,), (q,) = _family.gated(self, check, a=a, b=b)
        return xp, r, log_cosh(2.0 * xp.asinh(_half_sinh(p, q, xp)), xp)


# ---------------------------------------------------------------- the hyperboloid


def _failing(p: Array, xp: Namespace) -> Array:
    """Return the probability of a failure, (..., 1)."""
    return 1.0 - xp.sum(p, axis=-1, keepdims=True)


def _with_failure(p: Array, xp: Namespace) -> Array:
    return xp.concat([p, _failing(p, xp)], axis=-1)


def _over(v: Array, p: Array, xp: Namespace) -> Array:
    """Return v / p; at an edge 0 for 0, inf for what leaves it."""
    is_edge = p == 0.0
    inside = v / xp.where(is_edge, xp.ones_like(p), p)
    zero = xp.zeros_like(inside)
    leaving = xp.where(v > 0.0, zero + xp.inf, zero - xp.inf)
    return xp.where(is_edge, xp.where(v == 0.0, zero, leaving), inside)


def _steps(p: Array, q: Array, xp: Namespace) -> Array:
    """Return the differences of the roots of all probabilities, that of the failure last."""
    step = xp.concat([q - p, -xp.sum(q - p, axis=-1, keepdims=True)], axis=-1)
    total = sum(_array.safe_sqrt(_with_failure(x, xp), xp) for x in (p, q))
    return step / xp.where(total == 0.0, xp.ones_like(total), total)


def _half_sinh(p: Array, q: Array, xp: Namespace) -> Array:
    """Return the hyperbolic sine of half the distance on the hyperboloid."""
    unit = xp.sqrt(xp.sqrt(_failing(p, xp)[..., 0])) * xp.sqrt(xp.sqrt(_failing(q, xp)[..., 0]))
    return 0.5 * _array.norm(_steps(p, q, xp), xp) / unit


def _half_sinh_squared(p: Array, q: Array, xp: Namespace) -> Array:
    """Return its square, smooth at p = q."""
    unit = xp.sqrt(_failing(p, xp)[..., 0]) * xp.sqrt(_failing(q, xp)[..., 0])
    return 0.25 * xp.sum(_steps(p, q, xp) ** 2, axis=-1) / unit


def _lifted(p: Array, xp: Namespace) -> Array:
    """Return the point of the hyperboloid."""
    roots = xp.concat([_array.safe_sqrt(p, xp), xp.ones_like(p[..., :1])], axis=-1)
    return roots / xp.sqrt(_failing(p, xp))


def _dropped(X: Array) -> Array:
    """Return the probabilities of a multiple of a point of the hyperboloid."""
    return (X[..., :-1] / X[..., -1:]) ** 2


def _between(p: Array, q: Array, xp: Namespace) -> Array:
    """Return the difference of two points of the hyperboloid, with the digits of q - p."""
    steps = _steps(p, q, xp)
    roots = [_array.safe_sqrt(_with_failure(x, xp), xp) for x in (p, q)]
    ends = [x[..., -1:] for x in roots]
    # sqrt(q_i / q_0) - sqrt(p_i / p_0), and 1 / sqrt q_0 - 1 / sqrt p_0.
    change = -steps[..., -1:] / ends[0] / ends[1]
    first = steps[..., :-1] / ends[1] + roots[0][..., :-1] * change
    return xp.concat([first, change], axis=-1)


def _lifted_vector(p: Array, v: Array, xp: Namespace) -> Array:
    rest = _failing(p, xp)
    upward = 0.5 * xp.sum(v, axis=-1, keepdims=True) / rest / xp.sqrt(rest)
    root = _array.safe_sqrt(p, xp)
    return xp.concat([0.5 * _over(v, root, xp) / xp.sqrt(rest) + root * upward, upward], axis=-1)


def _dropped_vector(p: Array, V: Array, xp: Namespace) -> Array:
    root, scale = _array.safe_sqrt(p, xp), 2.0 * xp.sqrt(_failing(p, xp))
    return scale * root * (V[..., :-1] - root * V[..., -1:])


def _length(p: Array, v: Array, xp: Namespace) -> Array:
    """Return the length of a vector on the hyperboloid."""
    rest = _failing(p, xp)
    root = _array.safe_sqrt(p, xp)
    parts = xp.concat(
        [_over(v, root, xp), xp.sum(v, axis=-1, keepdims=True) / xp.sqrt(rest)], axis=-1
    )
    return 0.5 * _array.norm(parts / xp.sqrt(rest), xp)


def _of_means(means: Array, count: Array, xp: Namespace) -> Array:
    return means / (count[..., None] + xp.sum(means, axis=-1, keepdims=True))


SPACE = _Space()


finish(globals())
