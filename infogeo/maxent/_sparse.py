"""Sparse features: Newton's method by conjugate gradients, and a proof at the end.

The m x m covariance is formed once, near the optimum: from there on the argument is that of
`infogeo.maxent._proofs`, with norm(F_y) in the inverse covariance bounded by the sum of
|F_iy| norm(e_i), which needs only the entries that are not 0.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse

from infogeo._array import bad_value
from infogeo._result import Status
from infogeo.maxent._newton import CLOSE, step_length
from infogeo.maxent._problem import CAUTION, EPS, Solution
from infogeo.maxent._proofs import LARGEST_CERTIFIED, bound_of, is_best_possible

_MAX_INNER_STEPS = 300
_MANY_ENTRIES = 32
_SMALLEST_RESOLVED = 1e-12  # smaller probabilities do not show in a covariance in float64


@dataclass(frozen=True)
class _Sparse:
    """A problem on the outcomes that count, with the features by rows and by columns."""

    rows: scipy.sparse.csr_array  # (m, c)
    columns: scipy.sparse.csr_array  # (c, m): the transpose
    targets: np.ndarray
    base: np.ndarray  # the largest is 0
    blur: np.ndarray  # (m,): the rounding of the targets
    ridge: np.ndarray  # (m,): 1 / penalty, or 0


@dataclass(frozen=True)
class _State:
    theta: np.ndarray
    logits: np.ndarray  # (c,): C + theta'(F - b)
    value: float
    p: np.ndarray
    mean: np.ndarray  # (m,): E_p[F]
    gradient: np.ndarray  # (m,): mean - b + ridge theta


def check_sparse(features, check):
    """Return scipy.sparse features as a float64 csr array."""
    if features.ndim != 2 or 0 in features.shape:
        raise bad_value(
            "features", "have shape (m, c) if they are sparse", f"got shape {features.shape}"
        )
    if features.dtype.kind not in "biuf":
        raise TypeError(f"features must hold real numbers: its dtype is {features.dtype}.")
    rows = scipy.sparse.csr_array(features, dtype=np.float64)
    if not rows.has_canonical_format:
        rows = rows.copy()  # what was given stays as it is
        rows.sum_duplicates()
    if check and not np.isfinite(rows.data).all():
        raise bad_value("features", "be finite", "it has NaN or infinite entries")
    return rows


def solve_sparse(features, problem, controls):
    """Solve one problem; `problem` holds everything but the features."""
    allowed = ~np.isneginf(problem.base)
    blur = problem.roundoff * np.abs(problem.targets)
    low, high = _ranges(_on(features, allowed))
    outside = _out_of_range(low, high, problem.targets, blur)
    direction, support = None, allowed
    if problem.penalty is None and outside is None:
        direction, support = _edge(features, low, high, problem, allowed)
        if not support.any():
            direction, support = None, allowed
    top = problem.base[support].max()
    rows = _on(features, support)
    ridge = np.zeros(blur.size) if problem.penalty is None else 1.0 / problem.penalty
    sparse = _Sparse(
        rows, rows.T.tocsr(), problem.targets, problem.base[support] - top, blur, ridge
    )
    if problem.penalty is None and outside is not None:
        state = _evaluate(sparse, np.zeros(blur.size))
        found = (Status.INFEASIBLE, state, 0, math.inf, math.inf, 0, outside)
    else:
        found = _newton(sparse, problem.start, controls)
    status, state, steps, bound, gap, rank, certificate = found
    if direction is not None:
        if status is Status.CONVERGED:
            status = Status.BOUNDARY
        elif status is Status.INFEASIBLE:  # proved for the outcomes of the face only
            status, certificate = Status.UNDECIDED, None
    return _describe(
        sparse, state, status, steps, bound, gap, rank, certificate, direction, support, top
    )


def _describe(sparse, state, status, steps, bound, gap, rank, certificate, direction, support, top):
    log_p = state.logits - state.value
    probabilities = np.zeros(support.size)
    probabilities[support] = state.p
    entropy = max(0.0, -float(state.p @ np.where(state.p > 0.0, log_p, 0.0)))
    return Solution(
        probabilities=probabilities,
        theta=state.theta,
        log_partition=state.value + top + float(state.theta @ sparse.targets),
        value=entropy + float(state.p @ sparse.base) + top,
        entropy=entropy,
        residual=float(np.abs(state.mean - sparse.targets).max()),
        error_bound=bound,
        dual_gap=gap,
        status=status,
        support=support,
        rank=rank,
        steps=steps,
        certificate=certificate,
        direction=direction if status is Status.BOUNDARY else None,
        transform=np.zeros((state.theta.size, 0)),
        diagnosis=_diagnose(status, certificate, steps),
    )


def _diagnose(status, certificate, steps):
    if status is Status.INFEASIBLE:
        numbers = ", ".join(str(int(i)) for i in np.flatnonzero(certificate)[:8])
        return (
            "No distribution satisfies the constraints: the targets of features "
            f"{numbers} clash, or are out of range. The combination is in result.certificate."
        )
    if status is Status.MAX_STEPS:
        return f"The {steps} steps ran out. Raise max_steps."
    return (
        f"No solution, and no proof that there is none, after {steps} steps: the targets lie on "
        "the edge of what the features allow, or contradict each other, or nearly so. Move them "
        "inwards, or give a penalty."
    )


# ---------------------------------------------------------------- ends of ranges


def _out_of_range(low, high, targets, blur):
    """Return a unit vector if a target is outside the range of its feature."""
    slack = CAUTION * (blur + EPS * np.maximum(np.abs(low), np.abs(high)))
    excess = np.maximum(targets - high, low - targets) - slack
    worst = int(excess.argmax())
    if not excess[worst] > 0.0:
        return None
    eta = np.zeros(targets.size)
    eta[worst] = 1.0 if low[worst] > targets[worst] else -1.0
    return eta


def _edge(features, low, high, problem, allowed):
    """Return eta for the targets that are ends of ranges, and the outcomes it leaves."""
    rounding = problem.roundoff * np.abs(problem.targets)
    at_low = problem.targets - low <= rounding
    at_high = high - problem.targets <= rounding
    is_end = (at_low != at_high) & (high > low)
    if not is_end.any():
        return None, allowed
    eta = np.where(is_end, np.where(at_low, 1.0, -1.0), 0.0)
    ends = np.where(at_low, low, high)
    chosen = np.flatnonzero(is_end)
    # Entries that are not stored are 0 and count as well.
    above = abs(features[chosen]).astype(bool).astype(np.float64)
    differs = features[chosen].copy()
    differs.data = (
        differs.data != np.repeat(ends[chosen], np.diff(features[chosen].indptr))
    ).astype(np.float64)
    zero_differs = (ends[chosen] != 0.0).astype(np.float64)
    leaves = np.ones(chosen.size) @ differs + zero_differs.sum() - zero_differs @ above
    support = allowed & (leaves == 0.0)
    return eta / np.abs(eta).max(), support


def _on(features, outcomes):
    """Return the features on some of their outcomes only."""
    return features if outcomes.all() else features[:, np.flatnonzero(outcomes)]


def _ranges(features):
    # As numpy does it: reduceat over the entries of each row, and 0 where some are not stored.
    stored = np.diff(features.indptr)
    low, high = np.zeros(stored.size), np.zeros(stored.size)
    some = stored > 0
    starts = features.indptr[:-1][some]
    low[some] = np.minimum.reduceat(features.data, starts) if some.any() else 0.0
    high[some] = np.maximum.reduceat(features.data, starts) if some.any() else 0.0
    is_full = stored == features.shape[1]
    return np.where(is_full, low, np.minimum(low, 0.0)), np.where(
        is_full, high, np.maximum(high, 0.0)
    )


# ---------------------------------------------------------------- Newton's method


def _evaluate(sparse, theta):
    shift = float(theta @ sparse.targets)
    logits = sparse.base + sparse.columns @ theta - shift
    top = float(logits.max())
    p = np.exp(logits - top)
    total = float(p.sum())
    p /= total
    mean = sparse.rows @ p
    gradient = mean - sparse.targets + sparse.ridge * theta
    return _State(theta, logits, top + math.log(total), p, mean, gradient)


def _newton(sparse, start, controls):
    """Return status, state, steps, error bound, dual gap, rank and certificate."""
    squares = sparse.rows.copy()
    np.square(squares.data, out=squares.data)
    state = _evaluate(sparse, np.zeros(sparse.targets.size))
    if start is not None:
        other = _evaluate(sparse, start)
        prices = [0.5 * float(sparse.ridge @ x.theta**2) for x in (other, state)]
        state = other if other.value + prices[0] < state.value + prices[1] else state
    for steps in range(controls.max_steps + 1):
        variances = np.maximum(squares @ state.p - state.mean**2, 0.0) + sparse.ridge
        direction = _solve_inexactly(sparse, state, variances)
        along = sparse.columns @ direction - float(direction @ sparse.targets)
        reach = float(np.ptp(along))
        decrement = math.sqrt(max(0.0, -float(direction @ state.gradient)))
        controls.report(steps, decrement)
        if not math.isfinite(reach):
            break
        if reach < CLOSE and steps < controls.max_steps:
            return _certify(sparse, state, variances, steps, controls)
        if along.max() < 0.0 and not sparse.ridge.any() and _is_farkas(sparse, -direction):
            eta = _without_dust(sparse, -direction / np.abs(direction).max())
            return Status.INFEASIBLE, state, steps, math.inf, math.inf, 0, eta
        if steps == controls.max_steps:
            return Status.MAX_STEPS, state, steps, math.inf, math.inf, 0, None
        ridge = (
            float((sparse.ridge * state.theta) @ direction),
            float((sparse.ridge * direction) @ direction),
        )
        length = step_length(state.logits, along, reach, ridge)
        state = _evaluate(sparse, state.theta + length * direction)
    return Status.UNDECIDED, state, steps, math.inf, math.inf, 0, None


def _solve_inexactly(sparse, state, variances):
    """Return d with H d near -gradient, by conjugate gradients with the diagonal of H."""
    size = variances.max() * 1e-14
    inverse = np.where(variances > size, 1.0 / np.maximum(variances, size), 0.0)
    residual = -state.gradient
    preconditioned = inverse * residual
    d, search = np.zeros_like(residual), preconditioned
    product = first = float(residual @ preconditioned)
    tolerance = min(0.1, first**0.5) ** 2 * first
    for _ in range(_MAX_INNER_STEPS):
        if not product > max(tolerance, 1e-30 * first):
            break
        values = sparse.columns @ search
        values -= float(state.p @ values)
        curved = sparse.rows @ (state.p * values) + sparse.ridge * search
        curvature = float(search @ curved)
        if not curvature > 0.0:
            break
        length = product / curvature
        d = d + length * search
        residual = residual - length * curved
        preconditioned = inverse * residual
        before, product = product, float(residual @ preconditioned)
        search = preconditioned + (product / before) * search
    return d


def _is_farkas(sparse, eta):
    """Whether eta'(F_y - b) > 0 for all outcomes, whatever the rounding."""
    above = sparse.columns @ eta - float(eta @ sparse.targets)
    size = abs(sparse.columns) @ np.abs(eta) + float(np.abs(eta) @ np.abs(sparse.targets))
    slack = (eta.size + 4) * EPS * size + float(np.abs(eta) @ sparse.blur)
    return bool((above > slack).all())


