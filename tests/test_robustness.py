from fractions import Fraction

import attacks
import mpmath
import numpy as np
import pytest
import torch
from torch import nn

from infogeo import robustness, simplex
from infogeo.lipschitz import certificates, layers
from infogeo.pullback import heads

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


def test_pgd_finds_a_class_that_is_not_the_runner_up():
    """The runner-up at x is out of reach, and a class behind it is near."""
    net = linear([[0.0, 0.0], [0.1, 0.0], [0.0, 2.0]], [1.0, 0.9, -0.5])
    x = torch.zeros(1, 2, dtype=F64)
    assert net(x)[0].argsort().tolist() == [2, 1, 0]
    points = attacks.pgd(net, x, radius=0.8, num_restarts=3)
    assert attacks.predicted_class(net, points).tolist() == [2]
    assert float(attacks.margin(net(points), torch.tensor([0]))) < -0.09  # the least is -0.1


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


def test_boundary_distance_is_that_of_the_categorical_head():
    z = 3.0 * random(20, 5)
    expected = heads.categorical.boundary_distance(z)
    torch.testing.assert_close(robustness.boundary_distance(z), expected, rtol=0, atol=0)


# ---------------------------------------------------------------- indicator and criterion


def dense_eigenvalues(net, x):
    """All eigenvalues of J'(diag p - p p')J, ascending, one input at a time."""
    values = []
    for sample in x:
        J = torch.autograd.functional.jacobian(net, sample[None])[0, :, 0].flatten(1)
        p = torch.softmax(net(sample[None])[0].detach(), -1)
        values.append(torch.linalg.eigvalsh(J.T @ (torch.diag(p) - torch.outer(p, p)) @ J))
    return torch.stack(values)


def test_indicator_and_criterion_are_those_of_the_dense_metric():
    net, x = mlp(), random(20, 12)
    speeds = dense_eigenvalues(net, x)[:, -1].sqrt()
    distances = torch.tensor([exact_boundary_distance(z) for z in net(x).detach()], dtype=F64)
    seen = robustness.robustness_indicator(net, x)
    torch.testing.assert_close(seen, distances / speeds, rtol=1e-10, atol=0)
    radius = float(seen.median())
    held = robustness.isometry_criterion(net, x, radius=radius)
    assert torch.equal(held, speeds <= distances / radius * (1 + 1e-12))
    assert held.any()
    assert not held.all()
    assert robustness.isometry_criterion(net, x, radius=seen * (1 - 1e-12)).all()
    assert not robustness.isometry_criterion(net, x, radius=seen * (1 + 1e-12)).any()


def test_indicator_of_saturated_and_of_flat_predictions_in_float32():
    net = linear([[1.0], [0.0]], dtype=F32)
    seen = robustness.robustness_indicator(net, torch.tensor([[0.0], [60.0], [150.0]]))
    assert seen[0] == 0.0  # on the boundary
    # 1/2 pi / (exp(-30) (1 + exp(-60))^-1); exp(-75) is no float32 probability
    np.testing.assert_allclose(seen[1:], np.pi / 2 * np.exp([30.0, 75.0]), rtol=1e-5)
    assert robustness.robustness_indicator(net, torch.tensor([[500.0]])).isinf()
    assert robustness.robustness_indicator(linear([[0.0], [0.0]], [1.0, 0.0]), random(1, 1)).isinf()


def test_indicator_is_no_certificate():
    net, x = mlp(gain=20.0), random(50, 12)
    adversarial = attacks.size(attacks.deepfool(net, x, num_restarts=2) - x)
    assert (robustness.robustness_indicator(net, x) > 1.5 * adversarial).any()


# ---------------------------------------------------------------- spectral attacks


def test_one_step_is_the_shortest_way_for_two_classes():
    net, x = linear(random(2, 6), random(2, seed=1)), random(40, 6, seed=2)
    distance = linear_distances(net, x)
    for share, is_fooled in ((1 - 1e-9, False), (1 + 1e-9, True)):
        attack = robustness.spectral_attack(net, x, radius=share * distance)
        assert (attack.success == is_fooled).all()
    towards = (net.weight[1] - net.weight[0]) * torch.where(net(x).argmax(1) == 0, 1, -1)[:, None]
    expected = x + distance[:, None] * towards / torch.linalg.vector_norm(towards[0])
    torch.testing.assert_close(attack.points, expected, rtol=1e-8, atol=1e-8)


