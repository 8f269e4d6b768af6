"""The command ``infogeo compare``."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from infogeo._system.progress import bar_for_people
from infogeo._system.version import __version__
from infogeo.cli._common import (
    CHECKPOINTS,
    Commands,
    HelpFormatter,
    UsageError,
    add_columns,
    folder_name,
    require,
    say,
    whole_number,
    writable_folder,
)
from infogeo.cli._comparison import counts, networks, predictions
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
  infogeo compare may.csv june.csv --counts --tolerance 0.1         a column for each class
  infogeo compare may.csv june.csv --counts --id class              a row for each class
  infogeo compare may.csv june.csv --counts --label-column class    a row for each observation
  infogeo compare old.pt new.pt --model package.models:make --inputs x.npy    two checkpoints

Distances are in radians of the sphere of radius 2: 0 for equal predictions, pi for disjoint ones.
Rows are taken for independent draws; a tolerance is about the inputs that they were drawn from.
Exit status: 0; 1 if a limit is passed (--fail-...) or the distance is above --tolerance; 2 if a
file is wrong; 3 if there are not enough data to tell whether it is below.
"""


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "compare",
        help="how far the predictions moved between two versions of a model",
        description="Measures the drift between two versions of a model: quantiles of the "
        "Fisher-Rao distances, class by class, decisions that changed, and the rows that moved "
        "most.",
        epilog=_EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("old", metavar="OLD", help="the predictions of the old version")
    parser.add_argument("new", metavar="NEW", help="those of the new one, on the same inputs")
    _add_tables(parser.add_argument_group("what the tables hold"))
    _add_networks(parser.add_argument_group("checkpoints instead of tables"))
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
        "--counts",
        action="store_true",
        help="the tables hold counts of classes, or with --label-column an observation in each row",
    )
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
        "--label-column",
        metavar="COLUMN",
        help="the column of OLD with the true classes; with --counts: of both, what is counted",
    )
    group.add_argument(
        "--format",
        metavar="FORMAT",
        default="csv",
        help="what standard input holds: csv (default), tsv, jsonl, parquet, feather",
    )


def _add_networks(group: Any) -> None:
    group.add_argument(
        "--model",
        metavar="MODULE:FACTORY",
        help="what makes the network, as for infogeo pullback: OLD and NEW are weights for it "
        "(.safetensors, or what torch.save wrote; nothing is unpickled but tensors). FILE:PART "
        "takes a part of a checkpoint, such as new.ckpt:ema_model",
    )
    group.add_argument(
        "--inputs",
        metavar="FILE",
        help="the inputs, floats or token ids: a .npy or a .npz file (FILE.npz:NAME if it holds "
        "several arrays), or a column of lists, FILE.parquet:COLUMN",
    )
    group.add_argument(
        "--further",
        metavar="NAME=FILE",
        action="append",
        default=[],
        type=_named_file,
        help="what the network takes as its argument NAME beside each input, for instance "
        "attention_mask=tokens.npz:attention_mask; more than once for several",
    )
    group.add_argument(
        "--temperature", metavar="T", type=float, help="the logits are divided by it (default: 1)"
    )
    group.add_argument(
        "--batch-size",
        metavar="N",
        default=64,
        type=whole_number(1),
        help="how many inputs are in work at once (default: %(default)s)",
    )
    group.add_argument("--device", default="cpu", help="for instance cuda (default: %(default)s)")


def _add_gates(group: Any) -> None:
    group.add_argument(
        "--tolerance",
        metavar="D",
        type=_distance,
        help="the distance that does not matter, of --counts or on average: exit with status 0 if "
        "the interval is below it, 1 if it is above, 3 if it is on both sides",
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
        help="exit with status 1 if the p-value is smaller: of equal accuracies (McNemar's exact "
        "test), which needs labels, or with --counts of equal distributions",
    )


def _named_file(text: str) -> tuple[str, str]:
    name, sign, file = text.partition("=")
    if sign and name.isidentifier() and file:
        return name, file
    raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE, as in mask=mask.npy")


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
    kind: Any = counts if options.counts else predictions
    kind = kind if options.model is None else networks
    try:
        with bar_for_people() as progress:
            measured = kind.measure(options, progress)
        summary = _head(options) | kind.summary(measured, options)
        outcomes = kind.outcomes(measured, summary, options)
        decided = [outcome.passed for outcome in outcomes if outcome.passed is not None]
        is_open = all(decided) and len(decided) < len(outcomes)
        if outcomes:
            summary["passed"] = None if is_open else all(decided)
        if options.output is not None:
            with writable_folder(options.output) as folder:
                kind.write(folder, measured, summary, options)
    except UsageError as error:
        said = str(error).removeprefix("infogeo: ")
        raise UsageError(f"infogeo compare: {said}") from None
    parts = kind.words(summary)
    if options.output is not None:
        parts.append(f"written to {options.output}: {kind.FILES}")
    _say(options, summary, [*parts, *(outcome.words for outcome in outcomes)])
    return 3 if is_open else 0 if all(decided) else 1


def _check(options: argparse.Namespace) -> None:
    """Refuse options that do nothing, or contradict each other."""
    has_labels = options.labels is not None or options.label_column is not None
    without_counts = ("logits", "normalize", "labels", "quantile", "fail_changed_above")
    useless = next((name for name in without_counts if getattr(options, name)), None)
    of_tables = ("counts", "logits", "normalize", "id", "columns", "ignore", "common")
    in_vain = next((n for n in (*of_tables, "label_column") if getattr(options, n)), None)
    is_checkpoint = options.old.lower().endswith(CHECKPOINTS)
    for is_wrong, words in (
        (
            options.model is not None and in_vain is not None,
            f"--model goes without --{(in_vain or '').replace('_', '-')}, which is about tables",
        ),
        (
            (options.model is None) != (options.inputs is None),
            "--model and --inputs go together: checkpoints are compared on inputs",
        ),
        (
            options.further and options.model is None,
            "--further needs --model: it is about networks",
        ),
        (
            options.model is None and is_checkpoint,
            f"{options.old} looks like a checkpoint: give --model and --inputs, too",
        ),
        (
            options.counts and useless is not None,
            f"--counts goes without --{(useless or '').replace('_', '-')}, which is about "
            "predictions",
        ),
        (
            options.quantile is not None and options.fail_above is None,
            "--quantile needs --fail-above: alone nothing can fail",
        ),
        (
            options.fail_p_below is not None and not has_labels and not options.counts,
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
    files: dict[str, Any] = {"old": options.old, "new": options.new}
    files |= {
        name: value
        for name in ("labels", "inputs", "model")
        if (value := getattr(options, name)) is not None
    }
    if options.further:
        files["further"] = dict(options.further)
    return {"version": __version__, "files": files, "unit": "radians"}


def _say(options: argparse.Namespace, summary: dict[str, Any], parts: list[Part]) -> None:
    if options.json:
        say(json.dumps(summary, indent=2))
    elif options.markdown:
        say(as_markdown(f"infogeo compare {options.old} {options.new}", parts))
    else:
        say(as_text(parts))
