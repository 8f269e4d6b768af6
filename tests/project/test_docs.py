"""Docstrings: what many share is written once, and every reader of them sees all of it."""

import ast
import collections
import importlib
import inspect
import pickle
import pkgutil
import re
from pathlib import Path

import pytest

import infogeo
from infogeo._docs import RAISED, SHARED, finish

SOURCES = sorted(Path(infogeo.__file__).parent.rglob("*.py"))
MODULES = sorted(
    ["infogeo"]
    + [
        info.name
        for info in pkgutil.walk_packages(infogeo.__path__, "infogeo.")
        if not info.name.endswith("__main__")
    ]
)
PACKAGE_FOLDERS = {path.parent for path in SOURCES} - {Path(infogeo.__file__).parent}
SECTIONS = {"Parameters", "Other Parameters", "Attributes", "Raises"}


def entries(docstring):
    """Yield (first line, text) of the entries in the sections of a docstring that has them."""
    section, lines = None, inspect.cleandoc(docstring).split("\n")
    for i, line in enumerate(lines):
        following = lines[i + 1] if i + 1 < len(lines) else ""
        if re.fullmatch("-{3,}", following):
            section = line
        elif section in SECTIONS and re.match(r"[^\s-]", line):
            rest = lines[i + 1 :]
            end = next((k for k, x in enumerate(rest) if not x.startswith("    ")), len(rest))
            yield line, "\n".join(x.strip() for x in rest[:end])


def in_source(path):
    """Yield the docstrings of a file, as they are written."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            yield ast.get_docstring(node)


def covered(path):
    """Return the files whose docstrings `finish` completes: those of a front, too, if private."""
    inside = path.parent.rglob("*.py") if path.name == "__init__.py" else []
    private = [p for p in inside if p.relative_to(path.parent).parts[0].startswith("_")]
    return [path, *(p for p in private if p != path)]


def front_of(path):
    """Return the file that calls `finish` for the functions of a file."""
    fronts = (folder / "__init__.py" for folder in path.parents if folder in PACKAGE_FOLDERS)
    return next((front for front in fronts if path in covered(front)), path)


def table(path):
    """Return the entries of a module's own table, those that it hands to `finish`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "finish":
            return ast.literal_eval(node.args[1]) if len(node.args) > 1 else {}
    return {}


def documented(module):
    """Yield (name, docstring) of every function, class and method that a module defines."""
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            for member_name, member in vars(value).items():
                target = getattr(member, "__func__", member)
                if inspect.isfunction(target) or isinstance(target, property):
                    yield f"{name}.{member_name}", target.__doc__ or ""
        if inspect.isclass(value) or inspect.isfunction(value):
            yield name, value.__doc__ or ""


@pytest.mark.parametrize("name", MODULES)
def test_readers_see_what_every_entry_says(name):
    for where, docstring in documented(importlib.import_module(name)):
        for first_line, text in entries(docstring):
            assert text, f"{name}.{where}: nothing says what {first_line!r} is"


def test_an_entry_that_many_share_is_written_once():
    copies = collections.Counter()
    for path in SOURCES:
        own = table(path) | table(front_of(path))
        for docstring in in_source(path):
            for line, text in entries(docstring):
                is_shared = line in SHARED and line not in own
                copies[line, text, "" if is_shared else path.name] += bool(text)
    assert {entry: n for entry, n in copies.items() if n >= 6} == {}


def test_the_tables_hold_only_what_is_used():
    users = collections.defaultdict(set)
    for path in SOURCES:
        docstrings = [text for part in covered(path) for text in in_source(part)]
        bare = collections.Counter(
            line for d in docstrings for line, text in entries(d) if not text
        )
        rare = {line for line in table(path) if bare[line] < 2}
        assert rare <= {RAISED}, path  # which `finish` adds
        for line in bare:
            users[line].add(path)
    assert {line for line in SHARED if len(users[line]) < 2} <= {RAISED}


@pytest.mark.parametrize("name", MODULES)
def test_dir_shows_the_public_names_only(name):
    module = importlib.import_module(name)
    if "__all__" in vars(module):
        assert dir(module) == sorted(module.__all__)


