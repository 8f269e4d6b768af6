"""Geodesics between multivariate normals to 30 digits: writes multivariate_normal.json beside this.

Run with mpmath and the package installed: ``python tests/oracles/multivariate_normal.py``. The
double-precision data count as exact. Eriksen's exponential (the matrix exponential of a block
matrix, 50 digits) is inverted by Newton's method with a Jacobian from differences of 10^-25; only
the first guess comes from the package, and the residual of the last step is asserted.
"""

import json
from pathlib import Path

import mpmath as mp
import numpy as np

from infogeo import multivariate_normal as mvn

mp.mp.dps = 50
STEP, RESIDUAL = mp.mpf(10) ** -25, mp.mpf(10) ** -40
DIGITS = 30


def exponential(x, B):
    """Return mean and covariance at time 1 of the geodesic from N(0, I) with velocity (x, B)."""
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


def unpack(unknowns, d):
    B = mp.zeros(d)
    k = d
    for i in range(d):
        for j in range(i + 1):
            B[i, j] = B[j, i] = unknowns[k]
            k += 1
    return [unknowns[i] for i in range(d)], B


def pack(mean, S, d):
    entries = [S[i, j] for i in range(d) for j in range(i + 1)]
    return mp.matrix([mean[i] for i in range(d)] + entries)


def connect(mean_a, cov_a, mean_b, cov_b):
    """Return the distance and the velocity (dmean, dcov) at a."""
    d = len(mean_a)
    L = mp.cholesky(mp.matrix(cov_a))
    inverse = L**-1
    difference = mp.matrix(mean_b) - mp.matrix(mean_a)
    W = inverse * mp.matrix(cov_b) * inverse.T
    target = pack(inverse * difference, W, d)
    start = mvn.log_map(
        mvn.MultivariateNormal(mean_a, cov_a), mvn.MultivariateNormal(mean_b, cov_b)
    )
    dcov = inverse * mp.matrix(start.cov.tolist()) * inverse.T
    unknowns = pack(inverse * mp.matrix(start.mean.tolist()), dcov, d)
    for _ in range(8):
        value = pack(*exponential(*unpack(unknowns, d)), d)
        error = target - value
        if mp.norm(error) < RESIDUAL * (1 + mp.norm(target)):
            break
        jacobian = mp.zeros(len(unknowns))
        for k in range(len(unknowns)):
            moved = unknowns.copy()
            moved[k] += STEP
            column = (pack(*exponential(*unpack(moved, d)), d) - value) / STEP
            for i in range(len(unknowns)):
                jacobian[i, k] = column[i]
        unknowns += mp.lu_solve(jacobian, error)
    else:
        raise RuntimeError("no convergence")
    x, B = unpack(unknowns, d)
    squares = (
        mp.fsum(v * v for v in x) + mp.fsum(B[i, j] ** 2 for i in range(d) for j in range(d)) / 2
    )
    velocity = L * B * L.T
    return mp.sqrt(squares), list(L * mp.matrix(x)), velocity


def cases():
    """Yield pairs of normals: moderate, near, far, badly conditioned, far from the origin."""
    rng = np.random.default_rng(20261124)

    def covariance(d, condition):
        Q = np.linalg.qr(rng.normal(size=(d, d)))[0]
        scales = np.exp(rng.uniform(-0.5, 0.5, d) * np.log(condition))
        S = Q * scales @ Q.T
        return 0.5 * (S + S.T)

    for d in (1, 2, 3, 5):
        for condition, shift in ((3.0, 1.0), (1e3, 3.0), (1e6, 0.3)):
            yield (
                np.zeros(d),
                covariance(d, condition),
                shift * rng.normal(size=d),
                covariance(d, condition),
            )
    for size in (1e-3, 1e-8):
        S = covariance(3, 10.0)
        change = rng.normal(size=(3, 3))
        mean = rng.normal(size=3)
        yield mean, S, mean + size * rng.normal(size=3), S + size * (change + change.T)
    for shift in (30.0, 1000.0):
        yield np.zeros(3), covariance(3, 10.0), shift * rng.normal(size=3), covariance(3, 10.0)
    thin, wide = np.diag([1.0, 1e-4]), np.diag([1e-3, 1.0])
    for shift in ([0.0, 50.0], [3.0, 5.0]):  # Newton's Hessian is indefinite at the start
        yield np.zeros(2), thin, np.array(shift), wide
    mean = 1e6 + rng.normal(size=2)
    yield mean, covariance(2, 10.0), mean + rng.normal(size=2), covariance(2, 10.0)


def text(x):
    return mp.nstr(x, DIGITS)


def main():
    found = []
    for mean_a, cov_a, mean_b, cov_b in cases():
        data = [x.tolist() for x in (mean_a, cov_a, mean_b, cov_b)]
        distance, mean, cov = connect(*data)
        d = len(mean)
        found.append(
            dict(zip(("mean_a", "cov_a", "mean_b", "cov_b"), data, strict=True))
            | {
                "distance": text(distance),
                "velocity_mean": [text(v) for v in mean],
                "velocity_cov": [[text(cov[i, j]) for j in range(d)] for i in range(d)],
            }
        )
        print(d, found[-1]["distance"])
    target = Path(__file__).with_suffix(".json")
    target.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
