"""Contingency tables with given margins."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse

from infogeo import maxent
from infogeo._array import WEIGHTS, bad_value, gate, safe_log
from infogeo._names import is_nameless, matched, numbered
from infogeo._result import SolveError, Status
from infogeo.maxent._arguments import roundoff_of, to_host
from infogeo.maxent._gradients import refuse_gradients
from infogeo.maxent._problem import CAUTION, EPS
from infogeo.maxent._wording import combined, listed

# The largest problem, in entries of its features, that is solved again with dense features to
# settle what the sparse solve leaves open.
_LARGEST_DENSE = 4_000_000
# Totals below have fewer digits than their dtype; shares above are contradictions in any case.
_SMALLEST, _LARGEST = 1e-290, 1e100


@dataclass(frozen=True)
class _Margin:
    axes: tuple[int, ...]
    values: np.ndarray  # shares of the first margin's total


def fit_margins(table, margins, *, tol=1e-10, max_steps=100, throw=True, check=True):
    r"""Table nearest to a given one among those with given margins.

    .. math:: p = \arg\min \{ KL(p, q) : \sum_{\text{other axes}} p = \text{margin} \}

    for the table q, of any order. It keeps q's interactions that the margins leave free: for a
    table of ones the result is the log-linear model of the margins. What iterative proportional
    fitting converges to.

    Parameters
    ----------
    table : array, shape (s_1, ..., s_k)
        q: counts or probabilities; only ratios matter. A zero is structural: it stays.
    margins : mapping, or list of pairs
        From a tuple of axes to the array of their sums, in the order of the axes:
        ``{(0, 1): pairs, (2,): single}``. An axis may stand for a tuple of one. Counts or
        probabilities, all with the same total.
    tol : float
        As in `c_maximize`.
    max_steps : int
        The most Newton steps.
    throw : bool
        Whether an unsuccessful solve raises. If not, see `status`.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

    Returns
    -------
    Projection
        In numpy. The outcomes are the cells in the order of ``table.reshape(-1)``:
        ``probabilities.reshape(table.shape)`` is the table, with sum 1. The features are the cells
        of the margins, one margin after the other.

    Raises
    ------
    TypeError, ValueError
        Shapes, axes and totals that do not fit together; negative entries.
    SolveError
        No table has these margins and these zeros: the message names the margins that contradict
        each other, ``error.result.certificate`` proves it. Or none was found.

    Notes
    -----
    `c_maximize` with sparse features, one for each cell of a margin, started by two sweeps of
    proportional fitting: Newton's method needs a few steps where that may need thousands of sweeps.
    The error bound is for every log-probability. Zeros of a margin empty its cells: the status is
    then BOUNDARY. Margins of float32 agree if they do so to its rounding.

    References
    ----------
    W. E. Deming and F. F. Stephan, On a least squares adjustment of a sampled frequency table when
    the expected marginal totals are known, Ann. Math. Stat. 11, 1940.
    S. E. Fienberg, An iterative procedure for estimation in contingency tables, Ann. Math. Stat.
    41, 1970.

    Examples
    --------
    >>> found = fit_margins([[40, 30], [20, 10]], {0: [50, 50], 1: [50, 50]})
    >>> found.probabilities.reshape(2, 2).round(4)
    array([[0.2247, 0.2753],
           [0.2753, 0.2247]])
    """
    _, given = gate(check, table=(WEIGHTS, table))
    refuse_gradients(table=given)
    q = to_host("table", given)
    if q.ndim == 0 or q.size == 0 or not (q > 0.0).any():
        seen = f"got shape {q.shape}" if q.size == 0 or q.ndim == 0 else "all are 0"
        raise bad_value("table", "be an array with positive entries", seen)
    margins = _margins_by_name(table, q.ndim, margins)
    fitted, roundoff = _gate_margins(q.shape, margins, check)
    features = _indicators(q.shape, [margin.axes for margin in fitted])
    targets = np.concatenate([margin.values.reshape(-1) for margin in fitted])
    if roundoff > EPS:  # how well the targets are known is told by their dtype
        targets = targets.astype(np.float32)
    base = safe_log(q, np)
    base -= base.max()
    options = {
        "log_base": base.reshape(-1),
        "initial_theta": _proportionally_fitted(np.exp(base), fitted),
        "tol": tol,
        "max_steps": max_steps,
    }
    try:
        return _solved(features, targets, options)
    except SolveError as error:
        if not throw:
            return error.result
        text = _guilty(error.result, fitted, roundoff)
        raise SolveError(text or f"{error} (The features are cells.)", error.result) from None


def _solved(features, targets, options):
    """Solve with sparse features; what that leaves open, with dense ones if they are few."""
    found = maxent.c_maximize(features, targets, **options, throw=False)
    if found.status.is_solution:
        return found
    is_open = found.certificate is None and math.prod(features.shape) <= _LARGEST_DENSE
    return maxent.c_maximize(features.toarray() if is_open else features, targets, **options)


def _margins_by_name(table, order, margins):
    """Return pairs of axes and margins, in the order of the names that the table's axes have."""
    rule = "margins must be a mapping or a list of pairs (axes, array)"
    if not isinstance(margins, Mapping | list | tuple):
        raise TypeError(f"{rule}: got {type(margins).__name__}.")
    pairs = list(margins.items() if isinstance(margins, Mapping) else margins)
    if not pairs:
        raise bad_value("margins", "hold at least one margin", "there is none")
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise TypeError(f"{rule}: its entries are no pairs.")
    pairs = [(_checked_axes(axes, order), margin) for axes, margin in pairs]
    names = ["table", *(_name(axes) for axes, _ in pairs)]
    along = [tuple(f"axis {i}" for i in axes) for axes in (range(order), *(a for a, _ in pairs))]
    values = [margin for _, margin in pairs]
    if not all(map(is_nameless, values)):
        (_, *values), _ = matched(names, along, [numbered(along[0], table, *values), *values])
    return [(axes, value) for (axes, _), value in zip(pairs, values, strict=True)]


