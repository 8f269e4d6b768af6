"""Dirichlet and beta distributions against mpmath: shooting, closed forms, sums over densities."""

import json
import math
from pathlib import Path

import mpmath
import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch import distributions

import infogeo
from infogeo import manifolds
from infogeo.interop.distributions import from_distribution
from infogeo.manifolds import Beta, Dirichlet, beta, dirichlet
from infogeo.manifolds.beta import SPACE as BETA
from infogeo.manifolds.dirichlet import SPACE, Tangent
from infogeo.mean import frechet_mean
from infogeo.neighbors import nearest, pairwise_distance
from infogeo.pullback import heads

ORACLES = json.loads((Path(__file__).parent.parent / "oracles" / "dirichlet.json").read_text())
PAIRS = [(c["a"], c["b"], c["distance"]) for c in ORACLES["dirichlet"] + ORACLES["published"]]
# Pairs for formulas: far, near, large, tiny, on one ray.
CLOSED = [
    ([1.0, 2.0, 3.0], [3.0, 1.0, 2.0]),
    ([1e-3, 2.0, 1e6], [2.0, 1e-3, 1e5]),
    ([1.0, 2.0, 3.0], [1.0 + 1e-12, 2.0, 3.0]),
    ([1e6, 2e6], [1e6 + 1.0, 2e6 - 1.0]),
    ([1e6, 2e6], [1.1e6, 2.2e6]),
    ([1e-3, 1e-3], [1e-3 * (1.0 + 1e-8), 1e-3]),
    ([1e6, 1e6], [1e-3, 1e-3]),
    ([5.0, 5.0], [5.0, 20.0]),
]


def exact(values):
    return [mpmath.mpf(float(x)) for x in values]


def log_partition(a):
    return mpmath.fsum(mpmath.loggamma(x) for x in a) - mpmath.loggamma(mpmath.fsum(a))


def mean_logarithms(a):
    return [mpmath.digamma(x) - mpmath.digamma(mpmath.fsum(a)) for x in a]


def exact_kl(a, b):
    a, b = exact(a), exact(b)
    steps = zip(a, b, mean_logarithms(a), strict=True)
    return log_partition(b) - log_partition(a) - mpmath.fsum((y - x) * e for x, y, e in steps)


def exact_metric(a, u, v):
    a, u, v = exact(a), exact(u), exact(v)
    own = mpmath.fsum(mpmath.psi(1, x) * y * z for x, y, z in zip(a, u, v, strict=True))
    return own - mpmath.psi(1, mpmath.fsum(a)) * mpmath.fsum(u) * mpmath.fsum(v)


def draw(rng, size, k=3, low=1e-3, high=1e6):
    return np.exp(rng.uniform(np.log(low), np.log(high), size=(size, k)))


# ---------------------------------------------------------------- distances


@pytest.mark.parametrize(("a", "b", "expected"), PAIRS)
def test_distances_of_oracles(a, b, expected):
    """Shooting with 40 digits, and numbers of 25 digits from another program."""
    expected = mpmath.mpf(expected)
    d = manifolds.fisher_rao_distance(Dirichlet(a), Dirichlet(b))
    assert abs(d - expected) <= 1e-12 * expected
    assert d == pytest.approx(manifolds.fisher_rao_distance(Dirichlet(b), Dirichlet(a)), rel=1e-12)
    found = manifolds.connect(Dirichlet(a), Dirichlet(b))
    assert found.lower <= expected <= found.upper
    assert found.upper - found.lower <= 2e-12 * found.upper
    if len(a) == 2:
        assert manifolds.fisher_rao_distance(Beta(*a), Beta(*b)) == pytest.approx(d, rel=1e-15)


def test_pairs_where_another_library_is_far_off():
    """geomstats 2.8 says 136.2 and 16.26."""
    d = infogeo.fisher_rao_distance(Beta(3.0, 4.0), Beta(3e4, 4e4))
    assert d == pytest.approx(6.5633, abs=5e-5)
    a, b = Dirichlet([0.01, 1.0, 50.0]), Dirichlet([50.0, 1.0, 0.01])
    assert infogeo.fisher_rao_distance(a, b) == pytest.approx(9.424, abs=5e-4)


