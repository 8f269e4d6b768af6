"""Balancing weights: raking by another algorithm, 40 digits, optimality, names in every message."""

import mpmath
import numpy as np
import pytest

from infogeo import SolveError, Status
from infogeo.maxent import balance

pd = pytest.importorskip("pandas")


def survey(rng, n):
    return pd.DataFrame(
        {
            "sex": rng.choice(["f", "m"], n, p=[0.3, 0.7]),
            "region": pd.Categorical(rng.choice(["north", "south", "east"], n)),
            "age": rng.integers(18, 80, n),
            "income": rng.lognormal(size=n),
        }
    )


SHARES = {"sex": {"f": 0.51, "m": 0.49}, "region": {"north": 0.2, "south": 0.3, "east": 0.5}}


def raked(frame, shares, weights):
    """Rake by iterative proportional fitting."""
    w = weights / weights.sum()
    for _ in range(500):
        for column, share in shares.items():
            for level, target in share.items():
                where = (frame[column] == level).to_numpy()
                w[where] *= target / w[where].sum()
    return w


def test_raking_against_iterative_proportional_fitting(rng):
    frame, d = survey(rng, 400), rng.uniform(1.0, 5.0, size=400)
    found = balance(frame, SHARES, weights=d)
    np.testing.assert_allclose(found.weights / d.sum(), raked(frame, SHARES, d), rtol=1e-12)
    assert found.projection.status is Status.CONVERGED
    assert found.projection.rank == 3
    assert found.projection.error_bound < 1e-10


def test_against_40_digits(rng):
    x = rng.normal(size=(9, 2))
    found = balance(x, [0.3, -0.2])
    with mpmath.workdps(40):
        rows = [[mpmath.mpf(float(v)) for v in row] for row in x]

        def weights(*theta):
            w = [mpmath.exp(theta[0] * row[0] + theta[1] * row[1]) for row in rows]
            return [v / sum(w) for v in w]

        def excess(*theta):
            w = weights(*theta)
            means = [sum(v * row[k] for v, row in zip(w, rows, strict=True)) for k in (0, 1)]
            return [means[0] - mpmath.mpf(0.3), means[1] + mpmath.mpf(0.2)]

        theta = mpmath.findroot(excess, [float(t) for t in found.projection.theta])
        reference = np.array([float(v) for v in weights(*theta)])
    np.testing.assert_allclose(found.weights, reference, rtol=1e-14)


def test_no_other_weights_are_nearer(rng):
    x, d = rng.normal(size=(40, 3)), rng.uniform(0.5, 2.0, size=40)
    t = np.average(x, axis=0, weights=rng.uniform(size=40))
    found = balance(x, t, weights=d)
    np.testing.assert_allclose(found.weights.sum(), d.sum(), rtol=1e-14)
    w, d = found.weights / d.sum(), d / d.sum()

    def divergence(a, b):
        return float((a * np.log(a / b)).sum())

    kernel = np.linalg.svd(np.column_stack([x, np.ones(40)]).T)[2][4:]
    for _ in range(20):
        change = rng.normal(size=len(kernel)) @ kernel
        other = w + 0.5 * change * (w / np.abs(change)).min()
        np.testing.assert_allclose(  # Pythagoras
            divergence(other, d), divergence(other, w) + divergence(w, d), rtol=1e-11
        )


def test_diagnostics(rng):
    frame, d = survey(rng, 300), rng.uniform(1.0, 2.0, size=300)
    found = balance(frame, {"age": 40.0, **SHARES}, weights=d).diagnostics
    assert found.names[:3] == ("age", "sex = f", "sex = m")
    np.testing.assert_allclose(found.before[0], np.average(frame["age"], weights=d))
    np.testing.assert_allclose(found.after, found.targets, rtol=1e-12)
    w = balance(frame, {"age": 40.0, **SHARES}, weights=d).weights
    np.testing.assert_allclose(found.effective_sample_size, w.sum() ** 2 / (w**2).sum())
    np.testing.assert_allclose(found.base_effective_sample_size, d.sum() ** 2 / (d**2).sum())
    np.testing.assert_allclose(found.largest_weight_ratio, (w / d).max())
    lines = str(found).splitlines()
    assert lines[1].split()[:2] == ["age", "40"]
    assert lines[-1].startswith("largest weight ratio")


