"""Tables with given margins: proportional fitting, closed forms, contradictions."""

import itertools

import mpmath
import numpy as np
import pytest

from infogeo import SolveError, Status
from infogeo.maxent import fit_margins


def sums(p, axes):
    rest = tuple(axis for axis in range(p.ndim) if axis not in axes)
    return np.transpose(p.sum(axis=rest), np.argsort(np.argsort(axes)))


def proportionally_fitted(q, margins, sweeps):
    p = q / q.sum()
    for _ in range(sweeps):
        for axes, values in margins.items():
            shape = [q.shape[axis] if axis in axes else 1 for axis in range(q.ndim)]
            p = p * (np.transpose(values, np.argsort(axes)) / sums(p, sorted(axes))).reshape(shape)
    return p


@pytest.mark.parametrize("shape", [(2, 3), (3, 4, 2), (2, 2, 2, 2)])
def test_all_pairs_against_proportional_fitting(rng, shape):
    q, other = rng.uniform(0.5, 2.0, size=shape), rng.dirichlet(np.full(np.prod(shape), 5.0))
    other = other.reshape(shape)
    order = 1 if len(shape) == 2 else 2
    pairs = itertools.combinations(range(len(shape)), order)
    margins = {axes: sums(other, axes) for axes in pairs}
    found = fit_margins(q, margins)
    reference = proportionally_fitted(q, margins, 2000)
    np.testing.assert_allclose(found.probabilities.reshape(shape), reference, rtol=1e-12)
    assert found.error_bound < 1e-8


def test_five_variables_with_all_pairs(rng):
    p = rng.dirichlet(np.full(4**5, 2.0)).reshape((4,) * 5)
    margins = [(axes, sums(p, axes)) for axes in itertools.combinations(range(5), 2)]
    found = fit_margins(np.ones((4,) * 5), margins)
    fitted = found.probabilities.reshape((4,) * 5)
    for axes, values in margins:
        np.testing.assert_allclose(sums(fitted, axes), values, rtol=0, atol=1e-14)
    assert found.status is Status.CONVERGED
    assert found.rank == 5 * 3 + 10 * 9
    # The log-linear model without triple interactions: an alternating sum over a cube vanishes.
    logs = np.log(fitted[:2, :2, :2, 0, 0])
    signs = np.multiply.outer(np.multiply.outer([1, -1], [1, -1]), [1, -1])
    np.testing.assert_allclose((signs * logs).sum(), 0.0, atol=1e-10)


def test_single_margins_of_ones_are_independence(rng):
    a, b, c = (rng.dirichlet(np.ones(k)) for k in (2, 3, 4))
    found = fit_margins(np.ones((2, 3, 4)), {0: a, 1: b, 2: c})
    expected = np.einsum("i,j,k->ijk", a, b, c)
    np.testing.assert_allclose(found.probabilities.reshape(2, 3, 4), expected, rtol=1e-13)


def test_two_by_two_against_40_digits():
    found = fit_margins([[40, 30], [20, 10]], {0: [50, 50], 1: [60, 40]})
    with mpmath.workdps(40):  # the odds ratio stays
        x = mpmath.findroot(
            lambda x: x * (mpmath.mpf("0.4") - (mpmath.mpf("0.5") - x)) * 3
            - 2 * (mpmath.mpf("0.5") - x) * (mpmath.mpf("0.6") - x), 0.3
        )  # fmt: skip
        expected = [float(v) for v in (x, 0.5 - x, mpmath.mpf("0.6") - x, x - mpmath.mpf("0.1"))]
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-14)


def test_margins_of_float32_agree_to_its_rounding(rng):
    # In float64 their totals differ by 3e-8, and no table has them.
    a, b = (rng.dirichlet(np.ones(k)).astype(np.float32) for k in (30, 40))
    assert a.sum(dtype=np.float64) != b.sum(dtype=np.float64)
    found = fit_margins(np.ones((30, 40)), {0: a, 1: b})
    np.testing.assert_allclose(found.probabilities, np.outer(a, b).ravel(), rtol=1e-5)
    with pytest.raises(SolveError, match="different totals"):
        fit_margins(np.ones((30, 40)), {0: a.astype(float), 1: b.astype(float)})
    with pytest.raises(TypeError, match="margin of axis 1 must be of float32 or more"):
        fit_margins(np.ones((30, 40)), {0: a, 1: b.astype(np.float16)})


