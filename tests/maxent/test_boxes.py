"""Bounds of one problem and of many at once: the conditions that only the optimum meets."""

import numpy as np
import pytest
import scipy.sparse
from known_class import exact_values

from infogeo import Status
from infogeo.maxent import c_maximize
from infogeo.maxent._dual import stack


def draw(rng, count, m, c, is_shared):
    """Draw features and bounds of every kind: between, equal, one-sided, none."""
    F = rng.normal(size=(m, c) if is_shared else (count, m, c))
    C = rng.normal(size=(count, c))
    C[rng.random(C.shape) < 0.1] = -np.inf
    C[:, 0] = 0.0
    p = np.where(np.isneginf(C), 0.0, rng.random((count, c)))
    if not is_shared:  # what is ruled out must not count for anything
        F = np.where(np.isneginf(C)[:, None], 1e14, F)
    centre = (F @ (p / p.sum(axis=-1, keepdims=True))[:, :, None])[:, :, 0]
    lower, upper = (centre + sign * 0.4 * rng.random((count, m)) for sign in (-1.0, 1.0))
    lower[rng.random(lower.shape) < 0.2] = -np.inf
    upper[rng.random(upper.shape) < 0.2] = np.inf
    lower[::7], upper[::7] = centre[::7], centre[::7]
    return F, C, lower, upper


@pytest.fixture
def alone(monkeypatch):
    """The numbers of features of the problems that are solved by themselves."""
    seen = []

    def solve_box(member, *others):
        seen.append(member.features.shape)
        return original(member, *others)

    original = stack.solve_box
    monkeypatch.setattr(stack, "solve_box", solve_box)
    return seen


@pytest.mark.parametrize("is_shared", [True, False])
def test_many_boxes_meet_the_conditions_of_an_optimum(rng, alone, is_shared):
    F, C, lower, upper = draw(rng, 200, 3, 9, is_shared)
    found = c_maximize(F, log_base=C, lower=lower, upper=upper)
    assert len(alone) < 20
    assert (found.member_status == Status.CONVERGED).sum() > 190
    mean = (F @ found.probabilities[:, :, None])[:, :, 0]
    assert (mean >= lower - 1e-12).all()
    assert (mean <= upper + 1e-12).all()
    assert ((mean - lower)[found.theta > 0.0] < 1e-12).all()
    assert ((upper - mean)[found.theta < 0.0] < 1e-12).all()
    solved, allowed = found.member_status == Status.CONVERGED, np.isfinite(C)
    log_p = C + (found.theta[:, None] @ F)[:, 0] - found.log_partition[:, None]
    on = allowed & solved[:, None]
    np.testing.assert_allclose(found.log_probabilities[on], log_p[on], rtol=0.0, atol=1e-12)
    assert (found.probabilities[~allowed] == 0.0).all()
    np.testing.assert_array_equal(found.rank[solved], (found.theta != 0.0).sum(axis=-1)[solved])
    p, expected = found.probabilities, np.where(allowed, C, 0.0)
    values = found.entropy + (p * expected).sum(axis=-1)
    np.testing.assert_allclose(found.value, values, rtol=1e-12, atol=1e-13)
    assert found.residual.max() < 1e-12
    assert (found.steps >= (found.theta != 0.0).any(axis=-1)).all()


