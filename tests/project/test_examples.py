"""The examples run from start to end, without a display and from any folder."""

import ast
import json
from pathlib import Path

import pytest
from forked import Script

FOLDER = Path(__file__).parent.parent.parent / "examples"
EXAMPLES = sorted(FOLDER.rglob("*.py"))
# What a kernel of Jupyter is started with stands in sys.argv of the notebook of an example.
OF_A_KERNEL = ("-f", "kernel-1234.json")
ELSEWHERE = {"conditional_max_entropy.py"}  # test_example_conditional.py runs it, and reads more


def test_examples_are_grouped_and_each_group_has_a_title():
    assert EXAMPLES
    groups = {path.parent for path in EXAMPLES}
    assert all(group.parent == FOLDER for group in groups)
    for group in groups:
        title, line, empty, *text = (group / "GALLERY_HEADER.rst").read_text().splitlines()
        assert line == "-" * len(title)
        assert not empty
        assert text


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
    """Also as a notebook, whose arguments it does not know; its figure is its own thumbnail."""
    run = Script(path, tmp_path, *OF_A_KERNEL).end(limit=240)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip(), "an example says what it found"
    figures = list(tmp_path.glob("*.png"))
    assert figures, "an example draws a figure"
    # The gallery runs it in its own folder, and takes the figures away.
    assert set(tmp_path.iterdir()) == set(figures), "an example leaves nothing else"
    name = path.stem.removeprefix("plot_")
    assert any(figure.stem.startswith(name) or name in figure.stem for figure in figures)


@pytest.mark.campaign
@pytest.mark.parametrize(
    "name", ["predictions/plot_counts_over_time.py", "maximum_entropy/raking.py"]
)
def test_notebooks_run(name, tmp_path):
    """What the gallery offers to download, executed cell by cell in a kernel."""
    gallery = pytest.importorskip("sphinx_gallery.notebook")
    blocks = pytest.importorskip("sphinx_gallery.py_source_parser")
    nbformat, nbclient = (pytest.importorskip(module) for module in ("nbformat", "nbclient"))
    pytest.importorskip("ipykernel")
    from sphinx_gallery.gen_gallery import DEFAULT_GALLERY_CONF

    _, parts = blocks.split_code_and_text_blocks(str(FOLDER / name))
    made = gallery.jupyter_notebook(parts, dict(DEFAULT_GALLERY_CONF), str(tmp_path))
    notebook = nbformat.reads(json.dumps(made), as_version=4)
    kinds = [cell.cell_type for cell in notebook.cells]
    assert "code" in kinds
    assert "markdown" in kinds
    folder = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=240, resources=folder).execute()
    assert list(tmp_path.glob("*.png"))
