"""Intervals of distances between samples: many small pairs, and single pairs of many outcomes.

The error is how far the ends and the estimate are from the roots that they stand for, in standard
errors of the distance: beside the same solve with a tolerance of 1e-12. "held" is how many of the
intervals hold the distance of the two distributions, at the level 95 %.
"""

import math

import numpy as np
import pytest

from infogeo import simplex
from infogeo.inference import _interval, interval

NUM_OBSERVATIONS = 200, 300


def samples(num_pairs, num_outcomes):
    """Return counts of pairs of distributions and their distances, which are 0.1 to 1."""
    rng = np.random.default_rng(num_outcomes)
    p, q = rng.dirichlet(np.ones(num_outcomes), size=(2, num_pairs))
    q = 0.7 * p + 0.3 * q
    sizes = [n * max(1, num_outcomes // 100) for n in NUM_OBSERVATIONS]
    x, y = (rng.multinomial(n, v) for n, v in zip(sizes, (p, q), strict=True))
    return x, y, simplex.fisher_rao_distance(p, q), math.hypot(*(n**-0.5 for n in sizes))


def error(x, y, standard_error, monkeypatch):
    """Return by how many standard errors the results are off, at most."""
    found = interval(x, y)
    with monkeypatch.context() as patch:
        patch.setattr(_interval, "_TOLERANCE", 1e-12)
        exact = interval(x, y)
    fields = ("estimate", "lower", "upper")
    off = [np.abs(getattr(found, name) - getattr(exact, name)).max() for name in fields]
    return float(max(off)) / standard_error


def measure(benchmark, monkeypatch, num_pairs, num_outcomes, rounds):
    x, y, distance, standard_error = samples(num_pairs, num_outcomes)
    found = benchmark.pedantic(interval, args=(x, y), rounds=rounds, warmup_rounds=1)
    held = (found.lower <= distance) & (distance <= found.upper)
    benchmark.extra_info["held"] = f"{held.sum():,} of {num_pairs:,}"
    benchmark.extra_info["error"] = error(x[:500], y[:500], standard_error, monkeypatch)


@pytest.mark.parametrize("who", ["2 outcomes", "5 outcomes", "10 outcomes"])
def test_many_pairs(benchmark, who, monkeypatch):
    benchmark.group = "10,000 pairs, 200 and 300 observations"
    measure(benchmark, monkeypatch, 10_000, int(who.split()[0]), rounds=5)
    benchmark.extra_info["each"] = f"{benchmark.stats.stats.min / 10_000 * 1e6:.0f} µs"


@pytest.mark.parametrize("who", ["100 outcomes", "1,000 outcomes", "100,000 outcomes"])
def test_one_pair(benchmark, who, monkeypatch):
    num_outcomes = int(who.split()[0].replace(",", ""))
    benchmark.group = "one pair, 2 and 3 observations for each outcome"
    measure(benchmark, monkeypatch, 1, num_outcomes, rounds=20 if num_outcomes < 10_000 else 3)
