"""Families of positive definite matrices: against dense matrix functions, mpmath and torch."""

import math

import mpmath
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from torch import distributions

from infogeo import manifolds, multivariate_normal
from infogeo._spaces import of_point
from infogeo.interop.distributions import from_distribution
from infogeo.manifolds import CenteredNormal, InverseWishart, Wishart, centered_normal
from infogeo.manifolds.centered_normal import SPACE
from infogeo.mean import frechet_mean
from infogeo.neighbors import pairwise_distance

A = np.array([[2.0, 0.5], [0.5, 1.0]])
B = np.array([[1.0, -0.3], [-0.3, 3.0]])
KINDS = {
    "normal": (CenteredNormal, 1.0),
    "wishart": (lambda S: Wishart(5.5, S), 5.5),
    "inverse": (lambda S: InverseWishart(5.5, S), 5.5),
}
EACH = pytest.mark.parametrize("name", KINDS)


def matrix_of(point):
    return np.asarray(point.cov if "cov" in point.rules else point.scale)


def pair(name, convert=np.array):
    kind, n = KINDS[name]
    return kind(convert(A)), kind(convert(B)), n


@EACH
def test_a_distance_of_25_digits_from_another_program(name):
    a, b, n = pair(name)
    expected = math.sqrt(n) * 1.090853284123037575228822
    np.testing.assert_allclose(manifolds.fisher_rao_distance(a, b), expected, rtol=1e-14)
    squared = manifolds.fisher_rao_squared_distance(a, b)
    np.testing.assert_allclose(squared, expected**2, rtol=1e-14)


def exact_logs(S, T):
    """Return the logarithms of the eigenvalues of S^-1 T, by mpmath."""
    S, T = (mpmath.matrix(x.tolist()) for x in (S, T))
    inverse = mpmath.inverse(mpmath.cholesky(S))
    values = mpmath.eigsy(inverse * T * inverse.T, eigvals_only=True)
    return [mpmath.log(x) for x in values]


@pytest.mark.parametrize("size", [1e-12, 1e-8, 1e-3, 1.0])
@EACH
def test_near_matrices_keep_their_digits(name, size, rng):
    root = np.eye(3) + 0.3 * rng.normal(size=(3, 3))
    change = rng.normal(size=(3, 3))
    S = root @ root.T
    T = S + 0.1 * size * (change + change.T)
    a, b = KINDS[name][0](S), KINDS[name][0](T)
    n = KINDS[name][1]
    with mpmath.workdps(60):
        logs = exact_logs(S, T)
        sign = 1 if name == "inverse" else -1
        kl = n / mpmath.mpf(2) * sum(mpmath.expm1(sign * y) - sign * y for y in logs)
        affinity = n / mpmath.mpf(2) * sum(mpmath.log(mpmath.cosh(y / 2)) for y in logs)
        d = mpmath.sqrt(n / mpmath.mpf(2) * sum(y**2 for y in logs))
        hellinger = mpmath.sqrt(-mpmath.expm1(-affinity))
        order = mpmath.mpf(1) / 4
        rest = 1 - order
        renyi = (
            sum(
                mpmath.log(
                    order * mpmath.exp(sign * -rest * y) + rest * mpmath.exp(sign * order * y)
                )
                for y in logs
            )
            * n
            / 2
            / rest
        )
    rounding = 1e-13  # of the whitened difference
    np.testing.assert_allclose(manifolds.fisher_rao_distance(a, b), float(d), rtol=rounding)
    np.testing.assert_allclose(manifolds.kl_divergence(a, b), float(kl), rtol=rounding)
    np.testing.assert_allclose(manifolds.hellinger_distance(a, b), float(hellinger), rtol=rounding)
    v = manifolds.log_map(a, b)
    np.testing.assert_allclose(manifolds.norm(a, v), float(d), rtol=rounding)
    found = of_point(a).renyi_divergence(a, b, 0.25)
    np.testing.assert_allclose(found, float(renyi), rtol=rounding)


