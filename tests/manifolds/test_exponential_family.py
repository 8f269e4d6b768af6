"""The generic geometry of a log-partition against families that have their own, and mp."""

import itertools
import math

import mpmath as mp
import numpy as np
import pandas as pd
import pytest
import torch

import infogeo
from infogeo import manifolds, neighbors, normal, simplex, testing
from infogeo.manifolds import ExponentialFamily
from infogeo.mean import frechet_mean
from infogeo.normal import Normal
from infogeo.pullback import PullbackMetric, heads


def log_gamma(x):
    """Return log Gamma(x) by Stirling's series from x + 10 on, which torch differentiates."""
    y = x + 10.0
    s = 1.0 / y**2
    series = 1 / 1188 - s * (691 / 360360 - s / 156)
    series = 1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s * series)))
    stirling = (y - 0.5) * y.log() - y + 0.5 * math.log(2.0 * math.pi) + series / y
    return stirling - sum((x + i).log() for i in range(10))


def of_normal(t):
    return -(t[0] ** 2) / (4.0 * t[1]) - 0.5 * torch.log(-2.0 * t[1])


def of_von_mises(t):
    k = (t**2).sum().sqrt()
    return torch.special.i0e(k).log() + k


def of_inverse_gaussian(t):
    return -2.0 * (t[0] * t[1]).sqrt() - 0.5 * torch.log(-2.0 * t[1])


POISSON = ExponentialFamily(lambda t: t.exp().sum())
# Normal distributions by (mean, log std).
NORMAL = ExponentialFamily(
    of_normal,
    lambda x: torch.stack([x[0] * torch.exp(-2.0 * x[1]), -0.5 * torch.exp(-2.0 * x[1])]),
    lambda t: torch.stack([-t[0] / (2.0 * t[1]), -0.5 * torch.log(-2.0 * t[1])]),
)
TRINOMIAL = ExponentialFamily(lambda t: torch.logsumexp(torch.cat([t, t.new_zeros(1)]), 0))
DIRICHLET = ExponentialFamily(
    lambda t: log_gamma(t).sum() - log_gamma(t.sum()), torch.exp, torch.log
)
GAMMA = ExponentialFamily(
    lambda t: log_gamma(t[0]) - t[0] * torch.log(-t[1]),
    lambda x: torch.stack([x[0].exp(), -x[1].exp()]),
    lambda t: torch.stack([t[0].log(), torch.log(-t[1])]),
)
# Exponential distributions cut off at 1: a sum over Gauss' nodes, smooth at 0.
GAUSS = [torch.tensor(v) for v in np.polynomial.legendre.leggauss(40)]
CUT_OFF = ExponentialFamily(
    lambda t: torch.logsumexp(t * 0.5 * (GAUSS[0] + 1.0) + (0.5 * GAUSS[1]).log(), 0)
)
# A chain of three spins, with a field and a coupling of neighbours.
SPINS = [(a + b + c, a * b + b * c) for a, b, c in itertools.product((-1, 1), repeat=3)]
ISING = ExponentialFamily(lambda t: torch.logsumexp(torch.tensor(SPINS, dtype=t.dtype) @ t, 0))
A, B = np.array([0.3, -0.2]), np.array([1.5, 0.6])
ENDS = [Normal(x[0], math.exp(x[1])) for x in (A, B)]


# ---------------------------------------------------------------- against our own families


def categorical(x):
    return np.append(np.exp(x), 1.0) / (np.exp(x).sum() + 1.0)


