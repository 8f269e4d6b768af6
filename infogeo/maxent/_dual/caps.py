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
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse

from infogeo._status import Status
from infogeo.maxent._dual.problem import CAUTION, EPS
from infogeo.maxent._dual.reduce import reduce_features

_MARGINS = (1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 0.1, 0.3)
_MOST_HALVINGS = 40
_LARGEST_PROGRAM = 2_000_000


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
    log_q = problem.base - math.log(float(np.exp(problem.base).sum()))
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
    if theta[1:].any():
        eta = -reduced.theta(theta[1:])
        eta = eta / np.abs(eta).max()
        if _is_proof(problem, dual, eta):
            return eta
    if dual.rows.size > _LARGEST_PROGRAM:
        return None
    # The dual along a direction, which is linear far out: sum of q (u h+ - l h-) - eta_0.
    size, count = dual.rows.shape
    q = np.exp(dual.log_q)
    cost = np.concatenate(
        [-dual.goal, np.minimum(q * np.exp(dual.high), 1.0), -q * math.exp(dual.low)]
    )
    rows = scipy.sparse.hstack(
        [
            scipy.sparse.csr_array(-dual.rows.T),
            scipy.sparse.eye_array(count),
            -scipy.sparse.eye_array(count),
        ],
        format="csr",
    )
    found = scipy.optimize.linprog(
        cost,
        A_eq=rows,
        b_eq=np.zeros(count),
        bounds=[(-1.0, 1.0)] * size + [(0.0, None)] * (2 * count),
        method="highs",
    )
    if found.status != 0 or not found.x[1:size].any():
        return None
    eta = -reduced.theta(found.x[1:size])
    eta = eta / np.abs(eta).max()
    return eta if _is_proof(problem, dual, eta) else None


def least_mean(values, q, low, high):
    """Return the smallest mean of values that weights within caps have: the cheapest are full."""
    order = np.argsort(values, kind="stable")
    spare = np.minimum((high - low) * q[order], 1.0)
    room = 1.0 - low * q.sum()
    taken = np.minimum(spare, np.maximum(room - (np.cumsum(spare) - spare), 0.0))
    return float(values @ (low * q) + values[order] @ taken)


def _is_proof(problem, dual, eta):
    """Whether every weights within the caps have a mean of eta'(F - b) above 0, to rounding."""
    F, b = problem.features, problem.targets
    values = eta @ F - eta @ b
    size = np.abs(eta) @ np.abs(F) + np.abs(eta) @ np.abs(b)
    low, high = math.exp(dual.low), float(np.exp(dual.high))
    slack = CAUTION * EPS * (b.size + values.size + 8.0) * float(size.max())
    slack += float(np.abs(eta) @ problem.blur)
    return least_mean(values, np.exp(dual.log_q), low, high) > slack
