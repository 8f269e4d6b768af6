"""Dynamical isometry, and product bounds when the loss goes to 0
==============================================================

Two questions about stacks of layers. What happens to the singular values of the input-output
Jacobian as layers are added, for Gaussian or orthogonal weights, with ReLU or GroupSort? And what
happens to the product of the layers' spectral norms, the usual bound on the Lipschitz constant,
while an unconstrained network's cross-entropy goes to 0?

Draws depth.png.
"""

import math

import numpy as np
import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch import nn

from infogeo.lipschitz import layers, losses

WIDTH, DEPTHS, NUM_INPUTS = 48, (1, 2, 4, 8, 16, 32), 8
EPOCHS = (1, 3, 10, 30, 100)
KINDS = {  # name: (weights, activation, colour)
    "Gaussian, ReLU": ("gaussian", nn.ReLU, "#D55E00"),
    "orthogonal, ReLU": ("orthogonal", nn.ReLU, "#E69F00"),
    "orthogonal, GroupSort": ("orthogonal", layers.GroupSort, "#0072B2"),
}


def stack(weights, activation, depth, generator):
    """Return a network of square layers, in float64."""
    blocks = []
    for _ in range(depth):
        linear = nn.Linear(WIDTH, WIDTH, bias=False, dtype=torch.float64)
        scale = math.sqrt(2.0 / WIDTH)  # He's: keeps the mean square behind a ReLU
        matrix = torch.randn(WIDTH, WIDTH, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(
                scale * matrix if weights == "gaussian" else torch.linalg.qr(matrix).Q
            )
        blocks += [linear, activation()]
    return nn.Sequential(*blocks)


def spectra():
    """Return the singular values of the Jacobians, by kind and depth."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(NUM_INPUTS, WIDTH, generator=generator, dtype=torch.float64)
    return {
        name: [
            layers.jacobian_spectrum(stack(weights, activation, depth, generator), x)
            for depth in DEPTHS
        ]
        for name, (weights, activation, _) in KINDS.items()
    }


def train_and_bound(model, x, y, loss):
    """Return (cross-entropy, product bound) after each of the epochs."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    found = []
    for epoch in range(1, EPOCHS[-1] + 1):
        for rows in torch.randperm(len(x), generator=generator).split(100):
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
        if epoch in EPOCHS:
            with torch.no_grad():
                entropy = float(nn.functional.cross_entropy(model(x), y))
            found.append((entropy, layers.lipschitz_bound(model)))
    return found


def bounds():
    """Train an unconstrained and a 1-Lipschitz network on digits."""
    bunch = load_digits()
    x, y = torch.from_numpy(bunch.data[:600] / 16.0).float(), torch.from_numpy(bunch.target[:600])
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    ours = nn.Sequential(
        layers.OrthogonalLinear(64, 48), layers.GroupSort(), layers.OrthogonalLinear(48, 10)
    )
    return {
        "unconstrained": train_and_bound(plain, x, y, nn.functional.cross_entropy),
        "1-Lipschitz": train_and_bound(
            ours, x, y, lambda z, t: losses.tau_cross_entropy(z, t, tau=10.0)
        ),
    }


def draw(values, found):
    """Draw both answers."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 4.2), layout="constrained")
    for name, (_, _, colour) in KINDS.items():
        mean = [float((s**2).mean().sqrt()) for s in values[name]]
        largest = [float(s.max()) for s in values[name]]
        left.plot(DEPTHS, mean, "o-", color=colour, label=name)
        left.plot(DEPTHS, largest, ":", color=colour, linewidth=1.8)
    left.plot([], [], ":", color="0.3", label="the largest")
    left.set(xscale="log", yscale="log", xlabel="layers")
    left.set_xticks(DEPTHS, DEPTHS)
    left.set_ylabel("singular values of the Jacobian,\nroot mean square")
    left.legend(loc="lower left", fontsize=9)
    for (name, pairs), colour in zip(found.items(), ("#D55E00", "#0072B2"), strict=True):
        right.plot(*np.array(pairs).T, "o-", color=colour, label=name)
    right.set(
        xscale="log",
        yscale="log",
        xlabel="cross-entropy on the training images (nats)",
        ylabel="product of the spectral norms",
    )
    right.invert_xaxis()
    right.legend(fontsize=9)
    right.set_yticks([1.0, 3.0, 10.0, 20.0], ["1", "3", "10", "20"])
    figure.savefig("depth.png", dpi=110)


def main():
    """Measure, draw, and print the numbers."""
    values, found = spectra(), bounds()
    for name, of_depth in values.items():
        last = of_depth[-1]
        print(f"{name}, {DEPTHS[-1]} layers: {float(last.min()):.2g} to {float(last.max()):.2g}")
    exact = torch.cat([s.flatten() for s in values["orthogonal, GroupSort"]])
    print(f"orthogonal, GroupSort: all within {float((exact - 1.0).abs().max()):.0e} of 1")
    assert float((exact - 1.0).abs().max()) < 1e-12
    for name, pairs in found.items():
        for epoch, (entropy, bound) in zip(EPOCHS, pairs, strict=True):
            print(f"{name}, {epoch} epochs: cross-entropy {entropy:.2g}, product {bound:.4g}")
    plain = [bound for _, bound in found["unconstrained"]]
    assert plain == sorted(plain)
    assert all(bound < 1.0 + 1e-4 for _, bound in found["1-Lipschitz"])
    draw(values, found)


if __name__ == "__main__":
    main()
