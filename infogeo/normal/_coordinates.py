"""Natural and expectation parameters of normal distributions, and the Fisher information."""

import math

from infogeo import _array, _points
from infogeo._array import NEGATIVE, POSITIVE, REAL, Array, Namespace, gate
from infogeo._points import make
from infogeo.normal._point import Normal, Tangent


def dimension(a: Normal, *, check: bool = True) -> int:
    """Return the number of parameters of the distributions.

    Parameters
    ----------
    a : Normal
        One or a batch.
    check : bool

    Returns
    -------
    int
        2: the mean and the standard deviation.

    Raises
    ------
    TypeError, ValueError
        Something else than normals.

    Examples
    --------
    >>> dimension(Normal(0.0, 1.0))
    2
    """
    _points.gate(check, a=(Normal, a))
    return 2


def fisher_information(a: Normal, *, check: bool = True) -> Array:
    r"""Return the Fisher information matrix in (mean, std).

    .. math:: g = \frac{1}{\sigma^2} \begin{pmatrix} 1 & 0 \\ 0 & 2 \end{pmatrix}

    Parameters
    ----------
    a : Normal
        Where to take it.
    check : bool

    Returns
    -------
    array, shape (..., 2, 2)
        In the order mean, standard deviation.

    Examples
    --------
    >>> fisher_information(Normal(0.0, 0.5))
    array([[4., 0.],
           [0., 8.]])
    """
    xp, (_, std) = _points.gate(check, a=(Normal, a))
    like = {"dtype": std.dtype, "device": _array.device_of(std)}
    return (
        xp.asarray([[1.0, 0.0], [0.0, 2.0]], **like) / std[..., None, None] / std[..., None, None]
    )


def christoffel_symbols(a: Normal, *, check: bool = True) -> Array:
    r"""Return the Christoffel symbols of the Levi-Civita connection in (mean, std).

    .. math:: \Gamma^\mu_{\mu \sigma} = \Gamma^\sigma_{\sigma \sigma} = -\frac{1}{\sigma},
              \qquad \Gamma^\sigma_{\mu \mu} = \frac{1}{2 \sigma}

    Parameters
    ----------
    a : Normal
    check : bool

    Returns
    -------
    array, shape (..., 2, 2, 2)
        The upper index first; in the order mean, standard deviation.

    Examples
    --------
    >>> christoffel_symbols(Normal(0.0, 0.5))
    array([[[ 0., -2.],
            [-2.,  0.]],
           [[ 1.,  0.],
            [ 0., -2.]]])
    """
    xp, (_, std) = _points.gate(check, a=(Normal, a))
    like = {"dtype": std.dtype, "device": _array.device_of(std)}
    symbols = [[[0.0, -1.0], [-1.0, 0.0]], [[0.5, 0.0], [0.0, -1.0]]]
    return xp.asarray(symbols, **like) / std[..., None, None, None]


def sectional_curvature(a: Normal, u: Tangent, v: Tangent, *, check: bool = True) -> Array:
    """Return the curvature of the plane of normals.

    Parameters
    ----------
    a : Normal
    u, v : Tangent
        Two vectors at a: there is one plane.
    check : bool

    Returns
    -------
    array, shape (...)
        -1/2 everywhere.

    Examples
    --------
    >>> float(sectional_curvature(Normal(0.0, 0.5), Tangent(1.0, 0.0), Tangent(0.0, 1.0)))
    -0.5
    """
    xp, (_, std), (u, _), (v, _) = _points.gate(
        check, a=(Normal, a), u=(Tangent, u), v=(Tangent, v)
    )
    return _array.as_number(xp.zeros_like(std + u + v) - 0.5)


def natural_parameters(a: Normal, *, check: bool = True) -> tuple[Array, Array]:
    r"""Return the natural parameters (e-coordinates).

    .. math:: \theta_1 = \frac{\mu}{\sigma^2}, \qquad \theta_2 = -\frac{1}{2 \sigma^2}

    Parameters
    ----------
    a : Normal
    check : bool

    Returns
    -------
    theta_1 : array, shape (...)
        The factor of x in the logarithm of the density.
    theta_2 : array, shape (...)
        The factor of x^2.

    Examples
    --------
    >>> natural_parameters(Normal([0.0, 1.0], 0.5))
    (array([0., 4.]), array([-2., -2.]))
    """
    _, (mean, std) = _points.gate(check, a=(Normal, a))
    return mean / std / std, -0.5 / std / std


