"""Contingency tables with given margins."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse

from infogeo._docs import finish
from infogeo._status import SolveError, Status
from infogeo.maxent._arguments import check_controls, to_host
from infogeo.maxent._c_maximize import c_maximize
from infogeo.maxent._cells import gate_margins, gate_table, margins_by_name, name_of, the_one
from infogeo.maxent._dual.disjoint import are_disjoint, fit_disjoint
from infogeo.maxent._dual.problem import CAUTION, EPS
from infogeo.maxent._dual.projection import Projection
from infogeo.maxent._wording import Message, combination, failure, features

# The largest problem, in entries of its features, that is solved again with dense features to
# settle what the sparse solve leaves open.
_LARGEST_DENSE = 4_000_000


def fit_margins(
    table: Any = None,
    margins: Any = None,
    *,
    log_table: Any = None,
    tol: float = 1e-10,
    max_steps: int = 100,
    throw: bool = True,
    check: bool = True,
) -> Projection:
    r"""Find the table nearest to a given one among those with given margins.

    .. math:: p = \arg\min \{ KL(p, q) : \sum_{\text{other axes}} p = \text{margin} \}

    for the table q, of any order. It keeps q's interactions that the margins leave free: for a
    table of ones the result is the log-linear model of the margins. What iterative proportional
    fitting converges to; with q = exp(-cost / epsilon), entropic optimal transport.

    Parameters
    ----------
    table : array, shape (s_1, ..., s_k), or scipy.sparse array, shape (s_1, s_2)
        q: counts or probabilities; only ratios matter. A zero is structural: it stays.
    margins : mapping, or list of pairs
        From a tuple of axes to the array of their sums, in the order of the axes:
        ``{(0, 1): pairs, (2,): single}``. An axis may stand for a tuple of one. Counts or
        probabilities, all with the same total. Series and frames are matched to a table with
        names by them.
    log_table : array, shape (s_1, ..., s_k), or scipy.sparse array, shape (s_1, s_2)
        log q in the place of q, in nats, whose exponentials may be too small for their dtype:
        ``fit_margins(margins={0: a, 1: b}, log_table=-cost / epsilon)``. -inf is a structural
        zero, and so is what a sparse array does not store.
    tol : float
    max_steps : int
    throw : bool
    check : bool

    Returns
    -------
    Projection
        In numpy. The outcomes are the cells in the order of ``table.reshape(-1)``:
        ``probabilities.reshape(table.shape)`` is the table, with sum 1. Those of a sparse table are
        the entries that it stores, row by row, as in ``table.tocsr().data``. The features are the
        cells of the margins, one margin after the other.

    Raises
    ------
    TypeError, ValueError
        Shapes, axes and totals that do not fit together; negative entries; a table with zeros that
        looks like exponentials too small for their dtype.
    SolveError
        No table has these margins and these zeros: the message names the margins that contradict
        each other, ``error.result.certificate`` proves it. Or none was found.

    Notes
    -----
    The error bound is for every log-probability. It covers what is known of the margins, which is
    their dtype's rounding, or as much as their totals agree. Totals agree if they do so to the
    rounding of a sum. Zeros of a margin empty its cells: the status is then BOUNDARY.

    One margin, or two without a common axis, are fitted in logarithms by sweeps of proportional
    fitting and Newton's method on the side with fewer cells, whose number may be some thousands.
    The bound comes from relative errors of the margins in the maximum norm, and holds for margins
    of 1e-60 beside margins of .5 as well. All others, and zeros that force other zeros, are for
    `c_maximize` with sparse features, one for each cell of a margin, started by two sweeps:
    Newton's method needs a few steps where proportional fitting may need thousands of sweeps.

    References
    ----------
    W. E. Deming and F. F. Stephan, On a least squares adjustment of a sampled frequency table when
    the expected marginal totals are known, Ann. Math. Stat. 11, 1940.
    S. E. Fienberg, An iterative procedure for estimation in contingency tables, Ann. Math. Stat.
    41, 1970.
    R. Sinkhorn, Diagonal equivalence to matrices with prescribed row and column sums, Amer. Math.
    Monthly 74, 1967.

    Examples
    --------
    >>> found = fit_margins([[40, 30], [20, 10]], {0: [50, 50], 1: [50, 50]})
    >>> found.probabilities.reshape(2, 2).round(4)
    array([[0.2247, 0.2753],
           [0.2753, 0.2247]])
    """
    check_controls(tol, max_steps)
    name, given = the_one(table, log_table)
    cells = gate_table(name, given, check)
    named = np.broadcast_to(0.0, cells.shape) if scipy.sparse.issparse(given) else given
    margins, names = margins_by_name(name, named, len(cells.shape), margins)
    fitted, roundoff = gate_margins(cells.shape, margins, check)
    message = None
    if are_disjoint(fitted):
        found, text, theta = fit_disjoint(cells, fitted, roundoff, max_steps)
        message = Message(text)
    else:
        found, theta = None, _proportionally_fitted(cells, fitted)
    if found is None:
        found, message = _by_features(cells, fitted, roundoff, theta, tol, max_steps)
    if throw and not found.status.is_solution:
        cells = [cell for margin in fitted for cell in _cells_of(margin, names)]
        raise failure(_guilty(found, fitted, roundoff, names) or message, found, features=cells)
    return found


def _by_features(table, margins, roundoff, theta, tol, max_steps):
    """Solve with sparse features; what that leaves open, with dense ones if they are few."""
    rows = _indicators(table, margins)
    targets = np.concatenate([margin.values.reshape(-1) for margin in margins])
    if roundoff > EPS:  # how well the targets are known is told by their dtype
        targets = targets.astype(np.float32)
    options = {
        "log_base": table.logs,
        "initial_theta": theta,
        "tol": tol,
        "max_steps": max_steps,
    }
    message = None
    found = c_maximize(rows, targets, **options, throw=False)
    if not found.status.is_solution:
        is_open = found.certificate is None and math.prod(rows.shape) <= _LARGEST_DENSE
        rows = rows.toarray() if is_open else rows
        try:
            found = c_maximize(rows, targets, **options)
        except SolveError as error:
            message = Message("{} (The features are cells.)", (error.message,))
            found = error.result
    shift = table.shift
    return replace(
        found, log_partition=found.log_partition + shift, value=found.value + shift
    ), message


def _indicators(table, margins):
    """Return one sparse row for each cell of each margin: 1 for the table's cells in its sum."""
    num_cells, rows, start = table.logs.size, [], 0
    for margin in margins:
        rows.append(start + table.lines(margin.axes))
        start += margin.values.size
    entries = (np.concatenate(rows), np.tile(np.arange(num_cells), len(margins)))
    return scipy.sparse.csr_array((np.ones(entries[0].size), entries), shape=(start, num_cells))


