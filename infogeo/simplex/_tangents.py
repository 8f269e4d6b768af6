"""Tangent vectors of the simplex: inner product, transport, and two representations."""

from __future__ import annotations

from infogeo import _array
from infogeo._array import PROBABILITIES, TANGENT, VECTOR, Array, Namespace, bad_value, gate
from infogeo.simplex._distance import normalised
from infogeo.typing import A, ArrayLike


def on_sphere(p: Array, v: Array, check: bool, xp: Namespace) -> tuple[Array, Array, Array]:
    """Return sqrt p, the vector v / (2 sqrt p) tangent to the unit sphere there, and its norm."""
    root, score = _array.safe_sqrt(normalised(p, xp), xp), _score(p, v, check, xp)
    x = 0.5 * root * score
    return root + xp.zeros_like(x), x, _array.norm(x, xp)[..., None]


def _score(p: Array, v: Array, check: bool, xp: Namespace) -> Array:
    """Return the e-representation v / p, 0 where p is 0, with its mean under p removed."""
    is_zero = p == 0.0
    leaves_face = is_zero & (v != 0.0)
    if check and _array.is_readable(leaves_face) and bool(xp.any(leaves_face)):
        raise bad_value(
            "v", "be 0 where p is", "it leaves a face, where its Fisher norm is infinite"
        )
    p = normalised(p, xp)
    score = v / xp.where(is_zero, xp.ones_like(p), p)
    return xp.where(is_zero, score, score - xp.sum(v, axis=-1, keepdims=True))


def inner_product(p: ArrayLike[A], u: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the inner product of two tangent vectors in the Fisher metric.

    .. math:: g_p(u, v) = \sum_i \frac{u_i v_i}{p_i}

    Parameters
    ----------
    p : array, shape (..., c)
    u, v : array, shape (..., c)
        Tangent vectors: they sum to 0, and are 0 where p is. Leading axes broadcast.
    check : bool

    Returns
    -------
    array, shape (...)
        In squared radians.

    Examples
    --------
    >>> float(inner_product([0.5, 0.5], [1.0, -1.0], [0.5, -0.5]))
    2.0
    """
    xp, p, u, v = gate(check, p=(PROBABILITIES, p), u=(TANGENT, u), v=(TANGENT, v))
    first, second = _score(p, u, check, xp), _score(p, v, check, xp)
    return xp.sum(normalised(p, xp) * first * second, axis=-1)


def norm(p: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the length of a tangent vector in the Fisher metric.

    .. math:: |v|_p = \sqrt{\textstyle\sum_i v_i^2 / p_i}

    Parameters
    ----------
    p : array, shape (..., c)
    v : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        In radians of the sphere of radius 2.

    Examples
    --------
    >>> round(float(norm([0.5, 0.5], [0.5, -0.5])), 12)
    1.0
    """
    xp, p, v = gate(check, p=(PROBABILITIES, p), v=(TANGENT, v))
    return 2.0 * on_sphere(p, v, check, xp)[2][..., 0]


def parallel_transport(
    p: ArrayLike[A], q: ArrayLike[A], v: ArrayLike[A], *, check: bool = True
) -> A:
    r"""Transport a tangent vector from p to q along the Fisher-Rao geodesic (Levi-Civita).

    In the sphere chart :math:`x = \sqrt p, y = \sqrt q, \xi = v / (2 \sqrt p)`:

    .. math:: \xi \mapsto \xi - \frac{\langle y, \xi \rangle}{1 + \langle x, y \rangle} (x + y)

    Parameters
    ----------
    p, q : array, shape (..., c)
    v : array, shape (..., c)
        Tangent vector at p: sums to 0, and is 0 where p is.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Tangent vector at q with the same norm, for q inside p's own face.

    Examples
    --------
    >>> p, q, v = [0.2, 0.3, 0.5], [0.1, 0.6, 0.3], [0.1, 0.1, -0.2]
    >>> bool(np.isclose(norm(q, parallel_transport(p, q, v)), norm(p, v)))
    True
    """
    xp, p, q, v = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q), v=(TANGENT, v))
    x, xi, _ = on_sphere(p, v, check, xp)
    y = _array.safe_sqrt(normalised(q, xp), xp)
    along = xp.sum(y * xi, axis=-1, keepdims=True)
    return 2.0 * y * (xi - along / (1.0 + xp.sum(x * y, axis=-1, keepdims=True)) * (x + y))


def e_transport(p: ArrayLike[A], q: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Transport a tangent vector from p to q by the e-connection, the same along any path.

    The score v / p keeps its values up to its mean under q:

    .. math:: v \mapsto q \left(\frac{v}{p} - E_q\left[\frac{v}{p}\right]\right)

    Parameters
    ----------
    p, q : array, shape (..., c)
    v : array, shape (..., c)
        Tangent vector at p: sums to 0, and is 0 where p is.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Tangent vector at q.

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> e_transport([0.5, 0.5], [0.2, 0.8], [0.1, -0.1]).round(12)
    array([ 0.064, -0.064])
    """
    xp, p, q, v = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q), v=(TANGENT, v))
    score, q = _score(p, v, check, xp), normalised(q, xp)
    return q * (score - xp.sum(q * score, axis=-1, keepdims=True))


def m_transport(p: ArrayLike[A], q: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Transport a tangent vector from p to q by the m-connection: the same vector.

    Parameters
    ----------
    p, q : array, shape (..., c)
    v : array, shape (..., c)
        Tangent vector at p: sums to 0.
    check : bool

    Returns
    -------
    array, shape (..., c)
        v, broadcast against p and q.

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> m_transport([0.5, 0.5], [0.2, 0.8], [0.1, -0.1])
    array([ 0.1, -0.1])
    """
    xp, p, q, v = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q), v=(TANGENT, v))
    return v + xp.zeros_like(p + q)


def e_representation(p: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the score of a tangent vector, which is the derivative of log p along it.

    .. math:: s_i = v_i / p_i

    Parameters
    ----------
    p : array, shape (..., c)
    v : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        Of mean 0 under p; 0 where p is 0.

    Examples
    --------
    >>> e_representation([0.25, 0.75], [0.1, -0.1]).round(6)
    array([ 0.4     , -0.133333])
    """
    xp, p, v = gate(check, p=(PROBABILITIES, p), v=(TANGENT, v))
    return _score(p, v, check, xp)


def m_representation(p: ArrayLike[A], score: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the tangent vector of a score, which is the derivative of p.

    .. math:: v_i = p_i (s_i - E_p[s])

    Parameters
    ----------
    p : array, shape (..., c)
    score : array, shape (..., c)
        Derivative of the logits; a constant changes nothing. Leading axes broadcast.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Tangent vector: the inverse of `e_representation`.

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities or not finite.

    Examples
    --------
    >>> m_representation([0.5, 0.5], [2.0, 0.0])
    array([ 0.5, -0.5])
    """
    xp, p, score = gate(check, p=(PROBABILITIES, p), score=(VECTOR, score))
    p = normalised(p, xp)
    return p * (score - xp.sum(p * score, axis=-1, keepdims=True))
