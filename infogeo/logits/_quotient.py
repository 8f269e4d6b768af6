"""The quotient R^c/1: representatives of a point, and the way to and from probabilities."""

from __future__ import annotations

import math

from infogeo import _array
from infogeo._array import LOGITS, PROBABILITIES, Array, Namespace, bad_value, gate
from infogeo.typing import A, ArrayLike


def canonical(z: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the representative of logits with sum zero.

    .. math:: z_i - \frac1c \textstyle\sum_j z_j

    Parameters
    ----------
    z : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        The logits sum to 0, those of masked classes left out (see the module), which stay -inf
        or far below.

    Examples
    --------
    >>> canonical([1.0, 2.0, 3.0])
    array([-1.,  0.,  1.])
    """
    xp, z = gate(check, z=(LOGITS, z))
    return _array.centred(z, xp)


def to_simplex(z: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the probabilities of logits, by the softmax.

    .. math:: p_i = \exp(z_i) / \textstyle\sum_j \exp(z_j)

    Parameters
    ----------
    z : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        Probabilities; 0 for masked classes and where the exponential underflows.

    Examples
    --------
    >>> to_simplex([0.0, 0.0])
    array([0.5, 0.5])
    """
    xp, z = gate(check, z=(LOGITS, z))
    return _array.softmax(z, xp)


def sphere_embedding(z: ArrayLike[A], *, check: bool = True) -> A:
    r"""Map logits to the positive orthant of the sphere of radius 2, isometrically.

    .. math:: u_i = 2 \sqrt{p_i} = 2 \exp(\tfrac12 \log p_i)

    Parameters
    ----------
    z : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        Of Euclidean norm 2: `infogeo.simplex.sphere_embedding` of the probabilities, also of
        those that underflow and whose roots do not.

    Examples
    --------
    >>> sphere_embedding(np.log([0.25, 0.75])).round(6)
    array([1.      , 1.732051])
    """
    xp, z = gate(check, z=(LOGITS, z))
    return 2.0 * xp.exp(0.5 * _array.log_softmax(z, xp))


def from_simplex(p: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the logits of probabilities, with sum zero.

    .. math:: z_i = \log p_i - \frac1c \textstyle\sum_j \log p_j

    Parameters
    ----------
    p : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        Logits, -inf where p is 0.

    Examples
    --------
    >>> from_simplex([0.5, 0.5, 0.0])
    array([  0.,   0., -inf])
    """
    xp, p = gate(check, p=(PROBABILITIES, p))
    return _array.centred(_array.safe_log(p, xp), xp)


def quotient_norm(z: ArrayLike[A], *, order: float = 2, check: bool = True) -> A:
    r"""Return the norm of logits modulo constants, the least norm of a representative.

    .. math:: \min_a |z - a 1|

    attained at the mean (order 2), a median (1) and the mid-range (inf).

    Parameters
    ----------
    z : array, shape (..., c)
    order : {1, 2, inf}
        Which norm of R^c.
    check : bool

    Returns
    -------
    array, shape (...)
        In nats; inf if a class is masked.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; NaN, +inf or rows of -inf; another order.

    Examples
    --------
    >>> float(quotient_norm([0.0, 4.0], order=np.inf))
    2.0
    """
    if order not in (1, 2, math.inf):
        raise bad_value("order", "be 1, 2 or inf", f"got {order!r}")
    xp, z = gate(check, z=(LOGITS, z))
    is_masked = z == -xp.inf
    size = _quotient_norm(xp.where(is_masked, xp.zeros_like(z), z), order, xp)
    size = xp.where(xp.any(is_masked, axis=-1), xp.zeros_like(size) + xp.inf, size)
    return _array.as_number(size)


def _quotient_norm(z: Array, order: float, xp: Namespace) -> Array:
    largest, smallest = (f(z, axis=-1, keepdims=True) for f in (xp.max, xp.min))
    half = 0.5 * largest - 0.5 * smallest
    if order == math.inf:
        return half[..., 0]
    # In units of half the range nothing overflows before the norm itself does.
    unit = (z - largest) / xp.where(half > 0.0, half, xp.ones_like(half))
    if order == 2:
        size = _array.norm(unit - xp.mean(unit, axis=-1, keepdims=True), xp)
    else:
        ordered, num = xp.sort(unit, axis=-1), z.shape[-1] // 2
        upper = ordered[..., z.shape[-1] - num :]
        size = xp.sum(upper, axis=-1) - xp.sum(ordered[..., :num], axis=-1)
    with _array.overflowing(xp):
        return half[..., 0] * size


def dimension(z: ArrayLike[A], *, check: bool = True) -> int:
    """Return the number of parameters of the distributions.

    Parameters
    ----------
    z : array, shape (..., c)
        Logits along the last axis.
    check : bool

    Returns
    -------
    int
        One less than the number of classes: c - 1.

    Raises
    ------
    TypeError, ValueError
        Entries that are not logits.

    Examples
    --------
    >>> dimension([0.0, 1.0, -2.0])
    2
    """
    _, z = gate(check, z=(LOGITS, z))
    return int(z.shape[-1]) - 1
