"""Which layers keep curvature, and which change it by a chosen amount?

Sectional curvatures are computed from metrics by automatic differentiation, with nothing known of
how the metrics were made: at random points, in random planes.
"""

import numpy as np
import torch
from common import table
from torch.func import jacfwd

from infogeo.lipschitz import layers
from infogeo.pullback import input_metrics

NUM_POINTS, DTYPE = 8, torch.float64


def christoffel(metric, x):
    """Return the symbols G[i, j, k] of the Levi-Civita connection of metric(x), shape (d, d)."""
    dg = jacfwd(metric)(x)
    lowered = 0.5 * (dg + dg.transpose(1, 2) - dg.permute(2, 1, 0)).transpose(0, 1)
    return torch.einsum("im,mjk->ijk", torch.linalg.inv(metric(x)), lowered.transpose(0, 1))


def curvature(metric, x, u, v):
    """Return the sectional curvature of the plane of u and v."""
    G, dG = christoffel(metric, x), jacfwd(lambda x: christoffel(metric, x))(x)
    R = dG.permute(0, 2, 3, 1) - dG.permute(0, 2, 1, 3)
    R = R + torch.einsum("ikm,mlj->ijkl", G, G) - torch.einsum("ilm,mkj->ijkl", G, G)
    h = metric(x)
    moved = torch.einsum("ijkl,j,k,l->i", R, v, u, v)
    area = (u @ h @ u) * (v @ h @ v) - (u @ h @ v) ** 2
    return float(u @ h @ moved / area)


def constant(kappa, dim):
    """Return the matrix of the metric of constant curvature, as a function of x."""
    frames = input_metrics.constant_curvature(kappa, dim)
    identity = torch.eye(dim, dtype=DTYPE)

    def metric(x):
        rows = frames.coordinates(x[None], identity[None])[0]
        return rows @ rows.T

    return metric


def pulled_back(layer, metric):
    """Return the metric of inputs for which a layer is an isometry."""

    def pulled(x):
        J = jacfwd(layer)(x)
        return J.T @ metric(layer(x)) @ J

    return pulled


def berger(size):
    """Return the metric of Berger's sphere: fibres of Hopf's map over a sphere of radius 1/2."""

    def metric(x):
        theta, one, zero = x[0], torch.ones_like(x[0]), torch.zeros_like(x[0])
        forms = torch.stack(
            [
                torch.stack([one, zero, zero]),
                torch.stack([zero, torch.sin(theta), zero]),
                size * torch.stack([zero, torch.cos(theta), one]),
            ]
        )
        return 0.25 * forms.T @ forms

    return metric


def curved_layer(kappa, dim, rng):
    """Return an isometry of a space of curvature kappa with a fold: a move, a turn, GroupSort."""
    frames = input_metrics.constant_curvature(kappa, dim)
    turn = torch.linalg.qr(torch.from_numpy(rng.standard_normal((dim, dim))))[0]
    to, sort = torch.full((1, dim), 0.2, dtype=DTYPE), layers.GroupSort()

    def layer(x):
        # What takes 0 to a point keeps all distances: the geodesic from 0 to x, moved.
        x = x[None] if x.ndim == 1 else x
        zero = torch.zeros_like(x)
        scale = 1.0 + 0.25 * kappa * float((to * to).sum())
        start = to.expand_as(x)
        moved = frames.exp_map(start, scale * frames.log_map(zero, x))
        return sort(moved @ turn.T)

    return layer, frames


def seen(metric, dim, rng, low=-0.5, high=0.5, planes=None):
    """Return the least and the largest curvature in random planes."""
    found = []
    for _ in range(NUM_POINTS):
        x = torch.from_numpy(rng.uniform(low, high, dim))
        u, v = planes(x) if planes else torch.from_numpy(rng.standard_normal((2, dim)))
        found.append(curvature(metric, x, u, v))
    return min(found), max(found)


