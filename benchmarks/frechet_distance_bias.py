"""What distances of two normals say that were fitted to samples of one and the same, as a table.

python benchmarks/frechet_distance_bias.py

The squared Frechet distance between normals (Wasserstein; the FID of image generators) and the
Fisher-Rao distance of two fits to N(0, I), each with what the plug-in says and what a correction
leaves: the jackknife for the first, the median-unbiased estimate for the second, with its interval.
Means of eight pairs.
"""

import numpy as np

from infogeo.inference import interval, jackknife
from infogeo.multivariate_normal import MultivariateNormal


def frechet_distance(x, y):
    """Return the squared Frechet distance of the normals that are fitted to samples."""
    shift = x.mean(0) - y.mean(0)
    a, b = np.cov(x.T), np.cov(y.T)
    values, vectors = np.linalg.eigh(a)
    root = vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0.0)).sum()
    return float(shift @ shift + np.trace(a) + np.trace(b) - 2.0 * cross)


def main():
    rng = np.random.default_rng(20261130)
    print(
        "| features | n | FID | jackknife | Fisher-Rao | estimate | upper end | lower end above 0 |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for d, n in ((5, 50), (5, 500), (20, 50), (20, 500), (64, 100), (64, 1000)):
        rows = []
        for _ in range(8):
            x, y = rng.normal(size=(2, n, d))
            fid = jackknife(frechet_distance, x, y, num_groups=20)
            found = interval(MultivariateNormal.fit(x), MultivariateNormal.fit(y))
            rows.append(
                (
                    fid.value,
                    fid.value - fid.bias,
                    found.distance,
                    found.estimate,
                    found.upper,
                    found.lower > 0.0,
                )
            )
        means = np.mean(np.asarray(rows, dtype=float), axis=0)
        numbers = " | ".join(f"{x:.2f}" for x in means[:5])
        print(f"| {d} | {n} | {numbers} | {round(8 * means[5])} of 8 |", flush=True)


if __name__ == "__main__":
    main()
