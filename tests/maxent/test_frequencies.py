"""Matched class frequencies: 40-digit references, known answers, a linear program as the judge."""

import tracemalloc

import mpmath
import numpy as np
import pytest
import scipy.optimize
from scipy.special import log_softmax, softmax

from infogeo import SolveError, Status, logits
from infogeo.maxent import match_frequencies


def draw(rng, n, c, size=3.0):
    return softmax(size * rng.normal(size=(n, c)), axis=-1)


def by_mpmath(p, frequencies, start):
    """Return the matched predictions from a root-finder with 40 digits."""
    with mpmath.workdps(40):
        rows = [[mpmath.mpf(float(x)) for x in row] for row in p]
        targets = [mpmath.mpf(float(x)) for x in frequencies]
        targets = [x / sum(targets) for x in targets]

        def tilted(b):
            factors = [mpmath.exp(x) for x in [*b, 0]]
            unnormalised = [
                [x * factor for x, factor in zip(row, factors, strict=True)] for row in rows
            ]
            return [[x / sum(row) for x in row] for row in unnormalised]

        def excess(*b):
            q = tilted(b)
            return [sum(r[k] for r in q) / len(q) - targets[k] for k in range(len(b))]

        b = mpmath.findroot(excess, [float(x) for x in start[:-1] - start[-1]], tol=1e-60)
        return np.array([[float(mpmath.log(x)) for x in row] for row in tilted(list(b))])


# ---------------------------------------------------------------- known answers


@pytest.mark.parametrize("size", [0.5, 3.0, 15.0])
def test_against_40_digits(rng, size):
    p, f = draw(rng, 7, 4, size), rng.dirichlet(np.ones(4))
    found = match_frequencies(p, f)
    reference = by_mpmath(p, f, found.class_offsets)
    error = np.abs(np.log(found.probabilities) - reference).max()
    assert error <= found.error_bound
    assert found.error_bound < 1e-9
    assert found.status is Status.CONVERGED


@pytest.mark.parametrize(("n", "c"), [(1, 2), (5, 3), (1000, 10), (20_000, 10), (300, 200)])
def test_known_by_construction(rng, n, c):
    p, w = draw(rng, n, c), rng.uniform(0.1, 3.0, size=n)
    b = rng.normal(size=c)
    b -= b.mean()
    log_q = log_softmax(np.log(p) + b, axis=-1)
    f = np.average(np.exp(log_q), axis=0, weights=w)
    found = match_frequencies(p, f, weights=w)
    assert np.abs(np.log(found.probabilities) - log_q).max() <= found.error_bound + 1e-13
    assert found.error_bound < 1e-9
    np.testing.assert_allclose(found.class_offsets, b, rtol=0, atol=1e-10)
    np.testing.assert_allclose(
        np.average(found.probabilities, axis=0, weights=w), f, rtol=0, atol=1e-13
    )
    assert found.residual < 1e-13


def test_one_row_becomes_the_frequencies(rng):
    f = rng.dirichlet(np.ones(5))
    np.testing.assert_allclose(
        match_frequencies(draw(rng, 1, 5), f).probabilities[0], f, rtol=1e-13
    )


def test_nothing_to_do(rng):
    p = draw(rng, 50, 4)
    found = match_frequencies(p, p.mean(0))
    np.testing.assert_allclose(found.probabilities, p, rtol=1e-13)
    np.testing.assert_allclose(found.class_offsets, 0.0, atol=1e-13)


def test_nothing_that_meets_the_frequencies_is_nearer(rng):
    p, w, f = draw(rng, 30, 4), rng.uniform(size=30), rng.dirichlet(np.ones(4))
    w /= w.sum()
    q = match_frequencies(p, f, weights=w).probabilities

    def divergence(a, b):
        return float(w @ (a * np.log(a / b)).sum(1))

    for _ in range(20):
        change = rng.normal(size=q.shape)
        change -= change.mean(1, keepdims=True)
        change -= w @ change  # keeps the rows' sums and the average
        other = q + 0.5 * change * (q / np.abs(change)).min()
        np.testing.assert_allclose(w @ other, f, atol=1e-14)
        np.testing.assert_allclose(  # Pythagoras
            divergence(other, p), divergence(other, q) + divergence(q, p), rtol=1e-12
        )


