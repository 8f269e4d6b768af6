r"""What the distributions of largest and of smallest values share: metric and divergence."""

import math

from infogeo._array import Array, Namespace
from infogeo.manifolds._family import excess, log_gamma

_EULER = 0.5772156649015329  # Euler's constant


def extreme_value_metric(sign: float) -> tuple[float, float, float]:
    """Return the constants of the metric, for minima (sign 1) or maxima (sign -1)."""
    return 1.0, sign * (1.0 - _EULER), math.pi**2 / 6.0 + (1.0 - _EULER) ** 2


def extreme_value_kl(way: Array, change: Array, log_ratio: Array, xp: Namespace) -> Array:
    r"""Return the divergence of two Gumbel distributions of maxima.

    With :math:`r = s / s'` and :math:`w = (\mu' - \mu) / s' + \log \Gamma(1 + r)` it is
    :math:`(e^w - 1 - w) + (\log \Gamma(r) + \gamma (r - 1))`, where both terms vanish at equal
    points to second order.

    Parameters
    ----------
    way, change, log_ratio : array
        :math:`(\mu' - \mu) / s'`, :math:`r - 1` and :math:`\log r`, to all their digits.
    xp : namespace
        Of the arrays.
    """
    change = xp.minimum(change, xp.finfo(change.dtype).max * xp.ones_like(change))
    is_near, zero = xp.abs(change) < 0.5, xp.zeros_like(change)
    x = -xp.where(is_near, change, zero)
    near = zero
    for k in range(len(_ZETA) + 1, 1, -1):
        near = near * x + _ZETA[k - 2] / k
    far = log_gamma(2.0 + xp.where(is_near, zero, change), xp) - log_ratio + _EULER * change
    convex = xp.where(is_near, near * x * x, far)
    w = way + log_ratio + convex - _EULER * change
    return xp.where(xp.isinf(convex), convex, excess(w, xp) + convex)


def _zeta(k: int, num: int = 20) -> float:
    """Return the sum of 1 / n^k: terms up to a number, and the formula of Euler and Maclaurin."""
    tail = num ** (1.0 - k) / (k - 1.0) + 0.5 * float(num) ** -k + k / 12.0 * num ** (-k - 1.0)
    tail -= k * (k + 1) * (k + 2) / 720.0 * num ** (-k - 3.0)
    tail += k * (k + 1) * (k + 2) * (k + 3) * (k + 4) / 30240.0 * num ** (-k - 5.0)
    return math.fsum(float(n) ** -k for n in range(1, num)) + tail


_ZETA = [_zeta(k) for k in range(2, 56)]
