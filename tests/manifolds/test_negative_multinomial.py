"""Negative multinomial distributions: beside those of one outcome, of tables, and mpmath."""

import itertools

import mpmath
import numpy as np
import pytest
import torch

from infogeo import _spaces, manifolds, testing
from infogeo.manifolds import Multinomial, NegativeBinomial, NegativeMultinomial
from infogeo.manifolds.negative_multinomial import SPACE, Tangent
from infogeo.mean import frechet_mean

R = 2.5
P, Q = [0.2, 0.3, 0.1], [0.05, 0.25, 0.4]


def exact_distance(p, q, r=R):
    with mpmath.workdps(60):
        p, q = ([mpmath.mpf(float(x)) for x in y] for y in (p, q))
        ends = mpmath.sqrt((1 - sum(p)) * (1 - sum(q)))
        cosh = (1 - sum(mpmath.sqrt(x * y) for x, y in zip(p, q, strict=True))) / ends
        return float(2 * mpmath.sqrt(mpmath.mpf(r)) * mpmath.acosh(cosh))


def test_it_keeps_the_contract():
    def draw(rng):
        return NegativeMultinomial(R, rng.dirichlet(np.full(4, 4.0))[:3])

    def vector(rng, a):
        return Tangent(0.2 * rng.normal(size=3) * a.probs)

    report = testing.check_space(SPACE, draw, vector, dimension=3, curvature=-0.25 / R, num_draws=3)
    assert set(report.held) == set(testing.LAWS)


@pytest.mark.parametrize(
    ("p", "q"),
    [
        (P, Q),
        (P, [0.2 + 1e-12, 0.3 - 3e-12, 0.1]),
        ([1e-300, 0.5, 0.0], [0.0, 1e-12, 0.2]),
        ([0.25, 0.25, 0.5 - 2.0**-40], [0.3, 0.2, 0.1]),
    ],
)
def test_distances_have_their_digits(p, q):
    a, b = NegativeMultinomial(R, p), NegativeMultinomial(R, q)
    d = exact_distance(p, q)
    assert float(manifolds.fisher_rao_distance(a, b)) == pytest.approx(d, rel=4e-15)
    assert float(manifolds.fisher_rao_squared_distance(a, b)) == pytest.approx(d * d, rel=8e-15)


def test_one_outcome_is_a_negative_binomial_distribution():
    p, q, u = 0.3, 0.75, 0.2
    a, b = NegativeMultinomial(R, [p]), NegativeMultinomial(R, [q])
    one, other = NegativeBinomial(R, p), NegativeBinomial(R, q)
    from infogeo.manifolds import negative_binomial

    v, w = Tangent([u]), negative_binomial.Tangent(u)
    for name in (
        *("fisher_rao_distance", "kl_divergence", "jeffreys_divergence"),
        *("hellinger_distance", "bhattacharyya_coefficient"),
    ):
        verb = getattr(manifolds, name)
        np.testing.assert_allclose(verb(a, b), verb(one, other), rtol=1e-13, err_msg=name)
    for order in (0.0, 0.3, 0.9):
        found, expected = (
            manifolds.renyi_divergence(*x, order=order) for x in ((a, b), (one, other))
        )
        np.testing.assert_allclose(found, expected, rtol=1e-13)
    for name in ("fisher_rao_geodesic", "e_geodesic", "m_geodesic"):
        verb = getattr(manifolds, name)
        times = np.array([0.0, 0.3, 0.8, 1.0])
        found, expected = verb(a, b, times), verb(one, other, times)
        np.testing.assert_allclose(found.probs[:, 0], expected.probs, rtol=1e-13, err_msg=name)
    for name in ("parallel_transport", "e_transport", "m_transport"):
        verb = getattr(manifolds, name)
        found, expected = verb(a, b, v), verb(one, other, w)
        np.testing.assert_allclose(found.probs[0], expected.probs, rtol=1e-13, err_msg=name)
    np.testing.assert_allclose(
        manifolds.log_map(a, b).probs[0], manifolds.log_map(one, other).probs, rtol=1e-13
    )
    np.testing.assert_allclose(
        manifolds.exp_map(a, v).probs[0], manifolds.exp_map(one, w).probs, rtol=1e-13
    )
    for name in ("fisher_information", "christoffel_symbols", "natural_parameters"):
        verb = getattr(manifolds, name)
        np.testing.assert_allclose(np.ravel(verb(a)), np.ravel(verb(one)), rtol=1e-13)
    np.testing.assert_allclose(
        manifolds.expectation_parameters(a)[0], manifolds.expectation_parameters(one), rtol=1e-14
    )
    for verb in (manifolds.e_mean, manifolds.m_mean):
        found = verb(NegativeMultinomial.stack([a, b]), weights=[0.3, 0.7])
        expected = verb(NegativeBinomial.stack([one, other]), weights=[0.3, 0.7])
        np.testing.assert_allclose(found.probs[0], expected.probs, rtol=1e-13)


def test_it_is_a_negative_binomial_number_of_multinomial_trials():
    """Divergences and metric follow the chain rule of the total and of the shares."""
    p, q = np.array(P), np.array(Q)
    a, b = NegativeMultinomial(R, p), NegativeMultinomial(R, q)
    total, other = NegativeBinomial(R, p.sum()), NegativeBinomial(R, q.sum())
    number = R * p.sum() / (1.0 - p.sum())
    of_one = manifolds.kl_divergence(Multinomial(1, p / p.sum()), Multinomial(1, q / q.sum()))
    expected = manifolds.kl_divergence(total, other) + number * of_one
    np.testing.assert_allclose(manifolds.kl_divergence(a, b), expected, rtol=1e-13)
    # The same distance once the total alone differs.
    half = NegativeMultinomial(R, 0.5 * p)
    d = manifolds.fisher_rao_distance(total, NegativeBinomial(R, 0.5 * p.sum()))
    np.testing.assert_allclose(manifolds.fisher_rao_distance(a, half), d, rtol=1e-13)


