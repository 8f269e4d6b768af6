"""Parameters over the whole range of numbers, for every family: what overflows is inf, never NaN.

Where no number is the answer, a family refuses. Values come from mpmath.
"""

import warnings

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from scipy.stats import make_distribution

from infogeo import _spaces, manifolds
from infogeo._points import Container, fields
from infogeo.interop.distributions import from_distribution
from infogeo.manifolds import (
    Bernoulli,
    Beta,
    Binomial,
    Dirichlet,
    Exponential,
    Gamma,
    Geometric,
    InverseGaussian,
    Laplace,
    LogNormal,
    Maxwell,
    Multinomial,
    NegativeBinomial,
    Poisson,
    VonMises,
    VonMisesFisher,
    Weibull,
    Wishart,
)

CONSTANTS = {"df": 3.0, "power": 1.5, "total_count": 5.0, "scale": 2.0}
LOCATIONS = {"loc", "mean"}
FAMILIES = [
    name
    for name in _spaces.names()
    if name
    not in {
        *("simplex", "logits", "normal", "multivariate_normal", "product"),
        *("centered_normal", "matrix_normal", "wishart", "inverse_wishart"),
    }
]
PAIRS = (
    *("fisher_rao_distance", "fisher_rao_squared_distance", "kl_divergence"),
    *("jeffreys_divergence", "hellinger_distance", "bhattacharyya_coefficient"),
)
PATHS = "fisher_rao_geodesic", "e_geodesic", "m_geodesic"
SINGLE = "fisher_information", "christoffel_symbols"


def draw(name, rng, num, top):
    """Return points whose parameters are even on a logarithmic scale, with both ends."""
    cls = _spaces.resolve(name).POINTS

    def numbers(*event):
        x = 10.0 ** rng.uniform(-top, top, (num, *event))
        ends = rng.choice([10.0**-top, 10.0**top, 1.0], (num, *event))
        return np.where(rng.random((num, *event)) < 0.3, ends, x)

    found = {}
    for field in cls.rules:
        if field in cls.constants:
            found[field] = np.full(num, CONSTANTS[field])
        elif field == "mean_direction":
            x = rng.normal(size=(num, 3))
            found[field] = x / np.linalg.norm(x, axis=-1, keepdims=True)
        elif name in ("dirichlet", "multinomial", "negative_multinomial"):
            x = numbers(3)
            shares = x**0.3 / (x**0.3).sum(-1, keepdims=True)
            found[field] = {"dirichlet": x, "multinomial": shares}.get(name, shares * (2.0 / 3.0))
        elif field == "probs":
            x = numbers()
            found[field] = np.where(x >= 1.0, 0.5, x)
        elif name == "von_mises" and field == "loc":
            found[field] = rng.uniform(-3.0, 3.0, num)
        elif field in LOCATIONS and name != "inverse_gaussian":
            found[field] = numbers() * rng.choice([-1.0, 1.0], num)
        else:
            found[field] = numbers()
    return lambda dtype: cls(**{field: x.astype(dtype) for field, x in found.items()})


def calls(a, b, is_solved):
    """Yield the name and the call of each verb; without those that take seconds."""
    for name in PAIRS[2 * is_solved :]:
        yield name, lambda name=name: getattr(manifolds, name)(a, b)
    for name in PATHS[is_solved:]:
        yield name, lambda name=name: getattr(manifolds, name)(a, b, 0.3)
    for name in SINGLE:
        yield name, lambda name=name: getattr(manifolds, name)(a)
    for name in ("e_mean", "m_mean"):
        yield name, lambda name=name: getattr(manifolds, name)(type(a).stack([a, b]))
    yield "renyi_divergence", lambda: manifolds.renyi_divergence(a, b, order=0.3)


def refused(error):
    """Whether an error says that no number is the answer."""
    return any(x in str(error) for x in ("are numbers", "out of reach", "numbers of their dtype"))


