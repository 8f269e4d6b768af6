"""Named objects are matched by name or refused, never by position: every public function."""

import dataclasses
import importlib
import inspect
import pkgutil

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse

import infogeo
from infogeo import (
    _names,
    inference,
    logits,
    manifolds,
    maxent,
    mean,
    multivariate_normal,
    neighbors,
    normal,
    plot,
    pullback,
    simplex,
)
from infogeo.lipschitz import certificates, smoothing
from infogeo.manifolds import beta
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal
from infogeo.plot.explorer import explorer
from infogeo.simplex import fisher_rao_distance

ROWS, CLASSES = ["one", "two", "three", "four"], ["cat", "dog", "eel"]


# ---------------------------------------------------------------- the walk over public functions


def _table(values):
    return pd.DataFrame(values, index=ROWS, columns=CLASSES)


def _column(values):
    return pd.Series(values, index=ROWS)


def _probabilities(rng):
    return _table(rng.dirichlet(np.ones(3), 4))


def _logits(rng):
    return _table(rng.standard_normal((4, 3)))


def _tangent(rng):
    v = 0.01 * rng.standard_normal((4, 3))
    return _table(v - v.mean(axis=1, keepdims=True))


def _positive(rng):
    return _column(rng.uniform(0.5, 2.0, 4))


def _normals(rng):
    return {"mean": _column(rng.standard_normal(4)), "std": _positive(rng)}


def _concentrations(rng):
    return {"concentration1": _positive(rng), "concentration0": _positive(rng)}


def _velocities(rng):
    return {"mean": _column(rng.standard_normal(4)), "std": _column(rng.standard_normal(4))}


def _symmetric(rng):
    root = rng.standard_normal((3, 3))
    return pd.DataFrame(root @ root.T + np.eye(3), index=CLASSES, columns=CLASSES)


def _multivariate(rng):
    return {"mean": _logits(rng), "cov": _symmetric(rng)}


# What the arguments of each module's functions are. Those that are made of several arrays (points
# and their velocities) are dictionaries of them.
ARGUMENTS = {
    simplex: {
        **dict.fromkeys(("p", "q", "points"), _probabilities),
        **dict.fromkeys(("u", "v", "score"), _tangent),
        "weights": _positive,
    },
    logits: {
        **dict.fromkeys(("z", "w", "u", "v", "points"), _logits),
        "g": _tangent,
        "weights": _positive,
    },
    normal: {
        **dict.fromkeys(("a", "b", "points"), (Normal, _normals)),
        **dict.fromkeys(("u", "v"), (normal.Tangent, _velocities)),
        **dict.fromkeys(("theta_1", "eta_1"), lambda rng: _column(rng.uniform(0.0, 0.5, 4))),
        "theta_2": lambda rng: -_positive(rng),
        "eta_2": _positive,
        "weights": _positive,
    },
    multivariate_normal: {
        **dict.fromkeys(("a", "b", "points"), (MultivariateNormal, _multivariate)),
        **dict.fromkeys(("u", "v"), (multivariate_normal.Tangent, _multivariate)),
        "theta_1": _logits,
        "theta_2": lambda rng: -_symmetric(rng),
        "eta_1": lambda rng: 0.1 * _logits(rng),
        "eta_2": lambda rng: 10.0 * np.eye(3) + _symmetric(rng),
        "weights": _positive,
    },
    manifolds: {
        **dict.fromkeys(("a", "b", "points"), (manifolds.Beta, _concentrations)),
        **dict.fromkeys(("u", "v"), (beta.Tangent, _concentrations)),
        "weights": _positive,
    },
    mean: {"points": _probabilities, "weights": _positive},
    maxent: {
        "p": _probabilities,
        "frequencies": lambda rng: pd.Series(rng.dirichlet(np.full(3, 9.0)), index=CLASSES),
        "training_frequencies": lambda rng: pd.Series([0.2, 0.3, 0.5], index=CLASSES),
        "weights": _positive,
    },
    neighbors: dict.fromkeys(("a", "b", "queries", "points"), _probabilities),
    certificates: {
        "logits": _logits,
        "f": _positive,
        **dict.fromkeys(("lipschitz_constant", "radius"), _positive),
        "target": lambda rng: _column([0, 1, 2, 1]),
        "weight": lambda rng: pd.DataFrame(rng.standard_normal((3, 2)), index=CLASSES),
    },
}
ARGUMENTS[inference] = {
    **dict.fromkeys(("p", "q"), _probabilities),
    **dict.fromkeys(("a", "b"), (Normal, _normals)),
}
ARGUMENTS[smoothing] = {"radius": _positive, "std": _positive}
OTHERS = {
    "t": 0.3,
    "alpha": 0.5,
    "order": 2.0,
    "num_neighbors": 2,
    "radii": [0.1, 0.2],
    "radius": 3.0,
}
OWN_ROWS = (neighbors, inference)  # whose arguments are sets of their own rows
SPECIAL = {
    inference.diagonal_interval: {"size_a": 30, "size_b": 40},
    certificates.coverage: {"lipschitz_constant": 1.0},
    multivariate_normal.fixed_mean_distance: {"check": False},  # means of random points differ
    multivariate_normal.fixed_covariance_distance: {"check": False},
}


