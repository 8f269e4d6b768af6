"""What pandas writes as an index names the rows: it is no class, and rows go by it."""

import numpy as np
import pandas as pd
import pytest

from infogeo import cli
from infogeo.cli._common import UsageError
from infogeo.cli._tables import Table, paired_blocks

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
feather = pytest.importorskip("pyarrow.feather")

P = pd.DataFrame({"cat": [1.0, 0.5, 0.2], "dog": [0.0, 0.5, 0.8]})
FILES = ["a.png", "b.png", "c.png"]
INDEXES = {
    "unnamed": (pd.Index(FILES), FILES),
    "named": (pd.Index(FILES, name="file"), FILES),
    "numbers": (pd.Index([7, 8, 9], name="number"), ["7", "8", "9"]),
    "levels": (
        pd.MultiIndex.from_tuples([("x", 1), ("x", 2), ("y", 1)], names=["day", None]),
        ["x, 1", "x, 2", "y, 1"],
    ),
    "range": (pd.RangeIndex(2, -1, -1), ["2", "1", "0"]),
    "none": (pd.RangeIndex(3), ["0", "1", "2"]),
}


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", INDEXES)
def test_an_index_names_the_rows(kind):
    index, ids = INDEXES[kind]
    P.set_axis(index).to_parquet("a.parquet")
    table = Table("a.parquet")
    assert table.columns == ["cat", "dog"]
    assert table.has_ids == (kind != "none")
    whole = table.whole()
    assert whole.ids == ids
    np.testing.assert_array_equal(whole.values, P)
    by_row = [name for block in table.blocks(rows=2) for name in block.ids]
    assert by_row == ids
    assert cli.main(["distance", "a.parquet", "a.parquet"]) == 0


def test_rows_that_pandas_has_sorted_are_not_taken_by_position():
    P.to_parquet("a.parquet")
    for other in (P.iloc[::-1], P.sort_values("cat")):
        other.to_parquet("b.parquet")
        with pytest.raises(UsageError, match=r"row 0 is 0 in a\.parquet and 2 in b\.parquet: sort"):
            list(paired_blocks(Table("a.parquet"), Table("b.parquet")))
    P.set_axis(FILES).to_parquet("b.parquet")  # names beside none
    assert len(list(paired_blocks(Table("a.parquet"), Table("b.parquet")))) == 1


def test_a_column_that_is_named_goes_before_the_index():
    P.assign(file=FILES).set_index(pd.Index([4, 5, 6], name="k")).to_parquet("a.parquet")
    table = Table("a.parquet", id_column="file")
    assert (table.columns, table.whole().ids) == (["cat", "dog"], FILES)


@pytest.mark.parametrize("name", ["a.parquet", "a.feather"])
def test_an_index_is_no_class_whichever_column_names_the_rows(name):
    frame = P.assign(file=FILES, truth=["cat", "dog", "dog"])
    frame = frame.set_index(pd.Index([4, 9, 6], name="k"))
    table = pa.Table.from_pandas(frame)
    (parquet.write_table if name.endswith("parquet") else feather.write_feather)(table, name)
    for options, ids in (
        ({"id_column": "file", "label_column": "truth"}, FILES),
        ({"id_column": "k", "ignored": ("file", "truth")}, ["4", "9", "6"]),
        ({"label_column": "truth", "ignored": ("file",)}, ["4", "9", "6"]),
    ):
        table = Table(name, **options)
        assert (table.columns, table.whole().ids) == (["cat", "dog"], ids)


@pytest.mark.parametrize("index", [pd.RangeIndex(3, name="k"), pd.RangeIndex(7, 1, -2, name="k")])
@pytest.mark.parametrize("name", ["a.parquet", "a.feather"])
def test_numbers_with_a_title_that_stand_in_no_column(index, name):
    """So pandas writes what ``set_index`` made of a column of consecutive numbers."""
    stored = pa.Table.from_pandas(P.set_axis(index))
    (parquet.write_table if name.endswith("parquet") else feather.write_feather)(stored, name)
    assert "k" not in stored.column_names
    table = Table(name, id_column="k")
    assert (table.columns, table.whole().ids) == (["cat", "dog"], [str(i) for i in index])
    P.set_axis(index).iloc[::-1].reset_index().to_csv("b.csv", index=False)
    assert cli.main(["compare", name, "b.csv", "--id", "k", "--fail-above", "1e-9"]) == 0
    with pytest.raises(UsageError, match="it has no column l"):
        Table(name, id_column="l")


def test_lists_have_an_index_too():
    pd.DataFrame({"p": [*P.to_numpy()]}, index=FILES).to_parquet("a.parquet")
    whole = Table("a.parquet").whole()
    assert whole.ids == FILES
    np.testing.assert_array_equal(whole.values, P)


@pytest.mark.parametrize(
    "stored",
    [b"[]", b"7", b'{"index_columns": 5}', b'{"index_columns": ["gone", {"kind": "range"}]}',
     b'{"index_columns": [{"kind": "range", "start": 3, "stop": 5, "step": 1}]}'],
)  # fmt: skip
def test_what_pandas_cannot_have_stored_is_left_alone(stored):
    table = pa.Table.from_pandas(P, preserve_index=False).replace_schema_metadata(
        {b"pandas": stored}
    )
    parquet.write_table(table, "a.parquet")
    assert Table("a.parquet").whole().ids == ["0", "1", "2"]


def test_flags_and_decimals_are_numbers():
    flags = pd.DataFrame({"cat": [True, False], "dog": [False, True]})
    table = pa.table({"cat": pa.array([True, None]), "dog": pa.array([0, 1], pa.decimal128(3, 1))})
    flags.to_parquet("a.parquet")
    np.testing.assert_array_equal(Table("a.parquet").whole().values, np.eye(2))
    parquet.write_table(table, "b.parquet")
    np.testing.assert_array_equal(Table("b.parquet").whole().values, [[1.0, 0.0], [np.nan, 1.0]])


@pytest.mark.parametrize("stored", [b"{", b"\xff", b"[" * 100_000])
def test_damaged_words_of_pandas_are_one_line(stored):
    table = pa.Table.from_pandas(P).replace_schema_metadata({b"pandas": stored})
    parquet.write_table(table, "a.parquet")
    with pytest.raises(UsageError, match=r"^a\.parquet: it is no parquet file, or a damaged one$"):
        Table("a.parquet")
