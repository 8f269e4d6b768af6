import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pullback_references import dense_matrix, exact_log_eigenvalues, exact_norm, jacobian
from torch import nn

from infogeo import logits, pullback
from infogeo.pullback import Batched, Head, Loop, PullbackMetric, heads, metric

F32, F64 = torch.float32, torch.float64


# ---------------------------------------------------------------- models and references


def mlp(num_inputs=12, num_classes=6, *, gain=3.0, dtype=F64, seed=0):
    """A small MLP whose predictions are neither flat nor saturated."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(num_inputs, 16), nn.Tanh(), nn.Linear(16, num_classes))
    with torch.no_grad():
        net[-1].weight.mul_(gain)
    return net.to(dtype)


def conv_net(dtype=F64):
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3),
        nn.GELU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(5, 7),
    )
    net[1].running_mean.uniform_(-0.5, 0.5)
    return net.to(dtype).eval()


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.lstm = nn.LSTM(3, 5, batch_first=True)
        self.last = nn.Linear(5, 4)

    def forward(self, x):
        return self.last(self.lstm(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.last = nn.Linear(4, 4)

    def forward(self, x):
        return self.last(self.encoder(x).mean(1))


class Square(torch.autograd.Function):
    """x^2 without a forward-mode derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        return 2.0 * ctx.saved_tensors[0] * gradient


class SquareByNumpy(Square):
    """x^2 with a derivative that can be neither batched nor differentiated again."""

    @staticmethod
    def backward(ctx, gradient):
        gradient = 2.0 * ctx.saved_tensors[0] * gradient
        return torch.from_numpy(gradient.detach().numpy().copy())


class Squares(nn.Module):
    def __init__(self, function):
        super().__init__()
        torch.manual_seed(4)
        self.function = function
        self.last = nn.Linear(6, 5)

    def forward(self, x):
        return self.last(self.function.apply(x))


def linear(weight, bias=None, dtype=F64):
    weight = torch.as_tensor(weight, dtype=dtype)
    net = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=dtype)
    with torch.no_grad():
        net.weight.copy_(weight)
        if bias is not None:
            net.bias.copy_(torch.as_tensor(bias, dtype=dtype))
    return net


def assert_close(seen, expected, rtol, atol=0.0):
    torch.testing.assert_close(seen, expected, rtol=rtol, atol=atol, check_dtype=False)


def relative(value, rel=1e-14):
    return pytest.approx(value, rel=rel, abs=0.0)  # the default also allows 1e-12


def quadratic_form(G, u, v):
    return torch.einsum("bi,bij,bj->b", u.flatten(1), G, v.flatten(1))


MODELS = {
    "mlp": (mlp(), (12,)),
    "mlp with fewer inputs than classes": (mlp(3, 8), (3,)),
    "convolutional": (conv_net(), (2, 8, 8)),
    "log-softmax": (nn.Sequential(mlp(), nn.LogSoftmax(-1)), (12,)),
    "recurrent": (Recurrent().double().eval(), (4, 3)),
    "attention": (Attention().double().eval(), (3, 4)),
    "autograd function": (Squares(Square).double(), (6,)),
    "autograd function in numpy": (Squares(SquareByNumpy).double(), (6,)),
}


@pytest.fixture(params=MODELS)
def model_and_input(request):
    model, shape = MODELS[request.param]
    generator = torch.Generator().manual_seed(7)
    return model, torch.randn(4, *shape, dtype=F64, generator=generator)


# ---------------------------------------------------------------- against dense formulas


def test_factor_and_matrix_are_those_of_the_dense_formula(model_and_input):
    model, x = model_and_input
    G = dense_matrix(model, x)
    A = PullbackMetric(model).factor(x)
    assert A.shape == (4, model(x).shape[1] - 1, x[0].numel())
    assert_close(A.mT @ A, G, rtol=0.0, atol=1e-12 * float(G.abs().max()))
    assert_close(PullbackMetric(model).matrix(x), G, rtol=0.0, atol=1e-12 * float(G.abs().max()))


def test_norms_and_inner_products_are_those_of_the_matrix(model_and_input):
    model, x = model_and_input
    G = dense_matrix(model, x)
    u, v = torch.randn_like(x), torch.randn_like(x)
    pulled = PullbackMetric(model)
    assert_close(pulled.norm(x, v), quadratic_form(G, v, v).sqrt(), rtol=1e-11)
    assert_close(pulled.inner_product(x, u, v), quadratic_form(G, u, v), rtol=1e-10, atol=1e-14)
    assert_close(pulled.inner_product(x, v, v), pulled.norm(x, v) ** 2, rtol=1e-13)


