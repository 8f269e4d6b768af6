"""Contingency tables with given margins, beside proportional fitting (ipfn) and dit, and transport.

The first problems ask for the table of maximum entropy whose margins of all pairs of variables are
those of a known table without interactions of three. The error is that of the worst
log-probability. The last ones are the entropic transport between the Gaussian histograms of the
tutorials of POT, beside POT.
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


# ---------------------------------------------------------------- transport


def transport(num_bins):
    """Return two histograms, and squared distances of at most 1."""
    x = np.linspace(0.0, 1.0, num_bins)
    a, b = (
        np.exp(-(((x - mean) / spread) ** 2) / 2.0) for mean, spread in ((0.2, 0.05), (0.6, 0.1))
    )
    return a / a.sum(), b / b.sum(), (x[:, None] - x) ** 2


def by_margins(a, b, cost, reg):
    return fit_margins(margins={0: a, 1: b}, log_table=-cost / reg)


def by_pot(method, **options):
    def solve(a, b, cost, reg):
        import ot

        return ot.sinkhorn(a, b, cost, reg, method=method, warn=False, **options)

    return solve


TRANSPORT_SOLVERS = {
    "infogeo": by_margins,
    "POT, stabilised": by_pot("sinkhorn_stabilized"),
    "POT, in logarithms": by_pot("sinkhorn_log"),
    "POT, in logarithms, threshold 1e-14": by_pot("sinkhorn_log", stopThr=1e-14),
}
TRANSPORTS = {
    "100 bins, regularisation 0.1": (100, 0.1),
    "1,000 bins, regularisation 0.01": (1000, 0.01),
}


@pytest.mark.parametrize("who", TRANSPORT_SOLVERS)
@pytest.mark.parametrize("name", TRANSPORTS)
def test_transport(benchmark, name, who):
    if who != "infogeo":
        pytest.importorskip("ot")
    num_bins, reg = TRANSPORTS[name]
    a, b, cost = transport(num_bins)
    rounds = 5 if num_bins == 100 else 1
    benchmark.group = name
    found = benchmark.pedantic(TRANSPORT_SOLVERS[who], args=(a, b, cost, reg), rounds=rounds)
    if who == "infogeo":  # what it proves
        error = float(found.error_bound)
        apart = np.expm1(error) / 2.0
    else:
        plan, best = found.reshape(-1), by_margins(a, b, cost, reg)
        error = np.abs(np.log(np.maximum(plan, 1e-300)) - best.log_probabilities).max()
        apart = np.abs(plan - best.probabilities).sum() / 2.0
    benchmark.extra_info["error"] = float(error)
    benchmark.extra_info["total variation"] = float(apart)
