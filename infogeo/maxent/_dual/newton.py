"""Newton's method on the dual log sum exp(C + theta'(F - b))."""

import itertools
import math

import numpy as np

from infogeo._status import Status
from infogeo.maxent._dual.problem import Outcome
from infogeo.maxent._dual.proofs import certify, farkas_certificate, is_stuck

# From here on re-using the covariance gains two digits or more a step.
CLOSE = 0.01


def newton(problem, system, controls):
    """Minimise log sum exp(C + t'(F - b)) + ridge t^2 / 2 and say what was found."""
    return system.finished(problem, _minimised(problem, system, controls), controls.tol)


def _minimised(problem, system, controls):
    point = _first_point(problem, system)
    for steps in itertools.count():
        step = system.step(point)
        controls.report(steps, step.decrement)
        has_failed = False
        if step.is_reliable and step.reach < CLOSE and steps < controls.max_steps:
            curvature = system.curvature(point, step.hessian)
            outcome = certify(system, curvature, steps, controls)
            if outcome is not None:
                return outcome
            has_failed = not system.has_many_proofs
        certificate = farkas_certificate(problem, system, point, step)
        if certificate is not None:
            return Outcome(Status.INFEASIBLE, point, steps, certificate=certificate)
        is_over = has_failed or not math.isfinite(step.reach) or is_stuck(system, point, step.reach)
        if is_over or steps == controls.max_steps:
            status = Status.UNDECIDED if is_over else Status.MAX_STEPS
            return Outcome(status, point, steps, vanishing=_vanishing(point, step))
        point = system.moved(point, step, _length(system, point, step))


def _vanishing(point, step):
    """Return which outcomes lose their mass: those that fall further, or have next to none."""
    falling = (step.along < step.along.max() - 0.5) | (not step.is_reliable)
    share = point.p / point.p.max()
    return (falling & (share < 1e-6)) | (share < 1e-12)


def _length(system, point, step):
    """Return how far to follow a step."""
    # Out of a singular covariance come steps whose squares overflow.
    scale = min(1.0, 1e100 / step.reach) if step.reach > 0.0 else 1.0
    ridge = (
        float((system.ridge * point.t) @ step.direction) * scale,
        float((system.ridge * step.direction) @ step.direction) * scale**2,
    )
    return scale * step_length(point.logits, scale * step.along, scale * step.reach, ridge)


def _first_point(problem, system):
    """Return where to start: at the parameters that were given, if they are better than 0."""
    origin = system.evaluate(np.zeros(system.blur.size))
    if problem.start is None:
        return origin
    with np.errstate(over="ignore", invalid="ignore"):
        start = system.evaluate(system.parameters(problem.start))
        values = [x.value + 0.5 * float((system.ridge * x.t) @ x.t) for x in (start, origin)]
    return start if values[0] < values[1] else origin


def step_length(logits, along, reach, ridge=(0.0, 0.0)):
    """Return how far to go along a line of the dual.

    `ridge` is the slope and the curvature that a ridge adds.
    """

    def derivatives(length):
        """Return the mean and the variance of `along`, as the outcomes are weighted there."""
        z = logits + length * along
        weights = np.exp(z - z.max())
        weights /= weights.sum()
        slope = float(weights @ along)
        curvature = float(weights @ np.square(along - slope))
        return slope + ridge[0] + length * ridge[1], curvature + ridge[1]

    return line_search(derivatives, reach)


def line_search(derivatives, reach):
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
