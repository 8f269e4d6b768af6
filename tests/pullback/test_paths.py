"""Lengths, distances and leaves: closed cases, orders of convergence, invariances."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from infogeo import SolveError, Status, logits
from infogeo.pullback import Head, PullbackMetric, _polygons, heads, input_metrics
from infogeo.pullback._network import network_of

F32, F64 = torch.float32, torch.float64


def mlp(num_inputs=8, num_classes=4, activation=nn.Tanh, gain=3.0, seed=0, dtype=F64):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(num_inputs, 24), activation(), nn.Linear(24, num_classes))
    with torch.no_grad():
        net[-1].weight.mul_(gain)
    return net.to(dtype)


def inputs(*shape, seed=1, dtype=F64):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


# Outputs in a flat space: lengths are those that a ruler measures.
flat = Head(
    lambda z: torch.eye(z.shape[1], dtype=z.dtype).expand(len(z), -1, -1),
    lambda z, w: (z - w).square().sum(-1).add(1e-300 if z.dtype == F64 else 1e-37).sqrt(),
)


def circle(x):
    return torch.cat([x.cos(), x.sin()], dim=1)


def globe(x):
    """The unit sphere in longitude and latitude."""
    across, up = x.unbind(1)
    return torch.stack([across.cos() * up.cos(), across.sin() * up.cos(), up.sin()], dim=1)


def two_labels(x):
    """The four classes of two independent labels with logits x."""
    return torch.stack([0.0 * x[:, 0], x[:, 0], x[:, 1], x.sum(1)], dim=1)


def one_logit(x):
    return torch.cat([torch.zeros_like(x), x], dim=1)


def angle(x):
    """The point of a binary prediction on its quarter of the circle of radius 2."""
    return 2.0 * torch.atan(torch.exp(0.5 * torch.as_tensor(x, dtype=F64)))


# ---------------------------------------------------------------- lengths


@pytest.mark.parametrize("n", [1, 3, 10])
def test_length_and_energy_of_a_polygon_in_a_circle(n):
    path = torch.linspace(0.0, 2.0, n + 1, dtype=F64)[:, None]
    metric = PullbackMetric(circle, flat)
    chords = 2.0 * n * math.sin(1.0 / n)
    torch.testing.assert_close(metric.length(path), torch.tensor(chords, dtype=F64))
    torch.testing.assert_close(metric.energy(path), torch.tensor(chords**2 / 2.0, dtype=F64))


def test_length_grows_under_refinement_and_never_falls_below_the_output_distance():
    metric, (x0, x1) = PullbackMetric(mlp()), inputs(2, 1, 8)
    lengths = [float(metric.output_distance(x0, x1))]
    for n in (2, 4, 8, 16, 512):
        t = torch.linspace(0.0, 1.0, n + 1, dtype=F64)[:, None]
        path = (1.0 - t) * x0 + t * x1
        lengths.append(float(metric.length(path)))
        assert float(metric.energy(path)) >= 0.5 * lengths[-1] ** 2 * (1.0 - 1e-15)
    assert lengths == sorted(lengths)
    assert lengths[-1] > 1.004 * lengths[0]
    found = metric.segment_length(x0, x1, rtol=1e-8)
    assert abs(float(found.value) - lengths[-1]) < 1e-5 * lengths[-1]


def test_length_agrees_with_the_integral_of_the_speed():
    metric, (x0, x1) = PullbackMetric(mlp()), inputs(2, 1, 8)
    nodes, weights = np.polynomial.legendre.leggauss(60)
    t = torch.tensor(0.5 + 0.5 * nodes)[:, None]
    speed = metric.norm(x0 + t * (x1 - x0), (x1 - x0).expand(60, -1))
    integral = 0.5 * (torch.tensor(weights) * speed).sum()
    found = metric.segment_length(x0, x1, rtol=1e-9)
    torch.testing.assert_close(found.value[0], integral, rtol=1e-9, atol=0.0)


CURVES = {
    "straight": (one_logit, -3.0, 2.0, angle(2.0) - angle(-3.0)),
    "saturated": (one_logit, -60.0, 60.0, angle(60.0) - angle(-60.0)),
    "kink": (lambda x: one_logit(x.abs()), -1.0, 2.3, angle(1.0) + angle(2.3) - 2 * angle(0.0)),
    "turns": (
        lambda x: one_logit(x**3 - x),
        -1.0,
        1.0,
        8.0 * torch.atan(torch.tanh(torch.tensor(3.0**-1.5 / 2.0, dtype=F64))),
    ),
    "turn off the middle": (
        lambda x: one_logit(x**2),
        -1.0,
        0.9,
        angle(1.0) + angle(0.81) - 2 * angle(0.0),
    ),
}


@pytest.mark.parametrize("num_segments", [1, 7, 32])
@pytest.mark.parametrize("name", CURVES)
def test_segment_length_in_one_dimension(name, num_segments):
    net, a, b, exact = CURVES[name]
    if name == "turns" and num_segments == 1:
        num_segments = 2  # ends and middle have the same prediction
    ends = torch.tensor([[[a]], [[b]]], dtype=F64)
    found = PullbackMetric(net).segment_length(*ends, num_segments=num_segments, rtol=1e-7)
    error = abs(float(found.value) - float(exact))
    assert error <= 2e-6 * float(exact)
    assert error <= 5.0 * float(found.error) + 1e-15


def test_segment_length_says_how_accurate_it_is():
    ends = torch.tensor([[[0.0]], [[2.5]]], dtype=F64)
    counts = []
    for rtol in (1e-3, 1e-5, 1e-7):
        found = PullbackMetric(circle, flat).segment_length(*ends, num_segments=1, rtol=rtol)
        assert abs(float(found.value) - 2.5) <= float(found.error) <= 3.0 * rtol * 2.5
        counts.append(int(found.num_segments))
    assert counts[0] < counts[1] < counts[2] < 1e4


def length_by_quadrature(metric, corners):
    """Gauss-Legendre on 16 parts of each segment between the corners, where the speed is smooth."""
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(40))
    s = (torch.arange(16.0, dtype=F64)[:, None] + 0.5 + 0.5 * nodes).flatten() / 16.0
    total = 0.0
    for a, b in itertools.pairwise(corners):
        x = torch.lerp(a, b, s[:, None])
        total += float(metric.norm(x, (b - a).expand_as(x)) @ weights.repeat(16)) / 32.0
    return total


@pytest.mark.parametrize("seed", range(6))
def test_segment_length_through_a_relu_network(seed):
    """Saturated predictions run to and fro on one geodesic: turns hide between a few points."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 3)).double()
    x0, x1 = 5.0 * torch.randn(6, 2, dtype=F64), 5.0 * torch.randn(6, 2, dtype=F64)
    metric = PullbackMetric(net)
    found = metric.segment_length(x0, x1)
    for i in range(6):
        a, b = net[0](torch.stack([x0[i], x1[i]])).detach()
        kinks = a / (a - b)
        kinks = kinks[(kinks > 0.0) & (kinks < 1.0)].sort().values[:, None]
        corners = torch.cat([x0[i : i + 1], torch.lerp(x0[i], x1[i], kinks), x1[i : i + 1]])
        exact = length_by_quadrature(metric, corners)
        assert abs(float(found.value[i]) - exact) <= 2e-5 * exact


