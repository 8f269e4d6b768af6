"""Divergences of multivariate normals, and distances in closed form inside subfamilies."""

import math

from infogeo import _array, _divergence
from infogeo._array import Array, Namespace, bad_value
from infogeo.multivariate_normal._point import (
    MultivariateNormal,
    factor_of,
    gate,
    gate_pair,
    narrow,
    solve_lower_vector,
    wide,
)
from infogeo.multivariate_normal._relative import (
    chord_of_cosh,
    chord_of_exp,
    chord_of_renyi,
    log_ratios,
)


def kl_divergence(a: MultivariateNormal, b: MultivariateNormal, *, check: bool = True) -> Array:
    r"""Return the Kullback-Leibler divergence, in nats.

    .. math:: \mathrm{KL}(a, b) = \tfrac12 \bigl(\textstyle\sum_i (e^{-\lambda_i} - 1 + \lambda_i)
              + (\mu_b - \mu_a)' S_b^{-1} (\mu_b - \mu_a)\bigr), \qquad
              e^\lambda = \operatorname{eig}(S_a^{-1} S_b)

    Parameters
    ----------
    a, b : MultivariateNormal
    check : bool

    Returns
    -------
    array, shape (...)
        The sum has no term of either sign to cancel: near normals keep their digits.

    Examples
    --------
    >>> import numpy as np
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([1.0, 0.0], np.eye(2))
    >>> float(kl_divergence(a, b))
    0.5
    """
    xp, a, b = gate_pair(a, b)
    ratios = log_ratios(a, b, xp)
    of_covs = xp.sum(_excess_of_exp(-ratios.logs, xp), axis=-1)
    of_covs = of_covs + ratios.bend(chord_of_exp(xp, -1.0), xp)
    return narrow(0.5 * (of_covs + _mahalanobis(a, b, b, xp)), a.mean, xp)


def jeffreys_divergence(
    a: MultivariateNormal, b: MultivariateNormal, *, check: bool = True
) -> Array:
    r"""Return the Jeffreys divergence KL(a, b) + KL(b, a), in nats.

    .. math:: J(a, b) = \textstyle\sum_i 2 \sinh^2(\lambda_i / 2)
              + \tfrac12 (\mu_b - \mu_a)' (S_a^{-1} + S_b^{-1}) (\mu_b - \mu_a)

    Parameters
    ----------
    a, b : MultivariateNormal
    check : bool

    Returns
    -------
    array, shape (...)
        Its square root is no distance, and at least the Fisher-Rao distance.

    Examples
    --------
    >>> import numpy as np
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([1.0, 0.0], np.eye(2))
    >>> float(jeffreys_divergence(a, b))
    1.0
    """
    xp, a, b = gate_pair(a, b)
    ratios = log_ratios(a, b, xp)
    of_covs = 2.0 * xp.sum(xp.sinh(0.5 * ratios.logs) ** 2, axis=-1)
    of_covs = of_covs + ratios.bend(chord_of_cosh(xp), xp)
    of_means = 0.5 * (_mahalanobis(a, b, a, xp) + _mahalanobis(a, b, b, xp))
    return narrow(of_covs + of_means, a.mean, xp)


def hellinger_distance(
    a: MultivariateNormal, b: MultivariateNormal, *, check: bool = True
) -> Array:
    r"""Return the Hellinger distance, in [0, 1].

    .. math:: H^2 = 1 - \exp\bigl(-\tfrac18 (\mu_b - \mu_a)' \bigl(\tfrac{S_a + S_b}{2}\bigr)^{-1}
              (\mu_b - \mu_a) - \tfrac12 \textstyle\sum_i \log \cosh(\lambda_i / 2)\bigr)

    Parameters
    ----------
    a, b : MultivariateNormal
    check : bool

    Returns
    -------
    array, shape (...)
        H, not its square.

    Examples
    --------
    >>> import numpy as np
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([2.0, 0.0], np.eye(2))
    >>> round(float(hellinger_distance(a, b)), 6)  # sqrt(1 - exp(-1/2))
    0.627271
    """
    xp, a, b = gate_pair(a, b)
    middle = 0.5 * (wide(a.cov, xp) + wide(b.cov, xp))
    difference = wide(b.mean, xp) - wide(a.mean, xp)
    whitened = solve_lower_vector(xp.linalg.cholesky(middle), difference, xp)
    ratios = log_ratios(a, b, xp)
    log_cosh = xp.sum(xp.log1p(2.0 * xp.sinh(0.25 * ratios.logs) ** 2), axis=-1)
    log_cosh = log_cosh + ratios.bend(chord_of_renyi(0.5, xp), xp)
    exponent = 0.125 * xp.sum(whitened**2, axis=-1) + 0.5 * log_cosh
    # H of near points, for which the square of H may underflow.
    is_near = exponent < float(xp.finfo(exponent.dtype).eps)
    parts = xp.concat([math.sqrt(0.125) * whitened, 0.25 * ratios.entries(xp)], axis=-1)
    parts = xp.where(is_near[..., None], parts, 0.0)
    far = _array.safe_sqrt(-_array.expm1(-exponent, xp), xp)
    return narrow(xp.where(is_near, _array.norm(parts, xp), far), a.mean, xp)


