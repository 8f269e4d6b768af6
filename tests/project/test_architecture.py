"""The layout holds: imports point one way, and light imports stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import structure

from infogeo import _spaces

PACKAGE = Path(__file__).parent.parent.parent / "infogeo"

# A module may import from its own package and from the layers before it.
LAYERS = (
    {"_docs"},
    {"_dask", "_names", "_status", "typing"},
    {"_blocks"},
    {"_system"},
    {"_array"},
    {"_divergence", "_geodesic", "_points", "_spaces", "_sphere"},
    {"_result"},
    {"simplex", "normal"},
    {"logits", "multivariate_normal"},
    {"manifolds"},
    {"mean", "neighbors", "testing"},
    {"inference", "maxent"},
    {"family"},
    {"pullback"},
    {"lipschitz"},
    {"robustness"},
    {"interop", "plot"},
    {"results"},
    {"cli"},
    {"__main__"},
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def imports(tree):
    """Yield (module, names) of every import, at any depth of the code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", tuple(alias.name for alias in node.names)


def imported_parts(tree):
    """Return the parts of infogeo that a module imports."""
    parts = set()
    for module, names in imports(tree):
        if module == "infogeo":
            parts.update(names)
        elif module.startswith("infogeo."):
            parts.add(module.split(".")[1])
    return parts


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_point_one_way(path):
    part = path.parts[0].removesuffix(".py")
    if part == "__init__":
        return  # the package's front names its submodules, lazily
    assert part in RANK, f"{path} belongs to no layer: add it to LAYERS"
    for other in imported_parts(ast.parse((PACKAGE / path).read_text())):
        assert other == part or RANK[other] < RANK[part], (
            f"{path} imports {other}, which comes no earlier in the order of layers"
        )


def test_no_import_runs_upwards_inside_the_folders():
    assert structure.upward_imports(structure.parsed(PACKAGE)) == []


@pytest.mark.parametrize(
    ("sources", "upward"),
    [
        ({"p.a": "", "p.b": "import p.a", "p.c": "from p import a, b"}, []),
        ({"p.a": "from p import b", "p.b": "from p.a import f"}, ["p.a p.b", "p.b p.a"]),
        # By way of a folder, from deep in it and late.
        (
            {"p.a": "def f():\n    import p.d.x", "p.d.x": "import p.d.y", "p.d.y": "import p.a"},
            ["p.a p.d.x", "p.d.y p.a"],
        ),
        ({"p.d": "", "p.d.x": "from p.d import f"}, ["p.d.x p.d"]),
        (
            {"p.a": "import p.b", "p.b": "if TYPE_CHECKING:\n    from p.a import C"},
            [],
        ),
    ],
)
def test_what_runs_upwards(sources, upward):
    trees = {"p": ast.parse("")} | {name: ast.parse(text) for name, text in sources.items()}
    assert [" ".join(pair) for pair in structure.upward_imports(trees)] == upward


KINDS = [space.POINTS for space in _spaces.registered().values()]
CLASSES = {kind.__name__ for kind in KINDS if isinstance(kind, type)}
# Moments of a layer's output are computed for normals alone, by one formula for each kind.
KNOWS_ITS_SPACE = {"lipschitz/propagation.py"}


def comparisons_with_a_space(tree):
    """Yield the lines that compare something with one space, or ask whether it is one's point."""
    names = _spaces.names()
    modules = {name for module, parts in imports(tree) if module == "infogeo" for name in parts}
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            is_none = any(getattr(side, "value", 0) is None for side in sides)
            used = {getattr(part, "id", "") for side in sides for part in ast.walk(side)}
            is_name = any(getattr(side, "value", 0) in names for side in sides)
            is_test = all(
                isinstance(op, ast.Is | ast.IsNot | ast.Eq | ast.NotEq) for op in node.ops
            )
            if is_test and not is_none and (is_name or used & modules & set(names)):
                yield node.lineno
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
            asked = {getattr(part, "id", "") for part in ast.walk(node.args[1])}
            yield from [node.lineno] * bool(asked & CLASSES)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_spaces_are_asked_and_never_told_apart(path):
    found = sorted(comparisons_with_a_space(ast.parse((PACKAGE / path).read_text())))
    if str(path) in KNOWS_ITS_SPACE:
        assert found, f"{path} needs no exception any more"
        return
    assert not found, f"{path}, lines {found}: let the space declare it (see docs/spaces.md)"


