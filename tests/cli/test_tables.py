"""Tables in every format, read alike; rows matched by name; labels from anywhere."""

import gzip
import io
import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather

from infogeo import cli, simplex
from infogeo.cli._common import UsageError
from infogeo.cli._tables import JoinedRows, Table, _table, _text, read_labels

CLASSES = ["cat", "dog", "eel"]
NAMES = [f"im{i}" for i in range(9)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def frame(rng):
    """Predictions as people have them: beside the names of files, true classes and remarks."""
    frame = pd.DataFrame(rng.dirichlet(np.ones(3), 9), columns=CLASSES)
    frame.insert(0, "file", NAMES)
    frame["truth"] = rng.choice(CLASSES, 9)
    frame["meta_note"] = "seen, twice"
    return frame


def packed(write):
    def write_packed(frame, name):
        plain = name.removesuffix(".gz")
        write(frame, plain)
        with gzip.open(name, "wb") as file:
            file.write(Path(plain).read_bytes())

    return write_packed


def write_csv(frame, name):
    frame.to_csv(name, index=False)


def write_tsv(frame, name):
    frame.to_csv(name, index=False, sep="\t")


def write_json(frame, name):
    frame.to_json(name, orient="records", lines=True, double_precision=15)


def write_feather(frame, name):
    feather.write_feather(pa.Table.from_pandas(frame), name, chunksize=4)


WRITERS = {
    "p.csv": write_csv,
    "p.tsv": write_tsv,
    "p.csv.gz": packed(write_csv),
    "p.TSV.GZ": lambda frame, name: frame.to_csv(name, index=False, sep="\t", compression="gzip"),
    "p.jsonl": write_json,
    "p.ndjson": write_json,
    "p.jsonl.gz": packed(write_json),
    "p.parquet": lambda frame, name: frame.to_parquet(name),
    "p.feather": write_feather,
    "p.arrow": lambda frame, name: frame.astype({"truth": "category"}).to_feather(name),
}
OPTIONS = {"label_column": "truth", "ignored": ("meta_*",)}


@pytest.mark.parametrize("rows_at_once", [2, 100])
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_is_read_alike(name, rows_at_once, frame, monkeypatch):
    monkeypatch.setattr(_table, "NUMBERS_AT_ONCE", 3 * rows_at_once)
    WRITERS[name](frame, name)
    table = Table(name, "file", **OPTIONS)
    assert (table.columns, table.has_ids) == (CLASSES, True)
    whole = table.whole()
    assert (whole.ids, whole.labels) == (NAMES, list(frame["truth"]))
    assert list(whole.rows) == list(range(9))
    np.testing.assert_allclose(whole.values, frame[CLASSES], rtol=1e-12)
    chosen = Table(name, "file", columns=("dog", "c*")).whole()
    np.testing.assert_allclose(chosen.values, frame[["cat", "dog"]], rtol=1e-12)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "feather"])
def test_standard_input(kind, frame, monkeypatch):
    WRITERS[f"p.{kind}"](frame, f"p.{kind}")
    data = Path(f"p.{kind}").read_bytes()
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))
    whole = Table("-", "file", stdin_format=kind, **OPTIONS).whole()
    assert whole.ids == NAMES
    np.testing.assert_allclose(whole.values, frame[CLASSES], rtol=1e-12)


