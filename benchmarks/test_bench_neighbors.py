"""All pairs of predictions and nearest neighbours, beside one matrix product and an arccos."""

import time

import numpy as np
import pytest
import scipy.spatial

from infogeo import neighbors, simplex


def spread(num_outcomes):
    return np.random.default_rng(0).dirichlet(np.ones(num_outcomes), 5000)


def confident(num_outcomes):
    z = 10.0 * np.random.default_rng(0).normal(size=(5000, num_outcomes))
    p = np.exp(z - z.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def plain(p):
    roots = np.sqrt(p)
    return 2.0 * np.arccos(np.clip(roots @ roots.T, -1.0, 1.0))


@pytest.mark.parametrize("who", ["infogeo", "plain"])
@pytest.mark.parametrize("kind", [spread, confident], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("num_outcomes", [10, 1000])
def test_all_pairs(benchmark, num_outcomes, kind, who):
    p = kind(num_outcomes)
    call = neighbors.pairwise_distance if who == "infogeo" else plain
    benchmark.group = f"{num_outcomes:,} classes, {kind.__name__}"
    d = benchmark.pedantic(call, args=(p,), rounds=3, warmup_rounds=1)
    exact = simplex.fisher_rao_distance(p[:20, None], p[None])
    off = np.abs(d[:20] - exact)[exact > 0] / exact[exact > 0]
    benchmark.extra_info["error"] = float(off.max())


def nearest_by_infogeo(p):
    return neighbors.nearest(p, num_neighbors=5).indices


def nearest_by_faiss(p):
    """Search all of sqrt(p) in float32; of the six nearest the first is the point itself."""
    faiss = pytest.importorskip("faiss")
    faiss.omp_set_num_threads(1)
    roots = np.sqrt(p).astype(np.float32)
    index = faiss.IndexFlatL2(p.shape[1])
    index.add(roots)
    return index.search(roots, 6)[1][:, 1:]


def nearest_by_k_d_tree(p):
    roots = np.sqrt(p)
    return scipy.spatial.cKDTree(roots).query(roots, k=6)[1][:, 1:]


SEARCHES = {
    "infogeo": nearest_by_infogeo,
    "faiss on the square roots, flat index in float32": nearest_by_faiss,
    "scipy on the square roots, k-d tree": nearest_by_k_d_tree,
}


def nearest_by_all_distances(p, queries):
    d = simplex.fisher_rao_distance(p[queries, None], p[None])
    d[np.arange(len(queries)), queries] = np.inf
    return np.argsort(d, axis=1, kind="stable")[:, :5]


def spread_out():
    return np.random.default_rng(0).dirichlet(np.ones(10), 100_000)


def of_a_network():
    """Return predictions of a network of four features and 100 classes."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(100_000, 4)) @ rng.normal(size=(4, 100))
    p = np.exp(z - z.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


PREDICTIONS = {
    "10 classes, spread": spread_out,
    "100 classes, of four features": of_a_network,
}


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("who", SEARCHES)
@pytest.mark.parametrize("kind", PREDICTIONS)
def test_nearest(benchmark, kind, who):
    if kind.startswith("100 ") and who.startswith("scipy"):
        pytest.skip("minutes")
    p = PREDICTIONS[kind]()
    benchmark.group = kind
    found = benchmark.pedantic(SEARCHES[who], args=(p,), rounds=1)
    queries = np.arange(0, 100_000, 5000)
    wrong = found[queries] != nearest_by_all_distances(p, queries)
    benchmark.extra_info["wrong indices"] = f"{wrong.sum()} of {wrong.size}"
