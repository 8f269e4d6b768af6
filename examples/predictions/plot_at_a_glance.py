"""Three geometries at a glance: predictions, normal distributions, inputs of a network
====================================================================================

Grey curves are circles: all points of one are equally far from its centre, and all circles of a
panel are equally large. Blue curves are the shortest ways from one point to others. To the right,
the colours are the decisions of a small network. Its ellipses say how far an input can move until
the prediction has moved by a given distance: far inside a class, and not at all far between two.
Draws at_a_glance.png.
"""

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap
from torch import nn

from infogeo import normal, plot, simplex
from infogeo.pullback import PullbackMetric

BLUE, GREY = "#0072b2", "0.55"
STEPS = np.linspace(0.0, 1.0, 80)
REACH = 2.5
CENTERS = torch.tensor([[-1.2, -0.8], [1.2, -0.8], [0.0, 1.3]])


def draw_predictions(ax):
    """Draw circles of radius 0.15 and the shortest ways from one prediction to three others."""
    plot.simplex(ax, labels=("cat", "dog", "fox"))
    grid = np.stack(np.meshgrid(*[np.arange(1, 6)] * 2), axis=-1).reshape(-1, 2)
    for i, j in grid[grid.sum(axis=1) < 7]:
        plot.balls(np.array([i, j, 7 - i - j]) / 7.0, [0.15], ax=ax, colors=GREY)
    start = np.array([0.8, 0.195, 0.005])
    ends = np.array([[0.02, 0.78, 0.2], [0.1, 0.1, 0.8], [0.005, 0.6, 0.395]])
    for end in ends:
        path = simplex.fisher_rao_geodesic(start, end, STEPS)
        ax.plot(*plot.to_ternary(path).T, color=BLUE, linewidth=2.2)
    ax.set_title("predictions of three classes")
    return simplex.fisher_rao_distance(start, ends)


def draw_normals(ax):
    """Draw circles of radius 0.3 and the shortest ways from one normal to three others."""
    plot.half_plane(ax, mean_limits=(-3.0, 3.0), max_std=3.0)
    for std in 0.35 * 1.75 ** np.arange(4):
        for k in range(-8, 9):
            center = normal.Normal(0.8 * std * k, std)
            if abs(center.mean) < 2.9:
                circle = plot.geodesic_circle(center, 0.3)
                ax.plot(circle.mean, circle.std, color=GREY, linewidth=1.3)
    start = normal.Normal(-2.6, 0.3)
    ends = normal.Normal(np.array([2.6, 0.0, 1.6]), np.array([0.3, 0.3, 2.5]))
    for mean, std in zip(ends.mean, ends.std, strict=True):
        path = normal.fisher_rao_geodesic(start, normal.Normal(mean, std), STEPS)
        ax.plot(path.mean, path.std, color=BLUE, linewidth=2.2)
    ax.set_title("normal distributions")
    return normal.fisher_rao_distance(start, ends)


def draw_network(ax):
    """Train a network on three clouds of points; draw its decisions and its metric."""
    torch.manual_seed(0)
    classes = torch.arange(3).repeat_interleave(100)
    points = CENTERS[classes] + 0.6 * torch.randn(300, 2)
    net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02, weight_decay=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(points), classes).backward()
        optimizer.step()
    steps = torch.linspace(-REACH, REACH, 201)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)
    with torch.no_grad():
        decisions = net(grid.reshape(-1, 2)).argmax(dim=1).reshape(201, 201)
    colours = ListedColormap(["#e69f00", "#56b4e9", "#009e73"])
    ax.pcolormesh(steps, steps, decisions, cmap=colours, alpha=0.3, rasterized=True)
    centers = torch.cartesian_prod(*[torch.linspace(-2.0, 2.0, 9)] * 2)
    plot.ellipses(PullbackMetric(net), centers, radius=0.08, color="0.3", ax=ax)
    ax.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), xlabel="first input", ylabel="second input")
    ax.set_title("inputs, as a network sees them")
    return float((net(points).argmax(dim=1) == classes).float().mean())


def main():
    """Draw the figure and print the distances."""
    widths = {"width_ratios": (1.0, 1.25, 1.0)}
    figure, axes = plt.subplots(1, 3, figsize=(13.0, 4.2), layout="constrained", gridspec_kw=widths)
    print("distances of predictions, in radians:", draw_predictions(axes[0]).round(3))
    print("distances of normal distributions:   ", draw_normals(axes[1]).round(3))
    print(f"the network is right about {draw_network(axes[2]):.0%} of its points")
    figure.savefig("at_a_glance.png", dpi=110, bbox_inches="tight")
    print("drawn: at_a_glance.png")


if __name__ == "__main__":
    main()
