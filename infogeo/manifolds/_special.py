r"""The gamma function's logarithm and its derivatives, for arrays of any library.

All of them come from Binet's function, the remainder of Stirling's formula,

.. math:: \mu(x) = \log \Gamma(x) - (x - \tfrac12) \log x + x - \tfrac12 \log 2 \pi

which is small and positive, and so are, but for their signs, its derivatives. From x = 10 on they
are asymptotic series. Below, ten steps of the recurrence lead there. In the second and the third
derivative all terms have one sign, so that no digits are lost. In Binet's function and its first
derivative each step is a small difference, right to the roundoff of its terms. The functions of
the libraries are not as exact: torch's trigamma of float64 is right to nine digits.
"""

from collections.abc import Callable

from infogeo._array import Array, Namespace, overflowing

# Where the series begins, and its Bernoulli numbers B_2, B_4, ...
START = 10
BERNOULLI = (
    *(1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510),
    *(43867 / 798, -174611 / 330, 854513 / 138),
)


def binet(x: Array, xp: Namespace) -> Array:
    """Return Binet's function of positive numbers, right to a few units beside 1."""
    terms = [b / (2 * n * (2 * n - 1)) for n, b in enumerate(BERNOULLI, 1)]
    return _remainder(
        x,
        lambda x, y: (y + 0.5) * _log1p_of_inverse(y, xp) - 1.0,
        lambda x, y: _series(terms, y) / y,
        xp,
    )


def binet_slope(x: Array, xp: Namespace) -> Array:
    """Return the derivative of Binet's function, psi(x) - log x + 1 / 2x."""
    terms = [-b / (2 * n) for n, b in enumerate(BERNOULLI, 1)]
    return _remainder(
        x,
        lambda x, y: _log1p_of_inverse(y, xp) - (0.5 / y + 0.5 / (y + 1.0)),
        lambda x, y: _series(terms, y) / y / y,
        xp,
    )


def trigamma_excess(x: Array, xp: Namespace) -> Array:
    r"""Return :math:`x^2 \psi_1(x) - x`, which falls from 1 at x = 0 to 1/2 at infinity."""
    return 0.5 + _scaled_curvature(x, xp)


def trigamma_excess_slope(x: Array, xp: Namespace) -> Array:
    r"""Return :math:`x \, d/dx \, (x^2 \psi_1(x) - x)`, which is not positive."""
    return 2.0 * _scaled_curvature(x, xp) - _scaled_third(x, xp)


def digamma(x: Array, xp: Namespace) -> Array:
    r"""Return :math:`\psi(x)`, the derivative of the logarithm of the gamma function."""
    return xp.log(x) + (binet_slope(x, xp) - 0.5 / x)


def trigamma(x: Array, xp: Namespace) -> Array:
    r"""Return :math:`\psi_1(x)`, inf without a warning where it overflows."""
    with overflowing(xp):
        return (1.0 + trigamma_excess(x, xp) / x) / x


# ---------------------------------------------------------------- how they are computed


def _scaled_curvature(x: Array, xp: Namespace) -> Array:
    """Return x^2 times the second derivative of Binet's function."""
    return _remainder(
        x,
        lambda x, y: 0.5 * (x / y / (y + 1.0)) ** 2,
        lambda x, y: (x / y) ** 2 * (_series(BERNOULLI, y) / y),
        xp,
    )


def _scaled_third(x: Array, xp: Namespace) -> Array:
    """Return -x^3 times the third derivative of Binet's function."""
    terms = [(2 * n + 1) * b for n, b in enumerate(BERNOULLI, 1)]
    return _remainder(
        x,
        lambda x, y: (x / y / (y + 1.0)) ** 3 * (2.0 * y + 1.0),
        lambda x, y: (x / y) ** 3 * (_series(terms, y) / y),
        xp,
    )


def _remainder(
    x: Array,
    step: Callable[[Array, Array], Array],
    series: Callable[[Array, Array], Array],
    xp: Namespace,
) -> Array:
    """Return series(x, x); for small x the steps(x, y) to y = x + 10, and series(x, y) there."""
    is_small = x < START
    near = xp.where(is_small, x, xp.ones_like(x))
    total = step(near, near)
    for i in range(1, START):
        total = total + step(near, near + i)
    rest = series(x, xp.where(is_small, near + START, x))
    return rest + xp.where(is_small, total, xp.zeros_like(total))


def _series(terms: tuple[float, ...] | list[float], y: Array) -> Array:
    """Return the polynomial in 1 / y^2 with these coefficients."""
    z = 1.0 / y / y
    total = terms[-1] * z
    for term in terms[-2:0:-1]:
        total = (total + term) * z
    return total + terms[0]


def _log1p_of_inverse(y: Array, xp: Namespace) -> Array:
    """Return log(1 + 1 / y), however small y is."""
    is_small, one = y < 1.0, xp.ones_like(y)
    small = xp.where(is_small, y, one)
    return xp.where(
        is_small, xp.log1p(small) - xp.log(small), xp.log1p(1.0 / xp.where(is_small, one, y))
    )
