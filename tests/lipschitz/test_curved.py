"""Layers between spaces of constant curvature: distances by mpmath, metrics by derivatives."""

import copy
import math
import pickle

import mpmath
import numpy as np
import pytest
import scipy.linalg

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.func import functional_call, hessian, jacfwd, jacrev, vmap  # noqa: E402

from infogeo import robustness, simplex  # noqa: E402
from infogeo.lipschitz import curved, layers  # noqa: E402
from infogeo.pullback import input_metrics  # noqa: E402

KAPPAS = (1.0, 0.25, 0.0, -0.5, -2.0)
F64 = torch.float64


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(5)


def points(space, count, length=1.0, dtype=F64):
    """Return points at distances up to a length from the origin."""
    v = nn.functional.normalize(torch.randn(count, space.dim, dtype=dtype), dim=1)
    return curved.Exponential(space)(length * torch.rand(count, 1, dtype=dtype) ** 0.5 * v)


def exact_distance(kappa, z, w):
    """Return the distance of points by the angle of vectors with 50 digits, as a float."""
    with mpmath.workdps(50):
        z, w = ([mpmath.mpf(float(entry)) for entry in point] for point in (z, w))
        if kappa == 0.0:
            return float(mpmath.norm([a - b for a, b in zip(z[1:], w[1:], strict=True)]))

        def inner(a, b):
            return a[0] * b[0] + kappa * sum(x * y for x, y in zip(a[1:], b[1:], strict=True))

        cosine = inner(z, w) / mpmath.sqrt(inner(z, z) * inner(w, w))
        angle = mpmath.acos(cosine) if kappa > 0.0 else mpmath.acosh(max(cosine, 1))
        return float(angle / mpmath.sqrt(abs(kappa)))


def unit(kappa):
    """Return the length that curvature makes, 1 in the plane."""
    return 1.0 / math.sqrt(abs(kappa) or 1.0)


def isometry(space, size=0.7, dtype=F64):
    layer = curved.Isometry(space, dtype=dtype)
    nn.init.normal_(layer.move, std=size * unit(space.kappa))
    return layer


def stretches(layer, y):
    """Return the singular values of a layer's derivative, by the metrics of `input_metrics`."""

    def in_coordinates(y):
        z = layer.domain.from_conformal(y)
        return layer.codomain.to_conformal(layer(z), check=False)

    before, after = (
        input_metrics.constant_curvature(space.kappa, space.dim)
        for space in (layer.domain, layer.codomain)
    )
    frame = torch.eye(layer.domain.dim, dtype=y.dtype).expand(len(y), -1, -1)
    moved = before.push(y, frame) @ vmap(jacrev(in_coordinates))(y).mT
    return torch.linalg.svdvals(after.coordinates(in_coordinates(y), moved))


# ---------------------------------------------------------------- spaces


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("kappa", KAPPAS)
def test_distances(kappa, dtype):
    space, eps = curved.Space(kappa, 3), torch.finfo(dtype).eps
    z, w = points(space, 40, 1.5, dtype), points(space, 40, 1.5, dtype)
    expected = [exact_distance(kappa, *pair) for pair in zip(z, w, strict=True)]
    found = space.distance(z, w)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=16 * eps, atol=16 * eps)
    torch.testing.assert_close(space.distance(z[3], w[3]), found[3], rtol=8 * eps, atol=0)
    table = space.distance(z[:, None], w[None])
    torch.testing.assert_close(table.diagonal(), found, rtol=8 * eps, atol=0)
    assert not space.distance(z, z).any()


@pytest.mark.parametrize("kappa", KAPPAS)
def test_distances_are_those_of_the_input_metric(kappa):
    space, h = curved.Space(kappa, 4), input_metrics.constant_curvature(kappa, 4)
    y, x = 0.3 * torch.randn(2, 50, 4, dtype=F64)
    found = space.distance(space.from_conformal(y), space.from_conformal(x))
    torch.testing.assert_close(found, h.distance(y, x), rtol=1e-13, atol=0)
    torch.testing.assert_close(space.to_conformal(space.from_conformal(y)), y, rtol=1e-14, atol=0)