def test_a_frame_is_its_array(rng):
    frame = survey(rng, 50)[["age", "income"]]
    by_array = balance(frame.to_numpy(), [45.0, 1.2]).weights
    np.testing.assert_array_equal(balance(frame, [45.0, 1.2]).weights, by_array)
    np.testing.assert_array_equal(balance(frame, {"age": 45.0, "income": 1.2}).weights, by_array)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_library(lib, dtype, rng):
    x, t = rng.normal(size=(30, 2)), [0.1, -0.1]
    found = balance(lib.array(x, dtype), t)
    if lib.name != "dask":
        assert lib.owns(found.weights)
    assert lib.dtype_name(found.weights) == dtype
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(lib.to_numpy(found.weights), balance(x, t).weights, rtol=tolerance)


def test_rows_of_weight_zero_keep_it(rng):
    x, d = rng.normal(size=(30, 2)), np.ones(30)
    d[:5] = 0.0
    found = balance(x, [0.1, 0.1], weights=d)
    assert (found.weights[:5] == 0.0).all()
    np.testing.assert_allclose(found.weights[5:] / 25, balance(x[5:], [0.1, 0.1]).weights)


def test_a_share_of_zero_takes_rows_out(rng):
    frame = survey(rng, 60)
    found = balance(frame, {"sex": {"f": 1.0, "m": 0.0}})
    assert found.projection.status is Status.BOUNDARY
    assert (found.weights[(frame["sex"] == "m").to_numpy()] == 0.0).all()


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"age": 90.0, "income": 1.0}, r"that of age, 90, is outside the range \[1\d, \d+\]"),
        ({"sex": {"f": 0.5, "m": 0.4, "x": 0.1}}, r"that of sex = x, 0\.1, is outside"),
        ({"old": 0.9, "age": 50.0, "income": 1.0}, r"those of old, age clash\. In every row -1"),
        ({"old": 0.9, "young": 0.2}, r"those of old, young clash.* \(young\) is -1, .* it -1\.1"),
    ],
)
def test_guilty_constraints_are_named(targets, message):
    frame = survey(np.random.default_rng(0), 500)
    frame["old"] = frame["age"] >= 60
    frame["young"] = ~frame["old"]
    with pytest.raises(SolveError, match=message) as caught:
        balance(frame, targets)
    assert caught.value.result.projection.status is Status.INFEASIBLE
    assert caught.value.result.projection.certificate is not None
    found = balance(frame, targets, throw=False)
    assert found.projection.status is Status.INFEASIBLE


def test_a_series_is_read_by_its_labels(rng):
    frame = survey(rng, 60)[["age", "income"]]
    means = frame.mean() * [1.05, 0.9]
    expected = balance(frame, means.to_dict()).weights
    np.testing.assert_allclose(balance(frame, means[::-1]).weights, expected, rtol=1e-12)
    shares = {"sex": pd.Series(SHARES["sex"])}
    frame = survey(rng, 60)
    np.testing.assert_array_equal(
        balance(frame, shares).weights, balance(frame, {"sex": SHARES["sex"]}).weights
    )
    with pytest.raises(ValueError, match="there is no 0, 1"):
        balance(frame[["age", "income"]], pd.Series([50.0, 1.0]))


@pytest.mark.parametrize("size", [1e-320, 1e300, 1e307])
def test_base_weights_of_any_size(rng, size):
    x = rng.normal(size=(60, 2))
    expected = balance(x, [0.1, 0.1], weights=np.full(60, 1.0))
    found = balance(x, [0.1, 0.1], weights=np.full(60, size))
    np.testing.assert_allclose(
        found.weights / size, expected.weights, rtol=1e-3 if size < 1 else 1e-12
    )
    assert found.diagnostics.effective_sample_size == pytest.approx(
        float(expected.diagnostics.effective_sample_size)
    )