# Family, two points of it, and the space and the points that they are there.
OURS = {
    "poisson": (POISSON, [1.0], [2.5], lambda x: manifolds.Poisson(math.exp(x[0]))),
    "exponential": (
        ExponentialFamily(lambda t: -torch.log(-t).sum()),
        *([-1.0], [-2.5], lambda x: manifolds.Exponential(-x[0])),
    ),
    "normal": (NORMAL, A, B, lambda x: Normal(x[0], math.exp(x[1]))),
    "gamma": (GAMMA, [0.7, 1.1], [1.6, 0.0], lambda x: manifolds.Gamma(*np.exp(x))),
    "dirichlet": (
        *(DIRICHLET, [0.0, 0.7, 1.1], [1.1, 0.0, 0.7]),
        lambda x: manifolds.Dirichlet(np.exp(x)),
    ),
    "beta": (DIRICHLET, [0.0, 2.0], [1.5, -0.5], lambda x: manifolds.Beta(*np.exp(x))),
    "inverse_gaussian": (
        ExponentialFamily(of_inverse_gaussian),
        *([-0.5, -0.5], [-0.1, -0.8]),
        lambda t: manifolds.InverseGaussian(math.sqrt(t[1] / t[0]), -2.0 * t[1]),
    ),
    "von_mises": (
        ExponentialFamily(of_von_mises),
        *([2.0, 0.0], [1.0, 1.5]),
        lambda t: manifolds.VonMises(math.atan2(t[1], t[0]), math.hypot(*t)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_distances_and_divergences_are_those_of_our_families(name):
    family, a, b, made = OURS[name]
    ours = [made(np.asarray(x)) for x in (a, b)]
    found = family.connect(a, b)
    assert found.status is infogeo.Status.CONVERGED
    assert found.distance == pytest.approx(float(infogeo.fisher_rao_distance(*ours)), rel=1e-13)
    expected = float(manifolds.kl_divergence(*ours))
    assert family.kl_divergence(a, b) == pytest.approx(expected, rel=1e-12)
    jeffreys = float(manifolds.jeffreys_divergence(*ours))
    assert family.jeffreys_divergence(a, b) == pytest.approx(jeffreys, rel=1e-12)
    hellinger = float(manifolds.hellinger_distance(*ours))
    assert family.hellinger_distance(a, b) == pytest.approx(hellinger, rel=1e-12)
    affinity = family.bhattacharyya_coefficient(a, b)
    assert affinity == pytest.approx(1.0 - hellinger**2, rel=1e-12)
    renyi = family.renyi_divergence(a, b, order=0.5)
    assert renyi == pytest.approx(-2.0 * math.log(affinity), rel=1e-12)


def test_outcomes_by_their_logits():
    p, q = (categorical(x) for x in (A, B))
    d = TRINOMIAL.fisher_rao_distance(A, B)
    assert d == pytest.approx(float(simplex.fisher_rao_distance(p, q)), rel=1e-13)
    curvature = TRINOMIAL.sectional_curvature([A, B], [1.0, 0.0], [0.3, 1.0])
    np.testing.assert_allclose(curvature, 0.25, rtol=1e-12)
    order = 3.0
    expected = simplex.renyi_divergence(p, q, order=order)
    assert TRINOMIAL.renyi_divergence(A, B, order=order) == pytest.approx(expected, rel=1e-12)
    # The mixture of a wide and a narrow normal distribution of a large order is none.
    assert NORMAL.renyi_divergence([0.0, 1.0], [0.0, 0.0], order=1.5) == math.inf


def test_maps_and_coordinates_of_normals():
    theta, eta = NORMAL.natural_parameters(A), NORMAL.expectation_parameters(A)
    np.testing.assert_allclose(theta, normal.natural_parameters(ENDS[0]), rtol=1e-14)
    np.testing.assert_allclose(eta, normal.expectation_parameters(ENDS[0]), rtol=1e-14)
    np.testing.assert_allclose(NORMAL.from_natural_parameters(theta), A, rtol=1e-14)
    np.testing.assert_allclose(NORMAL.from_expectation_parameters(eta), A, rtol=1e-12)
    t = np.array([0.0, 0.3, 1.0])
    for verb in ("fisher_rao_geodesic", "e_geodesic", "m_geodesic"):
        seen, expected = getattr(NORMAL, verb)(A, B, t), getattr(normal, verb)(*ENDS, t)
        expected = np.stack([expected.mean, np.log(expected.std)], axis=-1)
        np.testing.assert_allclose(seen, expected, rtol=1e-10, err_msg=verb)
    for verb in ("e_mean", "m_mean"):
        seen = getattr(NORMAL, verb)(np.stack([A, B, B]), weights=[2.0, 1.0, 1.0])
        expected = getattr(normal, verb)(Normal.stack(ENDS))
        np.testing.assert_allclose(seen, [expected.mean, np.log(expected.std)], rtol=1e-12)
    v = np.array([0.2, 0.5])
    at_a = normal.Tangent(v[0], v[1] * ENDS[0].std)
    for verb in ("parallel_transport", "e_transport", "m_transport"):
        seen, w = getattr(NORMAL, verb)(A, B, v), getattr(normal, verb)(*ENDS, at_a)
        np.testing.assert_allclose(seen, [w.mean, w.std / ENDS[1].std], rtol=1e-9, err_msg=verb)
    # In (mean, log std) the metric is exp(-2 s) dm^2 + 2 ds^2.
    symbols = np.zeros((2, 2, 2))
    symbols[0, 0, 1] = symbols[0, 1, 0] = -1.0
    symbols[1, 0, 0] = 0.5 * math.exp(-2.0 * A[1])
    np.testing.assert_allclose(NORMAL.christoffel_symbols(A), symbols, atol=1e-13)
    information = np.diag([math.exp(-2.0 * A[1]), 2.0])
    np.testing.assert_allclose(NORMAL.fisher_information(A), information, atol=1e-13)
    assert NORMAL.sectional_curvature(A, v, [1.0, 0.0]) == pytest.approx(-0.5, rel=1e-12)
    assert NORMAL.norm(A, 1e-200 * v) == pytest.approx(1e-200 * float(NORMAL.norm(A, v)))
    np.testing.assert_allclose(NORMAL.exp_map(A, NORMAL.log_map(A, B)), B, rtol=1e-10)


# ---------------------------------------------------------------- families of users, and mpmath


def test_an_exponential_distribution_that_is_cut_off():
    """Values of mpmath with 30 digits: the distance is the integral of the root of the variance."""
    d = CUT_OFF.fisher_rao_distance([-2.0], [3.0])
    assert d == pytest.approx(1.36852341707068916, rel=1e-14)
    assert CUT_OFF.kl_divergence([-2.0], [3.0]) == pytest.approx(0.97146738256632135, rel=1e-13)
    near = CUT_OFF.kl_divergence([1.0], [1.0 + 1e-8])
    assert near == pytest.approx(3.966320240115785898e-18, rel=1e-13)
    affinity = CUT_OFF.bhattacharyya_coefficient([-2.0], [3.0])
    assert affinity == pytest.approx(0.78232588306123055, rel=1e-13)
    renyi = CUT_OFF.renyi_divergence([1.0], [-2.0], order=3.0)
    assert renyi == pytest.approx(0.87604085613274228, rel=1e-12)


ISING_ENDS = ([0.5, -0.5], [-0.25, 0.75])
ISING_DISTANCE, ISING_VELOCITY = 2.007813798703387179, (-1.403779095873160711, 1.517322582128068886)


def test_a_chain_of_spins():
    """The values come from shooting in mpmath: the campaign below does it again."""
    found = ISING.connect(*ISING_ENDS)
    assert found.distance == pytest.approx(ISING_DISTANCE, rel=1e-13)
    np.testing.assert_allclose(found.initial_velocity, ISING_VELOCITY, rtol=1e-9)
    np.testing.assert_allclose(ISING.exp_map(ISING_ENDS[0], ISING_VELOCITY), ISING_ENDS[1], 1e-11)


def test_counts_of_conway_maxwell_and_poisson():
    """The values come from shooting in mpmath, with moments summed over the counts below 60."""
    counts = torch.arange(60.0, dtype=torch.float64)
    features = torch.stack([counts, -torch.lgamma(counts + 1.0)], dim=-1)
    family = ExponentialFamily(lambda t: torch.logsumexp(features @ t, 0))
    found = family.connect([math.log(2.0), 1.0], [math.log(3.0), 1.5])
    assert found.distance == pytest.approx(0.2359212781315741641, rel=1e-13)
    expected = (0.3540550216942455734, 0.4296850518099078622)
    np.testing.assert_allclose(found.initial_velocity, expected, rtol=1e-10)


@pytest.mark.campaign
@pytest.mark.slow
def test_campaign_of_shooting():
    """The geodesic equation from moments of the eight states, by mpmath's Taylor series."""

    def moments(theta):
        weights = [mp.exp(sum(t * f for t, f in zip(theta, row, strict=True))) for row in SPINS]
        mean = [mp.fdot(weights, f) / sum(weights) for f in zip(*SPINS, strict=True)]
        apart = [[f - m for f, m in zip(row, mean, strict=True)] for row in SPINS]
        return [w / sum(weights) for w in weights], apart

    def metric(theta):
        p, z = moments(theta)
        pairs = [
            [mp.fsum(w * x[i] * x[j] for w, x in zip(p, z, strict=True)) for j in (0, 1)]
            for i in (0, 1)
        ]
        return mp.matrix(pairs)

    def slope(_, y):
        p, z = moments(y[:2])
        speeds = [x[0] * y[2] + x[1] * y[3] for x in z]
        third = [
            mp.fsum(w * s**2 * x[i] for w, s, x in zip(p, speeds, z, strict=True)) for i in (0, 1)
        ]
        return [*y[2:], *(-0.5 * mp.lu_solve(metric(y[:2]), mp.matrix(third)))]

    with mp.workdps(16):
        start = [mp.mpf(x) for x in (*ISING_ENDS[0], *ISING_VELOCITY)]
        reached = mp.odefun(slope, 0, start, tol=mp.mpf("1e-14"))(1)
        v = mp.matrix(start[2:])
        distance = mp.sqrt((v.T * metric(start[:2]) * v)[0])
    np.testing.assert_allclose(np.array(reached[:2], float), ISING_ENDS[1], rtol=1e-12)
    assert float(distance) == pytest.approx(ISING_DISTANCE, rel=1e-14)


def test_near_points_keep_their_digits():
    step = np.array([2.0**-27, -(2.0**-28)])
    with mp.workdps(50):
        m, s = (mp.mpf(float(x)) for x in A)
        dm, ds = (mp.mpf(float(x)) - y for x, y in zip(A + step, (m, s), strict=True))
        ratio = mp.exp(-2 * ds)
        kl = float((ratio - 1 + mp.exp(-2 * (s + ds)) * dm**2) / 2 + ds)
        # Of a half-plane of curvature -1/2, with x = mean / sqrt 2.
        ends = mp.exp(s), mp.exp(s + ds)
        square = (dm**2 / 2 + (ends[1] - ends[0]) ** 2) / (4 * ends[0] * ends[1])
        d = float(2 * mp.sqrt(2) * mp.asinh(mp.sqrt(square)))
    assert NORMAL.kl_divergence(A, A + step) == pytest.approx(kl, rel=1e-12)
    assert NORMAL.fisher_rao_distance(A, A + step) == pytest.approx(d, rel=1e-13)
    assert NORMAL.kl_divergence(A, A) == NORMAL.fisher_rao_distance(A, A) == 0.0
    assert NORMAL.hellinger_distance(A, A) == NORMAL.connect(A, A).error == 0.0


# ---------------------------------------------------------------- as a space


def test_the_contract_of_one_parameter():
    def draw(rng):
        return 0.5 * rng.normal(size=1)

    report = testing.check_space(POISSON, draw, dimension=1, slack=100.0, num_draws=1)
    assert list(report.absent) == ["curvature_is_what_is_said"]


@pytest.mark.campaign
@pytest.mark.slow
@pytest.mark.parametrize(("family", "curvature"), [(TRINOMIAL, 0.25), (NORMAL, -0.5)])
def test_campaign_of_the_contract(family, curvature):
    def draw(rng):
        return 0.5 * rng.normal(size=2)

    report = testing.check_space(
        family, draw, dimension=2, curvature=curvature, slack=100.0, num_draws=1
    )
    assert report.absent == {}


@pytest.mark.campaign
@pytest.mark.slow
def test_campaign_of_a_batch_with_one_that_leaves():
    reached = POISSON.exp_map([[0.0], [0.0]], [[-3.0], [1.0]], check=False)
    np.testing.assert_allclose(reached, [[np.nan], [2.0 * math.log(1.5)]], rtol=1e-12)


@pytest.mark.campaign
@pytest.mark.slow
def test_campaign_of_corners():
    """Between two corners of the simplex the geodesic passes the third: a bent curve."""
    far = [np.log([0.9999 / 0.00005, 1.0]), np.log([1.0, 0.9999 / 0.00005])]
    expected = simplex.fisher_rao_distance(*map(categorical, far))
    assert TRINOMIAL.fisher_rao_distance(*far) == pytest.approx(float(expected), rel=1e-11)


def test_means_neighbours_and_heads():
    points = np.stack([A, B, A + B])
    mean = frechet_mean(points[:2], space=NORMAL, tol=1e-9).point
    d = NORMAL.fisher_rao_distance(mean, points[:2])
    np.testing.assert_allclose(d, float(normal.fisher_rao_distance(*ENDS)) / 2.0, rtol=1e-8)
    everything = neighbors.pairwise_distance(points, space=NORMAL)
    np.testing.assert_allclose(everything[0], NORMAL.fisher_rao_distance(A, points), rtol=1e-13)
    nearest = neighbors.nearest(points[:1], points[1:], num_neighbors=1, space=NORMAL)
    assert nearest.indices[0, 0] == 0
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2).double()
    x, y = torch.zeros(2, 3).double(), torch.ones(2, 3).double()
    seen, expected = (
        PullbackMetric(model, head) for head in (heads.of_space(NORMAL, lambda z: z), heads.normal)
    )
    torch.testing.assert_close(seen.matrix(x), expected.matrix(x))
    torch.testing.assert_close(seen.output_distance(x, y), expected.output_distance(x, y))


def test_maximum_likelihood():
    rng = np.random.default_rng(0)
    samples = rng.normal(3.0, 2.0, size=50)
    statistics = np.stack([samples, samples**2], axis=-1)
    fitted = NORMAL.fit(statistics)
    np.testing.assert_allclose(fitted, [samples.mean(), np.log(samples.std())], rtol=1e-10)
    weights = rng.uniform(size=50)
    mean = np.average(samples, weights=weights)
    assert NORMAL.fit(statistics, weights=weights)[0] == pytest.approx(mean, rel=1e-10)
    natural = ExponentialFamily(of_normal)
    with pytest.raises(ValueError, match=r"start must lie in the domain.*Pass start"):
        natural.fit(statistics)
    theta = natural.fit(statistics, start=[0.0, -1.0])
    np.testing.assert_allclose(theta, NORMAL.natural_parameters(fitted), rtol=1e-10)
    batch = NORMAL.from_expectation_parameters([[3.0, 10.0], [0.0, 1.0]])
    np.testing.assert_allclose(batch, [[3.0, 0.0], [0.0, 0.0]], atol=1e-11)
    with pytest.raises(infogeo.SolveError, match="No member of the family") as error:
        NORMAL.from_expectation_parameters([[1.0, 2.0], [2.0, 3.0]])  # a variance below 0
    assert error.value.failed == (1,)


def test_means_near_a_boundary_and_far_from_the_start():
    """Steps towards a boundary become short without an end: that is no convergence."""
    for mean in (1e-30, 1e-12, 1e6):
        found = POISSON.from_expectation_parameters([mean, 1.0])
        np.testing.assert_allclose(found, [math.log(mean), 0.0], rtol=1e-12, atol=1e-12)
    unit = ExponentialFamily(lambda t: 0.5 * (t**2).sum())
    np.testing.assert_allclose(unit.from_expectation_parameters([1e12, -3.0]), [1e12, -3.0])
    rare = TRINOMIAL.from_expectation_parameters([1e-20, 1e-20])
    np.testing.assert_allclose(rare, math.log(1e-20), rtol=1e-12)
    for family, means in (
        (POISSON, [0.0, 3.5]),
        (TRINOMIAL, [1.0, 0.0]),
        (TRINOMIAL, [0.5, 0.5]),
        (TRINOMIAL, [1.0, 1e-20]),  # as numbers of float64 the third is 0
        *((ISING, means) for means in ([3.0, 2.0], [0.0, 2.0])),
        (NORMAL, [3.0, 9.0]),
    ):
        with pytest.raises(infogeo.SolveError, match="No member of the family"):
            family.from_expectation_parameters(means)
    with pytest.raises(infogeo.SolveError) as error:
        POISSON.fit([[[0.0], [1.0]], [[0.0], [5.0]]])
    assert error.value.failed == (0,)
    assert error.value.result[1] == pytest.approx(math.log(3.0))


def test_gradients():
    a, b = (torch.tensor(x, requires_grad=True) for x in (A, B))
    slopes = torch.autograd.grad(NORMAL.fisher_rao_squared_distance(a, b), (a, b))
    x, y = a.detach(), b.detach()
    for seen, start, end in zip(slopes, (x, y), (y, x), strict=True):
        metric = torch.diag(torch.stack([torch.exp(-2.0 * start[1]), torch.tensor(2.0).double()]))
        ends = (Normal(z[0], z[1].exp()) for z in (start, end))
        velocity = normal.log_map(*ends)
        velocity = torch.stack([velocity.mean, velocity.std / start[1].exp()])
        torch.testing.assert_close(seen, -2.0 * metric @ velocity, rtol=1e-9, atol=1e-9)
    for verb in ("kl_divergence", "hellinger_distance", "natural_parameters"):
        function = getattr(NORMAL, verb)
        assert torch.autograd.gradcheck(function, (a, b)[: 1 + verb.endswith("e")])
    assert torch.autograd.gradcheck(lambda x, y: NORMAL.m_geodesic(x, y, 0.3), (a, b))
    for verb in ("kl_divergence", "fisher_rao_distance", "hellinger_distance"):
        (slope,) = torch.autograd.grad(getattr(NORMAL, verb)(a, a.detach()), a)
        assert torch.equal(slope.abs(), torch.zeros(2).double()), verb
    kl = torch.func.hessian(lambda x: NORMAL.kl_divergence(x, a.detach()))(a.detach())
    torch.testing.assert_close(kl, NORMAL.fisher_information(a.detach()))
    with pytest.raises(ValueError, match="must not require a gradient"):
        NORMAL.log_map(a, b)


def test_dtypes_batches_and_names():
    a, b = (x.astype(np.float32) for x in (A, B))
    exact = NORMAL.fisher_rao_distance(*(x.astype(float) for x in (a, b)))
    single = NORMAL.fisher_rao_distance(a, b)
    assert single.dtype == np.float32
    assert single == pytest.approx(exact, rel=1e-7)
    tensors = torch.tensor(a), torch.tensor(b)
    assert NORMAL.m_geodesic(*tensors, 0.5).dtype == torch.float32
    assert NORMAL.connect(*tensors).initial_velocity.dtype == torch.float32
    batch = NORMAL.fisher_rao_distance(np.stack([A, B])[:, None], np.stack([A, B, A + B]))
    assert batch.shape == (2, 3)
    assert batch[0, 1] == pytest.approx(NORMAL.fisher_rao_distance(A, B), rel=1e-13)
    nothing = np.zeros((0, 2))
    for verb in ("fisher_rao_distance", "kl_divergence", "exp_map"):
        assert getattr(NORMAL, verb)(nothing, B).shape[0] == 0
    assert NORMAL.christoffel_symbols(nothing).shape == (0, 2, 2, 2)
    assert NORMAL.from_expectation_parameters(nothing).shape == (0, 2)
    series = pd.Series(B, index=["mean", "log_std"])
    named = pd.Series(A, index=["mean", "log_std"])
    assert NORMAL.kl_divergence(named, series[::-1]) == NORMAL.kl_divergence(A, B)


# ---------------------------------------------------------------- what is refused, and errors


def test_what_is_refused():
    with pytest.raises(TypeError, match="must be given together"):
        ExponentialFamily(torch.sum, torch.exp)
    with pytest.raises(TypeError, match="log_partition must be a function: got int"):
        ExponentialFamily(3)
    with pytest.raises(ValueError, match="order must be finite"):
        NORMAL.renyi_divergence(A, B, order=math.inf)
    with pytest.raises(ValueError, match="rtol must be a number between 0 and 1"):
        NORMAL.fisher_rao_distance(A, B, rtol=2.0)
    natural = ExponentialFamily(of_normal)
    with pytest.raises(ValueError, match=r"b must lie in the domain.*nan there \(row 1\)"):
        natural.kl_divergence([0.0, -1.0], [[1.0, -1.0], [1.0, 1.0]])
    with pytest.raises(ValueError, match="theta must lie in the domain"):
        NORMAL.from_natural_parameters([1.0, 1.0])
    with pytest.raises(TypeError, match=r"returns one of shape \(1,\)"):
        ExponentialFamily(torch.exp).kl_divergence([0.0], [1.0])
    for function in (lambda t: np.exp(t).sum(), lambda t: t.sum() if t[0] > 0.0 else -t.sum()):
        with pytest.raises(TypeError, match="must be made of functions of torch"):
            ExponentialFamily(function).kl_divergence([0.0], [1.0])
    with pytest.raises(ValueError, match=r"must be convex: at a .* The sign may be wrong"):
        ExponentialFamily(lambda t: -t.exp().sum()).kl_divergence([0.0], [1.0])
    with pytest.raises(ValueError, match="have a positive definite second derivative: at a"):
        ExponentialFamily(lambda t: torch.logsumexp(t, 0)).fisher_rao_distance(
            [0.0, 1.0], [1.0, 0.0]
        )
    with pytest.raises(ValueError, match="from_natural must be the inverse"):
        ExponentialFamily(lambda t: t.exp().sum(), torch.exp, torch.exp).kl_divergence([0.0], [1.0])
    with pytest.raises(ValueError, match="the family has one parameter"):
        POISSON.sectional_curvature([0.0], [1.0], [2.0])
    # The rate 0 is 2 away from the rate 1.
    with pytest.raises(ValueError, match="v must stay in the family"):
        POISSON.exp_map([0.0], [-3.0])


def constant(t):
    """Return a number that no argument changes, as far as torch knows."""
    return t.detach().exp().sum()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (constant, "by functions that torch differentiates"),
        (torch.no_grad()(torch.sum), "Leave out detach, no_grad"),
        (
            lambda t: t.float().exp().sum(),
            r"of torch.float64 .* one of shape \(\) and torch.float32",
        ),
        (lambda t: 1.0, "it returns an object of class float"),
        (lambda t: t.mul_(2.0).sum(), "torch.func.vmap says"),
    ],
)
@pytest.mark.parametrize("verb", ["kl_divergence", "fisher_rao_distance"])
def test_functions_that_would_give_wrong_derivatives(function, words, verb):
    with pytest.raises(TypeError, match=f"log_partition must .*{words}"):
        getattr(ExponentialFamily(function), verb)([0.0], [1.0])