@pytest.mark.parametrize(
    ("table", "margin"), [(1e-300, 1.0), (1e300, 1.0), (1.0, 1e-280), (1.0, 1e308)]
)
def test_only_ratios_matter(rng, table, margin):
    q, a, b = rng.uniform(0.5, 2.0, size=(3, 4)), np.full(3, 1.0), np.array([0.6, 0.7, 0.8, 0.9])
    expected = fit_margins(q, {0: a, 1: b})
    found = fit_margins(q * table, {0: a * margin, 1: b * margin})
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-12)


def test_all_pairs_are_the_poisson_regression_without_triple_interactions(rng):
    sm = pytest.importorskip("statsmodels.api")
    counts = rng.integers(5, 50, size=(3, 4, 2)).astype(float)
    margins = {axes: sums(counts, axes) for axes in itertools.combinations(range(3), 2)}
    found = fit_margins(np.ones(counts.shape), margins)
    index = np.indices(counts.shape).reshape(3, -1)
    # Levels but the first, of each variable and of each pair, and a constant.
    one = [np.eye(size)[i][:, 1:] for size, i in zip(counts.shape, index, strict=True)]
    two = [
        (one[i][:, :, None] * one[j][:, None, :]).reshape(counts.size, -1)
        for i, j in itertools.combinations(range(3), 2)
    ]
    columns = np.hstack([np.ones((counts.size, 1)), *one, *two])
    model = sm.GLM(counts.ravel(), columns, family=sm.families.Poisson()).fit(tol=1e-14)
    fitted = counts.sum() * found.probabilities
    np.testing.assert_allclose(fitted, model.fittedvalues, rtol=1e-9)
    assert found.rank + 1 == columns.shape[1]


def test_small_cells_are_no_zeros():
    # exp(-1400) of the largest cell, but not 0: there are tables with these margins.
    q = [[1e-300, 1e300], [1e300, 1e300]]
    assert fit_margins(q, {0: [0.5, 0.5], 1: [0.5, 0.5]}, throw=False).certificate is None
    with pytest.raises(SolveError, match="No table with these zeros"):
        fit_margins([[0.0, 1.0], [1.0, 1.0]], {0: [0.5, 0.5], 1: [0.6, 0.4]})


@pytest.mark.parametrize("tiny", [1e-14, 1e-20, 3e-26])
def test_tiny_margins_beside_an_empty_one(tiny):
    found = fit_margins(np.ones(4), {0: [0.5, 0.5, tiny, 0.0]})
    assert found.status is Status.BOUNDARY
    np.testing.assert_array_equal(found.support, [True, True, True, False])
    np.testing.assert_allclose(found.probabilities, [0.5, 0.5, tiny, 0.0], rtol=1e-9)


def test_proportional_fitting_is_the_start():
    # Two sweeps solve independence; all that is left is the proof.
    a, b = np.array([0.2, 0.3, 0.5]), np.array([0.1, 0.4, 0.5])
    assert fit_margins(np.ones((3, 3)), {0: a, 1: b}).steps <= 3


def test_tensors_that_require_a_gradient_are_refused():
    torch = pytest.importorskip("torch")
    given = torch.tensor([0.5, 0.5], requires_grad=True)
    with pytest.raises(ValueError, match="margin must not require a gradient"):
        fit_margins(np.ones((2, 2)), {0: given})
    with pytest.raises(ValueError, match="table must not require a gradient"):
        fit_margins(given, {0: [0.5, 0.5]})


def test_the_order_of_axes_is_that_of_the_margin(rng):
    p = rng.dirichlet(np.ones(24)).reshape(2, 3, 4)
    one = fit_margins(np.ones((2, 3, 4)), {(0, 2): sums(p, (0, 2)), (1, 2): sums(p, (1, 2))})
    two = fit_margins(np.ones((2, 3, 4)), {(2, 0): sums(p, (0, 2)).T, (2, 1): sums(p, (1, 2)).T})
    np.testing.assert_allclose(one.probabilities, two.probabilities, rtol=1e-12)


def test_nothing_with_these_margins_is_nearer(rng):
    q, p = rng.dirichlet(np.ones(12), size=2).reshape(2, 3, 4)
    margins = {0: p.sum(1), 1: p.sum(0)}
    found = fit_margins(q, margins).probabilities.reshape(3, 4)

    def divergence(a, b):
        return float((a * np.log(a / b)).sum())

    np.testing.assert_allclose(  # Pythagoras
        divergence(p, q), divergence(p, found) + divergence(found, q), rtol=1e-12
    )


