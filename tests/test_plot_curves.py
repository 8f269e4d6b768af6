"""Curves on the ternary diagram go through the distributions that they say they go through."""

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

from matplotlib import pyplot as plt

from infogeo import plot, simplex
from infogeo.family import ExponentialFamily, MixtureFamily

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


@pytest.mark.parametrize("radius", [0.2, 0.8, 1.6])
def test_balls_have_their_radius(radius):
    ax = plot.balls(Q, [radius])
    (contour,) = [c for c in ax.collections if c.get_paths()]
    points = np.concatenate([path.vertices for path in contour.get_paths()])
    d = simplex.fisher_rao_distance(probabilities(points), Q, check=False)
    np.testing.assert_allclose(d, radius, atol=5e-3)  # a line is as thick as that
    assert len(points) > 50


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
        (lambda: plot.level_sets(lambda p: p, [0.1]), ValueError, "one number for each"),
        (lambda: plot.family(F), TypeError, "ExponentialFamily or a MixtureFamily"),
        (lambda: plot.family(ExponentialFamily(np.eye(3))), ValueError, "dimension is 2"),
        (lambda: plot.family(ExponentialFamily([[0.0, 1.0]])), ValueError, "over 3 outcomes"),
    ],
)
def test_what_cannot_be_drawn_says_why(draw, error, message):
    with pytest.raises(error, match=message):
        draw()
