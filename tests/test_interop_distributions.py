"""Distributions of torch and scipy arrive as the points that they are, with their gradients."""

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
import torch
from torch import distributions

from infogeo import multivariate_normal, normal, simplex
from infogeo.interop.distributions import from_distribution
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal

MEAN, COV = [1.0, -2.0], [[2.0, 0.5], [0.5, 1.0]]


def random_covariances(rng, *batch, d=3):
    factor = rng.standard_normal((*batch, d, d))
    return torch.tensor(factor @ np.swapaxes(factor, -1, -2) + 0.5 * np.eye(d))


# ---------------------------------------------------------------- torch


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_normals_are_normals(dtype):
    mean, std = torch.zeros(4, 1, dtype=dtype), torch.ones(3, dtype=dtype)
    point = from_distribution(distributions.Normal(mean, std))
    assert isinstance(point, Normal)
    assert (point.shape, point.mean.dtype, point.std.dtype) == ((4, 3), dtype, dtype)


@pytest.mark.parametrize(("num_axes", "shape"), [(0, (2, 3, 4)), (1, (2, 3, 4)), (2, (2, 12))])
def test_torch_independent_normals_have_their_components_last(rng, num_axes, shape):
    mean = torch.tensor(rng.standard_normal((2, 3, 4)))
    given = distributions.Independent(distributions.Normal(mean, 2.0), num_axes)
    point = from_distribution(given)
    assert isinstance(point, Normal)
    assert point.shape == shape
    torch.testing.assert_close(point.mean.reshape(-1), mean.reshape(-1), rtol=0, atol=0)


def test_torch_independent_normals_have_the_density_that_torch_gives_them(rng):
    """The sum of the components' log-densities is that of the diagonal distribution."""
    mean, std = torch.tensor(rng.standard_normal((2, 5, 3)))
    std = std.exp()
    given = distributions.Independent(distributions.Normal(mean, std), 1)
    point = from_distribution(given)
    x = torch.tensor(rng.standard_normal((5, 3)))
    density = -0.5 * ((x - point.mean) / point.std) ** 2 - torch.log(point.std)
    expected = (density - 0.5 * math.log(2.0 * math.pi)).sum(-1)
    torch.testing.assert_close(given.log_prob(x), expected)


@pytest.mark.parametrize("parameter", ["covariance_matrix", "precision_matrix", "scale_tril"])
def test_torch_multivariate_normals_in_any_parametrisation(rng, parameter):
    cov, mean = random_covariances(rng, 4), torch.tensor(rng.standard_normal(3))
    value = {
        "covariance_matrix": cov,
        "precision_matrix": torch.linalg.inv(cov),
        "scale_tril": torch.linalg.cholesky(cov),
    }[parameter]
    point = from_distribution(distributions.MultivariateNormal(mean, **{parameter: value}))
    assert isinstance(point, MultivariateNormal)
    assert (point.shape, point.dim) == ((4,), 3)
    torch.testing.assert_close(point.cov, cov, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(point.mean, mean.expand(4, 3), rtol=0, atol=0)


def test_torch_low_rank_multivariate_normals(rng):
    factor, diagonal = torch.tensor(rng.standard_normal((3, 2))), torch.ones(3).double()
    given = distributions.LowRankMultivariateNormal(torch.zeros(3).double(), factor, diagonal)
    expected = factor @ factor.mT + torch.eye(3)
    torch.testing.assert_close(from_distribution(given).cov, expected)


@pytest.mark.parametrize("parameter", ["probs", "logits"])
def test_torch_categorical_is_probabilities(parameter):
    p = torch.tensor([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]], dtype=torch.float64)
    value = p if parameter == "probs" else p.log()
    point = from_distribution(distributions.Categorical(**{parameter: value}, validate_args=False))
    torch.testing.assert_close(point, p)
    np.testing.assert_allclose(
        simplex.fisher_rao_distance(point[0], point[1]), 2.0 * math.acos(math.sqrt(0.3))
    )


def test_torch_bernoulli_is_failure_and_success():
    p = torch.tensor([0.0, 0.25, 1.0])
    point = from_distribution(distributions.Bernoulli(p))
    assert point.tolist() == [[1.0, 0.0], [0.75, 0.25], [0.0, 1.0]]


@pytest.mark.parametrize("logit", [50.0, -50.0])
@pytest.mark.parametrize("touched", [False, True])
def test_torch_bernoulli_from_logits_keeps_its_tails(logit, touched):
    given = distributions.Bernoulli(logits=torch.tensor(logit, dtype=torch.float64))
    if touched:
        given.probs  # noqa: B018  torch stores it in the distribution
    small = from_distribution(given).min()
    np.testing.assert_allclose(small, math.exp(-50.0), rtol=1e-14)


def test_torch_bernoulli_from_probabilities_keeps_its_zeros():
    given = distributions.Bernoulli(torch.tensor([0.0, 1.0]))
    given.logits  # noqa: B018  torch clips them and stores them
    assert from_distribution(given).tolist() == [[1.0, 0.0], [0.0, 1.0]]


# ---------------------------------------------------------------- gradients


