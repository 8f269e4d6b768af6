"""Densities are drawn where they are, with the heights that scipy gives them."""

import numpy as np
import pytest
import scipy.stats
import torch
from matplotlib import pyplot as plt

from infogeo import manifolds, plot
from infogeo.manifolds import (
    Beta,
    Dirichlet,
    Gamma,
    InverseGaussian,
    Multinomial,
    NegativeMultinomial,
    Poisson,
    StudentT,
    VonMises,
    VonMisesFisher,
)
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


def curves(ax, label):
    """Return the points of all lines of a kind, (num_lines, 2, num_points)."""
    return np.array([line.get_data() for line in ax.lines if line.get_label() == label])


@pytest.mark.parametrize(
    "center", [Gamma(1.5, 1.0), Beta(0.7, 2.0), StudentT(3.0, 0.5, 2.0), Normal(1.0, 0.3)]
)
def test_circles_are_at_their_distances_and_geodesics_as_long(center):
    ax = plot.geodesic_polar(center, [0.5, 1.0], num_geodesics=5)
    names = [name for name in center.rules if name not in center.constants]
    constants = {name: getattr(center, name) for name in center.constants}

    def distance(points):
        other = type(center)(**dict(zip(names, points, strict=True)), **constants)
        return manifolds.fisher_rao_distance(center, other)

    circles, rays = curves(ax, "_circles"), curves(ax, "_geodesics")
    assert (len(circles), len(rays)) == (2, 5)
    for radius, points in zip((0.5, 1.0), circles, strict=True):
        np.testing.assert_allclose(distance(points[:, ::24]), radius, rtol=1e-9)
    for points in rays:
        expected = np.linspace(0.0, 1.0, points.shape[1])
        np.testing.assert_allclose(distance(points[:, ::8]), expected[::8], rtol=1e-9, atol=1e-12)
    scales = {"loc": "linear", "mean": "linear"}
    expected = [scales.get(name, "log") for name in names]
    assert [ax.get_xscale(), ax.get_yscale()] == expected
    assert [ax.get_xlabel(), ax.get_ylabel()] == names


@pytest.mark.parametrize(
    ("center", "make", "scale"),
    [
        (NegativeMultinomial(4.0, [0.25, 0.3]), lambda x: NegativeMultinomial(4.0, x), "linear"),
        (Dirichlet([0.7, 2.0]), Dirichlet, "log"),
    ],
)
def test_two_entries_of_one_field_are_a_plane_too(center, make, scale):
    ax = plot.geodesic_polar(center, [0.5, 1.0], num_geodesics=5)
    for radius, points in zip((0.5, 1.0), curves(ax, "_circles"), strict=True):
        d = manifolds.fisher_rao_distance(center, make(points[:, ::24].T))
        np.testing.assert_allclose(d, radius, rtol=1e-9)
    name = next(name for name in center.rules if name not in center.constants)
    assert [ax.get_xlabel(), ax.get_ylabel()] == [f"{name} 1", f"{name} 2"]
    assert [ax.get_xscale(), ax.get_yscale()] == [scale, scale]
    (dot,) = (line for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_array_equal(np.ravel(dot.get_data()), getattr(center, name))


def test_curves_are_cut_at_the_ends_of_angles_and_of_families():
    ax = plot.geodesic_polar(VonMises(3.0, 1.5), [1.5])
    for x, _ in curves(ax, "_circles"):
        assert np.isnan(x).any()
        assert np.nanmax(np.abs(np.diff(x))) < 3.0
    ax = plot.geodesic_polar(InverseGaussian(1.0, 1.0), [2.5])
    assert np.isnan(curves(ax, "_circles")).any()  # the mean would be infinite


@pytest.mark.parametrize(
    ("center", "error"),
    [
        (Poisson(2.0), ValueError),
        (Gamma([1.0, 2.0], 1.0), ValueError),
        (MultivariateNormal([0.0, 0.0], np.eye(2)), ValueError),
        (Multinomial(3, [0.5, 0.5]), ValueError),
        (NegativeMultinomial(3.0, [0.2, 0.1, 0.3]), ValueError),
        (VonMisesFisher([0.6, 0.8], 2.0), ValueError),
        ([0.2, 0.8], TypeError),
    ],
)
def test_circles_need_a_point_of_two_parameters(center, error):
    with pytest.raises(error, match="center must be"):
        plot.geodesic_polar(center, [1.0])
    with pytest.raises(ValueError, match="radii"):
        plot.geodesic_polar(Gamma(1.0, 1.0), [0.0])
