"""Sphinx configuration: pages in Markdown, the reference from the docstrings."""

import shutil
from pathlib import Path

import infogeo

project = "infogeo"
author = "The infogeo authors"
copyright = "2026, the infogeo authors"
release = infogeo.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_templates", "examples/*.ipynb", "examples/*.py"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 2
templates_path = ["_templates"]
autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
# Methods that scikit-learn generates refer to its own glossary.
suppress_warnings = ["ref.term", "ref.ref", "config.cache"]
html_theme = "pydata_sphinx_theme"
html_title = "infogeo"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_theme_options = {"header_links_before_dropdown": 4}
# Pages without pages below them need no list of those.
html_sidebars = {page.stem: [] for page in Path(__file__).parent.glob("*.md")}


def written_figures(block, block_vars, gallery_conf):
    """Take the figures that an example has written beside itself into its page."""
    from sphinx_gallery.scrapers import figure_rst

    names = []
    for figure in sorted(Path(block_vars["src_file"]).parent.glob("*.png")):
        name = next(block_vars["image_path_iterator"])
        shutil.move(figure, name)
        names.append(name)
    return figure_rst(names, gallery_conf["src_dir"])


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "examples",
    "filename_pattern": r"\.py$",  # all of them run
    "image_scrapers": (written_figures,),
    "default_thumb_file": str(Path(__file__).parent / "figures" / "start_maxent.png"),
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "plot_gallery": True,
}
