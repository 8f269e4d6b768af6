r"""Lengths of paths and distances of inputs, as a network sees them.

Lengths need no Jacobian: the length of a path is that of its image, the path of the predictions,
and that is measured by exact output distances. The functions are methods of `PullbackMetric`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from array_api_compat import torch as xp
from torch import Tensor

from infogeo import _array
from infogeo._array import Array, bad_value
from infogeo._docs import finish
from infogeo._result import Table
from infogeo._status import SolveError, Status
from infogeo._system.registry import storable
from infogeo.pullback._checks import (
    check_count,
    check_input,
    check_number,
    check_pair,
    require_distance,
)
from infogeo.pullback._energy import energy_of, minimised, refined
from infogeo.pullback._lift import lift
from infogeo.pullback._network import network_of
from infogeo.pullback._polygons import (
    PATH_RTOL,
    Length,
    are_trusted,
    between,
    polygon_length,
    precision_of,
    slack,
    steps_of,
    worst_of,
)

if TYPE_CHECKING:
    from infogeo.pullback.metric import PullbackMetric


__all__ = ["distance", "energy", "length", "segment_length"]


@storable("Path")
@dataclass(frozen=True, eq=False, repr=False)
class Path(Table):
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

    axes: ClassVar = {"sample": None}

    points: Array
    length: Array
    lower_bound: Array
    energy: Array
    arrival_error: Array
    steps: Array
    status: Status
    member_status: np.ndarray


def length(self: "PullbackMetric", path: Tensor) -> Tensor:
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
    return steps_of(self.head, _predictions(self, path)).sum()


def energy(self: "PullbackMetric", path: Tensor) -> Tensor:
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
    return energy_of(self.head, _predictions(self, path))


def segment_length(
    self: "PullbackMetric", x0: Tensor, x1: Tensor, *, num_segments: int = 32, rtol: float = 1e-5
) -> Length:
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
    network, x0, x1 = _ends(self, x0, x1)
    corners = _straight(x0, x1, num_segments)
    return polygon_length(network, corners, rtol, rtol, precision_of(network, x0))


def distance(
    self: "PullbackMetric",
    x0: Tensor,
    x1: Tensor,
    *,
    num_segments: int = 32,
    tol: float = 1e-2,
    max_steps: int = 500,
    throw: bool = True,
) -> Path:
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
    network, x0, x1 = _ends(self, x0, x1)
    eps = precision_of(network, x0)
    lower = network.distances(network.predictions(x0), network.predictions(x1))
    points, best, arrival_error = _known_paths(network, x0, x1, lower, num_segments, tol, eps)
    steps = torch.zeros(len(x0), dtype=torch.int64, device=x0.device)
    member_status = best.member_status.copy()
    excess = best.value - (1.0 + tol) * lower - best.error - slack(lower.dtype)
    # In one dimension there is no other way.
    can_improve = are_trusted(best, lower) & (excess > 0.0) & (x0[:1].numel() > 1)
    lengths = best.value
    for i in torch.argwhere(can_improve).flatten().tolist():
        own = network.at_sample(i)
        found, steps[i], member_status[i] = minimised(own, points[:, i], tol, max_steps)
        found_length = polygon_length(own, found[:, None], PATH_RTOL, tol, eps)
        if are_trusted(found_length, lower) and found_length.value < lengths[i]:
            points[:, i], lengths[i] = found, found_length.value
    energies = torch.zeros_like(lengths)
    for i in range(len(x0)):
        z = network.at_sample(i).predictions(refined(points[:, i]))
        energies[i] = energy_of(self.head, z)
    # A polygon as short as the bound may come out below it by rounding.
    lengths = torch.maximum(lengths, lower)
    worst = worst_of(member_status)
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


# ---------------------------------------------------------------- arguments


def _ends(metric, x0, x1):
    """Return the network of a metric, and both ends with the same batch."""
    require_distance(metric.head)
    check_pair(x0, x1, check=metric.check)
    x0, x1 = torch.broadcast_tensors(x0.detach(), x1.detach())
    network = network_of(metric)
    network.inputs.check_for(len(x0), "x0 and x1")
    network.check_samples(x0)
    return network, x0, x1


def _predictions(metric, path):
    """Return the outputs at the points of one path."""
    require_distance(metric.head)
    check_input(path, "path", check=metric.check)
    if len(path) < 2:
        raise bad_value("path", "have at least two points", f"its shape is {tuple(path.shape)}")
    network = network_of(metric)
    network.inputs.check_for(1, "one path")
    return network.predictions(path)


# ---------------------------------------------------------------- paths that are known


def _straight(x0, x1, num_segments):
    """Return the corners of straight lines."""
    t = torch.linspace(0.0, 1.0, num_segments + 1, dtype=torch.float64)
    return torch.stack([between(x0, x1, s) for s in t])


def _known_paths(network, x0, x1, lower, num_segments, tol, eps):
    """Return the shorter of straight and lifted paths, their lengths, and the lift's excess."""
    straight = _straight(x0, x1, num_segments)
    straight_length = polygon_length(network, straight, PATH_RTOL, tol, eps)
    if network.head.geodesic is None:
        return straight, straight_length, torch.full_like(lower, torch.nan)
    if x0[:1].numel() == 1:  # all paths run through all points between the ends
        return straight, straight_length, (straight_length.value - lower).clamp(min=0.0)
    lifted = _without_detours(lift(network, x0, x1, num_segments), straight)
    lifted_length = polygon_length(network, lifted, PATH_RTOL, tol, eps)
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
    trusted_a, trusted_b = (are_trusted(length, lower) for length in (length_of_a, length_of_b))
    is_b = trusted_b & (is_b | ~trusted_a)
    where = is_b.reshape(1, -1, *(1,) * (a.ndim - 2))
    fields = ("value", "error", "num_segments")
    chosen = (torch.where(is_b, getattr(length_of_b, k), getattr(length_of_a, k)) for k in fields)
    status = np.where(is_b.cpu().numpy(), length_of_b.member_status, length_of_a.member_status)
    return torch.where(where, b, a), Length(*chosen, worst_of(status), status)


finish(globals())
