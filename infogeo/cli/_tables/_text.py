"""Tables in text: cells between commas (csv) or tabs (tsv).

Large files are read by pyarrow where it is installed, others by numpy. What pyarrow stumbles over
numpy reads again, so that there is one reading of what is odd, and one text of each error.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from infogeo._system.extras import is_installed
from infogeo.cli._tables._arrow import as_numpy
from infogeo.cli._tables._file import File
from infogeo.cli._tables._selection import Part, Selection, Source, require_distinct

if TYPE_CHECKING:
    import pyarrow

# Bytes from which pyarrow is worth its import, and what it reads at once.
_LARGE = 2**20
_BYTES_AT_ONCE = 2**22
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_WORDS = {",": "commas", "\t": "tabs"}


def open_text(file: File, selection: Selection) -> Source:
    """Open a table with names in its first line, or without names."""
    separator = _SEPARATORS[file.suffix]
    if file.part is not None and selection.labels is None:
        raise ValueError("it has one number in each cell: name its columns with --columns")
    with file.text() as lines:
        reader = csv.reader(lines, delimiter=separator)
        header = next((row for row in reader if any(cell.strip() for cell in row)), None)
        num_lines = reader.line_num  # a name in quotes may have several
        second = next((row for row in reader if any(cell.strip() for cell in row)), None)
    if header is None:
        raise ValueError("it is empty")
    header = [cell.strip() for cell in header]
    has_names = not all(map(_is_number, header)) or _are_numbered_classes(header, second)
    ids, columns = selection.ids, None
    if has_names:
        if "" in header[1:]:  # a name that is missing, or a number of a file without names
            raise ValueError(
                f"column {header.index('', 1) + 1} has no name or number in its line 1"
            )
        if ids is None and header[0] == "":  # so pandas writes an index
            ids = ""
        _require_names([(i, x) for i, x in enumerate(header, start=1) if x not in (ids, "")])
        require_distinct(header)
        columns = selection.numbers_among(header, [] if ids is None else [ids])
        chosen = [header.index(column) for column in columns]
    else:
        selection.require_none("it has no column {}: its columns have no names")
        chosen = list(range(len(header)))
    places = [None if x is None else header.index(x) for x in (ids, selection.labels)]
    table = _Text(file, separator, num_lines if has_names else 0, len(header), chosen, places)
    return Source(columns, len(chosen), None, ids is not None, table.read)


@dataclass(frozen=True)
class _Text:
    """The lines of a table, and what stands in them.

    Parameters
    ----------
    file : File
        The table.
    separator : str
        What stands between cells.
    num_above : int
        Lines above the first row.
    width : int
        Cells in each line.
    chosen : list of int
        The cells with numbers.
    texts : list
        The cells with the name and with the label of a row, or None.
    """

    file: File
    separator: str
    num_above: int
    width: int
    chosen: list[int]
    texts: list[int | None]

    def read(self, rows: int) -> Iterator[Part]:
        """Yield the rows, that many at a time or fewer."""
        num_read = 0
        if self.file.size >= _LARGE and is_installed("pyarrow"):
            for part in self._by_pyarrow(rows):
                if part is None:  # it gives up here
                    break
                yield part
                num_read += len(part.values)
            else:
                return
        first = 0
        for part in self._by_numpy(rows):
            start = max(0, num_read - first)
            first += len(part.values)
            if start < len(part.values):
                ids, labels = (x if x is None else x[start:] for x in (part.ids, part.labels))
                yield Part(ids, labels, part.values[start:])

    def _by_numpy(self, rows: int) -> Iterator[Part]:
        with self.file.text() as text:
            lines = itertools.islice(text, self.num_above, None)
            first = 0
            while block := list(itertools.islice(lines, rows)):
                block = [line for line in block if line.strip()]
                if not block:
                    continue
                values = self._parse(block, first)
                cells: list[list[str]] = []
                if any(at is not None for at in self.texts):
                    cells = list(self._cells(block))
                    self._check_widths(cells, first)
                ids, labels = (
                    None if at is None else [row[at].strip() for row in cells] for at in self.texts
                )
                yield Part(ids, labels, values)
                first += len(block)

    def _by_pyarrow(self, rows: int) -> Iterator[Part | None]:
        """Yield the rows; None where something is odd."""
        import pyarrow as pa
        from pyarrow import csv as arrow

        names = [str(i) for i in range(self.width)]
        wanted = [*self.chosen, *(at for at in self.texts if at is not None)]
        types = {names[i]: pa.float64() for i in self.chosen}
        types |= {names[at]: pa.string() for at in self.texts if at is not None}
        with self.file.open() as file:
            try:
                reader = arrow.open_csv(
                    file,
                    arrow.ReadOptions(
                        block_size=max(_BYTES_AT_ONCE, 64 * self.width),
                        skip_rows=self.num_above,
                        column_names=names,
                    ),
                    arrow.ParseOptions(delimiter=self.separator),
                    arrow.ConvertOptions(
                        column_types=types,
                        null_values=[],
                        include_columns=[names[i] for i in wanted],
                    ),
                )
            except pa.ArrowException:
                yield None
                return
            with reader:
                while True:
                    try:
                        batch = reader.read_next_batch()
                    except StopIteration:
                        return
                    except pa.ArrowException:
                        yield None
                        return
                    for start in range(0, batch.num_rows, rows):
                        yield self._part_of(batch.slice(start, rows))

    def _part_of(self, batch: pyarrow.RecordBatch) -> Part:
        columns = [as_numpy(batch.column(i)) for i in range(len(self.chosen))]
        values = np.stack(columns, axis=-1) if columns else np.empty((batch.num_rows, 0))
        texts = iter(range(len(self.chosen), batch.num_columns))
        ids, labels = (
            None if at is None else [x.strip() for x in batch.column(next(texts)).to_pylist()]
            for at in self.texts
        )
        return Part(ids, labels, values)

    def _cells(self, lines: Iterable[str]) -> Iterator[list[str]]:
        return csv.reader(lines, delimiter=self.separator)

    def _parse(self, lines: list[str], first: int) -> np.ndarray:
        """Return the numbers of some lines, or say in which row they break off."""
        if not self.chosen:
            return np.empty((len(lines), 0))
        # Of chosen columns numpy does not see what lies beyond them.
        columns = self.chosen if len(self.chosen) < self.width else None
        try:
            values = np.loadtxt(
                lines,
                delimiter=self.separator,
                usecols=columns,
                ndmin=2,
                comments=None,
                quotechar='"',
            )
        except ValueError:
            for number, row in enumerate(self._cells(lines), start=first):
                self._check_widths([row], number)
                for i in self.chosen:
                    if not _is_number(row[i]):
                        raise ValueError(self._explain_cell(number, row[i].strip(), i)) from None
            raise
        if values.shape[1] != len(self.chosen):
            self._check_widths(self._cells(lines), first)
        return values

    def _check_widths(self, rows: Iterable[list[str]], first: int) -> None:
        for number, row in enumerate(rows, start=first):
            if len(row) == self.width:
                continue
            text = self.separator.join(row)
            if self.width == 1 and self._has_other_separators(text):
                raise ValueError(self._explain_cell(number, text, 0))
            raise ValueError(f"row {number} has {len(row)} cells, the first {self.width}")

    def _has_other_separators(self, text: str) -> bool:
        return any(other in text for other in ";,\t" if other != self.separator)

    def _explain_cell(self, number: int, text: str, column: int) -> str:
        if not text:
            return f"row {number} has an empty cell in column {column + 1}"
        if self.width == 1 and self._has_other_separators(text):
            words = _WORDS[self.separator]
            return f"its cells must be separated by {words}: row {number} is {text[:40]!r}"
        way_out = "If it names the row, give --id and the column's name"
        if _is_number(text.replace(",", ".", 1)):
            way_out = "Decimals need a point: save the table with one"
        elif _is_number(text.removesuffix("%")):
            way_out = "Save it without the sign"
        return (
            f"row {number} has {text[:40]!r} in column {column + 1}, which is no number. {way_out}"
        )


def _are_numbered_classes(header: list[str], second: list[str] | None) -> bool:
    """Tell whether numbers are names: 0, 1, 2, ... or 1, 2, 3, ..."""
    counted = [[str(i) for i in range(first, first + len(header))] for first in (0, 1)]
    if header not in counted:
        return False
    # Of two classes, 0 and 1 may also be a prediction that is certain, among others.
    certain = ({"0", "1"}, {"0"}, {"1"})
    return len(header) > 2 or second is None or {cell.strip() for cell in second} not in certain


def _require_names(cells: list[tuple[int, str]]) -> None:
    """Refuse a first line that holds a prediction with a gap in it: fractions beside text."""
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


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # 1_000 is a number for Python alone
