"""The e- and the m-connection of multivariate normals: coordinates, straight lines, means."""

from typing import Any

from infogeo import _points
from infogeo._array import UNIT_INTERVAL, Array
from infogeo._points import make
from infogeo.multivariate_normal._metric import in_frame
from infogeo.multivariate_normal._point import (
    MultivariateNormal,
    Tangent,
    factor_of,
    gate,
    matvec,
    narrow,
    normal_of,
    precision_of,
    solve_lower,
    solve_lower_vector,
    transposed,
    wide,
)

# ---------------------------------------------------------------- coordinates


def natural_parameters(a: MultivariateNormal, *, check: bool = True) -> tuple[Array, Array]:
    r"""Return the natural parameters, in which e-geodesics are straight.

    .. math:: \theta_1 = S^{-1} \mu, \qquad \theta_2 = -\tfrac12 S^{-1}

    Parameters
    ----------
    a : MultivariateNormal
    check : bool

    Returns
    -------
    theta_1, theta_2 : array, shape (..., d) and (..., d, d)
        Coefficients of y and of y y' in the logarithm of the density.

    Raises
    ------
    TypeError

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> natural_parameters(MultivariateNormal([1.0], [[0.5]]))
    (array([2.]), array([[-1.]]))
    """
    xp, a = gate(False, a=(MultivariateNormal, a))
    precision = precision_of(a, xp)
    theta_1 = matvec(precision, wide(a.mean, xp), xp)
    return narrow(theta_1, a.mean, xp), narrow(-0.5 * precision, a.mean, xp)


def from_natural_parameters(
    theta_1: Array, theta_2: Array, *, check: bool = True
) -> MultivariateNormal:
    r"""Return the normal with given natural parameters.

    .. math:: S = (-2 \theta_2)^{-1}, \qquad \mu = S \theta_1

    Parameters
    ----------
    theta_1 : array, shape (..., d)
        Coefficient of y.
    theta_2 : array, shape (..., d, d)
        Coefficient of y y': symmetric, negative definite.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

    Returns
    -------
    MultivariateNormal
        The inverse of `natural_parameters`.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries or shapes; -2 theta_2 that is not positive definite.

    Examples
    --------
    >>> from_natural_parameters([2.0], [[-1.0]]).cov
    array([[0.5]])
    """
    xp, theta_1, theta_2 = _points.gate_fields(
        MultivariateNormal, check, theta_1=theta_1, theta_2=theta_2
    )
    try:
        inverse = MultivariateNormal(theta_1, -2.0 * theta_2, check=check)
        covariance = precision_of(inverse, xp)
    except ValueError as error:
        raise ValueError(f"theta_2 must make -2 theta_2 a precision matrix: {error}") from None
    mean = matvec(covariance, wide(inverse.mean, xp), xp)
    return normal_of(mean, covariance, theta_1, xp)


def expectation_parameters(a: MultivariateNormal, *, check: bool = True) -> tuple[Array, Array]:
    r"""Return the coordinates in which m-geodesics are straight.

    .. math:: \eta_1 = \mu, \qquad \eta_2 = S + \mu \mu'

    Parameters
    ----------
    a : MultivariateNormal
    check : bool

    Returns
    -------
    eta_1, eta_2 : array, shape (..., d) and (..., d, d)
        Expectations of y and of y y'.

    Raises
    ------
    TypeError

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> expectation_parameters(MultivariateNormal([2.0], [[1.0]]))
    (array([2.]), array([[5.]]))
    """
    gate(False, a=(MultivariateNormal, a))
    return a.mean, a.cov + a.mean[..., :, None] * a.mean[..., None, :]