def test_segment_length_of_fast_oscillations():
    net = lambda x: 20.0 * torch.cat([torch.sin(50 * x), torch.cos(90 * x), 0 * x], 1)  # noqa: E731
    metric, x1 = PullbackMetric(net), torch.full((1, 1), 3.0, dtype=F64)
    exact = length_by_quadrature(metric, torch.linspace(0.0, 3.0, 201, dtype=F64)[:, None])
    found = metric.segment_length(torch.zeros_like(x1), x1, num_segments=100)
    assert float(found.value) == pytest.approx(exact, rel=1e-5)


def test_segment_length_of_a_batch_is_that_of_its_members():
    metric, x0, x1 = PullbackMetric(mlp()), inputs(1, 8), inputs(3, 8, seed=2)
    together = metric.segment_length(x0, x1)
    for i in range(3):
        alone = metric.segment_length(x0, x1[i : i + 1])
        torch.testing.assert_close(together.value[i : i + 1], alone.value, rtol=1e-13, atol=0.0)
        assert int(together.num_segments[i]) == int(alone.num_segments)


def test_float32_lengths_stop_at_rounding():
    x0, x1 = inputs(2, 3, 8)
    net = mlp()
    exact = PullbackMetric(net).segment_length(x0, x1, rtol=1e-10).value
    found = PullbackMetric(mlp(dtype=F32)).segment_length(x0.float(), x1.float(), rtol=1e-9)
    assert found.value.dtype == F32
    torch.testing.assert_close(found.value.double(), exact, rtol=3e-6, atol=0.0)
    assert (found.num_segments < 3000).all()


def test_lengths_do_not_depend_on_coordinates():
    net, (x0, x1) = mlp(), inputs(2, 2, 8)
    turn = torch.linalg.qr(inputs(8, 8, seed=3)).Q
    plain = PullbackMetric(net)
    turned = PullbackMetric(lambda x: net(x @ turn) + x.sum(1, keepdim=True))
    for measure in ("segment_length", "distance"):
        a = getattr(plain, measure)(x0, x1)
        b = getattr(turned, measure)(x0 @ turn.T, x1 @ turn.T)
        a, b = (y.value if measure == "segment_length" else y.length for y in (a, b))
        torch.testing.assert_close(a, b, rtol=1e-4, atol=0.0)


def test_temperature_scales_the_logits():
    (x0, x1), net = inputs(2, 2, 8), mlp()
    a = PullbackMetric(net, temperature=2.5).segment_length(x0, x1)
    b = PullbackMetric(lambda x: net(x) / 2.5).segment_length(x0, x1)
    torch.testing.assert_close(a.value, b.value, rtol=1e-13, atol=0.0)


