"""What is saved comes back bit for bit; what is no such file says so; nothing is unpickled."""

import contextlib
import dataclasses
import importlib
import inspect
import json
import pickle
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import infogeo
from infogeo import (
    Status,
    _spaces,
    inference,
    manifolds,
    maxent,
    mean,
    multivariate_normal,
    neighbors,
    normal,
    pullback,
    robustness,
    testing,
)
from infogeo._system import storage
from infogeo._system.registry import STORABLE, storable
from infogeo.family import ExponentialFamily, MixtureFamily, em
from infogeo.interop.torch import DistanceMeter
from infogeo.lipschitz import certificates, smoothing
from infogeo.manifolds import Poisson
from infogeo.manifolds._half_plane import HalfPlane
from infogeo.manifolds._line import Line
from infogeo.manifolds._rotational import Rotational
from infogeo.multivariate_normal import MultivariateNormal, distance_bounds
from infogeo.normal import Normal

RNG = np.random.default_rng(0)
POINTS = RNG.dirichlet(np.ones(4), (3, 6))
FEATURES = RNG.random((2, 4))
NORMALS = MultivariateNormal(RNG.normal(size=(3, 2)), np.eye(2))
NETWORK = torch.nn.Linear(5, 3)
MODEL = pullback.PullbackMetric(NETWORK)
INPUTS = torch.rand(2, 5)
WEIGHTS = pullback.WeightMetric(NETWORK, INPUTS)
DEEP = pullback.WeightMetric(torch.nn.Sequential(NETWORK, torch.nn.Linear(3, 2)), INPUTS)
LOGITS = RNG.normal(size=(9, 3))


def measured():
    meter = DistanceMeter()
    meter.update(torch.tensor(LOGITS), torch.tensor(LOGITS[::-1].copy()))
    return meter.compute()


def scanned():
    """Return a scan whose folder need not be there: it is its name that is saved."""
    return pullback.Scan(Path("results"), (1, 2), {"quantities": ["trace"], "batches": 3})


def of_family(kind):
    """Return a batch of points or vectors of a family of one or two parameters."""
    values = [2.0 if field in kind.constants else 0.5 for field in kind.rules]
    return lambda: kind(*(np.array([x, x]) for x in values))


FAMILIES = [
    s for s in _spaces.registered().values() if isinstance(s, Line | HalfPlane | Rotational)
]
KINDS = [
    kind
    for space in FAMILIES
    for kind in (space.POINTS, space.TANGENTS)
    if not any(kind.event_axes.values())
]


