"""Distances of gamma, beta, Dirichlet and von Mises distributions, beside geomstats and liudist.

Errors are relative to values of 25 digits in tests/oracles/dirichlet.json and tests/manifolds, or,
of batches, the largest one by which the geodesics of 50 pairs miss their ends.
"""

import numpy as np
import pytest

from infogeo import manifolds
from infogeo.manifolds import Beta, Dirichlet, Gamma, Laplace, VonMises

# Concentrations, or shape and mean, with distances from mpmath.
SINGLE = {
    "Dirichlet, one pair": ((0.01, 1.0, 50.0), (50.0, 1.0, 0.01), 9.42412535947635853),
    "beta, one pair": ((3.0, 4.0), (3e4, 4e4), 6.5633338540880609392),
    "gamma, one pair": ((0.01, 1.0), (100.0, 1.0), 7.66718859514619436),
}
NUM_PAIRS = 10_000


def points(work, *rows):
    """Return points of infogeo."""
    if work.startswith("Dirichlet"):
        return [Dirichlet(np.array(x)) for x in rows]
    if work.startswith("beta"):
        return [Beta(*x) for x in rows]
    return [Gamma(k, k / mean) for k, mean in rows]


def with_infogeo(work, first, second):
    a, b = points(work, first, second)
    return lambda: float(manifolds.fisher_rao_distance(a, b))


def with_geomstats(work, first, second):
    pytest.importorskip("geomstats")
    from geomstats.information_geometry.beta import BetaDistributions
    from geomstats.information_geometry.dirichlet import DirichletDistributions
    from geomstats.information_geometry.gamma import GammaDistributions

    kind = work.partition(",")[0]
    space = {"beta": BetaDistributions, "gamma": GammaDistributions}.get(
        kind, lambda: DirichletDistributions(len(first))
    )()
    return lambda: float(space.metric.dist(np.array(first), np.array(second)))


def with_liudist(work, first, second):
    """Those of Liouville distributions of one shape: r is half the smallest concentration."""
    liudist = pytest.importorskip("liudist")
    if work.startswith("gamma"):
        pytest.skip("none of gamma distributions")
    r = np.full(len(first), 0.5 * min(*first, *second))
    return lambda: float(liudist.distance(np.array(first) - r, np.array(second) - r, r))


PEERS = {"infogeo": with_infogeo, "geomstats": with_geomstats, "liudist": with_liudist}


@pytest.mark.parametrize("who", PEERS)
@pytest.mark.parametrize("work", SINGLE)
def test_one_pair(benchmark, work, who):
    first, second, expected = SINGLE[work]
    call = PEERS[who](work, first, second)
    benchmark.group = work
    found = benchmark.pedantic(call, rounds=20 if who == "infogeo" else 2, warmup_rounds=1)
    benchmark.extra_info["error"] = abs(found / expected - 1.0)


def batch(work):
    """Return two batches of points that are 2 to 3 apart."""
    rng = np.random.default_rng(0)
    if work.startswith("Dirichlet"):
        return [Dirichlet(np.exp(rng.normal(size=(NUM_PAIRS, 3)))) for _ in range(2)]
    if work.startswith("beta"):
        return [Beta(*np.exp(rng.normal(size=(2, NUM_PAIRS)))) for _ in range(2)]
    if work.startswith("gamma"):
        return [Gamma(*np.exp(rng.normal(size=(2, NUM_PAIRS)))) for _ in range(2)]
    return [
        VonMises(rng.uniform(-3.0, 3.0, NUM_PAIRS), np.exp(rng.normal(size=NUM_PAIRS)))
        for _ in range(2)
    ]


@pytest.mark.parametrize("who", ["infogeo"])
@pytest.mark.parametrize("work", ["Dirichlet", "beta", "gamma", "von Mises"])
def test_many_pairs(benchmark, work, who):
    a, b = batch(work)
    benchmark.group = f"{work}, {NUM_PAIRS:,} pairs"
    d = benchmark.pedantic(manifolds.fisher_rao_distance, args=(a, b), rounds=3)
    few, other = a[:50], b[:50]
    reached = manifolds.exp_map(few, manifolds.log_map(few, other))
    missed = manifolds.fisher_rao_distance(reached, other)
    benchmark.extra_info["error"] = float((missed / d[:50]).max())
    benchmark.extra_info["each"] = f"{benchmark.stats.stats.min / NUM_PAIRS * 1e6:.0f} µs"


@pytest.mark.parametrize("who", ["infogeo", "the formula in numpy"])
def test_closed_forms(benchmark, who):
    rng = np.random.default_rng(0)
    loc, other = rng.normal(size=(2, 1_000_000))
    scale, wide = np.exp(rng.normal(size=(2, 1_000_000)))
    a, b = Laplace(loc, scale), Laplace(other, wide)

    def formula():
        squared = ((loc - other) ** 2 + (scale - wide) ** 2) / (4.0 * scale * wide)
        return 2.0 * np.arcsinh(np.sqrt(squared))

    call = formula if who != "infogeo" else lambda: manifolds.fisher_rao_distance(a, b)
    benchmark.group = "Laplace, 1,000,000 pairs"
    found = benchmark.pedantic(call, rounds=5, warmup_rounds=1)
    benchmark.extra_info["error"] = float(np.max(np.abs(found / formula() - 1.0)))
