"""Problems of maximum entropy of ten kinds; every claim is checked by exact arithmetic.

Run as a script, it prints a table: ``python tests/maxent_campaign.py 10000``. Solutions are
compared with Newton's method in 60 digits, proofs of infeasibility with rational numbers.
"""

import sys
from collections import Counter
from fractions import Fraction

import mpmath as mp
import numpy as np
import scipy.optimize
import scipy.sparse
from known_class import draw_near_dependent, draw_problem, exact_values

from infogeo import Status
from infogeo.maxent import c_maximize, conditional, fit_margins, match_frequencies

DIGITS = 60


# ---------------------------------------------------------------- exact solutions


def independent(F):
    """Return which rows of F, beside the constant, are independent, in rational numbers."""
    kept, pivots = [], []
    columns = [[Fraction(1)] * F.shape[1]]
    columns += [[Fraction(float(x)) for x in row] for row in F]
    for i, row in enumerate(columns):
        for k, pivot in pivots:
            factor = row[k] / pivot[k]
            row = [x - factor * y for x, y in zip(row, pivot, strict=True)]
        where = next((k for k, x in enumerate(row) if x), None)
        if where is not None:
            pivots.append((where, row))
            kept.append(i - 1)
    return [i for i in kept if i >= 0]


def newton(dual, size):
    """Return the minimiser of a convex function; ``dual(x)`` gives value, gradient, Hessian."""
    x = mp.zeros(size, 1)
    value, gradient, hessian = dual(x)
    for _ in range(400):
        step, gain = descent(hessian, gradient, 0)
        if 0 <= gain < mp.mpf(10) ** (-2 * DIGITS // 3):  # the last step squares the error
            _, gradient, _ = dual(x + step)
            assert max(map(abs, gradient), default=0) < mp.mpf(10) ** (-DIGITS // 2)
            return x + step
        power = -DIGITS // 2
        while not gain > 0:  # far away, where probabilities have no digits left
            step, gain = descent(hessian, gradient, mp.mpf(10) ** power)
            power += 5
        length = mp.mpf(1)
        trial = dual(x + step)
        while trial[0] > value - length * gain / 10:
            length /= 2
            trial = dual(x + length * step)
        x += length * step
        value, gradient, hessian = trial
    raise RuntimeError("no convergence")


def descent(hessian, gradient, ridge):
    """Return a Newton step, and by how much it descends to first order; -1 if it is none."""
    size = len(gradient)
    largest = max((hessian[i, i] for i in range(size)), default=0)
    try:
        step = mp.lu_solve(hessian + ridge * largest * mp.eye(size), -gradient)
    except ZeroDivisionError:
        return mp.zeros(size, 1), -1
    return step, -(step.T * gradient)[0]


def log_softmax(z):
    top = max(z)
    total = top + mp.log(mp.fsum(mp.exp(x - top) for x in z))
    return total, [x - total for x in z]


def exact_logs(F, b, C, ridge=None):
    """Return log p of the solution, for independent features and data taken as exact."""
    rows = independent(F) if ridge is None else range(len(F))
    above = [[mp.mpf(float(x)) - mp.mpf(float(b[i])) for x in F[i]] for i in rows]
    size = len(above)
    price = [mp.mpf(0)] * size if ridge is None else [mp.mpf(float(r)) for r in ridge]
    if size == 0:
        return log_softmax([mp.mpf(float(c)) for c in C])[1]

    def logits(t):
        return [
            mp.mpf(float(c)) + mp.fsum(t[i] * above[i][y] for i in range(size))
            for y, c in enumerate(C)
        ]

    def dual(t):
        value, log_p = log_softmax(logits(t))
        p = [mp.exp(x) for x in log_p]
        mean = [mp.fdot(row, p) for row in above]
        hessian = mp.matrix(size, size)
        for i in range(size):
            for j in range(i + 1):
                terms = (
                    (above[i][y] - mean[i]) * (above[j][y] - mean[j]) * q for y, q in enumerate(p)
                )
                hessian[i, j] = hessian[j, i] = mp.fsum(terms)
            hessian[i, i] += price[i]
        gradient = mp.matrix([m + r * x for m, r, x in zip(mean, price, t, strict=True)])
        value += mp.fsum(r * x * x for r, x in zip(price, t, strict=True)) / 2
        return value, gradient, hessian

    return log_softmax(logits(newton(dual, size)))[1]


def is_within(found, support, logs):
    """Whether the log-probabilities of the support are within the bound of exact ones."""
    errors = [
        abs(mp.mpf(float(x)) - y)
        for x, y in zip(found.log_probabilities[support], logs, strict=True)
    ]
    return max(errors) <= found.error_bound


# ---------------------------------------------------------------- verdicts


def verdict(found, F, b, C, exists):
    """Return "right", "wrong" or "undecided" for a problem that has a solution or has none."""
    if found.status is Status.INFEASIBLE:
        values = exact_values(F, b, found.certificate)
        return "right" if min(values) > 0 and not exists else "wrong"
    if not found.status.is_solution:
        return "undecided"
    if not exists:
        return "wrong"
    support = found.support
    if found.status is Status.BOUNDARY:
        values = [float(v) for v in exact_values(F, b, found.direction)]
        off = [v for v, on in zip(values, support, strict=True) if not on]
        on = [abs(v) for v, on in zip(values, support, strict=True) if on]
        if not min(off) > 0.0 or max(on) > 1e-9 * min(off):
            return "wrong"
    logs = exact_logs(F[:, support], b, C[support])
    return "right" if is_within(found, support, logs) else "wrong"


def dense(rng):
    kind = rng.choice(["interior", "face", "infeasible"])
    F, b, C, _ = draw_problem(rng, kind)
    yield verdict(c_maximize(F, b, log_base=C, throw=False), F, b, C, kind != "infeasible")


def sparse(rng):
    kind = rng.choice(["interior", "face", "infeasible"])
    F, b, C, _ = draw_problem(rng, kind)
    found = c_maximize(scipy.sparse.csr_array(F), b, log_base=C, throw=False)
    yield verdict(found, F, b, C, kind != "infeasible")


def batch(rng):
    F, b, C, _ = draw_problem(rng, "interior")
    beyond = b + np.where(np.arange(b.size) == 0, np.ptp(F[0]) + 1.0, 0.0)
    found = c_maximize(F, np.stack([b, beyond, b]), log_base=C, throw=False)
    for k, target in enumerate((b, beyond, b)):
        yield verdict(member(found, k), F, target, C, k != 1)


def member(found, k):
    """Return what a batch says of one of its members."""
    names = ("probabilities", "log_probabilities", "theta", "error_bound", "support")
    one = type("Member", (), {name: getattr(found, name)[k] for name in names})
    one.status = found.member_status[k]
    one.certificate = None if found.certificate is None else found.certificate[k]
    one.direction = None if found.direction is None else found.direction[k]
    return one


def near_dependent(rng):
    F, p = draw_near_dependent(rng)
    b, C = F @ p, np.zeros(F.shape[1])
    features = scipy.sparse.csr_array(F) if rng.random() < 0.5 else F
    yield verdict(c_maximize(features, b, throw=False), F, b, C, True)


def box(rng):
    m, c = int(rng.integers(1, 5)), int(rng.integers(3, 9))
    F = rng.integers(-3, 4, size=(m, c)).astype(float)
    middle = F @ rng.dirichlet(np.ones(c)) + rng.choice([0.0, 0.5, 3.0]) * rng.normal(size=m)
    lower = np.round(middle - rng.random(m), 3)
    upper = np.round(middle + rng.random(m), 3)
    C = rng.normal(size=c)
    if rng.random() < 0.5:
        found = c_maximize(F, lower=lower, upper=upper, log_base=C, throw=False)
    else:  # the last of three that are solved together
        lowers = np.stack([lower - 0.1, lower, lower])
        found = c_maximize(F, lower=lowers, upper=upper, log_base=C, throw=False)
        found = member(found, 2)
    if found.status is Status.INFEASIBLE:
        target = np.where(found.certificate > 0.0, upper, lower)
        yield "right" if min(exact_values(F, target, found.certificate)) > 0 else "wrong"
        return
    if not found.status.is_solution:
        yield "undecided"
        return
    if found.status is Status.BOUNDARY:
        yield "right" if (F @ found.probabilities <= upper + 1e-9).all() else "wrong"
        return
    side = np.sign(found.theta)
    met = np.flatnonzero(side)
    logs = exact_logs(F[met], np.where(side > 0.0, lower, upper)[met], C)
    mean = [
        mp.fsum(mp.mpf(float(x)) * mp.exp(y) for x, y in zip(row, logs, strict=True)) for row in F
    ]
    slack = mp.mpf(10) ** -12
    inside = all(l - slack <= x <= u + slack for l, x, u in zip(lower, mean, upper, strict=True))
    is_right = inside and is_within(found, np.ones(c, dtype=bool), logs)
    yield "right" if is_right else "wrong"


def penalty(rng):
    F, _, C, _ = draw_problem(rng, "interior")
    b = rng.normal(size=len(F)) * 3.0
    rho = 10.0 ** rng.uniform(-3.0, 4.0, size=len(F))
    found = c_maximize(F, b, log_base=C, penalty=rho, throw=False)
    if not found.status.is_solution:
        yield "undecided"
        return
    logs = exact_logs(F, b, C, ridge=[1 / mp.mpf(float(r)) for r in rho])
    yield "right" if is_within(found, np.ones(F.shape[1], dtype=bool), logs) else "wrong"


def table_features(shape):
    """Return the indicators of the rows and the columns of a table."""
    rows = np.repeat(np.eye(shape[0]), shape[1], axis=1)
    return np.vstack([rows, np.tile(np.eye(shape[1]), shape[0])])


def margins_of(rng, logarithms):
    shape = (int(rng.integers(2, 5)), int(rng.integers(2, 5)))
    smallest = int(rng.choice([4, 20, 50])) if logarithms else 8
    margins = []
    for size in shape:  # dyadic fractions that sum to 1 exactly
        parts = [2.0 ** -int(rng.integers(3, smallest + 1)) for _ in range(size - 1)]
        margins.append(np.array([*parts, 1.0 - sum(parts)]))
    z = np.round(rng.normal(size=shape) * (8.0 if logarithms else 1.0), 3)
    given = {"log_table": z} if logarithms else {"table": np.exp(z)}
    C = z if logarithms else np.log(np.exp(z))
    found = fit_margins(margins={0: margins[0], 1: margins[1]}, throw=False, **given)
    if not found.status.is_solution:
        yield "undecided"
        return
    logs = exact_logs(table_features(shape), np.concatenate(margins), C.ravel())
    bound = found.error_bound
    if not logarithms:  # the table itself is exact, not its rounded logarithm
        bound = bound + 4e-16 * (1.0 + np.abs(z).max())
    fields = {"log_probabilities": found.log_probabilities.ravel(), "error_bound": bound}
    member = type("Member", (), fields)
    yield "right" if is_within(member, np.ones(z.size, dtype=bool), logs) else "wrong"


def margins(rng):
    yield from margins_of(rng, False)


def transport(rng):
    with mp.workdps(200):  # probabilities of 1e-60 hide in a Hessian of fewer digits
        yield from margins_of(rng, True)


def frequencies(rng):
    n, c = int(rng.integers(4, 9)), 3
    z = np.round(rng.normal(size=(n, c)) * 2.0, 3) + rng.choice([0.0, 1e6]) * np.arange(c)
    f = np.array([0.5, 0.25, 0.25])
    found = match_frequencies(z, f, space="logits", throw=False)
    if not found.status.is_solution:
        yield "undecided"
        return

    def tilted(t):
        offsets = (t[0], t[1], mp.mpf(0))
        rows = ([mp.mpf(float(x)) + o for x, o in zip(row, offsets, strict=True)] for row in z)
        return [log_softmax(row) for row in rows]

    def dual(t):
        value, gradient, hessian = mp.mpf(0), mp.zeros(2, 1), mp.zeros(2, 2)
        for total, log_p in tilted(t):
            p = [mp.exp(x) for x in log_p]
            value += total / n
            for j in range(2):
                gradient[j] += (p[j] - mp.mpf(f[j])) / n
                for k in range(2):
                    hessian[j, k] += p[j] * ((j == k) - p[k]) / n
        return value - mp.fsum(mp.mpf(f[j]) * t[j] for j in range(2)), gradient, hessian

    start = found.class_offsets - found.class_offsets[2]  # rounded: Newton's method finds the rest
    start = mp.matrix([mp.mpf(float(x)) for x in start[:2]])
    logs = tilted(start + newton(lambda d: dual(start + d), 2))
    worst = max(
        abs(mp.log(mp.mpf(float(q))) - x)
        for p, (_, row) in zip(found.probabilities, logs, strict=True)
        for q, x in zip(p, row, strict=True)
    )
    yield "right" if worst <= found.error_bound + 2.3e-16 else "wrong"


def classes(rng):
    """Draw a conditional problem of two or three classes."""
    n, c = int(rng.integers(6, 14)), int(rng.integers(2, 4))
    X = rng.integers(-3, 4, size=(n, int(rng.integers(1, 3)))).astype(float)
    y = rng.integers(0, c, size=n)
    y[:c] = np.arange(c)
    found = conditional(X, y, throw=False)
    if not found.status.is_solution:
        yield "undecided"
        return
    if found.status is Status.BOUNDARY:
        coef, intercept = (
            [[Fraction(float(x)) for x in row] for row in np.atleast_2d(part)]
            for part in (found.separation.coef, found.separation.intercept)
        )
        margins = []
        for x, label in zip(X, y, strict=True):
            scores = [
                sum(a * Fraction(float(v)) for a, v in zip(row, x, strict=True)) + intercept[0][j]
                for j, row in enumerate(coef)
            ]
            margins += [scores[label] - s for j, s in enumerate(scores) if j != label]
        yield "right" if min(margins) >= -1e-12 and max(margins) > 1e-6 else "wrong"
        return
    design = np.hstack([np.ones((n, 1)), X])
    kept = [0, *(1 + i for i in independent(X.T))]
    rows = [[mp.mpf(float(v)) for v in row] for row in design[:, kept]]
    size = len(kept)

    def logits(t):
        theta = [[mp.mpf(0)] * size] + [list(t[k * size : (k + 1) * size]) for k in range(c - 1)]
        return [[mp.fdot(part, row) for part in theta] for row in rows]

    def dual(t):
        value, gradient = mp.mpf(0), mp.zeros(size * (c - 1), 1)
        hessian = mp.matrix(size * (c - 1), size * (c - 1))
        for row, z, label in zip(rows, logits(t), y, strict=True):
            _, log_p = log_softmax(z)
            value -= log_p[label]
            p = [mp.exp(x) for x in log_p]
            for j in range(1, c):
                for a in range(size):
                    k = (j - 1) * size + a
                    gradient[k] += (p[j] - (label == j)) * row[a]
                    for l in range(1, c):
                        weight = p[j] * ((j == l) - p[l])
                        for d in range(size):
                            hessian[k, (l - 1) * size + d] += weight * row[a] * row[d]
        return value, gradient, hessian

    t = newton(dual, size * (c - 1))
    logs = [log_softmax(z)[1] for z in logits(t)]
    worst = max(
        abs(mp.log(mp.mpf(float(q))) - x)
        for p, row in zip(found.probabilities, logs, strict=True)
        for q, x in zip(p, row, strict=True)
    )
    yield "right" if worst <= found.error_bound + 2.3e-16 else "wrong"


KINDS = (
    dense,
    sparse,
    batch,
    near_dependent,
    box,
    penalty,
    margins,
    transport,
    frequencies,
    classes,
)


def run(seed, count):
    """Return how often each kind ended in which way, over about `count` problems."""
    seen = {kind.__name__: Counter() for kind in KINDS}
    with mp.workdps(DIGITS):
        for k in range(count):
            kind = KINDS[k % len(KINDS)]
            for answer in kind(np.random.default_rng([seed, k])):
                seen[kind.__name__][answer] += 1
                if answer != "right":
                    seen[kind.__name__][f"{answer[0]}{k}"] += 1
    return seen


if __name__ == "__main__":
    answers = ("right", "undecided", "wrong")
    print(f"{'kind':16}" + "".join(f"{answer:>11}" for answer in answers))
    for name, counts in run(0, int(sys.argv[1])).items():
        print(f"{name:16}" + "".join(f"{counts[answer]:11}" for answer in answers), end="")
        print("   ", *(key for key in counts if key not in answers))