def test_distances_of_opposite_and_far_points():
    sphere, ball = curved.Space(0.25, 2), curved.Space(-1.0, 1)
    z = torch.tensor([0.6, 0.0, 1.6], dtype=F64)
    assert float(sphere.distance(z, -z)) == pytest.approx(2.0 * math.pi, rel=1e-15)
    far = torch.tensor([[math.cosh(r), math.sinh(r)] for r in (300.0, -300.0)], dtype=F64)
    assert float(ball.distance(far[0], far[1])) == pytest.approx(600.0, rel=1e-14)


@pytest.mark.parametrize("kappa", KAPPAS)
def test_gradients_of_distances(kappa):
    space = curved.Space(kappa, 2)
    origin = torch.tensor([1.0, 0.0, 0.0], dtype=F64)
    v = torch.tensor([0.3, -0.4], dtype=F64)
    chart = curved.Exponential(space)
    # From the origin the distance is the length of v, also where it is 0.
    torch.testing.assert_close(
        jacrev(lambda v: space.distance(origin, chart(v), check=False))(v), v / 0.5
    )
    back = jacrev(lambda u: space.distance(chart(u), chart(v), check=False))(torch.zeros_like(v))
    torch.testing.assert_close(back, -v / 0.5)
    at_equality = jacrev(lambda u: space.distance(chart(u), chart(v), check=False))(v)
    assert not at_equality.any()


# ---------------------------------------------------------------- isometries


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("kappa", KAPPAS)
def test_isometries_keep_distances(kappa, dtype):
    space, eps = curved.Space(kappa, 5), torch.finfo(dtype).eps
    layer, length = isometry(space, 0.4, dtype), unit(kappa)
    z, w = points(space, 60, length, dtype), points(space, 60, length, dtype)
    before = np.array([exact_distance(kappa, *pair) for pair in zip(z, w, strict=True)])
    with torch.no_grad():
        moved = zip(layer(z), layer(w), strict=True)
        after = np.array([exact_distance(kappa, *pair) for pair in moved])
    errors = np.abs(after / before - 1.0)[before > 0.5 * length]
    assert len(errors) > 20
    assert np.median(errors) < 4 * eps
    assert errors.max() < 20 * eps


@pytest.mark.parametrize("kappa", KAPPAS)
def test_matrices_of_isometries_keep_the_form(kappa):
    form = torch.diag(torch.tensor([1.0] + [kappa] * 4, dtype=F64))
    for size in (0.0, 1e-9, 0.5, 2.0):
        m = isometry(curved.Space(kappa, 4), size).matrix().detach()
        scale = m.abs().max().item() ** 2
        torch.testing.assert_close(m.mT @ form @ m, form, atol=8e-15 * scale, rtol=0)
        if kappa == 0.0:  # the form says nothing about x: rows of x are turned
            turned = m[1:, 1:] @ m[1:, 1:].mT
            torch.testing.assert_close(turned, torch.eye(4, dtype=F64), atol=1e-14, rtol=0)


