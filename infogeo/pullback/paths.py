r"""Lengths of paths and distances of inputs, as a network sees them.

Lengths need no Jacobian: the length of a path is that of its image, the path of the predictions,
and that is measured by exact output distances. The functions are methods of `PullbackMetric`.
"""

import math

import numpy as np
import scipy.optimize
import torch

from infogeo._array import bad_value
from infogeo._result import Length, Path, SolveError, Status
from infogeo.pullback._checks import (
    check_count,
    check_input,
    check_number,
    check_pair,
    require_distance,
)
from infogeo.pullback._derivatives import Tangent, apply_head
from infogeo.pullback._network import SampleInputs, at_sample, network_of
from infogeo.pullback.input_metrics import euclidean

__all__ = ["distance", "energy", "length", "segment_length"]

_CHUNK = 2**22  # numbers of an input batch that the model sees at once


def length(self, path):
    r"""Return the length of a path that is given by points on it.

    .. math:: \sum_k d(f(x_k), f(x_{k+1}))

    with the Fisher-Rao distance d of the predictions f(x).

    Parameters
    ----------
    path : torch.Tensor, shape (n + 1, ...)
        Points on one path, in their order.

    Returns
    -------
    torch.Tensor, shape ()
        In radians of the sphere of radius 2.

    Raises
    ------
    TypeError, ValueError
        Points or outputs that cannot be used; a head without a distance.

    Notes
    -----
    One forward pass for all points. More points on the same path never make it shorter, and no
    path is shorter than `output_distance` of its ends. What lies between two points is not seen:
    points must be dense enough for the predictions to change little from one to the next;
    `segment_length` looks after that for straight lines.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import PullbackMetric
    >>> path = torch.linspace(-1.0, 1.0, 5, dtype=torch.float64)[:, None] * torch.eye(3)[:1]
    >>> metric = PullbackMetric(lambda x: 2.0 * x)
    >>> metric.length(path), metric.output_distance(path[:1], path[-1:])
    (tensor(1.6732, dtype=torch.float64), tensor([1.6732], dtype=torch.float64))
    """
    return _steps(self, path).sum()


def energy(self, path):
    r"""Return the energy of a path that is given by points at equal steps of its parameter.

    .. math:: E = \frac n 2 \sum_k d(f(x_k), f(x_{k+1}))^2 \approx
              \frac 1 2 \int_0^1 |\dot x|_G^2 \, dt

    Parameters
    ----------
    path : torch.Tensor, shape (n + 1, ...)
        Points on one path, in their order.

    Returns
    -------
    torch.Tensor, shape ()
        In squared radians; at least length^2 / 2, with equality for constant speed.

    Raises
    ------
    TypeError, ValueError
        Points or outputs that cannot be used; a head without a distance.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import PullbackMetric
    >>> path = torch.linspace(-1.0, 1.0, 5, dtype=torch.float64)[:, None] * torch.eye(3)[:1]
    >>> metric = PullbackMetric(lambda x: 2.0 * x)
    >>> metric.energy(path), 0.5 * metric.length(path) ** 2
    (tensor(1.4414, dtype=torch.float64), tensor(1.3997, dtype=torch.float64))
    """
    steps = _steps(self, path)
    return 0.5 * len(steps) * steps.square().sum()


def segment_length(self, x0, x1, *, num_segments=32, rtol=1e-5):
    r"""Return the length of the straight line between inputs: no geodesic is longer.

    Parameters
    ----------
    x0, x1 : torch.Tensor, shape (batch, ...)
        The ends; one of the two batches may have length 1.
    num_segments : int
        Pieces to start with. What happens between two of their ends and leaves no trace there
        or in the middle remains unseen.
    rtol : float
        Relative error to aim at.

    Returns
    -------
    Length
        The lengths, estimates of their errors, and the numbers of pieces that were needed.

    Raises
    ------
    TypeError, ValueError
        Inputs, outputs or settings that cannot be used; a head without a distance.

    Notes
    -----
    Forward passes only. A piece is halved until its two halves together are as long as itself,
    to the accuracy that is asked for or that rounding allows. The third part of the difference,
    which is added to the result, is the estimate of the error: what is left is of fourth order in
    the steps where the network is smooth. Kinks and turning points are found by bisection.

    Examples
    --------
    The unit circle in the plane of a regression with known deviations, by its angle:

    >>> import torch
    >>> from infogeo.pullback import Head, PullbackMetric
    >>> head = Head(lambda z: torch.eye(2).expand(len(z), 2, 2), lambda z, w: (z - w).norm(dim=-1))
    >>> metric = PullbackMetric(lambda x: torch.cat([x.cos(), x.sin()], dim=1), head)
    >>> found = metric.segment_length(torch.zeros(1, 1), torch.full((1, 1), torch.pi))
    >>> found.value, found.error < 1e-4
    (tensor([3.1416]), tensor([True]))
    """
    check_count("num_segments", num_segments)
    check_number("rtol", rtol)
    x0, x1 = _ends(self, x0, x1)
    t = torch.linspace(0.0, 1.0, num_segments + 1, dtype=torch.float64)
    corners = torch.stack([_between(x0, x1, s) for s in t])
    return _polygon_length(self, corners, rtol)


