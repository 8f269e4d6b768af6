"""Finite masks: a class masked by -1e9 or the smallest number is as good as left out.

transformers and others mask classes by a large negative number in the place of -inf. Every verb of
`logits` gets such points here, and is compared with itself, in float64, without these classes.
"""

import functools

import mpmath
import numpy as np
import pytest

from conftest import Library
from infogeo import logits
from infogeo.mean import frechet_mean
from infogeo.neighbors import nearest, pairwise_distance

DTYPES = ["float32", "float64"]

# Two batches of points and one of changes, all of them without the masked classes.
Z = np.array([[0.0, 1.0, -0.5], [0.5, 1.0, 0.25], [-2.0, 0.5, 0.0], [3.0, -20.0, 1.0]])
W = np.array([[1.0, 0.25, -0.5], [0.0, 1.0, 0.125], [-2.0, 0.5, 0.75], [3.0, 10.0, 1.0]])
V = 0.25 * np.array([[1.0, -2.0, 0.5], [0.25, 1.0, -0.5], [2.0, 0.0, -1.0], [1.0, 1.0, 0.0]])
G = np.array([[0.25, 0.1, -0.35], [1.0, -0.7, -0.3], [0.1, 0.2, -0.3], [1.0, 0.0, -1.0]])

NUMBERS = {
    "fisher_rao_distance": lambda z, w, v, g: logits.fisher_rao_distance(z, w),
    "fisher_rao_squared_distance": lambda z, w, v, g: logits.fisher_rao_squared_distance(z, w),
    "boundary_time": lambda z, w, v, g: logits.boundary_time(z, v),
    "inner_product": lambda z, w, v, g: logits.inner_product(z, v, g),
    "norm": lambda z, w, v, g: logits.norm(z, v),
    "entropy": lambda z, w, v, g: logits.entropy(z),
    "kl_divergence": lambda z, w, v, g: logits.kl_divergence(z, w),
    "jeffreys_divergence": lambda z, w, v, g: logits.jeffreys_divergence(z, w),
    "jensen_shannon_divergence": lambda z, w, v, g: logits.jensen_shannon_divergence(z, w),
    "jensen_shannon_distance": lambda z, w, v, g: logits.jensen_shannon_distance(z, w),
    "total_variation_distance": lambda z, w, v, g: logits.total_variation_distance(z, w),
    "chi_square_divergence": lambda z, w, v, g: logits.chi_square_divergence(z, w),
    "alpha_divergence": lambda z, w, v, g: logits.alpha_divergence(z, w, alpha=0.3),
    "alpha_divergence, 3": lambda z, w, v, g: logits.alpha_divergence(z, w, alpha=3.0),
    "renyi_divergence": lambda z, w, v, g: logits.renyi_divergence(z, w, order=0.5),
    "renyi_divergence, 10": lambda z, w, v, g: logits.renyi_divergence(z, w, order=10.0),
    "renyi_divergence, 0": lambda z, w, v, g: logits.renyi_divergence(z, w, order=0.0),
    "hellinger_distance": lambda z, w, v, g: logits.hellinger_distance(z, w),
    "bhattacharyya_coefficient": lambda z, w, v, g: logits.bhattacharyya_coefficient(z, w),
    "norm of log_map": lambda z, w, v, g: logits.norm(z, logits.log_map(z, w)),
}
POINTS = {
    "canonical": lambda z, w, v, g: logits.canonical(z),
    "from_simplex": lambda z, w, v, g: logits.from_simplex(logits.to_simplex(z)),
    "fisher_rao_geodesic": lambda z, w, v, g: logits.fisher_rao_geodesic(z, w, 0.25),
    "fisher_rao_geodesic, 1": lambda z, w, v, g: logits.fisher_rao_geodesic(z, w, 1.0),
    "e_geodesic": lambda z, w, v, g: logits.e_geodesic(z, w, 0.25),
    "e_geodesic, 0": lambda z, w, v, g: logits.e_geodesic(z, w, 0.0),
    "m_geodesic": lambda z, w, v, g: logits.m_geodesic(z, w, 0.25),
    "alpha_geodesic": lambda z, w, v, g: logits.alpha_geodesic(z, w, 0.25, alpha=0.5),
    "alpha_geodesic, 1.5": lambda z, w, v, g: logits.alpha_geodesic(z, w, 0.25, alpha=1.5),
    "exp_map": lambda z, w, v, g: logits.exp_map(z, v),
    "exp_map of log_map": lambda z, w, v, g: logits.exp_map(z, logits.log_map(z, w)),
    "e_mean": lambda z, w, v, g: logits.e_mean(z, weights=[1, 2, 3, 4]),
    "m_mean": lambda z, w, v, g: logits.m_mean(z),
    "frechet_mean": lambda z, w, v, g: frechet_mean(z, space=logits).point,
}
VECTORS = {
    "sphere_embedding": lambda z, w, v, g: logits.sphere_embedding(z),
    "to_simplex": lambda z, w, v, g: logits.to_simplex(z),
    "apply_fisher": lambda z, w, v, g: logits.apply_fisher(z, v),
    "log_map": lambda z, w, v, g: logits.log_map(z, w),
    "parallel_transport": lambda z, w, v, g: logits.parallel_transport(z, w, v),
    "e_transport": lambda z, w, v, g: logits.e_transport(z, w, v),
    "m_transport": lambda z, w, v, g: logits.m_transport(z, w, v),
}
UP_TO_CONSTANTS = {  # their sum over all classes is 0, masked ones included
    "natural_gradient": lambda z, w, v, g: logits.natural_gradient(z, g),
    "apply_inverse_fisher": lambda z, w, v, g: logits.apply_inverse_fisher(z, g),
}
ALL = {**NUMBERS, **POINTS, **VECTORS, **UP_TO_CONSTANTS}
# The two that see the mask itself have tests of their own.
APART = {"quotient_norm", "fisher_information", "dimension"}


