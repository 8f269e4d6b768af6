"""Matrix normal distributions: beside normals of mean 0 of the Kronecker product, and mpmath."""

import math

import mpmath
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch

import infogeo
from infogeo import manifolds
from infogeo._status import SolveError
from infogeo.interop.distributions import from_distribution
from infogeo.manifolds import CenteredNormal, MatrixNormal, centered_normal
from infogeo.manifolds.matrix_normal import SPACE, Tangent
from infogeo.mean import frechet_mean
from infogeo.neighbors import nearest, pairwise_distance
from infogeo.pullback import PullbackMetric, heads

DIVERGENCES = (
    *("fisher_rao_distance", "fisher_rao_squared_distance", "kl_divergence"),
    *("jeffreys_divergence", "hellinger_distance", "bhattacharyya_coefficient"),
)


def covariance(rng, d, *batch):
    root = np.eye(d) + 0.3 * rng.normal(size=(*batch, d, d))
    return root @ np.swapaxes(root, -1, -2)


def symmetric(rng, d):
    x = rng.normal(size=(d, d))
    return x + x.T


def draw(rng, *batch):
    return MatrixNormal(covariance(rng, 2, *batch), covariance(rng, 3, *batch))


def vector(rng):
    return Tangent(symmetric(rng, 2), symmetric(rng, 3))


def product(a):
    return CenteredNormal(np.kron(a.column_cov, a.row_cov))


def product_vector(a, v):
    change = np.kron(v.column_cov, a.row_cov) + np.kron(a.column_cov, v.row_cov)
    return centered_normal.Tangent(change)


def test_the_geometry_is_that_of_the_kronecker_product(rng):
    a, b, u, v = draw(rng), draw(rng), vector(rng), vector(rng)
    p, q, x, y = product(a), product(b), product_vector(a, u), product_vector(a, v)
    for name in DIVERGENCES:
        verb = getattr(manifolds, name)
        np.testing.assert_allclose(verb(a, b), verb(p, q), rtol=1e-12, err_msg=name)
    for verb, ours, theirs in (
        (manifolds.renyi_divergence, (a, b), (p, q)),
        (manifolds.inner_product, (a, u, v), (p, x, y)),
        (manifolds.norm, (a, u), (p, x)),
        (manifolds.sectional_curvature, (a, u, v), (p, x, y)),
    ):
        options = {"order": 0.3} if verb is manifolds.renyi_divergence else {}
        np.testing.assert_allclose(verb(*ours, **options), verb(*theirs, **options), rtol=1e-11)


def test_the_submanifold_is_totally_geodesic(rng):
    """Geodesics, maps and transports of the full family stay among the Kronecker products."""
    a, b, v = draw(rng), draw(rng), vector(rng)
    p, q, x = product(a), product(b), product_vector(a, v)
    close = {"rtol": 1e-11, "atol": 1e-12}
    path = manifolds.fisher_rao_geodesic(a, b, [0.2, 0.7])
    expected = manifolds.fisher_rao_geodesic(p, q, [0.2, 0.7]).cov
    for point, cov in zip(path, expected, strict=True):
        np.testing.assert_allclose(product(point).cov, cov, **close)
    v = 0.5 * v
    np.testing.assert_allclose(
        product(manifolds.exp_map(a, v)).cov, manifolds.exp_map(p, 0.5 * x).cov, **close
    )
    seen = product_vector(a, manifolds.log_map(a, b))
    np.testing.assert_allclose(seen.cov, manifolds.log_map(p, q).cov, **close)
    moved = product_vector(b, manifolds.parallel_transport(a, b, v))
    np.testing.assert_allclose(moved.cov, manifolds.parallel_transport(p, q, 0.5 * x).cov, **close)


def exact_logs(S, T):
    S, T = (mpmath.matrix(x.tolist()) for x in (S, T))
    inverse = mpmath.inverse(mpmath.cholesky(S))
    return [mpmath.log(x) for x in mpmath.eigsy(inverse * T * inverse.T, eigvals_only=True)]


