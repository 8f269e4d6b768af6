"""Curves on the ternary diagram go through the distributions that they say they go through."""

import matplotlib as mpl
import numpy as np
import pytest
import torch

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from infogeo import plot, simplex
from infogeo.family import ExponentialFamily, MixtureFamily
from infogeo.mean import frechet_mean

P, Q = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.2, 0.7])
F = np.array([[0.0, 1.0, 3.0]])


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def probabilities(points):
    """Return the distributions at positions in the diagram."""
    x, y = np.asarray(points).T
    top = y / (np.sqrt(3.0) / 2.0)
    right = x - top / 2.0
    return np.stack([1.0 - right - top, right, top], axis=-1)


def line(ax, label):
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return probabilities(found.get_xydata())


def test_the_three_geodesics():
    ax = plot.geodesics(P, Q)
    t = np.linspace(0.0, 1.0, 201)
    for kind in ("Fisher-Rao", "e", "m"):
        name = {"Fisher-Rao": "fisher_rao_geodesic"}.get(kind, f"{kind}_geodesic")
        expected = getattr(simplex, name)(P, Q, t)
        np.testing.assert_allclose(line(ax, f"{kind} geodesic"), expected, atol=1e-14)


def test_no_e_geodesic_to_a_face():
    ax = plot.geodesics(P, [0.0, 0.5, 0.5])
    labels = {drawn.get_label() for drawn in ax.lines}
    assert "e geodesic" not in labels
    assert "m geodesic" in labels


@pytest.mark.parametrize("center", [Q, [1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [1e-9, 1e-9, 1 - 2e-9]])
@pytest.mark.parametrize("radius", [1e-3, 0.2, 0.8, 1.6, 2.4])
def test_circles_have_their_radius_and_end_on_edges(center, radius):
    points = line(plot.balls(center, [radius]), "_circle")
    is_drawn = np.isfinite(points).all(-1)
    assert is_drawn.sum() >= 9
    d = simplex.fisher_rao_distance(np.maximum(points[is_drawn], 0.0), center, check=False)
    np.testing.assert_allclose(d, radius, rtol=1e-7)
    gaps = is_drawn[1:] != is_drawn[:-1]
    ends = points[
        np.concatenate([[False], gaps]) & is_drawn | np.concatenate([gaps, [False]]) & is_drawn
    ]
    np.testing.assert_allclose(ends.min(-1, initial=0.0), 0.0, atol=1e-12)


def test_circles_larger_than_the_triangle_are_not_drawn_and_colours_take_turns():
    ax = plot.balls(torch.tensor([0.2, 0.3, 0.5]), [0.3, 0.6, 0.9, 3.5], colors=["red", "blue"])
    circles = [drawn for drawn in ax.lines if drawn.get_label() == "_circle"]
    assert [to_hex(circle.get_color()) for circle in circles] == 2 * ["#ff0000", "#0000ff"]
    assert np.isnan(circles[-1].get_ydata()).all()


# ---------------------------------------------------------------- means

POINTS = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.01, 0.01, 0.98]])


@pytest.mark.parametrize("weights", [None, [3.0, 1.0, 0.5]])
def test_means_are_drawn_where_they_are(weights):
    ax = plot.means(POINTS, weights=weights)
    expected = {
        "m mean": np.average(POINTS, axis=0, weights=weights),
        "e mean": np.exp(np.average(np.log(POINTS), axis=0, weights=weights)),
        "Frechet mean": frechet_mean(POINTS, weights=weights).point,
    }
    for name, mean in expected.items():
        np.testing.assert_allclose(line(ax, name)[0], mean / mean.sum(), atol=1e-12)
    (drawn,) = ax.collections
    np.testing.assert_allclose(probabilities(drawn.get_offsets()), POINTS, atol=1e-12)
    shares = np.ones(3) if weights is None else np.array(weights)
    np.testing.assert_allclose(drawn.get_sizes() / drawn.get_sizes()[0], shares / shares[0])


def test_no_e_mean_without_a_common_outcome():
    ax = plot.means([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.1, 0.1, 0.8]], weights=[1.0, 1.0, 0.0])
    labels = {drawn.get_label() for drawn in ax.lines}
    assert "e mean" not in labels
    assert {"m mean", "Frechet mean"} <= labels


