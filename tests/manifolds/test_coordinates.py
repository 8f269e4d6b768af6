"""Which verbs each family has; its metric and connection in coordinates beside its geodesics."""

import itertools

import mpmath
import numpy as np
import pytest
import torch

from infogeo import _spaces, manifolds, normal
from infogeo._points import Points
from infogeo.manifolds import (
    CenteredNormal,
    InverseGaussian,
    Multinomial,
    Poisson,
    Product,
    VonMisesFisher,
    Wishart,
    product,
)
from infogeo.manifolds._line import Line
from infogeo.normal import Normal

# Those of `infogeo.simplex`, `logits`, `normal` and `multivariate_normal` have pages of their own.
FAMILIES = {
    name: space
    for name, space in _spaces.registered().items()
    if _spaces.title_of(space).startswith("infogeo.manifolds.")
}
EACH = pytest.mark.parametrize("name", FAMILIES)
OF_POINTS = {"to_distribution", "sample"}  # which ask DISTRIBUTIONS and draw
VERBS = [name for name in manifolds.__all__ if not isinstance(getattr(manifolds, name), type)]


def lacking(name):
    """Return the verbs that a family has not, with the reason that it gives."""
    found = {}
    for verb in set(VERBS) - OF_POINTS:
        try:
            _spaces.verb(FAMILIES[name], verb)
        except TypeError as error:
            found[verb] = str(error)
    return found


def test_the_families_are_all_there():
    classes = {getattr(manifolds, name) for name in manifolds.__all__}
    points = {x for x in classes if isinstance(x, type) and issubclass(x, Points)}
    assert points | {Product} == {space.POINTS for space in FAMILIES.values()}


@EACH
def test_a_family_has_a_verb_or_says_why_not(name):
    for verb, said in lacking(name).items():
        assert f"{verb} is not known for" in said, f"{name} lacks {verb} without a reason: {said}"


def test_what_is_lacking_is_what_the_page_says():
    """The table of all pairs of family and verb, by the verb: the exceptions and no others."""
    without = {verb: {n for n in FAMILIES if verb in lacking(n)} for verb in VERBS}
    lines = {n for n, s in FAMILIES.items() if isinstance(s, Line)}
    solved = {"dirichlet", "beta"}
    curved = {
        *("laplace", "logistic", "cauchy", "student_t", "generalized_normal", "gumbel"),
        *("gumbel_min", "weibull", "frechet", "matrix_normal"),
    }
    no_integral = curved - {"matrix_normal", "laplace"}
    no_kl = {"logistic", "student_t", "generalized_normal"}
    expected = {
        "connect": set(FAMILIES) - solved,
        "sectional_curvature": lines,
        **dict.fromkeys(("kl_divergence", "jeffreys_divergence"), no_kl),
        **dict.fromkeys(("hellinger_distance", "bhattacharyya_coefficient"), no_integral),
        "renyi_divergence": no_integral | {"laplace"},
        **{f"{c}_{x}": curved for c in "em" for x in ("geodesic", "transport", "mean")},
        **dict.fromkeys(("natural_parameters", "expectation_parameters"), curved),
    }
    assert {verb: names for verb, names in without.items() if names} == expected


# ---------------------------------------------------------------- metric and connection


def covariance(rng, d):
    root = np.eye(d) + 0.2 * rng.normal(size=(d, d))
    return root @ root.T


def value_of(name, field, axes, rng):
    if field in FAMILIES[name].POINTS.constants:
        return 5.0
    if axes == 2:
        return covariance(rng, 3 if field == "column_cov" else 2)
    if field == "mean_direction":
        x = rng.normal(size=3)
        return x / np.linalg.norm(x)
    if field == "probs" and axes:
        shares = rng.dirichlet(np.full(4, 5.0))
        return shares if name == "multinomial" else shares[:3]
    return rng.uniform(0.4, 0.6, size=(3,) * axes)


def draw(name, rng):
    if name == "product":
        parts = ("gamma", "poisson", "centered_normal", "multinomial", "von_mises_fisher")
        return Product([draw(part, rng) for part in parts])
    cls = FAMILIES[name].POINTS
    return cls(**{field: value_of(name, field, cls.event_axes[field], rng) for field in cls.rules})


def coordinates(x):
    """Return the coordinates of points, or the velocities of these, along a last axis."""
    if hasattr(x, "parts"):
        return np.concatenate([coordinates(part) for part in x.parts], axis=-1)
    found = []
    for field, axes in x.event_axes.items():
        if field in x.constants:
            continue
        value = np.asarray(getattr(x, field))
        if axes == 2:
            i, j = np.tril_indices(value.shape[-1])
            value = value[..., i, j]
        is_simplex = axes == 1 and type(x).__module__.endswith(".multinomial")
        value = value[..., :-1] if is_simplex else value
        found.append(value if axes else value[..., None])
    return np.concatenate(found, axis=-1)


