"""Can layers compensate each other? Lipschitz as a whole, and not layer by layer.

A product of norms is a bound for all networks with these norms. Three ways to make up for what it
leaves: dividing the whole network by the product while it is trained (Leino, Wang and Fredrikson,
Globally-robust neural networks, ICML 2021), scaling the hidden units up before and down behind
them (which changes no output of a ReLU network), and a semidefinite program (Fazlyab, Robey,
Hassani, Morari and Pappas, Efficient and accurate estimation of Lipschitz constants, NeurIPS 2019),
solved here by Newton's method on a barrier. Between the bounds and the slopes seen, a search over
the patterns of active units says how much a bound can still fall.
"""

import copy
import itertools
import math

import numpy as np
import torch
from common import DividedByNorm, digits, relu_network, spread, table
from torch import nn
from torch.nn.utils import parametrize

from infogeo.lipschitz import certificates, layers, losses
from infogeo.robustness import pgd_attack

SIZES, SEEDS, RADIUS = (64, 32, 10), range(3), 0.4
DEPTHS, WIDTH = (1, 2, 4, 8), 200

# ---------------------------------------------------------------- products of many matrices


def print_depths():
    """Print the norms of products of random matrices: no training, no activation."""
    rng, rows = np.random.default_rng(0), []
    for depth in DEPTHS:
        logs, loose = [], []
        for _ in SEEDS:
            matrices = rng.standard_normal((depth, WIDTH, WIDTH)) / math.sqrt(WIDTH)
            product = np.linalg.multi_dot(matrices) if depth > 1 else matrices[0]
            logs.append(np.linalg.norm(product, 2))
            loose.append(np.prod(np.linalg.norm(matrices, 2, axis=(1, 2))) / logs[-1])
        limit = math.sqrt((depth + 1.0) ** (depth + 1) / depth**depth)  # Fuss and Catalan
        assert abs(np.mean(logs) / limit - 1.0) < 0.1, (depth, logs, limit)
        form = "{:.3g}"
        rows.append([str(depth), spread(logs, form), f"{limit:.3g}", spread(loose, form)])
    table("| Gaussian matrices | norm of their product | limit | product of norms / norm |", rows)


# ---------------------------------------------------------------- bounds of two layers


def minimised(constant, directions, start, relative=1e-7):
    """Return the y of least y_0 for which constant + sum y_i directions_i has no eigenvalue < 0.

    The minimum of y_0 - log det / weight is less than (order of the matrix) / weight above it.
    """
    y, order = start, len(constant)
    weight = order / y[0]
    while order / weight > relative * y[0]:
        weight *= 5.0
        for _ in range(50):
            inverse = np.linalg.inv(constant + np.tensordot(y, directions, 1))
            moved = inverse @ directions
            gradient = -np.trace(moved, axis1=1, axis2=2)
            gradient[0] += weight
            hessian = np.einsum("iab,jba->ij", moved, moved, optimize=True)
            step = -np.linalg.solve(hessian, gradient)
            decrement = math.sqrt(max(0.0, -step @ gradient))
            y = y + step / (1.0 + decrement)  # stays inside: the barrier is self-concordant
            if decrement < 1e-3:
                break
    return y


def parts_of(model):
    """Return the two matrices, the first one in coordinates of its rows."""
    first, last = (model[i].weight.double().numpy() for i in (0, 2))
    return np.linalg.qr(first.T)[1].T, last


def rescaled(first, last):
    """Return the least product of norms |W_2 / D| |D W_1|: T = D² with W_2'W_2 <= T."""
    num = len(first)
    directions = np.zeros((num + 1, 2 * num, 2 * num))
    directions[0, :num, :num] = np.eye(num)
    for i in range(num):
        directions[i + 1, :num, :num] = -np.outer(first[i], first[i])
        directions[i + 1, num + i, num + i] = 1.0
    constant = np.zeros((2 * num, 2 * num))
    constant[num:, num:] = -last.T @ last
    norms = [np.linalg.norm(matrix, 2) ** 2 for matrix in (first, last)]
    y = minimised(
        constant, directions, np.array([1.3 * norms[0] * norms[1]] + num * [1.1 * norms[1]])
    )
    d = np.sqrt(y[1:])
    return float(np.linalg.norm(last / d, 2) * np.linalg.norm(d[:, None] * first, 2))


