"""infogeo distance: every format, every question, one clear line for what is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from infogeo import cli, logits, neighbors, simplex
from infogeo.cli import _tables
from infogeo.cli._tables import _table

ROUNDING = 16 * np.finfo(float).eps  # of distances: the order of a sum is that of its batch


@pytest.fixture
def pair(rng):
    return rng.dirichlet(np.ones(4), (2, 7))


@pytest.fixture
def files(pair, tmp_path, monkeypatch):
    """Write two tables in every format; the second of each has its columns in another order."""
    monkeypatch.chdir(tmp_path)
    names = [f"im{i}" for i in range(7)]
    frames = [pd.DataFrame(p, columns=list("wxyz"), index=names) for p in pair]
    frames[1] = frames[1][list("zywx")]
    for name, frame, p in zip("ab", frames, pair, strict=True):
        frame.to_csv(f"{name}.csv", float_format="%.17g")
        frame.to_parquet(f"{name}.parquet")
        np.save(f"{name}.npy", p)
        np.save(f"{name}.f.npy", np.asfortranarray(p))
        np.save(f"{name}.z.npy", np.log(p))
    np.savez("ab.npz", a=pair[0], b=pair[1])
    np.savez_compressed("columns.npz", np.asfortranarray(pair[1]))
    return pair


def distances(capsys, *arguments):
    assert cli.main(["distance", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    return lines[0], [line.split(",") for line in lines[1:]]


@pytest.fixture
def lists(files):
    """Write the second table as one column of lists, among others as data sets have them."""
    kinds = {"list": pa.list_(pa.float64()), "large": pa.large_list(pa.float64())}
    kinds["fixed"] = pa.list_(pa.float64(), 4)
    names = pa.array([f"im{i}" for i in range(7)]).dictionary_encode()
    for name, kind in kinds.items():
        p = pa.array(files[1].tolist(), type=kind)
        parquet.write_table(pa.table({"p": p}), f"{name}.parquet")
        both = pa.table({"file": names, "label": pa.array(range(7)), "p": p})
        parquet.write_table(both, f"{name}.all.parquet", row_group_size=2)
    return files


@pytest.mark.parametrize("rows_at_once", [1, 3, 100])
@pytest.mark.parametrize("kind", ["list", "large", "fixed"])
def test_parquet_columns_of_lists(lists, kind, rows_at_once, capsys, monkeypatch):
    monkeypatch.setattr(_table, "NUMBERS_AT_ONCE", 4 * rows_at_once)
    expected = simplex.fisher_rao_distance(*lists)
    _, rows = distances(capsys, "a.npy", f"{kind}.parquet")
    np.testing.assert_allclose([float(row[1]) for row in rows], expected, rtol=ROUNDING)
    whole = f"{kind}.all.parquet:p"
    _, rows = distances(capsys, whole, "--nearest", "1", "--id", "file")
    assert [row[0] for row in rows] == [f"im{i}" for i in range(7)]
    assert cli.main(["compare", "a.npy", whole, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose(summary["mean_distance"], expected.mean(), rtol=1e-14)


def test_parquet_columns_with_dictionaries(files, capsys):
    """Of numbers, as writers make them of few values, and of the names of the rows."""
    p = np.eye(4)[[0, 3, 1, 2, 0, 0, 1]].T
    columns = {f"c{i}": pa.array(column).dictionary_encode() for i, column in enumerate(p)}
    columns["file"] = pa.array([f"{i % 2}.png" for i in range(7)]).dictionary_encode()
    parquet.write_table(pa.table(columns), "x.parquet", use_dictionary=True)
    _, rows = distances(capsys, "x.parquet", "x.parquet", "--id", "file")
    assert [row[0] for row in rows] == [f"{i % 2}.png" for i in range(7)]
    np.testing.assert_array_equal([float(row[1]) for row in rows], 0.0)


@pytest.mark.parametrize("name", ["columns.parquet", "lists.parquet"])
def test_parquet_with_one_group_of_rows_is_not_held_as_a_whole(files, name, rng):
    p = rng.random((100_000, 50))
    if name == "lists.parquet":
        table = pa.table({"p": pa.FixedSizeListArray.from_arrays(p.ravel(), 50)})
    else:
        table = pa.table({str(i): column for i, column in enumerate(p.T)})
    parquet.write_table(table, name, use_dictionary=False)
    del table
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in _tables.Table(name).blocks(rows=1000)]
    assert len(held) == 100
    assert max(held) < p.nbytes / 2


def write_parquet(**columns):
    parquet.write_table(pa.table(columns), "x.parquet")


P2 = [[0.5, 0.5]] * 3


@pytest.mark.parametrize("command", ["distance", "compare"])
@pytest.mark.parametrize(
    ("columns", "name", "words"),
    [
        ({"p": P2, "label": [0, 1, 2]}, "", "the predictions, name it: x.parquet:p"),
        ({"p": [[0.5, 0.5], [1.0], *P2]}, "", "column p has 1 numbers in row 1 and 2 in row 0"),
        ({"p": [[0.5, 0.5], None]}, "", "column p has 0 numbers in row 1 and 2 in row 0"),
        ({"p": [None, [0.5, 0.5]]}, "", "column p has no numbers in row 0"),
        ({"p": [[0.5, 0.5], [None, 1.0]]}, "", "x.parquet: row 1 has no number in column 1"),
        ({"p": [[0.5, 0.6]] * 2}, "", "x.parquet: row 0 has probabilities with the sum 1.1"),
        ({"p": [["a", "b"]]}, "", "column p must hold numbers: it is of type string"),
        ({"p": [P2]}, "", "column p must hold numbers: it is of type list<"),
        ({"p": [{"cat": 0.5, "dog": 0.5}]}, "", "Write its entries as columns of numbers"),
        ({"p": [{str(i): 0.5 for i in range(99)}]}, "", "it is of type struct<0: double, "),
        ({"p": P2, "x": [1.0] * 3}, ":x", "column x must hold lists of numbers: it is of type d"),
        ({"p": P2}, ":q", "it has no column q: its columns are p"),
        ({"p": pa.array([], pa.list_(pa.float64()))}, "", "x.parquet: it has no rows"),
        ({"w": ["a", "b"], "x": [0.5, 0.5]}, "", "If it names the rows, give --id"),
        ({"w": [b"x"]}, "", "column w must hold numbers: it is of type binary"),
    ],
)
def test_parquet_columns_that_are_no_predictions(files, columns, name, words, command, capsys):
    write_parquet(**columns)
    assert cli.main([command, f"x.parquet{name}", f"x.parquet{name}"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("[")]
    assert words in line
    assert len(line) < 300


@pytest.mark.parametrize("rows_at_once", [1, 3, 100])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("a.csv", "b.csv"),
        ("a.parquet", "b.parquet"),
        ("a.npy", "b.f.npy"),
        ("ab.npz:a", "ab.npz:b"),
        ("a.npy", "columns.npz"),
        ("a.parquet", "b.csv"),
    ],
)
def test_row_by_row_from_every_format_in_blocks(files, a, b, rows_at_once, capsys, monkeypatch):
    monkeypatch.setattr(_table, "NUMBERS_AT_ONCE", 4 * rows_at_once)
    header, rows = distances(capsys, a, b)
    assert header == "row,distance"
    expected = simplex.fisher_rao_distance(*files)
    np.testing.assert_allclose([float(row[1]) for row in rows], expected, rtol=ROUNDING)
    first = "im0" if a in ("a.csv", "a.parquet") else "0"
    assert rows[0][0] == first


def test_logits_and_float32(files, capsys):
    _, rows = distances(capsys, "a.z.npy", "b.z.npy", "--logits")
    expected = logits.fisher_rao_distance(*np.log(files))
    np.testing.assert_allclose([float(row[1]) for row in rows], expected, rtol=ROUNDING)
    single = files.astype(np.float32)
    for name, p in zip("ab", single, strict=True):
        np.save(f"{name}.npy", p)
    _, rows = distances(capsys, "a.npy", "b.npy")
    expected = simplex.fisher_rao_distance(*single.astype(float))
    np.testing.assert_allclose([float(row[1]) for row in rows], expected, rtol=ROUNDING)


def test_logits_that_look_like_probabilities_are_pointed_out(files, capsys):
    assert cli.main(["distance", "a.csv", "b.z.npy", "--logits"]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "sum to 1" in line]
    assert line.startswith("infogeo distance: a.csv: ")
    assert line.endswith("leave out --logits")
    assert cli.main(["distance", "a.z.npy", "b.z.npy", "--logits"]) == 0
    assert "sum to 1" not in capsys.readouterr().err


def test_halves_whose_sum_overflows_warn_of_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("z.npy", np.full((2, 3), 6e4, np.float16))
    assert cli.main(["distance", "z.npy", "z.npy", "--logits"]) == 0
    assert capsys.readouterr().err == ""


def test_half_precision_keeps_its_own_tolerance(files, capsys):
    for name, p in zip("ab", files, strict=True):
        np.save(f"{name}.npy", p.astype(np.float16))
    _, rows = distances(capsys, "a.npy", "b.npy")
    np.testing.assert_allclose(
        [float(row[1]) for row in rows], simplex.fisher_rao_distance(*files), rtol=0.02
    )


@pytest.mark.parametrize("b", [[], ["b.csv"]])
def test_pairwise(files, b, capsys):
    header, rows = distances(capsys, "a.csv", *b, "--pairwise")
    assert header.split(",") == ["row", *(f"im{i}" for i in range(7))]
    expected = neighbors.pairwise_distance(files[0], files[1] if b else None)
    values = np.array([row[1:] for row in rows], dtype=float)
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("b", [[], ["b.csv"]])
def test_nearest(files, b, capsys, monkeypatch):
    monkeypatch.setattr(_table, "NUMBERS_AT_ONCE", 8)
    header, rows = distances(capsys, "a.csv", *b, "--nearest", "2")
    assert header == "row,rank,nearest,distance"
    found = neighbors.nearest(files[0], files[1] if b else None, num_neighbors=2)
    assert [row[2] for row in rows] == [f"im{j}" for j in found.indices.ravel()]
    assert [row[1] for row in rows] == ["1", "2"] * 7
    np.testing.assert_allclose([float(row[3]) for row in rows], found.distances.ravel(), rtol=1e-12)


def test_into_files(files, capsys):
    expected = simplex.fisher_rao_distance(*files)
    assert cli.main(["distance", "a.csv", "b.csv", "-o", "d.npy"]) == 0
    assert "7 distances in d.npy" in capsys.readouterr().out
    np.testing.assert_allclose(np.load("d.npy"), expected, rtol=ROUNDING)
    assert cli.main(["distance", "a.csv", "b.csv", "-o", "d.csv", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["distances"] == 7
    assert summary["row_of_largest"] == f"im{expected.argmax()}"
    np.testing.assert_allclose(summary["mean"], expected.mean(), rtol=1e-14)
    assert list(pd.read_csv("d.csv").columns) == ["row", "distance"]
    assert cli.main(["distance", "a.npy", "b.npy", "--pairwise", "-o", "m.npy"]) == 0
    np.testing.assert_allclose(
        np.load("m.npy"), neighbors.pairwise_distance(*files), rtol=1e-12, atol=0.0
    )


def test_json(files, capsys):
    assert cli.main(["distance", "a.csv", "b.csv", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["row"] for row in rows] == [f"im{i}" for i in range(7)]
    assert cli.main(["distance", "a.csv", "--nearest", "1", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"][0]["nearest"]) == 1


def test_classes_may_have_numbers_for_names(files, capsys, tmp_path):
    pd.DataFrame(files[0]).to_csv("numbers.csv", index=False)
    _, rows = distances(capsys, "numbers.csv", "b.npy")
    assert len(rows) == 7


@pytest.mark.parametrize(
    ("text", "num_rows"),
    [
        ("0,1\n0.2,0.8\n", 1),  # names, as pandas writes them
        ("1,2,3\n0.2,0.3,0.5\n", 1),
        ("0,1\n1,0\n0,1\n", 3),  # certain predictions
        ("1,0\n0,1\n", 2),
        ("0.2,0.8\n0,1\n", 2),
    ],
)
def test_numbers_in_the_first_line(files, text, num_rows, capsys):
    write("x.csv", text)
    _, rows = distances(capsys, "x.csv", "x.csv")
    assert len(rows) == num_rows


@pytest.mark.parametrize("command", ["distance", "compare"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0.3,NA,0.7\n0.2,0.2,0.6\n", "line 1 has 'NA' in column 2, which is no number, and 0.3"),
        ("1.0,0.0,O.0\n1.0,0.0,0.0\n", "line 1 has 'O.0' in column 3, which is no number, and 1.0"),
        ("a.png,0.5,0.5\nb.png,1,0\n", "line 1 has 'a.png' in column 1"),
    ],
)
def test_a_first_line_with_a_gap_is_not_a_line_of_names(files, text, words, command, capsys):
    assert cli.main([command, write("x.csv", text), "x.csv"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert "Mend the number" in line


@pytest.mark.parametrize("header", ["0,1,NA", "file,0.5,1.5,2.5", ",0.5,1.5,2.5", "NA,None,nan"])
def test_numbers_beside_words_that_are_names(files, header, capsys):
    has_ids = header.count(",") == 3
    write("x.csv", f"{header}\n" + 2 * ("z.png,0.2,0.3,0.5\n" if has_ids else "0.2,0.3,0.5\n"))
    options = ["--id", "file"] if header.startswith("file") else []
    _, rows = distances(capsys, "x.csv", "x.csv", *options)
    assert [row[1] for row in rows] == ["0.0", "0.0"]


def test_rows_have_names_of_their_own(files, capsys):
    frame = pd.DataFrame(files[0], columns=list("wxyz"))
    frame.insert(2, "file", [f"{i}.png" for i in range(7)])
    frame.to_csv("named.csv", index=False)
    _, rows = distances(capsys, "named.csv", "--pairwise", "--id", "file")
    assert rows[0][0] == "0.png"


def write(path, text):
    Path(path).write_text(text)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: "none.csv", "cannot read none.csv: No such file"),
        (lambda p: "table.txt", "must end in one of .csv"),
        (lambda p: write("x.csv", ""), "x.csv: it is empty"),
        (lambda p: write("x.csv", "w,x,y,z\n"), "x.csv: it has no rows"),
        (lambda p: write("x.csv", "w,x,y,z\n1,0,0,0\n1,0,0\n"), "row 1 has 3 cells, the first 4"),
        (lambda p: write("x.csv", "w,x,y,z\n1,0,0,0,9\n"), "row 0 has 5 cells, the first 4"),
        (lambda p: write("x.csv", "w,x,y,z\n1,0,0,0\n1,0,0,0,9\n"), "row 1 has 5 cells"),
        (lambda p: write("x.csv", ",w,x\na,1,0\nb,1,0,9\n"), "row 1 has 4 cells, the first 3"),
        (lambda p: write("x.csv", "w;x\n0,5;0,5\n"), "must be separated by commas: row 0"),
        (lambda p: write("x.csv", "w,x,y,z\n1_0,0,0,0\n"), "row 0 has '1_0' in column 1"),
        (lambda p: write("x.csv", "w,x,y,z\n1,0,0,q\n"), "row 0 has 'q' in column 4"),
        (lambda p: write("x.csv", "w,x,y,z\n1,0,,0\n"), "row 0 has an empty cell in column 3"),
        (lambda p: write("x.csv", "w;x;y;z\n1;0;0;0\n"), "must be separated by commas: row 0"),
        (lambda p: write("x.csv", "w\tx\n1\t0\n"), "must be separated by commas: row 0"),
        (lambda p: write("x.csv", "w,x,y,w\n1,0,0,0\n"), "two columns have the same name: 'w'"),
        (lambda p: write("x.csv", "w,x,y,k\n1,0,0,0\n"), "only one has the column k"),
        (lambda p: write("x.npy", "not an array"), "x.npy:"),
        (lambda p: write("x.npz", "not an archive"), "x.npz: it is no npz file, or a damaged one"),
        (lambda p: "ab.npz", "it holds a, b: name one of them, ab.npz:a"),
        (lambda p: "ab.npz:q", "it has no array q"),
        (lambda p: np.save("x.npy", p[0, 0]) or "x.npy", "table of rows and classes"),
        (lambda p: np.save("x.npy", p[0] > 0.5) or "x.npy", "must hold real numbers"),
        (lambda p: np.save("x.npy", p[0, :5]) or "x.npy", "has more rows than x.npy, which has 5"),
        (lambda p: np.save("x.npy", p[0, :, :3]) or "x.npy", "a.csv has 4 classes, x.npy 3"),
        (
            lambda p: np.save("x.npy", 2 * p[0]) or "x.npy",
            "x.npy: row 0 has probabilities with the sum 2.",
        ),
        (lambda p: np.save("x.npy", np.log(p[0])) or "x.npy", "If these are logits, give --logits"),
        (
            lambda p: pd.DataFrame({"w": ["a"] * 7}).to_parquet("x.parquet") or "x.parquet",
            "column w must hold numbers",
        ),
    ],
)
def test_what_is_wrong_takes_one_line(files, make, message, capsys):
    assert cli.main(["distance", make(files), "a.csv", "-o", "d.csv"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = [line for line in shown.err.splitlines() if not line.startswith("[")]
    assert line.startswith("infogeo distance: ")
    assert message in line


def test_pickles_stay_closed(files, capsys):
    np.save("x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez("x.npz", np.array([{"a": 1}], dtype=object))
    for name in ("x.npy", "x.npz"):
        assert cli.main(["distance", name, "a.npy"]) == 2
    assert capsys.readouterr().out == ""


def test_rows_are_counted_over_the_whole_file(files, capsys, monkeypatch):
    monkeypatch.setattr(_table, "NUMBERS_AT_ONCE", 8)
    bad = files[0].copy()
    bad[5, 0] = np.nan
    np.save("bad.npy", bad)
    assert cli.main(["distance", "bad.npy", "b.npy"]) == 2
    assert "bad.npy: row 5 has no number in column 1" in capsys.readouterr().err


def test_ids_have_to_agree(files, capsys):
    text = Path("b.csv").read_text().replace("im4", "other")
    write("b.csv", text)
    assert cli.main(["distance", "a.csv", "b.csv"]) == 2
    assert "row 4 is im4 in a.csv and other in b.csv" in capsys.readouterr().err


def test_nothing_half_written_is_left(files, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(_table, "NUMBERS_AT_ONCE", 8)
    bad = files[0].copy()
    bad[6] = -1.0
    np.save("bad.npy", bad)
    write("d.csv", "what was there before")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert cli.main(["distance", "bad.npy", "b.npy", "-o", "d.csv"]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert Path("d.csv").read_text() == "what was there before"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.csv"], "it takes two files; of one, --pairwise or --nearest K"),
        (["a.csv", "b.csv", "--nearest", "0"], "not a whole number from 1"),
        (["a.csv", "b.csv", "--nearest", "8"], "b.csv has 7 rows, --nearest asks for 8"),
        (["a.csv", "b.csv", "--nearest", "1", "-o", "d.npy"], "must end in .csv"),
        (["a.csv", "b.csv", "-o", "d.txt"], "must end in .csv or .npy"),
        (["a.csv", "b.csv", "-o", "none/d.csv"], "cannot write to none"),
        (["a.csv", "b.csv", "-o", "b.csv"], "b.csv is an input: write to another file"),
        (["a.csv", "b.csv", "--id", "q"], "it has no column q: its columns are"),
        (["a.npy", "b.npy", "--id", "q"], "an array has no columns by name"),
    ],
)
def test_options_that_do_not_fit(files, arguments, message, capsys):
    assert cli.main(["distance", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_reader_may_stop_early(files):
    np.save("many.npy", np.tile(files[0], (5000, 1)))
    run = subprocess.run(
        f"'{sys.executable}' -m infogeo distance many.npy many.npy 2>err | head -n 1; "
        "echo ${PIPESTATUS[0]}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stdout.split() == ["row,distance", "0"]
    assert "Traceback" not in Path("err").read_text()


@pytest.mark.parametrize("question", [[], ["--pairwise"], ["--nearest", "1"]])
@pytest.mark.parametrize(
    ("cell", "flag", "words"),
    [
        ("-0.3", [], "row 4 (im4) has -0.3 in column y, which is no probability. If these"),
        ("nan", [], "row 4 (im4) has no number in column y"),
        ("inf", ["--logits"], "row 4 (im4) has inf in column y, which is no logit"),
        ("1.5", [], "row 4 (im4) has probabilities with the sum "),
        ("1e308", [], "row 4 (im4) has probabilities with the sum "),
    ],
)
def test_the_cell_that_is_wrong_is_named(
    files, cell, flag, words, question, capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr(_table, "NUMBERS_AT_ONCE", 12)
    frame = pd.read_csv("b.csv", index_col=0, dtype=str)
    frame.loc["im4", "y"] = cell
    frame.to_csv("x.csv")
    for pair in (["a.csv", "x.csv"], ["x.csv", "a.csv"]):
        assert cli.main(["distance", *pair, *flag, *question]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith(f"infogeo distance: x.csv: {words}")


def test_more_neighbours_than_rows(files, capsys):
    for pair, words in ((["a.npy"], "a.npy has 6 other rows"), (["a.npy", "b.npy"], "b.npy has 7")):
        assert cli.main(["distance", *pair, "--nearest", "9"]) == 2
        assert words in capsys.readouterr().err.splitlines()[-1]
