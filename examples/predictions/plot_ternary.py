"""Geodesics, circles, families and means on the ternary diagram
=============================================================

The three kinds of geodesics between two predictions; circles of the Fisher-Rao distance beside
level sets of the Kullback-Leibler divergence, which agree near their centre and part farther out
(r is 0.25, 0.5, 0.75 and 1); a prediction projected on what is known of it; and the three means of
a few predictions. Prints the lengths, the projection and the means, and draws ternary.png.
"""

import numpy as np
from matplotlib import pyplot as plt

from infogeo import plot, simplex
from infogeo.family import ExponentialFamily, MixtureFamily, e_projection
from infogeo.mean import frechet_mean

BLUE, VERMILLION, INK = "#0072b2", "#d55e00", "0.15"
P, Q = np.array([0.9, 0.08, 0.02]), np.array([0.03, 0.12, 0.85])
CENTER = np.array([0.15, 0.25, 0.6])
RADII = np.array([0.25, 0.5, 0.75, 1.0])
LOOPS = np.array([[0.0, 1.0, 2.0]])  # of the digits 7, 6 and 8
POINTS = np.array([[0.95, 0.03, 0.02], [0.04, 0.9, 0.06], [0.3, 0.0005, 0.6995]])
LEGEND = {"loc": "upper left", "bbox_to_anchor": (-0.02, 1.03), "frameon": False, "fontsize": 9}


def draw_geodesics(ax):
    """Draw the three geodesics, and print their lengths."""
    plot.geodesics(P, Q, ax=plot.simplex(ax, labels=("cat", "dog", "owl")))
    ax.legend(**LEGEND)
    t = np.linspace(0.0, 1.0, 2001)
    for name in ("fisher_rao_geodesic", "e_geodesic", "m_geodesic"):
        path = getattr(simplex, name)(P, Q, t)
        length = simplex.fisher_rao_distance(path[1:], path[:-1]).sum()
        print(f"{name:20} {length:.4f} rad long")
    print(f"{'distance':20} {simplex.fisher_rao_distance(P, Q):.4f} rad")


def draw_circles(ax):
    """Draw circles, and the divergences r^2 / 2 that would be the same in flat space."""
    plot.balls(CENTER, RADII, ax=plot.simplex(ax), colors=BLUE)
    plot.level_sets(
        lambda p: simplex.kl_divergence(p, CENTER), 0.5 * RADII**2, ax=ax, colors=VERMILLION
    )
    ax.plot([], [], color=BLUE, label="distance = r")
    ax.plot([], [], color=VERMILLION, label="KL(p, center) = r²/2")
    ax.legend(**LEGEND)


def draw_projection(ax):
    """Draw what is known, 1.2 loops on average, and what it makes of a prediction."""
    known = MixtureFamily(LOOPS, [1.2])
    found = e_projection(P, known).probabilities
    plot.simplex(ax, labels=("7", "6", "8"))
    plot.family(known, ax=ax, color=BLUE, label="$M_D$: 1.2 loops on average")
    tilted = ExponentialFamily(LOOPS, np.log(P))
    plot.family(tilted, ax=ax, color=VERMILLION, label="$E_C$: the prediction, tilted")
    for name, p, sign in (("prediction", P, "o"), ("nearest in $M_D$", found, "*")):
        ax.plot(*plot.to_ternary(p), sign, color=INK, markersize=9, label=name, linestyle="none")
    ax.legend(**LEGEND)
    print(f"\nprediction with 1.2 loops on average: {found.round(4)}")
    assert abs(found @ LOOPS[0] - 1.2) < 1e-9


def draw_means(ax):
    """Draw the three means: the e-mean goes the farthest from what one prediction excludes."""
    plot.means(POINTS, ax=plot.simplex(ax, labels=("cat", "dog", "owl")))
    ax.legend(**LEGEND)
    means = {
        "m mean": simplex.m_mean(POINTS),
        "Frechet mean": frechet_mean(POINTS).point,
        "e mean": simplex.e_mean(POINTS),
    }
    print()
    for name, mean in means.items():
        print(f"{name:13} {mean.round(4)}")


def main():
    """Draw the four diagrams."""
    figure, axes = plt.subplots(2, 2, figsize=(9.6, 8.6), layout="constrained")
    draws = (draw_geodesics, draw_circles, draw_projection, draw_means)
    for draw, ax in zip(draws, axes.flat, strict=True):
        draw(ax)
    figure.savefig("ternary.png", dpi=110)
    print("\ndrawn: ternary.png")


if __name__ == "__main__":
    main()
