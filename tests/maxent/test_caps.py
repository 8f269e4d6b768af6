"""Caps on weights: 40 digits, optimality, linear programs for what they rule out."""

import mpmath
import numpy as np
import pytest
import scipy.optimize
import scipy.sparse

from infogeo import SolveError, Status
from infogeo.maxent import balance
from infogeo.maxent._dual.caps import least_mean


def sample(rng, n=60):
    return rng.normal(size=(n, 2)), rng.uniform(1.0, 3.0, n)


@pytest.mark.parametrize(("lower", "upper"), [(0.5, 2.0), (0.0, 1.6), (0.8, 4.0)])
def test_the_error_is_within_its_bound(rng, lower, upper):
    x, d = rng.normal(size=(14, 1)), rng.uniform(1.0, 2.0, 14)
    t = np.average(x[:, 0], weights=d) + 0.25
    found = balance(x, [t], weights=d, lower=lower, upper=upper)
    with mpmath.workdps(40):
        q = [mpmath.mpf(float(v)) for v in d]
        q = [v / sum(q) for v in q]
        values = [mpmath.mpf(float(v)) for v in x[:, 0]]

        def weights(shift, slope):
            ratios = (mpmath.exp(shift + slope * v) for v in values)
            return [
                a * min(max(r, mpmath.mpf(lower)), mpmath.mpf(upper))
                for a, r in zip(q, ratios, strict=True)
            ]

        def excess(shift, slope):
            w = weights(shift, slope)
            return [sum(w) - 1, sum(a * v for a, v in zip(w, values, strict=True)) - mpmath.mpf(t)]

        slope = float(found.projection.theta[0])
        start = (-float(found.projection.log_partition) + float(np.log((d / d.max()).sum())), slope)
        theta = mpmath.findroot(excess, (mpmath.mpf(start[0]), mpmath.mpf(slope)), tol=1e-30)
        exact = [mpmath.log(w) for w in weights(*theta)]
        errors = [
            abs(mpmath.mpf(float(a)) - b)
            for a, b in zip(found.projection.log_probabilities, exact, strict=True)
        ]
    assert found.status is Status.CONVERGED
    assert max(errors) <= found.projection.error_bound < 1e-9


def test_no_other_weights_within_the_caps_are_nearer(rng):
    """Pythagoras' inequality: KL(v, q) >= KL(v, p) + KL(p, q) for all weights v that qualify."""
    x, d = sample(rng)
    t = np.average(x, axis=0, weights=d) + np.array([0.3, -0.2])
    found = balance(x, t, weights=d, lower=0.6, upper=1.9)
    p, q = found.projection.probabilities, d / d.sum()
    ratio = p / q
    assert ratio.min() >= 0.6 * (1 - 1e-12)
    assert ratio.max() <= 1.9 * (1 + 1e-12)
    assert (ratio > 1.89999).sum() >= 3
    assert (ratio < 0.60001).sum() >= 3
    np.testing.assert_allclose(found.weights @ x / d.sum(), t, rtol=1e-12)
    np.testing.assert_allclose(found.weights.sum(), d.sum(), rtol=1e-13)

    def divergence(a, b):
        return float((a * np.log(a / b)).sum())

    for _ in range(10):
        vertex = scipy.optimize.linprog(
            rng.normal(size=60),
            A_eq=np.vstack([x.T, np.ones(60)]),
            b_eq=[*t, 1.0],
            bounds=np.stack([0.6 * q, 1.9 * q], axis=1),
        ).x
        for share in (0.01, 0.5, 1.0):
            v = p + share * (vertex - p)
            gap = divergence(v, q) - divergence(v, p) - divergence(p, q)
            assert gap >= -1e-9


def test_caps_that_are_not_reached_change_nothing(rng):
    x, d = sample(rng)
    expected = balance(x, [0.1, 0.1], weights=d)
    found = balance(x, [0.1, 0.1], weights=d, lower=1e-6, upper=1e6)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-9)
    for name in ("theta", "log_partition", "value", "entropy"):
        np.testing.assert_allclose(
            getattr(found.projection, name), getattr(expected.projection, name), rtol=1e-8
        )


def test_every_claim_against_a_linear_program():
    rng, count = np.random.default_rng(3), {"CONVERGED": 0, "INFEASIBLE": 0}
    for _ in range(80):
        n, m = int(rng.integers(5, 40)), int(rng.integers(1, 4))
        x, lower, upper = rng.normal(size=(n, m)), rng.uniform(0.0, 0.9), rng.uniform(1.1, 4.0)
        t = x.mean(axis=0) + 0.4 * rng.normal(size=m)
        found = balance(x, t, lower=lower, upper=upper, throw=False).projection
        program = scipy.optimize.linprog(
            np.zeros(n),
            A_eq=np.vstack([x.T, np.ones(n)]),
            b_eq=np.append(t, 1.0),
            bounds=(lower / n, upper / n),
        )
        count[found.status.name] += 1
        assert (found.status is Status.CONVERGED) == (program.status == 0)
        if found.certificate is not None:
            program = scipy.optimize.linprog(
                (x - t) @ found.certificate,
                A_eq=np.ones((1, n)),
                b_eq=[1.0],
                bounds=(lower / n, upper / n),
            )
            assert program.fun > 0.0
    assert min(count.values()) > 10


