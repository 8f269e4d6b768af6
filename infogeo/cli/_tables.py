"""Tables of predictions in files, read in blocks of rows: csv, npy, npz and parquet.

A table is given by its file; its rows are distributions or logits, its columns classes. Nothing
is unpickled, and of files larger than memory only a block is held at a time.
"""

from __future__ import annotations

import csv
import itertools
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from infogeo._array import LOGITS, PROBABILITIES, Rule, gate, look_like_probabilities
from infogeo._system.extras import is_installed
from infogeo.cli import _arrays
from infogeo.cli._common import UsageError

if TYPE_CHECKING:
    import pyarrow


_NUMBERS_AT_ONCE = 2**21  # 16 MiB of float64


@dataclass(frozen=True)
class Block:
    """Some rows of a table, one after the other.

    Parameters
    ----------
    first : int
        The number of its first row in the file.
    ids : list of str
        The names of the rows: of the column of ids, else their numbers.
    values : array, shape (n, c)
        Their numbers.
    """

    first: int
    ids: list[str]
    values: np.ndarray


@dataclass(frozen=True)
class _Source:
    """What a file turns out to be: its classes, its rows if that is known, and how to read it."""

    columns: list[str] | None  # names, or None
    num_columns: int
    num_rows: int | None  # None: only reading tells
    has_ids: bool
    # read(rows): yields (ids or None, values) for that many rows at a time
    read: Callable[[int], Iterator[tuple[list[str] | None, np.ndarray]]]
    is_indexed: bool = False  # whether pandas has numbered or named the rows


