"""The simplex: distances and geodesics against 60-digit references, closed values, identities."""

import decimal
import itertools
import math
import warnings

import mpmath
import numpy as np
import pytest
import scipy.spatial.distance
from hypothesis import given
from hypothesis import strategies as st

from infogeo import logits, simplex


@pytest.fixture(autouse=True)
def _sixty_digits():
    with mpmath.workdps(60):
        yield


def exact(p):
    """Return the normalised vector in 60 digits, from the very floats the code sees."""
    p = [precisely(x) for x in np.asarray(p)]
    total = mpmath.fsum(p)
    return [x / total for x in p]


def precisely(x):
    """Return a number of numpy in mpmath, with all digits of a long double."""
    high = float(x)
    return mpmath.mpf(high) + mpmath.mpf(float(x - type(x)(high)))


def exact_distance(p, q):
    p, q = exact(p), exact(q)
    chord = mpmath.sqrt(
        mpmath.fsum((mpmath.sqrt(a) - mpmath.sqrt(b)) ** 2 for a, b in zip(p, q, strict=True))
    )
    return 4 * mpmath.asin(chord / 2)


def relative_error(value, reference):
    return float(abs(mpmath.mpf(float(value)) - reference) / reference)


def distributions(min_outcomes=2, max_outcomes=8):
    """Draw pairs of distributions with the same outcomes, zeros and tiny entries included."""
    entry = st.one_of(st.just(0.0), st.floats(1e-300, 1e-290), st.floats(1e-6, 1.0))
    vector = st.integers(min_outcomes, max_outcomes).flatmap(
        lambda c: st.tuples(*[st.lists(entry, min_size=c, max_size=c).filter(any)] * 2)
    )
    return vector.map(lambda pair: tuple(np.asarray(x) / np.sum(x) for x in pair))


@pytest.mark.parametrize("num_outcomes", [2, 3, 10, 1000, 30_000])
@pytest.mark.parametrize("excess", [0.0, 5e-7, -3e-7])
def test_distance_against_60_digits(rng, num_outcomes, excess):
    p, q = rng.dirichlet(np.ones(num_outcomes), 2)
    d = simplex.fisher_rao_distance(p * (1 + excess), q)
    assert relative_error(d, exact_distance(p * (1 + excess), q)) < 1e-14


@pytest.mark.parametrize("num_outcomes", [2, 10, 1000])
@pytest.mark.parametrize("excess", [0.0, 5e-7])
@pytest.mark.parametrize(
    ("separation", "tolerance"), [(1e-3, 1e-14), (1e-6, 1e-14), (1e-8, 1e-14), (1e-12, 1e-11)]
)
def test_near_points_against_60_digits(rng, num_outcomes, excess, separation, tolerance):
    p = rng.dirichlet(np.full(num_outcomes, 2.0))
    score = rng.uniform(-1, 1, num_outcomes)
    score -= p @ score
    score *= separation / np.sqrt(p @ score**2)  # Fisher norm: the distance to first order
    q = p * (1 + score) * (1 + excess)
    d = simplex.fisher_rao_distance(p, q)
    assert relative_error(d, exact_distance(p, q)) < tolerance


