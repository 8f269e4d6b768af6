r"""Lengths of paths and distances of inputs, as a network sees them.

Lengths need no Jacobian: the length of a path is that of its image, the path of the predictions,
and that is measured by exact output distances. The functions are methods of `PullbackMetric`.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import torch
from array_api_compat import torch as xp

from infogeo import _array
from infogeo._array import Array, bad_value
from infogeo._status import SolveError, Status
from infogeo._system.registry import storable
from infogeo.pullback._checks import (
    check_count,
    check_input,
    check_number,
    check_pair,
    require_distance,
)
from infogeo.pullback._derivatives import Tangent, apply_head
from infogeo.pullback._graph import read_graph
from infogeo.pullback._network import SampleInputs, at_sample, network_of
from infogeo.pullback.input_metrics import euclidean

__all__ = ["distance", "energy", "length", "segment_length"]

_CHUNK = 2**22  # numbers of an input batch that the model sees at once


@storable("Length")
@dataclass(frozen=True, eq=False)
class Length:
    """The length of curves, measured until it no longer changed.

    Parameters
    ----------
    value : array, shape (batch,)
        In radians of the sphere of radius 2.
    error : array, shape (batch,)
        Estimate of the error of `value`, by halving the steps; no bound.
    num_segments : int array, shape (batch,)
        Pieces that the curves were cut into.
    status : Status
        For a batch the worst of its members.
    member_status : numpy array of Status, shape (batch,)
        CONVERGED where `error` is small enough, ROUNDING where the precision of the model does not
        allow that, MAX_STEPS where the pieces ran out.
    """

    value: Array
    error: Array
    num_segments: Array
    status: Status
    member_status: np.ndarray


@storable("Path")
@dataclass(frozen=True, eq=False)
class Path:
    """Short paths between inputs, as polygons, with a bracket of the distance.

    Parameters
    ----------
    points : array, shape (num_segments + 1, batch, ...)
        The corners, from the first input to the second.
    length : array, shape (batch,)
        Of the polygon, between its corners too: no geodesic is longer.
    lower_bound : array, shape (batch,)
        The distance of the two predictions: no path is shorter.
    energy : array, shape (batch,)
        Half the integral of the squared speed, at least length^2 / 2.
    arrival_error : array, shape (batch,)
        How much longer than `lower_bound` the lift of the geodesic between the predictions is: 0
        where it arrives at the second input by steps short enough. NaN for a head that knows no
        geodesics.
    steps : int array, shape (batch,)
        Steps of the minimisation of the energy; 0 where the lift was enough.
    status : Status
        How the search ended; for a batch the worst of its members.
    member_status : numpy array of Status, shape (batch,)
        How each member of the batch ended.
    """

    points: Array
    length: Array
    lower_bound: Array
    energy: Array
    arrival_error: Array
    steps: Array
    status: Status
    member_status: np.ndarray


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
        The lengths, estimates of their errors, the numbers of pieces that were needed, and
        whether rounding hides the lengths, as it does where a model computes in half precision
        and the line is short. A length is what it says if its error is below `rtol`, relative,
        or 8 times the root of the dtype's epsilon.

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
    return _polygon_length(self, corners, rtol, rtol, _precision(self, x0))


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
        Raise if there is no solution; otherwise the status of the result says so.

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
        The steps ran out, or rounding hides the lengths: a model in half precision moves the
        predictions of short paths more by its rounding than the path does. Its ``result`` holds
        the paths so far, ``failed`` the pairs.

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
    that, and no path whose length could not be measured so well is preferred. In one dimension
    there is only the straight line. More segments come closer to the geodesic, whose length the
    excess falls to with their inverse square.

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
    eps = _precision(self, x0)
    lower = self.head.distance(outputs(self, x0), outputs(self, x1))
    points, best, arrival_error = _known_paths(self, x0, x1, lower, num_segments, tol, eps)
    steps = torch.zeros(len(x0), dtype=torch.int64, device=x0.device)
    member_status = best.member_status.copy()
    excess = best.value - (1.0 + tol) * lower - best.error - _slack(lower.dtype)
    # In one dimension there is no other way.
    can_improve = _are_trusted(best, lower) & (excess > 0.0) & (x0[:1].numel() > 1)
    lengths = best.value
    for i in torch.argwhere(can_improve).flatten().tolist():
        metric = at_sample(self, i)
        found, steps[i], member_status[i] = _minimise(metric, points[:, i], tol, max_steps)
        found_length = _polygon_length(metric, found[:, None], _PATH_RTOL, tol, eps)
        if _are_trusted(found_length, lower) and found_length.value < lengths[i]:
            points[:, i], lengths[i] = found, found_length.value
    energies = torch.zeros_like(lengths)
    for i in range(len(x0)):
        energies[i] = _fine_energy(at_sample(self, i), points[:, i])
    # A polygon as short as the bound may come out below it by rounding.
    lengths = torch.maximum(lengths, lower)
    worst = _worst(member_status)
    path = Path(points, lengths, lower, energies, arrival_error, steps, worst, member_status)
    if throw and not worst.is_solution:
        raise _unsolved(path, max_steps, eps)
    return path


def _unsolved(path, max_steps, eps):
    """Return the error of paths of which some are no solutions."""
    failed = tuple(i for i, status in enumerate(path.member_status) if not status.is_solution)
    pairs = f"{len(failed)} of {len(path.member_status)} pairs, the first of them pair {failed[0]}"
    if path.status is Status.ROUNDING:
        text = (
            f"rounding hides the lengths of paths for {pairs}: the model computes with an epsilon "
            f"of {eps:.1e}. Use model.float() or model.double(), outside of autocast"
        )
    else:
        text = f"no shortest path within {max_steps} steps for {pairs}. Raise max_steps or tol"
    return SolveError(f"{text}, or pass throw=False for the paths so far.", path, failed)


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
    network_of(metric).check_samples(x0)
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


def _known_paths(metric, x0, x1, lower, num_segments, tol, eps):
    """Return the shorter of straight and lifted paths, their lengths, and the lift's excess."""
    t = torch.linspace(0.0, 1.0, num_segments + 1, dtype=torch.float64).tolist()
    straight = torch.stack([_between(x0, x1, s) for s in t])
    straight_length = _polygon_length(metric, straight, _PATH_RTOL, tol, eps)
    if metric.head.geodesic is None:
        return straight, straight_length, torch.full_like(lower, torch.nan)
    if x0[:1].numel() == 1:  # all paths run through all points between the ends
        return straight, straight_length, (straight_length.value - lower).clamp(min=0.0)
    lifted = _without_detours(_lift(metric, x0, x1, num_segments), straight)
    lifted_length = _polygon_length(metric, lifted, _PATH_RTOL, tol, eps)
    excess = (lifted_length.value - lower).clamp(min=0.0)
    return *_shorter(straight, straight_length, lifted, lifted_length, lower), excess


