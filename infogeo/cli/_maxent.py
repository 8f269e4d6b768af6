"""The command ``infogeo maxent``."""

from __future__ import annotations

import argparse
import io
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

from infogeo.cli._common import Commands, HelpFormatter, UsageError, replacing, require, say

if TYPE_CHECKING:
    import numpy as np

    from infogeo.maxent import Projection


_FORMATS = """\
A toml file names features, their values for every outcome, and their targets:

  outcomes = ["1", "2", "3", "4", "5", "6"]    # optional
  prior = [1, 1, 1, 1, 1, 1]                   # optional; 0 rules an outcome out

  [features]
  shows = [1, 2, 3, 4, 5, 6]

  [targets]
  shows = 4.5

A csv file has one row for each outcome, and a last row "target":

  outcome,prior,shows
  1,1,1
  ...
  6,1,6
  target,,4.5

The column prior may be left out. Bounds on expectations, and prices of missed
targets, stand in tables [lower], [upper] and [penalty] of a toml file, in rows
"lower", "upper" and "penalty" beside "target" at the end of a csv file:

  [lower]
  shows = 4.4

  [upper]
  shows = 4.6

A feature has a target or bounds. With prices, which all features have or none,
the maximum is of the entropy (relative to the prior) less the sum of
price * (expectation - target)^2 / 2. So it is used:

  infogeo maxent die.toml
  infogeo maxent die.csv --json --plot die.png

Exit status: 0 if there is such a distribution, 1 if it is proved
that there is none, 2 if the file is wrong or nothing was decided.
"""


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "maxent",
        help="find the distribution that expectations single out, or prove that there is none",
        description="Solves the problem of a file: the distribution nearest to the prior, in "
        "relative entropy, under which features have given expectations. Without a prior, that of "
        "maximum entropy.",
        epilog=_FORMATS,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("problem", metavar="FILE", type=Path, help="a .toml or a .csv file")
    parser.add_argument("--json", action="store_true", help="print json, for programs")
    parser.add_argument(
        "--plot", metavar="FILE", type=Path, help="draw the distribution and the prior (.png, .svg)"
    )
    parser.set_defaults(run=_run_maxent)


def _run_maxent(options: argparse.Namespace) -> int:
    _check_plot(options.plot)
    problem = _read_problem(options.problem)
    outcomes, prior, features = problem.outcomes, problem.prior, problem.features
    import numpy as np

    from infogeo._array import BadValueError
    from infogeo._status import SolveError
    from infogeo.maxent import c_maximize

    with np.errstate(divide="ignore"):
        base = np.log(np.array(prior))
    why = ""
    try:
        found = c_maximize(
            np.array(list(features.values())), **problem.constraints(), log_base=base
        )
    except ValueError as error:
        if isinstance(error, BadValueError) and hasattr(error.seen, "said"):
            seen = error.seen.said(features=list(features), outcomes=outcomes)
            error = BadValueError(error.argument, error.rule, seen, error.advice)
        raise UsageError(f"infogeo maxent: {options.problem}: {error}") from None
    except SolveError as error:
        found, why = error.result, error.message.said(features=list(features), outcomes=outcomes)
        if found.status.name != "INFEASIBLE":
            raise UsageError(f"infogeo maxent: {options.problem}: {why}") from None
    is_infeasible = found.status.name == "INFEASIBLE"
    if options.plot and not is_infeasible:
        try:
            with replacing(options.plot) as partial:
                kind = options.plot.suffix.lower()[1:]
                _draw(partial, kind, outcomes, prior, found.probabilities)
        except UsageError as error:
            raise UsageError(f"infogeo maxent: {error}") from None
    show = _as_json if options.json else _as_table
    say(show(found, problem, why))
    return 1 if is_infeasible else 0


