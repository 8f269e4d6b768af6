"""The Fisher metric of multivariate normals at a point, and its exponential map."""

import math

import numpy as np

from infogeo import _array
from infogeo._array import Array, Namespace
from infogeo._docs import finish
from infogeo.multivariate_normal._point import (
    MultivariateNormal,
    Tangent,
    factor_of,
    gate,
    matvec,
    narrow,
    normal_of,
    precision_of,
    solve_lower_vector,
    to_host,
    transposed,
    whitened,
    wide,
)


def inner_product(a: MultivariateNormal, u: Tangent, v: Tangent, *, check: bool = True) -> Array:
    r"""Return the Fisher metric of two tangent vectors.

    .. math:: g_a(u, v) = u_\mu' S^{-1} v_\mu + \tfrac12 \operatorname{tr}(S^{-1} u_S S^{-1} v_S)

    Parameters
    ----------
    a : MultivariateNormal
        The point.
    u, v : Tangent
        Velocities of mean and covariance. Batches broadcast.
    check : bool
        Verify that the velocities are finite and symmetric.

    Returns
    -------
    array, shape (...)
        Squared Fisher-Rao length.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal, Tangent
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> u, v = Tangent([1.0, 0.0], np.eye(2)), Tangent([3.0, 1.0], np.eye(2))
    >>> float(inner_product(a, u, v))
    4.0
    """
    xp, a, u, v = gate(check, a=(MultivariateNormal, a), u=(Tangent, u), v=(Tangent, v))
    _, x, B = in_frame(a, u, xp)
    _, y, C = in_frame(a, v, xp)
    product = xp.sum(x * y, axis=-1) + 0.5 * xp.sum(B * C, axis=(-2, -1))
    return narrow(product, a.mean, xp)


def norm(a: MultivariateNormal, v: Tangent, *, check: bool = True) -> Array:
    r"""Return the Fisher norm of a tangent vector.

    .. math:: |v|_a = \sqrt{g_a(v, v)}

    Parameters
    ----------
    a : MultivariateNormal
        The point.
    v : Tangent
        Velocities of mean and covariance. Batches broadcast.
    check : bool
        Verify that the velocities are finite and symmetric.

    Returns
    -------
    array, shape (...)
        Fisher-Rao length; its gradient at 0 is 0.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal, Tangent
    >>> a = MultivariateNormal([0.0, 0.0], 4 * np.eye(2))
    >>> float(norm(a, Tangent([2.0, 0.0], np.zeros((2, 2)))))
    1.0
    """
    xp, a, v = gate(check, a=(MultivariateNormal, a), v=(Tangent, v))
    _, x, B = in_frame(a, v, xp)
    flat = xp.reshape(B / math.sqrt(2.0), (*B.shape[:-2], a.dim * a.dim))
    x = x + 0.0 * flat[..., : a.dim]
    flat = flat + 0.0 * x[..., :1]
    return narrow(_array.norm(xp.concat([x, flat], axis=-1), xp), a.mean, xp)


def dimension(a: MultivariateNormal, *, check: bool = True) -> int:
    """Return the number of parameters of the distributions.

    Parameters
    ----------
    a : MultivariateNormal
        One or a batch, of d dimensions.
    check : bool

    Returns
    -------
    int
        d (d + 3) / 2: those of the mean and of the covariance.

    Raises
    ------
    TypeError
        Something else than normals.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> dimension(MultivariateNormal([0.0, 0.0], np.eye(2)))
    5
    """
    gate(False, a=(MultivariateNormal, a))
    return a.dim * (a.dim + 3) // 2


def fisher_information(a: MultivariateNormal, *, check: bool = True) -> Array:
    r"""Return the Fisher information in the coordinates (mean, lower triangle of the covariance).

    .. math:: g_{\mu} = S^{-1}, \qquad g_{(ij)(kl)} = f_{ij} f_{kl} \bigl(S^{-1}_{ik} S^{-1}_{jl}
              + S^{-1}_{il} S^{-1}_{jk}\bigr), \qquad f_{ij} = 1 - \tfrac12 \delta_{ij}

    Parameters
    ----------
    a : MultivariateNormal
    check : bool
        Has no effect: the values of normals are verified when they are built.

    Returns
    -------
    array, shape (..., k, k)
        k = d + d (d + 1) / 2: first the d coordinates of the mean, then the entries of the
        covariance with row >= column, row by row (as ``numpy.tril_indices``).

    Raises
    ------
    TypeError
        a is not a MultivariateNormal.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> fisher_information(MultivariateNormal([0.0], [[0.5]]))
    array([[2., 0.],
           [0., 2.]])
    """
    xp, a = gate(False, a=(MultivariateNormal, a))
    precision = precision_of(a, xp)
    of_cov = information_of_covariances(precision, xp)
    corner = xp.zeros_like(precision[..., :, :1] + of_cov[..., :1, :])
    upper = xp.concat([precision, corner], axis=-1)
    lower = xp.concat([transposed(corner), of_cov], axis=-1)
    return narrow(xp.concat([upper, lower], axis=-2), a.mean, xp)


def information_of_covariances(precision: Array, xp: Namespace) -> Array:
    """Return the metric tr((S^-1 dS)^2) / 2 in the entries of the lower triangle of S."""
    i, j = np.tril_indices(precision.shape[-1])
    weight = np.where(i == j, 0.5, 1.0)
    device = _array.device_of(precision)
    weights = xp.asarray((weight[:, None] * weight).tolist(), dtype=precision.dtype, device=device)
    i, j = (xp.asarray(k, device=device) for k in (i, j))

    def entries(rows: Array, columns: Array) -> Array:
        return xp.take(xp.take(precision, rows, axis=-2), columns, axis=-1)

    return weights * (entries(i, i) * entries(j, j) + entries(i, j) * entries(j, i))


