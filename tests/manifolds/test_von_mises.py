"""Von Mises and von Mises-Fisher distributions against mpmath, published values and torch."""

import math

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from array_api_compat import array_namespace
from torch import distributions

import infogeo
from infogeo import manifolds
from infogeo._points import fields
from infogeo._spaces import of_point
from infogeo.interop.distributions import from_distribution
from infogeo.manifolds import VonMises, VonMisesFisher, _bessel, von_mises
from infogeo.manifolds.von_mises_fisher import Tangent
from infogeo.mean import frechet_mean
from infogeo.neighbors import pairwise_distance


def exact_ratio(kappa, p):
    kappa, order = mpmath.mpf(kappa), mpmath.mpf(p) / 2
    return mpmath.besseli(order, kappa) / mpmath.besseli(order - 1, kappa)


def exact_log_partition(kappa, p):
    kappa, order = mpmath.mpf(kappa), mpmath.mpf(p) / 2 - 1
    scaled = mpmath.gamma(order + 1) * (kappa / 2) ** -order
    return mpmath.log(scaled * mpmath.besseli(order, kappa))


def directions(angle, p):
    """Return two unit vectors of R^p at an angle."""
    m, n = np.zeros(p), np.zeros(p)
    m[0], n[0], n[1] = 1.0, math.cos(angle), math.sin(angle)
    return m, n


# ---------------------------------------------------------------- Bessel functions


@pytest.mark.parametrize("p", [2, 3, 4, 10, 31])
def test_ratios_of_bessel_functions(p):
    kappa = np.concatenate([[1e-6, 0.1, 1.0, 4.0, 29.9, 30.1, 99.0, 101.0], [900.0, 1e3, 1e4]])
    found = _bessel.ratio(kappa, p, array_namespace(kappa))
    with mpmath.workdps(60):
        ratios = [exact_ratio(k, p) for k in kappa.tolist()]
        slopes = [
            float(1 - r * r - (p - 1) * r / mpmath.mpf(k))
            for r, k in zip(ratios, kappa.tolist(), strict=True)
        ]
    np.testing.assert_allclose(found.value, [float(r) for r in ratios], rtol=1e-15)
    np.testing.assert_allclose(found.slope, slopes, rtol=3e-14)
    partition = _bessel.log_partition(kappa, p, array_namespace(kappa))
    expected = np.array([float(exact_log_partition(k, p)) for k in kappa.tolist()])
    assert np.max(abs(partition - expected) / np.maximum(1.0, kappa)) < 1e-15


def test_ratios_over_the_range_of_numbers():
    kappa = np.array([1e-300, 1e-150, 1e12, 1e300])
    A, slope, _ = _bessel.ratio(kappa, 2, array_namespace(kappa))
    np.testing.assert_allclose(A, [5e-301, 5e-151, 1.0 - 5e-13, 1.0], rtol=1e-15)
    np.testing.assert_allclose(slope[:3], [0.5, 0.5, 5e-25], rtol=1e-11)


# ---------------------------------------------------------------- distances


@pytest.mark.parametrize(
    ("p", "kappa", "other", "angle", "expected"),
    [
        (2, 1.0, 2.0, 1.0, 0.98371303364127475503762411),
        (3, 1.0, 2.0, 1.0, 0.8688567301737178971271603),
        (3, 0.5, 50.0, 1.0, 4.0575605650386208279922425),
        (2, 1.0, 1.0, 3.1, 1.3342163330850762361530699),
        (3, 0.1, 10.0, 3.0, 2.6494934726629571647451578),
    ],
)
def test_distances_of_20_digits_from_another_program(p, kappa, other, angle, expected):
    m, n = directions(angle, p)
    a, b = VonMisesFisher(m, kappa), VonMisesFisher(n, other)
    for one, far in ((a, b), (b, a)):
        np.testing.assert_allclose(manifolds.fisher_rao_distance(one, far), expected, rtol=1e-13)
    if p == 2:
        a, b = VonMises(0.5, kappa), VonMises(0.5 - angle + 6.0 * math.pi, other)
        np.testing.assert_allclose(manifolds.fisher_rao_distance(a, b), expected, rtol=1e-13)