def _without_dust(sparse, eta):
    """Drop the features that contribute next to nothing, if the proof holds without them."""
    for share in (1e-3, 1e-6):
        kept = np.where(np.abs(eta) > share, eta, 0.0)
        if _is_farkas(sparse, kept):
            return kept
    return eta


# ---------------------------------------------------------------- the proof


def _certify(sparse, origin, variances, steps, controls):
    """Finish with the covariance at the origin, and bound the error."""
    scale = np.sqrt(np.where(variances > 0.0, variances, 1.0))
    kept, whitener = _whitener(sparse, origin, scale)
    norms = np.zeros(scale.size)
    norms[kept] = np.linalg.norm(whitener, axis=0)
    size_of = sparse.columns.copy()
    np.abs(size_of.data, out=size_of.data)
    offset = float(np.linalg.norm(whitener @ origin.mean[kept]))
    lever = 2.0 * (float((size_of @ norms).max()) + offset)
    state, done = origin, 0
    decrement = float(np.linalg.norm(whitener @ origin.gradient[kept]))
    enough = 1e-4 * controls.tol
    while steps + done < controls.max_steps and (done == 0 or decrement * lever > enough):
        theta = state.theta.copy()
        theta[kept] -= whitener.T @ (whitener @ state.gradient[kept])
        trial = _evaluate(sparse, theta)
        trial_decrement = float(np.linalg.norm(whitener @ trial.gradient[kept]))
        if done > 0 and trial_decrement > 0.5 * decrement:
            break
        state, decrement, done = trial, trial_decrement, done + 1
        controls.report(steps + done, decrement)
    drift = float(np.ptp(state.logits - origin.logits))
    shift = float(np.linalg.norm(whitener @ (state.mean - origin.mean)[kept]))
    of_gradient, of_logs = _rounding(sparse, state, size_of)
    rounding = float(np.linalg.norm(np.abs(whitener) @ of_gradient[kept]))
    size, x, bound = bound_of(decrement, rounding, of_logs, lever, shift, drift)
    steps += done
    # The constraints that were left out as dependent have to hold by themselves.
    slack = CAUTION * of_gradient + float(size) * np.sqrt(variances) * 2.0
    is_met = np.abs(state.gradient) <= slack
    is_met[kept] = True
    is_near = bound <= controls.tol or is_best_possible(decrement, rounding, lever, controls.tol)
    # Where probabilities run to 0 the covariance loses directions that are no dependence.
    is_resolved = kept.size == scale.size or float(state.p.min()) > _SMALLEST_RESOLVED
    if not (x <= LARGEST_CERTIFIED and is_near and is_met.all() and is_resolved):
        status = Status.MAX_STEPS if steps >= controls.max_steps else Status.UNDECIDED
        return status, state, steps, math.inf, math.inf, kept.size, None
    return Status.CONVERGED, state, steps, float(bound), float(size**2), kept.size, None