def from_expectation_parameters(
    eta_1: Array, eta_2: Array, *, check: bool = True
) -> MultivariateNormal:
    r"""Return the normal with given expectation parameters.

    .. math:: \mu = \eta_1, \qquad S = \eta_2 - \eta_1 \eta_1'

    Parameters
    ----------
    eta_1 : array, shape (..., d)
        Expectation of y.
    eta_2 : array, shape (..., d, d)
        Expectation of y y'.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

    Returns
    -------
    MultivariateNormal
        The inverse of `expectation_parameters`.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries or shapes; moments of no normal distribution.

    Examples
    --------
    >>> from_expectation_parameters([2.0], [[5.0]]).cov
    array([[1.]])
    """
    _, eta_1, eta_2 = _points.gate_fields(MultivariateNormal, check, eta_1=eta_1, eta_2=eta_2)
    return MultivariateNormal(eta_1, eta_2 - eta_1[..., :, None] * eta_1[..., None, :], check=check)


# ---------------------------------------------------------------- straight lines and transports


def e_geodesic(
    a: MultivariateNormal, b: MultivariateNormal, t: Array, *, check: bool = True
) -> MultivariateNormal:
    r"""Return the point at t of the e-geodesic from a to b, straight in natural parameters.

    .. math:: S^{-1} = (1 - t) S_a^{-1} + t S_b^{-1}, \qquad
              S^{-1} \mu = (1 - t) S_a^{-1} \mu_a + t S_b^{-1} \mu_b

    Parameters
    ----------
    a, b : MultivariateNormal
    t : float or array
    check : bool
        Verify t.

    Returns
    -------
    MultivariateNormal
        A batch of shape t.shape + (...).

    Examples
    --------
    >>> import numpy as np
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([3.0, 0.0], np.eye(2) / 2)
    >>> e_geodesic(a, b, 0.5).mean
    array([2., 0.])
    """
    xp, a, b, t, like = _gate_time(a, b, t, check)
    S_a, S_b, L_a, L_b = (wide(a.cov, xp), wide(b.cov, xp), factor_of(a, xp), factor_of(b, xp))
    matrix_t = t[..., None]
    mixed = (1.0 - matrix_t) * S_b + matrix_t * S_a
    # S = S_a mixed^-1 S_b, written so that it is symmetric and positive to rounding.
    from_a = xp.matmul(transposed(L_a), xp.linalg.solve(mixed, S_b + xp.zeros_like(mixed)))
    from_b = xp.matmul(transposed(L_b), xp.linalg.solve(mixed, S_a + xp.zeros_like(mixed)))
    cov = (1.0 - matrix_t) * xp.matmul(transposed(from_a), from_a)
    cov = cov + matrix_t * xp.matmul(transposed(from_b), from_b)
    difference = wide(b.mean, xp) - wide(a.mean, xp)
    moved = xp.linalg.solve(mixed, (t * difference)[..., None])
    mean = wide(a.mean, xp) + xp.matmul(S_a, moved)[..., 0]
    return normal_of(mean, cov, like, xp)


def m_geodesic(
    a: MultivariateNormal, b: MultivariateNormal, t: Array, *, check: bool = True
) -> MultivariateNormal:
    r"""Return the point at t of the m-geodesic from a to b, straight in expectation parameters.

    .. math:: \mu = (1 - t) \mu_a + t \mu_b, \qquad
              S = (1 - t) S_a + t S_b + t (1 - t) (\mu_b - \mu_a)(\mu_b - \mu_a)'

    Parameters
    ----------
    a, b : MultivariateNormal
    t : float or array
    check : bool
        Verify t.

    Returns
    -------
    MultivariateNormal
        A batch of shape t.shape + (...): the normals with the moments of the mixtures.

    Examples
    --------
    >>> import numpy as np
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([-1.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([1.0, 0.0], np.eye(2))
    >>> m_geodesic(a, b, 0.5).cov
    array([[2., 0.],
           [0., 1.]])
    """
    xp, a, b, t, like = _gate_time(a, b, t, check)
    mean_a, difference = wide(a.mean, xp), wide(b.mean, xp) - wide(a.mean, xp)
    spread = difference[..., :, None] * difference[..., None, :]
    s = t[..., None]
    cov = (1.0 - s) * wide(a.cov, xp) + s * wide(b.cov, xp) + s * (1.0 - s) * spread
    return normal_of(mean_a + t * difference, cov, like, xp)


