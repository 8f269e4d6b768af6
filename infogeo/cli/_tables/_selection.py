"""Which columns of a table hold what, and what a file of any format turns out to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np


class Part(NamedTuple):
    """Some rows of a file: their names and labels, where it has some, and their numbers."""

    ids: list[str] | None
    labels: list[str] | None
    values: np.ndarray


@dataclass(frozen=True)
class Source:
    """What a file turns out to be: its classes, its rows if that is known, and how to read it."""

    columns: list[str] | None  # names, or None
    num_columns: int
    num_rows: int | None  # None: only reading tells
    has_ids: bool
    read: Callable[[int], Iterator[Part]]  # that many rows at a time, or fewer
    is_indexed: bool = False  # whether pandas has numbered or named the rows


@dataclass(frozen=True)
class Selection:
    """Which columns of a table hold what.

    Parameters
    ----------
    ids, labels : str or None
        The columns with the names of the rows and with their labels.
    columns : tuple of str or None
        The columns with the numbers, ``*`` standing for any letters: all others if it is empty,
        none if it is None.
    ignored : tuple of str
        Columns to leave out, in the same way.
    """

    ids: str | None = None
    labels: str | None = None
    columns: tuple[str, ...] | None = ()
    ignored: tuple[str, ...] = ()

    @property
    def named(self) -> list[str]:
        """The columns that have to be there."""
        return [name for name in (self.ids, self.labels) if name is not None]

    def numbers_among(self, names: list[str], others: Iterable[str] = ()) -> list[str]:
        """Return which of a file's columns hold its numbers.

        Parameters
        ----------
        names : list of str
            The columns of the file.
        others : list of str
            Columns that hold something else, such as the index that pandas has stored.
        """
        for name in self.named:
            if name not in names:
                raise ValueError(f"it has no column {name}: its columns are {_some(names)}")
        if self.columns is None:
            return []
        left = [name for name in names if name not in {*self.named, *others}]
        for pattern in self.columns:
            if not any(_fits(name, pattern) for name in left):
                raise ValueError(f"it has no column {pattern}: its columns are {_some(left)}")
        return [
            name
            for name in left
            if (not self.columns or any(_fits(name, pattern) for pattern in self.columns))
            and not any(_fits(name, pattern) for pattern in self.ignored)
        ]

    def require_none(self, words: str) -> None:
        """Refuse columns by name where a file has no names."""
        asked = next(iter([*self.named, *(self.columns or ()), *self.ignored]), None)
        if asked is not None:
            raise ValueError(words.format(asked))


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _some(names: list[str]) -> str:
    return ", ".join(names[:8])


def require_distinct(names: Iterable[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"two columns have the same name: {repeated[0]!r}")
