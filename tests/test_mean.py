"""The Frechet mean: closed cases, a 40-digit reference, invariances, batches, other spaces."""

import itertools
import types

import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from infogeo import SolveError, Status, logits, simplex
from infogeo.mean import frechet_mean

LIBRARIES_WITH_VALUES = ("numpy", "torch", "array_api_strict", "jax")


def reference(points, weights=None, digits=40):
    """Return the mean in many digits, by plain gradient steps on the sphere of roots."""
    with mpmath.workdps(digits):
        roots = []
        for p in points:
            p = [mpmath.mpf(float(x)) for x in p]
            roots.append([mpmath.sqrt(x / mpmath.fsum(p)) for x in p])
        weights = [1] * len(roots) if weights is None else [mpmath.mpf(float(w)) for w in weights]
        weights = [w / mpmath.fsum(weights) for w in weights]
        x = normalised(weighted(weights, roots))
        for _ in range(2000):
            step = [mpmath.mpf(0)] * len(x)
            for w, r in zip(weights, roots, strict=True):
                cosine = mpmath.fsum(a * b for a, b in zip(x, r, strict=True))
                across = [b - cosine * a for a, b in zip(x, r, strict=True)]
                sine = mpmath.sqrt(mpmath.fsum(a * a for a in across))
                if sine > 0:
                    angle = mpmath.atan2(sine, cosine)
                    step = [s + w * angle / sine * a for s, a in zip(step, across, strict=True)]
            x = normalised([a + s for a, s in zip(x, step, strict=True)])
            if all(
                abs(s) <= a * mpmath.mpf(10) ** (3 - digits) for s, a in zip(step, x, strict=True)
            ):
                return [a * a for a in x]
        raise AssertionError("the reference did not converge")


def weighted(weights, vectors):
    columns = zip(*vectors, strict=True)
    return [mpmath.fsum(w * a for w, a in zip(weights, x, strict=True)) for x in columns]


def normalised(x):
    length = mpmath.sqrt(mpmath.fsum(a * a for a in x))
    return [a / length for a in x]


def largest_relative_error(p, exact):
    return max(
        float(abs(mpmath.mpf(float(a)) - b) / b) if b else float(a)
        for a, b in zip(p, exact, strict=True)
    )


def gradient_norm(space, mean, points, weights=None):
    """Return the Fisher norm of the mean of log maps, from the public functions alone."""
    logs = space.log_map(mean, points)
    return float(space.norm(mean, np.average(logs, axis=0, weights=weights), check=False))


def as_space(module):
    """Return the verbs of a module as a space of its own, which has to be solved by its verbs."""
    return types.SimpleNamespace(
        exp_map=module.exp_map, log_map=module.log_map, inner_product=module.inner_product
    )


# ---------------------------------------------------------------- closed cases


def test_two_points_have_the_midpoint(rng):
    for c in (2, 5, 100):
        p, q = rng.dirichlet(np.full(c, 0.5), size=2)
        expected = simplex.fisher_rao_geodesic(p, q, 0.5)
        np.testing.assert_allclose(frechet_mean([p, q]).point, expected, rtol=2e-14)


@pytest.mark.parametrize("w", [0.0, 1e-9, 0.2, 0.75, 1.0])
def test_two_weighted_points_lie_on_their_geodesic(rng, w):
    p, q = rng.dirichlet(np.full(6, 0.5), size=2)
    mean = frechet_mean([p, q], weights=[3.0 * (1.0 - w), 3.0 * w])
    np.testing.assert_allclose(
        mean.point, simplex.fisher_rao_geodesic(p, q, w), rtol=1e-12, atol=1e-15
    )
    by_logits = frechet_mean(np.log([p, q]), weights=[1.0 - w, w], space=logits)
    expected = logits.fisher_rao_geodesic(np.log(p), np.log(q), w)
    np.testing.assert_allclose(by_logits.point, expected, rtol=1e-11)