def test_distances_to_equal_and_near_points(rng):
    a = draw(rng, 20)
    assert (manifolds.fisher_rao_distance(Dirichlet(a), Dirichlet(a)) == 0.0).all()
    for h in (1e-9, 1e-12):
        b = a * (1.0 + h * rng.normal(size=a.shape))
        d = manifolds.fisher_rao_distance(Dirichlet(a), Dirichlet(b))
        for x, y, seen in zip(a, b, d, strict=True):
            # The metric in the middle is right to second order.
            step = [q - p for p, q in zip(exact(x), exact(y), strict=True)]
            own = [mpmath.mpf(p) + s / 2 for p, s in zip(exact(x), step, strict=True)]
            metric = mpmath.fsum(mpmath.psi(1, p) * s * s for p, s in zip(own, step, strict=True))
            metric -= mpmath.psi(1, mpmath.fsum(own)) * mpmath.fsum(step) ** 2
            assert seen == pytest.approx(float(mpmath.sqrt(metric)), rel=2e-13 + 1e7 * h * h)


@pytest.mark.parametrize(("k", "low", "high"), [(2, 1e-2, 1e4), (3, 0.1, 100.0), (6, 1e-2, 1e3)])
def test_coarse_brackets_hold_what_fine_ones_say(rng, k, low, high):
    """A curve that is far from the geodesic still proves a bracket."""
    a, b = (Dirichlet(draw(rng, 6, k, low, high)) for _ in range(2))
    coarse = manifolds.connect(a, b, rtol=0.3, throw=False)
    fine = manifolds.connect(a, b, rtol=1e-7, throw=False)
    assert (coarse.turning > fine.turning).any()
    assert (coarse.lower <= fine.distance).all()
    assert (fine.distance <= coarse.upper).all()


def check_aggregation(rng, size, k, low, high):
    """To know less is to be nearer: shares that are added up are a Dirichlet distribution, too."""
    a, b = (draw(rng, size, k, low, high) for _ in range(2))
    whole = manifolds.connect(Dirichlet(a), Dirichlet(b), throw=False)
    parts = [np.stack([x[:, 0], x[:, 1:].sum(-1)], axis=-1) for x in (a, b)]
    part = manifolds.connect(*map(Dirichlet, parts), throw=False)
    assert (part.lower <= whole.upper).all()
    assert (part.distance[part.turning < 1e-6] > 0.0).all()
    return np.concatenate([whole.turning, part.turning])


def test_aggregation_shortens(rng):
    assert (check_aggregation(rng, 10, 4, 1e-2, 1e3) < 1e-6).all()


@pytest.mark.slow
@pytest.mark.campaign
def test_campaign_of_distances():
    """Almost all pairs between 1e-3 and 1e6 have a bracket of 1e-12; all have one."""
    rng = np.random.default_rng(7)
    turning = np.concatenate([check_aggregation(rng, 25, k, 1e-3, 1e6) for k in (3, 3, 4, 6, 8)])
    assert np.mean(turning <= math.sqrt(8e-12)) > 0.85
    assert (turning < 3.0).mean() > 0.98


def test_a_thousand_components_have_a_bracket(rng):
    a, b = (Dirichlet(draw(rng, 1, 1000, 0.5, 2.0)[0]) for _ in range(2))
    found = manifolds.connect(a, b, throw=False)
    assert 0.999999 * found.upper < found.lower <= found.distance <= found.upper


def test_an_uncertified_distance_says_so():
    a, b = Dirichlet([[1e6, 1e-3], [1.0, 2.0]]), Dirichlet([[1e3, 1e3], [2.0, 1.0]])
    with pytest.raises(infogeo.SolveError, match=r"rtol=1e-14 is out of reach for 1 of 2") as e:
        manifolds.connect(a, b, rtol=1e-14)
    assert e.value.failed == (0,)
    result = e.value.result
    assert result.status is infogeo.Status.MAX_STEPS
    assert 11.673657 < result.lower[0] < result.upper[0] < 11.673658
    d = SPACE.fisher_rao_distance(a[0], b[0], rtol=0.01)
    assert d == pytest.approx(result.distance[0], rel=1e-3)
    # So wild a curve proves nothing.
    far = Dirichlet([1e300, 1.0]), Dirichlet([1.0, 1e300])
    with pytest.raises(infogeo.SolveError, match="out of reach: the distance lies in") as e:
        manifolds.fisher_rao_distance(*far)
    assert (float(e.value.result.lower), float(e.value.result.upper)) == (0.0, math.inf)


