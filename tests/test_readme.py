"""The README does what it prints."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
ROUNDING = re.compile(r"\d\.\de-1[4-9]")  # an error of this size differs between processors
BLOCKS = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, flags=re.DOTALL)


def test_every_block_of_code_has_its_output():
    assert len(BLOCKS) == README.count("```python") == 3


@pytest.mark.parametrize(("code", "output"), BLOCKS)
def test_code_prints_what_the_readme_says(code, output):
    assert sum(bool(line) for line in code.splitlines()) <= 5
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    seen, expected = (ROUNDING.sub("rounding", x) for x in (printed.getvalue(), output))
    assert seen.splitlines() == expected.splitlines()


def test_files_that_the_readme_names_exist():
    for target in re.findall(r"\]\(([^):]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists()
