"""Moments of normals through layers, against closed cases, mpmath, quadrature and samples."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn

from infogeo.lipschitz import _moments, layers
from infogeo.lipschitz.propagation import Square, linearize, propagate
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal

FLOAT = torch.float64


def tensor(values):
    return torch.tensor(values, dtype=FLOAT)


def random_normal(size, seed, *batch):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(*batch, size, size)) / math.sqrt(size)
    cov = factor @ np.swapaxes(factor, -1, -2) + 0.05 * np.eye(size)
    return MultivariateNormal(tensor(rng.normal(size=(*batch, size))), tensor(cov))


def pair(mean, std, rho):
    cov = [[std[0] ** 2, rho * std[0] * std[1]], [rho * std[0] * std[1], std[1] ** 2]]
    return MultivariateNormal(tensor(mean), tensor(cov))


# ---------------------------------------------------------------- exact layers


def test_an_affine_layer_is_exact():
    point = random_normal(4, 0, 3)
    layer = nn.Linear(4, 3, dtype=FLOAT)
    model = nn.Sequential(layer, layers.Scaling(-2.0), nn.Identity())
    output = propagate(model, point)
    torch.testing.assert_close(output.mean, -2.0 * layer(point.mean), rtol=1e-14, atol=1e-14)
    expected = 4.0 * torch.einsum("ij,bjk,lk->bil", layer.weight, point.cov, layer.weight)
    torch.testing.assert_close(output.cov, expected, rtol=1e-13, atol=1e-14)


def test_batch_norm_is_the_affine_map_that_it_is():
    layer = nn.BatchNorm1d(3, dtype=FLOAT)
    layer(torch.randn(50, 3, dtype=FLOAT) * tensor([1.0, 2.0, 5.0]) + 1.0)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    layer.eval()
    point = random_normal(3, 1)
    output, other = propagate(layer, point), linearize(layer, point)
    torch.testing.assert_close(output.mean, other.mean, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(output.cov, other.cov, rtol=1e-13, atol=1e-14)


def test_a_quadratic_network_has_the_moments_of_a_quadratic_form():
    """E[x'Ax] = tr AS + m'Am, Cov = 2 tr(ASBS) + 4 m'ASBm."""
    point = random_normal(5, 2)
    first, last = nn.Linear(5, 7, bias=False, dtype=FLOAT), nn.Linear(7, 2, dtype=FLOAT)
    output = propagate(nn.Sequential(first, Square(), last), point)
    m, s = point.mean, point.cov
    forms = [first.weight.T @ torch.diag(row) @ first.weight for row in last.weight]
    mean = torch.stack([torch.trace(a @ s) + m @ a @ m for a in forms]) + last.bias
    cov = [
        [2.0 * torch.trace(a @ s @ b @ s) + 4.0 * m @ a @ s @ b @ m for b in forms] for a in forms
    ]
    torch.testing.assert_close(output.mean, mean, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(
        output.cov, torch.stack([torch.stack(row) for row in cov]), rtol=1e-12, atol=1e-13
    )


# ---------------------------------------------------------------- kinks


def clark(mean, std, rho):
    """Mean and variance of the larger one, as Clark gives them, with 60 digits."""
    with mpmath.workdps(60):
        (m, n), (s, t), rho = (list(map(mpmath.mpf, x)) for x in (mean, std, [rho, 0]))
        rho = rho[0]
        gap = mpmath.sqrt(s * s + t * t - 2 * rho * s * t)
        alpha = (m - n) / gap
        first = m * mpmath.ncdf(alpha) + n * mpmath.ncdf(-alpha) + gap * mpmath.npdf(alpha)
        second = (
            (m * m + s * s) * mpmath.ncdf(alpha)
            + (n * n + t * t) * mpmath.ncdf(-alpha)
            + (m + n) * gap * mpmath.npdf(alpha)
        )
        return first, second - first**2


@pytest.mark.parametrize(
    ("mean", "std", "rho"),
    [
        ((0.0, 0.0), (1.0, 1.0), 0.0),
        ((0.3, -0.2), (1.0, 2.0), 0.5),
        ((-0.2, 0.3), (1.0, 2.0), -0.9),
        ((1.0, 2.0), (0.5, 0.5), 0.99),
        ((1e-3, -1e8), (1.0, 3.0), 0.5),
        ((0.0, 30.0), (1.0, 1e-3), 0.1),
        ((5.0, 0.0), (1.0, 1e3), 0.0),
    ],
)
def test_the_larger_one_of_two_has_clarks_moments(mean, std, rho):
    output = propagate(layers.GroupSort(), pair(mean, std, rho))
    expected_mean, expected_variance = clark(mean, std, rho)
    assert float(output.mean[1]) == pytest.approx(float(expected_mean), rel=1e-13)
    assert float(output.cov[1, 1]) == pytest.approx(float(expected_variance), rel=1e-12)
    # min(x, y) = -max(-x, -y), and the sum of the two is x + y
    expected_mean, expected_variance = clark([-m for m in mean], std, rho)
    assert float(output.mean[0]) == pytest.approx(-float(expected_mean), rel=1e-13)
    assert float(output.cov[0, 0]) == pytest.approx(float(expected_variance), rel=1e-12)
    total = std[0] ** 2 + std[1] ** 2 + 2.0 * rho * std[0] * std[1]
    assert float(output.cov.sum()) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("t", [0.0, 1.0, 1.99, 2.01, 5.0, 15.0, 37.0])
def test_a_rectified_tail_keeps_its_digits(t):
    with mpmath.workdps(60):
        u = mpmath.mpf(t)
        first = mpmath.npdf(u) - u * mpmath.ncdf(-u)
        variance = (1 + u * u) * mpmath.ncdf(-u) - u * mpmath.npdf(u) - first**2
    output = propagate(nn.ReLU(), Normal(tensor([-t]), tensor([1.0])), check=False)
    assert float(output.mean[0]) == pytest.approx(float(first), rel=2e-13, abs=0.0)
    assert float(output.cov[0, 0]) == pytest.approx(float(variance), rel=2e-13, abs=0.0)


def joint_absolute(mean, std, rho):
    """Cov(|x|, |y|): a normal expectation of absolute moments of y given x, in pieces at x = 0."""

    def folded(m, s):
        return s * math.sqrt(2.0 / math.pi) * math.exp(-0.5 * (m / s) ** 2) + m * math.erf(
            m / s / math.sqrt(2.0)
        )

    given = std[1] * math.sqrt(1.0 - rho**2)

    def integrand(x):
        z = (x - mean[0]) / std[0]
        return abs(x) * folded(mean[1] + rho * std[1] * z, given) * stats.norm.pdf(z) / std[0]

    edges = [mean[0] - 12.0 * std[0], mean[0] + 12.0 * std[0]]
    kink = mean[0] - mean[1] / (rho * std[1]) * std[0] if rho else mean[0]
    inner = sorted(x for x in (0.0, kink, mean[0]) if edges[0] < x < edges[1])
    edges = [edges[0], *inner, edges[1]]
    product = sum(
        integrate.quad(integrand, a, b, epsabs=1e-14, epsrel=1e-13, limit=200)[0]
        for a, b in itertools.pairwise(edges)
    )
    return product - folded(mean[0], std[0]) * folded(mean[1], std[1])


@pytest.mark.parametrize("rho", [0.0, 0.3, -0.6, 0.9, -0.99, 0.9999])
@pytest.mark.parametrize("mean", [(0.0, 0.0), (0.5, -1.0), (2.0, 1.9), (0.0, 3.0)])
def test_two_absolute_values_have_the_covariance_of_a_quadrature(mean, rho):
    std = (1.0, 0.7)
    output = propagate(layers.AbsoluteValue(), pair(mean, std, rho))
    error = abs(float(output.cov[0, 1]) - joint_absolute(mean, std, rho))
    assert error <= (1e-12 if abs(rho) <= 0.99 else 1e-7)


def test_absolute_values_of_centred_normals_have_the_covariance_of_the_arcsine_law():
    rho = np.array([-1.0 + 1e-9, -0.7, 0.2, 0.99999, 1.0 - 1e-12])
    expected = 2.0 / np.pi * (np.sqrt(1.0 - rho**2) + rho * np.arcsin(rho)) - 2.0 / np.pi
    for r, value in zip(rho, expected, strict=True):
        output = propagate(layers.AbsoluteValue(), pair((0.0, 0.0), (1.0, 1.0), r), check=False)
        assert float(output.cov[0, 1]) == pytest.approx(value, abs=1e-14)


def test_kinks_say_the_same_in_different_words():
    """relu(x) and relu(-x) make |x| and x; a sorted pair is half sum and half gap."""
    point = random_normal(4, 3, 2)
    slopes = nn.LeakyReLU(0.3)
    relu = nn.Sequential(nn.Linear(4, 8, bias=False, dtype=FLOAT), nn.ReLU(), nn.Linear(8, 4))
    relu.double()
    with torch.no_grad():
        identity = torch.eye(4, dtype=FLOAT)
        relu[0].weight.copy_(torch.cat((identity, -identity)))
        relu[2].weight.copy_(torch.cat((identity, -0.3 * identity), dim=1))
        relu[2].bias.zero_()
    first, second = propagate(slopes, point), propagate(relu, point)
    torch.testing.assert_close(first.mean, second.mean, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(first.cov, second.cov, rtol=1e-10, atol=1e-12)


# ---------------------------------------------------------------- smooth layers


@pytest.mark.parametrize(
    ("layer", "rtol"),
    [(nn.Sigmoid(), 1e-13), (nn.Softplus(), 1e-13), (nn.GELU(), 1e-13), (nn.Tanh(), 1e-8)],
)
def test_smooth_layers_agree_with_adaptive_quadrature(layer, rtol):
    def value(z):
        return layer(tensor(0.3 + z)).item()

    def mean_of(function):
        def integrand(z):
            return function(z) * stats.norm.pdf(z)

        return integrate.quad(integrand, -12.0, 12.0, epsabs=1e-14, epsrel=1e-12, limit=200)[0]

    mean = mean_of(value)
    variance = mean_of(lambda z: (value(z) - mean) ** 2)
    output = propagate(layer, Normal(tensor([0.3]), tensor([1.0])))
    assert float(output.mean[0]) == pytest.approx(mean, rel=rtol, abs=1e-13)
    assert float(output.cov[0, 0]) == pytest.approx(variance, rel=max(rtol, 1e-12))


def test_smooth_layers_have_the_covariance_of_samples_and_are_never_indefinite():
    factor = np.random.default_rng(4).normal(size=(6, 2))
    cov = tensor(factor @ factor.T)  # singular
    output = propagate(nn.Tanh(), MultivariateNormal(torch.zeros(6).double(), cov, check=False))
    assert float(torch.linalg.eigvalsh(output.cov)[0]) > 0.0
    x = np.random.default_rng(5).normal(size=(400_000, 2)) @ factor.T
    assert_are_moments(output, np.tanh(x))


def test_squares_are_polynomials_of_the_smooth_kind():
    point = random_normal(3, 6)
    output = propagate(Square(), point)
    mean, cov = _moments.smooth(torch.square, point.mean, point.cov, 3)
    torch.testing.assert_close(output.mean, mean, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(output.cov, cov, rtol=1e-12, atol=1e-13)


# ---------------------------------------------------------------- networks


def assert_are_moments(point, samples):
    """Mean and covariance lie within 4.5 standard errors of those of samples."""
    num = len(samples)
    centred = samples - samples.mean(0)
    error = samples.std(0) / math.sqrt(num)
    assert (np.abs(point.mean.detach().numpy() - samples.mean(0)) <= 4.5 * error).all()
    products = centred[:, :, None] * centred[:, None, :]
    error = products.std(0) / math.sqrt(num)
    assert (np.abs(point.cov.detach().numpy() - products.mean(0)) <= 4.5 * error).all()


@pytest.mark.parametrize(
    "activation", [layers.GroupSort(), layers.AbsoluteValue(), nn.ReLU(), nn.Tanh(), Square()]
)
def test_a_network_with_one_hidden_layer_has_the_moments_of_samples(activation):
    generator = torch.Generator().manual_seed(7)
    first = layers.OrthogonalLinear(6, 6, dtype=FLOAT, generator=generator)
    last = layers.OrthogonalLinear(6, 3, dtype=FLOAT, generator=generator)
    model = nn.Sequential(nn.Flatten(), nn.Sequential(first, activation), last)
    point = random_normal(6, 8)
    samples = np.random.default_rng(9).multivariate_normal(
        point.mean.numpy(), point.cov.numpy(), size=300_000
    )
    with torch.no_grad():
        output = model(torch.from_numpy(samples)).numpy()
    assert_are_moments(propagate(model, point), output)
    assert_are_moments(propagate(layers.freeze(model), point), output)


def test_a_small_spread_is_that_of_the_derivative():
    model = nn.Sequential(
        nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 4), nn.Softplus(), nn.Linear(4, 3)
    ).double()
    mean = torch.randn(2, 5, dtype=FLOAT, generator=torch.Generator().manual_seed(10))
    errors = []
    for std in (1e-2, 1e-3):
        point = Normal(mean, torch.full_like(mean, std))
        output, linear = propagate(model, point), linearize(model, point)
        mean_error = (output.mean - linear.mean).norm()
        cov_error = (output.cov - linear.cov).norm()
        errors.append(torch.stack((mean_error, cov_error)))
    order = torch.log10(errors[0] / errors[1])
    torch.testing.assert_close(order, tensor([2.0, 4.0]), atol=0.01, rtol=0.0)


def test_gradients_are_those_of_differences():
    model = nn.Sequential(
        nn.Linear(4, 4), layers.GroupSort(), nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 2)
    ).double()

    def moments(mean, std):
        output = propagate(model, Normal(mean, std, check=False), check=False)
        return output.mean, output.cov

    generator = torch.Generator().manual_seed(11)
    mean = torch.randn(4, dtype=FLOAT, generator=generator, requires_grad=True)
    std = torch.rand(4, dtype=FLOAT, generator=generator).add(0.5).requires_grad_()
    assert torch.autograd.gradcheck(moments, (mean, std), atol=1e-7)
    mapped = torch.func.vmap(torch.func.jacrev(lambda m: moments(m, std)[0]))(mean.detach()[None])
    assert mapped.shape == (1, 2, 4)


def test_features_that_do_not_vary_or_agree_have_finite_gradients():
    mean = tensor([0.5, 0.5, -1.0, 2.0]).requires_grad_()
    cov = tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [0.0] * 4, [0.0] * 4])
    cov.requires_grad_()
    for layer in (layers.GroupSort(), nn.ReLU(), nn.Tanh()):
        output = propagate(layer, MultivariateNormal(mean, cov, check=False), check=False)
        value, variance = output.mean[-1].detach(), output.cov[-1, -1].detach()
        assert float(value) == pytest.approx(float(layer(mean)[-1].detach()), rel=1e-14)
        assert float(variance) == pytest.approx(0.0, abs=1e-28)
        for gradient in torch.autograd.grad(output.mean.sum() + output.cov.sum(), (mean, cov)):
            assert gradient.isfinite().all()


