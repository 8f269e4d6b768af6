"""Conditional maximum entropy: 40-digit references, exact proofs of separation, identities."""

from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
import scipy.optimize
import scipy.sparse

from infogeo import SolveError, Status
from infogeo.maxent import c_maximize, conditional

INF, NAN = np.inf, np.nan


def overlapping(seed=0, num_samples=40, num_features=2, num_classes=3):
    """Draw samples whose labels are nearly random, so that no direction separates them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(num_samples, num_features))
    W = rng.normal(size=(num_classes, num_features))
    return X, (0.5 * X @ W.T + rng.gumbel(size=(num_samples, num_classes))).argmax(axis=1)


def one_hot(y, num_classes):
    return np.eye(num_classes)[y]


def log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


# ---------------------------------------------------------------- against 40 digits


def solve_in_40_digits(X, targets, base, weights, penalty, has_intercept):
    """Return theta (c, d + 1) and the log-probabilities by Newton's method in mpmath."""
    with mp.workdps(40):
        rows = [[mp.mpf(v) for v in x] + [mp.mpf(has_intercept)] for x in X.tolist()]
        r, c = len(rows[0]), targets.shape[1]
        total = mp.fsum(weights.tolist())
        w = [mp.mpf(v) / total for v in weights.tolist()]
        size = r * (c - 1)
        u = mp.zeros(size, 1)  # theta of the last class is minus the sum of the others
        for _ in range(60):
            theta = [[u[k * r + a] for a in range(r)] for k in range(c - 1)]
            theta.append([-mp.fsum(t[a] for t in theta) for a in range(r)])
            gradient, hessian = mp.zeros(size, 1), mp.zeros(size, size)
            log_p = []
            for i, x in enumerate(rows):
                z = [mp.mpf(base[i, k]) + mp.fdot(theta[k], x) for k in range(c)]
                psi = mp.log(mp.fsum(mp.exp(v) for v in z))
                log_p.append([v - psi for v in z])
                p = [mp.exp(v) for v in log_p[-1]]
                off = [p[k] - mp.mpf(targets[i, k]) for k in range(c)]
                for k in range(c - 1):
                    for a in range(r):
                        gradient[k * r + a] += w[i] * x[a] * (off[k] - off[c - 1])
                        for j in range(c - 1):
                            # cov of e_k - e_last and e_j - e_last under p
                            cov = (k == j) * p[k] + p[c - 1] - (p[k] - p[c - 1]) * (p[j] - p[c - 1])
                            for b in range(r):
                                hessian[k * r + a, j * r + b] += w[i] * x[a] * x[b] * cov
            for k in range(c - 1):
                for a in range(r - 1):
                    gradient[k * r + a] += penalty * (theta[k][a] - theta[c - 1][a])
                    for j in range(c - 1):
                        hessian[k * r + a, j * r + a] += penalty * (1 + (k == j))
                if not has_intercept:
                    hessian[k * r + r - 1, k * r + r - 1] += 1
            step = mp.lu_solve(hessian, -gradient)
            if mp.norm(step) < mp.mpf(10) ** -25:
                break
            u += step * min(mp.mpf(1), 1 / mp.norm(step))
        else:
            raise RuntimeError("no convergence")
        return (
            np.array([[float(v) for v in row] for row in theta]),
            np.array([[float(v) for v in row] for row in log_p]),
        )


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("case", ["plain", "penalty", "base", "weights", "soft", "no intercept"])
def test_against_40_digits(case, num_classes):
    X, y = overlapping(3, 24, 2, num_classes)
    rng = np.random.default_rng(9)
    targets, labels, base = one_hot(y, num_classes), y, np.zeros((24, num_classes))
    weights, penalty = np.ones(24), None
    if case == "penalty":
        penalty = 0.25
    elif case == "base":
        base = rng.integers(-8, 9, size=(24, num_classes)) / 4.0
    elif case == "weights":
        weights = rng.integers(1, 9, size=24) / 8.0
    elif case == "soft":
        targets = labels = rng.integers(1, 5, size=(24, num_classes)) / 16.0
        targets[:, 0] += 1.0 - targets.sum(axis=1)
    has_intercept = case != "no intercept"
    found = conditional(
        X,
        labels,
        penalty=penalty,
        log_base=base,
        sample_weight=weights,
        fit_intercept=has_intercept,
    )
    theta, log_p = solve_in_40_digits(X, targets, base, weights, penalty or 0.0, has_intercept)
    assert found.status is Status.CONVERGED
    np.testing.assert_allclose(found.coef, theta[:, :-1], rtol=0, atol=2e-14)
    np.testing.assert_allclose(found.intercept, theta[:, -1] * has_intercept, rtol=0, atol=2e-14)
    error = np.abs(np.log(found.probabilities) - log_p).max()
    assert error <= 3e-14
    assert error <= found.error_bound < 1e-10
    assert found.residual < 1e-15
    np.testing.assert_allclose(
        found.cross_entropy, -(weights @ (targets * log_p).sum(axis=1)) / weights.sum(), rtol=1e-14
    )
    entropies = -(np.exp(log_p) * log_p).sum(axis=1)
    np.testing.assert_allclose(found.entropy, weights @ entropies / weights.sum(), rtol=1e-14)


