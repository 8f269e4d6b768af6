"""The page of experiments shows what its scripts print, and the cheap ones still print it."""

import ast
import importlib.util
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from forked import Script

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "experiments"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.stem not in {"common", "run"})
# Those of a few seconds, which run here. `make experiments` runs all of them.
CHEAP = (
    "calibration",
    "curved_rectangles",
    "discretised",
    "label_change",
    "many_features",
    "maximum_entropy",
    "sign_flip",
    "smoothing_votes",
    "trade_off",
    "weak_classifier",
)
NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(?:e[+-]?\d+)?")


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


run = load(FOLDER / "run.py")
TEXT = run.PAGE.read_text()
FOUND = [(run.owner(TEXT, found), found[0]) for found in run.TABLE.finditer(TEXT)]
TABLES = [(command, table) for command, table in FOUND if command]


def constants(path):
    """Return the texts that stand in a script, those of several lines as one."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.value for node in nodes if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_answers_a_question_of_the_page(path):
    assert any(command.split()[0] == f"experiments/{path.name}" for command in run.commands(TEXT))
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    assert any(isinstance(node, ast.Assert) for node in ast.walk(tree))


@pytest.mark.parametrize(("command", "table"), TABLES, ids=[f"{c}-{t[:30]}" for c, t in TABLES])
def test_table_is_printed_by_the_script_that_its_section_names(command, table):
    path = ROOT / command.split()[0]
    assert path in SCRIPTS
    assert table.partition("\n")[0] in constants(path)


def test_figures_of_the_page_are_drawn_by_its_scripts():
    drawn = {text for path in SCRIPTS for text in constants(path) if str(text).endswith(".png")}
    assert set(re.findall(r"figures/(\w+\.png)", TEXT)) == drawn


def test_every_section_is_found_from_the_list_of_topics():
    topics, *sections = TEXT.split("\n## ")[1:]
    titles = [section.partition("\n")[0] for section in sections]
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", topics)) == anchors
    for section in sections:
        assert "**Answer.**" in section
        assert "**Evidence**" in section
        assert "**What would change it.**" in section


@pytest.fixture
def names_of(monkeypatch):
    """Return a function that returns what a script defines."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return lambda stem: runpy.run_path(str(FOLDER / f"{stem}.py"))


@pytest.mark.parametrize("stem", CHEAP)
def test_script_prints_the_tables_of_the_page(stem, tmp_path):
    done = Script(FOLDER / f"{stem}.py", tmp_path).end(limit=240)
    assert done.returncode == 0, done.stderr
    printed = run.tables(done.stdout)
    shown = [table for command, table in TABLES if command == f"experiments/{stem}.py"]
    assert len(shown) == len(printed)
    for table in shown:
        assert_near(table, printed[table.partition("\n")[0]])


def assert_near(shown, printed):
    """Compare tables: words as they are, numbers as near as processors leave those of training."""
    assert NUMBER.sub("0", shown) == NUMBER.sub("0", printed)
    for a, b in zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True):
        assert float(a.replace(",", "")) == pytest.approx(
            float(b.replace(",", "")), rel=0.05, abs=0.012
        ), f"{shown}\n{printed}"


def test_the_law_of_the_error_on_spheres(names_of):
    names = names_of("spheres")
    names["check_tail"]()
    # All coefficients but one negative: the nearest error is on the cone around that axis.
    c, x = np.array([1.0, -0.25, -0.25]), np.array([[0.0, 0.6, 0.8], [0.1, 0.3, np.sqrt(0.9)]])
    half_angle = np.arctan(2.0)  # z_1^2 = (z_2^2 + z_3^2) / 4, from the axis
    angles = np.arccos(x[:, 0]) - half_angle
    found = names["distances_to_errors"](c, x + np.array([[1e-9, 0, 0], [0, 0, 0]]))
    assert found == pytest.approx(2.0 * np.sin(angles / 2.0), abs=1e-6)


def test_the_best_embedding_of_a_sample(names_of):
    import torch

    names = names_of("embedding")
    x = torch.tensor([[0.0, 0.0], [0.0, 5.0], [3.0, 0.0], [9.0, 1.0], [0.0, 9.0]])
    assert names["simplex_map"](x, torch.tensor([0, 0, 1, 1, 2])) == pytest.approx(3.0)


PAGE = """\
## One

Words (`experiments/a.py --full`, and `experiments/a.py`), and then `experiments/a.py --full`.

| x | y |
|---|---|
| old | 1 |

| z |
|---|
| old |

## Two

| no | script |
|---|---|
"""


def test_tables_are_written_from_what_is_printed():
    printed = {
        "experiments/a.py --full": "words\n| z |\n|---|\n| 2 |\n\n| x | y |\n|---|---|\n| 3 | 4 |\n"
    }
    page = run.rewrite(PAGE, printed)
    assert page == PAGE.replace("| old | 1 |", "| 3 | 4 |").replace("| old |", "| 2 |")
    assert run.rewrite(PAGE, {"experiments/b.py": ""}) == PAGE
    with pytest.raises(SystemExit, match=r"prints no table with the header\n\| x \| y \|"):
        run.rewrite(PAGE, {"experiments/a.py --full": "| z |\n|---|\n| 2 |\n"})


def test_scripts_leave_the_digits_of_mpmath_as_they_are():
    """Tests that import a script would go on with its digits."""
    for path in SCRIPTS:
        assert "mp.dps =" not in path.read_text(), path.name
