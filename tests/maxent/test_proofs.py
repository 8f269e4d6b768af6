"""Every term of a bound has a problem on which it decides."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import scipy.sparse

from infogeo import Status
from infogeo.maxent import c_maximize
from infogeo.maxent._dual import batch, dense, proofs, sparse
from infogeo.maxent._dual.large import Large
from infogeo.maxent._dual.linear import depth_of_sums, sums
from infogeo.maxent._dual.problem import Curvature
from infogeo.maxent._dual.proofs import bound_of


def member(C, t, F):
    """Return the member of a family with one feature, its mean and its variance."""
    z = C + t * F
    p = np.exp(z - z.max())
    p /= p.sum()
    mean = float(F @ p)
    return p, mean, float(p @ np.square(F - mean))


def test_the_bound_holds_at_points_far_from_where_the_covariance_was_taken():
    rng = np.random.default_rng(0)
    closest = 0.0
    for _ in range(4000):
        F, C = rng.normal(size=3), rng.normal(size=3) * rng.choice([0.3, 2.0, 4.0])
        origin, t = rng.normal(size=2) * rng.choice([0.2, 1.0, 2.0])
        optimum = t + rng.normal() * 10.0 ** rng.uniform(-3.0, 0.0)
        _, centre, variance = member(C, origin, F)
        p, mean, _ = member(C, t, F)
        best, target, _ = member(C, optimum, F)
        decrement = abs(mean - target) / math.sqrt(variance)
        lever = 2.0 * np.abs(F - centre).max() / math.sqrt(variance)
        drift, moved = abs(t - origin) * np.ptp(F), abs(mean - centre) / math.sqrt(variance)
        _, x, wide = bound_of(decrement, 0.0, 0.0, lever, drift)
        if x < 0.5:
            error = np.abs(np.log(best / p)).max()
            _, _, bound = bound_of(decrement, 0.0, 0.0, lever, drift, moved)
            assert error <= bound <= wide
            closest = max(closest, error / bound)
    assert closest > 0.7  # the bound is within a small factor of what happens


@pytest.mark.parametrize("x", [0.01, 0.1])
def test_the_bound_is_attained_by_a_rare_outcome(x):
    # The mass p of one of two outcomes falls to (1 - x) p: its logarithm by -log(1 - x).
    p = 1e-6
    std = math.sqrt(p * (1.0 - p))
    _, found, bound = bound_of(x * p / std, 0.0, 0.0, 1.0 / std, 0.0)
    assert x < found < 1.011 * x
    assert -math.log1p(-x) <= bound < -1.02 * math.log1p(-x)


def test_what_is_left_of_a_decrement_may_be_rounding_or_far_below_the_tolerance():
    is_best = [
        proofs.is_best_possible(*arguments)
        for arguments in (
            (1e-9, 2e-9, 1e3, 1e-10),  # rounding
            (1e-15, 0.0, 1e2, 1e-10),  # a thousandth of the tolerance
            (1e-9, 0.9e-9, 1e3, 1e-10),
            (1e-12, 0.0, 2.0, 1e-10),  # below the tolerance, but not far
            (1e-12, 0.0, 0.5, 1e-10),
        )
    ]
    assert is_best == [True, True, False, False, True]


def test_an_outcome_of_no_mass_has_the_rounding_of_its_own_logit_in_the_bound():
    # Nothing of it is seen in the means: p_0 = p_1 = 1/2.
    C = np.array([0.3, 0.0, -1e8 - 0.3])
    found = c_maximize([[0.0, 1.0, 3.0]], [0.5], log_base=C)
    with mpmath.workdps(50):  # log p_y = C_y + theta y - psi with log p_0 = log p_1 = -log 2
        exact = mpmath.mpf(C[2]) + 3 * mpmath.mpf(C[0]) - mpmath.log(2) - mpmath.mpf(C[0])
        error = abs(mpmath.mpf(float(found.log_probabilities[2])) - exact)
    assert 1e-9 < error <= found.error_bound < 1e-6


def test_rounding_of_large_log_bases_is_in_the_bound():
    F, C = np.array([[0.0, 1.0, 2.0]]), np.array([0.1, 1e8 + 0.3, 2e8 + 0.7])
    found = c_maximize(F, [1.0], log_base=C)
    with mpmath.workdps(50):
        # p_0 = p_2 = a, p_1 = 1 - 2a, and log p_0 - 2 log p_1 + log p_2 is that of C.
        ratio = mpmath.mpf(C[0]) - 2 * mpmath.mpf(C[1]) + mpmath.mpf(C[2])
        a = 1 / (2 + mpmath.exp(-ratio / 2))
        exact = [mpmath.log(a), mpmath.log(1 - 2 * a), mpmath.log(a)]
        error = max(
            abs(mpmath.mpf(float(x)) - y)
            for x, y in zip(found.log_probabilities, exact, strict=True)
        )
    assert 1e-12 < error <= found.error_bound < 1e-5


@pytest.mark.parametrize("spacing", [5.0, 5.5, 6.0, 8.0])
def test_batches_claim_no_more_than_a_tenth(spacing):
    # Targets of 1e15 are known to 0.1 or so: for close features that is too little.
    F = np.array([1e15 + np.rint(spacing * np.arange(4.0))])
    targets = [[1e15 + 7.0], [1e15 + 8.0], [1e15 + 6.0], [1e15 + 9.0]]
    found = c_maximize(F, targets, throw=False)
    solved = np.array([status.is_solution for status in found.member_status])
    assert (found.error_bound[solved] <= 0.11).all()
    assert solved.any() == (spacing > 5.5)


def test_an_outcome_that_rounding_leaves_some_mass_is_not_called_impossible():
    # A mean of 1 + 2e-16 may be 1, or leave a mass of 2e-8 to the second outcome.
    F = np.array([[1.0, 1.0 + 1e-8, 2.0]])
    assert c_maximize(F, [1.0]).support.tolist() == [True, False, False]
    found = c_maximize(F, [1.0 + 2.3e-16], throw=False)
    assert found.status is Status.UNDECIDED
    # Nor if another feature is exactly what it is on the face, and rules out other outcomes.
    found = c_maximize([*F, [0.0, 0.0, 1.0]], [1.0 + 2.3e-16, 0.0], throw=False)
    assert found.status is Status.UNDECIDED


def test_logits_that_run_off_prove_nothing():
    # On some processors a covariance of nothing but rounding makes steps of 1e51.
    _, x, _ = bound_of(0.0, 0.0, 2e52, 0.0, 1e51)
    assert x == np.inf


# ---------------------------------------------------------------- rounding


class Term:
    """What takes part in additions, and counts them."""

    def __init__(self, depth):
        self.depth = depth

    def __add__(self, other):
        return Term(1 + max(self.depth, other.depth))


@pytest.mark.parametrize("first", [1, 300, 2000])
def test_sums_by_halves_are_as_deep_as_they_say(first):
    slack = []
    for count in range(first, first + 100):
        total = sums(np.array([Term(0) for _ in range(count)]))
        slack.append(depth_of_sums(count) - total.depth)
        assert sums(np.arange(float(count))) == count * (count - 1) / 2
    assert min(slack) == 0


def unit_of(p, mean, rows, ridge):
    """Return a unit in which no direction has a variance above 1."""
    return math.sqrt(float((p * np.square(rows - mean[:, None])).sum()) + ridge)


def rounding_of_dense(rows, base, t, blur, ridge):
    """Return the gradient, log p, and the bounds on their rounding errors."""
    none = np.zeros(0, dtype=bool)
    eye, combinations = np.eye(t.size), np.zeros((t.size, 0))
    reduced = dense.Reduced(rows, base, eye, eye, blur, combinations, none, none, ridge)
    return rounding_of_features(reduced, rows, t, ridge)


def rounding_of_sparse(rows, base, t, blur, ridge):
    """Do the same for sparse features."""
    columns, one = scipy.sparse.csr_array(rows.T), np.ones(t.size)
    reduced = sparse.SparseReduced(columns, base, 0.0 * one, one, blur, ridge * one)
    return rounding_of_features(reduced, rows, t, ridge)


def rounding_of_features(reduced, rows, t, ridge):
    point = reduced.evaluate(t, accurate=True)
    unit = unit_of(point.p, point.mean, rows, ridge)
    norms = np.linalg.norm(rows - point.mean[:, None], axis=0) / unit
    curvature = Curvature(point, np.eye(t.size) / unit, 0.0, norms=norms)
    of_gradient, of_logits = reduced.rounding(curvature, point, 0.0)
    of_logs = of_logits.max() + point.p @ of_logits
    return point.gradient, point.logits - point.value, of_gradient * unit, of_logs


def rounding_of_batch(rows, base, t, blur, ridge):
    """Do the same as a batch of one member, which has no ridge."""
    one = np.ones((t.size, 1))
    block = batch._Block(np.arange(1), rows[:, :, None], base[:, None], one, blur[:, None])
    point = batch._evaluate(block, t[:, None])
    unit = unit_of(point.p[:, 0], point.gradient[:, 0], rows, 0.0)
    whiteners, is_finite = np.eye(t.size)[:, :, None] / unit, np.ones((base.size, 1), dtype=bool)
    norms = np.linalg.norm(rows - point.gradient, axis=0)[:, None] / unit
    of_gradient, of_logs = batch._rounding(block, point, whiteners, norms, np.zeros(1), is_finite)
    logs = point.logits - point.value
    return point.gradient[:, 0], logs[:, 0], float(of_gradient[0]) * unit, float(of_logs[0])


def whitener_at(rows, p):
    centred = rows - (rows @ p)[:, None]
    return np.linalg.inv(np.linalg.cholesky((centred * p) @ centred.T))


def rounding_of_large(rows, base, t, blur, ridge, *, is_sparse=False):
    """Do the same for large features, in the norm of their covariance, which is returned too."""
    one = np.ones(t.size)
    if is_sparse:
        columns = scipy.sparse.csr_array(rows.T)
        large = sparse.SparseReduced(columns, base, 0.0 * one, one, blur, 0.0 * one)
    else:
        large = Large(rows, 0.0 * one, one, base, blur)
    point = large.evaluate(t, float((base + t @ rows).max()), accurate=True)
    whitener = whitener_at(rows, point.p)
    lengths, sizes = np.linalg.norm(rows, axis=0), np.sqrt(np.square(rows) @ point.p)
    curvature = Curvature(point, whitener, 0.0, lengths=lengths, sizes=sizes)
    of_gradient, of_logits = large.rounding(curvature, point, 0.0)
    logs, of_logs = point.logits - point.value, of_logits.max() + point.p @ of_logits
    return point.gradient, logs, of_gradient, of_logs, whitener


def rounding_of_large_sparse(*arguments):
    return rounding_of_large(*arguments, is_sparse=True)


KINDS_OF_ROUNDING = {
    "logits that are nearly the same": ([[1e8, 1e8 + 1.0, 1e8 + 2.0]], [0.0, 0.0, 0.0], [0.37]),
    "means that cancel": ([[1e8, -1e8, 0.3, 1e8]], [0.0, -0.2, -0.7, -0.1], [1e-9]),
    "logits that are sums of large numbers": (
        [[0.1, 1.1, 2.3]],
        [-1e7, -1.1e8 - 0.3, -2.3e8 - 0.7],
        [1e8],
    ),
    "means far from 0": ([[1e8 + 0.1, 1e8 + 1.0, 1e8 + 2.3]], [0.0, -0.2, -0.7], [1e-9]),
    "such sums in larger units": (
        [[11.0, 110.0, 230.0]],
        [-11.0 / 3.0 * 1e6, -110.0 / 3.0 * 1e6 - 0.3, -230.0 / 3.0 * 1e6 - 0.7],
        [1e6 / 3.0],
    ),
    "large parameters": (
        [[1e8, 1e8 + 1.0, 1e8 + 2.0], [1e8 - 1.0, 1e8, 1e8 + 3.0]],
        [0.0, -0.1, 0.1],
        [1.1, -1.1],
    ),
}


@pytest.mark.parametrize("name", KINDS_OF_ROUNDING)
@pytest.mark.parametrize(
    ("kind", "price"),
    [
        (rounding_of_dense, 0.0),
        (rounding_of_dense, 3e7),
        (rounding_of_batch, 0.0),
        (rounding_of_sparse, 0.0),
        (rounding_of_sparse, 3e7),
        (rounding_of_large, 0.0),
        (rounding_of_large_sparse, 0.0),
    ],
)
def test_rounding_errors_are_within_their_bounds(name, kind, price):
    rows, base, t = (np.array(x) for x in KINDS_OF_ROUNDING[name])
    found = kind(rows, base, t, np.zeros(t.size), price)
    gradient, logs, of_gradient, of_logs = found[:4]
    whitener = found[4] if len(found) > 4 else np.eye(t.size)
    with mpmath.workdps(60):
        F, exact_t = (mpmath.matrix(x.tolist()) for x in (rows, t))
        z = mpmath.matrix(base.tolist()) + F.T * exact_t
        total = mpmath.log(mpmath.fsum(mpmath.exp(x) for x in z))
        error = max(abs(x - (y - total)) for x, y in zip(logs, z, strict=True))
        assert error <= of_logs
        mean = F * mpmath.matrix([mpmath.exp(x - total) for x in z])
        error_of_gradient = mean + price * exact_t - mpmath.matrix(gradient.tolist())
        of_mean = mpmath.norm(mpmath.matrix(whitener.tolist()) * error_of_gradient)
        assert of_mean <= of_gradient
    if len(found) == 4:  # far more than the rounding of numbers of about 1
        assert max(error, of_mean) > 1e-11


@pytest.mark.parametrize("kind", [rounding_of_dense, rounding_of_batch, rounding_of_sparse])
def test_targets_that_are_known_to_some_digits_have_them_in_the_bound(kind):
    rows, base, t = np.array([[-1.0, 0.0, 2.0]]), np.zeros(3), np.array([0.3])
    *_, of_gradient, _ = kind(rows, base, t, np.array([1e-6]), 0.0)
    assert 1e-6 <= of_gradient < 1.1e-6


def rounding_at(rows, p, lower, whitener, blur):
    """Return the bound on the whitened gradient for given probabilities, and theta = 0."""
    size, none = len(rows), np.zeros(0, dtype=bool)
    combinations = np.zeros((size, 0))
    reduced = dense.Reduced(rows, np.log(p), np.eye(size), lower, blur, combinations, none, none)
    point = reduced.evaluate(np.zeros(size), accurate=True)
    curvature = Curvature(point, whitener, 0.0, norms=np.zeros(p.size))
    rounding, _ = reduced.rounding(curvature, point, 0.0)
    return point, rounding


def test_errors_of_targets_count_whatever_their_signs(rng):
    rows, p = np.array([[-1.0, 0.0, 2.0], [0.0, 1.0, -1.0]]), np.full(3, 1.0 / 3.0)
    for _ in range(20):
        lower, whitener = (np.tril(rng.normal(size=(2, 2))) for _ in range(2))
        blur = 1e-6 * rng.random(2)
        _, rounding = rounding_at(rows, p, lower, whitener, blur)
        signs = np.array([[1.0, 1.0], [1.0, -1.0]])
        errors = whitener @ np.linalg.solve(lower, (signs * blur).T)
        assert np.linalg.norm(errors, axis=0).max() <= rounding


def test_errors_of_sums_count_whatever_the_signs_of_the_whitener(rng):
    # The second row of the whitener is such that sizes with its signs cancel.
    closest = 0.0
    for _ in range(30):
        p = rng.dirichlet(np.ones(5))
        rows = rng.normal(size=(2, 5)) * np.array([[1e5], [1e8]])
        sizes = np.abs(rows) @ p
        whitener = np.array([[1.0, 0.0], [-sizes[1] / sizes[0], 1.0]])
        point, rounding = rounding_at(rows, p, np.eye(2), whitener, np.zeros(2))
        weights = [Fraction(x) for x in point.p.tolist()]
        errors = [
            sum(Fraction(x) * w for x, w in zip(row, weights, strict=True)) / sum(weights)
            - Fraction(mean)
            for row, mean in zip(rows.tolist(), point.mean.tolist(), strict=True)
        ]
        error = np.linalg.norm(whitener @ np.array([float(x) for x in errors]))
        assert error <= rounding
        closest = max(closest, error / rounding)
    assert closest > 1e-3


def test_large_problems_count_what_is_not_known_of_targets_and_their_offsets():
    # Features of about 1e8 less their targets, in units of 1: p is that of the differences.
    above, p = np.array([[-1.1, 0.3, 2.7], [0.9, -1.3, 0.2]]), np.array([0.5, 0.3, 0.2])
    offset, one, blur = np.array([1e8, -1e8]), np.ones(2), np.array([1e-3, 2e-3])
    rows = above + offset[:, None]
    for known in (np.zeros(2), blur):
        large = Large(rows, offset, one, np.log(p), known)
        point = large.evaluate(np.zeros(2), 0.0, accurate=True)
        whitener = np.array([[1.0, 0.0], [-1.0, 1.0]])
        lengths = np.linalg.norm(rows - offset[:, None], axis=0)
        sizes = np.sqrt(np.square(rows - offset[:, None]) @ p)
        curvature = Curvature(point, whitener, 0.0, lengths=lengths, sizes=sizes)
        of_gradient, _ = large.rounding(curvature, point, 0.0)
        weights = [Fraction(x) for x in point.p.tolist()]
        exact = [
            sum(Fraction(x) * w for x, w in zip(row, weights, strict=True)) / sum(weights)
            - Fraction(b)
            for row, b in zip(rows.tolist(), offset.tolist(), strict=True)
        ]
        errors = [float(x - Fraction(g)) for x, g in zip(exact, point.gradient, strict=True)]
        worst = np.abs(errors) + known
        shifts = np.array([[1.0, 1.0], [1.0, -1.0]]) * worst
        error = np.linalg.norm(whitener @ shifts.T, axis=0).max()
        assert 1e-10 < error <= of_gradient
        if known.any():
            assert of_gradient < 1.01 * np.linalg.norm(np.abs(whitener) @ known)
