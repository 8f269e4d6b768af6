"""The scan of a data set: in batches, resumable, shared by several processes."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from infogeo._array import BadValueError, bad_value
from infogeo._docs import finish
from infogeo._result import Result
from infogeo._system.progress import terminal_bar
from infogeo._system.registry import storable
from infogeo._system.version import __version__
from infogeo.pullback import _parts
from infogeo.pullback import quantities as measures
from infogeo.pullback._blocks import blocks
from infogeo.pullback._checks import check_input
from infogeo.pullback._fingerprint import describe, digest_of, structure_of, weights_of
from infogeo.pullback._loaders import batches, check_loader, not_the_same
from infogeo.pullback._memory import remembering
from infogeo.pullback._network import Inputs, SampleInputs, network_of
from infogeo.pullback.metric import PullbackMetric
from infogeo.pullback.strategies import Batched, Loop, usual

__all__ = ["Scan", "merge_scans", "read_scan", "scan"]


def scan(
    model: Callable[..., Tensor] | PullbackMetric,
    loader: Iterable[Any],
    *,
    inputs: Callable[[Any], Inputs] | None = None,
    quantities: Mapping[str, Callable[[PullbackMetric, Tensor], Any]] | None = None,
    out: str | Path,
    shard: tuple[int, int] | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> "Scan":
    r"""Measure every input of a data set, and keep the results in a folder.

    Each batch is written when it is done. A scan that was stopped, or killed, goes on where it
    was when it is called again: no batch that was written is computed again, none is lost.

    Parameters
    ----------
    model : torch.nn.Module, callable or PullbackMetric
        The model, in eval mode; a `PullbackMetric` of it for another head or temperature.
    loader : sequence or torch.utils.data.DataLoader
        The batches of inputs, always the same in the same order: tensors of shape (batch, ...),
        or tuples that begin with one. Of a sequence each process reads only its own batches;
        ``x.split(64)`` makes one of a tensor, without a copy.
    inputs : callable or None
        For a model that takes more than x: ``inputs(batch)`` returns what goes with a batch of the
        loader as `PullbackMetric` takes it, for instance ``operator.itemgetter(1)``, or
        ``lambda batch: {"attention_mask": batch[1]}``.
    quantities : mapping of str to callable, or None
        What to measure, by name: functions ``quantity(metric, x)`` that return a tensor of shape
        (batch, ...), such as those of `infogeo.pullback.quantities` and the methods of
        `PullbackMetric`. None: ``outputs``, ``log_eigenvalues`` and ``rank``.
    out : str or pathlib.Path
        The folder of the results; made if it does not exist.
    shard : tuple of int or None
        ``(i, n)``: measure batches i, i + n, i + 2 n, ... only, as one of n processes
        0, ..., n - 1 that may share the folder. None: all of them.
    progress : callable or None
        Called as ``progress(done, total)`` with numbers of batches. None: a bar on a terminal
        where rich is installed.

    Returns
    -------
    Scan
        The results in the folder, by then also those of other processes.

    Raises
    ------
    TypeError, ValueError
        A model, loader, quantities or shard that cannot be used; a folder that holds a scan of
        another model, of other inputs or quantities; inputs that the model or the metric cannot
        take. What was written before stays.

    Notes
    -----
    The factor of the metric is computed once for each batch, whatever the quantities. Without a
    `strategy` of the metric, convolutional networks are measured with `Loop` and others with
    `Batched`, so that the numbers do not depend on how often a scan was stopped. A scan that
    goes on reads all its batches, to see that they are the same. What its results depend on is
    kept in the folder as digests of the model's layers and weights and of the inputs, and as names
    of functions; a function whose code has changed is not noticed.

    Examples
    --------
    >>> import tempfile, torch
    >>> from infogeo import pullback
    >>> x = torch.linspace(-1.0, 1.0, 10, dtype=torch.float64).reshape(5, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = pullback.scan(
    ...         lambda x: x,
    ...         x.split(2),
    ...         quantities={"sensitivity": pullback.quantities.sensitivity},
    ...         out=folder,
    ...     )
    ...     result.column("sensitivity").round(4)
    array([0.7028, 0.7028, 0.7028, 0.7028, 0.7028])
    """
    metric = model if isinstance(model, PullbackMetric) else PullbackMetric(model)
    quantities = _check_quantities(quantities)
    total = check_loader(loader)
    _check_inputs(metric, inputs)
    numbers = range(total)[_check_shard(shard)]
    folder = Path(out)
    settings = _settings(metric, quantities, total)
    _parts.check_settings(folder, settings, keys=settings)
    done = set(_parts.existing_parts(folder)).intersection(numbers)
    with contextlib.nullcontext(progress) if progress else terminal_bar("scanning") as report:
        report(0, len(numbers))
        for number, x, further in batches(loader, numbers, inputs):
            digest = digest_of(x, *(part for _, part in further.items()))
            if number == 0:
                settings["inputs"] = {"shape": list(x.shape[1:]), "first batch": digest}
                _parts.check_settings(folder, settings)
            if number not in numbers:
                continue
            at_batch = metric if inputs is None else replace(metric, inputs=further)
            _measure_once(folder, number, x, digest, at_batch, quantities, settings, done)
            report(numbers.index(number) + 1, len(numbers))
    _parts.write_settings(folder, settings)  # a process may have had nothing to do
    _parts.clear_up(folder, numbers)
    return read_scan(folder)


def read_scan(folder: str | Path) -> "Scan":
    """Return the results of a scan, finished or not.

    Parameters
    ----------
    folder : str or pathlib.Path
        Where `scan` or `merge_scans` wrote them.

    Returns
    -------
    Scan
        The results; nothing is read yet.

    Raises
    ------
    ValueError
        A folder without a scan.

    Examples
    --------
    >>> read_scan("nowhere")
    Traceback (most recent call last):
        ...
    infogeo.BadValueError: folder must hold a scan: nowhere has no scan.json. ...
    """
    path = Path(folder)
    settings = _parts.read_settings(path)
    if settings is None:
        raise bad_value(
            "folder",
            "hold a scan",
            f"{path} has no scan.json",
            "Pass the folder that was given to scan as out.",
        )
    missing = sorted(set(range(settings["batches"])).difference(_parts.existing_parts(path)))
    return Scan(path, tuple(missing), settings)


def merge_scans(folders: Sequence[str | Path], out: str | Path) -> "Scan":
    """Bring together what processes without a common folder have scanned.

    Parameters
    ----------
    folders : sequence of str or pathlib.Path
        The folders of scans of the same model, inputs and quantities.
    out : str or pathlib.Path
        The folder of the result; made if it does not exist. It may hold a part of the scan.

    Returns
    -------
    Scan
        The results in `out`.

    Raises
    ------
    ValueError
        Folders without a scan, or with scans that differ in what they depend on.

    Examples
    --------
    >>> import tempfile, torch
    >>> from infogeo import pullback
    >>> x = torch.zeros(10, 2).split(2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for i in range(2):
    ...         shard = pullback.scan(torch.relu, x, out=f"{folder}/{i}", shard=(i, 2))
    ...     whole = pullback.merge_scans([f"{folder}/0", f"{folder}/1"], f"{folder}/whole")
    ...     shard.missing, whole.missing, whole.column("rank")
    ((0, 2, 4), (), array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
    """
    target = Path(out)
    found = [read_scan(folder) for folder in folders]
    if not found:
        raise bad_value("folders", "name at least one folder", "it is empty")
    sources, settings = [part.folder for part in found], found[0].settings
    for folder in (target, *sources):
        _parts.check_settings(folder, settings)
    for source in sources:
        _take_over(source, target)
    _parts.write_settings(target, settings)
    return read_scan(target)


@storable("Scan")
@dataclass(frozen=True, eq=False, repr=False)
class Scan(Result):
    """The results of a scan, in its folder.

    Parameters
    ----------
    folder : pathlib.Path
        Where they are: a file ``part-00000000.npz`` for each batch, which numpy reads.
    missing : tuple of int
        The batches that were not measured when the scan was opened; none if it is complete.
    settings : dict
        What the results depend on: digests of the model and the inputs, the temperature, the
        names of the quantities and the number of batches.
    """

    folder: Path
    missing: tuple[int, ...]
    settings: dict

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the columns, in the order in which the quantities were given."""
        return tuple(self.settings["quantities"])

    def column(self, name: str) -> np.ndarray:
        """Return one quantity for all inputs, in their order.

        Parameters
        ----------
        name : str
            Of the quantity.

        Returns
        -------
        numpy array, shape (n, ...)
            One value, or array of values, for each input.

        Raises
        ------
        KeyError
            A quantity that was not measured.
        ValueError
            A scan that is not complete; parts that do not fit together.
        """
        if name not in self.names:
            raise KeyError(f"{name} is not a quantity of this scan: {', '.join(self.names)}.")
        if self.missing:
            raise ValueError(
                f"the scan in {self.folder} must be complete: {len(self.missing)} of "
                f"{self.settings['batches']} batches are missing, the first is {self.missing[0]}. "
                "Run the scan again, or merge_scans with the folders of the other processes."
            )
        return np.concatenate([columns[name] for _, columns in self.parts()])

    def parts(self) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Iterate over the batches that are there, so that memory holds one at a time.

        Yields
        ------
        number : int
            Of the batch.
        columns : dict of str to numpy array, shape (batch, ...)
            Its quantities by name.

        Raises
        ------
        ValueError
            A damaged file.
        """
        missing = set(self.missing)
        for number in range(self.settings["batches"]):
            if number not in missing:
                yield number, _parts.read_part(self.folder, number)[0]


# ---------------------------------------------------------------- one batch


def _measure_once(folder, number, x, digest, metric, quantities, settings, done):
    """Measure a batch and write its part, unless it is there."""
    written = _parts.read_digest(folder, number) if number in done else None
    if written is None:
        columns = _measure(metric, quantities, x, number)
        _parts.write_settings(folder, settings)
        _parts.check_settings(folder, settings)
        _parts.write_part(folder, number, columns, digest)
    elif written != digest:
        raise not_the_same("loader", f"batch {number} is not the one that {folder} has results for")


def _measure(metric, quantities, x, number):
    try:
        device = _device_of(metric.model, x)
        further = SampleInputs.of(metric.inputs).map(lambda part: part.to(device))
        metric, x = replace(metric, inputs=further), x.to(device)
        network_of(metric).check_samples(x)
        return _columns(metric, quantities, x)
    except (TypeError, ValueError) as error:
        if type(error) not in (TypeError, ValueError, BadValueError):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{error} (x is batch {number} of the scan)") from error


def _columns(metric, quantities, x):
    """Return all quantities at a batch, computed in the same way in every run.

    Which strategy is found to be the fastest varies from run to run, and so do the last digits.
    """
    if metric.strategy is None:
        metric = replace(metric, strategy=usual(metric.model))
        if isinstance(metric.strategy, Batched):
            try:
                return _columns(metric, quantities, x)
            except RuntimeError:  # an operation without a batching rule, or too little memory
                metric = replace(metric, strategy=Loop())
    check_input(x, check=metric.check)
    parts = [_columns_of_block(*block, quantities) for block in blocks(metric, x)]
    return {name: np.concatenate([part[name] for part in parts]) for name in quantities}


def _columns_of_block(metric, x, quantities):
    """Return all quantities at as many inputs as fit into memory."""
    with remembering():
        values = {name: quantity(metric, x) for name, quantity in quantities.items()}
    return {name: _to_numpy(name, value, len(x)) for name, value in values.items()}


def _to_numpy(name, value, batch):
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.shape[:1] != (batch,):
        seen = f"{array.dtype} of shape {array.shape}" if array.dtype != object else type(value)
        raise bad_value(
            f"quantities[{name!r}]",
            f"return numbers for each input, shape ({batch}, ...) here",
            f"it returned {seen}",
        )
    return array


def _device_of(model, x):
    parameters = model.parameters() if isinstance(model, torch.nn.Module) else iter(())
    parameter = next(parameters, None)
    return x.device if parameter is None else parameter.device


# ---------------------------------------------------------------- arguments


_DEFAULT = {
    "outputs": measures.outputs,
    "log_eigenvalues": PullbackMetric.log_spectrum,
    "rank": PullbackMetric.rank,
}
_NO_SETTINGS = ("model", "inputs", "chunk_size", "strategy", "check")  # or below


def _settings(metric, quantities, total):
    """Return all that the results depend on but the inputs."""
    model = metric.model
    is_module = isinstance(model, torch.nn.Module)
    return {
        "version of infogeo": __version__,
        "model": f"{type(model).__qualname__} {structure_of(model)}"
        if is_module
        else describe(model),
        "weights": weights_of(model) if is_module else "those of the function",
        **{
            field.name.replace("_", " "): _describe_setting(getattr(metric, field.name))
            for field in dataclasses.fields(metric)
            if field.name not in _NO_SETTINGS
        },
        "further inputs": describe([part for _, part in SampleInputs.of(metric.inputs).items()]),
        "quantities": {name: describe(function) for name, function in quantities.items()},
        "batches": total,
    }


def _describe_setting(value):
    return float(value) if isinstance(value, int | float) else describe(value)


def _check_quantities(quantities):
    if quantities is None:
        return dict(_DEFAULT)
    if not isinstance(quantities, Mapping) or not all(map(callable, quantities.values())):
        raise TypeError(
            "quantities must map names to functions quantity(metric, x): "
            f"got {type(quantities).__name__}{'' if not quantities else f' {quantities!r}'}. "
            "For instance {'trace': PullbackMetric.trace}."
        )
    names = list(quantities)
    wrong = [name for name in names if not str(name).isidentifier() or str(name).startswith("_")]
    if wrong or not names:
        seen = f"got {wrong[0]!r}" if wrong else "there are none"
        raise bad_value("quantities", "have names of letters, digits and underscores", seen)
    return dict(quantities)


def _check_inputs(metric, inputs):
    """Refuse inputs that do not come with the batches."""
    if inputs is not None and not callable(inputs):
        raise TypeError(
            "inputs must be a function of a batch of the loader that returns what goes with it: "
            f"got {type(inputs).__name__}. For instance operator.itemgetter(1)."
        )
    num_samples = SampleInputs.of(metric.inputs).num_samples
    if num_samples != 1:
        raise bad_value(
            "model.inputs",
            "have one row for all samples of a scan",
            f"they have {num_samples} rows",
            "Let the loader yield them beside x, and name them by the argument inputs of scan.",
        )


def _check_shard(shard):
    """Return the slice of the batches that a process measures."""
    if shard is None:
        return slice(None)
    is_pair = isinstance(shard, tuple | list) and len(shard) == 2
    if not (is_pair and all(isinstance(part, int | np.integer) for part in shard)):
        raise TypeError(f"shard must be two integers (i, n): got {shard!r}.")
    index, count = shard
    if not 0 <= index < count:
        raise bad_value("shard", "be (i, n) with i from 0 to n - 1", f"got {tuple(shard)}")
    return slice(index, None, count)


# ---------------------------------------------------------------- merging


def _take_over(source, target):
    """Copy the parts that the target lacks."""
    there = set(_parts.existing_parts(target))
    for number in _parts.existing_parts(source):
        if number not in there:
            _parts.copy_part(source, target, number)
        elif _parts.read_digest(source, number) != _parts.read_digest(target, number):
            raise ValueError(
                f"{source} and {target} must hold results for the same inputs: batch {number} "
                "was another one. Scan the same files on all machines."
            )


finish(globals())