def test_spectrum_holds_eigenpairs_of_the_matrix(model_and_input):
    model, x = model_and_input
    G = dense_matrix(model, x)
    pulled = PullbackMetric(model)
    spectrum = pulled.spectrum(x)
    k = min(model(x).shape[1] - 1, x[0].numel())
    assert spectrum.values.shape == (4, k)
    assert spectrum.vectors.shape == (4, k, *x.shape[1:])
    vectors = spectrum.vectors.flatten(2)
    assert_close(vectors @ vectors.mT, torch.eye(k, dtype=F64).expand(4, k, k), 0.0, atol=1e-13)
    size = float(G.abs().max())
    assert_close(vectors @ G, spectrum.values[..., None] * vectors, rtol=0.0, atol=1e-12 * size)
    expected = torch.linalg.eigvalsh(G).flip(-1)[:, :k]
    assert_close(spectrum.values, expected, rtol=1e-10, atol=1e-13 * size)
    assert (spectrum.values[:, :-1] >= spectrum.values[:, 1:]).all()
    assert_close(pulled.log_spectrum(x), spectrum.values.log(), rtol=1e-10)
    assert_close(pulled.trace(x), torch.einsum("bii->b", G), rtol=1e-12)


def test_fewer_values_are_the_largest():
    x = torch.randn(3, 12, dtype=F64)
    pulled = PullbackMetric(mlp(), strategy=Loop())
    whole, part = pulled.spectrum(x), pulled.spectrum(x, num_values=2)
    assert torch.equal(part.values, whole.values[:, :2])
    assert_close(part.vectors, whole.vectors[:, :2], rtol=0.0, atol=1e-14)


def test_chunks_change_nothing(model_and_input):
    model, x = model_and_input
    whole = PullbackMetric(model).scaled_factor(x)
    for chunk_size in (1, 2, 100):
        chunked = PullbackMetric(model, chunk_size=chunk_size).scaled_factor(x)
        assert_close(chunked.rows, whole.rows, rtol=1e-12, atol=1e-14)
        assert torch.equal(chunked.log_scales, whole.log_scales)


@pytest.mark.parametrize(
    ("name", "passes"), [("mlp", 0), ("attention", 0), ("autograd function", 2)]
)
def test_norms_need_no_jacobian(name, passes, monkeypatch):
    seen = []
    plain = torch.autograd.grad
    model, shape = MODELS[name]
    x = torch.randn(2, *shape, dtype=F64)
    PullbackMetric(model).norm(x, x)  # looks at the model, once
    monkeypatch.setattr(
        torch.autograd, "grad", lambda *args, **options: seen.append(1) or plain(*args, **options)
    )
    PullbackMetric(model).norm(x, x)
    assert len(seen) == passes


def test_chunk_size_bounds_the_gradients_computed_at_once(monkeypatch):
    seen = []
    plain = torch.autograd.grad
    net, x = mlp(), torch.randn(3, 12, dtype=F64)
    PullbackMetric(net).factor(x)  # looks at the model, once

    def spy(outputs, inputs, seeds, **options):
        seen.append(len(seeds) if options.get("is_grads_batched") else 1)
        return plain(outputs, inputs, seeds, **options)

    monkeypatch.setattr(torch.autograd, "grad", spy)
    PullbackMetric(net, strategy=Batched(), chunk_size=2).factor(x)
    assert seen == [2, 2, 1]
    seen.clear()
    PullbackMetric(net, strategy=Batched()).factor(x)
    assert seen == [5]
    seen.clear()
    PullbackMetric(net, strategy=Loop()).factor(x)
    assert seen == [1] * 5


# ---------------------------------------------------------------- closed cases


