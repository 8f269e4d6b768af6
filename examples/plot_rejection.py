"""Rejecting what has no certificate
=================================

A classifier that may reject has one class more. An input is accepted if the margin certifies the
radius eps, and then this holds for every attacker: whatever is accepted within eps of an image has
the class that the network gives to the image itself. No attack turns a right answer into a wrong
one that is accepted. All it can do is to have an input rejected. Rejecting by
confidence, of the same share of images, promises nothing, and attacks get wrong answers through.

Draws rejection.png.
"""

import numpy as np
import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch import nn

from infogeo.lipschitz import certificates, layers, losses

NUM_TRAIN, ATTACKS = 1400, (0.3, 0.6, 0.9)
RADII = torch.linspace(0.0, 1.2, 121)


def load():
    """Return images as vectors, pixels from 0 to 1, and their digits, shuffled."""
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    x = torch.from_numpy(bunch.data[order] / 16.0).float()
    return x, torch.from_numpy(bunch.target[order])


def train(model, x, digits, loss):
    """Train with Adam."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(14):
        for rows in torch.randperm(len(x), generator=generator).split(200):
            optimizer.zero_grad()
            loss(model(x[rows]), digits[rows]).backward()
            optimizer.step()
    return model


def networks(x, digits):
    """Return a 1-Lipschitz network and an ordinary one."""
    torch.manual_seed(0)
    lipschitz = nn.Sequential(
        layers.OrthogonalLinear(64, 64), layers.GroupSort(), layers.OrthogonalLinear(64, 10)
    )
    ordinary = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def offset(z, y):
        return losses.offset_cross_entropy(z, y, offset=0.7, tau=5.0)

    train(ordinary, x, digits, nn.functional.cross_entropy)
    return layers.freeze(train(lipschitz, x, digits, offset)), ordinary


def gaps(z):
    """Return the largest logit less the second one: what both rules of rejection look at."""
    top = z.topk(2, dim=-1).values
    return top[..., 0] - top[..., 1]


def attack(model, x, digits, target, radius, num_steps=25):
    """Return inputs within the radius at which the target class leads by as much as possible."""
    moved = x.clone()
    for step_number in range(num_steps):
        moved.requires_grad_(True)
        z = model(moved)
        own = z.gather(1, target[:, None])[:, 0]
        others = z.masked_fill(nn.functional.one_hot(target, 10).bool(), -torch.inf).amax(1)
        (gradient,) = torch.autograd.grad((own - others).sum(), moved)
        gradient = gradient / gradient.norm(dim=1, keepdim=True).clamp_min(1e-12)
        size = radius * (0.5 if step_number < num_steps // 2 else 0.1)
        step = moved.detach() + size * gradient - x
        moved = x + step * (radius / step.norm(dim=1, keepdim=True).clamp_min(radius))
    return moved


def wrong_and_accepted(model, x, digits, threshold, radius):
    """Return for each image whether an attack on a right answer had a wrong one accepted."""
    with torch.no_grad():
        is_right = model(x).argmax(-1) == digits
    is_lost = torch.zeros(len(x), dtype=torch.bool)
    for shift in range(1, 10):
        moved = attack(model, x, digits, (digits + shift) % 10, radius)
        with torch.no_grad():
            z = model(moved)
        is_lost |= (z.argmax(-1) != digits) & (gaps(z) > threshold)
    return is_lost & is_right


def compare(lipschitz, ordinary, x, digits, eps):
    """Attack both rules, at equal coverage; return how many answers each of them loses."""
    with torch.no_grad():
        z, w = lipschitz(x), ordinary(x)
    is_accepted = certificates.accept(z, eps, lipschitz_constant=1.0)
    threshold = float(gaps(w).quantile(1.0 - float(is_accepted.float().mean())))
    lost = []
    for name, model, outputs, least in (
        ("certificate", lipschitz, z, 2.0**0.5 * eps),
        ("confidence", ordinary, w, threshold),
    ):
        keeps = gaps(outputs) > least
        accuracy = (outputs.argmax(-1) == digits)[keeps].float().mean()
        lost.append(int(wrong_and_accepted(model, x, digits, least, eps).sum()))
        print(
            f"eps {eps}, {name}: {keeps.float().mean():.4f} accepted, {accuracy:.4f} of them "
            f"right; attacks replace {lost[-1]} right answers by wrong ones that are accepted"
        )
    return lost


def main():
    """Train, attack at some radii, and draw."""
    x, digits = load()
    lipschitz, ordinary = networks(x[:NUM_TRAIN], digits[:NUM_TRAIN])
    x, digits = x[NUM_TRAIN:], digits[NUM_TRAIN:]
    assert layers.lipschitz_bound(lipschitz) <= 1.0
    with torch.no_grad():
        z, w = lipschitz(x), ordinary(x)
    for name, outputs in (("1-Lipschitz", z), ("ordinary", w)):
        print(f"{name} network: {(outputs.argmax(-1) == digits).float().mean():.4f} right")
    lost = np.array([compare(lipschitz, ordinary, x, digits, eps) for eps in ATTACKS])
    assert (lost[:, 0] == 0).all()
    assert (lost[:, 1] > 0).all()
    # A threshold that is too low for this radius must fail, or the attack proves nothing.
    too_low = int(wrong_and_accepted(lipschitz, x, digits, 0.0, ATTACKS[0]).sum())
    print(f"the 1-Lipschitz network without rejection, eps {ATTACKS[0]}: {too_low}")
    assert too_low > 0
    draw(certificates.coverage(z, digits, RADII, lipschitz_constant=1.0), w, digits)


def draw(found, w, digits):
    """Draw coverage and accuracy over the radius, and against each other."""
    figure, ax = plt.subplots(1, 2, figsize=(9.0, 3.7), layout="constrained")
    ax[0].plot(RADII, found.coverage, color="#0072B2", label="coverage")
    ax[0].plot(RADII, found.certified_accuracy, "--", color="#D55E00", label="accepted and right")
    ax[0].set(xlabel="radius certified (l2)", ylabel="share of images", ylim=(0.0, 1.02))
    order = gaps(w).argsort(descending=True)
    is_right = (w.argmax(-1) == digits)[order].double().cumsum(0)
    num = torch.arange(1, len(w) + 1)
    ax[1].plot(found.coverage, found.accuracy, color="#0072B2", label="certificate, any radius")
    ax[1].plot(num / len(w), is_right / num, "--", color="#009E73", label="confidence, no radius")
    ax[1].set(xlabel="coverage", ylabel="accuracy of the accepted", xlim=(0.0, 1.02))
    for axis in ax:
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, loc="lower left")
    figure.savefig("rejection.png", dpi=110)


if __name__ == "__main__":
    main()