def distance(self, x0, x1, *, num_segments=32, tol=1e-2, max_steps=500, throw=True):
    r"""Return short paths between inputs, with a bracket of the distance in this metric.

    .. math:: d(f(x_0), f(x_1)) \le d_G(x_0, x_1) \le \mathrm{length}

    Parameters
    ----------
    x0, x1 : torch.Tensor, shape (batch, ...)
        The ends; one of the two batches may have length 1.
    num_segments : int
        Segments of the paths, which are polygons.
    tol : float
        A path is accepted if its length exceeds the output distance by no more than this
        (relative, and by 8 times the root of the dtype's epsilon for rounding: 0.003 in float32),
        so that it cannot be much shortened, or if a fresh start of the minimisation lowers its
        energy by no more.
    max_steps : int
        Steps of the minimisation for each pair.
    throw : bool
        Raise if the steps run out; otherwise the status of the result says so.

    Returns
    -------
    Path
        The corners of the polygons, shape (num_segments + 1, batch, ...), their lengths, the
        lower bounds, and how well the lift arrived.

    Raises
    ------
    TypeError, ValueError
        Inputs, outputs or settings that cannot be used; a head without a distance.
    SolveError
        The steps ran out. Its ``result`` holds the paths so far, ``failed`` the pairs.

    Notes
    -----
    First the geodesic between the two predictions is lifted: x moves towards x1, and after each
    step the shortest Newton steps bring its prediction back to the geodesic. Where that arrives
    by small steps, the output distance is the distance. It does not where the network cannot
    produce the predictions on the way, or where the inputs with the prediction of x1 fall into
    parts and the lift ends in another one. Then the energy of the polygon is minimised from the
    shortest path known, the lifted or the straight one, by L-BFGS in the path's sine
    coefficients. Segments are straight in the input, and looked at between their corners: a
    path cannot jump from one part to another. The minimum is a local one.

    Paths run in R^d, whatever the input metric: it changes neither lengths nor this distance.

    The length is that of the polygon to a relative error of 1e-4: it is an upper bound up to
    that. More segments come closer to the geodesic, whose length the excess falls to with their
    inverse square.

    References
    ----------
    H. Shao, A. Kumar and P. T. Fletcher, The Riemannian geometry of deep generative models,
    CVPR Workshops 2018 (the energy of discrete paths).

    Examples
    --------
    The outputs z = x^3 - x are equal at both ends, but all paths cross the values in between:

    >>> import torch
    >>> from infogeo.pullback import PullbackMetric
    >>> metric = PullbackMetric(lambda x: torch.cat([0.0 * x, x**3 - x], dim=1))
    >>> x0 = torch.tensor([[-1.0], [0.5]], dtype=torch.float64)
    >>> path = metric.distance(x0, -x0)
    >>> path.length, path.lower_bound
    (tensor([0.7651, 0.3728], dtype=torch.float64), tensor([0.0000, 0.3728], dtype=torch.float64))
    """
    check_count("num_segments", num_segments)
    check_count("max_steps", max_steps)
    check_number("tol", tol)
    x0, x1 = _ends(self, x0, x1)
    lower = self.head.distance(outputs(self, x0), outputs(self, x1))
    points, best, arrival_error = _known_paths(self, x0, x1, lower, num_segments)
    steps = torch.zeros(len(x0), dtype=torch.int64, device=x0.device)
    member_status = np.full(len(x0), Status.CONVERGED, dtype=object)
    slack = _ROUNDING * torch.finfo(best.dtype).eps ** 0.5
    for i in torch.argwhere(best > (1.0 + tol) * lower + slack).flatten().tolist():
        found, steps[i], member_status[i] = _minimise(
            at_sample(self, i), points[:, i], tol, max_steps
        )
        found_length = _polygon_length(at_sample(self, i), found[:, None], _PATH_RTOL).value
        points[:, i : i + 1], best[i : i + 1] = _shorter(
            points[:, i : i + 1], best[i : i + 1], found[:, None], found_length
        )
    energies = torch.zeros_like(best)
    for i in range(len(x0)):
        energies[i] = _fine_energy(at_sample(self, i), points[:, i])
    failed = tuple(i for i, status in enumerate(member_status) if not status.is_solution)
    worst = Status.MAX_STEPS if failed else Status.CONVERGED
    # a polygon as short as the bound may come out below it by rounding
    best = torch.maximum(best, lower)
    path = Path(points, best, lower, energies, arrival_error, steps, worst, member_status)
    if failed and throw:
        raise SolveError(
            f"no shortest path within {max_steps} steps for {len(failed)} of {len(x0)} pairs, the "
            f"first of them pair {failed[0]}. Raise max_steps or tol, or pass throw=False: the "
            "paths so far are upper bounds all the same.",
            path,
            failed,
        )
    return path


