"""The names of rows and columns: arguments that share an axis are matched by them.

Frames of pandas and polars, series of pandas, tables of arrow and arrays of xarray have names along
their axes. The first argument with names for an axis says in which order its entries come; those
of the others are put into that order, or refused. Arguments without names go by position.
"""

import re
import sys
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import is_array_api_obj

Labels = Any  # the names along an axis: an index of pandas, or a list; None if it has none


@dataclass(frozen=True)
class Named:
    """An array beside the names of its axes: what points and families keep of the frames given.

    Parameters
    ----------
    array : array
        Of numpy: only its arrays come from things with names.
    names : dict
        From an axis, as `keys` has it, to the names along it.
    """

    array: Any
    names: dict[Hashable, Labels]


def matched(
    names: Sequence[str], axes: Sequence[tuple[str, ...]], given: Sequence[Any]
) -> tuple[list[Any], dict[Hashable, Labels]]:
    """Return arguments as arrays whose entries are in one order, and the names of that order.

    Parameters
    ----------
    names : list of str
        Of the arguments.
    axes : list of tuple of str
        For each argument what its last axes hold, such as ``("features", "outcomes")``. A leading
        "..." says that the axes before them are rows that arguments share, counted from the right.
    given : list
        The arguments. Arrays, lists and numbers are returned as they are.

    Returns
    -------
    list of arrays, dict
        The second from the axes, as `keys` has them, to their names.

    Raises
    ------
    TypeError, ValueError
        Columns that are no numbers; names that differ or repeat.
    """
    order: dict[Hashable, tuple[str, Labels]] = {}
    dims: dict[Hashable, tuple[str, Any]] = {}
    arrays = []
    for name, what, value in zip(names, axes, given, strict=True):
        if is_nameless(value):
            arrays.append(value)
            continue
        value = computed(value)
        if not (hasattr(value, "__array__") or isinstance(value, Named)):
            arrays.append(value)  # the gate says what is wrong with it
            continue
        array = numbers(name, value)
        labels = _labels_by_key(what, value)
        _check_dims(dims, name, [key for key, _ in labels], value)
        for axis, (key, own) in enumerate(labels):
            if key is None or own is None:
                continue
            if key not in order:
                order[key] = name, own
                continue
            positions = positions_of(order[key], (name, own), key)
            if positions is not None:
                array = np.take(np.asarray(array), positions, axis=axis)
        arrays.append(array)
    return arrays, {key: own for key, (_, own) in order.items()}


def _check_dims(
    dims: dict[Hashable, tuple[str, Any]], name: str, its_keys: list[Hashable], value: Any
) -> None:
    """Refuse arrays of xarray that hold different things along an axis that they share."""
    for key, dim in zip(its_keys, getattr(value, "dims", ()), strict=False):
        if key is None or re.fullmatch(r"dim_\d+", str(dim)):  # xarray's names for what has none
            continue
        first, expected = dims.setdefault(key, (name, dim))
        if dim != expected:
            raise ValueError(
                f"{first} and {name} must have the same dimensions: {name} has {dim!r} where "
                f"{first} has {expected!r}. Transpose or rename one of them."
            )


def matched_rows(first: str, rows: Any, name: str, values: Any) -> Any:
    """Return what there is one of for each row, labels for example, in the order of the rows.

    Raises
    ------
    ValueError
        Both have names, and these differ or repeat.
    """
    rows, values = computed(rows), computed(values)
    ours, theirs = labels_of(rows), labels_of(values)
    if ours is None or theirs is None or ours[0] is None or theirs[0] is None:
        return values
    positions = positions_of((first, ours[0]), (name, theirs[0]), ("rows", 1))
    return values if positions is None else np.asarray(values)[positions]


def numbered(axes: tuple[str, ...], value: Any, *others: Any) -> Any:
    """Return an array as one whose entries are named 0, 1, 2, ..., if any of the others has names.

    So a series of frequencies goes beside predictions without names only if it says which number
    each of its classes has.
    """
    if not is_nameless(value) or all(map(is_nameless, others)):
        return value
    array = np.asarray(value) if is_weak(value) else value
    names = zip(keys(axes, len(array.shape)), array.shape, strict=True)
    return Named(array, {key: range(size) for key, size in names if isinstance(key, str)})


def keys(axes: tuple[str, ...], ndim: int) -> list[Hashable]:
    """Return what each axis of an argument is matched by: None for axes of its own."""
    last: list[Hashable] = [axis for axis in axes if axis != "..."]
    num_leading = ndim - len(last)
    if num_leading < 0:
        return last[-ndim:] if ndim else []
    is_shared = len(last) < len(axes)
    leading = [("rows", num_leading - i) if is_shared else None for i in range(num_leading)]
    return [*leading, *last]


def labels_of(value: Any) -> tuple[Labels, ...] | None:
    """Return the names along each axis of a thing that has some, else None."""
    if hasattr(value, "column_names"):  # a table of arrow: its columns are the data
        return None, list(value.column_names)
    if hasattr(value, "dims") and hasattr(value, "coords"):  # an array of xarray
        return tuple(_coordinate(value, dim) for dim in value.dims)
    columns, index = (_names_in(value, attribute) for attribute in ("columns", "index"))
    if columns is not None:
        return index, columns
    return None if index is None else (index,)


