"""Lipschitz constants and isometries of maps whose singular values are known."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from infogeo.pullback import Head, PullbackMetric, comparison, heads, input_metrics

F32, F64 = torch.float32, torch.float64
EUCLIDEAN = heads.normal_fixed_std(1.0)


def orthonormal(rows, columns, dtype=F64, seed=0):
    """Return a matrix whose rows, or columns if they are fewer, are orthonormal."""
    generator = torch.Generator().manual_seed(seed)
    tall = torch.randn(
        max(rows, columns), min(rows, columns), dtype=torch.float64, generator=generator
    )
    Q = torch.linalg.qr(tall)[0]
    return (Q if rows >= columns else Q.T).to(dtype)


def linear(W, head=EUCLIDEAN, **options):
    return PullbackMetric(lambda x: x @ W.T, head, **options)


def probabilities(num, size, seed=0):
    p = torch.rand(num, size, dtype=F64, generator=torch.Generator().manual_seed(seed)) + 0.02
    return p / p.sum(-1, keepdim=True)


def assert_close(seen, expected, rtol=0.0, atol=0.0):
    expected = torch.as_tensor(expected, dtype=seen.dtype).expand_as(seen)
    torch.testing.assert_close(seen, expected, rtol=rtol, atol=atol)


def assert_comparison(metric, x, *, constant, defect, lipschitz, preserving, atol=1e-13):
    assert_close(comparison.lipschitz_constant_at(metric, x), constant, atol=atol)
    assert_close(comparison.isometry_defect(metric, x), defect, atol=atol)
    assert comparison.is_locally_lipschitz(metric, x).tolist() == [lipschitz] * len(x)
    assert comparison.is_gradient_norm_preserving(metric, x).tolist() == [preserving] * len(x)


# ---------------------------------------------------------------- linear maps


@pytest.mark.parametrize(("dtype", "atol"), [(F64, 1e-13), (F32, 1e-5)])
@pytest.mark.parametrize(
    ("rows", "columns", "preserving"), [(4, 4, True), (3, 7, True), (7, 3, False)]
)
def test_orthonormal_maps(rows, columns, preserving, dtype, atol):
    W, x = orthonormal(rows, columns, dtype), torch.randn(2, columns, dtype=dtype)
    assert_comparison(
        linear(W), x, constant=1.0, defect=0.0, lipschitz=True, preserving=preserving, atol=atol
    )


@pytest.mark.parametrize("scale", [0.5, 1.25])
def test_scaled_maps(scale):
    assert_comparison(
        linear(scale * orthonormal(3, 5)),
        torch.zeros(2, 5, dtype=F64),
        constant=scale,
        defect=abs(scale - 1.0),
        lipschitz=scale < 1.0,
        preserving=False,
    )


def test_a_partial_isometry_need_not_preserve_all_gradients():
    # A projector of rank 2: isometric where it is not 0, and blind to one of three outputs.
    P = orthonormal(3, 2) @ orthonormal(2, 6, seed=1)
    x = torch.zeros(1, 6, dtype=F64)
    assert_comparison(linear(P), x, constant=1.0, defect=0.0, lipschitz=True, preserving=False)
    assert linear(P).rank(x).tolist() == [2]


def test_a_model_that_does_not_react_is_a_partial_isometry():
    x = torch.zeros(2, 5, dtype=F64)
    assert_comparison(
        linear(torch.zeros(3, 5, dtype=F64)),
        x,
        constant=0.0,
        defect=0.0,
        lipschitz=True,
        preserving=False,
    )


def test_small_singular_values_are_seen():
    metric = linear(torch.diag(torch.tensor([1.0, 1.0, 1e-9], dtype=F64)))
    x = torch.zeros(1, 3, dtype=F64)
    assert_close(comparison.isometry_defect(metric, x), 1.0, atol=1e-8)
    assert not comparison.is_gradient_norm_preserving(metric, x)


def test_the_input_metric_counts():
    # x' h x with h = L L': the map L' is an isometry and nothing else is.
    L = torch.tensor([[2.0, 0.0, 0.0], [1.0, 3.0, 0.0], [-1.0, 0.5, 0.25]], dtype=F64)
    metric = linear(orthonormal(3, 3) @ L.T, input_metric=input_metrics.full(L @ L.T))
    x = torch.zeros(1, 3, dtype=F64)
    assert_comparison(metric, x, constant=1.0, defect=0.0, lipschitz=True, preserving=True)
    assert comparison.isometry_defect(linear(L.T), x).item() > 0.5


# ---------------------------------------------------------------- heads


def test_the_binary_arcsine_head_is_an_isometry():
    # p = sin^2(theta / 2): logit p = 2 log tan(theta / 2).
    theta = torch.linspace(0.02, 3.1, 9, dtype=F64)[:, None]

    def logit(x):
        return 2.0 * (x / 2.0).tan().log()

    label = PullbackMetric(logit, heads.bernoulli)
    pair = PullbackMetric(lambda x: torch.cat([0.0 * x, logit(x)], dim=1))
    for metric in (label, pair):
        assert_comparison(metric, theta, constant=1.0, defect=0.0, lipschitz=True, preserving=True)


def test_a_product_of_arcsine_heads_after_an_orthogonal_layer():
    W = orthonormal(3, 8)
    x = 0.2 * torch.randn(4, 8, dtype=F64)
    metric = PullbackMetric(
        lambda x: 2.0 * (math.pi / 4.0 + x @ W.T / 2.0).tan().log(), heads.bernoulli
    )
    assert_comparison(metric, x, constant=1.0, defect=0.0, lipschitz=True, preserving=True)
    # The metric is the projector on the rows of W.
    assert_close(metric.matrix(x), W.T @ W, atol=1e-13)


@given(st.lists(st.floats(-20.0, 20.0), min_size=5, max_size=5))
def test_the_softmax_of_sqrt_2_is_1_lipschitz(z):
    metric = PullbackMetric(lambda x: x, temperature=math.sqrt(0.5))
    assert comparison.is_locally_lipschitz(metric, torch.tensor([z], dtype=F64)).all()


def test_the_lipschitz_constant_of_a_head_is_attained():
    z = torch.tensor([[3.0, 3.0, -50.0, -60.0]], dtype=F64)
    seen = comparison.lipschitz_constant_at(PullbackMetric(lambda x: x), z)
    assert_close(seen, heads.categorical.lipschitz_constant, rtol=1e-14)


# ---------------------------------------------------------------- charts of the sphere


def exponential_chart(x):
    """Map x in R^2 to three classes along great circles from the uniform prediction."""
    frame = orthonormal(3, 3).clone()
    frame[0] = 3.0**-0.5
    Q = torch.linalg.qr(frame.T)[0].T
    Q = Q * Q[0].sum().sign()
    radius = x.norm(dim=1, keepdim=True)
    unit = (0.5 * radius).cos() * Q[:1] + (0.5 * radius).sin() / radius * (x @ Q[1:])
    return 2.0 * unit.log()


@pytest.mark.parametrize("radius", [0.01, 0.3, 1.0])
def test_curvature_keeps_the_exponential_map_from_being_an_isometry(radius):
    angle = torch.linspace(0.0, 6.0, 7, dtype=F64)
    x = radius * torch.stack([angle.cos(), angle.sin()], dim=1)
    metric = PullbackMetric(exponential_chart)
    across = math.sin(radius / 2.0) / (radius / 2.0)
    assert_close(metric.spectrum(x).values, [1.0, across**2], atol=1e-12)
    assert_comparison(
        metric, x, constant=1.0, defect=1.0 - across, lipschitz=True, preserving=False, atol=1e-12
    )
    assert 1.0 - across == pytest.approx(radius**2 / 24.0, rel=radius**2 / 50.0)


def test_the_stereographic_chart_is_conformal():
    # tau_i = 2 sqrt p_i / (1 - sqrt p_c) has the metric (1 - sqrt p_c)^2 |dtau|^2.
    p = probabilities(4, 5)
    last = p[:, -1:].sqrt()
    tau = 2.0 * p[:, :-1].sqrt() / (1.0 - last)

    def model(tau):
        square = tau.square().sum(1, keepdim=True)  # 4 (1 + sqrt p_c) / (1 - sqrt p_c)
        last = (square - 4.0) / (square + 4.0)
        return 2.0 * torch.cat([tau * (1.0 - last) / 2.0, last], dim=1).log()

    metric = PullbackMetric(model)
    expected = ((1.0 - last) ** 2).expand(-1, 4)
    torch.testing.assert_close(metric.spectrum(tau).values, expected, rtol=1e-12, atol=0.0)
    assert comparison.is_locally_lipschitz(metric, tau).all()
    torch.testing.assert_close(
        comparison.isometry_defect(metric, tau), last[:, 0], rtol=1e-12, atol=0.0
    )


# ---------------------------------------------------------------- submersions and Markov maps


def test_counting_groups_of_outcomes_is_a_submersion():
    groups = torch.zeros(3, 7, dtype=F64)
    groups[[0, 0, 1, 1, 1, 2, 2], range(7)] = 1.0
    metric = PullbackMetric(lambda p: (p @ groups.T).log(), input_metric=input_metrics.categorical)
    p = probabilities(5, 7)
    assert_comparison(metric, p, constant=1.0, defect=0.0, lipschitz=True, preserving=True)


def test_splitting_outcomes_is_an_isometry():
    # A congruent embedding (Chentsov): each outcome goes to some of its own, with given shares.
    shares = torch.zeros(7, 3, dtype=F64)
    shares[range(7), [0, 0, 1, 1, 1, 2, 2]] = torch.tensor(
        [0.3, 0.7, 0.2, 0.2, 0.6, 0.9, 0.1], dtype=F64
    )
    metric = PullbackMetric(lambda p: (p @ shares.T).log(), input_metric=input_metrics.categorical)
    p = probabilities(5, 3)
    assert_comparison(metric, p, constant=1.0, defect=0.0, lipschitz=True, preserving=False)


@pytest.mark.parametrize("dtype", [F64, F32])
def test_noise_brings_distributions_together(dtype):
    # Chentsov: a Markov map is 1-Lipschitz; with noise everywhere strictly so.
    noise = probabilities(6, 4, seed=3).to(dtype)
    metric = PullbackMetric(lambda p: (p @ noise).log(), input_metric=input_metrics.categorical)
    p = probabilities(20, 6).to(dtype)
    seen = comparison.lipschitz_constant_at(metric, p)
    assert comparison.is_locally_lipschitz(metric, p).all()
    assert (seen < 1.0).all()
    distance = metric.output_distance(p, p.flip(0))
    assert (distance <= input_metrics.categorical.distance(p, p.flip(0))).all()


def test_the_sign_of_a_normal_variable_is_less_than_the_variable():
    # P(X > 0) for X ~ N(mean, std): a Markov map from the half-plane to one label, 1-Lipschitz.
    def model(x):
        ratio = (x[:, 0] / x[:, 1])[:, None]
        return torch.special.log_ndtr(ratio) - torch.special.log_ndtr(-ratio)

    metric = PullbackMetric(model, heads.bernoulli, input_metric=input_metrics.normal)
    x = torch.tensor([[0.0, 2.0], [1.0, 0.5], [-3.0, 1.0]], dtype=F64)
    seen = comparison.lipschitz_constant_at(metric, x)
    assert comparison.is_locally_lipschitz(metric, x).all()
    # At mean 0: phi(0) / sqrt(p (1 - p)) = sqrt(2 / pi).
    assert_close(seen[0], math.sqrt(2.0 / math.pi), rtol=1e-13)


# ---------------------------------------------------------------- limits and options


def test_saturated_predictions():
    x = torch.tensor([[100.0, 0.0], [400.0, 0.0]], dtype=F32)
    seen = comparison.lipschitz_constant_at(PullbackMetric(lambda x: x), x)
    assert_close(seen[:1], math.sqrt(2.0) * math.exp(-50.0), rtol=1e-5)
    assert seen[1].item() == 0.0  # exp(-200) is no float32 number
    assert_close(comparison.isometry_defect(PullbackMetric(lambda x: x), x), 1.0, atol=1e-6)


def test_masked_classes_are_no_dimensions():
    # Two classes of three: sphere charts of one dimension, p = sin^2(theta / 2).
    def model(x):
        return torch.cat([0.0 * x, 2.0 * (x / 2.0).tan().log(), 0.0 * x - math.inf], dim=1)

    metric = PullbackMetric(model, check=False)
    x = torch.tensor([[1.0]], dtype=F64)
    assert comparison.is_gradient_norm_preserving(metric, x).tolist() == [True]


def test_tolerances():
    metric = linear(1.01 * torch.eye(2, dtype=F64))
    x = torch.zeros(1, 2, dtype=F64)
    for rtol, expected in ((None, False), (0.009, False), (0.011, True)):
        assert comparison.is_locally_lipschitz(metric, x, rtol=rtol).item() is expected
        assert comparison.is_gradient_norm_preserving(metric, x, rtol=rtol).item() is expected
    assert comparison.is_locally_lipschitz(metric, x, constant=1.01).item()
    assert not comparison.is_locally_lipschitz(metric, x, constant=1.0099).item()


def test_a_head_of_ones_own():
    head = Head(lambda z: 2.0 * torch.eye(z.shape[1]).to(z).expand(len(z), -1, -1))
    x = torch.zeros(3, 4, dtype=F64)
    assert_comparison(
        linear(0.5 * orthonormal(3, 4), head),
        x,
        constant=1.0,
        defect=0.0,
        lipschitz=True,
        preserving=True,
    )


def test_empty_batches():
    x = torch.zeros(0, 4, dtype=F64)
    metric = linear(orthonormal(3, 4))
    for function in (
        comparison.lipschitz_constant_at,
        comparison.is_locally_lipschitz,
        comparison.isometry_defect,
        comparison.is_gradient_norm_preserving,
    ):
        assert function(metric, x).shape == (0,)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"constant": 0.0}, "constant must be a positive number"), ({"rtol": -1.0}, "rtol must be")],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        comparison.is_locally_lipschitz(
            linear(orthonormal(2, 2)), torch.zeros(1, 2, dtype=F64), **options
        )
