"""What the outputs of a network stand for, against KL divergences, 60 digits and closed cases."""

import math
import pickle

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributions

from infogeo import logits, manifolds
from infogeo.manifolds import Beta, Dirichlet, Poisson, VonMises
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal
from infogeo.pullback import Head, PullbackMetric, heads

F32, F64 = torch.float32, torch.float64

STDS = [0.5, 2.0, 1.0, 0.1]
PARTS = ((heads.categorical, 2), (heads.bernoulli, 1), (heads.poisson, 1))
HEADS = {
    "categorical": heads.categorical,
    "bernoulli": heads.bernoulli,
    "normal": heads.normal,
    "normal_fixed_std": heads.normal_fixed_std(STDS),
    "poisson": heads.poisson,
    "product": heads.product(*PARTS),
}


def distribution(name, z):
    """Return the distribution that four outputs stand for, as torch has it."""
    if name == "categorical":
        return distributions.Categorical(logits=z)
    if name == "bernoulli":
        return distributions.Independent(distributions.Bernoulli(logits=z), 1)
    if name == "normal":
        return distributions.Independent(distributions.Normal(z[:2], z[2:].exp()), 1)
    if name == "normal_fixed_std":
        return distributions.Independent(distributions.Normal(z, z.new_tensor(STDS)), 1)
    return distributions.Independent(distributions.Poisson(z.exp()), 1)


def divergence(name, z, w):
    if name != "product":
        return distributions.kl_divergence(distribution(name, z), distribution(name, w))
    return (
        divergence("categorical", z[:2], w[:2])
        + divergence("bernoulli", z[2:3], w[2:3])
        + divergence("poisson", z[3:], w[3:])
    )


def net(scale=1.0, dtype=F64):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4), Scaled(scale)
    )
    return model.to(dtype)


