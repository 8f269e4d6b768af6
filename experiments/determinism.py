"""Can determinism be traded for robustness?

Instead of the most probable class, draw a class from the prediction. With L-Lipschitz logits no
event becomes more or less probable by more than tanh(L r / √8) under a perturbation of size r: a
guarantee for every input, where a deterministic answer has one up to its margin only, and then
none. The log-odds of a class move by √2 L r at most, which is a guarantee for its probability.
What it costs, and what it is worth, is measured here: on digits, with the logits of 1-Lipschitz
networks multiplied by L, and for smoothed networks, which are Lipschitz whatever they smooth.

Draws determinism.png.
"""

import math
from dataclasses import dataclass

import torch
from common import climb, digits, group_sort_network, log_odds, relu_network, spread, table, train
from matplotlib import pyplot as plt
from torch import nn

from infogeo import simplex
from infogeo.lipschitz import certificates, layers, losses, smoothing

SEEDS = range(5)
SCALES = (3.0, 10.0, 30.0, 100.0)  # Lipschitz constants of the logits that classes are drawn from
COLOURS = ("#009E73", "#D55E00", "#CC79A7", "#0072B2")
RADII = torch.linspace(0.0, 1.6, 65)
ATTACKED = {0.1: 4, 0.4: 16}  # radii and where they stand in RADII
STD, NUM_VOTES, SMOOTHING_RADII = 0.3, 2_000, (0.05, 0.2, 0.6)


@dataclass(frozen=True)
class Drawn:
    """What drawing from a prediction guarantees, and what attacks leave of it."""

    guaranteed: torch.Tensor  # for each radius, in the mean over the inputs
    attacked: dict  # the probability of the right class, by radius
    variation: dict  # the largest total variation seen, by radius


def lipschitz_network(x, y, seed):
    """Return a network that is strictly 1-Lipschitz."""

    def loss(z, y):
        return losses.offset_cross_entropy(z, y, offset=0.5, tau=5.0)

    model = group_sort_network((64, 64, 10), seed)
    return layers.freeze(train(model, x, y, loss, seed=seed, num_epochs=12, batch_size=100))


def guaranteed(z, y, scale):
    """Return for each radius how probable a drawn class is right at least, in the mean.

    The log-odds of a class move by no more than sqrt2 L r, those of the predicted class and of the
    right one, where it is another.
    """
    z = scale * z
    bound = torch.sigmoid(log_odds(z, y)[:, None] - math.sqrt(2.0) * scale * RADII)
    # It is the package's own where the right class is the predicted one.
    certified = certificates.confidence_bound(z[:, None], RADII, lipschitz_constant=scale)
    is_right = z.argmax(-1) == y
    assert torch.allclose(bound[is_right], certified[is_right], rtol=1e-4, atol=1e-6)
    return bound.mean(0)


def study_drawing(model, x, y, scale):
    """Return what drawing guarantees; attack it."""
    with torch.no_grad():
        z = model(x)
    bound, attacked, variation = guaranteed(z, y, scale), {}, {}
    for radius, index in ATTACKED.items():
        moved = climb(lambda points: -log_odds(scale * model(points), y), x, radius, 10)
        with torch.no_grad():
            p, q = ((scale * model(points)).softmax(-1) for points in (x, moved))
        variation[radius] = float((0.5 * (p - q).abs().sum(-1)).max())
        total = certificates.total_variation_bound(RADII[index], lipschitz_constant=scale)
        assert variation[radius] <= float(total) + 1e-6
        attacked[radius] = float(q.gather(1, y[:, None]).mean())
        assert attacked[radius] >= float(bound[index]) - 1e-6
    return Drawn(bound, attacked, variation)


def study_margins(model, x, y):
    """Return the share of inputs certified and right at each radius, and what attacks leave."""
    with torch.no_grad():
        z = model(x)
    certified = certificates.coverage(z, y, RADII, lipschitz_constant=1.0).certified_accuracy
    attacked = {}
    for radius, index in ATTACKED.items():
        moved = climb(lambda points: -log_odds(10.0 * model(points), y), x, radius, 25)
        with torch.no_grad():
            is_right = (model(moved).argmax(-1) == y) & (z.argmax(-1) == y)
        attacked[radius] = float(is_right.float().mean())
        assert attacked[radius] >= float(certified[index])
    return Drawn(certified, attacked, {})


def row(name, runs, gains=None, bound=None):
    """Return a row of the first table."""
    cells = [name, spread([float(run.guaranteed[0]) for run in runs])]
    for radius, index in ATTACKED.items():
        cells.append(spread([float(run.guaranteed[index]) for run in runs]))
        cells.append(spread([run.attacked[radius] for run in runs]))
    if gains is None:
        return [*cells, "", "", ""]
    cells.append(f"{max(run.variation[0.4] for run in runs):.3f}, {bound:.3f}")
    return [*cells, spread([n for n, _ in gains], "{:.0f}"), f"{max(g for _, g in gains):.3f}"]


