"""What the package is made of, in numbers: one column for each checkout.

python tests/structure.py                 this checkout
python tests/structure.py OLD_FOLDER .    another one, and this one beside it

A checkout is a folder that holds the folder ``infogeo``. Times are the best of several runs, in
which the checkouts take turns.
"""

import ast
import json
import os
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path

_NUM_RUNS = 5


# ---------------------------------------------------------------- imports


def parsed(package):
    """Return the syntax tree of each module of a package, by its dotted name."""
    return {
        _module_name(package, path): ast.parse(path.read_text("utf-8"))
        for path in sorted(package.rglob("*.py"))
    }


def _module_name(package, path):
    parts = (package.name, *path.relative_to(package).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(trees):
    """Return the pairs (importing module, imported module) of a package, at any depth of code.

    What is imported for annotations alone is left out.
    """
    pairs = set()
    for module, tree in trees.items():
        for node in _walk(tree):
            if isinstance(node, ast.Import):
                pairs.update((module, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    submodule = f"{node.module}.{alias.name}"
                    pairs.add((module, submodule if submodule in trees else node.module))
    return {(module, other) for module, other in pairs if other in trees and other != module}


def _walk(node):
    """Yield all nodes but those that only type checkers see."""
    yield node
    if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
        for child in ast.iter_child_nodes(node):
            yield from _walk(child)


def upward_imports(trees):
    """Return the imports that run upwards, as sorted pairs (importing module, imported module).

    The members of a folder, files and folders, should have an order in which each imports only
    from those before it, and the front of the folder (its ``__init__``) comes after all of them.
    An import runs upwards if it asks the front of a folder that it lies in, or if it belongs to a
    circle of members of one folder.
    """
    pairs = imports(trees)
    found = {(module, other) for module, other in pairs if module.startswith(f"{other}.")}
    for folder in {module.rpartition(".")[0] for module in trees} - {""}:
        arrows = {}
        for pair in pairs:
            ends = tuple(_member(folder, module) for module in pair)
            if all(ends) and ends[0] != ends[1]:
                arrows.setdefault(ends, set()).add(pair)
        for (start, end), ours in arrows.items():
            if start in _reached(arrows, end):
                found |= ours
    return sorted(found)


def _member(folder, module):
    """Return the member of a folder that a module is or lies in, "" if it lies elsewhere."""
    inside = module.removeprefix(f"{folder}.")
    return "" if inside == module else inside.partition(".")[0]


def _reached(arrows, start):
    """Return the members that imports lead to from one of them."""
    seen, before = {start}, set()
    while seen != before:
        before = set(seen)
        seen |= {end for first, end in arrows if first in seen}
    return seen


# ---------------------------------------------------------------- what the sources show


def of_sources(package):
    """Return figures about the sources of a package, by name."""
    trees = parsed(package)
    sizes = {
        _module_name(package, path): path.read_text("utf-8").count("\n")
        for path in package.rglob("*.py")
    }
    largest = max(sizes, key=sizes.get)
    functions = list(_functions(trees))
    public = [node for node, is_public in functions if is_public]
    annotated = sum(map(_is_annotated, public))
    repeated = [count for count in docstring_lines(trees).values() if count >= 5]
    return {
        "files": len(sizes),
        "lines": sum(sizes.values()),
        "lines of the median file": f"{statistics.median(sizes.values()):g}",
        "lines of the largest file": f"{sizes[largest]} ({largest})",
        "lines of the longest function, without its docstring": max(
            _length(node)
            for tree in trees.values()
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)
        ),
        "imports that run up": len(upward_imports(trees)),
        "public functions and methods": len(public),
        "private ones for each public one": f"{len(functions) / max(len(public), 1) - 1.0:.2f}",
        "public ones with all their types": f"{annotated} ({annotated / max(len(public), 1):.0%})",
        "docstring lines seen five times and more": (
            f"{sum(repeated)} ({len(repeated)} different ones)"
        ),
    }


def _length(function):
    """Return the number of lines from the signature on, without the docstring."""
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    left_out = docstring.end_lineno - docstring.lineno + 1 if docstring else 0
    return function.end_lineno - function.lineno + 1 - left_out


def _functions(trees):
    """Yield (function, whether it is public) for the functions of modules and for methods."""
    public = _public_names(trees)
    for module, tree in trees.items():
        for node in tree.body:
            is_public = (module, getattr(node, "name", None)) in public
            if isinstance(node, ast.FunctionDef):
                yield node, is_public
            elif isinstance(node, ast.ClassDef):
                for method in node.body:
                    if isinstance(method, ast.FunctionDef) and not method.name.startswith("__"):
                        yield method, is_public and not method.name.startswith("_")


def _public_names(trees):
    """Return what public modules export, as pairs (module that defines it, name)."""
    return {
        _home(module, name, trees)
        for module, tree in trees.items()
        if not any(part.startswith("_") for part in module.split("."))
        for name in _exported(tree)
    }


def _exported(tree):
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__":
            # What is not written out, as the names of `infogeo.results`, stands elsewhere, too.
            return [name.value for name in node.value.elts if isinstance(name, ast.Constant)]
    return []


def _home(module, name, trees):
    for node in ast.walk(trees[module]):
        if isinstance(node, ast.ImportFrom) and node.module in set(trees) - {module}:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _home(node.module, alias.name, trees)
    return module, name


def _is_annotated(function):
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    named += [more for more in (arguments.vararg, arguments.kwarg) if more is not None]
    have_types = (argument.annotation or argument.arg in ("self", "cls") for argument in named)
    return function.returns is not None and all(have_types)


# Headings and examples of numpydoc are alike by their nature.
_HEADINGS = {
    "Attributes", "Examples", "Notes", "Parameters", "Raises", "References", "Returns", "See Also",
}  # fmt: skip


def docstring_lines(trees):
    """Count the lines of all docstrings."""
    lines = Counter()
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                lines.update(map(str.strip, (ast.get_docstring(node) or "").splitlines()))
    return Counter(
        {
            line: count
            for line, count in lines.items()
            if line not in {"", *_HEADINGS} and not line.startswith(("---", ">>>", "..."))
        }
    )


# ---------------------------------------------------------------- what a run shows

_RUN = """
import json, sys, timeit
from pathlib import Path

import numpy

seconds = {"import infogeo": timeit.timeit("import infogeo", number=1)}
import infogeo
from infogeo import multivariate_normal, normal, simplex

package = Path(infogeo.__file__).parent
p, q = numpy.array([0.2, 0.8]), numpy.array([0.5, 0.5])
cov = numpy.array([[2.0, 0.5], [0.5, 1.0]])
calls = {
    "simplex": (simplex, p, q),
    "normal": (normal, normal.Normal(0.0, 1.0), normal.Normal(1.0, 2.0)),
    "multivariate_normal": (
        multivariate_normal,
        multivariate_normal.MultivariateNormal(p, cov),
        multivariate_normal.MultivariateNormal(q, numpy.linalg.inv(cov)),
    ),
}
rooms = {}
for name, (space, a, b) in calls.items():
    distance = space.fisher_rao_distance
    distance(a, b)  # what is imported late is there afterwards
    files = set()
    sys.setprofile(lambda frame, event, value: files.add(frame.f_code.co_filename))
    distance(a, b)
    sys.setprofile(None)
    rooms[name] = sorted(
        str(Path(file).relative_to(package)) for file in files if file.startswith(str(package))
    )
    timer = timeit.Timer(lambda: distance(a, b))
    seconds[name] = min(timer.repeat(20, 100)) / 100
print(json.dumps({"rooms": rooms, "seconds": seconds}))
"""


def of_runs(checkouts):
    """Return figures about what runs, a dict by name for each checkout."""
    runs = [[_run(checkout) for checkout in checkouts] for _ in range(_NUM_RUNS)]
    return [_summary(list(of_one)) for of_one in zip(*runs, strict=True)]


def _run(checkout):
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _RUN]
    run = subprocess.run(
        command, env=environment, cwd=checkout, capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


def _summary(runs):
    rooms = {
        f"files on the way of a distance, {space}": f"{len(files)} ({', '.join(files)})"
        for space, files in runs[0]["rooms"].items()
    }
    best = {name: min(run["seconds"][name] for run in runs) for name in runs[0]["seconds"]}
    imported = {"import infogeo, beside numpy": f"{1e3 * best.pop('import infogeo'):.1f} ms"}
    calls = {f"a distance, {name}": f"{1e6 * spent:.1f} us" for name, spent in best.items()}
    return rooms | imported | calls


def main(arguments):
    """Print the figures of the checkouts, one beside the other."""
    checkouts = [Path(name).resolve() for name in arguments or [Path(__file__).parent.parent]]
    ran = of_runs(checkouts)
    columns = [of_sources(path / "infogeo") | run for path, run in zip(checkouts, ran, strict=True)]
    for name in columns[0]:
        print(f"{name:54}", " | ".join(str(column[name]) for column in columns))


if __name__ == "__main__":
    main(sys.argv[1:])