def test_ratios_of_1e300_have_distances():
    a, b = CenteredNormal(np.diag([1e-150, 1.0])), CenteredNormal(np.diag([1e150, 1e-10]))
    expected = math.hypot(300.0 * math.log(10.0), 10.0 * math.log(10.0)) / math.sqrt(2.0)
    np.testing.assert_allclose(manifolds.fisher_rao_distance(a, b), expected, rtol=1e-14)


@EACH
def test_matrices_of_units_far_apart_have_all_their_geometry(name):
    """What overflows is inf, nothing is NaN; the numbers are those of matrices of near units."""
    kind, _ = KINDS[name]
    a, b = kind(1e-300 * A), kind(1e300 * B)
    near, other = kind(A), kind(B)
    d = manifolds.fisher_rao_distance(a, b)
    v = manifolds.log_map(a, b)
    np.testing.assert_allclose(manifolds.norm(a, v), d, rtol=1e-13)
    assert manifolds.fisher_rao_distance(manifolds.exp_map(a, v), b) < 1e-12 * d
    middle = manifolds.fisher_rao_geodesic(a, b, 0.5)
    halfway = manifolds.fisher_rao_geodesic(near, other, 0.5)
    np.testing.assert_allclose(matrix_of(middle), matrix_of(halfway), rtol=1e-12)
    u = type(v)(1e-300 * np.array([[0.3, -1.0], [-1.0, 0.2]]))
    moved = manifolds.parallel_transport(a, b, u)
    np.testing.assert_allclose(manifolds.norm(b, moved), manifolds.norm(a, u), rtol=1e-12)
    for verb in (manifolds.e_transport, manifolds.m_transport):
        (matrix,) = (getattr(verb(a, b, u), field) for field in v.rules)
        assert not np.isnan(matrix).any()
    for point in (a, b):
        information = manifolds.fisher_information(point)
        assert not np.isnan(information).any()
        assert not np.isnan(manifolds.christoffel_symbols(point)).any()
    with mpmath.workdps(40):
        order = mpmath.mpf("0.3")
        sign = 1 if name == "inverse" else -1
        logs = [y + 600 * mpmath.log(10) for y in exact_logs(A, B)]
        terms = (
            mpmath.log(
                order * mpmath.exp(-sign * (1 - order) * y)
                + (1 - order) * mpmath.exp(sign * order * y)
            )
            for y in logs
        )
        expected = sum(terms) * KINDS[name][1] / 2 / (1 - order)
    found = manifolds.renyi_divergence(a, b, order=0.3)
    np.testing.assert_allclose(found, float(expected), rtol=1e-12)
    np.testing.assert_array_equal(manifolds.renyi_divergence(a, b, order=0.0), 0.0)


def test_information_at_small_scales_overflows_to_infinity():
    information = manifolds.fisher_information(CenteredNormal(1e-300 * A))
    expected = manifolds.fisher_information(CenteredNormal(A))
    np.testing.assert_array_equal(information, np.sign(expected) * np.inf)
    small = manifolds.fisher_information(CenteredNormal(1e-100 * A))
    np.testing.assert_allclose(small, 1e200 * expected, rtol=1e-13)


@pytest.mark.parametrize("make", [CenteredNormal, lambda S: Wishart(3.0, S)])
def test_a_number_is_no_matrix(make):
    with pytest.raises(ValueError, match="hold one d x d matrix for each point"):
        make(2.0)


@EACH
def test_maps_are_those_of_dense_matrix_functions(name):
    a, b, _ = pair(name)
    root = scipy.linalg.sqrtm(A)
    inverse = np.linalg.inv(root)
    logs = scipy.linalg.logm(inverse @ B @ inverse)
    v = manifolds.log_map(a, b)
    (velocity,) = (getattr(v, field) for field in v.rules)
    np.testing.assert_allclose(velocity, root @ logs @ root, rtol=1e-12)
    path = manifolds.fisher_rao_geodesic(a, b, [0.0, 0.3, 0.8, 1.0])
    for t, point in zip((0.0, 0.3, 0.8, 1.0), path, strict=True):
        expected = root @ scipy.linalg.expm(t * logs) @ root
        np.testing.assert_allclose(matrix_of(point), expected, rtol=1e-12)
        by_exp = manifolds.exp_map(a, t * v)
        np.testing.assert_allclose(matrix_of(by_exp), expected, rtol=1e-12)
    E = scipy.linalg.sqrtm(B @ np.linalg.inv(A))
    u = type(v)([[0.3, -1.0], [-1.0, 0.2]])
    moved = manifolds.parallel_transport(a, b, u)
    expected = E @ np.array([[0.3, -1.0], [-1.0, 0.2]]) @ E.T
    np.testing.assert_allclose(getattr(moved, next(iter(v.rules))), expected, rtol=1e-12)