def test_lines_of_lists(frame):
    p = frame[CLASSES].to_numpy()
    lines = [json.dumps(row) for row in p.tolist()]
    Path("lists.jsonl").write_text("\n".join(lines) + "\n\n")
    np.testing.assert_array_equal(Table("lists.jsonl").whole().values, p)
    named = [
        json.dumps({"file": name, "p": row}) for name, row in zip(NAMES, p.tolist(), strict=True)
    ]
    Path("named.jsonl").write_text("\n".join(named))
    for name in ("named.jsonl", "named.jsonl:p"):
        whole = Table(name, "file").whole()
        assert whole.ids == NAMES
        np.testing.assert_array_equal(whole.values, p)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("{", "row 0 is no JSON: '{'"),
        ("3\n", "row 0 is neither an object with a number for each class nor a list"),
        ('{"a": 1}\n{"b": 1}\n', "row 1 has no 'a', as row 0 has"),
        ('{"a": 1}\n[1]\n', "row 1 has no 'a', as row 0 has"),
        ('{"a": 1}\n{"a": null}\n', "row 1 has null in column a, which is no number"),
        ('{"a": "x"}\n', """row 0 has "x" in column a, which is no number. If it names"""),
        ('{"a": {"b": 1}}\n', "in column a, which is no number"),
        ('{"a": 1' + 400 * "0" + "}\n", "in column a, which is no number"),
        ("[1, 2]\n[1]\n", "row 1 has 1 numbers, the first 2"),
        ("[1, 2]\n{}\n", "row 1 has no list, as row 0 has"),
        ('{"p": [1]}\n{"p": 1}\n', "row 1 has no list, as row 0 has"),
        ("[" * 100_000, "row 0 is no JSON"),
    ],
)
def test_lines_that_are_no_predictions(text, words):
    Path("x.jsonl").write_text(text)
    with pytest.raises(UsageError) as error:
        Table("x.jsonl").whole()
    assert words in str(error.value)


def test_packed_files_that_are_damaged(frame):
    WRITERS["p.csv.gz"](frame, "p.csv.gz")
    whole = Path("p.csv.gz").read_bytes()
    for damaged in (whole[:-20], b"no gzip", b"", whole[:40] + b"\xff" + whole[41:]):
        Path("p.csv.gz").write_bytes(damaged)
        with pytest.raises(UsageError, match=r"^p\.csv\.gz: it is (no gzip file|empty)"):
            Table("p.csv.gz", "file", **OPTIONS).whole()
    Path("p.feather").write_bytes(b"ARROW1, or so it seems")
    with pytest.raises(UsageError, match="it is no feather file"):
        Table("p.feather")


ODD = {
    "plain": "a,b\n0.1,0.9\n1e-300,1\n",
    "digits": "a,b\n0.1000000000000000055511151231257827,0.30000000000000004\n2.5e-324,1e23\n",
    "no names": "0.5,0.5\n0.25,0.75\n",
    "byte order mark": "\ufeffa,b\n0.1,0.9\n",
    "ends of lines": "a,b\r\n0.1,0.9\r\n0.5,0.5\r\n",
    "old ends of lines": "a,b\r0.1,0.9\r0.5,0.5\r",
    "blank lines": "\n\na,b\n\n0.1,0.9\n  \n\n0.5,0.5\n",
    "spaces": "a, b\n 0.1 , 0.9\n0.5,0.5\n",
    "quotes": '"a","b"\n"0.1",0.9\n',
    "quoted names": '"a\nx",b\n0.1,0.9\n',
    "signs": "a,b\n+0.1,-0.9\n",
    "infinite": "a,b\ninf,-Infinity\nnan,NaN\n",
    "underscores": "a,b\n1_0,0.5\n",
    "NA": "a,b\n0.1,0.9\nNA,0.5\n",
    "empty": "a,b\n0.1,0.9\n,0.5\n",
    "short": "a,b\n0.1,0.9\n0.5\n",
    "long": "a,b\n0.1,0.9\n0.5,0.5,0.5\n",
    "semicolons": "a;b\n0.1;0.9\n",
    "no row": "a,b\n",
    "index": ",a,b\nx,0.1,0.9\n y ,0.5,0.5\n",
    "index of numbers": ",a,b\n007,0.1,0.9\n1.0,0.5,0.5\n",
    "quoted index": ',a,b\n"x, y",0.1,0.9\n"say ""so""",0.5,0.5\n',
    "empty index": ",a,b\n,0.1,0.9\nNA,0.5,0.5\n",
    "hexadecimal": "a,b\n0x1p-1,0.5\n",
    "payload": "a,b\n1d-1,0.5\n",
    "late": "a,b\n" + 300 * "0.5,0.5\n" + "0.5,x\n",
    "late and short": "a,b\n" + 300 * "0.5,0.5\n\n" + "0.5\n",
    "late plus": "a,b\n" + 300 * "0.5,0.5\n" + "+0.25,0.75\n0.5,0.5\n",
}


