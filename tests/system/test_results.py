"""Results on the screen: a few lines whatever their size, no addresses, rows as frames."""

import copy
import dataclasses
import importlib
import inspect
import pkgutil
import re

import numpy as np
import pandas as pd
import pytest
import torch
from system.test_storage import RESULTS

import infogeo
from infogeo import Status, neighbors
from infogeo._points import Container
from infogeo._result import Result, Shown, Table
from infogeo._system.registry import STORABLE
from infogeo.manifolds import product
from infogeo.pullback import Head, PullbackMetric, heads, input_metrics

# Points and tangent vectors, which have a text of their own: of one family, and of products.
POINTS = (Container, product.Product, product.Tangent)


def enlarged(value, times):
    """Return a result with each array along its first axis, and each tuple, many times as long."""
    if isinstance(value, Result):
        large = copy.copy(value)
        for field in dataclasses.fields(value):
            part = getattr(value, field.name)
            object.__setattr__(large, field.name, enlarged(part, times))
        return large
    if isinstance(value, tuple):
        return times * value
    if isinstance(value, dict):
        return {f"{key} {i}": part for key, part in value.items() for i in range(times)}
    if isinstance(value, torch.Tensor):
        return value.repeat_interleave(times, 0) if value.ndim else value
    if isinstance(value, np.ndarray):
        return np.repeat(value, times, axis=0) if value.ndim else value
    return value


def kept(name):
    result = RESULTS[name]()
    return None if isinstance(result, POINTS) else result


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_is_shown_in_a_few_lines(name):
    result = kept(name)
    if result is None:
        return  # points have a text of one line: tests/test_points.py
    for shown in (result, enlarged(result, 10_000)):
        for text in (str(shown), repr(shown)):
            assert 1 <= len(text.splitlines()) <= 15, text
            assert max(map(len, text.splitlines())) <= 250
            assert " at 0x" not in text
            assert type(shown).__name__ in text or type(shown).__str__ is not object.__str__
        page = shown._repr_html_()
        assert page.startswith(("<table>", "<pre>"))
        assert " at 0x" not in page
        assert len(page) < 4000


def test_every_kind_of_result_is_one():
    for cls in STORABLE.values():
        assert issubclass(cls, (Result, *POINTS)), cls


def test_large_results_say_shapes_and_first_entries():
    points = np.random.default_rng(0).dirichlet(np.ones(3), 300)
    found = neighbors.nearest(points, num_neighbors=7)
    first = ", ".join(f"{x:.6g}" for x in found.distances[0, :4])
    lines = repr(found).splitlines()
    assert lines[0] == "Neighbors"
    assert lines[2] == f"  distances  float64 (300, 7) [{first}, ...]"
    small = neighbors.Neighbors(np.array([3, 1]), np.array([0.25, 1 / 3]))
    assert repr(small) == "Neighbors(indices=[3, 1], distances=[0.25, 0.333333])"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Odd(Shown):
    """Values of all kinds, each in one line and without an address."""

    function: object = np.linalg.norm
    model: object = dataclasses.field(default_factory=lambda: torch.nn.Linear(2, 2))
    module: object = np
    thing: object = dataclasses.field(default_factory=object)
    names: tuple = tuple(f"name {i}" for i in range(1000))
    numbers: list = dataclasses.field(default_factory=lambda: [1.0 / 3.0, 2])
    text: str = "line\n" * 1000
    empty: object = dataclasses.field(default_factory=lambda: np.zeros((0, 3)))
    status: Status = Status.BOUNDARY
    secret: object = dataclasses.field(default=None, repr=False)


def test_values_of_any_kind_have_a_line():
    lines = dict(line.split(maxsplit=1) for line in repr(Odd()).splitlines()[1:])
    assert lines == {
        "function": "norm",
        "model": "Linear",
        "module": "numpy",
        "thing": "object",
        "names": "('name 0', 'name 1', 'name 2', 'name 3', ...)",
        "numbers": "[0.333333, 2]",
        "text": r"'line\nline\nline\nline\nline\nline\nline\nline\nline\nl ...",
        "empty": "float64 (0, 3)",
        "status": f"BOUNDARY: {Status.BOUNDARY.value}",
    }


