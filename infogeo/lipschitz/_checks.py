"""What the layers ask of their arguments."""

import numpy as np

from infogeo._array import bad_value


def check_precision(weight):
    if not weight.dtype.is_floating_point or weight.dtype.itemsize < 4:
        raise TypeError(
            f"weight must be float32 or float64: its dtype is {weight.dtype}. Train in float32 "
            "(autocast is fine), and convert to half precision what freeze returns."
        )
    if weight.ndim < 2:
        raise bad_value("weight", "be a matrix", f"got shape {tuple(weight.shape)}")


def check_size(name, size, smallest):
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < smallest:
        raise bad_value(name, f"be an integer, at least {smallest}", f"got {size!r}")