@pytest.mark.parametrize("rows_at_once", [7, 1000])
@pytest.mark.parametrize("kind", ODD)
def test_pyarrow_and_numpy_read_alike(kind, rows_at_once, monkeypatch):
    """The same numbers and names, to the last bit, and the same words about what is wrong."""
    Path("x.csv").write_text(ODD[kind], encoding="utf-8", newline="")
    monkeypatch.setattr(_table, "NUMBERS_AT_ONCE", 2 * rows_at_once)
    monkeypatch.setattr(_text, "_BYTES_AT_ONCE", 256)
    seen = []
    for threshold in (0, 1e9):
        monkeypatch.setattr(_text, "_LARGE", threshold)
        try:
            whole = Table("x.csv").whole()
            seen.append((whole.ids, list(whole.rows), whole.values.tobytes()))
        except UsageError as error:
            seen.append(str(error))
    assert seen[0] == seen[1]


def test_bytes_that_are_no_text(monkeypatch):
    for threshold in (0, 1e9):
        monkeypatch.setattr(_text, "_LARGE", threshold)
        Path("x.csv").write_bytes(b",a,b\nx,0.5,0.5\n\xff,0.5,0.5\n")
        with pytest.raises(UsageError, match="it is no text in UTF-8"):
            Table("x.csv").whole()


def test_large_files_are_left_to_pyarrow(monkeypatch, rng):
    p = rng.dirichlet(np.ones(4), 20_000)
    np.savetxt("x.csv", p, delimiter=",")
    monkeypatch.setattr(_text._Text, "_by_numpy", None)
    np.testing.assert_array_equal(Table("x.csv").whole().values, p)


# ---------------------------------------------------------------- rows by name