def test_one_cap_alone_may_be_what_cannot_be(rng):
    x = rng.normal(size=(30, 1))
    with pytest.raises(SolveError, match=r"No weights from 0\.5 to inf times .* at most"):
        balance(x, [0.8 * x.max()], lower=0.5)
    with pytest.raises(SolveError, match=r"the mean of x\[0\] is at most .*; 9 was asked"):
        balance(x, [9.0], upper=3.0)
    one = np.ones((30, 1))
    with pytest.raises(SolveError, match=r"x\[1\] is at least 1; 0.5 was asked"):
        balance(np.hstack([x, one]), [x.mean(), 0.5], upper=3.0)


def test_columns_that_nearly_agree(rng):
    x = rng.normal(size=(200, 1))
    near = np.hstack([x, x + 1e-7 * rng.normal(size=(200, 1))])
    w = rng.uniform(0.6, 1.6, 200)
    found = balance(near, np.average(near, axis=0, weights=w), lower=0.3, upper=3.0)
    # The same in columns that do not cancel; their differences are known to nine digits.
    apart = np.hstack([x, (near[:, 1:] - x) * 1e7])
    again = balance(apart, np.average(apart, axis=0, weights=w), lower=0.3, upper=3.0)
    error = np.abs(np.log(found.weights / again.weights)).max()
    assert error <= found.projection.error_bound + again.projection.error_bound
    assert found.projection.error_bound < 1e-5


def test_the_least_mean_fills_the_cheapest_first():
    q = np.array([0.5, 0.25, 0.25])
    # 0.5 q is fixed. Of the other half the last has room for 0.25 (2 q - 0.5 q is 0.375).
    found = least_mean(np.array([2.0, 3.0, 1.0]), q, 0.5, 2.0)
    assert found == pytest.approx(2.0 * (0.25 + 0.125) + 3.0 * 0.125 + 1.0 * (0.125 + 0.375))


def test_a_survey_with_shares_groups_and_totals(rng):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "sex": rng.choice(["f", "m"], 400, p=[0.3, 0.7]),
            "region": rng.choice(["n", "s"], 400),
            "age": rng.integers(18, 80, 400),
        }
    )
    targets = {"sex": {"f": 0.5, "m": 0.5}, "age": 46.0}
    found = balance(
        frame, {"n": targets, "s": targets}, by="region", total={"n": 10, "s": 30}, upper=1.8
    )
    assert found.weights.sum() == pytest.approx(40.0)
    for result in found.diagnostics:
        assert result.largest_weight_ratio <= 1.8 * (1 + 1e-12)
        np.testing.assert_allclose(result.after, result.targets, rtol=1e-11)
    message = (
        r"No weights from 0\.9 to 1\.1 times the base weights .* with them the mean of age is at "
        r"most 5\d\.\d+; 70 was asked"
    )
    with pytest.raises(SolveError, match=message):
        balance(frame, {"age": 70.0}, lower=0.9, upper=1.1)
    with pytest.raises(SolveError, match=r"those of sex = f, .*clash\. With them .* is at least"):
        balance(frame, {"sex": {"f": 0.45, "m": 0.55}, "age": 55.0}, lower=0.5, upper=1.55)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_library(lib, dtype, rng):
    x, d = sample(rng)
    d[:3] = 0.0
    expected = balance(x, [0.3, 0.1], weights=d, lower=0.5, upper=2.0)
    found = balance(lib.array(x, dtype), [0.3, 0.1], weights=d.tolist(), lower=0.5, upper=2.0)
    assert lib.dtype_name(found.weights) == dtype
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(lib.to_numpy(found.weights), expected.weights, rtol=tolerance)
    assert (expected.weights[:3] == 0.0).all()
    if dtype == "float64":
        columns = scipy.sparse.csr_array(x)
        sparse = balance(columns, [0.3, 0.1], weights=d, lower=0.5, upper=2.0)
        np.testing.assert_allclose(sparse.weights, expected.weights, rtol=1e-12)