# A number, a distribution, random numbers, and what a family of one parameter does not have.
NOT_OF_NAMES = {"dimension", "to_distribution", "sample", "sectional_curvature"}


def _public(module):
    return [getattr(module, name) for name in module.__all__]


def _functions(module):
    """Return the public functions of a module with two or more arguments that have names."""
    for function in _public(module):
        if inspect.isfunction(function) and function.__name__ not in NOT_OF_NAMES:
            given = [x for x in inspect.signature(function).parameters if x in ARGUMENTS[module]]
            several = isinstance(ARGUMENTS[module].get(given[0] if given else ""), tuple)
            if len(given) > 1 or several:
                yield function, given


CASES = [(module, function) for module in ARGUMENTS for function, _ in _functions(module)]


def _shuffled(value, rng, has_own_rows=False):
    if isinstance(value, dict):
        return {name: _shuffled(part, rng) for name, part in value.items()}
    value = value if has_own_rows else value.iloc[rng.permutation(len(value))]
    return value if value.ndim == 1 else value.iloc[:, rng.permutation(value.shape[1])]


def _renamed(value):
    if isinstance(value, dict):
        return {name: _renamed(part) for name, part in value.items()}
    other = {"two": "2", "eel": "wolf"}
    return (
        value.rename(index=other) if value.ndim == 1 else value.rename(index=other, columns=other)
    )


def _call(function, kinds, values):
    arguments = {
        name: kinds[name][0](**value) if isinstance(value, dict) else value
        for name, value in values.items()
    }
    for name, parameter in inspect.signature(function).parameters.items():
        if name in OTHERS and name not in arguments and parameter.default is parameter.empty:
            arguments[name] = OTHERS[name]
    return function(**arguments | SPECIAL.get(function, {}))


def _plain(value):
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return value.to_numpy()


def _arrays(result):
    """Return the numbers of a result: of an array, a point, or a dataclass of these."""
    if isinstance(result, np.ndarray | np.generic | float):
        return [np.asarray(result)]
    if scipy.sparse.issparse(result):
        return [result.toarray()]
    if dataclasses.is_dataclass(result):
        result = [getattr(result, field.name) for field in dataclasses.fields(result)]
    return [x for part in result for x in _arrays(part)] if isinstance(result, list | tuple) else []


