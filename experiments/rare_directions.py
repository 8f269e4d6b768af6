"""What does a network say in directions that it has hardly seen? Ellipsoids with rare directions

The ellipsoids of experiments/ellipsoids.py, axes 3, 2, 1 and 1 and 1.3 times as long. Most
examples lie in the plane of the unit axes; a share of 30, 3 or 0.3 % has all directions.
"""

import math

import torch
from common import climb, group_sort_network, relu_network, spread, table
from torch import nn

from infogeo.lipschitz import layers

AXES, RADIUS, NUM_UNIT = torch.tensor([3.0, 2.0, 1.0, 1.0]), 1.3, 2
NUM_TRAIN, SEEDS, SHARES = 5_000, range(3), (0.3, 0.03, 0.003)


class Quadratic(nn.Module):
    """The network w |Wx|^2 + b of the spheres."""

    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.W = nn.Parameter(0.5 * torch.randn(16, 4, generator=generator))
        self.w, self.b = nn.Parameter(torch.ones(())), nn.Parameter(-torch.ones(()))

    def forward(self, x):
        """Return one number for each point."""
        return (self.w * (x @ self.W.T).square().sum(1) + self.b)[:, None]


LIPSCHITZ = "GroupSort, 1-Lipschitz"
MAKERS = {  # with the steps and the rate of training
    "quadratic": (Quadratic, 2_000, 0.02),
    "ReLU": (lambda seed: relu_network((4, 64, 64, 64, 1), seed), 800, 5e-3),
    LIPSCHITZ: (lambda seed: group_sort_network((4, 64, 64, 64, 1), seed), 800, 5e-3),
}


def sample(num, num_rare, generator):
    """Return points of which the first num_rare have all directions, and -1 or 1."""
    x = torch.randn(num, 4, generator=generator)
    x[num_rare:, :-NUM_UNIT] = 0.0
    y = 2.0 * torch.randint(2, (num,), generator=generator) - 1.0
    x = x / x.norm(dim=1, keepdim=True)
    return torch.where(y > 0.0, RADIUS, 1.0)[:, None] * x * AXES, y


def train(name, share, seed):
    """Return a trained network: a hinge for the Lipschitz one, the cross-entropy for the others."""
    generator = torch.Generator().manual_seed(seed)
    x, y = sample(NUM_TRAIN, round(share * NUM_TRAIN), generator)
    make, num_steps, rate = MAKERS[name]
    model, is_lipschitz = make(seed), name == LIPSCHITZ
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=num_steps)
    for _ in range(num_steps):
        rows = torch.randint(NUM_TRAIN, (500,), generator=generator)
        margins = y[rows] * model(x[rows])[:, 0]
        loss = torch.relu(0.1 - margins) if is_lipschitz else nn.functional.softplus(-margins)
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
        schedule.step()
    return (layers.freeze(model) if is_lipschitz else model).requires_grad_(False)


def attack(model, x, y):
    """Check that certificates hold, right or wrong: inside the radius no sign changes."""
    f = model(x)[:, 0]
    rows = (y * f).argsort()[[*range(250), *range(-250, 0)]]
    x, f = x[rows], f[rows]
    moved = climb(lambda points: -f.sign() * model(points)[:, 0], x, 0.999 * f.abs(), 30)
    assert not bool(((model(moved)[:, 0] * f < 0.0) & (f.abs() > 1e-6)).any())


def study(name, share, seed):
    """Return the errors in %, of all directions and of the unit ones, and of the errors one radius.

    That is the largest certificate of an error, NaN if there is no error or no certificate.
    """
    model, generator = train(name, share, seed), torch.Generator().manual_seed(100 + seed)
    x, y = sample(20_000, 20_000, generator)
    margins = y * model(x)[:, 0]
    largest = float("nan")
    if name == LIPSCHITZ:
        attack(model, x, y)
        largest = float((-margins).max()) if bool((margins < 0.0).any()) else largest
    x_unit, y_unit = sample(20_000, 0, generator)
    wrong = [float((m <= 0.0).float().mean()) for m in (margins, y_unit * model(x_unit)[:, 0])]
    return 100.0 * wrong[0], 100.0 * wrong[1], largest


def main():
    """Train three kinds of networks on three shares, and count errors by direction."""
    rows, means = [], {}
    for name in MAKERS:
        for share in SHARES:
            everywhere, unit, wrong = zip(
                *[study(name, share, seed) for seed in SEEDS], strict=True
            )
            means[name, share] = sum(everywhere) / len(everywhere)
            assert max(unit) < 1.0
            rows.append(
                [
                    f"{name}, {100 * share:g} %",
                    f"{round(share * NUM_TRAIN):,}",
                    spread(everywhere, "{:.2f}"),
                    spread(unit, "{:.2f}"),
                    "" if math.isnan(sum(wrong)) else spread(wrong, "{:.2f}"),
                ]
            )
    table(
        "| network, share of all directions | such examples | errors there, % "
        "| errors in the unit directions, % | largest certificate of an error |",
        rows,
    )
    for name in MAKERS:
        assert means[name, 0.3] < 0.1
        assert means[name, 0.003] > 3.0
    assert means["quadratic", 0.03] < 0.1 < min(means["ReLU", 0.03], means[LIPSCHITZ, 0.03])


if __name__ == "__main__":
    main()
