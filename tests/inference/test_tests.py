"""Tests of equality: exact p-values, against enumeration and scipy."""

import itertools
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from infogeo import mean
from infogeo.inference import goodness_of_fit, homogeneity_test, k_sample_test


def chord(x, y):
    n, m = sum(x), sum(y)
    terms = ((math.sqrt(a / n) - math.sqrt(b / m)) ** 2 for a, b in zip(x, y, strict=True))
    return 4.0 * n * m / (n + m) * sum(terms)


def test_homogeneity_against_all_tables():
    x, y = (5, 1, 2), (1, 4, 3)
    totals = [a + b for a, b in zip(x, y, strict=True)]
    probability = 0.0
    for table in itertools.product(*(range(t + 1) for t in totals)):
        if sum(table) == sum(x):
            rest = [t - a for t, a in zip(totals, table, strict=True)]
            ways = math.prod(math.comb(t, a) for t, a in zip(totals, table, strict=True))
            if chord(table, rest) >= chord(x, y) - 1e-9:
                probability += ways / math.comb(sum(totals), sum(x))
    found = homogeneity_test(x, y, num_draws=40_000)
    assert float(found.statistic) == pytest.approx(chord(x, y))
    error = math.sqrt(probability * (1.0 - probability) / 40_000)
    assert abs(float(found.p_value) - probability) < 5.0 * error


def test_goodness_of_fit_against_all_samples():
    x, p = np.array([4, 1, 1]), np.array([0.2, 0.3, 0.5])

    def statistic(x):
        return 4.0 * 6 * ((np.sqrt(x / 6) - np.sqrt(p)) ** 2).sum()

    probability = sum(
        stats.multinomial.pmf(sample, 6, p)
        for sample in itertools.product(range(7), repeat=3)
        if sum(sample) == 6 and statistic(np.array(sample)) >= statistic(x) - 1e-9
    )
    found = goodness_of_fit(x, p, num_draws=40_000)
    assert float(found.statistic) == pytest.approx(statistic(x))
    error = math.sqrt(probability * (1.0 - probability) / 40_000)
    assert abs(float(found.p_value) - probability) < 5.0 * error


@pytest.mark.parametrize("test", ["homogeneity", "fit"])
def test_size_on_zipf(test, rng):
    """With 50 outcomes of a Zipf law and 200 observations the size is 5 %, from 400 samples."""
    p = 1.0 / np.arange(1.0, 51.0)
    p /= p.sum()
    x, y = rng.multinomial(200, p, size=(2, 400))
    if test == "homogeneity":
        found = homogeneity_test(x, y, num_draws=199)
    else:
        found = goodness_of_fit(x, p, num_draws=199)
    assert abs((found.p_value <= 0.05).mean() - 0.05) < 4.0 * math.sqrt(0.05 * 0.95 / 400)


