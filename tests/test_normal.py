"""Normal distributions: 60-digit references, the geodesic equation, invariances, libraries."""

import dataclasses
import math

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from infogeo import SolveError, normal
from infogeo.mean import frechet_mean
from infogeo.neighbors import nearest, pairwise_distance
from infogeo.normal import Normal, Tangent

# ---------------------------------------------------------------- references in many digits


def exact(x):
    return mpmath.mpf(float(x))


def exact_distance(m0, s0, m1, s1):
    """Return the distance by arccosh, which does no harm with enough digits."""
    return mpmath.sqrt(2) * mpmath.acosh(1 + ((m0 - m1) ** 2 / 2 + (s0 - s1) ** 2) / (2 * s0 * s1))


def exact_log(m0, s0, m1, s1):
    """Return the velocity by the hyperboloid: the part of the end that is tangent at the start."""
    x, y = (m1 - m0) / s0 / mpmath.sqrt(2), s1 / s0
    on_hyperboloid = (1 + x * x + y * y) / (2 * y), x / y, (x * x + y * y - 1) / (2 * y)
    rho = mpmath.acosh(on_hyperboloid[0])
    scale = s0 * (rho / mpmath.sinh(rho) if rho else 1)
    return mpmath.sqrt(2) * scale * on_hyperboloid[1], scale * on_hyperboloid[2]


def exact_exp(m, s, dm, ds):
    """Return the end by the Moebius action of exp((y, x), (x, -y)) / 2 on i."""
    x, y = dm / s / mpmath.sqrt(2), ds / s
    half = mpmath.sqrt(x * x + y * y) / 2
    cosh, sinh = mpmath.cosh(half), mpmath.sinh(half) / (2 * half) if half else mpmath.mpf(1) / 2
    image = (mpmath.mpc(sinh * x, cosh + sinh * y)) / (mpmath.mpc(cosh - sinh * y, sinh * x))
    return m + mpmath.sqrt(2) * s * image.real, s * image.imag


def exact_kl(m0, s0, m1, s1):
    return (s0**2 / s1**2 - 1 - 2 * mpmath.log(s0 / s1) + (m0 - m1) ** 2 / s1**2) / 2


def exact_hellinger(m0, s0, m1, s1):
    total = s0**2 + s1**2
    affinity = mpmath.sqrt(2 * s0 * s1 / total) * mpmath.exp(-((m0 - m1) ** 2) / (4 * total))
    return mpmath.sqrt(1 - affinity)


def relative_error(value, reference):
    difference = abs(exact(value) - reference)
    return float(difference / abs(reference)) if reference else float(difference)


def exact_pairs(a, b):
    return [tuple(exact(x) for x in row) for row in zip(a.mean, a.std, b.mean, b.std, strict=True)]


KINDS = {
    "ordinary": lambda r, n: (r.normal(size=n), lognormal(r, n), r.normal(size=n), lognormal(r, n)),
    "near": lambda r, n: near(r, n, 1e-6),
    "very near": lambda r, n: near(r, n, 1e-12),
    "ratios of 1e24": lambda r, n: (
        r.normal(size=n), 1e-12 * lognormal(r, n), r.normal(size=n), 1e12 * lognormal(r, n)
    ),
    "means of 1e6": lambda r, n: (
        1e6 + r.normal(size=n), lognormal(r, n), 1e6 + r.normal(size=n), lognormal(r, n)
    ),
    "near at 1e6": lambda r, n: near(r, n, 1e-9, 1e6),
    "vertical": lambda r, n: (np.ones(n), lognormal(r, n), np.ones(n), lognormal(r, n) ** 4),
    "nearly vertical": lambda r, n: (
        np.zeros(n), lognormal(r, n), 1e-11 * r.normal(size=n), lognormal(r, n) ** 2
    ),
    "far means": lambda r, n: (
        1e5 * r.normal(size=n), 1e-3 * lognormal(r, n), 1e5 * r.normal(size=n), lognormal(r, n)
    ),
    "of 1e-300": lambda r, n: tuple(1e-300 * x for x in KINDS["ordinary"](r, n)),
    "of 1e300": lambda r, n: tuple(1e300 * x for x in KINDS["ordinary"](r, n)),
}  # fmt: skip


def lognormal(rng, n):
    return np.exp(rng.normal(size=n))


def near(rng, n, separation, mean=0.0):
    m, s = mean + rng.normal(size=n), lognormal(rng, n)
    x, y = separation * rng.normal(size=(2, n))
    return m, s, m + x * s, s * (1 + y)


def pairs(kind, rng, n=25, dtype="float64"):
    m0, s0, m1, s1 = (np.asarray(x, dtype) for x in KINDS[kind](rng, n))
    return Normal(m0, s0), Normal(m1, s1)


@pytest.fixture(autouse=True)
def _many_digits():
    with mpmath.workdps(200):
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_distance_against_many_digits(kind, rng):
    a, b = pairs(kind, rng)
    d, squared = normal.fisher_rao_distance(a, b), normal.fisher_rao_squared_distance(a, b)
    for i, x in enumerate(exact_pairs(a, b)):
        assert relative_error(d[i], exact_distance(*x)) < 1e-15
        assert relative_error(squared[i], exact_distance(*x) ** 2) < 2e-15


@pytest.mark.parametrize("kind", KINDS)
def test_log_and_exp_against_many_digits(kind, rng):
    a, b = pairs(kind, rng)
    v = normal.log_map(a, b)
    end = normal.exp_map(a, v)
    for i, x in enumerate(exact_pairs(a, b)):
        dm, ds = exact_log(*x)
        error = mpmath.hypot(exact(v.mean[i]) - dm, mpmath.sqrt(2) * (exact(v.std[i]) - ds))
        assert error < 1e-15 * mpmath.hypot(dm, mpmath.sqrt(2) * ds)
        assert relative_error(v.mean[i], dm) < 2e-15  # nearly vertical geodesics stay apart
        mean, std = exact_exp(x[0], x[1], exact(v.mean[i]), exact(v.std[i]))
        growth = 1 + exact_distance(*x)  # rounding the velocity does the same
        assert relative_error(end.std[i], std) < 5e-16 * growth
        assert abs(exact(end.mean[i]) - mean) < 5e-16 * growth * (abs(mean - x[0]) + abs(mean))


@pytest.mark.parametrize("kind", KINDS)
def test_geodesic_against_many_digits(kind, rng):
    a, b = pairs(kind, rng)
    t = np.array([0.0, 1e-9, 0.1, 0.5, 0.75, 1.0])
    points = normal.fisher_rao_geodesic(a, b, t)
    assert points.shape == (6, 25)
    for i, x in enumerate(exact_pairs(a, b)):
        velocity = exact_log(*x)
        growth = 1 + exact_distance(*x)
        for j in range(6):
            mean, std = exact_exp(x[0], x[1], *(exact(t[j]) * y for y in velocity))
            assert relative_error(points.std[j, i], std) < 5e-16 * growth
            assert abs(exact(points.mean[j, i]) - mean) < 5e-16 * (abs(mean) + abs(x[0] - x[2]))