def test_linear_model_has_one_metric_for_each_prediction():
    W = torch.randn(4, 3, dtype=F64)
    x = torch.zeros(2, 3, dtype=F64)
    p = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=F64)
    G = W.T @ (torch.diag(p) - torch.outer(p, p)) @ W
    seen = PullbackMetric(linear(W, p.log())).matrix(x)
    assert_close(seen, G.expand(2, 3, 3), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("gap", [0.0, 1.0, 30.0, 200.0, 700.0])
def test_two_classes_have_one_direction(gap):
    # G = p_0 p_1 w w', with sqrt(p_0 p_1) = 1 / (2 cosh(gap / 2)).
    w = torch.tensor([3.0, 4.0], dtype=F64)
    pulled = PullbackMetric(linear([[0.0, 0.0], [3.0, 4.0]], [gap, 0.0]))
    x = torch.zeros(1, 2, dtype=F64)
    root = 1.0 / (2.0 * math.cosh(gap / 2.0))
    spectrum = pulled.spectrum(x)
    assert spectrum.values.item() == relative((5.0 * root) ** 2, rel=1e-13)
    assert_close((spectrum.vectors[0, 0] @ w).abs(), torch.tensor(5.0), rtol=1e-14)
    assert pulled.norm(x, w[None]).item() == relative(25.0 * root, rel=1e-13)
    assert pulled.norm(x, torch.tensor([[4.0, -3.0]], dtype=F64)).item() == 0.0
    assert pulled.log_spectrum(x).item() == relative(2.0 * math.log(5.0 * root), rel=1e-14)


def test_equal_classes_make_the_metric_of_the_centred_weights():
    W = torch.randn(5, 9, dtype=F64)
    seen = PullbackMetric(linear(W)).spectrum(torch.zeros(1, 9, dtype=F64)).values[0]
    centred = W - W.mean(0)
    assert_close(seen, torch.linalg.svdvals(centred)[:4] ** 2 / 5.0, rtol=1e-13)


def test_categorical_factor_squares_to_the_fisher_information():
    z = torch.randn(6, 5, dtype=F64) * 3.0
    p = torch.softmax(z, -1)
    A = heads.categorical.factor(z)
    assert A.shape == (6, 4, 5)
    assert_close(A.mT @ A, torch.diag_embed(p) - p[:, :, None] * p[:, None], 0.0, atol=1e-15)


# ---------------------------------------------------------------- saturated predictions

GAPS = {
    "50": [0.0, -50.0, -49.0, -20.0, -51.5],
    "200": [0.0, -200.0, -3.0, -199.0, -90.0],
    "700": [-700.0, 0.0, -350.0, -699.0, -1.0],
    "thousands": [-3000.0, -9000.0, 0.0, -3001.0, -50.0],
}


@pytest.mark.parametrize("bias", GAPS.values(), ids=GAPS)
@pytest.mark.parametrize("num_inputs", [7, 3])
@pytest.mark.parametrize(("dtype", "atol"), [(F64, 1e-11), (F32, 5e-6)])
def test_log_spectrum_of_saturated_predictions_is_exact(bias, num_inputs, dtype, atol):
    W = torch.randn(5, num_inputs, generator=torch.Generator().manual_seed(5))
    expected = exact_log_eigenvalues(W.numpy(), bias)
    x = torch.zeros(1, num_inputs, dtype=dtype)
    seen = PullbackMetric(linear(W, bias, dtype)).log_spectrum(x)
    assert seen.dtype == dtype
    spacing = np.spacing(np.abs(expected).astype(str(dtype).rpartition(".")[2]))
    assert np.all(np.abs(seen[0].numpy() - expected) <= atol + spacing)


def test_rare_classes_with_large_gradients_cost_no_accuracy():
    # The factor's rows grow from the first to the last, by 1e20 in all.
    W = torch.randn(6, 8, dtype=F64, generator=torch.Generator().manual_seed(12))
    W[1:] *= 1e6 ** torch.arange(5, dtype=F64)[:, None]
    bias = -9.0 * np.arange(6)
    expected = exact_log_eigenvalues(W.numpy(), bias)
    pulled, x = PullbackMetric(linear(W, bias)), torch.zeros(1, 8, dtype=F64)
    np.testing.assert_allclose(pulled.log_spectrum(x)[0], expected, rtol=0.0, atol=1e-12)
    np.testing.assert_allclose(pulled.spectrum(x).values[0], np.exp(expected), rtol=1e-12)


@pytest.mark.parametrize("gap", ["50", "200", "700"])
def test_small_eigenvalues_keep_their_relative_accuracy(gap):
    W = torch.randn(5, 7, dtype=F64, generator=torch.Generator().manual_seed(6))
    x = torch.zeros(1, 7, dtype=F64)
    expected = np.exp(exact_log_eigenvalues(W.numpy(), GAPS[gap]))
    spectrum = PullbackMetric(linear(W, GAPS[gap])).spectrum(x)
    np.testing.assert_allclose(spectrum.values[0].numpy(), expected, rtol=1e-11)
    vectors = spectrum.vectors[0]
    assert_close(vectors @ vectors.T, torch.eye(4, dtype=F64), rtol=0.0, atol=1e-14)


def fisher_log_eigenvalues(z):
    """Eigenvalues of diag p - p p' from sum_i p_i / (p_i - value) = 0: one between each two p_i."""
    with mpmath.workdps(50):
        p = sorted((mpmath.exp(mpmath.mpf(value)) for value in z), reverse=True)
        p = [value / mpmath.fsum(p) for value in p]
        logs = []
        for upper, lower in itertools.pairwise(p):
            low, high = mpmath.log(lower), mpmath.log(upper)
            for _ in range(80):
                middle = (low + high) / 2
                value = mpmath.exp(middle)
                # The sum grows from -inf at p_(i+1) to +inf at p_i.
                if mpmath.fsum(q / (q - value) for q in p) > 0:
                    high = middle
                else:
                    low = middle
            logs.append(float(low))
        return np.array(logs)


@pytest.mark.parametrize(
    "z",
    [
        -0.1 * np.arange(30),
        -8.0 * np.arange(30),
        -130.0 * np.arange(30),
        np.append(-1100.0 - 7.0 * np.arange(30), [0.0, -1.0]),
    ],
    ids=["flat", "steep", "beyond all floats", "across the end of a window"],
)
def test_log_spectrum_of_a_ladder_of_classes(z):
    seen = PullbackMetric(lambda x: x).log_spectrum(torch.tensor(z)[None])[0].numpy()
    np.testing.assert_allclose(seen, fisher_log_eigenvalues(z), rtol=1e-13, atol=1e-11)


def test_many_small_eigenvalues_keep_their_accuracy():
    z = -5.0 * np.arange(40)
    values = PullbackMetric(lambda x: x).spectrum(torch.tensor(z)[None]).values[0].numpy()
    np.testing.assert_allclose(np.log(values), fisher_log_eigenvalues(z), rtol=0.0, atol=1e-11)


@pytest.mark.parametrize("bias", [GAPS["50"], GAPS["200"], GAPS["700"]])
def test_norm_of_saturated_predictions_is_exact(bias):
    W = torch.randn(5, 7, dtype=F64, generator=torch.Generator().manual_seed(8))
    v = torch.randn(1, 7, dtype=F64, generator=torch.Generator().manual_seed(9))
    x = torch.zeros(1, 7, dtype=F64)
    seen = PullbackMetric(linear(W, bias)).norm(x, v).item()
    assert seen == relative(float(exact_norm(W.numpy(), bias, v[0].numpy())), rel=1e-11)


def test_norm_in_float32_survives_probabilities_that_underflow():
    W = torch.randn(3, 4, generator=torch.Generator().manual_seed(10))
    v = torch.ones(1, 4)
    bias = [0.0, -150.0, -160.0]  # the smallest float32 probability is exp(-103)
    seen = PullbackMetric(linear(W, bias, F32)).norm(torch.zeros(1, 4), v).item()
    assert seen == relative(float(exact_norm(W.numpy(), bias, v[0].numpy())), rel=1e-5)


@pytest.mark.parametrize(
    ("gain", "largest", "smallest"),
    [(8.0, 3e-6, 1e-6), (32.0, 3e-6, 1e-6), (128.0, 3e-5, 1e-5)],
    ids=["flat", "natural", "saturated"],
)
def test_float32_is_accurate(gain, largest, smallest):
    # Against float64 passes of the same weights and 60 digits. The logits span 3, 10 and 40.
    model = mlp(64, 10, gain=gain, dtype=F32, seed=3)
    x = torch.rand(15, 64, generator=torch.Generator().manual_seed(11))
    seen = PullbackMetric(model).spectrum(x).values.double().numpy()
    model, x = model.double(), x.double()
    J, z = jacobian(model, x).numpy(), model(x).detach().numpy()
    expected = np.exp([exact_log_eigenvalues(*sample) for sample in zip(J, z, strict=True)])
    error = np.abs(seen / expected - 1.0)
    assert error[:, 0].max() < largest
    assert np.median(error[:, -1]) < smallest


def test_vanishing_gradients_are_not_zero():
    # Squares of such numbers are 0 in float32.
    W = 1e-25 * torch.randn(4, 6, generator=torch.Generator().manual_seed(13))
    pulled, x = PullbackMetric(linear(W, torch.zeros(4), F32)), torch.zeros(1, 6)
    expected = exact_log_eigenvalues(W.numpy(), [0.0] * 4)
    np.testing.assert_allclose(pulled.log_spectrum(x)[0], expected, rtol=0.0, atol=1e-5)
    assert pulled.rank(x).tolist() == [3]
    v = torch.ones(1, 6)
    exact = exact_norm(W.numpy(), [0.0] * 4, v[0].numpy())
    assert pulled.norm(x, v).item() == relative(float(exact), 1e-5)


def test_masked_classes_leave_the_metric_of_the_others():
    model = mlp()
    mask = torch.tensor([0.0, -math.inf, 0.0, 0.0, -math.inf, 0.0], dtype=F64)
    x = torch.randn(3, 12, dtype=F64)
    masked = PullbackMetric(lambda x: model(x) + mask)
    expected = PullbackMetric(lambda x: model(x)[:, mask == 0.0])
    assert_close(masked.matrix(x), expected.matrix(x), rtol=1e-12, atol=1e-15)
    assert_close(masked.norm(x, x), expected.norm(x, x), rtol=1e-12)
    logs = masked.log_spectrum(x)
    assert_close(logs[:, :3], expected.log_spectrum(x), rtol=1e-12)
    assert (logs[:, 3:] == -math.inf).all()
    assert masked.rank(x).tolist() == [3, 3, 3]
    assert (masked.spectrum(x).values[:, 3:] == 0.0).all()


# ---------------------------------------------------------------- identities and invariances


@given(st.lists(st.floats(-30.0, 30.0), min_size=2, max_size=8), st.floats(0.1, 10.0))
def test_largest_eigenvalue_is_bounded_by_the_lipschitz_constant(z, constant):
    # Orthonormal weights times L make z L-Lipschitz; the bound is L^2 / 2.
    W = constant * torch.linalg.qr(torch.randn(10, len(z), dtype=F64))[0].T
    pulled = PullbackMetric(linear(W, z))
    value = pulled.spectrum(torch.zeros(1, 10, dtype=F64), num_values=1).values.item()
    assert value <= constant**2 / 2.0 * (1.0 + 1e-13)


def test_lipschitz_bound_is_attained_between_two_classes():
    pulled = PullbackMetric(linear(3.0 * torch.eye(4), [0.0, 0.0, -800.0, -800.0]))
    value = pulled.spectrum(torch.zeros(1, 4, dtype=F64), num_values=1).values.item()
    assert value == relative(4.5, rel=1e-14)


@given(st.permutations(range(6)), st.floats(-50.0, 50.0))
def test_order_of_classes_and_constants_do_not_matter(order, constant):
    model = mlp()
    x = torch.linspace(-1.0, 1.0, 24, dtype=F64).reshape(2, 12)
    plain, other = PullbackMetric(model), PullbackMetric(lambda x: model(x)[:, order] + constant)
    assert_close(other.matrix(x), plain.matrix(x), rtol=1e-11, atol=1e-13)
    assert_close(other.log_spectrum(x), plain.log_spectrum(x), rtol=1e-10)


def test_what_all_logits_have_in_common_costs_no_digit():
    model = mlp(dtype=F32)
    x = torch.randn(3, 12)
    steep, plain = (
        PullbackMetric(function, strategy=Loop())
        for function in (lambda y: model(y) + 1e6 * (y - x).sum(-1, keepdim=True), model)
    )
    assert torch.equal(steep.factor(x), plain.factor(x))


def test_temperature_divides_the_logits_and_is_stated():
    model, x = mlp(), torch.randn(3, 12, dtype=F64)
    warm = PullbackMetric(model, temperature=2.5)
    divided = PullbackMetric(lambda x: model(x) / 2.5)
    assert_close(warm.factor(x), divided.factor(x), rtol=1e-12, atol=1e-15)
    assert_close(warm.norm(x, x), divided.norm(x, x), rtol=1e-12)
    assert_close(warm.output_distance(x, -x), divided.output_distance(x, -x), rtol=1e-12)
    assert warm.spectrum(x).temperature == 2.5
    assert warm.scaled_factor(x).temperature == 2.5
    assert PullbackMetric(model).spectrum(x).temperature == 1.0


def test_norm_is_the_speed_of_the_prediction():
    model = mlp()
    x, v = torch.randn(5, 12, dtype=F64), torch.randn(5, 12, dtype=F64)
    pulled = PullbackMetric(model)
    step = 1e-6
    distance = pulled.output_distance(x, x + step * v)
    assert_close(distance / step, pulled.norm(x, v), rtol=1e-4)
    both = pulled.output_distance(x - step * v, x + step * v)
    assert_close(both / (2.0 * step), pulled.norm(x, v), rtol=1e-8)


def test_kl_divergence_is_half_the_squared_norm():
    model = mlp()
    x, v = torch.randn(5, 12, dtype=F64), torch.randn(5, 12, dtype=F64)
    log_p, log_q = (torch.log_softmax(model(y), -1) for y in (x, x + 1e-4 * v))
    divergence = (log_p.exp() * (log_p - log_q)).sum(-1)
    assert_close(divergence / (0.5e-8 * PullbackMetric(model).norm(x, v) ** 2), torch.ones(5), 1e-3)


# ---------------------------------------------------------------- rank


def test_rank_is_that_of_the_map_not_of_the_probabilities():
    x = torch.randn(2, 12, dtype=F64)
    assert PullbackMetric(mlp()).rank(x).tolist() == [5, 5]
    assert PullbackMetric(mlp(gain=1000.0)).rank(x).tolist() == [5, 5]  # saturated
    assert PullbackMetric(mlp(3, 8)).rank(x[:, :3]).tolist() == [3, 3]
    assert PullbackMetric(mlp(), temperature=0.001).rank(x, rtol=1e-8).max() < 5


@pytest.mark.parametrize("dtype", [F32, F64])
def test_rank_sees_a_bottleneck_and_equal_classes(dtype):
    torch.manual_seed(0)
    narrow = nn.Sequential(nn.Linear(20, 3), nn.Tanh(), nn.Linear(3, 9)).to(dtype)
    x = torch.randn(4, 20, dtype=dtype)
    assert PullbackMetric(narrow).rank(x).tolist() == [3] * 4
    assert PullbackMetric(narrow).rank(x, rtol=1e-6).tolist() == [3] * 4
    W = torch.randn(6, 20, dtype=dtype)
    W[4] = W[1]
    assert PullbackMetric(linear(W, torch.arange(6.0), dtype)).rank(x).tolist() == [4] * 4


def test_a_model_that_does_not_react_has_metric_zero():
    pulled = PullbackMetric(linear(torch.zeros(4, 6), [1.0, 2.0, 3.0, 4.0]))
    x = torch.randn(2, 6, dtype=F64)
    spectrum = pulled.spectrum(x)
    assert (spectrum.values == 0.0).all()
    eye = torch.eye(3, dtype=F64).expand(2, 3, 3)
    assert_close(spectrum.vectors @ spectrum.vectors.mT, eye, rtol=0.0, atol=1e-15)
    assert (pulled.log_spectrum(x) == -math.inf).all()
    assert pulled.rank(x).tolist() == pulled.rank(x, rtol=0.1).tolist() == [0, 0]
    assert pulled.norm(x, x).tolist() == [0.0, 0.0]
    assert (pulled.matrix(x) == 0.0).all()


# ---------------------------------------------------------------- distances and heads


def test_output_distance_is_that_of_the_predictions():
    model = mlp(gain=6.0)
    x0, x1 = torch.randn(4, 12, dtype=F64), torch.randn(4, 12, dtype=F64)
    p, q = (torch.softmax(model(x), -1).detach().numpy() for x in (x0, x1))
    expected = 2.0 * np.arccos(np.sqrt(p * q).sum(-1))
    pulled = PullbackMetric(model)
    np.testing.assert_allclose(pulled.output_distance(x0, x1), expected, rtol=1e-10)
    assert_close(
        pulled.output_distance(x0[:1], x1)[2:3], pulled.output_distance(x0[:1], x1[2:3]), 1e-14
    )
    assert pulled.output_distance(x0, x0).tolist() == [0.0] * 4


def normal_head(std, distance=None):
    return Head(lambda z: (torch.eye(z.shape[-1]) / std).to(z).expand(len(z), -1, -1), distance)


def test_a_head_of_ones_own():
    model, x = mlp(12, 3), torch.randn(4, 12, dtype=F64)
    pulled = PullbackMetric(model, normal_head(0.5), chunk_size=2)
    J = jacobian(model, x)
    assert_close(pulled.matrix(x), 4.0 * J.mT @ J, rtol=1e-12, atol=1e-14)
    assert_close(pulled.norm(x, x), 2.0 * (J @ x[..., None]).flatten(1).norm(dim=1), rtol=1e-12)
    assert_close(pulled.spectrum(x).values, 4.0 * torch.linalg.svdvals(J) ** 2, rtol=1e-11)
    assert pulled.rank(x).tolist() == [3] * 4


def test_a_head_of_one_output():
    pulled = PullbackMetric(linear([[3.0, 4.0]]), normal_head(1.0))
    assert pulled.spectrum(torch.zeros(1, 2, dtype=F64)).values.item() == relative(25.0)


def test_a_head_of_the_wrong_shape_is_refused():
    pulled = PullbackMetric(lambda x: x, Head(lambda z: torch.eye(3)))
    for call in (pulled.factor, lambda x: pulled.norm(x, x)):
        with pytest.raises(ValueError, match=r"head.factor must .*\(2, 3\) it returned \(3, 3\)"):
            call(torch.zeros(2, 3))


def test_a_head_may_know_its_distance():
    head = normal_head(2.0, lambda z, w: (z - w).norm(dim=-1) / 2.0)
    pulled = PullbackMetric(lambda x: x, head)
    x0, x1 = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])
    assert pulled.output_distance(x0, x1).item() == 2.5
    with pytest.raises(ValueError, match="this Head has none"):
        PullbackMetric(lambda x: x, normal_head(2.0)).output_distance(x0, x1)