_DETOUR = 1e6


def _without_detours(lifted, straight):
    """Return the lifted paths, and the straight ones where the lift has run off."""
    length, usual = (
        _array.norm((path[1:] - path[:-1]).flatten(2).double(), xp).sum(0)
        for path in (lifted, straight)
    )
    is_sane = length <= _DETOUR * usual  # not so if the length is no number
    return torch.where(is_sane.reshape(1, -1, *(1,) * (lifted.ndim - 2)), lifted, straight)


def _shorter(a, length_of_a, b, length_of_b, lower):
    """Return for each member of the batch the shorter of two paths, and its length.

    A path whose length cannot be relied on is no candidate.
    """
    is_b = length_of_b.value < length_of_a.value
    trusted_a, trusted_b = (_are_trusted(length, lower) for length in (length_of_a, length_of_b))
    is_b = trusted_b & (is_b | ~trusted_a)
    where = is_b.reshape(1, -1, *(1,) * (a.ndim - 2))
    fields = ("value", "error", "num_segments")
    chosen = (torch.where(is_b, getattr(length_of_b, k), getattr(length_of_a, k)) for k in fields)
    status = np.where(is_b.cpu().numpy(), length_of_b.member_status, length_of_a.member_status)
    return torch.where(where, b, a), Length(*chosen, _worst(status), status)


def _are_trusted(length, like):
    """Return which lengths are what they say, on the device of a tensor."""
    return torch.tensor([s.is_solution for s in length.member_status], device=like.device) > 0


def _worst(member_status):
    """Return the status of a batch."""
    for status in (Status.ROUNDING, Status.MAX_STEPS):
        if any(status is s for s in member_status):
            return status
    return Status.CONVERGED


# ---------------------------------------------------------------- the length of polygons

_LASTING = 0.75
_SMALL = 0.1
_PATH_RTOL = 1e-4
_ROUNDING = 8.0
_MAX_PIECES = 2**15  # in work at a time, for each polygon


