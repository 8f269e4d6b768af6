"""Expectations between bounds: which bounds are met, then the solve with equalities.

At the optimum theta_i > 0 only where E_p[F_i] is at its lower bound, theta_i < 0 only at its upper
bound. A quasi-Newton search on the dual, log sum exp(C + theta'F) - max over the box of theta'z,
proposes the bounds that are met; the certified solve with these as targets decides.
"""

from dataclasses import replace

import numpy as np
import scipy.optimize

from infogeo._result import Status
from infogeo.maxent._features import ranges
from infogeo.maxent._linear import power_of_two
from infogeo.maxent._problem import CAUTION, EPS
from infogeo.maxent._proofs import is_proof
from infogeo.maxent._single import solve

_MAX_ROUNDS = 50


def solve_box(problem, lower, upper, controls):
    """Solve one problem whose targets may be anywhere between (m,) bounds, infinite or not."""
    allowed = ~np.isneginf(problem.log_base)

    def violation(p):
        mean = problem.features[:, allowed] @ p[allowed]
        return np.maximum(lower - mean, mean - upper).max()

    eta = _out_of_range(problem.features[:, allowed], lower, upper)
    if eta is not None:
        target = np.where(eta > 0.0, upper, lower)
        if _is_box_proof(problem, eta, target, allowed):
            free = _solve_at(problem, lower, np.zeros(lower.shape, dtype=bool), controls)
            return _failed(free, Status.INFEASIBLE, 0, eta, _describe(eta), violation)
    theta = _search(problem.features[:, allowed], problem.base[allowed], lower, upper)
    side = np.where(lower == upper, 1, np.sign(theta).astype(int))
    solution, steps = None, 0
    seen = set()
    while len(seen) < _MAX_ROUNDS and side.tobytes() not in seen:
        seen.add(side.tobytes())
        solution = _solve_at(problem, np.where(side > 0, lower, upper), side != 0, controls)
        steps += solution.steps
        if not solution.status.is_solution:
            break
        changed = _corrected(problem, solution, side, lower, upper)
        if np.array_equal(changed, side):
            return replace(solution, steps=steps)
        side = changed
    eta = _clash(problem.features[:, allowed], lower, upper)
    if eta is not None:
        target = np.where(eta > 0.0, upper, lower)
        if _is_box_proof(problem, eta, target, allowed):
            return _failed(solution, Status.INFEASIBLE, steps, eta, _describe(eta), violation)
    return _failed(solution, Status.UNDECIDED, steps, None, _UNDECIDED, violation)


_UNDECIDED = (
    "No solution, and no proof that there is none: which of the bounds are met could not be "
    "decided. Widen lower and upper a little, or give the bounds that matter as targets."
)


def _describe(eta):
    used = np.flatnonzero(eta)
    if used.size == 1:
        i, side = int(used[0]), "above" if eta[used[0]] > 0.0 else "below"
        end = "upper" if side == "above" else "lower"
        return (
            f"No distribution satisfies the constraints: feature {i} is {side} {end}[{i}] for "
            "every outcome."
        )
    numbers = ", ".join(str(int(i)) for i in used[:8])
    return (
        "No distribution satisfies the constraints: the bounds of features "
        f"{numbers} clash. The combination is in result.certificate."
    )


def _failed(solution, status, steps, certificate, diagnosis, violation):
    return replace(
        solution,
        residual=max(0.0, float(violation(solution.probabilities))),
        status=status,
        steps=steps,
        certificate=certificate,
        direction=None,
        error_bound=np.inf,
        dual_gap=np.inf,
        diagnosis=diagnosis,
    )


