r"""Flat output submanifolds: k yes-or-no answers behind a norm-preserving network

No isometry takes an open set of the plane to the simplex, which is curved. But the products of k
Bernoulli distributions are a flat submanifold of the simplex of 2^k outcomes, and the arcsine head
maps features onto it isometrically. Behind a network that preserves the norms of gradients the
pulled-back Fisher metric is then a projector: k eigenvalues are 1, the others 0, at every input.
Ten digits are told apart by four such answers, with an exact certificate for each of them.

Draws flat_outputs.png.
"""

import math

import numpy as np
import torch
from common import table
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch import nn

from infogeo import logits
from infogeo.lipschitz import layers, output_layers
from infogeo.pullback import PullbackMetric

NUM_BITS, SIDE, NUM_TRAIN = 4, 8, 1400
BLUE, VERMILLION, INK = "#0072B2", "#D55E00", "0.35"


def load():
    """Return images as vectors, pixels from 0 to 1, and their digits, shuffled."""
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    x = torch.from_numpy(bunch.data[order] / 16.0)
    return x, torch.from_numpy(bunch.target[order])


def features():
    """Return a network of square orthogonal layers; the last one has orthonormal rows."""
    generator = torch.Generator().manual_seed(0)
    modules = []
    for width in (64, 64, NUM_BITS):
        linear = layers.OrthogonalLinear(64, width, dtype=torch.float64, generator=generator)
        modules += [linear, layers.GroupSort()]
    return nn.Sequential(*modules[:-1], nn.Hardtanh(-1.5, 1.5))


def train(model, x, digits):
    """Train all four answers to be the binary digits of the number, with a margin."""
    bits = (digits[:, None] >> torch.arange(NUM_BITS - 1, -1, -1)) % 2
    signs = 2.0 * bits - 1.0
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(1)
    for _ in range(10):
        for rows in torch.randperm(len(x), generator=generator).split(100):
            optimizer.zero_grad()
            torch.relu(0.5 - signs[rows] * model(x[rows])).mean().backward()
            optimizer.step()
    return layers.freeze(model)


def straight_lengths(z, w):
    """Return lengths inside the submanifold: of straight lines between the features."""
    t = torch.linspace(0.0, 1.0, 401, dtype=z.dtype)[:, None, None]
    path = output_layers.Arcsine()(z + t * (w - z))
    return logits.fisher_rao_distance(path[1:], path[:-1]).sum(0)


def flips(model, x, certificate, factor):
    """Return how many inputs lose an answer when all four are attacked by a linear step."""
    num_flipped = torch.zeros(len(x), dtype=torch.bool)
    for i in range(NUM_BITS):
        y = x.clone().requires_grad_(True)
        z = model(y)[:, i]
        (gradient,) = torch.autograd.grad(z.sum(), y)
        step = -z.detach().sign()[:, None] * gradient / gradient.norm(dim=1, keepdim=True)
        with torch.no_grad():
            moved = model(x + factor * certificate[:, None] * step)[:, i]
        num_flipped |= moved * z.detach() < 0.0
    return int(num_flipped.sum())


def main():
    """Train, measure the pulled-back metric, the lengths and the certificates; draw."""
    x, digits = load()
    model = train(features(), x[:NUM_TRAIN], digits[:NUM_TRAIN])
    x, digits = x[NUM_TRAIN:], digits[NUM_TRAIN:]
    with torch.no_grad():
        z = model(x)
    whole = nn.Sequential(model, output_layers.Arcsine())
    with torch.no_grad():
        accuracy = float((whole(x).argmax(-1) == digits).double().mean())
    rows = [["all four right", f"{accuracy:.3f}"]]

    is_inside = (z.abs() < 1.5).all(1)
    metric = PullbackMetric(whole)
    spectrum = metric.spectrum(x[is_inside]).values
    error = float((spectrum[:, :NUM_BITS] - 1.0).abs().max())
    rest = float(spectrum[:, NUM_BITS:].abs().max())
    matrix = metric.matrix(x[is_inside][:20])
    idempotence = float((matrix @ matrix - matrix).abs().max())
    assert max(error, rest, idempotence) < 1e-12
    rows += [
        ["the four eigenvalues of the metric", "within 1e-12 of 1"],
        ["the other eleven", "below 1e-12"],
        ["largest entry of GG - G (20 images)", "below 1e-12"],
    ]
    softmax = (
        PullbackMetric(nn.Sequential(model, output_layers.Softmax())).spectrum(x[is_inside]).values
    )
    rows.append(
        [
            "the same network with the 1-Lipschitz softmax of four classes",
            f"eigenvalues from {softmax[:, 2].min():.2f} to {softmax[:, 0].max():.2f}",
        ]
    )
    assert softmax[:, :3].max() < 1.0 + 1e-12
    assert softmax[:, 2].min() < 0.5

    first, second = z[0:200], z[100:300]
    inside, flat = straight_lengths(first, second), (first - second).norm(dim=1)
    assert float((inside - flat).abs().max()) < 1e-5
    outside = logits.fisher_rao_distance(
        output_layers.Arcsine()(first), output_layers.Arcsine()(second)
    )
    assert (outside <= flat + 1e-12).all()
    certificate = z.abs().amin(1)
    kept, lost = (flips(model, x, certificate, factor) for factor in (0.999, 1.001))
    assert kept == 0
    assert lost > 0.3 * len(x)
    rows += [
        ["length of a straight line of features less their distance, 200 pairs", "at most 1e-5"],
        [
            "distance across the simplex, of the distance within",
            f"{(outside / flat).min():.2f} and more",
        ],
        ["answers flipped by a linear step of 0.999 of the certificate", f"{kept}"],
        ["of 1.001 of the certificate", f"{lost} inputs"],
    ]
    table("| | seen on 397 test images |", rows)
    draw(spectrum, softmax, flat, outside)


def draw(spectrum, softmax, flat, outside):
    """Draw eigenvalues and distances."""
    figure, ax = plt.subplots(1, 2, figsize=(8.8, 3.7), layout="constrained")
    for name, values, colour in (("softmax", softmax, VERMILLION), ("arcsine", spectrum, BLUE)):
        rank = np.arange(1, values.shape[1] + 1)[:NUM_BITS]
        low, middle, high = np.quantile(values[:, :NUM_BITS], [0.0, 0.5, 1.0], axis=0)
        ax[0].errorbar(
            rank,
            middle,
            [middle - low, high - middle],
            fmt="o",
            color=colour,
            capsize=4,
            label=name,
        )
    ax[0].set(xlabel="rank", ylabel="eigenvalue of the metric: range, median", ylim=(-0.05, 1.1))
    ax[0].set(xticks=range(1, NUM_BITS + 1), title="What a network preserves")
    ax[0].legend(frameon=False, title="head", loc="center right")
    ax[1].plot(flat, outside, ".", color=BLUE)
    ax[1].plot([0.0, math.pi], [0.0, math.pi], color=INK, linewidth=1.0)
    ax[1].set(xlabel="within the flat submanifold", ylabel="across the simplex of 16 outcomes")
    ax[1].set(title="Fisher-Rao distances of predictions", aspect="equal")
    for axis in ax:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig("flat_outputs.png", dpi=110)


if __name__ == "__main__":
    main()
