"""Metrics of torchmetrics against the distances: in batches, processes and collections."""

import copy
import math
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torchmetrics = pytest.importorskip("torchmetrics")

from infogeo import logits, normal, simplex  # noqa: E402
from infogeo.interop.torchmetrics import (  # noqa: E402
    LargestDistance,
    MeanDistance,
    RootMeanSquareDistance,
)
from infogeo.normal import Normal  # noqa: E402

FIGURES = {
    MeanDistance: lambda d: d.mean(),
    RootMeanSquareDistance: lambda d: (d * d).mean().sqrt(),
    LargestDistance: lambda d: d.max(),
}


@pytest.fixture
def pairs(rng):
    return [torch.tensor(rng.normal(0.0, 3.0, (7, 5)), requires_grad=True) for _ in range(2)]


@pytest.mark.parametrize("kind", FIGURES)
def test_batches_processes_and_copies_say_what_all_pairs_say(kind, pairs):
    a, b = pairs
    expected = float(FIGURES[kind](logits.fisher_rao_distance(a, b).detach()))
    metric, other = kind(), kind()
    batch = metric(a[:2], b[:2])  # the figure of this batch alone
    few = FIGURES[kind](logits.fisher_rao_distance(a[:2], b[:2]).detach())
    assert math.isclose(float(batch), float(few), rel_tol=1e-14)
    metric.update(a[2:5], b[2:5])
    metric.update(a[:0], b[:0])
    other.update(a[5:], b[5:])
    for again in (copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))):
        joined = again(metric)
        joined.merge_state(again(other))
        assert math.isclose(float(joined.compute()), expected, rel_tol=1e-14)
    # What two processes do: states are gathered, then reduced by torchmetrics.
    others = iter([other.value, other.count])
    metric.dist_sync_fn = lambda state, group: [state, next(others)]
    metric.distributed_available_fn = lambda: True
    assert math.isclose(float(metric.compute()), expected, rel_tol=1e-14)
    metric.distributed_available_fn = lambda: False
    metric.reset()
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert metric.compute().isnan()


def test_collections_and_other_spaces(rng):
    p, q = (torch.tensor(rng.dirichlet(np.ones(4), 6), dtype=torch.float32) for _ in range(2))
    drift = torchmetrics.MetricCollection(
        {kind.__name__: kind(space=simplex) for kind in FIGURES}, prefix="drift/"
    )
    drift.update(p, q)
    d = simplex.fisher_rao_distance(p, q)
    for kind, figure in FIGURES.items():
        found = drift.compute()[f"drift/{kind.__name__}"]
        assert math.isclose(float(found), float(figure(d)), rel_tol=1e-6)
    normals = MeanDistance(space=normal)
    unit = torch.ones(2)
    normals.update(Normal(unit, unit.requires_grad_()), Normal(unit, math.e * unit))
    assert math.isclose(float(normals.compute()), math.sqrt(2.0), rel_tol=1e-6)
    with pytest.raises((TypeError, ValueError), match="space"):
        MeanDistance(space="probabilities")


def test_checkpoints_hold_no_sums(pairs):
    metric = MeanDistance()
    metric.update(*pairs)
    assert metric.state_dict() == {}
