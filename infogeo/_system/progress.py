"""How far a long job is, on stderr."""

import contextlib
import contextvars
import sys
from collections.abc import Callable, Iterator

from infogeo._system.extras import is_installed

# Is told the stage of a job, and what part of the whole is done.
Progress = Callable[[str, float], object]


_IS_SILENT = contextvars.ContextVar("_IS_SILENT", default=False)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Show no progress inside."""
    token = _IS_SILENT.set(True)
    try:
        yield
    finally:
        _IS_SILENT.reset(token)


@contextlib.contextmanager
def progress_bar() -> Iterator[Progress]:
    """Give ``progress(stage, fraction)``: a bar for people, a line for each stage elsewhere."""
    if _shows_bars():
        with _bar() as progress:
            yield progress
    else:
        yield (lambda stage, fraction: None) if _IS_SILENT.get() else _StageLines()


@contextlib.contextmanager
def bar_for_people() -> Iterator[Progress]:
    """Give ``progress(stage, fraction)``: a bar for people, nothing elsewhere."""
    if _shows_bars():
        with _bar() as progress:
            yield progress
    else:
        yield lambda stage, fraction: None


@contextlib.contextmanager
def terminal_bar(stage: str) -> Iterator[Callable[[int, int], object]]:
    """Give ``progress(done, total)``: a bar for people, nothing elsewhere."""
    with bar_for_people() as progress:
        yield lambda done, total: progress(stage, done / max(total, 1))


def _shows_bars() -> bool:
    return not _IS_SILENT.get() and sys.stderr.isatty() and is_installed("rich")


@contextlib.contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda stage, fraction: bar.update(task, description=stage, completed=fraction)


class _StageLines:
    """Prints a stage's name when it begins, and again with each further tenth of the whole."""

    def __init__(self) -> None:
        self._last: tuple[str, float] | None = None

    def __call__(self, stage: str, fraction: float) -> None:
        if self._last is None or stage != self._last[0] or fraction >= self._last[1] + 0.1:
            self._last = (stage, fraction)
            print(f"[{fraction:4.0%}] {stage}", file=sys.stderr, flush=True)
