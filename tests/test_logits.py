"""Logits: the distance against 80-digit references, without ever forming probabilities."""

import mpmath
import numpy as np
import pytest

from infogeo import logits, simplex


@pytest.fixture(autouse=True)
def _eighty_digits():
    with mpmath.workdps(80):
        yield


def exact_distance(z, w):
    roots = []
    for row in (z, w):
        e = [mpmath.exp(mpmath.mpf(float(x)) / 2) for x in row]
        norm = mpmath.sqrt(mpmath.fsum(x * x for x in e))
        roots.append([x / norm for x in e])
    chord = mpmath.sqrt(mpmath.fsum((a - b) ** 2 for a, b in zip(*roots, strict=True)))
    return 4 * mpmath.asin(chord / 2)


def relative_error(value, reference):
    return float(abs(mpmath.mpf(float(value)) - reference) / reference)


@pytest.mark.parametrize("num_outcomes", [2, 3, 10, 1000])
@pytest.mark.parametrize("scale", [1.0, 30.0, 700.0])
@pytest.mark.parametrize("separation", [1e-12, 1e-8, 1e-4, 1e-2, 0.3, 3.0, 30.0, 1400.0])
def test_distance_against_80_digits(rng, num_outcomes, scale, separation):
    z = rng.uniform(-scale, scale, num_outcomes)
    z[1] = z[0]  # two classes share the mass, so that the separation shows
    z[2:] -= np.maximum(0.0, z[2:] - z[0])
    w = z + separation * rng.uniform(-1, 1, num_outcomes)
    assert relative_error(logits.fisher_rao_distance(z, w), exact_distance(z, w)) < 1e-13


@pytest.mark.parametrize("constant", [0.0, 300.0])
@pytest.mark.parametrize("separation", [1e-12, 1e-3, 0.3])
def test_masks_among_near_pairs(rng, separation, constant):
    z = rng.normal(size=(8, 6))
    w = z + separation * rng.normal(size=z.shape) + constant
    z[:6, 2] = w[:6, 2] = -np.inf
    z[0, 3] = w[0, 3] = z[1, 4] = w[2, 4] = -np.inf
    z[3, 5], w[3, 5] = -2000.0, -np.inf
    w[[4, 6]] = z[[4, 6]]
    d = logits.fisher_rao_distance(z, w)
    assert d[4] == d[6] == 0.0
    for i in (0, 1, 2, 3, 5, 7):
        assert relative_error(d[i], exact_distance(z[i], w[i])) < 1e-13
        assert d[i] == pytest.approx(logits.fisher_rao_distance(z[i], w[i]), rel=1e-13)


@pytest.mark.parametrize("constant", [-1e4, 1e3, 12345.678])
def test_the_representative_costs_no_digits(rng, constant):
    z = rng.normal(size=10)
    w = z + 1e-6 * rng.normal(size=10) + constant
    assert relative_error(logits.fisher_rao_distance(z, w), exact_distance(z, w)) < 1e-13


@pytest.mark.parametrize(
    ("z", "w"),
    [
        ([0.0, 0.1, -700.0], [1e-9, 0.1, -705.0]),
        ([0.0, 0.0, -700.0], [0.0, 0.0, -705.0]),
        ([0.0, 0.0, -1300.0], [0.0, 0.0, -1310.0]),
        ([700.0, -700.0], [700.0, -699.0]),
        ([800.0, -600.0, 0.0], [-600.0, 800.0, 0.0]),
    ],
)
def test_tails_count(z, w):
    assert relative_error(logits.fisher_rao_distance(z, w), exact_distance(z, w)) < 1e-13


@pytest.mark.parametrize(
    ("z", "w", "expected"),
    [
        ([0.0, -np.inf], [-np.inf, 0.0], np.pi),
        ([3.0, -np.inf], [7.0, -np.inf], 0.0),
        ([0.0, 0.0, -np.inf], [0.0, 0.0, 0.0], 2 * np.arccos(np.sqrt(2 / 3))),
        ([0.0, 0.0, -np.inf], [0.0, 0.0, -600.0], np.sqrt(2) * np.exp(-300)),
        ([1.0, 2.0, 3.0], [101.0, 102.0, 103.0], 0.0),
    ],
)
def test_closed_values(lib, z, w, expected):
    d = lib.to_numpy(logits.fisher_rao_distance(lib.array(z), lib.array(w)))
    np.testing.assert_allclose(d, expected, rtol=1e-15, atol=1e-29 if expected == 0.0 else 0)


