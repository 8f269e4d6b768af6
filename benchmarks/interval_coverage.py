"""How often the intervals of `infogeo.inference` hold the distance, printed as a table.

python benchmarks/interval_coverage.py          some fifteen minutes
python benchmarks/interval_coverage.py 0.1      a tenth of the samples

A pair of distributions starts at a uniform or a Zipf distribution and leaves it on a great circle
of root probabilities, in a random direction to both sides, to the given distance; root
probabilities that would become negative are 0. The table has the share of intervals that hold the
distance, at the nominal level of 95 %, their mean length over all distances, and which part of it
rare outcomes make (`unresolved`). Beside them are mean lengths and the lowest coverages of

- Wald: the plug-in distance, 1.96 / sqrt(N) to both sides, N = nm / (n + m);
- bootstrap: the percentiles of 100 resampled plug-in distances;
- inversion: of the noncentral chi-square law with c - 1 degrees of freedom of T = N d^2.
"""

import math
import sys

import numpy as np
from scipy.optimize import brentq
from scipy.special import chndtrinc

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


def bootstrap(x, y, rng):
    """Return percentile intervals of the plug-in distance, of the first samples."""
    ends = []
    for a, b in zip(x[:20], y[:20], strict=True):
        n, m = a.sum(), b.sum()
        again = rng.multinomial(n, a / n, size=100) / n, rng.multinomial(m, b / m, size=100) / m
        ends.append(np.quantile(simplex.fisher_rao_distance(*again), [0.025, 0.975]))
    return np.transpose(ends)


def invert(distance, size, degrees):
    """Return the ends at which the law of T has the tails .025."""
    ends = [chndtrinc(size * distance**2, float(degrees), tail) for tail in (0.975, 0.025)]
    return np.sqrt(np.nan_to_num(np.maximum(ends, 0.0)) / size)


def measure(kind, num_outcomes, n, m, distance, num_samples, rng):
    """Return coverages and mean lengths of all four intervals, and the part of rare outcomes."""
    p, q = draw_pair(kind, num_outcomes, distance, rng)
    x, y = rng.multinomial(n, p, size=num_samples), rng.multinomial(m, q, size=num_samples)
    found = interval(x, y)
    size = n * m / (n + m)
    half = 1.96 / math.sqrt(size)
    ends = [
        (found.lower, found.upper),
        (np.maximum(found.distance - half, 0.0), found.distance + half),
        bootstrap(x, y, rng),
        invert(found.distance, size, num_outcomes - 1),
    ]
    held = [((a <= distance + 1e-9) & (distance - 1e-9 <= b)).mean() for a, b in ends]
    lengths = [(np.minimum(b, math.pi) - a).mean() for a, b in ends]
    return held, lengths, found.unresolved.mean()


def main(share=1.0):
    rng = np.random.default_rng(20261130)
    header = "".join(f" d = {d:g} |" for d in DISTANCES)
    others = " Wald | bootstrap | inversion |"
    print(f"| distribution | c | n, m |{header} length | rare |{others}")
    print("|---|---|---|" + "---|" * (len(DISTANCES) + 5))
    lowest = 1.0
    for kind in ("uniform", "Zipf"):
        for num_outcomes in (2, 5, 20, 50, 200, 1000):
            for n, m in SIZES:
                if n == 20 and num_outcomes > 50:
                    continue
                num_samples = max(50, int(share * min(1000, 100_000 // num_outcomes)))
                found = [measure(kind, num_outcomes, n, m, d, num_samples, rng) for d in DISTANCES]
                held = np.array([cell[0] for cell in found])
                lengths = np.mean([cell[1] for cell in found], axis=0)
                rare = np.mean([cell[2] for cell in found])
                lowest = min(lowest, held[:, 0].min())
                ours = "".join(f" {value:.3f} |" for value in held[:, 0])
                peers = "".join(
                    f" {length:.2f} ({cover:.2f}) |"
                    for length, cover in zip(lengths[1:], held[:, 1:].min(0), strict=True)
                )
                print(
                    f"| {kind} | {num_outcomes} | {n}, {m} |{ours} {lengths[0]:.3f} | "
                    f"{rare:.3f} |{peers}",
                    flush=True,
                )
    print(f"\nThe lowest of these coverages is {lowest:.3f}.")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]))
