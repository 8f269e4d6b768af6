"""What to tell when a solve did not succeed."""

import math

import numpy as np

from infogeo._result import SolveError, Status
from infogeo.maxent._features import heights


def diagnose(problem, reduced, outcome, allowed):
    """Say in words why a solve did not succeed, and what can be done."""
    if outcome.status.is_solution:
        return ""
    if outcome.status is Status.INFEASIBLE:
        return _diagnose_infeasible(problem, outcome.certificate, allowed)
    found = f"The {outcome.steps} steps ran out"
    if outcome.status is not Status.MAX_STEPS:
        found = f"No solution, and no proof that there is none, after {outcome.steps} steps"
    if problem.penalty is not None and outcome.status is Status.UNDECIDED:
        return (
            f"{found}: for targets out of reach the penalty is so large that rounding decides "
            "the natural parameters. Lower it, or move the targets."
        )
    if reduced.is_open:
        eta = reduced.combinations[:, np.argmax(reduced.unmet | reduced.varies)]
        return (
            f"{found}: {_combination(eta)} is nearly the same for every outcome, and little more "
            "than rounding decides whether its target agrees with that. Leave one of them out."
        )
    if outcome.was_limited:
        found += ", and the search for a face of two million numbers or more was not begun"
    if outcome.vanishing is not None and outcome.vanishing.any():
        numbers = np.flatnonzero(allowed)[outcome.vanishing]
        largest = outcome.point.p[outcome.vanishing].max()
        return (
            f"{found}: the targets lie on the edge of what the features allow, or very near it. "
            f"{_edges(problem)}These probabilities run to 0: of {_listed(numbers, 'outcome')} "
            f"(at most {largest:.1e}). Move the targets inwards; or, if they are exact, rule "
            "these outcomes out (log_base = -inf there) and solve for the others."
        )
    if outcome.status is Status.MAX_STEPS:
        is_certified = math.isfinite(outcome.error_bound)
        bound = f"at most {outcome.error_bound:.2g}" if is_certified else "not known yet"
        return f"{found}: the error of the log-probabilities is {bound}. Raise max_steps."
    return (
        f"{found}: to the rounding of the data, the features are nearly dependent, or the targets "
        f"nearly on the edge of what they allow. {_edges(problem)}Leave out features that others "
        "almost determine, or give targets to more digits."
    )


def _edges(problem):
    """Name the features whose targets are the ends of their ranges."""
    low, high = problem.ranges
    margin = np.minimum(high - problem.targets, problem.targets - low)
    numbers = np.flatnonzero((margin <= 1e-9 * (high - low)) & (high > low))
    if numbers.size == 0:
        return ""
    if numbers.size == 1:
        i = numbers[0]
        return (
            f"At the end of its range is the target of feature {i}: {margin[i]:.1e} from it, where "
            f"the range is [{low[i]:.6g}, {high[i]:.6g}]. "
        )
    return f"At the end of its range is the target of {_listed(numbers, 'feature')}. "


def _diagnose_infeasible(problem, eta, allowed):
    (numbers,) = np.nonzero(eta)
    where = "every outcome" if allowed.all() else "every outcome that log_base allows"
    if numbers.size == 1:
        i = numbers[0]
        low, high = (float(ends[i]) for ends in problem.ranges)
        return (
            f"No distribution satisfies the constraints: targets[{i}] = {problem.targets[i]:.6g} "
            f"is outside the range [{low:.6g}, {high:.6g}] of feature {i} over {where}."
        )
    values, target = eta @ problem.features, float(eta @ problem.targets)
    least = heights(eta, problem.features, problem.targets)[0].min()
    clash = f"{_combination(eta)} is above its target {target:.6g} by at least {least:.3g}"
    if np.ptp(values) <= 1e-6 * least:
        constant = target + least  # of values that cancel this one is the best
        clash = f"{_combination(eta)} is {constant:.6g}, and its target {target:.6g}"
    return (
        "No distribution satisfies the constraints: the targets of "
        f"{_listed(numbers, 'feature')} clash. For {where}, {clash}. Change one of these targets; "
        "the combination is in result.certificate."
    )


def _combination(eta):
    """Write eta'F in words, the first few terms."""
    (numbers,) = np.nonzero(eta)
    terms = [f"{eta[i]:+.4g} F[{i}]" for i in numbers[:6]]
    return " ".join(terms) + (" + ..." if numbers.size > 6 else "")


def _listed(numbers, noun):
    """Write the first few of a list of numbered things."""
    more = ", ..." if len(numbers) > 8 else ""
    plural = "s" if len(numbers) > 1 else ""
    return f"{noun}{plural} {', '.join(str(int(i)) for i in numbers[:8])}{more}"


def solve_error(solutions, result):
    """Build the error of a solve that did not succeed, for one problem or for a batch."""
    failed = solutions.failed
    first = solutions.diagnoses[failed[0]]
    if len(result.rank.shape) == 0:
        return SolveError(first, result)
    return SolveError(
        f"{len(failed)} of {len(solutions.status)} problems failed, the others are solved in the "
        f"result: {_listed(failed, 'number')}. Number {failed[0]}: {first}",
        result,
        failed,
    )