@pytest.mark.parametrize("far_share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("layout", ["rows", "columns", "broadcast", "float32"])
def test_near_and_far_rows_of_a_batch(rng, layout, far_share):
    # The two take different formulas; the border lies at distances of 0.63 and, beyond 100
    # outcomes, 0.9.
    for num_outcomes in (3, 10, 150):
        p, q = rng.dirichlet(np.ones(num_outcomes), (2, 200))
        weight = np.where(np.arange(200) < 200 * far_share, 1.0, rng.uniform(0.1, 0.9, 200) ** 4)
        q = p + weight[:, None] * (q - p)
        if layout == "columns":
            p, q = np.asfortranarray(p), np.asfortranarray(q)
        if layout == "broadcast":
            p = p[17]
        if layout == "float32":
            p, q = p.astype(np.float32), q.astype(np.float32)
        d = simplex.fisher_rao_distance(p, q)
        p = np.broadcast_to(p, q.shape)
        for i in range(0, 200, 9):
            tolerance = 2e-6 if layout == "float32" else 1e-14
            assert relative_error(d[i], exact_distance(p[i], q[i])) < tolerance


@pytest.mark.parametrize(
    ("separation", "excess", "tolerance"),
    [(None, 5e-7, 1e-14), (1e-8, 0.0, 1e-14), (1e-8, 5e-7, 1e-14), (1e-12, 5e-7, 1e-11)],
)
def test_long_rows_against_60_digits(rng, separation, excess, tolerance):
    p, q = rng.dirichlet(np.ones(100_000), 2)
    if separation is not None:
        q = p * (1 + separation * rng.choice([-1.0, 1.0], p.size))
    q = q * (1 + excess)
    d = simplex.fisher_rao_distance(p, q)
    assert relative_error(d, distance_in_decimals(p, q)) < tolerance


def distance_in_decimals(p, q):
    """Return the distance in 60 digits by the decimals of the C library, for long rows."""
    with decimal.localcontext(prec=60):
        p, q = ([decimal.Decimal(float(x)) for x in row] for row in (p, q))
        overlap = sum((x * y).sqrt() for x, y in zip(p, q, strict=True))
        cosine = overlap / (sum(p) * sum(q)).sqrt()
    with mpmath.workdps(60):
        return 2 * mpmath.acos(mpmath.mpf(str(cosine)))


@pytest.mark.parametrize(
    ("dtype", "small", "tolerance"),
    [(np.float64, 1e-170, 1e-15), (np.float64, 1e-300, 1e-15), (np.float32, 1e-30, 1e-6)],
)
@pytest.mark.parametrize("excess", [0.0, 4e-7])
def test_products_that_underflow(dtype, small, tolerance, excess):
    """The two probabilities are there, their product is not."""
    p = np.array([0.25, 0.75, small, 0.0], dtype)
    q = np.array([0.25, 0.75, 3 * small, 0.0], dtype)
    q[:2] *= dtype(1.0 + excess)
    p[:2] *= dtype(1.0 + excess)
    d = simplex.fisher_rao_distance(np.stack([p, p]), np.stack([q, p]))
    assert relative_error(d[0], exact_distance(p, q)) < tolerance
    assert d[1] == 0.0


LAYOUTS = {
    "rows": lambda x: x,
    "columns": np.asfortranarray,
    "backwards": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "every other": lambda x: np.repeat(np.repeat(x, 2, axis=0), 2, axis=1)[::2, ::2],
    "more axes": lambda x: x.reshape(2, -1, x.shape[-1]),
}


@pytest.mark.parametrize("shape", [(40_000, 4), (400, 1000)])
@pytest.mark.parametrize("other", LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_blocks_and_layouts_do_not_show(rng, shape, layout, other):
    p, q = rng.dirichlet(np.ones(shape[1]), (2, shape[0]))
    p[3], q[5] = q[3], q[5] * (1 + 5e-7)  # an equal pair, and sums that differ
    p[7, :-1], q[7, :-1] = 0.0, 0.0  # a vertex
    p[7, -1] = q[7, -1] = 1.0
    if (layout == "more axes") != (other == "more axes"):
        p, q = p.reshape(2, -1, shape[1]), q.reshape(2, -1, shape[1])
        layout = other = "rows"
    d = simplex.fisher_rao_distance(LAYOUTS[layout](p), LAYOUTS[other](q))
    alone = [simplex.fisher_rao_distance(p[i], q[i]) for i in range(20)] if p.ndim == 2 else []
    np.testing.assert_allclose(d.reshape(-1)[: len(alone)], alone, rtol=4e-15)
    expected = 4 * np.arcsin(0.5 * np.linalg.norm(np.sqrt(p) - np.sqrt(q), axis=-1))
    np.testing.assert_allclose(d.reshape(-1), expected.reshape(-1), rtol=1e-6, atol=1e-12)


def test_one_point_against_many_in_blocks(rng):
    p, q = rng.dirichlet(np.ones(5), 30_000), rng.dirichlet(np.ones(5), (2, 1))
    d = simplex.fisher_rao_distance(p, q)
    assert d.shape == (2, 30_000)
    for i in range(2):
        full = simplex.fisher_rao_distance(p, np.tile(q[i], (30_000, 1)))
        np.testing.assert_allclose(d[i], full, rtol=1e-15)


@pytest.mark.parametrize(("separation", "tolerance"), [(1.0, 2e-6), (1e-4, 1e-4)])
def test_float32_against_60_digits(rng, separation, tolerance):
    p = rng.dirichlet(np.ones(10), 50)
    q = p * (1 + separation * rng.uniform(-1, 1, p.shape))
    q /= q.sum(-1, keepdims=True)
    p, q = p.astype(np.float32), q.astype(np.float32)
    d = simplex.fisher_rao_distance(p, q)
    assert d.dtype == np.float32
    errors = [relative_error(d[i], exact_distance(p[i], q[i])) for i in range(len(p))]
    assert max(errors) < tolerance


@pytest.mark.parametrize(
    ("p", "q", "expected"),
    [
        ([1, 0], [0, 1], np.pi),
        ([1, 0, 0], [0, 0.5, 0.5], np.pi),
        ([1, 0], [0.5, 0.5], np.pi / 2),
        ([0.5, 0.5, 0, 0], [0.25] * 4, np.pi / 2),
        ([1, 0, 0], [1, 0, 0], 0.0),
        ([0.2, 0.3, 0.5], [0.2, 0.3, 0.5], 0.0),
        ([1, 0, 0], [1 - 1e-20, 1e-20, 0], 2e-10),
        ([1, 0], [1, 1e-300], 2e-150),
    ],
)
def test_closed_values(lib, p, q, expected):
    d = lib.to_numpy(simplex.fisher_rao_distance(lib.array(p), lib.array(q)))
    np.testing.assert_allclose(d, expected, rtol=5e-16, atol=0)


def test_batches_broadcast(lib, rng):
    p, q = rng.dirichlet(np.ones(4), (5, 1)), rng.dirichlet(np.ones(4), 3)
    d = lib.to_numpy(simplex.fisher_rao_distance(lib.array(p), lib.array(q)))
    assert d.shape == (5, 3)
    expected = [[simplex.fisher_rao_distance(a, b) for b in q] for a in p[:, 0]]
    np.testing.assert_allclose(d, expected, rtol=1e-14)


@given(distributions())
def test_distance_is_a_metric_that_ignores_order(pair):
    p, q = pair
    d = simplex.fisher_rao_distance(p, q)
    assert 0.0 <= d <= np.pi
    np.testing.assert_allclose(simplex.fisher_rao_distance(q, p), d, rtol=1e-14)
    np.testing.assert_allclose(simplex.fisher_rao_distance(p[::-1], q[::-1]), d, rtol=1e-14)
    padded = [np.append(x, 0.0) for x in pair]
    np.testing.assert_allclose(simplex.fisher_rao_distance(*padded), d, rtol=1e-14)


@given(distributions(4, 4), distributions(4, 4))
def test_triangle_inequality(first, second):
    p, q = first
    r, _ = second
    direct = simplex.fisher_rao_distance(p, r)
    detour = simplex.fisher_rao_distance(p, q) + simplex.fisher_rao_distance(q, r)
    assert direct <= detour * (1 + 1e-14)


@given(distributions(), st.floats(0.0, 1.0))
def test_fisher_rao_geodesic_has_constant_speed(pair, t):
    p, q = pair
    d = simplex.fisher_rao_distance(p, q)
    point = simplex.fisher_rao_geodesic(p, q, t)
    assert abs(point.sum() - 1.0) < 1e-15
    np.testing.assert_allclose(simplex.fisher_rao_distance(p, point), t * d, rtol=0, atol=5e-15)
    np.testing.assert_allclose(
        simplex.fisher_rao_distance(point, q), (1.0 - t) * d, rtol=0, atol=5e-15
    )


GEODESICS = [simplex.fisher_rao_geodesic, simplex.e_geodesic, simplex.m_geodesic]


@pytest.mark.parametrize("geodesic", GEODESICS)
def test_geodesics_join_their_ends(lib, geodesic, rng):
    p, q = rng.dirichlet(np.ones(5), (2, 3))
    t = lib.array([0.0, 0.25, 1.0])
    points = lib.to_numpy(geodesic(lib.array(p), lib.array(q), t))
    assert points.shape == (3, 3, 5)
    np.testing.assert_allclose(points.sum(-1), 1.0, rtol=1e-15)
    np.testing.assert_allclose(points[0], p, rtol=1e-14)
    np.testing.assert_allclose(points[2], q, rtol=1e-14)


@pytest.mark.parametrize("geodesic", GEODESICS)
def test_geodesics_from_a_point_to_itself_stay(geodesic, rng):
    p = np.append(rng.dirichlet(np.ones(5)), 0.0)
    points = geodesic(p, p, np.linspace(0, 1, 5))
    np.testing.assert_allclose(points, np.tile(p, (5, 1)), rtol=2e-15)


def test_e_geodesic_is_straight_in_logits_and_m_geodesic_in_probabilities(rng):
    p, q = rng.dirichlet(np.ones(4), 2)
    t = 0.3
    log_ratio = np.log(simplex.e_geodesic(p, q, t)) - ((1 - t) * np.log(p) + t * np.log(q))
    np.testing.assert_allclose(log_ratio, log_ratio[0], rtol=1e-13)
    np.testing.assert_allclose(simplex.m_geodesic(p, q, t), (1 - t) * p + t * q, rtol=1e-15)


def test_e_geodesic_on_faces():
    p, q = [0.5, 0.5, 0.0], [0.0, 0.4, 0.6]
    np.testing.assert_array_equal(
        simplex.e_geodesic(p, q, [0.0, 0.5, 1.0]), [p, [0.0, 1.0, 0.0], q]
    )
    with pytest.raises(ValueError, match="p and q must have an outcome in common"):
        simplex.e_geodesic([1.0, 0.0], [0.0, 1.0], 0.5)


def test_geodesic_parameter_is_checked():
    with pytest.raises(ValueError, match=r"t must lie in \[0, 1\]"):
        simplex.fisher_rao_geodesic([0.5, 0.5], [0.1, 0.9], 1.5)


def test_gradient_of_the_distance():
    torch = pytest.importorskip("torch")
    p, q = torch.tensor(np.random.default_rng(1).dirichlet(np.ones(4), 2))
    p.requires_grad_()
    for function in (simplex.fisher_rao_distance, simplex.fisher_rao_squared_distance):
        assert torch.autograd.gradcheck(lambda x, f=function: f(x, q, check=False), (p,))
    (at_equality,) = torch.autograd.grad(simplex.fisher_rao_distance(p, p.detach()), p)
    assert torch.equal(at_equality, torch.zeros(4, dtype=torch.float64))


def test_squared_distance_is_smooth_at_equality(rng):
    torch = pytest.importorskip("torch")
    p = torch.tensor(rng.dirichlet(np.ones(4)))
    squared = simplex.fisher_rao_squared_distance
    gradient = torch.func.grad(lambda x: squared(x, p))(p)
    assert torch.equal(gradient, torch.zeros_like(gradient))
    hessian = torch.func.hessian(lambda x: squared(x, p))(p)
    u, v = torch.tensor(rng.normal(size=(2, 4)))
    u, v = u - u.mean(), v - v.mean()
    expected = 2.0 * simplex.inner_product(p, u, v)
    torch.testing.assert_close(u @ hessian @ v, expected, rtol=1e-8, atol=0)


def test_gradient_is_finite_on_a_common_face():
    torch = pytest.importorskip("torch")
    p = torch.tensor([0.4, 0.6, 0.0], dtype=torch.float64, requires_grad=True)
    q = torch.tensor([0.1, 0.9, 0.0], dtype=torch.float64)
    for other in (q, p.detach()):
        (gradient,) = torch.autograd.grad(simplex.fisher_rao_squared_distance(p, other), p)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    "function",
    [simplex.fisher_rao_squared_distance, simplex.kl_divergence, simplex.jeffreys_divergence],
)
def test_torch_transforms_agree_with_the_eager_call(function, rng):
    torch = pytest.importorskip("torch")
    p, q = torch.tensor(rng.dirichlet(np.ones(4), (2, 5)))
    expected = function(p, q)
    torch.testing.assert_close(torch.func.vmap(function)(p, q), expected, rtol=1e-13, atol=0)
    jacobian = torch.func.jacrev(lambda x: function(x, q))(p)
    rows = torch.stack([torch.func.grad(function)(p[i], q[i]) for i in range(5)])
    torch.testing.assert_close(jacobian[range(5), range(5)], rows, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("function", [simplex.fisher_rao_distance, simplex.kl_divergence])
def test_compiles_to_one_graph(function, rng):
    torch = pytest.importorskip("torch")
    p, q = torch.tensor(rng.dirichlet(np.ones(4), (2, 5)))
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(p, q), function(p, q), rtol=1e-13, atol=0)


def test_jax_jit_and_gradient(rng):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    p, q = (jax.numpy.asarray(x) for x in rng.dirichlet(np.ones(4), 2))
    squared = simplex.fisher_rao_squared_distance
    np.testing.assert_allclose(jax.jit(squared)(p, q), squared(p, q), rtol=1e-14)
    assert np.all(np.asarray(jax.grad(lambda x: squared(x, p))(p)) == 0.0)


# ---------------------------------------------------------------- alpha-geodesics


@pytest.mark.parametrize("alpha", [-3.0, -1.0, -0.4, 0.0, 0.7, 1.0, 2.0])
def test_alpha_geodesic_solves_its_equation(rng, alpha):
    """x'' + Gamma(x', x') = 0 in expectation coordinates, by central differences."""
    p, q = rng.dirichlet(np.full(4, 3.0), 2)
    h, t = 1e-3, 0.4
    stencil = simplex.alpha_geodesic(p, q, t + h * np.arange(-2, 3), alpha=alpha)
    x = simplex.expectation_parameters(stencil)
    velocity = (x[0] - 8 * x[1] + 8 * x[3] - x[4]) / (12 * h)
    acceleration = (-x[0] + 16 * x[1] - 30 * x[2] + 16 * x[3] - x[4]) / (12 * h * h)
    gamma = simplex.christoffel_symbols(stencil[2], alpha=alpha)
    residual = acceleration + np.einsum("kij,i,j->k", gamma, velocity, velocity)
    np.testing.assert_allclose(residual, 0.0, atol=1e-8)


@pytest.mark.parametrize(
    ("alpha", "closed"),
    [
        (1e-13, simplex.fisher_rao_geodesic),
        (1 - 1e-13, simplex.e_geodesic),
        (-1 + 1e-13, simplex.m_geodesic),
    ],
)
def test_alpha_geodesic_is_continuous_in_alpha(rng, alpha, closed):
    p, q = rng.dirichlet(np.ones(5), 2)
    t = np.linspace(0, 1, 7)
    np.testing.assert_allclose(
        simplex.alpha_geodesic(p, q, t, alpha=alpha), closed(p, q, t), rtol=1e-11
    )


@pytest.mark.long_for("jax", "dask")
def test_alpha_geodesic_between_faces_and_on_other_libraries(lib):
    p, q = [0.5, 0.5, 0.0], [0.0, 0.25, 0.75]
    t = [0.0, 0.5, 1.0]
    points = lib.to_numpy(
        simplex.alpha_geodesic(lib.array(p), lib.array(q), lib.array(t), alpha=-0.5)
    )
    np.testing.assert_allclose(points[[0, 2]], [p, q], rtol=1e-15)
    assert (points[1] > 0.0).all()
    with pytest.raises(ValueError, match="an outcome in common"):
        simplex.alpha_geodesic([1.0, 0.0], [0.0, 1.0], 0.5, alpha=1.5)


def _alpha_geodesic_at(p, q, share, alpha):
    """Return the parameter and the point at a share of q in the line of alpha-representations."""
    p, q, beta = exact(p), exact(q), (1 - mpmath.mpf(alpha)) / 2

    def point(s):
        line = [
            (1 - s) * (x**beta if x else 0) + s * (y**beta if y else 0)
            for x, y in zip(p, q, strict=True)
        ]
        return [x ** (1 / beta) if x else mpmath.mpf(0) for x in line]

    def speed(u):
        s = 1 / (1 + mpmath.exp(-u))
        return s * (1 - s) * mpmath.fsum(point(s)) ** (-2 * beta)

    # The integrand bends within beta of where two outcomes cross.
    widths = [0, 0.1, 0.3, 1, 3, 10, 30]
    crossings = [beta * mpmath.log(x / y) for x, y in zip(p, q, strict=True) if x and y] or [0]
    breaks = {c + sign * w * beta for c in crossings for w in widths for sign in (-1, 1)}
    end = mpmath.log(share / (1 - share))
    breaks |= {mpmath.mpf(x) for x in (-90, -30, -10, -3, 0, 3, 10, 30, 90)} | {end}
    breaks = sorted(breaks)
    parts = [mpmath.quad(speed, pair) for pair in itertools.pairwise(breaks)]
    t = mpmath.fsum(parts[: breaks.index(end)]) / mpmath.fsum(parts)
    total = mpmath.fsum(point(share))
    return float(t), [float(x / total) for x in point(share)]


@pytest.mark.parametrize("alpha", [-3.0, -0.9, 0.8, 0.95, 0.99])
@pytest.mark.parametrize(("p", "q"), [([1.0, 0.0], [0.0, 1.0]), ([0.5, 0.5, 0.0], [0.1, 0.2, 0.7])])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_alpha_geodesic_against_20_digits(p, q, share, alpha):
    with mpmath.workdps(20):
        t, expected = _alpha_geodesic_at(p, q, mpmath.mpf(share), alpha)
    # A logarithm of the point is 2 / (1 - alpha) times one of the share and of t.
    condition = 1.0 + 2.0 / abs(1.0 - alpha)
    np.testing.assert_allclose(
        simplex.alpha_geodesic(p, q, t, alpha=alpha), expected, rtol=5e-15 * condition, atol=1e-300
    )
    single = simplex.alpha_geodesic(
        np.array(p, np.float32), np.array(q, np.float32), np.float32(t), alpha=alpha
    )
    np.testing.assert_allclose(single, expected, rtol=3e-7 * condition, atol=1e-37)


@pytest.mark.parametrize("alpha", [-20.0, 1.05, 30.0])
def test_alpha_geodesic_of_large_alpha_against_20_digits(alpha):
    p, q = [0.7, 0.2, 0.1], [0.1, 0.1, 0.8]
    with mpmath.workdps(20):
        t, expected = _alpha_geodesic_at(p, q, mpmath.mpf(0.4), alpha)
    np.testing.assert_allclose(simplex.alpha_geodesic(p, q, t, alpha=alpha), expected, rtol=1e-12)


@pytest.mark.parametrize("alpha", [-3.0, -0.5, 0.5, 0.8])
def test_alpha_geodesic_inside_transforms(rng, alpha):
    torch = pytest.importorskip("torch")
    p, q = torch.tensor(rng.dirichlet(np.ones(4), (2, 3)))

    def point(p, q):
        return simplex.alpha_geodesic(p, q, 0.3, alpha=alpha)

    torch.testing.assert_close(torch.func.vmap(point)(p, q), point(p, q), rtol=1e-10, atol=0)


def test_alpha_geodesic_of_the_issue():
    point = simplex.alpha_geodesic([1.0, 0.0], [0.0, 1.0], 0.3, alpha=0.95)
    np.testing.assert_allclose(point[1], 1.284748844e-09, rtol=1e-9)


# ---------------------------------------------------------------- exp, log, boundary


@pytest.mark.parametrize("face", [False, True])
def test_exp_and_log_against_60_digits(rng, face):
    p, q = rng.dirichlet(np.ones(5), 2)
    if face:
        p[2] = q[2] = q[4] = 0.0
        p, q = p / p.sum(), q / q.sum()
    exact_p, exact_q = exact(p), exact(q)
    angle = exact_distance(p, q) / 2
    expected = [
        2 * angle / mpmath.sin(angle) * (mpmath.sqrt(a * b) - mpmath.cos(angle) * a)
        for a, b in zip(exact_p, exact_q, strict=True)
    ]
    v = simplex.log_map(p, q)
    np.testing.assert_allclose(v, [float(x) for x in expected], rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(simplex.exp_map(p, v), q, rtol=1e-13, atol=1e-30)


def test_near_log_keeps_its_digits(rng):
    p = rng.dirichlet(np.full(4, 5.0))
    v = 1e-12 * (rng.normal(size=4) * p)
    q = p + (v - p * v.sum())
    assert relative_error(simplex.norm(p, simplex.log_map(p, q)), exact_distance(p, q)) < 1e-11


def test_boundary_time_is_where_a_coordinate_vanishes(rng):
    p = rng.dirichlet(np.ones(4), 10)
    v = rng.normal(size=(10, 4)) * p
    v -= p * v.sum(-1, keepdims=True)
    time = simplex.boundary_time(p, v)
    at_boundary = simplex.exp_map(p, v * time[:, None])
    np.testing.assert_allclose(at_boundary.min(-1), 0.0, atol=1e-30)
    assert (simplex.exp_map(p, 0.999 * v * time[:, None]) > 0.0).all()
    with pytest.raises(ValueError, match="v must keep the geodesic inside the simplex up to time"):
        simplex.exp_map(p, 1.001 * v * time[:, None])
    assert simplex.boundary_time([0.5, 0.5], [0.0, 0.0]) == np.inf
    assert simplex.boundary_time([0.5, 0.5, 0.0], [0.1, -0.1, 0.0]) < np.inf


def test_faces_are_left_only_in_the_sphere_chart():
    with pytest.raises(ValueError, match="q must be 0 where p is"):
        simplex.log_map([1.0, 0.0], [0.5, 0.5])
    with pytest.raises(ValueError, match="v must be 0 where p is"):
        simplex.norm([1.0, 0.0], [-0.1, 0.1])
    middle = sum(simplex.sphere_embedding(p) for p in ([1.0, 0.0], [0.0, 1.0]))
    np.testing.assert_allclose(simplex.from_sphere(2 * middle / np.linalg.norm(middle)), [0.5, 0.5])


# ---------------------------------------------------------------- charts and representations


def test_charts_invert(lib, rng):
    p = lib.array(rng.dirichlet(np.ones(4), 3))
    for there, back in (
        (simplex.sphere_embedding, simplex.from_sphere),
        (simplex.natural_parameters, simplex.from_natural_parameters),
        (simplex.expectation_parameters, simplex.from_expectation_parameters),
    ):
        np.testing.assert_allclose(lib.to_numpy(back(there(p))), lib.to_numpy(p), rtol=1e-14)


def test_representations_invert(rng):
    p = rng.dirichlet(np.ones(4))
    v = rng.normal(size=4) * p
    v -= p * v.sum()
    score = simplex.e_representation(p, v)
    np.testing.assert_allclose(score, v / p, rtol=1e-12)
    np.testing.assert_allclose(simplex.m_representation(p, score + 3.0), v, rtol=1e-12, atol=1e-16)


def test_a_score_has_the_mean_0_whatever_the_sum_of_the_vector_rounds_to():
    # Vectors of float32 and of files with six decimals sum to 0 within the tolerance only.
    p, excess = np.array([0.2, 0.3, 0.5, 0.0]), 1e-6
    v, u = np.array([0.1, -0.3, 0.2 + excess, 0.0]), np.array([0.3, 0.1, -0.4, 0.0])
    projected = v - p * excess
    score = simplex.e_representation(p, v)
    assert abs(p @ score) < 1e-16
    np.testing.assert_allclose(score[:3], projected[:3] / p[:3], rtol=1e-13)
    inner = sum(mpmath.mpf(a) * b / c for a, b, c in zip(u, projected, p, strict=True) if c)
    np.testing.assert_allclose(simplex.inner_product(p, u, v), float(inner), rtol=1e-13)
    q = np.array([0.4, 0.4, 0.2, 0.0])
    assert abs(q @ np.nan_to_num(simplex.e_transport(p, q, v) / np.where(q > 0, q, 1))) < 1e-15


def test_natural_parameters_keep_zeros():
    theta = simplex.natural_parameters([0.2, 0.8, 0.0])
    assert theta[2] == -np.inf
    assert abs(theta[:2].sum()) < 1e-16
    np.testing.assert_allclose(simplex.from_natural_parameters(theta), [0.2, 0.8, 0.0], rtol=1e-15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simplex.from_sphere([2.0, 0.1]), "u must lie on the positive orthant"),
        (lambda: simplex.from_sphere([-2.0, 0.0]), "u must lie on the positive orthant"),
        (lambda: simplex.from_expectation_parameters([0.7, 0.4]), "eta must hold the first c - 1"),
        (lambda: simplex.from_expectation_parameters([-0.1]), "eta must hold the first c - 1"),
        (lambda: simplex.fisher_information([1.0, 0.0]), "p must have positive probabilities only"),
        (lambda: simplex.norm([0.5, 0.5], [0.1, 0.1]), "v must sum to 0 along its last axis"),
        (lambda: simplex.norm([0.5, 0.5], [np.nan, 0.1]), "v must be finite"),
        (lambda: simplex.renyi_divergence([1.0], [1.0], order=-1.0), "order must lie in [0, inf]"),
        (lambda: simplex.volume(0), "num_outcomes must be an integer of at least 1"),
        (lambda: simplex.random_uniform(2.5), "num_outcomes must be an integer of at least 1"),
        (lambda: simplex.m_mean([0.5, 0.5]), "axis must name one of the batch axes"),
        (lambda: simplex.m_mean([[0.5, 0.5]], axis=1), "axis must name one of the batch axes"),
        (lambda: simplex.m_mean(np.ones((0, 1))), "points must hold at least one point"),
        (lambda: simplex.m_mean([[1.0]], weights=[-1.0]), "weights must be finite and not neg"),
        (lambda: simplex.m_mean([[1.0]], weights=[0.0]), "weights must have a positive sum"),
        (lambda: simplex.m_mean([[1.0]], weights=[1, 2]), "weights must have one entry for each"),
        (lambda: simplex.e_mean([[1.0, 0.0], [0.0, 1.0]]), "points must have an outcome in common"),
    ],
)
def test_bad_values_get_a_clear_message(call, message):
    with pytest.raises(ValueError, match=r".") as caught:
        call()
    assert str(caught.value).startswith(message)


