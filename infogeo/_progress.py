"""How far a long job is, on stderr."""

import contextlib
import sys

from infogeo._extras import is_installed


@contextlib.contextmanager
def progress_bar():
    """Give ``progress(stage, fraction)``: a bar for people, a line for each stage elsewhere."""
    if not (sys.stderr.isatty() and is_installed("rich")):
        yield _StageLines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda stage, fraction: bar.update(task, description=stage, completed=fraction)


class _StageLines:
    """Prints a stage's name when it begins."""

    def __init__(self):
        self._stage = None

    def __call__(self, stage, fraction):
        if stage != self._stage:
            self._stage = stage
            print(f"[{fraction:4.0%}] {stage}", file=sys.stderr, flush=True)
