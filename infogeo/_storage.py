"""Results in files: npz or json, written whole or not at all, read without unpickling."""

import dataclasses
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from infogeo._files import replacing
from infogeo._result import Status

# What can be saved, and the module that it is found in.
_KINDS = {
    "Attack": "infogeo._result",
    "Balance": "infogeo.maxent._balance",
    "BalanceDiagnostics": "infogeo.maxent._balance",
    "Bounds": "infogeo._result",
    "ConditionalProjection": "infogeo.maxent._conditional",
    "FrequencyMatch": "infogeo.maxent._frequencies",
    "Mean": "infogeo._result",
    "MultivariateNormal": "infogeo.multivariate_normal",
    "Neighbors": "infogeo._result",
    "Normal": "infogeo.normal",
    "Projection": "infogeo._result",
    "ScaledFactor": "infogeo._result",
    "Separation": "infogeo.maxent._conditional",
    "Spectrum": "infogeo._result",
}
_HEADER = "infogeo"  # the entry of an npz file that says what the others are
_FORMAT = 1


def save(result, path):
    """Save a result or a batch of normals to a file.

    Parameters
    ----------
    result : Projection, Spectrum, Normal, MultivariateNormal or another frozen result
        What to save.
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
    Every number comes back bit for bit, in its dtype. Gradients are not kept.

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
    if type(result).__name__ not in _KINDS or not dataclasses.is_dataclass(result):
        raise TypeError(
            f"result must be one of {', '.join(_KINDS)}: got {type(result).__name__}. "
            "Arrays are saved by numpy.save or torch.save."
        )
    arrays = {}
    tree = {"format": _FORMAT, "content": _encoded(result, "", arrays)}
    with replacing(path) as partial, open(partial, "xb") as file:
        if suffix == ".npz":
            np.savez(file, **{_HEADER: np.array(json.dumps(tree))}, **arrays)
        else:
            tree["arrays"] = {name: _as_json(array) for name, array in arrays.items()}
            file.write(json.dumps(tree, allow_nan=False).encode())


def load(path):
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
    except OSError:
        raise
    except Exception as error:  # what a damaged file makes of readers and constructors is open
        raise ValueError(
            f"{path} must be a file that infogeo.save has written: {error or type(error).__name__}."
        ) from None


def _suffix(path):
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
    if isinstance(value, tuple | list):
        return {"items": [_encoded(v, f"{name}.{i}", arrays) for i, v in enumerate(value)]}
    if isinstance(value, dict):
        return {"entries": [[k, _encoded(v, f"{name}.{k}", arrays)] for k, v in value.items()]}
    if type(value).__name__ in _KINDS:
        fields = {
            field.name: _encoded(getattr(value, field.name), f"{name}.{field.name}", arrays)
            for field in dataclasses.fields(value)
        }
        return {"kind": type(value).__name__, "fields": fields}
    is_torch = type(value).__module__.startswith("torch")
    array = np.asarray(value.detach().cpu() if is_torch else value)
    if array.dtype == object:
        items = [_encoded(v, f"{name}.{i}", arrays) for i, v in enumerate(array.ravel().tolist())]
        return {"objects": items, "shape": list(array.shape)}
    key = name.lstrip(".")
    arrays[key] = array
    library = "torch" if is_torch else "numpy"
    return {"array": key, "library": library, "scalar": isinstance(value, np.generic)}


def _decoded(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "float" in tree:
        return float.fromhex(tree["float"])
    if "status" in tree:
        return Status[tree["status"]]
    if "items" in tree:
        return tuple(_decoded(item, arrays) for item in tree["items"])
    if "entries" in tree:
        return {key: _decoded(item, arrays) for key, item in tree["entries"]}
    if "objects" in tree:
        array = np.empty(len(tree["objects"]), dtype=object)
        array[:] = [_decoded(item, arrays) for item in tree["objects"]]
        return array.reshape(tree["shape"])
    if "kind" in tree:
        return _made(tree["kind"], tree["fields"], arrays)
    array = arrays[tree["array"]]
    if tree["library"] != "torch":
        return array[()] if tree["scalar"] else array
    import torch

    return torch.from_numpy(array.copy())


def _made(kind, fields, arrays):
    if kind not in _KINDS:
        raise ValueError(f"it holds a {kind!r}, which is none of {', '.join(_KINDS)}")
    cls = getattr(importlib.import_module(_KINDS[kind]), kind)
    return cls(**{name: _decoded(tree, arrays) for name, tree in fields.items()})


# ---------------------------------------------------------------- files


def _read_npz(path):
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(str(arrays.pop(_HEADER))), arrays


def _read_json(path):
    tree = json.loads(path.read_text(encoding="utf-8"))
    return tree, {name: _from_json(entry) for name, entry in tree["arrays"].items()}


def _as_json(array):
    """Return an array as lists of numbers; what json has no number for is text."""
    flat = array.ravel().tolist()
    if array.dtype.kind == "f":
        flat = [x if np.isfinite(x) else str(x) for x in flat]
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": flat}


def _from_json(entry):
    dtype = np.dtype(entry["dtype"])
    if dtype.kind not in "fiubU":
        raise ValueError(f"an array of {dtype} is none that it writes")
    data = entry["data"]
    return np.array([float(x) for x in data] if dtype.kind == "f" else data, dtype=dtype).reshape(
        entry["shape"]
    )