class Scaled(torch.nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return self.scale * x


def points(num=5, size=6, dtype=F64, seed=1):
    return torch.randn(num, size, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def assert_close(seen, expected, rtol, atol=0.0):
    torch.testing.assert_close(seen, expected, rtol=rtol, atol=atol, check_dtype=False)


def fisher_information(name, z):
    """Return the Hessian of the KL divergence where both arguments are the same."""
    return torch.stack(
        [
            torch.autograd.functional.hessian(lambda w, y=y: divergence(name, y, w), y.clone())
            for y in z
        ]
    )


# ---------------------------------------------------------------- the metric


@pytest.mark.parametrize("name", HEADS)
def test_factor_squares_to_the_fisher_information(name):
    z = points(4, 4)
    A = HEADS[name].factor(z)
    assert_close(A.mT @ A, fisher_information(name, z), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", HEADS)
def test_the_metric_of_a_network_is_the_dense_formula(name):
    model, x, v = net(), points(), points(seed=2)
    J = torch.stack([torch.autograd.functional.jacobian(model, y) for y in x])
    G = J.mT @ fisher_information(name, model(x).detach()) @ J
    pulled = PullbackMetric(model, HEADS[name])
    assert_close(pulled.matrix(x), G, rtol=0.0, atol=1e-13 * float(G.abs().max()))
    assert_close(pulled.norm(x, v), torch.einsum("bi,bij,bj->b", v, G, v).sqrt(), rtol=1e-12)
    values = torch.linalg.eigvalsh(G).flip(-1)
    seen = pulled.spectrum(x).values
    assert_close(seen, values[:, : seen.shape[1]], rtol=1e-10)
    assert_close(pulled.trace(x), values.sum(-1), rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in HEADS if name != "product"])
def test_rows_come_in_descending_order(name):
    scales = PullbackMetric(net(3.0), HEADS[name]).scaled_factor(points()).log_scales
    assert (scales[:, :-1] >= scales[:, 1:]).all()


@pytest.mark.parametrize("name", HEADS)
def test_norm_is_the_speed_of_the_distance(name):
    model, x, v = net(), points(), points(seed=2)
    pulled = PullbackMetric(model, HEADS[name])
    step = 1e-5
    distance = pulled.output_distance(x - step * v, x + step * v)
    assert_close(distance / (2.0 * step), pulled.norm(x, v), rtol=1e-8)


@pytest.mark.parametrize("name", HEADS)
def test_kl_divergence_is_half_the_squared_distance(name):
    z, v = points(4, 4), points(4, 4, seed=2)
    w = z + 1e-4 * v
    kl = torch.stack([divergence(name, *pair) for pair in zip(z, w, strict=True)])
    assert_close(0.5 * HEADS[name].distance(z, w) ** 2, kl, rtol=1e-3)


# ---------------------------------------------------------------- the distance


def exact_distance(name, z, w):
    """Return the distance of two outputs, from the textbook's formula at 2000 digits."""
    with mpmath.workdps(2000):
        z, w = ([mpmath.mpf(float(value)) for value in y] for y in (z, w))
        if name == "normal_fixed_std":
            terms = [(a - b) / mpmath.mpf(s) for a, b, s in zip(z, w, STDS, strict=True)]
        elif name == "poisson":
            pairs = zip(z, w, strict=True)
            terms = [2 * (mpmath.exp(a / 2) - mpmath.exp(b / 2)) for a, b in pairs]
        elif name == "bernoulli":
            terms = [exact_bernoulli_distance(a, b) for a, b in zip(z, w, strict=True)]
        else:
            terms = [
                exact_normal_distance(*pair)
                for pair in zip(z[:2], z[2:], w[:2], w[2:], strict=True)
            ]
        return float(mpmath.sqrt(mpmath.fsum(term**2 for term in terms)))


def exact_bernoulli_distance(a, b):
    p, q = 1 / (1 + mpmath.exp(-a)), 1 / (1 + mpmath.exp(-b))
    return 2 * mpmath.acos(mpmath.sqrt(p * q) + mpmath.sqrt((1 - p) * (1 - q)))


def exact_normal_distance(mean_a, log_a, mean_b, log_b):
    a, b = mpmath.exp(log_a), mpmath.exp(log_b)
    ratio = ((mean_a - mean_b) ** 2 / 2 + (a - b) ** 2) / (2 * a * b)
    return mpmath.sqrt(2) * mpmath.acosh(1 + ratio)


SEPARATIONS = {
    "ordinary": ([0.3, -1.2, 0.7, 2.0], [1.1, 0.4, -0.5, 1.9]),
    "near": ([0.5, -1.25, 0.75, 2.0], [0.5 + 2.0**-20, -1.25, 0.75 - 2.0**-21, 2.0]),
    "one component": ([0.0, 0.0, 3.0, -3.0], [0.0, 0.0, 3.0, -3.5]),
    "only means": ([0.0, 1e4, 0.0, -50.0], [1e-3, -1e4, 0.0, -50.0]),
    "saturated": ([80.0, -120.0, 30.0, 100.0], [81.0, -119.5, -40.0, 100.25]),
    "apart": ([-150.0, 150.0, 85.0, -85.0], [150.0, -150.0, -85.0, 84.0]),
}


@pytest.mark.parametrize(("dtype", "rtol"), [(F64, 2e-15), (F32, 1e-6)])
@pytest.mark.parametrize("case", SEPARATIONS)
@pytest.mark.parametrize("name", ["bernoulli", "normal", "normal_fixed_std", "poisson"])
def test_distance_keeps_its_digits(name, case, dtype, rtol):
    z, w = (torch.tensor([y], dtype=dtype) for y in SEPARATIONS[case])
    expected = exact_distance(name, z[0], w[0])
    seen = HEADS[name].distance(z, w)
    assert seen.dtype == dtype
    assert seen.item() == pytest.approx(expected, rel=rtol, abs=0.0)
    assert HEADS[name].distance(w, z).item() == pytest.approx(expected, rel=rtol, abs=0.0)
    assert HEADS[name].distance(z, z).item() == 0.0


def test_normal_distance_beyond_the_range_of_stds():
    # exp(-2000) and exp(3000) are no float64 numbers; the distance of equal means is sqrt2 |l|.
    z = torch.tensor([[1.0, -2000.0], [0.0, 0.0]], dtype=F64)
    w = torch.tensor([[1.0, 3000.0], [1e-200, 0.0]], dtype=F64)
    seen = heads.normal.distance(z, w)
    assert_close(seen, torch.tensor([5000.0 * math.sqrt(2.0), 1e-200], dtype=F64), rtol=1e-14)
    far = heads.normal.distance(
        torch.tensor([[0.0, -1000.0]], dtype=F64), torch.tensor([[1.0, -1000.0]], dtype=F64)
    )
    # 2 sqrt2 log(2 exp(1000) / sqrt8)
    assert far.item() == pytest.approx(
        2.0 * math.sqrt(2.0) * (1000.0 - 0.5 * math.log(2.0)), rel=1e-15
    )


@pytest.mark.parametrize("name", HEADS)
def test_distances_have_gradients_everywhere(name):
    z = points(3, 4)
    for w in (points(3, 4, seed=2), z.clone()):
        gradient = torch.func.grad(lambda y, w=w: HEADS[name].distance(y, w).sum())(z)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(("dtype", "tol"), [(F64, 1e-12), (F32, 2e-5)])
@pytest.mark.parametrize("scale", [1.0, 20.0])
@pytest.mark.parametrize("name", HEADS)
def test_geodesics_are_shortest_and_of_constant_speed(name, scale, dtype, tol):
    head = HEADS[name]
    z, w = (scale * points(4, 4, dtype, seed) for seed in (1, 2))
    t = torch.linspace(0.0, 1.0, 9, dtype=dtype)
    path = head.geodesic(z, w, t)
    assert path.shape == (9, 4, 4)
    assert path.dtype == dtype
    length = head.distance(z, w)
    for k in range(9):
        assert_close(head.distance(z, path[k]), t[k] * length, rtol=tol, atol=tol)
        assert_close(head.distance(path[k], w), (1.0 - t[k]) * length, rtol=tol, atol=tol)


def test_a_product_without_a_geodesic_of_a_part_has_none():
    own = Head(heads.poisson.factor, heads.poisson.distance)
    assert heads.product((heads.poisson, 1), (own, 1)).geodesic is None


def test_distances_of_inputs_lift_the_geodesics_of_any_head():
    # An invertible network is an isometry onto its outputs: its distance is theirs.
    W = torch.eye(4, dtype=F64) + 0.2 * points(4, 4, seed=3)
    x0, x1 = points(1, 4), points(1, 4, seed=2)
    for head in HEADS.values():
        if head is heads.categorical:
            continue
        metric = PullbackMetric(lambda x: x @ W.T, head)
        path = metric.distance(x0, x1)
        assert path.length.item() == pytest.approx(head.distance(x0 @ W.T, x1 @ W.T).item(), 1e-3)


def test_two_classes_are_one_label():
    z, w = points(50, 1) * 20.0, points(50, 1, seed=2) * 20.0
    pair, other = (torch.cat([torch.zeros_like(y), y], dim=1) for y in (z, w))
    assert_close(heads.bernoulli.distance(z, w), heads.categorical.distance(pair, other), 1e-13)
    assert_close(
        heads.bernoulli.boundary_distance(z), heads.categorical.boundary_distance(pair), 1e-13
    )


# ---------------------------------------------------------------- saturated outputs


@pytest.mark.parametrize(("dtype", "atol"), [(F64, 1e-12), (F32, 1e-3)])
def test_log_spectrum_of_saturated_labels_is_exact(dtype, atol):
    z = torch.tensor([[3000.0, -0.5, -800.0, 120.0]], dtype=dtype)
    seen = PullbackMetric(lambda x: 2.0 * x, heads.bernoulli).log_spectrum(0.5 * z)
    with mpmath.workdps(60):
        exact = [
            float(mpmath.log(1 / mpmath.cosh(mpmath.mpf(float(value)) / 2) ** 2)) for value in z[0]
        ]
    assert_close(seen[0], torch.tensor(sorted(exact, reverse=True), dtype=F64), 0.0, atol)


@pytest.mark.parametrize(("dtype", "atol"), [(F64, 1e-12), (F32, 1e-3)])
def test_log_spectra_of_extreme_scales_are_exact(dtype, atol):
    z = torch.tensor([[0.0, 5.0, -700.0, 400.0]], dtype=dtype)
    rates = PullbackMetric(lambda x: x, heads.poisson).log_spectrum(z)
    assert_close(rates, torch.tensor([[400.0, 5.0, 0.0, -700.0]], dtype=F64), 0.0, atol)
    stds = PullbackMetric(lambda x: x, heads.normal).log_spectrum(z)
    two = math.log(2.0)
    assert_close(stds, torch.tensor([[1400.0, two, two, -800.0]], dtype=F64), 0.0, atol)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("scale", [1.0, 4.0, 20.0])
def test_float32_is_accurate(name, scale):
    model, x = net(scale), points()
    expected = PullbackMetric(model, HEADS[name]).log_spectrum(x)
    seen = PullbackMetric(net(scale, F32), HEADS[name]).log_spectrum(x.float())
    # The logits themselves carry rounding of 1e-6 times their size.
    assert_close(seen[:, 0], expected[:, 0], rtol=0.0, atol=2e-6 * (1.0 + 5.0 * scale))


# ---------------------------------------------------------------- Lipschitz constants


@given(
    st.lists(st.floats(-30.0, 30.0), min_size=4, max_size=4),
    st.lists(st.floats(-3.0, 3.0), min_size=4, max_size=4),
)
def test_lipschitz_constants_are_never_exceeded(z, step):
    z, step = (torch.tensor([y], dtype=F64) for y in (z, step))
    mixed = heads.product((heads.categorical, 2), (heads.bernoulli, 2))
    for head in (heads.categorical, heads.bernoulli, HEADS["normal_fixed_std"], mixed):
        bound = head.lipschitz_constant * float(step.norm())
        assert head.distance(z, z + step).item() <= bound * (1.0 + 1e-12) + 1e-13


def test_lipschitz_constants_are_attained():
    # By the largest eigenvalue of the Fisher information where it is largest.
    peaks = {
        heads.categorical: [0.0, 0.0, -60.0, -60.0],
        heads.bernoulli: [0.0, 3.0, 3.0, 3.0],
        HEADS["normal_fixed_std"]: [0.0, 0.0, 0.0, 0.0],
        heads.product((heads.categorical, 2), (heads.bernoulli, 2)): [0.0, 0.0, 1.0, 1.0],
    }
    for head, z in peaks.items():
        singular_value = torch.linalg.matrix_norm(head.factor(torch.tensor([z], dtype=F64)), 2)
        assert singular_value.item() == pytest.approx(head.lipschitz_constant, rel=1e-13)


def test_constants_that_do_not_exist_are_infinite():
    assert heads.normal.lipschitz_constant == heads.poisson.lipschitz_constant == math.inf
    assert HEADS["product"].lipschitz_constant == math.inf
    unknown = Head(heads.poisson.factor)
    assert unknown.lipschitz_constant is None
    assert heads.product((unknown, 1), (heads.poisson, 1)).lipschitz_constant is None


# ---------------------------------------------------------------- decision boundaries


def test_no_tie_of_three_classes_is_nearer_than_the_boundary():
    z = points(20, 3) * 2.0
    a = torch.linspace(0.0, 0.5, 20_001, dtype=F64)
    ties = torch.stack([a, a, 1.0 - 2.0 * a], dim=-1)
    seen = heads.categorical.boundary_distance(z)
    for p, boundary in zip(torch.softmax(z, -1), seen, strict=True):
        first = int(p.argmax())
        nearest = math.inf
        for second in {0, 1, 2} - {first}:
            order = [first, second, 3 - first - second]
            chord = (ties.sqrt() @ p[order].sqrt()).clamp(max=1.0)
            nearest = min(nearest, float(2.0 * chord.arccos().min()))
        assert boundary.item() == pytest.approx(nearest, abs=1e-6)


def test_the_nearest_tie_is_a_distribution_with_the_runner_up():
    z = points(20, 7) * 2.0
    root = torch.softmax(z, -1).sqrt()
    top = root.topk(2).indices
    foot = root.scatter(1, top, root.gather(1, top).mean(1, keepdim=True).expand(-1, 2))
    foot = 2.0 * (foot / foot.norm(dim=1, keepdim=True)).log()
    assert_close(logits.fisher_rao_distance(z, foot), heads.categorical.boundary_distance(z), 1e-13)


@given(st.lists(st.floats(-8.0, 8.0), min_size=5, max_size=5), st.integers(0, 10**6))
def test_within_the_boundary_distance_the_decision_stays(z, seed):
    z = torch.tensor([z], dtype=F64)
    generator = torch.Generator().manual_seed(seed)
    w = z + 3.0 * torch.randn(400, 5, dtype=F64, generator=generator)
    for head, decision in (
        (heads.categorical, lambda y: y.argmax(-1, keepdim=True)),
        (heads.bernoulli, lambda y: y > 0.0),
    ):
        is_near = head.distance(z, w) < head.boundary_distance(z) - 1e-12
        assert (decision(w) == decision(z))[is_near].all()


@pytest.mark.parametrize(("dtype", "rtol"), [(F64, 1e-14), (F32, 1e-6)])
@pytest.mark.parametrize("gap", [1e-12, 1e-5, 0.5, 30.0, 400.0])
def test_boundary_distance_keeps_its_digits(gap, dtype, rtol):
    z = torch.tensor([[0.0, gap, -1.0]], dtype=dtype)
    with mpmath.workdps(400):
        p = [mpmath.exp(mpmath.mpf(float(value))) for value in z[0]]
        roots = [mpmath.sqrt(value / mpmath.fsum(p)) for value in p]
        classes = 2 * mpmath.asin((roots[1] - roots[0]) / mpmath.sqrt(2))
        p = 1 / (1 + mpmath.exp(-mpmath.mpf(float(z[0, 1]))))
        label = abs(2 * mpmath.asin(mpmath.sqrt(p)) - mpmath.pi / 2)
    seen = heads.categorical.boundary_distance(z).item()
    assert seen == pytest.approx(float(classes), rel=rtol, abs=0.0)
    seen = heads.bernoulli.boundary_distance(z[:, 1:2]).item()
    assert seen == pytest.approx(float(label), rel=rtol, abs=0.0)


def test_boundary_distance_at_ties_and_certainty():
    z = torch.tensor([[1.0, 1.0, 0.0], [0.0, -math.inf, -math.inf]])
    seen = heads.categorical.boundary_distance(z)
    assert_close(seen, torch.tensor([0.0, math.pi / 2.0]), rtol=1e-6)
    assert heads.bernoulli.boundary_distance(torch.tensor([[1e30]])).item() == pytest.approx(
        math.pi / 2.0, rel=1e-6
    )


def test_boundary_distance_of_inputs():
    x = points()
    pulled = PullbackMetric(net(), temperature=0.5)
    assert_close(
        pulled.boundary_distance(x),
        heads.categorical.boundary_distance(2.0 * net()(x).detach()),
        rtol=1e-14,
    )
    with pytest.raises(ValueError, match="nearest other decision: this Head has none"):
        PullbackMetric(net(), heads.poisson).boundary_distance(x)


# ---------------------------------------------------------------- products


def test_a_product_has_the_distances_of_its_parts():
    z, w = points(6, 4), points(6, 4, seed=2)
    head = HEADS["product"]
    squares = [
        part.distance(z[:, a:b], w[:, a:b]) ** 2
        for (part, _), (a, b) in zip(PARTS, [(0, 2), (2, 3), (3, 4)], strict=True)
    ]
    assert_close(head.distance(z, w), sum(squares).sqrt(), rtol=1e-14)
    expected = torch.minimum(
        heads.categorical.boundary_distance(z[:, :2]), heads.bernoulli.boundary_distance(z[:, 2:3])
    )
    assert torch.equal(head.boundary_distance(z), expected)
    assert heads.product((heads.poisson, 2)).boundary_distance is None


def test_a_product_takes_heads_of_ones_own():
    own = Head(lambda z: 3.0 * torch.eye(z.shape[-1]).to(z).expand(len(z), -1, -1))
    mixed = PullbackMetric(net(), heads.product((heads.categorical, 2), (own, 2)))
    plain = PullbackMetric(
        net(), heads.product((heads.categorical, 2), (heads.normal_fixed_std(1.0 / 3.0), 2))
    )
    x = points()
    assert_close(mixed.matrix(x), plain.matrix(x), rtol=1e-12, atol=1e-14)
    assert_close(mixed.norm(x, x), plain.norm(x, x), rtol=1e-12)
    with pytest.raises(ValueError, match="this Head has none"):
        mixed.output_distance(x, x)


def test_products_of_products():
    inner = heads.product((heads.bernoulli, 1), (heads.poisson, 1))
    nested = PullbackMetric(net(), heads.product((heads.categorical, 2), (inner, 2)))
    flat = PullbackMetric(net(), HEADS["product"])
    x = points()
    assert_close(nested.factor(x), flat.factor(x), rtol=1e-13)


# ---------------------------------------------------------------- as objects


@pytest.mark.parametrize("name", HEADS)
def test_heads_can_be_pickled(name):
    head, z = pickle.loads(pickle.dumps(HEADS[name])), points(3, 4)
    assert torch.equal(head.factor(z), HEADS[name].factor(z))


@pytest.mark.parametrize("name", HEADS)
def test_only_classes_may_be_masked(name):
    pulled = PullbackMetric(lambda y: torch.where(y == 9.0, -math.inf, y), HEADS[name])
    x = torch.tensor([[0.0, 9.0, 1.0, 0.5]])
    if name == "categorical":
        assert torch.isfinite(pulled.norm(x, x)).all()
    else:
        with pytest.raises(ValueError, match=r"model\(x\) must be finite: .*\(row 0\)"):
            pulled.norm(x, x)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Head(3.0), TypeError, "factor must be a function: got float"),
        (lambda: Head(abs, distance=1.0), TypeError, "distance must be a function: got float"),
        (lambda: heads.normal_fixed_std(0.0), ValueError, "std must be positive"),
        (lambda: heads.normal_fixed_std([[1.0]]), ValueError, "std must be a number or a vector"),
        (heads.product, ValueError, "parts must hold at least one"),
        (lambda: heads.product(heads.poisson), TypeError, r"parts must be pairs .*For instance"),
        (lambda: heads.product((heads.poisson, 0)), ValueError, "positive number .*: got 0"),
    ],
)
def test_bad_heads(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (heads.normal, r"means and then as many logarithms .*\(1, 3\).*normal_fixed_std"),
        (heads.normal_fixed_std(STDS), r"return 4 outputs, one for each .*\(1, 3\)"),
        (HEADS["product"], r"return 4 outputs, as many as the parts .*\(1, 3\)"),
    ],
)
def test_outputs_that_do_not_fit_the_head(head, message):
    pulled = PullbackMetric(lambda x: x, head)
    with pytest.raises(ValueError, match=message):
        pulled.factor(torch.zeros(1, 3))
    with pytest.raises(ValueError, match=message):
        pulled.output_distance(torch.zeros(1, 3), torch.zeros(1, 3))