@pytest.mark.parametrize("kappa", KAPPAS)
def test_isometries_reach_every_isometry(kappa):
    rng = np.random.default_rng(3)
    d = 3
    # An element of the Lie algebra, and a reflection: (0, -kappa v'; v, A) with A skew-symmetric.
    skew, v = rng.standard_normal((d, d)), rng.standard_normal(d)
    algebra = np.block([[np.zeros((1, 1)), -kappa * v[None]], [v[:, None], skew - skew.T]])
    target = scipy.linalg.expm(0.7 * algebra) @ np.diag([1.0, 1.0, 1.0, -1.0])
    # Products of two such matrices cancel: far isometries of hyperbolic space have large entries.
    rounding = 1e-14 + 1e-15 * np.linalg.norm(target, 2) ** 2
    space = curved.Space(kappa, d)
    layer = curved.Isometry(space, dtype=F64)
    with torch.no_grad():
        start = torch.from_numpy(target[:, 0].copy())
        layer.move.copy_(curved.Logarithm(space)(start))
        layer.turn.weight = torch.eye(d, dtype=F64)
        back = copy.deepcopy(layer)
        back.move.neg_()
        rest = back.matrix() @ torch.from_numpy(target)
        torch.testing.assert_close(rest[0], torch.eye(4, dtype=F64)[0], atol=rounding, rtol=0)
        layer.turn.weight = rest[1:, 1:]
    np.testing.assert_allclose(layer.matrix().detach(), target, rtol=0, atol=rounding)


@pytest.mark.parametrize(
    ("kappa", "size"), [(1.0, 0.0), (0.0, 0.3), (-0.5, 0.9999), (1.0, 3.0), (-0.5, 3.0)]
)
def test_derivatives_of_isometries(kappa, size):
    # Around 0 and 1, where the series end, and beyond.
    space = curved.Space(kappa, 2)
    layer, z = curved.Isometry(space, dtype=F64), points(space, 2)
    direction = torch.tensor([0.6, 0.8], dtype=F64)
    move = (size * unit(kappa) * direction).requires_grad_(True)
    raw = layer.turn.parametrizations.weight.original.detach()

    def moved(move, raw=raw):
        given = {"move": move, "turn.parametrizations.weight.original": raw}
        return functional_call(layer, given, (z,))

    options = {"atol": 1e-5, "rtol": 1e-4, "nondet_tol": 1e-9}
    assert torch.autograd.gradcheck(moved, move, check_forward_ad=True, **options)
    assert torch.autograd.gradgradcheck(moved, move, check_fwd_over_rev=True, **options)
    assert torch.autograd.gradcheck(lambda raw: moved(move.detach(), raw), raw.requires_grad_(True))
    torch.testing.assert_close(jacfwd(moved)(move), jacrev(moved)(move))
    torch.testing.assert_close(hessian(moved)(move), jacrev(jacrev(moved))(move))


@pytest.mark.parametrize("kappa", KAPPAS)
def test_second_derivatives_of_charts_at_the_origin(kappa):
    space = curved.Space(kappa, 2)
    into, out = curved.Exponential(space, radius=2.0), curved.Logarithm(space)
    zero = torch.zeros(2, dtype=F64)
    second = hessian(into)(zero)
    # t = 1 - kappa |v|^2 / 2 + ..., x = v + ...
    torch.testing.assert_close(second[0], -kappa * torch.eye(2, dtype=F64))
    assert not second[1:].any()
    round_trip = lambda v: out(into(v))  # noqa: E731
    for v in (zero, torch.tensor([0.2, 0.1]).double(), torch.tensor([0.9, -0.7]).double()):
        torch.testing.assert_close(round_trip(v), v, rtol=1e-14, atol=1e-15)
        torch.testing.assert_close(jacfwd(round_trip)(v), torch.eye(2, dtype=F64))
        assert float(hessian(round_trip)(v).abs().max()) < 1e-12


def test_training_keeps_isometries_exact():
    space = curved.Space(-1.0, 4)
    layer = isometry(space, dtype=torch.float32)
    target = copy.deepcopy(layer)  # training cannot change the sign of a determinant
    with torch.no_grad():
        for parameter in target.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    z = points(space, 64, dtype=torch.float32)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    errors = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = space.distance(layer(z), target(z).detach(), check=False).square().mean()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    assert errors[-1] < 0.1 * errors[0]
    form = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0, -1.0]))
    m = layer.matrix().detach()
    assert float((m.mT @ form @ m - form).abs().max()) < 2e-6 * m.abs().max().item() ** 2