def test_one_indicator_is_two_logits():
    # 3 of 4 with x = 0 and 2 of 7 with x = 1 have label 1: all moments are these frequencies.
    x = np.repeat([0.0, 1.0], [4, 7])
    y = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 0])
    found = conditional(x[:, None], y)
    np.testing.assert_allclose(found.probabilities[:, 1], np.where(x, 2 / 7, 3 / 4), rtol=1e-15)
    np.testing.assert_allclose(found.intercept, [-np.log(3) / 2, np.log(3) / 2], rtol=1e-14)
    slope = (np.log(2 / 5) - np.log(3)) / 2
    np.testing.assert_allclose(found.coef[:, 0], [-slope, slope], rtol=1e-14)


@pytest.mark.parametrize("tol", [1e-2, 1e-6, 1e-11])
def test_tolerance_is_met(tol):
    X, y = overlapping(1)
    exact = conditional(X, y)
    found = conditional(X, y, tol=tol)
    error = np.abs(np.log(found.probabilities / exact.probabilities)).max()
    assert error <= found.error_bound <= tol


# ---------------------------------------------------------------- what it maximises


def test_it_is_c_maximisation_of_the_joint_distribution():
    # The joint distributions with these moments and the samples' own marginal: one C-maximisation.
    X, y = overlapping(5, 15, 2, 3)
    base = np.random.default_rng(0).normal(size=(15, 3))
    columns = np.hstack([X, np.ones((15, 1))])
    features = [np.outer(column, e).ravel() for column in columns.T for e in np.eye(3)]
    features += [np.repeat(e, 3) for e in np.eye(15)]
    features = np.array(features)
    targets = features @ one_hot(y, 3).ravel() / 15
    joint = c_maximize(features, targets, log_base=base.ravel())
    found = conditional(X, y, log_base=base)
    np.testing.assert_allclose(found.probabilities.ravel() / 15, joint.probabilities, rtol=1e-11)


def test_no_other_distribution_with_these_moments_has_more_entropy(rng):
    X, y = overlapping(2, 12, 1, 3)
    found = conditional(X, y)
    columns = np.hstack([X, np.ones((12, 1))])
    constraints = np.vstack([np.kron(columns.T, np.eye(3)), np.kron(np.eye(12), np.ones((1, 3)))])
    null = scipy.linalg.null_space(constraints)
    p = found.probabilities.ravel()
    for _ in range(20):
        change = null @ rng.normal(size=null.shape[1])
        for size in (1e-3, 0.2):
            other = p + size * change * (p / np.abs(change)).min()
            assert -(other * np.log(other)).sum() < -(p * np.log(p)).sum()
    np.testing.assert_allclose(found.entropy, found.cross_entropy, rtol=1e-14)


def test_pythagorean_relation():
    X, y = overlapping(4)
    prior = np.random.default_rng(1).normal(size=(40, 3))
    log_q = log_softmax(prior)
    found = conditional(X, y, log_base=prior)
    p, log_p = found.probabilities, np.log(found.probabilities)
    # Of all distributions with these moments the labels themselves are one.
    labels_from_prior = -log_q[np.arange(40), y].mean()
    star_from_prior = (p * (log_p - log_q)).sum(axis=1).mean()
    np.testing.assert_allclose(labels_from_prior, found.cross_entropy + star_from_prior, rtol=1e-13)


