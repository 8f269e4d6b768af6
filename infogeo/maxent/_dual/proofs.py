"""Proofs: the bound on the error of every log-probability, and Farkas' vectors."""

from typing import Any

import numpy as np

from infogeo._status import Status
from infogeo.maxent._dual.features import exact_heights, heights, is_sparse, is_whole
from infogeo.maxent._dual.problem import (
    CAUTION,
    EPS,
    Constraints,
    Controls,
    Curvature,
    Outcome,
    Problem,
    Step,
    System,
)

# The bound -log(1 - x) is proved for x < 1; only x up to here is called a solution.
LARGEST_CERTIFIED = 0.1
# So far from the optimum, as a change of log-probabilities, sums need not be accurate.
_ACCURATE_FROM = 1e-4
# A proof of more features times outcomes is not searched for features it does without.
_LARGEST_SIMPLIFICATION = 100_000_000
# Of more features times outcomes the values are not computed again in twice the precision.
_LARGEST_REVIEW = 5_000_000


def certify(system: System, curvature: Curvature, steps: int, controls: Controls) -> Outcome | None:
    """Finish the solve from a point close to the optimum; None if it is not close enough.

    `steps` were taken so far; those to come re-use the covariance at the origin.
    """
    is_near = curvature.decrement(curvature.origin) * curvature.lever <= LARGEST_CERTIFIED
    if system.has_many_proofs and not is_near:
        return None
    point, steps = refined(system, curvature, steps, controls, 1e-4 * controls.tol)
    return proved(system, curvature, point, steps, controls)


def refined(
    system: System, curvature: Curvature, steps: int, controls: Controls, enough: float
) -> tuple[Any, int]:
    """Take steps with one Hessian while they help; return the point, and how many they are.

    The change of log-probabilities that is left may be `enough`. One step at least is taken.
    """
    whitener, lever, point = curvature.whitener, curvature.lever, curvature.origin
    decrement = curvature.decrement(point)
    is_first, is_accurate, is_noise = True, False, False
    while steps < controls.max_steps and not (is_accurate and decrement * lever <= enough):
        change = -(whitener.T @ (whitener @ point.gradient))
        # The last point has to be accurate, those before only as far as they are from it.
        is_last = is_noise or decrement * lever <= _ACCURATE_FROM or steps + 1 == controls.max_steps
        trial = system.shifted(point, change, accurate=is_last)
        before, after = decrement, curvature.decrement(trial)
        is_noise = not is_first and after > 0.5 * before
        if is_noise and is_accurate:
            break
        point, decrement, steps, is_accurate = trial, after, steps + 1, is_last
        controls.report(steps, decrement)
        is_first = False
    return point, steps


def proved(
    system: System, curvature: Curvature, point: Any, steps: int, controls: Controls
) -> Outcome | None:
    """Return the certified Outcome at a point near the origin of the curvature; None if it is none.

    A change of all log-probabilities by at most `drift` changes covariances by at most exp(drift):
    the bound holds at the point. A doubt about the covariance counts as a drift too.
    """
    decrement, lever = curvature.decrement(point), curvature.lever
    drift, rounding, of_logs = system.errors(curvature, point)
    moved = curvature.moved(point)
    size, x, bound = bound_of(decrement, rounding, of_logs, lever, drift, moved)
    if x > LARGEST_CERTIFIED or not system.are_met(curvature, point, float(size)):
        return None
    is_best = is_best_possible(decrement, rounding, lever, controls.tol)
    is_solved = bound <= controls.tol or is_best
    if not is_solved and steps < controls.max_steps:
        return None
    status = Status.CONVERGED if is_solved else Status.MAX_STEPS
    rank = len(curvature.whitener)
    return Outcome(status, point, steps, float(bound), float(size**2), rank=rank)


def bound_of(
    decrement: Any,
    rounding: Any,
    rounding_of_logs: Any,
    lever: Any,
    drift: Any,
    moved: Any = np.inf,
) -> tuple[Any, Any, Any]:
    """Return the certified Newton decrement, x = decrement * S, and the bound on all log p.

    That is -log(1 - x), which bounds the range of the change of the logits, and nearly half of it
    where a row is known to be no further than S / 2 from the mean.

    Parameters
    ----------
    decrement, rounding : float or array
        The decrement in the covariance at the origin, and the rounding error of it.
    rounding_of_logs : float or array
        The rounding error of every log-probability.
    lever, drift : float or array
        S at the origin, twice the largest distance of a row from any fixed point, so that no
        difference of two rows is longer; and by how much the logits changed since.
    moved : float or array
        How far the gradient moved since in the same norm, if the fixed point is the mean at the
        origin or at the optimum.
    """
    # 1.01: the whitener itself is known to at least four digits.
    growth = growth_of(drift)
    with np.errstate(over="ignore", invalid="ignore"):
        size = 1.01 * growth * (decrement + rounding)
        x = size * growth * lever
        # The mean moves with the gradient, and once more with the parameters if there is a ridge.
        share = np.fmin(1.0, 0.5 + 2.5 * growth * (moved + size) / np.maximum(lever, 1e-300))
    x = np.where(np.isnan(x), np.inf, x)[()]  # inf times 0 proves nothing
    return size, x, rounding_of_logs - share * np.log1p(-np.minimum(x, 0.5))


def growth_of(drift: Any) -> Any:
    """Return by what lengths in the covariance at the origin may have grown, inf if by too much."""
    with np.errstate(over="ignore"):
        return np.exp(0.5 * drift)


def is_best_possible(decrement: Any, rounding: Any, lever: Any, tol: float) -> Any:
    """Whether what is left of the decrement is rounding, or far below the tolerance."""
    return (decrement <= rounding) | (decrement * lever <= 0.01 * tol)


