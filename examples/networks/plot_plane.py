"""What a network makes of the plane: ellipses and spectra of the pullback metric
==============================================================================

Three classes of points in the plane and a small network. Around each input an ellipse tells how
far it can move until its prediction has moved by a given distance: not far across the boundary of
two classes, far along it. Open curves are longer than the place between two inputs; where there is
a dot alone, the whole ellipse is larger than that. Beside it the two eigenvalues at all inputs,
before and after training. Draws plane.png.
"""

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap
from torch import nn

from infogeo import plot
from infogeo.pullback import PullbackMetric

COLOURS = ("#56b4e9", "#e69f00", "#009e73")
CENTERS = torch.tensor([[-1.2, -0.8], [1.2, -0.8], [0.0, 1.2]])
REACH = 2.4


def sample(num_each, generator):
    """Return points around three centres, and their classes."""
    noise = torch.randn(3, num_each, 2, generator=generator)
    points = (CENTERS[:, None] + 0.6 * noise).reshape(-1, 2)
    return points, torch.arange(3).repeat_interleave(num_each)


def network():
    """Return a smooth network, not yet trained."""
    return nn.Sequential(
        nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 3)
    )


def train(net, points, classes):
    """Train it, a little, so that its predictions are not all certain."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2, weight_decay=1e-3)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(points), classes).backward()
        optimizer.step()
    return net


def draw_plane(ax, net, metric):
    """Draw decisions and ellipses."""
    steps = torch.linspace(-REACH, REACH, 201)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
    with torch.no_grad():
        decisions = net(grid.reshape(-1, 2)).argmax(-1).reshape(201, 201)
    ax.pcolormesh(
        steps, steps, decisions, cmap=ListedColormap(COLOURS), alpha=0.25, rasterized=True
    )
    centers = torch.cartesian_prod(*[torch.linspace(-2.1, 2.1, 11)] * 2)
    plot.ellipses(metric, centers, color="0.15", ax=ax)
    ax.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH))


def main():
    """Train, measure, draw."""
    torch.manual_seed(0)
    points, classes = sample(100, torch.Generator().manual_seed(0))
    before = PullbackMetric(network())
    net = train(network(), points, classes)
    after = PullbackMetric(net)
    accuracy = (net(points).argmax(-1) == classes).double().mean()
    spectra = {"before training": before.spectrum(points), "after training": after.spectrum(points)}
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 4.9), layout="constrained")
    draw_plane(left, net, after)
    print(f"right: {100 * float(accuracy):.1f} % of {len(points)} points")
    for (name, spectrum), color in zip(spectra.items(), ("#d55e00", "#0072b2"), strict=True):
        plot.spectrum(spectrum, label=name, color=color, ax=right)
        speeds = np.sqrt(np.quantile(spectrum.values[:, 0].numpy(), [0.05, 0.5, 0.95]))
        listed = ", ".join(f"{speed:.3f}" for speed in speeds)
        print(f"{name}: 5 %, 50 %, 95 % of the largest speeds (rad per unit): {listed}")
    medians = [spectrum.values[:, 0].median() for spectrum in spectra.values()]
    assert medians[1] > 10.0 * medians[0], "a trained network tells inputs apart"
    figure.savefig("plane.png", dpi=110)
    print("drawn: plane.png")


if __name__ == "__main__":
    main()
