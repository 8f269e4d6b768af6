"""The two foliations of the simplex by one feature, orthogonal where they meet
============================================================================

With F fixed, the mixture families M_b (all b) and the exponential families E_C (all C) each fill
the open simplex. Through every point goes one of each; they meet in that point only, at a right
angle of the Fisher metric. Draws foliations.png.
"""

import numpy as np
from matplotlib.figure import Figure

from infogeo import plot, simplex
from infogeo.family import ExponentialFamily, MixtureFamily, intersection

BLUE, VERMILLION, INK = "#0072B2", "#D55E00", "0.15"
FEATURE = np.array([[0.0, 1.0, 3.0]])
TARGETS = np.linspace(0.3, 2.7, 9)
SIDE = 0.09  # of the marks of right angles, in Fisher length


def edge_points(b):
    """Return the two ends of M_b: a feature of three outcomes pins it to two edges."""
    (values,) = FEATURE
    ends = []
    for i, j in ((0, 1), (1, 2), (0, 2)):
        if values[i] <= b < values[j]:
            ends.append(np.eye(3)[i] * (values[j] - b) + np.eye(3)[j] * (b - values[i]))
            ends[-1] /= values[j] - values[i]
    return np.array(ends)


def crossings(bases):
    """Return all E_C and where they meet all M_b: a batch of shape (num_bases, num_targets)."""
    E = ExponentialFamily(FEATURE, np.log(bases)[:, None, :])
    return E, intersection(E, MixtureFamily(FEATURE, TARGETS[:, None]))


def unit_tangents(E, found):
    """Return Fisher-unit tangents at the crossings: along E_C, and along M_b.

    Along E_C by central differences of its members, along M_b as the differences of its points:
    nothing here knows that the two have to be orthogonal.
    """
    p, step = found.probabilities, 1e-5
    along_E = E.probabilities(found.theta + step) - E.probabilities(found.theta - step)
    along_M = np.gradient(p, axis=0)
    return (v / simplex.norm(p, v)[..., None] for v in (along_E, along_M))


def draw(found, bases, along_E, along_M):
    """Draw both foliations and, at some crossings, squares of the Fisher metric."""
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    ax = plot.simplex(figure.subplots(), labels=("F = 0", "F = 1", "F = 3"))
    theta = np.linspace(-14.0, 14.0, 600)[:, None]
    for base in bases:
        curve = plot.to_ternary(ExponentialFamily(FEATURE, np.log(base)).probabilities(theta))
        (exponential,) = ax.plot(*curve.T, color=BLUE, linewidth=1.4)
    for b in TARGETS:
        ends = plot.to_ternary(edge_points(b))
        (mixture,) = ax.plot(*ends.T, color=VERMILLION, linewidth=1.4, linestyle=(0, (5, 2)))
    for index in np.ndindex(*along_E.shape[:-1]):
        if sum(index) % 2 == 0:
            p, u, v = found.probabilities[index], SIDE * along_E[index], SIDE * along_M[index]
            square = p + np.array([u, u + v, v])
            if (square > 0.0).all():
                (mark,) = ax.plot(*plot.to_ternary(square).T, color=INK, linewidth=1.1)
    ax.legend(
        [exponential, mixture, mark],
        [
            r"$E_C$: $p \propto e^{C + \theta F}$, one for each $C$",
            r"$M_b$: $E_p[F] = b$, one for each $b$",
            f"square of side {SIDE} in the Fisher metric",
        ],
        loc="upper left",
        bbox_to_anchor=(-0.04, 1.02),
        frameon=False,
        fontsize=9,
    )
    figure.savefig("foliations.png", dpi=160)


def main():
    """Find the crossings, measure the angles, test the partition, draw."""
    # One E_C through each of these points of one M_b.
    low, high = edge_points(1.3)
    bases = simplex.m_geodesic(low, high, [0.04, 0.13, 0.25, 0.38, 0.5, 0.62, 0.75, 0.87, 0.96])
    E, found = crossings(bases)
    along_E, along_M = unit_tangents(E, found)
    cosines = simplex.inner_product(found.probabilities, along_E, along_M)
    print(
        f"{cosines.size} crossings of {len(bases)} exponential and {len(TARGETS)} mixture families"
    )
    print(f"largest error of a log-probability, certified: {found.error_bound.max():.1e}")
    print(f"largest |cosine| of the angle between the two: {np.abs(cosines).max():.1e}")

    points = simplex.random_uniform(3, 300, rng=0)
    elsewhere = np.log(points) + np.linspace(-3.0, 3.0, 300)[:, None] * FEATURE
    met = intersection(
        ExponentialFamily(FEATURE, elsewhere), MixtureFamily(FEATURE, points @ FEATURE.T)
    )
    distance = simplex.fisher_rao_distance(points, met.probabilities).max()
    print(f"{len(points)} random points, each found again from its two leaves: {distance:.1e} off")
    draw(found, bases, along_E, along_M)
    print("drawn: foliations.png")


if __name__ == "__main__":
    main()
