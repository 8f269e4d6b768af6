"""What the columns of a sample and their targets ask for: names, covariates and means."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from infogeo import _array
from infogeo._array import bad_value
from infogeo._names import MISSING, is_missing, numbers
from infogeo.maxent._wording import listed

Array = Any

# Entries up to which columns of 0 and 1 are written out: from there on they are kept sparse.
_MANY_ENTRIES = 2_000_000
# How far rounding alone may take the sum of shares from 1, relative to it.
_LOOSE = 2e-6


@dataclass(frozen=True)
class Constraints:
    """Means that are asked for, and the covariates that have them."""

    names: list[str] | None  # (m,); None for the columns of an array
    covariates: Array  # (n, m)
    targets: Array  # (m,)
    tolerance: Array  # () or (m,): how far the means may be off
    is_share: list[bool] | None = None  # (m,): which of the means are shares of levels


@dataclass(frozen=True)
class Reading:
    """How targets are read: what they may be off, and what shares sum to."""

    tolerance: Any
    normalize: bool

    def of_columns(self, columns):
        """Return the function that says how far the means of a column may be off."""
        tolerance = labelled(self.tolerance)
        if np.ndim(tolerance) == 1:
            tolerance = _by_column("tolerance", tolerance, columns)
        if isinstance(tolerance, Mapping):
            _refuse_unknown("tolerance", tolerance, columns)
            return lambda name: _not_negative("tolerance", tolerance.get(name, 0.0))
        number = _not_negative("tolerance", tolerance)
        return lambda name: number


def _not_negative(name, value):
    number = _array.finite_number(name, value)
    if number < 0.0:
        raise bad_value(name, "not be negative", f"got {value!r}")
    return number


def column_names(sample):
    """Return the names of the columns of a frame or table; None for an array."""
    names = getattr(sample, "column_names", None)  # a table of arrow, whose columns are the data
    names = getattr(sample, "columns", None) if names is None else names
    return None if names is None or callable(names) else list(names)


def labelled(targets):
    """Return a series as the mapping from its labels that it is."""
    is_series = hasattr(targets, "to_dict") and getattr(targets, "ndim", 0) == 1
    if not is_series:
        return targets
    repeated = targets.index[targets.index.duplicated()]
    if len(repeated):
        seen = f"{listed(repeated.tolist())} repeat"
        raise bad_value("targets", "name each column or level once", seen)
    return targets.to_dict()


def level_of(value):
    """Return by what a level is found: all missing values are one level."""
    return MISSING if is_missing(value) else value


def values_of(column):
    """Return the entries of a column of any library as a list."""
    if isinstance(column, list | tuple):
        return list(column)
    for name in ("to_list", "to_pylist", "tolist"):
        if hasattr(column, name):
            return getattr(column, name)()
    return np.asarray(column).tolist()


def constraints_of(frame, columns, targets, rows, total, reading):
    """Return what targets ask of some rows of a frame; of all if `rows` is None."""
    repeated = {str(name): None for name in columns if columns.count(name) > 1}
    if repeated:
        seen = f"{listed(repeated)} repeat"
        raise bad_value("covariates", "have columns of different names", seen)
    targets = _by_column("targets", labelled(targets), columns)
    if not targets:
        raise bad_value("targets", "name at least one column", "it is empty")
    _refuse_unknown("targets", targets, columns)
    slack_of = reading.of_columns(columns)
    names, blocks, means, tolerance, is_share = [], [], [], [], []
    for name, target in targets.items():
        target = labelled(target)
        if isinstance(target, Mapping):
            levels, block, shares = _shares(name, frame[name], target, rows, total, reading)
            names += [f"{name} = {level}" for level in levels]
            means += shares
        else:
            block = _numbers(name, frame[name], rows)[:, None]
            names.append(str(name))
            means.append(_array.finite_number(f"the target of {name}", target))
        blocks.append(block)
        tolerance += [slack_of(name)] * block.shape[1]
        is_share += [isinstance(target, Mapping)] * block.shape[1]
    x = _joined(blocks)
    return Constraints(names, x, np.array(means), np.array(tolerance), is_share)


def _by_column(argument, values, columns):
    """Return what there is one of for each column as the mapping from columns that it is."""
    if isinstance(values, Mapping):
        return values
    values = np.asarray(values)
    if values.shape != (len(columns),):
        seen = f"got shape {values.shape} for the columns {listed(columns)}"
        raise bad_value(argument, "have one entry for each column", seen)
    return dict(zip(columns, values.tolist(), strict=True))


def _refuse_unknown(argument, mapping, columns):
    unknown = [name for name in mapping if name not in columns]
    if unknown:
        advice = f"The columns are {listed(columns)}."
        raise bad_value(argument, "name columns", f"there is no {listed(unknown)}", advice)


def _numbers(name, column, rows):
    try:
        array = np.asarray(numbers(f"the column {name}", column))
        is_numeric = array.dtype.kind in "biuf"
    except TypeError:
        is_numeric = False
    if not is_numeric:
        dtype = getattr(column, "dtype", getattr(column, "type", "unknown"))
        raise TypeError(
            f"the column {name} must hold numbers for a target that is a mean: its dtype is "
            f"{dtype}. For categories give their shares, {{level: share}}."
        )
    (wrong,) = np.nonzero(~np.isfinite(array))
    wrong = wrong if rows is None else wrong[np.isin(wrong, rows)]
    if wrong.size:
        seen = f"it has missing or infinite entries in {listed(wrong, 'row')}"
        raise bad_value(f"the column {name}", "be finite", seen, "Drop or impute them.")
    return (array if rows is None else array[rows]).astype(np.float64)


def _shares(name, column, target, rows, total, reading):
    """Return the levels of a column, which row has which, (n, k) sparse, and their shares."""
    values = [level_of(value) for value in values_of(column)]
    values = values if rows is None else [values[i] for i in rows]
    shares = {}
    for label, share in target.items():
        level, number = level_of(label), _array.finite_number(f"the share of {label}", share)
        if level in shares:
            seen = f"{level} repeats"
            raise bad_value(f"the target of {name}", "name each level once", seen)
        shares[level] = number
    place = {level: k for k, level in enumerate(shares)}
    if not place.keys() >= set(values):
        raise _without_share(name, values, place)
    codes = np.array([place[value] for value in values])
    block = (np.ones(codes.size), codes, np.arange(codes.size + 1))
    block = scipy.sparse.csr_array(block, shape=(codes.size, len(place)))
    return list(shares), block, _normalised(name, np.array([*shares.values()]), total, reading)


def _without_share(name, values, place):
    """Build the error of levels that occur and have no share."""
    lacking = list(dict.fromkeys(value for value in values if value not in place))
    seen, advice = f"there is none for {listed(lacking)}", ""
    if MISSING in lacking:
        rows = [i for i, value in enumerate(values) if value is MISSING]
        others = [level for level in lacking if level is not MISSING]
        seen = f"there is none for {listed(others)}, and" if others else ""
        seen = f"{seen} it has no value in {listed(rows, 'row')}".strip()
        advice = (
            "Missing values are a level of their own: give them a share under float('nan'), or "
            "drop or impute these rows."
        )
    return bad_value(f"the target of {name}", "have a share for every level", seen, advice)


def _normalised(name, shares, total, reading):
    """Return shares, or counts that sum to the total, as shares with sum 1."""
    size = float(shares.sum())
    are_counts = total is not None and abs(size - total) <= _LOOSE * total
    is_sum = abs(size - 1.0) <= _LOOSE or are_counts or (reading.normalize and size > 0.0)
    if shares.size == 0 or shares.min() < 0.0 or not is_sum:
        rule = "hold shares that are not negative and sum to 1"
        rule += "" if total is None else f", or counts that sum to the total {total:.9g}"
        seen = f"they are {listed(shares.tolist())} with sum {size:.9g}"
        advice = "normalize=True divides them by their sum." if size > 0.0 else ""
        raise bad_value(f"the target of {name}", rule, seen, advice)
    return (shares / size).tolist()


def _joined(blocks):
    """Return blocks of columns as one array: sparse if they would be large and mostly 0."""
    num_rows, width = blocks[0].shape[0], sum(block.shape[1] for block in blocks)
    is_sparse = [scipy.sparse.issparse(block) for block in blocks]
    if any(is_sparse) and num_rows * width > _MANY_ENTRIES:
        entries = num_rows * len(blocks)
        if 4 * entries < num_rows * width:
            return scipy.sparse.hstack([scipy.sparse.csr_array(b) for b in blocks], format="csr")
    dense = [b.toarray() if sparse else b for b, sparse in zip(blocks, is_sparse, strict=True)]
    return np.hstack(dense)
