"""Entropy and divergences of probabilities."""

from __future__ import annotations

from infogeo import _array, _divergence
from infogeo._array import PROBABILITIES, Array, Namespace, gate
from infogeo.simplex._distance import matched_difference, normalised, without_common_zeros
from infogeo.typing import A, ArrayLike


def entropy(p: ArrayLike[A], *, base: float | None = None, check: bool = True) -> A:
    r"""Return the Shannon entropy.

    .. math:: H(p) = -\sum_i p_i \log p_i

    Parameters
    ----------
    p : array, shape (..., c)
    base : float, optional
    check : bool

    Returns
    -------
    array, shape (...)
        In nats, in [0, log c].

    Examples
    --------
    >>> round(float(entropy([0.5, 0.5, 0.0])), 6)
    0.693147
    """
    xp, p = gate(check, p=(PROBABILITIES, p))
    p = normalised(p, xp)
    # Near a vertex the largest logarithm is that of 1 minus the sum of the others.
    is_top, zero = p > 0.5, xp.zeros_like(p)
    rest = xp.sum(xp.where(is_top, zero, p), axis=-1, keepdims=True)
    log_top = xp.log1p(-xp.where(is_top, rest, zero))
    log_p = xp.where(is_top, log_top, xp.log(xp.where(p > 0.0, p, zero + 1.0)))
    return xp.sum(p * -log_p, axis=-1) / _divergence.unit_of(base)


def kl_divergence(
    p: ArrayLike[A], q: ArrayLike[A], *, base: float | None = None, check: bool = True
) -> A:
    r"""Return the Kullback-Leibler divergence of p from q.

    .. math:: \mathrm{KL}(p, q) = \sum_i p_i \log \frac{p_i}{q_i}

    Parameters
    ----------
    p, q : array, shape (..., c)
    base : float, optional
    check : bool

    Returns
    -------
    array, shape (...)
        In nats; inf where q excludes an outcome of p.

    Notes
    -----
    Summed as p (q / p - 1 - log(q / p)), whose terms are not negative: near points keep their
    digits.

    References
    ----------
    S. Kullback and R. A. Leibler, On information and sufficiency, Ann. Math. Stat. 22, 1951.

    Examples
    --------
    >>> round(float(kl_divergence([1.0, 0.0], [0.5, 0.5])), 6)
    0.693147
    """
    xp, p, q = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q))
    p, q, _, ratio = _log_ratio(p, q, xp)
    return _divergence.kullback_leibler(p, q, ratio, xp) / _divergence.unit_of(base)


def jeffreys_divergence(
    p: ArrayLike[A], q: ArrayLike[A], *, base: float | None = None, check: bool = True
) -> A:
    r"""Return the Jeffreys divergence, the sum of the two Kullback-Leibler divergences.

    .. math:: J(p, q) = \sum_i (p_i - q_i) \log \frac{p_i}{q_i}

    Parameters
    ----------
    p, q : array, shape (..., c)
    base : float, optional
    check : bool

    Returns
    -------
    array, shape (...)
        In nats; inf where the supports differ.

    References
    ----------
    H. Jeffreys, An invariant form for the prior probability in estimation problems,
    Proc. Roy. Soc. A 186, 1946.

    Examples
    --------
    >>> float(jeffreys_divergence([0.2, 0.8], [0.8, 0.2]).round(6))
    1.663553
    """
    xp, p, q = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q))
    p, q, _, ratio = _log_ratio(p, q, xp)
    return _divergence.jeffreys(p, q, ratio, xp) / _divergence.unit_of(base)


def jensen_shannon_divergence(
    p: ArrayLike[A], q: ArrayLike[A], *, base: float | None = None, check: bool = True
) -> A:
    r"""Return the Jensen-Shannon divergence.

    .. math:: \mathrm{JS}(p, q) = \tfrac12 \mathrm{KL}(p, m) + \tfrac12 \mathrm{KL}(q, m),
              \quad m = \tfrac12 (p + q)

    Parameters
    ----------
    p, q : array, shape (..., c)
    base : float, optional
    check : bool

    Returns
    -------
    array, shape (...)
        In nats, in [0, log 2]; in bits in [0, 1].

    Notes
    -----
    Near points keep their digits. There it is an eighth of the squared Fisher-Rao distance.

    References
    ----------
    J. Lin, Divergence measures based on the Shannon entropy, IEEE Trans. Inf. Theory 37, 1991.

    Examples
    --------
    >>> round(float(jensen_shannon_divergence([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], base=2)), 12)
    0.5
    """
    xp, p, q = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q))
    p, q, _, ratio = _log_ratio(p, q, xp)
    return _divergence.jensen_shannon(p, q, ratio, xp) / _divergence.unit_of(base)


def jensen_shannon_distance(
    p: ArrayLike[A], q: ArrayLike[A], *, base: float | None = None, check: bool = True
) -> A:
    r"""Return the Jensen-Shannon distance, the root of the divergence.

    Parameters
    ----------
    p, q : array, shape (..., c)
    base : float, optional
    check : bool

    Returns
    -------
    array, shape (...)
        In [0, sqrt(log 2)]; for base 2 in [0, 1]. It is a metric.

    References
    ----------
    D. M. Endres and J. E. Schindelin, A new metric for probability distributions,
    IEEE Trans. Inf. Theory 49, 2003.

    Examples
    --------
    >>> round(float(jensen_shannon_distance([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], base=2)), 6)
    0.707107
    """
    xp, p, q = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q))
    p, q, _, ratio = _log_ratio(p, q, xp)
    divergence = _divergence.jensen_shannon(p, q, ratio, xp) / _divergence.unit_of(base)
    return _array.safe_sqrt(divergence, xp)


