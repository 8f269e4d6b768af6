"""The command ``infogeo compare``."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from infogeo._system.progress import bar_for_people
from infogeo._system.version import __version__
from infogeo.cli._common import (
    Commands,
    UsageError,
    add_columns,
    folder_name,
    require,
    say,
    writable_folder,
)
from infogeo.cli._comparison import predictions, statistics
from infogeo.cli._comparison.words import Part, as_markdown, as_text

_EXAMPLES = """\
OLD and NEW are tables of predictions on the same inputs: csv, tsv, jsonl (also packed: .csv.gz),
npy, npz, parquet, feather, or - for standard input. Columns are matched by name, and rows too with
--id; else row stands beside row.

  infogeo compare old.csv new.csv
  infogeo compare old.npy new.npy --logits --labels labels.npy -o drift
  infogeo compare old.csv new.csv --id file --ignore 'meta_*' --label-column truth
  infogeo compare old.csv new.csv --fail-above 0.5                  no prediction may move further
  infogeo compare old.csv new.csv --fail-above 0.5 --quantile 0.99  one in a hundred may
  infogeo compare old.csv new.csv --tolerance 0.05                  the mean of all inputs to come

Distances are in radians of the sphere of radius 2: 0 for equal predictions, pi for disjoint ones.
Rows are taken for independent draws; a tolerance is about the inputs that they were drawn from.
Exit status: 0; 1 if a limit is passed (--fail-...) or the mean is above --tolerance; 2 if a file is
wrong; 3 if there are not enough data to tell whether it is below.
"""


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
    _add_tables(parser.add_argument_group("what the tables hold"))
    _add_gates(parser.add_argument_group("when it fails"))
    shown = parser.add_argument_group("what is shown")
    shown.add_argument(
        "-o",
        "--output",
        metavar="FOLDER",
        type=folder_name,
        help="also write summary.json, distances.csv and the figure drift.png",
    )
    form = shown.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print json, for programs")
    form.add_argument("--markdown", action="store_true", help="print Markdown, for a pull request")
    parser.set_defaults(run=_run)


def _add_tables(group: Any) -> None:
    group.add_argument(
        "--logits", action="store_true", help="the tables hold logits instead of probabilities"
    )
    group.add_argument(
        "--normalize", action="store_true", help="divide each row by its sum: counts, percentages"
    )
    add_columns(group)
    group.add_argument(
        "--common",
        action="store_true",
        help="with --id, which matches rows: leave out those that only one table has",
    )
    labels = group.add_mutually_exclusive_group()
    labels.add_argument(
        "--labels",
        metavar="FILE",
        help="the true classes, names or numbers: a file with one column, or FILE:COLUMN, which "
        "goes by --id where that is given",
    )
    labels.add_argument(
        "--label-column", metavar="COLUMN", help="the column of OLD with the true classes"
    )
    group.add_argument(
        "--format",
        metavar="FORMAT",
        default="csv",
        help="what standard input holds: csv (default), tsv, jsonl, parquet, feather",
    )


def _add_gates(group: Any) -> None:
    group.add_argument(
        "--tolerance",
        metavar="D",
        type=_distance,
        help="the mean distance that does not matter: 0 if it is below this with certainty, 1 if "
        "it is above, 3 if the rows cannot tell",
    )
    group.add_argument(
        "--level",
        metavar="P",
        type=_level,
        default=0.95,
        help="with which probability the interval holds that decides (default: 0.95)",
    )
    group.add_argument(
        "--fail-above", metavar="D", type=_distance, help="exit with status 1 above this distance"
    )
    group.add_argument(
        "--quantile",
        metavar="Q",
        type=_fraction,
        help="the share of the rows that has to stay within --fail-above (default: all)",
    )
    group.add_argument(
        "--fail-changed-above",
        metavar="SHARE",
        type=_share,
        help="exit with status 1 if more of the decisions changed",
    )
    group.add_argument(
        "--fail-p-below",
        metavar="P",
        type=_level,
        help="exit with status 1 if the p-value is smaller: that of equal accuracies (McNemar's "
        "exact test), which needs labels",
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _distance(text: str) -> float:
    if 0.0 <= (number := _number(text)) < math.pi:
        return number
    raise argparse.ArgumentTypeError(
        f"{text!r} is no limit: a distance from 0 to below pi, the largest there is"
    )


def _fraction(text: str) -> float:
    if 0.0 < (number := _number(text)) <= 1.0:
        return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a share: a number above 0 and up to 1")


def _share(text: str) -> float:
    if 0.0 <= (number := _number(text)) < 1.0:
        return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a share: a number from 0 to below 1")


def _level(text: str) -> float:
    if 0.0 < (number := _number(text)) < 1.0:
        return number
    raise argparse.ArgumentTypeError(f"{text!r} is no probability between 0 and 1")


def _run(options: argparse.Namespace) -> int:
    _check(options)
    if options.output is not None:
        require("infogeo compare -o", matplotlib="plot")
    try:
        with bar_for_people() as progress:
            rows = predictions.measure(options, progress)
        summary = _head(options) | predictions.summary(rows)
        gates = _gates(rows, summary, options)
        if options.output is not None:
            with writable_folder(options.output) as folder:
                predictions.write(folder, rows, summary)
    except UsageError as error:
        said = str(error).removeprefix("infogeo: ")
        raise UsageError(f"infogeo compare: {said}") from None
    parts = [*predictions.words(summary)]
    if options.output is not None:
        parts.append(f"written to {options.output}: summary.json, distances.csv, drift.png")
    _say(options, summary, [*parts, *gates])
    return _status(summary)


def _check(options: argparse.Namespace) -> None:
    """Refuse options that do nothing, or contradict each other."""
    has_labels = options.labels is not None or options.label_column is not None
    for is_wrong, words in (
        (
            options.quantile is not None and options.fail_above is None,
            "--quantile needs --fail-above: alone nothing can fail",
        ),
        (
            options.fail_p_below is not None and not has_labels,
            "--fail-p-below needs labels: it is about equal accuracies",
        ),
        (options.common and options.id is None, "--common needs --id: rows go by their names"),
        (
            options.logits and options.normalize,
            "--normalize is for counts and percentages: logits need no sum",
        ),
        (options.old == options.new == "-", "standard input is one table: give a file, too"),
    ):
        if is_wrong:
            raise UsageError(f"infogeo compare: {words}")


def _head(options: argparse.Namespace) -> dict[str, Any]:
    """Return what says how figures came about."""
    files = {"old": options.old, "new": options.new}
    if options.labels is not None:
        files["labels"] = options.labels
    return {"version": __version__, "files": files, "unit": "radians"}


def _gates(
    rows: predictions.Rows, summary: dict[str, Any], options: argparse.Namespace
) -> list[Part]:
    """Add what the limits decide to the summary, and return it in words."""
    import numpy as np

    said: list[Part] = []
    outcomes = []
    if options.fail_above is not None:
        quantile = 1.0 if options.quantile is None else options.quantile
        reached = float(np.quantile(rows.distances, quantile, method="inverted_cdf"))
        summary["threshold"] = {
            "quantile": quantile,
            "distance": reached,
            "fail_above": options.fail_above,
        }
        outcomes.append(reached <= options.fail_above)
        share = "all rows" if quantile == 1.0 else f"{quantile:.4g} of the rows"
        said.append(
            f"{_word(outcomes[-1])}: {share} within {reached:.4g}, allowed {options.fail_above:.4g}"
        )
    if options.fail_changed_above is not None:
        share, limit = summary["changed_share"], options.fail_changed_above
        summary["changed_limit"] = limit
        outcomes.append(share <= limit)
        said.append(f"{_word(outcomes[-1])}: {share:.2%} of decisions changed, allowed {limit:.2%}")
    if options.fail_p_below is not None:
        p, limit = summary["p_value"], options.fail_p_below
        summary["p_limit"] = limit
        outcomes.append(p >= limit)
        said.append(f"{_word(outcomes[-1])}: p = {p:.3g}, at least {limit:.3g} required")
    if options.tolerance is not None:
        found = statistics.verdict(
            *statistics.mean_interval(rows.distances, options.level),
            len(rows.ids),
            tolerance=options.tolerance,
            level=options.level,
        )
        summary["tolerance"] = found
        said.append(_verdict_in_words(found))
        if found["verdict"] != statistics.UNDECIDED:
            outcomes.append(found["verdict"] == statistics.PASS)
    if outcomes:
        summary["passed"] = all(outcomes)
    return said


def _word(passed: bool) -> str:
    return "passed" if passed else "FAILED"


def _verdict_in_words(found: dict[str, Any]) -> str:
    words = (
        f"{found['verdict'].upper()}: mean distance {found['estimate']:.4g}, from "
        f"{found['lower']:.4g} to {found['upper']:.4g} at the level {found['level']:g}, tolerance "
        f"{found['tolerance']:.4g}"
    )
    if found["verdict"] != statistics.UNDECIDED:
        return words
    rows = found["rows_that_would_decide"]
    return f"{words}: " + (
        "the mean is too near to it for any number of rows"
        if rows is None
        else f"about {rows} rows would decide"
    )


def _say(options: argparse.Namespace, summary: dict[str, Any], parts: list[Part]) -> None:
    if options.json:
        say(json.dumps(summary, indent=2))
    elif options.markdown:
        say(as_markdown(f"infogeo compare {options.old} {options.new}", parts))
    else:
        say(as_text(parts))


def _status(summary: dict[str, Any]) -> int:
    if summary.get("passed") is False:
        return 1
    return 3 if summary.get("tolerance", {}).get("verdict") == statistics.UNDECIDED else 0
