"""What does it do to the alphas if the weights of the spheres' network are random?

Variance propagation (Dera, Rasool and Bouaynaya, Extended variational inference, MLSP 2019): each
entry of W has a mean and a variance, both are trained. For a given x the product Wx is normal,
`propagation.propagate` takes mean and variance through the squares and their sum, and the loss is
that of a normal f(x), with a price for the distance from a prior (the evidence lower bound) or
without. Three networks come out of it: the mean of f over the weights, whose matrix is W'W at the
means plus the sums of the variances, the network with all weights at their means, and one with
weights drawn. Each has its alphas, and the exact error rates of experiments/spheres.py.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from common import spread, table
from spheres import rates, sample, share_in_range, tails
from torch import nn

from infogeo.lipschitz.propagation import Square, propagate
from infogeo.normal import Normal

DIM, SEEDS, SHOWN = 60, range(3), (2_500, 150_000, 500_000)
PRIOR_STD = 1.0 / math.sqrt(2 * DIM)  # of each weight: that of the Gaussian start
NODES, WEIGHTS = (torch.from_numpy(a).float() for a in np.polynomial.hermite_e.hermegauss(16))
WEIGHTS = WEIGHTS / WEIGHTS.sum()


class RandomQuadratic(nn.Module):
    """f(x) = w |Wx|^2 + b, the entries of W independent normals."""

    def __init__(self, is_random, generator):
        super().__init__()
        self.mean = nn.Parameter(PRIOR_STD * torch.randn(2 * DIM, DIM, generator=generator))
        start = torch.full((2 * DIM, DIM), math.log(0.3 * PRIOR_STD))
        self.log_std = nn.Parameter(start) if is_random else None
        self.scale, self.shift = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(-1.0))

    def variances(self):
        """Return the variances of the weights."""
        return torch.zeros(()) if self.log_std is None else (2.0 * self.log_std).exp()

    def first(self, x):
        """Return mean and variance of Wx, whose entries are independent normals."""
        return x @ self.mean.T, x.square() @ self.variances().expand_as(self.mean).T

    def moments(self, x):
        """Return mean and standard deviation of f(x), in closed form."""
        mean, variance = self.first(x)
        squares = 2.0 * variance.square() + 4.0 * mean.square() * variance
        f = self.scale * (mean.square() + variance).sum(1) + self.shift
        return f, self.scale.abs() * (squares.sum(1) + 1e-20).sqrt()

    def divergence(self):
        """Return the divergence of the weights' distribution from the prior."""
        squares = (self.variances() + self.mean.square()) / PRIOR_STD**2
        return (0.5 * squares - 0.5 - self.log_std + math.log(PRIOR_STD)).sum()


@torch.no_grad()
def check_moments(model, x):
    """Compare the closed form with `propagate`, and with drawn weights."""
    head = nn.Linear(2 * DIM, 1)
    head.weight.copy_(model.scale.expand(1, 2 * DIM))
    head.bias.copy_(model.shift.reshape(1))
    mean, variance = (v.double() for v in model.first(x))
    found = propagate(nn.Sequential(Square(), head), Normal(mean, variance.sqrt()))
    f, std = model.moments(x)
    assert torch.allclose(found.mean[:, 0].float(), f, rtol=1e-4, atol=1e-4)
    assert torch.allclose(found.cov[:, 0, 0].sqrt().float(), std, rtol=1e-4)