def _proportionally_fitted(cells, margins):
    """Return theta after two sweeps of proportional fitting: a start that saves Newton steps."""
    if len(cells.index[0]) != math.prod(cells.shape):
        return np.zeros(sum(margin.values.size for margin in margins))
    table = np.exp(cells.logs).reshape(cells.shape)
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


def _guilty(result, margins, roundoff, names):
    """Say which margins contradict each other, or which cells clash; None without a proof."""
    if result.status is not Status.INFEASIBLE:
        return None
    for one, other in itertools.combinations(margins, 2):
        shared = tuple(axis for axis in one.axes if axis in other.axes)
        a, b = _summed(one, shared), _summed(other, shared)
        gap = np.abs(a - b) - CAUTION * roundoff * (a + b) * max(one.values.size, other.values.size)
        if not (gap > 0.0).any():
            continue
        cell = tuple(int(i) for i in np.unravel_index(np.argmax(gap), gap.shape))
        pair = f"No table has these margins: the {one.name} and the {other.name}"
        totals = f"{a[cell]:.9g} and {b[cell]:.9g} of the first margin's total."
        if not shared:
            advice = "If they are shares, divide each by its sum."
            return Message(f"{pair} have different totals: {totals} {advice}")
        where = f"summed to {name_of(shared).removeprefix('margin of ')}, at {{}},"
        return Message(f"{pair} do not agree: {where} {totals}", (_label(shared, cell, names),))
    eta = to_host("certificate", result.certificate)
    return Message(
        "No table with these zeros has these margins: in every cell that is not zero {} is above "
        "what the margins make it. Cells that clash: {}.",
        (combination(eta), features(np.flatnonzero(eta))),
    )


def _label(axes, cell, names):
    """Return what messages call a cell of a margin: by its names along the axes if it has any."""
    labels = [names.get(f"axis {axis}") for axis in axes]
    if all(label is None for label in labels):
        return str(cell)
    return ", ".join(
        str(i if label is None else label[i]) for i, label in zip(cell, labels, strict=True)
    )


def _cells_of(margin, names):
    """Return what messages call the cells of a margin."""
    cells = np.ndindex(margin.values.shape)
    return [f"{margin.name} at {_label(margin.axes, cell, names)}" for cell in cells]


def _summed(margin, shared):
    """Return the margin summed to some of its axes, in the order that they are given in."""
    rest = tuple(i for i, axis in enumerate(margin.axes) if axis not in shared)
    kept = [axis for axis in margin.axes if axis in shared]
    return np.transpose(margin.values.sum(axis=rest), [kept.index(axis) for axis in shared])


finish(globals())
