"""Bounds of convolutions and other layers beside dense matrices, and of traced networks."""

import itertools
import math
import operator

import mpmath
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.nn.utils import parametrizations  # noqa: E402

from infogeo import robustness  # noqa: E402
from infogeo.lipschitz import _convolution, certificates, layers  # noqa: E402
from infogeo.pullback import PullbackMetric  # noqa: E402

INF = math.inf


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def dense(layer, shape):
    """Return the matrix of an affine layer, column by column."""
    layer = layer.double()
    size = math.prod(shape)
    with torch.no_grad():
        images = layer(torch.eye(size, dtype=torch.float64).reshape(size, *shape))
        origin = layer(torch.zeros(1, *shape, dtype=torch.float64))
    return (images - origin).reshape(size, -1).T.numpy()


# ---------------------------------------------------------------- convolutions

PADDINGS = ("zeros", "circular", "reflect", "replicate")
CASES = [
    (nn.Conv1d(2, 3, 3, padding=1), (7,), (12,)),
    (nn.Conv1d(2, 3, 4, stride=3, dilation=2, padding=3), (9,), (14,)),
    (nn.Conv1d(4, 6, 2, stride=2, groups=2), (8,), (9,)),
    (nn.Conv1d(3, 3, 5, padding=8), (9,), (10,)),  # the padding is wider than the kernel
    (nn.Conv1d(2, 2, 2, padding="same"), (5,), (8,)),
    (nn.Conv2d(2, 3, 3, padding=1), (5, 6), (8, 8)),
    (nn.Conv2d(2, 3, 3, stride=2, padding=1), (6, 6), (7, 5)),
    (nn.Conv2d(4, 4, (3, 1), stride=(1, 2), padding=(2, 0), groups=4), (5, 4), (6, 7)),
    (nn.Conv2d(1, 2, 3, dilation=2, padding=2), (6, 6), (7, 7)),
    (nn.Conv3d(1, 2, 2, stride=(1, 2, 1), padding=1), (3, 4, 3), (4, 4, 4)),
]


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("mode", PADDINGS)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_bounds_of_convolutions_hold_for_the_matrices(case, mode):
    example, *sizes = CASES[case]
    options = {"stride": example.stride, "dilation": example.dilation, "groups": example.groups}
    layer = type(example)(
        example.in_channels, example.out_channels, example.kernel_size, padding=example.padding,
        padding_mode=mode, **options,
    )  # fmt: skip
    for size in sizes:
        shape = (example.in_channels, *size)
        matrix = dense(layer, shape)
        for order in (1, 2, INF):
            norm = np.linalg.norm(matrix, order)
            exact = layers.lipschitz_bound(layer, order=order, input_shape=shape)
            assert norm <= exact * (1.0 + 1e-13)
            assert exact <= layers.lipschitz_bound(layer, order=order) * (1.0 + 1e-13)


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose1d(3, 2, 4, stride=2, padding=1, output_padding=1),
        nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, groups=2),
        nn.ConvTranspose2d(2, 2, 2, dilation=2),
        nn.ConvTranspose3d(1, 2, 2, stride=2),
    ],
    ids=repr,
)
def test_bounds_of_transposed_convolutions_hold_for_the_matrices(layer):
    matrix = dense(layer, (layer.in_channels, *(5,) * len(layer.stride)))
    for order in (1, 2, INF):
        bound = layers.lipschitz_bound(layer, order=order)
        assert np.linalg.norm(matrix, order) <= bound * (1.0 + 1e-13)
    assert np.linalg.norm(matrix, 2) > 0.8 * layers.lipschitz_bound(layer)


