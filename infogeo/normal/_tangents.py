"""Tangent vectors of normal distributions: their inner product and their transport."""

from infogeo import _points
from infogeo._array import Array
from infogeo._points import make
from infogeo.normal._distance import ROOT_2, hypot
from infogeo.normal._point import Normal, Tangent


def inner_product(a: Normal, u: Tangent, v: Tangent, *, check: bool = True) -> Array:
    r"""Return the Fisher metric of two tangent vectors.

    .. math:: g_a(u, v) = \frac{u_\mu v_\mu + 2 u_\sigma v_\sigma}{\sigma_a^2}

    Parameters
    ----------
    a : Normal
        Where the vectors are attached.
    u, v : Tangent
        All batch axes broadcast.
    check : bool

    Returns
    -------
    array, shape (...)
        In squared units of the Fisher metric.

    Examples
    --------
    >>> float(inner_product(Normal(0.0, 2.0), Tangent(2.0, 1.0), Tangent(0.0, 2.0)))
    1.0
    """
    _, (_, std), (u_mean, u_std), (v_mean, v_std) = _points.gate(
        check, a=(Normal, a), u=(Tangent, u), v=(Tangent, v)
    )
    return (u_mean / std) * (v_mean / std) + 2.0 * (u_std / std) * (v_std / std)


def norm(a: Normal, v: Tangent, *, check: bool = True) -> Array:
    r"""Return the Fisher norm of a tangent vector.

    .. math:: |v|_a = \frac{\sqrt{v_\mu^2 + 2 v_\sigma^2}}{\sigma_a}

    Parameters
    ----------
    a : Normal
        Where the vector is attached.
    v : Tangent
        The batch axes broadcast.
    check : bool

    Returns
    -------
    array, shape (...)
        In units of the Fisher metric.

    Examples
    --------
    >>> float(norm(Normal(0.0, 2.0), Tangent(2.0, 0.0)))
    1.0
    """
    xp, (_, std), (v_mean, v_std) = _points.gate(check, a=(Normal, a), v=(Tangent, v))
    return hypot(v_mean / std, ROOT_2 * (v_std / std), xp)


def parallel_transport(a: Normal, b: Normal, v: Tangent, *, check: bool = True) -> Tangent:
    r"""Transport a tangent vector from a to b along the Fisher-Rao geodesic (Levi-Civita).

    In units of the standard deviation a vector :math:`(v_\mu / \sqrt 2, v_\sigma) / \sigma` turns
    by the angle that the geodesic, a half circle, sweeps:

    .. math:: 2 \arctan \frac{(\mu_b - \mu_a) / \sqrt 2}{\sigma_a + \sigma_b}

    Parameters
    ----------
    a, b : Normal
    v : Tangent
    check : bool

    Returns
    -------
    Tangent
        At b, of the same norm.

    Examples
    --------
    >>> parallel_transport(Normal(0.0, 1.0), Normal(0.0, 3.0), Tangent(1.0, 1.0))
    Tangent(mean=3.0, std=3.0)
    """
    xp, (mean_a, std_a), (mean_b, std_b), (v_mean, v_std) = _points.gate(
        check, a=(Normal, a), b=(Normal, b), v=(Tangent, v)
    )
    x, total = (mean_b - mean_a) / ROOT_2, std_a + std_b
    across = xp.hypot(x, total)
    sine, cosine = x / across, total / across  # of half the angle
    sine, cosine = 2.0 * sine * cosine, (cosine - sine) * (cosine + sine)
    first, second = v_mean / std_a / ROOT_2, v_std / std_a
    turned = cosine * first + sine * second, cosine * second - sine * first
    return make(Tangent, ROOT_2 * std_b * turned[0], std_b * turned[1], xp=xp)


def e_transport(a: Normal, b: Normal, v: Tangent, *, check: bool = True) -> Tangent:
    r"""Transport a tangent vector from a to b by the e-connection (path-independent).

    The velocity of the natural parameters stays. With :math:`r = \sigma_b / \sigma_a`:

    .. math:: (v_\mu, v_\sigma) \mapsto \left(r^2 \left(v_\mu + 2 \frac{\mu_b - \mu_a}{\sigma_a}
              v_\sigma\right), \; r^3 v_\sigma\right)

    Parameters
    ----------
    a, b : Normal
    v : Tangent
    check : bool

    Returns
    -------
    Tangent
        At b.

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> e_transport(Normal(0.0, 1.0), Normal(1.0, 2.0), Tangent(1.0, 1.0))
    Tangent(mean=12.0, std=8.0)
    """
    xp, (mean_a, std_a), (mean_b, std_b), (v_mean, v_std) = _points.gate(
        check, a=(Normal, a), b=(Normal, b), v=(Tangent, v)
    )
    ratio = std_b / std_a
    mean = ratio * ratio * (v_mean + 2.0 * ((mean_b - mean_a) / std_a) * v_std)
    return make(Tangent, mean, ratio * ratio * ratio * v_std, xp=xp)


def m_transport(a: Normal, b: Normal, v: Tangent, *, check: bool = True) -> Tangent:
    r"""Transport a tangent vector from a to b by the m-connection (path-independent).

    The velocity of the expectation parameters stays:

    .. math:: (v_\mu, v_\sigma) \mapsto \left(v_\mu, \;
              \frac{\sigma_a v_\sigma - (\mu_b - \mu_a) v_\mu}{\sigma_b}\right)

    Parameters
    ----------
    a, b : Normal
    v : Tangent
    check : bool

    Returns
    -------
    Tangent
        At b.

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> m_transport(Normal(0.0, 1.0), Normal(1.0, 2.0), Tangent(1.0, 3.0))
    Tangent(mean=1.0, std=1.0)
    """
    xp, (mean_a, std_a), (mean_b, std_b), (v_mean, v_std) = _points.gate(
        check, a=(Normal, a), b=(Normal, b), v=(Tangent, v)
    )
    std = (std_a / std_b) * v_std - ((mean_b - mean_a) / std_b) * v_mean
    return make(Tangent, v_mean + xp.zeros_like(std), std, xp=xp)
