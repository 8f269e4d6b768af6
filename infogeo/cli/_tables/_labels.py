"""A column of labels in a file."""

from __future__ import annotations

import csv

from infogeo.cli import _arrays
from infogeo.cli._tables._file import File, FileErrors
from infogeo.cli._tables._table import Table


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
