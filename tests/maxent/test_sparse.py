"""Sparse features: answers known by construction, the same as for dense features, honest bounds."""

import numpy as np
import pytest
import scipy.sparse
from known_class import assert_on_face, draw_problem, exact_values

from infogeo import SolveError, Status
from infogeo.maxent import c_maximize, max_entropy
from infogeo.maxent._dual import single
from infogeo.maxent._dual.proofs import bound_of, growth_of


def draw(rng, num_features, num_outcomes, per_outcome=5, size=0.3):
    """Return sparse features, targets, C, theta and log p, in extended precision."""
    where = rng.integers(0, num_features, size=(num_outcomes, per_outcome)).ravel()
    entries = (
        rng.normal(size=where.size),
        (where, np.repeat(np.arange(num_outcomes), per_outcome)),
    )
    F = scipy.sparse.csr_array(scipy.sparse.coo_array(entries, shape=(num_features, num_outcomes)))
    theta, C = rng.normal(size=num_features) * size, rng.normal(size=num_outcomes)
    logits = (C + F.T @ theta).astype(np.longdouble)
    log_p = logits - logits.max()
    log_p -= np.log(np.exp(log_p).sum())
    return F, F @ np.exp(log_p).astype(float), C, theta, log_p.astype(float)


@pytest.mark.parametrize("shape", [(3, 30), (40, 1000), (200, 20_000)])
def test_known_by_construction(rng, shape):
    F, b, C, theta, log_p = draw(rng, *shape)
    found = c_maximize(F, b, log_base=C)
    assert found.status is Status.CONVERGED
    error = np.abs(np.log(found.probabilities) - log_p).max()
    assert error <= found.error_bound < 1e-7
    assert error < 1e-11
    np.testing.assert_allclose(found.theta, theta, rtol=0, atol=1e-10)
    assert found.rank == shape[0]


