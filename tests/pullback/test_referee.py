"""Models that are not what autograd says, or not one function of each input, are found out."""

import functools
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn import functional

from infogeo import pullback, robustness
from infogeo.lipschitz import layers, smoothing
from infogeo.pullback import PullbackMetric, check_differentiable, check_independent

F32, F64 = torch.float32, torch.float64
X = torch.randn(3, 4, dtype=F64, generator=torch.Generator().manual_seed(0))
V = torch.randn(3, 4, dtype=F64, generator=torch.Generator().manual_seed(1))


def linear(num_inputs, num_outputs, seed):
    layer = nn.Linear(num_inputs, num_outputs).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
    return layer


FIRST, LAST = linear(4, 6, 2), linear(6, 3, 3)


def by_differences(model, x, v):
    """The length of v in the metric of a model, from the distance of two predictions."""
    return PullbackMetric(model).output_distance(x + 1e-5 * v, x - 1e-5 * v) / 2e-5


def check_one_metric(model, x=X, v=V, *, rtol=1e-12):
    """Norm, factor and spectrum are those of what the model computes, in every call."""
    metric = PullbackMetric(model)
    for _ in range(4):
        norm = metric.norm(x, v)
    expected = (metric.factor(x) @ v.flatten(1)[..., None])[..., 0].norm(dim=1)
    torch.testing.assert_close(norm, expected, rtol=rtol, atol=0.0)
    torch.testing.assert_close(norm, by_differences(model, x, v), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(metric.inner_product(x, v, v), norm.square(), rtol=rtol, atol=0.0)
    spectrum = metric.spectrum(x)
    along = (spectrum.vectors * v[:, None]).flatten(2).sum(2)
    torch.testing.assert_close((spectrum.values * along**2).sum(1), norm**2, rtol=1e-9, atol=0.0)


# ---------------------------------------------------------------- derivatives


@torch.jit.script
def compiled(h):
    return h * torch.sigmoid(1.7 * h) + torch.tanh(h)


class Cube(torch.autograd.Function):
    """x^3 whose backward cannot be differentiated, and without a forward mode."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 3.0 * x**2 * gradient


class Hooked(nn.Module):
    def __init__(self, hook):
        super().__init__()
        self.activation = nn.Tanh()
        self.activation.register_full_backward_hook(hook)

    def forward(self, x):
        return LAST(self.activation(FIRST(x)))


@pytest.mark.parametrize(
    "model",
    [
        lambda x: LAST(compiled(FIRST(x))),
        lambda x: LAST(compiled(FIRST(x))) + x[:, :3] ** 2,  # forward mode loses one term
        Hooked(lambda module, before, after: None),
        lambda x: LAST(Cube.apply(0.3 * FIRST(x))),
        lambda x: LAST(FIRST(x).relu()),
        lambda x: LAST(FIRST(x).tanh()) - LAST(FIRST(x).tanh()).amax(1, keepdim=True).detach(),
        lambda x: torch.fft.rfft(LAST(FIRST(x).tanh())).abs(),
    ],
)
def test_norm_factor_and_spectrum_are_of_one_metric(model):
    check_one_metric(model)


def without_gradients(x):
    h = FIRST(x)
    with torch.no_grad():
        gate = torch.sigmoid(h)
    return LAST(h * gate)


def gradients_switched_off(x):
    h = FIRST(x)
    with torch.set_grad_enabled(False):
        gate = torch.sigmoid(h)
    return LAST(h * gate)


def with_a_hook_on_a_tensor(x):
    h = FIRST(x)
    if h.requires_grad:
        h.register_hook(lambda gradient: 0.5 * gradient)
    return LAST(h.tanh())


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


WRONG = {
    "no_grad": without_gradients,
    "set_grad_enabled": gradients_switched_off,
    "detach": lambda x: LAST(FIRST(x) * torch.sigmoid(FIRST(x)).detach()),
    "backward hook": Hooked(lambda module, before, after: (0.3 * before[0],)),
    "tensor hook": with_a_hook_on_a_tensor,
    "own backward": lambda x: LAST(Reversed.apply(FIRST(x)).tanh()),
    "straight through": lambda x: LAST(FIRST(x) + (FIRST(x).sign() - FIRST(x)).detach()),
}


@pytest.mark.parametrize("name", WRONG)
def test_gradients_that_are_not_the_derivative_are_refused(name):
    metric = PullbackMetric(WRONG[name])
    message = (
        r"have gradients that are the derivatives of what it computes: along a random .*no_grad"
    )
    for call in (metric.factor, metric.log_spectrum, lambda x: metric.norm(x, V)):
        with pytest.raises(ValueError, match=message):
            call(X)
    with pytest.raises(ValueError, match=message):
        robustness.trace_penalty(WRONG[name], X)


def test_without_checks_norm_and_factor_are_still_of_one_metric():
    metric = PullbackMetric(without_gradients, check=False)
    expected = (metric.factor(X) @ V[..., None])[..., 0].norm(dim=1)
    torch.testing.assert_close(metric.norm(X, V), expected, rtol=1e-12, atol=0.0)


def test_a_hook_that_comes_later_is_seen():
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh()).double()
    PullbackMetric(model).factor(X)
    handle = model[1].register_full_backward_hook(lambda module, before, after: (2 * before[0],))
    with pytest.raises(ValueError, match="have gradients that are"):
        PullbackMetric(model).factor(X)
    handle.remove()
    PullbackMetric(model).factor(X)


SOUND = {
    "kinks at the inputs": (lambda x: torch.cat([x.relu(), x.abs()], 1), torch.zeros(2, 3)),
    "max-pool ties": (
        lambda x: functional.max_pool2d(x, 2).flatten(1), torch.zeros(2, 1, 4, 4),
    ),
    "a small domain": (lambda x: torch.logit(x), torch.full((2, 3), 0.999)),
    "positive inputs": (lambda x: x.log(), torch.full((2, 3), 1e-30)),
    "steep": (lambda x: 1e20 * x, torch.full((2, 3), 1e-20)),
    "flat": (lambda x: (40.0 * x).tanh(), torch.ones(2, 3)),
    "steps": (lambda x: (1e6 * (x - 1.0)).tanh(), torch.ones(2, 3)),
    "waves": (lambda x: (3000.0 * x).sin(), torch.rand(2, 3)),
    "masked classes": (
        lambda x: torch.cat([x, torch.full_like(x[:, :1], -torch.inf)], 1), torch.rand(2, 3),
    ),
    "constant": (lambda x: 0.0 * x, torch.rand(2, 3)),
    "large inputs": (lambda x: x / 1e30, 1e30 * torch.rand(2, 3)),
    "one input": (lambda x: x.tanh(), torch.rand(1, 3)),
    "many kinks": (lambda x: (x.repeat(1, 400) * torch.arange(1200)).sin().abs(), torch.rand(2, 3)),
    "a batch in the closure": (lambda x: x * torch.arange(1.0, 6.0)[:, None], torch.rand(5, 3)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [F32, F64, torch.bfloat16])
@pytest.mark.parametrize("name", SOUND)
def test_sound_models_are_not_refused(name, dtype):
    model, x = SOUND[name]
    x = x.to(dtype)
    if name in ("steep", "large inputs", "positive inputs") and dtype == torch.bfloat16:
        x = x.clamp(min=1e-6)
    if name == "a batch in the closure":
        model = lambda x, f=model: f(x.float())  # noqa: E731
    metric = PullbackMetric(model)
    if dtype == torch.bfloat16 and name == "a small domain":
        x = x.clamp(max=0.9)
    metric.norm(x, torch.ones_like(x))
    assert metric.factor(x).shape[0] == len(x)


# ---------------------------------------------------------------- samples


def counting():
    calls = []

    def model(x):
        calls.append(1)
        return x + 0.01 * len(calls)

    return model


MIXING = {
    "dropout": (lambda: lambda x: functional.dropout(x, 0.1, True), "always treat an input"),
    "noise": (lambda: lambda x: x + 0.01 * torch.randn_like(x), "always treat an input"),
    "memory": (counting, "always treat an input"),
    "mean of the batch": (lambda: lambda x: x - x.mean(0), "treat each input by itself"),
    "attention over the batch": (
        lambda: lambda x: torch.softmax(x @ x.mT, 1) @ x, "treat each input by itself",
    ),
    "norm of the batch": (
        lambda: lambda x: functional.batch_norm(x, None, None, training=True),
        "treat each input by itself",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize("dtype", [F32, F64])
def test_models_that_mix_samples_or_are_random_are_refused(name, dtype, tmp_path):
    make, message = MIXING[name]
    x = torch.randn(5, 8, dtype=dtype, generator=torch.Generator().manual_seed(3))
    calls = [
        lambda: check_independent(make(), x),
        lambda: PullbackMetric(make()).distance(x[:2], x[2:4], num_segments=2),
        lambda: PullbackMetric(make()).segment_length(x[:2], x[2:4]),
        lambda: PullbackMetric(make()).factor(x),
        lambda: PullbackMetric(make()).norm(x, x),
        lambda: smoothing.votes(make(), x, std=0.1, num_samples=5),
        lambda: pullback.scan(
            make(), x.split(2), quantities={"o": pullback.quantities.outputs}, out=tmp_path
        ),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()


def test_a_context_in_a_closure_is_pointed_out():
    context = torch.randn(5, 4, dtype=F64)
    metric = PullbackMetric(lambda x: (x + context).tanh())
    x = torch.randn(5, 4, dtype=F64)
    assert metric.factor(x).shape == (5, 3, 4)  # of the batch itself
    for call in (lambda: check_independent(metric.model, x), lambda: metric.segment_length(x, -x)):
        with pytest.raises(ValueError, match=r"model\(x\[:4\]\) fails, .* goes into inputs="):
            call()
    check_independent(lambda x, c: (x + c).tanh(), x, inputs=context)


def test_one_input_is_compared_with_another_one():
    with pytest.raises(ValueError, match="treat each input by itself"):
        check_independent(lambda x: x - x.mean(0), X[:1])


@pytest.mark.parametrize("dtype", [F32, torch.float16, torch.bfloat16])
def test_rounding_is_no_mixing(dtype):
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(8)))
    x = torch.randn(17, 64).to(dtype)
    check_independent(net.to(dtype), x)
    check_independent(lambda x: 1e4 * net(x).softmax(1), x)
    if dtype == torch.bfloat16:
        with torch.autocast("cpu", torch.bfloat16):
            check_independent(net.float(), x.float())

        def cast_inside(x):
            with torch.autocast("cpu", torch.bfloat16):
                return net(x).float()

        check_independent(cast_inside, x.float())
        PullbackMetric(cast_inside).factor(x.float())


# ---------------------------------------------------------------- training mode, wherever it hides


NORM = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).double()


class Callable:
    def __init__(self, net):
        self.net = net

    def __call__(self, x):
        return self.net(x)

    def predict(self, x):
        return self.net(x)


class Slotted:
    __slots__ = ("nets",)

    def __init__(self, net):
        self.nets = {"only": [net]}

    def __call__(self, x):
        return self.nets["only"][0](x)


def through_a_global(x):
    return next(net(x) for net in (NORM,))


def through_another_function(x):
    return through_a_global(x)


def closing_over(net):
    return lambda x: net(x)


@torch.no_grad()
def decorated(x):
    return NORM(x)


HIDDEN = {
    "lambda": lambda: closing_over(NORM),
    "global": lambda: through_a_global,
    "helper": lambda: through_another_function,
    "default": lambda: lambda x, net=NORM: net(x),
    "partial": lambda: functools.partial(lambda net, x: net(x), NORM),
    "partial by name": lambda: functools.partial(lambda x, net: net(x), net=NORM),
    "callable object": lambda: Callable(NORM),
    "slots": lambda: Slotted(NORM),
    "bound method": lambda: Callable(NORM).predict,
    "method of the network": lambda: NORM.forward,
    "decorator": lambda: decorated,
    "wrapped twice": lambda: functools.partial(closing_over(Callable(NORM).predict)),
    "compiled by TorchScript": lambda: closing_over(SCRIPTED),
}
SCRIPTED = torch.jit.script(NORM)


@pytest.mark.parametrize("name", HIDDEN)
def test_training_mode_is_found_before_anything_changes(name, tmp_path):
    model, net = HIDDEN[name](), SCRIPTED if "Script" in name else NORM
    assert net.train().training
    before = {key: value.clone() for key, value in net.state_dict().items()}
    calls = [
        lambda: PullbackMetric(model).norm(X, V),
        lambda: PullbackMetric(model).output_distance(X, V),
        lambda: check_differentiable(model, X),
        lambda: check_independent(model, X),
        lambda: smoothing.votes(model, X, std=1.0, num_samples=2),
        lambda: pullback.scan(model, X.split(1), out=tmp_path),
        lambda: robustness.spectral_attack(model, X, radius=1.0),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"BatchNorm1d '1' is in training mode\. Call"):
            call()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    net.eval()
    assert smoothing.votes(model, X, std=1.0, num_samples=2).sum() == 6


def test_other_networks_around_do_no_harm():
    net, other = NORM.eval(), nn.Dropout(0.5)
    assert other.training
    PullbackMetric(lambda x: net(x)).factor(X)


# ---------------------------------------------------------------- TorchScript, complex numbers


def kinked_net(dtype):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 3)).to(dtype).eval()


COMPILED = {
    "script": lambda net, x: torch.jit.script(net),
    "frozen": lambda net, x: torch.jit.freeze(torch.jit.script(net)),
    "trace": torch.jit.trace,
    "optimised": lambda net, x: torch.jit.optimize_for_inference(torch.jit.script(net)),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_networks_are_measured_as_plain_ones(name, tmp_path):
    net, x = kinked_net(F32), X.float()
    model = COMPILED[name](net, x)
    plain, metric = PullbackMetric(net), PullbackMetric(model)
    for _ in range(3):
        torch.testing.assert_close(metric.norm(x, x), plain.norm(x, x), rtol=1e-5, atol=0.0)
        torch.testing.assert_close(metric.trace(x), plain.trace(x), rtol=1e-5, atol=0.0)
    found = check_differentiable(model, torch.cat([x, 0.0 * x]))
    assert found.is_differentiable.tolist() == [True] * 3 + [False] * 3
    scan = pullback.scan(model, x.split(2), out=tmp_path)
    torch.testing.assert_close(
        torch.as_tensor(scan.column("log_eigenvalues")), plain.log_spectrum(x), rtol=1e-5, atol=1e-5
    )
    other = kinked_net(F32)
    with torch.no_grad():
        other[0].weight += 1e-3
    with pytest.raises(ValueError, match=r"other settings: (weights|model) was"):
        pullback.scan(COMPILED[name](other, x), x.split(2), out=tmp_path)


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x * torch.arange(15.0).reshape(5, 3),
        lambda x: functional.batch_norm(x, None, None, training=True),
    ],
    ids=["closure", "batch norm"],
)
@pytest.mark.parametrize(
    "measure",
    [lambda f, x: PullbackMetric(f).trace(x), check_differentiable],
    ids=["trace", "kinks"],
)
def test_what_cannot_take_one_input_alone_is_said_to_mix(measure, mix):
    with pytest.raises(ValueError, match="model must treat each input by itself"):
        measure(lambda x: mix(x), torch.rand(5, 3))


def in_place(net):
    """Compile one layer of a network."""
    net[0].compile(backend="aot_eager")
    return net


@pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="needs torch 2.6")
@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: torch.compile(net, backend="aot_eager"),
        lambda net: functools.partial(lambda f, x: f(x), torch.compile(net, backend="aot_eager")),
        lambda net: torch.compile(lambda x: net(x), backend="aot_eager"),
        in_place,
    ],
    ids=["network", "behind a function", "function", "layer"],
)
def test_what_torch_compile_made_is_measured_as_it_was_written(wrap):
    net, v = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3)).eval(), torch.ones(5, 4)
    x = torch.linspace(-1.0, 1.0, 20).reshape(5, 4)
    plain = PullbackMetric(lambda x: net[2](torch.nn.functional.gelu(net[0](x))))
    expected = [plain.log_spectrum(x), plain.norm(x, v)]
    compiled = PullbackMetric(wrap(net))
    torch.testing.assert_close([compiled.log_spectrum(x), compiled.norm(x, v)], expected)


@pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="needs torch 2.6")
def test_what_compiles_elsewhere_compiles_again_after_a_measurement():
    runs = []

    def backend(graph, example_inputs):
        runs.append(len(example_inputs))
        return graph.forward

    net = torch.compile(nn.Linear(4, 3).eval(), backend=backend)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(PullbackMetric(net).log_spectrum, [torch.rand(2, 4) for _ in range(16)]))
    assert not runs
    with torch.no_grad():
        net(torch.rand(2, 4))
    assert len(runs) == 1


def test_frozen_lipschitz_networks_can_be_compiled():
    torch.manual_seed(0)
    net = nn.Sequential(
        *(layers.OrthogonalLinear(4, 4), layers.GroupSort(), layers.OrthogonalLinear(4, 4)),
        *(layers.GroupSort(4), layers.FullSort(), layers.AbsoluteValue(), layers.NormPool(2)),
    )
    frozen = layers.freeze(net)
    x = torch.randn(5, 4)
    assert torch.equal(torch.jit.script(frozen)(x), frozen(x))


def test_complex_intermediates_have_kinks_like_others():
    def model(x):
        return torch.view_as_real(torch.fft.fft(x)).flatten(1).relu()

    x = torch.stack([X[0], torch.zeros(4, dtype=F64)])
    assert check_differentiable(model, x).is_differentiable.tolist() == [True, False]
    for smooth in (
        lambda x: torch.fft.rfft(x).abs(),
        lambda x: torch.sgn(x + 1j * x.flip(1)).real,
        lambda x: torch.linalg.vector_norm(x + 1j, 1, dim=1, keepdim=True),
    ):
        assert check_differentiable(smooth, X).is_differentiable.all()
    largest = check_differentiable(
        lambda x: torch.linalg.vector_norm(x + 1j, torch.inf, dim=1), torch.ones(1, 2)
    )
    assert not largest.is_differentiable.any()


class Spectral(nn.Module):
    """Complex weights between real inputs and outputs, as in Fourier neural operators."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        self.weight = nn.Parameter(torch.randn(3, 3, dtype=torch.complex128, generator=generator))

    def forward(self, x):
        return torch.fft.irfft(torch.fft.rfft(x) @ self.weight, n=4).tanh()


def test_complex_weights_between_real_ends_are_measured_in_full():
    check_one_metric(Spectral())


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (X + 0j, r"complex128\. Use torch\.view_as_real\(x\), and for the model"),
        (torch.ones(2, 4, dtype=torch.int64), r"torch.int64.*split the model after its embedding"),
        (torch.ones(2, 4, dtype=torch.bool), r"torch\.bool\. Use x\.float\(\)"),
    ],
)
def test_inputs_that_are_complex_or_whole_are_refused(x, message):
    model = nn.Linear(4, 3)
    for call in (
        PullbackMetric(model).factor,
        PullbackMetric(model).boundary_distance,
        lambda x: check_differentiable(model, x),
        lambda x: check_independent(model, x),
        lambda x: smoothing.votes(model, x, std=1.0, num_samples=1),
        lambda x: robustness.spectral_attack(model, x, radius=1.0),
    ):
        with pytest.raises(TypeError, match=message):
            call(x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda x: torch.fft.fft(x), r"return a floating-point tensor .* torch\.complex128"),
        (nn.Linear(4, 3, dtype=torch.complex128), "model has complex parameters"),
    ],
)
def test_models_with_complex_ends_are_refused(model, message):
    for call in (PullbackMetric(model).factor, PullbackMetric(model).boundary_distance):
        with pytest.raises(TypeError, match=message):
            call(X)
