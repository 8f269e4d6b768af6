"""Gamma distributions against mpmath, published values, and the geodesic equation."""

import math

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import torch
from torch import distributions

import infogeo
from infogeo import manifolds
from infogeo._points import fields
from infogeo.interop.distributions import from_distribution
from infogeo.manifolds import Gamma, _revolution
from infogeo.manifolds.gamma import SPACE, Tangent
from infogeo.mean import frechet_mean
from infogeo.neighbors import nearest, pairwise_distance
from infogeo.normal import Normal
from infogeo.normal import fisher_rao_distance as normal_distance
from infogeo.pullback import PullbackMetric, heads


def with_means(k, mean):
    k, mean = np.asarray(k, dtype=float), np.asarray(mean, dtype=float)
    return Gamma(k, k / mean)


# ---------------------------------------------------------------- distances


@pytest.mark.parametrize(
    ("k", "mean", "other_k", "other_mean", "expected"),
    [
        (1.0, 1.0, 2.0, 1.0, 0.5412779852759647162245861),
        (5.0, 1.0, 50.0, 4.0, 4.1674387669696389559261921),
        (1.0, 1.0, 1.0, 10.0, 2.1445720045883155325003855),
        (0.01, 1.0, 100.0, 5.0, 7.680373880158039652733597),
        (1e6, 1.0, 1e6, 2.0, 17.530536056843716736521413),
    ],
)
def test_distances_of_25_digits_from_another_program(k, mean, other_k, other_mean, expected):
    a, b = with_means(k, mean), with_means(other_k, other_mean)
    for one, other in ((a, b), (b, a)):
        d = manifolds.fisher_rao_distance(one, other)
        np.testing.assert_allclose(d, expected, rtol=1e-13)
        squared = manifolds.fisher_rao_squared_distance(one, other)
        np.testing.assert_allclose(squared, expected**2, rtol=1e-13)


def test_a_near_pair_of_25_digits_from_another_program():
    gap, turn = 0.5 * np.log1p(2.0**-24), np.log1p(2.0**-23)
    roots = math.sqrt(2.0), math.sqrt(2.0 + 2.0**-23)
    arc = _revolution.connect(SPACE.surface(None), *roots, gap, turn)
    np.testing.assert_allclose(arc.length, 0.00000017458907103833689151875714, rtol=1e-14)


def test_equal_means_are_joined_by_a_straight_line():
    """The pair for which geomstats 2.8 returns 254.5: an integral that mpmath knows."""
    expected = mpmath.quad(
        lambda y: mpmath.sqrt(mpmath.exp(2 * y) * mpmath.psi(1, mpmath.exp(y)) - mpmath.exp(y)),
        mpmath.linspace(mpmath.log(mpmath.mpf(0.01)), mpmath.log(100), 9),
    )
    d = manifolds.fisher_rao_distance(with_means(0.01, 1.0), with_means(100.0, 1.0))
    np.testing.assert_allclose(d, float(expected), rtol=1e-14)
    assert round(float(d), 3) == 7.667


@pytest.mark.parametrize("k", [1e-6, 0.3, 2.0, 1e3, 1e6])
@pytest.mark.parametrize("step", [(1e-10, 0.0), (0.0, 1e-10), (1e-9, -3e-11), (1e-9, 1e-9)])
def test_near_points_have_all_their_digits(k, step):
    """The metric between them, whose error is of the order of the square of the distance."""
    a, b = Gamma(k, 3.0), Gamma(k * (1.0 + step[0]), 3.0 * (1.0 + step[1]))
    k_1, r_1, k_2, r_2 = (
        mpmath.mpf(float(x)) for x in (a.concentration, a.rate, b.concentration, b.rate)
    )
    k = mpmath.sqrt(k_1 * k_2)
    f = k * k * mpmath.psi(1, k) - k
    turn = mpmath.log(k_2 * r_1 / (k_1 * r_2))
    expected = mpmath.sqrt(f * mpmath.log(k_2 / k_1) ** 2 + k * turn**2)
    for one, other in ((a, b), (b, a)):
        d = manifolds.fisher_rao_distance(one, other)
        np.testing.assert_allclose(d, float(expected), rtol=1e-13)


