"""Standard errors and verdicts of infogeo compare."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from infogeo import cli, simplex
from infogeo.cli._comparison import statistics


def test_errors_of_means_are_those_of_scipy(rng):
    x = rng.gamma(2.0, 1.0, 50)
    np.testing.assert_allclose(statistics.mean_error(x), stats.sem(x), rtol=1e-13)
    mean, low, high = statistics.mean_interval(x, 0.9)
    expected = stats.t.interval(0.9, 49, loc=x.mean(), scale=stats.sem(x))
    np.testing.assert_allclose([mean, low, high], [x.mean(), *expected], rtol=1e-12)
    assert statistics.mean_error(x[:1]) is None
    assert statistics.mean_interval(x[:1], 0.9) == (x[0], 0.0, math.pi)  # one row tells nothing
    assert statistics.mean_interval(np.array([0.0, 3.0]), 0.95)[1:] == (0.0, math.pi)


def test_errors_of_shares_and_quantiles_are_right_on_average(rng):
    """The standard deviation over many samples is what one sample says it is."""
    samples = rng.exponential(1.0, (4000, 400))
    for q in (0.5, 0.9, 0.99):
        spread = np.quantile(samples, q, axis=-1).std()
        found = np.mean([statistics.quantile_error(x, q) for x in samples[:200]])
        assert found == pytest.approx(spread, rel=0.25)
    counts = rng.binomial(400, 0.1, 4000)
    assert statistics.share_error(40, 400) == pytest.approx((counts / 400).std(), rel=0.1)
    assert statistics.share_error(0, 40) == pytest.approx(math.sqrt(2 * 42 / 44**3))
    assert statistics.quantile_error(samples[0], 1.0) is None
    assert statistics.quantile_error(samples[0, :10], 0.99) is None
    assert statistics.quantile_error(samples[0, :1], 0.5) is None


def test_equal_accuracies_are_tested_exactly():
    old = np.array([True] * 8 + [False] * 2 + [True] * 5)
    new = np.array([False] * 8 + [True] * 2 + [True] * 5)
    # Of ten rows that are right in one version, two or fewer for one of them, on both sides.
    expected = 2 * sum(Fraction(math.comb(10, k), 2**10) for k in range(3))
    assert statistics.mcnemar(old, new) == pytest.approx(float(expected), rel=1e-12)
    assert statistics.mcnemar(old, old) == 1.0


@pytest.mark.parametrize(
    ("interval", "word"),
    [
        ((0.1, 0.05, 0.2), "pass"),  # the end may be the tolerance
        ((0.3, 0.21, 0.4), "drift"),
        ((0.3, 0.2, 0.4), "not enough data"),
        ((0.1, 0.0, 0.3), "not enough data"),
    ],
)
def test_verdicts(interval, word):
    found = statistics.verdict(*interval, 100, tolerance=0.2, level=0.95)
    assert found["verdict"] == word
    assert ("rows_that_would_decide" in found) == (word == "not enough data")


def test_rows_that_would_decide(rng):
    """With as many rows as are named about half of the samples decide, and few with a quarter."""
    tolerance, rows = 0.6, 150
    pilot = rng.gamma(4.0, 0.125, rows)  # of mean 1/2
    interval = statistics.mean_interval(pilot, 0.95)
    pilot = statistics.verdict(0.5, 0.5 - 0.25, 0.5 + 0.25, rows, tolerance=0.6, level=0.95)
    assert pilot["rows_that_would_decide"] == 940  # (0.25 / 0.1)^2 times as many, two digits
    error = 0.25 / math.sqrt(1.0)
    assert interval[1] < 0.5 < interval[2]
    size = math.ceil((1.96 * error / (tolerance - 0.5)) ** 2)
    decided = {}
    for n in (size, 4 * size):
        means = [statistics.mean_interval(x, 0.95) for x in rng.gamma(4.0, 0.125, (400, n))]
        decided[n] = np.mean([high <= tolerance for _, _, high in means])
    assert 0.3 < decided[size] < 0.7
    assert decided[4 * size] > 0.95


def test_no_number_of_rows_decides_at_the_tolerance():
    found = statistics.verdict(0.2, 0.1, 0.3, 100, tolerance=0.2, level=0.95)
    assert found["rows_that_would_decide"] is None


# ---------------------------------------------------------------- the command


@pytest.fixture
def two(rng, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    p = rng.dirichlet(np.ones(3), 200)
    q = simplex.fisher_rao_geodesic(p, rng.dirichlet(np.ones(3), 200), 0.1)
    np.save("old.npy", p)
    np.save("new.npy", q)
    labels = rng.integers(0, 3, 200)
    np.save("labels.npy", labels)
    return p, q, labels


def run(capsys, *arguments):
    status = cli.main(["compare", "old.npy", "new.npy", *arguments])
    return status, capsys.readouterr().out


def test_a_tolerance_has_three_answers(two, capsys):
    d = simplex.fisher_rao_distance(*two[:2])
    mean, low, high = statistics.mean_interval(d, 0.95)
    for tolerance, status, word in (
        (high * 1.01, 0, "passed"),
        (low * 0.99, 1, "FAILED"),
        (0.5 * (mean + high), 3, "NOT ENOUGH DATA"),
    ):
        found, out = run(capsys, "--tolerance", str(tolerance))
        assert found == status
        assert f"{word}: mean distance {mean:.4g}, from {low:.4g} to {high:.4g}" in out
    assert "rows would decide" in out
    found, out = run(capsys, "--tolerance", str(0.5 * (mean + high)), "--level", "0.5", "--json")
    assert found == 0  # an interval that holds half of the time is shorter
    assert json.loads(out)["tolerance"]["verdict"] == "pass"
    # What has failed is not undecided.
    tolerance = ["--tolerance", str(0.5 * (mean + high))]
    assert run(capsys, *tolerance, "--fail-changed-above", "0")[0] == 1
    # Programs read the same: one limit that holds beside one that is open is no pass.
    for limits, status, passed in (
        (["--fail-above", "3"], 0, True),
        (["--fail-above", "3", *tolerance], 3, None),
        (tolerance, 3, None),
        (["--fail-above", "0", *tolerance], 1, False),
    ):
        found, out = run(capsys, *limits, "--json")
        assert (found, json.loads(out)["passed"]) == (status, passed)
    assert "passed" not in json.loads(run(capsys, "--json")[1])
    assert run(capsys, "--tolerance", str(mean), "--json")[0] == 3


def test_gates(two, capsys):
    p, q, labels = two
    changed = (p.argmax(-1) != q.argmax(-1)).mean()
    assert run(capsys, "--fail-changed-above", str(changed))[0] == 0
    status, out = run(capsys, "--fail-changed-above", str(0.9 * changed))
    assert (status, "FAILED: " in out) == (1, True)
    right = [x.argmax(-1) == labels for x in (p, q)]
    value = statistics.mcnemar(*right)
    for limit, expected in ((value * 0.99, 0), (min(value * 1.01, 0.999), int(value < 0.98))):
        found, _ = run(capsys, "--labels", "labels.npy", "--fail-p-below", str(limit))
        assert found == expected


def test_errors_stand_beside_figures(two, capsys):
    d = simplex.fisher_rao_distance(*two[:2])
    _, out = run(capsys, "--json", "--labels", "labels.npy")
    found = json.loads(out)
    assert found["unit"] == "radians"
    assert found["grouped_by"] == "true class"
    assert found["files"] == {"old": "old.npy", "new": "new.npy", "labels": "labels.npy"}
    assert found["version"]
    assert found["mean_distance_error"] == pytest.approx(stats.sem(d))
    assert found["quantile_errors"]["0.5"] == statistics.quantile_error(d, 0.5)
    assert found["quantile_errors"]["1"] is None
    for figure in ("changed_share", "old_accuracy", "new_accuracy"):
        count = round(200 * found[figure])
        assert found[f"{figure}_error"] == statistics.share_error(count, 200)
    _, out = run(capsys)
    assert f"mean distance {d.mean():.4g} ± {stats.sem(d):.2g}" in out
    assert "by old decision" in out
    assert "in radians" in out


def test_markdown(two, capsys):
    status, out = run(capsys, "--markdown", "--fail-above", "0.001")
    assert status == 1
    lines = out.splitlines()
    assert lines[0] == "### infogeo compare old.npy new.npy"
    heads = [i for i, line in enumerate(lines) if line.startswith("| ---")]
    assert len(heads) == 2
    for i in heads:
        assert lines[i - 2] == "" or lines[i - 2].endswith(":") or lines[i - 3] == ""
        assert {line.count("|") for line in lines[i - 1 : i + 3]} == {lines[i].count("|")}
    assert any(line.startswith("FAILED: all rows within") for line in lines)


def test_names_are_no_markdown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "*a*.csv").write_text("a|b,&lt;\n0.5,0.5\n0.1,0.9\n")
    assert cli.main(["compare", "*a*.csv", "*a*.csv", "--markdown"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("### infogeo compare \\*a\\*.csv \\*a\\*.csv\n")
    assert "| a\\|b | 1 |" in out
    assert "| \\&lt; | 1 |" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fail-p-below", "0.05"], "--fail-p-below needs labels"),
        (["--common"], "--common needs --id"),
        (["--logits", "--normalize"], "--normalize is for counts and percentages"),
        (["--level", "1"], "'1' is no probability between 0 and 1"),
        (["--tolerance", "4"], "'4' is no limit"),
        (["--fail-changed-above", "2"], "'2' is not a share: a number from 0 to below 1"),
        (["--json", "--markdown"], "not allowed with argument --json"),
    ],
)
def test_options_that_do_not_fit(two, arguments, words, capsys):
    assert cli.main(["compare", "old.npy", "new.npy", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert cli.main(["compare", "-", "-"]) == 2
    assert "standard input is one table" in capsys.readouterr().err
