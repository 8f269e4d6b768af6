"""The README and the pages of the documentation do what they print."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib import pyplot as plt

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if "```python" in page.read_text()]
# One unit of the last place, or none, differs between processors.
ROUNDING = re.compile(r"\d\.\de-1[67]|(?<=constraints )0$", flags=re.MULTILINE)
WITH_OUTPUT = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", flags=re.DOTALL)
BLOCKS = WITH_OUTPUT.findall(README)


def test_every_block_of_code_has_its_output():
    assert len(BLOCKS) == README.count("```python") == 3


@pytest.mark.parametrize(("code", "output"), BLOCKS)
def test_code_prints_what_the_readme_says(code, output):
    assert sum(bool(line) for line in code.splitlines()) <= 5
    assert_prints(code, output, {})


def test_all_names_of_the_readme_work_after_one_import():
    names = sorted(set(re.findall(r"`(infogeo(?:\.\w+)+)", README)))
    assert {"infogeo.interop.sklearn", "infogeo.pullback.PullbackMetric"} <= set(names)
    subprocess.run([sys.executable, "-c", f"import infogeo; {'; '.join(names)}"], check=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_prints_what_the_page_says(page, tmp_path, monkeypatch, kinds_of_its_own):
    """The blocks of a page go on from one another; they write into the current folder."""
    monkeypatch.chdir(tmp_path)
    text, names = page.read_text(), {}
    blocks = WITH_OUTPUT.findall(text)
    assert len(blocks) == text.count("```python")
    for code, output in blocks:
        assert_prints(code, output, names)
    plt.close("all")


def assert_prints(code, output, names):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "page", "exec"), names)
    seen, expected = (ROUNDING.sub("rounding", x) for x in (printed.getvalue(), output))
    assert seen.splitlines() == expected.splitlines()


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    for target in re.findall(r"\]\(([^):]+)\)", page.read_text()):
        assert (page.parent / target).exists()
