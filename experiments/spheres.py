r"""Why does a network that never errs have an error next to every point? Adversarial spheres.

Two concentric spheres in many dimensions, of radii 1 and 1.3, and a quadratic network
f(x) = w |Wx|² + b that has to tell them apart. It never errs if and only if all the numbers
alpha = -w s² / b, s the singular values of W, lie between 1 / 1.3² and 1. Its error rates are
probabilities that a quadratic form of normal variables is positive, which a contour integral gives
to all digits however small they are. The nearest error to a point is the solution of one equation.
1-Lipschitz networks are trained on a few examples, and their certificates attacked.

Draws spheres.png. ``--full`` takes the published size, 500 dimensions, for the quadratic networks
alone; the default is 60.
"""

import argparse
import math
from dataclasses import dataclass

import mpmath
import numpy as np
import torch
from common import climb, group_sort_network, spread, table
from matplotlib import pyplot as plt
from scipy.optimize import brentq
from scipy.special import log_ndtr
from torch import nn

from infogeo.lipschitz import layers, losses

RADIUS = 1.3
LOWEST = RADIUS**-2  # of the alphas of a network without errors; the highest is 1
COLOURS = {"Gaussian start": "#D55E00", "orthogonal start": "#0072B2"}
NUM_TEST = 100_000
DRAWN = (2_500, 30_000, 150_000, 300_000, 500_000, 750_000, 1_000_000)  # training examples
SHOWN = (2_500, 150_000, 500_000, 1_000_000)


def sample(num, dim, generator):
    """Return points of the two spheres, and -1 (inner) or 1 (outer)."""
    x = torch.randn(num, dim, generator=generator)
    y = 2.0 * torch.randint(2, (num,), generator=generator) - 1.0
    return torch.where(y > 0.0, RADIUS, 1.0)[:, None] * x / x.norm(dim=1, keepdim=True), y


# ---------------------------------------------------------------- the law of the error


@dataclass(frozen=True)
class Tail:
    """log10 of the probability that sum c_i g_i² is positive, g standard normal."""

    exact: float
    chernoff: float  # an upper bound
    central_limit: float


def tail(c):
    """Return the law of a quadratic form at 0, exact, bounded, and by the central limit theorem.

    P = 1 / (2 pi i) * integral of exp(K(s)) / s along a vertical line, K(s) the logarithm of the
    mean of exp(s sum c_i g_i²). On the line through the minimum of K(s) - log s nothing cancels.
    """
    c = np.asarray(c, dtype=float) / np.abs(c).max()
    z = c.sum() / math.sqrt(2.0 * (c * c).sum())
    central = log_ndtr(z) / math.log(10.0)
    if c.max() <= 0.0:
        return Tail(-math.inf, -math.inf, central)
    if c.min() >= 0.0:
        return Tail(0.0, 0.0, central)

    def cumulant(s):
        return -0.5 * np.log(1.0 - 2.0 * np.multiply.outer(s, c)).sum(-1)

    def slope(s):
        return (c / (1.0 - 2.0 * s * c)).sum()

    end = 0.5 / c.max()
    low, high = 1e-15 * end, (1.0 - 1e-13) * end
    s = brentq(lambda s: slope(s) - 1.0 / s, low, high, xtol=1e-300)
    curvature = (2.0 * (c / (1.0 - 2.0 * s * c)) ** 2).sum() + s**-2
    v = np.arange(0.0, 14.0, 0.01)
    t, step = np.sinh(v) / math.sqrt(curvature), 0.01 * np.cosh(v) / math.sqrt(curvature)
    value = np.exp(cumulant(s + 1j * t) - cumulant(s)) / (1.0 + 1j * t / s)
    weights = np.where(v == 0.0, 0.5, 1.0) * step
    exact = cumulant(s) - math.log(s) + math.log((weights * value.real).sum() / math.pi)
    best = brentq(slope, 0.0, high, xtol=1e-300) if slope(0.0) < 0.0 else 0.0
    bound = float(cumulant(best))
    assert exact <= bound + 1e-9
    return Tail(exact / math.log(10.0), bound / math.log(10.0), central)


