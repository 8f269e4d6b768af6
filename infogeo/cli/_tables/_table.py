"""A table in a file, in blocks of rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from infogeo.cli._common import UsageError
from infogeo.cli._tables._arrow import open_feather, open_parquet
from infogeo.cli._tables._file import File, FileErrors
from infogeo.cli._tables._json_lines import open_json_lines
from infogeo.cli._tables._npy import open_npy, open_npz
from infogeo.cli._tables._selection import Selection, Source
from infogeo.cli._tables._text import open_text

NUMBERS_AT_ONCE = 2**21  # 16 MiB of float64

_READERS: dict[str, Callable[[File, Selection], Source]] = {
    ".csv": open_text,
    ".tsv": open_text,
    ".jsonl": open_json_lines,
    ".ndjson": open_json_lines,
    ".npy": open_npy,
    ".npz": open_npz,
    ".parquet": open_parquet,
    ".feather": open_feather,
    ".arrow": open_feather,
}


@dataclass(frozen=True)
class Block:
    """Some rows of a table.

    Parameters
    ----------
    rows : list of int
        Their numbers in the file.
    names : list of str or None
        The names of the rows, if a column has them.
    values : array, shape (n, c)
        Their numbers.
    labels : list of str or None
        What the column of labels has for them.
    """

    rows: Sequence[int]
    names: list[str] | None
    values: np.ndarray
    labels: list[str] | None = None

    @cached_property
    def ids(self) -> list[str]:
        """The names of the rows, else their numbers."""
        return [str(row) for row in self.rows] if self.names is None else self.names

    def take(self, places: Sequence[int]) -> Block:
        """Return some of the rows, in an order of their own."""
        rows, ids = [self.rows[i] for i in places], [self.ids[i] for i in places]
        labels = None if self.labels is None else [self.labels[i] for i in places]
        return Block(rows, ids, self.values[list(places)], labels)


def joined(blocks: Sequence[Block]) -> Block:
    """Return blocks as one."""
    rows = list(itertools.chain.from_iterable(block.rows for block in blocks))
    names, labels = (
        None if None in columns else [x for some in columns for x in some or ()]
        for columns in zip(*((block.names, block.labels) for block in blocks), strict=True)
    )
    return Block(rows, names, np.concatenate([block.values for block in blocks]), labels)


class Table:
    """A table in a file.

    Parameters
    ----------
    path : str
        The file, or - for standard input. An array of an npz file with several, or a column with
        a list in each row, is named after a colon.
    id_column : str or None
        The column that names the rows; None if there is none.
    label_column : str or None
        The column with the label of each row.
    columns : tuple of str or None
        The columns with the numbers: all others if it is empty, none if it is None.
    ignored : tuple of str
        Columns to leave out.
    stdin_format : str
        What standard input holds.
    """

    def __init__(
        self,
        path: str,
        id_column: str | None = None,
        *,
        label_column: str | None = None,
        columns: tuple[str, ...] | None = (),
        ignored: tuple[str, ...] = (),
        stdin_format: str = "csv",
    ) -> None:
        file = File(path, stdin_format)
        self.path = "standard input" if file.is_stdin else path
        with FileErrors(self.path):
            selection = Selection(id_column, label_column, columns, ignored)
            source = _READERS[file.suffix](file, selection)
        if source.num_columns < 1 and columns is not None:
            raise UsageError(f"{self.path}: it has no columns of numbers")
        self._read, self.columns, self.num_columns = source.read, source.columns, source.num_columns
        self.num_rows, self.has_ids = source.num_rows, source.has_ids
        self.is_indexed = source.is_indexed

    @property
    def block_rows(self) -> int:
        """How many rows are read at a time."""
        return max(1, NUMBERS_AT_ONCE // max(1, self.num_columns))

    def blocks(self, like: Table | None = None, rows: int | None = None) -> Iterator[Block]:
        """Iterate over the table in blocks, its columns in the order of another table's."""
        order = None if like is None else self._order_of(like)
        first = 0
        with FileErrors(self.path):
            for part in self._read(rows or self.block_rows):
                values = part.values if order is None else part.values[:, order]
                if values.dtype.kind in "iub" or values.dtype.itemsize > 8:  # long doubles
                    values = values.astype(np.float64)
                numbers = range(first, first + len(values))
                yield Block(numbers, part.ids or None, values, part.labels)
                first += len(values)
        if first == 0:
            raise UsageError(f"{self.path}: it has no rows")

    def whole(self, like: Table | None = None) -> Block:
        """Return the table as one block, for what needs all of its rows at once."""
        return joined(list(self.blocks(like)))

    def _order_of(self, other: Table) -> list[int] | None:
        """Return the positions of the other table's columns here; by name where both have them."""
        has_names = self.columns is not None and other.columns is not None
        if self.num_columns != other.num_columns:
            raise UsageError(
                f"{self.path} has {self.num_columns} classes, {other.path} {other.num_columns}"
                + (f": {_difference(self, other)}" if has_names else "")
            )
        if self.columns is None or other.columns is None or self.columns == other.columns:
            return None
        if set(self.columns) != set(other.columns):
            raise UsageError(f"{self.path} and {other.path}: {_difference(self, other)}")
        return [self.columns.index(column) for column in other.columns]


def _difference(a: Table, b: Table) -> str:
    only = sorted(set(a.columns or ()) ^ set(b.columns or ()))
    return f"only one has the column {only[0]}. --ignore leaves columns out"
