import attacks
import mpmath
import numpy as np
import pytest
import torch
from torch import nn

from infogeo import robustness, simplex
from infogeo.lipschitz import certificates

F32, F64 = torch.float32, torch.float64


def linear(weight, bias=None, dtype=F64):
    weight = torch.as_tensor(weight, dtype=dtype)
    net = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=dtype)
    with torch.no_grad():
        net.weight.copy_(weight)
        if bias is not None:
            net.bias.copy_(torch.as_tensor(bias, dtype=dtype))
    return net.requires_grad_(False)


def random(*shape, seed=0, dtype=F64):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def linear_distances(net, x):
    """The exact l2 distance of each input to the boundary of a linear classifier."""
    z = net(x)
    label = z.argmax(-1)
    gaps = z.gather(1, label[:, None]) - z
    lengths = torch.linalg.vector_norm(net.weight[label][:, None] - net.weight, dim=-1)
    return (gaps / lengths).nan_to_num(nan=np.inf).amin(1)


def mlp(num_inputs=12, num_classes=6, *, gain=3.0, dtype=F64, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(num_inputs, 16), nn.Tanh(), nn.Linear(16, num_classes))
    with torch.no_grad():
        net[-1].weight.mul_(gain)
    return net.to(dtype)


# ---------------------------------------------------------------- the attacks of the tests


def test_deepfool_finds_the_distance_of_a_linear_classifier():
    net, x = linear(random(5, 8), random(5, seed=1)), random(30, 8, seed=2)
    points = attacks.deepfool(net, x, num_restarts=2)
    assert (attacks.predicted_class(net, points) != attacks.predicted_class(net, x)).all()
    torch.testing.assert_close(
        attacks.size(points - x), linear_distances(net, x), rtol=1e-6, atol=0
    )


def test_deepfool_returns_the_input_where_nothing_can_be_done():
    net, x = linear(torch.zeros(3, 4), [1.0, 0.0, 0.0]), random(5, 4)
    assert torch.equal(attacks.deepfool(net, x, num_restarts=2), x)


@pytest.mark.parametrize("order", [2, np.inf])
def test_pgd_of_a_binary_linear_classifier_moves_along_the_weights(order):
    net, x = linear(random(2, 8)), random(30, 8, seed=1)
    label = attacks.predicted_class(net, x)
    points = attacks.pgd(net, x, radius=0.3, order=order)
    dual = 2 if order == 2 else 1
    steepest = torch.linalg.vector_norm(net.weight[0] - net.weight[1], ord=dual)
    expected = attacks.margin(net(x), label) - 0.3 * steepest
    torch.testing.assert_close(attacks.margin(net(points), label), expected, rtol=1e-9, atol=1e-9)


def test_pgd_and_deepfool_agree_on_a_smooth_network():
    net, x = mlp(), random(20, 12)
    label = attacks.predicted_class(net, x)
    size = attacks.size(attacks.deepfool(net, x, num_restarts=5) - x)
    for share, is_fooled in ((0.9, False), (1.1, True)):
        points = attacks.pgd(net, x, radius=share * size, num_restarts=3)
        assert (attacks.size(points - x) <= share * size * (1 + 1e-12)).all()
        seen = attacks.predicted_class(net, points) != label
        assert seen.double().mean() >= 0.9 if is_fooled else seen.double().mean() <= 0.1


@pytest.mark.parametrize("order", [2, np.inf])
def test_pgd_stays_in_the_box_and_in_the_ball(order):
    net, x = mlp(gain=0.1), random(20, 12).sigmoid()
    points = attacks.pgd(net, x, radius=1.5, order=order, clip=(0.0, 1.0), num_restarts=2)
    assert points.min() >= 0.0
    assert points.max() <= 1.0
    assert (attacks.size(points - x, order) <= 1.5 * (1 + 1e-12)).all()
    assert (points == 0.0).any()
    lowered = attacks.margin(net(points), net(x).argmax(-1)) < attacks.margin(
        net(x), net(x).argmax(-1)
    )
    assert lowered.all()


# ---------------------------------------------------------------- boundary distance


def exact_boundary_distance(z):
    with mpmath.workdps(50):
        weights = sorted((mpmath.exp(mpmath.mpf(float(value))) for value in z), reverse=True)
        u = [mpmath.sqrt(w / mpmath.fsum(weights)) for w in weights]
        return float(2 * mpmath.asin((u[0] - u[1]) / mpmath.sqrt(2)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_boundary_distance_to_rounding(lib, dtype):
    z = np.random.default_rng(0).normal(size=(8, 6)) * np.array([1, 1, 4, 4, 20, 20, 1, 1])[:, None]
    z[-2] = [1e-7, 0.0, -1.0, -2.0, -3.0, -4.0]
    z[-1] = [200.0, 0.0, -1.0, -2.0, -3.0, -4.0]
    z = z.astype(dtype)
    seen = robustness.boundary_distance(lib.array(z, dtype))
    assert lib.dtype_name(seen) == dtype
    expected = [exact_boundary_distance(row) for row in z]
    np.testing.assert_allclose(lib.to_numpy(seen), expected, rtol=8 * np.finfo(dtype).eps)


def test_boundary_distance_is_attained_and_not_beaten(rng):
    """Its foot is at that distance and a tie; no other tie of the two is nearer."""
    p = simplex.random_uniform(5, (200,), rng=rng)
    p = -np.sort(-p)
    distance = robustness.boundary_distance(np.log(p))
    u = np.sqrt(p)
    u[:, :2] = u[:, :2].mean(1, keepdims=True)
    foot = u**2 / (u**2).sum(1, keepdims=True)
    assert (foot[:, 0] >= foot.max(1)).all()
    np.testing.assert_allclose(simplex.fisher_rao_distance(p, foot), distance, rtol=1e-12)
    ties = simplex.random_uniform(5, (300, 1), rng=rng)
    ties[..., :2] = ties.max(-1, keepdims=True)
    ties /= ties.sum(-1, keepdims=True)
    assert (simplex.fisher_rao_distance(p, ties) >= distance * (1 - 1e-12)).all()


def test_boundary_distance_is_the_drift_that_the_fisher_rao_radius_allows(rng):
    z = rng.normal(size=(100, 4)) * 3.0
    radius = certificates.fisher_rao_radius(z, lipschitz_constant=2.0)
    drift = certificates.drift_bound(radius, lipschitz_constant=2.0)
    np.testing.assert_allclose(robustness.boundary_distance(z), drift, rtol=1e-12)


def test_boundary_distance_of_masked_classes():
    z = [[0.0, -np.inf], [1.0, -np.inf]]
    np.testing.assert_allclose(robustness.boundary_distance(z), np.pi / 2, rtol=1e-15)


def test_boundary_distance_wants_two_classes():
    with pytest.raises(
        ValueError, match=r"^logits must hold at least two classes in its last axis: "
    ):
        robustness.boundary_distance([[1.0]])
