"""Parametrisations, layers without weights, operator norms and Jacobians against dense oracles."""

import copy
import itertools
import math

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import brentq, minimize

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, parametrize  # noqa: E402

from infogeo.lipschitz import layers  # noqa: E402

SHAPES = [(7, 7), (64, 20), (20, 64), (1, 5), (5, 1), (1, 1)]
DTYPES = [torch.float32, torch.float64]
PRECISION = {torch.float32: 2e-6, torch.float64: 2e-14}
ORTHOGONAL = [layers.QR, layers.Cayley, layers.Bjorck]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(11)


def gram_error(weight):
    """Return the largest entry of W'W - 1 (or WW' - 1) in float64, by numpy."""
    w = weight.detach().numpy().astype(np.float64)
    gram = w @ w.T if w.shape[0] < w.shape[1] else w.T @ w
    return np.abs(gram - np.eye(len(gram))).max()


def orthogonal_net(*sizes, dtype=torch.float64, parametrization=layers.QR, activation=None):
    modules = []
    for i, (width, height) in enumerate(itertools.pairwise(sizes)):
        modules += [activation or layers.GroupSort()] if i else []
        modules += [
            layers.OrthogonalLinear(width, height, dtype=dtype, parametrization=parametrization)
        ]
        nn.init.normal_(modules[-1].bias)
    return nn.Sequential(*modules)


# ---------------------------------------------------------------- Cayley


@pytest.mark.parametrize("scale", [1e-8, 1.0, 30.0])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_cayley_is_orthogonal(shape, dtype, scale):
    q = layers.Cayley()(scale * torch.randn(shape, dtype=dtype))
    assert q.dtype == dtype
    assert q.shape == shape
    assert gram_error(q) < PRECISION[dtype] * max(1.0, scale**2)


def test_cayley_of_any_matrix_exists():
    for weight in (torch.zeros(4, 4), torch.ones(5, 3), torch.zeros(3, 5), -torch.eye(3)):
        assert gram_error(layers.Cayley()(weight.double())) < 1e-14


def test_cayley_against_the_definition():
    w = torch.randn(6, 6, dtype=torch.float64).numpy()
    a = w - w.T
    expected = (np.eye(6) - a) @ scipy.linalg.inv(np.eye(6) + a)
    np.testing.assert_allclose(layers.Cayley()(torch.from_numpy(w)).numpy(), expected, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*SHAPES, (2, 5, 3), (2, 3, 4, 4)])
def test_cayley_reaches_every_orthogonal_matrix(shape, dtype):
    tall = torch.randn(*shape[:-2], max(shape[-2:]), min(shape[-2:]), dtype=torch.float64)
    q = torch.linalg.qr(tall).Q
    q = (q if shape[-2] >= shape[-1] else q.mT).to(dtype)
    for target in (q, -q):
        cayley = layers.Cayley()
        found = cayley(cayley.right_inverse(target))
        assert float((found - target).abs().max()) < 20 * PRECISION[dtype]


@pytest.mark.parametrize("matrix", [-torch.eye(4), torch.eye(4)[[1, 0, 3, 2]], torch.eye(3, 4)])
def test_cayley_reaches_those_with_the_eigenvalue_minus_one(matrix):
    cayley = layers.Cayley()
    raw = cayley.right_inverse(matrix.double())
    assert float(raw.abs().max()) <= 1.0
    torch.testing.assert_close(cayley(raw), matrix.double(), atol=1e-15, rtol=0)


def test_cayley_takes_the_orthogonal_factor_of_other_matrices():
    weight = torch.randn(5, 3, dtype=torch.float64)
    cayley = layers.Cayley()
    torch.testing.assert_close(cayley(cayley.right_inverse(weight)), layers.QR()(weight))


def test_signs_of_cayley_are_part_of_the_state():
    layer = layers.OrthogonalLinear(4, 4, parametrization=layers.Cayley)
    assert set(layer.state_dict()) == {
        "bias", "parametrizations.weight.original", "parametrizations.weight.0.signs",
    }  # fmt: skip
    assert [name for name, _ in layer.named_parameters()] == [
        "bias",
        "parametrizations.weight.original",
    ]


# ---------------------------------------------------------------- Bjorck, Parseval


@pytest.mark.parametrize("shape", [(7, 7), (30, 20), (20, 30)])
def test_bjorck_finds_the_polar_factor(shape):
    weight = torch.randn(shape, dtype=torch.float64) * 1e3
    expected, _ = scipy.linalg.polar(
        weight.numpy(), side="right" if shape[0] >= shape[1] else "left"
    )
    found = layers.Bjorck(60)(weight)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@given(hnp.arrays(np.float64, (5, 4), elements=st.floats(-10, 10)), st.integers(1, 12))
