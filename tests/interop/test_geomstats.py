"""geomstats' algorithms on infogeo's metric."""

import numpy as np
import pytest

pytest.importorskip("geomstats")

from geomstats.information_geometry.categorical import CategoricalDistributions
from geomstats.information_geometry.normal import UnivariateNormalDistributions
from geomstats.learning.frechet_mean import FrechetMean
from geomstats.learning.kmeans import RiemannianKMeans
from geomstats.learning.pca import TangentPCA

from infogeo import mean, normal, simplex
from infogeo.interop.geomstats import categorical_distributions, normal_distributions
from infogeo.normal import Normal


def test_the_two_metrics_agree_on_spread_points(rng):
    p, q = rng.dirichlet(np.ones(4), (2, 5))
    ours, theirs = categorical_distributions(4), CategoricalDistributions(3)
    np.testing.assert_allclose(ours.metric.dist(p, q), theirs.metric.dist(p, q), rtol=1e-12)
    v = ours.metric.log(q, p)
    np.testing.assert_allclose(v, theirs.metric.log(q, p), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ours.metric.exp(v, p), q, rtol=1e-10)
    np.testing.assert_allclose(
        ours.metric.inner_product(v, v, p), theirs.metric.inner_product(v, v, p), rtol=1e-10
    )


def test_near_points_keep_their_digits():
    p = np.array([0.5, 0.5])
    q = p + np.array([2.0**-40, -(2.0**-40)])
    np.testing.assert_allclose(categorical_distributions(2).metric.dist(p, q), 2.0**-39, rtol=1e-14)


def test_an_algorithm_of_geomstats_runs_on_it(rng):
    points = rng.dirichlet(np.ones(4), 6)
    center = FrechetMean(categorical_distributions(4)).fit(points).estimate_
    exact = mean.frechet_mean(points).point
    assert simplex.fisher_rao_distance(center, exact) < 0.01  # as far as its own stopping rule


def test_tangent_pca_is_the_pca_of_log_maps(rng):
    points = rng.dirichlet([8.0, 3.0, 2.0, 1.0], 40)
    center = mean.frechet_mean(points).point
    pca = TangentPCA(categorical_distributions(4), n_components=3)
    pca.fit(points, base_point=center)
    v = simplex.log_map(center, points)
    singular = np.linalg.svd(v - v.mean(axis=0), compute_uv=False)[:3]
    np.testing.assert_allclose(pca.explained_variance_, singular**2 / 39, rtol=1e-10)


def test_k_means_finds_two_groups_and_their_means(rng):
    groups = [rng.dirichlet(alpha, 20) for alpha in ([30.0, 2.0, 2.0], [2.0, 30.0, 2.0])]
    points = np.concatenate(groups)
    means = RiemannianKMeans(categorical_distributions(3), n_clusters=2, init=points[[0, 20]])
    means.fit(points)
    first = means.labels_[:20]
    assert len(set(first)) == len(set(means.labels_[20:])) == 1
    assert first[0] != means.labels_[20]
    for group, label in zip(groups, (first[0], means.labels_[20]), strict=True):
        exact = mean.frechet_mean(group).point
        assert simplex.fisher_rao_distance(means.cluster_centers_[label], exact) < 0.05


def test_normals_agree_with_geomstats_and_keep_their_digits(rng):
    a, b = rng.normal(size=(2, 5, 2))
    a[:, 1], b[:, 1] = np.exp(a[:, 1]), np.exp(b[:, 1])
    ours, theirs = normal_distributions().metric, UnivariateNormalDistributions().metric
    np.testing.assert_allclose(ours.dist(a, b), theirs.dist(a, b), rtol=1e-10)
    v = ours.log(b, a)
    np.testing.assert_allclose(v, theirs.log(b, a), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(ours.exp(v, a), b, rtol=1e-11)
    np.testing.assert_allclose(ours.squared_norm(v, a), ours.squared_dist(a, b), rtol=1e-11)
    near = a + np.array([1e-9, 0.0])
    np.testing.assert_allclose(ours.dist(a, near), (near - a)[:, 0] / a[:, 1], rtol=1e-12)


def test_frechet_mean_of_normals(rng):
    points = np.stack([rng.normal(size=8), np.exp(rng.normal(size=8))], axis=-1)
    center = FrechetMean(normal_distributions()).fit(points).estimate_
    exact = mean.frechet_mean(Normal(points[:, 0], points[:, 1]), space=normal).point
    assert normal.fisher_rao_distance(Normal(*center), exact) < 0.01
