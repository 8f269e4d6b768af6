"""infogeo compare --counts: intervals for what was sampled, and three answers."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from infogeo import cli
from infogeo.cli._comparison import statistics
from infogeo.inference import homogeneity_test, interval

OLD, NEW = {"cat": 53, "dog": 28, "eel": 12, "fox": 7}, {"dog": 26, "cat": 46, "gnu": 11, "eel": 17}
X, Y = [53, 28, 12, 7, 0], [46, 26, 17, 0, 11]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *arguments, tables=("old.csv", "new.csv")):
    status = cli.main(["compare", *tables, "--counts", *arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def write_wide():
    pd.DataFrame([OLD]).to_csv("old.csv", index=False)
    pd.DataFrame([NEW]).to_csv("new.csv", index=False)
    return []


def write_long():
    """As value_counts of pandas writes it."""
    for counts, name in ((OLD, "old.csv"), (NEW, "new.csv")):
        pd.Series(counts, name="count").rename_axis("class").to_csv(name)
    return ["--id", "class"]


def write_labels():
    for counts, name in ((OLD, "old.csv"), (NEW, "new.csv")):
        labels = np.repeat(list(counts), list(counts.values()))
        frame = pd.DataFrame({"n": range(len(labels)), "class": labels, "note": "x"})
        frame.sample(frac=1.0, random_state=0).to_csv(name, index=False)
    return ["--label-column", "class"]


@pytest.mark.parametrize("write", [write_wide, write_long, write_labels])
def test_classes_are_matched_by_name(write, capsys):
    options = write()
    status, out, _ = run(capsys, *options, "--json")
    found = json.loads(out)
    (pair,) = found["samples"]
    expected = interval(X, Y)
    assert status == 0
    assert (pair["old_total"], pair["new_total"]) == (100, 100)
    for key in ("estimate", "lower", "upper", "distance"):
        np.testing.assert_allclose(pair[key], getattr(expected, key), rtol=1e-9)
    assert pair["p_value"] == homogeneity_test(X, Y).p_value
    assert (found["only_in_old"], found["only_in_new"]) == (["fox"], ["gnu"])
    assert (found["unit"], found["classes"]) == ("radians", 5)
    first = pair["by_class"][0]
    assert first["class"] == "gnu"  # from 0 to 11 is farther than from 7 to 0
    assert first["new_share"] == 0.11
    assert first["new_share_error"] == statistics.share_error(11, 100)
    _, out, _ = run(capsys, *options)
    assert f"distance: {pair['estimate']:.4g}, from {pair['lower']:.4g} to" in out


def test_three_answers(capsys):
    write_wide()
    found = interval(X, Y)
    lower, estimate, upper = (float(x) for x in (found.lower, found.estimate, found.upper))
    for tolerance, status, word in (
        (1.01 * upper, 0, "passed: distance"),
        (0.99 * lower, 1, "FAILED: distance"),
        (0.5 * (estimate + upper), 3, "NOT ENOUGH DATA: distance"),
    ):
        got, out, _ = run(capsys, "--tolerance", str(tolerance))
        assert (got, word in out) == (status, True)
    assert "observations would decide" in out
    shorter = float(interval(X, Y, level=0.5).upper)
    between = ["--tolerance", str(0.5 * (shorter + upper))]
    assert run(capsys, *between)[0] == 3
    assert run(capsys, *between, "--level", "0.5")[0] == 0


def test_the_number_of_observations_that_would_decide_does(capsys, rng):
    """With a quarter of them few new samples decide, with as many some, with four times most.

    The estimate of the pilot is not the distance, so that the number is rough.
    """
    p, q = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.35, 0.35, 0.2, 0.1])
    x, y = (np.round(100 * v).astype(int) for v in (p, q))
    found = interval(x, y)
    numbers = (float(v) for v in (found.estimate, found.lower, found.upper))
    verdict = statistics.verdict(*numbers, 200, tolerance=0.25, level=0.95)
    assert verdict["verdict"] == "not enough data"
    half = verdict["rows_that_would_decide"] // 2
    decided = [
        (interval(rng.multinomial(n, p, 200), rng.multinomial(n, q, 200)).upper <= 0.25).mean()
        for n in (half // 4, half, 4 * half)
    ]
    assert decided[0] < 0.3 < decided[2]
    assert decided[0] < decided[1] < decided[2]
    assert decided[2] > 0.7


def test_gates(capsys):
    write_wide()
    p = float(homogeneity_test(X, Y).p_value)
    assert run(capsys, "--fail-p-below", str(0.5 * p))[0] == 0
    status, out, _ = run(capsys, "--fail-p-below", "0.05")
    assert (status, "FAILED: p = " in out) == (1, True)
    estimate = float(interval(X, Y).estimate)
    assert run(capsys, "--fail-above", str(1.01 * estimate))[0] == 0
    assert run(capsys, "--fail-above", str(0.99 * estimate))[0] == 1


def test_several_samples_hold_together(capsys, rng):
    """Of 20 regions without drift none is called drift: the levels are shared among them."""
    counts = rng.multinomial(300, [0.5, 0.3, 0.2], (2, 20))
    regions = [f"region {i}" for i in range(20)]
    order = rng.permutation(20)
    for name, x, rows in (("old.csv", counts[0], range(20)), ("new.csv", counts[1], order)):
        frame = pd.DataFrame(x, columns=list("abc"), index=pd.Index(regions, name="region"))
        frame.iloc[rows].to_csv(name)
    status, out, _ = run(capsys, "--id", "region", "--tolerance", "0.001", "--json", "-o", "out")
    found = json.loads(out)
    expected = interval(*counts, level=1.0 - 0.05 / 20)
    np.testing.assert_allclose([x["upper"] for x in found["samples"]], expected.upper, rtol=1e-9)
    assert status == 3
    assert {x["verdict"] for x in found["samples"]} == {"not enough data"}
    assert json.loads(Path("out/summary.json").read_text()) == found
    assert Path("out/drift.png").read_bytes().startswith(b"\x89PNG")
    _, out, _ = run(capsys, "--id", "region")
    assert "20 pairs of samples, 3 classes" in out
    frame = pd.read_csv("new.csv").iloc[1:]
    frame.to_csv("new.csv", index=False)
    status, _, err = run(capsys, "--id", "region")
    assert (status, f"has the row {regions[order[0]]}: --common" in err) == (2, True)
    status, out, _ = run(capsys, "--id", "region", "--common", "--fail-p-below", "0.0001")
    assert (status, "19 pairs of samples" in out) == (0, True)


def test_arrays_of_counts(capsys):
    np.save("x.npy", np.array([X]))
    np.save("y.npy", np.array([Y], dtype=float))
    status, out, _ = run(capsys, "--json", tables=("x.npy", "y.npy"))
    assert status == 0
    np.testing.assert_allclose(
        json.loads(out)["samples"][0]["upper"], interval(X, Y).upper, rtol=1e-9
    )


def table(text):
    Path("new.csv").write_text(text)


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("cat,dog\n0.5,0.5\n", [], "new.csv: row 0 has 0.5 in column cat, which is no count"),
        ("cat,dog\n-1,2\n", [], "new.csv: row 0 has -1 in column cat, which is no count"),
        ("cat,dog\nnan,2\n", [], "new.csv: row 0 has nan in column cat, which is no count"),
        ("cat,dog\n0,0\n", [], "new.csv (NEW): all counts are 0"),
        ("cat,dog\n1,2\n3,4\n", [], "old.csv has 1 rows, new.csv 2: --id matches them by name"),
        ("class,n\ncat,1\ncat,2\n", ["--id", "class"], "new.csv has the class cat twice"),
        ("class,n\ncat,1.5\n", ["--id", "class"], "row 0 has 1.5 in column n, which is no count"),
        ("class\ncat\n\nNone\n", ["--label-column", "class"], "new.csv: 1 rows have no label"),
        ("class,n\ncat,1\n,2\n", ["--label-column", "class"], "new.csv: 1 rows have no label"),
        ("cat,dog\n1,2\n", ["--logits"], "--counts goes without --logits"),
        ("cat,dog\n1,2\n", ["--quantile", "0.5"], "--counts goes without --quantile"),
        ("cat,dog\n1,2\n", ["--fail-changed-above", "0.5"], "without --fail-changed-above"),
    ],
)
def test_what_is_wrong_takes_one_line(text, options, words, capsys):
    if "class" in options and "--id" in options:
        write_long()
    elif "class" in options:
        write_labels()
    else:
        write_wide()
    table(text)
    status, _, err = run(capsys, *options)
    (line,) = [line for line in err.splitlines() if not line.startswith("[")]
    assert status == 2
    assert line.startswith("infogeo compare: ")
    assert words in line


@pytest.mark.parametrize(
    ("old", "new", "classes"),
    [
        (["1", "0", "1"], ["1.0", "0.0", "1.0"], ["1", "0"]),
        (["1.0", "0.0", "1"], ["1.", "0.", "1.00"], ["1", "0."]),
        (["01", "02", "01"], ["1", "2", "1"], ["1", "2"]),
        (["12345678901234567890", "3"], ["12345678901234567891", "3"], None),
        (["True", "False", "True"], ["true", "false", "TRUE"], ["True", "False"]),
        (["1.1", "1.10", "2.0"], ["1.1", "2.0", "1.10"], ["1.1", "1.10", "2.0"]),
        (["a", "1.1", "1.10"], ["1.1", "1.10", "a"], ["a", "1.1", "1.10"]),
    ],
)
@pytest.mark.parametrize("form", ["labels", "rows", "columns"])
def test_labels_that_are_one_number_are_one_class(old, new, classes, form, capsys):
    """pandas writes whole numbers as floats where one of them is missing."""
    suffix = "parquet" if form == "columns" else "csv"  # a header of numbers is a row of numbers
    tables = f"old.{suffix}", f"new.{suffix}"
    for labels, name in zip((old, new), tables, strict=True):
        counts = pd.Series(labels, dtype=object).value_counts(sort=False)
        if form == "columns":
            pd.DataFrame([counts.to_dict()]).to_parquet(name)
        elif form == "rows":
            counts.rename("n").rename_axis("y").to_csv(name)
        else:
            pd.Series(labels, name="y").to_csv(name, index=False)
    options = {"labels": ["--label-column", "y"], "rows": ["--id", "y"], "columns": []}[form]
    status, out, err = run(capsys, *options, "--json", tables=tables)
    found = json.loads(out)
    assert (status, "no class in common" in err) == (0, False)
    if classes is None:
        assert (found["only_in_old"], found["only_in_new"]) == ([old[0]], [new[0]])
        return
    assert found["samples"][0]["distance"] == 0.0
    assert sorted(x["class"] for x in found["samples"][0]["by_class"]) == sorted(classes)


def test_true_beside_1_is_refused_and_strangers_are_pointed_out(capsys):
    Path("old.csv").write_text("y\n1\n0\n1\n")
    Path("new.csv").write_text("y\nTrue\nFalse\nTrue\n")
    said = ["old.csv has the classes 1, 0", "new.csv has the classes True, False"]
    for tables, first in zip((("old.csv", "new.csv"), ("new.csv", "old.csv")), said, strict=True):
        status, _, err = run(capsys, "--label-column", "y", tables=tables)
        assert status == 2
        assert first in err
        assert "write them in one way in both files" in err
    Path("old.csv").write_text("y\n1\n0\nunknown\n")
    Path("new.csv").write_text("y\n1.0\n0.0\nunknown\n")
    status, _, err = run(capsys, "--label-column", "y")
    assert (status, "old.csv has the class 1, new.csv has 1.0, the same number" in err) == (2, True)
    Path("old.csv").write_text("y\n1\n0\n1\n")
    Path("new.csv").write_text("y\nno\nyes\nyes\n")
    status, out, err = run(capsys, "--label-column", "y", "--json")
    assert (status, json.loads(out)["only_in_old"]) == (0, ["1", "0"])
    assert "OLD and NEW have no class in common: OLD has 1, 0; NEW has no, yes" in err
