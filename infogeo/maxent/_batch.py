"""Many small problems at once: the same Newton steps and the same bound, vectorised.

What needs a closer look (an optimum on the boundary, no optimum, redundant or nearly dependent
features) is left to the solve of a single problem; nothing is decided here but convergence.
Arrays have the members of the batch along their first axis.
"""

from dataclasses import dataclass, replace

import numpy as np

from infogeo.maxent._linear import power_of_two
from infogeo.maxent._newton import CLOSE
from infogeo.maxent._problem import CAUTION, EPS
from infogeo.maxent._proofs import (
    LARGEST_CERTIFIED,
    bound_of,
    in_whole_numbers,
    is_best_possible,
)
from infogeo.maxent._reduce import minimum_norm, reduce_features

# Members with more numbers than this gain nothing from company.
LARGEST_MEMBER = 20_000
# The numbers of the members that are worked on together: a few arrays of that size fit in cache.
_BLOCK_SIZE = 65_536
_MAX_STEPS = 40
# Members of fewer numbers are faster by einsum than by one BLAS call each.
_SMALL = 500


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


@dataclass(frozen=True)
class _Block:
    """Independent features of spread about 1 whose targets are 0."""

    rows: np.ndarray  # (n, m, c)
    base: np.ndarray  # (n, c), the largest is 0
    scale: np.ndarray  # (n, m): rows = (F - b) / scale
    blur: np.ndarray  # (n, m): how well the targets are known

    def take(self, where):
        return _Block(self.rows[where], self.base[where], self.scale[where], self.blur[where])