def test_zeros_stay_and_zero_margins_empty_their_cells(rng):
    q = rng.uniform(1.0, 2.0, size=(3, 3))
    q[0, 0] = q[2, 1] = 0.0
    found = fit_margins(q, {0: [20, 30, 50], 1: [40, 40, 20]})
    table = found.probabilities.reshape(3, 3)
    assert (table[q == 0.0] == 0.0).all()
    np.testing.assert_allclose(table.sum(1), [0.2, 0.3, 0.5], rtol=1e-13)
    assert found.status is Status.CONVERGED
    found = fit_margins(np.ones((3, 3)), {0: [0.0, 0.4, 0.6], 1: [0.5, 0.25, 0.25]})
    assert found.status is Status.BOUNDARY
    expected = np.outer([0.0, 0.4, 0.6], [0.5, 0.25, 0.25])
    np.testing.assert_allclose(found.probabilities.reshape(3, 3), expected, rtol=1e-13)


def test_zeros_that_force_other_zeros():
    # Row 0 has only column 0, which it fills: the diagonal is all that is left.
    found = fit_margins([[1.0, 0.0], [1.0, 1.0]], {0: [0.5, 0.5], 1: [0.5, 0.5]})
    assert found.status is Status.BOUNDARY
    np.testing.assert_allclose(found.probabilities, [0.5, 0.0, 0.0, 0.5], atol=1e-15)


PAIRS = np.full((2, 2), 0.25)


@pytest.mark.parametrize(
    ("table", "margins", "message"),
    [
        (np.ones((2, 2)), {0: [50, 50], 1: [40, 50]},
         r"margin of axis 0 and the margin of axis 1 have different totals: 1 and 0\.9"),
        (np.ones((2, 2, 2)), {(0, 1): PAIRS, (1, 2): [[0.3, 0.3], [0.2, 0.2]]},
         r"margin of axes 1, 2 do not agree: summed to axis 1, at \(1,\), 0\.5 and 0\.4"),
        ([[1.0, 0.0], [1.0, 1.0]], {0: [0.6, 0.4], 1: [0.5, 0.5]},
         r"No table with these zeros .* margin of axis 0 at \(0,\)"),
        ([[1.0, 0.0], [1.0, 0.0]], {0: [0.6, 0.4], 1: [0.5, 0.5]}, "No table with these zeros"),
    ],
)  # fmt: skip
def test_contradictions_are_proved_and_named(table, margins, message):
    with pytest.raises(SolveError, match=message) as caught:
        fit_margins(table, margins)
    assert caught.value.result.status is Status.INFEASIBLE
    assert caught.value.result.certificate is not None
    assert fit_margins(table, margins, throw=False).status is Status.INFEASIBLE


@pytest.mark.parametrize(
    ("table", "margins", "error", "message"),
    [
        (np.ones((2, 2)), {}, ValueError, "margins must hold at least one margin"),
        (np.ones((2, 2)), [[0.5, 0.5, 0.1]], TypeError, "mapping or a list of pairs"),
        (np.ones((2, 2)), None, TypeError, "mapping or a list of pairs .*: got NoneType"),
        (np.ones((2, 2)), {0: [1e-310] * 2}, ValueError, "have a positive total, above 1e-290"),
        (np.ones((2, 2)), {2: [0.5, 0.5]}, ValueError, "from 0 to 1: got 2"),
        (np.ones((2, 2)), {(0, 0): PAIRS}, ValueError, r"be different integers .* got \(0, 0\)"),
        (np.ones((2, 2)), {(): 1.0}, ValueError, r"different integers from 0 to 1: got \(\)"),
        (np.ones((2, 2)), {"a": [0.5, 0.5]}, ValueError, "different integers"),
        (np.ones((2, 2)), {0: [0.2, 0.3, 0.5]}, ValueError, r"have the shape \(2,\)"),
        (np.ones((2, 2)), {0: [-0.5, 1.5]}, ValueError, "not negative"),
        (np.ones((2, 2)), {0: [0.0, 0.0]}, ValueError, "margin of axis 0 must have a positive"),
        ([[1.0, -1.0]], {0: [1.0]}, ValueError, "table must be finite and not negative"),
        ([[0.0, 0.0]], {0: [1.0]}, ValueError, "table must .* all are 0"),
        (1.0, {0: [1.0]}, ValueError, "table must be an array"),
    ],
)
def test_bad_input(table, margins, error, message):
    with pytest.raises(error, match=message):
        fit_margins(table, margins)