def test_divergences_are_sums_over_the_counts():
    p, q = (NegativeMultinomial(1.5, x) for x in ([0.2, 0.1], [0.1, 0.25]))
    counts = np.array(list(itertools.product(range(70), repeat=2)), dtype=float)
    logs = [SPACE.log_density(x, counts) for x in (p, q)]
    assert np.exp(logs[0]).sum() == pytest.approx(1.0, abs=1e-13)
    kl = np.exp(logs[0]) @ (logs[0] - logs[1])
    np.testing.assert_allclose(manifolds.kl_divergence(p, q), kl, rtol=1e-12)
    for order in (0.25, 0.5):
        integral = np.exp(order * logs[0] + (1.0 - order) * logs[1]).sum()
        found = manifolds.renyi_divergence(p, q, order=order)
        np.testing.assert_allclose(found, np.log(integral) / (order - 1.0), rtol=1e-12)
    affinity = np.exp(0.5 * (logs[0] + logs[1])).sum()
    np.testing.assert_allclose(manifolds.bhattacharyya_coefficient(p, q), affinity, rtol=1e-12)


def test_christoffel_symbols_are_derivatives_of_the_metric():
    p, h = np.array(P), 1e-6
    steps = [
        (
            manifolds.fisher_information(NegativeMultinomial(R, p + e))
            - manifolds.fisher_information(NegativeMultinomial(R, p - e))
        )
        / (2.0 * h)
        for e in h * np.eye(3)
    ]
    dg = np.stack(steps, axis=-1)  # i, j, by k
    lower = 0.5 * (dg + dg.transpose(0, 2, 1) - dg.transpose(2, 1, 0))
    g = manifolds.fisher_information(NegativeMultinomial(R, p))
    expected = np.einsum("nm,mij->nij", np.linalg.inv(g), lower)
    found = manifolds.christoffel_symbols(NegativeMultinomial(R, p))
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


def test_near_points_edges_and_float32():
    a, b = NegativeMultinomial(R, P), NegativeMultinomial(R, [0.2 + 1e-10, 0.3, 0.1])
    step = b.probs - a.probs
    np.testing.assert_allclose(manifolds.log_map(a, b).probs, step, rtol=1e-7, atol=1e-18)
    edge = NegativeMultinomial(R, [0.0, 0.3, 0.1])
    assert np.isinf(manifolds.kl_divergence(a, edge))
    middle = manifolds.fisher_rao_geodesic(edge, a, 0.5)
    d = [float(manifolds.fisher_rao_distance(x, middle)) for x in (edge, a)]
    assert d[0] == pytest.approx(d[1], rel=1e-13)
    small = NegativeMultinomial(*(np.asarray(x, np.float32) for x in (R, P)))
    other = NegativeMultinomial(*(np.asarray(x, np.float32) for x in (R, Q)))
    found = manifolds.fisher_rao_distance(small, other)
    assert found.dtype == np.float32
    assert float(found) == pytest.approx(exact_distance(P, Q), rel=1e-6)
    with pytest.raises(ValueError, match="inside the family"):
        manifolds.exp_map(a, Tangent([-2.0, 0.0, 0.0]))


def test_gradients_at_equal_and_other_points():
    p, q = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (P, Q))

    def squared(x, y):
        return manifolds.fisher_rao_squared_distance(
            NegativeMultinomial(R, x), NegativeMultinomial(R, y)
        )

    assert torch.autograd.gradcheck(squared, (p, q))
    same = p.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(squared(p, same), p)
    assert torch.equal(gradient, torch.zeros(3, dtype=torch.float64))
    v = torch.tensor([0.3, -0.1, 0.2], dtype=torch.float64)
    second = torch.autograd.functional.hvp(lambda x: squared(x, same.detach()), p.detach(), v)[1]
    expected = 2.0 * manifolds.fisher_information(NegativeMultinomial(R, p.detach())) @ v
    torch.testing.assert_close(second, expected, rtol=1e-10, atol=0.0)


def test_samples_fits_means_and_files(tmp_path):
    a = NegativeMultinomial(R, [P, Q])
    x = manifolds.sample(a, (4000,), rng=0)
    assert x.shape == (4000, 2, 3)
    fitted = NegativeMultinomial.fit(x[:, 0], total_count=R)
    assert manifolds.fisher_rao_distance(fitted, a[0]) < 5.0 * 4000**-0.5
    mean = frechet_mean(a, space="negative_multinomial").point
    d = manifolds.fisher_rao_distance(a, mean)
    np.testing.assert_allclose(d, 0.5 * exact_distance(P, Q), rtol=1e-6)
    assert _spaces.of_point(a) is SPACE


@pytest.mark.parametrize("bad", [[0.5, 0.5], [0.7, 0.4], [-0.1, 0.2], [np.nan, 0.1], [1.0, 0.0]])
def test_probabilities_are_checked(bad):
    with pytest.raises(ValueError, match="probs must"):
        NegativeMultinomial(R, bad)
