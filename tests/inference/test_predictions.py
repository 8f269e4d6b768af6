"""The test of two sets of predictions: exact p-values, against enumeration and scipy."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import infogeo
from infogeo import logits, simplex
from infogeo._status import Status
from infogeo.inference import _predictions, prediction_test


def energy(rows, first):
    """Return the energy distance by its definition, one pair at a time."""
    second = [i for i in range(len(rows)) if i not in first]

    def mean(a, b):
        pairs = itertools.product(a, b)
        return np.mean([float(simplex.fisher_rao_distance(rows[i], rows[j])) for i, j in pairs])

    return 2.0 * mean(first, second) - mean(first, first) - mean(second, second)


def test_against_all_divisions(rng):
    rows = rng.dirichlet([2.0, 1.0, 1.0], size=7)
    found = prediction_test(rows[:3], rows[3:], num_draws=20_000)
    observed = energy(rows, (0, 1, 2))
    assert found.statistic == pytest.approx(observed, rel=1e-10)
    divisions = [energy(rows, first) for first in itertools.combinations(range(7), 3)]
    probability = np.mean([x >= observed - 1e-12 for x in divisions])
    error = math.sqrt(probability * (1.0 - probability) / 20_000)
    assert abs(found.p_value - probability) < 5.0 * error
    largest = rows.max(-1)
    gaps = [
        stats.ks_2samp(largest[list(first)], np.delete(largest, first)).statistic
        for first in itertools.combinations(range(7), 3)
    ]
    probability = np.mean([x >= gaps[0] - 1e-12 for x in gaps])
    assert found.confidence_statistic == pytest.approx(gaps[0])
    error = math.sqrt(probability * (1.0 - probability) / 20_000)
    assert abs(found.confidence_p_value - probability) < 5.0 * error


def test_confidences_with_ties(rng):
    p, q = (rng.choice([0.5, 0.75, 1.0], size=(n, 1)) for n in (40, 25))
    found = prediction_test(np.hstack([p, 1.0 - p]), np.hstack([1.0 - q, q]))
    expected = stats.ks_2samp(p[:, 0], q[:, 0]).statistic
    assert found.confidence_statistic == pytest.approx(expected)


def test_blocks_and_libraries_do_not_count(rng):
    p, q = rng.dirichlet(np.ones(4), size=23), rng.dirichlet(np.ones(4), size=18)
    found = prediction_test(p, q, num_draws=99)
    for other in (
        prediction_test(p, q, num_draws=99, block_size=7),
        prediction_test(np.log(p), np.log(q) + 3.0, space=logits, num_draws=99),
        prediction_test(torch.tensor(p), torch.tensor(q), num_draws=99),
        prediction_test(pd.DataFrame(p), pd.DataFrame(q)[[2, 0, 1, 3]], num_draws=99),
    ):
        assert other.statistic == pytest.approx(found.statistic, rel=1e-8)
        assert other.p_value == found.p_value
        assert other.confidence_statistic == pytest.approx(found.confidence_statistic)
    single = prediction_test(*(torch.tensor(x, dtype=torch.float32) for x in (p, q)), num_draws=99)
    assert single.statistic == pytest.approx(found.statistic, rel=1e-3)


def test_equal_sets():
    p = np.array([[0.5, 0.5], [0.9, 0.1], [1.0, 0.0]])
    found = prediction_test(p, p[::-1])
    assert found.statistic == pytest.approx(0.0, abs=1e-12)
    assert (found.p_value, found.confidence_p_value) == (1.0, 1.0)
    one_hot = np.eye(3)[[0, 0, 0, 0]]
    assert prediction_test(one_hot, one_hot).p_value == 1.0


def test_size(rng):
    p_values = []
    for _ in range(200):
        p, q = rng.dirichlet(np.ones(3), size=12), rng.dirichlet(np.ones(3), size=20)
        found = prediction_test(p, q, num_draws=39)
        p_values.append((found.p_value, found.confidence_p_value))
    # Of 200 at .05, more once in 1,000.
    assert (np.mean(np.array(p_values) <= 0.05, axis=0) <= 0.105).all()


def test_groups_of_rows_change_sides_together(rng, monkeypatch):
    """The statistic is that of all rows, and the p-values have their law: also with rows left."""
    p, q = rng.dirichlet(np.ones(3), size=33), rng.dirichlet(np.ones(3), size=23)
    alone = prediction_test(p, q, num_draws=9)
    monkeypatch.setattr(_predictions, "_GROUPS", 20)  # of three rows, and two rows are left
    monkeypatch.setattr(_predictions, "_FEWEST", 3)
    for block_size in (None, 7, 1):
        found = prediction_test(p, q, num_draws=9, block_size=block_size)
        assert found.statistic == pytest.approx(alone.statistic, rel=1e-12)
        assert found.confidence_statistic == pytest.approx(alone.confidence_statistic)
    p_values = []
    for _ in range(200):
        p, q = rng.dirichlet(np.ones(3), size=31), rng.dirichlet(np.ones(3), size=40)
        found = prediction_test(p, q, num_draws=39)
        p_values.append((found.p_value, found.confidence_p_value))
    # Of 200 at .05 and at .5: not more once in 1,000, and not fewer.
    for level, most in ((0.05, 0.105), (0.5, 0.61)):
        assert (np.mean(np.array(p_values) <= level, axis=0) <= most).all()
    assert np.mean(np.array(p_values)[:, 0] <= 0.5) >= 0.39
    moved = rng.dirichlet([1.0, 1.0, 3.0], size=40)
    assert prediction_test(p, moved, num_draws=199).p_value == 0.005


@pytest.mark.parametrize(("n", "m"), [(4, 150), (150, 4), (25, 150)])
def test_a_small_set_beside_a_large_one(n, m, rng, monkeypatch):
    """Rows of the small set change sides, though most of the large set stays where it is."""
    p, q = rng.dirichlet(np.ones(3), size=n), rng.dirichlet(np.ones(3), size=m)
    alone = prediction_test(p, q, num_draws=9)
    monkeypatch.setattr(_predictions, "_GROUPS", 40)
    monkeypatch.setattr(_predictions, "_FEWEST", 8)
    for block_size in (None, 7, 1):
        found = prediction_test(p, q, num_draws=9, block_size=block_size)
        assert found.statistic == pytest.approx(alone.statistic, rel=1e-11)
    p_values = []
    for _ in range(50):
        p, q = rng.dirichlet(np.ones(3), size=n), rng.dirichlet(np.ones(3), size=m)
        p_values.append(prediction_test(p, q, num_draws=39).p_value)
    # Of 50 at .05 and at .5: more, or fewer, once in 1,000.
    assert np.mean(np.array(p_values) <= 0.05) <= 0.16
    assert 0.28 <= np.mean(np.array(p_values) <= 0.5) <= 0.72
    p, q = rng.dirichlet([40.0, 2.0, 1.0], size=n), rng.dirichlet([1.0, 2.0, 40.0], size=m)
    assert prediction_test(p, q, num_draws=199).p_value == 0.005


def test_distances_that_are_no_numbers_have_no_p_value():
    bad = np.array([[0.5, 0.5], [np.nan, 1.0], [0.3, 0.7]])
    found = prediction_test(bad, bad[::2], check=False)
    assert math.isnan(found.p_value)
    assert math.isnan(found.statistic)
    assert found.status is Status.UNDECIDED


def test_what_each_test_sees(rng):
    """Classes that have changed places leave the confidences as they are."""
    p, q = rng.dirichlet([4.0, 2.0, 1.0], size=150), rng.dirichlet([2.0, 4.0, 1.0], size=150)
    found = prediction_test(p, q)
    assert found.p_value <= 0.002
    assert found.confidence_p_value > 0.05
    surer = q[:, [1, 0, 2]] ** 1.6
    found = prediction_test(p, surer / surer.sum(-1, keepdims=True))
    assert found.confidence_p_value <= 0.01


def test_what_is_shown(rng, tmp_path):
    p = rng.dirichlet(np.ones(3), size=20)
    found = prediction_test(p, p[:9])
    assert str(found).startswith("predictions: p = ")
    frame = found.to_frame()
    assert frame.loc["confidences", "p_value"] == found.confidence_p_value
    infogeo.save(found, tmp_path / "test.json")
    assert infogeo.load(tmp_path / "test.json").p_value == found.p_value


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([[0.5, 0.6]] * 2, [[0.5, 0.5]] * 2), {}, "p must hold probabilities"),
        (([0.5, 0.5], [[0.5, 0.5]] * 2), {}, r"p must have shape \(n, c\)"),
        (([[0.5, 0.5]], [[0.5, 0.5]] * 2), {}, "p must have at least 2 rows"),
        (([[0.5, 0.5]] * 2, [[0.2, 0.3, 0.5]] * 2), {}, "same outcomes"),
        (([[0.5, 0.5]] * 2, [[0.5, 0.5]] * 2), {"num_draws": 0}, "num_draws must be an integer"),
        (([[0.5, 0.5]] * 2, [[0.5, 0.5]] * 2), {"seed": 0.5}, "seed must be an integer"),
        (([[0.5, 0.5]] * 2, [[0.5, 0.5]] * 2), {"space": "normal"}, "space must be"),
        (([[0.5, 0.5]] * 2, [[0.5, 0.5]] * 2), {"block_size": 0}, "block_size must"),
    ],
)
def test_bad_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        prediction_test(*arguments, **options)
