"""Maximum-entropy problems solved to 50 digits: writes maxent.json beside this file.

Run with mpmath installed: ``python tests/oracles/maxent.py``. Every problem is solved for its
double-precision data taken as exact. Nothing of the package is used.
"""

import json
import math
from pathlib import Path

import mpmath as mp

mp.mp.dps = 80  # nearly dependent features cost up to 25 of them
DIGITS = 25


def solve(features, targets, log_base, start=None):
    """Return theta and the log-probabilities, by damped Newton on the dual."""
    num_features = len(features)
    allowed = [y for y, value in enumerate(log_base) if value != -math.inf]
    above = [
        [mp.mpf(row[y]) - mp.mpf(b) for y in allowed]
        for row, b in zip(features, targets, strict=True)
    ]
    scale = [max(abs(x) for x in row) for row in above]
    above = [[x / s for x in row] for row, s in zip(above, scale, strict=True)]
    base = [mp.mpf(log_base[y]) for y in allowed]
    theta = mp.zeros(num_features, 1)
    for i in range(num_features if start else 0):
        theta[i] = start[i] * scale[i]
    value, log_p = evaluate(above, base, theta)
    for _ in range(500):
        p = [mp.exp(x) for x in log_p]
        gradient = mp.matrix([mp.fdot(row, p) for row in above])
        hessian = mp.matrix(num_features, num_features)
        for i, row in enumerate(above):
            for j, other in enumerate(above):
                second = mp.fdot([u * v for u, v in zip(row, other, strict=True)], p)
                hessian[i, j] = second - gradient[i] * gradient[j]
        step = mp.lu_solve(hessian, -gradient)
        gain = -(step.T * gradient)[0]
        if gain < mp.mpf(10) ** -60:  # the last step squares the error
            value, log_p = evaluate(above, base, theta + step)
            theta += step
            break
        length = mp.mpf(1)
        while True:
            trial = evaluate(above, base, theta + length * step)
            if trial[0] <= value - length * gain / 10:
                break
            length /= 2
        theta += length * step
        value, log_p = trial
    else:
        raise RuntimeError("no convergence")
    everywhere = dict(zip(allowed, log_p, strict=True))
    return (
        [theta[i] / scale[i] for i in range(num_features)],
        [everywhere.get(y, -mp.inf) for y in range(len(log_base))],
    )


def evaluate(above, base, theta):
    """Return the dual log sum exp(C + theta'(F - b)) and the log-probabilities."""
    logits = [
        c + mp.fsum(theta[i] * row[y] for i, row in enumerate(above)) for y, c in enumerate(base)
    ]
    top = max(logits)
    value = top + mp.log(mp.fsum(mp.exp(z - top) for z in logits))
    return value, [z - value for z in logits]


def texts(numbers):
    """Return numbers as decimal strings."""
    return [mp.nstr(x, DIGITS) for x in numbers]


def problem(features, targets, log_base):
    """Return a problem and its solution."""
    theta, log_p = solve(features, targets, log_base)
    entropy = -mp.fsum(mp.exp(x) * x for x in log_p if x != -mp.inf)
    expected = mp.fsum(
        mp.exp(x) * mp.mpf(c) for x, c in zip(log_p, log_base, strict=True) if x != -mp.inf
    )
    return {
        "features": features,
        "targets": targets,
        "log_base": ["-inf" if c == -math.inf else c for c in log_base],
        "theta": texts(theta),
        "log_probabilities": texts(log_p),
        "entropy": mp.nstr(entropy, DIGITS),
        "value": mp.nstr(entropy + expected, DIGITS),
    }


def dice():
    """Return loaded dice of several means."""
    faces = [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]
    return [problem(faces, [mean], [0.0] * 6) for mean in (4.5, 1.0009765625, 2.0, 3.25, 5.9)]


def priors():
    """Return problems with a prior, of very different weights, one with outcomes ruled out."""
    first = [0.25 * (7 * k % 11) - 1.0 for k in range(10)]
    second = [float((3 * k * k) % 7 - 3) for k in range(10)]
    third = [math.ldexp((5 * k) % 8, -2) for k in range(10)]
    features = [first, second, third]
    mild = [0.125 * ((k * k) % 5) for k in range(10)]
    ruled_out = [-math.inf if k in (2, 7) else c for k, c in enumerate(mild)]
    steep = [-12.5 * k for k in range(10)]
    return [
        problem(features, [0.3, -0.2, 0.9], mild),
        problem(features, [0.3, -0.2, 0.9], ruled_out),
        problem(features, [0.6, 0.4, 1.1], steep),
    ]


def moments():
    """Return moment problems up to order 12, p known by construction, on grids exact in binary.

    The rows are the rounded powers x, x * x, x * x * x, ... in double precision, exactly as a
    loop of float products gives them.
    """
    problems = []
    for low, high in ((0.0, 1.0), (-1.0, 1.0), (0.0, 100.0)):
        grid = [low + (high - low) * k / 32.0 for k in range(33)]
        rows = [grid]
        for _ in range(11):
            rows.append([u * x for u, x in zip(rows[-1], grid, strict=True)])
        for order in (4, 8, 12):
            problems.append(moment_problem(rows[:order], low, high))
    return problems


def moment_problem(rows, low, high):
    """Return the problem whose solution is nearly exp of a sum of Legendre polynomials."""
    order = len(rows)
    # In u = (2 x - low - high) / (high - low), the coefficients of P_1, ..., P_order.
    weights = [mp.mpf((-1) ** (n // 2)) * 3 / (n + 1) for n in range(1, order + 1)]
    slope, shift = mp.mpf(2) / (high - low), -mp.mpf(low + high) / (high - low)
    theta = [mp.mpf(0)] * (order + 1)
    for n, weight in enumerate(weights, start=1):
        for power, coefficient in enumerate(legendre(n)):
            for j in range(power + 1):
                theta[j] += (
                    weight * coefficient * mp.binomial(power, j) * slope**j * shift ** (power - j)
                )
    exact = [[mp.mpf(x) for x in row] for row in rows]
    _, log_p = evaluate(exact, [mp.mpf(0)] * len(rows[0]), theta[1:])
    p = [mp.exp(x) for x in log_p]
    targets = [float(mp.fdot(row, p)) for row in exact]
    _, of_rounded_targets = solve(rows, targets, [0.0] * len(p), start=theta[1:])
    return {
        "low": low,
        "high": high,
        "order": order,
        "targets": targets,
        "log_probabilities": texts(log_p),
        "log_probabilities_of_rounded_targets": texts(of_rounded_targets),
    }


def legendre(n):
    """Return the coefficients of the Legendre polynomial P_n, of rising powers."""
    before, current = [mp.mpf(1)], [mp.mpf(0), mp.mpf(1)]
    if n == 0:
        return before
    for k in range(1, n):
        raised = [mp.mpf(0)] + [(2 * k + 1) * c / (k + 1) for c in current]
        lowered = [k * c / (k + 1) for c in before] + [mp.mpf(0)] * 2
        before, current = current, [u - v for u, v in zip(raised, lowered, strict=True)]
    return current


if __name__ == "__main__":
    results = {"dice": dice(), "priors": priors(), "moments": moments()}
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(results, indent=1) + "\n")