def total_variation_distance(p: ArrayLike[A], q: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the total variation distance, the largest difference in probability of an event.

    .. math:: \mathrm{TV}(p, q) = \tfrac12 \textstyle\sum_i |p_i - q_i|

    Parameters
    ----------
    p, q : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        In [0, 1]. The best test of one observation errs in a share of (1 - TV) / 2.

    Examples
    --------
    >>> round(float(total_variation_distance([0.5, 0.5, 0.0], [0.0, 0.5, 0.5])), 12)
    0.5
    """
    xp, p, q = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q))
    p, q, _, ratio = _log_ratio(p, q, xp)
    return _divergence.total_variation(p, q, ratio, xp)


def chi_square_divergence(p: ArrayLike[A], q: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return Pearson's chi-square divergence of p from q.

    .. math:: \chi^2(p, q) = \sum_i \frac{(p_i - q_i)^2}{q_i}

    Parameters
    ----------
    p, q : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        Not negative; inf where q excludes an outcome of p. Pearson's statistic of n observations
        with frequencies p is n times this value.

    References
    ----------
    K. Pearson, On the criterion that a given system of deviations from the probable ..., Phil.
    Mag. 50, 1900.

    Examples
    --------
    >>> round(float(chi_square_divergence([0.5, 0.5], [0.25, 0.75])), 6)
    0.333333
    """
    xp, p, q = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q))
    p, q, log_p, ratio = _log_ratio(p, q, xp)
    return 2.0 * _divergence.alpha(p, q, log_p, ratio, -3.0, xp)


def alpha_divergence(p: ArrayLike[A], q: ArrayLike[A], *, alpha: float, check: bool = True) -> A:
    r"""Return Amari's alpha-divergence.

    .. math:: D_\alpha(p, q) = \frac{4}{1 - \alpha^2} \left(1 - \textstyle\sum_i
              p_i^{(1 - \alpha) / 2} q_i^{(1 + \alpha) / 2}\right)

    Parameters
    ----------
    p, q : array, shape (..., c)
    alpha : float
        -1 gives KL(p, q), +1 gives KL(q, p), 0 four times the squared Hellinger distance; any
        real number is allowed, and the divergence is continuous in it.
    check : bool

    Returns
    -------
    array, shape (...)
        Not negative.

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 3.6.

    Examples
    --------
    >>> p, q = [0.2, 0.8], [0.5, 0.5]
    >>> bool(alpha_divergence(p, q, alpha=-1.0) == kl_divergence(p, q))
    True
    """
    xp, p, q = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q))
    p, q, log_p, ratio = _log_ratio(p, q, xp)
    return _divergence.alpha(p, q, log_p, ratio, _array.finite_number("alpha", alpha), xp)


def renyi_divergence(
    p: ArrayLike[A], q: ArrayLike[A], *, order: float, base: float | None = None, check: bool = True
) -> A:
    r"""Return the Renyi divergence.

    .. math:: R(p, q) = \frac{1}{\text{order} - 1}
              \log \textstyle\sum_i p_i^{\text{order}} q_i^{1 - \text{order}}

    Parameters
    ----------
    p, q : array, shape (..., c)
    order : float
        In [0, inf]: 1 gives KL(p, q), inf the logarithm of the largest ratio p / q, 0 minus the
        logarithm of q's probability of the support of p.
    base : float, optional
    check : bool

    Returns
    -------
    array, shape (...)
        In nats; inf where the supports force it.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; a negative order.

    References
    ----------
    T. van Erven and P. Harremoes, Renyi divergence and Kullback-Leibler divergence,
    IEEE Trans. Inf. Theory 60, 2014.

    Examples
    --------
    >>> round(float(renyi_divergence([0.5, 0.5], [0.25, 0.75], order=np.inf)), 6)
    0.693147
    """
    xp, p, q = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q))
    p, q, log_p, ratio = _log_ratio(p, q, xp)
    order = _divergence.checked_order(order)
    return _divergence.renyi(p, q, log_p, ratio, order, xp) / _divergence.unit_of(base)


def _log_ratio(p: Array, q: Array, xp: Namespace) -> tuple[Array, Array, Array, Array]:
    """Return the normalised p and q, log p, and log(p / q) to full relative precision."""
    p, q = without_common_zeros(p, q, xp)
    difference, growth, total = matched_difference(p, q, xp)
    q_scaled = q * growth
    is_near = xp.abs(difference) < 0.5 * q_scaled
    one = xp.ones_like(q_scaled)
    relative = xp.where(is_near, difference, 0.0 * one) / xp.where(is_near, q_scaled, one)
    log_p = _array.safe_log(p, xp) - xp.log(total)
    far = _far_log_ratio(p, q, xp) - xp.log(growth)
    return p / total, q_scaled / total, log_p, xp.where(is_near, xp.log1p(relative), far)


def _far_log_ratio(p: Array, q: Array, xp: Namespace) -> Array:
    """Return log(p / q) as the logarithm of a quotient, which is more exact than a difference.

    It is the quotient of the square roots: neither this one nor its derivatives overflow.
    """
    in_p, in_q = p > 0.0, q > 0.0
    one = xp.ones_like(p + q)
    root_p, root_q = (xp.sqrt(xp.where(in_p & in_q, x, one)) for x in (p, q))
    ratio = 2.0 * xp.log(root_p / root_q)
    return xp.where(in_p & ~in_q, xp.inf * one, xp.where(in_q & ~in_p, -xp.inf * one, ratio))
