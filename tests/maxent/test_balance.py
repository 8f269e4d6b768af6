"""Balancing weights: raking by another algorithm, 40 digits, optimality, names in every message."""

import mpmath
import numpy as np
import pytest
import scipy.sparse

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


# ---------------------------------------------------------------- as survey offices have it


def test_counts_that_sum_to_the_total_are_shares(rng):
    frame, total = survey(rng, 300), 1_250_000
    counts = {k: {a: x * total for a, x in share.items()} for k, share in SHARES.items()}
    expected = balance(frame, {"age": 45.0} | SHARES)
    found = balance(frame, {"age": 45.0} | counts, total=total)
    np.testing.assert_allclose(found.weights, total * expected.weights, rtol=1e-12)
    np.testing.assert_allclose(found.weights.sum(), total, rtol=1e-14)
    women = found.weights[(frame["sex"] == "f").to_numpy()].sum()
    np.testing.assert_allclose(women, counts["sex"]["f"], rtol=1e-12)
    with pytest.raises(ValueError, match=r"counts that sum to the total 1000000: .* 1250000\."):
        balance(frame, counts, total=1e6)
    by_sum = balance(frame, counts, normalize=True)
    np.testing.assert_allclose(by_sum.weights, balance(frame, SHARES).weights, rtol=1e-12)


def test_shares_that_rounding_has_left_with_another_sum(rng):
    frame, shares = survey(rng, 100), {"sex": {"f": 0.5099, "m": 0.49}}
    with pytest.raises(ValueError, match=r"sum 0\.9999\. normalize=True divides them"):
        balance(frame, shares)
    found = balance(frame, shares, normalize=True).diagnostics
    np.testing.assert_allclose(found.targets, np.array([0.5099, 0.49]) / 0.9999, rtol=1e-14)


def test_a_tolerance_is_used_up_where_it_binds(rng):
    frame = survey(rng, 300)
    age = frame["age"].mean()
    targets = {"age": age + 5.0, "income": frame["income"].mean(), "sex": SHARES["sex"]}
    found = balance(frame, targets, tolerance={"age": 2.0, "sex": 1.0})
    exact = balance(frame, {"age": age + 3.0, "income": targets["income"]})
    np.testing.assert_allclose(found.weights, exact.weights, rtol=1e-10)
    found = balance(frame[["age", "income"]], [age + 5.0, 1.0], tolerance=[6.0, 2.0])
    np.testing.assert_allclose(found.weights, 1 / 300, rtol=1e-12)
    with pytest.raises(SolveError, match=r"at most 79; 82 was asked \(with a tolerance of 1\)"):
        balance(frame, {"age": 82.0}, tolerance=1.0)
    x = scipy.sparse.csr_array(frame[["age"]].to_numpy(dtype=float))
    found = balance(x, [age + 5.0], tolerance=2.0)
    np.testing.assert_allclose(found.diagnostics.after, [age + 3.0], rtol=1e-12)


@pytest.mark.parametrize("base", [None, "design"])
def test_groups_are_balanced_by_themselves(rng, base):
    frame = survey(rng, 300).set_index(rng.permutation(300))
    d = None if base is None else pd.Series(rng.uniform(1.0, 3.0, 300), index=frame.index)
    targets = {
        "south": {"age": 45.0, "sex": {"f": 0.6, "m": 0.4}},
        "north": {"income": 1.5},
        "east": {"sex": {"f": 0.5, "m": 0.5}},
    }
    found = balance(frame, targets, by="region", weights=None if d is None else d[::-1])
    assert found.groups.tolist() == ["east", "north", "south"]
    assert found.status is Status.CONVERGED
    shares = np.full(300, 1 / 300) if d is None else d.to_numpy()
    np.testing.assert_allclose(found.weights.sum(), shares.sum(), rtol=1e-13)
    for k, label in enumerate(found.groups):
        rows = (frame["region"] == label).to_numpy()
        alone = balance(frame[rows], targets[label], weights=None if d is None else d[rows])
        expected = alone.weights / alone.weights.sum() * shares[rows].sum()
        np.testing.assert_allclose(found.weights[rows], expected, rtol=1e-10)
        np.testing.assert_array_equal(
            found.projection[k].probabilities, alone.projection.probabilities
        )
        assert found.diagnostics[k].names == alone.diagnostics.names
    assert len(str(found).splitlines()) == 5
    totals = {"east": 10.0, "south": 30.0, "north": 20.0}
    found = balance(frame, targets, by="region", total=totals)
    for label, size in totals.items():
        assert found.weights[frame["region"] == label].sum() == pytest.approx(size)
    found = balance(frame, targets, by=frame["region"][::-1], total=1000.0, weights=d)
    for label in totals:
        rows = (frame["region"] == label).to_numpy()
        assert found.weights[rows].sum() == pytest.approx(1000.0 * shares[rows].sum() / sum(shares))


