"""Sphinx configuration: pages in Markdown, the reference from the docstrings."""

import collections
import re
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
exclude_patterns = ["_build", "_templates", "examples/**/*.ipynb", "examples/**/*.py"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# MathJax 3.2.2 lies in the folder _static: the pages load nothing from a network.
mathjax_path = "mathjax/tex-svg.js"
templates_path = ["_templates"]
autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
# Methods that scikit-learn generates refer to its own glossary.
suppress_warnings = ["ref.term", "ref.ref", "config.cache"]
html_theme = "pydata_sphinx_theme"
html_title = "infogeo"
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_theme_options = {
    "logo": {"text": "infogeo"},
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "show_prev_next": False,
}
# The pages of the top row that have no pages below them need no list of those.
html_sidebars = {page: [] for page in ("index", "getting_started", "benchmarks")}


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
    "nested_sections": False,
    "subsection_order": [
        f"../examples/{group}"
        for group in ("predictions", "distributions", "maximum_entropy", "networks")
    ],
    "download_all_examples": False,
    "write_computation_times": False,  # that page loads tables from a network
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "plot_gallery": True,
}


def names_of(objects):
    """Return the entries of the reference by every name that means one of them alone.

    `maxent.balance` and `balance` mean ``infogeo.maxent.balance``, as nothing else is called so.
    Methods and modules are often called by words of daily life, so that they need their class or
    their package.
    """
    found = collections.defaultdict(dict)
    for full_name, entry in objects.items():
        package, *parts = full_name.removeprefix("infogeo.").split(".")
        if package != "results":  # it lists again what other modules define
            for i in range(len(parts) + 1):
                found[".".join([package, *parts][i:])][entry.docname, entry.node_id] = entry
    alone = {
        name: next(iter(entries.values())) for name, entries in found.items() if len(entries) == 1
    }
    kinds = {"function", "class", "exception"}
    return {
        name: entry for name, entry in alone.items() if "." in name or entry.objtype in kinds
    } | dict(objects)


def link_names(app, doctree, docname):
    """Make a link to the reference of each name in backticks, `simplex.norm(p, v)` for example."""
    from docutils import nodes

    names = names_of(app.env.domains["py"].objects)
    for kind in (nodes.literal, nodes.title_reference):
        for node in list(doctree.findall(kind)):
            name = re.fullmatch(r"([A-Za-z_][\w.]*)(\(.*\))?", node.astext())
            entry = names.get(name[1]) if name else None
            around = (nodes.reference, nodes.title)
            if entry is None or entry.docname == docname or isinstance(node.parent, around):
                continue
            uri = f"{app.builder.get_relative_uri(docname, entry.docname)}#{entry.node_id}"
            shown = nodes.literal("", node.astext(), classes=["py"])
            node.replace_self(nodes.reference("", "", shown, refuri=uri, internal=True))


def break_titles_at_dots(app, doctree, docname):
    """Let the titles of the reference, which are long names, break after a dot only."""
    from docutils import nodes

    if docname.startswith("generated/"):
        title = next(doctree.findall(nodes.title))
        *packages, name = title.astext().split(".")
        pieces = [(nodes.Text(f"{x}."), nodes.raw("", "<wbr>", format="html")) for x in packages]
        title.children = []
        title.extend([piece for pair in pieces for piece in pair] + [nodes.Text(name)])


def setup(app):
    """Connect what is done to each page before it is written."""
    app.connect("doctree-resolved", link_names)
    app.connect("doctree-resolved", break_titles_at_dots)
