"""Paths of little energy: what it is, and its minimisation from a polygon that is known."""

import numpy as np
import scipy.optimize
import torch

from infogeo._status import Status
from infogeo.pullback._polygons import between, steps_of

_PIECES = 4  # of a segment: what lies between its corners counts
_RESTARTS = 20


def energy_of(head, z):
    """Return the energy of a path of outputs at equal steps of its parameter."""
    steps = steps_of(head, z)
    return 0.5 * len(steps) * steps.square().sum()


def refined(points):
    """Return points on a polygon: its corners, and others that divide the segments evenly."""
    parts = [points[:-1] + (k / _PIECES) * (points[1:] - points[:-1]) for k in range(_PIECES)]
    return torch.cat([torch.stack(parts, dim=1).flatten(0, 1), points[-1:]])


def minimised(network, points, tol, max_steps):
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

    start = float(energy_of(network.head, network.predictions(refined(points)))) or 1.0

    def value_and_gradient(flat):
        with torch.inference_mode(False), torch.enable_grad():
            coefficients = torch.tensor(flat, device=points.device).reshape(len(j), -1)
            coefficients.requires_grad_()
            z = network.outputs_in_parts(refined(path_of(coefficients)))
            value = energy_of(network.head, z) / start
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
    return torch.cat([points[:1], between(points[k], points[k + 1], t), points[-1:]])
