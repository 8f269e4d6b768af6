"""Lipschitz layers, losses and certificates against dense oracles and closed values."""

import copy
import itertools
import math
import subprocess
import sys
import warnings

import mpmath
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrize  # noqa: E402

from infogeo.lipschitz import certificates, layers, losses  # noqa: E402

SHAPES = [(7, 7), (64, 20), (20, 64), (128, 128), (1, 5), (5, 1)]
DTYPES = [torch.float32, torch.float64]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(7)


def gram_error(weight):
    """Return the largest entry of W'W - 1 (or WW' - 1) in float64, by numpy."""
    w = weight.detach().numpy().astype(np.float64)
    gram = w @ w.T if w.shape[0] < w.shape[1] else w.T @ w
    return np.abs(gram - np.eye(len(gram))).max()


def singular_values(weight):
    return np.linalg.svd(weight.detach().double().numpy(), compute_uv=False)


def orthogonal_net(*sizes, dtype=torch.float64, group_size=2):
    modules = []
    for i, (width, height) in enumerate(itertools.pairwise(sizes)):
        modules += [layers.GroupSort(group_size)] if i else []
        modules += [layers.OrthogonalLinear(width, height, dtype=dtype)]
    net = nn.Sequential(*modules)
    with torch.no_grad():
        for module in modules[::2]:
            module.bias.normal_()
    return net


# ---------------------------------------------------------------- QR


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_qr_is_orthogonal(shape, dtype):
    q = layers.QR()(torch.randn(shape, dtype=dtype))
    assert q.dtype == dtype
    assert q.shape == shape
    assert gram_error(q) < {torch.float32: 1e-6, torch.float64: 1e-14}[dtype]


