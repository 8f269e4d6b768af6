"""Multivariate normals: 30-digit geodesics, closed cases, identities, gradients, bad inputs."""

import contextlib
import json
import math
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infogeo import mean, neighbors
from infogeo import multivariate_normal as mvn
from infogeo._status import SolveError, Status
from infogeo.multivariate_normal import MultivariateNormal, Tangent, _fibre

EPS = np.finfo(np.float64).eps
ORACLES = json.loads((Path(__file__).parent / "oracles" / "multivariate_normal.json").read_text())

# Published values, from a 30-digit Newton solve confirmed by shooting.
PUBLISHED = [
    ([0, 0], [[1, 0], [0, 0.1]], [1, 1], [[0.1, 0], [0, 1]], 3.1329316710671612145),
    ([0, 0], [[1, 0], [0, 1]], [1, 1], [[1, 0], [0, 1]], 1.3610725787472008063),
    ([0, 0], [[1, 0], [0, 1]], [2, 1], [[2, 0.5], [0.5, 1]], 1.8060906212181392589),
    ([-1, 0], [[1, 0], [0, 1]], [6, 3], [[0.55, -0.45], [-0.45, 0.55]], 6.3448522564685964478),
    (
        [0, 0, 0],
        np.eye(3).tolist(),
        [1, 2, 3],
        [[2, 0.3, 0.1], [0.3, 1, -0.2], [0.1, -0.2, 0.5]],
        3.5623640298155515881,
    ),
]


def random_covariance(rng, d, condition=10.0):
    Q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    spread = np.linspace(-0.5, 0.5, d) if d > 1 else np.zeros(1)
    S = Q * condition ** rng.permutation(spread) @ Q.T
    return 0.5 * (S + S.T)


def random_normal(rng, d, condition=10.0):
    return MultivariateNormal(rng.normal(size=d), random_covariance(rng, d, condition))


def random_tangent(rng, a, length):
    """Return a tangent vector of that Fisher norm."""
    L = np.linalg.cholesky(a.cov)
    x, B = rng.normal(size=a.dim), rng.normal(size=(a.dim, a.dim))
    B = B + B.T
    scale = length / math.sqrt(x @ x + 0.5 * (B * B).sum())
    cov = L @ B @ L.T
    return Tangent(scale * (L @ x), scale * 0.5 * (cov + cov.T))


def blur(*normals):
    """Return the rounding that normals of these condition numbers carry, in Fisher length.

    Rounding the entries of a covariance moves it by about eps times its condition number.
    """
    return EPS * sum(np.linalg.cond(n.cov) for n in normals)


# ---------------------------------------------------------------- exact values


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: f"d = {case[-1]:.3f}")
def test_published_distances(case):
    *data, distance = case
    a, b = MultivariateNormal(*data[:2]), MultivariateNormal(*data[2:])
    np.testing.assert_allclose(mvn.fisher_rao_distance(a, b), distance, rtol=4e-15)
    np.testing.assert_allclose(mvn.fisher_rao_distance(b, a), distance, rtol=4e-15)


@pytest.mark.parametrize("case", ORACLES, ids=lambda case: f"{case['distance'][:8]}")
def test_distances_and_velocities_against_30_digits(case):
    a = MultivariateNormal(case["mean_a"], case["cov_a"])
    b = MultivariateNormal(case["mean_b"], case["cov_b"])
    found = mvn.connect(a, b)
    exact = float(case["distance"])
    # Far away the matrix of the fibre has entries of size exp(d / sqrt2).
    growth = math.exp(exact / math.sqrt(2.0))
    np.testing.assert_allclose(
        found.distance, exact, rtol=8 * EPS + 0.05 * EPS * (growth + np.linalg.cond(b.cov))
    )
    mean = np.array([float(x) for x in case["velocity_mean"]])
    cov = np.array([[float(x) for x in row] for row in case["velocity_cov"]])
    off = mvn.norm(a, found.initial_velocity - Tangent(mean, cov)) / exact
    assert off <= 20 * EPS + EPS * (growth + np.linalg.cond(b.cov))
    assert found.residual <= 8 * EPS * exact * growth
    assert found.status is Status.CONVERGED
    back = mvn.log_map(b, a)
    np.testing.assert_allclose(
        mvn.norm(b, found.final_velocity + back), 0.0, atol=50 * exact * (blur(a, b) + EPS * growth)
    )


@pytest.mark.parametrize("shift", [0.0, 1e-12, 1e-6, 1.0, 1e3])
@pytest.mark.parametrize("log_ratio", [0.0, 1e-12, 1e-5, -2.0, 12.0])
def test_one_dimension_is_the_closed_form(shift, log_ratio):
    mean_b, var_a, var_b = 0.5 + shift, 0.7, 0.7 * math.exp(log_ratio)
    with mpmath.workdps(50):
        s_a, s_b = mpmath.sqrt(mpmath.mpf(var_a)), mpmath.sqrt(mpmath.mpf(var_b))
        dm = mpmath.mpf(mean_b) - mpmath.mpf(0.5)
        argument = mpmath.sqrt((dm**2 / 2 + (s_a - s_b) ** 2) / (4 * s_a * s_b))
        exact = float(2 * mpmath.sqrt(2) * mpmath.asinh(argument))
    a = MultivariateNormal([0.5], [[var_a]])
    b = MultivariateNormal([mean_b], [[var_b]])
    np.testing.assert_allclose(mvn.fisher_rao_distance(a, b), exact, rtol=1e-14)


@pytest.mark.parametrize("d", [2, 5, 20])
def test_same_mean(d, rng):
    a = random_normal(rng, d)
    b = MultivariateNormal(a.mean, random_covariance(rng, d, 1e3))
    with mpmath.workdps(40):
        A, B = mpmath.matrix(a.cov.tolist()), mpmath.matrix(b.cov.tolist())
        L = mpmath.cholesky(A) ** -1
        ratios = mpmath.eigsy(L * B * L.T, eigvals_only=True)
        exact = float(mpmath.sqrt(mpmath.fsum(mpmath.log(r) ** 2 for r in ratios) / 2))
    np.testing.assert_allclose(mvn.fixed_mean_distance(a, b), exact, rtol=1e-14)
    np.testing.assert_allclose(mvn.fisher_rao_distance(a, b), exact, rtol=1e-14)
    assert mvn.connect(a, b).steps == 0  # the start is the solution


