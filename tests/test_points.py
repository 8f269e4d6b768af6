"""Points that are objects: indexing, stacking and packing, for fields with event axes too."""

import copy
import dataclasses
import math
import pickle
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from infogeo import _points, multivariate_normal, normal
from infogeo._array import REAL, along
from infogeo.mean import frechet_mean
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.multivariate_normal._point import gate_pair
from infogeo.normal import Normal


@dataclasses.dataclass(frozen=True, eq=False, init=False, repr=False)
class Point(_points.Vectors):
    mean: Any
    cov: Any
    rules: ClassVar = {"mean": along(REAL, "rows"), "cov": along(REAL, "rows", "rows")}

    def __init__(self, mean, cov):
        _points.fill(self, True, mean=mean, cov=cov)


@pytest.fixture
def batch(rng):
    return Point(rng.normal(size=(4, 5, 3)), rng.normal(size=(4, 5, 3, 3)))


@pytest.mark.parametrize(
    "key",
    [0, -1, slice(1, 3), (slice(None), 2), (1, 2), None, ..., (..., 0), (slice(1, 3), None, ...),
     (None, 1, ..., None), np.array([True, False, True, True]), [0, 2], np.array([[0, 1], [2, 3]])],
)  # fmt: skip
def test_indices_are_those_of_the_batch_axes(batch, key):
    numbers = np.arange(20).reshape(4, 5)
    expected = numbers[key]
    found = batch[key]
    assert found.shape == expected.shape
    flat_mean, flat_cov = batch.mean.reshape(20, 3), batch.cov.reshape(20, 3, 3)
    np.testing.assert_array_equal(found.mean, flat_mean[expected])
    np.testing.assert_array_equal(found.cov, flat_cov[expected])


def test_indices_stop_at_the_event_axes(batch):
    for key in ((0, 0, 0), (0, 0, ..., 0), np.zeros((4, 5, 3), bool)):
        with pytest.raises(IndexError, match=r"too many indices for the batch shape \(4, 5\)"):
            batch[key]


def test_stacking_undoes_iteration(batch):
    again = Point.stack(batch)
    np.testing.assert_array_equal(again.cov, batch.cov)


def test_one_array_holds_all_fields(lib, batch):
    point = Point(lib.array(batch.mean), lib.array(batch.cov))
    xp, _ = _points.gate(True, point=(Point, point))
    packed = _points.pack(point, xp)
    assert packed.shape == (4, 5, 12)
    back = _points.unpack(Point, packed[1:, ...], _points.event_shapes(point), xp)
    np.testing.assert_array_equal(lib.to_numpy(back.mean), batch.mean[1:])
    np.testing.assert_array_equal(lib.to_numpy(back.cov), batch.cov[1:])


def test_vectors_scale_over_the_batch(batch):
    factor = np.arange(5.0)
    scaled = factor * batch
    np.testing.assert_array_equal(scaled.mean, factor[:, None] * batch.mean)
    np.testing.assert_array_equal(scaled.cov, factor[:, None, None] * batch.cov)
    with pytest.raises(ValueError, match="v and factor must have batch axes that broadcast"):
        batch * np.arange(3.0)


def test_means_have_weights_of_batch_shape(batch):
    _, _, weights = _points.gate_mean(True, Point, batch, None, 1)
    np.testing.assert_allclose(weights, np.full((4, 5), 0.2), rtol=1e-15)


def test_small_points_show_their_numbers_and_others_their_shape():
    assert repr_of(2) == "Point(mean=[0.0, 0.0], cov=[[0.0, 0.0], [0.0, 0.0]])"
    assert repr_of(9) == "Point(batch shape (), dimension 9, float64, numpy)"


def repr_of(dim):
    return repr(Point(np.zeros(dim), np.zeros((dim, dim))))


# ---------------------------------------------------------------- what is given


def test_event_axes_have_to_fit_together():
    for mean, cov, message in (
        (0.0, np.eye(2), r"mean must have its rows along the last axis: got shape \(\)"),
        (np.ones((2, 0)), np.eye(2), r"mean must have its rows along the last axis: .*\(2, 0\)"),
        (np.ones(2), np.ones((2, 3)), r"cov must hold one d x d matrix for each mean of d entries"),
        (np.ones(2), np.ones(2), r"cov must hold one d x d matrix .*\(2,\) and that of mean is"),
        (np.ones((4, 2)), np.ones((3, 2, 2)), "mean and cov must have batch axes that broadcast"),
    ):
        with pytest.raises(ValueError, match=message):
            Point(mean, cov)