def _gate_margins(shape, margins, check):
    """Return the margins as shares of the first one's total, and their relative rounding."""
    found, roundoff, unit, total = [], EPS, 0.0, 0.0
    for axes, margin in margins:
        name = _name(axes)
        _, given = gate(check, **{name: (WEIGHTS, margin)})
        refuse_gradients(margin=given)
        values = to_host(name, given)
        expected = tuple(shape[axis] for axis in axes)
        if values.shape != expected:
            rule = f"have the shape {expected} of these axes of the table"
            raise bad_value(name, rule, f"got {values.shape}")
        largest = float(values.max())
        if not largest > _SMALLEST:
            rule = f"have a positive total, above {_SMALLEST:g}"
            raise bad_value(name, rule, f"its largest entry is {largest:.6g}")
        unit = unit or largest  # sums of large counts may overflow
        values = np.minimum(values / unit, _LARGEST)
        total = total or float(values.sum())
        found.append(_Margin(axes, values / total))
        roundoff = max(roundoff, roundoff_of(given), roundoff_of(margin))
        if roundoff > np.finfo(np.float32).eps:
            raise TypeError(
                f"the {name} must be of float32 or more: {margin.dtype} does not tell margins "
                "that agree from others."
            )
    return found, roundoff


def _checked_axes(axes, order):
    given = axes if isinstance(axes, tuple | list) else (axes,)
    rule = f"be different integers from 0 to {order - 1}"
    is_good = all(
        isinstance(axis, int | np.integer) and not isinstance(axis, bool) and 0 <= axis < order
        for axis in given
    )
    if not (given and is_good and len(set(given)) == len(given)):
        raise bad_value("the axes of a margin", rule, f"got {axes!r}")
    return tuple(int(axis) for axis in given)


def _name(axes):
    return f"margin of {'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}"


def _indicators(shape, margin_axes):
    """Return one sparse row for each cell of each margin: 1 for the table's cells in its sum."""
    num_cells = math.prod(shape)
    index = np.unravel_index(np.arange(num_cells), shape)
    rows, start = [], 0
    for axes in margin_axes:
        sizes = tuple(shape[axis] for axis in axes)
        rows.append(start + np.ravel_multi_index([index[axis] for axis in axes], sizes))
        start += math.prod(sizes)
    entries = (np.concatenate(rows), np.tile(np.arange(num_cells), len(margin_axes)))
    return scipy.sparse.csr_array((np.ones(entries[0].size), entries), shape=(start, num_cells))


def _proportionally_fitted(table, margins):
    """Return theta after two sweeps of proportional fitting: a start that saves Newton steps."""
    theta = [np.zeros(margin.values.shape) for margin in margins]
    for _ in range(2):
        for total, margin in zip(theta, margins, strict=True):
            rest = tuple(axis for axis in range(table.ndim) if axis not in margin.axes)
            # The sums have their axes in ascending order, the margin in the order it was given in.
            order = np.argsort(margin.axes)
            wanted, sums = np.transpose(margin.values, order), table.sum(axis=rest)
            counts = (wanted > 0.0) & (sums > 0.0)
            ratio = np.where(counts, wanted, 1.0) / np.where(counts, sums, 1.0)
            total += np.transpose(np.log(ratio), np.argsort(order))
            table = table * np.expand_dims(ratio, rest)
    return np.concatenate([total.reshape(-1) for total in theta])


# ---------------------------------------------------------------- who is guilty


def _guilty(result, margins, roundoff):
    """Say which margins contradict each other, or which cells clash; "" without a proof."""
    if result.status is not Status.INFEASIBLE:
        return ""
    for one, other in itertools.combinations(margins, 2):
        shared = [axis for axis in one.axes if axis in other.axes]
        a, b = _summed(one, shared), _summed(other, shared)
        gap = np.abs(a - b) - CAUTION * roundoff * (a + b) * max(one.values.size, other.values.size)
        if (gap > 0.0).any():
            cell = tuple(int(i) for i in np.unravel_index(np.argmax(gap), gap.shape))
            where = f"summed to {_name(shared)[len('margin of ') :]}, at {cell}," if shared else ""
            what = "do not agree" if shared else "have different totals"
            return (
                f"No table has these margins: the {_name(one.axes)} and the {_name(other.axes)} "
                f"{what}: {where} {a[cell]:.9g} and {b[cell]:.9g} of the first margin's total."
                f"{'' if shared else ' If they are shares, divide each by its sum.'}"
            ).replace(":  ", ": ")
    eta = to_host("certificate", result.certificate)
    names = [
        f"{_name(margin.axes)} at {cell}"
        for margin in margins
        for cell in np.ndindex(margin.values.shape)
    ]
    (numbers,) = np.nonzero(eta)
    cells = [names[i] for i in numbers]
    return (
        f"No table with these zeros has these margins: in every cell that is not zero "
        f"{combined(eta[numbers], cells)} is above what the margins make it. "
        f"Cells that clash: {listed(cells)}."
    )


def _summed(margin, shared):
    """Return the margin summed to some of its axes, in the order that they are given in."""
    rest = tuple(i for i, axis in enumerate(margin.axes) if axis not in shared)
    kept = [axis for axis in margin.axes if axis in shared]
    return np.transpose(margin.values.sum(axis=rest), [kept.index(axis) for axis in shared])