@pytest.mark.parametrize("scale", [1e-12, 1e12])
@pytest.mark.parametrize("dtype", DTYPES)
def test_qr_is_orthogonal_at_any_scale(dtype, scale):
    weight = torch.randn(12, 9, dtype=dtype)
    assert gram_error(layers.QR()(weight * scale)) < (1e-6 if dtype == torch.float32 else 1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_qr_has_the_sign_of_gram_schmidt(shape):
    weight = torch.randn(shape, dtype=torch.float64)
    tall = weight.numpy() if shape[0] >= shape[1] else weight.numpy().T
    q, r = scipy.linalg.qr(tall, mode="economic")
    q = q * np.sign(np.diag(r))
    expected = q if shape[0] >= shape[1] else q.T
    np.testing.assert_allclose(layers.QR()(weight).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_qr_maps_orthogonal_matrices_to_themselves(shape):
    q = nn.init.orthogonal_(torch.empty(shape, dtype=torch.float64))
    np.testing.assert_allclose(layers.QR()(q).numpy(), q.numpy(), atol=1e-14)
    # Also where the sign of R alone tells Q from -Q.
    np.testing.assert_allclose(layers.QR()(-q).numpy(), -q.numpy(), atol=1e-14)


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
def test_qr_derivatives_against_finite_differences(shape):
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layers.QR(), weight, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(layers.QR(), weight)


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
def test_qr_under_functional_transforms(shape):
    qr = layers.QR()
    batch = torch.randn(6, *shape, dtype=torch.float64)

    def value(weight):
        return (qr(weight) ** 3).sum()

    def gradient(weight):
        """Return the gradient of `value` by central differences, without autograd."""
        flat, step = weight.reshape(-1), 1e-6
        units = torch.eye(flat.numel(), dtype=torch.float64)
        rows = [
            value((flat + step * e).view(shape)) - value((flat - step * e).view(shape))
            for e in units
        ]
        return torch.stack(rows) / (2 * step)

    torch.testing.assert_close(torch.vmap(qr)(batch), torch.stack([qr(w) for w in batch]))
    reverse = torch.vmap(torch.func.jacrev(qr))(batch)
    torch.testing.assert_close(torch.vmap(torch.func.jacfwd(qr))(batch), reverse)
    gradients = torch.vmap(torch.func.grad(value))(batch).reshape(6, -1)
    torch.testing.assert_close(
        gradients, torch.stack([gradient(w) for w in batch]), atol=1e-8, rtol=1e-6
    )
    hessians = torch.vmap(torch.func.hessian(value))(batch).reshape(6, *2 * (batch[0].numel(),))
    step = 1e-5 * torch.randn(shape, dtype=torch.float64)
    slopes = [torch.func.grad(value)(w + step) - torch.func.grad(value)(w - step) for w in batch]
    slopes = torch.stack(slopes).reshape(6, -1) / 2
    torch.testing.assert_close(hessians @ step.reshape(-1), slopes, atol=1e-12, rtol=1e-5)


def test_qr_parametrises_any_weight_that_torch_can_register():
    layer = nn.Linear(6, 4, dtype=torch.float64)
    parametrize.register_parametrization(layer, "weight", layers.QR())
    assert gram_error(layer.weight) < 1e-14
    target = nn.init.orthogonal_(torch.empty(4, 6, dtype=torch.float64))
    layer.weight = target
    torch.testing.assert_close(layer.weight, target)
    parametrize.remove_parametrizations(layer, "weight")
    torch.testing.assert_close(layer.weight.detach(), target)


# ---------------------------------------------------------------- OrthogonalLinear


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_orthogonal_linear_starts_orthogonal_and_without_bias(shape, dtype):
    layer = layers.OrthogonalLinear(shape[1], shape[0], dtype=dtype)
    assert layer.weight.shape == shape
    assert layer.weight.dtype == layer.bias.dtype == dtype
    assert gram_error(layer.weight) < (1e-6 if dtype == torch.float32 else 1e-14)
    assert not layer.bias.any()
    assert layers.OrthogonalLinear(shape[1], shape[0], bias=False).bias is None


def test_the_start_is_uniform_among_orthogonal_matrices():
    draws = torch.stack([layers.OrthogonalLinear(3, 3).weight.detach() for _ in range(800)])
    # Invariance under reflections and rotations: mean 0, second moments 1/3, both orientations.
    assert float(draws.mean(0).abs().max()) < 5 / math.sqrt(3 * 800)
    assert float((draws.square().mean(0) - 1 / 3).abs().max()) < 5 * math.sqrt(4 / 45 / 800)
    assert abs(float(torch.linalg.det(draws).mean())) < 5 / math.sqrt(800)


def test_the_start_comes_from_the_seed_or_the_generator():
    torch.manual_seed(1)
    first = layers.OrthogonalLinear(5, 4).weight
    torch.manual_seed(1)
    assert torch.equal(layers.OrthogonalLinear(5, 4).weight, first)
    assert not torch.equal(layers.OrthogonalLinear(5, 4).weight, first)
    state = torch.get_rng_state()
    by_generator = layers.OrthogonalLinear(5, 4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(by_generator.weight, first)
    assert torch.equal(torch.get_rng_state(), state)


def test_reset_parameters_starts_again():
    layer = layers.OrthogonalLinear(5, 4)
    with torch.no_grad():
        layer.bias.fill_(1.0)
    before = layer.weight.detach().clone()
    layer.reset_parameters(torch.Generator().manual_seed(3))
    expected = layers.OrthogonalLinear(5, 4, generator=torch.Generator().manual_seed(3))
    assert torch.equal(layer.weight, expected.weight)
    assert not torch.equal(layer.weight, before)
    assert not layer.bias.any()


def test_any_class_can_be_the_parametrization():
    class Negated(layers.QR):
        def forward(self, weight):
            return -super().forward(weight)

        def right_inverse(self, weight):
            return -weight

    layer = layers.OrthogonalLinear(5, 5, parametrization=Negated)
    assert isinstance(layer.parametrizations.weight[0], Negated)
    assert gram_error(layer.weight) < 1e-6


def test_training_keeps_the_weights_orthogonal():
    net = orthogonal_net(6, 8, 3, dtype=torch.float32)
    x, target = torch.randn(40, 6), torch.randint(3, (40,))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    start = [p.detach().clone() for p in net.parameters()]
    first = losses.tau_cross_entropy(net(x), target, tau=10.0)
    for _ in range(60):
        optimizer.zero_grad()
        loss = losses.tau_cross_entropy(net(x), target, tau=10.0)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * first.item()
    for parameter, before in zip(net.parameters(), start, strict=True):
        assert float((parameter.detach() - before).abs().max()) > 0.1
    assert gram_error(net[0].weight) < 1e-6
    assert gram_error(net[2].weight) < 1e-6


@given(
    hnp.arrays(np.float64, (2, 12), elements=st.floats(-1e3, 1e3)),
    st.sampled_from([(12, 12, 12), (12, 30, 7), (12, 4, 20), (12, 40)]),
)
def test_networks_are_1_lipschitz(pair, sizes):
    torch.manual_seed(sum(sizes))
    net = orthogonal_net(*sizes, group_size=2)
    x, y = torch.from_numpy(pair)
    with torch.no_grad():
        moved = float(torch.linalg.vector_norm(net(x) - net(y)))
    assert moved <= float(torch.linalg.vector_norm(x - y)) * (1 + 1e-13) + 1e-11


def test_layers_that_do_not_narrow_keep_distances():
    layer = layers.OrthogonalLinear(12, 40, dtype=torch.float64)
    x, y = torch.randn(2, 30, 12, dtype=torch.float64)
    torch.testing.assert_close((layer(x) - layer(y)).norm(dim=-1), (x - y).norm(dim=-1))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
def test_networks_that_do_not_widen_preserve_gradient_norms(dtype, tolerance):
    net = layers.freeze(orthogonal_net(20, 16, 16, 8, 4, dtype=dtype))
    jacobians = torch.vmap(torch.func.jacrev(net))(torch.randn(1000, 20, dtype=dtype))
    values = torch.linalg.svdvals(jacobians.double())
    assert float((values - 1.0).abs().max()) < tolerance


def test_networks_under_functional_transforms():
    net = orthogonal_net(6, 8, 8, 3)
    x = torch.randn(5, 6, dtype=torch.float64)
    jacobians = torch.vmap(torch.func.jacrev(net))(x)
    torch.testing.assert_close(torch.vmap(torch.func.jacfwd(net))(x), jacobians)
    for point, jacobian in zip(x, jacobians, strict=True):
        steps = 1e-6 * torch.eye(6, dtype=torch.float64)
        differences = (net(point + steps) - net(point - steps)).T / 2e-6
        torch.testing.assert_close(differences.detach(), jacobian, atol=1e-8, rtol=0)
    # The network is affine around x: the Hessian of |net|^2 is 2 J'J.
    hessians = torch.vmap(torch.func.hessian(lambda x: net(x).square().sum()))(x)
    torch.testing.assert_close(hessians, 2 * jacobians.mT @ jacobians)


def test_networks_as_functions_of_their_parameters():
    net = orthogonal_net(6, 8, 3)
    x = torch.randn(5, 6, dtype=torch.float64)

    def value(parameters):
        return torch.func.functional_call(net, parameters, (x,)).square().mean()

    parameters = dict(net.named_parameters())
    gradients = torch.func.grad(value)(parameters)
    net.zero_grad()
    net(x).square().mean().backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad)
    copies = [orthogonal_net(6, 8, 3) for _ in range(3)]
    stacked, _ = torch.func.stack_module_state(copies)
    outputs = torch.vmap(lambda p: torch.func.functional_call(net, p, (x,)))(stacked)
    torch.testing.assert_close(outputs, torch.stack([member(x) for member in copies]))


def test_networks_are_copied_saved_and_traced():
    net = orthogonal_net(6, 8, 3)
    x = torch.randn(5, 6, dtype=torch.float64)
    twin = copy.deepcopy(net)
    assert torch.equal(twin(x), net(x))
    other = orthogonal_net(6, 8, 3)
    assert not torch.equal(other(x), net(x))
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x), net(x))
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), net(x))