def top_direction(net, x):
    """The top eigenvector of the dense metric of one input, in the sense that lowers p_k."""
    J = torch.autograd.functional.jacobian(net, x[None])[0, :, 0]
    p = torch.softmax(net(x[None])[0].detach(), -1)
    return torch.linalg.eigh(J.T @ (torch.diag(p) - torch.outer(p, p)) @ J).eigenvectors[:, -1]


def test_one_and_two_steps_follow_the_top_eigenvectors():
    net, x, radius = mlp(), random(20, 12), 0.4

    def best_end(start, point, share, used):
        """The end that lowers p_k more, with the whole change at the length used so far."""
        v = share * radius * top_direction(net, point)
        changes = torch.stack([point - start + v, point - start - v])
        changes *= used * radius / torch.linalg.vector_norm(changes, dim=1, keepdim=True)
        k = net(start).argmax()
        return (start + changes)[torch.softmax(net(start + changes), -1)[:, k].argmin()]

    for num_steps, shares in ((1, (1.0,)), (2, (0.6, 0.4)), (3, (4 / 9, 3 / 9, 2 / 9))):
        attack = robustness.spectral_attack(net, x, radius=radius, num_steps=num_steps)
        for start, seen, distance in zip(x, attack.points, attack.distances, strict=True):
            point, used = start, 0.0
            for share in shares:
                used += share
                point = best_end(start, point, share, used)
            torch.testing.assert_close(seen, point, rtol=0, atol=1e-9)
            assert float(distance) == pytest.approx(radius, rel=1e-12)
    assert attack.temperature == 1.0


def exactly(x):
    return [Fraction(value) for value in x.flatten().tolist()]


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("clip", [None, (0.0, 1.0), (-0.1, 0.9)])
@pytest.mark.parametrize("num_steps", [1, 3])
def test_points_keep_the_budget_and_the_box_exactly(dtype, clip, num_steps):
    """Exactly: in rational arithmetic, after rounding."""
    net = nn.Sequential(nn.Flatten(), mlp(36, 5)).to(dtype)
    x = (0.9 * random(12, 1, 6, 6).sigmoid()).to(dtype)
    x[:, :, :3] = 0.0
    for radius in (1e-6, 0.01, 0.3, 1.5):
        attack = robustness.spectral_attack(net, x, radius=radius, num_steps=num_steps, clip=clip)
        assert attack.points.dtype == dtype
        assert attack.points.shape == x.shape
        if clip is not None:
            low, high = (torch.tensor(bound, dtype=dtype) for bound in clip)
            assert ((attack.points >= low) & (attack.points <= high)).all()
        for start, point in zip(x, attack.points, strict=True):
            pairs = zip(exactly(start), exactly(point), strict=True)
            squared = sum((a - b) ** 2 for a, b in pairs)
            assert squared <= Fraction(radius) ** 2
            least = radius - 40 * float(torch.finfo(dtype).eps) - 1e-12 * radius
            assert squared >= Fraction(max(0.0, least)) ** 2
        assert torch.equal(attack.success, net(attack.points).argmax(1) != net(x).argmax(1))


def test_what_the_box_takes_the_other_entries_get():
    """The point is the clipped end of a straight line, at the length where it has the radius."""
    net, x = mlp(), random(20, 12).sigmoid()
    v = robustness.PullbackMetric(net).spectrum(x, num_values=1).vectors[:, 0]
    attack = robustness.spectral_attack(net, x, radius=0.7, clip=(0.0, 1.0))
    for sample, seen, direction in zip(x, attack.points, v, strict=True):
        ends = []
        for sign in (1.0, -1.0):
            low, high = 0.0, 100.0
            for _ in range(80):
                t = 0.5 * (low + high)
                end = (sample + t * sign * direction).clamp(0.0, 1.0)
                low, high = (t, high) if attacks.size((end - sample)[None]) < 0.7 else (low, t)
            ends.append(end)
        p = torch.softmax(net(torch.stack(ends)), -1)[:, net(sample[None]).argmax()]
        torch.testing.assert_close(seen, ends[p.argmin()], rtol=0, atol=1e-9)
    is_bound = (attack.points == 0.0) | (attack.points == 1.0)
    assert is_bound.any()


