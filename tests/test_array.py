"""The gate: libraries, dtypes, devices, shapes, values and the one error message."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch

import infogeo
from infogeo import _array, _blocks, logits, neighbors, simplex
from infogeo._array import (
    LOGITS,
    NEGATIVE,
    NON_NEGATIVE,
    POSITIVE,
    PROBABILITIES,
    REAL,
    UNIT_INTERVAL,
    WEIGHTS,
    gate,
)
from infogeo.simplex import fisher_rao_distance

P = [0.2, 0.3, 0.5]
Q = [0.6, 0.3, 0.1]


def test_output_lives_where_the_input_lives(lib):
    for dtype in ("float32", "float64"):
        d = fisher_rao_distance(lib.array(P, dtype), lib.array(Q, dtype))
        assert lib.owns(d)
        assert lib.dtype_name(d) == dtype


def test_lists_adopt_library_and_dtype(lib):
    for p, q in ((lib.array(P, "float32"), Q), (P, lib.array(Q, "float32"))):
        d = fisher_rao_distance(p, q)
        assert lib.owns(d)
        assert lib.dtype_name(d) == "float32"
    assert fisher_rao_distance(P, Q).dtype == np.float64


def test_integers_become_the_default_float(lib):
    d = fisher_rao_distance(lib.array([0, 1], "int64"), lib.array([1, 0], "int64"))
    assert lib.dtype_name(d) == ("float32" if lib.name == "torch" else "float64")
    np.testing.assert_allclose(lib.to_numpy(d), np.pi, rtol=2e-7)


def test_floats_of_two_precisions_meet_in_the_higher(lib):
    d = fisher_rao_distance(lib.array(P, "float32"), lib.array(Q, "float64"))
    assert lib.dtype_name(d) == "float64"


def test_default_dtype_of_torch_is_respected():
    torch = pytest.importorskip("torch")
    torch.set_default_dtype(torch.float64)
    try:
        assert fisher_rao_distance(torch.tensor([0, 1]), [1, 0]).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_computed_in_float32_and_may_be_coarse(dtype):
    torch = pytest.importorskip("torch")
    p = torch.softmax(torch.randn(50, 3, generator=torch.manual_seed(0)), -1)
    half = p.to(getattr(torch, dtype))
    assert float((half.float().sum(-1) - 1).abs().max()) > 2e-6 * 3**0.5
    d = fisher_rao_distance(half, p.to(half.dtype))
    assert d.dtype == torch.float32
    assert float(d.max()) == 0.0
    with pytest.raises(ValueError, match="sum - 1"):
        fisher_rao_distance(half * 1.2, half)


def test_logits_in_half_precision():
    torch = pytest.importorskip("torch")
    z = torch.tensor([[1.0, 0.5, -2.0], [0.0, 3.0, -float("inf")]])
    for dtype in (torch.float16, torch.bfloat16):
        d = logits.fisher_rao_distance(z.to(dtype), [0.0, 0.0, 0.0])
        assert d.dtype == torch.float32
        torch.testing.assert_close(d, logits.fisher_rao_distance(z, torch.zeros(3)))


def test_frames_are_read_as_numpy():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([P, Q])
    assert fisher_rao_distance(frame, P).shape == (2,)
    frame.columns = ["a", "b", np.nan]
    np.testing.assert_array_equal(fisher_rao_distance(frame, frame), 0.0)


def test_tables_of_arrow_are_compared_by_the_names_of_their_columns():
    pyarrow = pytest.importorskip("pyarrow")
    p, q = (pyarrow.table({"a": [x], "b": [1.0 - x]}) for x in (0.2, 0.3))
    np.testing.assert_array_equal(
        fisher_rao_distance(p, q), [fisher_rao_distance([0.2, 0.8], [0.3, 0.7])]
    )
    np.testing.assert_array_equal(
        fisher_rao_distance(p, q.select(["b", "a"])), fisher_rao_distance(p, q)
    )


@pytest.mark.parametrize(
    ("p", "q", "error", "message"),
    [
        ("abc", Q, TypeError, "p must be an array, a list or a number: got str."),
        (None, Q, TypeError, "p must be an array, a list or a number: got NoneType."),
        (["a", "b", "c"], Q, TypeError, "p must hold real numbers: its dtype is <U1."),
        (np.array(["a"]), Q, TypeError, "p must hold real numbers: its dtype is <U1."),
        (np.array([1j, 0, 0]), Q, TypeError, "p must hold real numbers: its dtype is complex128."),
        ([1j, 0, 0], Q, TypeError, "p must hold real numbers: its dtype is complex128."),
        (np.array([None, 1]), Q, TypeError, "p must hold real numbers: its dtype is object."),
        ([[1.0, 0.0], [1.0]], Q, ValueError, "p must be a rectangular list of numbers"),
        (1.0, Q, ValueError, "p must have its outcomes along the last axis: got shape ()."),
        (np.array(1.0), Q, ValueError, "p must have its outcomes along the last axis"),
        ([], [], ValueError, "p must have its outcomes along the last axis: got shape (0,)."),
        (
            [0.5, 0.5],
            Q,
            ValueError,
            "p and q must have the same outcomes along the last axis: "
            "p has shape (2,) and q has (3,).",
        ),
        (
            [P] * 4,
            [Q] * 3,
            ValueError,
            "p and q must have leading axes that broadcast: their shapes are (4, 3) and (3, 3).",
        ),
        (
            [0.5, float("nan"), 0.5],
            Q,
            ValueError,
            "p must hold probabilities in its last axis: it has NaN or infinite entries.",
        ),
        (
            [P, [0.5, float("inf"), 0.5]],
            Q,
            ValueError,
            "p must hold probabilities in its last axis: it has NaN or infinite entries (row 1).",
        ),
        (
            P,
            [Q, P, [-0.1, 0.6, 0.5]],
            ValueError,
            "q must hold probabilities in its last axis: smallest entry -0.1 (row 2). "
            "If these are logits, use infogeo.logits.",
        ),
        (
            [P, [1.0, 3.0, 2.0]],
            Q,
            ValueError,
            "p must hold probabilities in its last axis: largest |sum - 1| = 5 (row 1). "
            "Divide by p.sum(-1, keepdims=True) if these are counts.",
        ),
        (
            [[P, P], [P, [-2.0, 3.0, 1.0]]],
            Q,
            ValueError,
            "p must hold probabilities in its last axis: smallest entry -2 (row (1, 1)), "
            "largest |sum - 1| = 1 (row (1, 1)). If these are logits, use infogeo.logits.",
        ),
    ],
)
def test_bad_input_gets_a_clear_message(p, q, error, message):
    with pytest.raises(error) as caught:
        fisher_rao_distance(p, q)
    assert str(caught.value).startswith(message)


def test_libraries_do_not_mix():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="p is a numpy ndarray and q a torch Tensor"):
        fisher_rao_distance(np.array(P), torch.tensor(Q))
    with pytest.raises(TypeError, match="p must be one array: got a list of torch Tensors"):
        fisher_rao_distance([torch.tensor(P), torch.tensor(P)], Q)


def test_devices_do_not_mix():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"p is on cpu and q on meta. Move one"):
        fisher_rao_distance(torch.tensor(P), torch.tensor(Q, device="meta"))


def test_values_are_checked_in_every_eager_library(lib):
    bad = lib.array([0.9, 0.9, -0.8])
    if lib.name == "dask":
        fisher_rao_distance(bad, bad)
        return
    with pytest.raises(ValueError, match=r"p must hold probabilities"):
        fisher_rao_distance(bad, lib.array(Q))


def test_check_false_skips_values_not_shapes():
    assert fisher_rao_distance([2.0, 2.0], [1.0, 1.0], check=False) == 0.0
    with pytest.raises(ValueError, match="same outcomes"):
        fisher_rao_distance([1.0, 0.0], Q, check=False)


def test_sums_within_rounding_pass_and_beyond_it_do_not():
    for num_outcomes in (2, 100, 10_000):
        p = np.full(num_outcomes, 1.0 / num_outcomes)
        tolerance = 2e-6 * num_outcomes**0.5
        assert fisher_rao_distance(p * (1 + 0.9 * tolerance), p) < 1e-12
        for factor in (1 + 1.1 * tolerance, 1 - 1.1 * tolerance):
            with pytest.raises(ValueError, match="sum - 1"):
                fisher_rao_distance(p * factor, p)
            with pytest.raises(ValueError, match="sum - 1"):
                fisher_rao_distance(np.stack([p, p * factor]), p)


def test_long_float32_rows_are_summed_accurately():
    p = np.full((3, 100_000), 1e-5, dtype=np.float32)
    assert np.all(fisher_rao_distance(p, p) == 0.0)


def test_empty_batches_pass_through(lib):
    empty = lib.array(np.zeros((1, 3)))[:0, :]
    assert tuple(fisher_rao_distance(empty, lib.array(Q)).shape) == (0,)


def test_strided_views_are_checked_like_any_array(rng):
    p = rng.dirichlet(np.ones(3), size=40)
    wide = np.zeros((40, 6))
    wide[:, ::2] = p
    np.testing.assert_array_equal(fisher_rao_distance(wide[:, ::2], Q), fisher_rao_distance(p, Q))
    wide[7, 2] = -1.0
    with pytest.raises(ValueError, match=r"smallest entry -1 \(row 7\)"):
        fisher_rao_distance(wide[:, ::2], Q)


def test_values_are_not_read_under_torch_transforms():
    torch = pytest.importorskip("torch")
    p = torch.tensor([P, Q], dtype=torch.float64)
    expected = fisher_rao_distance(p, p[0])
    torch.testing.assert_close(torch.func.vmap(lambda x: fisher_rao_distance(x, p[0]))(p), expected)
    gradient = torch.func.grad(lambda x: fisher_rao_distance(x, p[0]))(p[1])
    assert torch.isfinite(gradient).all()
    on_meta = fisher_rao_distance(p.to("meta"), p.to("meta"))
    assert on_meta.shape == (2,)


@pytest.mark.slow
def test_compiles_without_graph_breaks():
    torch = pytest.importorskip("torch")
    p = torch.tensor([P, Q], dtype=torch.float64)
    compiled = torch.compile(fisher_rao_distance, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(p, p[0]), fisher_rao_distance(p, p[0]))


@pytest.mark.slow
@pytest.mark.parametrize("space", [simplex, logits], ids=["simplex", "logits"])
def test_verbs_with_numbers_of_python_compile_without_a_warning(space, rng):
    """Caches of array-api-compat, which dynamo warns of, are not on the way of tensors."""
    torch = pytest.importorskip("torch")
    p, q = torch.tensor(rng.dirichlet(np.ones(4), (2, 5)))
    weights, v = torch.arange(5), torch.tensor([0.01, -0.01, 0.02, -0.02])
    first, second = (p, q) if space is simplex else (torch.log(p), torch.log(q))

    def several(x, y):
        near, far = space.m_geodesic(x, y, 0.25), space.fisher_rao_geodesic(x, y, 0.75)
        numbers = space.bhattacharyya_coefficient(near, far) + space.renyi_divergence(x, y, order=3)
        mean = space.m_mean(x, weights=weights)
        return numbers + space.norm(x, v) + mean[0]

    compiled = torch.compile(several, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(first, second), several(first, second))


def test_lists_beyond_float32_are_infinite_without_a_warning():
    z = np.zeros(2, np.float32)
    d = logits.fisher_rao_distance(z, [0.0, -1e308])
    np.testing.assert_allclose(d, np.pi / 2, rtol=1e-6)
    with pytest.raises(ValueError, match="weights must be finite"):
        simplex.m_mean(np.full((2, 2), 0.5, np.float32), weights=[1e308, 1.0])


def test_values_are_not_read_under_jax_jit():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    d = jax.jit(fisher_rao_distance)(jax.numpy.asarray(P), jax.numpy.asarray(Q))
    np.testing.assert_allclose(d, fisher_rao_distance(P, Q), rtol=1e-14)


def test_dask_stays_lazy():
    dask_array = pytest.importorskip("dask.array")
    p = dask_array.from_array(np.tile(P, (8, 1)), chunks=(2, 3))
    d = fisher_rao_distance(p, p)
    assert isinstance(d, dask_array.Array)
    np.testing.assert_array_equal(d.compute(), np.zeros(8))


@pytest.mark.parametrize("space", [simplex, logits])
@pytest.mark.parametrize(
    "call",
    [
        lambda space, p, q: space.fisher_rao_distance(p, q),
        lambda space, p, q: space.kl_divergence(p, q),
        lambda space, p, q: space.fisher_rao_geodesic(p, q, 0.3),
        lambda space, p, q: space.e_geodesic(p, q, 0.3),
        lambda space, p, q: space.m_mean(p),
        lambda space, p, q: space.e_mean(p),
        lambda space, p, q: space.log_map(p, q),
    ],
)
def test_dask_may_have_chunks_of_outcomes(rng, space, call):
    dask_array = pytest.importorskip("dask.array")
    p, q = rng.dirichlet(np.ones(7), (2, 9))
    if space is logits:
        p, q = np.log(p), np.log(q)
    lazy = call(space, *(dask_array.from_array(x, chunks=(4, 3)) for x in (p, q)))
    assert isinstance(lazy, dask_array.Array)
    np.testing.assert_allclose(lazy.compute(), call(space, p, q), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("z", "message"),
    [
        ([0.0, np.nan], "it has NaN or +inf entries."),
        ([[0.0, 1.0], [np.inf, 1.0]], "it has NaN or +inf entries (row 1)."),
        ([[0.0, 1.0], [-np.inf, -np.inf]], "all its classes are masked (row 1)."),
    ],
)
def test_bad_logits(z, message):
    with pytest.raises(ValueError, match="z must hold logits") as caught:
        gate(True, z=(LOGITS, z))
    assert str(caught.value).endswith(message)


def test_masked_logits_pass():
    (_, z) = gate(True, z=(LOGITS, [[0.0, -np.inf], [1.0, 2.0]]))
    assert z[0, 1] == -np.inf


@pytest.mark.parametrize(
    ("rule", "value", "message"),
    [
        (UNIT_INTERVAL, [0.5, 1.5], "t must lie in [0, 1]: it has the entry 1.5 (row 1)."),
        (UNIT_INTERVAL, float("nan"), "t must lie in [0, 1]: it has the entry nan."),
        (REAL, [1.0, float("inf")], "t must be finite: it has NaN or infinite entries (row 1)."),
        (
            POSITIVE,
            [1.0, float("nan")],
            "t must be positive and finite: it has the entry nan",
        ),
        (POSITIVE, 0.0, "t must be positive and finite: it has the entry 0."),
        (
            POSITIVE,
            [[1.0, 2.0], [-3.0, 1.0]],
            "t must be positive and finite: it has the entry -3 (row (1, 0)).",
        ),
        (
            POSITIVE,
            [1.0, float("inf")],
            "t must be positive and finite: it has the entry inf",
        ),
        (WEIGHTS, [1.0, float("inf")], "t must be finite and not negative: it has the entry inf"),
        (NON_NEGATIVE, [1.0, -1.0], "t must not be negative: it has the entry -1 (row 1)."),
        (NEGATIVE, [-1.0, 0.0], "t must be negative and finite: it has the entry 0 (row 1)."),
        (NEGATIVE, [-1.0, float("nan")], "t must be negative and finite: it has the entry nan"),
    ],
)
def test_bad_parameters(rule, value, message):
    with pytest.raises(ValueError, match="t must") as caught:
        gate(True, t=(rule, value))
    assert str(caught.value).startswith(message)


def test_log_softmax_and_norm_do_not_overflow(lib):
    xp, z = gate(False, z=(LOGITS, lib.array([[-800.0, 700.0, -np.inf], [0.0, 0.0, 0.0]])))
    expected = [[-1500.0, 0.0, -np.inf], [-np.log(3)] * 3]
    np.testing.assert_allclose(lib.to_numpy(_array.log_softmax(z, xp)), expected, rtol=1e-15)
    sums = lib.to_numpy(_array.logsumexp(z, xp))
    np.testing.assert_allclose(sums, [[700.0], [np.log(3)]], rtol=1e-15)
    xp, x = gate(False, x=(REAL, lib.array([[3e-300, 4e-300], [0.0, 0.0], [3e300, 4e300]])))
    norms = lib.to_numpy(_array.norm(x, xp))
    np.testing.assert_allclose(norms, [5e-300, 0.0, 5e300], rtol=1e-15)


@pytest.mark.parametrize(
    "shape", [(3,), (0, 3), (7, 3), (2, 100_000, 3), (100_000, 2, 3), (3, 1_000_000), (2, 0, 3)]
)
def test_blocks_cover_every_row_once(shape):
    seen = np.zeros(shape[:-1], int)
    for rows in _blocks.row_blocks(shape):
        seen[rows] += 1
        size = np.zeros(shape[:-1], bool)[rows].size * shape[-1]
        assert size <= max(_blocks.BLOCK_SIZE, shape[-1])
    assert (seen == 1).all()


def test_rules_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PROBABILITIES.events = "x"


# ---------------------------------------------------------------- errors in parts


@pytest.mark.parametrize(
    ("call", "argument", "row"),
    [
        (lambda: infogeo.simplex.entropy([[0.5, 0.5], [0.5, 0.6]]), "p", 1),
        (lambda: infogeo.simplex.entropy([[[0.5, 0.5]], [[1.5, -0.5]]]), "p", (1, 0)),
        (lambda: infogeo.simplex.entropy([np.nan, 1.0]), "p", None),
        (lambda: infogeo.maxent.max_entropy([[1.0, 2.0]], np.nan), "targets", None),
    ],
)
def test_a_broken_rule_comes_in_parts(call, argument, row):
    with pytest.raises(infogeo.BadValueError) as caught:
        call()
    error = caught.value
    assert (error.argument, error.row) == (argument, row)
    advice = f" {error.advice}" if error.advice else ""
    assert str(error) == f"{argument} must {error.rule}: {error.seen}.{advice}"
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert (again.argument, again.row) == (argument, row)


@pytest.mark.parametrize("value", ["0.5", b"1", True, np.True_, None, [0.5], np.full(100, 0.5)])
def test_parameters_that_are_no_numbers(value):
    """Neither text nor a flag nor an array of one entry is taken for a number."""
    calls = {
        "base": lambda: simplex.entropy([0.5, 0.5], base=value),
        "alpha": lambda: simplex.alpha_divergence([0.5, 0.5], [0.2, 0.8], alpha=value),
        "order": lambda: simplex.renyi_divergence([0.5, 0.5], [0.2, 0.8], order=value),
        "radius": lambda: neighbors.within([[0.5, 0.5]], radius=value),
    }
    for name, call in calls.items():
        if not (name == "base" and value is None):
            with pytest.raises(TypeError, match=f"{name} must be a number: got ") as caught:
                call()
            assert len(str(caught.value)) < 100


# ---------------------------------------------------------------- blocks and careful formulas


@pytest.mark.parametrize(
    "shapes",
    [((70_000,),), ((), (70_000,)), ((300, 1), (1, 301)), ((2, 3, 40_000), (3, 1)), ((0,),)],
)
def test_blocks_of_entries_give_what_the_whole_gives(shapes):
    arrays = [np.random.default_rng(0).normal(size=shape) for shape in shapes]
    seen = []

    def formula(*given):
        seen.append(max(x.size for x in given))
        return sum(given) ** 2

    found = _blocks.entry_by_entry(formula, *arrays)
    np.testing.assert_array_equal(found, sum(arrays) ** 2)
    assert max(seen) <= 40_000


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_what_is_wrong_is_mended_and_nothing_else(kind):
    def careful(x):
        assert len(x) == (1 if kind is np.asarray else 3)
        return -x

    x = kind([1.0, 2.0, 3.0])
    found = _array.mended(x * 1.0, x < 2.5, careful, x)
    assert found.tolist() == ([1.0, 2.0, -3.0] if kind is np.asarray else [-1.0, -2.0, -3.0])
    assert _array.mended(x * 1.0, x < 4.0, careful, x).tolist() == [1.0, 2.0, 3.0]
    assert _array.mended(x[0] * 1.0, x[0] > 2.0, lambda y: -y, x[0]) == -1.0
