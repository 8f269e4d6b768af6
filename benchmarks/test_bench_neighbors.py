"""All pairs of predictions and nearest neighbours, beside one matrix product and an arccos."""

import numpy as np
import pytest

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


def nearest_by_scikit_learn(algorithm):
    """Return a search among sqrt(p), where straight distances have the order of the arcs."""

    def search(p):
        learn = pytest.importorskip("sklearn.neighbors")
        tree = learn.NearestNeighbors(n_neighbors=5, algorithm=algorithm).fit(np.sqrt(p))
        return tree.kneighbors(return_distance=False)

    return search


SEARCHES = {
    "infogeo": nearest_by_infogeo,
    "scikit-learn on the square roots, k-d tree": nearest_by_scikit_learn("kd_tree"),
    "scikit-learn on the square roots, brute force": nearest_by_scikit_learn("brute"),
}


def nearest_by_all_distances(p, queries):
    d = simplex.fisher_rao_distance(p[queries, None], p[None])
    d[np.arange(len(queries)), queries] = np.inf
    return np.argsort(d, axis=1, kind="stable")[:, :5]


@pytest.mark.parametrize("who", SEARCHES)
def test_nearest(benchmark, who):
    p = np.random.default_rng(0).dirichlet(np.ones(10), 100_000)
    benchmark.group = "5 nearest of each of 100,000 predictions, 10 classes"
    found = benchmark.pedantic(SEARCHES[who], args=(p,), rounds=1)
    queries = np.arange(0, 100_000, 1000)
    wrong = found[queries] != nearest_by_all_distances(p, queries)
    benchmark.extra_info["wrong indices"] = f"{wrong.sum()} of {wrong.size}"