def test_agrees_with_the_simplex(lib, rng):
    z, w = rng.normal(size=(2, 20, 7))
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (z, w))
    d = lib.to_numpy(logits.fisher_rao_distance(lib.array(z), lib.array(w)))
    np.testing.assert_allclose(d, simplex.fisher_rao_distance(p, q), rtol=1e-14)


def test_blocks_do_not_show(rng):
    z = rng.normal(size=(30_000, 5))
    w = z + np.logspace(-9, 1, 30_000)[:, None] * rng.normal(size=(30_000, 5))
    d = logits.fisher_rao_distance(z, w)
    for i in range(0, 30_000, 997):
        assert relative_error(d[i], exact_distance(z[i], w[i])) < 1e-13
    some = logits.fisher_rao_distance(z[:, None], w[:2])
    np.testing.assert_allclose(some[:, 1], logits.fisher_rao_distance(z, w[1]), rtol=1e-14)


def test_float32(rng):
    z = rng.normal(size=(50, 10)).astype(np.float32)
    w = (z + 1e-4 * rng.normal(size=z.shape)).astype(np.float32)
    d = logits.fisher_rao_distance(z, w)
    assert d.dtype == np.float32
    assert max(relative_error(d[i], exact_distance(z[i], w[i])) for i in range(50)) < 2e-6


def test_gradient_is_finite_everywhere():
    torch = pytest.importorskip("torch")
    z = torch.randn(6, dtype=torch.float64, generator=torch.manual_seed(0), requires_grad=True)
    w = torch.randn(6, dtype=torch.float64, generator=torch.manual_seed(1))
    assert torch.autograd.gradcheck(lambda x: logits.fisher_rao_distance(x, w), (z,))
    near = (z + 1e-3 * w).detach()
    assert torch.autograd.gradcheck(lambda x: logits.fisher_rao_distance(x, near), (z,))
    for other in (z.detach(), z.detach() + 5.0):
        (gradient,) = torch.autograd.grad(logits.fisher_rao_distance(z, other), z)
        assert torch.isfinite(gradient).all()
    saturated = torch.tensor([800.0, -800.0, -float("inf"), 0.0], requires_grad=True)
    for other in (
        [-800.0, 800.0, 0.0, 0.0],
        [800.0, -800.0, 0.0, 1.0],
        [0.0, 0.0, -float("inf"), 0.0],
    ):
        (gradient,) = torch.autograd.grad(logits.fisher_rao_distance(saturated, other), saturated)
        assert torch.isfinite(gradient).all()


def test_bad_input_names_the_logits():
    with pytest.raises(ValueError, match=r"w must hold logits .* NaN or \+inf"):
        logits.fisher_rao_distance([0.0, 1.0], [np.nan, 1.0])


# ---------------------------------------------------------------- agreement with the simplex

Z = np.array([[0.3, -1.2, 0.5, 2.0], [0.0, 0.0, 1.0, -1.0], [-2.0, 0.4, 0.1, 0.2]])
W = np.array([[1.0, 0.2, -0.5, 0.3], [0.1, -0.3, 0.8, 0.4], [0.5, 0.6, -1.0, 0.0]])
V = 0.2 * np.array([[1.0, -2.0, 0.5, 0.0], [0.3, 1.0, 1.0, -1.0], [2.0, 0.0, -1.0, 0.5]])


def points(z):
    return z - np.mean(z, axis=-1, keepdims=True)


def vector(z, v):
    """The simplex's tangent vector of a change of logits."""
    p = logits.to_simplex(z)
    return p * (v - np.sum(p * v, axis=-1, keepdims=True))


def log(p):
    return points(np.log(p))


P, Q = logits.to_simplex(Z), logits.to_simplex(W)
DP = vector(Z, V)

