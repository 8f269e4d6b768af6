"""Can determinism be traded for robustness?
=========================================

Instead of the most probable class, draw a class from the prediction. With L-Lipschitz logits no
event becomes more or less probable by more than tanh(L r / √8) under a perturbation of size r: a
guarantee for every input, where a deterministic answer has one up to its margin only, and then
none. The log-odds of a class move by √2 L r at most, which is a guarantee for its probability.
What it costs, and what it is worth, is measured here: on digits, with the logits of one 1-Lipschitz
network multiplied by L, and for a smoothed network, which is Lipschitz whatever network it smooths.

Draws determinism.png.
"""

import math

import numpy as np
import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch import nn

from infogeo import simplex
from infogeo.lipschitz import certificates, layers, losses, smoothing

NUM_TRAIN = 1400
SCALES = (3.0, 10.0, 30.0, 100.0)  # Lipschitz constants of the logits that classes are drawn from
COLOURS = ("#009E73", "#D55E00", "#CC79A7", "#0072B2")
RADII = torch.linspace(0.0, 1.6, 65)
STD, NUM_VOTES, SMOOTHING_RADII = 0.3, 2_000, (0.05, 0.2, 0.6)


def load():
    """Return images as vectors, pixels from 0 to 1, and their digits, shuffled."""
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    x = torch.from_numpy(bunch.data[order] / 16.0).float()
    return x, torch.from_numpy(bunch.target[order])


def train(model, x, digits, loss, num_epochs):
    """Train with Adam."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(num_epochs):
        for rows in torch.randperm(len(x), generator=generator).split(100):
            optimizer.zero_grad()
            loss(model(x[rows]), digits[rows]).backward()
            optimizer.step()
    return model


def lipschitz_network(x, digits):
    """Return a network that is strictly 1-Lipschitz."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(
        layers.OrthogonalLinear(64, 64, generator=generator),
        layers.GroupSort(),
        layers.OrthogonalLinear(64, 10, generator=generator),
    )

    def loss(z, y):
        return losses.offset_cross_entropy(z, y, offset=0.5, tau=5.0)

    return layers.freeze(train(model, x, digits, loss, 12))


def log_odds_of(digits, z):
    """Return log p / (1 - p) of the given classes."""
    others = z.scatter(1, digits[:, None], -math.inf).logsumexp(-1)
    return z.gather(1, digits[:, None])[:, 0] - others


def attack(model, x, digits, radius, scale, num_steps=10):
    """Return inputs at the radius at which the right class is improbable, by gradient steps."""
    moved = x.clone()
    for _ in range(num_steps):
        moved.requires_grad_(True)
        log_odds = log_odds_of(digits, scale * model(moved))  # the gradient does not vanish
        (gradient,) = torch.autograd.grad(-log_odds.sum(), moved)
        gradient = gradient / gradient.norm(dim=1, keepdim=True).clamp_min(1e-12)
        step = moved.detach() + 0.25 * radius * gradient - x
        moved = x + step * (radius / step.norm(dim=1, keepdim=True).clamp_min(radius))
    return moved


def guaranteed(z, digits, scale):
    """Return for each radius how probable a drawn class is right at least, in the mean.

    The log-odds of a class move by no more than sqrt2 L r, those of the predicted class and of the
    right one, where it is another.
    """
    z = scale * z
    bound = torch.sigmoid(log_odds_of(digits, z)[:, None] - math.sqrt(2.0) * scale * RADII)
    # It is the package's own where the right class is the predicted one.
    certified = certificates.confidence_bound(z[:, None], RADII, lipschitz_constant=scale)
    is_right = z.argmax(-1) == digits
    assert torch.allclose(bound[is_right], certified[is_right], rtol=1e-4, atol=1e-6)
    return bound.mean(0)


def study_drawing(model, x, digits, ax):
    """Compare drawing from the prediction with its most probable class."""
    with torch.no_grad():
        z = model(x)
    certified = certificates.coverage(z, digits, RADII, lipschitz_constant=1.0).certified_accuracy
    ax[0].plot(RADII, certified, color="0.15", label="most probable class")
    for scale, colour in zip(SCALES, COLOURS, strict=True):
        bound = guaranteed(z, digits, scale)
        ax[0].plot(RADII, bound, "--", color=colour, label=f"drawn, L = {scale:g}")
        total = certificates.total_variation_bound(RADII, lipschitz_constant=scale)
        ax[1].plot(RADII, total, "--", color=colour, label=f"L = {scale:g}")
        gain = bound - certified
        among = gain[(RADII > 0.0) & (certified > 0.2)]
        assert bool((among > 0.0).any()) == (scale >= 30.0)
        line = (
            f"L = {scale:4g}: right {bound[0]:.4f} of the draws, gained {gain.min():+.4f} to "
            f"{gain.max():+.4f} (r = {RADII[gain.argmax()]:.3f}), something at "
            f"{int((among > 0.0).sum())} of {len(among)} radii with more than a fifth certified"
        )
        for radius in (0.1, 0.4):
            index = round(radius / 0.025)
            moved = attack(model, x, digits, radius, scale)
            with torch.no_grad():
                p, q = ((scale * model(points)).softmax(-1) for points in (x, moved))
            variation = 0.5 * (p - q).abs().sum(-1)
            assert float(variation.max()) <= float(total[index]) + 1e-6
            hit = float(q.gather(1, digits[:, None]).mean())
            assert hit >= float(bound[index]) - 1e-6
            ax[1].plot(radius, variation.max(), "o", color=colour)
            line += (
                f"; r = {radius}: guaranteed {bound[index]:.4f}, attacked {hit:.4f}, certified "
                f"{certified[index]:.4f}, variation {variation.max():.3f} <= {total[index]:.3f}"
            )
        print(line)
    print(f"most probable class: right {certified[0]:.4f}")


def study_smoothing(x, digits, test):
    """Measure how far predictions of a smoothed ordinary network drift; they are drawn, too."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    train(model, x, digits, nn.functional.cross_entropy, 15)
    slack = 2.0 * smoothing.sampling_bound(NUM_VOTES, 10)
    for radius in SMOOTHING_RADII:
        moved = attack(model, test[0], test[1], radius, 1.0)
        p, q = (
            smoothing.votes(model, points, std=STD, num_samples=NUM_VOTES).double() / NUM_VOTES
            for points in (test[0], moved)
        )
        seen = simplex.fisher_rao_distance(p, q)
        with torch.no_grad():
            plain = simplex.fisher_rao_distance(
                *(model(points).double().softmax(-1) for points in (test[0], moved))
            )
        bound = float(smoothing.drift_bound(radius, std=STD))
        assert float(seen.max()) <= bound + slack
        print(
            f"r = {radius}: drift of the network up to {plain.max():.3f}, smoothed {seen.max():.3f}"
            f", proved for every network {bound:.3f} (r / s = {radius / STD:.3f})"
        )


def main():
    """Run both studies and draw."""
    x, digits = load()
    model = lipschitz_network(x[:NUM_TRAIN], digits[:NUM_TRAIN])
    figure, ax = plt.subplots(1, 2, figsize=(9.2, 3.8), layout="constrained")
    study_drawing(model, x[NUM_TRAIN:], digits[NUM_TRAIN:], ax)
    few = slice(NUM_TRAIN, NUM_TRAIN + 40)
    study_smoothing(x[:NUM_TRAIN], digits[:NUM_TRAIN], (x[few], digits[few]))
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
