"""Saturated logits against 200-digit references: the other classes are all that is left to see."""

import mpmath
import numpy as np
import pytest

from conftest import Library
from infogeo import logits
from infogeo.neighbors import nearest, pairwise_distance

DTYPES = ["float32", "float64"]


@pytest.fixture(autouse=True)
def _two_hundred_digits():
    with mpmath.workdps(200):
        yield


def exact(x):
    return [mpmath.mpf(float(y)) for y in x]


def exact_roots(z):
    roots = [mpmath.exp(x / 2) for x in exact(z)]
    length = mpmath.sqrt(mpmath.fsum(x * x for x in roots))
    return [x / length for x in roots]


def dot(x, y):
    return mpmath.fsum(a * b for a, b in zip(x, y, strict=True))


def exact_distance(z, w):
    x, y = exact_roots(z), exact_roots(w)
    return 4 * mpmath.asin(mpmath.norm([a - b for a, b in zip(x, y, strict=True)]) / 2)


def relative_error(value, reference):
    if reference == 0:
        return abs(float(value))
    return float(abs(mpmath.mpf(float(value)) - reference) / abs(reference))


# ---------------------------------------------------------------- distances, on every path


def near_pairs(rng, saturation, dtype):
    """Pairs that share their predicted class, with 2, 3 or 5 classes, in all gauges."""
    for num_outcomes in (2, 2, 3, 5):
        size = saturation * rng.uniform(0.2, 1.0)
        z = rng.uniform(-size, size, num_outcomes)
        change = 10.0 ** rng.uniform(-9, 1) * rng.normal(size=num_outcomes)
        for w in (z + change, z + change + rng.uniform(-size, size), np.append(z[:1], z[1:] - 9.0)):
            yield z.astype(dtype), w.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("saturation", [10.0, 80.0, 350.0, 700.0])
def test_distances_on_every_path(rng, dtype, saturation):
    eps = np.finfo(dtype).eps
    exactly, promised = 200 * eps, 1e-10 if dtype == "float64" else 1e-4
    pairs = list(near_pairs(rng, saturation, dtype))
    if dtype == "float64":
        pairs.append((np.array([38.66, -189.90]), np.array([1.99, -226.56])))
    for z, w in pairs:
        expected = exact_distance(z, w)
        if expected < np.finfo(dtype).tiny:
            continue
        assert relative_error(logits.fisher_rao_distance(z, w), expected) < exactly
        # Batches and blocks of one pair, so that every form of pairs has to measure it.
        some, others = np.stack([z] * 12), np.stack([w] * 9)
        blocks = [pairwise_distance(z[None], w[None], space=logits)[0, 0]]
        blocks.append(pairwise_distance(some, others, space=logits)[7, 5])
        blocks.append(pairwise_distance(np.stack([z, w]), space=logits)[0, 1])
        found = nearest(z[None], np.stack([w, z[::-1]]), num_neighbors=2, space=logits)
        blocks.append(found.distances[0, list(found.indices[0]).index(0)])
        assert max(relative_error(d, expected) for d in blocks) < promised


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gain", [20.0, 60.0, 100.0, 400.0, 1600.0])
def test_near_pairs_with_a_class_that_gains_a_large_factor(gain, dtype):
    # The third class gains exp(gain) and stays improbable: the pair stays near. Far pairs beside
    # it, and near ones alone, take the two ways into the form for near pairs.
    z = np.array([0.3, -0.2, -30.0], dtype=dtype)
    w = np.array([0.31, -0.2, -30.0 - gain], dtype=dtype)
    expected = exact_distance(z, w)
    eps = np.finfo(dtype).eps
    far = np.array([-9.0, 9.0, 0.0], dtype=dtype)
    for others in ([], [far] * 3):
        d = logits.fisher_rao_distance(np.stack([z, *others]), np.stack([w, *others[::-1]]))
        assert relative_error(d[0], expected) < 200 * eps
        d = logits.fisher_rao_distance(np.stack([w, *others]), np.stack([z, *-np.array(others)]))
        assert relative_error(d[0], expected) < 200 * eps


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_alpha_divergence_counts_classes_that_underflow(sign):
    # p^-2.5 q^3.5 is 1 at both classes: exp(2800 - 2800), though neither probability is a number.
    z, w = [0.0, -1120.0], [0.0, -800.0]
    z, w = (z, w) if sign > 0.0 else (w, z)
    d = logits.alpha_divergence(z, w, alpha=6.0 * sign)
    assert relative_error(d, mpmath.mpf(4) / 35) < 1e-12


