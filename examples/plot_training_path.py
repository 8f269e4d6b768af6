"""Training as a path of functions: how far it goes, how straight, and what lies between two seeds
===============================================================================================

A network is a point of a space of functions: two of them are as far apart as their predictions
are, in root mean square over images. `WeightMetric` measures the path that training takes in that
space, the straight line of weights between two networks that were trained from different seeds,
and how many directions of the weights the images see. Draws training_path.png.
"""

import copy
import itertools

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import nn

from infogeo.pullback import WeightMetric

NUM_STEPS, EVERY, NUM_IMAGES = 300, 10, 60
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"


def network(seed):
    """Return a small network in float64, drawn from a seed."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10)).double()


def trained(net, images, labels):
    """Train a network, and return its weights every few steps."""
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    states = [copy.deepcopy(net.state_dict())]
    for step in range(1, NUM_STEPS + 1):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimiser.step()
        if step % EVERY == 0:
            states.append(copy.deepcopy(net.state_dict()))
    return states


def along(first, second, shares):
    """Return weights on the straight line between two networks."""
    return [
        {name: torch.lerp(w, second[name], share) for name, w in first.items()} for share in shares
    ]


def losses(net, states, images, labels):
    """Return the mean cross-entropy of a network with each of several weights."""
    with torch.no_grad():
        outputs = [torch.func.functional_call(net, state, (images,)) for state in states]
        return [float(nn.functional.cross_entropy(z, labels)) for z in outputs]


def draw_path(ax, metric, states):
    """Draw the length of the path and the distance from its start, and print both."""
    steps = np.arange(len(states)) * EVERY
    pieces = [float(metric.distance(*pair)) for pair in itertools.pairwise(states)]
    length = np.concatenate([[0.0], np.cumsum(pieces)])
    distance = [float(metric.distance(states[0], state)) for state in states]
    ax.plot(steps, length, color=ORANGE, label="length of the path")
    ax.plot(steps, distance, color=BLUE, label="distance from the start")
    ax.set(xlabel="step", ylabel="radians", title="The path of one training")
    ax.legend(frameon=False)
    print(f"length of the path {length[-1]:.2f}, distance of its ends {distance[-1]:.2f}")
    print(f"straightness {distance[-1] / length[-1]:.2f}")


def draw_line(ax, metric, net, ends, images, labels):
    """Draw the loss and the speed on the line between two seeds, and print its length."""
    shares = np.linspace(0.0, 1.0, 41)
    states = along(*ends, shares)
    speed = [
        float(metric.distance(*pair)) / (shares[1] - shares[0])
        for pair in itertools.pairwise(states)
    ]
    ax.plot(0.5 * (shares[1:] + shares[:-1]), speed, color=BLUE)
    ax.set(xlabel="share of the way between the seeds", title="The straight line between two seeds")
    ax.set_ylabel("speed of the predictions, radians", color=BLUE)
    other = ax.twinx()
    other.plot(shares, losses(net, states, images, labels), color=ORANGE)
    other.set_ylabel("cross-entropy", color=ORANGE)
    other.spines["top"].set_visible(False)
    length, distance = metric.segment_length(*ends), metric.distance(*ends)
    print(f"two seeds: distance {float(distance):.2f}, line {float(length.value):.2f}")
    print(f"line over distance {float(length.value / distance):.1f}")


def draw_spectra(ax, nets):
    """Draw the eigenvalues of the metric before and after training, and print its dimensions."""
    for (name, net), colour in zip(nets.items(), (GREY, BLUE), strict=True):
        metric = WeightMetric(net, IMAGES[:NUM_IMAGES])
        values = metric.log_spectrum().exp().numpy()
        ax.semilogy(np.arange(1, len(values) + 1), values, color=colour, label=name)
        dimension = float(metric.effective_dimension(1e-3))
        print(f"{name}: {dimension:.0f} of {values.size} directions above a damping of 0.001")
    ax.set(xlabel="number of the eigenvalue", ylabel="squared radians per squared weight")
    ax.set_title(f"What {NUM_IMAGES} images see of the weights")
    ax.set_ylim(bottom=1e-12)
    ax.legend(frameon=False)


def main():
    """Train two networks, measure, and draw the figure."""
    train, train_labels = IMAGES[::2], LABELS[::2]
    nets = [network(seed) for seed in (0, 1)]
    start = copy.deepcopy(nets[0])
    paths = [trained(net, train, train_labels) for net in nets]
    metric = WeightMetric(nets[0], IMAGES[1::2])
    figure = Figure(figsize=(12.0, 3.9), layout="constrained")
    axes = figure.subplots(1, 3)
    draw_path(axes[0], metric, paths[0])
    ends = [path[-1] for path in paths]
    draw_line(axes[1], metric, nets[0], ends, IMAGES[1::2], LABELS[1::2])
    draw_spectra(axes[2], {"before training": start, "after training": nets[0]})
    for ax in axes:
        ax.grid(color="0.92")
        ax.set_axisbelow(True)
        ax.spines["top"].set_visible(False)
    figure.savefig("training_path.png", dpi=110)


IMAGES, LABELS = (torch.tensor(part) for part in load_digits(return_X_y=True))
IMAGES = IMAGES / 16.0

if __name__ == "__main__":
    main()
