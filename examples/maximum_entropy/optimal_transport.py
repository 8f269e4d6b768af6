"""Entropic optimal transport is a C-maximisation: C = -cost / epsilon, the features are margins
=============================================================================================

Two handwritten digits (bundled with scikit-learn) are distributions of ink over 64 pixels. The
plan that moves one to the other at the least cost less epsilon times its entropy is the point of
the mixture family of plans with these margins that is nearest to exp(-cost / epsilon).
"""

import numpy as np
from matplotlib import pyplot as plt
from scipy.special import logsumexp
from sklearn.datasets import load_digits

from infogeo.maxent import fit_margins


def sinkhorn(cost, a, b, epsilon, tol=1e-13, max_sweeps=100_000):
    """Return the plan, and the number of sweeps, by alternating scaling in logarithms."""
    log_a, log_b, kernel = np.log(a), np.log(b), -cost / epsilon
    g = np.zeros(b.size)
    sweeps = 0
    while sweeps < max_sweeps:
        sweeps += 1
        f = log_a - logsumexp(kernel + g, axis=1)
        g = log_b - logsumexp(kernel + f[:, None], axis=0)
        plan = np.exp(kernel + f[:, None] + g)
        if np.abs(plan.sum(axis=1) - a).max() < tol:
            break
    return plan, sweeps


def main():
    """Solve for several epsilon and compare with Sinkhorn's algorithm."""
    images, labels = load_digits(return_X_y=True)
    ink = [images[np.flatnonzero(labels == digit)[0]] for digit in (3, 8)]
    where = np.argwhere(np.ones((8, 8))) / 8.0
    (a, x), (b, y) = ((v[v > 0] / v.sum(), where[v > 0]) for v in ink)
    cost = ((x[:, None] - y) ** 2).sum(axis=-1)
    print(f"a 3 of {a.size} pixels to an 8 of {b.size}, cost: squared distance")
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.5), layout="constrained")
    for ax, epsilon in zip(axes, (1.0, 0.1, 0.02), strict=True):
        found = fit_margins(margins={0: a, 1: b}, log_table=-cost / epsilon)
        plan = found.probabilities.reshape(cost.shape)
        reference, sweeps = sinkhorn(cost, a, b, epsilon)
        apart = np.abs(np.log(plan / reference)).max()
        print(f"epsilon {epsilon:<4}: cost {(plan * cost).sum():.6f}, {found.steps} Newton steps, "
              f"error bound {found.error_bound:.0e}; Sinkhorn {sweeps} sweeps, "
              f"log-probabilities apart by {apart:.0e}")  # fmt: skip
        for (i, j), mass in np.ndenumerate(plan / plan.max()):
            ax.plot(*np.stack([x[i], y[j]]).T[::-1], color="#0072b2", alpha=mass, linewidth=1.5)
        ax.plot(*x.T[::-1], "o", color="black", markersize=4)
        ax.plot(*y.T[::-1], "s", color="#d55e00", markersize=3)
        ax.set(title=f"epsilon {epsilon}", xticks=[], yticks=[], aspect="equal")
        ax.invert_yaxis()
    figure.savefig("optimal_transport.png", dpi=110)


if __name__ == "__main__":
    main()
