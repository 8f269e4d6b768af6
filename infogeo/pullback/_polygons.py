r"""The lengths of polygons, by the distances of the predictions along them.

A segment is halved until its parts are as long together as it is, to the accuracy that is asked
for: kinks and turning points are found by bisection.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from infogeo._array import Array
from infogeo._result import Table
from infogeo._status import Status
from infogeo._system.registry import storable
from infogeo.pullback._graph import read_graph


@storable("Length")
@dataclass(frozen=True, eq=False, repr=False)
class Length(Table):
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

    axes: ClassVar = {"sample": None}

    value: Array
    error: Array
    num_segments: Array
    status: Status
    member_status: np.ndarray


_LASTING = 0.75
_SMALL = 0.1
PATH_RTOL = 1e-4
_ROUNDING = 8.0
_MAX_PIECES = 2**15  # in work at a time, for each polygon


def slack(dtype):
    """Return the length below which a difference may be rounding in a dtype."""
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


def polygon_length(network, corners, rtol, tol, eps):
    """Return the lengths of polygons with corners of shape (n + 1, batch, ...).

    Where the predictions turn back between the middle and an end of a piece, its length and those
    of its halves do not show it; only the halves differ in length. Halving a smooth piece halves
    this difference, relative to the length. Around a turn the difference lasts, and what is
    missing of the length is no more than the difference. A difference that has become small proves
    that there is no turn only if it was small before: for a turn near a quarter of a piece it falls
    from almost the whole length to nothing in one step.

    Halving ends where rounding hides the lengths, and where there is no number between the ends of
    a piece: what is left there is a jump. The rounding of many short steps adds up, and is counted
    as an error. The goal is a relative error of rtol; a length with one of tol is CONVERGED.
    """
    batch = corners.shape[1]
    rounding = _rounding_of_steps(network, corners, eps)
    pieces = _first_pieces(network, corners)
    dtype = pieces.z_left.dtype
    done, error, noise, count = (torch.zeros_like(rounding) for _ in range(4))
    while len(pieces.size):
        middle = between(pieces.left, pieces.right, 0.5)
        z_middle = network.predictions(middle, pieces.member)
        first = network.head.distance(pieces.z_left, z_middle).double()
        second = network.head.distance(z_middle, pieces.z_right).double()
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
    limit = torch.clamp(tol * done, min=slack(dtype))
    status = np.where(
        (error + noise <= limit).cpu().numpy(),
        Status.CONVERGED,
        np.where((noise > 0.5 * limit).cpu().numpy(), Status.ROUNDING, Status.MAX_STEPS),
    )
    return Length(done.to(dtype), (error + noise).to(dtype), count.long(), worst_of(status), status)


def _are_equal(a, b):
    return (a == b).flatten(1).all(1)


def _first_pieces(network, corners):
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
        between(starts[segment], ends[segment], t) for t in (index / parts, (index + 1) / parts)
    )
    size, member = shares.flatten()[segment] / parts, segment % batch
    left, right, size, member = _graded(left, right, size, member, corners)
    z_left, z_right = network.predictions(left, member), network.predictions(right, member)
    step = network.head.distance(z_left, z_right).double()
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
        middle = between(left[is_long], right[is_long], 0.5)
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


def _rounding_of_steps(network, corners, eps):
    """Return how far rounding moves the predictions of each path: that of inputs and of outputs.

    Seen at the ends and in the middle. A model rounds at least as much in between.
    """
    seen = corners[[0, len(corners) // 2, -1]]
    nudged = seen + (eps * seen.abs() * _signs(seen)).to(seen.dtype)
    z, moved = network.predictions_along(seen), network.predictions_along(nudged)
    finite = torch.where(torch.isfinite(z), z, 0.0)
    rounded = finite + eps * finite.abs() * _signs(finite)
    distance = network.distances(z, moved).double() + network.distances(finite, rounded).double()
    return distance.amax(0)


def _signs(z):
    """Return alternating signs along the last axis."""
    return 1.0 - 2.0 * (torch.arange(z.shape[-1], device=z.device) % 2).to(z.dtype)


def precision_of(network, x):
    """Return the epsilon of the precision in which the model computes."""
    try:
        gradients = network.at_sample(0).gradients(x[:1])
    except RuntimeError:  # a model that autograd cannot follow
        return torch.finfo(x.dtype).eps
    return read_graph(gradients.z, gradients.x).eps


def are_trusted(length, like):
    """Return flags for the lengths that have converged, on the device of a tensor."""
    return torch.tensor([s.is_solution for s in length.member_status], device=like.device) > 0


def worst_of(member_status):
    """Return the status of a batch."""
    for status in (Status.ROUNDING, Status.MAX_STEPS):
        if any(status is s for s in member_status):
            return status
    return Status.CONVERGED


def steps_of(head, z):
    """Return the distances between consecutive outputs."""
    return head.distance(z[:-1], z[1:])


def between(x0, x1, t):
    """Return (1 - t) x0 + t x1 for a number, or for one number of each row."""
    t = torch.as_tensor(t, device=x0.device).to(x0.dtype)
    t = t.reshape(t.shape + (1,) * (x0.ndim - 1)) if t.ndim else t
    return (1.0 - t) * x0 + t * x1
