"""Means of normal distributions in e- and in m-coordinates."""

from infogeo import _points
from infogeo._array import Array, Namespace
from infogeo._points import make
from infogeo.normal._distance import hypot
from infogeo.normal._point import Normal


def e_mean(
    points: Normal, *, weights: Array | None = None, axis: int = 0, check: bool = True
) -> Normal:
    r"""Return the mean in e-coordinates, the weighted mean of the natural parameters.

    .. math:: \frac{1}{\bar\sigma^2} = \sum_k \frac{w_k}{\sigma_k^2}, \qquad
              \bar\mu = \bar\sigma^2 \sum_k \frac{w_k \mu_k}{\sigma_k^2}

    It minimises :math:`\sum_k w_k \mathrm{KL}(p, p_k)` over p.

    Parameters
    ----------
    points : Normal
        Of shape (..., n, ...).
    weights : array or None
        Not negative, of shape (n,) or one that broadcasts to the batch axes of the points;
        divided by their sum. None: equal weights.
    axis : int
    check : bool

    Returns
    -------
    Normal
        Without that axis: the normalised geometric mean of the densities.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; no points; weights without a positive sum.

    Examples
    --------
    >>> e_mean(Normal([0.0, 4.0], 1.0), weights=[3.0, 1.0])
    Normal(mean=1.0, std=1.0)
    """
    xp, (mean, std), weights = _points.gate_mean(check, Normal, points, weights, axis)
    axis = int(axis)
    low = xp.min(xp.where(weights > 0.0, std, xp.inf), axis=axis, keepdims=True)
    precision = weights * (low / xp.where(weights > 0.0, std, low)) ** 2
    total = xp.sum(precision, axis=axis, keepdims=True)
    mean, _ = _centred(mean, precision / total, axis, xp)
    return make(
        Normal, xp.squeeze(mean, axis=axis), xp.squeeze(low / xp.sqrt(total), axis=axis), xp=xp
    )


def m_mean(
    points: Normal, *, weights: Array | None = None, axis: int = 0, check: bool = True
) -> Normal:
    r"""Return the normal that has the mean and the variance of the mixture.

    .. math:: \bar\mu = \sum_k w_k \mu_k, \qquad
              \bar\sigma^2 = \sum_k w_k (\sigma_k^2 + (\mu_k - \bar\mu)^2)

    It minimises :math:`\sum_k w_k \mathrm{KL}(p_k, p)` over p.

    Parameters
    ----------
    points : Normal
        Of shape (..., n, ...).
    weights : array or None
        Not negative, of shape (n,) or one that broadcasts to the batch axes of the points;
        divided by their sum. None: equal weights.
    axis : int
    check : bool

    Returns
    -------
    Normal
        Without that axis.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; no points; weights without a positive sum.

    Examples
    --------
    >>> m_mean(Normal([-3.0, 3.0], 4.0))
    Normal(mean=0.0, std=5.0)
    """
    xp, (mean, std), weights = _points.gate_mean(check, Normal, points, weights, axis)
    axis = int(axis)
    mean, deviation = _centred(mean, weights, axis, xp)
    size = hypot(std, deviation, xp)
    size = xp.where(weights > 0.0, size, xp.zeros_like(size))
    unit = xp.max(size, axis=axis, keepdims=True)
    squared = xp.sum(weights * (size / unit) ** 2, axis=axis, keepdims=True)
    return make(
        Normal, xp.squeeze(mean, axis=axis), xp.squeeze(unit * xp.sqrt(squared), axis=axis), xp=xp
    )


def _centred(x: Array, weights: Array, axis: int, xp: Namespace) -> tuple[Array, Array]:
    """Return the mean with weights of sum 1, and the deviations from it, to all their digits."""
    mean = xp.sum(weights * x, axis=axis, keepdims=True)
    mean = mean + xp.sum(weights * (x - mean), axis=axis, keepdims=True)
    return mean, x - mean