# ---------------------------------------------------------------- metric tensors


def test_fisher_information_is_the_metric_in_expectation_coordinates(lib, rng):
    p = rng.dirichlet(np.ones(4))
    g = lib.to_numpy(simplex.fisher_information(lib.array(p)))
    u, v = rng.normal(size=(2, 3))
    full = [np.append(x, -x.sum()) for x in (u, v)]
    np.testing.assert_allclose(u @ g @ v, simplex.inner_product(p, *full), rtol=1e-13)


def test_christoffel_symbols_are_those_of_the_metric(rng):
    """The Levi-Civita symbols from finite differences of the metric; linear in alpha."""
    p = rng.dirichlet(np.full(4, 3.0))
    eta, h = simplex.expectation_parameters(p), 1e-5

    def metric(shift):
        return simplex.fisher_information(simplex.from_expectation_parameters(eta + shift))

    steps = h * np.eye(3)
    slope = np.stack([(metric(e) - metric(-e)) / (2 * h) for e in steps])  # [l, i, j]
    lower = 0.5 * (slope.transpose(1, 2, 0) + slope.transpose(1, 0, 2) - slope)  # [i, l, j] etc.
    first_kind = 0.5 * (
        np.einsum("jil->ijl", slope) + np.einsum("ijl->ijl", slope) - np.einsum("lij->ijl", slope)
    )
    assert lower.shape == first_kind.shape
    expected = np.einsum("kl,ijl->kij", np.linalg.inv(metric(0.0)), first_kind)
    np.testing.assert_allclose(simplex.christoffel_symbols(p), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(simplex.christoffel_symbols(p, alpha=-1.0), 0.0)
    np.testing.assert_allclose(
        simplex.christoffel_symbols(p, alpha=0.5), 1.5 * simplex.christoffel_symbols(p), rtol=1e-14
    )


# ---------------------------------------------------------------- divergences


def exact_kl(p, q):
    return mpmath.fsum(a * mpmath.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def exact_alpha(p, q, alpha):
    if abs(alpha) == 1:
        return exact_kl(p, q) if alpha == -1 else exact_kl(q, p)
    alpha = mpmath.mpf(alpha)
    a, b = (1 - alpha) / 2, (1 + alpha) / 2
    return (1 - mpmath.fsum(x**a * y**b for x, y in zip(p, q, strict=True))) / (a * b)


def exact_renyi(p, q, order):
    if order == 1:
        return exact_kl(p, q)
    if order == np.inf:
        return max(mpmath.log(a / b) for a, b in zip(p, q, strict=True))
    order = mpmath.mpf(order)
    total = mpmath.fsum(a**order * b ** (1 - order) for a, b in zip(p, q, strict=True))
    return mpmath.log(total) / (order - 1)


ALPHAS = [-3.0, -1.0, -1 + 1e-9, -0.5, 0.0, 0.3, 1 - 1e-12, 1.0, 2.5]
ORDERS = [0.01, 0.5, 1 - 1e-10, 1.0, 1 + 1e-9, 2.0, 5.0, np.inf]


@pytest.mark.parametrize("num_outcomes", [2, 10])
@pytest.mark.parametrize("excess", [0.0, 5e-7])
@pytest.mark.parametrize(
    ("separation", "tolerance"), [(None, 2e-15), (1e-3, 2e-15), (1e-8, 1e-14), (1e-12, 1e-11)]
)
def test_divergences_against_60_digits(rng, num_outcomes, excess, separation, tolerance):
    p, q = rng.dirichlet(np.full(num_outcomes, 2.0), 2)
    if separation is not None:
        score = rng.uniform(-1, 1, num_outcomes)
        score -= p @ score
        q = p * (1 + score * separation / np.sqrt(p @ score**2))
    q = q * (1 + excess)
    exact_p, exact_q = exact(p), exact(q)
    kl, reverse = exact_kl(exact_p, exact_q), exact_kl(exact_q, exact_p)
    assert relative_error(simplex.kl_divergence(p, q), kl) < tolerance
    assert relative_error(simplex.jeffreys_divergence(p, q), kl + reverse) < tolerance
    middle = [(x + y) / 2 for x, y in zip(exact_p, exact_q, strict=True)]
    jensen_shannon = (exact_kl(exact_p, middle) + exact_kl(exact_q, middle)) / 2
    assert relative_error(simplex.jensen_shannon_divergence(p, q), jensen_shannon) < tolerance
    root = mpmath.sqrt(jensen_shannon / mpmath.log(2))
    assert relative_error(simplex.jensen_shannon_distance(p, q, base=2), root) < tolerance
    differences = [x - y for x, y in zip(exact_p, exact_q, strict=True)]
    total_variation = mpmath.fsum(map(abs, differences)) / 2
    assert relative_error(simplex.total_variation_distance(p, q), total_variation) < tolerance
    chi_square = mpmath.fsum(d * d / y for d, y in zip(differences, exact_q, strict=True))
    assert relative_error(simplex.chi_square_divergence(p, q), chi_square) < tolerance
    for alpha in ALPHAS:
        value = simplex.alpha_divergence(p, q, alpha=alpha)
        assert relative_error(value, exact_alpha(exact_p, exact_q, alpha)) < tolerance
    for order in ORDERS:
        value = simplex.renyi_divergence(p, q, order=order)
        assert relative_error(value, exact_renyi(exact_p, exact_q, order)) < tolerance
    cosine = mpmath.cos(exact_distance(p, q) / 2)
    assert relative_error(simplex.bhattacharyya_coefficient(p, q), cosine) < 1e-15
    half_chord = mpmath.sqrt(2) * mpmath.sin(exact_distance(p, q) / 4)
    assert relative_error(simplex.hellinger_distance(p, q), half_chord) < tolerance


INF = float("inf")


@pytest.mark.parametrize("space", [simplex, logits], ids=["simplex", "logits"])
def test_distances_on_faces(lib, space):
    """Values in closed form: a vertex, the middle of an edge, and the opposite vertex."""
    rows = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    if space is logits:
        with np.errstate(divide="ignore"):
            rows = np.log(rows)
    rows = lib.array(rows)
    p, q = rows[:, None, :], rows[None, :, :]
    js = 1.5 - 0.75 * np.log2(3.0)
    expected = {
        "total_variation_distance": [[0.0, 0.5, 1.0], [0.5, 0.0, 1.0], [1.0, 1.0, 0.0]],
        "chi_square_divergence": [[0.0, 1.0, INF], [INF, 0.0, INF], [INF, INF, 0.0]],
    }
    for name, values in expected.items():
        found = lib.to_numpy(getattr(space, name)(p, q))
        np.testing.assert_allclose(found, values, rtol=1e-6 if found.dtype.itemsize < 8 else 1e-14)
    found = lib.to_numpy(space.jensen_shannon_divergence(p, q, base=2))
    expected = [[0.0, js, 1.0], [js, 0.0, 1.0], [1.0, 1.0, 0.0]]
    np.testing.assert_allclose(found, expected, rtol=1e-6 if found.dtype.itemsize < 8 else 1e-14)


@pytest.mark.parametrize("space", [simplex, logits], ids=["simplex", "logits"])
def test_bases_of_logarithms(space):
    p, q = [0.2, 0.3, 0.5], [0.6, 0.1, 0.3]
    for name in ("entropy", "kl_divergence", "jeffreys_divergence", "jensen_shannon_divergence"):
        arguments = (p,) if name == "entropy" else (p, q)
        nats = getattr(space, name)(*arguments)
        for base in (2, 10.0, np.float32(3.0)):
            found = getattr(space, name)(*arguments, base=base)
            np.testing.assert_allclose(found * math.log(base), nats, rtol=1e-15)
    nats, bits = (space.renyi_divergence(p, q, order=2.0, base=base) for base in (None, 2))
    np.testing.assert_allclose(bits * math.log(2.0), nats, rtol=1e-15)
    bits = space.kl_divergence(np.asarray(p, dtype=np.float32), np.float32(q), base=2)
    assert bits.dtype == np.float32
    for base, error in (
        (1.0, ValueError),
        (0.5, ValueError),
        (np.inf, ValueError),
        ("2x", TypeError),
    ):
        with pytest.raises(error, match="base must be"):
            space.kl_divergence(p, q, base=base)


def test_jensen_shannon_is_that_of_scipy(rng):
    """scipy loses digits of near points, but not here."""
    p, q = rng.dirichlet(np.ones(6), (2, 20))
    expected = scipy.spatial.distance.jensenshannon(p, q, base=2, axis=-1)
    np.testing.assert_allclose(simplex.jensen_shannon_distance(p, q, base=2), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("p", "q", "kl", "jeffreys"),
    [
        ([0.5, 0.5, 0.0], [0.5, 0.5, 0.0], 0.0, 0.0),
        ([1.0, 0.0, 0.0], [0.5, 0.5, 0.0], np.log(2), INF),
        ([0.5, 0.5, 0.0], [1.0, 0.0, 0.0], INF, INF),
        ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], INF, INF),
    ],
)
def test_divergences_on_faces(lib, p, q, kl, jeffreys):
    p, q = lib.array(p), lib.array(q)
    np.testing.assert_allclose(lib.to_numpy(simplex.kl_divergence(p, q)), kl, rtol=1e-15)
    np.testing.assert_allclose(lib.to_numpy(simplex.jeffreys_divergence(p, q)), jeffreys)
    np.testing.assert_allclose(lib.to_numpy(simplex.alpha_divergence(q, p, alpha=1.0)), kl)
    np.testing.assert_allclose(lib.to_numpy(simplex.renyi_divergence(p, q, order=1.0)), kl)


