"""Derivatives of families of matrices where relative eigenvalues coincide, against mpmath."""

import functools

import mpmath
import numpy as np
import pytest
import torch

from infogeo import manifolds, multivariate_normal
from infogeo._points import fields
from infogeo.manifolds import CenteredNormal, InverseWishart, MatrixNormal, Wishart
from infogeo.multivariate_normal import MultivariateNormal

ROOT = np.array([[1.0, 0.0, 0.0], [0.4, 1.2, 0.0], [-0.3, 0.6, 0.9]])
TURN = np.linalg.qr(ROOT + 1.0)[0]
# The logarithms of the relative eigenvalues of a pair.
LOGS = {
    "equal": (0.0, 0.0, 0.0),
    "multiple": (0.7, 0.7, 0.7),
    "two": (0.3, 0.3, -1.1),
    "nearly": (0.3, 0.3 + 1e-9, -0.4),
    "close": (2.0, 2.0 + 1e-3, 1.4),
    "apart": (7.0, 0.2, -5.0),
}
BEND_S = np.array([[0.3, -0.2, 0.1], [-0.2, 0.5, 0.25], [0.1, 0.25, -0.4]])
BEND_T = np.array([[-0.1, 0.3, 0.2], [0.3, 0.2, -0.15], [0.2, -0.15, 0.35]])


def pair_of(logs):
    """Return S and T = A exp(l) A' with S = A A'."""
    A = ROOT @ TURN
    return A @ A.T, (A * np.exp(logs)) @ A.T


def exact(f, order):
    """Return a derivative of f at 0 by central differences of 60 digits."""
    with mpmath.workdps(60):
        h = mpmath.mpf(10) ** -15
        if order == 1:
            return (f(h) - f(-h)) / (2 * h)
        return (f(h) - 2 * f(mpmath.mpf(0)) + f(-h)) / h**2


def moved(matrix, bend):
    matrix, bend = (mpmath.matrix(x.tolist()) for x in (matrix, bend))
    return lambda s: matrix + s * bend


def function_of(matrix, f):
    values, U = mpmath.eigsy((matrix + matrix.T) / 2)
    return U * mpmath.diag([f(x) for x in values]) * U.T


def framed(S, T):
    L = mpmath.cholesky(S)
    inverse = mpmath.inverse(L)
    return L, inverse * T * inverse.T


def along(f, *arrays_and_bends):
    """Return value, first and second derivative of f along a line, by forward mode."""
    arrays = [(torch.tensor(x), torch.tensor(v)) for x, v in arrays_and_bends]

    def at(s):
        return f(*(x + s * v for x, v in arrays))

    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)

    def slope(s):
        return torch.func.jvp(at, (s,), (one,))[1]

    return (*torch.func.jvp(at, (zero,), (one,)), torch.func.jvp(slope, (zero,), (one,))[1])


def squares(l):
    return l * l


def renyi(l, order):
    return mpmath.log(order * mpmath.exp((1 - order) * l) + (1 - order) * mpmath.exp(-order * l))


# Verbs, and functions of a logarithm whose sum, times n / 2, they are for normals.
SCALARS = {
    "fisher_rao_squared_distance": squares,
    "kl_divergence": lambda l: mpmath.exp(-l) - 1 + l,
    "renyi_divergence": lambda l: renyi(l, mpmath.mpf(0.3)) / (1 - mpmath.mpf(0.3)),
}