@pytest.mark.parametrize("size", [1e-9, 0.3, 3.0, 40.0])
def test_same_covariance(size, rng):
    a = random_normal(rng, 4)
    b = MultivariateNormal(a.mean + size * rng.normal(size=4), a.cov)
    difference = b.mean - a.mean
    delta = math.sqrt(difference @ np.linalg.solve(a.cov, difference))
    np.testing.assert_allclose(mvn.fixed_covariance_distance(a, b), delta, rtol=1e-13)
    exact = 2 * math.sqrt(2) * math.asinh(delta / math.sqrt(8))  # sqrt2 arccosh(1 + delta^2 / 4)
    np.testing.assert_allclose(mvn.fisher_rao_distance(a, b), exact, rtol=2e-13)


def test_mean_along_an_eigenvector(rng):
    Q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    w, m = np.array([2.5, 0.3, 7.0]), 1.7
    a = MultivariateNormal(np.zeros(3), np.eye(3))
    b = MultivariateNormal(m * Q[:, 0], (Q * w) @ Q.T)
    s = math.sqrt(w[0])
    along = 2 * math.sqrt(2) * math.asinh(math.sqrt((m**2 / 2 + (s - 1) ** 2) / (4 * s)))
    exact = math.sqrt(along**2 + 0.5 * (np.log(w[1:]) ** 2).sum())
    np.testing.assert_allclose(mvn.fisher_rao_distance(a, b), exact, rtol=1e-14)


# ---------------------------------------------------------------- properties

PAIRS = {
    "seed": st.integers(0, 2**32 - 1),
    "d": st.sampled_from([1, 2, 3, 5, 10]),
    "condition": st.sampled_from([1.0, 1e2, 1e4]),
    "length": st.sampled_from([1e-7, 0.1, 1.0, 4.0, 8.0]),
}


def pair(seed, d, condition, length):
    """Return a normal, one at that distance from it, and the velocity that leads there."""
    rng = np.random.default_rng(seed)
    a = random_normal(rng, d, condition)
    v = random_tangent(rng, a, length)
    return a, mvn.exp_map(a, v), v, rng


@given(**PAIRS)
def test_distance_is_the_norm_of_the_velocity_and_symmetric(seed, d, condition, length):
    a, b, _v, _ = pair(seed, d, condition, length)
    distance = mvn.fisher_rao_distance(a, b)
    tolerance = 20 * blur(a, b) + 100 * EPS * length
    np.testing.assert_allclose(distance, length, rtol=0, atol=tolerance)
    # Rounding of the data is the same for both directions.
    np.testing.assert_allclose(mvn.fisher_rao_distance(b, a), distance, rtol=1e-12)


@given(**PAIRS)
def test_log_inverts_exp_and_exp_inverts_log(seed, d, condition, length):
    a, b, v, _ = pair(seed, d, condition, length)
    log = mvn.log_map(a, b)
    growth = math.exp(length / math.sqrt(2.0))
    tolerance = 20 * blur(a, b) + 100 * EPS * length
    assert mvn.norm(a, log - v) <= tolerance
    reached = mvn.fisher_rao_distance(mvn.exp_map(a, log), b)
    assert reached <= min(growth * tolerance, 1e-9 + 20 * blur(a, b))


@given(**PAIRS)
def test_affine_maps_change_nothing(seed, d, condition, length):
    a, b, _, rng = pair(seed, d, condition, length)
    A = np.linalg.qr(rng.normal(size=(d, d)))[0] * np.exp(rng.uniform(-0.7, 0.7, d))
    shift = rng.normal(size=d)
    moved = [MultivariateNormal(A @ n.mean + shift, A @ n.cov @ A.T) for n in (a, b)]
    np.testing.assert_allclose(
        mvn.fisher_rao_distance(*moved),
        mvn.fisher_rao_distance(a, b),
        rtol=0,
        atol=20 * blur(a, b, *moved) + 100 * EPS * length,
    )


@given(**PAIRS)
def test_constant_speed_and_additivity(seed, d, condition, length):
    a, b, _, _ = pair(seed, d, condition, length)
    t = np.array([0.0, 0.2, 0.5, 0.8, 1.0])
    points = mvn.fisher_rao_geodesic(a, b, t)
    distance = mvn.fisher_rao_distance(a, b)
    growth = math.exp(length / math.sqrt(2.0))
    worst = max((points[i] for i in range(5)), key=lambda n: np.linalg.cond(n.cov))
    tolerance = 20 * blur(a, b, worst) + 100 * EPS * growth * length
    np.testing.assert_allclose(mvn.fisher_rao_distance(a, points), t * distance, atol=tolerance)
    steps = mvn.fisher_rao_distance(points[:-1], points[1:])
    np.testing.assert_allclose(steps, np.diff(t) * distance, atol=tolerance)
    assert mvn.fisher_rao_distance(points[0], a) <= tolerance
    assert mvn.fisher_rao_distance(points[4], b) <= tolerance


@given(seed=PAIRS["seed"], d=st.sampled_from([2, 3, 5]), length=st.sampled_from([0.5, 2.0, 6.0]))
def test_geodesic_equation(seed, d, length):
    a, _, v, _ = pair(seed, d, 10.0, length)
    h = 0.02 / length
    near = [mvn.exp_map(a, t * v) for t in np.array([-2, -1, 0, 1, 2]) * h + 0.3]

    def derivatives(values):
        """Return first and second derivatives in the middle, to fourth order."""
        x = np.stack(values)
        first = (x[0] - 8 * x[1] + 8 * x[3] - x[4]) / (12 * h)
        return first, (-x[0] + 16 * x[1] - 30 * x[2] + 16 * x[3] - x[4]) / (12 * h * h)

    dm, ddm = derivatives([n.mean for n in near])
    dS, ddS = derivatives([n.cov for n in near])
    S = near[2].cov
    expected = dS @ np.linalg.solve(S, dm), dS @ np.linalg.solve(S, dS) - np.outer(dm, dm)
    residual = mvn.norm(
        near[2], Tangent(ddm - expected[0], 0.5 * (ddS - expected[1] + (ddS - expected[1]).T))
    )
    assert residual <= 1e-5 * length**2


