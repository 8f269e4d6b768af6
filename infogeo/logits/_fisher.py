"""The Fisher information of logits as a matrix and as an operator."""

from __future__ import annotations

from infogeo import _array
from infogeo._array import LOGITS, VECTOR, Array, Namespace, bad_value, gate
from infogeo.typing import A, ArrayLike


def fisher_information(z: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the Fisher information matrix in logits, of rank c - 1.

    .. math:: F_{ij} = p_i \delta_{ij} - p_i p_j

    Parameters
    ----------
    z : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c, c)
        Its kernel is the constants. `apply_fisher` multiplies by it without forming it.

    Examples
    --------
    >>> fisher_information([0.0, 0.0])
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """
    xp, z = gate(check, z=(LOGITS, z))
    p = _array.softmax(z, xp)
    identity = xp.eye(p.shape[-1], dtype=p.dtype, device=_array.device_of(p))
    off_diagonal = -p[..., :, None] * p[..., None, :] * (1.0 - identity)
    # p (1 - p) cancels where p is near 1; the rest of the row has the digits.
    return off_diagonal - identity * xp.sum(off_diagonal, axis=-1, keepdims=True)


def apply_fisher(z: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Multiply a vector by the Fisher information matrix, in O(c).

    .. math:: F v = p (v - E_p[v])

    Parameters
    ----------
    z : array, shape (..., c)
    v : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        A vector with sum 0: the change dp of the probabilities.

    Examples
    --------
    >>> apply_fisher([0.0, 0.0], [1.0, 0.0])
    array([ 0.25, -0.25])
    """
    xp, z, v = gate(check, z=(LOGITS, z), v=(VECTOR, v))
    p = _array.softmax(z, xp)
    return p * score_of(p, v, xp)


def apply_inverse_fisher(z: ArrayLike[A], g: ArrayLike[A], *, check: bool = True) -> A:
    r"""Multiply a vector by the pseudo-inverse of the Fisher information matrix, in O(c).

    .. math:: F^+ g = \frac{\hat g}{p} - \frac1c \textstyle\sum_j \frac{\hat g_j}{p_j},
              \qquad \hat g = g - \frac1c \textstyle\sum_j g_j

    Parameters
    ----------
    z : array, shape (..., c)
        Logits along the last axis, all finite.
    g : array, shape (..., c)
        Vector of which the part orthogonal to the constants counts; a sum within rounding of 0
        is taken for 0. Leading axes broadcast.
    check : bool

    Returns
    -------
    array, shape (..., c)
        The solution of F v = g with sum zero.

    Examples
    --------
    >>> apply_inverse_fisher([0.0, 0.0], [0.25, -0.25])
    array([ 0.5, -0.5])
    """
    xp, z, g = gate(check, z=(LOGITS, z), g=(VECTOR, g))
    _require_unmasked(z, check, xp)
    g = _without_constant(g, xp)
    growth = -_array.log_softmax(z, xp)
    # 1 / p may overflow where g is 0, and g / p may although its differences do not.
    top = xp.max(xp.where(g != 0.0, growth, xp.zeros_like(g)), axis=-1, keepdims=True)
    v = g * xp.exp(_array.clip(growth - top, xp, max=40.0))
    return _array.times_exp(v - xp.mean(v, axis=-1, keepdims=True), top, xp)


def natural_gradient(z: ArrayLike[A], g: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the natural gradient of a loss, which is steepest in the Fisher metric, in O(c).

    .. math:: \tilde g = F^+ g

    Parameters
    ----------
    z : array, shape (..., c)
        Logits along the last axis, all finite.
    g : array, shape (..., c)
        Gradient of a loss with respect to the logits. It sums to 0 if the loss depends on the
        prediction only; what does not is left out. Leading axes broadcast.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Tangent vector with sum zero: the one that the metric pairs with v to g'v.

    References
    ----------
    S. Amari, Natural gradient works efficiently in learning, Neural Computation 10, 1998.

    Examples
    --------
    >>> natural_gradient([0.0, 0.0], [0.25, -0.25])
    array([ 0.5, -0.5])
    """
    return apply_inverse_fisher(z, g, check=check)


def _without_constant(g: Array, xp: Namespace) -> Array:
    """Return the part of g orthogonal to the constants, g itself if its sum is only rounding.

    The gradient of a loss is 0 at a class without probability and has to stay 0 there. A remainder
    of the mean would be divided by that probability and would be larger than the solution itself.
    """
    total = xp.sum(g, axis=-1, keepdims=True)
    size = xp.sum(xp.abs(g), axis=-1, keepdims=True)
    is_rounding = xp.abs(total) <= 32.0 * xp.finfo(g.dtype).eps * size
    return g - xp.where(is_rounding, xp.zeros_like(total), total / g.shape[-1])


def score_of(p: Array, v: Array, xp: Namespace) -> Array:
    """Return the representative of a tangent vector with mean 0 under p.

    It is computed from the differences to the most likely class, whose own difference from the
    mean would cancel where p is near 1. Classes without probability do not count, even if they are
    infinite.
    """
    is_top = is_largest(p, xp)
    top = xp.sum(xp.where(is_top, v, xp.zeros_like(v)), axis=-1, keepdims=True)
    difference = v - top
    counted = xp.where(p > 0.0, difference, xp.zeros_like(difference))
    return difference - xp.sum(p * counted, axis=-1, keepdims=True)


def is_largest(x: Array, xp: Namespace) -> Array:
    """Return flags for one largest entry of each row."""
    index = xp.arange(x.shape[-1], device=_array.device_of(x))
    return index == xp.argmax(x, axis=-1, keepdims=True)


def _require_unmasked(z: Array, check: bool, xp: Namespace) -> None:
    if check and _array.is_readable(z) and bool(xp.any(z == -xp.inf)):
        raise bad_value(
            "z", "be finite here", "it has masked classes", "Leave them out of the vectors."
        )