@pytest.mark.parametrize("w", [0.5, 0.3, 1e-3])
def test_antipodal_one_hots(w):
    mean = frechet_mean([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], weights=[1.0 - w, w]).point
    angle = w * np.pi / 2
    np.testing.assert_allclose(mean, [np.cos(angle) ** 2, 0.0, np.sin(angle) ** 2], rtol=1e-13)


@pytest.mark.parametrize("c", [1, 2, 3, 10, 1000])
def test_all_one_hots_have_the_uniform_mean(c):
    mean = frechet_mean(np.eye(c))
    np.testing.assert_allclose(mean.point, np.full(c, 1.0 / c), rtol=1e-14)
    assert mean.gradient_norm < 1e-12


def test_permuted_points_have_the_uniform_mean():
    points = list(itertools.permutations([0.7, 0.2, 0.1, 0.0]))
    np.testing.assert_allclose(frechet_mean(points).point, np.full(4, 0.25), rtol=1e-14)


@pytest.mark.parametrize("w", [0.9, 0.4, 1e-4])
def test_weighted_one_hots_in_closed_form(w):
    """By symmetry the mean is (cos^2 t, sin^2 t / 2, sin^2 t / 2): one equation in t."""

    def derivative(t):
        to_others = mpmath.acos(mpmath.sin(t) / mpmath.sqrt(2))
        slope = mpmath.cos(t) / mpmath.sqrt(2) / mpmath.sin(to_others)
        return w * t - (1 - w) * to_others * slope

    with mpmath.workdps(30):
        t = mpmath.findroot(derivative, (mpmath.mpf("1e-3"), mpmath.pi / 2), solver="anderson")
        exact = [mpmath.cos(t) ** 2, *[mpmath.sin(t) ** 2 / 2] * 2]
    mean = frechet_mean(np.eye(3), weights=[w, (1 - w) / 2, (1 - w) / 2], tol=0.0)
    assert largest_relative_error(mean.point, exact) < 2e-13 * max(1.0, 0.01 / w)


def test_identical_points_are_their_mean(rng):
    p = rng.dirichlet(np.full(5, 0.3))
    mean = frechet_mean(np.tile(p, (7, 1)), weights=rng.random(7))
    np.testing.assert_allclose(mean.point, p, rtol=1e-15)
    z = rng.normal(0.0, 200.0, 5)
    mean = frechet_mean(z + np.arange(4.0)[:, None], space=logits)
    np.testing.assert_allclose(mean.point, logits.canonical(z), rtol=1e-13)


def test_one_point_is_its_mean(rng):
    p = rng.dirichlet(np.ones(4))
    np.testing.assert_allclose(frechet_mean([p]).point, p, rtol=1e-15)


# ---------------------------------------------------------------- accuracy


@pytest.mark.parametrize("seed", range(4))
def test_against_forty_digits(seed):
    rng = np.random.default_rng(seed)
    points = rng.dirichlet(np.full(4, 0.3), size=5)
    weights = rng.random(5)
    mean = frechet_mean(points, weights=weights, tol=0.0)
    assert largest_relative_error(mean.point, reference(points, weights)) < 2e-14
    mean = frechet_mean(points, weights=weights)
    assert largest_relative_error(mean.point, reference(points, weights)) < 1e-11


def test_small_probabilities_have_their_digits():
    points = np.array([[1e-200, 0.3, 0.7], [3e-290, 0.6, 0.4], [1e-120, 0.9, 0.1]])
    mean = frechet_mean(points, tol=0.0)
    assert largest_relative_error(mean.point, reference(points)) < 1e-14


def test_sums_off_by_rounding_are_those_of_the_normalised_points(rng):
    points = rng.dirichlet(np.ones(6), size=4)
    expected = frechet_mean(points, tol=0.0).point
    scaled = points * (1.0 + 1e-6 * np.array([[1.0], [-1.0], [0.5], [0.0]]))
    np.testing.assert_allclose(frechet_mean(scaled, tol=0.0).point, expected, rtol=1e-14)