@EACH
def test_geodesics_solve_their_equation_in_the_coordinates(name):
    """Along a geodesic x'' is -Gamma(x', x'), and its speed is that of the Fisher information."""
    rng = np.random.default_rng(5)
    a, b = draw(name, rng), draw(name, rng)
    v = manifolds.log_map(a, b)
    g, symbols = manifolds.fisher_information(a), manifolds.christoffel_symbols(a)
    x = coordinates(v)
    d = x.shape[-1]
    assert (g.shape, symbols.shape) == ((d, d), (d, d, d))
    np.testing.assert_allclose(x @ g @ x, manifolds.norm(a, v) ** 2, rtol=1e-11)
    np.testing.assert_allclose(symbols, np.swapaxes(symbols, -1, -2), rtol=1e-12, atol=1e-12)
    h = 0.01 / float(manifolds.norm(a, v))

    def acceleration(h):
        path = [coordinates(manifolds.exp_map(a, t * v)) for t in (-h, 0.0, h)]
        return (path[0] - 2.0 * path[1] + path[2]) / h**2

    extrapolated = (4.0 * acceleration(h) - acceleration(2.0 * h)) / 3.0
    expected = -np.einsum("kij,i,j->k", symbols, x, x)
    size = np.abs(expected).max() + np.abs(x).max() ** 2
    np.testing.assert_allclose(extrapolated, expected, rtol=3e-4, atol=3e-5 * size)


@pytest.mark.parametrize("name", ["centered_normal", "wishart", "inverse_wishart", "multinomial"])
def test_symbols_are_those_of_the_derivatives_of_the_metric(name):
    """By central differences: Gamma is g^-1 times half the cyclic sum of the derivatives of g."""
    rng = np.random.default_rng(5)
    a = draw(name, rng)
    (field,) = (f for f in a.rules if f not in a.constants)
    constants = [getattr(a, f) for f in a.constants]
    value = np.asarray(getattr(a, field))

    def moved(k, h):
        change = np.zeros_like(value)
        if value.ndim == 2:
            i, j = (index[k] for index in np.tril_indices(len(value)))
            change[i, j] = change[j, i] = h
        else:
            change[k], change[-1] = h, -h
        return manifolds.fisher_information(type(a)(*constants, value + change))

    g, h = manifolds.fisher_information(a), 1e-5
    slopes = np.stack([(moved(k, h) - moved(k, -h)) / (2.0 * h) for k in range(len(g))])
    lower = 0.5 * (slopes.transpose(2, 0, 1) + slopes.transpose(2, 1, 0) - slopes)
    expected = np.einsum("kl,lij->kij", np.linalg.inv(g), lower)
    found = manifolds.christoffel_symbols(a)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(found).max())


@EACH
def test_batches_float32_and_tensors_have_the_matrices_of_their_points(name):
    if name == "product":
        pytest.skip("its parts are here")
    rng = np.random.default_rng(2)
    points = [draw(name, rng) for _ in range(3)]
    cls = FAMILIES[name].POINTS
    columns = {f: np.stack([np.asarray(getattr(x, f)) for x in points]) for f in cls.rules}
    empty = cls(**{f: x[:0] for f, x in columns.items()})
    for verb in (manifolds.fisher_information, manifolds.christoffel_symbols):
        expected = np.stack([verb(x) for x in points])
        size = np.abs(expected).max()
        np.testing.assert_allclose(verb(cls(**columns)), expected, rtol=1e-12, atol=1e-14 * size)
        assert verb(empty).shape == (0, *expected.shape[1:])
        for convert in (lambda x: x.astype(np.float32), lambda x: torch.tensor(x).float()):
            found = verb(cls(**{f: convert(x) for f, x in columns.items()}))
            assert str(found.dtype).endswith("float32")
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * size)


@pytest.mark.parametrize("name", ["matrix_normal", "wishart", "inverse_gaussian", "multinomial"])
def test_matrices_of_coordinates_are_mapped_by_torch(name):
    rng = np.random.default_rng(6)
    kind = FAMILIES[name].POINTS
    points = kind.stack([draw(name, rng) for _ in range(3)])
    tensors = [torch.tensor(getattr(points, field)) for field in kind.rules]
    for verb in (manifolds.fisher_information, manifolds.christoffel_symbols):
        mapped = torch.func.vmap(lambda *x, verb=verb: verb(kind(*x, check=False)))(*tensors)
        np.testing.assert_allclose(mapped, verb(points), rtol=1e-12, atol=1e-12)