# ---------------------------------------------------------------- the metric


def test_metric_has_its_digits_at_all_scales(rng):
    for a in ([1.0, 2.0, 3.0], [1e6, 3e6, 2e6], [1e-3, 1e-4, 2e-3], [1e-3, 1e6, 1.0], [1e12, 1e12]):
        a = np.array(a)
        for u in (a, a * rng.normal(size=a.size), np.eye(a.size)[0]):
            v = a * rng.normal(size=a.size)
            point, of_u, of_v = Dirichlet(a), Tangent(u), Tangent(v)
            square = exact_metric(a, u, u)
            assert float(manifolds.norm(point, of_u)) == pytest.approx(
                float(mpmath.sqrt(square)), rel=1e-13
            )
            size = float(mpmath.sqrt(square * exact_metric(a, v, v)))
            seen = manifolds.inner_product(point, of_u, of_v)
            assert float(seen) == pytest.approx(float(exact_metric(a, u, v)), abs=1e-12 * size)
    assert manifolds.norm(Dirichlet([1.0, 2.0]), Tangent([3e-200, 0.0])) > 0.0


def test_fisher_information_is_the_metric():
    for a in ([1.0, 2.0, 3.0], [1e6, 3e6], [1e6, 1e-3]):
        k = len(a)
        expected = [[float(exact_metric(a, u, v)) for v in np.eye(k)] for u in np.eye(k)]
        np.testing.assert_allclose(manifolds.fisher_information(Dirichlet(a)), expected, rtol=2e-13)
    np.testing.assert_allclose(
        manifolds.fisher_information(Beta(1.0, 2.0)),
        manifolds.fisher_information(Dirichlet([1.0, 2.0])),
    )


def gaussian_curvature(a, b):
    """Return the curvature of the beta surface by Brioschi's formula."""

    def entry(name, da, db):
        f = {
            "E": lambda x, y: mpmath.psi(1, x) - mpmath.psi(1, x + y),
            "F": lambda x, y: -mpmath.psi(1, x + y),
            "G": lambda x, y: mpmath.psi(1, y) - mpmath.psi(1, x + y),
        }[name]
        return mpmath.diff(f, (a, b), (da, db)) if da or db else f(a, b)

    E, F, G = (entry(n, 0, 0) for n in "EFG")
    first = mpmath.matrix(
        [
            [
                -entry("E", 0, 2) / 2 + entry("F", 1, 1) - entry("G", 2, 0) / 2,
                entry("E", 1, 0) / 2,
                entry("F", 1, 0) - entry("E", 0, 1) / 2,
            ],
            [entry("F", 0, 1) - entry("G", 1, 0) / 2, E, F],
            [entry("G", 0, 1) / 2, F, G],
        ]
    )
    second = mpmath.matrix(
        [[0, entry("E", 0, 1) / 2, entry("G", 1, 0) / 2], [entry("E", 0, 1) / 2, E, F],
         [entry("G", 1, 0) / 2, F, G]]
    )  # fmt: skip
    return (mpmath.det(first) - mpmath.det(second)) / (E * G - F * F) ** 2


@pytest.mark.parametrize(("a", "b"), [(1.0, 2.0), (0.1, 5.0), (30.0, 20.0)])
def test_curvature_of_beta_distributions(a, b):
    u, v = beta.Tangent(1.0, 2.0), beta.Tangent(1.0, 2.1)
    seen = BETA.sectional_curvature(Beta(a, b), u, v)
    assert float(seen) == pytest.approx(float(gaussian_curvature(a, b)), rel=1e-11)


