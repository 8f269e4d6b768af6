"""The bound on the logarithms of a matrix with given sums, away from the solution."""

import numpy as np
import pytest

from infogeo.maxent._dual.scaling import Lines, Sums, _error_bound, _matrix, _State, _state


def bound_at(logs, x, y):
    """Return the bound for the table whose logarithms are off by x_i + y_j."""
    exact = Lines(logs, np.zeros(logs.shape))
    rows, columns = (Sums(lines.normalised(lines.logs)[1], 0.0) for lines in (exact, exact.turned))
    state = _state(exact, exact.turned, np.zeros(logs.shape[0]), rows, columns)
    inverse = np.linalg.inv(_matrix(state))
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
