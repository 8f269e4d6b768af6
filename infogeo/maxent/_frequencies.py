"""Predictions whose average has known class frequencies: n rows, and only c dual variables."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse.csgraph
from array_api_compat import array_namespace, is_dask_array, is_torch_array

from infogeo import _array, _spaces
from infogeo._array import PROBABILITIES, REAL, WEIGHTS, bad_value, gate, matched
from infogeo._blocks import BLOCK_SIZE
from infogeo._docs import finish
from infogeo._names import labels_of, matched_rows, numbered, positions_of
from infogeo._result import Result
from infogeo._spaces import SphereChart
from infogeo._status import Status, worst
from infogeo._system.registry import storable
from infogeo.maxent._arguments import check_controls, roundoff_of, to_host
from infogeo.maxent._dual.problem import CAUTION, EPS
from infogeo.maxent._gradients import refuse_gradients
from infogeo.maxent._wording import Message, Named, failure, listed, names_of, of_parts, ran_out

Array = Any


@storable("FrequencyMatch")
@dataclass(frozen=True, eq=False, repr=False)
class FrequencyMatch(Result):
    """Predictions with given class frequencies, nearest to those that a model made.

    Parameters
    ----------
    probabilities : array, shape (n, c)
        The new predictions.
    class_offsets : array, shape (c,), or (g, c) for g groups
        What was added to the logits of every row: those of classes with positive frequency sum to
        0, the others are -inf. With status BOUNDARY and frequencies that are positive they are
        only a direction's limit.
    residual : array, shape () or (g,)
        The largest difference between a frequency and what the predictions average to.
    status : Status
        How the solve ended; for several groups the worst of them.
    error_bound : array, shape () or (g,)
        No log-probability of the new predictions is off by more than this; inf if the solve
        did not come close enough to say.
    steps : int array, shape () or (g,)
        Passes over the rows.
    certificate : bool array, shape (c,) or (g, c), or None
        A set of classes that proves infeasibility: the rows that allow no other class weigh more
        than the frequencies of the set. None if there is nothing to prove; all False for the
        groups that are solved.
    groups : numpy array, shape (g,), or None
        The labels of the groups, in the order of the fields above.
    """

    probabilities: Array
    class_offsets: Array
    residual: Array
    status: Status
    error_bound: Array
    steps: Array
    certificate: Array | None = None
    groups: np.ndarray | None = None


def match_frequencies(
    p: Any,
    frequencies: Array,
    *,
    groups: Any = None,
    weights: Array | None = None,
    space: Any = "simplex",
    tol: float = 1e-10,
    max_steps: int = 100,
    throw: bool = True,
    check: bool = True,
) -> FrequencyMatch:
    r"""Find the nearest predictions whose average has the given class frequencies.

    .. math:: p' = \arg\min \{ \sum_i w_i KL(p'_i, p_i) : \sum_i w_i p'_{ik} = f_k \},
        \qquad p'_{ik} \propto p_{ik} e^{b_k}

    One offset for every class is added to the logits of all rows.

    Parameters
    ----------
    p : array, shape (n, c)
        Predictions, one for each row; a class with probability 0 keeps it.
    frequencies : array, shape (c,), or (g, c) for g groups
        What the weighted average of the new predictions has to be: probabilities. A frequency of
        0 takes the class from all rows. One row for each group, in sorted order of their labels,
        or the same for all.
    groups : sequence of n labels, optional
        Rows with the same label are matched by themselves. Default: one group.
    weights : array, shape (n,), optional
        How much each row counts; divided by their sum in the group. Default: equally. A row of
        weight 0 is changed as the others are, without a say.
    space : module or name
        What `p` holds: `infogeo.simplex` (probabilities) or `infogeo.logits`. The result holds
        probabilities; the logits are ``p + class_offsets``.
    tol : float
        Stop when the error of every log-probability is below this, or when rounding allows no
        better; `error_bound` says what was reached.
    max_steps : int
        The most passes over the rows of a group.
    throw : bool
    check : bool

    Returns
    -------
    FrequencyMatch
        Probabilities in the library, dtype and on the device of `p`, the offsets, and the
        numbers that prove them.

    Raises
    ------
    TypeError, ValueError
        Things that are not predictions or frequencies, or do not fit together.
    SolveError
        No predictions with these zeros have these frequencies (the message names the rows and
        the classes, ``error.result.certificate`` the proof), or none were found.
        ``error.failed`` lists the groups that failed.

    Notes
    -----
    The c offsets are the dual variables. Each step takes one pass over the rows, in blocks: beside
    the result, memory does not grow with n (with groups, by one index). A step is Newton's, whose
    Hessian is the Laplacian of the weights :math:`\sum_i w_i p'_{ij} p'_{ik}`, shortened where
    the third derivative demands it, or :math:`\log f_k / \bar p'_k` if that is sure to gain more.
    Logits that range over more than 30 are first solved divided by a temperature that falls to 1.

    This is not the correction for a changed prior, :math:`p'_{ik} \propto p_{ik} f_k / \pi_k`
    with the frequencies :math:`\pi` of the training data. That one assumes that only the prior
    changed and asks nothing of the average: it averages to f only if the model is calibrated and
    the rows are a fair sample. Here the average is f, whatever the model, and nothing has to be
    known of its training data.

    Zeros restrict what is possible: rows that allow only the classes of a set cannot weigh more
    than the frequencies of that set. If they weigh the same, to rounding, no other row can have
    these classes: the status is BOUNDARY, and their probabilities there are exactly 0. The error
    bound takes the rounding errors of long sums as those of random signs.

    References
    ----------
    M. Saerens, P. Latinne and C. Decaestecker, Adjusting the outputs of a classifier to new a
    priori probabilities, Neural Computation 14, 2002 (the other correction).
    I. Csiszar, I-divergence geometry of probability distributions, Ann. Probab. 3, 1975.

    Examples
    --------
    >>> found = match_frequencies([[0.5, 0.5], [0.9, 0.1]], [0.5, 0.5])
    >>> found.probabilities.round(4)
    array([[0.25, 0.75],
           [0.75, 0.25]])
    >>> found.probabilities.mean(axis=0).round(12)
    array([0.5, 0.5])
    """
    space = _spaces.of_predictions(space)
    groups = matched_rows("p", p, "groups", groups)
    by_group = labels_of(frequencies) if len(getattr(frequencies, "shape", ())) == 2 else None
    xp, like, targets, masses = _gate(p, frequencies, weights, space, check)
    data = working_copy(like)
    check_controls(tol, max_steps)
    names, members = _members(groups, data.shape[0])
    targets = _targets_of_groups(targets, len(members), names, by_group)
    roundoff = max(EPS, roundoff_of(data), roundoff_of(frequencies))
    chart = space.SPHERE
    source = Source(data, chart, has_zeros_of(data, chart), array_namespace(data))
    solutions, residuals, outputs = [], [], _Output(source)
    for g, index in enumerate(members):
        rows = Rows(source, index, normalised(masses, index, data.shape[0], names, g))
        solution = _solve(rows, targets[g], roundoff, tol, max_steps)
        residual, is_cut = outputs.fill(rows, solution)
        residuals.append(residual)
        is_on_face = is_cut and solution.status is Status.CONVERGED
        solutions.append(replace(solution, status=Status.BOUNDARY) if is_on_face else solution)
    result = _collect(solutions, residuals, outputs.array, like, names, xp)
    if throw and not result.status.is_solution:
        raise _error(solutions, result, source, members, names_of(p=(space.POINTS, p)))
    return result


# ---------------------------------------------------------------- arguments


def _gate(p, frequencies, weights, space, check):
    """Return the namespace, the rows, the frequencies (g, c) and the weights (n,) or None."""
    given = {} if weights is None else {"weights": (WEIGHTS, weights)}
    p, frequencies, *weighted = matched(
        p=(space.POINTS, numbered(("outcomes",), p, frequencies)),
        frequencies=(_OF_GROUPS, frequencies),
        **given,
    )
    if weighted:
        (weights,) = weighted
        given = {"weights": (WEIGHTS, weights)}
    xp, data, *_ = gate(check, p=(space.POINTS, p), frequencies=(REAL, frequencies), **given)
    if len(data.shape) != 2 or data.shape[0] == 0:
        raise bad_value(
            "p", "have shape (n, c), one prediction per row", f"got shape {tuple(data.shape)}"
        )
    if is_dask_array(data):
        raise TypeError("p must be in memory: the solve passes over it many times. Call compute().")
    refuse_gradients(p=data)
    to_host("p", data[:1, :])
    # The frequencies decide what is feasible: they keep the digits that they were given with.
    _, targets = gate(check, frequencies=(PROBABILITIES, frequencies))
    refuse_gradients(frequencies=targets)
    targets = to_host("frequencies", targets)
    if targets.ndim > 2 or targets.shape[-1] != data.shape[1]:
        raise bad_value(
            "frequencies",
            "have one entry for each class, or one such row for each group",
            f"got shape {targets.shape} for p of shape {tuple(data.shape)}",
        )
    if weights is None:
        return xp, data, targets, None
    _, masses = gate(False, weights=(WEIGHTS, weights))
    refuse_gradients(weights=masses)
    masses = to_host("weights", masses)
    if masses.shape != (data.shape[0],):
        raise bad_value(
            "weights",
            f"have one entry for each of the {data.shape[0]} rows",
            f"got shape {masses.shape}",
        )
    return xp, data, targets, masses


def working_copy(data):
    """Return the rows in numpy or torch, whose passes are in float64: jax may not have it."""
    if isinstance(data, np.ndarray) or (is_torch_array(data) and data.device.type != "mps"):
        return data
    return np.asarray(_array.on_host(data))


def _members(groups, num_rows):
    """Return the sorted labels and the rows of each group; None for one group of all rows."""
    if groups is None:
        return None, [None]
    labels = np.asarray(groups.detach().cpu() if hasattr(groups, "detach") else groups)
    if labels.shape != (num_rows,):
        raise bad_value(
            "groups", f"have one label for each of the {num_rows} rows", f"got shape {labels.shape}"
        )
    try:
        names, inverse = np.unique(labels, return_inverse=True)
    except TypeError:
        raise TypeError("groups must hold labels of one kind, such as integers or text.") from None
    order = np.argsort(inverse, kind="stable")
    return names, np.split(order, np.cumsum(np.bincount(inverse))[:-1])


_OF_GROUPS = replace(PROBABILITIES, axes=("outcomes",))  # rows of frequencies are groups


def _targets_of_groups(targets, num_groups, names, labels):
    if targets.ndim == 2 and targets.shape[0] != num_groups:
        seen = f"got {targets.shape[0]} rows for {num_groups} groups"
        raise bad_value("frequencies", "have one row, or one for each group", seen)
    if targets.ndim == 2 and names is None:
        raise bad_value("frequencies", "have shape (c,) without groups", f"got {targets.shape}")
    if labels is not None and labels[0] is not None:
        groups = ("groups", names.tolist())
        positions = positions_of(groups, ("frequencies", labels[0]), "groups")
        targets = targets if positions is None else targets[positions]
    targets = targets / targets.sum(axis=-1, keepdims=True)
    return np.broadcast_to(targets, (num_groups, targets.shape[-1]))


def has_zeros_of(data, chart):
    lowest = float(data.min()) if hasattr(data, "min") else float(np.asarray(data).min())
    return lowest == chart.excluded


def normalised(masses, index, num_rows, names, group):
    """Return the weights of the rows of a group, with sum 1."""
    if masses is None:
        size = num_rows if index is None else index.size
        return np.full(size, 1.0 / size)
    masses = masses if index is None else masses[index]
    if not masses.max() > 0.0:
        where = "" if names is None else f" in group {names[group]!s}"
        raise bad_value("weights", "have a positive sum", f"the sum is 0{where}")
    masses = masses / masses.max()  # the sum of large ones may overflow
    return masses / masses.sum()


# ---------------------------------------------------------------- passes over the rows


@dataclass(frozen=True)
class Source:
    """All predictions, as they were given."""

    data: Array  # (n, c)
    chart: SphereChart  # how they are read
    has_zeros: bool
    xp: Any


@dataclass(frozen=True)
class Rows:
    """The predictions of a group."""

    source: Source
    index: np.ndarray | None  # which rows; None for all
    weights: np.ndarray  # sum 1
    temperature: float = 1.0  # what their logits are divided by

    def blocks(self):
        """Yield the positions in the data, the predictions and the weights, block by block."""
        data, xp = self.source.data, self.source.xp
        is_numpy = isinstance(data, np.ndarray)
        size = BLOCK_SIZE if is_numpy else 64 * BLOCK_SIZE  # a call costs more elsewhere
        step = max(1, size // data.shape[1])
        for start in range(0, self.weights.size, step):
            span = slice(start, min(start + step, self.weights.size))
            w = xp.asarray(self.weights[span], device=_array.device_of(data))
            if self.index is None:
                where, block = span, data[span, :]
            else:
                where = xp.asarray(self.index[span], device=_array.device_of(data))
                block = xp.take(data, where, axis=0)
            block = block.detach() if hasattr(block, "detach") else block
            block = xp.astype(block, xp.float64, copy=False)
            if self.temperature != 1.0:
                block = self.source.chart.cooled(block, self.temperature)
            yield where, block, w

    @functools.cached_property
    def range_of_logits(self):
        """The largest difference of two finite logits of a row."""
        xp, largest = self.source.xp, 0.0
        for _, block, _ in self.blocks():
            z = self.source.chart.logits(block, xp)
            top = xp.max(z, axis=-1, keepdims=True)
            largest = max(largest, float(xp.max(top - xp.where(z > -math.inf, z, top))))
        return largest

    def on_device(self, x):
        return self.source.xp.asarray(x, device=_array.device_of(self.source.data))


@dataclass(frozen=True)
class _Tilt:
    """A member of the exponential family, or of its closure: p' ~ p exp(offsets).

    A row has only those of its classes whose level is the highest: the limit of offsets
    + s levels for s to infinity. Classes of one level depend on each other.
    """

    offsets: np.ndarray  # (c,)
    levels: np.ndarray  # (c,), from 0 on

    def of(self, rows):
        """Return the function that tilts a block of rows."""
        xp, chart = rows.source.xp, rows.source.chart
        levels = rows.on_device(self.levels) if self.levels.any() else None
        floor = chart.excluded
        shifted = self.offsets - self.offsets.max()
        by_factors = self._goes_by_factors(rows)
        shift = rows.on_device(np.exp(shifted) if by_factors else shifted)
        ones = xp.ones_like(shift)
        nothing = rows.on_device(np.full(shifted.size, floor))

        def tilted(block):
            if levels is not None:
                block = xp.where(_is_top(block > floor, levels, xp), block, nothing)
            if by_factors:
                q = block * shift
                return q / (q @ ones)[:, None]
            z = chart.logits(block, xp)
            # What all logits of a row have in common would round the offsets away.
            return _array.softmax(z - xp.max(z, axis=-1, keepdims=True) + shift, xp)

        return tilted

    def rounding(self, rows):
        """Bound the rounding error of every log-probability of the tilted rows."""
        if self._goes_by_factors(rows):
            return 4.0 * EPS * (4.0 + self.offsets.size)
        return EPS * (8.0 + 4.0 * (rows.range_of_logits + float(np.ptp(self.offsets))))

    def _goes_by_factors(self, rows):
        """Whether probabilities are multiplied, without their logarithms.

        Rows keep an entry of at least 1/c, which exp(-300) does not take below the smallest normal
        number.
        """
        holds_probabilities = rows.source.chart.excluded == 0.0
        return holds_probabilities and float(np.ptp(self.offsets)) < 300.0


def _is_top(is_allowed, levels, xp):
    """Return which of the classes that a row allows have the highest level among them."""
    heights = xp.where(is_allowed, levels, -xp.ones_like(levels))
    return heights == xp.max(heights, axis=-1, keepdims=True)


def _moments(rows, tilt):
    """Return the average p', and the overlaps sum_i w_i p'_ij p'_ik."""
    tilted, mean, overlap = tilt.of(rows), 0.0, 0.0
    for _, block, w in rows.blocks():
        q = tilted(block)
        weighted = q * w[:, None]
        mean = mean + rows.source.xp.sum(weighted, axis=0)
        overlap = overlap + q.T @ weighted
    return _host(mean), _host(overlap)


