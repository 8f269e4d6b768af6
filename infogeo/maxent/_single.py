"""The solve of one problem."""

import math

import numpy as np

from infogeo._result import Status
from infogeo.maxent._diagnosis import diagnose
from infogeo.maxent._newton import newton
from infogeo.maxent._problem import Outcome, Problem, Solution, evaluate
from infogeo.maxent._reduce import reduce_features


def solve(F, b, C, roundoff, tol, max_steps):
    """Solve one problem, (m, c) features in float64."""
    allowed = ~np.isneginf(C)
    if not allowed.all():
        F, C = F[:, allowed], C[allowed]
    top = C.max()
    # Sums over the outcomes are pairwise, and accurate, only along a contiguous axis.
    problem = Problem(np.ascontiguousarray(F), b, C - top, roundoff)
    reduced, certificate = reduce_features(problem)
    if certificate is None:
        outcome = newton(problem, reduced, tol, max_steps)
    else:
        start = evaluate(problem, reduced, np.zeros(reduced.rows.shape[0]))
        outcome = Outcome(Status.INFEASIBLE, start, 0, certificate=certificate)
    residual = np.abs((F - b[:, None]) @ outcome.point.p).max()
    if outcome.status.is_solution and (reduced.unmet.any() or not residual < math.inf):
        outcome = Outcome(Status.UNDECIDED, outcome.point, outcome.steps)
    return _describe(problem, reduced, outcome, residual, allowed, top)


def _describe(problem, reduced, outcome, residual, allowed, top):
    """Return the solution in the coordinates that the user gave."""
    point = outcome.point
    theta = reduced.transform @ point.t
    log_p = point.logits - point.value
    probabilities = np.zeros(allowed.shape)
    probabilities[allowed] = point.p
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
        support=allowed,
        rank=reduced.rows.shape[0],
        steps=outcome.steps,
        certificate=outcome.certificate,
        diagnosis=diagnose(problem, reduced, outcome, allowed),
    )