RESULTS = {
    **{f"{kind.__module__}.{kind.__name__}": of_family(kind) for kind in KINDS},
    "CenteredNormal": lambda: manifolds.CenteredNormal(np.eye(2)),
    "velocity of CenteredNormal": lambda: manifolds.centered_normal.Tangent(np.eye(2)),
    "VonMisesFisher": lambda: manifolds.VonMisesFisher([[0.6, 0.8]], 2.0),
    "velocity of VonMisesFisher": lambda: manifolds.von_mises_fisher.Tangent([0.6, 0.8], 2.0),
    "MatrixNormal": lambda: manifolds.MatrixNormal(np.eye(2), np.eye(3)),
    "velocity of MatrixNormal": lambda: manifolds.matrix_normal.Tangent(np.eye(2), np.eye(3)),
    "Wishart": lambda: manifolds.Wishart(3.0, np.eye(2)),
    "velocity of Wishart": lambda: manifolds.wishart.Tangent(np.eye(2)),
    "InverseWishart": lambda: manifolds.InverseWishart(3.0, np.eye(2)),
    "velocity of InverseWishart": lambda: manifolds.inverse_wishart.Tangent(np.eye(2)),
    "product": lambda: manifolds.Product([Poisson([0.5, 2.5]), Normal([0.0, 1.0], 0.5)]),
    "velocity of a product": lambda: manifolds.product.Tangent([manifolds.poisson.Tangent([1.0])]),
    "multinomial": lambda: manifolds.Multinomial(3, np.array([0.25, 0.75])),
    "velocity of multinomial": lambda: manifolds.multinomial.Tangent(np.array([1.0, -1.0])),
    "NegativeMultinomial": lambda: manifolds.NegativeMultinomial(2.0, np.array([0.25, 0.5])),
    "velocity of NegativeMultinomial": lambda: manifolds.negative_multinomial.Tangent(
        np.array([1.0, -1.0])
    ),
    "Poisson": lambda: Poisson(np.array([0.0, 2.5])),
    "velocity of Poisson": lambda: manifolds.poisson.Tangent(np.array([-1.0, 2.5])),
    "Beta": lambda: manifolds.Beta([1.0, 2.0], 3.0),
    "velocity of Beta": lambda: manifolds.beta.Tangent([1.0, 2.0], 3.0),
    "Dirichlet": lambda: manifolds.Dirichlet(np.array([[1.0, 2.5]])),
    "velocity of Dirichlet": lambda: manifolds.dirichlet.Tangent(np.array([-1.0, 2.5])),
    "geodesic of a family": lambda: manifolds.ExponentialFamily(lambda t: t.exp().sum()).connect(
        [0.0], [1.0]
    ),
    "connection of Dirichlet": lambda: manifolds.connect(
        manifolds.Dirichlet([1.0, 2.0]), manifolds.Dirichlet([[2.0, 1.0]])
    ),
    "contract": lambda: testing.check_space(
        "poisson",
        lambda rng: Poisson(1.0 + rng.random()),
        dimension=1,
        skip={"log_inverts_exp": "x"},
    ),
    "interior": lambda: maxent.max_entropy([[1, 2, 3, 4, 5, 6]], [4.5]),
    "boundary": lambda: maxent.max_entropy([[0.0, 0.0, 1.0]], [0.0]),
    "batch": lambda: maxent.c_maximize(FEATURES, [[0.5, 9.0], [0.5, 0.5]], throw=False),
    "torch": lambda: maxent.max_entropy(torch.tensor(FEATURES), torch.tensor(FEATURES.mean(1))),
    "spectral density": lambda: WEIGHTS.spectral_density(num_samples=2, num_steps=3),
    "solution": lambda: WEIGHTS.solve(torch.ones(18), 0.1),
    "matching": lambda: DEEP.match_weights(DEEP.model, DEEP.model),
    "barrier": lambda: WEIGHTS.barrier({}, {}, torch.sum, num_points=3),
    "explained change": lambda: WEIGHTS.explained_change(INPUTS + 0.1, {}),
    "separation": lambda: maxent.conditional([[0.0], [1.0]], [0, 1]),
    "members": lambda: MODEL.distance(INPUTS, INPUTS.flip(0), throw=False),
    "length": lambda: MODEL.segment_length(INPUTS, INPUTS.flip(0)),
    "trace": lambda: MODEL.hutchinson_trace(INPUTS, num_samples=2),
    "walk": lambda: MODEL.kernel_walk(INPUTS, torch.ones(2, 5), num_steps=2),
    "leaf": lambda: MODEL.leaf_path(INPUTS, INPUTS.flip(0), num_steps=2),
    "kinks": lambda: pullback.check_differentiable(
        torch.nn.Sequential(NETWORK, torch.nn.ReLU()), INPUTS
    ),
    "attack": lambda: robustness.spectral_attack(NETWORK, INPUTS, radius=0.1),
    "margin attack": lambda: robustness.pgd_attack(NETWORK, INPUTS, radius=0.1, num_steps=2),
    "calibration": lambda: pullback.fit_temperature(LOGITS, np.arange(9) % 3, throw=False),
    "scan": scanned,
    "coverage": lambda: certificates.coverage(
        LOGITS, np.arange(9) % 3, [0.0, 0.5], lipschitz_constant=1.0
    ),
    "smoothed": lambda: smoothing.certify(torch.tensor([[90, 10], [50, 50]]), std=0.5),
    "meter": measured,
    "connection": lambda: multivariate_normal.connect(NORMALS, NORMALS[0]),
    "velocity": lambda: normal.log_map(Normal([0.0, 1.0], 1.0), Normal(2.0, 0.5)),
    "mean of normals": lambda: mean.frechet_mean(Normal([0.0, 1.0], 1.0), space="normal"),
    "exponential family": lambda: ExponentialFamily(FEATURES, POINTS[0, 0]),
    "alternation": lambda: em(
        ExponentialFamily([[1, 1, 0, 0]], np.log([0.2, 0.8, 0.7, 0.3])),
        MixtureFamily([[1, 0, 1, 0]], 0.5),
        [0.0],
    ),
    "mixture family": lambda: MixtureFamily(torch.tensor(FEATURES), 0.5),
    "groups": lambda: maxent.match_frequencies(
        POINTS[0], [0.25] * 4, groups=np.array(["2026-01-01", "2026-01-02"] * 3, dtype="M8[D]")
    ),
    "balance": lambda: maxent.balance(np.linspace(-1.0, 1.0, 30)[:, None], [0.2]),
    "balanced groups": lambda: maxent.balance(
        np.linspace(-1.0, 1.0, 30)[:, None], [0.2], by=np.arange(30) % 2
    ),
    "estimate": lambda: maxent.estimate_frequencies(
        np.linspace(0.05, 0.95, 30)[:, None] * [1, -1] + [0, 1], [0.5, 0.5]
    ),
    "frequencies": lambda: maxent.match_frequencies(POINTS[0], [0.25] * 4),
    "conditional": lambda: maxent.conditional(
        np.linspace(-1.0, 1.0, 30)[:, None], np.arange(30) % 3, penalty=0.1
    ),
    "interval": lambda: inference.interval([[5, 1, 2], [3, 3, 3]], [4, 4, 4]),
    "test": lambda: inference.goodness_of_fit([5, 1, 2], [0.5, 0.25, 0.25], num_draws=19),
    "samples": lambda: inference.k_sample_test([[5, 1], [2, 3], [4, 4]], num_draws=19),
    "predictions": lambda: inference.prediction_test(POINTS[0], POINTS[1], num_draws=19),
    "bootstrap": lambda: inference.bootstrap(np.mean, POINTS[0], num_draws=5),
    "jackknife": lambda: inference.jackknife(np.mean, POINTS[0]),
    "mean error": lambda: inference.mean_standard_error(POINTS[0]),
    "distances": lambda: inference.distance_standard_errors(POINTS[0], [9] * len(POINTS[0])),
    "fitted": lambda: MultivariateNormal.fit(np.eye(3)[:, :2] - [0.0, 1.0]),
    "mean": lambda: mean.frechet_mean(POINTS, axis=1),
    "neighbors": lambda: neighbors.nearest(POINTS[0], num_neighbors=2),
    "spectrum": lambda: MODEL.spectrum(torch.rand(2, 5)),
    "factor": lambda: MODEL.scaled_factor(torch.rand(2, 5)),
    "bounds": lambda: distance_bounds(NORMALS, NORMALS[0]),
    "normals": lambda: NORMALS,
    "number": lambda: Normal(1.5, 0.5),
    "tensors": lambda: Normal(torch.ones(3), torch.ones(3)),
}


