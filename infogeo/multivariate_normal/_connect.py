"""The geodesic between two multivariate normals: its length, its points and its velocities."""

import functools
import math
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np
from array_api_compat import array_namespace

from infogeo import _array
from infogeo._array import UNIT_INTERVAL, Array, Namespace, bad_value
from infogeo._points import make
from infogeo._result import Result
from infogeo._status import SolveError, Status
from infogeo._system.registry import storable
from infogeo.multivariate_normal import _fibre
from infogeo.multivariate_normal._metric import flow
from infogeo.multivariate_normal._point import (
    MultivariateNormal,
    Tangent,
    as_like,
    gate,
    gate_pair,
    host_of,
    matvec,
    solve_lower,
    to_host,
    transposed,
    whitened,
)


@storable("Connection")
@dataclass(frozen=True, eq=False, repr=False)
class Connection(Result):
    """The geodesic between two normals, with what its solve left over.

    Parameters
    ----------
    distance : array, shape (...)
        Its length, the Fisher-Rao distance.
    initial_velocity : Tangent
        At the first point: the log map.
    final_velocity : Tangent
        On arrival at the second point.
    residual : array, shape (...)
        The part of the length that is left in the fibre, 0 but for rounding: the velocities are
        off by about as much, the distance by its square.
    steps : int array, shape (...)
        Newton steps taken.
    status : Status
        How the solve ended; for a batch the worst of its members.
    """

    distance: Array
    initial_velocity: Tangent
    final_velocity: Tangent
    residual: Array
    steps: Array
    status: Status


@storable("Bounds")
@dataclass(frozen=True, eq=False, repr=False)
class Bounds(Result):
    """A certified bracket.

    Parameters
    ----------
    lower, upper : array, shape (...)
        No value below the one or above the other is possible.
    """

    lower: Array
    upper: Array


class _Frame(NamedTuple):
    """A pair of normals as N(0, I) and N(m, diag w), flattened to n pairs."""

    batch: tuple[int, ...]
    m: np.ndarray  # (n, d)
    log_w: np.ndarray  # (n, d)
    start: np.ndarray  # (n, d, d): y = a.mean + start @ z, the first of them in the coordinates z
    end: np.ndarray  # (n, d, d): y = b.mean + end @ z makes the second N(0, I)


# ---------------------------------------------------------------- distance and geodesic


def fisher_rao_distance(
    a: MultivariateNormal,
    b: MultivariateNormal,
    *,
    rtol: float = 1e-12,
    max_steps: int = 100,
    check: bool = True,
) -> Array:
    r"""Return the Fisher-Rao distance between multivariate normals.

    .. math:: d(a, b) = \min_\gamma \int \sqrt{\dot\mu' S^{-1} \dot\mu
              + \tfrac12 \operatorname{tr} (S^{-1} \dot S)^2} \, dt

    Parameters
    ----------
    a, b : MultivariateNormal
    rtol : float
        A solve has converged when a further step would change the distance by less, relative, or
        by no more than rounding.
    max_steps : int
        The most Newton steps. A few suffice.
    check : bool

    Returns
    -------
    array, shape (...)
        In the library, dtype and device of the points.

    Raises
    ------
    TypeError, ValueError
        Arguments that are not normals of one dimension, library and device; batches that do not
        broadcast; values that cannot be read (inside ``torch.compile`` or ``jax.jit``).
    SolveError
        A solve that did not converge. It carries ``.result`` (a `Connection`) and, for a batch,
        ``.failed``: the positions in the flattened batch. The message has the certified bracket.

    Notes
    -----
    The distance is a function of the singular values of a d x (d + 1) matrix that is affine in
    d (d - 1) / 2 unknowns; Newton's method with conjugate gradients minimises it. Near points keep
    full relative precision: that matrix is small and no digits cancel. Rounding limits the result
    to about eps times the condition number of one covariance relative to the other's Cholesky
    factor, in practice 1e-14 up to distance 10, 1e-12 up to 20.

    On torch tensors the distance has first derivatives: the gradient of its square is -2 times
    the log map. It is 0 at a = b. Second derivatives raise an error.

    `infogeo.normal.diagonal_fisher_rao_distance` is the distance inside the diagonal normals,
    which is longer.

    References
    ----------
    P. S. Eriksen, Geodesics connected with the Fisher metric on the multivariate normal
    manifold, 1987.
    S. Kobayashi, Geodesics of multivariate normal distributions and a Toda lattice type Lax
    pair, Phys. Scr. 98, 2023.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([1.0, 1.0], np.eye(2))
    >>> round(float(fisher_rao_distance(a, b)), 12)
    1.361072578747
    """
    xp, a, b = gate_pair(a, b)
    _require_controls(rtol, max_steps)
    if _needs_autograd(a, b):
        return _array.safe_sqrt(_differentiable_squared_distance(a, b, rtol, max_steps), xp)
    frame, solution = _solved(a, b, rtol, max_steps, xp)
    return as_like(solution.distance.reshape(frame.batch), a.mean, xp)