def test_images_have_lengths():
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)).double()
    x0, x1 = inputs(2, 2, 1, 4, 4)
    metric = PullbackMetric(net)
    path = metric.distance(x0, x1, num_segments=16)
    assert path.points.shape == (17, 2, 1, 4, 4)
    assert (path.length <= metric.segment_length(x0, x1).value * (1 + 1e-4)).all()
    assert metric.length(path.points[:, 0]).ndim == 0


# ---------------------------------------------------------------- lengths that can be relied on


def tanh_network(seed):
    """A random network of one input, and four pairs of inputs."""
    generator = torch.Generator().manual_seed(seed)

    def integer(low, high):
        return int(torch.randint(low, high, (1,), generator=generator))

    def normal(*shape):
        return torch.randn(*shape, dtype=F64, generator=generator)

    width, depth, num_classes = integer(2, 17), integer(1, 4), integer(2, 6)
    gain = 0.5 + 4.0 * float(torch.rand(1, dtype=F64, generator=generator))
    sizes, layers = [1, *[width] * depth, num_classes], []
    for i, j in itertools.pairwise(sizes):
        layer = nn.Linear(i, j, dtype=F64)
        is_last = len(layers) == 2 * depth
        with torch.no_grad():
            layer.weight.copy_(gain * normal(j, i) / i**0.5)
            layer.bias.copy_((1.0 if is_last else gain) * normal(j))
        layers += [layer] if is_last else [layer, nn.Tanh()]
    x = 2.0 * normal(4, 2)
    return nn.Sequential(*layers), x[:, :1], x[:, 1:]


def lengths_by_quadrature(net, x0, x1):
    """Return the integral of the speed |dz - mean dz|_p, by 300 Gauss-Legendre rules of 20 nodes.

    From the derivative of the network and the probabilities, not from distances.
    """
    t, w = np.polynomial.legendre.leggauss(20)
    t = torch.tensor(((t + 1.0) / 2.0 + np.arange(300)[:, None]).ravel() / 300.0)
    w = torch.tensor(np.tile(w / 600.0, 300))
    points = (x0 + (x1 - x0) * t)[..., None].reshape(-1, 1).requires_grad_()
    z = net(points)
    slopes = [torch.autograd.grad(y.sum(), points, retain_graph=True)[0] for y in z.unbind(1)]
    p, dz = z.softmax(-1).detach(), torch.cat(slopes, dim=1)
    speed = (p * (dz - (p * dz).sum(-1, keepdim=True)).square()).sum(-1).sqrt()
    return (w * speed.reshape(len(x0), -1)).sum(-1) * (x1 - x0).abs()[:, 0]


@pytest.mark.parametrize("seed", [*range(16), 254])
def test_a_distance_in_one_dimension_is_the_length_of_the_segment(seed):
    net, x0, x1 = tanh_network(seed)
    exact = lengths_by_quadrature(net, x0, x1)
    metric = PullbackMetric(net)
    path, segment = metric.distance(x0, x1), metric.segment_length(x0, x1)
    torch.testing.assert_close(path.length, exact, rtol=2e-4, atol=1e-15)
    torch.testing.assert_close(segment.value, exact, rtol=2e-5, atol=1e-15)
    assert path.status is segment.status is Status.CONVERGED


@pytest.mark.parametrize("seed", [3, 10, 20])
def test_a_lift_that_runs_off_makes_no_path_shorter(seed):
    """In the plane of an input that counts and one that does not: no way round helps.

    The lift of these pairs goes out to 1e13 and comes back.
    """
    net, x0, x1 = tanh_network(seed)
    exact = lengths_by_quadrature(net, x0, x1)
    metric = PullbackMetric(lambda x: net(x[:, :1]))
    x0, x1 = (torch.cat([x, torch.zeros_like(x)], dim=1) for x in (x0, x1))
    path = metric.distance(x0, x1, throw=False, max_steps=30)
    assert bool((path.length >= (1.0 - 2e-4) * exact).all())
    assert bool((path.length >= path.lower_bound).all())


@pytest.mark.filterwarnings("ignore:The outputs of model at x are probabilities")
def test_the_length_of_a_polygon_that_comes_from_afar():
    """Segments of 1e5 from and to the unit interval, in which all happens."""
    metric = PullbackMetric(lambda x: one_logit(torch.tanh(3.0 * x[:, :1]) + 0.0 * x[:, 1:]))
    corners = torch.tensor([[-1.0, 0.0], [-1.0, 1e5], [1e5, 1e5], [1e5, 0.0], [1.0, 0.0]])
    found = _polygons.polygon_length(
        network_of(metric), corners.double()[:, None], 1e-6, 1e-6, 2e-16
    )
    ends = angle(torch.tanh(torch.tensor([-3.0, 3.0, 3e5, 3.0], dtype=F64)))
    exact = (ends[1:] - ends[:-1]).abs().sum()
    torch.testing.assert_close(found.value, exact[None], rtol=1e-6, atol=0.0)


def test_steps_within_rounding_of_the_input_are_jumps():
    """A step of 3 logits: as long as the distance across it, wherever it is."""
    metric = PullbackMetric(lambda x: one_logit(3.0 * (x > 0.3).to(x) + 0.0 * x))
    x0, x1 = torch.zeros(1, 1, dtype=F64), torch.ones(1, 1, dtype=F64)
    found = metric.segment_length(x0, x1)
    torch.testing.assert_close(found.value, (angle(3.0) - angle(0.0)).reshape(1))
    assert found.status is Status.CONVERGED