def lacks(error):
    """Whether an error says that the family has no such verb."""
    return any(x in str(error) for x in ("is not known for", "space must have"))


def walk(name, num, dtype, top, is_solved=False):
    rng = np.random.default_rng(7)
    first, second = (draw(name, rng, num, top)(dtype) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        for verb, call in calls(a, b, is_solved):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    found = call()
                except (ValueError, RuntimeError) as error:
                    if not refused(error):
                        raise
                    continue
                except TypeError as error:
                    if not lacks(error):
                        raise
                    continue
            parts = fields(found) if isinstance(found, Container) else np.atleast_1d(found)
            assert not any(np.isnan(np.asarray(x)).any() for x in parts), (verb, a, b, found)


@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_is_nan_over_the_whole_range_of_numbers(name):
    is_solved = name in ("dirichlet", "beta")
    walk(name, 6, np.float64, 300.0, is_solved)
    walk(name, 3, np.float32, 37.0, is_solved)


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.parametrize("name", FAMILIES)
def test_campaign_over_the_whole_range_of_numbers(name):
    walk(name, 1 if name in ("dirichlet", "beta") else 60, np.float64, 300.0)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_velocity_leads_nowhere(name):
    a = draw(name, np.random.default_rng(3), 5, 1.0)(np.float64)
    v = 0.0 * manifolds.log_map(a, a[::-1])
    for found in (manifolds.exp_map(a, v), manifolds.fisher_rao_geodesic(a, a, 0.4)):
        for x, y in zip(fields(found), fields(a), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-13, atol=1e-15)
    for x in fields(manifolds.log_map(a, a)):
        np.testing.assert_array_equal(x, 0.0)
    np.testing.assert_array_equal(manifolds.fisher_rao_distance(a, a), 0.0)


# ---------------------------------------------------------------- Renyi divergences


def poisson_integral(a, b, n):
    (x,), (y,) = a, b
    return mpmath.exp(x**n * y ** (1 - n) - n * x - (1 - n) * y)


def rates_integral(shape, exponent):
    """Return that of gamma distributions of a fixed shape, whose rate is a power."""

    def integral(a, b, n):
        (x,), (y,) = a, b
        x, y = x**exponent, y**exponent
        return (x**n * y ** (1 - n) / (n * x + (1 - n) * y)) ** shape

    return integral


def trials_integral(copies):
    def integral(a, b, n):
        p, q = a[-1], b[-1]
        return (p**n * q ** (1 - n) + (1 - p) ** n * (1 - q) ** (1 - n)) ** copies

    return integral


def waiting_integral(copies, is_success):
    def integral(a, b, n):
        p, q = (x[-1] if is_success else 1 - x[-1] for x in (a, b))
        stop = p**n * q ** (1 - n)
        return (stop / (1 - (1 - p) ** n * (1 - q) ** (1 - n))) ** copies

    return integral


def lognormal_integral(a, b, n):
    (m, s), (k, r) = a, b
    mixed = n * r**2 + (1 - n) * s**2
    scale = s ** (1 - n) * r**n / mpmath.sqrt(mixed)
    return scale * mpmath.exp(-n * (1 - n) * (m - k) ** 2 / 2 / mixed)


def inverse_gaussian_integral(a, b, n):
    def partition(first, second):  # of the factors of x and of 1 / x, times -2
        return -mpmath.log(second) / 2 - mpmath.sqrt(first * second)

    one, other = ((x[1] / x[0] ** 2, x[1]) for x in (a, b))
    mixed = partition(*(n * x + (1 - n) * y for x, y in zip(one, other, strict=True)))
    return mpmath.exp(mixed - n * partition(*one) - (1 - n) * partition(*other))


RENYI = [
    (Poisson, (), poisson_integral, [(2.0,), (3.0,)]),
    (Poisson, (), poisson_integral, [(1e-200,), (5.0,)]),
    (Exponential, (), rates_integral(1, 1), [(2.0,), (3.0,)]),
    (Exponential, (), rates_integral(1, 1), [(1e-300,), (1e290,)]),
    (Maxwell, (), rates_integral(mpmath.mpf(3) / 2, -2), [(2.0,), (0.3,)]),
    (Bernoulli, (), trials_integral(1), [(0.2,), (0.7,)]),
    (Bernoulli, (), trials_integral(1), [(1e-12,), (1.0 - 1e-12,)]),
    (Binomial, (6.0,), trials_integral(6), [(6.0, 0.2), (6.0, 0.25)]),
    (Geometric, (), waiting_integral(1, True), [(0.2,), (0.7,)]),
    (Geometric, (), waiting_integral(1, True), [(1e-10,), (0.5,)]),
    (
        NegativeBinomial,
        (2.5,),
        waiting_integral(mpmath.mpf(5) / 2, False),
        [(2.5, 0.3), (2.5, 0.9)],
    ),
    (LogNormal, (), lognormal_integral, [(0.5, 0.5), (-1.0, 0.7)]),
    (LogNormal, (), lognormal_integral, [(0.5, 1e-3), (1.0, 100.0)]),
    (InverseGaussian, (), inverse_gaussian_integral, [(1.0, 2.0), (2.5, 0.7)]),
    (InverseGaussian, (), inverse_gaussian_integral, [(1e3, 1e-3), (1e-2, 40.0)]),
]


@pytest.mark.parametrize(("cls", "constants", "integral", "pair"), RENYI)
def test_renyi_divergences_have_their_digits(cls, constants, integral, pair):
    near = [
        pair[0],
        tuple(x * (1.0 + 3e-9) if i else x * (1.0 + 1e-9) for i, x in enumerate(pair[0])),
    ]
    if constants:
        near[1] = (*constants, near[1][-1])
    for first, second in (pair, pair[::-1], near):
        for order in (0.3, 0.5, 0.9, 2.0):
            a, b = cls(*first), cls(*second)
            if order > 1.0 and cls in (LogNormal, InverseGaussian):
                with pytest.raises(ValueError, match="lie in"):
                    manifolds.renyi_divergence(a, b, order=order)
                continue
            with mpmath.workdps(60):
                exact = [tuple(map(mpmath.mpf, x)) for x in (first, second)]
                n = mpmath.mpf(order)
                value = integral(*exact, n)
                is_finite = mpmath.im(value) == 0 and value > 0
                expected = float(mpmath.log(value) / (n - 1)) if is_finite else np.inf
            found = float(manifolds.renyi_divergence(a, b, order=order))
            if expected == np.inf or (order == 2.0 and not is_convergent(cls, first, second)):
                assert found == np.inf
            else:
                assert found == pytest.approx(expected, rel=3e-14), (order, first, second)


def is_convergent(cls, first, second):
    """Whether the integral of order 2 has a value."""
    if cls in (Exponential, Maxwell):
        x, y = (p[0] ** (-2.0 if cls is Maxwell else 1.0) for p in (first, second))
        return 2.0 * x > y
    if cls in (Geometric, NegativeBinomial):
        c, d = (1.0 - p[-1] if cls is Geometric else p[-1] for p in (first, second))
        return c * c < d
    return True


def test_orders_of_one_and_at_the_edges():
    a, b = Poisson([0.0, 2.0, 2.0]), Poisson([3.0, 0.0, 2.0])
    np.testing.assert_array_equal(manifolds.renyi_divergence(a, b, order=0.5), [3.0, 4.0 / 2, 0.0])
    np.testing.assert_array_equal(manifolds.renyi_divergence(a, b, order=2.0), [3.0, np.inf, 0.0])
    kl = manifolds.kl_divergence(a, b)
    np.testing.assert_array_equal(manifolds.renyi_divergence(a, b, order=1.0), kl)
    certain, never = Bernoulli([1.0, 0.0]), Bernoulli([0.0, 0.25])
    found = manifolds.renyi_divergence(certain, never, order=0.5)
    np.testing.assert_allclose(found, [np.inf, -np.log(0.75)])
    with pytest.raises(ValueError, match="finite"):
        manifolds.renyi_divergence(a, b, order=np.inf)
    with pytest.raises(TypeError, match="no closed form"):
        manifolds.renyi_divergence(Weibull(1.0, 2.0), Weibull(1.0, 3.0), order=0.5)


def test_renyi_divergences_of_products_and_tables_are_sums():
    a, b = Multinomial(4, [0.2, 0.3, 0.5]), Multinomial(4, [0.3, 0.3, 0.4])
    pairs = zip(a.probs, b.probs, strict=True)
    one = -2.0 * np.log(sum(np.sqrt(p * q) for p, q in pairs))
    assert float(manifolds.renyi_divergence(a, b, order=0.5)) == pytest.approx(4.0 * one, rel=1e-13)
    p, q = (manifolds.Product([x, Poisson(y)]) for x, y in ((a, 1.0), (b, 4.0)))
    found = float(manifolds.renyi_divergence(p, q, order=0.5))
    assert found == pytest.approx(4.0 * one + 1.0, rel=1e-13)


# ---------------------------------------------------------------- divergences of far points


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (Gamma(1e300, 1e10), Gamma(1e-5, 1e-200)),
        (Gamma(1e-200, 1e-100), Gamma(3.0, 1e-250)),
        (Gamma(2.0, 1e300), Gamma(3.0, 1e250)),
        (Gamma(1e-3, 1e-200), Gamma(1e-3, 1e99)),
    ],
)
def test_divergences_of_far_gamma_distributions(a, b):
    with mpmath.workdps(400):
        k, r, l, s = (mpmath.mpf(float(x)) for x in (*fields(a), *fields(b)))
        expected = (k - l) * mpmath.digamma(k) - mpmath.loggamma(k) + mpmath.loggamma(l)
        expected += l * mpmath.log(r / s) + k * (s / r - 1)
    assert float(manifolds.kl_divergence(a, b)) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (Laplace(4.5e247, 1e300), Laplace(3e80, 2e-256)),
        (Laplace(0.0, 1e-300), Laplace(1e30, 1e290)),
        (Laplace(0.0, 1e290), Laplace(1e295, 1e280)),
        (Laplace(0.0, 1.0), Laplace(1.0, 3.0)),
    ],
)
def test_divergences_of_far_laplace_distributions(a, b):
    with mpmath.workdps(400):
        m, s, n, r = (mpmath.mpf(float(x)) for x in (*fields(a), *fields(b)))
        d = abs(m - n)
        expected = (s * mpmath.exp(-d / s) + d) / r - 1 - mpmath.log(s / r)
    assert float(manifolds.kl_divergence(a, b)) == pytest.approx(float(expected), rel=1e-14)


