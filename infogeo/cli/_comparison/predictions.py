"""The drift of predictions on the same inputs: what is measured of each row, and the summary."""

from __future__ import annotations

import argparse
import csv
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from infogeo._system.progress import Progress
from infogeo.cli._common import UsageError, replacing, warnings_in_a_line
from infogeo.cli._comparison import statistics
from infogeo.cli._comparison.statistics import Outcome
from infogeo.cli._comparison.words import Part, TableOf, shown_share, shown_with_error

if TYPE_CHECKING:
    import numpy as np

    from infogeo.cli._tables import Block, Table

_QUANTILES = (0.5, 0.9, 0.99, 1.0)
_QUANTILE_NAMES = {"0.5": "median", "1": "largest"}
_MOST_CHANGED = 10
FILES = "summary.json, distances.csv, drift.png"


# ---------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Rows:
    """What is kept of every row: its name, its distance, its decisions, its label."""

    ids: list[str]
    distances: np.ndarray
    old: np.ndarray
    new: np.ndarray
    labels: np.ndarray | None
    classes: list[str]
    left_out: tuple[int, int]

    @property
    def groups(self) -> np.ndarray:
        """What rows are grouped by: the true class, else the old decision."""
        return self.old if self.labels is None else self.labels

    @property
    def grouped_by(self) -> str:
        return "old decision" if self.labels is None else "true class"


def measure(options: argparse.Namespace, progress: Progress) -> Rows:
    """Return what there is to know of every row."""
    import numpy as np

    from infogeo import logits, simplex
    from infogeo.cli._tables import JoinedRows, paired_blocks, warn_of_probabilities

    space = logits if options.logits else simplex
    a, b = tables(options)
    if options.logits:
        with warnings_in_a_line("infogeo compare"):
            warn_of_probabilities(a, b)
    pairs = paired_blocks(a, b) if options.id is None else JoinedRows(a, b, common=options.common)
    ids: list[str] = []
    labels: list[str] = []
    columns: tuple[list[np.ndarray], ...] = ([], [], [])
    for x, y in pairs:
        progress("distances", len(ids) / a.num_rows if a.num_rows else 0.0)
        points = [_points(options, a, x, space), _points(options, b, y, space, a)]
        ids += x.ids
        labels += x.labels or []
        distances = space.fisher_rao_distance(*points, check=False)
        decisions = (p.argmax(axis=-1) for p in points)
        for column, part in zip(columns, (distances, *decisions), strict=True):
            column.append(part)
    classes = a.columns or b.columns or [str(i) for i in range(a.num_columns)]
    left_out = pairs.left_out if isinstance(pairs, JoinedRows) else (0, 0)
    distances, old, new = map(np.concatenate, columns)
    truth = None
    if options.label_column is not None:
        truth = _numbers_of(f"{a.path}:{options.label_column}", labels, classes)
    elif options.labels is not None:
        truth = read_truth(options, ids, left_out[0], classes)
    return Rows(ids, distances, old, new, truth, classes, left_out)


def tables(options: argparse.Namespace) -> list[Table]:
    """Return the two tables of a command line."""
    from infogeo.cli._tables import Table

    ours = () if options.label_column is None else (options.label_column,)
    given = {"columns": options.columns, "stdin_format": options.format}
    return [
        Table(
            options.old,
            options.id,
            label_column=options.label_column,
            ignored=options.ignore,
            **given,
        ),
        Table(options.new, options.id, ignored=(*options.ignore, *ours), **given),
    ]


def _points(
    options: argparse.Namespace,
    table: Table,
    block: Block,
    space: ModuleType,
    like: Table | None = None,
) -> np.ndarray:
    from infogeo.cli._tables import checked, normalized

    if options.normalize:
        block = normalized(table, block, like)
    return checked(table, block, space, like)


