"""Claims that a tolerance could make false: each is compared with exact arithmetic."""

import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
import scipy.sparse
from known_class import draw_near_dependent, exact_values

from infogeo import Status, logits
from infogeo.family import MixtureFamily
from infogeo.maxent import (
    c_maximize,
    conditional,
    least_violation,
    match_frequencies,
    max_entropy,
)

sys.path.insert(0, str(Path(__file__).parent.parent / "oracles"))
import maxent as reference  # the oracles' own solver, in 80 digits

sys.path.pop(0)


def exact_logs(F, b, C=None):
    """Return the log-probabilities of the solution to 25 digits, for data taken as exact."""
    C = np.zeros(F.shape[1]) if C is None else C
    with mpmath.workdps(80):
        _, log_p = reference.solve(F.tolist(), b.tolist(), C.tolist())
    return log_p


def assert_within_bound(found, F, b, C=None):
    """Check the bound on every log-probability against a solution in 80 digits."""
    logs = exact_logs(F, b, C)
    errors = [
        abs(mpmath.mpf(float(x)) - y)
        for x, y in zip(found.log_probabilities, logs, strict=True)
        if y != -mpmath.inf
    ]
    assert max(errors) <= found.error_bound
    assert found.support.tolist() == [y != -mpmath.inf for y in logs]


# ---------------------------------------------------------------- rank


def test_a_batch_looks_at_the_targets_of_constant_and_of_dependent_features():
    F = [[1, 1, 1, 1], [1, 2, 3, 4], [2, 4, 6, 8]]
    found = c_maximize(F, [[0.5, 2.5, 5], [7, 3, 6], [1, 3, 6], [1, 3, 7]], throw=False)
    expected = [Status.INFEASIBLE, Status.INFEASIBLE, Status.CONVERGED, Status.INFEASIBLE]
    assert found.member_status.tolist() == expected
    assert MixtureFamily(F, [[0.5, 2.5, 5], [7, 3, 6], [1, 3, 6]]).is_empty.tolist() == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("kind", ["constant", "repeated", "mixed"])
def test_members_of_a_batch_end_as_they_do_alone(kind):
    rng = np.random.default_rng(5)
    F = rng.integers(-3, 4, size=(2, 6)).astype(float)
    extra = {
        "constant": np.full((1, 6), 2.0),
        "repeated": 3.0 * F[:1],
        "mixed": np.vstack([F[:1] - 2.0 * F[1:], np.ones((1, 6))]),
    }[kind]
    F = np.vstack([F, extra])
    targets = np.stack([F @ rng.dirichlet(np.ones(6)) for _ in range(40)])
    targets[::3, 2] += rng.choice([1e-3, 1e-9, 1.0], size=len(targets[::3]))
    start = rng.normal(size=targets.shape)
    together = c_maximize(F, targets, throw=False)
    started = c_maximize(F, targets, initial_theta=start, throw=False)
    for k, b in enumerate(targets):
        alone = c_maximize(F, b, throw=False)
        assert together.member_status[k] is started.member_status[k] is alone.status
        if alone.status.is_solution:
            difference = together.log_probabilities[k] - alone.log_probabilities
            bound = together.error_bound[k] + alone.error_bound
            assert np.abs(difference[alone.support]).max() <= bound


@pytest.mark.parametrize("as_batch", [False, True])
def test_targets_of_repeated_whole_numbers_are_compared_to_the_digit(as_batch):
    F = np.array([[0.0, 1.0, -1.0, 4.0], [0.0, 3.0, -3.0, 12.0]])
    cases = [([1e-15, 4e-15], Status.INFEASIBLE), ([1e-15, 3e-15], Status.CONVERGED)]
    for b, status in cases:
        targets = [b, [0.5, 1.5], [1.0, 3.0]] if as_batch else b
        found = c_maximize(F, targets, throw=False)
        assert found.member_status.ravel()[0] is status
        if status is Status.INFEASIBLE:
            eta = found.certificate[0] if as_batch else found.certificate
            assert min(exact_values(F, np.array(b), eta)) > 0


