"""Newton's method on the dual log sum exp(C + theta'(F - b))."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from infogeo._status import Status
from infogeo.maxent._dual.problem import Constraints, Controls, Outcome, Problem, Step, System
from infogeo.maxent._dual.proofs import certify, farkas_certificate, is_stuck

# From here on re-using the covariance gains two digits or more a step.
CLOSE = 0.01
# The squares of longer steps, as they come out of a singular covariance, overflow.
_LARGEST_REACH = 1e100


def newton(problem: Problem, system: Constraints, controls: Controls) -> Outcome:
    """Minimise log sum exp(C + t'(F - b)) + ridge t^2 / 2 and say what was found."""

    def look(point: Any, step: Step, steps: int) -> Outcome | None:
        certificate = farkas_certificate(problem, system, point, step)
        if certificate is not None:
            return Outcome(Status.INFEASIBLE, point, steps, certificate=certificate)
        is_over = is_stuck(system, point, step.reach)
        return Outcome(Status.UNDECIDED, point, steps) if is_over else None

    outcome, last = minimised(system, _first_point(problem, system), controls, look)
    if outcome.certificate is None and outcome.error_bound == math.inf:
        outcome = replace(outcome, vanishing=_vanishing(outcome.point, last))
    return system.finished(problem, outcome, controls.tol)


def minimised(
    system: System, point: Any, controls: Controls, look: Callable[[Any, Step, int], Outcome | None]
) -> tuple[Outcome, Step]:
    """Take Newton steps from a point to a proof; return also the last step that was looked at.

    ``look(point, step, steps)`` returns an outcome if it shows another end, else None.
    """
    steps = 0
    while True:
        step = system.step(point)
        controls.report(steps, step.decrement)
        has_failed = False
        if step.is_reliable and step.reach < CLOSE and steps < controls.max_steps:
            curvature = system.curvature(point, step.hessian)
            outcome = certify(system, curvature, steps, controls)
            if outcome is not None:
                return outcome, step
            has_failed = not system.has_many_proofs
        outcome = look(point, step, steps)
        if outcome is not None:
            return outcome, step
        if has_failed or not 0.0 < step.reach < math.inf:
            return Outcome(Status.UNDECIDED, point, steps), step
        if steps == controls.max_steps:
            return Outcome(Status.MAX_STEPS, point, steps), step
        if step.reach > _LARGEST_REACH:
            step = step.shortened(_LARGEST_REACH / step.reach)
        length = line_search(system.line(point, step.direction, step.along), step.reach)
        point = system.moved(point, step, length)
        steps += 1


def _vanishing(point: Any, step: Step) -> np.ndarray:
    """Return which outcomes lose their mass: those that fall further, or have next to none."""
    falling = (step.along < step.along.max() - 0.5) | (not step.is_reliable)
    share = point.p / point.p.max()
    return (falling & (share < 1e-6)) | (share < 1e-12)


def _first_point(problem: Problem, system: Constraints) -> Any:
    """Return where to start: at the parameters that were given, if they are better than 0."""
    origin = system.evaluate(np.zeros(system.blur.size))
    if problem.start is None:
        return origin
    with np.errstate(over="ignore", invalid="ignore"):
        start = system.evaluate(system.parameters(problem.start))
        values = [x.value + 0.5 * float((system.ridge * x.t) @ x.t) for x in (start, origin)]
    return start if values[0] < values[1] else origin


def on_line(
    logits: np.ndarray, along: np.ndarray, slope: float = 0.0, curvature: float = 0.0
) -> Callable[[float], tuple[float, float]]:
    """Return the first two derivatives of log sum exp on a line, as a function of the length.

    A quadratic function with a slope and a curvature may be added.
    """

    def derivatives(length: float) -> tuple[float, float]:
        weights = logits + length * along
        weights = np.exp(weights - weights.max())
        weights /= weights.sum()
        mean = float(weights @ along)
        variance = float(weights @ np.square(along - mean))
        return mean + slope + length * curvature, variance + curvature

    return derivatives


def line_search(derivatives: Callable[[float], tuple[float, float]], reach: float) -> float:
    """Return how far to go: all the way where that is safe, else about to the minimum on the line.

    ``derivatives(length)`` are the first and the second on the line.

    The third derivative along the line is at most `reach` times the second, so that the full
    step descends if reach < 0.7, and log(1 + reach) / reach never goes beyond the minimum. The
    full step is tried early: it is the one that lets the other directions converge while the
    optimum recedes along one of them.
    """
    if reach < 0.7:
        return 1.0
    steepest = abs(derivatives(0.0)[0])
    low, high = 0.0, math.inf
    length = 1.0 if reach < 3.0 else math.log1p(reach) / reach
    for _ in range(60):
        slope, curvature = derivatives(length)
        if abs(slope) <= 0.5 * steepest:
            return length
        low, high = (low, length) if slope > 0.0 else (length, high)
        newton = length - slope / curvature if curvature > 0.0 else math.inf
        if high == math.inf:
            length = min(newton, 8.0 * length)
        else:
            length = newton if low < newton < high else 0.5 * (low + high)
    return low if low > 0.0 else length
