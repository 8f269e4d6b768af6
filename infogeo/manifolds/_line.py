r"""Families of distributions with one parameter: lines, whose geometry is that of a coordinate.

On a line there is a coordinate x with :math:`ds = |dx|`. So the Fisher-Rao distance is the
difference of two coordinates, geodesics are straight in x, and parallel transport keeps the speed
in x. The e- and the m-geometry are the same in two other coordinates: the natural parameter and the
expectation parameter. A family declares its three coordinates by formulas in which nothing
cancels, and everything else is derived from them here.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from infogeo import _array, _divergence
from infogeo._array import REAL, UNIT_INTERVAL, Array, Namespace, Rule, bad_value
from infogeo._points import make
from infogeo._spaces import RawParameters
from infogeo.manifolds import _family
from infogeo.manifolds._family import Estimate, excess, log_cosh


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
    bend : callable or None
        ``bend(a, xp)``: the derivative of the logarithm of the slope, for Christoffel symbols.
    relative : callable or None
        ``relative(a, xp)``: the derivative of the logarithm of the coordinate, which is positive.
    mean : callable or None
        ``mean(a, weights, axis, xp)``: the parameter whose coordinate is the weighted mean of those
        of a, where the coordinate itself may overflow; the weights have the sum 1.
    """

    value: Callable[[Array, Namespace], Array]
    inverse: Callable[[Array, Namespace], Array]
    difference: Callable[[Array, Array, Namespace], Array]
    moved: Callable[[Array, Array, Namespace], Array]
    slope: Callable[[Array, Namespace], Array]
    bend: Any = None
    relative: Any = None
    mean: Any = None


# The parameter itself.
IDENTITY = Coordinate(
    value=lambda a, xp: a,
    inverse=lambda x, xp: x,
    difference=lambda a, b, xp: b - a,
    moved=lambda a, step, xp: a + step,
    slope=lambda a, xp: xp.ones_like(a),
    bend=lambda a, xp: xp.zeros_like(a),
    relative=lambda a, xp: 1.0 / a,
)