@pytest.mark.cuda
@pytest.mark.parametrize("name", HEADS)
def test_heads_on_a_gpu(name):
    x = points()
    here = PullbackMetric(net(), HEADS[name])
    there = PullbackMetric(net().cuda(), HEADS[name])
    assert_close(there.log_spectrum(x.cuda()).cpu(), here.log_spectrum(x), rtol=1e-9, atol=1e-9)
    seen = there.output_distance(x.cuda(), x.cuda().flip(0))
    assert seen.is_cuda
    assert_close(seen.cpu(), here.output_distance(x, x.flip(0)), rtol=1e-12, atol=1e-15)
    assert np.all(np.isfinite(seen.cpu().numpy()))


# ---------------------------------------------------------------- heads of spaces


def softplus_rates(z):
    return Poisson(torch.nn.functional.softplus(z))


def inverse_softplus(point):
    return torch.log(torch.expm1(point.rate))


def joint_normal(z):
    """Two means, and a triangle of a covariance: five numbers."""
    rows = torch.stack([z[..., 2].exp(), torch.zeros_like(z[..., 2])], dim=-1)
    others = torch.stack([z[..., 3], z[..., 4].exp()], dim=-1)
    triangle = torch.stack([rows, others], dim=-2)
    return MultivariateNormal(z[..., :2], triangle @ triangle.mT)