def test_logits_agree_with_probabilities(rng):
    z = rng.normal(0.0, 3.0, (8, 5))
    mean = frechet_mean(z, space=logits, tol=0.0)
    expected = frechet_mean(logits.to_simplex(z), tol=0.0).point
    np.testing.assert_allclose(logits.to_simplex(mean.point), expected, rtol=1e-13)
    np.testing.assert_allclose(mean.point.sum(), 0.0, atol=1e-13)
    shifted = frechet_mean(z + 100.0 * rng.normal(size=(8, 1)), space=logits, tol=0.0)
    np.testing.assert_allclose(shifted.point, mean.point, atol=1e-12)


def test_logits_keep_classes_that_underflow():
    """The third class changes nothing but itself: its root is a known combination."""
    z = np.array([[0.0, 0.0, -3000.0], [0.0, 0.0, -3010.0]])
    mean = frechet_mean(z, space=logits).point
    expected = 2.0 * np.logaddexp(-1500.0, -1505.0) - 2.0 * np.log(2.0)
    np.testing.assert_allclose(mean[2] - mean[0], expected, rtol=1e-15)


def test_saturated_and_masked_logits():
    z = [[800.0, -800.0, -np.inf], [-800.0, 800.0, -np.inf]]
    np.testing.assert_allclose(frechet_mean(z, space=logits).point, [0.0, 0.0, -np.inf], atol=1e-12)
    one_masked = [[0.0, -np.inf, -np.inf], [-np.inf, 0.0, -np.inf]]
    np.testing.assert_allclose(
        frechet_mean(one_masked, space=logits, weights=[3.0, 1.0]).point[:2],
        np.array([1.0, -1.0]) * np.log(1.0 / np.tan(np.pi / 8)),
        rtol=1e-13,
    )


