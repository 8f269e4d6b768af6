"""The tables of the documentation, from what the benchmarks measured.

A table belongs to the benchmarks that the paragraph above it names, as
``benchmarks/test_bench_x.py`` or ``benchmarks/test_bench_x.py::test_y``, and its header says what
it shows:

- ``work`` and ``who``: the group and the name of a benchmark;
- ``best`` and ``median``: times;
- ``ratio``: of the best time to that of the first row of the group;
- whatever the benchmarks have put into their ``extra_info`` under that name;
- without a column ``who``: the best times of those that the header names, a row for each group.
"""

import re
from dataclasses import dataclass, field

BENCHMARK = re.compile(r"`benchmarks/(test_bench_\w+\.py(?:::\w+)?)`")
# The space before a unit at the end of a cell: a narrow column must not part the two there.
UNIT = re.compile(r" (?=(?:s|ms|µs|GB|MiB|%) \|)")
TABLE = re.compile(r"(?P<above>(?:^(?!\|).+\n)+)\n(?P<rows>(?:^\|.*\n)+)", flags=re.MULTILINE)


@dataclass(frozen=True)
class Result:
    """What one benchmark measured: times in seconds, and what it says beside them."""

    test: str
    work: str
    who: str
    best: float
    median: float
    columns: dict = field(default_factory=dict)

    def belongs_to(self, name):
        """Return whether this is the named file's or function's."""
        test = self.test.partition("[")[0].rpartition("/")[2]
        return test == name or test.startswith(f"{name}::")


def rewrite(page, results):
    """Return the text of a page with the rows of its tables as measured."""

    def renew(match):
        names = BENCHMARK.findall(match["above"])
        found = [result for name in names for result in results if result.belongs_to(name)]
        if not found:
            return match[0]
        header, rule, *_ = match["rows"].splitlines()
        lines = [match["above"], header, rule, *body(header, found)]
        return "\n".join(lines) + "\n"

    return TABLE.sub(renew, page)


def body(header, results):
    """Return the lines of a table below its header."""
    columns = [name.strip() for name in header.strip("| ").split("|")]
    lines = []
    for work in dict.fromkeys(result.work for result in results):
        group = [result for result in results if result.work == work]
        if "who" in columns:
            cells = [cells_of(result, group[0]) for result in group]
        else:
            cells = [{"work": work} | {result.who: time(result.best) for result in group}]
        lines += ["| " + " | ".join(row.get(name, "") for name in columns) + " |" for row in cells]
    lines = [re.sub(r"^\|  ", "| ", line).replace("|  |", "| |") for line in lines]
    return [UNIT.sub("\N{NO-BREAK SPACE}", line) for line in lines]


def cells_of(result, first):
    """Return what a row may show, by column."""
    cells = {name: text(value) for name, value in result.columns.items()}
    cells |= {"who": result.who, "best": time(result.best), "median": time(result.median)}
    cells["ratio"] = ratio(result.best / first.best)
    return cells | {"work": result.work if result is first else ""}


def time(seconds):
    """Return a time with three digits and a unit."""
    if seconds >= 1.0:
        return f"{digits(seconds)} s"
    if seconds >= 1e-3:
        return f"{digits(1e3 * seconds)} ms"
    return f"{digits(1e6 * seconds)} µs"


def ratio(value):
    """Return a ratio with three digits, or with two of them behind the point."""
    return f"{value:.2f}" if value < 1.0 else digits(value)


def digits(value):
    """Return a number of at least 1 with three digits, or all that are before the point."""
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def text(value):
    """Return a number in the notation 1.2e-3, words as they are."""
    if isinstance(value, str):
        return value
    return re.sub(r"e([+-])0", r"e\1", f"{value:.1e}") if value else "0"