def test_it_is_the_c_maximisation_of_all_rows_together(rng):
    """One distribution of 6 x 3 outcomes whose rows and columns are known."""
    from infogeo.maxent import c_maximize

    p, f = draw(rng, 6, 3), rng.dirichlet(np.ones(3))
    rows = np.repeat(np.eye(6), 3, axis=1)
    columns = np.tile(np.eye(3), (1, 6))
    joint = c_maximize(
        np.concatenate([rows, columns]), [*[1 / 6] * 6, *f], log_base=np.log(p.ravel())
    )
    q = match_frequencies(p, f).probabilities
    np.testing.assert_allclose(q.ravel() / 6, joint.probabilities, rtol=1e-12)


# ---------------------------------------------------------------- inputs of every kind


def test_logits_are_the_same_without_underflow(rng):
    z, f = rng.normal(size=(40, 5)) * 3.0, rng.dirichlet(np.ones(5))
    from_logits = match_frequencies(z + 100.0, f, space=logits)
    from_p = match_frequencies(softmax(z, axis=-1), f)
    np.testing.assert_allclose(from_logits.probabilities, from_p.probabilities, rtol=1e-12)
    np.testing.assert_allclose(
        softmax(z + from_logits.class_offsets, axis=-1), from_logits.probabilities, rtol=1e-12
    )


def test_far_logits(rng):
    # By symmetry the first class needs e^-1000 turned into 1/2.
    z = np.array([[0.0, -1000.0], [0.0, -1000.0]])
    found = match_frequencies(z, [0.5, 0.5], space=logits)
    np.testing.assert_allclose(found.probabilities, 0.5, rtol=1e-13)
    np.testing.assert_allclose(found.class_offsets, [-500.0, 500.0], rtol=1e-15)
    z = np.array([[0.0, -1e5, 3.0], [0.0, -4000.0, 2.0]])
    found = match_frequencies(z, [0.3, 0.3, 0.4], space=logits)
    np.testing.assert_allclose(found.probabilities.mean(0), [0.3, 0.3, 0.4], rtol=1e-11)
    assert found.probabilities[0, 1] == 0.0


