"""What to tell when a solve did not succeed."""

import math

import numpy as np

from infogeo._status import Status
from infogeo.maxent._dual.features import heights
from infogeo.maxent._wording import (
    Message,
    Named,
    apart,
    combination,
    failure,
    features,
    of_parts,
    ran_out,
)


def diagnose(problem, reduced, outcome, allowed):
    """Say in words why a solve did not succeed, and what can be done."""
    if outcome.status.is_solution:
        return Message("")
    if outcome.status is Status.INFEASIBLE:
        return _diagnose_infeasible(problem, outcome.certificate, allowed)
    found = ran_out(outcome.steps)
    if outcome.status is not Status.MAX_STEPS:
        found = f"No solution, and no proof that there is none, after {outcome.steps} steps"
    if problem.penalty is not None and outcome.status is Status.UNDECIDED:
        return Message(
            f"{found}: for targets out of reach the penalty is so large that rounding decides "
            "the natural parameters. Lower it, or move the targets."
        )
    if reduced.is_open:
        eta = reduced.combinations[:, np.argmax(reduced.unmet | reduced.varies)]
        return Message(
            f"{found}: {{}} is nearly the same for every outcome, and little more "
            "than rounding decides whether its target agrees with that. Leave one of them out.",
            (combination(eta),),
        )
    if outcome.was_limited:
        found += ", and the search for a face of two million numbers or more was not begun"
    if outcome.vanishing is not None and outcome.vanishing.any():
        numbers = np.flatnonzero(allowed)[outcome.vanishing].tolist()
        largest = outcome.point.p[outcome.vanishing].max()
        return Message(
            f"{found}: the targets lie on the edge of what the features allow, or very near it. "
            f"{{}}These probabilities run to 0: of {{}} (at most {largest:.1e}). Move the targets "
            "inwards; or, if they are exact, rule these outcomes out (log_base = -inf there) and "
            "solve for the others.",
            (_edges(problem), Named("outcome", tuple(numbers))),
        )
    if outcome.status is Status.MAX_STEPS:
        is_certified = math.isfinite(outcome.error_bound)
        bound = f"at most {outcome.error_bound:.2g}" if is_certified else "not known yet"
        return Message(f"{found}: the error of the log-probabilities is {bound}. Raise max_steps.")
    return Message(
        f"{found}: to the rounding of the data, the features are nearly dependent, or the targets "
        "nearly on the edge of what they allow. {}Leave out features that others almost determine, "
        "or give targets to more digits.",
        (_edges(problem),),
    )


def _edges(problem):
    """Name the features whose targets are the ends of their ranges."""
    low, high = problem.ranges
    margin = np.minimum(high - problem.targets, problem.targets - low)
    numbers = np.flatnonzero((margin <= 1e-9 * (high - low)) & (high > low))
    if numbers.size == 0:
        return Message("")
    which = (features(numbers),)
    if numbers.size == 1:
        i = numbers[0]
        return Message(
            f"At the end of its range is the target of {{}}: {margin[i]:.1e} from it, where "
            f"the range is [{low[i]:.6g}, {high[i]:.6g}]. ",
            which,
        )
    return Message("At the end of its range is the target of {}. ", which)


def _diagnose_infeasible(problem, eta, allowed):
    (numbers,) = np.nonzero(eta)
    where = "every outcome" if allowed.all() else "every outcome that log_base allows"
    if numbers.size == 1:
        i = numbers[0]
        low, high = (float(ends[i]) for ends in problem.ranges)
        end, side = (high, "most") if problem.targets[i] > high else (low, "least")
        end, asked = apart(end, problem.targets[i])
        return Message(
            f"No distribution satisfies the constraints: the mean of {{}} is at {side} {end}; "
            f"{asked} was asked. For {where} it lies in [{low:.6g}, {high:.6g}].",
            (features(numbers),),
        )
    values, target = eta @ problem.features, float(eta @ problem.targets)
    least = heights(eta, problem.features, problem.targets)[0].min()
    clash = f"{{}} is above its target {target:.6g} by at least {least:.3g}"
    if np.ptp(values) <= 1e-6 * least:
        constant = target + least  # of values that cancel this one is the best
        clash = "{{}} is {}, and its target {}".format(*apart(constant, target))
    return Message(
        "No distribution satisfies the constraints: the targets of "
        f"{{}} clash. For {where}, {clash}. Change one of these targets; "
        "the combination is in result.certificate.",
        (features(numbers), combination(eta)),
    )


def solve_error(solutions, result, names):
    """Build the error of a solve that did not succeed, for one problem or for a batch."""
    failed = solutions.failed
    first = solutions.diagnoses[failed[0]]
    if len(result.rank.shape) == 0:
        return failure(first, result, **names)
    message = of_parts("problem", len(solutions.status), failed, first, "number")
    return failure(message, result, failed, **names)