def assert_same(a, b):
    assert type(a) is type(b)
    if dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a.detach(), b)
    elif isinstance(a, np.ndarray | np.generic):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for name, one in a.items():
            assert_same(one, b[name])
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        assert a == b or (a != a and b != b)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
@pytest.mark.parametrize("name", RESULTS)
def test_every_number_comes_back(name, suffix, tmp_path):
    result = RESULTS[name]()
    infogeo.save(result, tmp_path / f"file{suffix}")
    again = infogeo.load(tmp_path / f"file{suffix}")
    assert_same(result, again)
    assert str(again) == str(result)
    assert [path.name for path in tmp_path.iterdir()] == [f"file{suffix}"]


# What functions return in classes of their own, and cannot be saved.
HOLD_FUNCTIONS = {"Head", "InputMetric"}
HAVE_THEIR_OWN_FORMAT = re.compile(r"FisherRao\w+|ConditionalMaxEnt")  # scikit-learn's estimators


def classes_returned():
    """Yield (function, class) for each class of infogeo in a section Returns."""
    for info in pkgutil.walk_packages(infogeo.__path__, "infogeo."):
        parts = info.name.split(".")
        if any(part.startswith("_") or part in ("cli", "demo", "geomstats") for part in parts):
            continue
        module = importlib.import_module(info.name)
        exported = [getattr(module, name) for name in getattr(module, "__all__", ())]
        methods = [m for cls in exported if inspect.isclass(cls) for m in vars(cls).values()]
        for target in (*exported, *methods):
            text = inspect.getdoc(getattr(target, "__func__", target)) or ""
            section = re.search(r"\nReturns\n-+\n((?:.|\n)*?)(?:\n\n\w+\n---|$)", text)
            if not section:
                continue
            home = sys.modules.get(getattr(target, "__module__", None), module)
            for name in re.findall(r"^(?:\w+ : )?([A-Z]\w+)", section[1], re.MULTILINE):
                cls = getattr(home, name, None)
                if inspect.isclass(cls) and cls.__module__.startswith("infogeo."):
                    yield getattr(target, "__qualname__", str(target)), cls