@pytest.mark.parametrize("scale", [1e2, 1e3, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("c", [3, 10])
def test_logits_of_any_size(rng, scale, c):
    # Nearly all rows are certain; which are not is a linear program.
    z, f = scale * rng.normal(size=(300, c)), rng.dirichlet(np.ones(c))
    found = match_frequencies(z, f, space=logits, max_steps=300)
    assert found.status is Status.CONVERGED
    assert found.residual < 1e-15 * max(scale, 100.0)
    tilted = log_softmax(z + found.class_offsets, axis=1)
    np.testing.assert_allclose(np.exp(tilted), found.probabilities, atol=1e-15 * max(scale, 100.0))


def test_rows_of_very_different_sizes():
    # Cooling at one pace loses the solution on the way here.
    for seed in (1, 85, 99):
        rng = np.random.default_rng(seed)
        c, n = int(rng.integers(2, 20)), int(rng.integers(2, 400))
        z = 1e4 * rng.normal(size=(n, c)) * rng.lognormal(size=(n, 1))
        f = rng.dirichlet(np.full(c, rng.choice([0.3, 1, 5])))
        found = match_frequencies(z, f, space=logits, max_steps=300)
        assert found.residual < 1e-12


@pytest.mark.parametrize("scale", [1e10, 1e100, 1e300])
def test_nothing_is_claimed_of_logits_without_digits(rng, scale):
    z, f = scale * rng.normal(size=(300, 5)), rng.dirichlet(np.ones(5))
    found = match_frequencies(z, f, space=logits, throw=False)
    assert not found.status.is_solution or found.residual < found.error_bound


def test_frequencies_near_zero(rng):
    f = np.array([1e-15, 1e-9, 1.0 - 1e-9])
    found = match_frequencies(draw(rng, 20, 3), f)
    np.testing.assert_allclose(found.probabilities.mean(0), f, rtol=1e-10)
    assert found.status is Status.CONVERGED


@pytest.mark.parametrize("tiny", [1e-8, 1e-12, 1e-16, 1e-20])
def test_a_frequency_near_zero_keeps_its_digits(rng, tiny):
    p, f = draw(rng, 50, 4), np.array([tiny, 0.3, 0.3, 0.4 - tiny])
    found = match_frequencies(p, f)
    np.testing.assert_allclose(found.probabilities.mean(axis=0), f, rtol=1e-13)
    assert found.error_bound < 1e6 * np.finfo(float).eps / np.sqrt(tiny)
    reference = by_mpmath(p, f, found.class_offsets)
    assert np.abs(np.log(found.probabilities) - reference).max() < 1e-13


@pytest.mark.parametrize("size", [5e-324, 1e308])
def test_only_ratios_of_weights_matter(rng, size):
    p, f = draw(rng, 20, 3), [0.2, 0.3, 0.5]
    weighted = match_frequencies(p, f, weights=np.full(20, size))
    np.testing.assert_allclose(weighted.probabilities, match_frequencies(p, f).probabilities)


def test_jax_without_float64_is_solved_in_float64(rng):
    # The passes are in float64 whatever jax has; a warning is an error here.
    jnp = pytest.importorskip("jax.numpy")
    p, f = draw(rng, 1000, 4).astype(np.float32), [0.1, 0.2, 0.3, 0.4]
    found = match_frequencies(jnp.asarray(p), f, groups=np.arange(1000) % 2)
    assert found.probabilities.dtype == jnp.float32
    assert float(found.residual.max()) < 1e-14
    expected = match_frequencies(p, f, groups=np.arange(1000) % 2)
    np.testing.assert_array_equal(np.asarray(found.probabilities), expected.probabilities)


def test_groups_are_solved_by_themselves(rng):
    p, w = draw(rng, 60, 3), rng.uniform(size=60)
    labels = np.array(["north", "south", "east"])[rng.integers(0, 3, 60)]
    f = rng.dirichlet(np.ones(3), size=3)
    found = match_frequencies(p, f, groups=labels, weights=w)
    assert list(found.groups) == ["east", "north", "south"]
    assert found.class_offsets.shape == (3, 3)
    assert found.residual.shape == found.error_bound.shape == (3,)
    for g, name in enumerate(found.groups):
        where = labels == name
        alone = match_frequencies(p[where], f[g], weights=w[where])
        np.testing.assert_array_equal(found.probabilities[where], alone.probabilities)
        np.testing.assert_array_equal(found.class_offsets[g], alone.class_offsets)
    shared = match_frequencies(p, f[0], groups=labels)
    for name in found.groups:
        np.testing.assert_allclose(shared.probabilities[labels == name].mean(0), f[0], atol=1e-13)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_library(lib, dtype, rng):
    p, f = draw(rng, 30, 4).astype(dtype), np.array([0.1, 0.2, 0.3, 0.4])
    p /= p.sum(1, keepdims=True)
    labels = np.arange(30) % 2
    given = lib.array(p, dtype)
    if lib.name == "dask":
        with pytest.raises(TypeError, match="p must be in memory"):
            match_frequencies(given, f.tolist())
        return
    found = match_frequencies(given, f.tolist(), groups=labels)
    assert lib.owns(found.probabilities)
    assert lib.dtype_name(found.probabilities) == lib.dtype_name(found.class_offsets) == dtype
    expected = match_frequencies(
        p.astype("float64") / p.sum(1, keepdims=True, dtype="float64"), f, groups=labels
    )
    error = np.abs(np.log(lib.to_numpy(found.probabilities) / expected.probabilities)).max()
    assert error <= lib.to_numpy(found.error_bound).max() + 4 * np.finfo(dtype).eps


def test_tensors_with_gradients(rng):
    torch = pytest.importorskip("torch")
    p = torch.tensor(draw(rng, 5, 3), requires_grad=True)
    with pytest.raises(ValueError, match=r"p must not require a gradient.*p\.detach\(\)"):
        match_frequencies(p, [0.2, 0.3, 0.5])
    f = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64, requires_grad=True)
    with pytest.raises(ValueError, match="frequencies must not require a gradient"):
        match_frequencies(p.detach(), f)
    w = torch.ones(5, dtype=torch.float64, requires_grad=True)
    with pytest.raises(ValueError, match="weights must not require a gradient"):
        match_frequencies(p.detach(), [0.2, 0.3, 0.5], weights=w)
    with torch.no_grad():
        assert match_frequencies(p, [0.2, 0.3, 0.5]).status is Status.CONVERGED


def test_memory_is_that_of_the_result(rng):
    p = draw(rng, 100_000, 10)
    match_frequencies(p[:1000], [0.1] * 10)
    tracemalloc.start()
    match_frequencies(p, [0.1] * 10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < p.nbytes + 6_000_000  # the result, the weights, and a few blocks


# ---------------------------------------------------------------- zeros

SUPPORT = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.2, 0.8]])


