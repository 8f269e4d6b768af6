"""The command ``infogeo compare``."""

from __future__ import annotations

import argparse
import csv
import json
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infogeo._system.progress import Progress, bar_for_people
from infogeo.cli._common import (
    Commands,
    UsageError,
    folder_name,
    replacing,
    require,
    say,
    warnings_in_a_line,
    writable_folder,
)

if TYPE_CHECKING:
    import numpy as np


_EXAMPLES = """\
OLD and NEW are tables of predictions on the same inputs, row beside row: csv, npy, npz or parquet,
as 'infogeo distance' takes them. Columns with names are compared by name.

  infogeo compare old.csv new.csv
  infogeo compare old.npy new.npy --logits --labels labels.npy -o drift
  infogeo compare old.csv new.csv --fail-above 0.5                  no prediction may move further
  infogeo compare old.csv new.csv --fail-above 0.5 --quantile 0.99  one in a hundred may

Distances are in radians of the sphere of radius 2: 0 for equal predictions, pi for disjoint ones.
Exit status: 0; 1 if the predictions moved further than --fail-above allows; 2 if a file is wrong.
"""

_QUANTILES = (0.5, 0.9, 0.99, 1.0)
_MOST_CHANGED = 10


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "compare",
        help="how far the predictions moved between two versions of a model",
        description="Measures the drift between two versions of a model: quantiles of the "
        "Fisher-Rao distances, class by class, decisions that changed, and the rows that moved "
        "most.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("old", metavar="OLD", help="the predictions of the old version")
    parser.add_argument("new", metavar="NEW", help="those of the new one, on the same inputs")
    parser.add_argument(
        "--logits", action="store_true", help="the tables hold logits instead of probabilities"
    )
    parser.add_argument("--id", metavar="COLUMN", help="the column that names the rows")
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="the true classes: one column of class names or numbers (.csv, .npy)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FOLDER",
        type=folder_name,
        help="also write summary.json, distances.csv and the figure drift.png",
    )
    parser.add_argument(
        "--fail-above", metavar="D", type=_distance, help="exit with status 1 above this distance"
    )
    parser.add_argument(
        "--quantile",
        metavar="Q",
        type=_fraction,
        help="the share of the rows that has to stay within --fail-above (default: all)",
    )
    parser.add_argument("--json", action="store_true", help="print json, for programs")
    parser.set_defaults(run=_run)