@pytest.mark.parametrize("kind", KINDS)
def test_divergences_against_many_digits(kind, rng):
    a, b = pairs(kind, rng)
    kl, jeffreys = normal.kl_divergence(a, b), normal.jeffreys_divergence(a, b)
    hellinger = normal.hellinger_distance(a, b)
    for i, x in enumerate(exact_pairs(a, b)):
        forward, backward = exact_kl(*x), exact_kl(*x[2:], *x[:2])
        assert relative_error(kl[i], forward) < 5e-15
        assert relative_error(jeffreys[i], forward + backward) < 1e-15
        assert relative_error(hellinger[i], exact_hellinger(*x)) < 1e-15


@pytest.mark.parametrize("kind", ["ordinary", "near", "means of 1e6", "vertical"])
def test_single_precision_against_many_digits(kind, rng):
    a, b = pairs(kind, rng, dtype="float32")
    if kind == "near":  # keep the differences above the rounding of the points
        b = Normal(a.mean + np.float32(1e-5) * a.std, a.std * np.float32(1 + 1e-5))
    d, v = normal.fisher_rao_distance(a, b), normal.log_map(a, b)
    kl, hellinger = normal.kl_divergence(a, b), normal.hellinger_distance(a, b)
    assert {x.dtype for x in (d, v.mean, v.std, kl, hellinger)} == {np.dtype("float32")}
    for i, x in enumerate(exact_pairs(a, b)):
        assert relative_error(d[i], exact_distance(*x)) < 5e-7
        assert relative_error(kl[i], exact_kl(*x)) < 2e-6
        assert relative_error(hellinger[i], exact_hellinger(*x)) < 5e-7
        dm, ds = exact_log(*x)
        error = mpmath.hypot(exact(v.mean[i]) - dm, mpmath.sqrt(2) * (exact(v.std[i]) - ds))
        assert error < 5e-7 * mpmath.hypot(dm, mpmath.sqrt(2) * ds)


LOG_10 = math.log(10.0)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0.0, 1e-300), (0.0, 1e300), math.sqrt(2) * 600 * LOG_10),
        ((1e300, 1e300), (0.0, 1e-300), math.sqrt(2) * (600 * LOG_10 + math.log(1.5))),
        # 2 sqrt2 log(2 h), h = 1e600 / sqrt8.
        ((0.0, 1e-300), (1e300, 1e-300), 2 * math.sqrt(2) * (600 * LOG_10 - math.log(2) / 2)),
        ((0.0, 1.0), (1e-200, 1.0), 1e-200),
        ((3.0, 2.0), (3.0, 2.0), 0.0),
        ((0.0, 1.0), (2.0, 1.0), math.sqrt(2) * math.acosh(2.0)),
    ],
)
def test_closed_values(lib, a, b, expected):
    for first, second in ((a, b), (b, a)):
        points = (Normal(lib.array(m), lib.array(s)) for m, s in (first, second))
        d = lib.to_numpy(normal.fisher_rao_distance(*points))
        np.testing.assert_allclose(d, expected, rtol=1e-15, atol=0)


def test_extreme_geodesics_join_their_ends():
    low, high = Normal(1.0, 1e-300), Normal(1.0, 1e300)
    far = Normal(1e300, 1e-300)
    for curve in (normal.fisher_rao_geodesic, normal.e_geodesic, normal.m_geodesic):
        for a, b in ((low, high), (high, low), (low, far), (far, high)):
            ends = curve(a, b, [0.0, 1.0])
            np.testing.assert_array_equal(ends.mean, [a.mean, b.mean])
            np.testing.assert_allclose(ends.std, [a.std, b.std], rtol=1e-15)
    half = normal.fisher_rao_geodesic(low, high, 0.5)
    np.testing.assert_allclose(half.std, 1.0, rtol=1e-12)
    top = normal.fisher_rao_geodesic(low, far, 0.5)
    np.testing.assert_allclose(top.mean, 5e299, rtol=1e-12)
    np.testing.assert_allclose(top.std, 1e300 / math.sqrt(8), rtol=1e-12)
    v = normal.log_map(low, high)
    np.testing.assert_allclose(v.std / 1e-300, 600 * LOG_10, rtol=1e-15)
    np.testing.assert_allclose(normal.exp_map(low, v).std, 1e300, rtol=1e-12)
    over = Normal(0.0, 1e45), Normal(1e280, 1e-210)  # over a top of 3e279
    end = normal.exp_map(over[0], normal.log_map(*over))
    np.testing.assert_allclose([end.mean, end.std], [1e280, 1e-210], rtol=1e-12)
    assert normal.kl_divergence(high, low) == np.inf
    assert normal.jeffreys_divergence(low, high) == np.inf
    np.testing.assert_allclose(normal.kl_divergence(low, high), 600 * LOG_10 - 0.5, rtol=1e-15)
    assert normal.hellinger_distance(low, high) == 1.0


# ---------------------------------------------------------------- invariances


finite = st.integers(-(2**20), 2**20).map(lambda k: k / 2**10)
positive = st.integers(1, 2**20).map(lambda k: k / 2**10)
points = st.tuples(finite, positive)


@given(points, points, st.integers(-(2**20), 2**20), st.integers(-100, 100))
def test_translations_and_scales_do_not_show(a, b, shift, power):
    """Both maps are exact on these numbers, and so is the answer."""
    scale = 4.0**power
    moved = [Normal(scale * (m + shift), scale * s) for m, s in (a, b)]
    a, b = Normal(*a), Normal(*b)
    for function in (normal.fisher_rao_distance, normal.kl_divergence, normal.hellinger_distance):
        assert function(*moved) == function(a, b)
    v, moved_v = normal.log_map(a, b), normal.log_map(*moved)
    np.testing.assert_allclose(moved_v.mean, scale * v.mean, rtol=1e-15)
    np.testing.assert_allclose(moved_v.std, scale * v.std, rtol=1e-15)


@given(points, points, points)
def test_distance_is_a_metric(a, b, c):
    a, b, c = (Normal(*x) for x in (a, b, c))
    d = normal.fisher_rao_distance
    assert d(a, b) == d(b, a)
    assert d(a, a) == 0.0
    assert d(a, c) <= (d(a, b) + d(b, c)) * (1 + 1e-14)


