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
        for i in range(1 if p.shape[1] >= 1e5 else min(5, len(p))):
            roots = []
            for x in (p[i], q[i]):
                weights = [weight(mpmath.mpf(y)) for y in x.tolist()]
                total = mpmath.fsum(weights)
                roots.append([mpmath.sqrt(y / total) for y in weights])
            chord = mpmath.sqrt(mpmath.fsum((a - b) ** 2 for a, b in zip(*roots, strict=True)))
            exact = 4 * mpmath.asin(chord / 2)
            worst = max(worst, float(abs(float(d[i]) - exact) / exact))
    return worst


DISTANCES = {
    "infogeo": lambda p, q: lambda: simplex.fisher_rao_distance(p, q),
    "infogeo, `check=False`": lambda p, q: lambda: simplex.fisher_rao_distance(p, q, check=False),
    "naive arccos formula in numpy": lambda p, q: lambda: naive(p, q),
    "geomstats": with_geomstats,
}
LOGITS = {"infogeo": logits.fisher_rao_distance, "naive": naive_from_logits}
SEPARATIONS = {"error, spread pairs": None, "error, pairs 1e-8 apart": 1e-8}


@pytest.mark.parametrize("who", DISTANCES)
@pytest.mark.parametrize("shape", [*SHAPES, (1, 10)], ids=str)
def test_distances(benchmark, shape, who):
    if who == "geomstats":
        pytest.importorskip("geomstats")
        if shape[1] > 10:
            pytest.skip("geomstats builds a matrix of c x c for each row: 74.5 GiB at c = 1000")
    benchmark.group = name_of(shape)
    for name, separation in SEPARATIONS.items():
        p, q = predictions(shape, separation)
        d = np.asarray(DISTANCES[who](p, q)())
        benchmark.extra_info[name] = worst_error(d, p, q)
    benchmark(DISTANCES[who](*predictions(shape, None)))


@pytest.mark.parametrize("who", list(DISTANCES)[:3])
@pytest.mark.parametrize("num_outcomes", [2, 3, 5, 10, 20, 32, 64, 100])
def test_short_rows(benchmark, num_outcomes, who):
    benchmark.group = name_of((10_000, num_outcomes))
    benchmark(DISTANCES[who](*predictions((10_000, num_outcomes), None)))


@pytest.mark.parametrize("who", list(DISTANCES)[:3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_near_pairs(benchmark, shape, who):
    benchmark.group = name_of(shape)
    benchmark(DISTANCES[who](*predictions(shape, 1e-8)))


@pytest.mark.parametrize("who", LOGITS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_distances_from_logits(benchmark, shape, who):
    benchmark.group = name_of(shape)
    for name, separation in SEPARATIONS.items():
        z, w = pairs_of_logits(shape, separation)
        benchmark.extra_info[name] = worst_error(LOGITS[who](z, w), z, w, weight=mpmath.exp)
    benchmark(LOGITS[who], *pairs_of_logits(shape, None))


def name_of(shape):
    return f"{shape[0]:,} pairs, {shape[1]:,} classes" if shape[0] > 1 else "one pair, 10 classes"