def test_the_search_for_such_tests_finds_them():
    code = """
from infogeo import logits, simplex
if space is logits: pass
if (one, other) == (simplex, 3): pass
if name == "logits": pass
if isinstance(x, Normal | int): pass
if logits is None or "logits" in names: pass
"""
    assert sorted(comparisons_with_a_space(ast.parse(code))) == [3, 4, 5, 6]


def test_private_methods_are_called_where_they_are_defined():
    """A method whose name begins with an underscore is for its own class and module."""
    trees = {path: ast.parse((PACKAGE / path).read_text()) for path in MODULES}
    homes = {}
    for path, tree in trees.items():
        for kind in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            for method in (node for node in kind.body if isinstance(node, ast.FunctionDef)):
                if method.name.startswith("_") and not method.name.endswith("__"):
                    homes.setdefault(method.name, set()).add(path)
    for path, tree in trees.items():
        for node in (node for node in ast.walk(tree) if isinstance(node, ast.Attribute)):
            is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            assert is_own or path in homes.get(node.attr, {path}), (
                f"{path}, line {node.lineno}: {ast.unparse(node)} is a private method of "
                f"{', '.join(map(str, homes[node.attr]))}"
            )


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import infogeo; infogeo.simplex", {"torch", "matplotlib", "sklearn", "scipy", "rich"}),
        (
            "import infogeo; infogeo.logits, infogeo.normal",
            {"torch", "matplotlib", "sklearn", "scipy", "rich"},
        ),
        (
            "import infogeo; infogeo.multivariate_normal, infogeo.maxent, infogeo.family; "
            "infogeo.lipschitz.certificates",
            {"torch", "matplotlib", "sklearn", "rich"},
        ),
        (
            "import infogeo; infogeo.lipschitz.layers, infogeo.pullback, infogeo.robustness",
            {"matplotlib", "sklearn", "rich"},
        ),
        ("import infogeo.cli", {"torch", "matplotlib", "sklearn"}),
    ],
)
def test_light_imports_stay_light(statement, absent):
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert absent.isdisjoint(run.stdout.split())


def test_pytest_imports_a_module_once():
    """Pytest would execute the file of a module again that its package has imported."""
    code = (
        "import sys, pytest; assert not pytest.main(['--collect-only', '-q', sys.argv[1]]); "
        "from infogeo.pullback import Head, heads; assert heads.Head is Head"
    )
    file = PACKAGE / "pullback" / "heads.py"
    subprocess.run([sys.executable, "-c", code, file], cwd=PACKAGE.parent, check=True, timeout=120)


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("infogeo.pullback", "torch", "torch"),
        ("infogeo.robustness", "torch", "torch"),
        ("infogeo.lipschitz.layers", "torch", "torch"),
        ("infogeo.lipschitz.losses", "torch", "torch"),
        ("infogeo.lipschitz.curved", "torch", "torch"),
        ("infogeo.lipschitz.output_layers", "torch", "torch"),
        ("infogeo.lipschitz.propagation", "torch", "torch"),
        ("infogeo.lipschitz.smoothing", "torch", "torch"),
        ("infogeo.plot", "matplotlib", "plot"),
    ],
)
def test_a_missing_extra_is_one_line(module, package, extra):
    code = f"import sys; sys.modules['{package}'] = None; import {module}"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last == f"ModuleNotFoundError: {module} needs {package}: pip install 'infogeo[{extra}]'"