def exact_turn(a, b):
    """Return log(m_b / m_a) of the parameters as they are."""
    (k, rate), (other_k, other) = ([mpmath.mpf(float(x)) for x in fields(c)] for c in (a, b))
    return float(mpmath.log(other_k * rate / (k * other)))


def test_large_and_small_concentrations_are_half_planes():
    for log_mean in (1e-12, 1e-9, 1e-6):  # the concentration stays above 1 / log_mean^2
        a, b = with_means(1e20, 1.0), with_means(4e21, math.exp(log_mean))
        expected = normal_distance(Normal(0.0, 1e-10), Normal(exact_turn(a, b), 4e21**-0.5))
        np.testing.assert_allclose(manifolds.fisher_rao_distance(a, b), expected, rtol=1e-12)
    for log_mean in (1e-9, 1.0, 100.0):
        a, b = with_means(1e-20, 1.0), with_means(4e-21, math.exp(log_mean))
        turn = exact_turn(a, b) / math.sqrt(2.0)
        normals = Normal(0.0, 1e10), Normal(turn, 4e-21**-0.5)
        expected = math.sqrt(2.0) * normal_distance(*normals)
        np.testing.assert_allclose(manifolds.fisher_rao_distance(a, b), expected, rtol=1e-13)


def test_distances_over_the_whole_range_of_numbers():
    """The straight part outweighs all else: from f = 1 to f = 1/2."""
    d = manifolds.fisher_rao_distance(Gamma(1e-300, 1e-300), Gamma(1e300, 1e300))
    bend = mpmath.quad(
        lambda y: (
            mpmath.sqrt(mpmath.exp(2 * y) * mpmath.psi(1, mpmath.exp(y)) - mpmath.exp(y))
            - (1 if y < 0 else mpmath.sqrt(0.5))
        ),
        [*range(-45, 0, 5), *range(0, 46, 5)],
    )
    expected = 300 * mpmath.log(10) * (1 + mpmath.sqrt(0.5)) + bend
    np.testing.assert_allclose(d, float(expected), rtol=1e-13)
    a, b = Gamma([1e300, 1e-300], [1e300, 1e-300]), Gamma([1e300, 1e-300], [1e290, 1e-290])
    assert np.isfinite(manifolds.fisher_rao_distance(a, b)).all()


def test_units_change_nothing():
    a, b = Gamma([0.3, 4.0], [2.0, 5.0]), Gamma([3.0, 0.1], [1.0, 70.0])
    scaled = [Gamma(x.concentration, 1e-40 * x.rate) for x in (a, b)]
    np.testing.assert_allclose(
        manifolds.fisher_rao_distance(*scaled), manifolds.fisher_rao_distance(a, b), rtol=1e-14
    )


def test_pairs_of_all_kinds_are_symmetric_and_inverted_by_the_exponential_map(rng):
    """Random pairs, near and far, of one batch: the map back ends at the other point."""
    k, mean = np.exp(3.0 * rng.normal(size=(2, 400)))
    other_k, other_mean = (
        x * np.exp(10.0 ** rng.uniform(-9.0, 1.0, size=400) * rng.normal(size=400))
        for x in (k, mean)
    )
    a, b = with_means(k, mean), with_means(other_k, other_mean)
    d = manifolds.fisher_rao_distance(a, b)
    np.testing.assert_allclose(manifolds.fisher_rao_distance(b, a), d, rtol=2e-14)
    v = manifolds.log_map(a, b)
    np.testing.assert_allclose(manifolds.norm(a, v), d, rtol=1e-13)
    is_moderate = d < 10.0
    back = manifolds.exp_map(a, v)
    gap = manifolds.fisher_rao_distance(back, b)
    assert np.max((gap / np.maximum(1e-3, d))[is_moderate]) < 1e-10


