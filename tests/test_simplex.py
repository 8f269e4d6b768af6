"""The simplex: distances and geodesics against 60-digit references, closed values, identities."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infogeo import simplex

mpmath.mp.dps = 60


def exact(p):
    """Return the normalised vector in 60 digits, from the very floats the code sees."""
    p = [mpmath.mpf(float(x)) for x in np.asarray(p)]
    total = mpmath.fsum(p)
    return [x / total for x in p]


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
    np.testing.assert_allclose(d, expected, rtol=1e-15)


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
    assert torch.autograd.gradcheck(lambda x: simplex.fisher_rao_distance(x, q, check=False), (p,))
    (at_equality,) = torch.autograd.grad(simplex.fisher_rao_distance(p, p.detach()), p)
    assert torch.equal(at_equality, torch.zeros(4, dtype=torch.float64))
