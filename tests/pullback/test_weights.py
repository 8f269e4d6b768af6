"""The metric on weights against dense matrices from Jacobians in float64, and what it refuses."""

import collections
import copy
import functools
import math
import operator

import numpy as np
import pytest
import torch
from torch import nn

import infogeo
from infogeo.pullback import (
    Head,
    NaturalGradient,
    PullbackMetric,
    WeightMetric,
    _weight_network,
    _weight_products,
    _weights,
    heads,
)
from infogeo.pullback._weight_products import weighted_seeds

F32, F64 = torch.float32, torch.float64


def mlp(num_outputs=4, *, gain=1.0, dtype=F64, seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, num_outputs)).to(F64)
    with torch.no_grad():
        net[-1].weight.mul_(gain)
    return net.to(dtype)


def conv_net(dtype=F64):
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 5),
    )
    net[1].running_mean.uniform_(-0.5, 0.5)
    return net.to(dtype).eval()


class Recurrent(nn.Module):
    """Neither forward-mode derivatives nor second ones."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.lstm, self.last = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.lstm(x)[0][:, -1])


class Words(nn.Module):
    """Token ids, with a mask of the tokens that count."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.embedding, self.last = nn.Embedding(7, 4), nn.Linear(4, 3)

    def forward(self, ids, mask=None):
        vectors = self.embedding(ids).tanh()
        mask = torch.ones_like(ids) if mask is None else mask
        weights = mask.to(vectors.dtype)[..., None]
        return self.last((vectors * weights).sum(1) / weights.sum(1))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x).tanh())


def samples(num=7, shape=(5,), dtype=F64):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(num, *shape, generator=generator, dtype=F64).to(dtype)


def jacobian(net, x, *inputs):
    """Return J of shape (n, m, P) in float64, sample by sample, and the outputs."""
    net = copy.deepcopy(net).double()
    parameters = dict(net.named_parameters())
    rows, outputs = [], []
    for k in range(len(x)):
        one = x[k : k + 1].double() if x.is_floating_point() else x[k : k + 1]
        z = net(one, *(value[k : k + 1] for value in inputs))[0]
        found = [torch.autograd.grad(zi, parameters.values(), retain_graph=True) for zi in z]
        rows.append(torch.stack([torch.cat([g.flatten() for g in part]) for part in found]))
        outputs.append(z.detach())
    return torch.stack(rows), torch.stack(outputs)


def information(head, z):
    """Return the Fisher information of the outputs by its textbook formula, shape (n, m, m)."""
    if head is heads.categorical:
        p = torch.softmax(z, -1)
        return torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    if head is heads.bernoulli:
        p = torch.sigmoid(z)
        return torch.diag_embed(p * (1.0 - p))
    if head is heads.poisson:
        return torch.diag_embed(z.exp())
    if head is heads.normal:  # means, then logarithms of deviations
        half = z.shape[1] // 2
        precision = (-2.0 * z[:, half:]).exp()
        return torch.diag_embed(torch.cat([precision, 2.0 * torch.ones_like(precision)], 1))
    return torch.eye(z.shape[1], dtype=F64).expand(len(z), -1, -1) / 0.25  # std 0.5


def dense(net, x, head, *inputs):
    J, z = jacobian(net, x, *inputs)
    return (J.mT @ information(head, z) @ J).mean(0)


FIXED = heads.normal_fixed_std(0.5)
CASES = [
    (mlp(), (5,), heads.categorical),
    (mlp(gain=30.0), (5,), heads.categorical),
    (mlp(), (5,), heads.bernoulli),
    (mlp(), (5,), heads.poisson),
    (mlp(), (5,), heads.normal),
    (mlp(), (5,), FIXED),
    (conv_net(), (2, 4, 4), heads.categorical),
]


