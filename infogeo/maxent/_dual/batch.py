"""Many small problems at once: the same Newton steps and the same bound, vectorised.

What needs a closer look (an optimum on the boundary, no optimum, redundant or nearly dependent
features) is left to the solve of a single problem; nothing is decided here but convergence.
Arrays have the members of the batch along their first axis in `Members`, and along their last
axis in the work itself: its innermost loops are then as long as there are members.
"""

import math
from dataclasses import dataclass, fields, replace

import numpy as np

from infogeo.maxent._dual.linear import power_of_two, sums
from infogeo.maxent._dual.problem import CAUTION, EPS
from infogeo.maxent._dual.proofs import (
    LARGEST_CERTIFIED,
    bound_of,
    growth_of,
    in_whole_numbers,
    is_best_possible,
)
from infogeo.maxent._dual.reduce import minimum_norm, reduce_features

# Members with more numbers than this gain nothing from company.
LARGEST_MEMBER = 10_000
# Nor do members with more products to add up in a covariance, which LAPACK does faster.
_LARGEST_COVARIANCE = 250_000
# The numbers of the members that are worked on together: a few arrays of that size fit in cache.
_BLOCK_SIZE = 131_072
# Fewer members than this make short loops.
_FEWEST_MEMBERS = 64
_MAX_STEPS = 40
# A reach of a step that two or three steps with the covariance of its start lead to rounding.
_CLOSE = 1e-4
# Outcomes that are added one after the other, for accurate sums: beyond, sums of sums.
_MANY_OUTCOMES = 64