def _slack(dtype):
    """Return the length that does not count in a dtype."""
    return _ROUNDING * torch.finfo(dtype).eps ** 0.5


@dataclass
class _Pieces:
    """Straight pieces of polygons: their ends, the outputs and their distance, and whose they are.

    `size` is the share of the whole polygon, `imbalance` that of the piece that this is a half of:
    by how much its own halves differed in length.
    """

    left: torch.Tensor
    right: torch.Tensor
    z_left: torch.Tensor
    z_right: torch.Tensor
    step: torch.Tensor
    member: torch.Tensor
    size: torch.Tensor
    imbalance: torch.Tensor

    def halves(self, middle, z_middle, first, second, imbalance, chosen):
        """Return the halves of the pieces chosen."""

        def both(a, b):
            return torch.cat([a[chosen], b[chosen]])

        return _Pieces(
            both(self.left, middle),
            both(middle, self.right),
            both(self.z_left, z_middle),
            both(z_middle, self.z_right),
            both(first, second),
            both(self.member, self.member),
            0.5 * both(self.size, self.size),
            both(imbalance, imbalance),
        )


def _polygon_length(metric, corners, rtol, tol, eps):
    """Return the lengths of polygons with corners of shape (n + 1, batch, ...).

    A turn between the middle and an end shows in none of three distances, only as a difference of
    the halves. Halving a smooth piece halves that difference, relative to the length; around a
    turn it lasts, and no more than it is missing. That is to be relied on where the difference was
    small before: a turn near a quarter makes it fall from almost all of the length to nothing.

    Halving ends at rounding, and where an input has no number between the ends of a piece: what is
    left there is a jump. Steps shorter than rounding only add it up: that is their error. Lengths
    to rtol are asked for; those to tol, relative, are what they say.
    """
    batch = corners.shape[1]
    rounding = _rounding_of_steps(metric, corners, eps)
    pieces = _first_pieces(metric, corners)
    dtype = pieces.z_left.dtype
    done, error, noise, count = (torch.zeros_like(rounding) for _ in range(4))
    while len(pieces.size):
        middle = _between(pieces.left, pieces.right, 0.5)
        z_middle = outputs(metric, middle, pieces.member)
        first = metric.head.distance(pieces.z_left, z_middle).double()
        second = metric.head.distance(z_middle, pieces.z_right).double()
        third = (first + second - pieces.step) / 3.0
        value, gap = first + second + third, (first - second).abs()
        member, floor = pieces.member, rounding[pieces.member]
        total = done.index_add(0, member, value)
        allowed = rtol * torch.maximum(value, total[member] * pieces.size)
        allowed = torch.maximum(allowed, floor)
        imbalance = gap / torch.where(value > 0.0, value, 1.0)
        is_rough = (pieces.imbalance > _SMALL) & (gap > _ROUNDING * floor)
        may_turn = (imbalance > _LASTING * pieces.imbalance) | is_rough
        may_turn &= ~(_are_equal(middle, pieces.left) | _are_equal(middle, pieces.right))
        doubt = torch.maximum(third.abs(), torch.where(may_turn, gap, 0.0))
        crowd = torch.bincount(member, minlength=batch)[member]
        go_on = (doubt > allowed) & (crowd < _MAX_PIECES)
        at = member[~go_on]
        blur = 2.0 * floor**2 / torch.maximum(value, floor).clamp(min=1e-300)
        done = done.index_add(0, at, value[~go_on])
        error = error.index_add(0, at, doubt[~go_on])
        noise = noise.index_add(0, at, blur[~go_on])
        count = count.index_add(0, at, torch.full_like(value[~go_on], 2.0))
        pieces = pieces.halves(middle, z_middle, first, second, imbalance, go_on)
    noise = noise + rounding * count.sqrt()
    limit = torch.clamp(tol * done, min=_slack(dtype))
    status = np.where(
        (error + noise <= limit).cpu().numpy(),
        Status.CONVERGED,
        np.where((noise > 0.5 * limit).cpu().numpy(), Status.ROUNDING, Status.MAX_STEPS),
    )
    return Length(done.to(dtype), (error + noise).to(dtype), count.long(), _worst(status), status)


def _are_equal(a, b):
    return (a == b).flatten(1).all(1)