def test_a_frequency_of_zero_takes_the_class_from_all_rows(rng):
    p = draw(rng, 20, 4)
    found = match_frequencies(p, [0.5, 0.0, 0.2, 0.3])
    assert found.status is Status.BOUNDARY
    assert (found.probabilities[:, 1] == 0.0).all()
    assert found.class_offsets[1] == -np.inf
    rest = p[:, [0, 2, 3]] / p[:, [0, 2, 3]].sum(1, keepdims=True)
    expected = match_frequencies(rest, [0.5, 0.2, 0.3])
    np.testing.assert_allclose(
        found.probabilities[:, [0, 2, 3]], expected.probabilities, rtol=1e-12
    )
    certain = match_frequencies(p, [0.0, 0.0, 1.0, 0.0])
    np.testing.assert_array_equal(certain.probabilities, np.eye(4)[[2] * 20])
    assert certain.status is Status.BOUNDARY


def test_rows_that_fill_a_class_keep_others_out():
    found = match_frequencies(SUPPORT, [1 / 3, 1 / 3, 1 / 3])
    assert found.status is Status.BOUNDARY
    np.testing.assert_array_equal(found.probabilities, np.eye(3))


def test_separate_pieces_are_no_boundary():
    p = np.array([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.9, 0.1]])
    found = match_frequencies(p, [0.3, 0.2, 0.25, 0.25])
    assert found.status is Status.CONVERGED
    np.testing.assert_allclose(found.probabilities, [[0.6, 0.4, 0, 0], [0, 0, 0.5, 0.5]])


def test_zeros_against_a_linear_program(rng):
    for _ in range(250):
        n, c = rng.integers(1, 8), rng.integers(2, 6)
        p = rng.dirichlet(np.full(c, rng.choice([0.1, 1.0])), size=n)
        p[rng.random(p.shape) < rng.choice([0.0, 0.3, 0.6])] = 0.0
        p[p.sum(1) == 0.0, 0] = 1.0
        p /= p.sum(1, keepdims=True)
        w = rng.integers(1, 5, size=n) * 1.0
        chosen = (p > 0.0) * (rng.random(p.shape) < rng.choice([0.5, 1.0])) * 1.0
        chosen[chosen.sum(1) == 0.0] = p[chosen.sum(1) == 0.0] > 0.0
        f = w @ (chosen / chosen.sum(1, keepdims=True)) / w.sum()
        f = f if rng.random() < 0.6 else rng.dirichlet(np.ones(c))
        found = match_frequencies(p, f, weights=w, throw=False)
        smallest, is_feasible = largest_minimum(p > 0.0, w / w.sum(), f)
        if not is_feasible:
            assert found.status is Status.INFEASIBLE
            is_bound = ~(p > 0.0)[:, ~found.certificate].any(1)
            assert w[is_bound].sum() / w.sum() > f[found.certificate].sum() + 1e-12
            continue
        assert found.status is (Status.CONVERGED if smallest > 1e-9 else Status.BOUNDARY)
        assert found.residual < 1e-12
        assert (found.probabilities[p == 0.0] == 0.0).all()


def largest_minimum(support, w, f):
    """Return the largest t for which all allowed entries can be t, and whether there are any."""
    entries = np.argwhere(support)
    equal = np.zeros((support.shape[0] + f.size, len(entries) + 1))
    equal[entries[:, 0], np.arange(len(entries))] = 1.0
    equal[support.shape[0] + entries[:, 1], np.arange(len(entries))] = 1.0
    above = np.hstack([-np.eye(len(entries)), np.ones((len(entries), 1))])
    found = scipy.optimize.linprog(
        [*[0.0] * len(entries), -1.0], A_eq=equal, b_eq=np.concatenate([w, f]), A_ub=above,
        b_ub=np.zeros(len(entries)), method="highs",
    )  # fmt: skip
    return (found.x[-1], True) if found.status == 0 else (0.0, False)


@pytest.mark.parametrize(
    ("p", "frequencies", "certificate", "message"),
    [
        (SUPPORT, [0.2, 0.4, 0.4], [1, 0, 0], r"row 0 \(1 of 3\) allow only class 0.*sum to 0\.2"),
        (SUPPORT, [0.5, 0, 0.5], [1, 1, 0], r"rows 0, 1 \(2 of 3\) allow only classes 0, 1"),
        (SUPPORT, [1, 0, 0], [0, 1, 1], r"row 2 \(1 of 3\) allow only classes 1, 2"),
        ([[0.5, 0.5, 0], [0.1, 0.9, 0]], [0.4, 0.5, 0.1], [1, 1, 0],
         r"No row allows class 2 .* its frequency is to be 0\.1"),
    ],
)  # fmt: skip
def test_infeasible_frequencies_are_proved_and_named(p, frequencies, certificate, message):
    with pytest.raises(SolveError, match=message) as caught:
        match_frequencies(p, frequencies)
    found = caught.value.result
    assert found.status is Status.INFEASIBLE
    np.testing.assert_array_equal(found.certificate, np.array(certificate, dtype=bool))


