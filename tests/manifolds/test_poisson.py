"""Poisson distributions against mpmath, sums over their counts, and what torch and scipy say."""

import math

import mpmath
import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from torch import distributions

import infogeo
from infogeo import manifolds
from infogeo.interop.distributions import from_distribution
from infogeo.manifolds import Poisson
from infogeo.manifolds.poisson import SPACE, Tangent
from infogeo.mean import frechet_mean
from infogeo.neighbors import nearest, pairwise_distance

PAIRS = [
    (2.0, 7.0),
    (3.0, 3.0 + 2**-50),
    (1e-300, 1e300),
    (5e-324, 1.0),
    (1e300, 1.1e300),
    (1e300, 5e300),
    (0.0, 9.0),
    (0.0, 0.0),
    (1e6, 1e6 + 1e-4),
]


def exact(function, *rates):
    return float(function(*map(mpmath.mpf, rates)))


def exact_distance(a, b):
    return 2 * abs(mpmath.sqrt(a) - mpmath.sqrt(b))


def exact_kl(a, b):
    return b - a + (a * mpmath.log(a / b) if a > 0 else 0)


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_distance_has_all_its_digits(a, b):
    expected = exact(exact_distance, a, b)
    for one, other in ((a, b), (b, a)):
        d = manifolds.fisher_rao_distance(Poisson(one), Poisson(other))
        np.testing.assert_allclose(d, expected, rtol=1e-15, atol=0)
        squared = manifolds.fisher_rao_squared_distance(Poisson(one), Poisson(other))
        np.testing.assert_allclose(squared, expected**2, rtol=4e-15, atol=0)


def test_distance_of_a_published_pair():
    """The oracle of 25 digits from another program."""
    d = manifolds.fisher_rao_distance(Poisson(2.0), Poisson(7.0))
    np.testing.assert_allclose(d, 2.463075497382991083399854, rtol=1e-15)


@pytest.mark.parametrize(("a", "b"), [pair for pair in PAIRS if min(pair) > 0.0])
def test_divergences_have_all_their_digits(a, b):
    kl = manifolds.kl_divergence(Poisson(a), Poisson(b))
    np.testing.assert_allclose(kl, exact(exact_kl, a, b), rtol=1e-14)
    jeffreys = exact(lambda x, y: (x - y) * mpmath.log(x / y), a, b)
    np.testing.assert_allclose(
        manifolds.jeffreys_divergence(Poisson(a), Poisson(b)), jeffreys, rtol=4e-15
    )
    hellinger = exact(
        lambda x, y: mpmath.sqrt(-mpmath.expm1(-((mpmath.sqrt(x) - mpmath.sqrt(y)) ** 2) / 2)), a, b
    )
    np.testing.assert_allclose(
        manifolds.hellinger_distance(Poisson(a), Poisson(b)), hellinger, rtol=1e-14
    )


def test_divergences_are_those_of_the_distributions():
    """Sums over counts, by scipy's probabilities."""
    a, b = Poisson(2.5), Poisson(4.0)
    x = np.arange(80)
    p, q = (scipy.stats.poisson(float(c.rate)).pmf(x) for c in (a, b))
    np.testing.assert_allclose(manifolds.kl_divergence(a, b), (p * np.log(p / q)).sum(), rtol=1e-12)
    affinity = np.sqrt(p * q).sum()
    np.testing.assert_allclose(SPACE.bhattacharyya_coefficient(a, b), affinity, rtol=1e-13)
    np.testing.assert_allclose(SPACE.log_density(a, x), np.log(p), rtol=1e-12)
    fisher = (p * (x / 2.5 - 1.0) ** 2).sum()
    np.testing.assert_allclose(manifolds.fisher_information(a), [[fisher]], rtol=1e-12)