@pytest.mark.parametrize(
    ("p", "q", "order", "expected"),
    [
        ([0.5, 0.5, 0.0], [0.25, 0.25, 0.5], 0.0, np.log(2)),
        ([1.0, 0.0], [1.0 - 2.0**-40, 2.0**-40], 0.0, -math.log1p(-(2.0**-40))),
        ([1.0, 0.0], [0.0, 1.0], 0.5, INF),
        ([0.5, 0.5], [1.0, 0.0], 2.0, INF),
        ([1.0, 0.0], [0.5, 0.5], 3.0, np.log(2)),
        ([0.5, 0.5], [1e-300, 1.0], 3.0, 0.5 * (600 * np.log(10) - 3 * np.log(2))),
    ],
)
def test_renyi_on_faces_and_tails(p, q, order, expected):
    np.testing.assert_allclose(simplex.renyi_divergence(p, q, order=order), expected, rtol=1e-14)


def test_entropy(lib):
    p = lib.array([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]])
    np.testing.assert_allclose(
        lib.to_numpy(simplex.entropy(p)), [np.log(4), 0.0, np.log(2)], rtol=1e-15
    )


@given(distributions(3, 5), st.floats(-2.0, 2.0))
def test_alpha_duality(pair, alpha):
    p, q = pair
    np.testing.assert_allclose(
        simplex.alpha_divergence(p, q, alpha=alpha),
        simplex.alpha_divergence(q, p, alpha=-alpha),
        rtol=1e-12,
    )