def test_more_fields_than_lines_are_named():
    names = [f"field_{i}" for i in range(20)]
    many = dataclasses.make_dataclass("Many", names, bases=(Shown,), frozen=True, repr=False)
    lines = repr(many(*range(100_000_000, 100_000_020))).splitlines()
    assert len(lines) == 15
    assert lines[-1] == "  and " + ", ".join(names[13:])


def test_lazy_arrays_are_not_computed():
    da = pytest.importorskip("dask.array")
    x = da.map_blocks(lambda block: 1 / 0, da.ones((400, 3), chunks=100), dtype=float)
    shown = repr(neighbors.Neighbors(x, x))
    assert shown == "Neighbors(indices=float64 (400, 3), distances=float64 (400, 3))"


@pytest.mark.parametrize("name", RESULTS)
def test_fields_as_a_dict(name):
    result = kept(name)
    if result is None:
        return
    found = result.to_dict()
    assert list(found) == [field.name for field in dataclasses.fields(result)]
    for key, value in found.items():
        assert not isinstance(value, Result | Container)
        if isinstance(value, np.ndarray | torch.Tensor):
            assert value is getattr(result, key)


def test_rows_as_a_frame():
    found = neighbors.nearest([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], num_neighbors=2)
    frame = found.to_frame()
    assert frame.loc[(2, 0)].to_dict() == {"indices": 1.0, "distances": found.distances[2, 0]}
    diagnostics = RESULTS["balance"]().diagnostics
    frame = diagnostics.to_frame()
    assert list(frame.index) == list(diagnostics.names)
    assert frame.loc[diagnostics.names[0], "targets"] == 0.2
    coverage = RESULTS["coverage"]()
    frame = coverage.to_frame()
    pd.testing.assert_index_equal(frame.index, pd.Index([0.0, 0.5], name="radius"))
    np.testing.assert_array_equal(frame["coverage"], coverage.coverage)
    kinks = RESULTS["kinks"]().to_frame()
    assert kinks.index.names == ["sample", "operation"]


@pytest.mark.parametrize("name", RESULTS)
def test_every_table_has_a_frame(name):
    result = kept(name)
    if isinstance(result, Table):
        frame = result.to_frame()
        assert len(frame.columns) >= 1
        assert frame.index.names == list(result.axes)


def test_a_batch_without_rows_says_what_it_has():
    single = neighbors.Neighbors(np.array([1, 2]), np.array([0.1, 0.2]))
    with pytest.raises(ValueError, match=r"one row for each query and neighbor: it has indices of"):
        single.to_frame()


# ---------------------------------------------------------------- signatures and settings


def public():
    for info in pkgutil.walk_packages(infogeo.__path__, "infogeo."):
        if "._" in info.name or info.name.startswith(("infogeo.cli", "infogeo.__main__")):
            continue
        module = importlib.import_module(info.name)
        for name in getattr(module, "__all__", ()):
            yield f"{info.name}.{name}", getattr(module, name)


def test_no_signature_shows_where_something_is_in_memory_or_on_disk():
    for name, value in public():
        members = vars(value).values() if inspect.isclass(value) else ()
        for target in (value, *members):
            if inspect.isclass(target) or inspect.isfunction(target):
                try:
                    signature = str(inspect.signature(target))
                except ValueError:
                    continue
                # torch's own functions have no other text: reduce=torch.mean
                signature = re.sub("<built-in method [^>]*>", "", signature)
                assert " at 0x" not in signature, name
                assert "<module" not in signature, name


def test_constants_are_shown_by_their_names():
    assert repr(heads.categorical) == "heads.categorical"
    assert repr(input_metrics.normal) == "input_metrics.normal"
    shown = repr(PullbackMetric(torch.nn.Linear(2, 2), Head(lambda z: z)))
    assert " at 0x" not in shown
    assert "model         Linear" in shown
    assert repr(Head(len)).startswith("Head\n  factor        len\n")


def test_points_of_several_dimensions_show_how_many():
    normals = infogeo.multivariate_normal.MultivariateNormal(np.zeros((3, 2)), np.eye(2))
    assert repr(normals) == "MultivariateNormal(batch shape (3,), dimension 2, float64, numpy)"