# ---------------------------------------------------------------- models and tensors as they come


def test_models_and_tensors_stay_as_they_are():
    model = conv_net()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.randn(3, 2, 8, 8, dtype=F64, requires_grad=True)
    x.grad = torch.full_like(x, 0.5)
    pulled = PullbackMetric(model)
    results = [
        pulled.factor(x),
        pulled.norm(x, x),
        pulled.log_spectrum(x),
        pulled.spectrum(x).vectors,
        pulled.output_distance(x, -x),
    ]
    assert not any(result.requires_grad for result in results)
    assert all((p.grad == 0.5).all() and p.requires_grad for p in model.parameters())
    assert (x.grad == 0.5).all()
    assert x.requires_grad
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients_do_not_matter(mode):
    model, x = mlp(), torch.randn(2, 12, dtype=F64)
    pulled = PullbackMetric(model)
    expected = pulled.factor(x), pulled.norm(x, x), pulled.output_distance(x, -x)
    with mode():
        y = x.clone()  # an inference tensor
        seen = pulled.factor(y), pulled.norm(y, y), pulled.output_distance(y, -y)
    for one, other in zip(seen, expected, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(pulled.factor(y), expected[0])


def test_frozen_parameters_do_not_matter():
    model, x = conv_net(), torch.randn(2, 2, 8, 8, dtype=F64)
    expected = PullbackMetric(model).factor(x), PullbackMetric(model).norm(x, x)
    model.requires_grad_(False)
    assert torch.equal(PullbackMetric(model).factor(x), expected[0])
    assert torch.equal(PullbackMetric(model).norm(x, x), expected[1])


def test_views_of_large_tensors_are_not_carried_along():
    sizes = []

    def model(x):
        sizes.append(x.untyped_storage().nbytes())
        return x.flatten(1)[:, :3] * 2.0

    x = torch.randn(1000, 6)[10:12]
    PullbackMetric(model).factor(x)
    PullbackMetric(model).norm(x, x)
    assert set(sizes) == {48}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_float32(dtype):
    W = torch.tensor([[1.0, 0.5], [0.0, -2.0], [0.25, 1.0]])
    x = torch.zeros(2, 2)
    pulled, expected = PullbackMetric(linear(W, dtype=dtype)), PullbackMetric(linear(W, dtype=F32))
    assert pulled.factor(x.to(dtype)).dtype == F32
    assert_close(pulled.factor(x.to(dtype)), expected.factor(x), rtol=1e-6)
    v = torch.ones(2, 2)
    assert_close(pulled.norm(x.to(dtype), v.to(dtype)), expected.norm(x, v), rtol=1e-6)


def test_dtype_is_that_of_the_input():
    x = torch.randn(2, 12)
    pulled = PullbackMetric(mlp(dtype=F32))
    spectrum = pulled.spectrum(x)
    for result in (pulled.factor(x), pulled.matrix(x), pulled.norm(x, x), pulled.trace(x)):
        assert result.dtype == F32
    assert spectrum.values.dtype == spectrum.vectors.dtype == pulled.log_spectrum(x).dtype == F32


def test_an_empty_batch_gives_empty_results():
    x = torch.zeros(0, 12, dtype=F64)
    pulled = PullbackMetric(mlp())
    assert pulled.factor(x).shape == (0, 5, 12)
    assert pulled.spectrum(x).vectors.shape == (0, 5, 12)
    assert pulled.log_spectrum(x).shape == (0, 5)
    assert pulled.norm(x, x).shape == pulled.rank(x).shape == pulled.trace(x).shape == (0,)


def test_checks_can_be_left_out():
    x = torch.full((1, 12), math.nan, dtype=F64)
    pulled = PullbackMetric(mlp(), check=False)
    assert pulled.factor(x).isnan().all()
    assert pulled.norm(x, x).isnan().all()
    for call in (pulled.spectrum, pulled.log_spectrum, pulled.rank):
        with pytest.raises(ValueError, match=r"finite gradients at x: those at row 0"):
            call(x)


# ---------------------------------------------------------------- what is refused


def in_training(layer):
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 6), layer, nn.Linear(6, 3)).double()


