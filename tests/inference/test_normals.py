"""Intervals for fitted normals: right for small samples, and only where the law is known."""

import copy
import math
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.covariance import LedoitWolf

import infogeo
from infogeo import multivariate_normal, normal
from infogeo.inference import _normals, diagonal_interval, interval
from infogeo.manifolds import Poisson
from infogeo.multivariate_normal import MultivariateNormal, Tangent
from infogeo.normal import Normal


def fitted(rng, n, mean, cov):
    return MultivariateNormal.fit(rng.multivariate_normal(mean, cov, size=n))


# ---------------------------------------------------------------- sizes of samples


def test_fit_keeps_the_number_of_samples(rng, tmp_path):
    labels = ["a"] * 12 + ["b"] * 20
    batch = MultivariateNormal.fit(rng.normal(size=(32, 3)), labels)
    assert batch.num_samples.tolist() == [12, 20]
    components = Normal.fit(rng.normal(size=(32, 2)), labels)
    assert components.num_samples.tolist() == [[12, 12], [20, 20]]
    assert Normal.fit([1.0, 2.0, 4.0]).num_samples == 3
    assert batch[1].num_samples == 20
    assert batch[torch.tensor([1, 0])].num_samples.tolist() == [20, 12]
    assert components[..., 0].num_samples.tolist() == [12, 20]
    assert MultivariateNormal.stack([batch, batch]).num_samples.tolist() == [[12, 20]] * 2
    for ending in ("npz", "json"):
        infogeo.save(batch, tmp_path / f"batch.{ending}")
        assert infogeo.load(tmp_path / f"batch.{ending}").num_samples.tolist() == [12, 20]
    for copied in (copy.deepcopy(batch), pickle.loads(pickle.dumps(batch))):
        assert copied.num_samples.tolist() == [12, 20]
    with pytest.raises(ValueError, match="read-only"):
        batch.num_samples[0] = 3


def test_what_is_no_likeliest_estimate_has_no_number_of_samples(rng, tmp_path):
    samples = rng.normal(size=(30, 3))
    shrunken = [MultivariateNormal.fit(samples, shrinkage=x) for x in (0.1, LedoitWolf())]
    own = MultivariateNormal(np.zeros(3), np.eye(3))
    likeliest = MultivariateNormal.fit(samples)
    between = multivariate_normal.fisher_rao_geodesic(likeliest, own, 0.5)
    mixed = MultivariateNormal.stack([likeliest, own])
    for point in (*shrunken, own, between, mixed):
        assert point.num_samples is None
    infogeo.save(own, tmp_path / "own.npz")
    assert infogeo.load(tmp_path / "own.npz").num_samples is None


# ---------------------------------------------------------------- what is drawn


@pytest.mark.parametrize(("n", "d"), [(5, 3), (40, 3), (12.5, 2)])
def test_drawn_covariances_have_no_bias_in_their_log_determinant(n, d):
    drawn = _normals._drawn(0, n, (4000, 1, d))
    logs = 2.0 * np.log(np.linalg.det(drawn.factor[:, 0]))
    assert abs(logs.mean()) < 4.0 * logs.std() / math.sqrt(4000)
    cov = drawn.factor @ drawn.factor.swapaxes(-1, -2) / _normals._unbiased_scale(n, d) ** 2
    if n > 10:  # that of maximum likelihood, (n - 1) / n on average
        np.testing.assert_allclose(cov[:, 0].mean(0), (n - 1) / n * np.eye(d), atol=0.05)
    np.testing.assert_allclose(drawn.mean[:, 0].std(0), 1.0 / math.sqrt(n), rtol=0.05)


@pytest.mark.parametrize("d", [1, 2, 4])
def test_the_length_of_a_lift(d, rng):
    mean = rng.normal(size=(6, 1, d))
    factor = np.tril(rng.normal(size=(6, 1, d, d))) + 2.0 * np.eye(d)
    found = _normals._lift_length(mean, factor, np.linalg.inv(factor))
    origin = MultivariateNormal(np.zeros(d), np.eye(d))
    ends = MultivariateNormal(mean[:, 0], (factor @ factor.swapaxes(-1, -2))[:, 0])
    bounds = multivariate_normal.distance_bounds(origin, ends)
    np.testing.assert_allclose(found, bounds.upper, rtol=1e-12)
    if d == 1:
        exact = normal.fisher_rao_distance(Normal(0.0, 1.0), Normal(mean, abs(factor[..., 0])))
        np.testing.assert_allclose(found, exact[:, 0, 0], rtol=1e-12)


# ---------------------------------------------------------------- what the intervals hold