def test_a_steep_step_is_found_by_bisection():
    metric = PullbackMetric(lambda x: one_logit(3.0 * torch.sigmoid(1e9 * (x - 0.3))))
    found = metric.segment_length(torch.zeros(1, 1, dtype=F64), torch.ones(1, 1, dtype=F64))
    torch.testing.assert_close(found.value, (angle(3.0) - angle(0.0)).reshape(1), rtol=1e-5, atol=0)


# ---------------------------------------------------------------- the precision of the model


def half(net, precision):
    """Return the network in half precision: its weights, or under autocast with float32 outputs."""
    if precision == "autocast":

        def run(x):
            with torch.autocast("cpu", torch.bfloat16):
                return net(x).float()

        return run, F32
    return net.to(precision), precision


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16, "autocast"])
def test_short_lengths_in_half_precision_are_hidden_by_rounding(precision):
    x0 = inputs(2, 20, dtype=F32)
    x1 = x0 + 0.1 * inputs(2, 20, seed=2, dtype=F32)
    exact = PullbackMetric(mlp(20, 10)).segment_length(x0.double(), x1.double()).value
    model, dtype = half(mlp(20, 10, dtype=F32), precision)
    metric = PullbackMetric(model)
    found = metric.segment_length(x0.to(dtype), x1.to(dtype))
    assert found.status is Status.ROUNDING
    assert bool((found.num_segments < 1000).all())
    assert bool(((found.value - exact).abs() <= found.error).all())
    path = metric.distance(x0.to(dtype), x1.to(dtype), num_segments=4, throw=False)
    assert not any(status.is_solution for status in path.member_status)
    with pytest.raises(SolveError, match=r"rounding hides the lengths .* Use model.float\(\)"):
        metric.distance(x0[:1].to(dtype), x1[:1].to(dtype), num_segments=4)


def test_lengths_that_half_precision_can_tell_are_solutions():
    net = mlp(20, 10, gain=20.0)
    x0, x1 = inputs(2, 20), -inputs(2, 20)
    exact = PullbackMetric(net).segment_length(x0, x1).value
    half_net = mlp(20, 10, gain=20.0).half()
    found = PullbackMetric(half_net).segment_length(x0.half(), x1.half(), num_segments=8, rtol=0.05)
    assert found.status is Status.CONVERGED
    torch.testing.assert_close(found.value.double(), exact, rtol=0.05, atol=0.0)


def test_a_model_that_is_random_has_no_lengths():
    generator = torch.Generator().manual_seed(0)

    def model(x):
        return one_logit(x + 0.1 * torch.randn(x.shape, generator=generator))

    ends = torch.zeros(1, 1), torch.ones(1, 1)
    with pytest.raises(ValueError, match="always treat an input in the same way"):
        PullbackMetric(model).segment_length(*ends)
    found = PullbackMetric(model, check=False).segment_length(*ends)
    assert not found.status.is_solution


# ---------------------------------------------------------------- distances


def dense_length(metric, points, per_segment=50):
    """Length of a polygon from many points, by sums of output distances."""
    t = torch.linspace(0.0, 1.0, per_segment + 1, dtype=points.dtype)[:-1]
    steps = points[1:] - points[:-1]
    fine = points[:-1, None] + t.reshape(-1, *(1,) * (steps.ndim - 1)) * steps[:, None]
    return metric.length(torch.cat([fine.flatten(0, 1), points[-1:]]))


def test_a_linear_classifier_lifts_every_geodesic():
    """Its fibres are affine, so that the distance is that of the predictions."""
    W, (x0, x1) = inputs(5, 12, seed=4), inputs(2, 4, 12)
    metric = PullbackMetric(lambda x: x @ W.T)
    excess = []
    for n in (16, 32, 64):
        path = metric.distance(x0, x1, num_segments=n)
        assert path.status is Status.CONVERGED
        assert (path.steps == 0).all()
        torch.testing.assert_close(path.lower_bound, metric.output_distance(x0, x1))
        excess.append(float((path.length - path.lower_bound).sum()))
        torch.testing.assert_close(path.arrival_error, path.length - path.lower_bound)
    assert 3.0 < excess[0] / excess[1] < 5.0  # the square of the step
    assert 3.0 < excess[1] / excess[2] < 5.0
    # Corners lie on the great circle: the distances from the start and to the end add up.
    for z, w, corner in zip(x0 @ W.T, x1 @ W.T, path.points[20] @ W.T, strict=True):
        parts = logits.fisher_rao_distance(z, corner) + logits.fisher_rao_distance(corner, w)
        torch.testing.assert_close(parts, logits.fisher_rao_distance(z, w))