@pytest.mark.parametrize(
    ("there", "back", "words"),
    [
        (lambda x: x.detach().exp(), torch.log, "to_natural must depend on its argument"),
        (torch.exp, lambda t: t.detach().log(), "from_natural must depend on its argument"),
        (lambda x: torch.cat([x, x]), lambda t: t[:1], r"to_natural must .* of shape \(2,\)"),
        (lambda x: [x], lambda t: t, "to_natural must .* an object of class list"),
        (np.exp, np.log, "to_natural must be made of functions of torch"),
    ],
)
def test_charts_that_would_give_wrong_derivatives(there, back, words):
    family = ExponentialFamily(lambda t: t.exp().sum(), there, back)
    with pytest.raises(TypeError, match=words):
        family.kl_divergence([0.0], [1.0])


def test_gradients_that_the_caller_has_switched_off():
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            a, b = torch.zeros(1), torch.ones(1)
            assert POISSON.kl_divergence(a, b) == pytest.approx(math.e - 2.0, rel=1e-6)
            assert POISSON.fisher_rao_distance(a, b) > 1.0


def test_errors_of_derivatives_are_seen():
    """torch's trigamma has nine digits; normals far from 0 lose digits in x^2, by its size."""
    family = ExponentialFamily(
        lambda t: torch.lgamma(t).sum() - torch.lgamma(t.sum()), torch.exp, torch.log
    )
    a, b = np.array([1.0, 2.0, 3.0]), np.array([3.0, 1.0, 2.0])
    expected = float(infogeo.fisher_rao_distance(*map(manifolds.Dirichlet, (a, b))))
    a, b = np.log(a), np.log(b)
    with pytest.raises(
        infogeo.SolveError, match=r"rtol=1e-12 is out of reach: at 0 .* with an error of 2"
    ):
        family.fisher_rao_distance(a, b)
    found = family.connect(a, b, throw=False)
    true = abs(found.distance / expected - 1.0)
    assert 0.3 * true < found.error < 3.0 * true
    assert family.fisher_rao_distance(a, b, rtol=1e-9) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(infogeo.SolveError):
        NORMAL.connect([1e4, 0.0], [1e4 + 1.0, 0.5])