def test_every_result_that_a_function_returns_can_be_saved():
    returned = dict.fromkeys(cls for _, cls in classes_returned())
    assert len(returned) > 25
    for cls in returned:
        if cls.__name__ not in HOLD_FUNCTIONS and not HAVE_THEIR_OWN_FORMAT.fullmatch(cls.__name__):
            assert cls in STORABLE.values(), f"{cls} has no @storable(...)"


def parts_of(value):
    yield value
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from parts_of(getattr(value, field.name))


def test_every_kind_is_tried_here():
    tried = {type(part) for make in RESULTS.values() for part in parts_of(make())}
    assert tried >= set(STORABLE.values())


def test_sources_say_where_each_kind_is():
    assert set(storage._homes()) == set(STORABLE)
    for kind, module in storage._homes().items():
        public = STORABLE[kind].__module__  # a front exports what a private file defines
        assert module == public or module.startswith(f"{public}._")
        assert dataclasses.is_dataclass(STORABLE[kind])


def test_a_kind_is_registered_once():
    with pytest.raises(ValueError, match=r"Bounds is registered already, for .*\.Bounds"):
        storable("Bounds")(type("Bounds", (), {}))
    assert storable("Bounds")(infogeo.results.Bounds) is STORABLE["Bounds"]


@pytest.mark.parametrize("name", ["balance", "smoothed", "meter"])
def test_loading_imports_what_is_needed(name, tmp_path):
    """In a fresh process, whose modules have not registered their classes yet."""
    infogeo.save(RESULTS[name](), tmp_path / "file.npz")
    code = f"import infogeo; print(type(infogeo.load({str(tmp_path / 'file.npz')!r})).__name__)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.strip() == type(RESULTS[name]()).__name__