@pytest.mark.parametrize("dtype", [F32, F64])
def test_saturated_predictions_have_a_path(dtype):
    W = 12.0 * inputs(3, 6, seed=4, dtype=dtype)
    x0, x1 = inputs(2, 2, 6, dtype=dtype)
    metric = PullbackMetric(lambda x: x @ W.T)
    assert (torch.softmax(x0 @ W.T, -1).amin(-1) < 1e-6).all()
    path = metric.distance(x0, x1)
    # What is promised: the distance of one pair, 6e-5, is less than its rounding in float32.
    rounding = 8.0 * torch.finfo(dtype).eps ** 0.5
    assert (path.length <= 1.01 * path.lower_bound + rounding).all()
    assert path.points.dtype == path.length.dtype == dtype


def test_two_labels_are_flat():
    """A product of two quarter circles: Pythagoras, longer than the distance of four classes."""
    metric = PullbackMetric(two_labels)
    x0 = torch.tensor([[-2.0, -1.0], [3.0, 1.0]], dtype=F64)
    x1 = torch.tensor([[1.0, 2.0], [-4.0, 1.5]], dtype=F64)
    exact = (angle(x0) - angle(x1)).norm(dim=1)
    path = metric.distance(x0, x1, tol=1e-4)
    torch.testing.assert_close(path.length, exact, rtol=1e-5, atol=0.0)
    torch.testing.assert_close(path.energy, exact**2 / 2.0, rtol=1e-3, atol=0.0)
    assert (path.length >= exact * (1.0 - 1e-6)).all()
    assert (path.lower_bound < 0.999 * exact).all()
    assert (metric.segment_length(x0, x1).value > (1.0 + 1e-4) * exact).all()
    assert (path.arrival_error > 1e-3).all()


def test_great_circles_are_shortest_on_a_globe():
    x0 = torch.tensor([[0.0, 0.9]], dtype=F64)
    x1 = torch.tensor([[1.6, 0.7]], dtype=F64)
    exact = torch.acos((globe(x0) * globe(x1)).sum(1))
    path = PullbackMetric(globe, flat).distance(x0, x1, tol=1e-5)
    torch.testing.assert_close(path.length, exact, rtol=1e-4, atol=0.0)
    assert torch.isnan(path.arrival_error).all()
    torch.testing.assert_close(path.lower_bound, (globe(x0) - globe(x1)).norm(dim=1))


def test_orthogonal_maps_keep_distances():
    turn = torch.linalg.qr(inputs(6, 6, seed=3)).Q[:4]  # onto fewer dimensions
    x0, x1 = inputs(2, 3, 6)
    path = PullbackMetric(lambda x: x @ turn.T, flat).distance(x0, x1)
    torch.testing.assert_close(path.length, ((x0 - x1) @ turn.T).norm(dim=1))
    assert (path.steps == 0).all()


def test_a_disconnected_fibre_costs_the_way_across():
    _, a, b, exact = CURVES["turns"]
    ends = torch.tensor([[[a]], [[b]]], dtype=F64)
    path = PullbackMetric(CURVES["turns"][0]).distance(*ends)
    torch.testing.assert_close(path.length[0], exact, rtol=1e-4, atol=0.0)
    assert float(path.lower_bound) < 1e-12
    assert float(path.arrival_error) >= float(exact) * (1.0 - 1e-4)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_distance_is_bracketed_on_networks(activation):
    metric, (x0, x1) = PullbackMetric(mlp(activation=activation)), inputs(2, 3, 8)
    path = metric.distance(x0, x1)
    assert (path.points[0] == x0).all()
    assert (path.points[-1] == x1).all()
    straight = metric.segment_length(x0, x1).value
    assert (path.length >= path.lower_bound).all()
    assert (path.length < straight).all()
    for i in range(3):
        dense = dense_length(metric, path.points[:, i])
        torch.testing.assert_close(path.length[i], dense, rtol=5e-4, atol=0.0)
    back = metric.distance(x1, x0).length
    torch.testing.assert_close(back, path.length, rtol=0.02, atol=0.0)


def test_distance_of_equal_inputs_is_zero():
    x = inputs(2, 8)
    path = PullbackMetric(mlp()).distance(x, x)
    assert (path.length == 0.0).all()
    assert path.status is Status.CONVERGED


def test_an_empty_batch_has_no_paths():
    metric, none = PullbackMetric(mlp()), torch.zeros(0, 8, dtype=F64)
    assert metric.segment_length(none, none).value.shape == (0,)
    assert metric.distance(none, none).points.shape == (33, 0, 8)
    assert metric.kernel_walk(none, none).drift.shape == (21, 0)
    assert metric.leaf_path(none, none).labels.shape == (51, 0)


def test_steps_that_run_out_raise_with_what_was_found():
    metric = PullbackMetric(two_labels)
    x0 = torch.tensor([[-2.0, -1.0], [0.0, 0.0]], dtype=F64)
    x1 = torch.tensor([[1.0, 2.0], [0.0, 0.0]], dtype=F64)
    with pytest.raises(SolveError, match=r"first of them pair 0\. Raise max_steps") as caught:
        metric.distance(x0, x1, tol=1e-6, max_steps=1)
    assert caught.value.failed == (0,)
    result = metric.distance(x0, x1, tol=1e-6, max_steps=1, throw=False)
    assert result.status is Status.MAX_STEPS
    assert list(result.member_status) == [Status.MAX_STEPS, Status.CONVERGED]
    assert (result.length >= result.lower_bound).all()
    torch.testing.assert_close(caught.value.result.length, result.length)