def test_heads_of_spaces_are_those_with_formulas_of_their_own():
    """The same map, given as a function: derivatives, distances and paths agree."""
    torch.manual_seed(0)
    z, w = torch.randn(2, 3, 4, dtype=F64)
    t = torch.linspace(0.0, 1.0, 5, dtype=F64)
    pairs = [
        (heads.poisson, lambda y: Poisson(y.exp()), lambda p: p.rate.log(), "poisson"),
        (
            heads.normal,
            lambda y: Normal(y[..., :2], y[..., 2:].exp()),
            lambda p: torch.cat([p.mean, p.std.log()], dim=-1),
            "normal",
        ),
        (heads.categorical, lambda y: y, lambda p: p, "logits"),
        (heads.categorical, lambda y: y.softmax(-1), lambda p: p.log(), "simplex"),
    ]
    for own, to_point, from_point, space in pairs:
        head = heads.of_space(space, to_point, from_point)
        A, B = own.factor(z), head.factor(z)
        assert_close(B.mT @ B, A.mT @ A, rtol=1e-12, atol=1e-14)
        assert_close(head.distance(z, w), own.distance(z, w), rtol=1e-13, atol=0.0)
        path, expected = (h.geodesic(z, w, t) for h in (head, own))
        if own is heads.categorical:
            path, expected = (x - x.mean(-1, keepdim=True) for x in (path, expected))
        assert_close(path, expected, rtol=1e-11, atol=1e-12)
    for own, space in ((heads.poisson, "poisson"), (heads.normal, "normal")):
        declared = heads.of_space(space)
        assert torch.equal(declared.factor(z), own.factor(z))
        assert torch.equal(declared.distance(z, w), own.distance(z, w))