def test_a_rate_of_zero_is_the_edge():
    edge, inside = Poisson(0.0), Poisson([0.0, 1.0, 4.0])
    np.testing.assert_array_equal(manifolds.fisher_rao_distance(edge, inside), [0.0, 2.0, 4.0])
    np.testing.assert_array_equal(manifolds.kl_divergence(edge, inside), [0.0, 1.0, 4.0])
    np.testing.assert_array_equal(manifolds.kl_divergence(inside, edge), [0.0, np.inf, np.inf])
    np.testing.assert_array_equal(
        manifolds.jeffreys_divergence(edge, inside), [0.0, np.inf, np.inf]
    )
    reached = manifolds.exp_map(inside[1:], manifolds.log_map(inside[1:], edge))
    np.testing.assert_array_equal(reached.rate, [0.0, 0.0])
    path = manifolds.fisher_rao_geodesic(edge, Poisson(4.0), [0.0, 0.25, 1.0])
    np.testing.assert_array_equal(path.rate, [0.0, 0.25, 4.0])
    path = manifolds.e_geodesic(edge, Poisson(4.0), [0.0, 0.25, 0.75, 1.0])
    np.testing.assert_array_equal(path.rate, [0.0, 0.0, 0.0, 4.0])
    assert manifolds.e_mean(inside).rate == 0.0
    assert manifolds.norm(edge, Tangent(0.0)) == 0.0
    assert manifolds.norm(edge, Tangent(1.0)) == math.inf
    with pytest.raises(ValueError, match="no finite velocity leaves the edge"):
        manifolds.log_map(edge, Poisson(1.0))
    for a, v in ((Poisson(4.0), Tangent(-8.1)), (edge, Tangent(1.0))):
        with pytest.raises(ValueError, match="v must keep the geodesic inside the family"):
            manifolds.exp_map(a, v)
    np.testing.assert_allclose(manifolds.exp_map(Poisson(4.0), Tangent(-7.9)).rate, 6.25e-4)


@pytest.mark.parametrize("rate", [-1.0, np.nan, np.inf])
def test_rates_are_checked(rate):
    with pytest.raises(ValueError, match="rate must be finite and not negative"):
        Poisson([1.0, rate])
    Poisson(rate, check=False)


def test_arguments_are_points_of_one_family():
    for a, b in ((1.0, 2.0), (Poisson(1.0), infogeo.normal.Normal(0.0, 1.0))):
        with pytest.raises(TypeError, match=r"a must be a point of a family .*Poisson|b must be a"):
            manifolds.fisher_rao_distance(a, b)
    normals = infogeo.normal.Normal(0.0, 1.0), infogeo.normal.Normal(0.0, math.e)
    d = manifolds.fisher_rao_distance(*normals)
    np.testing.assert_allclose(d, math.sqrt(2.0), rtol=1e-15)


# ---------------------------------------------------------------- libraries and gradients


def test_all_libraries_agree(lib):
    a, b = lib.array([2.0, 1e-30, 0.0]), lib.array([7.0, 1e30, 4.0])
    for name in ("fisher_rao_distance", "kl_divergence", "hellinger_distance"):
        value = getattr(manifolds, name)(Poisson(a), Poisson(b))
        expected = getattr(manifolds, name)(Poisson([2.0, 1e-30, 0.0]), Poisson([7.0, 1e30, 4.0]))
        assert lib.owns(value)
        np.testing.assert_allclose(lib.to_numpy(value), expected, rtol=1e-13)
    middle = manifolds.fisher_rao_geodesic(Poisson(a), Poisson(b), 0.5)
    assert lib.owns(middle.rate)
    np.testing.assert_allclose(
        lib.to_numpy(middle.rate), [(math.sqrt(2) + math.sqrt(7)) ** 2 / 4, 2.5e29, 1.0]
    )


