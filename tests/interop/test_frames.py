"""Frames in, frames out: names decide, positions never do."""

from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from infogeo import logits, neighbors, simplex
from infogeo.interop import frames


@pytest.fixture
def old(rng):
    return pd.DataFrame(
        rng.dirichlet(np.ones(3), 4), columns=["cat", "dog", "eel"], index=list("abcd")
    )


@pytest.fixture
def new(rng):
    return pd.DataFrame(
        rng.dirichlet(np.ones(3), 4), columns=["dog", "eel", "cat"], index=list("dbca")
    )


def test_columns_and_rows_are_matched_by_name(old, new):
    d = frames.apply(simplex.fisher_rao_distance, old, new)
    assert list(d.index) == list("abcd")
    for row in "abcd":
        expected = simplex.fisher_rao_distance(
            old.loc[row, ["cat", "dog", "eel"]].to_numpy(),
            new.loc[row, ["cat", "dog", "eel"]].to_numpy(),
        )
        np.testing.assert_allclose(d[row], expected, rtol=1e-15)


def test_distributions_come_back_with_their_columns(old, new):
    middle = frames.apply(simplex.fisher_rao_geodesic, old, new, t=0.5)
    assert list(middle.columns) == ["cat", "dog", "eel"]
    assert list(middle.index) == list("abcd")
    half = frames.apply(simplex.fisher_rao_distance, old, middle)
    np.testing.assert_allclose(2.0 * half, frames.apply(simplex.fisher_rao_distance, old, new))


def test_polars_gives_polars(old, new):
    a, b = pl.from_pandas(old), pl.from_pandas(new.loc[old.index])
    d = frames.apply(simplex.fisher_rao_distance, a, b)
    assert isinstance(d, pl.Series)
    expected = frames.apply(simplex.fisher_rao_distance, old, new)
    np.testing.assert_array_equal(d.to_numpy(), expected.to_numpy())
    middle = frames.apply(simplex.m_geodesic, a, b, t=0.5)
    assert middle.columns == ["cat", "dog", "eel"]
    mean = frames.reduce(simplex.m_mean, a)
    assert mean.columns == ["cat", "dog", "eel"]
    np.testing.assert_allclose(mean.row(0), old.mean().to_numpy(), rtol=1e-15)


def test_mean_of_a_square_frame_has_one_number_for_each_class(rng):
    """Three rows of three classes: the shape alone would not tell rows from classes."""
    square = pd.DataFrame(rng.dirichlet(np.ones(3), 3), columns=["cat", "dog", "eel"])
    mean = frames.reduce(simplex.e_mean, square)
    assert list(mean.index) == ["cat", "dog", "eel"]


def test_a_series_is_one_distribution_by_name(old):
    row = old.loc["c"].iloc[::-1]
    d = frames.apply(simplex.fisher_rao_distance, old, row)
    assert list(d.index) == list("abcd")
    expected = simplex.fisher_rao_distance(old.to_numpy(), old.loc["c"].to_numpy())
    np.testing.assert_array_equal(d, expected)
    kl = frames.apply(simplex.kl_divergence, row, old)
    np.testing.assert_array_equal(kl, simplex.kl_divergence(row.to_numpy()[::-1], old.to_numpy()))
    middle = frames.apply(simplex.m_geodesic, row, old.loc["a"], t=0.5)
    assert list(middle.index) == ["eel", "dog", "cat"]
    np.testing.assert_allclose(middle, 0.5 * (old.loc["c"] + old.loc["a"])[middle.index])


def test_a_mean_is_compared_with_every_row(old):
    d = frames.apply(simplex.fisher_rao_distance, old, frames.reduce(simplex.m_mean, old))
    expected = simplex.fisher_rao_distance(old.to_numpy(), old.mean().to_numpy())
    np.testing.assert_allclose(d, expected, rtol=1e-12)