# ---------------------------------------------------------------- curvature


@pytest.mark.parametrize("kappa", KAPPAS)
def test_isometries_and_folds_keep_all_lengths(kappa):
    space = curved.Space(kappa, 4)
    y = 0.3 * torch.randn(20, 4, dtype=F64)
    for activation in (
        layers.GroupSort(), layers.FullSort(), layers.AbsoluteValue(),
        layers.Householder(4, dtype=F64),
    ):  # fmt: skip
        net = curved.Network(isometry(space), curved.Fold(space, activation), isometry(space))
        torch.testing.assert_close(stretches(net, y), torch.ones(20, 4, dtype=F64))
        assert net.lipschitz_constant == 1.0


@pytest.mark.parametrize("kappa", KAPPAS)
def test_rescaling_changes_curvature(kappa):
    space = curved.Space(kappa, 3)
    layer = curved.Rescaling(space, 1.7)
    assert layer.codomain == curved.Space(kappa / 1.7**2, 3)
    y = 0.3 * torch.randn(10, 3, dtype=F64)
    torch.testing.assert_close(stretches(layer, y), torch.full((10, 3), 1.7, dtype=F64))
    z, w = points(space, 9), points(space, 9)
    torch.testing.assert_close(
        layer.codomain.distance(layer(z), layer(w)), 1.7 * space.distance(z, w)
    )


def sectional_curvature(metric, x):
    """Return the curvature of a surface from its metric, by Christoffel symbols."""

    def symbols(x):
        dg = jacfwd(metric)(x)
        lowered = 0.5 * (dg.permute(0, 2, 1) + dg - dg.permute(2, 0, 1))
        return torch.einsum("im,mjk->ijk", torch.linalg.inv(metric(x)), lowered)

    g, G, dG = metric(x), symbols(x), jacfwd(symbols)(x)
    R = dG.permute(0, 1, 3, 2) - dG + torch.einsum("ikm,mlj->ijkl", G, G)
    R = R - torch.einsum("ilm,mkj->ijkl", G, G)
    return ((g @ R.flatten(1))[0].reshape(2, 2, 2)[1, 0, 1] / torch.linalg.det(g)).item()


@pytest.mark.parametrize("kappa", [0.25, 0.0, -2.0])
def test_curvature_that_is_pulled_back(kappa):
    space = curved.Space(kappa, 2)
    scaling = curved.Rescaling(space, 0.5)
    net = curved.Network(isometry(space, 0.3), curved.Fold(space, layers.GroupSort()), scaling)
    form = torch.tensor([1.0 / (4.0 * kappa) if kappa else 0.0, 1.0, 1.0], dtype=F64)

    def metric(y):
        J = jacfwd(lambda y: net(space.from_conformal(y)))(y)
        return J.T @ (form[:, None] * J)

    # The metric of lengths that are half as long as those of the space it comes from.
    y = 0.3 * torch.randn(2, dtype=F64)
    assert sectional_curvature(metric, y) == pytest.approx(4.0 * kappa, abs=1e-9)


@pytest.mark.parametrize("kappa", [1.0, 0.25, 3.0])
def test_hopf_map_is_a_submersion(kappa):
    layer = curved.Hopf(curved.Space(kappa, 3))
    y = 0.3 * torch.randn(10, 3, dtype=F64)
    expected = torch.ones(10, 2, dtype=F64)
    torch.testing.assert_close(stretches(layer, y)[:, :2], expected)
    z = points(layer.domain, 50, 3.0 / math.sqrt(kappa))
    base = layer(z)
    assert (
        float((base[:, 0] ** 2 + 4 * kappa * base[:, 1:].square().sum(1) - 1).abs().max()) < 1e-14
    )
    # The fibre is the circle z e^{i a}, which stays.
    root, a = math.sqrt(kappa), 0.8
    q = torch.cat((z[:, :1], root * z[:, 1:]), dim=1)
    c, s = math.cos(a), math.sin(a)
    turned = torch.stack((
        c * q[:, 0] - s * q[:, 1], s * q[:, 0] + c * q[:, 1],
        c * q[:, 2] + s * q[:, 3], c * q[:, 3] - s * q[:, 2],
    ), dim=1)  # fmt: skip
    turned[:, 1:] /= root
    torch.testing.assert_close(layer(turned), base, rtol=0, atol=1e-14)


