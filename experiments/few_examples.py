"""How many examples does a Lipschitz classifier need?

A classifier with margin m says 1 where f >= m, -1 where f <= -m, and nothing in between, for a
1-Lipschitz f. By McShane's extension it shatters points if and only if they are pairwise 2 m
apart: its VC dimension is a packing number. Errors over the number of examples are measured on
scikit-learn's digits.

Draws few_examples.png.
"""

import itertools
import math

import numpy as np
import torch
from common import attack_certificates, digits, group_sort_network, relu_network, spread, table
from matplotlib import pyplot as plt
from torch import nn

from infogeo.lipschitz import certificates, layers, losses

SIZES, SEEDS, NUM_STEPS, RADIUS = (50, 100, 200, 500, 1_400), range(3), 200, 0.5
MARGINS = (0.6, 0.3, 0.15)


def vc_dimension_on_interval(length, margin):
    """Return the VC dimension of the margin classifiers on an interval: a packing number."""
    return math.floor(length / (2.0 * margin)) + 1


def vc_bounds_on_ball(radius, margin, dim):
    """Return bounds of the VC dimension on a ball, by volumes."""
    return max(1.0, (radius / (2.0 * margin)) ** dim), (1.0 + radius / margin) ** dim


def extension(points, values, x):
    """Return McShane's 1-Lipschitz function with these values at points."""
    return np.max(values - np.linalg.norm(x[:, None] - points, axis=-1), axis=1)


def packing(margin, dim, rng, num=4_000):
    """Return points of the unit ball, pairwise 2 margin apart, as many as a greedy search finds."""
    x = rng.standard_normal((num, dim))
    x *= (rng.random((num, 1)) ** (1.0 / dim)) / np.linalg.norm(x, axis=1, keepdims=True)
    chosen = np.zeros((0, dim))
    for point in x[np.argsort(-np.linalg.norm(x, axis=1))]:
        if (np.linalg.norm(chosen - point, axis=1) >= 2.0 * margin).all():
            chosen = np.concatenate([chosen, point[None]])
    return chosen


def check_shattered(points, margin, rng):
    """Check that a 1-Lipschitz function gives points all labels, of many one after the other."""
    x = rng.uniform(-1.0, 1.0, (100, points.shape[1]))
    labelings = itertools.product((-1.0, 1.0), repeat=len(points))
    if len(points) > 8:
        labelings = rng.choice((-1.0, 1.0), (200, len(points)))
    for labels in labelings:
        y = margin * np.array(labels)
        assert np.abs(extension(points, y, points) - y).max() < 1e-12
        f, distances = extension(points, y, x), np.linalg.norm(x[:, None] - x, axis=-1)
        assert (np.abs(f[:, None] - f) <= distances + 1e-12).all()


