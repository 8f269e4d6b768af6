"""The generic geometry of a log-partition against families that have their own."""

import math

import numpy as np
import pytest
import torch

import infogeo
from infogeo import manifolds, normal, testing
from infogeo.manifolds import Dirichlet
from infogeo.manifolds.exponential_family import ExponentialFamily
from infogeo.mean import frechet_mean
from infogeo.normal import Normal

POISSON = ExponentialFamily(lambda theta: theta.exp().sum())
# Normal distributions by (mean, log std).
NORMAL = ExponentialFamily(
    lambda t: -(t[0] ** 2) / (4.0 * t[1]) - 0.5 * torch.log(-2.0 * t[1]),
    lambda x: torch.stack([x[0] * torch.exp(-2.0 * x[1]), -0.5 * torch.exp(-2.0 * x[1])]),
    lambda t: torch.stack([-t[0] / (2.0 * t[1]), -0.5 * torch.log(-2.0 * t[1])]),
)
DIRICHLET = ExponentialFamily(
    lambda t: torch.lgamma(t).sum() - torch.lgamma(t.sum()), torch.exp, torch.log
)
A, B = np.array([0.3, -0.2]), np.array([1.5, 0.6])
POINTS = [Normal(x[0], math.exp(x[1])) for x in (A, B)]


def test_distances_are_those_of_closed_forms():
    d = POISSON.fisher_rao_distance(np.log([[4.0], [2.0]]), np.log([9.0]))
    np.testing.assert_allclose(d, [2.0, 6.0 - 2.0 * math.sqrt(2.0)], rtol=1e-13)
    expected = normal.fisher_rao_distance(*POINTS)
    assert NORMAL.fisher_rao_distance(A, B) == pytest.approx(float(expected), rel=1e-13)
    near = NORMAL.fisher_rao_distance(A, A + [1e-10, 2e-10])
    assert near == pytest.approx(1e-10 * math.sqrt(math.exp(0.4) + 8.0), rel=1e-6)
    a, b = np.array([1.0, 2.0, 3.0]), np.array([3.0, 1.0, 2.0])
    d = DIRICHLET.fisher_rao_distance(np.log(a), np.log(b), rtol=1e-8)
    expected = manifolds.fisher_rao_distance(Dirichlet(a), Dirichlet(b))
    assert d == pytest.approx(float(expected), rel=2e-9)  # torch's trigamma


def test_divergences_are_those_of_closed_forms():
    for x, y in ((A, B), (A, A + [1e-9, -2e-9]), (A, A + [30.0, 2.0])):
        a, b = (Normal(z[0], np.exp(z[1])) for z in (x, y))
        for verb in ("kl_divergence", "jeffreys_divergence", "hellinger_distance"):
            expected = float(getattr(normal, verb)(a, b))
            assert getattr(NORMAL, verb)(x, y) == pytest.approx(expected, rel=1e-6), verb
    affinity = NORMAL.bhattacharyya_coefficient(A, B)
    assert affinity == pytest.approx(1.0 - NORMAL.hellinger_distance(A, B) ** 2, rel=1e-13)
    renyi = NORMAL.renyi_divergence(A, B, order=0.5)
    assert renyi == pytest.approx(-2.0 * math.log(affinity), rel=1e-12)
    rates = np.log([3.0]), np.log([3.0 + 3e-9])
    exact = manifolds.kl_divergence(manifolds.Poisson(3.0), manifolds.Poisson(3.0 + 3e-9))
    assert POISSON.kl_divergence(*rates) == pytest.approx(float(exact), rel=1e-6)


def test_coordinates_of_both_geometries():
    theta, eta = NORMAL.natural_parameters(A), NORMAL.expectation_parameters(A)
    np.testing.assert_allclose(theta, normal.natural_parameters(POINTS[0]), rtol=1e-14)
    np.testing.assert_allclose(eta, normal.expectation_parameters(POINTS[0]), rtol=1e-14)
    np.testing.assert_allclose(NORMAL.from_natural_parameters(theta), A, rtol=1e-14)
    middle, expected = NORMAL.e_geodesic(A, B, 0.5), normal.e_geodesic(*POINTS, 0.5)
    np.testing.assert_allclose(middle, [expected.mean, np.log(expected.std)], rtol=1e-13)


def test_the_contract():
    report = testing.check_space(
        NORMAL,
        lambda rng: 0.5 * rng.normal(size=2),
        dimension=2,
        curvature=-0.5,
        slack=1000.0,
        num_draws=1,
    )
    assert {"log_inverts_exp", "curvature_is_what_is_said"} <= set(report.held)


def test_christoffel_symbols_are_those_of_normals():
    """In (mean, log std) the metric is exp(-2 s) dm^2 + 2 ds^2."""
    symbols = NORMAL.christoffel_symbols(A)
    expected = np.zeros((2, 2, 2))
    expected[0, 0, 1] = expected[0, 1, 0] = -1.0
    expected[1, 0, 0] = 0.5 * math.exp(-2.0 * A[1])
    np.testing.assert_allclose(symbols, expected, atol=1e-13)


def test_gradients_and_means():
    a, b = (torch.tensor(x, requires_grad=True) for x in (A, B))
    assert torch.autograd.gradcheck(NORMAL.fisher_rao_squared_distance, (a, b), atol=1e-6)
    (by_a,) = torch.autograd.grad(NORMAL.kl_divergence(a, b), a)
    assert by_a.shape == (2,)
    single = NORMAL.fisher_rao_distance(a.detach().float(), b.detach().float())
    assert single.dtype == torch.float32
    mean = frechet_mean(np.stack([A, B]), space=NORMAL, tol=1e-9).point
    d = NORMAL.fisher_rao_distance(mean, np.stack([A, B]))
    np.testing.assert_allclose(d, float(normal.fisher_rao_distance(*POINTS)) / 2.0, rtol=1e-8)


def test_what_is_refused():
    with pytest.raises(TypeError, match="must be given together"):
        ExponentialFamily(torch.sum, torch.exp)
    with pytest.raises(ValueError, match="order must be between 0 and 1"):
        NORMAL.renyi_divergence(A, B, order=2.0)
    with pytest.raises(ValueError, match="rtol must be a number between 0 and 1"):
        NORMAL.fisher_rao_distance(A, B, rtol=2.0)
    with pytest.raises(infogeo.SolveError, match="not as exact as rtol=1e-30"):
        NORMAL.connect([0.0, 0.0], [1.0, 1.0], rtol=1e-30)