@pytest.mark.parametrize("kappa", [1e-100, 1e-8, 1e5, 1e12, 1e200])
@pytest.mark.parametrize("other", [1e-150, 0.7, 1e9])
def test_divergences_of_far_directions(kappa, other):
    """On the sphere the ratio of Bessel functions is coth x - 1 / x."""
    m, n = np.array([1.0, 0.0, 0.0]), np.array([0.6, 0.8, 0.0])
    with mpmath.workdps(450):
        k, l = mpmath.mpf(kappa), mpmath.mpf(other)
        A = mpmath.coth(k) - 1 / k

        def partition(x):  # sinh(x) / x
            return x + mpmath.log((1 - mpmath.exp(-2 * x)) / (2 * x))

        expected = partition(l) - partition(k) + (k - l * mpmath.mpf(m @ n)) * A
    found = manifolds.kl_divergence(VonMisesFisher(m, kappa), VonMisesFisher(n, other))
    assert float(found) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("kappa", [1e6, 1e12, 1e40, 1e200])
def test_means_of_concentrated_directions_keep_their_digits(kappa):
    """On the sphere 1 - A is 1 / kappa: the mean of two has the harmonic mean concentration."""
    m = np.array([0.6, 0.8, 0.0])
    found = manifolds.m_mean(VonMisesFisher([m, m], [kappa, 3.0 * kappa]))
    assert float(found.concentration) == pytest.approx(1.5 * kappa, rel=1e-13)
    one = manifolds.m_mean(VonMises([0.3, 0.3], [kappa, kappa]))
    assert float(one.concentration) == pytest.approx(kappa, rel=1e-13)