def test_a_single_field_may_be_a_matrix():
    @dataclasses.dataclass(frozen=True, eq=False, init=False, repr=False)
    class Scale(_points.Points):
        matrix: Any
        rules: ClassVar = {"matrix": along(REAL, "rows", "rows")}

        def __init__(self, matrix):
            _points.fill(self, True, matrix=matrix)

    assert Scale(np.ones((5, 2, 2))).shape == (5,)
    with pytest.raises(ValueError, match=r"matrix must hold one d x d matrix .*: .*\(5, 2, 3\)"):
        Scale(np.ones((5, 2, 3)))


def test_what_is_inherited_is_final():
    finals = {
        name
        for cls in (_points.Container, _points.Vectors)
        for name, member in vars(cls).items()
        if hasattr(
            getattr(member, "fget", None) or getattr(member, "__func__", member), "__final__"
        )
    }
    assert {"shape", "stack", "__getitem__", "__len__", "__repr__", "__add__"} <= finals
    for cls in (Normal, normal.Tangent, MultivariateNormal, multivariate_normal.Tangent):
        assert finals.isdisjoint(vars(cls))


# ---------------------------------------------------------------- numbers and lists are weak

HALF = math.log(2.0)  # of the deviation: the distance between std 1 and 2 is sqrt2 log 2


def test_points_of_numbers_adopt_the_library_and_dtype_of_the_others(lib):
    given = Normal(lib.array([0.0, 0.0], "float32"), 2.0)
    standard, moving = Normal(0.0, 1.0), normal.Tangent(0.0, 1.0)
    d = normal.fisher_rao_distance(standard, given)
    stacked = Normal.stack([standard, given[0], Normal(0, 4)])
    mean = normal.m_mean(Normal([0.0, 0.0], 2.0), weights=lib.array([1.0, 3.0], "float32"))
    curve = normal.fisher_rao_geodesic(standard, Normal(0.0, 4.0), lib.array([0.5], "float32"))
    results = {
        "distance": (d, [math.sqrt(2.0) * HALF] * 2),
        "first vector": ((moving + normal.Tangent(given.mean, 1.0)).std, [2.0, 2.0]),
        "second vector": ((normal.Tangent(given.mean, 1.0) - moving).std, [0.0, 0.0]),
        "factor": ((moving * lib.array([3.0], "float32")).std, [3.0]),
        "exp": (normal.exp_map(given, moving).std, [2.0 * math.exp(0.5)] * 2),
        "stack": (stacked.std, [1.0, 2.0, 4.0]),
        "mean": (mean.std, 2.0),
        "geodesic": (curve.std, [2.0]),
    }
    for name, (found, expected) in results.items():
        assert lib.owns(found), name
        assert lib.dtype_name(found) == "float32", name
        np.testing.assert_allclose(lib.to_numpy(found), expected, rtol=1e-6, err_msg=name)


def test_matrices_of_lists_adopt_the_library_and_dtype_of_the_others(lib):
    if lib.name == "dask":
        pytest.skip("objects are not lazy")
    given = MultivariateNormal(lib.array([3.0, 4.0], "float32"), [[1.0, 0.0], [0.0, 1.0]])
    standard = MultivariateNormal([0, 0], [[1, 0], [0, 1]])
    moving = multivariate_normal.Tangent([3, 4], [[0, 0], [0, 0]])
    reached = multivariate_normal.exp_map(standard, given_velocity := 0.0 * moving)
    assert isinstance(reached.mean, np.ndarray)
    assert given_velocity.mean.dtype == np.float64
    for found, expected in (
        (multivariate_normal.kl_divergence(standard, given), 12.5),
        (multivariate_normal.fisher_rao_distance(given, standard), math.sqrt(2) * math.acosh(7.25)),
        (multivariate_normal.norm(given, moving), 5.0),
        (
            multivariate_normal.norm(
                standard, multivariate_normal.Tangent(given.mean, [[0.0] * 2] * 2)
            ),
            5.0,
        ),
        (multivariate_normal.m_mean(standard[None], weights=given.mean[:1]).mean, [0.0, 0.0]),
        (
            multivariate_normal.m_geodesic(standard, standard, given.mean[:1] / 6.0).mean,
            [[0.0] * 2],
        ),
    ):
        assert lib.owns(found)
        assert lib.dtype_name(found) == "float32"
        np.testing.assert_allclose(lib.to_numpy(found), expected, rtol=1e-6)


