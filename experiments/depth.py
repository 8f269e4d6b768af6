"""Dynamical isometry, and product bounds when the loss goes to 0

Two questions about stacks of layers. What happens to the singular values of the input-output
Jacobian as layers are added, for Gaussian or orthogonal weights, with ReLU or GroupSort? And what
happens to the product of the layers' spectral norms, the usual bound on the Lipschitz constant,
while an unconstrained network's cross-entropy goes to 0? It grows, and so do the margins: the
certified radii, margins over products, and the distances of attacks change little.

Draws depth.png.
"""

import copy
import itertools
import math
from dataclasses import astuple, dataclass

import numpy as np
import torch
from common import table
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import nn

from infogeo.lipschitz import certificates, layers, losses

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


@dataclass(frozen=True)
class Measured:
    """What is measured of a network: on training images the first, on others all from the third."""

    entropy: float
    product: float
    largest: float  # singular value of the Jacobians: no Lipschitz constant is smaller
    accuracy: float
    certified: float  # median radius over the right answers
    attacked: float  # median distance over the right answers to a wrong one


def attack_distances(model, x, y, num_steps=10):
    """Return the distances to the nearest wrong answers that DeepFool finds (inf: none found)."""
    rows, z = torch.arange(len(x)), x
    nearest = torch.full((len(x),), math.inf, dtype=x.dtype)
    for _ in range(num_steps):
        jacobian, f = torch.vmap(torch.func.jacrev(model))(z).detach(), model(z).detach()
        normal = jacobian - jacobian[rows, y][:, None]
        # Of the linearised boundaries the one nearest to x, not to z.
        offset = f[rows, y][:, None] - f + torch.einsum("nki,ni->nk", normal, z - x)
        distance = offset / normal.norm(dim=-1)
        distance[rows, y] = math.inf
        k = distance.abs().argmin(1)
        step = (offset[rows, k] / normal[rows, k].square().sum(-1))[:, None] * normal[rows, k]
        z = x + 1.001 * step
        wrong = model(z).argmax(1) != y
        nearest = torch.where(wrong, torch.minimum(nearest, (z - x).norm(dim=1)), nearest)
    return nearest


def measure(model, train, test):
    """Return what is measured of a network, in float64."""
    model = copy.deepcopy(model).double()
    with torch.no_grad():
        entropy = nn.functional.cross_entropy(model(train[0]), train[1])
        logits = model(test[0])
    product, right = layers.lipschitz_bound(model), logits.argmax(1) == test[1]
    radii = certificates.margin_radius(logits[right], lipschitz_constant=product)
    attacked = attack_distances(model, test[0][right], test[1][right])
    assert (attacked >= radii).all()
    return Measured(
        entropy=float(entropy),
        product=product,
        largest=float(layers.jacobian_spectrum(model, test[0]).max()),
        accuracy=float(right.double().mean()),
        certified=float(radii.median()),
        attacked=float(attacked.median()),
    )


def train_and_measure(model, train, test, loss):
    """Return what is measured after each of the epochs."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.006)
    x, y, found = train[0].float(), train[1], []
    for epoch in range(1, EPOCHS[-1] + 1):
        for rows in torch.randperm(len(x), generator=generator).split(200):
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
        if epoch in EPOCHS:
            found.append(measure(model, train, test))
    return found


def measurements():
    """Train an unconstrained and a 1-Lipschitz network on digits."""
    bunch = load_digits()
    x, y = torch.from_numpy(bunch.data / 16.0), torch.from_numpy(bunch.target)
    train, test = (x[:600], y[:600]), (x[600:1000], y[600:1000])
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    ours = nn.Sequential(
        layers.OrthogonalLinear(64, 48), layers.GroupSort(), layers.OrthogonalLinear(48, 10)
    )
    return {
        "unconstrained": train_and_measure(plain, train, test, nn.functional.cross_entropy),
        "1-Lipschitz": train_and_measure(
            ours, train, test, lambda z, t: losses.tau_cross_entropy(z, t, tau=10.0)
        ),
    }


def draw_bounds(ax, beside, found):
    """Draw products over cross-entropies, and radii over epochs beside them."""
    for (name, values), colour in zip(found.items(), ("#D55E00", "#0072B2"), strict=True):
        ax.plot(
            *np.array([(v.entropy, v.product) for v in values]).T, "o-", color=colour, label=name
        )
        certified = [v.certified for v in values]
        beside.plot(EPOCHS, certified, "o-", color=colour, label=f"{name}, certified")
    attacked = [v.attacked for v in found["unconstrained"]]
    beside.plot(EPOCHS, attacked, "s--", color="#D55E00", label="unconstrained, attacked")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="cross-entropy on the training images (nats)",
        ylabel="product of the spectral norms",
    )
    ax.invert_xaxis()
    ax.set_yticks([1.0, 3.0, 10.0, 20.0], ["1", "3", "10", "20"])
    ax.legend(fontsize=9)
    beside.set(xscale="log", xlabel="passes over the training images", ylim=(0.0, 0.75))
    beside.set_xticks(EPOCHS, EPOCHS)
    beside.set_ylabel("median distance, right test answers")
    beside.legend(loc="upper left", fontsize=9)


def draw(values, found):
    """Draw both answers."""
    figure = Figure(figsize=(13.0, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
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
    draw_bounds(middle, right, found)
    figure.savefig("depth.png", dpi=110)


def main():
    """Measure, draw, and print the numbers."""
    values, found = spectra(), measurements()
    exact = torch.cat([s.flatten() for s in values["orthogonal, GroupSort"]])
    assert float((exact - 1.0).abs().max()) < 1e-12
    last = {name: of_depth[-1] for name, of_depth in values.items()}
    assert float(last["orthogonal, ReLU"].max()) < 1e-3
    table(
        "| weights, activation | smallest singular value after 32 layers | largest |",
        [
            [name, *(f"{float(s):.1g}" if s > 1e-15 else "0" for s in (x.min(), x.max()))]
            for name, x in last.items()
        ],
    )
    table(
        "| | passes | cross-entropy, training | product | slope | accuracy | certified "
        "| attacked |",
        [
            [
                name if epoch == 1 else "",
                f"{epoch}",
                *(f"{number:.3f}" for number in astuple(value)),
            ]
            for name, measured in found.items()
            for epoch, value in zip(EPOCHS, measured, strict=True)
        ],
    )
    plain = found["unconstrained"]
    assert all(a.product < b.product for a, b in itertools.pairwise(plain))
    assert all(v.product < 1.0 + 1e-4 for v in found["1-Lipschitz"])
    assert plain[-1].product > 3.0 * plain[2].product
    assert plain[-1].attacked > 0.75 * plain[2].attacked
    assert found["1-Lipschitz"][-1].certified > 1.5 * plain[-1].certified
    draw(values, found)


if __name__ == "__main__":
    main()