@pytest.mark.parametrize("size", [1e-12, 1e-8, 1e-3, 1.0])
@pytest.mark.parametrize("factor", [1.0, 2.0**40])
def test_near_points_keep_their_digits(size, factor, rng):
    a, v = draw(rng), vector(rng)
    U, V = a.row_cov + 0.05 * size * v.row_cov, a.column_cov + 0.05 * size * v.column_cov
    b = MatrixNormal(factor * U, V / factor)
    with mpmath.workdps(60):
        logs = [
            x + y
            for x in exact_logs(a.row_cov, b.row_cov)
            for y in exact_logs(a.column_cov, b.column_cov)
        ]
        affinity = sum(mpmath.log(mpmath.cosh(y / 2)) for y in logs) / 2
        order = mpmath.mpf(1) / 4
        rest = 1 - order
        renyi = [
            mpmath.log(order * mpmath.exp(rest * y) + rest * mpmath.exp(-order * y)) for y in logs
        ]
        expected = {
            "fisher_rao_distance": mpmath.sqrt(sum(y * y for y in logs) / 2),
            "kl_divergence": sum(mpmath.expm1(-y) + y for y in logs) / 2,
            "jeffreys_divergence": sum(2 * mpmath.sinh(y / 2) ** 2 for y in logs),
            "hellinger_distance": mpmath.sqrt(-mpmath.expm1(-affinity)),
            "bhattacharyya_coefficient": mpmath.exp(-affinity),
        }
        renyi = sum(renyi) / 2 / rest
    for name, value in expected.items():
        found = getattr(manifolds, name)(a, b)
        np.testing.assert_allclose(found, float(value), rtol=2e-13, err_msg=name)
    found = manifolds.renyi_divergence(a, b, order=0.25)
    np.testing.assert_allclose(found, float(renyi), rtol=2e-13)


def test_only_the_product_counts(rng):
    a, b, v = draw(rng), draw(rng), vector(rng)
    c = 1.7e100
    other = MatrixNormal(c * a.row_cov, a.column_cov / c)
    assert manifolds.fisher_rao_distance(a, other) < 1e-14
    for name in DIVERGENCES:
        verb = getattr(manifolds, name)
        np.testing.assert_allclose(verb(other, b), verb(a, b), rtol=1e-12)
    v = 0.2 * v
    scale = Tangent(a.row_cov, -a.column_cov)
    assert manifolds.norm(a, scale) < 1e-15
    moved = v + 3.0 * scale
    np.testing.assert_allclose(manifolds.norm(a, moved), manifolds.norm(a, v), rtol=1e-13)
    reached = [manifolds.exp_map(a, x) for x in (v, moved)]
    assert manifolds.fisher_rao_distance(*reached) < 1e-12
    lower = [np.concatenate([x[np.tril_indices(len(x))] for x in (a.row_cov, -a.column_cov)])]
    information = manifolds.fisher_information(a)
    np.testing.assert_allclose(information @ lower[0], 0.0, atol=1e-13 * np.abs(information).max())
    assert np.linalg.matrix_rank(information) == manifolds.dimension(a) == 8


def test_a_plane_with_a_vector_that_changes_no_distribution_is_none(rng):
    a, u, v = draw(rng), vector(rng), vector(rng)
    still = Tangent(a.row_cov, -a.column_cov)
    curvature = manifolds.sectional_curvature
    for pair in ((u, still), (still, u), (u, u + 3.0 * still), (still, still), (0.0 * u, v)):
        assert np.isnan(curvature(a, *pair))
    np.testing.assert_allclose(curvature(a, u + 1e3 * still, v), curvature(a, u, v), rtol=1e-9)
    p, x = product(a), product_vector(a, v)
    assert np.isnan(curvature(p, 0.0 * x, x))


def test_matrices_of_one_row_are_normals_and_those_of_one_entry_too(rng):
    S, T = covariance(rng, 3), covariance(rng, 3)
    for make in (lambda x: MatrixNormal([[2.0]], x / 2.0), lambda x: MatrixNormal(x, [[1.0]])):
        a, b = make(S), make(T)
        for name in DIVERGENCES:
            verb = getattr(manifolds, name)
            expected = verb(CenteredNormal(S), CenteredNormal(T))
            np.testing.assert_allclose(verb(a, b), expected, rtol=1e-13)
        assert manifolds.dimension(a) == 6
    a, b = MatrixNormal([[2.0]], [[3.0]]), MatrixNormal([[1e-300]], [[1e300]])
    np.testing.assert_allclose(
        manifolds.fisher_rao_distance(a, b), math.log(6.0) / math.sqrt(2.0), rtol=1e-13
    )
    assert manifolds.dimension(a) == 1


