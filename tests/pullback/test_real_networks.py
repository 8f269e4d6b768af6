"""Both metrics on networks that are not ours, against dense matrices in float64."""

import copy

import pytest
import torch
from real_networks import NETWORKS, MissingPackageError, scripted_voice_detector, voice_detector
from torch import nn

from infogeo.pullback import PullbackMetric, WeightMetric, heads

F64 = torch.float64
MOST_OUTPUTS = 16  # of networks with so many that their Jacobians would take long


class First(nn.Module):
    """The first outputs of a network."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, *arguments):
        return self.net(*arguments)[:, :MOST_OUTPUTS]


def made(make):
    try:
        return make()
    except MissingPackageError as error:
        pytest.skip(str(error))


@pytest.fixture(params=NETWORKS)
def case(request):
    """A network in float64, with few outputs where each of them counts by itself."""
    found = made(NETWORKS[request.param])
    is_whole = found.head is heads.categorical
    net = found.net if is_whole else First(found.net)
    names = found.names if is_whole else tuple(f"net.{name}" for name in found.names)
    return found, copy.deepcopy(net).double(), names


def rows_of(head, z, J):
    """Return B with B'B = J'FJ for Jacobians of shape (n, m, d)."""
    if head is heads.bernoulli:
        p = torch.sigmoid(z)
        return (p * (1.0 - p)).sqrt()[..., None] * J
    if head is heads.categorical:
        p = torch.softmax(z, -1)
        return p.sqrt()[..., None] * (J - p[:, None] @ J)
    return J


def jacobian(function, point):
    """Return the derivatives of outputs (n, m), by columns where they are fewer."""
    z = function(point).detach()
    if z[0].numel() > 100:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            J = torch.func.jacfwd(function)(point)
    else:
        J = torch.autograd.functional.jacobian(function, point)
    return z, J.detach().flatten(2)


def close(seen, expected, rtol=1e-9):
    size = float(torch.as_tensor(expected).abs().amax())
    torch.testing.assert_close(seen, expected, rtol=rtol, atol=rtol * size, check_dtype=False)


def test_the_metric_on_inputs(case):
    found, net, _ = case
    x = found.x.double()
    v = torch.randn(x.shape, dtype=F64, generator=torch.Generator().manual_seed(1))
    rows = []
    for i in range(len(x)):
        inputs = [value[i : i + 1] for value in found.inputs]
        z, J = jacobian(lambda y, inputs=inputs: net(y, *inputs), x[i : i + 1])
        rows.append(rows_of(found.head, z, J)[0])
    metric = PullbackMetric(net, found.head, inputs=found.inputs or None)
    close(
        metric.norm(x, v),
        torch.stack([(B @ w).norm() for B, w in zip(rows, v.flatten(1), strict=True)]),
    )
    squares = torch.stack([torch.linalg.svdvals(B).square() for B in rows])
    close(metric.spectrum(x, num_values=1).values, squares[:, :1])
    if len(rows[0]) < 100:
        close(metric.trace(x), squares.sum(1))
    else:  # a backward pass for each class
        estimate = metric.hutchinson_trace(x, num_samples=64)
        assert (estimate.values - squares.sum(1)).abs().max() < 6.0 * estimate.standard_errors.max()
    close(metric.segment_length(x, x + 1e-6 * v).value, 1e-6 * metric.norm(x, v), rtol=1e-2)
    single = PullbackMetric(copy.deepcopy(net).float(), found.head, inputs=found.inputs or None)
    close(single.norm(found.x, v.float()), metric.norm(x, v), rtol=1e-3)


def test_the_metric_on_weights(case):
    found, net, names = case
    samples = found.x.double() if found.samples is None else found.samples
    weights = {name: net.get_parameter(name).detach() for name in names}
    flat = torch.cat([value.flatten() for value in weights.values()])

    def outputs(vector):
        parts = vector.split([value.numel() for value in weights.values()])
        state = {n: p.reshape(w.shape) for (n, w), p in zip(weights.items(), parts, strict=True)}
        return torch.func.functional_call(net, state, (samples, *found.inputs))

    B = rows_of(found.head, *jacobian(outputs, flat)).flatten(0, 1) / len(samples) ** 0.5
    inputs = found.inputs or None
    metric = WeightMetric(net, samples, found.head, names=list(names), inputs=inputs)
    order = torch.cat([metric.unflatten(torch.arange(len(flat)))[n].flatten() for n in names])
    B = B[:, torch.argsort(order)]
    v = torch.randn(len(flat), dtype=F64, generator=torch.Generator().manual_seed(2))
    close(metric.norm(v), (B @ v).norm())
    close(metric.matvec(v), B.mT @ (B @ v))
    close(metric.trace(), B.square().sum())
    close(metric.spectrum(num_values=2).values, torch.linalg.svdvals(B)[:2].square())
    damping = 0.1 * float(B.square().sum())
    inner = damping * torch.eye(len(B), dtype=F64) + B @ B.mT if len(B) < 1000 else None
    if inner is not None:
        expected = (v - B.mT @ torch.linalg.solve(inner, B @ v)) / damping
    else:
        expected = torch.linalg.solve(B.mT @ B + damping * torch.eye(len(v), dtype=F64), v)
    close(metric.solve(v, damping, tol=1e-10).vector, expected, rtol=1e-8)


# ---------------------------------------------------------------- TorchScript with a memory


def test_the_detector_is_the_one_of_the_package():
    found, model = made(voice_detector), made(scripted_voice_detector)
    with torch.no_grad():
        torch.testing.assert_close(torch.sigmoid(found.net(found.x)), model._model(found.x)[0])


def test_what_keeps_a_memory_is_refused_with_its_reason():
    model, x = made(scripted_voice_detector), made(voice_detector).x
    with pytest.raises(TypeError, match=r"be a torch\.nn\.Module whose weights can be"):
        WeightMetric(model, x, heads.bernoulli)
    with pytest.raises(ValueError, match="always treat an input in the same way: two calls with"):
        PullbackMetric(lambda y: torch.logit(model(y, 16000)), heads.bernoulli).trace(x[:, 64:])
    with pytest.raises(TypeError, match=r"it returned tuple\. Wrap it"):
        PullbackMetric(model._model, heads.bernoulli).trace(x)


def test_what_torchscript_has_compiled_is_measured_by_its_inputs():
    found, model = made(voice_detector), made(scripted_voice_detector)
    scripted = PullbackMetric(lambda y: torch.logit(model._model(y)[0]), heads.bernoulli)
    own = PullbackMetric(found.net, heads.bernoulli)
    close(scripted.trace(found.x), own.trace(found.x), rtol=1e-3)