def test_a_library_that_is_missing_is_named(tmp_path):
    infogeo.save(RESULTS["meter"](), tmp_path / "file.json")
    code = (
        "import sys, infogeo; sys.modules['torch'] = None; "
        f"infogeo.load({str(tmp_path / 'file.json')!r})"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.stderr.strip().endswith("needs torch: pip install 'infogeo[torch]'")


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_half_precision_comes_back(suffix, tmp_path):
    for dtype in (torch.bfloat16, torch.float16):
        odd = infogeo.results.Bounds(torch.tensor([0.1, float("nan")], dtype=dtype), None)
        infogeo.save(odd, tmp_path / f"half{suffix}")
        again = infogeo.load(tmp_path / f"half{suffix}").lower
        assert again.dtype == dtype
        torch.testing.assert_close(again, odd.lower, rtol=0, atol=0, equal_nan=True)


def test_parts_that_cannot_be_saved_are_named(tmp_path):
    odd = infogeo.results.Bounds(1.0, object())
    with pytest.raises(TypeError, match="upper cannot be saved: it is of type object"):
        infogeo.save(odd, tmp_path / "odd.npz")
    for value in (pullback.heads.categorical, type("Bounds", (), {})()):
        with pytest.raises(TypeError, match=r"result must be one of .*Attack.*got (Head|Bounds)"):
            infogeo.save(value, tmp_path / "odd.npz")
    assert not list(tmp_path.iterdir())


def test_numbers_that_json_lacks(tmp_path):
    odd = infogeo.results.Bounds(
        np.array([np.nan, -np.inf, 5e-324, -0.0], dtype=">f8"), np.array(np.inf, dtype="f4")
    )
    infogeo.save(odd, tmp_path / "odd.json")
    text = (tmp_path / "odd.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not json"))
    again = infogeo.load(tmp_path / "odd.json")
    assert_same(odd, again)
    assert np.signbit(again.lower[3])


def test_statuses_of_a_batch(tmp_path):
    found = maxent.c_maximize([[0.0, 1.0]], [[0.5], [2.0]], throw=False)
    infogeo.save(found, tmp_path / "batch.npz")
    again = infogeo.load(tmp_path / "batch.npz")
    assert again.status is Status.INFEASIBLE
    assert again.member_status.tolist() == [Status.CONVERGED, Status.INFEASIBLE]


