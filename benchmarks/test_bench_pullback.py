"""The pullback metric of an MLP at a batch of inputs, beside the Jacobian and the dense formula."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from infogeo.pullback import PullbackMetric  # noqa: E402


def network():
    torch.manual_seed(0)
    widths = (784, 256, 256, 10)
    layers = []
    for i, o in itertools.pairwise(widths):
        layers += [torch.nn.Linear(i, o), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]), torch.rand(64, 784)


def largest_by_infogeo(model, x):
    return PullbackMetric(model).spectrum(x, num_values=1).values[:, 0]


def largest_by_jacobian(model, x):
    """Return the largest eigenvalue of A J with A = diag(sqrt p) (I - 1 p'), from jacrev."""
    jacobian = torch.func.vmap(torch.func.jacrev(model))(x)
    p = torch.softmax(model(x), -1)
    centred = jacobian - (p[:, None] @ jacobian)
    return torch.linalg.svdvals(p.sqrt()[..., None] * centred)[:, 0] ** 2


def largest_by_dense_metric(model, x):
    """Return the largest eigenvalue of J' (diag p - p p') J, d x d."""
    jacobian = torch.func.vmap(torch.func.jacrev(model))(x)
    p = torch.softmax(model(x), -1)
    fisher = torch.diag_embed(p) - p[..., None] * p[:, None]
    return torch.linalg.eigvalsh(jacobian.mT @ fisher @ jacobian)[:, -1]


METHODS = {
    "infogeo": largest_by_infogeo,
    "torch.func.jacrev and SVD": largest_by_jacobian,
    "torch.func.jacrev and the dense metric": largest_by_dense_metric,
}


@pytest.mark.parametrize("who", METHODS)
@pytest.mark.parametrize("scale", [1.0, 200.0], ids=["natural", "saturated"])
def test_largest_eigenvalue(benchmark, scale, who):
    model, x = network()
    with torch.no_grad():
        model[-1].weight *= scale
    kind = "natural" if scale == 1.0 else "saturated"
    benchmark.group = f"largest eigenvalue, 64 inputs of a 784-256-256-10 MLP, {kind} logits"
    with torch.no_grad() if who == "infogeo" else torch.enable_grad():
        found = benchmark.pedantic(METHODS[who], args=(model, x), rounds=3, warmup_rounds=1)
    exact = largest_by_jacobian(model.double(), x.double())
    error = (found.double() - exact).abs() / exact
    benchmark.extra_info["error"] = float(np.median(error.detach().numpy()))
