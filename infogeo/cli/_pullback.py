"""The command ``infogeo pullback``."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING

from infogeo._system.progress import Progress, progress_bar
from infogeo.cli._common import (
    Commands,
    HelpFormatter,
    UsageError,
    add_network,
    first_line,
    folder_name,
    require,
    say,
    warnings_in_a_line,
    whole_number,
    writable_folder,
)

if TYPE_CHECKING:
    import numpy as np
    import torch

    from infogeo.cli._loading import Batches
    from infogeo.pullback import PullbackMetric, Scan, Spectrum


_EXPLANATION = """\
The factory is a function without arguments that returns a torch.nn.Module whose outputs are logits,
or an infogeo.pullback.PullbackMetric of another head. It is looked for in the current folder, too.
The inputs are an array with one input in each row, as the model takes them: images that a model
was trained on in [0, 1] are saved in [0, 1].

A scan that was stopped goes on where it was when the same command is given again. Several processes
share one with --shard 0/2 and --shard 1/2, or under torchrun, which numbers them by itself. Where
they share the folder, too, the last one writes the report; else --merge brings folders together.

  infogeo pullback --model package.models:make --weights w.pt --inputs x.npy -o scan
  infogeo pullback --merge scan-0 scan-1 -o scan

Exit status: 0 if all is well, 2 if something has to be put right.
"""


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "pullback",
        help="measure how sensitive a network's predictions are, at every input of a data set",
        description="Pulls the Fisher metric of a network's predictions back to its inputs, at "
        "every input of a file: its eigenvalues, its rank and the predictions. Writes the numbers "
        "(part-*.npz), summary.json, report.html and figures.",
        epilog=_EXPLANATION,
        formatter_class=HelpFormatter,
    )
    add_network(parser, is_required=False)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FOLDER",
        required=True,
        type=folder_name,
        help="where to write; made if it does not exist",
    )
    parser.add_argument(
        "--temperature", metavar="T", type=float, help="the logits are divided by it (default: 1)"
    )
    parser.add_argument(
        "--batch-size",
        metavar="N",
        default=64,
        type=whole_number(1),
        help="how many inputs are measured at once, and lost by a kill (default: %(default)s)",
    )
    parser.add_argument(
        "--shard",
        metavar="I/N",
        type=_shard,
        help="measure the part I = 0, ..., N - 1 of N parts (default: that of torchrun, else all)",
    )
    parser.add_argument(
        "--merge",
        metavar="FOLDER",
        nargs="+",
        default=[],
        type=folder_name,
        help="first take over what scans with these folders have; without --model, only that",
    )
    parser.add_argument("--json", action="store_true", help="print json, for programs")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    _check_combination(options)
    require("infogeo pullback", torch="torch", matplotlib="plot")
    with (
        writable_folder(options.output),
        progress_bar() as progress,
        warnings_in_a_line("infogeo pullback"),
    ):
        progress("loading", 0.0)
        explorer: _Explorer | None = None
        if options.merge:
            found = _merge(options)
        if options.model is not None:
            found, explorer = _scan(options, progress)
        if found.missing:
            return _say_what_is_missing(found, options)
        progress("report", 1.0)
        from infogeo.cli import _pullback_report

        summary = _pullback_report.write(found, explorer)
    say(json.dumps(summary, indent=2) if options.json else _pullback_report.as_text(summary))
    return 0


def _check_combination(options: argparse.Namespace) -> None:
    if options.model is None and not options.merge:
        raise UsageError("infogeo pullback: give --model, or --merge (see infogeo pullback --help)")
    if options.model is not None and options.inputs is None:
        raise UsageError("infogeo pullback: --model needs --inputs (see infogeo pullback --help)")
    if options.weights is not None and options.untrained:
        raise UsageError("infogeo pullback: --weights and --untrained contradict each other")


def _say_what_is_missing(found: Scan, options: argparse.Namespace) -> int:
    total = found.settings["batches"]
    fields = {"batches": total, "missing": len(found.missing), "folder": str(found.folder)}
    text = (
        f"{total - len(found.missing)} of {total} batches are in {found.folder}: the others are "
        "missing. When all parts are scanned, the last one writes the report, or --merge does."
    )
    say(json.dumps(fields, indent=2) if options.json else text)
    return 0


# ---------------------------------------------------------------- the scan


def _merge(options: argparse.Namespace) -> Scan:
    from infogeo import pullback

    try:
        return pullback.merge_scans(options.merge, options.output)
    except ValueError as error:
        raise UsageError(f"infogeo pullback: --merge: {error}") from None


def _scan(options: argparse.Namespace, progress: Progress) -> tuple[Scan, _Explorer]:
    """Return the scan, and what is needed to look at single inputs again."""
    import torch

    from infogeo import pullback
    from infogeo.cli import _loading

    device = _loading.device(options.device)
    metric = _loading.metric(
        options.model, options.weights, options.untrained, options.temperature, device
    )
    inputs = _loading.Batches(options.inputs, options.batch_size, metric.model)
    is_categorical = metric.head is pullback.heads.categorical
    quantities = {
        "logits" if is_categorical else "outputs": pullback.quantities.outputs,
        "log_eigenvalues": pullback.PullbackMetric.log_spectrum,
        "rank": pullback.PullbackMetric.rank,
    }
    try:
        found = pullback.scan(
            metric,
            inputs,
            quantities=quantities,
            out=options.output,
            shard=options.shard or _torchrun_shard(),
            progress=lambda done, total: progress("scanning", done / max(total, 1)),
        )
    except (TypeError, ValueError) as error:
        raise UsageError(f"infogeo pullback: {error}") from None
    except (MemoryError, torch.OutOfMemoryError):
        raise UsageError(
            "infogeo pullback: out of memory: give a --batch-size smaller than "
            f"{options.batch_size}; what is written stays"
        ) from None
    except RuntimeError as error:  # of a layer that cannot take its input
        raise UsageError(
            f"infogeo pullback: the model fails on {options.inputs}, whose inputs have shape "
            f"{inputs.input_shape}: {first_line(error)}"
        ) from None
    return found, _Explorer(metric, inputs, device)


class _Explorer:
    """The metric at single inputs of the file."""

    def __init__(self, metric: PullbackMetric, inputs: Batches, device: torch.device) -> None:
        self._metric, self._inputs, self._device = metric, inputs, device

    def spectra(self, indices: np.ndarray, num_values: int) -> tuple[torch.Tensor, Spectrum]:
        """Return inputs and their largest eigenvalues, with as many in work as memory holds."""
        import torch

        from infogeo.cli._sensitivity import downhill
        from infogeo.pullback import heads
        from infogeo.pullback._blocks import blocks
        from infogeo.pullback._network import network_of
        from infogeo.pullback.metric import Spectrum

        x = self._inputs.rows(indices)
        parts = []
        for rows in x.split(self._inputs.size):
            for metric, part in blocks(self._metric, rows.to(self._device)):
                found = metric.spectrum(part, num_values=num_values)
                if metric.head is heads.categorical:
                    found = downhill(network_of(metric).outputs, part, found)
                parts.append((found.values.cpu(), found.vectors.cpu()))
        values, vectors = (torch.cat(part) for part in zip(*parts, strict=True))
        return x, Spectrum(values, vectors, self._metric.temperature)


def _torchrun_shard() -> tuple[int, int] | None:
    rank, size = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if rank is None or size is None:
        return None
    try:
        return _shard(f"{rank}/{size}")
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"infogeo pullback: RANK/WORLD_SIZE: {error}") from None


# ---------------------------------------------------------------- numbers in options


def _shard(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    is_pair = slash and all(part.isascii() and part.isdigit() for part in (index, count))
    if is_pair and int(index) < int(count):
        return int(index), int(count)
    raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 0 to N - 1, as in 0/2")
