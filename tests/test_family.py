"""Families: 50-digit references, exact ranks, closed cases, dualities, the Pythagorean relation."""

import math
from dataclasses import replace
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from infogeo import SolveError, Status, maxent, simplex
from infogeo.family import (
    ExponentialFamily,
    MixtureFamily,
    e_projection,
    em,
    intersection,
    m_projection,
)

INF, NAN = np.inf, np.nan
FACES = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])


@pytest.fixture(autouse=True)
def _fifty_digits():
    with mpmath.workdps(50):
        yield


# ---------------------------------------------------------------- oracles


def exact_log_partition(F, C, theta):
    """Return psi in 50 digits, for theta a sequence of floats or of mpmath numbers."""
    terms = [
        mpmath.exp(
            mpmath.mpf(float(C[y]))
            + mpmath.fsum(t * mpmath.mpf(float(F[i][y])) for i, t in enumerate(theta))
        )
        for y in range(len(C))
        if np.isfinite(C[y])
    ]
    return mpmath.log(mpmath.fsum(terms))


def exact_probabilities(F, C, theta):
    theta = [mpmath.mpf(float(t)) for t in theta]
    psi = exact_log_partition(F, C, theta)
    return [
        mpmath.exp(
            mpmath.mpf(float(C[y]))
            + mpmath.fsum(t * mpmath.mpf(float(F[i][y])) for i, t in enumerate(theta))
            - psi
        )
        if np.isfinite(C[y])
        else mpmath.mpf(0)
        for y in range(len(C))
    ]


def exact_kl(p, q):
    return mpmath.fsum(a * mpmath.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def exact_covariance(F, p):
    rows = [[mpmath.mpf(float(x)) for x in row] for row in F]
    means = [mpmath.fdot(row, p) for row in rows]
    return mpmath.matrix(
        [
            [
                mpmath.fsum(w * (a - mu) * (b - nu) for w, a, b in zip(p, x, y, strict=True))
                for y, nu in zip(rows, means, strict=True)
            ]
            for x, mu in zip(rows, means, strict=True)
        ]
    )


def exact_rank(rows):
    """Return the rank of a matrix of floats by elimination in rational numbers."""
    rows = [[Fraction(float(x)) for x in row] for row in rows]
    rank = 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for i in range(rank + 1, len(rows)):
            factor = rows[i][column] / rows[rank][column]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[rank], strict=True)]
        rank += 1
    return rank


def exact_dimension(F):
    """Return the rank of features modulo constants."""
    return exact_rank([*np.asarray(F, dtype=float), np.ones(np.shape(F)[1])]) - 1


def is_farkas(F, b, eta):
    """Whether eta'(F_y - b) > 0 for every outcome, in exact rational arithmetic."""
    eta, b = [Fraction(float(x)) for x in eta], [Fraction(float(x)) for x in b]
    above = [
        sum(e * (Fraction(float(row[y])) - t) for e, row, t in zip(eta, F, b, strict=True))
        for y in range(len(F[0]))
    ]
    return min(above) > 0


def relative_error(value, reference):
    return float(abs((mpmath.mpf(float(value)) - reference) / reference))


def draw(seed, num_features=3, num_outcomes=8):
    rng = np.random.default_rng(seed)
    F, C = rng.normal(size=(num_features, num_outcomes)), rng.normal(size=num_outcomes)
    return rng, F, C


def minimum_norm(F, theta):
    """Return the smallest theta of the same member, for features over allowed outcomes only."""
    centred = F - F.mean(axis=1, keepdims=True)
    return np.linalg.pinv(centred.T, rcond=1e-10) @ (centred.T @ theta)


# ---------------------------------------------------------------- closed forms against 50 digits