SAME = {
    "squared": (
        logits.fisher_rao_squared_distance(Z, W),
        simplex.fisher_rao_squared_distance(P, Q),
    ),
    "geodesic": (
        logits.fisher_rao_geodesic(Z, W, [0.0, 0.3, 1.0]),
        log(simplex.fisher_rao_geodesic(P, Q, [0.0, 0.3, 1.0])),
    ),
    "e_geodesic": (logits.e_geodesic(Z, W, 0.3), log(simplex.e_geodesic(P, Q, 0.3))),
    "m_geodesic": (logits.m_geodesic(Z, W, 0.3), log(simplex.m_geodesic(P, Q, 0.3))),
    "alpha_geodesic": (
        logits.alpha_geodesic(Z, W, 0.3, alpha=0.4),
        log(simplex.alpha_geodesic(P, Q, 0.3, alpha=0.4)),
    ),
    "exp": (logits.exp_map(Z, V), log(simplex.exp_map(P, DP))),
    "log": (logits.log_map(Z, W) * P, simplex.log_map(P, Q)),
    "boundary": (logits.boundary_time(Z, V), simplex.boundary_time(P, DP)),
    "inner": (logits.inner_product(Z, V, W), simplex.inner_product(P, DP, vector(Z, W))),
    "norm": (logits.norm(Z, V), simplex.norm(P, DP)),
    "parallel": (logits.parallel_transport(Z, W, V) * Q, simplex.parallel_transport(P, Q, DP)),
    "e_transport": (logits.e_transport(Z, W, V) * Q, simplex.e_transport(P, Q, DP)),
    "m_transport": (logits.m_transport(Z, W, V) * Q, simplex.m_transport(P, Q, DP)),
    "entropy": (logits.entropy(Z), simplex.entropy(P)),
    "kl": (logits.kl_divergence(Z, W), simplex.kl_divergence(P, Q)),
    "jeffreys": (logits.jeffreys_divergence(Z, W), simplex.jeffreys_divergence(P, Q)),
    "Jensen-Shannon": (
        logits.jensen_shannon_divergence(Z, W),
        simplex.jensen_shannon_divergence(P, Q),
    ),
    "total variation": (
        logits.total_variation_distance(Z, W),
        simplex.total_variation_distance(P, Q),
    ),
    "chi-square": (logits.chi_square_divergence(Z, W), simplex.chi_square_divergence(P, Q)),
    "alpha": (
        logits.alpha_divergence(Z, W, alpha=0.3),
        simplex.alpha_divergence(P, Q, alpha=0.3),
    ),
    "renyi": (logits.renyi_divergence(Z, W, order=2.0), simplex.renyi_divergence(P, Q, order=2.0)),
    "hellinger": (logits.hellinger_distance(Z, W), simplex.hellinger_distance(P, Q)),
    "bhattacharyya": (
        logits.bhattacharyya_coefficient(Z, W),
        simplex.bhattacharyya_coefficient(P, Q),
    ),
    "e_mean": (logits.e_mean(Z, weights=[1, 2, 3]), log(simplex.e_mean(P, weights=[1, 2, 3]))),
    "m_mean": (logits.m_mean(Z, weights=[1, 2, 3]), log(simplex.m_mean(P, weights=[1, 2, 3]))),
}