def _log_mean(rows, tilt):
    """Return the logarithm of the average p', also where that underflows."""
    xp, total = rows.source.xp, np.full(tilt.offsets.size, -np.inf)
    for _, block, w in rows.blocks():
        z = rows.source.chart.logits(block, xp)
        z = z + rows.on_device(tilt.offsets)
        with np.errstate(divide="ignore"):
            terms = _host(z - _array.logsumexp(z, xp)) + np.log(_host(w))[:, None]
        total = np.logaddexp(total, np.logaddexp.reduce(terms, axis=0))
    return total


def _host(x):
    return np.asarray(x.cpu() if hasattr(x, "cpu") else x)


# ---------------------------------------------------------------- what the zeros allow


def _reached(rows, order):
    """Return the weight of the rows that allow no class after the first k of an order."""
    xp, floor = rows.source.xp, rows.source.chart.excluded
    position = np.empty(order.size, dtype=np.int64)
    position[order] = np.arange(order.size)
    position = rows.on_device(position)
    weight = np.zeros(order.size)
    for _, block, w in rows.blocks():
        last = xp.max(xp.where(block > floor, position, -xp.ones_like(position)), axis=-1)
        weight += np.bincount(_host(last), weights=_host(w), minlength=order.size)
    return np.cumsum(weight)