def test_distances_of_other_libraries():
    pytest.importorskip("torch")
    lib = Library("torch")
    z, w = np.array([[38.66, -189.90], [700.0, -700.0]]), np.array([[1.99, -226.56], [701.0, -700]])
    values = lib.to_numpy(logits.fisher_rao_distance(*map(lib.array, (z, w))))
    for value, a, b in zip(values, z, w, strict=True):
        assert relative_error(value, exact_distance(a, b)) < 1e-13


SQUARES_UNDERFLOW = [("float64", 1300.0), ("float32", 160.0)]


@pytest.mark.parametrize(("dtype", "gap"), SQUARES_UNDERFLOW)
def test_distances_whose_squares_underflow(lib, dtype, gap):
    for z, w in (([0.0, -gap], [0.0, 1.0 - gap]), ([0.0, 0.0, -gap], [3.0, 3.0, 1.0 - gap])):
        expected = exact_distance(z, w)
        value = logits.fisher_rao_distance(lib.array(z, dtype), lib.array(w, dtype))
        hellinger = logits.hellinger_distance(lib.array(z, dtype), lib.array(w, dtype))
        tolerance = 2 * gap * np.finfo(dtype).eps
        assert relative_error(lib.to_numpy(value), expected) < tolerance
        assert relative_error(lib.to_numpy(hellinger), expected / mpmath.sqrt(8)) < tolerance


# ---------------------------------------------------------------- tangent vectors


def exact_score(z, v):
    p, v = [x * x for x in exact_roots(z)], exact(v)
    mean = dot(p, v)
    return [x - mean for x in v]


def exact_length(z, v):
    return mpmath.norm([x * s for x, s in zip(exact_roots(z), exact_score(z, v), strict=True)])


def exact_boundary_time(z, v):
    length = exact_length(z, v)
    return min(2 * mpmath.atan2(length, -s) / length for s in exact_score(z, v))


def exact_log_map(z, w):
    x, y = exact_roots(z), exact_roots(w)
    cosine = dot(x, y)
    angle = mpmath.acos(cosine)
    return [2 * angle / mpmath.sin(angle) * (b / a - cosine) for a, b in zip(x, y, strict=True)]


def exact_parallel_transport(z, w, v):
    x, y = exact_roots(z), exact_roots(w)
    change = [a * s / 2 for a, s in zip(x, exact_score(z, v), strict=True)]
    factor = dot(y, change) / (1 + dot(x, y))
    moved = [c - factor * (a + b) for c, a, b in zip(change, x, y, strict=True)]
    return [2 * c / b for c, b in zip(moved, y, strict=True)]


TANGENT = {
    "e_transport": (logits.e_transport, lambda z, w, v: exact_score(w, v)),
    "boundary_time": (
        lambda z, w, v: logits.boundary_time(z, v),
        lambda z, w, v: exact_boundary_time(z, v),
    ),
    "norm": (lambda z, w, v: logits.norm(z, v), lambda z, w, v: exact_length(z, v)),
    "apply_fisher": (
        lambda z, w, v: logits.apply_fisher(z, v),
        lambda z, w, v: [x * x * s for x, s in zip(exact_roots(z), exact_score(z, v), strict=True)],
    ),
    "log_map": (lambda z, w, v: logits.log_map(z, w), lambda z, w, v: exact_log_map(z, w)),
    "parallel_transport": (logits.parallel_transport, exact_parallel_transport),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("ours", "reference"), TANGENT.values(), ids=TANGENT)
def test_tangent_vectors_keep_the_digits_of_every_class(rng, dtype, ours, reference):
    for saturation in (20.0, 40.0) if dtype == "float32" else (20.0, 100.0, 330.0):
        z = np.array([saturation, -saturation, 0.3, -1.7]).astype(dtype)
        w = (z + rng.normal(size=4)).astype(dtype)
        v = rng.normal(size=4).astype(dtype)
        value, expected = np.ravel(ours(z, w, v)), reference(z, w, v)
        expected = expected if isinstance(expected, list) else [expected]
        for x, y in zip(value, expected, strict=True):
            assert relative_error(x, y) < 8 * saturation * np.finfo(dtype).eps


# ---------------------------------------------------------------- ends, warnings, derivatives