def fisher_rao_squared_distance(
    a: MultivariateNormal,
    b: MultivariateNormal,
    *,
    rtol: float = 1e-12,
    max_steps: int = 100,
    check: bool = True,
) -> Array:
    r"""Return the square of the Fisher-Rao distance between multivariate normals.

    .. math:: d(a, b)^2

    Parameters
    ----------
    a, b : MultivariateNormal
    rtol, max_steps : float, int
    check : bool

    Returns
    -------
    array, shape (...)
        Differentiable once on torch tensors, with gradient 0 at a = b.

    Raises
    ------
    TypeError, ValueError, SolveError
        As `fisher_rao_distance`.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([0.0, 0.0], np.exp(2.0) * np.eye(2))
    >>> round(float(fisher_rao_squared_distance(a, b)), 12)
    4.0
    """
    xp, a, b = gate_pair(a, b)
    _require_controls(rtol, max_steps)
    if _needs_autograd(a, b):
        return _differentiable_squared_distance(a, b, rtol, max_steps)
    frame, solution = _solved(a, b, rtol, max_steps, xp)
    return as_like(solution.distance.reshape(frame.batch) ** 2, a.mean, xp)


def connect(
    a: MultivariateNormal,
    b: MultivariateNormal,
    *,
    rtol: float = 1e-12,
    max_steps: int = 100,
    throw: bool = True,
    check: bool = True,
) -> Connection:
    r"""Solve for the geodesic between two normals: its length and its velocities at both ends.

    Parameters
    ----------
    a, b : MultivariateNormal
    rtol, max_steps : float, int
    throw : bool
        Raise if a solve did not converge; otherwise the status says so.
    check : bool

    Returns
    -------
    Connection
        ``distance`` (...); ``initial_velocity`` at a (the log map) and ``final_velocity`` at b;
        ``residual`` (...), the part of the length that is left in the fibre: velocities are off by
        about that much; ``steps`` (...); ``status``.

    Raises
    ------
    TypeError, ValueError, SolveError
        As `fisher_rao_distance`; tensors that require a gradient, which velocities do not have.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([2.0, 1.0], [[2.0, 0.5], [0.5, 1.0]])
    >>> found = connect(a, b)
    >>> round(float(found.distance), 12), bool(found.residual < 1e-13)
    (1.806090621218, True)
    """
    xp, a, b = gate_pair(a, b)
    _require_controls(rtol, max_steps)
    _require_no_gradient(a, b)
    frame, solution = _solved(a, b, rtol, max_steps, xp, throw=throw)
    return _connection(frame, solution, a.mean, xp)


def distance_bounds(a: MultivariateNormal, b: MultivariateNormal, *, check: bool = True) -> Bounds:
    r"""Return certified bounds on the Fisher-Rao distance, without a solve.

    .. math:: \sqrt{\tfrac12 \textstyle\sum \log^2 \operatorname{eig} (P_a^{-1} P_b)} \le d(a, b),
              \qquad P = \begin{pmatrix} S + \mu \mu' & \mu \\ \mu' & 1 \end{pmatrix}

    Parameters
    ----------
    a, b : MultivariateNormal
    check : bool

    Returns
    -------
    Bounds
        ``lower`` (Calvo and Oller's embedding into the positive definite matrices) and ``upper``
        (the length of a lift that ends at the origin of the fibre), each of shape (...), widened
        by a few units of rounding.

    References
    ----------
    M. Calvo and J. M. Oller, A distance between multivariate normal distributions based in an
    embedding into the Siegel group, J. Multivariate Anal. 35, 1990.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.diag([1.0, 0.1]))
    >>> b = MultivariateNormal([1.0, 1.0], np.diag([0.1, 1.0]))
    >>> found = distance_bounds(a, b)
    >>> round(float(found.lower), 4), round(float(found.upper), 4)
    (3.047, 3.2093)
    """
    xp, a, b = gate_pair(a, b)
    frame = _frame(a, b)
    return Bounds(*(as_like(x.reshape(frame.batch), a.mean, xp) for x in _bounds(frame)))


