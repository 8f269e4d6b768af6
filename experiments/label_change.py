"""Is there adversarial risk when a change of the label is no attack?

Two normal distributions along a line, one for each class, and the rules "class 1 beyond t". The
usual adversarial risk counts an input as lost if some point within eps of it does not get the
class y that was drawn there. Suggala, Prasad, Nagarajan and Ravikumar (Revisiting adversarial
risk, AISTATS 2019) count it if some point within eps, that a base classifier g gives to the class
g(x) of the input, gets another one, and take off what is wrong without an attack:

    R_adv(f) = E[ max over x' with |x' - x| <= eps, g(x') = g(x) of 1(f(x') != g(x))
                  - 1(f(x) != g(x)) ]

Here g is Bayes' rule. Both are mixed with the risk, R + lambda R_adv. The minimisers over all
thresholds are computed, with a margin around Bayes' boundary and without one. Then a trained
network is attacked.

Draws label_change.png.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from common import group_sort_network, table
from matplotlib import pyplot as plt
from scipy.special import ndtr

from infogeo.lipschitz import layers, losses

MEAN = torch.tensor([1.2, 0.9])  # of class 1, and its negative of class -1; unit covariance
M = float(MEAN.norm())
EPS = (0.5, 1.0, 1.8)
COLOURS = ("0.15", "#0072B2", "#D55E00", "#009E73")


@dataclass(frozen=True)
class Line:
    """Two normals along a line, at M and -M, without what is within a margin of the boundary."""

    prior: float  # of the class at M
    margin: float = 0.0

    @property
    def bayes(self):
        """Return the threshold of Bayes' rule."""
        return -math.log(self.prior / (1.0 - self.prior)) / (2.0 * M)

    def below(self, t):
        """Return the probabilities of a point below t, jointly with each class: (1, -1)."""
        low, high = self.bayes - self.margin, self.bayes + self.margin
        parts, whole = [], 0.0
        for prior, mean in ((self.prior, M), (1.0 - self.prior, -M)):
            cut = ndtr(np.clip(t, low, high) - mean) - ndtr(low - mean)
            parts.append(prior * (ndtr(t - mean) - cut))
            whole += prior * (1.0 - ndtr(high - mean) + ndtr(low - mean))
        return parts[0] / whole, parts[1] / whole

    def usual(self, t, eps):
        """Return the probability of an error for the class drawn, after the worst change."""
        return self.below(t + eps)[0] + (self.below(np.inf)[1] - self.below(t - eps)[1])

    def risk(self, t):
        """Return the risk."""
        return self.usual(t, 0.0)

    def excluded(self, t, eps):
        """Return R_adv as defined above: what lies beyond the sliver between t and the boundary."""
        here, above, under = (sum(self.below(t + shift)) for shift in (0.0, eps, -eps))
        return np.where(t > self.bayes, above - here, np.where(t < self.bayes, here - under, 0.0))

    def minimisers(self, eps, weight):
        """Return the thresholds of least R + weight R_adv, usual and with label change excluded."""
        t = np.sort(np.append(np.linspace(-12.0, 12.0, 48_001), self.bayes))
        risk = self.risk(t)
        found = []
        for attacked in (self.usual(t, eps) - risk, self.excluded(t, eps)):
            values = risk + weight * attacked
            at_bayes = values[t == self.bayes][0]
            lowest = t[values.argmin()]
            found.append(self.bayes if at_bayes <= values.min() + 1e-12 else float(lowest))
        return found


def name_of(t, line):
    """Return a minimiser in words, with its risk."""
    risk = f"{float(line.risk(np.array([t]))[0]):.4f}"
    if t == line.bayes:
        return f"Bayes, {risk}"
    return f"{t:.3f}, {risk}" if abs(t) < 10.0 else f"one class for all, {risk}"


def print_minimisers():
    """Print the minimisers; check them against what can be derived by hand."""
    rows = []
    for prior, margin, eps in itertools.product((0.7, 0.5), (0.0, 1.0), EPS):
        line, found = Line(prior, margin), []
        for weight in (0.5, 1.0):
            usual, excluded = line.minimisers(eps, weight)
            assert excluded == line.bayes
            if eps <= margin or (prior == 0.5 and eps < M):
                assert usual == line.bayes
            if prior != 0.5 and margin == 0.0:
                assert usual != line.bayes
            if weight == 1.0 and margin == 0.0 and eps < M:  # where its derivative is 0
                by_hand = -math.log(prior / (1.0 - prior)) / (2.0 * (M - eps))
                assert abs(usual - by_hand) < 1e-3
            found.append(name_of(usual, line))
        rows.append([f"{prior:g}", f"{margin:g}", f"{eps:g}", *found, name_of(excluded, line)])
    table(
        "| prior | margin | eps | usual, lambda = 1/2: minimiser, its risk | usual, lambda = 1 "
        "| label change excluded, both lambda |",
        rows,
    )