def test_features_that_nearly_follow_are_not_taken_as_dependent():
    rng = np.random.default_rng(3)
    outcomes = {Status.CONVERGED: 0, Status.UNDECIDED: 0}
    for size in 10.0 ** rng.uniform(-13.5, -9.0, size=60):
        F = rng.normal(size=(2, 5))
        F = np.vstack([F, F[:1] + size * rng.normal(size=(1, 5))])
        b = F @ rng.dirichlet(np.full(5, 3.0))
        found = c_maximize(F, b, throw=False)
        outcomes[found.status] += 1
        if found.status is Status.CONVERGED:
            assert found.rank == 3
            assert_within_bound(found, F, b)
    assert outcomes[Status.CONVERGED] > 20


def test_redundant_features_to_the_rounding_of_their_entries_are_ordinary():
    rng = np.random.default_rng(4)
    for _ in range(60):
        m, c, k = (int(rng.integers(*ends)) for ends in ((1, 8), (10, 40), (1, 4)))
        F = rng.normal(size=(m, c)) * 10.0 ** rng.integers(-3, 4, size=(m, 1))
        F = np.vstack([F, rng.normal(size=(k, m)) @ F + rng.normal(size=(k, 1))])
        F = rng.permutation(F)
        found = c_maximize(F, F @ rng.dirichlet(np.ones(c)), throw=False)
        assert found.status is Status.CONVERGED
        assert found.rank <= m


def test_sparse_features_that_nearly_agree_are_told_apart():
    e = 2.0**-20
    F = np.array([[2.0, 0.0, 1.0, 0.0], [2.0 + e, 0.0, 1.0 + e, 0.0]])
    b = np.array([0.5625, 0.5625 + e * 0.328125])
    assert_within_bound(c_maximize(scipy.sparse.csr_array(F), b), F, b)
    rng = np.random.default_rng(11)
    for _ in range(40):
        F, p = draw_near_dependent(rng)
        dense = c_maximize(F, F @ p, throw=False)
        sparse = c_maximize(scipy.sparse.csr_array(F), F @ p, throw=False)
        assert sparse.status is dense.status is Status.CONVERGED
        difference = np.abs(sparse.log_probabilities - dense.log_probabilities).max()
        assert difference <= sparse.error_bound + dense.error_bound


# ---------------------------------------------------------------- faces and log_base


@pytest.mark.parametrize("size", [1e4, 1e8, 1e12])
def test_a_face_forgets_the_log_base_of_the_outcomes_that_it_leaves(size):
    F, b, C = np.array([[1.0, 0.0, 0.0]]), np.array([0.0]), np.array([size, 0.1, 0.7])
    found = c_maximize(F, b, log_base=C)
    exact = -np.log1p(np.exp(np.array([0.6, -0.6])))
    assert found.status is Status.BOUNDARY
    error = np.abs(found.log_probabilities[1:] - exact).max()
    assert error <= found.error_bound < 1e-13


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_probabilities_below_the_dtype_have_their_logs_within_the_bound(dtype):
    C = np.array([0.0, -800.0, -90.0, -720.0], dtype=dtype)
    F = np.array([[0.0, 1.0, 2.0, 3.0]], dtype=dtype)
    found = c_maximize(F, np.array([1e-30], dtype=dtype), log_base=C)
    assert found.status.is_solution
    assert found.support.all()
    assert found.probabilities[1] == 0.0
    b = np.array([dtype(1e-30)], dtype=np.float64)
    assert_within_bound(found, F.astype(np.float64), b, C.astype(np.float64))
    assert c_maximize([[1, 0, 0, 0]], [0.0], log_base=C).log_probabilities[0] == -np.inf


