"""Every method in half precision and under autocast against float64, and what takes memory."""

import subprocess
import sys

import pytest
import torch
from pullback_references import dense_matrix
from torch import nn

from infogeo.pullback import Loop, Operator, PullbackMetric, quantities

BF16, F16, F32, F64 = torch.bfloat16, torch.float16, torch.float32, torch.float64
PRECISIONS = [BF16, F16, "autocast"]
EPS = {BF16: 2.0**-7, F16: 2.0**-10, "autocast": 2.0**-7}


def network(*sizes, activation=nn.Tanh, seed=0):
    """A network whose weights are numbers of bfloat16 and float16, too."""
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for i in range(1, len(sizes)):
        layer = nn.Linear(sizes[i - 1], sizes[i])
        with torch.no_grad():
            for tensor, size in ((layer.weight, 1.3 / sizes[i - 1] ** 0.5), (layer.bias, 0.1)):
                draw = size * torch.randn(tensor.shape, generator=generator)
                tensor.copy_(draw.bfloat16().half().float())
        layers += [layer, activation()] if i < len(sizes) - 1 else [layer]
    return nn.Sequential(*layers).eval()


def points(batch, num_inputs, seed=1):
    x = torch.randn(batch, num_inputs, generator=torch.Generator().manual_seed(seed))
    return x.bfloat16().half().float()


class Autocast(nn.Module):
    """A model that computes in bfloat16 and shows it nowhere: float32 weights and outputs."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        with torch.autocast("cpu", BF16):
            return self.net(x).float()


def in_precision(net, precision):
    """Return the network that computes in a precision, and the dtype of its inputs."""
    return (Autocast(net), F32) if precision == "autocast" else (net.to(precision), precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_method_agrees_with_float64_to_the_precision(precision):
    x, v, u = points(3, 12), points(3, 12, seed=2), points(3, 12, seed=3)
    net = network(12, 32, 6).double()
    G = dense_matrix(net, x.double())
    values = torch.linalg.eigvalsh(G).flip(-1)
    model, dtype = in_precision(network(12, 32, 6), precision)
    x, v, u = (y.to(dtype) for y in (x, v, u))
    tolerance = 16.0 * EPS[precision]
    for strategy in (None, Operator()):
        metric = PullbackMetric(model, strategy=strategy)
        spectrum = metric.spectrum(x, num_values=2)
        scale = values[:, 0, None]
        assert bool(((spectrum.values - values[:, :2]).abs() <= tolerance * scale).all())
        if strategy is not None:
            off = (spectrum.values - values[:, :2]).abs()
            assert bool((off <= spectrum.errors).all())
            assert bool((spectrum.errors <= tolerance * scale).all())
    top = values[:, 0]
    size = [y.double().norm(dim=1) for y in (u, v)]
    exact = torch.einsum("bi,bij,bj->b", u.double(), G, v.double())
    pairs = [
        (metric.matrix(x), G, top[:, None, None]),
        (metric.trace(x), values.sum(-1), top),
        (metric.norm(x, v).square(), torch.einsum("bi,bij,bj->b", v.double(), G, v.double()), top),
        (metric.inner_product(x, u, v), exact, top * size[0] * size[1]),
        (metric.log_spectrum(x)[:, 0].exp(), top, top),
        (quantities.sensitivity(metric, x).square(), top, top),
    ]
    for seen, expected, scale in pairs:
        assert seen.dtype == F32
        assert bool(((seen - expected).abs() <= tolerance * scale).all())
    found = metric.hutchinson_trace(x, generator=torch.Generator().manual_seed(0))
    off = (found.values - values.sum(-1)).abs()
    assert bool((off <= tolerance * top + 6.0 * found.standard_errors).all())


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("activation", [nn.Tanh, nn.GELU])
def test_rank_follows_the_precision_of_the_model(precision, activation):
    """Bottlenecks of one and two units: all that is seen beyond them is rounding."""
    for seed in range(3):
        for sizes in ((12, 16, 2, 8), (20, 64, 64, 1, 64, 100), (64, 64, 2, 64, 64, 10)):
            net = network(*sizes, activation=activation, seed=seed)
            model, dtype = in_precision(net, precision)
            rank = PullbackMetric(model, strategy=Loop()).rank(points(2, sizes[0]).to(dtype))
            assert int(rank.max()) <= min(sizes)
            assert int(rank.min()) >= 1


def test_rank_of_rows_that_have_almost_cancelled():
    """In float32 rows that are small differences of gradients carry the rounding of those."""
    for seed in range(3):
        net = network(20, 128, 128, 128, 1, 128, 128, 128, 100, seed=seed)
        assert PullbackMetric(net).rank(points(4, 20)).tolist() == [1] * 4


def test_products_do_not_leave_the_range_of_their_dtype():
    """Slopes of 1e20, whose squares are no numbers of float32, at saturations of 1e-30."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(300, 5, generator=generator, dtype=F64)
    for size, gap in ((1e20, 100.0), (1e-15, 0.0)):
        bias = torch.zeros(300, dtype=F64)
        bias[0] = gap

        def model(x, size=size, bias=bias):
            return size * (x @ weight.to(x).T) + bias.to(x)

        x = torch.zeros(2, 5, dtype=F64)
        exact = PullbackMetric(model, strategy=Loop()).log_spectrum(x)[:, 0].exp()
        seen = PullbackMetric(model, strategy=Operator()).spectrum(x.float(), num_values=1)
        torch.testing.assert_close(seen.values[:, 0].double(), exact, rtol=1e-4, atol=0.0)