def print_drawing(certified, drawn):
    """Print the first table; check what the answer claims."""
    rows = [row("most probable class", certified)]
    for scale, runs in drawn.items():
        total = certificates.total_variation_bound(0.4, lipschitz_constant=scale)
        gains = []
        for plain, run in zip(certified, runs, strict=True):
            gain = (run.guaranteed - plain.guaranteed)[(RADII > 0) & (plain.guaranteed > 0.2)]
            gains.append((int((gain > 0.0).sum()), float(gain.max())))
        if scale < 10.0:
            assert all(num == 0 for num, _ in gains)
        if scale >= 30.0:
            assert all(num > 0 and most < 0.02 for num, most in gains)
        rows.append(row(f"drawn, L = {scale:g}", runs, gains, float(total)))
    table(
        "| | no attack | r = 0.1: guaranteed | attacked | r = 0.4: guaranteed | attacked "
        "| largest variation at 0.4, seen and bound | radii that drawing wins | by at most |",
        rows,
    )


def study_smoothing(train_set, test_set, seed):
    """Measure how far predictions of a smoothed ordinary network drift; they are drawn, too."""
    model = relu_network((64, 64, 10), seed)
    train(model, *train_set, nn.functional.cross_entropy, seed=seed, batch_size=100, rate=0.005)
    x, y = (part[:40] for part in test_set)
    slack, found = 2.0 * smoothing.sampling_bound(NUM_VOTES, 10), []
    for radius in SMOOTHING_RADII:
        moved = climb(lambda points: -log_odds(model(points), y), x, radius, 10)
        p, q = (
            smoothing.votes(
                model,
                points,
                std=STD,
                num_samples=NUM_VOTES,
                generator=torch.Generator().manual_seed(seed),
            ).double()
            / NUM_VOTES
            for points in (x, moved)
        )
        seen = float(simplex.fisher_rao_distance(p, q).max())
        with torch.no_grad():
            plain = simplex.fisher_rao_distance(
                *(model(points).double().softmax(-1) for points in (x, moved))
            )
        assert seen <= float(smoothing.drift_bound(radius, std=STD)) + slack
        found.append((float(plain.max()), seen))
    return found


def main():
    """Run both studies for each seed, print and draw."""
    certified, drawn, smoothed = [], {scale: [] for scale in SCALES}, []
    for seed in SEEDS:
        train_set, test_set = digits(seed)
        model = lipschitz_network(*train_set, seed)
        certified.append(study_margins(model, *test_set))
        for scale, runs in drawn.items():
            runs.append(study_drawing(model, *test_set, scale))
        smoothed.append(study_smoothing(train_set, test_set, seed))
    print_drawing(certified, drawn)
    table(
        "| r | drift of the network | of the smoothed one (frequencies) "
        "| proved for every network | r / s |",
        [
            [
                f"{radius:g}",
                *(spread([run[i][j] for run in smoothed]) for j in (0, 1)),
                f"{float(smoothing.drift_bound(radius, std=STD)):.3f}",
                f"{radius / STD:.3f}",
            ]
            for i, radius in enumerate(SMOOTHING_RADII)
        ],
    )
    error = float(smoothing.sampling_bound(NUM_VOTES, 10))
    print(f"sampling_bound of {NUM_VOTES} votes, confidence 0.999: {error:.3f}")
    draw(certified[0], {scale: runs[0] for scale, runs in drawn.items()})


def draw(certified, drawn):
    """Draw the guarantees of the first seed over the radius, and the change of an event."""
    figure, ax = plt.subplots(1, 2, figsize=(9.2, 3.8), layout="constrained")
    ax[0].plot(RADII, certified.guaranteed, color="0.15", label="most probable class")
    for (scale, run), colour in zip(drawn.items(), COLOURS, strict=True):
        ax[0].plot(RADII, run.guaranteed, "--", color=colour, label=f"drawn, L = {scale:g}")
        total = certificates.total_variation_bound(RADII, lipschitz_constant=scale)
        ax[1].plot(RADII, total, "--", color=colour, label=f"L = {scale:g}")
        ax[1].plot(run.variation.keys(), run.variation.values(), "o", color=colour)
    ax[0].set(title="right answers, guaranteed", ylabel="share of inputs or probability")
    ax[1].set(title="change of any event's probability", ylabel="total variation")
    for axis in ax:
        axis.set(xlabel="l2 size of the perturbation", ylim=(-0.02, 1.02))
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
    ax[1].legend(frameon=False, title="bound (line), largest seen (dot)", loc="lower right")
    figure.savefig("determinism.png", dpi=110)


if __name__ == "__main__":
    main()