def test_a_head_of_rates_that_are_a_softplus():
    """Against the derivative by hand: F = sigmoid(z)^2 / softplus(z)."""
    z = torch.tensor([[-3.0, 0.5], [2.0, 20.0]], dtype=F64)
    head = heads.of_space("poisson", softplus_rates, inverse_softplus)
    A, rate = head.factor(z), torch.nn.functional.softplus(z)
    assert_close(A.mT @ A, torch.diag_embed(z.sigmoid() ** 2 / rate), rtol=1e-13, atol=1e-300)
    w = z.flip(0)
    expected = 2.0 * (rate.sqrt() - rate.flip(0).sqrt()).norm(dim=-1)
    assert_close(head.distance(z, w), expected, rtol=1e-14, atol=0.0)
    path = head.geodesic(z, w, torch.tensor([0.0, 0.5, 1.0], dtype=F64))
    assert_close(path[[0, 2]], torch.stack([z, w]), rtol=1e-12, atol=1e-12)
    copy = pickle.loads(pickle.dumps(head))
    assert torch.equal(copy.factor(z), A)


def test_a_head_of_multivariate_normals():
    """Nearby outputs are as far apart as the factor says; far ones as the space says."""
    torch.manual_seed(0)
    z = 0.3 * torch.randn(2, 5, dtype=F64)
    v = torch.randn(2, 5, dtype=F64)
    head = heads.of_space("multivariate_normal", joint_normal)
    h = 1e-4
    speed = (head.factor(z) @ v[..., None])[..., 0].norm(dim=-1)
    assert_close(head.distance(z - h * v, z + h * v) / (2 * h), speed, rtol=1e-6, atol=0.0)
    metric = PullbackMetric(lambda x: x, head)
    assert_close(metric.norm(z, v), speed, rtol=1e-12, atol=0.0)