@pytest.mark.parametrize(
    ("module", "function"), CASES, ids=lambda x: getattr(x, "__name__", "").rpartition(".")[2]
)
def test_every_function_matches_by_name_or_refuses(rng, module, function):
    kinds = ARGUMENTS[module]
    values = {
        name: kinds[name][1](rng) if isinstance(kinds[name], tuple) else kinds[name](rng)
        for name in inspect.signature(function).parameters
        if name in kinds
    }
    expected = _arrays(_call(function, kinds, {name: _plain(x) for name, x in values.items()}))
    assert expected
    first, *others = values
    shuffled = {name: _shuffled(values[name], rng, module in OWN_ROWS) for name in others}
    if isinstance(values[first], dict):  # its second part is matched with its first
        leading, *rest = values[first]
        parts = {name: _shuffled(values[first][name], rng) for name in rest}
        shuffled[first] = {leading: values[first][leading], **parts}
    found = _arrays(_call(function, kinds, values | shuffled))
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)
    for name in others:
        if name in SPECIAL.get(function, {}):
            continue
        with pytest.raises(ValueError, match="must have the same names of"):
            _call(function, kinds, values | {name: _renamed(values[name])})


# ---------------------------------------------------------------- what else the walk has to find


# Parameters that are arrays in some public function. A function with two of them is in the walk
# above, or its module takes tensors only, which have no names, or has tests of its own below.
OF_ARRAYS = {name for kinds in ARGUMENTS.values() for name in kinds}
OF_TENSORS = ("infogeo.lipschitz.losses", "infogeo.pullback.leaves", "infogeo.robustness")
TESTED_BELOW = ("infogeo.interop.distance", "infogeo.interop.frames", "infogeo.plot.curves")


def test_the_walk_knows_all_functions():
    missing = []
    for info in pkgutil.walk_packages(infogeo.__path__, "infogeo."):
        if "._" in info.name or info.name in (*OF_TENSORS, *TESTED_BELOW):
            continue
        module = importlib.import_module(info.name)
        for name in getattr(module, "__all__", ()):
            function = getattr(module, name)
            if not inspect.isfunction(function) or function.__module__ != info.name:
                continue
            given = OF_ARRAYS & set(inspect.signature(function).parameters)
            if len(given) > 1 and name not in NOT_OF_NAMES and (module, function) not in CASES:
                missing.append(f"{info.name}.{name}{tuple(sorted(given))}")
    assert missing == []


def test_what_is_fitted_keeps_its_names(rng):
    x = pd.DataFrame(rng.standard_normal((40, 2)) @ [[2.0, 0.3], [0.0, 0.1]], columns=["h", "w"])
    labels = pd.Series(rng.integers(0, 2, 40)).map({0: "a", 1: "b"})
    order = rng.permutation(40)
    for cls, module in ((Normal, normal), (MultivariateNormal, multivariate_normal)):
        expected = cls.fit(x.to_numpy(), labels.to_list())
        fitted = cls.fit(x, labels.iloc[order])
        np.testing.assert_array_equal(fitted.mean, expected.mean)
        other = cls.fit(x[["w", "h"]].iloc[order], labels)
        np.testing.assert_allclose(module.fisher_rao_distance(fitted, other), 0.0, atol=1e-12)
        far = module.fisher_rao_distance(fitted[1], other[0])
        np.testing.assert_allclose(
            far, module.fisher_rao_distance(expected[1], expected[0]), rtol=1e-9
        )
        weights = pd.Series({"b": 3.0, "a": 1.0})
        np.testing.assert_allclose(
            module.m_mean(fitted, weights=weights).mean,
            module.m_mean(expected, weights=[1.0, 3.0]).mean,
        )
        with pytest.raises(ValueError, match="rows: labels lacks 39 and has 'x' besides"):
            cls.fit(x, labels.rename({39: "x"}))
        renamed = cls.fit(x.rename(columns={"w": "width"}), labels)
        with pytest.raises(ValueError, match="has 'width' besides"):
            module.fisher_rao_distance(fitted, renamed)
        stacked = cls.stack([fitted[0], cls.fit(x[["w", "h"]], labels)[0]])
        np.testing.assert_allclose(stacked.mean[1], expected.mean[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (pd.Series(["a", None, "a", "b"]), "that of sample 1 is missing. Leave it out"),
        ([0.0, 1.0, 0.0, np.nan], "that of sample 3 is missing"),
        (pd.Series([0, pd.NA, 0, 1], dtype="Int64"), "that of sample 1 is missing"),
        (np.array(["a", 1, "a", 1], dtype=object), "be of one kind, such as text: they are of int"),
    ],
)
def test_labels_that_are_missing_or_mixed(labels, message):
    for cls in (Normal, MultivariateNormal):
        with pytest.raises(ValueError, match=message):
            cls.fit([[0.0], [1.0], [2.0], [4.0]], labels)


