"""Inputs at the ends of what numbers hold: units, scales, tiny distances, weights."""

import warnings

import mpmath
import numpy as np
import pytest

from infogeo import SolveError, _array, logits, maxent, mean, multivariate_normal, normal, simplex
from infogeo.family import ExponentialFamily
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal

IDENTITY = np.eye(2)


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


# ---------------------------------------------------------------- units


@pytest.mark.parametrize(
    "units", [[1e-7, 1e7], [1e7, 1e-7], [1e-14, 1.0], [3e5, 7e-9], [1e-150, 1e150], [1e150, 1e150]]
)
def test_distances_of_fitted_normals_do_not_depend_on_units(rng, units):
    first, second = rng.normal(size=(2, 50, 2)) @ [[1.0, 0.3], [0.0, 0.5]]
    second = 1.5 * second + [1.0, -0.2]
    fits = [MultivariateNormal.fit(x) for x in (first, second)]
    scaled = [MultivariateNormal.fit(x * units) for x in (first, second)]
    for verb in ("fisher_rao_distance", "kl_divergence", "hellinger_distance"):
        function = getattr(multivariate_normal, verb)
        np.testing.assert_allclose(function(*scaled), function(*fits), rtol=1e-10)
    again = MultivariateNormal(scaled[0].mean, scaled[0].cov)
    assert multivariate_normal.fisher_rao_distance(again, scaled[0]) == 0.0


def test_the_fit_is_the_covariance(rng):
    samples = rng.normal(size=(40, 3)) + np.array([0.0, 1e3, -5.0])
    fit = MultivariateNormal.fit(samples)
    np.testing.assert_allclose(fit.mean, samples.mean(0), rtol=1e-14)
    np.testing.assert_allclose(fit.cov, np.cov(samples.T, bias=True), rtol=1e-10)


@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e120])
def test_coordinates_that_others_determine_are_refused_in_any_unit(rng, unit):
    x = rng.normal(size=50)
    for other in (2.0 * x, 2.0 * x + 1e-9 * rng.normal(size=50), np.full(50, 3.0)):
        with pytest.raises(ValueError, match="must span all coordinates"):
            MultivariateNormal.fit(np.stack([x, unit * other], -1))


@pytest.mark.parametrize("unit", [1e200, 1e-200])
def test_variances_that_are_no_numbers_are_refused(rng, unit):
    with pytest.raises(ValueError, match="variances that are numbers of float64"):
        MultivariateNormal.fit(unit * rng.normal(size=(20, 2)))


def test_the_gate_judges_the_correlations():
    cov = np.array([[1e-14, 0.999], [0.999, 1e14]])
    assert MultivariateNormal([0.0, 0.0], cov).shape == ()
    cov[0, 1] = cov[1, 0] = 2.0
    with pytest.raises(ValueError, match="smallest eigenvalue -1, the largest is 3"):
        MultivariateNormal([0.0, 0.0], cov)


# ---------------------------------------------------------------- distances whose squares underflow


@pytest.mark.parametrize("tiny", [1e-170, 1e-200, 1e-300])
def test_tiny_distances_of_normals(tiny):
    a, b = Normal(0.0, 1.0), Normal(tiny, 1.0)
    np.testing.assert_allclose(normal.fisher_rao_distance(a, b), tiny, rtol=1e-14)
    np.testing.assert_allclose(normal.hellinger_distance(a, b), tiny / np.sqrt(8.0), rtol=1e-14)
    batch = Normal([0.0, 0.0], 1.0), Normal([tiny, tiny], 1.0)
    distance = normal.diagonal_fisher_rao_distance(*batch)
    np.testing.assert_allclose(distance, np.sqrt(2.0) * tiny, rtol=1e-14)
    a, b = (MultivariateNormal([x, 0.0], IDENTITY) for x in (0.0, tiny))
    np.testing.assert_allclose(multivariate_normal.fisher_rao_distance(a, b), tiny, rtol=1e-14)
    distance = multivariate_normal.hellinger_distance(a, b)
    np.testing.assert_allclose(distance, tiny / np.sqrt(8.0), rtol=1e-14)
    bounds = multivariate_normal.distance_bounds(a, b)
    assert 0.99 * tiny < bounds.lower <= tiny <= bounds.upper < 1.01 * tiny


