"""Problems of maximum entropy whose class is known exactly, and the checks of their answers."""

from fractions import Fraction

import numpy as np
import pytest

from infogeo import Status


def exact_values(F, b, eta):
    """Return eta'(F_y - b) for every outcome in exact rational arithmetic."""
    eta = [Fraction(float(x)) for x in eta]
    return [
        sum(
            e * (Fraction(float(x)) - Fraction(float(t)))
            for e, x, t in zip(eta, column, b, strict=True)
        )
        for column in F.T
    ]


def assert_on_face(found, F, b, C, support):
    """Check support, zeros, form, expectations, and the direction that exposes the face."""
    assert found.status is Status.BOUNDARY
    np.testing.assert_array_equal(found.support, support)
    p = found.probabilities
    assert (p[~support] == 0.0).all()
    assert (p[support] > 0.0).all()
    size = np.abs(F).max()
    np.testing.assert_allclose(F @ p, b, rtol=0, atol=1e-11 * size)
    log_p = (C + found.theta @ F - found.log_partition)[support]
    scale = 1.0 + np.abs(C).max() + (np.abs(found.theta) @ np.abs(F)).max()
    resolved = p[support] > 1e-290
    np.testing.assert_allclose(
        log_p[resolved], np.log(p[support][resolved]), rtol=0, atol=1e-12 * scale
    )
    values = found.direction @ (F - b[:, None])
    assert np.abs(found.direction).max() == pytest.approx(1.0)
    assert np.abs(values[support]).max() <= 1e-9 * values[~support].min()
    assert found.certificate is None


def draw_features(rng):
    """Draw small integer features: anything, indicators, larger numbers, powers."""
    num_features, num_outcomes = int(rng.integers(1, 6)), int(rng.integers(2, 14))
    shape = (num_features, num_outcomes)
    kind = rng.integers(4)
    if kind == 0:
        return rng.integers(-2, 3, size=shape).astype(float)
    if kind == 1:
        return (rng.random(shape) < 0.4).astype(float)
    if kind == 2:
        return rng.integers(-9, 10, size=shape).astype(float)
    powers = np.tile(np.arange(num_outcomes, dtype=float), (min(num_features, 4), 1))
    return np.multiply.accumulate(powers, axis=0)


def draw_weights(rng, count):
    """Draw positive dyadic fractions that sum to 1, some as small as 2^-20."""
    weights = [Fraction(int(k), 64) for k in rng.integers(1, 8, size=count)]
    for i in range(count if rng.random() < 0.5 else 0):
        if rng.random() < 0.4:
            weights[i] = Fraction(1, 2 ** int(rng.integers(6, 21)))
    total = Fraction(1)
    while total < sum(weights):
        total *= 2
    weights[int(rng.integers(count))] += total - sum(weights)
    return [weight / total for weight in weights]


def draw_problem(rng, kind):
    """Draw a problem whose class holds exactly: all numbers are integers or dyadic fractions."""
    while True:
        F = draw_features(rng)
        normal = rng.integers(-2, 3, size=F.shape[0])
        height = normal @ F
        (face,) = np.nonzero(height == height.max())
        if kind != "interior" and face.size == F.shape[1]:
            continue
        outcomes = np.arange(F.shape[1]) if kind == "interior" else face
        weights = draw_weights(rng, outcomes.size)
        exact = [
            sum(Fraction(int(row[y])) * w for y, w in zip(outcomes, weights, strict=True))
            for row in F
        ]
        if kind == "infeasible":  # beyond the face, by steps down to 1e-6
            beyond = Fraction(1, 2 ** int(rng.integers(1, 21)))
            exact = [x + int(n) * beyond for x, n in zip(exact, normal, strict=True)]
        b = np.array([float(x) for x in exact])
        if any(Fraction(x) != y for x, y in zip(b.tolist(), exact, strict=True)):
            continue
        C = rng.normal(size=F.shape[1]) * rng.choice([0.0, 1.0, 10.0])
        support = np.zeros(F.shape[1], dtype=bool)
        support[outcomes] = True
        return F, b, C, support


def draw_near_dependent(rng):
    """Draw sparse features, one of which differs from another by entries of a power of two."""
    c, m = int(rng.integers(4, 8)), int(rng.integers(1, 3))
    F = (rng.random((m, c)) < 0.6) * rng.integers(1, 4, size=(m, c)).astype(float)
    change = 2.0 ** -int(rng.integers(12, 29)) * rng.integers(-2, 3, size=(1, c))
    F = np.vstack([F, F[:1] + change * (F[:1] != 0.0)])
    weights = rng.integers(1, 64, size=c)
    weights[0] += 1024 - weights.sum()
    return F, weights / 1024.0