def is_stuck(system: Constraints, point: Any, reach: float) -> bool:
    """Whether the constraints hold up to rounding, so that further steps would follow only noise.

    Near the optimum steps are short. Outcomes that vanish make steps of about 1, and what calls
    for a leap although the constraints nearly hold is noise in a covariance close to singular.
    """
    violation, blur = system.violations(point)
    if (violation > 1e-4 + blur).any():
        return False
    caution = 1.0 if reach < 0.7 else CAUTION if reach < CAUTION else CAUTION**3
    return bool((violation <= caution * system.rounding_of_violations(point)).all())


def range_certificate(
    problem: Problem, low: np.ndarray, high: np.ndarray, blur: np.ndarray
) -> np.ndarray | None:
    """Return a unit vector if a target is outside the range of its feature."""
    above, below = problem.targets - high, low - problem.targets
    excess = np.maximum(above, below) / np.where(blur > 0.0, blur, 1.0)
    worst = int(excess.argmax())
    if not excess[worst] > CAUTION:  # NaN proves nothing
        return None
    eta = np.zeros(problem.targets.size)
    eta[worst] = 1.0 if below[worst] > 0.0 else -1.0
    return eta


def affine_certificate(
    problem: Problem, reduced: Any, disagreement: np.ndarray
) -> np.ndarray | None:
    """Return a combination eta with eta'F constant and different from eta'b, if it is proved."""
    size = problem.blur @ np.abs(reduced.combinations)
    for k in np.flatnonzero(reduced.unmet | (np.abs(disagreement) > CAUTION * size)):
        # Whole numbers that repeat each other do so exactly: their targets are compared to the
        # digit. All others are compared to the rounding of the features, from which targets come.
        eta = in_whole_numbers(problem.features, reduced.combinations[:, k])
        if eta is None and reduced.unmet[k]:
            eta = reduced.combinations[:, k]
        if eta is None:
            continue
        eta = eta if disagreement[k] > 0.0 else -eta
        if is_proof(problem, eta):
            return simplified(problem, eta)
    return None


def in_whole_numbers(features: Any, eta: np.ndarray) -> np.ndarray | None:
    """Return a multiple of eta in whole numbers if eta and its features have one, else None.

    Then eta'F is computed without rounding.
    """
    eta = eta / np.abs(eta[eta != 0.0]).min()
    for multiple in range(1, 13):
        whole = np.rint(multiple * eta)
        if np.abs(multiple * eta - whole).max() <= 1e-9 and np.abs(whole).max() < 2.0**26:
            used = features[whole != 0.0]
            is_exact = np.abs(used).max() < 2.0**26 and all(map(is_whole, used))
            return whole if is_exact else None
    return None


def farkas_certificate(
    problem: Problem, system: Constraints, point: Any, step: Step
) -> np.ndarray | None:
    """Return eta with eta'(F_y - b) > 0 for all outcomes, if the search came across one."""
    if np.any(system.ridge):
        return None  # a penalty can always be paid
    for vector, values in ((step.direction, step.along), (point.t, point.logits - system.base)):
        if values.max() < 0.0:
            eta = system.theta(-vector)
            if is_proof(problem, eta):
                return simplified(problem, eta)
    return None


def is_proof(problem: Problem, eta: np.ndarray) -> bool:
    """Whether eta'(F_y - b) > 0 for all outcomes and for all targets that round to b.

    Then the expectation of eta'F is above eta'b whatever the distribution (Farkas' lemma). The
    comparison allows for every rounding error of its own evaluation; the outcomes for which that
    leaves it open are evaluated again in twice the precision, if they are not too many.
    """
    values, slack = farkas_values(problem, eta)
    if (values < -slack).any() or not np.isfinite(values).all():
        return False
    (open_outcomes,) = np.nonzero(values <= slack)
    if open_outcomes.size * np.count_nonzero(eta) > _LARGEST_REVIEW:
        return False
    values, slack = exact_heights(eta, problem.features, problem.targets, open_outcomes)
    slack += float(np.abs(eta) @ problem.blur)
    return bool((values > slack).all())


def farkas_values(problem: Problem, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eta'(F_y - b), and a bound on its rounding errors and on those of the targets."""
    values, size = heights(eta, problem.features, problem.targets)
    slack = (np.count_nonzero(eta) + 4) * EPS * size
    return values, slack + float(np.abs(eta) @ problem.blur)


def simplified(problem: Problem, eta: np.ndarray) -> np.ndarray:
    """Drop the features that the proof does without, and scale its largest entry to 1."""
    F, b = problem.features, problem.targets
    if is_sparse(F):
        eta = _without_dust(problem, eta)
    values, slack = farkas_values(problem, eta)
    low, high = problem.ranges
    kept, used = eta.copy(), np.flatnonzero(eta)
    if used.size * values.size > _LARGEST_SIMPLIFICATION:
        used = used[:0]
    for i in used[np.argsort((np.abs(eta) * (high - low))[used])]:
        row = F[[i]].toarray()[0] if is_sparse(F) else F[i]
        trial = values - eta[i] * (row - b[i])
        if (trial > 2.0 * slack).all():  # twice: the subtractions round too
            values, kept[i] = trial, 0.0
    kept /= np.abs(kept).max()
    return kept if is_proof(problem, kept) else eta


def _without_dust(problem: Problem, eta: np.ndarray) -> np.ndarray:
    """Drop at once what contributes next to nothing, if the proof holds without."""
    for share in (1e-3, 1e-6):
        kept = np.where(np.abs(eta) > share * np.abs(eta).max(), eta, 0.0)
        if is_proof(problem, kept):
            return kept
    return eta
