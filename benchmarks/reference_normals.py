"""Distances of the pairs of test_bench_normals.py to 25 digits: run this file with python.

Eriksen's matrix exponential, 40 digits, is inverted by a simplified Newton method. The first guess
and the Jacobian (differences, so good for 6 digits a step) come from infogeo in float64; what is
solved, and the residual that ends it, do not.
"""

import sys

import mpmath as mp
import numpy as np

from infogeo import multivariate_normal
from infogeo.multivariate_normal import MultivariateNormal, Tangent

DIMENSIONS = (2, 5, 10, 20, 50)


def pairs(num_pairs, d):
    """Return two batches of normals: sample covariances of 2 d samples, means one std apart."""
    rng = np.random.default_rng(d)
    made = []
    for _ in range(2):
        samples = rng.normal(size=(num_pairs, d, 2 * d))
        made.append(
            (
                rng.normal(size=(num_pairs, d)),
                samples @ np.swapaxes(samples, -1, -2) / (2 * d),
            )
        )
    return made


def exponential(x, B):
    """Return mean and covariance at time 1 from N(0, I) with velocity (x, B), in mpmath."""
    d = len(x)
    block = mp.zeros(2 * d + 1)
    for i in range(d):
        block[i, d] = block[d, i] = x[i]
        block[d, d + 1 + i] = block[d + 1 + i, d] = -x[i]
        for j in range(d):
            block[i, j], block[d + 1 + i, d + 1 + j] = -B[i, j], B[i, j]
    power = mp.expm(block, method="taylor")
    S = power[:d, :d] ** -1
    return S * power[:d, d], S


def distance(mean_a, cov_a, mean_b, cov_b):
    """Return the distance as an mpmath number."""
    d = len(mean_a)
    rows, columns = np.tril_indices(d)
    inverse = mp.cholesky(mp.matrix(cov_a.tolist())) ** -1
    m = inverse * (mp.matrix(mean_b.tolist()) - mp.matrix(mean_a.tolist()))
    W = inverse * mp.matrix(cov_b.tolist()) * inverse.T

    def pack(mean, S):
        return mp.matrix([*mean, *(S[int(i), int(j)] for i, j in zip(rows, columns, strict=True))])

    def unpack(unknowns):
        x, B = [unknowns[i] for i in range(d)], mp.zeros(d)
        for k, (i, j) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
            B[i, j] = B[j, i] = unknowns[d + k]
        return x, B

    origin = MultivariateNormal(np.zeros(d), np.eye(d))
    end = MultivariateNormal(
        np.array(m.tolist(), float)[:, 0], np.array(W.tolist(), float), check=False
    )
    start = multivariate_normal.log_map(origin, end)
    guess = np.concatenate([start.mean, start.cov[rows, columns]])

    def reached(unknowns):
        B = np.zeros((*unknowns.shape[:-1], d, d))
        B[..., rows, columns] = B[..., columns, rows] = unknowns[..., d:]
        found = multivariate_normal.exp_map(origin, Tangent(unknowns[..., :d], B))
        return np.concatenate([found.mean, found.cov[..., rows, columns]], axis=-1)

    step = 1e-6 * np.eye(len(guess))
    jacobian = np.concatenate(
        [
            (reached(guess + part) - reached(guess - part)) / 2e-6
            for part in np.array_split(step, -(-len(guess) // 100))
        ]
    ).T
    unknowns, target = mp.matrix(guess.tolist()), pack(list(m), W)
    for _ in range(12):
        mean, S = exponential(*unpack(unknowns))
        error = target - pack(list(mean), S)
        if mp.norm(error) < mp.mpf(10) ** -28:
            x, B = unpack(unknowns)
            squares = mp.fsum(v * v for v in x) + mp.fsum(v * v for v in B) / 2
            return mp.sqrt(squares)
        size = mp.norm(error)
        scaled = np.array([float(v / size) for v in error])
        unknowns += size * mp.matrix(np.linalg.solve(jacobian, scaled).tolist())
    raise RuntimeError("no convergence")


def main():
    """Print the table."""
    mp.mp.dps = 40
    for d in [int(x) for x in sys.argv[1:]] or DIMENSIONS:
        (mean_a, cov_a), (mean_b, cov_b) = pairs(1, d)
        found = distance(mean_a[0], cov_a[0], mean_b[0], cov_b[0])
        print(f'    {d}: "{mp.nstr(found, 25)}",', flush=True)


if __name__ == "__main__":
    main()