def test_the_solution_itself_as_prior_changes_nothing():
    X, y = overlapping(4)
    first = conditional(X, y)
    again = conditional(X, y, log_base=np.log(first.probabilities))
    np.testing.assert_allclose(again.coef, 0.0, atol=1e-14)
    np.testing.assert_allclose(again.probabilities, first.probabilities, rtol=1e-13)


def test_constants_in_the_base_change_nothing(rng):
    X, y = overlapping(4)
    base = rng.normal(size=(40, 3))
    plain = conditional(X, y, log_base=base)
    moved = conditional(X, y, log_base=base + 100.0 * rng.normal(size=(40, 1)))
    np.testing.assert_allclose(moved.probabilities, plain.probabilities, rtol=1e-11)
    same = conditional(X, y, log_base=base[0])
    # What does not depend on x goes into the intercept.
    plain = conditional(X, y)
    np.testing.assert_allclose(same.probabilities, plain.probabilities, rtol=1e-12)
    np.testing.assert_allclose(same.coef, plain.coef, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("penalty", [1e-6, 0.01, 1.0, 100.0])
def test_a_penalty_is_slack_in_the_moments(penalty):
    X, y = overlapping(6)
    found = conditional(X, y, penalty=penalty)
    off = one_hot(y, 3) - found.probabilities
    np.testing.assert_allclose(off.T @ X / 40, penalty * found.coef, rtol=0, atol=1e-15)
    np.testing.assert_allclose(off.mean(axis=0), 0.0, atol=1e-15)
    assert found.residual < 1e-15


@pytest.mark.parametrize("penalty", [None, 0.05])
def test_the_gradient_of_torch_at_the_solution(penalty):
    torch = pytest.importorskip("torch")
    X, y = overlapping(7)
    found = conditional(X, y, penalty=penalty)
    coef = torch.tensor(found.coef, requires_grad=True)
    intercept = torch.tensor(found.intercept, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(torch.tensor(X) @ coef.T + intercept, torch.tensor(y))
    loss.backward()
    np.testing.assert_allclose(coef.grad, -(penalty or 0.0) * found.coef, rtol=0, atol=1e-16)
    np.testing.assert_allclose(intercept.grad, 0.0, atol=1e-16)
    np.testing.assert_allclose(loss.item(), found.cross_entropy, rtol=1e-15)


def test_label_smoothing_mixes_the_moments_with_those_of_the_uniform():
    X, y = overlapping(8)
    smooth = 0.9 * one_hot(y, 3) + 0.1 / 3
    found = conditional(X, smooth)
    moments = 0.9 * one_hot(y, 3).T @ X + 0.1 / 3 * X.sum(axis=0)
    np.testing.assert_allclose(found.probabilities.T @ X, moments, rtol=0, atol=1e-13)


# ---------------------------------------------------------------- weights


def test_a_weight_of_three_is_three_samples(rng):
    X, y = overlapping(1)
    weights = rng.integers(0, 4, size=40)
    weighted = conditional(X, y, sample_weight=7.5 * weights, penalty=0.01)
    repeated = conditional(np.repeat(X, weights, axis=0), np.repeat(y, weights), penalty=0.01)
    np.testing.assert_allclose(weighted.coef, repeated.coef, rtol=1e-12)
    np.testing.assert_allclose(
        np.repeat(weighted.probabilities, weights, axis=0), repeated.probabilities, rtol=1e-12
    )
    assert weighted.probabilities.shape == (40, 3)
    np.testing.assert_allclose(
        np.log(weighted.probabilities), log_softmax(X @ weighted.coef.T + weighted.intercept)
    )
    np.testing.assert_allclose(weighted.entropy, repeated.entropy, rtol=1e-13)


def test_samples_of_weight_0_do_not_spoil_a_separation():
    x, y = [[0.0], [1.0], [2.0], [3.0], [0.5]], [0, 0, 1, 1, 1]
    found = conditional(x, y, sample_weight=[1, 1, 1, 1, 0])
    assert found.status is Status.BOUNDARY
    assert found.separation.is_complete
    np.testing.assert_array_equal(found.probabilities[4], [1.0, 0.0])
    assert found.separation.margins[4] < 0.0
    assert conditional(x, y).status is Status.CONVERGED


def test_many_samples_go_in_blocks():
    X, y = overlapping(2, 30, 4, 3)
    few = conditional(X, y)
    many = conditional(np.tile(X, (2000, 1)), np.tile(y, 2000))
    np.testing.assert_allclose(many.coef, few.coef, rtol=0, atol=1e-13)
    assert many.error_bound < 1e-10


# ---------------------------------------------------------------- features


def test_dependent_columns_share_a_coefficient_of_minimum_norm():
    X, y = overlapping(3)
    more = np.hstack([X, X[:, :1], np.full((40, 1), 3.7), X @ [[1.0], [-2.0]] + 5.0])
    found, plain = conditional(more, y), conditional(X, y)
    np.testing.assert_allclose(found.probabilities, plain.probabilities, rtol=1e-12)
    assert found.rank == plain.rank == 6
    centred = more - more.mean(axis=0)
    smallest = np.linalg.pinv(centred, rcond=1e-10) @ (X - X.mean(axis=0)) @ plain.coef.T
    np.testing.assert_allclose(found.coef, smallest.T, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.coef[:, 3], 0.0)
    with_penalty = conditional(more, y, penalty=0.1)
    off = one_hot(y, 3) - with_penalty.probabilities
    np.testing.assert_allclose(off.T @ more / 40, 0.1 * with_penalty.coef, rtol=0, atol=1e-14)


def test_units_and_offsets_change_nothing():
    X, y = overlapping(3)
    plain = conditional(X, y)
    moved = conditional(X * [1e8, -1e-9] + [1e10, 1e-7], y)
    np.testing.assert_allclose(moved.probabilities, plain.probabilities, rtol=1e-11)
    np.testing.assert_allclose(moved.coef * [1e8, -1e-9], plain.coef, rtol=1e-11)


@pytest.mark.parametrize("unit", [1e-150, 1e150])
@pytest.mark.parametrize("penalty", [None, 0.1])
def test_the_units_of_columns_may_be_extreme(unit, penalty):
    X, y = overlapping(0)
    extreme = conditional(X * [unit, 1.0], y, penalty=penalty)
    if penalty is None:
        np.testing.assert_allclose(extreme.coef[:, 0] * unit, conditional(X, y).coef[:, 0])
    elif unit < 1.0:  # a slope that shows would cost 1e300
        np.testing.assert_allclose(
            extreme.coef[:, 1], conditional(X[:, 1:], y, penalty=0.1).coef.T[0]
        )
    separated = conditional(X * unit, X[:, 0] > 0.0)
    assert separated.separation.is_complete


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e200, 1e300])
def test_sizes_whose_squares_are_not_numbers_are_refused(size):
    X, y = overlapping(0)
    message = r"features must have columns .* that of column 1 is .*\. Change the unit"
    with pytest.raises(ValueError, match=message):
        conditional(X * [1.0, size], y)
    conditional(X * [1.0, 0.0], y)


