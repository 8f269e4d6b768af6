"""Tangent vectors of logits: their inner product and their transport."""

from __future__ import annotations

from infogeo import _array
from infogeo._array import LOGITS, VECTOR, bad_value, gate
from infogeo.logits._distance import log_ratio_of, normalised, unnormalised
from infogeo.logits._fisher import score_of
from infogeo.logits._geodesics import finite_where_masked, polar
from infogeo.typing import A, ArrayLike


def inner_product(z: ArrayLike[A], u: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the inner product of two tangent vectors, which is their covariance under p.

    .. math:: g_z(u, v) = E_p[u v] - E_p[u] E_p[v]

    Parameters
    ----------
    z : array, shape (..., c)
    u, v : array, shape (..., c)
        Tangent vectors: changes of the logits, up to constants. Leading axes broadcast.
    check : bool

    Returns
    -------
    array, shape (...)
        In squared radians of the sphere of radius 2.

    Examples
    --------
    >>> float(inner_product([0.0, 0.0], [1.0, -1.0], [1.0, -1.0]))
    1.0
    """
    xp, z, u, v = gate(check, z=(LOGITS, z), u=(VECTOR, u), v=(VECTOR, v))
    p = _array.softmax(z, xp)
    return xp.sum(p * score_of(p, u, xp) * score_of(p, v, xp), axis=-1)


def norm(z: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the length of a tangent vector, which is its standard deviation under p.

    .. math:: |v|_z = \sqrt{E_p[(v - E_p[v])^2]}

    Parameters
    ----------
    z : array, shape (..., c)
    v : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        In radians of the sphere of radius 2.

    Examples
    --------
    >>> round(float(norm([0.0, 0.0], [1.0, -1.0])), 12)
    1.0
    """
    xp, z, v = gate(check, z=(LOGITS, z), v=(VECTOR, v))
    return _array.as_number(polar(z, v, xp)[2][..., 0])


def parallel_transport(
    z: ArrayLike[A], w: ArrayLike[A], v: ArrayLike[A], *, check: bool = True
) -> A:
    r"""Transport a tangent vector from z to w along the Fisher-Rao geodesic (Levi-Civita).

    With :math:`x = \sqrt p, y = \sqrt q, \xi = x s / 2`, s the score of v:

    .. math:: \xi \mapsto \xi - \frac{\langle y, \xi \rangle}{1 + \langle x, y \rangle} (x + y)

    Parameters
    ----------
    z, w : array, shape (..., c)
    v : array, shape (..., c)
        Tangent vector at z: a change of the logits, up to a constant.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Tangent vector at w with mean 0 under q and the same norm.

    Examples
    --------
    >>> z, w, v = [0.0, 1.0, 2.0], [1.0, 0.0, 0.0], [1.0, 0.0, 2.0]
    >>> bool(np.isclose(norm(w, parallel_transport(z, w, v)), norm(z, v)))
    True
    """
    xp, z, w, v = gate(check, z=(LOGITS, z), w=(LOGITS, w), v=(VECTOR, v))
    p, q = _array.softmax(z, xp), _array.softmax(w, xp)
    root_p, root_q = (normalised(unnormalised(x, xp), xp) for x in (z, w))
    score = score_of(p, v, xp)
    along = xp.sum(root_p * root_q * score, axis=-1, keepdims=True)
    along = along / (1.0 + xp.sum(root_p * root_q, axis=-1, keepdims=True))
    moved = _array.times_exp(score - along, 0.5 * log_ratio_of(z, w, xp), xp)
    moved = score_of(q, finite_where_masked(moved, w, xp), xp)  # - along would cancel
    return xp.where(w > -xp.inf, moved, xp.zeros_like(moved))


def e_transport(z: ArrayLike[A], w: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Transport a tangent vector from z to w by the e-connection: the same change of logits.

    .. math:: v \mapsto v - E_q[v]

    Parameters
    ----------
    z, w : array, shape (..., c)
    v : array, shape (..., c)
        Tangent vector at z: a change of the logits, up to a constant.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Tangent vector at w with mean 0 under q.

    Examples
    --------
    >>> e_transport([1.0, 0.0], [0.0, 0.0], [1.0, 0.0])
    array([ 0.5, -0.5])
    """
    xp, z, w, v = gate(check, z=(LOGITS, z), w=(LOGITS, w), v=(VECTOR, v))
    return score_of(_array.softmax(w, xp), v, xp) + xp.zeros_like(z)


def m_transport(z: ArrayLike[A], w: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Transport a tangent vector from z to w by the m-connection: the same change of p.

    .. math:: v \mapsto \frac{p}{q} (v - E_p[v])

    Parameters
    ----------
    z, w : array, shape (..., c)
    v : array, shape (..., c)
        Tangent vector at z: a change of the logits, up to a constant.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Tangent vector at w with mean 0 under q.

    Examples
    --------
    >>> m_transport([0.0, 0.0], [0.0, 0.0], [1.0, 0.0])
    array([ 0.5, -0.5])
    """
    xp, z, w, v = gate(check, z=(LOGITS, z), w=(LOGITS, w), v=(VECTOR, v))
    score = score_of(_array.softmax(z, xp), v, xp)
    leaves_face = (w == -xp.inf) & (z > -xp.inf) & (score != 0.0)
    if check and _array.is_readable(leaves_face) and bool(xp.any(leaves_face)):
        raise bad_value(
            "w",
            "have the classes of z that v changes",
            "it masks one of them, where the same change of p leaves a face",
        )
    return finite_where_masked(_array.times_exp(score, log_ratio_of(z, w, xp), xp), z, xp)
