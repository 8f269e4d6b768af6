"""Every term of a bound has a problem on which it decides."""

import math

import mpmath
import numpy as np
import pytest

from infogeo import Status
from infogeo.maxent import c_maximize
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
        _, x, bound = bound_of(decrement, 0.0, 0.0, lever, abs(t - origin) * np.ptp(F))
        if x < 0.5:
            error = np.abs(np.log(best / p)).max()
            assert error <= bound
            closest = max(closest, error / bound)
    assert closest > 0.3  # the bound is within a small factor of what happens


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


def test_logits_that_run_off_prove_nothing():
    # On some processors a covariance of nothing but rounding makes steps of 1e51.
    _, x, _ = bound_of(0.0, 0.0, 2e52, 0.0, 1e51)
    assert x == np.inf