@pytest.mark.parametrize("size", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("seed", range(3))
def test_closed_forms_against_50_digits(seed, size):
    rng, F, C = draw(seed)
    C[2] = -INF
    E, theta = ExponentialFamily(F, C), size * rng.normal(size=3)
    p = exact_probabilities(F, C, theta)
    psi = exact_log_partition(F, C, [mpmath.mpf(t) for t in theta])
    assert relative_error(E.log_partition(theta), psi) < 1e-14
    tolerance = 1e-14 * (1.0 + 10.0 * size)  # theta'F itself is rounded
    for y in range(8):
        if y == 2:
            assert E.probabilities(theta)[y] == 0.0
            assert E.log_probabilities(theta)[y] == -INF
            continue
        assert relative_error(E.probabilities(theta)[y], p[y]) < tolerance
        assert abs(E.log_probabilities(theta)[y] - float(mpmath.log(p[y]))) < tolerance
    eta = [float(mpmath.fdot([mpmath.mpf(x) for x in row], p)) for row in F]
    np.testing.assert_allclose(E.expectation_parameters(theta), eta, rtol=tolerance, atol=tolerance)
    covariance = np.array(exact_covariance(F, p).tolist(), dtype=float)
    scale = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(
        E.fisher_information(theta) / np.outer(scale, scale),
        covariance / np.outer(scale, scale),
        rtol=0,
        atol=tolerance,
    )


@pytest.mark.parametrize("seed", range(3))
def test_expectations_and_fisher_information_are_derivatives_of_psi(seed):
    rng, F, C = draw(seed, num_features=2, num_outcomes=5)
    E, theta = ExponentialFamily(F, C), rng.normal(size=2)
    at = tuple(mpmath.mpf(t) for t in theta)

    def psi(*theta):
        return exact_log_partition(F, C, theta)

    gradient = [mpmath.diff(psi, at, order) for order in [(1, 0), (0, 1)]]
    hessian = [[mpmath.diff(psi, at, o) for o in row]
               for row in [[(2, 0), (1, 1)], [(1, 1), (0, 2)]]]  # fmt: skip
    np.testing.assert_allclose(
        E.expectation_parameters(theta), [float(x) for x in gradient], rtol=1e-14, atol=1e-15
    )
    np.testing.assert_allclose(
        E.fisher_information(theta), [[float(x) for x in row] for row in hessian], rtol=1e-13
    )


def test_an_offset_of_the_features_costs_the_fisher_information_nothing():
    x = np.arange(6.0)
    plain, moved = ExponentialFamily([x]), ExponentialFamily([x + 2.0**26])
    np.testing.assert_allclose(
        moved.fisher_information([0.0]), plain.fisher_information([0.0]), rtol=1e-15
    )


def test_saturated_members_overflow_nothing():
    coin = ExponentialFamily([[0.0, 1.0]])
    assert coin.log_partition([1e300]) == 1e300
    np.testing.assert_array_equal(coin.probabilities([-1e5]), [1.0, 0.0])
    np.testing.assert_array_equal(coin.log_probabilities([-1e5]), [0.0, -1e5])


# ---------------------------------------------------------------- divergence


@pytest.mark.parametrize("separation", [1e-12, 1e-8, 1e-4, 0.1, 1.0, 10.0, 1000.0])
@pytest.mark.parametrize("seed", range(3))
def test_kl_against_50_digits(seed, separation):
    rng, F, C = draw(seed)
    C[5] = -INF
    theta_1 = rng.normal(size=3)
    theta_2 = theta_1 + separation * rng.normal(size=3)
    value = ExponentialFamily(F, C).kl_divergence(theta_1, theta_2)
    reference = exact_kl(exact_probabilities(F, C, theta_1), exact_probabilities(F, C, theta_2))
    assert relative_error(value, reference) < 3e-14


@pytest.mark.parametrize("seed", range(3))
def test_kl_is_the_bregman_divergence_of_psi(seed):
    rng, F, C = draw(seed)
    theta_1, theta_2 = rng.normal(size=(2, 3))
    psi_1, psi_2 = (
        exact_log_partition(F, C, [mpmath.mpf(t) for t in theta]) for theta in (theta_1, theta_2)
    )
    p = exact_probabilities(F, C, theta_1)
    eta = [mpmath.fdot([mpmath.mpf(x) for x in row], p) for row in F]
    difference = [mpmath.mpf(b) - mpmath.mpf(a) for a, b in zip(theta_1, theta_2, strict=True)]
    bregman = psi_2 - psi_1 - mpmath.fdot(difference, eta)
    assert relative_error(ExponentialFamily(F, C).kl_divergence(theta_1, theta_2), bregman) < 1e-14


@pytest.mark.parametrize("depth", [30.0, 80.0, 600.0])
def test_kl_of_members_close_to_a_vertex(depth):
    # All but exp(-depth) of the mass is on one outcome; the divergence is in the rest.
    F, C = np.array([[0.0, 1.0, 2.0]]), np.array([0.0, -depth, -depth])
    value = ExponentialFamily(F, C).kl_divergence([0.3], [0.30001])
    with mpmath.workdps(600):
        p, q = (exact_probabilities(F, C, [theta]) for theta in (0.3, 0.30001))
        assert relative_error(value, exact_kl(p, q)) < 1e-13


def test_kl_when_the_second_member_has_what_underflows_in_the_first():
    F, C = np.array([[0.0, 1.0]]), np.array([0.0, -2000.0])
    for theta in (2001.0, 4000.0):
        reference = exact_kl(exact_probabilities(F, C, [0.0]), exact_probabilities(F, C, [theta]))
        value = ExponentialFamily(F, C).kl_divergence([0.0], [theta])
        assert relative_error(value, reference) < 1e-12


def test_kl_of_members_is_kl_of_their_probabilities():
    rng, F, C = draw(0)
    E, theta = ExponentialFamily(F, C), rng.normal(size=(2, 5, 3))
    np.testing.assert_allclose(
        E.kl_divergence(theta[0], theta[1]),
        simplex.kl_divergence(E.probabilities(theta[0]), E.probabilities(theta[1])),
        rtol=1e-13,
    )
    np.testing.assert_array_equal(E.kl_divergence(theta[0], theta[0]), np.zeros(5))


# ---------------------------------------------------------------- Legendre duality


@pytest.mark.parametrize("seed", range(5))
def test_coordinates_invert_each_other(seed):
    rng, F, C = draw(seed)
    E, theta = ExponentialFamily(F, C), rng.normal(size=(4, 3))
    eta = E.expectation_parameters(theta)
    np.testing.assert_allclose(E.natural_parameters(eta), theta, rtol=0, atol=2e-13)


@pytest.mark.parametrize("seed", range(5))
def test_legendre_identity_against_50_digits(seed):
    rng, F, C = draw(seed)
    theta = rng.normal(size=3)
    p = exact_probabilities(F, C, theta)
    # phi = E_p[log p - C], from the definition, at the member itself.
    phi = mpmath.fsum(x * (mpmath.log(x) - mpmath.mpf(c)) for x, c in zip(p, C, strict=True))
    E = ExponentialFamily(F, C)
    eta = E.expectation_parameters(theta)
    np.testing.assert_allclose(E.negative_entropy(eta), float(phi), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(
        E.log_partition(theta) + E.negative_entropy(eta), theta @ eta, rtol=1e-13, atol=1e-14
    )


@given(st.integers(0, 10**6))
def test_fenchel_young_gap_is_the_divergence(seed):
    rng, F, C = draw(seed)
    E, theta_1, theta_2 = ExponentialFamily(F, C), *rng.normal(size=(2, 3))
    eta = E.expectation_parameters(theta_1)
    gap = E.log_partition(theta_2) + E.negative_entropy(eta) - theta_2 @ eta
    np.testing.assert_allclose(gap, E.kl_divergence(theta_1, theta_2), rtol=1e-11, atol=1e-12)


def test_negative_entropy_for_known_bases():
    F = np.array([[0.0, 1.0, 2.0, 3.0]])
    p = ExponentialFamily(F).probabilities([0.7])
    np.testing.assert_allclose(
        ExponentialFamily(F).negative_entropy(F @ p), -simplex.entropy(p), rtol=1e-14
    )
    prior = np.array([0.4, 0.1, 0.2, 0.3])
    E = ExponentialFamily(F, np.log(prior))
    q = E.probabilities([0.7])
    np.testing.assert_allclose(
        E.negative_entropy(F @ q), simplex.kl_divergence(q, prior), rtol=1e-13
    )


@pytest.mark.parametrize("seed", range(3))
def test_derivatives_of_the_negative_entropy(seed):
    rng, F, C = draw(seed, num_features=2)
    E, theta = ExponentialFamily(F, C), rng.normal(size=2)
    eta, h, unit = E.expectation_parameters(theta), 2e-4, np.eye(2)

    def fourth_order(function):
        return np.stack(
            [
                (8 * (function(eta + h * e) - function(eta - h * e))
                 - (function(eta + 2 * h * e) - function(eta - 2 * h * e))) / (12 * h)
                for e in unit
            ]
        )  # fmt: skip

    np.testing.assert_allclose(fourth_order(E.negative_entropy), theta, rtol=0, atol=1e-8)
    np.testing.assert_allclose(
        fourth_order(E.natural_parameters), E.expectation_fisher_information(eta), rtol=1e-7
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_two_fisher_informations_are_inverse(seed):
    rng, F, C = draw(seed)
    E, theta = ExponentialFamily(F, C), rng.normal(size=3)
    p = exact_probabilities(F, C, theta)
    inverse = np.array((exact_covariance(F, p) ** -1).tolist(), dtype=float)
    found = E.expectation_fisher_information(E.expectation_parameters(theta))
    np.testing.assert_allclose(found, inverse, rtol=0, atol=1e-12 * np.abs(inverse).max())


def test_expectation_fisher_information_of_ill_conditioned_features():
    # Moments up to the eighth: the covariance has a condition above 1e11.
    grid = np.arange(17) / 16.0
    F = np.multiply.accumulate(np.tile(grid, (8, 1)), axis=0)
    E = ExponentialFamily(F)
    eta = F.mean(axis=1)
    inverse = np.array((exact_covariance(F, [mpmath.mpf(1) / 17] * 17) ** -1).tolist(), dtype=float)
    assert np.linalg.cond(E.fisher_information(np.zeros(8))) > 1e11
    np.testing.assert_allclose(E.expectation_fisher_information(eta), inverse, rtol=1e-8)


def test_expectation_fisher_information_of_dependent_features():
    rng, F, C = draw(1, num_features=2)
    F = np.vstack([F, F[0] - 2.0 * F[1], np.full(8, 3.0)])
    E, theta = ExponentialFamily(F, C), rng.normal(size=4)
    p = np.array([float(x) for x in exact_probabilities(F, C, theta)])
    covariance = (F - (F @ p)[:, None]) * p @ F.T
    np.testing.assert_allclose(
        E.expectation_fisher_information(F @ p), np.linalg.pinv(covariance, rcond=1e-12), atol=1e-12
    )
    assert E.dimension == 2


# ---------------------------------------------------------------- no solution, or on the boundary


def test_expectations_out_of_reach_are_proved_so():
    F = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 4.0, 9.0, 16.0]])
    E, eta = ExponentialFamily(F), [2.5, 6.0]  # a variance below 0
    for method, what in (
        (E.natural_parameters, "eta has no natural parameters"),
        (E.expectation_fisher_information, "eta has no natural parameters"),
        (E.negative_entropy, r"phi\(eta\) is infinite"),
    ):
        with pytest.raises(SolveError, match=f"{what}.* No distribution satisfies") as caught:
            method(eta)
        assert caught.value.result.status is Status.INFEASIBLE
        assert is_farkas(F, eta, caught.value.result.certificate)


def test_inconsistent_expectations_of_dependent_features_are_proved_so():
    F = np.array([[0.0, 1.0, 2.0], [0.0, 2.0, 4.0], [1.0, 1.0, 1.0]])
    E = ExponentialFamily(F)
    assert E.dimension == 1
    np.testing.assert_allclose(E.natural_parameters([1.0, 2.0, 1.0]), [0.0, 0.0, 0.0], atol=1e-15)
    for eta in ([1.0, 2.1, 1.0], [1.0, 2.0, 1.1]):
        with pytest.raises(SolveError, match="No distribution satisfies") as caught:
            E.natural_parameters(eta)
        assert is_farkas(F, eta, caught.value.result.certificate)


def test_failed_members_of_a_batch_are_listed():
    E = ExponentialFamily(FACES)
    with pytest.raises(SolveError, match=r"2 of 4 problems failed") as caught:
        E.natural_parameters([[3.0], [7.0], [4.0], [0.0]])
    assert caught.value.failed == (1, 3)