def semidefinite(first, last):
    """Return the bound for slopes between 0 and 1: W_1' T (2T - W_2'W_2)^-1 T W_1 <= L²."""
    num, gram = len(first), last.T @ last
    directions = np.zeros((num + 1, 2 * num, 2 * num))
    directions[0, :num, :num] = np.eye(num)
    for i in range(num):
        directions[i + 1, :num, num + i] = directions[i + 1, num + i, :num] = -first[i]
        directions[i + 1, num + i, num + i] = 2.0
    constant = np.zeros((2 * num, 2 * num))
    constant[num:, num:] = -gram

    def square(t):
        inner = np.linalg.cholesky(2.0 * np.diag(t) - gram)
        return np.linalg.norm(np.linalg.solve(inner, t[:, None] * first), 2) ** 2

    t = np.full(num, 1.1 * np.linalg.norm(last, 2) ** 2)
    y = minimised(constant, directions, np.array([1.1 * square(t), *t]))
    return float(math.sqrt(square(y[1:])))


def largest_of_patterns(first, last, rng, num_starts=30):
    """Return the largest |W_2 A W_1| that a search finds over all patterns of active units A."""
    largest = 0.0
    for _ in range(num_starts):
        active, value = rng.random(len(first)) < 0.5, 0.0
        while True:
            u, s, v = np.linalg.svd((last * active) @ first)
            if s[0] <= value * (1.0 + 1e-12):
                break
            value = s[0]
            active = (u[:, 0] @ last) * (first @ v[0]) > 0.0
        largest = max(largest, value)
    return float(largest)


# ---------------------------------------------------------------- training


def product(model):
    """Return the product of the norms, with its derivative."""
    return torch.linalg.matrix_norm(model[0].weight, 2) * torch.linalg.matrix_norm(
        model[2].weight, 2
    )


