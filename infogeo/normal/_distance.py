"""Distances of normal distributions, and what lies between two points of the half-plane."""

import functools
import math
from typing import NamedTuple

from infogeo import _array, _points
from infogeo._array import Array, Namespace
from infogeo._blocks import entry_by_entry
from infogeo.normal._point import Normal

ROOT_2 = math.sqrt(2.0)


Fields = tuple[Array, Array]  # mean and standard deviation


def fisher_rao_distance(a: Normal, b: Normal, *, check: bool = True) -> Array:
    r"""Return the Fisher-Rao distance between univariate normal distributions.

    .. math:: d(a, b) = 2 \sqrt 2 \operatorname{arsinh} \sqrt{
              \frac{(\mu_a - \mu_b)^2 / 2 + (\sigma_a - \sigma_b)^2}{4 \sigma_a \sigma_b}}

    Parameters
    ----------
    a, b : Normal
    check : bool

    Returns
    -------
    array, shape (...)
        In units of the Fisher metric; same library, dtype and device as the points.

    Raises
    ------
    TypeError, ValueError
        Something else than normals; arrays of different libraries or devices; batch axes that do
        not broadcast; values that are not finite, standard deviations that are not positive.

    Notes
    -----
    The familiar forms with arccosh or a logarithm lose half of the digits, or all, for near
    points. This one has a relative error of a few roundoffs for all of them, and depends on the
    means only by their difference. The gradient at a = b, where the distance has a cone, is 0;
    `fisher_rao_squared_distance` is smooth there.

    References
    ----------
    C. Atkinson and A. F. S. Mitchell, Rao's distance measure, Sankhya A 43, 1981.

    Examples
    --------
    >>> round(float(fisher_rao_distance(Normal(0.0, 1.0), Normal(0.0, np.e))) / 2**0.5, 12)
    1.0
    >>> a, b = Normal(1e6, 1.0), Normal(1e6 + 2**-30, 1.0)
    >>> float(fisher_rao_distance(a, b)) * 2**30
    1.0
    """
    xp, p, q = _points.gate(check, a=(Normal, a), b=(Normal, b))
    return _array.as_number(2.0 * ROOT_2 * _arc_of(p, q, xp))


def fisher_rao_squared_distance(a: Normal, b: Normal, *, check: bool = True) -> Array:
    r"""Return the square of the Fisher-Rao distance, smooth at a = b.

    .. math:: d(a, b)^2 = 8 \operatorname{arsinh}^2 \sqrt{
              \frac{(\mu_a - \mu_b)^2 / 2 + (\sigma_a - \sigma_b)^2}{4 \sigma_a \sigma_b}}

    Parameters
    ----------
    a, b : Normal
    check : bool

    Returns
    -------
    array, shape (...)
        In squared units of the Fisher metric.

    Notes
    -----
    Automatic differentiation gives the gradient 0 and the Hessian 2 g at a = b: the series of
    arsinh^2 has no root to differentiate.

    Examples
    --------
    >>> round(float(fisher_rao_squared_distance(Normal(0.0, 1.0), Normal(0.0, np.e))), 12)
    2.0
    """
    xp, p, q = _points.gate(check, a=(Normal, a), b=(Normal, b))
    return _array.as_number(8.0 * _squared_arc_of(p, q, xp))


def diagonal_fisher_rao_distance(a: Normal, b: Normal, *, check: bool = True) -> Array:
    r"""Return the Fisher-Rao distance in the family of diagonal normal distributions.

    .. math:: d(a, b) = \sqrt{\textstyle\sum_i d(a_i, b_i)^2}

    Parameters
    ----------
    a, b : Normal
        The last axis holds the independent components; the other batch axes broadcast.
    check : bool

    Returns
    -------
    array, shape (...)
        In units of the Fisher metric, without the last axis of the points.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; single distributions; different numbers of components.

    Notes
    -----
    This is the length of the shortest path of diagonal distributions. It is an upper bound on the
    distance in the family of all multivariate normal distributions, where a shorter path may leave
    the diagonal ones: N(0, I) and N((1, 1), I) are 1.38629 apart here and 1.36107 there.

    Examples
    --------
    >>> a, b = Normal([0.0, 0.0], 1.0), Normal([1.0, 1.0], 1.0)
    >>> round(float(diagonal_fisher_rao_distance(a, b)), 5)
    1.38629
    """
    xp, p, q = _points.gate(check, a=(Normal, a), b=(Normal, b))
    _require_components(p, q)
    return _array.norm(2.0 * ROOT_2 * _arc_of(p, q, xp), xp)