def geodesic_equation(_, state):
    """Return the derivatives of (log k, log m) and their velocities, by scipy's polygamma."""
    y, _, dy, dphi = state
    k = math.exp(y)
    one, two = scipy.special.polygamma([1, 2], k)
    f, slope = k * k * one - k, k * (2 * k * one + k * k * two - 1)
    return dy, dphi, (k * dphi**2 - slope * dy**2) / (2 * f), -dy * dphi


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((0.2, 1.0), (0.5, 4.0)),
        ((2.0, 2.0), (0.3, 5.0)),
        ((6.0, 1.0), (5.0, 0.1)),
        ((1.0, 1.0), (1.0, 300.0)),
    ],
)
def test_geodesics_solve_their_equation(a, b):
    """Shooting with scipy from the velocity that the log map gives."""
    a, b = Gamma(*a), Gamma(*b)
    v = manifolds.log_map(a, b)
    k, rate = float(a.concentration), float(a.rate)
    dy = float(v.concentration) / k
    start = [math.log(k), math.log(k / rate), dy, dy - float(v.rate) / rate]
    solved = scipy.integrate.solve_ivp(
        geodesic_equation,
        (0.0, 1.0),
        start,
        method="DOP853",
        rtol=1e-12,
        atol=1e-14,
        t_eval=[0.3, 1.0],
    )
    path = manifolds.fisher_rao_geodesic(a, b, [0.3, 1.0])
    logs = np.log(path.concentration), np.log(path.concentration / path.rate)
    np.testing.assert_allclose(solved.y[:2], logs, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(path.rate[-1], b.rate, rtol=1e-13)


def test_curvatures_lie_between_a_quarter_and_a_half():
    k = np.array([1e-12, 1e-3, 0.5, 3.0, 9.0, 11.0, 1e4, 1e12])
    u, v = Tangent(1.0, 0.0), Tangent(0.3, 1.0)
    seen = manifolds.sectional_curvature(Gamma(k, 2.0), u, v)

    def curvature(x):
        f = x * x * mpmath.psi(1, x) - x
        slope = x * (2 * x * mpmath.psi(1, x) + x * x * mpmath.psi(2, x) - 1)
        return -(1 - slope / f) / (4 * f)

    np.testing.assert_allclose(seen, [float(curvature(mpmath.mpf(x))) for x in k], rtol=1e-13)
    assert (seen <= -0.25).all()
    assert (seen >= -0.5).all()
    assert np.isnan(manifolds.sectional_curvature(Gamma(2.0, 1.0), u, u))


# ---------------------------------------------------------------- divergences and means


def log_partition(k, rate):
    return mpmath.loggamma(k) - k * mpmath.log(rate)


def exact_divergences(a, b, order):
    """Return KL, the Renyi divergence and the Hellinger distance."""
    (k, r), (l, s) = ([mpmath.mpf(float(x)) for x in (c.concentration, c.rate)] for c in (a, b))
    kl = log_partition(l, s) - log_partition(k, r)
    kl += (k - l) * (mpmath.psi(0, k) - mpmath.log(r)) - (r - s) * k / r

    def log_affinity(t):
        mixed = log_partition(t * k + (1 - t) * l, t * r + (1 - t) * s)
        return t * log_partition(k, r) + (1 - t) * log_partition(l, s) - mixed

    half = mpmath.mpf(1) / 2
    hellinger = mpmath.sqrt(-mpmath.expm1(-log_affinity(half)))
    return [float(x) for x in (kl, log_affinity(mpmath.mpf(order)) / (1 - order), hellinger)]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((2.0, 1.0), (3.0, 5.0)),
        ((2.0, 1.0), (2.0 + 1e-9, 1.0 - 1e-10)),
        ((1e-3, 1.0), (1e-3 * (1.0 + 1e-12), 1.0)),
        ((1e6, 1e6), (1e6 + 1e-3, 1e6 + 1e-3)),
        ((0.01, 1.0), (100.0, 100.0)),
        ((100.0, 1.0), (0.01, 1e-4)),
        ((1e-8, 1.0), (1e8, 1.0)),
        ((3.0, 1e-150), (4.0, 1e150)),
    ],
)
def test_divergences_have_their_digits(a, b):
    a, b = Gamma(*a), Gamma(*b)
    with mpmath.workdps(80):
        kl, renyi, hellinger = exact_divergences(a, b, 0.3)
    np.testing.assert_allclose(manifolds.kl_divergence(a, b), kl, rtol=1e-13)
    np.testing.assert_allclose(SPACE.renyi_divergence(a, b, 0.3), renyi, rtol=1e-13)
    np.testing.assert_allclose(manifolds.hellinger_distance(a, b), hellinger, rtol=1e-13)
    if hellinger < 0.99:
        affinity = manifolds.bhattacharyya_coefficient(a, b)
        np.testing.assert_allclose(affinity, 1.0 - hellinger**2, rtol=1e-12)


