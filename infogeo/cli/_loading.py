"""Models, their weights and inputs, from what options name. Files are never unpickled."""

import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch

from infogeo._system.extras import is_installed
from infogeo.cli import _arrays
from infogeo.cli._common import CHECKPOINTS, UsageError, first_line, require
from infogeo.pullback import PullbackMetric


def device(name: str) -> torch.device:
    """Return a torch device that can be used; under torchrun each process has its own GPU."""
    try:
        found = torch.device(name)
        if found.type == "cuda" and found.index is None and "LOCAL_RANK" in os.environ:
            found = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.zeros(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError, ValueError) as error:
        raise UsageError(f"infogeo: --device {name} cannot be used: {first_line(error)}") from None
    return found


def metric(
    factory: str,
    weights: Path | None,
    is_untrained: bool,
    temperature: float | None,
    device: torch.device,
) -> PullbackMetric:
    """Return the PullbackMetric of what a factory MODULE:NAME makes, with weights from a file.

    The factory may also be a file that holds a network with its weights.
    """
    is_file = Path(factory).suffix.lower() in (*_SCRIPTED, ".onnx", ".pt2")
    if is_file and weights is not None:
        raise UsageError(f"infogeo: --weights: {factory} has weights of its own")
    made = _read_network(Path(factory)) if is_file else _call_factory(factory)
    model = made.model if isinstance(made, PullbackMetric) else made
    if isinstance(model, torch.nn.Module):
        if weights is not None:
            _load_weights(model, weights)
        elif not (is_untrained or is_file) and any(True for _ in model.parameters()):
            raise UsageError(
                f"infogeo: --model {factory} needs --weights, or the network may be a new one: if "
                "the factory loads them by itself, or the network is to be untrained, give "
                "--untrained"
            )
        for parameter in model.parameters():  # modules of TorchScript know no requires_grad_
            parameter.requires_grad_(False)
        with contextlib.suppress(NotImplementedError):  # modules of torch.export have one mode
            model.eval()
        model.to(device)
    elif not isinstance(made, PullbackMetric):
        raise UsageError(
            f"infogeo: --model {factory} must return a torch.nn.Module or a PullbackMetric: it "
            f"returned {type(made).__name__}"
        )
    elif weights is not None:
        raise UsageError("infogeo: --weights needs a torch.nn.Module to load them into")
    try:
        if not isinstance(made, PullbackMetric):
            return PullbackMetric(model, temperature=1.0 if temperature is None else temperature)
        return made if temperature is None else replace(made, temperature=temperature)
    except ValueError as error:
        raise UsageError(f"infogeo: --temperature: {error}") from None


_SCRIPTED = (".ts", ".torchscript", ".pt", ".pth")