def test_every_verb_is_here():
    assert set(logits.__all__) <= {name.partition(",")[0] for name in ALL} | APART


SMALLEST = "the smallest number"
MASKS = {  # of z and of w
    "-1e8": (-1e8, -1e8),
    "-1e9": (-1e9, -1e9),
    "smallest": (SMALLEST, SMALLEST),
    "of two kinds": (-1e9, SMALLEST),
    "of two kinds, exchanged": (SMALLEST, -1e9),
    "of two sizes": (-1e9, -1.0001e9),
    "infinite": (-np.inf, -np.inf),
}
# A class that p excludes, and q excludes much more, is all there is of a high power of p / q.
SEEN = {
    "of two kinds": {"renyi_divergence, 10", "chi_square_divergence"},
    "of two kinds, exchanged": {"alpha_divergence, 3"},
}
ONE, THREE = [2], [0, 3, 4]  # where classes are inserted


def masked(x, value, places, dtype):
    """Insert classes so that they stand at the given places."""
    value = float(np.finfo(dtype).min) if value == SMALLEST else value
    result = np.full((*x.shape[:-1], x.shape[-1] + len(places)), value)
    result[..., kept(places)] = x
    return result


def kept(places):
    return [i for i in range(3 + len(places)) if i not in places]


def arguments(mask, places, dtype, rows=slice(None)):
    values = (*MASKS[mask], 0.0, 0.0)
    points = (Z, W, V, G)
    return [masked(x[rows], y, places, dtype) for x, y in zip(points, values, strict=True)]


def differences(name, value):
    """Return what of a result does not depend on the masked classes."""
    return value - value[..., :1] if name in UP_TO_CONSTANTS else value


def applicable(mask):
    for name, call in ALL.items():
        needs_finite = name in UP_TO_CONSTANTS
        if name not in SEEN.get(mask, ()) and not (needs_finite and mask == "infinite"):
            yield name, call


def library(name):
    pytest.importorskip(name)
    return Library(name)


# Hundreds of small operations, each of which jax compiles.
SLOW = {"alpha_geodesic", "alpha_geodesic, 1.5"}
CASES = [(name, dtype, mask) for name in ("numpy", "torch") for dtype in DTYPES for mask in MASKS]
CASES += [
    pytest.param(*("jax", "float32", "smallest"), marks=[pytest.mark.slow, pytest.mark.campaign])
]