def row(name, expected, found):
    """Return a row of the table, and check it."""
    assert abs(found[0] - expected) < 1e-8
    assert abs(found[1] - expected) < 1e-8
    return [name, *(f"{value + 0.0:.6f}" for value in (expected, *found))]


def main():
    """Print curvatures that were expected and seen, and what curved layers do to distances."""
    rng, rows = np.random.default_rng(0), []
    for kappa, dim in ((1.0, 2), (0.25, 4), (0.0, 3), (-0.5, 2), (-2.0, 4)):
        name = f"constant_curvature({kappa:g}, {dim})"
        rows.append(row(name, kappa, seen(constant(kappa, dim), dim, rng)))
    for kappa in (0.25, -0.5):
        layer, _ = curved_layer(kappa, 4, rng)
        pulled = pulled_back(lambda x, layer=layer: layer(x)[0], constant(kappa, 4))
        found = seen(pulled, 4, rng, low=-0.3, high=0.3)
        rows.append(row(f"pulled back by a curved layer, {kappa:g}", kappa, found))
        metric = constant(kappa, 4)
        x = torch.from_numpy(rng.uniform(-0.3, 0.3, 4))
        assert torch.allclose(pulled(x), metric(x), rtol=1e-10)  # the layer keeps all lengths
    weight = torch.from_numpy(np.eye(3) + 0.3 * rng.standard_normal((3, 3)))
    bent = pulled_back(lambda x: 0.5 * (weight @ x), constant(0.25, 3))
    rows.append(row("pulled back by an invertible matrix, 0.25", 0.25, seen(bent, 3, rng)))
    x = torch.full((3,), 0.1, dtype=DTYPE)
    assert not torch.allclose(bent(x), constant(0.25, 3)(x), rtol=0.1)  # though no length stays
    for scale in (2.0, 0.5):
        sphere = constant(0.25, 3)
        scaled = lambda x, scale=scale, h=sphere: scale**2 * h(x)  # noqa: E731
        name = f"0.25, all lengths times {scale:g}"
        rows.append(row(name, 0.25 / scale**2, seen(scaled, 3, rng)))
    for size in (1.0, 0.6, 1.2):

        def horizontal(x):
            u = torch.tensor([1.0, 0.0, 0.0], dtype=DTYPE)
            return u, torch.stack([0.0 * x[0], 1.0 / torch.sin(x[0]), -1.0 / torch.tan(x[0])])

        def vertical(x):
            return horizontal(x)[0], torch.tensor([0.0, 0.0, 1.0], dtype=DTYPE)

        for name, expected, planes in (
            ("horizontal", 4.0 - 3.0 * size**2, horizontal),
            ("vertical", size**2, vertical),
        ):
            found = seen(berger(size), 3, rng, low=0.5, high=1.5, planes=planes)
            rows.append(row(f"Berger's sphere, fibres times {size:g}, {name}", expected, found))
    table("| metric | curvature by the formula | least seen | largest seen |", rows)
    rows = []
    for kappa in (0.25, 0.0, -0.5):
        layer, frames = curved_layer(kappa, 4, rng)
        a, b = torch.from_numpy(rng.uniform(-0.5, 0.5, (2, 10_000, 4)))
        ratio = frames.distance(layer(a), layer(b)) / frames.distance(a, b)
        near = frames.distance(layer(a), layer(a + 1e-6 * b)) / frames.distance(a, a + 1e-6 * b)
        assert float(ratio.max()) < 1.0 + 1e-10
        assert float((near > 1.0 - 1e-6).double().mean()) > 0.999
        middle = f"{float(ratio.median()):.3f}", f"{float(ratio.max()):.6f}"
        near = f"{float(near.median()):.6f}"
        rows.append([f"{kappa:g}", f"{float(ratio.min()):.3f}", *middle, near])
    table("| kappa | least ratio of distances | median | largest | of near points, median |", rows)


if __name__ == "__main__":
    main()