def test_bjorck_is_1_lipschitz_after_any_number_of_steps(weight, num_steps):
    found = layers.Bjorck(num_steps)(torch.from_numpy(weight))
    assert np.linalg.norm(found.numpy(), 2) <= 1 + 1e-14


@pytest.mark.parametrize("size", [1e-42, 1e-30, 1e30])
def test_bjorck_of_matrices_of_any_size(size):
    weight = torch.tensor([[2.0, 1.0], [0.0, 1.0]])
    assert torch.allclose(layers.Bjorck()(size * weight), layers.Bjorck()(weight), atol=1e-2)


def test_bjorck_of_zero_is_zero_and_training_goes_on():
    weight = torch.zeros(3, 2, requires_grad=True)
    found = layers.Bjorck()(weight)
    found.sum().backward()
    assert not found.any()
    assert torch.isfinite(weight.grad).all()
    assert weight.grad.all()


@pytest.mark.parametrize(
    ("start", "limit"), [(0.01, 1.0), (1.0, 1.0), (1.73, 1.0), (1.74, -1.0), (2.1, -1.0)]
)
def test_where_the_iteration_converges_to(start, limit):
    s = torch.tensor([[start]], dtype=torch.float64)
    for _ in range(80):
        s = layers.parseval_step(s, beta=0.5)
    assert s.item() == pytest.approx(limit, abs=1e-12)


def test_where_the_iteration_flips_and_diverges():
    def step(s):
        return s * (3 - s * s) / 2

    flip = brentq(lambda s: step(s) + math.sqrt(3.0), 2.0, 2.2)  # lands on -sqrt 3, and then on 0
    u = (math.sqrt(3.0) + math.sqrt(2.0)) ** (1.0 / 3.0)  # Cardano: w^3 - 3 w - 2 sqrt 3 = 0
    assert flip == pytest.approx(u + 1.0 / u, rel=1e-12)
    assert flip == pytest.approx(2.14776, abs=5e-6)
    s = torch.tensor([[2.24]], dtype=torch.float64)  # above sqrt 5, which lands on -sqrt 5
    for _ in range(7):
        s = layers.parseval_step(s, beta=0.5)
    assert abs(s.item()) > 1e6


@pytest.mark.parametrize("beta", [0.0, 1e-3, 0.3])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5)])
def test_parseval_step_moves_singular_values_only(shape, beta):
    weight = torch.randn(shape, dtype=torch.float64)
    u, s, v = np.linalg.svd(weight.numpy(), full_matrices=False)
    expected = u @ np.diag(s + beta * (s - s**3)) @ v
    np.testing.assert_allclose(
        layers.parseval_step(weight, beta=beta).numpy(), expected, atol=1e-13
    )


# ---------------------------------------------------------------- L1Projection


def nearest_in_l1_ball(row):
    """Bisect the threshold: the projection is the soft threshold that makes the l1 norm 1."""
    size = np.abs(row)
    if size.sum() <= 1.0:
        return row
    threshold = brentq(lambda t: np.maximum(size - t, 0.0).sum() - 1.0, 0.0, size.max(), xtol=1e-16)
    return np.sign(row) * np.maximum(size - threshold, 0.0)


@given(hnp.arrays(np.float64, (3, 6), elements=st.floats(-4, 4)))
def test_l1_projection_against_bisection(weight):
    found = layers.L1Projection()(torch.from_numpy(weight)).numpy()
    expected = np.stack([nearest_in_l1_ball(row) for row in weight])
    np.testing.assert_allclose(found, expected, atol=1e-13)


def test_l1_projection_is_the_nearest_point():
    weight = torch.randn(6, dtype=torch.float64)[None]
    found = layers.L1Projection()(weight)[0]
    others = torch.randn(4000, 6, dtype=torch.float64)
    others = others / others.abs().sum(-1, keepdim=True)
    others = torch.cat((others, found + 0.01 * (others - found)))
    assert bool(((others - weight).norm(dim=-1) >= (found - weight).norm()).all())


@pytest.mark.parametrize("dtype", DTYPES)
def test_l1_projection_closed_cases(dtype):
    weight = torch.tensor(
        [[1e20, -1.0, 0.0], [0.25, -0.5, 0.25], [1.0, 1.0, 1.0], [-3.0, 0.0, 0.0], [0, 0, 0]],
        dtype=dtype,
    )
    expected = [[1, 0, 0], [0.25, -0.5, 0.25], [1 / 3] * 3, [-1, 0, 0], [0, 0, 0]]
    found = layers.L1Projection()(weight)
    assert found.dtype == dtype
    torch.testing.assert_close(found, torch.tensor(expected, dtype=dtype))
    assert bool(layers.L1Projection()(weight[:1] * math.nan).isnan().all())
    inside = weight[[1, 4]]
    assert torch.equal(layers.L1Projection()(inside), inside)


