"""Weights under which means are known: survey raking, calibration, entropy balancing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from array_api_compat import array_namespace, is_array_api_obj

from infogeo import _array
from infogeo._array import NON_NEGATIVE, REAL, WEIGHTS, along, bad_value, gate, matched
from infogeo._docs import finish
from infogeo._names import computed, is_missing, matched_rows, numbered, numbers
from infogeo._result import Table
from infogeo._status import SolveError, Status, worst
from infogeo._system.registry import storable
from infogeo.maxent._arguments import check_controls, roundoff_of, to_host
from infogeo.maxent._c_maximize import c_maximize
from infogeo.maxent._dual.caps import least_mean, solve_between, solve_capped
from infogeo.maxent._dual.problem import EPS, Controls, Problem
from infogeo.maxent._dual.projection import Projection
from infogeo.maxent._dual.sparse import check_sparse
from infogeo.maxent._gradients import refuse_gradients
from infogeo.maxent._sample import (
    Constraints,
    Reading,
    column_names,
    constraints_of,
    labelled,
    values_of,
)
from infogeo.maxent._wording import (
    Message,
    apart,
    combination,
    failure,
    features,
    listed,
    of_parts,
    ran_out,
)

Array = Any

# Lines of a table that a summary shows.
_MANY_LINES = 9


@storable("BalanceDiagnostics")
@dataclass(frozen=True, eq=False, repr=False)
class BalanceDiagnostics(Table):
    """What balancing did to the means and to the weights.

    Parameters
    ----------
    names : tuple of str
        One for each constraint: a column, or "column = level".
    targets : array, shape (m,)
        The means that were asked for.
    before, after : array, shape (m,)
        The means under the base weights and under the new ones.
    effective_sample_size : array, shape ()
        Of the new weights: (sum w)^2 / sum w^2, in rows.
    base_effective_sample_size : array, shape ()
        The same of the base weights.
    design_effect : array, shape ()
        Kish's factor by which unequal weights raise the variance of a mean: the number of rows
        with a positive base weight over the effective sample size.
    base_design_effect : array, shape ()
        The same of the base weights.
    largest_weight_ratio : array, shape ()
        The largest factor by which a row's share of the total weight grew.
    """

    axes: ClassVar = {"constraint": "names"}

    names: tuple[str, ...]
    targets: Array
    before: Array
    after: Array
    effective_sample_size: Array
    base_effective_sample_size: Array
    design_effect: Array
    base_design_effect: Array
    largest_weight_ratio: Array

    def __str__(self) -> str:
        means = np.stack(
            [_array.on_host(x) for x in (self.targets, self.before, self.after)], axis=1
        )
        shown = _most_changed(means)
        width = max(10, *(len(self.names[i]) for i in shown))
        lines = [f"{'':{width}} {'target':>12} {'before':>12} {'after':>12}"]
        for i in shown:
            numbers_ = " ".join(f"{float(x):12.6g}" for x in means[i])
            lines.append(f"{self.names[i]:{width}} {numbers_}")
        if len(shown) < len(means):
            lines.append(f"and {len(means) - len(shown)} more, which changed less")
        return "\n".join([*lines, *self._sizes()])

    def _sizes(self) -> list[str]:
        numbers_ = (
            float(_array.on_host(x))
            for x in (
                self.effective_sample_size,
                self.base_effective_sample_size,
                self.design_effect,
                self.base_design_effect,
                self.largest_weight_ratio,
            )
        )
        size, base_size, effect, base_effect, ratio = numbers_
        return [
            f"effective sample size {size:.1f} (before: {base_size:.1f})",
            f"design effect {effect:.3g} (before: {base_effect:.3g})",
            f"largest weight ratio {ratio:.3g}",
        ]


def _most_changed(means):
    """Return which rows of (target, before, after) to show: those that changed the most."""
    if len(means) <= _MANY_LINES:
        return range(len(means))
    size = np.maximum(np.abs(means).max(axis=1), 1e-300)
    order = np.argsort(-np.abs(means[:, 2] - means[:, 1]) / size, kind="stable")
    return np.sort(order[:_MANY_LINES])


@storable("Balance")
@dataclass(frozen=True, eq=False, repr=False)
class Balance(Table):
    """Weights under which the means of covariates are what they have to be.

    Parameters
    ----------
    weights : array, shape (n,)
        The new weights, with the total that was asked for. Else with the sum of the base weights;
        1 if none were given.
    projection : Projection, or tuple of one for each group
        The new distribution over the rows, with its error bound, or the proof that there is none.
        Its outcomes are the rows of the group.
    diagnostics : BalanceDiagnostics, or tuple of one for each group
        What changed.
    groups : numpy array, shape (g,), or None
        The labels of the groups, in the order of the tuples.
    """

    axes: ClassVar = {"row": None}

    weights: Array
    projection: Projection | tuple[Projection, ...]
    diagnostics: BalanceDiagnostics | tuple[BalanceDiagnostics, ...]
    groups: np.ndarray | None = None

    @property
    def status(self) -> Status:
        """How the solve ended; for several groups the worst of them."""
        return worst([p.status for p in _each(self.projection)])

    def __str__(self) -> str:
        lines = [f"Balance: {self.status.value}"]
        if self.groups is None:
            return "\n".join([*lines, str(self.diagnostics)])
        lines.append(f"{'group':12} {'effective sample size':>21} {'before':>10} {'status'}")
        parts = zip(self.groups, _each(self.diagnostics), _each(self.projection), strict=True)
        for label, found, projection in list(parts)[:_MANY_LINES]:
            sizes = found.effective_sample_size, found.base_effective_sample_size
            size, base_size = (float(_array.on_host(x)) for x in sizes)
            state = projection.status.name.lower()
            lines.append(f"{label!s:12} {size:21.1f} {base_size:10.1f} {state}")
        if len(self.groups) > _MANY_LINES:
            lines.append(f"and {len(self.groups) - _MANY_LINES} more groups")
        return "\n".join(lines)


def _each(parts):
    return parts if isinstance(parts, tuple) else (parts,)


def balance(
    covariates: Any,
    targets: Any,
    *,
    weights: Any = None,
    total: float | None = None,
    lower: Array | None = None,
    upper: Array | None = None,
    tolerance: Any = 0.0,
    by: Any = None,
    normalize: bool = False,
    tol: float = 1e-10,
    max_steps: int = 100,
    throw: bool = True,
    check: bool = True,
) -> Balance:
    r"""Find the weights nearest to the base weights that give covariates the given means.

    .. math:: w = \arg\min \{ KL(w, d) : \sum_i w_i x_i = t \},
        \qquad w_i \propto d_i e^{\theta' x_i}

    Raking of a survey to known shares, calibration to known means, entropy balancing of a control
    group to the means of a treated one.

    Parameters
    ----------
    covariates : array, shape (n, m), data frame, or scipy.sparse array
        One row for each unit. Of a frame (pandas, or anything with ``columns``) those columns
        count that have a target.
    targets : array, shape (m,), or mapping
        The means. For a frame, a mapping from a column's name to its mean, or to a mapping from
        the column's levels to their shares: ``{"age": 41.5, "sex": {"f": 0.51, "m": 0.49}}``. A
        series is the mapping from its labels. Missing values are a level of their own, whose share
        stands under ``float("nan")``. With `by`, a mapping from each group's label to its targets,
        or a frame with one row for each group; means in an array are those of all groups.
    weights : array, shape (n,), optional
        Base weights d, such as those of a sampling design. Default: equal. A row of weight 0
        keeps it.
    total : float, optional
        What the new weights sum to, such as the size of the population. The counts of a column's
        levels may then stand for its shares: those that sum to the total. With `by` a mapping from
        each group's label to its total; a number is divided as the base weights are. Default: the
        sum of the base weights; 1 if none were given.
    lower, upper : float, optional
        Caps on the weights: bounds on the factor by which a row's share of the total weight may
        change, with lower < 1 < upper. Weights at a cap stay there; those between are
        :math:`d_i e^{\theta' x_i}` times a constant.
    tolerance : float, array, shape (m,), or mapping
        How far means and shares may be off, in the units of each. For a frame, a mapping from a
        column's name; columns without an entry are met exactly.
    by : str or sequence of n labels, optional
        Groups whose rows are balanced by themselves: their labels, or the name of a column.
    normalize : bool
        Divide the shares of each column by their sum, whatever it is: for counts, and for shares
        that rounding has left with a sum of 0.9999.
    tol : float
    max_steps : int
    throw : bool
        Whether an unsuccessful solve raises. If not, see ``projection.status``.
    check : bool

    Returns
    -------
    Balance
        Weights in the library, dtype and on the device of the covariates (of a frame: numpy). It
        prints as a summary.

    Raises
    ------
    TypeError, ValueError
        Columns, levels and targets that do not fit together; missing values.
    SolveError
        No weights meet the targets: the message names the columns that are guilty, and
        ``error.result.projection.certificate`` proves it. Or none were found. ``error.failed``
        lists the groups that failed.

    Notes
    -----
    `c_maximize` with the rows as outcomes. Its optimum on the boundary (a target at the end of
    what the sample reaches) gives weight 0 to rows. ``diagnostics`` prints as a table. Of tensors
    the weights are differentiable with respect to covariates, targets and base weights.

    With caps the optimum is :math:`d_i` times :math:`e^{\theta' x_i + c}` cut off at the caps. Its
    error bound is proved in the same way, by the rows between the caps; where these do not
    determine theta, all but all weights being at a cap, the solve ends as UNDECIDED. The
    certificate is then a combination of columns whose mean is above its target for all weights
    within the caps. Caps have no gradients.

    Categories with many levels are kept as sparse columns where these are long and mostly 0.

    References
    ----------
    W. E. Deming and F. F. Stephan, On a least squares adjustment of a sampled frequency table when
    the expected marginal totals are known, Ann. Math. Stat. 11, 1940.
    J.-C. Deville and C.-E. Sarndal, Calibration estimators in survey sampling, JASA 87, 1992.
    J. Hainmueller, Entropy balancing for causal effects, Political Analysis 20, 2012.
    L. Kish, Survey Sampling, 1965 (the design effect).

    Examples
    --------
    A sample of five with too few old people and too few women:

    >>> found = balance([[20, 1], [25, 0], [30, 0], [60, 0], [50, 1]], [45, 0.5])
    >>> found.weights.round(4)
    array([0.1268, 0.0874, 0.1046, 0.308 , 0.3732])
    >>> print(found)
    Balance: converged
                     target       before        after
    x[0]                 45           37           45
    x[1]                0.5          0.4          0.5
    effective sample size 3.7 (before: 5.0)
    design effect 1.34 (before: 1)
    largest weight ratio 1.87
    """
    covariates = computed(covariates)
    weights = numbers("weights", matched_rows("covariates", covariates, "weights", weights))
    groups, members = _groups(covariates, by)
    goals = _of_groups("targets", targets, groups)
    reading, controls = Reading(tolerance, normalize), Controls(tol, max_steps)
    check_controls(tol, max_steps)
    caps = _checked_caps(lower, upper)
    totals = _totals(total, weights, groups, members)
    parts = []
    for index, goal, size in zip(members, goals, totals, strict=True):
        counts = None if total is None else size
        constraints = _constraints(covariates, goal, index, counts, reading)
        base = None if weights is None else _rows(weights, index)
        parts.append(_balanced(constraints, base, size, caps, controls, check))
    if groups is None:
        ((result, error),) = parts
        if throw and error is not None:
            raise error
        return result
    result = _together(parts, groups, members)
    if throw and not result.status.is_solution:
        raise _error_of_groups(parts, result)
    return result


# ---------------------------------------------------------------- groups


def _groups(covariates, by):
    """Return the labels of the groups and the rows of each; None for one group of all rows."""
    if by is None:
        return None, [None]
    columns = column_names(covariates)
    if isinstance(by, str):
        if by not in (columns or []):
            seen, advice = f"got {by!r}", ""
            if columns is not None:
                seen, advice = f"there is no {by}", f"The columns are {listed(columns)}."
            raise bad_value("by", "hold labels, or name a column", seen, advice)
        by = covariates[by]
    else:
        by = matched_rows("covariates", covariates, "by", by)
    labels, num_rows = values_of(by), _num_rows(covariates)
    if len(labels) != num_rows:
        rule = f"have one label for each of the {num_rows} rows"
        raise bad_value("by", rule, f"got {len(labels)}")
    missing = [i for i, label in enumerate(labels) if is_missing(label)]
    if missing:
        seen = f"it has missing values in {listed(missing, 'row')}"
        raise bad_value("by", "have a label for every row", seen, "Drop these rows.")
    rows = {}
    for i, label in enumerate(labels):
        rows.setdefault(label, []).append(i)
    try:
        order = sorted(rows)
    except TypeError:
        raise TypeError("by must hold labels of one kind, such as integers or text.") from None
    return np.array(order), [np.array(rows[label]) for label in order]


def _num_rows(covariates):
    shape = getattr(covariates, "shape", None)
    return len(covariates) if shape is None else int(shape[0])


def _of_groups(name, given, groups):
    """Return what was given for each group."""
    if groups is None:
        return [given]
    labels = groups.tolist()
    if column_names(given) is not None and hasattr(given, "to_dict"):
        given = given.T.to_dict()
    given = labelled(given)
    if isinstance(given, Mapping):
        lacking = [label for label in labels if label not in given]
        unknown = [label for label in given if label not in labels]
        if lacking or unknown:
            seen = [f"there is none for {listed(lacking)}"] if lacking else []
            seen += [f"there is no group {listed(unknown)}"] if unknown else []
            raise bad_value(name, "have one entry for each group", ", and ".join(seen))
        return [given[label] for label in labels]
    if len(getattr(given, "shape", ())) > 1:
        seen = f"got an array of shape {tuple(given.shape)}"
        advice = "Give a mapping from the labels of the groups."
        raise bad_value(name, "be the means of all groups, or say whose they are", seen, advice)
    return [given] * len(labels)


def _totals(total, weights, groups, members):
    """Return what the weights of each group sum to; None for the sum of its base weights."""
    if total is None and (groups is None or weights is not None):
        return [None] * len(members)
    total = 1.0 if total is None else total
    if groups is None or isinstance(labelled(total), Mapping):
        totals = [_array.finite_number("total", x) for x in _of_groups("total", total, groups)]
    else:
        total = _array.finite_number("total", total)
        if weights is None:
            sums = np.array([index.size for index in members], dtype=float)
        else:
            base = to_host("weights", weights)
            sums = np.array([base[index].sum() for index in members])
        totals = (total * (sums / sums.sum())).tolist()
    if not min(totals) > 0.0:
        raise bad_value("total", "be positive", f"got {min(totals):.6g}")
    return totals


def _rows(values, index):
    if index is None:
        return values
    if isinstance(values, list | tuple):
        return [values[i] for i in index]
    if not is_array_api_obj(values):  # sparse
        return values[index]
    xp = array_namespace(values)
    return xp.take(values, xp.asarray(index, device=_array.device_of(values)), axis=0)


def _together(parts, groups, members):
    """Return the result of all groups, with their weights in the order of the rows."""
    results = [result for result, _ in parts]
    first = results[0].weights
    xp = array_namespace(first)
    weights = _rows(xp.concat([r.weights for r in results]), np.argsort(np.concatenate(members)))
    return Balance(
        weights,
        tuple(result.projection for result in results),
        tuple(result.diagnostics for result in results),
        groups,
    )


def _error_of_groups(parts, result):
    """Return the error of groups of which some failed, with the names in the first one's."""
    errors = [error for _, error in parts]
    failed = tuple(g for g, error in enumerate(errors) if error is not None)
    labels = result.groups[list(failed)].tolist()
    first = errors[failed[0]]
    text = of_parts("group", len(parts), labels, str(first)).said()
    return SolveError(
        text, result, failed, message=of_parts("group", len(parts), labels, first.message)
    )


# ---------------------------------------------------------------- one group

_COVARIATES = along(REAL, "covariates")


def _constraints(covariates, targets, index, total, reading):
    """Return the constraints on some rows of a sample; on all if `index` is None."""
    columns = column_names(covariates)
    if columns is not None:
        return constraints_of(covariates, columns, targets, index, total, reading)
    if isinstance(labelled(targets), Mapping) and not hasattr(targets, "index"):
        raise TypeError("targets may be a mapping only for a data frame: give one mean for each.")
    if scipy.sparse.issparse(covariates):
        x = scipy.sparse.csr_array(covariates)
        return Constraints(None, _rows(x, index), targets, reading.tolerance)
    given = {"targets": (_COVARIATES, targets), "tolerance": (_COVARIATES, reading.tolerance)}
    x, targets, tolerance = matched(
        covariates=(
            _COVARIATES,
            numbered(("covariates",), covariates, targets, reading.tolerance),
        ),
        **given,
    )
    return Constraints(None, _rows(x, index), targets, tolerance)


def _checked_caps(lower, upper):
    """Return the caps, or None if there are none."""
    if lower is None and upper is None:
        return None
    low = 0.0 if lower is None else _array.finite_number("lower", lower)
    high = math.inf if upper is None else float(upper)
    if not 0.0 <= low < 1.0:
        raise bad_value("lower", "be a factor of weights from 0 to below 1", f"got {lower!r}")
    if not high > 1.0:
        raise bad_value("upper", "be a factor of weights above 1", f"got {upper!r}")
    return low, high


def _balanced(constraints, weights, total, caps, controls, check):
    """Return the result for one group, and the error if it is no solution."""
    x, is_sparse = constraints.covariates, scipy.sparse.issparse(constraints.covariates)
    if is_sparse:
        sparse, x = check_sparse(x, check), np.broadcast_to(0.0, x.shape)
    given = {
        "covariates": (REAL, x),
        "targets": (REAL, constraints.targets),
        "tolerance": (NON_NEGATIVE, constraints.tolerance),
    }
    if weights is not None:
        given["weights"] = (WEIGHTS, weights)
    xp, x, t, slack, *base = gate(check, **given)
    names = _checked_shapes(constraints.names, x, t, slack)
    base, unit = _base_weights(x, base, xp)
    has_slack = bool(xp.any(slack > 0.0))
    if is_sparse:
        x = sparse
    if caps is not None:
        projection, message = _within_caps(x, t, slack, base, caps, controls, xp)
        return _described(projection, message, names, x, t, base, unit, total, xp)
    ends = {"lower": t - slack, "upper": t + slack} if has_slack else {"targets": t}
    log_base, message = _array.safe_log(base, xp), None
    try:
        projection = c_maximize(
            x.T,
            log_base=log_base,
            tol=controls.tol,
            max_steps=controls.max_steps,
            check=False,
            **ends,
        )
    except SolveError as error:
        projection = error.result
        message = _guilty(projection, constraints, x, t, slack, to_host("d", base), total)
        if message is None:
            message = Message("{} (The outcomes are the rows.)", (error.message,))
    return _described(projection, message, names, x, t, base, unit, total, xp)


def _within_caps(x, t, slack, base, caps, controls, xp):
    """Return the projection with caps on the weights, and what to say if it is no solution."""
    if not scipy.sparse.issparse(x):
        refuse_gradients(covariates=x, targets=t, weights=base)
    rounding = max(EPS, roundoff_of(t))
    columns = x.toarray() if scipy.sparse.issparse(x) else to_host("covariates", x)
    goal, d = to_host("targets", t), to_host("weights", base)
    slack = np.broadcast_to(to_host("tolerance", slack), goal.shape)
    allowed = d > 0.0
    problem = Problem(np.ascontiguousarray(columns[allowed].T), goal, np.log(d[allowed]), rounding)
    if slack.any():
        found = solve_between(problem, goal - slack, goal + slack, caps, controls)
    else:
        found = solve_capped(problem, *caps, controls)
    log_p = np.full(d.size, -math.inf)
    log_p[allowed] = found.log_p
    p = np.exp(log_p)
    entropy = -float(p[allowed] @ found.log_p)
    cast = float(xp.finfo(t.dtype).eps) if xp.finfo(t.dtype).bits < 64 else 0.0

    def array(values, dtype=t.dtype):
        return xp.asarray(values, dtype=dtype, device=_array.device_of(t))

    projection = Projection(
        probabilities=array(p),
        theta=array(found.theta),
        log_partition=array(math.log(d.sum()) + float(found.theta @ goal) - found.constant),
        value=array(entropy + float(p[allowed] @ problem.log_base)),
        entropy=array(entropy),
        residual=array(np.maximum(np.abs(p @ columns - goal) - slack, 0.0).max()),
        error_bound=array(found.error_bound + cast),
        dual_gap=array(found.error_bound + cast),
        status=found.status,
        support=array(allowed, dtype=xp.bool),
        rank=array(found.rank, dtype=xp.asarray(0).dtype),
        steps=array(found.steps, dtype=xp.asarray(0).dtype),
        log_probabilities=array(log_p),
        certificate=None if found.certificate is None else array(found.certificate),
    )
    return projection, _why_not_capped(found, problem, slack, caps)


def _why_not_capped(found, problem, slack, caps):
    """Say why there are no weights within the caps, or none were found; None if there are some."""
    if found.status.is_solution:
        return None
    if found.status is Status.MAX_STEPS:
        return Message(f"{ran_out(found.steps)}. Raise max_steps.")
    if found.status is not Status.INFEASIBLE:
        return Message(
            "Neither weights within the caps nor a proof that there are none: nearly all weights "
            "would have to be at a cap. Widen lower and upper a little, or move the targets."
        )
    eta = found.certificate
    q = np.exp(problem.base) / np.exp(problem.base).sum()
    least = least_mean(eta @ problem.features, q, *caps)
    goal = float(eta @ problem.targets + np.abs(eta) @ slack)
    (numbers,) = np.nonzero(eta)
    head = f"No weights from {caps[0]:.6g} to {caps[1]:.6g} times the base weights meet the targets"
    if numbers.size == 1:
        i, side = numbers[0], "least" if eta[numbers[0]] > 0.0 else "most"
        end, asked = apart(least / eta[i], problem.targets[i])
        return Message(
            f"{head}: with them the mean of {{}} is at {side} {end}; {asked} was asked"
            f"{_allowed(slack[i])}.",
            (features(numbers),),
        )
    least, goal = apart(least, goal)
    return Message(
        f"{head}: those of {{}} clash. With them {{}} is at least {least}, and the targets make it "
        f"{goal}. Widen lower and upper, or change one.",
        (features(numbers), combination(eta)),
    )


def _allowed(tolerance):
    """Write how far a mean may be off, if it may."""
    return f" (with a tolerance of {tolerance:.6g})" if tolerance > 0.0 else ""


def _checked_shapes(names, x, t, slack):
    if len(x.shape) != 2 or 0 in x.shape:
        seen = f"got shape {tuple(x.shape)}"
        advice = "Write covariates[:, None] for a single one." if len(x.shape) == 1 else ""
        raise bad_value("covariates", "have shape (n, m), one row for each unit", seen, advice)
    if tuple(t.shape) != (x.shape[1],):
        seen = f"got shape {tuple(t.shape)} for covariates of shape {tuple(x.shape)}"
        raise bad_value("targets", "have one mean for each covariate", seen)
    if slack.shape and tuple(slack.shape) != (x.shape[1],):
        seen = f"got shape {tuple(slack.shape)} for covariates of shape {tuple(x.shape)}"
        raise bad_value("tolerance", "be a number or have one for each covariate", seen)
    return names or [f"x[{i}]" for i in range(x.shape[1])]


def _base_weights(x, base, xp):
    """Return weights whose largest is about 1, and their unit, a power of two."""
    if not base:
        return xp.ones_like(x[:, 0]) / x.shape[0], 1.0
    (base,) = base
    if tuple(base.shape) != (x.shape[0],):
        seen = f"got shape {tuple(base.shape)}"
        raise bad_value("weights", f"have one entry for each of the {x.shape[0]} rows", seen)
    if not bool(xp.any(base > 0.0)):
        raise bad_value("weights", "have a positive sum", "they are all 0")
    unit = math.ldexp(1.0, math.frexp(float(_array.on_host(xp.max(base))))[1] - 1)
    return base / unit, unit


def _described(projection, message, names, x, t, base, unit, total, xp):
    """Return the result, and the error with this message if there is one."""
    result = _describe(projection, names, x, t, base, unit, total, xp)
    return result, None if message is None else failure(message, result, features=names)


def _describe(projection, names, x, t, base, unit, total, xp):
    p, size = projection.probabilities, xp.sum(base)
    share = base / size
    counts = share > 0.0
    ratio = xp.where(counts, p / xp.where(counts, share, xp.ones_like(share)), 0.0 * share)
    new, old, num_rows = xp.sum(p * p), xp.sum(share * share), xp.sum(xp.astype(counts, p.dtype))
    diagnostics = BalanceDiagnostics(
        names=tuple(names),
        targets=t,
        before=x.T @ share,
        after=x.T @ p,
        effective_sample_size=1.0 / new,
        base_effective_sample_size=1.0 / old,
        design_effect=num_rows * new,
        base_design_effect=num_rows * old,
        largest_weight_ratio=xp.max(ratio),
    )
    weights = p * size * unit if total is None else p * total
    return Balance(weights, projection, diagnostics)


# ---------------------------------------------------------------- what cannot be


def _guilty(projection, constraints, x, t, slack, base, total):
    """Say which constraints the certificate of infeasibility names; None if there is none."""
    if projection.status is not Status.INFEASIBLE:
        return None
    eta = to_host("certificate", projection.certificate)
    t, slack = to_host("t", t), np.broadcast_to(to_host("slack", slack), eta.shape)
    x = (x if scipy.sparse.issparse(x) else to_host("x", x))[base > 0.0]
    (numbers,) = np.nonzero(eta)
    if numbers.size == 1:
        i = int(numbers[0])
        column = x[:, [i]].toarray() if scipy.sparse.issparse(x) else x[:, i]
        is_share = constraints.is_share is not None and constraints.is_share[i]
        text = _out_of_reach(is_share, column.min(), column.max(), t[i], total)
        text = text.format(allowed=_allowed(slack[i]), name="{}")
        return Message(f"No weights meet the targets: {text}", (features(numbers),))
    values = x @ eta
    goal = float(eta @ t + np.abs(eta) @ slack)
    is_constant = np.ptp(values) <= 1e-6 * (values.min() - goal)
    least, most = apart(values.min(), goal)
    return Message(
        "No weights meet the targets: those of {} clash. In every row {} is "
        f"{'' if is_constant else 'at least '}{least}, and the targets make it "
        f"{'at most ' if slack.any() else ''}{most}. Change one of them.",
        (features(numbers), combination(eta)),
    )


def _out_of_reach(is_share, low, high, target, total):
    """Say which values the mean of one column can have, and which was asked."""
    if is_share:
        row = "no row has" if high == 0.0 else "every row has"
        return f"{row} {{name}}; a share of {target:.6g} was asked{{allowed}}."
    end, side = (high, "most") if target > high else (low, "least")
    end, asked = apart(end, target)
    text = f"the mean of {{name}} is at {side} {end}; {asked} was asked{{allowed}}."
    if total is not None and low <= target / total <= high:
        text += f" If that is a total, its mean is {target / total:.6g}: divide it by {total:.6g}."
    return text


finish(globals())