X = [[20.0], [40.0], [30.0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lower": 1.0}, "lower must be a factor of weights from 0 to below 1: got 1.0"),
        ({"lower": -0.1}, "lower must be a factor"),
        ({"upper": 1.0}, "upper must be a factor of weights above 1"),
        ({"upper": np.nan}, "upper must be a factor"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        balance(X, [30.0], **options)


def test_what_cannot_be_decided_is_said():
    """All weights at a cap: one solution, which rounding can neither confirm nor refute."""
    with pytest.raises(SolveError, match="nearly all weights would have to be at a cap"):
        balance([[0.0], [1.0]], [0.75], lower=0.5, upper=1.5)
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match="gradient"):
        balance(torch.tensor(X, requires_grad=True), [31.0], upper=2.0)


# ---------------------------------------------------------------- with a tolerance


def draw_between(seed):
    """Draw covariates (some of whole numbers, some that depend), targets, tolerances and caps."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(8, 40)), int(rng.integers(1, 4))
    x = rng.normal(size=(n, m)) if seed % 2 else rng.integers(0, 3, (n, m)).astype(float)
    x = np.column_stack([x, 1.0 - x[:, 0]]) if seed % 3 == 0 else x
    d = rng.uniform(1.0, 3.0, n)
    t = np.average(x, axis=0, weights=d) + 0.3 * rng.normal(size=x.shape[1])
    slack = rng.choice([0.0, 0.05, 0.2, 0.5], size=x.shape[1])
    slack[0] = 0.1
    return x, d, t, slack, float(rng.choice([0.0, 0.3, 0.6])), float(rng.choice([1.3, 2.0, 4.0]))


def test_caps_with_a_tolerance_are_optimal_or_proved_impossible():
    statuses = []
    for seed in range(60):
        x, d, t, slack, low, high = draw_between(seed)
        found = balance(x, t, weights=d, tolerance=slack, lower=low, upper=high, throw=False)
        projection, q = found.projection, d / d.sum()
        statuses.append(projection.status)
        if projection.status is Status.INFEASIBLE:
            # No weights within the caps have a mean of eta'x as low as the targets allow.
            eta = projection.certificate
            least = scipy.optimize.linprog(
                x @ eta, A_eq=np.ones((1, len(q))), b_eq=[1.0], bounds=np.outer(q, [low, high])
            )
            assert least.fun > eta @ t + np.abs(eta) @ slack
            continue
        # The conditions of Karush, Kuhn and Tucker, which are sufficient: the problem is convex.
        assert projection.status is Status.CONVERGED
        assert projection.error_bound < 1e-9
        p, theta = projection.probabilities, projection.theta
        mean, log_ratio = x.T @ p, np.log(p / q)
        assert (np.abs(mean - t) <= slack + 1e-12).all()
        np.testing.assert_allclose((mean - t + slack)[theta > 0.0], 0.0, atol=1e-12)
        np.testing.assert_allclose((mean - t - slack)[theta < 0.0], 0.0, atol=1e-12)
        s = x @ theta
        is_low, is_high = p < low * q * (1.0 + 1e-9), p > high * q * (1.0 - 1e-9)
        is_free = ~(is_low | is_high)
        shift = log_ratio - s
        constant = shift[is_free].mean() if is_free.any() else 0.0
        np.testing.assert_allclose(shift[is_free], constant, atol=1e-9)
        assert (shift[is_low] >= constant - 1e-9).all()
        assert (shift[is_high] <= constant + 1e-9).all()
        psi = float(projection.log_partition) + np.log(2.0) * np.floor(np.log2(d.max()))
        np.testing.assert_allclose((np.log(d) + s - psi)[is_free], np.log(p)[is_free], atol=1e-9)
    assert statuses.count(Status.CONVERGED) > 20
    assert statuses.count(Status.INFEASIBLE) > 10


def test_wide_caps_change_nothing_with_a_tolerance(rng):
    x, d = sample(rng)
    t = np.average(x, axis=0, weights=d) + np.array([0.3, -0.02])
    plain = balance(x, t, weights=d, tolerance=[0.1, 0.05])
    capped = balance(x, t, weights=d, tolerance=[0.1, 0.05], upper=1e6)
    np.testing.assert_allclose(capped.weights, plain.weights, rtol=1e-11)
    assert plain.projection.theta[1] == capped.projection.theta[1] == 0.0
    # Weights that already qualify stay.
    same = balance(x, t, weights=d, tolerance=1.0, upper=1.5)
    np.testing.assert_allclose(same.weights, d, rtol=1e-14)


def test_what_caps_rule_out_in_spite_of_a_tolerance(rng):
    x, d = sample(rng)
    t = np.average(x, axis=0, weights=d) + np.array([2.0, 0.0])
    message = (
        r"from 0\.5 to 1\.5 times .* mean of x\[0\] is at most .* \(with a tolerance of 0\.1\)"
    )
    with pytest.raises(SolveError, match=message):
        balance(x, t, weights=d, tolerance=0.1, lower=0.5, upper=1.5)