def _pieces(rows, levels, f):
    """Return the levels, each cut into the pieces whose classes share rows.

    Of the pieces of one level those come first whose rows weigh most above their frequencies.
    """
    xp, floor = rows.source.xp, rows.source.chart.excluded
    heights, shared = rows.on_device(levels), 0.0
    for _, block, w in rows.blocks():
        is_shared = _is_top(block > floor, heights, xp) & (w > 0.0)[:, None]
        flags = xp.astype(is_shared, xp.float64)
        shared = shared + flags.T @ flags
    num_pieces, pieces = scipy.sparse.csgraph.connected_components(_host(shared), directed=False)
    if num_pieces == levels.max() + 1:
        return levels
    surplus, labels = -_level_sums(f, pieces), rows.on_device(pieces.astype(np.int64))
    for _, block, w in rows.blocks():
        is_top = _is_top(block > floor, heights, xp)
        of_row = xp.max(xp.where(is_top, labels, -xp.ones_like(labels)), axis=-1)
        surplus += np.bincount(_host(of_row), weights=_host(w), minlength=num_pieces)
    order = np.lexsort((pieces, -surplus[pieces], levels))
    cut = np.empty_like(levels)
    cut[order] = np.concatenate([[0], np.cumsum(np.diff(pieces[order]) != 0)])
    return cut


