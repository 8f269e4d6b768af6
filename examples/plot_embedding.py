"""Pre-training an embedding: an objective that constants minimise, and a corrected one
====================================================================================

An embedding e is to bring inputs of one class together. The mean distance of e(x) and e(y) over
pairs of one class is least, 0, for constants, and a Lipschitz constraint does not help: constants
are Lipschitz. Corrected, e is to keep pairs of different classes apart at the same time: maximise

.. code-block:: text

    mean distance over different classes  -  mean distance over one class

over 1-Lipschitz e. The constraint is what keeps it bounded. Constants have the value 0 and the
identity, the pixels themselves, a positive one. Pairs of the digits 0 to 5 are for pre-training.
What it is worth is how well one labelled image of each class classifies others, of the digits that
pairs were seen of and of the digits 6 to 9.

Draws embedding.png.
"""

import numpy as np
import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch import nn

from infogeo.lipschitz import layers

NUM_SEEN, NUM_TRAIN, DIM, NUM_STEPS = 6, 700, 16, 150
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")


class Shrunk(nn.Module):
    """Multiply by a learned number from 0 to 1: a 1-Lipschitz network may be a constant."""

    def __init__(self):
        super().__init__()
        self.raw = nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        """Return the product."""
        return self.raw.clamp(0.0, 1.0) * x


def load():
    """Return images and digits: for training, others of those digits, and of other digits."""
    bunch = load_digits()
    x, digits = torch.from_numpy(bunch.data / 16.0).float(), torch.from_numpy(bunch.target)
    seen, new = (digits < NUM_SEEN).nonzero()[:, 0], (digits >= NUM_SEEN).nonzero()[:, 0]
    rows = (seen[:NUM_TRAIN], seen[NUM_TRAIN:], new)
    return [(x[part], digits[part]) for part in rows]


def network():
    """Return a 1-Lipschitz network that can shrink to a constant."""
    generator = torch.Generator().manual_seed(0)
    return nn.Sequential(
        layers.OrthogonalLinear(64, 64, generator=generator),
        layers.GroupSort(),
        layers.OrthogonalLinear(64, DIM, generator=generator),
        Shrunk(),
    )


def means(e, digits):
    """Return the mean distances of pairs of one class and of pairs of different classes."""
    distance = (e[:, None] - e[None]).square().sum(-1).clamp_min(1e-24).sqrt()
    is_same = digits[:, None] == digits
    is_other = ~torch.eye(len(e), dtype=torch.bool)
    return distance[is_same & is_other].mean(), distance[~is_same].mean()


def train(objective, x, digits):
    """Minimise an objective of the two mean distances; return the network and the history."""
    model = network()
    generator = torch.Generator().manual_seed(1)
    *weights, shrinking = model.parameters()
    optimizer = torch.optim.Adam([{"params": weights}, {"params": shrinking, "lr": 0.05}], lr=0.01)
    history = []
    for _ in range(NUM_STEPS):
        rows = torch.randperm(len(x), generator=generator)[:150]
        optimizer.zero_grad()
        within, between = means(model(x[rows]), digits[rows])
        objective(within, between).backward()
        optimizer.step()
        history.append((float(within.detach()), float(between.detach())))
    return model, np.array(history)


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


def report(name, e, digits):
    """Print and return the difference of the mean distances, and what they are good for."""
    within, between = (float(value) for value in means(e, digits))
    accuracy = one_shot_accuracy(e, digits)
    print(
        f"{name:32} one class {within:.4f}, different {between:.4f}, difference "
        f"{between - within:.4f}; one labelled image of each class: {accuracy:.4f}"
    )
    return between - within, accuracy


def main():
    """Train with both objectives, measure on images that were not seen, draw."""
    (x, digits), *others = load()
    together, collapse = train(lambda within, between: within, x, digits)
    corrected, growth = train(lambda within, between: within - between, x, digits)
    embeddings = {
        "pixels": lambda x: x,
        "only together": together,
        "together and apart": corrected,
    }
    found = {}
    with torch.no_grad():
        for name, embed in embeddings.items():
            found[name] = [
                report(f"{name}, {which}", embed(y), labels)
                for which, (y, labels) in zip(("digits 0-5", "digits 6-9"), others, strict=True)
            ]
    assert collapse[-1].max() < 1e-6
    assert np.allclose(found["only together"], [[0.0, 1 / 6], [0.0, 1 / 4]], atol=1e-6)
    assert found["together and apart"][0] > found["pixels"][0]
    draw(collapse, growth, corrected, *others[0])


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