def test_points_drop_the_names_of_axes_that_an_index_takes():
    table = pd.DataFrame(np.ones((4, 3)), index=ROWS, columns=CLASSES)
    points = Normal(table, 1.0)
    some = points[:2]
    turned = table.iloc[:2, ::-1] * [3.0, 2.0, 1.0]
    turned.index = ["x", "y"]
    np.testing.assert_allclose(
        normal.kl_divergence(some, Normal(turned, 1.0)), [[0.0, 0.5, 2.0]] * 2
    )
    np.testing.assert_array_equal(normal.kl_divergence(points[None, 0], points[1]), [[0.0] * 3])


@pytest.fixture
def closing():
    yield
    plt.close("all")


@pytest.mark.usefixtures("closing")
def test_figures_go_by_name(rng):
    p, q = _probabilities(rng).iloc[0], _probabilities(rng).iloc[1]
    expected, found = (plot.geodesics(p, other) for other in (q, q.iloc[::-1]))
    for line, other in zip(found.lines, expected.lines, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), other.get_xydata())
    points, weights = _probabilities(rng), _positive(rng)
    expected, found = (plot.means(points, weights=w) for w in (weights, weights.iloc[::-1]))
    for line, other in zip(found.lines, expected.lines, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), other.get_xydata())


@pytest.mark.usefixtures("closing")
def test_labels_of_predictions_go_by_the_names_of_rows(rng):
    z = pd.DataFrame(2.0 * rng.standard_normal((40, 3)))
    drawn = (z.to_numpy() + rng.gumbel(size=(40, 3))).argmax(axis=1)
    labels = pd.Series(drawn, dtype="Int64")
    order = rng.permutation(40)
    expected = pullback.fit_temperature(z.to_numpy(), labels.to_list())
    assert pullback.fit_temperature(z, labels.iloc[order]) == expected
    with pytest.raises(ValueError, match="labels lacks 0 and has 99 besides"):
        pullback.fit_temperature(z, labels.rename({0: 99}))
    blocks = [
        explorer(z, labels=y, positions=np.zeros((40, 2))) for y in (labels, labels.iloc[order])
    ]
    assert blocks[0] == blocks[1]
    d, classes = pd.Series([0.1, 0.2, 0.4]), pd.Series(["cat", "dog", "cat"])
    lines = [
        [line.get_xydata().tolist() for line in plot.distances_by_class(d, names).lines]
        for names in (classes, classes[::-1], classes.to_list())
    ]
    assert lines[0] == lines[1] == lines[2]