def fit(model, name, x, y, seed):
    """Train a network."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        for rows in torch.randperm(len(x), generator=generator).split(200):
            optimizer.zero_grad()
            z = model(x[rows])
            if name == "free":
                loss = nn.functional.cross_entropy(z, y[rows])
            else:
                z = z / product(model) if name == "the whole" else z
                loss = losses.offset_cross_entropy(z, y[rows], offset=0.7, tau=5.0)
            loss.backward()
            optimizer.step()


def train(name, x, y, seed):
    """Return a network of two layers, in float64."""
    model = relu_network(SIZES, seed)
    if name == "each layer":
        for i in (0, 2):
            parametrize.register_parametrization(model[i], "weight", DividedByNorm())
    if name != "untrained":
        fit(model, name, x, y, seed)
    if name == "each layer":
        for i in (0, 2):
            parametrize.remove_parametrizations(model[i], "weight")
    return copy.deepcopy(model).double().requires_grad_(False)


def study(name, seed):
    """Return what is measured of a network of two layers."""
    (x, y), (x_new, y_new) = digits(seed)
    model, x_new = train(name, x, y, seed), x_new.double()
    first, last = parts_of(model)
    bounds = {
        "product": layers.lipschitz_bound(model),
        "rescaled": rescaled(first, last),
        "semidefinite": semidefinite(first, last),
        "pattern": largest_of_patterns(first, last, np.random.default_rng(seed)),
        "slope": float(layers.jacobian_spectrum(model, torch.cat([x.double(), x_new])).max()),
    }
    assert all(b >= a * (1.0 - 1e-9) for b, a in itertools.pairwise(bounds.values())), bounds
    z = model(x_new)
    is_right = z.argmax(1) == y_new
    radii = {
        key: certificates.margin_radius(z, lipschitz_constant=bounds[key])
        for key in ("product", "rescaled", "semidefinite")
    }
    radii["pairs"] = certificates.pairwise_radius(
        z, model[2].weight, lipschitz_constant=layers.lipschitz_bound(model[:1])
    )
    found = {
        f"certified, {k}": float((is_right & (r > RADIUS)).double().mean())
        for k, r in radii.items()
    }
    options = {"num_steps": 15, "generator": torch.Generator().manual_seed(seed)}
    for r in radii.values():
        assert not bool(pgd_attack(model, x_new, radius=0.999 * r, **options).success.any())
    attack = pgd_attack(model, x_new, radius=RADIUS, target=y_new, restarts=2, **options)
    beyond = pgd_attack(model, x_new, radius=2.0 * radii["semidefinite"], **options)
    product = bounds.pop("product")
    return {
        "accuracy": float(is_right.double().mean()),
        "product": product,
        **{key: bound / product for key, bound in bounds.items()},
        **found,
        "attacked": float((~attack.success).double().mean()),
        "broken": float(beyond.success.double().mean()),
    }


def trained_depth(depth, seed):
    """Return the product of the norms of a free ReLU network, divided by the largest slope seen."""
    (x, y), (x_new, _) = digits(seed)
    model = relu_network((64, *(32,) * (depth - 1), 10), seed)
    start = copy.deepcopy(model).double()
    fit(model, "free", x, y, seed)
    slopes = []
    for net in (start, copy.deepcopy(model).double()):
        slope = float(layers.jacobian_spectrum(net, torch.cat([x, x_new]).double()).max())
        slopes.append(layers.lipschitz_bound(net) / slope)
    return slopes


NAMES = ("untrained", "free", "each layer", "the whole")


def main():
    """Multiply random matrices; train networks and bound them."""
    torch.set_num_threads(1)
    print_depths()
    loose = {depth: [trained_depth(depth, seed) for seed in SEEDS] for depth in (2, 4, 8)}
    table(
        "| layers of a ReLU network | product / largest slope seen, at the start | trained |",
        [
            [str(depth), *(spread(c, "{:.3g}") for c in zip(*runs, strict=True))]
            for depth, runs in loose.items()
        ],
    )
    runs = {name: [study(name, seed) for seed in SEEDS] for name in NAMES}
    get = {(n, key): np.mean([run[key] for run in runs[n]]) for n in NAMES for key in runs[n][0]}

    def rows(*keys):
        return [
            [name, *(spread([run[key] for run in runs[name]]) for key in keys)] for name in NAMES
        ]

    table(
        "| divided by norms | product of norms | least product after scaling / product "
        "| semidefinite bound / product | largest of all patterns found / product "
        "| largest slope seen / product |",
        rows("product", "rescaled", "semidefinite", "pattern", "slope"),
    )
    keys = ("product", "rescaled", "semidefinite", "pairs")
    table(
        "| divided by norms | accuracy | certified at 0.4, product | scaled | semidefinite "
        "| product, by pairs of classes | attacked at 0.4 "
        "| twice the semidefinite certificate breaks |",
        rows("accuracy", *(f"certified, {key}" for key in keys), "attacked", "broken"),
    )
    check(get, {depth: np.mean(runs, 0) for depth, runs in loose.items()})


def check(get, loose):
    """Check what the answer claims, in means over the seeds."""
    assert get["untrained", "semidefinite"] < get["untrained", "rescaled"] - 0.1
    for name in ("free", "each layer", "the whole"):
        assert get[name, "semidefinite"] > 0.9
    for name in NAMES:
        assert get[name, "semidefinite"] < 1.02 * get[name, "pattern"]
    assert get["free", "certified, pairs"] > get["free", "certified, product"] + 0.05
    assert get["free", "certified, semidefinite"] < 0.02
    assert abs(get["each layer", "accuracy"] - get["the whole", "accuracy"]) < 0.02
    for key in ("product", "rescaled", "semidefinite", "pairs"):
        pair = [get[name, f"certified, {key}"] for name in ("each layer", "the whole")]
        assert abs(pair[0] - pair[1]) < 0.03
    assert loose[8][0] > 3.0 * loose[2][0]  # at the start
    assert loose[8][1] < loose[8][0] / 2.0  # training aligns the layers


if __name__ == "__main__":
    main()