def rows_of(value: Any) -> tuple[Any, ...] | None:
    """Return the names of the rows of a frame, a table or an array that has some, else None."""
    labels = labels_of(computed(value)) if not is_nameless(value) else None
    return None if labels is None or labels[0] is None else tuple(map(_plain, labels[0]))


def positions_of(
    first: tuple[str, Labels], other: tuple[str, Labels], key: Hashable
) -> list[int] | None:
    """Return where the other has the names of the first; None if they are in one order already.

    Raises
    ------
    ValueError
        Names that one of them lacks; names that repeat or are missing, unless they are those of
        the same rows.
    """
    (first_name, ours), (name, theirs) = first, other
    size = len(ours) if isinstance(ours, range) else None
    is_row = isinstance(key, tuple)
    what = "rows" if is_row else str(key)
    if is_row and _are_equal(ours, theirs):
        return None
    ours, theirs = ([_key(label) for label in labels] for labels in (ours, theirs))
    for whose, labels in ((first_name, ours), (name, theirs)):
        repeated = [label for label, count in Counter(labels).items() if count > 1]
        if repeated:
            raise ValueError(
                f"{whose} must have each of its {what} once, so that they can be matched by name: "
                f"{listed(repeated)} repeat{'s' if len(repeated) == 1 else ''}."
            )
    if ours == theirs:
        return None
    if is_row and any(map(is_missing, ours)) and any(map(is_missing, theirs)):
        raise ValueError(
            f"{first_name} and {name} must have a name for each row, so that they can be matched "
            "by name: in both that of one row is missing. Give it a name, or leave it out."
        )
    place = {label: i for i, label in enumerate(theirs)}
    known = set(ours)
    missing = [label for label in ours if label not in place]
    extra = [label for label in theirs if label not in known]
    if missing or extra:
        advice = "Rename them, or pass arrays (to_numpy) to go by position."
        if is_row and 1 in (len(ours), len(theirs)):
            advice = "A single row goes beside all others as a series (iloc[0])."
        if size is not None:
            advice = (
                f"{first_name} has no names, so that its {what} count as 0 to {size - 1}. Give it "
                f"names, or pass {name} as an array (to_numpy) in its order."
            )
        raise ValueError(
            f"{first_name} and {name} must have the same names of {what}: "
            f"{_difference(name, missing, extra)}. {advice}"
        )
    return [place[label] for label in ours]


def same_names(ours: Labels, theirs: Labels) -> bool:
    """Tell whether two axes have the same names, each once, in any order."""
    if ours is None or theirs is None:
        return False
    ours, theirs = ([_key(label) for label in labels] for labels in (ours, theirs))
    return len(ours) == len(theirs) == len(set(ours)) and set(ours) == set(theirs)


def _difference(name: str, missing: list[Any], extra: list[Any]) -> str:
    parts = [f"lacks {listed(missing)}"] if missing else []
    parts += [f"has {listed(extra)} besides"] if extra else []
    return f"{name} {' and '.join(parts)}"


def listed(labels: Iterable[Any]) -> str:
    """Return names as a text shows them: of many the first few."""
    shown = [label if label is MISSING else _plain(label) for label in labels]
    text = ", ".join(repr(label) for label in shown[:5])
    return text + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label


class _Missing:
    """The one name of entries whose name is missing: NaN, which does not equal itself."""

    def __repr__(self) -> str:
        return "NaN"


MISSING = _Missing()


def is_missing(label: Any) -> bool:
    """Tell whether a label is none: None, NaN, or what pandas has for missing values."""
    return label is None or _key(label) is MISSING


def _key(label: Any) -> Hashable:
    if type(label) is str:
        return label
    try:
        return MISSING if label != label else label
    except TypeError:  # what pandas has for missing values is neither equal nor different
        return MISSING


def _labels_by_key(axes: tuple[str, ...], value: Any) -> list[tuple[Hashable, Labels]]:
    if isinstance(value, Named):
        return [(key, value.names.get(key)) for key in keys(axes, value.array.ndim)]
    labels = labels_of(value)
    if labels is None:
        return []
    return list(zip(keys(axes, len(labels)), labels, strict=True))


def _names_in(value: Any, attribute: str) -> Labels:
    names = getattr(value, attribute, None)
    is_method = callable(names)  # of lists, and of series of polars
    return None if names is None or is_method else names if hasattr(names, "equals") else [*names]


def _coordinate(array: Any, dim: Any) -> Labels:
    return np.asarray(array.coords[dim]).tolist() if dim in array.coords else None


def _are_equal(ours: Labels, theirs: Labels) -> bool:
    if ours is theirs:
        return True
    if hasattr(ours, "equals"):
        return type(ours) is type(theirs) and bool(ours.equals(theirs))
    return isinstance(theirs, list) and ours == theirs


_WEAK = (bool, int, float, list, tuple, np.generic)  # a tuple, which costs a third of a union


