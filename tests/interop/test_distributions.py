"""Distributions of torch and scipy arrive as the points that they are, with their gradients."""

import contextlib
import inspect
import math
import re
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.stats import _distr_params
from torch import distributions

import infogeo
from infogeo import logits, multivariate_normal, normal, simplex
from infogeo._points import Points, fields
from infogeo.interop.distributions import from_distribution, reading
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal


def t(x):
    return torch.tensor(x, dtype=torch.float64)


MEAN, COV = [1.0, -2.0], [[2.0, 0.5], [0.5, 1.0]]


def random_covariances(rng, *batch, d=3):
    factor = rng.standard_normal((*batch, d, d))
    return torch.tensor(factor @ np.swapaxes(factor, -1, -2) + 0.5 * np.eye(d))


# ---------------------------------------------------------------- torch


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_normals_are_normals(dtype):
    mean, std = torch.zeros(4, 1, dtype=dtype), torch.ones(3, dtype=dtype)
    point = from_distribution(distributions.Normal(mean, std))
    assert isinstance(point, Normal)
    assert (point.shape, point.mean.dtype, point.std.dtype) == ((4, 3), dtype, dtype)


@pytest.mark.parametrize(("num_axes", "shape"), [(0, (2, 3, 4)), (1, (2, 3, 4)), (2, (2, 12))])
def test_torch_independent_normals_have_their_components_last(rng, num_axes, shape):
    mean = torch.tensor(rng.standard_normal((2, 3, 4)))
    given = distributions.Independent(distributions.Normal(mean, 2.0), num_axes)
    point = from_distribution(given)
    assert isinstance(point, Normal)
    assert point.shape == shape
    torch.testing.assert_close(point.mean.reshape(-1), mean.reshape(-1), rtol=0, atol=0)


def test_torch_independent_normals_have_the_density_that_torch_gives_them(rng):
    """The sum of the components' log-densities is that of the diagonal distribution."""
    mean, std = torch.tensor(rng.standard_normal((2, 5, 3)))
    std = std.exp()
    given = distributions.Independent(distributions.Normal(mean, std), 1)
    point = from_distribution(given)
    x = torch.tensor(rng.standard_normal((5, 3)))
    density = -0.5 * ((x - point.mean) / point.std) ** 2 - torch.log(point.std)
    expected = (density - 0.5 * math.log(2.0 * math.pi)).sum(-1)
    torch.testing.assert_close(given.log_prob(x), expected)


@pytest.mark.parametrize("parameter", ["covariance_matrix", "precision_matrix", "scale_tril"])
def test_torch_multivariate_normals_in_any_parametrisation(rng, parameter):
    cov, mean = random_covariances(rng, 4), torch.tensor(rng.standard_normal(3))
    value = {
        "covariance_matrix": cov,
        "precision_matrix": torch.linalg.inv(cov),
        "scale_tril": torch.linalg.cholesky(cov),
    }[parameter]
    point = from_distribution(distributions.MultivariateNormal(mean, **{parameter: value}))
    assert isinstance(point, MultivariateNormal)
    assert (point.shape, point.dim) == ((4,), 3)
    torch.testing.assert_close(point.cov, cov, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(point.mean, mean.expand(4, 3), rtol=0, atol=0)


def test_torch_low_rank_multivariate_normals(rng):
    factor, diagonal = torch.tensor(rng.standard_normal((3, 2))), torch.ones(3).double()
    given = distributions.LowRankMultivariateNormal(torch.zeros(3).double(), factor, diagonal)
    expected = factor @ factor.mT + torch.eye(3)
    torch.testing.assert_close(from_distribution(given).cov, expected)


@pytest.mark.parametrize("parameter", ["probs", "logits"])
def test_torch_categorical_is_probabilities(parameter):
    p = torch.tensor([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]], dtype=torch.float64)
    value = p if parameter == "probs" else p.log()
    point = from_distribution(distributions.Categorical(**{parameter: value}, validate_args=False))
    torch.testing.assert_close(point, p)
    np.testing.assert_allclose(
        simplex.fisher_rao_distance(point[0], point[1]), 2.0 * math.acos(math.sqrt(0.3))
    )


def test_torch_bernoulli_is_failure_and_success():
    p = torch.tensor([0.0, 0.25, 1.0])
    point = from_distribution(distributions.Bernoulli(p))
    assert point.tolist() == [[1.0, 0.0], [0.75, 0.25], [0.0, 1.0]]


@pytest.mark.parametrize("logit", [50.0, -50.0])
@pytest.mark.parametrize("touched", [False, True])
def test_torch_bernoulli_from_logits_keeps_its_tails(logit, touched):
    given = distributions.Bernoulli(logits=torch.tensor(logit, dtype=torch.float64))
    if touched:
        given.probs  # noqa: B018  torch stores it in the distribution
    small = from_distribution(given).min()
    np.testing.assert_allclose(small, math.exp(-50.0), rtol=1e-14)


