r"""The ratio of Bessel functions that von Mises-Fisher distributions have, in any dimension p.

.. math:: A(\kappa) = \frac{I_{p/2}(\kappa)}{I_{p/2 - 1}(\kappa)}

Up to a bound it is Gauss's continued fraction, from its tail backwards, together with its
derivative: in both recurrences all terms are positive. Beyond, it is the asymptotic series that
solves :math:`A' = 1 - A^2 - (p - 1) A / \kappa`.
"""

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

from infogeo._array import Array, Namespace


class Ratio(NamedTuple):
    """The ratio at some concentrations.

    Parameters
    ----------
    value, slope, bend : array
        A, its derivative and its second derivative.
    """

    value: Array
    slope: Array
    bend: Array


def ratio(kappa: Array, p: int, xp: Namespace) -> Ratio:
    """Return the ratio in p dimensions, for positive numbers."""
    is_small, low, high = _parted(kappa, p, xp)
    found = _by_fraction(low, p, xp), _by_series(high, p)
    return Ratio(*(xp.where(is_small, x, y) for x, y in zip(*found, strict=True)))


def complement(kappa: Array, p: int, xp: Namespace) -> Array:
    """Return 1 less the ratio, with the digits that a ratio near 1 has lost."""
    is_small, low, high = _parted(kappa, p, xp)
    u = 1.0 / high
    series = -u * _polynomial(_terms(p)[0][1:], u)
    return xp.where(is_small, 1.0 - _by_fraction(low, p, xp).value, series)


def log_partition(kappa: Array, p: int, xp: Namespace) -> Array:
    """Return the integral of the ratio from 0, right to the roundoff beside kappa and 1."""
    return kappa + scaled_log_partition(kappa, p, xp)


def scaled_log_partition(kappa: Array, p: int, xp: Namespace) -> Array:
    """Return the integral of the ratio from 0, less kappa.

    Up to the bound it is minus the logarithm of the sum, over the orders of Bessel functions, in
    which Gegenbauer expands exp(kappa).
    """
    is_small, low, high = _parted(kappa, p, xp)
    log_sum = xp.zeros_like(low)
    for n, f, _, _ in _fractions(low, p, xp):
        factor = float(p)
        if n > 1:
            factor = (2.0 * n + p - 2.0) / (2.0 * n + p - 4.0) * (n + p - 3.0) / n
        log_sum = xp.logaddexp(xp.zeros_like(low), xp.log(factor * (low / f)) + log_sum)
    constant = math.lgamma(0.5 * p) + (0.5 * p - 1.0) * math.log(2.0)
    constant = constant - 0.5 * math.log(2.0 * math.pi)
    series = xp.log(_polynomial(_terms(p)[1], 1.0 / high))
    far = constant + series - 0.5 * (p - 1.0) * xp.log(high)
    return xp.where(is_small, -log_sum, far)


def _bound(p: int) -> float:
    return max(30.0, float(p * p))


def _parted(kappa: Array, p: int, xp: Namespace) -> tuple[Array, Array, Array]:
    """Return what is below the bound, with other numbers in place of those that are not."""
    is_small, one = kappa < _bound(p), xp.ones_like(kappa)
    return is_small, xp.where(is_small, kappa, one), xp.where(is_small, _bound(p) * one, kappa)


def _fractions(kappa: Array, p: int, xp: Namespace) -> Iterator[tuple[int, Array, Array, Array]]:
    r"""Yield n, f_n, its derivative by z = kappa^2, and f_n less z times that, down to n = 1.

    With f_n = 2 n + p - 2 + z / f_(n + 1) the ratio is A = kappa / f_1.
    """
    square = kappa * kappa
    num_terms = 40 + p + round(10.0 * math.sqrt(_bound(p)))
    b = 2.0 * num_terms + p
    root = xp.sqrt(b * b + 4.0 * square)
    f, slope = 0.5 * (b + root), 1.0 / root  # of the tail
    rest = f - square * slope
    for n in range(num_terms, 0, -1):
        b, share = 2.0 * n + p - 2.0, square / f
        f, slope, rest = b + share, rest / f / f, b + share * share * slope
        yield n, f, slope, rest


def _by_fraction(kappa: Array, p: int, xp: Namespace) -> Ratio:
    for _, f, _, rest in _fractions(kappa, p, xp):
        last = f, rest
    f, rest = last
    value, slope = kappa / f, (2.0 * rest - f) / f / f
    bend = -2.0 * value * slope - (p - 1.0) * (slope - value / kappa) / kappa
    return Ratio(value, slope, bend)


@functools.cache
def _terms(p: int) -> tuple[list[float], list[float]]:
    """Return the coefficients of A, and those of I exp(-kappa) sqrt(2 pi kappa), in 1 / kappa."""
    a, c = [1.0], [1.0]
    for n in range(1, 26):
        products = sum(a[i] * a[n - i] for i in range(1, n))
        a.append(0.5 * ((n - p) * a[n - 1] - products))
        c.append(-c[-1] * ((p - 2.0) ** 2 - (2.0 * n - 1.0) ** 2) / (8.0 * n))
    return a, c


def _polynomial(terms: list[float], u: Array) -> Array:
    total = terms[-1] * u
    for term in terms[-2:0:-1]:
        total = (total + term) * u
    return total + terms[0]


def _by_series(kappa: Array, p: int) -> Ratio:
    u = 1.0 / kappa
    a = _terms(p)[0]
    slope = [-n * x for n, x in enumerate(a)][1:]
    bend = [n * (n + 1) * x for n, x in enumerate(a)][1:]
    return Ratio(_polynomial(a, u), _polynomial(slope, u) * u * u, _polynomial(bend, u) * u * u * u)
