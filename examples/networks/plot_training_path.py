"""Training as a path of functions: how far it goes, how straight, and what the images see of it
=============================================================================================

A network is a point of a space of functions: two of them are as far apart as their predictions
are, in root mean square over images. `WeightMetric` measures the path that training takes in that
space, and how many directions of the weights the images see on the way: the eigenvalues of the
metric at several steps, and the effective dimension. Draws training_path.png.
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
BLUE, ORANGE = "#0072B2", "#D55E00"
COLOURS = "#999999", "#56B4E9", "#0072B2", "#000000"


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


def metric_at(net, state):
    """Return the metric of a network with other weights, on few images."""
    net.load_state_dict(state)
    return WeightMetric(net, IMAGES[:NUM_IMAGES])


def draw_spectra(ax, net, states):
    """Draw the eigenvalues of the metric at several steps of a training."""
    steps = [0, 30, 100, NUM_STEPS]
    for step, colour in zip(steps, COLOURS, strict=True):
        values = metric_at(net, states[step // EVERY]).log_spectrum().exp().numpy()
        ax.semilogy(np.arange(1, len(values) + 1), values, color=colour, label=f"step {step}")
    ax.set(xlabel="number of the eigenvalue", ylabel="squared radians per squared weight")
    ax.set_title(f"What {NUM_IMAGES} images see of the weights")
    ax.set_ylim(bottom=1e-12)
    ax.legend(frameon=False)


def draw_dimensions(ax, net, states):
    """Draw how many directions the images determine, over the steps."""
    chosen = range(0, len(states), 3)
    logs = [metric_at(net, states[k]).log_spectrum() for k in chosen]
    for damping, colour in zip((1e-5, 1e-3, 1e-1), COLOURS[1:], strict=True):
        dimensions = [float(torch.sigmoid(y - np.log(damping)).sum()) for y in logs]
        ax.plot(np.array(chosen) * EVERY, dimensions, color=colour, label=f"damping {damping:g}")
        first, last = dimensions[0], dimensions[-1]
        print(f"damping {damping:g}: {first:.0f} directions at the start, {last:.0f} at the end")
    ax.set(xlabel="step", ylabel="effective dimension", title="Directions that they determine")
    ax.set_ylim(bottom=0.0)
    ax.legend(frameon=False)


def main():
    """Train a network, measure, and draw the figure."""
    net = network(0)
    states = trained(net, IMAGES[::2], LABELS[::2])
    metric = WeightMetric(net, IMAGES[1::2])
    figure = Figure(figsize=(12.0, 3.9), layout="constrained")
    axes = figure.subplots(1, 3)
    draw_path(axes[0], metric, states)
    draw_spectra(axes[1], net, states)
    draw_dimensions(axes[2], net, states)
    for ax in axes:
        ax.grid(color="0.92")
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig("training_path.png", dpi=110)


IMAGES, LABELS = (torch.tensor(part) for part in load_digits(return_X_y=True))
IMAGES = IMAGES / 16.0

if __name__ == "__main__":
    main()