# ---------------------------------------------------------------- means


@pytest.mark.parametrize(
    ("means", "stds"),
    [
        ([1.0, 2.0], [1e-18, 1e18]),
        ([5.0, -3.0, 1.0], [1e-18, 1.0, 1e18]),
        ([0.0, 0.0], [1e-18, 1e18]),
    ],
)
def test_frechet_mean_of_normals_that_span_36_decades(means, stds):
    points = Normal(means, stds)
    found = mean.frechet_mean(points, space=normal)
    assert found.gradient_norm < 1e-3
    if len(means) == 2:  # the midpoint of the geodesic
        middle = normal.fisher_rao_geodesic(points[0], points[1], 0.5)
        assert normal.fisher_rao_distance(found.point, middle) < 1e-6


MEANS = {
    "m simplex": lambda **k: simplex.m_mean([[0.5, 0.5], [1.0, 0.0]], **k)[0],
    "e simplex": lambda **k: simplex.e_mean([[0.2, 0.8], [0.5, 0.5]], **k)[0],
    "m normal": lambda **k: normal.m_mean(Normal([0.0, 1.0], 1.0), **k).mean,
    "e normal": lambda **k: normal.e_mean(Normal([0.0, 1.0], 1.0), **k).mean,
    "m multivariate": lambda **k: multivariate_normal.m_mean(
        MultivariateNormal([[0.0, 1.0], [1.0, 1.0]], IDENTITY), **k
    ).mean[0],
    "frechet simplex": lambda **k: mean.frechet_mean([[0.5, 0.5], [1.0, 0.0]], **k).point[0],
    "frechet normal": lambda **k: (
        mean.frechet_mean(Normal([0.0, 1.0], 1.0), space=normal, **k).point.std
    ),
}


@pytest.mark.parametrize("call", MEANS.values(), ids=MEANS)
def test_weights_neither_overflow_nor_underflow_and_axes_may_be_of_numpy(call):
    expected = call()
    for weights in ([1e308, 1e308], [5e-324, 5e-324], [1.0, 1.0]):
        np.testing.assert_allclose(call(weights=weights), expected, rtol=1e-12)
    np.testing.assert_array_equal(call(axis=np.int64(0)), expected)
    for axis in (np.int64(1), True, 0.0):
        with pytest.raises(ValueError, match="axis must name one of the batch axes"):
            call(axis=axis)


def test_axes_of_numpy_on_tensors():
    torch = pytest.importorskip("torch")
    p = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    torch.testing.assert_close(simplex.m_mean(p, axis=np.int64(0)), simplex.m_mean(p))
    points = Normal(torch.zeros(2), torch.ones(2))
    torch.testing.assert_close(normal.m_mean(points, axis=np.int64(0)).std, torch.tensor(1.0))


# ---------------------------------------------------------------- no warnings from valid input


@pytest.mark.parametrize("alpha", [-3.0, 0.5, 0.95])
def test_alpha_geodesics_of_logits_of_any_size(alpha):
    z, w = [0.0, -1e3, 1e3], [1e30, -1e30, 0.0]
    for a, b in ((z, w), (w, z), (w, w)):
        assert np.isfinite(logits.to_simplex(logits.alpha_geodesic(a, b, 0.3, alpha=alpha))).all()


