"""Every family of `infogeo.manifolds`: what all of them have to do, in one table of points."""

import itertools
import json
from pathlib import Path

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from matplotlib import pyplot
from torch import distributions

import infogeo
from infogeo import _spaces, manifolds, testing
from infogeo._points import fields
from infogeo.interop.distributions import from_distribution
from infogeo.manifolds import Exponential, Laplace
from infogeo.manifolds._half_plane import HalfPlane
from infogeo.manifolds._line import Line
from infogeo.mean import frechet_mean
from infogeo.neighbors import pairwise_distance
from infogeo.plot import densities

# For each family two points, as the numbers of their fields.
POINTS = {
    "bernoulli": ((0.2,), (0.7,)),
    "binomial": ((6.0, 0.2), (6.0, 0.7)),
    "cauchy": ((0.5, 1.5), (-1.0, 0.7)),
    "exponential": ((0.5,), (3.0,)),
    "frechet": ((2.0, 3.5), (1.0, 5.0)),
    "generalized_normal": ((0.5, 1.5, 3.0), (-1.0, 0.7, 3.0)),
    "geometric": ((0.2,), (0.7,)),
    "gumbel": ((0.5, 1.5), (-1.0, 0.7)),
    "gumbel_min": ((0.5, 1.5), (-1.0, 0.7)),
    "half_normal": ((0.5,), (3.0,)),
    "inverse_gaussian": ((1.0, 2.0), (2.5, 0.7)),
    "laplace": ((0.5, 1.5), (-1.0, 0.7)),
    "log_normal": ((0.5, 0.5), (-1.0, 0.7)),
    "logistic": ((0.5, 1.5), (-1.0, 0.7)),
    "maxwell": ((0.5,), (3.0,)),
    "negative_binomial": ((2.5, 0.3), (2.5, 0.75)),
    "pareto": ((2.0, 2.5), (2.0, 7.0)),
    "rayleigh": ((0.5,), (3.0,)),
    "student_t": ((4.0, 0.5, 1.5), (4.0, -1.0, 0.7)),
    "weibull": ((2.0, 1.5), (1.0, 3.0)),
}
FAMILIES = {name: _spaces.resolve(name) for name in POINTS}
EACH = pytest.mark.parametrize("name", POINTS)


def points_of(name, convert=np.array):
    return [FAMILIES[name].POINTS(*(convert(x) for x in p)) for p in POINTS[name]]


NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)


def grid(a, b, num_panels=80):
    """Return where two distributions have their probability, and weights that integrate there."""
    given = [manifolds.to_distribution(point) for point in (a, b)]
    if all(isinstance(x.dist, scipy.stats.rv_discrete) for x in given):
        top = max(x.ppf(1.0 - 1e-15) + 5 for x in given)
        x = np.arange(0, min(top, *(x.support()[1] for x in given)) + 1)
        return x, np.ones(len(x))
    ends = np.array([x.ppf([1e-15, 1.0 - 1e-15]) for x in given])
    # Gauss' rule on panels, which are even in log x or, for heavy tails on both sides, in arsinh x.
    is_positive = ends.min() >= 0.0
    low = ends.min() * (1.0 + 1e-14 * is_positive)  # inside the support, after rounding
    corners = [] if is_positive else [float(x.loc) for x in (a, b)]
    straight, back, slope = (
        (np.log, np.exp, np.exp) if is_positive else (np.arcsinh, np.sinh, np.cosh)
    )
    stops = straight(sorted([low, *corners, ends.max()]))
    edges = [np.linspace(*pair, num_panels)[:-1] for pair in itertools.pairwise(stops)]
    edges = np.append(np.concatenate(edges), stops[-1])
    half = 0.5 * np.diff(edges)[:, None]
    v = (0.5 * (edges[1:] + edges[:-1])[:, None] + half * NODES).ravel()
    return back(v), (half * WEIGHTS).ravel() * slope(v)


def expectation(function, a, b):
    """Return the sum or the integral of a function of x over the supports of two points."""
    x, weights = grid(a, b)
    return weights @ function(x)


