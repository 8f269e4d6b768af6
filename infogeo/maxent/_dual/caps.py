"""Weights within caps: the nearest to base weights q with given means and l q <= p <= u q.

The optimum is p = q clip(exp(s), l, u) with s = theta_0 + theta'(F - b) for every outcome: the
dual, sum of q phi(s) - theta_0 with phi' = clip(exp(s), l, u), is convex with continuous
derivatives and is minimised by Newton's method.

The error: let H be the Hessian over the outcomes that are inside their caps by more than rho, on
a logarithmic scale, lambda the norm of the gradient in its inverse, and S the longest outcome.
While no s moves by more than rho these stay inside, and the second derivative is at least
exp(-rho) H. So lambda exp(rho) S < rho proves that no s, and with it no log-probability, is off
by more than lambda exp(rho) S.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse

from infogeo._status import Status
from infogeo.maxent._dual.box import corrected, model_optimum, slack_of
from infogeo.maxent._dual.linear import power_of_two
from infogeo.maxent._dual.problem import CAUTION, EPS
from infogeo.maxent._dual.reduce import reduce_features

_MARGINS = (1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 0.1, 0.3)
_MOST_HALVINGS = 40
_LARGEST_PROGRAM = 2_000_000
_MOST_SEARCHED = 100


@dataclass(frozen=True)
class Capped:
    """The answer, over the outcomes that the base allows."""

    log_p: np.ndarray
    theta: np.ndarray  # (m,)
    constant: float  # log p = log q + theta'(F - b) + constant between the caps
    status: Status
    steps: int
    rank: int
    error_bound: float = math.inf
    certificate: np.ndarray | None = None


@dataclass(frozen=True)
class _Dual:
    """The dual in independent features: rows (1 + r, c), the first of ones."""

    rows: np.ndarray
    log_q: np.ndarray
    low: float  # logarithms of the caps; -inf for none
    high: float
    goal: np.ndarray  # (1 + r,): what the rows sum to

    def at(self, theta):
        """Return the value, p and the gradient."""
        s = theta @ self.rows
        inside = np.clip(s, self.low, self.high)
        p = np.exp(self.log_q + inside)
        with np.errstate(invalid="ignore"):
            beyond = np.where(s == inside, 0.0, s - inside)
        value = float(p @ (1.0 + beyond)) - float(self.goal @ theta)
        return value, s, p, self.rows @ p - self.goal

    def hessian(self, p, is_free):
        """Return that over the free outcomes."""
        rows = self.rows[:, is_free]
        return (rows * p[is_free]) @ rows.T


def solve_capped(problem, low, high, controls):
    """Solve a problem none of whose outcomes is ruled out, with caps low < 1 < high on p / q."""
    log_q = _log_shares(problem)
    reduced, certificate = reduce_features(problem)
    rows = np.vstack([np.ones(log_q.size), reduced.rows])
    with np.errstate(divide="ignore"):
        low, high = float(np.log(low)), float(np.log(high))
    dual = _Dual(rows, log_q, low, high, np.eye(rows.shape[0])[0])
    theta, steps, is_stuck = _minimise(dual, controls)
    error = math.inf if reduced.is_open else _error(dual, theta, reduced)
    s = theta @ rows
    if certificate is None and not error < 0.1:
        certificate = _certificate(problem, reduced, dual, theta)
    if certificate is not None:
        status, error = Status.INFEASIBLE, math.inf
        above = certificate @ problem.features - certificate @ problem.targets
        certificate = np.copysign(1.0, above.sum()) * certificate
    elif error <= controls.tol or (error < 0.1 and is_stuck):
        status = Status.CONVERGED
    else:
        status = Status.MAX_STEPS if steps >= controls.max_steps else Status.UNDECIDED
    return Capped(
        log_p=log_q + np.clip(s, low, high),
        theta=reduced.theta(theta[1:]),
        constant=float(theta[0]),
        status=status,
        steps=steps,
        rank=reduced.rank,
        error_bound=error,
        certificate=certificate,
    )


def solve_between(problem, lower, upper, caps, controls):
    """Solve for means between bounds (m,), with caps: as `solve_box` does without.

    A search on the dual proposes the bounds that are met; the certified solve with these as
    targets decides.
    """
    side = np.where(lower == upper, 1, _sides(problem, lower, upper, caps))
    found, steps, seen = None, 0, set()
    while side.tobytes() not in seen:
        seen.add(side.tobytes())
        found = _solve_at(problem, np.where(side > 0, lower, upper), side != 0, caps, controls)
        steps += found.steps
        if not found.status.is_solution:
            break
        mean, size = problem.features @ np.exp(found.log_p), np.abs(problem.features).max(axis=1)
        slack = slack_of(problem, size, mean, found.error_bound)
        changed = corrected(side, found.theta, mean, lower, upper, slack)
        if np.array_equal(changed, side):
            return replace(found, steps=steps)
        side = changed
    eta = _clash(problem, lower, upper, caps)
    status = Status.UNDECIDED if eta is None else Status.INFEASIBLE
    if found.status is Status.MAX_STEPS and eta is None:
        status = Status.MAX_STEPS
    return replace(found, status=status, steps=steps, certificate=eta, error_bound=math.inf)


def _solve_at(problem, targets, is_met, caps, controls):
    """Solve with the bounds that are met as targets; the other features get theta = 0."""
    (met,) = np.nonzero(is_met)
    features = problem.features[met] if met.size else np.zeros((1, problem.base.size))
    member = replace(problem, features=features, targets=targets[met] if met.size else np.zeros(1))
    found = solve_capped(member, *caps, controls)
    theta = np.zeros(is_met.size)
    theta[met] = found.theta if met.size else 0.0
    constant = found.constant - float(theta @ (targets - problem.targets))
    return replace(found, theta=theta, constant=constant, certificate=None)


def _sides(problem, lower, upper, caps):
    """Return at which of its bounds every mean is at the optimum: 1, -1, or 0 for neither.

    Newton's method on the dual, to which each feature adds max(-lower theta, -upper theta): steps
    minimise the quadratic model with these as they are.
    """
    dual, centre, unit = _centred(problem, caps)
    lower, upper = (np.append(1.0, (x - centre) / unit) for x in (lower, upper))

    def at(theta):
        value, s, p, mean = dual.at(theta)
        return value + float(np.maximum(-lower * theta, -upper * theta).sum()), s, p, mean

    theta = np.zeros(dual.goal.size)
    value, s, p, mean = at(theta)
    for _ in range(_MOST_SEARCHED):
        hessian = dual.hessian(p, (s > dual.low) & (s < dual.high))
        hessian += 1e-9 * dual.hessian(p, np.ones(p.size, dtype=bool)) + 1e-14 * np.eye(theta.size)
        goal = model_optimum(hessian, mean, theta, lower, upper)
        if goal is None:
            break
        length, trial = 1.0, at(goal)
        while length > 1e-10 and not trial[0] < value:
            length *= 0.5
            trial = at(theta + length * (goal - theta))
        if not trial[0] < value:
            break
        theta = theta + length * (goal - theta) if length < 1.0 else goal
        value, s, p, mean = trial
    return np.sign(theta[1:]).astype(int)


def _centred(problem, caps):
    """Return the dual in all features, centred and scaled, without a goal."""
    F = problem.features
    centre = F.mean(axis=1)
    unit = power_of_two(np.ptp(F, axis=1))
    rows = np.vstack([np.ones(F.shape[1]), (F - centre[:, None]) / unit[:, None]])
    with np.errstate(divide="ignore"):
        low, high = (float(x) for x in np.log(caps))
    return _Dual(rows, _log_shares(problem), low, high, np.zeros(len(rows))), centre, unit


def _minimise(dual, controls):
    """Return the minimum of the dual, the steps, and whether rounding ends the search."""
    theta, steps = np.zeros(dual.rows.shape[0]), 0
    value, s, p, gradient = dual.at(theta)
    while steps < controls.max_steps:
        direction = _direction(dual, s, p, gradient)
        if direction is None:
            return theta, steps, False
        fall = float(gradient @ direction)
        steps += 1
        controls.report(steps, math.sqrt(max(0.0, -fall)))
        length, found = 1.0, None
        for _ in range(_MOST_HALVINGS):
            trial = dual.at(theta + length * direction)
            # Near the optimum the value no longer tells, but the gradient.
            is_better = trial[0] <= value + 1e-4 * length * fall
            if -fall < 1e-9:
                is_better = np.abs(trial[3]).max() < 0.5 * np.abs(gradient).max()
            if is_better:
                found = trial
                break
            length *= 0.5
        if found is None:
            return theta, steps, True
        theta = theta + length * direction
        value, s, p, gradient = found
        if np.abs(theta).max() > 1e8:
            return theta, steps, False
    return theta, steps, False


def _direction(dual, s, p, gradient):
    """Return Newton's direction; None if there is none in this arithmetic.

    Where few outcomes are free a step needs a bound: a little of the Hessian of all of them.
    """
    hessian = dual.hessian(p, (s > dual.low) & (s < dual.high))
    whole = dual.hessian(p, np.ones(p.size, dtype=bool))
    for shift in (1e-10 if np.abs(gradient).max() < 1e-3 else 1e-4, 1e-2):
        inverse = _root_of_inverse(hessian + shift * whole)
        if inverse is not None:
            return -inverse.T @ (inverse @ gradient)
    return None


def _error(dual, theta, reduced):
    """Bound the errors of all log-probabilities; inf if they are not proved."""
    _, s, p, _ = dual.at(theta)
    size = np.abs(dual.rows)
    of_logs = CAUTION * EPS * ((theta.size + 2.0) * (np.abs(theta) @ size) + np.abs(dual.log_q) + 4)
    gradient = np.array(
        [math.fsum([*(row * p), -goal]) for row, goal in zip(dual.rows, dual.goal, strict=True)]
    )
    # The independent features are combinations of those that were given, with their rounding.
    mixture = np.abs(np.linalg.inv(reduced.lower))
    of_rows = CAUTION * EPS * (mixture @ (np.abs(reduced.lower) @ size[1:]))
    of_logs += np.abs(theta[1:]) @ of_rows
    noise = size @ (p * (of_logs + 2.0 * EPS))
    noise[1:] += mixture @ reduced.blur + of_rows @ p
    rounding = float(of_logs.max())
    for margin in _MARGINS:
        gap = margin + rounding
        is_free = (s > dual.low + gap) & (s < dual.high - gap)
        inverse = _root_of_inverse(dual.hessian(p, is_free))
        if inverse is None:
            return math.inf
        decrement = float(np.linalg.norm(inverse @ gradient))
        decrement += float(np.linalg.norm(np.abs(inverse) @ noise))
        lever = float(np.linalg.norm(inverse @ dual.rows, axis=0).max())
        move = 1.001 * decrement * math.exp(margin) * lever
        if move < margin:
            return move + rounding
    return math.inf


def _root_of_inverse(hessian):
    """Return W with W'W the inverse; None if it is singular to rounding."""
    scale = np.sqrt(np.diagonal(hessian))
    if not (scale > 0.0).all():
        return None
    try:
        factor = np.linalg.cholesky(hessian / scale / scale[:, None])
    except np.linalg.LinAlgError:
        return None
    if np.diagonal(factor).min() < 1e-5:
        return None
    root = scipy.linalg.solve_triangular(factor, np.eye(scale.size), lower=True)
    return root / scale


