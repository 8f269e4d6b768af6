"""Figures of normals: what they show is what they were given, in the geometry of the metric."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from infogeo import normal, plot
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal


@pytest.fixture(autouse=True)
def _no_open_figures():
    yield
    plt.close("all")


def axes():
    return Figure().subplots()


# ---------------------------------------------------------------- half-plane


def on_paper(ax, points):
    """Return where normals are drawn, in pixels."""
    ax.apply_aspect()
    return ax.transData.transform(np.stack([points.mean, points.std], axis=-1))


def circle_through(points):
    """Return centre and radius of the circle that fits points best, and the worst misfit."""
    matrix = np.column_stack([2.0 * points, np.ones(len(points))])
    x, y, c = np.linalg.lstsq(matrix, (points**2).sum(1), rcond=None)[0]
    radius = math.sqrt(c + x * x + y * y)
    return (x, y), radius, abs(np.hypot(*(points - (x, y)).T) - radius).max()


def test_half_plane_draws_on_the_axes_given_and_opens_nothing():
    ax = axes()
    assert plot.half_plane(ax) is ax
    assert plt.get_fignums() == []


def test_half_plane_makes_one_figure():
    assert plot.half_plane().figure is plt.figure(plt.get_fignums()[0])
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("limits", [{}, {"mean_limits": (-1.0, 6.0), "max_std": 2.0}])
def test_half_plane_is_conformal(limits):
    """A step of the mean and one of the std that are of one length are of one length on paper."""
    ax = plot.half_plane(axes(), **limits)
    a = Normal([0.5, 0.5, 0.5], [1.0, 1.0, 1.0])
    b = Normal([0.5, 0.5 + math.sqrt(2.0) * 1e-4, 0.5], [1.0, 1.0, 1.0 + 1e-4])
    lengths = normal.fisher_rao_distance(a, b)
    assert lengths[1] == pytest.approx(lengths[2], rel=1e-4)
    steps = np.hypot(*(on_paper(ax, b) - on_paper(ax, a)).T)
    assert steps[1] == pytest.approx(steps[2], rel=1e-6)


def test_half_plane_shows_geodesics_as_half_circles_around_the_axis():
    ax = plot.half_plane(axes())
    path = normal.fisher_rao_geodesic(Normal(-1.0, 0.3), Normal(2.0, 1.1), np.linspace(0, 1, 40))
    center, radius, misfit = circle_through(on_paper(ax, path))
    assert misfit < 1e-6 * radius
    assert center[1] == pytest.approx(on_paper(ax, Normal([0.0], [1e-300]))[0, 1], abs=1e-3)


def test_half_plane_shows_geodesic_circles_as_circles():
    ax = plot.half_plane(axes())
    pixels = on_paper(ax, plot.geodesic_circle(Normal(0.5, 0.8), 1.2))
    _, radius, misfit = circle_through(pixels)
    assert misfit < 1e-6 * radius


def test_half_plane_has_limits_and_names():
    ax = plot.half_plane(axes(), mean_limits=(-1.0, 4.0), max_std=2.5)
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1.0, 4.0), (0.0, 2.5))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("mean", "standard deviation")
    assert ax.format_coord(0.5, 1.25) == "mean 0.500, std 1.250"


@pytest.mark.parametrize("limits", [{"mean_limits": (1.0, 1.0)}, {"max_std": 0.0}])
def test_half_plane_needs_something_to_show(limits):
    with pytest.raises(ValueError, match="must span a part of the half-plane: got"):
        plot.half_plane(axes(), **limits)


# ---------------------------------------------------------------- geodesic circles


def distance(mean, std, other_mean, other_std):
    """Return the textbook distance in 50 digits."""
    with mpmath.workdps(50):
        mean, std, other_mean, other_std = map(mpmath.mpf, (mean, std, other_mean, other_std))
        ratio = ((mean - other_mean) ** 2 / 2 + (std - other_std) ** 2) / (2 * std * other_std)
        return float(mpmath.sqrt(2) * mpmath.acosh(1 + ratio))


@given(st.floats(-10.0, 10.0), st.floats(0.1, 10.0), st.floats(0.01, 20.0))
def test_all_points_of_a_circle_are_at_its_radius(mean, std, radius):
    circle = plot.geodesic_circle(Normal(mean, std), radius, num_points=7)
    found = [distance(mean, std, *point) for point in zip(circle.mean, circle.std, strict=True)]
    # A mean is rounded to eps |mean|, which counts as much more where the std is small.
    slack = 1e-13 + 4e-16 * (abs(mean) + np.abs(circle.mean)).max() / (circle.std.min() * radius)
    np.testing.assert_allclose(found, radius, rtol=slack)


def test_a_circle_is_closed_and_goes_round():
    circle = plot.geodesic_circle(Normal(1.0, 2.0), 0.5, num_points=5)
    np.testing.assert_allclose(circle.mean[[0, -1]], 1.0, rtol=1e-15)
    np.testing.assert_allclose(circle.std[[0, 2]], 2.0 * np.exp([-(0.125**0.5), 0.125**0.5]))
    assert circle.mean[1] < 1.0 < circle.mean[3]


def test_circles_of_batches_keep_library_and_dtype():
    center = Normal(torch.zeros(3), torch.ones(3))
    circle = plot.geodesic_circle(center, torch.tensor([[0.5], [1.0]]), num_points=11)
    assert (circle.shape, circle.std.dtype) == ((11, 2, 3), torch.float32)
    torch.testing.assert_close(
        normal.fisher_rao_distance(center, circle)[5], torch.tensor([[0.5] * 3, [1.0] * 3])
    )


@pytest.mark.parametrize(
    ("center", "radius", "num_points", "error", "message"),
    [
        ((0.0, 1.0), 1.0, 5, TypeError, "center must be a Normal"),
        (Normal(0.0, 1.0), 0.0, 5, ValueError, "radius must be positive"),
        (Normal(0.0, 1.0), math.nan, 5, ValueError, "radius must be positive"),
        (Normal([0.0, 1.0], 1.0), [1.0, 2.0, 3.0], 5, ValueError, "broadcast"),
        (Normal(0.0, 1.0), 1.0, 1, ValueError, "num_points must be an integer of at least 2"),
        (Normal(0.0, 1.0), 1.0, 5.0, ValueError, "num_points must be an integer of at least 2"),
    ],
)
def test_circle_bad_input(center, radius, num_points, error, message):
    with pytest.raises(error, match=message):
        plot.geodesic_circle(center, radius, num_points=num_points)


# ---------------------------------------------------------------- ellipses


def bivariate(rng, *batch):
    factor = rng.standard_normal((*batch, 2, 2))
    return MultivariateNormal(
        rng.standard_normal((*batch, 2)), factor @ np.swapaxes(factor, -1, -2) + 0.1 * np.eye(2)
    )


def curves(ax):
    return [line for line in ax.lines if len(line.get_xdata()) > 1]


def test_ellipses_are_level_curves_of_the_densities(rng):
    normals, ax = bivariate(rng, 5), axes()
    assert plot.normal_ellipses(normals, ax, scale=1.5) is ax
    assert plt.get_fignums() == []
    assert len(curves(ax)) == 5
    for line, mean, cov in zip(curves(ax), normals.mean, normals.cov, strict=True):
        offset = np.column_stack(line.get_data()) - mean
        levels = np.einsum("ni,ij,nj->n", offset, np.linalg.inv(cov), offset)
        np.testing.assert_allclose(levels, 1.5**2, rtol=1e-10)
        np.testing.assert_allclose(offset[0], offset[-1], atol=1e-12)  # closed
        np.testing.assert_allclose(offset[:-1].mean(0), 0.0, atol=1e-12)  # all the way round


def test_ellipses_have_dots_at_the_means(rng):
    normals = bivariate(rng, 2, 3)
    ax = plot.normal_ellipses(normals, axes())
    dots = [line.get_xydata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
    np.testing.assert_array_equal(dots, normals.mean.reshape(-1, 2))


def test_ellipses_have_equal_scales_and_make_one_figure(rng):
    ax = plot.normal_ellipses(bivariate(rng))
    assert ax.get_aspect() == 1.0
    assert len(plt.get_fignums()) == len(curves(ax)) == 1


def lightness(line):
    red, green, blue = (int(to_hex(line.get_color())[i : i + 2], 16) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_ellipses_grow_lighter_in_their_order(rng):
    """So that the order can be read without colour vision, or in grey."""
    shades = [lightness(line) for line in curves(plot.normal_ellipses(bivariate(rng, 6), axes()))]
    assert (np.diff(shades) > 5.0).all()
    assert shades[-1] < 200.0  # visible on white


def test_ellipses_of_one_colour(rng):
    ax = plot.normal_ellipses(bivariate(rng, 3), axes(), color="#0072B2")
    assert {to_hex(line.get_color()) for line in ax.lines} == {"#0072b2"}


def test_ellipses_take_torch_with_gradients(rng):
    normals = bivariate(rng, 2)
    mean = torch.tensor(normals.mean, dtype=torch.float32, requires_grad=True)
    given = MultivariateNormal(mean, torch.tensor(normals.cov, dtype=torch.float32))
    ax = plot.normal_ellipses(given, axes())
    expected = plot.normal_ellipses(normals, axes())
    for line, other in zip(ax.lines, expected.lines, strict=True):
        np.testing.assert_allclose(line.get_xydata(), other.get_xydata(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("normals", "arguments", "error", "message"),
    [
        (Normal(0.0, 1.0), {}, TypeError, "normals must be a MultivariateNormal"),
        (MultivariateNormal(np.zeros(3), np.eye(3)), {}, ValueError, "dimension 2.*two coordinate"),
        (MultivariateNormal(np.zeros(2), np.eye(2)), {"scale": 0.0}, ValueError, "scale must be"),
    ],
)
def test_ellipses_bad_input(normals, arguments, error, message):
    with pytest.raises(error, match=message):
        plot.normal_ellipses(normals, axes(), **arguments)