def test_a_fit_solves_the_equations_of_the_likelihood(rng):
    true = MatrixNormal(covariance(rng, 3), covariance(rng, 4))
    x = manifolds.sample(true, (40,), rng=1)
    fitted = MatrixNormal.fit(x)
    U, V = fitted.row_cov, fitted.column_cov
    rows = np.mean(x @ np.linalg.inv(V) @ np.swapaxes(x, 1, 2), axis=0) / 4
    columns = np.mean(np.swapaxes(x, 1, 2) @ np.linalg.inv(U) @ x, axis=0) / 3
    np.testing.assert_allclose(rows, U, rtol=1e-10)
    np.testing.assert_allclose(columns, V, rtol=1e-10)
    assert (int(fitted.num_samples), round(np.trace(V) / 4, 12)) == (40, 1.0)
    best = SPACE.log_density(fitted, x).sum()
    for seed in range(5):
        change = np.random.default_rng(seed)
        near = manifolds.exp_map(fitted, 0.02 * Tangent(symmetric(change, 3), symmetric(change, 4)))
        assert SPACE.log_density(near, x).sum() < best
    assert manifolds.fisher_rao_distance(fitted, true) < 3.0 * math.sqrt(16 / 40)
    # Units of rows, and of numbers, do not matter.
    units = np.array([1e-3, 1.0, 1e5])
    scaled = MatrixNormal.fit(1e120 * units[:, None] * x)
    factor = 1e120 * units
    np.testing.assert_allclose(scaled.row_cov, factor[:, None] * factor * U, rtol=1e-9)
    np.testing.assert_allclose(scaled.column_cov, V, rtol=1e-9)
    classes = MatrixNormal.fit(x, labels=["a", "b"] * 20)
    np.testing.assert_allclose(classes[1].row_cov, MatrixNormal.fit(x[1::2]).row_cov, rtol=1e-12)
    assert classes.num_samples.tolist() == [20, 20]


def test_one_row_is_fitted_in_closed_form_and_three_squares_in_many_sweeps(rng):
    x = rng.normal(size=(7, 1, 3))
    fitted = MatrixNormal.fit(x)
    expected = CenteredNormal.fit(x[:, 0]).cov
    np.testing.assert_allclose(fitted.row_cov * fitted.column_cov, expected, rtol=1e-12)
    x = rng.normal(size=(3, 4, 4))
    fitted = MatrixNormal.fit(x)
    inverse = np.linalg.inv(fitted.column_cov)
    rows = np.mean(x @ inverse @ np.swapaxes(x, 1, 2), axis=0) / 4
    whitened = np.linalg.solve(fitted.row_cov, rows)
    np.testing.assert_allclose(whitened, np.eye(4), atol=1e-9)


def test_samples_and_densities_are_those_of_scipy(rng):
    a = draw(rng)
    given = scipy.stats.matrix_normal(np.zeros((2, 3)), a.row_cov, a.column_cov)
    x = given.rvs(5, random_state=0)
    np.testing.assert_allclose(SPACE.log_density(a, x), given.logpdf(x), rtol=1e-12)
    read = from_distribution(given)
    assert type(read) is MatrixNormal
    np.testing.assert_allclose(read.row_cov, a.row_cov, rtol=1e-15)
    again = manifolds.to_distribution(a)
    np.testing.assert_allclose(again.logpdf(x), given.logpdf(x), rtol=1e-15)
    drawn = manifolds.sample(a, (20_000,), rng=0)
    flat = np.swapaxes(drawn, 1, 2).reshape(-1, 6)
    np.testing.assert_allclose(flat.T @ flat / len(flat), product(a).cov, atol=0.1)
    batch = MatrixNormal.stack([a, a, draw(rng)])
    assert manifolds.sample(batch, (4,), rng=0).shape == (4, 3, 2, 3)
    with pytest.raises(ValueError, match=r"have the mean 0 .*largest entry of its mean is 2"):
        from_distribution(scipy.stats.matrix_normal([[1.0, -2.0]]))


