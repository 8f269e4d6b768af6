r"""Adversarial spheres: no error in a million examples, and errors all the same
============================================================================

Two concentric spheres in many dimensions, of radii 1 and 1.3, and a quadratic network
f(x) = w \|Wx\|² + b that has to tell them apart. All it needs is that the 500 numbers
alpha = -w s² / b, s the singular values of W, lie between 1 / 1.3² and 1. Trained networks make no
error that anyone has seen with most of these numbers out of range, so that every point has an
error nearby. A 1-Lipschitz network gets by with two examples and with an exact certificate.

Writes spheres.png into the current folder. ``--full`` takes the published size (500 dimensions,
1,000 features), in two minutes; the default is a small one, in seconds.
"""

import argparse
import math
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib import pyplot as plt
from scipy.special import log_ndtr
from torch import nn

from infogeo.lipschitz import layers, losses

RADIUS = 1.3
LOWEST = RADIUS**-2  # of the alphas of a network without errors; the highest is 1
COLOURS = {"Gaussian start": "#D55E00", "orthogonal start": "#0072B2", "second moments": "#009E73"}


@dataclass(frozen=True)
class Size:
    """How large the experiments are."""

    dim: int
    num_steps: int  # of 50 examples
    num_moments: tuple  # examples of the second moments
    num_test: int
    ellipsoid_steps: int


SMALL = Size(60, 600, (3_000, 60_000), 20_000, 150)
FULL = Size(500, 3_000, (50_000, 500_000), 100_000, 3_000)


def sample(num, dim, generator, axes=1.0):
    """Return points of the two spheres, or of ellipsoids, and -1 (inner) or 1 (outer)."""
    x = torch.randn(num, dim, generator=generator)
    y = 2.0 * torch.randint(2, (num,), generator=generator) - 1.0
    x = x / x.norm(dim=1, keepdim=True)
    return torch.where(y > 0.0, RADIUS, 1.0)[:, None] * x * axes, y


# ---------------------------------------------------------------- the quadratic network


