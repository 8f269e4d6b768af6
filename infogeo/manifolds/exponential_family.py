r"""Any exponential family, from its log-partition: all of its geometry by automatic differentiation.

Points are arrays of parameters (..., k). torch differentiates the log-partition, and the geodesics
are solved for as those of Dirichlet distributions are. It is a space as the modules of the other
families are, so that means, neighbours, heads and the contract take it.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from array_api_compat import array_namespace

from infogeo import _array, _divergence
from infogeo._array import UNIT_INTERVAL, VECTOR, Array, Namespace, bad_value
from infogeo._docs import finish
from infogeo._status import SolveError, Status
from infogeo._system.registry import storable
from infogeo.manifolds import _envelope, _spectral
from infogeo.manifolds._spectral import Level, level

__all__ = ["ExponentialFamily", "Geodesic"]

_PARAMETERS = replace(VECTOR, events="parameters")
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_FEW_NODES, _FEW_WEIGHTS = np.polynomial.legendre.leggauss(14)


@storable("manifolds.Geodesic")
@dataclass(frozen=True, eq=False)
class Geodesic:
    """The geodesic between two points of a family, with an estimate of its error.

    Parameters
    ----------
    distance : array, shape (...)
        The length of the curve that was found.
    error : array, shape (...)
        An estimate of its error, relative: the square of how far the curve turns, over 8. It is a
        bound in families whose curvature is not positive.
    initial_velocity, final_velocity : array, shape (..., k)
        At the first point (the log map) and on arrival at the second one.
    steps : int array, shape (...)
        Newton steps.
    status : Status
        CONVERGED if each error is below what was asked for.
    """

    distance: Array
    error: Array
    initial_velocity: Array
    final_velocity: Array
    steps: Array
    status: Status


@dataclass(frozen=True)
class ExponentialFamily:
    r"""The space of an exponential family, from its log-partition.

    .. math:: p_\theta(x) \propto h(x) \, e^{\theta' F(x) - \psi(\theta)}, \qquad
              g = \nabla^2 \psi(\theta)

    Parameters
    ----------
    log_partition : callable
        ``log_partition(theta)``: psi of a tensor (k,), a tensor without axes. In functions that
        torch.func can differentiate three times.
    to_natural : callable or None
        ``to_natural(x)``: the natural parameters (k,) of the parameters x (k,) that points have.
        Where all x are allowed, no geodesic leaves the family. None: points are natural parameters.
    from_natural : callable or None
        The way back.

    Raises
    ------
    TypeError
        One of the two functions without the other.

    Notes
    -----
    Divergences of near points are integrals of :math:`D' F(\theta_1 + s D) D`, D the difference of
    the natural parameters, which has one sign, by Gauss' rule; far ones come from their definition.

    Examples
    --------
    Poisson distributions by the logarithm of the rate:

    >>> import torch
    >>> poisson = ExponentialFamily(lambda theta: theta.exp().sum())
    >>> x, y = np.log([4.0]), np.log([9.0])
    >>> round(float(poisson.fisher_rao_distance(x, y)), 12)
    2.0
    >>> round(float(poisson.kl_divergence(x, y)), 6)
    1.756279
    """

    log_partition: Callable[[Any], Any]
    to_natural: Callable[[Any], Any] | None = None
    from_natural: Callable[[Any], Any] | None = None

    POINTS: ClassVar = _PARAMETERS

    def __post_init__(self) -> None:
        if (self.to_natural is None) != (self.from_natural is None):
            raise TypeError("to_natural and from_natural must be given together, or neither.")

    # ------------------------------------------------------------ the Fisher metric

    def dimension(self, x: Any, *, check: bool = True) -> int:
        """Return the number of parameters."""
        _, _, x = self._gate(check, x=x)
        return int(x.shape[-1])

    def inner_product(self, x: Any, u: Any, v: Any, *, check: bool = True) -> Array:
        """Return the Fisher metric of two tangent vectors."""
        back, torch, x, u, v = self._gate(check, x=x, u=u, v=v)
        return back(_over(torch, self._metric, x, u, v))

    def fisher_information(self, x: Any, *, check: bool = True) -> Array:
        """Return the Fisher information matrix of the parameters, (..., k, k)."""
        back, torch, x = self._gate(check, x=x)
        return back(_over(torch, self._information, x))

    def christoffel_symbols(self, x: Any, *, check: bool = True) -> Array:
        """Return the Christoffel symbols, (..., k, k, k), the upper index first."""
        back, torch, x = self._gate(check, x=x)

        def symbols(y: Any) -> Any:
            slope = torch.func.jacfwd(self._information)(y)  # g_ij by x_l, as (i, j, l)
            lower = 0.5 * (slope.permute(1, 2, 0) + slope.permute(1, 0, 2) - slope.permute(2, 0, 1))
            k = y.shape[0]
            return torch.linalg.solve(self._information(y), lower.reshape(k, -1)).reshape(k, k, k)

        return back(_over(torch, symbols, x))

    # ------------------------------------------------------------ distance and geodesics

    def fisher_rao_distance(
        self, x: Any, y: Any, *, rtol: float = 1e-12, check: bool = True
    ) -> Array:
        """Return the length of the geodesic; its error is estimated to be below rtol, relative."""
        xp = _array.gate(check, x=(_PARAMETERS, x), y=(_PARAMETERS, y))[0]
        squared = self.fisher_rao_squared_distance(x, y, rtol=rtol, check=False)
        return _array.as_number(_array.safe_sqrt(squared, xp))

    def fisher_rao_squared_distance(
        self, x: Any, y: Any, *, rtol: float = 1e-12, check: bool = True
    ) -> Array:
        """Return the squared distance, whose gradient is -2 times the log map."""
        xp, x, y = _array.gate(check, x=(_PARAMETERS, x), y=(_PARAMETERS, y))

        def solve(a: np.ndarray, b: np.ndarray, has_gradients: bool) -> tuple[np.ndarray, ...]:
            found = self._solved(a, b, rtol)
            shape = found.distance.shape
            ends = ((found.initial_velocity, a, -2.0), (found.final_velocity, b, 2.0))
            metric = (
                sign * (self.fisher_information(z) @ v[..., None])[..., 0] for v, z, sign in ends
            )
            squared = np.reshape(found.distance, shape) ** 2
            return (squared, *(metric if has_gradients else ()))

        return _envelope.squared_distance(x, y, solve, xp)

    def connect(
        self, x: Any, y: Any, *, rtol: float = 1e-12, throw: bool = True, check: bool = True
    ) -> Geodesic:
        """Solve for the geodesic: its length with an estimate of the error, and its velocities."""
        xp, x, y = _array.gate(check, x=(_PARAMETERS, x), y=(_PARAMETERS, y))
        _envelope.require_no_gradient(x, y)
        a, b = np.broadcast_arrays(_envelope.to_host(x), _envelope.to_host(y))
        found = self._solved(a, b, rtol, throw)
        names = ("distance", "error", "initial_velocity", "final_velocity")
        arrays = {n: _envelope.as_like(np.asarray(getattr(found, n)), x, xp) for n in names}
        steps = xp.asarray(found.steps, device=_array.device_of(x))
        return replace(found, **arrays, steps=steps)

    def log_map(self, x: Any, y: Any, *, check: bool = True) -> Array:
        """Return the velocity at x of the geodesic that reaches y at time 1."""
        return self.connect(x, y, check=check).initial_velocity

    def exp_map(self, x: Any, v: Any, *, check: bool = True) -> Array:
        """Return the point that the geodesic with velocity v reaches at time 1."""
        xp, x, v = _array.gate(check, x=(_PARAMETERS, x), v=(_PARAMETERS, v))
        _envelope.require_no_gradient(x, v)
        a, w = np.broadcast_arrays(_envelope.to_host(x), _envelope.to_host(v))
        reached = self._flow(a.reshape(-1, a.shape[-1]), w.reshape(-1, a.shape[-1]))
        if check and not np.isfinite(reached).all():
            seen = "one geodesic is not followed up to time 1"
            raise bad_value("v", "stay where the family is", seen, "Scale v down.")
        return _envelope.as_like(reached.reshape(a.shape), x, xp)

    # ------------------------------------------------------------ the e- and the m-geometry

    def natural_parameters(self, x: Any, *, check: bool = True) -> Array:
        """Return the natural parameters."""
        back, torch, x = self._gate(check, x=x)
        return back(_over(torch, self._theta, x))

    def from_natural_parameters(self, theta: Any, *, check: bool = True) -> Array:
        """Return the parameters of points with these natural ones."""
        back, torch, theta = self._gate(check, theta=theta)
        return back(_over(torch, self._from_theta, theta))

    def expectation_parameters(self, x: Any, *, check: bool = True) -> Array:
        """Return the gradient of the log-partition, the means of the features."""
        back, torch, x = self._gate(check, x=x)
        return back(_over(torch, self._eta, x))

    def e_geodesic(self, x: Any, y: Any, t: Any, *, check: bool = True) -> Array:
        """Return the points at shares t of the line in the natural parameters."""
        kinds = {"x": (_PARAMETERS, x), "y": (_PARAMETERS, y), "t": (UNIT_INTERVAL, t)}
        xp, x, y, t = _array.gate(check, **kinds)
        a, b = (self.natural_parameters(z, check=False) for z in (x, y))
        t = _array.as_leading(t, a + b, xp)
        return self.from_natural_parameters((1.0 - t) * a + t * b, check=False)

    # ------------------------------------------------------------ divergences

    def kl_divergence(self, x: Any, y: Any, *, check: bool = True) -> Array:
        """Return the Kullback-Leibler divergence."""
        back, torch, x, y = self._gate(check, x=x, y=y)
        return back(_over(torch, lambda a, b: self._kl(self._theta(a), self._theta(b)), x, y))

    def jeffreys_divergence(self, x: Any, y: Any, *, check: bool = True) -> Array:
        """Return the sum of the two Kullback-Leibler divergences."""
        back, torch, x, y = self._gate(check, x=x, y=y)

        def both(a: Any, b: Any) -> Any:
            a, b = self._theta(a), self._theta(b)
            return self._kl(a, b) + self._kl(b, a)

        return back(_over(torch, both, x, y))

    def renyi_divergence(self, x: Any, y: Any, *, order: float, check: bool = True) -> Array:
        """Return the Renyi divergence of an order between 0 and 1."""
        order = _divergence.checked_order(order)
        if not 0.0 < order < 1.0:
            raise bad_value("order", "be between 0 and 1 for this family", f"got {order!r}")
        back, torch, x, y = self._gate(check, x=x, y=y)
        return back(_over(torch, lambda a, b: self._gap(a, b, order) / (1.0 - order), x, y))

    def bhattacharyya_coefficient(self, x: Any, y: Any, *, check: bool = True) -> Array:
        """Return the integral of the root of the product of the densities."""
        back, torch, x, y = self._gate(check, x=x, y=y)
        return back(_over(torch, lambda a, b: (-self._gap(a, b, 0.5)).exp(), x, y))

    def hellinger_distance(self, x: Any, y: Any, *, check: bool = True) -> Array:
        """Return the root of 1 minus the Bhattacharyya coefficient."""
        back, torch, x, y = self._gate(check, x=x, y=y)
        gap = _over(torch, lambda a, b: self._gap(a, b, 0.5), x, y)
        return back(_array.safe_sqrt(-(-gap).expm1(), array_namespace(gap)))

    # ------------------------------------------------------------ of single tensors (k,)

    def _theta(self, x: Any) -> Any:
        return x if self.to_natural is None else self.to_natural(x)

    def _from_theta(self, theta: Any) -> Any:
        return theta if self.from_natural is None else self.from_natural(theta)

    def _eta(self, x: Any) -> Any:
        import torch

        return torch.func.grad(self.log_partition)(self._theta(x))

    def _metric(self, x: Any, u: Any, v: Any) -> Any:
        """Return the second derivative of psi along two directions of the parameters."""
        import torch

        theta, moved_u = torch.func.jvp(self._theta, (x,), (u,))
        moved_v = torch.func.jvp(self._theta, (x,), (v,))[1]
        slope = torch.func.grad(self.log_partition)
        return (torch.func.jvp(slope, (theta,), (moved_u,))[1] * moved_v).sum()

    def _information(self, x: Any) -> Any:
        import torch

        jacobian = torch.func.jacfwd(self._theta)(x)
        return jacobian.mT @ torch.func.hessian(self.log_partition)(self._theta(x)) @ jacobian

    def _kl(self, a: Any, b: Any) -> Any:
        """Return the divergence of natural parameters: an integral if near, else by definition."""
        import torch

        d = b - a
        slope = torch.func.grad(self.log_partition)

        def density(s: Any) -> Any:
            return (torch.func.jvp(slope, (a + s * d,), (d,))[1] * d).sum()

        integrals = []
        for nodes, weights in ((_NODES, _WEIGHTS), (_FEW_NODES, _FEW_WEIGHTS)):
            s = torch.as_tensor(0.5 * (nodes + 1.0), dtype=a.dtype, device=a.device)
            w = torch.as_tensor(0.5 * weights, dtype=a.dtype, device=a.device)
            integrals.append((w * (1.0 - s) * torch.func.vmap(density)(s)).sum())
        direct = self.log_partition(b) - self.log_partition(a) - (d * slope(a)).sum()
        eps = torch.finfo(a.dtype).eps
        is_smooth = (integrals[0] - integrals[1]).abs() <= 64.0 * eps * integrals[0].abs()
        return torch.where(is_smooth, integrals[0], direct)

    def _gap(self, x: Any, y: Any, order: float) -> Any:
        """Return order psi(a) + (1 - order) psi(b) less psi of the same mean of a and b."""
        a, b = self._theta(x), self._theta(y)
        middle = order * a + (1.0 - order) * b
        return order * self._kl(middle, a) + (1.0 - order) * self._kl(middle, b)

    # ------------------------------------------------------------ shared

    def _gate(self, check: bool, **arguments: Any) -> tuple[Any, ...]:
        """Return what gives a result back, torch, and the arguments as tensors of torch."""
        import torch

        xp, *arrays = _array.gate(check, **{n: (_PARAMETERS, x) for n, x in arguments.items()})
        first = arrays[0]
        tensors = (x if isinstance(x, torch.Tensor) else torch.from_numpy(x) for x in arrays)

        def back(result: Any) -> Array:
            if isinstance(first, np.ndarray):
                return _array.as_number(result.detach().numpy())
            return result

        return (back, torch, *tensors)

    def _solved(self, a: np.ndarray, b: np.ndarray, rtol: float, throw: bool = True) -> Geodesic:
        """Return the geodesics between arrays of numpy of one shape."""
        if not (isinstance(rtol, int | float | np.number) and 0.0 < rtol < 1.0):
            raise bad_value("rtol", "be a number between 0 and 1", f"got {rtol!r}")
        shape, k = a.shape, a.shape[-1]
        x, chord = a.reshape(-1, k), (b - a).reshape(-1, k)
        n = len(x)
        length, turning, steps = np.zeros(n), np.zeros(n), np.zeros(n, int)
        ends = np.zeros((2, n, k))
        tolerance = 0.1 * math.sqrt(8.0 * rtol)
        metric = _Metric(self)
        with np.errstate(all="ignore"):
            for group, taken in _spectral.solve(metric, x, chord, tolerance, 3e-3 * tolerance):
                rows = group.rows
                length[rows], turning[rows], steps[rows] = group.length, group.turning, taken
                terms = metric.at(group.nodes, x[rows], chord[rows], group.bend)
                for i, (place, node, sign) in enumerate(
                    ((x[rows], 0, -1.0), (x[rows] + chord[rows], -1, 1.0))
                ):
                    w = sign * metric.raised(place, terms.gradient[..., node])
                    size = np.sqrt((w * metric.lowered(place, w)).sum(-1))
                    ends[i, rows] = (group.length / np.where(size > 0.0, size, 1.0))[:, None] * w
        error = turning**2 / 8.0
        is_solved = error <= rtol
        found = Geodesic(
            *(_array.as_number(v.reshape(shape[:-1])) for v in (length, error)),
            *(v.reshape(shape) for v in ends),
            steps.reshape(shape[:-1]),
            Status.CONVERGED if is_solved.all() else Status.MAX_STEPS,
        )
        if throw and not is_solved.all():
            failed = np.flatnonzero(~is_solved)
            raise SolveError(
                f"The geodesic is not as exact as rtol={rtol:.2g}: the error of the distance "
                f"{length[failed[0]]:.10g} is estimated at {error[failed[0]]:.2g}, relative. Raise "
                "rtol, or choose parameters in which geodesics are less bent.",
                found,
                tuple(int(i) for i in failed) if shape[:-1] else None,
            )
        return found

    def _flow(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Follow geodesics for a unit of time, in steps that Picard's iteration makes."""
        metric, time, step = _Metric(self), 0.0, 0.25
        nodes = level(16)
        integral = np.linalg.inv(nodes.slopes[1:, 1:]).T
        while time < 1.0:
            step = min(step, 1.0 - time)
            w, last = np.repeat(v[..., None], 15, axis=-1), math.inf
            for _ in range(40):
                with np.errstate(all="ignore"):
                    path = x[..., None] + step * w @ integral
                    new = v[..., None] + step * metric.acceleration(path, w) @ integral
                scale = np.abs(w).max((1, 2), keepdims=True)
                change = float((np.abs(new - w) / np.where(scale > 0.0, scale, 1.0)).max())
                w = new
                if not change < 1e3 or (change < 1e-13 and not change < 0.5 * last):
                    break
                last = change
            if change < 1e-12:
                x, v, time = x + step * (w @ integral)[..., -1], w[..., -1], time + step
                step *= 1.5
            elif (step := 0.5 * step) < 1e-5:
                return np.full_like(x, np.nan)
        return x


# ---------------------------------------------------------------- the metric of curves


def _over(torch: Any, function: Callable[..., Any], *tensors: Any) -> Any:
    """Return a function of single points for all points of a batch."""
    batch = torch.broadcast_shapes(*(x.shape for x in tensors))
    flat = (x.broadcast_to(batch).reshape(-1, batch[-1]) for x in tensors)
    made = torch.func.vmap(function)(*flat)
    return made.reshape((*batch[:-1], *made.shape[1:]))


class _Terms(NamedTuple):
    energy: np.ndarray  # (n,)
    gradient: np.ndarray  # (n, k, N)
    x: np.ndarray
    v: np.ndarray


class _Metric:
    """What `_spectral.solve` asks of a metric: derivatives of f(x, v), half the squared speed."""

    def __init__(self, family: ExponentialFamily):
        import torch

        self._torch = torch

        def speed(z: Any) -> Any:
            x, v = z[: len(z) // 2], z[len(z) // 2 :]
            return 0.5 * family._metric(x, v, v)

        func = torch.func
        self._first = func.vmap(func.grad_and_value(speed))
        self._second = func.vmap(func.hessian(speed))

    def _at_nodes(self, function: Any, x: np.ndarray, v: np.ndarray) -> Any:
        """Return a function of packed (x, v) at all nodes, the nodes as a second axis."""
        packed = np.moveaxis(np.concatenate([x, v], axis=1), 1, 2)
        n, size, _ = packed.shape
        made = function(self._torch.from_numpy(packed.reshape(n * size, -1)))
        parts = made if isinstance(made, tuple) else (made,)
        return [p.detach().numpy().reshape(n, size, *p.shape[1:]) for p in parts]

    def at(self, nodes: Level, x: np.ndarray, chord: np.ndarray, bend: np.ndarray) -> _Terms:
        place = x[..., None] + nodes.times * chord[..., None] + bend
        v = chord[..., None] + bend @ nodes.slopes.T
        slopes, values = self._at_nodes(self._first, place, v)
        by_x, by_v = np.split(np.moveaxis(slopes, 1, 2), 2, axis=1)
        gradient = (nodes.weights * by_v) @ nodes.slopes + nodes.weights * by_x
        return _Terms((nodes.weights * values).sum(-1), gradient, place, v)

    def rows_of(self, terms: _Terms, rows: np.ndarray) -> _Terms:
        return _Terms(*(part[rows] for part in terms))

    def guesses(self, *_: np.ndarray) -> Iterator[np.ndarray]:
        yield from ()

    def newton_step(
        self, nodes: Level, terms: _Terms, share: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        (second,) = self._at_nodes(self._second, terms.x, terms.v)
        n, k, size = terms.x.shape
        m = size - 2
        weighted = nodes.weights[:, None, None] * second
        kept = share[:, None, None, None] * weighted[..., :k, :]
        places, mixed = kept[..., :k], kept[..., k:]
        slopes = nodes.slopes[:, 1:-1]
        matrix = np.einsum(
            "nqij,ql,qm->niljm", weighted[..., k:, k:], slopes, slopes, optimize=True
        )
        i = np.arange(m)
        cross = np.einsum("nlij,lm->niljm", mixed[:, 1:-1], slopes[1:-1])
        matrix += cross + cross.transpose(0, 3, 4, 1, 2)
        matrix[:, :, i, :, i] += np.moveaxis(places[:, 1:-1], 1, 0)
        right = terms.gradient[..., 1:-1].reshape(n, k * m, 1)
        matrix = matrix.reshape(n, k * m, k * m)
        good = np.isfinite(matrix).all((1, 2), keepdims=True)
        step = np.full((n, k * m), np.nan)
        if good.any():
            rows = good[:, 0, 0]
            step[rows] = -np.linalg.solve(matrix[rows], right[rows])[..., 0]
        whole = np.zeros_like(terms.x)
        whole[..., 1:-1] = step.reshape(n, k, m)
        return whole, -(step * right[..., 0]).sum(-1)

    def acceleration(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return the second derivatives along geodesics, (n, k, N)."""
        k = x.shape[1]
        slopes, _ = self._at_nodes(self._first, x, v)
        (second,) = self._at_nodes(self._second, x, v)
        pull = slopes[..., :k] - (second[..., k:, :k] @ np.moveaxis(v, 1, 2)[..., None])[..., 0]
        good = np.isfinite(second).all((-2, -1), keepdims=True)
        metric = np.where(good, second[..., k:, k:], np.eye(k))
        made = np.linalg.solve(metric, pull[..., None])[..., 0]
        return np.moveaxis(np.where(good[..., 0], made, np.nan), 2, 1)

    def certificate(
        self, nodes: Level, x: np.ndarray, chord: np.ndarray, bend: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        values, slopes, curves = (bend @ matrix.T for matrix in nodes.fine)
        place = x[..., None] + nodes.fine_times * chord[..., None] + values
        v = chord[..., None] + slopes
        excess = curves - self.acceleration(place, v)
        squares = [2.0 * self._at_nodes(self._first, place, w)[1] for w in (v, excess)]
        length = (nodes.fine_weights * np.sqrt(squares[0])).sum(-1)
        turn = squares[1] / np.where(squares[0] == 0.0, 1.0, squares[0])
        return length, np.sqrt((nodes.fine_weights * turn).sum(-1))

    def lowered(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return the metric times vectors at points (n, k)."""
        slopes, _ = self._at_nodes(self._first, x[..., None], v[..., None])
        return slopes[:, 0, x.shape[1] :]

    def raised(self, x: np.ndarray, covector: np.ndarray) -> np.ndarray:
        """Return the inverse metric times covectors at points (n, k)."""
        k = x.shape[1]
        (second,) = self._at_nodes(self._second, x[..., None], 0.0 * x[..., None])
        return np.linalg.solve(second[:, 0, k:, k:], covector[..., None])[..., 0]


finish(globals())