def test_means_neighbours_files_and_heads(rng, tmp_path):
    batch = draw(rng, 5)
    d = pairwise_distance(batch, space="matrix_normal")
    np.testing.assert_allclose(d[0, 1], manifolds.fisher_rao_distance(batch[0], batch[1]))
    found = nearest(batch, num_neighbors=1, space="matrix_normal").indices[:, 0]
    np.testing.assert_array_equal(found, np.argmin(d + 99.0 * np.eye(5), axis=1))
    mean = frechet_mean(batch, space="matrix_normal").point
    velocity = manifolds.log_map(mean, batch)
    total = Tangent(velocity.row_cov.sum(0), velocity.column_cov.sum(0))
    assert manifolds.norm(mean, total) < 1e-7
    infogeo.save(batch, tmp_path / "x.npz")
    np.testing.assert_array_equal(infogeo.load(tmp_path / "x.npz").column_cov, batch.column_cov)

    def to_point(z):
        U, V = (torch.eye(2).to(z) for _ in range(2))
        return MatrixNormal(z[:, :1, None].exp() * U, z[:, 1:2, None].exp() * V)

    metric = PullbackMetric(lambda x: x, heads.of_space("matrix_normal", to_point))
    z = torch.zeros((1, 2), dtype=torch.float64)
    # Two logarithms of scales, of which the sum alone counts: 4 entries of the metric 1/2.
    torch.testing.assert_close(metric.matrix(z), torch.full((1, 2, 2), 2.0).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_has_gradients_at_equal_points_too(dtype, rng):
    a, b = draw(rng), draw(rng)

    def tensors(point):
        return [torch.tensor(x, dtype=dtype) for x in (point.row_cov, point.column_cov)]

    found = manifolds.fisher_rao_distance(MatrixNormal(*tensors(a)), MatrixNormal(*tensors(b)))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, manifolds.fisher_rao_distance(a, b), rtol=2e-6)
    if dtype == torch.float32:
        return
    roots = [torch.linalg.cholesky(x).requires_grad_() for x in tensors(a)]

    def squared(L, M):
        other = MatrixNormal(*tensors(b))
        return manifolds.fisher_rao_squared_distance(MatrixNormal(L @ L.mT, M @ M.mT), other)

    assert torch.autograd.gradcheck(squared, roots)
    same = [x.requires_grad_() for x in tensors(a)]
    manifolds.fisher_rao_squared_distance(MatrixNormal(*same), MatrixNormal(*tensors(a))).backward()
    for x in same:
        np.testing.assert_allclose(x.grad, 0.0, atol=1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MatrixNormal([[1.0, 2.0], [2.0, 1.0]], np.eye(3)), "row_cov must be positive"),
        (lambda: MatrixNormal(np.eye(3), [[1.0, 0.5], [0.0, 1.0]]), "column_cov must be symmetric"),
        (lambda: MatrixNormal(np.ones(3), np.eye(2)), "row_cov must hold one d x d matrix"),
        (lambda: MatrixNormal(1.0, np.eye(2)), "row_cov must hold one d x d matrix"),
        (lambda: MatrixNormal(np.eye(2), np.ones((2, 3))), "column_cov must hold one d x d"),
        (
            lambda: manifolds.fisher_rao_distance(
                MatrixNormal(np.eye(2), np.eye(3)), MatrixNormal(np.eye(3), np.eye(2))
            ),
            "a has 2 x 3 and b has 3 x 2",
        ),
        (lambda: MatrixNormal.fit(np.ones((2, 3))), r"samples must have shape \(N, n, p\)"),
        (lambda: MatrixNormal.fit(np.ones((2, 3, 3))), "more than 2 matrices"),
        (lambda: MatrixNormal.fit(np.ones((2, 1, 3))), "more than 2 matrices"),
        (lambda: MatrixNormal.fit(np.ones((9, 3, 2))), "samples must span all rows and columns"),
        (lambda: MatrixNormal.fit(np.zeros((9, 3, 2))), "samples must span all rows and columns"),
    ],
)
def test_what_is_no_point_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_frames_are_matched_by_the_names_of_rows_and_of_columns(rng):
    U, V = covariance(rng, 2), covariance(rng, 3)
    rows, columns = ["a", "b"], ["x", "y", "z"]
    U, V = pd.DataFrame(U, rows, rows), pd.DataFrame(V, columns, columns)
    a = MatrixNormal(U, V)
    other = MatrixNormal(U.loc[rows[::-1], rows[::-1]], V.loc[columns[::-1], columns[::-1]])
    assert manifolds.fisher_rao_distance(a, other) == 0.0
    renamed = MatrixNormal(U, V.rename(index={"x": "w"}, columns={"x": "w"}))
    with pytest.raises(ValueError, match="must have the same names of columns"):
        manifolds.fisher_rao_distance(a, renamed)
    assert "dimension 2 x 3, float64" in repr(MatrixNormal.stack([a, a]))


def test_what_products_do_not_have_is_refused_with_the_way(rng):
    a, b = draw(rng), draw(rng)
    with pytest.raises(TypeError, match=r"e_geodesic .* CenteredNormal\(kron"):
        manifolds.e_geodesic(a, b, 0.5)
    with pytest.raises(TypeError, match="no exponential family"):
        manifolds.natural_parameters(a)


def test_a_likelihood_without_one_maximum_is_an_error():
    rng = np.random.default_rng(3)
    # Copies of two matrices: enough by their number, but two squares have many best covariances.
    with pytest.raises(ValueError, match="have one most likely distribution: many are equally"):
        MatrixNormal.fit(np.repeat(rng.normal(size=(2, 3, 3)), 2, axis=0))
    # Of triangular matrices the likelihood grows as the entry beside the diagonal is given up.
    with pytest.raises(SolveError, match="still move after 5000 sweeps") as caught:
        MatrixNormal.fit(np.triu(rng.normal(size=(10, 2, 2))))
    assert type(caught.value.result) is MatrixNormal
