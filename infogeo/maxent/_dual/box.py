"""Expectations between bounds: which bounds are met, then the solve with equalities.

At the optimum theta_i > 0 only where E_p[F_i] is at its lower bound, theta_i < 0 only at its upper
bound. A search on the dual proposes the bounds that are met; the certified solve with these as
targets decides.
"""

import math
from dataclasses import replace

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse

from infogeo._status import Status
from infogeo.maxent._dual.features import is_sparse, on_outcomes, ranges
from infogeo.maxent._dual.linear import covariance_of, power_of_two
from infogeo.maxent._dual.problem import CAUTION, EPS
from infogeo.maxent._dual.proofs import is_proof
from infogeo.maxent._dual.single import solve
from infogeo.maxent._dual.sparse import second_moments
from infogeo.maxent._wording import Bound, Message, features

_MAX_ROUNDS = 50
_MAX_STEPS = 100


def solve_box(problem, lower, upper, controls):
    """Solve one problem whose targets may be anywhere between (m,) bounds, infinite or not."""
    allowed = ~np.isneginf(problem.log_base)
    inside = on_outcomes(problem.features, allowed)

    def violation(p):
        mean = inside @ p[allowed]
        return np.maximum(lower - mean, mean - upper).max()

    eta = _out_of_range(inside, lower, upper)
    if eta is not None:
        target = np.where(eta > 0.0, upper, lower)
        if _is_box_proof(problem, eta, target, allowed):
            free = _solve_at(problem, lower, np.zeros(lower.shape, dtype=bool), controls)
            return _failed(free, Status.INFEASIBLE, 0, eta, _describe(eta), violation)
    low, high = ranges(inside)
    # What no distribution can violate is not searched for: the optimum is the same without.
    (some,) = np.nonzero((lower > low) | (upper < high))
    side = np.zeros(lower.size, dtype=int)
    if some.size:
        side[some] = _search(inside[some], problem.base[allowed], lower[some], upper[some])
    side = np.where(lower == upper, 1, side)
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
    eta = _clash(inside, lower, upper)
    if eta is not None:
        target = np.where(eta > 0.0, upper, lower)
        if _is_box_proof(problem, eta, target, allowed):
            return _failed(solution, Status.INFEASIBLE, steps, eta, _describe(eta), violation)
    return _failed(solution, Status.UNDECIDED, steps, None, _UNDECIDED, violation)


_UNDECIDED = Message(
    "No solution, and no proof that there is none: which of the bounds are met could not be "
    "decided. Widen lower and upper a little, or give the bounds that matter as targets."
)


