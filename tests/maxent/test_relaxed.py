"""Bounds, penalties, warm starts, callbacks: the conditions that only the optimum meets."""

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse

from infogeo import SolveError, Status
from infogeo.maxent import c_maximize, least_violation, max_entropy

DIE = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])


def assert_member(found, F, C):
    """Check the form: log p = C + theta'F - log_partition on the support."""
    on = found.support & (found.probabilities > 1e-290)  # less is rounded away
    log_p = (C + found.theta @ F - found.log_partition)[on]
    scale = 1.0 + np.abs(C).max() + (np.abs(found.theta) @ np.abs(F)).max()
    np.testing.assert_allclose(log_p, np.log(found.probabilities[on]), atol=1e-12 * scale)


# ---------------------------------------------------------------- penalty


def penalised(found, F, b, penalty):
    """Check the two conditions of the optimum: the form and E[F] = b - theta / penalty."""
    assert found.status is Status.CONVERGED
    miss = F @ found.probabilities - b
    size = 1.0 + np.abs(F).max()
    np.testing.assert_allclose(miss, -found.theta / penalty, rtol=1e-9, atol=1e-12 * size)


@pytest.mark.parametrize("penalty", [1e-6, 0.3, 10.0, 1e3])
@pytest.mark.parametrize("shape", [(1, 2), (3, 20), (9, 5)])
def test_the_conditions_of_a_penalty(rng, penalty, shape):
    F, C = rng.normal(size=shape), rng.normal(size=shape[1])
    b = rng.normal(size=shape[0]) * 2.0  # out of reach as often as not
    found = c_maximize(F, b, log_base=C, penalty=penalty)
    assert_member(found, F, C)
    penalised(found, F, b, penalty)
    assert found.error_bound < 1e-8 * (1.0 + penalty)  # log-probabilities are of that size


def test_penalties_of_features_whose_squares_overflow():
    found = c_maximize(1e160 * DIE, [4.5e160], penalty=1e-300)
    expected = c_maximize(DIE, [4.5], penalty=1e20)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-9)


def test_bounds_of_a_penalty_hold(rng):
    # theta and p known; the targets made from them in extended precision.
    for _ in range(20):
        F, C = rng.normal(size=(3, 8)), rng.normal(size=8)
        theta, penalty = rng.normal(size=3), np.exp(rng.normal(size=3))
        logits = C.astype(np.longdouble) + (theta.astype(np.longdouble)[:, None] * F).sum(0)
        log_p = logits - np.log(np.exp(logits).sum())
        b = ((F * np.exp(log_p)).sum(1) + theta / penalty).astype(float)
        found = c_maximize(F, b, log_base=C, penalty=penalty)
        error = np.abs(np.log(found.probabilities) - log_p.astype(float)).max()
        assert error <= found.error_bound < 1e-9
        np.testing.assert_allclose(found.theta, theta, rtol=0, atol=1e-12)


def test_a_large_penalty_is_a_constraint_and_a_small_one_is_none(rng):
    F, C = rng.normal(size=(2, 10)), rng.normal(size=10)
    b = F @ rng.dirichlet(np.ones(10))
    hard = c_maximize(F, b, log_base=C)
    soft = c_maximize(F, b, log_base=C, penalty=1e9)
    np.testing.assert_allclose(soft.probabilities, hard.probabilities, atol=1e-7)
    free = c_maximize(F, b, log_base=C, penalty=1e-12)
    np.testing.assert_allclose(free.probabilities, np.exp(C) / np.exp(C).sum(), atol=1e-10)


def test_a_penalty_too_large_for_float64_is_not_called_solved(rng):
    with pytest.raises(SolveError, match="penalty is so large") as caught:
        max_entropy([[0.0, 1.0, 3.0]], 5.0, penalty=1e14)
    assert caught.value.result.status is Status.UNDECIDED


