"""All pairs and nearest neighbours: every distance to its digits, in blocks, in every library."""

import importlib
import math
import tracemalloc

import mpmath
import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st

from infogeo import logits, neighbors, normal, simplex
from infogeo.neighbors import _search, nearest, pairwise_distance


def exact_distance(p, q):
    """Return the distance of the normalised vectors, from the very floats, in 40 digits."""
    with mpmath.workdps(40):
        roots = []
        for x in (p, q):
            x = [mpmath.mpf(float(y)) for y in x]
            total = mpmath.fsum(x)
            roots.append([mpmath.sqrt(y / total) for y in x])
        chord = mpmath.sqrt(mpmath.fsum((a - b) ** 2 for a, b in zip(*roots, strict=True)))
        return 4 * mpmath.asin(chord / 2)


def all_kinds(rng, num_outcomes):
    """Return points with neighbours at every distance: vertices, faces, csv data, saturation."""
    base = rng.dirichlet(np.ones(num_outcomes), 12)
    rows = [base]
    for separation in (1e-12, 1e-9, 1e-6, 1e-4, 1e-2, 1e-1):
        rows.append(base * (1 + separation * rng.uniform(-1, 1, base.shape)))
    z = 10 * rng.normal(size=(12, num_outcomes))
    rows += [np.exp(z - z.max(-1, keepdims=True)), np.eye(num_outcomes)[:3]]
    p = np.concatenate(rows)
    p /= p.sum(-1, keepdims=True)
    return np.concatenate([p, np.round(base, 6), p[:12] * (1 + 5e-7)])


@pytest.mark.parametrize("num_outcomes", [3, 10, 200])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-4)])
def test_every_pair_against_40_digits(rng, num_outcomes, dtype, tolerance):
    p = all_kinds(rng, num_outcomes).astype(dtype)
    d = pairwise_distance(p)
    assert d.dtype == dtype
    np.testing.assert_array_equal(np.diagonal(d), 0.0)
    np.testing.assert_array_equal(d, d.T)
    pairs = rng.integers(len(p), size=(600, 2))
    pairs[:300, 1] = (pairs[:300, 0] + 12 * rng.integers(1, 7, 300)) % 84  # relatives
    for i, j in pairs:
        expected = exact_distance(p[i], p[j])
        assert abs(float(d[i, j]) - expected) <= tolerance * expected


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_logits_and_probabilities_agree(rng, dtype):
    z = (4 * rng.normal(size=(60, 12))).astype(dtype)
    z[30:] = z[:30] + (1e-3 * rng.normal(size=(30, 12))).astype(dtype)
    d = pairwise_distance(z, space=logits)
    expected = logits.fisher_rao_distance(z[:, None], z[None, :])
    np.testing.assert_allclose(d, expected, rtol=1e-10 if dtype == "float64" else 1e-4)


def test_logits_keep_their_tails():
    z = np.array([[0.0, 0.0, -700.0], [0.0, 0.0, -710.0], [0.0, 0.0, -np.inf], [5.0, 0.0, -900.0]])
    d = pairwise_distance(z, space=logits)
    expected = logits.fisher_rao_distance(z[:, None], z[None, :])
    np.testing.assert_allclose(d, expected, rtol=1e-10, atol=0)
    assert 0.0 < d[0, 2] < 1e-150


def test_copies_of_a_point_are_at_distance_0(rng):
    p = rng.dirichlet(np.ones(10), 40)
    d = pairwise_distance(p, p[::-1].copy())
    np.testing.assert_array_equal(np.diagonal(d[:, ::-1]), 0.0)