@EACH
def test_every_family_keeps_the_contract(name):
    space, given = FAMILIES[name], POINTS[name][0]
    constants = {
        f: v for f, v in zip(space.POINTS.rules, given, strict=True) if f in space.POINTS.constants
    }
    names = list(space.TANGENTS.rules)
    is_half_plane = isinstance(space, HalfPlane)

    def draw(rng):
        values = [rng.normal() if f == "loc" else np.exp(0.4 * rng.normal()) for f in names]
        if names == ["probs"]:
            values = [0.2 + 0.6 * rng.random()]
        return space.POINTS(**dict(zip(names, values, strict=True)), **constants)

    def vector(rng, a):
        return space.TANGENTS(*rng.normal(size=len(names)))

    a = draw(np.random.default_rng(0))
    curvature = None
    if is_half_plane:
        curvature = float(
            manifolds.sectional_curvature(a, *(vector(np.random.default_rng(i), a) for i in (1, 2)))
        )
    corner = {"kl_is_half_the_squared_distance_to_third_order": "the density has a corner"}
    report = testing.check_space(
        space,
        draw,
        vector,
        dimension=len(names),
        curvature=curvature,
        num_draws=2,
        slack=20.0 if names == ["probs"] else 1.0,  # near probabilities differ by their rounding
        skip=corner if name == "laplace" else None,
    )
    expected = set()
    if not is_half_plane:
        expected.add("curvature_is_what_is_said")
    elif getattr(space, "e_transport", None) is None:
        expected.add("e_and_m_transports_are_dual")
    if space.kl_divergence is None:
        expected |= {
            "kl_is_half_the_squared_distance_to_third_order",
            "jeffreys_is_the_sum_of_both_divergences",
        }
    assert set(report.absent) == expected


def test_every_line_and_half_plane_is_here():
    known = {n for n, s in _spaces.registered().items() if isinstance(s, Line | HalfPlane)}
    assert known - {"poisson"} == set(POINTS)


@EACH
def test_densities_are_those_of_scipy(name):
    for point in points_of(name):
        space, given = FAMILIES[name], manifolds.to_distribution(point)
        x = space.window(point)[1:-1]
        expected = given.logpmf(x) if x.dtype.kind == "i" else given.logpdf(x)
        x, expected = x[expected > -500.0], expected[expected > -500.0]
        np.testing.assert_allclose(space.log_density(point, x), expected, rtol=1e-10, atol=1e-12)
        again = from_distribution(given, space=name)
        np.testing.assert_allclose(fields(again), fields(point), rtol=1e-15)


@EACH
def test_divergences_are_integrals_of_the_densities(name):
    """Against scipy's densities, which know nothing of the formulas."""
    a, b = points_of(name)
    space = FAMILIES[name]
    p, q = (lambda x, c=c: space.log_density(c, x) for c in (a, b))
    if space.kl_divergence is not None:
        seen = expectation(lambda x: np.exp(p(x)) * (p(x) - q(x)), a, b)
        np.testing.assert_allclose(manifolds.kl_divergence(a, b), seen, rtol=1e-9)
        both = manifolds.kl_divergence(a, b) + manifolds.kl_divergence(b, a)
        np.testing.assert_allclose(manifolds.jeffreys_divergence(a, b), both, rtol=1e-13)
    if space.bhattacharyya_coefficient is not None:
        seen = expectation(lambda x: np.exp(0.5 * (p(x) + q(x))), a, b)
        found = manifolds.bhattacharyya_coefficient(a, b)
        np.testing.assert_allclose(found, seen, rtol=1e-9)
        hellinger = manifolds.hellinger_distance(a, b)
        np.testing.assert_allclose(hellinger**2, 1.0 - seen, rtol=1e-8)


def moved(point, field, step):
    values = {name: float(getattr(point, name)) for name in point.rules}
    return type(point)(**values | {field: values[field] + step})


@EACH
def test_the_metric_is_the_covariance_of_the_score(name):
    """By scipy's densities and central differences of them."""
    space, (a, _) = FAMILIES[name], points_of(name)
    names = [field for field in a.rules if field not in a.constants]

    def score(x, field):
        h = 1e-4 * max(0.1, abs(float(getattr(a, field))))
        values = [space.log_density(moved(a, field, k * h), x) for k in (-2, -1, 1, 2)]
        return (values[0] - 8.0 * values[1] + 8.0 * values[2] - values[3]) / (12.0 * h)

    expected = [
        [
            expectation(
                lambda x, m=m, n=n: np.exp(space.log_density(a, x)) * score(x, m) * score(x, n),
                a,
                a,
            )
            for m in names
        ]
        for n in names
    ]
    np.testing.assert_allclose(
        manifolds.fisher_information(a),
        expected,
        rtol=2e-4 if name == "laplace" else 1e-7,
        atol=1e-7,
    )
    units = [space.TANGENTS(*row) for row in np.eye(len(names))]
    gram = [[float(manifolds.inner_product(a, u, v)) for u in units] for v in units]
    np.testing.assert_allclose(manifolds.fisher_information(a), gram, rtol=1e-14, atol=1e-15)


