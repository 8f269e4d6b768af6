"""Fisher-Rao distances of multivariate normals, beside pyBregMan, fisherrao and a shooting method.

Errors of single pairs are relative to the 25 digits of reference_normals.py. Those of batches are
the largest distance by which a geodesic misses its end, relative to its length (first 200 pairs).
"""

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
from reference_normals import DIMENSIONS, pairs

from infogeo import multivariate_normal
from infogeo.multivariate_normal import MultivariateNormal

REFERENCE = {  # python benchmarks/reference_normals.py
    2: "2.096582040809174089891334",
    5: "4.987525845567693469730523",
    10: "4.580678651839114842660568",
    20: "6.060711742044058654605273",
    50: "8.651131580175903780916837",
}
SHOOTING_LIMIT = 5  # coordinates: 20 unknowns; at 10 there are 65, and a solve takes minutes


def with_infogeo(mean_a, cov_a, mean_b, cov_b):
    a, b = MultivariateNormal(mean_a, cov_a), MultivariateNormal(mean_b, cov_b)
    return lambda: multivariate_normal.fisher_rao_distance(a, b)


def with_pybregman(mean_a, cov_a, mean_b, cov_b):
    """Its bounds, refined by halving along its "Kobayashi" curve until they agree to 1e-3."""
    gaussian = pytest.importorskip("bregman.application.distribution.exponential_family.gaussian")
    from bregman.base import LAMBDA_COORDS, Point

    distance = gaussian.GaussianFisherRaoDistance(gaussian.GaussianManifold(len(mean_a)))
    a, b = (
        Point(LAMBDA_COORDS, np.concatenate([mean, cov.ravel()]))
        for mean, cov in ((mean_a, cov_a), (mean_b, cov_b))
    )
    return lambda: distance(a, b, eps=1e-3)


def with_fisherrao(mean_a, cov_a, mean_b, cov_b):
    """Calvo and Oller's lower bound, without its factor 1 / sqrt2."""
    fisherrao = pytest.importorskip("fisherrao")
    return lambda: fisherrao.calvo_oller_distance(mean_a, cov_a, mean_b, cov_b)


def with_shooting(mean_a, cov_a, mean_b, cov_b):
    """Least squares on the initial velocity; the geodesic equation by scipy's DOP853."""
    d = len(mean_a)
    rows, columns = np.tril_indices(d)
    inverse = np.linalg.inv(np.linalg.cholesky(cov_a))
    m, W = inverse @ (mean_b - mean_a), inverse @ cov_b @ inverse.T

    def unpack(y):
        S = np.empty((d, d))
        S[rows, columns] = S[columns, rows] = y[d:]
        return y[:d], S

    def pack(x, S):
        return np.concatenate([x, S[rows, columns]])

    def acceleration(t, y):
        half = len(y) // 2
        (_, S), (v, V) = unpack(y[:half]), unpack(y[half:])
        change = np.linalg.solve(S, np.column_stack([v, V]))
        return np.concatenate(
            [
                v,
                V[rows, columns],
                V @ change[:, 0],
                (V @ change[:, 1:] - np.outer(v, v))[rows, columns],
            ]
        )

    def miss(velocity):
        start = np.concatenate([pack(np.zeros(d), np.eye(d)), velocity])
        end = scipy.integrate.solve_ivp(
            acceleration, (0.0, 1.0), start, method="DOP853", rtol=1e-10, atol=1e-12
        ).y[: len(velocity), -1]
        mean, S = unpack(end)
        try:  # the end in coordinates that make it N(0, I), so that no direction is forgotten
            L = np.linalg.cholesky(S)
        except np.linalg.LinAlgError:
            return np.full(len(velocity), 1e3)
        half = np.linalg.solve(L, W)
        return pack(np.linalg.solve(L, m - mean), np.linalg.solve(L, half.T) - np.eye(d))

    def solve():
        w, V = np.linalg.eigh(W)
        start = pack(m / np.sqrt(1.0 + m @ m), (V * np.log(w)) @ V.T)
        found = scipy.optimize.least_squares(miss, start, xtol=1e-12, ftol=1e-14, gtol=1e-12)
        x, B = unpack(found.x)
        return np.sqrt(x @ x + 0.5 * (B * B).sum())

    return solve


PEERS = {
    "infogeo": with_infogeo,
    "pyBregMan": with_pybregman,
    "fisherrao": with_fisherrao,
    "shooting (scipy)": with_shooting,
}


@pytest.mark.parametrize("who", PEERS)
@pytest.mark.parametrize("d", DIMENSIONS)
def test_one_pair(benchmark, d, who):
    if who.startswith("shooting") and d > SHOOTING_LIMIT:
        pytest.skip("minutes for one pair")
    (mean_a, cov_a), (mean_b, cov_b) = pairs(1, d)
    call = PEERS[who](mean_a[0], cov_a[0], mean_b[0], cov_b[0])
    benchmark.group = f"one pair, {d} dimensions"
    rounds = {"infogeo": 30, "fisherrao": 30}.get(who, 1)
    found = benchmark.pedantic(call, rounds=rounds, warmup_rounds=int(rounds > 1))
    with mpmath.workdps(30):
        error = abs(mpmath.mpf(float(np.real(found))) / mpmath.mpf(REFERENCE[d]) - 1)
    benchmark.extra_info["error"] = float(error)


def in_one_call(mean_a, cov_a, mean_b, cov_b):
    return with_infogeo(mean_a, cov_a, mean_b, cov_b)()


def in_a_loop(*batches):
    return np.array([in_one_call(*pair) for pair in zip(*batches, strict=True)])


def worst_miss(mean_a, cov_a, mean_b, cov_b, d, rows=200):
    """Return how far geodesics end from where they should, relative to their lengths."""
    a = MultivariateNormal(mean_a[:rows], cov_a[:rows])
    b = MultivariateNormal(mean_b[:rows], cov_b[:rows])
    velocity = multivariate_normal.log_map(a, b)
    reached = multivariate_normal.exp_map(a, velocity)
    missed = multivariate_normal.fisher_rao_distance(reached, b)
    wrong = np.abs(multivariate_normal.norm(a, velocity) - d[:rows])
    return float(((missed + wrong) / d[:rows]).max())


@pytest.mark.parametrize("who", ["infogeo", "a loop over single solves"])
@pytest.mark.parametrize("d", [2, 5])
def test_many_pairs(benchmark, d, who):
    (mean_a, cov_a), (mean_b, cov_b) = pairs(10_000, d)
    batches = mean_a, cov_a, mean_b, cov_b
    call, rounds = (in_one_call, 3) if who == "infogeo" else (in_a_loop, 1)
    benchmark.group = f"10,000 pairs, {d} dimensions"
    found = benchmark.pedantic(call, args=batches, rounds=rounds)
    benchmark.extra_info["error"] = worst_miss(*batches, found)