# ---------------------------------------------------------------- constants


def in_and_out(kappa):
    space = curved.Space(kappa, 3)
    net = [curved.Exponential(space, radius=1.5), isometry(space)]
    net += [curved.Fold(space, layers.AbsoluteValue()), isometry(space)]
    return [*net, (curved.Projection if kappa > 0.0 else curved.Logarithm)(space)]


@pytest.mark.parametrize("kappa", KAPPAS)
def test_constants_hold_and_are_attained(kappa):
    space = curved.Space(kappa, 3)
    into = curved.Exponential(space, radius=1.5)
    v, w = 3.0 * torch.randn(2, 4000, 3, dtype=F64)
    w[:2000] = v[:2000] + 1e-5 * w[:2000]
    size = (v - w).norm(dim=1)
    ratio = space.distance(into(v), into(w)) / size
    assert (
        0.97 * into.lipschitz_constant < ratio.max().item() < into.lipschitz_constant * (1 + 1e-9)
    )
    for out in (curved.Logarithm(space), curved.Projection(space)):
        ratio = (out(into(v)) - out(into(w))).norm(dim=1) / space.distance(into(v), into(w))
        if out.lipschitz_constant == 1.0:
            assert 0.9 < ratio[size > 0].max().item() < 1 + 1e-8
        else:
            assert ratio.max().item() > 1.05
    net = curved.Network(*in_and_out(kappa))
    found = (net(v) - net(w)).norm(dim=1) / size
    assert found.max().item() < net.lipschitz_constant * (1 + 1e-9)


def test_the_logarithm_of_a_sphere_jumps():
    space = curved.Space(1.0, 1)
    out = curved.Logarithm(space)
    assert out.lipschitz_constant == math.inf
    z = torch.tensor([[-1.0, 1e-8], [-1.0, -1e-8]], dtype=F64)
    assert float((out(z)[0] - out(z)[1]).abs()) > 6.0 > 1e7 * float(space.distance(*z))


def test_probabilities_are_an_isometry_of_the_sphere_of_radius_two():
    space = curved.Space(0.25, 3)
    layer = curved.Probabilities(space)
    z, w = points(space, 30, 1.0).abs(), points(space, 30, 1.0).abs()
    p, q = layer(z).exp(), layer(w).exp()
    torch.testing.assert_close(p.sum(1), torch.ones(30, dtype=F64))
    found = simplex.fisher_rao_distance(p, q)
    torch.testing.assert_close(found, space.distance(z, w), rtol=1e-13, atol=0)
    for kappa in (0.25, 2.0):
        space = curved.Space(kappa, 3)
        layer = curved.Probabilities(space)
        z, w = points(space, 2000, 2.0), points(space, 2000, 2.0)
        moved = simplex.fisher_rao_distance(layer(z).exp(), layer(w).exp())
        ratio = moved / space.distance(z, w)
        assert ratio.max().item() < layer.lipschitz_constant * (1.0 + 1e-12)


