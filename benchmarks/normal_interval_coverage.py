"""How often the intervals of `infogeo.inference` for fitted normals hold the distance, as a table.

python benchmarks/normal_interval_coverage.py          some six minutes on one core
python benchmarks/normal_interval_coverage.py 3        three times as many samples
python benchmarks/normal_interval_coverage.py 3 10 20  of these numbers of features alone

Each pair of samples is drawn from N(0, I) and from the normal at the given distance from it, in a
direction of its own: a change of the mean, of all scales alike, of one scale, or at random. The
table has the share of intervals that hold the distance, at the nominal level of 95 %, which at the
distance 0 is 97.5 % (the lower end alone can err), how often the estimate is too large, the mean
length, and how often Wald's interval, the plug-in distance and 1.96 / sqrt(N) to both sides, holds
it, beside the mean of the plug-in distance of equal distributions.
"""

import math
import sys

import numpy as np

from infogeo import multivariate_normal
from infogeo.inference import interval
from infogeo.multivariate_normal import MultivariateNormal, Tangent

DISTANCES = (0.0, 0.5, 1.5, 3.0)
CASES = {
    1: ((3, 3), (5, 5), (20, 20), (50, 50), (20, 200), (1000, 1000)),
    2: ((4, 4), (8, 8), (20, 20), (50, 50), (20, 200), (1000, 1000)),
    5: ((7, 7), (15, 15), (50, 50), (15, 200), (200, 200), (1000, 1000)),
    10: ((12, 12), (25, 25), (100, 100), (30, 500), (1000, 1000)),
    20: ((22, 22), (40, 400), (1000, 1000)),
}


def directions(num_features, rng):
    """Return velocities of length 1 at N(0, I): of the mean, of scales, of one scale, any."""
    mean, identity = np.zeros(num_features), np.eye(num_features)
    one = np.zeros((num_features, num_features))
    one[0, 0] = 1.0
    matrix = rng.normal(size=one.shape)
    found = [
        (identity[0], 0.0 * one),
        (mean, rng.choice([-1.0, 1.0]) * identity),
        (mean, rng.choice([-1.0, 1.0]) * one),
        (rng.normal(size=num_features), matrix + matrix.T),
    ]
    origin = MultivariateNormal(mean, identity)
    vectors = [Tangent(*pair) for pair in found]
    return origin, [v / float(multivariate_normal.norm(origin, v)) for v in vectors]


def measure(num_features, n, m, distance, num_samples, rng):
    """Return coverage, share of too large estimates, length, Wald's coverage, plug-in distance."""
    found = []
    for i in range(num_samples):
        origin, vectors = directions(num_features, rng)
        end = multivariate_normal.exp_map(origin, distance * vectors[i % len(vectors)])
        factor = np.linalg.cholesky(end.cov)
        a = MultivariateNormal.fit(rng.normal(size=(n, num_features)))
        b = MultivariateNormal.fit(end.mean + rng.normal(size=(m, num_features)) @ factor.T)
        ours = interval(a, b)
        half = 1.96 * math.sqrt(1.0 / n + 1.0 / m)
        found.append(
            (
                ours.lower <= distance <= ours.upper,
                ours.estimate > distance,
                ours.upper - ours.lower,
                abs(ours.distance - distance) <= half,
                ours.distance,
            )
        )
    return np.mean(np.asarray(found, dtype=float), axis=0)


def main(share=1.0, *chosen):
    header = "".join(f" d = {d:g} |" for d in DISTANCES)
    print(f"| features | n, m |{header} too large | length | Wald | plug-in at 0 |")
    print("|---|---|" + "---|" * (len(DISTANCES) + 4))
    num_samples = max(8, round(120 * share))
    for num_features in map(int, chosen or CASES):
        for n, m in CASES[num_features]:
            rng = np.random.default_rng([20261130, num_features, n, m])
            found = [measure(num_features, n, m, d, num_samples, rng) for d in DISTANCES]
            ours = "".join(f" {x[0]:.3f} |" for x in found)
            too_large = np.mean([x[1] for x in found[2:]])
            length = np.mean([x[2] for x in found])
            worst = min(x[3] for x in found)
            print(
                f"| {num_features} | {n}, {m} |{ours} {too_large:.2f} | {length:.2f} | "
                f"at least {worst:.2f} | {found[0][4]:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