# ---------------------------------------------------------------- GroupSort


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("group_size", [2, 3, 4, 12])
@pytest.mark.parametrize("shape", [(12,), (5, 12), (2, 3, 24), (0, 12)])
def test_group_sort_against_numpy(shape, group_size, dtype):
    x = torch.randint(-4, 5, shape).to(dtype)
    groups = x.numpy().reshape(*shape[:-1], shape[-1] // group_size, group_size)
    result = layers.GroupSort(group_size)(x)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result.numpy(), np.sort(groups, axis=-1).reshape(shape))


@pytest.mark.parametrize("group_size", [2, 3, 6])
def test_group_sort_preserves_gradient_norms_at_ties_too(group_size):
    sort = layers.GroupSort(group_size)
    for x in (torch.randn(6), torch.zeros(6), torch.tensor([1.0, 1.0, 0.0, 2.0, 2.0, 2.0])):
        for jacobian in (torch.func.jacrev(sort)(x), torch.func.jacfwd(sort)(x)):
            assert torch.equal(jacobian @ jacobian.T, torch.eye(6))
            assert torch.equal(jacobian @ x, sort(x))


# ---------------------------------------------------------------- freeze


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(64, 128, 128, 10), (7, 8, 8), (5, 2, 30), (3, 1)])
def test_freeze_is_strict_and_keeps_the_function(sizes, dtype):
    net = orthogonal_net(*sizes, dtype=dtype)
    frozen = layers.freeze(net)
    linear = [module for module in frozen if isinstance(module, nn.Linear)]
    assert [type(module) for module in linear] == [nn.Linear] * (len(sizes) - 1)
    for module in linear:
        values = singular_values(module.weight)
        assert values.max() <= 1.0
        assert values.min() > 1.0 - (2e-7 if dtype == torch.float32 else 1e-13)
        assert module.weight.dtype == module.bias.dtype == dtype
    x = torch.randn(50, sizes[0], dtype=dtype)
    rounding = 5e-6 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(frozen(x), net(x).detach(), atol=rounding, rtol=rounding)
    assert layers.lipschitz_bound(frozen) <= 1.0


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["float32", "float64", "bfloat16"]))
def test_freeze_is_strict_after_rounding(rows, columns, dtype):
    torch.manual_seed(rows + 100 * columns)
    layer = nn.Linear(columns, rows, dtype=getattr(torch, dtype))
    with torch.no_grad():  # a norm that rounding alone took above 1
        layer.weight.copy_(1.001 * nn.init.orthogonal_(torch.empty(rows, columns)))
    frozen = layers.freeze(layer)
    assert frozen.weight.dtype == layer.weight.dtype
    values = singular_values(frozen.weight)
    assert values.max() <= 1.0
    assert values.max() > 1.0 - 2.0 * torch.finfo(layer.weight.dtype).eps - 1e-13


def test_freeze_divides_by_the_norm_and_leaves_contractions_alone():
    small, large = nn.Linear(4, 3, dtype=torch.float64), nn.Linear(3, 3, dtype=torch.float64)
    with torch.no_grad():
        small.weight.mul_(0.7 / singular_values(small.weight).max())
        large.weight.mul_(1.005 / singular_values(large.weight).max())
    frozen = layers.freeze(nn.Sequential(small, large))
    assert torch.equal(frozen[0].weight, small.weight)
    torch.testing.assert_close(frozen[1].weight, large.weight / 1.005, atol=0, rtol=1e-14)
    assert torch.equal(frozen[1].bias, large.bias)


def test_freeze_makes_a_fresh_model_for_evaluation():
    net = orthogonal_net(6, 8, 3)
    state = copy.deepcopy(net.state_dict())
    frozen = layers.freeze(net)
    assert not frozen.training
    assert not any(p.requires_grad for p in frozen.parameters())
    assert not any(parametrize.is_parametrized(module) for module in frozen.modules())
    assert list(frozen.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    with torch.no_grad():
        for parameter in frozen.parameters():
            parameter.zero_()
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("dtype", DTYPES)
def test_freeze_twice_is_freeze_once(dtype):
    frozen = layers.freeze(orthogonal_net(20, 30, 5, dtype=dtype))
    again = layers.freeze(frozen)
    for name, value in frozen.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


class Residual(nn.Module):
    """A module of a user's own, with a layer in a list and one in use twice."""

    def __init__(self):
        super().__init__()
        self.inner = layers.OrthogonalLinear(4, 4, bias=False, dtype=torch.float64)
        self.branches = nn.ModuleList([self.inner, nn.Tanh()])
        self.same = [self.inner]

    def forward(self, x):
        return x + self.same[0](self.branches[1](self.branches[0](x)))


def test_freeze_reaches_into_other_modules_and_keeps_sharing():
    model = nn.Sequential(Residual(), layers.GroupSort())
    frozen = layers.freeze(model)
    inner = frozen[0].inner
    assert type(inner) is nn.Linear
    assert inner.bias is None
    assert frozen[0].branches[0] is inner
    assert frozen[0].same[0] is inner
    x = torch.randn(9, 4, dtype=torch.float64)
    torch.testing.assert_close(frozen(x), model(x).detach(), atol=1e-13, rtol=0)


def test_freeze_one_layer():
    assert type(layers.freeze(layers.OrthogonalLinear(3, 2))) is nn.Linear


# ---------------------------------------------------------------- lipschitz_bound


def test_lipschitz_bound_against_dense_products():
    net = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Sequential(nn.Linear(9, 5), nn.Tanh()))
    expected = np.prod([singular_values(m.weight).max() for m in (net[0], net[2][0])])
    assert layers.lipschitz_bound(net) == pytest.approx(expected, rel=1e-14, abs=0)
    # Without activations between diagonal layers it is the norm of the product itself.
    diagonal = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(3)))
    scales = torch.tensor([[4.0, 1.0, 2.0, 0.5], [3.0, 1.0, 1.0, 1.0], [0.125, 0.0, 0.1, 0.1]])
    for module, scale in zip(diagonal, scales, strict=True):
        module.weight.data = torch.diag(scale)
    assert layers.lipschitz_bound(diagonal) == 1.5
    assert torch.equal(torch.func.jacrev(diagonal)(torch.ones(4)), torch.diag(scales.prod(0)))