@pytest.mark.parametrize("p", [2, 3, 8, 50])
@pytest.mark.parametrize("kappa", [1e-3, 0.5, 4.0, 60.0, 1e5])
def test_near_points_have_their_digits(p, kappa):
    """The metric between them."""
    for step, angle in ((1e-9, 0.0), (0.0, 1e-9), (-1e-10, 1e-10)):
        m, n = directions(angle, p)
        other = kappa * (1.0 + step)
        at = mpmath.sqrt(mpmath.mpf(kappa) * mpmath.mpf(other))
        with mpmath.workdps(60):
            A = exact_ratio(at, p)
            slope = 1 - A * A - (p - 1) * A / at
            change = mpmath.mpf(other) - mpmath.mpf(kappa)
            chord = mpmath.norm(mpmath.matrix((n - m).tolist()))
            expected = mpmath.sqrt(slope * change**2 + at * A * chord**2)
        d = manifolds.fisher_rao_distance(VonMisesFisher(m, kappa), VonMisesFisher(n, other))
        np.testing.assert_allclose(d, float(expected), rtol=1e-12)


def test_opposite_directions_are_joined_through_the_center():
    length = [
        scipy.integrate.quad(
            lambda k: math.sqrt(_bessel.ratio(np.array(k), 3, np).slope), 0.0, end, epsabs=1e-13
        )[0]
        for end in (0.7, 20.0)
    ]
    a, b = VonMisesFisher([0.0, 0.0, 1.0], 0.7), VonMisesFisher([0.0, 0.0, -1.0], 20.0)
    np.testing.assert_allclose(manifolds.fisher_rao_distance(a, b), sum(length), rtol=1e-12)
    for angle in (1e-12, 1e-6):
        near = VonMisesFisher([math.sin(angle), 0.0, -math.cos(angle)], 20.0)
        d = manifolds.fisher_rao_distance(a, near)
        np.testing.assert_allclose(d, sum(length), rtol=2.0 * angle + 1e-12)
    back = manifolds.exp_map(a, manifolds.log_map(a, b))
    np.testing.assert_allclose(back.mean_direction, b.mean_direction, atol=1e-7)
    np.testing.assert_allclose(back.concentration, 20.0, rtol=1e-10)


@pytest.mark.parametrize("p", [2, 3, 20])
def test_random_pairs_are_symmetric_and_inverted(p, rng):
    kappa = np.exp(2.0 * rng.normal(size=(2, 60)))
    m = rng.normal(size=(2, 60, p))
    m /= np.linalg.norm(m, axis=-1, keepdims=True)
    a, b = (VonMisesFisher(x, k) for x, k in zip(m, kappa, strict=True))
    d = manifolds.fisher_rao_distance(a, b)
    np.testing.assert_allclose(manifolds.fisher_rao_distance(b, a), d, rtol=1e-13)
    v = manifolds.log_map(a, b)
    np.testing.assert_allclose(manifolds.norm(a, v), d, rtol=1e-12)
    back = manifolds.exp_map(a, v)
    np.testing.assert_allclose(back.mean_direction, m[1], atol=1e-10)
    np.testing.assert_allclose(back.concentration, kappa[1], rtol=1e-9)


def test_geodesics_solve_their_equation():
    """Shooting with scipy, by the Christoffel symbols, which a derivative of the metric checks."""
    a, b = VonMises(0.3, 0.8), VonMises(2.4, 3.0)
    h = 1e-5
    slope = [
        (
            manifolds.fisher_information(VonMises(0.3, 0.8 + h))
            - manifolds.fisher_information(VonMises(0.3, 0.8 - h))
        )
        / (2 * h)
    ][0]
    symbols = manifolds.christoffel_symbols(a)
    metric = np.diag(manifolds.fisher_information(a))
    expected = [-slope[0, 0] / (2 * metric[1]), slope[1, 1] / (2 * metric[1])]
    np.testing.assert_allclose([symbols[1, 0, 0], symbols[1, 1, 1]], expected, rtol=1e-8)
    np.testing.assert_allclose(symbols[0, 0, 1], slope[0, 0] / (2 * metric[0]), rtol=1e-8)

    def equation(_, state):
        velocity = state[2:]
        symbols = manifolds.christoffel_symbols(VonMises(*state[:2]))
        return [*velocity, *-np.einsum("kij,i,j->k", symbols, velocity, velocity)]

    v = manifolds.log_map(a, b)
    start = [0.3, 0.8, float(v.loc), float(v.concentration)]
    solved = scipy.integrate.solve_ivp(
        equation, (0.0, 1.0), start, method="DOP853", rtol=1e-11, atol=1e-13, t_eval=[0.4, 1.0]
    )
    path = manifolds.fisher_rao_geodesic(a, b, [0.4, 1.0])
    np.testing.assert_allclose(solved.y[:2], [path.loc, path.concentration], rtol=1e-9)