@given(points, points, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_geodesics_have_constant_speed(a, b, s, t):
    a, b = Normal(*a), Normal(*b)
    d = normal.fisher_rao_distance(a, b)
    first, second = normal.fisher_rao_geodesic(a, b, [s, t])
    np.testing.assert_allclose(normal.fisher_rao_distance(a, first), s * d, rtol=1e-11, atol=1e-12)
    between = normal.fisher_rao_distance(first, second)
    # Means round to their own last digit, which may be many of a small standard deviation.
    rounding = 1e-15 * (abs(a.mean) + abs(b.mean)) / min(first.std, second.std)
    np.testing.assert_allclose(between, abs(s - t) * d, rtol=1e-11, atol=1e-12 + rounding)


def test_the_geodesic_is_a_half_circle(rng):
    a, b = Normal(rng.normal(), 0.3), Normal(rng.normal() + 2, 0.8)
    curve = normal.fisher_rao_geodesic(a, b, np.linspace(0, 1, 9))
    x, y = curve.mean / np.sqrt(2), curve.std
    center = np.linalg.lstsq(np.stack([2 * x, np.ones(9)], 1), x**2 + y**2, rcond=None)[0][0]
    radius = np.hypot(x - center, y)
    np.testing.assert_allclose(radius, radius[0], rtol=1e-13)


# ---------------------------------------------------------------- equations of motion

CURVES = {
    "ordinary": ((0.3, 0.5), (1.1, 2.0)),
    "near": ((0.3, 0.5), (0.3001, 0.5002)),
    "very near": ((0.3, 0.5), (0.3 + 1e-9, 0.5)),
    "vertical": ((0.3, 0.5), (0.3, 4.0)),
    "far": ((0.0, 1e-3), (50.0, 2e-2)),
    "equal": ((0.3, 0.5), (0.3, 0.5)),
}


def torch_point(torch, values):
    return Normal(*(torch.tensor(x, dtype=torch.float64) for x in values))


@pytest.mark.parametrize("t", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(("a", "b"), CURVES.values(), ids=CURVES)
def test_the_geodesic_solves_its_equation(a, b, t):
    """mean'' = 2 mean' std' / std and std'' = (std'^2 - mean'^2 / 2) / std, at the ends too."""
    torch = pytest.importorskip("torch")
    a, b = torch_point(torch, a), torch_point(torch, b)

    def curve(t):
        point = normal.fisher_rao_geodesic(a, b, t)
        return torch.stack([point.mean, point.std])

    t = torch.tensor(t, dtype=torch.float64)
    velocity = torch.func.jacrev(curve)
    (m1, s1), (m2, s2), std = velocity(t), torch.func.jacrev(velocity)(t), curve(t)[1]
    speed = normal.fisher_rao_distance(a, b)
    scale = float(std * speed**2) + 1e-300
    assert abs(float(m2 - 2 * m1 * s1 / std)) < 1e-12 * scale + 1e-15 * float(speed)
    assert abs(float(s2 - (s1**2 - m1**2 / 2) / std)) < 1e-12 * scale + 1e-15 * float(speed)
    torch.testing.assert_close((m1**2 + 2 * s1**2).sqrt() / std, speed, rtol=1e-12, atol=1e-300)
    if t == 0.0:
        log = normal.log_map(a, b)
        torch.testing.assert_close(
            torch.stack([log.mean, log.std]), velocity(t), rtol=1e-11, atol=0
        )


@pytest.mark.parametrize(("a", "b"), CURVES.values(), ids=CURVES)
def test_parallel_transport_solves_its_equation(a, b):
    """V' = -Gamma(c', V) for the vector carried along the geodesic."""
    torch = pytest.importorskip("torch")
    a, b = torch_point(torch, a), torch_point(torch, b)
    v = Tangent(torch.tensor(0.7, dtype=torch.float64), torch.tensor(-0.4, dtype=torch.float64))

    def carried(t):
        point = normal.fisher_rao_geodesic(a, b, t)
        w = normal.parallel_transport(a, point, v)
        return torch.stack([point.mean, point.std, w.mean, w.std])

    at_start = normal.parallel_transport(a, a, v)
    torch.testing.assert_close((at_start.mean, at_start.std), (v.mean, v.std))
    t = torch.tensor(0.4, dtype=torch.float64)
    _, s, x, y = carried(t)
    m1, s1, x1, y1 = torch.func.jacrev(carried)(t)
    expected = torch.stack([(m1 * y + s1 * x) / s, (s1 * y - m1 * x / 2) / s])
    torch.testing.assert_close(torch.stack([x1, y1]), expected, rtol=1e-11, atol=1e-11)


def test_transports_of_single_vectors(rng):
    a, b = Normal(rng.normal(), 0.7), Normal(rng.normal(), 1.9)
    v = Tangent(*rng.normal(size=2))
    h = 1e-6

    def push(point, w, chart):
        ends = [chart(Normal(point.mean + x * w.mean, point.std + x * w.std)) for x in (h, -h)]
        return (np.stack(ends[0]) - np.stack(ends[1])) / (2 * h)

    for transport, chart in (
        (normal.e_transport, normal.natural_parameters),
        (normal.m_transport, normal.expectation_parameters),
    ):
        moved = push(b, transport(a, b, v), chart)
        np.testing.assert_allclose(moved, push(a, v, chart), rtol=1e-8)


# ---------------------------------------------------------------- derivatives


def test_squared_distance_is_smooth_at_equality():
    torch = pytest.importorskip("torch")
    point = torch.tensor([0.3, 2.0], dtype=torch.float64)

    def squared(x):
        return normal.fisher_rao_squared_distance(Normal(*x), Normal(*point))

    gradient = torch.func.grad(squared)(point)
    assert torch.equal(gradient, torch.zeros(2, dtype=torch.float64))
    hessian = torch.func.hessian(squared)(point)
    expected = 2.0 * normal.fisher_information(Normal(*point))
    torch.testing.assert_close(hessian, expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    "function",
    [normal.kl_divergence, lambda a, b: normal.kl_divergence(b, a),
     lambda a, b: 0.5 * normal.jeffreys_divergence(a, b)],
)  # fmt: skip
def test_divergences_have_the_metric_as_their_hessian(function):
    torch = pytest.importorskip("torch")
    point = torch.tensor([0.3, 2.0], dtype=torch.float64)
    hessian = torch.func.hessian(lambda x: function(Normal(*x), Normal(*point)))(point)
    torch.testing.assert_close(
        hessian, normal.fisher_information(Normal(*point)), rtol=1e-14, atol=0
    )


DISTANCES = {
    "distance": normal.fisher_rao_distance,
    "squared": normal.fisher_rao_squared_distance,
    "kl": normal.kl_divergence,
    "jeffreys": normal.jeffreys_divergence,
    "hellinger": normal.hellinger_distance,
    "diagonal": normal.diagonal_fisher_rao_distance,
    "diagonal squared": normal.diagonal_fisher_rao_squared_distance,
}
MAPS = {
    "log": lambda a, b: normal.log_map(a, b),
    "exp": lambda a, b: normal.exp_map(a, Tangent(b.mean, b.std)),
    "geodesic": lambda a, b: normal.fisher_rao_geodesic(a, b, 0.3),
    "e": lambda a, b: normal.e_geodesic(a, b, 0.3),
    "m": lambda a, b: normal.m_geodesic(a, b, 0.3),
    "parallel": lambda a, b: normal.parallel_transport(a, b, Tangent(b.mean, a.std)),
    "e_transport": lambda a, b: normal.e_transport(a, b, Tangent(b.mean, a.std)),
    "m_transport": lambda a, b: normal.m_transport(a, b, Tangent(b.mean, a.std)),
    "e_mean": lambda a, b: normal.e_mean(a, weights=b.std),
    "m_mean": lambda a, b: normal.m_mean(a, weights=b.std),
}


def of_arrays(torch, function):
    """Return the function on two means and two deviations, with an array as its result."""

    def called(m0, s0, m1, s1):
        result = function(Normal(m0, s0), Normal(m1, s1))
        is_array = isinstance(result, torch.Tensor)
        return result if is_array else torch.stack([result.mean, result.std])

    return called


def torch_pairs(torch, kind, rng, n=6):
    a, b = pairs(kind, rng, n)
    return [torch.tensor(x) for x in (a.mean, a.std, b.mean, b.std)]


@pytest.mark.parametrize("name", [*DISTANCES, *MAPS])
def test_gradients_agree_with_differences(name, rng):
    torch = pytest.importorskip("torch")
    function = of_arrays(torch, {**DISTANCES, **MAPS}[name])
    args = [x.requires_grad_() for x in torch_pairs(torch, "ordinary", rng)]
    assert torch.autograd.gradcheck(function, args)


@pytest.mark.parametrize("name", [*DISTANCES, *MAPS])
@pytest.mark.parametrize(
    "kind", ["equal", "near", "very near", "ratios of 1e24", "nearly vertical", "far means"]
)
def test_gradients_are_finite(name, kind, rng):
    torch = pytest.importorskip("torch")
    m0, s0, m1, s1 = torch_pairs(torch, "ordinary" if kind == "equal" else kind, rng)
    if kind == "equal":
        m1, s1 = m0.clone(), s0.clone()
    if name == "exp":  # there b is a velocity: one for a moderate distance
        m1, s1 = 3.0 * s0 * torch.sin(m1), 1e-9 * s0
    args = [x.requires_grad_() for x in (m0, s0, m1, s1)]
    value = of_arrays(torch, {**DISTANCES, **MAPS}[name])(*args)
    gradients = torch.autograd.grad(value.sum(), args, materialize_grads=True)
    assert all(torch.isfinite(g).all() for g in gradients)
    if kind == "equal" and name in DISTANCES:
        assert all(float(abs(g).max()) == 0.0 for g in gradients)


@pytest.mark.parametrize("separation", [1e-12, 1e-7, 1e-3])
def test_derivatives_keep_their_digits_near_equality(separation):
    """The log map is the identity there to first order, and exp and the geodesic likewise."""
    torch = pytest.importorskip("torch")
    point = torch.tensor([0.0, 2.0], dtype=torch.float64)
    shifted = point + separation * torch.tensor([1.0, -1.0], dtype=torch.float64)
    for function in (
        lambda x: normal.log_map(Normal(*point), Normal(*x)),
        lambda x: normal.exp_map(Normal(*point), Tangent(*(x - point))),
    ):
        jacobian = torch.func.jacrev(lambda x, f=function: torch.stack(list(vars(f(x)).values())))
        identity = torch.eye(2, dtype=torch.float64)
        torch.testing.assert_close(jacobian(shifted), identity, rtol=0, atol=2 * separation)
    middle = torch.func.jacrev(
        lambda x: normal.fisher_rao_geodesic(Normal(*point), Normal(*x), 0.25).std
    )
    expected = torch.tensor([0.0, 0.25], dtype=torch.float64)
    torch.testing.assert_close(middle(shifted), expected, rtol=0, atol=2 * separation)


@pytest.mark.parametrize("name", [*DISTANCES, "log", "geodesic", "parallel"])
def test_torch_transforms_agree_with_the_eager_call(name, rng):
    torch = pytest.importorskip("torch")
    function = of_arrays(torch, {**DISTANCES, **MAPS}[name])
    args = [torch.stack([x, x + 0.5]) for x in torch_pairs(torch, "ordinary", rng)]
    expected = torch.stack([function(*row) for row in zip(*args, strict=True)])
    torch.testing.assert_close(torch.func.vmap(function)(*args), expected, rtol=1e-13, atol=0)
    jacobians = [
        transform(lambda m: function(m, *(x[0] for x in args[1:])))(args[0][0])
        for transform in (torch.func.jacrev, torch.func.jacfwd)
    ]
    torch.testing.assert_close(*jacobians, rtol=1e-11, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["distance", "squared", "kl", "log", "exp", "geodesic"])
def test_compiles_to_one_graph(name, rng):
    torch = pytest.importorskip("torch")
    # The gate's way for numbers of Python goes through a cache that dynamo warns about.
    at_t = {"geodesic": lambda a, b: normal.fisher_rao_geodesic(a, b, torch.sigmoid(a.mean))}
    function = of_arrays(torch, {**DISTANCES, **MAPS, **at_t}[name])
    args = torch_pairs(torch, "ordinary", rng)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*args), function(*args), rtol=1e-13, atol=0)