def test_lipschitz_bound_counts_a_layer_each_time_it_is_used():
    layer = nn.Linear(3, 3)
    layer.weight.data = 2.0 * torch.eye(3)
    assert layers.lipschitz_bound(nn.Sequential(layer, nn.ReLU(), layer, layer)) == 8.0
    assert layers.lipschitz_bound(layer) == 2.0


def test_lipschitz_bound_is_computed_in_float64():
    weight = torch.eye(2) * (1.0 + 2.0**-20)
    stack = nn.Sequential(*(nn.Linear(2, 2) for _ in range(8)))
    for module in stack:
        module.weight.data = weight
    assert layers.lipschitz_bound(stack) == pytest.approx((1.0 + 2.0**-20) ** 8, rel=1e-15, abs=0)


ACTIVATIONS = [
    (nn.Identity(), 1.0), (nn.ReLU(), 1.0), (nn.ReLU6(), 1.0), (nn.Hardtanh(), 1.0),
    (nn.Tanh(), 1.0), (nn.Softsign(), 1.0), (nn.Softshrink(), 1.0), (nn.Tanhshrink(), 1.0),
    (nn.LogSigmoid(), 1.0), (nn.Sigmoid(), 0.25), (nn.LeakyReLU(0.1), 1.0),
    (nn.LeakyReLU(3.0), 3.0), (nn.LeakyReLU(-2.0), 2.0), (nn.ELU(), 1.0), (nn.ELU(1.5), 1.5),
    (nn.PReLU(init=-4.0), 4.0), (nn.Dropout(0.5).eval(), 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("activation", "constant"), ACTIVATIONS, ids=str)
def test_activation_constants_are_the_largest_slopes(activation, constant):
    assert layers.lipschitz_bound(activation) == constant
    x = torch.linspace(-40, 40, 160_001, dtype=torch.float64)
    slopes = torch.diff(activation.double()(x).detach()).abs() / torch.diff(x)
    assert constant * (1 - 1e-3) < float(slopes.max()) < constant * (1 + 1e-9)


def test_shapes_only_modules_count_as_one():
    net = nn.Sequential(nn.Flatten(), nn.Unflatten(-1, (2, 6)), layers.GroupSort(3))
    assert layers.lipschitz_bound(net) == 1.0


# ---------------------------------------------------------------- bad models


class Scaled(nn.Linear):
    def forward(self, x):
        return 10.0 * super().forward(x)


def non_finite():
    layer = nn.Linear(2, 2)
    layer.weight.data[0, 0] = math.nan
    return layer


def parametrised_convolution():
    layer = nn.Conv1d(2, 2, 1)
    parametrize.register_parametrization(layer, "bias", nn.Identity())
    return layer


def expanding():
    layer = nn.Linear(2, 2)
    layer.weight.data = 3.0 * torch.eye(2)
    return nn.Sequential(nn.ReLU(), nn.Sequential(layer))


BAD_MODELS = [
    (layers.lipschitz_bound, lambda: "net", TypeError,
     "model must be a torch.nn.Module: got str."),
    (layers.lipschitz_bound, lambda: nn.Sequential(nn.ReLU(), nn.Sequential(Residual())),
     TypeError,
     "model must be made of modules with a known Lipschitz constant: '1.0' is a Residual. Put the"),
    (layers.lipschitz_bound, Residual, TypeError, "it is a Residual. Put the parts"),
    (layers.lipschitz_bound, lambda: Scaled(2, 2), TypeError, "it is a Scaled."),
    (layers.lipschitz_bound, lambda: nn.Sequential(nn.Dropout(0.5)), TypeError,
     "'0' is a Dropout in training mode. Call model.eval() first."),
    (layers.lipschitz_bound, lambda: nn.Sequential(non_finite()), ValueError,
     "model must have finite weights: '0' is a Linear with NaN or infinite entries."),
    (layers.freeze, lambda: [nn.Linear(2, 2)], TypeError,
     "model must be a torch.nn.Module: got list."),
    (layers.freeze, lambda: nn.Sequential(non_finite()), ValueError,
     "model must have finite weights: '0' is a Linear with NaN or infinite entries."),
    (layers.freeze, parametrised_convolution, TypeError,
     "model must have no parametrised modules but linear layers: it is a Conv1d."),
    (layers.freeze, expanding, ValueError,
     "model must have linear layers of spectral norm at most 1: '1.0' is a Linear of norm 3."),
]  # fmt: skip


@pytest.mark.parametrize(("function", "make", "error", "message"), BAD_MODELS)
def test_bad_models(function, make, error, message):
    with pytest.raises(error) as caught:
        function(make())
    assert message in str(caught.value)


BAD_LAYERS = [
    (lambda: layers.OrthogonalLinear(0, 3), ValueError,
     "in_features must be an integer, at least 1: got 0."),
    (lambda: layers.OrthogonalLinear(3, 2.0), ValueError,
     "out_features must be an integer, at least 1: got 2.0."),
    (lambda: layers.OrthogonalLinear(3, 3, dtype=torch.bfloat16), TypeError,
     "weight must be float32 or float64: its dtype is torch.bfloat16."),
    (lambda: layers.OrthogonalLinear(3, 3).half()(torch.ones(3).half()), TypeError,
     "weight must be float32 or float64: its dtype is torch.float16."),
    (lambda: layers.GroupSort(1), ValueError, "group_size must be an integer, at least 2: got 1."),
    (lambda: layers.GroupSort(True), ValueError, "at least 2: got True."),
    (lambda: layers.GroupSort()(torch.ones(4, 5)), ValueError,
     "the input of GroupSort must have a last axis that is a multiple of group_size = 2: "
     "got shape (4, 5)."),
    (lambda: layers.GroupSort(3)(torch.tensor(1.0)), ValueError, "got shape ()."),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), BAD_LAYERS)
