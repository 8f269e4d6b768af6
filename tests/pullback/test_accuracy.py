"""What the pullback metric promises in numbers, against float64 passes and 60 digits or more."""

import math

import numpy as np
import pytest
import torch
from pullback_references import dense_matrix, exact_log_eigenvalues, jacobian
from torch import nn

from infogeo import logits
from infogeo.lipschitz import layers
from infogeo.pullback import PullbackMetric

F32, F64 = torch.float32, torch.float64


def network(scale, dtype=F32):
    """An MLP with logits of the spread that training gives, times a scale."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    net.append(nn.Linear(64, 10))
    with torch.no_grad():
        net[-1].weight.mul_(40.0 * scale)
    return net.to(dtype)


def inputs(n=12):
    return torch.rand(n, 64, generator=torch.Generator().manual_seed(1))


def exact_logs(scale):
    """From a float64 pass of the float32 weights, and then at 60 digits or more."""
    model, x = network(scale).double(), inputs().double()
    J, z = jacobian(model, x).numpy(), model(x).detach().numpy()
    return np.array([exact_log_eigenvalues(*sample) for sample in zip(J, z, strict=True)])


@pytest.fixture(scope="module", params=[1.0, 4.0, 20.0], ids=["natural", "x4", "x20"])
def scale_and_logs(request):
    return request.param, exact_logs(request.param)


def test_the_logits_are_as_the_names_say():
    spread = [
        float((z.amax(-1) - z.amin(-1)).median())
        for z in (network(scale)(inputs()).detach() for scale in (1.0, 4.0, 20.0))
    ]
    assert 8.0 < spread[0] < 16.0
    assert spread[2] > 150.0


def test_the_largest_eigenvalue_in_float32(scale_and_logs):
    scale, exact = scale_and_logs
    seen = PullbackMetric(network(scale)).log_spectrum(inputs()).double().numpy()
    assert np.isfinite(seen).all()
    # Logits of some hundreds are rounded by some 1e-5 themselves.
    tolerance = 1e-4 if scale <= 4.0 else 2e-3
    assert np.abs(np.expm1(seen[:, 0] - exact[:, 0])).max() < tolerance
    values = PullbackMetric(network(scale)).spectrum(inputs()).values.double().numpy()
    big = exact[:, 0] > -80.0  # exp of less is no normal float32 number
    assert np.abs(values[big, 0] / np.exp(exact[big, 0]) - 1.0).max() < tolerance


def test_log_eigenvalues_in_float64(scale_and_logs):
    scale, exact = scale_and_logs
    seen = PullbackMetric(network(scale).double()).log_spectrum(inputs().double()).numpy()
    np.testing.assert_allclose(seen, exact, rtol=0.0, atol=1e-9)
    if scale == 20.0:
        assert exact.min() < -119.0 * math.log(10.0) + exact.max()  # 119 decades and more


def test_nothing_is_nan_however_saturated(scale_and_logs):
    scale, _ = scale_and_logs
    pulled, x = PullbackMetric(network(scale)), inputs()
    results = [
        pulled.factor(x),
        pulled.matrix(x),
        pulled.norm(x, x),
        pulled.inner_product(x, x, x.flip(0)),
        pulled.trace(x),
        *(getattr(pulled.spectrum(x), name) for name in ("values", "vectors")),
        pulled.output_distance(x, x.flip(0)),
        pulled.hutchinson_trace(x, num_samples=2).values,
    ]
    assert all(result.isfinite().all() for result in results)
    assert (pulled.rank(x) <= 9).all()


def test_the_dense_formula_in_float32_is_not_a_reference():
    """Why the factor: the textbook formula loses what the factor keeps."""
    exact = exact_logs(4.0)
    model, x = network(4.0), inputs()
    dense = torch.linalg.eigvalsh(dense_matrix(model, x)).flip(-1)[:, :9].double().numpy()
    seen = PullbackMetric(model).spectrum(x).values.double().numpy()
    smallest = np.exp(exact[:, -1])
    ours, theirs = (np.abs(y[:, -1] / smallest - 1.0) for y in (seen, dense))
    assert np.median(ours) < 1e-5
    assert np.median(theirs) > 1.0


@pytest.mark.parametrize("shape", [(12,), (1, 5, 5)])
def test_the_factor_squares_to_the_dense_formula(shape):
    torch.manual_seed(2)
    model = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 30), nn.GELU()).double()
    model.append(nn.Linear(30, 8, dtype=F64))
    x = torch.randn(6, *shape, dtype=F64)
    A, G = PullbackMetric(model).factor(x), dense_matrix(model, x)
    assert A.shape[1] == 7
    assert float((A.mT @ A - G).abs().max() / G.abs().max()) < 1e-12


@pytest.mark.parametrize("constant", [1.0, 7.0])
def test_lipschitz_nets_keep_their_bound(constant):
    torch.manual_seed(3)
    model = nn.Sequential(
        layers.OrthogonalLinear(20, 20),
        layers.GroupSort(2),
        layers.OrthogonalLinear(20, 20),
        layers.GroupSort(2),
        layers.OrthogonalLinear(20, 6),
    ).double()
    x = 3.0 * torch.randn(200, 20, dtype=F64)
    values = PullbackMetric(lambda y: constant * model(y)).spectrum(x, num_values=1).values
    assert float(values.max()) <= 0.5 * constant**2 * (1.0 + 1e-12)
    assert float(values.max()) > 0.1 * constant**2 / 2.0  # it is no empty bound


@pytest.mark.parametrize("scale", [0.02, 0.1, 1.0])
def test_kl_divergence_over_half_the_squared_norm_tends_to_1(scale):
    model = network(scale, F64)
    model[1], model[3] = nn.Tanh(), nn.Tanh()
    x = inputs().double()
    v = torch.randn(x.shape, dtype=F64, generator=torch.Generator().manual_seed(4))
    squares = PullbackMetric(model).norm(x, v) ** 2
    errors = []
    for step in (1e-3, 1e-4, 1e-5):
        with torch.no_grad():
            divergence = logits.kl_divergence(model(x), model(x + step * v))
        errors.append((divergence / (0.5 * step**2 * squares) - 1.0).abs().max().item())
    assert errors[1] < 0.2 * errors[0]  # of first order in the step
    assert errors[2] < 0.2 * errors[1]
    assert errors[2] < 1e-3
