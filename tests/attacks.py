"""Adversarial attacks that certificates must survive: projected gradient descent and DeepFool.

Both return inputs of another class as near as they can find them, so that the norm of what they
add is an upper bound on the distance to the decision boundary. They are written for small models
in float64, on the CPU.
"""

import math

import torch

from infogeo import robustness


def margin(z, label):
    """The label's logit less the largest of the others, shape (batch,): negative is fooled."""
    others = z.scatter(-1, label[:, None], -math.inf)
    return z.gather(-1, label[:, None])[:, 0] - others.amax(-1)


def size(v, order=2):
    """The l2 or l_inf norm of each member of a batch, shape (batch,)."""
    return torch.linalg.vector_norm(v.flatten(1), ord=order, dim=1)


def predicted_class(model, x):
    with torch.no_grad():
        return model(x).argmax(-1)


def pgd(model, x, *, radius, label=None, order=2, clip=None, num_steps=40, num_restarts=1, seed=0):
    """Return the points of the public attack."""
    return robustness.pgd_attack(
        model, x, radius=radius, target=label, order=order, clip=clip, num_steps=num_steps,
        restarts=num_restarts, generator=torch.Generator().manual_seed(seed), check=False,
    ).points  # fmt: skip


def deepfool(model, x, *, label=None, num_steps=50, num_restarts=1, spread=0.5, seed=0):
    """Walk to the nearest boundary of the linearised model, again and again, then bisect.

    The first start is x, the others are random points within `spread` times the distance found
    first. Returns the nearest point of another class seen for each input, as near to the boundary
    as bisection on the segment from x gets it, and x itself where none was seen.
    """
    label = predicted_class(model, x) if label is None else label
    generator = torch.Generator().manual_seed(seed)
    best, nearest = x.clone(), torch.full((len(x),), math.inf, dtype=x.dtype)
    for restart in range(num_restarts):
        start = x
        if restart > 0:
            reach = torch.where(nearest < math.inf, spread * nearest, spread * size(x))
            start = x + _in_ball(x, reach, generator)
        point = _towards(model, x, _cross(model, start, label, num_steps), label)
        is_fooled = predicted_class(model, point) != label
        distance = size(point - x)
        is_better = is_fooled & (distance < nearest)
        nearest = torch.where(is_better, distance, nearest)
        best = torch.where(_beside(is_better, x), point, best)
    return best


def _cross(model, start, label, num_steps):
    """Follow DeepFool's steps until the class changes (S. Moosavi-Dezfooli et al., CVPR 2016)."""
    point = start.clone()
    for _ in range(num_steps):
        active = predicted_class(model, point) == label
        if not active.any():
            break
        y = point[active].detach().requires_grad_()
        z = model(y)
        gaps = z - z.gather(-1, label[active][:, None])
        gradients = torch.stack(
            [
                torch.autograd.grad(gaps[:, j].sum(), y, retain_graph=True)[0]
                for j in range(z.shape[1])
            ],
            dim=1,
        )
        squares = gradients.flatten(2).square().sum(-1)
        distances = (-gaps.detach() / squares.sqrt()).scatter(-1, label[active][:, None], math.inf)
        distances = torch.where(squares > 0.0, distances, math.inf)
        nearest = distances.argmin(-1)
        rows = torch.arange(len(nearest))
        gap, square = gaps.detach()[rows, nearest], squares[rows, nearest]
        scale = torch.where(square > 0.0, (gap.abs() + 1e-9) / square, 0.0)
        point[active] += 1.02 * _beside(scale, y) * gradients[rows, nearest]
    return point


def _towards(model, x, end, label, num_halvings=40):
    """Return the point of another class next to the boundary on each segment from x to its end."""
    low, high = torch.zeros(len(x), dtype=x.dtype), torch.ones(len(x), dtype=x.dtype)
    for _ in range(num_halvings):
        middle = 0.5 * (low + high)
        is_fooled = predicted_class(model, x + _beside(middle, x) * (end - x)) != label
        high = torch.where(is_fooled, middle, high)
        low = torch.where(is_fooled, low, middle)
    return x + _beside(high, x) * (end - x)


def _in_ball(x, radius, generator):
    """Return random points of the l2 ball of that radius around 0, uniform in volume."""
    v = torch.randn(x.shape, dtype=x.dtype, generator=generator)
    share = torch.rand(len(x), dtype=x.dtype, generator=generator) ** (1.0 / x[0].numel())
    return v * _beside(radius * share / size(v), x)


def _beside(values, x):
    """Return values of shape (batch,) with an axis of length 1 for each axis of an input."""
    return values.reshape(-1, *(1,) * (x.ndim - 1))
