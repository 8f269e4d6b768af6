"""Means of probabilities in e- and in m-coordinates."""

from __future__ import annotations

from infogeo import _array
from infogeo._array import PROBABILITIES, bad_value
from infogeo.simplex._distance import normalised
from infogeo.typing import A, ArrayLike


def e_mean(
    points: ArrayLike[A], *, weights: ArrayLike[A] | None = None, axis: int = 0, check: bool = True
) -> A:
    r"""Return the mean in e-coordinates, which is the normalised geometric mean.

    .. math:: \bar p \propto \prod_k p_k^{w_k}

    It minimises :math:`\sum_k w_k \mathrm{KL}(p, p_k)` over p.

    Parameters
    ----------
    points : array, shape (..., n, ..., c)
        Probabilities along the last axis.
    weights : array or None
    axis : int
    check : bool

    Returns
    -------
    array, shape (..., c)
        Probabilities: 0 where a point of positive weight is 0.

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities; weights without a positive sum; points without a
        common outcome.

    Examples
    --------
    >>> e_mean([[0.8, 0.2], [0.2, 0.8]]).round(12)
    array([0.5, 0.5])
    """
    xp, points, weights = _array.gate_mean(check, PROBABILITIES, points, weights, axis)
    theta = _array.weighted_sum(_array.safe_log(points, xp), weights, axis, xp)
    if check and _array.is_readable(theta) and bool(xp.any(xp.all(theta == -xp.inf, axis=-1))):
        raise bad_value(
            "points", "have an outcome in common for an e-mean", "their supports are disjoint"
        )
    return _array.softmax(theta, xp)


def m_mean(
    points: ArrayLike[A], *, weights: ArrayLike[A] | None = None, axis: int = 0, check: bool = True
) -> A:
    r"""Return the mean in m-coordinates, which is the arithmetic mean.

    .. math:: \bar p = \sum_k w_k p_k

    It minimises :math:`\sum_k w_k \mathrm{KL}(p_k, p)` over p.

    Parameters
    ----------
    points : array, shape (..., n, ..., c)
        Probabilities along the last axis.
    weights : array or None
    axis : int
    check : bool

    Returns
    -------
    array, shape (..., c)
        Probabilities.

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities; weights without a positive sum.

    Examples
    --------
    >>> m_mean([[1.0, 0.0], [0.0, 1.0]], weights=[3.0, 1.0])
    array([0.75, 0.25])
    """
    xp, points, weights = _array.gate_mean(check, PROBABILITIES, points, weights, axis)
    return _array.weighted_sum(normalised(points, xp), weights, axis, xp)