@EACH
def test_christoffel_symbols_are_derivatives_of_the_metric(name):
    a, _ = points_of(name)
    names = [field for field in a.rules if field not in a.constants]
    h = 1e-5
    slopes = np.array(
        [
            (
                manifolds.fisher_information(moved(a, field, h))
                - manifolds.fisher_information(moved(a, field, -h))
            )
            / (2 * h)
            for field in names
        ]
    )
    lower = 0.5 * (np.einsum("ikj->kij", slopes) + np.einsum("jki->kij", slopes) - slopes)
    expected = np.einsum("kl,lij->kij", np.linalg.inv(manifolds.fisher_information(a)), lower)
    np.testing.assert_allclose(manifolds.christoffel_symbols(a), expected, rtol=1e-8, atol=1e-8)


@EACH
def test_libraries_and_dtypes_agree(name):
    a, b = points_of(name)
    space = FAMILIES[name]
    for dtype, rtol in ((torch.float64, 1e-13), (torch.float32, 2e-6)):
        c, d = points_of(name, lambda x, dtype=dtype: torch.tensor(x, dtype=dtype))
        for verb in ("fisher_rao_distance", "kl_divergence", "hellinger_distance"):
            if getattr(space, verb) is None:
                continue
            found, expected = (getattr(manifolds, verb)(*x) for x in ((c, d), (a, b)))
            assert found.dtype == dtype
            np.testing.assert_allclose(found, expected, rtol=rtol)
        middle = fields(manifolds.fisher_rao_geodesic(c, d, 0.3))
        expected = fields(manifolds.fisher_rao_geodesic(a, b, 0.3))
        np.testing.assert_allclose([float(x) for x in middle], expected, rtol=4 * rtol, atol=rtol)


@EACH
def test_squared_distances_are_smooth_at_equal_points(name):
    space = FAMILIES[name]
    values = [torch.tensor(x, dtype=torch.float64) for x in POINTS[name][0]]
    a = space.POINTS(*values)
    names = list(space.TANGENTS.rules)
    x = torch.stack([getattr(a, field) for field in names])

    def squared(y):
        parts = {field: getattr(a, field) for field in a.rules}
        moved = space.POINTS(**parts | dict(zip(names, y, strict=True)), check=False)
        return manifolds.fisher_rao_squared_distance(a, moved, check=False)

    np.testing.assert_allclose(torch.func.grad(squared)(x), 0.0, atol=1e-14)
    hessian = torch.func.hessian(squared)(x)
    np.testing.assert_allclose(
        hessian, 2.0 * manifolds.fisher_information(a), rtol=1e-12, atol=1e-13
    )


@EACH
@pytest.mark.parametrize(
    ("verb", "factor"),
    [("kl_divergence", 1.0), ("jeffreys_divergence", 2.0), ("bhattacharyya_coefficient", -0.25)],
)
def test_second_derivatives_of_divergences_are_the_metric(name, verb, factor):
    """At equal points, where formulas have their branches."""
    space = FAMILIES[name]
    if getattr(space, verb, None) is None:
        return
    values = [torch.tensor(x, dtype=torch.float64) for x in POINTS[name][0]]
    a = space.POINTS(*values)
    names = list(space.TANGENTS.rules)

    def divergence(y):
        parts = {field: getattr(a, field) for field in a.rules}
        moved = space.POINTS(**parts | dict(zip(names, y, strict=True)), check=False)
        return getattr(manifolds, verb)(a, moved, check=False)

    hessian = torch.func.hessian(divergence)(torch.stack([getattr(a, field) for field in names]))
    expected = factor * manifolds.fisher_information(a)
    np.testing.assert_allclose(hessian, expected, rtol=1e-12, atol=1e-13)