def test_finish_adds_what_checked_arguments_raise():
    def distance(p):
        """Return a distance.

        Parameters
        ----------
        p : array
            Probabilities.

        Returns
        -------
        array
            In radians.

        Examples
        --------
        >>> 1
        1
        """

    def short(p):
        """Return nothing.

        Parameters
        ----------
        p : array
            Probabilities.
        """

    def is_one(p) -> bool:
        """Tell whether it is 1.

        Parameters
        ----------
        p : array
            Probabilities.
        """

    def told(p):
        """Return nothing.

        Parameters
        ----------
        p : array
            Probabilities.

        Raises
        ------
        RuntimeError
            Always.
        """

    functions = (distance, short, is_one, told)
    before = [f.__doc__ for f in functions]
    module = {"__name__": __name__, "__all__": [f.__name__ for f in functions]}
    finish(module | {f.__name__: f for f in functions}, checks=False)
    assert [f.__doc__ for f in functions] == before
    finish(module | {f.__name__: f for f in functions})
    assert [f.__doc__ for f in (is_one, told)] == before[2:]
    section = f"Raises\n------\n{RAISED}\n    {SHARED[RAISED]}"
    assert f"In radians.\n\n{section}\n\nExamples\n" in inspect.getdoc(distance)
    assert inspect.getdoc(short).endswith(f"Probabilities.\n\n{section}")


def test_finish_writes_each_entry_once_and_as_deep_as_it_stands():
    class Point:
        """A point.

        Parameters
        ----------
        check : bool
        size : int
            How large,
            in all.
        """

        @classmethod
        def made(cls):
            """Make one.

            Parameters
            ----------
            size : int"""

        @property
        def norm(self):
            """The norm.

            Raises
            ------
            check : bool

            """

    Point.__module__ = "somewhere"
    module = {"__name__": "somewhere", "Point": Point, "__all__": ["b", "a"], "number": 3.0}
    for _ in range(2):
        finish(module, {"size : int": "One line,\nand another."})
    said = "Verify the values. Shapes and dtypes are always verified."
    assert list(entries(Point.__doc__)) == [
        ("check : bool", said),
        ("size : int", "How large,\nin all."),
    ]
    assert list(entries(Point.made.__doc__)) == [("size : int", "One line,\nand another.")]
    assert list(entries(vars(Point)["norm"].__doc__)) == [("check : bool", said)]
    assert module["__dir__"]() == ["a", "b"]


@pytest.mark.parametrize("name", [name for name in MODULES if name != "infogeo"])
def test_what_a_front_exports_is_its_own(name):
    """What is pickled is found again, and messages name it, however private files are cut."""
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert not str(value.__module__).startswith(f"{name}._"), public
            if str(value.__module__) == name and value.__qualname__ == public:
                assert pickle.loads(pickle.dumps(value)) is value


def summaries():
    """Yield (name, first word of the docstring) of every public function and method."""
    for name in MODULES:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            value = getattr(module, public)
            members = vars(value).values() if inspect.isclass(value) else [value]
            for member in members:
                target = getattr(member, "__func__", member)
                is_ours = str(getattr(target, "__module__", "")).startswith("infogeo")
                if inspect.isfunction(target) and is_ours and not target.__name__.startswith("_"):
                    yield (
                        f"{name}.{target.__qualname__}",
                        inspect.getdoc(target).split()[0].strip("."),
                    )


# A new verb is welcome here; a noun is not: a summary says what calling the function does.
VERBS = """
Add Apply Approach Bring Build Certify Check Copy Count Draw Estimate Find Fit Forget Iterate Join
Load Look Lower Make Map Measure Move Multiply Orthogonalise Place Project Propagate Pull Raise
Reflect Remember Return Run Save Show Solve Sort Split Start Take Tell Train Transport Verify Walk
Write
"""


def test_summaries_say_what_a_call_does():
    nouns = {name: word for name, word in summaries() if word not in VERBS.split()}
    assert not nouns
