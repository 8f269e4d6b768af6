"""What the experiments share: how a table is printed, digits, networks and attacks on them."""

import itertools
import re

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from infogeo.lipschitz import layers
from infogeo.robustness import pgd_attack

NUM_TRAIN = 1400  # of the 1,797 digits of scikit-learn; the other 397 are for measuring


def table(header, rows):
    """Print a table of docs/experiments.md, which has this header."""
    print(header, "|" + "---|" * (header.count("|") - 1), sep="\n")
    for row in rows:
        print(re.sub(r"\|  (?=\|)", "| ", f"| {' | '.join(row)} |"))
    print()


def spread(values, form="{:.3f}"):
    """Return the mean of what several seeds gave, and the least and the largest."""
    mean, low, high = (
        re.sub(r"^-(?=[0.]*$)", "", form.format(f(values))) for f in (np.mean, np.min, np.max)
    )
    return mean if low == high else f"{mean} ({low} to {high})"


def digits(seed):
    """Return images as vectors of pixels from 0 to 1 and their classes: to train on, to measure."""
    bunch = load_digits()
    order = np.random.default_rng(seed).permutation(len(bunch.target))
    x, y = torch.from_numpy(bunch.data[order] / 16.0).float(), torch.from_numpy(bunch.target[order])
    return (x[:NUM_TRAIN], y[:NUM_TRAIN]), (x[NUM_TRAIN:], y[NUM_TRAIN:])


def group_sort_network(sizes, seed):
    """Return orthogonal layers with GroupSort in between: 1-Lipschitz."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for num_in, num_out in itertools.pairwise(sizes):
        parts += [layers.OrthogonalLinear(num_in, num_out, generator=generator), layers.GroupSort()]
    return nn.Sequential(*parts[:-1])


def relu_network(sizes, seed):
    """Return ordinary layers with ReLU in between."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = []
        for num_in, num_out in itertools.pairwise(sizes):
            parts += [nn.Linear(num_in, num_out), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def train(model, x, y, loss, *, seed, num_epochs=14, batch_size=200, rate=0.01):
    """Train with Adam."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(num_epochs):
        for rows in torch.randperm(len(x), generator=generator).split(batch_size):
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model


def log_odds(z, y):
    """Return log p / (1 - p) of the given classes."""
    others = z.scatter(1, y[:, None], -torch.inf).logsumexp(-1)
    return z.gather(1, y[:, None])[:, 0] - others


def climb(objective, x, radius, num_steps):
    """Return points within the l2 radius at which an objective, a number each, is large."""
    radius = torch.as_tensor(radius, dtype=x.dtype).reshape(-1, 1)
    moved = x.clone()
    for step_number in range(num_steps):
        moved.requires_grad_(True)
        (gradient,) = torch.autograd.grad(objective(moved).sum(), moved)
        gradient = gradient / gradient.norm(dim=1, keepdim=True).clamp_min(1e-12)
        size = radius * (0.5 if step_number < num_steps // 2 else 0.1)
        step = moved.detach() + size * gradient - x
        moved = x + step * (radius / torch.maximum(step.norm(dim=1, keepdim=True), radius))
    return moved


class DividedByNorm(nn.Module):
    """Divides a matrix by its spectral norm."""

    def forward(self, weight):
        """Return a matrix of norm 1."""
        return weight / torch.linalg.matrix_norm(weight, 2)


def attack_certificates(model, x, radii, seed=0):
    """Check that no certificate breaks, and that the same attack breaks most of twice the size."""
    generator = torch.Generator().manual_seed(seed)
    inside, beyond = (
        pgd_attack(model, x, radius=factor * radii, num_steps=15, generator=generator).success
        for factor in (0.999, 2.0)
    )
    assert not bool(inside.any())
    assert float(beyond.float().mean()) > 0.5