# ---------------------------------------------------------------- over many orders of magnitude

LOG_RATE = ExponentialFamily(lambda theta: theta.exp().sum())
LOG_OF_RATE = ExponentialFamily(
    lambda theta: -torch.log(-theta).sum(), lambda x: -torch.exp(x), lambda t: torch.log(-t)
)
RATE = ExponentialFamily(lambda theta: -torch.log(-theta).sum())


@pytest.mark.parametrize(("x", "y"), [(-50, 3), (-300, 5), (0, 300), (0, 600), (-700, -690)])
def test_rates_of_poisson_distributions_over_many_orders_of_magnitude(x, y):
    with mp.workdps(60):
        ends = [2 * mp.exp(mp.mpf(z) / 2) for z in (x, y)]
        expected = float(abs(ends[1] - ends[0]))
    found = LOG_RATE.connect([float(x)], [float(y)])
    np.testing.assert_allclose(found.distance, expected, rtol=1e-13)
    np.testing.assert_allclose(LOG_RATE.norm([float(x)], found.initial_velocity), expected, 1e-13)
    np.testing.assert_allclose(LOG_RATE.norm([float(y)], found.final_velocity), expected, 1e-13)
    back = LOG_RATE.connect([float(y)], [float(x)])
    np.testing.assert_allclose(back.distance, expected, rtol=1e-13)
    assert found.initial_velocity * back.initial_velocity < 0.0