def test_members_have_no_expectations_on_the_boundary():
    E = ExponentialFamily(FACES)
    with pytest.raises(SolveError, match="lies on the boundary") as caught:
        E.natural_parameters([6.0])
    assert caught.value.failed is None
    np.testing.assert_array_equal(caught.value.result.probabilities, [0, 0, 0, 0, 0, 1])
    with pytest.raises(SolveError, match="lies on the boundary") as caught:
        E.natural_parameters([[6.0], [6.0]])
    assert caught.value.failed == (0, 1)
    assert E.negative_entropy([6.0]) == 0.0


@pytest.mark.parametrize("mean", [1.0, 6.0])
def test_the_ends_of_a_range_have_no_natural_parameters(mean):
    with pytest.raises(SolveError, match="eta has no natural parameters"):
        ExponentialFamily(FACES).natural_parameters([mean])


def test_negative_entropy_on_the_boundary():
    F = np.array([[0.0, 1.0, 2.0, 3.0], [1.0, 0.0, 0.0, 2.0]])
    C = np.log([0.1, 0.2, 0.3, 0.4])
    # Only outcomes 1 and 2 are left, with a quarter and three quarters.
    expected = 0.25 * np.log(0.25 / 0.2) + 0.75 * np.log(0.75 / 0.3)
    np.testing.assert_allclose(ExponentialFamily(F, C).negative_entropy([1.75, 0.0]), expected)


# ---------------------------------------------------------------- rank and gauge


@given(
    st.integers(2, 6).flatmap(
        lambda c: st.lists(
            st.lists(st.integers(-3, 3), min_size=c, max_size=c), min_size=1, max_size=8
        )
    )
)
def test_dimension_is_the_exact_rank(rows):
    assert ExponentialFamily(rows).dimension == exact_dimension(rows)
    scaled = np.array(rows) * 10.0 ** np.arange(len(rows))[:, None] + 7.0
    assert ExponentialFamily(scaled).dimension == exact_dimension(rows)


def test_dimension_counts_allowed_outcomes_only():
    F = np.array([[0.0, 1.0, 2.0, 5.0], [1.0, 1.0, 1.0, 0.0]])
    assert ExponentialFamily(F).dimension == 2
    assert ExponentialFamily(F, [0.0, 0.0, 0.0, -INF]).dimension == 1
    assert ExponentialFamily(F, [-INF, -INF, 0.0, -INF]).dimension == 0


@pytest.mark.parametrize("order", [6, 12])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.0, 100.0)])
def test_moments_are_independent(order, low, high):
    grid = low + (high - low) * np.arange(33) / 32
    F = np.multiply.accumulate(np.tile(grid, (order, 1)), axis=0)
    assert ExponentialFamily(F).dimension == order == exact_dimension(F)


@pytest.mark.parametrize("unit", [1e-300, 1e-150, 1e150, 1e300])
def test_the_unit_of_the_features_may_be_extreme(rng, unit):
    F, theta = rng.normal(size=(3, 8)), rng.normal(size=3)
    plain, extreme = ExponentialFamily(F), ExponentialFamily(F * unit)
    p = plain.probabilities(theta)
    eta = extreme.expectation_parameters(theta / unit)
    assert extreme.dimension == 3
    assert MixtureFamily(F * unit, eta).dimension == 4
    assert extreme.contains(p)
    np.testing.assert_allclose(extreme.natural_parameters(eta) * unit, theta, rtol=1e-13)
    meeting = intersection(extreme, MixtureFamily(F * unit, eta))
    np.testing.assert_allclose(meeting.probabilities, p, rtol=1e-13)


def test_near_duplicates_count_and_duplicates_to_rounding_do_not(rng):
    row = rng.normal(size=30)
    assert ExponentialFamily([row, row + 1e-9 * rng.normal(size=30)]).dimension == 2
    assert ExponentialFamily([row, row * (1 + 2.0**-52)]).dimension == 1
    single = np.stack([row, 2.5 * row - 1.0]).astype(np.float32)
    assert ExponentialFamily(single).dimension == 1


