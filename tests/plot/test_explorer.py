"""The interactive map: what the page is told, and what a browser makes of it."""

import base64
import json
import math
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch

from infogeo import logits, neighbors, pullback
from infogeo.plot import explorer, report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def example(rng):
    """Return logits, images, their spectrum and labels of twelve inputs."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(20, 3)).double()
    x = torch.tensor(rng.random((12, 4, 5)))
    spectrum = pullback.PullbackMetric(model).spectrum(x)
    z = model(x).detach()
    return 4.0 * z, x, spectrum, (z.argmax(-1) + (torch.arange(12) == 3)).remainder(3).tolist()


def told(block):
    """Return what the page is told."""
    (content,) = re.findall(r'<script type="application/json">(.*?)</script>', block, re.DOTALL)
    return json.loads(content)


def test_numbers_of_the_page_are_those_of_the_library(example):
    z, x, spectrum, labels = example
    data = told(explorer.explorer(z, inputs=x, spectrum=spectrum, labels=labels))
    matrix = neighbors.pairwise_distance(z.numpy(), space=logits)
    for i, row in enumerate(data["nearest"]):
        order = np.argsort(np.where(np.arange(12) == i, np.inf, matrix[i]), kind="stable")
        assert [j for j, _ in row] == order[:5].tolist()
        np.testing.assert_allclose([d for _, d in row], matrix[i, order[:5]], rtol=1e-5)
    p = logits.to_simplex(z)
    for i, row in enumerate(data["probabilities"]):
        assert [k for k, _ in row] == p[i].argsort(descending=True).tolist()
        np.testing.assert_allclose(sum(value for _, value in row), 1.0, atol=3e-6)
    np.testing.assert_allclose(data["speeds"], spectrum.values[:, :3].sqrt(), rtol=1e-3)
    placed = np.array(data["positions"])
    in_plane = np.linalg.norm(placed[:, None] - placed, axis=-1)
    assert np.corrcoef(in_plane.ravel(), matrix.ravel())[0, 1] > 0.95


def test_pixels_are_those_of_the_images(example):
    z, x, spectrum, _ = example
    data = told(explorer.explorer(z, inputs=x, spectrum=spectrum))
    shown = np.frombuffer(base64.b64decode(data["images"]["pixels"]), np.uint8).reshape(12, 4, 5)
    ink = (x - x.min()) / (x.max() - x.min())
    np.testing.assert_allclose(shown, 255.0 * (1.0 - ink), atol=1.0)
    drawn = np.frombuffer(base64.b64decode(data["directions"]["pixels"]), np.uint8)
    drawn = (drawn.reshape(12, -1, 4, 5)[:, 0].astype(float) - 128.0) / 127.0
    top = spectrum.vectors[:, 0].numpy()
    np.testing.assert_allclose(drawn, top / np.abs(top).max((1, 2), keepdims=True), atol=0.01)


def test_large_and_coloured_images_are_averaged_down(rng):
    images = rng.random((2, 3, 130, 100))
    data = told(explorer.explorer([[1.0, 0.0], [0.0, 1.0]], inputs=images))
    assert (data["images"]["height"], data["images"]["width"]) == (43, 33)
    assert data["images"]["channels"] == 3
    pixels = base64.b64decode(data["images"]["pixels"])
    first = images[0, 0, :3, :3].mean()
    low, high = (f(told_average(images)) for f in (np.min, np.max))
    assert pixels[0] == round(255.0 * (first - low) / (high - low))


def told_average(images):
    return images[..., :129, :99].reshape(2, 3, 43, 3, 33, 3).mean((3, 5))


@pytest.mark.parametrize("channels", [1, 3])
def test_missing_pixels_are_marked_and_change_no_other(rng, channels):
    images = rng.random((2, channels, 6, 5))
    holed = images.copy()
    holed[0, 0, 2, 3], holed[1, -1, 0, 0] = np.nan, np.inf
    z = [[1.0, 0.0], [0.0, 1.0]]
    whole, data = (told(explorer.explorer(z, inputs=x))["images"] for x in (images, holed))
    assert whole["missing"] is None
    missing = np.frombuffer(base64.b64decode(data["missing"]), np.uint8).reshape(2, 6, 5)
    assert [tuple(at) for at in np.argwhere(missing)] == [(0, 2, 3), (1, 0, 0)]
    before, after = (np.frombuffer(base64.b64decode(d["pixels"]), np.uint8) for d in (whole, data))
    seen = np.isfinite(holed).ravel()
    low, high = holed[np.isfinite(holed)].min(), holed[np.isfinite(holed)].max()
    assert (low, high) == (images.min(), images.max())
    np.testing.assert_array_equal(after[seen], before[seen])


def test_averages_are_over_what_is_there(rng):
    images = rng.random((2, 96, 96))
    images[0, :2, :2] = np.nan
    images[1, 0, 0] = -np.inf
    data = told(explorer.explorer([[1.0, 0.0], [0.0, 1.0]], inputs=images))["images"]
    missing = np.frombuffer(base64.b64decode(data["missing"]), np.uint8).reshape(2, 48, 48)
    assert [tuple(at) for at in np.argwhere(missing)] == [(0, 0, 0)]
    pixels = np.frombuffer(base64.b64decode(data["pixels"]), np.uint8).reshape(2, 48, 48)
    means = images.reshape(2, 48, 2, 48, 2).mean((2, 4))
    means[1, 0, 0] = (images[1, 0, 1] + images[1, 1, 0] + images[1, 1, 1]) / 3.0
    low, high = np.nanmin(means), np.nanmax(means)
    ink = 255 - pixels.astype(float)
    np.testing.assert_allclose(ink[1], 255.0 * (means[1] - low) / (high - low), atol=0.51)


def test_images_without_a_single_value_are_all_missing():
    x = np.full((2, 3, 3), np.nan)
    data = told(explorer.explorer([[1.0, 0.0], [0.0, 1.0]], inputs=x))["images"]
    assert set(base64.b64decode(data["missing"])) == {1}


@pytest.mark.parametrize("name", ["values", "vectors"])
def test_a_spectrum_has_to_be_finite(example, name):
    z, x, spectrum, _ = example
    getattr(spectrum, name)[3] = math.nan
    with pytest.raises(ValueError, match=f"spectrum.{name} must be finite"):
        explorer.explorer(z, inputs=x, spectrum=spectrum)


def test_text_cannot_leave_its_element():
    name = "</script><script>alert(1)</script>"
    block = explorer.explorer([[1.0, 0.0], [0.0, 1.0]], classes=[name, "b"])
    assert block.count("</script>") == 2
    assert told(block)["classes"][0] == name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"z": [[1.0, 0.0]]}, "two or more rows"),
        ({"z": [[1.0, np.nan], [0.0, 1.0]]}, "NaN"),
        ({"z": np.eye(3), "labels": [0]}, "labels must have 3 entries: it has 1"),
        ({"z": np.eye(3), "classes": ["a"]}, "classes must have 3 entries"),
        ({"z": np.eye(3), "inputs": np.zeros((2, 4, 4))}, "inputs must have 3 entries"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        explorer.explorer(**arguments)


def in_browser(path, address, script=""):
    """Return the page's content after a browser has run it, and a script of ours."""
    path.write_text(path.read_text().replace("</body>", f"<script>{script}</script></body>"))
    run = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            f"--user-data-dir={path.parent / 'browser'}",
            "--dump-dom",
            f"file://{path}{address}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return re.sub(r"<script.*?</script>", "", run.stdout, flags=re.DOTALL)


