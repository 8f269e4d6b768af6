"""Products of families, and multinomial distributions: what they owe to their parts."""

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from torch import distributions

import infogeo
from infogeo import manifolds, simplex, testing
from infogeo.interop.distributions import from_distribution
from infogeo.manifolds import Exponential, Multinomial, Poisson, Product, Weibull, product
from infogeo.manifolds.multinomial import SPACE, Tangent
from infogeo.mean import frechet_mean
from infogeo.neighbors import pairwise_distance
from infogeo.normal import Normal

P, Q = [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]


def draw_product(rng):
    return Product(
        [Weibull(*np.exp(0.3 * rng.normal(size=2))), Normal(rng.normal(), np.exp(rng.normal()))]
    )


def draw_multinomial(rng):
    return Multinomial(7, rng.dirichlet(np.full(4, 3.0)))


def test_products_keep_the_contract():
    skip = {"e_and_m_transports_are_dual": "the Weibull family has no e-connection"}
    report = testing.check_space("product", draw_product, dimension=4, skip=skip)
    lacking = {*skip, "curvature_is_what_is_said"}
    assert set(report.held) == set(testing.LAWS) - lacking


def test_multinomial_distributions_keep_the_contract():
    report = testing.check_space("multinomial", draw_multinomial, dimension=3, curvature=0.25 / 7)
    assert set(report.held) == set(testing.LAWS)


def test_a_product_is_the_sum_of_its_parts():
    a = Product([Poisson([4.0, 1.0]), Exponential([1.0, 2.0])])
    b = Product([Poisson([9.0, 4.0]), Exponential([np.e, 2.0])])
    np.testing.assert_allclose(manifolds.fisher_rao_distance(a, b), [5.0**0.5, 2.0], rtol=1e-15)
    np.testing.assert_allclose(manifolds.fisher_rao_squared_distance(a, b), [5.0, 4.0], rtol=1e-15)
    kl = sum(manifolds.kl_divergence(x, y) for x, y in zip(a.parts, b.parts, strict=True))
    np.testing.assert_allclose(manifolds.kl_divergence(a, b), kl, rtol=1e-15)
    affinity = np.prod(
        [manifolds.bhattacharyya_coefficient(x, y) for x, y in zip(a.parts, b.parts, strict=True)],
        axis=0,
    )
    hellinger = manifolds.hellinger_distance(a, b)
    np.testing.assert_allclose(hellinger, np.sqrt(1.0 - affinity), rtol=1e-14)
    assert manifolds.dimension(a) == 2
    assert (len(a), a[1].shape, a.shape) == (2, (), (2,))
    mean = manifolds.m_mean(a)
    assert [float(mean.parts[0].rate), round(float(mean.parts[1].rate), 12)] == [
        2.5,
        1.333333333333,
    ]


def test_products_are_saved_compared_in_pairs_and_differentiated(tmp_path):
    a = Product([Poisson([4.0, 9.0]), Exponential([1.0, 1.0])])
    np.testing.assert_allclose(pairwise_distance(a, space="product"), [[0.0, 2.0], [2.0, 0.0]])
    for value in (a, manifolds.log_map(a, a[::-1])):
        infogeo.save(value, tmp_path / "x.npz")
        again = infogeo.load(tmp_path / "x.npz")
        assert type(again) is type(value)
        np.testing.assert_array_equal(again.parts[0].rate, value.parts[0].rate)
    rate = torch.tensor(4.0, requires_grad=True)
    one, other = Product([Poisson(rate)]), Product([Poisson(torch.tensor(9.0))])
    manifolds.fisher_rao_distance(one, other).backward()
    np.testing.assert_allclose(rate.grad, -0.5)


def test_products_of_other_parts_are_refused():
    a = Product([Poisson(4.0), Exponential(1.0)])
    for b in (Product([Poisson(4.0)]), Poisson(4.0)):
        with pytest.raises(TypeError, match="a and b must have the same parts"):
            manifolds.fisher_rao_distance(a, b)
    with pytest.raises(TypeError, match="b must be a Exponential"):
        manifolds.fisher_rao_distance(a, Product([Poisson(4.0), Poisson(1.0)]))
    with pytest.raises(TypeError, match="parts must be points of spaces"):
        Product([1.0])
    with pytest.raises(TypeError, match="parts must be vectors of spaces"):
        product.Tangent([Poisson(1.0)])
    with pytest.raises(ValueError, match="parts must have one batch shape"):
        Product([Poisson(4.0), Poisson([1.0])])


def test_multinomial_distances_are_those_of_the_simplex_times_a_root():
    a, b = Multinomial(9, P), Multinomial(9, Q)
    d = manifolds.fisher_rao_distance(a, b)
    np.testing.assert_allclose(d, 3.0 * simplex.fisher_rao_distance(P, Q), rtol=1e-15)
    with pytest.raises(ValueError, match="b must have the total_count of a"):
        manifolds.fisher_rao_distance(a, Multinomial(8, Q))
    near = Multinomial(9, [0.2 + 1e-9, 0.3 - 1e-9, 0.5])
    p, q = ([mpmath.mpf(float(x)) for x in c.probs] for c in (a, near))
    with mpmath.workdps(60):
        affinity = sum(mpmath.sqrt(x * y) for x, y in zip(p, q, strict=True))
        affinity /= mpmath.sqrt(sum(p) * sum(q))
        exact = mpmath.sqrt(1 - affinity**9)
    np.testing.assert_allclose(manifolds.hellinger_distance(a, near), float(exact), rtol=1e-13)


def test_multinomial_divergences_are_sums_over_all_tables():
    a, b = Multinomial(4, P), Multinomial(4, Q)
    tables = np.array([[i, j, 4 - i - j] for i in range(5) for j in range(5 - i)])
    p, q = (scipy.stats.multinomial(4, x).pmf(tables) for x in (P, Q))
    np.testing.assert_allclose(manifolds.kl_divergence(a, b), p @ np.log(p / q), rtol=1e-13)
    hellinger = np.sqrt(1.0 - np.sqrt(p) @ np.sqrt(q))
    np.testing.assert_allclose(manifolds.hellinger_distance(a, b), hellinger, rtol=1e-13)


def test_multinomial_distributions_are_read_drawn_and_fitted():
    for given in (
        distributions.Multinomial(4, torch.tensor(P, dtype=torch.float64)),
        scipy.stats.multinomial(4, P),
    ):
        point = from_distribution(given)
        assert (type(point), float(point.total_count)) == (Multinomial, 4.0)
        np.testing.assert_allclose(point.probs, P, rtol=1e-15)
        again = from_distribution(manifolds.to_distribution(point))
        np.testing.assert_allclose(again.probs, P, rtol=1e-15)
    x = manifolds.sample(Multinomial(4, [P, Q]), (3000,), rng=0)
    assert x.shape == (3000, 2, 3)
    fitted = Multinomial.fit(x[:, 0], total_count=4)
    assert manifolds.fisher_rao_distance(fitted, Multinomial(4, P)) < 5.0 * 3000**-0.5
    mean = frechet_mean(Multinomial(4, [P, Q]), space="multinomial").point
    expected = frechet_mean([P, Q]).point
    np.testing.assert_allclose(mean.probs, expected, rtol=1e-6)
    assert SPACE.norm(mean, Tangent([0.1, -0.1, 0.0])) > 0.0