def test_fits_of_narrow_samples_keep_their_digits():
    """Of angles so near each other the concentration is that of a normal, plus 1 / 2."""
    x = 1.25 + 1e-7 * np.random.default_rng(0).normal(size=50)
    found = VonMises.fit(x)
    assert float(found.concentration) == pytest.approx(1.0 / x.var(), rel=1e-8)


@pytest.mark.parametrize("size", [1e-3, 1e-20, 1e-140])
def test_geodesics_beside_the_centre_keep_their_digits(size):
    """Where the density is nearly even, the family is flat: a plane of the vectors kappa m."""
    a, b = VonMises(0.0, size), VonMises(2.0, 3.0 * size)
    middle = manifolds.fisher_rao_geodesic(a, b, 0.5)
    x = 0.5 * np.array([size + 3.0 * size * np.cos(2.0), 3.0 * size * np.sin(2.0)])
    assert float(middle.concentration) == pytest.approx(np.hypot(*x), rel=max(1e-13, 3.0 * size**2))
    assert float(middle.loc) == pytest.approx(np.arctan2(*x[::-1]), rel=max(1e-13, size**2))


def test_fisher_information_and_symbols_of_small_and_large_parameters():
    a = Weibull([1e-200, 1e200], [1e-120, 1e130])
    g = manifolds.fisher_information(a)
    c = 1.0 - float(mpmath.euler)
    np.testing.assert_allclose(g[..., 0, 1] * [1e-200, 1e200], [-c, -c], rtol=1e-14)
    bend = np.pi**2 / 6.0 + c * c
    np.testing.assert_allclose(g[..., 1, 1], [bend * 1e240, bend * 1e-260], rtol=1e-13)
    symbols = manifolds.christoffel_symbols(a)
    assert not np.isnan(symbols).any()
    one = Beta(1e-120, 1e200)
    np.testing.assert_allclose(np.diag(manifolds.fisher_information(one)), [1e240, 1e-200 * 1e-320])


