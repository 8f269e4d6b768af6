"""Bounds on the affinity: tables whose means stay on one side of the root, errors of their sums."""

import math

import numpy as np
import pytest

from infogeo.inference._bounds import (
    _ANGLES,
    _poisson_table,
    _tables,
    one_sample_bounds,
    two_sample_bounds,
)


def rows(counts):
    x = np.asarray(counts, dtype=np.float64)
    return x, x.sum(-1, keepdims=True)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("step", [0, 4, _ANGLES - 1])
def test_tables_of_totals_are_on_one_side(step, sign, rng):
    shares = np.concatenate([rng.uniform(0.0, 1.0, 300), rng.uniform(0.0, 0.02, 100), [0.0, 1.0]])
    middle = math.sin((step + 0.5) / _ANGLES * math.pi / 2) ** 2
    for total in (1, 2, 3, 5, 8, 13, 21, 32):
        table = _tables(step, sign)[total, : total + 1]

        def mean(share, total=total, table=table):
            return sum(
                math.comb(total, k) * share**k * (1.0 - share) ** (total - k) * value
                for k, value in enumerate(table)
            )

        root = total * np.sqrt(shares * (1.0 - shares))
        assert (sign * (mean(shares) - root)).min() > -4e-4 * total
        if total > 1 and step == 4:  # equal distributions are where nothing is lost
            gap = abs(mean(middle) - total * math.sqrt(middle * (1.0 - middle)))
            assert gap < 0.02 * total


@pytest.mark.parametrize("sign", [-1, 1])
def test_tables_of_poisson_variables_are_on_one_side(sign, rng):
    rates = np.append(rng.uniform(0.0, 5.0, 200) ** 2, [0.0, 1e-3])
    weights = np.exp(-rates)
    powers = [weights]
    for k in range(1, 60):
        powers.append(powers[-1] * rates / k)
    tables = np.stack([_poisson_table(step, sign) for step in (-1, 0, 3, 10)])
    means = tables @ np.stack(powers)
    assert (sign * (means - np.sqrt(rates))).min() > -2e-3
    assert abs(means - np.sqrt(rates)).mean() < 0.1


@pytest.mark.parametrize(("n", "m"), [(400, 400), (150, 1500)])
def test_bounds_hold_on_average_where_outcomes_are_in_one_distribution_only(n, m, rng):
    """Half of the mass is common; 150 rare outcomes are in each distribution alone."""
    common, rare, none = np.full(5, 0.1), np.full(150, 0.5 / 150), np.zeros(150)
    p, q = np.concatenate([common, rare, none]), np.concatenate([common, none, rare])
    x, y = rng.multinomial(n, p, size=300), rng.multinomial(m, q, size=300)
    (least, most), errors = two_sample_bounds(*rows(x), *rows(y))
    spread = np.stack([least, most]).std(-1)
    assert least.mean() <= 0.5 + 3.0 * spread[0] / math.sqrt(300)
    assert most.mean() >= 0.5 - 3.0 * spread[1] / math.sqrt(300)
    assert 0.0 < (most - least).mean() < 0.3
    ratio = errors[0].mean(-1) / spread  # the jackknife errs to the safe side
    assert (ratio > 0.95).all()
    assert (ratio < 1.6).all()
    known, known_errors = one_sample_bounds(*rows(x), np.broadcast_to(q, x.shape))
    assert known[0].mean() <= 0.5 + 3.0 * known[0].std() / math.sqrt(300)
    assert known[1].mean() >= 0.5 - 3.0 * known[1].std() / math.sqrt(300)
    assert (known_errors[0].mean(-1) > 0.95 * known.std(-1)).all()


def test_bounds_beside_a_huge_sample_are_those_beside_a_known_distribution(rng):
    q = rng.dirichlet(np.ones(6), size=5)
    x, n = rows(rng.multinomial(60, q))
    y = np.round(1e13 * q)
    expected = one_sample_bounds(x, n, y / y.sum(-1, keepdims=True))
    for ours, theirs in zip(two_sample_bounds(x, n, *rows(y)), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_errors_are_those_of_observations_left_out_one_at_a_time():
    (x, n), (y, m) = rows([[6.0, 3.0, 9.0, 1.0]]), rows([[5.0, 8.0, 2.0, 5.0]])
    bounds, errors = two_sample_bounds(x, n, y, m)
    square = 0.0
    for which, count in enumerate((x[0], y[0])):
        without = []
        for k, number in enumerate(count):
            less = [x[0].copy(), y[0].copy()]
            less[which][k] -= 1.0
            a, b = rows([less[0]]), rows([less[1]])
            scale = math.sqrt(float(a[1][0, 0] * b[1][0, 0]) / float(n[0, 0] * m[0, 0]))
            correction = 1.0 - 0.125 * float(1.0 / a[1][0, 0] + 1.0 / b[1][0, 0])
            value = two_sample_bounds(*a, *b)[0][0, 0] * scale / correction
            without += [value] * int(number)
        square += len(without) * np.var(without)
    assert float(errors[0, 0, 0]) == pytest.approx(math.sqrt(square))
    assert (errors[1] <= errors[0]).all()
    assert bounds[0, 0] < bounds[1, 0]


def test_what_is_seen_often_leaves_nothing_open():
    p, q = np.array([[0.3, 0.3, 0.4]]), np.array([[0.2, 0.5, 0.3]])
    affinity = np.sqrt(p * q).sum()
    (least, most), _ = two_sample_bounds(*rows(1e6 * p), *rows(2e6 * q))
    assert least[0] == pytest.approx(affinity, abs=1e-6)
    assert most[0] == pytest.approx(affinity, abs=1e-6)
    (least, most), _ = one_sample_bounds(*rows(1e6 * p), q)
    assert least[0] == pytest.approx(affinity, abs=1e-6)
    assert most[0] == pytest.approx(affinity, abs=1e-6)


def test_fractional_counts_lie_between_whole_ones():
    (x, n), (y, m) = rows([[3.0, 4.0, 5.0]]), rows([[6.0, 3.0, 1.0]])
    values = [two_sample_bounds(x + s, n, y, m)[0][0, 0] for s in (0.0, 0.5, 1.0)]
    assert values[1] == pytest.approx(0.5 * (values[0] + values[2]))