def _first_pieces(metric, corners):
    """Return pieces of the segments.

    No piece is longer than the n-th part of its polygon: a polygon whose corners have gathered in
    one place leaves long segments, of which ends and middle say little. And none is longer than
    its way to the ends of the polygon, which a segment that comes from afar passes by.
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
    starts, ends = corners[:-1].flatten(0, 1), corners[1:].flatten(0, 1)
    left, right = (
        _between(starts[segment], ends[segment], t) for t in (index / parts, (index + 1) / parts)
    )
    size, member = shares.flatten()[segment] / parts, segment % batch
    left, right, size, member = _graded(left, right, size, member, corners)
    z_left, z_right = outputs(metric, left, member), outputs(metric, right, member)
    step = metric.head.distance(z_left, z_right).double()
    return _Pieces(left, right, z_left, z_right, step, member, size, torch.zeros_like(size))


def _graded(left, right, size, member, corners):
    """Halve pieces that are longer than the n-th part of the straight line and their way to it."""
    straight = (corners[-1] - corners[0]).flatten(1).double().norm(dim=-1)
    usual = 2.0 * straight / (len(corners) - 1)
    for _ in range(_MAX_GRADES):
        lengths = (right - left).flatten(1).double().norm(dim=-1)
        is_long = (lengths > usual[member]) & (usual[member] > 0.0)
        (long,) = torch.nonzero(is_long, as_tuple=True)
        away = torch.minimum(
            *(_way_to(left[long], right[long], end[member[long]]) for end in corners[[0, -1]])
        )
        is_long[long] = lengths[long] > away
        if not bool(is_long.any()):
            break
        middle = _between(left[is_long], right[is_long], 0.5)
        left = torch.cat([left[~is_long], left[is_long], middle])
        right = torch.cat([right[~is_long], middle, right[is_long]])
        size = torch.cat([size[~is_long], 0.5 * size[is_long].repeat(2)])
        member = torch.cat([member[~is_long], member[is_long].repeat(2)])
    return left, right, size, member


_MAX_GRADES = 60


def _way_to(left, right, point):
    """Return the distance of a point from each piece, shape (n,)."""
    along, rest = ((y - left).flatten(1).double() for y in (right, point))
    t = (along * rest).sum(-1) / along.square().sum(-1)
    return (rest - t.clamp(0.0, 1.0)[:, None] * along).norm(dim=-1)


def _rounding_of_steps(metric, corners, eps):
    """Return how far rounding moves the predictions of each path: that of inputs and of outputs.

    Seen at the ends and in the middle. A model rounds at least as much in between.
    """
    seen = corners[[0, len(corners) // 2, -1]]
    nudged = seen + (eps * seen.abs() * _signs(seen)).to(seen.dtype)
    z, moved = outputs_along(metric, seen), outputs_along(metric, nudged)
    finite = torch.where(torch.isfinite(z), z, 0.0)
    rounded = finite + eps * finite.abs() * _signs(finite)
    distance = distances(metric, z, moved).double() + distances(metric, finite, rounded).double()
    return distance.amax(0)


def _signs(z):
    """Return alternating signs along the last axis."""
    return 1.0 - 2.0 * (torch.arange(z.shape[-1], device=z.device) % 2).to(z.dtype)


def _precision(metric, x):
    """Return the epsilon of the precision in which the model computes."""
    try:
        gradients = network_of(at_sample(metric, 0)).gradients(x[:1])
    except RuntimeError:  # a model that autograd cannot follow
        return torch.finfo(x.dtype).eps
    return read_graph(gradients.z, gradients.x).eps


# ---------------------------------------------------------------- lifting a geodesic

_NEWTON_STEPS = 6
_GRID = 16  # points of the output geodesic for each segment, to space the segments


def _lift(metric, x0, x1, num_segments):
    """Return points that follow the geodesic between the predictions, from x0 to x1.

    Each step moves along the straight line to x1 by the part that is due, and back to the
    geodesic. The horizontal part of the step thus follows the prediction, the rest goes to x1.
    """
    z0, z1 = outputs(metric, x0), outputs(metric, x1)
    targets = _spread(metric, z0, z1, num_segments)
    points = [x0]
    for k in range(1, num_segments):
        ahead = points[-1] + (x1 - points[-1]) / (num_segments - k + 1)
        points.append(move_to_output(metric, ahead, targets[k], _NEWTON_STEPS))
    return torch.stack([*points, x1])


def _spread(metric, z0, z1, num_segments):
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
