r"""The Frechet mean of points of any space: the point with the least sum of squared distances.

A space is a module or an object with ``exp_map``, ``log_map`` and ``norm`` (or ``inner_product``).
The mean of predictions, as probabilities or as logits, is unique and is found by Newton's method;
in other spaces it is found by descent along geodesics.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from array_api_compat import array_namespace

from infogeo import _array, _points, _spaces, _sphere
from infogeo._array import REAL, Array, Namespace, bad_value, gate
from infogeo._docs import finish
from infogeo._result import Result
from infogeo._spaces import SphereChart
from infogeo._status import SolveError, Status
from infogeo._system.registry import storable

__all__ = ["frechet_mean"]

# A gradient below this many roundoffs that a further step does not halve is rounding.
_ROUNDOFFS = 1000.0
_T = TypeVar("_T")


@storable("Mean")
@dataclass(frozen=True, eq=False, repr=False)
class Mean(Result):
    """A Frechet mean, with the gradient that it leaves.

    Parameters
    ----------
    point : array, shape (..., c), or points of the space
        The mean.
    gradient_norm : array, shape (...)
        Fisher norm of the weighted mean of the log maps: for predictions in radians of the sphere
        of radius 2.
    steps : int array, shape (...)
        Steps taken.
    status : Status
        How the solve ended; for a batch the worst of its members.
    """

    point: Array
    gradient_norm: Array
    steps: Array
    status: Status


def frechet_mean(
    points: Any,
    *,
    space: Any = "simplex",
    weights: Array | None = None,
    axis: int = 0,
    tol: float = 1e-12,
    max_steps: int = 100,
    throw: bool = True,
    check: bool = True,
) -> Mean:
    r"""Find the Frechet mean, the point with the least weighted sum of squared distances.

    .. math:: \bar p = \arg\min_p \tfrac12 \textstyle\sum_k w_k d(p, p_k)^2, \qquad
              \textstyle\sum_k w_k \log_{\bar p} p_k = 0

    Parameters
    ----------
    points : array, shape (..., n, ..., c), or batch of points of the space
        With one axis to average over and any number of batch axes.
    space : module, object or name
        `infogeo.simplex` (points are probabilities), `infogeo.logits`, `infogeo.normal` (points
        are a batch `infogeo.normal.Normal`), or anything with ``exp_map(p, v)``, ``log_map(p, q)``
        and ``norm(p, v)`` or ``inner_product(p, u, v)`` on arrays, whose leading axes broadcast.
    weights : array or None
        Not negative, of shape (n,) or one that broadcasts to the batch axes of the points;
        divided by their sum. None: equal weights. Points of weight 0 are left out.
    axis : int
    tol : float
        Stop when the gradient is smaller, or is rounding of the dtype (see Notes).
    max_steps : int
        Give up after so many steps.
    throw : bool
        Raise if a solve did not converge; otherwise the status says so.
    check : bool

    Returns
    -------
    Mean
        ``point`` (..., c), or points of the space (...), in the library, dtype and device of the
        given ones; ``gradient_norm`` (...), the Fisher norm of the weighted mean of the log maps;
        ``steps`` (...); ``status``.

    Raises
    ------
    TypeError, ValueError
        Points that are not of the space; weights without a positive sum; values that cannot be
        read (inside ``jax.jit`` or ``torch.func``, and on dask arrays).
    SolveError
        A solve that did not converge. It carries ``.result`` and, for a batch, ``.failed``: the
        positions in the flattened batch.

    Notes
    -----
    On the simplex the mean is unique: its sphere chart lies in a ball of radius pi/2 of the unit
    sphere. There Newton's method starts at the normalised mean of the roots. The Hessian of half
    the squared distance is 1 along the geodesic and phi cot phi across it, phi = d / 2, so that
    its systems have condition numbers below sqrt(c); conjugate gradients solve them without a
    c x c matrix. Every iterate is a combination of the points with positive weights:

    .. math:: \sqrt{\bar p} \propto \textstyle\sum_k w_k \frac{\phi_k}{\sin \phi_k} \sqrt{p_k}

    so the mean lies on every face that the points share, and its smallest probabilities have the
    relative accuracy of the largest (from logits also those that underflow).

    A gradient norm below 1000 roundoffs (1e-4 in float32) that a further Newton step does not
    halve is at its floor and counts as converged; ``gradient_norm`` says where it came to rest. For
    normal distributions the rounding of the point itself, of 16 units, counts too: means of 1e6
    beside standard deviations of 1e-6 leave gradients of 1e-4.

    On torch tensors that require a gradient the mean has one, by the implicit function theorem,
    for the simplex and for logits. A root has no derivative at 0: at an excluded outcome it is
    taken as 0, so that the gradient is that within the face.

    Other spaces get gradient steps of Barzilai and Borwein's length, shortened until the sum of
    squares decreases, from the point of largest weight. They end at a stationary point, which is
    the mean where that is unique (as in spaces without positive curvature: `infogeo.normal`).

    References
    ----------
    H. Karcher, Riemannian center of mass and mollifier smoothing, Comm. Pure Appl. Math. 30, 1977.
    B. Iannazzo and M. Porcelli, The Riemannian Barzilai-Borwein method, IMA J. Numer. Anal. 38,
    2018.

    Examples
    --------
    >>> from infogeo.mean import frechet_mean
    >>> mean = frechet_mean([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> mean.point.round(12)
    array([0.5, 0.5, 0. ])
    >>> mean.status.value
    'converged'
    """
    _require_controls(tol, max_steps)
    space = _spaces.resolve(space)
    chart = _spaces.chart_of(space)
    if chart is not None:
        xp, points, weights = _array.gate_mean(check, space.POINTS, points, weights, axis)
        _require_readable(points)
        point, norm, steps, is_done = _mean_on_sphere(
            chart, points, weights, int(axis), tol, max_steps, xp
        )
    elif hasattr(space, "frechet_mean"):
        return _closed_mean(space, points, weights, axis, check)
    else:
        _require_verbs(space)
        space, xp, points, weights, num_events = _gate_in_space(space, points, weights, axis, check)
        _require_readable(points)
        point, norm, steps, is_done = _mean_by_descent(
            space, points, weights, int(axis), num_events, tol, max_steps, xp
        )
        if isinstance(space, _OnArrays):
            point = space.unpacked(point)
    status = Status.CONVERGED if bool(xp.all(is_done)) else Status.MAX_STEPS
    result = Mean(point, _array.as_number(norm), _array.as_number(steps), status)
    if throw and not status.is_solution:
        raise _solve_error(result, is_done, tol, max_steps)
    return result


def _closed_mean(space: Any, points: Any, weights: Any, axis: int, check: bool) -> Any:
    """Return the mean of a space that has a formula for it."""
    point, norm = space.frechet_mean(points, weights=weights, axis=axis, check=check)
    xp = array_namespace(norm)
    steps = xp.zeros_like(norm, dtype=xp.asarray(0).dtype)
    return Mean(point, _array.as_number(norm), _array.as_number(steps), Status.CONVERGED)


# ---------------------------------------------------------------- arguments and errors


def _require_controls(tol: float, max_steps: int) -> None:
    if not (isinstance(tol, int | float | np.number) and 0.0 <= tol < math.inf):
        raise bad_value("tol", "be a number that is not negative", f"got {tol!r}")
    if isinstance(max_steps, bool) or not isinstance(max_steps, int | np.integer) or max_steps < 1:
        raise bad_value("max_steps", "be a positive integer", f"got {max_steps!r}")


def _require_verbs(space: Any) -> None:
    missing = [verb for verb in ("exp_map", "log_map") if not hasattr(space, verb)]
    if not (hasattr(space, "norm") or hasattr(space, "inner_product")):
        missing.append("norm or inner_product")
    if missing:
        raise TypeError(
            f"space must have exp_map, log_map and norm or inner_product: {space!r} lacks "
            f"{', '.join(missing)}."
        )


def _require_readable(points: Array) -> None:
    if not _array.is_readable(points):
        raise TypeError(
            "points must have values that can be read: the solve does not run inside jax.jit, "
            "torch.func or torch.compile, nor on dask arrays. Call it outside, or on .compute()."
        )


def _gate_in_space(
    space: Any, points: Array, weights: Array, axis: int, check: bool
) -> tuple[Any, Namespace, Array, Array, int]:
    """Gate the points of a space; its norm says which of the axes of arrays are batch axes.

    Points that are objects come back as arrays, and their space as one of arrays.
    """
    if isinstance(points, _points.Points):
        xp, arrays, weights = _points.gate_mean(check, type(points), points, weights, axis)
        points = _points.make(type(points), *arrays)
        space = _OnArrays.of(space, points, xp)
        return space, xp, _points.pack(points, xp), weights, 1
    if isinstance(points, list | tuple) and points and isinstance(points[0], _points.Points):
        cls = type(points[0]).__name__
        raise TypeError(f"points must be one batch: got a list. Pass {cls}.stack(points).")
    if weights is None:
        xp, points = gate(check, points=(REAL, points))
    else:
        rule = _array.weights_rule(REAL, points, weights, axis)
        xp, points, weights = gate(check, points=(REAL, points), weights=(rule, weights))
    if 0 in points.shape:
        raise bad_value("points", "hold at least one point", f"got shape {tuple(points.shape)}")
    batch = tuple(_spaces.verb(space, "norm")(points, xp.zeros_like(points)).shape)
    if not _array.is_axis(axis, len(batch)):
        raise bad_value(
            "axis",
            "name one of the batch axes of the points",
            f"got {axis!r} for points of shape {tuple(points.shape)} and batch shape {batch}",
        )
    if weights is None:
        weights = xp.ones_like(xp.sum(points, axis=tuple(range(len(batch), points.ndim))))
    weights = _array.normalised_weights(weights, batch, axis, check, xp)
    return space, xp, points, weights, points.ndim - len(batch)


def _solve_error(result: Mean, is_done: Array, tol: float, max_steps: int) -> SolveError:
    norms = np.reshape(np.asarray(_array.on_host(result.gradient_norm)), -1)
    failed = tuple(
        int(i) for i in np.flatnonzero(~np.reshape(np.asarray(_array.on_host(is_done)), -1))
    )
    seen = f"gradient norm {norms[list(failed)].max():.3g} after {max_steps} steps, tol {tol:.3g}"
    if not result.gradient_norm.shape:
        return SolveError(f"The Frechet mean did not converge: {seen}.", result)
    listed = ", ".join(str(i) for i in failed[:8]) + (", ..." if len(failed) > 8 else "")
    return SolveError(
        f"{len(failed)} of {norms.size} Frechet means did not converge (at {listed}): largest "
        f"{seen}; the others are solved in the result.",
        result,
        failed,
    )


# ---------------------------------------------------------------- on the sphere, for predictions


@dataclass(frozen=True)
class _Iterate:
    """A point x of the unit sphere and half the sum of squared angles near it, for a batch."""

    coefficients: Array  # (..., n): x is the normalised sum of coefficients * roots
    x: Array  # (..., c)
    stretch: Array  # (..., n): w phi / sin phi
    bend: Array  # (..., n): its derivative by the cosine, negated
    pull: Array  # (..., 1): sum w phi cot phi
    descent: Array  # (..., c): the weighted mean of the log maps, tangent at x
    norm: Array  # (...): its norm


def _mean_on_sphere(
    chart: SphereChart,
    points: Array,
    weights: Array,
    axis: int,
    tol: float,
    max_steps: int,
    xp: Namespace,
) -> tuple[Array, Array, Array, Array]:
    """Return the mean, the norm of its gradient, the steps, and whether it converged."""
    points = xp.moveaxis(points, axis, -2)
    if weights is None:
        weights = xp.ones_like(points[..., 0]) / points.shape[-2]
    else:
        weights = xp.moveaxis(weights, axis, -1)
    roots = chart.unit_vectors(points, xp)
    fixed = [_array.detached(x) for x in (roots, weights)]
    iterate, steps, is_done = _newton(fixed[0], fixed[1], 0.5 * tol, max_steps, xp)
    coefficients = iterate.coefficients
    if _wants_gradient(roots, weights):
        x = _with_gradient(iterate, roots, weights, xp)
        coefficients = weights * _stretch(roots, x, xp)[0]
    point = chart.combined(coefficients, points, xp)
    return point, 2.0 * iterate.norm, steps, is_done


def _newton(
    roots: Array, weights: Array, tol: float, max_steps: int, xp: Namespace
) -> tuple[_Iterate, Array, Array]:
    """Return the mean on the sphere as an iterate, the steps, and whether it converged."""
    here = _iterate(weights, roots, weights, xp)
    floor = _ROUNDOFFS * xp.finfo(roots.dtype).eps
    is_done = here.norm <= tol
    steps = xp.zeros_like(is_done, dtype=xp.asarray(0).dtype)
    for _ in range(max_steps):
        if bool(xp.all(is_done)):
            break
        # From the normalised mean of the roots Newton needs no safeguard: a search for bad points
        # and weights found no first step that left more than 0.3 % of the gradient.
        there = _after_newton_step(here, roots, weights, xp)
        is_at_floor = (here.norm <= floor) & (there.norm > 0.5 * here.norm)
        is_kept = is_done | (is_at_floor & (there.norm >= here.norm))
        steps = xp.where(is_done, steps, steps + 1)
        here = _selected(is_kept, here, there, xp)
        is_done = is_done | is_at_floor | (here.norm <= tol)
    return here, steps, is_done


def _iterate(coefficients: Array, roots: Array, weights: Array, xp: Namespace) -> _Iterate:
    """Evaluate the gradient at the point with these coefficients."""
    x = _combined(coefficients, roots, xp)
    length = _array.norm(x, xp)[..., None]
    x, coefficients = x / length, coefficients / length
    stretch, bend, cosine = _stretch(roots, x, xp)
    stretch, bend = weights * stretch, weights * bend
    pull = xp.sum(stretch * cosine, axis=-1, keepdims=True)
    descent = _without(x, _combined(stretch, roots, xp) - pull * x, xp)
    return _Iterate(coefficients, x, stretch, bend, pull, descent, _array.norm(descent, xp))


def _after_newton_step(here: _Iterate, roots: Array, weights: Array, xp: Namespace) -> _Iterate:
    step = _inverse_hessian(
        here, roots, here.descent, _array.clip(here.norm, xp, max=0.01)[..., None], xp
    )
    length = _array.norm(step, xp)[..., None]
    x = xp.cos(length) * here.x + _sphere.sinc(length, xp) * step
    # x itself might have tiny coordinates of the wrong sign. Its image under the map whose fixed
    # point is the mean has positive coefficients, and is as near.
    return _iterate(weights * _stretch(roots, x, xp)[0], roots, weights, xp)


def _stretch(roots: Array, x: Array, xp: Namespace) -> tuple[Array, Array, Array]:
    """Return phi / sin phi, its derivative by the cosine, negated, and the cosine of phi.

    Powers of 1 - cos phi for near points, where the closed form cancels.
    """
    cosine = _array.clip(_cosines(roots, x, xp), xp, max=1.0)
    is_near = cosine > 0.9
    e = xp.where(is_near, 1.0 - cosine, xp.zeros_like(cosine))
    near, slope = xp.zeros_like(e), xp.zeros_like(e)
    for n in range(13, -1, -1):
        slope = slope * e + near  # Horner's rule and its derivative
        near = near * e + 2**n * math.factorial(n) ** 2 / math.factorial(2 * n + 1)
    s = xp.where(is_near, xp.zeros_like(cosine), cosine)
    squared_sine = (1.0 - s) * (1.0 + s)
    far = xp.acos(s) / xp.sqrt(squared_sine)
    return (
        xp.where(is_near, near, far),
        xp.where(is_near, slope, (1.0 - far * s) / squared_sine),
        cosine,
    )


def _inverse_hessian(
    here: _Iterate, roots: Array, b: Array, tolerance: Array | float, xp: Namespace
) -> Array:
    """Solve H v = b in the tangent space at x by conjugate gradients, vectorised over the batch."""
    residual = _without(here.x, b, xp)
    v, direction = xp.zeros_like(residual), residual
    squared = xp.sum(residual * residual, axis=-1, keepdims=True)
    goal = tolerance * tolerance * squared
    for _ in range(500):  # many more than it takes: the condition number is below sqrt(c)
        is_going = squared > goal
        if not bool(xp.any(is_going)):
            break
        image = _hessian(here, roots, direction, xp)
        curvature = xp.sum(direction * image, axis=-1, keepdims=True)
        is_going = is_going & (curvature > 0.0)
        length = squared / xp.where(is_going, curvature, xp.ones_like(curvature))
        length = xp.where(is_going, length, xp.zeros_like(length))
        v, residual = v + length * direction, residual - length * image
        following = xp.sum(residual * residual, axis=-1, keepdims=True)
        ratio = following / xp.where(is_going, squared, xp.ones_like(squared))
        direction = residual + xp.where(is_going, ratio, xp.zeros_like(ratio)) * direction
        squared = xp.where(is_going, following, xp.zeros_like(following))
    return v


def _hessian(here: _Iterate, roots: Array, v: Array, xp: Namespace) -> Array:
    """Return pull v + sum bend <root, v> root, tangent at x."""
    across = _combined(here.bend * _cosines(roots, v, xp), roots, xp)
    return _without(here.x, here.pull * v + across, xp)


def _cosines(roots: Array, x: Array, xp: Namespace) -> Array:
    return xp.matmul(roots, x[..., None])[..., 0]


def _combined(coefficients: Array, roots: Array, xp: Namespace) -> Array:
    return xp.matmul(coefficients[..., None, :], roots)[..., 0, :]


def _without(x: Array, v: Array, xp: Namespace) -> Array:
    """Return the part of v that is tangent at x."""
    return v - xp.sum(x * v, axis=-1, keepdims=True) * x


# ---------------------------------------------------------------- gradients on torch


def _wants_gradient(*arrays: Array) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and any(
        isinstance(x, torch.Tensor) and x.requires_grad and torch.is_grad_enabled() for x in arrays
    )


def _with_gradient(iterate: _Iterate, roots: Array, weights: Array, xp: Namespace) -> Array:
    """Return x with the derivative H^-1 (d descent), which the stationary point has."""
    import torch

    class Step(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, descent: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(descent)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            tolerance = 4.0 * float(torch.finfo(gradient.dtype).eps)
            return _inverse_hessian(iterate, roots.detach(), gradient, tolerance, xp)

    stretch = weights * _stretch(roots, iterate.x, xp)[0]
    return iterate.x + Step.apply(_without(iterate.x, _combined(stretch, roots, xp), xp))


# ---------------------------------------------------------------- other spaces


@dataclass(frozen=True)
class _OnArrays:
    """A space of points that are objects, as one of arrays with all their fields in the last axis.

    Its verbs take ``check=False``: a step too long, which the descent shortens, may leave the range
    of floating-point numbers.
    """

    space: Any
    point_class: type
    tangent_class: type
    event_shapes: list[tuple[int, ...]]
    tangent_shapes: list[tuple[int, ...]]
    xp: Any

    @classmethod
    def of(cls, space: Any, points: Any, xp: Namespace) -> _OnArrays:
        tangent = space.log_map(points, points, check=False)
        of_points, of_vectors = (_points.event_shapes(x) for x in (points, tangent))
        return cls(space, type(points), type(tangent), of_points, of_vectors, xp)

    def unpacked(self, p: Array) -> Array:
        return _points.unpack(self.point_class, p, self.event_shapes, self.xp)

    def _tangent(self, v: Array) -> Array:
        return _points.unpack(self.tangent_class, v, self.tangent_shapes, self.xp)

    def exp_map(self, p: Array, v: Array) -> Array:
        with np.errstate(all="ignore"):
            end = self.space.exp_map(self.unpacked(p), self._tangent(v), check=False)
        return _points.pack(end, self.xp)

    def log_map(self, p: Array, q: Array) -> Array:
        with np.errstate(all="ignore"):
            v = self.space.log_map(self.unpacked(p), self.unpacked(q), check=False)
        return _points.pack(v, self.xp)

    def norm(self, p: Array, v: Array) -> Array:
        with np.errstate(all="ignore"):
            return self.space.norm(self.unpacked(p), self._tangent(v), check=False)

    def inner_product(self, p: Array, u: Array, v: Array) -> Array:
        with np.errstate(all="ignore"):
            return self.space.inner_product(
                self.unpacked(p), self._tangent(u), self._tangent(v), check=False
            )


@dataclass(frozen=True)
class _Objective:
    """Half the weighted sum of squared distances and its gradient at a point, for a batch."""

    point: Array  # (..., *event)
    value: Array  # (...)
    descent: Array  # (..., *event): the weighted mean of the log maps
    norm: Array  # (...): its norm


def _mean_by_descent(
    space: Any,
    points: Array,
    weights: Array,
    axis: int,
    num_events: int,
    tol: float,
    max_steps: int,
    xp: Namespace,
) -> tuple[Array, Array, Array, Array]:
    """Return the mean, the norm of its gradient, the number of steps, and whether it converged."""
    points, weights = xp.moveaxis(points, axis, 0), xp.moveaxis(weights, axis, 0)
    here = _objective(space, _heaviest(points, weights, num_events, xp), points, weights, xp)
    roundoff = float(xp.finfo(points.dtype).eps)
    length = xp.ones_like(here.norm)
    is_done = here.norm <= tol
    steps = xp.zeros_like(is_done, dtype=xp.asarray(0).dtype)
    for _ in range(max_steps):
        if bool(xp.all(is_done)):
            break
        length = xp.where(is_done, xp.zeros_like(length), length)
        for _ in range(60):  # halve until the value decreases, but for its rounding
            there = _step_along(space, here, length, points, weights, xp)
            goal = (1.0 + 8.0 * roundoff) * here.value - 1e-4 * length * here.norm**2
            is_lower = is_done | (there.value <= goal)
            if bool(xp.all(is_lower)):
                break
            length = xp.where(is_lower, length, 0.5 * length)
        floor = _ROUNDOFFS * roundoff
        if isinstance(space, _OnArrays):  # units in the last place of the points, as velocities
            units = [space.norm(x.point, roundoff * x.point) for x in (here, there)]
            floor = floor + 16.0 * xp.minimum(*units)
        is_at_floor = (here.norm <= floor) & (there.norm > 0.5 * here.norm)
        is_kept = is_done | ~is_lower | (is_at_floor & (there.norm >= here.norm))
        steps = xp.where(is_done, steps, steps + 1)
        length = _next_length(space, here, there, length, xp)
        here = _selected(is_kept, here, there, xp)
        is_done = is_done | is_at_floor | (here.norm <= tol)
    return here.point, here.norm, steps, is_done


def _heaviest(points: Array, weights: Array, num_events: int, xp: Namespace) -> Array:
    """Return the first point of largest weight."""
    index = _beside(xp.arange(points.shape[0], device=_array.device_of(points)), weights, xp)
    is_chosen = _beside(index == xp.argmax(weights, axis=0), points, xp)
    return xp.sum(xp.where(is_chosen, points, xp.zeros_like(points)), axis=0)


def _objective(
    space: Any, point: Array, points: Array, weights: Array, xp: Namespace
) -> _Objective:
    logs = space.log_map(point[None, ...], points)
    is_in = weights > 0.0
    logs = xp.where(_beside(is_in, logs, xp), logs, xp.zeros_like(logs))
    norm = _spaces.verb(space, "norm")
    squares = norm(point[None, ...], logs) ** 2
    descent = xp.sum(_beside(weights, logs, xp) * logs, axis=0)
    value = 0.5 * xp.sum(weights * squares, axis=0)
    return _Objective(point, value, descent, norm(point, descent))


def _step_along(
    space: Any, here: _Objective, length: Array, points: Array, weights: Array, xp: Namespace
) -> _Objective:
    step = _beside(length, here.descent, xp) * here.descent
    return _objective(space, space.exp_map(here.point, step), points, weights, xp)


def _next_length(
    space: Any, here: _Objective, there: _Objective, length: Array, xp: Namespace
) -> Array:
    """Return |s|^2 / <s, y> for the step s just taken and the change y of the gradient along it.

    Both are wanted at the new point. The log map back to the old one is the step transported, and
    so is the old gradient, which is parallel to it: no other transport is needed.
    """
    step = -space.log_map(there.point, here.point)
    squared = _spaces.verb(space, "norm")(there.point, step) ** 2
    along = _spaces.verb(space, "inner_product")(there.point, step, there.descent)
    curvature = squared / xp.where(length > 0.0, length, xp.ones_like(length)) - along
    is_convex = curvature * 1e3 > squared
    following = squared / xp.where(is_convex, curvature, xp.ones_like(curvature))
    return xp.where(is_convex, _array.clip(following, xp, min=1e-3), xp.ones_like(following))


# ---------------------------------------------------------------- batches


def _beside(x: Array, array: Array, xp: Namespace) -> Array:
    """Return x with axes of length 1 at its end, as many as the array has more."""
    return xp.reshape(x, (*x.shape, *(1,) * (len(array.shape) - len(x.shape))))


def _selected(condition: Array, first: _T, second: _T, xp: Namespace) -> _T:
    """Return the fields of the first where the condition holds, of the second elsewhere."""
    return type(first)(
        *(
            xp.where(_beside(condition, a, xp), a, b)
            for a, b in zip(vars(first).values(), vars(second).values(), strict=True)
        )
    )


finish(globals())