@pytest.mark.parametrize("size", [1e-320, 1e307])
def test_only_ratios_of_weights_matter(size):
    X, y = overlapping(0)
    weighted = conditional(X, y, sample_weight=np.full(len(y), size))
    np.testing.assert_allclose(weighted.coef, conditional(X, y).coef, rtol=1e-12)


def test_weights_that_vanish_beside_others_are_0():
    X, y = overlapping(0)
    w = np.where(np.arange(len(y)) < 35, 1e200, 1e-200)
    expected = conditional(X, y, sample_weight=w > 1.0)
    found = conditional(X, y, sample_weight=w)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


@pytest.mark.parametrize("size", [1e4, 1e300])
def test_a_base_of_any_size_overflows_nothing(size):
    X, y = overlapping(0)
    base = size * np.random.default_rng(1).normal(size=(len(y), 3))
    found = conditional(X, y, log_base=base, throw=False)
    assert found.status in (Status.CONVERGED, Status.UNDECIDED)
    assert found.residual < 1e-12 or found.status is Status.UNDECIDED


def test_nearly_dependent_columns():
    X, y = overlapping(3, 60)
    rng = np.random.default_rng(0)
    near = X[:, :1] + 1e-7 * rng.integers(-8, 9, size=(60, 1))
    exact = conditional(np.hstack([X, (near - X[:, :1]) * 1e7]), y)
    found = conditional(np.hstack([X, near]), y)
    error = np.abs(np.log(found.probabilities / exact.probabilities)).max()
    assert error < 1e-7  # the difference itself is known to 1e-16 / 1e-7
    assert found.rank == 8