def test_estimators_go_by_the_names_of_rows(rng):
    estimators = pytest.importorskip("infogeo.interop.sklearn")
    p = pd.DataFrame(rng.dirichlet(np.ones(3), 30))
    y, weights = pd.Series(rng.integers(0, 2, 30)), pd.Series(rng.uniform(1.0, 2.0, 30))
    order = rng.permutation(30)
    neighbours = estimators.FisherRaoKNeighborsClassifier(n_neighbors=1)
    np.testing.assert_array_equal(neighbours.fit(p, y.iloc[order]).predict(p), y)
    model = estimators.ConditionalMaxEnt()
    expected = model.fit(p, y, weights).predict_proba(p)
    found = model.fit(p, y.iloc[order], weights.iloc[::-1]).predict_proba(p)
    np.testing.assert_array_equal(found, expected)
    clusters = estimators.FisherRaoKMeans(n_clusters=2, random_state=0)
    expected = clusters.fit(p, sample_weight=weights).cluster_centers_
    found = clusters.fit(p, sample_weight=weights.iloc[order]).cluster_centers_
    np.testing.assert_array_equal(found, expected)
    for fit in (
        lambda: neighbours.fit(p, y.rename({0: "x"})),
        lambda: model.fit(p, y, weights.rename({0: "x"})),
        lambda: clusters.fit(p, sample_weight=weights.rename({0: "x"})),
    ):
        with pytest.raises(ValueError, match="same names of rows"):
            fit()


# ---------------------------------------------------------------- names, one by one

P, Q = [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["dog", "eel", "wolf"], "q lacks 'cat' and has 'wolf' besides"),
        (["cat", "dog", "dog"], "q must have each of its outcomes once.*: 'dog' repeats"),
        ([0, 1, 2], "q lacks 'cat', 'dog', 'eel' and has 0, 1, 2 besides"),
        (["cat", "dog", np.nan], "q lacks 'eel' and has NaN besides"),
        (["cat", None, np.nan], "matched by name: NaN repeats"),
    ],
)
def test_names_that_differ_are_listed_as_they_are(labels, message):
    p = pd.Series(P, index=CLASSES)
    with pytest.raises(ValueError, match=message):
        fisher_rao_distance(p, pd.Series(Q, index=labels))


def test_names_may_be_numbers_that_look_like_text():
    p, q = pd.Series([0.5, 0.5], index=[0, 1]), pd.Series([0.5, 0.5], index=["1", "0"])
    with pytest.raises(ValueError, match="q lacks 0, 1 and has '1', '0' besides"):
        fisher_rao_distance(p, q)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_rows_whose_name_is_missing_are_not_taken_for_each_other(missing):
    """Two respondents without a number are not one; a class of no answer is one class."""
    p = pd.DataFrame([P, P, P], index=["ann", missing, "eve"])
    q = p.iloc[[1, 0, 2]]
    with pytest.raises(ValueError, match="in both that of one row is missing"):
        fisher_rao_distance(p, q)
    np.testing.assert_array_equal(fisher_rao_distance(p, p.copy()), 0.0)


def test_a_missing_name_of_a_class_is_a_name_like_others():
    p = pd.DataFrame([P], columns=["cat", "dog", np.nan])
    np.testing.assert_array_equal(fisher_rao_distance(p, p[[np.nan, "dog", "cat"]]), 0.0)


def test_rows_with_equal_names_pass_in_the_same_order_only():
    p = pd.DataFrame([P, Q, P], columns=CLASSES, index=["a", "b", "a"])
    np.testing.assert_array_equal(fisher_rao_distance(p, p.copy()), 0.0)
    with pytest.raises(ValueError, match="so that they can be matched by name: 'a' repeats"):
        fisher_rao_distance(p, p.iloc[[1, 0, 2]])
    doubled = p.set_axis(["a", "a", "b"], axis=1)
    with pytest.raises(ValueError, match="so that they can be matched by name: 'a' repeats"):
        fisher_rao_distance(doubled, doubled)


def test_rows_that_pandas_numbered_are_matched_by_their_numbers():
    p = pd.DataFrame([P, Q, [1.0, 0.0, 0.0]], columns=CLASSES)
    np.testing.assert_array_equal(fisher_rao_distance(p, p.iloc[::-1]), 0.0)
    with pytest.raises(ValueError, match="same names of rows: q lacks 2 and has 3 besides"):
        fisher_rao_distance(p, p.set_axis([0, 1, 3]))