def test_divergences_of_order_one_and_beyond():
    a, b = Gamma(2.0, 1.0), Gamma(3.0, 5.0)
    assert SPACE.renyi_divergence(a, b, 1.0) == manifolds.kl_divergence(a, b)
    assert SPACE.renyi_divergence(a, b, 0.0) == 0.0
    with pytest.raises(ValueError, match=r"order must lie in \[0, 1\]: got 2"):
        SPACE.renyi_divergence(a, b, 2.0)


def test_means_of_the_three_geometries():
    points = Gamma([0.5, 3.0, 40.0], [2.0, 1.0, 7.0])
    weights = np.array([0.5, 0.25, 0.25])
    e = manifolds.e_mean(points, weights=weights)
    np.testing.assert_allclose([e.concentration, e.rate], [11.0, 3.0], rtol=1e-15)
    m = manifolds.m_mean(points, weights=weights)
    logs, means = (
        np.array([float(y) for y in x])
        for x in (
            [mpmath.psi(0, k) - mpmath.log(r) for k, r in zip(*fields(points), strict=True)],
            points.concentration / points.rate,
        )
    )
    seen = manifolds.expectation_parameters(m)
    np.testing.assert_allclose(seen, [weights @ logs, weights @ means], rtol=1e-13)
    found = frechet_mean(points, space="gamma", weights=weights)
    pulls = manifolds.log_map(found.point, points)
    for part in (pulls.concentration, pulls.rate):
        assert abs(weights @ part) < 1e-9 * abs(part).max()


def test_both_parameters_lead_back():
    a = Gamma([1e-3, 2.0, 1e5], [7.0, 3.0, 1e5])
    theta = SPACE.natural_parameters(a)
    np.testing.assert_allclose(theta, [a.concentration, -a.rate], rtol=1e-15)
    again = SPACE.from_natural_parameters(*theta)
    np.testing.assert_allclose(again.concentration, a.concentration, rtol=1e-15)
    again = SPACE.from_expectation_parameters(*SPACE.expectation_parameters(a))
    # The logarithm of the mean, less the mean of the logarithm, is 1 / 2k.
    np.testing.assert_allclose(again.concentration, a.concentration, rtol=1e-9)
    with pytest.raises(ValueError, match="eta must be the means"):
        SPACE.from_expectation_parameters(0.5, 1.0)


def test_geodesics_end_at_their_ends():
    a, b = Gamma([0.5, 30.0], [2.0, 1.0]), Gamma([[7.0], [0.2]], 3.0)
    for name in ("fisher_rao_geodesic", "e_geodesic", "m_geodesic"):
        path = getattr(manifolds, name)(a, b, [0.0, 0.5, 1.0])
        assert path.shape == (3, 2, 2)
        for i, end in ((0, a), (2, b)):
            for field in ("concentration", "rate"):
                expected = np.broadcast_to(getattr(end, field), (2, 2))
                np.testing.assert_allclose(getattr(path[i], field), expected, rtol=1e-13)


def test_m_geodesics_of_near_points_keep_their_difference():
    a, b = Gamma(1e6, 1e6), Gamma(*2 * (1e6 * (1.0 + 2.0**-30),))
    middle = manifolds.m_geodesic(a, b, 0.5)
    np.testing.assert_allclose(middle.concentration / 1e6 - 1.0, 2.0**-31, rtol=1e-5)


# ---------------------------------------------------------------- fits


