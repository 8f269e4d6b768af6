"""Which margin protects against perturbations in the maximum norm?

The layers have rows of l1 norm 1, so that each logit changes by K = 1 at most times the largest
change of a pixel. A hinge with margin kappa trains them on scikit-learn's digits. A margin beyond
2 K eps is a certificate; the attacks look for inputs that a smaller one does not protect.
"""

import itertools
import math

import torch
from common import digits, spread, table
from torch import nn

from infogeo.lipschitz import certificates, layers, losses

EPS, SEEDS, BINS = 0.06, range(3), (0.0, 0.25, 0.5, 0.75, 1.0, math.inf)
FACTORS = (0.5, 1.0, 2.0, 4.0)  # kappa / (K eps)


class RowsOfNormOne(nn.Module):
    """Divides each row of a matrix by its l1 norm."""

    def forward(self, weight):
        """Return the matrix of operator norm 1 in the maximum norm."""
        return weight / weight.abs().sum(1, keepdim=True)


def train(margin, x, y, seed):
    """Return a network whose logits are 1-Lipschitz in the maximum norm, trained with a hinge."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for num_in, num_out in itertools.pairwise((64, 64, 10)):
        layer = nn.Linear(num_in, num_out)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(num_out, num_in, generator=generator))
            layer.bias.zero_()
        nn.utils.parametrize.register_parametrization(layer, "weight", RowsOfNormOne())
        parts += [layer, layers.GroupSort()]
    model = nn.Sequential(*parts[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(40):
        for rows in torch.randperm(len(x), generator=generator).split(200):
            optimizer.zero_grad()
            losses.multiclass_hinge(model(x[rows]), y[rows], margin=margin).backward()
            optimizer.step()
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.utils.parametrize.remove_parametrizations(layer, "weight")
    return model.requires_grad_(False)


def is_broken(model, x, y, radius):
    """Return which inputs leave their class under an attack on each of the other classes."""
    broken = torch.zeros(len(x), dtype=torch.bool)
    for other in range(10):
        moved = x.clone()
        target = torch.full_like(y, other)
        for step_number in range(20):
            moved.requires_grad_(True)
            z = model(moved)
            gap = z.gather(1, target[:, None]) - z.gather(1, y[:, None])
            (gradient,) = torch.autograd.grad(gap.sum(), moved)
            step = radius * (0.4 if step_number < 12 else 0.1) * gradient.sign()
            moved = x + (moved.detach() + step - x).clamp(-radius, radius)
        broken |= model(moved).argmax(1) != y
    return broken


def study(model, x, y):
    """Return clean, certified and attacked accuracy, and what share breaks in each bin."""
    z, bound = model(x), layers.lipschitz_bound(model, order=math.inf)
    assert abs(bound - 1.0) < 1e-5
    found = certificates.coverage(z, y, [EPS], lipschitz_constant=bound, order=math.inf)
    accepted = certificates.accept(z, EPS, lipschitz_constant=bound, order=math.inf)
    broken, is_right = is_broken(model, x, y, EPS), z.argmax(1) == y
    assert not bool((broken & is_right & accepted).any())
    ratio = certificates.l_inf_radius(z, lipschitz_constant=bound) / EPS
    shares = []
    for low, high in itertools.pairwise(BINS):
        inside = is_right & (ratio > low) & (ratio <= high)
        shares.append((int((inside & broken).sum()), int(inside.sum())))
    certified = float(found.certified_accuracy[0])
    attacked = float((is_right & ~broken).float().mean())
    return float(is_right.float().mean()), certified, attacked, shares


def tightest():
    """Check a network that loses its class as soon as the margin is below 2 K eps."""
    weight = torch.full((1, 4), 0.25, dtype=torch.float64)
    weight, x = torch.cat([weight, -weight]), torch.full((1, 4), 0.3, dtype=torch.float64)
    z = x @ weight.T
    radius = float(certificates.l_inf_radius(z[0], lipschitz_constant=1.0))
    for factor, is_lost in ((0.999, False), (1.001, True)):
        moved = (x - factor * radius) @ weight.T
        assert (int(moved.argmax()) != int(z.argmax())) == is_lost
    assert certificates.accept(z, 0.999 * radius, lipschitz_constant=1.0, order=math.inf).all()


def main():
    """Train with four margins, attack, and count what breaks by the margin that it had."""
    tightest()
    rows, counts = [], torch.zeros(len(BINS) - 1, 2)
    for factor in FACTORS:
        runs = []
        for seed in SEEDS:
            (x, y), (x_new, y_new) = digits(seed)
            runs.append(study(train(factor * EPS, x, y, seed), x_new, y_new))
            counts += torch.tensor(runs[-1][3])
        clean, certified, attacked, _ = zip(*runs, strict=True)
        assert all(c <= a + 1e-9 for c, a in zip(certified, attacked, strict=True))
        rows.append([f"{factor:g} K eps", *(spread(v) for v in (clean, certified, attacked))])
    table("| kappa | accuracy | certified at eps = 0.06 | attacked |", rows)
    shares = [float(broken / all_of_them) for broken, all_of_them in counts]
    assert shares[0] > 0.9
    assert shares[1] > 0.2
    assert shares[-1] == 0.0
    names = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(BINS[:-1])] + ["more"]
    table(
        "| margin / (2 K eps) | inputs | lost to the attack |",
        [
            [name, f"{int(size):,}", f"{share:.3f}"]
            for name, (_, size), share in zip(names, counts, shares, strict=True)
        ],
    )


if __name__ == "__main__":
    main()
