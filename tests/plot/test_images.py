"""The main figures look as they did when someone looked at them.

A baseline holds what is drawn without its letters, whose shapes depend on versions of fonts;
texts have tests of their own. ``pytest tests/plot/test_images.py --write-baselines`` draws the
baselines anew: look at each before it is committed.
"""

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import image as mpl_image
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Affine2D

from infogeo import manifolds, normal, plot, simplex
from infogeo.family import ExponentialFamily, MixtureFamily
from infogeo.manifolds import Poisson
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal
from infogeo.plot import report
from infogeo.pullback import ExplainedChange
from infogeo.pullback.metric import Spectrum

BASELINES = Path(__file__).parent / "baseline"
SIZE, PLACE = (240, 210), (14, 21, 212, 168)  # of a figure, of its axes, in pixels
TILE = 8  # pixels: differences are averaged over no more than that
# Of a tile's root mean square, 1 for black on white. matplotlib 3.8 to 3.11 draw the same to the
# last bit; the least of the changes below, a faint line in another colour, comes to 0.030.
TOLERANCE = 0.02

P, Q = np.array([0.75, 0.2, 0.05]), np.array([0.05, 0.15, 0.8])
POINTS = np.array([[0.9, 0.09, 0.01], [0.1, 0.8, 0.1], [0.3, 0.0005, 0.6995]])
FEATURE = np.array([[0.0, 1.0, 3.0]])


class TwoSpeeds:
    """A metric of the plane, in closed form, so that the figure depends on no network."""

    def factor(self, x):
        """Return a fast direction that turns, and a slow one."""
        angle = x[:, 0] + 0.5 * x[:, 1]
        fast = np.stack([np.cos(angle), np.sin(angle)], -1) * 2.0
        slow = np.stack([-np.sin(angle), np.cos(angle)], -1) * (0.3 + x[:, 1:] ** 2)
        return np.stack([fast, slow], axis=1)


def waves(num_images, side):
    """Return smooth images, no two alike. Sides of 8, and two of 25, are whole pixels apart."""
    k, i, j = np.ogrid[:num_images, :side, :side]
    return 0.5 + 0.5 * np.sin((7.0 * i + 4.0 * (k + 1) * j) / side)


def draw_simplex(ax):
    plot.simplex(ax)


def draw_densities(ax):
    path = manifolds.fisher_rao_geodesic(Poisson(0.5), Poisson(16.0), np.linspace(0.0, 1.0, 4))
    plot.densities(path, ax)


def draw_geodesic_polar(ax):
    plot.geodesic_polar(manifolds.Gamma(1.5, 1.0), [0.5, 1.0, 1.5], ax)


def draw_geodesics(ax):
    plot.geodesics(P, Q, ax=plot.simplex(ax))


def draw_balls(ax):
    plot.balls([0.2, 0.3, 0.5], [0.3, 0.8, 1.5], ax=plot.simplex(ax), colors=["#0072b2", "#d55e00"])


def draw_level_sets(ax):
    levels = [0.05, 0.2, 0.8]
    plot.level_sets(lambda p: simplex.kl_divergence(p, Q), levels, ax=plot.simplex(ax))


def draw_families(ax):
    plot.simplex(ax)
    plot.family(ExponentialFamily(FEATURE, np.log([0.3, 0.5, 0.2])), ax=ax, color="#0072b2")
    plot.family(MixtureFamily(FEATURE, [1.5]), ax=ax, color="#d55e00")


def draw_means(ax):
    plot.means(POINTS, weights=[1.0, 2.0, 0.7], ax=plot.simplex(ax))


def draw_half_plane(ax):
    plot.half_plane(ax)
    circle = plot.geodesic_circle(Normal(-1.5, 0.8), 0.7)
    path = normal.fisher_rao_geodesic(Normal(-1.5, 0.8), Normal(2.0, 0.4), np.linspace(0, 1, 60))
    ax.plot(circle.mean, circle.std, color="0.4")
    ax.plot(path.mean, path.std, color="#0072b2")


def draw_normal_ellipses(ax):
    mean = [[0.0, 0.0], [1.0, 1.5], [4.0, 3.0]]
    cov = [[[1.0, 0.0], [0.0, 0.1]], [[0.4, 0.2], [0.2, 0.4]], [[0.1, 0.0], [0.0, 1.0]]]
    plot.normal_ellipses(MultivariateNormal(mean, cov), ax)


def draw_ellipses(ax):
    steps = np.linspace(-1.5, 1.5, 4)
    plot.ellipses(TwoSpeeds(), np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2), ax=ax)


def draw_spectrum(ax):
    values = np.logspace(1, -1, 21)[:, None] * np.array([1.0, 0.2, 0.1, 1e-3, 0.0])
    plot.spectrum(Spectrum(values, None, 1.0), ax=ax)


def draw_sensitivity(ax):
    direction = waves(3, 8)[None, 2:] - 0.5
    plot.sensitivity(waves(1, 8), Spectrum(np.ones((1, 1)), direction, 1.0), ax=ax)


