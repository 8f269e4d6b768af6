"""Large dense problems, in single precision but for the proof: true bounds, and a way back."""

import numpy as np
import pytest

from infogeo import Status
from infogeo.maxent import c_maximize
from infogeo.maxent._dual import large
from infogeo.maxent._dual.problem import Controls, Problem, evaluate
from infogeo.maxent._dual.proofs import norms_of
from infogeo.maxent._dual.reduce import reduce_features

NUM_OUTCOMES, NUM_FEATURES = 6000, 20


def features(kind, rng):
    F = rng.normal(size=(NUM_FEATURES, NUM_OUTCOMES))
    if kind == "correlated":
        F += 3.0 * rng.normal(size=NUM_OUTCOMES)
    if kind == "nearly dependent":
        F[1] = F[0] + 1e-7 * F[1]
    if kind == "heavy tails":
        F = rng.standard_t(3, size=F.shape)
    if kind == "rare":
        F[3] = np.isin(np.arange(NUM_OUTCOMES), [5, 17, 4001])
    if kind == "outlier":
        F[3, 4001] = 1e9
    if kind == "positive":
        F = 1.0 + 0.1 * np.abs(F)
    return F


def problem(kind, rng):
    """Return features, targets, a base, and the log-probabilities in extended precision."""
    F, C = features(kind, rng), rng.normal(size=NUM_OUTCOMES)
    theta = rng.normal(size=NUM_FEATURES) / np.sqrt(NUM_FEATURES) / F.std(axis=1)
    logits = C.astype(np.longdouble) + (theta.astype(np.longdouble)[:, None] * F).sum(0)
    log_p = logits - logits.max()
    log_p -= np.log(np.exp(log_p).sum())
    return F, (F * np.exp(log_p)).sum(-1).astype(float), C, log_p


def is_solved_at_large(F, b, C):
    one = Problem(F, b, C, np.finfo(float).eps)
    reduced, _ = reduce_features(one)
    return large.solve_large(one, reduced, Controls(1e-10, 100)) is not None


KINDS = ["normal", "correlated", "positive", "rare", "outlier", "heavy tails", "nearly dependent"]


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_of_large_problems_hold(rng, kind):
    F, b, C, log_p = problem(kind, rng)
    found = c_maximize(F, b, log_base=C, tol=1e-12)
    assert found.status is Status.CONVERGED
    assert float(np.abs(found.log_probabilities - log_p).max()) <= found.error_bound
    assert found.error_bound < 1e-6
    if kind in ("normal", "positive"):
        assert is_solved_at_large(F, b, C)
        assert found.error_bound < 1e-9


@pytest.mark.parametrize("kind", ["normal", "positive"])
def test_the_covariance_in_single_precision_is_as_close_as_it_says(rng, kind):
    F, b, C, _ = problem(kind, rng)
    one = Problem(F, b, C, np.finfo(float).eps)
    reduced, _ = reduce_features(one)
    # Far from the optimum the mean is no longer 0.
    point = evaluate(one, reduced, 0.3 * rng.normal(size=NUM_FEATURES))
    whitener, coarse = large._whitener(reduced.rows.astype(np.float32), point, reduced)
    centred = reduced.rows - point.mean[:, None]
    right = (centred * point.p) @ centred.T
    whitened = whitener @ right @ whitener.T  # the right one in units of the other
    assert np.linalg.eigvalsh(whitened)[0] >= np.exp(-coarse.doubt)
    norms = norms_of(whitener, reduced.rows, point.mean)
    assert norms.max() <= coarse.norms < 10.0 * norms.max()


def test_large_problems_without_an_ordinary_solution(rng):
    F = features("normal", rng)
    b = F.max(axis=1) + 1.0
    assert c_maximize(F, b, throw=False).status is Status.INFEASIBLE
    # A face: only the outcomes of the first feature's smallest value remain.
    F[0] = np.maximum(F[0], 1.0)
    b = F[:, F[0] == 1.0].mean(axis=1)
    found = c_maximize(F, b)
    assert found.status is Status.BOUNDARY
    np.testing.assert_array_equal(found.support, F[0] == 1.0)


def test_steps_of_large_problems_run_out(rng):
    F, b, C, _ = problem("normal", rng)
    found = c_maximize(F, b, log_base=C, max_steps=2, throw=False)
    assert found.status is Status.MAX_STEPS
    assert found.steps <= 2
