"""Ellipsoids in the place of spheres: what a sphere cannot separate, a 1-Lipschitz network can.

The inner ellipsoid has the axes 3, 2, 1 and 1, the outer one is 1.3 times as large.

Draws ellipsoids.png.
"""

import numpy as np
import torch
from common import climb, group_sort_network, spread, table
from matplotlib import pyplot as plt

from infogeo.lipschitz import layers

AXES, RADIUS, NUM_STEPS, SEEDS = torch.tensor([3.0, 2.0, 1.0, 1.0]), 1.3, 1_000, range(3)


def sample(num, generator):
    """Return points of the ellipsoids, and -1 (inner) or 1 (outer)."""
    x = torch.randn(num, len(AXES), generator=generator)
    y = 2.0 * torch.randint(2, (num,), generator=generator) - 1.0
    x = x / x.norm(dim=1, keepdim=True)
    return torch.where(y > 0.0, RADIUS, 1.0)[:, None] * x * AXES, y


def train(seed):
    """Return a GroupSort network, trained with a hinge loss."""
    generator = torch.Generator().manual_seed(seed)
    model = group_sort_network((4, 64, 64, 64, 1), seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=NUM_STEPS)
    for _ in range(NUM_STEPS):
        x, y = sample(512, generator)
        optimizer.zero_grad()
        torch.relu(0.1 - y * model(x)[:, 0]).mean().backward()
        optimizer.step()
        schedule.step()
    return layers.freeze(model).requires_grad_(False)


def best_sphere(x, y):
    """Return the error rate of the best threshold of |x|."""
    signs = y.numpy()[np.argsort(x.norm(dim=1).numpy())]
    # errors of every threshold: outer points below it, inner points above it
    errors = np.cumsum(signs > 0.0) + (signs < 0.0).sum() - np.cumsum(signs < 0.0)
    return errors.min() / len(y)


def study(model, seed):
    """Return error rates of the best sphere and of a network, and what its certificates are."""
    x, y = sample(100_000, torch.Generator().manual_seed(100 + seed))
    margins = model(x)[:, 0] * y
    rows = margins.argsort()[:500]  # those that are nearest to the boundary
    moved = climb(
        lambda points: -y[rows] * model(points)[:, 0],
        x[rows],
        0.999 * margins[rows].clamp_min(0.0),
        30,
    )
    assert not bool(((model(moved)[:, 0] * y[rows] < 0.0) & (margins[rows] > 1e-6)).any())
    errors = float((margins <= 0.0).float().mean())
    return best_sphere(x, y), errors, margins.numpy()


def main():
    """Train, measure, attack and draw."""
    runs = []
    for seed in SEEDS:
        model = train(seed)
        runs.append(study(model, seed))
    spheres, errors, margins = zip(*runs, strict=True)
    assert max(errors) < 0.01 < 0.3 < min(spheres)
    assert max(m.max() for m in margins) < 0.5 * (RADIUS - 1.0) * float(AXES.max())
    table(
        "| | errors in 100,000 points, % | smallest certificate | median |",
        [
            ["the best sphere", spread([100 * s for s in spheres], "{:.1f}"), "", ""],
            [
                "GroupSort network",
                spread([100 * e for e in errors], "{:.3f}"),
                spread([m.min() for m in margins]),
                spread([np.median(m) for m in margins]),
            ],
        ],
    )
    draw(model, margins[-1])


def draw(model, margins):
    """Draw the decision in the plane of the first and the last axis, and the certificates."""
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.6), layout="constrained")
    grid = torch.linspace(-4.4, 4.4, 221)
    a, b = torch.meshgrid(grid, grid, indexing="xy")
    zero = torch.zeros_like(a)
    f = model(torch.stack((a, zero, b, zero), dim=-1).reshape(-1, 4))[:, 0].reshape(a.shape)
    lines = axes[0].contour(grid, grid, f, levels=[0.0], colors="#D55E00")
    angle = np.linspace(0.0, 2.0 * np.pi, 400)
    for r, colour in ((1.0, "#0072B2"), (RADIUS, "#009E73")):
        axes[0].plot(r * float(AXES[0]) * np.cos(angle), r * np.sin(angle), color=colour)
    axes[0].plot(*(1.5 * np.stack((np.cos(angle), np.sin(angle)))), ":", color="0.35")
    axes[0].set(xlabel="first axis", ylabel="third axis", xlim=(-4.4, 4.4), ylim=(-2.6, 2.6))
    axes[0].set_aspect("equal")
    axes[0].legend(
        [*axes[0].lines, lines.legend_elements()[0][0]],
        ["inner", "outer", "a sphere", "GroupSort net"],
        frameon=False,
        ncols=2,
        fontsize=8,
    )
    axes[1].hist(margins, bins=60, color="#0072B2")
    axes[1].axvline(0.0, color="#D55E00")
    axes[1].set(xlabel="signed certified radius", ylabel="points")
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig("ellipsoids.png", dpi=110)


if __name__ == "__main__":
    main()
