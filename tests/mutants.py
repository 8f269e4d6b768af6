"""Which changes of the code do its tests not notice?

python tests/mutants.py infogeo/simplex/_distance.py tests/test_simplex.py --lines 100-200

Changes one place of a file at a time: flips a sign, a comparison or a condition, moves a
constant, drops a term, a factor, a statement or a call such as exp, abs or max. Runs the tests
on a copy of the project with that change, each time in a process of its own, and prints the
changes that pass all of them, then a score. Options that are not listed go to pytest:
``-k faces``, ``-m "not slow"``. The search stays honest if a survivor either gets a test or is
recorded with its reason in CONTRIBUTING.md.
"""

import argparse
import ast
import contextlib
import importlib
import io
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Imported before the processes are forked off, which saves most of the time of a small test.
IMPORTED_ONCE = (
    *("numpy", "scipy.linalg", "scipy.optimize", "scipy.sparse", "scipy.stats", "torch"),
    *("pytest", "mpmath"),
)
NOT_COPIED = (".*", "__pycache__", "build", "dist", "out", "_build")

SWAPPED = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Pow: ("**", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
# A comparison becomes a slightly looser or stricter one, and its opposite.
COMPARED = {
    ast.Lt: ("<", ("<=", ">=")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<=")),
    ast.GtE: (">=", (">", "<")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: ("is not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
}
# Calls of one argument that stand for the argument itself.
DROPPED_CALLS = {
    *("abs", "exp", "log", "log1p", "expm1", "sqrt", "square", "sum", "max", "min"),
    *("sign", "cumsum", "sort", "unique", "isfinite", "transpose", "conj", "rint", "ceil"),
}
# Calls of several arguments of which one may be the answer.
CHOICES = {"max": 0, "min": 0, "maximum": 0, "minimum": 0, "hypot": 0, "where": 1, "clip": 0}
OPPOSITES = {
    "max": "min",
    "min": "max",
    "maximum": "minimum",
    "minimum": "maximum",
    "all": "any",
    "any": "all",
    "argmax": "argmin",
    "argmin": "argmax",
}


class Source:
    """The text of a file, and the places of its syntax tree in it."""

    def __init__(self, text):
        self.data = text.encode()
        self.starts = [0]
        for line in self.data.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def span(self, node):
        """Return where a node begins and ends, in bytes."""
        return (
            self.starts[node.lineno - 1] + node.col_offset,
            self.starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def text(self, node):
        first, last = self.span(node)
        return self.data[first:last].decode()

    def with_change(self, first, last, new):
        return (self.data[:first] + new.encode() + self.data[last:]).decode()


class Mutant:
    """One change: the bytes `first` to `last` become `new`."""

    def __init__(self, source, first, last, new):
        self.first, self.last, self.new = first, last, new
        self.line = source.data[:first].count(b"\n") + 1
        self.text = source.with_change(first, last, new)
        self.old = source.data[first:last].decode()
        self.around = source.data.decode().splitlines()[self.line - 1].strip()

    def __str__(self):
        old, new = (" ".join(x.split()) or "nothing" for x in (self.old, self.new))
        return f"line {self.line}: {old}  ->  {new}      in: {self.around}"


def mutants(text):
    """Return the changes of a module that still compile, in the order of their lines."""
    source, found = Source(text), []
    for node in _nodes(ast.parse(text)):
        for place, new in _changes(source, node):
            mutant = Mutant(source, *place, new)
            with contextlib.suppress(SyntaxError), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about a number that is called or indexed
                compile(mutant.text, "mutant", "exec")
                found.append(mutant)
    unique = {(mutant.first, mutant.last, mutant.new): mutant for mutant in found}.values()
    return sorted(unique, key=lambda mutant: (mutant.line, mutant.first))


def _nodes(node):
    """Yield what may be changed: no imports, annotations, texts or messages of errors."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(
                child, ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Raise | ast.Assert
            ):
                yield from _nodes(child)


def _changes(source, node):
    """Yield what may be put in the place of a node, or of its operator."""
    here = source.span(node) if hasattr(node, "lineno") else None
    match node:
        case ast.Constant(value=bool() as value):
            yield here, str(not value)
        case ast.Constant(value=int() as value):
            yield here, str(value + 1)
        case ast.Constant(value=float() as value):
            yield here, repr(2.0 * value if value else 1.0)
            if value:
                yield here, repr(0.5 * value)
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert(), operand=operand):
            yield here, f"({source.text(operand)})"
        case ast.BinOp(left=left, op=op, right=right):
            if type(op) in SWAPPED:
                yield _between(source, left, right, *SWAPPED[type(op)])
            if not isinstance(op, ast.MatMult | ast.Mod | ast.LShift):
                yield here, f"({source.text(left)})"
            if isinstance(op, ast.Add | ast.Mult | ast.BitAnd | ast.BitOr):
                yield here, f"({source.text(right)})"
            if isinstance(op, ast.Sub):
                yield here, f"(-({source.text(right)}))"
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            old, others = COMPARED[type(op)]
            for new in others:
                yield _between(source, left, right, old, new)
        case ast.Compare(left=left, ops=[_, _], comparators=[middle, right]):
            texts = [source.text(x) for x in (left, middle, right)]
            yield here, f"({texts[0]} <= {texts[1]})"
            yield here, f"({texts[1]} <= {texts[2]})"
        case ast.BoolOp(op=op, values=values):
            is_and = isinstance(op, ast.And)
            texts = [f"({source.text(x)})" for x in values]
            yield here, (" or " if is_and else " and ").join(texts)
            for k in range(len(texts)):
                yield here, (" and " if is_and else " or ").join(texts[:k] + texts[k + 1 :])
        case ast.AugAssign(target=target, op=op, value=value):
            if type(op) in SWAPPED:
                old, new = SWAPPED[type(op)]
                yield _between(source, target, value, f"{old}=", f"{new}=")
            yield here, "pass"
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            if not isinstance(test, ast.Compare):
                yield source.span(test), f"(not ({source.text(test)}))"
        case ast.Expr(value=ast.Call()):
            yield here, "pass"
        case ast.Break():
            yield here, "pass"
        case ast.Call(func=func, args=arguments):
            yield from _changes_of_call(source, node, func, arguments)


def _changes_of_call(source, node, func, arguments):
    """Yield what may be put in the place of a call, of a function or of a method."""
    here = source.span(node)
    name = getattr(func, "attr", None) or getattr(func, "id", None)
    is_method = isinstance(func, ast.Attribute) and not isinstance(func.value, ast.Name)
    if name in OPPOSITES:
        _, last = source.span(func)
        yield (last - len(name), last), OPPOSITES[name]
    if name in CHOICES and len(arguments) > 1:
        for argument in arguments[CHOICES[name] :]:
            yield here, f"({source.text(argument)})"
    elif name == "copysign" or (name in DROPPED_CALLS and len(arguments) == 1 and not is_method):
        yield here, f"({source.text(arguments[0])})"


def _between(source, left, right, old, new):
    """Return the place of an operator between two nodes, and the new operator."""
    first, last = source.span(left)[1], source.span(right)[0]
    at = source.data[first:last].find(old.encode())
    if at < 0:  # it stands behind a comment or in another spelling: leave it
        return (first, first), ""
    return (first + at, first + at + len(old)), new


# ---------------------------------------------------------------- running the tests


def passes(copy, arguments, limit):
    """Whether the tests pass in a copy of the project, in a process that is killed at the limit."""
    process = multiprocessing.get_context("fork").Process(target=_test, args=(copy, arguments))
    process.start()
    process.join(limit)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode == 0


def _test(copy, arguments):
    """Run pytest, quietly, and end the process with its answer."""
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    sys.path[:] = [str(copy), *(x for x in sys.path if Path(x or ".").resolve() != Path(copy))]
    import pytest

    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            status = pytest.main(["-x", "-q", "-n0", "-p", "no:cacheprovider", *arguments])
    os._exit(int(status))


def search(path, arguments, chosen, limit):
    """Return the mutants that pass, in a copy of the project; print them as they are found."""
    survivors = []
    for name in IMPORTED_ONCE:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
        file = copy / path
        start = time.monotonic()
        if not passes(copy, arguments, None):
            sys.exit("The tests fail without any change. Run them by themselves first.")
        limit = limit or 10.0 + 4.0 * (time.monotonic() - start)
        for k, mutant in enumerate(chosen):
            file.write_text(mutant.text)
            os.utime(file, (k, k))  # or Python takes the bytecode of the mutant before
            if passes(copy, arguments, limit):
                survivors.append(mutant)
                print(mutant, flush=True)
    return survivors


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="the file to change, from the root of the project")
    parser.add_argument("tests", nargs="+", help="files of tests, or tests, as pytest takes them")
    parser.add_argument("--lines", nargs="+", default=[], metavar="A-B", help="these lines only")
    parser.add_argument("--once", action="store_true", help="one change of each line, at random")
    parser.add_argument("--sample", type=int, metavar="N", help="so many changes, at random")
    parser.add_argument("--limit", type=float, metavar="S", help="seconds until tests have failed")
    parser.add_argument("--list", action="store_true", help="print the changes and test nothing")
    options, others = parser.parse_known_args()
    chosen = mutants((ROOT / options.file).read_text())
    if options.lines:
        ends = [[int(x) for x in (part.split("-") * 2)[:2]] for part in options.lines]
        chosen = [x for x in chosen if any(first <= x.line <= last for first, last in ends)]
    rng = random.Random(0)
    if options.once:
        by_line = {line: [x for x in chosen if x.line == line] for line in {x.line for x in chosen}}
        chosen = [rng.choice(by_line[line]) for line in sorted(by_line)]
    if options.sample and options.sample < len(chosen):
        chosen = sorted(rng.sample(chosen, options.sample), key=lambda x: x.line)
    if options.list:
        print(*chosen, sep="\n")
        return
    survivors = search(options.file, [*options.tests, *others], chosen, options.limit)
    killed = len(chosen) - len(survivors)
    print(f"{options.file}: {len(chosen)} changes, {killed} noticed, {len(survivors)} not.")


if __name__ == "__main__":
    main()