def largest_on_a_grid(weight, stride, count):
    """Return the largest singular value of the symbol on a fine grid of one axis, by numpy."""
    omega = 2.0 * np.pi * np.arange(count) / count
    taps = np.exp(-1j * omega[:, None] * np.arange(weight.shape[-1]))
    symbol = np.einsum("oit,wt->woi", weight, taps)
    aliases = symbol.reshape(stride, count // stride, *symbol.shape[1:])
    wide = np.concatenate(aliases, axis=-1) / math.sqrt(stride)
    return np.linalg.svd(wide, compute_uv=False)[:, 0].max()


@pytest.mark.parametrize(
    ("stride", "scale", "dtype"),
    [(1, 1.0, torch.float64), (2, 1e-30, torch.float32), (3, 1e30, torch.float32),
     (1, 1e-290, torch.float64), (2, 1e290, torch.float64)],
)  # fmt: skip
def test_bounds_of_convolutions_are_tight(stride, scale, dtype):
    for kernel in (1, 2, 5):
        layer = nn.Conv1d(3, 4, kernel, stride=stride, dtype=dtype)
        layer.weight.data *= scale
        norm = scale * largest_on_a_grid(
            layer.weight.detach().double().numpy() / scale, stride, 6000
        )
        bound = layers.lipschitz_bound(layer)
        assert norm * (1.0 - 1e-12) <= bound <= norm * (1.0 + 5e-6)


@pytest.mark.parametrize("kernel", [3, 9, 31])
def test_peaks_between_the_points_of_a_grid_are_found(kernel):
    """|W| = sum |w_t| exactly, at a frequency that no grid has."""
    t = np.arange(kernel)
    for frequency in (1.0, math.sqrt(2.0), 3.0, 1e-3):
        layer = nn.Conv1d(2, 2, kernel, bias=False, dtype=torch.float64)
        turn = frequency * t
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        layer.weight.data = torch.from_numpy(rotation)
        bound = layers.lipschitz_bound(layer)
        assert kernel * (1.0 - 1e-14) <= bound <= kernel * (1.0 + 2e-6)
        plane = nn.Conv2d(2, 2, (3, kernel), bias=False, dtype=torch.float64)
        plane.weight.data = torch.from_numpy(rotation)[:, :, None] * torch.ones(3, 1)
        bound = layers.lipschitz_bound(plane)
        assert 3 * kernel * (1.0 - 1e-14) <= bound <= 3 * kernel * (1.0 + 2e-6)


def test_orthogonal_convolutions_have_the_bound_one():
    """A shift after a rotation is one, and so is a matrix of all phases of a stride."""
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    shift = nn.Conv2d(6, 6, 3, padding=1, padding_mode="circular").double()
    shift.weight.data.zero_()
    shift.weight.data[:3, :, 0, 2] = rotation[:3]
    shift.weight.data[3:, :, 2, 1] = rotation[3:]
    assert 1.0 <= layers.lipschitz_bound(shift) <= 1.0 + 1e-9
    patches = nn.Conv2d(3, 12, 2, stride=2)
    patches.weight.data = nn.init.orthogonal_(torch.empty(12, 12)).reshape(12, 3, 2, 2)
    assert layers.lipschitz_bound(patches) == pytest.approx(1.0, abs=1e-6)


def test_a_circle_that_the_stride_does_not_divide_counts_copies():
    layer = nn.Conv1d(1, 2, 2, stride=2, padding=1, padding_mode="circular", bias=False)
    layer.weight.data = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert layers.lipschitz_bound(layer, input_shape=(1, 4)) == pytest.approx(math.sqrt(2.0))
    for size in (3, 4, 5, 6):
        norm = np.linalg.norm(dense(layer, (1, size)), 2)
        assert norm <= layers.lipschitz_bound(layer.float(), input_shape=(1, size)) * (1 + 1e-12)


def test_zero_and_large_convolutions():
    layer = nn.Conv2d(2, 2, 3)
    nn.init.zeros_(layer.weight)
    assert layers.lipschitz_bound(layer) == 0.0
    large = nn.Conv2d(20, 30, 3, stride=2)
    image = torch.randn(1, 20, 33, 33)
    for _ in range(20):  # power iteration from below
        image = functional.conv_transpose2d(
            large(image) - large.bias[:, None, None], large.weight, stride=2
        )
        image = image / image.norm()
    stretch = float((large(image) - large.bias[:, None, None]).detach().norm())
    assert stretch <= layers.lipschitz_bound(large) <= 1.1 * stretch


# ---------------------------------------------------------------- other layers

AFFINE = [
    (nn.AvgPool1d(3, 2, padding=1), (2, 9)),
    (nn.AvgPool1d(3, 2, padding=1, count_include_pad=False), (2, 9)),
    (nn.AvgPool1d(4, 3, ceil_mode=True), (2, 8)),
    (nn.AvgPool2d(3, 1), (1, 6, 7)),
    (nn.AvgPool2d((3,), stride=(2,)), (1, 6, 7)),
    (nn.AvgPool2d((3,), (2,), ceil_mode=True), (1, 6, 6)),
    (nn.AvgPool2d(3, 2, ceil_mode=True, divisor_override=2), (1, 6, 6)),
    (nn.AvgPool2d(2, 3, ceil_mode=True, padding=1, count_include_pad=False), (1, 6, 7)),
    (nn.AvgPool3d(2, 1), (1, 3, 4, 3)),
    (nn.AdaptiveAvgPool1d(3), (2, 7)),
    (nn.AdaptiveAvgPool1d(5), (2, 3)),
    (nn.AdaptiveAvgPool2d((None, 2)), (1, 4, 5)),
    (nn.Upsample(scale_factor=2), (1, 3, 4)),
    (nn.Upsample(scale_factor=2.5, mode="bilinear"), (1, 4, 4)),
    (nn.Upsample(size=(5, 9), mode="bilinear", align_corners=True), (1, 4, 4)),
    (nn.CircularPad1d((2, 1)), (2, 4)),
    (nn.ReflectionPad2d((2, 1, 0, 1)), (1, 3, 4)),
    (nn.ReflectionPad1d((1, 1)), (1, 2)),
    (nn.ReplicationPad2d(1), (1, 1, 3)),
    (nn.ReplicationPad1d((0, 3)), (1, 4)),
    (nn.ZeroPad2d(2), (1, 3, 3)),
    (nn.PixelShuffle(2), (4, 2, 2)),
]


@pytest.mark.parametrize(("layer", "shape"), AFFINE, ids=lambda value: repr(value))
@pytest.mark.parametrize("order", [1, 2, INF])
def test_bounds_of_affine_layers_hold_for_the_matrices(layer, shape, order):
    norm = np.linalg.norm(dense(layer, shape), order)
    bound = layers.lipschitz_bound(layer, order=order, input_shape=shape)
    assert norm <= bound * (1.0 + 1e-12)
    assert bound <= 1.75 * norm  # of any size, where the image is small


def largest_slope(derivative, near):
    """Return the largest value of a derivative, by mpmath to 30 digits."""
    with mpmath.workdps(30):
        return derivative(mpmath.findroot(lambda x: mpmath.diff(derivative, x), near))


def of(function):
    return lambda x: mpmath.diff(function, x)


def tanh_gelu(x):
    inner = mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)
    return x / 2 * (1 + mpmath.tanh(inner))