@pytest.mark.parametrize(("lib_name", "dtype", "mask"), CASES)
def test_masked_classes_are_as_good_as_left_out(lib_name, dtype, mask):
    lib = library(lib_name)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    for places in (ONE, THREE) if lib_name == "numpy" else (THREE,):
        given = [lib.array(x, dtype) for x in arguments(mask, places, dtype)]
        for name, call in applicable(mask):
            if name in SLOW and lib_name == "jax":
                continue
            value, expected = lib.to_numpy(call(*given)), call(Z, W, V, G)
            if name not in NUMBERS:
                if name in POINTS:
                    gone = np.delete(value, kept(places), axis=-1)
                    assert (gone.max(-1) < value.max(-1) - 1e4).all(), name
                value = value[..., kept(places)]
            np.testing.assert_allclose(
                differences(name, value),
                differences(name, expected),
                rtol=tolerance,
                atol=tolerance,
                err_msg=name,
            )


def derivatives(torch, call, name, given, dtype, rest):
    """Return the gradients and Hessians, by z, w and v, of a number made of the result."""
    given = [torch.tensor(x, dtype=dtype) for x in given]

    def number(i, x):
        value = call(*given[:i], x, *given[i + 1 :])
        return value if value.ndim == 0 else torch.sum(differences(name, value[..., rest]) ** 2)

    for i in range(3):
        by_argument = functools.partial(number, i)
        yield torch.autograd.functional.jacobian(by_argument, given[i]).numpy()[rest]
        hessian = torch.autograd.functional.hessian(by_argument, given[i]).numpy()
        yield hessian[rest][..., rest]


DIFFERENTIATED = set(ALL) - SLOW - {"e_mean", "m_mean", "frechet_mean"}  # no batches
WHERE = [
    ("float32", "-1e9"),
    ("float32", "of two kinds"),
    ("float64", "smallest"),
    ("float64", "infinite"),
]


@pytest.mark.parametrize("name", sorted(DIFFERENTIATED))
def test_derivatives_do_not_see_masked_classes(name):
    torch = pytest.importorskip("torch")
    call = ALL[name]
    free = [x[0] for x in (Z, W, V, G)]
    expected = list(derivatives(torch, call, name, free, torch.float64, [0, 1, 2]))
    for dtype, mask in WHERE:
        if (name, call) not in applicable(mask):
            continue
        given = arguments(mask, THREE, dtype, rows=0)
        value = derivatives(torch, call, name, given, getattr(torch, dtype), kept(THREE))
        tolerance = 1e-4 if dtype == "float32" else 1e-11
        for ours, exact in zip(value, expected, strict=True):
            size = max(1.0, np.abs(exact).max())
            np.testing.assert_allclose(ours, exact, rtol=tolerance, atol=tolerance * size)


# ---------------------------------------------------------------- what sees the mask


def test_the_mean_of_two_masked_predictions():
    z = np.array([[0, 1, -1e9, -1e9], [0.5, 1, -1e9, -1e9]], np.float32)
    mean = logits.to_simplex(logits.e_mean(z))
    np.testing.assert_allclose(mean, [0.3208213, 0.6791787, 0, 0], rtol=1e-6)  # 1 / (1 + exp .75)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_representative_leaves_masks_out_of_its_sum(dtype):
    smallest = np.finfo(dtype).min
    z = logits.canonical(np.array([2.0, smallest, 4.0, smallest, -1e9], dtype))
    np.testing.assert_array_equal(z[[0, 2]], [-1, 1])
    np.testing.assert_allclose(z[[1, 3, 4]], [smallest, smallest, -1e9], rtol=1e-6)
    # Predictions that are only saturated have the sum 0.
    np.testing.assert_array_equal(logits.canonical(np.array([80.0, -80.0], dtype)), [80, -80])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mask", [-1e9, SMALLEST])