@mpmath.workdps(40)
def check_tail():
    """Compare with the law of a ratio of two chi-squares, a beta function, and with samples."""
    for m, n, a, b in ((1, 1, 0.3, 1.0), (10, 50, 0.2, 0.7), (100, 400, 0.2, 1.0), (20, 480, 1, 1)):
        found = tail([a] * m + [-b] * n).exact
        x = mpmath.mpf(a) / (mpmath.mpf(a) + mpmath.mpf(b))
        law = mpmath.log10(mpmath.betainc(n / 2, m / 2, 0, x, regularized=True))
        assert abs(found - float(law)) < 1e-9 * max(1.0, abs(found)), (found, law)
    rng = np.random.default_rng(0)
    c = rng.standard_normal(60) - 0.5
    seen = np.mean(rng.standard_normal((200_000, 60)) ** 2 @ c > 0.0)
    p = 10.0 ** tail(c).exact
    assert abs(seen - p) < 4.0 * math.sqrt(p / 200_000)


def tails(alphas):
    """Return the error rates on the inner and on the outer sphere."""
    return tail(alphas - 1.0), tail(LOWEST - alphas)


def distances_to_errors(c, x):
    """Return the distances of unit vectors to the nearest z of the unit sphere, sum c_i z_i² >= 0.

    The nearest one is x_i / (1 - nu c_i), brought to the sphere, nu the root of an increasing
    function; in the coordinates of the singular vectors.
    """
    if c.max() <= 0.0:
        return np.full(len(x), np.inf)
    low, high = np.zeros(len(x)), np.full(len(x), 1.0 / c.max())
    for _ in range(100):
        nu = 0.5 * (low + high)
        is_beyond = (c * (x / (1.0 - nu[:, None] * c)) ** 2).sum(1) >= 0.0
        low, high = np.where(is_beyond, low, nu), np.where(is_beyond, nu, high)
    z = x / (1.0 - high[:, None] * c)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    is_wrong = (c * x * x).sum(1) >= 0.0
    return np.where(is_wrong, 0.0, np.linalg.norm(z - x, axis=1))


def nearest_errors(alphas, num=500):
    """Return the distances of points to the nearest error on their sphere, where there is one."""
    x = np.random.default_rng(0).standard_normal((num, len(alphas)))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    found = np.concatenate(
        [distances_to_errors(alphas - 1.0, x), RADIUS * distances_to_errors(LOWEST - alphas, x)]
    )
    return found[np.isfinite(found)]


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


@dataclass(frozen=True)
class Snapshot:
    """A network at some time of its training."""

    num_examples: int
    scale: float  # w
    norm: float  # the largest singular value of W
    alphas: np.ndarray  # ascending


@torch.no_grad()
def snapshot(model, num_examples):
    """Return what matters of a network."""
    singular = torch.linalg.svdvals(model.weight.double()).numpy()
    alphas = np.sort(-float(model.scale) * singular**2 / float(model.shift))
    return Snapshot(num_examples, float(model.scale), float(singular.max()), alphas)


def share_in_range(alphas):
    """Return the share of alphas that a network without errors may have."""
    return float(np.mean((alphas >= LOWEST) & (alphas <= 1.0)))


def start(kind, dim, generator):
    """Return a network with singular values near 1 or equal to 1."""
    weight = torch.randn(2 * dim, dim, generator=generator) / math.sqrt(2 * dim)
    return Quadratic(torch.linalg.qr(weight).Q if kind == "orthogonal start" else weight)


def train(kind, dim, seed):
    """Train on a million examples that are never repeated; return snapshots and errors drawn."""
    generator = torch.Generator().manual_seed(seed)
    model = start(kind, dim, generator)
    optimizer = torch.optim.Adam(
        [
            {"params": [model.scale, model.shift], "lr": 3e-2},
            {"params": [model.weight], "lr": 1e-4},
        ],
        fused=True,
    )
    history, errors = [snapshot(model, 0)], {}
    for num in range(50, DRAWN[-1] + 1, 50):
        x, y = sample(50, dim, generator)
        optimizer.zero_grad()
        losses.binary_tau_cross_entropy(model(x), y, tau=1.0, check=False).backward()
        optimizer.step()
        if num in DRAWN:
            history.append(snapshot(model, num))
        if num in SHOWN:
            errors[num] = observed_errors(model, dim, torch.Generator().manual_seed(num + seed))
    return history, errors