def _gate_time(
    a: MultivariateNormal, b: MultivariateNormal, t: Array, check: bool
) -> tuple[Any, ...]:
    """Return the namespace, the pair, t with its axes before those of the means, and a dtype."""
    xp, a, b, t = gate(
        check, a=(MultivariateNormal, a), b=(MultivariateNormal, b), t=(UNIT_INTERVAL, t)
    )
    num_axes = max(len(a.mean.shape), len(b.mean.shape))
    return xp, a, b, xp.reshape(wide(t, xp), (*t.shape, *(1,) * num_axes)), a.mean


def e_transport(
    a: MultivariateNormal, b: MultivariateNormal, v: Tangent, *, check: bool = True
) -> Tangent:
    r"""Transport a tangent vector from a to b by the e-connection: natural velocities stay.

    .. math:: S_b^{-1} w_S S_b^{-1} = S_a^{-1} v_S S_a^{-1}

    Parameters
    ----------
    a, b : MultivariateNormal
    v : Tangent
        Velocity at a.
    check : bool
        Verify that the velocity is finite and symmetric.

    Returns
    -------
    Tangent
        Velocity at b with the same velocity of the natural parameters.

    Raises
    ------
    TypeError, ValueError
        As `exp_map` and `fisher_rao_distance`.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal, Tangent
    >>> a = MultivariateNormal([0.0], [[1.0]])
    >>> b = MultivariateNormal([0.0], [[2.0]])
    >>> e_transport(a, b, Tangent([1.0], [[1.0]])).cov
    array([[4.]])
    """
    xp, a, b, v = gate(check, a=(MultivariateNormal, a), b=(MultivariateNormal, b), v=(Tangent, v))
    # d(S^-1) = -S^-1 dS S^-1 and d(S^-1 mu) = S^-1 (dmu - dS S^-1 mu)
    L_a, x, B = in_frame(a, v, xp)
    ratio = solve_lower(L_a, factor_of(b, xp), xp)  # S_a^-1 = L_a^-T L_a^-1
    C = xp.matmul(transposed(ratio), xp.matmul(B, ratio))
    difference = solve_lower_vector(L_a, wide(b.mean, xp) - wide(a.mean, xp), xp)
    y = matvec(transposed(ratio), x + matvec(B, difference, xp), xp)
    L_b = factor_of(b, xp)
    cov = xp.matmul(L_b, xp.matmul(C, transposed(L_b)))
    mean = matvec(L_b, y, xp)
    cov = 0.5 * (cov + transposed(cov))
    return make(Tangent, narrow(mean, a.mean, xp), narrow(cov, a.mean, xp), xp=xp)


def m_transport(
    a: MultivariateNormal, b: MultivariateNormal, v: Tangent, *, check: bool = True
) -> Tangent:
    r"""Transport a tangent vector from a to b by the m-connection: expectation velocities stay.

    .. math:: w_\mu = v_\mu, \qquad w_S = v_S - v_\mu (\mu_b - \mu_a)' - (\mu_b - \mu_a) v_\mu'

    Parameters
    ----------
    a, b : MultivariateNormal
    v : Tangent
        Velocity at a.
    check : bool
        Verify that the velocity is finite and symmetric.

    Returns
    -------
    Tangent
        Velocity at b with the same velocity of the first and second moments.

    Raises
    ------
    TypeError, ValueError
        As `exp_map` and `fisher_rao_distance`.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal, Tangent
    >>> a = MultivariateNormal([0.0], [[1.0]])
    >>> b = MultivariateNormal([2.0], [[1.0]])
    >>> m_transport(a, b, Tangent([1.0], [[1.0]])).cov
    array([[-3.]])
    """
    xp, a, b, v = gate(check, a=(MultivariateNormal, a), b=(MultivariateNormal, b), v=(Tangent, v))
    x, difference = wide(v.mean, xp), wide(b.mean, xp) - wide(a.mean, xp)
    outer = x[..., :, None] * difference[..., None, :]
    cov = wide(v.cov, xp) - outer - transposed(outer)
    mean = x + xp.zeros_like(difference)
    return make(Tangent, narrow(mean, a.mean, xp), narrow(cov, a.mean, xp), xp=xp)