SMOOTH = {
    "GELU": (nn.GELU(), lambda x: mpmath.ncdf(x) + x * mpmath.npdf(x), 1.4),
    "GELU, tanh": (nn.GELU("tanh"), of(tanh_gelu), 1.4),
    "SiLU": (nn.SiLU(), of(lambda x: x / (1 + mpmath.exp(-x))), 2.4),
    "Mish": (nn.Mish(), of(lambda x: x * mpmath.tanh(mpmath.log(1 + mpmath.exp(x)))), 1.5),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_largest_slopes_of_smooth_activations(name):
    layer, derivative, near = SMOOTH[name]
    largest = largest_slope(derivative, near)
    for order in (1, 2, INF):
        bound = layers.lipschitz_bound(layer, order=order)
        assert largest <= bound <= largest * (1.0 + 1e-15)
    x = torch.linspace(-8.0, 8.0, 1601, dtype=torch.float64)
    assert float(torch.func.vmap(torch.func.grad(layer))(x).abs().max()) <= bound


@pytest.mark.parametrize(
    ("layer", "constant"),
    [
        (nn.SELU(), 1.0507009873554805 * 1.6732632423543772),
        (nn.Hardswish(), 1.5),
        (nn.Hardsigmoid(), 0.16666668),  # torch computes with 1 / 6 in float32, in float64 too
        (nn.CELU(2.0), 1.0),
        (nn.RReLU(1.0, 3.0).eval(), 2.0),
    ],
    ids=repr,
)
def test_activations_with_kinks(layer, constant):
    assert layers.lipschitz_bound(layer) == pytest.approx(constant, rel=1e-15)
    x = torch.linspace(-8.0, 8.0, 16_001, dtype=torch.float64)
    slopes = torch.diff(layer(x)) / torch.diff(x)
    assert constant * (1.0 - 2e-3) < float(slopes.abs().max()) <= constant * (1.0 + 1e-9)


def norms(function, points, order):
    """Return the norms of the derivatives at points, by torch's reverse mode."""
    jacobians = [torch.func.jacrev(function)(x[None]).reshape(-1, x.numel()) for x in points]
    return [float(np.linalg.norm(jacobian.detach().numpy(), order)) for jacobian in jacobians]


@pytest.mark.parametrize("order", [1, 2, INF])
def test_softmax_and_its_logarithm(order):
    points = [torch.randn(5, dtype=torch.float64) for _ in range(20)]
    points += [torch.tensor([50.0, 50.0, 0.0, 0.0, 0.0], dtype=torch.float64)]
    points += [torch.tensor([99.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)]
    found = max(norms(nn.Softmax(1), points, order))
    assert found == pytest.approx(layers.lipschitz_bound(nn.Softmax(1), order=order), rel=1e-12)
    bound = layers.lipschitz_bound(nn.LogSoftmax(1), order=order, input_shape=5)
    assert max(norms(nn.LogSoftmax(1), points, order)) == pytest.approx(bound, rel=1e-12)


def test_normalizations():
    norm = nn.BatchNorm2d(3).double().eval()
    norm.running_var.copy_(torch.tensor([4.0, 0.25, 1.0]))
    norm.weight.data = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    for order in (1, 2, INF):
        expected = np.linalg.norm(dense(norm, (3, 2, 2)), order)
        assert layers.lipschitz_bound(norm, order=order) == pytest.approx(expected, rel=1e-13)
    constant_input = [torch.ones(6, dtype=torch.float64)]
    for layer in (nn.LayerNorm(6), nn.GroupNorm(1, 6, eps=1e-3), nn.RMSNorm(6, eps=1e-2)):
        layer.double()
        found = max(norms(layer, [*constant_input, 0.0 * constant_input[0]], 2))
        assert found == pytest.approx(layers.lipschitz_bound(layer), rel=1e-6)
        random = [torch.randn(6, dtype=torch.float64) for _ in range(20)]
        assert max(norms(layer, random, 2)) <= layers.lipschitz_bound(layer)
    instance = nn.InstanceNorm1d(2, track_running_stats=True).eval()
    assert layers.lipschitz_bound(instance) == pytest.approx(1.0, rel=1e-4)


MAXIMA = [
    (nn.MaxPool1d(3, 1), (1, 8), 3),
    (nn.MaxPool1d(3, 2, padding=1), (1, 9), 2),
    (nn.MaxPool1d(2, 2, dilation=2), (1, 9), 2),
    (nn.MaxPool2d(3, 2), (1, 7, 7), 4),
    (nn.MaxPool2d((3,), (2,)), (1, 7, 7), 4),
    (nn.MaxPool3d(2), (1, 4, 4, 4), 1),
    (nn.AdaptiveMaxPool1d(3), (1, 7), 2),
    (nn.AdaptiveMaxPool2d((2, 3)), (1, 4, 4), 2),
]


@pytest.mark.parametrize(("layer", "shape", "count"), MAXIMA, ids=repr)
def test_maxima_over_windows(layer, shape, count):
    """Each entry alone is raised above the others: as many outputs follow as windows hold it."""
    size = math.prod(shape)
    found = (layer(torch.eye(size).reshape(size, *shape)).flatten(1) > 0).sum(1).max()
    assert int(found) == count
    for order in (1, 2, INF):
        bound = layers.lipschitz_bound(layer, order=order, input_shape=shape)
        assert bound == pytest.approx(count ** (1.0 / order))


# ---------------------------------------------------------------- whole networks


class Block(nn.Module):
    """A residual block in the style of torchvision: additions in place, functions and modules."""

    def __init__(self, channels, stride=1):
        super().__init__()
        self.one = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.two = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.down = nn.Conv2d(channels, channels, 1, stride) if stride > 1 else None

    def forward(self, x):
        identity = x if self.down is None else self.down(x)
        out = self.relu(self.norm(self.one(x)))
        out = self.two(out)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(Block(4), Block(4, 2))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = functional.max_pool2d(functional.gelu(self.stem(x)), 3, stride=2, padding=1)
        x = self.blocks(x)
        parts = torch.cat([x.mean((2, 3)), functional.adaptive_avg_pool2d(x, 1).flatten(1)], dim=1)
        return self.head(parts.view(parts.size(0), -1))


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(4, 1))
        self.tokens, self.features = nn.Linear(5, 5), nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4, eps=0.1)

    def forward(self, x):
        x = x.transpose(1, 2)
        x = x + self.scale * self.tokens(x)
        one, two = x.transpose(1, 2).chunk(2, dim=-1)
        y = torch.cat((one - 2.0 * two, torch.maximum(one, two) / 3.0), dim=-1)
        return (y + torch.tanh(self.features(self.norm(y)))).sum(1)[:, 1:]


