"""Large dense problems, in single precision but for the proof: true bounds, and a way back."""

import numpy as np
import pytest
import scipy.sparse

from infogeo import Status
from infogeo.maxent import c_maximize
from infogeo.maxent._dual import large, sparse
from infogeo.maxent._dual.linear import norms_of
from infogeo.maxent._dual.problem import Controls, Problem

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
    return large.solve_large(one, Controls(1e-10, 100)) is not None


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


@pytest.mark.parametrize("kind", ["normal", "positive", "correlated"])
def test_the_covariance_in_single_precision_is_as_close_as_it_says(rng, kind):
    F, b, C, _ = problem(kind, rng)
    view = large.Large.of(F, b, C - C.max(), F.std(axis=1), np.zeros(b.size))
    # Far from the optimum the mean is no longer 0.
    point = view.evaluate(0.3 * rng.normal(size=NUM_FEATURES), 0.0)
    curvature = view.curvature(point)
    rows = (F - b[:, None]) / F.std(axis=1)[:, None]
    centred = rows - point.mean[:, None]
    right = (centred * point.p) @ centred.T
    whitened = curvature.whitener @ right @ curvature.whitener.T  # in units of the other
    smallest, *_, largest = np.linalg.eigvalsh(whitened)
    assert np.exp(-curvature.doubt) <= smallest <= largest <= np.exp(curvature.doubt)
    norms = norms_of(curvature.whitener, rows, np.zeros(b.size))
    assert 2.0 * norms.max() <= curvature.lever < 100.0 * norms.max()
    assert (np.linalg.norm(rows, axis=0) <= curvature.lengths).all()
    assert np.linalg.norm(curvature.whitener, 2) <= curvature.largest


@pytest.mark.parametrize("kind", ["normal", "positive"])
def test_rounding_of_large_problems_is_within_its_bounds(rng, kind):
    F, b, C, _ = problem(kind, rng)
    view = large.Large.of(F, b, C - C.max(), F.std(axis=1), np.zeros(b.size))
    point = view.evaluate(rng.normal(size=NUM_FEATURES), 0.0, accurate=True)
    curvature = view.curvature(point)
    wide = np.longdouble
    theta = point.t.astype(wide) / view.unit
    logits = (C - C.max()).astype(wide) + (theta[:, None] * (F.astype(wide) - b[:, None])).sum(0)
    log_p = logits - np.log(np.exp(logits).sum())
    gradient = ((F.astype(wide) - b[:, None]) * np.exp(log_p)).sum(-1) / view.unit
    of_gradient, of_logits = view.rounding(curvature, point, 0.0)
    assert (np.abs(point.logits - point.value - log_p) <= of_logits + point.p @ of_logits).all()
    off = curvature.whitener @ (point.gradient - gradient).astype(float)
    assert np.linalg.norm(off) <= of_gradient


def sparse_problem(rng):
    """Return sparse features, targets, and the log-probabilities in extended precision."""
    entries = rng.normal(size=(NUM_FEATURES, NUM_OUTCOMES))
    entries *= rng.random(entries.shape) < 0.9
    theta = rng.normal(size=NUM_FEATURES) / np.sqrt(NUM_FEATURES)
    logits = (theta.astype(np.longdouble)[:, None] * entries).sum(0)
    log_p = logits - np.log(np.exp(logits).sum())
    F = scipy.sparse.csr_array(entries)
    return F, (entries * np.exp(log_p)).sum(-1).astype(float), log_p


def test_large_sparse_problems(rng):
    F, b, log_p = sparse_problem(rng)
    assert is_solved_at_large(F, b, np.zeros(NUM_OUTCOMES))
    found = c_maximize(F, b, tol=1e-12)
    assert found.rank == NUM_FEATURES
    assert float(np.abs(found.log_probabilities - log_p).max()) <= found.error_bound < 1e-8
    assert found.residual < 1e-13
    first = found.theta @ F[:, [0]].toarray()[:, 0] - found.log_partition
    assert float(abs(first - log_p[0])) < 1e-12


def test_large_sparse_problems_of_dependent_features_have_a_way_back(rng):
    F, b, log_p = sparse_problem(rng)
    F, b = scipy.sparse.vstack([F, F[[0]] + F[[1]]]).tocsr(), np.append(b, b[0] + b[1])
    assert not is_solved_at_large(F, b, np.zeros(NUM_OUTCOMES))
    found = c_maximize(F, b)
    assert found.rank == NUM_FEATURES
    assert float(np.abs(found.log_probabilities - log_p).max()) <= found.error_bound < 1e-6


def test_rounding_of_large_sparse_problems_is_within_its_bounds(rng):
    F, b, _ = sparse_problem(rng)
    view = sparse.SparseReduced.of(Problem(F, b, np.zeros(NUM_OUTCOMES), 0.0))
    point = view.evaluate(rng.normal(size=NUM_FEATURES))
    curvature = view.curvature(point)
    wide = np.longdouble
    rows = view.rows.toarray().astype(wide) - view.targets[:, None]
    logits = (point.t.astype(wide)[:, None] * rows).sum(0)
    log_p = logits - np.log(np.exp(logits).sum())
    of_gradient, of_logits = view.rounding(curvature, point, 0.0)
    assert (np.abs(point.logits - point.value - log_p) <= of_logits + point.p @ of_logits).all()
    off = curvature.whitener @ (point.gradient - (rows * np.exp(log_p)).sum(-1)).astype(float)
    assert np.linalg.norm(off) <= of_gradient < 1e-9
    norms = norms_of(curvature.whitener, view.rows.toarray(), point.mean)
    assert 2.0 * norms.max() <= curvature.lever
    covariance = (rows * point.p) @ rows.T - np.outer(point.gradient, point.gradient)
    whitened = curvature.whitener @ covariance.astype(float) @ curvature.whitener.T
    np.testing.assert_allclose(whitened, np.eye(NUM_FEATURES), atol=1e-10)


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
