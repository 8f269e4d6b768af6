"""The drift of counts: intervals for the distance of the distributions that were sampled."""

from __future__ import annotations

import argparse
import json
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infogeo._system.progress import Progress
from infogeo.cli._common import UsageError, first_line, replacing, warnings_in_a_line
from infogeo.cli._comparison import statistics
from infogeo.cli._comparison.statistics import Outcome
from infogeo.cli._comparison.words import Part, TableOf, shown_share

if TYPE_CHECKING:
    import numpy as np

    from infogeo.cli._tables import Block, Table
    from infogeo.inference import Interval

FILES = "summary.json, drift.png"
_MOST_CLASSES = 10


# ---------------------------------------------------------------- reading


@dataclass(frozen=True)
class Samples:
    """Counts of two samples, or of as many pairs of samples as the tables have rows.

    Parameters
    ----------
    names : list of str
        Of the pairs.
    classes : list of str
        In the order of the last axis.
    old, new : array, shape (k, c)
        The counts.
    found : Interval
        Together the intervals hold all distances with the level that was asked for (Bonferroni).
    p_values : array, shape (k,)
        Of equal distributions, each for itself.
    """

    names: list[str]
    classes: list[str]
    old: np.ndarray
    new: np.ndarray
    found: Interval
    p_values: np.ndarray


def measure(options: argparse.Namespace, progress: Progress) -> Samples:
    """Return the counts of both tables by class, and the intervals."""
    import numpy as np

    from infogeo.inference import homogeneity_test, interval

    names, classes, old, new = _read(options)
    for which, path, x in (("OLD", options.old, old), ("NEW", options.new, new)):
        (empty,) = np.nonzero(x.sum(axis=-1) == 0)
        if empty.size:
            where = f" of the row {names[empty[0]]}" if len(names) > 1 else ""
            raise UsageError(f"{path} ({which}): all counts{where} are 0")
    with warnings_in_a_line("infogeo compare"):
        _warn_of_strangers(classes, old, new)
    progress("intervals", 0.0)
    level = 1.0 - (1.0 - options.level) / len(names)
    try:
        found = interval(old, new, level=level)
        p_values = homogeneity_test(old, new).p_value
    except ValueError as error:  # counts beyond what can be simulated
        raise UsageError(first_line(error)) from None
    return Samples(names, classes, old, new, found, p_values)


def _warn_of_strangers(classes: list[str], old: np.ndarray, new: np.ndarray) -> None:
    """Warn of samples without a class in common: perhaps their classes are written differently."""
    import numpy as np

    seen = np.stack([old.any(axis=0), new.any(axis=0)])
    if seen.all(axis=0).any():
        return
    ours, theirs = (_few([classes[j] for j in np.flatnonzero(here)]) for here in seen)
    warnings.warn(
        f"OLD and NEW have no class in common: OLD has {ours}; NEW has {theirs}",
        UserWarning,
        stacklevel=2,
    )