def test_curvature_of_many_and_large_concentrations():
    """Large ones are a hyperbolic space of curvature -1 / (2 (k - 1))."""
    for k in (2, 3, 7):
        rng = np.random.default_rng(k)
        a = Dirichlet(1e7 * np.exp(rng.normal(size=k)))
        u, v = (Tangent(a.concentration * rng.normal(size=k)) for _ in range(2))
        seen = SPACE.sectional_curvature(a, u, v)
        assert float(seen) == pytest.approx(-0.5 / (k - 1), rel=1e-5)


def test_curvature_is_that_of_distances():
    a = Dirichlet([1.0, 2.0, 0.5])
    u, v = Tangent([1.0, 0.0, 0.2]), Tangent([0.3, 1.0, 0.0])
    u = u / manifolds.norm(a, u)
    v = v - manifolds.inner_product(a, u, v) * u
    v = v / manifolds.norm(a, v)
    curvature = float(SPACE.sectional_curvature(a, u, v))

    def estimate(t):
        squared = 0.0
        for sign in (0.5, -0.5):  # the mean of both has no odd powers of t
            ends = (manifolds.exp_map(a, 2.0 * sign * t * x) for x in (u, v))
            squared += 0.5 * float(manifolds.fisher_rao_squared_distance(*ends))
        return 3.0 * (2.0 * t * t - squared) / t**4

    by_distances = (4.0 * estimate(0.02) - estimate(0.04)) / 3.0
    assert curvature == pytest.approx(by_distances, abs=1e-4)


def test_christoffel_symbols_are_those_of_the_metric():
    a = [0.7, 2.0, 3.5]

    def metric(i, j, *x):
        return (mpmath.psi(1, x[i]) if i == j else 0) - mpmath.psi(1, mpmath.fsum(x))

    def slope(i, j, m):
        return mpmath.diff(
            lambda *x: metric(i, j, *x), tuple(a), tuple(int(m == n) for n in range(3))
        )

    g = mpmath.matrix(3, 3)
    lower = np.zeros((3, 3, 3))
    for i in range(3):
        for j in range(3):
            g[i, j] = metric(i, j, *map(mpmath.mpf, a))
            for m in range(3):
                lower[m, i, j] = (slope(j, m, i) + slope(i, m, j) - slope(i, j, m)) / 2
    inverse = np.array((g**-1).tolist(), dtype=float)
    np.testing.assert_allclose(
        SPACE.christoffel_symbols(Dirichlet(a)),
        np.einsum("lm,mij->lij", inverse, lower),
        rtol=1e-12,
    )


# ---------------------------------------------------------------- geodesics


def test_geodesics_of_wide_ranges_arrive(rng):
    a, b = (Dirichlet(draw(rng, 6, 3, 1e-2, 1e4)) for _ in range(2))
    v = manifolds.log_map(a, b)
    np.testing.assert_allclose(manifolds.exp_map(a, v).concentration, b.concentration, rtol=1e-7)
    path = manifolds.fisher_rao_geodesic(a, b, [0.0, 0.3, 1.0])
    np.testing.assert_array_equal(path.concentration[0], a.concentration)
    np.testing.assert_array_equal(path.concentration[2], b.concentration)
    d = manifolds.fisher_rao_distance(a, b)
    np.testing.assert_allclose(manifolds.fisher_rao_distance(a, path[1]), 0.3 * d, rtol=1e-9)
    found = manifolds.connect(a, b)
    np.testing.assert_allclose(found.curve.concentration[0], a.concentration, rtol=1e-15)
    np.testing.assert_allclose(manifolds.norm(b, found.final_velocity), found.distance, rtol=1e-13)
    middle = manifolds.fisher_rao_geodesic(a, b, 0.5)
    np.testing.assert_allclose(
        manifolds.fisher_rao_distance(found.curve[8], middle), 0.0, atol=1e-5
    )


def test_geodesics_beyond_numbers_are_refused():
    with pytest.raises(ValueError, match="v must lead to concentrations that are numbers"):
        manifolds.exp_map(Dirichlet([1.0, 1.0]), Tangent([1e4, 1e4]))


