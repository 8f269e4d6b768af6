"""Where a table stands: a file, packed or not, or standard input."""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zlib
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from infogeo.cli._common import UsageError

TEXTS = (".csv", ".tsv", ".jsonl", ".ndjson")
SUFFIXES = (
    *TEXTS,
    *(f"{suffix}.gz" for suffix in TEXTS),
    ".npy",
    ".npz",
    ".parquet",
    ".feather",
    ".arrow",
)
STANDARD_INPUT = "-"


class File:
    """A file with a table.

    Parameters
    ----------
    path : str
        Its name; ``FILE:PART`` names an array of an archive or a column. ``-`` is standard input,
        which is read as a whole.
    stdin_format : str
        What standard input holds: csv, tsv, jsonl, parquet, ...
    """

    def __init__(self, path: str, stdin_format: str = "csv") -> None:
        name, colon, part = path.rpartition(":")
        has_part = bool(colon) and (_suffix(name) is not None or name == STANDARD_INPUT)
        self.name: str = name if has_part else path
        self.part: str | None = part if has_part else None
        self.is_stdin = self.name == STANDARD_INPUT
        found = f".{stdin_format}" if self.is_stdin else _suffix(self.name)
        if found is None or found not in SUFFIXES:
            raise UsageError(f"{path}: the name must end in one of {', '.join(SUFFIXES)}")
        self.suffix = found.removesuffix(".gz")
        self._is_packed = found.endswith(".gz")

    @cached_property
    def _bytes(self) -> bytes:
        if sys.stdin is None:
            raise UsageError("standard input is closed")
        return sys.stdin.buffer.read()

    def open(self) -> BinaryIO:
        """Return the file, open for reading from its beginning."""
        plain = io.BytesIO(self._bytes) if self.is_stdin else open(self.name, "rb")  # noqa: SIM115
        return cast(BinaryIO, _Unpacked(plain)) if self._is_packed else plain

    def text(self) -> io.TextIOWrapper:
        """Return the file as text, its ends of lines as they are."""
        return io.TextIOWrapper(self.open(), encoding="utf-8-sig", newline="")

    @property
    def size(self) -> int:
        """The number of bytes, as they are stored."""
        return len(self._bytes) if self.is_stdin else Path(self.name).stat().st_size


class _Unpacked(gzip.GzipFile):
    """A gzip file that closes what it reads from."""

    def __init__(self, packed: BinaryIO) -> None:
        self._packed = packed
        super().__init__(fileobj=packed)

    def close(self) -> None:
        super().close()
        self._packed.close()


def _suffix(name: str) -> str | None:
    fitting = [suffix for suffix in SUFFIXES if name.lower().endswith(suffix)]
    return max(fitting, key=len, default=None)


class FileErrors:
    """Turn what reading a file can raise into one line that names the file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError) and error.strerror:
            raise UsageError(f"cannot read {self.path}: {error.strerror}") from None
        if isinstance(error, UnicodeDecodeError):
            raise UsageError(f"{self.path}: it is no text in UTF-8: save it as such") from None
        if isinstance(error, gzip.BadGzipFile | EOFError | zlib.error):
            raise UsageError(f"{self.path}: it is no gzip file, or a damaged one") from None
        if isinstance(error, ValueError | csv.Error):
            raise UsageError(f"{self.path}: {error}") from None