@given(**PAIRS)
def test_bounds_hold(seed, d, condition, length):
    a, b, _, _ = pair(seed, d, condition, length)
    bounds, distance = mvn.distance_bounds(a, b), mvn.fisher_rao_distance(a, b)
    assert bounds.lower <= distance <= bounds.upper
    assert distance <= math.sqrt(mvn.jeffreys_divergence(a, b)) * (1 + 1e-12)


@given(seed=PAIRS["seed"], d=PAIRS["d"], length=st.sampled_from([0.1, 1.0, 5.0]))
def test_triangle_inequality(seed, d, length):
    a, b, _, rng = pair(seed, d, 100.0, length)
    c = mvn.exp_map(a, random_tangent(rng, a, length))
    distances = [mvn.fisher_rao_distance(x, y) for x, y in ((a, b), (b, c), (a, c))]
    assert 2 * max(distances) <= sum(distances) * (1 + 1e-12)


@pytest.mark.parametrize("condition", [1.0, 1e4, 1e8])
@pytest.mark.parametrize("length", [1e-3, 5.0, 10.0, 15.0])
@pytest.mark.parametrize("d", [20, 50])
def test_large_dimensions_conditions_and_distances(d, length, condition):
    a, b, v, _ = pair(7, d, condition, length)
    found = mvn.connect(a, b)
    assert found.status is Status.CONVERGED
    tolerance = 20 * blur(a, b) + 100 * EPS * length
    np.testing.assert_allclose(found.distance, length, rtol=0, atol=tolerance)
    symmetric = 1e-12 if condition <= 1e4 else 1e-8
    np.testing.assert_allclose(mvn.fisher_rao_distance(b, a), found.distance, rtol=symmetric)
    growth = math.exp(length / math.sqrt(2.0))
    assert mvn.norm(a, found.initial_velocity - v) <= 20 * blur(a, b) + 100 * EPS * growth * length


@pytest.mark.parametrize("mean_b", [[1e4, 1e-4], [2e3, 4e3], [0.0, 50.0], [50.0, 0.1]])
def test_far_pairs_of_thin_normals(mean_b):
    """Where Newton's Hessian is indefinite at the start."""
    a = MultivariateNormal([0.0, 0.0], [[1.0, 0.0], [0.0, 1e-4]])
    b = MultivariateNormal(mean_b, [[1e-3, 0.0], [0.0, 1.0]])
    found, bounds = mvn.connect(a, b), mvn.distance_bounds(a, b)
    assert found.status is Status.CONVERGED
    assert bounds.lower <= found.distance <= bounds.upper
    np.testing.assert_allclose(mvn.fisher_rao_distance(b, a), found.distance, rtol=1e-10)
    np.testing.assert_allclose(mvn.norm(a, found.initial_velocity), found.distance, rtol=1e-10)


@pytest.mark.parametrize(("d", "num_pairs"), [(2, 5000), (3, 20_000), (5, 2000)])
def test_no_thin_pair_is_left_unsolved(d, num_pairs, rng):
    """Axes from 1e-2 to 1e2 in random directions: many Hessians bend down at the start."""
    Q = np.linalg.qr(rng.normal(size=(2 * num_pairs, d, d)))[0]
    scales = np.exp(rng.uniform(-2.0, 2.0, (2 * num_pairs, 1, d)) * math.log(100.0))
    cov = Q * scales @ np.swapaxes(Q, -1, -2)
    points = MultivariateNormal(
        rng.normal(size=(2 * num_pairs, d)), 0.5 * (cov + np.swapaxes(cov, -1, -2))
    )
    a, b = points[:num_pairs], points[num_pairs:]
    found, bounds = mvn.connect(a, b), mvn.distance_bounds(a, b)
    assert found.status is Status.CONVERGED
    assert ((bounds.lower <= found.distance) & (found.distance <= bounds.upper)).all()
    np.testing.assert_allclose(mvn.fisher_rao_distance(b, a), found.distance, rtol=1e-10)


def test_batches_are_their_members(rng):
    a = MultivariateNormal.stack([random_normal(rng, 3, c) for c in (1.0, 10.0, 1e3, 1e6)])
    b = MultivariateNormal.stack([random_normal(rng, 3, c) for c in (5.0, 1.0, 10.0)])
    table = mvn.connect(a[:, None], b[None])
    assert table.distance.shape == (4, 3)
    assert table.initial_velocity.cov.shape == (4, 3, 3, 3)
    for i in range(4):
        for j in range(3):
            alone = mvn.connect(a[i], b[j])
            np.testing.assert_allclose(table.distance[i, j], alone.distance, rtol=1e-14)
            assert table.steps[i, j] == alone.steps
    assert mvn.fisher_rao_distance(a[:0], b[0]).shape == (0,)


def test_the_singular_values_of_many_pairs_of_rows(rng):
    """Parallel, tiny, huge and vanishing rows, against LAPACK, which takes them one by one."""
    C = rng.normal(size=(400, 2, 3))
    C[:50, 1] = 3.0 * C[:50, 0] + 1e-9 * rng.normal(size=(50, 3))
    C[50:100, 1] *= 1e-12
    C[100:150, 0] *= 1e-200
    C[150:200] *= 1e-250
    C[200:220] *= 1e250
    C[220:230], C[230:240, 0], C[240:250, 1] = 0.0, 0.0, 0.0
    C[250:300] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    C[300:320, 1] = C[300:320, 0]
    U, s, Vt = _fibre._singular_values(C)
    exact = np.linalg.svd(C, compute_uv=False)
    top = np.maximum(exact[:, :1], 1e-300)
    assert np.abs((s - exact) / top).max() < 16 * EPS
    assert (s[:, 0] >= s[:, 1]).all()
    for matrix in (U, Vt):
        assert np.abs(matrix @ matrix.mT - np.eye(2)).max() < 1e-14
    np.testing.assert_allclose((U * (s / top)[:, None]) @ Vt, C / top[..., None], atol=16 * EPS)


