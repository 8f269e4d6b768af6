"""Distances of many pairs of predictions or logits, beside the naive formulas and geomstats."""

import mpmath
import numpy as np
import pytest

from infogeo import logits, simplex

SHAPES = [(10_000, 10), (10_000, 1000), (100, 100_000)]


def naive(p, q):
    return 2.0 * np.arccos(np.clip(np.sqrt(p * q).sum(-1), -1.0, 1.0))


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def naive_from_logits(z, w):
    return naive(softmax(z), softmax(w))


def with_geomstats(p, q):
    from geomstats.information_geometry.categorical import CategoricalDistributions

    space = CategoricalDistributions(p.shape[-1] - 1)
    return lambda: space.metric.dist(p, q)


def predictions(shape, separation):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(shape[1]), shape[0])
    if separation is None:
        return p, rng.dirichlet(np.ones(shape[1]), shape[0])
    q = p * (1.0 + separation * rng.uniform(-1, 1, shape))
    return p, q / q.sum(-1, keepdims=True)


def pairs_of_logits(shape, separation):
    z, w = np.random.default_rng(0).normal(size=(2, *shape))
    return (z, w) if separation is None else (z, z + separation * w)


def worst_error(d, p, q, weight=mpmath.mpf):
    """Return the largest relative error of a few distances against 40 digits."""
    worst = 0.0
    with mpmath.workdps(40):
        for i in range(1 if p.shape[1] >= 1e5 else 5):
            roots = []
            for x in (p[i], q[i]):
                weights = [weight(mpmath.mpf(y)) for y in x.tolist()]
                total = mpmath.fsum(weights)
                roots.append([mpmath.sqrt(y / total) for y in weights])
            chord = mpmath.sqrt(mpmath.fsum((a - b) ** 2 for a, b in zip(*roots, strict=True)))
            exact = 4 * mpmath.asin(chord / 2)
            worst = max(worst, float(abs(float(d[i]) - exact) / exact))
    return worst


@pytest.mark.parametrize("who", ["infogeo", "infogeo, check=False", "naive arccos", "geomstats"])
@pytest.mark.parametrize("separation", [None, 1e-8], ids=["spread", "1e-8 apart"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_distances(benchmark, shape, separation, who):
    p, q = predictions(shape, separation)
    if who == "geomstats":
        pytest.importorskip("geomstats")
        if shape[1] > 10:
            pytest.skip("geomstats builds a matrix of c x c for each row: 74.5 GiB at c = 1000")
        call = with_geomstats(p, q)
    else:
        call = {
            "infogeo": lambda: simplex.fisher_rao_distance(p, q),
            "infogeo, check=False": lambda: simplex.fisher_rao_distance(p, q, check=False),
            "naive arccos": lambda: naive(p, q),
        }[who]
    kind = "spread" if separation is None else "1e-8 apart"
    benchmark.group = f"distances of {shape[0]:,} pairs, {shape[1]:,} classes, {kind}"
    d = benchmark(call)
    benchmark.extra_info["error"] = worst_error(np.asarray(d), p, q)


@pytest.mark.parametrize("who", ["infogeo", "naive softmax and arccos"])
@pytest.mark.parametrize("separation", [None, 1e-8], ids=["spread", "1e-8 apart"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_distances_from_logits(benchmark, shape, separation, who):
    z, w = pairs_of_logits(shape, separation)
    call = logits.fisher_rao_distance if who == "infogeo" else naive_from_logits
    kind = "spread" if separation is None else "1e-8 apart"
    benchmark.group = f"distances from logits, {shape[0]:,} pairs, {shape[1]:,} classes, {kind}"
    d = benchmark(call, z, w)
    benchmark.extra_info["error"] = worst_error(d, z, w, weight=mpmath.exp)
