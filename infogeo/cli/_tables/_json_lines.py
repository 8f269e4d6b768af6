"""Tables in lines of JSON: an object with a number for each class, or a list, in each line."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from infogeo.cli._tables._file import File
from infogeo.cli._tables._selection import Part, Selection, Source


def open_json_lines(file: File, selection: Selection) -> Source:
    """Open lines of objects, or of lists; or the one entry of objects that is a list."""
    with file.text() as lines:
        first = next((_parsed(line, 0) for line in lines if line.strip()), None)
    if first is None:
        raise ValueError("it is empty")
    if isinstance(first, list):
        selection.require_none("it has no column {}: its lines are lists")
        return _source(file, selection, None, lambda row: row, len(first))
    if not isinstance(first, dict):
        raise ValueError("row 0 is neither an object with a number for each class nor a list")
    lists = None if selection.columns is None else file.part
    if lists is not None and lists not in first:
        raise ValueError(f"it has no column {lists}: its columns are {', '.join([*first][:8])}")
    columns = selection.numbers_among(list(first))
    if lists is None and len(columns) == 1 and isinstance(first[columns[0]], list):
        lists = columns[0]
    if lists is None:
        return _source(
            file, selection, columns, lambda row: [row[key] for key in columns], len(columns)
        )
    if not isinstance(first[lists], list):
        raise ValueError(f"column {lists} must hold lists of numbers")
    return _source(file, selection, None, lambda row: row[lists], len(first[lists]))


def _source(
    file: File,
    selection: Selection,
    columns: list[str] | None,
    numbers_of: Callable[[Any], Any],
    width: int,
) -> Source:
    names = columns or [f"{j + 1}" for j in range(width)]

    def read(rows: int) -> Iterator[Part]:
        with file.text() as text:
            lines = (line for line in text if line.strip())
            start = 0
            while block := list(itertools.islice(lines, rows)):
                parsed = [_parsed(line, start + i) for i, line in enumerate(block)]
                values = np.empty((len(block), width))
                for i, row in enumerate(parsed):
                    try:
                        cells = numbers_of(row)
                        texts = [row[key] for key in selection.named]
                    except (KeyError, TypeError, IndexError):
                        needed = [*selection.named, *(columns or ())]
                        raise ValueError(_explained(row, needed, start + i)) from None
                    _require_scalars(texts, start + i)
                    values[i] = _numbers(cells, names, start + i)
                ids, labels = (
                    None if key is None else [str(row[key]) for row in parsed]
                    for key in (selection.ids, selection.labels)
                )
                yield Part(ids, labels, values)
                start += len(block)

    return Source(columns, width, None, selection.ids is not None, read)


def _parsed(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        text = line.strip()
        text = text if len(text) <= 40 else f"{text[:37]}..."
        raise ValueError(f"row {number} is no JSON: {text!r}") from None


def _explained(row: Any, needed: list[str], number: int) -> str:
    missing = next((key for key in needed if not isinstance(row, dict) or key not in row), "list")
    return f"row {number} has no {missing!r}, as row 0 has"


def _require_scalars(texts: list[Any], number: int) -> None:
    for text in texts:
        if not isinstance(text, str | int | float):
            raise ValueError(f"row {number} has {json.dumps(text)[:40]} for a name or a label")


def _numbers(cells: Any, names: list[str], number: int) -> list[float]:
    if not isinstance(cells, list):
        raise ValueError(f"row {number} has no list, as row 0 has")
    if len(cells) != len(names):
        raise ValueError(f"row {number} has {len(cells)} numbers, the first {len(names)}")
    for cell, name in zip(cells, names, strict=True):
        # A whole number of JSON may be larger than the largest float.
        is_number = isinstance(cell, float) or (isinstance(cell, int) and abs(cell) < 2**1023)
        if not is_number:
            raise ValueError(
                f"row {number} has {json.dumps(cell)[:40]} in column {name}, which is no number. "
                "If it names the row, give --id and the column's name"
            )
    return cells