@pytest.mark.parametrize(
    ("family", "x", "y", "expected"),
    [
        (LOG_OF_RATE, -300.0, 300.0, 600.0),
        (LOG_OF_RATE, 0.0, 0.0, 0.0),
        (LOG_OF_RATE, 1.0, 1.0 + 2.0**-40, 2.0**-40),
        (RATE, -1.0, -1e8, 8.0 * math.log(10.0)),
        (RATE, -1e-4, -1e8, 12.0 * math.log(10.0)),
    ],
)
def test_rates_of_exponential_distributions_over_many_orders_of_magnitude(family, x, y, expected):
    for a, b in ((x, y), (y, x)):
        np.testing.assert_allclose(family.fisher_rao_distance([a], [b]), expected, rtol=2e-13)
    batch = family.fisher_rao_distance([[x], [y], [x]], [[y], [x], [x]])
    np.testing.assert_allclose(batch, [expected, expected, 0.0], rtol=2e-13)


def test_lines_that_are_out_of_reach_say_so():
    assert RATE.fisher_rao_distance(np.zeros((0, 1)), [-1.0]).shape == (0,)
    with pytest.raises(infogeo.SolveError, match="out of reach"):
        RATE.fisher_rao_distance([-1e-100], [-1e100])
    found = RATE.connect([-1e-100], [-1e100], throw=False)
    assert found.status is infogeo.Status.MAX_STEPS