@EACH
def test_the_rest_of_the_package_knows_it(name, tmp_path):
    a, b = points_of(name)
    space, batch = FAMILIES[name], FAMILIES[name].POINTS.stack(points_of(name))
    d = pairwise_distance(batch, space=name)
    np.testing.assert_allclose(d[0, 1], infogeo.fisher_rao_distance(a, b), rtol=1e-14)
    mean = frechet_mean(batch, space=name, weights=[3.0, 1.0])
    np.testing.assert_allclose(
        manifolds.fisher_rao_distance(a, mean.point), 0.25 * d[0, 1], rtol=1e-7
    )
    velocity = manifolds.log_map(a, b)
    for saved in (batch, velocity):
        infogeo.save(saved, tmp_path / "x.npz")
        again = infogeo.load(tmp_path / "x.npz")
        assert type(again) is type(saved)
        np.testing.assert_array_equal(fields(again), fields(saved))
    assert len(densities(batch).lines) == 2
    pyplot.close("all")
    assert space.dimension(a) == len(fields(velocity))


@EACH
def test_samples_lead_back_to_the_distribution(name):
    """Within five standard errors of the Fisher information; fitted to a batch, and by classes."""
    num, batch = 4000, FAMILIES[name].POINTS.stack(points_of(name))
    x = manifolds.sample(batch, (num,), rng=5)
    constants = {field: float(getattr(batch, field)[0]) for field in batch.constants}
    fitted = type(batch).fit(x, **constants)
    assert np.all(manifolds.fisher_rao_distance(batch, fitted) < 5.0 * num**-0.5)
    labels = np.arange(num) % 2
    by_class = type(batch).fit(x[:, 0], labels=labels, **constants)
    alone = type(batch).fit(x[::2, 0], **constants)
    np.testing.assert_allclose(fields(by_class[0]), fields(alone), rtol=1e-10)
    tensor = torch.tensor(x, dtype=torch.float64)
    found = type(batch).fit(tensor, **constants)
    np.testing.assert_allclose(fields(found)[-1], fields(fitted)[-1], rtol=1e-10)


@EACH
def test_the_most_likely_distribution_is_the_most_likely_one(name):
    space = FAMILIES[name]
    point = points_of(name)[0]
    x = manifolds.sample(point, (51,), rng=1)
    constants = {field: float(getattr(point, field)) for field in point.constants}
    fitted = type(point).fit(x, **constants)
    best = space.log_density(fitted, x).sum()
    for field in space.TANGENTS.rules:
        for step in (-1e-2, 1e-2):
            near = moved(fitted, field, step * abs(float(getattr(fitted, field))))
            assert space.log_density(near, x).sum() < best


@EACH
def test_bad_samples_are_refused(name):
    space = FAMILIES[name]
    point = points_of(name)[0]
    constants = {field: float(getattr(point, field)) for field in point.constants}
    for x in ([1.0, np.nan], [], [[[1.0]]], ["a", "b"]):
        with pytest.raises((TypeError, ValueError), match="samples"):
            space.POINTS.fit(x, **constants)


@EACH
def test_torch_draws_for_tensors_with_its_own_generator(name):
    space = FAMILIES[name]
    point = points_of(name, lambda x: torch.tensor(x, dtype=torch.float64))[0]
    if not any(known.startswith("torch.") for known in space.DISTRIBUTIONS):
        with pytest.raises(TypeError, match=r"torch\.distributions has: .* points of numpy"):
            manifolds.to_distribution(point)
        assert manifolds.sample(point, (3,), rng=0).dtype == torch.float64
        return
    torch.manual_seed(0)
    x = manifolds.sample(point, 3)
    torch.manual_seed(0)
    assert torch.equal(manifolds.to_distribution(point).sample((3,)), x)
    with pytest.raises(TypeError, match=r"Call torch\.manual_seed"):
        manifolds.sample(point, rng=0)
    again = from_distribution(manifolds.to_distribution(point), space=name)
    np.testing.assert_allclose(fields(again), fields(point), rtol=1e-15)


# ---------------------------------------------------------------- digits


ORACLES = Path(__file__).parent.parent / "oracles" / "families.json"
AS_POINTS = {
    "geometric": manifolds.Geometric,
    "exponential (scale)": lambda s: Exponential(1.0 / s),
    "half-normal (scale)": manifolds.HalfNormal,
    "maxwell (scale)": manifolds.Maxwell,
    "cauchy (location, scale)": manifolds.Cauchy,
    "logistic (location, scale)": manifolds.Logistic,
    "gumbel_r (location, scale)": manifolds.Gumbel,
    "gumbel_l (location, scale)": manifolds.GumbelMin,
    "weibull (shape, scale)": lambda k, s: manifolds.Weibull(s, k),
    "frechet (shape, scale)": lambda k, s: manifolds.Frechet(s, k),
    "inverse gaussian (mean, lambda)": manifolds.InverseGaussian,
    "negative binomial r=2.5, means": lambda m: manifolds.NegativeBinomial(2.5, m / (2.5 + m)),
}