class DetachedTanh(torch.autograd.Function):
    """A derivative that autograd takes for a constant."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.tanh(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient.detach() * (1.0 - torch.tanh(x.detach()) ** 2)


@pytest.mark.parametrize("place", ["before", "after", "branch"])
def test_backward_passes_without_a_derivative_fall_back_to_rows(place):
    first, last = nn.Linear(5, 300), nn.Linear(300, 300)
    models = {
        "before": lambda x: first(DetachedTanh.apply(x)),
        "after": lambda x: last(DetachedTanh.apply(first(x))),
        "branch": lambda x: first(x) + DetachedTanh.apply(first(x)),
    }
    x = points(2, 5)
    seen = PullbackMetric(models[place]).spectrum(x, num_values=1).values
    rows = PullbackMetric(models[place], strategy=Loop()).spectrum(x, num_values=1).values
    torch.testing.assert_close(seen, rows)
    if place != "branch":
        with pytest.raises(RuntimeError, match=r"Use strategy=Loop\(\)"):
            PullbackMetric(models[place], strategy=Operator()).spectrum(x, num_values=1)


# ---------------------------------------------------------------- memory

MEMORY = """
import resource, sys, tempfile
from pathlib import Path
import numpy as np
import torch
from torch import nn
from infogeo import pullback
from infogeo.cli import _loading, _pullback


class SmallTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 32, 8, 8)
        layer = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 1000)

    def forward(self, x):
        return self.head(self.encoder(self.embed(x).flatten(2).mT).mean(1))


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


torch.manual_seed(0)
if sys.argv[1] == "wide":
    model = nn.Sequential(nn.Linear(16, 20000), nn.ReLU(), nn.Linear(20000, 200)).eval()
    x = torch.randn(64, 16)
else:
    model, x = SmallTransformer().eval(), torch.rand(6, 3, 64, 64)
small = pullback.PullbackMetric(nn.Linear(4, 3))
small.log_spectrum(torch.zeros(2, 4)), small.rank(torch.zeros(2, 4))
with torch.no_grad():
    model(x[:1])
before = peak()
with tempfile.TemporaryDirectory() as folder:
    if sys.argv[1] == "report":
        np.save(f"{folder}/x.npy", x.numpy())
        inputs = _loading.Batches(Path(f"{folder}/x.npy"), 64, model)
        explorer = _pullback._Explorer(pullback.PullbackMetric(model), inputs, "cpu")
        _, spectrum = explorer.spectra(range(len(x)), 3)
        assert spectrum.vectors.shape == (6, 3, 3, 64, 64)
    else:
        pullback.scan(model, x.split(len(x)), out=folder)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say how much memory it took")
@pytest.mark.parametrize(
    ("name", "limit"),
    # 200 rows through 64 x 20,000 activations would take 3 GiB; 6 factors of 12,288 x 999 numbers
    # 0.3 GiB, and as much for each of several copies.
    [
        ("wide", 0.4),
        pytest.param("transformer", 0.8, marks=[pytest.mark.slow, pytest.mark.campaign]),
        ("report", 0.3),
    ],
)
def test_a_scan_bounds_rows_and_activations(name, limit):
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, name], capture_output=True, text=True, check=True
    )
    unit = 2**10 if sys.platform == "darwin" else 1.0  # bytes there, kibibytes elsewhere
    assert float(run.stdout) / unit < limit


def test_what_is_computed_in_blocks_is_the_same(monkeypatch):
    from infogeo.pullback import _blocks

    x, scale = points(7, 12).double(), points(7, 6, seed=2).double().exp()
    net = network(12, 32, 6).double()
    metric = PullbackMetric(lambda x, scale: scale * net(x), inputs=scale, strategy=Loop())
    methods = (PullbackMetric.trace, PullbackMetric.log_spectrum, PullbackMetric.rank)
    whole = [method(metric, x) for method in methods]
    monkeypatch.setattr(_blocks, "_ROWS", 2 * 12 * 6)
    again = PullbackMetric(lambda x, scale: scale * net(x), inputs=scale, strategy=Loop())
    for method, expected in zip(methods, whole, strict=True):
        torch.testing.assert_close(method(again, x), expected, rtol=1e-12, atol=1e-12)


def test_triangles_come_block_by_block(monkeypatch):
    from infogeo.pullback import _spectrum

    metric = PullbackMetric(network(500, 16, 5).double())
    x = points(2, 500).double()
    factor = _spectrum.relative_factor(metric, x)
    _, whole = _spectrum.triangle_of(factor)
    monkeypatch.setattr(_spectrum, "_BLOCK", 1)
    logs = _spectrum.log_eigenvalues(_spectrum.triangle_alone(factor))
    torch.testing.assert_close(
        torch.tensor(logs), torch.tensor(_spectrum.log_eigenvalues(whole)), rtol=0, atol=1e-11
    )