@pytest.mark.parametrize("num_masked", [1, 2, 3])
def test_quotient_norm_of_finite_masks(dtype, mask, num_masked):
    z = masked(Z[0], mask, [2, 3, 4][:num_masked], dtype).astype(dtype)
    with mpmath.workdps(60):
        exact = [mpmath.mpf(float(x)) for x in z]
        mean = mpmath.fsum(exact) / len(exact)
        ordered, half = sorted(exact), len(exact) // 2
        norms = {
            2: float(mpmath.sqrt(mpmath.fsum((x - mean) ** 2 for x in exact))),
            np.inf: float((ordered[-1] - ordered[0]) / 2),
            1: float(mpmath.fsum(ordered[len(exact) - half :]) - mpmath.fsum(ordered[:half])),
        }
    for order, norm in norms.items():
        with np.errstate(over="ignore"):
            expected = np.dtype(dtype).type(norm)  # the largest number, or inf beyond it
        value = logits.quotient_norm(z, order=order)
        np.testing.assert_allclose(value, expected, rtol=8 * np.finfo(dtype).eps)


def test_a_class_of_no_probability_has_no_boundary():
    """A change that is 0 at masked classes is large there, seen from a constant added to it."""
    z, v = [0.0, 1.0, -1e9], [10.0, 10.5, 0.0]
    reduced = logits.boundary_time(z[:2], v[:2])
    assert logits.boundary_time(z, v) == reduced
    np.testing.assert_allclose(
        logits.exp_map(z, v)[:2], logits.exp_map(z[:2], v[:2]), rtol=1e-14, atol=0
    )


def test_gradients_of_losses_stay_finite_beside_masks(rng):
    """Their sums are 0 up to rounding only, and the rest must not reach the masked classes."""
    z, g = rng.normal(size=(2, 200, 7))
    p = logits.to_simplex(z)
    g = p - rng.permuted(np.eye(7)[:, [0] * 200].T, axis=1)
    masks = np.full((200, 3), -1e9)
    value = logits.natural_gradient(np.hstack([z, masks]), np.hstack([g, np.zeros((200, 3))]))
    np.testing.assert_allclose(value - value[:, -1:], np.hstack([g / p, masks * 0]), rtol=1e-11)


@pytest.mark.parametrize("mask", [-1e9, SMALLEST, -np.inf])
def test_neighbours_and_clusters_of_masked_predictions(rng, mask):
    pytest.importorskip("sklearn")
    from infogeo.interop.sklearn import FisherRaoKMeans

    centres = np.repeat([[2.0, 0.0, -1.0], [-1.0, 0.0, 2.0]], 20, axis=0)
    free = (centres + 0.25 * rng.normal(size=(40, 3))).astype(np.float32)
    z = masked(free, mask, [1, 4, 5], np.float32).astype(np.float32)
    d = pairwise_distance(free, space=logits)
    np.testing.assert_allclose(pairwise_distance(z, space=logits), d, rtol=1e-4)
    found = nearest(z, num_neighbors=3, space=logits)
    np.testing.assert_array_equal(
        found.indices, nearest(free, num_neighbors=3, space=logits).indices
    )
    kmeans = FisherRaoKMeans(n_clusters=2, random_state=0, from_logits=True).fit(z)
    np.testing.assert_array_equal(kmeans.labels_[:20], kmeans.labels_[0])
    np.testing.assert_array_equal(kmeans.labels_[20:], 1 - kmeans.labels_[0])
    assert np.isfinite(kmeans.inertia_)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("alpha", [1.5, -7.0, 20.0])
def test_alpha_geodesics_of_a_class_that_only_one_end_masks(dtype, alpha):
    """Powers of finite masks overflow, and masks of two sizes are as far apart as numbers go."""
    free = np.array([[0.0, 1.0, -0.5, 0.25], [1.0, 0.25, -0.5, 0.3]])
    smallest = float(np.finfo(dtype).min)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for of_z, of_w in [(-1e9, 0.3), (smallest, 0.3), (0.3, smallest), (smallest, -1e9)]:
        given, infinite = free.copy(), free.copy()
        given[:, 3] = of_z, of_w
        infinite[:, 3] = [-np.inf if x < -1e4 else x for x in (of_z, of_w)]
        for t in (0.25, 1.0):
            value = logits.alpha_geodesic(*given.astype(dtype), t, alpha=alpha)
            expected = logits.to_simplex(logits.alpha_geodesic(*infinite, t, alpha=alpha))
            np.testing.assert_allclose(
                logits.to_simplex(value), expected, rtol=tolerance, atol=tolerance
            )