@pytest.mark.parametrize("known", json.loads(ORACLES.read_text()), ids=lambda x: x["family"])
def test_distances_are_those_of_the_oracles(known):
    """Lengths by quadrature of high precision, of another program."""
    numbers = [float(x) for x in known["args"]]
    middle = len(numbers) // 2
    a, b = (AS_POINTS[known["family"]](*x) for x in (numbers[:middle], numbers[middle:]))
    d = manifolds.fisher_rao_distance(a, b)
    np.testing.assert_allclose(d, float(known["distance"]), rtol=1e-15)


def of_scale(root):
    return lambda p, q: root * abs(mpmath.log(q[-1] / p[-1]))


def of_half_plane(a, b, c, location=lambda x: x, scale=lambda x: x):
    def distance(p, q):
        (*_, u, s), (*_, v, t) = p, q
        rest, rise = c - b**2 / a, scale(t) - scale(s)
        way = location(v) - location(u) + b / a * rise
        squared = (a / rest * way**2 + rise**2) / (4 * scale(s) * scale(t))
        return 2 * mpmath.sqrt(rest) * mpmath.asinh(mpmath.sqrt(squared))

    return distance


def angle(p):
    return 2 * mpmath.asin(mpmath.sqrt(p))


def waiting(c):
    return 2 * mpmath.asinh(mpmath.sqrt(c / (1 - c)))


def extremes(sign, **coordinates):
    bend = 1 - mpmath.euler
    return of_half_plane(1, sign * bend, mpmath.pi**2 / 6 + bend**2, **coordinates)


LOGS = {"location": mpmath.log, "scale": lambda k: 1 / k}
EXACT = {
    "bernoulli": lambda p, q: abs(angle(q[0]) - angle(p[0])),
    "binomial": lambda p, q: mpmath.sqrt(p[0]) * abs(angle(q[1]) - angle(p[1])),
    "cauchy": of_half_plane(mpmath.mpf(1) / 2, 0, mpmath.mpf(1) / 2),
    "exponential": of_scale(1),
    "frechet": extremes(-1, **LOGS),
    "generalized_normal": lambda p, q: of_half_plane(
        p[2] ** 2 * mpmath.gamma(2 - 1 / p[2]) / mpmath.gamma(1 / p[2]), 0, p[2]
    )(p[:2], q[:2]),
    "geometric": lambda p, q: abs(waiting(1 - q[0]) - waiting(1 - p[0])),
    "gumbel": extremes(-1),
    "gumbel_min": extremes(1),
    "half_normal": of_scale(mpmath.sqrt(2)),
    "inverse_gaussian": of_half_plane(
        1, 0, 2, location=lambda m: 2 / mpmath.sqrt(m), scale=lambda k: 1 / mpmath.sqrt(k)
    ),
    "laplace": of_half_plane(1, 0, 1),
    "log_normal": of_half_plane(1, 0, 2),
    "logistic": of_half_plane(mpmath.mpf(1) / 3, 0, (3 + mpmath.pi**2) / 9),
    "maxwell": of_scale(mpmath.sqrt(6)),
    "negative_binomial": lambda p, q: mpmath.sqrt(p[0]) * abs(waiting(q[1]) - waiting(p[1])),
    "pareto": of_scale(1),
    "rayleigh": of_scale(2),
    "student_t": lambda p, q: of_half_plane((p[0] + 1) / (p[0] + 3), 0, 2 * p[0] / (p[0] + 3))(
        p, q
    ),
    "weibull": extremes(1, **LOGS),
}


def pairs_of(name):
    """Yield pairs: those of the table, near ones, and those of far scales."""
    space, (p, q) = FAMILIES[name], POINTS[name]
    fields = list(space.POINTS.rules)
    moving = [i for i, field in enumerate(fields) if field not in space.POINTS.constants]
    yield p, q
    for step in (1e-8, 1e-12, 2.0**-44):
        for some in ({i} for i in moving):
            yield p, [x * (1.0 + step) if i in some else x for i, x in enumerate(p)]
        yield p, [x * (1.0 + step) if i in moving else x for i, x in enumerate(p)]
    if "probs" in fields:
        for pair in ((1e-300, 1e-9), (1e-12, 1.0 - 2.0**-40), (0.5, 0.5 + 2.0**-50)):
            yield tuple([*p[:-1], x] for x in pair)
    elif "power" not in fields:
        yield [*p[:-1], 1e-150], [*q[:-1], 1e150]


