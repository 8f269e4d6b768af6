"""Newton's method on the dual log sum exp(C + theta'(F - b))."""

import itertools
import math
from dataclasses import replace

import numpy as np

from infogeo._status import Status
from infogeo.maxent._dual.linear import whitener_of
from infogeo.maxent._dual.problem import Outcome, evaluate
from infogeo.maxent._dual.proofs import certify, farkas_certificate, is_stuck

# From here on re-using the covariance gains two digits or more a step.
CLOSE = 0.01


def newton(problem, reduced, controls):
    """Minimise log sum exp(C + t'rows) + ridge t^2 / 2 and say what was found."""
    point = _first_point(problem, reduced)
    for steps in itertools.count():
        whitener, is_reliable = whitener_of(reduced, point)
        whitened = whitener @ point.gradient
        direction = -whitener.T @ whitened
        along = direction @ reduced.rows
        reach = float(np.ptp(along))
        controls.report(steps, np.linalg.norm(whitened))
        if is_reliable and reach < CLOSE and steps < controls.max_steps:
            remaining = controls.max_steps - steps
            outcome = certify(problem, reduced, point, whitener, controls.tol, remaining)
            if outcome is not None:
                return replace(outcome, steps=steps + outcome.steps)
        certificate = farkas_certificate(problem, reduced, point, direction, along)
        if certificate is not None:
            return Outcome(Status.INFEASIBLE, point, steps, certificate=certificate)
        is_over = not math.isfinite(reach) or is_stuck(problem, reduced, point, reach)
        if is_over or steps == controls.max_steps:
            status = Status.UNDECIDED if is_over else Status.MAX_STEPS
            falling = (along < along.max() - 0.5) | (not is_reliable)
            vanishing = (falling & (point.p < 1e-6)) | (point.p < 1e-12)
            return Outcome(status, point, steps, vanishing=vanishing)
        # Out of a singular covariance come steps whose squares overflow.
        scale = min(1.0, 1e8 / reach) if reach > 0.0 else 1.0
        ridge = (
            float((reduced.ridge * point.t) @ direction) * scale,
            float((reduced.ridge * direction) @ direction) * scale**2,
        )
        length = scale * step_length(point.logits, scale * along, scale * reach, ridge)
        point = evaluate(problem, reduced, point.t + length * direction)


def _first_point(problem, reduced):
    """Return where to start: at the parameters that were given, if they are better than 0."""
    origin = evaluate(problem, reduced, np.zeros(reduced.rows.shape[0]))
    if problem.start is None:
        return origin
    t, *_ = np.linalg.lstsq(reduced.transform, problem.start, rcond=None)
    with np.errstate(over="ignore", invalid="ignore"):
        start = evaluate(problem, reduced, t)
        values = [x.value + 0.5 * float((reduced.ridge * x.t) @ x.t) for x in (start, origin)]
    return start if values[0] < values[1] else origin


def step_length(logits, along, reach, ridge):
    """Return how far to go: all the way where that is safe, else about to the minimum on the line.

    The third derivative along the line is at most `reach` times the second, so that the full
    step descends if reach < 0.7, and log(1 + reach) / reach never goes beyond the minimum. The
    full step is tried early: it is the one that lets the other directions converge while the
    optimum recedes along one of them. `ridge` is the slope and the curvature that a ridge adds.
    """
    if reach < 0.7:
        return 1.0
    steepest = abs(_line_derivatives(logits, along)[0] + ridge[0])
    low, high = 0.0, math.inf
    length = 1.0 if reach < 3.0 else math.log1p(reach) / reach
    for _ in range(60):
        slope, curvature = _line_derivatives(logits + length * along, along)
        slope, curvature = slope + ridge[0] + length * ridge[1], curvature + ridge[1]
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