def test_points_of_lists_keep_their_factor_beside_arrays_as_they_have_them():
    weak, strong = MultivariateNormal([0.0], [[1.0]]), MultivariateNormal(np.ones(1), np.eye(1))
    _, kept, _ = gate_pair(weak, strong)
    assert kept is weak
    single = MultivariateNormal(np.ones(1, np.float32), np.eye(1, dtype=np.float32))
    _, adapted, _ = gate_pair(weak, single)
    assert adapted.cov.dtype == np.float32


def test_a_frechet_mean_adopts_the_library_of_its_weights():
    torch = pytest.importorskip("torch")
    found = frechet_mean(Normal([1.0, 1.0], 2.0), space=normal, weights=torch.tensor([1.0, 2.0]))
    assert found.point.std.dtype == torch.float32


def test_parts_and_copies_of_weak_points_are_weak_and_results_are_not(lib):
    if lib.name == "numpy":
        pytest.skip("other libraries tell them apart")
    point = Normal([0.0, 1.0], 1.0)
    given = Normal(lib.array([0.0], "float32"), 1.0)
    moving = normal.Tangent([0.0, 1.0], 1.0)
    weak = (
        point, point[1], point[None], *point, Normal.stack([point, point]), copy.copy(point),
        copy.deepcopy(point), pickle.loads(pickle.dumps(point)), Normal(0, np.float64(1.0)),
    )  # fmt: skip
    for one in weak:
        assert lib.owns(normal.kl_divergence(one, given))
    for one in (2.0 * moving, -moving, moving + moving, moving / 2):
        assert lib.owns(normal.norm(given, one))
    strong = (
        Normal.stack([point, Normal(np.zeros(2), 1.0)]), normal.exp_map(point, moving),
        Normal(np.zeros(2), 1.0), Normal(pd.Series([0.0, 1.0]), 1.0)[1],
    )  # fmt: skip
    for one in strong:
        with pytest.raises(TypeError, match="must come from the same library"):
            normal.kl_divergence(one, given)


# ---------------------------------------------------------------- whose numbers they are


def test_points_keep_their_numbers_when_those_given_change():
    mean, cov = np.zeros(2), np.eye(2)
    frame = pd.DataFrame(np.ones((2, 2)))
    one, other = MultivariateNormal(mean, cov), MultivariateNormal([0.0, 0.0], 4 * np.eye(2))
    batch = Normal(frame, frame.to_numpy())
    before = multivariate_normal.fisher_rao_distance(one, other)
    cov *= 4.0
    mean += 1.0
    frame.iloc[0, 0] = 9.0
    np.testing.assert_array_equal(one.cov, np.eye(2))
    assert multivariate_normal.fisher_rao_distance(one, other) == before
    assert batch[0, 0].mean == batch[0, 0].std == 1.0


def test_points_follow_the_parameters_that_they_are_made_of():
    torch = pytest.importorskip("torch")
    mean = torch.zeros(2)
    cov = torch.eye(2, requires_grad=True)
    point, other = MultivariateNormal(mean, cov), MultivariateNormal(mean, torch.eye(2))
    for _ in range(2):
        with torch.no_grad():
            cov *= math.e  # a step of an optimiser
    with torch.no_grad():
        d = multivariate_normal.fisher_rao_distance(point, other)
        kl = multivariate_normal.kl_divergence(point, other)
    np.testing.assert_allclose(d, 2.0, rtol=1e-6)
    np.testing.assert_allclose(kl, math.exp(2.0) - 3.0, rtol=1e-6)


@pytest.mark.parametrize(
    "make_copy", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_have_the_numbers_and_the_names(make_copy):
    table = pd.DataFrame([[0.0, 1.0, 3.0]], columns=list("abc"))
    again = make_copy(Normal(table, 1.0))
    turned = Normal(table[["c", "a", "b"]], 1.0)
    np.testing.assert_array_equal(normal.kl_divergence(again, turned), [[0.0, 0.0, 0.0]])
    point = MultivariateNormal(np.zeros(2), np.eye(2))
    multivariate_normal.fisher_rao_distance(point, point)
    again = make_copy(point)
    assert type(again) is MultivariateNormal
    assert set(vars(again)) == {"mean", "cov"}
    assert multivariate_normal.fisher_rao_distance(again, point) == 0.0