def test_networks_in_the_maximum_norm():
    net = nn.Sequential(nn.Linear(6, 8), layers.GroupSort(), nn.Linear(8, 4)).double()
    for layer in (net[0], net[2]):
        parametrize.register_parametrization(layer, "weight", layers.L1Projection())
    frozen = layers.freeze(net, order=math.inf)
    for layer in (frozen[0], frozen[2]):
        assert max(math.fsum(row) for row in layer.weight.abs().tolist()) <= 1.0
    assert layers.lipschitz_bound(frozen, order=math.inf) <= 1.0
    x, y = torch.randn(2, 500, 6, dtype=torch.float64)
    torch.testing.assert_close(frozen(x), net(x).detach())
    moved = (frozen(x) - frozen(y)).abs().amax(-1)
    assert bool((moved <= (x - y).abs().amax(-1) * (1 + 1e-14)).all())


# ---------------------------------------------------------------- all parametrisations


@pytest.mark.parametrize("parametrization", [layers.Cayley, layers.Bjorck, layers.L1Projection])
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4)])
def test_derivatives_against_finite_differences(shape, parametrization):
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    function = parametrization() if parametrization is not layers.Bjorck else layers.Bjorck(4)
    assert torch.autograd.gradcheck(function, weight, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, weight)


@pytest.mark.parametrize("parametrization", [*ORTHOGONAL, layers.L1Projection])
def test_parametrisations_under_functional_transforms(parametrization):
    function = parametrization()
    batch = torch.randn(3, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(
        torch.vmap(function)(batch), torch.stack([function(w) for w in batch])
    )
    torch.testing.assert_close(function(batch), torch.vmap(function)(batch))
    reverse = torch.vmap(torch.func.jacrev(function))(batch)
    torch.testing.assert_close(torch.vmap(torch.func.jacfwd(function))(batch), reverse)

    def value(weight):
        return (function(weight) ** 3).sum()

    hessian = torch.func.hessian(value)(batch[0]).reshape(12, 12)
    step = 1e-5 * torch.randn(4, 3, dtype=torch.float64)
    slope = torch.func.grad(value)(batch[0] + step) - torch.func.grad(value)(batch[0] - step)
    torch.testing.assert_close(
        hessian @ step.reshape(-1), slope.reshape(-1) / 2, atol=1e-11, rtol=1e-5
    )


@pytest.mark.parametrize("parametrization", ORTHOGONAL)
def test_networks_under_functional_transforms(parametrization):
    net = orthogonal_net(6, 8, 8, 3, parametrization=parametrization)
    x = torch.randn(5, 6, dtype=torch.float64)
    jacobians = torch.vmap(torch.func.jacrev(net))(x)
    torch.testing.assert_close(torch.vmap(torch.func.jacfwd(net))(x), jacobians)
    hessians = torch.vmap(torch.func.hessian(lambda x: net(x).square().sum()))(x)
    torch.testing.assert_close(hessians, 2 * jacobians.mT @ jacobians)
    state = dict(net.named_parameters()) | dict(net.named_buffers())
    value = torch.func.grad(lambda s: torch.func.functional_call(net, s, (x,)).square().mean())
    net(x).square().mean().backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(value(state)[name], parameter.grad)
    copies = [orthogonal_net(6, 8, 3, parametrization=parametrization) for _ in range(3)]
    stacked = torch.func.stack_module_state(copies)
    outputs = torch.vmap(lambda *s: torch.func.functional_call(copies[0], s, (x,)))(*stacked)
    torch.testing.assert_close(outputs, torch.stack([member(x) for member in copies]))


@pytest.mark.parametrize("parametrization", [layers.QR, layers.Cayley])
def test_networks_are_copied_saved_and_compiled(parametrization):
    net = orthogonal_net(6, 8, 3, parametrization=parametrization)
    x = torch.randn(5, 6, dtype=torch.float64)
    assert torch.equal(copy.deepcopy(net)(x), net(x))
    other = orthogonal_net(6, 8, 3, parametrization=parametrization)
    assert not torch.equal(other(x), net(x))
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x), net(x))
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), net(x))
    (compiled_gradient,) = torch.autograd.grad(compiled(x).sum(), net[0].bias)
    (gradient,) = torch.autograd.grad(net(x).sum(), net[0].bias)
    torch.testing.assert_close(compiled_gradient, gradient)