@pytest.mark.parametrize(("ours", "theirs"), SAME.values(), ids=SAME)
def test_the_two_charts_agree(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


ELEMENTWISE = {
    "squared": lambda z, w, v: logits.fisher_rao_squared_distance(z, w),
    "geodesic": lambda z, w, v: logits.fisher_rao_geodesic(z, w, 0.3),
    "e_geodesic": lambda z, w, v: logits.e_geodesic(z, w, 0.3),
    "m_geodesic": lambda z, w, v: logits.m_geodesic(z, w, 0.3),
    "exp": lambda z, w, v: logits.exp_map(z, v),
    "log": lambda z, w, v: logits.log_map(z, w),
    "boundary": lambda z, w, v: logits.boundary_time(z, v),
    "parallel": lambda z, w, v: logits.parallel_transport(z, w, v),
    "m_transport": lambda z, w, v: logits.m_transport(z, w, v),
    "information": lambda z, w, v: logits.fisher_information(z),
    "inverse": lambda z, w, v: logits.apply_inverse_fisher(z, v),
    "quotient_1": lambda z, w, v: logits.quotient_norm(z, order=1),
    "entropy": lambda z, w, v: logits.entropy(z),
    "kl": lambda z, w, v: logits.kl_divergence(z, w),
    "renyi": lambda z, w, v: logits.renyi_divergence(z, w, order=0.5),
    "m_mean": lambda z, w, v: logits.m_mean(z),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("call", ELEMENTWISE.values(), ids=ELEMENTWISE)
def test_every_library_gives_the_same(lib, call, dtype):
    value = call(*(lib.array(x, dtype) for x in (Z, W, V)))
    assert lib.owns(value)
    assert lib.dtype_name(value) == dtype
    tolerance = 1e-13 if dtype == "float64" else 3e-6
    np.testing.assert_allclose(
        lib.to_numpy(value), call(Z, W, V), rtol=tolerance, atol=10 * tolerance
    )


# ---------------------------------------------------------------- the quotient


@pytest.mark.parametrize("order", [1, 2, np.inf])
@pytest.mark.parametrize("num_outcomes", [1, 2, 5, 6])
def test_quotient_norm_is_the_least_norm_of_a_representative(rng, order, num_outcomes):
    z = rng.normal(size=num_outcomes)
    a = np.concatenate([z, [z.mean()], np.linspace(z.min(), z.max(), 2001)])
    least = np.linalg.norm(z[:, None] - a, ord=order, axis=0).min()
    value = logits.quotient_norm(z + 7.0, order=order)
    np.testing.assert_allclose(value, least, rtol=2e-3 if order == np.inf else 1e-12, atol=1e-14)
    assert value <= least + 1e-14


def test_fisher_information_acts_as_it_says(rng):
    z, v = rng.normal(size=(2, 6))
    F = logits.fisher_information(z)
    np.testing.assert_allclose(F @ v, logits.apply_fisher(z, v), rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(F.sum(-1), 0.0, atol=1e-17)
    g = rng.normal(size=6)
    expected = np.linalg.pinv(F) @ g
    np.testing.assert_allclose(logits.apply_inverse_fisher(z, g), expected, rtol=1e-10)
    np.testing.assert_allclose(logits.natural_gradient(z, g), expected, rtol=1e-10)


def test_fisher_information_keeps_the_digits_of_a_saturated_prediction():
    F = logits.fisher_information([40.0, 0.0])
    q = mpmath.exp(-40) / (1 + mpmath.exp(-40))
    assert relative_error(F[0, 0], q * (1 - q)) < 1e-15


def test_canonical_keeps_masks():
    np.testing.assert_array_equal(logits.canonical([1.0, -np.inf, 3.0]), [-1.0, -np.inf, 1.0])
    np.testing.assert_array_equal(logits.from_simplex([1.0, 0.0]), [0.0, -np.inf])
    np.testing.assert_array_equal(logits.to_simplex([5.0, -np.inf]), [1.0, 0.0])


# ---------------------------------------------------------------- tails


def exact_log_probabilities(z):
    z = [mpmath.mpf(float(x)) for x in z]
    top = mpmath.log(mpmath.fsum(mpmath.exp(x) for x in z))
    return [x - top for x in z]


@pytest.mark.parametrize("separation", [1e-9, 1e-3, 1.0, 50.0, 1400.0])
def test_divergences_against_80_digits(rng, separation):
    z = np.array([0.0, 0.1, -700.0, -20.0])
    w = z + separation * rng.uniform(-1, 1, 4)
    a, b = exact_log_probabilities(z), exact_log_probabilities(w)
    p, q = [[mpmath.exp(x) for x in row] for row in (a, b)]
    kl = mpmath.fsum(x * (s - t) for x, s, t in zip(p, a, b, strict=True))
    reverse = mpmath.fsum(x * (s - t) for x, s, t in zip(q, b, a, strict=True))
    half = mpmath.fsum(mpmath.exp((s + t) / 2) for s, t in zip(a, b, strict=True))
    entropy = -mpmath.fsum(x * s for x, s in zip(p, a, strict=True))
    assert relative_error(logits.kl_divergence(z, w), kl) < 1e-13
    assert relative_error(logits.jeffreys_divergence(z, w), kl + reverse) < 1e-13
    total_variation = mpmath.fsum(abs(x - y) for x, y in zip(p, q, strict=True)) / 2
    assert relative_error(logits.total_variation_distance(z, w), total_variation) < 1e-13
    sides = [mpmath.log(2 * x / (x + y)) for x, y in zip(p + q, q + p, strict=True)]
    jensen_shannon = mpmath.fsum(x * s for x, s in zip(p + q, sides, strict=True)) / 2
    assert relative_error(logits.jensen_shannon_divergence(z, w), jensen_shannon) < 1e-13
    assert relative_error(logits.alpha_divergence(z, w, alpha=0.0), 4 * (1 - half)) < 1e-13
    assert relative_error(logits.renyi_divergence(z, w, order=0.5), -2 * mpmath.log(half)) < 1e-13
    assert relative_error(logits.bhattacharyya_coefficient(z, w), half) < 1e-13
    assert relative_error(logits.entropy(z), entropy) < 1e-14


def test_disjoint_saturated_predictions():
    z, w = [800.0, -800.0], [-800.0, 800.0]
    assert logits.fisher_rao_distance(z, w) == np.pi
    assert logits.renyi_divergence(z, w, order=0.5) == pytest.approx(
        1600.0 - 2 * np.log(2), rel=1e-14, abs=0
    )
    assert logits.kl_divergence([0.0, -np.inf], [-np.inf, 0.0]) == np.inf
    assert logits.kl_divergence([0.0, -np.inf], [0.0, 0.0]) == pytest.approx(np.log(2), rel=1e-15)


def test_entropy_of_a_saturated_prediction():
    q = mpmath.exp(-600)
    expected = mpmath.log1p(q) + 600 * q / (1 + q)
    assert relative_error(logits.entropy([600.0, 0.0]), expected) < 1e-13


def test_squared_distance_is_smooth_at_equality_and_in_saturation():
    torch = pytest.importorskip("torch")
    z = torch.tensor([0.3, -1.0, 2.0, 0.1], dtype=torch.float64)
    squared = logits.fisher_rao_squared_distance
    gradient = torch.func.grad(lambda x: squared(x, z))(z)
    torch.testing.assert_close(gradient, torch.zeros_like(z), rtol=0, atol=1e-16)
    hessian = torch.func.hessian(lambda x: squared(x, z))(z)
    expected = 2.0 * logits.fisher_information(z)
    torch.testing.assert_close(hessian, expected, rtol=1e-8, atol=1e-10)
    for x in ([800.0, -800.0, 0.0], [800.0, -800.0, -float("inf")]):
        x = torch.tensor(x, dtype=torch.float64)
        assert torch.isfinite(torch.func.grad(lambda y, x=x: squared(y, x))(x)).all()
        assert torch.isfinite(torch.func.hessian(lambda y, x=x: squared(y, x))(x)).all()


def test_torch_transforms(rng):
    torch = pytest.importorskip("torch")
    z, w = torch.tensor(rng.normal(size=(2, 5, 4)))
    for function in (logits.fisher_rao_squared_distance, logits.kl_divergence):
        mapped = torch.func.vmap(function)(z, w)
        torch.testing.assert_close(mapped, function(z, w), rtol=1e-13, atol=0)
        assert torch.autograd.gradcheck(lambda x, f=function: f(x, w), (z.requires_grad_(),))
        z = z.detach()


@pytest.mark.slow
def test_compiles_to_one_graph(rng):
    torch = pytest.importorskip("torch")
    z, w = torch.tensor(rng.normal(size=(2, 5, 4)))

    def several(z, w):
        far = logits.fisher_rao_distance(z, w) + logits.quotient_norm(z)
        moved = logits.parallel_transport(z, w, logits.log_map(z, w))
        return far + logits.boundary_time(z, moved) + logits.e_mean(z, axis=0)[0]

    compiled = torch.compile(several, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(z, w), several(z, w))


def test_jax_jit_and_gradient(rng):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    z, w = (jax.numpy.asarray(x) for x in rng.normal(size=(2, 4)))
    for function in (logits.fisher_rao_distance, logits.fisher_rao_squared_distance):
        np.testing.assert_allclose(jax.jit(function)(z, w), function(z, w), rtol=1e-13)
        np.testing.assert_allclose(jax.grad(function)(z, z), np.zeros(4), atol=1e-16)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: logits.quotient_norm([0.0, 1.0], order=3), "order must be 1, 2 or inf: got 3"),
        (lambda: logits.apply_inverse_fisher([0.0, -np.inf], [1.0, -1.0]), "z must be finite here"),
        (lambda: logits.log_map([0.0, -np.inf], [0.0, 0.0]), "w must be masked where z is"),
        (lambda: logits.exp_map([0.0, 0.0], [9.0, 0.0]), "v must keep the geodesic inside"),
        (lambda: logits.e_geodesic([0.0, -np.inf], [-np.inf, 0.0], 0.5), "z and w must have an"),
        (lambda: logits.e_mean([[0.0, -np.inf], [-np.inf, 0.0]]), "points must have a class in"),
        (lambda: logits.norm([0.0, 0.0], [np.inf, 0.0]), "v must be finite"),
        (lambda: logits.m_geodesic([0.0], [0.0], 2.0), "t must lie in [0, 1]"),
    ],
)
def test_bad_values_get_a_clear_message(call, message):
    with pytest.raises(ValueError, match=r".") as caught:
        call()
    assert str(caught.value).startswith(message)