def is_weak(value: Any) -> bool:
    """Whether this is a number or a list, which adopts the library of the other arguments."""
    return isinstance(value, _WEAK)


def is_nameless(value: Any) -> bool:
    """Whether this is an array, a list or a number: nothing that might have names of its axes."""
    return is_weak(value) or is_tensor(value) or is_array_api_obj(value)


def is_tensor(value: Any) -> bool:
    """Whether this is a tensor of torch: without a cache, of which torch.compile would warn."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


# ---------------------------------------------------------------- the numbers of frames


def computed(value: Any) -> Any:
    """Return a frame or series of dask in memory; anything else as it is."""
    is_lazy = hasattr(value, "__dask_graph__") or hasattr(value, "npartitions")
    return value.compute() if is_lazy and hasattr(value, "index") else value


def numbers(name: str, value: Any) -> Any:
    """Return the numbers of a frame, series or table as an array of numpy; NaN for missing ones.

    Arrays, lists and numbers are returned as they are, and so is what numpy makes no array of.

    Raises
    ------
    TypeError
        Columns that hold no real numbers; the message says which.
    """
    if isinstance(value, Named):
        return value.array
    if is_nameless(value) or not hasattr(value, "__array__"):
        return value
    library = type(value).__module__.partition(".")[0]
    if hasattr(value, "infer_objects"):
        return _pandas_numbers(name, value)
    if library == "pandas":  # an index or an array of its own
        return _pandas_numbers(name, sys.modules["pandas"].Series(value))
    if library == "polars":
        return _polars_numbers(name, value)
    return _arrow_numbers(name, value) if library == "pyarrow" else np.asarray(value)


def _pandas_numbers(name: str, value: Any) -> np.ndarray:
    value = value.infer_objects()  # of a row of a frame with other columns the numbers are objects
    columns = value.columns if value.ndim == 2 else [None]
    dtypes = list(value.dtypes) if value.ndim == 2 else [value.dtype]
    _require_numbers(name, columns, dtypes, [getattr(dtype, "kind", "O") for dtype in dtypes])
    if all(isinstance(dtype, np.dtype) for dtype in dtypes):
        dtype = np.result_type(*dtypes) if dtypes else np.dtype(float)
        return value.to_numpy(dtype=dtype)
    plain = [getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", dtype)) for dtype in dtypes]
    floats = [dtype if dtype.kind == "f" else np.dtype(float) for dtype in plain]
    return value.to_numpy(dtype=np.result_type(*floats), na_value=np.nan)


def _polars_numbers(name: str, value: Any) -> np.ndarray:
    is_frame = hasattr(value, "columns")
    columns = value.get_columns() if is_frame else [value]
    dtypes = [column.dtype for column in columns]
    kinds = ["f" if d.is_numeric() else "b" if str(d) == "Boolean" else "O" for d in dtypes]
    if not is_frame and str(dtypes[0]).startswith("Array"):
        return np.asarray(value)  # an array in each row
    _require_numbers(name, [column.name if is_frame else None for column in columns], dtypes, kinds)
    arrays = [
        column.to_numpy() if dtype.is_float() else column.cast(float).to_numpy()
        for column, dtype in zip(columns, dtypes, strict=True)
    ]
    return _stacked(arrays, len(value)) if is_frame else arrays[0]


def _arrow_numbers(name: str, value: Any) -> np.ndarray:
    from pyarrow import types

    is_table = hasattr(value, "column_names")
    columns = list(value.columns) if is_table else [value]
    kinds = [
        "f"
        if any(is_kind(column.type) for is_kind in (types.is_integer, types.is_floating))
        or types.is_decimal(column.type)
        or types.is_boolean(column.type)
        else "O"
        for column in columns
    ]
    labels = value.column_names if is_table else [None]
    _require_numbers(name, labels, [column.type for column in columns], kinds)
    arrays = []
    for column in columns:
        column = column if types.is_floating(column.type) else column.cast("float64")
        arrays.append(np.asarray(column))
    return _stacked(arrays, len(value)) if is_table else arrays[0]


def _stacked(columns: list[np.ndarray], num_rows: int) -> np.ndarray:
    return np.stack(columns, axis=-1) if columns else np.empty((num_rows, 0))


def _require_numbers(name: str, columns: Any, dtypes: list[Any], kinds: list[str]) -> None:
    wrong = [
        (column, dtype)
        for column, dtype, kind in zip(columns, dtypes, kinds, strict=True)
        if kind not in "biuf"
    ]
    if not wrong:
        return
    if wrong[0][0] is None:
        raise TypeError(
            f"{name} must hold real numbers: its dtype is {wrong[0][1]}. Convert it (astype or "
            "cast to float); lists are to be stacked (numpy.stack)."
        )
    seen = ", ".join(f"{_plain(column)!r} is {dtype}" for column, dtype in wrong[:5])
    more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    raise TypeError(
        f"{name} must hold numbers only: of its columns {seen}{more}. Leave out columns that are "
        "no numbers, or convert them (astype or cast to float)."
    )