def test_fits_are_those_of_maximum_likelihood(rng):
    x = rng.gamma(2.5, 0.3, size=1000)
    fitted = Gamma.fit(x)
    k, _, scale = scipy.stats.gamma.fit(x, floc=0.0)
    np.testing.assert_allclose([fitted.concentration, fitted.rate], [k, 1.0 / scale], rtol=1e-6)
    score = np.log(fitted.rate) - scipy.special.digamma(fitted.concentration) + np.log(x).mean()
    assert abs(score) < 1e-13
    np.testing.assert_allclose(fitted.concentration / fitted.rate, x.mean(), rtol=1e-14)
    # Samples that hardly differ: k is 1 over their relative variance.
    near = Gamma.fit([1.0, 1.0 + 2.0**-27])
    np.testing.assert_allclose(near.concentration, 2.0**56, rtol=1e-7)
    classes = Gamma.fit(x, labels=["a", "b"] * 500)
    np.testing.assert_allclose(classes.rate[0], Gamma.fit(x[::2]).rate, rtol=1e-13)
    for bad in ([1.0, 1.0], [0.0, 1.0], [1.0, np.nan]):
        with pytest.raises(ValueError, match="samples"):
            Gamma.fit(bad)


# ---------------------------------------------------------------- libraries and gradients


def test_float32_and_torch_agree():
    pairs = ([0.3, 2.0, 50.0], [1.0, 2.0, 3.0]), ([3.0, 2.0000005, 0.1], [0.2, 2.0, 30.0])
    a, b = (Gamma(*np.float32(x)) for x in pairs)
    wide = [Gamma(x.concentration.astype(float), x.rate.astype(float)) for x in (a, b)]
    for verb in ("fisher_rao_distance", "kl_divergence", "hellinger_distance"):
        expected = getattr(manifolds, verb)(*wide)
        for convert in (np.asarray, torch.tensor):
            c, d = (Gamma(convert(x.concentration), convert(x.rate)) for x in (a, b))
            found = getattr(manifolds, verb)(c, d)
            assert found.dtype == c.rate.dtype
            np.testing.assert_allclose(found, expected, rtol=4e-6)
    middle = manifolds.fisher_rao_geodesic(c, d, 0.4)
    assert middle.rate.dtype == torch.float32


def test_other_libraries_and_lazy_arrays(lib):
    k, rate = ([0.3, 2.0], [1.0, 5.0]), ([2.0, 7.0], [1.0, 0.1])
    a, b = (Gamma(*(lib.array(x) for x in y)) for y in zip(k, rate, strict=True))
    plain = [Gamma(*y) for y in zip(k, rate, strict=True)]
    u = Tangent(lib.array([1.0, -1.0]), 2.0)
    expected = manifolds.norm(plain[0], Tangent([1.0, -1.0], 2.0))
    np.testing.assert_allclose(lib.to_numpy(manifolds.norm(a, u)), expected, rtol=1e-14)
    kl = manifolds.kl_divergence(a, b)
    np.testing.assert_allclose(lib.to_numpy(kl), manifolds.kl_divergence(*plain), rtol=1e-13)
    if lib.name == "dask":
        with pytest.raises(TypeError, match=r"on dask arrays\. Call it outside, or on \.compute"):
            manifolds.fisher_rao_distance(a, b)
        return
    d = manifolds.fisher_rao_distance(a, b)
    assert lib.owns(d)
    np.testing.assert_allclose(lib.to_numpy(d), manifolds.fisher_rao_distance(*plain), rtol=1e-14)


def parameters(*values):
    return [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in values]


@pytest.mark.parametrize(
    "verb",
    [
        "fisher_rao_distance",
        "fisher_rao_squared_distance",
        "kl_divergence",
        "hellinger_distance",
    ],
)
def test_gradients_are_those_of_finite_differences(verb):
    given = parameters([0.3, 2.0, 9.0], [1.0, 3.0, 0.5], [2.0, 2.5, 11.0], [0.2, 4.0, 0.6])

    def function(*x):
        return getattr(manifolds, verb)(Gamma(*x[:2]), Gamma(*x[2:]))

    assert torch.autograd.gradcheck(function, given)


def test_gradients_at_equal_points_are_zero_and_second_ones_refused():
    given = parameters(2.0, 3.0)
    for verb in ("fisher_rao_distance", "fisher_rao_squared_distance"):
        d = getattr(manifolds, verb)(Gamma(*given), Gamma(2.0, 3.0))
        gradient = torch.autograd.grad(d, given, create_graph=True)
        assert [float(x.detach()) for x in gradient] == [0.0, 0.0]
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        torch.autograd.grad(gradient[0], given)
    with pytest.raises(ValueError, match="a and b must not require a gradient here"):
        manifolds.log_map(Gamma(*given), Gamma(2.0, 3.0))


