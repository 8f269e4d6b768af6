"""Prices of coefficients: of each feature its own, and absolute values, with proofs of zeros."""

import mpmath as mp
import numpy as np
import pytest

from infogeo import Status
from infogeo.maxent import conditional


def drawn(seed, num_samples=30, num_features=4, num_classes=2):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(num_samples, num_features))
    W = rng.normal(size=(num_classes, num_features)) * (rng.random(num_features) < 0.5)
    y = (X @ W.T + rng.gumbel(size=(num_samples, num_classes))).argmax(axis=1)
    y[:num_classes] = np.arange(num_classes)
    return X, y


def solve_with_signs(X, y, weights, ridge, price, found, has_intercept):
    """Minimise over coefficients of these signs, in 40 digits, without asking for more.

    Return log p, whether the signs are right, and for zeros by how much their slopes are above
    their prices, relative to these, (c, d). It is the minimum if and only if none is above.
    """
    n, d, c = *X.shape, int(y.max()) + 1
    sides = [[-0.5, 0.5]] if c == 2 else np.eye(c).tolist()  # of two classes, the difference
    coef = found.coef[1:] - found.coef[:1] if c == 2 else found.coef
    with mp.workdps(40):
        used = [(k, j) for k in range(len(sides)) for j in range(d) if coef[k, j] != 0.0]
        free = range((c - 1) * has_intercept)
        x = mp.matrix([*found.intercept[free], *(coef[pair] for pair in used)])
        x = x if len(x) else mp.zeros(1, 1)
        signs = [mp.sign(coef[pair]) for pair in used]
        # columns[a][i][k]: what parameter a adds to the logit of class k for sample i
        columns = [[[int(i == k) - int(i == c - 1) for i in range(c)]] * n for k in free]
        columns += [[[mp.mpf(X[i, j]) * s for s in sides[k]] for i in range(n)] for k, j in used]
        w = [mp.mpf(v) / mp.fsum(weights.tolist()) for v in weights.tolist()]
        ridges = [0] * len(free) + [ridge[j] * mp.fsum(s * s for s in sides[k]) for k, j in used]
        tilts = [s * mp.mpf(price[j]) for s, (_, j) in zip(signs, used, strict=True)]
        prices = [0] * len(free) + tilts
        for _ in range(60):
            logs = []
            for i in range(n):
                z = [mp.fsum(x[a] * t[i][k] for a, t in enumerate(columns)) for k in range(c)]
                psi = mp.log(mp.fsum(map(mp.exp, z)))
                logs.append([v - psi for v in z])
            off = [[mp.exp(v) - int(k == y[i]) for k, v in enumerate(logs[i])] for i in range(n)]
            size = len(columns)
            if size == 0:
                break
            gradient, hessian = mp.zeros(size, 1), mp.zeros(size, size)
            for a, s in enumerate(columns):
                gradient[a] = mp.fsum(w[i] * mp.fdot(off[i], s[i]) for i in range(n))
                gradient[a] += prices[a] + ridges[a] * x[a]
                for b, t in enumerate(columns):
                    for i in range(n):
                        p = [mp.exp(v) for v in logs[i]]
                        both = mp.fsum(u * v * v2 for u, v, v2 in zip(p, s[i], t[i], strict=True))
                        hessian[a, b] += w[i] * (both - mp.fdot(p, s[i]) * mp.fdot(p, t[i]))
                hessian[a, a] += ridges[a]
            step = mp.lu_solve(hessian, -gradient)
            x += step
            if mp.norm(step) < mp.mpf(10) ** -30:
                break
        else:
            raise RuntimeError("no convergence")
        are_right = all(x[len(free) + a] * s > 0 for a, s in enumerate(signs))
        excess = np.full(coef.shape, -1.0)
        for k, j in np.argwhere(coef == 0.0):
            slope = mp.fsum(w[i] * X[i, j] * mp.fdot(off[i], sides[k]) for i in range(n))
            excess[k, j] = abs(slope) / mp.mpf(price[j]) - 1
        return np.array([[float(v) for v in row] for row in logs]), are_right, excess


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("ridge", [0.0, 0.05])
@pytest.mark.parametrize("case", ["plain", "prices", "weights", "no intercept"])
def test_against_40_digits(case, ridge, num_classes):
    X, y = drawn(3, 24, 4, num_classes)
    weights = np.arange(24) % 3 + 1.0 if case == "weights" else np.ones(24)
    price = np.array([0.02, 0.25, 0.1, 0.05]) if case == "prices" else np.full(4, 0.08)
    has_intercept = case != "no intercept"
    found = conditional(
        X,
        y,
        penalty=ridge or None,
        l1_penalty=price if case == "prices" else 0.08,
        sample_weight=weights,
        fit_intercept=has_intercept,
    )
    log_p, are_right, excess = solve_with_signs(
        X, y, weights, np.full(4, ridge), price, found, has_intercept
    )
    assert found.status is Status.CONVERGED
    assert are_right
    assert (excess < 0.0).all()
    assert 0 < (found.coef == 0.0).sum() < found.coef.size
    assert found.is_certain.all()
    error = np.abs(np.log(found.probabilities) - log_p).max()
    assert error <= 1e-13
    assert error <= found.error_bound < 1e-10
    assert found.residual < 1e-15
    assert found.dual_gap < 1e-20


