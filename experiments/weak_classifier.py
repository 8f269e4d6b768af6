"""Is the best discriminator of a Wasserstein distance a good classifier?

Two classes alternate on a line: n points of one, n of the other, at distances of 1, the first of
them with a little more mass. The 1-Lipschitz function of the largest difference of means is known
exactly: its slope is the sign of the difference of the distribution functions. So is the best one
with a hinge: a linear program. The mean of the signed certificates (MCR) of a 1-Lipschitz f is the
mean of y f, for equal priors half the difference of means.
"""

import numpy as np
import torch
from common import table
from scipy.optimize import linprog

from infogeo.lipschitz import losses

SIZES, TILT = (2, 5, 20, 100), 0.02
WEIGHTS = (0.0, 1.0, 10.0, 100.0, 1_000.0)  # of the hinge


def points(n):
    """Return where the points are, their classes, and their masses within the class."""
    y = np.tile([1.0, -1.0], n)
    mass = np.full(2 * n, 1.0 / n)
    mass[0::2] -= TILT / (n - 1)
    mass[0] = 1.0 / n + TILT
    return np.arange(2.0 * n), y, mass


def best_threshold(f, y, mass):
    """Return the error of the best rule "class 1 where f exceeds a threshold", equal priors."""
    cuts = np.append(np.sort(f) - 1e-9, np.inf)
    wrong = (f[None] > cuts[:, None]) != (y > 0.0)
    return float((0.5 * mass * wrong).sum(1).min())


def discriminator(x, y, mass):
    """Return the function of the largest difference of means, by distribution functions."""
    difference = np.cumsum(y * mass)[:-1]
    assert (difference > 0.0).all()  # so that the slope is unique
    return np.append(0.0, np.cumsum(-np.sign(difference) * np.diff(x)))


def program(x, y, mass, weight, margin=0.5):
    """Return the 1-Lipschitz function that minimises weight * hinge - difference of means."""
    n = len(x)
    steps = np.eye(n, k=1)[:-1] - np.eye(n)[:-1]
    none, gaps = np.zeros((n - 1, n)), np.diff(x)
    constraints = np.block([[steps, none], [-steps, none], [-np.diag(y), -np.eye(n)]])
    limits = np.concatenate([gaps, gaps, np.full(n, -margin)])
    found = linprog(
        np.concatenate([-y * mass, 0.5 * weight * mass]),
        A_ub=constraints,
        b_ub=limits,
        bounds=[(None, None)] * n + [(0.0, None)] * n,
    )
    assert found.status == 0
    return found.x[:n]


def mean_certificate(f, y, mass):
    """Return the mean of the signed certificates, after the best constant has been added."""
    return 0.5 * float((y * mass * f).sum())


def main():
    """Compare the discriminator with the function that classifies best, and with hinges."""
    rows, hinged = [], []
    for n in SIZES:
        x, y, mass = points(n)
        f = discriminator(x, y, mass)
        zigzag = 0.5 * y  # 1-Lipschitz, and every certificate 1/2 is the largest possible one
        error = best_threshold(f, y, mass)
        assert abs(error - 0.5 * (1.0 - 1.0 / n - TILT)) < 1e-12
        assert best_threshold(zigzag, y, mass) == 0.0
        means = [mean_certificate(g, y, mass) for g in (f, zigzag)]
        solved = program(x, y, mass, 0.0)
        assert abs(mean_certificate(solved, y, mass) - means[0]) < 1e-9
        rows.append([f"{n}", f"{error:.3f}", f"{means[0]:.2f}", "0", f"{means[1]:.2f}"])
        errors = [best_threshold(program(x, y, mass, weight), y, mass) for weight in WEIGHTS]
        assert abs(errors[0] - error) < 1e-9
        assert errors[-1] == 0.0
        hinged.append([f"{n}", *(f"{value:.3f}" for value in errors)])
    # The package's losses are these: of four points, of equal masses.
    x, y, _ = points(2)
    f = torch.from_numpy(-x)
    value = float(losses.kantorovich_rubinstein(f, torch.from_numpy(y)))
    assert abs(value + float((0.5 * y * -x).sum())) < 1e-12
    table(
        "| points of each class | discriminator: best error | its mean certificate "
        "| best classifier: error | its mean certificate |",
        rows,
    )
    table(
        "| points of each class, error with a hinge of weight | 0 | 1 | 10 | 100 | 1,000 |", hinged
    )


if __name__ == "__main__":
    main()