def test_a_row_of_a_frame_with_other_columns_has_objects(old):
    row = old.assign(file="x.png").loc["b"].drop("file")
    assert row.dtype == object
    assert frames.apply(simplex.fisher_rao_distance, row, old.loc["b"]) == 0.0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.rename({"dog": "wolf"}), ValueError, "frame 2 lacks 'dog' and has 'wolf'"),
        (lambda s: pd.concat([s, s]), ValueError, "classes once.*: 'cat', 'dog', 'eel' repeat"),
        (lambda s: s.to_numpy(), TypeError, "frame 2 must be .* got ndarray. Make a frame"),
        (lambda s: pl.Series(s.to_list()), TypeError, "frame 2 must be .* got Series. Make a"),
        (lambda s: pl.DataFrame(dict(s)), TypeError, "got both pandas and polars"),
        (lambda s: s.astype(str), TypeError, "must hold real numbers: its dtype is"),
    ],
)
def test_what_does_not_fit_a_series_is_named(old, change, error, message):
    with pytest.raises(error, match=message):
        frames.apply(simplex.fisher_rao_distance, old.loc["a"], change(old.loc["a"]))


def test_functions_of_the_wrong_kind_for_series(old):
    with pytest.raises(ValueError, match=r"fisher_information returned shape \(2, 2\)"):
        frames.apply(simplex.fisher_information, old.loc["a"])
    with pytest.raises(TypeError, match="must be a data frame"):
        frames.reduce(simplex.m_mean, old.loc["a"])


def test_errors_list_a_few_of_many_columns(rng):
    wide = pd.DataFrame(rng.dirichlet(np.ones(300), 2)).astype(str)
    with pytest.raises(TypeError, match=r"4 is (str|object) and 295 more\. Leave"):
        frames.apply(simplex.entropy, wide)


def test_pairwise_distances_are_labelled_on_both_sides(old, new):
    d = frames.pairwise_distance(old, new)
    assert (list(d.index), list(d.columns)) == (list("abcd"), list("dbca"))
    expected = neighbors.pairwise_distance(old.to_numpy(), new[old.columns].to_numpy())
    np.testing.assert_array_equal(d.to_numpy(), expected)
    own = frames.pairwise_distance(pl.from_pandas(old))
    np.testing.assert_array_equal(own.to_numpy(), neighbors.pairwise_distance(old.to_numpy()))


def test_logits_and_float32_and_nullable_columns(old):
    z = np.log(old)
    np.testing.assert_allclose(
        frames.pairwise_distance(z, space=logits), frames.pairwise_distance(old), atol=1e-14
    )
    single = frames.apply(simplex.entropy, old.astype("float32"))
    assert single.dtype == np.float32
    nullable = frames.apply(simplex.entropy, old.astype("Float64"))
    np.testing.assert_array_equal(nullable, frames.apply(simplex.entropy, old))


def test_missing_values_are_named_by_row(old):
    old = old.astype("Float64")
    old.loc["c", "dog"] = pd.NA
    with pytest.raises(ValueError, match="row 2"):
        frames.apply(simplex.entropy, old)


def _renamed(frame):
    return frame.rename(columns={"dog": "wolf"})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (_renamed, ValueError, "lacks 'dog' and has 'wolf' besides"),
        (lambda f: f.drop("b"), ValueError, "same names of rows: frame 2 lacks 'b'. Rename"),
        (lambda f: f[["cat", "dog", "eel", "eel"]], ValueError, "classes once.*: 'eel' repeats"),
        (lambda f: pd.concat([f, f]), ValueError, "rows once.*: 'a', 'b', 'c', 'd' repeat"),
        (lambda f: f.assign(dog="x"), TypeError, "numbers only: of its columns 'dog' is"),
        (lambda f: f.assign(dog=True), ValueError, "largest .sum - 1."),  # True is 1
        (pl.from_pandas, TypeError, "got both pandas and polars"),
        (lambda f: f.to_numpy(), TypeError, "must be a data frame"),
    ],
)
def test_what_does_not_fit_is_named(old, change, error, message):
    with pytest.raises(error, match=message):
        frames.apply(simplex.fisher_rao_distance, old, change(old))


def test_polars_frames_of_different_heights(old):
    a = pl.from_pandas(old)
    with pytest.raises(ValueError, match="got 3 rows, the first has 4"):
        frames.apply(simplex.fisher_rao_distance, a, a[:3])


def test_functions_of_the_wrong_kind_are_sent_on(old):
    with pytest.raises(ValueError, match="use reduce"):
        frames.apply(simplex.m_mean, old)
    with pytest.raises(ValueError, match="use apply"):
        frames.reduce(simplex.entropy, old)