@pytest.mark.parametrize("parametrization", ORTHOGONAL)
@pytest.mark.parametrize("dtype", DTYPES)
def test_frozen_layers_are_strict(parametrization, dtype):
    net = orthogonal_net(30, 40, 20, 7, dtype=dtype, parametrization=parametrization)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        net(torch.randn(20, 30, dtype=dtype)).square().sum(-1).mean().backward()
        optimizer.step()
    frozen = layers.freeze(net)
    for layer in frozen[::2]:
        values = np.linalg.svd(layer.weight.double().numpy(), compute_uv=False)
        assert values.max() <= 1.0
        assert values.min() > 1.0 - 3 * PRECISION[dtype]
    x = torch.randn(50, 30, dtype=dtype)
    torch.testing.assert_close(frozen(x), net(x).detach(), atol=3e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("parametrization", "activation"),
    [
        (layers.QR, layers.FullSort()),
        (layers.Cayley, layers.GroupSort(4)),
        (layers.Bjorck, layers.AbsoluteValue()),
    ],
)
def test_gradient_norms_are_preserved_in_float32(parametrization, activation):
    net = orthogonal_net(
        64, 64, 32, 10, dtype=torch.float32, parametrization=parametrization, activation=activation
    )
    spectrum = layers.jacobian_spectrum(layers.freeze(net), torch.randn(1000, 64))
    assert spectrum.shape == (1000, 10)
    assert spectrum.dtype == torch.float32
    assert float((spectrum - 1.0).abs().max()) < 1e-6


# ---------------------------------------------------------------- layers without weights


def test_activations_against_numpy():
    x = torch.randn(2, 3, 12, dtype=torch.float64)
    np.testing.assert_array_equal(layers.FullSort()(x), np.sort(x.numpy(), axis=-1))
    np.testing.assert_array_equal(layers.AbsoluteValue()(x), np.abs(x.numpy()))
    np.testing.assert_array_equal(layers.Scaling(-3)(x), -3.0 * x.numpy())
    expected = np.linalg.norm(x.numpy().reshape(2, 3, 4, 3), axis=-1)
    np.testing.assert_allclose(layers.NormPool(3)(x), expected, rtol=1e-15)


def test_norm_pool_at_the_ends_of_the_range():
    for scale in (1e-30, 1e30):
        x = torch.tensor([3.0, 4.0]) * scale
        assert layers.NormPool(2)(x).item() == pytest.approx(5 * scale, rel=1e-6)
    x = torch.tensor([0.0, 0.0, 3.0, 4.0], requires_grad=True)
    layers.NormPool(2)(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([0.0, 0.0, 0.6, 0.8]))


def test_norm_pool_has_second_derivatives_at_zero_too():
    x = torch.tensor([0.0, 0.0, 3.0, 4.0], requires_grad=True)
    (slope,) = torch.autograd.grad(layers.NormPool(2)(x).sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope @ torch.ones(4), x)
    # The Hessian of the norm is (1 - u u') / |x|, u = x / |x|.
    torch.testing.assert_close(curvature, torch.tensor([0.0, 0.0, 0.16, -0.12]) / 5.0)


def test_absolute_value_preserves_gradients_at_zero_too():
    x = torch.tensor([-2.0, 0.0, 3.0])
    assert torch.equal(
        torch.func.jacrev(layers.AbsoluteValue())(x), torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    )


@pytest.mark.parametrize("order", [1, 2, math.inf])
@pytest.mark.parametrize(
    ("layer", "constants"),
    [
        (layers.FullSort(), (1, 1, 1)),
        (layers.GroupSort(3), (1, 1, 1)),
        (layers.AbsoluteValue(), (1, 1, 1)),
        (layers.Scaling(-2.5), (2.5, 2.5, 2.5)),
        (layers.NormPool(3), (1, 1, math.sqrt(3))),
    ],
    ids=repr,
)
def test_constants_hold_and_are_attained(layer, constants, order):
    constant = constants[(1, 2, math.inf).index(order)]
    assert layers.lipschitz_bound(layer, order=order) == constant
    x = torch.randn(3000, 6, dtype=torch.float64)
    x[0] = 1.0  # where the norm of a group moves most in the maximum norm
    step = 1e-3 * torch.randn(3000, 6, dtype=torch.float64).sign()
    step[0] = 1e-3
    step[1::2] *= torch.nn.functional.one_hot(torch.arange(1500) % 6, 6)
    moved = torch.linalg.vector_norm(layer(x + step) - layer(x), order, dim=-1)
    ratio = moved / torch.linalg.vector_norm(step, order, dim=-1)
    assert constant * (1 - 0.1) < float(ratio.max()) <= constant * (1 + 1e-9)


