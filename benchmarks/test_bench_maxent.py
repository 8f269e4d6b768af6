"""C-maximisation with known solutions, beside scipy on the dual and a cone solver."""

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
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


def by_scipy(method, options, needs_hessian=False):
    """Return a solver that minimises the dual with scipy."""

    def solve(F, b):
        A = F - b[:, None]

        def dual(theta):
            z = theta @ A
            return logsumexp(z), A @ np.exp(log_softmax(z))

        def hessian(theta):
            p = np.exp(log_softmax(theta @ A))
            mean = A @ p
            return (A * p) @ A.T - np.outer(mean, mean)

        found = scipy.optimize.minimize(
            dual,
            np.zeros(len(b)),
            jac=True,
            hess=hessian if needs_hessian else None,
            method=method,
            options=options,
        )
        return log_softmax(found.x @ A)

    return solve


LBFGS_OPTIONS = {"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-10}
by_lbfgs = by_scipy("L-BFGS-B", LBFGS_OPTIONS)


def by_clarabel(F, b):
    cvxpy = pytest.importorskip("cvxpy")
    p = cvxpy.Variable(F.shape[1])
    constraints = [F @ p == b, cvxpy.sum(p) == 1]
    cvxpy.Problem(cvxpy.Maximize(cvxpy.sum(cvxpy.entr(p))), constraints).solve(cvxpy.CLARABEL)
    return np.log(np.maximum(p.value, 1e-300))


SOLVERS = {
    "infogeo": by_infogeo,
    "scipy L-BFGS": by_lbfgs,
    "scipy Newton-CG": by_scipy("Newton-CG", {"xtol": 1e-12}, needs_hessian=True),
    "scipy trust-exact": by_scipy("trust-exact", {"gtol": 1e-10}, needs_hessian=True),
    "Clarabel through cvxpy": by_clarabel,
}
PROBLEMS = {f"{c:,} outcomes, {m} features": problem(c, m) for c, m in SIZES}
PROBLEMS["moments up to the 12th, 200 outcomes"] = moments()


@pytest.mark.parametrize("who", SOLVERS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_max_entropy(benchmark, name, who):
    F, b, log_p = PROBLEMS[name]
    benchmark.group = name
    found = benchmark.pedantic(SOLVERS[who], args=(F, b), rounds=5, warmup_rounds=1)
    benchmark.extra_info["error"] = float(np.abs(found - log_p).max())


@pytest.mark.parametrize("who", ["infogeo", "scipy L-BFGS"])
def test_many_outcomes_and_features(benchmark, who):
    F, b, log_p = problem(100_000, 100)
    benchmark.group = "100,000 outcomes, 100 features"
    found = benchmark.pedantic(SOLVERS[who], args=(F, b), rounds=5, warmup_rounds=1)
    benchmark.extra_info["error"] = float(np.abs(found - log_p).max())


# ---------------------------------------------------------------- many small problems

NUM_PROBLEMS = 10_000


def many_problems():
    rng = np.random.default_rng(0)
    F = rng.normal(size=(NUM_PROBLEMS, 3, 10))
    theta = rng.normal(size=(NUM_PROBLEMS, 3)) / np.sqrt(3.0)
    log_p = log_softmax(np.einsum("nm,nmc->nc", theta, F), axis=-1)
    return F, np.einsum("nmc,nc->nm", F, np.exp(log_p)), log_p


def in_a_loop(F, b):
    return np.array([by_lbfgs(*problem) for problem in zip(F, b, strict=True)])


MANY = {
    "infogeo, as one batch": lambda F, b: np.log(maxent.max_entropy(F, b).probabilities),
    "scipy L-BFGS in a loop": in_a_loop,
}


@pytest.mark.parametrize("who", MANY)
def test_many_problems(benchmark, who):
    F, b, log_p = many_problems()
    benchmark.group = f"{NUM_PROBLEMS:,} problems of 10 outcomes, 3 features"
    rounds = 1 if "loop" in who else 5
    found = benchmark.pedantic(MANY[who], args=(F, b), rounds=rounds)
    benchmark.extra_info["error"] = float(np.abs(found - log_p).max())


# ---------------------------------------------------------------- sparse


def sparse_problem(num_outcomes, num_features, per_outcome):
    rng = np.random.default_rng(0)
    where = rng.integers(0, num_features, size=num_outcomes * per_outcome)
    entries = (
        rng.normal(size=where.size),
        (where, np.repeat(np.arange(num_outcomes), per_outcome)),
    )
    F = scipy.sparse.csr_array(entries, shape=(num_features, num_outcomes))
    log_p = log_softmax(F.T @ (0.3 * rng.normal(size=num_features)))
    return F, F @ np.exp(log_p), log_p


SPARSE = {"infogeo": by_infogeo, "scipy L-BFGS": None}


@pytest.mark.parametrize("who", SPARSE)
def test_sparse(benchmark, who):
    F, b, log_p = sparse_problem(1_000_000, 1000, 10)
    benchmark.group = "1,000,000 outcomes, 1,000 sparse features, 1e7 entries"

    def by_sparse_lbfgs(F, b):
        columns = F.T.tocsr()

        def dual(theta):
            z = columns @ theta - theta @ b
            return logsumexp(z), F @ np.exp(log_softmax(z)) - b

        found = scipy.optimize.minimize(
            dual, np.zeros(len(b)), jac=True, method="L-BFGS-B", options=LBFGS_OPTIONS
        )
        return log_softmax(columns @ found.x)

    solve = SPARSE[who] or by_sparse_lbfgs
    found = benchmark.pedantic(solve, args=(F, b), rounds=2)
    benchmark.extra_info["error"] = float(np.abs(found - log_p).max())