def test_further_arguments_go_by_name_too(old):
    weights = pd.Series([1.0, 2.0, 3.0, 4.0], index=list("abcd"))
    expected = simplex.m_mean(old.to_numpy(), weights=weights.to_numpy())
    for given in (weights, weights[::-1], weights.astype("Float64")[list("cadb")]):
        np.testing.assert_array_equal(frames.reduce(simplex.m_mean, old, weights=given), expected)
    other = pl.from_pandas(old)
    mean = frames.reduce(simplex.m_mean, other, weights=pl.Series(weights.to_numpy()))
    np.testing.assert_array_equal(mean.row(0), expected)
    q = old.iloc[::-1, ::-1]
    d = frames.apply(simplex.kl_divergence, old, q=q)
    np.testing.assert_array_equal(d, np.zeros(4))
    d = frames.apply(simplex.kl_divergence, old, q=old.loc["c"][["eel", "cat", "dog"]])
    np.testing.assert_array_equal(d, simplex.kl_divergence(old.to_numpy(), old.loc["c"].to_numpy()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.rename({"d": "x"}), "weights must have the names of the rows or of the cl"),
        (lambda w: w.drop("d"), "it has 'a', 'b', 'c'. Rename them"),
        (lambda w: pd.concat([w, w]), "names of the rows or of the classes"),
        (lambda w: w.reset_index(drop=True), "it has 0, 1, 2, 3. Rename them, or pass an array"),
    ],
)
def test_weights_with_other_names(old, change, message):
    weights = pd.Series([1.0, 2.0, 3.0, 4.0], index=list("abcd"))
    with pytest.raises(ValueError, match=message):
        frames.reduce(simplex.m_mean, old, weights=change(weights))


def test_a_series_that_may_name_rows_or_classes_is_refused(old):
    square = old.iloc[:3].set_axis(["cat", "dog", "eel"]).iloc[::-1]
    with pytest.raises(ValueError, match="and both have these"):
        frames.reduce(simplex.m_mean, square, weights=pd.Series({"cat": 1, "dog": 2, "eel": 3}))


# ---------------------------------------------------------------- counts

LABELS = ["dog", "cat", "dog", "eel", "dog"]


def as_pandas(labels):
    return pd.DataFrame({"x": range(len(labels)), "class": labels})


LIBRARIES = {
    "pandas": as_pandas,
    "polars": lambda labels: pl.DataFrame({"class": labels}, strict=False),
    "pyarrow": lambda labels: pa.table({"class": labels}),
    "pandas with arrow": lambda labels: as_pandas(labels).astype({"class": "string[pyarrow]"}),
    "pandas nullable": lambda labels: as_pandas(labels).astype({"class": "string[python]"}),
    "pandas objects": lambda labels: as_pandas(labels).astype({"class": object}),
}


def by_class(found):
    if isinstance(found, pd.Series):
        return found.to_dict()
    row = found.to_pylist()[0] if isinstance(found, pa.Table) else found.row(0, named=True)
    return dict(row)


@pytest.mark.parametrize("library", LIBRARIES)
def test_labels_are_counted(library):
    found = frames.counts(LIBRARIES[library](LABELS), "class")
    assert list(by_class(found).items()) == [("cat", 1), ("dog", 3), ("eel", 1)]
    classes, table = frames.matched_counts(found, Counter(["eel", "ant"]))
    assert classes == ["cat", "dog", "eel", "ant"]
    np.testing.assert_array_equal(table, [[1, 3, 1, 0], [0, 0, 1, 1]])


@pytest.mark.parametrize("library", LIBRARIES)
def test_missing_labels_are_refused_with_their_number(library):
    frame = LIBRARIES[library](["dog", None, "cat", None])
    with pytest.raises(ValueError, match="frame must have a label in each row: 2 rows of 'class'"):
        frames.counts(frame, "class")


@pytest.mark.parametrize("missing", [np.nan, None, pd.NA, pd.NaT])
def test_every_missing_value_of_pandas_is_one(missing):
    frame = pd.DataFrame({"class": pd.Series(["dog", missing], dtype=object)})
    with pytest.raises(ValueError, match="1 rows of 'class' have none"):
        frames.counts(frame, "class")
    with pytest.raises(ValueError, match="1 rows of 0 have none"):
        frames.counts(pd.DataFrame({0: [1.0, np.nan]}), 0)
    with pytest.raises(ValueError, match="1 rows of 'y' have none"):
        frames.counts(pl.DataFrame({"y": [1.0, float("nan")]}), "y")


