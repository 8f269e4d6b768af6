"""The command ``infogeo distance``."""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from infogeo._system.progress import Progress, bar_for_people
from infogeo.cli._common import (
    Commands,
    HelpFormatter,
    UsageError,
    add_columns,
    replacing,
    warnings_in_a_line,
    whole_number,
)

if TYPE_CHECKING:
    import numpy as np

    from infogeo.cli._tables import Table


_EXAMPLES = """\
Tables have one row for each prediction and one column for each class: csv, tsv (with names or
without), jsonl, these also packed (.csv.gz), npy, npz (FILE.npz:NAME if it holds several arrays),
parquet, feather (FILE.parquet:COLUMN for a column with the whole prediction in each row, as a
list), or - for csv from standard input. Columns with names are compared by name. Row by row, files
may be larger than memory.

  infogeo distance old.csv new.csv                      a distance for each row
  infogeo distance old.npy new.npy --logits -o d.npy    of logits, into an array
  infogeo distance old.csv new.csv --pairwise           every row with every row
  infogeo distance test.csv train.csv --nearest 5       the 5 nearest rows of train.csv
  infogeo distance test.csv --nearest 5                 among themselves

Distances are in radians of the sphere of radius 2: 0 for equal predictions, pi for disjoint ones.
Exit status: 0, or 2 if a file is wrong.
"""


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "distance",
        help="Fisher-Rao distances between the predictions in two files",
        description="How far predictions are apart: row by row, all pairs, or the nearest.",
        epilog=_EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("a", metavar="A", help="a table of predictions")
    parser.add_argument("b", metavar="B", nargs="?", help="another one, of the same classes")
    parser.add_argument(
        "--logits", action="store_true", help="the tables hold logits instead of probabilities"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--pairwise", action="store_true", help="every row of A with every row of B")
    which.add_argument(
        "--nearest",
        metavar="K",
        type=whole_number(1),
        help="the K nearest rows of B for each row of A",
    )
    add_columns(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="a .csv or .npy file instead of stdout"
    )
    parser.add_argument("--json", action="store_true", help="print json, for programs")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.b is None and not (options.pairwise or options.nearest):
        raise UsageError(
            "infogeo distance: row by row it takes two files; of one, --pairwise or --nearest K"
        )
    _check_output(options)
    from infogeo.cli import _tables

    try:
        a, b = (
            None
            if path is None
            else _tables.Table(path, options.id, columns=options.columns, ignored=options.ignore)
            for path in (options.a, options.b)
        )
        assert a is not None
        if options.logits:
            with warnings_in_a_line("infogeo distance"):
                _tables.warn_of_probabilities(a, *filter(None, [b]))
        with bar_for_people() as progress:
            labels, answers = _answers(options, a, b, progress)
            if options.output is None:
                show = _print_json if options.json else _print_csv
                return show(labels, answers)
            summary = _write(options.output, labels, answers)
    except UsageError as error:
        raise UsageError(f"infogeo distance: {error}") from None
    print(json.dumps(summary, indent=2) if options.json else _in_words(summary, options.output))
    return 0


def _check_output(options: argparse.Namespace) -> None:
    known = (".csv",) if options.nearest else (".csv", ".npy")
    if options.output is not None and options.output.suffix.lower() not in known:
        raise UsageError(f"infogeo distance: {options.output} must end in {' or '.join(known)}")
    inputs = [Path(name) for name in (options.a, options.b) if name is not None]
    if options.output is not None and any(_is_same(options.output, path) for path in inputs):
        raise UsageError(f"infogeo distance: {options.output} is an input: write to another file")


def _is_same(path: Path, other: Path) -> bool:
    # Unlike Path.exists, these take names that no file can have.
    return os.path.exists(path) and os.path.exists(other) and path.samefile(other)


# ---------------------------------------------------------------- answers
#
# An answer is about some rows of A: (ids, distances) or, for the nearest, (ids, distances, names
# of the neighbours). The labels are those of the columns of distances, None for a single one.

Answer = tuple[Any, ...]


def _answers(
    options: argparse.Namespace, a: Table, b: Table | None, progress: Progress
) -> tuple[list[str] | None, Iterable[Answer]]:
    from infogeo import logits, simplex

    space = logits if options.logits else simplex
    if options.pairwise:
        return _pairwise(a, b, space, progress)
    if options.nearest:
        return None, _nearest(a, b, options.nearest, space, progress)
    assert b is not None  # as _run has checked
    return None, _row_by_row(a, b, space, progress)


def _row_by_row(a: Table, b: Table, space: ModuleType, progress: Progress) -> Iterator[Answer]:
    from infogeo.cli._tables import checked, paired_blocks

    for x, y in paired_blocks(a, b):
        progress("distances", x.rows[0] / a.num_rows if a.num_rows else 0.0)
        pair = checked(a, x, space), checked(b, y, space, a)
        yield x.ids, space.fisher_rao_distance(*pair, check=False)


def _pairwise(
    a: Table, b: Table | None, space: ModuleType, progress: Progress
) -> tuple[list[str], Iterator[Answer]]:
    import numpy as np

    from infogeo import neighbors
    from infogeo.cli._tables import checked

    x = a.whole()
    y = x if b is None else b.whole(a)
    p = checked(a, x, space)
    q = p if b is None else checked(b, y, space, a)
    rows = max(1, 2**21 // len(q))

    def answers() -> Iterator[Answer]:
        for first in range(0, len(p), rows):
            progress("distances of all pairs", first / len(p))
            some = p[first : first + rows]
            block = neighbors.pairwise_distance(some, q, space=space, check=False)
            if b is None:  # a row is at distance 0 from itself, whatever rounding says
                here = np.arange(first, first + len(block))
                block[here - first, here] = 0.0
            yield x.ids[first : first + rows], block

    return y.ids, answers()


def _nearest(
    a: Table, b: Table | None, count: int, space: ModuleType, progress: Progress
) -> Iterator[Answer]:
    from infogeo import neighbors
    from infogeo.cli._tables import checked

    progress("nearest neighbours", 0.0)
    if b is None:
        x = a.whole()
        _require_rows(a, len(x.ids) - 1, "other rows", count)
        p = checked(a, x, space)
        found = neighbors.nearest(p, num_neighbors=count, space=space, check=False)
        yield x.ids, found.distances, _names(found.indices, x.ids)
        return
    y = b.whole(a)
    _require_rows(b, len(y.ids), "rows", count)
    points = checked(b, y, space, a)
    for x in a.blocks():
        p = checked(a, x, space)
        found = neighbors.nearest(p, points, num_neighbors=count, space=space, check=False)
        yield x.ids, found.distances, _names(found.indices, y.ids)


def _require_rows(table: Table, available: int, kind: str, count: int) -> None:
    if count > available:
        raise UsageError(f"{table.path} has {available} {kind}, --nearest asks for {count}")


def _names(indices: np.ndarray, ids: list[str]) -> list[list[str]]:
    return [[ids[j] for j in row] for row in indices.tolist()]


# ---------------------------------------------------------------- writing


def _print_csv(labels: list[str] | None, answers: Iterable[Answer]) -> int:
    _write_csv(sys.stdout, labels, answers, lambda ids, distances: None)
    return 0


def _print_json(labels: list[str] | None, answers: Iterable[Answer]) -> int:
    rows = []
    for ids, distances, *neighbours in answers:
        if neighbours:
            rows += [
                {"row": row, "nearest": names, "distances": values}
                for row, names, values in zip(ids, *neighbours, distances.tolist(), strict=True)
            ]
        else:
            key = "distance" if labels is None else "distances"
            rows += [
                {"row": row, key: value} for row, value in zip(ids, distances.tolist(), strict=True)
            ]
    print(json.dumps({"rows": rows} if labels is None else {"columns": labels, "rows": rows}))
    return 0


def _write_csv(
    file: TextIO,
    labels: list[str] | None,
    answers: Iterable[Answer],
    seen: Callable[[list[str], np.ndarray], None],
) -> None:
    writer = csv.writer(file, lineterminator="\n")
    is_first = True
    for ids, distances, *neighbours in answers:
        seen(ids, distances)
        if is_first:
            writer.writerow(_header(labels, bool(neighbours)))
            is_first = False
        if neighbours:
            for row, names, values in zip(ids, *neighbours, distances.tolist(), strict=True):
                pairs = enumerate(zip(names, values, strict=True), start=1)
                writer.writerows((row, rank, name, value) for rank, (name, value) in pairs)
        elif labels is None:
            writer.writerows(zip(ids, distances.tolist(), strict=True))
        else:
            writer.writerows(
                (row, *values) for row, values in zip(ids, distances.tolist(), strict=True)
            )


def _header(labels: list[str] | None, has_neighbours: bool) -> list[str]:
    if has_neighbours:
        return ["row", "rank", "nearest", "distance"]
    return ["row", "distance"] if labels is None else ["row", *labels]


class _Summary:
    """Counts, averages and remembers the largest distance of what passes by."""

    def __init__(self) -> None:
        self.count, self.total, self.largest = 0, 0.0, -1.0
        self.row: str | None = None

    def __call__(self, ids: list[str], distances: np.ndarray) -> None:
        self.count += distances.size
        self.total += float(distances.sum())
        rows = distances.reshape(len(ids), -1).max(axis=-1)
        at = int(rows.argmax())
        if float(rows[at]) > self.largest:
            self.largest, self.row = float(rows[at]), ids[at]

    def result(self) -> dict[str, Any]:
        return {
            "distances": self.count,
            "mean": self.total / self.count,
            "largest": self.largest,
            "row_of_largest": self.row,
        }


def _write(path: Path, labels: list[str] | None, answers: Iterable[Answer]) -> dict[str, Any]:
    """Write all answers to a file that appears when it is whole."""
    summary = _Summary()
    with replacing(path) as partial:
        if path.suffix.lower() == ".csv":
            with open(partial, "w", encoding="utf-8", newline="") as file:
                _write_csv(file, labels, answers, summary)
        else:
            _write_npy(partial, answers, summary)
    return summary.result()


def _write_npy(
    partial: Path, answers: Iterable[Answer], seen: Callable[[list[str], np.ndarray], None]
) -> None:
    """Write the distances as one array, block by block; how many there are shows at the end."""
    import numpy as np

    def header(file: BinaryIO, count: int, width: int | None) -> None:
        shape = (count,) if width is None else (count, width)
        fields = {"descr": "<f8", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, fields)

    count, width = 0, None
    with open(partial, "wb+") as file:
        for ids, distances in answers:
            seen(ids, distances)
            if count == 0:
                width = distances.shape[1] if distances.ndim > 1 else None
                header(file, 0, width)  # numpy leaves room for any number of rows
            file.write(np.ascontiguousarray(distances, dtype="<f8").tobytes())
            count += len(ids)
        file.seek(0)
        header(file, count, width)


def _in_words(summary: dict[str, Any], path: Path) -> str:
    return (
        f"{summary['distances']} distances in {path}: mean {summary['mean']:.6g}, largest "
        f"{summary['largest']:.6g} (row {summary['row_of_largest']})"
    )