AT = """
const mapOf = (n) => document.querySelectorAll(".explorer svg")[n];
const at = (number, kind, n = 0) => {
  const sign = mapOf(n).querySelector(`[data-input="${number}"] .halo`).getBoundingClientRect();
  const place = { clientX: sign.x + sign.width / 2, clientY: sign.y + sign.height / 2 };
  mapOf(n).dispatchEvent(new MouseEvent(kind, { ...place, bubbles: true }));
};
const chosen = (n) => mapOf(n).querySelector(".selected")?.dataset.input
"""


@pytest.fixture
def page(example, tmp_path):
    z, x, spectrum, labels = example
    block = explorer.explorer(
        z, inputs=x, spectrum=spectrum, labels=labels, classes=["cat", "dog", "eel"]
    )
    path = tmp_path / "page.html"
    path.write_text(report.page("Map", block))
    return path


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_a_browser_shows_what_is_pointed_at_and_selected(page, example):
    z = example[0]
    nothing = in_browser(page, "")
    assert nothing.count('data-input="') == 12
    assert "Point at one" in nothing
    assert nothing.count('class="point wrong"') == 1
    selected = in_browser(page, "#input-7")
    assert "<h3>input 7" in selected
    assert "most sensitive directions" in selected
    assert selected.count("<canvas") == 1 + min(3, example[2].values.shape[1]) + 5
    name = ["cat", "dog", "eel"][int(z[7].argmax())]
    assert f"predicted: {name}" in selected
    pointed = in_browser(page, "", f"{AT}; at(4, 'pointermove')")
    assert "<h3>input 4" in pointed
    assert "most sensitive directions" not in pointed


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_clicks_and_keys_walk_from_one_to_the_next(page, example):
    nearest = told(page.read_text())["nearest"][2][0][0]
    walked = in_browser(page, "#input-2", "document.querySelector('.nearest button').click()")
    assert f"<h3>input {nearest}" in walked
    key = "new KeyboardEvent('keydown', {key: 'ArrowRight'})"
    page.write_text(
        page.read_text().replace("document.querySelector('.nearest button').click()", "")
    )
    next_one = in_browser(page, "#input-2", f"document.querySelector('svg').dispatchEvent({key})")
    assert "<h3>input 3" in next_one


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_inputs_in_one_place_are_all_reached_by_clicks_the_list_and_zoom(tmp_path):
    positions = [[0.0, 0.0]] * 4 + [[1.0, 1.0], [-1.0, 0.5], [0.02, 0.0]]
    z = np.linspace(0.0, 1.0, 7)[:, None] * [1.0, -1.0]
    path = tmp_path / "page.html"
    path.write_text(report.page("Map", explorer.explorer(z, positions=positions)))
    shown = in_browser(
        path,
        "",
        f"{AT}; const seen = []; "
        "for (let i = 0; i < 6; i++) { at(0, 'click'); seen.push(chosen(0)); } "
        "const listed = [...document.querySelectorAll('option')].map((x) => x.value); "
        "document.querySelector('[title=\"zoom in\"]').click(); "
        "const size = mapOf(0).getAttribute('viewBox').split(' ')[2]; "
        "for (let i = 0; i < 4; i++) document.querySelector('[title=\"zoom in\"]').click(); "
        "const apart = document.querySelectorAll('.places button').length; at(6, 'click'); "
        "document.title = [seen, listed, size, apart, chosen(0)].join('|')",
    )
    seen, listed, size, beside, last = re.search("<title>(.*?)</title>", shown)[1].split("|")
    assert set(seen.split(",")) == {"0", "1", "2", "3", "6"}
    assert listed == ",0,1,2,3,4,5,6"
    assert size == "260"
    assert beside == "4"
    assert last == "6"


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_long_words_and_names_stay_within_the_page(tmp_path):
    path, names = tmp_path / "map.html", ["golden retriever " * 9, "x" * 90]
    z = np.random.default_rng(0).normal(size=(9, 2))
    block = report.section("y" * 90, explorer.explorer(z, classes=names))
    path.write_text(report.page("z" * 90, block))
    script = (
        "const wide = [...document.querySelectorAll('.nearest button')].map(b => b.offsetWidth); "
        "const page = document.documentElement; "
        "document.title = [page.scrollWidth <= page.clientWidth, Math.max(...wide) < 200]"
    )
    (title,) = re.findall("<title>(.*?)</title>", in_browser(path, "#input-0", script))
    assert title == "true,true"


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_two_maps_and_a_table_show_the_same_input(example, tmp_path):
    z, x, spectrum, _ = example
    first = explorer.explorer(z, inputs=x, spectrum=spectrum)
    second = explorer.explorer(-z[2:], inputs=x[2:], numbers=range(2, 12))
    table = report.table(["input"], [[7], [0]], inputs=[7, 0])
    path = tmp_path / "page.html"
    path.write_text(report.page("Maps", first, second, table))
    told_of = (
        "document.title = [chosen(0), chosen(1), mapOf(1).querySelector('.pointed')?.dataset.input,"
        " [...document.querySelectorAll('tr.marked')].map((row) => row.dataset.input)].join('|')"
    )
    for script, expected in (
        ("at(7, 'click')", "7|7||7"),
        ("at(7, 'click', 1)", "7|7||7"),
        ("at(7, 'pointermove')", "||7|7"),
        ("at(7, 'click', 1); at(0, 'click')", "0|7||0"),  # the second map has no input 0
        (
            "document.querySelector('td a').click(); dispatchEvent(new Event('hashchange'))",
            "7|7||7",
        ),
    ):
        path.write_text(report.page("Maps", first, second, table))
        shown = in_browser(path, "", f"{AT}; {script}; {told_of}")
        assert re.search("<title>(.*?)</title>", shown)[1] == expected, script