def compared(capsys, *arguments):
    status = cli.main(["compare", *arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def summary_of(capsys, *arguments):
    status, out, err = compared(capsys, *arguments, "--json")
    assert status == 0, err
    return json.loads(out)


@pytest.fixture
def two(frame, rng):
    """The predictions of two versions, the second in another order of rows and columns."""
    new = frame.copy()
    new[CLASSES] = rng.dirichlet(np.ones(3), 9)
    write_csv(frame, "old.csv")
    order = rng.permutation(9)
    new = new.iloc[order]
    write_tsv(new[["truth", "eel", "meta_note", "file", "dog", "cat"]], "new.tsv")
    d = simplex.fisher_rao_distance(
        frame[CLASSES].to_numpy(), new.sort_values("file")[CLASSES].to_numpy()
    )
    return frame, new, d


TABLES = ["old.csv", "new.tsv", "--id", "file", "--ignore", "meta_*"]


@pytest.mark.parametrize("rows_at_once", [2, 100])
def test_rows_are_matched_by_name(two, rows_at_once, capsys, monkeypatch):
    monkeypatch.setattr(_table, "NUMBERS_AT_ONCE", 3 * rows_at_once)
    frame, _, d = two
    found = summary_of(capsys, *TABLES, "--label-column", "truth")
    np.testing.assert_allclose(found["mean_distance"], d.mean(), rtol=1e-12)
    most = int(d.argmax())
    assert found["most_changed"][0]["row"] == NAMES[most]
    assert found["most_changed"][0]["old"] == CLASSES[frame[CLASSES].to_numpy()[most].argmax()]
    right = frame[CLASSES].to_numpy().argmax(-1) == frame["truth"].map(CLASSES.index)
    assert found["old_accuracy"] == right.mean()
    assert found["grouped_by"] == "true class"
    assert found["files"] == {"old": "old.csv", "new": "new.tsv"}


def test_rows_that_one_table_lacks(two, capsys):
    frame, new, d = two
    write_csv(frame.iloc[1:], "old.csv")
    write_tsv(new[new["file"] != "im3"], "new.tsv")
    tables = [*TABLES, "--ignore", "meta_*,truth"]
    status, _, err = compared(capsys, *tables)
    assert status == 2
    assert (
        "only old.csv has the row im3; only new.tsv has the row im0: --common compares the rows"
    ) in err
    found = summary_of(capsys, *tables, "--common")
    assert found["rows"] == 7
    assert found["rows_left_out"] == {"old": 1, "new": 1}
    np.testing.assert_allclose(found["mean_distance"], np.delete(d, [0, 3]).mean(), rtol=1e-12)
    assert "left out: 1 rows of OLD, 1 rows of NEW" in compared(capsys, *tables, "--common")[1]


def test_rows_in_one_order_need_no_names_of_their_own(frame):
    """Only where the order differs a name has to say which row is meant."""
    frame["file"] = ["a", "a", *NAMES[2:]]
    write_csv(frame, "a.csv")
    options = {"columns": tuple(CLASSES)}
    a, b = (Table("a.csv", "file", **options) for _ in range(2))
    assert sum(len(x.ids) for x, _ in JoinedRows(a, b, common=False)) == 9
    write_csv(frame.iloc[::-1], "b.csv")
    b = Table("b.csv", "file", **options)
    with pytest.raises(UsageError, match=r"a\.csv has several rows of the name a"):
        list(JoinedRows(a, b, common=False))


@pytest.mark.parametrize("write", [write_csv, lambda frame, name: frame.to_parquet(name)])
@pytest.mark.parametrize("is_turned", [False, True])
def test_names_of_rows_that_are_equal_numbers_are_equal(write, is_turned, frame, capsys):
    """pandas writes whole numbers as floats where one of them is missing, or was."""
    frame["file"] = np.arange(9) * 10
    new = frame.assign(file=frame["file"].astype(float))[:: -1 if is_turned else 1]
    new[CLASSES] = new[CLASSES].to_numpy()[:, [1, 2, 0]]
    labels = frame[["file", "truth"]].assign(file=[f"{name}.00" for name in frame["file"]])
    for table, name in ((frame, "old.x"), (new, "new.x"), (labels, "labels.x")):
        write(table, name)
    names = [f"{name}.parquet" for name in ("old", "new", "labels")]
    if write is write_csv:
        names = [f"{name}.csv" for name in ("old", "new", "labels")]
    for name in names:
        Path(name).with_suffix(".x").rename(name)
    found = summary_of(
        capsys, *names[:2], "--id", "file", "--ignore", "meta_*,truth",
        "--labels", f"{names[2]}:truth",
    )  # fmt: skip
    p = frame[CLASSES].to_numpy()
    d = simplex.fisher_rao_distance(p, p[:, [1, 2, 0]])
    np.testing.assert_allclose(found["mean_distance"], d.mean(), rtol=1e-12)
    assert found["most_changed"][0]["row"] == str(10 * int(d.argmax()))
    assert found["old_accuracy"] == (p.argmax(-1) == frame["truth"].map(CLASSES.index)).mean()


def test_names_of_rows_that_a_table_tells_apart_stay_apart(frame, capsys):
    frame["file"] = ["1", "01", "1.1", "1.10", "a", "b", "c", "d", "e"]
    write_csv(frame, "old.csv")
    write_csv(frame.iloc[::-1], "new.csv")
    found = summary_of(capsys, "old.csv", "new.csv", "--id", "file", "--ignore", "meta_*,truth")
    assert found["mean_distance"] == 0.0
    write_csv(frame.assign(file=["1.0", *frame["file"][1:]]), "new.csv")
    status, _, err = compared(
        capsys, "old.csv", "new.csv", "--id", "file", "--ignore", "meta_*,truth"
    )
    assert (status, "only old.csv has the row 1" in err) == (2, True)


def test_rows_without_a_title_go_by_equal_numbers(frame, capsys):
    """Also the index that pandas has stored is one of floats in one file alone."""
    frame[CLASSES].set_index(np.arange(9) * 2).to_parquet("old.parquet")
    frame[CLASSES].set_index(np.arange(9) * 2.0).to_parquet("new.parquet")
    assert summary_of(capsys, "old.parquet", "new.parquet")["mean_distance"] == 0.0


def test_counts_go_by_equal_numbers(capsys):
    Path("old.csv").write_text("shop,yes,no\n1,3,4\n2,5,6\n")
    Path("new.csv").write_text("shop,yes,no\n2.0,5,6\n1.0,3,4\n")
    found = summary_of(capsys, "old.csv", "new.csv", "--counts", "--id", "shop")
    assert [(pair["name"], pair["distance"]) for pair in found["samples"]] == [
        ("1", 0.0),
        ("2", 0.0),
    ]


def test_large_tables_are_read_without_pandas(rng):
    """Its import would take longer than reading them."""
    p = rng.dirichlet(np.ones(10), 10_000)
    frame = pd.DataFrame(p, columns=list("abcdefghij"))
    frame.to_csv("p.csv", index=False)
    frame.to_parquet("p.parquet")
    frame.to_feather("p.feather")
    code = "import sys; from infogeo import cli; cli.main(sys.argv[1:]); print(sys.modules.keys())"
    for name in ("p.csv", "p.parquet", "p.feather"):
        command = [sys.executable, "-c", code, "compare", name, name]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "10000 rows: mean distance 0" in run.stdout
        assert "'pyarrow'" in run.stdout
        assert "'pandas'" not in run.stdout


def test_tables_without_a_row_in_common(frame):
    write_csv(frame.iloc[:3], "a.csv")
    write_csv(frame.iloc[3:], "b.csv")
    a, b = (Table(name, "file", columns=tuple(CLASSES)) for name in ("a.csv", "b.csv"))
    with pytest.raises(UsageError, match="have no row in common"):
        list(JoinedRows(a, b, common=True))


def test_a_cell_that_is_wrong_is_named_where_it_stands(two, capsys):
    _, new, _ = two
    place = list(new["file"]).index("im5")
    new = new.astype({"dog": object})
    new.loc[new["file"] == "im5", "dog"] = -0.25
    write_tsv(new, "new.tsv")
    status, _, err = compared(capsys, *TABLES, "--ignore", "truth,meta_*")
    assert status == 2
    assert f"new.tsv: row {place} (im5) has -0.25 in column dog, which is no probability" in err


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ('"0,25"', "which is no number. Decimals need a point"),
        ("25%", "which is no number. Save it without the sign"),
        ("mouse", "which is no number. If it names the row, give --id"),
    ],
)
def test_a_cell_that_is_no_number_has_a_way_out_of_its_kind(frame, cell, words, capsys):
    Path("a.csv").write_text(f"cat,dog\n0.5,0.5\n{cell},0.75\n")
    status, _, err = compared(capsys, "a.csv", "a.csv")
    assert status == 2
    assert f"row 1 has {cell.strip(chr(34))!r} in column 1, {words}" in err