# ---------------------------------------------------------------- what caps rule out


def _certificate(problem, reduced, dual, theta):
    """Return eta whose mean is above eta'b for all weights within the caps, or None."""
    caps = math.exp(dual.low), float(np.exp(dual.high))
    if theta[1:].any():
        eta = -reduced.theta(theta[1:])
        eta = eta / np.abs(eta).max()
        if _is_proof(problem, caps, eta):
            return eta
    if dual.rows.size > _LARGEST_PROGRAM:
        return None
    direction = _descent(dual, dual.goal, dual.goal)
    if direction is None:
        return None
    eta = -reduced.theta(direction[1:])
    eta = eta / np.abs(eta).max()
    return eta if _is_proof(problem, caps, eta) else None


def _clash(problem, lower, upper, caps):
    """Return eta whose mean is above that of all targets between bounds, or None."""
    dual, centre, unit = _centred(problem, caps)
    if dual.rows.size > _LARGEST_PROGRAM:
        return None
    low, high = (np.append(1.0, (x - centre) / unit) for x in (lower, upper))
    direction = _descent(dual, low, high)
    if direction is None:
        return None
    eta = -direction[1:] / unit
    eta = eta / np.abs(eta).max()
    met = replace(problem, targets=np.where(eta > 0.0, upper, lower))
    return eta if _is_proof(met, caps, eta) else None


