"""A column of labels in a file."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from decimal import Decimal

from infogeo.cli import _arrays
from infogeo.cli._tables._file import File, FileErrors
from infogeo.cli._tables._table import Table

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_NONE_AFTER_POINT = re.compile(r"\.0*$")
MISSING = ("", "None", "nan")


def read_labels(path: str, id_column: str | None = None) -> tuple[list[str] | None, list[str]]:
    """Return the labels in a file, as text, and the names of their rows where it has some.

    Parameters
    ----------
    path : str
        A file with one column; or FILE:COLUMN, where the rows have names if `id_column` is given.
    id_column : str or None
        The column that names the rows.
    """
    file = File(path)
    if file.part is not None and file.suffix != ".npz":
        block = Table(file.name, id_column, label_column=file.part, columns=None).whole()
        return (None if id_column is None else block.ids), block.labels or []
    with FileErrors(path):
        if file.suffix == ".npy":
            return None, _of_array(file.name)
        if file.suffix in (".csv", ".tsv"):
            return None, _of_text(file)
        if file.suffix in (".parquet", ".feather", ".arrow"):
            return None, _of_arrow(path)
        raise ValueError(f"name the column with the labels: {path}:COLUMN")


def _of_array(name: str) -> list[str]:
    values = _arrays.open_npy(name)
    if values.ndim != 1 or values.dtype.kind not in "iuUb":
        raise ValueError(
            f"it must be one row of whole numbers or text: its shape is {values.shape}, "
            f"its entries are {_arrays.entries_of(values.dtype)}"
        )
    return [str(value) for value in values.tolist()]


def _of_text(file: File) -> list[str]:
    with file.text() as lines:
        separator = "\t" if file.suffix == ".tsv" else ","
        rows = [row for row in csv.reader(lines, delimiter=separator) if row]
    for number, row in enumerate(rows):
        if len(row) != 1:
            raise ValueError(
                f"line {number + 1} has {len(row)} cells: it must be one column, or named: "
                f"{file.name}:COLUMN"
            )
    return [row[0].strip() for row in rows]


def _of_arrow(path: str) -> list[str]:
    """Return the only column."""
    from infogeo.cli._tables._arrow import columns_of

    names = columns_of(File(path))
    if len(names) != 1:
        raise ValueError(f"it has the columns {', '.join(names[:8])}: name one, {path}:{names[0]}")
    return read_labels(f"{path}:{names[0]}")[1]


def as_classes(*files: Iterable[str]) -> dict[str, str]:
    """Return the class that each label of some files stands for, one of its spellings.

    Labels that are all numbers are read as numbers: pandas writes a column of 1 and 0 in which
    something is missing as 1.0 and 0.0. A file that tells 1.1 from 1.10, or 1 from 01, has names
    for its classes, and so has a file with other text. True, true and TRUE are one class
    where all labels are true or false.
    """
    groups = [list(dict.fromkeys(labels)) for labels in files]
    every = [label for labels in groups for label in labels if label not in MISSING]
    if all(label.lower() in ("true", "false") for label in every):
        keys: dict[str, object] = {label: label.lower() for label in every}
    elif are_numbers(every) and not any(map(_tells_spellings_apart, groups)):
        keys = {label: Decimal(label) for label in every}
    else:
        keys = {}
    names: dict[object, str] = {}
    for label in every:
        key = keys.get(label, label)
        names[key] = min(names.get(key, label), label, key=len)
    return {x: names.get(keys.get(x, x), x) for labels in groups for x in labels}


def are_numbers(labels: Iterable[str]) -> bool:
    """Tell whether all labels are decimal numbers."""
    return all(_NUMBER.fullmatch(label) for label in labels)


def _tells_spellings_apart(labels: list[str]) -> bool:
    """Tell whether a file has two spellings of a number beside 1 and 1.0."""
    found = {_NONE_AFTER_POINT.sub("", label) for label in labels if label not in MISSING}
    return len({Decimal(spelling or "0") for spelling in found}) < len(found)