@dataclass(frozen=True)
class _Points:
    """One member of each exponential family."""

    t: np.ndarray  # (n, m)
    logits: np.ndarray  # (n, c)
    value: np.ndarray  # (n,): log sum exp(logits)
    p: np.ndarray  # (n, c)
    gradient: np.ndarray  # (n, m)

    def take(self, where):
        return _Points(
            self.t[where],
            self.logits[where],
            self.value[where],
            self.p[where],
            self.gradient[where],
        )


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
        Of one block each.
    """
    num_members, num_features, num_outcomes = problem.features.shape
    if num_features >= num_outcomes or num_features * num_outcomes > LARGEST_MEMBER:
        return
    size = max(16, _BLOCK_SIZE // (num_features * num_outcomes))
    for first in range(0, num_members, size):
        with np.errstate(all="ignore"):  # what overflows is not claimed to be solved
            yield _solve_block(problem.member(slice(first, first + size)), first, controls)


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
        psi = members.log_partition - _sums(members.theta * targets[:, kept])
        yield replace(
            members,
            index=index[members.index],
            theta=theta,
            log_partition=psi + _sums(theta * targets),
            residual=np.abs(members.probabilities @ F.T - targets).max(axis=-1, initial=0.0),
            scale=widen / members.scale[:, None, :],
        )


def _solve_block(problem, first, controls):
    F, b, C = problem.features, problem.targets, problem.log_base
    is_excluded = np.isneginf(C)
    if is_excluded.any():
        # An excluded outcome repeats the features of one that is allowed: ranges stay the same.
        best = np.take_along_axis(F, C.argmax(axis=-1)[:, None, None], axis=2)
        F = np.where(is_excluded[:, None, :], best, F)
    top = C.max(axis=-1)
    block, is_easy = _reduce(F, b, C - top[:, None], ~is_excluded, problem.blur)
    index = np.flatnonzero(is_easy)
    if index.size < is_easy.size:
        block = block.take(index)
    t = np.zeros(block.scale.shape)
    if problem.start is not None:
        t = problem.start[index] * block.scale
    found, points, whiteners, steps = _approach(block, t, controls)
    index, block = index[found], block.take(found)
    point, bound, size, more, is_proved = _certify(block, points, whiteners, steps, controls)
    index, block, point = index[is_proved], block.take(is_proved), point.take(is_proved)
    theta = point.t / block.scale
    log_p = point.logits - point.value[:, None]
    entropy = -_sums(point.p * np.where(point.p > 0.0, log_p, 0.0))
    finite_base = np.where(point.p > 0.0, block.base, 0.0)
    top, targets = top[index], b[index]
    return Members(
        index=first + index,
        probabilities=point.p,
        log_probabilities=log_p,
        theta=theta,
        log_partition=point.value + top + _sums(theta * targets),
        value=entropy + _sums(point.p * finite_base) + top,
        entropy=np.maximum(0.0, entropy),
        residual=np.abs(point.gradient * block.scale).max(axis=-1),
        error_bound=bound[is_proved],
        dual_gap=size[is_proved] ** 2,
        steps=(steps + more)[is_proved],
        scale=block.scale,
        rank=theta.shape[-1],
    )


def _reduce(F, b, base, is_allowed, rounding):
    """Scale the features; say which members have independent ones and targets well inside."""
    low, high = F.min(axis=-1), F.max(axis=-1)
    blur = rounding + EPS * np.maximum(np.abs(low), np.abs(high))
    is_easy = (np.minimum(high - b, b - low) > CAUTION * rounding).all(axis=-1)
    unit = power_of_two(np.maximum(high - b, b - low))
    rows = F - b[:, :, None]
    rows *= 1.0 / unit[:, :, None]
    weights = np.exp(base)
    weights /= _sums(weights)[:, None]
    weights = 0.5 * (weights + is_allowed / is_allowed.sum(axis=-1, keepdims=True))
    covariance, is_accurate = _covariances(rows, weights, _means(rows, weights))
    spread = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    is_easy &= is_accurate & (spread * unit > CAUTION * blur).all(axis=-1)
    scale = unit * power_of_two(spread)
    rescale = unit / scale
    rows *= rescale[:, :, None]
    covariance = covariance * (rescale[:, :, None] * rescale[:, None, :])
    # The smallest eigenvalue is above 1e-3, or there may be a dependence to look into.
    is_easy &= np.square(_whiteners(covariance)).sum(axis=(1, 2)) < 1e3
    is_easy &= is_allowed.sum(axis=-1) > b.shape[-1]
    return _Block(rows, base, scale, rounding / scale), is_easy


def _approach(block, t, controls):
    """Take Newton steps until they are short.

    Returns which members came close, their points, their whiteners and the steps that each took.
    """
    num_members, num_features, _ = block.rows.shape
    active = np.arange(num_members)
    points = _evaluate(block, t)
    if t.any():  # a start that is worse than 0 is none
        origin = _evaluate(block, np.zeros_like(t))
        points = _choose(points.value < origin.value, points, origin)
    arrived = []
    for step in range(min(controls.max_steps, _MAX_STEPS)):
        if active.size == 0:
            break
        covariance, is_accurate = _covariances(block.rows, points.p, points.gradient)
        whiteners = _whiteners(covariance)
        whitened = _apply(whiteners, points.gradient)
        controls.report(step, _norms(whitened).max())
        direction = -_apply_transposed(whiteners, whitened)
        along = _combine(direction, block.rows)
        reach = np.ptp(along, axis=-1)
        is_close = is_accurate & (reach < CLOSE)
        if is_close.any():
            arrived.append((active[is_close], points.take(is_close), whiteners[is_close], step))
        # All outcomes fall, or something is not finite: a matter for a single solve.
        keep = ~is_close & (along.max(axis=-1) >= 0.0) & np.isfinite(reach)
        if not keep.all():
            active, block, points = active[keep], block.take(keep), points.take(keep)
            direction, along, reach = direction[keep], along[keep], reach[keep]
        length = _step_lengths(points.logits, along, reach)
        points = _evaluate(block, points.t + length[:, None] * direction)
    if not arrived:
        arrived.append((active[:0], points.take(active[:0]), np.zeros((0,) * 3), 0))
    index = np.concatenate([part[0] for part in arrived])
    order = np.argsort(index)
    fields = [
        np.concatenate([getattr(part[1], name) for part in arrived])[order]
        for name in ("t", "logits", "value", "p", "gradient")
    ]
    shape = (-1, num_features, num_features)
    whiteners = np.concatenate([part[2].reshape(shape) for part in arrived])[order]
    steps = np.concatenate([np.full(part[0].size, part[3]) for part in arrived])[order]
    return index[order], _Points(*fields), whiteners, steps


def _step_lengths(logits, along, reach):
    """Return lengths that descend: 1 where that is safe or seen to help, else log(1 + R) / R."""
    safe = np.log1p(reach) / np.maximum(reach, 1e-300)
    length = np.where(reach < 0.7, 1.0, safe)
    for bold in (1.0, 3.0 * safe):
        tried = np.flatnonzero((reach >= 0.7) & (length < bold))
        if tried.size == 0:
            continue
        bold = np.broadcast_to(bold, reach.shape)[tried]
        weights = np.exp(logits[tried])
        before = _sums(weights * along[tried]) / _sums(weights)
        moved = logits[tried] + bold[:, None] * along[tried]
        weights = np.exp(moved - moved.max(axis=-1, keepdims=True))
        after = _sums(weights * along[tried]) / _sums(weights)
        helps = np.abs(after) <= 0.5 * np.abs(before)
        length[tried[helps]] = bold[helps]
    return length


def _certify(block, origin, whiteners, steps_before, controls):
    """Finish each solve with the covariance at the origin, and bound the error.

    The same argument as for a single problem, see `infogeo.maxent._proofs`.
    """
    whitened = whiteners @ block.rows
    whitened -= _apply(whiteners, origin.gradient)[:, :, None]
    norms = np.sqrt(np.square(whitened).sum(axis=1))
    lever = 2.0 * norms.max(axis=-1, initial=0.0)
    point, tol = origin, controls.tol
    max_steps = controls.max_steps - steps_before
    decrement = _norms(_apply(whiteners, origin.gradient))
    steps = np.zeros(lever.size, dtype=int)
    moving = (decrement * lever <= LARGEST_CERTIFIED) & (max_steps > 0)
    while moving.any():
        step = _apply_transposed(whiteners, _apply(whiteners, point.gradient))
        trial = _evaluate(block, point.t - step, accurate=True)
        trial_decrement = _norms(_apply(whiteners, trial.gradient))
        is_better = moving & ((steps == 0) | (trial_decrement <= 0.5 * decrement))
        point = _choose(is_better, trial, point)
        decrement = np.where(is_better, trial_decrement, decrement)
        steps += is_better
        moving = is_better & (steps < max_steps) & (decrement * lever > 1e-4 * tol)
    is_finite = np.isfinite(block.base)
    change = np.where(is_finite, point.logits - origin.logits, 0.0)
    shift = _norms(_apply(whiteners, point.gradient - origin.gradient))
    norms += shift[:, None]
    rounding, rounding_of_logs = _rounding(block, point, whiteners, norms, is_finite)
    size, x, bound = bound_of(decrement, rounding, rounding_of_logs, lever, np.ptp(change, axis=-1))
    is_proved = (x <= LARGEST_CERTIFIED) & (steps > 0)
    is_proved &= (bound <= tol) | is_best_possible(decrement, rounding, lever, tol)
    return point, bound, size, steps, is_proved


def _rounding(block, point, whiteners, norms, is_finite):
    """Bound the rounding errors as `infogeo.maxent._proofs.rounding_of` does."""
    size = np.abs(block.rows)
    weights = (point.t.shape[-1] + 2) * np.abs(point.t)
    terms = 6.0 + np.abs(block.base) + np.abs(point.logits - point.value[:, None])
    of_logs = EPS * np.where(is_finite, terms + _combine(weights, size), 0.0)
    # Sums of a few terms are not pairwise.
    of_gradient = _apply(np.abs(whiteners), block.blur + 48.0 * EPS * _means(size, point.p))
    weighted = point.p * of_logs
    rounding = _norms(of_gradient) + 2.0 * _sums(norms * weighted)
    return rounding, of_logs.max(axis=-1, initial=0.0) + _sums(weighted)


# ---------------------------------------------------------------- small linear algebra


def _choose(where, points, others):
    """Return the points where the condition holds, the others elsewhere."""
    chosen = []
    for name in ("t", "logits", "value", "p", "gradient"):
        one, other = getattr(points, name), getattr(others, name)
        chosen.append(np.where(where.reshape((-1,) + (1,) * (one.ndim - 1)), one, other))
    return _Points(*chosen)


def _evaluate(block, t, *, accurate=False):
    logits = block.base + _combine(t, block.rows)
    top = logits.max(axis=-1)
    p = np.exp(logits - top[:, None])
    total = p.sum(axis=-1)
    p /= total[:, None]
    gradient = (block.rows * p[:, None, :]).sum(axis=-1) if accurate else _means(block.rows, p)
    return _Points(t, logits, top + np.log(total), p, gradient)


def _covariances(rows, weights, mean):
    """Return the covariances of the rows, and where they have not cancelled."""
    second = (rows * weights[:, None, :]) @ rows.transpose(0, 2, 1)
    covariance = second - mean[:, :, None] * mean[:, None, :]
    variances = np.diagonal(covariance, axis1=1, axis2=2)
    return covariance, (variances > 0.01 * np.diagonal(second, axis1=1, axis2=2)).all(axis=-1)


def _whiteners(covariance):
    """Return lower triangular W with W'W the inverse of each matrix; NaN where it has none."""
    size = covariance.shape[-1]
    lower = np.ascontiguousarray(covariance.transpose(1, 2, 0))  # members last: long loops
    inverse = np.zeros_like(lower)
    for j in range(size):
        left = lower[j, :j]
        lower[j, j] = np.sqrt(lower[j, j] - np.square(left).sum(axis=0))
        lower[j + 1 :, j] -= (lower[j + 1 :, :j] * left).sum(axis=1)
        lower[j + 1 :, j] /= lower[j, j]
        inverse[j, j] = 1.0 / lower[j, j]
        inverse[j, :j] = -(left[:, None] * inverse[:j, :j]).sum(axis=0) / lower[j, j]
    return np.ascontiguousarray(inverse.transpose(2, 0, 1))


def _sums(x):
    return x.sum(axis=-1)


def _norms(x):
    return np.sqrt(np.square(x).sum(axis=-1))


def _combine(t, rows):
    if rows[:1].size < _SMALL:
        return np.einsum("nm,nmc->nc", t, rows)
    return (t[:, None, :] @ rows)[:, 0]


def _means(rows, p):
    if rows[:1].size < _SMALL:
        return np.einsum("nmc,nc->nm", rows, p)
    return (rows @ p[:, :, None])[:, :, 0]


def _apply(matrices, x):
    return np.einsum("nij,nj->ni", matrices, x)


def _apply_transposed(matrices, x):
    return np.einsum("nij,ni->nj", matrices, x)