@pytest.mark.parametrize("block_size", [1, 7, 64, None])
def test_blocks_do_not_show(rng, block_size):
    p, q = rng.dirichlet(np.ones(5), 30), rng.dirichlet(np.ones(5), 50)
    d = pairwise_distance(p, q, block_size=block_size)
    assert d.shape == (30, 50)
    np.testing.assert_allclose(d, simplex.fisher_rao_distance(p[:, None], q[None, :]), rtol=1e-10)
    np.testing.assert_allclose(
        pairwise_distance(p, block_size=block_size),
        simplex.fisher_rao_distance(p[:, None], p[None, :]),
        rtol=1e-10,
    )


@pytest.mark.long_for("jax")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_library(lib, dtype, rng):
    # Few points, and fewer of jax: it compiles anew for each number of near pairs.
    p = all_kinds(rng, 6)[:: 27 if lib.name == "jax" else 9]
    q = rng.dirichlet(np.ones(6), 4 if lib.name == "jax" else 7)
    for args in ((p,), (p, q)):
        d = pairwise_distance(*(lib.array(x, dtype) for x in args))
        assert lib.owns(d)
        assert lib.dtype_name(d) == dtype
        a = lib.to_numpy(lib.array(args[0], dtype))
        b = lib.to_numpy(lib.array(args[-1], dtype))
        expected = simplex.fisher_rao_distance(a[:, None], b[None, :])
        tolerance = 1e-10 if dtype == "float64" else 1e-4
        np.testing.assert_allclose(lib.to_numpy(d), expected, rtol=tolerance)
    found = nearest(lib.array(q, dtype), lib.array(p, dtype), num_neighbors=3)
    assert lib.owns(found.distances)
    expected = simplex.fisher_rao_distance(q[:, None], p[None, :])
    np.testing.assert_allclose(
        lib.to_numpy(found.distances), np.sort(expected, 1)[:, :3], rtol=2e-5, atol=1e-7
    )


def brute_force(queries, points, num_neighbors, among):
    d = simplex.fisher_rao_distance(queries[:, None], points[None, :])
    if among:
        np.fill_diagonal(d, np.inf)
    order = np.argsort(d, axis=1, kind="stable")[:, :num_neighbors]
    return order, np.take_along_axis(d, order, axis=1)


@pytest.mark.parametrize(("num_outcomes", "num_points"), [(3, 20_000), (10, 3_000), (300, 400)])
@pytest.mark.parametrize("among", [True, False])
def test_nearest_is_brute_force(rng, num_outcomes, num_points, among):
    points = rng.dirichlet(np.ones(num_outcomes), num_points)
    queries = points[:50] if among else rng.dirichlet(np.ones(num_outcomes), 50)
    if among:
        found = nearest(points, num_neighbors=4)
        indices, distances = found.indices[:50], found.distances[:50]
        full = simplex.fisher_rao_distance(queries[:, None], points[None, :])
        full[np.arange(50), np.arange(50)] = np.inf
        order = np.argsort(full, axis=1, kind="stable")[:, :4]
        expected = order, np.take_along_axis(full, order, axis=1)
    else:
        found = nearest(queries, points, num_neighbors=4)
        indices, distances = found.indices, found.distances
        expected = brute_force(queries, points, 4, among)
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_allclose(distances, expected[1], rtol=1e-14)


@pytest.mark.parametrize("num_points", [200, 12_000])  # without and with a tree
def test_neighbours_far_below_the_roundoff_of_the_embedding(rng, num_points):
    points = rng.dirichlet(np.full(3, 5.0), num_points)
    center = points[0]
    score = rng.uniform(-1, 1, (5, 3))
    score -= (score @ center)[:, None]
    separations = np.array([5e-13, 1e-13, 4e-13, 2e-13, 3e-13])
    score *= (separations / np.sqrt((score**2) @ center))[:, None]
    points[1:6] = center * (1 + score)
    found = nearest(points[:1], points[1:], num_neighbors=5)
    exact = [float(exact_distance(center, q)) for q in points[1:6]]
    np.testing.assert_array_equal(found.indices[0], np.argsort(exact))
    np.testing.assert_allclose(found.distances[0], np.sort(exact), rtol=1e-3)