def test_pythagorean_theorem(rng):
    """KL(p, r) = KL(p, q) + KL(q, r) for an m-geodesic pq orthogonal to the e-geodesic qr."""
    q = rng.dirichlet(np.ones(5))
    u, v = rng.normal(size=(2, 5)) * q
    u, v = u - q * u.sum(), v - q * v.sum()
    u -= v * simplex.inner_product(q, u, v) / simplex.inner_product(q, v, v)
    p = q + 0.3 * u * np.min(q / np.abs(u))
    r = simplex.from_natural_parameters(np.log(q) + simplex.e_representation(q, v))
    total = simplex.kl_divergence(p, q) + simplex.kl_divergence(q, r)
    np.testing.assert_allclose(simplex.kl_divergence(p, r), total, rtol=1e-13)


# ---------------------------------------------------------------- means, volume, sampling


def test_means_minimise_their_divergence(rng):
    points, weights = rng.dirichlet(np.ones(4), 6), rng.uniform(size=6)

    def e_loss(p):
        return weights @ simplex.kl_divergence(p, points)

    def m_loss(p):
        return weights @ simplex.kl_divergence(points, p)

    for loss, mean in ((e_loss, simplex.e_mean), (m_loss, simplex.m_mean)):
        center = mean(points, weights=weights)
        for _ in range(10):
            step = rng.normal(size=4)
            step -= step.mean()
            assert loss(center) < loss(center + 1e-4 * step)