def test_sparse_and_dense_agree(rng):
    F, b, C, *_ = draw(rng, 10, 200)
    C[7] = -np.inf
    b = F @ np.where(np.isfinite(C), 1.0 / 199.0, 0.0)
    sparse = c_maximize(F, b, log_base=C)
    dense = c_maximize(F.toarray(), b, log_base=C)
    for name in ("probabilities", "theta", "log_partition", "value", "entropy"):
        together, alone = getattr(sparse, name), getattr(dense, name)
        np.testing.assert_allclose(together, alone, rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(sparse.support, dense.support)
    for kind in (scipy.sparse.csc_array, scipy.sparse.coo_matrix, scipy.sparse.csr_matrix):
        np.testing.assert_allclose(
            c_maximize(kind(F), b, log_base=C).probabilities, sparse.probabilities, rtol=1e-12
        )


def test_margins_of_a_large_table(rng):
    # 200 + 300 margins, of rank 498, for 60,000 cells: independence.
    p, q = rng.dirichlet(np.ones(200)), rng.dirichlet(np.ones(300))
    F = scipy.sparse.vstack(
        [
            scipy.sparse.kron(scipy.sparse.eye_array(200), np.ones((1, 300))),
            scipy.sparse.kron(np.ones((1, 200)), scipy.sparse.eye_array(300)),
        ]
    )
    found = max_entropy(F, np.concatenate([p, q]))
    assert found.status is Status.CONVERGED
    assert found.rank == 498
    np.testing.assert_allclose(found.probabilities, np.outer(p, q).ravel(), rtol=1e-9)
    assert np.abs(np.log(found.probabilities / np.outer(p, q).ravel())).max() < found.error_bound


def test_a_penalty_on_sparse_features(rng):
    F, b, C, *_ = draw(rng, 20, 500)
    found = c_maximize(F, b + 3.0, log_base=C, penalty=0.5)
    dense = c_maximize(F.toarray(), b + 3.0, log_base=C, penalty=0.5)
    np.testing.assert_allclose(found.probabilities, dense.probabilities, rtol=1e-11)
    np.testing.assert_allclose(found.theta, dense.theta, rtol=1e-9, atol=1e-11)


def test_targets_at_the_end_of_their_range(rng):
    F = abs(draw(rng, 6, 100, per_outcome=1)[0])
    b = F @ np.full(100, 0.01)
    b[2] = 0.0
    found, dense = max_entropy(F, b), max_entropy(F.toarray(), b)
    assert found.status is dense.status is Status.BOUNDARY
    np.testing.assert_array_equal(found.support, dense.support)
    np.testing.assert_allclose(found.probabilities, dense.probabilities, rtol=1e-11)
    values = found.direction @ (F.toarray() - b[:, None])
    assert (values[found.support] == 0.0).all()
    assert (values[~found.support] > 0.0).all()


def test_infeasible_targets_are_proved(rng):
    F, b, C, *_ = draw(rng, 12, 300)
    dense = F.toarray()
    b[3] = dense[3].max() + 0.1
    with pytest.raises(SolveError, match=r"the mean of feature 3 is at (most|least) .* was asked"):
        c_maximize(F, b, log_base=C)
    b = 0.9 * dense[:, 5] * np.sign(dense[:, 5]).sum() + 3.0 * dense[:, 5]
    found = c_maximize(F, b, log_base=C, throw=False)
    assert found.status is Status.INFEASIBLE
    assert (found.certificate @ (dense - b[:, None])).min() > 0.0


def test_contradictions_are_not_called_solved(rng):
    F, b, C, *_ = draw(rng, 8, 200)
    doubled = scipy.sparse.vstack([F, F[[2]] * 2.0])
    consistent = c_maximize(doubled, np.append(b, 2.0 * b[2]), log_base=C)
    assert consistent.status is Status.CONVERGED
    assert consistent.rank == 8
    with pytest.raises(SolveError, match="features 2, 8 clash") as caught:
        c_maximize(doubled, np.append(b, 2.0 * b[2] + 1e-6), log_base=C)
    eta = caught.value.result.certificate
    values = eta @ (doubled.toarray() - np.append(b, 2.0 * b[2] + 1e-6)[:, None])
    np.testing.assert_allclose(values, 0.5e-6, rtol=1e-6)  # the largest entry of eta is 1
    for gap in (1e-9, 1e-11, 1e-12):
        found = c_maximize(doubled, np.append(b, 2.0 * b[2] + gap), log_base=C, throw=False)
        assert found.status in (Status.INFEASIBLE, Status.UNDECIDED)


def test_a_batch_of_targets_for_sparse_features(rng):
    F, b, C, *_ = draw(rng, 5, 100)
    batch = c_maximize(F, np.stack([b, 0.9 * b]), log_base=C)
    for k, targets in enumerate((b, 0.9 * b)):
        single = c_maximize(F, targets, log_base=C)
        np.testing.assert_array_equal(batch.probabilities[k], single.probabilities)


def test_steps_run_out_and_are_counted(rng):
    F, b, C, theta, _ = draw(rng, 30, 500)
    with pytest.raises(SolveError, match="2 steps ran out"):
        c_maximize(F, b, log_base=C, max_steps=2)
    seen = []
    cold = c_maximize(F, b, log_base=C, callback=lambda *x: seen.append(x))
    assert seen[-1][0] == cold.steps
    assert c_maximize(F, b, log_base=C, initial_theta=theta).steps < cold.steps


def test_bad_arguments(rng):
    F, b, *_ = draw(rng, 3, 20)
    with pytest.raises(ValueError, match=r"features must have shape \(m, c\)"):
        max_entropy(F[:0], 0.0)
    with pytest.raises(ValueError, match=r"targets must .* has 3 "):
        max_entropy(F, [1.0, 2.0])
    broken = F.copy()
    broken.data[0] = np.nan
    with pytest.raises(ValueError, match="features must be finite"):
        max_entropy(broken, b)
    with pytest.raises(TypeError, match="real numbers"):
        max_entropy(F.astype(complex), b)


def test_a_face_that_steps_only_approach_is_found_without_dense_features(monkeypatch):
    """A covariance that loses a direction with a vanishing probability proves nothing."""
    monkeypatch.setattr(single, "_LARGEST_DENSE", 0)
    F = np.array([[1.0, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1]])
    C = [0.0, -np.inf, 0.0, 0.0]
    dense = c_maximize(F, 0.5, log_base=C)
    np.testing.assert_array_equal(dense.probabilities, [0.5, 0.0, 0.0, 0.5])
    sparse = c_maximize(scipy.sparse.csr_array(F), 0.5, log_base=C)
    np.testing.assert_array_equal(sparse.probabilities, dense.probabilities)
    assert sparse.status is Status.BOUNDARY


@pytest.mark.parametrize(
    "count", [120, pytest.param(600, marks=[pytest.mark.slow, pytest.mark.campaign])]
)
@pytest.mark.parametrize("as_dense", [True, False])
def test_campaign_of_small_problems_of_known_class(monkeypatch, as_dense, count):
    # Interior, boundary and infeasible in turn. No wrong claim, with the help of dense features
    # or without.
    if not as_dense:
        monkeypatch.setattr(single, "_LARGEST_DENSE", 0)
    rng = np.random.default_rng(11)
    undecided = 0
    for k in range(count):
        kind = ("interior", "boundary", "infeasible")[k % 3]
        F, b, C, support = draw_problem(rng, kind)
        found = c_maximize(scipy.sparse.csr_array(F), b, log_base=C, throw=False)
        if found.status in (Status.UNDECIDED, Status.MAX_STEPS):
            undecided += 1
        elif kind == "infeasible":
            assert found.status is Status.INFEASIBLE
            assert min(exact_values(F, b, found.certificate)) > 0
        elif kind == "boundary":
            assert_on_face(found, F, b, C, support)
        else:
            dense = c_maximize(F, b, log_base=C)
            assert found.status is dense.status is Status.CONVERGED
            error = np.abs(np.log(found.probabilities / dense.probabilities)).max()
            assert error <= found.error_bound + dense.error_bound
    assert undecided <= 0.005 * count


def hidden_face(rng, num_features, num_outcomes, num_off):
    """Return indicators and targets that leave the last outcomes no mass, and p.

    A combination of two rows is 0 on the face and positive off it; no single row shows it.
    """
    F = draw(rng, num_features - 2, num_outcomes)[0]
    on = num_outcomes - num_off
    shown = scipy.sparse.random_array((1, num_outcomes), density=0.2, random_state=rng).tocsr()
    excess = scipy.sparse.csr_array(
        (np.full(num_off, 0.5), (np.zeros(num_off, int), np.arange(on, num_outcomes))),
        shape=(1, num_outcomes),
    )
    F = scipy.sparse.vstack([F, shown, shown + excess], format="csr")
    theta = 0.3 * rng.normal(size=num_features)
    logits = (F.T @ theta)[:on]
    p = np.zeros(num_outcomes)
    p[:on] = np.exp(logits - logits.max())
    return F, F @ (p / p.sum()), p / p.sum()


@pytest.mark.parametrize("shape", [(10, 2000, 3), (40, 60_000, 20_000)])
def test_a_large_hidden_face(rng, shape):
    F, b, p = hidden_face(rng, *shape)
    found = max_entropy(F, b)
    assert found.status is Status.BOUNDARY
    np.testing.assert_array_equal(found.support, p > 0.0)
    error = np.abs(np.log(found.probabilities[p > 0] / p[p > 0])).max()
    assert error <= found.error_bound < 1e-6
    values = found.direction @ F - found.direction @ b
    assert np.abs(values[p > 0]).max() < 1e-9 * values[p == 0].min()


def test_infeasible_within_an_edge_is_proved(rng):
    # The first target leaves the outcomes where a row of two values is 0; there the second fails.
    F = np.vstack([np.repeat([0.0, 1.0], 500), np.r_[np.linspace(0, 1, 500), np.full(500, 9.0)]])
    found = max_entropy(scipy.sparse.csr_array(F), [0.0, 1.5], throw=False)
    assert found.status is Status.INFEASIBLE
    assert min(exact_values(F, [0.0, 1.5], found.certificate)) > 0


def test_a_step_that_runs_off_is_no_proof_and_no_crash():
    """On the way the logits move by 1e20, whose exponential overflows; the solve goes on."""
    F = np.zeros((4, 7))
    F[0, [2, 3, 5]] = F[1, 2] = 1.0
    F[2, [4, 5]] = F[3, [0, 2, 6]] = 1.0
    b = np.array([0.85888481, 0.00390625, 0.01611328, 0.09765816])
    C = np.array([8.285, 2.776, 1.56, -7.078, -7.027, 6.093, -12.377])
    found = c_maximize(scipy.sparse.csr_array(F), b, log_base=C)
    np.testing.assert_allclose(F @ found.probabilities, b, rtol=1e-12)
    tilt = np.log(found.probabilities) - C - found.theta @ F
    np.testing.assert_allclose(tilt, tilt[0], atol=1e-9)


def test_growth_beyond_all_numbers_proves_nothing():
    size, x, _ = bound_of(1e-12, 1e-15, 1e-15, 10.0, 1e20)
    assert size == x == np.inf
    assert growth_of(2.0) == pytest.approx(np.e)
