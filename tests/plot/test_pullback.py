"""Filmstrips, spectra and ellipses show what they were given."""

import itertools
import math

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from infogeo import plot
from infogeo.pullback import Head, PullbackMetric, Spectrum

flat = Head(lambda z: torch.eye(z.shape[1], dtype=z.dtype).expand(len(z), -1, -1))


@pytest.fixture(autouse=True)
def _no_open_figures():
    yield
    plt.close("all")


def axes():
    return Figure().subplots()


# ---------------------------------------------------------------- filmstrips


def test_filmstrip_shows_every_frame_in_its_place():
    images = np.arange(4 * 6, dtype=float).reshape(4, 2, 3)
    ax, open_before = axes(), plt.get_fignums()
    assert plot.filmstrip(images, captions="abcd", ax=ax) is ax
    assert plt.get_fignums() == open_before
    lefts = [image.get_extent()[0] for image in ax.images]
    for k, image in enumerate(ax.images):
        np.testing.assert_array_equal(image.get_array(), images[k])
        left, right, bottom, top = image.get_extent()
        assert (right - left, bottom - top) == (pytest.approx(3.0), 2.0)
        assert image.get_clim() == (0.0, 23.0)
    assert lefts == sorted(lefts)
    assert np.diff(lefts).min() > 3.0
    assert [text.get_text() for text in ax.texts] == list("abcd")
    for text, left in zip(ax.texts, lefts, strict=True):
        assert text.xy[0] == pytest.approx(left + 1.5)
    assert ax.get_xlim() == (0.0, pytest.approx(lefts[-1] + 3.0))
    assert ax.get_aspect() == 1.0


def test_filmstrip_chooses_frames_and_their_captions():
    images = torch.arange(9.0)[:, None, None, None].expand(-1, 1, 2, 2)
    ax = plot.filmstrip(images, captions=range(9), num_frames=3, limits=(-1.0, 10.0), ax=axes())
    assert [float(image.get_array()[0, 0]) for image in ax.images] == [0.0, 4.0, 8.0]
    assert [text.get_text() for text in ax.texts] == ["0", "4", "8"]
    assert ax.images[0].get_clim() == (-1.0, 10.0)


def test_filmstrip_keeps_colours():
    images = np.zeros((2, 3, 2, 2))
    images[1, 0] = 4.0  # red
    ax = plot.filmstrip(images, ax=axes())
    assert ax.images[1].get_array()[0, 0].tolist() == [1.0, 0.0, 0.0]


def test_captions_stay_above_their_frames():
    captions = ["automobile, 99 %", "$5 off", "a"] * 3
    for ax in (None, plt.figure(figsize=(5.0, 2.0)).subplots()):
        ax = plot.filmstrip(np.zeros((9, 4, 4)), captions=captions, ax=ax)
        ax.figure.canvas.draw()
        boxes = [text.get_window_extent() for text in ax.texts]
        assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
    assert [text.get_text() for text in ax.texts][1] == "$5\noff"


def test_lines_of_captions_are_kept():
    captions = ["7\n0.93", r"$\alpha$" + "\n$\\beta$", "$5\n$x$"]
    ax = plot.filmstrip(np.zeros((3, 4, 4)), captions=captions)
    assert [text.get_text() for text in ax.texts] == captions
    assert [text.get_parse_math() for text in ax.texts] == [False, True, False]
    ax.figure.canvas.draw()


@pytest.mark.parametrize(
    ("points", "options", "error", "message"),
    [
        (np.zeros((0, 1, 4, 4)), {}, ValueError, "points must hold images"),
        (np.zeros((3, 4)), {}, ValueError, "points must hold images"),
        (np.zeros((3, 2, 4, 4)), {}, ValueError, "with 1 or 3 channels"),
        (np.full((3, 4, 4), np.nan), {}, ValueError, "points must"),
        (np.zeros((3, 4, 4)), {"captions": ["a"]}, ValueError, "got 1 for 3 images"),
        (np.zeros((3, 4, 4)), {"num_frames": 1}, ValueError, "num_frames must be an integer"),
        (np.zeros((3, 4, 4)), {"limits": (1.0, 0.0)}, ValueError, "limits must be a pair"),
    ],
)
def test_filmstrip_bad_input(points, options, error, message):
    with pytest.raises(error, match=message):
        plot.filmstrip(points, **options)


# ---------------------------------------------------------------- spectra


def test_spectrum_shows_quantiles_and_leaves_out_zeros():
    values = torch.logspace(2, -2, 5)[:, None] * torch.tensor([1.0, 1e-3, 0.0])
    ax = plot.spectrum(Spectrum(values, None, 1.0), label="net", ax=axes())
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_ydata()[:2], [1.0, 1e-3], rtol=1e-6)
    assert math.isnan(line.get_ydata()[2])
    assert line.get_xdata().tolist() == [1, 2, 3]
    assert ax.get_yscale() == "log"
    wide, narrow = (band.get_paths()[0].get_extents() for band in ax.collections)
    assert wide.ymax > narrow.ymax > 1.0
    np.testing.assert_allclose(narrow.ymax, 10.0, rtol=1e-6)
    assert ax.get_legend().get_texts()[0].get_text() == "net"