def test_a_row_without_a_name_is_said_to_have_none(two, capsys):
    frame, _, _ = two
    frame.loc[2, "file"] = ""
    write_csv(frame, "old.csv")
    status, _, err = compared(capsys, *TABLES, "--ignore", "meta_*,truth")
    assert status == 2
    assert "only old.csv has the row without a name; only new.tsv has the row " in err


# ---------------------------------------------------------------- labels and columns


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("l.csv:truth", write_csv),
        ("l.tsv:truth", write_tsv),
        ("l.parquet:truth", lambda frame, name: frame.to_parquet(name)),
        ("l.feather:truth", write_feather),
        ("l.jsonl:truth", write_json),
    ],
)
def test_labels_go_by_name(two, name, write, capsys, rng):
    frame, _, _ = two
    labels = frame[["file", "truth"]].iloc[rng.permutation(9)]
    write(labels, name.partition(":")[0])
    tables = [*TABLES, "--ignore", "meta_*,truth"]
    found = summary_of(capsys, *tables, "--labels", name)
    assert found["by_class"].keys() == set(frame["truth"])
    expected = summary_of(capsys, *TABLES, "--label-column", "truth")
    for key in ("by_class", "old_accuracy", "p_value"):
        assert found[key] == expected[key]
    write(labels.iloc[1:], name.partition(":")[0])
    status, _, err = compared(capsys, *tables, "--labels", name)
    assert (status, f"has no label of the row {labels['file'].iloc[0]}" in err) == (2, True)


def test_labels_that_are_floats_are_classes(capsys):
    """pandas writes whole numbers as floats where one of them is missing."""
    numbers = [2, 0, 1]
    table = np.array([[0.1, 0.2, 0.7], [0.7, 0.2, 0.1], [0.2, 0.5, 0.3]])
    for columns in (["0", "1", "2"], ["cat", "dog", "eel"]):
        for name in ("x", "y"):
            pd.DataFrame(table, columns=columns).to_parquet(f"{name}.parquet")
        for labels in (numbers, [float(x) for x in numbers]):
            pd.Series(labels, name="y").to_csv("l.csv", index=False)
            found = summary_of(capsys, "x.parquet", "y.parquet", "--labels", "l.csv")
            assert found["old_accuracy"] == 1.0
            assert found["by_class"].keys() == set(columns)
    Path("l.csv").write_text("y\n2.0\n0.0\n4.0\n")
    status, _, err = compared(capsys, "x.parquet", "y.parquet", "--labels", "l.csv")
    assert status == 2
    assert "the label of row 2 is '4.0': the classes are cat, dog, eel" in err