def _refined(rows, tilt, f, roundoff):
    """Split the levels at sets of classes that the rows which need them fill.

    Returns the tilt with its new levels, and a set that these rows overfill, or None. Offsets that
    diverge order the classes so that such sets come first.
    """
    levels = tilt.levels
    while True:
        order = np.lexsort((tilt.offsets, levels))
        weight, room = _reached(rows, order)[:-1], np.cumsum(f[order])[:-1]
        slack = roundoff * (weight + room)
        excess = weight - room
        if (excess > slack).any():
            overfull = np.zeros(f.size, dtype=bool)
            overfull[order[: np.argmax(excess) + 1]] = True
            return tilt, overfull
        split = np.empty_like(levels)
        split[order] = np.concatenate([[0], np.cumsum(excess >= -slack)])
        cut = _pieces(rows, split, f)
        tilt = tilt if np.array_equal(cut, tilt.levels) else _Tilt(tilt.offsets, cut)
        if np.array_equal(cut, split):
            return tilt, None
        levels = cut


# ---------------------------------------------------------------- the solve

# Passes after which the solution counts as far away.
_PATIENCE = 8
# Logits within this range need no annealing; others begin with it, and cool by this factor.
_NARROW, _FAST = 30.0, 0.25


@dataclass(frozen=True)
class _Solution:
    """The answer for one group."""

    tilt: _Tilt
    status: Status
    steps: int
    frequencies: np.ndarray
    error_bound: float = math.inf
    certificate: np.ndarray | None = None