@pytest.mark.parametrize("concentration", [0.01, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("c", [2, 10, 1000])
def test_the_gradient_vanishes_within_twenty_steps(rng, c, concentration):
    points = rng.dirichlet(np.full(c, concentration), size=30)
    points = points / points.sum(axis=-1, keepdims=True)
    weights = rng.random(30)
    mean = frechet_mean(points, weights=weights)
    assert mean.status is Status.CONVERGED
    assert mean.steps <= 20
    assert mean.gradient_norm < 1e-12
    inside = points[:, mean.point > 0.0]
    inside /= inside.sum(axis=-1, keepdims=True)
    point = mean.point[mean.point > 0.0]
    assert gradient_norm(simplex, point, inside, weights) < 2e-12


@pytest.mark.parametrize("c", [3, 1000])
def test_one_hots_with_uneven_weights(rng, c):
    weights = rng.dirichlet(np.full(c, 0.1)) + 1e-12
    mean = frechet_mean(np.eye(c), weights=weights)
    assert mean.steps <= 20
    assert mean.gradient_norm < 1e-12
    assert gradient_norm(simplex, mean.point, np.eye(c), weights) < 2e-12


def test_tolerance_zero_goes_to_the_rounding(rng):
    mean = frechet_mean(rng.dirichlet(np.ones(10), size=20), tol=0.0)
    assert mean.status is Status.CONVERGED
    assert mean.gradient_norm < 5e-15


@pytest.mark.parametrize("space", [simplex, logits])
def test_single_precision_ends_at_its_rounding(rng, space):
    points = rng.dirichlet(np.full(50, 0.3), size=20) + 1e-10
    points /= points.sum(axis=-1, keepdims=True)
    points = points if space is simplex else np.log(points)
    single = frechet_mean(points.astype(np.float32), space=space)
    assert single.status is Status.CONVERGED
    assert single.point.dtype == np.float32
    assert single.gradient_norm < 1e-6
    np.testing.assert_allclose(single.point, frechet_mean(points, space=space).point, rtol=1e-4)


# ---------------------------------------------------------------- faces and invariances


def test_the_mean_lies_on_the_shared_face(rng):
    points = np.zeros((6, 7))
    points[:, [0, 2, 5]] = rng.dirichlet(np.ones(3), size=6)
    mean = frechet_mean(points)
    assert (mean.point[[1, 3, 4, 6]] == 0.0).all()
    alone = frechet_mean(points[:, [0, 2, 5]])
    np.testing.assert_allclose(mean.point[[0, 2, 5]], alone.point, rtol=1e-13)


def test_points_of_weight_zero_are_left_out(rng):
    points = np.zeros((4, 3))
    points[:3, :2] = rng.dirichlet(np.ones(2), size=3)
    points[3, 2] = 1.0
    mean = frechet_mean(points, weights=[1.0, 2.0, 3.0, 0.0])
    assert mean.point[2] == 0.0
    expected = frechet_mean(points[:3], weights=[1.0, 2.0, 3.0]).point
    np.testing.assert_allclose(mean.point, expected, rtol=1e-13)


def test_integer_weights_are_repetitions(rng):
    points = rng.dirichlet(np.full(4, 0.4), size=3)
    repeated = frechet_mean(np.repeat(points, [3, 1, 2], axis=0), tol=0.0).point
    weighted = frechet_mean(points, weights=np.array([3, 1, 2]), tol=0.0).point
    np.testing.assert_allclose(weighted, repeated, rtol=1e-13)


def test_permuting_outcomes_permutes_the_mean(rng):
    points, order = rng.dirichlet(np.full(8, 0.3), size=10), rng.permutation(8)
    mean = frechet_mean(points, tol=0.0).point
    permuted = frechet_mean(points[:, order], tol=0.0).point
    np.testing.assert_allclose(permuted, mean[order], rtol=1e-12)


def test_splitting_an_outcome_is_an_isometry(rng):
    """Chentsov's congruent embedding: the mean of the split points is the split mean."""
    points = rng.dirichlet(np.full(4, 0.5), size=6)
    shares = rng.dirichlet(np.ones(3))

    def split(p):
        return np.concatenate([p[..., :1] * shares, p[..., 1:]], axis=-1)

    mean = frechet_mean(points, tol=0.0).point
    np.testing.assert_allclose(frechet_mean(split(points), tol=0.0).point, split(mean), rtol=1e-13)


def test_rotating_the_sphere_rotates_the_mean(rng):
    roots = np.sqrt(rng.dirichlet(np.full(5, 50.0), size=9))
    skew = 0.03 * rng.normal(size=(5, 5))
    rotation = scipy.linalg.expm(skew - skew.T)
    rotated = roots @ rotation.T
    assert (rotated > 0.0).all()
    mean = frechet_mean(roots**2, tol=0.0).point
    rotated_mean = frechet_mean(rotated**2, tol=0.0).point
    np.testing.assert_allclose(np.sqrt(rotated_mean), rotation @ np.sqrt(mean), rtol=1e-13)


@given(
    st.integers(1, 6).flatmap(
        lambda c: st.lists(
            st.tuples(
                st.lists(
                    st.one_of(st.just(0.0), st.floats(1e-3, 1.0)), min_size=c, max_size=c
                ).filter(any),
                st.floats(0.01, 1.0),
            ),
            min_size=1,
            max_size=6,
        )
    )
)
def test_the_mean_minimises_the_sum_of_squares(drawn):
    points = np.array([np.asarray(p) / np.sum(p) for p, _ in drawn])
    weights = np.array([w for _, w in drawn])
    mean = frechet_mean(points, weights=weights)
    assert mean.gradient_norm < 1e-12
    assert (mean.point >= 0.0).all()
    np.testing.assert_allclose(mean.point.sum(), 1.0, rtol=1e-15)
    assert ((mean.point == 0.0) == (points == 0.0).all(axis=0)).all()

    def objective(p):
        return weights @ simplex.fisher_rao_squared_distance(p, points)

    least = objective(mean.point)
    others = [*points, points.mean(axis=0)]
    for other in others:
        for t in (0.01, 1.0):
            moved = simplex.fisher_rao_geodesic(mean.point, other, t)
            assert objective(moved) >= least * (1.0 - 1e-14) - 1e-24


@pytest.mark.filterwarnings("ignore::ImportWarning")
def test_agrees_with_geomstats(rng):
    import geomstats.backend  # noqa: F401  (the numpy backend)
    from geomstats.geometry.hypersphere import Hypersphere
    from geomstats.learning.frechet_mean import FrechetMean

    points = rng.dirichlet(np.full(5, 0.7), size=12)
    weights = rng.random(12)
    theirs = FrechetMean(Hypersphere(4)).set(epsilon=1e-18, max_iter=500)
    theirs.fit(np.sqrt(points), weights=weights)
    ours = frechet_mean(points, weights=weights).point
    np.testing.assert_allclose(np.sqrt(ours), theirs.estimate_, atol=1e-8)
    assert torch.get_default_dtype() is torch.float32


# ---------------------------------------------------------------- batches, libraries, dtypes


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_batch_equals_the_loop(rng, axis):
    points = rng.dirichlet(np.full(5, 0.3), size=(4, 6, 3))
    weights = rng.random((4, 6, 3))
    mean = frechet_mean(points, weights=weights, axis=axis, tol=0.0)
    points, weights = np.moveaxis(points, axis, -2), np.moveaxis(weights, axis, -1)
    assert mean.gradient_norm.shape == mean.steps.shape == weights.shape[:-1]
    for index in np.ndindex(weights.shape[:-1]):
        alone = frechet_mean(points[index], weights=weights[index], tol=0.0)
        np.testing.assert_allclose(mean.point[index], alone.point, rtol=1e-11)


def test_a_vector_of_weights_serves_the_whole_batch(rng):
    points, weights = rng.dirichlet(np.full(5, 0.3), size=(4, 6)), rng.random(6)
    mean = frechet_mean(points, weights=weights, axis=1)
    full = frechet_mean(points, weights=np.tile(weights, (4, 1)), axis=1)
    np.testing.assert_array_equal(mean.point, full.point)


def test_a_batch_mixes_easy_and_hard_members(rng):
    hard = np.eye(50)
    easy = np.tile(rng.dirichlet(np.ones(50)), (50, 1))
    weights = np.stack([rng.dirichlet(np.full(50, 0.05)), np.full(50, 0.02)])
    mean = frechet_mean(np.stack([hard, easy]), weights=weights, axis=1)
    assert (mean.gradient_norm < 1e-12).all()
    assert mean.steps[1] == 0 < mean.steps[0]
    np.testing.assert_allclose(mean.point[1], easy[0], rtol=1e-14)


def test_an_empty_batch_is_an_empty_mean():
    mean = frechet_mean(np.empty((0, 3, 4)), axis=1)
    assert mean.point.shape == (0, 4)
    assert mean.status is Status.CONVERGED


@pytest.mark.parametrize(("space", "dtype"), [(simplex, "float32"), (logits, "float64")])
def test_the_mean_lives_where_the_points_live(lib, rng, space, dtype):
    p = rng.dirichlet(np.ones(4), size=(2, 5))
    points, weights = (p if space is simplex else np.log(p)), rng.random(5)
    given_points, given_weights = lib.array(points, dtype), lib.array(weights, dtype)
    if lib.name not in LIBRARIES_WITH_VALUES:
        with pytest.raises(TypeError, match="values that can be read"):
            frechet_mean(given_points, weights=given_weights, axis=1, space=space)
        return
    mean = frechet_mean(given_points, weights=given_weights, axis=1, space=space)
    assert lib.owns(mean.point)
    assert lib.owns(mean.gradient_norm)
    assert lib.dtype_name(mean.point) == lib.dtype_name(mean.gradient_norm) == dtype
    assert "int" in lib.dtype_name(mean.steps)
    expected = frechet_mean(points, weights=weights, axis=1, space=space).point
    atol = 1e-13 if dtype == "float64" else 2e-6
    np.testing.assert_allclose(lib.to_numpy(mean.point), expected, atol=atol)
    weak = frechet_mean(given_points, weights=weights.tolist(), axis=1, space=space)
    np.testing.assert_allclose(lib.to_numpy(weak.point), expected, atol=atol)


def test_half_precision_is_computed_in_single():
    mean = frechet_mean(np.array([[0.5, 0.5], [0.25, 0.75]], np.float16))
    assert mean.point.dtype == np.float32
    np.testing.assert_allclose(
        mean.point, simplex.fisher_rao_geodesic([0.5, 0.5], [0.25, 0.75], 0.5), rtol=1e-6
    )


def test_values_have_to_be_there(rng):
    import jax

    points = rng.dirichlet(np.ones(3), size=4)
    with pytest.raises(TypeError, match="values that can be read"):
        jax.jit(lambda p: frechet_mean(p).point)(jax.numpy.asarray(points))
    with pytest.raises(TypeError, match="values that can be read"):
        torch.func.vmap(lambda p: frechet_mean(p).point)(torch.tensor(points[None]))


# ---------------------------------------------------------------- gradients on torch


@pytest.mark.parametrize("space", [simplex, logits])
def test_gradients_by_the_points_and_the_weights(rng, space):
    p = rng.dirichlet(np.full(4, 2.0), size=(2, 3))
    points = torch.tensor(p if space is simplex else np.log(p), requires_grad=True)
    weights = torch.tensor(rng.random((2, 3)) + 0.1, requires_grad=True)

    def mean(points, weights):
        return frechet_mean(
            points, weights=weights, axis=1, space=space, tol=0.0, check=False
        ).point

    assert torch.autograd.gradcheck(mean, (points, weights), eps=1e-5, atol=1e-8, rtol=1e-6)


def test_the_gradient_keeps_identical_and_masked_points_finite():
    z = torch.tensor([[1.0, 2.0, -torch.inf]] * 3, dtype=torch.float64, requires_grad=True)
    mean = frechet_mean(z, space=logits).point
    mean[0].backward()
    expected = np.tile([[0.5, -0.5, 0.0]], (3, 1)) / 3
    np.testing.assert_allclose(z.grad, expected, atol=1e-15)


def test_the_gradient_on_a_face_is_that_of_the_face():
    p = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.8, 0.0]], dtype=torch.float64, requires_grad=True)
    frechet_mean(p).point[0].backward()
    face = p.detach()[:, :2].requires_grad_()
    frechet_mean(face).point[0].backward()
    np.testing.assert_allclose(p.grad[:, :2], face.grad, atol=1e-15)
    assert torch.isfinite(p.grad).all()