def test_jax_jit_and_gradient():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)

    def squared(x, y):
        return normal.fisher_rao_squared_distance(Normal(x[0], x[1]), Normal(y[0], y[1]))

    x, y = jax.numpy.asarray([0.3, 2.0]), jax.numpy.asarray([1.0, 0.5])
    np.testing.assert_allclose(jax.jit(squared)(x, y), squared(x, y), rtol=1e-14)
    assert np.all(np.asarray(jax.grad(squared)(x, x)) == 0.0)
    np.testing.assert_allclose(jax.hessian(squared)(x, x), np.diag([0.5, 1.0]), rtol=1e-14)


# ---------------------------------------------------------------- e- and m-geometry, charts


def test_e_geodesic_is_straight_in_natural_and_m_geodesic_in_expectation_parameters(rng):
    a, b = pairs("ordinary", rng)
    t = np.array([0.0, 0.3, 1.0])
    for curve, chart in (
        (normal.e_geodesic, normal.natural_parameters),
        (normal.m_geodesic, normal.expectation_parameters),
    ):
        for start, end, on_curve in zip(chart(a), chart(b), chart(curve(a, b, t)), strict=True):
            expected = (1 - t[:, None]) * start + t[:, None] * end
            np.testing.assert_allclose(on_curve, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("curve", [normal.e_geodesic, normal.m_geodesic])
@pytest.mark.parametrize("end", [0.0, 1.0])
def test_geodesics_have_their_velocity_at_the_ends(curve, end):
    torch = pytest.importorskip("torch")
    a, b = torch_point(torch, (0.3, 0.5)), torch_point(torch, (1.1, 2.0))
    t = torch.tensor(end, dtype=torch.float64)

    def path(t):
        point = curve(a, b, t)
        return torch.stack([point.mean, point.std])

    step = 1e-6 if end == 0.0 else -1e-6
    secant = (path(t + step) - path(t)) / step
    torch.testing.assert_close(torch.func.jacrev(path)(t), secant, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("separation", [1e-12, 1e-9, 1e-4])
@pytest.mark.parametrize("end", [0, 1])
def test_velocities_keep_their_digits_between_near_points(separation, end):
    """Against the derivatives at the ends in closed form, in many digits."""
    torch = pytest.importorskip("torch")
    a, b = (0.3, 0.5), (0.3 + separation, 0.5 - 0.7 * separation)
    m0, s0, m1, s1 = (exact(x) for x in (*a, *b))
    by_log = exact_log(m0, s0, m1, s1) if end == 0 else [-x for x in exact_log(m1, s1, m0, s0)]
    s = (s0, s1)[end]
    inverse = (1 / s0**2, 1 / s1**2)
    e_velocity = (
        (m1 - m0) * inverse[1 - end] / inverse[end],
        (inverse[0] - inverse[1]) * s**3 / 2,
    )
    m_velocity = (m1 - m0, (s1**2 - s0**2 + (1 - 2 * end) * (m1 - m0) ** 2) / (2 * s))
    a, b = torch_point(torch, a), torch_point(torch, b)
    t = torch.tensor(float(end), dtype=torch.float64)
    for curve, velocity in (
        (normal.fisher_rao_geodesic, by_log),
        (normal.e_geodesic, e_velocity),
        (normal.m_geodesic, m_velocity),
    ):
        found = torch.func.jacrev(lambda t, c=curve: torch.stack(list(vars(c(a, b, t)).values())))(
            t
        )
        for value, expected in zip(found, velocity, strict=True):
            assert relative_error(value, expected) < 2e-15


def test_curves_move_with_their_ends():
    """Means of 1e6 keep what they differ by: 2^-30 is exact beside them."""
    a, b = Normal(1e6, 1.0), Normal(1e6 + 2.0**-24, 1.0)
    for curve in (normal.fisher_rao_geodesic, normal.e_geodesic, normal.m_geodesic):
        assert curve(a, b, 0.25).mean - 1e6 == 2.0**-26
        assert curve(a, b, 0.75).mean - 1e6 == 3 * 2.0**-26


def test_parameters_of_different_batches_broadcast():
    found = normal.from_natural_parameters([0.0, 2.0, 4.0], -0.5)
    np.testing.assert_array_equal(found.mean, [0.0, 2.0, 4.0])
    np.testing.assert_array_equal(found.std, [1.0, 1.0, 1.0])


def test_charts_invert(lib, rng):
    a, _ = pairs("ordinary", rng)
    a = Normal(lib.array(a.mean), lib.array(a.std))
    for back in (
        normal.from_natural_parameters(*normal.natural_parameters(a)),
        normal.from_expectation_parameters(*normal.expectation_parameters(a)),
    ):
        assert lib.owns(back.mean)
        np.testing.assert_allclose(lib.to_numpy(back.mean), lib.to_numpy(a.mean), rtol=1e-14)
        np.testing.assert_allclose(lib.to_numpy(back.std), lib.to_numpy(a.std), rtol=1e-13)


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 5e-16), ("float32", 3e-7)])
def test_the_variance_is_that_of_the_very_floats(rng, dtype, rtol):
    eta_1 = (1e3 * rng.normal(size=20)).astype(dtype)
    eta_2 = (np.float64(eta_1) ** 2 * (1 + 1e-5) + 1).astype(dtype)
    point = normal.from_expectation_parameters(eta_1, eta_2)
    assert point.std.dtype == dtype
    for i in range(20):
        expected = mpmath.sqrt(exact(eta_2[i]) - exact(eta_1[i]) ** 2)
        assert relative_error(point.std[i], expected) < rtol