def test_columns_of_all_libraries_meet(rng):
    pyarrow = pytest.importorskip("pyarrow")
    p = _probabilities(rng).reset_index(drop=True)
    q = p[["eel", "cat", "dog"]]
    others = (pl.from_pandas(q), pyarrow.Table.from_pandas(q, preserve_index=False), q.iloc[::-1])
    for other in others:
        np.testing.assert_allclose(fisher_rao_distance(p, other), 0.0, atol=1e-7)
        found = neighbors.nearest(other, p, num_neighbors=1)
        assert sorted(found.indices[:, 0]) == [0, 1, 2, 3]


class LikeXarray:
    """An array with dimensions and coordinates, as those of xarray have them."""

    def __init__(self, values, dims, coords):
        self.values, self.dims, self.coords = np.asarray(values), dims, coords
        self.shape, self.ndim = self.values.shape, self.values.ndim

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)


def test_arrays_with_coordinates_are_matched_by_them():
    rows, classes = {"row": ["a", "b"]}, {"class": CLASSES}
    p = LikeXarray([P, Q], ("row", "class"), rows | classes)
    q = LikeXarray(
        [Q[::-1], P[::-1]], ("row", "class"), {"row": ["b", "a"], "class": CLASSES[::-1]}
    )
    np.testing.assert_array_equal(fisher_rao_distance(p, q), 0.0)
    np.testing.assert_array_equal(
        fisher_rao_distance(p, LikeXarray([P, Q], ("dim_0", "dim_1"), {})), 0.0
    )
    weights = LikeXarray([1.0, 3.0], ("row",), {"row": ["b", "a"]})
    np.testing.assert_allclose(
        simplex.m_mean(p, weights=weights), np.average([P, Q], axis=0, weights=[3.0, 1.0])
    )
    with pytest.raises(ValueError, match="q has 'sample' where p has 'row'"):
        fisher_rao_distance(p, LikeXarray([P, Q], ("sample", "class"), classes))


def test_weights_of_other_axes_are_matched_with_theirs(rng):
    points = LikeXarray(rng.dirichlet(np.ones(3), (2, 4)), ("batch", "row", "class"), {"row": ROWS})
    weights = pd.Series([1.0, 2.0, 3.0, 4.0], index=ROWS)
    np.testing.assert_array_equal(
        simplex.m_mean(points, weights=weights[::-1], axis=1),
        simplex.m_mean(points.values, weights=weights.to_numpy(), axis=1),
    )
    np.testing.assert_array_equal(
        simplex.m_mean(points, weights=pd.Series([1.0, 2.0]), axis=0),
        simplex.m_mean(points.values, weights=[1.0, 2.0], axis=0),
    )


# ---------------------------------------------------------------- the numbers of frames


def _frames():
    pyarrow = pytest.importorskip("pyarrow")
    p = pd.DataFrame([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], columns=CLASSES)
    flags = p.assign(eel=[False, True])
    yield p.astype("Float64")
    yield p.astype("Float32")
    yield p.astype("double[pyarrow]")
    yield p.astype(object)
    yield p.astype(pd.SparseDtype(float, 0.0))
    yield flags
    yield flags.astype({"eel": "boolean"})
    yield flags.astype({"eel": "bool[pyarrow]", "cat": "float[pyarrow]"})
    yield pd.get_dummies(pd.Series(["cat", "eel"])).assign(dog=False)[CLASSES]
    yield pl.from_pandas(flags)
    yield pl.from_pandas(p).with_columns(pl.col("dog").cast(pl.Decimal(10, 2)))
    yield pyarrow.Table.from_pandas(flags)
    yield pyarrow.Table.from_pandas(p).set_column(1, "dog", pyarrow.array([0.5, 0.0], "float32"))
    yield LikeXarray(p, ("row", "class"), {})


