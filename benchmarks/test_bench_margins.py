"""Contingency tables with given margins, beside proportional fitting (ipfn) and dit.

Both problems ask for the table of maximum entropy whose margins of all pairs of variables are those
of a known table without interactions of three. The error is that of the worst log-probability.
"""

import itertools

import numpy as np
import pytest

from infogeo.maxent import fit_margins


def problem(num_variables, num_levels, strength):
    """Return the pairs of axes, their margins, and the table that they single out."""
    rng = np.random.default_rng(0)
    shape = (num_levels,) * num_variables
    pairs = list(itertools.combinations(range(num_variables), 2))
    log_p = np.zeros(shape)
    for pair in pairs:
        rest = tuple(axis for axis in range(num_variables) if axis not in pair)
        term = strength * rng.normal(size=(num_levels, num_levels))
        log_p = log_p + np.expand_dims(term, rest)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    margins = [
        p.sum(axis=tuple(axis for axis in range(num_variables) if axis not in pair))
        for pair in pairs
    ]
    return pairs, margins, p


def by_infogeo(pairs, margins, p):
    return fit_margins(np.ones(p.shape), list(zip(pairs, margins, strict=True))).probabilities


def by_ipfn(convergence_rate, max_iteration):
    def solve(pairs, margins, p):
        ipfn = pytest.importorskip("ipfn")
        table = np.full(p.shape, 1.0 / p.size)
        options = {"convergence_rate": convergence_rate, "max_iteration": max_iteration}
        return ipfn.ipfn.ipfn(table, margins, [list(pair) for pair in pairs], **options).iteration()

    return solve


def by_dit(pairs, margins, p):
    dit = pytest.importorskip("dit")
    from dit.algorithms.distribution_optimizers import maxent_dist

    outcomes = list(itertools.product(range(p.shape[0]), repeat=p.ndim))
    dist = dit.Distribution(outcomes, p.reshape(-1).tolist())
    found = maxent_dist(dist, [list(pair) for pair in pairs])
    values = dict(found.zipped())
    return np.array([values.get(outcome, 0.0) for outcome in outcomes])


SOLVERS = {
    "infogeo": by_infogeo,
    "ipfn, as it comes": by_ipfn(1e-5, 500),
    "ipfn, rate 1e-13": by_ipfn(1e-13, 100_000),
    "dit": by_dit,
}
PROBLEMS = {
    "five variables of 4 levels": (5, 4, 0.5),
    "the same, strong interactions": (5, 4, 2.0),
    "three variables of 2 levels": (3, 2, 0.5),
}


@pytest.mark.parametrize("who", SOLVERS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_margins_of_all_pairs(benchmark, name, who):
    if who == "dit" and name == "the same, strong interactions":
        pytest.skip("no answer after eight minutes")
    pairs, margins, p = problem(*PROBLEMS[name])
    benchmark.group = name
    solve = SOLVERS[who]
    rounds = 1 if who == "dit" else 5
    found = benchmark.pedantic(solve, args=(pairs, margins, p), rounds=rounds, warmup_rounds=1)
    error = np.abs(np.log(np.maximum(found.reshape(p.shape), 1e-300) / p)).max()
    benchmark.extra_info["error"] = float(error)