def test_without_features_the_frequencies_are_the_answer():
    found = conditional(np.zeros((5, 0)), [0, 1, 1, 2, 1])
    np.testing.assert_allclose(found.probabilities, np.tile([0.2, 0.6, 0.2], (5, 1)), rtol=1e-14)
    nothing = conditional(np.zeros((4, 1)), [0, 1, 1, 1], fit_intercept=False)
    np.testing.assert_array_equal(nothing.probabilities, 0.5)
    assert nothing.rank == 0


# ---------------------------------------------------------------- separation


def rational_direction(X, y, found):
    """Return an exact direction near the found one that ties exactly where it claims ties.

    By elimination in rational arithmetic: the coordinates that the ties leave free are taken from
    the found direction, the others follow.
    """
    n, c = len(y), found.coef.shape[0]
    rows = [[Fraction(float(v)) for v in x] + [Fraction(1)] for x in X]
    r = len(rows[0])
    ties = []
    for i in range(n):
        for j in range(c):
            if j != y[i] and found.support[i, j]:
                tie = [Fraction(0)] * (c * r)
                for a in range(r):
                    tie[y[i] * r + a] += rows[i][a]
                    tie[j * r + a] -= rows[i][a]
                ties.append(tie)
    pivots = []
    for column in range(c * r):
        pivot = next((k for k in range(len(pivots), len(ties)) if ties[k][column]), None)
        if pivot is None:
            continue
        k = len(pivots)
        ties[k], ties[pivot] = ties[pivot], ties[k]
        ties[k] = [v / ties[k][column] for v in ties[k]]
        for m in range(len(ties)):
            if m != k and ties[m][column]:
                ties[m] = [u - ties[m][column] * v for u, v in zip(ties[m], ties[k], strict=True)]
        pivots.append(column)
    given = np.hstack([found.separation.coef, found.separation.intercept[:, None]]).ravel()
    direction = [Fraction(float(v)) for v in given]
    for k, column in enumerate(pivots):
        others = (v * d for v, d in zip(ties[k], direction, strict=True))
        direction[column] -= sum(others)
    assert max(abs(float(d) - g) for d, g in zip(direction, given, strict=True)) < 1e-12
    return rows, [direction[k * r : (k + 1) * r] for k in range(c)]


def assert_separation_is_exact(X, y, found):
    """Check that exactly the classes off the support lose against the labels."""
    rows, direction = rational_direction(X, y, found)
    for i, x in enumerate(rows):
        scores = [sum(u * v for u, v in zip(x, d, strict=True)) for d in direction]
        for j, score in enumerate(scores):
            margin = scores[y[i]] - score
            assert margin == 0 if found.support[i, j] else margin > 0


def is_separable(X, y, num_classes):
    """Whether some direction lets a label win and none lose, by a linear program of its own."""
    rows = np.hstack([X, np.ones((len(X), 1))])
    margins = [
        np.kron(np.eye(num_classes)[label] - np.eye(num_classes)[j], x)
        for x, label in zip(rows, y, strict=True)
        for j in range(num_classes)
        if j != label
    ]
    margins = np.array(margins)
    found = scipy.optimize.linprog(
        -margins.sum(axis=0), A_ub=-margins, b_ub=np.zeros(len(margins)), bounds=(-1, 1)
    )
    return found.fun < -1e-7


def random_labels(seed):
    rng = np.random.default_rng(seed)
    c, d = int(rng.integers(2, 5)), int(rng.integers(1, 4))
    n, size = int(rng.integers(c + 1, 25)), int(rng.choice([1, 3, 20]))
    X = rng.integers(-size, size + 1, size=(n, d)).astype(float)
    noise = rng.gumbel(size=(n, c)) * rng.choice([0.0, 0.5, 3.0])
    y = (X @ rng.integers(-3, 4, size=(c, d)).T + noise).argmax(axis=1)
    y[:c] = np.arange(c)
    return X, y, c