class DropoutLstm(Recurrent):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 5, num_layers=2, dropout=0.1, batch_first=True)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (in_training(nn.Dropout(0.5)), r"Dropout '2' is in training mode\. Call model.eval\(\)"),
        (in_training(nn.BatchNorm1d(6)), r"BatchNorm1d '2' is in training mode"),
        (in_training(nn.RReLU()), r"RReLU '2' is in training mode"),
        (DropoutLstm().double(), r"LSTM 'lstm' is in training mode"),
        (in_training(nn.AlphaDropout(0.5)).forward, r"AlphaDropout '2' is in training mode"),
        (
            in_training(nn.BatchNorm1d(6, track_running_stats=False)).eval(),
            r"BatchNorm1d '2' has no running statistics",
        ),
    ],
)
def test_models_that_are_random_or_mix_the_batch_are_refused(model, message):
    x = torch.randn(4, 4, 3, dtype=F64)
    for call in (
        lambda: PullbackMetric(model).factor(x),
        lambda: PullbackMetric(model).norm(x, x),
        lambda: PullbackMetric(model).output_distance(x, x),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_training_mode_by_itself_is_no_fault():
    model = in_training(nn.Dropout(0.0))
    assert model.training
    assert PullbackMetric(model).factor(torch.randn(2, 12, dtype=F64)).shape == (2, 2, 12)


def test_models_made_in_inference_mode_are_refused():
    with torch.inference_mode():
        model = mlp()
    with pytest.raises(ValueError, match=r"'0.weight' was made under torch.inference_mode\(\)"):
        PullbackMetric(model).factor(torch.randn(2, 12, dtype=F64))


NET, X = mlp(), torch.ones(3, 12, dtype=F64)
NAN = X.clone()
NAN[1, 2] = math.nan


@pytest.mark.parametrize(
    ("model", "x", "error", "message"),
    [
        (NET, X.numpy(), TypeError, r"x must be a torch tensor: got ndarray\. Use torch.as_tensor"),
        (NET, X.long(), TypeError, r"x must hold floating-point .* torch.int64\. Use x.float\(\)"),
        (NET, NAN, ValueError, r"x must be finite"),
        (NET, X[0], ValueError, r"x must have shape \(batch, \*input\).*\(12,\)\. Use x\[None\]"),
        (NET, X.float(), TypeError, r"x is torch.float32 on cpu and they are torch.float64"),
        (lambda x: x.sum(-1), X, ValueError, r"outputs of shape \(batch, c\).*model\(x\) \(3,\)"),
        (lambda x: x.sum(0, keepdim=True), X, ValueError, r"batch = 3 here.*\(1, 12\)"),
        (lambda x: x[:, None], X, ValueError, r"\(3, 1, 12\).*flatten or select"),
        (lambda x: (x,), X, TypeError, r"it returned tuple\. Wrap it"),
        (lambda x: x.argsort(-1), X, TypeError, r"it returned a tensor of torch.int64"),
        (
            lambda x: x[:, :1],
            X,
            ValueError,
            r"at least two logits .*\(3, 1\).*belongs to heads\.bernoulli",
        ),
        (lambda x: x.log() * 0.0 + NAN, X, ValueError, r"model\(x\) must hold logits.*\(row 1\)"),
        (lambda x: x.detach(), X, ValueError, r"do not depend on x through autograd"),
        (lambda x: x.detach() * NET[2].bias[:1], X, ValueError, r"do not depend on x through"),
        (
            lambda x: (x - X).sqrt() + X,
            X,
            ValueError,
            r"finite gradients at x: those at row 0 of x are NaN or infinite",
        ),
    ],
)
def test_bad_inputs_and_models(model, x, error, message):
    with pytest.raises(error, match=message):
        PullbackMetric(model).factor(x)


@pytest.mark.parametrize("method", ["norm", "output_distance"])
@pytest.mark.parametrize(
    ("v", "error", "message"),
    [
        (X[0], ValueError, r"shape"),
        (X[:, :5], ValueError, r"\(3, 12\) and .*\(3, 5\)"),
        (X.numpy(), TypeError, r"(v|x1) must be a torch tensor: got ndarray"),
        (X.int(), TypeError, r"(v|x1) must hold floating-point numbers"),
        (NAN, ValueError, r"(v|x1) must be finite"),
    ],
)
def test_bad_second_arguments(method, v, error, message):
    with pytest.raises(error, match=message):
        getattr(PullbackMetric(NET), method)(X, v)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"temperature": 0.0}, ValueError, "temperature must be a positive number: got 0.0"),
        ({"temperature": -1}, ValueError, "temperature must be a positive number: got -1"),
        ({"temperature": math.nan}, ValueError, "temperature must be a positive number: got nan"),
        ({"temperature": "hot"}, ValueError, "temperature must be a positive number: got 'hot'"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be a positive integer: got 0"),
        ({"chunk_size": 2.0}, ValueError, "chunk_size must be a positive integer: got 2.0"),
        ({"strategy": "loop"}, TypeError, r"strategy must be Loop\(\), .* or None: got str"),
        ({"strategy": Loop}, TypeError, r"strategy must be Loop\(\), .* or None: got Loop\."),
        ({"head": torch.softmax}, TypeError, "head must be an infogeo.pullback.Head"),
        ({"model": "resnet"}, TypeError, "model must be a torch.nn.Module or a function: got str"),
    ],
)
def test_bad_settings(arguments, error, message):
    with pytest.raises(error, match=message):
        PullbackMetric(**{"model": NET, **arguments})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.spectrum(X, num_values=0), "num_values must be a positive integer: got 0"),
        (
            lambda m: m.spectrum(X, num_values=6),
            "num_values must be at most 5 for this model: got 6",
        ),
        (lambda m: m.rank(X, rtol=-1e-3), "rtol must be a positive number: got -0.001"),
        (lambda m: m.output_distance(X, X[:2]), r"\(3, 12\) and \(2, 12\)"),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message):
        call(PullbackMetric(NET))


