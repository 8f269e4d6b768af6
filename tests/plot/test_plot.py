"""Figures: what they show is what they were given, and the report needs nothing but itself."""

import base64
import io
import math
import subprocess
import sys
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import image as mpl_image
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from infogeo import plot
from infogeo.plot import report
from infogeo.pullback.metric import Spectrum


@pytest.fixture(autouse=True)
def _no_open_figures():
    yield
    plt.close("all")


def axes():
    return Figure().subplots()


# ---------------------------------------------------------------- ternary coordinates


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([1.0, 0.0, 0.0], (0.0, 0.0)),
        ([0.0, 1.0, 0.0], (1.0, 0.0)),
        ([0.0, 0.0, 1.0], (0.5, math.sqrt(0.75))),
        ([1 / 3, 1 / 3, 1 / 3], (0.5, math.sqrt(0.75) / 3.0)),
    ],
)
def test_ternary_corners_and_centroid(p, expected):
    np.testing.assert_allclose(plot.to_ternary(p), expected, rtol=0, atol=2e-16)


weights = st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3)


@given(weights, weights, st.floats(0.0, 1.0))
def test_ternary_mixtures_are_straight(a, b, t):
    p, q = np.asarray(a) / np.sum(a), np.asarray(b) / np.sum(b)
    mixed = plot.to_ternary((1.0 - t) * p + t * q)
    np.testing.assert_allclose(
        mixed, (1.0 - t) * plot.to_ternary(p) + t * plot.to_ternary(q), atol=1e-15
    )


def test_ternary_keeps_batch_axes_library_and_dtype():
    p = torch.full((4, 2, 3), 1 / 3, dtype=torch.float32)
    at = plot.to_ternary(p)
    assert (at.shape, at.dtype) == ((4, 2, 2), torch.float32)


def test_ternary_ignores_rounding_of_the_sum():
    p = np.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(
        plot.to_ternary(p * (1.0 + 1e-6)), plot.to_ternary(p), rtol=0, atol=1e-15
    )


@pytest.mark.parametrize(
    ("p", "message"),
    [
        ([0.5, 0.5], "p must have 3 outcomes along its last axis: it has 2"),
        (np.full((2, 4), 0.25), "it has 4. Sum outcomes into three groups"),
        ([0.5, 0.5, 0.5], "p must hold probabilities"),
        ([1.5, -0.25, -0.25], "use infogeo.logits"),
        ([0.5, 0.5, math.nan], "NaN"),
    ],
)
def test_ternary_bad_input(p, message):
    with pytest.raises(ValueError, match=message):
        plot.to_ternary(p)


# ---------------------------------------------------------------- ternary axes


def to_probabilities(x, y):
    """Solve the two equations of the chart, together with the sum."""
    chart = np.array([[0.0, 1.0, 0.5], [0.0, 0.0, math.sqrt(0.75)], [1.0, 1.0, 1.0]])
    return np.linalg.solve(chart, np.stack([x, y, np.ones_like(x)]))


def test_simplex_draws_on_the_axes_given_and_opens_nothing():
    ax = axes()
    assert plot.simplex(ax) is ax
    assert plt.get_fignums() == []


def test_simplex_makes_one_figure():
    ax = plot.simplex()
    assert ax.figure is plt.figure(plt.get_fignums()[0])
    assert len(plt.get_fignums()) == 1


def test_simplex_is_equilateral_and_labelled():
    ax = plot.simplex(axes(), labels=("cat", "dog", "owl"))
    assert ax.get_aspect() == 1.0
    labels = {text.get_text(): text.xy for text in ax.texts if hasattr(text, "xy")}
    assert labels == {
        "cat": pytest.approx((0.0, 0.0)),
        "dog": pytest.approx((1.0, 0.0)),
        "owl": pytest.approx((0.5, math.sqrt(0.75))),
    }


@pytest.mark.parametrize("names", [("$a", "b$ $", "100 %"), ("x" * 60, "two words " * 9, "c\nd")])
def test_simplex_shows_any_name(names):
    ax = plot.simplex(labels=names)
    ax.figure.canvas.draw()  # long names once left no room for the triangle
    shown = [text.get_text() for text in ax.texts if hasattr(text, "xy")]
    assert ax.get_window_extent().width > 0.5 * ax.figure.bbox.width
    assert max(len(row) for text in shown for row in text.splitlines()) <= 16
    for name, text in zip(names, shown, strict=True):
        assert text.replace("\n", " ")[:5] == repr(name)[:5] if "\n" in name else name[:5]


def test_simplex_sets_mathematics():
    ax = plot.simplex(axes(), labels=("$p_1$", "$p_2$", "$p_3$"))
    assert all(text.get_parse_math() for text in ax.texts)


