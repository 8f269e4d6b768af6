"""Benchmarks: peers side by side in one run, with the error beside the time.

A test names its group (the work) and stores what its table shows beside the time, its error above
all, in ``benchmark.extra_info``. The summary gives each time, its ratio to the first one of the
group, and that. With ``--docs`` the tables of the documentation are written anew (`tables`).
"""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one core for everybody

import tables

from infogeo._system.files import replacing

PAGES = sorted((Path(__file__).parent.parent / "docs").glob("*.md"))


def pytest_addoption(parser):
    parser.addoption("--docs", action="store_true", help="write the tables in docs/ anew")


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    """Print one row for each benchmark; write the tables of the pages if all went well."""
    session = getattr(config, "_benchmarksession", None)
    if session is None or not session.benchmarks:
        return
    results = [as_result(benchmark) for benchmark in session.benchmarks if benchmark.stats.rounds]
    write = terminalreporter.write_line
    write("")
    write(f"{'':58}{'best':>12}{'median':>12}{'ratio':>10}")
    for work in dict.fromkeys(result.work for result in results):
        group = [result for result in results if result.work == work]
        write(work)
        for result in group:
            cells = tables.cells_of(result, group[0])
            beside = "  ".join(f"{name} {cells[name]}" for name in result.columns)
            write(
                f"  {cells['who']:56}{cells['best']:>12}{cells['median']:>12}{cells['ratio']:>10}"
                f"  {beside}"
            )
    if config.getoption("--docs") and exitstatus == 0:
        for page in PAGES:
            with replacing(page) as path:
                path.write_text(tables.rewrite(page.read_text(), results))
        write(f"The tables in {PAGES[0].parent} are written anew.")


def as_result(benchmark):
    who = (benchmark.params or {}).get("who", benchmark.name)
    return tables.Result(
        benchmark.fullname,
        benchmark.group,
        who,
        benchmark.stats.min,
        benchmark.stats.median,
        benchmark.extra_info,
    )