@pytest.mark.parametrize(("net", "shape", "head"), CASES)
@pytest.mark.parametrize(("dtype", "rtol"), [(F64, 1e-12), (F32, 3e-6)])
def test_all_verbs_agree_with_the_dense_matrix(net, shape, head, dtype, rtol):
    net, x = copy.deepcopy(net).to(dtype), samples(7, shape, dtype)
    G = dense(net, x, head)
    top = float(G.diagonal().sum())
    metric = WeightMetric(net, x, head, chunk_size=3)
    u, v = (samples(2, (len(G),), dtype)[k] for k in range(2))

    def close(found, expected, size):
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), expected, rtol=rtol, atol=rtol * size)

    exact_norm = (v.double() @ G @ v.double()).sqrt()
    close(metric.norm(v), exact_norm, float(exact_norm))
    close(metric.inner_product(u, v), u.double() @ G @ v.double(), top)
    close(metric.matvec(v), G @ v.double(), float((G @ v.double()).abs().max()))
    close(metric.diagonal(), G.diagonal(), top)
    close(metric.trace(), G.diagonal().sum(), top)
    values = torch.linalg.eigvalsh(G).flip(0)
    found = metric.spectrum()
    close(found.values, values[: len(found.values)], float(values[0]))
    V = found.vectors.double()
    product = V @ G @ V.mT
    atol = 10.0 * rtol * float(values[0])
    torch.testing.assert_close(product, torch.diag(found.values.double()), rtol=0.0, atol=atol)
    damping = 1e-2 * float(values[0])
    dimension = (values.clamp(min=0.0) / (values.clamp(min=0.0) + damping)).sum()
    close(metric.effective_dimension(damping), dimension, 10.0 * float(dimension))
    solution = metric.solve(u, damping, tol=100.0 * rtol)
    solved = torch.linalg.solve(G + damping * torch.eye(len(G), dtype=F64), u.double())
    error = (solution.vector.double() - solved).norm() / solved.norm()
    assert solution.status.is_solution
    assert float(error) < 1e4 * rtol


def test_parts_of_the_trace_and_vectors_by_name():
    net, x = mlp(), samples()
    metric = WeightMetric(net, x)
    assert metric.shapes == {name: p.shape for name, p in net.named_parameters()}
    v = {name: torch.randn_like(p) for name, p in net.named_parameters()}
    found = metric.matvec(v)
    assert list(found) == list(v)
    torch.testing.assert_close(metric.flatten(found), metric.matvec(metric.flatten(v)))
    G = dense(net, x, heads.categorical).diagonal()
    parts = metric.trace_by_parameter()
    assert list(parts) == list(v)
    start = 0
    for name, p in net.named_parameters():
        torch.testing.assert_close(parts[name], G[start : start + p.numel()].sum())
        start += p.numel()


@pytest.mark.parametrize(
    "head", [heads.categorical, heads.bernoulli, Head(lambda z: torch.diag_embed(z.exp()))]
)
def test_rows_of_many_classes_come_in_parts(monkeypatch, head):
    """A(z) of 50,000 classes would be a matrix of 10 GB for each sample."""
    model = nn.Sequential(mlp(5), nn.LayerNorm(5, dtype=F64))
    metric = WeightMetric(model, samples(3), head)
    expected = metric.diagonal(), metric.log_spectrum(), metric.prediction_std(samples(2), 0.3)
    monkeypatch.setattr(_weights, "SEEDS_AT_ONCE", 30)  # two rows of three samples
    monkeypatch.setattr(_weight_products, "SEEDS_AT_ONCE", 30)
    assert max(len(seeds[0]) for seeds in weighted_seeds(head, model(samples(3)), 9)) == 2
    found = metric.diagonal(), metric.log_spectrum(), metric.prediction_std(samples(2), 0.3)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(found[1][:12], expected[1][:12], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found[2], expected[2], rtol=1e-10, atol=0.0)


def test_named_parameters_are_a_block_of_the_whole():
    net, x = mlp(), samples()
    size = net[0].weight.numel() + net[0].bias.numel()
    G = dense(net, x, heads.categorical)
    metric = WeightMetric(net, x, names=["2.bias"])
    assert list(metric.shapes) == ["2.bias"]
    block = G[-4:, -4:]
    v = samples(1, (4,))[0]
    torch.testing.assert_close(metric.matvec(v), block @ v)
    net.requires_grad_(False)
    net[0].requires_grad_(True)
    torch.testing.assert_close(WeightMetric(net, x).diagonal(), G.diagonal()[:size])


def test_a_saturated_prediction_keeps_its_digits_in_float32():
    model = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[60.0], [0.0]]))
    metric = WeightMetric(model, torch.ones(1, 1))
    # G = p (1 - p) (1, -1)(1, -1)' with p = 1 / (1 + exp(60)), which float32 rounds to 1 - p = 1
    exact = math.exp(-60.0) / (1.0 + math.exp(-60.0)) ** 2
    v = torch.tensor([1.0, 0.0])
    assert math.isclose(float(metric.norm(v)), math.sqrt(exact), rel_tol=1e-5)
    assert math.isclose(float(metric.trace()), 2.0 * exact, rel_tol=1e-5)
    assert math.isclose(float(metric.spectrum().values[0]), 2.0 * exact, rel_tol=1e-5)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[400.0], [0.0]]))
    assert math.isclose(float(metric.log_spectrum()[0]), math.log(2.0) - 400.0, rel_tol=1e-6)