def test_a_radius_beyond_the_box_ends_in_its_corner():
    net, x = mlp(), random(5, 12).sigmoid()
    attack = robustness.spectral_attack(net, x, radius=50.0, clip=(torch.zeros(12), 1.0))
    assert ((attack.points == 0.0) | (attack.points == 1.0)).all()
    torch.testing.assert_close(attack.distances, attacks.size(attack.points - x))


def test_more_steps_and_the_whole_budget_fool_more():
    net, x = mlp(gain=6.0), random(200, 12).sigmoid()
    rates = [
        robustness.spectral_attack(net, x, radius=0.3, num_steps=k, clip=(0.0, 1.0)).success
        for k in (1, 5)
    ]
    strongest = attacks.pgd(net, x, radius=0.3, clip=(0.0, 1.0), num_steps=100, num_restarts=3)
    limit = (attacks.predicted_class(net, strongest) != net(x).argmax(1)).double().mean()
    one, five = (rate.double().mean() for rate in rates)
    assert 0.0 < one <= five <= limit + 0.02


def test_attacks_on_saturated_predictions_in_float32():
    """p = 1 in float32, the gradients of the probabilities are 0, and yet the way is known."""
    net = linear(100.0 * random(3, 8), dtype=F32)
    x = random(60, 8, dtype=F32)
    z, order = torch.sort(net(x), descending=True)
    x, order = (t[(z[:, 0] > z[:, 1] + 100) & (z[:, 1] > z[:, 2] + 40)] for t in (x, order))
    assert len(x) > 10
    assert (torch.softmax(net(x), -1).amax(1) == 1.0).all()
    towards = net.weight[order[:, 1]] - net.weight[order[:, 0]]
    gap = attacks.margin(net(x), order[:, 0])
    radius = 1.01 * gap / attacks.size(towards)
    attack = robustness.spectral_attack(net, x, radius=radius)
    expected = x + (radius / attacks.size(towards))[:, None] * towards
    torch.testing.assert_close(attack.points, expected, rtol=1e-5, atol=1e-5)
    assert attack.success.all()


def test_attack_keeps_the_parameters_and_needs_no_graph():
    net, x = mlp(), random(3, 12).requires_grad_()
    with torch.inference_mode():
        attack = robustness.spectral_attack(net, x, radius=0.1)
    assert not attack.points.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())
    assert x.grad is None


# ---------------------------------------------------------------- penalties


def with_singular_values(stretch, z, x):
    """An affine map through (x, z) whose factor at x has all singular values equal to stretch."""
    A = heads.categorical.factor(z[None])[0]
    Q = torch.linalg.qr(random(len(x), len(A), seed=5)).Q.T
    W = torch.linalg.pinv(A) @ (stretch * Q)
    return linear(W, z - W @ x).requires_grad_()


def test_isometry_penalty_vanishes_on_isometries_and_only_there():
    z, x, radius = random(5, seed=3), random(9, seed=4), 0.7
    stretch = robustness.boundary_distance(z) / radius
    net = with_singular_values(stretch, z, x)
    penalty = robustness.isometry_penalty(net, x[None], radius=radius)
    assert float(penalty.detach()) < 1e-25
    gradients = torch.autograd.grad(penalty, net.parameters())
    assert max(float(g.abs().max()) for g in gradients) < 1e-11
    other = robustness.isometry_penalty(
        with_singular_values(1.1 * stretch, z, x), x[None], radius=radius
    )
    # four singular values, each off by a factor of 1.1
    assert float(other.detach()) == pytest.approx(4 * float((1.21 - 1) * stretch**2) ** 2, rel=1e-9)


@pytest.mark.parametrize("dtype", [F64, F32])
def test_isometry_penalty_from_the_eigenvalues(dtype):
    net, x = mlp(), random(8, 12)
    largest = dense_eigenvalues(net, x)[:, -5:]
    distances = [exact_boundary_distance(z) for z in net(x).detach()]
    targets = torch.tensor(distances, dtype=F64) / 0.5
    expected = (largest - targets[:, None].square()).square().sum(1).mean()
    seen = robustness.isometry_penalty(net.to(dtype), x.to(dtype), radius=0.5)
    assert seen.dtype == dtype
    assert float(seen.detach()) == pytest.approx(
        float(expected), rel=1e-10 if dtype == F64 else 1e-4
    )


def parameters_as_inputs(net, penalty):
    """Return penalty as a function of the input and of the tensors that the network is made of."""
    names, values = zip(*net.named_parameters(), strict=True)

    def function(x, *values):
        parameters = dict(zip(names, values, strict=True))
        return penalty(lambda y: torch.func.functional_call(net, parameters, (y,)), x)

    return function, tuple(value.detach().clone().requires_grad_() for value in values)


