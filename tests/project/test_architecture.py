"""The layout holds: imports point one way, and light imports stay light."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "infogeo"

# A module may import from its own package and from the layers before it.
LAYERS = (
    {"_dask", "_names", "_status"},
    {"_system"},
    {"_array"},
    {"_divergence", "_fibre", "_geodesic", "_points", "_spaces"},
    {"simplex", "normal"},
    {"logits", "multivariate_normal"},
    {"mean", "neighbors"},
    {"maxent"},
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
    return parts - {"__version__", "BadValueError", "SolveError", "Status"}


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


def module_imports():
    """Return the modules of infogeo that each module imports, those for annotations left out."""
    names = {
        ".".join(("infogeo", *p.with_suffix("").parts)).removesuffix(".__init__"): p
        for p in MODULES
    }
    graph = {}
    for name, path in names.items():
        tree = ast.parse((PACKAGE / path).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                node.body = []
        found = set()
        for module, parts in imports(tree):
            inner = {f"{module}.{part}" for part in parts} & names.keys()
            found |= inner
            if module in names and (len(inner) < len(parts) or not parts) and module != "infogeo":
                found.add(module)
        graph[name] = found - {name}
    return graph


def test_no_import_comes_back_to_where_it_started():
    sorter = graphlib.TopologicalSorter(module_imports())
    sorter.prepare()  # a CycleError names the modules of a circle


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import infogeo; infogeo.simplex", {"torch", "matplotlib", "sklearn", "scipy", "rich"}),
        ("import infogeo; infogeo.logits", {"torch", "matplotlib", "sklearn", "scipy", "rich"}),
        ("import infogeo; infogeo.multivariate_normal", {"torch", "matplotlib", "sklearn", "rich"}),
        ("import infogeo; infogeo.normal", {"torch", "matplotlib", "sklearn", "scipy", "rich"}),
        ("import infogeo; infogeo.maxent", {"torch", "matplotlib", "sklearn", "rich"}),
        ("import infogeo; infogeo.family", {"torch", "matplotlib", "sklearn", "rich"}),
        ("import infogeo; infogeo.lipschitz", {"matplotlib", "sklearn", "rich"}),
        ("import infogeo; infogeo.pullback", {"matplotlib", "sklearn", "rich"}),
        ("import infogeo; infogeo.robustness", {"matplotlib", "sklearn", "rich"}),
        ("import infogeo.cli", {"torch", "matplotlib", "sklearn"}),
    ],
)
def test_light_imports_stay_light(statement, absent):
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert absent.isdisjoint(run.stdout.split())


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("infogeo.pullback", "torch", "torch"),
        ("infogeo.robustness", "torch", "torch"),
        ("infogeo.lipschitz.layers", "torch", "torch"),
        ("infogeo.lipschitz.losses", "torch", "torch"),
        ("infogeo.lipschitz.heads", "torch", "torch"),
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