class Quadratic(nn.Module):
    """f(x) = w |Wx|^2 + b, positive on the outer sphere."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.scale, self.shift = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(-1.0))

    def forward(self, x):
        """Return one number for each row."""
        return self.scale * (x @ self.weight.T).square().sum(1) + self.shift

    @torch.no_grad()
    def alphas(self):
        """Return -w s^2 / b, ascending."""
        singular = torch.linalg.svdvals(self.weight.double())
        return np.sort((-self.scale.double() * singular.square() / self.shift.double()).numpy())


def share_in_range(alphas):
    """Return the share of alphas that a network without errors may have."""
    return float(np.mean((alphas >= LOWEST) & (alphas <= 1.0)))


def log10_errors(alphas):
    """Return the logarithms of the error rates on both spheres: by a central limit theorem."""
    inner, outer = alphas - 1.0, alphas - LOWEST
    z = [sign * x.sum() / math.sqrt(2.0 * (x * x).sum()) for sign, x in ((1, inner), (-1, outer))]
    return log_ndtr(z) / math.log(10.0)


def observed_errors(model, num, dim, generator):
    """Return how many of fresh examples are on the wrong side."""
    wrong = 0
    with torch.no_grad():
        for _ in range(num // 10_000):
            x, y = sample(10_000, dim, generator)
            wrong += int((model(x) * y <= 0.0).sum())
    return wrong


def start(kind, dim, generator):
    """Return a network with singular values near 1 or equal to 1."""
    weight = torch.randn(2 * dim, dim, generator=generator) / math.sqrt(2 * dim)
    if kind == "orthogonal start":
        weight = torch.linalg.qr(weight).Q
    return Quadratic(weight)


def train(model, size, generator):
    """Train on examples that are never repeated; return the history of the alphas."""
    optimizer = torch.optim.Adam(
        [
            {"params": [model.scale, model.shift], "lr": 3e-2},
            {"params": [model.weight], "lr": 1e-4},
        ]
    )
    history = []
    for step in range(size.num_steps + 1):
        if step % (size.num_steps // 12) == 0 or step == 50:
            history.append((50 * step, model.alphas()))
        x, y = sample(50, size.dim, generator)
        optimizer.zero_grad()
        losses.binary_tau_cross_entropy(model(x), y, tau=1.0, check=False).backward()
        optimizer.step()
    return history


def second_moments(num, dim, generator):
    """Return the alphas of f(x) = x'(S_1 - S_0)x + b: no training, one look at each example."""
    moments = {-1.0: torch.zeros(dim, dim), 1.0: torch.zeros(dim, dim)}
    counts = dict.fromkeys(moments, 0)
    for _ in range(num // 1_000):
        x, y = sample(1_000, dim, generator)
        for sign in moments:
            rows = x[y == sign]
            moments[sign] += rows.T @ rows
            counts[sign] += len(rows)
    difference = moments[1.0] / counts[1.0] - moments[-1.0] / counts[-1.0]
    values = torch.linalg.eigvalsh(difference.double()).numpy()
    return values / values.mean() * 0.5 * (1.0 + LOWEST)


# ---------------------------------------------------------------- the 1-Lipschitz network


def two_examples(dim, generator):
    """Return the threshold c of f(x) = |Wx| - c after one example of each sphere."""
    linear = layers.OrthogonalLinear(dim, dim, bias=False, dtype=torch.float64, generator=generator)
    model = nn.Sequential(linear, layers.NormPool(dim))
    x = torch.randn(2, dim, dtype=torch.float64, generator=generator)
    x = x / x.norm(dim=1, keepdim=True) * x.new_tensor([[1.0], [RADIUS]])
    with torch.no_grad():
        norms = model(x)[:, 0]
    return float(norms.mean()), float(0.5 * (norms[1] - norms[0]))


def bjorck(w, num_steps=30):
    """Return what Bjorck's iteration makes of a number: 1 or -1, if it converges."""
    w = np.asarray(w, dtype=float)
    for _ in range(num_steps):
        w = np.clip(w * (3.0 - w * w) / 2.0, -1e6, 1e6)
    return w


def sign_flips(learning_rate, *, scale_first, num_steps=200, seed=0):
    """Count sign changes of w in f = w |x| - c, kept at -1 or 1 by Bjorck after each step."""
    rng = np.random.default_rng(seed)
    w, c, flips, largest = 1.0, 1.15, 0, 0.0
    for _ in range(num_steps):
        y = rng.choice([-1.0, 1.0], size=4)
        r = np.where(y > 0.0, RADIUS, 1.0)
        is_short = y * (w * r - c) < 0.5  # hinge of a margin that cannot be reached
        w_new = w + learning_rate * np.mean(np.where(is_short, y * r, 0.0))
        c -= 0.01 * np.mean(np.where(is_short, y, 0.0))
        largest = max(largest, abs(w_new))
        sign = np.sign(bjorck(w_new / max(1.0, abs(w_new)) if scale_first else w_new))
        # A step through 0 is a change that the loss has asked for.
        flips += bool(sign != np.sign(w_new))
        w = float(sign)
    return flips, largest


# ---------------------------------------------------------------- ellipsoids


def train_on_ellipsoids(model, axes, num_steps, generator):
    """Train a 1-Lipschitz network with a hinge loss."""
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=num_steps)
    for _ in range(num_steps):
        x, y = sample(512, len(axes), generator, axes)
        optimizer.zero_grad()
        torch.relu(0.1 - y * model(x)[:, 0]).mean().backward()
        optimizer.step()
        schedule.step()
    return layers.freeze(model)