# ---------------------------------------------------------------- where formulas branch or overflow


@pytest.mark.parametrize("end", [0.0, 1.0])
@pytest.mark.parametrize(
    "curve",
    [
        logits.fisher_rao_geodesic,
        logits.e_geodesic,
        logits.m_geodesic,
        lambda z, w, t: logits.alpha_geodesic(z, w, t, alpha=0.4),
    ],
)
def test_geodesics_have_their_velocity_at_the_ends(curve, end):
    torch = pytest.importorskip("torch")
    z, w = torch.tensor([[1.0, 0.0, -1.0], [0.0, 2.0, -1.0]], dtype=torch.float64)
    t = torch.tensor(end, dtype=torch.float64)
    velocity = torch.autograd.functional.jacobian(lambda t: curve(z, w, t), t)
    step = 1e-6 if end == 0.0 else -1e-6
    secant = (curve(z, w, t + step) - curve(z, w, t)) / step
    torch.testing.assert_close(velocity, secant, rtol=1e-4, atol=1e-5)


def test_natural_gradient_of_saturated_predictions():
    value = logits.natural_gradient([0.0, 800.0, 801.0], [0.0, 0.1, -0.1])
    p = 1 / (1 + np.exp([1.0, -1.0]))
    expected = np.array([0.0, 0.1 / p[0], -0.1 / p[1]])
    np.testing.assert_allclose(value, expected - expected.mean(), rtol=1e-12)
    overflowing = logits.natural_gradient(
        np.array([100, 0, 0], np.float32), np.array([-1, 1, 0], np.float32)
    )
    assert not np.isnan(overflowing).any()