def test_no_gradient_is_recorded_without_need(rng):
    p = torch.tensor(rng.dirichlet(np.ones(3), size=4), requires_grad=True)
    assert frechet_mean(p).point.requires_grad
    assert not frechet_mean(p).gradient_norm.requires_grad
    assert not frechet_mean(p.detach()).point.requires_grad
    with torch.no_grad():
        assert not frechet_mean(p).point.requires_grad


# ---------------------------------------------------------------- other spaces

FLAT = types.SimpleNamespace(
    exp_map=lambda p, v: p + v,
    log_map=lambda p, q: q - p,
    norm=lambda p, v: np.linalg.norm(v, axis=-1),
)


def lorentz(u, v):
    return np.sum(u[..., 1:] * v[..., 1:], axis=-1) - u[..., 0] * v[..., 0]


def hyperbolic_exp(p, v):
    length = np.sqrt(np.maximum(lorentz(v, v), 0.0))[..., None]
    q = np.cosh(length) * p + np.sinh(length) / np.where(length > 0.0, length, 1.0) * v
    return np.concatenate([np.sqrt(1.0 + (q[..., 1:] ** 2).sum(-1, keepdims=True)), q[..., 1:]], -1)


def hyperbolic_log(p, q):
    across = q + lorentz(p, q)[..., None] * p
    sine = np.sqrt(np.maximum(lorentz(across, across), 0.0))[..., None]
    return np.arcsinh(sine) / np.where(sine > 0.0, sine, 1.0) * across