def test_categories_that_no_row_has_count_0_in_their_order():
    categories = ["eel", "dog", "cat", "ant"]
    expected = [("eel", 1), ("dog", 3), ("cat", 1), ("ant", 0)]
    frame = pd.DataFrame({"class": pd.Categorical(LABELS, categories)})
    assert list(by_class(frames.counts(frame, "class")).items()) == expected
    frame = pl.DataFrame({"class": pl.Series(LABELS, dtype=pl.Enum(categories))})
    assert list(by_class(frames.counts(frame, "class")).items()) == expected
    indices = pa.array([categories.index(label) for label in LABELS])
    column = pa.DictionaryArray.from_arrays(indices, categories)
    table = pa.Table.from_batches(
        pa.record_batch({"class": column.slice(i, 1)}) for i in range(len(column))
    )
    assert list(by_class(frames.counts(table, "class")).items()) == expected
    # Categories of polars are those that were met, anywhere: only what stands here counts.
    pl.Series(["other"], dtype=pl.Categorical)
    frame = pl.DataFrame({"class": pl.Series(LABELS, dtype=pl.Categorical)})
    assert sorted(by_class(frames.counts(frame, "class"))) == ["cat", "dog", "eel"]


def test_labels_of_other_kinds():
    found = frames.counts(pd.DataFrame({"class": [10, 9, 10, 2]}), "class")
    assert found.to_dict() == {2: 1, 9: 1, 10: 2}
    assert list(found.index) == [2, 9, 10]  # as numbers
    found = frames.counts(pd.DataFrame({"class": [True, False, True]}), "class")
    assert found.to_dict() == {False: 1, True: 2}
    found = frames.counts(pd.DataFrame({"class": [1, "b", "a", 1]}), "class")
    assert list(found.items()) == [(1, 2), ("a", 1), ("b", 1)]
    found = frames.counts(pd.DataFrame({"class": []}), "class")
    assert found.to_dict() == {}


@pytest.mark.parametrize(
    ("frame", "column", "words"),
    [
        (LABELS, "class", "frame must be a data frame.*got list.*Counter"),
        (as_pandas(LABELS), "clas", "column must name one column of labels: of 'clas' there are 0"),
        (pd.DataFrame(np.eye(2), columns=["a", "a"]), "a", "of 'a' there are 2"),
        (pd.DataFrame({"p": [[1], [2]]}), "p", "entries of 'p' have parts"),
        (pl.DataFrame({"p": [[1], [2]]}), "p", "entries of 'p' have parts"),
    ],
)
def test_what_cannot_be_counted(frame, column, words):
    with pytest.raises((TypeError, ValueError), match=words):
        frames.counts(frame, column)


def test_counts_of_several_kinds_meet_by_name():
    old = pd.Series(["a", "b", "a"]).value_counts()
    classes, table = frames.matched_counts(
        old, pd.DataFrame({"c": [7], "a": [1]}), {"b": 2.5}, pl.DataFrame({"a": [4]})
    )
    assert classes == ["a", "b", "c"]
    np.testing.assert_array_equal(table, [[2, 1, 0], [1, 0, 7], [0, 2.5, 0], [4, 0, 0]])
    assert frames.matched_counts({1: 2}, {1: 3})[1].dtype.kind == "i"


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ((), "samples must be at least one"),
        (([1, 2], [3, 4]), "sample 1 must say which class each count is of: got list"),
        (({"a": 1}, np.ones(2)), "sample 2 must say which class"),
        (({"a": 1}, pl.Series([1, 2])), "sample 2 must say which class"),
        ((pd.Series({"a": 1.0, "b": np.nan}),), "sample 1 must have a count for each class"),
        ((pd.Series(["a", None]).value_counts(dropna=False),), "have a name for each class"),
        (({"a": 1, float("nan"): 2},), "have a name for each class"),
        ((pd.Series([1, 2], index=["a", "a"]),), "have each class once: 'a' repeats"),
        ((pd.DataFrame({"a": [1, 2]}),), "be the counts of one sample: it has 2 rows"),
        ((pd.Series(["cat", "dog"]),), "must hold real numbers"),
        (({"a": "cat"},), "must hold counts"),
    ],
)
def test_samples_that_are_no_counts_by_name(samples, words):
    with pytest.raises((TypeError, ValueError), match=words):
        frames.matched_counts(*samples)


# ---------------------------------------------------------------- classes that are missing