def _whitener(sparse, state, scale):
    """Return independent features, and W with W'W the inverse of their covariance."""
    covariance = _second_moments(sparse, state.p) - np.outer(state.mean, state.mean)
    covariance += np.diag(sparse.ridge)
    covariance /= np.outer(scale, scale)
    factor, order, rank, _ = scipy.linalg.lapack.dpstrf(covariance, lower=1, tol=1e-10)
    kept = order[:rank] - 1
    lower = np.tril(factor[:rank, :rank])
    whitener = scipy.linalg.solve_triangular(lower, np.eye(rank), lower=True)
    return kept, whitener / scale[kept]


def _second_moments(sparse, p):
    """Return E_p[F F'], (m, m)."""
    num_outcomes, num_features = sparse.columns.shape
    stored = np.diff(sparse.columns.indptr)
    longest = int(stored.max(initial=0))
    if longest > _MANY_ENTRIES or longest * num_outcomes > 4 * sparse.columns.nnz:
        weighted = sparse.columns.copy()
        weighted.data *= np.repeat(p, stored)
        return (sparse.rows @ weighted).toarray()
    # Few entries at every outcome: pair by pair they are added up faster.
    where = np.zeros((longest, num_outcomes), dtype=np.int64)
    values = np.zeros((longest, num_outcomes))
    outcomes = np.repeat(np.arange(num_outcomes), stored)
    position = np.arange(outcomes.size) - np.repeat(sparse.columns.indptr[:-1], stored)
    where[position, outcomes] = sparse.columns.indices
    values[position, outcomes] = sparse.columns.data
    total = np.zeros(num_features**2)
    for i in range(longest):
        weighted = p * values[i]
        for j in range(i + 1):
            cells = where[i] * num_features + where[j]
            both = weighted * values[j] * (0.5 if i == j else 1.0)
            total += np.bincount(cells, both, minlength=total.size)
    half = total.reshape(num_features, num_features)
    return half + half.T


def _rounding(sparse, state, size_of):
    """Bound the rounding errors of the gradient, and of every log-probability."""
    theta = np.abs(state.theta)
    longest = int(np.diff(sparse.columns.indptr).max(initial=0))
    terms = 6.0 + np.abs(sparse.base) + np.abs(state.logits - state.value)
    terms += (longest + 2) * (size_of @ theta + float(theta @ np.abs(sparse.targets)))
    of_logs = EPS * terms
    size_of_rows = size_of.T  # the same entries
    mean_size = size_of_rows @ state.p
    length = np.diff(sparse.rows.indptr) + 2.0  # the sums are sequential
    of_mean = EPS * (length * mean_size + np.abs(sparse.targets) + sparse.ridge * theta)
    of_mean += 2.0 * (size_of_rows @ (state.p * of_logs))
    return sparse.blur + of_mean, float(of_logs.max() + state.p @ of_logs)