def conv_net():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.Softplus(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 4)
        ).double()


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(2, 3, batch_first=True)
        self.last = nn.Linear(3, 3)

    def forward(self, x):
        return self.last(self.lstm(x)[0][:, -1])


def recurrent():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return Recurrent().double()


PENALTIES = {
    "isometry": lambda model, x: robustness.isometry_penalty(model, x, radius=0.5),
    "isometry at a temperature": lambda model, x: robustness.isometry_penalty(
        model, x, radius=0.5, temperature=0.3
    ),
    "isometry of labels": lambda model, x: robustness.isometry_penalty(
        model, x, radius=0.5, head=heads.bernoulli
    ),
    "trace": lambda model, x: robustness.trace_penalty(
        model, x, num_probes=2, generator=torch.Generator().manual_seed(3)
    ),
    "trace of labels": lambda model, x: robustness.trace_penalty(
        model, x, generator=torch.Generator().manual_seed(3), head=heads.bernoulli
    ),
}
NETS = {"mlp": (mlp(4, 3), (4,)), "cnn": (conv_net(), (1, 6, 6)), "lstm": (recurrent(), (3, 2))}


# In fast mode gradcheck looks along one random direction, else along each axis.
EACH_AXIS = pytest.param("mlp", False, marks=[pytest.mark.slow, pytest.mark.campaign])


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(("name", "fast_mode"), [*((name, True) for name in NETS), EACH_AXIS])
def test_gradients_of_penalties_by_parameters_and_input(name, fast_mode, penalty):
    net, shape = NETS[name]
    function, values = parameters_as_inputs(net, PENALTIES[penalty])
    x = random(2, *shape, seed=6).requires_grad_()
    assert torch.autograd.gradcheck(function, (x, *values), fast_mode=fast_mode)


def test_trace_penalty_is_exact_for_two_classes():
    net, x = mlp(12, 2), random(6, 12)
    expected = dense_eigenvalues(net, x).sum(1).mean()
    assert float(robustness.trace_penalty(net, x).detach()) == pytest.approx(
        float(expected), rel=1e-10
    )


def test_trace_penalty_has_the_mean_and_the_variance_that_it_claims():
    net, x = mlp(), random(1, 12)
    A = robustness.PullbackMetric(net).factor(x)[0]
    gram = A @ A.T
    variance = float(2.0 * (gram.square().sum() - gram.diagonal().square().sum()))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        seen = robustness.trace_penalty(net, x.expand(20000, -1), generator=generator)
        single = [float(robustness.trace_penalty(net, x, generator=generator)) for _ in range(600)]
    error = abs(float(seen - dense_eigenvalues(net, x).sum()))
    assert error < 4.0 * (variance / 20000) ** 0.5
    assert np.var(single) == pytest.approx(variance, rel=0.25)


@pytest.mark.parametrize("name", ["isometry", "trace"])
def test_penalties_make_no_graph_where_none_is_wanted(name):
    net, x = mlp(4, 3), random(2, 4)
    expected = PENALTIES[name](net, x)
    for guard in (torch.no_grad(), torch.inference_mode()):
        with guard:
            seen = PENALTIES[name](net, x)
        assert not seen.requires_grad
        assert float(seen) == float(expected.detach())
    assert expected.requires_grad
    assert not x.requires_grad


@pytest.mark.parametrize("name", ["isometry", "trace"])
def test_penalties_survive_saturation_and_masks_in_float32(name):
    net, x = mlp(4, 3, dtype=F32), random(5, 4, dtype=F32)
    saturated = nn.Sequential(net, linear(1e4 * torch.eye(3), dtype=F32))
    masked = nn.Sequential(net, linear(torch.eye(3), [0.0, 0.0, -np.inf], dtype=F32))
    for model in (saturated, masked):
        penalty = PENALTIES[name](model, x)
        gradients = torch.autograd.grad(penalty, net.parameters())
        assert torch.isfinite(penalty)
        assert all(torch.isfinite(g).all() for g in gradients)


def trained(weight):
    """Train with a weight of the penalty; return the share of right answers and the mean trace."""
    net, x = mlp(12, 4), random(64, 12)
    target = net(x).argmax(1)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), target)
        (loss + weight * robustness.trace_penalty(net, x, generator=generator)).backward()
        optimizer.step()
    accuracy = (net(x).argmax(1) == target).double().mean()
    return float(accuracy), float(robustness.PullbackMetric(net).trace(x).mean())