def test_many_pairs_of_two_coordinates_agree_with_a_closed_form(rng):
    """One coordinate moves as a univariate normal, the other only scales, seen from a new basis."""
    n = 150  # enough for the formula for many pairs
    sizes = np.array([0.0, 1e-200, 1e-12, 1e-3, 1.0, 30.0])
    shift, log_first, log_second = (rng.choice(sizes, n) * rng.choice([-1, 1], n) for _ in range(3))
    log_first, log_second = (np.clip(log, -3.0, 3.0) for log in (log_first, log_second))
    shift[:3] = log_first[:2] = log_second[0] = log_second[2] = 0.0
    exact = []
    with mpmath.workdps(450):
        for m, u, v in zip(*(x.tolist() for x in (shift, log_first, log_second)), strict=True):
            s = mpmath.exp(mpmath.mpf(u) / 2)
            below, above = (mpmath.mpf(m) ** 2 + 2 * (s + sign) ** 2 for sign in (-1, 1))
            line = 2 * mpmath.sqrt(2) * mpmath.atanh(mpmath.sqrt(below / above))
            exact.append(float(mpmath.sqrt(line**2 + mpmath.mpf(v) ** 2 / 2)))
    m, log_w = np.stack([shift, 0.0 * shift], axis=1), np.stack([log_first, log_second], axis=1)
    solved = _fibre.solve(m, log_w, 1e-12, 100)
    np.testing.assert_allclose(solved.distance, exact, rtol=1e-13)
    assert solved.is_solved.all()
    turn = np.linalg.qr(rng.normal(size=(n, 2, 2)))[0] * [[[2.0], [0.1]]]
    a = MultivariateNormal(np.zeros((n, 2)), turn @ turn.mT)
    cov = (turn * np.exp(log_w)[:, None, :]) @ turn.mT
    b = MultivariateNormal((turn @ m[..., None])[..., 0], cov)
    found = mvn.connect(a, b)
    np.testing.assert_allclose(found.distance, exact, rtol=1e-12, atol=1e-14)
    speed = mvn.norm(a, found.initial_velocity)
    np.testing.assert_allclose(speed, exact, rtol=1e-10, atol=1e-14)


def test_the_rounding_at_which_a_solve_stops_is_that_of_its_value(rng):
    """Small singular values beside large ones are off by the rounding of these, and no more."""
    shares = []
    for _ in range(12):
        s = 10.0 ** np.array([rng.uniform(-1.0, 9.0), rng.uniform(-4.0, -1.0)])
        left, right = (np.linalg.qr(rng.normal(size=(k, k)))[0] for k in (2, 3))
        C = left @ (s[:, None] * right[:2])
        here = _fibre._point(_fibre._Frame(C[None], np.ones((1, 2))), np.zeros((1, 2, 2)))
        with mpmath.workdps(60):
            exact = mpmath.svd_r(mpmath.matrix(C.tolist()), compute_uv=False)
            value = 2 * mpmath.fsum(mpmath.asinh(x) ** 2 for x in exact)
            error = abs(float(value - float(here.value[0])))
        shares.append(error / _fibre._rounding(here)[0])
    assert min(shares) >= 0.0
    assert 1e-3 < max(shares) < 1.0


def test_the_fibre_gradient_and_hessian_against_differences(rng):
    frame = _fibre._frame(rng.normal(size=(1, 4)), rng.normal(size=(1, 4)))
    b, x = (x - x.T for x in rng.normal(size=(2, 4, 4)))
    here, h = _fibre._point(frame, b[None]), 1e-5
    lift, _ = _fibre._eigenbasis(frame, here)
    u = (lift.mT @ x @ lift)[0]
    there, back = (_fibre._point(frame, b[None] + s * h * u) for s in (1, -1))
    slope = (there.value - back.value) / (2 * h)
    np.testing.assert_allclose(_fibre._dot(here.gradient, u[None]), slope, rtol=1e-8)
    bend = lift @ ((there.gradient - back.gradient) / (2 * h)) @ lift.mT
    image = _fibre._hessian(frame, here, lift)(x[None])
    np.testing.assert_allclose(image, bend, rtol=1e-6, atol=1e-8)


# ---------------------------------------------------------------- other curves and coordinates


def test_e_and_m_geodesics_are_straight(rng):
    a, b = random_normal(rng, 3), random_normal(rng, 3, 1e3)
    t = np.array([0.0, 0.3, 1.0])
    for geodesic, coordinates in (
        (mvn.e_geodesic, mvn.natural_parameters),
        (mvn.m_geodesic, mvn.expectation_parameters),
    ):
        points = geodesic(a, b, t)
        assert points.shape == (3,)
        for part, start, end in zip(*map(coordinates, (points, a, b)), strict=True):
            weight = t.reshape(-1, *(1,) * start.ndim)
            np.testing.assert_allclose(
                part, (1 - weight) * start + weight * end, rtol=1e-11, atol=1e-12
            )


def test_coordinates_and_back(rng):
    a = MultivariateNormal.stack([random_normal(rng, 3) for _ in range(4)])
    for there, back in (
        (mvn.natural_parameters, mvn.from_natural_parameters),
        (mvn.expectation_parameters, mvn.from_expectation_parameters),
    ):
        b = back(*there(a))
        np.testing.assert_allclose(b.mean, a.mean, rtol=1e-12)
        np.testing.assert_allclose(b.cov, a.cov, rtol=1e-12, atol=1e-13)


def test_fisher_information_is_the_metric(rng):
    a = random_normal(rng, 3)
    u, v = random_tangent(rng, a, 1.0), random_tangent(rng, a, 2.0)
    i, j = np.tril_indices(3)
    flat = [np.concatenate([x.mean, x.cov[i, j]]) for x in (u, v)]
    np.testing.assert_allclose(
        flat[0] @ mvn.fisher_information(a) @ flat[1], mvn.inner_product(a, u, v), rtol=1e-12
    )