@pytest.mark.parametrize("seed", range(2))
def test_large_penalties_of_targets_out_of_reach(seed):
    # theta is of the size of the penalty, and the steps go from vertex to vertex.
    rng = np.random.default_rng(seed)
    for _ in range(30):
        shape = (int(rng.integers(1, 7)), int(rng.integers(3, 20)))
        F, C = rng.normal(size=shape), rng.normal(size=shape[1])
        b = rng.normal(size=shape[0]) * 2.0
        found = c_maximize(F, b, log_base=C, penalty=1e6)
        assert found.status is Status.CONVERGED
        assert found.error_bound < 1e-2
        miss = F @ found.probabilities - b
        slack = 1e-12 + float(found.error_bound) * np.abs(F).max()
        np.testing.assert_allclose(miss, -found.theta / 1e6, rtol=0, atol=min(slack, 1e-8))


def test_contradictions_have_a_price(rng):
    # The same feature with two targets: the optimum is that of their mean, at twice the price.
    row = rng.normal(size=12)
    found = max_entropy([row, row], [0.2, 0.6], penalty=3.0)
    single = max_entropy([row], 0.4, penalty=6.0)
    np.testing.assert_allclose(found.probabilities, single.probabilities, rtol=1e-12)
    penalised(found, np.vstack([row, row]), np.array([0.2, 0.6]), 3.0)


def test_gradients_with_a_penalty(rng):
    torch = pytest.importorskip("torch")
    arrays = [rng.normal(size=(3, 7)), rng.normal(size=3), rng.normal(size=7)]
    tensors = [torch.tensor(x, requires_grad=True) for x in arrays]

    def solve(F, b, C):
        found = c_maximize(F, b, log_base=C, penalty=[0.5, 2.0, 7.0])
        return found.probabilities, found.theta, found.log_partition, found.value, found.entropy

    assert torch.autograd.gradcheck(solve, tensors)
    price = torch.tensor([0.5, 2.0, 7.0], dtype=torch.float64, requires_grad=True)
    with pytest.raises(ValueError, match="penalty has no gradient"):
        c_maximize(*tensors[:2], penalty=price)


# ---------------------------------------------------------------- bounds


def assert_optimal_in_box(found, F, lower, upper, C):
    """Check the conditions of Karush, Kuhn and Tucker; theta may be the limit of a direction."""
    assert found.status.is_solution
    assert_member(found, F, C)
    mean = F @ found.probabilities
    slack = 1e-9 * (1.0 + np.abs(F).max())
    assert (mean >= lower - slack).all()
    assert (mean <= upper + slack).all()
    theta = found.theta
    if found.direction is not None:
        theta = theta - 1e9 * found.direction
    theta = np.where(np.abs(theta) < 1e-9, 0.0, theta)
    at_lower, at_upper = np.abs(mean - lower) <= slack, np.abs(mean - upper) <= slack
    assert (at_lower | (theta <= 0.0)).all()
    assert (at_upper | (theta >= 0.0)).all()


def test_a_die_between_bounds():
    assert max_entropy(DIE, lower=3.0, upper=4.0).entropy == pytest.approx(math.log(6))
    pushed = max_entropy(DIE, lower=4.5)
    np.testing.assert_allclose(
        pushed.probabilities, max_entropy(DIE, 4.5).probabilities, rtol=1e-14
    )
    assert pushed.theta > 0.0
    low = max_entropy(DIE, upper=2.0)
    np.testing.assert_allclose(low.probabilities, max_entropy(DIE, 2.0).probabilities, rtol=1e-14)
    edge = max_entropy(DIE, lower=6.0)
    assert edge.status is Status.BOUNDARY
    np.testing.assert_array_equal(edge.probabilities, np.eye(6)[5])


