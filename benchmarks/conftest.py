"""Benchmarks: peers side by side in one run, with the error beside the time.

A test names its group (the work) and stores its own error in ``benchmark.extra_info["error"]``;
the table at the end gives each time, its ratio to infogeo's in the same group, and that error.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: one core for everybody


def pytest_terminal_summary(terminalreporter, config):
    """Print one row for each benchmark: times, ratio of the best to infogeo's, error."""
    session = getattr(config, "_benchmarksession", None)
    if session is None or not session.benchmarks:
        return
    groups = {}
    for benchmark in session.benchmarks:
        if benchmark.stats.rounds:
            groups.setdefault(benchmark.group, []).append(benchmark)
    write = terminalreporter.write_line
    write("")
    write(f"{'':44}{'best':>12}{'median':>12}{'ratio':>10}  error")
    for group, rows in groups.items():
        write(group)
        names = {row.fullname: (row.params or {}).get("who", row.name) for row in rows}
        ours = [row.stats.min for row in rows if names[row.fullname] == "infogeo"]
        for row in sorted(rows, key=lambda row: row.stats.min):
            ratio = f"{row.stats.min / ours[0]:.2f}" if ours else ""
            error = row.extra_info.get("error", "")
            error = f"{error:.1e}" if isinstance(error, float) else error
            times = f"{_time(row.stats.min):>12}{_time(row.stats.median):>12}"
            write(f"  {names[row.fullname]:42}{times}{ratio:>10}  {error}")


def _time(seconds):
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.2f} {unit}"
    return f"{seconds / 1e-9:.0f} ns"