def _distance(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if 0.0 <= number < math.pi:
        return number
    raise argparse.ArgumentTypeError(
        f"{text!r} is no limit: a distance from 0 to below pi, the largest there is"
    )


def _fraction(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if 0.0 < number <= 1.0:
        return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a share: a number above 0 and up to 1")


def _run(options: argparse.Namespace) -> int:
    if options.quantile is not None and options.fail_above is None:
        raise UsageError("infogeo compare: --quantile needs --fail-above: alone nothing can fail")
    if options.output is not None:
        require("infogeo compare -o", matplotlib="plot")
    try:
        with bar_for_people() as progress:
            rows = _measure(options, progress)
        summary = _summary(rows, options)
        if options.output is not None:
            with writable_folder(options.output) as folder:
                _write(folder, rows, summary)
    except UsageError as error:
        said = str(error).removeprefix("infogeo: ")
        raise UsageError(f"infogeo compare: {said}") from None
    say(json.dumps(summary, indent=2) if options.json else _in_words(summary, options.output))
    return 1 if summary.get("passed") is False else 0


# ---------------------------------------------------------------- measuring


@dataclass(frozen=True)
class _Rows:
    """What is kept of every row: its name, its distance, its decisions, its label."""

    ids: list[str]
    distances: np.ndarray
    old: np.ndarray
    new: np.ndarray
    labels: np.ndarray | None
    classes: list[str]


def _measure(options: argparse.Namespace, progress: Progress) -> _Rows:
    import numpy as np

    from infogeo import logits, simplex
    from infogeo.cli._tables import (
        Table,
        checked,
        paired_blocks,
        warn_of_probabilities,
    )

    space = logits if options.logits else simplex
    a, b = Table(options.old, options.id), Table(options.new, options.id)
    if options.logits:
        with warnings_in_a_line("infogeo compare"):
            warn_of_probabilities(a, b)
    ids: list[str] = []
    columns: tuple[list[np.ndarray], ...] = ([], [], [])
    for x, y in paired_blocks(a, b):
        progress("distances", x.first / a.num_rows if a.num_rows else 0.0)
        pair = checked(a, x, space), checked(b, y, space, a)
        ids += x.ids
        distances = space.fisher_rao_distance(*pair, check=False)
        decisions = (block.values.argmax(axis=-1) for block in (x, y))
        for column, part in zip(columns, (distances, *decisions), strict=True):
            column.append(part)
    classes = a.columns or [str(i) for i in range(a.num_columns)]
    labels = None if options.labels is None else _read_labels(options.labels, classes, len(ids))
    distances, old, new = map(np.concatenate, columns)
    return _Rows(ids, distances, old, new, labels, classes)


def _read_labels(path: str, classes: list[str], num_rows: int) -> np.ndarray:
    """Return the number of the true class of every row."""
    import numpy as np

    from infogeo.cli._tables import read_column

    names = read_column(path)
    if len(names) == num_rows + 1 and names[0] not in classes:
        del names[0]  # the column's title
    if len(names) != num_rows:
        raise UsageError(f"{path} has {len(names)} labels for {num_rows} rows")
    numbers = {name: number for number, name in enumerate(classes)}
    if not any(name in numbers for name in names):
        numbers = {str(number): number for number in range(len(classes))}
    for row, name in enumerate(names):
        if name not in numbers:
            raise UsageError(
                f"{path}: the label of row {row} is {name!r}: the classes are "
                f"{', '.join(classes[:8])}{', ...' if len(classes) > 8 else ''}"
            )
    return np.array([numbers[name] for name in names])


# ---------------------------------------------------------------- summary


def _summary(rows: _Rows, options: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    d = rows.distances
    summary = {
        "rows": len(d),
        "mean_distance": float(d.mean()),
        "quantiles": {f"{q:g}": float(np.quantile(d, q)) for q in _QUANTILES},
        "changed_decisions": int((rows.old != rows.new).sum()),
        "by_class": _by_class(rows),
        "most_changed": _most_changed(rows),
    }
    if rows.labels is not None:
        summary["old_accuracy"] = float((rows.old == rows.labels).mean())
        summary["new_accuracy"] = float((rows.new == rows.labels).mean())
    if options.fail_above is not None:
        quantile = 1.0 if options.quantile is None else options.quantile
        reached = float(np.quantile(d, quantile, method="inverted_cdf"))
        summary["threshold"] = {
            "quantile": quantile,
            "distance": reached,
            "fail_above": options.fail_above,
        }
        summary["passed"] = reached <= options.fail_above
    return summary


def _groups(rows: _Rows) -> np.ndarray:
    """Return what rows are grouped by: the true class, else the old decision."""
    return rows.old if rows.labels is None else rows.labels


def _by_class(rows: _Rows) -> dict[str, dict[str, Any]]:
    import numpy as np

    groups = _groups(rows)
    return {
        rows.classes[number]: {
            "rows": int(members.sum()),
            "mean_distance": float(rows.distances[members].mean()),
            "largest_distance": float(rows.distances[members].max()),
            "changed_decisions": int((rows.old != rows.new)[members].sum()),
        }
        for number in np.unique(groups).tolist()
        for members in [groups == number]
    }


def _most_changed(rows: _Rows) -> list[dict[str, Any]]:
    import numpy as np

    order = np.argsort(-rows.distances, kind="stable")[:_MOST_CHANGED].tolist()
    return [
        {
            "row": rows.ids[i],
            "distance": float(rows.distances[i]),
            "old": rows.classes[rows.old[i]],
            "new": rows.classes[rows.new[i]],
        }
        for i in order
    ]


def _in_words(summary: dict[str, Any], folder: Path | None) -> str:
    changed, n = summary["changed_decisions"], summary["rows"]
    quantiles = ", ".join(
        f"{_QUANTILE_NAMES.get(q, f'{float(q):.0%}')} {d:.4g}"
        for q, d in summary["quantiles"].items()
    )
    lines = [
        f"{n} rows: mean distance {summary['mean_distance']:.4g}; {quantiles}",
        f"decisions changed: {changed} ({changed / n:.2%})",
    ]
    if "old_accuracy" in summary:
        old, new = summary["old_accuracy"], summary["new_accuracy"]
        lines.append(f"accuracy: {old:.2%} before, {new:.2%} after")
    lines += ["", *_table(summary["by_class"].items(), "class")]
    most = [(str(entry["row"]), entry) for entry in summary["most_changed"]]
    lines += ["", "moved most:", *_table(most, "row")]
    if folder is not None:
        lines += ["", f"written to {folder}: summary.json, distances.csv, drift.png"]
    if "passed" in summary:
        limit = summary["threshold"]
        word = "passed" if summary["passed"] else "FAILED"
        share = "all rows" if limit["quantile"] == 1.0 else f"{limit['quantile']:.4g} of the rows"
        lines += [
            "",
            f"{word}: {share} within {limit['distance']:.4g}, allowed {limit['fail_above']:.4g}",
        ]
    return "\n".join(lines)


_QUANTILE_NAMES = {"0.5": "median", "1": "largest"}


def _table(entries: Iterable[tuple[str, dict[str, Any]]], title: str) -> list[str]:
    """Write rows of numbers below the names of their columns."""
    entries = list(entries)
    columns = [key for key in entries[0][1] if key != title]
    cells = [[title, *(column.replace("_", " ") for column in columns)]]
    for name, fields in entries:
        values = [fields[column] for column in columns]
        texts = [name, *(f"{v:.4g}" if isinstance(v, float) else str(v) for v in values)]
        # Terminals obey some characters.
        cells.append([text if text.isprintable() else repr(text) for text in texts])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


# ---------------------------------------------------------------- files


def _write(folder: Path, rows: _Rows, summary: dict[str, Any]) -> None:
    with replacing(folder / "distances.csv") as partial:
        _write_distances(partial, rows)
    with replacing(folder / "drift.png") as partial:
        _write_figure(partial, rows)
    with replacing(folder / "summary.json") as partial:
        partial.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def _write_distances(path: Path, rows: _Rows) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", "distance", "old", "new"])
        old, new = ([rows.classes[i] for i in chosen.tolist()] for chosen in (rows.old, rows.new))
        writer.writerows(zip(rows.ids, rows.distances.tolist(), old, new, strict=True))


def _write_figure(path: Path, rows: _Rows) -> None:
    import matplotlib

    matplotlib.use("Agg")  # a command draws into a file, wherever it runs
    from matplotlib import pyplot as plt

    from infogeo import plot

    figure, (left, right) = plt.subplots(1, 2, figsize=(11.0, 4.2), layout="constrained")
    plot.distances(rows.distances, ax=left)
    groups = "old decision" if rows.labels is None else "true class"
    names = [rows.classes[i] for i in _groups(rows).tolist()]
    plot.distances_by_class(rows.distances, names, ax=right)
    right.set_xlabel(groups)
    with warnings.catch_warnings():  # about letters that the font lacks
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(path, dpi=150, format="png")
    plt.close(figure)