def test_gradients_reach_the_parameters_of_a_normal():
    mean, std = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.3, 1.2))
    point = from_distribution(distributions.Normal(mean, std))
    other = Normal(torch.tensor(-1.0).double(), torch.tensor(2.0).double())
    normal.fisher_rao_squared_distance(point, other).backward()

    def squared(m, s):
        return normal.fisher_rao_squared_distance(Normal(m, s), Normal(-1.0, 2.0))

    h = 1e-6
    np.testing.assert_allclose(
        [mean.grad, std.grad],
        [
            (squared(0.3 + h, 1.2) - squared(0.3 - h, 1.2)) / (2.0 * h),
            (squared(0.3, 1.2 + h) - squared(0.3, 1.2 - h)) / (2.0 * h),
        ],
        rtol=1e-8,
    )


@pytest.mark.parametrize("parameter", ["covariance_matrix", "scale_tril"])
def test_gradients_reach_the_parameters_of_a_multivariate_normal(parameter):
    cov = torch.tensor(COV, dtype=torch.float64)
    value = cov if parameter == "covariance_matrix" else torch.linalg.cholesky(cov)
    value.requires_grad_()
    given = distributions.MultivariateNormal(
        torch.tensor(MEAN).double(), **{parameter: value}, validate_args=False
    )
    other = MultivariateNormal(np.zeros(2), np.eye(2))
    squared = multivariate_normal.fisher_rao_squared_distance(
        from_distribution(given),
        MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double()),
    )
    squared.backward()
    direction, h = np.array([[0.3, 0.0], [0.2, -0.4]]), 1e-5

    def along(step):
        at = value.detach().numpy() + step * direction
        at = at @ at.T if parameter == "scale_tril" else 0.5 * (at + at.T)
        return multivariate_normal.fisher_rao_squared_distance(MultivariateNormal(MEAN, at), other)

    np.testing.assert_allclose(
        (value.grad.numpy() * direction).sum(), (along(h) - along(-h)) / (2.0 * h), rtol=1e-7
    )


def test_gradients_reach_logits():
    logits = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64, requires_grad=True)
    p = from_distribution(distributions.Categorical(logits=logits))
    p[0].backward()
    s = torch.softmax(logits.detach(), 0)
    expected = s[0] * (torch.tensor([1.0, 0.0, 0.0]).double() - s)
    torch.testing.assert_close(logits.grad, expected)


# ---------------------------------------------------------------- scipy


@pytest.mark.parametrize(
    ("given", "mean", "std"),
    [
        (scipy.stats.norm(), 0.0, 1.0),
        (scipy.stats.norm(3.0), 3.0, 1.0),
        (scipy.stats.norm(3.0, 1e200), 3.0, 1e200),
        (scipy.stats.norm(scale=0.1, loc=-2), -2.0, 0.1),
        (scipy.stats.norm(3.0, scale=2.0), 3.0, 2.0),
    ],
)
def test_scipy_norm(given, mean, std):
    point = from_distribution(given)
    assert (point.shape, float(point.mean), float(point.std)) == ((), mean, std)


def test_scipy_norm_of_arrays_is_a_batch():
    point = from_distribution(scipy.stats.norm([[0.0], [1.0]], [1.0, 2.0, 3.0]))
    assert point.shape == (2, 3)


@pytest.mark.parametrize(
    "cov", [COV, scipy.stats.Covariance.from_cholesky(np.linalg.cholesky(COV))]
)
def test_scipy_multivariate_normal(cov):
    point = from_distribution(scipy.stats.multivariate_normal(MEAN, cov))
    np.testing.assert_allclose(point.mean, MEAN, rtol=0)
    np.testing.assert_allclose(point.cov, COV, rtol=1e-15)


def test_scipy_multivariate_normal_of_one_dimension():
    assert from_distribution(scipy.stats.multivariate_normal(2.0, 3.0)).cov.tolist() == [[3.0]]


def test_scipy_bernoulli():
    np.testing.assert_array_equal(
        from_distribution(scipy.stats.bernoulli([0.25, 1.0])), [[0.75, 0.25], [0.0, 1.0]]
    )
    np.testing.assert_array_equal(from_distribution(scipy.stats.bernoulli(p=0.5)), [0.5, 0.5])


# ---------------------------------------------------------------- what is not known


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (distributions.Beta(1.0, 1.0), "Beta"),
        (distributions.Independent(distributions.Bernoulli(torch.full((3,), 0.5)), 1), "Independ"),
        (scipy.stats.beta(1.0, 1.0), "rv_continuous_frozen"),
        (scipy.stats.norm, "norm_gen"),
        (scipy.stats.multivariate_normal, "multivariate_normal_gen"),
        (np.array([0.5, 0.5]), "numpy.ndarray"),
        (None, "NoneType"),
    ],
)
def test_unknown_distributions_are_told_what_is_known(given, seen):
    with pytest.raises(TypeError, match=seen) as caught:
        from_distribution(given)
    for known in ("Categorical", "LowRank", "Independent(Normal", "norm(...)", "bernoulli(...)"):
        assert known in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (scipy.stats.norm(0.0, -1.0), "std must"),
        (scipy.stats.bernoulli(1.5), "distribution must hold probabilities"),
        (
            scipy.stats.multivariate_normal([0.0, 0.0], np.ones((2, 2)), allow_singular=True),
            "cov must be positive definite",
        ),
    ],
)
def test_values_that_no_distribution_has(given, message):
    with pytest.raises(ValueError, match=message):
        from_distribution(given)


def test_neither_library_is_imported():
    code = "import sys, infogeo.interop.distributions; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert {"torch", "scipy.stats", "sklearn"}.isdisjoint(run.stdout.split())
