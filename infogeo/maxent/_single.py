"""The solve of one problem."""

import math
from dataclasses import replace

import numpy as np

from infogeo._result import Status
from infogeo.maxent._diagnosis import diagnose
from infogeo.maxent._face import edge_direction, exposed_outcomes, joined, search
from infogeo.maxent._newton import newton
from infogeo.maxent._problem import Found, Outcome, Solution, evaluate
from infogeo.maxent._proofs import is_proof
from infogeo.maxent._reduce import reduce_features, scale_features


def solve(problem, controls):
    """Solve one problem; its log_base may rule outcomes out."""
    C, allowed = problem.base, ~np.isneginf(problem.base)
    whole = restrict(problem, allowed)
    found = _solve_allowed(whole, controls)
    support = allowed.copy()
    support[allowed] = found.support
    top = C[support].max()
    residual = np.abs(
        (found.problem.features - problem.targets[:, None]) @ found.outcome.point.p
    ).max()
    if found.outcome.status.is_solution and (found.reduced.unmet.any() or not residual < math.inf):
        outcome = found.outcome
        found = replace(found, outcome=Outcome(Status.UNDECIDED, outcome.point, outcome.steps))
    return _describe(found, residual, allowed, support, top)


def restrict(problem, outcomes):
    """Return the problem on some of its outcomes only; the largest log_base becomes 0."""
    F, C = problem.features, problem.base
    if not outcomes.all():
        F, C = F[:, outcomes], C[outcomes]
    # Sums over the outcomes are pairwise, and accurate, only along a contiguous axis.
    return replace(problem, features=np.ascontiguousarray(F), base=C - C.max())


def _solve_allowed(problem, controls):
    """Solve a problem that has no outcomes ruled out, on a face if it has to be."""
    if problem.penalty is not None:
        reduced = scale_features(problem)
        outcome = newton(problem, reduced, controls)
        return Found(problem, reduced, outcome, np.ones(problem.base.size, dtype=bool))
    reduced, certificate = reduce_features(problem)
    outcome = Outcome(
        Status.INFEASIBLE,
        evaluate(problem, reduced, np.zeros(reduced.rows.shape[0])),
        0,
        certificate=certificate,
    )
    if certificate is not None:
        return Found(problem, reduced, outcome, np.ones(problem.base.size, dtype=bool))
    eta = edge_direction(problem)
    if eta is not None:
        if is_proof(problem, eta):
            outcome = replace(outcome, certificate=eta / np.abs(eta).max())
            return Found(problem, reduced, outcome, np.ones(problem.base.size, dtype=bool))
        on_face = exposed_outcomes(problem, eta, is_edge=True)
        if on_face is not None:
            return _solve_on_face(problem, reduced, outcome, eta, on_face, controls)
    outcome = newton(problem, reduced, controls)
    if _may_be_on_a_face(outcome):
        eta, is_infeasible = search(problem, reduced, outcome.point)
        if is_infeasible:
            outcome = replace(outcome, status=Status.INFEASIBLE, certificate=eta)
        elif eta is not None:
            on_face = exposed_outcomes(problem, eta)
            return _solve_on_face(problem, reduced, outcome, eta, on_face, controls)
    return Found(problem, reduced, outcome, np.ones(problem.base.size, dtype=bool))


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
    theta = reduced.transform @ point.t
    log_p = point.logits - point.value
    probabilities = np.zeros(support.shape)
    probabilities[support] = point.p
    entropy = max(0.0, -float((point.p * log_p).sum()))
    return Solution(
        probabilities=probabilities,
        theta=theta,
        log_partition=point.value + top + float(theta @ problem.targets),
        value=entropy + float((point.p * problem.base).sum()) + top,
        entropy=entropy,
        residual=float(residual),
        error_bound=outcome.error_bound,
        dual_gap=outcome.dual_gap,
        status=outcome.status,
        support=support,
        rank=reduced.rows.shape[0],
        steps=outcome.steps,
        certificate=outcome.certificate,
        direction=found.direction,
        transform=reduced.transform,
        diagnosis=diagnose(problem, reduced, outcome, allowed),
    )
