"""The demo: what infogeo does, on handwritten digits, from the training to a report.

`_stages` computes the numbers, `_figures` draws them and `_findings` puts them into words. A seed
decides all numbers: they are computed in float64, in one thread and from generators of their own.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from infogeo._docs import finish
from infogeo._system.progress import Progress
from infogeo.cli.demo._figures import draw_all, draw_maps
from infogeo.cli.demo._findings import results, summary, write
from infogeo.cli.demo._stages import Settings, measure

__all__ = ["Settings", "run", "summary"]


def run(
    folder: str | Path,
    settings: Settings | None = None,
    *,
    progress: Progress = lambda stage, fraction: None,
) -> dict[str, Any]:
    """Run all stages and write ``report.html``, ``results.json`` and the figures.

    Parameters
    ----------
    folder : str or pathlib.Path
        Where to write; it has to exist. Files of the same names are replaced.
    settings : Settings or None
        None takes the defaults.
    progress : callable
        Called as ``progress(stage, fraction)`` with a text and the part of the whole done.

    Returns
    -------
    dict
        What results.json holds.
    """
    settings = settings or Settings()
    seconds: dict[str, float] = {}
    with _reproducible(settings.seed), _timed(seconds, "numbers"):
        outcome = measure(settings, progress=lambda stage, part: progress(stage, 0.75 * part))
    stage = "figures and report"
    with _timed(seconds, "figures"):
        images = draw_all(outcome, progress=lambda part: progress(stage, 0.75 + 0.25 * part))
    found = results(outcome, settings, seconds)
    write(Path(folder), found, images, draw_maps(outcome))
    progress(stage, 1.0)
    return found


@contextlib.contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Fix what the numbers depend on, and put it back."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach GPUs too
        # At these sizes threads cost more than they gain, and sums depend on their number.
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 2)


finish(globals(), checks=False)