def test_means_take_tensors_and_axes():
    given = plot.simplex(Figure().subplots())
    p = torch.tensor(POINTS, dtype=torch.float32, requires_grad=True)
    assert plot.means(p, ax=given) is given
    assert plt.get_fignums() == []
    np.testing.assert_allclose(line(given, "m mean")[0], POINTS.mean(0), atol=1e-6)


# ---------------------------------------------------------------- level sets


def test_level_sets_are_solid_and_take_tensors_with_gradients():
    ax = plot.level_sets(lambda p: -simplex.entropy(torch.tensor(p, requires_grad=True)), [-0.5])
    (contour,) = [c for c in ax.collections if c.get_paths()]
    assert contour.get_linestyle()[0][1] is None  # negative levels are dashed by default


def test_level_sets_of_a_divergence():
    ax = plot.level_sets(lambda p: simplex.kl_divergence(p, Q), [0.1, 0.4])
    (contour,) = [c for c in ax.collections if c.get_paths()]
    for path, level in zip(contour.get_paths(), (0.1, 0.4), strict=True):
        values = simplex.kl_divergence(probabilities(path.vertices), Q, check=False)
        np.testing.assert_allclose(values, level, atol=2e-3)


@pytest.mark.parametrize("base", [None, np.log([0.2, 0.7, 0.1])])
@pytest.mark.parametrize("features", [F, [[1.0, 1.0, 2.0]], [[0.0, 1.0, 3.0], [0.0, 2.0, 6.0]]])
def test_exponential_families_from_end_to_end(features, base):
    E = ExponentialFamily(features, base)
    points = line(plot.family(E, label="E"), "E")
    inside = points[(points > 1e-3).all(-1)]
    assert len(inside) > 20
    assert E.contains(inside / inside.sum(-1, keepdims=True), tol=1e-9).all()
    top = np.isclose(np.array(features)[0], np.max(features[0]))
    np.testing.assert_allclose(
        sorted([points[0][top].sum(), points[-1][top].sum()]), [0.0, 1.0], atol=1e-12
    )


@pytest.mark.parametrize("target", [0.2, 1.5, 2.9])
def test_mixture_families_from_edge_to_edge(target):
    M = MixtureFamily(F, [target])
    ends = line(plot.family(M, label="M"), "M")
    assert len(ends) == 2
    np.testing.assert_allclose(ends @ F[0], target, atol=1e-12)
    np.testing.assert_allclose(ends.min(-1), 0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda: plot.geodesics([0.5, 0.5], Q), ValueError, r"p must have shape \(3,\)"),
        (lambda: plot.balls([0.5, 0.6, 0.1], [1.0]), ValueError, "probabilities"),
        (lambda: plot.balls(P, [0.0]), ValueError, "radii must be positive"),
        (lambda: plot.level_sets(lambda p: p, [0.1]), ValueError, "one number for each"),
        (
            lambda: plot.level_sets(lambda p: simplex.kl_divergence(p, np.eye(3)[0]), [0.1]),
            ValueError,
            "finite numbers inside the triangle: 29161 of 29161",
        ),
        (
            lambda: plot.means(P),
            ValueError,
            r"points must have shape \(n, 3\): its shape is \(3,\)",
        ),
        (lambda: plot.means([[0.5, 0.5]]), ValueError, r"shape \(n, 3\)"),
        (lambda: plot.means(POINTS, weights=[1.0]), ValueError, r"weights must have shape \(3,\)"),
        (lambda: plot.means(POINTS, weights=[1.0, -1.0, 1.0]), ValueError, "weights"),
        (lambda: plot.family(F), TypeError, "ExponentialFamily or a MixtureFamily"),
        (lambda: plot.family(ExponentialFamily(np.eye(3))), ValueError, "dimension is 2"),
        (lambda: plot.family(ExponentialFamily([[0.0, 1.0]])), ValueError, "over 3 outcomes"),
    ],
)
def test_what_cannot_be_drawn_says_why(draw, error, message):
    with pytest.raises(error, match=message):
        draw()
