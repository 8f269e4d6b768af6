"""C-maximisation with known solutions, beside L-BFGS on the dual and a cone solver."""

import numpy as np
import pytest
import scipy.optimize
from scipy.special import log_softmax, logsumexp

from infogeo import maxent

SIZES = [(100, 20), (10_000, 20)]


def problem(num_outcomes, num_features):
    """Return features, targets, and the log-probabilities that solve the problem."""
    rng = np.random.default_rng(0)
    F = rng.normal(size=(num_features, num_outcomes))
    theta = rng.normal(size=num_features) / np.sqrt(num_features)
    log_p = log_softmax(theta @ F)
    return F, F @ np.exp(log_p), log_p


def moments():
    """Return the moments up to the 12th of a density on [0, 1], on a grid: badly conditioned."""
    x = np.linspace(0.0, 1.0, 200)
    log_p = log_softmax(3.0 * x - 5.0 * (x - 0.3) ** 2)
    F = x ** np.arange(1, 13)[:, None]
    return F, F @ np.exp(log_p), log_p


def by_infogeo(F, b):
    return np.log(maxent.max_entropy(F, b, tol=1e-12).probabilities)


def by_lbfgs(F, b):
    A = F - b[:, None]

    def dual(theta):
        z = theta @ A
        return logsumexp(z), A @ np.exp(log_softmax(z))

    options = {"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-10}
    found = scipy.optimize.minimize(
        dual, np.zeros(len(b)), jac=True, method="L-BFGS-B", options=options
    )
    return log_softmax(found.x @ A)


def by_clarabel(F, b):
    cvxpy = pytest.importorskip("cvxpy")
    p = cvxpy.Variable(F.shape[1])
    constraints = [F @ p == b, cvxpy.sum(p) == 1]
    cvxpy.Problem(cvxpy.Maximize(cvxpy.sum(cvxpy.entr(p))), constraints).solve(cvxpy.CLARABEL)
    return np.log(np.maximum(p.value, 1e-300))


SOLVERS = {
    "infogeo": by_infogeo,
    "scipy L-BFGS on the dual": by_lbfgs,
    "Clarabel (cvxpy)": by_clarabel,
}
PROBLEMS = {f"{c:,} outcomes, {m} features": problem(c, m) for c, m in SIZES}
PROBLEMS["moments up to the 12th, 200 outcomes"] = moments()


@pytest.mark.parametrize("who", SOLVERS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_max_entropy(benchmark, name, who):
    F, b, log_p = PROBLEMS[name]
    benchmark.group = f"maximum entropy, {name} (error: of the worst log-probability)"
    found = benchmark.pedantic(SOLVERS[who], args=(F, b), rounds=5, warmup_rounds=1)
    benchmark.extra_info["error"] = float(np.abs(found - log_p).max())