def _as_json(found: Projection, problem: _Problem, why: str) -> str:
    import json

    outcomes, names = problem.outcomes, list(problem.features)
    fields: dict[str, Any] = {"status": found.status.name, "explanation": found.status.value}
    if why:
        fields["reason"] = why
        fields["certificate"] = _by_name(names, found.certificate)
    else:
        bound = float(found.error_bound)
        fields |= {
            "probabilities": _by_name(outcomes, found.probabilities),
            "theta": _by_name(names, found.theta),
            "expectations": dict(zip(names, problem.expectations(found), strict=True)),
            "log_partition": float(found.log_partition),
            "entropy": float(found.entropy),
            "residual": float(found.residual),
            "error_bound": bound,
        }
        if found.direction is not None:
            fields["direction"] = _by_name(names, found.direction)
    return json.dumps(fields, indent=2, allow_nan=False, ensure_ascii=False)


def _by_name(names: list[str], values: Any) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))


def _as_table(found: Projection, problem: _Problem, why: str) -> str:
    outcomes, names = problem.outcomes, list(problem.features)
    lines = [f"status: {found.status.value}"]
    if why:
        lines.append(f"reason: {why}")
        terms = _terms(found.certificate, names)
        limit = "its target" if problem.has_targets_only else "what targets and bounds allow"
        lines.append(f"proof: {terms} is above {limit} for every outcome that the prior allows")
        return "\n".join(lines)
    lines.append(f"error of every log-probability: at most {float(found.error_bound):.2g}")
    lines.append(f"entropy: {float(found.entropy):.6g} nats")
    lines += ["", *_columns("outcome", "probability", outcomes, found.probabilities)]
    lines += ["", *_columns("feature", "theta", names, found.theta)]
    if not problem.has_targets_only:
        lines += ["", *_columns("feature", "expectation", names, problem.expectations(found))]
    if found.direction is not None:
        terms = _terms(found.direction, names)
        lines += ["", f"probabilities are 0 where {terms} is above its target; nowhere is it below"]
    return "\n".join(lines)


def _columns(title: str, other: str, names: list[str], values: Iterable[float]) -> list[str]:
    names = [name if name.isprintable() else repr(name) for name in names]
    width = max(len(title), *(len(name) for name in names))
    rows = [f"{name:{width}}  {float(x):.12g}" for name, x in zip(names, values, strict=True)]
    return [f"{title:{width}}  {other}", *rows]


def _terms(coefficients: Any, names: list[str]) -> str:
    pairs = zip(coefficients.tolist(), names, strict=True)
    return " ".join(f"{a:+.6g} ({name})" for a, name in pairs if a != 0.0)


# ---------------------------------------------------------------- the figure

_MOST_NAMED = 40  # more bars than that cannot be told apart, nor their names read


def _check_plot(path: Path | None) -> None:
    """Refuse before the work what would fail after it."""
    if path is None:
        return
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"infogeo maxent: --plot {path}: the name must end in .png, .svg or .pdf")
    require("infogeo maxent --plot", matplotlib="plot")


