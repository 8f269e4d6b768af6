"""Pages of the documentation: names become links, and nothing is loaded from a network."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import infogeo

DOCS = Path(__file__).parent.parent.parent / "docs"
SETTINGS = """
import sys
sys.path.insert(0, {docs!r})
from conf import mathjax_path, setup
extensions = ["sphinx.ext.autodoc", "sphinx.ext.mathjax"]
html_static_path = [{static!r}]
html_theme = "basic"
"""
PAGES = {
    "index": """
Index
=====

``simplex.norm(p, v)`` and ``infogeo.simplex.norm``, `ExponentialFamily`, ``Family.norm``,
``dimension``, ``norm``, ``numpy.linalg.norm``, ``e_mean``, ``Gamma``, ``fit`` and
``norm of p`` :math:`x^2`.

.. toctree::

   generated/one
""",
    "generated/one": """
simplex.e_mean
==============

.. py:function:: infogeo.simplex.norm(p, v)
.. py:function:: infogeo.simplex.e_mean(p)

   See ``e_mean`` itself.

.. py:function:: infogeo.logits.norm(p, v)
.. py:class:: infogeo.results.ExponentialFamily
.. py:class:: infogeo.manifolds.Gamma
   :canonical: infogeo.manifolds.gamma.Gamma
.. py:class:: infogeo.family.ExponentialFamily
.. py:method:: infogeo.family.ExponentialFamily.fit(x)
.. py:attribute:: infogeo.family.ExponentialFamily.dimension
""",
}


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """Return two pages, as the settings of the documentation make them."""
    source, built = (tmp_path_factory.mktemp(name) for name in ("source", "built"))
    static = str(DOCS / "_static")
    (source / "conf.py").write_text(SETTINGS.format(docs=str(DOCS), static=static))
    (source / "generated").mkdir()
    for name, text in PAGES.items():
        (source / f"{name}.rst").write_text(text)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", source, built]
    subprocess.run([str(x) for x in command], check=True)
    return {name: (built / f"{name}.html").read_text() for name in PAGES} | {"folder": built}


def test_names_of_one_entry_are_links(html):
    text = re.search("</h1>(.*?)</p>", html["index"], flags=re.DOTALL)[1]
    found = re.findall('href="([^"]*)"><code[^>]*>(.*?)</code></a>', text)
    links = {re.sub("<.*?>", "", text): target.partition("#")[2] for target, text in found}
    assert links == {
        "simplex.norm(p, v)": "infogeo.simplex.norm",
        "infogeo.simplex.norm": "infogeo.simplex.norm",
        "ExponentialFamily": "infogeo.family.ExponentialFamily",
        "e_mean": "infogeo.simplex.e_mean",
        "Gamma": "infogeo.manifolds.Gamma",
    }
    itself = re.search("<p>See (.*?) itself.</p>", html["generated/one"])[1]
    assert re.sub("<.*?>", "", itself) == "e_mean"
    assert "href" not in itself


def test_titles_break_after_dots_alone(html):
    assert "<h1>simplex.<wbr>e_mean" in html["generated/one"]


def test_pages_load_nothing_from_a_network(html):
    for name in PAGES:
        loaded = re.findall(r'<(?:script|link|img)[^>]*?(?:src|href)="([^"?#]+)', html[name])
        assert not [x for x in loaded if x.startswith(("http", "//"))]
    (formulas,) = [x for x in re.findall(r'src="([^"?]+)', html["index"]) if "mathjax" in x]
    assert (html["folder"] / formulas).stat().st_size > 1e6


def test_version_citation_and_changelog_agree():
    citation = re.search(r"^version: (.*)$", (DOCS.parent / "CITATION.cff").read_text(), re.M)[1]
    changelog = (DOCS.parent / "CHANGELOG.md").read_text()
    assert infogeo.__version__ == citation == re.search(r"^## (\d.*)$", changelog, re.M)[1]
    for version in re.split("^## ", changelog, flags=re.M)[1:]:
        assert re.findall("^### (.*)$", version, re.M) == ["Added", "Changed", "Fixed"]
    start = changelog.partition("\n### ")[0]
    assert "\n- " not in start, "a change stands under Added, Changed or Fixed of its version"


def test_the_guide_lists_every_page_once():
    listed = re.findall(r"^([a-z_]+)$", (DOCS / "guide.md").read_text(), flags=re.MULTILINE)
    elsewhere = ["index", "guide", "getting_started", "benchmarks"]
    assert sorted(listed + elsewhere) == sorted(page.stem for page in DOCS.glob("*.md"))


def test_the_logo_is_a_small_drawing_in_every_place_that_shows_it():
    text = (DOCS / "_static" / "logo.svg").read_text()
    assert len(text) < 4000
    drawing = ElementTree.fromstring(text)
    assert drawing.tag.endswith("svg")
    assert drawing.find("{http://www.w3.org/2000/svg}title").text
    assert 'src="docs/_static/logo.svg"' in (DOCS.parent / "README.md").read_text()
    assert 'html_logo = "_static/logo.svg"' in (DOCS / "conf.py").read_text()


def test_geodesics_of_the_logo_are_geodesics():
    """Points of the triangle of the logo, back as probabilities, lie on great circles."""
    drawing = ElementTree.parse(DOCS / "_static" / "logo.svg")
    paths = drawing.findall(".//{*}g/{*}path")
    places = [
        np.array([pair.split() for pair in re.split("[ML]", path.get("d").rstrip("Z"))[1:]], float)
        for path in paths
    ]
    (corners,) = [x for x, path in zip(places, paths, strict=True) if len(x) == 3]
    to_shares = np.linalg.inv(np.c_[corners, np.ones(3)])
    blue = [x for x, path in zip(places, paths, strict=True) if path.get("stroke") == "#0072b2"]
    assert len(blue) == 5
    for points in blue:
        p = np.maximum(np.c_[points, np.ones(len(points))] @ to_shares, 0.0)
        assert np.linalg.svd(np.sqrt(p))[1][2] < 0.02  # a plane through 0, to the digits drawn