def _solve(rows, f, roundoff, tol, max_steps):
    """Find the offsets of one group."""
    _, levels = np.unique(f > 0.0, return_inverse=True)
    tilt = _Tilt(np.zeros(f.size), levels)
    slack = CAUTION * roundoff + 4.0 * EPS * math.sqrt(rows.weights.size)
    if rows.source.has_zeros:
        tilt, overfull = _refined(rows, tilt, f, slack)
        if overfull is not None:
            return _Solution(tilt, Status.INFEASIBLE, 0, f, certificate=overfull)
    last, step, is_annealed = math.inf, 0, False
    while step < max_steps:
        step += 1
        mean, goal, newton = _looked_at(rows, tilt, f)
        if newton is not None:
            x = newton.decrement * newton.lever
            if newton.next_bound <= tol and x * x <= 1e-3 * tol:
                tilt, bound = newton.applied(tilt), newton.next_bound
                return _Solution(tilt, Status.CONVERGED, step, f, bound)
            is_flat = newton.reach < 0.1 and newton.decrement > 0.5 * last
            if newton.decrement <= newton.rounding or is_flat:
                status = Status.CONVERGED if newton.bound < 0.1 else Status.UNDECIDED
                bound = newton.bound
                if newton.next_bound < math.inf:  # small frequencies gain digits
                    tilt, bound = newton.applied(tilt), max(bound, newton.next_bound)
                return _Solution(tilt, status, step, f, bound)
            last = newton.decrement if newton.reach < 0.1 else math.inf
        if rows.source.has_zeros and step > 1 and (newton is None or newton.reach > 0.7):
            refined, overfull = _refined(rows, tilt, f, slack)
            if overfull is not None:
                return _Solution(tilt, Status.INFEASIBLE, step, f, certificate=overfull)
            if refined is not tilt:
                tilt, last = refined, math.inf
                continue
        if step >= _PATIENCE and not is_annealed and (newton is None or newton.reach > 0.7):
            tilt, passes = _annealed(rows, tilt, f, max_steps - step)
            step, is_annealed = step + passes, True
            continue
        tilt = _stepped(rows, tilt, mean, goal, newton)
    return _Solution(tilt, Status.MAX_STEPS, max_steps, f)