def test_dimension_agrees_with_the_solver(rng):
    for _ in range(30):
        num_features, num_outcomes = rng.integers(1, 9), rng.integers(2, 9)
        F = rng.normal(size=(num_features, 2)) @ rng.normal(size=(2, num_outcomes))
        F[: num_features // 2] = rng.integers(-1, 2, size=(num_features // 2, num_outcomes))
        solved = maxent.max_entropy(F, F.mean(axis=1))
        assert ExponentialFamily(F).dimension == solved.rank


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_theta_is_of_minimum_norm(rng, scale):
    base = rng.normal(size=(2, 9))
    F = np.vstack([base, scale * base[0], base[0] + base[1] + 2.0, np.full(9, 0.3)])
    E, theta = ExponentialFamily(F), np.array([0.4, -0.3, 0.2 / scale, 0.1, 5.0])
    found = E.natural_parameters(E.expectation_parameters(theta))
    # What acts on no distribution: the part of theta in the span of these is left out.
    idle = mpmath.matrix([[scale, 0, -1, 0, 0], [1, 1, 0, -1, 0], [0, 0, 0, 0, 1]]).T
    exact = mpmath.matrix(theta.tolist())
    exact -= idle * mpmath.lu_solve(idle.T * idle, idle.T * exact)
    expected = np.array([float(x) for x in exact])
    np.testing.assert_allclose(found * F.std(1), expected * F.std(1), rtol=0, atol=1e-11)
    np.testing.assert_allclose(E.probabilities(found), E.probabilities(theta), rtol=1e-11)


def test_more_features_than_outcomes(rng):
    F, p = rng.normal(size=(20, 5)), rng.dirichlet(np.ones(5))
    E = ExponentialFamily(F)
    assert E.dimension == 4
    theta = E.natural_parameters(F @ p)
    np.testing.assert_allclose(E.probabilities(theta), p, rtol=1e-12)
    assert E.contains(p)
    assert MixtureFamily(F, F @ p).dimension == 0


def test_constant_features_make_a_point(rng):
    E = ExponentialFamily([[2.0, 2.0, 2.0]], [0.0, 1.0, 2.0])
    assert E.dimension == 0
    np.testing.assert_array_equal(E.natural_parameters([2.0]), [0.0])
    np.testing.assert_allclose(E.fisher_information([3.0]), [[0.0]], rtol=0, atol=1e-30)
    np.testing.assert_array_equal(E.expectation_fisher_information([2.0]), [[0.0]])
    assert E.contains(E.probabilities([7.0]))
    assert not E.contains([0.2, 0.3, 0.5])


# ---------------------------------------------------------------- membership


@given(st.integers(0, 10**6), st.floats(0.01, 20.0))
def test_members_are_contained_and_others_are_not(seed, size):
    rng, F, C = draw(seed)
    E = ExponentialFamily(F, C)
    p = E.probabilities(size * rng.normal(size=3))
    assert E.contains(p)
    assert not E.contains(rng.dirichlet(np.ones(8)))


def test_tolerance_of_membership_is_in_nats():
    E = ExponentialFamily([[0.0, 1.0, 2.0]])
    # Off the family by log-probabilities (1, -2, 1) s: what least squares leaves.
    for size in (1e-3, 1e-6):
        p = np.exp(size * np.array([1.0, -2.0, 1.0]))
        p /= p.sum()
        assert E.contains(p, tol=2.001 * size)
        assert not E.contains(p, tol=1.999 * size)
        assert not E.contains(p)
    assert E.contains(p / p.sum() * (1.0 + 1e-7), tol=2.001e-6)


def test_membership_on_faces():
    C = [0.0, 0.0, 0.0, -INF]
    E = ExponentialFamily([[0.0, 1.0, 2.0, 9.0]], C)
    member = E.probabilities([1.3])
    assert member[3] == 0.0
    assert E.contains(member)
    # A limit of members, another face, and disjoint support.
    others = [[0.0, 0.0, 1.0, 0.0], [0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 0.0, 1.0]]
    np.testing.assert_array_equal(E.contains(others), [False, False, False])


# ---------------------------------------------------------------- geodesics


def test_e_geodesic_is_that_of_the_simplex():
    rng, F, C = draw(2)
    E, theta_1, theta_2 = ExponentialFamily(F, C), *rng.normal(size=(2, 3))
    t = np.linspace(0.0, 1.0, 5)
    points = E.probabilities(E.e_geodesic(theta_1, theta_2, t))
    expected = simplex.e_geodesic(E.probabilities(theta_1), E.probabilities(theta_2), t)
    np.testing.assert_allclose(points, expected, rtol=1e-13)


def test_m_geodesic_of_the_whole_simplex_is_that_of_the_simplex(rng):
    E = ExponentialFamily(np.eye(4)[:3])
    theta_1, theta_2 = rng.normal(size=(2, 3))
    t = np.linspace(0.0, 1.0, 5)
    points = E.probabilities(E.m_geodesic(theta_1, theta_2, t))
    expected = simplex.m_geodesic(E.probabilities(theta_1), E.probabilities(theta_2), t)
    np.testing.assert_allclose(points, expected, rtol=1e-13)


def test_m_geodesic_stays_inside_and_projects_the_mixtures():
    rng, F, C = draw(3)
    E, theta_1, theta_2 = ExponentialFamily(F, C), *rng.normal(size=(2, 3))
    np.testing.assert_allclose(
        E.m_geodesic(theta_1, theta_2, [0.0, 1.0]), [theta_1, theta_2], atol=1e-12
    )
    mixture = simplex.m_geodesic(E.probabilities(theta_1), E.probabilities(theta_2), 0.3)
    assert not E.contains(mixture)
    np.testing.assert_allclose(
        E.m_geodesic(theta_1, theta_2, 0.3), m_projection(mixture, E).theta, rtol=1e-11
    )


def test_the_axes_of_t_come_first():
    rng, F, C = draw(4)
    E, theta = ExponentialFamily(F, C), rng.normal(size=(2, 5, 3))
    for geodesic in (E.e_geodesic, E.m_geodesic):
        points = geodesic(theta[0], theta[1], [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
        assert points.shape == (2, 3, 5, 3)
        np.testing.assert_allclose(
            points[1, 2, 4], geodesic(theta[0, 4], theta[1, 4], 0.6), rtol=1e-12, atol=1e-14
        )


# ---------------------------------------------------------------- mixture families


@given(
    st.integers(2, 6).flatmap(
        lambda c: st.lists(
            st.lists(st.integers(-3, 3), min_size=c, max_size=c), min_size=1, max_size=7
        )
    )
)
def test_dimension_of_a_mixture_family_is_exact(rows):
    M = MixtureFamily(rows, np.mean(rows, axis=1))
    assert not M.is_empty
    assert M.dimension == len(rows[0]) - 1 - exact_dimension(rows)
    assert M.contains(M.center.probabilities)


def test_dimension_on_a_face():
    F = np.array([[0.0, 0.0, 0.0, 1.0, 2.0], [0.0, 1.0, 2.0, 5.0, 7.0]])
    M = MixtureFamily(F, [0.0, 0.7])
    # Rank 2 on five outcomes would leave 2; of three outcomes one condition leaves 1.
    assert M.dimension == 1
    assert M.is_empty is False
    np.testing.assert_allclose(M.center.probabilities @ F[1], 0.7)


@pytest.mark.parametrize(
    ("rows", "targets"),
    [
        (FACES, [6.5]),
        ([[1, 2, 3, 4], [1, 4, 9, 16]], [2.5, 6.0]),
        ([[0, 1, 2], [0, 2, 4]], [1.0, 2.5]),
        ([[1, 1, 1]], [2.0]),
    ],
    ids=["range", "variance below 0", "inconsistent", "constant"],
)
def test_empty_families_are_proved_so(rows, targets):
    M = MixtureFamily(rows, targets)
    assert M.is_empty is True
    assert M.dimension == -1
    assert M.center.status is Status.INFEASIBLE
    assert is_farkas(rows, targets, M.center.certificate)
    with pytest.raises(SolveError, match="No distribution satisfies"):
        e_projection(np.full(len(rows[0]), 1.0 / len(rows[0])), M)


def test_what_is_not_known_is_not_said(monkeypatch):
    found = maxent.max_entropy(FACES, 3.5)
    undecided = replace(found, status=Status.UNDECIDED, error_bound=np.float64(INF))
    monkeypatch.setattr(maxent, "c_maximize", lambda *args, **options: undecided)
    M = MixtureFamily(FACES, 3.6)
    for name in ("is_empty", "dimension"):
        with pytest.raises(SolveError, match="Whether the family is empty is not known") as caught:
            getattr(M, name)
        assert caught.value.result is M.center
        assert caught.value.failed is None


def test_a_batch_of_mixture_families():
    M = MixtureFamily(FACES, [[3.5], [9.0], [5.0]])
    np.testing.assert_array_equal(M.is_empty, [False, True, False])
    np.testing.assert_array_equal(M.dimension, [4, -1, 4])
    np.testing.assert_array_equal(M.contains(np.full(6, 1 / 6)), [True, False, False])
    np.testing.assert_allclose(M.residual(np.full(6, 1 / 6)), [[0.0], [-5.5], [-1.5]], atol=1e-15)


def test_residual_keeps_its_digits_beside_an_offset():
    # E_p[F] - b from two numbers of 1e8 would have an error of 1e-8.
    p = np.array([0.25, 0.5, 0.25])
    M = MixtureFamily([[2.0**27, 2.0**27 + 1, 2.0**27 + 3]], [2.0**27 + 1])
    np.testing.assert_array_equal(M.residual(p), [0.25])


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_tolerance_of_membership_has_no_unit(unit):
    M = MixtureFamily(unit * (FACES + 1000.0), unit * 1003.5)
    off = np.array([0.0, 0.0, 0.5 - 1e-4, 0.5 + 1e-4, 0.0, 0.0])
    assert not M.contains(off)
    assert M.contains(off, tol=5e-5)  # 1e-4 off, and the largest deviation is 2.5
    assert not M.contains(off, tol=3e-5)


# ---------------------------------------------------------------- through points


@pytest.mark.parametrize("num_points", [1, 2, 3, 6, 9])
def test_mixture_family_through_points(rng, num_points):
    points = rng.dirichlet(np.ones(6), num_points)
    M = MixtureFamily.through(points)
    rank = min(num_points, 6) - 1
    assert M.dimension == rank
    assert M.num_features == max(1, 5 - rank)
    assert M.contains(points, tol=1e-14).all()
    weights = rng.dirichlet(np.ones(num_points))
    weights += 0.1 * (weights - 1.0 / num_points)  # beyond the convex hull, too
    assert M.contains(weights @ points, tol=1e-14)
    if rank < 5:
        np.testing.assert_allclose(M.features @ M.features.T, np.eye(5 - rank), atol=1e-14)
        np.testing.assert_allclose(M.features.sum(axis=1), 0.0, atol=1e-14)
        assert not M.contains(rng.dirichlet(np.ones(6)))


def test_points_in_one_line_span_a_line(rng):
    p, q = rng.dirichlet(np.ones(7), 2)
    points = simplex.m_geodesic(p, q, np.linspace(0.0, 1.0, 9))
    assert MixtureFamily.through(points).dimension == 1
    near = np.stack([p, p + 1e-9 * (q - p), q])
    assert MixtureFamily.through(near).dimension == 1
    assert MixtureFamily.through(np.stack([p, p, p])).dimension == 0
    assert MixtureFamily.through(np.stack([p, p + 1e-9 * (q - p)])).num_features == 5
    coarse = MixtureFamily.through(points.astype(np.float32))
    assert coarse.dimension == 1
    assert coarse.features.dtype == np.float32


def test_through_points_of_a_face(rng):
    points = np.insert(rng.dirichlet(np.ones(4), 2), [1, 3], 0.0, axis=1)
    support = points[0] > 0.0
    M = MixtureFamily.through(points)
    # Outcomes that no point has are excluded by rows of their own, exactly.
    np.testing.assert_array_equal(M.features[:2], np.eye(6)[~support])
    np.testing.assert_array_equal(M.targets[:2], [0.0, 0.0])
    np.testing.assert_allclose(M.features @ M.features.T, np.eye(4), atol=1e-14)
    assert M.dimension == 1
    assert M.contains(points, tol=1e-14).all()
    vertex = MixtureFamily.through([[0.0, 1.0, 0.0]])
    np.testing.assert_array_equal(vertex.features, [[1, 0, 0], [0, 0, 1]])
    assert vertex.contains([0.0, 1.0, 0.0])


@pytest.mark.parametrize("num_points", [1, 2, 3, 8])
def test_exponential_family_through_points(rng, num_points):
    points = np.insert(rng.dirichlet(np.ones(6), num_points), 2, 0.0, axis=1)
    E = ExponentialFamily.through(points)
    rank = min(num_points, 6) - 1
    assert E.dimension == rank
    assert E.contains(points, tol=1e-13).all()
    weights = rng.dirichlet(np.ones(num_points))
    assert E.contains(simplex.e_mean(points, weights=weights), tol=1e-13)
    np.testing.assert_allclose(E.probabilities(np.zeros(E.num_features)), simplex.e_mean(points))
    if rank:
        np.testing.assert_allclose(E.features @ E.features.T, np.eye(rank), atol=1e-14)
    if rank < 5:
        assert not E.contains(np.insert(rng.dirichlet(np.ones(6)), 2, 0.0))


def test_points_of_an_e_geodesic_span_a_line(rng):
    p, q = rng.dirichlet(np.ones(7), 2)
    points = simplex.e_geodesic(p, q, np.linspace(0.0, 1.0, 9))
    E = ExponentialFamily.through(points)
    assert E.dimension == 1
    assert MixtureFamily.through(points).dimension > 1


# ---------------------------------------------------------------- projections


@pytest.mark.parametrize("seed", range(10))
def test_pythagorean_relations(seed):
    rng, F, C = draw(seed, num_features=3, num_outcomes=12)
    E = ExponentialFamily(F, C)
    p, q = rng.dirichlet(np.ones(12), 2)
    r = E.probabilities(rng.normal(size=3))
    star = m_projection(p, E).probabilities
    kl = simplex.kl_divergence
    np.testing.assert_allclose(kl(p, star) + kl(star, r), kl(p, r), rtol=1e-13)
    M = MixtureFamily(F, F @ p)
    star = e_projection(q, M).probabilities
    assert M.contains(star, tol=1e-14)
    np.testing.assert_allclose(kl(p, star) + kl(star, q), kl(p, q), rtol=1e-13)


def test_m_projection_onto_independence_is_the_product_of_the_margins(rng):
    table = rng.dirichlet(np.ones(12)).reshape(3, 4)
    rows = [np.repeat(row, 4) for row in np.eye(3)] + [np.tile(row, 3) for row in np.eye(4)]
    found = m_projection(table.ravel(), ExponentialFamily(rows))
    expected = np.outer(table.sum(1), table.sum(0)).ravel()
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-13)
    mutual = (table.ravel() * np.log(table.ravel() / expected)).sum()
    np.testing.assert_allclose(
        simplex.kl_divergence(table.ravel(), found.probabilities), mutual, rtol=1e-13
    )


def test_e_projection_onto_group_totals_rescales_the_groups():
    q = np.array([0.1, 0.2, 0.3, 0.15, 0.25])
    M = MixtureFamily([[1, 1, 0, 0, 0], [0, 0, 1, 1, 0]], [0.5, 0.1])
    found = e_projection(q, M)
    totals = np.array([0.3, 0.3, 0.45, 0.45, 0.25])
    np.testing.assert_allclose(
        found.probabilities, q / totals * [0.5, 0.5, 0.1, 0.1, 0.4], rtol=1e-13
    )
    np.testing.assert_allclose(
        -found.value, simplex.kl_divergence(found.probabilities, q), rtol=1e-13
    )


def test_zeros_of_q_stay_zero():
    q = np.array([0.5, 0.0, 0.3, 0.2])
    M = MixtureFamily([[0.0, 1.0, 2.0, 3.0]], 1.5)
    found = e_projection(q, M)
    assert found.status is Status.CONVERGED
    np.testing.assert_array_equal(found.support, q > 0.0)
    assert found.probabilities[1] == 0.0
    assert M.contains(found.probabilities, tol=1e-14)
    with pytest.raises(SolveError, match="every outcome that log_base allows"):
        e_projection([0.5, 0.5, 0.0, 0.0], M)


def test_zeros_of_p_matter_only_through_its_expectations():
    E = ExponentialFamily([[0.0, 1.0, 2.0]])
    # Two coins with p(heads) = 1/4 each: the member 9/16, 6/16, 1/16 over log-base log(1, 2, 1).
    binomial = ExponentialFamily([[0.0, 1.0, 2.0]], np.log([1.0, 2.0, 1.0]))
    found = m_projection([0.75, 0.0, 0.25], binomial)
    np.testing.assert_allclose(found.probabilities, [9 / 16, 6 / 16, 1 / 16], rtol=1e-13)
    found = m_projection([0.5, 0.0, 0.5], E)
    np.testing.assert_allclose(found.probabilities, [1 / 3, 1 / 3, 1 / 3], rtol=1e-14)


def test_p_where_the_members_are_not_is_refused():
    E = ExponentialFamily([[0.0, 1.0, 2.0]], [0.0, 0.0, -INF])
    with pytest.raises(ValueError, match=r"p must be 0 where the members of E are.*infinite"):
        m_projection([0.5, 0.25, 0.25], E)


def test_projections_are_the_nearest_points():
    rng, F, C = draw(7, num_features=2, num_outcomes=5)
    E, p = ExponentialFamily(F, C), rng.dirichlet(np.ones(5))
    star = m_projection(p, E)
    near = E.probabilities(star.theta + 0.01 * rng.normal(size=(50, 2)))
    assert (simplex.kl_divergence(p, near) > simplex.kl_divergence(p, star.probabilities)).all()
    M, q = MixtureFamily(F, F @ p), rng.dirichlet(np.ones(5))
    star = e_projection(q, M).probabilities
    null = np.linalg.svd(np.vstack([F, np.ones(5)]))[2][3:]
    near = star + 0.1 * star.min() * rng.normal(size=(50, 2)) @ null
    assert M.contains(near).all()
    assert (simplex.kl_divergence(near, q) > simplex.kl_divergence(star, q)).all()


def test_sums_off_by_rounding_are_those_of_the_normalised_vectors():
    _, F, C = draw(8)
    p = np.full(8, 0.125)
    E, M = ExponentialFamily(F, C), MixtureFamily(F, F.mean(1) + 0.01)
    assert m_projection(p * (1 + 2.0**-22), E).theta == pytest.approx(m_projection(p, E).theta)
    np.testing.assert_allclose(
        e_projection(p * (1 + 2.0**-22), M).value, e_projection(p, M).value, rtol=1e-12
    )
    np.testing.assert_allclose(M.residual(p * (1 + 2.0**-22)), M.residual(p), rtol=1e-13)


# ---------------------------------------------------------------- intersection and foliations


@pytest.mark.parametrize("seed", range(5))
def test_the_foliations_are_coordinates_of_the_interior(seed):
    # Through any point go one E_C and one M_b, and they meet in nothing else.
    rng, F, _ = draw(seed)
    p = rng.dirichlet(np.ones(8))
    found = intersection(
        ExponentialFamily(F, np.log(p) + 3.0 * F[1] - 1.0), MixtureFamily(F, F @ p)
    )
    np.testing.assert_allclose(found.probabilities, p, rtol=1e-13)
    np.testing.assert_allclose(found.theta, [0.0, -3.0, 0.0], atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_intersection_in_other_features_of_the_same_span(seed):
    rng, F, C = draw(seed)
    C[4] = -INF
    E, theta = ExponentialFamily(F, C), rng.normal(size=3)
    p = E.probabilities(theta)
    mixing = rng.normal(size=(4, 3))
    other = mixing @ F + rng.normal(size=(4, 1))
    other[:, 4] = rng.normal(size=4)  # where no member is, the features do not matter
    found = intersection(E, MixtureFamily(other, other @ p))
    np.testing.assert_allclose(found.probabilities, p, rtol=1e-11)
    np.testing.assert_allclose(found.theta, theta, atol=1e-11)
    np.testing.assert_allclose(found.log_partition, E.log_partition(theta), atol=1e-11)
    back = intersection(ExponentialFamily(other, C), MixtureFamily(F, F @ p))
    np.testing.assert_allclose(back.probabilities, p, rtol=1e-11)
    np.testing.assert_allclose(
        back.theta, minimum_norm(np.delete(other, 4, axis=1), back.theta), atol=1e-11
    )


def test_intersections_of_a_batch(rng):
    F = rng.normal(size=(2, 6))
    C, p = rng.normal(size=(4, 1, 6)), rng.dirichlet(np.ones(6), 3)
    other = np.array([[1.0, 2.0], [0.5, -1.0]]) @ F
    E = ExponentialFamily(F, C)
    same, translated = (intersection(E, MixtureFamily(rows, p @ rows.T)) for rows in (F, other))
    assert same.probabilities.shape == (4, 3, 6)
    for name in ("probabilities", "theta", "log_partition"):
        np.testing.assert_allclose(getattr(translated, name), getattr(same, name), rtol=1e-11)
    np.testing.assert_allclose(same.probabilities, E.probabilities(same.theta), rtol=1e-12)


def test_families_of_different_features_are_refused():
    _, F, C = draw(0)
    E = ExponentialFamily(F, C)
    for rows in (F[:2], np.vstack([F, np.arange(8.0)]), np.vstack([F[:2], np.arange(8.0)])):
        with pytest.raises(ValueError, match="E and M must have features that span the same"):
            intersection(E, MixtureFamily(rows, 0.0))


def test_an_empty_intersection_is_proved():
    E = ExponentialFamily(FACES, [0.0, 0.0, 0.0, -INF, -INF, -INF])
    with pytest.raises(SolveError, match="every outcome that log_base allows"):
        intersection(E, MixtureFamily(FACES, 3.5))


# ---------------------------------------------------------------- libraries, dtypes, batches


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 1e-6)])
def test_closed_forms_live_where_the_input_lives(lib, dtype, tolerance):
    rng, F, C = draw(0)
    theta = rng.normal(size=(2, 5, 3))
    reference = ExponentialFamily(F, C)
    E = ExponentialFamily(lib.array(F, dtype), lib.array(C, dtype))
    one, two = (lib.array(x, dtype) for x in theta)
    for name, arguments in {
        "log_partition": 1, "log_probabilities": 1, "probabilities": 1,
        "expectation_parameters": 1, "fisher_information": 1, "kl_divergence": 2,
    }.items():  # fmt: skip
        found = getattr(E, name)(*(one, two)[:arguments])
        assert lib.owns(found)
        assert lib.dtype_name(found) == dtype
        expected = getattr(reference, name)(*theta[:arguments])
        np.testing.assert_allclose(lib.to_numpy(found), expected, rtol=tolerance, atol=tolerance)
    points = E.e_geodesic(one, two, 0.25)
    assert lib.dtype_name(points) == dtype
    np.testing.assert_allclose(
        lib.to_numpy(points), reference.e_geodesic(*theta, 0.25), atol=tolerance
    )
    members = E.contains(E.probabilities(one))
    assert lib.owns(members)
    np.testing.assert_array_equal(lib.to_numpy(members), np.ones(5))


