"""Figures of how far predictions moved: every number can be read off, for few rows and many."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from infogeo import plot


@pytest.fixture(autouse=True)
def _no_open_figures():
    yield
    plt.close("all")


def axes():
    return Figure(layout="constrained").subplots()


def drawn(ax):
    ax.figure.canvas.draw()
    return ax


# ---------------------------------------------------------------- distances


def test_the_curve_counts_rows_further_apart(rng):
    d = torch.tensor(rng.gamma(1.0, 0.1, 40), dtype=torch.float32)
    ax = axes()
    assert plot.distances(d, ax=ax) is ax
    assert plt.get_fignums() == []
    at, share = ax.lines[0].get_data()
    for x, y in zip(at, share, strict=True):
        assert y == pytest.approx((d > x).double().mean().item())


@pytest.mark.parametrize("d", [[0.3], [0.0, 0.0], [0.1, 0.2, 0.9], np.full(50, 0.3)])
def test_the_median_is_marked_and_its_text_is_inside(d):
    ax = drawn(plot.distances(d, ax=axes()))
    (median,) = [text for text in ax.texts if text.get_text().startswith("0.5 ")]
    assert median.get_text() == f"0.5 quantile: {np.median(d):.3g}"
    assert median.xy == (np.median(d), 0.5)
    box, frame = median.get_window_extent(), ax.get_window_extent()
    assert frame.x0 <= box.x0 <= box.x1 <= frame.x1
    assert frame.y0 <= box.y0


@pytest.mark.parametrize(("n", "numbers"), [(1, {"1", "0.5"}), (20, {"1", "0.5", "0.2", "0.1"})])
def test_few_distances_have_plain_shares(n, numbers):
    ax = drawn(plot.distances(np.linspace(0.1, 0.2, n), ax=axes()))
    assert numbers <= {label.get_text() for label in ax.get_yticklabels()}
    assert not any(label.get_text() for label in ax.get_yticklabels(minor=True))


# ---------------------------------------------------------------- classes


def test_classes_have_their_quartiles_and_their_largest(rng):
    d, classes = rng.random(60), np.array(["b", "a", "10"] * 20)
    ax = plot.distances_by_class(d, classes.tolist(), ax=axes())
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names == ["10", "a", "b"]
    for place, name in enumerate(names):
        bar, middle, largest = ax.lines[3 * place : 3 * place + 3]
        of_class = d[classes == name]
        np.testing.assert_allclose(bar.get_ydata(), np.quantile(of_class, [0.25, 0.75]))
        np.testing.assert_allclose(middle.get_ydata(), np.median(of_class))
        np.testing.assert_allclose(largest.get_ydata(), of_class.max())


def test_long_names_stay_apart():
    names = [f"a class whose name goes on and on, number {i}" for i in range(12)]
    ax = drawn(plot.distances_by_class(np.ones(12), names, ax=axes()))
    shown = [label.get_text() for label in ax.get_xticklabels()]
    assert len(set(shown)) == 12
    assert max(map(len, shown)) == 24
    assert shown[3].startswith("a class whose n")
    assert shown[3].endswith("umber 11")  # in their order as words, 3rd after 0, 1, 10


@pytest.mark.parametrize(("num_classes", "title"), [(40, ""), (41, "40 of 41 classes")])
def test_the_figure_says_when_classes_are_left_out(num_classes, title):
    names = [str(i) for i in range(num_classes)]
    ax = plot.distances_by_class(np.linspace(0.1, 1.0, num_classes), names, ax=axes())
    assert ax.get_legend().get_title().get_text() == title
    assert len(ax.get_xticks()) == 40


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plot.distances([]), "d must be one row of distances"),
        (lambda: plot.distances([[0.1]]), r"its shape is \(1, 1\)"),
        (lambda: plot.distances([np.nan]), "d must be finite"),
        (lambda: plot.distances_by_class([0.1, 0.2], ["a"]), "got 1 for 2"),
    ],
)
def test_what_cannot_be_drawn_says_why(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