def test_float32_keeps_its_digits():
    a, b = (np.array(x, dtype=np.float32) for x in ([3.0, 1e-30], [3.000001, 1e30]))
    d = manifolds.fisher_rao_distance(Poisson(a), Poisson(b))
    assert d.dtype == np.float32
    expected = [exact(exact_distance, float(x), float(y)) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(d, expected, rtol=1e-6)
    kl = manifolds.kl_divergence(Poisson(a[:1]), Poisson(b[:1]))
    np.testing.assert_allclose(kl, exact(exact_kl, float(a[0]), float(b[0])), rtol=1e-6)


def test_the_squared_distance_is_smooth_at_equal_points():
    rate = torch.tensor([0.5, 2.0, 1e6], dtype=torch.float64)

    def squared(b):
        return manifolds.fisher_rao_squared_distance(Poisson(rate), Poisson(b)).sum()

    np.testing.assert_array_equal(torch.func.grad(squared)(rate), 0.0)
    hessian = torch.func.hessian(squared)(rate)
    np.testing.assert_allclose(hessian, torch.diag(2.0 / rate), rtol=1e-13)


@pytest.mark.parametrize(
    "name", ["fisher_rao_squared_distance", "kl_divergence", "jeffreys_divergence"]
)
def test_gradients_are_those_of_finite_differences(name):
    a = torch.tensor([0.3, 2.0, 2.0, 50.0], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([1.3, 2.5, 2.0, 0.1], dtype=torch.float64, requires_grad=True)

    def function(x, y):
        return getattr(manifolds, name)(Poisson(x), Poisson(y))

    assert torch.autograd.gradcheck(function, (a, b))


def test_the_distance_has_no_gradient_that_is_not_a_number():
    a = torch.tensor([0.0, 2.0, 0.0, 5e-324], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([0.0, 2.0, 1.0, 1.0], dtype=torch.float64)
    manifolds.fisher_rao_distance(Poisson(a), Poisson(b)).sum().backward()
    assert torch.isfinite(a.grad[:3]).all()


# ---------------------------------------------------------------- geodesics and means


def test_geodesics_are_straight_in_their_coordinates():
    a, b, t = Poisson(1e-3), Poisson(2e4), np.linspace(0.0, 1.0, 7)
    for name, coordinate in (("fisher_rao", np.sqrt), ("e", np.log), ("m", np.asarray)):
        x = coordinate(getattr(manifolds, f"{name}_geodesic")(a, b, t).rate)
        ends = coordinate(np.array([1e-3, 2e4]))
        np.testing.assert_allclose(x, ends[0] + t * (ends[1] - ends[0]), rtol=1e-13)


def test_geodesics_of_near_points_keep_their_difference():
    a, b = Poisson(3e200), Poisson(3e200 * (1.0 + 2**-40))
    for name in ("fisher_rao_geodesic", "e_geodesic", "m_geodesic"):
        middle = getattr(manifolds, name)(a, b, 0.5)
        np.testing.assert_allclose(middle.rate / 3e200 - 1.0, 2**-41, rtol=1e-3)


def test_means_of_all_three_geometries():
    rates, weights = np.array([1.0, 4.0, 1e5]), np.array([2.0, 1.0, 1.0])
    points = Poisson(rates)
    w = weights / weights.sum()
    found = frechet_mean(points, space="poisson", weights=weights)
    np.testing.assert_allclose(found.point.rate, (w @ np.sqrt(rates)) ** 2, rtol=1e-14)
    assert (found.gradient_norm < 1e-12, found.steps, found.status.value) == (True, 0, "converged")
    e = manifolds.e_mean(points, weights=weights)
    np.testing.assert_allclose(e.rate, np.exp(w @ np.log(rates)), rtol=1e-14)
    m = manifolds.m_mean(points, weights=weights)
    np.testing.assert_allclose(m.rate, w @ rates, rtol=1e-14)


def test_the_frechet_mean_is_where_the_derivative_of_the_sum_vanishes():
    """Against a minimisation that knows nothing of the formula; with an edge, and in batches."""
    points = Poisson([[0.0, 3.0], [4.0, 0.5], [9.0, 7.0]])
    means = frechet_mean(points, space="poisson").point
    for column in range(2):

        def total(rate, column=column):
            return float(
                manifolds.fisher_rao_squared_distance(Poisson(rate), points[:, column]).sum()
            )

        best = scipy.optimize.minimize_scalar(total, bounds=(1e-9, 20.0), method="bounded")
        np.testing.assert_allclose(means.rate[column], best.x, rtol=1e-4)


# ---------------------------------------------------------------- what knows the family


def test_every_part_of_the_package_knows_it(tmp_path):
    rates = np.array([1.0, 9.0, 4.0, 16.0])
    points = Poisson(rates)
    expected = 2.0 * abs(np.sqrt(rates)[:, None] - np.sqrt(rates))
    np.testing.assert_allclose(pairwise_distance(points, space="poisson"), expected, rtol=1e-15)
    found = nearest(points, space=infogeo.manifolds.poisson, num_neighbors=1)
    assert found.indices[:, 0].tolist() == [2, 2, 0, 1]
    assert infogeo.fisher_rao_distance(Poisson(4.0), Poisson(9.0)) == 2.0
    for point in (points, Tangent(rates)):
        infogeo.save(point, tmp_path / "saved.npz")
        again = infogeo.load(tmp_path / "saved.npz")
        assert type(again) is type(point)
        np.testing.assert_array_equal(again.rate, rates)


@pytest.mark.parametrize(
    "given",
    [
        distributions.Poisson(torch.tensor(4.0, dtype=torch.float64)),
        scipy.stats.poisson(4.0),
        scipy.stats.poisson(mu=4.0),
        scipy.stats.make_distribution(scipy.stats.poisson)(mu=4.0),
    ],
)
def test_distributions_of_torch_and_scipy(given):
    point = from_distribution(given)
    assert isinstance(point, Poisson)
    assert point.rate == 4.0
    assert infogeo.fisher_rao_distance(given, given) == 0.0
    assert from_distribution(given, space="poisson").rate == 4.0


def test_distributions_keep_their_gradients_and_their_limits():
    rate = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)
    other = distributions.Poisson(torch.tensor(9.0, dtype=torch.float64))
    infogeo.fisher_rao_distance(distributions.Poisson(rate), other).backward()
    np.testing.assert_allclose(rate.grad, -0.5)
    with pytest.raises(TypeError, match="a shift has no place in the space"):
        from_distribution(scipy.stats.poisson(4.0, loc=1))
    with pytest.raises(TypeError, match="is no point of a space: base_dist is a batch"):
        from_distribution(distributions.Independent(distributions.Poisson(torch.ones(3)), 1))
    with pytest.raises(TypeError, match=r"Poisson \(of infogeo.manifolds.poisson\) and list"):
        infogeo.fisher_rao_distance(Poisson(1.0), [0.5, 0.5])
    with pytest.raises(ValueError, match="space must have this distribution among its points"):
        from_distribution(other, space="normal")


# ---------------------------------------------------------------- vectors and checks


def test_vectors_have_their_lengths_and_are_carried_by_each_connection():
    a, b, u, v = Poisson(4.0), Poisson(9.0), Tangent(-6.0), Tangent(2.0)
    assert manifolds.inner_product(a, u, v) == -3.0
    assert manifolds.norm(a, u) == 3.0
    for name, rate in (("parallel", -9.0), ("e", -13.5), ("m", -6.0)):
        carried = getattr(manifolds, f"{name}_transport")(a, b, u)
        np.testing.assert_allclose(carried.rate, rate, rtol=1e-15)
    np.testing.assert_allclose(manifolds.log_map(b, a).rate, -6.0, rtol=1e-15)


def test_one_point_of_a_batch_at_the_edge_is_enough():
    batch = Poisson([4.0, 0.0])
    np.testing.assert_array_equal(manifolds.log_map(batch, Poisson([9.0, 0.0])).rate, [4.0, 0.0])
    with pytest.raises(ValueError, match="no finite velocity leaves the edge"):
        manifolds.log_map(batch, Poisson([9.0, 1.0]))
    with pytest.raises(ValueError, match="v must keep the geodesic inside the family"):
        manifolds.exp_map(Poisson([4.0, 4.0]), Tangent([1.0, -9.0]))
    beyond = manifolds.exp_map(Poisson([4.0, 4.0]), Tangent([4.0, -9.0]), check=False)
    np.testing.assert_array_equal(beyond.rate, [9.0, np.nan])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("dimension", "a"),
        ("fisher_rao_distance", "ab"),
        ("fisher_rao_squared_distance", "ab"),
        ("inner_product", "avv"),
        ("norm", "av"),
        ("fisher_information", "a"),
        ("exp_map", "av"),
        ("log_map", "ab"),
        ("fisher_rao_geodesic", "abt"),
        ("e_geodesic", "abt"),
        ("m_geodesic", "abt"),
        ("parallel_transport", "abv"),
        ("e_transport", "abv"),
        ("m_transport", "abv"),
        ("frechet_mean", "p"),
        ("e_mean", "p"),
        ("m_mean", "p"),
        ("natural_parameters", "a"),
        ("expectation_parameters", "a"),
        ("kl_divergence", "ab"),
        ("jeffreys_divergence", "ab"),
        ("bhattacharyya_coefficient", "ab"),
        ("hellinger_distance", "ab"),
    ],
)
def test_every_verb_looks_at_the_values_unless_told_otherwise(name, arguments):
    wrong = Poisson(np.array(-1.0), check=False)
    batch = Poisson(np.array([-1.0, 1.0]), check=False)
    known = {"a": wrong, "b": Poisson(2.0), "v": Tangent(1.0), "t": 0.5, "p": batch}
    given = [known[letter] for letter in arguments]
    with pytest.raises(ValueError, match="rate must be finite and not negative"):
        getattr(SPACE, name)(*given)
    with np.errstate(invalid="ignore"):
        getattr(SPACE, name)(*given, check=False)


def test_points_come_back_from_both_parameters():
    a = Poisson([0.5, 3.0])
    for name in ("natural", "expectation"):
        value = getattr(SPACE, f"{name}_parameters")(a)
        again = getattr(SPACE, f"from_{name}_parameters")(value)
        np.testing.assert_allclose(again.rate, a.rate, rtol=1e-15)
    np.testing.assert_allclose(SPACE.natural_parameters(a), np.log([0.5, 3.0]), rtol=1e-15)
    with pytest.raises(ValueError, match="rate must be finite and not negative"):
        SPACE.from_expectation_parameters(-1.0)
    with pytest.raises(ValueError, match="theta must be finite"):
        SPACE.from_natural_parameters(np.nan)


def test_a_mean_leaves_out_what_has_no_weight():
    points = Poisson([0.0, 4.0])
    np.testing.assert_allclose(manifolds.e_mean(points, weights=[0.0, 2.0]).rate, 4.0, rtol=1e-15)
    assert manifolds.m_mean(points, weights=[0.0, 2.0]).rate == 4.0
