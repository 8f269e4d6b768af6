"""Tables of arrow: parquet and feather files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from infogeo._system.extras import is_installed
from infogeo.cli import _arrays
from infogeo.cli._common import UsageError
from infogeo.cli._tables._file import File
from infogeo.cli._tables._selection import Part, Selection, Source, require_distinct

if TYPE_CHECKING:
    import pyarrow


def open_parquet(file: File, selection: Selection) -> Source:
    """Open a table of columns; or the column that is named, or the only one, with lists."""
    _require_pyarrow(file, "parquet")
    words = "it is no parquet file, or a damaged one"
    with _arrays.parsing(words), _parquet_file(file) as opened:
        schema, total = opened.schema_arrow, opened.metadata.num_rows
        stored = schema.pandas_metadata
    return _Columns(schema, stored, total, partial(_parquet_batches, file), words).open(
        file, selection
    )


def open_feather(file: File, selection: Selection) -> Source:
    """Open a table of columns; or the column that is named, or the only one, with lists."""
    _require_pyarrow(file, "feather")
    words = "it is no feather file of version 2, or a damaged one"
    with _arrays.parsing(words), _feather_file(file, None) as opened:
        schema, stored = opened.schema, opened.schema.pandas_metadata
    return _Columns(schema, stored, None, partial(_feather_batches, file, schema), words).open(
        file, selection
    )


def columns_of(file: File) -> list[str]:
    """Return the names of the columns of a file, the index of pandas left out."""
    is_parquet = file.suffix == ".parquet"
    _require_pyarrow(file, file.suffix[1:])
    with (
        _arrays.parsing("it is no file of arrow, or a damaged one"),
        _parquet_file(file) if is_parquet else _feather_file(file, None) as opened,
    ):
        schema = opened.schema_arrow if is_parquet else opened.schema
        index, _ = _index_of_pandas(schema.pandas_metadata, schema.names)
    return [name for name in schema.names if name not in index]


def _require_pyarrow(file: File, kind: str) -> None:
    if not is_installed("pyarrow"):
        raise UsageError(f"{file.name}: {kind} files need pyarrow: pip install 'infogeo[parquet]'")


# ---------------------------------------------------------------- files


def _parquet_file(file: File) -> pyarrow.parquet.ParquetFile:
    from pyarrow import parquet

    # Read through small buffers: by default a group of rows, often all of them, is held at once.
    source = file.open() if file.is_stdin else file.name
    return parquet.ParquetFile(source, buffer_size=2**16, pre_buffer=False)


def _parquet_batches(file: File, rows: int, columns: list[str]) -> Iterator[pyarrow.RecordBatch]:
    with _parquet_file(file) as opened:
        yield from opened.iter_batches(batch_size=rows, columns=columns)


@contextlib.contextmanager
def _feather_file(file: File, fields: list[int] | None) -> Iterator[pyarrow.RecordBatchFileReader]:
    import pyarrow as pa

    options = pa.ipc.IpcReadOptions(included_fields=fields)
    with pa.PythonFile(file.open(), "r") if file.is_stdin else pa.memory_map(file.name) as source:
        yield pa.ipc.open_file(source, options=options)


def _feather_batches(
    file: File, schema: pyarrow.Schema, rows: int, columns: list[str]
) -> Iterator[pyarrow.RecordBatch]:
    with _feather_file(file, [schema.names.index(column) for column in columns]) as opened:
        for i in range(opened.num_record_batches):
            batch = opened.get_batch(i)
            for start in range(0, batch.num_rows, rows):
                yield batch.slice(start, rows)


# ---------------------------------------------------------------- columns


@dataclass(frozen=True)
class _Columns:
    """The columns of a file.

    Parameters
    ----------
    schema : pyarrow.Schema
        Their names and types.
    stored : dict or None
        What pandas has stored beside them.
    num_rows : int or None
        How many rows there are, where that is known.
    read : callable
        From a number of rows and names of columns to batches of that many rows or fewer.
    words : str
        What is said of damaged files.
    """

    schema: pyarrow.Schema
    stored: Any
    num_rows: int | None
    read: Callable[[int, list[str]], Iterator[pyarrow.RecordBatch]]
    words: str

    def open(self, file: File, selection: Selection) -> Source:
        names, lists = self.schema.names, None if selection.columns is None else file.part
        require_distinct(names)
        index, numbers = _index_of_pandas(self.stored, names)
        title = None if numbers is None else _title_of_numbers(self.stored)
        if title is not None and title == selection.ids and title not in names:
            selection = replace(selection, ids=None)  # the names of rows stand in no column
        if lists is not None and lists not in names:
            raise ValueError(f"it has no column {lists}: its columns are {', '.join(names[:8])}")
        columns = selection.numbers_among(names, index)
        is_indexed = selection.ids is None and bool(self.stored)
        is_numbered = (
            selection.ids is None and numbers is not None and self.num_rows in (len(numbers), None)
        )
        rows = _RowNames(
            index if selection.ids is None else [selection.ids],
            numbers if is_numbered else None,
            selection.labels,
        )
        kinds = {column: _kind(self.schema, column) for column in columns}
        if lists is None and len(columns) == 1 and _is_list(kinds[columns[0]]):
            lists = columns[0]
        if lists is not None:
            return self._open_lists(file, lists, rows)
        for column, kind in kinds.items():
            _require_numbers(file.name, column, kind)

        def read(count: int) -> Iterator[Part]:
            for batch, first in self._batches(count, columns, rows):
                arrays = [_numbers(batch.column(column)) for column in columns]
                values = np.stack(arrays, axis=-1) if arrays else np.empty((batch.num_rows, 0))
                yield Part(rows.of(batch, first), rows.labels_of(batch), values)

        return Source(columns, len(columns), self.num_rows, rows.are_known, read, is_indexed)

    def _open_lists(self, file: File, column: str, rows: _RowNames) -> Source:
        """Open a column with a whole prediction in each row, as data sets of models have them."""
        kind = _kind(self.schema, column)
        if not _is_list(kind):
            raise ValueError(
                f"column {column} must hold lists of numbers: it is of type {_short(kind)}"
            )
        _require_numbers(file.name, column, kind.value_type)
        first = next(self._batches(1, [column], _RowNames([], None, None)), None)
        if first is None:
            raise ValueError("it has no rows")
        (width,) = _lengths(first[0].column(column))
        if width == 0:
            raise ValueError(f"column {column} has no numbers in row 0")

        def read(count: int) -> Iterator[Part]:
            for batch, start in self._batches(count, [column], rows):
                lengths = _lengths(batch.column(column))
                (others,) = np.nonzero(lengths != width)
                if others.size:
                    raise ValueError(
                        f"column {column} has {lengths[others[0]]} numbers in row "
                        f"{start + others[0]} and {width} in row 0"
                    )
                values = _numbers(batch.column(column).flatten()).reshape(-1, width)
                yield Part(rows.of(batch, start), rows.labels_of(batch), values)

        return Source(None, int(width), self.num_rows, rows.are_known, read)

    def _batches(
        self, count: int, columns: list[str], rows: _RowNames
    ) -> Iterator[tuple[pyarrow.RecordBatch, int]]:
        """Yield the batches of columns and of the names of rows, each with its first row."""
        first, batches = 0, self.read(count, list(dict.fromkeys([*columns, *rows.stored])))
        while True:
            with _arrays.parsing(self.words):
                batch = next(batches, None)
                if batch is None:
                    return
                batch.validate(full=True)
            yield batch, first
            first += batch.num_rows


@dataclass(frozen=True)
class _RowNames:
    """Where the names and the labels of the rows stand.

    Parameters
    ----------
    columns : list of str
        The columns that hold them: of an index with several levels there are several.
    numbers : range or None
        The numbers that stand for them where pandas stored these without a column.
    labels : str or None
        The column with the labels.
    """

    columns: list[str]
    numbers: range | None
    labels: str | None

    @property
    def stored(self) -> list[str]:
        return self.columns if self.labels is None else [*self.columns, self.labels]

    @property
    def are_known(self) -> bool:
        return bool(self.columns) or self.numbers is not None

    def of(self, batch: pyarrow.RecordBatch, first: int) -> list[str] | None:
        """Return the names of the rows of a batch that starts with a row of the file."""
        if not self.columns:
            rows = range(first, first + batch.num_rows)
            if self.numbers is None:
                return None
            if rows.stop > len(self.numbers):
                raise ValueError("pandas has stored fewer numbers of rows than it has rows")
            return [str(self.numbers[row]) for row in rows]
        cells = zip(*(batch.column(name).to_pylist() for name in self.columns), strict=True)
        return [", ".join(map(str, row)) for row in cells]

    def labels_of(self, batch: pyarrow.RecordBatch) -> list[str] | None:
        if self.labels is None:
            return None
        return [str(label) for label in batch.column(self.labels).to_pylist()]


def _index_of_pandas(stored: Any, names: list[str]) -> tuple[list[str], range | None]:
    """Return the columns that pandas wrote as an index, and the numbers that it stored as one."""
    index = stored.get("index_columns") if isinstance(stored, dict) else None
    index = index if isinstance(index, list) else []
    columns = [entry for entry in index if isinstance(entry, str) and entry in names]
    counted = next((entry for entry in index if isinstance(entry, dict)), {})
    limits: list[Any] = [counted.get(key) for key in ("start", "stop", "step")]
    is_range = all(type(limit) is int for limit in limits) and limits[2] != 0
    # Numbers 0, 1, 2, ... without a title are what pandas writes for rows without names.
    is_plain = limits[0] == 0 and limits[2] == 1 and counted.get("name") is None
    return columns, range(*limits) if is_range and not is_plain else None


def _title_of_numbers(stored: Any) -> Any:
    """Return the title of numbers of rows that pandas has stored without a column."""
    return next(entry for entry in stored["index_columns"] if isinstance(entry, dict)).get("name")


def _kind(schema: pyarrow.Schema, column: str) -> pyarrow.DataType:
    """Return the type of what a column holds, written out or by numbers of a dictionary."""
    from pyarrow import types

    kind = schema.field(column).type
    return kind.value_type if types.is_dictionary(kind) else kind


def _numbers(column: pyarrow.Array) -> np.ndarray:
    from pyarrow import types

    column = column.dictionary_decode() if types.is_dictionary(column.type) else column
    is_exact = types.is_boolean(column.type) or types.is_decimal(column.type)
    return as_numpy(column.cast("float64") if is_exact else column)


def as_numpy(column: pyarrow.Array) -> np.ndarray:
    """Return an array of numbers. Only where something is missing is pandas imported for it."""
    if column.null_count or not len(column):
        return column.to_numpy(zero_copy_only=False)
    return np.from_dlpack(column)


def _lengths(lists: pyarrow.Array) -> np.ndarray:
    from pyarrow import compute

    return as_numpy(compute.list_value_length(lists).fill_null(0))


def _is_list(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _require_numbers(name: str, column: str, kind: pyarrow.DataType) -> None:
    from pyarrow import types

    if types.is_integer(kind) or types.is_floating(kind):
        return
    if types.is_boolean(kind) or types.is_decimal(kind):
        return
    if _is_list(kind) and types.is_floating(kind.value_type):
        way_out = f"If its lists are the predictions, name it: {name}:{column}"
    elif types.is_nested(kind):
        way_out = "Write its entries as columns of numbers"
    else:
        way_out = "If it names the rows, give --id and its name"
    raise ValueError(f"column {column} must hold numbers: it is of type {_short(kind)}. {way_out}")


def _short(kind: pyarrow.DataType) -> str:
    text = str(kind)
    return text if len(text) <= 60 else text[:57] + "..."