def test_divergences_are_integrals_of_densities():
    """From the definitions, with densities of scipy."""
    a, b = Normal(0.3, 0.8), Normal(-0.5, 1.7)
    p, q = (scipy.stats.norm(x.mean, x.std) for x in (a, b))

    def integral(f):
        return scipy.integrate.quad(f, -30, 30, points=[-1, 0, 1], limit=200, epsabs=1e-13)[0]

    kl = integral(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)))
    np.testing.assert_allclose(normal.kl_divergence(a, b), kl, rtol=1e-11)
    squared = integral(lambda x: 0.5 * (np.sqrt(p.pdf(x)) - np.sqrt(q.pdf(x))) ** 2)
    np.testing.assert_allclose(normal.hellinger_distance(a, b) ** 2, squared, rtol=1e-11)
    np.testing.assert_allclose(normal.entropy(a), p.entropy(), rtol=1e-15)


def test_the_metric_is_the_covariance_of_the_score():
    a = Normal(0.3, 0.8)
    x, w = np.polynomial.hermite_e.hermegauss(20)
    score = np.stack([x / a.std, (x**2 - 1) / a.std])  # derivatives of the log-density
    expected = (w / w.sum() * score) @ score.T
    np.testing.assert_allclose(normal.fisher_information(a), expected, rtol=1e-12, atol=1e-14)
    u, v = Tangent(0.4, -1.0), Tangent(1.5, 0.2)
    by_matrix = np.array([0.4, -1.0]) @ expected @ np.array([1.5, 0.2])
    np.testing.assert_allclose(normal.inner_product(a, u, v), by_matrix, rtol=1e-12)


def test_symbols_and_curvature_are_those_of_the_metric_and_of_geodesics():
    """By the laws of the half-plane: x'' = -Gamma(x', x'), and the squares of distances."""
    a, v, h = Normal(0.3, 0.8), Tangent(0.4, -1.0), 1e-3
    path = [normal.exp_map(a, t * v) for t in (-h, 0.0, h)]
    x = np.array([0.4, -1.0])
    bend = np.array([[float(p.mean), float(p.std)] for p in path])
    seen = (bend[0] - 2.0 * bend[1] + bend[2]) / h**2
    expected = -np.einsum("kij,i,j->k", normal.christoffel_symbols(a), x, x)
    np.testing.assert_allclose(seen, expected, rtol=1e-5)
    batch = Normal([0.3, 1.0], [0.8, 2.0])
    found = normal.christoffel_symbols(batch)
    np.testing.assert_array_equal(found[0], normal.christoffel_symbols(a))
    assert normal.sectional_curvature(batch, v, Tangent(1.0, 0.0)).tolist() == [-0.5, -0.5]


# ---------------------------------------------------------------- diagonal normals


def test_diagonal_distances_are_root_sums_of_squares(lib, rng):
    a, b = pairs("ordinary", rng, 12)
    means, stds = (lib.array(np.reshape(x, (4, 3))) for x in (a.mean, a.std))
    others = Normal(*(lib.array(np.reshape(x, (4, 3))) for x in (b.mean, b.std)))
    d = normal.diagonal_fisher_rao_distance(Normal(means, stds), others)
    squares = np.reshape(normal.fisher_rao_distance(a, b), (4, 3)) ** 2
    assert lib.owns(d)
    np.testing.assert_allclose(lib.to_numpy(d), np.sqrt(squares.sum(-1)), rtol=1e-14)
    squared = normal.diagonal_fisher_rao_squared_distance(Normal(means, stds), others)
    np.testing.assert_allclose(lib.to_numpy(squared), squares.sum(-1), rtol=1e-14)


def test_the_diagonal_family_has_longer_distances_than_the_full_one():
    """The first of each is of the full family: 30-digit Newton, confirmed by shooting."""
    for full, means, stds in (
        (3.1329316710671612145, [1.0, 1.0], ([1.0, math.sqrt(0.1)], [math.sqrt(0.1), 1.0])),
        (1.3610725787472008063, [1.0, 1.0], ([1.0, 1.0], [1.0, 1.0])),
    ):
        a, b = Normal([0.0, 0.0], stds[0]), Normal(means, stds[1])
        assert full < normal.diagonal_fisher_rao_distance(a, b) < 1.06 * full


# ---------------------------------------------------------------- objects


def test_batches_broadcast_and_index(rng):
    batch = Normal(rng.normal(size=(4, 1, 3)), [[1.0], [2.0]])
    assert batch.shape == batch.mean.shape == batch.std.shape == (4, 2, 3)
    assert len(batch) == 4
    assert batch[1].shape == (2, 3)
    assert batch[1:3, None, ...].shape == (2, 1, 2, 3)
    assert batch[..., 0].shape == (4, 2)
    assert batch[batch.std > 1.5].shape == (12,)
    assert batch[[0, 2]].shape == (2, 2, 3)
    np.testing.assert_array_equal(batch[2, 1].mean, batch.mean[2, 1])
    assert [point.shape for point in batch] == [(2, 3)] * 4
    with pytest.raises(IndexError, match="too many indices"):
        batch[0, 0, 0, 0]
    with pytest.raises(TypeError, match="a single Normal has no length"):
        len(batch[0, 0, 0])