def test_a_spectrum_of_zeros_is_told():
    ax = plot.spectrum(Spectrum(np.zeros((4, 3)), None, 1.0), ax=axes())
    ax.figure.canvas.draw()  # which a logarithmic scale without numbers refuses
    assert ax.get_legend().get_texts()[0].get_text() == "eigenvalues: all 0"
    plot.spectrum(Spectrum(np.ones((4, 3)), None, 1.0), label="net", ax=ax)
    assert ax.get_yscale() == "log"


def test_one_eigenvalue_has_one_place():
    ax = plot.spectrum(Spectrum(np.ones((4, 1)), None, 1.0), ax=axes())
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    assert [tick for tick in ax.get_xticks() if low <= tick <= high] == [1.0]


def test_spectrum_bad_input():
    with pytest.raises(ValueError, match=r"spectrum.values must have shape \(batch, k\)"):
        plot.spectrum(Spectrum(torch.ones(3), None, 1.0))


# ---------------------------------------------------------------- ellipses


def points_on(ax):
    drawn = ax.lines[0].get_xydata()
    return drawn[np.isfinite(drawn).all(axis=1)]


@pytest.mark.parametrize("speeds", [(2.0, 1.0), (1.0, 1.0), (5.0, 0.1)])
def test_points_of_an_ellipse_are_at_the_radius(speeds):
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64)
    A = torch.diag(torch.tensor(speeds, dtype=torch.float64)) @ turn
    metric = PullbackMetric(lambda x: x @ A.T, flat)
    center = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    ax = plot.ellipses(metric, center, radius=0.5, reach=1.3, ax=axes())
    v = points_on(ax) - center.numpy()
    np.testing.assert_allclose(np.linalg.norm(v @ A.numpy().T, axis=1), 0.5, rtol=1e-6)
    farthest = min(1.3, 0.5 / speeds[1])
    np.testing.assert_allclose(np.linalg.norm(v, axis=1).max(), farthest, rtol=1e-6)
    is_closed = bool(np.allclose(v[0], v[91]) and np.allclose(v[90], v[-1]))
    assert is_closed == (farthest < 1.3)
    assert ax.get_aspect() == 1.0
    assert ax.get_title() == ""


def test_what_the_prediction_does_not_see_has_no_end():
    metric = PullbackMetric(lambda x: 2.0 * x[:, :1].expand(-1, 2) * torch.tensor([1.0, 0.0]), flat)
    ax = plot.ellipses(metric, torch.zeros(1, 2), radius=0.5, reach=3.0, ax=axes())
    v = points_on(ax)
    np.testing.assert_allclose(np.abs(v[:, 0]), 0.25, rtol=1e-6)
    np.testing.assert_allclose(np.abs(v[:, 1]).max(), 3.0, rtol=1e-6)


def test_one_class_boundary_has_strips():
    metric = PullbackMetric(torch.nn.Linear(2, 2))
    ax = plot.ellipses(metric, torch.zeros(1, 2), radius=1e-3, ax=axes())
    assert len(points_on(ax)) == 182


def test_flat_predictions_have_dots_alone():
    metric = PullbackMetric(lambda x: 1e-9 * x, flat)
    x = torch.cartesian_prod(torch.arange(3.0), torch.arange(3.0))
    ax = plot.ellipses(metric, x, radius=1.0, ax=axes())
    assert len(points_on(ax)) == 0
    np.testing.assert_array_equal(ax.lines[1].get_xydata(), x.numpy())


def test_the_radius_that_is_chosen_is_told_and_keeps_ellipses_apart():
    x = torch.cartesian_prod(0.01 * torch.arange(4.0), 0.01 * torch.arange(4.0))
    ax = plot.ellipses(PullbackMetric(lambda x: 3.0 * x, flat), x, ax=axes())
    assert ax.get_title() == "inputs at 0.005 rad"
    v = points_on(ax)[:182] - x[0].numpy()
    assert np.linalg.norm(v, axis=1).max() < 0.005


@pytest.mark.parametrize(
    ("xs", "options", "message"),
    [
        (torch.zeros(3, 4), {}, r"xs must have shape \(n, 2\)"),
        (torch.zeros(3, 2), {"radius": 0.0}, "radius must"),
        (torch.zeros(3, 2), {"reach": -1.0}, "reach must"),
    ],
)
def test_ellipses_bad_input(xs, options, message):
    with pytest.raises(ValueError, match=message):
        plot.ellipses(PullbackMetric(lambda x: x), xs, **options)