@pytest.mark.parametrize("library", ["numpy", "torch", "jax", "array_api_strict"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 1e-5)])
def test_solves_live_where_the_input_lives(library, dtype, tolerance):
    pytest.importorskip(library)
    from conftest import Library

    lib = Library(library)
    rng, F, C = draw(0, num_outcomes=5)
    p = rng.dirichlet(np.ones(5))
    reference = ExponentialFamily(F, C), MixtureFamily(F, F @ p)
    E = ExponentialFamily(lib.array(F, dtype), lib.array(C, dtype))
    M = MixtureFamily(lib.array(F, dtype), lib.array(F @ p, dtype))
    for call in (
        lambda E, M: E.natural_parameters(M.targets),
        lambda E, M: E.negative_entropy(M.targets),
        lambda E, M: E.expectation_fisher_information(M.targets),
        lambda E, M: m_projection(lib.array(p, dtype), E).theta,
        lambda E, M: e_projection(lib.array(p[::-1], dtype), M).probabilities,
        lambda E, M: intersection(E, M).theta,
        lambda E, M: M.center.probabilities,
        lambda E, M: MixtureFamily.through(E.probabilities(E.features[:, :3])).targets,
        lambda E, M: M.residual(lib.array(p[::-1], dtype)),
    ):
        found = call(E, M)
        assert lib.owns(found)
        assert lib.dtype_name(found) == dtype
    found = lib.to_numpy(E.natural_parameters(M.targets))
    expected = reference[0].natural_parameters(reference[1].targets)
    np.testing.assert_allclose(found, expected, rtol=0, atol=30 * tolerance)
    assert E.dimension == 3
    assert M.dimension == 1
    assert M.is_empty is False
    batch = ExponentialFamily(lib.array(np.stack([F, F]), dtype))
    assert lib.owns(batch.dimension)
    assert "int" in lib.dtype_name(batch.dimension)