# ---------------------------------------------------------------- points and their predictions


def outputs(metric, x, samples=None):
    """Return the outputs at points, each of which belongs to a sample; None: the samples."""
    with torch.no_grad():
        return _outputs_with_graph(metric, x, samples)


def _outputs_with_graph(metric, x, samples=None):
    network = network_of(metric)
    size = max(1, _CHUNK // max(1, math.prod(x.shape[1:])))
    if len(x) <= size:
        return network.outputs(x, samples)
    samples = torch.arange(len(x), device=x.device) if samples is None else samples
    parts = zip(x.split(size), samples.split(size), strict=True)
    return torch.cat([network.outputs(*part) for part in parts])


def outputs_along(metric, points):
    """Return the outputs at points of shape (n, batch, ...), shape (n, batch, c)."""
    samples = torch.arange(points.shape[1], device=points.device).repeat(len(points))
    z = outputs(metric, points.flatten(0, 1), samples)
    return z.reshape(*points.shape[:2], z.shape[1])


def distances(metric, z, w):
    """Return output distances of outputs of shape (..., c), shape (...)."""
    shape = torch.broadcast_shapes(z.shape, w.shape)
    z, w = (y.expand(shape).reshape(-1, shape[-1]) for y in (z, w))
    return metric.head.distance(z, w).reshape(shape[:-1])


def _ends(metric, x0, x1):
    """Return both ends with the same batch."""
    require_distance(metric.head)
    check_pair(x0, x1, check=metric.check)
    x0, x1 = torch.broadcast_tensors(x0.detach(), x1.detach())
    SampleInputs.of(metric.inputs).check_for(len(x0), "x0 and x1")
    return x0, x1


def _steps(metric, path):
    """Return the distances between consecutive predictions of one path."""
    require_distance(metric.head)
    check_input(path, "path", check=metric.check)
    if len(path) < 2:
        raise bad_value("path", "have at least two points", f"its shape is {tuple(path.shape)}")
    SampleInputs.of(metric.inputs).check_for(1, "one path")
    z = outputs(metric, path)
    return metric.head.distance(z[:-1], z[1:])


def _between(x0, x1, t):
    """Return (1 - t) x0 + t x1 for a number, or for one number of each row."""
    t = torch.as_tensor(t, device=x0.device).to(x0.dtype)
    t = t.reshape(t.shape + (1,) * (x0.ndim - 1)) if t.ndim else t
    return (1.0 - t) * x0 + t * x1


def _known_paths(metric, x0, x1, lower, num_segments):
    """Return the shorter of straight and lifted paths, their lengths, and the lift's excess."""
    t = torch.linspace(0.0, 1.0, num_segments + 1, dtype=torch.float64).tolist()
    straight = torch.stack([_between(x0, x1, s) for s in t])
    straight_length = _polygon_length(metric, straight, _PATH_RTOL).value
    if metric.head.geodesic is None:
        return straight, straight_length, torch.full_like(lower, torch.nan)
    lifted = _lift(metric, x0, x1, num_segments)
    lifted_length = _polygon_length(metric, lifted, _PATH_RTOL).value
    excess = (lifted_length - lower).clamp(min=0.0)
    return *_shorter(straight, straight_length, lifted, lifted_length), excess


def _shorter(a, length_of_a, b, length_of_b):
    """Return for each member of the batch the shorter of two paths, and its length."""
    is_b = length_of_b < length_of_a
    where = is_b.reshape(1, -1, *(1,) * (a.ndim - 2))
    return torch.where(where, b, a), torch.where(is_b, length_of_b, length_of_a)


# ---------------------------------------------------------------- the length of polygons

_MAX_HALVINGS = 20
_LASTING = 0.75
_SMALL = 0.1
_PATH_RTOL = 1e-4
_ROUNDING = 8.0


def _polygon_length(metric, corners, rtol):
    """Return the lengths of polygons with corners of shape (n + 1, batch, ...).

    The pieces in work stand in flat lists: which polygon and which segment of it, from where to
    where (0 to 1 in the segment), the outputs there and their distance.

    A turn between the middle and an end shows in none of three distances, only as a difference of
    the halves. Halving a smooth piece halves that difference, relative to the length; around a
    turn it lasts, and no more than it is missing. That is to be relied on where the difference was
    small before: a turn near a quarter makes it fall from almost all of the length to nothing.
    """
    batch = corners.shape[1]
    starts, ends = corners[:-1].flatten(0, 1), corners[1:].flatten(0, 1)
    segment, left, right, size = _first_pieces(corners)

    def outputs_at(t):
        points = _between(starts[segment], ends[segment], t)
        return outputs(metric, points, segment % batch)

    z_left, z_right = outputs_at(left), outputs_at(right)
    step = metric.head.distance(z_left, z_right)
    rounding = _rounding_of_steps(metric, z_left, segment % batch, batch)
    done, error, count = (torch.zeros_like(rounding) for _ in range(3))
    imbalance_of_parent = torch.zeros_like(size)
    for halving in range(_MAX_HALVINGS):
        middle = 0.5 * (left + right)
        z_middle = outputs_at(middle)
        first = metric.head.distance(z_left, z_middle).double()
        second = metric.head.distance(z_middle, z_right).double()
        third = (first + second - step) / 3.0
        value = first + second + third
        member = segment % batch
        total = done.index_add(0, member, value)
        allowed = rtol * torch.maximum(value, total[member] * size)
        allowed = torch.maximum(allowed, rounding[member])
        gap = (first - second).abs()
        imbalance = gap / torch.where(value > 0.0, value, 1.0)
        is_rough = (imbalance_of_parent > _SMALL) & (gap > _ROUNDING * rounding[member])
        may_turn = (imbalance > _LASTING * imbalance_of_parent) | is_rough
        doubt = torch.maximum(third.abs(), torch.where(may_turn, gap, 0.0))
        go_on = (doubt > allowed) & (halving < _MAX_HALVINGS - 1)
        is_done = ~go_on
        done = done.index_add(0, member[is_done], value[is_done])
        error = error.index_add(0, member[is_done], doubt[is_done])
        count = count.index_add(0, member[is_done], torch.full_like(value[is_done], 2.0))
        if not bool(go_on.any()):
            break
        segment, size = segment[go_on].repeat(2), 0.5 * size[go_on].repeat(2)
        imbalance_of_parent = imbalance[go_on].repeat(2)
        ends_of_halves = [(left, middle, right), (z_left, z_middle, z_right)]
        (left, right), (z_left, z_right) = (
            (torch.cat([a[go_on], b[go_on]]), torch.cat([b[go_on], c[go_on]]))
            for a, b, c in ends_of_halves
        )
        step = torch.cat([first[go_on], second[go_on]])
    error = error + rounding * count.sqrt()
    return Length(done.to(z_left.dtype), error.to(z_left.dtype), count.long())


def _first_pieces(corners):
    """Return pieces of the segments: their segments, ends, and shares of the whole polygon.

    No piece is longer than its n-th part: a polygon whose corners have gathered in one place
    leaves long segments, of which ends and middle say little.
    """
    num_segments, batch = len(corners) - 1, corners.shape[1]
    lengths = (corners[1:] - corners[:-1]).flatten(2).double().norm(dim=-1)
    total = lengths.sum(0)
    shares = torch.where(total > 0.0, lengths / total, 1.0 / num_segments)
    num_pieces = (num_segments * shares - 1e-6).ceil().clamp(min=1.0).long().flatten()
    segment = torch.arange(num_segments * batch, device=corners.device)
    segment = segment.repeat_interleave(num_pieces)
    before = num_pieces.cumsum(0) - num_pieces
    index = torch.arange(len(segment), device=corners.device) - before[segment]
    parts = num_pieces[segment].double()
    return segment, index / parts, (index + 1) / parts, shares.flatten()[segment] / parts


def _rounding_of_steps(metric, z, member, batch):
    """Return how far rounding of the outputs moves the predictions of each path, at most."""
    finite = torch.where(torch.isfinite(z), z, 0.0)
    nudged = finite + torch.finfo(z.dtype).eps * finite.abs() * _signs(z)
    moved = metric.head.distance(finite, nudged).double()
    zeros = torch.zeros(batch, dtype=torch.float64, device=z.device)
    return zeros.scatter_reduce(0, member, moved, "amax")


def _signs(z):
    """Return alternating signs along the last axis."""
    return 1.0 - 2.0 * (torch.arange(z.shape[-1], device=z.device) % 2).to(z.dtype)


# ---------------------------------------------------------------- lifting a geodesic

_NEWTON_STEPS = 6
_GRID = 16  # points of the output geodesic for each segment, to space the segments


def _lift(metric, x0, x1, num_segments):
    """Return points that follow the geodesic between the predictions, from x0 to x1.

    Each step moves along the straight line to x1 by the part that is due, and back to the
    geodesic. The horizontal part of the step thus follows the prediction, the rest goes to x1.
    """
    z0, z1 = outputs(metric, x0), outputs(metric, x1)
    targets = _graded(metric, z0, z1, num_segments)
    points = [x0]
    for k in range(1, num_segments):
        ahead = points[-1] + (x1 - points[-1]) / (num_segments - k + 1)
        points.append(move_to_output(metric, ahead, targets[k], _NEWTON_STEPS))
    return torch.stack([*points, x1])


def _graded(metric, z0, z1, num_segments):
    """Return outputs on the geodesic that are spread evenly, in length and in their own units.

    Towards a saturated prediction logits grow beyond all bounds on a short way.
    """
    t = torch.linspace(0.0, 1.0, _GRID * num_segments + 1, dtype=z0.dtype, device=z0.device)
    fine = metric.head.geodesic(z0, z1, t)
    moved = torch.nan_to_num(fine[1:] - fine[:-1])
    speed = (moved - moved.mean(-1, keepdim=True)).norm(dim=-1)
    mean_speed = speed.mean(0)
    speed = 1.0 + speed / torch.where(mean_speed > 0.0, mean_speed, 1.0)
    done = torch.cat([torch.zeros_like(speed[:1]), speed.cumsum(0)]) / speed.sum(0)
    due = torch.linspace(0.0, 1.0, num_segments + 1, dtype=z0.dtype, device=z0.device)
    at = torch.searchsorted(done.T.contiguous(), due.expand(len(z0), -1).contiguous())
    at = at.clamp(max=len(t) - 1)
    return fine[at.T, torch.arange(len(z0), device=at.device)]


def move_to_output(metric, x, target, num_steps, input_metric=euclidean):
    """Return the points near x with the target as output: shortest Newton steps, if they help."""
    z = outputs(metric, x)
    left = distances(metric, z, target)
    enough = 4.0 * torch.finfo(left.dtype).eps
    for _ in range(num_steps):
        if not bool((left > enough).any()):
            break
        step = _shortest_step(metric, x, z, target, input_metric)
        scale, is_better = 1.0, torch.zeros_like(left, dtype=torch.bool)
        for _ in range(4):  # halve the steps of those that came no nearer
            trial = x + scale * step
            z_trial = outputs(metric, trial)
            left_trial = distances(metric, z_trial, target)
            improves = ~is_better & (left_trial < left)
            x = torch.where(improves.reshape(-1, *(1,) * (x.ndim - 1)), trial, x)
            z = torch.where(improves[:, None], z_trial, z)
            left = torch.where(improves, left_trial, left)
            is_better |= improves
            if bool((is_better | (left <= enough)).all()):
                break
            scale *= 0.5
        if not bool(is_better.any()):
            break
    return x


def _shortest_step(metric, x, z, target, input_metric):
    """Return the shortest dx with A J dx = A (target - z), row by row without the scales."""
    if metric.check:
        input_metric.check_points(x, "the points on the way")
    factor = metric.scaled_factor(x)
    x_wide = x.to(factor.rows.dtype)
    rows = input_metric.pull(x_wide, factor.rows)
    missing = torch.where(torch.isfinite(z), target - z, 0.0)
    wanted, _ = apply_head(metric.head, z, Tangent(missing))
    lengths = rows.norm(dim=-1, keepdim=True)
    lengths = torch.where(lengths > 0.0, lengths, 1.0)
    wanted = torch.where(torch.isfinite(factor.log_scales)[..., None], wanted, 0.0) / lengths
    U, S, Vh = torch.linalg.svd(rows / lengths, full_matrices=False)
    smallest = torch.finfo(S.dtype).eps ** 0.5 * S[:, :1]
    inverse = torch.where(smallest < S, 1.0 / S, 0.0)
    step = input_metric.push(x_wide, ((wanted.mT @ U) * inverse[:, None]) @ Vh)
    return step.reshape(x.shape).to(x.dtype)


# ---------------------------------------------------------------- minimising the energy

_PIECES = 4  # of a segment: what lies between its corners counts
_RESTARTS = 20


def _minimise(metric, points, tol, max_steps):
    """Return a path of less energy with the same ends, the steps taken, and how it ended.

    Its deviation is a sum of sines sin(pi j t) c_j / j, so that the energy of a flat metric is
    |c|^2 up to a constant: L-BFGS needs no more steps for more segments.
    """
    num_segments = len(points) - 1
    points = _respaced(points)
    j = torch.arange(1, num_segments, dtype=torch.float64, device=points.device)
    modes = torch.sin(torch.pi * j[:, None] * j / num_segments) / j
    if num_segments == 1:
        return points, 0, Status.CONVERGED
    inner = points[1:-1].flatten(1).double()
    scale = float((points[-1] - points[0]).double().norm()) or 1.0
    last = points

    def path_of(coefficients):
        moved = inner + scale * modes @ coefficients
        inside = moved.to(points.dtype).reshape(points[1:-1].shape)
        return torch.cat([points[:1], inside, points[-1:]])

    start = float(_fine_energy(metric, points)) or 1.0

    def value_and_gradient(flat):
        with torch.inference_mode(False), torch.enable_grad():
            coefficients = torch.tensor(flat, device=points.device).reshape(len(j), -1)
            coefficients.requires_grad_()
            value = _fine_energy(metric, path_of(coefficients), with_graph=True) / start
            (gradient,) = torch.autograd.grad(value, coefficients)
        return float(value.detach()), gradient.cpu().numpy().ravel()

    flat, value, steps = np.zeros(inner.numel()), 1.0, 0
    for _ in range(_RESTARTS):
        found = scipy.optimize.minimize(
            value_and_gradient,
            flat,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": max_steps - steps, "ftol": 1e-3 * tol, "gtol": 0.0},
        )
        steps += int(found.nit)
        gain = value - float(found.fun)
        if gain > 0.0:
            flat, value = found.x, float(found.fun)
        last = path_of(torch.tensor(flat, device=points.device).reshape(len(j), -1))
        if gain <= tol * value:
            return last, steps, Status.CONVERGED
        if steps >= max_steps:
            break
    return last, steps, Status.MAX_STEPS


def _respaced(points):
    """Return as many points on the same polygon, at equal distances along it."""
    lengths = (points[1:] - points[:-1]).flatten(1).double().norm(dim=-1)
    done = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    due = done[-1] * torch.linspace(0.0, 1.0, len(points), dtype=done.dtype, device=done.device)
    k = (torch.searchsorted(done, due[1:-1]) - 1).clamp(0, len(lengths) - 1)
    t = (due[1:-1] - done[k]) / torch.where(lengths[k] > 0.0, lengths[k], 1.0)
    return torch.cat([points[:1], _between(points[k], points[k + 1], t), points[-1:]])


def _fine_energy(metric, points, *, with_graph=False):
    """Return the energy of a polygon whose segments are seen in pieces."""
    parts = [points[:-1] + (k / _PIECES) * (points[1:] - points[:-1]) for k in range(_PIECES)]
    fine = torch.cat([torch.stack(parts, dim=1).flatten(0, 1), points[-1:]])
    z = _outputs_with_graph(metric, fine) if with_graph else outputs(metric, fine)
    steps = metric.head.distance(z[:-1], z[1:])
    return 0.5 * len(steps) * steps.square().sum()