@pytest.mark.parametrize(
    ("kind", "verb", "logs"),
    [(CenteredNormal, verb, logs) for verb in SCALARS for logs in list(LOGS)[2:]]
    + [(InverseWishart, verb, "two") for verb in SCALARS],
)
def test_distances_and_divergences_have_second_derivatives(kind, verb, logs):
    logs = LOGS[logs]
    S, T = pair_of(logs)
    n = 1.0 if kind is CenteredNormal else 5.5
    make = FAMILIES[kind.__name__]
    sign = -1 if kind is InverseWishart else 1
    more = {"order": 0.3} if verb == "renyi_divergence" else {}

    def of_logs(s):
        _, M = framed(moved(S, BEND_S)(s), moved(T, BEND_T)(s))
        values = mpmath.eigsy((M + M.T) / 2, eigvals_only=True)
        return n / 2 * sum(SCALARS[verb](sign * mpmath.log(x)) for x in values)

    def f(S, T):
        return getattr(manifolds, verb)(make(S), make(T), **more)

    value, first, second = along(f, (S, BEND_S), (T, BEND_T))
    np.testing.assert_allclose(value, float(of_logs(mpmath.mpf(0))), rtol=1e-10, atol=1e-14)
    rtol = 1e-11 + 1e-15 * float(np.exp(max(logs) - min(logs)))  # by the condition of the pair
    np.testing.assert_allclose(first, float(exact(of_logs, 1)), rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(second, float(exact(of_logs, 2)), rtol=rtol, atol=1e-11)
    s = torch.zeros((), dtype=torch.float64, requires_grad=True)
    tensors = [torch.tensor(x) for x in (S, BEND_S, T, BEND_T)]
    found = f(tensors[0] + s * tensors[1], tensors[2] + s * tensors[3])
    (slope,) = torch.autograd.grad(found, s, create_graph=True)
    (bend,) = torch.autograd.grad(slope, s)
    torch.testing.assert_close(slope.detach(), first, rtol=rtol, atol=1e-12)
    torch.testing.assert_close(bend, second, rtol=rtol, atol=1e-11)


def exact_log_map(S, T, v):
    L, M = framed(S, T)
    return L * function_of(M, mpmath.log) * L.T


def exact_exp_map(S, T, v):
    L, x = framed(S, v)
    return L * function_of(x, mpmath.exp) * L.T


def exact_geodesic(S, T, v):
    L, M = framed(S, T)
    return L * function_of(M, lambda x: x ** mpmath.mpf(0.375)) * L.T


def exact_m_geodesic(S, T, v):
    return (1 - mpmath.mpf(0.375)) * S + mpmath.mpf(0.375) * T


def exact_e_geodesic(S, T, v):
    return mpmath.inverse(exact_m_geodesic(mpmath.inverse(S), mpmath.inverse(T), v))


def exact_transport(S, T, v):
    L, M = framed(S, T)
    E = L * function_of(M, mpmath.sqrt) * mpmath.inverse(L)
    return E * v * E.T


MAPS = {
    "log_map": (exact_log_map, lambda a, b, v: manifolds.log_map(a, b)),
    "exp_map": (exact_exp_map, lambda a, b, v: manifolds.exp_map(a, v)),
    "fisher_rao_geodesic": (
        exact_geodesic,
        lambda a, b, v: manifolds.fisher_rao_geodesic(a, b, 0.375),
    ),
    "e_geodesic": (exact_e_geodesic, lambda a, b, v: manifolds.e_geodesic(a, b, 0.375)),
    "m_geodesic": (exact_m_geodesic, lambda a, b, v: manifolds.m_geodesic(a, b, 0.375)),
    "parallel_transport": (
        exact_transport,
        lambda a, b, v: manifolds.parallel_transport(a, b, v),
    ),
}


@pytest.mark.parametrize("logs", list(LOGS.values())[1:], ids=list(LOGS)[1:])
@pytest.mark.parametrize("verb", MAPS)
def test_maps_transports_and_geodesics_have_second_derivatives(verb, logs):
    S, T = pair_of(logs)
    v = exact_log_map(mpmath.matrix(S.tolist()), mpmath.matrix(T.tolist()), None)
    v = np.array(v.tolist(), float)
    exact_verb, verb = MAPS[verb]

    def of_line(s):
        at = (moved(S, BEND_S)(s), moved(T, BEND_T)(s), moved(v, BEND_T)(s))
        return exact_verb(*at)

    def f(S, T, v):
        vector = manifolds.centered_normal.Tangent(v, check=False)
        return verb(CenteredNormal(S), CenteredNormal(T), vector).cov

    found = along(f, (S, BEND_S), (T, BEND_T), (v, BEND_T))
    for order in (1, 2):
        expected = np.array(exact(of_line, order).tolist(), float)
        scale = np.abs(expected).max() + np.abs(found[0].numpy()).max()
        np.testing.assert_allclose(found[order], expected, rtol=1e-10, atol=1e-11 * scale)


# ---------------------------------------------------------------- all verbs of all families

FAMILIES = {
    "CenteredNormal": CenteredNormal,
    "Wishart": lambda S: Wishart(5.5, S),
    "InverseWishart": lambda S: InverseWishart(5.5, S),
    "MatrixNormal": lambda S: MatrixNormal(S[..., :2, :2], S),
    "MultivariateNormal": lambda S: MultivariateNormal(S[..., 0, :], S),
}
OF_NORMALS = ("kl_divergence", "jeffreys_divergence", "hellinger_distance")
DIVERGENCES = (*OF_NORMALS, "fisher_rao_squared_distance", "fisher_rao_distance")
DIVERGENCES += ("bhattacharyya_coefficient", "renyi_divergence")
HAVE_CORNERS = ("fisher_rao_distance", "hellinger_distance")  # at equal points
OF_MATRICES = list(FAMILIES)[:4]
CASES = [(family, verb, 1.0) for family in OF_MATRICES for verb in DIVERGENCES]
CASES += [("CenteredNormal", verb, 3.0) for verb in DIVERGENCES]
CASES += [("MultivariateNormal", verb, factor) for verb in OF_NORMALS for factor in (1.0, 3.0)]


def scalar(family, verb):
    more = {"order": 0.4} if verb == "renyi_divergence" else {}

    def f(S, T):
        return getattr(manifolds, verb)(FAMILIES[family](S), FAMILIES[family](T), **more)

    return f


def differences(f, *arrays_and_bends, h=1e-4):
    """Return the second derivative along a line, by differences of the first of order 4."""

    lines = [(torch.tensor(x), torch.tensor(v)) for x, v in arrays_and_bends]

    def slope(s):
        at, along_it = zip(*((x + s * h * v, v) for x, v in lines), strict=True)
        return torch.func.jvp(f, at, along_it)[1]

    return (8.0 * (slope(1.0) - slope(-1.0)) - (slope(2.0) - slope(-2.0))) / (12.0 * h)


@pytest.mark.parametrize(("family", "verb", "factor"), CASES)
def test_every_divergence_bends_where_all_eigenvalues_coincide(family, verb, factor):
    S, f = pair_of(LOGS["equal"])[0], scalar(family, verb)
    line = ((S, BEND_S), (factor * S, BEND_T))
    _, first, second = along(f, *line)
    if factor == 1.0 and verb in HAVE_CORNERS:
        assert float(first) == 0.0
        return
    expected = differences(f, *line)
    torch.testing.assert_close(second, expected, rtol=1e-8, atol=1e-9)
    S, T = (torch.tensor(x, requires_grad=True) for x, _ in line)
    gradients = torch.autograd.grad(f(S, T), (S, T), create_graph=True)
    bends = (torch.tensor(v) for _, v in line)
    slope = sum((g * v).sum() for g, v in zip(gradients, bends, strict=True))
    bent = torch.autograd.grad(slope, (S, T))
    bends = (torch.tensor(v) for _, v in line)
    found = sum((g * v).sum() for g, v in zip(bent, bends, strict=True))
    torch.testing.assert_close(found, second, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("verb", ["fisher_rao_distance", "kl_divergence", "renyi_divergence"])
def test_a_matrix_normal_bends_as_the_normal_of_the_kronecker_product(verb):
    S, _ = pair_of(LOGS["equal"])
    rows, columns = S[:2, :2], S
    line = ((rows, BEND_S[1:, 1:]), (columns, BEND_S))
    line += ((3.0 * rows, BEND_T[1:, 1:]), (2.0 * columns, BEND_T))
    more = {"order": 0.4} if verb == "renyi_divergence" else {}
    f = functools.partial(getattr(manifolds, verb), **more)
    found = along(lambda U, V, W, X: f(MatrixNormal(U, V), MatrixNormal(W, X)), *line)
    expected = along(
        lambda U, V, W, X: f(CenteredNormal(torch.kron(V, U)), CenteredNormal(torch.kron(X, W))),
        *line,
    )
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("family", list(FAMILIES)[:3])
def test_squared_distances_and_divergences_have_the_metric_at_equal_points(family):
    rows, columns = torch.tril_indices(3, 3)
    S = torch.tensor(pair_of(LOGS["equal"])[0])

    def matrix(entries):
        half = torch.zeros(3, 3, dtype=entries.dtype).index_put((rows, columns), entries)
        return half + half.mT - torch.diag(half.diagonal())

    metric = manifolds.fisher_information(FAMILIES[family](S))
    for verb, share in (("fisher_rao_squared_distance", 2.0), ("kl_divergence", 1.0)):
        f = scalar(family, verb)
        for of in (lambda x, f=f: f(matrix(x), S), lambda x, f=f: f(S, matrix(x))):
            hessian = torch.func.hessian(of)(S[rows, columns])
            torch.testing.assert_close(hessian, share * metric, rtol=1e-11, atol=1e-11)
    # A batch, and a batch of programs, have those of the rows alone.
    batch = torch.stack([S, 2.0 * S, S + torch.tensor(BEND_T)])
    f = scalar(family, "fisher_rao_squared_distance")
    alone = torch.stack([torch.func.hessian(lambda x: f(S, x))(T) for T in batch])
    mapped = torch.func.vmap(torch.func.hessian(lambda x: f(S, x)))(batch)
    torch.testing.assert_close(mapped, alone, rtol=1e-11, atol=1e-11)
    together = torch.func.hessian(lambda x: f(S, x).sum())(batch)
    together = torch.stack([together[k, :, :, k] for k in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-11, atol=1e-11)
    narrow = torch.func.hessian(lambda x: f(S.float(), x))(S.float())
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow.double(), alone[0], rtol=1e-4, atol=1e-5)


TO_POINTS = {
    "log_map": lambda a, b, v: manifolds.log_map(a, b),
    "exp_map": lambda a, b, v: manifolds.exp_map(a, v),
    "fisher_rao_geodesic": lambda a, b, v: manifolds.fisher_rao_geodesic(a, b, 0.375),
    "e_geodesic": lambda a, b, v: manifolds.e_geodesic(a, b, 0.375),
    "m_geodesic": lambda a, b, v: manifolds.m_geodesic(a, b, 0.375),
    "parallel_transport": manifolds.parallel_transport,
}


@pytest.mark.parametrize(
    ("family", "verb"),
    [("InverseWishart", verb) for verb in TO_POINTS]
    + [("MatrixNormal", verb) for verb in TO_POINTS if verb not in ("e_geodesic", "m_geodesic")],
)
def test_every_map_has_gradients_at_equal_points(family, verb):
    S = pair_of(LOGS["equal"])[0]
    weight = torch.tensor(BEND_S)

    def f(S, T):
        a, b = FAMILIES[family](S), FAMILIES[family](T)
        found = TO_POINTS[verb](a, b, manifolds.log_map(a, b))
        matrix = found.column_cov if family == "MatrixNormal" else fields(found)[-1]
        return (weight * matrix).sum()

    line = ((S, BEND_S), (S, BEND_T))
    _, first, second = along(f, *line)
    h = 1e-3
    at = [f(*(torch.tensor(x + s * h * v) for x, v in line)) for s in (-2.0, -1.0, 1.0, 2.0)]
    expected = (8.0 * (at[2] - at[1]) - (at[3] - at[0])) / (12.0 * h)
    torch.testing.assert_close(first, expected, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(second, differences(f, *line), rtol=1e-7, atol=1e-8)
    S, T = (torch.tensor(x, requires_grad=True) for x, _ in line)
    gradients = torch.autograd.grad(f(S, T), (S, T))
    bends = (torch.tensor(v) for _, v in line)
    slope = sum((g * v).sum() for g, v in zip(gradients, bends, strict=True))
    torch.testing.assert_close(slope, first, rtol=1e-11, atol=1e-12)


def test_geodesics_have_mixed_derivatives_with_their_time():
    S, T = (torch.tensor(x) for x in pair_of(LOGS["two"]))

    def velocity(s):
        a, b = CenteredNormal(S), CenteredNormal(T + s * torch.tensor(BEND_T))
        t = torch.tensor(0.3, dtype=torch.float64)

        def at(t):
            return manifolds.fisher_rao_geodesic(a, b, t).cov

        return torch.func.jvp(at, (t,), (torch.ones_like(t),))[1]

    zero = torch.zeros((), dtype=torch.float64)
    found = torch.func.jvp(velocity, (zero,), (torch.ones_like(zero),))[1]
    h = 1e-5
    expected = (velocity(zero + h) - velocity(zero - h)) / (2.0 * h)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-8)


def test_third_derivatives_are_nan_and_not_wrong():
    S, T = pair_of(LOGS["two"])

    def f(s):
        a, b = CenteredNormal(torch.tensor(S)), CenteredNormal(torch.tensor(T) + s * torch.eye(3))
        return manifolds.fisher_rao_squared_distance(a, b)

    third = torch.func.grad(torch.func.grad(torch.func.grad(f)))
    assert third(torch.zeros((), dtype=torch.float64)).isnan()


def test_distances_in_one_mean_bend():
    S, T = pair_of(LOGS["multiple"])

    def f(S, T):
        mean = torch.zeros(3, dtype=torch.float64)
        a, b = MultivariateNormal(mean, S), MultivariateNormal(mean, T)
        return multivariate_normal.fixed_mean_distance(a, b)

    line = ((S, BEND_S), (T, BEND_T))
    found = along(f, *line)
    expected = along(scalar("CenteredNormal", "fisher_rao_distance"), *line)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