def draw_filmstrip(ax):
    plot.filmstrip(waves(2, 25), ax=ax)


def draw_filmstrip_of_colours(ax):
    plot.filmstrip(np.stack([waves(2, 25), waves(2, 25)[::-1], 1.0 - waves(2, 25)], axis=1), ax=ax)


def draw_distances(ax):
    plot.distances(-0.1 * np.log(np.linspace(1e-3, 1.0, 500)), ax=ax)


def draw_distances_by_class(ax):
    d = np.linspace(0.0, 1.0, 90) ** 2 * np.tile([0.5, 1.0, 0.8], 30)
    plot.distances_by_class(d, ["a", "b", "c"] * 30, ax=ax)


FOUND = SimpleNamespace(
    estimate=np.array([0.1, 0.2, 0.5, 0.7]),
    lower=np.array([0.0, 0.1, 0.4, 0.3]),
    upper=np.array([0.25, 0.45, 0.8, 1.0]),
    distance=np.array([0.19, 0.27, 0.6, 0.85]),
    level=0.95,
)


def draw_intervals(ax):
    plot.intervals(FOUND, tolerance=0.35, ax=ax)


def draw_drift_over_time(ax):
    plot.drift_over_time(FOUND, times=[0, 1, 2, 4], tolerance=0.35, ax=ax)


def draw_explained_change(ax):
    parts = np.array([[4.0, 3.0, 2.0, 1.0], [3.0, 1.0, -1.0, 0.2], [0.5, 1.5, 2.5, 0.9]])
    change = ExplainedChange(*parts, parts[0] - parts[1] - parts[2])
    plot.explained_change(change, num_groups=4, ax=ax)


DRAWN = {
    name.removeprefix("draw_"): draw
    for name, draw in list(globals().items())
    if name.startswith("draw_")
}


def drawn(name):
    """Return a figure without letters, in matplotlib's own style, its axes in a fixed place."""
    with style.context("default"):
        figure = Figure(figsize=(SIZE[0] / 100, SIZE[1] / 100))
        DRAWN[name](figure.add_axes(tuple(np.divide(PLACE, SIZE * 2))))
    for text in figure.findobj(Text):
        text.set_visible(False)
    for axes in figure.axes:
        axes.tick_params(which="both", labelbottom=False, labelleft=False, labelright=False)
        if axes.get_legend() is not None:
            axes.get_legend().remove()
    return figure


def to_png(figure):
    with style.context("default"):
        return report.to_png(figure, dpi=100)


def pixels(png):
    return mpl_image.imread(io.BytesIO(png))[..., :3]


def baseline(name):
    return BASELINES / f"{name}.png"


def difference(name, png):
    """Return the largest root mean square difference of a tile from the baseline."""
    now, then = pixels(png), pixels(baseline(name).read_bytes())
    if now.shape != then.shape:
        return np.inf
    squares = ((now - then) ** 2).mean(axis=-1)
    height, width = squares.shape
    padded = np.pad(squares, ((0, -height % TILE), (0, -width % TILE)))
    tiles = padded.reshape(padded.shape[0] // TILE, TILE, padded.shape[1] // TILE, TILE)
    return np.sqrt(tiles.mean(axis=(1, 3)).max())


@pytest.mark.parametrize("name", DRAWN)
def test_figure_looks_like_its_baseline(name, tmp_path, request):
    png = to_png(drawn(name))
    if request.config.getoption("--write-baselines"):
        pytest.skip(f"wrote {report.write_file(baseline(name), png)}: look at it")
    seen = report.write_file(tmp_path / f"{name}.png", png)
    assert difference(name, png) <= TOLERANCE, f"compare {seen} with {baseline(name)}"


def test_baselines_are_those_of_the_figures_and_small():
    sizes = {path.stem: path.stat().st_size for path in BASELINES.iterdir()}
    assert sizes.keys() == DRAWN.keys()
    assert max(sizes.values()) < 30_000


def marks(name, figure):
    """Return what a figure shows; a ternary diagram counts once, as a figure of its own."""
    ax = figure.axes[0]
    below = () if name == "simplex" else ("_border", "_grid", "_tick")
    return [
        mark
        for mark in (*ax.lines, *ax.collections, *ax.images)
        if mark.get_label() not in below and np.size(getattr(mark, "get_xdata", lambda: 1)()) > 0
    ]


@pytest.mark.parametrize("name", DRAWN)
def test_what_moves_or_changes_its_colour_is_seen(name):
    """Each mark of each figure, moved by two pixels or in another colour, fails the comparison."""
    figure = drawn(name)
    for mark in marks(name, figure):
        place = mark.get_transform()
        mark.set_transform(place + Affine2D().translate(2.0, 2.0))
        assert difference(name, to_png(figure)) > TOLERANCE, f"{mark} moved"
        mark.set_transform(place)
    for mark in marks(name, figure):
        if mark in figure.axes[0].images:
            mark.set_data(1.0 - mark.get_array())
        else:
            mark.set(color="#cc79a7")
        png = to_png(figure)
        assert difference(name, png) > TOLERANCE, f"{mark} in another colour"
