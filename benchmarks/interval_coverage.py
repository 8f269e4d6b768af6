"""How often the intervals of `infogeo.inference` hold the distance, printed as a table.

python benchmarks/interval_coverage.py          some ten minutes
python benchmarks/interval_coverage.py 0.1      a tenth of the samples

A pair of distributions starts at a uniform or a Zipf distribution and leaves it on a great circle
of root probabilities, in a random direction to both sides, to the given distance. The table has the
share of intervals that hold it, at the nominal level of 95 %, and below the mean length beside that
of Wald's interval: the plug-in distance, 1.96 / sqrt(N) to both sides, with its coverage.
"""

import math
import sys

import numpy as np
from scipy.optimize import brentq

from infogeo import simplex
from infogeo.inference import interval

DISTANCES = (0.0, 0.2, 0.7, 1.5, 2.5)
SIZES = ((20, 20), (200, 200), (50, 500), (1000, 1000), (10_000, 10_000))


def draw_pair(kind, num_outcomes, distance, rng):
    """Return two distributions at a distance."""
    base = np.ones(num_outcomes) if kind == "uniform" else 1.0 / np.arange(1.0, num_outcomes + 1.0)
    middle = np.sqrt(base / base.sum())
    if distance == 0.0:
        return middle**2, middle**2
    way = rng.normal(size=num_outcomes)
    way -= (way @ middle) * middle
    way /= np.linalg.norm(way)

    def pair(angle):
        roots = (math.cos(angle) * middle + sign * math.sin(angle) * way for sign in (1, -1))
        squares = (np.maximum(root, 0.0) ** 2 for root in roots)
        return [square / square.sum() for square in squares]

    end = 0.5 * math.pi - 1e-9
    return pair(brentq(lambda a: simplex.fisher_rao_distance(*pair(a)) - distance, 0.0, end))


def measure(kind, num_outcomes, n, m, distance, num_samples, rng):
    """Return coverage and mean length of the intervals, and those of Wald's."""
    p, q = draw_pair(kind, num_outcomes, distance, rng)
    x, y = rng.multinomial(n, p, size=num_samples), rng.multinomial(m, q, size=num_samples)
    found = interval(x, y)
    half = 1.96 * math.sqrt(1.0 / n + 1.0 / m)
    lower, upper = np.maximum(found.distance - half, 0.0), found.distance + half
    slack = 1e-9
    return [
        (
            float(((low <= distance + slack) & (distance - slack <= high)).mean()),
            float((np.minimum(high, math.pi) - low).mean()),
        )
        for low, high in ((found.lower, found.upper), (lower, upper))
    ]


def main(share=1.0):
    rng = np.random.default_rng(20261130)
    header = "".join(f" d = {d:g} |" for d in DISTANCES)
    print(f"| distribution | c | n, m |{header} length | of Wald | coverage of Wald |")
    print("|---|---|---|" + "---|" * (len(DISTANCES) + 3))
    for kind in ("uniform", "Zipf"):
        for num_outcomes in (2, 5, 20, 50, 200, 1000):
            for n, m in SIZES:
                if n == 20 and num_outcomes > 50:
                    continue
                num_samples = max(20, int(share * min(1000, 100_000 // num_outcomes)))
                found = [measure(kind, num_outcomes, n, m, d, num_samples, rng) for d in DISTANCES]
                ours = "".join(f" {own[0]:.3f} |" for own, _ in found)
                lengths = [np.mean([pair[k][1] for pair in found]) for k in (0, 1)]
                worst = min(wald[0] for _, wald in found)
                print(
                    f"| {kind} | {num_outcomes} | {n}, {m} |{ours} {lengths[0]:.3f} | "
                    f"{lengths[1]:.3f} | at least {worst:.3f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]))