def test_the_mean_of_points_is_found(rng):
    points = Dirichlet(draw(rng, 5, 3, 0.1, 100.0))
    found = frechet_mean(points, space="dirichlet")
    pull = sum(manifolds.log_map(found.point, p).concentration for p in points)
    np.testing.assert_allclose(pull, 0.0, atol=1e-9 * found.point.concentration.max())
    d = pairwise_distance(points, space="dirichlet")
    np.testing.assert_array_equal(
        nearest(points, points, num_neighbors=1, space="dirichlet").indices[:, 0], range(5)
    )
    np.testing.assert_allclose(d, d.T, rtol=1e-12)


# ---------------------------------------------------------------- the e- and the m-geometry


def test_mean_logarithms_and_the_way_back(rng):
    a = draw(rng, 30, 4, 1e-3, 1e3)
    eta = manifolds.expectation_parameters(Dirichlet(a))
    expected = [[float(e) for e in mean_logarithms(exact(x))] for x in a]
    np.testing.assert_allclose(eta, expected, rtol=1e-12, atol=1e-12)
    back = SPACE.from_expectation_parameters(eta).concentration
    np.testing.assert_allclose(back, a, rtol=1e-10)
    np.testing.assert_array_equal(manifolds.natural_parameters(Dirichlet(a)), a)
    two = BETA.from_expectation_parameters(*manifolds.expectation_parameters(Beta(2.0, 3.0)))
    np.testing.assert_allclose([two.concentration1, two.concentration0], [2.0, 3.0], rtol=1e-13)
    with pytest.raises(ValueError, match="eta must be means of logarithms of shares"):
        SPACE.from_expectation_parameters([-0.1, -0.1])


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1e75, 1.0], [1e-40, 1e-45]),
        ([1e-37, 4.2e-3], [1e20, 1e-13]),
        ([1e60, 1e20, 1.0], [2e-30, 3.0, 1e5]),
        ([1e-20, 1e-60, 1e-13], [1e3, 1e-30, 1e7]),
        ([1e30, 1.0], [1.1e30, 1.2]),
    ],
)
def test_expectation_geometry_of_far_points(a, b):
    """Shares of 1 less 1e-100 keep the digits of the mean of their logarithm."""
    with mpmath.workdps(160):
        ends = [mean_logarithms(exact(x)) for x in (a, b)]
        shown = manifolds.expectation_parameters(Dirichlet([a, b]))
        np.testing.assert_allclose(shown, np.array(ends, dtype=float), rtol=4e-15)
        path = manifolds.m_geodesic(Dirichlet(a), Dirichlet(b), [0.3, 0.8])
        mean = manifolds.m_mean(Dirichlet([a, b]), weights=[0.7, 0.3])
        for found, share in (*zip(path, (0.3, 0.8), strict=True), (mean, 0.3)):
            seen = mean_logarithms(exact(found.concentration))
            for x, y, z in zip(seen, *ends, strict=True):
                assert abs(x / ((1.0 - share) * y + share * z) - 1) < 2e-14