@EACH
def test_distances_have_all_their_digits(name):
    space = FAMILIES[name]
    for p, q in pairs_of(name):
        with mpmath.workdps(400):
            expected = EXACT[name](*([mpmath.mpf(float(x)) for x in y] for y in (p, q)))
        a, b = space.POINTS(*p), space.POINTS(*q)
        for d in (manifolds.fisher_rao_distance(a, b), manifolds.fisher_rao_distance(b, a)):
            np.testing.assert_allclose(d, float(expected), rtol=2e-15, err_msg=f"{p}, {q}")
        squared = manifolds.fisher_rao_squared_distance(a, b)
        np.testing.assert_allclose(squared, float(expected**2), rtol=4e-15, err_msg=f"{p}, {q}")


@EACH
def test_extreme_pairs_keep_their_digits_within_large_batches(name):
    """Blocks of ordinary pairs, by fast formulas, with a few that need careful ones."""
    space, pairs = FAMILIES[name], list(pairs_of(name))
    usual = (POINTS[name][0], POINTS[name][1])
    rows = [pairs[i % len(pairs)] if i < 40 else usual for i in range(50)] * 700
    both = (np.array(x, dtype=float) for x in zip(*rows, strict=True))
    a, b = (space.POINTS(*x.T) for x in both)
    for verb in ("fisher_rao_distance", "fisher_rao_squared_distance"):
        found = getattr(manifolds, verb)(a, b)
        for i in (*range(50), -7):
            alone = getattr(manifolds, verb)(a[i], b[i])
            np.testing.assert_allclose(found[i], alone, rtol=4e-15, err_msg=str(rows[i]))


@EACH
def test_divergences_of_near_points_have_their_digits(name):
    """Against integrals of the densities with 40 digits, by their series about equal points."""
    space = FAMILIES[name]
    if space.kl_divergence is None:
        return
    p = POINTS[name][0]
    constants = [field in space.POINTS.constants for field in space.POINTS.rules]
    for step in (1e-6, 1e-8):
        q = [x if c else x * (1.0 + step) for x, c in zip(p, constants, strict=True)]
        a, b = space.POINTS(*p), space.POINTS(*q)
        d = manifolds.fisher_rao_distance(a, b)
        # KL = d^2 / 2 (1 + O(d)), H = d / sqrt 8 (1 + O(d^2)): what cancels would show at once.
        np.testing.assert_allclose(manifolds.kl_divergence(a, b), 0.5 * d * d, rtol=20.0 * step)
        both = manifolds.jeffreys_divergence(a, b)
        np.testing.assert_allclose(both, d * d, rtol=20.0 * step)
        if space.hellinger_distance is not None:
            hellinger = manifolds.hellinger_distance(a, b)
            np.testing.assert_allclose(hellinger, d / 8.0**0.5, rtol=20.0 * step)


def exact_laplace(m, s, n, t):
    """Return distance, divergence and Hellinger distance of Laplace distributions."""
    m, s, n, t = map(mpmath.mpf, (m, s, n, t))
    d = abs(m - n)
    distance = 2 * mpmath.asinh(mpmath.sqrt((d**2 + (s - t) ** 2) / (4 * s * t)))
    kl = mpmath.log(t / s) - 1 + d / t + s / t * mpmath.exp(-d / s)
    a, b = 1 / (2 * s), 1 / (2 * t)
    if a == b:
        affinity = (1 + a * d) * mpmath.exp(-a * d)
    else:
        root = mpmath.sqrt(a * b)
        difference = a * mpmath.exp(-b * d) - b * mpmath.exp(-a * d)
        affinity = 2 * root * difference / (a * a - b * b)
    return [float(x) for x in (distance, kl, mpmath.sqrt(1 - affinity))]