def test_spaces_that_cannot_be_heads_say_why():
    with pytest.raises(TypeError, match=r"infogeo.simplex declares no parameters of a network"):
        heads.of_space("simplex")
    with pytest.raises(TypeError, match="space must have a function fisher_rao_distance"):
        heads.of_space(3)


# ---------------------------------------------------------------- concentrations and angles


def evidence(z):
    """The logarithms of concentrations of an evidential network."""
    return torch.log1p(torch.nn.functional.softplus(z))


def beta_of(log_concentration):
    return lambda z: distributions.Beta(*log_concentration(z).exp().chunk(2, -1))


OF_CONCENTRATIONS = {
    "dirichlet": (heads.dirichlet(), lambda z: distributions.Dirichlet(z.exp())),
    "evidential": (heads.dirichlet(evidence), lambda z: distributions.Dirichlet(evidence(z).exp())),
    "beta": (heads.beta(), beta_of(lambda z: z)),
    "evidential beta": (heads.beta(evidence), beta_of(evidence)),
}


@pytest.mark.parametrize("name", OF_CONCENTRATIONS)
def test_heads_of_concentrations_have_the_fisher_information(name):
    """To nine digits, as torch's own trigamma; and the distance is that of the space."""
    head, family = OF_CONCENTRATIONS[name]
    z, v = 2.0 * points(3, 4), points(3, 4, seed=2)

    def divergence(w, y):
        return distributions.kl_divergence(family(y), family(w)).sum()

    F = torch.stack([torch.func.hessian(divergence)(y, y) for y in z])
    A = head.factor(z)
    assert_close(A.mT @ A, F, rtol=1e-8, atol=1e-9)
    pulled, h = PullbackMetric(lambda x: x, head), 1e-5
    assert_close(pulled.norm(z, v), (v[:, None] @ F @ v[..., None])[:, 0, 0].sqrt(), rtol=1e-8)
    step = head.distance(z - h * v, z + h * v) / (2.0 * h)
    assert_close(step, pulled.norm(z, v), rtol=1e-7)
    alone = torch.cat([head.factor(y[None]) for y in z])
    assert torch.equal(A, alone)


