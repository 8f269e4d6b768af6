"""Work on large arrays of numpy in blocks that stay in the processor's cache."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from infogeo.typing import Array

BLOCK_SIZE = 131_072  # entries: 1 MB of float64, so that a few arrays of them stay in the cache
_MANY_ARRAYS = 4  # how much smaller blocks are of which a formula makes many arrays


def row_blocks(shape: tuple[int, ...], size: int = BLOCK_SIZE) -> Iterator[tuple[int | slice, ...]]:
    """Yield indices into the leading axes that cut (..., c) into blocks of about a size."""
    if len(shape) == 1:
        yield ()
        return
    size_of_entry = math.prod(shape[1:])
    if size_of_entry > size and len(shape) > 2:
        for i in range(shape[0]):
            for rest in row_blocks(shape[1:], size):
                yield (i, *rest)
        return
    num_blocks = max(1, math.ceil(shape[0] * size_of_entry / size))
    step = max(1, math.ceil(shape[0] / num_blocks))
    for start in range(0, shape[0], step):
        yield (slice(start, start + step),)


def by_blocks(function: Callable[[Array, Array, Any], Array], x: Array, y: Array, xp: Any) -> Array:
    """Return function(x, y, xp), one number per row; of numpy's arrays block by block."""
    if not isinstance(x, np.ndarray):
        return function(x, y, xp)
    if x.shape != y.shape:
        x, y = np.broadcast_arrays(x, y)
    if x.size <= BLOCK_SIZE:
        return function(x, y, xp)
    result = np.empty(x.shape[:-1], x.dtype)
    for rows in row_blocks(x.shape):
        result[rows] = function(x[rows], y[rows], xp)
    return result[()]


def entry_by_entry(formula: Callable[..., Array], *arrays: Array) -> Array:
    """Return a formula of entries that broadcast; of numpy's arrays block by block."""
    if not all(isinstance(x, np.ndarray) for x in arrays):
        return formula(*arrays)
    shape, size = np.broadcast_shapes(*(x.shape for x in arrays)), BLOCK_SIZE // _MANY_ARRAYS
    if math.prod(shape) <= size:
        return formula(*arrays)
    arrays = tuple(np.broadcast_arrays(*arrays))
    result = np.empty(shape, arrays[0].dtype)
    for rows in row_blocks((*shape, 1), size):
        result[rows] = formula(*(x[rows] for x in arrays))
    return result