def _looked_at(rows, tilt, f):
    """Return the average of the tilted rows, what it should be, and Newton's step."""
    mean, overlap = _moments(rows, tilt)
    goal = _within_levels(f, mean, tilt.levels)
    return mean, goal, _newton(mean, overlap, goal, tilt, rows)


def _annealed(rows, tilt, f, max_passes):
    """Return a tilt near the solution, from those of higher temperatures, and the passes it took.

    If logits range over thousands, nearly all rows are certain of a class, and steps see no
    further than the few that are not. At a high temperature all rows have a say.
    """
    temperature, passes = max(1.0, rows.range_of_logits / _NARROW), 1
    cooling, is_solved, goal = _FAST, False, temperature
    while passes < max_passes and not (is_solved and temperature == 1.0):
        found, spent, is_near = _at_temperature(rows, tilt, f, goal, max_passes - passes)
        passes += spent
        if is_near or not is_solved:
            tilt, temperature = found, goal
        cooling = max(_FAST, cooling * cooling) if is_near else math.sqrt(cooling)
        is_solved |= is_near
        goal = max(1.0, temperature * cooling) if is_solved else temperature
    return tilt, passes


def _at_temperature(rows, tilt, f, temperature, max_passes):
    """Take a few steps on logits divided by the temperature; say whether the solution is near."""
    warm = replace(rows, temperature=temperature)
    tilt = replace(tilt, offsets=tilt.offsets / temperature)
    passes, is_near = 0, False
    while passes < min(_PATIENCE, max_passes) and not is_near:
        mean, goal, newton = _looked_at(warm, tilt, f)
        tilt = _stepped(warm, tilt, mean, goal, newton)
        passes += 1
        is_near = newton is not None and newton.reach < 0.7
    return replace(tilt, offsets=tilt.offsets * temperature), passes, is_near


def _within_levels(f, mean, levels):
    """Return f with the sums that the mean has on each level, from which it differs by rounding."""
    ratio = _level_sums(mean, levels) / np.maximum(_level_sums(f, levels), 1e-300)
    return f * ratio[levels]


def _level_sums(x, levels):
    return np.bincount(levels, weights=x)


@dataclass(frozen=True)
class _Newton:
    """Newton's step, and the numbers that say how far to trust it."""

    step: np.ndarray
    decrement: float
    rounding: float  # of the decrement, by the sums
    of_tilts: float  # of the decrement, by what is summed
    lever: float  # the longest difference of two classes of one level, in the inverse Hessian
    reach: float  # the largest difference of the step between two classes of one level
    of_logs: float  # the rounding error of every log-probability

    @property
    def bound(self):
        """Bound on the errors of all log-probabilities."""
        noise = self.rounding + self.of_tilts
        return self.of_logs + _bound((self.decrement + noise) * self.lever)

    @property
    def next_bound(self):
        """The same after the step: x = decrement * lever < 0.1 becomes less than x^2."""
        x = self.decrement * self.lever
        if not x < 0.1:
            return math.inf
        noise = self.rounding + self.of_tilts
        return self.of_logs + _bound(x * x + 1.2 * noise * self.lever)

    def applied(self, tilt):
        return replace(tilt, offsets=tilt.offsets + self.step)


def _bound(x):
    return -math.log1p(-x) if x < 1.0 else math.inf