@torch.no_grad()
def observed_errors(model, dim, generator):
    """Return how many of fresh examples are on the wrong side."""
    wrong = 0
    for _ in range(NUM_TEST // 10_000):
        x, y = sample(10_000, dim, generator)
        wrong += int((model(x) * y <= 0.0).sum())
    return wrong


def second_moments(num, dim, seed):
    """Return the alphas of f(x) = x'(S_1 - S_0)x + b: no training, one look at each example."""
    generator = torch.Generator().manual_seed(seed)
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


def power(exponents):
    """Return error rates in words, by the mean of their logarithms over the seeds that err."""
    finite = [value for value in exponents if value > -math.inf]
    if not finite:
        return "0"
    mean = np.mean(finite)
    return f"{10.0**mean:.1g}" if mean > -3.0 else f"1e{mean:.0f}"


def rates(found, which):
    """Return a cell: the rates on the inner and on the outer sphere."""
    return ", ".join(power([getattr(pair[i], which) for pair in found]) for i in (0, 1))


def row(name, num, alphas, runs=()):
    """Return a row of the first table: alphas of several seeds, snapshots and errors drawn."""
    found = [tails(a) for a in alphas]
    nearest = [np.median(near) for a in alphas if len(near := nearest_errors(a))]
    return [
        name,
        f"{num:,}",
        spread([shot.scale for shot, _ in runs], "{:.3g}") if runs else "",
        spread([shot.norm for shot, _ in runs], "{:.2f}") if runs else "",
        spread([100.0 * share_in_range(a) for a in alphas], "{:.0f}"),
        spread([wrong for _, wrong in runs], "{:.0f}") if runs else "",
        rates(found, "exact"),
        rates(found, "chernoff"),
        rates(found, "central_limit"),
        spread(nearest) if nearest else "none",
    ]


# ---------------------------------------------------------------- 1-Lipschitz networks


class SpectralNorm(nn.Module):
    """x -> Wx / |W|: 1-Lipschitz, and not orthogonal."""

    def __init__(self, dim, generator):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dim, dim, generator=generator) / math.sqrt(dim))

    def forward(self, x):
        """Return the product."""
        return x @ (self.weight / torch.linalg.matrix_norm(self.weight, 2)).T


class Threshold(nn.Module):
    """Subtract a learned number."""

    def __init__(self):
        super().__init__()
        self.c = nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        """Return the difference."""
        return x - self.c


def lipschitz_network(kind, dim, seed):
    """Return a 1-Lipschitz network with one output."""
    generator = torch.Generator().manual_seed(seed)
    if kind == "GroupSort":
        return group_sort_network((dim, 128, 128, 1), seed)
    orthogonal = layers.OrthogonalLinear(dim, dim, bias=False, generator=generator)
    first = orthogonal if kind == "orthogonal W" else SpectralNorm(dim, generator)
    return nn.Sequential(first, layers.NormPool(dim), Threshold())


def study_few(kind, dim, num, seed):
    """Train on a few examples; return the error rate, the certificates, and what breaks them."""
    generator = torch.Generator().manual_seed(100 + seed)
    x, y = sample(num, dim, generator)
    y[0], y[1] = -1.0, 1.0  # at least one of each
    x = x / x.norm(dim=1, keepdim=True) * torch.where(y > 0.0, RADIUS, 1.0)[:, None]
    model = lipschitz_network(kind, dim, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, 300)
    for _ in range(300):
        optimizer.zero_grad()
        torch.relu(0.15 - y * model(x)[:, 0]).mean().backward()
        optimizer.step()
        schedule.step()
    x, y = sample(2_000, dim, generator)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    margin = model(x)[:, 0] * y
    is_right = margin > 0.0
    x, y, margin = x[is_right][:300], y[is_right][:300], margin[is_right][:300]
    broken = []
    for factor in (0.999, 1.1, 2.0):
        moved = climb(lambda points: -y * model(points)[:, 0], x, factor * margin, 20)
        broken.append(float((model(moved)[:, 0] * y <= -1e-6).float().mean()))
    return 1.0 - float(is_right.float().mean()), float(margin.median()), broken


def print_few(dim, seeds):
    """Print the second table; check what the answer claims of it."""
    rows = []
    for kind in ("orthogonal W", "W / largest singular value", "GroupSort"):
        for num in (2, 20, 200, 2_000):
            runs = [study_few(kind, dim, num, seed) for seed in seeds]
            assert all(run[2][0] == 0.0 for run in runs), "a certificate is broken"
            if kind == "orthogonal W":
                assert all(run[0] == 0.0 and abs(run[1] - 0.15) < 0.01 for run in runs)
                assert all(run[2][1] > 0.99 for run in runs)
            rows.append(
                [
                    kind if num == 2 else "",
                    f"{num:,}",
                    spread([run[0] for run in runs]),
                    spread([run[1] for run in runs]),
                    *(spread([run[2][i] for run in runs], "{:.2f}") for i in range(3)),
                ]
            )
    table(
        "| network | examples | error rate | certificate, median | broken at 0.999 of it "
        "| at 1.1 | at 2 |",
        rows,
    )