def test_fisher_information_is_the_hessian_of_kl(rng):
    a, h = random_normal(rng, 2), 1e-4
    i, j = np.tril_indices(2)

    def kl(x):
        cov = np.zeros((2, 2))
        cov[i, j] = cov[j, i] = x[2:]
        return mvn.kl_divergence(a, MultivariateNormal(x[:2], cov))

    at = np.concatenate([a.mean, a.cov[i, j]])
    steps = h * np.eye(5)
    hessian = [
        [
            (kl(at + p + q) - kl(at + p - q) - kl(at - p + q) + kl(at - p - q)) / (4 * h * h)
            for q in steps
        ]
        for p in steps
    ]
    np.testing.assert_allclose(mvn.fisher_information(a), hessian, rtol=1e-5, atol=1e-5)


def test_norm_and_inner_product_by_their_definition(rng):
    a = random_normal(rng, 4, 100.0)
    u, v = random_tangent(rng, a, 1.0), random_tangent(rng, a, 3.0)
    P = np.linalg.inv(a.cov)
    expected = u.mean @ P @ v.mean + 0.5 * np.trace(P @ u.cov @ P @ v.cov)
    np.testing.assert_allclose(mvn.inner_product(a, u, v), expected, rtol=1e-11)
    np.testing.assert_allclose(mvn.norm(a, v), 3.0, rtol=1e-12)


def test_transports_keep_the_velocity_of_their_coordinates(rng):
    """Natural parameters for the e-connection, moments for the m-connection."""
    a, b = random_normal(rng, 3), random_normal(rng, 3, 100.0)
    v, h = random_tangent(rng, a, 1.0), 1e-4

    def velocities(coordinates, point, vector):
        def along(s):
            moved = MultivariateNormal(point.mean + s * vector.mean, point.cov + s * vector.cov)
            return coordinates(moved)

        return [(x - y) / (2.0 * h) for x, y in zip(along(h), along(-h), strict=True)]

    for transport, coordinates in (
        (mvn.e_transport, mvn.natural_parameters),
        (mvn.m_transport, mvn.expectation_parameters),
    ):
        there = velocities(coordinates, b, transport(a, b, v))
        for x, y in zip(there, velocities(coordinates, a, v), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5 * abs(y).max())


# ---------------------------------------------------------------- divergences


def divergences_by_mpmath(a, b):
    """Return KL, Jeffreys and Hellinger to 40 digits, by their textbook formulas."""
    with mpmath.workdps(60):
        A, B = mpmath.matrix(a.cov.tolist()), mpmath.matrix(b.cov.tolist())
        m = mpmath.matrix(b.mean.tolist()) - mpmath.matrix(a.mean.tolist())
        d = a.dim

        def kl(S, T):
            inverse = T**-1
            trace = mpmath.fsum((inverse * S)[i, i] for i in range(d))
            return (
                trace - d + mpmath.log(mpmath.det(T) / mpmath.det(S)) + (m.T * inverse * m)[0]
            ) / 2

        middle = (A + B) / 2
        exponent = (m.T * middle**-1 * m)[0] / 8
        roots = mpmath.sqrt(mpmath.sqrt(mpmath.det(A) * mpmath.det(B)) / mpmath.det(middle))
        hellinger = mpmath.sqrt(1 - mpmath.exp(-exponent) * roots)
        return float(kl(A, B)), float(kl(A, B) + kl(B, A)), float(hellinger)


@pytest.mark.parametrize("length", [1e-9, 1e-4, 0.5, 5.0])
@pytest.mark.parametrize("d", [1, 3])
def test_divergences_against_60_digits(d, length, rng):
    a = random_normal(rng, d)
    b = mvn.exp_map(a, random_tangent(rng, a, length))
    kl, jeffreys, hellinger = divergences_by_mpmath(a, b)
    np.testing.assert_allclose(mvn.kl_divergence(a, b), kl, rtol=2e-12)
    np.testing.assert_allclose(mvn.jeffreys_divergence(a, b), jeffreys, rtol=2e-12)
    np.testing.assert_allclose(mvn.hellinger_distance(a, b), hellinger, rtol=2e-12)


def test_entropy(rng):
    a = MultivariateNormal(rng.normal(size=3), 5.0 * random_covariance(rng, 3))
    expected = 0.5 * np.linalg.slogdet(2 * math.pi * math.e * a.cov)[1]
    np.testing.assert_allclose(mvn.entropy(a), expected, rtol=1e-13)


# ---------------------------------------------------------------- means, neighbours, samples


def test_means_minimise_their_divergence(rng):
    points = MultivariateNormal.stack([random_normal(rng, 2) for _ in range(3)])
    weights = np.array([0.2, 0.5, 0.3])

    def to_points(n):
        return weights @ mvn.kl_divergence(n, points)

    def from_points(n):
        return weights @ mvn.kl_divergence(points, n)

    for found, cost in (
        (mvn.e_mean(points, weights=weights), to_points),
        (mvn.m_mean(points, weights=weights), from_points),
    ):
        for _ in range(10):
            v = random_tangent(rng, found, 1e-3)
            moved = cost(mvn.exp_map(found, v)) + cost(mvn.exp_map(found, -v))
            assert moved > 2 * cost(found)
            np.testing.assert_allclose(
                cost(mvn.exp_map(found, v)), cost(mvn.exp_map(found, -v)), rtol=1e-7
            )


def test_moment_matching_is_that_of_the_mixture(rng):
    points = MultivariateNormal.stack([random_normal(rng, 2) for _ in range(3)])
    found = mvn.m_mean(points)
    second = np.mean([n.cov + np.outer(n.mean, n.mean) for n in points], axis=0)
    np.testing.assert_allclose(found.mean, points.mean.mean(0), rtol=1e-14)
    np.testing.assert_allclose(found.cov, second - np.outer(found.mean, found.mean), rtol=1e-12)


@pytest.mark.parametrize("d", [2, 5])
def test_frechet_mean(d, rng):
    points = MultivariateNormal.stack([random_normal(rng, d) for _ in range(6)])
    found = mean.frechet_mean(points, space=mvn)
    assert isinstance(found.point, MultivariateNormal)
    assert found.gradient_norm < 1e-10
    logs = mvn.log_map(found.point[None], points)
    pull = Tangent(logs.mean.mean(0), logs.cov.mean(0))
    assert mvn.norm(found.point, pull) < 1e-10
    two = mean.frechet_mean(points[:2], space=mvn, weights=[0.75, 0.25]).point
    between = mvn.fisher_rao_geodesic(points[0], points[1], 0.25)
    assert mvn.fisher_rao_distance(two, between) < 1e-10


