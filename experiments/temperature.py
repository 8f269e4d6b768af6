"""What does the temperature of the loss decide?

Trains the same 1-Lipschitz network with the tau-cross-entropy for a range of tau. A network whose
slope is bounded cannot raise its logits at will: tau decides how much of a margin the loss asks
for, and moves the network along a front between accuracy and certified accuracy. On scikit-learn's
digits by default; with ``--data DIR`` on the 10,000 test images of MNIST
(t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz in that folder), 8,000 of them for
training and 2,000 to measure on. Draws temperature_front.png.
"""

import argparse
import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common import attack_certificates, spread, table
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch import nn

from infogeo.lipschitz import certificates, layers, losses

BATCH_SIZE, SEEDS = 64, range(3)
RADII = (0.0, 0.25, 0.5, 0.75, 1.0)  # l2, pixels from 0 to 1
COLOURS = ("#000000", "#0072B2", "#009E73", "#E69F00", "#D55E00")


@dataclass(frozen=True)
class Data:
    """Images with pixels from 0 to 1, shape (n, d), their classes, and how to train on them."""

    images: torch.Tensor
    labels: torch.Tensor
    num_train: int
    width: int
    num_epochs: int
    taus: tuple


def load_scikit_learn():
    """Return the 1,797 digits of 8 x 8 pixels."""
    images, labels = load_digits(return_X_y=True)
    taus = (0.5, 2.0, 8.0, 32.0)
    return Data(
        torch.from_numpy(images / 16.0).float(), torch.from_numpy(labels), 1200, 64, 8, taus
    )


def load_mnist(folder):
    """Return MNIST's 10,000 test images of 28 x 28 pixels."""
    parts = []
    for name, offset in (("t10k-images-idx3-ubyte.gz", 16), ("t10k-labels-idx1-ubyte.gz", 8)):
        content = gzip.decompress((Path(folder) / name).read_bytes())
        parts.append(np.frombuffer(content, np.uint8, offset=offset))
    images = torch.from_numpy(parts[0].reshape(-1, 784) / 255.0).float()
    taus = (0.5, 2.0, 4.0, 8.0, 32.0, 128.0)
    return Data(images, torch.from_numpy(parts[1].astype(np.int64)), 8000, 128, 8, taus)


def train(images, labels, data, tau, seed):
    """Return a network that has been trained and frozen, strictly 1-Lipschitz."""
    generator = torch.Generator().manual_seed(seed)
    sizes = (images.shape[1], data.width, data.width, 10)
    modules = []
    for i in range(3):
        modules.append(layers.OrthogonalLinear(sizes[i], sizes[i + 1], generator=generator))
        modules.append(layers.GroupSort())
    net = nn.Sequential(*modules[:-1])
    num_batches = len(images) // BATCH_SIZE
    optimizer = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.01, total_steps=data.num_epochs * num_batches
    )
    for _ in range(data.num_epochs):
        order = torch.randperm(len(images), generator=generator)
        for rows in order[: num_batches * BATCH_SIZE].split(BATCH_SIZE):
            optimizer.zero_grad()
            loss = losses.tau_cross_entropy(net(images[rows]), labels[rows], tau=tau, check=False)
            loss.backward()
            optimizer.step()
            schedule.step()
    return layers.freeze(net)


def measure(data, tau, seed):
    """Return the training accuracy, the certified accuracies, and the median certified radius."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(data.images)))
    train_rows, test_rows = order[: data.num_train], order[data.num_train :]
    net = train(data.images[train_rows], data.labels[train_rows], data, tau, seed)
    bound = layers.lipschitz_bound(net)
    assert bound <= 1.0
    seen = float(
        (net(data.images[train_rows]).argmax(-1) == data.labels[train_rows]).float().mean()
    )
    z, labels = net(data.images[test_rows]).double(), data.labels[test_rows]
    coverage = certificates.coverage(z, labels, RADII, lipschitz_constant=bound)
    radius = certificates.margin_radius(z, lipschitz_constant=bound)
    attack_certificates(
        net.requires_grad_(False), data.images[test_rows][:100], radius[:100].float()
    )
    return seen, coverage.certified_accuracy.numpy(), float(radius.median())


def draw(taus, accuracies, axes):
    """Draw certified accuracies over tau, and the front."""
    for j, (radius, colour) in enumerate(zip(RADII, COLOURS, strict=True)):
        name = "accuracy" if radius == 0.0 else f"certified at {radius}"
        mean = accuracies[:, :, j].mean(1)
        axes[0].plot(taus, mean, "o-", color=colour, markersize=4, label=name)
        axes[0].fill_between(
            taus, accuracies[:, :, j].min(1), accuracies[:, :, j].max(1), color=colour, alpha=0.15
        )
    axes[0].set_xscale("log", base=2)
    axes[0].set(xlabel="tau", ylabel="share of images", ylim=(0.0, 1.02))
    axes[0].legend(frameon=False)
    accuracy, robust = accuracies[:, :, 0].mean(1), accuracies[:, :, 2].mean(1)
    axes[1].plot(robust, accuracy, "o-", color="#0072B2", markersize=4)
    for tau, x, y in zip(taus, robust, accuracy, strict=True):
        axes[1].annotate(f"{tau:g}", (x, y), (5, -10), textcoords="offset points", fontsize=9)
    axes[1].set(xlabel=f"certified accuracy at {RADII[2]}", ylabel="accuracy")
    axes[1].set_title("the front, with tau", fontsize=10)
    for ax in axes:
        ax.grid(color="0.9")
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)


def main():
    """Train for all tau, print the table and draw the front."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", help="folder with MNIST's test images; digits without it")
    arguments = parser.parse_args()
    data = load_mnist(arguments.data) if arguments.data else load_scikit_learn()
    accuracies, seen, rows = [], [], []
    for tau in data.taus:
        runs = [measure(data, tau, seed) for seed in SEEDS]
        seen.append([run[0] for run in runs])
        accuracies.append([run[1] for run in runs])
        cells = [
            spread(seen[-1], "{:.4f}"),
            *(spread(c) for c in zip(*accuracies[-1], strict=True)),
        ]
        rows.append([f"{tau:g}", *cells, spread([run[2] for run in runs])])
    table(
        "| tau | training accuracy | accuracy | certified at 0.25 | at 0.5 | at 0.75 | at 1.0 "
        "| median certified radius |",
        rows,
    )
    accuracies, seen = np.array(accuracies), np.array(seen)
    assert (accuracies[0, :, 2] > accuracies[-1, :, 2]).all(), "a small tau is robust"
    gap = (seen - accuracies[:, :, 0]).mean(1)
    assert gap[-1] > 1.3 * gap[0], "a large tau fits the training images and not the others"
    assert (seen[-1] > seen[0]).all()
    figure, axes = plt.subplots(1, 2, figsize=(10.0, 4.0), layout="constrained")
    draw(data.taus, accuracies, axes)
    figure.savefig("temperature_front.png", dpi=110)


if __name__ == "__main__":
    main()