@pytest.mark.parametrize(
    "pair",
    [
        (0.0, 1.0, 3.0, 0.2),
        (1e6, 1.0, 1e6 + 2.0**-20, 1.0 + 2.0**-30),
        (0.0, 1.0, 1e-12, 1.0),
        (0.0, 1.0, 1e-9, 1.0 + 1e-12),
        (0.0, 2.0, 1.0, 2.0),
        (0.0, 1e-10, 1.0, 1e10),
        (0.0, 1.0, 80.0, 3.0),
        (0.0, 1.0, 2.5, 1.0 + 1e-9),
    ],
)
def test_laplace_distributions_keep_their_digits(pair):
    with mpmath.workdps(120):
        expected = exact_laplace(*pair)
    a, b = Laplace(*pair[:2]), Laplace(*pair[2:])
    verbs = (manifolds.fisher_rao_distance, manifolds.kl_divergence, manifolds.hellinger_distance)
    for verb, value in zip(verbs, expected, strict=True):
        np.testing.assert_allclose(verb(a, b), value, rtol=1e-14, err_msg=verb.__name__)


def test_ratios_of_1e300_have_distances():
    d = manifolds.fisher_rao_distance(Laplace(0.0, 1e-150), Laplace(1e150, 1e150))
    expected = 2 * mpmath.asinh(mpmath.sqrt((2 * mpmath.mpf("1e300")) / 4))
    np.testing.assert_allclose(d, float(expected), rtol=1e-14)


@pytest.mark.parametrize("verb", ["fisher_rao_distance", "fisher_rao_squared_distance"])
def test_ratios_that_are_no_number_have_distances(verb):
    """Beyond 1e308: 2 arsinh(x) is 2 log(2 x) there, and x the length of the chord."""
    find, power = getattr(manifolds, verb), 2 if "squared" in verb else 1
    logs = mpmath.log(10)
    d = find(Laplace(0.0, 1e-100), Laplace(1e250, 1e-100))
    np.testing.assert_allclose(d, float((700 * logs) ** power), rtol=1e-14)
    a, b = manifolds.Weibull(2.0, 1e57), manifolds.Weibull(2.0, 1e-290)
    d = find(a, b)  # both on a vertical line of the half-plane of u + (1 - gamma) s and s
    constant = mpmath.sqrt(mpmath.pi**2 / 6)
    lean = mpmath.sqrt(1 + 6 * (1 - mpmath.euler) ** 2 / mpmath.pi**2)
    expected = constant * (347 * logs + 2 * mpmath.log(lean))
    np.testing.assert_allclose(d, float(expected**power), rtol=1e-14)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numbers overflow, to inf
def test_divergences_know_ratios_that_overflow():
    for kind, ratio in ((manifolds.HalfNormal, 4), (manifolds.Rayleigh, 4), (Exponential, 2)):
        expected = 0.5 * {4: 4 + 1 / 4 - 2, 2: 2 * (2 + 1 / 2 - 2)}[ratio]
        expected *= 2.0 if kind is manifolds.Rayleigh else 1.0
        for unit in (1e-200, 1.0, 1e200):
            found = manifolds.jeffreys_divergence(kind(unit), kind(2.0 * unit))
            np.testing.assert_allclose(found, expected, rtol=1e-14)
    a, b = Laplace(0.0, 1e-200), Laplace(1e200, 1e-200)
    assert manifolds.bhattacharyya_coefficient(a, b) == 0.0
    assert manifolds.hellinger_distance(a, b) == 1.0
    pairs = [
        (manifolds.Gumbel(0.0, 1e-200), manifolds.Gumbel(1e200, 1e-200)),
        (manifolds.GumbelMin(0.0, 1e-200), manifolds.GumbelMin(1e200, 1e-200)),
        (manifolds.Weibull(1.0, 1e-200), manifolds.Weibull(1.0, 1e200)),
        (manifolds.Frechet(1.0, 1e-200), manifolds.Frechet(1.0, 1e200)),
        (manifolds.InverseGaussian(1e-300, 1e-300), manifolds.InverseGaussian(1e300, 1e300)),
    ]
    for a, b in pairs:
        assert manifolds.jeffreys_divergence(a, b) == np.inf


