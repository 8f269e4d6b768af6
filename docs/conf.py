"""Sphinx configuration: pages in Markdown, the reference from the docstrings."""

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
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_templates"]
myst_enable_extensions = ["dollarmath"]
templates_path = ["_templates"]
autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
# Methods that scikit-learn generates refer to its own glossary.
suppress_warnings = ["ref.term", "ref.ref"]
html_theme = "pydata_sphinx_theme"
html_title = "infogeo"