def test_labels_in_one_column_go_by_position(frame):
    numbers = list(range(9))
    pd.DataFrame({"truth": numbers}).to_parquet("l.parquet")
    pd.DataFrame({"truth": numbers}, index=NAMES).to_feather("l.feather")
    frame[["file", "truth"]].to_parquet("two.parquet")
    assert read_labels("l.parquet") == (None, [str(i) for i in numbers])
    assert read_labels("l.feather") == (None, [str(i) for i in numbers])
    with pytest.raises(UsageError, match=r"two\.parquet: .* file, truth: name one, two\.parquet:f"):
        read_labels("two.parquet")
    with pytest.raises(UsageError, match="it has no column q"):
        read_labels("two.parquet:q")
    write_json(frame, "l.jsonl")
    with pytest.raises(UsageError, match=r"name the column with the labels: l\.jsonl:COLUMN"):
        read_labels("l.jsonl")


def test_labels_by_position_and_rows_left_out_do_not_go_together(two, capsys):
    frame, new, _ = two
    Path("l.csv").write_text("\n".join(frame["truth"]))
    tables = [*TABLES, "--ignore", "meta_*,truth"]
    status, _, err = compared(capsys, *tables, "--common", "--labels", "l.csv")
    assert status == 0, err  # no row of OLD is left out
    write_tsv(new.iloc[1:], "new.tsv")
    status, _, err = compared(capsys, *tables, "--common", "--labels", "l.csv")
    assert (status, "l.csv has no names of rows, and rows were left out" in err) == (2, True)


@pytest.mark.parametrize("name", ["p.csv", "p.parquet", "p.jsonl", "p.feather"])
def test_columns_that_are_not_there(name, frame, capsys):
    WRITERS[name](frame, name)
    for options, words in (
        (["--id", "q"], "it has no column q: its columns are file, cat"),
        (["--columns", "cat,dog,cow"], "it has no column cow: its columns are file, cat"),
        (["--label-column", "q"], "it has no column q"),
        (["--id", "file", "--ignore", "*"], "it has no columns of numbers"),
    ):
        status, _, err = compared(capsys, name, name, *options)
        assert (status, words in err) == (2, True), err
    np.save("p.npy", frame[CLASSES])
    status, _, err = compared(capsys, "p.npy", "p.npy", "--columns", "cat")
    assert (status, "an array has no columns by name, so none is cat" in err) == (2, True)


def test_distance_takes_such_tables(two, capsys):
    options = ["--id", "file", "--ignore", "meta_*,truth"]
    assert cli.main(["distance", "old.csv", "old.csv", *options, "--nearest", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("im0,1,im0,0.0")
    assert cli.main(["distance", "old.csv", "new.tsv", *options]) == 2  # row by row
    assert "sort both by the names of their rows" in capsys.readouterr().err


def test_counts_and_percentages_are_normalized(frame, capsys):
    write_csv(frame, "old.csv")
    write_csv(frame.assign(**{name: 100.0 * frame[name] for name in CLASSES}), "new.csv")
    tables = ["old.csv", "new.csv", "--columns", "cat,dog,eel"]
    status, _, err = compared(capsys, *tables)
    assert (status, "has probabilities with the sum 100" in err) == (2, True)
    assert summary_of(capsys, *tables, "--normalize")["quantiles"]["1"] < 1e-7
    for values, words in (
        ([0, 0, 0], "new.csv: row 4 has only zeros: nothing to divide them by"),
        ([1, -2, 1], "new.csv: row 4 has -2 in column dog, which is no count"),
        ([1, np.inf, 1], "new.csv: row 4 has inf in column dog, which is no count"),
    ):
        frame.loc[4, CLASSES] = values
        write_csv(frame, "new.csv")
        status, _, err = compared(capsys, *tables, "--normalize")
        assert (status, words in err) == (2, True), err
    np.save("big.npy", np.full((2, 3), 1e308))
    assert summary_of(capsys, "big.npy", "big.npy", "--normalize")["mean_distance"] == 0.0
