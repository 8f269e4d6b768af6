"""Moments of cells against sums over all outcomes."""

import numpy as np
import pytest
from scipy import stats

from infogeo.inference._cells import BinomialCells, Cells, poisson_cells


def moments(x, weights, g):
    """Return the moments of Cells, in its order, by sums."""
    mean = (weights * x).sum()
    d = x - mean
    central = [(weights * d**k).sum() for k in (2, 3)]
    three = [(weights * g(x) * d**k).sum() for k in (0, 1, 2)]
    spread = (weights * (g(x) - three[0]) ** 2).sum()
    return [*central, *three, three[0] - g(mean), spread]


def binomial_cells(totals, share):
    """Return the moments of one row of cells."""
    cells = BinomialCells(totals[None]).moments(share[None], np.zeros(1, dtype=int))
    return Cells(**{name: value[0] for name, value in vars(cells).items()})


def check(cells, expected, index):
    names = ("variance", "third", "g", "g_x", "g_xx", "g_excess", "g_variance")
    found = [float(getattr(cells, name)[index]) for name in names]
    sd = np.sqrt(max(expected[0], 1.0))
    units = [sd**2, sd**3, 1.0, sd, sd**2, 1.0, 1.0 + 2.0 * expected[2]]
    for name, a, b, unit in zip(names, found, expected, units, strict=True):
        # 5e-4 of a count: what is measured of a cell is known to about one
        assert abs(a - b) <= (5e-4 if name.startswith("g") else 1e-9) * unit, name


@pytest.mark.parametrize("total", [0, 1, 2, 3, 7, 20, 90, 256, 257, 1000, 20_000])
def test_binomial_cells(total, rng):
    share = np.array([0.0, 1.0, 0.5, 1e-3, 1.0 - 1e-4, *rng.uniform(size=8)])
    cells = binomial_cells(np.full(len(share), float(total)), share)
    x = np.arange(total + 1.0)
    for k, pi in enumerate(share):
        expected = moments(x, stats.binom.pmf(x, total, pi), lambda x: np.sqrt(x * (total - x)))
        check(cells, expected, k)


def test_poisson_cells(rng):
    mean = np.array([0.0, 1e-3, 0.3, 2.0, 63.9, 64.1, 1000.0, *rng.uniform(0.0, 100.0, 8)])
    cells = poisson_cells(mean)
    x = np.arange(3000.0)
    for k, rate in enumerate(mean):
        check(cells, moments(x, stats.poisson.pmf(x, rate), np.sqrt), k)


@pytest.mark.parametrize("total", [1e7, 1e10, 1e13])
def test_large_totals_keep_their_digits(total):
    # g = t / 2 - d^2 / t + ... at equal shares, with the variance t / 4 of d
    cells = binomial_cells(np.array([total]), np.array([0.5]))
    assert abs(cells.g_excess[0] + 0.25) < 1e-5
    assert abs(cells.g_variance[0] - 0.125) < 1e-5
    # g = sqrt(x) has the excess -1 / (8 sqrt(mean)) and the variance 1 / 4
    root = poisson_cells(np.array([total]))
    assert abs(root.g_excess[0] * 8.0 * np.sqrt(total) + 1.0) < 1e-5
    assert abs(root.g_variance[0] - 0.25) < 1e-5


@pytest.mark.parametrize("total", [1e6, 1e10, 1e14])
def test_a_few_of_a_large_total_are_a_poisson_variable(total):
    """Its mean of g is sqrt(t) times that of the root, up to mean / t of it."""
    mean = np.array([1e-3, 0.5, 4.0, 30.0])
    cells = binomial_cells(np.full(4, total), mean / total)
    x = np.arange(400.0)
    for k, rate in enumerate(mean):
        weights = stats.poisson.pmf(x, rate)
        root = (weights * np.sqrt(x)).sum()
        error = 1e-9 + 100.0 / total
        np.testing.assert_allclose(cells.g[k], np.sqrt(total) * root, rtol=error)
        np.testing.assert_allclose(cells.g_variance[k], total * (rate - root**2), rtol=1e3 * error)


def test_rows_of_cells_are_those_asked_for(rng):
    totals = rng.integers(0, 600, (4, 3)).astype(float)
    share = rng.uniform(size=(3, 3))
    found = BinomialCells(totals).moments(share, np.array([2, 0, 2]))
    for i, row in enumerate((2, 0, 2)):
        one = binomial_cells(totals[row], share[i])
        for name, value in vars(one).items():
            np.testing.assert_allclose(vars(found)[name][i], value, rtol=1e-12, atol=1e-12)


def test_a_factor_of_g(rng):
    cells = poisson_cells(np.array([0.3, 5.0, 80.0]))
    twice = cells.times(np.array([2.0, 2.0, 2.0]))
    np.testing.assert_allclose(twice.g_xx, 2.0 * cells.g_xx)
    np.testing.assert_allclose(twice.g_variance, 4.0 * cells.g_variance)
    np.testing.assert_array_equal(twice.variance, cells.variance)