def test_means_of_batches(lib, rng):
    points, weights = rng.dirichlet(np.ones(4), (2, 5)), rng.uniform(size=5)
    for mean in (simplex.e_mean, simplex.m_mean):
        batched = lib.to_numpy(mean(lib.array(points), weights=lib.array(weights), axis=1))
        expected = [mean(rows, weights=weights) for rows in points]
        np.testing.assert_allclose(batched, expected, rtol=1e-14)
        np.testing.assert_allclose(mean(points, axis=0)[2], mean(points[:, 2]), rtol=1e-14)


def test_e_mean_keeps_zeros_and_ignores_points_of_weight_0():
    points = [[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]
    assert simplex.e_mean(points)[2] == 0.0
    np.testing.assert_allclose(simplex.e_mean(points, weights=[0.0, 1.0]), points[1], rtol=1e-15)


@pytest.mark.parametrize(("num_outcomes", "expected"), [(1, 1.0), (2, np.pi), (3, 2 * np.pi)])
def test_volume_of_small_simplices(num_outcomes, expected):
    np.testing.assert_allclose(simplex.volume(num_outcomes), expected, rtol=1e-15)


def test_volume_is_the_integral_of_the_metric():
    """Gauss-Chebyshev in both directions: p3 = 1 - s, p1 = s x, p2 = s (1 - x)."""
    nodes = 0.5 + 0.5 * np.cos(np.pi * (np.arange(200) + 0.5) / 200)
    x = nodes[:, None]
    s = np.polynomial.legendre.leggauss(60)[0] * 0.5 + 0.5
    w = np.polynomial.legendre.leggauss(60)[1] * 0.5
    s = 1 - s**2  # removes the root singularity at p3 = 0
    p = np.stack(np.broadcast_arrays(s * x, s * (1 - x), 1 - s), -1)
    density = np.sqrt(np.linalg.det(simplex.fisher_information(p, check=False)))
    chebyshev = np.pi / 200 * np.sqrt(x * (1 - x))
    integral = np.sum(density * chebyshev * s * w * 2 * np.sqrt(1 - s))
    np.testing.assert_allclose(integral, simplex.volume(3), rtol=1e-10)


def test_volume_of_large_simplices_is_continuous():
    for c in (300, 301, 5000):
        with mpmath.workdps(40):
            expected = mpmath.pi ** (mpmath.mpf(c) / 2) / mpmath.gamma(mpmath.mpf(c) / 2)
        if expected > 1e-300:
            np.testing.assert_allclose(simplex.volume(c), float(expected), rtol=1e-11)
        else:
            assert simplex.volume(c) == 0.0


def test_uniform_samples_have_the_moments_of_the_jeffreys_prior():
    p = simplex.random_uniform(4, (200, 100), rng=3)
    assert p.shape == (200, 100, 4)
    np.testing.assert_array_equal(p, simplex.random_uniform(4, (200, 100), rng=3))
    flat = p.reshape(-1, 4)
    np.testing.assert_allclose(flat.mean(0), 0.25, atol=0.01)
    # A Dirichlet distribution with a_i = 1/2: E[p_i^2] = a (a + 1) / (A (A + 1)), A = 2.
    np.testing.assert_allclose((flat**2).mean(0), 0.75 / 6.0, atol=0.01)
    assert simplex.random_uniform(3, rng=0).shape == (3,)


# ---------------------------------------------------------------- every library


ELEMENTWISE = {
    "squared": lambda p, q, v: simplex.fisher_rao_squared_distance(p, q),
    "exp": lambda p, q, v: simplex.exp_map(p, v),
    "log": lambda p, q, v: simplex.log_map(p, q),
    "boundary": lambda p, q, v: simplex.boundary_time(p, v),
    "inner": lambda p, q, v: simplex.inner_product(p, v, v),
    "norm": lambda p, q, v: simplex.norm(p, v),
    "parallel": lambda p, q, v: simplex.parallel_transport(p, q, v),
    "e_transport": lambda p, q, v: simplex.e_transport(p, q, v),
    "m_transport": lambda p, q, v: simplex.m_transport(p, q, v),
    "christoffel": lambda p, q, v: simplex.christoffel_symbols(p),
    "renyi": lambda p, q, v: simplex.renyi_divergence(p, q, order=0.7),
    "hellinger": lambda p, q, v: simplex.hellinger_distance(p, q),
    "bhattacharyya": lambda p, q, v: simplex.bhattacharyya_coefficient(p, q),
    "e_mean": lambda p, q, v: simplex.e_mean(p),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("call", ELEMENTWISE.values(), ids=ELEMENTWISE)
def test_every_library_gives_the_same(lib, call, dtype, rng):
    p, q = rng.dirichlet(np.full(4, 3.0), (2, 3))
    v = 0.1 * rng.normal(size=(3, 4)) * p
    v -= p * v.sum(-1, keepdims=True)
    expected = np.asarray(call(p, q, v))
    value = call(*(lib.array(x, dtype) for x in (p, q, v)))
    assert lib.owns(value)
    assert lib.dtype_name(value) == dtype
    tolerance = 1e-13 if dtype == "float64" else 3e-5
    np.testing.assert_allclose(lib.to_numpy(value), expected, rtol=tolerance, atol=tolerance)


# ---------------------------------------------------------------- derivatives where formulas branch


@pytest.mark.parametrize("end", [0.0, 1.0])
@pytest.mark.parametrize(
    "curve",
    [
        simplex.fisher_rao_geodesic,
        simplex.e_geodesic,
        simplex.m_geodesic,
        lambda p, q, t: simplex.alpha_geodesic(p, q, t, alpha=0.4),
    ],
)
def test_geodesics_have_their_velocity_at_the_ends(rng, curve, end):
    torch = pytest.importorskip("torch")
    p, q = torch.tensor(rng.dirichlet(np.ones(4), 2))
    t = torch.tensor(end, dtype=torch.float64)
    velocity = torch.autograd.functional.jacobian(lambda t: curve(p, q, t), t)
    step = 1e-6 if end == 0.0 else -1e-6
    secant = (curve(p, q, t + step) - curve(p, q, t)) / step
    torch.testing.assert_close(velocity, secant, rtol=1e-4, atol=1e-5)


def test_velocity_at_the_start_is_the_logarithm(rng):
    torch = pytest.importorskip("torch")
    p, q = torch.tensor(rng.dirichlet(np.ones(4), 2))
    t = torch.tensor(0.0, dtype=torch.float64)
    velocity = torch.autograd.functional.jacobian(lambda t: simplex.fisher_rao_geodesic(p, q, t), t)
    torch.testing.assert_close(velocity, simplex.log_map(p, q), rtol=1e-12, atol=1e-14)


def test_gradient_towards_a_vertex():
    """d = 2 arccos(sqrt p_1), so that dd/dp is (-1, 1, 1) + constant at p_1 = 1/2."""
    torch = pytest.importorskip("torch")
    vertex = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    expected = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    for gradient in (
        torch.func.grad(lambda p: simplex.fisher_rao_distance(p, vertex))(p),
        torch.autograd.functional.jacobian(lambda p: simplex.fisher_rao_distance(p, vertex), p),
    ):
        torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=0)


def test_a_row_with_an_infinite_slope_leaves_the_others_alone():
    torch = pytest.importorskip("torch")
    p = torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.5000001, 1e-20]], requires_grad=True)
    q = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    simplex.fisher_rao_distance(p, q).sum().backward()
    torch.testing.assert_close(p.grad[0], torch.tensor([-1.0, 1.0, 1.0]))


