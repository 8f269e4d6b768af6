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

from infogeo.maxent._dual.features import is_sparse, on_outcomes, ranges
from infogeo.maxent._dual.problem import CAUTION
from infogeo.maxent._dual.proofs import farkas_values, is_proof, simplified

# Of the outcomes called impossible, the mass that rounding of the data leaves possible: at most
# this many roundings (1e-10 in float64).
_LARGEST_LEAK = 4.5e5
# The largest linear program, in entries of its matrix: beyond, minutes go by.
_LARGEST_PROGRAM = 2_000_000
# How many outcomes a linear program begins with.
_FEW = 500


def edge_direction(problem):
    """Return the eta of all targets that are an end of the range of their feature, or None."""
    low, high = problem.ranges
    rounding = problem.blur
    at_low = problem.targets - low <= rounding
    at_high = high - problem.targets <= rounding
    # A constant feature has no ends: its target is at both, or is one that nothing meets.
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
    return _by_whole_program(problem, reduced, point)


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


def _by_whole_program(problem, reduced, point):
    rows, free = reduced.program()
    was_limited = False
    for tolerance in (1e-10, 1e-7):
        support, multipliers, is_over = _grown_program(rows, free, tolerance, point.p)
        was_limited |= is_over
        if support is None:
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
    return Search(was_limited=was_limited)


def _grown_program(rows, free, tolerance, p):
    """Solve the program of `_program` on a few outcomes, and on those that its answer overlooks.

    Returns the support over all outcomes and the multipliers, None if the support is everything or
    nothing was found; and whether the program became too large.
    """
    num_outcomes = rows.shape[1]
    chosen = np.zeros(num_outcomes, dtype=bool)
    chosen[np.argpartition(-p, min(_FEW, num_outcomes - 1))[:_FEW]] = True
    chosen[_extremes(rows)] = True
    if num_outcomes <= 4 * _FEW:
        chosen[:] = True
    while True:
        inside = rows[:, np.flatnonzero(chosen)]
        if (inside.nnz if is_sparse(inside) else inside.size) > _LARGEST_PROGRAM:
            return None, None, True
        found, multipliers = _program(inside, free, tolerance)
        if found is None or found.all():
            return None, None, False
        # Outcomes off the support have values of 1 and more.
        values = multipliers @ rows
        overlooked = np.flatnonzero((values < 0.5) & ~chosen)
        if overlooked.size == 0:
            support = np.zeros(num_outcomes, dtype=bool)
            support[chosen] = found
            return support, multipliers, False
        lowest = np.argsort(values[overlooked])[: max(_FEW, int(chosen.sum()))]
        chosen[overlooked[lowest]] = True


def _extremes(rows):
    """Return the outcomes at which the rows are smallest and largest."""
    ends = [rows.argmin(axis=1), rows.argmax(axis=1)]
    return np.concatenate([np.ravel(np.asarray(x)) for x in ends])


def exposed_outcomes(problem, eta, *, is_edge=False):
    """Return the outcomes of the face that eta exposes, bool (c,); None if it is no proof.

    Targets are known to rounding, and those of a face of several features often come from a sum
    over it: whether they lie on it is decided to that precision. The mean of eta'(F - b) is 0: the
    mass that rounding leaves to an outcome off the face is at most the slack on the face divided
    by the value of the outcome, and none if the targets are exactly the features of the face.
    """
    values, slack = farkas_values(problem, eta)
    unit = problem.roundoff
    if is_edge or np.count_nonzero(eta) == 1:
        on_face = values <= slack
    else:
        on_face, slack = _widened(problem, eta, values, slack, unit)
    off = ~on_face
    if not off.any() or not on_face.any() or not (values >= -slack).all():
        return None
    used = eta != 0.0
    face = on_outcomes(problem.features[used], on_face)
    face = face.toarray() if is_sparse(face) else face
    is_exact = (face == problem.targets[used, None]).all()
    most = 0.0 if is_exact else slack[on_face].max()
    return on_face if most <= _LARGEST_LEAK * unit * (values - slack)[off].min() else None


def _widened(problem, eta, values, slack, unit):
    """Return the outcomes of a face whose targets are sums over it, and the slack with that."""
    on_face = values <= max(0.0, values.min()) + slack
    for _ in range(3):
        size = np.maximum(*np.abs(ranges(on_outcomes(problem.features, on_face))))
        size = float(np.abs(eta) @ (size + np.abs(problem.targets)))
        wide = slack + CAUTION * unit * size
        was, on_face = on_face, values <= wide
        if np.array_equal(was, on_face) or not on_face.any():
            break
    return on_face, wide


def joined(problem, eta, on_face, inner):
    """Return one vector for two: eta, and `inner` for the outcomes of the face of eta.

    It is positive where eta is, and what `inner` is on the face.
    """
    outer_values, _ = farkas_values(problem, eta)
    inner_values, _ = farkas_values(problem, inner)
    off = ~on_face
    weight = (-inner_values[off] / outer_values[off]).max()
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