def test_lists_adopt_the_library_of_what_they_meet():
    torch = pytest.importorskip("torch")
    E, M = ExponentialFamily(FACES.tolist()), MixtureFamily(FACES.tolist(), 4.5)
    theta = torch.tensor([0.5])
    assert E.probabilities(theta).dtype == torch.float32
    assert E.probabilities([0.5]).dtype == np.float64
    assert E.probabilities(np.float32([0.5])).dtype == np.float32
    q = torch.full((6,), 1 / 6, dtype=torch.float64)
    assert e_projection(q, M).theta.dtype == torch.float64
    assert m_projection(q, E).theta.dtype == torch.float64
    assert M.residual(q).dtype == torch.float64
    strong = ExponentialFamily(torch.tensor(FACES))
    assert intersection(strong, M).theta.dtype == torch.float64
    with pytest.raises(TypeError, match="must come from the same library"):
        strong.probabilities(np.array([0.5]))


def test_families_in_a_batch_are_their_members():
    rng = np.random.default_rng(5)
    F, C = rng.normal(size=(4, 1, 2, 6)), rng.normal(size=(3, 6))
    E, theta = ExponentialFamily(F, C), rng.normal(size=(4, 3, 2))
    eta = E.expectation_parameters(theta)
    p = E.probabilities(theta)
    assert E.contains(p).shape == (4, 3)
    assert E.contains(p).all()
    np.testing.assert_array_equal(E.dimension, np.full((4, 3), 2))
    M = MixtureFamily(F, eta)
    for i, j in np.ndindex(4, 3):
        single = ExponentialFamily(F[i, 0], C[j])
        for name in ("log_partition", "probabilities", "expectation_parameters"):
            np.testing.assert_allclose(
                getattr(E, name)(theta)[i, j], getattr(single, name)(theta[i, j]), rtol=1e-14
            )
        for name in ("fisher_information",):
            np.testing.assert_allclose(
                getattr(E, name)(theta)[i, j], getattr(single, name)(theta[i, j]), rtol=1e-13
            )
        for name in ("natural_parameters", "negative_entropy", "expectation_fisher_information"):
            np.testing.assert_allclose(
                getattr(E, name)(eta)[i, j], getattr(single, name)(eta[i, j]), rtol=1e-11
            )
        np.testing.assert_allclose(M.residual(p)[i, j], np.zeros(2), atol=1e-15)
    assert M.contains(p).all()
    np.testing.assert_array_equal(M.dimension, np.full((4, 3), 3))


def test_mixed_ranks_in_a_batch():
    F = np.array([[[0.0, 1.0, 2.0], [0.0, 1.0, 4.0]], [[0.0, 1.0, 2.0], [0.0, 2.0, 4.0]]])
    E = ExponentialFamily(F)
    np.testing.assert_array_equal(E.dimension, [2, 1])
    eta = E.expectation_parameters([0.3, 0.1])
    both = E.expectation_fisher_information(eta)
    for i in range(2):
        single = ExponentialFamily(F[i])
        np.testing.assert_allclose(both[i], single.expectation_fisher_information(eta[i]))
        theta = single.natural_parameters(eta[i])
        expected = np.linalg.pinv(single.fisher_information(theta), rcond=1e-10)
        np.testing.assert_allclose(both[i], expected, rtol=1e-11)


# ---------------------------------------------------------------- gradients