def ellipsoid_study(size, generator):
    """Return the error rates of the best sphere and of a GroupSort network."""
    axes = torch.tensor([3.0, 2.0, 1.0, 1.0])
    width = 64
    model = nn.Sequential(
        layers.OrthogonalLinear(4, width, generator=generator),
        layers.GroupSort(),
        layers.OrthogonalLinear(width, width, generator=generator),
        layers.GroupSort(),
        layers.OrthogonalLinear(width, width, generator=generator),
        layers.GroupSort(),
        layers.OrthogonalLinear(width, 1, generator=generator),
    )
    frozen = train_on_ellipsoids(model, axes, size.ellipsoid_steps, generator)
    x, y = sample(size.num_test, 4, generator, axes)
    norms = x.norm(dim=1).numpy()
    order = np.argsort(norms)
    signs = y.numpy()[order]
    # errors of every threshold: outer points below it, inner points above it
    errors = np.cumsum(signs > 0.0) + (signs < 0.0).sum() - np.cumsum(signs < 0.0)
    with torch.no_grad():
        margins = (frozen(x)[:, 0] * y).numpy()
    return errors.min() / len(y), float(np.mean(margins <= 0.0)), margins, frozen, axes


# ---------------------------------------------------------------- figure and table


def draw_alphas(ax, found):
    """Draw the sorted alphas, with the range of a network without errors."""
    ax.axhspan(LOWEST, 1.0, color="0.88", zorder=0)
    for name, alphas in found.items():
        rank = np.linspace(0.0, 100.0, len(alphas))
        label = f"{name}: {100 * share_in_range(alphas):.0f} %"
        ax.plot(rank, alphas, color=COLOURS[name], label=label)
    ax.set(xlabel="rank (% of the dimensions)", ylabel="alpha", title="Alphas at the end")
    ax.legend(frameon=False, title="in range (grey):", alignment="left")


def draw_history(ax, histories):
    """Draw the share of alphas in range during training."""
    for name, history in histories.items():
        num, alphas = zip(*history, strict=True)
        shares = [100.0 * share_in_range(a) for a in alphas]
        ax.plot(np.array(num) / 1e3, shares, "o-", color=COLOURS[name], label=name, markersize=4)
    ax.set(xlabel="training examples (thousands)", ylabel="alphas in range (%)", ylim=(-4, 104))
    ax.set_title("They drift out of range")
    ax.legend(frameon=False)


def draw_errors(ax, histories):
    """Draw the analytic error rate during training."""
    for name, history in histories.items():
        num, alphas = zip(*history[1:], strict=True)
        worst = [log10_errors(a).max() for a in alphas]
        ax.plot(np.array(num) / 1e3, worst, "o-", color=COLOURS[name], label=name, markersize=4)
    ax.set(xlabel="training examples (thousands)", ylabel="log10 of the error rate")
    ax.set_title("Error rate, by the central limit theorem")
    ax.legend(frameon=False)


def draw_bjorck(ax):
    """Draw what Bjorck's iteration makes of a number."""
    w = np.linspace(0.01, 2.2, 4_000)
    ax.plot(w, bjorck(w), ".", color="#0072B2", markersize=2)
    ax.axvline(math.sqrt(3.0), color="0.35", linewidth=1.0)
    ax.annotate("√3", (math.sqrt(3.0), 0.0), (5, 0), textcoords="offset points")
    ax.set(xlabel="w before", ylabel="w after Bjorck's iteration", ylim=(-1.3, 1.3))
    ax.set_title("The sign flips above √3")


def draw_ellipsoids(ax, frozen, axes):
    """Draw the decision of the GroupSort network in the plane of the first and the last axis."""
    grid = torch.linspace(-4.4, 4.4, 221)
    a, b = torch.meshgrid(grid, grid, indexing="xy")
    zero = torch.zeros_like(a)
    with torch.no_grad():
        f = frozen(torch.stack((a, zero, b, zero), dim=-1).reshape(-1, 4))[:, 0].reshape(a.shape)
    lines = ax.contour(grid, grid, f, levels=[0.0], colors="#D55E00")
    angle = np.linspace(0.0, 2.0 * np.pi, 400)
    for r, colour in ((1.0, "#0072B2"), (RADIUS, "#009E73")):
        ax.plot(r * float(axes[0]) * np.cos(angle), r * np.sin(angle), color=colour)
    ax.plot(*(1.5 * np.stack((np.cos(angle), np.sin(angle)))), ":", color="0.35")
    ax.set(xlabel="first axis", ylabel="third axis", xlim=(-4.4, 4.4), ylim=(-2.6, 2.6))
    ax.set_aspect("equal")
    ax.set_title("A plane of the ellipsoids")
    ax.legend(
        [*ax.lines, lines.legend_elements()[0][0]],
        ["inner", "outer", "a sphere", "GroupSort net"],
        frameon=False,
        ncols=2,
        fontsize=8,
    )


