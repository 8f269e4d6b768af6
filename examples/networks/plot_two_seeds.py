"""Two seeds: distance, barrier and the order of the hidden units
==============================================================

Two networks that were trained on the same digits from different seeds predict nearly the same, yet
on the straight line between their weights the predictions go a long way round and the loss rises.
Much of that is the order of the hidden units: put in the order of the first network, the second
one is the same function, and the line to it is shorter and lower. Left the loss on the straight
line, in the middle the speed of the predictions along it, right the barrier of the loss and the
length of the line for all pairs of three seeds. Draws two_seeds.png.
"""

import itertools

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import nn

from infogeo.pullback import WeightMetric

NUM_STEPS, WIDTH, NUM_POINTS = 150, 32, 31
COLOURS = {"as trained": "#D55E00", "activations": "#009E73", "weights": "#0072B2"}
LABELS_OF = {
    "as trained": "as trained",
    "activations": "matched by activations",
    "weights": "matched by weights",
}


def trained(seed):
    """Return a network of two layers that has learnt half of the digits, from a seed."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10)).double()
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=1e-3)
    for _ in range(NUM_STEPS):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(IMAGES[::2]), LABELS[::2]).backward()
        optimiser.step()
    return net


def loss(z):
    """Return the mean cross-entropy on digits that the networks have not seen."""
    return nn.functional.cross_entropy(z, LABELS[1::4])


def orders(metric, first, second):
    """Return the second network as it is, and with its units in two other orders."""
    return {
        "as trained": second.state_dict(),
        "activations": metric.match_activations(first, second).weights,
        "weights": metric.match_weights(first, second).weights,
    }


def speeds(metric, first, other):
    """Return how fast the predictions move on the straight line, and where."""
    shares = np.linspace(0.0, 1.0, NUM_POINTS)
    start = first.state_dict()
    line = [{n: torch.lerp(w, other[n], t) for n, w in start.items()} for t in shares]
    steps = [float(metric.distance(*pair)) for pair in itertools.pairwise(line)]
    return 0.5 * (shares[1:] + shares[:-1]), np.array(steps) * (NUM_POINTS - 1)


def draw_lines(axes, metric, first, second):
    """Draw losses and speeds on the straight lines of one pair."""
    for name, other in orders(metric, first, second).items():
        found = metric.barrier(first, other, loss, num_points=NUM_POINTS)
        axes[0].plot(found.shares, found.losses, color=COLOURS[name], label=LABELS_OF[name])
        axes[1].plot(*speeds(metric, first, other), color=COLOURS[name])
    axes[0].set(ylabel="cross-entropy of other digits", title="The loss on the line")
    axes[1].set(ylabel="radians", title="The speed of the predictions on it")
    for ax in axes[:2]:
        ax.set(xlabel="share of the way from the first network", ylim=(0.0, None))
    axes[0].legend(frameon=False)


def draw_pairs(ax, nets):
    """Draw the barrier and the length of the line of all pairs, and print their means."""
    seen = {name: [] for name in COLOURS}
    for first, second in itertools.combinations(nets, 2):
        metric = WeightMetric(first, TEST)
        distance = float(metric.distance(first, second))
        for name, other in orders(metric, first, second).items():
            length = float(metric.segment_length(first, other, rtol=1e-2).value)
            height = metric.barrier(first, other, loss).value
            seen[name].append((distance, length / distance, height))
    for name, found in seen.items():
        rows = np.array(found)
        ax.plot(*rows[:, 1:].T, "o", color=COLOURS[name], label=LABELS_OF[name], alpha=0.8)
        mean, spread = rows.mean(0), rows.std(0, ddof=1)
        words = ("distance", "line over distance", "barrier")
        said = (f"{w} {m:.2f} ± {s:.2f}" for w, m, s in zip(words, mean, spread, strict=True))
        print(f"{LABELS_OF[name]}: {', '.join(said)} ({len(rows)} pairs, ± their spread)")
    ax.set(xlabel="length of the line over the distance", ylabel="barrier of the loss")
    ax.set(title=f"{len(rows)} pairs of seeds", xlim=(0.0, None), ylim=(0.0, None))


def main():
    """Train networks, match them, and draw the figure."""
    nets = [trained(seed) for seed in range(3)]
    figure = Figure(figsize=(12.0, 3.9), layout="constrained")
    axes = figure.subplots(1, 3)
    draw_lines(axes, WeightMetric(nets[0], TEST), *nets[:2])
    draw_pairs(axes[2], nets)
    for ax in axes:
        ax.grid(color="0.92")
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig("two_seeds.png", dpi=110)


IMAGES, LABELS = (torch.tensor(part) for part in load_digits(return_X_y=True))
IMAGES = IMAGES / 16.0
TEST = IMAGES[1::4]

if __name__ == "__main__":
    main()
