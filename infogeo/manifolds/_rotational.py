r"""Families whose Fisher metric is that of a surface of revolution, or of one in more dimensions.

Such a family has a radius r, which one parameter determines, and an angle or a direction. A tangent
vector has a part along the radius and parts across it. In an orthonormal frame of these, which the
family gives, all lengths are Euclidean; geodesics come from `infogeo.manifolds._revolution`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from array_api_compat import numpy as numpy_namespace

from infogeo import _array, _divergence, _points
from infogeo._array import REAL, UNIT_INTERVAL, Array, Namespace, Rule, bad_value
from infogeo.manifolds import _envelope, _family
from infogeo.manifolds._envelope import as_like, to_host
from infogeo.manifolds._family import Estimate
from infogeo.manifolds._revolution import Arc, Surface, connect, travel

Fields = Sequence[Array]


class Polar(NamedTuple):
    """Two points in polar coordinates, of numpy: what `_revolution.connect` takes, and directions.

    Parameters
    ----------
    r_1, r_2, gap, angle : array, shape (...)
        The angle is not negative.
    start, end : array, shape (..., m - 1)
        In the frames of the two points, unit vectors across the radius: along the geodesic from
        the first point to the second, where it turns.
    """

    r_1: np.ndarray
    r_2: np.ndarray
    gap: np.ndarray
    angle: np.ndarray
    start: np.ndarray
    end: np.ndarray


@dataclass(frozen=True)
class Exponential:
    """An exponential family: its e- and m-geometry.

    The functions take tuples of fields, and the namespace.

    Parameters
    ----------
    natural, expectation : (callable, callable)
        The natural parameters of fields, as a tuple, and the way back; the expectation parameters.
    e_mean, m_mean : callable
        ``e_mean(p, weights, axis, xp)``: the fields of the means, for weights of sum 1.
    e_moved, m_moved : callable
        ``e_moved(p, q, v, xp)``: the fields of a tangent vector, carried from p to q.
    kl : callable
        ``kl(p, q, xp)``: the Kullback-Leibler divergence.
    from_middle : callable
        ``from_middle(p, q, share, xp)``: the divergences to p and to q of the point whose natural
        parameters are share times those of p and (1 - share) times those of q.
    """

    natural: tuple[Callable[..., Fields], Callable[..., Fields]]
    expectation: tuple[Callable[..., Fields], Callable[..., Fields]]
    e_mean: Callable[..., Fields]
    m_mean: Callable[..., Fields]
    e_moved: Callable[..., Fields]
    m_moved: Callable[..., Fields]
    kl: Callable[[Fields, Fields, Namespace], Array]
    from_middle: Callable[[Fields, Fields, float, Namespace], tuple[Array, Array]]


@dataclass(frozen=True)
class Rotational:
    """The space of a family, derived from its frame and its polar coordinates.

    Parameters
    ----------
    POINTS, TANGENTS : type
        The classes of points and of tangent vectors.
    surface : callable
        ``surface(p)``: the surface of revolution, for fields p.
    frame, unframed : callable
        ``frame(p, v, xp)``: the parts of a tangent vector in the orthonormal frame, shape (..., m),
        the one along the radius first; ``unframed(p, x, xp)``: its fields.
    polar : callable
        ``polar(p, q)``: two points in polar coordinates, of fields of numpy.
    placed : callable
        ``placed(p, direction, r, angle)``: the fields of the point at a radius and an angle from p,
        in a direction across the radius.
    curvature : callable
        ``curvature(p, xp)``: the curvatures of planes with and without the radius.
    information : callable
        ``information(p, xp)``: the Fisher information matrix in the fields.
    christoffel : callable
        ``christoffel(p, xp)``: the Christoffel symbols in the fields.
    exponential : Exponential
        The e- and the m-geometry, and the divergences.
    DISTRIBUTIONS, log_density, window, SAMPLES, estimate, RAW
        As in `infogeo._spaces`.
    """

    POINTS: Any
    TANGENTS: Any
    surface: Callable[[Fields], Surface]
    frame: Callable[[Fields, Fields, Namespace], Array]
    unframed: Callable[[Fields, Array, Namespace], Fields]
    lowered: Callable[[Fields, np.ndarray], np.ndarray]
    polar: Callable[[Fields, Fields], Polar]
    placed: Callable[..., Fields]
    curvature: Callable[[Fields, Namespace], tuple[Array, Array]]
    information: Callable[[Fields, Namespace], Array]
    christoffel: Callable[[Fields, Namespace], Array]
    exponential: Exponential
    DISTRIBUTIONS: dict[str, Any]
    log_density: Callable[[Any, Any], Any]
    window: Callable[[Any], Any]
    SAMPLES: Rule | None = None
    estimate: Estimate | None = None
    RAW: Any = None
    REFUSED: ClassVar = _family.NO_SOLVE

    def dimension(self, a: Any, *, check: bool = True) -> int:
        """Return the number of parameters."""
        _, _, p = _family.gated(self, check, a=a)
        return max(2, p[0].shape[-1]) if a.event_axes[next(iter(a.rules))] else 2

    # ------------------------------------------------------------ the Fisher metric

    def inner_product(self, a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
        """Return the product of the parts in the orthonormal frame."""
        xp, _, p, u, v = _family.gated(self, check, a=a, u=u, v=v)
        return _array.as_number(xp.sum(self.frame(p, u, xp) * self.frame(p, v, xp), axis=-1))

    def norm(self, a: Any, v: Any, *, check: bool = True) -> Array:
        """Return the length of the parts in the orthonormal frame."""
        xp, _, p, v = _family.gated(self, check, a=a, v=v)
        return _array.norm(self.frame(p, v, xp), xp)

    def fisher_information(self, a: Any, *, check: bool = True) -> Array:
        """Return the Fisher information in the fields, shape (..., d, d)."""
        xp, _, p = _family.gated(self, check, a=a)
        return self.information(p, xp)

    def christoffel_symbols(self, a: Any, *, check: bool = True) -> Array:
        """Return the Christoffel symbols, shape (..., d, d, d): the upper index first."""
        xp, _, p = _family.gated(self, check, a=a)
        return self.christoffel(p, xp)

    def sectional_curvature(self, a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
        """Return the curvature of the plane of two vectors, NaN if they are parallel."""
        xp, _, p, u, v = _family.gated(self, check, a=a, u=u, v=v)
        x, y = self.frame(p, u, xp), self.frame(p, v, xp)
        with_radius, without = self.curvature(p, xp)
        mixed = x[..., :1] * y[..., 1:] - y[..., :1] * x[..., 1:]
        squared = xp.sum(mixed * mixed, axis=-1)
        x, y = x[..., 1:], y[..., 1:]
        area = xp.sum(x * x, axis=-1) * xp.sum(y * y, axis=-1) - xp.sum(x * y, axis=-1) ** 2
        area = _array.clip(area, xp, min=0.0) if x.shape[-1] > 1 else xp.zeros_like(squared)
        total = squared + area
        is_plane = total > 0.0
        shares = (y / xp.where(is_plane, total, xp.ones_like(total)) for y in (squared, area))
        share, rest = shares
        return _array.as_number(
            xp.where(is_plane, with_radius * share + without * rest, xp.nan * total)
        )

    # ------------------------------------------------------------ geodesics

    def fisher_rao_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the length of the shortest path; on torch it has first derivatives."""
        xp, _, p, q = _family.gated(self, check, a=a, b=b)
        if _envelope.needs_gradient(*p, *q):
            return _array.safe_sqrt(self._squared(a, b, p, q, xp), xp)
        return as_like(self._arc(p, q)[0].length, p[0], xp)

    def fisher_rao_squared_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the squared distance, smooth at a = b; on torch it has first derivatives."""
        xp, _, p, q = _family.gated(self, check, a=a, b=b)
        return _array.as_number(self._squared(a, b, p, q, xp))

    def log_map(self, a: Any, b: Any, *, check: bool = True) -> Any:
        """Return the velocity at a of the geodesic that reaches b at time 1."""
        xp, _, p, q = _family.gated(self, check, a=a, b=b)
        _envelope.require_no_gradient(*p, *q)
        arc, polar = self._arc(p, q)
        return self._vector(p, arc.length, arc.start, polar.start, xp)

    def exp_map(self, a: Any, v: Any, *, check: bool = True) -> Any:
        """Return the point that the geodesic with velocity v reaches at time 1."""
        xp, _, p, v = _family.gated(self, check, a=a, v=v)
        _envelope.require_no_gradient(*p, *v)
        fields = (as_like(x, p[0], xp) for x in self._reached(p, v))
        reached = _points.make(self.POINTS, *fields, xp=xp)
        if check:
            _require_numbers(reached)
        return reached

    def fisher_rao_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return the point at t of the shortest path, reached from its nearer end."""
        kinds = {"a": (self.POINTS, a), "b": (self.POINTS, b), "t": (UNIT_INTERVAL, t)}
        xp, p, q, t = _points.gate(check, **kinds)
        _envelope.require_no_gradient(*p, *q)
        arc, polar = self._arc(p, q)
        t = to_host(t)
        t = t.reshape((*t.shape, *(1,) * arc.length.ndim))
        p_host, q_host = ([to_host(x) for x in fields] for fields in (p, q))
        ends = []
        for fields, cosine, sine, across, way in (
            (p_host, *arc.start, polar.start, t),
            (q_host, -arc.end[0], arc.end[1], -polar.end, 1.0 - t),
        ):
            length = np.where(way <= 0.5, way, 0.0) * arc.length
            ends.append(self._walk(fields, cosine, sine, across, length))
        is_late = t > 0.5
        path = []
        for x, y, axes in zip(*ends, self.POINTS.event_axes.values(), strict=True):
            late = is_late.reshape((*is_late.shape, *(1,) * axes))
            path.append(as_like(np.where(late, y, x), p[0], xp))
        return _points.make(self.POINTS, *path, xp=xp)

    def parallel_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return a tangent vector at a, carried to b along the shortest path."""
        xp, _, p, q, v = _family.gated(self, check, a=a, b=b, v=v)
        _envelope.require_no_gradient(*p, *q, *v)
        arc, polar = self._arc(p, q)
        p_host, q_host, v_host = ([to_host(x) for x in fields] for fields in (p, q, v))
        moved = self._carried(self.frame(p_host, v_host, numpy_namespace), arc, polar)
        fields = self.unframed(q_host, moved, numpy_namespace)
        return _points.make(self.TANGENTS, *(as_like(x, p[0], xp) for x in fields), xp=xp)

    # ------------------------------------------------------------ the e- and the m-geometry

    def natural_parameters(self, a: Any, *, check: bool = True) -> tuple[Array, ...]:
        """Return the natural parameters."""
        xp, _, p = _family.gated(self, check, a=a)
        return tuple(self.exponential.natural[0](p, xp))

    def expectation_parameters(self, a: Any, *, check: bool = True) -> tuple[Array, ...]:
        """Return the expectation parameters."""
        xp, _, p = _family.gated(self, check, a=a)
        return tuple(self.exponential.expectation[0](p, xp))

    def from_natural_parameters(self, *theta: Any, check: bool = True) -> Any:
        """Return the point of natural parameters."""
        return self._from(self.exponential.natural[1], "theta", theta, check)

    def from_expectation_parameters(self, *eta: Any, check: bool = True) -> Any:
        """Return the point of expectation parameters."""
        return self._from(self.exponential.expectation[1], "eta", eta, check)

    def e_mean(self, points: Any, *, weights: Any = None, axis: int = 0, check: bool = True) -> Any:
        """Return the mean in the natural parameters."""
        xp, _, p, weights = _family.gated_mean(self, check, points, weights, axis)
        return _points.make(self.POINTS, *self.exponential.e_mean(p, weights, int(axis), xp), xp=xp)

    def m_mean(self, points: Any, *, weights: Any = None, axis: int = 0, check: bool = True) -> Any:
        """Return the mean in the expectation parameters."""
        xp, _, p, weights = _family.gated_mean(self, check, points, weights, axis)
        return _points.make(self.POINTS, *self.exponential.m_mean(p, weights, int(axis), xp), xp=xp)

    def e_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return points on the line in the natural parameters."""
        return self._line(self.exponential.e_mean, a, b, t, check)

    def m_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return points on the line in the expectation parameters."""
        return self._line(self.exponential.m_mean, a, b, t, check)

    def e_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return the vector at b with the same velocity of the natural parameters."""
        xp, _, p, q, v = _family.gated(self, check, a=a, b=b, v=v)
        return _points.make(self.TANGENTS, *self.exponential.e_moved(p, q, v, xp), xp=xp)

    def m_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return the vector at b with the same velocity of the expectation parameters."""
        xp, _, p, q, v = _family.gated(self, check, a=a, b=b, v=v)
        return _points.make(self.TANGENTS, *self.exponential.m_moved(p, q, v, xp), xp=xp)

    # ------------------------------------------------------------ divergences

    def kl_divergence(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the Kullback-Leibler divergence."""
        xp, _, p, q = _family.gated(self, check, a=a, b=b)
        return _array.as_number(self.exponential.kl(p, q, xp))

    def renyi_divergence(self, a: Any, b: Any, order: float, *, check: bool = True) -> Array:
        """Return the Renyi divergence of an order between 0 and 1, KL of order 1."""
        order = _divergence.finite_order(order, 1.0)
        xp, _, p, q = _family.gated(self, check, a=a, b=b)
        if order == 1.0:
            return _array.as_number(self.exponential.kl(p, q, xp))
        return _array.as_number(self._log_affinity(p, q, order, xp) / (1.0 - order))

    def bhattacharyya_coefficient(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the integral of the root of the product of the densities."""
        xp, _, p, q = _family.gated(self, check, a=a, b=b)
        return _array.as_number(xp.exp(-self._log_affinity(p, q, 0.5, xp)))

    def hellinger_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the root of 1 minus the Bhattacharyya coefficient."""
        xp, _, p, q = _family.gated(self, check, a=a, b=b)
        squared = -_array.expm1(-self._log_affinity(p, q, 0.5, xp), xp)
        return _array.as_number(_array.safe_sqrt(squared, xp))

    # ------------------------------------------------------------ shared

    def _log_affinity(self, p: Fields, q: Fields, share: float, xp: Namespace) -> Array:
        """Return -log of the integral of p^share q^(1 - share).

        It is the mean of the divergences to p and q from the point between them.
        """
        to_p, to_q = self.exponential.from_middle(p, q, share, xp)
        return share * to_p + (1.0 - share) * to_q

    def _from(
        self, inverse: Callable[..., Fields], name: str, given: tuple[Any, ...], check: bool
    ) -> Any:
        """Return the point of other parameters, which have to have one."""
        rules = {f"{name}_{i}": (REAL, x) for i, x in enumerate(given, 1)}
        xp, *arrays = _array.gate(check, **rules)
        with np.errstate(all="ignore"):
            fields = inverse(arrays, xp)
        try:
            return self.POINTS(*fields, check=check)
        except ValueError as error:
            raise bad_value(name, "be the means or natural parameters of a point", error) from None

    def _line(self, mean: Callable[..., Fields], a: Any, b: Any, t: Any, check: bool) -> Any:
        kinds = {"a": (self.POINTS, a), "b": (self.POINTS, b), "t": (UNIT_INTERVAL, t)}
        xp, p, q, t = _points.gate(check, **kinds)
        num_batch_axes = max(len(a.shape), len(b.shape))
        shares = xp.reshape(t, (*t.shape, *(1,) * num_batch_axes))
        weights = xp.stack([1.0 - shares, shares], axis=0)
        both = []
        for x, y in zip(p, q, strict=True):
            ends = xp.stack(xp.broadcast_arrays(x, y), axis=0)
            both.append(xp.reshape(ends, (2, *(1,) * t.ndim, *ends.shape[1:])))
        return _points.make(self.POINTS, *mean(tuple(both), weights, 0, xp), xp=xp)

    def _arc(self, p: Fields, q: Fields) -> tuple[Arc, Polar]:
        """Return the geodesic between points."""
        p, q = ([to_host(x) for x in fields] for fields in (p, q))
        polar = self.polar(p, q)
        return connect(self.surface(p), *polar[:4]), polar

    def _squared(self, a: Any, b: Any, p: Fields, q: Fields, xp: Namespace) -> Array:
        """Return the squared distance with its gradient."""
        shapes = _points.event_shapes(a)

        def solve(first: np.ndarray, second: np.ndarray, _: bool) -> tuple[np.ndarray, ...]:
            ends = [_unpacked(self.POINTS, x, shapes) for x in (first, second)]
            arc, polar = self._arc(*ends)
            slopes = (
                self.lowered(ends[0], _parts(-2.0 * arc.length, arc.start, polar.start)),
                self.lowered(ends[1], _parts(2.0 * arc.length, arc.end, polar.end)),
            )
            return arc.length**2, *slopes

        first, second = (_points.pack(_points.make(self.POINTS, *x, xp=xp), xp) for x in (p, q))
        return _envelope.squared_distance(first, second, solve, xp)

    def _vector(self, p: Fields, length: Any, direction: Any, across: Any, xp: Namespace) -> Any:
        on_host = [to_host(x) for x in p]
        fields = self.unframed(on_host, _parts(length, direction, across), numpy_namespace)
        return _points.make(self.TANGENTS, *(as_like(x, p[0], xp) for x in fields), xp=xp)

    def _reached(self, p: Fields, v: Fields) -> Fields:
        """Return the fields of the point that a velocity reaches."""
        on_host = [to_host(x) for x in p]
        x = self.frame(on_host, [to_host(y) for y in v], numpy_namespace)
        across = np.linalg.norm(x[..., 1:], axis=-1)
        direction = x[..., 1:] / np.where(across > 0.0, across, 1.0)[..., None]
        length = np.hypot(x[..., 0], across)
        is_moving = length > 0.0
        unit = np.where(is_moving, length, 1.0)
        cosine = np.where(is_moving, x[..., 0] / unit, 1.0)  # of whatever direction: no way is gone
        return self._walk(on_host, cosine, across / unit, direction, length)

    def _walk(
        self, p: list[np.ndarray], cosine: Any, sine: Any, across: np.ndarray, length: np.ndarray
    ) -> Fields:
        """Return the fields of the point at a length from p, in a direction."""
        r = self.polar(p, p).r_1
        journey = travel(self.surface(p), r, (cosine, sine), length)
        return self.placed(p, across, journey.r, journey.angle)

    def _carried(self, x: np.ndarray, arc: Arc, polar: Polar) -> np.ndarray:
        """Return the parts of a vector after transport: it keeps its angle to the geodesic."""
        radial, across = x[..., 0], x[..., 1:]
        turning = np.sum(across * polar.start, axis=-1)
        rest = across - turning[..., None] * polar.start
        (c, s), (c_end, s_end) = arc.start, arc.end
        along, beside = radial * c + turning * s, turning * c - radial * s
        radial, turning = along * c_end - beside * s_end, along * s_end + beside * c_end
        return np.concatenate([radial[..., None], turning[..., None] * polar.end + rest], axis=-1)


def _parts(length: np.ndarray, direction: Any, across: np.ndarray) -> np.ndarray:
    """Return the parts in the frame of a vector of a length."""
    cosine, sine = direction
    return np.concatenate(
        [(length * cosine)[..., None], (length * sine)[..., None] * across], axis=-1
    )


def _unpacked(kind: Any, packed: np.ndarray, shapes: Any) -> list[np.ndarray]:
    return _points.fields(_points.unpack(kind, packed, shapes, numpy_namespace))


def _require_numbers(reached: Any) -> None:
    """Raise if a velocity leads to parameters that overflow or underflow."""
    try:
        _points.gate(True, point=(type(reached), reached))
    except ValueError:
        raise bad_value(
            "v",
            "lead to a point whose parameters are numbers of their dtype",
            "one overflows or underflows",
            "Scale v down.",
        ) from None
