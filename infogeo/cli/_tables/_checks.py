"""What is checked of the numbers in a table, and what is said of those that are none."""

from __future__ import annotations

import warnings
from dataclasses import replace
from types import ModuleType

import numpy as np

from infogeo._array import LOGITS, PROBABILITIES, Rule, gate, look_like_probabilities
from infogeo.cli._common import UsageError
from infogeo.cli._tables._table import Block, Table


def normalized(table: Table, block: Block, like: Table | None = None) -> Block:
    """Return a block of counts or percentages with each row divided by its sum.

    Parameters
    ----------
    table, block, like
        As for `checked`.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        x = block.values.astype(np.float64)
        x = x / x.max(axis=-1, keepdims=True)  # no sum overflows
        shares = x / x.sum(axis=-1, keepdims=True)
    is_bad = ~(np.isfinite(shares) & (shares >= 0.0))
    if is_bad.any():
        i = int(np.nonzero(is_bad.any(axis=-1))[0][0])
        values = block.values[i]
        if not values.any():
            raise UsageError(
                f"{table.path}: {_row(table, block, i)} has only zeros: nothing to divide them by"
            )
        j = int(np.nonzero(~(np.isfinite(values) & (values >= 0.0)))[0][0])
        raise UsageError(
            f"{table.path}: {_row(table, block, i)} has {values[j]:g} in "
            f"{_place(_columns(table, like), j)}, which is no count"
        )
    return replace(block, values=shares)


def _columns(table: Table, like: Table | None) -> list[str] | None:
    return table.columns if like is None or like.columns is None else like.columns


def _row(table: Table, block: Block, i: int) -> str:
    return f"row {block.rows[i]}" + (f" ({block.ids[i]})" if table.has_ids else "")


def _place(columns: list[str] | None, j: int) -> str:
    return f"column {j + 1}" if columns is None else f"column {columns[j]}"


def _wide(values: np.ndarray) -> np.ndarray:
    """Return float32 as float64, which changes no number; half precision keeps its tolerance."""
    return values.astype(np.float64) if values.dtype == np.float32 else values


def warn_of_probabilities(*tables: Table) -> None:
    """Tell by a warning where the first rows of what is said to hold logits are probabilities."""
    for table in tables:
        rows = next(table.blocks(rows=100)).values
        with np.errstate(over="ignore", invalid="ignore"):  # of what is refused afterwards
            is_near = look_like_probabilities(rows.astype(np.float64))  # sums of halves overflow
        if is_near:
            warnings.warn(
                f"{table.path}: the first rows sum to 1, as probabilities do: "
                "for those leave out --logits",
                stacklevel=2,
            )


def checked(table: Table, block: Block, space: ModuleType, like: Table | None = None) -> np.ndarray:
    """Return the values of a block as distances take them, if they are predictions.

    Parameters
    ----------
    table : Table
        Where the block comes from.
    block : Block
        Some of its rows.
    space : module
        `infogeo.simplex` or `infogeo.logits`: what they have to be.
    like : Table, optional
        The table that gave the order of the columns.
    """
    rule = space.POINTS
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # of what is refused anyway
            values = _wide(block.values)
            gate(True, rows=(rule, values))
    except ValueError:
        words = _explained(table, block, rule, _columns(table, like))
        raise UsageError(f"{table.path}: {words}") from None
    return values


def _explained(table: Table, block: Block, rule: Rule, columns: list[str] | None) -> str:
    """Say in which row and column a block breaks the rule."""
    with np.errstate(over="ignore", invalid="ignore"):
        x = block.values.astype(np.float64)
        sums = x.sum(axis=-1)

    def row(i: int) -> str:
        return _row(table, block, i)

    is_bad = np.isnan(x) | (x == np.inf)
    is_bad |= x < 0.0 if rule is PROBABILITIES else False
    if is_bad.any():
        i, j = (int(index[0]) for index in np.nonzero(is_bad))
        place = _place(columns, j)
        if np.isnan(x[i, j]):
            return f"{row(i)} has no number in {place}"
        way_out = ". If these are logits, give --logits" if rule is PROBABILITIES else ""
        kind = "probability" if rule is PROBABILITIES else "logit"
        return f"{row(i)} has {x[i, j]:g} in {place}, which is no {kind}{way_out}"
    if rule is LOGITS:
        return f"{row(int(np.argmin(x.max(axis=-1))))} has -inf in every column"
    i = int(np.argmax(np.abs(sums - 1.0)))
    return (
        f"{row(i)} has probabilities with the sum {sums[i]:.7g}. If these are counts or "
        "percentages, divide each row by its sum; if they are logits, give --logits"
    )