def _newton(mean, overlap, goal, tilt, rows):
    """Return Newton's step; None if the Hessian is singular in this arithmetic."""
    levels, of_logs = tilt.levels, tilt.rounding(rows)
    (tied,) = np.nonzero(np.bincount(levels)[levels] > 1)
    tied = tied[goal[tied] > 0.0]
    step = np.zeros(mean.size)
    if tied.size == 0:
        return _Newton(step, 0.0, 0.0, 0.0, 0.0, 0.0, of_logs)
    laplacian = -overlap[np.ix_(tied, tied)]
    np.fill_diagonal(laplacian, 0.0)
    np.fill_diagonal(laplacian, -laplacian.sum(axis=1))
    gradient, noise = _gradient(mean, goal, rows.weights.size)
    gradient, noise = gradient[tied], noise[tied]
    is_free = ~_are_references(goal[tied], levels[tied])
    inverse = _grounded_inverse(laplacian, is_free)
    if inverse is None or not np.isfinite(inverse).all():
        return None
    step[tied] = -inverse @ gradient
    with np.errstate(over="ignore", invalid="ignore"):
        squared = np.diagonal(inverse)[:, None] + np.diagonal(inverse) - 2.0 * inverse
    if not np.isfinite(squared).all():
        return None  # nothing is known of the offsets
    is_same = levels[tied][:, None] == levels[tied]
    gap = step[tied][:, None] - step[tied]
    return _Newton(
        step=step,
        decrement=math.sqrt(max(0.0, -float(gradient @ step[tied]))),
        rounding=math.sqrt(float(noise @ np.abs(inverse) @ noise)),
        of_tilts=2.0 * of_logs * math.sqrt(float(goal[tied] @ np.abs(inverse) @ goal[tied])),
        lever=math.sqrt(max(0.0, float(squared[is_same].max()))),
        reach=float(gap[is_same].max()),
        of_logs=of_logs,
    )


def _gradient(mean, goal, num_rows):
    """Return mean - goal, and a bound on its rounding errors."""
    block = max(1.0, min(num_rows, BLOCK_SIZE / mean.size))
    return mean - goal, EPS * (mean.size + 16.0 + 2.0 * math.sqrt(block)) * (mean + goal)


def _are_references(goal, levels):
    """Return which class of each level has the largest frequency.

    Its offset stands still. The gradient sums to 0 on the level, so that of this class is that of
    the others, and so is its rounding error: small frequencies keep their digits.
    """
    is_reference = np.zeros(goal.size, dtype=bool)
    for level in np.unique(levels):
        (members,) = np.nonzero(levels == level)
        is_reference[members[np.argmax(goal[members])]] = True
    return is_reference


def _grounded_inverse(laplacian, is_free):
    """Return the inverse over the free classes, 0 elsewhere; None if singular."""
    free = np.ix_(is_free, is_free)
    scale = np.sqrt(np.diagonal(laplacian)[is_free])
    if not (scale > 0.0).all():
        return None
    try:
        factor = scipy.linalg.cho_factor(laplacian[free] / scale / scale[:, None])
    except np.linalg.LinAlgError:
        return None
    if np.diagonal(factor[0]).min() < 1e-6:
        return None  # no digits are left in what decides
    inverse = np.zeros(laplacian.shape)
    with np.errstate(over="ignore"):
        inverse[free] = scipy.linalg.cho_solve(factor, np.eye(scale.size)) / scale / scale[:, None]
    return inverse


def _stepped(rows, tilt, mean, goal, newton):
    """Take the step that is sure to gain more."""
    counts = goal > 0.0
    log_goal = np.log(np.where(counts, goal, 1.0))
    if (mean[counts] < 1e-280).any():
        step = np.where(counts, log_goal - _log_mean(rows, tilt), 0.0)
        gain = math.inf
    else:
        step = log_goal - np.log(np.where(counts, mean, 1.0))
        gain = float(goal @ step)
    if newton is not None:
        # Along the step the second derivative grows at most as exp(reach t).
        r = newton.reach
        t = 1.0 if r < 0.7 else math.log1p(r) / r
        curbed = t - (math.expm1(r * t) - r * t) / r / r if r > 0.1 else 0.0
        sure = curbed * newton.decrement * newton.decrement
        if sure >= gain or r <= 0.1:
            step = t * newton.step
    offsets = tilt.offsets + step
    centre = _level_sums(offsets * counts, tilt.levels)
    centre /= np.maximum(_level_sums(counts.astype(float), tilt.levels), 1.0)
    return replace(tilt, offsets=np.where(counts, offsets - centre[tilt.levels], 0.0))


# ---------------------------------------------------------------- results