@pytest.mark.parametrize("num_outcomes", [201, 20_000])
def test_vertices_and_edges_of_a_long_grid(num_outcomes):
    x = np.arange(num_outcomes, dtype=float)
    for targets, support in (([10, 100], [10]), ([10.5, 110.5], [10, 11])):
        found = c_maximize([x, x**2], targets)
        assert found.status is Status.BOUNDARY
        assert np.flatnonzero(found.support).tolist() == support
        eta = found.direction
        values = exact_values(np.stack([x, x**2])[:, :40], np.array(targets, dtype=float), eta)
        off = [float(v) for y, v in enumerate(values) if y not in support]
        assert min(off) > 1e6 * max(abs(float(values[y])) for y in support)
    found = c_maximize([np.linspace(0.0, 1.0, num_outcomes)], [1.0])
    assert np.flatnonzero(found.support).tolist() == [num_outcomes - 1]


def test_a_vertex_of_a_smooth_curve():
    x = np.linspace(-1.0, 1.0, 201)
    found = c_maximize([x, np.sin(x)], [x[10], np.sin(x[10])])
    assert np.flatnonzero(found.support).tolist() == [10]


# ---------------------------------------------------------------- bounds


@pytest.mark.parametrize(
    ("lower", "upper", "words"),
    [
        ([0.4, 0.0], [0.6, 2.0], "feature 0 is above upper"),
        ([1.5, 0.0], [2.0, 2.0], "feature 0 is below lower"),
        ([0.0, 2.5], [1.0, 3.0], "feature 1 is below lower"),
    ],
)
def test_bounds_out_of_the_range_of_a_feature_are_proved_infeasible(lower, upper, words):
    F = np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 2.0]])
    found = max_entropy(F, lower=lower, upper=upper, throw=False)
    assert found.status is Status.INFEASIBLE
    eta = found.certificate
    target = np.where(eta > 0.0, upper, lower)
    assert min(exact_values(F, target, eta)) > 0
    assert found.residual > 0.0
    with pytest.raises(RuntimeError, match=words):
        max_entropy(F, lower=lower, upper=upper)


def test_bounds_around_the_constant_of_a_feature_hold():
    found = max_entropy([[1, 1, 1], [0, 1, 2]], lower=[0.4, 0.5], upper=[1.6, 0.7])
    assert found.status is Status.CONVERGED
    assert found.probabilities @ [0, 1, 2] == pytest.approx(0.7, abs=1e-12)


# ---------------------------------------------------------------- conditional


def test_a_price_is_least_on_the_parameters_that_change_no_probability():
    X = np.array([[0], [1], [2], [3], [1], [4], [4.0]])
    C = np.zeros((7, 3))
    C[:5, 2] = -np.inf
    found = conditional(X, [0, 1, 0, 1, 0, 2, 0], log_base=C, penalty=0.1)
    assert found.status is Status.CONVERGED
    np.testing.assert_allclose(found.coef[:, 0], [-0.060229286529, 0.060229286529, 0.0], atol=1e-11)


@pytest.mark.parametrize("amount", [1e3, 1e6])
def test_small_amounts_of_few_rows_count_beside_large_ones(amount):
    rng = np.random.default_rng(0)
    large, labels = amount * rng.random(30), rng.integers(0, 2, size=30)
    X = np.concatenate([large, [0, 0, 1, 1, 1]])[:, None]
    y = np.concatenate([labels, [1, 2, 1, 2, 2]])
    C = np.zeros((35, 3))
    C[:30, 2] = C[30:, 0] = -np.inf
    found = conditional(X, y, log_base=C)
    assert found.status is Status.CONVERGED
    # Slope and intercept of class 2 are free for the frequencies of the last rows.
    exact = np.log([1 / 2, 1 / 2, 2 / 3, 2 / 3, 2 / 3])
    assert np.abs(np.log(found.probabilities[30:, 2]) - exact).max() <= found.error_bound
    assert found.error_bound < 0.1


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e12, 1e15])
def test_offsets_hide_no_separation(offset):
    x = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]]) + offset
    complete = conditional(x, [0, 0, 0, 1, 1])
    assert complete.status is Status.BOUNDARY
    assert complete.separation.is_complete
    scores = x @ complete.separation.coef.T + complete.separation.intercept
    assert scores.argmax(axis=1).tolist() == [0, 0, 0, 1, 1]
    quasi = conditional(np.vstack([x, [[2.0 + offset]]]), [0, 0, 0, 1, 1, 1])
    assert quasi.status is Status.BOUNDARY
    np.testing.assert_allclose(quasi.probabilities[[2, 5], 1], 0.5, rtol=1e-12)
    mixed = conditional(x, [0, 1, 0, 1, 1])
    plain = conditional(x - offset, [0, 1, 0, 1, 1])
    np.testing.assert_allclose(mixed.probabilities, plain.probabilities, rtol=1e-11)