@dataclass(frozen=True, repr=False)
class Line:
    r"""The space of a family with one parameter, derived from its coordinates.

    Parameters
    ----------
    POINTS, TANGENTS : type
        The classes of points and of tangent vectors, each with one field, the parameter, beside
        the constants of points.
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
    SAMPLES : Rule
        What samples have to be.
    estimate : callable
        ``estimate(samples, xp, *constants)``: the most likely parameter after samples along the
        first axis, in a tuple.
    copies : str or None
        The constant that says how many independent copies an observation consists of, as the
        trials of a binomial distribution. All formulas are those of one copy.
    RAW : RawParameters or None
        The parameters that a network may put out.
    renyi : callable or None
        ``renyi(a, b, order, xp)``: the Renyi divergence of an order other than 1.
    """

    POINTS: Any
    TANGENTS: Any
    flat: Coordinate
    natural: Coordinate
    expectation: Coordinate
    kl: Callable[[Array, Array, Namespace], Array]
    log_affinity: Callable[[Array, Array, Namespace], Array]
    DISTRIBUTIONS: dict[str, Any]
    log_density: Callable[[Any, Any], Any]
    window: Callable[[Any], Any]
    SAMPLES: Rule | None = None
    estimate: Estimate | None = None
    copies: str | None = None
    RAW: RawParameters | None = None
    renyi: Any = None

    def __post_init__(self) -> None:
        if self.renyi is None:
            object.__setattr__(self, "renyi_divergence", None)

    @property
    def ORTHOGONAL(self) -> bool:  # noqa: N802  a declaration of the space
        """Whether all fields are coordinates."""
        return not self.POINTS.constants

    def __repr__(self) -> str:
        return f"the space of {self.POINTS.__name__}"

    REFUSED: ClassVar = {
        "sectional_curvature": "a family of one parameter has no planes."
    } | _family.NO_SOLVE

    def dimension(self, a: Any, *, check: bool = True) -> int:
        """Return the number of parameters."""
        self._gate(check, a=a)
        return 1

    # ------------------------------------------------------------ the Fisher metric

    def fisher_rao_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return |x(b) - x(a)| in the flat coordinate x."""
        return self._each(
            lambda a, b, copies, xp: (
                copies**0.5 * _array.safe_abs(self.flat.difference(a, b, xp), xp)
            ),
            check,
            a,
            b,
        )

    def fisher_rao_squared_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the squared distance, smooth at a = b."""
        return self._each(
            lambda a, b, copies, xp: copies * self.flat.difference(a, b, xp) ** 2, check, a, b
        )

    def inner_product(self, a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
        """Return the product of the speeds in the flat coordinate."""
        xp, _, copies, a, u, v = self._gate(check, a=a, u=u, v=v)
        return _array.as_number(copies * self._speed(a, u, xp) * self._speed(a, v, xp))

    def norm(self, a: Any, v: Any, *, check: bool = True) -> Array:
        """Return the absolute speed in the flat coordinate."""
        xp, _, copies, a, v = self._gate(check, a=a, v=v)
        return _array.as_number(copies**0.5 * xp.abs(self._speed(a, v, xp)))

    def fisher_information(self, a: Any, *, check: bool = True) -> Array:
        """Return the squared slope of the flat coordinate, shape (..., 1, 1)."""
        xp, _, copies, a = self._gate(check, a=a)
        return (copies * self.flat.slope(a, xp) ** 2)[..., None, None]

    def christoffel_symbols(self, a: Any, *, check: bool = True) -> Array:
        """Return the derivative of the logarithm of the slope, shape (..., 1, 1, 1)."""
        xp, _, _, a = self._gate(check, a=a)
        return self.flat.bend(a, xp)[..., None, None, None]

    def exp_map(self, a: Any, v: Any, *, check: bool = True) -> Any:
        """Return the point whose flat coordinate is that of a plus the speed of v."""
        xp, constants, _, a, v = self._gate(check, a=a, v=v)
        reached = self.flat.moved(a, self._speed(a, v, xp), xp)
        _family.require_inside(xp.isfinite(reached), check, xp)
        return _family.point_of(self, (reached,), constants, xp)

    def log_map(self, a: Any, b: Any, *, check: bool = True) -> Any:
        """Return the velocity at a whose speed is the difference of the flat coordinates."""
        xp, _, _, a, b = self._gate(check, a=a, b=b)
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
        xp, constants, (a,), weights = _family.gated_mean(self, check, points, weights, axis)
        mean = self.flat.inverse(_mean(self.flat.value(a, xp), weights, axis, xp), xp)
        pulls = self.flat.difference(xp.expand_dims(mean, axis=axis), a, xp)
        gradient = self._copies(constants) ** 0.5 * xp.abs(_mean(pulls, weights, axis, xp))
        return _family.point_of(self, (mean,), constants, xp), gradient

    def e_mean(self, points: Any, *, weights: Any = None, axis: int = 0, check: bool = True) -> Any:
        """Return the mean in the natural parameter."""
        xp, constants, (a,), weights = _family.gated_mean(self, check, points, weights, axis)
        if self.natural.mean is not None:
            mean = self.natural.mean(a, weights, int(axis), xp)
            return _family.point_of(self, (mean,), constants, xp)
        # Differences from the largest point: logarithms of large numbers have lost digits.
        largest = xp.max(a, axis=axis, keepdims=True)
        step = _mean(self.natural.difference(largest, a, xp), weights, axis, xp)
        mean = self.natural.moved(xp.squeeze(largest, axis=axis), step, xp)
        return _family.point_of(self, (mean,), constants, xp)

    def m_mean(self, points: Any, *, weights: Any = None, axis: int = 0, check: bool = True) -> Any:
        """Return the mean in the expectation parameter."""
        xp, constants, (a,), weights = _family.gated_mean(self, check, points, weights, axis)
        x = self.expectation
        if x.mean is not None:
            mean = x.mean(a, weights, int(axis), xp)
        else:
            mean = x.inverse(_mean(x.value(a, xp), weights, axis, xp), xp)
        return _family.point_of(self, (mean,), constants, xp)

    def natural_parameters(self, a: Any, *, check: bool = True) -> Array:
        """Return the natural parameter."""
        xp, _, _, a = self._gate(check, a=a)
        return _array.as_number(self.natural.value(a, xp))

    def from_natural_parameters(self, theta: Any, *, check: bool = True, **constants: Any) -> Any:
        """Return the point of a natural parameter, and of constants by their names."""
        xp, theta = _array.gate(check, theta=(REAL, theta))
        return self._point(self.natural.inverse(theta, xp), constants, check)

    def expectation_parameters(self, a: Any, *, check: bool = True) -> Array:
        """Return the expectation parameter."""
        xp, _, copies, a = self._gate(check, a=a)
        return _array.as_number(copies * self.expectation.value(a, xp))

    def from_expectation_parameters(self, eta: Any, *, check: bool = True, **constants: Any) -> Any:
        """Return the point of an expectation parameter, and of constants by their names."""
        xp, eta = _array.gate(check, eta=(REAL, eta))
        eta = eta / constants[self.copies] if self.copies else eta
        return self._point(self.expectation.inverse(eta, xp), constants, check)

    # ------------------------------------------------------------ divergences

    def kl_divergence(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the Kullback-Leibler divergence."""
        return self._each(lambda a, b, copies, xp: copies * self.kl(a, b, xp), check, a, b)

    def jeffreys_divergence(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the sum of the two divergences: parameters themselves may overflow."""
        return self._each(
            lambda a, b, copies, xp: copies * (self.kl(a, b, xp) + self.kl(b, a, xp)), check, a, b
        )

    def renyi_divergence(self, a: Any, b: Any, *, order: float, check: bool = True) -> Array:
        """Return the Renyi divergence, inf where the integral is."""
        order = _divergence.finite_order(order)
        if order == 1.0:
            return self.kl_divergence(a, b, check=check)
        return self._each(
            lambda a, b, copies, xp: copies * self.renyi(a, b, order, xp), check, a, b
        )

    def bhattacharyya_coefficient(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the integral of the root of the product of the densities."""
        return self._each(
            lambda a, b, copies, xp: xp.exp(-copies * self.log_affinity(a, b, xp)), check, a, b
        )

    def hellinger_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the root of 1 minus the Bhattacharyya coefficient."""
        return self._each(
            lambda a, b, copies, xp: _array.safe_sqrt(
                -_array.expm1(-copies * self.log_affinity(a, b, xp), xp), xp
            ),
            check,
            a,
            b,
        )

    # ------------------------------------------------------------ shared

    def _gate(self, check: bool, **arguments: Any) -> tuple[Any, ...]:
        """Return the namespace, constants, copies, and the parameters of points and vectors."""
        xp, constants, *fields = _family.gated(self, check, **arguments)
        parameters = (parameter for (parameter,) in fields)
        return (xp, constants, self._copies(constants), *parameters)

    def _each(self, formula: Callable[..., Array], check: bool, a: Any, b: Any) -> Array:
        """Return formula(a, b, copies, xp) of the parameters of two points."""
        return _family.each_pair(
            self, lambda p, q, xp, *c: formula(*p, *q, self._copies(c), xp), check, a, b
        )

    def _copies(self, constants: Any) -> Any:
        if self.copies is None:
            return 1.0
        return constants[self.POINTS.constants.index(self.copies)]

    def _point(self, parameter: Array, constants: dict[str, Any], check: bool) -> Any:
        (name,) = _family.parameters_of(self.POINTS)
        return self.POINTS(**{name: parameter}, **constants, check=check)

    def _speed(self, a: Array, v: Array, xp: Namespace) -> Array:
        """Return the speed of a vector in the flat coordinate, 0 for 0 at an edge, too."""
        slope = self.flat.slope(a, xp)
        return v * xp.where(v == 0.0, xp.ones_like(slope), slope)

    def _geodesic(self, x: Coordinate, a: Any, b: Any, t: Any, check: bool) -> Any:
        """Return the point on the straight line of a coordinate, from its nearer end."""
        xp, constants, (a,), (b,), t = _family.gated(self, check, a=a, b=b, t=(UNIT_INTERVAL, t))
        t = _array.as_leading(t, a + b, xp)
        if x.mean is not None:
            weights = xp.broadcast_arrays(1.0 - t, t, a + b)[:2]
            ends = xp.broadcast_arrays(a, b, weights[0])[:2]
            inside = x.mean(xp.stack(ends), xp.stack(weights), 0, xp)
            reached = xp.where(t == 0.0, a, xp.where(t == 1.0, b, inside))
            return _family.point_of(self, (reached,), constants, xp)
        difference = x.difference(a, b, xp)
        zero = xp.zeros_like(t * a)
        from_a = x.moved(a, t * xp.where(t == 0.0, zero, difference), xp)
        from_b = x.moved(b, (t - 1.0) * xp.where(t == 1.0, zero, difference), xp)
        return _family.point_of(self, (xp.where(t < 0.5, from_a, from_b),), constants, xp)

    def _transported(self, x: Coordinate, a: Any, b: Any, v: Any, check: bool) -> Any:
        xp, _, _, a, b, v = self._gate(check, a=a, b=b, v=v)
        return make(self.TANGENTS, v * (x.slope(a, xp) / x.slope(b, xp)))


def _mean(x: Array, weights: Array, axis: int, xp: Namespace) -> Array:
    """Return the weighted mean over an axis; weight 0 leaves out even infinite entries."""
    return xp.sum(weights * xp.where(weights > 0.0, x, xp.zeros_like(x)), axis=int(axis))


# ---------------------------------------------------------------- formulas that families share


def log_ratio(a: Array, b: Array, xp: Namespace, difference: Array | None = None) -> Array:
    """Return log(b / a) of numbers that are not negative, to full relative precision.

    The difference b - a, if the caller knows more digits of it than a and b have.
    """
    difference = b - a if difference is None else difference
    has_derivatives, most = _array.has_derivatives(a, b, difference), math.inf
    with _array.quiet(xp):
        # The logarithm of the larger number over the smaller one, and its sign.
        if has_derivatives:  # also at a = b, where those of minima and absolute values are others
            is_up = difference >= 0.0
            smaller = xp.where(is_up, a, b)
            share = xp.where(is_up, difference, -difference) / smaller
            size = xp.log1p(share)
            found = xp.where(is_up, size, -size)
            most = float(xp.finfo(found.dtype).max) ** (1 / 3)  # of the share, and two derivatives
        else:
            smaller = xp.minimum(a, b)
            share = xp.abs(difference) / smaller
            found = xp.copysign(xp.log1p(share), difference)
    return _array.mended(
        found,
        (share < most) & (smaller > 1.0 / most) if has_derivatives else share < most,
        functools.partial(_log_of_any_ratio, xp),
        a,
        b,
        difference,
    )


def _log_of_any_ratio(xp: Namespace, a: Array, b: Array, difference: Array) -> Array:
    """Return log(b / a) of numbers that may be 0, or whose quotient overflows."""
    one = xp.ones_like(a + b)
    is_edge = (a == 0.0) | (b == 0.0)
    x, y = xp.where(is_edge, one, a), xp.where(is_edge, one, b)
    is_near = (xp.abs(difference) < 0.5 * x) & ~is_edge
    near = xp.log1p(xp.where(is_near, difference, 0.0 * one) / x)
    # Where the quotient is no number any more, the difference of the logarithms has all digits.
    by_logs = xp.log(y) - xp.log(x)
    is_number = xp.abs(by_logs) < 0.9 * math.log(float(xp.finfo(one.dtype).max))
    by_quotient = xp.log(xp.where(is_number, y, one) / xp.where(is_number, x, one))
    # Derivatives are those of the logarithms: those of a quotient may overflow on the way.
    digits = _array.detached(xp.where(is_number, by_quotient - by_logs, 0.0 * one))
    inside = xp.where(is_near, near, by_logs + digits)
    edge = xp.where(a == b, 0.0 * one, xp.where(a == 0.0, one * math.inf, -one * math.inf))
    return xp.where(is_edge, edge, inside)


def relative_entropy(a: Array, b: Array, xp: Namespace, difference: Array | None = None) -> Array:
    r"""Return :math:`b - a - a \log(b / a)`, as a (e^y - 1 - y) with y = log(b / a).

    The difference b - a, if the caller knows more digits of it than a and b have.
    """
    is_edge = (a == 0.0) | (b == 0.0)
    one, zero = xp.ones_like(a + b), xp.zeros_like(a + b)
    difference = b - a if difference is None else difference
    way = xp.where(is_edge, zero, difference)
    y = log_ratio(xp.where(is_edge, one, a), xp.where(is_edge, one, b), xp, difference=way)
    is_near = xp.abs(y) < 1.0
    near = a * _divergence.expm1_minus(xp.where(is_near, y, zero), xp)
    far = difference - a * xp.where(is_near, zero, y)
    edge = xp.where(a == 0.0, b, one * math.inf)  # a has outcomes that b excludes
    return xp.where(is_edge, edge, xp.where(is_near, near, far))


def power(exponent: float, factor: float = 1.0) -> Coordinate:
    """Return the coordinate factor a^exponent of a positive parameter a."""

    def difference(a: Array, b: Array, xp: Namespace) -> Array:
        if exponent == -1.0:
            return factor * ((a - b) / xp.maximum(a, b) / xp.minimum(a, b))
        if exponent == -0.5:
            roots = xp.sqrt(a), xp.sqrt(b)
            return factor * ((a - b) / (roots[0] + roots[1]) / roots[0] / roots[1])
        y = exponent * log_ratio(a, b, xp)
        is_near = xp.abs(y) < 1.0  # elsewhere nothing cancels, and the ratio may overflow
        near = a**exponent * _array.expm1(xp.where(is_near, y, xp.zeros_like(y)), xp)
        return factor * xp.where(is_near, near, b**exponent - a**exponent)

    def moved(a: Array, step: Array, xp: Namespace) -> Array:
        growth = 1.0 + step / factor * a**-exponent
        return a * xp.where(growth > 0.0, growth, xp.nan) ** (1.0 / exponent)

    def mean(a: Array, weights: Array, axis: int, xp: Namespace) -> Array:
        """Return the power mean, beside the largest power that counts."""
        is_used, pick = weights > 0.0, xp.max if exponent > 0.0 else xp.min
        least = 0.0 if exponent > 0.0 else math.inf
        unit = pick(xp.where(is_used, a, least + 0.0 * weights), axis=axis, keepdims=True)
        y = xp.where(is_used, exponent * log_ratio(unit, a, xp), 0.0 * weights)
        excess = xp.sum(weights * _array.expm1(y, xp), axis=axis)
        is_near = excess > -0.5
        near = xp.log1p(xp.where(is_near, excess, xp.zeros_like(excess)))
        total = xp.sum(weights * xp.exp(y), axis=axis)
        far = xp.log(xp.where(is_near, xp.ones_like(total), total))
        log_mean = xp.where(is_near, near, far)
        return xp.squeeze(unit, axis=axis) * xp.exp(log_mean / exponent)

    return Coordinate(
        relative=lambda a, xp: exponent / a,
        mean=mean,
        value=lambda a, xp: factor * a**exponent,
        inverse=lambda x, xp: (x / factor) ** (1.0 / exponent),
        difference=difference,
        moved=moved,
        slope=lambda a, xp: factor * exponent * a ** (exponent - 1.0),
        bend=lambda a, xp: (exponent - 1.0) / a,
    )


# The logarithm of a positive parameter.
LOGARITHM = Coordinate(
    value=lambda a, xp: xp.log(a),
    inverse=lambda x, xp: xp.exp(x),
    difference=log_ratio,
    moved=_array.times_exp,
    slope=lambda a, xp: 1.0 / a,
    bend=lambda a, xp: -1.0 / a,
)


def with_geometric_mean(
    a: Array, b: Array, order: float, xp: Namespace, difference: Array | None = None
) -> tuple[Array, Array]:
    r"""Return :math:`g = a^n b^{1 - n}` and what :math:`n a + (1 - n) b` is beyond it, of order n.

    The difference b - a, if the caller knows more digits of it than a and b have.
    """
    is_edge, rest = (a == 0.0) | (b == 0.0), 1.0 - order
    one, zero = xp.ones_like(a + b), xp.zeros_like(a + b)
    difference = b - a if difference is None else difference
    x, way = xp.where(is_edge, one, a), xp.where(is_edge, zero, difference)
    y = log_ratio(x, xp.where(is_edge, one, b), xp, difference=way)
    mean = _array.times_exp(x, rest * y, xp)
    largest = max(abs(order), abs(rest)) * xp.abs(y)
    is_near = (largest < 300.0) if 0.0 < order < 1.0 else xp.abs(y) < 1.0
    near = xp.where(is_near, y, zero)
    gap = mean * (order * excess(-rest * near, xp) + rest * excess(order * near, xp))
    mean = xp.where(is_edge, xp.where((b == 0.0) & (a > 0.0) & (rest < 0.0), math.inf, zero), mean)
    return mean, xp.where(is_near & ~is_edge, gap, order * a + rest * b - mean)


def renyi_of_rates(y: Array, order: float, xp: Namespace) -> Array:
    r"""Return :math:`(\log (n + (1 - n) e^y) - (1 - n) y) / (1 - n)`, of order n, or inf.

    It is the Renyi divergence of exponential distributions whose rates have the log ratio y.
    """
    rest, zero = 1.0 - order, xp.zeros_like(y)
    if order == 0.0:
        return zero
    is_near = xp.abs(y) < 1.0
    grown = _array.expm1(xp.where(y < 30.0, y, zero + 30.0), xp)
    is_inside = (rest * grown > -1.0) & ((y < 30.0) | (rest > 0.0))
    near = xp.where(is_near & is_inside, y, zero)
    parts = (
        share * excess(-xp.log1p(other * _array.expm1(sign * near, xp)), xp)
        for share, other, sign in ((order, rest, 1.0), (rest, order, -1.0))
    )
    by_parts = sum(parts, zero)
    # From the larger of the two rates.
    is_up = (y > 0.0) & (rest > 0.0)
    decay = xp.exp(-xp.abs(xp.where(is_near, zero + 1.0, y)))
    up = xp.log(order * decay + abs(rest)) + order * y
    other = xp.where(is_inside & ~is_up, rest * grown, zero)
    down = xp.log1p(other) - rest * y
    found = xp.where(is_near, by_parts, xp.where(is_up, up, down)) / rest
    return xp.where(is_inside, found, zero + math.inf)


def scale_family(
    POINTS: Any,
    TANGENTS: Any,
    *,
    shape: float,
    exponent: float,
    factor: float = 1.0,
    **declared: Any,
) -> Line:
    r"""Return the space of a family in which a statistic has a gamma distribution.

    The statistic has the fixed shape k and the rate :math:`\lambda = c \, a^e`, a power of the
    parameter. The metric is :math:`k \, (d \log \lambda)^2`.

    Parameters
    ----------
    POINTS, TANGENTS : type
        As in `Line`.
    shape, exponent, factor : float
        k, e and c.
    **declared
        What else a `Line` declares.
    """
    speed = shape**0.5 * exponent
    rate = power(exponent, -factor)
    (name,) = _family.parameters_of(POINTS)
    raw = (functools.partial(function, speed) for function in _RAW_OF_SCALES)
    return Line(
        POINTS=POINTS,
        TANGENTS=TANGENTS,
        flat=scaled(LOGARITHM, speed),
        natural=rate,
        expectation=power(-exponent, shape / factor),
        kl=lambda a, b, xp: shape * excess(exponent * log_ratio(a, b, xp), xp),
        log_affinity=lambda a, b, xp: shape * log_cosh(0.5 * exponent * log_ratio(a, b, xp), xp),
        renyi=lambda a, b, order, xp: (
            shape * renyi_of_rates(exponent * log_ratio(a, b, xp), order, xp)
        ),
        RAW=RawParameters((f"logarithms of {name}s",), *raw),
        **declared,
    )


def _log_lengths(speed, z, xp):
    return (xp.full_like(z[0], math.log(abs(speed))),)


def _raw_distance(speed, z, w, xp):
    return abs(speed) * _array.safe_abs(z[0] - w[0], xp)


def _raw_geodesic(speed, z, w, t, xp):
    t = _array.as_leading(t, z[0], xp)
    return ((1.0 - t) * z[0] + t * w[0],)


_RAW_OF_SCALES = (_log_lengths, _raw_distance, _raw_geodesic)


def scaled(x: Coordinate, factor: float) -> Coordinate:
    """Return a multiple of a coordinate."""
    return Coordinate(
        value=lambda a, xp: factor * x.value(a, xp),
        inverse=lambda y, xp: x.inverse(y / factor, xp),
        difference=lambda a, b, xp: factor * x.difference(a, b, xp),
        moved=lambda a, step, xp: x.moved(a, step / factor, xp),
        slope=lambda a, xp: factor * x.slope(a, xp),
        bend=x.bend,
    )
