"""infogeo compare: the drift between two versions of a model, with an exit status for CI."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from infogeo import cli, logits

CLASSES = ["cat", "dog", "eel"]


@pytest.fixture
def drift(rng, tmp_path, monkeypatch):
    """Write the predictions of two versions and the true classes; give them back."""
    monkeypatch.chdir(tmp_path)
    old = rng.normal(0.0, 2.0, (40, 3))
    new = old + rng.normal(0.0, 1.0, (40, 3)) * rng.random((40, 1))
    labels = (old + rng.normal(0.0, 1.0, old.shape)).argmax(-1)
    pd.DataFrame(old, columns=CLASSES).to_csv("old.csv", index=False)
    pd.DataFrame(new, columns=CLASSES)[CLASSES[::-1]].to_csv("new.csv", index=False)
    np.save("labels.npy", labels)
    pd.Series([CLASSES[i] for i in labels], name="class").to_csv("labels.csv", index=False)
    return old, new, labels


def compare(capsys, *arguments):
    status = cli.main(["compare", "old.csv", "new.csv", "--logits", "--json", *arguments])
    return status, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("labels", ["labels.csv", "labels.npy"])
def test_summary_says_what_numpy_says(drift, labels, capsys):
    old, new, truth = drift
    status, summary = compare(capsys, "--labels", labels)
    d = logits.fisher_rao_distance(old, new)
    changed = old.argmax(-1) != new.argmax(-1)
    assert status == 0
    assert summary["rows"] == 40
    np.testing.assert_allclose(summary["mean_distance"], d.mean(), rtol=1e-12)
    np.testing.assert_allclose(summary["quantiles"]["0.9"], np.quantile(d, 0.9), rtol=1e-12)
    assert summary["changed_decisions"] == changed.sum()
    assert summary["new_accuracy"] == (new.argmax(-1) == truth).mean()
    for number, name in enumerate(CLASSES):
        of_class = summary["by_class"][name]
        assert of_class["rows"] == (truth == number).sum()
        np.testing.assert_allclose(of_class["largest_distance"], d[truth == number].max())
    assert [entry["row"] for entry in summary["most_changed"]] == [
        str(i) for i in np.argsort(-d, kind="stable")[:10]
    ]


def test_without_labels_rows_are_grouped_by_the_old_decision(drift, capsys):
    _, summary = compare(capsys)
    counts = np.bincount(drift[0].argmax(-1), minlength=3)
    assert [summary["by_class"][name]["rows"] for name in CLASSES] == counts.tolist()
    assert "old_accuracy" not in summary


def test_threshold_has_an_exit_status_of_its_own(drift, capsys):
    d = logits.fisher_rao_distance(drift[0], drift[1])
    assert compare(capsys, "--fail-above", str(d.max()))[0] == 0
    below = str(np.nextafter(d.max(), 0.0) * (1.0 - 1e-9))
    status, summary = compare(capsys, "--fail-above", below)
    assert status == 1
    assert summary["passed"] is False
    assert summary["threshold"]["distance"] == pytest.approx(d.max())
    ninth = np.sort(d)[35]  # 36 of 40 rows are within it
    assert compare(capsys, "--fail-above", str(ninth * 1.000001), "--quantile", "0.9")[0] == 0
    assert compare(capsys, "--fail-above", str(ninth * 0.999), "--quantile", "0.9")[0] == 1


def test_words_for_people(drift, capsys):
    arguments = ["compare", "old.csv", "new.csv", "--logits", "--fail-above", "0.001"]
    assert cli.main([*arguments, "--labels", "labels.npy"]) == 1
    shown = capsys.readouterr().out
    for words in ("40 rows: mean distance", "accuracy:", "moved most:", "FAILED: all rows within"):
        assert words in shown


def test_folder_holds_all_of_it(drift, capsys, tmp_path):
    status, summary = compare(capsys, "-o", "out/drift")
    folder = tmp_path / "out" / "drift"
    assert status == 0
    names = ["distances.csv", "drift.png", "summary.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert json.loads((folder / "summary.json").read_text()) == summary
    table = pd.read_csv(folder / "distances.csv")
    np.testing.assert_allclose(table["distance"].mean(), summary["mean_distance"], rtol=1e-12)
    assert (folder / "drift.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", "none.csv"], "cannot read none.csv"),
        (["--labels", "old.csv"], "line 1 has 3 cells: it must be one column"),
        (["--labels", "short.npy"], "short.npy has 3 labels for 40 rows"),
        (["--labels", "wrong.npy"], "the label of row 0 is '7': the classes are cat, dog, eel"),
        (["--labels", "float.npy"], "one row of whole numbers or text"),
        (["--fail-above", "much"], "'much' is no limit: a distance from 0 to below pi"),
        (["--fail-above", "50"], "'50' is no limit: a distance from 0 to below pi"),
        (["--fail-above", "3.1416"], "'3.1416' is no limit: a distance from 0 to below pi"),
        (["--fail-above", "nan"], "'nan' is no limit"),
        (["--quantile", "0.9"], "--quantile needs --fail-above: alone nothing can fail"),
        (["--fail-above", "1", "--quantile", "1.5"], "'1.5' is not a share"),
        (["-o", "old.csv"], "it is a file, not a folder"),
    ],
)
def test_what_is_wrong_takes_one_line(drift, arguments, message, capsys):
    np.save("short.npy", np.arange(3))
    np.save("wrong.npy", np.full(40, 7))
    np.save("float.npy", np.zeros(40))
    assert cli.main(["compare", "old.csv", "new.csv", "--logits", *arguments]) == 2
    shown = capsys.readouterr()
    (line,) = [line for line in shown.err.splitlines() if not line.startswith("[")]
    assert line.startswith("infogeo compare: ")
    assert message in line


def test_probabilities_are_expected_without_logits(drift, capsys):
    assert cli.main(["compare", "old.csv", "new.csv"]) == 2
    assert "give --logits" in capsys.readouterr().err


def test_logits_that_look_like_probabilities_are_pointed_out(tmp_path, capsys):
    np.save(tmp_path / "p.npy", np.full((3, 2), [0.25, 0.75]))
    np.save(tmp_path / "z.npy", np.zeros((3, 2)))
    files = [str(tmp_path / name) for name in ("p.npy", "z.npy")]
    assert cli.main(["compare", *files, "--logits"]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "sum to 1" in line]
    assert line.startswith(f"infogeo compare: {files[0]}: ")


@pytest.mark.parametrize("output", [[], ["--json"]])
def test_a_closed_pipe_does_not_hide_that_it_failed(drift, output):
    arguments = "old.csv new.csv --logits --fail-above 0.001 " + " ".join(output)
    run = subprocess.run(
        f"set -o pipefail; '{sys.executable}' -m infogeo compare {arguments} | true; "
        "echo ${PIPESTATUS[0]}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stdout.split() == ["1"]
    assert "Traceback" not in run.stderr