def diagonal_fisher_rao_squared_distance(a: Normal, b: Normal, *, check: bool = True) -> Array:
    r"""Return the square of `diagonal_fisher_rao_distance`, smooth at a = b.

    .. math:: d(a, b)^2 = \textstyle\sum_i d(a_i, b_i)^2

    Parameters
    ----------
    a, b : Normal
        The last axis holds the independent components; the other batch axes broadcast.
    check : bool

    Returns
    -------
    array, shape (...)
        In squared units of the Fisher metric.

    Raises
    ------
    TypeError, ValueError
        As `diagonal_fisher_rao_distance`.

    Examples
    --------
    >>> a, b = Normal([0.0, 0.0], 1.0), Normal([0.0, 0.0], [np.e, 1.0])
    >>> round(float(diagonal_fisher_rao_squared_distance(a, b)), 12)
    2.0
    """
    xp, p, q = _points.gate(check, a=(Normal, a), b=(Normal, b))
    _require_components(p, q)
    return 8.0 * xp.sum(_squared_arc_of(p, q, xp), axis=-1)


def _require_components(a: Fields, b: Fields) -> None:
    shapes = [tuple(mean.shape) for mean, _ in (a, b)]
    if not (shapes[0] and shapes[1] and shapes[0][-1] == shapes[1][-1] > 0):
        raise ValueError(
            "a and b must have the same components along the last axis: their batch shapes are "
            f"{shapes[0]} and {shapes[1]}."
        )


class Separation(NamedTuple):
    """What lies between two points of the half-plane."""

    x: Array  # difference of the means, over sqrt 2
    y: Array  # difference of the standard deviations
    root: Array  # sqrt(std_a std_b)
    size: Array  # |(x, y)|
    is_far: Array  # whether the square of size / root might overflow
    chord: Array  # size / (2 root), where it is not far
    squared_chord: Array  # its square, which has no root to differentiate
    arc: Array  # arsinh(chord): half the distance in curvature -1

    def is_near(self) -> Array:
        """Whether series in the squared chord are good."""
        return ~self.is_far & (self.squared_chord < 0.01)

    def squared_arc(self, xp: Namespace) -> Array:
        """Return arsinh(chord)^2, analytic in the squared chord for near points."""
        is_near, arc = self.is_near(), self.arc
        series = self.squared_chord * sum_of_series(
            _ARSINH_SQUARED, self.squared_chord, is_near, xp
        )
        return xp.where(is_near, series, arc * arc)

    def arc_over_chord(self, xp: Namespace) -> Array:
        """Return arsinh(chord) / chord, analytic in the squared chord for near points."""
        is_near = self.is_near()
        series = sum_of_series(_ARSINH, self.squared_chord, is_near, xp)
        chord = xp.where(is_near | self.is_far, xp.ones_like(self.chord), self.chord)
        return xp.where(is_near, series, self.arc / chord)


def _arc_of(a: Fields, b: Fields, xp: Namespace) -> Array:
    return entry_by_entry(
        lambda m, s, n, r: arc((n - m) / ROOT_2, r - s, s, r, xp),
        *a,
        *b,
    )


def _squared_arc_of(a: Fields, b: Fields, xp: Namespace) -> Array:
    return entry_by_entry(
        lambda m, s, n, r: squared_arc((n - m) / ROOT_2, r - s, s, r, xp),
        *a,
        *b,
    )