def _bounds(frame: _Frame) -> tuple[np.ndarray, np.ndarray]:
    m, log_w = frame.m, frame.log_w
    n, d = m.shape
    w = np.exp(log_w)
    root = np.zeros((n, d + 1, d + 1))  # P = root root'; that of N(0, I) is the identity
    i = np.arange(d)
    root[:, i, i] = np.sqrt(w)
    root[:, :d, d] = m
    root[:, d, d] = 1.0
    logs = 2.0 * np.log(np.linalg.svd(root, compute_uv=False))
    excess = np.zeros_like(root)  # P - I keeps the digits of near points
    excess[:, :d, :d] = m[:, :, None] * m[:, None, :]
    excess[:, i, i] += np.expm1(log_w)
    excess[:, :d, d] = excess[:, d, :d] = m
    is_near = np.linalg.norm(excess, axis=(-2, -1)) < 0.5
    if is_near.any():
        logs[is_near] = np.log1p(np.linalg.eigvalsh(excess[is_near]))
    lower = math.sqrt(0.5) * _array.norm(logs, np)
    slack = 32.0 * np.finfo(np.float64).eps * math.sqrt(d)
    return lower * (1.0 - slack), _fibre.upper_bound(m, log_w) * (1.0 + slack)


def log_map(
    a: MultivariateNormal,
    b: MultivariateNormal,
    *,
    rtol: float = 1e-12,
    max_steps: int = 100,
    check: bool = True,
) -> Tangent:
    r"""Return the velocity at a of the Fisher-Rao geodesic that reaches b at time 1.

    .. math:: \exp_a(\log_a b) = b, \qquad |\log_a b| = d(a, b)

    Parameters
    ----------
    a, b : MultivariateNormal
    rtol, max_steps : float, int
    check : bool

    Returns
    -------
    Tangent
        Velocities of the mean and of the covariance.

    Raises
    ------
    TypeError, ValueError, SolveError
        As `connect`.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([0.0, 0.0], np.diag([np.e, 1 / np.e]))
    >>> log_map(a, b).cov.round(12)
    array([[ 1.,  0.],
           [ 0., -1.]])
    """
    return connect(a, b, rtol=rtol, max_steps=max_steps).initial_velocity


def fisher_rao_geodesic(
    a: MultivariateNormal,
    b: MultivariateNormal,
    t: Array,
    *,
    rtol: float = 1e-12,
    max_steps: int = 100,
    check: bool = True,
) -> MultivariateNormal:
    r"""Return the point of the Fisher-Rao geodesic from a (t = 0) to b (t = 1).

    .. math:: \gamma(t) = \exp_a(t \log_a b)

    Parameters
    ----------
    a, b : MultivariateNormal
    t : float or array
        Parameter in [0, 1], proportional to arc length. Its axes come first in the result.
    rtol, max_steps : float, int
    check : bool
        Verify t.

    Returns
    -------
    MultivariateNormal
        A batch of shape t.shape + (...).

    Raises
    ------
    TypeError, ValueError, SolveError
        As `connect`; t outside [0, 1] (`exp_map` goes beyond).

    Notes
    -----
    Points are reached from the nearer end, so that both ends are met exactly.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([-1.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([1.0, 0.0], np.eye(2))
    >>> fisher_rao_geodesic(a, b, 0.5).cov.round(6)  # wider on its way
    array([[1.5, 0. ],
           [0. , 1. ]])
    """
    xp, a, b, t = gate(
        check, a=(MultivariateNormal, a), b=(MultivariateNormal, b), t=(UNIT_INTERVAL, t)
    )
    _require_controls(rtol, max_steps)
    _require_no_gradient(a, b)
    frame, solution = _solved(a, b, rtol, max_steps, xp)
    times = to_host(t).reshape(-1)
    d = a.dim
    mean, cov = (np.empty((times.size, *x.shape)) for x in (frame.m, solution.b))
    ends = (
        (times <= 0.5, times, a, frame.start, solution.x, solution.b),
        (times > 0.5, 1.0 - times, b, frame.end, solution.end_x, solution.end_b),
    )
    for which, time, origin, matrix, x, B in ends:
        duration = time[which][:, None, None]
        center, factor = flow(duration * x, duration[..., None] * B, np)
        base = np.broadcast_to(host_of(origin).mean, (*frame.batch, d)).reshape(-1, d)
        mean[which] = base + matvec(matrix, center, np)
        factor = matrix @ factor
        cov[which] = factor @ transposed(factor)
    shape = (*t.shape, *frame.batch)
    mean, cov = mean.reshape(*shape, d), cov.reshape(*shape, d, d)
    return make(MultivariateNormal, as_like(mean, a.mean, xp), as_like(cov, a.mean, xp))


