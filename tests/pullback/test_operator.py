"""The largest eigenvalues and the trace from products with the metric: errors that hold."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from infogeo import SolveError
from infogeo.pullback import (
    Batched,
    Loop,
    Operator,
    PullbackMetric,
    _operator,
    heads,
    input_metrics,
)

F32, F64 = torch.float32, torch.float64
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


class Diagonal:
    """Products with a diagonal factor: M has the squares of its entries as eigenvalues."""

    dtype, eps = F64, torch.finfo(F64).eps

    def __init__(self, values):
        self.roots = torch.as_tensor(values, dtype=F64).sqrt()
        self.num_rows = len(self.roots)
        self.log_scale = torch.zeros(1, dtype=F64)

    def transposed(self, w):
        return w * self.roots

    __call__ = transposed


def spectra(n):
    """Spectra that are hard for a Krylov space: dense edges, outliers, clusters, heavy tails."""
    rng = np.random.default_rng(0)
    edge = 1.5 + np.sin(0.5 * np.pi * np.linspace(-1.0, 1.0, n))
    yield "dense", edge
    for gap in (0.01, 0.03, 0.1, 0.3, 3.0, 100.0):
        yield f"one {gap} above", np.append(edge[1:], 2.5 + gap)
        yield f"two {gap} above", np.append(edge[2:], [2.5 + gap, 2.5 + 1.05 * gap])
    yield "cluster", 1.0 + 1e-7 * rng.normal(size=n)
    yield "equal", np.ones(n)
    yield "low rank", np.append(np.zeros(n - 4), [1.0, 1.0, 0.3, 0.1])
    yield "geometric", 0.9 ** np.arange(n)
    yield "steep", 0.1 ** np.arange(n)
    yield "slow", 1.0 / np.arange(1, n + 1) ** 0.5
    yield "heavy", np.abs(rng.standard_cauchy(size=n))
    yield "normal", rng.normal(size=n) ** 2


SPECTRA = dict(spectra(150))


def lanczos(values, num_values, start, **options):
    """Run it from a random start of its own."""
    generator = torch.Generator().manual_seed(start)

    def random(num_rows, width, seed, device):
        return torch.linalg.qr(torch.randn(num_rows, width, generator=generator, dtype=F64))[0].T

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_operator, "_random", random)
        return _operator.largest(Diagonal(values), num_values, Operator(**options))


@pytest.mark.parametrize("num_values", [1, 3])
@pytest.mark.parametrize("rtol", [0.3, 1e-6])
@pytest.mark.parametrize("values", SPECTRA.values(), ids=SPECTRA)
def test_errors_bound_the_errors(values, num_values, rtol):
    exact = torch.as_tensor(np.sort(values)[::-1].copy())[:num_values]
    for start in range(6):
        found = lanczos(values, num_values, start, rtol=rtol, max_steps=40)
        low = exact - found.values[0]
        assert (low >= -1e-13 * exact[0]).all()
        assert (low <= found.errors[0]).all(), (low / found.errors[0], start)
        if found.is_converged:
            assert (found.errors[0] <= rtol * found.values[0] + 1e-12 * exact[0]).all()


@pytest.mark.parametrize("steps", [6, 12])
def test_errors_of_what_has_not_converged_bound_the_errors_too(steps):
    values = 1.5 + np.sin(0.5 * np.pi * np.linspace(-1.0, 1.0, 1000))
    found = lanczos(values, 2, 0, max_steps=steps)
    assert not found.is_converged
    assert found.steps == steps
    low = torch.as_tensor(values[[-1, -2]]) - found.values[0]
    assert (low <= found.errors[0]).all()
    assert (low > 1e-9).all()


# ---------------------------------------------------------------- of networks


def dense_net(num_classes=300, gain=6.0, dtype=F64):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 64), nn.Tanh(), nn.Linear(64, num_classes))
    with torch.no_grad():
        net[-1].weight.mul_(gain)
    return net.to(dtype)


def conv_net():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 290)
    ).double()


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.lstm = nn.LSTM(3, 12, batch_first=True)
        self.last = nn.Linear(12, 280)

    def forward(self, x):
        return self.last(self.lstm(x)[0][:, -1])


NETS = {
    "dense": (dense_net(), (20,)),
    "convolutional": (conv_net(), (1, 8, 8)),
    "recurrent": (Recurrent().double(), (4, 3)),
}


def assert_close(seen, expected, rtol, atol=0.0):
    torch.testing.assert_close(seen, expected, rtol=rtol, atol=atol, check_dtype=False)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_spectrum_is_that_of_the_rows(name, chunk_size, device):
    net, shape = NETS[name]
    net = net.to(device)
    x = torch.randn(3, *shape, dtype=F64, device=device)
    seen = PullbackMetric(net, strategy=Operator(rtol=1e-11), chunk_size=chunk_size).spectrum(
        x, num_values=3
    )
    expected = PullbackMetric(net, strategy=Batched()).spectrum(x, num_values=3)
    assert seen.values.shape == seen.errors.shape == (3, 3)
    assert seen.vectors.shape == (3, 3, *shape)
    assert ((expected.values - seen.values).abs() <= seen.errors).all()
    assert_close(seen.values, expected.values, rtol=1e-10)
    vectors = seen.vectors.flatten(2)
    eye = torch.eye(3, dtype=F64, device=device).expand(3, 3, 3)
    assert_close(vectors @ vectors.mT, eye, rtol=0.0, atol=1e-12)
    angles = (vectors * expected.vectors.flatten(2)).sum(-1).abs()
    assert_close(angles, torch.ones_like(angles), rtol=1e-8)
    assert expected.errors is None


@pytest.mark.parametrize("gain", [1.0, 6.0, 60.0], ids=["flat", "natural", "saturated"])
def test_errors_hold_in_float32(gain):
    # Against rows in float64 from the same weights.
    net, x = dense_net(400, gain, F32), torch.randn(6, 20)
    seen = PullbackMetric(net, strategy=Operator()).spectrum(x, num_values=2)
    assert seen.values.dtype == seen.vectors.dtype == seen.errors.dtype == F32
    expected = PullbackMetric(net.double()).spectrum(x.double(), num_values=2).values
    error = (seen.values.double() - expected).abs()
    assert (error <= seen.errors + 1e-4 * (gain == 60.0) * expected).all()  # of 60: of the logits
    assert (error <= 1e-4 * expected).all()


@pytest.mark.parametrize("bias", [-3.0, -60.0, -400.0])
@pytest.mark.parametrize("dtype", [F32, F64])
def test_saturated_predictions_keep_their_eigenvalues(bias, dtype):
    # p_0 is almost 1, and the others are equal: G = p_1 sum_i (w_i - w_0)(w_i - w_0)' nearly.
    W = torch.randn(40, 8, generator=torch.Generator().manual_seed(3)).to(dtype)
    net = nn.Linear(8, 40, dtype=dtype)
    with torch.no_grad():
        net.weight.copy_(W)
        net.bias.fill_(bias)
        net.bias[0] = 0.0
    x = torch.zeros(1, 8, dtype=dtype)
    seen = PullbackMetric(net, strategy=Operator()).spectrum(x, num_values=1)
    expected = PullbackMetric(net, strategy=Loop()).spectrum(x, num_values=1)
    assert_close(seen.values, expected.values, rtol=1e-5)
    angle = (seen.vectors * expected.vectors).sum().abs()
    assert angle.item() == pytest.approx(1.0, abs=1e-5)


def test_few_of_many_values_come_from_products_without_being_told(monkeypatch):
    net, x = dense_net(700), torch.randn(2, 20, dtype=F64)
    pulled = PullbackMetric(net)
    assert pulled.spectrum(x, num_values=1).errors is not None
    assert pulled.spectrum(x, num_values=8).errors is None
    monkeypatch.setattr(_operator, "_bounds", lambda values, residuals: values)  # never converges
    assert pulled.spectrum(x, num_values=1).errors is None


def test_a_free_strategy_takes_rows_where_products_fail():
    class NoSecond(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, gradient):
            gradient = 2.0 * ctx.saved_tensors[0] * gradient
            return torch.from_numpy(gradient.detach().numpy().copy())

    torch.manual_seed(4)
    last = nn.Linear(5, 300, dtype=F64)

    def net(x):
        return last(NoSecond.apply(x))

    x = torch.randn(2, 5, dtype=F64)
    expected = PullbackMetric(lambda x: last(x * x), strategy=Loop()).spectrum(x, num_values=1)
    assert_close(PullbackMetric(net).spectrum(x, num_values=1).values, expected.values, 1e-12)
    with pytest.raises(RuntimeError, match=r"Operator\(\) needs forward-mode .*strategy=Loop"):
        PullbackMetric(net, strategy=Operator()).spectrum(x, num_values=1)


def test_steps_that_do_not_suffice_are_an_error_with_the_result():
    net, x = dense_net(300), torch.randn(2, 20, dtype=F64)
    with pytest.raises(SolveError, match=r"1 largest .* in 2 steps: .* Raise max_steps") as caught:
        PullbackMetric(net, strategy=Operator(max_steps=2)).spectrum(x, num_values=1)
    result = caught.value.result
    exact = PullbackMetric(net, strategy=Loop()).spectrum(x, num_values=1).values
    assert (result.values <= exact).all()
    assert result.vectors.shape == (2, 1, 20)


def test_what_needs_all_rows_takes_them():
    net, x = dense_net(12), torch.randn(2, 20, dtype=F64)
    seen, expected = PullbackMetric(net, strategy=Operator()), PullbackMetric(net, strategy=Loop())
    assert torch.equal(seen.factor(x), expected.factor(x))
    assert torch.equal(seen.spectrum(x).values, expected.spectrum(x).values)
    assert torch.equal(seen.trace(x), expected.trace(x))


@pytest.mark.parametrize(
    ("head", "input_metric"),
    [
        (heads.bernoulli, None),
        (heads.poisson, None),
        (heads.normal_fixed_std(0.5), None),
        (heads.categorical, input_metrics.diagonal(torch.linspace(0.5, 2.0, 20, dtype=F64))),
        (heads.categorical, input_metrics.full(torch.eye(20, dtype=F64) + 0.5)),
        (heads.categorical, input_metrics.bernoulli),
        (heads.categorical, input_metrics.categorical),
        (heads.Head(lambda z: torch.diag_embed(1.0 + z * z)), None),
    ],
)
def test_all_heads_and_input_metrics(head, input_metric):
    x = torch.rand(2, 20, dtype=F64, generator=torch.Generator().manual_seed(5)) * 0.8 + 0.1
    x = x / x.sum(1, keepdim=True) if input_metric is input_metrics.categorical else x
    settings = {"head": head, "input_metric": input_metric}
    net = dense_net(30, 1.0)
    seen = PullbackMetric(net, **settings, strategy=Operator(rtol=1e-10)).spectrum(x, num_values=2)
    expected = PullbackMetric(net, **settings, strategy=Loop()).spectrum(x, num_values=2)
    assert_close(seen.values, expected.values, rtol=1e-9)
    angles = (seen.vectors * expected.vectors).sum(-1).abs() / expected.vectors.square().sum(-1)
    assert_close(angles, torch.ones_like(angles), rtol=1e-7)


def test_masked_classes_and_empty_batches():
    mask = torch.zeros(30, dtype=F64)
    mask[::2] = -math.inf
    net, x = dense_net(30), torch.randn(2, 20, dtype=F64)
    seen, expected = (
        PullbackMetric(lambda x: net(x) + mask, strategy=strategy).spectrum(x, num_values=2)
        for strategy in (Operator(), Loop())
    )
    assert_close(seen.values, expected.values, rtol=1e-6)
    empty = PullbackMetric(net, strategy=Operator()).spectrum(x[:0], num_values=2)
    assert empty.values.shape == empty.errors.shape == (0, 2)
    assert empty.vectors.shape == (0, 2, 20)


def test_a_model_that_does_not_react_has_values_zero():
    net, x = dense_net(30, 0.0), torch.randn(2, 20, dtype=F64)
    seen = PullbackMetric(net, strategy=Operator()).spectrum(x, num_values=2)
    assert (seen.values == 0.0).all()
    eye = torch.eye(2, dtype=F64).expand(2, 2, 2)
    assert_close(seen.vectors @ seen.vectors.mT, eye, rtol=0.0, atol=1e-14)


def test_activations_near_their_kink_do_not_disturb():
    """Two forward passes of one network round differently, and may take two sides of a kink."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU())
    net.append(nn.Linear(512, 1000))
    _ = torch.randn(83_072)
    x = torch.rand(16, 784)
    seen = PullbackMetric(net, strategy=Operator()).spectrum(x, num_values=1)
    assert (seen.errors <= 1e-4 * seen.values).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rtol": 0.0}, "rtol must be a positive number: got 0.0"),
        ({"max_steps": 0}, "max_steps must be a positive integer: got 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        Operator(**options)


def test_too_many_values_are_refused():
    x = torch.randn(2, 20, dtype=F64)
    with pytest.raises(ValueError, match=r"num_values must be at most 20 for this model: got 21"):
        PullbackMetric(dense_net(30), strategy=Operator()).spectrum(x, num_values=21)


# ---------------------------------------------------------------- the trace


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NETS)
def test_trace_is_estimated_within_its_standard_error(name, device):
    net, shape = NETS[name]
    pulled = PullbackMetric(net.to(device))
    x = torch.randn(4, *shape, dtype=F64, device=device)
    generator = torch.Generator(device).manual_seed(6)
    estimate = pulled.hutchinson_trace(x, num_samples=400, generator=generator)
    exact = pulled.trace(x)
    assert (estimate.standard_errors < 0.1 * exact).all()
    assert ((estimate.values - exact).abs() < 4.0 * estimate.standard_errors).all()
    assert estimate.num_samples == 400