def test_bad_layers(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)


# ---------------------------------------------------------------- losses


def reference_loss(logits, target, tau):
    """Evaluate the definition to 400 digits: the smallest losses are 1e-304."""
    with mpmath.workdps(400):
        total = mpmath.mpf(0)
        for row, label in zip(np.atleast_2d(logits), np.atleast_1d(target), strict=True):
            z = [mpmath.mpf(float(v)) * mpmath.mpf(tau) for v in row]
            total += mpmath.log(mpmath.fsum([mpmath.exp(v - z[label]) for v in z]))
        return total / (len(np.atleast_1d(target)) * mpmath.mpf(tau))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tau", [1e-6, 0.1, 1.0, 10.0, 300.0])
def test_tau_cross_entropy_against_mpmath(tau, dtype):
    logits = torch.randn(20, 5, dtype=dtype)
    target = torch.randint(5, (20,))
    tau = float(torch.tensor(tau, dtype=dtype))
    expected = float(reference_loss(logits.numpy(), target.numpy(), tau))
    loss = losses.tau_cross_entropy(logits, target, tau=tau)
    assert loss.dtype == dtype
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, rel=8 * torch.finfo(dtype).eps, abs=0)


def test_tau_cross_entropy_keeps_small_losses():
    logits = torch.tensor([[60.0, 0.0, -5.0], [0.0, 700.0, 1.0]], dtype=torch.float64)
    for row, label in ((0, 0), (1, 1), (1, 2)):
        z = logits[row].clone().requires_grad_()
        loss = losses.tau_cross_entropy(z, torch.tensor(label), tau=1.0)
        expected = float(reference_loss(logits[row], [label], 1.0))
        assert loss.item() == pytest.approx(expected, rel=1e-15, abs=0)
        (gradient,) = torch.autograd.grad(loss, z)
        slope = float(-mpmath.expm1(-reference_loss(logits[row], [label], 1.0)))  # 1 - p
        assert float(gradient[label]) == pytest.approx(-slope, rel=1e-14, abs=0)


@pytest.mark.parametrize("tau", [0.5, 1.0, 20.0])
def test_tau_cross_entropy_against_torch(tau):
    logits = torch.randn(4, 3, 6, dtype=torch.float64, requires_grad=True)
    target = torch.randint(6, (4, 3))
    loss = losses.tau_cross_entropy(logits, target, tau=tau)
    expected = nn.functional.cross_entropy(tau * logits.reshape(12, 6), target.reshape(12)) / tau
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, logits)
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(gradient, expected_gradient)


def test_tau_cross_entropy_limits():
    logits = torch.randn(8, 5, dtype=torch.float64)
    target = torch.randint(5, (8,))
    true = logits[torch.arange(8), target]
    tau = 1e-7
    small = losses.tau_cross_entropy(logits, target, tau=tau) - math.log(5) / tau
    assert float(small) == pytest.approx(float((logits.mean(-1) - true).mean()), abs=1e-6)
    large = losses.tau_cross_entropy(logits, target, tau=1e5)
    assert float(large) == pytest.approx(float((logits.amax(-1) - true).mean()), abs=1e-12)


@pytest.mark.parametrize("tau", [0.01, 1.0, 100.0])
def test_tau_cross_entropy_gradients_do_not_scale_with_tau(tau):
    logits = torch.tensor([0.0, 0.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    losses.tau_cross_entropy(logits, torch.tensor(1), tau=tau).backward()
    np.testing.assert_allclose(logits.grad.numpy(), [0.25, -0.75, 0.25, 0.25], rtol=1e-15)


def test_tau_cross_entropy_with_masked_classes():
    inf = math.inf
    logits = torch.tensor([[1.0, -inf, 0.0], [2.0, -inf, -inf]], dtype=torch.float64)
    logits.requires_grad_()
    loss = losses.tau_cross_entropy(logits, torch.tensor([0, 0]), tau=1.0)
    loss.backward()
    assert loss.item() == pytest.approx(math.log1p(math.exp(-1.0)) / 2, rel=1e-15, abs=0)
    half = 0.5 / (1 + math.e)
    np.testing.assert_allclose(logits.grad.numpy(), [[-half, 0, half], [0, 0, 0]], rtol=1e-15)
    assert float(losses.tau_cross_entropy(logits[1].detach(), torch.tensor(1), tau=1.0)) == inf


def test_tau_cross_entropy_under_functional_transforms_and_in_half_precision():
    logits = torch.randn(6, 4, dtype=torch.float64)
    target = torch.randint(4, (6,))

    def loss(z, y):
        return losses.tau_cross_entropy(z, y, tau=3.0)

    per_example = torch.vmap(loss)(logits, target)
    torch.testing.assert_close(per_example.mean(), loss(logits, target))
    gradients = torch.vmap(torch.func.grad(loss))(logits, target)
    expected = torch.softmax(3.0 * logits, -1) - nn.functional.one_hot(target, 4)
    torch.testing.assert_close(gradients, expected)
    half = loss(logits.to(torch.bfloat16), target.to(torch.uint8))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, loss(logits.to(torch.bfloat16).float(), target))


Z, Y = torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)
BAD_LOSSES = [
    (Z.numpy(), Y, 1.0, TypeError, "logits must be a torch tensor: got ndarray."),
    (Z, [0, 0, 0, 0], 1.0, TypeError, "target must be a torch tensor: got list."),
    (Z, Y.double(), 1.0, TypeError, "target must hold classes as integers: its dtype is"),
    (Z, Y.to("meta"), 1.0, TypeError, "logits is on cpu and target on meta."),
    (Z, Y[:3], 1.0, ValueError,
     "target must have one class for each row of logits: the shape of logits is (4, 3), that of "
     "target (3,)."),
    (Z, torch.zeros(4, 3, dtype=torch.int64), 1.0, ValueError, "one class for each row"),
    (Z[:0], Y[:0], 1.0, ValueError, "target must have at least one class: got shape (0,)."),
    (Z, Y + 3, 1.0, ValueError,
     "target must hold classes from 0 to 2: its entries range from 3 to 3."),
    (Z, Y - 1, 1.0, ValueError, "its entries range from -1 to -1."),
    (Z, Y, 0.0, ValueError, "tau must be positive and finite: it has the entry 0."),
    (Z, Y, math.inf, ValueError, "tau must be positive and finite: it has the entry inf."),
    (Z, Y, [1.0, 2.0], ValueError, "tau must be one number: got shape (2,)."),
    (Z + math.nan, Y, 1.0, ValueError, "logits must hold logits"),
    (torch.tensor(1.0), torch.tensor(0), 1.0, ValueError, "got shape ()."),
]  # fmt: skip


