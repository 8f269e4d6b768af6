"""The array namespace of dask, for rows of unknown number and for empty blocks too.

Where its own functions fail on those, here are others.
"""

import functools
from typing import Any

import numpy as np
from array_api_compat.dask import array as _array

Array = Any


def __getattr__(name: str) -> Any:
    return getattr(_array, name)


def max(x: Array, /, *, axis: int = -1, keepdims: bool = False) -> Array:
    """Return the largest entries."""
    return _reduced(np.max, -np.inf, x, axis, keepdims)


def min(x: Array, /, *, axis: int = -1, keepdims: bool = False) -> Array:
    """Return the smallest entries."""
    return _reduced(np.min, np.inf, x, axis, keepdims)


def clip(x: Array, /, min: float | None = None, max: float | None = None) -> Array:
    """Return x within bounds that are numbers."""
    return x.map_blocks(np.clip, min, max, dtype=x.dtype)


def concat(arrays: list[Array], /, *, axis: int = 0) -> Array:
    """Join arrays of the same rows."""
    import dask.array

    return dask.array.concatenate(arrays, axis=axis, allow_unknown_chunksizes=True)


def broadcast_arrays(*arrays: Array) -> list[Array]:
    """Bring arrays to one shape."""
    namespace: Any = _array
    zero = sum(namespace.zeros_like(x) for x in arrays)
    return [x + zero for x in arrays]


def _reduced(function: Any, initial: float, x: Array, axis: int, keepdims: bool) -> Array:
    import dask.array

    of_block = functools.partial(function, initial=initial)  # numpy has none of an empty block
    return dask.array.reduction(x, of_block, of_block, axis=axis, keepdims=keepdims, dtype=x.dtype)
