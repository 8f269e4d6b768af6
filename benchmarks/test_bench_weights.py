"""The metric on weights beside curvlinops and nngeometry: error beside time."""

import copy

import numpy as np
import pytest
import scipy.sparse.linalg

torch = pytest.importorskip("torch")
curvlinops = pytest.importorskip("curvlinops")
nngeometry = pytest.importorskip("nngeometry")

from nngeometry.metrics import FIM  # noqa: E402
from nngeometry.object import PMatImplicit, PVector  # noqa: E402

from infogeo.pullback import WeightMetric  # noqa: E402

nn = torch.nn
NUM_SAMPLES = 200


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))


def cnn():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(784, 10)),
    )


NETS = {"MLP 64-64-10": (mlp(), (64,)), "CNN": (cnn(), (1, 28, 28))}


def data(shape):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(NUM_SAMPLES, *shape, generator=generator)
    return x, torch.zeros(NUM_SAMPLES, dtype=torch.long)  # the labels do not count


def direction(net):
    size = sum(p.numel() for p in net.parameters())
    return torch.randn(size, generator=torch.Generator().manual_seed(2))


def by_infogeo(net, shape):
    return WeightMetric(net, data(shape)[0], chunk_size=NUM_SAMPLES)


def by_curvlinops(net, shape):
    parameters, loss = list(net.parameters()), nn.CrossEntropyLoss()
    return curvlinops.GGNLinearOperator(
        net, loss, parameters, [data(shape)], check_deterministic=False
    )


def by_nngeometry(net, shape):
    dataset = torch.utils.data.TensorDataset(*data(shape))
    loader = torch.utils.data.DataLoader(dataset, batch_size=NUM_SAMPLES)
    return FIM(
        model=net,
        loader=loader,
        representation=PMatImplicit,
        variant="classif_logits",
        device="cpu",
    )


def product_of_nngeometry(metric, v):
    vector = PVector(metric.generator.layer_collection, vector_repr=v)
    return metric.mv(vector).to_torch()


def largest_by_curvlinops(operator):
    return scipy.sparse.linalg.eigsh(operator.to_scipy(), k=10)[0][::-1].copy()


MAKERS = {"infogeo": by_infogeo, "curvlinops": by_curvlinops, "nngeometry, implicit": by_nngeometry}
WORK = {
    "a product with a vector": {
        "infogeo": lambda metric, v: metric.matvec(v),
        "curvlinops": lambda operator, v: operator @ v,
        "nngeometry, implicit": product_of_nngeometry,
    },
    "the trace": {
        "infogeo": lambda metric, v: metric.trace(),
        "nngeometry, implicit": lambda metric, v: metric.trace(),
    },
    "the ten largest eigenvalues": {
        "infogeo": lambda metric, v: metric.spectrum(num_values=10).values,
        "curvlinops": lambda operator, v: largest_by_curvlinops(operator),
    },
}
EXACT = {
    "a product with a vector": lambda metric, v: metric.matvec(v),
    "the trace": lambda metric, v: metric.trace(),
    "the ten largest eigenvalues": lambda metric, v: metric.spectrum(num_values=10).values,
}


@pytest.mark.parametrize(("work", "who"), [(work, who) for work in WORK for who in WORK[work]])
@pytest.mark.parametrize("name", NETS)
def test_weights(benchmark, name, work, who):
    net, shape = NETS[name]
    benchmark.group = f"{name}, {work}"
    v, metric = direction(net), MAKERS[who](net, shape)
    found = benchmark.pedantic(WORK[work][who], args=(metric, v), rounds=5, warmup_rounds=1)
    double = copy.deepcopy(net).double()
    exact = WeightMetric(double, data(shape)[0].double())
    exact = EXACT[work](exact, v.double()).detach().numpy()
    found = np.asarray(found.detach() if isinstance(found, torch.Tensor) else found, dtype=float)
    error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    benchmark.extra_info["error"] = float(error)