@pytest.mark.parametrize("index", range(14))
def test_numbers_of_any_columns_are_accepted(index):
    frame = [*_frames()][index]
    first = [1.0, 0.0, 0.0] if index == 8 else [0.5, 0.5, 0.0]
    found = fisher_rao_distance(frame, np.eye(3)[2])
    np.testing.assert_allclose(found, [fisher_rao_distance(first, np.eye(3)[2]), 0.0])
    if index == 1:
        assert simplex.entropy(frame).dtype == np.float32


@pytest.mark.parametrize("dtype", ["Float64", "double[pyarrow]", "boolean", "Int64"])
def test_missing_numbers_are_named(dtype):
    frame = pd.DataFrame({"a": [1, 0], "b": [0, None]}).astype(dtype)
    others = (frame, pl.from_pandas(frame), frame["b"], pl.from_pandas(frame)["b"])
    for value in others:
        with pytest.raises(ValueError, match="NaN or infinite entries"):
            simplex.entropy(value)


@pytest.mark.parametrize(
    ("column", "seen"),
    [
        (["x", "y"], "'file' is (str|object|String)"),
        (pd.Categorical([1.0, 2.0]), "'file' is (category|Categorical)"),
        (pd.to_datetime(["2020", "2021"]), "'file' is [Dd]atetime"),
        ([1j, 2j], "'file' is complex128"),
    ],
)
def test_columns_that_are_no_numbers_are_named(column, seen):
    frame = pd.DataFrame({"cat": [1.0, 0.5], "dog": [0.0, 0.5], "file": column})
    with pytest.raises(TypeError, match=f"p must hold numbers only: of its columns {seen}.*Leave"):
        fisher_rao_distance(frame, frame)
    if not np.iscomplexobj(frame["file"]) and not isinstance(column, pd.Categorical):
        with pytest.raises(TypeError, match=f"of its columns {seen}"):
            simplex.entropy(pl.from_pandas(frame))
    with pytest.raises(TypeError, match="p must hold real numbers: its dtype is"):
        simplex.entropy(frame["file"])


def test_lazy_frames_of_polars_are_to_be_collected():
    with pytest.raises(TypeError, match=r"p must be an array.*: got LazyFrame\..* Call collect\("):
        fisher_rao_distance(pl.DataFrame({"a": [0.5], "b": [0.5]}).lazy(), P)


@pytest.mark.parametrize("make", [pd.Series, pl.Series])
def test_lists_in_a_series_are_to_be_stacked(make):
    with pytest.raises(TypeError, match=r"must hold real numbers: its dtype is .*numpy\.stack"):
        simplex.entropy(make([P, Q]))
    np.testing.assert_array_equal(
        simplex.entropy(pl.Series([P, Q], dtype=pl.Array(pl.Float64, 3))), simplex.entropy([P, Q])
    )


def test_a_single_row_goes_beside_all_as_a_series():
    p = pd.DataFrame([P, Q, P], columns=CLASSES)
    with pytest.raises(ValueError, match=r"A single row goes beside all others as a series"):
        fisher_rao_distance(p, p.iloc[[0]])
    np.testing.assert_array_equal(fisher_rao_distance(p, p.iloc[0])[[0, 2]], 0.0)


def test_frames_of_dask_are_computed():
    dataframe = pytest.importorskip("dask.dataframe")
    p = pd.DataFrame([P, Q], columns=CLASSES)
    lazy = dataframe.from_pandas(p[CLASSES[::-1]], npartitions=2)
    np.testing.assert_array_equal(fisher_rao_distance(p, lazy), 0.0)


def test_arrays_and_lists_go_the_short_way(monkeypatch):
    """Names cost nothing where there are none."""
    monkeypatch.setattr(_names, "matched", None)
    fisher_rao_distance(np.array(P), Q)
    simplex.m_geodesic(np.array(P), np.array(Q), 0.5)
    torch = pytest.importorskip("torch")
    simplex.m_geodesic(torch.tensor(P), torch.tensor(Q), 0.5)
    Normal(np.array(P), 1.0)