def _few(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _read(
    options: argparse.Namespace,
) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    from infogeo.cli._tables import Table

    given: dict[str, Any] = {"stdin_format": options.format}
    if options.label_column is not None:
        given |= {"label_column": options.label_column, "columns": None}
        tables = [Table(path, **given) for path in (options.old, options.new)]
        return _by_class(tables, [_of_labels(table) for table in tables])
    given |= {"columns": options.columns, "ignored": options.ignore}
    a, b = (Table(path, options.id, **given) for path in (options.old, options.new))
    if all(table.num_columns == 1 and table.has_ids for table in (a, b)):
        return _by_class([a, b], [_of_rows(table) for table in (a, b)])
    return _of_columns(a, b, options)


def _of_labels(table: Table) -> dict[str, int]:
    """Return how often each label stands in a column."""
    from infogeo.cli._tables import MISSING

    counted: Counter[str] = Counter()
    for block in table.blocks():
        counted.update(block.labels or [])
    for missing in MISSING:
        if missing in counted:
            raise UsageError(
                f"{table.path}: {counted[missing]} rows have no label: name their class, or leave "
                "these rows out"
            )
    return counted


def _of_rows(table: Table) -> dict[str, int]:
    """Return the counts of a table with a class in each row."""
    found: dict[str, int] = {}
    for block in table.blocks():
        _require_counts(table, block)
        for name, count in zip(block.ids, block.values[:, 0].tolist(), strict=True):
            if name in found:
                raise UsageError(f"{table.path} has the class {name} twice")
            found[name] = int(count)
    return found


def _of_columns(
    a: Table, b: Table, options: argparse.Namespace
) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Return the counts of tables with a class in each column and a sample in each row."""
    import numpy as np

    x, y = (table.whole() for table in (a, b))
    for table, block in ((a, x), (b, y)):
        _require_counts(table, block)
    if options.id is not None:
        x, y = _matched_rows(a, x, b, y, options.common)
    if len(x.ids) != len(y.ids):
        raise UsageError(
            f"{a.path} has {len(x.ids)} rows, {b.path} {len(y.ids)}: --id matches them by name"
        )
    names = x.ids if a.has_ids or len(x.ids) > 1 else ["all rows"]
    if a.columns is None or b.columns is None:
        if a.num_columns != b.num_columns:
            raise UsageError(
                f"{a.path} has {a.num_columns} classes, {b.path} {b.num_columns}, and without "
                "names of columns nothing says which are the same"
            )
        classes = a.columns or b.columns or [str(i) for i in range(a.num_columns)]
        return names, classes, x.values.astype(np.int64), y.values.astype(np.int64)
    alike = _classes_of([a, b], [a.columns, b.columns])
    classes = list(dict.fromkeys(alike.values()))
    old, new = (np.zeros((len(names), len(classes)), dtype=np.int64) for _ in range(2))
    for counts, table, block in ((old, a, x), (new, b, y)):
        places = [classes.index(alike[column]) for column in table.columns or ()]
        for place, column in zip(places, block.values.T, strict=True):
            counts[:, place] += column.astype(np.int64)
    return names, classes, old, new


def _matched_rows(a: Table, x: Block, b: Table, y: Block, common: bool) -> tuple[Block, Block]:
    from infogeo.cli._tables import alike

    x, y = alike(x, y)
    place = {name: i for i, name in enumerate(y.ids)}
    for table, block in ((a, x), (b, y)):
        if len(set(block.ids)) < len(block.ids):
            raise UsageError(f"{table.path} has several rows of one name")
    if not common and set(x.ids) != place.keys():
        only = sorted(set(x.ids) ^ place.keys())
        raise UsageError(
            f"only one of {a.path} and {b.path} has the row {only[0]}: --common compares the rows "
            "that both have"
        )
    ours = [i for i, name in enumerate(x.ids) if name in place]
    if not ours:
        raise UsageError(f"{a.path} and {b.path} have no row in common")
    return x.take(ours), y.take([place[x.ids[i]] for i in ours])


def _require_counts(table: Table, block: Block) -> None:
    import numpy as np

    x = block.values
    with np.errstate(invalid="ignore"):
        is_bad = ~(np.isfinite(x) & (x >= 0.0) & (x == np.round(x)) & (x < 2.0**53))
    if is_bad.any():
        i, j = (int(index[0]) for index in np.nonzero(is_bad))
        column = f"column {j + 1}" if table.columns is None else f"column {table.columns[j]}"
        raise UsageError(
            f"{table.path}: row {block.rows[i]} has {x[i, j]:g} in {column}, which is no count: "
            "counts are whole numbers, below 2**53"
        )


def _by_class(
    tables: list[Table], samples: list[dict[str, int]]
) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    from infogeo.interop.frames import matched_counts

    alike = _classes_of(tables, samples)
    counted: list[Counter[str]] = [Counter(), Counter()]
    for total, sample in zip(counted, samples, strict=True):
        for name, count in sample.items():
            total[alike[name]] += count
    classes, (old, new) = matched_counts(*counted)
    return ["all rows"], classes, old[None], new[None]


def _classes_of(tables: list[Table], names: Sequence[Iterable[str]]) -> dict[str, str]:
    """Return the class that each name stands for; refuse what may be one or two."""
    from infogeo.cli._tables import are_numbers, as_classes

    alike = as_classes(*names)
    first, second = (list(dict.fromkeys(labels)) for labels in names)
    for numbers, words in ((first, second), (second, first)):
        are_words = all(word.lower() in ("true", "false") for word in words)
        if are_words and are_numbers(numbers) and {float(x) for x in numbers} <= {0.0, 1.0}:
            raise UsageError(
                f"{tables[0].path} has the classes {_few(first)}, {tables[1].path} has "
                f"{_few(second)}: write them in one way in both files"
            )
    ours, theirs = (
        {Decimal(x): x for x in these if are_numbers([x]) and alike[x] not in others}
        for these, others in (
            (first, [alike[x] for x in second]),
            (second, [alike[x] for x in first]),
        )
    )
    both = next((x for x in ours if x in theirs), None)
    if both is not None:
        raise UsageError(
            f"{tables[0].path} has the class {ours[both]}, {tables[1].path} has {theirs[both]}, "
            "the same number, and other classes are no numbers or differ in how they are written: "
            "write them in one way in both files"
        )
    return alike


# ---------------------------------------------------------------- summary


def summary(samples: Samples, options: argparse.Namespace) -> dict[str, Any]:
    """Return what the counts say."""
    import numpy as np

    found = samples.found
    pairs = [
        {
            "name": name,
            "old_total": int(samples.old[i].sum()),
            "new_total": int(samples.new[i].sum()),
            "distance": float(found.distance[i]),
            "estimate": float(found.estimate[i]),
            "lower": float(found.lower[i]),
            "upper": float(found.upper[i]),
            "p_value": float(samples.p_values[i]),
            "by_class": _by_change(samples, i),
        }
        for i, name in enumerate(samples.names)
    ]
    seen = np.stack([samples.old.any(axis=0), samples.new.any(axis=0)])
    only = [
        [samples.classes[j] for j in np.flatnonzero(here & ~there).tolist()]
        for here, there in (seen, seen[::-1])
    ]
    return {
        "classes": len(samples.classes),
        "only_in_old": only[0],
        "only_in_new": only[1],
        "level": options.level,
        "samples": pairs,
    }


def _by_change(samples: Samples, i: int) -> list[dict[str, Any]]:
    """Return the classes that changed most: those with most of the squared distance of roots."""
    import numpy as np

    old, new = samples.old[i], samples.new[i]
    p, q = old / old.sum(), new / new.sum()
    change = (np.sqrt(p) - np.sqrt(q)) ** 2
    rows = []
    for j in np.argsort(-change, kind="stable")[:_MOST_CLASSES].tolist():
        row: dict[str, Any] = {"class": samples.classes[j]}
        for key, x in (("old", old), ("new", new)):
            count, total = int(x[j]), int(x.sum())
            row |= {
                f"{key}_count": count,
                f"{key}_share": count / total,
                f"{key}_share_error": statistics.share_error(count, total),
            }
        rows.append(row)
    return rows


def outcomes(samples: Samples, found: dict[str, Any], options: argparse.Namespace) -> list[Outcome]:
    """Return what the limits decide, and add it to the summary."""
    results = []
    if options.fail_above is not None:
        reached = float(samples.found.estimate.max())
        found["threshold"] = {"distance": reached, "fail_above": options.fail_above}
        results.append(
            Outcome(
                reached <= options.fail_above,
                f"estimated distance {reached:.4g}, allowed {options.fail_above:.4g}",
            )
        )
    if options.fail_p_below is not None:
        p = min(1.0, float(samples.p_values.min()) * len(samples.names))
        found["p_limit"] = {"p_value": p, "fail_below": options.fail_p_below}
        results.append(statistics.of_p_value(p, options.fail_p_below))
    if options.tolerance is not None:
        verdicts = [
            statistics.verdict(
                pair["estimate"],
                pair["lower"],
                pair["upper"],
                pair["old_total"] + pair["new_total"],
                tolerance=options.tolerance,
                level=options.level,
            )
            for pair in found["samples"]
        ]
        for pair, verdict in zip(found["samples"], verdicts, strict=True):
            pair["verdict"] = verdict["verdict"]
        worst = max(verdicts, key=_severity)
        found["tolerance"] = worst
        results.append(statistics.of_verdict(worst, "distance", "observations"))
    return results


def _severity(verdict: dict[str, Any]) -> tuple[int, float]:
    order = [statistics.PASS, statistics.UNDECIDED, statistics.DRIFT]
    rows = verdict.get("rows_that_would_decide", 0)
    return order.index(verdict["verdict"]), math.inf if rows is None else rows


def words(found: dict[str, Any]) -> list[Part]:
    """Return the summary for people."""
    pairs = found["samples"]
    first = pairs[0]
    parts: list[Part] = []
    if len(pairs) == 1:
        parts += [
            f"{first['old_total']} and {first['new_total']} observations of {found['classes']} "
            "classes",
            f"distance: {_interval(first)} at the level {found['level']:.15g} "
            f"(of the shares as they are: {first['distance']:.4g})",
            f"equal distributions: p = {first['p_value']:.3g}",
        ]
    else:
        parts.append(
            f"{len(pairs)} pairs of samples, {found['classes']} classes; all intervals together "
            f"hold at the level {found['level']:.15g}"
        )
    for key, which in (("only_in_old", "OLD"), ("only_in_new", "NEW")):
        if found[key]:
            parts.append(f"only in {which}: {_few(found[key])}")
    parts.append("distances are in radians, from 0 to pi; ± is one standard error")
    if len(pairs) > 1:
        head = ["sample", "OLD", "NEW", "distance", "p"]
        rows = [
            [
                pair["name"],
                str(pair["old_total"]),
                str(pair["new_total"]),
                _interval(pair),
                f"{pair['p_value']:.3g}",
            ]
            for pair in pairs
        ]
        return [*parts, TableOf("", [head, *rows])]
    head = ["class", "OLD", "NEW", "share before", "share after"]
    rows = [
        [
            row["class"],
            str(row["old_count"]),
            str(row["new_count"]),
            *(
                shown_share(row[f"{key}_share"], row[f"{key}_share_error"])
                for key in ("old", "new")
            ),
        ]
        for row in first["by_class"]
    ]
    return [*parts, TableOf("changed most:", [head, *rows])]


def _interval(pair: dict[str, Any]) -> str:
    return f"{pair['estimate']:.4g}, from {pair['lower']:.4g} to {pair['upper']:.4g}"


# ---------------------------------------------------------------- files


def write(
    folder: Path, samples: Samples, found: dict[str, Any], options: argparse.Namespace
) -> None:
    """Write the summary and the figure."""
    with replacing(folder / "drift.png") as partial:
        _write_figure(partial, samples, options.tolerance)
    with replacing(folder / "summary.json") as partial:
        partial.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _write_figure(path: Path, samples: Samples, tolerance: float | None) -> None:
    import matplotlib

    matplotlib.use("Agg")  # a command draws into a file, wherever it runs
    from matplotlib import pyplot as plt

    from infogeo import plot

    plot.intervals(samples.found, names=samples.names, tolerance=tolerance)
    with warnings.catch_warnings():  # about letters that the font lacks
        warnings.simplefilter("ignore", UserWarning)
        plt.gcf().savefig(path, dpi=150, format="png")
    plt.close("all")
