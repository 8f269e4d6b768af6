"""A step of training of a 784-256-256-10 MLP with orthogonal layers, beside peers.

The error is the largest distance of a singular value from 1, of any layer after the steps, in
float64: the methods that iterate are not exact.
"""

import itertools

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils.parametrizations import orthogonal  # noqa: E402

from infogeo.lipschitz import layers, losses  # noqa: E402

WIDTHS = (784, 256, 256, 10)
BATCH_SIZE = 128
UNCONSTRAINED = "linear layers without a constraint"


def infogeo_linear(parametrization):
    return lambda i, o: layers.OrthogonalLinear(i, o, parametrization=parametrization)


def torch_linear(method):
    return lambda i, o: orthogonal(nn.Linear(i, o), orthogonal_map=method)


def deel_linear(i, o):
    return pytest.importorskip("deel.torchlip").SpectralLinear(i, o)


def orthogonium_linear(params):
    def make(i, o):
        linear = pytest.importorskip("orthogonium.layers.linear")
        reparametrizers = pytest.importorskip("orthogonium.reparametrizers")
        return linear.OrthoLinear(i, o, ortho_params=getattr(reparametrizers, params))

    return make


LINEAR = {
    "infogeo, QR": infogeo_linear(layers.QR),
    "infogeo, Cayley": infogeo_linear(layers.Cayley),
    "infogeo, Bjorck": infogeo_linear(layers.Bjorck),
    "torch, matrix exponential": torch_linear("matrix_exp"),
    "torch, Cayley": torch_linear("cayley"),
    "torch, Householder": torch_linear("householder"),
    "deel-torchlip": deel_linear,
    "orthogonium, Bjorck": orthogonium_linear("DEFAULT_ORTHO_PARAMS"),
    "orthogonium, QR": orthogonium_linear("QR_ORTHO_PARAMS"),
    "orthogonium, exponential": orthogonium_linear("EXP_ORTHO_PARAMS"),
    "orthogonium, Cholesky": orthogonium_linear("CHOLESKY_ORTHO_PARAMS"),
    UNCONSTRAINED: nn.Linear,
}


def network(linear):
    torch.manual_seed(0)
    modules = []
    for i, o in itertools.pairwise(WIDTHS):
        modules += [linear(i, o), layers.GroupSort()]
    return nn.Sequential(*modules[:-1])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("who", LINEAR)
def test_training_step(benchmark, who):
    net = network(LINEAR[who])
    x, y = torch.rand(BATCH_SIZE, WIDTHS[0]), torch.randint(10, (BATCH_SIZE,))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def step():
        optimizer.zero_grad()
        losses.tau_cross_entropy(net(x), y, tau=10.0).backward()
        optimizer.step()

    benchmark.group = "step of training, 784-256-256-10 MLP, batch of 128"
    benchmark.pedantic(step, rounds=20, warmup_rounds=5)
    if who != UNCONSTRAINED:
        net.eval()
        values = [torch.linalg.svdvals(layer.weight.detach().double()) for layer in net[::2]]
        benchmark.extra_info["error"] = float((torch.cat(values) - 1.0).abs().max())