def test_the_package_exports_what_results_are_made_of():
    assert isinstance(PullbackMetric(NET).spectrum(X), pullback.Spectrum)
    assert isinstance(PullbackMetric(NET).scaled_factor(X), pullback.ScaledFactor)
    assert pullback.PullbackMetric is metric.PullbackMetric
    assert heads.categorical.distance(X, -X).shape == logits.fisher_rao_distance(X, -X).shape


def test_models_that_work_in_place_leave_the_input_alone():
    x = torch.tensor([[-1.0, 2.0, 3.0]])
    metric = PullbackMetric(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 2)))
    metric.output_distance(x, torch.ones(1, 3))
    assert metric.trace(x).shape == metric.norm(x, x).shape == (1,)
    assert torch.equal(x, torch.tensor([[-1.0, 2.0, 3.0]]))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_model_that_ends_with_a_softmax_is_warned_of(temperature):
    x = torch.linspace(-1.0, 1.0, 24, dtype=F64).reshape(2, 12)
    model = nn.Sequential(mlp(), nn.Softmax(dim=-1))
    with pytest.warns(UserWarning, match="leave out the model's last softmax"):
        PullbackMetric(model, temperature=temperature).factor(x)
    # Silent: other heads, one class, logits that happen to be positive.
    PullbackMetric(model, heads.normal_fixed_std(1.0)).factor(x)
    PullbackMetric(nn.Sequential(mlp(), nn.Softplus())).factor(x)
    PullbackMetric(model, check=False).factor(x)
    for own in (x[:1], x.float(), x.bfloat16()):
        with pytest.warns(UserWarning, match="leave out the model's last softmax"):
            PullbackMetric(model.to(own.dtype), temperature=temperature).factor(own)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_model_that_ends_with_a_sigmoid_is_warned_of(temperature):
    x = torch.linspace(-1.0, 1.0, 24, dtype=F64).reshape(2, 12)
    model = nn.Sequential(mlp(), nn.Sigmoid())
    for dtype, function, own in (
        (F64, model, x[:1]),
        (F64, lambda x: model(x)[:, :1], x.repeat(4, 1)),
        (torch.bfloat16, model, x[:1]),
    ):
        model.to(dtype)
        metric = PullbackMetric(function, heads.bernoulli, temperature=temperature)
        with pytest.warns(UserWarning, match="leave out the model's last sigmoid"):
            metric.factor(own.to(dtype))
    # Silent: other heads, too few numbers to tell, logits, and labels that are certain.
    model = model.double()
    PullbackMetric(lambda x: model(x)[:, :2], heads.bernoulli).factor(x)
    PullbackMetric(mlp().double(), heads.bernoulli).factor(x)
    PullbackMetric(lambda x: 0.0 * x + (x > 0.0).double(), heads.bernoulli).factor(x)
    PullbackMetric(model, heads.normal_fixed_std(1.0)).factor(x)
    PullbackMetric(model, heads.bernoulli, check=False).factor(x)