@pytest.mark.parametrize(("logits", "target", "tau", "error", "message"), BAD_LOSSES)
def test_bad_losses(logits, target, tau, error, message):
    with pytest.raises(error) as caught:
        losses.tau_cross_entropy(logits, target, tau=tau)
    assert message in str(caught.value)


# ---------------------------------------------------------------- certificates

INF = math.inf
LOGITS = [
    [3.0, -1.0, 1.0],
    [1e-9, 0.0, -2.0],
    [5.0, 5.0 + 1e-12, 5.0],
    [0.0, 40.0, 39.5],
    [800.0, 0.0, -800.0],
    [-1000.0, -1001.0, -1000.5],
    [0.25, -INF, 0.0],
    [1e-3, 2e-3, -INF],
]


def reference_radii(row, constant):
    """Return (margin radius, Fisher-Rao radius) of one row of logits, to 60 digits."""
    with mpmath.workdps(60):
        z = sorted((mpmath.mpf(float(v)) for v in row), reverse=True)
        weights = [mpmath.exp(v - z[0]) for v in z]
        p1, p2 = (w / mpmath.fsum(weights) for w in weights[:2])
        scale = mpmath.sqrt(2) * mpmath.mpf(constant)
        chord = (mpmath.sqrt(p1) - mpmath.sqrt(p2)) / mpmath.sqrt(2)
        return float((z[0] - z[1]) / scale), float(4 / scale * mpmath.atanh(chord))