def arc(x: Array, y: Array, std_a: Array, std_b: Array, xp: Namespace) -> Array:
    """Return half the distance in curvature -1 of points whose differences x and y are known.

    Squares are fast and have all digits, but for numbers near the ends of the range.
    """
    with _array.quiet(xp):
        squared, product = x * x + y * y, std_a * std_b
        quotient = squared / product
        found = xp.asinh(0.5 * xp.sqrt(quotient))
    least = float(xp.finfo(found.dtype).smallest_normal) ** 0.5
    is_right = (xp.minimum(xp.minimum(squared, product), quotient) > least) & (
        quotient < 1.0 / least
    )
    return _array.mended(found, is_right, functools.partial(_careful_arc, xp), x, y, std_a, std_b)


def _careful_arc(xp: Namespace, x: Array, y: Array, std_a: Array, std_b: Array) -> Array:
    return separation(x, y, std_a, std_b, xp).arc


def squared_arc(x: Array, y: Array, std_a: Array, std_b: Array, xp: Namespace) -> Array:
    """Return the square of `arc`, with both derivatives at 0."""
    if _array.has_derivatives(x, y, std_a, std_b):
        return separation(x, y, std_a, std_b, xp).squared_arc(xp)
    return arc(x, y, std_a, std_b, xp) ** 2


def separation_of(a: Fields, b: Fields, xp: Namespace) -> Separation:
    (mean_a, std_a), (mean_b, std_b) = a, b
    return separation((mean_b - mean_a) / ROOT_2, std_b - std_a, std_a, std_b, xp)


def separation(x: Array, y: Array, std_a: Array, std_b: Array, xp: Namespace) -> Separation:
    """Return what lies between points whose differences x and y are known."""
    root = xp.sqrt(std_a) * xp.sqrt(std_b)
    size = hypot(x, y, xp)
    is_far = size / float(xp.finfo(size.dtype).max) ** 0.25 > root
    one, zero = xp.ones_like(size), xp.zeros_like(size)
    unit = 2.0 * xp.where(is_far, one, root)
    chord = xp.where(is_far, one, size) / unit
    squared_chord = xp.where(is_far, zero, x / unit) ** 2 + xp.where(is_far, zero, y / unit) ** 2
    # arsinh(chord) is log(2 chord) for large ones, to all digits.
    logarithm = xp.log(xp.where(is_far, size, one)) - xp.log(root)
    arc = xp.where(is_far, logarithm, xp.asinh(chord))
    return Separation(x, y, root, size, is_far, chord, squared_chord, arc)


# Coefficients of series: in x^2 of arsinh(x)^2 / x^2, arsinh(x) / x and sinh(x) / x, in x of
# (exp(x) - 1 - x) / x^2.
_ARSINH_SQUARED = [
    (-1) ** n * 2.0 * 4**n / ((n + 1) ** 2 * math.comb(2 * n + 2, n + 1)) for n in range(9)
]


_ARSINH = [(-1) ** n * math.comb(2 * n, n) / (4**n * (2 * n + 1)) for n in range(9)]


_SINH = [1.0 / math.factorial(2 * n + 1) for n in range(10)]


EXP = [1.0 / math.factorial(n + 2) for n in range(17)]


def sum_of_series(coefficients: list[float], x: Array, is_near: Array, xp: Namespace) -> Array:
    """Return the sum of coefficients times powers of x where x is small enough."""
    x = xp.where(is_near, x, xp.zeros_like(x))
    total = xp.zeros_like(x)
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total


def sinhc(squared: Array, xp: Namespace) -> Array:
    """Return sinh(x) / x, analytic in x^2 near 0."""
    is_near = squared < 1.0
    root = xp.sqrt(xp.where(is_near, xp.ones_like(squared), squared))
    return xp.where(is_near, sum_of_series(_SINH, squared, is_near, xp), xp.sinh(root) / root)


def hypot(x: Array, y: Array, xp: Namespace) -> Array:
    """Return |(x, y)| with the gradient 0 at 0."""
    is_zero = (x == 0.0) & (y == 0.0)
    length = xp.hypot(xp.where(is_zero, xp.ones_like(x), x), y)
    return _array.as_number(xp.where(is_zero, xp.zeros_like(length), length))