def test_training_against_the_trace_lowers_it():
    accuracy, trace = trained(0.3)
    assert accuracy > 0.9
    assert trace < 0.5 * trained(0.0)[1]


# ---------------------------------------------------------------- wrong arguments


X = torch.full((2, 3), 0.5)
NET = linear(torch.eye(3), dtype=F32)
WRONG = {
    "no tensor": (
        lambda: robustness.spectral_attack(NET, X.numpy(), radius=1.0),
        TypeError,
        r"x must be a torch tensor: got ndarray\. Use torch\.as_tensor\(x\)\.",
    ),
    "no batch": (
        lambda: robustness.isometry_penalty(NET, X[0], radius=1.0),
        ValueError,
        r"x must have shape \(batch, \*input\): its shape is \(3,\)\. Use x\[None\]\.",
    ),
    "radius": (
        lambda: robustness.spectral_attack(NET, X, radius=0.0),
        ValueError,
        r"radius must be positive and finite: it has the entry 0",
    ),
    "radii": (
        lambda: robustness.spectral_attack(NET, X, radius=torch.ones(3)),
        ValueError,
        r"radius must be a number or hold one for each input: its shape is \(3,\) for 2 inputs\.",
    ),
    "steps": (
        lambda: robustness.spectral_attack(NET, X, radius=1.0, num_steps=0),
        ValueError,
        r"num_steps must be a positive integer: got 0\.",
    ),
    "probes": (
        lambda: robustness.trace_penalty(NET, X, num_probes=1.5),
        ValueError,
        r"num_probes must be a positive integer: got 1\.5\.",
    ),
    "clip": (
        lambda: robustness.spectral_attack(NET, X, radius=1.0, clip=1.0),
        TypeError,
        r"clip must be None or a pair \(low, high\): got 1\.0\.",
    ),
    "box without x": (
        lambda: robustness.spectral_attack(NET, X, radius=1.0, clip=(0.6, 1.0)),
        ValueError,
        r"x must lie in the box that clip describes: its entries range from 0\.5 to 0\.5, and "
        r"clip from 0\.6 to 1\.",
    ),
    "box of another shape": (
        lambda: robustness.spectral_attack(NET, X, radius=1.0, clip=(torch.zeros(4), 1.0)),
        ValueError,
        r"clip low must broadcast to the shape of x: x has shape \(2, 3\) and clip low \(4,\)\.",
    ),
    "head": (
        lambda: robustness.isometry_penalty(NET, X, radius=1.0, head=heads.poisson),
        ValueError,
        r"head must know how far an output is from another decision: this Head does not\. "
        r"Pass Head\(factor, boundary_distance=\.\.\.\)\.",
    ),
    "training mode": (
        lambda: robustness.trace_penalty(nn.Sequential(nn.Dropout(0.5), NET), X),
        ValueError,
        r"model must treat each input by itself, and always in the same way: Dropout '0' is in "
        r"training mode\. Call model\.eval\(\) first\.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name):
    call, error, message = WRONG[name]
    with pytest.raises(error, match=f"^{message}"):
        call()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_penalties_of_half_precision_do_not_overflow(dtype):
    """Logits 300 (x, -x) at a tie: the trace 300^2 is above the largest number of float16."""
    net = linear([[300.0], [-300.0]], dtype=dtype)
    x = torch.zeros(2, 1, dtype=dtype)
    trace = robustness.trace_penalty(net, x)
    assert trace.dtype == F32
    assert float(trace.detach()) == pytest.approx(300.0**2, rel=1e-2)
    penalty = robustness.isometry_penalty(net, x, radius=1.0)
    assert float(penalty.detach()) == pytest.approx(300.0**4, rel=1e-2)


def test_penalties_of_what_torch_cannot_differentiate():
    x = random(2, 3)
    for model in (lambda x: x.detach(), lambda x: torch.zeros_like(x, requires_grad=True) * 1.0):
        with pytest.raises(ValueError, match="model must be differentiable by torch"):
            robustness.trace_penalty(model, x)
        with pytest.raises(ValueError, match="model must be differentiable by torch"):
            robustness.isometry_penalty(model, x, radius=1.0)


def test_penalties_of_no_inputs_are_refused():
    model, x = nn.Linear(4, 3), torch.zeros(0, 4)
    with pytest.raises(ValueError, match="x must hold at least one input"):
        robustness.isometry_penalty(model, x, radius=0.5)
    with pytest.raises(ValueError, match="x must hold at least one input"):
        robustness.trace_penalty(model, x)


def test_penalties_of_a_network_whose_features_are_all_zero_can_be_trained():
    model = nn.Sequential(nn.Linear(4, 8), layers.NormPool(2), nn.Linear(4, 3))
    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    x = torch.rand(5, 4)
    (
        robustness.isometry_penalty(model, x, radius=0.5) + robustness.trace_penalty(model, x)
    ).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


# ---------------------------------------------------------------- projected gradient descent


@pytest.mark.parametrize("order", [2, np.inf])
@pytest.mark.parametrize("dtype", [F32, F64])
def test_pgd_reaches_the_least_margin_of_a_linear_classifier(order, dtype):
    """Between two classes the margin w'x falls by the dual norm of w times the radius."""
    net, x = linear(random(2, 8), dtype=dtype), random(30, 8, seed=2, dtype=dtype)
    target = net(x).argmax(1)
    radius = torch.linspace(0.0, 1.5, 30, dtype=dtype)
    attack = robustness.pgd_attack(net, x, radius=radius, order=order)
    normal = net.weight[0] - net.weight[1]
    steepest = torch.linalg.vector_norm(normal, 2 if order == 2 else 1)
    expected = attacks.margin(net(x), target) - radius * steepest
    torch.testing.assert_close(attack.margins, expected, rtol=1e-5, atol=1e-5)
    assert attack.success.tolist() == (expected < 0).tolist()
    assert attack.points.dtype == dtype
    assert attack.order == order
    change = attack.points.double() - x.double()
    size = torch.linalg.vector_norm(change, order, dim=1)
    assert bool((size <= radius.double()).all())
    torch.testing.assert_close(attack.distances.double(), size, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("order", [2, np.inf])
@pytest.mark.parametrize("dtype", [torch.float16, F32, F64])
def test_pgd_stays_in_the_box_and_the_ball_after_rounding(order, dtype):
    net = mlp(dtype=F32 if dtype == torch.float16 else dtype)
    x = torch.rand(20, 12, dtype=F64, generator=torch.Generator().manual_seed(3)).to(dtype)

    def model(y):
        return net(y.to(net[0].weight.dtype))

    for radius in (1e-3, 0.3, 40.0):
        seed = torch.Generator().manual_seed(1)
        attack = robustness.pgd_attack(
            model, x, radius=radius, order=order, num_steps=6, restarts=3, clip=(0.0, 1.0),
            generator=seed,
        )  # fmt: skip
        assert attack.points.dtype == dtype
        assert bool(((attack.points >= 0.0) & (attack.points <= 1.0)).all())
        change = attack.points.double() - x.double()
        allowed = torch.tensor(radius, dtype=net[0].weight.dtype).double()  # in that precision
        assert bool((torch.linalg.vector_norm(change, order, dim=1) <= allowed).all())
        assert bool((attack.margins <= attacks.margin(model(x), model(x).argmax(1))).all())


def test_pgd_of_a_batch_is_that_of_its_rows_and_restarts_only_help():
    net, x = mlp(), random(6, 12, seed=5)
    whole = robustness.pgd_attack(net, x, radius=0.2)
    for i in range(6):
        alone = robustness.pgd_attack(net, x[i : i + 1], radius=0.2)
        torch.testing.assert_close(alone.points, whole.points[i : i + 1], rtol=1e-9, atol=1e-9)
    seed = torch.Generator().manual_seed(0)
    more = robustness.pgd_attack(net, x, radius=0.2, restarts=6, generator=seed)
    assert bool((more.margins <= whole.margins + 1e-12).all())
    assert len(robustness.pgd_attack(net, x[:0], radius=0.2).margins) == 0


@pytest.mark.parametrize("clip", [None, (0.0, 2000.0)])
@pytest.mark.parametrize(("order", "dual"), [(2, np.sqrt(2.0)), (np.inf, 2.0)])
def test_pgd_takes_steps_that_are_shorter_than_the_spacing_of_numbers(order, dual, clip):
    """A linear margin falls by the radius times the dual norm, but for two roundings of inputs."""
    for dtype, offset, radius in ((torch.float32, 1000.0, 1e-3), (torch.bfloat16, 0.9, 0.05)):
        x = torch.tensor([[offset, 0.5 * offset]]).to(dtype)
        attack = robustness.pgd_attack(
            lambda x: torch.stack((x[:, 0] - x[:, 1], 0.0 * x[:, 0]), dim=1).float(),
            x, radius=radius, order=order, clip=clip,
        )  # fmt: skip
        moved = (x.double() - attack.points.double())[0]
        spacing = torch.finfo(dtype).eps * offset
        assert float(moved[0] - moved[1]) >= dual * radius - 2.0 * spacing
        assert float(torch.linalg.vector_norm(moved, order)) <= radius


def test_pgd_attacks_the_classes_that_it_is_given():
    net, x = mlp(), random(8, 12, seed=6)
    order = net(x).argsort(1, descending=True)
    attack = robustness.pgd_attack(net, x, radius=1e-6, target=order[:, 1])
    assert bool(attack.success.all())  # they are wrong from the start
    masked = torch.tensor([0.0, 0.0, -np.inf, 0.0, 0.0, 0.0], dtype=F64)
    attack = robustness.pgd_attack(lambda y: net(y) + masked, x, radius=0.5, restarts=5)
    assert bool(torch.isfinite(attack.margins).all())
    assert 2 not in net(attack.points).add(masked).argmax(1)


def test_pgd_takes_gradients_of_any_size():
    x = random(4, 5, seed=7)
    weight = random(2, 5)
    for scale in (1e-150, 1.0, 1e150):
        attack = robustness.pgd_attack(linear(scale * weight), x, radius=0.3)
        expected = robustness.pgd_attack(linear(weight), x, radius=0.3)
        torch.testing.assert_close(attack.points, expected.points, rtol=1e-9, atol=1e-9)
    flat = robustness.pgd_attack(lambda y: torch.stack((0 * y[:, 0] + 1, 0 * y[:, 0]), 1), x,
                                 radius=0.3, restarts=2)  # fmt: skip
    assert flat.margins.tolist() == [1.0] * 4


@pytest.mark.parametrize("order", [2, np.inf])
def test_pgd_keeps_to_true_certificates_and_breaks_inflated_ones(order):
    """Of a convolutional network with a bound that `lipschitz_bound` computes."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    ).double()
    x = torch.rand(60, 1, 4, 4, dtype=F64)
    bound = layers.lipschitz_bound(net, order=order)
    certificate = certificates.margin_radius if order == 2 else certificates.l_inf_radius
    radii = certificate(net(x).detach(), lipschitz_constant=bound)
    options = {"order": order, "restarts": 3, "generator": torch.Generator().manual_seed(0)}
    assert not robustness.pgd_attack(net, x, radius=radii, **options).success.any()
    slopes = torch.stack([torch.func.jacrev(net)(y[None]).reshape(3, -1) for y in x]).detach()
    gaps = torch.stack([slopes[:, i] - slopes[:, j] for i, j in ((0, 1), (0, 2), (1, 2))])
    steepest = torch.linalg.vector_norm(gaps, 2 if order == 2 else 1, dim=-1).max()
    slope = float(steepest) / (2.0**0.5 if order == 2 else 2.0)
    wrong = certificate(net(x).detach(), lipschitz_constant=0.5 * slope)
    assert robustness.pgd_attack(net, x, radius=wrong, **options).success.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 1}, "order must be 2 or inf: got 1"),
        ({"radius": -1.0}, "radius must"),
        ({"num_steps": 0}, "num_steps must be a positive integer"),
        ({"restarts": 0}, "restarts must be a positive integer"),
        ({"target": torch.tensor([0, 9])}, "target must hold classes from 0 to 5"),
        ({"target": torch.tensor([0])}, "target must have one class for each input"),
        ({"clip": (0.0, 0.1)}, "x must lie in the box"),
    ],
)
def test_pgd_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        robustness.pgd_attack(mlp(), random(2, 12), **({"radius": 0.1} | arguments))


def test_pgd_refuses_classes_of_another_kind():
    for target in ([0, 1], torch.tensor([0.0, 1.0])):
        with pytest.raises(TypeError, match="target must"):
            robustness.pgd_attack(mlp(), random(2, 12), radius=0.1, target=target)
    with pytest.raises(ValueError, match="at least two logits"):
        robustness.pgd_attack(linear(random(1, 12)), random(2, 12), radius=0.1)