@pytest.mark.parametrize("kappa", [0.25, 0.0, -2.0])
def test_bounds_of_networks_stand_an_attack(kappa):
    net = curved.Network(*in_and_out(kappa))
    model = nn.Sequential(nn.Linear(4, 3), net, nn.Linear(3, 3)).double()
    bound = layers.lipschitz_bound(model)
    norms = [torch.linalg.matrix_norm(model[k].weight, 2).item() for k in (0, 2)]
    assert bound == pytest.approx(norms[0] * net.lipschitz_constant * norms[1], rel=1e-12)
    x = torch.randn(64, 4, dtype=F64)
    spectra = layers.jacobian_spectrum(model, x)
    assert 0.3 * bound < spectra.max().item() <= bound
    attack = robustness.pgd_attack(model, x, radius=0.3, target=model(x).argmax(1))
    moved = (model(attack.points) - model(x)).norm(dim=1) / attack.distances
    assert moved[attack.distances > 0.0].max().item() <= bound
    frozen = layers.freeze(net)
    assert type(frozen.layers[1].turn) is nn.Linear
    torch.testing.assert_close(frozen(x[:, :3]), net(x[:, :3]), rtol=1e-12, atol=1e-13)


def test_bounds_that_are_refused():
    ball, sphere = curved.Space(-1.0, 2), curved.Space(1.0, 2)
    for module, message in (
        (curved.Network(curved.Exponential(ball), curved.Logarithm(ball)), "no constant: give"),
        (curved.Network(curved.Exponential(sphere), curved.Logarithm(sphere)), "no constant: give"),
        (curved.Network(curved.Exponential(sphere)), "It goes from vectors of 2 entries to Space"),
        (curved.Isometry(sphere), r"Put it into curved\.Network"),
    ):
        for shape in (None, (2,)):
            with pytest.raises(TypeError, match=message):
                layers.lipschitz_bound(module, input_shape=shape)
    net = curved.Network(
        curved.Exponential(sphere), curved.Isometry(sphere), curved.Projection(sphere)
    )
    with pytest.raises(TypeError, match="from l2 to l2 only"):
        layers.lipschitz_bound(net, order=1)
    net.layers[1].turn = nn.Linear(2, 2, bias=False)
    with pytest.raises(TypeError, match=r"layers\.1\.turn is not orthogonal"):
        layers.lipschitz_bound(net)
    nn.init.constant_(net.layers[1].move, math.nan)
    with pytest.raises(ValueError, match="finite weights"):
        layers.lipschitz_bound(net)


class Tenfold(curved.Layer):
    """A layer of a user."""

    domain = codomain = curved.Space(-1.0, 2)

    def forward(self, z):
        return 10.0 * z


class TenfoldIsometry(curved.Isometry):
    """A layer of a user that is taken for another one."""

    def forward(self, z):
        return 10.0 * z


class TenfoldSequential(nn.Sequential):
    """The same of a container."""

    def forward(self, z):
        return 10.0 * super().forward(z)


class TenfoldLinear(nn.Linear):
    """The same of a turn."""

    def forward(self, z):
        return 10.0 * super().forward(z)


def set_turn(net, bias):
    net.layers[1].turn = nn.Linear(2, 2, bias)
    nn.init.eye_(net.layers[1].turn.weight)


def put(net, k, layer):
    net.layers[k] = layer