def test_batches_and_further_inputs():
    net = Words().double()
    ids = torch.tensor([[1, 2, 3], [4, 5, 6], [0, 0, 1], [6, 5, 1], [2, 2, 2]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 1], [0, 1, 1]])
    G = dense(net, ids, heads.categorical, mask)
    v = samples(1, (len(G),))[0]
    given = [
        WeightMetric(net, ids, inputs=(mask,), chunk_size=2),
        WeightMetric(net, ids, inputs={"mask": mask}),
        WeightMetric(
            net, list(zip(ids.split(2), mask.split(2), strict=True)), inputs=operator.itemgetter(1)
        ),
        WeightMetric(
            net,
            torch.utils.data.DataLoader(torch.utils.data.TensorDataset(ids, mask), batch_size=3),
            inputs=operator.itemgetter(1),
        ),
    ]
    for metric in given:
        torch.testing.assert_close(metric.matvec(v), G @ v)
        torch.testing.assert_close(metric.diagonal(), G.diagonal())


def test_recurrent_networks_do_without_forward_mode():
    net, x = Recurrent(), samples(4, (6, 3), F32)
    G = dense(net, x, heads.categorical)
    v = samples(1, (len(G),), F32)[0]
    metric = WeightMetric(net, x)
    torch.testing.assert_close(metric.matvec(v).double(), G @ v.double(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(metric.trace().double(), G.diagonal().sum(), rtol=1e-5, atol=0.0)


def test_tied_parameters_move_together():
    net, x = Tied().double(), samples(4, (3,))
    metric = WeightMetric(net, x)
    assert list(metric.shapes) == ["first.weight", "first.bias", "second.bias"]
    torch.testing.assert_close(metric.diagonal(), dense(net, x, heads.categorical).diagonal())
    state = net.state_dict()  # which holds both names
    assert float(metric.distance(state, net)) == 0.0


def test_products_find_what_the_factor_finds(monkeypatch):
    net, x = mlp(), samples(40)
    exact = WeightMetric(net, x).spectrum(num_values=3)
    v = samples(1, (len(exact.vectors[0]),))[0]
    solved = WeightMetric(net, x).solve(v, 1e-3)
    monkeypatch.setattr(_weight_network, "_EXACT_ROWS", 10)
    for metric in (WeightMetric(net, x), WeightMetric(net, x[:12], chunk_size=5)):
        whole = exact if len(metric.x) == 40 else None
        found = metric.spectrum(num_values=3)
        assert found.vectors.shape == (3, len(v))
        if whole is not None:
            assert bool(((found.values - whole.values).abs() <= found.errors).all())
        torch.testing.assert_close(found.vectors @ found.vectors.mT, torch.eye(3, dtype=F64))
        images = torch.stack([metric.matvec(y) for y in found.vectors])
        residual = (images - found.values[:, None] * found.vectors).norm(dim=1)
        assert bool((residual < 1e-2 * found.values).all())
    again = WeightMetric(net, x).solve(v, 1e-3)
    torch.testing.assert_close(again.vector, solved.vector, rtol=1e-4, atol=1e-4 * float(v.norm()))
    with pytest.raises(infogeo.SolveError, match="after 1 products") as raised:
        WeightMetric(net, x).solve(v, 1e-9, max_steps=1)
    assert raised.value.result.steps == 1
    for call in (metric.spectrum, metric.log_spectrum, lambda: metric.effective_dimension(1.0)):
        with pytest.raises(infogeo.BadValueError, match="spectral_density"):
            call()


def test_few_of_many_values_come_from_the_rows_by_lanczos():
    net, x = mlp(), samples(40)
    every, few = WeightMetric(net, x).spectrum(), WeightMetric(net, x).spectrum(num_values=1)
    assert every.errors is None
    assert float(abs(few.values[0] - every.values[0])) <= float(few.errors[0])
    aligned = abs(float(few.vectors[0] @ every.vectors[0]))
    assert math.isclose(aligned, 1.0, rel_tol=1e-5)


class Shared(nn.Module):
    """A linear layer that is called twice, and along a sequence."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.inner, self.last = nn.Linear(3, 3), nn.Linear(3, 4, bias=False)

    def forward(self, x):
        return self.last(self.inner(self.inner(x).tanh()).mean(1))


def test_linear_layers_along_sequences_and_called_twice():
    net, x = Shared().double(), samples(5, (6, 3))
    G = dense(net, x, heads.categorical)
    torch.testing.assert_close(WeightMetric(net, x).diagonal(), G.diagonal())


class Unusual(nn.Module):
    """Linear layers that are none of those whose squares come from their activations."""

    def __init__(self, body):
        super().__init__()
        torch.manual_seed(7)
        self.body, self.first, self.last = body, nn.Linear(3, 3), nn.Linear(3, 4)

    def forward(self, x):
        return self.last(self.body(self.first, x))


def _in_place(layer, x):
    h = layer(x[:, 0])
    h.mul_(2.0)
    return h


def _by_samples(layer, x):
    """As of two experts: the layer has the samples with a positive number, which are not all."""
    chosen = (x[:, 0, :1] > 0.0).nonzero()[:, 0]
    h = layer(x[chosen, 0]).tanh()
    return torch.zeros(len(x), 3, dtype=F64).index_put((chosen,), h)


def _of_one_sign(layer, x):
    return layer(x[:, 0]) + torch.relu(x[:, 1, :1]) * (x[:, 2] @ layer.weight)


UNUSUAL = {
    "for some samples": _by_samples,
    "weight used at some samples": _of_one_sign,
    "sequence first": lambda layer, x: layer(x.transpose(0, 1)).tanh().mean(0),
    "flattened": lambda layer, x: layer(x.flatten(0, 1)).tanh().reshape(x.shape).mean(1),
    "changed in place": _in_place,
    "by keyword": lambda layer, x: layer(input=x[:, 0]),
    "weight used twice": lambda layer, x: layer(x[:, 0]).tanh() @ layer.weight,
    "vectors and sequences": lambda layer, x: layer(x).mean(1) + layer(x[:, 0]).tanh(),
    "of no sample": lambda layer, x: layer(x[:, 0]) * layer(torch.ones(3, dtype=F64)),
}


@pytest.mark.parametrize("body", UNUSUAL.values(), ids=UNUSUAL)
def test_linear_layers_that_are_used_otherwise(body):
    net, x = Unusual(body).double(), samples(5, (6, 3))
    G = dense(net, x, heads.categorical)
    torch.testing.assert_close(WeightMetric(net, x).diagonal(), G.diagonal())
    order = x[:, 1, 0].argsort()  # others are the first two
    torch.testing.assert_close(WeightMetric(net, x[order]).diagonal(), G.diagonal())


def test_sequences_under_autocast():
    class Coarse(Unusual):
        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return super().forward(x).float()

    net, x = Coarse(lambda layer, x: layer(x).tanh().mean(1)), samples(5, (6, 3)).float()
    metric = WeightMetric(net, x)
    by_rows = torch.einsum("irir->", metric.gram(x)) / len(x)
    torch.testing.assert_close(metric.trace(), by_rows, rtol=0.05, atol=0.0)


def test_sequences_of_other_lengths_in_other_batches():
    net = Unusual(UNUSUAL["flattened"]).double()
    parts = samples(2, (1, 3)), samples(2, (4, 3))
    G = sum(dense(net, x, heads.categorical) for x in parts) / 2.0
    torch.testing.assert_close(WeightMetric(net, list(parts)).diagonal(), G.diagonal())


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_linear_layers_with_hooks():
    net, x = mlp(), samples()
    net[0].register_forward_hook(lambda _, h, y: 3.0 * y)
    torch.nn.utils.weight_norm(net[2])
    metric = WeightMetric(net, x)
    found = metric.diagonal()
    columns = [metric.matvec(v) for v in torch.eye(len(found), dtype=F64)]
    torch.testing.assert_close(found, torch.stack(columns).diagonal())


def test_a_model_that_is_trained_further_has_another_metric(monkeypatch):
    net, x, v = mlp(), samples(), samples(1, (64,))[0]
    metric = WeightMetric(net, x)
    verbs = (
        lambda m: m.diagonal(),
        lambda m: m.norm(v),
        lambda m: m.matvec(v),
        lambda m: m.spectrum(num_values=2).values,
    )
    before = [verb(metric) for verb in verbs]
    monkeypatch.setattr(_weight_network, "_EXACT_ROWS", 10)
    metric.spectrum(num_values=2)
    net.load_state_dict(mlp(seed=5).state_dict())
    for verb, old in zip(verbs, before, strict=True):
        torch.testing.assert_close(verb(metric), verb(WeightMetric(net, x)))
        assert not torch.allclose(verb(metric), old)


def test_inference_mode_does_no_harm():
    metric, v = WeightMetric(mlp(), samples()), samples(1, (64,))[0]
    with torch.inference_mode():
        found = metric.matvec(v), metric.solve(v, 0.1).vector
    torch.testing.assert_close(found, (metric.matvec(v), metric.solve(v, 0.1).vector))


def test_random_estimates_lie_within_their_errors():
    metric = WeightMetric(mlp(), samples(20))
    generator = torch.Generator().manual_seed(0)
    trace = metric.hutchinson_trace(num_samples=32, generator=generator)
    assert abs(float(trace.values - metric.trace())) < 4.0 * float(trace.standard_errors)
    density = metric.spectral_density(num_samples=5, num_steps=20, generator=generator)
    assert density.weights.shape[0] == 5
    for damping in (1e-1, 3e-2):
        found, exact = density.effective_dimension(damping), metric.effective_dimension(damping)
        assert abs(float(found.values - exact)) < 4.0 * float(found.standard_errors)


def test_kernel_and_covariance_of_predictions():
    net, x, new = mlp(), samples(9), samples(3) + 0.5
    G, q = dense(net, x, heads.categorical), 0.3
    metric = WeightMetric(net, x)
    J, z = jacobian(net, new)
    F = information(heads.categorical, z)
    gram = metric.gram(new)
    traces = torch.einsum("irir->i", gram)
    torch.testing.assert_close(traces, torch.einsum("iab,ibp,iap->i", F, J, J))
    cross = metric.gram(new, x)
    assert cross.shape == (3, 3, 9, 3)
    torch.testing.assert_close(metric.gram(x, new), cross.permute(2, 3, 0, 1))
    covariance = torch.linalg.inv(len(x) * G + q * torch.eye(len(G), dtype=F64))
    expected = torch.einsum("iab,ibp,pr,iar->i", F, J, covariance, J)
    torch.testing.assert_close(metric.prediction_std(new, q) ** 2, expected)
    values = torch.linalg.eigvalsh(metric.prediction_covariance(new, q))
    assert bool((values > 0.0).all())


class Unused(nn.Module):
    """As modules of Lightning, which hold a loss with weights of its own."""

    def __init__(self):
        super().__init__()
        self.net, self.loss = mlp(), nn.Linear(4, 2, dtype=F64)

    def forward(self, x):
        return self.net(x)


def test_parameters_that_no_prediction_depends_on_have_no_part():
    metric, alone = WeightMetric(Unused(), samples()), WeightMetric(mlp(), samples())
    parts = metric.trace_by_parameter()
    assert float(parts["loss.weight"]) == float(parts["loss.bias"]) == 0.0
    torch.testing.assert_close(metric.trace(), alone.trace())
    labels = torch.arange(7) % 4
    losses = functools.partial(nn.functional.cross_entropy, target=labels, reduction="none")
    named = WeightMetric(Unused(), samples(), names=[f"net.{name}" for name in alone.shapes])
    torch.testing.assert_close(  # what the metric is not of has no prior
        named.log_marginal_likelihood(0.7, losses), alone.log_marginal_likelihood(0.7, losses)
    )


def test_networks_are_points_of_a_space_of_functions():
    first, second, x = mlp(seed=0), mlp(seed=1), samples(11)
    metric = WeightMetric(first, x, chunk_size=4)
    d = infogeo.logits.fisher_rao_distance(first(x).detach(), second(x).detach())
    expected = d.square().mean().sqrt()
    torch.testing.assert_close(metric.distance(first, second), expected)
    torch.testing.assert_close(metric.distance(second.state_dict(), first.state_dict()), expected)
    third = mlp(seed=2)
    total = sum(metric.distance(*pair) for pair in ((first, second), (second, third)))
    torch.testing.assert_close(metric.length([first, second, third]), total)

    def at(t):
        ends = (dict(net.named_parameters()) for net in (first, second))
        a, b = ends
        return {name: torch.lerp(a[name].detach(), b[name].detach(), t) for name in a}

    fine = [
        metric.length([at(t) for t in torch.linspace(0, 1, n + 1, dtype=F64)]) for n in (64, 128)
    ]
    limit = fine[1] + (fine[1] - fine[0]) / 3.0
    found = metric.segment_length(first, second)
    assert found.status.is_solution
    assert math.isclose(float(found.value), float(limit), rel_tol=1e-4)
    assert float(found.value) > float(expected)


class HalfDetached(nn.Module):
    """Two layers of one size; autograd does not know of all that the first one does."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(8)
        self.first, self.last = (nn.Linear(5, 5, bias=False, dtype=F64) for _ in range(2))

    def forward(self, x):
        h = self.first(x).tanh()
        return self.last(h + h.detach())


def test_distances_lines_and_orders_need_no_gradients():
    first, second, x = HalfDetached(), HalfDetached(), samples()
    nn.init.constant_(second.first.weight, 0.1)
    metric = WeightMetric(first, x)
    d = infogeo.logits.fisher_rao_distance(first(x).detach(), second(x).detach())
    expected = d.square().mean().sqrt()
    torch.testing.assert_close(metric.distance(first, second), expected)
    assert metric.segment_length(first, second).value > expected
    assert metric.barrier(first, second, lambda z: z.square().mean()).value >= 0.0
    with pytest.raises(ValueError, match="gradients"):
        metric.trace()


def test_what_is_known_of_some_weights_or_samples_is_not_said_of_others():
    net, x = HalfDetached(), samples()
    for _ in range(2):
        assert WeightMetric(net, x, names=["last.weight"]).trace() > 0.0
        with pytest.raises(ValueError, match="gradients"):
            WeightMetric(net, x, names=["first.weight"]).trace()
    sums = nn.Linear(5, 3).double()
    sums.register_forward_pre_hook(
        lambda _, h: (h[0] - h[0].mean(0)).sum(1) if h[0].ndim > 2 else h
    )
    assert WeightMetric(sums, x).trace() > 0.0
    with pytest.raises(ValueError, match="by itself"):
        WeightMetric(sums, samples(4, (2, 5))).trace()


def test_tied_weights_have_all_their_names():
    """Files of safetensors hold one of the names of what is tied."""
    net, x = HalfDetached(), samples()
    net.last.weight = net.first.weight
    w, metric = net.first.weight.detach() + 0.1, WeightMetric(net, x)
    by_first, by_last, by_both = (
        metric.distance(net, dict.fromkeys(names, w))
        for names in (["first.weight"], ["last.weight"], ["first.weight", "last.weight"])
    )
    assert by_first == by_last == by_both > 0.1
    with pytest.raises(ValueError, match="they differ"):
        metric.distance(net, {"first.weight": w, "last.weight": 2.0 * w})


def test_buffers_of_two_networks_count():
    first = conv_net()
    second = copy.deepcopy(first)
    second[1].running_mean.add_(1.0)
    x = samples(4, (2, 4, 4))
    d = infogeo.logits.fisher_rao_distance(first(x).detach(), second(x).detach())
    found = WeightMetric(first, x).distance(first, second)
    torch.testing.assert_close(found, d.square().mean().sqrt())
    assert float(WeightMetric(first, x).segment_length(first, second).value) >= 0.99 * float(found)


def test_the_joint_metric_adds_both_moves():
    net, x = mlp(), samples(6)
    metric = WeightMetric(net, x, chunk_size=4)
    J, z = jacobian(net, x)
    dx, dw = samples(6) * 0.3, samples(1, (J.shape[2],))[0]
    by_inputs = torch.func.jvp(net, (x,), (dx,))[1]
    move = by_inputs + J @ dw
    F = information(heads.categorical, z)
    expected = torch.einsum("ia,iab,ib->i", move, F, move).sqrt()
    torch.testing.assert_close(metric.joint_norm(dx, dw), expected)
    alone = PullbackMetric(net).norm(x, dx)
    torch.testing.assert_close(metric.joint_norm(dx, 0.0 * dw), alone)


def test_temperature_and_masked_classes():
    net, x = mlp(), samples(5)
    hot = WeightMetric(net, x, temperature=2.0)
    scaled = mlp()
    with torch.no_grad():
        scaled[-1].weight.mul_(0.5), scaled[-1].bias.mul_(0.5)
    # z / 2: the first layer moves the same outputs in both
    part = WeightMetric(scaled, x).diagonal()[:36]
    torch.testing.assert_close(hot.diagonal()[:36], part)

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return self.net(x).index_fill(1, torch.tensor([3]), -math.inf)

    masked, three = WeightMetric(Masked(), x), mlp()
    three[-1] = nn.Linear(6, 3).double()
    with torch.no_grad():
        three[-1].weight.copy_(mlp()[-1].weight[:3]), three[-1].bias.copy_(mlp()[-1].bias[:3])
    torch.testing.assert_close(masked.trace(), WeightMetric(three, x).trace())


def test_the_model_stays_as_it_is(tmp_path):
    net, x = mlp(), samples()
    before = copy.deepcopy(net.state_dict())
    metric = WeightMetric(net, x)
    metric.matvec(torch.ones(len(metric.diagonal()), dtype=F64))
    metric.segment_length(mlp(seed=3), net)
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    spectrum = metric.spectrum(num_values=2)
    infogeo.save(spectrum, tmp_path / "spectrum.npz")
    restored = infogeo.load(tmp_path / "spectrum.npz")
    np.testing.assert_array_equal(restored.values, spectrum.values.numpy())


class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 4).double(), nn.Linear(4, 3).double()

    def forward(self, x):
        h = self.first(x)
        return self.last(h.tanh()) + h.detach()[:, :3]


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(5, 3, dtype=torch.complex128))
        self.last = nn.Linear(3, 3).double()

    def forward(self, x):
        return self.last((x.to(self.weight.dtype) @ self.weight).abs())


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(5, 3).double()

    def forward(self, x):
        return self.last(x - x.mean(0))


