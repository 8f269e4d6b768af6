"""Batches: the same answers as one by one, whatever their members are."""

import time

import numpy as np
import pytest

from infogeo import SolveError, Status
from infogeo.maxent import c_maximize, max_entropy
from infogeo.maxent._dual.batch import _BLOCK_SIZE

DIE = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])


def draw(rng, size, num_features, num_outcomes, concentration=1.0):
    F = rng.normal(size=(size, num_features, num_outcomes))
    p = rng.dirichlet(np.full(num_outcomes, concentration), size=size)
    return F, np.einsum("nmc,nc->nm", F, p), rng.normal(size=(size, num_outcomes))


def assert_same(batch, k, single):
    assert batch.member_status[k] is single.status
    for name in ("probabilities", "theta", "log_partition", "value", "entropy"):
        together, alone = getattr(batch, name)[k], getattr(single, name)
        np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(batch.support[k], single.support)
    assert batch.rank[k] == single.rank
    np.testing.assert_allclose(batch.error_bound[k], single.error_bound, rtol=0.5)


@pytest.mark.parametrize("shape", [(3, 10), (1, 2), (6, 8), (20, 100), (2, 3000)])
@pytest.mark.parametrize("concentration", [0.3, 3.0])
def test_a_batch_is_its_members(rng, shape, concentration):
    F, b, C = draw(rng, 20, *shape, concentration)
    batch = c_maximize(F, b, log_base=C)
    assert batch.status is Status.CONVERGED
    for k in range(20):
        assert_same(batch, k, c_maximize(F[k], b[k], log_base=C[k]))


def test_members_of_every_kind(rng):
    # Ordinary, on an edge, on a face of several features, out of range, clashing, redundant.
    F = rng.integers(-3, 4, size=(60, 3, 9)).astype(float)
    F[30:40, 2] = F[30:40, 0] - F[30:40, 1]
    b = F @ np.full(9, 1.0 / 8.0) - 0.125 * F[:, :, 0]  # the mean of the last eight outcomes
    b[5], b[6] = F[5, :, 2], F[6].max(-1) + 1.0
    b[10:20] = F[10:20, :, :2].mean(-1)
    b[35, 2] += 1.0
    C = np.where(rng.random((60, 9)) < 0.05, -np.inf, rng.normal(size=(60, 9)))
    C[:, 1:3] = 0.0
    batch = c_maximize(F, b, log_base=C, throw=False)
    for k in range(60):
        single = c_maximize(F[k], b[k], log_base=C[k], throw=False)
        assert batch.member_status[k] is single.status
        if single.status.is_solution:
            assert_same(batch, k, single)
        for name in ("certificate", "direction"):
            alone, together = getattr(single, name), getattr(batch, name)[k]
            np.testing.assert_array_equal(together, np.full(3, np.nan) if alone is None else alone)
    kinds = set(batch.member_status)
    assert kinds >= {Status.CONVERGED, Status.BOUNDARY, Status.INFEASIBLE}
    assert batch.status is Status.INFEASIBLE


def test_ruled_out_outcomes_differ_between_members(rng):
    F, b, C = draw(rng, 30, 2, 8)
    C[np.arange(30), np.arange(30) % 8] = -np.inf
    F[np.arange(30), :, np.arange(30) % 8] = 1e6  # must not count for anything
    p = np.where(np.isfinite(C), 1.0 / 7.0, 0.0)
    b = np.einsum("nmc,nc->nm", F, p)
    batch = c_maximize(F, b, log_base=C)
    np.testing.assert_array_equal(batch.support, np.isfinite(C))
    for k in range(30):
        assert_same(batch, k, c_maximize(F[k], b[k], log_base=C[k]))


def test_one_set_of_features_for_many_targets(rng):
    F = rng.normal(size=(3, 12))
    p = rng.dirichlet(np.ones(12), size=(4, 50))
    batch = max_entropy(F, p @ F.T)
    assert batch.member_status.shape == (4, 50)
    np.testing.assert_allclose(batch.probabilities @ F.T, p @ F.T, atol=1e-13)


def test_members_of_several_blocks_are_told_apart(rng):
    count, F = 8_000, rng.normal(size=(3, 10))
    assert count * F.size > _BLOCK_SIZE
    targets = rng.dirichlet(np.ones(10), size=count) @ F.T
    found = c_maximize(F, targets)
    missed = np.abs(found.probabilities @ F.T - targets)
    assert missed.max() < 1e-12
    np.testing.assert_allclose(found.residual, missed.max(axis=-1), atol=1e-14)
    assert found.dual_gap.max() < 1e-20


