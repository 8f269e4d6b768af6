"""A Wasserstein distance and a signed distance, by ReLU and by GroupSort

The Wasserstein-1 distance is the largest difference of means of a 1-Lipschitz function. Here it is
known: between the uniform distributions on two concentric circles it is the difference of their
radii, and the best function is the distance from the centre. A network with orthogonal layers
is 1-Lipschitz whatever its activation; only GroupSort keeps the norms of gradients, so that it can
get there. The same network, trained with the hinge-regularised loss, is near the signed distance
to the circle halfway between the two, and its certificates nearly are the distances to its own
boundary.

Draws wasserstein.png.
"""

import math

import numpy as np
import torch
from common import table
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import nn

from infogeo.lipschitz import layers, losses

RADII, WIDTH, NUM_STEPS, BATCH = (0.5, 1.5), 32, 400, 128
MARGIN = 0.5 * (RADII[1] - RADII[0])
COLOURS = {"GroupSort": "#0072B2", "ReLU": "#D55E00"}


def draw_batch(generator):
    """Return points of both circles, and -1 for the inner, 1 for the outer one."""
    y = torch.tensor([-1, 1]).repeat_interleave(BATCH)
    angle = 2.0 * math.pi * torch.rand(2 * BATCH, generator=generator)
    radius = torch.where(y < 0, RADII[0], RADII[1])
    return torch.stack([radius * angle.cos(), radius * angle.sin()], -1), y


def network(activation):
    """Return a network with orthogonal layers."""
    torch.manual_seed(0)
    return nn.Sequential(
        layers.OrthogonalLinear(2, WIDTH),
        activation(),
        layers.OrthogonalLinear(WIDTH, WIDTH),
        activation(),
        layers.OrthogonalLinear(WIDTH, WIDTH),
        activation(),
        layers.OrthogonalLinear(WIDTH, 1),
        nn.Flatten(0),
    )


def train(model, loss):
    """Minimise a loss; return the Wasserstein estimates on the way."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, NUM_STEPS)
    estimates = []
    for _ in range(NUM_STEPS):
        x, y = draw_batch(generator)
        optimizer.zero_grad()
        f = model(x)
        loss(f, y).backward()
        optimizer.step()
        schedule.step()
        estimates.append(float((f[y > 0].mean() - f[y < 0].mean()).detach()))
    return np.array(estimates)


def signed_distance_error(model):
    """Return how far the network is from the signed distance, between the circles."""
    radius = torch.linspace(RADII[0], RADII[1], 41)[:, None]
    angle = torch.linspace(0.0, 2.0 * math.pi, 73)[None, :-1]
    x = torch.stack([radius * angle.cos(), radius * angle.sin()], -1).reshape(-1, 2)
    with torch.no_grad():
        f = model(x).reshape(41, 72)
    return float((f - (radius - 1.0)).abs().max())


def boundary_distances(model, x):
    """Return upper bounds of the distances to where the network is 0, found on 2,000 rays."""
    angle = 2.0 * math.pi * torch.arange(2000, dtype=x.dtype)[:, None] / 2000
    ray = torch.cat([angle.cos(), angle.sin()], -1)
    low, high = torch.full_like(angle, RADII[0]), torch.full_like(angle, RADII[1])
    with torch.no_grad():
        assert (model(low * ray) < 0.0).all()
        assert (model(high * ray) > 0.0).all()
        for _ in range(40):
            middle = 0.5 * (low + high)
            inside = model(middle * ray)[:, None] < 0.0
            low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return torch.cdist(x, high * ray).amin(-1)


def draw(estimates, model):
    """Draw the estimates, and the trained function with its zero."""
    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, values in estimates.items():
        left.plot(values, color=COLOURS[name], linewidth=1.2, label=name)
    left.axhline(RADII[1] - RADII[0], color="0.2", linestyle="--", linewidth=1.0, label="exact")
    left.set(xlabel="steps", ylabel="estimate of the Wasserstein-1 distance", ylim=(0.0, 1.1))
    left.legend(loc="lower right", fontsize=9)
    side = torch.linspace(-1.9, 1.9, 121)
    grid = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1)
    with torch.no_grad():
        f = model(grid.reshape(-1, 2)).reshape(121, 121).numpy()
    filled = right.contourf(side, side, f, levels=np.linspace(-1.8, 1.8, 25), cmap="PuOr_r")
    right.contour(side, side, f, levels=[0.0], colors="0.1", linewidths=1.6)
    for radius in RADII:
        right.add_patch(Circle((0, 0), radius, fill=False, color="0.1", linestyle=":"))
    right.set(aspect="equal", xlabel="x", ylabel="y")
    figure.colorbar(filled, ax=right, label="network, signed distance", ticks=[-1, -0.5, 0, 0.5, 1])
    figure.savefig("wasserstein.png", dpi=110)


def main():
    """Train three networks, draw, and print the numbers."""
    activations = {"GroupSort": layers.GroupSort, "ReLU": nn.ReLU}
    estimates = {
        name: train(network(activation), losses.kantorovich_rubinstein)
        for name, activation in activations.items()
    }
    table(
        "| activation | estimate of the distance, which is 1 |",
        [[name, f"{values[-50:].mean():.2f}"] for name, values in estimates.items()],
    )
    assert estimates["GroupSort"][-50:].mean() > 0.93 > 0.8 > estimates["ReLU"][-50:].mean()
    model = network(layers.GroupSort)
    train(model, lambda f, y: losses.hkr(f, y, margin=MARGIN, weight=10.0))
    frozen = layers.freeze(model)
    error = signed_distance_error(frozen)
    frozen = frozen.double()
    x, y = draw_batch(torch.Generator().manual_seed(1))
    x = x.double()
    with torch.no_grad():
        radius = (frozen(x) * y).clamp_min(0.0)
    share = radius / boundary_distances(frozen, x)
    assert error < 0.06
    assert float(radius.min()) > 0.8 * MARGIN
    assert float(radius.max()) <= MARGIN * (1.0 + 1e-5) + 0.02
    table(
        "| between the circles | least | largest |",
        [
            ["distance of the network from the signed distance", "0", f"{error:.2f}"],
            ["certified radius, 0.5 is the best", f"{radius.min():.2f}", f"{radius.max():.2f}"],
            [
                "the same over the distance to its boundary",
                f"{share.min():.2f}",
                f"{share.max():.2f}",
            ],
        ],
    )
    assert 0.95 < float(share.min()) <= float(share.max()) <= 1.0
    draw(estimates, frozen.float())


if __name__ == "__main__":
    main()