def test_parameters_do_not_change_the_dtype():
    p = np.array([0.5, 0.5], np.float32)
    alpha = np.float64(0.5)
    assert simplex.alpha_geodesic(p, p, 0.3, alpha=alpha).dtype == np.float32
    assert simplex.christoffel_symbols(p, alpha=alpha).dtype == np.float32
    assert simplex.alpha_divergence(p, p, alpha=alpha).dtype == np.float32


@pytest.mark.parametrize("order", [100.0, 1e3, 1e6, 1e300])
def test_renyi_of_large_order_approaches_the_largest_ratio(order):
    p, q = [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]
    value = simplex.renyi_divergence(p, q, order=order)
    # The largest ratio alone: log(p_1 (p_1 / q_1)^(order - 1)) / (order - 1).
    expected = np.log(2.5) + np.log(0.5) / (order - 1.0)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_other_devices_and_empty_batches():
    torch = pytest.importorskip("torch")
    p = torch.full((2, 3), 1 / 3, device="meta")
    assert simplex.fisher_information(p).shape == (2, 2, 2)
    assert simplex.christoffel_symbols(p).shape == (2, 2, 2, 2)
    assert simplex.from_sphere(np.zeros((0, 3))).shape == (0, 3)
    assert simplex.from_expectation_parameters(np.zeros((0, 3))).shape == (0, 4)
    np.testing.assert_array_equal(
        simplex.from_expectation_parameters(simplex.expectation_parameters([1.0])), [1.0]
    )


