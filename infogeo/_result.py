"""What results have in common: a short text, a table for notebooks, their fields as a dict.

The class of a result is a frozen dataclass that derives from `Result`, or from `Table` if its
numbers belong to rows, and that leaves its representation to this module:

.. code-block:: python

    @storable("TraceEstimate")
    @dataclass(frozen=True, eq=False, repr=False)
    class TraceEstimate(Table):
        axes: ClassVar = {"sample": None}

        values: Array
        standard_errors: Array

A class with a summary of its own defines ``__str__``, and its representation is that summary.
"""

import dataclasses
import functools
import html
import importlib
import math
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, ClassVar, final

import numpy as np

from infogeo import _array
from infogeo._array import bad_value
from infogeo._points import Container, fields
from infogeo._status import Status

_WIDTH = 100  # of a line
_NUM_LINES = 15
_NUM_ENTRIES = 4  # that are shown of an array or a list


class Shown:
    """Dataclasses whose text is short, however large the arrays are that they hold."""

    @final
    def __repr__(self) -> str:
        """Show the fields, in one line if they are few numbers; of arrays the first entries."""
        if type(self).__str__ is not object.__str__:
            return str(self)
        name, said = type(self).__name__, _said_fields(self)
        if _constant(self):
            return _constant(self)
        line = f"{name}({', '.join(f'{field}={text}' for field, text in said.items())})"
        if len(line) <= _WIDTH and "..." not in line:
            return line
        said = {field: text for field, text in said.items() if text != "None"}
        rest = list(said)[_NUM_LINES - 2 :]
        listed = {field: text for field, text in said.items() if field not in rest}
        if len(rest) == 1:
            listed[rest.pop()] = said[list(said)[-1]]
        width = max(map(len, listed), default=0)
        lines = [name, *(f"  {field:{width}}  {text}" for field, text in listed.items())]
        if rest:
            lines.append(f"  and {', '.join(rest)}")
        return "\n".join(_clipped(line, _WIDTH) for line in lines)

    @final
    def _repr_html_(self) -> str:
        """Show the same in a notebook: a table of the fields."""
        if type(self).__str__ is not object.__str__:
            return f"<pre>{html.escape(str(self))}</pre>"
        rows = (
            f"<tr><th>{html.escape(field)}</th><td>{html.escape(text)}</td></tr>"
            for field, text in _said_fields(self).items()
        )
        return f"<table><caption>{type(self).__name__}</caption>{''.join(rows)}</table>"