def test_torch_bernoulli_from_probabilities_keeps_its_zeros():
    given = distributions.Bernoulli(torch.tensor([0.0, 1.0]))
    given.logits  # noqa: B018  torch clips them and stores them
    assert from_distribution(given).tolist() == [[1.0, 0.0], [0.0, 1.0]]


# ---------------------------------------------------------------- gradients


def test_gradients_reach_the_parameters_of_a_normal():
    mean, std = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.3, 1.2))
    point = from_distribution(distributions.Normal(mean, std))
    other = Normal(torch.tensor(-1.0).double(), torch.tensor(2.0).double())
    normal.fisher_rao_squared_distance(point, other).backward()

    def squared(m, s):
        return normal.fisher_rao_squared_distance(Normal(m, s), Normal(-1.0, 2.0))

    h = 1e-6
    np.testing.assert_allclose(
        [mean.grad, std.grad],
        [
            (squared(0.3 + h, 1.2) - squared(0.3 - h, 1.2)) / (2.0 * h),
            (squared(0.3, 1.2 + h) - squared(0.3, 1.2 - h)) / (2.0 * h),
        ],
        rtol=1e-8,
    )


@pytest.mark.parametrize("parameter", ["covariance_matrix", "scale_tril"])
def test_gradients_reach_the_parameters_of_a_multivariate_normal(parameter):
    cov = torch.tensor(COV, dtype=torch.float64)
    value = cov if parameter == "covariance_matrix" else torch.linalg.cholesky(cov)
    value.requires_grad_()
    given = distributions.MultivariateNormal(
        torch.tensor(MEAN).double(), **{parameter: value}, validate_args=False
    )
    other = MultivariateNormal(np.zeros(2), np.eye(2))
    squared = multivariate_normal.fisher_rao_squared_distance(
        from_distribution(given),
        MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double()),
    )
    squared.backward()
    direction, h = np.array([[0.3, 0.0], [0.2, -0.4]]), 1e-5

    def along(step):
        at = value.detach().numpy() + step * direction
        at = at @ at.T if parameter == "scale_tril" else 0.5 * (at + at.T)
        return multivariate_normal.fisher_rao_squared_distance(MultivariateNormal(MEAN, at), other)

    np.testing.assert_allclose(
        (value.grad.numpy() * direction).sum(), (along(h) - along(-h)) / (2.0 * h), rtol=1e-7
    )


def test_gradients_reach_logits():
    logits = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64, requires_grad=True)
    p = from_distribution(distributions.Categorical(logits=logits))
    p[0].backward()
    s = torch.softmax(logits.detach(), 0)
    expected = s[0] * (torch.tensor([1.0, 0.0, 0.0]).double() - s)
    torch.testing.assert_close(logits.grad, expected)


# ---------------------------------------------------------------- scipy


@pytest.mark.parametrize(
    ("given", "mean", "std"),
    [
        (scipy.stats.norm(), 0.0, 1.0),
        (scipy.stats.norm(3.0), 3.0, 1.0),
        (scipy.stats.norm(3.0, 1e200), 3.0, 1e200),
        (scipy.stats.norm(scale=0.1, loc=-2), -2.0, 0.1),
        (scipy.stats.norm(3.0, scale=2.0), 3.0, 2.0),
    ],
)
def test_scipy_norm(given, mean, std):
    point = from_distribution(given)
    assert (point.shape, float(point.mean), float(point.std)) == ((), mean, std)


def test_scipy_norm_of_arrays_is_a_batch():
    point = from_distribution(scipy.stats.norm([[0.0], [1.0]], [1.0, 2.0, 3.0]))
    assert point.shape == (2, 3)


@pytest.mark.parametrize(
    "cov", [COV, scipy.stats.Covariance.from_cholesky(np.linalg.cholesky(COV))]
)
def test_scipy_multivariate_normal(cov):
    point = from_distribution(scipy.stats.multivariate_normal(MEAN, cov))
    np.testing.assert_allclose(point.mean, MEAN, rtol=0)
    np.testing.assert_allclose(point.cov, COV, rtol=1e-15)


def test_scipy_multivariate_normal_of_one_dimension():
    assert from_distribution(scipy.stats.multivariate_normal(2.0, 3.0)).cov.tolist() == [[3.0]]


def test_scipy_bernoulli():
    np.testing.assert_array_equal(
        from_distribution(scipy.stats.bernoulli([0.25, 1.0])), [[0.75, 0.25], [0.0, 1.0]]
    )
    np.testing.assert_array_equal(from_distribution(scipy.stats.bernoulli(p=0.5)), [0.5, 0.5])