@pytest.mark.parametrize("order", [1, 2, INF])
@pytest.mark.parametrize(("kind", "shape"), [(ResNet, (2, 16, 16)), (Mixer, (5, 4))])
def test_bounds_of_traced_networks_hold(kind, shape, order):
    net = kind().double().eval()
    if order != 2 and kind is Mixer:
        with pytest.raises(TypeError, match=r"'norm' is a LayerNorm. Its constant is known"):
            layers.lipschitz_bound(net, order=order, input_shape=shape)
        return
    points = [torch.randn(shape, dtype=torch.float64) for _ in range(4)]
    bound = layers.lipschitz_bound(net, order=order, input_shape=shape)
    assert 0.0 < max(norms(net, points, order)) <= bound


class Forward(nn.Module):
    """A module whose forward method is a function."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function, self.calls = function, 0
        self.weight = nn.Parameter(torch.tensor([2.0, -3.0]))
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.function(self, x)


def relu_in_place(net, x):
    y = x + 0.0
    functional.relu(y, inplace=True)
    return y - 3.0 * x


def scaled_in_place(net, x):
    y = 1.0 * x
    y.mul_(5.0)
    return y


def adds_an_exchange(net, x):
    one, two = x.chunk(2, dim=1)
    return x + torch.cat((two, one), dim=1)


EXACT = [
    (lambda net, x: x.chunk(2, dim=1)[0] * 3.0, 3.0, 3.0),
    (lambda net, x: torch.cat(operator.add(x.chunk(2, 1), (3.0 * x,)), 1), math.sqrt(11.0), 3.0),
    (lambda net, x: torch.cat((x.chunk(2, dim=1) * 2)[1:2], dim=1), 1.0, 1.0),
    (adds_an_exchange, 1.0 + math.sqrt(2.0), 2.0),
    (lambda net, x: x + x, 2.0, 2.0),
    (lambda net, x: x - 3 * x, 4.0, 4.0),  # the sum of the bounds of two branches
    (lambda net, x: torch.stack((x, x)), math.sqrt(2.0), 1.0),
    (lambda net, x: net.weight * x, 3.0, 3.0),
    (lambda net, x: x[:, :1] + net.weight, math.sqrt(2.0), 1.0),  # copied by broadcasting
    (lambda net, x: x / 4.0, 0.25, 0.25),
    (lambda net, x: x.mean(1), math.sqrt(0.5), 1.0),
    (lambda net, x: x.sum(-1, keepdim=True), math.sqrt(2.0), 2.0),
    (lambda net, x: functional.dropout(x, 0.5, training=False), 1.0, 1.0),
    (lambda net, x: functional.leaky_relu(x, 3.0), 3.0, 3.0),
    (lambda net, x: torch.sigmoid(x).reshape(x.shape[0], -1), 0.25, 0.25),
    (relu_in_place, 4.0, 4.0),
    (scaled_in_place, 5.0, 5.0),
    (lambda net, x: functional.linear(x, net.weight), math.sqrt(13.0), 5.0),
    (lambda net, x: functional.linear(x, 2.0 * torch.eye(2, dtype=torch.float64).T), 2.0, 2.0),
]


@pytest.mark.parametrize(("function", "l2", "maximum"), EXACT)
def test_constants_of_operations(function, l2, maximum):
    net = Forward(function)
    assert layers.lipschitz_bound(net, input_shape=2) == pytest.approx(l2, rel=1e-15)
    bound = layers.lipschitz_bound(net, input_shape=(2,), order=INF)
    assert bound == pytest.approx(maximum, rel=1e-15)


def changes_a_view(net, x):
    x = 1.0 * x
    x.view(-1).mul_(100.0)
    return x


def changes_a_part(net, x):
    y = x + 0.0
    part = y[:, :1]
    part += 100.0 * x[:, 1:]
    return y


def branches(net, x):
    return x if x.sum() > 0 else -x


REFUSED = [
    (changes_a_view, "was changed in place"),
    (changes_a_part, "was changed in place"),
    (branches, "torch.fx cannot trace it"),
    (lambda net, x: x * x, "operation mul. A product of two parts"),
    (lambda net, x: 1.0 / x, "operation truediv. It divides by what depends"),
    (lambda net, x: x[:, [0, 0, 0, 1]], "operation getitem. An index that is an array"),
    (lambda net, x: torch.exp(x), "operation exp. It has no rule"),
    (lambda net, x: x.argmax(1), "operation argmax. It has no rule"),
    (lambda net, x: (x, x), "operation output. It has to return one tensor"),
    (lambda net, x: functional.dropout(x), "operation dropout in training mode"),
    (lambda net, x: x.max(1)[0], "operation max. It returns indices, too"),
    (lambda net, x: x @ x.transpose(0, 1), "operation matmul. It has no rule"),
    (lambda net, x: x * math.inf, "Its factor is not finite"),
    (lambda net, x: functional.linear(x, torch.full((2, 2), math.nan)), "is not finite"),
    (lambda net, x: (x * 5.0j).abs(), "Its result has to be real: its dtype is torch.complex128"),
    (lambda net, x: x.view(torch.float32), "It takes the bits of the input"),
    (lambda net, x: torch.add(x, 1.0, out=5.0 * x), "by its first two arguments only"),
    (lambda net, x: torch.stack((net.weight,), out=5.0 * x), "by the tensors that it joins only"),
    (lambda net, x: net.weight.add_(x[0]) + x, "changes a number or a tensor"),
    (lambda net, x: torch.mul(x[0], 5.0, out=net.weight), "changes a number or a tensor"),
    (lambda net, x: x * net.weight.add_(1.0), "changes a number or a tensor"),
    (lambda net, x: setattr(net, "calls", net.calls + 1) or net.calls * x, "another function at"),
]


@pytest.mark.filterwarnings("ignore:This overload of add is deprecated")
def test_the_old_order_of_the_arguments_of_a_sum_is_refused():
    net = Forward(lambda net, x: torch.add(x, 3, 5.0 * x))
    with pytest.raises(TypeError, match="by its first two arguments only"):
        layers.lipschitz_bound(net, input_shape=2)


@pytest.mark.parametrize(("function", "message"), REFUSED)
def test_operations_without_a_bound_are_refused(function, message):
    with pytest.raises(TypeError) as caught:
        layers.lipschitz_bound(Forward(function), input_shape=2)
    assert message in str(caught.value)


def attention(net, x):
    return net.attention(x, x, x)[0]


REFUSED_LAYERS = [
    (nn.LayerNorm(4, eps=0.0), None, "It is not Lipschitz where its input is constant"),
    (nn.RMSNorm(4), None, "give it one"),
    (nn.BatchNorm1d(4), None, "in training mode. Call model.eval() first."),
    (nn.BatchNorm1d(4, track_running_stats=False).eval(), None, "keep running statistics"),
    (nn.CircularPad1d((3, -1)), (2, 3), "without a value where a size is below 0"),
    (nn.BatchNorm1d(4, eps=-1.5).eval(), None, "a variance that is not above 0"),
    (nn.AdaptiveAvgPool2d(2), None, "give input_shape"),
    (nn.AvgPool1d(3, ceil_mode=True), None, "give input_shape"),
    (nn.LogSoftmax(1), None, "give input_shape"),
    (nn.MaxPool2d(2, return_indices=True), None, "return_indices=False"),
    (nn.Softplus(), None, "It jumps"),
    (nn.GLU(), None, "A product of two parts"),
    (nn.Embedding(5, 4), None, "Its inputs are integers"),
    (nn.MultiheadAttention(4, 2), None, "is not Lipschitz on all inputs"),
    (Forward(attention, attention=nn.MultiheadAttention(4, 2)), (3, 4), "'attention' is a Multi"),
    (nn.TransformerEncoderLayer(4, 2), (3, 4), "is not Lipschitz on all inputs"),
    (nn.LSTM(4, 4), None, "Bound one step of it"),
    (Forward(lambda net, x: x), None, "give input_shape so that it can be traced"),
    (nn.Bilinear(2, 2, 2), None, "A product of two parts"),
]


@pytest.mark.parametrize(("layer", "shape", "message"), REFUSED_LAYERS, ids=repr)
def test_layers_without_a_bound_are_refused(layer, shape, message):
    with pytest.raises(TypeError) as caught:
        layers.lipschitz_bound(layer, input_shape=shape)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.Conv2d(3, 4, 3), (2, 5, 5), "input_shape must fit the model: it is a Conv2d"),
        (nn.Linear(4, 4), (0,), "each size in input_shape must be an integer, at least 1: got 0"),
        (nn.Upsample(scale_factor=2), (6,), "input_shape must fit the model"),
        (nn.AdaptiveMaxPool3d(2), (6,), "input_shape must fit the model"),
        (nn.Conv3d(1, 1, 3, padding=1, padding_mode="circular"), 6, "input_shape must fit"),
        (nn.LazyLinear(4), None, "that has not seen an input yet. Call it once."),
        (Forward(lambda net, x: x.view(3, 3)), 2, "the operation view that gets (1, 2)"),
    ],
)
def test_shapes_that_do_not_fit(layer, shape, message):
    with pytest.raises(ValueError, match="must") as caught:
        layers.lipschitz_bound(layer, input_shape=shape)
    assert message in str(caught.value)


COUNT = [1.0]


class Changing(nn.Module):
    """Multiplies by what it changes at each call: in a container, an object, a global variable."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.held = kind, {
            "dict": {0: 1.0}, "list": [torch.ones(1)], "array": np.ones(1), "global": COUNT,
        }[kind]  # fmt: skip

    def forward(self, x):
        self.held[0] = self.held[0] * 3.0
        factor = self.held[0]
        return x * (float(factor) if self.kind == "array" else factor)