def test_neighbors(rng):
    points = MultivariateNormal.stack([random_normal(rng, 2) for _ in range(30)])
    table = neighbors.pairwise_distance(points, space=mvn, block_size=7)
    full = mvn.fisher_rao_distance(points[:, None], points[None])
    np.testing.assert_allclose(table, full, rtol=1e-13, atol=1e-14)
    assert (np.diagonal(table) == 0.0).all()
    found = neighbors.nearest(points, num_neighbors=3, space=mvn)
    np.fill_diagonal(full, np.inf)
    np.testing.assert_array_equal(found.indices, np.argsort(full, axis=1)[:, :3])


def test_fit(rng):
    samples = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 3)) + 5.0
    labels = np.array(["b", "a"])[rng.integers(0, 2, 200)]
    fitted = MultivariateNormal.fit(samples, labels)
    assert fitted.shape == (2,)
    for i, label in enumerate("ab"):
        rows = samples[labels == label]
        np.testing.assert_allclose(fitted[i].mean, rows.mean(0), rtol=1e-13)
        np.testing.assert_allclose(fitted[i].cov, np.cov(rows.T, bias=True), rtol=1e-12)


def test_fit_with_shrinkage(rng):
    LedoitWolf = pytest.importorskip("sklearn.covariance").LedoitWolf
    samples = rng.normal(size=(10, 12))
    with pytest.raises(ValueError, match=r"samples must span all coordinates.*singular.*shrinkage"):
        MultivariateNormal.fit(samples)
    cov = np.cov(samples.T, bias=True)
    expected = 0.75 * cov + 0.25 * np.trace(cov) / 12 * np.eye(12)
    np.testing.assert_allclose(MultivariateNormal.fit(samples, shrinkage=0.25).cov, expected)
    expected = LedoitWolf().fit(samples).covariance_
    found = MultivariateNormal.fit(samples, shrinkage=LedoitWolf()).cov
    np.testing.assert_allclose(found, expected)
    for wrong in (2.0, -0.1):
        with pytest.raises(ValueError, match=r"shrinkage must lie in \[0, 1\]"):
            MultivariateNormal.fit(samples, shrinkage=wrong)
    with pytest.raises(TypeError, match="shrinkage must be a number"):
        MultivariateNormal.fit(samples, shrinkage="oas")


# ---------------------------------------------------------------- dtypes and libraries


def test_float32_is_solved_in_float64_and_cast_back(rng):
    a, b = random_normal(rng, 3), random_normal(rng, 3)
    narrow = [MultivariateNormal(n.mean.astype("f4"), n.cov.astype("f4")) for n in (a, b)]
    wide = [MultivariateNormal(n.mean.astype("f8"), n.cov.astype("f8")) for n in narrow]
    found = mvn.connect(*narrow)
    assert found.distance.dtype == found.initial_velocity.cov.dtype == np.float32
    np.testing.assert_allclose(found.distance, mvn.fisher_rao_distance(*wide), rtol=1e-7)
    assert mvn.exp_map(narrow[0], found.initial_velocity).cov.dtype == np.float32


@pytest.fixture
def tensors(rng):
    torch = pytest.importorskip("torch")
    arrays = []
    for _ in range(2):
        n = [random_normal(rng, 3) for _ in range(4)]
        arrays += [
            torch.tensor(np.stack([x.mean for x in n]), requires_grad=True),
            torch.tensor(np.stack([x.cov for x in n]), requires_grad=True),
        ]
    return torch, arrays


def squared(mean_a, factor_a, mean_b, factor_b):
    """Return the squared distance as a function of free parameters."""
    a = MultivariateNormal(mean_a, factor_a @ factor_a.mT)
    b = MultivariateNormal(mean_b, factor_b @ factor_b.mT)
    return mvn.fisher_rao_squared_distance(a, b)


def test_gradients_against_differences(tensors):
    torch, (mean_a, cov_a, mean_b, cov_b) = tensors
    factors = [torch.linalg.cholesky(x).detach().requires_grad_() for x in (cov_a, cov_b)]
    arguments = (mean_a, factors[0], mean_b, factors[1])
    assert torch.autograd.gradcheck(squared, arguments, atol=1e-7)
    root = lambda *x: mvn.fisher_rao_distance(  # noqa: E731
        MultivariateNormal(x[0], x[1] @ x[1].mT), MultivariateNormal(x[2], x[3] @ x[3].mT)
    )
    assert torch.autograd.gradcheck(root, arguments, atol=1e-7)


def test_gradients_are_zero_at_equality(tensors):
    torch, (mean_a, cov_a, *_) = tensors
    for distance in (mvn.fisher_rao_distance, mvn.fisher_rao_squared_distance):
        a = MultivariateNormal(mean_a, cov_a)
        b = MultivariateNormal(mean_a.detach(), cov_a.detach())
        gradients = torch.autograd.grad(distance(a, b).sum(), (mean_a, cov_a))
        assert all((g == 0).all() for g in gradients)


def test_gradients_under_torch_func(tensors):
    torch, arrays = tensors
    arrays = [x.detach() for x in arrays]

    def one(mean_a, cov_a, mean_b, cov_b):
        return mvn.fisher_rao_squared_distance(
            MultivariateNormal(mean_a, cov_a), MultivariateNormal(mean_b, cov_b)
        )

    gradients = torch.func.vmap(torch.func.grad(one, argnums=(0, 1)))(*arrays)
    a, b = MultivariateNormal(*arrays[:2]), MultivariateNormal(*arrays[2:])
    log = mvn.log_map(a, b)
    P = torch.linalg.inv(a.cov)
    torch.testing.assert_close(gradients[0], -2 * (P @ log.mean[..., None])[..., 0])
    torch.testing.assert_close(gradients[1], -P @ log.cov @ P)
    jacobian = torch.func.jacrev(one)(*[x[0] for x in arrays])
    torch.testing.assert_close(jacobian, gradients[0][0])
    table = torch.func.vmap(torch.func.vmap(one, (None, None, 0, 0)), (0, 0, None, None))(*arrays)
    torch.testing.assert_close(table, mvn.fisher_rao_squared_distance(a[:, None], b[None]))


