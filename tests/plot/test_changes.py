"""The figure of what explains a change: the heights of its bars, and what it refuses."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import infogeo
from infogeo import plot
from infogeo.pullback import ExplainedChange

#                             moved        inputs       weights      left
CHANGE = ExplainedChange(*map(np.array, ([1.0, 3.0], [0.5, 4.0], [0.25, -1.5], [0.25, 0.5])))


def bars(ax):
    return [[(bar.get_y(), bar.get_height()) for bar in container] for container in ax.containers]


def test_bars_are_the_shares_of_each_group():
    ax = plot.explained_change(CHANGE, num_groups=2, ax=Figure().add_subplot())
    inputs, weights, remainder = bars(ax)
    np.testing.assert_allclose(inputs, [(0.0, 50.0), (0.0, 400.0 / 3.0)])
    np.testing.assert_allclose(weights, [(50.0, 25.0), (0.0, -50.0)])
    np.testing.assert_allclose(remainder, [(75.0, 25.0), (400.0 / 3.0, 50.0 / 3.0)])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "1.7"]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["inputs: 112 % of all", "weights: -31 % of all", "remainder: 19 % of all"]


def test_groups_that_are_empty_or_have_not_moved_have_no_bar():
    still = ExplainedChange(*(np.r_[0.0, 0.0, part] for part in vars(CHANGE).values()))
    ax = plot.explained_change(still, num_groups=9, ax=Figure().add_subplot())
    assert len(bars(ax)[0]) == 2


def test_what_shows_nothing_is_refused():
    zero = ExplainedChange(*[np.zeros(3)] * 4)
    with pytest.raises(infogeo.BadValueError, match="none has moved"):
        plot.explained_change(zero)
    with pytest.raises(infogeo.BadValueError, match="num_groups"):
        plot.explained_change(CHANGE, num_groups=0)
    with pytest.raises(TypeError, match="got list"):
        plot.explained_change([1.0])