BAD_PATHS = [
    (lambda m, x: m.length(x[:1]), ValueError, "path must have at least two points"),
    (lambda m, x: m.length(x.tolist()), TypeError, "path must be a torch tensor"),
    (lambda m, x: m.segment_length(x, x[:2]), ValueError, "x0 and x1 must have the same shape"),
    (lambda m, x: m.segment_length(x, x.float()), TypeError, "same dtype and device"),
    (lambda m, x: m.segment_length(x, x, rtol=0.0), ValueError, "rtol must be a positive"),
    (lambda m, x: m.distance(x, x, num_segments=0), ValueError, "num_segments must be a positive"),
    (lambda m, x: m.distance(x, x, tol=-1), ValueError, "tol must be a positive number"),
    (lambda m, x: m.distance(x, x * math.nan), ValueError, "x1 must"),
    (lambda m, x: m.kernel_walk(x, x[:, :2]), ValueError, "v must have the shape of x"),
    (lambda m, x: m.kernel_walk(x, x, num_corrections=-1), ValueError, "num_corrections must be"),
    (lambda m, x: m.leaf_path(x, x, clip=(1.0, 0.0)), ValueError, "clip must be a pair"),
    (lambda m, x: m.leaf_path(x, x, clip=3.0), ValueError, "clip must be a pair"),
    (lambda m, x: m.leaf_curvature(x, x, x), ValueError, "span a plane: those at row 0 do not"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD_PATHS)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(PullbackMetric(mlp()), inputs(3, 8))


@pytest.mark.parametrize("method", ["segment_length", "distance", "leaf_path", "kernel_walk"])
def test_a_head_without_a_distance_has_no_lengths(method):
    metric, x = PullbackMetric(circle, Head(flat.factor)), inputs(2, 1)
    with pytest.raises(ValueError, match="head must know the distance"):
        getattr(metric, method)(x, x)


# ---------------------------------------------------------------- horizontal and vertical


@pytest.mark.parametrize("dtype", [F32, F64])
def test_projections_split_a_vector(dtype):
    metric, (x, v) = PullbackMetric(mlp(dtype=dtype)), inputs(2, 5, 8, dtype=dtype)
    along, across = metric.vertical(x, v), metric.horizontal(x, v)
    eps = torch.finfo(dtype).eps
    assert along.dtype == dtype
    torch.testing.assert_close(along + across, v)
    assert ((along * across).sum(1).abs() < 50.0 * eps * v.square().sum(1)).all()
    torch.testing.assert_close(metric.horizontal(x, across), across)
    assert (metric.norm(x, along) < 100.0 * eps * metric.norm(x, v)).all()
    torch.testing.assert_close(metric.norm(x, across), metric.norm(x, v))


def test_projection_of_a_linear_classifier():
    W, (x, v) = inputs(4, 9, seed=5), inputs(2, 3, 9)
    D = (W - W[:1])[1:]
    expected = v @ torch.linalg.pinv(D).matmul(D).T
    torch.testing.assert_close(PullbackMetric(lambda x: x @ W.T).horizontal(x, v), expected)


def test_projection_knows_lost_rank_and_saturation():
    W = inputs(4, 9, seed=5)
    W[2] = W[1]  # two classes that always go together
    scale = torch.tensor([1.0, 200.0], dtype=F64)[:, None]
    x, v = scale * inputs(1, 9), inputs(2, 9, seed=6)
    D = (W - W[:1])[1:]
    expected = v @ torch.linalg.pinv(D, rtol=1e-10).matmul(D).T
    found = PullbackMetric(lambda x: x @ W.T).horizontal(x, v)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_horizontal_is_orthogonal_in_the_metric_of_the_inputs():
    net, (x, v) = mlp(), inputs(2, 5, 8)
    h = inputs(8, 8, seed=7)
    h = h @ h.T + torch.eye(8, dtype=F64)
    metric = PullbackMetric(net, input_metric=input_metrics.full(h))
    along, across = metric.vertical(x, v), metric.horizontal(x, v)
    torch.testing.assert_close(along + across, v)
    assert (metric.norm(x, along) < 1e-13).all()
    assert ((along @ h) * across).sum(1).abs().max() < 1e-11
    assert not torch.allclose(across, PullbackMetric(net).horizontal(x, v), rtol=0.1)
    walk = metric.kernel_walk(x, v)
    assert walk.drift.max() < 1e-9
    turned = metric.leaf_curvature(x, v, torch.ones_like(v))
    torch.testing.assert_close(turned, torch.full((5,), 0.25, dtype=F64), rtol=1e-9, atol=0.0)


def test_images_as_distributions_stay_distributions():
    metric = PullbackMetric(mlp(), input_metric=input_metrics.categorical)
    x0, x1 = torch.softmax(0.2 * inputs(2, 3, 8), -1)
    walk = metric.kernel_walk(x0, x1 - x0)
    path = metric.leaf_path(x0, x1)
    for points in (walk.points, path.points):
        sums = points.sum(-1)
        torch.testing.assert_close(sums, torch.ones_like(sums))
    assert walk.drift.max() < 1e-9
    with pytest.raises(ValueError, match="the points on the way must"):
        metric.kernel_walk(x0, 20.0 * (x1 - x0))


# ---------------------------------------------------------------- walks along the kernel


def drifts(num_corrections):
    metric, (x, v) = PullbackMetric(mlp()), inputs(2, 3, 8)
    walks = [
        metric.kernel_walk(x, v, num_steps=n, num_corrections=num_corrections) for n in (20, 40, 80)
    ]
    return torch.stack([walk.drift[-1] for walk in walks])


def test_uncorrected_walks_drift_with_the_step():
    found = drifts(0)
    assert (found > 1e-5).all()
    ratios = found[:-1] / found[1:]
    assert ((ratios > 1.7) & (ratios < 2.3)).all()


def test_one_newton_step_squares_the_error_of_a_step():
    found = drifts(1)
    ratios = found[:-1] / found[1:]
    assert ((ratios > 12.0) & (ratios < 20.0)).all()


def test_corrected_walks_stay():
    metric, (x, v) = PullbackMetric(mlp()), inputs(2, 3, 8)
    walk = metric.kernel_walk(x, v)
    assert walk.points.shape == (21, 3, 8)
    assert (walk.points[0] == x).all()
    assert walk.drift.max() < 1e-10
    moved = (walk.points[-1] - x).norm(dim=1)
    assert (moved > 0.3 * v.norm(dim=1)).all()


@pytest.mark.filterwarnings("ignore:The outputs of model at x are probabilities")
def test_the_kernel_of_a_radius_is_a_circle():
    metric = PullbackMetric(lambda x: one_logit(x.square().sum(1, keepdim=True)))
    x = torch.tensor([[0.6, 0.8]], dtype=F64)
    walk = metric.kernel_walk(x, torch.tensor([[0.3, -0.4]], dtype=F64), num_steps=30)
    radii = walk.points.norm(dim=-1)
    torch.testing.assert_close(radii, torch.ones_like(radii))
    # x' = P v on the circle: the angle psi to v obeys psi' = -|v| sin psi.
    v = torch.tensor([0.3, -0.4], dtype=F64)
    start = math.acos(float(x[0] @ v) / 0.5)
    end = math.acos(float(walk.points[-1, 0] @ v) / 0.5)
    expected = 2.0 * math.atan(math.tan(0.5 * start) * math.exp(-0.5))
    assert abs(end - expected) < 5e-3


def test_a_walk_needs_a_kernel():
    with pytest.raises(ValueError, match="v must have a part along the kernel of G: that at row 0"):
        PullbackMetric(one_logit).kernel_walk(*torch.ones(2, 1, 1, dtype=F64))


# ---------------------------------------------------------------- paths on leaves


def test_leaf_paths_of_a_linear_classifier_are_straight_and_arrive():
    W, (x0, x1) = inputs(4, 9, seed=5), inputs(2, 3, 9)
    metric = PullbackMetric(lambda x: x @ W.T)
    path = metric.leaf_path(x0, x1, num_steps=10)
    end = x0 + metric.horizontal(x0, x1 - x0)
    t = torch.linspace(0.0, 1.0, 11, dtype=F64)[:, None, None]
    torch.testing.assert_close(path.points, (1.0 - t) * x0 + t * end)
    torch.testing.assert_close(logits.canonical(path.outputs[-1]), logits.canonical(x1 @ W.T))
    assert (path.labels[-1] == (x1 @ W.T).argmax(-1)).all()
    assert (path.labels[0] == (x0 @ W.T).argmax(-1)).all()
    assert (path.remainder < 1e-13).all()
    torch.testing.assert_close(path.length, metric.segment_length(x0, end).value, rtol=0.01, atol=0)


def test_leaves_of_a_saddle_are_hyperbolas():
    """Where f = x^2 - y^2, the horizontal direction is (x, -y) and x y stays."""
    metric = PullbackMetric(lambda x: one_logit(x[:, :1] ** 2 - x[:, 1:] ** 2))
    x0 = torch.tensor([[1.0, 1.0]], dtype=F64)
    x1 = torch.tensor([[1.9, 0.8]], dtype=F64)
    errors = []
    for n in (20, 40, 80):
        half = metric.leaf_path(x0, x1, num_steps=n).points[n // 2]
        errors.append(abs(float(half.prod()) - 1.0))
    assert errors[0] < 1e-3
    assert 3.5 < errors[0] / errors[1] < 4.5
    assert 3.5 < errors[1] / errors[2] < 4.5
    path = metric.leaf_path(x0, x1, num_steps=200)
    # The nearest point of the hyperbola: (x1 - x) is orthogonal to its tangent (x, -y).
    x, y = path.points[-1, 0]
    assert abs(float((1.9 - x) * x - (0.8 - y) * y)) < 2e-3
    assert float(path.remainder) < 2e-3


def test_clipping_keeps_to_the_domain():
    metric = PullbackMetric(mlp())
    x0, x1 = (3.0 * inputs(2, 3, 8)).sigmoid()
    free = metric.leaf_path(x0, x1)
    clipped = metric.leaf_path(x0, x1, clip=(0.0, 1.0))
    assert free.points.amin() < 0.0
    assert clipped.points.amin() >= 0.0
    assert clipped.points.amax() <= 1.0


# ---------------------------------------------------------------- curvature


@pytest.mark.parametrize("activation", [nn.Tanh, nn.GELU, nn.ReLU])
def test_leaves_of_a_classifier_have_the_curvature_of_the_sphere_of_radius_2(activation):
    metric = PullbackMetric(mlp(activation=activation))
    found = metric.leaf_curvature(*inputs(3, 4, 8))
    torch.testing.assert_close(found, torch.full((4,), 0.25, dtype=F64), rtol=1e-9, atol=0.0)


OTHER_CURVATURES = {
    "two independent labels": (two_labels, None, 2, 0.0),
    "a plane": (lambda x: x[:, :2], flat, 5, 0.0),
    "a globe": (globe, flat, 2, 1.0),
    "normals": (
        lambda x: x[:, :2] + 0.1 * x[:, 1:3] ** 2,
        Head(
            lambda z: torch.diag_embed(torch.stack([(-z[:, 1]).exp(), 0.0 * z[:, 1] + 2**0.5], 1))
        ),
        3,
        -0.5,
    ),
}


@pytest.mark.parametrize("name", OTHER_CURVATURES)
def test_other_leaves_have_other_curvatures(name):
    net, head, d, exact = OTHER_CURVATURES[name]
    metric = PullbackMetric(net) if head is None else PullbackMetric(net, head)
    found = metric.leaf_curvature(*inputs(3, 4, d))
    torch.testing.assert_close(found, torch.full((4,), exact, dtype=F64), rtol=1e-9, atol=1e-9)


def test_curvature_does_not_depend_on_the_basis_of_its_plane():
    """The dumbbell: a surface whose curvature changes from place to place, as Gauss has it."""

    def surface(x):
        a, b = x.unbind(1)
        return torch.stack([a, b, a * a - b * b + a * b * b], dim=1)

    metric, (x, u, v) = PullbackMetric(surface, flat), 0.5 * inputs(3, 4, 2)
    a, b = x.unbind(1)
    h_a, h_b = 2.0 * a + b * b, -2.0 * b + 2.0 * a * b
    hessian = 2.0 * (-2.0 + 2.0 * a) - (2.0 * b) ** 2
    exact = hessian / (1.0 + h_a**2 + h_b**2) ** 2
    torch.testing.assert_close(metric.leaf_curvature(x, u, v), exact, rtol=1e-9, atol=0.0)
    torch.testing.assert_close(metric.leaf_curvature(x, u - 2 * v, v), exact, rtol=1e-9, atol=0.0)


# ---------------------------------------------------------------- other heads, other devices

ALL_HEADS = {
    "labels": (heads.bernoulli, 3),
    "normals": (heads.normal, 4),
    "regression": (heads.normal_fixed_std([0.5, 1.0, 2.0]), 3),
    "counts": (heads.poisson, 3),
    "a class and a number": (
        heads.product((heads.categorical, 3), (heads.normal_fixed_std(0.5), 1)),
        4,
    ),
}


@pytest.mark.parametrize("name", ALL_HEADS)
def test_every_head_lifts_its_geodesics_through_a_linear_map(name):
    head, size = ALL_HEADS[name]
    W, (x0, x1) = 0.6 * inputs(size, 7, seed=4), inputs(2, 3, 7)
    path = PullbackMetric(lambda x: x @ W.T, head).distance(x0, x1)
    assert (path.steps == 0).all()
    assert (path.arrival_error <= 2e-3 * path.lower_bound).all()
    ends = head.distance(x0 @ W.T, x1 @ W.T)
    for corner in path.points[1:-1]:
        z = corner @ W.T
        parts = head.distance(x0 @ W.T, z) + head.distance(z, x1 @ W.T)
        torch.testing.assert_close(parts, ends, rtol=1e-6, atol=0.0)


@pytest.mark.cuda
def test_paths_and_leaves_on_a_gpu():
    x0, x1 = inputs(2, 3, 8)
    here, there = PullbackMetric(mlp()), PullbackMetric(mlp().cuda())
    at0, at1 = x0.cuda(), x1.cuda()
    pairs = [
        (here.segment_length(x0, x1).value, there.segment_length(at0, at1).value),
        (here.distance(x0, x1).length, there.distance(at0, at1).length),
        (here.horizontal(x0, x1), there.horizontal(at0, at1)),
        (here.kernel_walk(x0, x1).points, there.kernel_walk(at0, at1).points),
        (here.leaf_path(x0, x1).outputs, there.leaf_path(at0, at1).outputs),
        (here.leaf_curvature(x0, x1, x1**2), there.leaf_curvature(at0, at1, at1**2)),
    ]
    for expected, seen in pairs:
        assert seen.is_cuda
        torch.testing.assert_close(seen.cpu(), expected, rtol=1e-3, atol=1e-6)
