"""Orthogonal convolutions beside their dense matrices, and their derivatives."""

import copy
import math

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.func import functional_call, grad, hessian, jacfwd, jacrev  # noqa: E402

from infogeo.lipschitz import layers  # noqa: E402

EPS = {torch.float32: 2e-6, torch.float64: 1e-14}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(2)


def singular_values(layer, shape):
    return torch.linalg.svdvals(layers.as_linear(layer, shape).weight.detach().double())


@pytest.mark.parametrize(
    ("sizes", "dtype"),
    [
        ((4, 4, 3), torch.float32),
        ((5, 2, 2), torch.float32),
        ((2, 5, 3), torch.float64),
        ((3, 3, 1), torch.float64),
        ((1, 3, 4), torch.float64),
        ((1, 1, 3), torch.float64),
    ],
)
def test_all_singular_values_are_one(sizes, dtype):
    layer = layers.OrthogonalConv2d(*sizes, dtype=dtype)
    nn.init.normal_(layer.bias)
    with torch.no_grad():
        layer.turn += 0.5 * torch.randn_like(layer.turn)
        layer.halves += 0.5 * torch.randn_like(layer.halves)
    for height, width in ((sizes[2], sizes[2] + 1), (5, 4)):
        values = singular_values(layer, (sizes[0], height, width))
        assert len(values) == min(sizes[:2]) * height * width
        torch.testing.assert_close(values, torch.ones_like(values), rtol=0, atol=EPS[dtype])
    bound = layers.lipschitz_bound(layer)
    assert abs(bound - 1.0) < EPS[dtype] + 1e-9
    assert layer(torch.zeros(2, sizes[0], 7, 6, dtype=dtype)).shape == (2, sizes[1], 7, 6)


def test_it_is_a_convolution_with_its_weight():
    layer = layers.OrthogonalConv2d(3, 4, 3, dtype=torch.float64)
    plain = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular", dtype=torch.float64)
    plain.weight.data, plain.bias.data = layer.weight.detach(), layer.bias.detach()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(layer(x), plain(x))
    torch.testing.assert_close(layer(x[1]), plain(x)[1])
    assert layer.weight.abs().amin((0, 1)).min() > 1e-6  # every tap is used


def test_networks_of_them_keep_norms_of_gradients():
    net = nn.Sequential(
        nn.PixelUnshuffle(2),
        layers.OrthogonalConv2d(4, 4, 3),
        layers.GroupSort(dim=1),
        layers.OrthogonalConv2d(4, 2, 3),
        nn.Flatten(),
        layers.OrthogonalLinear(32, 3),
    ).double()
    x = torch.randn(5, 1, 8, 8, dtype=torch.float64)
    spectra = layers.jacobian_spectrum(net, x)
    torch.testing.assert_close(spectra, torch.ones(5, 3, dtype=torch.float64))
    assert abs(layers.lipschitz_bound(net, input_shape=(1, 8, 8)) - 1.0) < 1e-8


def test_derivatives_by_weights_and_inputs():
    layer = layers.OrthogonalConv2d(2, 2, 2, bias=False, dtype=torch.float64)
    weights = {name: value.detach() for name, value in layer.named_parameters()}
    x, probe = torch.randn(2, 1, 2, 3, 3, dtype=torch.float64)
    given = tuple(weights.values())

    def loss(*values):
        return (functional_call(layer, dict(zip(weights, values, strict=True)), (x,)) ** 3).sum()

    inputs = [value.clone().requires_grad_(True) for value in given]
    assert torch.autograd.gradcheck(loss, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(loss, inputs)
    second = hessian(loss)(*given)
    torch.testing.assert_close(second, jacrev(grad(loss))(*given))
    linear = layers.as_linear(layer, (2, 3, 3)).weight
    torch.testing.assert_close(jacrev(layer)(x).reshape(18, 18), linear)
    torch.testing.assert_close(jacfwd(layer)(x).reshape(18, 18), linear)
    torch.testing.assert_close(torch.func.jvp(layer, (x,), (probe,))[1], layer(probe))


def test_training_keeps_it_orthogonal():
    layer, target = layers.OrthogonalConv2d(3, 3, 3), layers.OrthogonalConv2d(3, 3, 3)
    x = torch.randn(8, 3, 6, 6)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (layer(x) - target(x).detach()).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    values = singular_values(layer, (3, 5, 5))
    torch.testing.assert_close(values, torch.ones_like(values), rtol=0, atol=3e-6)
    other = layers.OrthogonalConv2d(3, 3, 3)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))


@pytest.mark.parametrize("sizes", [(3, 4, 3), (4, 2, 2), (2, 2, 1)])
def test_frozen_ones_are_plain_convolutions_with_a_strict_bound(sizes):
    net = nn.Sequential(layers.OrthogonalConv2d(*sizes, sizes[2] > 1), layers.GroupSort(dim=1))
    frozen = layers.freeze(net)
    assert type(frozen[0]) is nn.Conv2d
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    for bound in (layers.lipschitz_bound(frozen), layers.lipschitz_bound(frozen[0])):
        assert 1.0 - 1e-6 < bound <= 1.0
    for size in ((5, 4), (4, 7)):
        x = torch.randn(2, sizes[0], *size)
        torch.testing.assert_close(frozen(x), net(x), rtol=1e-5, atol=3e-6)
    assert frozen.half()(x.half()).dtype == torch.float16
    with pytest.raises(ValueError, match="at most 1"):
        layers.freeze(nn.Sequential(layers.OrthogonalConv2d(8, 8, 2)), order=1)


def test_starts_and_what_is_refused():
    seeded = [layers.OrthogonalConv2d(2, 3, 3, generator=torch.Generator().manual_seed(4))
              for _ in range(2)]  # fmt: skip
    assert torch.equal(seeded[0].weight, seeded[1].weight)
    assert layers.OrthogonalConv2d(2, 2, 3, False).bias is None
    assert repr(layers.OrthogonalConv2d(2, 2, 3, False)).endswith("kernel_size=3, bias=False)")
    for arguments, message in (
        ((0, 2, 3), "in_channels must be"), ((2, 2.0, 3), "out_channels must be"),
        ((2, 2, 0), "kernel_size must be"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            layers.OrthogonalConv2d(*arguments)
    with pytest.raises(TypeError, match="float32 or float64"):
        layers.OrthogonalConv2d(2, 2, 3, dtype=torch.float16)
    for shape in ((1, 3, 8, 8), (1, 2, 2, 8), (2, 8), (1, 1, 2, 8, 8)):
        with pytest.raises(ValueError, match="at least 3 x 3 pixels: got shape"):
            seeded[0](torch.zeros(shape))
    nn.init.constant_(seeded[0].turn, math.nan)
    with pytest.raises(ValueError, match="finite weights"):
        layers.lipschitz_bound(seeded[0])