@pytest.mark.parametrize("dtype", [F64, F32])
@pytest.mark.parametrize(
    "logs",
    [
        [20.0, 25.0, 30.0],
        [0.0, -40.0, -60.0],
        [-80.0, -81.0, 3.0],
        [-30.0, -30.0, -29.0],
        [5.0, 5.0, 5.0],
        [60.0, 0.0, -60.0],
    ],
)
def test_eigenvalues_of_a_dirichlet_head_keep_their_digits(logs, dtype):
    with mpmath.workdps(120):
        a = [mpmath.exp(x) for x in logs]
        total = mpmath.psi(1, mpmath.fsum(a))
        F = mpmath.matrix(3, 3)
        for i in range(3):
            for j in range(3):
                F[i, j] = -a[i] * a[j] * total + (i == j) * a[i] ** 2 * mpmath.psi(1, a[i])
        values = mpmath.eigsy(F, eigvals_only=True)
        expected = sorted((float(mpmath.log(x)) for x in values), reverse=True)
    metric = PullbackMetric(lambda x: x, heads.dirichlet())
    seen = metric.log_spectrum(torch.tensor([logs], dtype=dtype))
    rtol, atol = (n * torch.finfo(dtype).eps for n in (2.0, 200.0))
    assert_close(seen, torch.tensor([expected], dtype=F64), rtol=rtol, atol=atol)