def test_bounds_of_a_batch_hold(rng):
    # p known by construction, in extended precision.
    F = rng.normal(size=(500, 3, 10))
    theta = rng.normal(size=(500, 3)) / np.sqrt(3.0)
    logits = (theta.astype(np.longdouble)[:, :, None] * F).sum(1)
    log_p = logits - logits.max(-1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(-1, keepdims=True))
    batch = max_entropy(F, (F * np.exp(log_p)[:, None]).sum(-1).astype(float))
    errors = np.abs(np.log(batch.probabilities) - log_p.astype(float)).max(-1)
    assert (errors <= batch.error_bound).all()
    assert errors.max() < 1e-11
    assert np.median(batch.error_bound) < 1e-12
    np.testing.assert_allclose(batch.theta, theta, atol=1e-11)


def test_targets_of_float32_in_a_batch(rng):
    F, b, _ = draw(rng, 50, 2, 6)
    exact = max_entropy(F.astype(np.float32).astype(float), b)
    coarse = max_entropy(F.astype(np.float32), b.astype(np.float32))
    assert coarse.probabilities.dtype == np.float32
    errors = np.abs(np.log(coarse.probabilities.astype(float) / exact.probabilities)).max(-1)
    assert (errors <= coarse.error_bound).all()


@pytest.mark.parametrize("max_steps", [1, 3, 6])
def test_steps_run_out_for_some(rng, max_steps):
    F, b, C = draw(rng, 40, 3, 10, 0.5)
    batch = c_maximize(F, b, log_base=C, max_steps=max_steps, throw=False)
    assert (batch.steps <= max_steps).all()
    assert set(batch.member_status) <= {Status.CONVERGED, Status.MAX_STEPS}
    full = c_maximize(F, b, log_base=C)
    done = np.array([status is Status.CONVERGED for status in batch.member_status])
    np.testing.assert_allclose(batch.probabilities[done], full.probabilities[done], atol=1e-9)
    if not done.all():
        with pytest.raises(SolveError, match="of 40 problems failed"):
            c_maximize(F, b, log_base=C, max_steps=max_steps)


def test_batches_live_where_the_input_lives(lib, rng):
    F, b, C = draw(rng, 12, 2, 5)
    batch = c_maximize(lib.array(F), lib.array(b), log_base=lib.array(C))
    reference = c_maximize(F, b, log_base=C)
    assert lib.owns(batch.probabilities)
    np.testing.assert_array_equal(lib.to_numpy(batch.probabilities), reference.probabilities)
    assert isinstance(batch.member_status, np.ndarray)


def test_a_batch_is_much_faster_than_a_loop(rng):
    F, b, _ = draw(rng, 2000, 3, 10)
    start = time.perf_counter()
    max_entropy(F, b)
    together = (time.perf_counter() - start) / 2000
    start = time.perf_counter()
    for k in range(20):
        max_entropy(F[k], b[k])
    assert together < (time.perf_counter() - start) / 20 / 10


def test_a_batch_of_the_same_dependent_features(rng):
    # Margins of a table, one of them doubled: rank 5 of 8. Two members contradict themselves.
    F = np.vstack([np.repeat(np.eye(3), 4, axis=1), np.tile(np.eye(4), 3), np.ones((1, 12)) * 0.3])
    F[7] += 2.0 * F[1]
    C = np.where(np.arange(12) == 5, -np.inf, rng.normal(size=(40, 12)))
    p = rng.dirichlet(np.ones(11), size=40)
    b = np.insert(p, 5, 0.0, axis=1) @ F.T
    b[3, 7] += 1e-6
    b[9, 0] += 0.1
    start = rng.normal(size=(40, 8))
    batch = c_maximize(F, b, log_base=C, initial_theta=start, throw=False)
    for k in range(40):
        single = c_maximize(F, b[k], log_base=C[k], initial_theta=start[k], throw=False)
        assert batch.member_status[k] is single.status
        assert (single.status is Status.INFEASIBLE) == (k in (3, 9))
        if k in (3, 9):
            continue
        assert batch.rank[k] == single.rank == 5
        for name in ("probabilities", "theta", "log_partition", "value", "entropy"):
            together, alone = getattr(batch, name)[k], getattr(single, name)
            np.testing.assert_allclose(together, alone, rtol=1e-11, atol=1e-12)
        assert batch.residual[k] < 1e-14
        assert batch.error_bound[k] < 1e-10


def test_gradients_of_a_batch_of_dependent_features(rng):
    torch = pytest.importorskip("torch")
    rows = rng.normal(size=(2, 6))
    F = torch.tensor(np.vstack([rows, rows.sum(0)]))
    C = torch.tensor(rng.normal(size=(3, 6)), requires_grad=True)
    b = torch.tensor(rng.dirichlet(np.full(6, 2.0), size=3) @ rows.T, requires_grad=True)

    def solve(b, C):
        targets = torch.cat([b, b.sum(-1, keepdim=True)], dim=-1)
        found = c_maximize(F, targets, log_base=C)
        return found.probabilities, found.theta, found.value

    assert torch.autograd.gradcheck(solve, (b, C))
