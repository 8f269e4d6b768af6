"""Tables with given margins: proportional fitting, closed forms, contradictions."""

import itertools

import mpmath
import numpy as np
import pytest
import scipy.optimize

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


@pytest.mark.parametrize("axes", [((0,),), ((0,), (1,)), ((0,), (1, 2)), ((0, 1), (1, 2))])
def test_the_residual_is_the_largest_miss_of_a_margin(rng, axes):
    p, q = (rng.dirichlet(np.ones(24)).reshape(2, 3, 4) for _ in range(2))
    margins = {a: sums(p, a) for a in axes}
    found = fit_margins(q, margins)
    fitted = found.probabilities.reshape(2, 3, 4)
    missed = max(np.abs(sums(fitted, a) - margins[a]).max() for a in axes)
    assert missed < 1e-14
    assert abs(found.residual - missed) < 1e-15


def test_totals_that_contradict_each_other_need_no_steps():
    found = fit_margins(np.ones((2, 2)), {0: [0.5, 0.5], 1: [0.5, 0.6]}, throw=False)
    assert found.status is Status.INFEASIBLE
    assert found.steps == 0
    # What is shown is the uniform table that was given: its second margin is .1 off.
    assert abs(found.residual - 0.1) < 1e-15


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
        (None, {0: [1.0]}, TypeError, r"fit_margins\(margins=margins, log_table=log_table\)"),
    ],
)
def test_bad_input(table, margins, error, message):
    with pytest.raises(error, match=message):
        fit_margins(table, margins)


# ---------------------------------------------------------------- two margins apart, in logarithms


def gaussian(num_bins, mean, spread):
    """Return a histogram as the tutorial of POT has it: ot.datasets.make_1D_gauss."""
    x = np.arange(num_bins)
    h = np.exp(-((x - mean * num_bins) ** 2) / (2.0 * (spread * num_bins) ** 2))
    return h / h.sum()


def transport(num_bins, reg):
    """Return two histograms, and -cost / reg for squared distances of at most 1."""
    x = np.linspace(0.0, 1.0, num_bins)
    a, b = gaussian(num_bins, 0.2, 0.05), gaussian(num_bins, 0.6, 0.1)
    return a, b, -((x[:, None] - x) ** 2) / reg


def exact_logs(logs, a, b, near):
    """Return log p on the support of a table near it to 40 digits, by Newton's method."""
    cells = list(zip(*np.nonzero(np.isfinite(near)), strict=True))
    a, b = ([mpmath.mpf(float(x)) for x in margin] for margin in (a, b))
    a, b = ([x / mpmath.fsum(margin) for x in margin] for margin in (a, b))
    ones = np.zeros((len(cells), sum(near.shape)))
    for n, (i, j) in enumerate(cells):
        ones[n, [i, near.shape[0] + j]] = 1.0
    gaps = np.array([near[cell] - float(logs[cell]) for cell in cells])
    f = [mpmath.mpf(x) for x in np.linalg.lstsq(ones, gaps, rcond=None)[0][: near.shape[0]]]
    rows, columns = sorted({i for i, _ in cells}), sorted({j for _, j in cells})
    for _ in range(30):
        p = {cell: mpmath.exp(mpmath.mpf(float(logs[cell])) + f[cell[0]]) for cell in cells}
        for j in columns:
            own = [cell for cell in cells if cell[1] == j]
            total = mpmath.fsum(p[cell] for cell in own)
            p |= {cell: p[cell] * b[j] / total for cell in own}
        sums = [mpmath.fsum(p.get((i, j), 0) for j in columns) for i in rows]
        excess = [a[i] / r - 1 for i, r in zip(rows, sums, strict=True)]
        if max(map(abs, excess)) < mpmath.mpf(10) ** -35:
            return {cell: mpmath.log(p[cell]) for cell in cells}
        matrix = mpmath.matrix(len(rows))
        for m, i in enumerate(rows):
            for n, k in enumerate(rows):
                both = mpmath.fsum(p.get((i, j), 0) * p.get((k, j), 0) / b[j] for j in columns)
                matrix[m, n] = (m == n) + sums[n] - both / sums[m]
        for i, x in zip(rows, mpmath.lu_solve(matrix, mpmath.matrix(excess)), strict=True):
            f[i] += x
    raise AssertionError("no reference")