@pytest.mark.parametrize("block", range(8))
def test_random_small_problems_are_all_decided_and_proved(block):
    seen = set()
    for seed in range(40 * block, 40 * block + 40):
        X, y, c = random_labels(seed)
        found = conditional(X, y)
        seen.add(found.status)
        expected = Status.BOUNDARY if is_separable(X, y, c) else Status.CONVERGED
        assert found.status is expected, seed
        if expected is Status.BOUNDARY:
            assert_separation_is_exact(X, y, found)
            # On the face the moments of the support are met as ever.
            assert found.residual < 1e-13 * (1 + np.abs(X).max())
        else:
            assert found.separation is None
            assert found.support.all()
    assert seen == {Status.BOUNDARY, Status.CONVERGED}


def test_complete_separation():
    X = np.array([[0.0, 1.0], [1.0, 3.0], [4.0, 0.0], [5.0, 2.0], [0.0, 9.0], [2.0, 8.0]])
    y = np.array([0, 0, 1, 1, 2, 2])
    found = conditional(X, y)
    assert found.status is Status.BOUNDARY
    np.testing.assert_array_equal(found.probabilities, one_hot(y, 3))
    assert found.error_bound == 0.0
    assert found.separation.is_complete
    assert (found.separation.margins > 0.0).all()
    assert_separation_is_exact(X, y, found)
    assert str(found.separation) == (
        "complete separation: all 6 samples are decided; class 0 is told from classes 1, 2 without "
        "error; class 1 is told from class 2 without error"
    )


def test_quasi_complete_separation():
    # At x = 1 both labels occur, twice and once: everything else is decided.
    x, y = np.array([0.0, 1.0, 1.0, 1.0, 3.0]), np.array([0, 0, 0, 1, 1])
    found = conditional(x[:, None], y)
    assert found.status is Status.BOUNDARY
    expected = [[1, 0], [2 / 3, 1 / 3], [2 / 3, 1 / 3], [2 / 3, 1 / 3], [0, 1]]
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-14)
    np.testing.assert_array_equal(found.support, np.array(expected) > 0)
    np.testing.assert_array_equal(found.separation.margins[1:4], 0.0)
    assert not found.separation.is_complete
    assert_separation_is_exact(x[:, None], y, found)
    np.testing.assert_allclose(found.cross_entropy, 0.6 * found_entropy(1 / 3), rtol=1e-14)
    assert str(found.separation) == (
        "quasi-complete separation: 2 of 5 samples are decided (0, 4), 0 in part; 3 are on the "
        "edge (1, 2, 3)"
    )


def found_entropy(p):
    return -p * np.log(p) - (1 - p) * np.log1p(-p)


def test_faces_within_faces():
    # The first column decides all but x1 = 0; there the second decides all but x2 = 0.
    X = np.array([[-1, 5], [1, -5], [0, -1], [0, 2], [0, 0], [0, 0], [0, 0.0]])
    y = np.array([0, 1, 0, 1, 0, 1, 1])
    found = conditional(X, y)
    assert found.status is Status.BOUNDARY
    np.testing.assert_allclose(
        found.probabilities[:, 1], [0, 1, 0, 1, 2 / 3, 2 / 3, 2 / 3], rtol=1e-14
    )
    assert_separation_is_exact(X, y, found)


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9])
def test_near_misses_are_told_from_separation(gap):
    X = np.array([[-1.0], [0.0], [gap], [1.0]])
    apart = conditional(X, [0, 0, 1, 1])
    assert apart.status is Status.BOUNDARY
    assert apart.separation.is_complete
    if gap > 1e-8:
        overlap = conditional(X, [0, 1, 0, 1])
        assert overlap.status is Status.CONVERGED
        assert overlap.support.all()
        # In the limit the four moments leave half of the mass in the middle to each label.
        np.testing.assert_allclose(overlap.probabilities[1:3], 0.5, atol=3 * gap)


