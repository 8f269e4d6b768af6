r"""Univariate normal distributions with the Fisher metric; batches of them, and diagonal normals.

A point is a `Normal`, of mean and standard deviation. The metric is

.. math:: ds^2 = \frac{d\mu^2 + 2 \, d\sigma^2}{\sigma^2}

that of the hyperbolic half-plane of curvature -1/2: :math:`(\mu / \sqrt 2, \sigma)` are its usual
coordinates. A tangent vector is a `Tangent`, of a velocity of the mean and one of the standard
deviation.

For diagonal normals the last batch axis holds the independent components. Geodesics, maps,
transports and means work component by component, divergences and squared distances add up over
the components (`diagonal_fisher_rao_distance` does it for the distance).
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from infogeo import _array, _points
from infogeo._array import (
    NEGATIVE,
    POSITIVE,
    REAL,
    UNIT_INTERVAL,
    Array,
    Namespace,
    bad_value,
    gate,
)
from infogeo._docs import finish
from infogeo._points import Points, Vectors, fill, make
from infogeo._spaces import RawParameters
from infogeo._system.registry import storable

__all__ = [
    "Normal",
    "Tangent",
    "diagonal_fisher_rao_distance",
    "diagonal_fisher_rao_squared_distance",
    "dimension",
    "e_geodesic",
    "e_mean",
    "e_transport",
    "entropy",
    "exp_map",
    "expectation_parameters",
    "fisher_information",
    "fisher_rao_distance",
    "fisher_rao_geodesic",
    "fisher_rao_squared_distance",
    "from_expectation_parameters",
    "from_natural_parameters",
    "hellinger_distance",
    "inner_product",
    "jeffreys_divergence",
    "kl_divergence",
    "log_map",
    "m_geodesic",
    "m_mean",
    "m_transport",
    "natural_parameters",
    "norm",
    "parallel_transport",
]

_ROOT_2 = math.sqrt(2.0)
_Fields = tuple[Array, Array]  # mean and standard deviation


# ---------------------------------------------------------------- points and tangent vectors


@storable("Normal")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Normal(Points):
    """A batch of univariate normal distributions; of diagonal ones along its last axis.

    Parameters
    ----------
    mean : array, shape (...)
        Means.
    std : array, shape (...)
        Standard deviations, positive. Broadcasts with the means.
    check : bool

    Attributes
    ----------
    mean, std : array, shape (...)
        Of one shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; shapes that do not broadcast; values that are not finite;
        standard deviations that are not positive.

    Examples
    --------
    >>> batch = Normal([0.0, 1.0, 2.0], 0.5)
    >>> batch.shape
    (3,)
    >>> batch[1]
    Normal(mean=1.0, std=0.5)
    """

    mean: Array
    std: Array

    rules: ClassVar = {"mean": REAL, "std": POSITIVE}

    def __init__(self, mean: Any, std: Any, *, check: bool = True):
        fill(self, check, mean=mean, std=std)

    @staticmethod
    def fit(samples: Array, labels: Array | None = None, *, check: bool = True) -> "Normal":
        """Fit normals to samples by maximum likelihood, one for each class.

        Parameters
        ----------
        samples : array, shape (n,) or (n, num_components)
            One sample per row; the components are independent.
        labels : array or list, shape (n,), or None
            Numbers or strings: the class of each sample. None: all samples are of one class. A
            series and samples in a frame are matched by the names of their rows.
        check : bool

        Returns
        -------
        Normal
            Mean and standard deviation (with divisor n) along the first axis, of shape () or
            (num_components,). With labels one such distribution for each class, along a new
            first axis, in the order of ``numpy.unique(labels)``.

        Raises
        ------
        TypeError, ValueError
            Samples that are not finite numbers; a class of fewer than 2 samples, or without
            spread in a component.

        Examples
        --------
        >>> Normal.fit([1.0, 3.0, 5.0, 7.0], labels=["a", "a", "b", "b"]).mean
        array([2., 6.])
        """
        given, (xp, samples) = samples, gate(check, samples=(REAL, samples))
        if samples.ndim not in (1, 2):
            raise bad_value(
                "samples",
                "have shape (n,) or (n, num_components)",
                f"got shape {tuple(samples.shape)}",
            )

        def fit_rows(name: str, rows: np.ndarray | None) -> tuple[Array, Array]:
            if rows is None:
                return _moments(name, samples, check, xp)
            index = xp.asarray(rows, device=_array.device_of(samples))
            return _moments(name, xp.take(samples, index, axis=0), check, xp)

        return _points.fit(Normal, given, labels, tuple(samples.shape), fit_rows, xp)


POINTS = Normal
ORTHOGONAL = True
DISTRIBUTIONS = {
    "torch.distributions.Normal": ("loc", "scale"),
    "scipy.stats.norm": ("loc", "scale"),
    "scipy.stats.Normal": ("mu", "sigma"),
    "scipy.stats.StandardNormal": ("mu", "sigma"),
}


def AFFINE(  # noqa: N802  a declaration of the space
    a: Normal, shift: Array, factor: Array, *, check: bool = True
) -> Normal:
    """Return the distribution of shift + factor X."""
    return Normal(shift + factor * a.mean, abs(factor) * a.std, check=check)


@storable("normal.Tangent")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Tangent(Vectors):
    """A batch of tangent vectors: velocities of normal distributions.

    They can be added, subtracted, and multiplied or divided by numbers and by arrays over the
    batch.

    Parameters
    ----------
    mean : array, shape (...)
        Velocities of the means.
    std : array, shape (...)
        Velocities of the standard deviations. Broadcasts with the others.
    check : bool

    Attributes
    ----------
    mean, std : array, shape (...)
        Of one shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; shapes that do not broadcast; values that are not finite.

    Examples
    --------
    >>> 0.5 * Tangent(1.0, 2.0) - Tangent(0.0, 1.0)
    Tangent(mean=0.5, std=0.0)
    """

    mean: Array
    std: Array

    rules: ClassVar = {"mean": REAL, "std": REAL}

    def __init__(self, mean: Any, std: Any, *, check: bool = True):
        fill(self, check, mean=mean, std=std)


def _moments(name: str, samples: Array, check: bool, xp: Namespace) -> tuple[Array, Array]:
    """Return mean and standard deviation of samples."""
    if samples.shape[0] < 2:
        raise bad_value(name, "number at least 2, for a spread", f"there are {samples.shape[0]}")
    is_constant = xp.max(samples, axis=0) == xp.min(samples, axis=0)
    if check and _array.is_readable(is_constant) and bool(xp.any(is_constant)):
        columns = np.flatnonzero(np.asarray(_array.on_host(is_constant)))
        seen = f"component {columns[0]} does not" if samples.ndim == 2 else "they are all equal"
        raise bad_value(name, "vary", seen, "A constant has no density: leave it out.")
    mean = xp.mean(samples, axis=0)
    mean = mean + xp.mean(samples - mean, axis=0)
    deviation = samples - mean
    # The largest one as the unit, so that squares neither overflow nor underflow.
    unit = xp.max(xp.abs(deviation), axis=0)
    std = unit * xp.sqrt(xp.mean((deviation / unit) ** 2, axis=0))
    return mean, std


TANGENTS = Tangent


# ---------------------------------------------------------------- distance


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
    return 2.0 * _ROOT_2 * _separation(p, q, xp).arc


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

    Raises
    ------
    TypeError, ValueError

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
    return 8.0 * _separation(p, q, xp).squared_arc(xp)


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
    return _array.norm(2.0 * _ROOT_2 * _separation(p, q, xp).arc, xp)


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
    return 8.0 * xp.sum(_separation(p, q, xp).squared_arc(xp), axis=-1)


def _require_components(a: _Fields, b: _Fields) -> None:
    shapes = [tuple(mean.shape) for mean, _ in (a, b)]
    if not (shapes[0] and shapes[1] and shapes[0][-1] == shapes[1][-1] > 0):
        raise ValueError(
            "a and b must have the same components along the last axis: their batch shapes are "
            f"{shapes[0]} and {shapes[1]}."
        )


class _Separation(NamedTuple):
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
        series = self.squared_chord * _series(_ARSINH_SQUARED, self.squared_chord, is_near, xp)
        return xp.where(is_near, series, arc * arc)

    def arc_over_chord(self, xp: Namespace) -> Array:
        """Return arsinh(chord) / chord, analytic in the squared chord for near points."""
        is_near = self.is_near()
        series = _series(_ARSINH, self.squared_chord, is_near, xp)
        chord = xp.where(is_near | self.is_far, xp.ones_like(self.chord), self.chord)
        return xp.where(is_near, series, self.arc / chord)


def _separation(a: _Fields, b: _Fields, xp: Namespace) -> _Separation:
    (mean_a, std_a), (mean_b, std_b) = a, b
    x, y = (mean_b - mean_a) / _ROOT_2, std_b - std_a
    root = xp.sqrt(std_a) * xp.sqrt(std_b)
    size = _hypot(x, y, xp)
    is_far = size / float(xp.finfo(size.dtype).max) ** 0.25 > root
    one, zero = xp.ones_like(size), xp.zeros_like(size)
    unit = 2.0 * xp.where(is_far, one, root)
    chord = xp.where(is_far, one, size) / unit
    squared_chord = xp.where(is_far, zero, x / unit) ** 2 + xp.where(is_far, zero, y / unit) ** 2
    # arsinh(chord) is log(2 chord) for large ones, to all digits.
    logarithm = xp.log(xp.where(is_far, size, one)) - xp.log(root)
    arc = xp.where(is_far, logarithm, xp.asinh(chord))
    return _Separation(x, y, root, size, is_far, chord, squared_chord, arc)


# Coefficients of series: in x^2 of arsinh(x)^2 / x^2, arsinh(x) / x and sinh(x) / x, in x of
# (exp(x) - 1 - x) / x^2.
_ARSINH_SQUARED = [
    (-1) ** n * 2.0 * 4**n / ((n + 1) ** 2 * math.comb(2 * n + 2, n + 1)) for n in range(9)
]
_ARSINH = [(-1) ** n * math.comb(2 * n, n) / (4**n * (2 * n + 1)) for n in range(9)]
_SINH = [1.0 / math.factorial(2 * n + 1) for n in range(10)]
_EXP = [1.0 / math.factorial(n + 2) for n in range(17)]


def _series(coefficients: list[float], x: Array, is_near: Array, xp: Namespace) -> Array:
    """Return the sum of coefficients times powers of x where x is small enough."""
    x = xp.where(is_near, x, xp.zeros_like(x))
    total = xp.zeros_like(x)
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total


def _sinhc(squared: Array, xp: Namespace) -> Array:
    """Return sinh(x) / x, analytic in x^2 near 0."""
    is_near = squared < 1.0
    root = xp.sqrt(xp.where(is_near, xp.ones_like(squared), squared))
    return xp.where(is_near, _series(_SINH, squared, is_near, xp), xp.sinh(root) / root)


def _hypot(x: Array, y: Array, xp: Namespace) -> Array:
    """Return |(x, y)| with the gradient 0 at 0."""
    is_zero = (x == 0.0) & (y == 0.0)
    length = xp.hypot(xp.where(is_zero, xp.ones_like(x), x), y)
    return _array.as_number(xp.where(is_zero, xp.zeros_like(length), length))


# ---------------------------------------------------------------- geodesics


def fisher_rao_geodesic(a: Normal, b: Normal, t: Array, *, check: bool = True) -> Normal:
    r"""Return the point of the Fisher-Rao geodesic from a (t = 0) to b (t = 1).

    With the weights :math:`w_a = \sinh((1 - t) \rho) / \sinh \rho`,
    :math:`w_b = \sinh(t \rho) / \sinh \rho` and :math:`\rho = d(a, b) / \sqrt 2`:

    .. math:: \frac{1}{\sigma} = \frac{w_a}{\sigma_a} + \frac{w_b}{\sigma_b}, \qquad
              \frac{\mu}{\sigma} = \frac{w_a \mu_a}{\sigma_a} + \frac{w_b \mu_b}{\sigma_b}

    Parameters
    ----------
    a, b : Normal
    t : float or array
        Parameter in [0, 1], proportional to arc length. Its axes come first in the result.
    check : bool

    Returns
    -------
    Normal
        Of shape t.shape + (...).

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; t outside [0, 1] (`exp_map` goes beyond).

    References
    ----------
    C. Atkinson and A. F. S. Mitchell, Rao's distance measure, Sankhya A 43, 1981.

    Examples
    --------
    >>> middle = fisher_rao_geodesic(Normal(-1.0, 1.0), Normal(1.0, 1.0), 0.5)
    >>> float(middle.mean), round(float(middle.std) ** 2, 12)
    (0.0, 1.5)
    """
    xp, p, q, t = _points.gate(check, a=(Normal, a), b=(Normal, b), t=(UNIT_INTERVAL, t))
    between = _separation(p, q, xp)
    t = _array.as_leading(t, between.size, xp)
    is_near = between.arc < 0.5
    near_std, *near_shares = _near_geodesic(p, q, t, between, is_near, xp)
    far_std, *far_shares = _far_geodesic(p, q, t, between, is_near, xp)
    of_a, of_b = (xp.where(is_near, n, f) for n, f in zip(near_shares, far_shares, strict=True))
    return make(
        Normal, _mixed(p[0], q[0], of_a, of_b, xp), xp.where(is_near, near_std, far_std), xp=xp
    )


def _near_geodesic(
    a: _Fields, b: _Fields, t: Array, between: _Separation, is_near: Array, xp: Namespace
) -> tuple[Array, Array, Array]:
    """Return the standard deviation and the shares of the two means, for rho below 1.

    The deviation is that of a plus its way, of which velocities keep their digits:
    1 - w_a - w_b = 2 sinh(t rho / 2) sinh((1 - t) rho / 2) / cosh(rho / 2).
    """
    squared = xp.where(is_near, 4.0 * between.squared_arc(xp), xp.zeros_like(between.size))
    std_a, std_b = a[1], xp.where(is_near, b[1], a[1])
    s, whole = 1.0 - t, _sinhc(squared, xp)
    weight_a, weight_b = (x * _sinhc(x * x * squared, xp) / whole for x in (s, t))
    cosh = 1.0 + 0.125 * squared * _sinhc(squared / 16.0, xp) ** 2
    bend = _sinhc(0.25 * s * s * squared, xp) * _sinhc(0.25 * t * t * squared, xp) / cosh
    lack = 0.5 * t * s * squared * bend + weight_b * (xp.where(is_near, between.y, 0.0) / std_b)
    weight_b = weight_b * (std_a / std_b)
    total = weight_a + weight_b
    return std_a + std_a * (lack / total), weight_a / total, weight_b / total


def _far_geodesic(
    a: _Fields, b: _Fields, t: Array, between: _Separation, is_near: Array, xp: Namespace
) -> tuple[Array, Array, Array]:
    """Return the same for larger rho, with exp(-t rho) and exp(-(1 - t) rho) taken out.

    What is left of sinh is at most 1. The larger of the two terms is the unit, so that nothing
    overflows between standard deviations of 1e-300 and 1e300.
    """
    rho = xp.where(is_near, xp.ones_like(between.arc), 2.0 * between.arc)
    whole = -xp.expm1(-2.0 * rho)
    weight_a, weight_b = (
        -xp.expm1(-2.0 * (1.0 - t) * rho) / whole,
        -xp.expm1(-2.0 * t * rho) / whole,
    )
    log_ratio = 2.0 * xp.log(xp.sqrt(b[1]) / xp.sqrt(a[1]))
    advantage = (2.0 * t - 1.0) * rho - log_ratio  # of the term of b, as a logarithm
    # Beside a tie the nearer end is the unit, which makes the ends exact.
    is_a = advantage <= xp.where(t < 0.5, xp.ones_like(rho), -xp.ones_like(rho))
    smaller = xp.exp(xp.where(is_a, advantage, -advantage))
    weight_a = weight_a * xp.where(is_a, xp.ones_like(smaller), smaller)
    weight_b = weight_b * xp.where(is_a, smaller, xp.ones_like(smaller))
    total = weight_a + weight_b
    half_growth = xp.exp(0.5 * rho * xp.where(is_a, t, 1.0 - t))
    std = xp.where(is_a, a[1], b[1]) * half_growth * half_growth / total
    return std, weight_a / total, weight_b / total


def _mixed(mean_a: Array, mean_b: Array, of_a: Array, of_b: Array, xp: Namespace) -> Array:
    """Return of_a mean_a + of_b mean_b for shares of sum 1: exact at the ends, and by differences.

    So that it moves with its ends to the last digit.
    """
    difference = mean_b - mean_a
    return xp.where(of_b < 0.5, mean_a + of_b * difference, mean_b - of_a * difference)


def e_geodesic(a: Normal, b: Normal, t: Array, *, check: bool = True) -> Normal:
    r"""Return the point at t of the e-geodesic from a to b, straight in natural parameters.

    .. math:: \frac{1}{\sigma^2} = \frac{1 - t}{\sigma_a^2} + \frac{t}{\sigma_b^2}, \qquad
              \frac{\mu}{\sigma^2} = \frac{(1 - t) \mu_a}{\sigma_a^2} + \frac{t \mu_b}{\sigma_b^2}

    Parameters
    ----------
    a, b : Normal
    t : float or array
    check : bool

    Returns
    -------
    Normal
        Of shape t.shape + (...); its density is proportional to that of a to the power 1 - t
        times that of b to the power t.

    Raises
    ------
    TypeError, ValueError

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> e_geodesic(Normal(0.0, 1.0), Normal(4.0, 1.0), 0.25)
    Normal(mean=1.0, std=1.0)
    """
    xp, (mean_a, std_a), (mean_b, std_b), t = _points.gate(
        check, a=(Normal, a), b=(Normal, b), t=(UNIT_INTERVAL, t)
    )
    low, high = xp.minimum(std_a, std_b), xp.maximum(std_a, std_b)
    t = _array.as_leading(t, mean_a + mean_b + low, xp)
    ratio_a, ratio_b = low / std_a, low / std_b
    total = _mixed_squares(ratio_a, ratio_b, (std_a - std_b) / high, t, xp)
    is_end = total < _smallest(total, xp)
    total = xp.where(is_end, xp.ones_like(total), total)
    std = xp.where(is_end, (1.0 - t) * std_a + t * std_b, low / xp.sqrt(total))
    of_a = xp.where(is_end, 1.0 - t, (1.0 - t) * ratio_a**2 / total)
    of_b = xp.where(is_end, t, t * ratio_b**2 / total)
    return make(Normal, _mixed(mean_a, mean_b, of_a, of_b, xp), std, xp=xp)


def m_geodesic(a: Normal, b: Normal, t: Array, *, check: bool = True) -> Normal:
    r"""Return the point at t of the m-geodesic from a to b, straight in expectation parameters.

    .. math:: \mu = (1 - t) \mu_a + t \mu_b, \qquad
              \sigma^2 = (1 - t) \sigma_a^2 + t \sigma_b^2 + t (1 - t) (\mu_a - \mu_b)^2

    Parameters
    ----------
    a, b : Normal
    t : float or array
    check : bool

    Returns
    -------
    Normal
        Of shape t.shape + (...): the normal with the mean and the variance of the mixture of a
        and b.

    Raises
    ------
    TypeError, ValueError

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> m_geodesic(Normal(-3.0, 4.0), Normal(3.0, 4.0), 0.5)
    Normal(mean=0.0, std=5.0)
    """
    xp, (mean_a, std_a), (mean_b, std_b), t = _points.gate(
        check, a=(Normal, a), b=(Normal, b), t=(UNIT_INTERVAL, t)
    )
    difference = mean_b - mean_a
    unit = xp.maximum(xp.maximum(std_a, std_b), xp.abs(difference))
    t = _array.as_leading(t, unit, xp)
    squared = _mixed_squares(std_a / unit, std_b / unit, (std_b - std_a) / unit, t, xp)
    squared = squared + t * (1.0 - t) * (difference / unit) ** 2
    is_end = squared < _smallest(squared, xp)
    inside = unit * xp.sqrt(xp.where(is_end, xp.ones_like(squared), squared))
    std = xp.where(is_end, (1.0 - t) * std_a + t * std_b, inside)
    return make(Normal, _mixed(mean_a, mean_b, 1.0 - t, t + xp.zeros_like(std), xp), std, xp=xp)


def _mixed_squares(x: Array, y: Array, difference: Array, t: Array, xp: Namespace) -> Array:
    """Return (1 - t) x^2 + t y^2 for positive x and y, and y - x to all its digits.

    From the difference where that is small, so that velocities keep their digits.
    """
    is_near = xp.abs(difference) < 0.5 * x
    return xp.where(is_near, x * x + t * difference * (x + y), (1.0 - t) * (x * x) + t * (y * y))


def _smallest(x: Array, xp: Namespace) -> float:
    """Return a bound below which sums of squares may have lost digits: only at the ends of curves.

    There t or 1 - t is as small.
    """
    return float(xp.finfo(x.dtype).smallest_normal) / float(xp.finfo(x.dtype).eps)


# ---------------------------------------------------------------- exponential and logarithm


def exp_map(a: Normal, v: Tangent, *, check: bool = True) -> Normal:
    r"""Return the point reached from a along the Fisher-Rao geodesic with velocity v, at time 1.

    With :math:`\xi = (\dot\mu / \sqrt 2, \dot\sigma) / \sigma_a` and :math:`\rho = |\xi|`:

    .. math:: \sigma = \frac{\sigma_a}{\cosh \rho - \frac{\sinh \rho}{\rho} \xi_2}, \qquad
              \mu = \mu_a + \sqrt 2 \, \sigma \frac{\sinh \rho}{\rho} \xi_1

    Parameters
    ----------
    a : Normal
        Where the geodesic starts.
    v : Tangent
        Its velocity. The batch axes broadcast.
    check : bool

    Returns
    -------
    Normal
        At Fisher-Rao distance ``norm(a, v)`` from a. The half-plane is complete: every velocity
        leads somewhere.

    Raises
    ------
    TypeError, ValueError
        Something else than a normal and a tangent vector; arrays of different libraries or
        devices; batch axes that do not broadcast; values that are not finite.

    Notes
    -----
    Cosh and sinh are combined so that they neither cancel nor overflow. For large norms the end
    answers to the rounding of v: its relative accuracy is the roundoff times the norm.

    Examples
    --------
    >>> round(float(exp_map(Normal(0.0, 1.0), Tangent(0.0, 2.0)).std), 6) == round(np.e**2, 6)
    True
    """
    xp, (mean, std), (v_mean, v_std) = _points.gate(check, a=(Normal, a), v=(Tangent, v))
    x, y = v_mean / std / _ROOT_2, v_std / std
    length = _hypot(x, y, xp)
    is_near = length < 1.0
    nearby = _near_exp(x, y, is_near, xp)
    distant = _far_exp(x, y, length, is_near, xp)
    growth, more, way, further = (
        xp.where(is_near, n, f) for n, f in zip(nearby, distant, strict=True)
    )
    return make(Normal, mean + _ROOT_2 * (std * way) * further, std * growth * more, xp=xp)


def _near_exp(
    x: Array, y: Array, is_near: Array, xp: Namespace
) -> tuple[Array, Array, Array, Array]:
    """Return what to multiply the deviation by: twice for the new one, twice for the mean's way.

    For rho below 1, by series.
    """
    x, y = (xp.where(is_near, z, xp.zeros_like(z)) for z in (x, y))
    squared = x * x + y * y
    sinh = _sinhc(squared, xp)
    cosh = 1.0 + 0.5 * squared * _sinhc(0.25 * squared, xp) ** 2
    growth = 1.0 / (cosh - sinh * y)
    return growth, xp.ones_like(growth), sinh * x, growth


def _far_exp(
    x: Array, y: Array, length: Array, is_near: Array, xp: Namespace
) -> tuple[Array, Array, Array, Array]:
    r"""Return the same for larger rho, without the difference of cosh and sinh.

    With q = exp(-rho / 2) and the direction (e, c) the denominator is g^2 / q^2, g = |(q^2, k)|,
    k^2 = (1 - q^4) (1 - c) / 2. For c > 0, where 1 - c cancels, it is e^2 / (1 + c). All factors
    stay in the range of floating-point numbers if the end does.
    """
    rho = xp.where(is_near, xp.ones_like(length), length)
    e, c = xp.where(is_near, xp.ones_like(x), x / rho), xp.where(is_near, xp.zeros_like(y), y / rho)
    tiny = float(xp.finfo(rho.dtype).smallest_normal)
    root_q = _array.clip(xp.exp(-0.25 * rho), xp, min=tiny)
    q = root_q * root_q
    rest = -xp.expm1(-2.0 * rho)
    is_up = c > 0.0
    up = e * xp.sqrt(0.5 * rest / (1.0 + xp.where(is_up, c, xp.zeros_like(c))))
    down = xp.sqrt(0.5 * rest * (1.0 - xp.where(is_up, xp.zeros_like(c), c)))
    k = xp.where(is_up, up, down)
    g = _array.clip(xp.hypot(q * q, k), xp, min=tiny)
    ratio = k / root_q
    is_lost = xp.abs(ratio) * tiny > root_q  # the end's deviation underflows
    ratio = xp.where(is_lost, 1.0 / tiny, ratio / xp.where(is_lost, xp.ones_like(q), root_q))
    h = _array.clip(xp.hypot(q, ratio), xp, min=tiny)
    return 1.0 / h, 1.0 / h, 0.5 * rest * (e / g), 1.0 / g


def log_map(a: Normal, b: Normal, *, check: bool = True) -> Tangent:
    r"""Return the velocity at a of the Fisher-Rao geodesic that reaches b at time 1.

    With :math:`\rho = d(a, b) / \sqrt 2` and :math:`\delta = \mu_b - \mu_a`:

    .. math:: (\dot\mu, \dot\sigma) = \frac{\rho}{\sinh \rho} \frac{\sigma_a}{\sigma_b}
              \left(\delta, \; \frac{\delta^2 / 2 + \sigma_b^2 - \sigma_a^2}{2 \sigma_a}\right)

    Parameters
    ----------
    a, b : Normal
    check : bool

    Returns
    -------
    Tangent
        At a, of norm d(a, b): the inverse of `exp_map`.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> v = log_map(Normal(0.0, 1.0), Normal(0.0, np.e))
    >>> float(v.mean), round(float(v.std), 12)
    (0.0, 1.0)
    """
    xp, p, q = _points.gate(check, a=(Normal, a), b=(Normal, b))
    (mean_a, std_a), (mean_b, std_b) = p, q
    between = _separation(p, q, xp)
    x, y, total = between.x, between.y, std_a + std_b
    across = xp.hypot(x, total)  # sinh rho is size across / (2 std_a std_b)
    along_mean = 2.0 * (std_a / across) * (mean_b - mean_a)
    along_std = x * (x / across) + y * (total / across)
    # Their length, with the mean's over sqrt 2, is the size.
    unit = xp.where(between.is_far, between.size, xp.ones_like(between.size))
    near = std_a / xp.where(between.is_far, std_a, between.root) * between.arc_over_chord(xp)
    scale = xp.where(between.is_far, 2.0 * between.arc * std_a, near)
    return make(Tangent, scale * (along_mean / unit), scale * (along_std / unit), xp=xp)


# ---------------------------------------------------------------- tangent vectors


def inner_product(a: Normal, u: Tangent, v: Tangent, *, check: bool = True) -> Array:
    r"""Return the Fisher metric of two tangent vectors.

    .. math:: g_a(u, v) = \frac{u_\mu v_\mu + 2 u_\sigma v_\sigma}{\sigma_a^2}

    Parameters
    ----------
    a : Normal
        Where the vectors are attached.
    u, v : Tangent
        All batch axes broadcast.
    check : bool

    Returns
    -------
    array, shape (...)
        In squared units of the Fisher metric.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> float(inner_product(Normal(0.0, 2.0), Tangent(2.0, 1.0), Tangent(0.0, 2.0)))
    1.0
    """
    _, (_, std), (u_mean, u_std), (v_mean, v_std) = _points.gate(
        check, a=(Normal, a), u=(Tangent, u), v=(Tangent, v)
    )
    return (u_mean / std) * (v_mean / std) + 2.0 * (u_std / std) * (v_std / std)


def norm(a: Normal, v: Tangent, *, check: bool = True) -> Array:
    r"""Return the Fisher norm of a tangent vector.

    .. math:: |v|_a = \frac{\sqrt{v_\mu^2 + 2 v_\sigma^2}}{\sigma_a}

    Parameters
    ----------
    a : Normal
        Where the vector is attached.
    v : Tangent
        The batch axes broadcast.
    check : bool

    Returns
    -------
    array, shape (...)
        In units of the Fisher metric.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> float(norm(Normal(0.0, 2.0), Tangent(2.0, 0.0)))
    1.0
    """
    xp, (_, std), (v_mean, v_std) = _points.gate(check, a=(Normal, a), v=(Tangent, v))
    return _hypot(v_mean / std, _ROOT_2 * (v_std / std), xp)


def parallel_transport(a: Normal, b: Normal, v: Tangent, *, check: bool = True) -> Tangent:
    r"""Transport a tangent vector from a to b along the Fisher-Rao geodesic (Levi-Civita).

    In units of the standard deviation a vector :math:`(v_\mu / \sqrt 2, v_\sigma) / \sigma` turns
    by the angle that the geodesic, a half circle, sweeps:

    .. math:: 2 \arctan \frac{(\mu_b - \mu_a) / \sqrt 2}{\sigma_a + \sigma_b}

    Parameters
    ----------
    a, b : Normal
    v : Tangent
    check : bool

    Returns
    -------
    Tangent
        At b, of the same norm.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> parallel_transport(Normal(0.0, 1.0), Normal(0.0, 3.0), Tangent(1.0, 1.0))
    Tangent(mean=3.0, std=3.0)
    """
    xp, (mean_a, std_a), (mean_b, std_b), (v_mean, v_std) = _points.gate(
        check, a=(Normal, a), b=(Normal, b), v=(Tangent, v)
    )
    x, total = (mean_b - mean_a) / _ROOT_2, std_a + std_b
    across = xp.hypot(x, total)
    sine, cosine = x / across, total / across  # of half the angle
    sine, cosine = 2.0 * sine * cosine, (cosine - sine) * (cosine + sine)
    first, second = v_mean / std_a / _ROOT_2, v_std / std_a
    turned = cosine * first + sine * second, cosine * second - sine * first
    return make(Tangent, _ROOT_2 * std_b * turned[0], std_b * turned[1], xp=xp)


def e_transport(a: Normal, b: Normal, v: Tangent, *, check: bool = True) -> Tangent:
    r"""Transport a tangent vector from a to b by the e-connection (path-independent).

    The velocity of the natural parameters stays. With :math:`r = \sigma_b / \sigma_a`:

    .. math:: (v_\mu, v_\sigma) \mapsto \left(r^2 \left(v_\mu + 2 \frac{\mu_b - \mu_a}{\sigma_a}
              v_\sigma\right), \; r^3 v_\sigma\right)

    Parameters
    ----------
    a, b : Normal
    v : Tangent
    check : bool

    Returns
    -------
    Tangent
        At b.

    Raises
    ------
    TypeError, ValueError

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> e_transport(Normal(0.0, 1.0), Normal(1.0, 2.0), Tangent(1.0, 1.0))
    Tangent(mean=12.0, std=8.0)
    """
    xp, (mean_a, std_a), (mean_b, std_b), (v_mean, v_std) = _points.gate(
        check, a=(Normal, a), b=(Normal, b), v=(Tangent, v)
    )
    ratio = std_b / std_a
    mean = ratio * ratio * (v_mean + 2.0 * ((mean_b - mean_a) / std_a) * v_std)
    return make(Tangent, mean, ratio * ratio * ratio * v_std, xp=xp)


def m_transport(a: Normal, b: Normal, v: Tangent, *, check: bool = True) -> Tangent:
    r"""Transport a tangent vector from a to b by the m-connection (path-independent).

    The velocity of the expectation parameters stays:

    .. math:: (v_\mu, v_\sigma) \mapsto \left(v_\mu, \;
              \frac{\sigma_a v_\sigma - (\mu_b - \mu_a) v_\mu}{\sigma_b}\right)

    Parameters
    ----------
    a, b : Normal
    v : Tangent
    check : bool

    Returns
    -------
    Tangent
        At b.

    Raises
    ------
    TypeError, ValueError

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> m_transport(Normal(0.0, 1.0), Normal(1.0, 2.0), Tangent(1.0, 3.0))
    Tangent(mean=1.0, std=1.0)
    """
    xp, (mean_a, std_a), (mean_b, std_b), (v_mean, v_std) = _points.gate(
        check, a=(Normal, a), b=(Normal, b), v=(Tangent, v)
    )
    std = (std_a / std_b) * v_std - ((mean_b - mean_a) / std_b) * v_mean
    return make(Tangent, v_mean + xp.zeros_like(std), std, xp=xp)


# ---------------------------------------------------------------- charts


def dimension(a: Normal, *, check: bool = True) -> int:
    """Return the number of parameters of the distributions.

    Parameters
    ----------
    a : Normal
        One or a batch.
    check : bool

    Returns
    -------
    int
        2: the mean and the standard deviation.

    Raises
    ------
    TypeError, ValueError
        Something else than normals.

    Examples
    --------
    >>> dimension(Normal(0.0, 1.0))
    2
    """
    _points.gate(check, a=(Normal, a))
    return 2


def fisher_information(a: Normal, *, check: bool = True) -> Array:
    r"""Return the Fisher information matrix in (mean, std).

    .. math:: g = \frac{1}{\sigma^2} \begin{pmatrix} 1 & 0 \\ 0 & 2 \end{pmatrix}

    Parameters
    ----------
    a : Normal
        Where to take it.
    check : bool

    Returns
    -------
    array, shape (..., 2, 2)
        In the order mean, standard deviation.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> fisher_information(Normal(0.0, 0.5))
    array([[4., 0.],
           [0., 8.]])
    """
    xp, (_, std) = _points.gate(check, a=(Normal, a))
    like = {"dtype": std.dtype, "device": _array.device_of(std)}
    return (
        xp.asarray([[1.0, 0.0], [0.0, 2.0]], **like) / std[..., None, None] / std[..., None, None]
    )


def natural_parameters(a: Normal, *, check: bool = True) -> tuple[Array, Array]:
    r"""Return the natural parameters (e-coordinates).

    .. math:: \theta_1 = \frac{\mu}{\sigma^2}, \qquad \theta_2 = -\frac{1}{2 \sigma^2}

    Parameters
    ----------
    a : Normal
    check : bool

    Returns
    -------
    theta_1 : array, shape (...)
        The factor of x in the logarithm of the density.
    theta_2 : array, shape (...)
        The factor of x^2.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> natural_parameters(Normal([0.0, 1.0], 0.5))
    (array([0., 4.]), array([-2., -2.]))
    """
    _, (mean, std) = _points.gate(check, a=(Normal, a))
    return mean / std / std, -0.5 / std / std


def from_natural_parameters(theta_1: Array, theta_2: Array, *, check: bool = True) -> Normal:
    r"""Build normal distributions from natural parameters.

    .. math:: \mu = -\frac{\theta_1}{2 \theta_2}, \qquad \sigma^2 = -\frac{1}{2 \theta_2}

    Parameters
    ----------
    theta_1 : array, shape (...)
        Mean over variance.
    theta_2 : array, shape (...)
        Minus 1 over twice the variance: negative. Broadcasts with theta_1.
    check : bool

    Returns
    -------
    Normal
        The inverse of `natural_parameters`.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; shapes that do not broadcast; values that are not finite,
        or theta_2 not negative.

    Examples
    --------
    >>> from_natural_parameters(4.0, -2.0)
    Normal(mean=1.0, std=0.5)
    """
    xp, theta_1, theta_2 = gate(check, theta_1=(REAL, theta_1), theta_2=(NEGATIVE, theta_2))
    _points.require_broadcast({"theta_1": tuple(theta_1.shape), "theta_2": tuple(theta_2.shape)})
    return make(Normal, -0.5 * theta_1 / theta_2, xp.sqrt(-0.5 / theta_2), xp=xp)


def expectation_parameters(a: Normal, *, check: bool = True) -> tuple[Array, Array]:
    r"""Return the expectation parameters (m-coordinates): the first two moments.

    .. math:: \eta_1 = \mu, \qquad \eta_2 = \mu^2 + \sigma^2

    Parameters
    ----------
    a : Normal
    check : bool

    Returns
    -------
    eta_1 : array, shape (...)
        E[x].
    eta_2 : array, shape (...)
        E[x^2].

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> expectation_parameters(Normal([0.0, 3.0], [1.0, 4.0]))
    (array([0., 3.]), array([ 1., 25.]))
    """
    _, (mean, std) = _points.gate(check, a=(Normal, a))
    return mean, mean * mean + std * std


def from_expectation_parameters(eta_1: Array, eta_2: Array, *, check: bool = True) -> Normal:
    r"""Build normal distributions from expectation parameters.

    .. math:: \mu = \eta_1, \qquad \sigma^2 = \eta_2 - \eta_1^2

    Parameters
    ----------
    eta_1 : array, shape (...)
        E[x].
    eta_2 : array, shape (...)
        E[x^2], above eta_1^2. Broadcasts with eta_1.
    check : bool

    Returns
    -------
    Normal
        The inverse of `expectation_parameters`.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; shapes that do not broadcast; values that are not finite,
        or a variance that is not positive.

    Notes
    -----
    The variance is taken without the rounding of the square. That of E[x^2] itself, of eta_2 times
    the roundoff, is in the input: means that are large beside the standard deviation lose digits.

    Examples
    --------
    >>> from_expectation_parameters(3.0, 25.0)
    Normal(mean=3.0, std=4.0)
    """
    xp, eta_1, eta_2 = gate(check, eta_1=(REAL, eta_1), eta_2=(REAL, eta_2))
    _points.require_broadcast({"eta_1": tuple(eta_1.shape), "eta_2": tuple(eta_2.shape)})
    variance = _minus_square(eta_2, eta_1, xp)
    gate(check, **{"eta_2 - eta_1 ** 2": (POSITIVE, variance)})
    return make(Normal, eta_1, xp.sqrt(variance), xp=xp)


def _minus_square(y: Array, x: Array, xp: Namespace) -> Array:
    """Return y - x^2 without the rounding of the square: halves of the bits of x multiply exactly.

    The differences of numbers as close as y and x^2 are exact too.
    """
    num_bits = 1 - round(math.log2(float(xp.finfo(x.dtype).eps)))
    scaled = x * (2.0 ** ((num_bits + 1) // 2) + 1.0)
    high = scaled - (scaled - x)
    low = x - high
    return ((y - high * high) - 2.0 * high * low) - low * low


# ---------------------------------------------------------------- entropy and divergences


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

    Raises
    ------
    TypeError, ValueError

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

    Raises
    ------
    TypeError, ValueError

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
    near = exponent * exponent * _series(_EXP, exponent, is_near, xp)
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

    Raises
    ------
    TypeError, ValueError

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

    Raises
    ------
    TypeError, ValueError

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
    size = 0.5 * _hypot(by_std, by_mean, xp)  # H, but for its square
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
    """Return x / unit, but no larger than is safe to square."""
    largest = _root_of_largest(x, xp)
    is_large = xp.abs(x) / largest >= unit
    ratio = xp.where(is_large, xp.zeros_like(x), x) / unit
    return xp.where(is_large, largest * xp.ones_like(ratio), ratio)


def _root_of_largest(x: Array, xp: Namespace) -> float:
    return 0.5 * math.sqrt(xp.finfo(x.dtype).max)


# ---------------------------------------------------------------- means


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
    size = _hypot(std, deviation, xp)
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


# ---------------------------------------------------------------- means and log deviations


def _log_lengths(z, xp):
    """Return the logarithms of 1 / std and of sqrt 2."""
    _, log_std = z
    return -log_std, xp.full_like(log_std, 0.5 * math.log(2.0))


def _raw_distance(z, w, xp):
    r"""Return the distance by the logarithms l of the deviations.

    With l the difference of the log stds and g their mean it is
    2 sqrt2 arcsinh(hypot(sinh(l / 2), dmu exp(-g) / sqrt 8)). No std is formed: where the terms
    reach exp(20), the larger one is taken out, and arcsinh x is log 2x to rounding.
    """
    (mean_z, log_z), (mean_w, log_w) = z, w
    step = xp.abs(mean_z - mean_w)
    half, level = 0.5 * xp.abs(log_z - log_w), 0.5 * (log_z + log_w)
    zero, one, moves = xp.zeros_like(step), xp.ones_like(step), step > 0.0
    log_step = xp.log(xp.where(moves, step, one))
    t = xp.maximum(xp.where(moves, log_step - level, half), half)
    is_far = t > 20.0
    t = xp.where(is_far, t, zero)
    root = xp.exp(xp.where(moves, 0.5 * (-level - t), zero))
    across = root * (root * step) / math.sqrt(8.0)
    along = -0.5 * xp.expm1(-2.0 * half) * xp.exp(half - t)
    scaled = _array.norm(xp.stack([across, along], axis=-1), xp)
    arc = xp.where(is_far, t + xp.log(xp.where(is_far, 2.0 * scaled, one)), xp.asinh(scaled))
    return 2.0 * _ROOT_2 * arc


def _raw_geodesic(z, w, t, xp):
    """Return semicircles of the half-plane; stds in the widest dtype, where their range is."""
    dtype, wide = z[0].dtype, _array.widest_dtype(z[0], xp)
    a, b = ([xp.astype(x, wide, copy=False) for x in y] for y in (z, w))
    ends = (Normal(mean, xp.exp(log_std), check=False) for mean, log_std in (a, b))
    path = fisher_rao_geodesic(*ends, xp.astype(t, wide, copy=False), check=False)
    return xp.astype(path.mean, dtype, copy=False), xp.astype(xp.log(path.std), dtype, copy=False)


def log_density(a: Normal, x: Any) -> Any:
    """Return the logarithm of the density at x, for plots."""
    return -0.5 * ((x - a.mean) / a.std) ** 2 - np.log(a.std) - 0.5 * math.log(2.0 * math.pi)


def window(a: Normal) -> np.ndarray:
    """Return the x within four standard deviations of the means, for plots."""
    return np.linspace(np.min(a.mean - 4.0 * a.std), np.max(a.mean + 4.0 * a.std), 400)


RAW = RawParameters(
    ("means", "logarithms of standard deviations"), _log_lengths, _raw_distance, _raw_geodesic
)


finish(
    globals(),
    {
        "a, b : Normal": "Their batch axes broadcast.",
        "v : Tangent": "At a.",
        "a : Normal": "The distributions.",
    },
)
