"""geomstats' algorithms on infogeo's metric."""

import numpy as np
import pytest

pytest.importorskip("geomstats")

from geomstats.information_geometry.categorical import CategoricalDistributions
from geomstats.learning.frechet_mean import FrechetMean

from infogeo import mean, simplex
from infogeo.interop.geomstats import categorical_distributions


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