@pytest.mark.parametrize("kind", ["dict", "list", "array", "global"])
def test_modules_that_change_what_they_hold_in_containers_are_refused(kind):
    with pytest.raises(TypeError, match="so that it is another function at each call"):
        layers.lipschitz_bound(nn.Sequential(Changing(kind), nn.ReLU()), input_shape=(3,))


class Constants(nn.Module):
    """Makes the same tensors at each call."""

    def forward(self, x):
        return x * torch.tensor([2.0, -3.0, math.nan])[:2].max() + torch.full((2,), 7.0)


def test_modules_with_constants_of_their_own_are_traced():
    assert layers.lipschitz_bound(Constants(), input_shape=(2,)) == 2.0


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_compiled_modules_are_refused():
    linear = nn.Linear(2, 2)
    compiled = torch.jit.script(linear), torch.jit.trace(linear, torch.zeros(1, 2))
    for module, shape in itertools.product(compiled, (None, (2,))):
        with pytest.raises(TypeError, match="Pass the module that was scripted or traced"):
            layers.lipschitz_bound(nn.Sequential(module), input_shape=shape)


def test_nothing_of_the_model_is_changed():
    net = nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(2, 2, 3)), nn.BatchNorm2d(2))
    net.eval()
    net[0].train()  # where the power iteration changes a state
    before = {name: value.clone() for name, value in net.state_dict().items()}
    bounds = [layers.lipschitz_bound(net, input_shape=(2, 5, 5)) for _ in range(2)]
    assert bounds[0] == bounds[1]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert {value.dtype for value in net.parameters()} == {torch.float32}


