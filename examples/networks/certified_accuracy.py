"""Images that keep their right class, whatever is added up to an l2 radius
========================================================================

Trains 1-Lipschitz networks with a loss for small and one for large radii, freezes them and counts
the images that are classified right with a certificate. On scikit-learn's digits by default; with
``--data DIR`` on the 10,000 test images of MNIST (t10k-images-idx3-ubyte.gz and
t10k-labels-idx1-ubyte.gz in that folder), 8,000 of them for training and 2,000 to measure on.
Writes certified_accuracy.png into the current folder.
"""

import argparse
import gzip
import itertools
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch import nn

from infogeo.lipschitz import certificates, layers, losses

RADII = (0.0, 0.141, 1.0)  # l2, pixels from 0 to 1
CURVE = np.linspace(0.0, 2.5, 126)
BATCH_SIZE = 128


@dataclass(frozen=True)
class Recipe:
    """How to train for a radius: a large offset asks for large margins."""

    name: str
    offset: float
    tau: float
    max_shift: int  # pixels that training images are shifted by at most
    colour: str
    line: str


@dataclass(frozen=True)
class Data:
    """Images with pixels from 0 to 1, shape (n, side, side), and their classes."""

    images: torch.Tensor
    labels: torch.Tensor
    num_train: int
    widths: tuple
    num_epochs: int


def load_scikit_learn():
    """Return the 1,797 digits of 8 x 8 pixels."""
    bunch = load_digits()
    images = torch.from_numpy(bunch.images / 16.0).float()
    return Data(images, torch.from_numpy(bunch.target), 1400, (64, 128, 128, 10), 25)


def load_mnist(folder):
    """Return MNIST's 10,000 test images of 28 x 28 pixels."""
    parts = []
    for name, offset in (("t10k-images-idx3-ubyte.gz", 16), ("t10k-labels-idx1-ubyte.gz", 8)):
        content = gzip.decompress((Path(folder) / name).read_bytes())
        parts.append(np.frombuffer(content, np.uint8, offset=offset))
    images = torch.from_numpy(parts[0].reshape(-1, 28, 28) / 255.0).float()
    return Data(images, torch.from_numpy(parts[1].astype(np.int64)), 8000, (784, 256, 256, 10), 16)


def shifted(images, most):
    """Return the images shifted by some pixels, all in the same way."""
    return images.roll(tuple(torch.randint(-most, most + 1, (2,)).tolist()), dims=(-2, -1))


def train(images, labels, recipe, data, seed):
    """Return a network that has been trained and frozen, strictly 1-Lipschitz."""
    torch.manual_seed(seed)
    modules = [nn.Flatten()]
    for i, o in itertools.pairwise(data.widths):
        modules += [layers.OrthogonalLinear(i, o), layers.GroupSort()]
    net = nn.Sequential(*modules[:-1])
    num_batches = len(images) // BATCH_SIZE
    optimizer = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.01, total_steps=data.num_epochs * num_batches
    )
    for _ in range(data.num_epochs):
        order = torch.randperm(len(images))
        for rows in order[: num_batches * BATCH_SIZE].split(BATCH_SIZE):
            optimizer.zero_grad()
            z = net(shifted(images[rows], recipe.max_shift))
            losses.offset_cross_entropy(
                z, labels[rows], offset=recipe.offset, tau=recipe.tau
            ).backward()
            optimizer.step()
            schedule.step()
    return layers.freeze(net)


def measure(data, recipe, seed):
    """Train on one part, and return what is certified on the other and the seconds it took."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(data.images)))
    train_rows, test_rows = order[: data.num_train], order[data.num_train :]
    start = time.perf_counter()
    net = train(data.images[train_rows], data.labels[train_rows], recipe, data, seed)
    seconds = time.perf_counter() - start
    bound = layers.lipschitz_bound(net)
    assert bound <= 1.0
    coverage = partial(
        certificates.coverage,
        net(data.images[test_rows]).double(),
        data.labels[test_rows],
        lipschitz_constant=bound,
    )
    return coverage(RADII).certified_accuracy.numpy(), coverage(CURVE.tolist()), seconds


def print_row(name, runs):
    """Print mean and range over the seeds for each radius, and the longest time."""
    accuracies = np.array([accuracy for accuracy, _, _ in runs])
    mean, low, high = accuracies.mean(0), accuracies.min(0), accuracies.max(0)
    numbers = "".join(
        f"{m:8.4f} ({a:.4f} to {b:.4f})" for m, a, b in zip(mean, low, high, strict=True)
    )
    print(f"{name:24}{numbers}{max(seconds for _, _, seconds in runs):8.0f}")


def draw(ax, recipe, curve):
    """Draw certified accuracy against the radius, and the accuracy of what is not rejected."""
    ax[0].plot(CURVE, curve.certified_accuracy, recipe.line, color=recipe.colour, label=recipe.name)
    ax[1].plot(curve.coverage, curve.accuracy, recipe.line, color=recipe.colour, label=recipe.name)


def main():
    """Train with both losses from all seeds, print the table and draw the first seed's curves."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", help="folder with MNIST's test images; digits without it")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each loss")
    arguments = parser.parse_known_args()[0]
    data = load_mnist(arguments.data) if arguments.data else load_scikit_learn()
    max_shift = 1 if arguments.data else 0  # a pixel is a lot of 8
    recipes = (
        Recipe("offset 1.2, tau 5", 1.2, 5.0, max_shift, "#0072B2", "-"),
        Recipe("offset 2, tau 3", 2.0, 3.0, 0, "#D55E00", "--"),
    )
    num_test = len(data.images) - data.num_train
    print(
        f"{data.num_train} images to train on, {num_test} to measure on, seeds: {arguments.seeds}"
    )
    print("certified accuracy at l2 radius: mean (lowest to highest)")
    print(f"{'loss':24}" + "".join(f"{radius:8.3f}{'':19}" for radius in RADII) + "  seconds")
    figure, ax = plt.subplots(1, 2, figsize=(9.6, 3.9), layout="constrained")
    for recipe in recipes:
        runs = [measure(data, recipe, seed) for seed in range(arguments.seeds)]
        print_row(recipe.name, runs)
        draw(ax, recipe, runs[0][1])
    ax[0].set(xlabel="l2 radius, pixels from 0 to 1", ylabel="certified accuracy", ylim=(0.0, 1.0))
    ax[1].set(xlabel="coverage: share not rejected", ylabel="accuracy of what is not rejected")
    for axis in ax:
        axis.grid(color="0.9")
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, title="cross-entropy with")
    figure.savefig("certified_accuracy.png", dpi=110)


if __name__ == "__main__":
    main()