def test_a_group_that_fails_is_named_and_the_others_are_solved(rng):
    frame = survey(rng, 200)
    targets = {"f": {"age": 45.0}, "m": {"age": 99.0}}
    with pytest.raises(SolveError, match=r"1 of 2 groups failed.*: m\. Group m: .*at most 79; 99"):
        balance(frame, targets, by="sex")
    found = balance(frame, targets, by="sex", throw=False)
    assert found.status is Status.INFEASIBLE
    assert [p.status for p in found.projection] == [Status.CONVERGED, Status.INFEASIBLE]
    np.testing.assert_allclose(found.diagnostics[0].after, [45.0], rtol=1e-12)


def test_groups_of_arrays_and_a_frame_of_means(lib, rng):
    x, labels = rng.normal(size=(40, 2)), np.arange(40) % 2
    means = {0: [0.1, 0.2], 1: [-0.1, 0.0]}
    expected = balance(x, means, by=labels).weights
    for k in (0, 1):
        alone = balance(x[labels == k], means[k]).weights
        np.testing.assert_allclose(expected[labels == k], 0.5 * alone, rtol=1e-10)
    found = balance(lib.array(x, "float64"), means, by=labels.tolist())
    np.testing.assert_allclose(lib.to_numpy(found.weights), expected, rtol=1e-10)
    frame = pd.DataFrame(x, columns=["a", "b"])
    table = pd.DataFrame.from_dict(means, orient="index", columns=["a", "b"])
    np.testing.assert_allclose(balance(frame, table[::-1], by=labels).weights, expected, rtol=1e-12)
    same = balance(x, [0.1, 0.2], by=labels).weights[labels == 0]
    np.testing.assert_allclose(same, expected[labels == 0], rtol=1e-12)


MISSING = [None, float("nan"), pd.NA]


@pytest.mark.parametrize("dtype", ["object", "string", "category"])
def test_missing_values_are_a_level_of_their_own(rng, dtype):
    frame = survey(rng, 60)
    frame["sex"] = frame["sex"].astype(dtype)
    frame.loc[[3, 7], "sex"] = None
    shares = {"f": 0.5, "m": 0.45}
    message = r"share for every level: it has no value in rows 3, 7\. .* under float\('nan'\)"
    with pytest.raises(ValueError, match=message):
        balance(frame, {"sex": {"f": 0.5, "m": 0.5}})
    for label in MISSING:
        found = balance(frame, {"sex": shares | {label: 0.05}})
        assert found.diagnostics.names[-1] == "sex = NaN"
        np.testing.assert_allclose(found.weights[[3, 7]], 0.025, rtol=1e-12)
    counts = frame["sex"].value_counts(dropna=False)
    found = balance(frame, {"sex": counts}, normalize=True)
    np.testing.assert_allclose(found.weights, 1 / 60, rtol=1e-12)
    with pytest.raises(ValueError, match="name each level once: NaN repeats"):
        balance(frame, {"sex": shares | {None: 0.05, float("nan"): 0.05}})


def test_frames_of_other_libraries(rng):
    frame = survey(rng, 80).astype({"region": str})
    targets = {"age": 45.0} | SHARES
    expected = balance(frame, targets).weights
    polars, arrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    columns = {name: frame[name].tolist() for name in frame}
    for other in (polars.DataFrame(columns), arrow.table(columns)):
        np.testing.assert_allclose(balance(other, targets).weights, expected, rtol=1e-12)
        found = balance(other, {"f": {"age": 45.0}, "m": {"age": 40.0}}, by="sex")
        assert found.groups.tolist() == ["f", "m"]


def test_levels_that_do_not_occur_need_no_rows(rng):
    frame = survey(rng, 80)
    frame["region"] = frame["region"].cat.add_categories("west")
    shares = frame["region"].value_counts(normalize=True)
    assert shares["west"] == 0.0
    np.testing.assert_allclose(balance(frame, {"region": shares}).weights, 1 / 80, rtol=1e-12)
    ages = pd.cut(frame["age"], [0, 30, 50, 100])
    found = balance(frame.assign(age=ages), {"age": ages.value_counts()}, normalize=True)
    np.testing.assert_allclose(found.weights, 1 / 80, rtol=1e-12)


