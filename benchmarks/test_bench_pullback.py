"""The pullback metric of networks, beside Jacobians, dense formulas, geomstats and what autograd
itself must cost."""

import itertools
import subprocess
import sys
import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from infogeo.pullback import Loop, Operator, PullbackMetric, input_metrics  # noqa: E402


def mlp(*widths):
    torch.manual_seed(0)
    layers = []
    for i, o in itertools.pairwise(widths):
        layers += [torch.nn.Linear(i, o), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def cnn(num_classes=10):
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1568, 64), nn.ReLU(), nn.Linear(64, num_classes)),
    )


NETS = {"MLP 784-256-256-10": (mlp(784, 256, 256, 10), (784,)), "CNN": (cnn(), (1, 28, 28))}


# ---------------------------------------------------------------- the largest eigenvalue


def centred(p, jacobian):
    return p.sqrt()[..., None] * (jacobian - p[:, None] @ jacobian)


def fisher(p):
    return torch.diag_embed(p) - p[..., None] * p[:, None]


def largest_by_infogeo(model, x):
    return PullbackMetric(model).spectrum(x, num_values=1).values[:, 0]


def largest_by_jacrev(model, x):
    """Return the largest eigenvalue of A J with A = diag(sqrt p) (I - 1 p'), from jacrev."""
    jacobian = torch.func.vmap(torch.func.jacrev(model))(x)
    return torch.linalg.svdvals(centred(torch.softmax(model(x), -1), jacobian))[:, 0] ** 2


def largest_by_functional_jacobian(model, x):
    """Return the same by torch.autograd.functional.jacobian of the sum over the batch."""
    jacobian = torch.autograd.functional.jacobian(lambda y: model(y).sum(0), x).transpose(0, 1)
    return torch.linalg.svdvals(centred(torch.softmax(model(x), -1), jacobian))[:, 0] ** 2


def largest_by_dense_metric(model, x):
    """Return the largest eigenvalue of J' (diag p - p p') J, d x d."""
    jacobian = torch.func.vmap(torch.func.jacrev(model))(x)
    p = torch.softmax(model(x), -1)
    return torch.linalg.eigvalsh(jacobian.mT @ fisher(p) @ jacobian)[:, -1]


METHODS = {
    "infogeo": largest_by_infogeo,
    "`torch.func.jacrev` and an SVD": largest_by_jacrev,
    "`torch.autograd.functional.jacobian` and an SVD": largest_by_functional_jacobian,
    "`torch.func.jacrev` and the dense metric": largest_by_dense_metric,
}


@pytest.mark.parametrize("who", METHODS)
@pytest.mark.parametrize("scale", [1.0, 200.0], ids=["natural", "saturated"])
def test_largest_eigenvalue(benchmark, scale, who):
    model, x = mlp(784, 256, 256, 10), torch.rand(64, 784)
    with torch.no_grad():
        model[-1].weight *= scale
    kind = "natural" if scale == 1.0 else "saturated"
    benchmark.group = f"{kind} logits"
    with torch.no_grad() if who == "infogeo" else torch.enable_grad():
        rounds = 3 if "dense" in who else 20
        found = benchmark.pedantic(METHODS[who], args=(model, x), rounds=rounds, warmup_rounds=1)
    exact = largest_by_jacrev(model.double(), x.double())
    error = (found.double() - exact).abs() / exact
    benchmark.extra_info["error"] = float(np.median(error.detach().numpy()))


# ---------------------------------------------------------------- the limit of the cost


def one_forward_and_all_backwards(model, x):
    """What autograd must do for c - 1 rows, and nothing else."""
    y = x.clone().requires_grad_()
    z = model(y)
    for i in range(z.shape[1] - 1):
        torch.autograd.grad(z[:, i].sum(), y, retain_graph=True)


def one_forward_and_a_batch_of_backwards(model, x):
    """The same, all rows at once."""
    y = x.clone().requires_grad_()
    z = model(y)
    seeds = torch.eye(z.shape[1])[:-1, None].expand(-1, len(x), -1)
    torch.autograd.grad(z, y, seeds, is_grads_batched=True)


