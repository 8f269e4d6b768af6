"""Means of logits in e- and in m-coordinates."""

from __future__ import annotations

from infogeo import _array, _divergence
from infogeo._array import LOGITS, bad_value
from infogeo.typing import A, ArrayLike


def e_mean(
    points: ArrayLike[A], *, weights: ArrayLike[A] | None = None, axis: int = 0, check: bool = True
) -> A:
    r"""Return the mean in e-coordinates, which is the arithmetic mean of the logits.

    .. math:: \bar z = \sum_k w_k z_k

    Parameters
    ----------
    points : array, shape (..., n, ..., c)
        Logits along the last axis, -inf for a masked class.
    weights : array or None
    axis : int
    check : bool

    Returns
    -------
    array, shape (..., c)
        Logits with sum zero; a class is masked where a point of positive weight masks it.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; NaN, +inf or rows of -inf; weights without a positive sum;
        points without a common class.

    Examples
    --------
    >>> e_mean([[2.0, 0.0], [0.0, 0.0]])
    array([ 0.5, -0.5])
    """
    xp, points, weights = _array.gate_mean(check, LOGITS, points, weights, axis)
    # Masks by the smallest number may sum up to -inf, which masks as well.
    with _array.overflowing(xp):
        relative = points - xp.max(points, axis=-1, keepdims=True)
        mean = _array.weighted_sum(relative, weights, axis, xp)
    if check and _array.is_readable(mean) and bool(xp.any(xp.all(mean == -xp.inf, axis=-1))):
        raise bad_value(
            "points", "have a class in common for an e-mean", "every class is masked in one"
        )
    return _array.centred(mean, xp)


def m_mean(
    points: ArrayLike[A], *, weights: ArrayLike[A] | None = None, axis: int = 0, check: bool = True
) -> A:
    r"""Return the mean in m-coordinates: the logits of the arithmetic mean of the probabilities.

    .. math:: \bar z = \log \textstyle\sum_k w_k p_k

    Parameters
    ----------
    points : array, shape (..., n, ..., c)
        Logits along the last axis, -inf for a masked class.
    weights : array or None
    axis : int
    check : bool

    Returns
    -------
    array, shape (..., c)
        Logits with sum zero.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; NaN, +inf or rows of -inf; weights without a positive sum.

    Examples
    --------
    >>> m_mean([[0.0, -np.inf], [-np.inf, 0.0]])
    array([0., 0.])
    """
    xp, points, weights = _array.gate_mean(check, LOGITS, points, weights, axis)
    log_p = _array.log_softmax(points, xp)
    if weights is not None:
        log_p = log_p + _array.safe_log(weights, xp)[..., None]
    mean = _divergence.log_sum_exp(xp.moveaxis(log_p, axis, -1), xp)
    return _array.centred(mean, xp)
