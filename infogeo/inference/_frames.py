"""Results as frames of pandas, which is imported only where one is asked for."""

import importlib
from typing import Any

import numpy as np


def frame_of(columns: dict[str, Any], index: Any = None) -> Any:
    """Return a frame with these columns."""
    return importlib.import_module("pandas").DataFrame(columns, index=index)


def frame_of_fields(result: Any, *names: str) -> Any:
    """Return a frame with a column for each of the fields, which are arrays of one shape.

    A row is an entry; of arrays with several axes its index has the place along each of them.
    """
    arrays = {name: np.asarray(getattr(result, name)) for name in names}
    shape = arrays[names[0]].shape
    index = None
    if len(shape) > 1:
        index = importlib.import_module("pandas").MultiIndex.from_product(map(range, shape))
    return frame_of({name: x.ravel() for name, x in arrays.items()}, index)