# ---------------------------------------------------------------- operator norms


def largest_stretch(weight, p, q):
    """Return |W|_pq by local maximisation from many starts, by scipy."""
    rng = np.random.default_rng(3)

    def stretch(x):
        return -np.linalg.norm(weight @ x, q) / np.linalg.norm(x, p)

    starts = [*rng.normal(size=(30, weight.shape[1])), *np.eye(weight.shape[1])]
    starts += [np.array(signs) for signs in itertools.product([-1.0, 1.0], repeat=weight.shape[1])]
    found = [minimize(stretch, x, method="Nelder-Mead", options={"maxiter": 2000}) for x in starts]
    return max(-result.fun for result in found)


@pytest.mark.parametrize(
    ("p", "q"),
    [(1, 1), (1, 2), (1, 3.5), (1, math.inf), (2, math.inf), (3, math.inf),
     (math.inf, math.inf), (2, 2)],
)  # fmt: skip
def test_operator_norms_are_attained(p, q):
    weight = torch.randn(2, 4, 3, dtype=torch.float64)
    norms = layers.operator_norm(weight, domain_order=p, codomain_order=q)
    assert norms.shape == (2,)
    assert norms[0].item() == pytest.approx(largest_stretch(weight[0].numpy(), p, q), rel=1e-4)
    x = torch.randn(5000, 3, dtype=torch.float64)
    stretch = torch.linalg.vector_norm(x @ weight[0].mT, q, dim=-1)
    assert bool((stretch <= norms[0] * torch.linalg.vector_norm(x, p, dim=-1) * (1 + 1e-13)).all())


def test_lipschitz_bounds_of_other_orders():
    net = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 5), layers.NormPool(5)).double()
    first, second = (net[i].weight.detach().numpy() for i in (0, 2))
    for order, pool in ((1, 1.0), (math.inf, math.sqrt(5.0))):
        expected = np.linalg.norm(first, order) * np.linalg.norm(second, order) * pool
        assert layers.lipschitz_bound(net, order=order) == pytest.approx(expected, rel=1e-14)


# ---------------------------------------------------------------- Jacobians


def test_jacobian_spectrum_against_finite_differences():
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        spectrum = layers.jacobian_spectrum(net, x, chunk_size=3)
        steps = 1e-6 * torch.eye(6, dtype=torch.float64).reshape(6, 2, 3)
        for point, values in zip(x, spectrum, strict=True):
            jacobian = (net(point + steps) - net(point - steps)).T.numpy() / 2e-6
            expected = np.linalg.svd(jacobian, compute_uv=False)
            np.testing.assert_allclose(values, expected, atol=1e-9)
    wide = nn.Linear(3, 8)
    expected = torch.linalg.svdvals(wide.weight.detach())
    torch.testing.assert_close(layers.jacobian_spectrum(wide, torch.randn(2, 3))[1], expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_norms_and_spectra_of_half_precision_are_float32(dtype):
    net = nn.Linear(4, 3).to(dtype)
    exact = np.linalg.svd(net.weight.detach().double().numpy(), compute_uv=False)
    for found in (
        layers.jacobian_spectrum(net, torch.ones(1, 4, dtype=dtype))[0, 0],
        layers.operator_norm(net.weight.detach()),
    ):
        assert found.dtype == torch.float32
        assert float(found) == pytest.approx(exact[0], rel=1e-6)
    assert layers.lipschitz_bound(net) == pytest.approx(exact[0], rel=1e-13)


# ---------------------------------------------------------------- convolutions


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(2, 3, 3, padding=1), (2, 5, 4)),
        (nn.Conv2d(2, 8, 3, stride=2, padding=1, padding_mode="circular"), (2, 6, 6)),
        (nn.Conv1d(3, 1, 4, dilation=2, bias=False), (3, 9)),
        (nn.Sequential(nn.Conv2d(1, 2, 2), nn.AvgPool2d(2)), (1, 5, 5)),
    ],
    ids=repr,
)
def test_convolutions_as_matrices(layer, shape):
    layer = layer.double()
    linear = layers.as_linear(layer, shape)
    x = torch.randn(4, *shape, dtype=torch.float64)
    torch.testing.assert_close(linear(x.flatten(1)), layer(x).flatten(1))
    moved = (layer(x) - layer(-x)).detach().flatten(1).norm(dim=-1) / (
        2 * x.flatten(1).norm(dim=-1)
    )
    assert float(moved.max()) <= layers.lipschitz_bound(linear)


