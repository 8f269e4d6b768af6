"""Densities are drawn where they are, with the heights that scipy gives them."""

import numpy as np
import pytest
import scipy.stats
import torch
from matplotlib import pyplot as plt

from infogeo import plot
from infogeo.manifolds import Poisson
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_probabilities_of_counts_are_dots():
    ax = plot.densities(Poisson([0.0, 3.0, 40.0]))
    for line, rate in zip(ax.lines, (0.0, 3.0, 40.0), strict=True):
        x, y = line.get_data()
        np.testing.assert_array_equal(x, np.arange(len(x)))
        np.testing.assert_allclose(y, scipy.stats.poisson(rate).pmf(x), rtol=1e-12)
        assert y.sum() > 0.999
        assert line.get_marker() == "o"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("count", "probability")


def test_large_rates_show_a_thousand_counts():
    x = plot.densities(Poisson(1e9)).lines[0].get_xdata()
    assert len(x) == 1000
    assert x[0] < 1e9 - 3.0 * 1e9**0.5 < 1e9 + 3.0 * 1e9**0.5 < x[-1]


def test_densities_of_normals_are_lines_on_given_axes():
    _, ax = plt.subplots()
    point = Normal(torch.tensor(1.0, requires_grad=True), torch.tensor(2.0))
    assert plot.densities(point, ax, color="red") is ax
    (line,) = ax.lines
    np.testing.assert_allclose(
        line.get_ydata(), scipy.stats.norm(1.0, 2.0).pdf(line.get_xdata()), rtol=1e-12
    )
    assert line.get_color() == "red"
    assert ax.get_ylabel() == "density"


def test_what_has_no_density_to_draw_is_refused():
    for points in ([0.5, 0.5], MultivariateNormal([0.0], [[1.0]])):
        with pytest.raises(TypeError, match="points must be of a space that knows its densities"):
            plot.densities(points)
    with pytest.raises(ValueError, match="points must have at most one batch axis"):
        plot.densities(Poisson([[1.0]]))
