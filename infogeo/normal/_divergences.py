"""Entropy, divergences and the Hellinger distance of normal distributions."""

import math

from infogeo import _array, _points
from infogeo._array import Array, Namespace
from infogeo.normal._distance import EXP, hypot, sum_of_series
from infogeo.normal._point import Normal


def entropy(a: Normal, *, check: bool = True) -> Array:
    r"""Return the differential entropy.

    .. math:: H(a) = \tfrac12 \log(2 \pi e) + \log \sigma

    Parameters
    ----------
    a : Normal
    check : bool

    Returns
    -------
    array, shape (...)
        In nats; negative for small standard deviations.

    Examples
    --------
    >>> round(float(entropy(Normal(0.0, 1.0))), 6)
    1.418939
    """
    xp, (_, std) = _points.gate(check, a=(Normal, a))
    return 0.5 * (1.0 + math.log(2.0 * math.pi)) + xp.log(std)


def kl_divergence(a: Normal, b: Normal, *, check: bool = True) -> Array:
    r"""Return the Kullback-Leibler divergence.

    .. math:: \mathrm{KL}(a, b) = \frac12 \left(e^{-l} - 1 + l
              + \frac{(\mu_a - \mu_b)^2}{\sigma_b^2}\right), \qquad l = 2 \log
              \frac{\sigma_b}{\sigma_a}

    Parameters
    ----------
    a, b : Normal
    check : bool

    Returns
    -------
    array, shape (...)
        In nats; inf where it overflows.

    Notes
    -----
    Both terms are evaluated to full relative precision, however near the points are.

    References
    ----------
    S. Kullback and R. A. Leibler, On information and sufficiency, Ann. Math. Stat. 22, 1951.

    Examples
    --------
    >>> float(kl_divergence(Normal(0.0, 1.0), Normal(3.0, 1.0)))
    4.5
    """
    xp, (mean_a, std_a), (mean_b, std_b) = _points.gate(check, a=(Normal, a), b=(Normal, b))
    exponent = -2.0 * _log_ratio(std_a, std_b, xp)  # y in e^y - 1 - y, e^y = (std_a / std_b)^2
    is_near = xp.abs(exponent) < 1.0
    near = exponent * exponent * sum_of_series(EXP, exponent, is_near, xp)
    far = _squared_ratio(std_a, std_b, xp) - 1.0 - exponent
    by_mean = _squared_ratio(mean_b - mean_a, std_b, xp)
    return 0.5 * (xp.where(is_near, near, far) + by_mean)


def jeffreys_divergence(a: Normal, b: Normal, *, check: bool = True) -> Array:
    r"""Return the Jeffreys divergence, the sum of the two Kullback-Leibler divergences.

    .. math:: J(a, b) = \frac12 \left(\frac{\sigma_a}{\sigma_b} - \frac{\sigma_b}{\sigma_a}\right)^2
              + \frac{(\mu_a - \mu_b)^2}{2} \left(\frac{1}{\sigma_a^2} + \frac{1}{\sigma_b^2}\right)

    Parameters
    ----------
    a, b : Normal
    check : bool

    Returns
    -------
    array, shape (...)
        In nats; inf where it overflows.

    References
    ----------
    H. Jeffreys, An invariant form for the prior probability in estimation problems,
    Proc. Roy. Soc. A 186, 1946.

    Examples
    --------
    >>> float(jeffreys_divergence(Normal(0.0, 1.0), Normal(3.0, 1.0)))
    9.0
    """
    xp, (mean_a, std_a), (mean_b, std_b) = _points.gate(check, a=(Normal, a), b=(Normal, b))
    difference, low = mean_b - mean_a, xp.minimum(std_a, std_b)
    high = xp.maximum(std_a, std_b)
    # (high - low) (high + low) / (high low)
    by_std = _squared_ratio((std_b - std_a) * (1.0 + low / high), low, xp)
    by_mean = _squared_ratio(difference, std_a, xp) + _squared_ratio(difference, std_b, xp)
    return 0.5 * (by_std + by_mean)


def hellinger_distance(a: Normal, b: Normal, *, check: bool = True) -> Array:
    r"""Return the Hellinger distance, in [0, 1].

    .. math:: H(a, b)^2 = 1 - \sqrt{\frac{2 \sigma_a \sigma_b}{\sigma_a^2 + \sigma_b^2}}
              \exp\left(-\frac{(\mu_a - \mu_b)^2}{4 (\sigma_a^2 + \sigma_b^2)}\right)

    Parameters
    ----------
    a, b : Normal
    check : bool

    Returns
    -------
    array, shape (...)
        Not squared.

    Notes
    -----
    With squared differences in units of the standard deviations and log1p and expm1 in place of
    powers, near points keep their digits. The gradient at a = b, where the distance has a cone, is
    0.

    Examples
    --------
    >>> round(float(hellinger_distance(Normal(0.0, 1.0), Normal(0.0, 2.0))) ** 2, 6)
    0.105573
    """
    xp, (mean_a, std_a), (mean_b, std_b) = _points.gate(check, a=(Normal, a), b=(Normal, b))
    root = xp.sqrt(std_a) * xp.sqrt(std_b)
    by_std = _capped_ratio(std_b - std_a, root, xp)
    by_mean = _capped_ratio(mean_b - mean_a, xp.hypot(std_a, std_b), xp)
    size = 0.5 * hypot(by_std, by_mean, xp)  # H, but for its square
    is_tiny = size * size < float(xp.finfo(size.dtype).eps)
    by_std = xp.where(is_tiny, xp.ones_like(size), by_std)
    affinity = -0.5 * xp.log1p(0.5 * by_std**2) - 0.25 * by_mean**2  # its logarithm
    return _array.as_number(xp.where(is_tiny, size, xp.sqrt(-_array.expm1(affinity, xp))))


def _log_ratio(std_a: Array, std_b: Array, xp: Namespace) -> Array:
    """Return log(std_b / std_a) to full relative precision."""
    difference = std_b - std_a
    is_near = xp.abs(difference) < 0.5 * std_a
    near = xp.log1p(xp.where(is_near, difference, xp.zeros_like(difference)) / std_a)
    far = 2.0 * xp.log(xp.sqrt(std_b) / xp.sqrt(std_a))
    return xp.where(is_near, near, far)


def _squared_ratio(x: Array, unit: Array, xp: Namespace) -> Array:
    """Return (x / unit)^2, inf without a warning where it overflows."""
    overflows = xp.abs(x) / _root_of_largest(x, xp) >= unit
    ratio = xp.where(overflows, xp.zeros_like(x), x) / unit
    return xp.where(overflows, xp.inf, ratio * ratio)


def _capped_ratio(x: Array, unit: Array, xp: Namespace) -> Array:
    """Return x / unit; where its square would overflow, the largest number that can be squared."""
    largest = _root_of_largest(x, xp)
    is_large = xp.abs(x) / largest >= unit
    ratio = xp.where(is_large, xp.zeros_like(x), x) / unit
    return xp.where(is_large, largest * xp.ones_like(ratio), ratio)


def _root_of_largest(x: Array, xp: Namespace) -> float:
    return 0.5 * math.sqrt(xp.finfo(x.dtype).max)
