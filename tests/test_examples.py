"""The examples run from start to end, without a display and from any folder."""

import os
import subprocess
import sys
"""The examples run, and find what they say."""

import importlib.util
import re
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(path, tmp_path):
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    run = subprocess.run(
        [sys.executable, str(path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip(), "an example says what it found"
EXAMPLES = Path(__file__).parent.parent / "examples"


def output_of(name, capsys):
    pytest.importorskip("sklearn")
    pytest.importorskip("pandas")
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main()
    return capsys.readouterr().out


def test_raking(capsys):
    out = output_of("raking", capsys)
    truth, drawn, weighted = map(
        float, re.search(r"population (\S+), .* drawn (\S+), weighted (\S+)\n", out).groups()
    )
    assert abs(weighted - truth) < 0.5 * abs(drawn - truth)
    assert re.search(r"No weights meet the targets: those of .*age.* clash", out)


def test_match_frequencies(capsys):
    out = output_of("match_frequencies", capsys)
    losses = [float(x) for x in re.findall(r"loss (\S+) nats", out)]
    gaps = [float(x) for x in re.findall(r"average off by +(\S+),", out)]
    assert len(losses) == len(gaps) == 6
    for as_it_is, bayes, matched in (losses[:3], losses[3:]):
        assert matched < bayes < as_it_is
    for as_it_is, bayes, matched in (gaps[:3], gaps[3:]):
        assert matched < 1e-13 < bayes < as_it_is


def test_optimal_transport(capsys):
    apart = re.findall(r"apart by (\S+)\n", output_of("optimal_transport", capsys))
    assert len(apart) == 3
    assert max(map(float, apart)) < 1e-9
