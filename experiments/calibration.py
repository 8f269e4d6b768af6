"""Which surrogate losses find the best classifier among Lipschitz functions?

Two points at distance d, both as frequent: P(y = 1) is 0.1 at the first and 0.6 at the second. The
best classifier says -1 and 1, and among 1-Lipschitz functions there are some that say so. A
surrogate loss is consistent for them if its minimiser does. Both are, if nothing bounds the slope:
for each point by itself the sign is that of P(y = 1) - 1/2. All minimisers here are exact.
"""

import math

import numpy as np
import torch
from common import table
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit

from infogeo.lipschitz import losses

DISTANCE, ETA = 0.4, np.array([0.1, 0.6])
MARGINS, TEMPERATURES = (0.2, 0.3, 0.39, 0.41, 1.0), (1.0, 3.0, 3.4, 3.6, 6.0, 30.0)
BEST = 0.5 * (ETA[0] + 1.0 - ETA[1])


def risk(f):
    """Return the probability of an error of sign f."""
    return 0.5 * float(np.where(f > 0.0, 1.0 - ETA, ETA).sum())


def hinge(f, margin):
    """Return the mean of max(0, margin - y f)."""
    return 0.5 * float(
        (ETA * np.maximum(margin - f, 0.0) + (1.0 - ETA) * np.maximum(margin + f, 0.0)).sum()
    )


def cross_entropy(f, tau):
    """Return the mean of log(1 + exp(-tau y f)), times two."""
    return float(
        (ETA * np.logaddexp(0.0, -tau * f) + (1.0 - ETA) * np.logaddexp(0.0, tau * f)).sum()
    )


def hinge_minimiser(margin):
    """Return the minimiser: the first point pulls harder, and goes to its margin."""
    return np.array([-margin, min(margin, DISTANCE - margin)])


def cross_entropy_minimiser(tau):
    """Return the minimiser: log-odds over tau, or a root where those are too far apart."""
    free = np.log(ETA / (1.0 - ETA)) / tau
    if free[1] - free[0] <= DISTANCE:
        return free

    def slope(a):
        return (expit(tau * np.array([a, a + DISTANCE])) - ETA).sum()

    a = brentq(slope, free[0], free[1], xtol=1e-15)
    return np.array([a, a + DISTANCE])


def check_minimiser(f, loss):
    """Compare with a search over both values, and over the steepest functions alone."""
    value, grid = loss(f), np.linspace(-2.2, 2.2, 441)
    for b in grid:
        inside = grid[np.abs(grid - b) <= DISTANCE]
        assert all(loss(np.array([a, b])) >= value - 1e-12 for a in inside[::4])
    steepest = minimize_scalar(
        lambda a: loss(np.array([a, a + DISTANCE])), bounds=(-2.2, 2.2), method="bounded"
    )
    assert steepest.fun >= value - 1e-9


def main():
    """Print the minimisers, their errors, and where consistency begins."""
    rows = []
    for margin in MARGINS:
        f = hinge_minimiser(margin)
        check_minimiser(f, lambda f, margin=margin: hinge(f, margin))
        assert (abs(risk(f) - BEST) < 1e-12) == (margin < DISTANCE)
        rows.append([f"hinge, margin {margin:g}", *(f"{v:.3f}" for v in f), f"{risk(f):.2f}"])
    begin = math.log(4.0) / DISTANCE  # where f = (-d, 0) is stationary: expit(-tau d) = 1/5
    for tau in TEMPERATURES:
        f = cross_entropy_minimiser(tau)
        check_minimiser(f, lambda f, tau=tau: cross_entropy(f, tau))
        assert (abs(risk(f) - BEST) < 1e-12) == (tau > begin)
        rows.append([f"cross-entropy, tau {tau:g}", *(f"{v:.3f}" for v in f), f"{risk(f):.2f}"])
    rows.append(["best 1-Lipschitz classifier", "below 0", "above 0", f"{BEST:.2f}"])
    table("| loss | f at the first point | at the second | error |", rows)
    # A hinge has no scale: K-Lipschitz with margin K kappa is 1-Lipschitz with margin kappa.
    z = torch.randn(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.arange(50) % 4
    for scale in (0.1, 7.0):
        scaled = losses.multiclass_hinge(scale * z, y, margin=scale * 0.3)
        assert abs(scaled / scale - losses.multiclass_hinge(z, y, margin=0.3)) < 1e-12
        entropy = losses.tau_cross_entropy(scale * z, y, tau=2.0 / scale) / scale
        assert abs(entropy - losses.tau_cross_entropy(z, y, tau=2.0)) < 1e-12


if __name__ == "__main__":
    main()