@pytest.mark.filterwarnings("ignore")
def test_the_recipe_with_convolutions_of_orthogonium():
    """Bounded as it is trained, written as matrices, frozen, certified, attacked, pulled back."""
    aoc = pytest.importorskip("orthogonium.layers.conv.AOC")
    circular = {"padding": 1, "padding_mode": "circular", "bias": False}
    net = nn.Sequential(
        aoc.AdaptiveOrthoConv2d(1, 4, 3, **circular), layers.GroupSort(dim=1),
        aoc.AdaptiveOrthoConv2d(4, 4, 3, **circular), layers.Householder(4, dim=1),
        nn.Flatten(), layers.OrthogonalLinear(64, 3),
    ).eval()  # fmt: skip
    bound = layers.lipschitz_bound(net)
    assert 1.0 - 1e-5 < bound < 1.0 + 1e-4
    first, second = (
        layers.as_linear(net[k], shape) for k, shape in ((0, (1, 4, 4)), (2, (4, 4, 4)))
    )
    image = nn.Unflatten(1, (4, 4, 4))
    frozen = layers.freeze(
        nn.Sequential(
            nn.Flatten(), first, image, net[1], nn.Flatten(), second, image, net[3], *net[4:]
        )
    )
    x = torch.rand(20, 1, 4, 4)
    torch.testing.assert_close(frozen(x), net(x), atol=1e-4, rtol=1e-4)
    assert layers.lipschitz_bound(frozen) <= 1.0
    values = np.linalg.svd(frozen[5].weight.double().numpy(), compute_uv=False)
    assert values.min() > 1.0 - 1e-4
    radii = certificates.margin_radius(frozen(x).detach(), lipschitz_constant=1.0)
    assert not robustness.pgd_attack(frozen, x, radius=radii).success.any()
    assert robustness.pgd_attack(frozen, x, radius=3.0 * radii + 0.1, restarts=3).success.any()
    assert float(PullbackMetric(frozen).spectrum(x).values[:, 0].max()) <= 0.5 + 1e-5


@pytest.mark.parametrize("limit", [0.0, 1e8, 6e8])
def test_bounds_hold_where_a_grid_would_take_too_long(limit, monkeypatch):
    """Taps of an axis become rows or columns, as the limit on operations has it."""
    examples = [(nn.Conv2d(3, 5, (2, 3), stride=(2, 1)), (6, 6)), (nn.Conv3d(2, 1, 3), (4, 4, 4))]
    for layer, sizes in examples:
        norm = np.linalg.norm(dense(layer, (layer.in_channels, *sizes)), 2)
        with monkeypatch.context() as patch:
            patch.setattr(_convolution, "_MOST_FIRST_OPERATIONS", limit)
            bound = layers.lipschitz_bound(layer)
        best = layers.lipschitz_bound(layer)
        assert norm <= best <= bound <= best * math.sqrt(math.prod(layer.kernel_size))
        assert limit > 0.0 or bound > best