S2, BALL = curved.Space(1.0, 2), curved.Space(-1.0, 2)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda net: None, math.sinh(1.0)),
        (lambda net: set_turn(net, False), math.sinh(1.0)),
        (lambda net: net.layers.insert(2, curved.Rescaling(BALL, 1.0)), math.sinh(1.0)),
        (lambda net: put(net, 0, curved.Exponential(BALL, radius=4.0)), math.sinh(4.0) / 4.0),
        (lambda net: put(net, 0, curved.Exponential(BALL)), "no constant: give"),
        (lambda net: put(net, 0, curved.Exponential(S2)), "layers must fit: 1 begins in"),
        (lambda net: net.layers.pop(3), "It goes from vectors of 2 entries to Space"),
        (lambda net: put(net, 1, nn.ReLU()), "layers must be those of"),
        (lambda net: setattr(net, "layers", TenfoldSequential(*net.layers)), "held by an nn.Seq"),
        (lambda net: setattr(net.layers[1], "turn", TenfoldLinear(2, 2, False)), "not a linear"),
        (lambda net: setattr(net.layers[1], "turn", nn.Linear(4, 4, False)), "of 2 features"),
        (lambda net: put(net, 1, Tenfold()), "no constant"),
        (lambda net: put(net, 1, TenfoldIsometry(BALL)), r"layers\.1 is of a class of your own"),
        (lambda net: set_turn(net, True), r"layers\.1\.turn is not a linear layer"),
        (lambda net: setattr(net.layers[2], "activation", nn.ReLU()), "activation must be one of"),
    ],
)
def test_bounds_are_those_of_the_layers_that_a_network_holds_now(change, expected):
    into, fold = curved.Exponential(BALL, radius=1.0), curved.Fold(BALL, layers.GroupSort())
    net = curved.Network(into, curved.Isometry(BALL), fold, curved.Logarithm(BALL))
    change(net)
    for layer, name in ((into, "radius"), (curved.Rescaling(BALL, 2.0), "factor")):
        with pytest.raises(AttributeError, match="no setter"):
            setattr(layer, name, 5.0)
    if isinstance(expected, float):
        assert layers.lipschitz_bound(net) == pytest.approx(expected, rel=1e-6)
        assert net.lipschitz_constant == pytest.approx(expected, rel=1e-12)
    else:
        with pytest.raises((TypeError, ValueError), match=expected):
            layers.lipschitz_bound(net)


def test_rescalings_there_and_back_fit():
    for k in range(1, 60):
        there = curved.Rescaling(S2, k / 7.0)
        back = curved.Rescaling(there.codomain, 7.0 / k)
        net = curved.Network(there, back, curved.Isometry(S2))
        assert net.lipschitz_constant == pytest.approx(1.0, rel=1e-15)
    with pytest.raises(ValueError, match="layers must fit"):
        curved.Network(curved.Rescaling(S2, 1.0 + 1e-9), curved.Isometry(S2))


@pytest.mark.parametrize("kappa", [1.0, 1e-8, -1e-8, -1.0])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_logarithms_of_far_points(kappa, dtype):
    space, eps = curved.Space(kappa, 2), torch.finfo(dtype).eps
    lengths = (3.0, math.pi) if kappa > 0.0 else (40.0, 80.0)  # cosh(80) has no square in float32
    for length in lengths:
        v = length * 0.999 * unit(kappa) * torch.tensor([0.6, -0.8], dtype=dtype)
        back = jacrev(lambda v: curved.Logarithm(space)(curved.Exponential(space)(v)))
        found = curved.Logarithm(space)(curved.Exponential(space)(v))
        torch.testing.assert_close(found, v, rtol=1e3 * eps, atol=0)
        if length < 80.0:
            assert bool(back(v).isfinite().all())


def test_constants_of_short_radii_are_one():
    for kappa, radius in ((-1e-300, 1e-200), (-1.0, 1e-9), (-1e-16, 1e-3)):
        assert curved.Exponential(curved.Space(kappa, 2), radius=radius).lipschitz_constant == 1.0
    far = curved.Exponential(curved.Space(-1e8, 2), radius=1e-4)
    assert far.lipschitz_constant == pytest.approx(math.sinh(1.0), rel=1e-12)
    assert curved.Exponential(curved.Space(-1.0, 2), radius=800.0).lipschitz_constant == math.inf