def _require_controls(rtol: float, max_steps: int) -> None:
    if not (isinstance(rtol, int | float | np.number) and 0.0 < rtol < 1.0):
        raise bad_value("rtol", "be a number between 0 and 1", f"got {rtol!r}")
    if isinstance(max_steps, bool) or not isinstance(max_steps, int | np.integer) or max_steps < 1:
        raise bad_value("max_steps", "be a positive integer", f"got {max_steps!r}")


# ---------------------------------------------------------------- the solve


def _frame(a: MultivariateNormal, b: MultivariateNormal) -> _Frame:
    """Standardise pairs: an affine map makes the first N(0, I), a rotation the second diagonal."""
    first, second = host_of(a), host_of(b)
    batch, d = np.broadcast_shapes(a.shape, b.shape), a.dim

    def flat(x: np.ndarray, *event: int) -> np.ndarray:
        return np.broadcast_to(x, (*batch, *event)).reshape(-1, *event)

    difference = flat(second.mean - first.mean, d)
    L0, L1 = flat(first.factor, d, d), flat(second.factor, d, d)
    V, s, _ = np.linalg.svd(solve_lower(L0, L1, np))
    log_w = 2.0 * np.log(s)
    # The eigenvalues of a difference keep the digits of near covariances.
    excess = whitened(L0, flat(second.cov - first.cov, d, d), np)
    (near,) = np.nonzero(np.linalg.norm(excess, axis=(-2, -1)) < 0.5)
    if near.size:
        ratios, V[near] = np.linalg.eigh(excess[near])
        log_w[near] = np.log1p(ratios)
    start = L0 @ V
    m = (transposed(V) @ solve_lower(L0, difference[..., None], np))[..., 0]
    return _Frame(batch, m, log_w, start, start * np.exp(0.5 * log_w)[:, None, :])