def test_gradients_of_the_closed_forms():
    torch = pytest.importorskip("torch")
    rng, F, C = draw(0)
    C[1] = -INF
    E = ExponentialFamily(torch.tensor(F), torch.tensor(C))
    theta = torch.tensor(rng.normal(size=(2, 4, 3)), requires_grad=True)
    for function in (
        E.log_partition,
        E.probabilities,
        E.expectation_parameters,
        E.fisher_information,
    ):
        assert torch.autograd.gradcheck(function, theta[0].detach().requires_grad_())
    ends = [x.detach().requires_grad_() for x in theta]
    assert torch.autograd.gradcheck(E.kl_divergence, ends)
    (gradient,) = torch.autograd.grad(E.log_partition(theta[0]).sum(), theta)
    eta = E.expectation_parameters(theta[0]).detach()
    torch.testing.assert_close(gradient[0], eta, rtol=1e-13, atol=1e-15)


def test_gradients_of_the_solved_maps():
    torch = pytest.importorskip("torch")
    rng, F, C = draw(0, num_features=2, num_outcomes=5)
    E = ExponentialFamily(torch.tensor(F), torch.tensor(C))
    theta = torch.tensor(rng.normal(size=(2, 2)))
    eta = E.expectation_parameters(theta).requires_grad_()
    p = torch.tensor(rng.dirichlet(np.full(5, 2.0), size=2), requires_grad=True)
    inputs = [torch.tensor(x, requires_grad=True) for x in (F, C)] + [eta[0].detach()]
    inputs[2].requires_grad_()

    def fields(found):
        return found.probabilities, found.theta, found.value, found.log_partition, found.entropy

    def normalised(p):
        return p / p.sum(-1, keepdim=True)

    def of_family(F, C, eta):
        family = ExponentialFamily(F, C)
        return family.natural_parameters(eta), family.negative_entropy(eta)

    for function, arguments in (
        (E.natural_parameters, [eta]),
        (E.negative_entropy, [eta]),
        (E.expectation_fisher_information, [eta]),
        (of_family, inputs),
        (lambda p: fields(m_projection(normalised(p), E)), [p]),
        (lambda F, C: fields(m_projection(p.detach()[0], ExponentialFamily(F, C))), inputs[:2]),
        (lambda p, F, b: fields(e_projection(normalised(p), MixtureFamily(F, b))),
         [p, inputs[0], inputs[2]]),
        (lambda F, C, b: fields(intersection(ExponentialFamily(F, C), MixtureFamily(F, b))),
         inputs),
    ):  # fmt: skip
        arguments = [x.detach().requires_grad_() for x in arguments]
        assert torch.autograd.gradcheck(function, arguments)


def test_gradients_reach_features_and_base():
    torch = pytest.importorskip("torch")
    rng, F, C = draw(0, num_features=2, num_outcomes=4)
    theta = torch.tensor(rng.normal(size=(2, 2)))

    def divergence(F, C):
        return ExponentialFamily(F, C).kl_divergence(theta[0], theta[1])

    inputs = [torch.tensor(x, requires_grad=True) for x in (F, C)]
    assert torch.autograd.gradcheck(divergence, inputs)


def test_kl_is_smooth_where_members_coincide():
    torch = pytest.importorskip("torch")
    rng, F, C = draw(0)
    C[1] = -INF
    E = ExponentialFamily(torch.tensor(F), torch.tensor(C))
    theta = torch.tensor(rng.normal(size=3))
    for divergence in (lambda x: E.kl_divergence(theta, x), lambda x: E.kl_divergence(x, theta)):
        gradient = torch.func.grad(divergence)(theta)
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-15)
        hessian = torch.func.hessian(divergence)(theta)
        torch.testing.assert_close(hessian, E.fisher_information(theta), rtol=1e-13, atol=1e-15)


def test_saturated_gradients_are_finite():
    torch = pytest.importorskip("torch")
    E = ExponentialFamily(torch.tensor(FACES))
    theta = torch.tensor([[2000.0], [-2000.0]], dtype=torch.float64, requires_grad=True)
    total = E.kl_divergence(theta[0], theta[1]) + E.fisher_information(theta).sum()
    (gradient,) = torch.autograd.grad(total + E.probabilities(theta).sum(), theta)
    assert torch.isfinite(gradient).all()


def test_closed_forms_are_traced():
    jax = pytest.importorskip("jax")
    rng, F, C = draw(0)
    E = ExponentialFamily(jax.numpy.asarray(F), jax.numpy.asarray(C))
    theta = rng.normal(size=3)
    plain = ExponentialFamily(F, C)
    traced = jax.jit(lambda x: (E.kl_divergence(x, 0.5 * x), E.contains(E.probabilities(x))))
    divergence, member = traced(jax.numpy.asarray(theta))
    np.testing.assert_allclose(divergence, plain.kl_divergence(theta, 0.5 * theta), rtol=1e-13)
    assert bool(member)
    with pytest.raises(TypeError, match=r"ranks are not found inside jax\.jit"):
        jax.jit(lambda F: ExponentialFamily(F).contains([0.5, 0.5]))(jax.numpy.eye(2))


# ---------------------------------------------------------------- arguments