def test_float32_is_computed_in_float64():
    point = random_normal(6, 12, 2)
    model = nn.Sequential(nn.Linear(6, 4), layers.GroupSort(), nn.Linear(4, 3)).double()
    single = MultivariateNormal(point.mean.float(), point.cov.float())
    output = propagate(model.float(), single)
    assert output.mean.dtype == output.cov.dtype == torch.float32
    exact = MultivariateNormal(single.mean.double(), single.cov.double())
    torch.testing.assert_close(output.cov, propagate(model, exact).cov.float(), rtol=0, atol=0)


# ---------------------------------------------------------------- bad arguments

POINT = Normal(torch.zeros(4), torch.ones(4))


class Doubled(nn.Linear):
    def forward(self, x):
        return 2.0 * super().forward(x)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (nn.Sequential(nn.Linear(4, 3), nn.Softmax(-1)), TypeError, r"got Softmax \(layer 1\)"),
        (nn.Sequential(nn.Sequential(Doubled(4, 3))), TypeError, r"got Doubled \(layer 0\.0\)"),
        (lambda x: x, TypeError, "got function.*linearize"),
        (nn.Linear(5, 3), ValueError, "Linear must get 5 features: got 4"),
        (nn.Linear(4, 6), ValueError, "widens"),
        (layers.Scaling(1e300), ValueError, "model must have finite outputs"),
        (layers.GroupSort(4), ValueError, "group_size of GroupSort must be 2.*got 4"),
        (nn.Sequential(nn.Linear(4, 3), layers.GroupSort()), ValueError, "pairs.*got 3"),
        (nn.Dropout(), ValueError, "Dropout must be in eval mode"),
        (nn.BatchNorm1d(4), ValueError, "BatchNorm1d must be in eval mode"),
    ],
)
def test_layers_that_have_no_moments_are_named(model, error, message):
    with pytest.raises(error, match=message):
        propagate(model, POINT)


@pytest.mark.parametrize(
    ("point", "error", "message"),
    [
        (torch.zeros(4), TypeError, "point must be a MultivariateNormal or a Normal: got Tensor"),
        (Normal(np.zeros(4), 1.0), TypeError, "torch tensors: its mean is a ndarray"),
        (Normal(torch.tensor(0.0), torch.tensor(1.0)), ValueError, r"got shape \(\)"),
    ],
)
def test_points_that_are_no_normals_of_torch_are_refused(point, error, message):
    with pytest.raises(error, match=message):
        propagate(nn.Identity(), point)


def test_other_arguments_are_checked():
    with pytest.raises(ValueError, match="num_nodes must be an integer, at least 2: got 1"):
        propagate(nn.Tanh(), POINT, num_nodes=1)
    with pytest.raises(ValueError, match="it mapped"):
        linearize(lambda x: x.sum(-1), POINT)