@pytest.mark.parametrize("kind", ["whole", "indicators"])
def test_ties_of_whole_numbers_are_settled(kind):
    # Few values, columns that repeat or sum to 1, powers of 2 as prices: what makes ties.
    sharp, uncertain = 0, 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n, d = int(rng.integers(5, 15)), int(rng.integers(2, 6))
        X = rng.integers(-2, 3, (n, d)) if kind == "whole" else rng.integers(0, 2, (n, d))
        X = X.astype(float)
        X[:, 0] = 1.0 - X[:, -1]
        y = np.arange(n) % 2
        price = np.full(d, rng.choice([0.25, 0.125, 0.0625, 0.03125]))
        found = conditional(X, y, l1_penalty=price[0])
        log_p, _, excess = solve_with_signs(X, y, np.ones(n), np.zeros(d), price, found, True)
        assert (excess <= 1e-30).all()
        assert np.abs(np.log(found.probabilities) - log_p).max() <= found.error_bound
        sharp += found.error_bound < 1e-10
        is_tied = excess > -1e-12
        assert not found.is_certain[1:][is_tied].any()
        uncertain += is_tied.any()
    assert sharp == 40
    assert uncertain > 5


def test_an_indicator_moves_its_two_frequencies_together():
    # 3 of 4 with x = 0 and 2 of 8 with x = 1 have label 1; each moment misses by the price.
    x, y = np.repeat([0.0, 1.0], [4, 8]), np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0])
    found = conditional(x[:, None], y, l1_penalty=0.05)
    low, high = 2 / 8 + 0.05 * 12 / 8, 3 / 4 - 0.05 * 12 / 4
    np.testing.assert_allclose(found.probabilities[:, 1], np.where(x, low, high), rtol=1e-14)
    slope = np.log(low / (1 - low)) - np.log(high / (1 - high))
    np.testing.assert_allclose(found.coef[:, 0], [-slope / 2, slope / 2], rtol=1e-13)
    assert found.is_certain.all()


@pytest.mark.parametrize("factor", [1.0 + 1e-9, 1.0, 1.0 - 1e-9])
def test_the_smallest_price_at_which_nothing_is_left(factor):
    X, y = drawn(1)
    largest = np.abs((X - X.mean(axis=0)).T @ (y - y.mean())).max() / len(y)
    found = conditional(X, y, l1_penalty=largest * factor)
    assert found.error_bound < 1e-10
    np.testing.assert_allclose(found.probabilities[:, 1], y.mean(), rtol=0, atol=1e-8)
    if factor != 1.0:
        assert (found.coef[1] != 0.0).sum() == (factor < 1.0)
        assert found.is_certain.all()
    else:  # rounding decides
        assert found.is_certain.sum() == found.coef.size - 2


