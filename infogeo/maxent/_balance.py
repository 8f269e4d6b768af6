"""Weights under which means are known: survey raking, calibration, entropy balancing."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from infogeo import _array, maxent
from infogeo._array import REAL, WEIGHTS, along, bad_value, gate, matched
from infogeo._names import matched_rows, numbered, numbers
from infogeo._result import Projection, SolveError, Status, storable
from infogeo.maxent._arguments import to_host
from infogeo.maxent._wording import combined, listed

Array = Any


@storable("BalanceDiagnostics")
@dataclass(frozen=True, eq=False)
class BalanceDiagnostics:
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
    largest_weight_ratio : array, shape ()
        The largest factor by which a row's share of the total weight grew.
    """

    names: tuple[str, ...]
    targets: Array
    before: Array
    after: Array
    effective_sample_size: Array
    base_effective_sample_size: Array
    largest_weight_ratio: Array

    def __str__(self) -> str:
        width = max(10, *(len(name) for name in self.names))
        lines = [f"{'':{width}} {'target':>12} {'before':>12} {'after':>12}"]
        columns = (_array.on_host(x) for x in (self.targets, self.before, self.after))
        for name, *means in zip(self.names, *columns, strict=True):
            lines.append(f"{name:{width}} " + " ".join(f"{float(x):12.6g}" for x in means))
        sizes = self.effective_sample_size, self.base_effective_sample_size
        size, base_size = (float(_array.on_host(x)) for x in sizes)
        return "\n".join(
            [
                *lines,
                f"effective sample size {size:.1f} (before: {base_size:.1f})",
                f"largest weight ratio {float(_array.on_host(self.largest_weight_ratio)):.3g}",
            ]
        )


@storable("Balance")
@dataclass(frozen=True, eq=False)
class Balance:
    """Weights under which the means of covariates are what they have to be.

    Parameters
    ----------
    weights : array, shape (n,)
        The new weights, with the sum of the base weights; 1 if none were given.
    projection : Projection
        The new distribution over the rows, with its error bound, or the proof that there is none.
    diagnostics : BalanceDiagnostics
        What changed.
    """

    weights: Array
    projection: Projection
    diagnostics: BalanceDiagnostics


