r"""The space of Dirichlet distributions, and of beta distributions, which are those of two shares.

A point is packed into one array of concentrations (..., k). The metric and the divergences are
formulas for any library. Geodesics are solved for on the host, in float64.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from infogeo import _array, _divergence, _points
from infogeo._array import UNIT_INTERVAL, Array, Namespace, bad_value
from infogeo._docs import finish
from infogeo._points import make
from infogeo._result import Result
from infogeo._status import SolveError, Status
from infogeo._system.registry import storable
from infogeo.manifolds import _differences, _dirichlet, _envelope, _family, _special, _spectral
from infogeo.manifolds._dirichlet import place, plain, squared

_SAMPLES = 17  # points of a curve that a connection shows
_EPS = float(np.finfo(np.float64).eps)


@storable("manifolds.Connection")
@dataclass(frozen=True, eq=False, repr=False)
class Connection(Result):
    """The geodesic between two points, and a bracket that proves its length.

    Parameters
    ----------
    distance : array, shape (...)
        The length of the curve that was found.
    lower, upper : array, shape (...)
        The Fisher-Rao distance is between them: 0 and inf for a curve that proves nothing.
    turning : array, shape (...)
        How far the curve turns in all, in radians: 0 for a geodesic. The lower bound is the length
        times the cosine of its half.
    initial_velocity, final_velocity : tangent vector
        At the first point (the log map) and on arrival at the second one.
    curve : point
        Points at 17 equal steps of time, along a new first axis.
    steps : int array, shape (...)
        Newton steps.
    status : Status
        CONVERGED if each bracket is as tight as was asked for; MAX_STEPS if the finest curve is not
        enough for one of them.
    """

    distance: Array
    lower: Array
    upper: Array
    turning: Array
    initial_velocity: Any
    final_velocity: Any
    curve: Any
    steps: Array
    status: Status


@dataclass(frozen=True)
class Concentrations:
    """The space of a family whose parameters are concentrations.

    Parameters
    ----------
    POINTS, TANGENTS : type
        The classes of points and of tangent vectors; their fields are the concentrations.
    DISTRIBUTIONS : dict
        As in `infogeo._spaces`.
    log_density : callable
        ``log_density(point, x)``: the logarithm of the density at x; with numpy.
    draw : callable
        ``draw(point, size, rng)``: samples of numpy.
    """

    POINTS: Any
    TANGENTS: Any
    DISTRIBUTIONS: dict[str, Any]
    log_density: Callable[[Any, Any], Any]
    draw: Callable[[Any, Any, Any], Any]

    # ------------------------------------------------------------ the Fisher metric

    def dimension(self, a: Any, *, check: bool = True) -> int:
        """Return the number of concentrations."""
        _, a = self._gate(check, a=a)
        return int(a.shape[-1])

    def inner_product(self, a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
        """Return the Fisher metric of two tangent vectors."""
        xp, a, u, v = self._gate(check, a=a, u=u, v=v)
        total = xp.sum(a, axis=-1, keepdims=True)
        means = [xp.sum(x, axis=-1, keepdims=True) / total for x in (u, v)]
        spread = xp.sum(a * (u / a - means[0]) * (v / a - means[1]), axis=-1)
        own = xp.sum(_special.trigamma_excess(a, xp) * (u / a) * (v / a), axis=-1)
        common = _special.trigamma_excess(total, xp) * means[0] * means[1]
        return _array.as_number(spread + own - common[..., 0])

    def norm(self, a: Any, v: Any, *, check: bool = True) -> Array:
        """Return the Fisher norm of a tangent vector."""
        # The norm of a multiple is as exact: a vector of 1e-200 has a square that underflows.
        xp, _, v_packed = self._gate(check, a=a, v=v)
        largest = _array.detached(xp.max(xp.abs(v_packed), axis=-1))
        size = xp.where(largest > 0.0, largest, xp.ones_like(largest))
        unit = self._vector(v_packed / size[..., None])
        inner = self.inner_product(a, unit, unit, check=False)
        return _array.as_number(size * _array.safe_sqrt(_array.clip(inner, xp, min=0.0), xp))

    def fisher_information(self, a: Any, *, check: bool = True) -> Array:
        """Return the matrix diag trigamma(a_i) - trigamma(S)."""
        xp, a = self._gate(check, a=a)
        total = xp.sum(a, axis=-1, keepdims=True)[..., None]
        k = a.shape[-1]
        identity = xp.eye(k, dtype=a.dtype, device=_array.device_of(a))
        of_sum = _special.trigamma(total, xp)
        # On the diagonal 1 / a_i - 1 / S is (S - a_i) / (a_i S), with S - a_i from the others.
        others = xp.sum((1.0 - identity) * a[..., None, :], axis=-1)
        whole = total[..., 0]
        own, common = (_special.trigamma_excess(x, xp) for x in (a, whole))
        gap = others / whole / a
        diagonal = gap * (1.0 + own * (1.0 / a + 1.0 / whole)) + (own - common) / whole / whole
        return xp.where(identity > 0.0, diagonal[..., None], -of_sum)

    def christoffel_symbols(self, a: Any, *, check: bool = True) -> Array:
        """Return the Christoffel symbols, (..., k, k, k), the upper index first."""
        xp, a = self._gate(check, a=a)
        x = self._host(a)
        flat = x.reshape(-1, x.shape[-1])
        k = flat.shape[-1]
        pairs = np.stack(np.meshgrid(*[np.arange(k)] * 2, indexing="ij")).reshape(2, -1)
        units = np.eye(k)[pairs]  # (2, k^2, k)
        at = place(flat[..., None])
        u, v = (unit.T / flat[..., None] for unit in units)
        with np.errstate(all="ignore"):
            symbols = -_dirichlet.acceleration(at, plain(at, u), plain(at, v)) * flat[..., None]
        _require_numbers("a", symbols, check, "have Christoffel symbols that are numbers")
        return self._like(symbols.reshape(*x.shape, k, k), a, xp)

    def sectional_curvature(self, a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
        """Return the sectional curvature of a plane, which is negative."""
        xp, a, u, v = self._gate(check, a=a, u=u, v=v)
        batch = np.broadcast_shapes(*(tuple(x.shape) for x in (a, u, v)))
        x, y, z = (np.broadcast_to(self._host(t), batch).reshape(-1, batch[-1]) for t in (a, u, v))
        at = place(x[..., None])
        return self._like(
            _dirichlet.curvature(at, (y / x)[..., None], (z / x)[..., None]).reshape(batch[:-1]),
            a,
            xp,
        )

    # ------------------------------------------------------------ distance and geodesics

    def fisher_rao_distance(
        self, a: Any, b: Any, *, rtol: float = 1e-12, check: bool = True
    ) -> Array:
        """Return the length of the geodesic; its bracket is tighter than rtol, relative."""
        xp, a, b = self._gate(check, a=a, b=b)
        squared = _envelope.squared_distance(a, b, self._solve(rtol, a, xp), xp)
        return _array.as_number(_array.safe_sqrt(squared, xp))

    def fisher_rao_squared_distance(
        self, a: Any, b: Any, *, rtol: float = 1e-12, check: bool = True
    ) -> Array:
        """Return the squared distance, whose gradient is -2 times the log map."""
        xp, a, b = self._gate(check, a=a, b=b)
        return _envelope.squared_distance(a, b, self._solve(rtol, a, xp), xp)

    def connect(
        self, a: Any, b: Any, *, rtol: float = 1e-12, throw: bool = True, check: bool = True
    ) -> Connection:
        """Solve for the geodesic: its length with a bracket, its velocities, points on it."""
        xp, a, b = self._gate(check, a=a, b=b)
        _envelope.require_no_gradient(a, b)
        found = _found(self._host(a), self._host(b), _checked(rtol), is_curve=True)
        return self._connection(found, a, rtol, throw, xp)

    def log_map(self, a: Any, b: Any, *, check: bool = True) -> Any:
        """Return the velocity at a of the geodesic that reaches b at time 1."""
        return self.connect(a, b, check=check).initial_velocity

    def exp_map(self, a: Any, v: Any, *, check: bool = True) -> Any:
        """Return the point that the geodesic with velocity v reaches at time 1."""
        xp, a, v = self._gate(check, a=a, v=v)
        _envelope.require_no_gradient(a, v)
        batch = np.broadcast_shapes(tuple(a.shape), tuple(v.shape))
        x, y = (np.broadcast_to(self._host(t), batch).reshape(-1, batch[-1]) for t in (a, v))
        reached, _, _ = _dirichlet.flow(x, _dirichlet.parts_of(y / x), [])
        _require_positive("v", reached, check, "Scale v down.")
        return self._point(self._like(reached.reshape(batch), a, xp))

    def fisher_rao_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return the points at shares t of the way, each from its nearer end."""
        kinds = {"a": (self.POINTS, a), "b": (self.POINTS, b), "t": (UNIT_INTERVAL, t)}
        xp, a, b, t = _points.gate(check, **kinds)
        a, b = (self._packed(x, xp) for x in (a, b))
        _envelope.require_no_gradient(a, b)
        x, y = self._host(a), self._host(b)
        found = _found(x, y, 1e-12, is_curve=True)
        self._connection(found, a, 1e-12, True, xp)
        times = _envelope.to_host(t)
        batch = np.broadcast_shapes(x.shape, y.shape)
        share = times.reshape(-1, 1, 1)
        is_late = share >= 0.5
        begin = np.where(is_late, found.b, found.a).reshape(-1, batch[-1])
        velocity = np.where(is_late, (share - 1.0) * found.end, share * found.start)
        parts = _dirichlet.parts_of(velocity.reshape(-1, batch[-1]))
        reached, _, _ = _dirichlet.flow(begin, parts, [])
        _require_positive("b", reached, check)
        return self._point(self._like(reached.reshape(*times.shape, *batch), a, xp))

    def parallel_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return a vector at a, carried to b along the geodesic."""
        xp, a, b, v = self._gate(check, a=a, b=b, v=v)
        _envelope.require_no_gradient(a, b, v)
        batch = np.broadcast_shapes(*(tuple(x.shape) for x in (a, b, v)))
        x, y, z = (np.broadcast_to(self._host(t), batch).reshape(-1, batch[-1]) for t in (a, b, v))
        found = _found(x, y, 1e-12, is_curve=True)
        self._connection(found, a, 1e-12, True, xp)
        _, _, (carried,) = _dirichlet.flow(x, _dirichlet.parts_of(found.start), [z / x])
        return self._vector(self._like((carried * y).reshape(batch), a, xp))

    # ------------------------------------------------------------ the e- and the m-geometry

    def natural_parameters(self, a: Any, *, check: bool = True) -> Any:
        """Return the concentrations: those of the sufficient statistics log x."""
        _, a = self._gate(check, a=a)
        return self._shown(a)

    def from_natural_parameters(self, *theta: Any, check: bool = True) -> Any:
        """Return the point of natural parameters."""
        return self.POINTS(*theta, check=check)

    def expectation_parameters(self, a: Any, *, check: bool = True) -> Any:
        """Return the means of the logarithms of the shares."""
        xp, a = self._gate(check, a=a)
        return self._shown(_differences.mean_logarithms(a, xp))

    def from_expectation_parameters(self, *eta: Any, check: bool = True) -> Any:
        """Return the point of the means of the logarithms."""
        names = (
            ("eta",)
            if len(self.POINTS.rules) == 1
            else tuple(f"eta_{i}" for i in range(1, len(eta) + 1))
        )
        rules = self.TANGENTS.rules.values()
        given = {n: (r, e) for n, r, e in zip(names, rules, eta, strict=True)}
        xp, *arrays = _array.gate(check, **given)
        eta = self._packed(tuple(arrays), xp)
        x = self._host(eta)
        with np.errstate(over="ignore"):
            excess = 1.0 - np.exp(x).sum(-1)
        if check and not (excess > 0.0).all():
            raise bad_value(
                " and ".join(names),
                "be means of logarithms of shares, whose exponentials have a sum below 1",
                f"one sum is {float((1.0 - excess).max()):.6g}",
            )
        return self._point(self._like(from_mean_logarithms(x), eta, xp))

    def e_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return the points at shares t of the line of concentrations."""
        kinds = {"a": (self.POINTS, a), "b": (self.POINTS, b), "t": (UNIT_INTERVAL, t)}
        xp, a, b, t = _points.gate(check, **kinds)
        a, b = (self._packed(x, xp) for x in (a, b))
        t = _array.as_leading(t, a + b, xp)
        return self._point((1.0 - t) * a + t * b)

    def m_geodesic(self, a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
        """Return the points at shares t of the line of the means of logarithms."""
        kinds = {"a": (self.POINTS, a), "b": (self.POINTS, b), "t": (UNIT_INTERVAL, t)}
        xp, a, b, t = _points.gate(check, **kinds)
        a, b = (self._packed(x, xp) for x in (a, b))
        _envelope.require_no_gradient(a, b)
        x, y, times = self._host(a), self._host(b), _envelope.to_host(t)
        x, y = np.broadcast_arrays(x, y)
        step = _dirichlet.logarithm_shift(x, y)
        share = times.reshape(*times.shape, *(1,) * x.ndim)
        is_late = share >= 0.5
        origin = np.where(is_late, y, x)
        part = np.where(is_late, share - 1.0, share) * step
        target, line = (
            (1.0 - share) * p + share * q
            for p, q in ([_differences.mean_logarithms(z, np) for z in (x, y)], (x, y))
        )
        flat = (z.reshape(-1, x.shape[-1]) for z in (origin, part, target, line))
        found = _dirichlet.moved(*flat)
        _require_positive("b", found, check)
        return self._point(self._like(found.reshape(line.shape), a, xp))

    def e_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return the vector at b of the same velocity of the concentrations."""
        xp, a, b, v = self._gate(check, a=a, b=b, v=v)
        return self._vector(v + xp.zeros_like(a + b))

    def m_transport(self, a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
        """Return the vector at b of the same velocity of the means of logarithms."""
        xp, a, b, v = self._gate(check, a=a, b=b, v=v)
        _envelope.require_no_gradient(a, b, v)
        batch = np.broadcast_shapes(*(tuple(x.shape) for x in (a, b, v)))
        x, y, z = (np.broadcast_to(self._host(t), batch).reshape(-1, batch[-1]) for t in (a, b, v))
        here, there = place(x[..., None]), place(y[..., None])
        covector = _dirichlet.lowered(here, plain(here, (z / x)[..., None]))
        covector = covector / x[..., None] * y[..., None]
        made = y * _dirichlet.raised(there, covector)[..., 0]
        return self._vector(self._like(made.reshape(batch), a, xp))

    def e_mean(self, points: Any, *, weights: Any = None, axis: int = 0, check: bool = True) -> Any:
        """Return the mean of the concentrations."""
        xp, a, weights = self._gate_mean(check, points, weights, axis)
        return self._point(xp.sum(weights[..., None] * a, axis=int(axis)))

    def m_mean(self, points: Any, *, weights: Any = None, axis: int = 0, check: bool = True) -> Any:
        """Return the mean of the means of logarithms."""
        xp, a, weights = self._gate_mean(check, points, weights, axis)
        _envelope.require_no_gradient(a)
        x, w = self._host(a), _envelope.to_host(weights)[..., None]
        start = (w * x).sum(axis)  # the steps to the others begin there, which keeps digits
        steps = _dirichlet.logarithm_shift(np.expand_dims(start, axis) + 0.0 * x, x)
        parts = (w * z for z in (steps, _differences.mean_logarithms(x, np)))
        flat = (z.reshape(-1, x.shape[-1]) for z in (start, *(z.sum(axis) for z in parts), start))
        found = _dirichlet.moved(*flat)
        _require_positive("points", found, check)
        return self._point(self._like(found.reshape(start.shape), a, xp))

    # ------------------------------------------------------------ divergences

    def kl_divergence(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the Kullback-Leibler divergence."""
        xp, a, b = self._gate(check, a=a, b=b)
        return _array.as_number(_kl(a, b, xp))

    def jeffreys_divergence(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the sum of the two Kullback-Leibler divergences."""
        xp, a, b = self._gate(check, a=a, b=b)
        return _array.as_number(_kl(a, b, xp) + _kl(b, a, xp))

    def renyi_divergence(self, a: Any, b: Any, *, order: float, check: bool = True) -> Array:
        """Return the Renyi divergence, inf where the mixture of that order does not exist."""
        xp, a, b = self._gate(check, a=a, b=b)
        order = _divergence.finite_order(order)
        if order == 1.0:
            return _array.as_number(_kl(a, b, xp))
        between = order * a + (1.0 - order) * b
        is_inside = xp.all(between > 0.0, axis=-1)
        between = xp.where(is_inside[..., None], between, a)
        near = order * _kl(between, a, xp) / (1.0 - order) + _kl(between, b, xp)
        return _array.as_number(xp.where(is_inside, near, xp.full_like(near, math.inf)))

    def bhattacharyya_coefficient(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the integral of the root of the product of the densities."""
        xp, a, b = self._gate(check, a=a, b=b)
        return _array.as_number(xp.exp(-_log_affinity(a, b, xp)))

    def hellinger_distance(self, a: Any, b: Any, *, check: bool = True) -> Array:
        """Return the root of 1 minus the Bhattacharyya coefficient."""
        xp, a, b = self._gate(check, a=a, b=b)
        return _array.as_number(_array.safe_sqrt(-_array.expm1(-_log_affinity(a, b, xp), xp), xp))

    # ------------------------------------------------------------ shared

    def _gate(self, check: bool, **arguments: Any) -> tuple[Any, ...]:
        """Return the namespace and the packed arrays of points and vectors."""
        kinds = {n: self.TANGENTS if n in ("u", "v") else self.POINTS for n in arguments}
        xp, *given = _points.gate(check, **{n: (kinds[n], x) for n, x in arguments.items()})
        return (xp, *(self._packed(x, xp) for x in given))

    def _gate_mean(
        self, check: bool, points: Any, weights: Any, axis: int
    ) -> tuple[Namespace, Array, Array]:
        xp, arrays, weights = _points.gate_mean(check, self.POINTS, points, weights, axis)
        return xp, self._packed(arrays, xp), weights

    def _packed(self, arrays: tuple[Array, ...], xp: Namespace) -> Array:
        """Return all concentrations along one last axis."""
        return arrays[0] if len(self.POINTS.rules) == 1 else xp.stack(arrays, axis=-1)

    def _shown(self, packed: Array) -> Any:
        """Return an array as the fields are: one, or a tuple of several."""
        fields = self._fields(packed)
        return fields[0] if len(fields) == 1 else fields

    def _fields(self, packed: Array) -> tuple[Array, ...]:
        if len(self.POINTS.rules) == 1:
            return (packed,)
        return tuple(_array.as_number(packed[..., i]) for i in range(packed.shape[-1]))

    def _point(self, packed: Array) -> Any:
        return make(self.POINTS, *self._fields(packed))

    def _vector(self, packed: Array) -> Any:
        return make(self.TANGENTS, *self._fields(packed))

    def _host(self, packed: Array) -> np.ndarray:
        return _envelope.to_host(packed)

    def _like(self, x: np.ndarray, packed: Array, xp: Namespace) -> Array:
        return _envelope.as_like(x, packed, xp)

    def _solve(self, rtol: float, like: Array, xp: Namespace) -> _envelope.Solve:
        """Return the squared distance of arrays with its derivatives, converged."""
        rtol = _checked(rtol)

        def solve(a: np.ndarray, b: np.ndarray, has_gradients: bool) -> tuple[np.ndarray, ...]:
            found = _found(a, b, rtol, is_curve=has_gradients)
            if not found.is_solved(rtol).all():
                self._connection(_found(a, b, rtol, is_curve=True), like, rtol, True, xp)
            squared = found.length.reshape(found.shape[:-1]) ** 2
            if not has_gradients:
                return (squared,)
            return squared, *(2.0 * x.reshape(found.shape) for x in (found.by_start, found.by_end))

        return solve

    def _connection(
        self, found: "_Found", like: Array, rtol: float, throw: bool, xp: Namespace
    ) -> Connection:
        shape = found.shape

        def back(x: np.ndarray, *event: int) -> Array:
            return self._like(x.reshape((*shape[:-1], *event)), like, xp)

        k = shape[-1]
        is_solved = found.is_solved(rtol)
        lower, upper = found.bracket()
        curve = np.moveaxis(found.curve, -1, 0).reshape(_SAMPLES, *shape)
        result = Connection(
            distance=back(found.length),
            lower=back(lower),
            upper=back(upper),
            turning=back(found.turning),
            initial_velocity=self._vector(back(found.start * found.a, k)),
            final_velocity=self._vector(back(found.end * found.b, k)),
            curve=self._point(self._like(curve, like, xp)),
            steps=_array.as_number(
                xp.asarray(found.steps.reshape(shape[:-1]), device=_array.device_of(like))
            ),
            status=Status.CONVERGED if is_solved.all() else Status.MAX_STEPS,
        )
        if throw and not is_solved.all():
            raise _solve_error(result, is_solved, lower, upper, rtol)
        return result


# ---------------------------------------------------------------- divergences of packed arrays


def _kl(a: Array, b: Array, xp: Namespace) -> Array:
    r"""Return :math:`S_b \, \mathrm{KL}(b / S_b, a / S_a)` and the Bregman divergences of the rest.

    The log-partition is the sum of :math:`\log \Gamma(a_i)` less that of the sum, and each is
    x log x - x and a convex rest.
    """
    own, sums = _differences.with_sums(a, b, xp)
    y = _differences.log_shift(*own, xp) - _differences.log_shift(*sums, xp)
    spread = xp.sum(b * _family.excess(-y, xp), axis=-1)
    rest, common = (xp.sum(_differences.bregman_rest(*x, xp), axis=-1) for x in (own, sums))
    is_infinite = xp.isinf(rest)  # a quotient of concentrations overflows
    return xp.where(is_infinite, rest, spread + rest - xp.where(is_infinite, 0.0 * spread, common))


def _log_affinity(a: Array, b: Array, xp: Namespace) -> Array:
    """Return minus the logarithm of the Bhattacharyya coefficient, by the point in the middle."""
    middle = 0.5 * a + 0.5 * b
    return 0.5 * (_kl(middle, a, xp) + _kl(middle, b, xp))


def from_mean_logarithms(eta: np.ndarray) -> np.ndarray:
    """Return the concentrations (..., k) whose mean logarithms are eta."""
    flat = eta.reshape(-1, eta.shape[-1])
    top = flat.max(-1, keepdims=True)
    log_sum = top + np.log(np.exp(flat - top).sum(-1, keepdims=True))
    # Of large concentrations, whose mean logarithms are log p - (1 / p - 1) / 2 S, nearly.
    scale = 0.5 * (flat.shape[-1] - 1) / -log_sum
    start = scale * np.exp(flat - log_sum)
    start = np.maximum(start, -0.5 / np.minimum(flat, -1e-300))
    step = flat - _differences.mean_logarithms(start, np)
    return _dirichlet.moved(start, step, flat, start).reshape(eta.shape)


def fitted(
    kind: Any,
    given: Any,
    labels: Any,
    samples: Array,
    logarithms: Callable[[np.ndarray], np.ndarray],
    check: bool,
    xp: Namespace,
) -> Any:
    """Return the point of greatest likelihood, whose mean logarithms are those of the samples.

    Parameters
    ----------
    kind : type
        The class of the point.
    given : array or frame
        The samples as the caller gave them, with their names.
    labels : array, list or None
        The class of each sample; None if all are of one class.
    samples : array, shape (n, ...)
        The same as arrays.
    logarithms : callable
        ``logarithms(x)``: those of all shares of samples, (..., k).
    check : bool
    xp : namespace
        That of the samples.
    """
    values = _envelope.to_host(samples)

    def fit_rows(name: str, rows: np.ndarray | None) -> list[Array]:
        chosen = values if rows is None else values[rows]
        if not len(chosen):
            raise bad_value(name, "hold at least one sample", "there is none")
        if check and chosen.size and chosen.min() <= 0.0:
            raise bad_value(
                name,
                "be positive, as the likelihood takes logarithms",
                "there is a 0",
                "Add a small number to all shares and divide by their sum.",
            )
        eta = logarithms(chosen).mean(axis=0)
        spread = -np.log(np.exp(eta).sum(-1))
        if check and not np.all(spread > 1e-12):
            raise bad_value(
                name,
                "vary",
                f"they are {len(chosen)} equal rows",
                "The likelihood of equal samples grows without end.",
            )
        made = from_mean_logarithms(eta)
        parts = [made] if len(kind.rules) == 1 else np.moveaxis(made, -1, 0)
        return [_envelope.as_like(np.asarray(x), samples, xp) for x in parts]

    return _points.fit(kind, given, labels, tuple(samples.shape), fit_rows, xp)


# ---------------------------------------------------------------- the solve


@dataclass(frozen=True)
class _Found:
    """Curves between n pairs of concentrations, (n, k)."""

    shape: tuple[int, ...]
    a: np.ndarray
    b: np.ndarray
    length: np.ndarray
    turning: np.ndarray
    steps: np.ndarray
    start: np.ndarray  # velocities of log a at both ends
    end: np.ndarray
    by_start: np.ndarray  # derivatives of half the squared length by a and by b
    by_end: np.ndarray
    curve: np.ndarray  # (n, k, samples)

    def bracket(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the bounds that the length and the turning prove, with the rounding of both."""
        largest = np.maximum(self.a.sum(-1), self.b.sum(-1))
        slack = _EPS * (32.0 + np.sqrt(largest))
        is_proof = self.turning < math.pi
        turning = np.where(is_proof, self.turning, math.pi)
        lower = np.where(is_proof, self.length * np.cos(0.5 * turning) * (1.0 - slack), 0.0)
        return lower, np.where(is_proof, self.length * (1.0 + slack), math.inf)

    def is_solved(self, rtol: float) -> np.ndarray:
        """Whether the turning leaves a bracket of this relative size."""
        return self.turning <= math.sqrt(8.0 * rtol)


def _found(a: np.ndarray, b: np.ndarray, rtol: float, *, is_curve: bool) -> _Found:
    """Solve for the curves between broadcast points; velocities and samples only if asked for."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    k = shape[-1]
    a, b = (np.broadcast_to(x, shape).reshape(-1, k) for x in (a, b))
    n = a.shape[0]
    start, end, by_start, by_end = np.zeros((4, n, k))
    length, turning, curve = np.zeros(n), np.zeros(n), np.zeros((n, k, _SAMPLES))
    steps = np.zeros(n, int)
    found = _Found(shape, a, b, length, turning, steps, start, end, by_start, by_end, curve)
    block = max(1, 1200 // k)
    for first in range(0, n, block):
        _solve_block(found, slice(first, first + block), rtol, is_curve)
    return found


def _solve_block(found: _Found, block: slice, rtol: float, is_curve: bool) -> None:
    a, b = found.a[block], found.b[block]
    chord = _dirichlet.parts_of(_differences.log_shift(a, b, b - a, np))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        tolerance = 0.1 * math.sqrt(8.0 * rtol)
        # Velocities are not as exact as lengths, whose error is of second order.
        wanted = 3e-3 * tolerance if is_curve else tolerance
        groups = _spectral.solve(_dirichlet, a, chord, tolerance, wanted)
        for group, steps in groups:
            rows = np.arange(found.a.shape[0])[block][group.rows]
            found.length[rows], found.turning[rows] = group.length, group.turning
            found.steps[rows] = steps
            if is_curve:
                _fill_curve(found, rows, group, a[group.rows], chord[group.rows])


def _fill_curve(
    found: _Found, rows: np.ndarray, group: _spectral.Group, a: np.ndarray, chord: np.ndarray
) -> None:
    """Add velocities, derivatives and samples of some curves."""
    b = found.b[rows]
    gradient = _dirichlet.at(group.nodes, a, chord, group.bend).gradient
    for sign, end, x, velocity, derivative in (
        (-1.0, 0, a, found.start, found.by_start),
        (1.0, -1, b, found.end, found.by_end),
    ):
        at = place(x[..., None])
        covector = gradient[..., end : None if end else 1]
        w = sign * _dirichlet.raised(at, covector)
        # The energy is flat where the length is known best: the length is that of the velocity.
        size = np.sqrt(squared(at, plain(at, w)))[:, 0]
        scale = np.where(size > 0.0, group.length / np.where(size > 0.0, size, 1.0), 1.0)
        velocity[rows] = scale[:, None] * w[..., 0]
        derivative[rows] = scale[:, None] * covector[..., 0] / x
    even = np.linspace(0.0, 1.0, _SAMPLES)
    path = chord[..., None] * even
    path = path + group.bend @ _spectral.interpolation(group.nodes.times, even).T
    found.curve[rows] = a[..., None] * np.exp(path[:, :-1] + path[:, -1:])
    found.curve[rows, :, -1] = b


def _require_numbers(name: str, found: np.ndarray, check: bool, rule: str) -> None:
    """Raise if something overflows or underflows so far that it is no number."""
    if check and not np.isfinite(found).all():
        raise bad_value(name, rule, "one underflows or overflows", "Take nearer concentrations.")


def _require_positive(name: str, found: np.ndarray, check: bool, advice: str = "") -> None:
    """Raise unless concentrations that were solved for are numbers."""
    if check and not (np.isfinite(found) & (found > 0.0)).all():
        raise bad_value(
            name,
            "lead to concentrations that are numbers",
            "one underflows or overflows",
            advice or "Take nearer concentrations.",
        )


def _checked(rtol: Any) -> float:
    if not (isinstance(rtol, int | float | np.number) and 0.0 < rtol < 1.0):
        raise bad_value("rtol", "be a number between 0 and 1", f"got {rtol!r}")
    return float(rtol)


def _solve_error(
    result: Connection, is_solved: np.ndarray, lower: np.ndarray, upper: np.ndarray, rtol: float
) -> SolveError:
    failed = np.flatnonzero(~is_solved)
    first = failed[0]
    bounds = f"the distance lies in [{lower[first]:.15g}, {upper[first]:.15g}]"
    advice = "Raise rtol to accept that, or take connect(a, b, throw=False)."
    if is_solved.size == 1:
        return SolveError(f"rtol={rtol:.2g} is out of reach: {bounds}. {advice}", result)
    listed = ", ".join(str(i) for i in failed[:8]) + (", ..." if failed.size > 8 else "")
    return SolveError(
        f"rtol={rtol:.2g} is out of reach for {failed.size} of {is_solved.size} pairs (at {listed})"
        f"; the others are solved in the result. At {first} {bounds}. {advice}",
        result,
        tuple(int(i) for i in failed),
    )


finish(globals())