def read_truth(
    options: argparse.Namespace, ids: list[str], num_left_out: int, classes: list[str]
) -> np.ndarray:
    """Return the number of the true class of every row."""
    from infogeo.cli._tables import as_classes, read_labels

    path = options.labels
    names, labels = read_labels(path, options.id)
    if names is not None:
        alike = as_classes(ids, names)  # 7 and 7.0 are one row, too
        known = {alike[name]: label for name, label in zip(names, labels, strict=True)}
        missing = next((name for name in ids if alike[name] not in known), None)
        if missing is not None:
            raise UsageError(f"{path} has no label of the row {missing}")
        return _numbers_of(path, [known[alike[name]] for name in ids], classes)
    if num_left_out:
        raise UsageError(
            f"{path} has no names of rows, and rows were left out: name its column of labels, "
            "FILE:COLUMN, and the labels are found by --id"
        )
    if len(labels) == len(ids) + 1 and labels[0] not in classes:
        del labels[0]  # the column's title
    if len(labels) != len(ids):
        raise UsageError(f"{path} has {len(labels)} labels for {len(ids)} rows")
    return _numbers_of(path, labels, classes)


def _numbers_of(path: str, names: list[str], classes: list[str]) -> np.ndarray:
    import numpy as np

    from infogeo.cli._tables import as_classes

    for titles in (classes, [str(number) for number in range(len(classes))]):
        alike = as_classes(titles, names)
        place = {title: number for number, title in enumerate(titles)}
        numbers = {alike[title]: number for title, number in place.items()}
        numbers = {name: numbers[alike[name]] for name in names if alike[name] in numbers} | place
        if any(name in numbers for name in names):
            break
    for row, name in enumerate(names):
        if name not in numbers:
            raise UsageError(
                f"{path}: the label of row {row} is {name!r}: the classes are "
                f"{', '.join(classes[:8])}{', ...' if len(classes) > 8 else ''}"
            )
    return np.array([numbers[name] for name in names])


# ---------------------------------------------------------------- summary


def summary(rows: Rows, options: argparse.Namespace) -> dict[str, Any]:
    """Return what the rows say together, each figure beside its standard error."""
    import numpy as np

    d, is_changed = rows.distances, rows.old != rows.new
    found = {
        "grouped_by": rows.grouped_by,
        "rows": len(d),
        "rows_left_out": dict(zip(("old", "new"), rows.left_out, strict=True)),
        "mean_distance": float(d.mean()),
        "mean_distance_error": statistics.mean_error(d),
        "quantiles": {f"{q:g}": float(np.quantile(d, q)) for q in _QUANTILES},
        "quantile_errors": {f"{q:g}": statistics.quantile_error(d, q) for q in _QUANTILES},
        **_changes(is_changed),
        "by_class": _by_class(rows, is_changed),
        "most_changed": _most_changed(rows),
    }
    if rows.labels is not None:
        was_right, is_right = rows.old == rows.labels, rows.new == rows.labels
        found |= {
            "old_accuracy": float(was_right.mean()),
            "old_accuracy_error": statistics.share_error(int(was_right.sum()), len(d)),
            "new_accuracy": float(is_right.mean()),
            "new_accuracy_error": statistics.share_error(int(is_right.sum()), len(d)),
            "p_value": statistics.mcnemar(was_right, is_right),
        }
    return found


def _changes(is_changed: np.ndarray) -> dict[str, Any]:
    count = int(is_changed.sum())
    return {
        "changed_decisions": count,
        "changed_share": count / is_changed.size,
        "changed_share_error": statistics.share_error(count, is_changed.size),
    }


def _by_class(rows: Rows, is_changed: np.ndarray) -> dict[str, dict[str, Any]]:
    import numpy as np

    return {
        rows.classes[number]: {
            "rows": int(members.sum()),
            "mean_distance": float(rows.distances[members].mean()),
            "mean_distance_error": statistics.mean_error(rows.distances[members]),
            "largest_distance": float(rows.distances[members].max()),
            **_changes(is_changed[members]),
        }
        for number in np.unique(rows.groups).tolist()
        for members in [rows.groups == number]
    }


def _most_changed(rows: Rows) -> list[dict[str, Any]]:
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