def test_curvatures_of_the_center_and_far_out():
    u, v = von_mises.Tangent(1.0, 0.0), von_mises.Tangent(0.0, 1.0)
    found = manifolds.sectional_curvature(VonMises(0.0, 1e6), u, v)
    np.testing.assert_allclose(found, -0.5, rtol=1e-5)  # normals
    # The law of the contract, in a plane with the radius and in one without.
    a = VonMisesFisher([0.0, 0.6, 0.8], 2.0)
    radial, one, two = (
        Tangent([0.0, 0.0, 0.0], 1.0),
        Tangent([1.0, 0.0, 0.0], 0.0),
        Tangent([0.0, -0.8, 0.6], 0.0),
    )
    for u, v in ((radial, one), (one, two)):
        u, v = u / manifolds.norm(a, u), v / manifolds.norm(a, v)

        def estimate(t, u=u, v=v):
            ends = [manifolds.exp_map(a, t * x) for x in (u, v)]
            squared = manifolds.fisher_rao_squared_distance(*ends)
            return 3.0 * (t**2 * manifolds.norm(a, u - v) ** 2 - squared) / t**4

        extrapolated = 2.0 * estimate(0.01) - estimate(0.02)  # the curvature varies
        seen = manifolds.sectional_curvature(a, u, v)
        np.testing.assert_allclose(seen, extrapolated, rtol=1e-3)


# ---------------------------------------------------------------- divergences and means


def exact_divergences(p, kappa, other, angle, order):
    """Return KL, the Renyi divergence and the Hellinger distance."""
    kappa, other, angle = map(mpmath.mpf, (kappa, other, angle))
    cosine = mpmath.cos(angle)
    A = exact_ratio(kappa, p)
    kl = exact_log_partition(other, p) - exact_log_partition(kappa, p)
    kl -= (other * cosine - kappa) * A

    def log_affinity(t):
        size = mpmath.sqrt(
            (t * kappa) ** 2 + ((1 - t) * other) ** 2 + 2 * t * (1 - t) * kappa * other * cosine
        )
        mean = t * exact_log_partition(kappa, p) + (1 - t) * exact_log_partition(other, p)
        return mean - exact_log_partition(size, p)

    half = mpmath.mpf(1) / 2
    hellinger = mpmath.sqrt(-mpmath.expm1(-log_affinity(half)))
    return [float(x) for x in (kl, log_affinity(mpmath.mpf(order)) / (1 - order), hellinger)]


@pytest.mark.parametrize("p", [2, 3, 12])
@pytest.mark.parametrize(
    ("kappa", "other", "angle"),
    [(1.0, 2.0, 1.0), (2.0, 2.0 + 1e-9, 1e-10), (0.01, 80.0, 3.0), (300.0, 0.5, 0.1)],
)
def test_divergences_have_their_digits(p, kappa, other, angle):
    m, n = directions(angle, p)
    a, b = VonMisesFisher(m, kappa), VonMisesFisher(n, other)

    with mpmath.workdps(80):
        expected = exact_divergences(p, kappa, other, angle, 0.25)
    found = (
        manifolds.kl_divergence(a, b),
        of_point(a).renyi_divergence(a, b, 0.25),
        manifolds.hellinger_distance(a, b),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    if p == 2:
        c, d = VonMises(0.0, kappa), VonMises(angle, other)
        found = manifolds.kl_divergence(c, d), manifolds.hellinger_distance(c, d)
        np.testing.assert_allclose(found, [expected[0], expected[2]], rtol=1e-12)


def test_means_and_both_parameters():
    m = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.6, 0.0, 0.8]])
    points, weights = VonMisesFisher(m, [0.5, 3.0, 40.0]), np.array([0.5, 0.25, 0.25])
    for mean, name in ((manifolds.e_mean, "natural"), (manifolds.m_mean, "expectation")):
        found = mean(points, weights=weights)
        parameters = getattr(manifolds, f"{name}_parameters")
        expected = weights @ parameters(points)[0]
        np.testing.assert_allclose(parameters(found)[0], expected, rtol=1e-12)
        again = getattr(of_point(points), f"from_{name}_parameters")
        assert callable(again)
    angles = VonMises([0.3, 2.0], [1.0, 5.0])
    for name in ("natural", "expectation"):
        parts = getattr(manifolds, f"{name}_parameters")(angles)
        back = getattr(of_point(angles), f"from_{name}_parameters")(*parts)
        np.testing.assert_allclose(fields(back), fields(angles), rtol=1e-13)
    found = frechet_mean(points[:2], space="von_mises_fisher").point
    middle = manifolds.fisher_rao_geodesic(points[0], points[1], 0.5)
    np.testing.assert_allclose(found.concentration, middle.concentration, rtol=1e-7)
    np.testing.assert_allclose(found.mean_direction, middle.mean_direction, atol=1e-7)