def entropy(a: MultivariateNormal, *, check: bool = True) -> Array:
    r"""Return the differential entropy, in nats.

    .. math:: H = \tfrac12 \log \det (2 \pi e S)

    Parameters
    ----------
    a : MultivariateNormal
    check : bool

    Returns
    -------
    array, shape (...)
        Negative for narrow distributions.

    Raises
    ------
    TypeError
        a is not a MultivariateNormal.

    Examples
    --------
    >>> import numpy as np
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> round(float(entropy(MultivariateNormal([0.0, 0.0], np.eye(2)))), 6)
    2.837877
    """
    xp, a = gate(False, a=(MultivariateNormal, a))
    diagonal = xp.linalg.diagonal(factor_of(a, xp))
    constant = 0.5 * a.dim * (1.0 + math.log(2.0 * math.pi))
    return narrow(constant + xp.sum(xp.log(diagonal), axis=-1), a.mean, xp)


# ---------------------------------------------------------------- inside subfamilies


def fixed_mean_distance(
    a: MultivariateNormal, b: MultivariateNormal, *, check: bool = True
) -> Array:
    r"""Return the distance of normals of one mean, the same as inside that family.

    .. math:: d = \sqrt{\tfrac12 \textstyle\sum_i \log^2 l_i}, \qquad
              l = \operatorname{eig}(S_a^{-1} S_b)

    Parameters
    ----------
    a, b : MultivariateNormal
        With the same means; batches broadcast.
    check : bool
        Verify that the means are the same.

    Returns
    -------
    array, shape (...)
        The submanifold is totally geodesic: the distance in the full family is the same.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; means that differ.

    Examples
    --------
    >>> import numpy as np
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([0.0, 0.0], np.diag([np.e, 1 / np.e]))
    >>> round(float(fixed_mean_distance(a, b)), 12)
    1.0
    """
    xp, a, b = gate_pair(a, b)
    _require_equal(check, "mean", a.mean, b.mean, xp)
    return narrow(_array.norm(log_ratios(a, b, xp).entries(xp), xp) / math.sqrt(2.0), a.mean, xp)


def fixed_covariance_distance(
    a: MultivariateNormal, b: MultivariateNormal, *, check: bool = True
) -> Array:
    r"""Return the distance inside the normals of one covariance, that of Mahalanobis.

    .. math:: d = \sqrt{(\mu_a - \mu_b)' S^{-1} (\mu_a - \mu_b)}

    Parameters
    ----------
    a, b : MultivariateNormal
        With the same covariances; batches broadcast.
    check : bool
        Verify that the covariances are the same.

    Returns
    -------
    array, shape (...)
        An upper bound on the distance in the full family, whose geodesics widen on their way:
        that is sqrt2 arccosh(1 + d^2 / 4).

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; covariances that differ.

    Examples
    --------
    >>> import numpy as np
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], 4 * np.eye(2))
    >>> b = MultivariateNormal([3.0, 4.0], 4 * np.eye(2))
    >>> float(fixed_covariance_distance(a, b))
    2.5
    """
    xp, a, b = gate_pair(a, b)
    _require_equal(check, "cov", a.cov, b.cov, xp)
    difference = wide(b.mean, xp) - wide(a.mean, xp)
    whitened = solve_lower_vector(factor_of(a, xp), difference, xp)
    return narrow(_array.norm(whitened, xp), a.mean, xp)


def _require_equal(check: bool, name: str, x: Array, y: Array, xp: Namespace) -> None:
    if check and _array.is_readable(x) and bool(xp.any(x != y)):
        raise bad_value(
            f"a.{name} and b.{name}",
            "be the same",
            f"they differ by up to {float(_array.on_host(xp.max(xp.abs(x - y)))):.3g}",
            "fisher_rao_distance has no such condition.",
        )


# ---------------------------------------------------------------- terms


def _mahalanobis(
    a: MultivariateNormal, b: MultivariateNormal, of: MultivariateNormal, xp: Namespace
) -> Array:
    """Return the squared distance of the means in the metric of one of the covariances."""
    difference = wide(b.mean, xp) - wide(a.mean, xp)
    return xp.sum(solve_lower_vector(factor_of(of, xp), difference, xp) ** 2, axis=-1)


def _excess_of_exp(y: Array, xp: Namespace) -> Array:
    """Return exp(y) - 1 - y."""
    is_small = xp.abs(y) < 1.0
    small = _divergence.expm1_minus(xp.where(is_small, y, xp.zeros_like(y)), xp)
    return xp.where(is_small, small, _array.expm1(y, xp) - y)