@EACH
def test_lines_and_means_are_straight_in_their_parameters(name):
    a, b, _ = pair(name)
    straight = 0.7 * A + 0.3 * B
    harmonic = np.linalg.inv(0.7 * np.linalg.inv(A) + 0.3 * np.linalg.inv(B))
    e, m = (harmonic, straight) if name != "inverse" else (straight, harmonic)
    batch = type(a).stack([a, b])
    for verb, expected in (("e", e), ("m", m)):
        on_line = getattr(manifolds, f"{verb}_geodesic")(a, b, 0.3)
        np.testing.assert_allclose(matrix_of(on_line), expected, rtol=1e-13)
        mean = getattr(manifolds, f"{verb}_mean")(batch, weights=[0.7, 0.3])
        np.testing.assert_allclose(matrix_of(mean), expected, rtol=1e-13)
        ends = getattr(manifolds, f"{verb}_geodesic")(a, b, [0.0, 1.0])
        np.testing.assert_allclose(matrix_of(ends), [A, B], rtol=1e-14)


def test_centred_normals_are_normals():
    a, b, _ = pair("normal")
    zeros = np.zeros(2)
    p, q = (multivariate_normal.MultivariateNormal(zeros, S) for S in (A, B))
    for verb in ("fisher_rao_distance", "kl_divergence", "hellinger_distance"):
        expected = getattr(multivariate_normal, verb)(p, q)
        np.testing.assert_allclose(getattr(manifolds, verb)(a, b), expected, rtol=1e-12)
    v = centered_normal.Tangent(B)
    expected = multivariate_normal.norm(p, multivariate_normal.Tangent(zeros, B))
    np.testing.assert_allclose(manifolds.norm(a, v), expected, rtol=1e-14)


def test_curvature_is_that_of_the_second_derivatives():
    """The law of the contract, for one plane: the distances of two geodesics from one point."""
    a = CenteredNormal(A)
    u, v = centered_normal.Tangent([[1.0, 0.2], [0.2, 0.0]]), centered_normal.Tangent(B)
    u = u / float(manifolds.norm(a, u))
    v = v / float(manifolds.norm(a, v))
    curvature = manifolds.sectional_curvature(a, u, v)
    area = 1.0 - manifolds.inner_product(a, u, v) ** 2

    def estimate(t):
        squared = manifolds.fisher_rao_squared_distance(
            manifolds.exp_map(a, t * u), manifolds.exp_map(a, t * v)
        )
        return 3.0 * (t**2 * manifolds.norm(a, u - v) ** 2 - squared) / (t**4 * area)

    extrapolated = (4.0 * estimate(0.01) - estimate(0.02)) / 3.0
    np.testing.assert_allclose(curvature, extrapolated, rtol=1e-4)
    assert np.isnan(manifolds.sectional_curvature(a, u, 2.0 * u))


def test_divergences_of_wishart_distributions_are_those_of_torch():
    a, b, _ = pair("wishart")
    given = [
        distributions.Wishart(torch.tensor(5.5, dtype=torch.float64), torch.tensor(S))
        for S in (A, B)
    ]
    expected = distributions.kl_divergence(*given).detach()
    np.testing.assert_allclose(manifolds.kl_divergence(a, b), expected, rtol=1e-12)
    read = from_distribution(given[0])
    assert isinstance(read, Wishart)
    np.testing.assert_allclose(read.scale.detach(), A, rtol=1e-14)