def test_fitted_and_mixed_points_pass_gradients_on():
    def by_fit(x):
        fitted = Gamma.fit(x)
        return fitted.concentration, fitted.rate

    def by_mean(k, rate):
        mean = manifolds.m_mean(Gamma(k, rate))
        return mean.concentration, mean.rate

    assert torch.autograd.gradcheck(by_fit, parameters([0.5, 2.0, 3.5]))
    assert torch.autograd.gradcheck(by_mean, parameters([0.5, 2.0], [3.0, 1.0]))


# ---------------------------------------------------------------- the rest of the package


def test_distributions_of_torch_and_scipy():
    made = from_distribution(scipy.stats.gamma(3.0, scale=0.5))
    assert (made.concentration, made.rate) == (3.0, 2.0)
    k = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    given = distributions.Gamma(k, torch.tensor(2.0, dtype=torch.float64))
    assert from_distribution(given).concentration is k
    assert infogeo.fisher_rao_distance(scipy.stats.gamma(3.0, scale=0.5), made) == 0.0
    with pytest.raises(TypeError, match="a shift has no place in the space"):
        from_distribution(scipy.stats.gamma(3.0, loc=1.0))
    x = manifolds.sample(made, (20_000,), rng=0)
    np.testing.assert_allclose([x.mean(), x.var()], [1.5, 0.75], rtol=0.05)
    log_density = SPACE.log_density(made, x[:5])
    np.testing.assert_allclose(log_density, scipy.stats.gamma(3.0, scale=0.5).logpdf(x[:5]))


def test_neighbours_and_files(tmp_path):
    points = Gamma([1.0, 1.1, 20.0, 22.0], [1.0, 1.2, 3.0, 3.0])
    expected = [[manifolds.fisher_rao_distance(a, b) for b in points] for a in points]
    np.testing.assert_allclose(pairwise_distance(points, space="gamma"), expected, rtol=1e-13)
    assert nearest(points, space="gamma", num_neighbors=1).indices[:, 0].tolist() == [1, 0, 3, 2]
    for saved in (points, Tangent([1.0], [2.0])):
        infogeo.save(saved, tmp_path / "x.npz")
        again = infogeo.load(tmp_path / "x.npz")
        np.testing.assert_array_equal(again.rate, saved.rate)


def test_a_network_may_put_out_logarithms():
    """The head of log concentrations and log means: its distance, its factor, its geodesic."""
    head = heads.of_space("gamma")
    z = torch.tensor([[0.5, -1.0]], dtype=torch.float64, requires_grad=True)
    w = torch.tensor([[-2.0, 0.3]], dtype=torch.float64)
    a, b = (Gamma(x[0, 0].detach().exp(), (x[0, 0] - x[0, 1]).detach().exp()) for x in (z, w))
    d = head.distance(z, w)
    np.testing.assert_allclose(d.detach(), [manifolds.fisher_rao_distance(a, b)], rtol=1e-13)
    assert torch.autograd.gradcheck(lambda y: head.distance(y, w), z)
    matrix = PullbackMetric(lambda x: x, head).matrix(z.detach())[0]
    k = float(a.concentration)
    f = k * k * float(mpmath.psi(1, k)) - k
    np.testing.assert_allclose(matrix, np.diag([f, k]), rtol=1e-12)
    t = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    path = head.geodesic(z.detach()[0], w[0], t)
    np.testing.assert_allclose(path[[0, 2]], torch.cat([z.detach(), w]), atol=1e-12)
    part = head.distance(z.detach().expand(3, 2), path)
    np.testing.assert_allclose(part, t * d.detach(), atol=1e-12)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_parameters_are_checked(bad):
    for given in ((bad, 1.0), (1.0, [1.0, bad])):
        with pytest.raises(ValueError, match="must be positive and finite"):
            Gamma(*given)
    with pytest.raises(ValueError, match="v must lead to a point whose parameters are numbers"):
        manifolds.exp_map(Gamma(1.0, 1.0), Tangent(1e4, 0.0))