# ---------------------------------------------------------------- what is not known


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (distributions.Kumaraswamy(1.0, 1.0), "Kumaraswamy"),
        (distributions.Independent(distributions.Bernoulli(torch.full((3,), 0.5)), 1), "Independ"),
        (scipy.stats.triang(0.5), "rv_continuous_frozen"),
        (scipy.stats.norm, "norm_gen"),
        (scipy.stats.multivariate_normal, "multivariate_normal_gen"),
        (np.array([0.5, 0.5]), "numpy.ndarray"),
        (None, "NoneType"),
    ],
)
def test_unknown_distributions_are_told_what_is_known(given, seen):
    with pytest.raises(TypeError, match=seen) as caught:
        from_distribution(given)
    for known in ("Categorical", "LowRank", "Independent(Normal", "norm(...)", "bernoulli(...)"):
        assert known in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (scipy.stats.norm(0.0, -1.0), "std must"),
        (scipy.stats.bernoulli(1.5), "distribution must hold probabilities"),
        (
            scipy.stats.multivariate_normal([0.0, 0.0], np.ones((2, 2)), allow_singular=True),
            "cov must be positive definite",
        ),
    ],
)
def test_values_that_no_distribution_has(given, message):
    with pytest.raises(ValueError, match=message):
        from_distribution(given)


def test_neither_library_is_imported():
    code = "import sys, infogeo.interop.distributions; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert {"torch", "scipy.stats", "sklearn"}.isdisjoint(run.stdout.split())


# ---------------------------------------------------------------- read whole, or refused

P3, ZERO, ONE = t([0.2, 0.3, 0.5]), t(0.3), t(1.7)
TORCH = {
    "Bernoulli": lambda d: d.Bernoulli(t([0.3, 0.9])),
    "Beta": lambda d: d.Beta(ONE, ONE),
    "Binomial": lambda d: d.Binomial(3, t(0.3)),
    "Categorical": lambda d: d.Categorical(torch.stack([P3, 2.0 * P3.flip(0)])),
    "Cauchy": lambda d: d.Cauchy(ZERO, ONE),
    "Chi2": lambda d: d.Chi2(ONE),
    "ContinuousBernoulli": lambda d: d.ContinuousBernoulli(ZERO),
    "Dirichlet": lambda d: d.Dirichlet(P3),
    "Exponential": lambda d: d.Exponential(ONE),
    "FisherSnedecor": lambda d: d.FisherSnedecor(ONE, ONE),
    "Gamma": lambda d: d.Gamma(ONE, ONE),
    "GeneralizedPareto": lambda d: d.GeneralizedPareto(ZERO, ONE, ZERO),
    "Geometric": lambda d: d.Geometric(ZERO),
    "Gumbel": lambda d: d.Gumbel(ZERO, ONE),
    "HalfCauchy": lambda d: d.HalfCauchy(ONE),
    "HalfNormal": lambda d: d.HalfNormal(ONE),
    "Independent": lambda d: d.Independent(d.LogNormal(P3.expand(2, 3), P3), 1),
    "InverseGamma": lambda d: d.InverseGamma(ONE, ONE),
    "Kumaraswamy": lambda d: d.Kumaraswamy(ONE, ONE),
    "LKJCholesky": lambda d: d.LKJCholesky(2, ONE),
    "Laplace": lambda d: d.Laplace(ZERO, ONE),
    "LogNormal": lambda d: d.LogNormal(P3, ONE),
    "LogisticNormal": lambda d: d.LogisticNormal(P3, P3),
    "LowRankMultivariateNormal": lambda d: d.LowRankMultivariateNormal(P3, P3[:, None], P3),
    "MixtureSameFamily": lambda d: d.MixtureSameFamily(d.Categorical(P3), d.Normal(P3, ONE)),
    "Multinomial": lambda d: d.Multinomial(3, P3),
    "MultivariateNormal": lambda d: d.MultivariateNormal(P3, torch.diag(P3)),
    "NegativeBinomial": lambda d: d.NegativeBinomial(ONE, ZERO),
    "Normal": lambda d: d.Normal(P3, ONE),
    "OneHotCategorical": lambda d: d.OneHotCategorical(logits=P3),
    "OneHotCategoricalStraightThrough": lambda d: d.OneHotCategoricalStraightThrough(P3),
    "Pareto": lambda d: d.Pareto(ONE, ONE),
    "RelaxedBernoulli": lambda d: d.RelaxedBernoulli(ONE, ZERO),
    "RelaxedOneHotCategorical": lambda d: d.RelaxedOneHotCategorical(ONE, P3),
    "StudentT": lambda d: d.StudentT(ONE, ZERO, ONE),
    "Poisson": lambda d: d.Poisson(ONE),
    "Uniform": lambda d: d.Uniform(ZERO, ONE),
    "VonMises": lambda d: d.VonMises(ZERO, ONE),
    "Weibull": lambda d: d.Weibull(ONE, ONE),
    "Wishart": lambda d: d.Wishart(t(3.5), torch.eye(2).double()),
    "TransformedDistribution": lambda d: d.TransformedDistribution(
        d.Normal(ZERO, ONE), [d.transforms.AffineTransform(1.0, -3.0)]
    ),
}
OF_TORCH = {
    "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Chi2", "Dirichlet", "Exponential",
    "Gamma", "Geometric", "Gumbel", "HalfNormal", "Independent", "Laplace", "LogNormal",
    "LowRankMultivariateNormal",
    "Multinomial", "MultivariateNormal", "NegativeBinomial", "Normal", "OneHotCategorical",
    "OneHotCategoricalStraightThrough", "Pareto", "Poisson", "StudentT", "VonMises", "Weibull",
    "Wishart",
}  # fmt: skip