def test_the_norm_of_a_circular_convolution_is_that_of_its_symbols():
    layer = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular").double()
    symbols = np.fft.fft2(layer.weight.detach().numpy(), (6, 6), axes=(2, 3)).transpose(2, 3, 0, 1)
    expected = np.linalg.norm(symbols, 2, axis=(-2, -1)).max()
    linear = layers.as_linear(layer, (3, 6, 6))
    assert layers.lipschitz_bound(linear) == pytest.approx(expected, rel=1e-13)


class Own(nn.Module):
    """A layer of the user's own."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, x):
        return self.function(x, self.weight)


def write_every_other(x, w):
    out = x.new_zeros(x.shape)
    out[:, ::2] = x[:, ::2]
    out += 1.0
    return out


def filter_circularly(x, w):
    return torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(w[0]), n=4)


AFFINE = [
    (nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(2)), (2, 6, 6)),
    (nn.Sequential(nn.ConvTranspose2d(2, 4, 3, stride=2), nn.PixelShuffle(2)), (2, 3, 3)),
    (nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.ReflectionPad2d(1)), (1, 3, 3)),
    (nn.Sequential(nn.Unflatten(1, (2, 2)), nn.ConstantPad1d(1, 3.0), nn.Flatten()), (4,)),
    (nn.Sequential(nn.Unfold(2), nn.Dropout()), (1, 3, 3)),
    (Own(lambda x, w: torch.einsum("bi,ij->bj", x, w) / 2 - x.mean(-1, keepdim=True)), (4,)),
    (Own(lambda x, w: torch.where(w[0] > 0.0, x, -x).flip(-1).cumsum(-1)[:, [0, 2]]), (4,)),
    (Own(write_every_other), (4,)),
    (Own(filter_circularly), (4,)),
]  # fmt: skip


@pytest.mark.parametrize("context", [torch.enable_grad, torch.inference_mode])
@pytest.mark.parametrize(("layer", "shape"), AFFINE, ids=range(len(AFFINE)))
def test_affine_layers_of_every_kind_as_matrices(layer, shape, context):
    layer.eval()
    with context(), torch.autocast("cpu"):
        linear = layers.as_linear(layer, shape)
    x = torch.randn(4, *shape)
    torch.testing.assert_close(linear(x.flatten(1)), layer(x).flatten(1), atol=1e-5, rtol=1e-5)


def far_from_its_kink():
    linear = nn.Linear(4, 4)
    nn.init.constant_(linear.bias, 1e6)
    return nn.Sequential(linear, nn.ReLU())


class Louder(nn.Linear):
    def __call__(self, x):
        return 5.0 * super().__call__(x)


class Thrice(nn.Sequential):
    def __iter__(self):
        return iter(3 * list(super().__iter__()))


def hooked():
    layer = nn.Linear(4, 4)
    layer.register_forward_hook(lambda module, inputs, output: 5.0 * output)
    return layer


def replaced(name):
    layer = nn.Linear(4, 4)
    setattr(layer, name, lambda x: 5.0 * nn.functional.linear(x, layer.weight))
    return layer


ONLY_LOOK_AFFINE = [
    (far_from_its_kink(), ValueError, "it takes aten.relu.default of what comes from its input."),
    (Own(lambda x, w: x.clamp(-1e6, 1e6)), ValueError, "aten.clamp"),
    (Own(lambda x, w: x if x.sum() < 1e9 else 2.0 * x), ValueError, "aten.lt"),
    (Own(lambda x, w: x + x * x / 1e30), ValueError, "aten.mul"),
    (Own(lambda x, w: w[0] / (x + 1e9)), ValueError, "aten.div"),
    (Own(lambda x, w: torch.div(x, 1e-9, rounding_mode="floor")), ValueError, "aten.div"),
    (Own(lambda x, w: (1e9 * x).long().float()), ValueError, "aten._to_copy"),
    (Own(lambda x, w: x.detach()), ValueError, "it differs from W x + b by"),
    (Own(lambda x, w: (x, x)), TypeError, "layer must return a tensor: it returned tuple."),
    (nn.BatchNorm1d(4), ValueError, "BatchNorm1d is in training mode. Call layer.eval() first."),
    (nn.BatchNorm1d(4, track_running_stats=False).eval(), ValueError,
     "BatchNorm1d has no running statistics and uses those of the batch in layer.eval(), too"),
    (nn.Sequential(hooked()), TypeError, "layer must have no forward hooks: '0' is a Linear"),
    (Louder(4, 4), TypeError, "it is a Louder with a __call__ of its own."),
    (replaced("forward"), TypeError, "it is a Linear whose forward was replaced."),
    (replaced("_call_impl"), TypeError, "it is a Linear whose _call_impl was replaced."),
    (nn.Linear(4, 4, dtype=torch.complex64), TypeError, "layer must have real weights"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "error", "message"), ONLY_LOOK_AFFINE)
def test_what_only_looks_affine_is_refused(layer, error, message):
    with pytest.raises(error) as caught:
        layers.as_linear(layer, (4,))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "layer",
    [hooked(), Louder(4, 4), replaced("forward"), replaced("_call_impl"), Thrice(nn.Linear(4, 4)),
     nn.Linear(4, 4, dtype=torch.complex64)],
)  # fmt: skip
def test_bounds_of_what_is_called_in_another_way_are_refused(layer):
    with pytest.raises(TypeError, match="model must"):
        layers.lipschitz_bound(layer)


def test_hooks_of_all_modules_are_refused():
    model = nn.Linear(4, 4)
    hook = torch.nn.modules.module.register_module_forward_hook(lambda module, x, y: 5.0 * y)
    try:
        for call in (layers.lipschitz_bound, lambda m: layers.as_linear(m, (4,))):
            with pytest.raises(TypeError, match="no forward hooks"):
                call(model)
    finally:
        hook.remove()


def conv():
    return nn.Conv2d(2, 3, 3, padding=1)


def from_orthogonium():
    aoc = pytest.importorskip("orthogonium.layers.conv.AOC")
    return aoc.AdaptiveOrthoConv2d(2, 4, 3, padding=1, padding_mode="circular")


def from_torchlip():
    return pytest.importorskip("deel.torchlip").SpectralConv2d(2, 4, 3, padding=1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: parametrizations.spectral_norm(conv()), (2, 6, 6)),
        (lambda: parametrizations.weight_norm(conv()), (2, 6, 6)),
        (lambda: nn.Sequential(parametrizations.spectral_norm(conv()), nn.Identity()), (2, 6, 6)),
        (lambda: parametrizations.spectral_norm(nn.Linear(4, 4)), (4,)),
        (lambda: parametrizations.orthogonal(nn.Linear(4, 4)), (4,)),
        (lambda: layers.OrthogonalLinear(4, 3), (4,)),
        (from_orthogonium, (2, 6, 6)),
        (from_torchlip, (2, 6, 6)),
    ],
)  # fmt: skip
def test_parametrised_layers_are_left_as_they_are(make, shape, training):
    layer = make().train(training)
    kind, copied = type(layer), copy.deepcopy(layer)
    state = copy.deepcopy(layer.state_dict())
    linear = layers.as_linear(layer, shape)
    if isinstance(layer, nn.Linear):
        layers.lipschitz_bound(layer)
    assert type(layer) is kind
    assert list(layer.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in layer.state_dict().items())
    x = torch.randn(2, *shape)
    y = layer.eval()(x)
    assert torch.equal(y, copied.eval()(x))
    torch.testing.assert_close(linear(x.flatten(1)), y.flatten(1), atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_convolutions_of_orthogonium_are_frozen():
    convolutions = pytest.importorskip("orthogonium.layers.conv.AOC")
    layer = convolutions.AdaptiveOrthoConv2d(2, 4, 3, padding=1, padding_mode="circular").eval()
    linear = layers.as_linear(layer, (2, 6, 6))
    frozen = layers.freeze(linear)
    values = np.linalg.svd(frozen.weight.double().numpy(), compute_uv=False)
    assert values.min() > 1.0 - 1e-5
    assert values.max() <= 1.0


@pytest.mark.filterwarnings("ignore")
def test_convolutions_of_torchlip_are_frozen():
    torchlip = pytest.importorskip("deel.torchlip")
    layer = torchlip.SpectralConv2d(2, 4, 3, padding=1).eval()
    layer(torch.zeros(1, 2, 6, 6))
    frozen = layers.freeze(layers.as_linear(layer.vanilla_export(), (2, 6, 6)))
    assert layers.lipschitz_bound(frozen) <= 1.0


# ---------------------------------------------------------------- bad arguments

W = torch.ones(3, 3)
IN_TRAINING = nn.Sequential(nn.BatchNorm1d(3))
BAD_ARGUMENTS = [
    (lambda: layers.Cayley()(W.half()), TypeError, "weight must be float32 or float64"),
    (lambda: layers.QR()(W.int()), TypeError, "weight must be float32 or float64"),
    (lambda: layers.Bjorck()(W + 1j), TypeError, "its dtype is torch.complex64"),
    (lambda: layers.Cayley()(W[0]), ValueError, "weight must be a matrix: got shape (3,)."),
    (lambda: layers.operator_norm(W * math.nan), ValueError, "weight must be finite"),
    (lambda: layers.jacobian_spectrum(nn.Linear(3, 2), W * math.nan), ValueError,
     "x must be finite"),
    (lambda: layers.jacobian_spectrum(lambda x: (x, x), W), TypeError,
     "model must return a tensor: it returned tuple."),
    (lambda: layers.jacobian_spectrum(nn.Linear(3, 2), W, chunk_size=0), ValueError,
     "chunk_size must be an integer, at least 1: got 0."),
    (lambda: layers.Bjorck(0), ValueError, "num_steps must be an integer, at least 1: got 0."),
    (lambda: layers.NormPool(2)(W), ValueError,
     "the input of NormPool must have a last axis that is a multiple of group_size = 2"),
    (lambda: layers.FullSort()(torch.tensor(1.0)), ValueError, "must have a last axis"),
    (lambda: layers.Scaling(math.inf), ValueError, "factor must be finite: got inf."),
    (lambda: layers.parseval_step(W, beta=0.7), ValueError, "beta must be from 0 to 0.5: got 0.7."),
    (lambda: layers.operator_norm(W, domain_order=math.inf, codomain_order=1), ValueError,
     "got p = inf and q = 1, which is NP-hard (Steinberg 2005)."),
    (lambda: layers.operator_norm(W, domain_order=3, codomain_order=3), ValueError,
     "got p = 3 and q = 3, which is NP-hard (Hendrickx and Olshevsky 2010)."),
    (lambda: layers.operator_norm(W, domain_order=2, codomain_order=4), ValueError,
     "got p = 2 and q = 4, for which no method is known"),
    (lambda: layers.operator_norm(W, domain_order=0.5), ValueError,
     "domain_order must be from 1 to inf: got 0.5."),
    (lambda: layers.operator_norm(W, codomain_order="inf"), TypeError,
     "codomain_order must be a number: got 'inf'."),
    (lambda: layers.operator_norm([[1.0]]), TypeError, "floating-point torch tensor: got list."),
    (lambda: layers.operator_norm(W[0]), ValueError, "weight must be a matrix: got shape (3,)."),
    (lambda: layers.lipschitz_bound(nn.Linear(2, 2), order=3), ValueError,
     "order must be 1, 2 or inf: got 3."),
    (lambda: layers.freeze(layers.Scaling(1.0), order=0), ValueError,
     "order must be from 1 to inf: got 0."),
    (lambda: layers.freeze(nn.Linear(90, 2), order=math.inf), ValueError,
     "model must have linear layers of maximum norm at most 1: it is a Linear of norm"),
    (lambda: layers.as_linear(nn.Sequential(nn.Conv1d(1, 1, 1), nn.ReLU()), (1, 4)), ValueError,
     "layer must be affine: it takes aten.relu"),
    (lambda: layers.as_linear(layers.GroupSort(), (4,)), ValueError, "layer must be affine"),
    (lambda: layers.as_linear(nn.Linear(4, 4), (4.0,)), ValueError,
     "each size in input_shape must be an integer, at least 1: got 4.0."),
    (lambda: layers.as_linear(torch.relu, (1, 4)), TypeError, "layer must be a torch.nn.Module"),
    (lambda: layers.jacobian_spectrum(nn.Linear(3, 2), W[0]), ValueError,
     "x must be a batch of inputs: got shape (3,)."),
    (lambda: layers.jacobian_spectrum(nn.Linear(3, 2), W.int()), TypeError, "got torch.int32."),
    (lambda: layers.jacobian_spectrum(nn.Sequential(nn.Dropout()), W), ValueError,
     "Dropout '0' is in training mode. Call model.eval() first."),
    (lambda: layers.jacobian_spectrum(lambda x: IN_TRAINING(x), W), ValueError,
     "BatchNorm1d '0' is in training mode. Call model.eval() first."),
    (lambda: layers.NormPool(2)(torch.ones(4, dtype=torch.complex64)), TypeError,
     "the input of NormPool must be real: its dtype is torch.complex64."),
]  # fmt: skip


def test_dropout_of_nothing_may_stay_in_training_mode():
    x = torch.eye(2, dtype=torch.float64)
    net = nn.Sequential(nn.Dropout(0.0), nn.Linear(2, 2, dtype=torch.float64))
    expected = torch.linalg.svdvals(net[1].weight.detach()).expand(2, -1)
    torch.testing.assert_close(layers.jacobian_spectrum(net, x), expected)


@pytest.mark.parametrize(("call", "error", "message"), BAD_ARGUMENTS)
def test_bad_arguments(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