def test_classes_that_one_lacks_are_filled_in(old):
    new = pd.DataFrame({"dog": [0.5], "emu": [0.5]}, index=["a"])
    aligned, other = frames.align(old, new)
    assert list(aligned.columns) == list(other.columns) == ["cat", "dog", "eel", "emu"]
    assert list(aligned.index) == list(old.index)
    d = simplex.fisher_rao_distance(aligned.loc["a"], other.loc["a"])
    expected = simplex.fisher_rao_distance([*old.loc["a"], 0.0], [0.0, 0.5, 0.0, 0.5])
    assert d == expected
    in_polars = frames.align(pl.from_pandas(old), pl.from_pandas(new))
    assert [x.columns for x in in_polars] == [["cat", "dog", "eel", "emu"]] * 2
    np.testing.assert_array_equal(in_polars[0].to_numpy(), aligned.to_numpy())
    series, frame = frames.align(pd.Series({"emu": 1.0}), old)
    assert list(series.index) == list(frame.columns) == ["emu", "cat", "dog", "eel"]
    z, _ = frames.align(pd.Series({"cat": 0.0}), pd.Series({"dog": 0.0}), fill_value=-np.inf)
    assert dict(z) == {"cat": 0.0, "dog": -np.inf}
    assert frames.align() == ()


def test_classes_that_are_filled_in_have_the_type_of_the_others(old):
    pandas = old.astype("float32"), pd.DataFrame({"fox": [1.0]})
    polars = pl.from_pandas(pandas[0]), pl.from_pandas(pandas[1])
    for narrow, new in (pandas, polars):
        for frame in (narrow, narrow[:0]):
            aligned, _ = frames.align(frame, new)
            assert {str(kind).lower() for kind in aligned.dtypes} == {"float32"}
        entropy = frames.apply(simplex.entropy, frames.align(narrow, new)[0])
        assert str(entropy.dtype).lower() == "float32"


def test_missing_numbers_are_not_missing_classes(old):
    """A NaN of the data stays one, so that the gate still refuses it."""
    old.loc["a", "cat"] = np.nan
    aligned, _ = frames.align(old, pd.Series({"emu": 1.0}))
    assert np.isnan(aligned.loc["a", "cat"])
    with pytest.raises(ValueError, match="NaN"):
        simplex.entropy(aligned)


def test_what_cannot_be_aligned(old):
    with pytest.raises(TypeError, match="both pandas and polars"):
        frames.align(old, pl.from_pandas(old))
    with pytest.raises(TypeError, match="frame 2 must be a data frame"):
        frames.align(old, old.to_numpy())
    with pytest.raises(ValueError, match="frame 1 must have each class once"):
        frames.align(pd.concat([old, old], axis=1), old)
    with pytest.raises(TypeError, match="fill_value must be a number: got 'none'"):
        frames.align(old, fill_value="none")
    with pytest.raises(ValueError, match="frames must be at least one"):
        frames.apply(simplex.entropy)


def test_numbers_go_beside_frames(old, new):
    middle = frames.apply(simplex.fisher_rao_geodesic, old, new, 0.5)
    pd.testing.assert_frame_equal(
        middle, frames.apply(simplex.fisher_rao_geodesic, old, new, t=0.5)
    )
    with pytest.raises(TypeError, match="frame 1 must be a data frame"):
        frames.apply(simplex.entropy, 0.5)
    with pytest.raises(TypeError, match="frame 2 must be a data frame"):
        frames.apply(simplex.fisher_rao_distance, old, old.to_numpy())


def test_nearest_rows_have_their_names(old, new):
    found = frames.nearest(old, new, num_neighbors=2)
    assert list(found.columns) == ["query", "rank", "neighbor", "distance"]
    every = frames.pairwise_distance(old, new)
    for query in old.index:
        mine = found[found["query"] == query]
        assert list(mine["rank"]) == [1, 2]
        assert list(mine["neighbor"]) == list(every.loc[query].sort_values().index[:2])
        np.testing.assert_allclose(mine["distance"], every.loc[query].sort_values()[:2])
    alone = frames.nearest(old, num_neighbors=1)
    assert (alone["query"] != alone["neighbor"]).all()
    in_polars = frames.nearest(pl.from_pandas(old), num_neighbors=1)
    assert isinstance(in_polars, pl.DataFrame)
    assert [old.index[i] for i in in_polars["neighbor"]] == list(alone["neighbor"])
    with pytest.raises(ValueError, match="num_neighbors"):
        frames.nearest(old, num_neighbors=4)
