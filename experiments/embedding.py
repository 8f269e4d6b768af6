"""Which objective pre-trains an embedding?

An embedding e is to bring inputs of one class together and to keep classes apart. Three objectives
over 1-Lipschitz e, which may be constants:

- together: minus the mean distance of e(x) and e(y) over pairs of one class;
- min minus max: the least distance over pairs of different classes less the largest distance over
  pairs of one class;
- together and apart: the mean distance over different classes less the mean distance over one.

The best value of "min minus max" on a sample is known: the least distance D of two inputs of
different classes. It is attained by a map that takes each class to one corner of a regular simplex
of edge D, which is 1-Lipschitz on the sample and so has a 1-Lipschitz continuation (Kirszbraun).
Pairs of the digits 0 to 5 are for training. What an embedding is worth is how well one labelled
image of each class classifies others, of the digits that pairs were seen of and of the digits 6
to 9.

Draws embedding.png.
"""

import numpy as np
import torch
from common import spread, table
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch import nn

from infogeo.lipschitz import layers

NUM_SEEN, NUM_TRAIN, DIM, NUM_STEPS, SEEDS = 6, 700, 16, 150, range(3)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")


class Shrunk(nn.Module):
    """Multiply by a learned number from 0 to 1: a 1-Lipschitz network may be a constant."""

    def __init__(self):
        super().__init__()
        self.raw = nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        """Return the product."""
        return self.raw.clamp(0.0, 1.0) * x


def load(seed):
    """Return images and digits: for training, others of those digits, and of other digits."""
    bunch = load_digits()
    order = np.random.default_rng(seed).permutation(len(bunch.target))
    x, digits = torch.from_numpy(bunch.data[order] / 16.0).float(), bunch.target[order]
    digits = torch.from_numpy(digits)
    seen, new = (digits < NUM_SEEN).nonzero()[:, 0], (digits >= NUM_SEEN).nonzero()[:, 0]
    rows = (seen[:NUM_TRAIN], seen[NUM_TRAIN:], new)
    return [(x[part], digits[part]) for part in rows]


def network(seed):
    """Return a 1-Lipschitz network that can shrink to a constant."""
    generator = torch.Generator().manual_seed(seed)
    return nn.Sequential(
        layers.OrthogonalLinear(64, 64, generator=generator),
        layers.GroupSort(),
        layers.OrthogonalLinear(64, DIM, generator=generator),
        Shrunk(),
    )


def pairs(e, digits):
    """Return the distances of all pairs of one class, and of all pairs of different classes."""
    distance = (e[:, None] - e[None]).square().sum(-1).clamp_min(1e-24).sqrt()
    is_same = digits[:, None] == digits
    is_other = ~torch.eye(len(e), dtype=torch.bool)
    return distance[is_same & is_other], distance[~is_same]


def mean_difference(e, digits):
    """Return the value of "together and apart"."""
    within, between = pairs(e, digits)
    return between.mean() - within.mean()


def min_minus_max(e, digits):
    """Return the least distance of different classes less the largest within one."""
    within, between = pairs(e, digits)
    return between.min() - within.max()


def together(e, digits):
    """Return minus the mean distance within classes."""
    return -pairs(e, digits)[0].mean()


OBJECTIVES = {
    "together": together,
    "min minus max": min_minus_max,
    "together and apart": mean_difference,
}