def test_fits_have_the_means_of_the_samples(rng):
    x = manifolds.sample(VonMises(2.9, 1.7), (3000,), rng=1)
    fitted = VonMises.fit(x)
    eta = manifolds.expectation_parameters(fitted)
    np.testing.assert_allclose(eta, [np.cos(x).mean(), np.sin(x).mean()], rtol=1e-13)
    assert manifolds.fisher_rao_distance(fitted, VonMises(2.9, 1.7)) < 5.0 * 3000**-0.5
    true = VonMisesFisher([0.6, 0.0, 0.8], 5.0)
    y = manifolds.sample(true, (3000,), rng=1)
    assert y.shape == (3000, 3)
    directed = VonMisesFisher.fit(y)
    (eta,) = manifolds.expectation_parameters(directed)
    np.testing.assert_allclose(eta, y.mean(axis=0), rtol=1e-12)
    assert manifolds.fisher_rao_distance(directed, true) < 6.0 * 3000**-0.5
    for bad in ([[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [-1.0, 0.0]], [[2.0, 0.0]], [1.0, 0.0]):
        with pytest.raises(ValueError, match="samples"):
            VonMisesFisher.fit(bad)


# ---------------------------------------------------------------- libraries and gradients


@pytest.mark.parametrize("verb", ["fisher_rao_squared_distance", "kl_divergence"])
def test_gradients_are_those_of_finite_differences(verb):
    given = [
        torch.tensor(x, dtype=torch.float64, requires_grad=True)
        for x in ([0.3, 2.0], [0.4, 7.0], [1.3, 5.0], [2.0, 7.5])
    ]

    def function(*x):
        return getattr(manifolds, verb)(VonMises(*x[:2]), VonMises(*x[2:]))

    assert torch.autograd.gradcheck(function, given)

    def directed(x, kappa):
        m = x / torch.linalg.norm(x, dim=-1, keepdim=True)
        b = VonMisesFisher(torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), 3.0)
        return getattr(manifolds, verb)(VonMisesFisher(m, kappa), b)

    x = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(directed, (x, given[1][:1]))


def test_torch_float32_and_equal_points():
    a, b = VonMises([0.3, 1.0], [1.0, 20.0]), VonMises([2.0, 1.0], [2.0, 20.0])
    expected = manifolds.fisher_rao_distance(a, b)
    assert expected[1] == 0.0
    c, d = (VonMises(*(torch.tensor(x, dtype=torch.float32) for x in fields(y))) for y in (a, b))
    found = manifolds.fisher_rao_distance(c, d)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_distributions_of_torch_and_scipy():
    made = from_distribution(scipy.stats.vonmises(2.0, 0.5))
    assert (made.loc, made.concentration) == (0.5, 2.0)
    given = distributions.VonMises(*torch.tensor([0.5, 2.0], dtype=torch.float64))
    assert infogeo.fisher_rao_distance(given, from_distribution(given)) == 0.0
    x = np.linspace(-3.0, 3.0, 7)
    expected = scipy.stats.vonmises(2.0, 0.5).logpdf(x)
    np.testing.assert_allclose(of_point(made).log_density(made, x), expected, rtol=1e-12)
    m = np.array([0.6, 0.0, 0.8])
    y = np.array([[1.0, 0.0, 0.0], [0.0, 0.6, 0.8]])
    expected = scipy.stats.vonmises_fisher(m, 4.0).logpdf(y)
    a = from_distribution(scipy.stats.vonmises_fisher(m, 4.0))
    np.testing.assert_allclose(of_point(a).log_density(a, y), expected, rtol=1e-12)
    assert (manifolds.to_distribution(a).mu == m).all()
    d = pairwise_distance(VonMisesFisher(y, 4.0), space="von_mises_fisher")
    np.testing.assert_allclose(d[0, 1], manifolds.fisher_rao_distance(*VonMisesFisher(y, 4.0)))


def test_bad_points_are_refused():
    for make, message in (
        (lambda: VonMises(0.0, 0.0), "concentration must be positive"),
        (lambda: VonMises(np.inf, 1.0), "loc must be finite"),
        (lambda: VonMisesFisher([3.0, 4.0], 1.0), r"unit vectors .*\| is 4"),
        (lambda: VonMisesFisher([1.0], 1.0), "at least two coordinates"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    a = VonMisesFisher([0.6, 0.8], 1.0)
    lowest = np.linalg.eigvalsh(manifolds.fisher_information(a))[0]
    np.testing.assert_allclose(lowest, 0.0, atol=1e-15)