@pytest.mark.parametrize("kappa", [1e8, 1e-8, -1e-8, -1e8])
def test_constants_hold_at_any_scale(kappa):
    space, length = curved.Space(kappa, 3), unit(kappa)
    into = curved.Exponential(space, radius=3.0 * length)
    v, w = 3.0 * length * torch.randn(2, 1000, 3, dtype=F64)
    w[:500] = v[:500] + 1e-5 * w[:500]
    near, opposite = (
        (space.distance(into(v), into(u)) / (v - u).norm(dim=1)).max().item() for u in (w, -v)
    )
    assert 0.9 * into.lipschitz_constant < near < into.lipschitz_constant * (1.0 + 1e-9)
    assert opposite < into.lipschitz_constant * (1.0 + 1e-12)


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize("kappa", KAPPAS)
def test_batches_dtypes_and_copies(kappa):
    net = curved.Network(*in_and_out(kappa))
    v = torch.randn(2, 3, 3, dtype=F64)
    z = net(v)
    assert z.shape == v.shape
    torch.testing.assert_close(net(v[1, 2]), z[1, 2], rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(vmap(net)(v.flatten(0, 1)), z.flatten(0, 1), rtol=1e-13, atol=1e-15)
    frozen = pickle.loads(pickle.dumps(layers.freeze(net)))
    torch.testing.assert_close(frozen(v), z, rtol=1e-12, atol=1e-13)
    other = curved.Network(*in_and_out(kappa))
    other.load_state_dict(net.state_dict())
    torch.testing.assert_close(other(v), z)
    assert net(v[:0]).shape == (0, 3, 3)
    single = copy.deepcopy(net).float()
    torch.testing.assert_close(single(v.float()).double(), z, rtol=2e-5, atol=2e-6)
    for dtype in (torch.float16, torch.bfloat16):
        assert single(v.to(dtype)).dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: curved.Space(math.nan, 2), ValueError, "kappa must be"),
        (lambda: curved.Space(1.0, 0), ValueError, "dim must be an integer, at least 1"),
        (lambda: curved.Isometry(1.0), TypeError, r"space must be a curved\.Space"),
        (lambda: curved.Rescaling(S2, 0.0), ValueError, "factor must be above 0"),
        (lambda: curved.Rescaling(S2, 1e-200), ValueError, "factor must leave a curvature"),
        (lambda: curved.Rescaling(S2, 1e200), ValueError, "factor must leave a curvature"),
        (
            lambda: curved.Space(-1.0, 1).to_conformal(torch.tensor([1e25, 3.0])),
            ValueError,
            "one is off by 1",
        ),
        (lambda: curved.Exponential(S2, radius=-1.0), ValueError, "radius must be above 0"),
        (lambda: curved.Hopf(S2), ValueError, "sphere of dimension 3"),
        (lambda: curved.Probabilities(curved.Space(0.0, 2)), ValueError, "kappa > 0"),
        (lambda: curved.Fold(S2, nn.ReLU()), ValueError, "activation must be one of GroupSort"),
        (lambda: curved.Fold(S2, layers.GroupSort(dim=1)), ValueError, "along the last axis"),
        (lambda: curved.Network(), ValueError, "at least one"),
        (lambda: curved.Network(nn.ReLU()), TypeError, "Put others before or behind"),
        (
            lambda: curved.Network(curved.Isometry(S2), curved.Isometry(curved.Space(1.0, 3))),
            ValueError,
            "layers must fit: 1 begins in",
        ),
        (lambda: curved.Isometry(S2)(torch.zeros(4)), ValueError, "have 3 entries along its last"),
        (lambda: curved.Isometry(S2)(torch.zeros(3).int()), TypeError, "floating-point"),
        (lambda: S2.distance(torch.ones(3), torch.ones(3)), ValueError, "one is off by"),
        (lambda: S2.distance([1.0, 0.0, 0.0], torch.ones(3)), TypeError, "z must be a floating"),
        (
            lambda: curved.Space(-1.0, 1).to_conformal(torch.tensor([-1.0, 0.0])),
            ValueError,
            "t > 0: t is -1",
        ),
        (
            lambda: curved.Space(-1.0, 1).from_conformal(torch.tensor([2.0])),
            ValueError,
            r"y must lie in the ball of radius .* = 2: the largest norm is 2",
        ),
    ],
)
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