def test_geodesics_that_cannot_be_followed_are_refused():
    for call in (
        lambda: LOG_RATE.fisher_rao_geodesic([0.0], [300.0], 0.1),
        lambda: LOG_RATE.parallel_transport([0.0], [300.0], [1.0]),
    ):
        with pytest.raises(infogeo.SolveError, match="bends too much"):
            call()
    with pytest.raises(infogeo.SolveError, match=r"row 1\) bends too much") as error:
        LOG_RATE.fisher_rao_geodesic([[0.0], [0.0]], [[1.0], [300.0]], 0.1)
    assert error.value.failed == (1,)
    assert np.isfinite(error.value.result[0]).all()


def test_guesses_at_constant_speed_lead_to_far_points():
    """Gamma distributions of shapes and rates of e^10 to e^13, by torch's lgamma."""
    family = ExponentialFamily(
        lambda theta: torch.lgamma(theta[0] + 1.0) - (theta[0] + 1.0) * torch.log(-theta[1]),
        lambda x: torch.stack([x[0].exp() - 1.0, -x[1].exp()]),
        lambda theta: torch.stack([torch.log(theta[0] + 1.0), torch.log(-theta[1])]),
    )
    a, b = np.array([10.0, 10.0]), np.array([12.0, 13.0])
    expected = manifolds.fisher_rao_distance(*(manifolds.Gamma(*np.exp(x)) for x in (a, b)))
    np.testing.assert_allclose(family.fisher_rao_distance(a, b, rtol=1e-8), expected, rtol=1e-8)