@pytest.mark.parametrize(("num_classes", "num_features"), [(2, 100), (3, 30), (4, 5)])
def test_the_duality_gap_is_zero(num_classes, num_features):
    # The dual is the entropy of distributions whose moments miss by the price at most.
    X, y = drawn(2, 50, num_features, num_classes)
    price, ridge = 0.03, 0.02
    found = conditional(X, y, l1_penalty=price)
    missed = (np.eye(num_classes)[y] - found.probabilities).T @ X / 50
    assert np.abs(missed).max() <= price * (1.0 + 1e-13)
    kept = found.coef != 0.0
    np.testing.assert_array_equal(np.sign(missed[kept]), np.sign(found.coef[kept]))
    paid = price * np.abs(found.coef).sum()
    np.testing.assert_allclose(found.cross_entropy + paid, found.entropy, rtol=1e-13)
    net = conditional(X, y, l1_penalty=price, penalty=ridge)
    paid = price * np.abs(net.coef).sum() + ridge * np.square(net.coef).sum()
    np.testing.assert_allclose(net.cross_entropy + paid, net.entropy, rtol=1e-13)
    assert max(found.error_bound, net.error_bound) < 1e-9
    assert found.is_certain.mean() > 0.9


def test_each_class_by_itself_is_free_up_to_a_constant():
    X, y = drawn(5, 80, 5, 4)
    found = conditional(X, y, l1_penalty=0.01)
    ordered = np.sort(found.coef, axis=0)
    # The gauge that costs least, and of those that cost the same the one of least squares.
    assert (ordered[1] <= 1e-15).all()
    assert (ordered[2] >= -1e-15).all()
    is_inside = (ordered[1] < 0.0) & (ordered[2] > 0.0)
    assert is_inside.any()
    np.testing.assert_allclose(found.coef.mean(axis=0)[is_inside], 0.0, atol=1e-14)
    np.testing.assert_allclose(found.intercept.sum(), 0.0, atol=1e-14)
    limit = conditional(X, y, l1_penalty=0.01, penalty=1e-9)
    np.testing.assert_allclose(limit.coef, found.coef, rtol=0, atol=1e-5)
    logits = X @ found.coef.T + found.intercept
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p, found.probabilities, rtol=1e-13)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("ridge", [0.0, 0.01])
def test_scikit_learn_comes_close(num_classes, ridge):
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = drawn(7, 60, 6, num_classes)
    price = 0.02
    # scikit-learn counts one theta of two classes: |b| is |b / 2| + |b / 2|, b^2 twice that.
    counted = ridge if num_classes > 2 else ridge / 2.0
    theirs = linear_model.LogisticRegression(
        solver="saga",
        l1_ratio=price / (price + counted),
        C=1.0 / (60 * (price + counted)),
        tol=1e-7,
        max_iter=20_000,
    ).fit(X, y)
    found = conditional(X, y, l1_penalty=price, penalty=ridge or None)
    np.testing.assert_allclose(found.probabilities, theirs.predict_proba(X), rtol=0, atol=1e-5)


# ---------------------------------------------------------------- columns that depend


def test_of_two_columns_that_sum_to_1_either_will_do():
    X, y = drawn(4)
    one = (np.arange(30) % 3 == 0) * 1.0
    y = np.where(one, y, 1 - y)
    plain = conditional(np.column_stack([X, one]), y, l1_penalty=0.02)
    found = conditional(np.column_stack([X, one, 1.0 - one]), y, l1_penalty=0.02)
    np.testing.assert_allclose(found.probabilities, plain.probabilities, rtol=1e-13)
    assert found.error_bound < 1e-11
    np.testing.assert_allclose(found.coef[1, 4] - found.coef[1, 5], plain.coef[1, 4], rtol=1e-12)
    assert plain.coef[1, 4] != 0.0
    assert found.is_certain[:, :4].all()
    assert not found.is_certain[:, 4:].any()
    # The second is cheaper: it takes all of the weight, and that is certain.
    cheaper = conditional(np.column_stack([X, one, 1.0 - one]), y, l1_penalty=[0.02] * 5 + [0.01])
    assert cheaper.coef[1, 4] == 0.0
    assert cheaper.is_certain.all()


def test_rounding_decides_between_columns_and_the_bound_covers_it():
    X, y = drawn(6, 40, 2)
    other = 0.3 - 0.7 * X[:, 0]  # a combination, rounded
    other /= 0.7
    found = conditional(np.column_stack([X, other]), y, l1_penalty=0.02)
    plain = conditional(X, y, l1_penalty=0.02)
    assert found.status is Status.CONVERGED
    error = np.abs(np.log(found.probabilities / plain.probabilities)).max()
    assert error <= found.error_bound < 1e-2
    assert not found.is_certain[:, 0].any()