@pytest.mark.parametrize("curve", [logits.m_geodesic, logits.fisher_rao_geodesic])
@pytest.mark.parametrize("t", [0.0, 1.0])
def test_geodesics_arrive_at_points_of_any_depth(lib, curve, t):
    for dtype, gap in (("float32", 170.0), ("float64", 1400.0)):
        z, w = [0.0, 0.0, -gap], [-gap, 0.0, -2.0]
        arrived = curve(lib.array(z, dtype), lib.array(w, dtype), t)
        expected = logits.canonical(np.array(w if t == 1.0 else z))
        tolerance = 8 * np.finfo(dtype).eps
        np.testing.assert_allclose(
            lib.to_numpy(arrived), expected, rtol=tolerance, atol=gap * tolerance
        )


def test_mixtures_count_from_the_larger_term():
    """A tiny weight of a class that the other point all but excludes."""
    z, w, t = np.array([0.0, -300.0]), np.array([0.0, 0.0]), 1e-100
    value = logits.m_geodesic(z, w, t)
    expected = np.log1p(-t / 2) - (np.log(t) - np.log(2.0))
    assert value[0] - value[1] == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [100.0, 1e3, 1e5, 1e30])
def test_no_warnings_and_no_nan(rng, dtype, scale):
    z, w = (scale * rng.normal(size=(2, 30, 4))).astype(dtype)
    v = rng.normal(size=(30, 4)).astype(dtype)
    pairs = [logits.fisher_rao_distance, logits.fisher_rao_squared_distance, logits.log_map]
    pairs += [logits.kl_divergence, logits.jeffreys_divergence, logits.hellinger_distance]
    pairs += [logits.bhattacharyya_coefficient]
    curves = [logits.fisher_rao_geodesic, logits.m_geodesic, logits.e_geodesic]
    alone = [logits.entropy, logits.canonical, logits.quotient_norm, logits.fisher_information]
    moving = [logits.norm, logits.boundary_time, logits.apply_fisher, logits.natural_gradient]
    transports = [logits.parallel_transport, logits.e_transport, logits.m_transport]
    results = [f(z, w) for f in pairs] + [f(z, w, t) for f in curves for t in (0.0, 0.3, 1.0)]
    results += [f(z) for f in alone] + [f(z, v) for f in moving] + [f(z, w, v) for f in transports]
    results += [logits.renyi_divergence(z, w, order=x) for x in (0.0, 0.3, 2.0, 10.0, np.inf)]
    results += [logits.alpha_divergence(z, w, alpha=x) for x in (-3.0, -1.0, 0.3, 1.0, 2.0)]
    assert not any(np.isnan(x).any() for x in results)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_hessian_of_jeffreys_divergence_is_twice_the_metric(dtype):
    torch = pytest.importorskip("torch")
    for z in ([0.3, -1.0, 2.0, 0.1], [30.0, 0.0, -30.0, 1.0]):
        z = torch.tensor(z, dtype=getattr(torch, dtype))
        for i in range(2):
            hessian = torch.func.hessian(logits.jeffreys_divergence, argnums=i)(z, z)
            metric = 2.0 * logits.fisher_information(z)
            tolerance = 100 * torch.finfo(z.dtype).eps
            torch.testing.assert_close(hessian, metric, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("order", [0.5, 2.0, 10.0, 50.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_renyi_divergences(order, dtype):
    """By z it is order / (order - 1) (r - p), by w q - r, r the e-mixture of weight order."""
    torch = pytest.importorskip("torch")
    near_vertex = [-11.5129, 0.0]
    for a, b in (([0.0, 0.0], near_vertex), (near_vertex, [0.0, 0.0]), ([3.0, 1.0], [9.0, -9.0])):
        z, w = (torch.tensor(x, dtype=getattr(torch, dtype), requires_grad=True) for x in (a, b))
        value = torch.autograd.grad(logits.renyi_divergence(z, w, order=order), (z, w))
        z, w = z.detach(), w.detach()
        exponents = [order * x + (1 - order) * y for x, y in zip(exact(z), exact(w), strict=True)]
        p, q, r = ([y * y for y in exact_roots(x)] for x in (z, w, exponents))
        expected = [order / (order - 1) * (s - x) for s, x in zip(r, p, strict=True)]
        expected += [x - s for s, x in zip(r, q, strict=True)]
        np.testing.assert_allclose(
            torch.cat(value).numpy(),
            [float(x) for x in expected],
            rtol=200 * np.finfo(dtype).eps,
            atol=20 * np.finfo(dtype).eps,
        )