@pytest.mark.parametrize("penalty", [None, 0.5])
def test_without_intercept_classes_may_be_ruled_out(penalty):
    X = np.array([[0.5], [1.0], [2.0], [3.0], [2.0]])
    C = np.zeros((5, 3))
    C[:3, 2] = -np.inf
    found = conditional(X, [0, 1, 0, 2, 1], log_base=C, penalty=penalty, fit_intercept=False)
    assert found.status is Status.CONVERGED
    assert (found.probabilities[:3, 2] == 0.0).all()
    y = np.eye(3)[[0, 1, 0, 2, 1]]
    left = ((y - found.probabilities).T @ X / 5.0 - (penalty or 0.0) * found.coef)[:, 0]
    np.testing.assert_allclose(left, 0.0, atol=1e-12)


# ---------------------------------------------------------------- frequencies


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e8])
@pytest.mark.parametrize("common", [0.0, 1e8])
def test_the_bound_of_frequencies_covers_the_rounding_of_large_logits(scale, common):
    rng = np.random.default_rng(2)
    z = rng.normal(size=(6, 3)) + scale * np.array([1.0, 0.0, 0.5])
    z = np.rint(z * 16.0) / 16.0 + common  # exact beside what is added to all
    found = match_frequencies(z, [0.5, 0.3, 0.2], space=logits)
    with mpmath.workdps(60):
        rows = [[mpmath.mpf(x) - mpmath.mpf(common) for x in row] for row in z.tolist()]

        def excess(a, b):
            offsets, means = (a, b, mpmath.mpf(0)), [mpmath.mpf(0)] * 3
            for row in rows:
                top = max(x + o for x, o in zip(row, offsets, strict=True))
                p = [mpmath.exp(x + o - top) for x, o in zip(row, offsets, strict=True)]
                means = [m + x / mpmath.fsum(p) / 6 for m, x in zip(means, p, strict=True)]
            return [means[0] - mpmath.mpf(0.5), means[1] - mpmath.mpf(0.3)]

        start = found.class_offsets - found.class_offsets[2]
        a, b = mpmath.findroot(excess, tuple(start[:2].tolist()), tol=1e-40, maxsteps=60)
        for row, p in zip(rows, found.probabilities, strict=True):
            tilted = [row[0] + a, row[1] + b, row[2]]
            top = max(tilted)
            total = top + mpmath.log(mpmath.fsum(mpmath.exp(x - top) for x in tilted))
            for x, y in zip(tilted, p.tolist(), strict=True):
                if y > 1e-300:
                    assert abs(mpmath.log(y) - (x - total)) <= found.error_bound


# ---------------------------------------------------------------- least violation


def test_the_least_violation_always_has_an_answer():
    found = least_violation([[-2, 0, -2], [-3, -1, -2]], [-1.25, 1.5])
    assert found.probabilities.tolist() == [0.0, 1.0, 0.0]
    rng = np.random.default_rng(7)
    for _ in range(300):
        m, c = int(rng.integers(1, 5)), int(rng.integers(2, 9))
        F = rng.integers(-3, 4, size=(m, c)).astype(float)
        b = np.round(rng.normal(size=m) * rng.choice([1, 3]), 2)
        found = least_violation(F, b)  # raises if it has none
        unit = np.where(np.ptp(F, axis=1) > 0.0, np.ptp(F, axis=1), 1.0)
        z = F @ found.probabilities
        # No outcome is on the near side of the plane through z across the violation.
        heights = ((z - b) / unit**2) @ (F - z[:, None])
        assert heights.min() >= -1e-9 * (1.0 + np.abs((z - b) / unit).max())