def test_constant_columns():
    X, y = drawn(4)
    more = np.column_stack([X, np.full(30, 3.7), np.zeros(30)])
    found = conditional(more, y, l1_penalty=0.02)
    np.testing.assert_array_equal(found.coef[:, 4:], 0.0)
    assert found.is_certain.all()
    np.testing.assert_allclose(
        found.probabilities, conditional(X, y, l1_penalty=0.02).probabilities, rtol=1e-13
    )
    alone = conditional(more, y, l1_penalty=[0.02] * 4 + [1e-9, 1.0], fit_intercept=False)
    np.testing.assert_allclose(alone.probabilities, found.probabilities, rtol=1e-6)


def test_units_change_nothing():
    X, y = drawn(3)
    unit = np.array([1e8, 1e-9, 1.0, 1.0])
    plain = conditional(X, y, l1_penalty=0.05, penalty=0.01)
    moved = conditional(
        X * unit + [1e10, 1e-7, 0.0, 5.0], y, l1_penalty=0.05 * unit, penalty=0.01 * unit**2
    )
    np.testing.assert_allclose(moved.probabilities, plain.probabilities, rtol=1e-6)
    np.testing.assert_array_equal(moved.coef == 0.0, plain.coef == 0.0)


# ---------------------------------------------------------------- a ridge for each feature


def test_a_ridge_for_each_feature_is_a_unit_for_each():
    X, y = drawn(5, 40, 3, 3)
    ridge = np.array([4.0**-3, 4.0**2, 1.0])
    found = conditional(X, y, penalty=ridge)
    scaled = conditional(X / np.sqrt(ridge), y, penalty=1.0)
    np.testing.assert_allclose(found.probabilities, scaled.probabilities, rtol=1e-13)
    np.testing.assert_allclose(found.coef, scaled.coef / np.sqrt(ridge), rtol=1e-12)
    off = np.eye(3)[y] - found.probabilities
    np.testing.assert_allclose(off.T @ X / 40, ridge * found.coef, rtol=0, atol=1e-15)


def test_columns_that_depend_share_as_their_prices_say():
    X, y = drawn(8, 40, 2)
    more = np.column_stack([X, X[:, 0]])
    found = conditional(more, y, penalty=[3.0, 0.1, 1.0])
    # Springs in a row: coefficients in the inverse ratio of their prices.
    np.testing.assert_allclose(found.coef[1, 2], 3.0 * found.coef[1, 0], rtol=1e-12)
    plain = conditional(X, y, penalty=[0.75, 0.1])
    np.testing.assert_allclose(found.probabilities, plain.probabilities, rtol=1e-13)
    free = conditional(more, y, penalty=[3.0, 0.1, 0.0])
    np.testing.assert_allclose(free.coef[:, 0], 0.0, atol=1e-13)
    np.testing.assert_allclose(
        free.probabilities, conditional(X, y, penalty=[0.0, 0.1]).probabilities, rtol=1e-12
    )


@pytest.mark.parametrize("name", ["penalty", "l1_penalty"])
def test_what_has_no_price_meets_its_moments_or_separates(name):
    X, y = drawn(9, 40, 3)
    found = conditional(X, y, **{name: [0.1, 0.0, 0.3]})
    missed = (np.eye(2)[y] - found.probabilities).T @ X / 40
    np.testing.assert_allclose(missed[:, 1], 0.0, atol=1e-15)
    assert np.abs(missed[:, 0]).max() > 1e-3
    apart = conditional(X, X[:, 1] > 0.0, **{name: [0.1, 0.0, 0.3]})
    assert apart.status is Status.BOUNDARY
    assert apart.separation.is_complete
    np.testing.assert_array_equal(apart.separation.coef[:, [0, 2]], 0.0)
    # What would separate has a price.
    finite = conditional(X, X[:, 0] > 0.0, **{name: [0.1, 0.0, 0.3]})
    assert finite.status is Status.CONVERGED


def test_a_class_without_samples_gets_no_probability():
    X, y = drawn(1)
    found = conditional(X, y, l1_penalty=0.02, log_base=np.zeros(3))
    assert found.status is Status.BOUNDARY
    np.testing.assert_array_equal(found.probabilities[:, 2], 0.0)
    plain = conditional(X, y, l1_penalty=0.02)
    np.testing.assert_allclose(found.probabilities[:, :2], plain.probabilities, rtol=1e-12)
    np.testing.assert_array_equal(found.separation.coef, 0.0)


