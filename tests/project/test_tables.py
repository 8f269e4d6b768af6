"""Every table of measured figures in the documentation says what measured it."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TABLE = re.compile(r"(?:^\|.*\n)+", flags=re.MULTILINE)
RULE = re.compile(r"^[|\s:-]+$", flags=re.MULTILINE)
TIME = re.compile(r"\d\s(?:s|ms|µs|minutes?) \|")
FIGURE = re.compile(r"\| *(?:at most |within )?-?\d+(?:\.\d+| %|e-\d)")
COMMAND = re.compile(
    r"`(?:make \w+|(?:python )?(?:(?:examples|experiments|benchmarks|tests)/(?:\w+/)*)?\w+\.py)"
)


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tables = load(ROOT / "benchmarks" / "tables.py")


def parts_of(page):
    """Return the tables of a page, each with the text between it and the last heading."""
    text = page.read_text()
    return [
        (re.split(r"^#+ .*$", text[: found.start()], flags=re.MULTILINE)[-1], found[0])
        for found in TABLE.finditer(text)
    ]


def benchmarks():
    """Return the names of all benchmarks, as pages name them."""
    return {
        f"{path.name}::{node.name}"
        for path in sorted((ROOT / "benchmarks").glob("test_bench_*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def named(page):
    """Return what the tables of a page name."""
    shown = tables.TABLE.finditer(page.read_text())
    return [name for found in shown for name in tables.BENCHMARK.findall(found["above"])]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_measured_tables_say_what_measured_them(page):
    for above, table in parts_of(page):
        if TIME.search(table) or FIGURE.search(table):
            assert COMMAND.search(above + table), table


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_pages_name_exists(page):
    text = page.read_text()
    for name in re.findall(
        r"`(?:python )?((?:examples/\w+|experiments|benchmarks|tests)/\w+\.py)", text
    ):
        assert (ROOT / name).is_file()
    for name in re.findall(r"\(`(?:python )?(\w+\.py)", text):
        assert list((ROOT / "examples").rglob(name))


def test_every_benchmark_has_its_table_and_every_table_its_benchmark():
    names = [name for page in PAGES for name in named(page)]
    found = {
        name: {
            test for test in benchmarks() if tables.Result(test, "", "", 1.0, 1.0).belongs_to(name)
        }
        for name in names
    }
    assert all(found.values()), found
    shown = [test for tests in found.values() for test in tests]
    assert sorted(shown) == sorted(benchmarks())


# ---------------------------------------------------------------- writing them

PAGE = """\
# Heading

The error is relative (`benchmarks/test_bench_a.py::test_one`).

| work | who | best | ratio | error |
|---|---|---|---|---|
| old | infogeo | 1 s | 1.00 | 0 |

Side by side (`benchmarks/test_bench_a.py::test_two`, `benchmarks/test_bench_b.py`):

| work | infogeo | plain |
|---|---|---|

Words.

| not | measured |
|---|---|
| a | b |
"""
RESULTS = [
    tables.Result(
        "test_bench_a.py::test_one[x]", "small", "infogeo", 0.0123, 0.02, {"error": 3e-16}
    ),
    tables.Result("test_bench_a.py::test_one[y]", "small", "naive", 1.5, 2.0, {"error": "wrong"}),
    tables.Result("test_bench_a.py::test_one[z]", "large", "infogeo", 99.96, 200.0, {"error": 0.0}),
    tables.Result("test_bench_a.py::test_two[x]", "small", "infogeo", 4.56e-6, 1.0),
    tables.Result("test_bench_b.py::test_three[x]", "small", "plain", 9.996e-4, 1.0),
    tables.Result("test_bench_a.py::test_one_more", "other", "infogeo", 1.0, 1.0),
]


def test_tables_are_written_from_results():
    first, second = (
        "| small | infogeo | 12.3~ms | 1.00 | 3.0e-16 |\n| | naive | 1.50~s | 122 | wrong |\n"
        "| large | infogeo | 100~s | 1.00 | 0 |\n",
        "| small | 4.56~µs | 1000~µs |\n",
    )
    expected = PAGE.replace("| old | infogeo | 1 s | 1.00 | 0 |\n", first)
    expected = expected.replace("plain |\n|---|---|---|\n", f"plain |\n|---|---|---|\n{second}")
    page = tables.rewrite(PAGE, RESULTS)
    assert page.replace("\N{NO-BREAK SPACE}", "~") == expected
    assert tables.rewrite(page, RESULTS) == page


def test_the_arguments_of_a_benchmark_may_hold_slashes():
    result = tables.Result("benchmarks/test_bench_a.py::test_one[a/b]", "", "", 1.0, 1.0)
    assert result.belongs_to("test_bench_a.py::test_one")


def test_tables_without_results_stay_as_they_are():
    assert tables.rewrite(PAGE, RESULTS[-1:]) == PAGE