# ---------------------------------------------------------------- means


def e_mean(
    points: MultivariateNormal, *, weights: Array | None = None, axis: int = 0, check: bool = True
) -> MultivariateNormal:
    r"""Return the mean of the e-connection, the average of the natural parameters.

    .. math:: S^{-1} = \textstyle\sum_k w_k S_k^{-1}, \qquad
              \mu = S \textstyle\sum_k w_k S_k^{-1} \mu_k

    Parameters
    ----------
    points : MultivariateNormal
        A batch.
    weights : array or None
        Not negative, of shape (n,) or one that broadcasts to the batch; divided by their sum.
    axis : int
    check : bool
        Verify the weights.

    Returns
    -------
    MultivariateNormal
        The minimiser of the weighted sum of KL(mean, point): the normalised geometric mean.

    Raises
    ------
    TypeError, ValueError
        Points that are no batch; weights without a positive sum.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> points = MultivariateNormal([[0.0], [3.0]], [[[1.0]], [[0.5]]])
    >>> e_mean(points).mean
    array([2.])
    """
    xp, (mean, cov), weights = _points.gate_mean(check, MultivariateNormal, points, weights, axis)
    axis = int(axis)
    like = mean
    mean, cov, weights = (wide(x, xp) for x in (mean, cov, weights))
    each = make(MultivariateNormal, mean, cov)
    precision = precision_of(each, xp)
    start = xp.sum(weights[..., None] * mean, axis=axis, keepdims=True)  # no digits lost far off 0
    pull = matvec(precision, mean - start, xp)
    precision = xp.sum(weights[..., None, None] * precision, axis=axis)
    average = make(MultivariateNormal, xp.sum(weights[..., None] * pull, axis=axis), precision)
    covariance = precision_of(average, xp)
    mean = xp.squeeze(start, axis=axis) + matvec(covariance, average.mean, xp)
    return normal_of(mean, covariance, like, xp)


def m_mean(
    points: MultivariateNormal, *, weights: Array | None = None, axis: int = 0, check: bool = True
) -> MultivariateNormal:
    r"""Return the mean of the m-connection, which keeps the average moments.

    .. math:: \mu = \textstyle\sum_k w_k \mu_k, \qquad
              S = \textstyle\sum_k w_k (S_k + (\mu_k - \mu)(\mu_k - \mu)')

    Parameters
    ----------
    points : MultivariateNormal
        A batch.
    weights : array or None
        Not negative, of shape (n,) or one that broadcasts to the batch; divided by their sum.
    axis : int
    check : bool
        Verify the weights.

    Returns
    -------
    MultivariateNormal
        The minimiser of the weighted sum of KL(point, mean): it has mean and covariance of the
        mixture.

    Raises
    ------
    TypeError, ValueError
        As `e_mean`.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> points = MultivariateNormal([[-1.0], [1.0]], [[[1.0]], [[1.0]]])
    >>> m_mean(points).cov
    array([[2.]])
    """
    xp, (mean, cov), weights = _points.gate_mean(check, MultivariateNormal, points, weights, axis)
    axis = int(axis)
    like = mean
    mean, cov, weights = (wide(x, xp) for x in (mean, cov, weights))
    center = xp.sum(weights[..., None] * mean, axis=axis, keepdims=True)
    offset = mean - center
    spread = cov + offset[..., :, None] * offset[..., None, :]
    cov = xp.sum(weights[..., None, None] * spread, axis=axis)
    return normal_of(xp.squeeze(center, axis=axis), cov, like, xp)
