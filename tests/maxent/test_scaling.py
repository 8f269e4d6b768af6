"""The bound on the logarithms of a matrix with given sums, away from the solution."""

import mpmath
import numpy as np
import pytest

from infogeo.maxent import fit_margins
from infogeo.maxent._dual.scaling import (
    Lines,
    Sums,
    _error_bound,
    _matrix,
    _State,
    _state,
    scale,
)


def bound_at(logs, x, y, share=1.0):
    """Return the bound for the table whose logarithms are off by x_i + y_j.

    The matrix that stands for an inverse is this share of it.
    """
    exact = Lines(logs, np.zeros(logs.shape))
    rows, columns = (Sums(lines.normalised(lines.logs)[1], 0.0) for lines in (exact, exact.turned))
    state = _state(exact, exact.turned, np.zeros(logs.shape[0]), rows, columns)
    inverse = share * np.linalg.inv(_matrix(state))
    state = _State(x, y, state.by_rows, state.by_columns, state.sums, state.excess)
    return _error_bound(exact, exact.turned, state, rows, columns, inverse)


@pytest.mark.parametrize("size", [1e-9, 1e-6, 1e-4])
def test_the_bound_is_above_the_error(rng, size):
    for _ in range(30):
        shape = rng.integers(1, 7, size=2)
        logs = rng.normal(size=shape) * 2.0
        logs -= np.log(np.exp(logs).sum())
        for scales in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0)):
            x, y = (
                scale * size * rng.normal(size=n) for scale, n in zip(scales, shape, strict=True)
            )
            error = np.abs(np.add.outer(x, y)).max()
            assert error < bound_at(logs, x, y) < 300.0 * error + 1e-12


def test_the_bound_counts_both_sides_of_a_weak_link():
    logs = np.array([[0.0, -8.0], [-8.0, 0.0]]) - np.log(2.0 + 2.0 * np.exp(-8.0))
    x, y = np.array([1e-6, -1e-6]), np.array([-1e-6, 1e-6])
    assert 2e-6 < bound_at(logs, x, y) < 4e-6


def test_the_bound_is_above_the_second_order():
    # Along one link that is too strong by exp(d) the sums are off by less than d of its mass.
    logs = np.array([[0.0, -8.0], [-60.0, 0.0]])
    logs -= np.log(np.exp(logs).sum())
    for size in (0.01, 0.02, 0.03):
        x, y = np.array([size, -size]), np.array([-size, size])
        assert 2.0 * size < bound_at(logs, x, y) < 6.0 * size


def test_far_from_the_solution_there_is_no_bound():
    logs = np.array([[0.0, -8.0], [-8.0, 0.0]]) - np.log(2.0 + 2.0 * np.exp(-8.0))
    assert bound_at(logs, np.array([0.5, -0.5]), np.array([-0.5, 0.5])) == np.inf


# ---------------------------------------------------------------- terms that decide


@pytest.mark.parametrize("size", [0.04, 0.07])
def test_the_first_order_alone_is_no_bound(size):
    # One row: its factor is off by s, and that of the column of nearly all mass by -s, so that the
    # entry of small mass alone is off.
    logs = np.array([[-10.7, np.log1p(-np.exp(-10.7))]])
    assert size < bound_at(logs, np.array([size]), np.array([0.0, -size])) < 1.5 * size


def test_an_inverse_that_is_not_close_makes_the_bound_wider():
    logs = np.array([[-0.56, -12.55], [-7.11, -0.85]])
    logs -= np.log(np.exp(logs).sum())
    x, y = np.array([-0.012, 0.0]), np.array([0.012, 0.0])
    close, far = (bound_at(logs, x, y, share) for share in (1.0, 0.6))
    assert all(0.012 < bound < 0.03 for bound in (close, far))


@pytest.mark.parametrize("blur", [1e-9, 1e-3])
def test_what_is_not_known_of_the_table_is_in_the_bound(rng, blur):
    # The factors of a table that is off by so much, for the sums of the right one, should be 1.
    closest = 0.0
    for _ in range(60):
        logs = -8.0 * rng.random((2, 3)) * rng.choice([0.1, 1.0], size=(2, 3))
        logs -= np.log(np.exp(logs).sum())
        right = Lines(logs, np.zeros(logs.shape))
        near = Lines(logs + blur * rng.choice([-1.0, 1.0], (2, 3)), np.full((2, 3), blur))
        sums = (Sums(lines.normalised(lines.logs)[1], 0.0) for lines in (right, right.turned))
        found = scale(near, *sums, 50)
        error = np.abs(np.add.outer(found.rows, found.columns)).max()
        assert error <= found.error
        closest = max(closest, error / found.error)
    assert closest > 0.2


def test_entries_of_no_mass_have_the_rounding_of_their_logarithms_in_the_bound():
    # Their share of the sums is 0: only the last addition, K + f + g, sees their rounding.
    K, a, b = np.array([[0.0, -1e8 - 0.3], [0.1, 0.2]]), [0.25, 0.75], [0.5, 0.5]
    found = fit_margins(log_table=K, margins={0: a, 1: b})
    with mpmath.workdps(50):
        odds = mpmath.mpf(K[0, 1]) + mpmath.mpf(K[1, 0]) - mpmath.mpf(K[1, 1])
        exact = odds + mpmath.log(0.25) + mpmath.log(0.5) - mpmath.log(0.25)
        error = abs(mpmath.mpf(float(found.log_probabilities[1])) - exact)
    assert 1e-9 < error <= found.error_bound < 1e-6


def test_totals_that_agree_only_to_rounding_widen_the_bound():
    # Of a table of ones log p_ij = log a_i + log b_j - log of the total, which is one of two.
    n, gap = 500, 1e-12
    a, b = np.full(n, 1.0 / n), np.full(n, (1.0 + gap) / n)
    found = fit_margins(np.ones((n, n)), {0: a, 1: b})
    with mpmath.workdps(40):
        logs = [mpmath.log(mpmath.mpf(float(x[0]))) for x in (a, b)]
        exact = [sum(logs) - mpmath.log(n * mpmath.mpf(float(x[0]))) for x in (a, b)]
        errors = [abs(mpmath.mpf(float(found.log_probabilities[0])) - x) for x in exact]
    assert 0.5 * gap < max(errors) <= found.error_bound < 10.0 * gap


def test_the_logarithms_of_tiny_margins_have_their_rounding_in_the_bound():
    worst = 0.0
    for small in 10.0 ** -np.arange(250.0, 300.0, 2.0):
        a, b = [1.0, small], [1.0, 3.0 * small]
        found = fit_margins([[1.0, 1.0], [1.0, 1.0]], {0: a, 1: b})
        with mpmath.workdps(40):
            exact = mpmath.log(mpmath.mpf(small)) + mpmath.log(mpmath.mpf(3.0 * small))
            error = abs(mpmath.mpf(float(found.log_probabilities[3])) - exact)
        assert error <= found.error_bound
        worst = max(worst, float(error))
    assert worst > 1e-13


def test_margins_in_single_precision_have_its_rounding_in_the_bound(rng):
    # Of a table of ones: log p_ij = log a_i + log b_j.
    a, b = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(5))
    found = fit_margins(np.ones((4, 5)), {0: a.astype(np.float32), 1: b.astype(np.float32)})
    errors = np.abs(found.log_probabilities - np.log(np.outer(a, b)).ravel())
    assert 1e-9 < errors.max() <= found.error_bound < 1e-5