def train(kind, seed):
    """Train; return what matters after each of the numbers of examples."""
    generator = torch.Generator().manual_seed(seed)
    model = RandomQuadratic(kind != "fixed", generator)
    groups = [
        {"params": [model.scale, model.shift], "lr": 3e-2},
        {"params": [model.mean], "lr": 1e-4},
    ]
    if kind != "fixed":
        groups.append({"params": [model.log_std], "lr": 1e-3})
    optimizer, found = torch.optim.Adam(groups, fused=True), []
    for num in range(50, SHOWN[-1] + 1, 50):
        x, y = sample(50, DIM, generator)
        f, std = model.moments(x)
        loss = nn.functional.softplus(-y[:, None] * (f[:, None] + std[:, None] * NODES))
        loss = (loss @ WEIGHTS).mean()
        if kind == "random, with a prior":
            loss = loss + model.divergence() / SHOWN[-1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if num in SHOWN:
            if kind != "fixed":
                check_moments(model, x)
            found.append(snapshot(model, generator))
    return found


@dataclass(frozen=True)
class Snapshot:
    """A network at some time of its training."""

    noise: float  # of the weights: the root of their mean variance over that of the prior
    alphas: dict  # of the mean of f, of the weights at their means, of drawn weights


@torch.no_grad()
def snapshot(model, generator):
    """Return what matters of a network."""
    variances = model.variances().expand_as(model.mean)
    drawn = model.mean + variances.sqrt() * torch.randn(model.mean.shape, generator=generator)
    at_means = model.mean.T @ model.mean
    grams = {"mean of f": at_means + torch.diag(variances.sum(0)), "weights at means": at_means}
    grams["weights drawn"] = drawn.T @ drawn
    factor = -float(model.scale / model.shift)
    alphas = {n: factor * torch.linalg.eigvalsh(g.double()).numpy() for n, g in grams.items()}
    noise = float(variances.mean().sqrt()) / PRIOR_STD
    return Snapshot(noise, alphas)


def row(kind, num, name, shots):
    """Return a row of the table."""
    alphas = [shot.alphas[name] for shot in shots]
    noise = "" if kind == "fixed" else spread([shot.noise for shot in shots], "{:.2f}")
    return [
        kind,
        f"{num:,}",
        "" if kind == "fixed" else name,
        noise,
        spread([a.min() for a in alphas], "{:.2f}"),
        spread([a.max() for a in alphas], "{:.2f}"),
        spread([100.0 * share_in_range(a) for a in alphas], "{:.0f}"),
        rates([tails(a) for a in alphas], "exact"),
    ]


def check(ends):
    """Check what the answer claims of the networks at the end."""
    share = {
        (kind, name): np.mean([share_in_range(shot.alphas[name]) for shot in shots])
        for kind, shots in ends.items()
        for name in shots[0].alphas
    }
    assert share["fixed", "weights at means"] > 0.95
    for kind in ("random, no prior", "random, with a prior"):
        assert share[kind, "mean of f"] > 0.98
        for shot in ends[kind]:  # the noise adds nearly the same number to all alphas
            shift = shot.alphas["mean of f"] - shot.alphas["weights at means"]
            assert np.ptp(shift) < 0.05
    assert share["random, no prior", "weights drawn"] > 0.8
    assert share["random, with a prior", "weights drawn"] < 0.6
    noise = {kind: np.mean([shot.noise for shot in shots]) for kind, shots in ends.items()}
    # At the start it is 0.3.
    assert noise["random, no prior"] < 0.25 < 0.4 < noise["random, with a prior"]
    assert share["random, with a prior", "weights at means"] > 0.9


def main():
    """Train with fixed and with random weights, print."""
    torch.set_num_threads(1)
    rows, ends = [], {}
    for kind in ("fixed", "random, no prior", "random, with a prior"):
        runs = [train(kind, seed) for seed in SEEDS]
        ends[kind] = [run[-1] for run in runs]
        for num, shots in list(zip(SHOWN, zip(*runs, strict=True), strict=True))[1:]:
            names = ("weights at means",) if kind == "fixed" else shots[0].alphas
            rows += [row(kind, num, name, shots) for name in names]
    table(
        "| weights | training examples | network | noise of a weight / prior | least alpha "
        "| largest alpha | alphas in range, % | error rates, inner and outer |",
        rows,
    )
    check(ends)


if __name__ == "__main__":
    main()