def log_density(given, x):
    """Return the log-density at samples, by scipy, of the point that we make of a distribution."""
    read = reading(given, True)
    point = from_distribution(given)
    jacobian = 0.0
    if read.of_logarithms:
        jacobian = -np.log(x)
        x = np.log(x)
    if isinstance(point, Normal):
        density = scipy.stats.norm.logpdf(x, np.asarray(point.mean), np.asarray(point.std))
        density = density + jacobian
        return density.sum(-1) if read.num_event_axes else density
    if isinstance(point, MultivariateNormal):
        normals = scipy.stats.multivariate_normal(point.mean, point.cov)
        return normals.logpdf(x)
    if isinstance(point, Points):
        on_host = type(point)(*(np.asarray(value) for value in fields(point)))
        return read.space.log_density(on_host, x)
    log_p = np.log(np.asarray(point))
    if x.shape[-1:] == log_p.shape[-1:] and (x.sum(-1) == 1.0).all():  # one-hot
        return (x * log_p).sum(-1)
    outcomes = np.broadcast_to(log_p, (*x.shape, log_p.shape[-1]))
    return np.take_along_axis(outcomes, x.astype(int)[..., None], axis=-1)[..., 0]


def test_every_distribution_of_torch_is_known_here():
    classes = {
        name
        for name in distributions.__all__
        if inspect.isclass(getattr(distributions, name))
        and issubclass(getattr(distributions, name), distributions.Distribution)
    }
    assert classes - set(TORCH) == {"Distribution", "ExponentialFamily"}


@pytest.mark.filterwarnings("ignore:Singular sample")  # torch says it of rounding
@pytest.mark.parametrize("name", [name for name in TORCH if hasattr(distributions, name)])
def test_distributions_of_torch_are_read_whole_or_refused(name):
    given = TORCH[name](distributions)
    if name not in OF_TORCH:
        with pytest.raises(TypeError, match="distribution must be one of these"):
            from_distribution(given)
        return
    torch.manual_seed(0)
    x = given.sample((7,))
    # The Bessel functions of torch have eight digits.
    rtol = 1e-7 if name == "VonMises" else 1e-12
    np.testing.assert_allclose(log_density(given, x.numpy()), given.log_prob(x), rtol=rtol)


@pytest.mark.parametrize(("loc", "scale"), [(0.0, 1.0), (0.0, 2.5), (1.0, 2.5)])
def test_distributions_of_scipy_are_read_whole_or_refused(loc, scale):
    """All families of scipy with the parameters of scipy's own tests."""
    read = set()
    for name, parameters in (*_distr_params.distcont, *_distr_params.distdiscrete):
        family = getattr(scipy.stats, name) if isinstance(name, str) else name
        is_discrete = isinstance(family, scipy.stats.rv_discrete)
        given = family(*parameters, loc=loc, **({} if is_discrete else {"scale": scale}))
        try:
            from_distribution(given)
        except TypeError:
            continue
        read.add(family.name)
        x = given.ppf([0.1, 0.4, 0.95])
        expected = given.logpmf(x) if is_discrete else given.logpdf(x)
        np.testing.assert_allclose(log_density(given, x), expected, rtol=1e-12)
    shifted = {"norm", "laplace", "cauchy", "gumbel_l", "gumbel_r", "logistic", "t", "gennorm"}
    fixed = {"lognorm", "bernoulli", "poisson", "expon", "rayleigh", "halfnorm", "maxwell"}
    fixed |= {"pareto", "weibull_min", "invweibull", "invgauss", "binom", "nbinom", "gamma"}
    fixed |= {"chi2", "erlang", "wald"}
    if scale == 1.0:  # these have no scale
        fixed |= {"beta", "vonmises", "arcsine", "powerlaw", "uniform"}
    assert read == (shifted | fixed if loc == 0.0 else shifted)


