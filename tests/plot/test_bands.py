"""Figures of intervals: every end can be read off, and colours say what they decide."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from infogeo import plot
from infogeo.inference import interval

FOUND = SimpleNamespace(
    estimate=np.array([0.1, 0.45, 0.2]),
    lower=np.array([0.0, 0.35, 0.1]),
    upper=np.array([0.2, 0.6, 0.35]),
    distance=np.array([0.18, 0.5, 0.27]),
    level=0.9,
)
ONE = SimpleNamespace(estimate=0.1, lower=0.0, upper=0.3, distance=0.2, level=0.95)
BOTH = [plot.intervals, plot.drift_over_time]


@pytest.fixture(autouse=True)
def _no_open_figures():
    plt.close("all")  # what other tests of the process have left
    yield
    plt.close("all")


def axes():
    return Figure(layout="constrained").subplots()


def texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_lines_reach_from_end_to_end():
    ax = axes()
    assert plot.intervals(FOUND, names=["a", "b", "c"], ax=ax) is ax
    assert plt.get_fignums() == []
    (lines,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    ends = [segment[:, 0] for segment in lines.get_segments()]
    np.testing.assert_allclose(ends, np.stack([FOUND.lower, FOUND.upper], -1))
    np.testing.assert_allclose(ax.lines[0].get_xdata(), FOUND.estimate)
    np.testing.assert_allclose(ax.lines[1].get_xdata(), FOUND.distance)
    ax.figure.canvas.draw()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first at the top
    assert ax.get_xlim()[0] == 0.0
    assert ax.get_xlim()[1] > 0.6


def test_the_band_holds_the_intervals():
    ax = plot.drift_over_time(FOUND, times=[2, 3, 5], ax=axes())
    path = ax.collections[0].get_paths()[0].vertices
    for time, low, high in zip([2, 3, 5], FOUND.lower, FOUND.upper, strict=True):
        at = path[path[:, 0] == time, 1]
        np.testing.assert_allclose([at.min(), at.max()], [low, high])
    assert "interval at the level 0.9" in texts(ax)


@pytest.mark.parametrize("draw", BOTH)
def test_colours_say_what_is_decided(draw):
    ax = draw(FOUND, tolerance=0.3, ax=axes())
    words = ["below the tolerance", "above the tolerance", "not enough data"]
    found = {line.get_label(): line for line in ax.lines if line.get_label() in words}
    assert list(found) == words
    of = 0 if draw is plot.intervals else 1
    for word, value in zip(words, FOUND.estimate, strict=True):
        assert found[word].get_data()[of] == [value]
    assert len({to_hex(line.get_color()) for line in found.values()}) == 3
    # An end at the tolerance is below it.
    ax = draw(FOUND, tolerance=0.6, ax=axes())
    assert "not enough data" not in texts(ax)
    assert "above the tolerance" not in texts(ax)


@pytest.mark.parametrize("draw", BOTH)
def test_one_interval_and_own_figures(draw):
    ax = draw(ONE)
    assert plt.get_fignums() == [ax.figure.number]
    assert "tolerance" not in texts(ax)
    zero = {key: np.zeros(2) for key in ("estimate", "lower", "upper", "distance")}
    draw(SimpleNamespace(**zero, level=0.9), ax=axes())


def test_times_may_be_dates_or_names():
    days = pd.date_range("2026-01-30", periods=3)
    for times in (days, days.to_numpy(), list(days.to_pydatetime()), ["May", "June", "July"]):
        ax = plot.drift_over_time(FOUND, times=times, tolerance=0.3, ax=axes())
        ax.figure.canvas.draw()
        assert len(ax.lines[0].get_xdata()) == 3


def test_names_of_times_may_repeat_and_of_many_some_are_shown():
    week = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
    found = interval(np.full((25, 3), [50, 30, 20]), [500, 300, 200])
    ax = plot.drift_over_time(found, times=5 * week, ax=axes())
    ax.figure.canvas.draw()
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), np.arange(25))
    shown = [label.get_text() for label in ax.get_xticklabels()]
    assert shown == (5 * week)[::4]


def test_names_that_are_long_or_no_formulas():
    ax = plot.intervals(FOUND, names=["$x", 100 * "n", "\x1b[31m"], ax=axes())
    ax.figure.canvas.draw()
    shown = [label.get_text() for label in ax.get_yticklabels()]
    assert shown[0] == "$x"
    assert len(shown[1]) <= 32
    assert "\x1b" not in shown[2]


@pytest.mark.parametrize(
    ("draw", "found", "options", "words"),
    [
        (plot.intervals, [0.1, 0.2], {}, "found must be an interval: got list"),
        (plot.intervals, FOUND, {"names": ["a"]}, "names must have one for each interval: got 1"),
        (plot.drift_over_time, FOUND, {"times": [1, 2]}, "times must have one for each interval"),
        (plot.intervals, FOUND, {"tolerance": 4.0}, "tolerance must be a distance"),
        (plot.drift_over_time, FOUND, {"tolerance": math.nan}, "tolerance must be a distance"),
        (
            plot.intervals,
            SimpleNamespace(**{k: np.ones((2, 2)) for k in vars(FOUND)}),
            {},
            "found must be intervals along one axis",
        ),
    ],
)
def test_what_cannot_be_drawn(draw, found, options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        draw(found, **options)