HARD = [
    [1.0, 0.0, 0.0],
    [0.0, 1.0, 0.0],
    [0.2, 0.3, 0.5],
    [1.0, 1e-300, 1e-320],
    [1e-320, 1.0, 1e-300],
    [1.0 - 1e-16, 5e-17, 5e-17],
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_functions_of_two_distributions_warn_of_nothing(dtype):
    with np.errstate(all="ignore"):
        points = np.array(HARD, dtype)
    p, q = points[:, None], points
    for verb in (
        "fisher_rao_distance",
        "fisher_rao_squared_distance",
        "hellinger_distance",
        "bhattacharyya_coefficient",
        "kl_divergence",
        "jeffreys_divergence",
        "jensen_shannon_divergence",
        "jensen_shannon_distance",
        "total_variation_distance",
        "chi_square_divergence",
    ):
        assert not np.isnan(getattr(simplex, verb)(p, q)).any()
    for alpha in (-300.0, -3.0, 0.5, 1.0, 1e5):
        assert not np.isnan(simplex.alpha_divergence(p, q, alpha=alpha)).any()
    for order in (0.0, 0.5, 3.0, 1e3, 1e300, np.inf):
        assert not np.isnan(simplex.renyi_divergence(p, q, order=order)).any()
    for t in (0.0, 0.3, 1.0):
        assert np.isfinite(simplex.fisher_rao_geodesic(p, q, t)).all()
        assert np.isfinite(simplex.m_geodesic(p, q, t)).all()
    assert not np.isnan(simplex.entropy(points)).any()


# ---------------------------------------------------------------- results without axes


def test_numbers_of_single_points_are_of_one_kind():
    p, q = np.array([0.2, 0.8]), np.array([0.5, 0.5])
    a, b = Normal(0.0, 1.0), Normal(1.0, 2.0)
    c, d = (MultivariateNormal([x, 0.0], IDENTITY) for x in (0.0, 1.0))
    v, w = normal.Tangent(1.0, 0.5), multivariate_normal.Tangent([1.0, 0.0], IDENTITY)
    numbers = [
        *(
            getattr(simplex, verb)(p, q)
            for verb in (
                "fisher_rao_distance",
                "fisher_rao_squared_distance",
                "hellinger_distance",
                "bhattacharyya_coefficient",
                "kl_divergence",
                "jeffreys_divergence",
                "jensen_shannon_divergence",
                "jensen_shannon_distance",
                "total_variation_distance",
                "chi_square_divergence",
            )
        ),
        *(simplex.renyi_divergence(p, q, order=order) for order in (0.0, 0.5, 1.0, 2.0, np.inf)),
        simplex.alpha_divergence(p, q, alpha=0.3),
        simplex.entropy(p),
        simplex.norm(p, [0.1, -0.1]),
        simplex.boundary_time(p, [0.1, -0.1]),
        normal.norm(a, v),
        multivariate_normal.norm(c, w),
        multivariate_normal.fixed_covariance_distance(c, d),
    ]
    verbs = ("fisher_rao_distance", "fisher_rao_squared_distance", "hellinger_distance")
    for space, pair in ((normal, (a, b)), (multivariate_normal, (c, d))):
        numbers += [getattr(space, verb)(*pair) for verb in (*verbs, "kl_divergence")]
        numbers += [space.entropy(pair[0]), space.jeffreys_divergence(*pair)]
    found = mean.frechet_mean(np.stack([p, q]))
    numbers += [found.gradient_norm, found.steps]
    z, w, v = np.log(p), np.log(q), [0.1, -0.1]
    numbers += [
        getattr(logits, verb)(z, w)
        for verb in (
            "fisher_rao_distance",
            "fisher_rao_squared_distance",
            "hellinger_distance",
            "bhattacharyya_coefficient",
            "kl_divergence",
            "jeffreys_divergence",
            "jensen_shannon_divergence",
            "jensen_shannon_distance",
            "total_variation_distance",
            "chi_square_divergence",
        )
    ]
    numbers += [logits.renyi_divergence(z, w, order=order) for order in (0.0, 0.5, 2.0, np.inf)]
    numbers += [logits.quotient_norm(z, order=order) for order in (1, 2, np.inf)]
    numbers += [logits.alpha_divergence(z, w, alpha=0.3), logits.entropy(z)]
    numbers += [logits.norm(z, v), logits.inner_product(z, v, v), logits.boundary_time(z, v)]
    assert {isinstance(x, np.generic) for x in numbers} == {True}


@pytest.mark.parametrize("log_base", [[0.0, 400.0, 800.0, -800.0], [0.0, 800.0, 0.0, 0.0]])
def test_log_base_of_eight_hundred(log_base):
    """The exponential of 800 overflows; the rest of the answer is that of 50 digits."""
    solution = maxent.c_maximize([[0.0, 1.0, 2.0, 3.0]], 1.2, log_base=log_base)
    with mpmath.workdps(50):

        def probabilities(theta):
            terms = [mpmath.exp(C + i * theta) for i, C in enumerate(log_base)]
            return [x / mpmath.fsum(terms) for x in terms]

        def excess(theta):
            return mpmath.fsum(i * x for i, x in enumerate(probabilities(theta))) - mpmath.mpf(1.2)

        theta = mpmath.findroot(excess, (-2000, 2000), solver="anderson", tol=1e-60, maxsteps=500)
        expected = [float(x) for x in probabilities(theta)]
    np.testing.assert_allclose(solution.probabilities, expected, rtol=1e-9, atol=1e-300)


def test_log_base_of_a_mask():
    """Powers of ten that no exponential takes: warnings are errors in these tests."""
    log_base = [0.0, 1e300, 0.0, 0.0]
    family = ExponentialFamily([[0.0, 1.0, 2.0, 3.0]], log_base=log_base)
    np.testing.assert_array_equal(family.probabilities([0.3]), [0, 1, 0, 0])
    assert family.log_partition([0.3]) == 1e300
    equal = maxent.c_maximize([[0.0, 1.0, 2.0, 3.0]], 1.2, log_base=[1e300] * 4)
    without = maxent.c_maximize([[0.0, 1.0, 2.0, 3.0]], 1.2)
    np.testing.assert_allclose(equal.probabilities, without.probabilities, rtol=1e-9)
    with pytest.raises(SolveError):  # its parameter would be about 1e300
        maxent.c_maximize([[0.0, 1.0, 2.0, 3.0]], 1.2, log_base=log_base)


# ---------------------------------------------------------------- subnormal distances


@pytest.mark.parametrize(("dtype", "far"), [("float32", 200.0), ("float64", 1460.0)])
def test_gradients_of_subnormal_distances_are_finite(dtype, far):
    """|sqrt p - sqrt q| of logits 200 apart is subnormal in float32: its scale has no inverse."""
    torch = pytest.importorskip("torch")
    limits = torch.finfo(getattr(torch, dtype))
    for verb in (logits.fisher_rao_distance, logits.hellinger_distance):
        z = torch.tensor([0.0, -far], dtype=getattr(torch, dtype), requires_grad=True)
        d = verb(z, z.new_tensor([0.0, 1.0 - far]))
        assert 0 < d < limits.smallest_normal
        gradient = torch.autograd.grad(d, z)[0]
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() < limits.smallest_normal  # the truth is about the distance
    x = 2.0 * limits.tiny * limits.eps * torch.tensor([3.0, 4.0], dtype=getattr(torch, dtype))
    gradient = torch.func.grad(lambda x: _array.norm(x, _array.array_namespace(x)))(x)
    np.testing.assert_allclose(gradient.numpy(), [0.6, 0.8], rtol=1e-6)


def test_fits_of_constants_and_of_variances_beyond_the_precision(rng):
    samples = rng.normal(size=(10, 2))
    for constant in (0.0, 0.1, 1e100):
        with pytest.raises(ValueError, match="span all coordinates: coordinate 2 does not vary"):
            MultivariateNormal.fit(np.hstack([samples, np.full((10, 1), constant)]))
    for unit in (1e-25, 1e25):
        with pytest.raises(ValueError, match="variances that are numbers of float32: coordinate 0"):
            MultivariateNormal.fit((unit * samples).astype(np.float32))