def from_natural_parameters(theta_1: Array, theta_2: Array, *, check: bool = True) -> Normal:
    r"""Build normal distributions from natural parameters.

    .. math:: \mu = -\frac{\theta_1}{2 \theta_2}, \qquad \sigma^2 = -\frac{1}{2 \theta_2}

    Parameters
    ----------
    theta_1 : array, shape (...)
        Mean over variance.
    theta_2 : array, shape (...)
        Minus 1 over twice the variance: negative. Broadcasts with theta_1.
    check : bool

    Returns
    -------
    Normal
        The inverse of `natural_parameters`.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; shapes that do not broadcast; values that are not finite,
        or theta_2 not negative.

    Examples
    --------
    >>> from_natural_parameters(4.0, -2.0)
    Normal(mean=1.0, std=0.5)
    """
    xp, theta_1, theta_2 = gate(check, theta_1=(REAL, theta_1), theta_2=(NEGATIVE, theta_2))
    _points.require_broadcast({"theta_1": tuple(theta_1.shape), "theta_2": tuple(theta_2.shape)})
    return make(Normal, -0.5 * theta_1 / theta_2, xp.sqrt(-0.5 / theta_2), xp=xp)


def expectation_parameters(a: Normal, *, check: bool = True) -> tuple[Array, Array]:
    r"""Return the expectation parameters (m-coordinates): the first two moments.

    .. math:: \eta_1 = \mu, \qquad \eta_2 = \mu^2 + \sigma^2

    Parameters
    ----------
    a : Normal
    check : bool

    Returns
    -------
    eta_1 : array, shape (...)
        E[x].
    eta_2 : array, shape (...)
        E[x^2].

    Examples
    --------
    >>> expectation_parameters(Normal([0.0, 3.0], [1.0, 4.0]))
    (array([0., 3.]), array([ 1., 25.]))
    """
    _, (mean, std) = _points.gate(check, a=(Normal, a))
    return mean, mean * mean + std * std


def from_expectation_parameters(eta_1: Array, eta_2: Array, *, check: bool = True) -> Normal:
    r"""Build normal distributions from expectation parameters.

    .. math:: \mu = \eta_1, \qquad \sigma^2 = \eta_2 - \eta_1^2

    Parameters
    ----------
    eta_1 : array, shape (...)
        E[x].
    eta_2 : array, shape (...)
        E[x^2], above eta_1^2. Broadcasts with eta_1.
    check : bool

    Returns
    -------
    Normal
        The inverse of `expectation_parameters`.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; shapes that do not broadcast; values that are not finite,
        or a variance that is not positive.

    Notes
    -----
    The variance is taken without the rounding of the square. That of E[x^2] itself, of eta_2 times
    the roundoff, is in the input: means that are large beside the standard deviation lose digits.

    Examples
    --------
    >>> from_expectation_parameters(3.0, 25.0)
    Normal(mean=3.0, std=4.0)
    """
    xp, eta_1, eta_2 = gate(check, eta_1=(REAL, eta_1), eta_2=(REAL, eta_2))
    _points.require_broadcast({"eta_1": tuple(eta_1.shape), "eta_2": tuple(eta_2.shape)})
    variance = _minus_square(eta_2, eta_1, xp)
    gate(check, **{"eta_2 - eta_1 ** 2": (POSITIVE, variance)})
    return make(Normal, eta_1, xp.sqrt(variance), xp=xp)


def _minus_square(y: Array, x: Array, xp: Namespace) -> Array:
    """Return y - x^2 without the rounding error of the square.

    x is split into two numbers of half as many bits, whose products are exact. The difference of
    numbers as close as y and x^2 is exact as well.
    """
    num_bits = 1 - round(math.log2(float(xp.finfo(x.dtype).eps)))
    scaled = x * (2.0 ** ((num_bits + 1) // 2) + 1.0)
    high = scaled - (scaled - x)
    low = x - high
    return ((y - high * high) - 2.0 * high * low) - low * low
