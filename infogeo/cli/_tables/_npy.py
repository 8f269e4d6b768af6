"""Tables in npy and npz files."""

from collections.abc import Iterator

import numpy as np

from infogeo.cli import _arrays
from infogeo.cli._common import UsageError
from infogeo.cli._tables._file import File
from infogeo.cli._tables._selection import Part, Selection, Source


def open_npy(file: File, selection: Selection) -> Source:
    """Open a file with one array."""
    _require_plain(file, selection)
    values = _arrays.open_npy(file.name)
    _require_table(values.shape, values.dtype)

    def read(rows: int) -> Iterator[Part]:
        for first in range(0, len(values), rows):
            yield Part(None, None, np.ascontiguousarray(values[first : first + rows]))

    return Source(None, values.shape[1], values.shape[0], False, read)


def open_npz(file: File, selection: Selection) -> Source:
    """Open an array of an archive."""
    _require_plain(file, selection)
    name, array = file.name, file.part
    with _arrays.npz_member(name, array) as member:
        header = _arrays.read_header(member, _arrays.NO_NPZ)
    shape, dtype = header.shape, header.dtype
    _require_table(shape, dtype)

    def read(rows: int) -> Iterator[Part]:
        if header.is_by_columns:  # rows lie apart: no way round holding all of it
            values = _arrays.read_npz(name, array)
            for first in range(0, len(values), rows):
                yield Part(None, None, np.ascontiguousarray(values[first : first + rows]))
            return
        with _arrays.npz_member(name, array) as member:
            _arrays.read_header(member, _arrays.NO_NPZ)
            for first in range(0, shape[0], rows):
                count = min(rows, shape[0] - first)
                size = count * shape[1] * dtype.itemsize
                data = _arrays.read_bytes(member, size)
                if len(data) < size:
                    raise ValueError(f"it breaks off in row {first + len(data) * count // size}")
                yield Part(None, None, np.frombuffer(data, dtype).reshape(count, shape[1]))

    return Source(None, shape[1], shape[0], False, read)


def _require_plain(file: File, selection: Selection) -> None:
    if file.is_stdin:
        raise UsageError("standard input must be a table of text or of arrow, no array")
    selection.require_none("an array has no columns by name, so none is {}")


def _require_table(shape: tuple[int, ...], dtype: np.dtype) -> None:
    if dtype.kind not in "fiu":
        raise ValueError(f"it must hold real numbers: its entries are {_arrays.entries_of(dtype)}")
    if len(shape) != 2:
        raise ValueError(f"it must be a table of rows and classes: its shape is {shape}")