def test_base_weights_that_vanish_beside_others(rng):
    x, w = rng.normal(size=(60, 2)), np.where(np.arange(60) < 50, 1e200, 1e-200)
    found = balance(x, [0.1, 0.1], weights=w)
    expected = balance(x[:50], [0.1, 0.1])
    np.testing.assert_allclose(found.weights[:50] / 5e201, expected.weights, rtol=1e-10)
    assert found.diagnostics.largest_weight_ratio < 100.0


def test_gradients(rng):
    torch = pytest.importorskip("torch")
    given = (rng.normal(size=(8, 2)), np.array([0.1, -0.1]), rng.uniform(0.5, 1.5, size=8))
    given = [torch.tensor(x, requires_grad=True) for x in given]

    def weights(x, t, d):
        return balance(x, t, weights=d, tol=1e-13).weights

    assert torch.autograd.gradcheck(weights, given)
    assert "effective sample size" in str(balance(given[0], given[1]).diagnostics)


def test_steps_may_run_out(rng):
    with pytest.raises(SolveError, match=r"ran out.*Of the features, 0 is age, 1 is income"):
        balance(survey(rng, 50), {"age": 60.0, "income": 5.0}, max_steps=1)


FRAME = pd.DataFrame({"age": [20.0, 40.0, 30.0], "sex": ["f", "m", "f"]})
X = [[20.0], [40.0], [30.0]]


@pytest.mark.parametrize(
    ("covariates", "targets", "options", "error", "message"),
    [
        (X, {"age": 30.0}, {}, TypeError, "targets may be a mapping only for a data frame"),
        (X, [30.0, 1.0], {}, ValueError, r"targets must have one mean for each .*\(2,\)"),
        (X, 30.0, {}, ValueError, "targets must have one mean for each"),
        ([20.0, 40.0], [30.0], {}, ValueError, r"Write covariates\[:, None\]"),
        (np.zeros((0, 1)), [30.0], {}, ValueError, "covariates must have shape"),
        ([[np.nan], [1.0]], [1.0], {}, ValueError, "covariates must be finite"),
        (X, [np.nan], {}, ValueError, "targets must be finite"),
        (X, [30.0], {"weights": [1.0]}, ValueError, "weights must have one entry for each of"),
        (X, [30.0], {"weights": [0.0] * 3}, ValueError, "weights must have a positive sum"),
        (X, [30.0], {"weights": [1.0, 1.0, -1.0]}, ValueError, "weights must be .* not negative"),
        (FRAME, {}, {}, ValueError, "targets must name at least one column"),
        (FRAME, {"agee": 30.0}, {}, ValueError, "no agee. The columns are age, sex"),
        (FRAME, [30.0], {}, ValueError, "targets must have one mean for each column"),
        (FRAME, {"sex": 0.5}, {}, TypeError, "column sex must hold numbers"),
        (FRAME[["age", "age"]], {"age": 30.0}, {}, ValueError, "different names: age repeat"),
        (FRAME, {"sex": {"f": 1.0}}, {}, ValueError, "share for every level: there is none for m"),
        (FRAME, {"sex": {"f": 0.6, "m": 0.6}}, {}, ValueError, r"sum to 1: .* sum 1\.2"),
        (FRAME, {"sex": {"f": 51, "m": 49}}, {}, ValueError, "sum 100"),
        (FRAME, {"age": "old"}, {}, TypeError, "the target of age must be a number"),
        (FRAME.assign(age=[1.0, np.nan, 2.0]), {"age": 1.5}, {}, ValueError, "infinite .* row 1"),
    ],
)
def test_bad_input(covariates, targets, options, error, message):
    with pytest.raises(error, match=message):
        balance(covariates, targets, **options)