X = scipy.stats.Normal(mu=[1.0, -2.0], sigma=2.0)
MADE = scipy.stats.make_distribution
SYMMETRIC = (
    MADE(scipy.stats.laplace)(),
    MADE(scipy.stats.cauchy)(),
    MADE(scipy.stats.t)(df=3.0),
    MADE(scipy.stats.gennorm)(beta=1.5),
)


@pytest.mark.parametrize(
    ("given", "method"),
    [
        (X, "logpdf"),
        (scipy.stats.Normal(), "logpdf"),
        (3.0 - 0.5 * X, "logpdf"),
        (scipy.stats.make_distribution(scipy.stats.norm)(), "logpdf"),
        (2.0 * scipy.stats.make_distribution(scipy.stats.norm)() - 1.0, "logpdf"),
        (scipy.stats.make_distribution(scipy.stats.lognorm)(s=0.5), "logpdf"),
        (2.0 * scipy.stats.make_distribution(scipy.stats.lognorm)(s=0.5), "logpdf"),
        (scipy.stats.make_distribution(scipy.stats.bernoulli)(p=0.3), "logpmf"),
        (scipy.stats.make_distribution(scipy.stats.laplace)(), "logpdf"),
        (scipy.stats.Binomial(n=1, p=0.3), "logpmf"),
        (scipy.stats.exp(X), "logpdf"),
        (scipy.stats.log(scipy.stats.exp(X)), "logpdf"),
        (scipy.stats.Logistic(), "logpdf"),
        (2.0 - 0.5 * scipy.stats.Logistic(), "logpdf"),
        (scipy.stats.Uniform(a=0.0, b=1.0), "logpdf"),
        *((3.0 - 0.5 * x, "logpdf") for x in SYMMETRIC),
        (-MADE(scipy.stats.gumbel_r)(), "logpdf"),
        (1.0 - 2.0 * MADE(scipy.stats.gumbel_l)(), "logpdf"),
        (2.0 * -(1.0 - 2.0 * MADE(scipy.stats.gumbel_l)()), "logpdf"),
        (1.0 - MADE(scipy.stats.beta)(a=2.0, b=3.5), "logpdf"),
        (1.0 - (1.0 - MADE(scipy.stats.beta)(a=2.0, b=3.5)), "logpdf"),
        (1.0 - scipy.stats.Uniform(a=0.0, b=1.0), "logpdf"),
        (0.0 - 2.0 * X, "logpdf"),
    ],
    ids=str,
)
def test_random_variables_of_scipy_are_read(given, method):
    x = np.array([0.0, 1.0, 1.0]) if method == "logpmf" else given.icdf(np.array([[0.1], [0.7]]))
    if method == "logpdf" and np.ndim(given.mean()) == 0:
        x = x[:, 0]
    np.testing.assert_allclose(log_density(given, x), getattr(given, method)(x), rtol=1e-12)


WAYS_OUT = re.compile(r"infogeo\.|pass |call it|Leave it out|use a distribution|one-to-one")


def of_scipy():
    """Yield what scipy has: all older families, newer ones, and vectors."""
    for name, parameters in (*_distr_params.distcont, *_distr_params.distdiscrete):
        family = getattr(scipy.stats, name) if isinstance(name, str) else name
        yield family(*parameters)
    yield from (scipy.stats.Normal(), scipy.stats.Logistic(), scipy.stats.Uniform(a=0.0, b=3.0))
    yield scipy.stats.Binomial(n=3, p=0.3)
    eye = np.eye(2)
    vectors = {
        "dirichlet": ([1.0, 2.0],),
        "dirichlet_multinomial": ([1.0, 2.0], 3),
        "invwishart": (3.0, eye),
        "matrix_normal": (0.0 * eye, eye, eye),
        "matrix_t": (0.0 * eye, eye, eye, 3.0),
        "multinomial": (3, [0.2, 0.8]),
        "multivariate_hypergeom": ([3, 4], 2),
        "multivariate_normal": ([0.0, 1.0], eye),
        "multivariate_t": ([0.0, 1.0], eye, 3.0),
        "normal_inverse_gamma": (0.0, 1.0, 1.0, 1.0),
        "ortho_group": (3,),
        "random_table": ([1, 2], [2, 1]),
        "special_ortho_group": (3,),
        "uniform_direction": (3,),
        "unitary_group": (3,),
        "vonmises_fisher": ([0.0, 1.0], 2.0),
        "wishart": (3.0, eye),
    }
    for name, parameters in vectors.items():
        if hasattr(scipy.stats, name):
            yield getattr(scipy.stats, name)(*parameters)