def train(is_lipschitz, x, y, seed):
    """Return a network of three layers, trained on these examples."""
    make = group_sort_network if is_lipschitz else relu_network
    model = make((64, 64, 64, 10), seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(NUM_STEPS):
        rows = torch.randint(len(x), (min(len(x), 100),), generator=generator)
        optimizer.zero_grad()
        z = model(x[rows])
        if is_lipschitz:
            loss = losses.multiclass_hinge(z, y[rows], margin=0.7)
        else:
            loss = nn.functional.cross_entropy(z, y[rows])
        loss.backward()
        optimizer.step()
    return (layers.freeze(model) if is_lipschitz else model).requires_grad_(False)


def errors(size, seed):
    """Return errors of both networks on new digits, in training, and what is not certified."""
    (x, y), (x_new, y_new) = digits(seed)
    x, y, found = x[:size], y[:size], []
    for is_lipschitz in (True, False):
        model = train(is_lipschitz, x, y, seed)
        found += [
            float((model(a).argmax(1) != b).float().mean()) for a, b in ((x, y), (x_new, y_new))
        ]
        if is_lipschitz:
            z = model(x_new)
            radii = certificates.margin_radius(z, lipschitz_constant=1.0)
            attack_certificates(model, x_new[:100], radii[:100], seed)
            sure = certificates.coverage(z, y_new, [RADIUS], lipschitz_constant=1.0)
            found.append(1.0 - float(sure.certified_accuracy[0]))
    return found


def vc_rows(rng):
    """Return the rows of the table of VC dimensions."""
    rows = []
    for dim, margin in itertools.product((1, 2, 3), MARGINS):
        points = packing(margin, dim, rng)
        check_shattered(points, margin, rng)
        low, high = vc_bounds_on_ball(1.0, margin, dim)
        exact = ""
        if dim == 1:
            count = vc_dimension_on_interval(2.0, margin)
            line = np.linspace(-1.0, 1.0, count)[:, None]
            check_shattered(line, margin, rng)
            assert len(points) <= count
            assert 2.0 / count < 2.0 * margin  # one point more, and two are nearer than that
            exact = str(count)
        assert len(points) <= high
        rows.append([f"{dim}, {margin:g}", f"{low:.1f}", str(len(points)), exact, f"{high:.1f}"])
    return rows


def main():
    """Shatter points, train on few and many examples, draw."""
    rng = np.random.default_rng(0)
    table(
        "| dimension, margin | at least | shattered points found | exact | at most |", vc_rows(rng)
    )
    rows, means = [], []
    for size in SIZES:
        columns = list(zip(*[errors(size, seed) for seed in SEEDS], strict=True))
        means.append([np.mean(column) for column in columns])
        rows.append([f"{size:,}", *(spread(columns[i]) for i in (0, 3, 1, 4, 2))])
    table(
        "| examples | training errors, 1-Lipschitz | free | new digits, 1-Lipschitz | free "
        "| not certified for 0.5 |",
        rows,
    )
    means = np.array(means)
    assert means[0, 1] > 2.0 * means[-1, 1]
    assert means[0, 4] > 2.0 * means[-1, 4]
    assert (np.diff(means[:, 2]) < 0.02).all()
    assert (means[:, 2] >= means[:, 1]).all()
    draw(means)


def draw(means):
    """Draw errors over the number of examples, and the bounds over the margin."""
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.6), layout="constrained")
    for column, label, colour in (
        (1, "1-Lipschitz", "#0072B2"),
        (4, "free", "#D55E00"),
        (2, "1-Lipschitz, not certified for 0.5", "#009E73"),
    ):
        axes[0].loglog(SIZES, means[:, column], "o-", color=colour, label=label)
    axes[0].set(xlabel="examples", ylabel="share of new digits", xticks=SIZES)
    axes[0].set_xticks(SIZES, [f"{size:,}" for size in SIZES])
    axes[0].set_yticks((0.03, 0.1, 0.3, 1.0), ("0.03", "0.1", "0.3", "1"))
    axes[0].minorticks_off()
    axes[0].legend(frameon=False, fontsize=8)
    margin = np.geomspace(0.05, 1.0, 200)
    for dim, colour in ((1, "#0072B2"), (2, "#D55E00"), (3, "#009E73")):
        low, high = zip(*[vc_bounds_on_ball(1.0, m, dim) for m in margin], strict=True)
        axes[1].fill_between(margin, low, high, color=colour, alpha=0.25, label=f"dimension {dim}")
    exact = [vc_dimension_on_interval(2.0, m) for m in margin]
    axes[1].step(margin, exact, color="#0072B2", label="dimension 1, exact")
    axes[1].set(xlabel="margin, radius of the ball 1", ylabel="VC dimension", xscale="log")
    axes[1].set(yscale="log")
    axes[1].set_xticks((0.05, 0.1, 0.2, 0.5, 1.0), ("0.05", "0.1", "0.2", "0.5", "1"))
    axes[1].minorticks_off()
    axes[1].legend(frameon=False, fontsize=8)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig("few_examples.png", dpi=110)


if __name__ == "__main__":
    main()