def outcomes(rows: Rows, found: dict[str, Any], options: argparse.Namespace) -> list[Outcome]:
    """Return what the limits decide, and add it to the summary."""
    import numpy as np

    results = []
    if options.fail_above is not None:
        quantile = 1.0 if options.quantile is None else options.quantile
        reached = float(np.quantile(rows.distances, quantile, method="inverted_cdf"))
        found["threshold"] = {
            "quantile": quantile,
            "distance": reached,
            "fail_above": options.fail_above,
        }
        share = "all rows" if quantile == 1.0 else f"{quantile:.4g} of the rows"
        results.append(
            Outcome(
                reached <= options.fail_above,
                f"{share} within {reached:.4g}, allowed {options.fail_above:.4g}",
            )
        )
    if options.fail_changed_above is not None:
        changed, limit = found["changed_share"], options.fail_changed_above
        found["changed_limit"] = {"share": changed, "fail_above": limit}
        text = f"{changed:.2%} of the decisions changed, allowed {limit:.2%}"
        results.append(Outcome(changed <= limit, text))
    if options.fail_p_below is not None:
        p = found["p_value"]
        found["p_limit"] = {"p_value": p, "fail_below": options.fail_p_below}
        results.append(statistics.of_p_value(p, options.fail_p_below))
    if options.tolerance is not None:
        verdict = statistics.verdict(
            *statistics.mean_interval(rows.distances, options.level),
            len(rows.ids),
            tolerance=options.tolerance,
            level=options.level,
        )
        found["tolerance"] = verdict
        results.append(statistics.of_verdict(verdict, "mean distance", "rows"))
    return results


def words(found: dict[str, Any]) -> list[Part]:
    """Return the summary for people."""
    quantiles = ", ".join(
        f"{_QUANTILE_NAMES.get(q, f'{float(q):.0%}')} "
        + shown_with_error(d, found["quantile_errors"][q])
        for q, d in found["quantiles"].items()
    )
    n = found["rows"]
    mean = shown_with_error(found["mean_distance"], found["mean_distance_error"])
    parts: list[Part] = [f"{n} rows: mean distance {mean}; {quantiles}"]
    left_out = found["rows_left_out"]
    if any(left_out.values()):
        parts.append(f"left out: {left_out['old']} rows of OLD, {left_out['new']} rows of NEW")
    parts.append(f"decisions changed: {found['changed_decisions']} ({_change(found)})")
    if "old_accuracy" in found:
        old, new = (
            shown_share(found[key], found[f"{key}_error"])
            for key in ("old_accuracy", "new_accuracy")
        )
        parts.append(
            f"accuracy: {old} before, {new} after; equal accuracies: p = {found['p_value']:.3g}"
        )
    parts.append("distances are in radians, from 0 to pi; ± is one standard error")
    table = [[f"by {found['grouped_by']}", "rows", "mean distance", "largest", "changed"]]
    for name, of_class in found["by_class"].items():
        mean = shown_with_error(of_class["mean_distance"], of_class["mean_distance_error"])
        largest, count = f"{of_class['largest_distance']:.4g}", of_class["changed_decisions"]
        table.append([name, str(of_class["rows"]), mean, largest, f"{count} ({_change(of_class)})"])
    parts.append(TableOf("", table))
    most = [["row", "distance", "old", "new"]]
    most += [
        [row["row"], f"{row['distance']:.4g}", row["old"], row["new"]]
        for row in found["most_changed"]
    ]
    parts.append(TableOf("moved most:", most))
    return parts


def _change(found: dict[str, Any]) -> str:
    return shown_share(found["changed_share"], found["changed_share_error"])


# ---------------------------------------------------------------- files


def write(folder: Path, rows: Rows, found: dict[str, Any], options: argparse.Namespace) -> None:
    """Write the summary, the distances and the figure."""
    with replacing(folder / "distances.csv") as partial:
        _write_distances(partial, rows)
    with replacing(folder / "drift.png") as partial:
        _write_figure(partial, rows)
    with replacing(folder / "summary.json") as partial:
        partial.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _write_distances(path: Path, rows: Rows) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", "distance", "old", "new"])
        old, new = ([rows.classes[i] for i in chosen.tolist()] for chosen in (rows.old, rows.new))
        writer.writerows(zip(rows.ids, rows.distances.tolist(), old, new, strict=True))


def _write_figure(path: Path, rows: Rows) -> None:
    import matplotlib

    matplotlib.use("Agg")  # a command draws into a file, wherever it runs
    from matplotlib import pyplot as plt

    from infogeo import plot

    figure, (left, right) = plt.subplots(1, 2, figsize=(11.0, 4.2), layout="constrained")
    plot.distances(rows.distances, ax=left)
    names = [rows.classes[i] for i in rows.groups.tolist()]
    plot.distances_by_class(rows.distances, names, ax=right)
    right.set_xlabel(rows.grouped_by)
    with warnings.catch_warnings():  # about letters that the font lacks
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(path, dpi=150, format="png")
    plt.close(figure)