def made_by_scipy():
    """Yield distributions of the newer kind of all older families, which takes seconds."""
    for name, parameters in (*_distr_params.distcont, *_distr_params.distdiscrete):
        family = getattr(scipy.stats, name) if isinstance(name, str) else name
        names = family.shapes.replace(" ", "").split(",") if family.shapes else ()
        with contextlib.suppress(NotImplementedError):
            yield MADE(family)(**dict(zip(names, parameters, strict=True)))


def tried(given):
    """Return how many distributions are read, and the reasons why others are not."""
    reasons = []
    for distribution in given:
        try:
            from_distribution(distribution)
        except TypeError as error:
            reasons.append(str(error).partition(". Got ")[2].partition(":")[2])
        else:
            reasons.append("")
    return reasons.count(""), [x for x in reasons if x]


@pytest.mark.parametrize(
    ("of_library", "least"),
    [
        (lambda: [make(distributions) for make in TORCH.values()], 28),
        (of_scipy, 40),
        pytest.param(made_by_scipy, 30, marks=[pytest.mark.slow, pytest.mark.campaign]),
    ],
    ids=["torch", "scipy", "newer scipy"],
)
def test_what_is_refused_is_told_the_way_out(of_library, least):
    """All distributions of torch and of scipy: each is read, or told what else can be done."""
    read, reasons = tried(of_library())
    assert read >= least
    assert reasons
    assert [x for x in reasons if not WAYS_OUT.search(x)] == []


@pytest.mark.parametrize("name", ["gumbel", "gumbel_min", "beta", "student_t", "laplace"])
def test_reflections_are_isometries(name):
    """Distances of two distributions are those of their reflections, which lead back."""
    space = infogeo._spaces.resolve(name)
    parameters = (3.0, 0.4, 1.5), (3.0, 2.0, 0.7)
    a, b = (space.POINTS(*x[-len(space.POINTS.rules) :]) for x in parameters)
    (other, p, centre), (_, q, _) = space.REFLECTED(a), space.REFLECTED(b)
    found = other.fisher_rao_distance(p, q)
    np.testing.assert_allclose(found, space.fisher_rao_distance(a, b), rtol=1e-13)
    back, again, same_centre = other.REFLECTED(p)
    assert (back, same_centre) == (space, centre)
    assert fields(again) == fields(a)


