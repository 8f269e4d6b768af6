"""Standard errors: against closed forms and against samples drawn anew."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

import infogeo
from infogeo import normal, simplex
from infogeo._status import Status
from infogeo.inference import (
    bootstrap,
    distance_standard_errors,
    jackknife,
    mean_standard_error,
)
from infogeo.mean import frechet_mean
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal


def test_jackknife_of_means(rng):
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(50, 2))
    found = jackknife(lambda x, y: x.mean(0) - y.mean(0), x, y)
    expected = np.sqrt(x.var(0, ddof=1) / 30 + y.var(0, ddof=1) / 50)
    np.testing.assert_allclose(found.standard_error, expected, rtol=1e-12)
    np.testing.assert_allclose(found.bias, 0.0, atol=1e-12)
    assert found.num_groups == 80
    assert found.status is Status.CONVERGED


def test_jackknife_finds_the_bias_of_a_variance(rng):
    x = rng.normal(size=20)
    found = jackknife(np.var, x)
    assert found.value - found.bias == pytest.approx(x.var(ddof=1))


def test_groups_of_rows(rng):
    x = rng.normal(size=5000)
    found = jackknife(np.mean, x, num_groups=500)
    assert found.num_groups == 500
    assert float(found.standard_error) == pytest.approx(x.std() / math.sqrt(5000), rel=0.15)


def test_bootstrap_of_a_mean(rng):
    """Given the sample, the variance of the mean of drawn rows is var / n."""
    x = rng.exponential(size=40)
    found = bootstrap(np.mean, x, num_draws=4000)
    assert float(found.standard_error) == pytest.approx(x.std() / math.sqrt(40), rel=0.06)
    assert abs(found.bias) < 4.0 * found.standard_error / math.sqrt(4000)
    assert found.draws.shape == (4000,)


def test_bootstrap_in_batches(rng):
    p, q = rng.dirichlet(np.ones(3), size=25), rng.dirichlet(np.ones(3), size=31)

    def statistic(p, q):
        return simplex.fisher_rao_distance(p.mean(-2), q.mean(-2))

    one, many = (bootstrap(statistic, p, q, num_draws=400, batch_size=b) for b in (None, 64))
    assert many.draws.shape == (400,)
    assert many.value == pytest.approx(float(one.value))
    assert float(many.standard_error) == pytest.approx(float(one.standard_error), rel=0.2)
    again = bootstrap(statistic, p, q, num_draws=400, batch_size=64)
    np.testing.assert_array_equal(again.draws, many.draws)


def test_other_libraries_and_frames(rng):
    x = rng.normal(size=(20, 2))
    expected = jackknife(lambda x: x.mean(0), x)
    tensors = jackknife(lambda x: x.mean(0), torch.tensor(x, requires_grad=True))
    np.testing.assert_allclose(tensors.standard_error, expected.standard_error, rtol=1e-12)
    frame = jackknife(lambda x: x.mean(axis=0), pd.DataFrame(x))
    np.testing.assert_allclose(frame.standard_error, expected.standard_error, rtol=1e-12)


def test_the_statistic_gets_what_was_given(rng):
    frame = pd.DataFrame({"size": rng.normal(size=30), "kind": list("abc") * 10})
    for resample in (bootstrap, jackknife):
        found = resample(lambda x: x["size"][x["kind"] == "a"].mean(), frame)
        assert found.value == frame["size"][::3].mean()
        polars = resample(lambda x: (x["kind"] == "a").mean(), pl.DataFrame(frame))
        labels = resample(lambda x: (x == "a").mean(), frame["kind"].to_numpy())
        texts = resample(lambda x: (x == "a").mean(), ["a", "b", "c"] * 10)
        for other in (polars, labels, texts):
            assert other.value == pytest.approx(1 / 3)
            assert other.standard_error == pytest.approx(math.sqrt(2 / 9 / 30), rel=0.1)
        counted = resample(lambda x: float(np.bincount(x)[0]), np.repeat([0, 1], 15))
        assert counted.value == 15.0


@pytest.mark.parametrize("scale", [1e-300, 1e-180, 1.0, 1e180, 1e300])
def test_errors_of_any_scale(scale, rng):
    x = rng.normal(size=30)
    for resample in (bootstrap, jackknife):
        found, expected = (resample(np.mean, y) for y in (x * scale, x))
        for name in ("standard_error", "bias"):
            ours, theirs = (float(getattr(y, name)) for y in (found, expected))
            assert ours / scale == pytest.approx(theirs, rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("num_groups", [7, 9, 10])
def test_groups_of_unequal_sizes(num_groups, rng):
    """Of a mean the bias is 0, and the error that of the means of groups with their weights."""
    x = 1e3 + rng.normal(size=25)
    found = jackknife(np.mean, x, num_groups=num_groups)
    assert abs(found.bias) < 1e-12 * abs(found.value)
    many = [
        float(jackknife(np.mean, x, num_groups=num_groups, seed=i).standard_error)
        for i in range(60)
    ]
    assert np.sqrt(np.mean(np.square(many))) == pytest.approx(x.std(ddof=1) / 5.0, rel=0.1)


def test_values_that_are_not_finite():
    x = np.array([0.0, 0.0, 1.0])
    with np.errstate(divide="ignore"):
        assert bootstrap(lambda x: 1.0 / x.sum(), x).status is Status.UNDECIDED
        assert jackknife(lambda x: 1.0 / x.sum(), x).status is Status.UNDECIDED
        assert "not all of them finite" in str(bootstrap(lambda x: 1.0 / x.sum(), x))


def test_the_mean_of_two_points():
    """Without one point the mean is the other one, half their distance from the mean of both."""
    points = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    found = mean_standard_error(points)
    half = float(simplex.fisher_rao_distance(*points)) / 2
    assert found.standard_error == pytest.approx(half, rel=1e-9)
    assert found.spread == pytest.approx(half, rel=1e-9)


def test_standard_errors_of_means_against_new_samples(rng):
    center = frechet_mean(rng.dirichlet([3.0, 2.0, 1.0], size=20_000)).point
    samples = rng.dirichlet([3.0, 2.0, 1.0], size=(200, 50))
    means = frechet_mean(samples, axis=1).point
    actual = math.sqrt(np.mean(simplex.fisher_rao_distance(center, means) ** 2))
    found = [mean_standard_error(samples[i]).standard_error for i in range(4)]
    assert np.mean(found) == pytest.approx(actual, rel=0.2)


def test_means_of_other_spaces(rng):
    points = Normal(rng.normal(size=12), rng.uniform(1.0, 2.0, size=12))
    found = mean_standard_error(points, space=normal)
    assert isinstance(found.point, Normal)
    assert 0.0 < found.standard_error < found.spread
    groups = mean_standard_error(points, space="normal", num_groups=4)
    assert groups.num_groups == 4


def test_errors_of_distances(rng):
    shares = rng.multinomial(500, [0.2, 0.3, 0.5], size=3) / 500
    found = distance_standard_errors(shares, [500, 500, 2000])
    np.testing.assert_allclose(found.distance[0, 1], simplex.fisher_rao_distance(*shares[:2]))
    expected = math.sqrt(1 / 500 + 1 / 2000)
    np.testing.assert_allclose(found.standard_error[0, 2], expected, rtol=1e-14)
    assert found.status is Status.UNDECIDED  # all are of one distribution
    assert len(found.to_frame()) == 9


def test_sizes_go_by_name():
    shares = pd.DataFrame([[0.5, 0.5], [0.2, 0.8], [0.6, 0.4]], index=list("abc"))
    sizes = pd.Series([10, 20, 30], index=list("cba"))
    expected = [[0.0, math.sqrt(1 / 30 + 1 / 20), math.sqrt(1 / 30 + 1 / 10)]]
    found = distance_standard_errors(shares, sizes)
    np.testing.assert_allclose(found.standard_error[:1], expected)
    normals = Normal(shares[0], shares[1])
    found = distance_standard_errors(normals, sizes, space=normal)
    np.testing.assert_allclose(found.standard_error[:1], expected)
    with pytest.raises(ValueError, match="same names"):
        distance_standard_errors(shares, sizes.rename({"a": "z"}))
    known = distance_standard_errors(shares, [10, math.inf, math.inf])
    assert known.standard_error[1, 2] == 0.0


def test_errors_of_distances_of_fitted_points_against_new_samples(rng):
    """Far normals: the first order is the same in every space."""
    fits = [
        Normal.stack(
            [Normal.fit(rng.normal(size=100)), Normal.fit(2.0 + 3.0 * rng.normal(size=80))]
        )
        for _ in range(300)
    ]
    found = [distance_standard_errors(points, space=normal) for points in fits]
    actual = np.std([table.distance[0, 1] for table in found])
    assert found[0].standard_error[0, 1] == pytest.approx(math.sqrt(1 / 100 + 1 / 80))
    assert actual == pytest.approx(found[0].standard_error[0, 1], rel=0.15)
    assert found[0].is_far[0, 1]
    assert found[0].status is Status.CONVERGED


def test_what_is_shown(rng, tmp_path):
    x = rng.dirichlet(np.ones(3), size=20)
    results = [
        bootstrap(np.mean, x),
        jackknife(lambda x: x.mean(0), x),
        mean_standard_error(x),
        distance_standard_errors(x[:4], [10] * 4),
    ]
    starts = ["0.33", "Jackknife: a statistic of shape (3,)", "standard error", "DistanceTable: 4"]
    rows = [1, 3, 1, 16]
    for i, (found, start, length) in enumerate(zip(results, starts, rows, strict=True)):
        assert str(found).startswith(start)
        assert len(found.to_frame()) == length
        infogeo.save(found, tmp_path / f"{i}.npz")
        assert str(infogeo.load(tmp_path / f"{i}.npz")) == str(found)


@pytest.mark.parametrize(
    "index", [["may", "june", "july"], pd.date_range("2026-05-01", periods=3), [7, 5, 3]]
)
def test_frames_of_distances_keep_the_names_of_the_rows(index, tmp_path):
    shares = pd.DataFrame([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.5, 0.2, 0.3]], index=index)
    found = distance_standard_errors(shares, [400, 400, 100])
    frame = found.to_frame()
    assert frame.index.get_level_values("first").unique().tolist() == list(index)
    assert frame.index.get_level_values("second")[:3].tolist() == list(index)
    assert frame.loc[(index[1], index[2]), "distance"] == found.distance[1, 2]
    infogeo.save(found, tmp_path / "found.npz")
    assert infogeo.load(tmp_path / "found.npz").to_frame().equals(frame)
    for nameless in (shares.reset_index(drop=True), shares.to_numpy()):
        found = distance_standard_errors(nameless, [400, 400, 100])
        assert found.to_frame().index[1] == (0, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap(np.mean, np.zeros((0, 2))), r"samples\[0\] must have at least 2 rows"),
        (lambda: bootstrap(np.mean, [1.0]), r"samples\[0\] must have at least 2 rows"),
        (lambda: jackknife(np.mean, [1.0]), r"samples\[0\] must have at least 2 rows"),
        (
            lambda: bootstrap(np.unique, [1.0, 2.0, 3.0]),
            "statistic must return arrays of one shape",
        ),
        (
            lambda: bootstrap(np.mean, [1.0, 2.0], batch_size=2),
            "statistic must return an array with",
        ),
        (lambda: bootstrap(np.mean, [1.0, 2.0], seed=np.random.default_rng()), "got a Generator"),
        (
            lambda: distance_standard_errors([[5, 3], [2, 8]], [8, 10]),
            "points must hold probabilit",
        ),
        (lambda: bootstrap(np.mean, [1.0, 2.0], num_draws=1), "num_draws must be an integer"),
        (lambda: bootstrap(np.mean, [1.0, 2.0], batch_size=0), "batch_size must be an integer"),
        (lambda: jackknife(np.mean, [1.0, 2.0], num_groups=1), "num_groups must be an integer"),
        (lambda: mean_standard_error([[0.5, 0.5]]), "points must be a batch of at least 2"),
        (lambda: mean_standard_error([0.5, 0.5]), "points must be a batch of at least 2"),
        (lambda: distance_standard_errors([[0.5, 0.5]] * 2), "sizes must say how many"),
        (lambda: distance_standard_errors([[0.5, 0.5]] * 2, [5]), "sizes must have one number"),
        (lambda: distance_standard_errors([[0.5, 0.5]] * 2, [5, 0]), "sizes must have one number"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("value", [1j, "a", None, {"a": 1}, [1, [2, 3]]])
@pytest.mark.parametrize("resample", [bootstrap, jackknife])
def test_statistics_that_are_no_real_numbers(resample, value):
    with pytest.raises(TypeError, match="statistic must return a real number or an array of such"):
        resample(lambda x: value, [1.0, 2.0])


def test_batches_of_frames_are_refused():
    with pytest.raises(TypeError, match=r"samples\[0\] must be an array.*to_numpy"):
        bootstrap(np.mean, pd.Series([1.0, 2.0]), batch_size=3)


def test_samples_have_to_be_given():
    with pytest.raises(TypeError, match="samples must be given"):
        bootstrap(np.mean)


def test_fitted_normals_carry_their_sizes(rng):
    labels = np.repeat(["a", "b"], [30, 50])
    points = MultivariateNormal.fit(rng.normal(size=(80, 2)), labels)
    found = distance_standard_errors(points, space="multivariate_normal")
    assert found.standard_error[0, 1] == pytest.approx(math.sqrt(1 / 30 + 1 / 50))