class Quantised(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3, dtype=torch.float64))
        numbers = torch.ones(3, 5, dtype=torch.int8)
        self.numbers = nn.Parameter(numbers, requires_grad=False)

    def forward(self, x):
        return x @ (self.scale[:, None] * self.numbers).T


def _of_numbers_alone():
    model = Quantised()
    del model.scale
    return model


def _state_with(name, value):
    return mlp().state_dict() | {name: value}


def _frozen():
    net = mlp()
    net[0].weight.requires_grad_(False)
    return net


BAD = [
    (lambda: WeightMetric(mlp(), samples(), names=["0.wieght"]), "Did you mean '0.weight'"),
    (lambda: WeightMetric(conv_net(), samples(3, (2, 4, 4)), names=["1.running_mean"]), "buffer"),
    (
        lambda: WeightMetric(Tied(), samples(3, (3,)), names=["second.weight"]),
        "tied to 'first.weight'",
    ),
    (lambda: WeightMetric(_frozen(), samples(), names=["0.weight"]), "frozen"),
    (lambda: WeightMetric(mlp().requires_grad_(False), samples()), "all of them are frozen"),
    (lambda: WeightMetric(nn.ReLU(), samples()), "it has none"),
    (lambda: WeightMetric(Complex(), samples()), "'weight' holds complex"),
    (lambda: WeightMetric(Quantised(), samples(), names=["numbers"]), "holds torch.int8"),
    (lambda: WeightMetric(_of_numbers_alone(), samples()), "it has none"),
    (
        lambda: WeightMetric(mlp(), samples()).distance(
            _state_with("0.weight", torch.ones(6, 5, dtype=torch.int8)), {}
        ),
        r"w0\['0.weight'\] must hold numbers as the model does, .*: it holds torch.int8",
    ),
    (
        lambda: WeightMetric(mlp(), samples()).distance(
            {}, _state_with("0.bias", torch.ones(6, dtype=torch.complex64))
        ),
        "it holds torch.complex64",
    ),
    (
        lambda: WeightMetric(mlp(), samples()).segment_length(
            {}, _state_with("0.bias", torch.full((6,), math.nan))
        ),
        r"w1\['0.bias'\] must hold finite numbers where the model does: 6 of its 6",
    ),
    (lambda: WeightMetric(mlp(), samples(), names=[]), "at least one"),
    (lambda: WeightMetric(mlp(), samples(0)), "at least one sample"),
    (lambda: WeightMetric(mlp(), []), "at least one batch"),
    (lambda: WeightMetric(conv_net().train(), samples(3, (2, 4, 4))).trace(), "eval"),
    (lambda: WeightMetric(Mixing(), samples()).trace(), "by itself"),
    (lambda: WeightMetric(Detached(), samples()).trace(), "gradients"),
    (
        lambda: WeightMetric(Unused(), samples(), names=["loss.weight"]).trace(),
        "names must name parameters that the outputs depend on: they do not depend on "
        "'loss.weight'. They depend on net.0.weight, net.0.bias, net.2.weight, net.2.bias.",
    ),
    (
        lambda: WeightMetric(mlp(), samples()).log_marginal_likelihood(0.0, lambda z: z[:, 0]),
        "prior_precision must be a positive",
    ),
    (
        lambda: WeightMetric(mlp(), samples()).log_marginal_likelihood(1.0, lambda z: z.sum()),
        "losses must return one number for each of 7 samples",
    ),
    (
        lambda: WeightMetric(mlp(), samples()).log_marginal_likelihood(
            1.0, lambda z: math.nan * z[:, 0]
        ),
        "losses must return numbers: .* of 7 are NaN",
    ),
    (
        lambda: WeightMetric(mlp(), samples()).log_marginal_likelihood(1.0, lambda z: z.argmax(1)),
        "losses must return negative log-likelihoods: their dtype is torch.int64",
    ),
    (
        lambda: WeightMetric(mlp(), samples()).prediction_std(
            samples(), 1.0, losses=lambda z: z[:, 0].detach()
        ),
        "losses must return a function of the outputs that autograd can follow",
    ),
    (lambda: WeightMetric(mlp(), samples()).norm(torch.zeros(3)), "one entry for each"),
    (lambda: WeightMetric(mlp(), samples()).norm({"0.weight": torch.zeros(6, 5)}), "is missing"),
    (lambda: WeightMetric(mlp(), samples()).norm(torch.full((64,), math.nan, dtype=F64)), "finite"),
    (lambda: WeightMetric(mlp(), samples()).spectrum(num_values=999), "at most"),
    (lambda: WeightMetric(mlp(), samples()).effective_dimension(0.0), "positive"),
    (lambda: WeightMetric(mlp(), samples()).distance({"module.0.weight": 1}, {}), "module."),
    (lambda: WeightMetric(mlp(), samples()).distance({"0.bias": torch.ones(2)}, {}), "shape"),
    (lambda: WeightMetric(mlp(), samples()).length([mlp()]), "two points"),
]