def _velocity(
    frame_matrix: np.ndarray, x: np.ndarray, B: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the velocity with (x, B) at N(0, I) in the coordinates y."""
    cov = frame_matrix @ B @ transposed(frame_matrix)
    return (frame_matrix @ x[..., None])[..., 0], 0.5 * (cov + transposed(cov))


def _solved(
    a: MultivariateNormal,
    b: MultivariateNormal,
    rtol: float,
    max_steps: int,
    xp: Namespace,
    *,
    throw: bool = True,
) -> tuple[_Frame, _fibre.Solution]:
    """Return the frame and the geodesics in it, all of them converged if `throw`."""
    frame = _frame(a, b)
    solution = _fibre.solve(frame.m, frame.log_w, rtol, max_steps)
    if throw and not solution.is_solved.all():
        raise _solve_error(frame, solution, _connection(frame, solution, a.mean, xp))
    return frame, solution


def _connection(frame: _Frame, solution: _fibre.Solution, like: Array, xp: Namespace) -> Connection:
    d = frame.m.shape[-1]

    def back(x: np.ndarray, *event: int) -> Array:
        return as_like(x.reshape((*frame.batch, *event)), like, xp)

    def tangent(matrix: np.ndarray, x: np.ndarray, B: np.ndarray) -> Tangent:
        mean, cov = _velocity(matrix, x, B)
        return make(Tangent, back(mean, d), back(cov, d, d))

    steps = solution.steps.reshape(frame.batch)
    return Connection(
        distance=back(solution.distance),
        initial_velocity=tangent(frame.start, solution.x, solution.b),
        final_velocity=-tangent(frame.end, solution.end_x, solution.end_b),
        residual=back(solution.residual),
        steps=_array.as_number(xp.asarray(steps, device=_array.device_of(like))),
        status=Status.CONVERGED if solution.is_solved.all() else Status.MAX_STEPS,
    )


def _solve_error(frame: _Frame, solution: _fibre.Solution, result: Connection) -> SolveError:
    failed = np.flatnonzero(~solution.is_solved)
    lower, upper = _bounds(frame)
    first = failed[0]
    upper = min(upper[first], solution.distance[first])
    seen = (
        f"after {solution.steps[first]} steps {solution.residual[first]:.2g} of the length is left "
        f"in the fibre, and the distance lies in [{lower[first]:.6g}, {upper:.6g}]"
    )
    advice = "Raise max_steps, or standardise coordinates of very different scale."
    if not frame.batch:
        return SolveError(f"The geodesic did not converge: {seen}. {advice}", result)
    listed = ", ".join(str(i) for i in failed[:8]) + (", ..." if failed.size > 8 else "")
    return SolveError(
        f"{failed.size} of {solution.distance.size} geodesics did not converge (at {listed}); the "
        f"others are solved in the result. At {first}: {seen}. {advice}",
        result,
        tuple(int(i) for i in failed),
    )


# ---------------------------------------------------------------- gradients on torch


def _needs_autograd(*normals: MultivariateNormal) -> bool:
    torch = sys.modules.get("torch")
    tensors = [x for normal in normals for x in (normal.mean, normal.cov)]
    if torch is None or not all(isinstance(x, torch.Tensor) for x in tensors):
        return False
    return not _array.is_readable(tensors[0]) or (
        torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    )


def _require_no_gradient(*normals: MultivariateNormal) -> None:
    torch = sys.modules.get("torch")
    for normal in normals:
        for x in (normal.mean, normal.cov):
            if (
                torch is not None
                and isinstance(x, torch.Tensor)
                and x.requires_grad
                and torch.is_grad_enabled()
            ):
                raise ValueError(
                    "a and b must not require a gradient here: velocities of geodesics have none. "
                    "Build them from mean.detach() and cov.detach(), or use "
                    "fisher_rao_squared_distance, which has one."
                )


def _differentiable_squared_distance(
    a: MultivariateNormal, b: MultivariateNormal, rtol: float, max_steps: int
) -> Array:
    import torch

    batch = np.broadcast_shapes(a.shape, b.shape)
    arrays = (
        torch.broadcast_to(x, (*batch, *event))
        for x, event in (
            (a.mean, a.mean.shape[-1:]),
            (a.cov, a.cov.shape[-2:]),
            (b.mean, b.mean.shape[-1:]),
            (b.cov, b.cov.shape[-2:]),
        )
    )
    return _squared_distance_function().apply(*arrays, rtol, max_steps)[0]


@functools.cache
def _squared_distance_function() -> Any:
    """Return the squared distance as a torch function: its gradient is -2 times the log map."""
    import torch

    class NoSecondDerivative(torch.autograd.Function):
        """Identity on gradients; differentiating them raises instead of giving zeros."""

        generate_vmap_rule = True

        @staticmethod
        def forward(gradient: Any, *points: Any) -> Any:
            return gradient.clone()

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> NoReturn:
            raise NotImplementedError(
                "The Fisher-Rao distance of multivariate normals has first derivatives only."
            )

    class SquaredDistance(torch.autograd.Function):
        @staticmethod
        def forward(
            mean_a: Any, cov_a: Any, mean_b: Any, cov_b: Any, rtol: float, max_steps: int
        ) -> tuple[Any, ...]:
            a, b = make(MultivariateNormal, mean_a, cov_a), make(MultivariateNormal, mean_b, cov_b)
            squared, *gradients = _squared_distance_and_gradients(a, b, rtol, max_steps)
            return tuple(as_like(x, mean_a, array_namespace(mean_a)) for x in (squared, *gradients))

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.mark_non_differentiable(*output[1:])
            ctx.save_for_backward(*inputs[:4], *output[1:])

        @staticmethod
        def backward(ctx: Any, gradient: Any, *_: Any) -> tuple[Any, ...]:
            *points, mean_a, cov_a, mean_b, cov_b = ctx.saved_tensors
            vector, matrix = gradient[..., None], gradient[..., None, None]
            products = vector * mean_a, matrix * cov_a, vector * mean_b, matrix * cov_b
            apply: Any = NoSecondDerivative.apply
            return *(apply(x, *points) for x in products), None, None

        @staticmethod
        def vmap(info: Any, in_dims: Any, *arguments: Any) -> tuple[Any, ...]:
            *arrays, rtol, max_steps = arguments
            moved = (
                x.unsqueeze(0).expand(info.batch_size, *x.shape)
                if dim is None
                else x.movedim(dim, 0)
                for x, dim in zip(arrays, in_dims, strict=False)
            )
            apply: Any = SquaredDistance.apply
            return apply(*moved, rtol, max_steps), (0,) * 5

    return SquaredDistance


def _squared_distance_and_gradients(
    a: MultivariateNormal, b: MultivariateNormal, rtol: float, max_steps: int
) -> list[np.ndarray]:
    """Return d^2 and its derivatives by the means and covariances of a and b, in numpy."""
    frame, solution = _solved(a, b, rtol, max_steps, array_namespace(a.mean))
    d = a.dim
    results = [(solution.distance**2).reshape(frame.batch)]
    ends = ((frame.start, solution.x, solution.b), (frame.end, solution.end_x, solution.end_b))
    for matrix, x, B in ends:
        inverse = transposed(np.linalg.inv(matrix))
        results.append((-2.0 * (inverse @ x[..., None])[..., 0]).reshape((*frame.batch, d)))
        results.append((-(inverse @ B @ transposed(inverse))).reshape((*frame.batch, d, d)))
    return results