# ---------------------------------------------------------------- a network


def sample(num, prior, generator):
    """Return points of the plane and their classes, -1 or 1."""
    y = torch.where(torch.rand(num, generator=generator) < prior, 1.0, -1.0)
    return y[:, None] * MEAN + torch.randn(num, 2, generator=generator), y


def train(prior, generator):
    """Return a GroupSort network, 1-Lipschitz, trained on 2,000 points."""
    model = group_sort_network((2, 32, 32, 1), seed=0)
    x, y = sample(2_000, prior, generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        losses.binary_tau_cross_entropy(model(x)[:, 0], y, tau=2.0 * M).backward()
        optimizer.step()
    return layers.freeze(model)


def attacked_risks(f, g, x, y, eps):
    """Return the risk of f on a sample, the usual one under attack, and R_adv.

    All points of a polar grid are tried.
    """
    angle = torch.atan2(MEAN[1], MEAN[0]) + torch.linspace(0.0, 2.0 * math.pi, 25)[:-1]
    radius = torch.linspace(0.05, 1.0, 20) * eps
    circle = torch.stack([angle.cos(), angle.sin()], dim=-1)
    points = x[:, None] + (radius[:, None, None] * circle).reshape(-1, 2)
    with torch.no_grad():
        sign = f(points.reshape(-1, 2)).reshape(points.shape[:2]).sign()
        own = f(x).sign()
    base, bases = g(x).sign(), g(points.reshape(-1, 2)).reshape(points.shape[:2]).sign()
    is_wrong = own != y
    usual = is_wrong | (sign != y[:, None]).any(1)
    hit = (own != base) | ((sign != base[:, None]) & (bases == base[:, None])).any(1)
    return [float(value.float().mean()) for value in (is_wrong, usual)] + [
        float(hit.float().mean() - (own != base).float().mean())
    ]


def study_network(prior=0.7, eps=1.0):
    """Print the risks of four rules; check those of thresholds against their formulas."""
    generator = torch.Generator().manual_seed(0)
    line, network = Line(prior), train(prior, generator)
    x, y = sample(5_000, prior, generator)
    moved = line.minimisers(eps, 1.0)[0]

    def threshold(t):
        return lambda x: x @ MEAN / M - t

    bayes = threshold(line.bayes)
    rules = {
        "Bayes' rule": (bayes, line.bayes),
        "usual minimiser": (threshold(moved), moved),
        "GroupSort network": (lambda x: network(x)[:, 0], None),
    }
    rows = []
    for name, (rule, t) in rules.items():
        risk, usual, excluded = attacked_risks(rule, bayes, x, y, eps)
        if t is not None:
            t = np.array([t])
            exact = [line.risk(t), line.usual(t, eps), line.excluded(t, eps)]
            errors = np.abs(np.concatenate(exact) - [risk, usual, excluded])
            assert errors.max() < 4.0 * math.sqrt(0.25 / len(x)), errors
        rows.append([name, f"{risk:.3f}", f"{usual:.3f}", f"{excluded:.3f}"])
        assert (excluded == 0.0) == (name == "Bayes' rule")
    table("| 5,000 points, prior 0.7, eps 1 | risk | usual, attacked | R_adv |", rows)


def draw(axes):
    """Draw both objectives, lambda = 1, over the threshold."""
    line = Line(0.7)
    t = np.sort(np.append(np.linspace(-5.0, 2.0, 2_001), line.bayes))
    for ax, title, attacked in (
        (axes[0], "usual", lambda eps: line.usual(t, eps)),
        (axes[1], "label change excluded", lambda eps: line.risk(t) + line.excluded(t, eps)),
    ):
        for eps, colour in zip((0.0, *EPS), COLOURS, strict=True):
            values = attacked(eps)
            ax.plot(t, values, color=colour, label=f"{eps:.1f}")
            lowest = values.argmin()
            ax.plot(t[lowest], values[lowest], "o", color=colour, clip_on=False, zorder=3)
        ax.axvline(line.bayes, color="0.6", linewidth=1.0, linestyle=":")
        ax.annotate("Bayes", (line.bayes, 0.93), (4, 0), textcoords="offset points", color="0.35")
        ax.set(title=title, xlabel="threshold t", xlim=(-5.0, 2.0), ylim=(0.0, 1.0))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set(ylabel="risk + adversarial risk")
    axes[1].legend(title="eps", frameon=False, loc="upper left")


def main():
    """Compare the minimisers, then the risks on a sample."""
    print_minimisers()
    study_network()
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.6), layout="constrained", sharey=True)
    draw(axes)
    figure.savefig("label_change.png", dpi=110)


if __name__ == "__main__":
    main()