@pytest.mark.parametrize("family", [Exponential, Maxwell])
def test_means_of_powers_do_not_overflow(family):
    points = family([1e200, 3e200, 2e-280])
    weights = np.array([0.5, 0.5, 0.0])
    e = 1.0 if family is Exponential else -2.0
    for mean, sign in ((manifolds.e_mean, 1.0), (manifolds.m_mean, -1.0)):
        found = float(fields(mean(points, weights=weights))[0])
        power = sign * e
        expected = 1e200 * (0.5 + 0.5 * 3.0**power) ** (1.0 / power)
        assert found == pytest.approx(expected, rel=1e-14)


# ---------------------------------------------------------------- laws of scipy


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (scipy.stats.chi2(3.0, scale=2.0), Gamma(1.5, 0.25)),
        (scipy.stats.erlang(3, scale=0.5), Gamma(3.0, 2.0)),
        (scipy.stats.wald(scale=4.0), InverseGaussian(4.0, 4.0)),
        (scipy.stats.arcsine(), Beta(0.5, 0.5)),
        (scipy.stats.powerlaw(2.5), Beta(2.5, 1.0)),
        (scipy.stats.uniform(), Beta(1.0, 1.0)),
        (3.0 * make_distribution(scipy.stats.gamma)(a=2.0), Gamma(2.0, 1.0 / 3.0)),
        (1.0 + 2.0 * make_distribution(scipy.stats.laplace)(), Laplace(1.0, 2.0)),
        (4.0 * make_distribution(scipy.stats.invgauss)(mu=0.5), InverseGaussian(2.0, 4.0)),
    ],
)
def test_laws_of_scipy_that_a_family_has(given, expected):
    found = from_distribution(given)
    assert type(found) is type(expected)
    for x, y in zip(fields(found), fields(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-15)
    density = _spaces.of_point(found).log_density
    x = given.icdf([0.2, 0.7]) if hasattr(given, "icdf") else given.ppf([0.2, 0.7])
    np.testing.assert_allclose(density(found, x), given.logpdf(x), rtol=1e-12)


@pytest.mark.parametrize(
    "given",
    [
        1.0 + make_distribution(scipy.stats.gamma)(a=2.0),
        -2.0 * make_distribution(scipy.stats.gamma)(a=2.0),
        2.0 * make_distribution(scipy.stats.beta)(a=2.0, b=3.0),
    ],
)
def test_laws_that_no_family_has_are_refused_with_the_reason(given):
    with pytest.raises(TypeError, match="are not known for the family"):
        from_distribution(given)
    with pytest.raises(TypeError, match="support moves with its parameters"):
        from_distribution(scipy.stats.uniform(2.0, 3.0))


@pytest.mark.parametrize(
    "points",
    [
        Dirichlet([[1.0, 2.0], [3.0, 4.0]]),
        Wishart(4.0, np.stack([np.eye(2)] * 2)),
        VonMisesFisher([[1.0, 0.0], [0.0, 1.0]], [1.0, 2.0]),
    ],
)
def test_batches_that_scipy_does_not_hold_are_refused_by_name(points):
    with pytest.raises(ValueError, match=r"a must be a single point.*batch shape is \(2,\)"):
        manifolds.to_distribution(points)
    assert manifolds.to_distribution(points[0]) is not None


ORDERS = [
    *((1e-300, 2.0), (2.0, 1e-300), (1e-200, 1e70)),
    *((3e300, 2e-5), (3e-120, 5.0), (3e-300, 4e-300)),
]


@pytest.mark.parametrize("transform", ["batch", "single", "vmap"])
def test_derivatives_of_rates_of_any_ratio_are_those_of_their_logarithms(transform):
    """Quotients of such rates are numbers. Their derivatives are not, on the way to these."""
    pairs = torch.tensor(ORDERS, dtype=torch.float64)

    def gradient(verb):
        def value(x):
            return verb(*(Exponential(rate, check=False) for rate in x.unbind(-1)))

        if transform == "vmap":
            return torch.func.vmap(torch.func.grad(value))(pairs)
        rows = pairs[None] if transform == "batch" else pairs
        rows = [row.clone().requires_grad_() for row in rows]
        found = [torch.autograd.grad(value(row).sum(), row)[0] for row in rows]
        return torch.stack(found).reshape(pairs.shape)

    with mpmath.workdps(40):
        exact = [(mpmath.mpf(a), mpmath.mpf(b)) for a, b in ORDERS]
        slopes = [(-1 / a, 1 / b) if b > a else (1 / a, -1 / b) for a, b in exact]
        affinity = [mpmath.sqrt(a * b) * (b - a) / (a + b) ** 2 for a, b in exact]
        affinities = [(x / a, -x / b) for x, (a, b) in zip(affinity, exact, strict=True)]
        slopes, affinities = (np.array(x, dtype=float) for x in (slopes, affinities))
    found = gradient(manifolds.fisher_rao_distance)
    np.testing.assert_allclose(found, slopes, rtol=1e-13)
    found = gradient(manifolds.bhattacharyya_coefficient)
    np.testing.assert_allclose(found, affinities, rtol=2e-13)
