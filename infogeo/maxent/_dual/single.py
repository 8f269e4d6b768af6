"""The solve of one problem."""

import math
from dataclasses import replace

import numpy as np

from infogeo._status import Status
from infogeo.maxent._dual.diagnosis import diagnose
from infogeo.maxent._dual.face import edge_direction, exposed_outcomes, joined, search
from infogeo.maxent._dual.features import is_sparse, on_outcomes
from infogeo.maxent._dual.large import solve_large
from infogeo.maxent._dual.nearest import nearest_point
from infogeo.maxent._dual.newton import newton
from infogeo.maxent._dual.problem import Found, Outcome, Solution
from infogeo.maxent._dual.proofs import is_proof
from infogeo.maxent._dual.reduce import reduce_features, scale_features
from infogeo.maxent._dual.sparse import reduce_sparse

# Sparse features of no more numbers than this are tried as dense ones before giving up.
_LARGEST_DENSE = 2_000_000


def solve(problem, controls):
    """Solve one problem; its log_base may rule outcomes out, its features may be sparse.

    What sparse features leave undecided is tried with dense ones, if they are few numbers.
    """
    found = _solve(problem, controls)
    is_open = found.status in (Status.UNDECIDED, Status.MAX_STEPS)
    is_small = math.prod(problem.features.shape) <= _LARGEST_DENSE
    if is_open and is_small and is_sparse(problem.features):
        return _solve(replace(problem, features=problem.features.toarray()), controls)
    return found


def _solve(problem, controls):
    C, allowed = problem.log_base, ~np.isneginf(problem.log_base)
    whole = restrict(problem, allowed)
    found = _solve_allowed(whole, controls)
    support = allowed.copy()
    support[allowed] = found.support
    top = C[support].max()
    residual = found.reduced.residual(found.problem, found.outcome.point)
    if found.outcome.status.is_solution and (found.reduced.is_open or not residual < math.inf):
        outcome = found.outcome
        found = replace(found, outcome=Outcome(Status.UNDECIDED, outcome.point, outcome.steps))
    return _describe(found, residual, allowed, support, top)


def restrict(problem, outcomes):
    """Return the problem on some of its outcomes only."""
    features = on_outcomes(problem.features, outcomes)
    return replace(problem, features=features, log_base=problem.log_base[outcomes])


def _reduce(problem):
    if is_sparse(problem.features):
        return reduce_sparse(problem)
    return (
        (scale_features(problem), None) if problem.penalty is not None else reduce_features(problem)
    )


def _solve_allowed(problem, controls):
    """Solve a problem that has no outcomes ruled out, on a face if it has to be."""
    sparse = is_sparse(problem.features)
    everywhere = np.ones(problem.base.size, dtype=bool)
    large = solve_large(problem, controls)
    if large is not None:
        return Found(problem, *large, everywhere)
    reduced, certificate = _reduce(problem)
    if problem.penalty is not None:
        outcome = newton(problem, reduced, controls)
        if not (outcome.status.is_solution or sparse):
            outcome = _from_nearest(problem, reduced, outcome, controls)
        return Found(problem, reduced, outcome, everywhere)
    if certificate is not None:
        return Found(problem, reduced, _refuted(problem, reduced, certificate), everywhere)
    eta = edge_direction(problem)
    if eta is not None:
        if is_proof(problem, eta):
            eta = eta / np.abs(eta).max()
            return Found(problem, reduced, _refuted(problem, reduced, eta), everywhere)
        on_face = exposed_outcomes(problem, eta, is_edge=True)
        if on_face is not None:
            outcome = _refuted(problem, reduced, None)
            return _solve_on_face(problem, reduced, outcome, eta, on_face, controls)
    outcome = newton(problem, reduced, controls)
    if _may_be_on_a_face(outcome):
        seen = search(problem, reduced, outcome.point)
        if seen.is_proof:
            outcome = replace(outcome, status=Status.INFEASIBLE, certificate=seen.eta)
        elif seen.eta is not None:
            on_face = exposed_outcomes(problem, seen.eta)
            return _solve_on_face(problem, reduced, outcome, seen.eta, on_face, controls)
        outcome = replace(outcome, was_limited=seen.was_limited)
    return Found(problem, reduced, outcome, everywhere)