def test_stack_makes_a_new_first_axis(lib):
    points = [Normal(lib.array([0.0, m]), lib.array([1.0, 2.0])) for m in (1.0, 2.0, 3.0)]
    stacked = Normal.stack(points)
    assert lib.owns(stacked.mean)
    assert stacked.shape == (3, 2)
    np.testing.assert_array_equal(lib.to_numpy(stacked.mean)[:, 1], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("make", [Normal, Tangent])
def test_single_precision_stays(lib, make):
    """Also in single points, which numpy would take for numbers of Python."""
    batch = make(lib.array([0.5, 1.0], "float32"), lib.array(1.0, "float32"))
    single = batch[0]
    again = [batch, single, make(single.mean, 2.0), make(batch.mean, single.std)]
    if make is Tangent:
        again += [2.0 * single, single + single, -single, single / np.float64(3.0)]
    assert {lib.dtype_name(x) for v in again for x in (v.mean, v.std)} == {"float32"}


def test_tangent_vectors_make_a_vector_space(rng):
    u, v = (Tangent(*x) for x in rng.normal(size=(2, 2, 3)))
    factor = np.array([1.0, 2.0, -3.0])
    for w, mean in (
        (u + v, u.mean + v.mean),
        (u - v, u.mean - v.mean),
        (-u, -u.mean),
        (2 * u, 2 * u.mean),
        (u * np.float64(0.1), 0.1 * u.mean),
        (np.float64(0.1) * u, 0.1 * u.mean),
        (np.float32(0.5) * u, 0.5 * u.mean),
        (factor * u, factor * u.mean),
        (u * factor, factor * u.mean),
        (u / factor, u.mean / factor),
        (factor[:, None] * u, factor[:, None] * u.mean),
        (u + v[0], u.mean + v.mean[0]),
    ):
        assert isinstance(w, Tangent)
        assert w.shape == w.mean.shape
        np.testing.assert_array_equal(w.mean, mean)
    torch = pytest.importorskip("torch")
    w = Tangent(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    for factor in (2.0, np.float64(2.0), torch.tensor(2.0), torch.tensor([2.0, 2.0])):
        assert (factor * w).std.tolist() == (w * factor).std.tolist() == [6.0, 8.0]
    for wrong in (lambda: u + 1.0, lambda: u * u, lambda: u + Normal(0.0, 1.0), lambda: u * "a"):
        with pytest.raises(TypeError):
            wrong()


def test_objects_are_frozen_and_describe_themselves():
    point = Normal(1.0, 2.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.mean = 3.0
    assert repr(point) == "Normal(mean=1.0, std=2.0)"
    assert repr(Tangent(1.0, -2.0)) == "Tangent(mean=1.0, std=-2.0)"
    batch = Normal(np.zeros((2, 3), np.float32), 1.0)
    assert repr(batch) == "Normal(batch shape (2, 3), float32, numpy)"
    replaced = dataclasses.replace(point, mean=5.0)
    assert (replaced.mean, replaced.std) == (5.0, 2.0)


def test_unchecked_values_pass():
    point = Normal([0.0, np.nan], [0.0, 1.0], check=False)
    assert point.shape == (2,)
    torch = pytest.importorskip("torch")
    meta = Normal(torch.zeros(3, device="meta"), torch.zeros(3, device="meta"))
    assert normal.fisher_rao_distance(meta, meta).shape == (3,)


# ---------------------------------------------------------------- fits


def test_fit_is_maximum_likelihood(lib, rng):
    samples = 1e6 + rng.normal(size=(50, 3)) * [1e-3, 1.0, 10.0]
    point = Normal.fit(lib.array(samples))
    assert lib.owns(point.mean)
    assert point.shape == (3,)
    for k in range(3):
        exact_samples = [exact(x) for x in samples[:, k]]
        mean = mpmath.fsum(exact_samples) / 50
        std = mpmath.sqrt(mpmath.fsum((x - mean) ** 2 for x in exact_samples) / 50)
        assert relative_error(lib.to_numpy(point.mean)[k], mean) < 3e-16
        assert relative_error(lib.to_numpy(point.std)[k], std) < 1e-14


@pytest.mark.parametrize("labels", [["b", "a", "b", "a", "c"] * 4, [1, 0, 1, 0, 7] * 4])
def test_fit_of_classes(labels, rng):
    torch = pytest.importorskip("torch")
    samples = rng.normal(size=(20, 2))
    fitted = Normal.fit(samples, labels)
    assert fitted.shape == (3, 2)
    for i, name in enumerate(np.unique(labels)):
        rows = samples[np.asarray(labels) == name]
        np.testing.assert_allclose(fitted[i].mean, rows.mean(0), rtol=1e-14)
        np.testing.assert_allclose(fitted[i].std, rows.std(0), rtol=1e-14)
    single = torch.tensor(samples[:, 0], dtype=torch.float32)
    tensors = Normal.fit(single, torch.tensor(np.unique(labels, return_inverse=True)[1]))
    assert tensors.mean.dtype == torch.float32
    np.testing.assert_allclose(tensors.std, fitted.std[:, 0], rtol=1e-5)


@pytest.mark.parametrize(
    ("samples", "labels", "message"),
    [
        (
            [[[1.0]]],
            None,
            "samples must have shape (n,) or (n, num_components): got shape (1, 1, 1)",
        ),
        (3.0, None, "samples must have shape (n,)"),
        ([1.0], None, "samples must number at least 2, for a spread: there are 1."),
        ([], None, "samples must number at least 2, for a spread: there are 0."),
        ([], [], "samples must hold at least 2 rows"),
        ([0.1, 0.1, 0.1], None, "samples must vary: they are all equal."),
        ([[0.0, 0.1], [1.0, 0.1]], None, "samples must vary: component 1 does not."),
        ([1.0, 2.0, 3.0], ["a", "a", "b"], "samples of class 'b' must number at least 2"),
        ([1.0, 2.0, 3.0, 3.0], [0, 0, 1, 1], "samples of class 1 must vary: they are all equal."),
        ([1.0, 2.0], [0], "labels must have one entry for each of the 2 samples: got shape (1,)"),
        ([1.0, np.nan], None, "samples must be finite: it has NaN or infinite entries (row 1)."),
    ],
)
def test_fits_that_fail_say_why(samples, labels, message):
    with pytest.raises(ValueError, match=r"samples|labels") as caught:
        Normal.fit(samples, labels)
    assert str(caught.value).startswith(message)


# ---------------------------------------------------------------- means


def test_means_minimise_their_divergence(rng):
    points, weights = pairs("ordinary", rng, 6)[0], rng.uniform(size=6)
    losses = {
        normal.e_mean: lambda p: weights @ normal.kl_divergence(p, points),
        normal.m_mean: lambda p: weights @ normal.kl_divergence(points, p),
    }
    for mean, loss in losses.items():
        center = mean(points, weights=weights)
        for v in (Tangent(*x) for x in rng.normal(size=(10, 2))):
            assert loss(center) < loss(normal.exp_map(center, 1e-4 * v))


def test_means_are_averages_in_their_charts(rng):
    points, weights = pairs("means of 1e6", rng, 6)[0], rng.uniform(size=6)
    shifted = Normal(points.mean - 1e6, points.std)
    for mean, chart in (
        (normal.e_mean, normal.natural_parameters),
        (normal.m_mean, normal.expectation_parameters),
    ):
        near_0, at_1e6 = (mean(x, weights=weights) for x in (shifted, points))
        for value, terms in zip(chart(near_0), chart(shifted), strict=True):
            np.testing.assert_allclose(value, np.average(terms, weights=weights), rtol=1e-13)
        np.testing.assert_allclose(at_1e6.std, near_0.std, rtol=1e-14)
        np.testing.assert_allclose(at_1e6.mean - 1e6, near_0.mean, rtol=0, atol=2e-10)


@pytest.mark.parametrize("mean", [normal.e_mean, normal.m_mean])
def test_means_of_batches(lib, mean, rng):
    points, weights = pairs("ordinary", rng, 20)[0], rng.uniform(size=5)
    stds = np.reshape(points.std, (4, 5))
    batch = Normal(lib.array(np.reshape(points.mean, (4, 5))), lib.array(stds))
    found = mean(batch, weights=lib.array(weights), axis=1)
    assert lib.owns(found.mean)
    assert found.shape == (4,)
    for i in range(4):
        expected = mean(Normal(points.mean[5 * i : 5 * i + 5], stds[i]), weights=weights)
        np.testing.assert_allclose(lib.to_numpy(found.mean)[i], expected.mean, rtol=1e-13)
        np.testing.assert_allclose(lib.to_numpy(found.std)[i], expected.std, rtol=1e-13)


def test_means_ignore_points_of_weight_0_and_keep_their_range():
    points = Normal([0.0, 1.0, 5.0], [1e-300, 2.0, 1e300])
    for mean in (normal.e_mean, normal.m_mean):
        found = mean(points, weights=[0.0, 1.0, 0.0])
        np.testing.assert_allclose([found.mean, found.std], [1.0, 2.0], rtol=1e-15)
    np.testing.assert_allclose(normal.e_mean(points).std, math.sqrt(3) * 1e-300, rtol=1e-15)
    np.testing.assert_allclose(normal.m_mean(points).std, 1e300 / math.sqrt(3), rtol=1e-15)


@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0])
def test_frechet_means_are_stationary(rng, spread):
    batch = Normal(spread * rng.normal(size=(3, 20)), np.exp(spread * rng.normal(size=(3, 20))))
    weights = rng.uniform(size=20)
    mean = frechet_mean(batch, space=normal, weights=weights, axis=1)
    assert isinstance(mean.point, Normal)
    assert mean.point.shape == mean.gradient_norm.shape == mean.steps.shape == (3,)
    assert (mean.gradient_norm < 1e-11).all()
    assert (mean.steps <= 30).all()
    for i in range(3):
        alone = frechet_mean(batch[i], space=normal, weights=weights).point
        np.testing.assert_allclose([alone.mean, alone.std], [mean.point.mean[i], mean.point.std[i]])

        def loss(p, i=i):
            return weights @ normal.fisher_rao_squared_distance(p, batch[i])

        for v in (Tangent(*x) for x in rng.normal(size=(5, 2))):
            assert loss(alone) < loss(normal.exp_map(alone, 1e-4 * alone.std * v))


def test_frechet_means_of_two_points_lie_on_the_geodesic(lib):
    if lib.name == "dask":
        pytest.skip("the solve reads values")
    points = Normal(lib.array([0.0, 3.0]), lib.array([1.0, 0.2]))
    mean = frechet_mean(points, space=normal, weights=[1.0, 3.0]).point
    expected = normal.fisher_rao_geodesic(points[0], points[1], 0.75)
    assert lib.owns(mean.mean)
    for value, other in ((mean.mean, expected.mean), (mean.std, expected.std)):
        np.testing.assert_allclose(lib.to_numpy(value), lib.to_numpy(other), rtol=1e-12)


def test_frechet_means_of_small_numbers_beside_large_ones(rng):
    offsets, stds = 1e-6 * rng.normal(size=10), 1e-6 * np.exp(rng.normal(size=10))
    mean = frechet_mean(Normal(1e6 + offsets, stds), space=normal).point
    expected = frechet_mean(Normal((1e6 + offsets) - 1e6, stds), space=normal).point
    np.testing.assert_allclose(mean.mean - 1e6, expected.mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(mean.std, expected.std, rtol=1e-3)


def test_frechet_means_have_a_gradient(rng):
    torch = pytest.importorskip("torch")
    m, s = (torch.tensor(x) for x in (rng.normal(size=5), np.exp(rng.normal(size=5))))

    def mean(m, s):
        point = frechet_mean(Normal(m, s), space=normal).point
        return torch.stack([point.mean, point.std])

    args = (m.requires_grad_(), s.requires_grad_())
    assert torch.autograd.gradcheck(mean, args, atol=1e-6)


def test_frechet_means_in_single_precision(rng):
    a, _ = pairs("ordinary", rng, 8)
    single = frechet_mean(Normal(a.mean.astype("float32"), a.std.astype("float32")), space=normal)
    double = frechet_mean(a, space=normal).point
    assert single.point.mean.dtype == single.point.std.dtype == "float32"
    np.testing.assert_allclose(single.point.std, double.std, rtol=1e-4)


def test_a_frechet_mean_that_runs_out_of_steps_raises_with_its_result(rng):
    with pytest.raises(SolveError, match="did not converge") as caught:
        frechet_mean(pairs("ordinary", rng)[0], space=normal, max_steps=1)
    assert isinstance(caught.value.result.point, Normal)


# ---------------------------------------------------------------- neighbours


def test_all_pairs_and_neighbours(lib, rng):
    if lib.name == "dask":
        pytest.skip("objects are not lazy")
    size = 12 if lib.name == "jax" else 70  # it compiles anew for each number of near pairs
    a, b = Normal(rng.normal(size=size), lognormal(rng, size)), Normal(rng.normal(size=9), 1.0)
    expected = normal.fisher_rao_distance(a[:, None], b[None, :])
    first, second = (Normal(lib.array(x.mean), lib.array(x.std)) for x in (a, b))
    d = pairwise_distance(first, second, space=normal)
    assert lib.owns(d)
    np.testing.assert_allclose(lib.to_numpy(d), expected, rtol=1e-14)
    among = lib.to_numpy(pairwise_distance(first, space=normal))
    np.testing.assert_allclose(
        among, normal.fisher_rao_distance(a[:, None], a[None, :]), rtol=1e-14
    )
    if lib.name == "array_api_strict":
        return  # it has no stable order of its own to compare
    found = nearest(second, first, num_neighbors=3, space=normal)
    np.testing.assert_array_equal(
        lib.to_numpy(found.indices), np.argsort(expected.T, axis=1, kind="stable")[:, :3]
    )


# ---------------------------------------------------------------- every library

ELEMENTWISE = {
    **DISTANCES,
    **MAPS,
    "inner": lambda a, b: normal.inner_product(a, Tangent(b.mean, b.std), Tangent(b.std, b.mean)),
    "norm": lambda a, b: normal.norm(a, Tangent(b.mean, b.std)),
    "information": lambda a, b: normal.fisher_information(a),
    "entropy": lambda a, b: normal.entropy(a),
    "natural": lambda a, b: normal.natural_parameters(a)[0],
    "expectation": lambda a, b: normal.expectation_parameters(a)[1],
    "difference": lambda a, b: 2.0 * normal.log_map(a, b) - normal.log_map(a, a),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_library_gives_the_same(lib, name, dtype, rng):
    a, b = pairs("ordinary", rng, 5)
    expected = ELEMENTWISE[name](a, b)
    value = ELEMENTWISE[name](
        *(Normal(lib.array(x.mean, dtype), lib.array(x.std, dtype)) for x in (a, b))
    )
    fields = ["mean", "std"] if hasattr(expected, "event_axes") else [None]
    for field in fields:
        x, y = (v if field is None else getattr(v, field) for v in (value, expected))
        assert lib.owns(x)
        assert lib.dtype_name(x) == dtype
        tolerance = 1e-13 if dtype == "float64" else 2e-5
        np.testing.assert_allclose(lib.to_numpy(x), y, rtol=tolerance, atol=tolerance)


def test_lists_and_precisions_meet(lib):
    point = Normal(lib.array([0.0, 1.0], "float32"), [1.0, 2.0])
    assert lib.owns(point.std)
    assert lib.dtype_name(point.std) == "float32"
    wide = Normal(lib.array([0.0, 1.0]), 1.0)
    assert lib.dtype_name(normal.fisher_rao_distance(point, wide)) == "float64"


# ---------------------------------------------------------------- bad input

A, B, V = Normal([0.0, 1.0], 1.0), Normal([0.0, 1.0, 2.0], 1.0), Tangent([0.0, 1.0], 1.0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: Normal(0.0, 0.0),
            ValueError,
            "std must be positive and finite: it has the entry 0.",
        ),
        (
            lambda: Normal(0.0, [[1.0, 1.0], [1.0, -2.0]]),
            ValueError,
            "std must be positive and finite: it has the entry -2 (row (1, 1)).",
        ),
        (
            lambda: Normal([0.0, 1.0], [1.0, np.nan]),
            ValueError,
            "std must be positive and finite: it has the entry nan (row 1).",
        ),
        (lambda: Normal(0.0, np.inf), ValueError, "std must be positive and finite"),
        (
            lambda: Normal([0.0, 0.0, np.inf], 1.0),
            ValueError,
            "mean must be finite: it has NaN or infinite entries (row 2).",
        ),
        (
            lambda: Normal([0.0, 0.0], [1.0, 1.0, 1.0]),
            ValueError,
            "mean and std must have batch axes that broadcast: their batch shapes are (2,)",
        ),
        (lambda: Normal("a", 1.0), TypeError, "mean must be an array, a list or a number: got str"),
        (lambda: Tangent(0.0, np.nan), ValueError, "std must be finite"),
        (
            lambda: normal.fisher_rao_distance(A, B),
            ValueError,
            "a and b must have batch axes that broadcast: their batch shapes are (2,) and (3,).",
        ),
        (
            lambda: normal.exp_map(B, V),
            ValueError,
            "a and v must have batch axes that broadcast: their batch shapes are (3,) and (2,).",
        ),
        (
            lambda: normal.fisher_rao_distance(np.zeros((2, 2)), B),
            TypeError,
            "a must be a Normal: got numpy ndarray. Make one with Normal(mean, std).",
        ),
        (
            lambda: normal.fisher_rao_distance(A, [A, A]),
            TypeError,
            "b must be a Normal: got list. Stack them with Normal.stack(b).",
        ),
        (
            lambda: normal.fisher_rao_distance(A, []),
            TypeError,
            "b must be a Normal: got list. Make one with Normal(mean, std).",
        ),
        (
            lambda: normal.exp_map(A, A),
            TypeError,
            "v must be a Tangent: got infogeo Normal. Make one with Tangent(mean, std).",
        ),
        (
            lambda: normal.fisher_rao_distance(A, Normal(0.0, [1.0, -1.0], check=False)),
            ValueError,
            "b.std must be positive and finite: it has the entry -1 (row 1).",
        ),
        (lambda: normal.fisher_rao_geodesic(A, A, 1.5), ValueError, "t must lie in [0, 1]"),
        (
            lambda: normal.diagonal_fisher_rao_distance(A, Normal(0.0, 1.0)),
            ValueError,
            "a and b must have the same components along the last axis: their batch shapes are "
            "(2,) and ().",
        ),
        (
            lambda: normal.from_natural_parameters([1.0, 1.0], [-1.0, 0.0]),
            ValueError,
            "theta_2 must be negative and finite: it has the entry 0 (row 1).",
        ),
        (
            lambda: normal.from_expectation_parameters([1.0, 2.0], [2.0, 4.0]),
            ValueError,
            "eta_2 - eta_1 ** 2 must be positive and finite: it has the entry 0 (row 1).",
        ),
        (lambda: Normal.stack([]), ValueError, "points must hold at least one point"),
        (
            lambda: Normal.stack([A, B]),
            ValueError,
            "points must have one shape: points[0].mean has shape (2,) and points[1].mean has (3,)",
        ),
        (lambda: Normal.stack([A, 3.0]), TypeError, "points[1] must be a Normal: got float."),
        (
            lambda: normal.e_mean(A, axis=1),
            ValueError,
            "axis must name one of the batch axes of the points: got 1 for Normal(batch shape (2,)",
        ),
        (lambda: normal.e_mean(A[:0]), ValueError, "points must hold at least one point"),
        (lambda: normal.m_mean(A, weights=[0.0, 0.0]), ValueError, "weights must have a positive"),
        (lambda: normal.m_mean(A, weights=[1.0]), None, ""),
        (
            lambda: normal.m_mean(A, weights=[1.0] * 3),
            ValueError,
            "weights must have one entry for",
        ),
        (lambda: normal.m_mean([A, A]), TypeError, "points must be a Normal: got list."),
        (
            lambda: frechet_mean([A, A], space=normal),
            TypeError,
            "points must be one batch: got a list. Pass Normal.stack(points).",
        ),
        (lambda: frechet_mean(A, space=normal, axis=2), ValueError, "axis must name one of the"),
    ],
)
def test_bad_input_gets_a_clear_message(call, error, message):
    if error is None:
        assert call().shape == ()
        return
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_libraries_do_not_mix():
    torch = pytest.importorskip("torch")
    tensors = Normal(torch.zeros(2), torch.ones(2))
    arrays, vectors = Normal(np.zeros(2), 1.0), Tangent(np.zeros(2), 1.0)
    for call in (
        lambda: Normal(np.zeros(2), torch.ones(2)),
        lambda: normal.fisher_rao_distance(arrays, tensors),
        lambda: Normal.stack([arrays, tensors]),
        lambda: normal.exp_map(tensors, vectors),
        lambda: vectors + Tangent(torch.zeros(2), torch.ones(2)),
        lambda: normal.log_map(A, A) + Tangent(torch.zeros(2), torch.ones(2)),
    ):
        with pytest.raises(TypeError, match="must come from the same library"):
            call()
    meta = Normal(torch.zeros(2, device="meta"), torch.ones(2, device="meta"))
    with pytest.raises(TypeError, match=r"a\.mean and b\.mean must be on the same device"):
        normal.fisher_rao_distance(tensors, meta)


def test_no_components_are_refused():
    none = normal.Normal(np.zeros((3, 0)), np.ones((3, 0)))
    with pytest.raises(ValueError, match="same components along the last axis"):
        normal.diagonal_fisher_rao_distance(none, none)