def test_boxes_of_a_batch_end_as_they_do_alone(rng):
    F, C, lower, upper = draw(rng, 40, 3, 7, True)
    F = np.vstack([F, F[:1] + F[1:2]])  # a redundant feature
    lower, upper = np.hstack([lower, lower[:, :1]]), np.hstack([upper, upper[:, 2:]])
    lower[:, 3], upper[:, 3] = np.minimum(lower, upper)[:, 3], np.maximum(lower, upper)[:, 3] + 0.3
    lower[::5, 0], upper[::5, 0] = F[0].max(), F[0].max() + 1.0  # an edge, or out of reach
    together = c_maximize(F, log_base=C, lower=lower, upper=upper, throw=False)
    for k in range(40):
        one = c_maximize(F, log_base=C[k], lower=lower[k], upper=upper[k], throw=False)
        assert together.member_status[k] is one.status
        if one.status.is_solution:
            error = together.error_bound[k] + one.error_bound + 1e-15
            on = one.support
            np.testing.assert_array_equal(together.support[k], on)
            logs = together.log_probabilities[k][on] - one.log_probabilities[on]
            assert np.abs(logs).max() <= error
    assert len(set(together.member_status)) == 3


def test_members_of_a_batch_may_differ_in_scale(rng, alone):
    F = rng.normal(size=(2, 5))
    scales = 2.0 ** np.array([100, 0, -100, 3])[:, None]
    centre = F @ rng.dirichlet(np.ones(5))
    lower, upper = (scales * (centre + np.array(x)) for x in ([0.1, -0.3], [0.2, -0.2]))
    found = c_maximize(scales[:, :, None] * F, lower=lower, upper=upper)
    assert len(alone) == 0
    np.testing.assert_allclose(found.probabilities, found.probabilities[[1] * 4], rtol=1e-11)
    means = (scales[:, :, None] * F @ found.probabilities[:, :, None])[:, :, 0]
    assert ((means >= lower - 1e-12 * scales) & (means <= upper + 1e-12 * scales)).all()


def test_gradients_of_many_boxes(rng, alone):
    torch = pytest.importorskip("torch")
    F = rng.normal(size=(2, 5))
    centre = rng.dirichlet(np.ones(5), size=12) @ F.T
    arrays = [F, rng.normal(size=(12, 5)), centre - 0.1, centre + 0.2]
    tensors = [torch.tensor(x, requires_grad=True) for x in arrays]

    def solve(F, C, lower, upper):
        found = c_maximize(F, log_base=C, lower=lower, upper=upper)
        return found.probabilities, found.theta, found.log_partition, found.value

    assert (solve(*tensors)[1] != 0.0).any(dim=0).all()  # some bounds of each feature are met
    assert len(alone) < 4
    assert torch.autograd.gradcheck(solve, tensors)


@pytest.mark.parametrize("margin", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("as_sparse", [False, True])
def test_bounds_that_hold_anyway_hide_no_contradiction(rng, margin, as_sparse):
    # Features 0 and 1 add up to 2; a constant and a feature within its range say nothing.
    x = rng.integers(-3, 4, size=6).astype(float)
    F = np.vstack([x, 2.0 - x, np.full(6, 3.0), 3.0 + 1e-12 * np.arange(6), rng.normal(size=6)])
    lower = np.array([-0.5, 2.6, 3.0 - margin, 3.0 - margin, F[4].min() - margin])
    upper = np.array([0.1, 2.7, 3.0 + margin, 3.0 + margin, F[4].max() + margin])
    features = scipy.sparse.csr_array(F) if as_sparse else F
    found = c_maximize(features, lower=lower, upper=upper, throw=False)
    assert found.status is Status.INFEASIBLE
    np.testing.assert_array_equal(found.certificate != 0.0, [True, True, False, False, False])
    worst = np.where(found.certificate > 0.0, upper, lower)
    assert min(exact_values(F, worst, found.certificate)) > 0


def test_close_bounds_of_sparse_features_that_hardly_vary():
    F = scipy.sparse.csr_array(np.array([[0.0, 1.0, 2.0, 3.0], 3.0 + 1e-9 * np.arange(4)]))
    found = c_maximize(F, lower=[0.0, 3.0 + 2e-9], upper=[2.5, 3.0 + 2.2e-9])
    dense = c_maximize(np.arange(4.0)[None], lower=2.0, upper=2.2)
    np.testing.assert_allclose(found.probabilities, dense.probabilities, atol=1e-6)