def _refuted(problem, reduced, certificate):
    """Return the outcome of a problem that is infeasible before any step."""
    origin = reduced.evaluate(np.zeros(reduced.blur.size))
    return Outcome(Status.INFEASIBLE, origin, 0, certificate=certificate)


def _from_nearest(problem, reduced, outcome, controls):
    """Try again from the limit of large penalties, where the violations are the least there are.

    Its dual is nearly a maximum of linear functions, from one to the next of which steps from
    afar go in turn.
    """
    F, b = problem.features, problem.targets
    nearest = nearest_point(F, b, np.sqrt(1.0 / problem.penalty))
    if nearest is None:
        return outcome
    start = problem.penalty * (b - nearest)
    again = newton(replace(problem, start=start), reduced, controls)
    return again if again.status.is_solution else outcome


def _may_be_on_a_face(outcome):
    if outcome.status is Status.UNDECIDED:
        return True
    return (
        outcome.status is Status.MAX_STEPS
        and outcome.vanishing is not None
        and outcome.vanishing.any()
    )


def _solve_on_face(problem, reduced, outcome, eta, on_face, controls):
    """Solve on the outcomes that eta leaves; a proof there becomes one for all outcomes."""
    inner = _solve_allowed(restrict(problem, on_face), controls)
    steps = outcome.steps + inner.outcome.steps
    everywhere = np.ones(problem.base.size, dtype=bool)
    if inner.outcome.status is Status.INFEASIBLE:
        certificate = joined(problem, eta, on_face, inner.outcome.certificate)
        status = Status.INFEASIBLE if is_proof(problem, certificate) else Status.UNDECIDED
        outcome = replace(
            outcome,
            status=status,
            steps=steps,
            certificate=certificate if status is Status.INFEASIBLE else None,
        )
        return Found(problem, reduced, outcome, everywhere)
    if not inner.outcome.status.is_solution:
        outcome = replace(outcome, status=inner.outcome.status, steps=steps)
        return Found(problem, reduced, outcome, everywhere)
    support = on_face.copy()
    support[on_face] = inner.support
    direction = eta / np.abs(eta).max()
    if inner.direction is not None:
        direction = joined(problem, eta, on_face, inner.direction)
    return replace(
        inner,
        outcome=replace(inner.outcome, status=Status.BOUNDARY, steps=steps),
        support=support,
        direction=direction,
    )


def _describe(found, residual, allowed, support, top):
    """Return the solution in the coordinates that the user gave."""
    problem, reduced, outcome = found.problem, found.reduced, found.outcome
    point = outcome.point
    theta = reduced.theta(point.t)
    log_p = point.logits - point.value
    probabilities = np.zeros(support.shape)
    probabilities[support] = point.p
    log_probabilities = np.full(support.shape, -math.inf)
    log_probabilities[support] = log_p
    entropy = max(0.0, -float((point.p * log_p).sum()))
    return Solution(
        probabilities=probabilities,
        log_probabilities=log_probabilities,
        theta=theta,
        log_partition=point.value + top + float(theta @ problem.targets),
        value=entropy + float((point.p * problem.base).sum()) + top,
        entropy=entropy,
        residual=float(residual),
        error_bound=outcome.error_bound,
        dual_gap=outcome.dual_gap,
        status=outcome.status,
        support=support,
        rank=reduced.rank if outcome.rank is None else outcome.rank,
        steps=outcome.steps,
        certificate=outcome.certificate,
        direction=found.direction,
        transform=reduced.transform,
        diagnosis=diagnose(problem, reduced, outcome, allowed),
    )