def _descent(dual, lower, upper):
    """Return a direction along which the dual falls for ever, or None.

    Far out it is linear: sum of q (u h+ - l h-), with h the sum of the rows, less the product with
    the bounds that are met.
    """
    size, count = dual.rows.shape
    q, rows = np.exp(dual.log_q), scipy.sparse.csr_array(-dual.rows.T)
    ends = np.minimum(q * np.exp(dual.high), 1.0), -q * math.exp(dual.low)
    one = scipy.sparse.eye_array(count)
    found = scipy.optimize.linprog(
        np.concatenate([-lower, upper, *ends]),
        A_eq=scipy.sparse.hstack([rows, -rows, one, -one], format="csr"),
        b_eq=np.zeros(count),
        bounds=[(0.0, 1.0)] * (2 * size) + [(0.0, None)] * (2 * count),
        method="highs",
    )
    direction = None if found.status != 0 else found.x[:size] - found.x[size : 2 * size]
    return None if direction is None or not direction[1:].any() else direction


def least_mean(values, q, low, high):
    """Return the smallest mean of values that weights within caps have: the cheapest are full."""
    order = np.argsort(values, kind="stable")
    spare = np.minimum((high - low) * q[order], 1.0)
    room = 1.0 - low * q.sum()
    taken = np.minimum(spare, np.maximum(room - (np.cumsum(spare) - spare), 0.0))
    return float(values @ (low * q) + values[order] @ taken)


def _is_proof(problem, caps, eta):
    """Whether every weights within the caps have a mean of eta'(F - b) above 0, to rounding."""
    F, b = problem.features, problem.targets
    values = eta @ F - eta @ b
    size = np.abs(eta) @ np.abs(F) + np.abs(eta) @ np.abs(b)
    slack = CAUTION * EPS * (b.size + values.size + 8.0) * float(size.max())
    slack += float(np.abs(eta) @ problem.blur)
    return least_mean(values, np.exp(_log_shares(problem)), *caps) > slack


def _log_shares(problem):
    return problem.base - math.log(float(np.exp(problem.base).sum()))