class Table:
    """A table in a file.

    Parameters
    ----------
    path : str
        The file; an array of an npz file with several is named after a colon.
    id_column : str or None
        The column that names the rows; None if there is none.
    """

    def __init__(self, path: str, id_column: str | None = None) -> None:
        self.path = path
        name, array = _arrays.split_name(path)
        suffix = Path(name).suffix.lower()
        if suffix not in _READERS:
            known = ", ".join(_READERS)
            raise UsageError(f"{path}: the name must end in one of {known}")
        if id_column is not None and suffix in (".npy", ".npz"):
            raise UsageError(f"{path}: an array has no columns by name, so none is {id_column}")
        with _FileErrors(path):
            source = _READERS[suffix](name, array, id_column)
        if source.num_columns < 1:
            raise UsageError(f"{path}: it has no columns of numbers")
        self._read, self.columns, self.num_columns = source.read, source.columns, source.num_columns
        self.num_rows, self.has_ids = source.num_rows, source.has_ids
        self.is_indexed = source.is_indexed

    @property
    def block_rows(self) -> int:
        """How many rows are read at a time."""
        return max(1, _NUMBERS_AT_ONCE // self.num_columns)

    def blocks(self, like: Table | None = None, rows: int | None = None) -> Iterator[Block]:
        """Yield the table in blocks, its columns in the order of another table's."""
        order = None if like is None else self._order_of(like)
        first = 0
        with _FileErrors(self.path):
            for ids, values in self._read(rows or self.block_rows):
                values = values if order is None else values[:, order]
                if values.dtype.kind in "iub" or values.dtype.itemsize > 8:  # long doubles
                    values = values.astype(np.float64)
                names = ids or [str(row) for row in range(first, first + len(values))]
                yield Block(first, names, values)
                first += len(values)
        if first == 0:
            raise UsageError(f"{self.path}: it has no rows")

    def whole(self, like: Table | None = None) -> Block:
        """Return the table as one block, for what needs all of its rows at once."""
        blocks = list(self.blocks(like))
        ids = list(itertools.chain.from_iterable(block.ids for block in blocks))
        return Block(0, ids, np.concatenate([block.values for block in blocks]))

    def _order_of(self, other: Table) -> list[int] | None:
        """Return the positions of the other table's columns here; by name where both have them."""
        if self.num_columns != other.num_columns:
            raise UsageError(
                f"{self.path} has {self.num_columns} classes, {other.path} {other.num_columns}"
            )
        if self.columns is None or other.columns is None or self.columns == other.columns:
            return None
        if set(self.columns) != set(other.columns):
            only = sorted(set(self.columns) ^ set(other.columns))
            raise UsageError(f"{self.path} and {other.path}: only one has the column {only[0]}")
        return [self.columns.index(column) for column in other.columns]


class _FileErrors:
    """Turn what reading a file can raise into one line that names the file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError) and error.strerror:
            raise UsageError(f"cannot read {self.path}: {error.strerror}") from None
        if isinstance(error, UnicodeDecodeError):
            raise UsageError(f"{self.path}: it is no text in UTF-8: save it as such") from None
        if isinstance(error, ValueError | csv.Error):
            raise UsageError(f"{self.path}: {error}") from None


# ---------------------------------------------------------------- arrays


def _open_npy(name: str, array: str | None, id_column: str | None) -> _Source:
    values = _arrays.open_npy(name)
    _require_table(values.shape, values.dtype)

    def read(rows: int) -> Iterator[tuple[list[str] | None, np.ndarray]]:
        for first in range(0, len(values), rows):
            yield None, np.ascontiguousarray(values[first : first + rows])

    return _Source(None, values.shape[1], values.shape[0], False, read)


def _open_npz(name: str, array: str | None, id_column: str | None) -> _Source:
    with _arrays.npz_member(name, array) as member:
        header = _arrays.read_header(member, _arrays.NO_NPZ)
    shape, dtype = header.shape, header.dtype
    _require_table(shape, dtype)

    def read(rows: int) -> Iterator[tuple[list[str] | None, np.ndarray]]:
        if header.is_by_columns:  # rows lie apart: no way round holding all of it
            values = _arrays.read_npz(name, array)
            for first in range(0, len(values), rows):
                yield None, np.ascontiguousarray(values[first : first + rows])
            return
        with _arrays.npz_member(name, array) as member:
            _arrays.read_header(member, _arrays.NO_NPZ)
            for first in range(0, shape[0], rows):
                count = min(rows, shape[0] - first)
                size = count * shape[1] * dtype.itemsize
                data = _arrays.read_bytes(member, size)
                if len(data) < size:
                    raise ValueError(f"it breaks off in row {first + len(data) * count // size}")
                yield None, np.frombuffer(data, dtype).reshape(count, shape[1])

    return _Source(None, shape[1], shape[0], False, read)


def _require_table(shape: tuple[int, ...], dtype: np.dtype) -> None:
    if dtype.kind not in "fiu":
        raise ValueError(f"it must hold real numbers: its entries are {_arrays.entries_of(dtype)}")
    if len(shape) != 2:
        raise ValueError(f"it must be a table of rows and classes: its shape is {shape}")


# ---------------------------------------------------------------- csv


def _open_csv(name: str, array: str | None, id_column: str | None) -> _Source:
    with open(name, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = next((row for row in reader if any(cell.strip() for cell in row)), None)
        num_lines = reader.line_num  # a name in quotes may have several
        second = next((row for row in reader if any(cell.strip() for cell in row)), None)
    if header is None:
        raise ValueError("it is empty")
    header = [cell.strip() for cell in header]
    has_names = not all(map(_is_number, header)) or _are_numbered_classes(header, second)
    if has_names:
        if "" in header[1:]:  # a name that is missing, or a number of a file without names
            raise ValueError(
                f"column {header.index('', 1) + 1} has no name or number in its line 1"
            )
        if id_column is None and header[0] == "":  # so pandas writes an index
            id_column = ""
        _require_names(header, id_column)
        _require_distinct(header)
    if id_column is not None and (not has_names or id_column not in header):
        seen = (
            f"its columns are {', '.join(header[:8])}" if has_names else "its columns have no names"
        )
        raise ValueError(f"it has no column {id_column}: {seen}")
    chosen = [i for i, cell in enumerate(header) if not (has_names and cell == id_column)]
    columns = [header[i] for i in chosen] if has_names else None

    def read(rows: int) -> Iterator[tuple[list[str] | None, np.ndarray]]:
        with open(name, encoding="utf-8-sig", newline="") as file:
            lines = itertools.islice(file, num_lines if has_names else 0, None)
            first = 0
            while block := list(itertools.islice(lines, rows)):
                block = [line for line in block if line.strip()]
                if not block:
                    continue
                values = _parse(block, chosen, len(header), first)
                ids = None
                if id_column is not None:
                    cells = list(csv.reader(block))
                    _check_widths(cells, len(header), first)
                    ids = [row[header.index(id_column)].strip() for row in cells]
                yield ids, values
                first += len(values)

    return _Source(columns, len(chosen), None, id_column is not None, read)


def _are_numbered_classes(header: list[str], second: list[str] | None) -> bool:
    """Tell whether numbers are names: 0, 1, 2, ... or 1, 2, 3, ..."""
    counted = [[str(i) for i in range(first, first + len(header))] for first in (0, 1)]
    if header not in counted:
        return False
    # Of two classes, 0 and 1 may also be a prediction that is certain, among others.
    certain = ({"0", "1"}, {"0"}, {"1"})
    return len(header) > 2 or second is None or {cell.strip() for cell in second} not in certain


def _require_names(header: list[str], id_column: str | None) -> None:
    """Refuse a first line that holds a prediction with a gap in it: fractions beside text."""
    cells = [(i, cell) for i, cell in enumerate(header, start=1) if cell != id_column]
    number = next((cell for _, cell in cells if _is_fraction(cell)), None)
    if number is None or all(_is_number(cell) for _, cell in cells):
        return
    i, text = next((i, cell) for i, cell in cells if not _is_number(cell))
    raise ValueError(
        f"its line 1 has {text[:40]!r} in column {i}, which is no number, and {number[:40]}, which "
        "is no name. Mend the number or, if the columns have no names, put a line of names above. "
        "If a column names the rows, give --id and its name"
    )


def _is_fraction(cell: str) -> bool:
    return "." in cell and _is_number(cell)


def _parse(lines: list[str], chosen: list[int], width: int, first: int) -> np.ndarray:
    """Return the numbers of some lines, or say in which row they break off."""
    # Of chosen columns numpy does not see what lies beyond them.
    columns = chosen if len(chosen) < width else None
    try:
        values = np.loadtxt(
            lines, delimiter=",", usecols=columns, ndmin=2, comments=None, quotechar='"'
        )
    except ValueError:
        for number, row in enumerate(csv.reader(lines), start=first):
            _check_widths([row], width, number)
            for i in chosen:
                if not _is_number(row[i]):
                    raise ValueError(_explain_cell(number, row[i].strip(), i, width)) from None
        raise
    if values.shape[1] != len(chosen):
        _check_widths(csv.reader(lines), width, first)
    return values


def _check_widths(rows: Iterable[list[str]], width: int, first: int) -> None:
    for number, row in enumerate(rows, start=first):
        if len(row) == width:
            continue
        text = ",".join(row)
        if width == 1 and (";" in text or "\t" in text):
            raise ValueError(_explain_cell(number, text, 0, width))
        raise ValueError(f"row {number} has {len(row)} cells, the first {width}")


def _explain_cell(number: int, text: str, column: int, width: int) -> str:
    if not text:
        return f"row {number} has an empty cell in column {column + 1}"
    if width == 1 and (";" in text or "\t" in text):
        return f"its cells must be separated by commas: row {number} is {text[:40]!r}"
    return (
        f"row {number} has {text[:40]!r} in column {column + 1}, which is no number. If it names "
        "the row, give --id and the column's name"
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # 1_000 is a number for Python alone


# ---------------------------------------------------------------- parquet

_NO_PARQUET = "it is no parquet file, or a damaged one"


def _open_parquet(name: str, lists: str | None, id_column: str | None) -> _Source:
    """Open a table of columns; or the column `lists`, or the only one, with a list in each row."""
    if not is_installed("pyarrow"):
        raise UsageError(f"{name}: parquet files need pyarrow: pip install 'infogeo[parquet]'")
    with _arrays.parsing(_NO_PARQUET), _parquet_file(name) as file:
        schema, total = file.schema_arrow, file.metadata.num_rows
        stored = schema.pandas_metadata
    _require_distinct(schema.names)
    index, numbers = _index_of_pandas(stored, schema.names)
    is_indexed = id_column is None and bool(stored)
    for column in (id_column, lists):
        if column is not None and column not in schema.names:
            raise ValueError(
                f"it has no column {column}: its columns are {', '.join(schema.names[:8])}"
            )
    is_numbered = id_column is None and numbers is not None and len(numbers) == total
    names = _RowNames([id_column] if id_column else index, numbers if is_numbered else None)
    columns = [column for column in schema.names if column not in {id_column, *index}]
    kinds = {column: schema.field(column).type for column in columns}
    if lists is None and len(columns) == 1 and _is_list(kinds[columns[0]]):
        lists = columns[0]
    if lists is not None:
        return _open_lists(name, lists, schema.field(lists).type, names, total)
    for column, kind in kinds.items():
        _require_numbers(name, column, kind)

    def read(rows: int) -> Iterator[tuple[list[str] | None, np.ndarray]]:
        for batch, ids in _parquet_batches(name, rows, columns, names):
            arrays = [_numbers(batch.column(column)) for column in columns]
            yield ids, np.stack(arrays, axis=-1)

    return _Source(columns, len(columns), total, names.are_known, read, is_indexed)


@dataclass(frozen=True)
class _RowNames:
    """Where the names of the rows of a parquet file stand.

    Parameters
    ----------
    columns : list of str
        The columns that hold them: of an index with several levels there are several.
    numbers : range or None
        The numbers that stand for them where pandas stored these without a column.
    """

    columns: list[str]
    numbers: range | None

    @property
    def are_known(self) -> bool:
        return bool(self.columns) or self.numbers is not None

    def of(self, batch: pyarrow.RecordBatch, first: int) -> list[str] | None:
        """Return the names of the rows of a batch that starts with a row of the file."""
        if not self.columns:
            rows = range(first, first + batch.num_rows)
            return None if self.numbers is None else [str(self.numbers[row]) for row in rows]
        cells = zip(*(batch.column(name).to_pylist() for name in self.columns), strict=True)
        return [", ".join(map(str, row)) for row in cells]


def _index_of_pandas(stored: Any, names: list[str]) -> tuple[list[str], range | None]:
    """Return the columns that pandas wrote as an index, and the numbers that it stored as one."""
    index = stored.get("index_columns") if isinstance(stored, dict) else None
    index = index if isinstance(index, list) else []
    columns = [entry for entry in index if isinstance(entry, str) and entry in names]
    counted = next((entry for entry in index if isinstance(entry, dict)), {})
    limits: list[Any] = [counted.get(key) for key in ("start", "stop", "step")]
    is_range = all(type(limit) is int for limit in limits) and limits[2] != 0
    # Numbers 0, 1, 2, ... are what pandas writes for rows without names.
    is_plain = limits[0] == 0 and limits[2] == 1
    return columns, range(*limits) if is_range and not is_plain else None


def _numbers(column: pyarrow.Array) -> np.ndarray:
    from pyarrow import types

    is_exact = types.is_boolean(column.type) or types.is_decimal(column.type)
    column = column.cast("float64") if is_exact else column
    return column.to_numpy(zero_copy_only=False)


def _open_lists(
    name: str, column: str, kind: pyarrow.DataType, names: _RowNames, total: int
) -> _Source:
    """Open a column that holds a whole prediction in each row, as data sets of models do."""
    if not _is_list(kind):
        raise ValueError(
            f"column {column} must hold lists of numbers: it is of type {_short(kind)}"
        )
    _require_numbers(name, column, kind.value_type)
    if total == 0:
        raise ValueError("it has no rows")
    first, _ = next(_parquet_batches(name, 1, [column], _RowNames([], None)))
    (width,) = _lengths(first.column(column))
    if width == 0:
        raise ValueError(f"column {column} has no numbers in row 0")

    def read(rows: int) -> Iterator[tuple[list[str] | None, np.ndarray]]:
        start = 0
        for batch, ids in _parquet_batches(name, rows, [column], names):
            lengths = _lengths(batch.column(column))
            (others,) = np.nonzero(lengths != width)
            if others.size:
                raise ValueError(
                    f"column {column} has {lengths[others[0]]} numbers in row {start + others[0]} "
                    f"and {width} in row 0"
                )
            yield ids, _numbers(batch.column(column).flatten()).reshape(-1, width)
            start += len(lengths)

    return _Source(None, int(width), total, names.are_known, read)


def _lengths(lists: pyarrow.Array) -> np.ndarray:
    from pyarrow import compute

    return compute.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)


def _parquet_file(name: str) -> pyarrow.parquet.ParquetFile:
    from pyarrow import parquet

    # Read through small buffers: by default a group of rows, often all of them, is held at once.
    return parquet.ParquetFile(name, buffer_size=2**16, pre_buffer=False)


def _parquet_batches(
    name: str, rows: int, columns: list[str], names: _RowNames
) -> Iterator[tuple[pyarrow.RecordBatch, list[str] | None]]:
    """Yield some rows at a time of the columns asked for, and the names of the rows."""
    wanted, first = [*columns, *names.columns], 0
    with _parquet_file(name) as file:
        batches = file.iter_batches(batch_size=rows, columns=wanted)
        while True:
            with _arrays.parsing(_NO_PARQUET):
                batch = next(batches, None)
                if batch is None:
                    return
                batch.validate(full=True)
            yield batch, names.of(batch, first)
            first += batch.num_rows


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


def _require_distinct(names: Iterable[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"two columns have the same name: {repeated[0]!r}")


_READERS = {
    ".csv": _open_csv,
    ".npy": _open_npy,
    ".npz": _open_npz,
    ".parquet": _open_parquet,
}


def paired_blocks(a: Table, b: Table) -> Iterator[tuple[Block, Block]]:
    """Yield the blocks of two tables, row beside row.

    Rows are compared by their ids where both tables have them; a difference is an error that says
    where.
    """
    rows = min(a.block_rows, b.block_rows)
    blocks = (_even(table.blocks(a, rows), rows) for table in (a, b))
    for x, y in itertools.zip_longest(*blocks, fillvalue=Block(0, [], np.empty((0, 0)))):
        if len(x.ids) != len(y.ids):
            longer, shorter = (a, b) if len(x.ids) > len(y.ids) else (b, a)
            seen = max(x.first, y.first) + min(len(x.ids), len(y.ids))
            raise UsageError(
                f"{longer.path} has more rows than {shorter.path}, which has {seen}: row by row "
                "they must belong together"
            )
        if x.ids != y.ids and _are_named(a, b, x, y):
            at = next(
                i for i, pair in enumerate(zip(x.ids, y.ids, strict=True)) if len({*pair}) > 1
            )
            raise UsageError(
                f"row {x.first + at} is {x.ids[at]} in {a.path} and {y.ids[at]} in {b.path}: "
                "sort both by the names of their rows"
            )
        yield x, y


def _are_named(a: Table, b: Table, x: Block, y: Block) -> bool:
    """Tell whether two tables say which rows belong together.

    The numbers that pandas gave to rows without names count beside its numbers of a sorted table.
    """
    are_numbers = all(name.isdecimal() for name in (*x.ids, *y.ids))
    return (a.has_ids and b.has_ids) or (a.is_indexed and b.is_indexed and are_numbers)


def _even(blocks: Iterable[Block], rows: int) -> Iterator[Block]:
    """Regroup blocks so that each but the last has the same number of rows."""
    ids, values, first = [], [], 0
    for block in blocks:
        ids += block.ids
        values.append(block.values)
        while len(ids) >= rows:
            joined = np.concatenate(values)
            yield Block(first, ids[:rows], joined[:rows])
            ids, values, first = ids[rows:], [joined[rows:]], first + rows
    if ids:
        yield Block(first, ids, np.concatenate(values))


def read_column(path: str) -> list[str]:
    """Return the entries of a file with one column, as text: labels."""
    name, suffix = str(path), Path(path).suffix.lower()
    with _FileErrors(path):
        if suffix == ".npy":
            values = _arrays.open_npy(name)
            if values.ndim != 1 or values.dtype.kind not in "iuUb":
                raise ValueError(
                    f"it must be one row of whole numbers or text: its shape is {values.shape}, "
                    f"its entries are {_arrays.entries_of(values.dtype)}"
                )
            return [str(value) for value in values.tolist()]
        if suffix != ".csv":
            raise ValueError("the name must end in .csv or .npy")
        with open(name, encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
        for number, row in enumerate(rows):
            if len(row) != 1:
                raise ValueError(f"line {number + 1} has {len(row)} cells: it must be one column")
        return [row[0].strip() for row in rows]


def _wide(values: np.ndarray) -> np.ndarray:
    """Return float32 as float64, which changes no number; half precision keeps its tolerance."""
    return values.astype(np.float64) if values.dtype == np.float32 else values


def warn_of_probabilities(*tables: Table) -> None:
    """Warn where the first rows of what is said to hold logits are probabilities."""
    for table in tables:
        rows = next(table.blocks(rows=100)).values
        with np.errstate(over="ignore", invalid="ignore"):  # of what is refused afterwards
            is_near = look_like_probabilities(rows.astype(np.float64))  # sums of halves overflow
        if is_near:
            warnings.warn(
                f"{table.path}: the first rows sum to 1, as probabilities do: "
                "for those leave out --logits",
                stacklevel=2,
            )


def checked(table: Table, block: Block, space: ModuleType, like: Table | None = None) -> np.ndarray:
    """Return the values of a block as distances take them, if they are predictions.

    Parameters
    ----------
    table : Table
        Where the block comes from.
    block : Block
        Some of its rows.
    space : module
        `infogeo.simplex` or `infogeo.logits`: what they have to be.
    like : Table, optional
        The table that gave the order of the columns.
    """
    rule = space.POINTS
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # of what is refused anyway
            values = _wide(block.values)
            gate(True, rows=(rule, values))
    except ValueError:
        columns = table.columns if like is None or like.columns is None else like.columns
        raise UsageError(f"{table.path}: {_explained(table, block, rule, columns)}") from None
    return values


def _explained(table: Table, block: Block, rule: Rule, columns: list[str] | None) -> str:
    """Say in which row and column a block breaks the rule."""
    with np.errstate(over="ignore", invalid="ignore"):
        x = block.values.astype(np.float64)
        sums = x.sum(axis=-1)

    def row(i: int) -> str:
        return f"row {block.first + i}" + (f" ({block.ids[i]})" if table.has_ids else "")

    is_bad = np.isnan(x) | (x == np.inf)
    is_bad |= x < 0.0 if rule is PROBABILITIES else False
    if is_bad.any():
        i, j = (int(index[0]) for index in np.nonzero(is_bad))
        place = f"column {j + 1}" if columns is None else f"column {columns[j]}"
        if np.isnan(x[i, j]):
            return f"{row(i)} has no number in {place}"
        way_out = ". If these are logits, give --logits" if rule is PROBABILITIES else ""
        kind = "probability" if rule is PROBABILITIES else "logit"
        return f"{row(i)} has {x[i, j]:g} in {place}, which is no {kind}{way_out}"
    if rule is LOGITS:
        return f"{row(int(np.argmin(x.max(axis=-1))))} has -inf in every column"
    i = int(np.argmax(np.abs(sums - 1.0)))
    return (
        f"{row(i)} has probabilities with the sum {sums[i]:.7g}. If these are counts or "
        "percentages, divide each row by its sum; if they are logits, give --logits"
    )