def error_to_bound(found, logs, a, b):
    """Return the largest error of a log-probability in units of the bound, and the number."""
    with mpmath.workdps(50):
        near = found.log_probabilities.reshape(logs.shape)
        exact = exact_logs(logs, a, b, near)
        error = max(abs(value - mpmath.mpf(float(near[cell]))) for cell, value in exact.items())
        return float(error / float(found.error_bound))


def test_a_margin_below_the_rounding_of_the_other_one():
    found = fit_margins(np.ones((2, 2)), {0: [1.0 - 1e-16, 1e-16], 1: [0.5, 0.5]})
    assert found.status is Status.CONVERGED
    assert found.error_bound < 1e-12
    np.testing.assert_allclose(found.probabilities, [0.5, 0.5, 5e-17, 5e-17], rtol=1e-12)


@pytest.mark.parametrize("reg", [0.1, 1e-2, 1e-3])
def test_transport_of_gaussian_margins(reg):
    a, b, logs = transport(20, reg)
    found = fit_margins(margins={0: a, 1: b}, log_table=logs)
    assert found.status is Status.CONVERGED
    assert found.error_bound < 1e-10
    assert error_to_bound(found, logs, a, b) < 1.0


def test_transport_of_gaussian_margins_of_a_hundred_bins():
    a, b, logs = transport(100, 0.1)
    assert a.min() < 1e-55
    found = fit_margins(np.exp(logs), {0: a, 1: b})
    assert found.steps <= 3
    assert found.error_bound < 1e-12
    plan = found.probabilities.reshape(logs.shape)
    np.testing.assert_allclose(plan.sum(axis=1), a, rtol=1e-12)
    np.testing.assert_allclose(plan.sum(axis=0), b, rtol=1e-12)
    # log p - K is the sum of a function of the row and one of the column.
    left = found.log_probabilities.reshape(logs.shape) - logs
    np.testing.assert_allclose(left, left[:1] + left[:, :1] - left[0, 0], atol=1e-11)


@pytest.mark.parametrize("kind", ["near", "tiny margins", "zeros", "large", "steep"])
def test_bounds_hold_for_random_tables(rng, kind):
    solved = 0
    for _ in range(25):
        shape = rng.integers(1, 6, size=2)
        steepness = 10.0 ** rng.uniform(1.0, 1.8) if kind == "steep" else 1.0
        logs = steepness * rng.normal(size=shape)
        a, b = (10.0 ** -(rng.uniform(0.0, 1.0, size) ** 3) for size in shape)
        if kind == "tiny margins":
            a, b = a**60, b**200
        if kind == "zeros":
            logs[rng.random(shape) < 0.2] = -np.inf
        if kind == "large":
            logs += 1e6 * rng.normal(size=(shape[0], 1))
        a, b = a / a.sum(), b / b.sum()
        if not np.isfinite(logs).any():
            continue
        found = fit_margins(margins={0: a, 1: b}, log_table=logs, throw=False)
        if found.status.is_solution:
            solved += 1
            assert error_to_bound(found, logs, a, b) < 1.0
    assert solved >= (8 if kind == "zeros" else 24)


def test_the_bound_covers_what_is_known_of_the_margins(rng):
    logs = 3.0 * rng.normal(size=(4, 5))
    a, b = (rng.dirichlet(np.ones(size)).astype(np.float32) for size in logs.shape)
    found = fit_margins(margins={0: a, 1: b}, log_table=logs)
    wide = [margin.astype(float) * (1.0 + 5e-8 * rng.normal(size=margin.size)) for margin in (a, b)]
    other = fit_margins(margins={i: m / m.sum() for i, m in enumerate(wide)}, log_table=logs)
    apart = np.abs(found.log_probabilities - other.log_probabilities).max()
    assert 1e-8 < apart < found.error_bound < 1e-4


def test_the_bound_covers_totals_that_agree_to_rounding_only():
    a = np.full(200, 1.0 / 200)
    found = fit_margins(np.ones((200, 200)), {0: a, 1: a * (1.0 + 5e-13)})
    assert found.status is Status.CONVERGED
    # Either margin may be right.
    assert np.abs(found.log_probabilities + 2.0 * np.log(200)).max() < found.error_bound
    assert 5e-13 < found.error_bound < 1e-11


