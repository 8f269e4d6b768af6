r"""Families whose Fisher metric is that of the hyperbolic half-plane, by way of `infogeo.normal`.

In a coordinate u of the location and a positive one s of the scale the metric is

.. math:: ds^2 = \frac{a \, du^2 + 2 b \, du \, ds + c \, ds^2}{s^2}

with constants a, b and c. With :math:`h = b / a`, :math:`C = c - b^2 / a` and
:math:`m = \sqrt{2 a / C} \, (u + h s)` that is :math:`C / 2` times the metric of the normal of mean
m and standard deviation s. So the geometry is that of `infogeo.normal`, and the curvature is
:math:`-1 / C`. Means of normals are measured from that of the first point, so that differences
keep their digits.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from infogeo import _array, _divergence, _spaces, normal
from infogeo._array import UNIT_INTERVAL, Array, Namespace, Rule
from infogeo._points import make
from infogeo._spaces import RawParameters
from infogeo.manifolds import _family
from infogeo.manifolds._family import Estimate
from infogeo.manifolds._line import IDENTITY, Coordinate
from infogeo.normal._distance import arc, squared_arc

Fields = tuple[Array, Array]
_NO_INTEGRAL = "its integral has no closed form. Integrate the densities, by scipy.integrate.quad."
# Why families lack verbs: those of Bhattacharyya's integral, or all divergences.
NO_AFFINITY = dict.fromkeys(
    ("bhattacharyya_coefficient", "hellinger_distance", "renyi_divergence"), _NO_INTEGRAL
)
NO_DIVERGENCES = NO_AFFINITY | dict.fromkeys(("kl_divergence", "jeffreys_divergence"), _NO_INTEGRAL)


@dataclass(frozen=True, repr=False)
class HalfPlane:
    """The space of a family with a location and a scale, derived from three constants.

    Verbs for which the family gives no formula are None.

    Parameters
    ----------
    POINTS, TANGENTS : type
        The classes of points and of tangent vectors. The parameters are two fields, of the location
        and of the scale, in this order; the constants of points are fields, too.
    metric : callable
        ``metric(xp, *constants)``: the numbers a, b and c.
    DISTRIBUTIONS : dict
        As in `infogeo._spaces`.
    REFLECTED : callable or None
        As in `infogeo._spaces`.
    log_density : callable
        ``log_density(point, x)``: the logarithm of the density at x, for plots; with numpy.
    window : callable
        ``window(point)``: the x to show, for plots.
    location, scale : Coordinate
        The coordinates u and s, as functions of the two fields.
    SAMPLES : Rule
        What samples have to be.
    estimate : callable
        ``estimate(samples, xp, *constants)``: the most likely parameters after samples along the
        first axis.
    kl, log_affinity : callable or None
        ``kl(p, q, xp, *constants)``: the Kullback-Leibler divergence of pairs of fields; minus the
        logarithm of the Bhattacharyya coefficient.
    renyi : callable or None
        ``renyi(p, q, order, xp)``: the Renyi divergence of an order in [0, 1).
    REFUSED : dict
        Why verbs are lacking.
    RAW : RawParameters or None
        The parameters that a network may put out. None: location and logarithm of the scale, where
        these are orthogonal.
    more : dict of callable
        Verbs by their names: those of exponential families.
    """

    POINTS: Any
    TANGENTS: Any
    metric: Callable[..., tuple[Any, Any, Any]]
    DISTRIBUTIONS: dict[str, Any]
    log_density: Callable[[Any, Any], Any]
    window: Callable[[Any], Any]
    location: Coordinate = IDENTITY
    scale: Coordinate = IDENTITY
    SAMPLES: Rule | None = None
    estimate: Estimate | None = None
    kl: Any = None
    log_affinity: Any = None
    renyi: Any = None
    REFUSED: Mapping[str, str] = field(default_factory=dict)
    RAW: RawParameters | None = None
    REFLECTED: Callable[[Any], tuple[Any, Any, float]] | None = None
    more: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.RAW is None and self.ORTHOGONAL and self.location is self.scale is IDENTITY:
            object.__setattr__(self, "RAW", _raw(*self.metric(None)))
        for verb, formula in _NEEDED.items():
            if getattr(self, formula) is None:
                object.__setattr__(self, verb, None)
        for verb, function in self.more.items():
            object.__setattr__(self, verb, function)
        object.__setattr__(self, "REFUSED", _WITHOUT | dict(self.REFUSED))

    @property
    def ORTHOGONAL(self) -> bool:  # noqa: N802  a declaration of the space
        """Whether all fields are coordinates, and location and scale are at right angles."""
        return not self.POINTS.constants and self.metric(None)[1] == 0.0

    def __repr__(self) -> str:
        return f"the space of {self.POINTS.__name__}"

    def dimension(self, a: Any, *, check: bool = True) -> int:
        """Return the number of parameters."""
        _family.gated(self, check, a=a)
        return 2

    # ------------------------------------------------------------ distance and metric

    def fisher_rao_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the multiple of the distance of the two normals."""
        return _family.each_pair(self, functools.partial(self._distance, arc, 1.0), check, a, b)

    def fisher_rao_squared_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the squared distance, smooth at a = b."""
        return _family.each_pair(
            self, functools.partial(self._distance, squared_arc, 2.0), check, a, b
        )

    def inner_product(self, a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
        """Return the Fisher metric of two tangent vectors."""
        xp, constants, p, u, v = _family.gated(self, check, a=a, u=u, v=v)
        first, second = (self._as_normal_vector(p, x, constants, xp) for x in (u, v))
        size = self._shape(constants, xp)[0]
        at = self._at_origin(p, xp)
        return _array.as_number(size * size * normal.inner_product(at, first, second, check=False))

    def norm(self, a: Any, v: Any, *, check: bool = True) -> Array:
        """Return the Fisher norm of a tangent vector."""
        xp, constants, p, v = _family.gated(self, check, a=a, v=v)
        vector = self._as_normal_vector(p, v, constants, xp)
        size = self._shape(constants, xp)[0]
        return _array.as_number(size * normal.norm(self._at_origin(p, xp), vector, check=False))

    def fisher_information(self, a: Any, *, check: bool = True) -> Array:
        """Return the Fisher information in the two fields, shape (..., 2, 2)."""
        xp, constants, p = _family.gated(self, check, a=a)
        a, b, c = self.metric(xp, *constants)
        pace, rate = self._paces(p, xp)
        s = self.scale.value(p[1], xp)
        zero = xp.zeros_like(pace)
        mixed = zero if _is_zero(b) else b * (rate / s) * self.location.slope(p[0], xp)
        rows = [[a * pace * pace, mixed], [mixed, c * rate * rate]]
        return xp.stack([xp.stack([x + zero for x in row], axis=-1) for row in rows], axis=-2)

    def christoffel_symbols(self, a: Any, *, check: bool = True) -> Array:
        """Return the Christoffel symbols, shape (..., 2, 2, 2): the upper index first."""
        xp, constants, p = _family.gated(self, check, a=a)
        a, b, c = self.metric(xp, *constants)
        h, size = b / a, a / (c - b * b / a)
        pace, rate = self._paces(p, xp)
        bends = self.location.bend(p[0], xp), self.scale.bend(p[1], xp)
        zero = xp.zeros_like(pace)
        ratio = rate / pace
        skew = [0.0, 0.0, 0.0] if _is_zero(b) else [h * pace, h * ratio * rate, h * pace]
        shared = 1.0 + size * h * h
        upper = (
            [[-size * skew[0] + bends[0], -rate * shared], [None, -shared * skew[1]]],
            [[size * (pace / ratio), size * skew[2]], [None, (shared - 2.0) * rate + bends[1]]],
        )
        tables = []
        for (first, mixed), (_, last) in upper:
            rows = [[first, mixed], [mixed, last]]
            columns = (xp.stack([x + zero for x in row], axis=-1) for row in rows)
            tables.append(xp.stack(list(columns), axis=-2))
        return xp.stack(tables, axis=-3)

    def sectional_curvature(self, a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
        """Return -1 / C, of whatever plane."""
        xp, constants, p, u, v = _family.gated(self, check, a=a, u=u, v=v)
        a, b, c = self.metric(xp, *constants)
        return _array.as_number(-1.0 / (c - b * b / a) + xp.zeros_like(p[0] + u[0] + v[0]))

    # ------------------------------------------------------------ geodesics

    def exp_map(self, a: Any, v: Any, *, check: bool = True) -> Any:
        """Return the point that the geodesic with velocity v reaches at time 1."""
        xp, constants, p, v = _family.gated(self, check, a=a, v=v)
        vector = self._as_normal_vector(p, v, constants, xp)
        reached = normal.exp_map(self._at_origin(p, xp), vector, check=False)
        fields = self._back(p, reached.mean, reached.std, constants, xp)
        _family.require_inside(xp.isfinite(fields[0]) & xp.isfinite(fields[1]), check, xp)
        return _family.point_of(self, fields, constants, xp)

    def log_map(self, a: Any, b: Any, *, check: bool = True) -> Any:
        """Return the velocity at a of the geodesic that reaches b at time 1."""
        xp, constants, p, q = _family.gated(self, check, a=a, b=b)
        start, end = self._ends(p, q, constants, xp)
        v = normal.log_map(start, end, check=False)
        return self._as_vector(p, v, constants, xp)

    def fisher_rao_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return the point at t of the shortest path from a (t = 0) to b (t = 1)."""
        xp, constants, p, q, t = _family.gated(self, check, a=a, b=b, t=(UNIT_INTERVAL, t))
        start, end = self._ends(p, q, constants, xp)
        path = normal.fisher_rao_geodesic(start, end, t, check=False)
        from_a = self._back(p, path.mean, path.std, constants, xp)
        start, end = self._ends(q, p, constants, xp)
        back = normal.fisher_rao_geodesic(start, end, 1.0 - t, check=False)
        from_b = self._back(q, back.mean, back.std, constants, xp)
        # A location has its digits beside that of the end that it is nearer to.
        gone, left = xp.abs(path.mean), xp.abs(back.mean)
        is_late = _array.as_leading(t, end.mean, xp) >= 0.5
        is_first = (gone < left) | ((gone == left) & ~is_late)
        fields = (xp.where(is_first, x, y) for x, y in zip(from_a, from_b, strict=True))
        return _family.point_of(self, fields, constants, xp)

    def parallel_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return a tangent vector at a, carried to b along the shortest path."""
        xp, constants, p, q, v = _family.gated(self, check, a=a, b=b, v=v)
        start, end = self._ends(p, q, constants, xp)
        vector = self._as_normal_vector(p, v, constants, xp)
        moved = normal.parallel_transport(start, end, vector, check=False)
        return self._as_vector(q, moved, constants, xp)

    # ------------------------------------------------------------ divergences

    def kl_divergence(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the Kullback-Leibler divergence."""
        return _family.each_pair(self, self.kl, check, a, b)

    def jeffreys_divergence(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the sum of the two Kullback-Leibler divergences."""
        return _family.each_pair(
            self, lambda p, q, *given: self.kl(p, q, *given) + self.kl(q, p, *given), check, a, b
        )

    def renyi_divergence(self, a: Any, b: Any, *, order: float, check: bool = True) -> Array:
        """Return the Renyi divergence of an order in [0, 1], KL of order 1."""
        order = _divergence.finite_order(order, 1.0)
        if order == 1.0:
            return _spaces.verb(self, "kl_divergence")(a, b, check=check)
        return _family.each_pair(
            self, lambda p, q, xp, *given: self.renyi(p, q, order, xp, *given), check, a, b
        )

    def bhattacharyya_coefficient(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the integral of the root of the product of the densities."""
        return _family.each_pair(
            self, lambda p, q, xp, *given: xp.exp(-self.log_affinity(p, q, xp, *given)), check, a, b
        )

    def hellinger_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the root of 1 minus the Bhattacharyya coefficient."""
        return _family.each_pair(
            self,
            lambda p, q, xp, *given: _array.safe_sqrt(
                -_array.expm1(-self.log_affinity(p, q, xp, *given), xp), xp
            ),
            check,
            a,
            b,
        )

    # ------------------------------------------------------------ the normals

    def _shape(self, constants: Any, xp: Namespace) -> tuple[Any, Any, Any]:
        """Return sqrt(C / 2), sqrt(2 a / C) and h."""
        a, b, c = self.metric(xp, *constants)
        size = 0.5 * (c - b * b / a)
        return size**0.5, (a / size) ** 0.5, b / a

    def _paces(self, p: Fields, xp: Namespace) -> tuple[Array, Array]:
        """Return du and ds of units of the two fields, divided by s."""
        pace = self.location.slope(p[0], xp) / self.scale.value(p[1], xp)
        return pace, self.scale.relative(p[1], xp)

    def _distance(
        self, arc_of: Any, power: float, p: Fields, q: Fields, xp: Namespace, *constants: Array
    ) -> Array:
        r"""Return a power of the distance, which is :math:`2 \sqrt C` times an arc.

        Differences of the coordinates have all their digits here, which those of normals need not
        have.
        """
        a, b, c = self.metric(xp, *constants)
        rest = c - b * b / a
        s, r = self.scale.value(p[1], xp), self.scale.value(q[1], xp)
        rise = self.scale.difference(p[1], q[1], xp)
        way = self.location.difference(p[0], q[0], xp)
        way = way if _is_zero(b) else way + b / a * rise
        between = arc_of((a / rest) ** 0.5 * way, rise, s, r, xp)
        return (2.0 * rest**0.5) ** power * between

    def _at_origin(self, p: Fields, xp: Namespace) -> normal.Normal:
        """Return the normal of a point, its mean moved to 0."""
        s = self.scale.value(p[1], xp)
        return make(normal.Normal, xp.zeros_like(s), s)

    def _ends(self, p: Fields, q: Fields, constants: Any, xp: Namespace) -> tuple[Any, ...]:
        """Return the normals of two points, moved so that the first has mean 0."""
        _, k, h = self._shape(constants, xp)
        way = self.location.difference(p[0], q[0], xp)
        if not _is_zero(h):
            way = way + h * self.scale.difference(p[1], q[1], xp)
        to = make(normal.Normal, k * way, self.scale.value(q[1], xp), xp=xp)
        return self._at_origin(p, xp), to

    def _back(
        self, p: Fields, way: Array, s: Array, constants: Any, xp: Namespace
    ) -> tuple[Array, Array]:
        """Return the fields of the normal whose mean is a way from that of a point."""
        _, k, h = self._shape(constants, xp)
        step = way / k - h * (s - self.scale.value(p[1], xp))
        return self.location.moved(p[0], step, xp), self.scale.inverse(s, xp)

    def _as_normal_vector(
        self, p: Fields, v: Fields, constants: Any, xp: Namespace
    ) -> normal.Tangent:
        _, k, h = self._shape(constants, xp)
        u, s = v[0] * self.location.slope(p[0], xp), v[1] * self.scale.slope(p[1], xp)
        return make(normal.Tangent, k * (u + h * s), s, xp=xp)

    def _as_vector(self, p: Fields, v: normal.Tangent, constants: Any, xp: Namespace) -> Any:
        _, k, h = self._shape(constants, xp)
        u = v.mean / k - h * v.std
        fields = u / self.location.slope(p[0], xp), v.std / self.scale.slope(p[1], xp)
        return make(self.TANGENTS, *fields, xp=xp)


def _is_zero(b: Any) -> bool:
    """Whether location and scale are at right angles, for all constants."""
    return isinstance(b, float) and b == 0.0


# ---------------------------------------------------------------- parameters of a network


def _raw(a: float, _: float, c: float) -> RawParameters:
    """Return the parameters of a network: those of normals, whose metric has a = 1 and c = 2."""
    functions = (_log_lengths, _raw_distance, _raw_geodesic)
    return RawParameters(
        ("locations", "logarithms of scales"), *(functools.partial(f, a, c) for f in functions)
    )


def _log_lengths(a, c, z, xp):
    _, log_scale = z
    return 0.5 * math.log(a) - log_scale, xp.full_like(log_scale, 0.5 * math.log(c))


def _as_normals(a, c, z):
    return (2.0 * a / c) ** 0.5 * z[0], z[1]


def _raw_distance(a, c, z, w, xp):
    ends = (_as_normals(a, c, x) for x in (z, w))
    return (0.5 * c) ** 0.5 * normal.RAW.distance(*ends, xp)


def _raw_geodesic(a, c, z, w, t, xp):
    ends = (_as_normals(a, c, x) for x in (z, w))
    mean, log_scale = normal.RAW.geodesic(*ends, t, xp)
    return (0.5 * c / a) ** 0.5 * mean, log_scale


# Why verbs are lacking, where nothing else is said.
_WITHOUT = {
    **dict.fromkeys(_family.OF_EXPONENTIAL_FAMILIES, "it is no exponential family."),
    **_family.NO_SOLVE,
}
# The formula that a verb needs.
_NEEDED = {
    "kl_divergence": "kl",
    "jeffreys_divergence": "kl",
    "bhattacharyya_coefficient": "log_affinity",
    "hellinger_distance": "log_affinity",
    "renyi_divergence": "renyi",
}
