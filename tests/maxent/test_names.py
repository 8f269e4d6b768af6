"""Arguments of maxent and of families that have names: by name or not at all."""

import numpy as np
import pandas as pd
import pytest

from infogeo import family, maxent

ROWS, CLASSES, FEATURES = list("wxyz"), ["cat", "dog", "eel"], ["tail", "fins"]
SHARES = pd.Series([0.5, 0.3, 0.2], index=CLASSES)
BASE = pd.Series([0.1, 0.2, 0.3], index=CLASSES)
TURNED = ["eel", "cat", "dog"]


@pytest.fixture
def p(rng):
    return pd.DataFrame(rng.dirichlet(np.ones(3), 4), index=ROWS, columns=CLASSES)


@pytest.fixture
def features(rng):
    return pd.DataFrame(rng.standard_normal((2, 3)), index=FEATURES, columns=CLASSES)


@pytest.fixture
def weights(rng):
    return pd.Series(rng.uniform(1.0, 2.0, 4), index=ROWS)


def test_frequencies_of_value_counts(p, weights):
    """They are sorted by count: the largest first, whatever its place in the columns."""
    frequencies = pd.Series(["dog"] * 5 + ["eel"] * 3 + ["cat"] * 2).value_counts(normalize=True)
    assert [*frequencies.index] == ["dog", "eel", "cat"]
    found = maxent.match_frequencies(p, frequencies, weights=weights[::-1])
    np.testing.assert_allclose(weights @ found.probabilities / weights.sum(), [0.2, 0.5, 0.3])
    numbers = pd.Series([1] * 5 + [2] * 3 + [0] * 2).value_counts(normalize=True)
    found = maxent.match_frequencies(p.to_numpy(), numbers)
    np.testing.assert_allclose(found.probabilities.mean(axis=0), [0.2, 0.5, 0.3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.rename({"eel": "wolf"}), "lacks 'eel' and has 'wolf' besides"),
        (lambda f: f.drop("eel"), "frequencies lacks 'eel'. Rename"),
        (lambda f: pd.concat([f, f]), "frequencies must have each of its outcomes once"),
    ],
)
def test_frequencies_that_do_not_fit(p, change, message):
    with pytest.raises(ValueError, match=message):
        maxent.match_frequencies(p, change(SHARES))


def test_names_beside_columns_without_names_are_refused(p, features):
    """An array's columns are numbered: nothing says which of them is the cat."""
    calls = (
        lambda: maxent.match_frequencies(p.to_numpy(), SHARES),
        lambda: maxent.c_maximize(features.to_numpy(), 0.0, log_base=BASE),
        lambda: maxent.conditional([[0.0], [1.0], [2.0]], [0, 1, 2], log_base=BASE),
        lambda: maxent.fit_margins(p.to_numpy(), {1: SHARES}),
        lambda: family.ExponentialFamily(features.to_numpy(), BASE),
    )
    for call in calls:
        with pytest.raises(ValueError, match="has no names, so that its"):
            call()


def test_frequencies_of_groups_go_by_the_names_of_groups(p):
    groups = pd.Series(["u", "v", "u", "v"], index=ROWS)
    frequencies = pd.DataFrame([[0.2, 0.5, 0.3], SHARES[TURNED]], ["v", "u"], TURNED)
    found = maxent.match_frequencies(p, frequencies, groups=groups[::-1]).probabilities
    np.testing.assert_allclose(found[[0, 2]].mean(axis=0), SHARES)
    np.testing.assert_allclose(found[[1, 3]].mean(axis=0), [0.5, 0.3, 0.2])
    with pytest.raises(ValueError, match="same names of groups: frequencies lacks 'u' and has 'w'"):
        maxent.match_frequencies(p, frequencies.rename({"u": "w"}), groups=groups)


def test_features_targets_and_base(features):
    targets = features @ SHARES
    expected = maxent.c_maximize(
        features.to_numpy(), targets.to_numpy(), log_base=BASE.to_numpy()
    ).probabilities
    for call in (maxent.c_maximize, maxent.least_violation):
        found = call(features, targets[::-1], log_base=BASE[TURNED])
        np.testing.assert_allclose(found.probabilities, expected, rtol=1e-9)
        with pytest.raises(ValueError, match="targets lacks 'fins' and has 'wings' besides"):
            call(features, targets.rename({"fins": "wings"}))
    found = maxent.c_maximize(features, lower=targets[::-1] - 0.1, upper=targets + 0.1)
    plain = features.to_numpy(), targets.to_numpy()
    box = maxent.c_maximize(plain[0], lower=plain[1] - 0.1, upper=plain[1] + 0.1)
    np.testing.assert_allclose(found.probabilities, box.probabilities, rtol=1e-9)