def test_margins_too_small_for_normal_numbers():
    a = np.array([3.0, 5e-324, 1e-310, 0.0])
    found = fit_margins(np.ones((4, 2)), {0: a, 1: [2.0, 1.0]})
    assert found.status is Status.BOUNDARY
    expected = np.add.outer(np.log(a[:3]), np.log([2.0, 1.0])) - np.log(9.0)
    apart = np.abs(found.log_probabilities.reshape(4, 2)[:3] - expected).max()
    assert apart < found.error_bound + 2e-13 < 1e-11
    np.testing.assert_array_equal(found.direction, [0, 0, 0, 1, 0, 0])


def test_zeros_that_leave_no_cell():
    table = [[1.0, 0.0], [0.0, 0.0]]
    for margins in ({0: [0.0, 1.0], 1: [0.0, 1.0]}, {0: [0.0, 1.0], 1: [0.0, 2.0]}):
        found = fit_margins(table, margins, throw=False)
        assert found.status is Status.INFEASIBLE
        assert found.certificate is not None


def test_a_table_that_nearly_falls_into_parts_is_undecided():
    # The upper left cell is p12 + p11 = 1/2 less p12: 1e-300 is hidden by the rounding of 1/2.
    logs = np.log(1e300) * np.array([[-1.0, 1.0], [1.0, 1.0]])
    with pytest.raises(SolveError, match="nearly falls into parts") as caught:
        fit_margins(margins={0: [0.5, 0.5], 1: [0.5, 0.5]}, log_table=logs)
    assert caught.value.result.status is Status.UNDECIDED
    assert caught.value.result.error_bound == np.inf
    # Two parts that are joined by 1e-7 of their mass are not: here log p is known to 1e-5.
    logs = np.array([[0.0, -16.0], [-16.0, 0.0]])
    found = fit_margins(margins={0: [0.5, 0.5], 1: [0.5, 0.5]}, log_table=logs)
    assert found.error_bound < 1e-4
    with mpmath.workdps(40):
        q = mpmath.exp(-16)
        expected = float(mpmath.log(q / (2 * (1 + q))))
    apart = abs(found.log_probabilities[1] - expected)
    assert apart <= found.error_bound


@pytest.mark.parametrize(("size", "reg"), [(3, 1e-3), (8, 1e-3), (8, 1e-4), (20, 1e-3)])
def test_plans_near_permutations_are_undecided_as_soon_as_only_rounding_is_left(size, reg):
    cost, share = np.random.default_rng(0).random((size, size)), np.full(size, 1.0 / size)
    found = fit_margins(margins={0: share, 1: share}, log_table=-cost / reg, throw=False)
    assert found.status is Status.UNDECIDED
    assert found.steps < 50
    plan = found.probabilities.reshape(size, size)
    np.testing.assert_allclose(plan.sum(axis=0), share, rtol=1e-11)
    np.testing.assert_allclose(plan.sum(axis=1), share, rtol=1e-11)
    rows, columns = scipy.optimize.linear_sum_assignment(cost)
    assert (plan[rows, columns] > 0.9 / size).all()


def test_digits_that_a_dtype_does_not_hold_decide_small_entries_of_near_permutations():
    # p_12 = u and p_21 = u + h for margins (1/2, 1/2) and (1/2 + h, 1/2 - h): u (u + h) is given.
    logs = np.array([[0.0, -46.0], [-46.0, 0.0]])
    found = fit_margins(margins={0: [0.5, 0.5], 1: [0.5, 0.5]}, log_table=logs, throw=False)
    assert found.status is Status.UNDECIDED
    product, h = mpmath.exp(-92) / 4, mpmath.mpf("2e-17")  # 1/2 + h rounds to 1/2
    even, odd = mpmath.sqrt(product), -h / 2 + mpmath.sqrt(h * h / 4 + product)
    assert 0.5 + float(h) == 0.5
    assert mpmath.log(even / odd) > 1


def test_different_totals_of_a_large_table_are_proved_at_once():
    with pytest.raises(SolveError, match=r"different totals: 1 and 1\.1") as caught:
        fit_margins(np.ones((300, 400)), {0: np.full(300, 4.0), 1: np.full(400, 3.3)})
    eta = caught.value.result.certificate
    # The same for every cell, and below the margins: their sums with it are 0 and -0.1.
    assert eta[0] + eta[300] == 0.0
    assert eta[:300].sum() / 300 + 1.1 * eta[300:].sum() / 400 < 0.0


def test_one_step_is_too_few():
    a, b, logs = transport(20, 1e-3)
    with pytest.raises(SolveError, match="raise max_steps") as caught:
        fit_margins(margins={0: a, 1: b}, log_table=logs, max_steps=1)
    assert caught.value.result.status is Status.MAX_STEPS


