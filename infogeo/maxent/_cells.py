"""Contingency tables as lists of cells, and their margins: the arguments of `fit_margins`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse

from infogeo._array import WEIGHTS, Rule, bad_value, gate
from infogeo._names import is_nameless, matched, numbered
from infogeo.maxent._arguments import roundoff_of, to_host
from infogeo.maxent._dual.problem import EPS
from infogeo.maxent._gradients import refuse_gradients

# Totals below have fewer digits than their dtype; shares above are contradictions in any case.
_SMALLEST, _LARGEST = 1e-290, 1e100
# A table with zeros whose smallest entry is below the largest times this power of the smallest
# number of the dtype looks like exponentials of which some were too small for it.
_DEEP = 0.6


def _explain_logs(name, x, coarseness):
    if (np.isnan(x) | np.isposinf(x)).any():
        rule = "hold finite numbers, or -inf for a structural zero"
        raise bad_value(name, rule, "it has NaN or +inf entries")


_LOGS = Rule("", lambda x, coarseness: bool((x < math.inf).all()), _explain_logs)


@dataclass(frozen=True)
class Margin:
    """The sums that a table shall have along some axes."""

    axes: tuple[int, ...]
    values: np.ndarray  # shares of the first margin's total
    logs: np.ndarray  # their logarithms, also of those too small to be shares

    @property
    def name(self):
        """What messages call it."""
        return name_of(self.axes)


@dataclass(frozen=True)
class Table:
    """The cells of a table; of a sparse one those that it stores."""

    shape: tuple[int, ...]
    index: tuple[np.ndarray, ...]  # for each axis, where each cell lies along it
    logs: np.ndarray  # (c,): of the cells, the largest about 0; -inf is a structural zero
    shift: float  # by which they are below what was given

    @property
    def blur(self):
        """How well the logarithms are known; those below -650 are differences of large ones."""
        with np.errstate(invalid="ignore"):
            return EPS * np.where(self.logs < -650.0, 2.5, 1.0) * np.abs(self.logs)

    def lines(self, axes):
        """Return for each cell the number of the margin's cell in whose sum it is."""
        if not axes:
            return np.zeros(self.logs.size, dtype=np.intp)
        sizes = tuple(self.shape[axis] for axis in axes)
        return np.ravel_multi_index([self.index[axis] for axis in axes], sizes)


def the_one(table, log_table):
    """Return the name and the value of the argument that was given."""
    if (table is None) == (log_table is None):
        raise TypeError(
            "fit_margins needs one of table and log_table, with margins after it or by name: "
            "fit_margins(margins=margins, log_table=log_table)."
        )
    return ("log_table", log_table) if table is None else ("table", table)


def gate_table(name, table, check):
    """Return the cells of the table with the logarithms of their entries."""
    if scipy.sparse.issparse(table):
        shape, index, table = _stored(name, table)
    else:
        shape = index = None
    _, given = gate(check, **{name: (_LOGS if name == "log_table" else WEIGHTS, table)})
    refuse_gradients(**{name: given})
    values = to_host(name, given)
    shape = values.shape if shape is None else shape
    is_log = name == "log_table"
    nothing = -math.inf if is_log else 0.0
    if len(shape) == 0 or values.size == 0 or not (values > nothing).any():
        rule = f"be an array with {'finite' if is_log else 'positive'} entries"
        is_shape = len(shape) == 0 or 0 in shape
        seen = f"got shape {shape}" if is_shape else f"all are {nothing:g}"
        raise bad_value(name, rule, seen)
    logs, shift = (values - values.max(), float(values.max())) if is_log else _logarithms(values)
    if not is_log:
        _refuse_underflow(values, roundoff_of(given) or EPS)
    if index is None:
        index = np.unravel_index(np.arange(values.size), shape)
    return Table(shape, index, logs.reshape(-1), shift)


def _stored(name, table):
    """Return the shape of a sparse table, where its entries lie, and the entries, row by row."""
    if table.ndim != 2:
        raise bad_value(name, "have two axes if it is sparse", f"got shape {table.shape}")
    rows = scipy.sparse.csr_array(table)
    if not rows.has_canonical_format:
        rows = rows.copy()  # what was given stays as it is
        rows.sum_duplicates()
    numbers = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    return rows.shape, (numbers, rows.indices), rows.data


def _logarithms(q):
    """Return log q - shift for a shift near the largest, with digits also where q / max has none.

    Powers of 2 divide without rounding.
    """
    _, exponent = np.frexp(q.max())
    shift = float(exponent) * math.log(2.0)
    with np.errstate(divide="ignore", under="ignore"):
        scaled = np.ldexp(q, -exponent)
        return np.where(scaled > 1e-290, np.log(scaled), np.log(q) - shift), shift


def _refuse_underflow(q, eps):
    """Refuse a table whose zeros look like exponentials too small for the dtype."""
    smallest = math.log(float(np.finfo(np.float32 if eps > 1e-10 else np.float64).tiny))
    if q.all():
        return
    least = float(q[q > 0.0].min())
    if math.log(least) < 0.9 * smallest and math.log(least / q.max()) < _DEEP * smallest:
        raise bad_value(
            "table",
            "have no zeros beside entries close to the smallest number of its dtype",
            f"it has zeros and an entry {least:.6g}, which looks like exponentials that underflow",
            "Give logarithms, fit_margins(margins=margins, log_table=-cost / epsilon) for example: "
            "structural zeros are -inf there.",
        )


def margins_by_name(name, table, order, margins):
    """Return pairs of axes and margins, and the names along the table's axes, {} without any.

    The margins are in the order of these names.
    """
    rule = "margins must be a mapping or a list of pairs (axes, array)"
    if not isinstance(margins, Mapping | list | tuple):
        raise TypeError(f"{rule}: got {type(margins).__name__}.")
    pairs = list(margins.items() if isinstance(margins, Mapping) else margins)
    if not pairs:
        raise bad_value("margins", "hold at least one margin", "there is none")
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise TypeError(f"{rule}: its entries are no pairs.")
    pairs = [(_checked_axes(axes, order), margin) for axes, margin in pairs]
    names = [name, *(name_of(axes) for axes, _ in pairs)]
    along = [tuple(f"axis {i}" for i in axes) for axes in (range(order), *(a for a, _ in pairs))]
    values, found = [margin for _, margin in pairs], {}
    if not all(map(is_nameless, values)):
        table = numbered(along[0], table, *values)
        (_, *values), found = matched(names, along, [table, *values])
    return [(axes, value) for (axes, _), value in zip(pairs, values, strict=True)], found


def gate_margins(shape, margins, check):
    """Return the margins as shares of the first one's total, and their relative rounding."""
    found, roundoff, unit, total = [], EPS, 0.0, 0.0
    for axes, margin in margins:
        name = name_of(axes)
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
        shares = np.minimum(values / unit, _LARGEST)
        total = total or float(shares.sum())
        with np.errstate(divide="ignore"):
            logs = np.log(values) - (math.log(unit) + math.log(total))
        found.append(Margin(axes, shares / total, logs))
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


def name_of(axes):
    """Return what messages call a margin."""
    return f"margin of {'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}"