def test_families_keep_the_names(features, p):
    targets = features @ SHARES
    E = family.ExponentialFamily(features, BASE[TURNED])
    plain = family.ExponentialFamily(features.to_numpy(), BASE.to_numpy())
    theta = pd.Series([0.3, -0.2], index=["fins", "tail"])
    np.testing.assert_array_equal(E.probabilities(theta), plain.probabilities([-0.2, 0.3]))
    np.testing.assert_array_equal(
        E.kl_divergence(theta, theta[::-1]), plain.kl_divergence([-0.2, 0.3], [-0.2, 0.3])
    )
    assert E.contains(pd.Series(E.probabilities(theta), index=CLASSES)[TURNED])
    M = family.MixtureFamily(features.rename({"tail": "t"}), targets.rename({"tail": "t"})[::-1])
    np.testing.assert_allclose(M.residual(SHARES[TURNED]), 0.0, atol=1e-15)
    np.testing.assert_allclose(
        family.e_projection(p[TURNED], M).probabilities @ features.T, [targets] * 4
    )
    # The features of two families need not have the same names: their spans are compared.
    met = family.intersection(E, M).probabilities
    np.testing.assert_allclose(met @ features.T, targets)
    np.testing.assert_allclose(plain.contains(met), True)
    for wrong in (theta.rename({"fins": "wings"}), pd.Series([0.1, 0.2])):
        with pytest.raises(ValueError, match="same names of features"):
            E.probabilities(wrong)


def test_margins_of_a_named_table(rng, weights):
    table = pd.DataFrame(rng.uniform(1.0, 2.0, (4, 3)), index=ROWS, columns=CLASSES)
    rows = weights / weights.sum()
    expected = maxent.fit_margins(table.to_numpy(), {0: rows.to_numpy(), 1: SHARES.to_numpy()})
    found = maxent.fit_margins(table, {0: rows[::-1], 1: SHARES[TURNED]})
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-12)
    both = pd.DataFrame(np.outer(rows, SHARES), index=ROWS, columns=CLASSES)
    found = maxent.fit_margins(table, [((1, 0), both.T[ROWS[::-1]])])
    np.testing.assert_allclose(found.probabilities.reshape(4, 3), both, rtol=1e-9)
    with pytest.raises(ValueError, match="margin of axis 1 lacks 'eel' and has 'wolf' besides"):
        maxent.fit_margins(table, {1: SHARES.rename({"eel": "wolf"})})


def test_samples_of_conditional(rng):
    x = pd.DataFrame(rng.standard_normal((30, 2)), columns=FEATURES)
    labels, weights = pd.Series(rng.integers(0, 3, 30)), pd.Series(rng.uniform(1.0, 2.0, 30))
    base = pd.Series([0.1, 0.2, 0.3])
    plain = [value.to_numpy() for value in (x, labels, base, weights)]
    expected = maxent.conditional(*plain[:2], log_base=plain[2], sample_weight=plain[3])
    found = maxent.conditional(
        x, labels[::-1], log_base=base[::-1], sample_weight=weights[rng.permutation(30)]
    )
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-12)
    soft = pd.DataFrame(np.eye(3)[labels], columns=CLASSES)
    found = maxent.conditional(
        x, soft.iloc[::-1], log_base=BASE[TURNED], sample_weight=weights[::-1]
    )
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-9)
    with pytest.raises(ValueError, match="labels lacks 0 and has 99 besides"):
        maxent.conditional(x, labels.rename({0: 99}))
    with pytest.raises(TypeError, match="they are names"):
        maxent.conditional(x, labels.map({0: "a", 1: "b", 2: "c"}).rename(lambda i: 7 * i))


def test_balance_by_name(weights):
    units = pd.DataFrame({"age": [20.0, 25.0, 60.0, 50.0], "sex": [1, 0, 0, 1]}, index=ROWS)
    plain = units.to_numpy(), weights.to_numpy()
    expected = maxent.balance(plain[0], [45, 0.5], weights=plain[1]).weights
    targets = pd.Series({"sex": 0.5, "age": 45.0})
    for frame in (units, units.astype({"age": "Float64", "sex": "boolean"})):
        found = maxent.balance(frame, targets, weights=weights[::-1])
        np.testing.assert_allclose(found.weights, expected, rtol=1e-9)
    numbered = pd.Series({1: 0.5, 0: 45.0})
    found = maxent.balance(plain[0], numbered, weights=weights)
    np.testing.assert_allclose(found.weights, expected, rtol=1e-9)
    for wrong, message in (
        (weights.rename({"w": "v"}), "weights lacks 'w' and has 'v' besides"),
        (pd.Series(weights.to_numpy()), "same names of rows"),
    ):
        with pytest.raises(ValueError, match=message):
            maxent.balance(units, targets, weights=wrong)
    with pytest.raises(ValueError, match="targets must name each column or level once: sex repeat"):
        maxent.balance(units, pd.Series([0.5, 0.4], index=["sex", "sex"]))
    with pytest.raises(ValueError, match="targets lacks 0, 1 and has 'sex', 'age' besides"):
        maxent.balance(plain[0], targets)
