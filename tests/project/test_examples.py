"""The examples run from start to end, without a display and from any folder."""

import ast
from pathlib import Path

import pytest
from forked import Script

EXAMPLES = sorted((Path(__file__).parent.parent.parent / "examples").glob("*.py"))
ELSEWHERE = {"conditional_max_entropy.py"}  # test_example_conditional.py runs it, and reads more


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_is_a_page_of_the_gallery(path):
    title, line, empty, *text = ast.get_docstring(ast.parse(path.read_text())).splitlines()
    assert line == "=" * len(title)
    assert not empty
    assert text


@pytest.mark.parametrize(
    "path", [x for x in EXAMPLES if x.name not in ELSEWHERE], ids=lambda path: path.name
)
def test_example_runs(path, tmp_path):
    run = Script(path, tmp_path).end(limit=240)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip(), "an example says what it found"