# ---------------------------------------------------------------- main


def main():
    """Run the study, print its tables, draw."""
    parser = argparse.ArgumentParser(description="the study of two spheres")
    parser.add_argument("--full", action="store_true", help="500 dimensions, some minutes")
    is_full = parser.parse_args().full
    dim, seeds = (500, range(1)) if is_full else (60, range(3))
    check_tail()
    rows, histories = [], {}
    for name in COLOURS:
        runs = [train(name, dim, seed) for seed in seeds]
        histories[name] = runs[0][0]
        for num in SHOWN:
            shots = [(history[1 + DRAWN.index(num)], errors[num]) for history, errors in runs]
            rows.append(row(name, num, [shot.alphas for shot, _ in shots], shots))
    for num in (50_000, 500_000):
        alphas = [second_moments(num, dim, seed) for seed in seeds]
        rows.append(row("second moments", num, alphas))
    assert min(share_in_range(a) for a in alphas) > 0.99
    table(
        "| start | training examples | w | largest singular value of W | alphas in range, % "
        "| errors in 100,000 drawn | error rates, inner and outer: exact | Chernoff bound "
        "| central limit | nearest error, median |",
        rows,
    )
    shares = [share_in_range(shot.alphas) for shot in histories["Gaussian start"]]
    assert shares[-1] > shares[3] > shares[1], "training moves the alphas into the range"
    assert is_full or shares[-1] == 1.0
    inner, _ = tails(histories["orthogonal start"][3].alphas)  # after 150,000 examples
    assert not is_full or -math.inf < inner.exact < 2.0 * inner.central_limit
    if not is_full:
        print_few(dim, seeds)
        draw(histories)


def draw(histories):
    """Draw alphas, their share in range, error rates, distances to the nearest error."""
    figure, axes = plt.subplots(2, 2, figsize=(10.4, 7.4), layout="constrained")
    axes[0, 0].axhspan(LOWEST, 1.0, color="0.88", zorder=0)
    for name, history in histories.items():
        colour, num = COLOURS[name], [shot.num_examples / 1e3 for shot in history[1:]]
        for shot, style in ((history[3], "-"), (history[-1], "--")):
            alphas = shot.alphas
            rank = np.linspace(0.0, 100.0, len(alphas))
            label = f"{name}, {shot.num_examples:,}"
            axes[0, 0].plot(rank, alphas, style, color=colour, label=label)
        shares = [100.0 * share_in_range(shot.alphas) for shot in history[1:]]
        axes[0, 1].plot(num, shares, "o-", color=colour, label=name, markersize=4)
        found = [tails(shot.alphas) for shot in history[1:]]
        for which, style in (("exact", "o-"), ("central_limit", ":")):
            worst = [max(getattr(pair[0], which), getattr(pair[1], which)) for pair in found]
            label = f"{name}, {which.replace('_', ' ')}"
            shown = [value if np.isfinite(value) else np.nan for value in worst]
            axes[1, 0].plot(num, shown, style, color=colour, markersize=4, label=label)
        nearest = nearest_errors(history[3].alphas)
        if len(nearest):
            axes[1, 1].hist(nearest, bins=40, color=colour, alpha=0.6, label=name)
    axes[0, 0].set(xlabel="rank (% of the dimensions)", ylabel="alpha")
    axes[0, 0].set_title("Alphas; the range of no error in grey")
    axes[0, 1].set(xlabel="training examples (thousands)", ylabel="alphas in range (%)")
    axes[0, 1].set(xscale="log", ylim=(-4, 104), title="Share of alphas in range")
    axes[1, 0].set(xlabel="training examples (thousands)", ylabel="log10 of the error rate")
    axes[1, 0].set(xscale="log", title="Error rate of the worse sphere, while it is not 0")
    axes[1, 1].set(xlabel="distance to the nearest error", ylabel="points of both spheres")
    axes[1, 1].set_title("After 150,000 examples")
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=8)
    figure.savefig("spheres.png", dpi=110)


if __name__ == "__main__":
    main()
