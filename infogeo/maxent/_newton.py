"""Newton's method on the dual log sum exp(C + theta'(F - b))."""

import itertools
import math
from dataclasses import replace

import numpy as np

from infogeo._result import Status
from infogeo.maxent._linear import whitener_of
from infogeo.maxent._problem import Outcome, evaluate
from infogeo.maxent._proofs import certify, farkas_certificate, is_stuck

# From here on re-using the covariance gains two digits or more a step.
CLOSE = 0.01


def newton(problem, reduced, tol, max_steps):
    """Minimise log sum exp(C + t'rows) and say what was found."""
    point = evaluate(problem, reduced, np.zeros(reduced.rows.shape[0]))
    for steps in itertools.count():
        whitener, is_reliable = whitener_of(reduced.rows, point)
        direction = -whitener.T @ (whitener @ point.gradient)
        along = direction @ reduced.rows
        reach = float(np.ptp(along))
        if is_reliable and reach < CLOSE and steps < max_steps:
            outcome = certify(problem, reduced, point, whitener, tol, max_steps - steps)
            if outcome is not None:
                return replace(outcome, steps=steps + outcome.steps)
        certificate = farkas_certificate(problem, reduced, point, direction, along)
        if certificate is not None:
            return Outcome(Status.INFEASIBLE, point, steps, certificate=certificate)
        is_over = not math.isfinite(reach) or is_stuck(problem, reduced, point, reach)
        if is_over or steps == max_steps:
            status = Status.UNDECIDED if is_over else Status.MAX_STEPS
            falling = (along < along.max() - 0.5) | (not is_reliable)
            return Outcome(status, point, steps, vanishing=falling & (point.p < 1e-6))
        # Out of a singular covariance come steps whose squares overflow.
        scale = min(1.0, 1e8 / reach) if reach > 0.0 else 1.0
        length = scale * _step_length(point.logits, scale * along, scale * reach)
        point = evaluate(problem, reduced, point.t + length * direction)


def _step_length(logits, along, reach):
    """Return how far to go: all the way where that is safe, else about to the minimum on the line.

    The third derivative along the line is at most `reach` times the second, so that the full
    step descends if reach < 0.7, and log(1 + reach) / reach never goes beyond the minimum. The
    full step is tried early: it is the one that lets the other directions converge while the
    optimum recedes along one of them.
    """
    if reach < 0.7:
        return 1.0
    steepest = abs(_line_derivatives(logits, along)[0])
    low, high = 0.0, math.inf
    length = 1.0 if reach < 3.0 else math.log1p(reach) / reach
    for _ in range(60):
        slope, curvature = _line_derivatives(logits + length * along, along)
        if abs(slope) <= 0.5 * steepest:
            return length
        low, high = (low, length) if slope > 0.0 else (length, high)
        newton = length - slope / curvature if curvature > 0.0 else math.inf
        if high == math.inf:
            length = min(newton, 8.0 * length)
        else:
            length = newton if low < newton < high else 0.5 * (low + high)
    return low if low > 0.0 else length


def _line_derivatives(logits, along):
    """Return the mean and the variance of `along` under softmax(logits)."""
    weights = np.exp(logits - logits.max())
    weights /= weights.sum()
    slope = float(weights @ along)
    return slope, float(weights @ np.square(along - slope))
