"""Networks as people hand them over: what can be measured is, what cannot is refused by name."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from infogeo.pullback import PullbackMetric, WeightMetric, _weight_network, heads
from infogeo.pullback._weights import OfWeights

F64 = torch.float64
X = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
TOKENS = torch.tensor([[1, 1, 3], [0, 2, 3]])
NORMAL = heads.normal_fixed_std(1.0)


def mlp():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))


class Returns(nn.Module):
    """A network that returns what a function makes of its logits."""

    def __init__(self, function):
        super().__init__()
        self.net, self.function = mlp(), function

    def forward(self, x):
        return self.function(self.net(x))


class Outputs:
    def __init__(self, logits):
        self.logits = logits


class Unregistered(nn.Module):
    def __init__(self):
        super().__init__()
        self.nets = [mlp()]

    def forward(self, x):
        return self.nets[0](x)


class Sparse(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(4, 6).to_sparse())

    def forward(self, x):
        return torch.sparse.mm(self.weight, x.T).T


def spectral(mark):
    net = mlp()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        mark(net[0])
    return net


def exported():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(mlp(), (X,)).module()


def quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(mlp(), {nn.Linear})


def words(**options):
    return nn.Sequential(nn.Embedding(4, 6, **options), nn.Flatten(), nn.Linear(18, 4))


# A network, its input, and the error that both metrics, or only that on weights, have for it.
REFUSED = {
    "lazy layers": (lambda: nn.Sequential(nn.LazyLinear(4)), X, "'0.weight' is of a lazy layer"),
    "no numbers": (lambda: mlp().to("meta"), X, "is on the meta device, which has none"),
    "no numbers in one layer": (
        lambda: nn.Sequential(mlp(), nn.Linear(3, 3, device="meta")),
        X,
        "is on the meta device, which has none",
    ),
    "an input without numbers": (mlp, X.to("meta"), "x is on the meta device"),
    "a mapping": (
        lambda: Returns(lambda z: {"logits": z, "cache": None}),
        X,
        r"it returned dict with the entries 'logits', 'cache'\. Wrap it.*forward returns that",
    ),
    "a tuple": (lambda: Returns(lambda z: (z, None)), X, "it returned tuple. Wrap it"),
    "an object": (lambda: Returns(Outputs), X, "it returned Outputs. Wrap it"),
    "nothing": (lambda: Returns(lambda z: None), X, "it returned NoneType"),
    "integers": (lambda: Returns(lambda z: z.argmax(1)), X, "a tensor of torch.int64"),
    "one axis": (lambda: Returns(lambda z: z[:, 0]), X, r"model\(x\) \(\d,\)\. Add the batch"),
    "three axes": (lambda: Returns(lambda z: z[:, None]), X, r"model\(x\) \(\d, 1, 4\)"),
    "powers at each call": (lambda: spectral(parametrizations.spectral_norm), X, "_SpectralNorm"),
    "powers by hooks": (lambda: spectral(nn.utils.spectral_norm), X, "'0' is in training mode"),
    "no gradients": (
        lambda: Returns(torch.Tensor.detach),
        X,
        "do not depend on x through autograd",
    ),
}
REFUSED_BY_WEIGHTS = {
    "unregistered parts": (Unregistered, X, "it has none. Hold weights as nn.Parameter"),
    "quantised": (quantised, X, "A network that was quantised has none"),
    "sparse weights": (Sparse, X, "'weight' is sparse"),
    "sparse gradients": (lambda: words(sparse=True), TOKENS, "'0' has sparse=True. Set its"),
    "rescaled rows": (lambda: words(max_norm=1.0), TOKENS, "'0' has a max_norm and rescales"),
    "a data set": (
        mlp,
        torch.utils.data.TensorDataset(X),
        "whose items are samples. Use DataLoader",
    ),
    "batches by name": (mlp, [{"x": X}], r"batch 0 is a dict\. Use for instance \[\(batch\['x'\]"),
    "integers for floats": (
        mlp,
        torch.ones(5, 6, dtype=torch.int64),
        "x is torch.int64 on cpu and",
    ),
}


def measured_by_weights(net, x):
    return WeightMetric(net, x).trace()


def measured_by_inputs(net, x):
    return PullbackMetric(net).norm(x, torch.ones_like(x))


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("measure", [measured_by_weights, measured_by_inputs])
def test_what_cannot_be_measured_is_refused_by_name(case, measure):
    make, x, message = REFUSED[case]
    with pytest.raises((TypeError, ValueError), match=message):
        measure(make(), x)


@pytest.mark.parametrize("case", REFUSED_BY_WEIGHTS)
def test_weights_that_cannot_be_replaced_are_refused_by_name(case):
    make, x, message = REFUSED_BY_WEIGHTS[case]
    with pytest.raises((TypeError, ValueError), match=message):
        measured_by_weights(make(), x)


def test_a_network_for_one_size_of_batch_is_refused():
    for measure in (
        lambda net: PullbackMetric(net).trace(X),
        lambda net: WeightMetric(net, X).trace(),
    ):
        with pytest.raises(ValueError, match=r"model\(x\[:4\]\) fails, and model\(x\) does not"):
            measure(exported())


def test_errors_of_a_model_say_with_what_it_was_called():
    with pytest.raises(RuntimeError) as caught:
        PullbackMetric(mlp()).trace(X[:, :5])
    assert "with x of shape (5, 5) and torch.float32." in str(caught.value.__notes__)


@pytest.mark.parametrize("mark", [parametrizations.spectral_norm, nn.utils.spectral_norm])
def test_spectral_norms_at_rest_are_measured(mark):
    net = spectral(mark).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert float(measured_by_weights(net, X)) > 0.0
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


class Scaled(nn.Module):
    """Inputs times one number, as the logits of image and text models."""

    def __init__(self, scale):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale, dtype=F64))

    def forward(self, x):
        return self.scale * x


def test_one_number_as_a_parameter_and_fewer_weights_than_rows():
    x = X.double()
    p = torch.softmax(1.5 * x, -1)
    variances = (p * x**2).sum(-1) - (p * x).sum(-1) ** 2  # of the logits' derivative
    metric = WeightMetric(Scaled(1.5), x)
    torch.testing.assert_close(metric.trace(), variances.mean(), rtol=1e-13, atol=0.0)
    torch.testing.assert_close(
        metric.norm({"scale": torch.tensor(2.0, dtype=F64)}), 2.0 * variances.mean().sqrt()
    )
    assert metric.trace_by_parameter()["scale"].shape == ()


def test_bags_of_embeddings():
    net = nn.EmbeddingBag(4, 1, mode="mean").double()
    metric = WeightMetric(net, TOKENS, NORMAL)
    counts = torch.tensor([[0.0, 2.0, 0.0, 1.0], [1.0, 0.0, 1.0, 1.0]], dtype=F64) / 3.0
    torch.testing.assert_close(metric.diagonal(), (counts**2).mean(0))
    v = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=F64)
    torch.testing.assert_close(metric.matvec(v), counts.T @ (counts @ v) / 2.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_need_no_rows(dtype, monkeypatch):
    net = mlp().to(dtype)
    exact = WeightMetric(copy.deepcopy(net).double(), X.to(dtype).double())
    metric = WeightMetric(net, X.to(dtype))
    v = torch.randn(92, generator=torch.Generator().manual_seed(2))
    monkeypatch.setattr(OfWeights, "rows", None)  # as large as the network, for each class
    seen = metric.norm(v)
    assert seen.dtype == torch.float32
    eps = torch.finfo(dtype).eps
    assert abs(float(seen) / float(exact.norm(v.double())) - 1.0) < 4.0 * eps
    image, expected = metric.matvec(v), exact.matvec(v.double())
    assert (image.double() - expected).norm() < 8.0 * eps * expected.norm()


def test_the_diagonal_takes_as_few_rows_at_once_as_need_be(monkeypatch):
    net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 5)).double()
    metric = WeightMetric(net, X.double()[:, None])
    whole, sizes = metric.diagonal(), []
    gradients = OfWeights.gradients

    def counted(self, vector, seeds, x, inputs):
        sizes.append(tuple(seeds.shape[:2]))
        return gradients(self, vector, seeds, x, inputs)

    monkeypatch.setattr(OfWeights, "gradients", counted)
    monkeypatch.setattr(_weight_network, "_ROWS_AT_ONCE", 1)
    torch.testing.assert_close(metric.diagonal(), whole, rtol=1e-13, atol=0.0)
    assert set(sizes) == {(1, 1)}
    assert len(sizes) == 5 * 4


class Rotated(nn.Module):
    """A layer whose weights are used without a call of it, behind a factor that may be 0."""

    def __init__(self):
        super().__init__()
        self.layer, self.factor = nn.Linear(6, 1, bias=False), nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.factor * nn.functional.linear(x, self.layer.weight)


def test_weights_that_begin_to_act_otherwise_are_seen():
    net, x = Rotated().double(), X.double()
    metric = WeightMetric(net, x, NORMAL)
    along = (x @ net.layer.weight.detach().T).square().mean()
    torch.testing.assert_close(metric.trace(), along)
    nn.init.constant_(net.factor, 2.0)  # all gradients of the layer were 0 until now
    for _ in range(3):
        torch.testing.assert_close(metric.trace(), along + 4.0 * x.square().sum(1).mean())
    plain = WeightMetric(nn.Linear(6, 1).double(), x, NORMAL)
    for factor in (1.0, -3.0):  # the weights are others each time
        nn.init.constant_(plain.model.weight, factor)
        torch.testing.assert_close(plain.trace(), x.square().sum(1).mean() + 1.0)
    plain.model.forward = lambda x: nn.functional.linear(3.0 * x, plain.model.weight)
    torch.testing.assert_close(plain.trace(), 9.0 * x.square().sum(1).mean())


class Checkpointed(nn.Module):
    """A part that is computed once more in the backward pass, with the weights of the module."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(6, 5).double(), nn.Linear(5, 3).double()

    def forward(self, x):
        h = self.first(x).tanh()
        return torch.utils.checkpoint.checkpoint(self.last, h, use_reentrant=False)


def test_activation_checkpointing_is_measured_or_refused():
    net, x = Checkpointed(), X.double()
    plain = nn.Sequential(net.first, nn.Tanh(), net.last)
    torch.testing.assert_close(PullbackMetric(net).trace(x), PullbackMetric(plain).trace(x))
    with pytest.raises(ValueError, match="gradients"):
        WeightMetric(net, x).trace()