@dataclass(frozen=True)
class Members:
    """Solved members of a batch, in the coordinates that the user gave."""

    index: np.ndarray  # (n,): which members of the batch these are
    probabilities: np.ndarray  # (n, c)
    log_probabilities: np.ndarray  # (n, c)
    theta: np.ndarray  # (n, m)
    log_partition: np.ndarray  # (n,), as the others below
    value: np.ndarray
    entropy: np.ndarray
    residual: np.ndarray
    error_bound: np.ndarray
    dual_gap: np.ndarray
    steps: np.ndarray
    scale: np.ndarray  # (n, m): the reduced features are F / scale; or (n, m, r) of a Reduced
    rank: int

    def take(self, chosen, **others):
        """Return some of the members, with other arrays in the place of some of theirs."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)} | others
        rank = arrays.pop("rank")
        return Members(**{name: array[chosen] for name, array in arrays.items()}, rank=rank)


@dataclass(frozen=True)
class _Block:
    """Independent features of spread about 1 whose targets are 0, of n members."""

    index: np.ndarray  # (n,): which members of the batch these are
    rows: np.ndarray  # (m, c, n)
    base: np.ndarray  # (c, n), the largest is 0
    scale: np.ndarray  # (m, n): rows = (F - b) / scale
    blur: np.ndarray  # (m, n): how well the targets are known


@dataclass(frozen=True)
class _Points:
    """One member of each exponential family."""

    t: np.ndarray  # (m, n)
    logits: np.ndarray  # (c, n)
    value: np.ndarray  # (n,): log sum exp(logits)
    p: np.ndarray  # (c, n)
    gradient: np.ndarray  # (m, n)


def _arrays(record):
    return [getattr(record, field.name) for field in fields(record)]


def _take(record, index):
    """Return some members of a block or of points; indexing would change the order of the axes."""
    return type(record)(*(array.take(index, axis=-1) for array in _arrays(record)))


def _put(points, index, others):
    """Overwrite some members of the points."""
    for array, other in zip(_arrays(points), _arrays(others), strict=True):
        array[..., index] = other


def solve_members(problem, controls):
    """Yield the members of a batch that converge without further care, as `Members`.

    Parameters
    ----------
    problem : Problem
        With one batch axis; the features may be a broadcast view.
    controls : Controls
        As for a single problem.

    Yields
    ------
    Members
        Of one block each, or of a part of it.
    """
    num_members, num_features, num_outcomes = problem.features.shape
    is_large = num_features * num_outcomes > LARGEST_MEMBER
    has_large_covariance = num_features**2 * num_outcomes > _LARGEST_COVARIANCE
    if num_features >= num_outcomes or is_large or has_large_covariance:
        return
    size = max(_FEWEST_MEMBERS, _BLOCK_SIZE // max(1, num_features * num_outcomes))
    for first in range(0, num_members, size):
        with np.errstate(all="ignore"):  # what overflows is not claimed to be solved
            yield from _solve_block(problem.member(slice(first, first + size)), first, controls)


def solve_dependent(problem, index, controls):
    """Yield those of some members, of the same dependent features, that converge, as `Members`.

    Which features follow from the others is found once. Members whose targets do not follow too,
    to rounding, are left to the solve of a single problem.
    """
    allowed = ~np.isneginf(problem.log_base[index])
    F = problem.features[0]
    if (allowed != allowed[0]).any():
        return
    one = problem.member(index[0])
    inside = np.ascontiguousarray(F[:, allowed[0]])
    reduced, _ = reduce_features(
        replace(one, features=inside, log_base=one.log_base[allowed[0]], start=None)
    )
    combinations, kept = reduced.combinations, reduced.kept
    if combinations.shape[1] == 0 or kept.size == 0 or reduced.varies.any():
        return
    b = problem.targets[index]
    constants = combinations.T @ inside.mean(axis=-1)
    rounding = (EPS * np.abs(inside).max(axis=-1)) @ np.abs(combinations)
    for k in range(combinations.shape[1]):
        eta = in_whole_numbers(inside, combinations[:, k])
        if eta is not None:
            combinations[:, k], constants[k], rounding[k] = eta, eta @ inside[:, 0], 0.0
    slack = CAUTION * (rounding + problem.blur[index] @ np.abs(combinations))
    follows = (np.abs(b @ combinations - constants) <= slack).all(axis=-1)
    index, b = index[follows], b[follows]
    start = None
    if problem.start is not None:  # the parameters without the others that give the same members
        others = np.delete(np.arange(F.shape[0]), kept)
        weights = np.linalg.solve(combinations[others], problem.start[index][:, others].T)
        start = (problem.start[index] - (combinations @ weights).T)[:, kept]
    independent = replace(
        problem,
        features=np.broadcast_to(F[kept], (index.size, kept.size, F.shape[1])),
        targets=b[:, kept],
        noise=None if problem.noise is None else problem.noise[index][:, kept],
        log_base=problem.log_base[index],
        start=start,
    )
    widen = minimum_norm(np.eye(F.shape[0])[:, kept], combinations)
    for members in solve_members(independent, controls):
        theta, targets = members.theta @ widen.T, b[members.index]
        psi = members.log_partition - (members.theta * targets[:, kept]).sum(axis=-1)
        yield replace(
            members,
            index=index[members.index],
            theta=theta,
            log_partition=psi + (theta * targets).sum(axis=-1),
            residual=np.abs(members.probabilities @ F.T - targets).max(axis=-1, initial=0.0),
            scale=widen / members.scale[:, None, :],
        )


def _solve_block(problem, first, controls):
    F, b, C, blur = (
        np.ascontiguousarray(np.moveaxis(x, 0, -1))
        for x in (problem.features, problem.targets, problem.log_base, problem.blur)
    )
    is_excluded = np.isneginf(C)
    if is_excluded.any():
        # An excluded outcome repeats the features of one that is allowed: ranges stay the same.
        best = np.take_along_axis(F, C.argmax(axis=0)[None, None, :], axis=1)
        F = np.where(is_excluded, best, F)
    top = C.max(axis=0)
    block, is_easy = _reduce(F, b, C - top, ~is_excluded, blur)
    if not is_easy.any():
        return
    if not is_easy.all():
        block = _take(block, np.flatnonzero(is_easy))
    t = np.zeros(block.scale.shape)
    if problem.start is not None:
        t = problem.start[block.index].T * block.scale
    for found, origin, whiteners, steps in _approach(block, t, controls):
        is_proved, point, bound, size, more = _certify(
            found, origin, whiteners, controls.max_steps - steps, controls.tol
        )
        if not is_proved.all():
            proved = np.flatnonzero(is_proved)
            found, point = _take(found, proved), _take(point, proved)
            bound, size = bound[proved], size[proved]
        yield _described(found, point, bound, size, steps + more, first, b, top)


def _described(block, point, bound, size, steps, first, b, top):
    """Return solved members in the coordinates that the user gave."""
    theta = point.t / block.scale
    log_p = point.logits - point.value
    has_mass = point.p > 0.0
    entropy = -sums(point.p * np.where(has_mass, log_p, 0.0))
    top = top[block.index]
    return Members(
        index=first + block.index,
        probabilities=point.p.T,
        log_probabilities=log_p.T,
        theta=theta.T,
        log_partition=point.value + top + (theta * b[:, block.index]).sum(axis=0),
        value=entropy + sums(point.p * np.where(has_mass, block.base, 0.0)) + top,
        entropy=np.maximum(0.0, entropy),
        residual=np.abs(point.gradient * block.scale).max(axis=0, initial=0.0),
        error_bound=bound,
        dual_gap=size**2,
        steps=np.full(bound.shape, steps),
        scale=block.scale.T,
        rank=theta.shape[0],
    )


def _reduce(F, b, base, is_allowed, rounding):
    """Scale the features; say which members have independent ones and targets well inside."""
    low, high = F.min(axis=1), F.max(axis=1)
    blur = rounding + EPS * np.maximum(np.abs(low), np.abs(high))
    is_easy = (np.minimum(high - b, b - low) > CAUTION * rounding).all(axis=0)
    unit = power_of_two(np.maximum(high - b, b - low))
    rows = F - b[:, None]
    rows *= (1.0 / unit)[:, None]
    weights = np.exp(base)
    weights /= sums(weights)
    weights = 0.5 * (weights + is_allowed / is_allowed.sum(axis=0))
    covariance, is_accurate = _covariances(rows, weights, _means(rows, weights))
    spread = np.sqrt(_diagonals(covariance))
    is_easy &= is_accurate & (spread * unit > CAUTION * blur).all(axis=0)
    scale = unit * power_of_two(spread)
    rescale = unit / scale
    rows *= rescale[:, None]
    covariance *= rescale[:, None] * rescale
    # The smallest eigenvalue is above 1e-3, or there may be a dependence to look into.
    is_easy &= np.square(_whiteners(covariance)).sum(axis=(0, 1)) < 1e3
    is_easy &= is_allowed.sum(axis=0) > b.shape[0]
    return _Block(np.arange(is_easy.size), rows, base, scale, rounding / scale), is_easy


def _approach(block, t, controls):
    """Take Newton steps until they are short.

    Yields members that came close, their points and whiteners, and the steps that were taken.
    Members are set apart once half of those that are left are done: until then these go on.
    """
    points = _evaluate(block, t)
    if t.any():  # a start that is worse than 0 is none
        origin = _evaluate(block, np.zeros_like(t))
        is_worse = np.flatnonzero(~(points.value < origin.value))
        _put(points, is_worse, _take(origin, is_worse))
    num_steps = min(controls.max_steps, _MAX_STEPS)
    for step in range(num_steps):
        covariance, is_accurate = _covariances(block.rows, points.p, points.gradient)
        whiteners = _whiteners(covariance)
        whitened = _apply(whiteners, points.gradient)
        controls.report(step, _norms(whitened).max())
        direction = -_apply_transposed(whiteners, whitened)
        along = _combine(direction, block.rows)
        top = along.max(axis=0)
        reach = top - along.min(axis=0)
        is_close = is_accurate & (reach < _CLOSE)
        # All outcomes fall, or something is not finite: a matter for a single solve.
        goes_on = ~is_close & (top >= 0.0) & np.isfinite(reach)
        if step + 1 == num_steps or 2 * np.count_nonzero(goes_on) <= goes_on.size:
            close, left = np.flatnonzero(is_close), np.flatnonzero(goes_on)
            if close.size:
                yield _take(block, close), _take(points, close), whiteners.take(close, -1), step
            if left.size == 0:
                return
            block, points = _take(block, left), _take(points, left)
            direction, along, reach = direction[:, left], along.take(left, -1), reach[left]
        points = _moved(block, points, direction, along, reach)


def _moved(block, points, direction, along, reach):
    """Go all the way where that is safe, or helps: where the slope along the line falls to a half.

    Elsewhere go three times as far as is safe, log(1 + R) / R, if that helps, or just as far.
    """
    before = np.abs((direction * points.gradient).sum(axis=0))
    moved = _points_at(block, points.t + direction, points.logits + along)
    after = np.abs((direction * moved.gradient).sum(axis=0))
    far = np.flatnonzero((reach >= 0.7) & ~(after <= 0.5 * before))
    for times in (3.0, 1.0):
        if far.size == 0:
            break
        length = times * np.log1p(reach[far]) / reach[far]
        d = direction[:, far]
        t, logits = points.t[:, far], points.logits.take(far, -1)
        logits += length * along.take(far, -1)
        trial = _points_at(_take(block, far), t + length * d, logits)
        _put(moved, far, trial)
        far = far[~(np.abs((d * trial.gradient).sum(axis=0)) <= 0.5 * before[far])]
    return moved


def _certify(block, origin, whiteners, max_steps, tol):
    """Finish each solve with the covariance at the origin, and bound the error.

    The same argument as for a single problem, see `infogeo.maxent._dual.proofs`. Returns which
    members it proves; of all of them points, bounds and certified decrements; and the steps.
    """
    whitened = _apply(whiteners, origin.gradient)
    norms = np.einsum("ijn,jcn->icn", whiteners, block.rows)
    norms -= whitened[:, None]
    norms = _norms(norms)
    lever = 2.0 * norms.max(axis=0)
    is_near = _norms(whitened) * lever <= LARGEST_CERTIFIED
    point, decrement = _shifted(block, origin, whiteners)
    steps, moves = 1, is_near & (decrement * lever > 1e-4 * tol)
    while steps < max_steps and moves.any():
        before = decrement
        point, decrement = _shifted(block, point, whiteners)
        steps += 1
        moves &= (decrement <= 0.5 * before) & (decrement * lever > 1e-4 * tol)
    is_finite = np.isfinite(block.base)
    change = np.where(is_finite, point.logits - origin.logits, 0.0)
    drift = np.ptp(change, axis=0)
    moved = _norms(_apply(whiteners, point.gradient - origin.gradient))
    norms += moved
    rounding, rounding_of_logs = _rounding(block, point, whiteners, norms, drift, is_finite)
    size, x, bound = bound_of(decrement, rounding, rounding_of_logs, lever, drift, moved)
    is_proved = is_near & (x <= LARGEST_CERTIFIED)
    is_proved &= (bound <= tol) | is_best_possible(decrement, rounding, lever, tol)
    return is_proved, point, bound, size, steps


def _shifted(block, points, whiteners):
    """Take a step with the covariance of an earlier point; return also the decrement there."""
    step = _apply_transposed(whiteners, _apply(whiteners, points.gradient))
    point = _evaluate(block, points.t - step)
    return point, _norms(_apply(whiteners, point.gradient))


def _rounding(block, point, whiteners, norms, drift, is_finite):
    """Bound the rounding errors, of logarithms too, as `infogeo.maxent._dual.dense` does."""
    size = np.abs(block.rows)
    weights = (point.t.shape[0] + 2) * np.abs(point.t)
    # The logarithm of a sum of so many numbers is the last term.
    terms = 6.0 + np.abs(block.base) + np.abs(point.logits - point.value)
    terms += math.log2(block.rows.shape[1])
    of_logs = EPS * np.where(is_finite, terms + _combine(weights, size), 0.0)
    of_gradient = _apply(np.abs(whiteners), block.blur + 48.0 * EPS * _means(size, point.p))
    weighted = point.p * of_logs
    of_mean = 1.02 * growth_of(drift) * np.sqrt(sums(weighted * of_logs))
    rounding = _norms(of_gradient) + np.fmin(of_mean, 2.0 * sums(norms * weighted))
    return rounding, of_logs.max(axis=0) + sums(weighted)


# ---------------------------------------------------------------- small linear algebra


def _evaluate(block, t):
    return _points_at(block, t, block.base + _combine(t, block.rows))


def _points_at(block, t, logits):
    """Return the points whose logits are known, up to some roundings or to be looked at only."""
    top = logits.max(axis=0)
    p = logits - top
    np.exp(p, out=p)
    total = sums(p)
    p *= 1.0 / total
    return _Points(t, logits, top + np.log(total), p, _means(block.rows, p))


def _covariances(rows, weights, mean):
    """Return the covariances of the rows below their diagonals, and where they did not cancel."""
    covariance = np.zeros((len(rows), len(rows), rows.shape[-1]))
    for i, row in enumerate(rows):
        np.einsum("cn,jcn->jn", row * weights, rows[: i + 1], out=covariance[i, : i + 1])
    second = _diagonals(covariance).copy()
    covariance -= mean[:, None] * mean
    return covariance, (_diagonals(covariance) > 0.01 * second).all(axis=0)


def _diagonals(matrices):
    return np.einsum("iin->in", matrices)


def _whiteners(covariance):
    """Return lower triangular W with W'W the inverse of each matrix; NaN where it has none.

    Only the triangles below the diagonals are looked at.
    """
    lower, inverse = covariance.copy(), np.zeros_like(covariance)
    for j in range(len(lower)):
        left = lower[j, :j]
        lower[j, j] = np.sqrt(lower[j, j] - np.square(left).sum(axis=0))
        lower[j + 1 :, j] -= (lower[j + 1 :, :j] * left).sum(axis=1)
        lower[j + 1 :, j] /= lower[j, j]
        inverse[j, j] = 1.0 / lower[j, j]
        inverse[j, :j] = -(left[:, None] * inverse[:j, :j]).sum(axis=0) / lower[j, j]
    return inverse


def _means(rows, p):
    """Return the sums of rows p over outcomes, in halves as `_sums`."""
    half = len(p) // 2
    if len(p) <= _MANY_OUTCOMES:
        return np.einsum("mcn,cn->mn", rows, p)
    return _means(rows[:, :half], p[:half]) + _means(rows[:, half:], p[half:])


def _norms(x):
    return np.sqrt(np.einsum("i...,i...->...", x, x))


def _combine(t, rows):
    return np.einsum("mn,mcn->cn", t, rows)


def _apply(matrices, x):
    return np.einsum("ijn,jn->in", matrices, x)


def _apply_transposed(matrices, x):
    return np.einsum("ijn,in->jn", matrices, x)