def _draw(
    path: Path, kind: str, outcomes: list[str], prior: list[float], probabilities: Any
) -> None:
    """Draw bars, or lines if there are many outcomes, with the prior as a mark or a line."""
    from matplotlib.figure import Figure

    from infogeo.plot._style import BLUE, VERMILLION

    q = [x / max(prior) for x in prior]  # large ones might overflow
    q = [x / sum(q) for x in q]
    is_wide = len(outcomes) > 12
    figure = Figure(figsize=(9.0 if is_wide else 6.0, 3.6), layout="constrained")
    ax = figure.subplots()
    where = range(len(outcomes))
    if len(outcomes) <= _MOST_NAMED:
        ax.bar(where, probabilities, color="#56B4E9", label="p*")
        ax.plot(where, q, "_", color=VERMILLION, markersize=16, markeredgewidth=2, label="prior")
        shown = [_shortened(name) for name in outcomes]
        widest = max(sum(1 + (east_asian_width(x) in "WF") for x in name) for name in shown)
        is_slanted = widest * len(shown) > (90 if is_wide else 50)
        turn: dict[str, Any] = (
            {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if is_slanted else {}
        )
        ax.set_xticks(where, shown, parse_math=False, **turn)
        ax.set_xlabel("outcome")
    else:
        ax.plot(where, probabilities, color=BLUE, label="p*")
        ax.plot(where, q, color=VERMILLION, linestyle="--", linewidth=1.0, label="prior")
        ax.set_xlabel("outcome, by its row")
    ax.set_ylabel("probability")
    ax.set_ylim(bottom=0.0)
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    with warnings.catch_warnings():  # about letters that the font lacks
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(path, dpi=150, format=kind)


def _shortened(name: str) -> str:
    name = name if name.isprintable() else repr(name)
    return name if len(name) <= 18 else f"{name[:17]}\u2026"


# ---------------------------------------------------------------- the files


# What a feature may have.
_KINDS = ("target", "lower", "upper", "penalty")


@dataclass(frozen=True)
class _Problem:
    outcomes: list[str]
    prior: list[float]
    features: dict[str, list[float]]
    given: dict[str, dict[str, float]]  # of the kinds: numbers for some of the features

    @property
    def has_targets_only(self) -> bool:
        """Whether there are no bounds and no prices."""
        return not any(self.given[kind] for kind in _KINDS[1:])

    def constraints(self) -> dict[str, Any]:
        """Return the arguments of c_maximize."""
        import numpy as np

        def numbers(kind: str, default: dict[str, float]) -> np.ndarray:
            return np.array([self.given[kind].get(name, default[name]) for name in self.features])

        targets = self.given["target"]
        if not (self.given["lower"] or self.given["upper"]):
            penalty = {"penalty": numbers("penalty", targets)} if self.given["penalty"] else {}
            return {"targets": numbers("target", targets), **penalty}
        ends = (("lower", -math.inf), ("upper", math.inf))
        return {
            kind: numbers(kind, dict.fromkeys(self.features, end) | targets) for kind, end in ends
        }

    def expectations(self, found: Projection) -> list[float]:
        """Return those of the features, as numbers."""
        import numpy as np

        return (np.array(list(self.features.values())) @ found.probabilities).tolist()


def _read_problem(path: Path) -> _Problem:
    """Return what a file says."""
    try:
        if path.suffix.lower() == ".csv":
            problem = _from_csv(path.read_text(encoding="utf-8-sig"))
        elif path.suffix.lower() == ".toml":
            problem = _from_toml(path.read_text(encoding="utf-8-sig"))
        else:
            raise ValueError("the name must end in .toml or .csv")
        _check_problem(problem)
    except OSError as error:
        raise UsageError(f"infogeo maxent: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(
            f"infogeo maxent: {path}: it is no text in UTF-8: save it as such"
        ) from None
    except ValueError as error:  # of toml, too
        raise UsageError(f"infogeo maxent: {path}: {error}") from None
    return problem


def _from_toml(text: str) -> _Problem:
    import tomllib

    try:
        content = tomllib.loads(text)
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None
    tables = {"target": "targets", "lower": "lower", "upper": "upper", "penalty": "penalty"}
    known = ["outcomes", "prior", "features", *tables.values()]
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise ValueError(f"unknown key {unknown[0]}: known are {', '.join(known)}")
    features = content.get("features")
    given = {kind: content.get(key, {}) for kind, key in tables.items()}
    are_tables = all(isinstance(table, dict) for table in (features, *given.values()))
    if not (are_tables and features and any(given.values())):
        raise ValueError("it needs the tables [features] and [targets], or [lower] and [upper]")
    features = {name: _numbers(name, values) for name, values in features.items()}
    given = {
        kind: {name: _numbers(_of(kind, name), [x])[0] for name, x in table.items()}
        for kind, table in given.items()
    }
    size = len(next(iter(features.values())))
    outcomes = content.get("outcomes", [str(i) for i in range(size)])
    if not isinstance(outcomes, list):
        raise ValueError("outcomes must be a list of names")
    prior = _numbers("prior", content.get("prior", [1.0] * size))
    return _Problem([str(name) for name in outcomes], prior, features, given)


def _of(kind: str, name: str) -> str:
    """Return what messages call a number that a feature has."""
    words = {"lower": "lower bound", "upper": "upper bound"}
    return f"the {words.get(kind, kind)} of {name}"


def _from_csv(text: str) -> _Problem:
    header, body, ends = _rows_of_csv(text)
    columns = dict(zip(header[1:], list(zip(*body, strict=True))[1:], strict=True))
    cells = {kind: dict(zip(header[1:], row[1:], strict=True)) for kind, row in ends.items()}
    outcomes = [row[0] for row in body]
    prior = _numbers("prior", columns.pop("prior", [1.0] * len(outcomes)))
    if not columns:
        raise ValueError("it has no features")
    features = {name: _numbers(name, values) for name, values in columns.items()}
    given = {
        kind: {
            name: _numbers(_of(kind, name), [cell])[0]
            for name, cell in cells.get(kind, {}).items()
            if name in features and (cell or len(cells) == 1)
        }
        for kind in _KINDS
    }
    return _Problem(outcomes, prior, features, given)


def _rows_of_csv(text: str) -> tuple[list[str], list[list[str]], dict[str, list[str]]]:
    """Return the header, the rows of the outcomes, and those at the end, by their kind."""
    import csv

    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise ValueError(f"it is no csv file: {error}") from None
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    if rows and len(rows[0]) == 1 and any(mark in rows[0][0] for mark in ";\t"):
        raise ValueError("its cells must be separated by commas")
    header, *body = rows or [[""]]
    ends = {}
    while body and (kind := body[-1][0].casefold()) in _KINDS:
        if kind in ends:
            raise ValueError(f'it has two rows "{kind}"')
        ends[kind] = body.pop()
    if not (body and ends) or header[0].casefold() != "outcome":
        raise ValueError(
            'it needs a first column "outcome", outcomes, and a last row "target", or rows '
            '"lower" and "upper"'
        )
    if "" in header:
        raise ValueError(f"column {header.index('') + 1} has no name")
    for number, row in enumerate([*body, *reversed(ends.values())]):
        if len(row) != len(header):
            raise ValueError(f"row {number + 1} has {len(row)} cells, the header {len(header)}")
    if len(set(header)) < len(header):
        raise ValueError("two columns have the same name")
    return header, body, ends


def _numbers(name: str, values: Any) -> list[float]:
    """Return a list of finite floats, of numbers or of text."""
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(f"{name} must be a list of numbers")
    numbers = []
    for value in values:
        try:
            if isinstance(value, bool):
                raise ValueError
            numbers.append(float(value))
        except (TypeError, ValueError):
            raise ValueError(f"{name} must hold numbers: got {_quoted(value)}") from None
        except OverflowError:
            numbers.append(math.inf)
        if not math.isfinite(numbers[-1]):
            raise ValueError(f"{name} must be finite: got {_quoted(value)}")
    return numbers


def _quoted(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _check_problem(problem: _Problem) -> None:
    outcomes, prior, features = problem.outcomes, problem.prior, problem.features
    for name, values in {"prior": prior, **features}.items():
        if len(values) != len(outcomes):
            raise ValueError(f"{name} has {len(values)} entries for {len(outcomes)} outcomes")
    if len(set(outcomes)) < len(outcomes):
        raise ValueError("two outcomes have the same name")
    if min(prior) < 0.0 or max(prior) == 0.0:
        raise ValueError("prior must not be negative, and not 0 everywhere")
    targets, lower, upper, penalty = (problem.given[kind] for kind in _KINDS)
    for name in sorted({*targets, *lower, *upper, *penalty} ^ set(features)):
        raise ValueError(f"{name} must be both a feature and a target, or have bounds")
    for name in features:
        has_bounds = name in lower or name in upper
        if name in targets and has_bounds:
            raise ValueError(f"{name} has a target and bounds: give one of the two")
        if name not in targets and not has_bounds:
            raise ValueError(f"{name} has a penalty, but no target")
        if penalty and has_bounds:
            raise ValueError(f"{name} has bounds: with a penalty all features have targets")
        if penalty and not penalty.get(name, 0.0) > 0.0:
            raise ValueError(f"{name} must have a positive penalty, as all features or none")
        if lower.get(name, -math.inf) > upper.get(name, math.inf):
            raise ValueError(f"{_of('lower', name)} is above {_of('upper', name)}")