def _describe(eta):
    used = np.flatnonzero(eta)
    if used.size == 1:
        side, end = ("above", "upper") if eta[used[0]] > 0.0 else ("below", "lower")
        return Message(
            f"No distribution satisfies the constraints: {{}} is {side} {{}} for every outcome.",
            (features(used), Bound(end, int(used[0]))),
        )
    return Message(
        "No distribution satisfies the constraints: the bounds of {} clash. The combination is in "
        "result.certificate.",
        (features(used),),
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
    """Return on which side of its box every feature is at the optimum: 1, -1, or 0 inside.

    Newton's method on the dual, log sum exp(C + theta'F) + sum of max(-lower theta, -upper theta):
    each step minimises the quadratic model with the second part as it is, which says exactly
    which bounds are met, and goes along it as far as the dual falls.
    """
    low, high = ranges(F)
    unit = power_of_two(np.where(high > low, high - low, 1.0))
    lower, upper = lower / unit, upper / unit

    def price(theta):
        with np.errstate(invalid="ignore"):
            each = np.maximum(-lower * theta, -upper * theta)
        return float(np.where(theta == 0.0, 0.0, each).sum())

    theta = np.zeros(lower.size)
    value, p = _dual(F, C, theta / unit)
    value += price(theta)
    for _ in range(_MAX_STEPS):
        mean = F @ p / unit
        covariance = _covariance(F, p, mean, unit)
        # A small weight on the step itself decides between features that say the same.
        covariance[np.diag_indices_from(covariance)] *= 1.0 + 1e-9
        covariance[np.diag_indices_from(covariance)] += 1e-14
        goal = model_optimum(covariance, mean, theta, lower, upper)
        if goal is None:
            break
        direction = goal - theta
        fall = float(mean @ direction) + price(goal) - price(theta)
        if not fall < -1e-15 * (1.0 + abs(value)):
            theta = goal
            break
        length, before = 1.0, value
        while length > 1e-10:
            trial = theta + length * direction if length < 1.0 else goal
            value, p = _dual(F, C, trial / unit)
            value += price(trial)
            if value <= before + 1e-4 * length * fall:
                break
            length *= 0.5
        theta = trial
        if not value < before:
            break
    return np.sign(theta).astype(int)


def _dual(F, C, theta):
    """Return log sum exp(C + theta'F), and the probabilities."""
    logits = C + theta @ F
    top = float(logits.max())
    p = np.exp(logits - top)
    total = float(p.sum())
    return top + math.log(total), p / total


def _covariance(F, p, mean, unit):
    if is_sparse(F):
        second = second_moments(F.T.tocsr(), p) / np.outer(unit, unit)
        covariance, diagonal = second - np.outer(mean, mean), np.diag_indices_from(second)
        # What cancels leaves rounding errors, of either sign.
        covariance[diagonal] = np.maximum(covariance[diagonal], EPS * second[diagonal])
        return covariance
    rows = F / unit[:, None]
    return covariance_of(rows, p, mean)


def model_optimum(hessian, mean, theta, lower, upper):
    """Minimise mean'd + d'Hd / 2 + sum of max(-lower x, -upper x) over x = theta + d.

    An active set: its features have the mean lower (x > 0) or upper (x < 0) in the model; all
    others have x = 0, and a mean inside their box. None if the arithmetic gives out.
    """
    offset = hessian @ theta - mean
    is_target = lower == upper
    side = np.where(is_target, 1, np.sign(theta).astype(int))
    x = np.where(side != 0, theta, 0.0)
    scale = np.sqrt(np.diagonal(hessian))
    for _ in range(20 * (lower.size + 1)):
        x, side = _settled(hessian, offset, x, side, is_target, lower, upper)
        if x is None:
            return None
        model = hessian @ x - offset
        excess = np.where(side == 0, np.maximum(lower - model, model - upper), -np.inf) / scale
        worst = int(excess.argmax())
        if excess[worst] <= 1e-13 * (1.0 + np.abs(model).max()):
            return x
        side[worst] = 1 if lower[worst] > model[worst] else -1
    return None


def _settled(hessian, offset, x, side, is_target, lower, upper):
    """Return the optimum over the active set, without the features that would change their side."""
    side = side.copy()
    while True:
        (active,) = np.nonzero(side)
        goal = np.zeros(x.size)
        if active.size:
            level = np.where(side > 0, lower, upper)[active] + offset[active]
            try:
                factor = scipy.linalg.cho_factor(hessian[np.ix_(active, active)])
            except np.linalg.LinAlgError:
                return None, side
            goal[active] = scipy.linalg.cho_solve(factor, level)
        crossing = (goal * side < 0.0) & ~is_target
        if not crossing.any():
            return goal, side
        # Go as far as the first one that reaches 0, and drop it.
        share = np.full(x.size, np.inf)
        share[crossing] = (x / np.where(x == goal, 1.0, x - goal))[crossing]
        first = int(share.argmin())
        length = min(max(float(share[first]), 0.0), 1.0)
        x = x + length * (goal - x)
        x[first], side[first] = 0.0, 0


def _solve_at(problem, targets, is_met, controls):
    """Solve with the bounds that are met as targets; the other features get theta = 0."""
    if not is_met.any():  # one constant feature constrains nothing
        features, targets, start = np.zeros((1, problem.log_base.size)), np.zeros(1), None
    else:
        features, targets = problem.features[np.flatnonzero(is_met)], targets[is_met]
        start = None if problem.start is None else problem.start[is_met]
    member = replace(problem, features=features, targets=targets, start=start)
    return _in_all_features(solve(member, controls), is_met)


def _in_all_features(solution, is_met):
    """Put zeros for the features that were left out."""

    def widened(x):
        if x is None:
            return None
        wide = np.zeros((is_met.size, *x.shape[1:]))
        wide[is_met] = x if is_met.any() else 0.0
        return wide

    has_transform = is_met.any() and solution.transform.size  # sparse features have none
    transform = widened(solution.transform) if has_transform else np.zeros((is_met.size, 0))
    return replace(
        solution,
        theta=widened(solution.theta) if is_met.any() else np.zeros(is_met.size),
        certificate=widened(solution.certificate),
        direction=widened(solution.direction) if is_met.any() else None,
        transform=transform,
    )


def _corrected(problem, solution, side, lower, upper):
    """Return the sides of one problem as `corrected`."""
    inside = on_outcomes(problem.features, solution.support)
    mean = inside @ solution.probabilities[solution.support]
    error = solution.error_bound if math.isfinite(solution.error_bound) else 0.0
    slack = slack_of(problem, np.maximum(*np.abs(ranges(inside))), mean, error)
    theta = solution.theta
    if solution.direction is not None:  # theta - s direction for large s
        theta = np.where(np.abs(solution.direction) > 1e-12, -solution.direction, theta)
    return corrected(side, theta, mean, lower, upper, slack)


def slack_of(problem, size, mean, error):
    """Return what rounding and the error of the probabilities do to means of entries of a size."""
    return CAUTION * problem.roundoff * (size + np.abs(mean)) + error * size


def corrected(side, theta, mean, lower, upper, slack):
    """Drop the bounds that push the wrong way and add those that are violated; all (..., m)."""
    wrong = (theta * side < 0.0) & (lower < upper)
    changed = np.where(wrong, 0, side)
    changed = np.where((mean < lower - slack) & (side == 0), 1, changed)
    return np.where((mean > upper + slack) & (side == 0), -1, changed)


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

    The linear program is the largest s with eta'F_y - q >= s, q the maximum of eta'z over the box,
    and |eta| <= 1 in units of the spread, eta in its positive and negative part.
    """
    num_features, num_outcomes = F.shape
    least, most = ranges(F)
    unit = np.where(most > least, most - least, 1.0)
    # A bound outside the range of its feature, or at its end, takes part in no contradiction.
    has_low, has_high = lower > least, upper < most
    if is_sparse(F):  # a centre would fill the zeros
        centre, stacked = np.zeros(num_features), scipy.sparse.hstack
        rows = (scipy.sparse.diags_array(1.0 / unit) @ F).T
    else:
        centre, stacked = F.mean(axis=-1), np.hstack
        rows = ((F - centre[:, None]) / unit[:, None]).T
    low, high = (lower - centre) / unit, (upper - centre) / unit
    positive, negative = np.where(has_high, high, 0.0), np.where(has_low, low, 0.0)
    ones = np.ones((num_outcomes, 2))
    found = scipy.optimize.linprog(
        np.append(np.zeros(2 * num_features + 1), -1.0),
        A_ub=stacked([-rows, rows, ones]),
        b_ub=np.zeros(num_outcomes),
        A_eq=np.concatenate([positive, -negative, [-1.0, 0.0]])[None],
        b_eq=np.zeros(1),
        bounds=[(0.0, float(x)) for x in np.concatenate([has_high, has_low])]
        + [(None, None), (None, 1.0)],
        method="highs",
        options={"time_limit": 60.0},
    )
    if found.status != 0:
        return None
    eta = (found.x[:num_features] - found.x[num_features : 2 * num_features]) / unit
    return eta / np.abs(eta).max() if eta.any() else None


def _is_box_proof(problem, eta, target, allowed):
    (used,) = np.nonzero(eta)
    features = on_outcomes(problem.features[used], allowed)
    return is_proof(replace(problem, features=features, targets=target[used]), eta[used])
