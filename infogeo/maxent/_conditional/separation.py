"""Separation: directions along which labels only gain, with the proof, and the face they leave.

A direction D gives every sample the scores D_j = coef_j . x + intercept_j. If no allowed class ever
has a higher score than the sample's label, going along D never raises the cross-entropy, and it
leaves no probability to the classes whose scores are strictly lower. Searches propose directions,
`top_classes` decides.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import scipy.optimize
import scipy.sparse

from infogeo._status import Status
from infogeo.maxent._conditional.design import Design, design_of
from infogeo.maxent._conditional.lasso import columns_of
from infogeo.maxent._conditional.softmax import (
    Task,
    evaluate,
    make_task,
    out_of_span,
    rounding_of_logs,
    theta_of,
    tied_direction,
)
from infogeo.maxent._conditional.zeros import select
from infogeo.maxent._dual.newton import minimised
from infogeo.maxent._dual.problem import EPS, Controls, Outcome

# The largest linear program, in entries of its matrix: beyond, minutes go by.
_LARGEST_PROGRAM = 4_000_000
# How much of the smallest margin rounding may be where other classes count as tied.
_LARGEST_SLACK = 1e-8
# Newton steps after which the optimum may be receding, and whether a linear program is worth it.
_CHECKPOINTS = {12: False, 18: True, 30: False, 45: True, 70: False}


@dataclass(frozen=True)
class Samples:
    """One problem in the user's columns, in float64; every row has a positive weight."""

    X: np.ndarray  # (n, d), less the offset
    offset: np.ndarray  # (d,): what was subtracted from the user's features, without rounding
    targets: np.ndarray  # (n, c), distributions
    base: np.ndarray  # (n, c)
    weights: np.ndarray  # (n,), of sum 1 over the problem that was given
    penalty: np.ndarray  # (d,): of the squares of coefficients
    l1_penalty: np.ndarray  # (d,): of their absolute values
    has_intercept: bool

    @property
    def allowed(self):
        return ~np.isneginf(self.base)

    @property
    def labels(self):
        """A class that each row has seen."""
        return self.targets.argmax(axis=1)


@dataclass(frozen=True)
class Fit:
    """What was found, on the face of the classes that keep a probability."""

    coef: np.ndarray  # (c, d)
    intercept: np.ndarray  # (c,)
    log_p: np.ndarray  # (n, c), -inf off the support
    support: np.ndarray  # bool (n, c)
    status: Status
    error_bound: float
    dual_gap: float
    steps: int
    rank: int
    direction: tuple[np.ndarray, np.ndarray] | None = None  # coef and intercept of the separation
    is_certain: np.ndarray | None = None  # bool (c, d): where the sign of coef, or 0, is proved


def solve(samples, tol, max_steps):
    """Solve for the samples that have a weight, on a face if it has to be."""
    counted = samples.weights > 0.0
    return _solve(samples if counted.all() else _part(samples, counted), tol, max_steps)


def _part(samples, rows):
    """Return the problem on some of its rows."""
    names = ("X", "targets", "base", "weights")
    return replace(samples, **{name: getattr(samples, name)[rows] for name in names})


def _solve(samples, tol, max_steps):
    allowed = samples.allowed
    active = allowed.sum(axis=1) > 1
    num_classes, is_priced = allowed.shape[1], samples.l1_penalty > 0.0
    decided = Fit(
        coef=np.zeros((num_classes, samples.X.shape[1])),
        intercept=np.zeros(num_classes),
        log_p=np.where(allowed, 0.0, -math.inf),
        support=allowed,
        status=Status.CONVERGED,
        error_bound=0.0,
        dual_gap=0.0,
        steps=0,
        rank=0,
        is_certain=np.tile(is_priced, (num_classes, 1)) if is_priced.any() else None,
    )
    if not active.any():
        return decided
    chosen = _part(samples, active)
    is_smooth = ~is_priced
    ridge = chosen.penalty[is_smooth]
    design = design_of(chosen.X[:, is_smooth], chosen.has_intercept, ridge if ridge.any() else None)
    task = make_task(
        design.rows, chosen.base, chosen.targets, chosen.weights, design.penalty, design.free
    )
    watch = _Watch(chosen, task, design)
    start = np.zeros((design.rows.shape[1], task.contrasts.shape[1]))
    size = start.size if task.span is None else task.span.shape[1]
    if size == 0:
        state = evaluate(task, start)
        bound = float(rounding_of_logs(task, state).max())
        ending = Outcome(Status.CONVERGED, state, 0, bound, 0.0)
    else:
        controls = Controls(tol, max_steps)
        ending, _ = minimised(task, evaluate(task, start), controls, watch)
        if not ending.status.is_solution and watch.direction is None:
            watch.search(ending.point, True)
    if watch.direction is not None:
        return _on_face(samples, active, watch.direction, ending.steps, tol, max_steps)
    coef, intercept = design.to_user(theta_of(task, ending.point.t))
    log_p = decided.log_p.copy()
    log_p[active] = ending.point.log_p
    decided.coef[:, is_smooth] = coef
    found = replace(
        decided,
        intercept=intercept,
        log_p=log_p,
        status=ending.status,
        error_bound=ending.error_bound,
        dual_gap=ending.dual_gap,
        steps=ending.steps,
        rank=size,
        is_certain=None if is_smooth.all() else np.zeros(decided.coef.shape, dtype=bool),
    )
    if is_smooth.all() or not ending.status.is_solution:
        return found
    return _with_prices(found, chosen, active, design, task, ending, tol, max_steps)