def test_classes_that_the_base_rules_out():
    X, y = drawn(2, 60, 4, 3)
    base = np.zeros((60, 3))
    base[:30, 2] = np.where(y[:30] == 2, 0.0, -np.inf)
    found = conditional(X, y, l1_penalty=0.05, log_base=base)
    assert found.error_bound < 1e-10
    np.testing.assert_array_equal(found.support, np.isfinite(base))
    missed = (np.eye(3)[y] - found.probabilities).T @ X / 60
    assert np.abs(missed).max() <= 0.05 * (1.0 + 1e-13)
    np.testing.assert_allclose(
        missed[found.coef != 0.0], 0.05 * np.sign(found.coef[found.coef != 0.0]), rtol=1e-13
    )


def test_with_all_labels_told_apart_by_what_is_free_nothing_is_paid():
    X, _ = drawn(1)
    found = conditional(X, X[:, 1] > 0.0, l1_penalty=[0.1, 0.0, 0.1, 0.1])
    np.testing.assert_array_equal(found.coef, 0.0)
    np.testing.assert_array_equal(found.is_certain, [[True, False, True, True]] * 2)


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 3e-7)])
def test_output_lives_where_the_input_lives(lib, dtype, tolerance):
    X, y = drawn(0)
    X = X.astype(np.float32).astype(float)
    plain = conditional(X, y, l1_penalty=0.05)
    found = conditional(lib.array(X, dtype), lib.array(y, "int64"), l1_penalty=[0.05] * 4)
    for name in ("coef", "intercept", "probabilities"):
        assert lib.owns(getattr(found, name))
        np.testing.assert_allclose(
            lib.to_numpy(getattr(found, name)), getattr(plain, name), rtol=tolerance
        )
    np.testing.assert_array_equal(lib.to_numpy(found.is_certain), plain.is_certain)
    assert lib.dtype_name(found.is_certain) == "bool"


def test_prices_go_by_name():
    pd = pytest.importorskip("pandas")
    X, y = drawn(3)
    frame = pd.DataFrame(X, columns=list("abcd"))
    price = pd.Series({"d": 0.3, "a": 0.01, "c": 0.0, "b": 0.1})
    found = conditional(frame, y, l1_penalty=price, penalty=price)
    by_position = price[list("abcd")].to_numpy()
    expected = conditional(X, y, l1_penalty=by_position, penalty=by_position)
    np.testing.assert_array_equal(found.coef, expected.coef)
    with pytest.raises(ValueError, match="names"):
        conditional(frame, y, l1_penalty=price.rename({"a": "e"}))


@pytest.mark.parametrize("name", ["penalty", "l1_penalty"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.0, r"must be a positive number or None: got 0\.0"),
        (-1, "must be a positive number or None: got -1"),
        (np.inf, "must be finite"),
        ([0.1, 0.1], r"must be a number or have one for each feature: got shape \(2,\) for 4"),
        ([0.1, -0.1, 0.0, 0.0], "must be finite and not negative"),
        ([[0.1, 0.1, 0.0, 0.0]], "must be a number or have one for each feature"),
    ],
)
def test_bad_prices(name, value, message):
    X, y = drawn(3)
    with pytest.raises(ValueError, match=f"^{name} {message}"):
        conditional(X, y, **{name: value})


def test_steps_that_run_out():
    X, y = drawn(3)
    for max_steps in range(1, 12):
        found = conditional(X, y, l1_penalty=0.01, max_steps=max_steps, throw=False)
        assert found.steps <= max_steps
        assert found.status.is_solution or found.status is Status.MAX_STEPS


def test_firths_correction_would_not_be_convex():
    # docs/conditional.md: no proof near one optimum could speak of all.
    X, y = np.array([[1.0, 2.0], [1.0, 1.0], [1.0, -3.0]]), np.zeros(3)

    def objective(theta):
        z = X @ theta
        p = 1.0 / (1.0 + np.exp(-z))
        information = (X * (p * (1.0 - p))[:, None]).T @ X
        return (np.logaddexp(0.0, z) - y * z).sum() - 0.5 * np.log(np.linalg.det(information))

    ends = np.array([-1.0, 2.0]), np.array([0.0, 1.0])
    assert objective(sum(ends) / 2) > sum(map(objective, ends)) / 2 + 0.1