def test_means_are_mapped_by_torch():
    rng = np.random.default_rng(6)
    x = torch.tensor(rng.uniform(0.5, 2.0, size=(2, 3, 4)))
    for verb in (manifolds.e_mean, manifolds.m_mean):
        mapped = torch.func.vmap(lambda m, k, v=verb: v(InverseGaussian(m, k, check=False)).mean)(
            *x
        )
        whole = verb(InverseGaussian(*x), axis=1).mean
        torch.testing.assert_close(mapped, whole, rtol=1e-13, atol=0.0)


def test_information_of_wishart_distributions_is_the_variance_of_their_score():
    """The mean of (tr(P E (X - n S)) / 2) times the same of F, by the moments of Wishart's X."""
    S = np.array([[2.0, 0.5], [0.5, 1.0]])
    a = Wishart(5.0, S)
    x = manifolds.sample(a, (200_000,), rng=0)
    P = np.linalg.inv(S)
    units = [np.array(u) for u in ([[1, 0], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [0, 1]])]
    scores = [0.5 * np.einsum("ij,kji->k", P @ u @ P, x - 5.0 * S) for u in units]
    g = manifolds.fisher_information(a)
    np.testing.assert_allclose(np.cov(scores), g, rtol=0.02, atol=0.02 * np.abs(g).max())


def test_symbols_of_directions_are_those_of_the_angle():
    """Of the circle: the connection of the angle, by the chain rule."""
    angle, kappa = 0.7, 1.3
    m = np.array([np.cos(angle), np.sin(angle)])
    tangent = np.array([-m[1], m[0]])
    found = manifolds.christoffel_symbols(VonMisesFisher(m, kappa))
    expected = manifolds.christoffel_symbols(manifolds.VonMises(angle, kappa))
    lift = np.zeros((3, 2))
    lift[:2, 0], lift[2, 1] = tangent, 1.0
    along = np.einsum("kl,kij,ia,jb->lab", lift, found, lift, lift)
    np.testing.assert_allclose(along, expected, rtol=1e-12, atol=1e-14)
    outward = np.einsum("k,kij,i,j->", [*m, 0.0], found, [*tangent, 0.0], [*tangent, 0.0])
    np.testing.assert_allclose(outward, 1.0, rtol=1e-14)


# ---------------------------------------------------------------- products and multinomials


def test_the_curvature_of_a_product_is_that_of_the_second_derivatives():
    rng = np.random.default_rng(1)
    a = Product([draw(n, rng) for n in ("gamma", "centered_normal", "poisson", "laplace")])
    b, c = (
        Product([draw(n, rng) for n in ("gamma", "centered_normal", "poisson", "laplace")])
        for _ in range(2)
    )
    u, v = (manifolds.log_map(a, x) for x in (b, c))
    u, v = (x / float(manifolds.norm(a, x)) for x in (u, v))
    area = 1.0 - manifolds.inner_product(a, u, v) ** 2

    def estimate(t):
        squared = manifolds.fisher_rao_squared_distance(
            manifolds.exp_map(a, t * u), manifolds.exp_map(a, t * v)
        )
        return 3.0 * (t**2 * manifolds.norm(a, u - v) ** 2 - squared) / (t**4 * area)

    extrapolated = (4.0 * estimate(0.02) - estimate(0.04)) / 3.0
    found = manifolds.sectional_curvature(a, u, v)
    np.testing.assert_allclose(found, extrapolated, rtol=1e-3)
    np.testing.assert_allclose(manifolds.sectional_curvature(a, 1e200 * u, v), found, rtol=1e-9)
    assert np.isnan(manifolds.sectional_curvature(a, u, 2.0 * u))


def test_a_product_of_normals_has_their_curvature_and_symbols():
    a = Product([Normal(0.0, 2.0), Poisson(4.0)])
    zero = manifolds.poisson.Tangent(0.0)
    u, v = (product.Tangent([normal.Tangent(*x), zero]) for x in ((1.0, 0.0), (0.3, 1.0)))
    np.testing.assert_allclose(manifolds.sectional_curvature(a, u, v), -0.5, rtol=1e-14)
    symbols = manifolds.christoffel_symbols(a)
    np.testing.assert_array_equal(symbols[:2, :2, :2], normal.christoffel_symbols(a.parts[0]))
    np.testing.assert_array_equal(symbols[2, 2], [0.0, 0.0, -0.125])


def leaves(found):
    return [x for part in found for x in leaves(part)] if isinstance(found, tuple) else [found]