def test_affinities_of_lognormal_distributions_keep_their_digits():
    for a, b in (((0.0, 1.0), (30.0, 2.0)), ((0.0, 1e-3), (1.0, 5.0)), ((0.0, 1.0), (1e-9, 1.0))):
        (m, s), (n, r) = (map(mpmath.mpf, x) for x in (a, b))
        size = s * s + r * r
        expected = mpmath.sqrt(2 * s * r / size) * mpmath.exp(-((m - n) ** 2) / 4 / size)
        points = manifolds.LogNormal(*a), manifolds.LogNormal(*b)
        found = manifolds.bhattacharyya_coefficient(*points)
        np.testing.assert_allclose(found, float(expected), rtol=1e-14)
    far = manifolds.LogNormal(0.0, 1e-200), manifolds.LogNormal(1e200, 1e-200)
    assert manifolds.bhattacharyya_coefficient(*far) == 0.0


# ---------------------------------------------------------------- what is refused


def test_distributions_are_read_whole_or_refused():
    assert from_distribution(scipy.stats.expon(scale=4.0)).rate == 0.25
    assert from_distribution(scipy.stats.laplace(1.0, 2.0)).loc == 1.0
    rate = torch.tensor(4.0, requires_grad=True)
    assert from_distribution(distributions.Exponential(rate)).rate is rate
    with pytest.raises(TypeError, match="a shift has no place in the space"):
        from_distribution(scipy.stats.expon(1.0, 2.0))


@pytest.mark.parametrize("unit", [1e-300, 1e300])
@pytest.mark.parametrize(
    "name", [n for n in POINTS if "loc" in FAMILIES[n].POINTS.rules and n != "log_normal"]
)
def test_estimates_are_those_of_the_samples_in_other_units(name, unit):
    space = FAMILIES[name]
    point, x = points_of(name)[0], np.array([1.0, 2.0, 2.5, 4.0, 4.5])
    constants = {field: float(getattr(point, field)) for field in point.constants}
    expected, found = (space.POINTS.fit(u * x, **constants) for u in (1.0, unit))
    for field in ("loc", "scale"):
        seen = float(getattr(found, field)) / unit
        np.testing.assert_allclose(seen, getattr(expected, field), rtol=1e-13)


def test_equal_samples_have_no_most_likely_scale():
    with pytest.raises(ValueError, match=r"samples must have a distribution of Laplace .* scale 0"):
        Laplace.fit([2.0, 2.0])
    with pytest.raises(ValueError, match=r"samples must have a distribution of Exponential"):
        Exponential.fit([0.0, 0.0])
    with pytest.raises(ValueError, match="samples must not be negative"):
        Exponential.fit([-1.0, 2.0])
    with pytest.raises(TypeError, match=r"Laplace\.fit must be told no constants: got df"):
        Laplace.fit([1.0, 2.0], df=3.0)


def test_numbers_of_samples_are_shapes_too():
    a = manifolds.Gamma([2.0, 3.0], 1.0)
    assert manifolds.sample(a, 5, rng=0).shape == (5, 2)
    np.testing.assert_array_equal(manifolds.sample(a, 5, rng=0), manifolds.sample(a, (5,), rng=0))
    with pytest.raises(TypeError, match="CenteredNormal is none"):
        manifolds.to_distribution(manifolds.CenteredNormal(np.eye(2)))


@pytest.mark.parametrize("family", ["HalfNormal", "Rayleigh", "Maxwell"])
@pytest.mark.parametrize(("dtype", "size"), [(np.float64, 1e200), (np.float32, 1e25)])
def test_straight_lines_of_scales_whose_squares_overflow(family, dtype, size):
    """In the e-geometry 1 / scale^2 is straight, in the m-geometry scale^2."""
    kind = getattr(manifolds, family)
    eps = float(np.finfo(dtype).eps)
    for unit in (1.0, size, 1.0 / size):
        for ratio in (1.0 + 64.0 * eps, 2.0, 10.0, 1e8):
            ends = [kind(np.asarray(unit * x, dtype=dtype)) for x in (1.0, ratio)]
            low, high = (float(x.scale) for x in ends)
            r = high / low
            for t in (0.0, 1e-3, 0.5, 0.75, 1.0):
                e = manifolds.e_geodesic(*ends, t).scale
                m = manifolds.m_geodesic(*ends, t).scale
                assert (e.dtype, m.dtype) == (dtype, dtype)
                expected = low * ((1.0 - t) + t / r**2) ** -0.5, low * (1.0 - t + t * r**2) ** 0.5
                np.testing.assert_allclose((e, m), expected, rtol=16.0 * eps)
            for geodesic in (manifolds.e_geodesic, manifolds.m_geodesic):
                assert [float(geodesic(*ends, t).scale) for t in (0.0, 1.0)] == [low, high]