def reference_distance(z, w):
    """Return the Fisher-Rao distance of two logit vectors, to 60 digits."""
    with mpmath.workdps(60):
        p, q = ([mpmath.exp(mpmath.mpf(float(v))) for v in row] for row in (z, w))
        affinity = mpmath.fsum(mpmath.sqrt(a * b) for a, b in zip(p, q, strict=True))
        return 2 * mpmath.acos(affinity / mpmath.sqrt(mpmath.fsum(p) * mpmath.fsum(q)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_radii_against_mpmath(lib, dtype):
    z = lib.array(LOGITS, dtype)
    stored = lib.to_numpy(z)
    margins = certificates.margin_radius(z, lipschitz_constant=1.5)
    radii = certificates.fisher_rao_radius(z, lipschitz_constant=1.5)
    expected = np.array([reference_radii(row, 1.5) for row in stored])
    for result, values in ((margins, expected[:, 0]), (radii, expected[:, 1])):
        assert lib.owns(result)
        assert lib.dtype_name(result) == dtype
        np.testing.assert_allclose(lib.to_numpy(result), values, rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_drift_bound_against_mpmath(lib, dtype):
    radius = lib.array([0.0, 1e-20, 1e-8, 0.3, 2.0, 11.0, 60.0, INF], dtype)
    result = certificates.drift_bound(radius, lipschitz_constant=0.7)
    assert lib.owns(result)
    assert lib.dtype_name(result) == dtype
    with mpmath.workdps(40):
        x = [mpmath.mpf(float(r)) * mpmath.mpf(0.7) / mpmath.sqrt(8) for r in lib.to_numpy(radius)]
        expected = [float(2 * mpmath.asin(mpmath.tanh(v))) for v in x]  # gd = arcsin tanh
    np.testing.assert_allclose(lib.to_numpy(result), expected, rtol=8 * np.finfo(dtype).eps)


def test_closed_values():
    root = math.sqrt(2.0)
    assert float(certificates.margin_radius([3.0, 1.0], lipschitz_constant=root)) == pytest.approx(
        1
    )
    assert float(certificates.margin_radius([2.0, 2.0], lipschitz_constant=1.0)) == 0.0
    assert float(certificates.fisher_rao_radius([2.0, 2.0], lipschitz_constant=1.0)) == 0.0
    assert float(certificates.margin_radius([2.0, -INF], lipschitz_constant=1.0)) == INF
    assert float(certificates.margin_radius([2.0], lipschitz_constant=1.0)) == INF
    largest = 2 * root * math.atanh(1 / root)
    for sure in ([2.0], [0.0, -INF], [0.0, 1e4]):
        radius = float(certificates.fisher_rao_radius(sure, lipschitz_constant=0.5))
        assert radius == pytest.approx(2 * largest, rel=1e-15, abs=0)
    assert float(certificates.drift_bound(INF, lipschitz_constant=1.0)) == math.pi


@given(
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=6),
               elements=st.floats(-60, 60)),
    st.floats(1e-3, 1e3),
)  # fmt: skip
def test_fisher_rao_radius_is_never_the_larger_one(z, constant):
    margin = certificates.margin_radius(z, lipschitz_constant=constant)
    radius = certificates.fisher_rao_radius(z, lipschitz_constant=constant)
    assert radius.shape == z.shape[:-1]
    assert np.all(radius <= margin * (1 + 1e-15))
    assert np.all(radius >= 0.0)


@given(hnp.arrays(np.float64, 4, elements=st.floats(-20, 20)), st.floats(-50, 50))
def test_radii_depend_on_the_prediction_only(z, shift):
    for radius in (certificates.margin_radius, certificates.fisher_rao_radius):
        value = radius(z, lipschitz_constant=2.0)
        np.testing.assert_allclose(
            radius(z[::-1] + shift, lipschitz_constant=2.0), value, atol=1e-13, rtol=1e-13
        )


@given(hnp.arrays(np.float64, 3, elements=st.floats(-15, 15)), st.floats(0.1, 10))
def test_drift_bound_reaches_the_boundary_at_the_fisher_rao_radius(z, constant):
    radius = certificates.fisher_rao_radius(z, lipschitz_constant=constant)
    drift = certificates.drift_bound(radius, lipschitz_constant=constant)
    p = np.sort(np.exp(z - z.max()) / np.exp(z - z.max()).sum())
    boundary = 2 * np.arcsin((np.sqrt(p[-1]) - np.sqrt(p[-2])) / math.sqrt(2))
    np.testing.assert_allclose(drift, boundary, atol=1e-15, rtol=1e-13)


def exact_distance(weight, bias, x):
    """Distance from x to the complement of its class's cell, which is a polyhedron."""
    z = weight @ x + bias
    k = z.argmax()
    others = np.delete(np.arange(len(z)), k)
    gaps, normals = z[k] - z[others], weight[k] - weight[others]
    distances = gaps / np.linalg.norm(normals, axis=-1)
    nearest = distances.argmin()
    return distances[nearest], -normals[nearest] / np.linalg.norm(normals[nearest])


def test_margin_radius_against_linear_classifiers(rng):
    for num_outcomes, dim in [(2, 5), (4, 4), (6, 9), (7, 3)]:
        weight, bias = rng.normal(size=(num_outcomes, dim)), rng.normal(size=num_outcomes)
        constant = np.linalg.norm(weight, 2)
        for x in rng.normal(size=(50, dim)):
            radius = certificates.margin_radius(weight @ x + bias, lipschitz_constant=constant)
            distance, direction = exact_distance(weight, bias, x)
            assert radius <= distance * (1 + 1e-14)
            classes = [(weight @ (x + t * direction) + bias).argmax()
                       for t in (0.0, 0.999 * distance, 1.001 * distance)]  # fmt: skip
            assert classes[0] == classes[1] != classes[2]


@pytest.mark.parametrize("constant", [0.5, 1.0, 20.0])
def test_margin_radius_is_exact_for_orthonormal_rows(rng, constant):
    rows = np.linalg.qr(rng.normal(size=(9, 6)))[0].T
    for x in rng.normal(size=(50, 9)):
        radius = certificates.margin_radius(constant * rows @ x, lipschitz_constant=constant)
        distance, _ = exact_distance(constant * rows, np.zeros(6), x)
        assert radius == pytest.approx(distance, rel=1e-12, abs=0)


@pytest.mark.parametrize("radius", [1e-6, 0.1, 2.0, 15.0])
@pytest.mark.parametrize("num_outcomes", [2, 3, 10])
def test_drift_bound_holds_for_lipschitz_maps(rng, num_outcomes, radius):
    constant = 1.7
    bound = certificates.drift_bound(radius, lipschitz_constant=constant)
    net = layers.freeze(orthogonal_net(12, 12, num_outcomes))
    x = torch.from_numpy(rng.normal(size=(200, 12)))
    step = rng.normal(size=(200, 12))
    step *= radius / np.linalg.norm(step, axis=-1, keepdims=True)
    z, w = constant * net(x).numpy(), constant * net(x + torch.from_numpy(step)).numpy()
    distances = [float(reference_distance(*pair)) for pair in zip(z, w, strict=True)]
    assert 0.01 * bound < max(distances) <= bound * (1 + 1e-9)


@pytest.mark.parametrize("radius", [1e-6, 0.1, 2.0, 15.0])
@pytest.mark.parametrize("constant", [0.3, 1.0, 6.0])
def test_drift_bound_is_attained_across_a_tie(radius, constant):
    half = constant * radius / math.sqrt(8.0)
    z, w = [half, -half, -INF], [-half, half, -INF]
    bound = float(certificates.drift_bound(radius, lipschitz_constant=constant))
    assert bound == pytest.approx(float(reference_distance(z, w)), rel=1e-13, abs=0)
    assert bound <= constant * radius / math.sqrt(2.0)


def test_a_constant_for_each_row():
    z = np.array([[2.0, 0.0], [2.0, 0.0]])
    constants = np.array([1.0, 4.0])
    for radius in (certificates.margin_radius, certificates.fisher_rao_radius):
        both = radius(z, lipschitz_constant=constants)
        single = [radius(z[0], lipschitz_constant=c) for c in constants]
        np.testing.assert_array_equal(both, single)
    drift = certificates.drift_bound([[1.0], [2.0]], lipschitz_constant=[1.0, 2.0, 3.0])
    assert drift.shape == (2, 3)
    assert drift[1, 0] == drift[0, 1]


def test_halves_are_computed_in_float32():
    z = torch.tensor([[1.0, 0.5]], dtype=torch.float16)
    radius = certificates.margin_radius(z, lipschitz_constant=1.0)
    assert radius.dtype == torch.float32
    torch.testing.assert_close(radius, torch.tensor([0.5 / math.sqrt(2.0)]))


def test_gradients_against_finite_differences():
    z = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    constant = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    for radius in (certificates.margin_radius, certificates.fisher_rao_radius):
        assert torch.autograd.gradcheck(
            lambda z, c, f=radius: f(z, lipschitz_constant=c), (z, constant)
        )
        per_row = torch.vmap(torch.func.grad(lambda row, f=radius: f(row, lipschitz_constant=1.3)))(
            z
        )
        (whole,) = torch.autograd.grad(radius(z, lipschitz_constant=1.3).sum(), z)
        torch.testing.assert_close(per_row, whole)
    size = torch.tensor([0.0, 0.5, 3.0], dtype=torch.float64, requires_grad=True)
    certificates.drift_bound(size, lipschitz_constant=2.0).sum().backward()
    # d/dr 2 gd(L r / (2 sqrt2)) = L / sqrt2 sech(L r / (2 sqrt2))
    slopes = math.sqrt(2.0) / np.cosh(size.detach().numpy() / math.sqrt(2.0))
    np.testing.assert_allclose(size.grad.numpy(), slopes, rtol=1e-14)


@pytest.mark.parametrize("row", [[1.0, 1.0, 0.0], [900.0, 0.0, -900.0], [0.0, -INF, -INF], [4.0]])
def test_gradients_are_finite_at_ties_and_in_saturation(row):
    for radius in (certificates.margin_radius, certificates.fisher_rao_radius):
        z = torch.tensor(row, dtype=torch.float64, requires_grad=True)
        radius(z, lipschitz_constant=1.0).backward()
        assert torch.isfinite(z.grad).all()


def test_certificates_under_jax_transforms():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    z = jax.numpy.asarray([[0.3, -1.0, 2.0], [5.0, 4.0, 4.5]])
    rows = torch.tensor(z.tolist(), dtype=torch.float64, requires_grad=True)
    for radius in (certificates.margin_radius, certificates.fisher_rao_radius):

        def value(row, radius=radius):
            return radius(row, lipschitz_constant=1.3)

        np.testing.assert_allclose(jax.jit(jax.vmap(value))(z), value(z), rtol=1e-15)
        (expected,) = torch.autograd.grad(value(rows).sum(), rows)
        np.testing.assert_allclose(jax.vmap(jax.grad(value))(z), expected, rtol=1e-13, atol=1e-16)


def by_margin(z, c=1.0):
    return certificates.margin_radius(z, lipschitz_constant=c)


def by_fisher_rao(z, c=1.0):
    return certificates.fisher_rao_radius(z, lipschitz_constant=c)


def by_drift(r, c=1.0):
    return certificates.drift_bound(r, lipschitz_constant=c)


BAD_CERTIFICATES = [
    (by_margin, ([[1.0, 2.0], [math.nan, 0.0]],), ValueError, "NaN or +inf entries (row 1)."),
    (by_margin, ([1.0, INF],), ValueError, "logits must hold logits in its last axis"),
    (by_margin, ([-INF, -INF],), ValueError, "all its classes are masked"),
    (by_margin, (3.0,), ValueError, "got shape ()."),
    (by_margin, (np.empty((2, 0)),), ValueError, "got shape (2, 0)"),
    (by_margin, ("high",), TypeError, "logits must be an array, a list or a number: got str."),
    (by_margin, ([1.0, 2.0], 0.0), ValueError,
     "lipschitz_constant must be positive and finite: it has the entry 0."),
    (by_fisher_rao, ([1.0, 2.0], -3.0), ValueError, "it has the entry -3."),
    (by_fisher_rao, ([1.0, 2.0], [1.0, math.nan]), ValueError, "it has the entry nan (row 1)."),
    (by_fisher_rao, ([1.0, 2.0], INF), ValueError, "it has the entry inf."),
    (by_fisher_rao, (np.zeros(3), torch.tensor(1.0)), TypeError, "must come from the same library"),
    (by_drift, ([0.5, -0.25],), ValueError, "radius must not be negative: it has the entry -0.25"),
    (by_drift, (math.nan,), ValueError, "radius must not be negative: it has the entry nan."),
    (by_drift, (1.0, 0.0), ValueError, "lipschitz_constant must be positive and finite"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arguments", "error", "message"), BAD_CERTIFICATES)
def test_bad_certificates(function, arguments, error, message):
    with pytest.raises(error) as caught:
        function(*arguments)
    assert message in str(caught.value)


def test_values_are_not_looked_at_without_check():
    z = [[1.0, math.nan], [1.0, 0.0]]
    radius = certificates.margin_radius(z, lipschitz_constant=1.0, check=False)
    np.testing.assert_allclose(radius, [math.nan, 1 / math.sqrt(2.0)])
    assert certificates.drift_bound(-1.0, lipschitz_constant=1.0, check=False) < 0.0
    assert certificates.fisher_rao_radius(z[1], lipschitz_constant=-1.0, check=False) < 0.0
    loss = losses.tau_cross_entropy(Z + math.nan, Y, tau=1.0, check=False)
    assert math.isnan(float(loss))


def test_certificates_do_not_need_torch():
    code = (
        "import sys; from infogeo.lipschitz import certificates\n"
        "print(certificates.margin_radius([2.0, 0.0], lipschitz_constant=2.0))\n"
        "assert 'torch' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == pytest.approx(1 / math.sqrt(2.0))


def test_replaced_forward_methods_are_refused():
    """As tools for offloading do it: the module is no longer what its class says."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    for module in (model[0], model[1]):
        module.forward = lambda x: 100.0 * x
        for function in (layers.lipschitz_bound, layers.freeze):
            with pytest.raises(TypeError, match="whose forward was replaced"):
                function(model)
        del module.forward
    assert layers.lipschitz_bound(model) > 0.0


def test_hooks_are_refused():
    layer = nn.Linear(3, 3)
    layer.register_forward_hook(lambda module, inputs, output: 10 * output)
    for function in (layers.lipschitz_bound, layers.freeze):
        with pytest.raises(TypeError, match="model must have no forward hooks"):
            function(nn.Sequential(layer))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weight_norm announces its successor
        older = nn.utils.weight_norm(nn.Linear(8, 8))
    with pytest.raises(TypeError, match="model must have no forward hooks"):
        layers.lipschitz_bound(older)
