"""Is there a trade-off of accuracy against robustness? Two papers that seem to disagree

Suggala, Prasad, Nagarajan and Ravikumar (Revisiting adversarial risk, AISTATS 2019) find none,
Bethune et al. (Pay attention to your loss, NeurIPS 2022) find one that the loss decides. The two
normals of experiments/label_change.py, a prior of 0.7, and 1-Lipschitz functions f: the minimiser
of the tau-cross-entropy among all of them is known. Its accuracy, its certified accuracy and its
adversarial risk in the sense of Suggala et al. are compared with those of the signed distances to
two boundaries. All is exact, by distribution functions and by quadrature.
"""

import math
from dataclasses import dataclass

import numpy as np
from common import table
from label_change import Line, M
from scipy.optimize import brentq
from scipy.special import expit

EPS, TAUS = 0.5, (0.3, 1.0, 2.0, 3.0, 6.0, 12.0)
X = np.linspace(-14.0, 14.0, 56_001)


@dataclass(frozen=True)
class Function:
    """f(x) = slope (x - t)."""

    slope: float
    t: float


def log_odds(line, x):
    """Return the logarithm of the odds of class 1: a line of slope 2 M."""
    return 2.0 * M * (x - line.bayes)


def is_content(tau):
    """Return whether the log-odds over tau are 1-Lipschitz, M known to the digits of float32."""
    return tau > 2.0 * M - 1e-6


def density(line, x):
    """Return the density of both classes together."""
    first, second = (np.exp(-0.5 * (x - m) ** 2) for m in (M, -M))
    return (line.prior * first + (1.0 - line.prior) * second) / math.sqrt(2.0 * math.pi)


def minimiser(line, tau):
    """Return the 1-Lipschitz f that has the least tau-cross-entropy; check that it is.

    Without a bound of the slope it is the log-odds over tau. If that is too steep it has slope 1
    everywhere: then the integral of the derivative of the loss up to x is nowhere negative and 0
    at both ends, so that no flatter function is better (Karush, Kuhn and Tucker).
    """
    if is_content(tau):
        return Function(min(1.0, 2.0 * M / tau), line.bayes)

    def up_to(t):
        slopes = density(line, X) * (expit(tau * (X - t)) - expit(log_odds(line, X)))
        return np.cumsum(slopes) * (X[1] - X[0])

    t = brentq(lambda t: up_to(t)[-1], -12.0, 3.0, xtol=1e-13)
    assert up_to(t).min() > -1e-9
    return Function(1.0, t)


def measure(line, f):
    """Return risk, certified and attacked accuracy at EPS, and R_adv, of the sign of f."""
    t = np.array([f.t])
    return {
        "t": f.t,
        "slope": f.slope,
        "risk": float(line.risk(t)[0]),
        "certified": 1.0 - float(line.usual(t, EPS / f.slope)[0]),
        "attacked": 1.0 - float(line.usual(t, EPS)[0]),
        "excluded": float(line.excluded(t, EPS)[0]),
    }


def main():
    """Compare the minimisers with the signed distances to two boundaries."""
    line, even = Line(0.7), Line(0.5)
    usual = line.minimisers(EPS, 1.0)[0]
    assert abs(even.minimisers(EPS, 1.0)[0]) < 1e-9  # equal priors: Bayes' boundary, too
    rows = {
        "signed distance to Bayes' boundary": measure(line, Function(1.0, line.bayes)),
        "signed distance to the usual minimiser": measure(line, Function(1.0, usual)),
    }
    bayes, best = rows.values()
    for tau in TAUS:
        found = measure(line, minimiser(line, tau))
        rows[f"cross-entropy, tau = {tau:g}"] = found
        assert found["certified"] <= found["attacked"] + 1e-12  # an attack breaks no certificate
        assert found["certified"] <= best["certified"] + 1e-9
        assert found["risk"] >= bayes["risk"] - 1e-12
        assert (found["t"] == line.bayes) == is_content(tau) == (found["excluded"] == 0.0)
        # Where f has slope 1 every certificate is the distance to the boundary.
        assert (found["certified"] == found["attacked"]) == (found["slope"] == 1.0)
        assert abs(minimiser(even, tau).t) < 1e-9  # equal priors: always Bayes' boundary
    certified = [rows[f"cross-entropy, tau = {tau:g}"]["certified"] for tau in TAUS]
    assert certified[TAUS.index(2.0)] > bayes["certified"]
    assert min(certified[0], certified[-1]) < bayes["certified"] - 0.1
    table(
        "| f | boundary | slope | risk | certified at 0.5 | attacked at 0.5 | R_adv at 0.5 |",
        [
            [name, f"{r['t']:.3f}", f"{r['slope']:.2f}"]
            + [f"{r[key]:.4f}" for key in ("risk", "certified", "attacked", "excluded")]
            for name, r in rows.items()
        ],
    )


if __name__ == "__main__":
    main()