def test_with_a_penalty_separable_data_have_a_solution():
    X = np.array([[0.0], [1.0], [2.0], [3.0]])
    sizes = []
    for penalty in (1.0, 1e-3, 1e-6):
        found = conditional(X, [0, 0, 1, 1], penalty=penalty)
        assert found.status is Status.CONVERGED
        sizes.append(np.abs(found.coef).max())
    assert sizes == sorted(sizes)
    assert sizes[-1] > 5.0


@pytest.mark.parametrize("penalty", [None, 0.1])
def test_a_class_without_samples_gets_no_probability(penalty):
    X, y = overlapping(1, 40, 2, 2)
    found = conditional(X, y, log_base=np.zeros(3), penalty=penalty)
    assert found.status is Status.BOUNDARY
    plain = conditional(X, y, penalty=penalty)
    np.testing.assert_array_equal(found.probabilities[:, 2], 0.0)
    np.testing.assert_allclose(found.probabilities[:, :2], plain.probabilities, rtol=1e-12)
    assert "class 2 has no samples" in str(found)
    if penalty:
        np.testing.assert_array_equal(found.separation.coef, 0.0)
        assert found.residual < 1e-15
        np.testing.assert_allclose(found.coef[:2], plain.coef, atol=1e-13)


def test_labels_that_are_never_ruled_out_are_not_separated():
    X = np.array([[0.0], [1.0], [2.0], [3.0]])
    smooth = 0.9 * one_hot([0, 0, 1, 1], 2) + 0.05
    assert conditional(X, smooth).status is Status.CONVERGED
    # A sample that may be either is on the edge of what separates the others.
    half = np.array([[1.0, 0.0], [1.0, 0.0], [0.25, 0.75], [0.0, 1.0]])
    found = conditional(X, half)
    assert found.status is Status.BOUNDARY
    np.testing.assert_allclose(found.probabilities, half, rtol=1e-14)
    np.testing.assert_array_equal(found.support, half > 0.0)


def test_classes_that_the_base_rules_out():
    X, y = overlapping(4)
    base = np.zeros((40, 3))
    base[:10, 0] = np.where(y[:10] == 0, 0.0, -INF)
    found = conditional(X, y, log_base=base)
    assert found.status is Status.CONVERGED
    np.testing.assert_array_equal(found.support, np.isfinite(base))
    np.testing.assert_array_equal(found.probabilities[~found.support], 0.0)
    off = one_hot(y, 3) - found.probabilities
    np.testing.assert_allclose(off.T @ X, 0.0, atol=1e-13)
    logits = X @ found.coef.T + found.intercept + base
    np.testing.assert_allclose(np.exp(log_softmax(logits)), found.probabilities, rtol=1e-12)


# ---------------------------------------------------------------- libraries and dtypes


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 3e-7)])
def test_output_lives_where_the_input_lives(lib, dtype, tolerance):
    X, y = overlapping(0)
    X = X.astype(np.float32).astype(float)
    plain = conditional(X, y)
    weights = lib.array(np.ones(40), "int64")
    found = conditional(lib.array(X, dtype), lib.array(y, "int64"), sample_weight=weights)
    for name in ("coef", "intercept", "probabilities"):
        array = getattr(found, name)
        assert lib.owns(array)
        assert lib.dtype_name(array) == dtype
        np.testing.assert_allclose(lib.to_numpy(array), getattr(plain, name), rtol=tolerance)
    assert lib.dtype_name(found.support) == "bool"
    error = np.abs(np.log(lib.to_numpy(found.probabilities) / plain.probabilities)).max()
    assert error <= found.error_bound
    separated = conditional(lib.array([[0.0], [1.0]], dtype), [0, 1])
    assert lib.owns(separated.separation.coef)
    assert lib.dtype_name(separated.separation.margins) == dtype


def test_tensors_that_require_a_gradient_are_refused():
    torch = pytest.importorskip("torch")
    X = torch.zeros((2, 1), requires_grad=True)
    with pytest.raises(ValueError, match="features must not require a gradient"):
        conditional(X, [0, 1])


# ---------------------------------------------------------------- what is said


def test_the_text_form_explains():
    X, y = overlapping(0)
    lines = str(conditional(X, y)).splitlines()
    assert lines[0] == "ConditionalProjection: converged"
    assert lines[1].startswith("  samples 40, classes 3, features 2, rank 6, steps ")
    assert lines[3].startswith("  error of every log-probability at most ")
    assert len(lines) == 5