def test_colours_of_classes_are_seen_on_white_and_on_black():
    """The contrast of WCAG 2 with both papers of the map is at least 3."""
    papers = ["#fafafa", "#1c1f23"]
    style = report.page("", "")
    assert all(f"--panel: {paper}" in style for paper in papers)
    for colour in told(explorer.explorer(np.eye(10)))["colours"]:
        for paper in papers:
            one, other = sorted(map(luminance, (colour, paper)))
            assert (other + 0.05) / (one + 0.05) >= 3.0, (colour, paper)


def luminance(colour):
    levels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_a_browser_leaves_missing_pixels_transparent(example, tmp_path):
    z, x, *_ = example
    x[5, 1, 2] = math.nan
    path = tmp_path / "page.html"
    path.write_text(report.page("Map", explorer.explorer(z, inputs=x)))
    alphas = (
        "const c = document.querySelector('canvas'), a = []; "
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; "
        "for (let i = 3; i < d.length; i += 4) a.push(d[i]); document.title = a.join(' ')"
    )
    for chosen in (5, 6):
        shown = in_browser(path, f"#input-{chosen}", alphas)
        (title,) = re.findall("<title>(.*?)</title>", shown)
        expected = np.full((4, 5), 255)
        expected[1, 2] = 0 if chosen == 5 else 255
        assert [int(alpha) for alpha in title.split()] == expected.ravel().tolist()
        assert (f"input {chosen}, hatched where missing" in shown) == (chosen == 5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"labels": [0, 7]}, "labels must hold numbers of classes, from 0 to 1: entry 1 is 7"),
        ({"labels": [0, -1]}, "labels must hold"),
        ({"positions": [[np.nan, 0.0], [0.0, 0.0]]}, "positions must hold two finite numbers"),
        ({"positions": [0.0, 1.0]}, "positions must hold two finite numbers"),
        ({"numbers": [7, 7]}, "numbers must be different: 7 is there twice"),
    ],
)
def test_what_a_page_could_not_show_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        explorer.explorer([[0.0, 1.0], [1.0, 0.0]], **arguments)