COSTS = {
    "infogeo": lambda model, x: PullbackMetric(model).scaled_factor(x),
    "limit, in a loop": one_forward_and_all_backwards,
    "limit, as one batch": one_forward_and_a_batch_of_backwards,
    "`vmap(jacrev)`": lambda model, x: torch.func.vmap(
        torch.func.jacrev(lambda y: model(y[None])[0])
    )(x),
    "`autograd.functional.jacobian`": lambda model, x: torch.autograd.functional.jacobian(
        lambda y: model(y).sum(0), x
    ),
    "infogeo, all eigenvalues": lambda model, x: PullbackMetric(model).spectrum(x),
}


@pytest.mark.parametrize("who", COSTS)
@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("net", NETS)
def test_cost_of_the_factor(benchmark, net, batch, who):
    model, shape = NETS[net]
    x = torch.rand(batch, *shape)
    benchmark.group = f"{net}, {batch} input{'s' * (batch > 1)}"
    benchmark.pedantic(COSTS[who], args=(model, x), rounds=40, warmup_rounds=3)


# ---------------------------------------------------------------- input metrics


def pixels_and_deviations(x):
    return torch.stack([x[:, :392], 0.5 + x[:, 392:]], dim=1)


# The metric, what makes inputs of its space from pixels, and the diagonal of h^-1 (or all of it).
WEIGHTS = 1.0 + torch.arange(784.0) / 784.0
INPUT_METRICS = {
    "`euclidean`": (input_metrics.euclidean, lambda x: x, torch.ones_like),
    "`diagonal(weights)`": (
        input_metrics.diagonal(WEIGHTS),
        lambda x: x,
        lambda x: (1.0 / WEIGHTS).expand(x.shape),
    ),
    "`full(matrix)`": (
        input_metrics.full(torch.diag(WEIGHTS)),
        lambda x: x,
        lambda x: (1.0 / WEIGHTS).expand(x.shape),
    ),
    "`full(function)`": (
        input_metrics.full(lambda x: torch.diag_embed(WEIGHTS.to(x) * (1.0 + x))),
        lambda x: x,
        lambda x: 1.0 / (WEIGHTS * (1.0 + x)),
    ),
    "`bernoulli`": (input_metrics.bernoulli, lambda x: x, lambda x: x * (1.0 - x)),
    "`categorical`": (
        input_metrics.categorical,
        lambda x: x / x.sum(1, keepdim=True),
        lambda x: torch.diag_embed(x) - x[..., None] * x[:, None],
    ),
    "`normal`": (
        input_metrics.normal,
        pixels_and_deviations,
        lambda x: torch.cat([x[:, 1] ** 2, 0.5 * x[:, 1] ** 2], dim=1),
    ),
}


@pytest.mark.parametrize("who", INPUT_METRICS)
def test_input_metrics(benchmark, who):
    """All eigenvalues relative to the metric; exact ones from float64 rows and a dense h^-1."""
    input_metric, make_inputs, inverse = INPUT_METRICS[who]
    model = torch.nn.Sequential(torch.nn.Flatten(), mlp(784, 256, 256, 10))
    x = make_inputs(torch.rand(64, 784))
    metric = PullbackMetric(model, input_metric=input_metric)
    benchmark.group = "all eigenvalues, 64 inputs of a 784-256-256-10 MLP"
    rounds = 1 if who == "`full(function)`" else 10
    found = benchmark.pedantic(metric.spectrum, args=(x,), rounds=rounds, warmup_rounds=1)
    rows, h = PullbackMetric(model.double()).factor(x.double()).flatten(2), inverse(x.double())
    right = rows * h[:, None] if h.ndim == 2 else rows @ h
    exact = torch.linalg.eigvalsh(right @ rows.mT).flip(1)
    error = (found.values - exact)[:, 0].abs() / exact[:, 0]
    benchmark.extra_info["error"] = float(error.median())


# ---------------------------------------------------------------- the whole matrix


def matrix_by_infogeo(model, x):
    return PullbackMetric(model).matrix(x)


def matrix_by_jacrev(model, x):
    jacobian = torch.func.vmap(torch.func.jacrev(model))(x)
    return jacobian.mT @ fisher(torch.softmax(model(x), -1)) @ jacobian