class OtherSupport(type(scipy.stats.norm)):
    pass


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (scipy.stats.truncate(X, 0.0, 1.0), "TruncatedDistribution"),
        (scipy.stats.exp(scipy.stats.Logistic()), "one-to-one function"),
        (scipy.stats.exp(scipy.stats.exp(X)), "one-to-one function"),
        (scipy.stats.Uniform(a=0.0, b=2.0), "support moves"),
        (scipy.stats.uniform(0.0, 2.0), "support moves"),
        (distributions.Uniform(t(-1.0), t(1.0)), "support moves"),
        (1.0 - scipy.stats.make_distribution(scipy.stats.gamma)(a=2.0), "one-to-one function"),
        (2.0 - scipy.stats.make_distribution(scipy.stats.beta)(a=2.0, b=3.0), "one-to-one"),
        (scipy.stats.expon(1.0), "Leave it out where all distributions share it"),
        (scipy.stats.invgamma(2.0), "has a gamma distribution"),
        (distributions.InverseGamma(t(2.0), t(1.0)), "has a gamma distribution"),
        (scipy.stats.norm, "call it with some"),
        (scipy.stats.abs(X), "FoldedDistribution"),
        (scipy.stats.order_statistic(X, r=1, n=2), "OrderStatisticDistribution"),
        (scipy.stats.Mixture([scipy.stats.Normal(), scipy.stats.Normal(mu=1.0)]), "Mixture"),
        (scipy.stats.make_distribution(scipy.stats.levy)(), "Levy"),
        (
            scipy.stats.make_distribution(scipy.stats.lognorm)(s=0.5) + 1.0,
            "are not known for the family",
        ),
        (scipy.stats.bernoulli(0.3, loc=2), "Its loc is 2"),
        (scipy.stats.lognorm(0.5, 1.0), "Its loc is 1.0"),
        (scipy.stats.geom(0.3), "a shift other than -1"),
        (scipy.stats.rv_discrete(values=([1, 2], [0.5, 0.5])), "rv_sample"),
        (type(scipy.stats.norm)(a=0.0, name="half")(), "rv_continuous_frozen"),
        (OtherSupport(name="other")(), "rv_continuous_frozen"),
        (distributions.Independent(distributions.Categorical(torch.eye(3)), 1), "add up"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_has_no_point_is_refused_with_the_reason(given, reason):
    with pytest.raises(TypeError, match=re.escape(reason)):
        from_distribution(given)


def test_one_trial_is_one_trial():
    expected = [0.7, 0.3]
    for given in (
        distributions.Binomial(1, t(0.3)),
        distributions.Multinomial(1, t(expected)),
        scipy.stats.binom(1, 0.3),
        scipy.stats.binom(p=0.3, n=1),
        scipy.stats.multinomial(1, expected),
    ):
        np.testing.assert_allclose(from_distribution(given), expected, rtol=1e-14)


def test_several_trials_are_binomial_distributions():
    for given in (
        distributions.Binomial(4, t(0.3)),
        scipy.stats.binom(4, 0.3),
        scipy.stats.Binomial(n=4, p=0.3),
    ):
        point = from_distribution(given)
        assert (type(point).__name__, float(point.total_count)) == ("Binomial", 4.0)
        np.testing.assert_allclose(point.probs, 0.3, rtol=1e-15)
    assert (
        float(from_distribution(distributions.Binomial(1, t(0.3)), space="binomial").probs) == 0.3
    )
    point = from_distribution(scipy.stats.bernoulli(0.3), space="bernoulli")
    assert float(point.probs) == 0.3


class Truncated(distributions.Normal):
    def log_prob(self, value):
        return super().log_prob(value) + math.log(2.0)


def test_derived_classes_with_a_density_of_their_own_are_refused():
    with pytest.raises(TypeError, match="Its log_prob is not that of Normal"):
        from_distribution(Truncated(t(0.0), t(1.0)))


# ---------------------------------------------------------------- logits stay logits


def bernoulli(logit):
    return distributions.Bernoulli(logits=logit)


def categorical(logit):
    return distributions.Categorical(logits=torch.stack([torch.zeros_like(logit), logit]))


def one_hot(logit):
    return distributions.OneHotCategorical(logits=torch.stack([torch.zeros_like(logit), logit]))


@pytest.mark.parametrize("make", [bernoulli, categorical, one_hot])
@pytest.mark.parametrize(
    ("dtype", "logit", "rtol"),
    [
        (torch.float64, 200.0, 1e-10),
        (torch.float64, -200.0, 1e-10),
        (torch.float64, 0.0, 1e-10),
        (torch.float32, 60.0, 1e-5),
        (torch.float16, -20.0, 1e-5),
        (torch.bfloat16, 60.0, 1e-5),
    ],
)
def test_gradients_of_saturated_logits_are_right(make, dtype, logit, rtol):
    """The angle is 2 arcsin sqrt(p): its derivative by the logit is sqrt(p (1 - p))."""
    z = torch.tensor(logit, dtype=dtype, requires_grad=True)
    other = make(torch.tensor(0.5, dtype=dtype))
    infogeo.fisher_rao_distance(make(z), other).backward()
    size = math.exp(-0.5 * abs(logit)) / (1.0 + math.exp(-abs(logit)))
    rtol = 1e-2 if dtype in (torch.float16, torch.bfloat16) else rtol  # of the gradient itself
    np.testing.assert_allclose(z.grad.double(), math.copysign(size, logit - 0.5), rtol=rtol)
    given = from_distribution(make(z), space="logits")
    kl = logits.kl_divergence(given, from_distribution(other, space="logits"))
    expected = torch.nn.functional.softplus(torch.tensor(logit).double())
    p = torch.sigmoid(torch.tensor(logit).double())
    expected = (p * (logit - 0.5) - expected + math.log1p(math.exp(0.5))).item()
    np.testing.assert_allclose(float(kl.detach()), expected, rtol=1e-2 if rtol > 1e-3 else 1e-5)


def test_bernoulli_logits_near_0_and_at_infinity_keep_their_digits():
    d = infogeo.fisher_rao_distance(bernoulli(t(1e-12)), bernoulli(t(0.0)))
    np.testing.assert_allclose(d, 0.5e-12, rtol=1e-12)
    certain = from_distribution(bernoulli(t([math.inf, -math.inf])))
    assert certain.tolist() == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize("expand", [False, True])
def test_logits_that_torch_has_clipped_are_not_the_parameter(expand):
    """torch keeps both parameters once it was asked for both, and expanding forgets the first."""
    p = t([0.0, 0.5, 0.5])
    for given, expected in (
        (distributions.Categorical(p), p),
        (distributions.Bernoulli(p[0]), t([1.0, 0.0])),
        (distributions.OneHotCategorical(p), p),
    ):
        given.logits, given.probs  # noqa: B018
        given = given.expand((2,)) if expand else given
        point = from_distribution(given)
        torch.testing.assert_close(point, expected.expand(point.shape), rtol=0.0, atol=0.0)
    tails = categorical(t(-800.0))
    tails.probs  # noqa: B018
    tails = tails.expand((2,)) if expand else tails
    assert from_distribution(tails, space=logits)[..., 1].max() == -800.0


def test_points_in_the_space_that_is_asked_for():
    given = distributions.Categorical(P3)
    np.testing.assert_allclose(
        logits.to_simplex(from_distribution(given, space="logits")), P3, rtol=1e-14
    )
    joint = distributions.Independent(distributions.Normal(P3, P3), 1)
    point = from_distribution(joint, space="multivariate_normal")
    np.testing.assert_allclose(point.cov, np.diag(P3**2), rtol=1e-14)
    assert isinstance(from_distribution(joint, space=normal), Normal)
    for other, space in ((given, "normal"), (joint.base_dist, "multivariate_normal")):
        with pytest.raises(ValueError, match="space must have this distribution among its points"):
            from_distribution(other, space=space)


# ---------------------------------------------------------------- halves, lognormals, blocks


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("c", [2, 10, 1000])
def test_points_of_half_precision_are_points(dtype, c):
    """Every function of the space takes them, though halves round their sums."""
    p = torch.softmax(torch.linspace(-3.0, 2.0, c), 0).to(dtype)
    for given in (distributions.Categorical(p), distributions.OneHotCategorical(p)):
        point = from_distribution(given)
        assert point.dtype == torch.float32
        wide = given.probs.double()
        torch.testing.assert_close(point.double(), wide / wide.sum(), rtol=1e-6, atol=0.0)
        assert simplex.fisher_rao_distance(point, point) == 0.0
    point = from_distribution(distributions.Bernoulli(p[0]))
    assert point[0] == 1.0 - p[0].float()
    assert simplex.entropy(point) > 0.0


def test_lognormals_are_the_normals_of_their_logarithms():
    a, b = distributions.LogNormal(t(0.3), t(2.0)), distributions.LogNormal(t(-1.0), t(0.5))
    np.testing.assert_allclose(
        normal.kl_divergence(from_distribution(a), from_distribution(b)),
        distributions.kl_divergence(a, b),
        rtol=1e-14,
    )
    d = infogeo.fisher_rao_distance(a, b)
    assert d == normal.fisher_rao_distance(Normal(t(0.3), t(2.0)), Normal(t(-1.0), t(0.5)))
    for other in (a.base_dist, from_distribution(a)):
        with pytest.raises(TypeError, match=r"LogNormal \(of infogeo.normal, by its logarithms\)"):
            infogeo.fisher_rao_distance(a, other)
    scipys = from_distribution(scipy.stats.lognorm(0.5, scale=math.exp(2.0)))
    np.testing.assert_allclose([scipys.mean, scipys.std], [2.0, 0.5], rtol=1e-14)
    with pytest.raises(ValueError, match="scale must be positive"):
        from_distribution(scipy.stats.lognorm(0.5, scale=-1.0))


def test_independent_normals_of_several_kinds_are_joint_normals(rng):
    cov = random_covariances(rng, 4, 2)
    base = distributions.MultivariateNormal(torch.tensor(rng.standard_normal((4, 2, 3))), cov)
    given = distributions.Independent(base, 1)
    point = from_distribution(given)
    assert (point.shape, point.dim) == ((4,), 6)
    torch.manual_seed(0)
    x = given.sample()
    expected = [
        scipy.stats.multivariate_normal(m, s).logpdf(v.reshape(-1))
        for m, s, v in zip(point.mean, point.cov, x, strict=True)
    ]
    np.testing.assert_allclose(expected, given.log_prob(x), rtol=1e-12)
    nested = distributions.Independent(
        distributions.Independent(distributions.Normal(base.loc, 2.0), 1), 1
    )
    assert from_distribution(nested).shape == (4, 6)
    assert infogeo.fisher_rao_distance(nested, given).shape == (4,)


@pytest.mark.parametrize("name", ["Geometric", "NegativeBinomial", "Binomial"])
def test_probabilities_that_logits_have_lost_are_refused(name):
    count = () if name == "Geometric" else (3.0,)

    def read(logit, dtype):
        logits = torch.tensor(logit, dtype=dtype)
        return from_distribution(getattr(distributions, name)(*count, logits=logits)).probs

    for logit in (-200.0, -120.0):
        p = float(read(logit, torch.float64))
        np.testing.assert_allclose(p, np.exp(logit), rtol=1e-14)
        with pytest.raises(ValueError, match=f"float32: .* the logit {logit:g} is rounded to 0"):
            read([0.5, logit], torch.float32)
    with pytest.raises(ValueError, match=r"float64: .* the logit -800 is rounded to 0"):
        read(-800.0, torch.float64)
    if name != "Geometric":
        assert float(read(-np.inf, torch.float32)) == 0.0
