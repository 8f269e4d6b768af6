"""Predictions with known class frequencies: a million rows, beside scipy and proportional fitting.

The frequencies are those of predictions that are known; the error is that of their worst
log-probability.
"""

import numpy as np
import pytest
import scipy.optimize
from scipy.special import log_softmax, softmax

from infogeo.maxent import match_frequencies

NUM_CLASSES = 10


def problem(num_rows, dtype):
    """Return predictions, frequencies, and the log-probabilities that solve the problem."""
    rng = np.random.default_rng(0)
    p = softmax(2.0 * rng.normal(size=(num_rows, NUM_CLASSES)), axis=1).astype(dtype)
    b = rng.normal(size=NUM_CLASSES)
    log_q = log_softmax(np.log(p, dtype=np.float64) + b, axis=1)
    return p, np.exp(log_q).mean(axis=0), log_q


def by_infogeo(p, f):
    return match_frequencies(p, f).probabilities


def by_lbfgs(p, f):
    z = np.log(p, dtype=np.float64)

    def dual(b):
        shifted = z + b
        top = shifted.max(axis=1, keepdims=True)
        q = np.exp(shifted - top)
        total = q.sum(axis=1, keepdims=True)
        value = (np.log(total) + top).mean() - f @ b
        return value, (q / total).mean(axis=0) - f

    options = {"ftol": 1e-15, "gtol": 1e-12, "maxiter": 1000}
    b = scipy.optimize.minimize(
        dual, np.zeros(f.size), jac=True, method="L-BFGS-B", options=options
    )
    return softmax(z + b.x, axis=1)


def by_proportional_fitting(p, f):
    scale = np.ones(f.size)
    for _ in range(1000):
        q = p * scale
        q /= q.sum(axis=1, keepdims=True)
        mean = q.mean(axis=0)
        if np.abs(mean / f - 1.0).max() < 1e-12:
            break
        scale *= f / mean
    return q


SOLVERS = {
    "infogeo": (by_infogeo, "float64"),
    "infogeo, float32": (by_infogeo, "float32"),
    "scipy L-BFGS on the dual": (by_lbfgs, "float64"),
    "proportional fitting": (by_proportional_fitting, "float64"),
}


@pytest.mark.parametrize("who", SOLVERS)
@pytest.mark.parametrize("num_rows", [10_000, 1_000_000])
def test_match_frequencies(benchmark, num_rows, who):
    solve, dtype = SOLVERS[who]
    p, f, log_q = problem(num_rows, dtype)
    benchmark.group = f"{num_rows:,} predictions"
    found = benchmark.pedantic(solve, args=(p, f), rounds=3, warmup_rounds=1)
    benchmark.extra_info["error"] = float(np.abs(np.log(found, dtype=np.float64) - log_q).max())