@pytest.mark.campaign
@pytest.mark.slow
def test_bounds_of_random_convolutions_hold():
    rng = np.random.default_rng(7)
    for _, mode in itertools.product(range(60), PADDINGS):
        kernel, stride, dilation = (int(rng.integers(1, n)) for n in (6, 4, 4))
        padding, channels = int(rng.integers(0, 5)), rng.integers(1, 4, 2).tolist()
        size = int(rng.integers(max((kernel - 1) * dilation + 1, padding + 1), 24))
        layer = nn.Conv1d(*channels, kernel, stride, padding, dilation, padding_mode=mode)
        norm = np.linalg.norm(dense(layer, (channels[0], size)), 2)
        bounds = [layers.lipschitz_bound(layer, input_shape=shape) for shape in
                  (None, (channels[0], size))]  # fmt: skip
        assert norm <= min(bounds) * (1.0 + 1e-13)


def random_part(x, rng):
    """Return a layer of some kind for images of that shape."""
    c, pick = x.shape[1], lambda *values: values[rng.integers(len(values))]
    convolution = lambda: nn.Conv2d(  # noqa: E731
        c, c * pick(1, 2), pick(1, 2, 3), stride=pick(1, 1, 2), dilation=pick(1, 2),
        groups=pick(1, c), padding=pick(0, 1, 2), padding_mode=pick(*PADDINGS),
    )  # fmt: skip
    return pick(
        convolution,
        lambda: parametrizations.weight_norm(convolution()),
        lambda: parametrizations.spectral_norm(convolution()),
        lambda: nn.ConvTranspose2d(c, pick(1, 2), 3, stride=pick(1, 2), dilation=pick(1, 2)),
        lambda: nn.BatchNorm2d(c),
        lambda: pick(nn.GroupNorm(1, c, eps=0.1), nn.InstanceNorm2d(c, track_running_stats=True)),
        lambda: nn.MaxPool2d(pick(2, 3), pick(1, 2), dilation=pick(1, 2)),
        lambda: nn.AvgPool2d(pick(2, 3), pick(1, 2), 1, pick(True, False), pick(True, False)),
        lambda: pick(nn.AdaptiveAvgPool2d(pick(1, 2, 3)), nn.AdaptiveMaxPool2d(pick(1, 2, 3))),
        lambda: pick(layers.GroupSort(2, dim=1), layers.Householder(c, dim=1), layers.NormPool(2)),
        lambda: nn.Upsample(scale_factor=pick(2, 1.5, 0.7), mode=pick("nearest", "bilinear")),
        lambda: pick(nn.ReflectionPad2d(1), nn.ReplicationPad2d((1, 0, 2, -1))),
        lambda: pick(nn.PixelUnshuffle(2), nn.PixelShuffle(2), nn.ChannelShuffle(2)),
        lambda: pick(nn.GELU(), nn.SiLU(), nn.ELU(1.7), nn.LeakyReLU(-1.3), nn.SELU(), nn.Mish()),
        lambda: pick(nn.Softmax(1), nn.LogSoftmax(1), nn.Hardsigmoid(), nn.Hardswish()),
    )()  # fmt: skip


def random_network(rng, shape):
    x, parts = torch.zeros(1, *shape), []
    while len(parts) < 4:
        try:
            part = random_part(x, rng).eval()
            result = part(x)
        except (RuntimeError, ValueError):
            continue  # it does not fit an image of this size
        if 0 < result.numel() <= 100:
            x, parts = result, [*parts, part]
    for part in parts:
        for parameter in part.parameters():
            parameter.data *= [1.0, 1.0, -3.0, 5.0][rng.integers(4)]
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_var, 0.1, 2.0)
    return nn.Sequential(*parts).double()


def jacobians(model, x):
    """Return the Jacobian at each input, row by row: torch.func fails on some of these layers."""
    x = x.clone().requires_grad_(True)
    rows = [torch.autograd.grad(y.sum(), x, retain_graph=True)[0] for y in model(x).flatten(1).T]
    return torch.stack(rows, dim=1).flatten(2)


@pytest.mark.campaign
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_bounds_of_random_networks_stand_an_attack():
    """Jacobians at points of three sizes, and steps uphill from the steepest of them."""
    rng, ratios = np.random.default_rng(3), []
    for k in range(120):
        shape = (int(rng.choice([1, 2, 4])), *[int(rng.integers(3, 6))] * 2)
        model, order = random_network(rng, shape), (1, 2, 2, INF)[k % 4]
        if order != 2 and any(isinstance(part, nn.GroupNorm) for part in model):
            continue  # its constant is known from l2 to l2 only
        bound = layers.lipschitz_bound(model, order=order, input_shape=shape)
        scales = torch.tensor([0.01, 1.0, 20.0]).double().repeat_interleave(4).reshape(-1, 1, 1, 1)
        x = scales * torch.randn(12, *shape, dtype=torch.float64)
        steepest = torch.zeros(12, dtype=torch.float64)
        for step in range(4):
            moved = x + (step > 0) * 0.3 * scales * torch.randn_like(x)
            found = torch.linalg.matrix_norm(jacobians(model, moved), order)
            is_steeper = found > steepest
            x = torch.where(is_steeper[:, None, None, None], moved, x)
            steepest = torch.where(is_steeper, found, steepest)
        ratios.append(float(steepest.max()) / bound)
    assert len(ratios) > 80
    assert max(ratios) <= 1.0 + 1e-6  # spectral norms are of float32
    assert np.median(ratios) > 0.3


# ---------------------------------------------------------------- activations and losses