def test_simplex_numbers_lie_on_the_lines_they_name():
    """A number stands outside the triangle where its outcome has that probability."""
    ax = plot.simplex(axes())
    numbers = [text for text in ax.texts if not hasattr(text, "xy")]
    found = []
    for text in numbers:
        p = to_probabilities(*map(np.asarray, text.get_position()))
        assert p.min() < 0.0
        named = [i for i in range(3) if abs(p[i] - float(text.get_text())) < 1e-12]
        assert len(named) == 1
        found.append((named[0], float(text.get_text())))
    assert sorted(found) == [(i, level) for i in range(3) for level in (0.2, 0.4, 0.6, 0.8)]


def test_simplex_grid_lines_are_level_lines_from_edge_to_edge():
    ax = plot.simplex(axes())
    levels = []
    for line in ax.lines:
        p = to_probabilities(*line.get_data())
        constant = [i for i in range(3) if np.ptp(p[i]) < 1e-12]
        if p.shape[1] == 2 and p.min() > -1e-12:
            assert len(constant) == 1
            levels.append((constant[0], round(float(p[constant[0], 0]), 12)))
            np.testing.assert_allclose(p.min(axis=0), 0.0, atol=1e-12)  # both ends on an edge
    assert sorted(levels) == [(i, level) for i in range(3) for level in (0.2, 0.4, 0.6, 0.8)]


def test_simplex_cursor_reads_probabilities():
    ax = plot.simplex(axes())
    assert ax.format_coord(*plot.to_ternary([0.2, 0.3, 0.5])) == "p = (0.200, 0.300, 0.500)"


def test_simplex_needs_three_labels():
    with pytest.raises(ValueError, match="labels must name the 3 outcomes: got 2"):
        plot.simplex(axes(), labels=("a", "b"))


# ---------------------------------------------------------------- sensitivity


def spectrum(rng, *shape, num_values=2):
    vectors = rng.standard_normal((shape[0], num_values, *shape[1:]))
    values = np.sort(rng.uniform(0.5, 4.0, (shape[0], num_values)))[:, ::-1]
    return Spectrum(values.copy(), vectors, 1.0)


def test_sensitivity_shows_the_image_and_the_direction(rng):
    x = rng.random((3, 5, 4))
    found = spectrum(rng, 3, 5, 4)
    ax = axes()
    assert plot.sensitivity(x, found, index=2, component=1, ax=ax) is ax
    image, overlay = ax.images
    np.testing.assert_array_equal(image.get_array(), x[2])
    np.testing.assert_array_equal(overlay.get_array(), found.vectors[2, 1])
    assert plt.get_fignums() == []


def test_sensitivity_colours_are_symmetric_and_labelled(rng):
    x, found = rng.random((1, 4, 4)), spectrum(rng, 1, 4, 4)
    ax = plot.sensitivity(x, found, ax=axes())
    overlay = ax.images[-1]
    low, high = overlay.get_clim()
    assert -low == high == abs(found.vectors[0, 0]).max()
    assert overlay.colorbar.ax.get_ylabel() == "direction (unit norm)"
    opacity = overlay.get_alpha()
    assert opacity.shape == (4, 4)
    np.testing.assert_array_equal(
        np.argsort(opacity.ravel())[-1], abs(overlay.get_array()).argmax()
    )


def test_sensitivity_title_is_the_root_of_the_eigenvalue(rng):
    found = Spectrum(np.array([[2.25, 0.0144]]), rng.standard_normal((1, 2, 3, 3)), 1.0)
    x = rng.random((1, 3, 3))
    for component, number in ((0, "1.5 rad"), (1, "0.12 rad"), (-1, "0.12 rad")):
        ax = plot.sensitivity(x, found, component=component, ax=axes())
        assert number in ax.get_title()


def test_sensitivity_of_channels_shows_the_strongest_entry():
    direction = np.array([[[[[0.1, -0.2]], [[-0.3, 0.1]], [[0.2, 0.15]]]]])
    x = np.array([[[[0.0, 0.3]], [[0.6, 0.3]], [[0.0, 0.6]]]])
    ax = plot.sensitivity(x, Spectrum(np.ones((1, 1)), direction, 1.0), ax=axes())
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.2, 0.4]])
    np.testing.assert_array_equal(ax.images[1].get_array(), [[-0.3, -0.2]])


def test_sensitivity_takes_torch_with_gradients(rng):
    x = torch.tensor(rng.random((2, 1, 4, 4)), dtype=torch.float32, requires_grad=True)
    numbers = spectrum(rng, 2, 1, 4, 4)
    found = Spectrum(torch.tensor(numbers.values), torch.tensor(numbers.vectors), 1.0)
    ax = plot.sensitivity(x, found, ax=axes())
    np.testing.assert_array_equal(ax.images[1].get_array(), numbers.vectors[0, 0, 0])


def test_sensitivity_of_a_zero_that_was_rounded(rng):
    found = Spectrum(np.array([[-1e-20]]), rng.standard_normal((1, 1, 3, 3)), 1.0)
    assert "moves 0 rad" in plot.sensitivity(rng.random((1, 3, 3)), found, ax=axes()).get_title()