def balance(covariates, targets, *, weights=None, tol=1e-10, max_steps=100, throw=True, check=True):
    r"""Weights nearest to the base weights under which covariates have given means.

    .. math:: w = \arg\min \{ KL(w, d) : \sum_i w_i x_i = t \},
        \qquad w_i \propto d_i e^{\theta' x_i}

    Raking of a survey to known shares, calibration to known means, entropy balancing of a control
    group to the means of a treated one.

    Parameters
    ----------
    covariates : array, shape (n, m), or data frame
        One row for each unit. Of a frame (pandas, or anything with ``columns``) those columns
        count that have a target.
    targets : array, shape (m,), or mapping
        The means. For a frame, a mapping from a column's name to its mean, or to a mapping from
        the column's levels to their shares: ``{"age": 41.5, "sex": {"f": 0.51, "m": 0.49}}``. A
        series is the mapping from its labels.
    weights : array, shape (n,), optional
        Base weights d, such as those of a sampling design. Default: equal. A row of weight 0
        keeps it.
    tol : float
        As in `c_maximize`.
    max_steps : int
        The most Newton steps.
    throw : bool
        Whether an unsuccessful solve raises. If not, see ``projection.status``.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

    Returns
    -------
    Balance
        Weights in the library, dtype and on the device of the covariates (of a frame: numpy).

    Raises
    ------
    TypeError, ValueError
        Columns, levels and targets that do not fit together; missing values.
    SolveError
        No weights meet the targets: the message names the columns that are guilty, and
        ``error.result.projection.certificate`` proves it. Or none were found.

    Notes
    -----
    `c_maximize` with the rows as outcomes. Its optimum on the boundary (a target at the end of
    what the sample reaches) gives weight 0 to rows. ``diagnostics`` prints as a table. Of tensors
    the weights are differentiable with respect to covariates, targets and base weights.

    References
    ----------
    W. E. Deming and F. F. Stephan, On a least squares adjustment of a sampled frequency table when
    the expected marginal totals are known, Ann. Math. Stat. 11, 1940.
    J.-C. Deville and C.-E. Sarndal, Calibration estimators in survey sampling, JASA 87, 1992.
    J. Hainmueller, Entropy balancing for causal effects, Political Analysis 20, 2012.

    Examples
    --------
    A sample of five with too few old people and too few women:

    >>> found = balance([[20, 1], [25, 0], [30, 0], [60, 0], [50, 1]], [45, 0.5])
    >>> found.weights.round(4)
    array([0.1268, 0.0874, 0.1046, 0.308 , 0.3732])
    >>> print(found.diagnostics)
                     target       before        after
    x[0]                 45           37           45
    x[1]                0.5          0.4          0.5
    effective sample size 3.7 (before: 5.0)
    largest weight ratio 1.87
    """
    names, weights = None, matched_rows("covariates", covariates, "weights", weights)
    if hasattr(covariates, "columns"):
        names, covariates, targets = _constraints(covariates, targets)
    elif isinstance(targets, Mapping):
        raise TypeError("targets may be a mapping only for a data frame: give one mean for each.")
    covariates, targets = matched(
        covariates=(_COVARIATES, numbered(("covariates",), covariates, targets)),
        targets=(_COVARIATES, targets),
    )
    given = {"covariates": (REAL, covariates), "targets": (REAL, targets)}
    if weights is not None:
        given["weights"] = (WEIGHTS, weights)
    xp, x, t, *base = gate(check, **given)
    names = _checked_shapes(names, x, t)
    base, unit = _base_weights(x, base, xp)
    try:
        projection = maxent.c_maximize(
            x.T,
            t,
            log_base=_array.safe_log(base, xp),
            tol=tol,
            max_steps=max_steps,
            check=False,
        )
    except SolveError as error:
        result = _describe(error.result, names, x, t, base, unit, xp)
        if not throw:
            return result
        text = _guilty(error.result, names, to_host("x", x), to_host("t", t), to_host("d", base))
        raise SolveError(text or _with_names(str(error), names), result) from None
    return _describe(projection, names, x, t, base, unit, xp)


_COVARIATES = along(REAL, "covariates")


def _constraints(frame, targets):
    """Return the names of the constraints, and covariates and targets as arrays."""
    columns = list(frame.columns)
    repeated = {str(name): None for name in columns if columns.count(name) > 1}
    if repeated:
        raise bad_value(
            "covariates", "have columns of different names", f"{listed(repeated)} repeat"
        )
    targets = _labelled(targets)
    if not isinstance(targets, Mapping):
        targets = np.asarray(targets)
        if targets.shape != (len(columns),):
            seen = f"got shape {targets.shape} for the columns {listed(columns)}"
            raise bad_value("targets", "have one mean for each column", seen)
        targets = dict(zip(columns, targets.tolist(), strict=True))
    if not targets:
        raise bad_value("targets", "name at least one column", "it is empty")
    unknown = [name for name in targets if name not in columns]
    if unknown:
        advice = f"The columns are {listed(columns)}."
        raise bad_value("targets", "name columns", f"there is no {listed(unknown)}", advice)
    names, values, means = [], [], []
    for name, target in targets.items():
        column, target = frame[name], _labelled(target)
        if isinstance(target, Mapping):
            column = np.asarray(column)
            for level, share in _shares(name, column, target).items():
                names.append(f"{name} = {level}")
                values.append((column == level).astype(np.float64))
                means.append(share)
        else:
            names.append(str(name))
            values.append(_numbers(name, column))
            means.append(_array.finite_number(f"the target of {name}", target))
    return names, np.stack(values, axis=1), np.array(means)


def _labelled(targets):
    """Return a series as the mapping from its labels that it is."""
    is_series = hasattr(targets, "to_dict") and getattr(targets, "ndim", 0) == 1
    if not is_series:
        return targets
    repeated = targets.index[targets.index.duplicated()]
    if len(repeated):
        seen = f"{listed(repeated.tolist())} repeat"
        raise bad_value("targets", "name each column or level once", seen)
    return targets.to_dict()