@pytest.mark.parametrize("which", [[(0, 2), (1,)], [(1,)], [(2, 0)], [(2,), (0,)]])
def test_the_parts_of_a_result_fit_together(rng, which):
    q = rng.uniform(0.1, 2.0, size=(2, 3, 4))
    q[0, 0, 0] = 0.0
    p = rng.dirichlet(np.ones(24)).reshape(q.shape)
    margins = {axes: sums(p, axes) for axes in which}
    found = fit_margins(q, margins)
    expected = proportionally_fitted(q, margins, 500)
    fitted = found.probabilities.reshape(q.shape)
    np.testing.assert_allclose(fitted, expected, rtol=1e-12)
    start, logs = 0, -found.log_partition
    for axes, values in margins.items():
        theta = found.theta[start : start + values.size].reshape(values.shape)
        order = np.argsort(axes)
        rest = tuple(axis for axis in range(3) if axis not in axes)
        logs = logs + np.expand_dims(np.transpose(theta, order), rest)
        start += values.size
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(logs + np.log(q), np.log(fitted), atol=1e-12)
    on = q > 0.0
    terms = fitted[on] * np.log(q[on] / fitted[on])
    np.testing.assert_allclose(found.value, terms.sum(), atol=1e-12)
    assert found.rank == sum(values.size - 1 for values in margins.values())
    np.testing.assert_array_equal(found.support, q.reshape(-1) > 0.0)
    assert found.error_bound < 1e-12


def test_the_logarithms_of_a_result_include_the_table(rng):
    # Three margins go through the general solve: log p = log q + theta'F - log_partition too.
    q, p = rng.uniform(1.0, 9.0, size=(2, 3, 2)), rng.dirichlet(np.ones(12)).reshape(2, 3, 2)
    for axes in ((0, 1, 2), (0, 1)):
        margins = {axis: sums(p, (axis,)) for axis in axes}
        found = fit_margins(q, margins)
        theta = np.split(found.theta, np.cumsum([m.size for m in margins.values()])[:-1])
        shapes = [tuple(-1 if i == axis else 1 for i in range(3)) for axis in margins]
        logs = np.log(q) - found.log_partition
        logs = logs + sum(t.reshape(shape) for t, shape in zip(theta, shapes, strict=True))
        np.testing.assert_allclose(logs.ravel(), found.log_probabilities, atol=1e-12)


# ---------------------------------------------------------------- logarithms, sparse tables


def test_logarithms_of_a_table_are_the_table(rng):
    q = rng.uniform(0.5, 2.0, size=(3, 4))
    q[1, 2] = 0.0
    p = np.where(q > 0.0, rng.uniform(size=q.shape), 0.0)
    margins = {0: p.sum(1), 1: p.sum(0)}
    with np.errstate(divide="ignore"):
        one, two = fit_margins(q, margins), fit_margins(None, margins, log_table=np.log(q) + 5.0)
    np.testing.assert_allclose(one.probabilities, two.probabilities, rtol=1e-13)
    assert two.log_partition == pytest.approx(one.log_partition + 5.0)


def test_tables_of_tensors_and_of_float32(rng):
    torch = pytest.importorskip("torch")
    logs = torch.tensor(rng.normal(size=(3, 4)), dtype=torch.float32)
    a, b = torch.ones(3) / 3.0, torch.ones(4) / 4.0
    found = fit_margins(margins={0: a, 1: b}, log_table=logs)
    expected = fit_margins(np.exp(logs.double().numpy()), {0: [1.0] * 3, 1: [0.75] * 4})
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=1e-5)


def test_a_table_that_underflows_is_no_table_with_zeros():
    a, b, logs = transport(30, 1e-3)
    with pytest.raises(ValueError, match=r"table must have no zeros beside .* Give logarithms"):
        fit_margins(np.exp(logs), {0: a, 1: b})
    small = np.exp(logs.astype(np.float32))
    with pytest.raises(ValueError, match=r"log_table=-cost / epsilon"):
        fit_margins(small, {0: a.astype(np.float32), 1: b.astype(np.float32)})
    # Small numbers all, or zeros beside ordinary ones, are no sign of it.
    fit_margins([[0.0, 1e-300], [1e-300, 2e-300]], {0: [0.4, 0.6], 1: [0.4, 0.6]})


