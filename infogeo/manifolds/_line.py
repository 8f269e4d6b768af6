r"""Families of distributions with one parameter: lines, whose geometry is that of a coordinate.

On a line there is a coordinate x with :math:`ds = |dx|`. So the Fisher-Rao distance is the
difference of two coordinates, geodesics are straight in x, and parallel transport keeps the speed
in x. The e- and the m-geometry are the same in two other coordinates: the natural parameter and the
expectation parameter. A family declares its three coordinates by formulas in which nothing
cancels, and everything else is derived from them here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from infogeo import _array, _points
from infogeo._array import REAL, UNIT_INTERVAL, Array, Namespace, bad_value
from infogeo._points import make
from infogeo._spaces import RawParameters


@dataclass(frozen=True)
class Coordinate:
    """A coordinate x of a line, as a function of its parameter.

    The functions take arrays of parameters that the gate has seen, and the array namespace.

    Parameters
    ----------
    value : callable
        ``value(a, xp)``: the coordinate of a.
    inverse : callable
        ``inverse(x, xp)``: the parameter at a coordinate.
    difference : callable
        ``difference(a, b, xp)``: the coordinate of b minus that of a, to full relative precision.
    moved : callable
        ``moved(a, step, xp)``: the parameter whose coordinate is that of a plus a step; NaN if
        there is none.
    slope : callable
        ``slope(a, xp)``: the derivative of the coordinate by the parameter.
    """

    value: Callable[[Array, Namespace], Array]
    inverse: Callable[[Array, Namespace], Array]
    difference: Callable[[Array, Array, Namespace], Array]
    moved: Callable[[Array, Array, Namespace], Array]
    slope: Callable[[Array, Namespace], Array]


# The parameter itself.
IDENTITY = Coordinate(
    value=lambda a, xp: a,
    inverse=lambda x, xp: x,
    difference=lambda a, b, xp: b - a,
    moved=lambda a, step, xp: a + step,
    slope=lambda a, xp: xp.ones_like(a),
)


@dataclass(frozen=True)
class Line:
    r"""The space of a family with one parameter, derived from its coordinates.

    Parameters
    ----------
    POINTS, TANGENTS : type
        The classes of points and of tangent vectors, each with one field: the parameter.
    flat : Coordinate
        The coordinate in which the Fisher metric is 1.
    natural, expectation : Coordinate
        The e-coordinate and the m-coordinate, of an exponential family.
    kl : callable
        ``kl(a, b, xp)``: the Kullback-Leibler divergence of parameters.
    log_affinity : callable
        ``log_affinity(a, b, xp)``: minus the logarithm of the Bhattacharyya coefficient.
    DISTRIBUTIONS : dict
        As in `infogeo._spaces`.
    log_density : callable
        ``log_density(point, x)``: the logarithm of the density at x, for plots; with numpy.
    window : callable
        ``window(point)``: the x to show, for plots; integers if the distribution is discrete.
    RAW : RawParameters or None
        The parameters that a network may put out.
    """

    POINTS: type
    TANGENTS: type
    flat: Coordinate
    natural: Coordinate
    expectation: Coordinate
    kl: Callable[[Array, Array, Namespace], Array]
    log_affinity: Callable[[Array, Array, Namespace], Array]
    DISTRIBUTIONS: dict[str, tuple[str, ...]]
    log_density: Callable[[Any, Any], Any]
    window: Callable[[Any], Any]
    RAW: RawParameters | None = None
    ORTHOGONAL: ClassVar[bool] = True

    def dimension(self, a: Any, *, check: bool = True) -> int:
        """Return the number of parameters."""
        self._gate(check, a=a)
        return 1

    # ------------------------------------------------------------ the Fisher metric

    def fisher_rao_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return |x(b) - x(a)| in the flat coordinate x."""
        xp, a, b = self._gate(check, a=a, b=b)
        return _array.as_number(xp.abs(self.flat.difference(a, b, xp)))

    def fisher_rao_squared_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the squared distance, smooth at a = b."""
        xp, a, b = self._gate(check, a=a, b=b)
        return self.flat.difference(a, b, xp) ** 2

    def inner_product(self, a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
        """Return the product of the speeds in the flat coordinate."""
        xp, a, u, v = self._gate(check, a=a, u=u, v=v)
        return _array.as_number(self._speed(a, u, xp) * self._speed(a, v, xp))

    def norm(self, a: Any, v: Any, *, check: bool = True) -> Array:
        """Return the absolute speed in the flat coordinate."""
        xp, a, v = self._gate(check, a=a, v=v)
        return _array.as_number(xp.abs(self._speed(a, v, xp)))

    def fisher_information(self, a: Any, *, check: bool = True) -> Array:
        """Return the squared slope of the flat coordinate, shape (..., 1, 1)."""
        xp, a = self._gate(check, a=a)
        return self.flat.slope(a, xp)[..., None, None] ** 2

    def exp_map(self, a: Any, v: Any, *, check: bool = True) -> Any:
        """Return the point whose flat coordinate is that of a plus the speed of v."""
        xp, a, v = self._gate(check, a=a, v=v)
        reached = self.flat.moved(a, self._speed(a, v, xp), xp)
        is_inside = xp.isfinite(reached)
        if check and _array.is_readable(is_inside) and not bool(xp.all(is_inside)):
            raise bad_value(
                "v",
                "keep the geodesic inside the family up to time 1",
                "one leaves it before",
                "Scale v down.",
            )
        return make(self.POINTS, reached)

    def log_map(self, a: Any, b: Any, *, check: bool = True) -> Any:
        """Return the velocity at a whose speed is the difference of the flat coordinates."""
        xp, a, b = self._gate(check, a=a, b=b)
        difference, slope = self.flat.difference(a, b, xp), self.flat.slope(a, xp)
        is_stuck = xp.isinf(slope) & (difference != 0.0)
        if check and _array.is_readable(is_stuck) and bool(xp.any(is_stuck)):
            raise bad_value(
                "b",
                "be a where that is at the edge of the family",
                "it is not, and no finite velocity leaves the edge",
                "fisher_rao_geodesic starts there, too.",
            )
        return make(self.TANGENTS, difference / slope)

    # ------------------------------------------------------------ the three geometries

    def fisher_rao_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return the point at the share t of the way in the flat coordinate."""
        return self._geodesic(self.flat, a, b, t, check)

    def e_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return the point at the share t of the way in the natural parameter."""
        return self._geodesic(self.natural, a, b, t, check)

    def m_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return the point at the share t of the way in the expectation parameter."""
        return self._geodesic(self.expectation, a, b, t, check)

    def parallel_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return the vector at b of the same speed in the flat coordinate."""
        return self._transported(self.flat, a, b, v, check)

    def e_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return the vector at b of the same speed in the natural parameter."""
        return self._transported(self.natural, a, b, v, check)

    def m_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return the vector at b of the same speed in the expectation parameter."""
        return self._transported(self.expectation, a, b, v, check)

    def frechet_mean(
        self, points: Any, *, weights: Any = None, axis: int = 0, check: bool = True
    ) -> tuple[Any, Array]:
        """Return the mean in the flat coordinate, and the rounding of the gradient there."""
        xp, (a,), weights = _points.gate_mean(check, self.POINTS, points, weights, axis)
        mean = self.flat.inverse(_mean(self.flat.value(a, xp), weights, axis, xp), xp)
        pulls = self.flat.difference(xp.expand_dims(mean, axis=axis), a, xp)
        return make(self.POINTS, mean), xp.abs(_mean(pulls, weights, axis, xp))

    def e_mean(self, points: Any, *, weights: Any = None, axis: int = 0, check: bool = True) -> Any:
        """Return the mean in the natural parameter."""
        xp, (a,), weights = _points.gate_mean(check, self.POINTS, points, weights, axis)
        # Differences from the largest point: logarithms of large numbers have lost digits.
        largest = xp.max(a, axis=axis, keepdims=True)
        step = _mean(self.natural.difference(largest, a, xp), weights, axis, xp)
        return make(self.POINTS, self.natural.moved(xp.squeeze(largest, axis=axis), step, xp))

    def m_mean(self, points: Any, *, weights: Any = None, axis: int = 0, check: bool = True) -> Any:
        """Return the mean in the expectation parameter."""
        xp, (a,), weights = _points.gate_mean(check, self.POINTS, points, weights, axis)
        mean = _mean(self.expectation.value(a, xp), weights, axis, xp)
        return make(self.POINTS, self.expectation.inverse(mean, xp))

    def natural_parameters(self, a: Any, *, check: bool = True) -> Array:
        """Return the natural parameter."""
        xp, a = self._gate(check, a=a)
        return _array.as_number(self.natural.value(a, xp))

    def from_natural_parameters(self, theta: Any, *, check: bool = True) -> Any:
        """Return the point of a natural parameter."""
        xp, theta = _array.gate(check, theta=(REAL, theta))
        return self.POINTS(self.natural.inverse(theta, xp), check=check)

    def expectation_parameters(self, a: Any, *, check: bool = True) -> Array:
        """Return the expectation parameter."""
        xp, a = self._gate(check, a=a)
        return _array.as_number(self.expectation.value(a, xp))

    def from_expectation_parameters(self, eta: Any, *, check: bool = True) -> Any:
        """Return the point of an expectation parameter."""
        xp, eta = _array.gate(check, eta=(REAL, eta))
        return self.POINTS(self.expectation.inverse(eta, xp), check=check)

    # ------------------------------------------------------------ divergences

    def kl_divergence(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the Kullback-Leibler divergence."""
        xp, a, b = self._gate(check, a=a, b=b)
        return _array.as_number(self.kl(a, b, xp))

    def jeffreys_divergence(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the product of the differences of the two parameters."""
        xp, a, b = self._gate(check, a=a, b=b)
        eta = self.expectation.difference(a, b, xp)
        theta = self.natural.difference(a, b, xp)
        return _array.as_number(eta * xp.where(eta == 0.0, eta, theta))

    def bhattacharyya_coefficient(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the integral of the root of the product of the densities."""
        xp, a, b = self._gate(check, a=a, b=b)
        return xp.exp(-self.log_affinity(a, b, xp))

    def hellinger_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the root of 1 minus the Bhattacharyya coefficient."""
        xp, a, b = self._gate(check, a=a, b=b)
        return _array.safe_sqrt(-_array.expm1(-self.log_affinity(a, b, xp), xp), xp)

    # ------------------------------------------------------------ shared

    def _gate(self, check: bool, **arguments: Any) -> tuple[Any, ...]:
        """Return the namespace and the parameters of points and vectors."""
        kinds = {n: self.TANGENTS if n in ("u", "v") else self.POINTS for n in arguments}
        xp, *fields = _points.gate(check, **{n: (kinds[n], x) for n, x in arguments.items()})
        return (xp, *(parameter for (parameter,) in fields))

    def _speed(self, a: Array, v: Array, xp: Namespace) -> Array:
        """Return the speed of a vector in the flat coordinate, 0 for 0 at an edge, too."""
        slope = self.flat.slope(a, xp)
        return v * xp.where(v == 0.0, xp.ones_like(slope), slope)

    def _geodesic(self, x: Coordinate, a: Any, b: Any, t: Any, check: bool) -> Any:
        """Return the point on the straight line of a coordinate, from its nearer end."""
        kinds = {"a": (self.POINTS, a), "b": (self.POINTS, b), "t": (UNIT_INTERVAL, t)}
        xp, (a,), (b,), t = _points.gate(check, **kinds)
        difference = x.difference(a, b, xp)
        t = _array.as_leading(t, difference, xp)
        zero = xp.zeros_like(t * a)
        from_a = x.moved(a, t * xp.where(t == 0.0, zero, difference), xp)
        from_b = x.moved(b, (t - 1.0) * xp.where(t == 1.0, zero, difference), xp)
        return make(self.POINTS, xp.where(t < 0.5, from_a, from_b))

    def _transported(self, x: Coordinate, a: Any, b: Any, v: Any, check: bool) -> Any:
        xp, a, b, v = self._gate(check, a=a, b=b, v=v)
        return make(self.TANGENTS, v * (x.slope(a, xp) / x.slope(b, xp)))


def _mean(x: Array, weights: Array, axis: int, xp: Namespace) -> Array:
    """Return the weighted mean over an axis; weight 0 leaves out even infinite entries."""
    return xp.sum(weights * xp.where(weights > 0.0, x, xp.zeros_like(x)), axis=int(axis))


# ---------------------------------------------------------------- formulas that families share


def log_ratio(a: Array, b: Array, xp: Namespace) -> Array:
    """Return log(b / a) of numbers that are not negative, to full relative precision."""
    one = xp.ones_like(a + b)
    is_edge = (a == 0.0) | (b == 0.0)
    x, y = xp.where(is_edge, one, a), xp.where(is_edge, one, b)
    is_near = xp.abs(y - x) < 0.5 * x
    near = xp.log1p(xp.where(is_near, y - x, 0.0 * one) / x)
    # Where the quotient is no number any more, the difference of the logarithms has all digits.
    by_logs = xp.log(y) - xp.log(x)
    is_number = xp.abs(by_logs) < 0.9 * math.log(float(xp.finfo(one.dtype).max))
    by_quotient = xp.log(xp.where(is_number, y, one) / xp.where(is_number, x, one))
    inside = xp.where(is_near, near, xp.where(is_number, by_quotient, by_logs))
    edge = xp.where(a == b, 0.0 * one, xp.where(a == 0.0, one * math.inf, -one * math.inf))
    return xp.where(is_edge, edge, inside)