HYPERBOLIC = types.SimpleNamespace(
    exp_map=hyperbolic_exp, log_map=hyperbolic_log, inner_product=lambda p, u, v: lorentz(u, v)
)


def on_eigenvalues(function, a):
    values, vectors = np.linalg.eigh(a)
    return (vectors * function(values)[..., None, :]) @ np.swapaxes(vectors, -1, -2)


def between_roots(p, function, a):
    root = on_eigenvalues(np.sqrt, p)
    inverse = on_eigenvalues(lambda x: 1.0 / np.sqrt(x), p)
    inner = inverse @ a @ inverse
    return root @ on_eigenvalues(function, 0.5 * (inner + np.swapaxes(inner, -1, -2))) @ root


def trace_norm(p, v):
    whitened = np.linalg.solve(p, v)
    return np.sqrt(np.maximum(np.einsum("...ij,...ji", whitened, whitened), 0.0))


COVARIANCES = types.SimpleNamespace(
    exp_map=lambda p, v: between_roots(p, np.exp, v),
    log_map=lambda p, q: between_roots(p, np.log, q),
    norm=trace_norm,
)


def test_the_flat_mean_is_the_average(rng):
    points, weights = rng.normal(size=(3, 7, 2)), rng.random(7)
    mean = frechet_mean(points, space=FLAT, weights=weights, axis=1)
    np.testing.assert_allclose(mean.point, np.average(points, axis=1, weights=weights), rtol=1e-12)
    assert (mean.steps <= 2).all()