def test_standard_errors_are_those_of_repetitions():
    # var |A'w|^2 = 2 sum of squares of AA' off its diagonal.
    net, x = dense_net(20), torch.randn(1, 20, dtype=F64)
    pulled = PullbackMetric(net, temperature=2.0)
    A = pulled.factor(x)[0]
    K = A @ A.T
    deviation = float((2.0 * (K.square().sum() - K.diagonal().square().sum())).sqrt())
    generator = torch.Generator().manual_seed(7)
    runs = [pulled.hutchinson_trace(x, num_samples=50, generator=generator) for _ in range(200)]
    values = np.array([run.values.item() for run in runs])
    errors = np.array([run.standard_errors.item() for run in runs])
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(deviation / math.sqrt(50), rel=0.05)
    assert values.std() == pytest.approx(deviation / math.sqrt(50), rel=0.2)
    assert values.mean() == pytest.approx(K.trace().item(), abs=4.0 * deviation / 100.0)
    assert runs[0].temperature == 2.0


def test_orthogonal_rows_have_no_error():
    estimate = PullbackMetric(lambda x: x, heads.poisson).hutchinson_trace(torch.zeros(2, 5))
    assert estimate.values.tolist() == [5.0, 5.0]
    assert estimate.standard_errors.tolist() == [0.0, 0.0]


def test_trace_of_a_relative_metric_in_chunks():
    x = torch.randn(2, 20, dtype=F64)
    metric = input_metrics.diagonal(torch.linspace(0.5, 2.0, 20, dtype=F64))
    pulled = PullbackMetric(dense_net(20), input_metric=metric, chunk_size=3)
    estimate = pulled.hutchinson_trace(
        x, num_samples=300, generator=torch.Generator().manual_seed(9)
    )
    assert ((estimate.values - pulled.trace(x)).abs() < 4.0 * estimate.standard_errors).all()


@pytest.mark.parametrize(("num_samples", "message"), [(1, "at least 2"), (0, "positive integer")])
def test_a_standard_error_needs_two_samples(num_samples, message):
    with pytest.raises(ValueError, match=f"num_samples must be .*{message}"):
        PullbackMetric(dense_net(20)).hutchinson_trace(torch.zeros(1, 20), num_samples=num_samples)