def test_masks_and_saturation_give_zeros_and_infinities_not_nan():
    assert logits.quotient_norm([1.0, 2.0, -np.inf]) == np.inf
    assert logits.quotient_norm([5.0, -np.inf, -np.inf], order=1) == np.inf
    np.testing.assert_array_equal(logits.log_map([800.0, -800.0], [-800.0, 800.0]), [0.0, np.inf])
    moved = logits.parallel_transport([0.0, 0.0, 0.0], [0.0, 0.0, -np.inf], [1.0, -1.0, 0.0])
    np.testing.assert_allclose(moved, [np.sqrt(2 / 3), -np.sqrt(2 / 3), 0.0], rtol=1e-14)
    with pytest.raises(ValueError, match="w must have the classes of z that v changes"):
        logits.m_transport([0.0, 0.0, 0.0], [0.0, 0.0, -np.inf], [1.0, -1.0, 3.0])
    large = logits.canonical(np.array([3e38, 3e38, 0], np.float32))
    np.testing.assert_array_equal(large, np.array([0, 0, -3e38], np.float32))


def test_gradient_of_the_transport_is_finite():
    torch = pytest.importorskip("torch")
    for z, w in (([0.5, 0.3, -np.inf], [0.0, 1.0, -np.inf]), ([60.0, 0, -60], [30.0, 0, -30])):
        z = torch.tensor(z, requires_grad=True)
        value = logits.parallel_transport(z, torch.tensor(w), [1.0, -1.0, 0.0])[0]
        assert torch.isfinite(torch.autograd.grad(value, z)[0]).all()