def _read_network(path: Path) -> torch.nn.Module:
    """Return the network of a file that says what it computes, too; nothing in it is unpickled."""
    suffix = path.suffix.lower()
    if suffix == ".pt2":
        raise UsageError(
            f"infogeo: --model {path}: to read such a file torch unpickles and evaluates what is "
            "in it. If you trust it, load it in a factory of your own: def make(): return "
            f"torch.export.load({str(path)!r}).module()"
        )
    if suffix == ".onnx" and not is_installed("onnx2torch"):
        raise UsageError(f"infogeo: --model {path} needs onnx2torch: pip install onnx2torch")
    try:
        with open(path, "rb"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the format is an old one
            if suffix == ".onnx":
                return importlib.import_module("onnx2torch").convert(str(path))
            return torch.jit.load(str(path), map_location="cpu")
    except OSError as error:
        raise UsageError(f"infogeo: cannot read {path}: {error.strerror or error}") from None
    except Exception as error:  # whatever readers of other formats raise
        words = f"it cannot be converted: {first_line(error)}"
        if suffix != ".onnx":
            words = "it is no network of TorchScript. A state dict goes to --weights"
        raise UsageError(f"infogeo: --model {path}: {words}") from None


def _call_factory(name: str) -> Any:
    module_name, colon, attribute = name.partition(":")
    if not (colon and module_name and attribute):
        raise UsageError(
            f"infogeo: --model {name} is not MODULE:FACTORY, as in package.module:make"
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        factory: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            factory = getattr(factory, part)
        return factory()
    except ModuleNotFoundError as error:
        raise UsageError(
            f"infogeo: --model {name}: there is no module {error.name}, neither installed "
            "nor in the current folder"
        ) from None
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise UsageError(
            f"infogeo: --model {name}: {type(error).__name__}: {first_line(error)}"
        ) from None


def _load_weights(model: torch.nn.Module, path: Path) -> None:
    state = _fitting(path, model)
    _check_numbers(state, model, path)
    for name, own in model.state_dict().items():
        if not torch.is_tensor(own) or name not in state:
            continue
        if state[name].is_complex() > own.is_complex():
            raise UsageError(f"infogeo: {path}: {name} is complex, the model's is real")
        if state[name].is_floating_point() < own.is_floating_point():
            raise UsageError(
                f"infogeo: {path}: {name} holds {state[name].dtype}, the model's {own.dtype}: give "
                "quantised weights as the floating-point numbers that they stand for"
            )
    try:
        model.load_state_dict(state)
    except Exception as error:  # whatever the modules of the user raise
        text = " ".join(str(error).split())
        raise UsageError(f"infogeo: {path} does not fit the model: {text[:300]}") from None


def _fitting(path: Path, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the state dict of a file that is one of the model, or the only one there is.

    FILE:PART is the state dict that a checkpoint has under this name, or what stands behind this
    prefix in the names of its weights.
    """
    names = set(model.state_dict())
    file, part = _split_part(path)
    states = _read_states(file)
    if part is not None:
        named = [states[part]] if part in states else [_under(s, part) for s in states.values()]
        named = [state for state in named if state]
        if len(named) != 1:
            has = "has no part" if not named else "has several parts"
            known = ", ".join(filter(None, dict.fromkeys([*states, *_parts_of(states)])))
            raise UsageError(f"infogeo: {file} {has} {part}: it has {known[:200] or 'none'}")
        return _without_prefix(named[0], model)
    whole = [_without_prefix(state, model) for state in states.values()]
    fitting = [state for state in whole if set(state) == names] if len(whole) > 1 else whole
    if len(fitting) == 1 and set(fitting[0]) == names:
        return fitting[0]
    parts = list(states) if len(fitting) > 1 else []  # weights and their moving average
    if len(states) == 1 and fitting:  # the weights beside those of a loss, and their average
        state = next(iter(states.values()))
        parts = [p for p in _parts_of(states) if set(_completed(_under(state, p), model)) == names]
    if parts:
        raise UsageError(
            f"infogeo: {file} holds more than a state dict of the model: name the part to take, "
            f"{' or '.join(f'{file}:{one}' for one in parts[:4])}"
        )
    if len(fitting) != 1:
        raise UsageError(f"infogeo: {file} holds more than a state dict: {_HOW_TO_SAVE}")
    return fitting[0]


def _split_part(path: Path) -> tuple[Path, str | None]:
    """Split FILE:PART of a checkpoint."""
    name, colon, part = str(path).rpartition(":")
    if colon and name.lower().endswith(CHECKPOINTS):
        return Path(name), part
    return path, None


def _parts_of(states: dict[str, dict[str, torch.Tensor]]) -> list[str]:
    """Return the prefixes of names of weights, up to a dot."""
    split = (name.split(".") for state in states.values() for name in state)
    found = (".".join(parts[:k]) for parts in split for k in range(1, len(parts)))
    return list(dict.fromkeys(found))


def _under(state: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    """Return the weights whose names begin with a part, by the rest of their names."""
    prefix = f"{part}."
    return {n.removeprefix(prefix): value for n, value in state.items() if n.startswith(prefix)}


def _without_prefix(
    state: dict[str, torch.Tensor], model: torch.nn.Module
) -> dict[str, torch.Tensor]:
    """Return a state dict by the names of a model, if what wrapped it has put one before them all.

    DataParallel writes module.weight, torch.compile _orig_mod.weight, a module of Lightning the
    name of its attribute.
    """
    names = set(model.state_dict())
    parts = next(iter(state), "").split(".")
    for length in range(len(parts)):
        prefix = "".join(f"{part}." for part in parts[:length])
        shorter = {name.removeprefix(prefix): value for name, value in state.items()}
        shorter = _completed(shorter, model)
        if set(shorter) == names and all(name.startswith(prefix) for name in state):
            return shorter
    return state


def _completed(state: dict[str, torch.Tensor], model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a state dict with what it leaves out as its weights are those of another name."""
    tied = dict(model.named_parameters(remove_duplicate=False))
    known = {tied[name]: value for name, value in state.items() if name in tied}
    return state | {name: known[p] for name, p in tied.items() if name not in state and p in known}


def _check_numbers(state: dict[str, torch.Tensor], model: torch.nn.Module, path: Path) -> None:
    """Refuse weights that are no numbers, and two values of one weight."""
    known: dict[torch.Tensor, str] = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        if name not in state:
            continue
        if bool(state[name].isnan().any()):
            raise UsageError(f"infogeo: {path}: {name} holds NaN")
        first = known.setdefault(p, name)
        if not torch.equal(state[first], state[name]):
            raise UsageError(
                f"infogeo: {path}: {first} and {name} differ, and the model ties them: untie them "
                "in the model, too, if they were trained apart"
            )


_HOW_TO_SAVE = "save the weights with torch.save(model.state_dict(), FILE) or as safetensors"


def _read_states(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Return the state dict of a file, or all of a checkpoint by name; only tensors are read."""
    try:
        if path.suffix.lower() == ".safetensors":
            require("infogeo", safetensors="safetensors")
            from safetensors.torch import load

            data = path.read_bytes()
            with _arrays.parsing("it is no safetensors file, or a damaged one"):
                return {"": load(data)}
        with open(path, "rb") as file, _arrays.parsing("it is no state dict of tensors alone"):
            state = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UsageError(f"infogeo: cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"infogeo: {path}: {error}: {_HOW_TO_SAVE}") from None
    if _is_state(state):
        return {"": state}
    entries = state.items() if isinstance(state, dict) else ()
    return {str(name): entry for name, entry in entries if _is_state(entry) and entry}


def _is_state(value: Any) -> TypeGuard[dict[str, torch.Tensor]]:
    return isinstance(value, dict) and all(
        isinstance(name, str) and torch.is_tensor(tensor) for name, tensor in value.items()
    )


class Batches(Sequence[torch.Tensor]):
    """The batches of the inputs in a file, each read and converted when it is asked for.

    Whole numbers, such as token ids, and masks of yes and no stay what they are, where the command
    takes them.
    """

    def __init__(self, path: Path, size: int, model: Any, takes_integers: bool = False) -> None:
        self._path, self._array = path, _read_inputs(path, takes_integers)
        self.size = size
        kinds = {"f": _dtype_of(model), "b": torch.bool}
        self._dtype = kinds.get(self._array.dtype.kind, torch.int64)
        self.input_shape = self._array.shape[1:]
        self.num_inputs = len(self._array)

    def __len__(self) -> int:
        return -(-self.num_inputs // self.size)

    def __getitem__(self, k: Any) -> Any:
        if not 0 <= k < len(self):
            raise IndexError(k)
        return self.rows(slice(k * self.size, (k + 1) * self.size))

    def rows(self, which: Any) -> torch.Tensor:
        """Return some of the inputs, if they are finite to the model."""
        # A copy, in the byte order of this machine: the file is mapped for reading only.
        x = torch.from_numpy(np.array(self._array[which], self._array.dtype.newbyteorder("=")))
        x = x if self._dtype is None else x.to(self._dtype)
        bad = ~torch.isfinite(x)
        if bool(bad.any()):
            at, *place = torch.nonzero(bad)[0].tolist()
            raise UsageError(
                f"infogeo: {self._path}: row {np.arange(len(self._array))[which][at]} holds "
                f"{float(x[at, *place])} at {', '.join(map(str, place))}, counted from 0: inputs "
                "have to be finite"
            )
        return x


def _read_inputs(path: Path, takes_integers: bool) -> np.ndarray:
    """Return an array of numbers, one input in each row."""
    with _naming(path):
        array = _open_array(path)
        if array.dtype.kind not in ("fiub" if takes_integers else "f") or array.dtype.itemsize > 8:
            raise ValueError(
                f"its entries are {_arrays.entries_of(array.dtype)}: save the inputs as the model "
                "takes them, as floats (of bytes perhaps divided by 255)"
            )
        if array.ndim < 2 or len(array) == 0:
            raise ValueError(f"it needs one input in each row: its shape is {array.shape}")
    return array


def labels(path: Path, num_inputs: int, num_classes: int) -> np.ndarray:
    """Return the classes of all inputs, integers from 0 on."""
    with _naming(path):
        array = _open_array(path)
        if array.dtype.kind not in "iu":
            raise ValueError(
                f"its entries are {_arrays.entries_of(array.dtype)}: save the classes as integers "
                "from 0 on"
            )
        if array.shape != (num_inputs,):
            raise ValueError(
                f"it needs one class for each of {num_inputs} inputs: its shape is {array.shape}"
            )
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= num_classes:
            raise ValueError(
                f"its classes go from {low} to {high}, those of the model from 0 to "
                f"{num_classes - 1}"
            )
    return np.asarray(array, dtype=np.int64)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file of what is wrong with it."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"infogeo: cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"infogeo: {path}: {error}") from None


def _open_array(path: Path) -> np.ndarray:
    """Return the array of a file."""
    name, member = _arrays.split_name(path)
    suffix = Path(name).suffix.lower()
    if suffix == ".npy":
        return _arrays.open_npy(name)
    if suffix == ".npz":
        return _arrays.read_npz(name, member)
    if suffix == ".parquet":
        return _read_column(name, member)
    raise ValueError("the name must end in .npy, .npz or .parquet")


def _read_column(name: str, column: str | None) -> np.ndarray:
    """Return a column of a parquet file, numbers or lists of equal length."""
    require("infogeo", pyarrow="parquet")
    from pyarrow import compute, parquet, types

    with _arrays.parsing("it is no parquet file, or a damaged one"):
        names = parquet.read_schema(name).names
    if not names:
        raise ValueError("it has no columns")
    if column is None or column not in names:
        wrong = "name a column" if column is None else f"it has no column {column}: name one"
        raise ValueError(f"{wrong}, {name}:{names[0]}; it has {', '.join(names[:8])}")
    with _arrays.parsing("it is no parquet file, or a damaged one"):
        cells = parquet.read_table(name, columns=[column])[column].combine_chunks()
    if cells.null_count:
        raise ValueError(f"{cells.null_count} of its {len(cells)} cells are empty")
    if not (
        types.is_list(cells.type)
        or types.is_large_list(cells.type)
        or types.is_fixed_size_list(cells.type)
    ):
        return cells.to_numpy(zero_copy_only=False)
    lengths = np.unique(compute.list_value_length(cells).to_numpy(zero_copy_only=False))
    if len(cells) == 0:
        raise ValueError("it has no rows")
    if len(lengths) != 1:
        raise ValueError(
            f"its lists have {lengths[0]} to {lengths[-1]} entries: pad them to one length"
        )
    flat = cells.flatten()
    kinds = types.is_integer, types.is_floating, types.is_boolean
    if flat.null_count or not any(is_kind(flat.type) for is_kind in kinds):
        raise ValueError(f"its lists must hold numbers: their type is {flat.type}")
    return flat.to_numpy(zero_copy_only=False).reshape(len(cells), lengths[0])


def _dtype_of(model: Any) -> torch.dtype | None:
    """Return the dtype that a model's inputs need, None if it has no parameters."""
    parameters = model.parameters() if hasattr(model, "parameters") else ()
    return next((p.dtype for p in parameters if p.is_floating_point()), None)