@EACH
def test_empty_batches_have_empty_results(name):
    """A loop over classes, or a filter of rows, may leave none."""
    rng = np.random.default_rng(0)
    a, b = (type(p).stack([p])[:0] for p in (draw(name, rng), draw(name, rng)))
    u = manifolds.log_map(a, b)
    given = {
        **dict.fromkeys(("exp_map", "norm"), (a, u)),
        **dict.fromkeys(("inner_product", "sectional_curvature"), (a, u, u)),
        **{f"{kind}_transport": (a, b, u) for kind in ("parallel", "e", "m")},
        **{f"{kind}_geodesic": (a, b, 0.3) for kind in ("fisher_rao", "e", "m")},
        **dict.fromkeys((x for x in VERBS if x.endswith(("distance", "divergence"))), (a, b)),
        **dict.fromkeys((x for x in VERBS if x.endswith(("information", "parameters"))), (a,)),
    }
    for verb in set(given) - set(lacking(name)):
        options = {"order": 0.3} if verb == "renyi_divergence" else {}
        found = getattr(manifolds, verb)(*given[verb], **options)
        assert all(x.shape[0] == 0 for x in leaves(found)), verb


def test_planes_of_two_parts_are_flat_and_those_of_one_are_as_they_were():
    a = Product([Multinomial(4, [0.2, 0.3, 0.5]), Poisson(2.0)])
    zero = manifolds.poisson.Tangent(0.0)
    u = product.Tangent([manifolds.multinomial.Tangent([0.1, -0.1, 0.0]), zero])
    v = product.Tangent([manifolds.multinomial.Tangent([0.1, 0.1, -0.2]), zero])
    w = product.Tangent([0.0 * u.parts[0], manifolds.poisson.Tangent(1.0)])
    np.testing.assert_allclose(manifolds.sectional_curvature(a, u, v), 1.0 / 16.0, rtol=1e-13)
    np.testing.assert_allclose(manifolds.sectional_curvature(a, u, w), 0.0, atol=1e-14)


def test_multinomial_and_product_coordinates():
    a = Multinomial([4, 4], [[0.2, 0.3, 0.5], [0.25, 0.25, 0.5]])
    natural = manifolds.natural_parameters(a)
    logs = np.log([0.2, 0.3, 0.5])
    np.testing.assert_allclose(natural[0], logs - logs.mean(), rtol=1e-14)
    np.testing.assert_allclose(manifolds.expectation_parameters(a)[1], [1.0, 1.0], rtol=1e-14)
    both = Product([a, Poisson([1.0, 2.0])])
    first, second = manifolds.natural_parameters(both)
    np.testing.assert_array_equal(first, natural)
    np.testing.assert_allclose(second, np.log([1.0, 2.0]))
    assert manifolds.fisher_information(both).shape == (2, 3, 3)
    # The Hessian of the log-partition n log(1 + sum exp theta), for the natural parameters.
    p = np.array([0.2, 0.3])
    covariance = 4.0 * (np.diag(p) - np.outer(p, p))
    found = np.linalg.inv(manifolds.fisher_information(a)[0]) * 16.0
    np.testing.assert_allclose(found, covariance, rtol=1e-13)


def test_affinities_of_multinomials_and_products_are_sums_over_all_tables():
    p, q, n = [0.2, 0.3, 0.5], [0.6, 0.3, 0.1], 40
    a, b = Multinomial(n, p), Multinomial(n, q)
    with mpmath.workdps(40):
        one = sum(mpmath.sqrt(mpmath.mpf(x) * mpmath.mpf(y)) for x, y in zip(p, q, strict=True))
        expected = one**n
    np.testing.assert_allclose(
        manifolds.bhattacharyya_coefficient(a, b), float(expected), rtol=1e-13
    )
    apart = Multinomial(n, [1.0, 0.0, 0.0]), Multinomial(n, [0.0, 1.0, 0.0])
    assert manifolds.bhattacharyya_coefficient(*apart) == 0.0
    assert manifolds.hellinger_distance(*apart) == 1.0
    tiny = Multinomial(n, [1.0, 0.0, 0.0]), Multinomial(n, [1e-10, 0.5, 0.5])
    np.testing.assert_allclose(manifolds.bhattacharyya_coefficient(*tiny), 1e-200, rtol=1e-6)
    both = [Product([x, Poisson(rate)]) for x, rate in ((a, 1.0), (b, 4.0))]
    found = manifolds.bhattacharyya_coefficient(*both)
    np.testing.assert_allclose(found, float(expected) * np.exp(-0.5), rtol=1e-13)


def test_the_order_of_the_entries_is_that_of_the_lower_triangle():
    """The length of a velocity of each single entry, by its inner product."""
    a = CenteredNormal(covariance(np.random.default_rng(0), 3))
    g = manifolds.fisher_information(a)
    units = []
    for i, j in zip(*np.tril_indices(3), strict=True):
        unit = np.zeros((3, 3))
        unit[i, j] = unit[j, i] = 1.0
        units.append(manifolds.centered_normal.Tangent(unit))
    for (k, u), (m, v) in itertools.product(enumerate(units), repeat=2):
        np.testing.assert_allclose(
            g[k, m], manifolds.inner_product(a, u, v), rtol=1e-12, atol=1e-13
        )