def test_a_thousand_levels_are_sparse_columns(rng):
    codes = rng.permutation(np.concatenate([np.arange(1000), rng.integers(0, 1000, 3000)]))
    shares = rng.uniform(0.8, 1.2, 1000) * np.bincount(codes) / codes.size
    shares /= shares.sum()
    found = balance(pd.DataFrame({"code": codes}), {"code": dict(enumerate(shares))})
    np.testing.assert_allclose(found.weights, (shares / np.bincount(codes))[codes], rtol=1e-9)
    text = str(found).splitlines()
    assert len(text) <= 15
    assert "and 991 more, which changed less" in text
    assert text[-2].startswith("design effect 1.0")


def test_sparse_covariates(rng):
    x, d = rng.normal(size=(60, 3)) * (rng.random((60, 3)) < 0.5), rng.uniform(1.0, 2.0, 60)
    expected = balance(x, [0.1, 0.0, -0.1], weights=d).weights
    found = balance(scipy.sparse.csr_array(x), [0.1, 0.0, -0.1], weights=d)
    np.testing.assert_allclose(found.weights, expected, rtol=1e-8)
    with pytest.raises(SolveError, match=r"the mean of x\[1\] is at most .*; 9 was asked"):
        balance(scipy.sparse.csr_array(x), [0.1, 9.0, -0.1])


# ---------------------------------------------------------------- what cannot be


def test_ranges_have_the_digits_that_tell_them_apart():
    with pytest.raises(SolveError, match=r"at most 3; 3\.0000001 was asked"):
        balance([[1.0], [3.0]], [3.0000001])


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"age": 90.0, "income": 1.0}, r"the mean of age is at most 79; 90 was asked"),
        ({"age": 17.5}, r"the mean of age is at least 18; 17\.5 was asked"),
        ({"sex": {"f": 0.5, "m": 0.4, "x": 0.1}}, r"no row has sex = x; a share of 0\.1 was asked"),
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
    with pytest.raises(SolveError, match=r"ran out.*The outcomes are the rows"):
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
        (FRAME, [30.0], {}, ValueError, "targets must have one entry for each column"),
        (FRAME, {"sex": 0.5}, {}, TypeError, "column sex must hold numbers"),
        (FRAME[["age", "age"]], {"age": 30.0}, {}, ValueError, "different names: age repeat"),
        (FRAME, {"sex": {"f": 1.0}}, {}, ValueError, "share for every level: there is none for m"),
        (FRAME, {"sex": {"f": 0.6, "m": 0.6}}, {}, ValueError, r"sum to 1: .* sum 1\.2"),
        (FRAME, {"sex": {"f": 51, "m": 49}}, {}, ValueError, "sum 100"),
        (FRAME, {"age": 30.0}, {"tolerance": {"agee": 1.0}}, ValueError, "tolerance must name col"),
        (FRAME, {"age": 30.0}, {"tolerance": -1.0}, ValueError, "tolerance must not be negative"),
        (X, [30.0], {"tolerance": [-1.0]}, ValueError, "tolerance must not be negative"),
        (X, [30.0], {"tolerance": [1.0, 1.0]}, ValueError, "tolerance must be a number or have"),
        (FRAME, {"age": 30.0}, {"total": 0.0}, ValueError, "total must be positive"),
        (FRAME, {"age": 30.0}, {"by": "place"}, ValueError, "there is no place. The columns are"),
        (FRAME, {"f": {}, "x": {}}, {"by": "sex"}, ValueError, "none for m, and there is no .* x"),
        (X, [30.0], {"by": [1, 2]}, ValueError, "one label for each of the 3 rows: got 2"),
        (X, [30.0], {"by": [1, None, 2]}, ValueError, "label for every row: .* in row 1"),
        (X, [30.0], {"by": [1, "a", 2]}, TypeError, "labels of one kind"),
        (X, [[30.0]] * 3, {"by": [1, 2, 3]}, ValueError, "targets must have one mean"),
        (X, np.ones((3, 1)), {"by": [1, 2, 3]}, ValueError, "or say whose they are"),
        (FRAME, {"age": "old"}, {}, TypeError, "the target of age must be a number"),
        (FRAME.assign(age=[1.0, np.nan, 2.0]), {"age": 1.5}, {}, ValueError, "infinite .* row 1"),
    ],
)
def test_bad_input(covariates, targets, options, error, message):
    with pytest.raises(error, match=message):
        balance(covariates, targets, **options)