def test_k_samples(rng):
    counts = np.array([[53, 28, 12, 7], [46, 26, 17, 11], [22, 30, 29, 19]])
    found = k_sample_test(counts, num_draws=999)
    assert found.p_value == pytest.approx(0.001)
    shares = counts / counts.sum(-1, keepdims=True)
    expected = mean.frechet_mean(shares, weights=counts.sum(-1)).point
    np.testing.assert_allclose(found.mean, expected, rtol=1e-12)
    alone = [
        float(homogeneity_test(*counts[[a, b]], num_draws=999).p_value)
        for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    assert found.pairs[0, 1] == pytest.approx(alone[0])  # the largest is left as it is
    assert found.pairs[0, 2] == pytest.approx(3.0 * min(alone), rel=1e-12)
    np.testing.assert_array_equal(found.pairs, found.pairs.T)
    assert "2 of 3 pairs differ" in str(found)


def test_k_samples_of_one_distribution_have_the_size(rng):
    p = np.array([0.5, 0.2, 0.2, 0.05, 0.05])
    values = [
        k_sample_test(rng.multinomial(40, p, size=4), num_draws=99).p_value for _ in range(200)
    ]
    assert abs((np.array(values) <= 0.05).mean() - 0.05) < 4.0 * math.sqrt(0.05 * 0.95 / 200)


def test_k_samples_with_equal_shares_have_the_p_value_1():
    for counts in ([[5], [6]], [[5, 10], [6, 12], [1, 2]], [[7, 7, 7], [70, 70, 70]]):
        assert k_sample_test(counts, num_draws=99).p_value == 1.0


def test_what_says_nothing_has_the_p_value_1():
    assert float(homogeneity_test([5], [3], num_draws=9).p_value) == 1.0
    assert float(homogeneity_test([5, 0], [3, 0], num_draws=9).p_value) == 1.0
    assert float(homogeneity_test([1, 0], [0, 1], num_draws=9).p_value) == 1.0
    assert float(goodness_of_fit([5, 0], [1.0, 0.0], num_draws=9).p_value) == 1.0
    assert float(goodness_of_fit([5, 1], [1.0, 0.0], num_draws=9).p_value) == 0.1  # impossible


def test_counts_are_matched_by_the_names_of_their_outcomes():
    a, b = pd.Series({"x": 20, "y": 30, "z": 5}), pd.Series({"z": 20, "x": 40, "y": 4})
    found = homogeneity_test(a, b, num_draws=99)
    expected = homogeneity_test([20, 30, 5], [40, 4, 20], num_draws=99)
    assert float(found.statistic) == pytest.approx(float(expected.statistic))
    with pytest.raises(ValueError, match="same names of outcomes"):
        homogeneity_test(a, b.rename({"x": "w"}))


@pytest.mark.parametrize("test", [homogeneity_test, goodness_of_fit])
def test_dicts_are_refused_with_the_way_out(test):
    with pytest.raises(
        TypeError, match=r"got a Counter\. infogeo\.interop\.frames\.matched_counts"
    ):
        test(Counter("aab"), [0.5, 0.5])
    with pytest.raises(TypeError, match=r"got a dict\. infogeo\.interop\.frames\.matched_counts"):
        k_sample_test([{"a": 1}, {"b": 3}])


def test_tables_of_results():
    found = homogeneity_test([[5, 3, 2], [9, 0, 1]], [4, 4, 2], num_draws=99)
    assert found.to_frame()["p_value"].tolist() == found.p_value.tolist()
    table = k_sample_test([[53, 28], [46, 26], [22, 30]], num_draws=99)
    assert table.to_frame().loc[(0, 2), "pairs"] == table.pairs[0, 2]


def test_seeds_and_batches():
    x, y = [[5, 3, 2], [9, 0, 1]], [4, 4, 2]
    found = homogeneity_test(x, y, num_draws=99)
    assert found.p_value.shape == (2,)
    assert str(found) == "Test: a batch of shape (2,), 99 draws"
    again = homogeneity_test(x, y, num_draws=99)
    np.testing.assert_array_equal(found.p_value, again.p_value)
    equal = homogeneity_test([5, 5], [5, 5], num_draws=99)
    assert float(equal.p_value) == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: homogeneity_test([1.5, 1], [1, 1]), "counts_a must hold counts.*for weights"),
        (lambda: homogeneity_test([10**9, 1], [1, 1]), "fewer than 1,000,000,000 observations"),
        (lambda: k_sample_test([[10**9, 1], [1, 1]]), "fewer than 1,000,000,000 observations"),
        (lambda: homogeneity_test([1, 1], [1, 1], num_draws=0), "num_draws must be an integer"),
        (lambda: goodness_of_fit([1, 1], [0.5, 0.6]), "p must hold probabilities"),
        (lambda: goodness_of_fit([1, 1], [0.5, 0.5], seed=-1), "seed must be an integer"),
        (lambda: k_sample_test([[10**13, 10**13]] * 3), "fewer than 1,000,000,000 observations"),
        (lambda: goodness_of_fit([1e19, 1], [0.5, 0.5]), r"counts must count at most 1e14"),
        (lambda: k_sample_test([[1, 2]]), "counts must have one row for each of at least two"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