def test_lines_of_both_geometries(rng):
    a, b = (Dirichlet(draw(rng, 8, 3, 1e-2, 1e3)) for _ in range(2))
    t = np.array([0.0, 0.25, 0.75, 1.0])
    for line, coordinate in (
        (manifolds.m_geodesic, manifolds.expectation_parameters),
        (manifolds.e_geodesic, manifolds.natural_parameters),
    ):
        path = line(a, b, t)
        expected = [(1.0 - s) * coordinate(a) + s * coordinate(b) for s in t]
        np.testing.assert_allclose(coordinate(path), expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(path.concentration[[0, -1]], [a.concentration, b.concentration])
    mean = manifolds.m_mean(a)
    np.testing.assert_allclose(
        manifolds.expectation_parameters(mean),
        manifolds.expectation_parameters(a).mean(0),
        rtol=1e-11,
    )
    np.testing.assert_allclose(manifolds.e_mean(a).concentration, a.concentration.mean(0))
    near = Dirichlet([1e6, 2e6]), Dirichlet([1e6 + 1e-3, 2e6])
    middle = manifolds.m_geodesic(*near, 0.5)
    ends = [mean_logarithms(exact(x.concentration)) for x in (near[0], middle, near[1])]
    for first, half, last in zip(*ends, strict=True):
        assert abs((half - first) / (last - first) - 0.5) < 1e-6  # rounding of the point itself


def test_fit_is_the_most_likely():
    rng = np.random.default_rng(0)
    x = rng.dirichlet([0.5, 2.0, 7.0], 400)
    fitted = Dirichlet.fit(x)
    eta = manifolds.expectation_parameters(fitted)
    np.testing.assert_allclose(eta, np.log(x).mean(0), rtol=1e-12)
    y = rng.beta(0.5, 3.0, size=(300, 2))
    of_columns = Beta.fit(y)
    expected = scipy.stats.beta.fit(y[:, 1], floc=0, fscale=1)[:2]
    np.testing.assert_allclose(
        [of_columns.concentration1[1], of_columns.concentration0[1]], expected, rtol=1e-6
    )
    labels = np.array(["b", "a"] * 200)
    by_class = Dirichlet.fit(x, labels)
    np.testing.assert_allclose(
        by_class.concentration[0], Dirichlet.fit(x[labels == "a"]).concentration, rtol=1e-12
    )
    tensor = Dirichlet.fit(torch.tensor(x, dtype=torch.float32)).concentration
    assert tensor.dtype == torch.float32
    np.testing.assert_allclose(tensor, fitted.concentration, rtol=1e-4)


# ---------------------------------------------------------------- divergences


@pytest.mark.parametrize(("a", "b"), CLOSED)
def test_divergences_have_all_their_digits(a, b):
    first, second = Dirichlet(a), Dirichlet(b)
    for one, other in ((a, b), (b, a)):
        seen = manifolds.kl_divergence(Dirichlet(one), Dirichlet(other))
        assert float(seen) == pytest.approx(float(exact_kl(one, other)), rel=2e-14, abs=1e-300)
    both = exact_kl(a, b) + exact_kl(b, a)
    assert float(manifolds.jeffreys_divergence(first, second)) == pytest.approx(
        float(both), rel=2e-14
    )
    middle = [(x + y) / 2 for x, y in zip(exact(a), exact(b), strict=True)]
    gap = (log_partition(exact(a)) + log_partition(exact(b))) / 2 - log_partition(middle)
    assert float(manifolds.hellinger_distance(first, second)) == pytest.approx(
        float(mpmath.sqrt(-mpmath.expm1(-gap))), rel=2e-14
    )
    assert float(SPACE.bhattacharyya_coefficient(first, second)) == pytest.approx(
        float(mpmath.exp(-gap)), rel=2e-13
    )
    between = [(3 * x + y) / 4 for x, y in zip(exact(a), exact(b), strict=True)]
    gap = (3 * log_partition(exact(a)) + log_partition(exact(b))) / 4 - log_partition(between)
    seen = manifolds.renyi_divergence(first, second, order=0.75)
    assert float(seen) == pytest.approx(float(4 * gap), rel=1e-13)


def test_divergences_are_those_of_the_densities():
    a, b = Beta(2.0, 3.5), Beta(4.0, 1.5)
    x = (np.arange(200_000) + 0.5) / 200_000
    p, q = (
        scipy.stats.beta(float(c.concentration1), float(c.concentration0)).pdf(x) for c in (a, b)
    )
    assert float(manifolds.kl_divergence(a, b)) == pytest.approx(
        (p * np.log(p / q)).mean(), rel=1e-6
    )
    assert float(manifolds.renyi_divergence(a, b, order=1.5)) == pytest.approx(
        2.0 * np.log((p**1.5 * q**-0.5).mean()), rel=1e-4
    )
    assert manifolds.renyi_divergence(a, b, order=9.0) == math.inf
    assert manifolds.renyi_divergence(a, b, order=1.0) == manifolds.kl_divergence(a, b)
    np.testing.assert_allclose(BETA.log_density(a, x), np.log(p), rtol=1e-10, atol=1e-12)
    point = np.array([0.2, 0.3, 0.5])
    assert SPACE.log_density(Dirichlet([1.0, 2.0, 3.0]), point) == pytest.approx(
        scipy.stats.dirichlet([1.0, 2.0, 3.0]).logpdf(point)
    )


# ---------------------------------------------------------------- libraries


def test_gradients_are_those_of_the_distance():
    a = torch.tensor([[1.0, 2.0, 3.0], [0.5, 0.5, 2.0]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    for function in (
        manifolds.fisher_rao_distance,
        manifolds.fisher_rao_squared_distance,
        manifolds.kl_divergence,
        manifolds.hellinger_distance,
    ):
        assert torch.autograd.gradcheck(
            lambda x, y, f=function: f(Dirichlet(x), Dirichlet(y)), (a, b), eps=1e-5, atol=1e-8
        )
    (gradient,) = torch.autograd.grad(
        manifolds.fisher_rao_distance(Dirichlet(a), Dirichlet(a.detach())).sum(), a
    )
    assert (gradient == 0.0).all()
    squared = manifolds.fisher_rao_squared_distance(Dirichlet(a), Dirichlet(b)).sum()
    (gradient,) = torch.autograd.grad(squared, b, create_graph=True)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        torch.autograd.grad(gradient.sum(), b)
    with pytest.raises(ValueError, match="must not require a gradient here"):
        manifolds.log_map(Dirichlet(a), Dirichlet(b))
    x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    d = manifolds.fisher_rao_distance(Beta(x, 2.0), Beta(3.0, x.detach()))
    (gradient,) = torch.autograd.grad(d.sum(), x)
    assert gradient.shape == (2,)
    assert (gradient != 0.0).all()


def test_gradients_under_vmap():
    a, b = torch.tensor([[1.0, 2.0], [3.0, 0.5]]).double(), torch.tensor([2.0, 2.0]).double()

    def squared(x):
        return manifolds.fisher_rao_squared_distance(Dirichlet(x), Dirichlet(b))

    seen = torch.func.vmap(torch.func.grad(squared))(a)
    for x, gradient in zip(a, seen, strict=True):
        v = manifolds.log_map(Dirichlet(x), Dirichlet(b)).concentration
        expected = -2.0 * manifolds.fisher_information(Dirichlet(x)) @ v
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def test_results_are_of_the_library_of_the_points():
    a, b = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([3.0, 1.0, 2.0])
    d = manifolds.fisher_rao_distance(Dirichlet(a), Dirichlet(b))
    assert d.dtype == torch.float32
    np.testing.assert_allclose(d, [1.9946557441], rtol=1e-6)
    for made in (
        manifolds.exp_map(Dirichlet(a), manifolds.log_map(Dirichlet(a), Dirichlet(b))),
        manifolds.m_geodesic(Dirichlet(a), Dirichlet(b), 0.5),
        manifolds.fisher_rao_geodesic(Dirichlet(a), Dirichlet(b), 0.5),
    ):
        assert made.concentration.dtype == torch.float32
        assert made.shape == (1,)
    half = manifolds.fisher_rao_distance(Dirichlet(np.float32([1, 2])), Dirichlet([2, 1]))
    assert half.dtype == np.float32
    with pytest.raises(TypeError, match="must have values that can be read here"):
        torch.func.vmap(lambda x: manifolds.log_map(Dirichlet(x), Dirichlet(b)).concentration)(a)


def test_heads_take_concentrations():
    """An evidential network: its outputs are logarithms of concentrations."""
    head = heads.of_space("dirichlet", lambda z: Dirichlet(torch.exp(z)))
    z, w = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = manifolds.fisher_rao_distance(Dirichlet(z.exp()), Dirichlet(w.exp()))
    torch.testing.assert_close(head.distance(z, w), expected)
    factor = head.factor(z)
    jacobian = torch.diag_embed(z.exp())
    information = jacobian @ manifolds.fisher_information(Dirichlet(z.exp())) @ jacobian
    torch.testing.assert_close(factor.mT @ factor, information, rtol=1e-9, atol=1e-12)


def test_distributions_of_other_libraries_are_points():
    for made, expected in (
        (distributions.Dirichlet(torch.tensor([1.0, 2.0])), Dirichlet([1.0, 2.0])),
        (scipy.stats.dirichlet([1.0, 2.0]), Dirichlet([1.0, 2.0])),
        (distributions.Beta(torch.tensor(1.0), torch.tensor(2.0)), Beta(1.0, 2.0)),
        (scipy.stats.beta(1.0, 2.0), Beta(1.0, 2.0)),
    ):
        point = from_distribution(made)
        assert type(point) is type(expected)
        for field in point.rules:
            np.testing.assert_array_equal(getattr(point, field), getattr(expected, field))
    d = infogeo.fisher_rao_distance(scipy.stats.beta(3.0, 4.0), scipy.stats.beta(3e4, 4e4))
    assert d == manifolds.fisher_rao_distance(Beta(3.0, 4.0), Beta(3e4, 4e4))
    with pytest.raises((TypeError, ValueError)):
        from_distribution(scipy.stats.beta(1.0, 2.0, loc=3.0))


def test_samples_have_the_mean_logarithms():
    rng = np.random.default_rng(0)
    a = Dirichlet([[0.5, 2.0, 7.0], [0.02, 0.01, 0.03]])
    x = SPACE.draw(a, (20_000, 2), rng)
    assert x.shape == (20_000, 2, 3)
    np.testing.assert_allclose(x.sum(-1), 1.0)
    np.testing.assert_allclose(
        x.mean(0), a.concentration / a.concentration.sum(-1)[:, None], atol=0.01
    )
    np.testing.assert_allclose(
        np.log(x[:, 0]).mean(0), manifolds.expectation_parameters(a[0]), rtol=0.03
    )
    y = BETA.draw(Beta([2.0, 0.01], [3.0, 0.01]), (20_000, 2), rng)
    np.testing.assert_allclose(y.mean(0), [0.4, 0.5], atol=0.02)
    np.testing.assert_allclose(y.var(0), [0.04, 0.25 / 1.02], rtol=0.05)


def test_densities_can_be_drawn():
    x = BETA.window(Beta([0.5, 2.0], 1.0))
    assert 0.0 < x.min() < x.max() < 1.0


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Dirichlet([1.0, 0.0]), "concentration must be positive and finite"),
        (lambda: Dirichlet([1.0, -1.0]), "concentration must be positive and finite"),
        (lambda: Dirichlet([1.0, np.inf]), "concentration must be positive and finite"),
        (lambda: Dirichlet([1.0]), "at least two entries"),
        (lambda: Dirichlet(1.0), "have its components along the last axis"),
        (lambda: Beta(0.0, 1.0), "concentration1 must be positive and finite"),
        (
            lambda: manifolds.fisher_rao_distance(
                Dirichlet([1.0, 2.0]), Dirichlet([1.0, 2.0, 3.0])
            ),
            "must have the same dimension|same components",
        ),
        (lambda: Dirichlet.fit([[0.5, 0.5], [0.5, 0.5]]), "samples must vary"),
        (lambda: Dirichlet.fit([[1.0, 0.0], [0.5, 0.5]]), "samples must be positive"),
        (lambda: Dirichlet.fit([0.5, 0.5]), "samples must have shape"),
        (lambda: Beta.fit([0.5, 1.0]), "samples must lie strictly between 0 and 1"),
        (lambda: Beta.fit([0.5]), "samples must vary"),
        (lambda: Beta.fit([]), "samples must hold at least one sample"),
        (
            lambda: manifolds.connect(Dirichlet([1.0, 2.0]), Dirichlet([2.0, 1.0]), rtol=0.0),
            "rtol must be a number between 0 and 1",
        ),
        (
            lambda: manifolds.renyi_divergence(Beta(1.0, 2.0), Beta(2.0, 1.0), order=math.inf),
            "order must be finite",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_integers_are_numbers():
    a = Dirichlet(np.array([1, 2, 3]))
    assert a.concentration.dtype == np.float64
    assert type(dirichlet.Tangent([1, -1]).concentration) is np.ndarray