def draw_margins(ax, margins):
    """Draw the certified radii of the GroupSort network."""
    ax.hist(margins, bins=60, color="#0072B2")
    ax.axvline(0.0, color="#D55E00")
    ax.set(xlabel="signed certified radius", ylabel="points", title="Certificates on ellipsoids")


def main():
    """Run the experiments, draw the figure and print the numbers."""
    parser = argparse.ArgumentParser(description="the study of two spheres")
    parser.add_argument("--full", action="store_true", help="the published size: two minutes")
    size = FULL if parser.parse_args().full else SMALL
    generator = torch.Generator().manual_seed(0)
    figure, axes = plt.subplots(2, 3, figsize=(13.0, 7.6), layout="constrained")
    histories, found = {}, {}
    print(f"{size.dim} dimensions, {size.num_test} test examples")
    for name in ("Gaussian start", "orthogonal start"):
        model = start(name, size.dim, generator)
        histories[name] = train(model, size, generator)
        found[name] = model.alphas()
        wrong = observed_errors(model, size.num_test, size.dim, generator)
        inner, outer = log10_errors(found[name])
        is_perfect = share_in_range(found[name]) == 1.0
        analytic = "0" if is_perfect else f"10^{inner:.1f} and 10^{outer:.1f}"
        print(
            f"{name}: {share_in_range(found[name]):.1%} of the alphas in range, {wrong} errors, "
            f"analytic error rates {analytic}"
        )
        for num, alphas in histories[name]:
            print(f"   after {num} examples {share_in_range(alphas):.1%}")
    for num in size.num_moments:
        found["second moments"] = second_moments(num, size.dim, generator)
        print(f"second moments of {num}: {share_in_range(found['second moments']):.1%} in range")
    assert share_in_range(found["Gaussian start"]) < 0.5, "trained, and out of range"
    assert share_in_range(found["second moments"]) == 1.0
    c, certificate = two_examples(size.dim, generator)
    print(f"1-Lipschitz, two examples: threshold {c:.12f}, certificate {certificate:.12f}")
    assert abs(certificate - 0.15) < 1e-12
    for rate in (0.4, 0.5, 0.6, 0.7, 0.8):
        (plain, largest), (scaled, _) = (
            sign_flips(rate, scale_first=scale_first) for scale_first in (False, True)
        )
        print(
            f"learning rate {rate}: |w| up to {largest:.2f}, {plain} flips by Bjorck, {scaled} "
            "when scaled first"
        )
        assert (plain > 0) == (largest > math.sqrt(3.0))
        assert scaled == 0
    sphere, groupsort, margins, frozen, lengths = ellipsoid_study(size, generator)
    print(f"ellipsoids: best sphere {sphere:.2%} errors, GroupSort network {groupsort:.3%}")
    assert groupsort < 0.02 < 0.2 < sphere
    print(f"   certified radii from {margins.min():.3f}, median {np.median(margins):.3f}")
    draw_alphas(axes[0, 0], found)
    draw_history(axes[0, 1], histories)
    draw_errors(axes[0, 2], histories)
    draw_bjorck(axes[1, 0])
    draw_ellipsoids(axes[1, 1], frozen, lengths)
    draw_margins(axes[1, 2], margins)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig("spheres.png", dpi=110)


if __name__ == "__main__":
    main()
