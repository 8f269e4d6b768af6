"""Facial reduction: which outcomes must vanish, with a vector that proves it.

If eta'(F_y - b) >= 0 for every outcome, its expectation 0 leaves no mass where it is positive:
eta exposes the face of the outcomes where it is 0. Searches propose eta, `exposed_outcomes`
decides.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.sparse

from infogeo.maxent._problem import CAUTION, EPS
from infogeo.maxent._proofs import farkas_values, is_proof, simplified

# Of the outcomes called impossible, the mass that rounding of the data leaves possible: at most
# this many roundings (1e-10 in float64).
_LARGEST_LEAK = 4.5e5
# The largest linear program, in entries of its matrix: beyond, minutes go by.
_LARGEST_PROGRAM = 2_000_000


def edge_direction(problem):
    """Return the eta of all targets that are an end of the range of their feature, or None."""
    low, high = problem.ranges
    rounding = problem.roundoff * np.abs(problem.targets)
    at_low = problem.targets - low <= rounding
    at_high = high - problem.targets <= rounding
    is_end = (at_low != at_high) & (high > low)
    if not is_end.any():
        return None
    span = np.where(is_end, high - low, 1.0)
    return np.where(is_end, np.where(at_low, 1.0, -1.0) / span, 0.0)


@dataclass(frozen=True)
class Search:
    """What the search for a face came across."""

    eta: np.ndarray | None = None
    is_proof: bool = False  # of infeasibility; else eta exposes a face
    was_limited: bool = False  # whether a linear program was too large to be solved


def search(problem, reduced, point):
    """Look for an eta that exposes a face, or that proves the problem infeasible.

    Candidates for the face are read off the probabilities. What exposes one is constant on it:
    of the few combinations that are, the linear program is small. The last resort is that of all
    combinations.
    """
    for support in _gaps(point.p):
        normals = reduced.normals(support)
        if normals.shape[1] == 0:
            continue
        eta = _nearest(problem, reduced, normals, -point.t)
        if eta is not None and exposed_outcomes(problem, eta) is not None:
            return Search(eta)
        eta = _by_program(problem, reduced, support, normals)
        if eta is not None:
            return Search(eta)
    return _by_whole_program(problem, reduced)


def _by_program(problem, reduced, support, normals):
    """Return an eta that exposes a face on which the support lies, or None."""
    others = np.flatnonzero(~support)
    if normals.shape[1] * others.size > _LARGEST_PROGRAM:
        return None
    more, multipliers = _program(reduced.heights(normals, others), None, 1e-10)
    if more is None or more.all():
        return None
    guess = normals @ multipliers
    if more.any():
        support = support.copy()
        support[others[more]] = True
        normals = reduced.normals(support)
        if normals.shape[1] == 0:
            return None
    eta = _nearest(problem, reduced, normals, guess)
    return eta if eta is not None and exposed_outcomes(problem, eta) is not None else None


def _by_whole_program(problem, reduced):
    rows, free = reduced.program()
    if (rows.nnz if scipy.sparse.issparse(rows) else rows.size) > _LARGEST_PROGRAM:
        return Search(was_limited=True)
    for tolerance in (1e-10, 1e-7):
        support, multipliers = _program(rows, free, tolerance)
        if support is None or support.all():
            continue
        guess = multipliers[: reduced.blur.size]
        if not support.any():
            eta = reduced.theta(guess)
            if is_proof(problem, eta):
                return Search(simplified(problem, eta), is_proof=True)
            continue
        normals = reduced.normals(support)
        if normals.shape[1] == 0:
            continue
        eta = _nearest(problem, reduced, normals, guess)
        if eta is not None and exposed_outcomes(problem, eta) is not None:
            return Search(eta)
    return Search()


def exposed_outcomes(problem, eta, *, is_edge=False):
    """Return the outcomes of the face that eta exposes, bool (c,); None if it is no proof.

    Targets are known to rounding, and those of a face of several features often come from a sum:
    whether they lie on it is decided to that precision. Edges of single features are exact.
    """
    values, slack = farkas_values(problem, eta)
    if not is_edge and np.count_nonzero(eta) > 1:
        size = np.maximum(*np.abs(problem.ranges)) + np.abs(problem.targets)
        slack = slack + CAUTION * max(problem.roundoff, EPS) * float(np.abs(eta) @ size)
    on_face = values <= slack
    if on_face.all() or not on_face.any() or not (values >= -slack).all():
        return None
    leak = _LARGEST_LEAK * max(problem.roundoff, EPS)
    return on_face if slack.max() <= leak * values[~on_face].min() else None


def joined(problem, eta, on_face, inner):
    """Return one vector for two: eta, and `inner` for the outcomes of the face of eta.

    It is positive where eta is, and what `inner` is on the face.
    """
    outer_values, _ = farkas_values(problem, eta)
    inner_values, slack = farkas_values(problem, inner)
    off = ~on_face
    weight = ((2.0 * slack - inner_values)[off] / outer_values[off]).max()
    both = inner + max(1.0, 2.0 * weight) * eta
    return both / np.abs(both).max()


def _gaps(p):
    """Propose supports: cut the sorted probabilities at the widest gaps below 1e-3."""
    order = np.argsort(-p, kind="stable")
    logs = np.log(np.maximum(p[order], 1e-320))
    widths = -np.diff(logs)
    widths[logs[1:] > math.log(1e-3)] = 0.0
    for cut in np.argsort(-widths)[:4]:
        if widths[cut] > 2.0:
            support = np.zeros(p.size, dtype=bool)
            support[order[: cut + 1]] = True
            yield support


def _nearest(problem, reduced, normals, guess):
    """Return the eta of the normals nearest to the guess; None if it is 0."""
    normal = normals @ (normals.T @ guess)
    eta = reduced.theta(normal)
    low, high = problem.ranges
    weight = np.abs(eta) * (high - low)
    eta[weight < 1e-12 * weight.max()] = 0.0  # dust of the arithmetic
    largest = np.abs(eta).max()
    return eta / largest if 0.0 < largest < math.inf else None


def _program(rows, free, tolerance):
    """Find the largest support of a distribution that meets the constraints.

    The linear program is: the largest sum of s with rows (s + u) + free v = 0, 0 <= s <= 1,
    u >= 0. Its optimum has s = 1 on the largest support and 0 elsewhere, and its multipliers are
    a normal of the face: 0 there, at least 1 elsewhere.
    """
    num_outcomes = rows.shape[1]
    is_sparse = scipy.sparse.issparse(rows)
    if rows.shape[0] == 0 or not np.isfinite(rows.data if is_sparse else rows).all():
        return None, None
    parts = [rows, rows] if free is None else [rows, rows, free]
    num_free = 0 if free is None else free.shape[1]
    found = scipy.optimize.linprog(
        np.concatenate([-np.ones(num_outcomes), np.zeros(num_outcomes + num_free)]),
        A_eq=scipy.sparse.hstack(parts, format="csc") if is_sparse else np.hstack(parts),
        b_eq=np.zeros(rows.shape[0]),
        bounds=[(0.0, 1.0)] * num_outcomes
        + [(0.0, None)] * num_outcomes
        + [(None, None)] * num_free,
        method="highs",
        options={
            "primal_feasibility_tolerance": tolerance,
            "dual_feasibility_tolerance": tolerance,
            "time_limit": 60.0,
        },
    )
    if found.status != 0:
        return None, None
    multipliers = -np.asarray(found.eqlin.marginals)
    return found.x[:num_outcomes] > 0.5, multipliers
