"""How fast do product bounds diverge as the loss goes to 0, and where does it end?

A small network learns two clouds of points that a line separates. Gradient descent and
Gauss-Newton steps lower the logistic loss, written for the margin, log(1 + exp(-y f)), or for two
logits, log_softmax(-f/2, f/2): the same number, rounded in another way. The product of the
spectral norms bounds the slope.
"""

from dataclasses import dataclass

import numpy as np
import torch
from common import relu_network, spread, table
from torch import nn
from torch.func import functional_call, jacrev

SEEDS, NUM_POINTS, WIDTH = range(3), 40, 16


@dataclass(frozen=True)
class Run:
    """How a network is trained."""

    method: str  # gradient or Gauss-Newton
    dtype: torch.dtype
    form: str  # of the loss: margin or two logits
    num_steps: int


RUNS = [
    Run("gradient", torch.float64, "margin", 100),
    Run("gradient", torch.float64, "margin", 400),
    Run("Gauss-Newton", torch.float64, "margin", 20),
    Run("Gauss-Newton", torch.float64, "margin", 80),
    Run("Gauss-Newton", torch.float32, "margin", 80),
    Run("Gauss-Newton", torch.float64, "two logits", 80),
    Run("Gauss-Newton", torch.float32, "two logits", 80),
]


def clouds(seed, dtype):
    """Return points on both sides of a line and their classes, -1 or 1."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(NUM_POINTS, 2, generator=generator, dtype=torch.float64)
    y = torch.where(torch.arange(NUM_POINTS) % 2 == 0, 1.0, -1.0).double()
    x[:, 0] = y * (0.3 + x[:, 0].abs())
    return x.to(dtype), y.to(dtype)


def losses_of(f, y, form):
    """Return the loss of each point, its derivative by f and the square root of the second one."""
    if form == "margin":
        p = torch.sigmoid(-y * f)
        return nn.functional.softplus(-y * f), -y * p, p.sqrt() * (1.0 - p).sqrt()
    log_p = torch.stack((-0.5 * f, 0.5 * f), dim=1).log_softmax(1)
    row, right = torch.arange(len(y)), (y > 0.0).long()
    # What automatic differentiation of the two logits gives: p - 1 of the right one.
    p = log_p.exp()
    rest = 1.0 - p[row, right]
    return -log_p[row, right], -y * rest, p[:, 0].sqrt() * p[:, 1].sqrt()


def direction(run, outputs, values, f, y):
    """Return the changes of all weights that a step asks for."""
    _, first, root = losses_of(f, y, run.form)
    jacobian = torch.cat(
        [j.flatten(1) for j in jacrev(outputs, argnums=tuple(range(len(values))))(*values)], dim=1
    )
    if run.method == "gradient":
        change = -(first[:, None] * jacobian).mean(0)
    else:
        # All is divided by the largest second derivative, so that nothing underflows early.
        scale = root.max().clamp_min(torch.finfo(f.dtype).tiny)
        root = (root / scale).clamp_min(torch.finfo(f.dtype).tiny)
        rows = jacobian * root[:, None]
        gram = rows @ rows.T
        damping = 1e-3 * gram.diagonal().max() * torch.eye(len(y), dtype=f.dtype)
        change = rows.T @ torch.linalg.solve(gram + damping, -first / scale / root / scale)
    parts = change.split([value.numel() for value in values])
    return [part.reshape(value.shape) for part, value in zip(parts, values, strict=True)]


@torch.no_grad()
def step(run, model, x, y):
    """Take a step, half of it, and so on, until the loss falls; return whether it did."""
    names, values = zip(*model.named_parameters(), strict=True)

    def outputs(*values):
        return functional_call(model, dict(zip(names, values, strict=True)), (x,))[:, 0]

    f = outputs(*values)
    loss = losses_of(f, y, run.form)[0].mean()
    changes, size = direction(run, outputs, values, f, y), 1.0
    for _ in range(30):
        new = [value + size * change for value, change in zip(values, changes, strict=True)]
        if losses_of(outputs(*new), y, run.form)[0].mean() < loss:
            for value, moved in zip(values, new, strict=True):
                value.copy_(moved)
            return True
        size *= 0.5
    return False


def study(run, seed):
    """Return the steps taken, the loss, the product of the norms, the least margin over it."""
    x, y = clouds(seed, run.dtype)
    model = relu_network((2, WIDTH, 1), seed).to(run.dtype)
    num_steps = 0
    while num_steps < run.num_steps and step(run, model, x, y):
        num_steps += 1
    with torch.no_grad():
        f = model(x)[:, 0].double() * y.double()
    product = np.prod(
        [float(torch.linalg.matrix_norm(layer.weight.detach().double(), 2)) for layer in model[::2]]
    )
    return num_steps, float(nn.functional.softplus(-f).mean()), product, float(f.min() / product)


def main():
    """Train in all ways, print."""
    rows, end = [], {}
    for run in RUNS:
        found = [study(run, seed) for seed in SEEDS]
        taken, loss, product, margin = zip(*found, strict=True)
        end[run] = max(loss), min(product)
        assert min(margin) > 0.05, "the margins grow with the product"
        rows.append(
            [
                run.method,
                str(run.dtype).removeprefix("torch."),
                run.form,
                spread(taken, "{:,.0f}"),
                f"{np.exp(np.mean(np.log(np.maximum(loss, 1e-300)))):.0e}",
                spread(product, "{:.3g}"),
                spread(margin),
            ]
        )
    exact, single, double, rounded = (end[run] for run in RUNS[-4:])
    assert max(exact[0], single[0]) < 1e-20
    assert exact[1] > 1.5 * end[RUNS[2]][1]
    assert 1e-19 < double[0] < 1e-13, "where two logits are rounded, the loss ends at eps"
    assert 1e-10 < rounded[0] < 1e-5
    table(
        "| steps of | precision | loss written for | number | loss | product of norms "
        "| smallest margin / product |",
        rows,
    )


if __name__ == "__main__":
    main()