@pytest.mark.parametrize("size", [2.0**-1000, 2.0**600, 2.0**1000])
def test_bounds_of_features_whose_squares_under_or_overflow(size):
    for bounds in ({"lower": 4.5}, {"lower": 1.0, "upper": 3.0}):
        found = max_entropy(size * DIE, **{name: size * bound for name, bound in bounds.items()})
        expected = max_entropy(DIE, **bounds).probabilities
        np.testing.assert_allclose(found.probabilities, expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_bounds_meet_the_conditions(seed):
    rng = np.random.default_rng(seed)
    for _ in range(25):
        shape = (int(rng.integers(1, 7)), int(rng.integers(3, 15)))
        F, C = rng.normal(size=shape), rng.normal(size=shape[1])
        centre = F @ rng.dirichlet(np.ones(shape[1]))
        lower = centre - rng.exponential(0.2, size=shape[0]) * (rng.random(shape[0]) < 0.8)
        upper = centre + rng.exponential(0.2, size=shape[0]) * (rng.random(shape[0]) < 0.8)
        lower = np.where(rng.random(shape[0]) < 0.2, -np.inf, lower)
        found = c_maximize(F, log_base=C, lower=lower, upper=upper)
        assert_optimal_in_box(found, F, lower, upper, C)


def test_bounds_of_more_features_than_outcomes(rng):
    F = rng.normal(size=(15, 6))
    centre = F @ rng.dirichlet(np.ones(6))
    found = max_entropy(F, lower=centre - 0.05, upper=centre + 0.05)
    assert_optimal_in_box(found, F, centre - 0.05, centre + 0.05, np.zeros(6))


def test_bounds_that_clash_are_proved_to(rng):
    x = np.linspace(-1.0, 1.0, 21)
    F = np.vstack([rng.normal(size=21), x, x**2])
    lower, upper = np.array([-np.inf, 0.5, -np.inf]), np.array([np.inf, 0.6, 0.2])
    with pytest.raises(SolveError, match="features 1, 2 clash") as caught:
        max_entropy(F, lower=lower, upper=upper)
    found = caught.value.result
    assert found.status is Status.INFEASIBLE
    eta = [Fraction(float(e)) for e in found.certificate]
    assert eta[0] == 0
    most = sum(
        e * Fraction(float(u if e > 0 else v))
        for e, u, v in zip(eta, upper, lower, strict=True)
        if e
    )
    least = min(sum(e * Fraction(float(f)) for e, f in zip(eta, col, strict=True)) for col in F.T)
    assert least > most


def test_equal_bounds_are_targets(rng):
    F, C = rng.normal(size=(3, 9)), rng.normal(size=9)
    b = F @ rng.dirichlet(np.ones(9))
    found = c_maximize(F, log_base=C, lower=b, upper=b)
    plain = c_maximize(F, b, log_base=C)
    np.testing.assert_allclose(found.probabilities, plain.probabilities, rtol=1e-12)
    np.testing.assert_allclose(found.theta, plain.theta, rtol=1e-10)


def test_a_batch_of_bounds(rng):
    batch = max_entropy(DIE, lower=[[4.5], [1.0], [6.5]], upper=math.inf, throw=False)
    assert list(batch.member_status) == [Status.CONVERGED, Status.CONVERGED, Status.INFEASIBLE]
    np.testing.assert_allclose(batch.probabilities[1], 1 / 6, rtol=1e-14)


def assert_bounds_are_optimal(found, F, lower, upper):
    """Check that bounds hold, and that theta has the sign of the bound that is met."""
    mean, slack = F @ found.probabilities, 1e-9 * (1.0 + np.abs(F).max())
    assert (mean >= lower - slack).all()
    assert (mean <= upper + slack).all()
    assert (np.abs(mean - lower)[found.theta > 0.0] <= slack).all()
    assert (np.abs(mean - upper)[found.theta < 0.0] <= slack).all()


def test_many_correlated_features_between_close_bounds():
    rng = np.random.default_rng(0)
    for num_features in (50, 75, 100):
        x = np.linspace(0.0, 1.0, 3 * num_features)
        slopes, centres = rng.uniform(2.0, 40.0, num_features), rng.uniform(size=num_features)
        F = 1.0 / (1.0 + np.exp(-slopes[:, None] * (x - centres[:, None])))
        b = F @ rng.dirichlet(np.ones(x.size))
        found = max_entropy(F, lower=b - 5e-5, upper=b + 5e-5)
        assert found.status is Status.CONVERGED
        assert_bounds_are_optimal(found, F, b - 5e-5, b + 5e-5)


def test_bounds_on_sparse_features():
    rng = np.random.default_rng(1)
    statuses = set()
    for _ in range(60):
        m, c = int(rng.integers(1, 6)), int(rng.integers(3, 15))
        F = (rng.random((m, c)) < 0.6) * rng.integers(-3, 4, size=(m, c)).astype(float)
        b = F @ rng.dirichlet(np.ones(c)) + rng.choice([0.0, 0.3, 2.0]) * rng.normal(size=m)
        lower = np.where(rng.random(m) < 0.8, b - rng.random(m), -math.inf)
        upper = np.where(rng.random(m) < 0.8, b + rng.random(m), math.inf)
        sparse = max_entropy(scipy.sparse.csr_array(F), lower=lower, upper=upper, throw=False)
        dense = max_entropy(F, lower=lower, upper=upper, throw=False)
        assert sparse.status is dense.status
        statuses.add(sparse.status)
        if sparse.status is Status.CONVERGED:
            assert_bounds_are_optimal(sparse, F, lower, upper)
            np.testing.assert_allclose(sparse.probabilities, dense.probabilities, atol=1e-8)
    assert statuses == {Status.CONVERGED, Status.INFEASIBLE}


def test_gradients_with_respect_to_bounds():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    F = torch.tensor(rng.normal(size=(3, 6)))
    mean = F.mean(-1)
    lower, upper = mean + torch.tensor([0.2, -0.3, -0.5]), mean + torch.tensor([0.5, -0.1, 0.5])
    C = torch.tensor(rng.normal(size=6) * 0.1)
    weights = torch.tensor(rng.normal(size=6))

    def loss(F, lower, upper, C):
        found = c_maximize(F, lower=lower, upper=upper, log_base=C)
        return (weights * found.probabilities).sum() + found.value

    arguments = [x.clone().requires_grad_() for x in (F, lower, upper, C)]
    loss(*arguments).backward()
    for k, x in enumerate(arguments):
        for index in np.ndindex(tuple(x.shape)):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [y.detach().clone() for y in arguments]
                moved[k][index] += step
                ends.append(float(loss(*moved)))
            slope = (ends[0] - ends[1]) / 2e-5
            assert float(x.grad[index]) == pytest.approx(slope, rel=1e-6, abs=1e-8)


# ---------------------------------------------------------------- least violation


@pytest.mark.parametrize("seed", range(3))
def test_the_least_violation_is_least(seed):
    # No outcome lies on the side of the targets: the condition for the nearest point.
    rng = np.random.default_rng(seed)
    for _ in range(20):
        shape = (int(rng.integers(1, 6)), int(rng.integers(2, 15)))
        F, C = rng.normal(size=shape), rng.normal(size=shape[1])
        b = rng.normal(size=shape[0]) * 3.0
        if c_maximize(F, b, log_base=C, throw=False).status.is_solution:
            continue
        found = least_violation(F, b, log_base=C)
        assert found.status.is_solution
        if shape[0] < shape[1]:  # otherwise contradictions may be all that is wrong
            assert found.status is Status.BOUNDARY
        unit = np.ptp(F, axis=1)
        mean = F @ found.probabilities
        outward = (b - mean) / unit**2
        heights = outward @ (F - mean[:, None])
        np.testing.assert_allclose(heights[found.support], 0.0, atol=1e-9 * np.abs(outward).max())
        assert (heights <= 1e-9 * np.abs(outward).max()).all()
        np.testing.assert_allclose(found.residual, np.abs(mean - b).max(), rtol=1e-12)
        assert_member(found, F, C)


def test_targets_that_can_be_met_are_met(rng):
    F = rng.normal(size=(3, 10))
    b = F @ rng.dirichlet(np.ones(10))
    met, plain = least_violation(F, b), max_entropy(F, b)
    np.testing.assert_array_equal(met.probabilities, plain.probabilities)
    assert met.residual < 1e-14


def test_least_violation_in_other_libraries_and_batches(lib):
    found = least_violation(lib.array(DIE), lib.array([[7.0], [3.5], [-2.0]]))
    np.testing.assert_allclose(
        lib.to_numpy(found.probabilities), [np.eye(6)[5], np.full(6, 1 / 6), np.eye(6)[0]]
    )
    np.testing.assert_allclose(lib.to_numpy(found.residual), [1.0, 0.0, 3.0], atol=1e-15)
    assert lib.owns(found.residual)


def test_least_violation_with_a_constant_feature_and_excluded_outcomes():
    found = least_violation(
        [[2.0] * 6, DIE[0].tolist()], [1.0, 8.0], log_base=[0, 0, 0, 0, 0, -np.inf]
    )
    np.testing.assert_array_equal(found.probabilities, np.eye(6)[4])
    assert found.residual == 3.0


# ---------------------------------------------------------------- starts and callbacks


def test_a_warm_start_saves_steps(rng):
    F = rng.normal(size=(5, 200))
    b = F @ rng.dirichlet(np.ones(200)) + 0.3
    cold = max_entropy(F, b)
    warm = max_entropy(F, b + 1e-4, initial_theta=cold.theta)
    assert warm.steps < cold.steps
    np.testing.assert_allclose(
        warm.probabilities, max_entropy(F, b + 1e-4).probabilities, rtol=1e-11
    )
    far = max_entropy(F, b, initial_theta=np.full(5, 1e6))  # no better than 0
    np.testing.assert_array_equal(far.probabilities, cold.probabilities)


def test_a_warm_start_of_a_batch_and_of_redundant_features(rng):
    F = rng.normal(size=(30, 3, 10))
    F[:10, 2] = F[:10, 0] + F[:10, 1]
    b = (F * rng.dirichlet(np.ones(10), size=30)[:, None]).sum(-1)
    cold = max_entropy(F, b)
    warm = max_entropy(F, b, initial_theta=cold.theta)
    assert (warm.steps <= cold.steps).all()
    assert warm.steps.sum() < 0.5 * cold.steps.sum()
    np.testing.assert_allclose(warm.probabilities, cold.probabilities, atol=1e-13)
    np.testing.assert_allclose(warm.theta, cold.theta, atol=1e-9)


def test_the_callback_sees_the_steps(rng):
    seen = []
    F = rng.normal(size=(4, 50))
    max_entropy(F, F @ rng.dirichlet(np.ones(50)), callback=lambda *x: seen.append(x))
    assert [step for step, _ in seen] == list(range(len(seen)))
    assert seen[-1][1] < 1e-2 < seen[0][1]
    several = []
    max_entropy(DIE, [[2.5], [3.0], [4.5]], callback=lambda *x: several.append(x))
    assert several[-1][1] < 1e-2
    assert all(isinstance(decrement, float) for _, decrement in several)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"targets": 3.0, "lower": 1.0}, "targets must not be given with lower or upper"),
        ({"lower": 1.0, "penalty": 1.0}, "penalty must not be given with lower or upper"),
        ({"lower": 4.0, "upper": 3.0}, "lower must be at most upper: by 1 it is above"),
        ({"lower": np.nan}, "lower must hold numbers, or -inf or inf for no bound"),
        ({"lower": [1.0, 2.0]}, "lower must be a number or have one entry for each feature"),
        ({"targets": 3.0, "penalty": 0.0}, "penalty must be positive and finite"),
        ({"targets": 3.0, "penalty": np.inf}, "penalty must be positive and finite"),
        ({"targets": 3.0, "initial_theta": [0.0, 1.0]}, "initial_theta must be a number or have"),
        ({"targets": 3.0, "initial_theta": np.nan}, "initial_theta must be finite"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        c_maximize(DIE, **arguments)


def test_a_least_violation_that_is_not_least_is_refused(monkeypatch):
    # Some releases of scipy return such a point without a word.
    monkeypatch.setattr(scipy.optimize, "nnls", lambda A, b: (np.ones(A.shape[1]), 0.0))
    with pytest.raises(SolveError, match="the expectations nearest to the targets were not found"):
        least_violation(DIE, [7.0])


@pytest.mark.parametrize("miss", [1e-13, 1e-11, 1e-9, 1e-6])
def test_targets_barely_out_of_reach_have_a_least_violation(rng, miss):
    for _ in range(20):
        F = rng.normal(size=(3, 9))
        outward = rng.normal(size=3)
        edge = F[:, (outward @ F).argmax()]
        found = least_violation(F, edge + miss * outward, throw=False)  # the nearest point is found
        assert found.status.is_solution or miss < 1e-9
        assert (
            not found.status.is_solution
            or found.residual <= miss * np.abs(outward).max() * (1.0 + 1e-9) + 1e-14
        )