def test_coverage_of_univariate_normals(rng):
    """Samples of five: 100 pairs at 1.5, and 100 equal ones, of which 2.5 % may say otherwise."""
    a = Normal.fit(rng.normal(size=(5, 100)))
    equal = interval(a, Normal.fit(3.0 * rng.normal(size=(5, 100))), size_b=5)
    other = normal.exp_map(Normal(0.0, 1.0), normal.Tangent(0.9, math.sqrt((1.5**2 - 0.81) / 2)))
    b = Normal.fit(other.mean + other.std * rng.normal(size=(5, 100)))
    apart = float(normal.fisher_rao_distance(Normal(0.0, 1.0), other))
    assert apart == pytest.approx(1.5)
    found = interval(a, b)
    held = (found.lower <= 1.5) & (found.upper >= 1.5)
    assert held.mean() >= 0.87  # of 100 at .95, fewer once in 1,000
    assert 0.35 < (found.estimate > 1.5).mean() < 0.65
    log_ratio = math.sqrt(2.0) * math.log(3.0)
    held = (equal.lower <= log_ratio) & (equal.upper >= log_ratio)
    assert held.mean() >= 0.87
    same = interval(a, Normal.fit(rng.normal(size=(5, 100))))
    assert (same.lower > 0.0).mean() <= 0.08  # of 100 at .025, more once in 1,000
    assert (same.distance > 0.5).mean() > 0.7  # what the plug-in says of equal distributions


@pytest.mark.parametrize(("d", "n", "m"), [(2, 4, 4), (5, 12, 100)])
def test_coverage_in_more_dimensions(d, n, m, rng):
    origin = MultivariateNormal(np.zeros(d), np.eye(d))
    v = Tangent(np.ones(d), np.diag(np.linspace(-1.0, 1.0, d)))
    b = multivariate_normal.exp_map(origin, 1.2 / float(multivariate_normal.norm(origin, v)) * v)
    pairs = [
        (fitted(rng, n, np.zeros(d), np.eye(d)), fitted(rng, m, b.mean, b.cov)) for _ in range(60)
    ]
    found = interval(*(MultivariateNormal.stack(side) for side in zip(*pairs, strict=True)))
    held = (found.lower <= 1.2) & (found.upper >= 1.2)
    assert held.mean() >= 0.85  # of 60 at .95, fewer once in 1,000


@pytest.mark.parametrize(("size_a", "size_b"), [(4e6, 4e6), (2e6, math.inf)])
def test_large_samples_agree_with_the_first_order(size_a, size_b):
    """At n = m = 4e6 a distance is known to 1.96 sqrt(2 / n), to both sides."""
    a = MultivariateNormal([0.0, 0.0], np.diag([1.0, 2.0]))
    b = MultivariateNormal([1.0, 0.5], [[1.0, 0.3], [0.3, 0.8]])
    found = interval(a, b, size_a=size_a, size_b=size_b)
    distance, half = float(found.distance), 1.959964 * math.sqrt(1.0 / 2e6)
    assert float(found.estimate) == pytest.approx(distance, abs=half / 15)
    ends = [float(found.lower), float(found.upper)]
    np.testing.assert_allclose(ends, [distance - half, distance + half], atol=half / 10)


def test_five_features_of_fifty_samples():
    """Equal normals: the plug-in says .93 rad, which is nothing (the page says so)."""
    rng = np.random.default_rng(0)
    a, b = (MultivariateNormal.fit(rng.normal(size=(50, 5))) for _ in range(2))
    found = interval(a, b)
    assert 0.8 < float(found.distance) < 1.1
    assert float(found.lower) == 0.0
    assert float(found.estimate) < 0.4


def test_units_and_order_do_not_count(rng):
    x, y = rng.normal(size=(20, 3)), 0.5 + 1.5 * rng.normal(size=(35, 3))
    found = interval(MultivariateNormal.fit(x), MultivariateNormal.fit(y))
    matrix, shift = rng.normal(size=(3, 3)) + 3.0 * np.eye(3), np.array([1e3, -5.0, 0.0])
    moved = interval(*(MultivariateNormal.fit(shift + z @ matrix.T) for z in (x, y)))
    swapped = interval(MultivariateNormal.fit(y), MultivariateNormal.fit(x))
    for name in ("estimate", "lower", "upper", "distance"):
        expected = float(getattr(found, name))
        assert float(getattr(moved, name)) == pytest.approx(expected, rel=1e-6)
        assert float(getattr(swapped, name)) == pytest.approx(expected, rel=1e-6)


def test_batches_and_libraries(rng):
    samples = rng.normal(size=(30, 2))
    a, b = Normal.fit(samples), Normal.fit(1.0 + samples[:20] ** 3)
    found = interval(a, b)
    assert found.lower.shape == (2,)
    assert not found.unseen.any()
    one = interval(a[1], b[1])
    assert float(one.upper) == pytest.approx(float(found.upper[1]))
    tensors = [Normal.fit(torch.tensor(x, dtype=torch.float32)) for x in (samples, samples + 1.0)]
    expected = interval(a, Normal.fit(samples + 1.0))
    np.testing.assert_allclose(interval(*tensors).upper, expected.upper, rtol=1e-3)
    table = interval(a, b[:, None])
    assert table.estimate.shape == (2, 2)
    frames = [pd.DataFrame(x, columns=["u", "v"]) for x in (samples, samples[::2])]
    fits = [MultivariateNormal.fit(frame) for frame in frames]
    turned = MultivariateNormal.fit(frames[1][["v", "u"]])
    assert float(interval(fits[0], turned).upper) == pytest.approx(float(interval(*fits).upper))


