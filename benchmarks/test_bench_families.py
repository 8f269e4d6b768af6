"""Distances of gamma, beta, Dirichlet and von Mises distributions, beside geomstats and liudist.

Errors are relative to values of 25 digits in tests/oracles/dirichlet.json and tests/manifolds, or,
of batches, the largest one by which the geodesics of 50 pairs miss their ends.
"""

import functools

import mpmath
import numpy as np
import pytest
import torch

from infogeo import manifolds
from infogeo.manifolds import Bernoulli, Beta, Dirichlet, Exponential, Gamma, Laplace, VonMises

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


def with_fisherrao(work, first, second):
    """Its distance of beta distributions is the length of a straight line."""
    fisherrao = pytest.importorskip("fisherrao")
    if not work.startswith("beta"):
        pytest.skip("of beta distributions alone")
    return lambda: float(fisherrao.geodesic_distance_beta(*first, *second))


PEERS = {
    "infogeo": with_infogeo,
    "geomstats": with_geomstats,
    "liudist": with_liudist,
    "fisherrao": with_fisherrao,
}


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


def half_plane(xp, m, s, n, t):
    return 2.0 * xp.arcsinh(xp.sqrt(((m - n) ** 2 + (s - t) ** 2) / (4.0 * s * t)))


def by_logarithms(xp, a, b):
    return xp.abs(xp.log(b / a))


def by_angles(xp, p, q):
    return 2.0 * xp.abs(xp.arcsin(xp.sqrt(p)) - xp.arcsin(xp.sqrt(q)))


FORMULAS = {
    "Laplace": (Laplace, half_plane),
    "Exponential": (Exponential, by_logarithms),
    "Bernoulli": (Bernoulli, by_angles),
}


def numbers(work):
    """Return a million of each parameter for the first points, then for the second ones."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 1_000_000))
    if work == "Laplace":
        return [x[0], np.exp(x[1]), x[2], np.exp(x[3])]
    return list(np.exp(x[:2]) if work == "Exponential" else 1.0 / (1.0 + np.exp(x[:2])))


@pytest.mark.parametrize("who", ["infogeo", "the formula in numpy"])
@pytest.mark.parametrize("work", FORMULAS)
def test_closed_forms(benchmark, work, who):
    given, (kind, formula) = numbers(work), FORMULAS[work]
    half = len(given) // 2
    a, b = kind(*given[:half]), kind(*given[half:])
    if who == "infogeo":
        call = functools.partial(manifolds.fisher_rao_distance, a, b)
    else:
        call = functools.partial(formula, np, *given)
    benchmark.group = f"{work}, 1,000,000 pairs"
    found = benchmark.pedantic(call, rounds=7, warmup_rounds=2)
    few = [x[:2000] for x in given]
    with mpmath.workdps(40):
        exact = formula(EXACT, *(np.array([mpmath.mpf(float(y)) for y in x]) for x in few))
    benchmark.extra_info["error"] = float(np.max(np.abs(found[:2000] / exact.astype(float) - 1.0)))


@pytest.mark.parametrize("who", ["infogeo", "the formula in torch"])
@pytest.mark.parametrize("work", ["Laplace", "Exponential"])
def test_gradients_of_closed_forms(benchmark, work, who):
    given = [torch.tensor(x, requires_grad=True) for x in numbers(work)]
    kind, formula = FORMULAS[work]
    half = len(given) // 2

    def call():
        if who == "infogeo":
            d = manifolds.fisher_rao_distance(kind(*given[:half]), kind(*given[half:]))
        else:
            d = formula(torch, *given)
        return torch.autograd.grad(d.sum(), given)

    benchmark.group = f"{work}, gradients of 1,000,000 pairs"
    benchmark.pedantic(call, rounds=7, warmup_rounds=2)


class EXACT:
    """Functions of arrays of numbers of mpmath."""

    arcsinh, sqrt, log, arcsin = (
        np.vectorize(f, otypes=[object])
        for f in (mpmath.asinh, mpmath.sqrt, mpmath.log, mpmath.asin)
    )
    abs = staticmethod(np.abs)