def train(objective, x, digits, seed):
    """Maximise an objective; return the network and its mean distances on the way."""
    model = network(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    *weights, shrinking = model.parameters()
    optimizer = torch.optim.Adam([{"params": weights}, {"params": shrinking, "lr": 0.05}], lr=0.01)
    history = []
    for _ in range(NUM_STEPS):
        rows = torch.randperm(len(x), generator=generator)[:150]
        optimizer.zero_grad()
        e = model(x[rows])
        (-objective(e, digits[rows])).backward()
        optimizer.step()
        history.append([float(value.mean()) for value in pairs(e.detach(), digits[rows])])
    return model, np.array(history)


def simplex_map(x, digits):
    """Return the best map of "min minus max" on a sample, and its value; check that it is one."""
    distance = torch.cdist(x.double(), x.double(), compute_mode="donot_use_mm_for_euclid_dist")
    is_same = digits[:, None] == digits
    least = distance[~is_same].min()
    e = least / 2.0**0.5 * nn.functional.one_hot(digits, NUM_SEEN).double()
    images = torch.cdist(e, e, compute_mode="donot_use_mm_for_euclid_dist")
    assert bool((images <= distance + 1e-12).all()), "1-Lipschitz on the sample"
    assert abs(float(min_minus_max(e, digits) - least)) < 1e-9
    return float(least)


def one_shot_accuracy(e, digits, num_repeats=200):
    """Return how often the nearest of one image of each class has the right class."""
    rng = np.random.default_rng(0)
    classes = digits.unique()
    members = [(digits == k).nonzero()[:, 0].numpy() for k in classes]
    found = []
    for _ in range(num_repeats):
        labelled = torch.tensor([rng.choice(rows) for rows in members])
        distance = (e[:, None] - e[labelled]).square().sum(-1)
        nearest = distance == distance.amin(1, keepdim=True)  # ties count by chance
        is_right = (nearest & (digits[:, None] == classes)).sum(1) / nearest.sum(1)
        is_right[labelled] = torch.nan
        found.append(float(is_right.nanmean()))
    return np.mean(found)


def study(seed):
    """Train with all objectives; return values and accuracies, and what the figure shows."""
    (x, digits), *others = load(seed)
    trained = {name: train(goal, x, digits, seed) for name, goal in OBJECTIVES.items()}
    embeddings = {"pixels": nn.Identity(), **{name: model for name, (model, _) in trained.items()}}
    found = {}
    with torch.no_grad():
        for name, embed in embeddings.items():
            values = [float(min_minus_max(embed(x), digits))]
            for y, labels in others:
                e = embed(y)
                values += [float(mean_difference(e, labels)), one_shot_accuracy(e, labels)]
            found[name] = values
    best = simplex_map(x, digits)
    assert np.allclose(found["together"], [0.0, 0.0, 1 / 6, 0.0, 1 / 4], atol=1e-5)
    assert found["pixels"][0] < 0.0 < best, "bringing classes to points pays"
    assert found["min minus max"][0] < best
    assert found["together and apart"][1] > found["pixels"][1]
    return found, best, (trained["together"][1], *trained["together and apart"][::-1], *others[0])


def main():
    """Train with the objectives, measure on images that were not seen, draw."""
    runs = [study(seed) for seed in SEEDS]
    rows = [
        [name, *(spread([run[0][name][i] for run in runs]) for i in range(5))]
        for name in ("pixels", *OBJECTIVES)
    ]
    rows.append(["the best, min minus max", spread([run[1] for run in runs]), "", "", "", ""])
    table(
        "| | min minus max, training images | mean difference, digits 0-5 | one labelled image "
        "| mean difference, digits 6-9 | one labelled image |",
        rows,
    )
    draw(*runs[0][2])


def draw(collapse, growth, corrected, x, digits):
    """Draw both trainings, and new images in the plane of most variance."""
    figure, ax = plt.subplots(1, 3, figsize=(11.2, 3.7), layout="constrained")
    for axis, history, title in (
        (ax[0], collapse, "only together: collapses"),
        (ax[1], growth, "together and apart"),
    ):
        axis.plot(history[:, 1], color="#D55E00", label="different classes")
        axis.plot(history[:, 0], "--", color="#0072B2", label="one class")
        axis.set(title=title, xlabel="training step", ylabel="mean distance", ylim=(0.0, 3.0))
        axis.legend(frameon=False)
    with torch.no_grad():
        e = corrected(x)
    plane = torch.linalg.svd(e - e.mean(0), full_matrices=False).Vh[:2]
    for digit, (mark, colour) in enumerate(zip("os^Dvx", COLOURS, strict=True)):
        points = (e[digits == digit] - e.mean(0)) @ plane.T
        ax[2].plot(*points.T, mark, color=colour, markersize=3, label=str(digit), alpha=0.7)
    ax[2].set(title="images not seen in training", xlabel="first component")
    ax[2].set(ylabel="second component", aspect="equal")
    ax[2].legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for axis in ax:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig("embedding.png", dpi=110)


if __name__ == "__main__":
    main()