@pytest.mark.parametrize("kind", ["csr_array", "coo_matrix", "csc_array"])
def test_sparse_tables_are_dense_ones_without_the_zeros(rng, kind):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    q = np.where(rng.random((20, 30)) < 0.4, rng.uniform(0.5, 2.0, size=(20, 30)), 0.0)
    q[np.arange(30) % 20, np.arange(30)] = 1.0
    p = np.where(q > 0.0, rng.uniform(size=q.shape), 0.0)
    for margins in ({0: p.sum(1), 1: p.sum(0)}, {1: p.sum(0)}):
        table = getattr(scipy_sparse, kind)(q)
        found, expected = fit_margins(table, margins), fit_margins(q, margins)
        is_entry = q.ravel() > 0.0
        np.testing.assert_allclose(
            found.log_probabilities, expected.log_probabilities[is_entry], atol=1e-12
        )
        np.testing.assert_allclose(found.theta, expected.theta, atol=1e-12)
    logs = table.tocsr()
    logs.data = np.log(logs.data)
    again = fit_margins(margins=margins, log_table=logs)
    np.testing.assert_allclose(again.probabilities, found.probabilities, rtol=1e-12)


def test_bad_logarithms():
    for logs, message in (
        ([[0.0, np.nan]], "log_table must hold finite numbers, or -inf for a structural zero"),
        ([[np.inf, 0.0]], "log_table must hold finite numbers"),
        ([[-np.inf, -np.inf]], "finite entries: all are -inf"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_margins(margins={0: [1.0]}, log_table=logs)
    with pytest.raises(TypeError, match="needs one of table and log_table"):
        fit_margins({0: [1.0]}, log_table=[[0.0, 1.0]])


def test_a_large_sparse_table(rng):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    size, columns = 40_000, 50  # as a whole it would have two million cells
    rows = np.repeat(np.arange(size), 2)
    entries = (rng.uniform(0.5, 2.0, 2 * size), (rows, rng.integers(0, columns, 2 * size)))
    table = scipy_sparse.csr_array(entries, shape=(size, columns))
    table.sum_duplicates()
    p = table.copy()
    p.data = rng.uniform(0.1, 1.0, p.nnz)
    found = fit_margins(table, {0: p.sum(axis=1), 1: p.sum(axis=0)})
    fitted = table.copy()
    fitted.data = found.probabilities
    np.testing.assert_allclose(fitted.sum(axis=1), p.sum(axis=1) / p.sum(), rtol=1e-11)
    assert found.error_bound < 1e-9


def test_sparse_tables_with_zeros_that_clash():
    scipy_sparse = pytest.importorskip("scipy.sparse")
    table = scipy_sparse.csr_array(np.array([[1.0, 0.0], [1.0, 1.0]]))
    with pytest.raises(SolveError, match="No table with these zeros has these margins"):
        fit_margins(table, {0: [0.6, 0.4], 1: [0.5, 0.5]})
    with pytest.raises(ValueError, match=r"have the shape \(2,\)"):
        fit_margins(table, {0: [0.6, 0.3, 0.1], 1: [0.5, 0.5]})
    found = fit_margins(table, {0: [0.5, 0.5], 1: [0.5, 0.5]})
    assert found.status is Status.BOUNDARY
    np.testing.assert_allclose(found.probabilities, [0.5, 0.0, 0.5], atol=1e-14)


def test_steps_of_thousands_leave_no_line_without_mass():
    # Found by the campaign: the table nearly falls into parts, and the first step is 4e5 long.
    z = [
        [-1.649, -7.219, -2.735, 10.398],
        [-3.068, -5.151, 7.11, 4.234],
        [0.715, -5.059, 3.053, 2.538],
        [-4.081, 0.45, 0.506, -24.967],
    ]
    rows = np.array([2.0**-7, 2.0**-18, 2.0**-3, 0.0])
    columns = np.array([2.0**-14, 2.0**-14, 2.0**-4, 0.0])
    rows[3], columns[3] = 1.0 - rows.sum(), 1.0 - columns.sum()
    found = fit_margins(log_table=np.array(z), margins={0: rows, 1: columns})
    fitted = found.probabilities.reshape(4, 4)
    np.testing.assert_allclose(fitted.sum(axis=1), rows, rtol=1e-11)
    np.testing.assert_allclose(fitted.sum(axis=0), columns, rtol=1e-11)
