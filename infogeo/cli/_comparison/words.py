"""What a comparison says to people: lines and tables, as text or as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class TableOf:
    """A table: its title, and its rows below the names of the columns."""

    title: str
    rows: list[list[str]]


Part: TypeAlias = "str | TableOf"


def shown_with_error(value: float, error: float | None) -> str:
    """Return a number and its standard error, where it has one."""
    return f"{value:.4g}" if error is None else f"{value:.4g} ± {error:.2g}"


def shown_share(value: float, error: float) -> str:
    """Return a share and its standard error, in percent."""
    return f"{value:.2%} ± {100.0 * error:.2g}%"


def as_text(parts: list[Part]) -> str:
    """Return lines and tables for a terminal."""
    lines: list[str] = []
    for part in parts:
        if isinstance(part, str):
            lines.append(_printable(part))
            continue
        lines += ["", *([part.title] if part.title else []), *_columns(part.rows), ""]
    return "\n".join(lines).strip("\n").replace("\n\n\n", "\n\n")


def as_markdown(title: str, parts: list[Part]) -> str:
    """Return lines and tables as Markdown."""
    lines = [f"### {_escaped(title)}"]
    for part in parts:
        if isinstance(part, str):
            lines += ["", _escaped(part)]
            continue
        head, *rows = ([_escaped(cell) for cell in row] for row in part.rows)
        lines += ["", *([_escaped(part.title), ""] if part.title else [])]
        lines += [_markdown_row(row) for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def _columns(rows: list[list[str]]) -> list[str]:
    cells = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _markdown_row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return "".join(f"\\{x}" if x in "\\`*_{}[]<>#|~&" else x for x in _printable(text))


def _printable(text: str) -> str:
    """Return text without characters that terminals obey."""
    return text if text.isprintable() else repr(text)