def test_failed_groups_are_named():
    labels = ["a", "a", "b", "b"]
    p = [[0.5, 0.5], [0.4, 0.6], [1.0, 0.0], [0.3, 0.7]]
    message = r"1 of 2 groups failed.*: b\. Group b: .*row 2 \(1 of 2\) allow only class 0"
    with pytest.raises(SolveError, match=message) as caught:
        match_frequencies(p, [0.25, 0.75], groups=labels)
    found = caught.value.result
    assert caught.value.failed == (1,)
    np.testing.assert_array_equal(found.certificate, [[False, False], [True, False]])
    np.testing.assert_allclose(found.probabilities[:2].mean(0), [0.25, 0.75])


def test_what_rounding_hides_is_not_claimed():
    # Row 1 is certain to 217 digits: 1/2 decides the offsets only to within 400.
    z = [[0.0, -5000.0], [0.0, -4000.0]]
    with pytest.raises(SolveError, match="not determined to the rounding"):
        match_frequencies(z, [0.5, 0.5], space=logits)
    found = match_frequencies(z, [0.5, 0.5], space=logits, throw=False)
    assert found.status is Status.UNDECIDED
    assert found.residual < 1e-14


def test_steps_may_run_out(rng):
    with pytest.raises(SolveError, match="The 1 pass over the rows ran out"):
        match_frequencies(draw(rng, 20, 3), [0.1, 0.1, 0.8], max_steps=1)


# ---------------------------------------------------------------- bad input

P = [[0.5, 0.5], [0.9, 0.1]]


@pytest.mark.parametrize(
    ("p", "frequencies", "options", "error", "message"),
    [
        ([[0.5, 0.6]], [0.5, 0.5], {}, ValueError, "p must hold probabilities"),
        ([[2.0, -1.0]], [0.5, 0.5], {}, ValueError, "use infogeo.logits"),
        ([[np.nan, 0.5]], [0.5, 0.5], {}, ValueError, "p must hold probabilities.*NaN"),
        ([[np.inf, 0.5]], [0.5, 0.5], {"space": logits}, ValueError, "p must hold logits"),
        ([0.5, 0.5], [0.5, 0.5], {}, ValueError, r"p must have shape \(n, c\)"),
        (np.zeros((0, 2)), [0.5, 0.5], {}, ValueError, r"p must have shape \(n, c\)"),
        (P, [0.5, 0.6], {}, ValueError, "frequencies must hold probabilities"),
        (P, [50, 50], {}, ValueError, r"frequencies\.sum"),
        (P, [np.nan, 1.0], {}, ValueError, "frequencies must be finite"),
        (P, [0.2, 0.3, 0.5], {}, ValueError, r"frequencies must have one entry.*\(3,\)"),
        (P, [[0.5, 0.5]], {}, ValueError, "frequencies must have shape"),
        (P, [[0.5, 0.5]] * 3, {"groups": [1, 2]}, ValueError, "3 rows for 2 groups"),
        (P, [0.5, 0.5], {"groups": [1]}, ValueError, "groups must have one label for each"),
        (P, [0.5, 0.5], {"groups": [1, "a", None]}, ValueError, "groups must have one label"),
        (P, [0.5, 0.5], {"groups": np.array([1, "a"], dtype=object)}, TypeError, "groups must"),
        (P, [0.5, 0.5], {"weights": [1.0]}, ValueError, "weights must have one entry"),
        (P, [0.5, 0.5], {"weights": [1.0, -1.0]}, ValueError, "weights must be .*not negative"),
        (P, [0.5, 0.5], {"weights": [0.0, 0.0]}, ValueError, "weights must have a positive sum"),
        (P, [0.5, 0.5], {"weights": [0, 1], "groups": "ab"}, ValueError, "groups must have"),
        (P, [0.5, 0.5], {"weights": [0, 1], "groups": list("ab")}, ValueError, "in group a"),
        (P, [0.5, 0.5], {"space": "normal"}, ValueError, "space must be infogeo.simplex or"),
        (P, [0.5, 0.5], {"space": "logit"}, ValueError, "name of one .*got 'logit'"),
        (P, [0.5, 0.5], {"tol": 0.0}, ValueError, "tol must be a positive number"),
        (P, [0.5, 0.5], {"max_steps": 0}, ValueError, "max_steps must be a positive integer"),
    ],
)
def test_bad_input(p, frequencies, options, error, message):
    with pytest.raises(error, match=message):
        match_frequencies(p, frequencies, **options)