def _search(F, C, lower, upper):
    """Return theta near the optimum of the dual, exactly 0 where no bound is met."""
    num_features = F.shape[0]
    unit = power_of_two(np.abs(F).max(axis=-1))  # without it, squares under- and overflow
    with np.errstate(over="ignore"):  # bounds far beyond the features
        F, lower, upper = F / unit[:, None], lower / unit, upper / unit
    shift, scale = F.mean(axis=-1), np.maximum(F.std(axis=-1), 1e-300)
    rows = (F - shift[:, None]) / scale[:, None]
    low, high = (lower - shift) / scale, (upper - shift) / scale

    def dual(parts):
        theta = parts[:num_features] - parts[num_features:]
        logits = C + theta @ rows
        top = logits.max()
        p = np.exp(logits - top)
        total = p.sum()
        mean = rows @ (p / total)
        bound = np.where(parts[:num_features] > 0, low, 0.0) @ parts[:num_features]
        bound -= np.where(parts[num_features:] > 0, high, 0.0) @ parts[num_features:]
        return top + np.log(total) - bound, np.concatenate([mean - low, high - mean])

    limit = 1e6  # infeasible problems run away
    bounds = [(0.0, limit if np.isfinite(x) else 0.0) for x in low]
    bounds += [(0.0, limit if np.isfinite(x) else 0.0) for x in high]

    def finite_dual(parts):
        value, gradient = dual(parts)
        return value, np.where(np.isfinite(gradient), gradient, 0.0)

    options = {"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-9}
    start = np.zeros(2 * num_features)
    found = scipy.optimize.minimize(
        finite_dual, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    theta = found.x[:num_features] - found.x[num_features:]
    return np.where(np.abs(theta) > 1e-7, theta, 0.0)


def _solve_at(problem, targets, is_met, controls):
    """Solve with the bounds that are met as targets; the other features get theta = 0."""
    if not is_met.any():  # one constant feature constrains nothing
        features = np.zeros((1, problem.log_base.size))
        solution = solve(
            replace(problem, features=features, targets=np.zeros(1), start=None), controls
        )
    else:
        start = None if problem.start is None else problem.start[is_met]
        solution = solve(
            replace(
                problem, features=problem.features[is_met], targets=targets[is_met], start=start
            ),
            controls,
        )
    return _in_all_features(solution, is_met)


def _in_all_features(solution, is_met):
    """Put zeros for the features that were left out."""

    def widened(x):
        if x is None:
            return None
        wide = np.zeros((is_met.size, *x.shape[1:]))
        wide[is_met] = x if is_met.any() else 0.0
        return wide

    transform = widened(solution.transform) if is_met.any() else np.zeros((is_met.size, 0))
    return replace(
        solution,
        theta=widened(solution.theta) if is_met.any() else np.zeros(is_met.size),
        certificate=widened(solution.certificate),
        direction=widened(solution.direction) if is_met.any() else None,
        transform=transform,
    )


def _corrected(problem, solution, side, lower, upper):
    """Drop the bounds that push the wrong way and add those that are violated."""
    mean = np.where(solution.support, problem.features, 0.0) @ solution.probabilities
    size = np.abs(np.where(solution.support, problem.features, 0.0)).max(axis=-1)
    slack = CAUTION * max(problem.roundoff, EPS) * (size + np.abs(mean))
    # The means carry the error of the probabilities as well.
    slack += solution.error_bound * size * np.isfinite(solution.error_bound)
    push = solution.theta * side
    if solution.direction is not None:  # theta - s direction for large s
        outward = -solution.direction * side
        push = np.where(np.abs(outward) > 1e-12, outward, push)
    wrong = (push < 0.0) & (lower < upper)
    below, above = mean < lower - slack, mean > upper + slack
    changed = np.where(wrong, 0, side)
    changed = np.where(below & (side == 0), 1, changed)
    return np.where(above & (side == 0), -1, changed)


def _out_of_range(F, lower, upper):
    """Return a unit vector for the feature that is the furthest beyond a bound, or None."""
    low, high = ranges(F)
    excess = np.maximum(lower - high, low - upper)
    worst = int(excess.argmax())
    if not excess[worst] > 0.0:
        return None
    eta = np.zeros(lower.size)
    eta[worst] = 1.0 if low[worst] > upper[worst] else -1.0
    return eta


def _clash(F, lower, upper):
    """Return eta with eta'F_y above eta'z for all outcomes and all z in the box, or None.

    The linear program is the largest s with eta'F_y - max over the box of eta'z >= s and
    |eta| <= 1 in units of the spread, eta in its positive and negative part.
    """
    num_features, num_outcomes = F.shape
    unit = np.maximum(np.ptp(F, axis=-1), EPS * np.abs(F).max(axis=-1))
    unit = np.where(unit > 0.0, unit, 1.0)
    centre = F.mean(axis=-1)
    rows = ((F - centre[:, None]) / unit[:, None]).T
    low, high = (lower - centre) / unit, (upper - centre) / unit
    positive = np.where(np.isfinite(high), high, 0.0)
    negative = np.where(np.isfinite(low), low, 0.0)
    found = scipy.optimize.linprog(
        np.concatenate([np.zeros(2 * num_features), [-1.0]]),
        A_ub=np.hstack([positive - rows, rows - negative, np.ones((num_outcomes, 1))]),
        b_ub=np.zeros(num_outcomes),
        bounds=[(0.0, 1.0 if np.isfinite(x) else 0.0) for x in high]
        + [(0.0, 1.0 if np.isfinite(x) else 0.0) for x in low]
        + [(None, 1.0)],
        method="highs",
    )
    if found.status != 0:
        return None
    eta = (found.x[:num_features] - found.x[num_features : 2 * num_features]) / unit
    return eta / np.abs(eta).max() if eta.any() else None


def _is_box_proof(problem, eta, target, allowed):
    used = eta != 0.0
    return is_proof(
        replace(problem, features=problem.features[used][:, allowed], targets=target[used]),
        eta[used],
    )
