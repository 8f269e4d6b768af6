"""The rows of two tables beside each other: in their order, or by their names."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from infogeo.cli._common import UsageError
from infogeo.cli._tables._labels import as_classes
from infogeo.cli._tables._table import Block, Table, joined

_NONE = Block([], [], np.empty((0, 0)))


def paired_blocks(a: Table, b: Table) -> Iterator[tuple[Block, Block]]:
    """Iterate over the blocks of two tables, row beside row.

    Rows are compared by their ids where both tables have them; a difference is an error that says
    where.
    """
    for x, y in _side_by_side(a, b):
        if len(x.rows) != len(y.rows):
            longer, shorter, rows = (a, b, y.rows) if len(x.rows) > len(y.rows) else (b, a, x.rows)
            seen = rows[-1] + 1 if len(rows) else max(x.rows, y.rows, key=len)[0]
            raise UsageError(
                f"{longer.path} has more rows than {shorter.path}, which has {seen}: row by row "
                "they must belong together"
            )
        if _are_named(a, b, x, y) and x.ids != y.ids:
            pairs = enumerate(zip(*(block.ids for block in alike(x, y)), strict=True))
            at = next((i for i, pair in pairs if len({*pair}) > 1), None)
            if at is None:
                yield x, y
                continue
            raise UsageError(
                f"row {x.rows[at]} is {x.ids[at]} in {a.path} and {y.ids[at]} in {b.path}: "
                "sort both by the names of their rows"
            )
        yield x, y


class JoinedRows:
    """The blocks of two tables, their rows matched by name.

    As long as both have the same names in the same order only a block is held; the rest of both is
    held as a whole.

    Parameters
    ----------
    a, b : Table
        With names of rows.
    common : bool
        Whether rows that only one of them has are left out; otherwise they are an error.
    """

    def __init__(self, a: Table, b: Table, *, common: bool) -> None:
        self.a, self.b, self.common = a, b, common
        self.left_out = (0, 0)

    def __iter__(self) -> Iterator[tuple[Block, Block]]:
        seen: list[str] = []
        pairs = _side_by_side(self.a, self.b)
        for x, y in pairs:
            if x.ids != y.ids:
                rest = [(x, y), *pairs]
                yield from self._joined(seen, *alike(*map(_whole, zip(*rest, strict=True))))
                return
            seen += x.ids
            yield x, y

    def _joined(self, seen: list[str], x: Block, y: Block) -> Iterator[tuple[Block, Block]]:
        for table, block in ((self.a, x), (self.b, y)) if x.ids != y.ids else ():
            counted = Counter(itertools.chain(seen, block.ids))
            repeated = next((name for name, count in counted.items() if count > 1), None)
            if repeated is not None:
                raise UsageError(
                    f"{table.path} has several rows of the name {repeated}: rows in another order "
                    "are matched by names that each row has for itself"
                )
        place = {name: i for i, name in enumerate(y.ids)}
        ours = [i for i, name in enumerate(x.ids) if name in place]
        theirs = ours if x.ids == y.ids else [place[x.ids[i]] for i in ours]
        self.left_out = (len(x.ids) - len(ours), len(y.ids) - len(theirs))
        if any(self.left_out) and not self.common:
            raise UsageError(self._missing(x, y))
        if not ours and not seen:
            raise UsageError(f"{self.a.path} and {self.b.path} have no row in common")
        step = min(self.a.block_rows, self.b.block_rows)
        for start in range(0, len(ours), step):
            yield (
                x.take(ours[start : start + step]),
                y.take(theirs[start : start + step]),
            )

    def _missing(self, x: Block, y: Block) -> str:
        words = []
        for table, block, other in ((self.a, x, y), (self.b, y, x)):
            known = set(other.ids)
            only = [name for name in block.ids if name not in known]
            if only:
                more = f" and {len(only) - 1} more" if len(only) > 1 else ""
                words.append(f"only {table.path} has the row {only[0] or 'without a name'}{more}")
        return f"{'; '.join(words)}: --common compares the rows that both have"


def alike(x: Block, y: Block) -> tuple[Block, Block]:
    """Return two blocks in which names that are equal numbers, 7 and 7.0, are spelled alike."""
    spelled = as_classes(x.ids, y.ids)
    ours, theirs = ([spelled[name] for name in block.ids] for block in (x, y))
    return replace(x, names=ours), replace(y, names=theirs)


def _side_by_side(a: Table, b: Table) -> Iterator[tuple[Block, Block]]:
    """Yield blocks of equal lengths, up to where one of the tables ends."""
    rows = min(a.block_rows, b.block_rows)
    ours, theirs = (_even(table.blocks(a, rows), rows) for table in (a, b))
    return itertools.zip_longest(ours, theirs, fillvalue=_NONE)


def _whole(blocks: Iterable[Block]) -> Block:
    some = [block for block in blocks if block.rows]
    return joined(some) if some else _NONE


def _are_named(a: Table, b: Table, x: Block, y: Block) -> bool:
    """Tell whether two tables say which rows belong together.

    The numbers that pandas gave to rows without names count beside its numbers of a sorted table.
    """
    are_numbers = all(name.isdecimal() for name in (*x.ids, *y.ids))
    return (a.has_ids and b.has_ids) or (a.is_indexed and b.is_indexed and are_numbers)


def _even(blocks: Iterable[Block], rows: int) -> Iterator[Block]:
    """Regroup blocks so that each but the last has the same number of rows."""
    waiting: list[Block] = []
    for block in blocks:
        waiting.append(block)
        while sum(len(some.rows) for some in waiting) >= rows:
            whole = waiting[0] if len(waiting) == 1 else joined(waiting)
            yield _part(whole, 0, rows)
            waiting = [_part(whole, rows, None)] if len(whole.rows) > rows else []
    if waiting:
        yield joined(waiting)


def _part(block: Block, start: int, stop: int | None) -> Block:
    if start == 0 and stop is not None and stop >= len(block.rows):
        return block
    part = slice(start, stop)
    names, labels = (x if x is None else x[part] for x in (block.names, block.labels))
    return Block(block.rows[part], names, block.values[part], labels)