class Result(Shown):
    """What a function of infogeo returns in a class of its own."""

    @final
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by their names.

        Returns
        -------
        dict
            Arrays, numbers and statuses as they are; results, points and tangent vectors inside
            as dicts of their own fields.

        Examples
        --------
        >>> from infogeo import neighbors
        >>> found = neighbors.nearest([[1.0, 0.0], [0.0, 1.0]], num_neighbors=1)
        >>> found.to_dict()["indices"].tolist()
        [[1], [0]]
        """
        return {name: _plain(value) for name, value in _fields_of(self).items()}


class Table(Result):
    """A result whose numbers belong to rows.

    A class declares ``axes``: for each of the axes that its rows run over a name, and the field
    that labels the rows along it, None where they are counted.
    """

    axes: ClassVar[Mapping[str, str | None]]

    @final
    def to_frame(self) -> Any:
        """Return the fields that have one entry for each row, as a frame of pandas.

        Returns
        -------
        pandas.DataFrame
            One column for each such field; the index says which row it is.

        Raises
        ------
        ModuleNotFoundError
            pandas is not installed.
        ValueError
            A result of a batch of another shape.

        Examples
        --------
        >>> from infogeo import neighbors
        >>> found = neighbors.nearest([[1.0, 0.0], [0.0, 1.0]], num_neighbors=1)
        >>> found.to_frame()
                        indices  distances
        query neighbor
        0     0               1   3.141593
        1     0               0   3.141593
        """
        pandas = importlib.import_module("pandas")
        values = _fields_of(self)
        labels = {axis: values.get(field or "") for axis, field in self.axes.items()}
        arrays = {
            name: np.asarray(_array.on_host(value))
            for name, value in values.items()
            if hasattr(value, "shape") and name not in self.axes.values()
        }
        shapes = [array.shape for array in arrays.values() if array.ndim == len(labels)]
        if not shapes:
            seen = ", ".join(f"{name} of shape {array.shape}" for name, array in arrays.items())
            rows = " and ".join(labels)
            raise bad_value("the result", f"have one row for each {rows}", f"it has {seen}")
        index = pandas.MultiIndex.from_product(
            [
                range(length) if along is None else list(along)
                for along, length in zip(labels.values(), shapes[0], strict=True)
            ],
            names=list(labels),
        )
        columns = {name: x.ravel() for name, x in arrays.items() if x.shape == shapes[0]}
        one_axis = index.get_level_values(0) if len(labels) == 1 else index
        return pandas.DataFrame(columns, index=one_axis)


def _fields_of(result: Any) -> dict[str, Any]:
    return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}


def _plain(value: Any) -> Any:
    """Return results and points as dicts, also inside tuples; anything else as it is."""
    if isinstance(value, Result):
        return value.to_dict()
    if isinstance(value, Container):
        return dict(zip(value.rules, fields(value), strict=True))
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


# ---------------------------------------------------------------- texts


def _constant(shown: Any) -> str:
    """Return the name of an object that the module of its class exports, "" for any other."""
    module = sys.modules[type(shown).__module__]
    names = (name for name in getattr(module, "__all__", ()) if getattr(module, name) is shown)
    return next((f"{module.__name__.rpartition('.')[2]}.{name}" for name in names), "")


def _said_fields(shown: Any) -> dict[str, str]:
    shown_fields = (field.name for field in dataclasses.fields(shown) if field.repr)
    return {name: _said(getattr(shown, name)) for name in shown_fields}


def _said(value: Any) -> str:
    """Return a text of one line for any value, without addresses in memory."""
    if isinstance(value, Status):
        return f"{value.name}: {value.value}" if value.value != value.name.lower() else value.value
    if isinstance(value, Shown):
        status = getattr(value, "status", None)
        return _constant(value) or f"{type(value).__name__}{f' ({status.name})' if status else ''}"
    if isinstance(value, Mapping):
        return f"{len(value)} entries: {_listed([str(key) for key in value])}"
    if isinstance(value, tuple | list):
        return _said_list(value)
    if isinstance(value, ModuleType):
        return value.__name__
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return _said_array(value)
    if callable(value):
        value = value.func if isinstance(value, functools.partial) else value
        return getattr(value, "__qualname__", type(value).__name__)
    return _said_entry(value)


def _said_list(values: Any) -> str:
    if len(values) > _NUM_ENTRIES and all(isinstance(value, Shown) for value in values):
        return f"{len(values)} of {type(values[0]).__name__}"
    shown = _listed([_said(value) for value in values[: _NUM_ENTRIES + 1]], len(values))
    return f"({shown})" if isinstance(values, tuple) else f"[{shown}]"


def _said_array(x: Any) -> str:
    """Return dtype, shape and the first entries of an array; of a single number the number."""
    shape = tuple(x.shape)
    if isinstance(x, np.ndarray | np.generic) or _array.is_readable(x):
        row = _array.on_host(x)
        if 0 not in shape and not hasattr(row, "tocsr"):  # a sparse matrix has no rows to look at
            while len(row.shape) > 1:
                row = row[0]
            entries = np.asarray(row if shape == () else row[: _NUM_ENTRIES + 1])
            if shape == ():
                return _said_entry(entries.tolist())
            said = [_said_entry(entry) for entry in entries.tolist()]
            listed = f"[{_listed(said, math.prod(shape))}]"
            if math.prod(shape) <= _NUM_ENTRIES and len(shape) == 1:
                return listed
            return f"{x.dtype} {shape} {listed}"
    return f"{x.dtype} {shape}"


def _listed(texts: list[str], length: int | None = None) -> str:
    length = len(texts) if length is None else length
    return ", ".join([*texts[:_NUM_ENTRIES], *["..."] * (length > _NUM_ENTRIES)])


def _said_entry(value: Any) -> str:
    """Return the text of a number, a name or another small object."""
    if isinstance(value, Status):
        return value.name
    text = repr(value)
    if isinstance(value, float) and len(text) > 8:
        return f"{value:.6g}"
    if " at 0x" in text:
        return type(value).__name__
    return _clipped(text, 60)


def _clipped(text: str, width: int) -> str:
    text = text.partition("\n")[0]
    return text if len(text) <= width else f"{text[: width - 4]} ..."
