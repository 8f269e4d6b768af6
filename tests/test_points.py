"""Points that are objects: indexing, stacking and packing, for fields with event axes too."""

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest

from infogeo import _points
from infogeo._array import REAL


@dataclasses.dataclass(frozen=True, eq=False)
class Point:
    mean: Any
    cov: Any
    event_axes: ClassVar = {"mean": 1, "cov": 2}
    rules: ClassVar = {"mean": REAL, "cov": REAL}


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
    found = _points.getitem(batch, key)
    assert _points.batch_shape(found) == expected.shape
    flat_mean, flat_cov = batch.mean.reshape(20, 3), batch.cov.reshape(20, 3, 3)
    np.testing.assert_array_equal(found.mean, flat_mean[expected])
    np.testing.assert_array_equal(found.cov, flat_cov[expected])


def test_indices_stop_at_the_event_axes(batch):
    for key in ((0, 0, 0), (0, 0, ..., 0), np.zeros((4, 5, 3), bool)):
        with pytest.raises(IndexError, match=r"too many indices for the batch shape \(4, 5\)"):
            _points.getitem(batch, key)


def test_stacking_undoes_iteration(batch):
    again = _points.stack(Point, _points.iterate(batch))
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
    scaled = _points.scale(batch, factor)
    np.testing.assert_array_equal(scaled.mean, factor[:, None] * batch.mean)
    np.testing.assert_array_equal(scaled.cov, factor[:, None, None] * batch.cov)
    with pytest.raises(ValueError, match="v and factor must have batch axes that broadcast"):
        _points.scale(batch, np.arange(3.0))


def test_means_have_weights_of_batch_shape(batch):
    _, _, weights = _points.gate_mean(True, Point, batch, None, 1)
    np.testing.assert_allclose(weights, np.full((4, 5), 0.2), rtol=1e-15)


def test_small_points_show_their_numbers_and_others_their_shape():
    assert repr_of(2) == "Point(mean=[0.0, 0.0], cov=[[0.0, 0.0], [0.0, 0.0]])"
    assert repr_of(9) == "Point(batch shape (), float64, numpy)"


def repr_of(dim):
    return _points.describe(Point(np.zeros(dim), np.zeros((dim, dim))))