def matrix_by_geomstats(model, x):
    """Return the matrix of the immersion x -> 2 sqrt p into Euclidean space."""
    geometry = pytest.importorskip("geomstats.geometry.euclidean")
    pullback = pytest.importorskip("geomstats.geometry.pullback_metric")

    def immersion(x):
        return 2.0 * torch.softmax(model(x), -1).sqrt()

    jacobian = torch.func.vmap(torch.func.jacrev(immersion))
    space = types.SimpleNamespace(
        dim=x.shape[1],
        point_ndim=1,
        embedding_space=geometry.Euclidean(10),
        immersion=lambda y: immersion(x).detach().numpy(),
        jacobian_immersion=lambda y: jacobian(x).detach().numpy(),
    )
    metric = pullback.PullbackMetric.__new__(pullback.PullbackMetric)
    metric._space = space
    return torch.as_tensor(metric.metric_matrix(x.numpy()))


MATRICES = {
    "infogeo": matrix_by_infogeo,
    "`torch.func.jacrev` and the dense formula": matrix_by_jacrev,
    "geomstats": matrix_by_geomstats,
}


@pytest.mark.parametrize("who", MATRICES)
def test_matrix(benchmark, who):
    model, x = mlp(64, 64, 10), torch.rand(64, 64)
    benchmark.group = "dense matrix, 64 inputs of a 64-64-10 MLP"
    found = benchmark.pedantic(MATRICES[who], args=(model, x), rounds=5, warmup_rounds=1)
    exact = matrix_by_jacrev(model.double(), x.double())
    error = (found.double() - exact).abs().amax((1, 2)) / exact.abs().amax((1, 2))
    benchmark.extra_info["error"] = float(error.max())


# ---------------------------------------------------------------- a thousand classes

THOUSAND = {"MLP 784-512-512-1000": (mlp(784, 512, 512, 1000), (784,)), "CNN": None}
THOUSAND["CNN"] = (cnn(1000), (1, 28, 28))


@pytest.mark.parametrize(
    ("who", "strategy"),
    [
        ("infogeo (Lanczos)", Operator()),
        ("all rows, no eigenvalue yet", None),
        ("all rows and all eigenvalues", Loop()),
    ],
)
@pytest.mark.parametrize("net", THOUSAND)
def test_largest_of_a_thousand_classes(benchmark, net, who, strategy):
    model, shape = THOUSAND[net]
    x = torch.rand(2, *shape)
    benchmark.group = f"largest eigenvalue, 1,000 classes, 2 inputs, {net}"
    metric = PullbackMetric(model, strategy=strategy)
    if who == "all rows, no eigenvalue yet":
        benchmark.pedantic(metric.scaled_factor, args=(x,), rounds=3, warmup_rounds=1)
        return
    call = lambda: metric.spectrum(x, num_values=1)  # noqa: E731
    rounds = 5 if who == "infogeo (Lanczos)" else 1
    found = benchmark.pedantic(call, rounds=rounds)
    rows = PullbackMetric(model.double()).factor(x.double())
    exact = torch.linalg.svdvals(rows)[:, 0] ** 2
    model.float()
    benchmark.extra_info["error"] = float(((found.values[:, 0] - exact).abs() / exact).max())


# ---------------------------------------------------------------- memory

LOOP = "infogeo, `strategy=Loop()`"
MEMORY = """
import sys
sys.path.insert(0, {folder!r})
import torch
import test_bench_pullback as bench

def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

model = bench.mlp(3072, 512, 512, 10)
call = {{
    "infogeo": lambda x: bench.PullbackMetric(model).spectrum(x),
    {loop!r}: lambda x: bench.PullbackMetric(model, strategy=bench.Loop()).spectrum(x),
    "dense metric": lambda x: bench.largest_by_dense_metric(model, x),
}}[{who!r}]
bench.PullbackMetric(model).spectrum(torch.rand(2, 3072))
x = torch.rand({batch}, 3072)
open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
before = status("VmRSS")
call(x)
print(status("VmHWM") - before)
"""


@pytest.mark.parametrize("who", ["infogeo", LOOP, "dense metric"])
def test_memory(benchmark, who):
    """Peak memory of a spectrum in a process of its own; time means nothing here."""
    batch = 4 if who == "dense metric" else 256
    folder = __file__.rpartition("/")[0]
    code = MEMORY.format(folder=folder, who=who, batch=batch, loop=LOOP)

    def run():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        return float(done.stdout)

    benchmark.group = "a spectrum, 3072-512-512-10 MLP"
    megabytes = benchmark.pedantic(run, rounds=1)
    benchmark.extra_info["MB for each input"] = f"{megabytes / batch:.2f}"
