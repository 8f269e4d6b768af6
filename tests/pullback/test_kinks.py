import numpy as np
import pytest
import torch
from torch import nn

from infogeo.lipschitz.layers import GroupSort
from infogeo.pullback import check_differentiable

F32, F64 = torch.float32, torch.float64


def random(*shape, seed=0, dtype=F64):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def as_logits(function):
    return lambda x: function(x).flatten(1)


# A function, an input without and one with kinks, how many entries are at one, the operation.
AT_KINKS = {
    "relu": (torch.relu, [[1.0, -2.0]], [[0.0, -2.0]], 1, "relu"),
    "relu in place": (nn.ReLU(inplace=True), [[1.0, -2.0]], [[0.0, 0.0]], 2, "relu"),
    "leaky relu": (nn.LeakyReLU(0.1), [[1.0, -2.0]], [[0.0, -2.0]], 1, "leaky_relu"),
    "prelu": (nn.PReLU(dtype=F64), [[1.0, -2.0]], [[0.0, -2.0]], 1, "_prelu_kernel"),
    "relu6": (nn.ReLU6(), [[1.0, 7.0]], [[6.0, 0.0]], 2, "hardtanh"),
    "hardtanh": (nn.Hardtanh(), [[0.0, 2.0]], [[1.0, -1.0]], 2, "hardtanh"),
    "hardswish": (nn.Hardswish(), [[0.0, 5.0]], [[3.0, -3.0]], 2, "hardswish"),
    "hardsigmoid": (nn.Hardsigmoid(), [[0.0, 5.0]], [[3.0, -3.0]], 2, "hardsigmoid"),
    "softshrink": (nn.Softshrink(0.5), [[0.0, 2.0]], [[0.5, -0.5]], 2, "softshrink"),
    "hardshrink": (nn.Hardshrink(0.5), [[0.0, 2.0]], [[0.5, -0.5]], 2, "hardshrink"),
    "threshold": (nn.Threshold(2.0, 0.0), [[0.0, 3.0]], [[2.0, 0.0]], 1, "threshold"),
    "elu": (nn.ELU(0.5), [[1.0, -1.0]], [[0.0, 1.0]], 1, "elu"),
    "selu": (nn.SELU(), [[1.0, -1.0]], [[0.0, 1.0]], 1, "elu"),
    "abs": (torch.abs, [[1.0, -1.0]], [[0.0, 1.0]], 1, "abs"),
    "clamp": (lambda x: x.clamp(0, 1), [[0.5, 3.0]], [[0.0, 1.0]], 2, "clamp"),
    "clip above": (lambda x: x.clamp(max=1), [[0.5, 3.0]], [[0.0, 1.0]], 1, "clamp"),
    "floor": (torch.floor, [[0.5, 3.5]], [[0.0, 1.5]], 1, "floor"),
    "fraction": (torch.frac, [[0.5, 3.5]], [[1.0, 1.5]], 1, "frac"),
    "remainder": (lambda x: x % 2, [[0.5, -1.0]], [[0.0, -2.0]], 2, "remainder"),
    "fmod": (lambda x: torch.fmod(x, 2), [[0.0, -1.0]], [[4.0, -2.0]], 2, "fmod"),
    "floor of a ratio": (lambda x: x * (x // 2), [[1.0, -1.0]], [[4.0, 1.0]], 1, "floor_divide"),
    "rounded ratio": (
        lambda x: x * torch.div(x, 2, rounding_mode="trunc"), [[1.0, 0.0]], [[4.0, 0.0]], 1, "div",
    ),
    "integer": (lambda x: x * x.int(), [[0.5, 1.5]], [[0.5, 2.0]], 1, "_to_copy"),
    "step": (lambda x: x * torch.heaviside(x, x), [[1.0, -1.0]], [[0.0, 1.0]], 1, "heaviside"),
    "range": (
        lambda x: torch.stack(x.aminmax(dim=1), 1), [[1.0, 2, 3]], [[2.0, 3, 3]], 2, "aminmax",
    ),
    "maximum norm": (
        lambda x: x.norm(p=np.inf, dim=1)[:, None], [[0.0, 2.0]], [[-2.0, 2.0]], 2,
        "linalg_vector_norm",
    ),
    "absolute sum": (
        lambda x: x.norm(p=1, dim=1)[:, None], [[1.0, 2.0]], [[0.0, 2.0]], 1, "linalg_vector_norm",
    ),
    "maximum": (lambda x: torch.maximum(x, x.flip(1)), [[1.0, 2.0]], [[1.0, 1.0]], 2, "maximum"),
    "where": (lambda x: torch.where(x > 1, x, 0 * x), [[0.0, 2.0]], [[1.0, 2.0]], 1, "gt"),
    "mask": (lambda x: x * (x <= 1), [[0.0, 2.0]], [[1.0, 2.0]], 1, "le"),
    "max": (lambda x: x.max(1, keepdim=True).values, [[1.0, 2.0]], [[2.0, 2.0]], 1, "max"),
    "min": (lambda x: x.min(1).values[:, None], [[1.0, 2.0]], [[2.0, 2.0]], 1, "min"),
    "amax": (lambda x: x.amax(1, keepdim=True), [[1.0, 2.0]], [[2.0, 2.0]], 2, "amax"),
    "amin": (lambda x: x.amin(1, keepdim=True), [[1.0, 2.0]], [[2.0, 2.0]], 2, "amin"),
    "max of all": (lambda x: x.max()[None, None], [[1.0, 2.0]], [[2.0, 2.0]], 2, "max"),
    "min of all": (lambda x: x.min()[None, None], [[1.0, 2.0]], [[2.0, 2.0]], 2, "min"),
    "median": (lambda x: x.median(1).values[:, None], [[1, 2, 3.0]], [[2, 3, 2.0]], 1, "median"),
    "cummax": (lambda x: x.cummax(1).values, [[2, 1, 3.0]], [[2, 2, 3.0]], 1, "cummax"),
    "sort": (lambda x: x.sort(1).values, [[1.0, 2.0, 3.0]], [[3.0, 1.0, 3.0]], 2, "sort"),
    "topk": (lambda x: x.topk(1).values, [[1.0, 2.0, 3.0]], [[1.0, 3.0, 3.0]], 1, "topk"),
    "group sort": (GroupSort(2), [[1.0, 2.0]], [[1.0, 1.0]], None, None),
    "max-pool of a line": (
        as_logits(nn.MaxPool1d(2)), [[[1.0, 2.0]]], [[[1.0, 1.0]]], 1, "max_pool2d_with_indices",
    ),
    "max-pool of an image": (
        as_logits(nn.MaxPool2d(2)), [[[[1.0, 2.0], [3.0, 4.0]]]], [[[[4.0, 2.0], [3.0, 4.0]]]], 1,
        "max_pool2d_with_indices",
    ),
    "max-pool of a volume": (
        as_logits(nn.MaxPool3d(2)), np.arange(8.0).reshape(1, 1, 2, 2, 2),
        np.array([0, 1, 2, 7, 4, 5, 6, 7.0]).reshape(1, 1, 2, 2, 2), 1, "max_pool3d_with_indices",
    ),
    "adaptive max-pool": (
        as_logits(nn.AdaptiveMaxPool2d(1)), [[[[1.0, 2.0], [3.0, 4.0]]]],
        [[[[4.0, 2.0], [3.0, 4.0]]]], 1, "adaptive_max_pool2d",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AT_KINKS)
def test_kinks_are_found_where_they_are(name):
    function, smooth, kinked, count, operation = AT_KINKS[name]
    x = torch.cat([torch.as_tensor(np.array(value), dtype=F64) for value in (smooth, kinked)])
    found = check_differentiable(function, x)
    assert found.is_differentiable.tolist() == [True, False]
    assert not found.counts[0].any()
    if operation is not None:
        assert [operation] == [seen.split(" in ")[0] for seen in found.operations]
        assert found.counts[1].tolist() == [count]


@pytest.mark.parametrize(
    "function",
    [
        *(torch.tanh, nn.GELU(), nn.ELU(), nn.CELU(0.3), nn.SiLU(), nn.Softplus()),
        *(lambda x: x**3, lambda x: x / 2, lambda x: (x + 1).norm(dim=1)[:, None]),
        lambda x: x.to(F32),
    ],
)
def test_smooth_functions_have_none(function):
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=F64)
    found = check_differentiable(function, x)
    assert found.is_differentiable.all()
    assert found.operations == ()
    assert found.counts.shape == (2, 0)
    assert str(found) == "Kinks: 0 of 2 inputs at one"


def test_ties_that_change_nothing_are_no_kinks():
    """A ReLU that is off leaves windows of zeros: their maximum is 0 all around."""
    net = nn.Sequential(nn.ReLU(), nn.MaxPool1d(2), nn.Flatten())
    x = torch.tensor([[[-1.0, -1.0, 2.0, -3.0]]], dtype=F64)
    assert check_differentiable(net, x).is_differentiable.all()
    assert not check_differentiable(net, x + 1.0).is_differentiable.any()
    twice = lambda x: torch.cat([x, x], 1).max(1, keepdim=True).values  # noqa: E731
    assert check_differentiable(twice, x[0]).is_differentiable.all()


def conv_net(dtype):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(48, 5)
        )
    return net.to(dtype)


@pytest.mark.parametrize("dtype", [F64, F32])
def test_blank_windows_of_an_image_are_ties(dtype):
    """All that a filter sees in the blank half is its bias: the windows' maximum is a tie."""
    x = random(2, 1, 8, 8, seed=1, dtype=dtype)
    x[1, :, :, 4:] = 0.0
    net = conv_net(dtype)
    found = check_differentiable(net, x)
    assert found.is_differentiable.tolist() == [True, False]
    assert found.operations == ("max_pool2d_with_indices in 1 (MaxPool2d)",)
    # the window whose filters reach the other half has two tied columns of three; all are tied
    windows = net[0](x[1:])[0].unfold(1, 2, 2).unfold(2, 2, 2).flatten(3)
    ties = int((windows == windows.amax(-1, keepdim=True)).sum(-1).gt(1).sum())
    assert found.counts.tolist() == [[0], [ties]]
    assert ties >= 3 * 4


def test_one_sided_derivatives_differ_exactly_where_it_says():
    net = nn.Sequential(
        nn.Linear(6, 20, dtype=F64), nn.ReLU(), nn.Linear(20, 10, dtype=F64), GroupSort(2)
    )
    x = random(30, 6)
    with torch.no_grad():  # put a unit of every other input exactly on its kink
        for i in range(0, 30, 2):
            w, b = net[0].weight[i % 20], net[0].bias[i % 20]
            x[i] -= (x[i] @ w + b) / (w @ w) * w
    v, h = random(30, 6, seed=1), 1e-7
    with torch.no_grad():
        second = (net(x + h * v) - 2 * net(x) + net(x - h * v)).abs().amax(1) / h
    is_smooth = check_differentiable(net, x, step=1e-9).is_differentiable
    assert torch.equal(is_smooth, second < 1e-6)
    assert is_smooth.any()
    assert not is_smooth.all()


def test_step_decides_how_near_is_near():
    x = torch.tensor([[1e-3]], dtype=F64)
    assert check_differentiable(torch.relu, x).is_differentiable.all()
    assert not check_differentiable(torch.relu, x, step=1.0).is_differentiable.any()


def test_branches_of_python_are_seen():
    def model(x):
        return torch.relu(x) if float(x.detach().sum()) > 1.0 else x

    x = torch.tensor([[1.0, 0.0], [3.0, 1.0]], dtype=F64)
    found = check_differentiable(model, x)
    assert found.is_differentiable.tolist() == [False, True]
    assert found.operations == ("another branch of the forward pass",)


def test_models_of_all_kinds_run_and_are_left_as_they_were():
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dtype=F64).eval()
    x = random(2, 3, 4)
    found = check_differentiable(lambda x: layer(x).flatten(1), x)
    assert found.is_differentiable.all()
    with torch.inference_mode():
        found = check_differentiable(nn.Sequential(nn.Flatten(), nn.ReLU()), x)
    assert found.is_differentiable.all()
    assert not layer.linear1._forward_hooks
    lstm = nn.LSTM(4, 3, batch_first=True, dtype=F64)
    assert check_differentiable(lambda x: lstm(x)[0][:, -1], x).is_differentiable.all()


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"^step must be a positive number: got 0\."):
        check_differentiable(torch.relu, torch.ones(1, 2), step=0)
    with pytest.raises(ValueError, match=r"Dropout '0' is in training mode"):
        check_differentiable(nn.Sequential(nn.Dropout(0.5)), torch.ones(1, 2))