@pytest.mark.parametrize("module", [simplex, logits])
def test_descent_finds_the_mean_that_newton_finds(rng, module):
    p = rng.dirichlet(np.full(6, 3.0), size=(3, 8))
    points, weights = (p if module is simplex else np.log(p)), rng.random((3, 8))
    by_newton = frechet_mean(points, space=module, weights=weights, axis=1, tol=0.0)
    by_descent = frechet_mean(points, space=as_space(module), weights=weights, axis=1)
    assert (by_descent.gradient_norm < 1e-12).all()
    assert (by_descent.steps <= 20).all()
    np.testing.assert_allclose(by_descent.point, by_newton.point, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("spread", [0.1, 0.5, 1.0])
def test_hyperbolic_means_are_stationary(rng, spread):
    tangent = np.concatenate([np.zeros((9, 1)), spread * rng.normal(size=(9, 2))], axis=-1)
    points = hyperbolic_exp(np.array([1.0, 0.0, 0.0]), tangent)
    mean = frechet_mean(points, space=HYPERBOLIC, tol=1e-11)
    logs = hyperbolic_log(mean.point, points).mean(axis=0)
    assert np.sqrt(max(lorentz(logs, logs), 0.0)) < 2e-11
    assert mean.steps <= 60
    two = frechet_mean(points[:2], space=HYPERBOLIC, weights=[1.0, 3.0], tol=1e-11).point
    there = hyperbolic_exp(points[0], 0.75 * hyperbolic_log(points[0], points[1]))
    np.testing.assert_allclose(two, there, rtol=1e-9, atol=1e-9)


def test_matrices_have_two_event_axes(rng):
    a, b = (x @ x.T + np.eye(3) for x in rng.normal(size=(2, 3, 3)))
    mean = frechet_mean(np.stack([a, b]), space=COVARIANCES)
    root = scipy.linalg.sqrtm(a)
    inverse = np.linalg.inv(root)
    expected = root @ scipy.linalg.sqrtm(inverse @ b @ inverse) @ root
    np.testing.assert_allclose(mean.point, expected, rtol=1e-11)
    batch = np.stack([[a, b, a], [b, a, b]])
    swapped = frechet_mean(batch, space=COVARIANCES, axis=1, weights=[1.0, 2.0, 1.0]).point
    np.testing.assert_allclose(swapped, np.stack([expected, expected]), rtol=1e-11)


def test_descent_on_the_other_libraries(rng):
    p = rng.dirichlet(np.full(4, 3.0), size=6)
    expected = frechet_mean(p).point
    mean = frechet_mean(torch.tensor(p), space=as_space(simplex)).point
    assert isinstance(mean, torch.Tensor)
    np.testing.assert_allclose(mean, expected, rtol=1e-11)
    single = frechet_mean(p.astype(np.float32), space=as_space(simplex))
    assert single.point.dtype == np.float32
    np.testing.assert_allclose(single.point, expected, rtol=1e-4)


# ---------------------------------------------------------------- failures and bad input


def test_a_solve_that_runs_out_of_steps_raises_with_its_result():
    weights = np.linspace(1.0, 20.0, 30) ** 3
    with pytest.raises(SolveError, match=r"did not converge: gradient norm .* after 1 steps") as e:
        frechet_mean(np.eye(30), weights=weights, max_steps=1)
    assert e.value.failed is None
    assert e.value.result.status is Status.MAX_STEPS
    assert e.value.result.gradient_norm > 1e-12
    silent = frechet_mean(np.eye(30), weights=weights, max_steps=1, throw=False)
    np.testing.assert_array_equal(silent.point, e.value.result.point)


def test_a_batch_names_the_members_that_failed():
    weights = np.ones((2, 3, 30))
    weights[1, 0] = np.linspace(1.0, 20.0, 30) ** 3
    points = np.broadcast_to(np.eye(30), (2, 3, 30, 30))
    with pytest.raises(SolveError, match=r"1 of 6 Frechet means did not converge \(at 3\)") as e:
        frechet_mean(points, weights=weights, axis=2, max_steps=1)
    assert e.value.failed == (3,)
    np.testing.assert_allclose(e.value.result.point[0, 0], np.full(30, 1 / 30), rtol=1e-14)


def test_a_space_that_leads_nowhere_fails():
    nowhere = types.SimpleNamespace(
        exp_map=lambda p, v: p + np.nan * v, log_map=FLAT.log_map, norm=FLAT.norm
    )
    with pytest.raises(SolveError):
        frechet_mean([[0.0], [1.0]], space=nowhere, max_steps=2)


P = [[0.5, 0.5], [0.1, 0.9]]


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        ([[0.5, 0.6]], {}, r"points must hold probabilities .* largest \|sum - 1\| = 0.1"),
        ([[0.5, 0.5], [1.5, -0.5]], {}, r"smallest entry -0.5 \(row 1\)"),
        ([[np.nan, 1.0]], {}, "points must hold probabilities"),
        ([[np.nan, 1.0]], {"space": logits}, "NaN or"),
        ([[np.nan, 1.0]], {"space": FLAT}, "points must be finite"),
        ([0.5, 0.5], {}, "axis must name one of the batch axes"),
        (P, {"axis": 1}, r"axis must name .* got 1 for points of shape \(2, 2\)"),
        (P, {"axis": -1}, "axis must name one of the batch axes"),
        (P, {"axis": 1, "space": FLAT}, r"axis must name .* batch shape \(2,\)"),
        (np.empty((0, 2)), {}, "points must hold at least one point"),
        (np.empty((0, 2)), {"space": FLAT}, "points must hold at least one point"),
        (P, {"weights": [1.0, 1.0, 1.0]}, "weights must have one entry for each of the 2 points"),
        (P, {"weights": [0.0, 0.0]}, "weights must have a positive sum"),
        (P, {"weights": [2.0, -1.0]}, "weights must be finite and not negative"),
        (P, {"tol": -1.0}, "tol must be a number that is not negative"),
        (P, {"tol": "fine"}, "tol must be a number that is not negative"),
        (P, {"max_steps": 0}, "max_steps must be a positive integer"),
        (P, {"max_steps": 2.5}, "max_steps must be a positive integer"),
    ],
)
def test_bad_values(points, options, message):
    with pytest.raises(ValueError, match=message):
        frechet_mean(points, **options)


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        ("uniform", {}, "points must be an array"),
        ([["a", "b"]], {}, "points must hold real numbers"),
        (P, {"space": 3}, "space must have exp_map, log_map and norm or inner_product"),
        (P, {"space": np}, "lacks exp_map, log_map, norm or inner_product"),
        (torch.tensor(P), {"weights": np.ones(2)}, "must come from the same library"),
    ],
)
def test_bad_types(points, options, message):
    with pytest.raises(TypeError, match=message):
        frechet_mean(points, **options)
