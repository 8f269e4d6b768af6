"""Results in files: npz or json, written whole or not at all, read without unpickling."""

import dataclasses
import functools
import importlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from infogeo._status import Status
from infogeo._system.files import replacing
from infogeo._system.registry import STORABLE

_HEADER = "infogeo"  # the entry of an npz file that says what the others are
_FORMAT = 1


def save(result: Any, path: str | os.PathLike[str]) -> None:
    """Save a result, a batch of normals or a family to a file.

    Parameters
    ----------
    result : Projection, Spectrum, Normal, MultivariateNormal or another frozen result
        What to save: anything that a function of infogeo returns in a class of its own, but heads
        and input metrics, which hold functions. Of a `Scan` the file holds where its folder is.
    path : str or os.PathLike
        A file whose name ends in ``.npz`` (small and fast) or ``.json`` (readable anywhere). An
        older file of that name is replaced once the new one is whole.

    Raises
    ------
    TypeError
        Something else than a result.
    ValueError
        Another ending.

    See Also
    --------
    load : The way back.

    Notes
    -----
    Every number comes back bit for bit, in its dtype, and names of rows and columns come back as
    lists. Gradients are not kept. Names other than text, numbers, tuples and timestamps are
    refused.

    Examples
    --------
    >>> import tempfile, infogeo
    >>> from infogeo import maxent
    >>> die = maxent.max_entropy([[1, 2, 3, 4, 5, 6]], [4.5])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     infogeo.save(die, f"{folder}/die.json")
    ...     again = infogeo.load(f"{folder}/die.json")
    >>> bool((again.probabilities == die.probabilities).all()), again.status.name
    (True, 'CONVERGED')
    """
    path = Path(path)
    suffix = _suffix(path)
    if _kind_of(result) is None:
        raise TypeError(
            f"result must be one of {', '.join(_homes())}: got {type(result).__name__}. "
            "Arrays are saved by numpy.save or torch.save."
        )
    arrays: dict[str, np.ndarray] = {}
    tree: dict[str, Any] = {"format": _FORMAT, "content": _encoded(result, "", arrays)}
    with replacing(path) as partial, open(partial, "xb") as file:
        if suffix == ".npz":
            entries: dict[str, Any] = {_HEADER: np.array(json.dumps(tree)), **arrays}
            np.savez(file, **entries)
        else:
            tree["arrays"] = {name: _as_json(array) for name, array in arrays.items()}
            file.write(json.dumps(tree, allow_nan=False).encode())


def load(path: str | os.PathLike[str]) -> Any:
    """Load what `infogeo.save` has saved.

    Parameters
    ----------
    path : str or os.PathLike
        A ``.npz`` or ``.json`` file.

    Returns
    -------
    Projection, Spectrum, Normal, MultivariateNormal or another frozen result
        What was saved. Tensors of torch come back as such, on the CPU; the arrays of all other
        libraries as numpy's.

    Raises
    ------
    OSError
        A file that cannot be read.
    ValueError
        A file that `infogeo.save` has not written, or that is damaged.
    ImportError
        A result of a library that is not installed.

    Notes
    -----
    Nothing is unpickled and no code of the file runs.

    Examples
    --------
    >>> import tempfile, infogeo
    >>> from infogeo.normal import Normal
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     infogeo.save(Normal([0.0, 1.0], 0.5), f"{folder}/normals.npz")
    ...     infogeo.load(f"{folder}/normals.npz").std
    array([0.5, 0.5])
    """
    path = Path(path)
    try:
        tree, arrays = _read_npz(path) if _suffix(path) == ".npz" else _read_json(path)
        if tree["format"] != _FORMAT:
            raise ValueError(f"its format is {tree['format']}, this version reads {_FORMAT}")
        return _decoded(tree["content"], arrays)
    except (OSError, ImportError):  # a result for which torch is missing, and its error says so
        raise
    except Exception as error:  # what a damaged file makes of readers and constructors is open
        raise ValueError(
            f"{path} must be a file that infogeo.save has written: {error or type(error).__name__}."
        ) from None


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in (".npz", ".json"):
        raise ValueError(f"path must end in .npz or .json: got {path}.")
    return suffix


# ---------------------------------------------------------------- objects to trees and back