def test_six_decimals_of_a_csv_are_enough_rounding_to_pass(rng):
    p, q = (np.round(rng.dirichlet(np.ones(10), 200), 6) for _ in range(2))
    assert np.abs(p.sum(-1) - 1).max() > 1e-6
    d = simplex.fisher_rao_distance(p, q)
    assert max(relative_error(d[i], exact_distance(p[i], q[i])) for i in range(20)) < 1e-14


@pytest.mark.parametrize("shape", [(1200, 10), (12, 1000)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_large_batches_of_pairs_that_are_next_to_each_other(rng, dtype, shape):
    """Roots are not taken where every outcome changes by a small share, but for one outlier."""
    eps = np.finfo(dtype).eps
    p = rng.dirichlet(np.ones(shape[1]), shape[0]).astype(dtype)
    p[:, 2::3] = 0.0
    sign = rng.choice([-1.0, 1.0], shape).astype(dtype)
    for change, has_outlier in itertools.product((4.0, 1.5, 0.5, 1e-3), (False, True)):
        q = p * (1 + dtype(change) * eps**0.25 * sign)
        if change == 0.5:
            q *= dtype(1 + 4e-7)  # as sums of float32 are off
        if has_outlier:
            q[-1, -3:] = 0.25
            q[-1] /= q[-1].sum()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            d = simplex.fisher_rao_distance(p, q, check=False)
        for i in (0, 5, -1):
            reference = exact_distance(p[i], q[i])
            assert abs(precisely(d[i]) / reference - 1) < 16 * float(eps)


def test_long_doubles_near_and_far():
    p = np.array([0.5, 0.25, 0.25], np.longdouble)
    for change in (2.0**-40, 0.25):
        q = p + change * np.array([1.0, -1.0, 0.0], np.longdouble)
        d = simplex.fisher_rao_distance(p, q)
        assert relative_error(d, exact_distance(p, q)) < 1e-15


def test_a_geodesic_that_leaves_is_refused_where_gradients_are_wanted():
    torch = pytest.importorskip("torch")
    v = torch.tensor([-4.0, 4.0], requires_grad=True)
    with pytest.raises(ValueError, match="leaves it at time"):
        simplex.exp_map(torch.tensor([0.5, 0.5]), v)
