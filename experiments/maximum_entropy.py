"""What is the maximum-entropy prediction among Lipschitz ones?

Inputs on a grid over [-1, 1], a label y = -1 or 1, u(x) = E[y | x]. Among the functions with
|u'| <= s the mean entropy is made as large as E[y F(x)] = m allows, for F = sign and F = x. Both
are convex problems, and are solved as such. By duality their solution is min(s |x|, tanh(lambda
|F|)) with the sign of x: the exponential family, and a line of slope s where that is too steep.

Then temperature: two inputs, n labels at each, and the 1-Lipschitz f of the best likelihood
sigmoid(tau f). Bias and variance are sums over all outcomes of the binomial numbers.
"""

import numpy as np
from common import table
from scipy.optimize import LinearConstraint, brentq, minimize
from scipy.special import expit
from scipy.stats import binom

NUM_CELLS, SLOPE = 40, 1.5
X = (np.arange(NUM_CELLS) + 0.5) / NUM_CELLS * 2.0 - 1.0
FEATURES = {"sign(x)": (np.sign(X), 0.6), "x": (X, 0.38)}
DISTANCE, ETA, NUM_LABELS = 0.4, np.array([0.35, 0.65]), 10
TEMPERATURES = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 100.0)


def negative_entropy(u):
    """Return minus the mean entropy of labels with E[y] = u, and its gradient."""
    p = 0.5 * (1.0 + u)
    value = np.mean(p * np.log(p) + (1.0 - p) * np.log1p(-p))
    return value, np.arctanh(u) / len(u)


def solved(feature, moment):
    """Return the solution of the convex problem, by a general solver."""
    steps = np.diff(np.eye(NUM_CELLS), axis=0)
    size = SLOPE * (X[1] - X[0])
    found = minimize(
        negative_entropy,
        np.zeros(NUM_CELLS),
        jac=True,
        method="SLSQP",
        bounds=[(-1.0 + 1e-9, 1.0 - 1e-9)] * NUM_CELLS,
        constraints=[
            LinearConstraint(feature[None] / NUM_CELLS, moment, moment),
            LinearConstraint(steps, -size, size),
        ],
        options={"maxiter": 200, "ftol": 1e-12},
    )
    assert found.success, found.message
    return found.x


def closed(feature, moment, slope):
    """Return the exponential family where it is not too steep, lines where it is."""

    def member(multiplier):
        size = np.minimum(slope * np.abs(X), np.tanh(multiplier * np.abs(feature)))
        return np.sign(X) * size

    multiplier = brentq(lambda t: np.mean(feature * member(t)) - moment, 0.0, 100.0, xtol=1e-14)
    return member(multiplier), multiplier


def fit(shares, tau):
    """Return the most likely probabilities sigmoid(tau f) with |f(a) - f(b)| <= DISTANCE."""
    reach = tau * DISTANCE
    with np.errstate(divide="ignore"):
        z = np.log(shares) - np.log1p(-shares)
    if shares[0] == shares[1] or abs(z[1] - z[0]) <= reach:
        return shares
    step = np.array([0.0, np.copysign(reach, z[1] - z[0])])
    a = brentq(lambda a: (expit(a + step) - shares).sum(), -500.0, 500.0, xtol=1e-13)
    return expit(a + step)


def bias_and_variance(tau, *, etas=ETA, num_labels=NUM_LABELS):
    """Return the squared bias and the variance of a predicted probability, means over inputs."""
    k = np.arange(num_labels + 1)
    weights = np.outer(*(binom.pmf(k, num_labels, eta) for eta in etas))
    fits = np.array([[fit(np.array([i, j]) / num_labels, tau) for j in k] for i in k])
    mean = np.einsum("ij,ijk->k", weights, fits)
    variance = np.einsum("ij,ijk->k", weights, (fits - mean) ** 2)
    return float(np.mean((mean - etas) ** 2)), float(np.mean(variance))


def main():
    """Solve both problems in both ways, and sum bias and variance over the temperatures."""
    rows = []
    for name, (feature, moment) in FEATURES.items():
        found, (u, multiplier) = solved(feature, moment), closed(feature, moment, SLOPE)
        gap = negative_entropy(found)[0] - negative_entropy(u)[0]
        free, free_multiplier = closed(feature, moment, np.inf)
        lost = negative_entropy(u)[0] - negative_entropy(free)[0]
        jump = np.abs(np.diff(free)).max() / (X[1] - X[0])
        assert np.abs(found - u).max() < 1e-4
        assert abs(gap) < 1e-8
        assert lost > 0.0
        assert jump > SLOPE
        if name == "sign(x)":
            # On the line a - a^2 / (2 s) = m: the height of the plateau.
            plateau = SLOPE - np.sqrt(SLOPE**2 - 2.0 * SLOPE * moment)
            assert abs(u.max() - plateau) < 1e-3
        rows.append(
            [
                f"{name}, m = {moment:g}",
                f"{free_multiplier:.3f}",
                f"{multiplier:.3f}",
                f"{np.mean(np.abs(u) < np.abs(np.tanh(multiplier * feature)) - 1e-12):.2f}",
                f"{-negative_entropy(free)[0]:.4f}",
                f"{-negative_entropy(u)[0]:.4f}",
            ]
        )
    table(
        "| constraint | lambda, free | lambda, slope 1.5 | share of lines "
        "| entropy, free | entropy, slope 1.5 |",
        rows,
    )
    parts = [bias_and_variance(tau) for tau in TEMPERATURES]
    bias, variance = (np.array(part) for part in zip(*parts, strict=True))
    assert (np.diff(bias) < 1e-12).all()
    assert (np.diff(variance) > -1e-12).all()
    best = int(np.argmin(bias + variance))
    assert 0 < best < len(parts) - 1
    for other in {"num_labels": 3}, {"etas": np.array([0.45, 0.55])}:
        sums = [sum(bias_and_variance(tau, **other)) for tau in TEMPERATURES]
        assert int(np.argmin(sums)) < best
    assert abs(variance[-1] - np.mean(ETA * (1.0 - ETA)) / NUM_LABELS) < 1e-3
    rows = [
        [f"{tau:g}", f"{1e3 * b:.2f}", f"{1e3 * v:.2f}", f"{1e3 * (b + v):.2f}"]
        for tau, (b, v) in zip(TEMPERATURES, parts, strict=True)
    ]
    table("| tau | squared bias, 1e-3 | variance, 1e-3 | sum |", rows)


if __name__ == "__main__":
    main()
