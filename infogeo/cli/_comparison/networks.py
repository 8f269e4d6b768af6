"""The drift between two checkpoints of a network on the same inputs, and the line between them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infogeo._system.progress import Progress
from infogeo.cli._common import UsageError, first_line, require, warnings_in_a_line
from infogeo.cli._comparison import predictions, statistics
from infogeo.cli._comparison.predictions import FILES as FILES
from infogeo.cli._comparison.predictions import Rows
from infogeo.cli._comparison.predictions import outcomes as outcomes
from infogeo.cli._comparison.predictions import write as write
from infogeo.cli._comparison.words import Part, shown_with_error

if TYPE_CHECKING:
    import torch

    from infogeo.pullback import PullbackMetric

_MOST_ON_THE_LINE = 1000  # inputs: the line takes some hundred forward passes
_LINE_RTOL = 1e-2


@dataclass(frozen=True)
class NetworkRows(Rows):
    """What is kept of every input, and of the straight line of weights between the networks."""

    line: dict[str, Any]


def measure(options: argparse.Namespace, progress: Progress) -> NetworkRows:
    """Return what there is to know of every input, from two checkpoints."""
    require("infogeo compare --model", torch="torch")
    import torch

    from infogeo.cli import _loading

    device = _loading.device(options.device)
    progress("loading", 0.0)
    old, new = (
        _loading.metric(options.model, Path(path), False, options.temperature, device)
        for path in (options.old, options.new)
    )
    _check_networks(old, new, options)
    inputs = _Inputs(options, old, device)
    try:
        with warnings_in_a_line("infogeo compare"):
            rows = _of_inputs(old, new, inputs, options, progress)
            progress("line", 0.9)
            line = _line(old, new, _Chosen(inputs))
    except (TypeError, ValueError) as error:
        raise UsageError(f"infogeo: {error}") from None
    except (MemoryError, torch.OutOfMemoryError):
        raise UsageError(
            f"infogeo: out of memory: give a --batch-size smaller than {options.batch_size}"
        ) from None
    except (RuntimeError, IndexError) as error:  # of a layer that cannot take its input
        raise UsageError(
            f"infogeo: the model fails on {options.inputs}, whose inputs have shape "
            f"{inputs.x.input_shape}: {first_line(error)}"
        ) from None
    return NetworkRows(**vars(rows), line=line)


def _check_networks(
    metric: PullbackMetric, other: PullbackMetric, options: argparse.Namespace
) -> None:
    import torch

    from infogeo.pullback import heads

    if metric.head is not heads.categorical:
        raise UsageError(
            f"infogeo: --model {options.model} has another head than classes, and no decisions to "
            "compare: see WeightMetric.distance in Python"
        )
    if not isinstance(metric.model, torch.nn.Module):
        raise UsageError(f"infogeo: --model {options.model} must make a torch.nn.Module")
    own, others = (set(_tensors(network.model)) for network in (metric, other))
    if own & others:
        raise UsageError(
            f"infogeo: --model {options.model} must make a new network at each call: what it makes "
            "for OLD and for NEW has weights in common, and would hold those of NEW twice"
        )


def _tensors(model: Any) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


def _of_inputs(
    old: PullbackMetric,
    new: PullbackMetric,
    inputs: _Inputs,
    options: argparse.Namespace,
    progress: Progress,
) -> Rows:
    """Return the distances and the decisions at all inputs."""
    import numpy as np

    from infogeo import logits
    from infogeo.pullback._network import check_samples_once, network_of

    columns: tuple[list[np.ndarray], ...] = ([], [], [])
    for k in range(len(inputs)):
        progress("distances", 0.9 * k / len(inputs))
        x, further = inputs.rows(slice(k * inputs.size, (k + 1) * inputs.size))
        both = [
            metric if further is None else replace(metric, inputs=further) for metric in (old, new)
        ]
        for metric in both if k == 0 else ():
            check_samples_once(metric.model, x, metric.inputs)
        z = [network_of(metric).outputs_alone(x).double().cpu().numpy() for metric in both]
        decisions = (part.argmax(axis=-1) for part in z)
        for column, part in zip(columns, (logits.fisher_rao_distance(*z), *decisions), strict=True):
            column.append(part)
    distances, before, after = map(np.concatenate, columns)
    ids = [str(i) for i in range(len(distances))]
    classes = [str(i) for i in range(z[0].shape[1])]
    truth = None
    if options.labels is not None:
        truth = predictions.read_truth(options, ids, 0, classes)
    return Rows(ids, distances, before, after, truth, classes, (0, 0))


class _Inputs:
    """The inputs of both networks, with what a further file has for each of them."""

    def __init__(
        self, options: argparse.Namespace, metric: PullbackMetric, device: torch.device
    ) -> None:
        from infogeo.cli._loading import Batches

        self._device, self.size = device, options.batch_size
        self.x = Batches(Path(options.inputs), self.size, metric.model, takes_integers=True)
        self.num_inputs = self.x.num_inputs
        if options.further and metric.inputs is not None:
            raise UsageError(
                f"infogeo: --further goes without the inputs of its own that {options.model} has"
            )
        names = [name for name, _ in options.further]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UsageError(f"infogeo: --further names {twice} twice: give one file for it")
        self._further = {
            name: Batches(Path(file), self.size, metric.model, takes_integers=True)
            for name, file in options.further
        }
        for name, file in options.further:
            if (found := self._further[name].num_inputs) != self.num_inputs:
                raise UsageError(
                    f"infogeo: {file} has {found} rows, and {options.inputs} {self.num_inputs}"
                )

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, which: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor] | None]:
        """Return some of the inputs on the device, and by name what goes with them."""
        named = {n: b.rows(which).to(self._device) for n, b in self._further.items()}
        return self.x.rows(which).to(self._device), named or None


class _Chosen(Sequence[Any]):
    """Some of the inputs, evenly over the file, batch by batch."""

    def __init__(self, inputs: _Inputs) -> None:
        self._inputs = inputs
        last = inputs.num_inputs - 1
        self.rows = [round(i * last / (_MOST_ON_THE_LINE - 1)) for i in range(_MOST_ON_THE_LINE)]
        if inputs.num_inputs <= _MOST_ON_THE_LINE:
            self.rows = list(range(inputs.num_inputs))

    def __len__(self) -> int:
        return -(-len(self.rows) // self._inputs.size)

    def __getitem__(self, k: Any) -> Any:
        size = self._inputs.size
        return self._inputs.rows(self.rows[k * size : (k + 1) * size])


def _line(old: PullbackMetric, new: PullbackMetric, inputs: _Chosen) -> dict[str, Any]:
    """Return how long the straight line of weights is, also to the units in matched order."""
    from infogeo.pullback import WeightMetric

    model: Any = old.model
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    of_all: Any = old.inputs

    def further(batch: Any) -> Any:
        return of_all if batch[1] is None else batch[1]

    found: dict[str, Any] = {"inputs": len(inputs.rows)}
    try:
        metric = WeightMetric(model, inputs, old.head, inputs=further, temperature=old.temperature)
    except (TypeError, ValueError) as error:  # of weights that have no line between them
        return found | {"refused": first_line(error)}
    second: Any = new.model
    distance = float(metric.distance(model, second))
    found |= {"distance": distance, "length": {}}
    ends = {"as they are": second}
    try:
        matching = metric.match_weights(model, second, throw=False)
    except ValueError:  # of networks that are no chain of layers, or have no hidden units
        matching = None
    if matching is not None and matching.after < matching.before:
        ends["matched"] = matching.weights
    for name, end in ends.items():
        found["length"][name] = float(metric.segment_length(model, end, rtol=_LINE_RTOL).value)
    return found


def summary(rows: NetworkRows, options: argparse.Namespace) -> dict[str, Any]:
    """Return what the inputs say together, with the distance of the networks and the line."""
    squares = rows.distances**2
    distance = math.sqrt(float(squares.mean()))
    error = statistics.mean_error(squares)
    if error is not None:
        error = error / (2.0 * distance) if distance > 0.0 else 0.0
    return {
        **predictions.summary(rows, options),
        "network_distance": distance,
        "network_distance_error": error,
        "line": rows.line,
    }


def words(found: dict[str, Any]) -> list[Part]:
    """Return the summary for people."""
    first, *rest = predictions.words(found)
    distance = shown_with_error(found["network_distance"], found["network_distance_error"])
    said: list[Part] = [f"distance of the networks: {distance} (root mean square)"]
    line = found["line"]
    if "refused" in line:
        said.append(f"straight line of weights: not measured: {line['refused']}")
    elif line["distance"] > 0.0:
        ratios = [
            f"{length / line['distance']:.3g} times the distance" + _ORDERS[name]
            for name, length in line["length"].items()
        ]
        said.append(
            f"straight line of weights, on {line['inputs']} inputs: {', '.join(ratios)} (1 is a "
            "geodesic)"
        )
    return [first, *said, *rest]


_ORDERS = {"as they are": "", "matched": " with the hidden units in matched order"}