def exponential(**arguments):
    return ExponentialFamily(**{"features": FACES} | arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exponential(features=FACES[0]), r"features must have shape .*\(6,\).*None, :"),
        (lambda: exponential(features=3.0), r"features must have shape .* got shape \(\)"),
        (lambda: exponential(features=np.ones((0, 6))), r"features must .* which is empty"),
        (lambda: exponential(features=np.ones((3, 0))), r"features must .* which is empty"),
        (lambda: exponential(features=[[1.0, NAN]]), "features must be finite"),
        (lambda: exponential(log_base=[0.0, 0.0]), r"log_base must have one entry .* are 6"),
        (lambda: exponential(log_base=0.0), r"log_base must have its outcomes along the last"),
        (lambda: exponential(log_base=[-INF] * 6), "log_base must .* all its classes are masked"),
        (lambda: exponential(log_base=[INF] + [0.0] * 5), r"log_base must .* \+inf"),
        (lambda: exponential().probabilities(0.5), r"theta must have one entry for each feature"),
        (lambda: exponential().probabilities([0.5, 0.5]), r"theta must .* are 1, .* \(2,\)"),
        (lambda: exponential().probabilities([NAN]), "theta must be finite"),
        (lambda: exponential().natural_parameters([INF]), "eta must be finite"),
        (lambda: exponential().contains([0.5, 0.5]), "p must have one entry for each outcome"),
        (lambda: exponential().contains([1.0] * 6), "p must hold probabilities"),
        (lambda: exponential().contains([0.5] * 2 + [0.0] * 4, tol=-1.0), "tol must not be neg"),
        (lambda: exponential().e_geodesic([0.0], [1.0], 1.5), r"t must lie in \[0, 1\]"),
        (lambda: exponential(features=np.ones((2, 1, 6))).probabilities(np.ones((3, 1))),
         r"leading axes must broadcast: they are features \(2,\), log_base \(\), theta \(3,\)"),
        (lambda: MixtureFamily(FACES, [1.0, 2.0]), "targets must have one entry for each feature"),
        (lambda: MixtureFamily(FACES, NAN), "targets must be finite"),
        (lambda: MixtureFamily(np.ones((2, 1, 6)), np.ones((3, 1))), "leading axes must broadcast"),
        (lambda: MixtureFamily(FACES, 3.5).residual([0.5, 0.6, 0, 0, 0, 0]), "p must hold prob"),
        (lambda: MixtureFamily(FACES, 3.5).contains([0.5, 0.5]), "p must have one entry for each"),
        (lambda: MixtureFamily.through([0.5, 0.5]), r"points must have shape \(k, c\)"),
        (lambda: MixtureFamily.through(np.ones((0, 3))), r"points must have shape \(k, c\)"),
        (lambda: MixtureFamily.through([[0.5, 0.6]]), "points must hold probabilities"),
        (lambda: ExponentialFamily.through([[0.5, 0.5], [1.0, 0.0]]), "the same support"),
        (lambda: intersection(exponential(), MixtureFamily([[1.0, 2.0]], 1.5)),
         "features of M must have one entry for each outcome"),
    ],
)  # fmt: skip
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ExponentialFamily("features"), "features must "),
        (lambda: exponential().probabilities("theta"), "theta must "),
        (lambda: m_projection([0.5, 0.5], FACES), "E must be an ExponentialFamily: got ndarray"),
        (lambda: e_projection([0.5, 0.5], exponential()), "M must be a MixtureFamily: got Expon"),
        (lambda: intersection(exponential(), exponential()), "M must be a MixtureFamily"),
    ],
)
def test_arguments_of_the_wrong_kind(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_unchecked_families_do_not_look_at_values():
    E = ExponentialFamily(FACES, check=False)
    assert np.isnan(E.log_partition([NAN]))
    assert E.contains(np.full(6, 0.3))  # twice the uniform distribution, as far as it goes


def test_families_are_frozen_and_know_their_sizes():
    for made in (ExponentialFamily(FACES), MixtureFamily(FACES, 3.5)):
        assert (made.num_features, made.num_outcomes) == (1, 6)
        with pytest.raises(AttributeError):
            made.features = None


# ---------------------------------------------------------------- faces, against linear programming


def draw_on_a_face(rng):
    """Draw integer features and a distribution on a face, of weights that are exact in binary."""
    num_features, num_outcomes = rng.integers(1, 5), rng.integers(3, 9)
    F = rng.integers(-2, 3, size=(num_features, num_outcomes)).astype(float)
    height = rng.integers(-1, 2, size=num_features) @ F
    (face,) = np.nonzero(height == height.max())
    total = rng.choice([1, 2, 4, 8])
    return F, np.bincount(rng.choice(face, total), minlength=num_outcomes) / total


def largest_support(F, b):
    """Return where any p with E_p[F] = b can be positive, one linear program an outcome."""
    conditions = np.vstack([F, np.ones(F.shape[1])])
    largest = [
        -scipy.optimize.linprog(-unit, A_eq=conditions, b_eq=[*b, 1.0]).fun
        for unit in np.eye(F.shape[1])
    ]
    return np.array(largest) > 1e-7


@pytest.mark.parametrize("seed", range(4))
def test_campaign_on_faces(seed):
    rng = np.random.default_rng(seed)
    for _ in range(25):
        F, p = draw_on_a_face(rng)
        support, M = largest_support(F, F @ p), MixtureFamily(F, F @ p)
        assert M.is_empty is False
        assert M.dimension == support.sum() - 1 - exact_dimension(F[:, support])
        np.testing.assert_array_equal(M.center.support, support)
        C, q = rng.normal(size=F.shape[1]), rng.dirichlet(np.ones(F.shape[1]))
        E, kl = ExponentialFamily(F, C), simplex.kl_divergence
        star = e_projection(q, M).probabilities
        np.testing.assert_allclose(kl(p, star) + kl(star, q), kl(p, q), rtol=1e-12, atol=1e-13)
        member = E.probabilities(rng.normal(size=F.shape[0]))
        limit = m_projection(p, E)
        np.testing.assert_allclose(
            kl(p, limit.probabilities) + kl(limit.probabilities, member),
            kl(p, member),
            rtol=1e-12,
            atol=1e-13,
        )
        meeting = intersection(E, M).probabilities
        np.testing.assert_allclose(meeting, limit.probabilities, rtol=0, atol=1e-12)
        inside = meeting > 0.0
        phi = (meeting[inside] * (np.log(meeting[inside]) - C[inside])).sum()
        np.testing.assert_allclose(E.negative_entropy(F @ p), phi, rtol=1e-12, atol=1e-12)
        if support.all():
            np.testing.assert_allclose(E.probabilities(limit.theta), meeting, rtol=1e-10)
        else:
            assert limit.status is Status.BOUNDARY
            with pytest.raises(SolveError, match="lies on the boundary"):
                E.natural_parameters(F @ p)


def test_through_points_of_faces(rng):
    for _ in range(50):
        num_outcomes, num_points = rng.integers(3, 9), rng.integers(1, 5)
        size = rng.integers(2, num_outcomes + 1)
        points = np.zeros((num_points, num_outcomes))
        face = rng.permutation(num_outcomes)[:size]
        points[:, face] = rng.dirichlet(np.ones(size), num_points)
        M = MixtureFamily.through(points)
        assert M.dimension == min(num_points, size) - 1
        assert M.contains(points, tol=1e-13).all()


# ---------------------------------------------------------------- the em algorithm

COINS = np.array([[0.2, 0.8], [0.7, 0.3]])


def coins_and(heads):
    """Return the pairs (coin, side) with these coins, and those with this share of heads."""
    pairs = ExponentialFamily([[1, 1, 0, 0]], np.log(COINS.ravel()))
    return pairs, MixtureFamily([[1, 0, 1, 0]], heads)


@pytest.mark.parametrize("heads", [0.25, 0.5, 0.69])
def test_em_finds_the_weights_of_two_coins(heads):
    found = em(*coins_and(heads), [1.0], tol=1e-15)
    assert found.status is Status.CONVERGED
    assert found.q[:2].sum() == pytest.approx((0.7 - heads) / 0.5, abs=1e-6)
    assert found.divergences[-1] == pytest.approx(0.0, abs=1e-14)


def test_em_at_the_edge_of_the_weights():
    found = em(*coins_and(0.8), [1.0], tol=1e-12)
    least = 0.8 * math.log(0.8 / 0.7) + 0.2 * math.log(0.2 / 0.3)
    assert found.divergences[-1] == pytest.approx(least, abs=1e-11)
    assert found.q[:2].sum() < 1e-9


def test_em_takes_the_steps_of_textbooks(rng):
    components, frequencies = rng.dirichlet(np.ones(5), 3), rng.dirichlet(np.ones(5))
    E = ExponentialFamily(np.kron(np.eye(3), np.ones(5)), np.log(components).ravel())
    M = MixtureFamily(np.tile(np.eye(5), 3), frequencies)
    weights = np.full(3, 1 / 3)
    for num_steps in (1, 2, 3, 4):
        joint = weights[:, None] * components
        weights = (joint / joint.sum(0)) @ frequencies
        found = em(E, M, np.zeros(3), max_steps=num_steps, throw=False)
        assert (found.steps, found.status) == (num_steps, Status.MAX_STEPS)
        np.testing.assert_allclose(found.q.reshape(3, 5).sum(1), weights, rtol=1e-12)
        # p has the frequencies seen, and the components in the shares of the E-step.
        joint = weights[:, None] * components
        shares = (joint / joint.sum(0) * frequencies).ravel()
        np.testing.assert_allclose(found.p, shares, rtol=1e-11)
        np.testing.assert_allclose(E.probabilities(found.theta), found.q, rtol=1e-12)
        kl = np.sum(frequencies * np.log(frequencies / (weights @ components)))
        assert found.divergences[-1] == pytest.approx(kl, rel=1e-11)
    assert (np.diff(found.divergences) < 0.0).all()


def test_em_of_families_that_meet_ends_where_they_meet(rng):
    F, p = rng.normal(size=(2, 6)), rng.dirichlet(np.ones(6))
    E, M = ExponentialFamily(F), MixtureFamily(F, F @ p)
    found = em(E, M, [0.3, -0.2])
    np.testing.assert_allclose(found.q, intersection(E, M).probabilities, rtol=1e-9)
    np.testing.assert_allclose(found.p, found.q, rtol=1e-9)


def test_em_in_the_dtype_of_its_families():
    torch = pytest.importorskip("torch")
    E = ExponentialFamily(
        torch.tensor([[1.0, 1.0, 0.0, 0.0]]), torch.tensor(COINS.ravel()).float().log()
    )
    M = MixtureFamily(torch.tensor([[1.0, 0.0, 1.0, 0.0]]), 0.5)
    found = em(E, M, torch.zeros(1))
    for x in (found.theta, found.q, found.p, found.divergences):
        assert x.dtype == torch.float32
    assert float(found.q[:2].sum()) == pytest.approx(0.4, abs=1e-4)


def test_em_refuses():
    E, M = coins_and(0.5)
    with pytest.raises(SolveError, match=r"The 2 steps ran out: the last one gained") as caught:
        em(E, M, [1.0], max_steps=2)
    assert caught.value.result.steps == 2
    with pytest.raises(TypeError, match="E must be an ExponentialFamily"):
        em(M, E, [1.0])
    with pytest.raises(ValueError, match="be one family each and one start"):
        em(E, M, [[1.0], [2.0]])
    with pytest.raises(ValueError, match="max_steps must be a positive integer"):
        em(E, M, [1.0], max_steps=0)
    with pytest.raises(SolveError):
        em(E, MixtureFamily([[1, 0, 1, 0]], 2.0), [0.0])
