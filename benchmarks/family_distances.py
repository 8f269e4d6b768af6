"""Distances of gamma, beta and Dirichlet distributions where geomstats differs: who is right?

Run this file with python. Besides infogeo and geomstats a third value decides, by shooting: the
geodesic equation, with mpmath's polygamma functions and scipy's DOP853, is solved for the initial
velocity at which the geodesic ends in the second point. These manifolds have negative curvature, so
that two points are joined by one geodesic, and its length is the distance. The first guess of the
velocity is infogeo's; the equation, and what says that the end is reached, are not.
"""

import mpmath
import numpy as np
import scipy.integrate
import scipy.optimize

from infogeo import manifolds
from infogeo.manifolds import Beta, Dirichlet, Gamma

# Gamma distributions by shape and mean, the others by concentrations.
PAIRS = [
    ("Gamma", (1.0, 1.0), (2.0, 1.0)),
    ("Gamma", (2.0, 1.0), (3.0, 4.0)),
    ("Gamma", (0.01, 1.0), (100.0, 1.0)),
    ("Beta", (1.0, 2.0), (3.0, 1.0)),
    ("Beta", (0.1, 0.5), (5.0, 8.0)),
    ("Beta", (3.0, 4.0), (3e4, 4e4)),
    ("Dirichlet", (1.0, 2.0, 3.0), (3.0, 1.0, 2.0)),
    ("Dirichlet", (0.2, 0.4, 0.8), (6.0, 3.0, 9.0)),
    ("Dirichlet", (0.01, 1.0, 50.0), (50.0, 1.0, 0.01)),
]
TOLERANCE = 1e-6  # relative: what is farther off is wrong


def point(family, x):
    """Return the point of infogeo."""
    if family == "Gamma":
        return Gamma(x[0], x[0] / x[1])
    return Beta(*x) if family == "Beta" else Dirichlet(np.array(x))


def psi(order, x):
    """Return a polygamma function of an array, by mpmath."""
    return np.array([float(mpmath.psi(order, float(y))) for y in x])


def acceleration(family, y):
    """Return the slope of logarithms of parameters and of their velocities."""
    z, w = np.split(y, 2)
    x = np.exp(z)
    if family == "Gamma":  # f dz1^2 + k dz2^2 with f = k^2 psi_1 - k, in log k and log mean
        k = x[0]
        p1, p2 = psi(1, [k])[0], psi(2, [k])[0]
        f, slope = k * k * p1 - k, 2.0 * k * k * p1 + k**3 * p2 - k
        second = [(k * w[1] ** 2 - slope * w[0] ** 2) / (2.0 * f), -w[0] * w[1]]
        return np.concatenate([w, second])
    total = x.sum()
    p1, p2 = psi(1, x), psi(2, x)
    q1, q2 = psi(1, [total])[0], psi(2, [total])[0]
    velocity = x * w
    # psi_1(a) a'' + psi_2(a) a'^2 / 2 is the same number for each concentration and for the sum.
    own = -0.5 * p2 * velocity**2 / p1
    of_sum = -0.5 * q2 * velocity.sum() ** 2 / q1
    shared = (of_sum - own.sum()) / ((1.0 / p1).sum() - 1.0 / q1)
    return np.concatenate([w, (own + shared / p1) / x - w * w])


def shooting(family, first, second):
    """Return the distance and by how much the geodesic misses its end."""
    a, b = point(family, first), point(family, second)
    v = manifolds.log_map(a, b)
    if family == "Gamma":
        by_shape = float(v.concentration) / first[0]
        guess = np.array([by_shape, by_shape - float(v.rate) / float(a.rate)])
    else:
        v = v.concentration if family == "Dirichlet" else [v.concentration1, v.concentration0]
        guess = np.array(v, dtype=float) / first
    start, end = np.log(first), np.log(second)

    def miss(w):
        found = scipy.integrate.solve_ivp(
            lambda _, y: acceleration(family, y),
            (0.0, 1.0),
            np.concatenate([start, w]),
            method="DOP853",
            rtol=1e-11,
            atol=1e-13,
        )
        return found.y[: len(w), -1] - end

    w = scipy.optimize.fsolve(miss, guess, xtol=1e-12)
    x = np.array(first)
    if family == "Gamma":
        k = x[0]
        squared = (k * k * psi(1, [k])[0] - k) * w[0] ** 2 + k * w[1] ** 2
    else:
        velocity = x * w
        squared = psi(1, x) @ velocity**2 - psi(1, [x.sum()])[0] * velocity.sum() ** 2
    return float(np.sqrt(squared)), float(np.abs(miss(w)).max())


def with_geomstats(family, first, second):
    """Return geomstats' distance, NaN where it raises."""
    from geomstats.information_geometry.beta import BetaDistributions
    from geomstats.information_geometry.dirichlet import DirichletDistributions
    from geomstats.information_geometry.gamma import GammaDistributions

    spaces = {"Gamma": GammaDistributions, "Beta": BetaDistributions}
    space = spaces[family]() if family in spaces else DirichletDistributions(len(first))
    return float(space.metric.dist(np.array(first), np.array(second)))


def main():
    """Print the table."""
    print(f"{'':12}{'geomstats':>14}{'infogeo':>18}{'shooting':>18}{'missed by':>11}  wrong")
    for family, first, second in PAIRS:
        a, b = point(family, first), point(family, second)
        ours = float(manifolds.fisher_rao_distance(a, b))
        theirs = with_geomstats(family, first, second)
        third, missed = shooting(family, first, second)
        values = {"geomstats": theirs, "infogeo": ours}
        wrong = [who for who, x in values.items() if not abs(x / third - 1.0) < TOLERANCE]
        print(
            f"{family:12}{theirs:14.8f}{ours:18.12f}{third:18.12f}{missed:11.0e}"
            f"  {', '.join(wrong) or '-'}    {first} to {second}"
        )


if __name__ == "__main__":
    main()