def _with_prices(found, samples, active, design, task, ending, tol, max_steps):
    """Add the features whose coefficients cost their absolute value to what was found without."""
    is_smooth = samples.l1_penalty == 0.0
    priced = ~is_smooth
    columns = columns_of(
        samples.X[:, priced],
        samples.l1_penalty[priced],
        samples.penalty[priced],
        samples.has_intercept,
    )
    inner = select(task, columns, ending.point.t, tol, max_steps - ending.steps)
    coef, log_p = np.zeros_like(found.coef), found.log_p.copy()
    coef[:, is_smooth], intercept = design.to_user(theta_of(task, inner.t @ task.contrasts))
    coef[:, priced] = (inner.v / columns.unit[:, None]).T
    if samples.has_intercept:
        intercept = intercept - coef[:, priced] @ columns.centre
    log_p[active] = inner.log_p
    is_certain = found.is_certain.copy()
    is_certain[:, priced] = inner.is_certain.T
    return replace(
        found,
        coef=coef,
        intercept=intercept,
        log_p=log_p,
        status=inner.status,
        error_bound=inner.error_bound,
        dual_gap=inner.dual_gap,
        steps=found.steps + inner.steps,
        rank=inner.rank,
        is_certain=is_certain,
    )


def _on_face(samples, active, direction, steps, tol, max_steps):
    """Solve for the classes that a direction leaves; join the directions of nested faces."""
    support = samples.allowed
    face = top_classes(samples.X[active], support[active], *direction)
    support[active] = face
    inner = _solve(
        replace(samples, base=np.where(support, samples.base, -math.inf)), tol, max_steps
    )
    total = replace(inner, steps=inner.steps + steps)
    if not inner.status.is_solution:
        return total
    if inner.direction is not None:
        direction = _joined(samples, support, direction, inner.direction)
    proved = top_classes(samples.X, samples.allowed, *direction)
    if proved is None or not np.array_equal(proved, inner.support):
        return replace(total, status=Status.UNDECIDED)
    return replace(total, status=Status.BOUNDARY, direction=direction)


def _joined(samples, support, outer, inner):
    """Return one direction for two: the outer one, and on the face that it leaves the inner."""
    off = samples.allowed & ~support
    margins = [_margins(samples, *direction)[off] for direction in (outer, inner)]
    weight = 1.0 + 2.0 * max(0.0, float((-margins[1] / margins[0]).max()))
    return _scaled(weight * outer[0] + inner[0], weight * outer[1] + inner[1])


def _margins(samples, coef, intercept):
    """Return the score of the label minus that of every class."""
    scores = samples.X @ coef.T + intercept
    return np.take_along_axis(scores, samples.labels[:, None], axis=1) - scores


def top_classes(X, allowed, coef, intercept):
    """Return where a class has the highest score of its row, bool (n, c), to rounding.

    None if rounding cannot tell the others clearly from them.
    """
    scores = np.where(allowed, X @ coef.T + intercept, -math.inf)
    below = scores.max(axis=1, keepdims=True) - scores
    size = np.abs(X) @ np.abs(coef).max(axis=0) + np.abs(intercept).max()
    # The mean: the intercept itself comes from a difference of sums of that size.
    slack = 16.0 * (X.shape[1] + 4) * EPS * (size + size.mean())[:, None]
    is_top = below <= slack
    # A single class on top needs no more: the others are proved to be lower. What counts as a tie
    # has to be far from the margins.
    lower = float(np.where(is_top, math.inf, below).min())
    has_ties = bool((is_top.sum(axis=1) > 1).any())
    is_clear = not has_ties or float(slack.max()) <= _LARGEST_SLACK * lower
    return is_top if is_clear else None