def test_sensitivity_of_a_constant_image_and_no_direction():
    ax = plot.sensitivity(
        np.full((1, 2, 2), 0.5), Spectrum(np.zeros((1, 1)), np.zeros((1, 1, 2, 2)), 1.0), ax=axes()
    )
    ax.figure.canvas.draw()
    assert "moves 0 rad" in ax.get_title()


@pytest.mark.parametrize(
    ("x", "keywords", "error", "message"),
    [
        (
            np.zeros((2, 16)),
            {},
            ValueError,
            r"x must hold images.* its shape is \(2, 16\).*Flatten",
        ),
        (np.zeros((3, 4, 4)), {}, ValueError, "x and spectrum must belong together"),
        (np.zeros((2, 4, 5)), {}, ValueError, r"spectrum.vectors \(2, 2, 4, 4\)"),
        (np.full((2, 4, 4), math.nan), {}, ValueError, "x must be finite"),
        (np.zeros((2, 4, 4)), {"index": 2}, IndexError, "index must be below 2: got 2"),
        (np.zeros((2, 4, 4)), {"component": 5}, IndexError, "component must be below 2: got 5"),
        ("image.png", {}, TypeError, "x must be an array"),
    ],
)
def test_sensitivity_bad_input(rng, x, keywords, error, message):
    with pytest.raises(error, match=message):
        plot.sensitivity(x, spectrum(rng, 2, 4, 4), ax=axes(), **keywords)


# ---------------------------------------------------------------- report


class Page(HTMLParser):
    """What a page refers to, and its text."""

    def __init__(self, text):
        super().__init__()
        self.references, self.tags, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [
            value for name, value in attributes if name in ("src", "href", "srcset", "action")
        ]

    def handle_data(self, data):
        self.words.append(data)


def png_of_size(width, height):
    return report.to_png(Figure(figsize=(width / 100, height / 100)), dpi=100)


def test_page_is_self_contained_and_its_images_are_whole():
    page = Page(
        report.page(
            "A title",
            report.section(
                "Part one",
                report.paragraph("Text."),
                report.figure(png_of_size(40, 30), caption="Shown.", description="a figure"),
            ),
            report.table(["a", "b"], [[1, 2]], caption="Counted."),
        )
    )
    (reference,) = page.references
    head, _, data = reference.partition(",")
    assert head == "data:image/png;base64"
    assert mpl_image.imread(io.BytesIO(base64.b64decode(data))).shape[:2] == (30, 40)
    assert {"script", "link", "iframe"}.isdisjoint(page.tags)
    for words in ("A title", "Part one", "Text.", "Shown.", "Counted."):
        assert words in page.words


def test_style_loads_nothing():
    text = report.page("t")
    assert "url(" not in text
    assert "@import" not in text


def test_text_is_escaped_everywhere():
    evil = "<b onclick='x'>&\"</b>"
    text = report.page(
        evil,
        report.section(
            evil,
            report.paragraph(evil),
            report.table([evil], [[evil]], caption=evil),
            report.figure(png_of_size(10, 10), caption=evil, description=evil),
        ),
    )
    page = Page(text)
    assert "b" not in page.tags
    assert page.words.count(evil) == 8  # the title twice, and all but the description


def test_tables_are_rectangular():
    with pytest.raises(ValueError, match="each of the 2 columns: row 1 has 1"):
        report.table(["a", "b"], [[1, 2], [3]])


def test_figures_are_png():
    with pytest.raises(ValueError, match="png must hold a PNG image"):
        report.figure(b"GIF89a", caption="", description="")


def test_png_is_reproducible():
    assert png_of_size(50, 20) == png_of_size(50, 20)


def test_files_are_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = report.write_file(tmp_path / "a.txt", "old")
    report.write_file(path, "new, with ü")
    assert path.read_text(encoding="utf-8") == "new, with ü"
    monkeypatch.setattr("pathlib.Path.replace", _no_space)
    with pytest.raises(OSError, match="No space"):
        report.write_file(path, "newer")
    assert path.read_text(encoding="utf-8") == "new, with ü"
    assert list(tmp_path.iterdir()) == [path]


def _no_space(*_):
    raise OSError(28, "No space left on device")


# ---------------------------------------------------------------- without matplotlib


def test_missing_matplotlib_names_the_extra():
    code = "import sys; sys.modules['matplotlib'] = None; import infogeo.plot"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: infogeo.plot needs matplotlib: pip install 'infogeo[plot]'"
    )


def test_plots_leave_the_style_alone(rng):
    before = dict(mpl.rcParams)
    plot.simplex(axes())
    plot.sensitivity(rng.random((1, 3, 3)), spectrum(rng, 1, 3, 3), ax=axes())
    assert dict(mpl.rcParams) == before
