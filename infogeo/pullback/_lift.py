"""Inputs with given predictions: the lift of a geodesic, and the way back to a prediction."""

import torch

from infogeo.pullback._checks import check_input
from infogeo.pullback._derivatives import Tangent, apply_head
from infogeo.pullback._spectrum import factor_from
from infogeo.pullback.input_metrics import euclidean

_NEWTON_STEPS = 6
_GRID = 16  # points of the output geodesic for each segment, to space the segments


def lift(network, x0, x1, num_segments):
    """Return points that follow the geodesic between the predictions, from x0 to x1.

    Each step moves along the straight line to x1 by the part that is due, and back to the
    geodesic. The horizontal part of the step thus follows the prediction, the rest goes to x1.
    """
    z0, z1 = network.predictions(x0), network.predictions(x1)
    targets = _spread(network, z0, z1, num_segments)
    points = [x0]
    for k in range(1, num_segments):
        ahead = points[-1] + (x1 - points[-1]) / (num_segments - k + 1)
        points.append(move_to_output(network, ahead, targets[k], _NEWTON_STEPS))
    return torch.stack([*points, x1])


def _spread(network, z0, z1, num_segments):
    """Return outputs on the geodesic that are spread evenly, in length and in their own units.

    Near a saturated prediction logits grow beyond all bounds over a short distance.
    """
    t = torch.linspace(0.0, 1.0, _GRID * num_segments + 1, dtype=z0.dtype, device=z0.device)
    fine = network.head.geodesic(z0, z1, t)
    moved = torch.nan_to_num(fine[1:] - fine[:-1])
    speed = (moved - moved.mean(-1, keepdim=True)).norm(dim=-1)
    mean_speed = speed.mean(0)
    speed = 1.0 + speed / torch.where(mean_speed > 0.0, mean_speed, 1.0)
    done = torch.cat([torch.zeros_like(speed[:1]), speed.cumsum(0)]) / speed.sum(0)
    due = torch.linspace(0.0, 1.0, num_segments + 1, dtype=z0.dtype, device=z0.device)
    at = torch.searchsorted(done.T.contiguous(), due.expand(len(z0), -1).contiguous())
    at = at.clamp(max=len(t) - 1)
    return fine[at.T, torch.arange(len(z0), device=at.device)]


def move_to_output(network, x, target, num_steps, input_metric=euclidean):
    """Return the points near x with the target as output: shortest Newton steps, if they help."""
    z = network.predictions(x)
    left = network.distances(z, target)
    enough = 4.0 * torch.finfo(left.dtype).eps
    for _ in range(num_steps):
        if not bool((left > enough).any()):
            break
        step = _shortest_step(network, x, z, target, input_metric)
        scale, is_better = 1.0, torch.zeros_like(left, dtype=torch.bool)
        for _ in range(4):  # halve the steps of those that came no nearer
            trial = x + scale * step
            z_trial = network.predictions(trial)
            left_trial = network.distances(z_trial, target)
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


def _shortest_step(network, x, z, target, input_metric):
    """Return the shortest dx with A J dx = A (target - z), row by row without the scales."""
    if network.check:
        input_metric.check_points(x, "the points on the way")
    check_input(x, check=network.check)
    factor = factor_from(network, network.gradients(x))
    x_wide = x.to(factor.rows.dtype)
    rows = input_metric.pull(x_wide, factor.rows)
    missing = torch.where(torch.isfinite(z), target - z, 0.0)
    wanted, _ = apply_head(network.head, z, Tangent(missing))
    lengths = rows.norm(dim=-1, keepdim=True)
    lengths = torch.where(lengths > 0.0, lengths, 1.0)
    wanted = torch.where(torch.isfinite(factor.log_scales)[..., None], wanted, 0.0) / lengths
    U, S, Vh = torch.linalg.svd(rows / lengths, full_matrices=False)
    smallest = torch.finfo(S.dtype).eps ** 0.5 * S[:, :1]
    inverse = torch.where(smallest < S, 1.0 / S, 0.0)
    step = input_metric.push(x_wide, ((wanted.mT @ U) * inverse[:, None]) @ Vh)
    return step.reshape(x.shape).to(x.dtype)