def test_distances_and_paths_of_concentrations_are_those_of_the_space():
    z, w = points(2, 4), points(2, 4, seed=2)
    t = torch.tensor([0.0, 0.3, 1.0], dtype=F64)
    a, b = Dirichlet(z.exp()), Dirichlet(w.exp())
    assert_close(heads.dirichlet().distance(z, w), manifolds.fisher_rao_distance(a, b), rtol=1e-14)
    path = manifolds.fisher_rao_geodesic(a, b, t).concentration.log()
    assert_close(heads.dirichlet().geodesic(z, w, t), path, rtol=1e-13, atol=1e-13)
    a, b = (Beta(*y.exp().chunk(2, -1)) for y in (z, w))
    d = manifolds.fisher_rao_distance(a, b).norm(dim=-1)
    assert_close(heads.beta().distance(z, w), d, rtol=1e-14)
    assert_close(heads.beta().geodesic(z, w, t)[[0, 2]], torch.stack([z, w]), rtol=1e-13)
    assert_close(heads.dirichlet(evidence).distance(z, z), torch.zeros(2, dtype=F64), rtol=0.0)
    assert heads.dirichlet(evidence).geodesic is None
    parts = heads.product((heads.dirichlet(), 3), (heads.poisson, 1))
    A = parts.factor(z)
    expected = heads.dirichlet().factor(z[:, :3])
    assert_close((A.mT @ A)[:, :3, :3], expected.mT @ expected, rtol=1e-13)
    copy = pickle.loads(pickle.dumps(heads.dirichlet(evidence)))
    assert torch.equal(copy.factor(z), heads.dirichlet(evidence).factor(z))


def test_concentrations_that_cannot_be_read_say_why():
    z = points(2, 3)
    with pytest.raises(TypeError, match="log_concentration must be a function: got str"):
        heads.dirichlet("softplus")
    with pytest.raises(ValueError, match="first concentrations and then as many second ones"):
        heads.beta().factor(z)
    with pytest.raises(ValueError, match="at least two concentrations"):
        heads.dirichlet().distance(z[:, :1], z[:, :1])
    far = torch.tensor([[0.0, 800.0, -900.0]], dtype=F64)
    with pytest.raises(ValueError, match="between -700 and 700: they are between -900 and 800"):
        heads.dirichlet().distance(far, z[:1])
    scales = PullbackMetric(lambda x: x, heads.dirichlet()).log_spectrum(far)
    assert torch.isfinite(scales).all()


@pytest.mark.parametrize("log_kappa", [-80.0, -2.0, 0.3, 5.0, 80.0])
def test_the_factor_of_angles_has_its_digits(log_kappa):
    with mpmath.workdps(100):
        kappa = mpmath.exp(log_kappa)
        A = mpmath.besseli(1, kappa) / mpmath.besseli(0, kappa)
        expected = [kappa * A, kappa**2 * (1 - A * A - A / kappa)]
    for dtype in (F64, F32):
        factor = heads.von_mises.factor(torch.tensor([[0.7, log_kappa]], dtype=dtype))
        seen = (factor.to(F64) ** 2).sum(1)[0]
        tolerance = (20.0 + 2.0 * abs(log_kappa)) * torch.finfo(dtype).eps
        assert_close(seen, torch.tensor([float(x) for x in expected], dtype=F64), rtol=tolerance)


def test_distances_and_paths_of_angles():
    z, w = points(2, 4), points(2, 4, seed=2)
    t = torch.tensor([0.0, 0.5, 1.0], dtype=F64)
    a, b = (VonMises(y[:, :2], y[:, 2:].exp()) for y in (z, w))
    d = manifolds.fisher_rao_distance(a, b).norm(dim=-1)
    assert_close(heads.von_mises.distance(z, w), d, rtol=1e-14)
    assert_close(heads.von_mises.geodesic(z, w, t)[[0, 2]], torch.stack([z, w]), rtol=1e-12)
    # Without concentration all angles are one distribution; beyond all numbers there is none.
    edge = torch.tensor([[0.0, -1000.0]]), torch.tensor([[2.0, -1000.0]])
    assert heads.von_mises.distance(*edge).item() == pytest.approx(0.0, abs=1e-30)
    with pytest.raises(ValueError, match="logarithms of concentrations between -inf and 700"):
        heads.von_mises.distance(torch.tensor([[0.0, 1e3]]), edge[0])
    x = torch.tensor([[0.2, 1.0]], dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: heads.von_mises.distance(y, z[:1, [0, 2]]), x)