def copies_of_few_points(rng, num_points, num_outcomes):
    """Return rows drawn from a few points, and the number of the point that each row is."""
    which = rng.integers(4, size=num_points)
    return rng.dirichlet(np.ones(num_outcomes), 4)[which], which


def require_copies_in_order(found, points, which, rtol):
    """Check that every copy of the nearest point comes before those of the next, in row order."""
    num_points, num = found.indices.shape
    d = simplex.fisher_rao_distance(points[:, None], points[None, :])
    for row in range(num_points):
        others = np.delete(np.arange(num_points), row)
        first_copy = [d[row, np.flatnonzero(which == w)[0]] for w in which[others]]
        expected = others[np.lexsort((others, first_copy))][:num]
        np.testing.assert_array_equal(found.indices[row], expected)
        np.testing.assert_allclose(found.distances[row], d[row, expected], rtol=rtol, atol=0)
        of = which[expected]
        same = of[1:] == of[:-1]
        np.testing.assert_array_equal(
            found.distances[row][1:][same], found.distances[row][:-1][same]
        )


@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([3, 4, 7, 33]))
def test_duplicates_are_neighbours_and_come_in_order(seed, num_neighbors, num_outcomes):
    points, which = copies_of_few_points(np.random.default_rng(seed), 9, num_outcomes)
    found = nearest(points, num_neighbors=num_neighbors)
    require_copies_in_order(found, points, which, rtol=1e-13)
    found = nearest(np.log(points), num_neighbors=num_neighbors, space=logits)
    require_copies_in_order(found, points, which, rtol=1e-13)


@pytest.mark.long_for("jax")
def test_duplicates_come_in_order_in_every_library(lib, rng):
    # Fewer points of jax, which compiles anew for each number of near pairs.
    size, num_neighbors = (9, 5) if lib.name == "jax" else (30, 12)
    points, which = copies_of_few_points(rng, size, 5)
    points[which == 0] = [0.0, 0.0, 1.0, 0.0, 0.0]
    chunks = lib.array(points)
    if lib.name == "dask":
        chunks = chunks.rechunk((7, 5))
    found = nearest(chunks, num_neighbors=num_neighbors)
    found = type(found)(lib.to_numpy(found.indices), lib.to_numpy(found.distances))
    require_copies_in_order(found, points, which, rtol=1e-13)


def low_dimensional(rng, num_points):
    """Return logits of a network with three features and 30 classes."""
    return 3 * rng.normal(size=(num_points, 3)) @ rng.normal(size=(3, 30))


POINTS_IN_CELLS = {
    "spread": lambda rng: rng.dirichlet(np.ones(8), 1_000),
    "in clusters below the rounding of float32": lambda rng: np.concatenate(
        [rng.dirichlet(1e9 * p, 50) for p in rng.dirichlet(np.ones(8), 20)]
    ),
    "saturated": lambda rng: softmax(20 * rng.normal(size=(1_000, 8))),
    "nearly all dimensions": lambda rng: rng.dirichlet(np.ones(40), 1_000),
    "of three features": lambda rng: softmax(low_dimensional(rng, 1_000)),
    "on one line": lambda rng: softmax(np.linspace(0, 1, 1_000)[:, None] * np.arange(7)),
    "one point, not the last digits": lambda rng: (
        softmax(rng.normal(size=7) + np.zeros((1_000, 1)))
        * (1 + 1e-7 * rng.uniform(-1, 1, (1_000, 1)))
    ),
}