def _numbers(name, column):
    try:
        array = np.asarray(numbers(f"the column {name}", column))
        is_numeric = array.dtype.kind in "biuf"
    except TypeError:
        is_numeric = False
    if not is_numeric:
        raise TypeError(
            f"the column {name} must hold numbers for a target that is a mean: its dtype is "
            f"{column.dtype}. For categories give their shares, {{level: share}}."
        )
    column = array
    if not np.isfinite(column).all():
        (rows,) = np.nonzero(~np.isfinite(column))
        seen = f"it has NaN or infinite entries in {listed(rows, 'row')}"
        raise bad_value(f"the column {name}", "be finite", seen, "Drop or impute them.")
    return column.astype(np.float64)


def _shares(name, column, target):
    """Return the shares of a column's levels with sum 1."""
    levels = list(dict.fromkeys(column.tolist()))
    missing = [level for level in levels if level not in target]
    if missing:
        seen = f"there is none for {listed(missing)}"
        raise bad_value(f"the target of {name}", "have a share for every level", seen)
    shares = np.array([_array.finite_number(f"the share of {k}", v) for k, v in target.items()])
    if shares.size == 0 or shares.min() < 0.0 or abs(shares.sum() - 1.0) > 2e-6:
        rule = "hold shares that are not negative and sum to 1"
        seen = f"they are {listed(shares.tolist())} with sum {shares.sum():.9g}"
        raise bad_value(f"the target of {name}", rule, seen)
    return dict(zip(target, (shares / shares.sum()).tolist(), strict=True))


def _checked_shapes(names, x, t):
    if len(x.shape) != 2 or 0 in x.shape:
        seen = f"got shape {tuple(x.shape)}"
        advice = "Write covariates[:, None] for a single one." if len(x.shape) == 1 else ""
        raise bad_value("covariates", "have shape (n, m), one row for each unit", seen, advice)
    if tuple(t.shape) != (x.shape[1],):
        seen = f"got shape {tuple(t.shape)} for covariates of shape {tuple(x.shape)}"
        raise bad_value("targets", "have one mean for each covariate", seen)
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


def _describe(projection, names, x, t, base, unit, xp):
    p, total = projection.probabilities, xp.sum(base)
    share = base / total
    counts = share > 0.0
    ratio = xp.where(counts, p / xp.where(counts, share, xp.ones_like(share)), 0.0 * share)
    diagnostics = BalanceDiagnostics(
        names=tuple(names),
        targets=t,
        before=x.T @ share,
        after=x.T @ p,
        effective_sample_size=1.0 / xp.sum(p * p),
        base_effective_sample_size=1.0 / xp.sum(share * share),
        largest_weight_ratio=xp.max(ratio),
    )
    return Balance(p * total * unit, projection, diagnostics)


def _guilty(projection, names, x, t, base):
    """Say which constraints the certificate of infeasibility names; "" if there is none."""
    if projection.status is not Status.INFEASIBLE:
        return ""
    eta = to_host("certificate", projection.certificate)
    (numbers,) = np.nonzero(eta)
    x = x[base > 0.0]
    if numbers.size == 1:
        i = numbers[0]
        return (
            f"No weights meet the targets: that of {names[i]}, {t[i]:.6g}, is outside the range "
            f"[{x[:, i].min():.6g}, {x[:, i].max():.6g}] of its values."
        )
    values = x @ eta
    guilty = [names[i] for i in numbers]
    is_constant = np.ptp(values) <= 1e-6 * (values.min() - float(eta @ t))
    return (
        f"No weights meet the targets: those of {listed(guilty)} clash. In every row "
        f"{combined(eta[numbers], guilty)} is {'' if is_constant else 'at least '}"
        f"{values.min():.6g}, and the targets make it {float(eta @ t):.6g}. Change one of them."
    )


def _with_names(text, names):
    numbered = listed([f"{i} is {name}" for i, name in enumerate(names)])
    return f"{text} (Of the features, {numbered}; the outcomes are the rows.)"