def test_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.json"
    infogeo.save(Normal(0.0, 1.0), path)
    before = path.read_bytes()
    broken = infogeo.results.Bounds(np.array(1j), np.array(0.0))
    with pytest.raises(TypeError):
        infogeo.save(broken, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.json"]


class Trap:
    """Unpickling it would be noticed."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


def write_trap(path):
    with open(path, "wb") as file:
        pickle.dump(Trap(), file)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("text.json", lambda path: path.write_text("hello")),
        ("list.json", lambda path: path.write_text("[1]")),
        ("later.json", lambda path: path.write_text('{"format": 2, "arrays": {}}')),
        ("text.npz", lambda path: path.write_text("hello")),
        ("arrays.npz", lambda path: np.savez(path, a=np.ones(3))),
        ("pickle.npz", write_trap),
        ("objects.npz", lambda path: np.savez(path, infogeo=np.array([Trap()]))),
        (
            "kind.json",
            lambda path: path.write_text(
                '{"format": 1, "arrays": {}, "content": {"kind": "system", "fields": {}}}'
            ),
        ),
        (
            "dtype.json",
            lambda path: path.write_text(
                '{"format": 1, "content": null, '
                '"arrays": {"a": {"dtype": "O", "shape": [], "data": [1]}}}'
            ),
        ),
    ],
)
def test_other_files_are_refused(name, write, tmp_path):
    write(tmp_path / name)
    with pytest.raises(ValueError, match=r"must be a file that infogeo\.save has written"):
        infogeo.load(tmp_path / name)


def test_a_file_with_impossible_values_is_refused(tmp_path):
    infogeo.save(Normal(0.0, 1.0), tmp_path / "n.json")
    text = (tmp_path / "n.json").read_text().replace('"data": [1.0]', '"data": [-1.0]')
    (tmp_path / "n.json").write_text(text)
    with pytest.raises(ValueError, match="std must be"):
        infogeo.load(tmp_path / "n.json")


def test_what_cannot_be_saved_says_what_can(tmp_path):
    with pytest.raises(TypeError, match=r"result must be one of .*Attack.*got ndarray"):
        infogeo.save(np.ones(3), tmp_path / "x.npz")
    with pytest.raises(ValueError, match=r"must end in \.npz or \.json"):
        infogeo.save(Normal(0.0, 1.0), tmp_path / "x.pickle")
    with pytest.raises(FileNotFoundError):
        infogeo.load(tmp_path / "none.npz")


def test_files_have_the_permissions_of_others(tmp_path):
    (tmp_path / "other").touch()
    infogeo.save(Normal(0.0, 1.0), tmp_path / "x.npz")
    assert (tmp_path / "x.npz").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize(
    "text",
    [
        100_000 * "[",
        '{"format": 1, "content": 1, "arrays": []}',
        '{"format": 1, "content": {"kind": "Normal", "fields": [1]}, "arrays": {}}',
        '{"format": 1, "content": {"float": "0x1p99999"}, "arrays": {}}',
    ],
)
def test_crooked_trees_are_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"must be a file that infogeo\.save has written"):
        infogeo.load(path)


def test_damaged_archives_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    infogeo.save(Normal(np.zeros(3), np.ones(3)), path)
    whole = path.read_bytes()
    start = whole.index(b"PK\x01\x02")  # the table of contents: versions, flags, methods
    for place in range(start, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        with contextlib.suppress(OSError, ValueError):  # anything else fails the test
            infogeo.load(path)


def test_points_of_numbers_adopt_any_library_again(tmp_path):
    infogeo.save(Normal(0.0, 1.0), tmp_path / "n.json")
    infogeo.save(Normal(np.zeros(1), 1.0), tmp_path / "array.npz")
    given = Normal(torch.ones(2), torch.ones(2))
    found = normal.kl_divergence(infogeo.load(tmp_path / "n.json"), given)
    assert found.dtype == torch.float32
    with pytest.raises(TypeError, match="must come from the same library"):
        normal.kl_divergence(infogeo.load(tmp_path / "array.npz"), given)


@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_names_of_rows_and_columns_are_saved(tmp_path, suffix, rng):
    """What is loaded is matched by name, as what was saved is."""
    pd = pytest.importorskip("pandas")
    rows = Normal(pd.Series([0.0, 1.0], index=["ann", "bob"]), 1.0)
    others = Normal(pd.Series([1.0, 0.0], index=["bob", "ann"]), 1.0)
    days = pd.date_range("2026-01-01", periods=2, tz="Europe/Paris")
    dated, backwards = (Normal(pd.Series([0.0, 1.0], index=days)[::s], 1.0) for s in (1, -1))
    columns = MultivariateNormal.fit(pd.DataFrame(rng.normal(size=(9, 2)), columns=["x", 7]))
    mean = pd.Series(columns.mean[::-1], index=[7, "x"])
    named = MultivariateNormal(mean, columns.cov[::-1, ::-1])
    for point, other, space in (
        (rows, others, normal),
        (dated, backwards, normal),
        (columns, named, multivariate_normal),
    ):
        infogeo.save(point, tmp_path / f"point.{suffix}")
        loaded = infogeo.load(tmp_path / f"point.{suffix}")
        np.testing.assert_allclose(space.fisher_rao_distance(loaded, other), 0.0, atol=1e-7)
        np.testing.assert_allclose(space.fisher_rao_distance(point, other), 0.0, atol=1e-7)
    infogeo.save(rows, tmp_path / f"point.{suffix}")
    strangers = Normal(pd.Series([1.0, 0.0], index=["eve", "joe"]), 1.0)
    with pytest.raises(ValueError, match="lacks 'ann', 'bob'"):
        normal.fisher_rao_distance(infogeo.load(tmp_path / f"point.{suffix}"), strangers)