def test_diagonal_normals(rng):
    a, b = Normal.fit(rng.normal(size=(15, 4))), Normal.fit(rng.normal(size=(25, 4)) + 0.8)
    found = diagonal_interval(a, b)
    assert found.estimate.shape == ()
    assert float(found.distance) == pytest.approx(float(normal.diagonal_fisher_rao_distance(a, b)))
    assert 0.0 < float(found.lower) < float(found.estimate) < float(found.distance)
    single = diagonal_interval(a[:1], b[:1])
    alone = interval(a[0], b[0])
    assert float(single.upper) == pytest.approx(float(alone.upper))
    held = []
    for _ in range(40):
        x, y = Normal.fit(rng.normal(size=(6, 3))), Normal.fit(math.e * rng.normal(size=(9, 3)))
        one = diagonal_interval(x, y)
        held.append(one.lower <= math.sqrt(6.0) <= one.upper)
    assert np.mean(held) >= 0.82  # as above


def test_equal_estimates(rng):
    a = MultivariateNormal.fit(rng.normal(size=(30, 2)))
    found = interval(a, a)
    assert (float(found.lower), float(found.estimate)) == (0.0, 0.0)
    assert 0.0 < float(found.upper) < 1.0


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda a: (a, MultivariateNormal(a.mean, a.cov)), {}, "size_b must say how many samples"),
        (lambda a: (a, a), {"size_a": 4}, "size_a must be at least 5: two samples more"),
        (lambda a: (a, a), {"size_a": float("nan")}, "size_a must be at least 5"),
        (lambda a: (a, a), {"size_b": True}, "size_b must be at least 5"),
        (lambda a: (a, a), {"size_a": math.inf, "size_b": math.inf}, "both are inf"),
        (lambda a: (a, a), {"level": 0.999}, r"level must be at most 0\.995"),
        (lambda a: (Poisson([1.0]), Poisson([2.0])), {}, "bootstrap"),
    ],
)
def test_what_is_refused(make, options, message, rng):
    with pytest.raises(ValueError, match=message):
        interval(*make(MultivariateNormal.fit(rng.normal(size=(9, 3)))), **options)


def test_other_kinds_of_points_are_refused(rng):
    a = MultivariateNormal.fit(rng.normal(size=(9, 3)))
    for other in ([1, 2, 3], Normal(0.0, 1.0)):
        for pair in ((a, other), (other, a)):
            with pytest.raises(TypeError, match=r"counts_[ab] must be a (Multivariate)?Normal"):
                interval(*pair)


def test_classes_and_columns_are_matched_by_name(rng):
    labels = pd.Series(["x"] * 12 + ["y"] * 30)
    frame = pd.DataFrame(rng.normal(size=(42, 2)), columns=["u", "v"])
    batch, turned = Normal.fit(frame, labels), Normal.fit(frame[["v", "u"]] + 1.0, labels)
    found = interval(batch, turned)
    expected = interval(batch, Normal.fit(frame + 1.0, labels))
    np.testing.assert_allclose(found.upper, expected.upper)
    assert found.upper.shape == (2, 2)


@pytest.mark.parametrize("num_features", [1, 3])
def test_which_sample_is_first_does_not_matter(num_features, rng):
    """Also where both have the same size, and in units of their own."""
    x, y = rng.normal(size=(30, num_features)), 0.3 + 1.2 * rng.normal(size=(30, num_features))
    a, b = MultivariateNormal.fit(x), MultivariateNormal.fit(y)
    found = interval(a, b)
    for other in (
        interval(b, a),
        interval(*(MultivariateNormal.fit(1e5 * z[:, ::-1]) for z in (y, x))),
    ):
        for name in ("estimate", "lower", "upper"):
            assert float(getattr(other, name)) == pytest.approx(
                float(getattr(found, name)), rel=1e-6
            )


def test_the_order_of_components_does_not_matter(rng):
    a, b = Normal.fit(rng.normal(size=(20, 4))), Normal.fit(0.2 + rng.normal(size=(30, 4)))
    found = diagonal_interval(a, b)
    order = [2, 0, 3, 1]
    moved = (Normal(x.mean[order], x.std[order]) for x in (a, b))
    other = diagonal_interval(*moved, size_a=20, size_b=30)
    assert float(other.upper) == pytest.approx(float(found.upper), rel=1e-9)
    assert float(other.estimate) == pytest.approx(float(found.estimate), rel=1e-9)
