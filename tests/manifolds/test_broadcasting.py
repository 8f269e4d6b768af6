"""Every verb of every family broadcasts: results of a batch are those of its points."""

import numpy as np
import pytest

from infogeo import _spaces, manifolds
from infogeo._points import Container, fields

CLASSES = [
    value
    for value in (getattr(manifolds, name) for name in manifolds.__all__)
    if isinstance(value, type) and hasattr(value, "rules")  # a product has those of its factors
]
# Batches that are told apart by their sizes. 12 is the number of nodes of an integral.
SHAPES = [((), (12,)), ((3, 1), (4,)), ((12, 1), (2,))]
TIMES = np.array([0.2, 0.7, 1.0])


def value_of(cls, field, rng, shape):
    if field in cls.constants:
        return np.full(shape, 5.0)
    axes = cls.event_axes[field]
    if axes == 2:
        factor = rng.normal(size=(*shape, 2, 4))
        return factor @ np.swapaxes(factor, -1, -2)
    if field == "mean_direction":
        x = rng.normal(size=(*shape, 3))
        return x / np.linalg.norm(x, axis=-1, keepdims=True)
    if field == "probs" and cls is manifolds.NegativeMultinomial:
        return rng.dirichlet(np.full(4, 3.0), size=shape)[..., :3]
    if field == "probs" and axes:
        return rng.dirichlet(np.full(3, 3.0), size=shape)
    return rng.uniform(0.3, 0.7, size=(*shape, *(3,) * axes))


def draw(cls, rng, shape):
    return cls(*(value_of(cls, field, rng, shape) for field in cls.rules))


def calls(a, b, u):
    """Return calls of verbs on points and on a vector at a, or one that has the batch of a."""
    for name in (
        *("fisher_rao_distance", "fisher_rao_squared_distance", "kl_divergence", "log_map"),
        *("jeffreys_divergence", "hellinger_distance", "bhattacharyya_coefficient"),
    ):
        yield name, (a, b), {}, ()
        yield name, (b, a), {}, ()
    for name in ("parallel_transport", "e_transport", "m_transport"):
        yield name, (a, b, u), {}, ()
        yield name, (b, a, u), {}, ()
    for name in ("fisher_rao_geodesic", "e_geodesic", "m_geodesic"):
        yield name, (a, b, TIMES), {}, TIMES.shape
    yield "renyi_divergence", (a, b), {"order": 0.4}, ()
    yield "inner_product", (b, u, u), {}, ()
    yield "norm", (b, u), {}, ()


def at(value, position, batch):
    """Return the part of an argument that takes part at a position of the batch."""
    if not isinstance(value, Container) or not value.shape:
        return value
    own = position[len(batch) - len(value.shape) :]
    return value[tuple(0 if n == 1 else i for n, i in zip(value.shape, own, strict=True))]


def arrays_of(result):
    return fields(result) if isinstance(result, Container) else [np.asarray(result)]


@pytest.mark.parametrize("cls", CLASSES)
def test_results_of_a_batch_are_those_of_its_points(cls):
    rng = np.random.default_rng(0)
    for shape, other in SHAPES:
        a, b = draw(cls, rng, shape), draw(cls, rng, other)
        u = manifolds.log_map(a, draw(cls, rng, shape))
        batch = np.broadcast_shapes(shape, other)
        last = tuple(n - 1 for n in batch)
        for name, given, options, leading in calls(a, b, u):
            try:
                verb = _spaces.verb(_spaces.of_point(a), name)
            except TypeError:  # the family has no such verb
                continue
            found = verb(*given, **options)
            single = verb(*(at(x, last, batch) for x in given), **options)
            for x, y in zip(arrays_of(found), arrays_of(single), strict=True):
                assert x.shape == (*leading, *batch, *y.shape[len(leading) :]), (name, other)
                seen = x[(*(slice(None),) * len(leading), *last)]
                np.testing.assert_allclose(seen, y, rtol=1e-8, atol=1e-10, err_msg=name)