def test_steps_that_run_out():
    X, y = overlapping(0)
    with pytest.raises(SolveError, match=r"The 1 step ran out\. Raise max_steps\.") as caught:
        conditional(X, y, max_steps=1)
    assert caught.value.result.status is Status.MAX_STEPS
    assert caught.value.result.steps == 1
    assert conditional(X, y, max_steps=1, throw=False).error_bound == INF


GOOD = {"features": [[0.0], [1.0], [2.0], [3.0]], "labels": [0, 1, 0, 1]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": [0.0, 1.0, 2.0, 3.0]}, r"features must .* got shape \(4,\)\. Write features"),
        ({"features": np.zeros((0, 2)), "labels": np.zeros(0)}, r"features must .* \(0, 2\)"),
        ({"features": [[0.0], [NAN], [2.0], [3.0]]}, "features must be finite"),
        ({"labels": [0, 1, 0]}, r"labels must .* features has 4 rows, labels \(3,\)"),
        ({"labels": [0, 1, 0, 1.5]}, r"labels must be whole numbers .* entry 3 is 1\.5"),
        ({"labels": [0, 1, 0, -1]}, r"entry 3 is -1\. numpy\.unique"),
        ({"labels": [0, 1, NAN, 1]}, "labels must .* NaN"),
        ({"labels": [0, 0, 0, 0]}, "labels must tell at least 2 classes apart: there is 1 class"),
        ({"labels": np.full((4, 2), 0.6)}, r"labels must hold probabilities .* = 0\.2"),
        ({"labels": np.ones((4, 1))}, "labels must tell at least 2 classes apart"),
        ({"labels": 1}, "labels must have shape"),
        ({"penalty": 0.0}, r"penalty must be a positive number or None: got 0\.0"),
        ({"penalty": -1}, "penalty must be a positive number or None: got -1"),
        ({"penalty": INF}, "penalty must be finite"),
        ({"log_base": np.zeros(1)}, r"log_base must have shape .* at least 2: got shape \(1,\)"),
        ({"log_base": np.zeros((3, 2))}, r"log_base must have shape .* n = 4 .* \(3, 2\)"),
        ({"log_base": [0.0, NAN]}, r"log_base must be finite, or -inf"),
        ({"log_base": [0.0, -INF]}, "log_base must not rule out .* class 1 of sample 1, its label"),
        ({"sample_weight": [1, 1, 1]}, r"sample_weight must have shape \(n,\)"),
        ({"sample_weight": [1, 1, 1, -1]}, "sample_weight must be finite and not negative"),
        ({"sample_weight": [0, 0, 0, 0]}, "sample_weight must have a positive sum"),
        ({"fit_intercept": 1}, "fit_intercept must be True or False: got 1"),
        ({"tol": 0.0}, "tol must be a positive number"),
        ({"max_steps": 0}, "max_steps must be a positive integer"),
    ],
)  # fmt: skip
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        conditional(**GOOD | arguments)


@pytest.mark.parametrize("argument", ["features", "labels", "log_base", "sample_weight", "penalty"])
def test_things_that_are_not_numbers(argument):
    with pytest.raises(TypeError, match=f"{argument} must "):
        conditional(**GOOD | {argument: "numbers"})


@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.csc_matrix])
def test_sparse_features_are_refused(kind):
    with pytest.raises(TypeError, match=r"features must be dense: .* Pass features\.toarray\(\)"):
        conditional(kind(np.eye(4)), [0, 1, 0, 1])


@pytest.mark.parametrize("largest", [10**9, 10**18, 1e300])
def test_numbers_that_do_not_count_classes_are_refused(largest):
    message = r"labels must number the classes from 0 on: 2 different ones end .*numpy\.unique"
    with pytest.raises(ValueError, match=message):
        conditional(GOOD["features"], [0, 1, 0, 1] * np.array(largest))


def test_labels_that_are_words_are_refused():
    with pytest.raises(TypeError, match=r"labels must be whole .* names\..*numpy\.unique"):
        conditional(GOOD["features"], ["a", "b", "a", "b"])
