"""Arrays in npy and npz files: of what is wrong with a file, one line; nothing is unpickled."""

import contextlib
import math
import os
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np

from infogeo.cli._common import UsageError

NO_NPY, NO_NPZ = (f"it is no {kind} file, or a damaged one" for kind in ("npy", "npz"))


def split_name(path: str | Path) -> tuple[str, str | None]:
    """Split FILE.npz:NAME into the file and the array, FILE.parquet:COLUMN into file and column."""
    name, colon, array = str(path).rpartition(":")
    if colon and name.lower().endswith((".npz", ".parquet")):
        return name, array
    return str(path), None


@contextlib.contextmanager
def parsing(words: str) -> Iterator[None]:
    """Say in these words that a file is damaged, whatever its parser stumbles over.

    Parsers of damaged bytes raise nearly anything, in words about themselves. Only they run inside.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that are odd
            yield
    except UsageError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:  # of the system: no such file
            raise
        raise ValueError(words) from None


@dataclass(frozen=True)
class Header:
    """What the header of an array tells."""

    shape: tuple[int, ...]
    dtype: np.dtype
    is_by_columns: bool

    @property
    def num_bytes(self) -> int:
        """The size of the array."""
        return math.prod(self.shape) * self.dtype.itemsize

    def array(self, data: bytes) -> np.ndarray:
        """Return the array of some bytes."""
        values = np.frombuffer(data, self.dtype, math.prod(self.shape))
        return values.reshape(self.shape, order="F" if self.is_by_columns else "C")


def read_header(member: IO[bytes], otherwise: str = NO_NPY) -> Header:
    """Read the header of an array, up to where its entries begin."""
    with parsing(otherwise):
        version = np.lib.format.read_magic(member)
        header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, is_by_columns, dtype = header(member)
        if any(length < 0 for length in shape) or dtype.itemsize == 0:
            raise ValueError
    if dtype.hasobject:
        raise ValueError("it must hold real numbers: its entries are objects")
    return Header(shape, dtype, is_by_columns)


def entries_of(dtype: np.dtype) -> str:
    """Return what entries of a dtype are called."""
    names = {"b": "of yes and no", "c": "complex", "S": "bytes", "U": "text", "V": "records"}
    return names.get(dtype.kind, dtype.name)


def open_npy(name: str) -> np.ndarray:
    """Return the array of a file, mapped for reading."""
    with open(name, "rb") as file:
        header = read_header(file)
        start, size = file.tell(), os.fstat(file.fileno()).st_size
    if size < start + header.num_bytes:
        raise ValueError(f"it breaks off: its {_rows(header.shape)} are not all there")
    if header.num_bytes == 0:
        return np.zeros(header.shape, header.dtype)
    order: Literal["F", "C"] = "F" if header.is_by_columns else "C"
    return np.memmap(name, header.dtype, "r", start, header.shape, order)


def _rows(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} rows" if shape else "numbers"


@contextlib.contextmanager
def npz_member(name: str, array: str | None) -> Iterator[IO[bytes]]:
    """Open an array of an archive; without a name, the only one."""
    with contextlib.ExitStack() as stack:
        with parsing(NO_NPZ):
            archive = stack.enter_context(zipfile.ZipFile(name))
            names = [entry[:-4] for entry in archive.namelist() if entry.endswith(".npy")]
        if not names:
            raise ValueError("it holds no arrays")
        if array is None and len(names) != 1:
            raise ValueError(f"it holds {', '.join(names)}: name one of them, {name}:{names[0]}")
        array = names[0] if array is None else array
        if array not in names:
            raise ValueError(f"it has no array {array}: it holds {', '.join(names)}")
        with parsing(NO_NPZ):
            member = stack.enter_context(archive.open(f"{array}.npy"))
        yield member


def read_bytes(member: IO[bytes], size: int) -> bytes:
    """Read so many bytes of an archive's member; fewer if it breaks off."""
    with parsing(NO_NPZ):
        return member.read(size)


def read_npz(name: str, array: str | None = None) -> np.ndarray:
    """Return an array of an archive as a whole."""
    with npz_member(name, array) as member:
        header = read_header(member, NO_NPZ)
        data = read_bytes(member, header.num_bytes)
    if len(data) < header.num_bytes:
        raise ValueError(f"it breaks off: its {_rows(header.shape)} are not all there")
    return header.array(data)