@EACH
def test_densities_are_those_of_scipy(name):
    a, _, n = pair(name)
    given = {
        "normal": lambda: scipy.stats.multivariate_normal(None, A),
        "wishart": lambda: scipy.stats.wishart(n, A),
        "inverse": lambda: scipy.stats.invwishart(n, A),
    }[name]()
    x = given.rvs(5, random_state=0)
    expected = given.logpdf(x if name == "normal" else np.moveaxis(x, 0, -1))
    np.testing.assert_allclose(of_point(a).log_density(a, x), expected, rtol=1e-12)
    if name == "normal":
        with pytest.raises(TypeError, match=r"scipy\.stats has: CenteredNormal is none"):
            manifolds.to_distribution(a)
    else:
        again = from_distribution(manifolds.to_distribution(a))
        assert (type(again), manifolds.fisher_rao_distance(a, again)) == (type(a), 0.0)
        with pytest.raises(ValueError, match="got 'centered_normal'"):
            from_distribution(given, space="centered_normal")


@EACH
def test_samples_lead_back_to_the_distribution(name):
    a, _, n = pair(name)
    x = manifolds.sample(a, (4000,), rng=3)
    if name == "normal":
        fitted = CenteredNormal.fit(x)
    else:
        fitted = type(a).fit(x, n)
        kinds = {"wishart": scipy.stats.wishart, "inverse": scipy.stats.invwishart}
        expected = kinds[name](5.5, A).mean()
        np.testing.assert_allclose(x.mean(axis=0), expected, rtol=0.1, atol=0.05)
    assert manifolds.fisher_rao_distance(a, fitted) < 5.0 * 4000**-0.5


@EACH
def test_torch_float32_and_gradients(name):
    a, b, _ = pair(name)
    expected = manifolds.fisher_rao_distance(a, b)
    c, d, _ = pair(name, lambda S: torch.tensor(S, dtype=torch.float32))
    found = manifolds.fisher_rao_distance(c, d)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    middle = matrix_of(manifolds.fisher_rao_geodesic(c, d, 0.5))
    assert middle.dtype == np.float32
    kind = KINDS[name][0]
    root = torch.linalg.cholesky(torch.tensor(A)).requires_grad_()

    def squared(L):
        return manifolds.fisher_rao_squared_distance(kind(L @ L.mT), kind(torch.tensor(B)))

    assert torch.autograd.gradcheck(squared, (root,))
    S = torch.tensor(A, requires_grad=True)
    manifolds.fisher_rao_squared_distance(kind(S), kind(torch.tensor(A))).backward()
    np.testing.assert_array_equal(S.grad, 0.0)


def test_frechet_means_and_distances_of_batches():
    batch = CenteredNormal([A, B, A + B])
    d = pairwise_distance(batch, space="centered_normal")
    np.testing.assert_allclose(d[0, 1], 1.090853284123037575228822, rtol=1e-13)
    mean = frechet_mean(batch[:2], space="centered_normal").point
    middle = manifolds.fisher_rao_geodesic(batch[0], batch[1], 0.5)
    np.testing.assert_allclose(mean.cov, middle.cov, rtol=1e-8)
    assert SPACE.dimension(batch) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CenteredNormal([[1.0, 2.0], [2.0, 1.0]]), "cov must be positive definite"),
        (lambda: Wishart(3.0, [[1.0, 2.0], [0.0, 5.0]]), "scale must be symmetric"),
        (lambda: Wishart(1.0, np.eye(3)), "df must be more than d - 1 = 2: the smallest is 1"),
        (lambda: InverseWishart(-1.0, np.eye(1)), "df must be positive"),
        (lambda: CenteredNormal(np.ones(3)), "cov must hold one d x d matrix"),
        (lambda: CenteredNormal.fit([[1.0, 1.0]]), "cov must be positive definite"),
        (lambda: Wishart.fit(np.eye(2), 3.0), r"samples must have shape \(n, d, d\)"),
        (
            lambda: manifolds.fisher_rao_distance(Wishart(3.0, A), Wishart(4.0, B)),
            "df",
        ),
    ],
)
def test_what_is_no_point_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