# ---------------------------------------------------------------- the exponential map


def exp_map(a: MultivariateNormal, v: Tangent, *, check: bool = True) -> MultivariateNormal:
    r"""Return the point reached from a along the Fisher-Rao geodesic with velocity v, at time 1.

    With a = N(0, I) and v = (x, B) it is, for :math:`Z = B^2 + 2 x x'`,

    .. math:: S^{-1} = \tfrac12 \bigl(1 + B \tfrac{\cosh \sqrt Z - 1}{Z} B
              - B \tfrac{\sinh \sqrt Z}{\sqrt Z} - \tfrac{\sinh \sqrt Z}{\sqrt Z} B
              + \cosh \sqrt Z\bigr), \qquad
              \mu = S \bigl(\tfrac{\sinh \sqrt Z}{\sqrt Z} - B \tfrac{\cosh \sqrt Z - 1}{Z}\bigr) x

    Parameters
    ----------
    a : MultivariateNormal
        Where the geodesic starts.
    v : Tangent
        Its velocity: of the mean and of the covariance. Batches broadcast.
    check : bool
        Verify that v is finite and symmetric.

    Returns
    -------
    MultivariateNormal
        At distance ``norm(a, v)`` along the geodesic, which exists for all times.

    Raises
    ------
    TypeError, ValueError
        Arguments of another kind; velocities that are not finite or not symmetric.

    Notes
    -----
    Evaluated in steps of length about 1 that start anew in coordinates in which the point reached
    is N(0, I): one step over a distance of 15 would lose 13 digits, steps lose what geodesics of
    negative curvature lose by diverging (5 digits). Differentiable in torch and jax; where values
    cannot be read (torch.func) 32 steps are taken, enough for norms up to 40.

    References
    ----------
    P. S. Eriksen, Geodesics connected with the Fisher metric on the multivariate normal
    manifold, 1987.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal, Tangent
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> exp_map(a, Tangent([0.0, 0.0], np.diag([1.0, -1.0]))).cov.round(6)
    array([[2.718282, 0.      ],
           [0.      , 0.367879]])
    """
    xp, a, v = gate(check, a=(MultivariateNormal, a), v=(Tangent, v))
    factor, x, B = in_frame(a, v, xp)
    center, root = flow(x, B, xp)
    root = xp.matmul(factor, root)
    mean = wide(a.mean, xp) + matvec(factor, center, xp)
    return normal_of(mean, xp.matmul(root, transposed(root)), a.mean, xp)


def in_frame(a: MultivariateNormal, v: Tangent, xp: Namespace) -> tuple[Array, Array, Array]:
    """Return the Cholesky factor of a and the velocity in the coordinates that make a N(0, I)."""
    factor = factor_of(a, xp)
    x = solve_lower_vector(factor, wide(v.mean, xp), xp)
    return factor, x, whitened(factor, wide(v.cov, xp), xp)


_NUM_TERMS = 10  # of the series of cosh and sinh: what is left out is below 1 / 20! at norm 1


def flow(x: Array, B: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return mean and a root of the covariance at time 1, from N(0, I) with velocity (x, B)."""
    x = x + 0.0 * B[..., 0]  # broadcast both to one batch
    B = B + 0.0 * x[..., None]
    num_steps = 32
    if _array.is_readable(x) and 0 not in x.shape:
        squares = (to_host(B) ** 2).sum((-2, -1)) + 2.0 * (to_host(x) ** 2).sum(-1)
        num_steps = max(1, math.ceil(math.sqrt(squares.max())))
    x, B = x / num_steps, B / num_steps
    mean, root = _step(x, B, xp)
    center, factor = mean, root
    for _ in range(num_steps - 1):
        # S^-1 dmu and dS S^-1 + mu (S^-1 dmu)' are conserved; root makes the point N(0, I).
        B = B - mean[..., :, None] * x[..., None, :]
        B = xp.matmul(xp.linalg.solve(root, B), root)
        x, B = matvec(transposed(root), x, xp), 0.5 * (B + transposed(B))
        mean, root = _step(x, B, xp)
        center, factor = center + matvec(factor, mean, xp), xp.matmul(factor, root)
    return center, factor


def _step(x: Array, B: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return mean and a root of the covariance at time 1, for velocities of norm about 1."""
    identity = xp.eye(x.shape[-1], dtype=x.dtype, device=_array.device_of(x)) + xp.zeros_like(B)
    Z = xp.matmul(B, B) + 2.0 * x[..., :, None] * x[..., None, :]
    cosh, sinh, rest = (identity / math.factorial(2 * _NUM_TERMS - 2 + k) for k in (0, 1, 2))
    for n in range(2 * _NUM_TERMS - 4, -1, -2):  # Horner's rule: n!, (n + 1)!, (n + 2)!
        cosh = xp.matmul(Z, cosh) + identity / math.factorial(n)
        sinh = xp.matmul(Z, sinh) + identity / math.factorial(n + 1)
        rest = xp.matmul(Z, rest) + identity / math.factorial(n + 2)
    B_sinh, B_rest = xp.matmul(B, sinh), xp.matmul(B, rest)
    precision = 0.5 * (identity + xp.matmul(B_rest, B) - B_sinh - transposed(B_sinh) + cosh)
    root = transposed(xp.linalg.inv(xp.linalg.cholesky(0.5 * (precision + transposed(precision)))))
    mean = matvec(root, matvec(transposed(root), matvec(sinh - B_rest, x, xp), xp), xp)
    return mean, root


finish(globals())