class _Output:
    """The new predictions."""

    def __init__(self, source):
        data, self._xp = source.data, source.xp
        self.array = self._xp.empty(data.shape, dtype=data.dtype, device=_array.device_of(data))

    def fill(self, rows, solution):
        """Write the rows of a group.

        Returns how far their average is from the frequencies, and whether a row lost a class.
        """
        tilted, mean, is_cut = solution.tilt.of(rows), 0.0, False
        levels = rows.on_device(solution.tilt.levels)
        for where, block, w in rows.blocks():
            q = tilted(block)
            mean = mean + self._xp.sum(q * w[:, None], axis=0)
            if solution.tilt.levels.any() and not is_cut:
                is_allowed = block > rows.source.chart.excluded
                is_cut = bool(self._xp.any(is_allowed & ~_is_top(is_allowed, levels, self._xp)))
            self.array[where] = self._xp.astype(q, self.array.dtype, copy=False)
        return float(np.abs(_host(mean) - solution.frequencies).max()), is_cut


def _collect(solutions, residuals, probabilities, like, names, xp):
    """Return the result in arrays of the user's library."""
    where = {"device": _array.device_of(like)}

    def array(values, dtype=like.dtype):
        values = np.asarray(values)
        values = values if names is not None else values[0]
        return xp.asarray(values, dtype=dtype, **where)

    cast = float(xp.finfo(like.dtype).eps) if xp.finfo(like.dtype).bits < 64 else 0.0
    certificates = [s.certificate for s in solutions]
    certificate = None
    if any(flags is not None for flags in certificates):
        none = np.zeros(like.shape[1], dtype=bool)
        certificate = array([none if c is None else c for c in certificates], dtype=xp.bool)
    return FrequencyMatch(
        probabilities=xp.asarray(probabilities, dtype=like.dtype, **where),
        class_offsets=array([_offsets(s) for s in solutions]),
        residual=array(residuals),
        status=worst(s.status for s in solutions),
        error_bound=array([s.error_bound + cast for s in solutions]),
        steps=array([s.steps for s in solutions], dtype=xp.asarray(0).dtype),
        certificate=certificate,
        groups=names,
    )


def _offsets(solution):
    counts = solution.frequencies > 0.0
    offsets = solution.tilt.offsets - solution.tilt.offsets[counts].mean()
    return np.where(counts, offsets, -np.inf)


def _error(solutions, result, source, members, names):
    """Return the error, with the names of the classes where p has some."""
    failed = [g for g, solution in enumerate(solutions) if not solution.status.is_solution]
    message = _diagnosis(solutions[failed[0]], source, members[failed[0]])
    if result.groups is not None:
        message = of_parts("group", len(solutions), result.groups[failed].tolist(), message)
    failed = None if result.groups is None else tuple(failed)
    return failure(message, result, failed, classes=names.get("outcomes"))


def _diagnosis(solution, source, index):
    if solution.status is Status.MAX_STEPS:
        return Message(f"{ran_out(solution.steps, 'pass over the rows')}. Raise max_steps.")
    if solution.status is Status.UNDECIDED:
        return Message(
            "The offsets are not determined to the rounding of the data: p is 0 or 1 almost "
            "everywhere, or a frequency is nearly 0. What was found (throw=False returns it) meets "
            "the frequencies as well as rounding allows, but its small probabilities are not "
            "proved. Soften p, or make the frequency 0."
        )
    is_in, f = solution.certificate, solution.frequencies
    missing = np.flatnonzero(~is_in)
    data = to_host("p", source.data if index is None else source.data[index])
    allows = data > source.chart.excluded
    if missing.size == 1 and not allows[:, missing[0]].any():
        return Message(
            "No row allows {} (its probability is 0 in all of them), and its frequency is "
            f"to be {f[missing[0]]:.6g}. Make it 0, or smooth p.",
            (Named("class", tuple(missing)),),
        )
    bound = np.flatnonzero(~allows[:, ~is_in].any(axis=1))
    numbers = bound if index is None else index[bound]
    return Message(
        f"No predictions with the zeros of p have these frequencies: {listed(numbers, 'row')} "
        f"({bound.size} of {data.shape[0]}) allow only {{}}, "
        f"whose frequencies sum to {f[is_in].sum():.6g}; these rows weigh more. Raise these "
        "frequencies, or smooth p.",
        (Named("class", tuple(np.flatnonzero(is_in))),),
    )


finish(globals())