@pytest.mark.parametrize(("call", "word"), BAD)
def test_bad_input_is_named(call, word):
    with pytest.raises(infogeo.BadValueError, match=word):
        call()


def test_wrong_types_are_named():
    with pytest.raises(TypeError, match="Module"):
        WeightMetric(lambda x: x, samples())
    with pytest.raises(TypeError, match=r"torch\.jit"):
        WeightMetric(torch.jit.script(mlp()), samples())
    with pytest.raises(TypeError, match=r"model\.module"):
        WeightMetric(nn.DataParallel(mlp()), samples())
    with pytest.raises(TypeError, match="Head"):
        WeightMetric(mlp(), samples(), "categorical")
    tokens = collections.UserDict(ids=samples(), mask=samples())  # as tokenizers return them
    advice = r"got UserDict\. Pass one of its entries, for instance x\['ids'\], and inputs={'mask'"
    with pytest.raises(TypeError, match=advice):
        WeightMetric(mlp(), tokens)
    with pytest.raises(TypeError, match=advice):
        PullbackMetric(mlp()).trace(tokens)
    with pytest.raises(TypeError, match=r"Use torch.as_tensor\(x\)\.split\(64\)"):
        WeightMetric(mlp(), samples().numpy())
    with pytest.raises(TypeError, match="one tensor"):
        WeightMetric(mlp(), [samples()]).joint_norm(samples(), torch.zeros(64, dtype=F64))
    with pytest.raises(ValueError, match="distance"):
        WeightMetric(mlp(), samples(), Head(lambda z: torch.eye(4).expand(len(z), 4, 4))).distance(
            {}, {}
        )


def test_arguments_that_are_wrong_have_their_own_names():
    model = torch.nn.Linear(2, 2)
    metric = WeightMetric(model, torch.zeros(3, 2))
    good, bad = {"bias": torch.zeros(2)}, {"bogus": torch.zeros(2)}
    with pytest.raises(ValueError, match=r"^w0 must .*'bogus'"):
        metric.distance(bad, good)
    with pytest.raises(ValueError, match=r"^w1 must .*'bogus'"):
        metric.distance(good, bad)
    with pytest.raises(ValueError, match=r"^path\[1\] must .*'bogus'"):
        metric.length([good, bad])
    with pytest.raises(ValueError, match=r"^names must be names of parameters.*'bogus'"):
        NaturalGradient(model, names=["bogus"])