def _encoded(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """Return a tree for json; arrays go by their names."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and not isinstance(value, np.generic):
        return {"float": value.hex()}
    if isinstance(value, Status):
        return {"status": value.name}
    if isinstance(value, Path):
        return {"path": str(value)}
    if type(value).__name__ == "Timestamp":  # of pandas, as a name of a row
        return {"timestamp": value.isoformat()}
    if isinstance(value, tuple | list):
        items = [_encoded(v, f"{name}.{i}", arrays) for i, v in enumerate(value)]
        return {"list" if isinstance(value, list) else "items": items}
    if isinstance(value, dict):
        return {"entries": [[k, _encoded(v, f"{name}.{k}", arrays)] for k, v in value.items()]}
    kind = _kind_of(value)
    if kind is not None:
        fields = {
            field.name: _encoded(getattr(value, field.name), f"{name}.{field.name}", arrays)
            for field in dataclasses.fields(value)
        }
        content: dict[str, Any] = {"kind": kind, "fields": fields}
        names = getattr(value, "__dict__", {}).get("_names")
        if names:  # of rows and columns: what is loaded is matched by them, too
            lists = tuple((axis, [_plain(label) for label in names[axis]]) for axis in names)
            content["names"] = _encoded(lists, f"{name}.names", arrays)
        if getattr(value, "_is_weak", False):  # of numbers and lists, which adopt any library
            content["weak"] = True
        sizes = getattr(value, "_num_samples", None)
        if sizes is not None:
            content["num_samples"] = _encoded(sizes, f"{name}.num_samples", arrays)
        return content
    if not hasattr(value, "__array__"):
        cls = type(value).__name__
        raise TypeError(f"{name.lstrip('.')} cannot be saved: it is of type {cls}.")
    array, library = _as_numpy(value)
    if array.dtype == object:
        items = [_encoded(v, f"{name}.{i}", arrays) for i, v in enumerate(array.ravel().tolist())]
        return {"objects": items, "shape": list(array.shape)}
    key = name.lstrip(".")
    arrays[key] = array
    return {"array": key, "library": library, "scalar": isinstance(value, np.generic)}


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label


def _as_numpy(value: Any) -> tuple[np.ndarray, str]:
    """Return an array on the host as one of numpy, and the library that it goes back to."""
    if not type(value).__module__.startswith("torch"):
        return np.asarray(value), "numpy"
    import torch

    tensor = value.detach().cpu()
    if tensor.dtype is torch.bfloat16:  # numpy has no such numbers: their bits
        return tensor.view(torch.int16).numpy(), "torch.bfloat16"
    return tensor.numpy(), "torch"


def _decoded(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "float" in tree:
        return float.fromhex(tree["float"])
    if "status" in tree:
        return Status[tree["status"]]
    if "path" in tree:
        return Path(tree["path"])
    if "timestamp" in tree:
        return importlib.import_module("pandas").Timestamp(tree["timestamp"])
    if "list" in tree:
        return [_decoded(item, arrays) for item in tree["list"]]
    if "items" in tree:
        return tuple(_decoded(item, arrays) for item in tree["items"])
    if "entries" in tree:
        return {key: _decoded(item, arrays) for key, item in tree["entries"]}
    if "objects" in tree:
        array = np.empty(len(tree["objects"]), dtype=object)
        array[:] = [_decoded(item, arrays) for item in tree["objects"]]
        return array.reshape(tree["shape"])
    if "kind" in tree:
        made = _made(tree["kind"], tree["fields"], arrays)
        if "names" in tree:
            object.__setattr__(made, "_names", dict(_decoded(tree["names"], arrays)))
        if "weak" in tree:
            object.__setattr__(made, "_is_weak", True)
        if "num_samples" in tree:
            object.__setattr__(made, "_num_samples", _decoded(tree["num_samples"], arrays))
        return made
    array = arrays[tree["array"]]
    if not tree["library"].startswith("torch"):
        return array[()] if tree["scalar"] else array
    import torch

    tensor = torch.from_numpy(array.copy())
    return tensor.view(torch.bfloat16) if tree["library"] == "torch.bfloat16" else tensor


def _made(kind: str, fields: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    if kind not in STORABLE and kind in _homes():
        importlib.import_module(_homes()[kind])
    if kind not in STORABLE:
        raise ValueError(f"it holds a {kind!r}, which is none of {', '.join(_homes())}")
    return STORABLE[kind](**{name: _decoded(tree, arrays) for name, tree in fields.items()})


def _kind_of(value: Any) -> str | None:
    """Return what files call the class of a value, None if it cannot be saved."""
    return next((kind for kind, cls in STORABLE.items() if type(value) is cls), None)


# A class below a line of its own, or one that a function makes.
_REGISTERED = re.compile(r'^(?:@|\w+ = )storable\("(.+?)"\)', re.MULTILINE)


@functools.cache
def _homes() -> dict[str, str]:
    """Return the module that registers each kind.

    The sources say so: to import all of them would need every library that infogeo can work with.
    """
    package = Path(__file__).parent.parent
    homes = {}
    for path in package.rglob("*.py"):
        module = ".".join((package.name, *path.relative_to(package).with_suffix("").parts))
        for kind in _REGISTERED.findall(path.read_text("utf-8")):
            homes[kind] = module.removesuffix(".__init__")
    return dict(sorted(homes.items()))


# ---------------------------------------------------------------- files


def _read_npz(path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(str(arrays.pop(_HEADER))), arrays


def _read_json(path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    tree = json.loads(path.read_text(encoding="utf-8"))
    return tree, {name: _from_json(entry) for name, entry in tree["arrays"].items()}


def _as_json(array: np.ndarray) -> dict[str, Any]:
    """Return an array as lists of numbers; what json has no number for is text."""
    flat = array.ravel().tolist()
    if array.dtype.kind in "mM":  # dates and times, as the integers that they are
        flat = array.ravel().astype(np.int64).tolist()
    if array.dtype.kind == "f":
        flat = [x if np.isfinite(x) else str(x) for x in flat]
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": flat}


def _from_json(entry: Any) -> np.ndarray:
    dtype = np.dtype(entry["dtype"])
    if dtype.kind not in "fiubUmM":
        raise ValueError(f"an array of {dtype} is none that it writes")
    data = entry["data"]
    if dtype.kind == "f":
        array = np.array([float(x) for x in data], dtype=dtype)
    elif dtype.kind in "mM":
        array = np.array(data, dtype=np.int64).astype(dtype)
    else:
        array = np.array(data, dtype=dtype)
    return array.reshape(entry["shape"])