@pytest.mark.parametrize("dim", [-1, 1])
def test_householder_keeps_norms_of_gradients(dim):
    layer = layers.Householder(6, dim=dim, dtype=torch.float64)
    nn.init.uniform_(layer.angle, -4.0, 4.0)
    x = torch.randn(40, 6, dtype=torch.float64)
    x[0] = 0.0
    x[1, :2] = torch.stack((torch.cos(layer.angle[0] / 2), torch.sin(layer.angle[0] / 2))).detach()
    for point in x:  # at the line of reflection, too
        jacobian = torch.func.jacrev(layer)(point[None])[0, :, 0]
        torch.testing.assert_close(jacobian @ jacobian.T, torch.eye(6, dtype=torch.float64))
        torch.testing.assert_close(jacobian @ point, layer(point[None])[0])
    near = x + 1e-9 * torch.randn_like(x)
    assert float((layer(near) - layer(x)).detach().norm(dim=1).max()) < 1e-8  # continuous
    assert layers.lipschitz_bound(layer) == 1.0
    for order in (1, INF):
        bound = layers.lipschitz_bound(layer, order=order)
        assert 0.9 * bound < max(norms(lambda y: layer(y), x[2:], order)) <= bound * (1 + 1e-12)
    gradient = torch.autograd.functional.jacobian(lambda a: torch.func.functional_call(
        layer, {"angle": a}, (x[2:],)), layer.angle.detach())  # fmt: skip
    step = 1e-6 * torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    moved = [torch.func.functional_call(layer, {"angle": layer.angle.detach() + s * step}, (x[2:],))
             for s in (1.0, -1.0)]  # fmt: skip
    torch.testing.assert_close(gradient @ step, 0.5 * (moved[0] - moved[1]), atol=1e-11, rtol=1e-5)


def test_householder_starts_as_a_sort_and_acts_on_channels():
    x = torch.randn(2, 4, 3, 3)
    pairs = x.unflatten(1, (2, 2)).sort(dim=2, descending=True).values.flatten(1, 2)
    torch.testing.assert_close(layers.Householder(4, dim=1)(x), pairs)
    ascending = x.unflatten(1, (2, 2)).sort(dim=2).values.flatten(1, 2)
    assert torch.equal(layers.GroupSort(dim=1)(x), ascending)
    assert repr(layers.GroupSort(dim=1)) == "GroupSort(group_size=2, dim=1)"
    for layer in (layers.GroupSort(dim=1), layers.Householder(4, dim=1)):
        assert torch.equal(torch.jit.script(layer)(x), layer(x))
    for call, error in (
        (lambda: layers.Householder(3), ValueError),
        (lambda: layers.Householder(4)(x), ValueError),
        (lambda: layers.Householder(4, dim=4)(x), ValueError),
        (lambda: layers.GroupSort(3, dim=1)(x), ValueError),
        (lambda: layers.GroupSort(dim=1.0), TypeError),
    ):
        with pytest.raises(error, match="must"):
            call()


def test_multiclass_transport_losses():
    from infogeo.lipschitz import losses

    logits = torch.tensor([[3.0, 0.0, 1.0], [1.0, 2.0, 0.0], [0.0, 1.0, 1.0], [2.0, 0.0, 5.0]])
    target = torch.tensor([0, 1, 1, 0])
    # Class 0: 1/2 - 5/2, class 1: 0 - 3/2; class 2 does not occur.
    expected = 0.5 * (-2.0 - 1.5)
    found = losses.multiclass_kantorovich_rubinstein(logits, target)
    assert found.item() == pytest.approx(expected, rel=1e-6)
    assert losses.multiclass_kantorovich_rubinstein(
        logits.reshape(2, 2, 3), target.reshape(2, 2)
    ).item() == pytest.approx(expected, rel=1e-6)
    hinges = (0.0 + 0.0) + (1.0 + 0.0) + (1.0 + 2.0) + (0.0 + 5.0)  # a margin of 2
    hkr = losses.multiclass_hkr(logits, target, margin=2.0, weight=0.5)
    assert hkr.item() == pytest.approx(expected + 0.5 * hinges / 4, rel=1e-6)
    f = torch.tensor([0.3, -2.0, 1.5, 0.1], dtype=torch.float64)
    two = losses.multiclass_kantorovich_rubinstein(torch.stack((-f / 2, f / 2), 1), target)
    binary = losses.kantorovich_rubinstein(f, 2 * target - 1)
    assert two.item() == pytest.approx(0.5 * binary.item(), rel=1e-14)
    shifted = logits.double() + torch.tensor([5.0, -2.0, 1.0], dtype=torch.float64)
    assert losses.multiclass_kantorovich_rubinstein(shifted, target).item() == pytest.approx(
        expected
    )
    z = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: losses.multiclass_hkr(z, target, margin=2.3, weight=0.5), z
    )
    masked = torch.tensor([[3.0, 0.0, -INF], [1.0, 2.0, -INF], [0.0, 1.0, 0.5]])  # class 2
    found = losses.multiclass_hkr(masked, torch.tensor([0, 1, 1]), margin=2.0, weight=0.0)
    assert found.item() == pytest.approx(0.5 * ((0.5 - 3.0) + (0.0 - 1.5)), rel=1e-6)
    with pytest.raises(ValueError, match="logits must be finite for all classes that occur: class"):
        losses.multiclass_hkr(masked, torch.tensor([0, 1, 2]), margin=2.0, weight=1.0)
    with pytest.raises(ValueError, match="target must have at least two classes: all are 1"):
        losses.multiclass_hkr(logits, torch.ones(4).long(), margin=1.0, weight=1.0)