def test_second_derivatives_raise_instead_of_being_wrong(tensors):
    torch, arrays = tensors
    single = [x[0].detach() for x in arrays]

    def distance(mean_a):
        return mvn.fisher_rao_distance(
            MultivariateNormal(mean_a, single[1]), MultivariateNormal(*single[2:])
        )

    with pytest.raises(NotImplementedError, match="first derivatives only"):
        torch.func.jacrev(torch.func.jacrev(distance))(single[0])
    x = single[0].clone().requires_grad_()
    (first,) = torch.autograd.grad(distance(x), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        first.sum().backward()


def test_exp_map_divergences_and_coordinates_have_gradients(tensors):
    torch, (mean_a, cov_a, mean_b, cov_b) = (tensors[0], [x[0].detach() for x in tensors[1]])
    L = torch.linalg.cholesky(cov_a).requires_grad_()
    x = mean_a.clone().requires_grad_()
    v = mean_b.clone().requires_grad_()
    b = MultivariateNormal(mean_b, cov_b)

    def function(which):
        def call(x, L, v):
            a = MultivariateNormal(x, L @ L.mT)
            if which == "exp_map":
                n = mvn.exp_map(a, Tangent(v, 0.3 * cov_b))
                return n.mean, n.cov
            if which == "e_geodesic":
                n = mvn.e_geodesic(a, b, torch.tensor(0.3, dtype=torch.float64))
                return n.mean, n.cov
            return getattr(mvn, which)(a, b)

        return call

    names = ("exp_map", "e_geodesic", "kl_divergence", "jeffreys_divergence", "hellinger_distance")
    for name in names:
        assert torch.autograd.gradcheck(function(name), (x, L, v), atol=1e-7), name


def test_divergences_have_gradients_at_equality(tensors):
    torch, (mean_a, cov_a, *_) = tensors
    for divergence in (mvn.kl_divergence, mvn.jeffreys_divergence, mvn.hellinger_distance):
        a = MultivariateNormal(mean_a, cov_a)
        b = MultivariateNormal(mean_a.detach(), cov_a.detach())
        gradients = torch.autograd.grad(divergence(a, b).sum(), (mean_a, cov_a))
        for g in gradients:
            torch.testing.assert_close(g, torch.zeros_like(g), atol=1e-14, rtol=0)


def test_torch_agrees_with_numpy(tensors):
    torch, arrays = tensors
    arrays = [x.detach() for x in arrays]
    a, b = MultivariateNormal(*arrays[:2]), MultivariateNormal(*arrays[2:])
    c, d = (MultivariateNormal(n.mean.numpy(), n.cov.numpy()) for n in (a, b))
    v = mvn.log_map(a, b)
    w = Tangent(v.mean.numpy(), v.cov.numpy())
    for found, expected in (
        (mvn.fisher_rao_distance(a, b), mvn.fisher_rao_distance(c, d)),
        (mvn.exp_map(a, v).cov, mvn.exp_map(c, w).cov),
        (mvn.fisher_rao_geodesic(a, b, 0.3).cov, mvn.fisher_rao_geodesic(c, d, 0.3).cov),
        (mvn.e_geodesic(a, b, [0.3, 1.0]).cov, mvn.e_geodesic(c, d, [0.3, 1.0]).cov),
        (mvn.m_geodesic(a, b, 0.3).mean, mvn.m_geodesic(c, d, 0.3).mean),
        (mvn.kl_divergence(a, b), mvn.kl_divergence(c, d)),
        (mvn.norm(a, v), mvn.norm(c, w)),
        (mvn.e_transport(a, b, v).cov, mvn.e_transport(c, d, w).cov),
        (mvn.fisher_information(a), mvn.fisher_information(c)),
        (mvn.e_mean(a).cov, mvn.e_mean(c).cov),
        (mvn.distance_bounds(a, b).lower, mvn.distance_bounds(c, d).lower),
        (mvn.entropy(a), mvn.entropy(c)),
    ):
        assert isinstance(found, torch.Tensor)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


# ---------------------------------------------------------------- bad input

GOOD = MultivariateNormal([0.0, 0.0], np.eye(2))


@pytest.mark.parametrize(
    ("mean_", "cov", "kind", "message"),
    [
        ([0, 0], [[1, 0.5], [0, 1]], ValueError, r"cov must be symmetric: largest .* is 0.5"),
        ([0, 0], [[1, 2], [2, 1]], ValueError, r"positive definite: smallest eigenvalue -1, .* 3"),
        ([0, 0], [[1, 1], [1, 1]], ValueError, r"cov must be positive definite.*shrinkage"),
        ([0, 0], [[[1, 0], [0, 1]], [[1, 0], [0, -1]]], ValueError, r"definite.*-1.*\(row 1\)"),
        ([0, np.nan], np.eye(2), ValueError, "mean must be finite"),
        ([0, 0], [[1, np.nan], [np.nan, 1]], ValueError, "cov must be finite"),
        ([0, 0, 0], np.eye(2), ValueError, r"cov must hold one d x d matrix.*\(2, 2\).*\(3,\)"),
        ([0, 0], [1, 1], ValueError, "cov must hold one d x d matrix"),
        (
            np.zeros((3, 2)),
            np.ones((2, 2, 2)),
            ValueError,
            "mean and cov must have batch axes that broadcast",
        ),
        (0.0, np.eye(2), ValueError, "mean must have its coordinates along the last axis"),
        ("ab", np.eye(2), TypeError, "mean must be an array"),
        ([0, 0], [[1j, 0], [0, 1]], TypeError, "cov must hold real numbers"),
    ],
)
def test_bad_normals(mean_, cov, kind, message):
    with pytest.raises(kind, match=message):
        MultivariateNormal(mean_, cov)


@pytest.mark.parametrize("unit", [1.0, 1e-6])
@pytest.mark.parametrize("excess", [0.9e-6, 1.1e-6])
def test_matrices_may_be_asymmetric_by_a_millionth(unit, excess):
    """Of the variances, in any units of the coordinates; velocities of the largest entries."""
    cov = unit * np.array([[1e-10, 0.0], [excess, 1e10]])
    at, v = MultivariateNormal([0.0, 0.0], unit * np.eye(2)), np.zeros((2, 2))
    v[0, 1] = excess * unit
    expected = contextlib.nullcontext()
    if excess > 1e-6:
        expected = pytest.raises(ValueError, match=r"cov must be symmetric: largest")
    with expected:
        MultivariateNormal([0.0, 0.0], cov)
    with expected:
        mvn.norm(at, Tangent([0.0, 0.0], v))
    mvn.norm(at, Tangent([0.0, 0.0], v), check=False)


def test_a_variance_of_0_is_no_positive_definite_matrix():
    with pytest.raises(ValueError, match=r"positive definite: smallest eigenvalue 0, the largest"):
        MultivariateNormal([0.0, 0.0], [[3.0, 0.0], [0.0, 0.0]])


def test_values_are_not_looked_at_without_check():
    n = MultivariateNormal([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]], check=False)
    with pytest.raises(ValueError, match="cov must be positive definite"):
        mvn.fisher_rao_distance(n, GOOD)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: mvn.fisher_rao_distance([0, 0], GOOD),
            TypeError,
            "a must be a MultivariateNormal",
        ),
        (lambda: mvn.fisher_rao_distance(GOOD, None), TypeError, "b must be a MultivariateNormal"),
        (
            lambda: mvn.kl_divergence(GOOD, MultivariateNormal([0.0], [[1.0]])),
            ValueError,
            "a and b must have the same dimension: a has 2 and b has 1",
        ),
        (
            lambda: mvn.kl_divergence(
                MultivariateNormal(np.zeros((2, 2)), np.eye(2)),
                MultivariateNormal(np.zeros((3, 2)), np.eye(2)),
            ),
            ValueError,
            r"a and b must have batch.* that broadcast.*\(2,\).*\(3,\)",
        ),
        (lambda: mvn.exp_map(GOOD, [1.0, 0.0]), TypeError, "v must be a .*Tangent"),
        (
            lambda: mvn.exp_map(GOOD, Tangent([1.0, 0.0], [[0.0, 1.0], [0.0, 0.0]])),
            ValueError,
            "v.cov must be symmetric",
        ),
        (
            lambda: mvn.norm(GOOD, Tangent([1.0, 0.0, 0.0], np.eye(3))),
            ValueError,
            "a and v must have the same dimension: a has 2 and v has 3",
        ),
        (
            lambda: mvn.norm(GOOD, Tangent([np.inf, 0.0], np.eye(2))),
            ValueError,
            "mean must be finite",
        ),
        (lambda: mvn.e_geodesic(GOOD, GOOD, 1.5), ValueError, r"t must lie in \[0, 1\]"),
        (lambda: mvn.fisher_rao_geodesic(GOOD, GOOD, -0.5), ValueError, r"t must lie in \[0, 1\]"),
        (lambda: mvn.fisher_rao_distance(GOOD, GOOD, rtol=0.0), ValueError, "rtol must be"),
        (lambda: mvn.connect(GOOD, GOOD, max_steps=0), ValueError, "max_steps must be a positive"),
        (lambda: mvn.connect(GOOD, GOOD, max_steps=True), ValueError, "max_steps must be a posit"),
        (lambda: mvn.e_mean(GOOD), ValueError, "axis must name one of the batch axes"),
        (
            lambda: mvn.fixed_mean_distance(GOOD, MultivariateNormal([1.0, 0.0], np.eye(2))),
            ValueError,
            "a.mean and b.mean must be the same: they differ by up to 1",
        ),
        (
            lambda: mvn.fixed_covariance_distance(GOOD, MultivariateNormal([1, 0], 2 * np.eye(2))),
            ValueError,
            "a.cov and b.cov must be the same",
        ),
        (lambda: len(GOOD), TypeError, "has no length"),
        (lambda: GOOD[0], IndexError, "too many indices"),
        (lambda: MultivariateNormal.stack([]), ValueError, "the list is empty"),
        (
            lambda: mvn.from_natural_parameters([0.0], [[1.0]]),
            ValueError,
            "theta_2 must make -2 theta_2 a precision matrix",
        ),
        (lambda: mvn.from_expectation_parameters([2.0], [[1.0]]), ValueError, "positive definite"),
    ],
)
def test_bad_calls(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_libraries_do_not_mix():
    torch = pytest.importorskip("torch")
    other = MultivariateNormal(torch.zeros(2), torch.eye(2))
    with pytest.raises(TypeError, match="must come from the same library"):
        mvn.fisher_rao_distance(GOOD, other)


def test_a_solve_that_stops_early_keeps_what_it_has():
    far = MultivariateNormal([[40.0, 3.0], [0.0, 0.0]], [[0.01, 0.0], [0.0, 5.0]])
    near_enough = mvn.connect(GOOD, far)
    with pytest.raises(SolveError, match=r"1 of 2 .* \(at 0\).*lies in \[") as caught:
        mvn.connect(GOOD, far, max_steps=1)
    assert caught.value.failed == (0,)
    result = caught.value.result
    assert result.status is Status.MAX_STEPS
    np.testing.assert_allclose(result.distance[1], near_enough.distance[1], rtol=1e-14)
    assert result.distance[0] > near_enough.distance[0]
    assert mvn.connect(GOOD, far, max_steps=1, throw=False).status is Status.MAX_STEPS
    with pytest.raises(SolveError, match=r"after 1 steps .* in the fibre"):
        mvn.fisher_rao_distance(GOOD, far[0], max_steps=1)


def test_velocities_refuse_tensors_that_want_gradients(tensors):
    _, arrays = tensors
    a, b = MultivariateNormal(*arrays[:2]), MultivariateNormal(*arrays[2:])
    with pytest.raises(ValueError, match="must not require a gradient here"):
        mvn.log_map(a, b)


def test_covariances_that_differ_are_refused_where_gradients_are_wanted():
    torch = pytest.importorskip("torch")
    location, cov = torch.zeros(2), torch.eye(2)
    a = MultivariateNormal(location, cov)
    b = MultivariateNormal(location, (2.0 * cov).requires_grad_())
    with pytest.raises(ValueError, match="differ by up to 1"):
        mvn.fixed_covariance_distance(a, b)