class _Watch:
    """Looks at Newton's iterates: whether the optimum recedes, and along which direction."""

    def __init__(self, samples: Samples, task: Task, design: Design):
        self.samples = samples
        self.is_free = (samples.l1_penalty == 0.0) & (samples.penalty == 0.0)  # (d,)
        self.task = task
        self.design = design
        self.direction: tuple[np.ndarray, np.ndarray] | None = None
        self.has_penalty = task.penalty is not None
        # Only what has no price can run off: with a penalty on all features, the intercept.
        if self.has_penalty:
            rows = task.rows @ design.free
            self.task = make_task(rows, task.base, task.targets, task.weights)
        self.is_inseparable = self.task.rows.shape[1] == 0

    def __call__(self, state, step, steps):
        """Return how the search ends if a direction of separation is known, else None."""
        if self.is_inseparable:
            return None
        if not self.has_penalty and steps > 0 and self._all_labels_win(state):
            self._propose(self._free(state))
        if self.direction is None and steps in _CHECKPOINTS and step.reach > 0.5:
            self.search(state, _CHECKPOINTS[steps])
        return None if self.direction is None else Outcome(Status.UNDECIDED, state, steps)

    def search(self, state, with_program):
        """Look for a direction among those that the iterates suggest, then by a linear program."""
        if self.is_inseparable:
            return
        guess = self._free(state).ravel()
        for kept in self._gaps(state):
            self._propose(tied_direction(self.task, kept, guess))
            if self.direction is not None:
                return
        if with_program:
            self._program()

    def _free(self, state):
        return self.design.free.T @ state.t

    def _all_labels_win(self, state):
        """Whether all labels have nearly all of the probability, so that the iterate separates."""
        if not self.task.is_hard:
            return False
        others = np.where(self.task.targets > 0.0, 0.0, state.p)
        return float(others.max()) < 1e-4

    def _gaps(self, state):
        """Propose supports: cut the sorted probabilities at the widest gaps below 1e-3."""
        logs = np.sort(state.log_p[self.task.allowed])[::-1]
        widths = -np.diff(logs)
        widths[logs[1:] > math.log(1e-3)] = 0.0
        for cut in np.argsort(-widths)[:4]:
            if widths[cut] > 1.0:
                kept = self.task.allowed & (state.log_p >= logs[cut])
                if kept[self.task.targets > 0.0].all():
                    yield kept

    def _propose(self, vector):
        """Take a direction (r q,) if it proves separation."""
        theta = np.reshape(vector, (self.task.rows.shape[1], -1)) @ self.task.contrasts.T
        slopes, intercept = self.design.to_user(self.design.free @ theta)
        coef = np.zeros((theta.shape[1], self.samples.X.shape[1]))
        coef[:, self.samples.l1_penalty == 0.0] = slopes
        coef[:, ~self.is_free] = 0.0  # up to rounding they are
        if max(np.abs(coef).max(initial=0.0), np.abs(intercept).max()) == 0.0:
            return
        direction = _scaled(coef, intercept)
        is_top = top_classes(self.samples.X, self.task.allowed, *direction)
        if is_top is None or not is_top[self.task.targets > 0.0].all():
            return
        if not np.array_equal(is_top, self.task.allowed):
            self.direction = direction

    def _program(self):
        """Find the direction that lowers most classes: the largest sum of margins cut off at 1."""
        task = self.task
        rows, columns = np.nonzero(task.allowed)
        labels = self.samples.labels[rows]
        rows, columns, labels = (x[columns != labels] for x in (rows, columns, labels))
        size = task.rows.shape[1] * task.contrasts.shape[1]
        if rows.size * size > _LARGEST_PROGRAM:
            return
        differences = task.contrasts[labels] - task.contrasts[columns]
        margins = (task.rows[rows, :, None] * differences[:, None, :]).reshape(rows.size, size)
        if task.span is not None:
            margins = margins @ task.span
        is_tied = task.targets[rows, columns] > 0.0
        num_free, num_cut = margins.shape[1], int((~is_tied).sum())
        cut = scipy.sparse.eye_array(num_cut)
        tied = margins[is_tied]
        for tolerance in (1e-9, 1e-7):
            found = scipy.optimize.linprog(
                np.repeat([0.0, -1.0], [num_free, num_cut]),
                A_ub=scipy.sparse.hstack([-scipy.sparse.csr_array(margins[~is_tied]), cut]),
                b_ub=np.zeros(num_cut),
                A_eq=np.hstack([tied, np.zeros((len(tied), num_cut))]) if len(tied) else None,
                b_eq=np.zeros(len(tied)) if len(tied) else None,
                bounds=[(None, None)] * num_free + [(0.0, 1.0)] * num_cut,
                method="highs",
                options={
                    "primal_feasibility_tolerance": tolerance,
                    "dual_feasibility_tolerance": tolerance,
                    "time_limit": 60.0,
                },
            )
            if found.status != 0:
                continue
            is_cut = np.zeros(rows.size, dtype=bool)
            is_cut[~is_tied] = found.x[num_free:] > 0.5
            if not is_cut.any():
                self.is_inseparable = True
                return
            kept = task.allowed.copy()
            kept[rows[is_cut], columns[is_cut]] = False
            guess = out_of_span(task, found.x[:num_free]).ravel()
            self._propose(tied_direction(task, kept, guess))
            if self.direction is not None:
                return


def _scaled(coef, intercept):
    """Return a direction with largest entry 1."""
    largest = max(float(np.abs(coef).max(initial=0.0)), float(np.abs(intercept).max()))
    return coef / largest, intercept / largest