def softmax(z):
    p = np.exp(z - z.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


@pytest.mark.parametrize("kind", POINTS_IN_CELLS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_search_in_cells_is_that_of_all_points(rng, monkeypatch, kind, dtype):
    monkeypatch.setattr(_search, "_TREE_POINTS", 500)
    monkeypatch.setattr(_search, "_CELL_QUERIES", 100)
    points = POINTS_IN_CELLS[kind](rng).astype(dtype)
    queries = points[::-5].copy()
    found = nearest(queries, points, num_neighbors=4)
    monkeypatch.setattr(_search, "_TREE_POINTS", math.inf)
    expected = nearest(queries, points, num_neighbors=4)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_a_search_in_cells_takes_logits_and_tensors(rng, monkeypatch):
    monkeypatch.setattr(_search, "_TREE_POINTS", 500)
    monkeypatch.setattr(_search, "_CELL_QUERIES", 100)
    points = low_dimensional(rng, 1_000)
    points[::3, 4] = -np.inf
    queries = low_dimensional(rng, 300)  # around other points than those
    found = nearest(torch.tensor(queries), torch.tensor(points), num_neighbors=1, space=logits)
    assert isinstance(found.distances, torch.Tensor)
    assert found.indices.dtype == torch.int64
    monkeypatch.setattr(_search, "_TREE_POINTS", math.inf)
    expected = nearest(queries, points, num_neighbors=1, space=logits)
    np.testing.assert_array_equal(found.indices.numpy(), expected.indices)


@pytest.mark.parametrize("num_points", [2_000, 12_000])  # without and with a tree
def test_the_first_of_many_copies_are_found(rng, num_points):
    points = rng.dirichlet(np.ones(3), num_points)
    copies = np.sort(rng.choice(num_points, 400, replace=False))
    points[copies] = points[copies[0]]
    found = nearest(points[copies[:1]], points, num_neighbors=300)
    np.testing.assert_array_equal(found.indices[0], copies[:300])
    np.testing.assert_array_equal(found.distances[0], 0.0)


def test_zeros_of_both_signs_are_one_point():
    points = np.array([[0.3, 0.7, 0.0], [0.3, 0.7, -0.0], [0.7, 0.3, 0.0], [0.3, 0.7, 0.0]])
    found = nearest(points[:1], points, num_neighbors=4)
    np.testing.assert_array_equal(found.indices[0], [0, 1, 3, 2])


class Line:
    """A space with points of its own: real numbers, |x - y|."""

    @staticmethod
    def fisher_rao_distance(a, b):
        return abs(a - b)


def test_any_space_with_a_distance(rng):
    x, y = rng.normal(size=30), rng.normal(size=20)
    d = pairwise_distance(x, y, space=Line, block_size=7)
    np.testing.assert_array_equal(d, abs(x[:, None] - y))
    found = nearest(x, y, num_neighbors=2, space=Line)
    np.testing.assert_array_equal(found.distances, np.sort(abs(x[:, None] - y), 1)[:, :2])
    found = nearest(np.array([3.0, 1.0, 3.0, 2.5, 3.0]), num_neighbors=3, space=Line)
    np.testing.assert_array_equal(
        found.indices, [[2, 4, 3], [3, 0, 2], [0, 4, 3], [0, 2, 4], [0, 2, 3]]
    )


@pytest.mark.parametrize(("num_points", "num_outcomes"), [(4000, 10), (2000, 1000)])
def test_memory_is_the_output_and_a_fixed_block(rng, num_points, num_outcomes):
    p = rng.dirichlet(np.ones(num_outcomes), num_points)
    tracemalloc.start()
    d = pairwise_distance(p)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < d.nbytes + 64 * 2**20


def test_next_token_logits(rng):
    z = 5 * rng.normal(size=(6, 50_000))
    z[3:] = z[:3] + np.array([[1e-9], [1e-3], [1.0]]) * rng.normal(size=(3, 50_000))
    z[:, :40_000] -= 800.0  # their probabilities underflow
    d = pairwise_distance(z, space=logits)
    expected = logits.fisher_rao_distance(z[:, None], z[None, :])
    np.testing.assert_allclose(d, expected, rtol=1e-10)
    found = nearest(z, num_neighbors=1, space=logits)
    np.testing.assert_array_equal(found.indices[:, 0], [3, 4, 5, 0, 1, 2])


def test_empty_batches():
    empty = np.zeros((0, 3))
    assert pairwise_distance(empty).shape == (0, 0)
    assert pairwise_distance(empty, [[0.2, 0.3, 0.5]]).shape == (0, 1)
    found = nearest(empty, [[0.2, 0.3, 0.5]], num_neighbors=1)
    assert found.indices.shape == found.distances.shape == (0, 1)


P = [[0.5, 0.5], [0.1, 0.9]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pairwise_distance([0.5, 0.5]), ValueError, "a must have shape (n, c)"),
        (lambda: pairwise_distance([P]), ValueError, "a must have shape (n, c)"),
        (lambda: pairwise_distance([[2.0, 3.0]]), ValueError, "a must hold probabilities"),
        (lambda: pairwise_distance(P, [[1.0]]), ValueError, "a and b must have the same outcomes"),
        (lambda: pairwise_distance(P, block_size=0), ValueError, "block_size must be a positive"),
        (lambda: pairwise_distance(P, block_size=1.5), TypeError, "block_size must be a positive"),
        (lambda: pairwise_distance(P, space=3), TypeError, "space must have a function"),
        (
            lambda: nearest(P, num_neighbors=2),
            ValueError,
            "num_neighbors must be an integer from 1",
        ),
        (
            lambda: nearest(P, num_neighbors=0),
            ValueError,
            "num_neighbors must be an integer from 1",
        ),
        (lambda: nearest(P, P, num_neighbors=True), ValueError, "num_neighbors must be an integer"),
        (lambda: nearest(P, P, num_neighbors="2"), TypeError, "num_neighbors must be an integer"),
    ],
)
def test_bad_input_gets_a_clear_message(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_outcomes", [3, 50])
def test_tensors_stay_on_their_device(rng, num_outcomes, dtype, device):
    p = torch.tensor(rng.dirichlet(np.ones(num_outcomes), 12_000), dtype=dtype, device=device)
    rtol = {torch.float32: 1e-4, torch.float64: 1e-10}[dtype]
    wide = p.cpu().double().numpy()
    exact = simplex.fisher_rao_distance(wide[:100, None], wide[100:])
    d, found = pairwise_distance(p[:100], p[100:]), nearest(p[:100], p[100:], num_neighbors=3)
    row = simplex.fisher_rao_distance(p[0], p[100:])
    for seen in (d, found.distances, found.indices, row):
        assert seen.device.type == device
    np.testing.assert_allclose(d.cpu(), exact, rtol=rtol)
    np.testing.assert_allclose(row.cpu(), exact[0], rtol=rtol)
    np.testing.assert_allclose(found.distances.cpu(), np.sort(exact)[:, :3], rtol=rtol)
    at = np.take_along_axis(exact, found.indices.cpu().numpy(), axis=1)
    np.testing.assert_allclose(at, np.sort(exact)[:, :3], rtol=rtol)


# ---------------------------------------------------------------- dask


def test_dask_stays_lazy_and_agrees(rng):
    dask_array = pytest.importorskip("dask.array")
    p, q = all_kinds(rng, 5), rng.dirichlet(np.ones(5), 31)
    lazy_p, lazy_q = (dask_array.from_array(x, chunks=(10, 3)) for x in (p, q))
    d = pairwise_distance(lazy_p, lazy_q)
    assert isinstance(d, dask_array.Array)
    expected = simplex.fisher_rao_distance(p[:, None], q[None, :])
    np.testing.assert_allclose(d.compute(), expected, rtol=1e-10)
    among = pairwise_distance(lazy_p).compute()
    np.testing.assert_array_equal(among, among.T)
    np.testing.assert_array_equal(np.diagonal(among), 0.0)
    found = nearest(lazy_q, num_neighbors=3)
    assert isinstance(found.indices, dask_array.Array)
    indices, distances = brute_force(q, q, 3, among=True)
    np.testing.assert_array_equal(found.indices.compute(), indices)
    np.testing.assert_allclose(found.distances.compute(), distances, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore")  # the cluster's own, from its processes and at its end
def test_a_cluster_takes_a_file_larger_than_a_worker(rng, tmp_path):
    distributed = pytest.importorskip("distributed")
    dask_array = pytest.importorskip("dask.array")
    limit, shape, num_rows = 400 * 2**20, (600_000, 100), 1_000
    file = np.lib.format.open_memmap(tmp_path / "p.npy", "w+", np.float64, shape)
    assert file.nbytes > limit
    for first in range(0, shape[0], num_rows):
        x = rng.exponential(size=(num_rows, shape[1]))
        file[first : first + num_rows] = x / x.sum(axis=1, keepdims=True)
    file.flush()
    few = np.array(file[:20])

    def block(file, block_info=None):
        (start, stop), _ = block_info[None]["array-location"]
        return np.array(np.load(file, mmap_mode="r")[start:stop])

    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit=limit,
            dashboard_address=None,
            processes=True,
        ) as cluster,
        distributed.Client(cluster),
    ):
        chunks = (shape[0] // num_rows * (num_rows,), shape[1])
        p = dask_array.map_blocks(block, str(tmp_path / "p.npy"), chunks=chunks, dtype=float)
        far = simplex.fisher_rao_distance(p, few[0].tolist()).max()
        found = neighbors.nearest(dask_array.from_array(few), p, num_neighbors=2)
        indices, distances, far = distributed.get_client().gather(
            distributed.get_client().compute([found.indices, found.distances, far])
        )
    np.testing.assert_array_equal(indices[:, 0], np.arange(20))
    np.testing.assert_array_equal(distances[:, 0], 0.0)
    assert (distances[:, 1] > 0.0).all()
    assert 0.0 < far < np.pi


# ---------------------------------------------------------------- sparse graphs


@pytest.mark.parametrize("space", [simplex, logits], ids=["simplex", "logits"])
def test_all_pairs_within_a_radius(lib, rng, space, monkeypatch):
    monkeypatch.setattr("infogeo.neighbors._graph._PAIRS_AT_A_TIME", 40)  # several blocks
    p, q = rng.dirichlet(np.ones(3), 17), rng.dirichlet(np.ones(3), 9)
    q[4] = p[3]
    if space is logits:
        p, q = np.log(p), np.log(q)
    every = space.fisher_rao_distance(p[:, None], q)
    found = neighbors.within(lib.array(p), lib.array(q), radius=0.7, space=space)
    tolerance = 1e-10 if found.dtype == np.float64 else 1e-4
    stored = scipy.sparse.csr_array((np.ones(found.nnz), found.indices, found.indptr), found.shape)
    np.testing.assert_array_equal(stored.toarray() > 0.0, every <= 0.7)
    expected = np.where(every <= 0.7, every, 0.0)
    np.testing.assert_allclose(found.toarray(), expected, rtol=tolerance, atol=1e-15)
    assert stored[3, 4] == 1.0  # a copy is stored, with the distance 0
    assert found[3, 4] == 0.0
    for row in range(17):
        assert (np.diff(found.data[found.indptr[row] : found.indptr[row + 1]]) >= 0.0).all()
    among = neighbors.within(lib.array(p), radius=0.7, space=space)
    expected = space.fisher_rao_distance(p[:, None], p)
    expected = np.where((expected <= 0.7) & ~np.eye(17, dtype=bool), expected, 0.0)
    np.testing.assert_allclose(among.toarray(), expected, rtol=tolerance, atol=1e-15)
    np.testing.assert_array_equal(among.toarray(), among.toarray().T)


def test_graphs_are_what_scikit_learn_takes(rng):
    cluster = pytest.importorskip("sklearn.cluster")
    p = np.concatenate([rng.dirichlet(100.0 * x, 20) for x in np.eye(3) + 0.1])
    labels = np.repeat([0, 1, 2], 20)
    near = neighbors.within(p, radius=0.6)
    found = cluster.DBSCAN(eps=0.6, min_samples=3, metric="precomputed").fit_predict(near)
    np.testing.assert_array_equal(found, labels)
    dense = neighbors.pairwise_distance(p)
    expected = cluster.DBSCAN(eps=0.6, min_samples=3, metric="precomputed").fit_predict(dense)
    np.testing.assert_array_equal(found, expected)
    graph = neighbors.nearest(p, num_neighbors=4).graph(len(p))
    classifier = importlib.import_module("sklearn.neighbors").KNeighborsClassifier(
        3, metric="precomputed"
    )
    np.testing.assert_array_equal(classifier.fit(dense, labels).predict(graph), labels)


def test_radii_and_graphs_at_their_limits(rng):
    p = rng.dirichlet(np.ones(4), 5)
    assert neighbors.within(p, radius=np.pi).nnz == 20
    assert neighbors.within(p, radius=0.0).nnz == 0
    assert neighbors.within(p, p, radius=0.0).nnz == 5
    assert neighbors.within(p[:0], p, radius=1.0).shape == (0, 5)
    assert neighbors.within(p[:1], radius=1.0).shape == (1, 1)
    for radius, error in ((-0.1, ValueError), (np.nan, ValueError), ("near", TypeError)):
        with pytest.raises(error, match="radius must"):
            neighbors.within(p, radius=radius)
    with pytest.raises(ValueError, match="num_points must be an integer from"):
        neighbors.nearest(p, num_neighbors=4).graph(3)
    points = normal.Normal(np.array([0.0, 0.1, 5.0]), np.ones(3))
    assert neighbors.within(points, radius=0.2, space=normal).nnz == 2


# ---------------------------------------------------------------- sparse rows


def counts_of_words(rng, num_rows, num_words):
    """Return rows of probabilities over many words of which each has few, with copies."""
    p = rng.gamma(0.5, size=(num_rows, num_words)) * (rng.random((num_rows, num_words)) < 0.05)
    p[:, 0] += 0.01
    p[num_rows // 2] = p[1]
    p[-1] = p[1]
    p[2] = p[3] * (1.0 + 1e-7 * rng.uniform(-1, 1, num_words))
    return p / p.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    ("form", "dtype"),
    [("csr_array", "float64"), ("csr_matrix", "float32"), ("coo_array", "float64")],
)
def test_sparse_rows_have_the_distances_of_dense_ones(rng, form, dtype, monkeypatch):
    monkeypatch.setattr("infogeo.neighbors._sparse._DENSE_ENTRIES", 2000)  # several blocks
    p, q = (counts_of_words(rng, num, 300).astype(dtype) for num in (41, 23))
    q[5] = p[1]
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    sparse, other = (getattr(scipy.sparse, form)(x) for x in (p, q))
    every = neighbors.pairwise_distance(sparse, other)
    assert every.dtype == dtype
    for i, j in rng.integers(23, size=(15, 2)):
        expected = exact_distance(p[i], q[j])
        assert abs(every[i, j] - expected) <= tolerance * expected
    among = neighbors.pairwise_distance(sparse)
    np.testing.assert_array_equal(among, among.T)
    assert 0.0 < among[2, 3] < 1e-6
    for batches in ((sparse,), (sparse, other), (sparse, q), (p, other)):
        dense = [x.toarray() if scipy.sparse.issparse(x) else x for x in batches]
        found, expected = (nearest(*x, num_neighbors=7) for x in (batches, dense))
        if dtype == "float64":  # in float32, distances of different rows agree to rounding
            np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_allclose(found.distances, expected.distances, rtol=tolerance, atol=1e-15)
        assert found.distances.dtype == dtype
        found, expected = (neighbors.within(*x, radius=2.0) for x in (batches, dense))
        np.testing.assert_array_equal(found.indptr, expected.indptr)
        np.testing.assert_allclose(found.toarray(), expected.toarray(), rtol=tolerance, atol=1e-15)
    copies = nearest(sparse, num_neighbors=2)
    np.testing.assert_array_equal(copies.indices[1], [20, 40])  # in the order of their rows
    np.testing.assert_array_equal(copies.distances[1], 0.0)


def test_sparse_rows_of_many_words_take_no_dense_matrix(rng):
    """A dense matrix would take 960 MB."""
    num_rows, num_words, num_used = 300, 400_000, 40
    columns = rng.integers(num_words // 100, size=(num_rows, num_used)) * 100
    rows = np.repeat(np.arange(num_rows), num_used)
    shares = rng.dirichlet(np.ones(num_used), num_rows)
    p = scipy.sparse.coo_array((shares.ravel(), (rows, columns.ravel())), (num_rows, num_words))
    tracemalloc.start()
    found = nearest(p, num_neighbors=3)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4e8
    dense = p.tocsr()[:, ::100].toarray()
    expected = nearest(dense, num_neighbors=3)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-10)


@pytest.mark.parametrize("verb", [pairwise_distance, nearest, neighbors.within])
def test_sparse_rows_that_are_wrong(rng, verb, monkeypatch):
    monkeypatch.setattr("infogeo.neighbors._sparse._DENSE_ENTRIES", 12)  # blocks of 2 rows
    last = {nearest: {"num_neighbors": 1}, neighbors.within: {"radius": 1.0}}.get(verb, {})
    p = rng.dirichlet(np.ones(6), 9)
    name = "a" if verb is pairwise_distance else "queries"
    for value, text in ((-0.5, "row 5"), (np.nan, "row 5"), (7.0, "row 5.*counts")):
        bad = p.copy()
        bad[5, 2] = value
        with pytest.raises(ValueError, match=rf"{name} must hold probabilities .*{text}") as caught:
            verb(scipy.sparse.csr_array(bad), **last)
        assert caught.value.row == 5
    sparse = scipy.sparse.csr_array(p)
    with pytest.raises(TypeError, match=r"must be a dense array .*csr_array\. Call toarray\(\) fi"):
        verb(sparse, space="logits", **last)
    with pytest.raises(ValueError, match=r"same outcomes"):
        verb(sparse, sparse[:, :4], check=False, **last)
    with pytest.raises(ValueError, match="one point per row"):
        verb(scipy.sparse.coo_array(p[0]), **last)
    with pytest.raises(TypeError, match="real numbers"):
        verb(sparse * 1j, **last)
    with pytest.raises(TypeError, match=r"same library|numpy"):
        verb(sparse, torch.tensor(p), **last)
    with pytest.raises(TypeError, match=r"got csr_array\..* Call toarray\(\) first\."):
        simplex.fisher_rao_distance(sparse, sparse)


def test_sparse_rows_at_their_limits():
    one = scipy.sparse.csr_array(np.eye(3))
    np.testing.assert_array_equal(pairwise_distance(one), np.pi * (1 - np.eye(3)))
    assert pairwise_distance(one[:0], one).shape == (0, 3)
    assert pairwise_distance(one[:0]).shape == (0, 0)
    assert nearest(one[:0], one, num_neighbors=2).indices.shape == (0, 2)
    assert neighbors.within(one, one, radius=0.0).nnz == 3
    np.testing.assert_array_equal(nearest(one, num_neighbors=2).indices, [[1, 2], [0, 2], [0, 1]])
    counts = scipy.sparse.csr_array(np.eye(3, dtype=int))
    np.testing.assert_array_equal(pairwise_distance(counts), pairwise_distance(np.eye(3)))
    with pytest.raises(ValueError, match=r"at least 1 points|from 1 to"):
        nearest(one, one[:0], num_neighbors=1)
