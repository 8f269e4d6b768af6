"""Adversarial risk when a change of the label is no attack
========================================================

Two normal distributions, one for each class. The usual adversarial risk counts an input as lost if
some point within a distance of eps gets another class than y. Its minimiser is not Bayes' rule: the
threshold moves with eps and runs away to infinity, where everything gets the more frequent class.
But a point beyond Bayes' boundary is not an attack: there the other class is the better answer.
If only points count that Bayes' rule gives to y, Bayes' rule is the minimiser for every eps, and it
has no adversarial risk beyond its own risk.

Draws label_change.png.
"""

import math

import numpy as np
import torch
from matplotlib import pyplot as plt
from scipy.special import ndtr
from torch import nn

from infogeo.lipschitz import certificates, layers, losses

MEAN = torch.tensor([1.2, 0.9])  # of class 1, and its negative of class -1; unit covariance
M = float(MEAN.norm())
PRIOR = 0.7  # of class 1
BAYES = -math.log(PRIOR / (1.0 - PRIOR)) / (2.0 * M)  # threshold along the mean
RADII = (0.0, 0.5, 1.0, 1.4)
COLOURS = ("0.15", "#0072B2", "#D55E00", "#009E73")


def usual_risk(t, eps):
    """Return the usual adversarial risk of "class 1 beyond the threshold t"."""
    return PRIOR * ndtr(t + eps - M) + (1.0 - PRIOR) * ndtr(eps - t - M)


def usual_minimiser(eps):
    """Return the threshold of least usual risk: its derivative is 0 there, for eps < M."""
    return -math.log(PRIOR / (1.0 - PRIOR)) / (2.0 * (M - eps))


def honest_risk(t, eps):
    """Return the risk if only points count that Bayes' rule gives to y, and the input itself."""
    shift = np.where(t > BAYES, eps, 0.0), np.where(t < BAYES, eps, 0.0)
    return PRIOR * ndtr(t + shift[0] - M) + (1.0 - PRIOR) * ndtr(shift[1] - t - M)


def sample(num, generator):
    """Return points of the plane and their classes, -1 or 1."""
    y = torch.where(torch.rand(num, generator=generator) < PRIOR, 1.0, -1.0)
    return y[:, None] * MEAN + torch.randn(num, 2, generator=generator), y


def bayes(x):
    """Return the logarithm of the odds of class 1, 2M-Lipschitz."""
    return 2.0 * x @ MEAN + math.log(PRIOR / (1.0 - PRIOR))


def train(generator):
    """Return a GroupSort network, 1-Lipschitz, trained on 2,000 points."""
    model = nn.Sequential(
        layers.OrthogonalLinear(2, 32, generator=generator),
        layers.GroupSort(),
        layers.OrthogonalLinear(32, 32, generator=generator),
        layers.GroupSort(),
        layers.OrthogonalLinear(32, 1, generator=generator),
    )
    x, y = sample(2_000, generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        losses.binary_tau_cross_entropy(model(x)[:, 0], y, tau=2.0 * M).backward()
        optimizer.step()
    return layers.freeze(model)


def attacked_risks(f, x, y, eps):
    """Return both risks of f on a sample: all points of a polar grid are tried."""
    angle, radius = torch.linspace(0.0, 2.0 * math.pi, 25)[:-1], torch.linspace(0.25, 1.0, 4) * eps
    circle = torch.stack([angle.cos(), angle.sin()], dim=-1)
    points = x[:, None] + (radius[:, None, None] * circle).reshape(-1, 2)
    with torch.no_grad():
        is_wrong = f(points.reshape(-1, 2)).reshape(points.shape[:2]) * y[:, None] <= 0.0
        is_wrong_at_x = f(x) * y <= 0.0
    keeps_label = bayes(points) * y[:, None] > 0.0
    honest = (is_wrong & keeps_label).any(1) | is_wrong_at_x
    return float((is_wrong.any(1) | is_wrong_at_x).float().mean()), float(honest.float().mean())


def draw(ax, title, risk):
    """Draw a risk over the threshold, for all radii, and its lowest points."""
    t = np.sort(np.append(np.linspace(-5.0, 2.0, 2_001), BAYES))
    for eps, colour in zip(RADII, COLOURS, strict=True):
        values = risk(t, eps)
        ax.plot(t, values, color=colour, label=f"{eps:.1f}")
        lowest = values.argmin()
        ax.plot(t[lowest], values[lowest], "o", color=colour, clip_on=False, zorder=3)
    ax.axvline(BAYES, color="0.6", linewidth=1.0, linestyle=":")
    ax.annotate("Bayes", (BAYES, 0.93), (4, 0), textcoords="offset points", color="0.35")
    ax.set(title=title, xlabel="threshold t along the mean", xlim=(-5.0, 2.0), ylim=(0.0, 1.0))
    ax.spines[["top", "right"]].set_visible(False)


def main():
    """Compare the minimisers, then the risks on a sample."""
    print(f"means {M:.2f} from the origin, prior {PRIOR}: Bayes' threshold {BAYES:.4f}")
    t = np.sort(np.append(np.linspace(-40.0, 40.0, 80_001), BAYES))
    for eps in RADII:
        usual, honest = t[usual_risk(t, eps).argmin()], t[honest_risk(t, eps).argmin()]
        assert honest == BAYES
        assert abs(usual - usual_minimiser(eps)) < 1e-3
        print(
            f"eps {eps:.1f}: usual minimiser {usual:.4f} with risk {usual_risk(usual, eps):.4f}, "
            f"Bayes' rule {usual_risk(BAYES, eps):.4f}; label change excluded: minimiser "
            f"{honest:.4f} with risk {honest_risk(honest, eps):.4f}"
        )
    generator = torch.Generator().manual_seed(0)
    network = train(generator)
    x, y = sample(5_000, generator)
    eps, moved = 1.0, usual_minimiser(1.0)
    radius = certificates.binary_radius(bayes(x), lipschitz_constant=2.0 * M)
    certified = float(((bayes(x) * y <= 0.0) | (radius <= eps)).float().mean())
    print(f"5,000 points, eps {eps}: certificate of Bayes' rule: usual risk {certified:.4f}")
    rules = {
        "Bayes' rule": bayes,
        "usual minimiser": lambda x: x @ MEAN / M - moved,
        "GroupSort network": lambda x: network(x)[:, 0],
        "always class 1": lambda x: torch.ones(len(x)),
    }
    found = {name: attacked_risks(rule, x, y, eps) for name, rule in rules.items()}
    for name, (usual, honest) in found.items():
        print(f"{name:18} usual {usual:.4f}, label change excluded {honest:.4f}")
    best = min(found, key=lambda name: found[name][1])
    assert best == "Bayes' rule"
    assert abs(found[best][1] - honest_risk(BAYES, 0.0)) < 0.0134  # four standard errors
    figure, ax = plt.subplots(1, 2, figsize=(8.6, 3.6), layout="constrained", sharey=True)
    draw(ax[0], "usual adversarial risk", usual_risk)
    draw(ax[1], "label change excluded", honest_risk)
    ax[0].set(ylabel="risk")
    ax[1].legend(title="eps", frameon=False, loc="upper left")
    figure.savefig("label_change.png", dpi=110)


if __name__ == "__main__":
    main()
