"""Entropy and divergences of logits."""

from __future__ import annotations

from infogeo import _array, _divergence
from infogeo._array import LOGITS, Array, Namespace, gate
from infogeo.logits._distance import log_ratio_of, unnormalised
from infogeo.typing import A, ArrayLike


def entropy(z: ArrayLike[A], *, base: float | None = None, check: bool = True) -> A:
    r"""Return the Shannon entropy.

    .. math:: H = -\sum_i p_i \log p_i

    Parameters
    ----------
    z : array, shape (..., c)
    base : float, optional
    check : bool

    Returns
    -------
    array, shape (...)
        In nats, in [0, log c].

    Examples
    --------
    >>> round(float(entropy([0.0, 0.0, -np.inf])), 6)
    0.693147
    """
    xp, z = gate(check, z=(LOGITS, z))
    log_p, root, total = unnormalised(z, xp)
    p = root * root / total
    counted = xp.where(p > 0.0, log_p, xp.zeros_like(log_p))
    # The largest logit is 0 now: log(total) is log1p of the others, without the 1.
    others = xp.sum(xp.where(log_p < 0.0, xp.exp(log_p), xp.zeros_like(log_p)), axis=-1)
    ties = xp.sum(xp.astype(log_p == 0.0, log_p.dtype), axis=-1)
    entropy = xp.log(ties) + xp.log1p(others / ties) - xp.sum(p * counted, axis=-1)
    return entropy / _divergence.unit_of(base)


def kl_divergence(
    z: ArrayLike[A], w: ArrayLike[A], *, base: float | None = None, check: bool = True
) -> A:
    r"""Return the Kullback-Leibler divergence of p from q.

    .. math:: \mathrm{KL}(p, q) = \sum_i p_i \log \frac{p_i}{q_i}

    Parameters
    ----------
    z, w : array, shape (..., c)
    base : float, optional
    check : bool

    Returns
    -------
    array, shape (...)
        In nats; inf where w masks a class of z.

    Examples
    --------
    >>> float(kl_divergence([800.0, -800.0], [-800.0, 800.0]))
    1600.0
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    p, q, _, ratio = _divergence_arguments(z, w, xp)
    return _divergence.kullback_leibler(p, q, ratio, xp) / _divergence.unit_of(base)


def jeffreys_divergence(
    z: ArrayLike[A], w: ArrayLike[A], *, base: float | None = None, check: bool = True
) -> A:
    r"""Return the Jeffreys divergence, the sum of the two Kullback-Leibler divergences.

    .. math:: J(p, q) = \sum_i (p_i - q_i) \log \frac{p_i}{q_i}

    Parameters
    ----------
    z, w : array, shape (..., c)
    base : float, optional
    check : bool

    Returns
    -------
    array, shape (...)
        In nats; inf where the masks differ.

    Examples
    --------
    >>> float(jeffreys_divergence([800.0, -800.0], [-800.0, 800.0]))
    3200.0
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    p, q, _, ratio = _divergence_arguments(z, w, xp)
    return _divergence.jeffreys(p, q, ratio, xp) / _divergence.unit_of(base)


def jensen_shannon_divergence(
    z: ArrayLike[A], w: ArrayLike[A], *, base: float | None = None, check: bool = True
) -> A:
    r"""Return the Jensen-Shannon divergence.

    .. math:: \mathrm{JS}(p, q) = \tfrac12 \mathrm{KL}(p, m) + \tfrac12 \mathrm{KL}(q, m),
              \quad m = \tfrac12 (p + q)

    Parameters
    ----------
    z, w : array, shape (..., c)
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
    >>> z, w = [0.0, 0.0, -np.inf], [-np.inf, 0.0, 0.0]
    >>> round(float(jensen_shannon_divergence(z, w, base=2)), 12)
    0.5
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    p, q, _, ratio = _divergence_arguments(z, w, xp)
    return _divergence.jensen_shannon(p, q, ratio, xp) / _divergence.unit_of(base)


def jensen_shannon_distance(
    z: ArrayLike[A], w: ArrayLike[A], *, base: float | None = None, check: bool = True
) -> A:
    r"""Return the Jensen-Shannon distance, the root of the divergence.

    Parameters
    ----------
    z, w : array, shape (..., c)
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
    >>> round(float(jensen_shannon_distance([0.0, 0.0, -np.inf], [-np.inf, 0.0, 0.0], base=2)), 6)
    0.707107
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    p, q, _, ratio = _divergence_arguments(z, w, xp)
    divergence = _divergence.jensen_shannon(p, q, ratio, xp) / _divergence.unit_of(base)
    return _array.safe_sqrt(divergence, xp)


def total_variation_distance(z: ArrayLike[A], w: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the total variation distance, the largest difference in probability of an event.

    .. math:: \mathrm{TV}(p, q) = \tfrac12 \textstyle\sum_i |p_i - q_i|

    Parameters
    ----------
    z, w : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        In [0, 1]. The best test of one observation errs in a share of (1 - TV) / 2.

    Examples
    --------
    >>> round(float(total_variation_distance([0.0, 0.0, -np.inf], [-np.inf, 0.0, 0.0])), 12)
    0.5
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    p, q, _, ratio = _divergence_arguments(z, w, xp)
    return _divergence.total_variation(p, q, ratio, xp)


def chi_square_divergence(z: ArrayLike[A], w: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return Pearson's chi-square divergence of p from q.

    .. math:: \chi^2(p, q) = \sum_i \frac{(p_i - q_i)^2}{q_i}

    Parameters
    ----------
    z, w : array, shape (..., c)
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
    >>> round(float(chi_square_divergence([0.0, 0.0], [0.0, np.log(3.0)])), 6)
    0.333333
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    p, q, log_p, ratio = _divergence_arguments(z, w, xp)
    return 2.0 * _divergence.alpha(p, q, log_p, ratio, -3.0, xp)


def alpha_divergence(z: ArrayLike[A], w: ArrayLike[A], *, alpha: float, check: bool = True) -> A:
    r"""Return Amari's alpha-divergence.

    .. math:: D_\alpha(p, q) = \frac{4}{1 - \alpha^2} \left(1 - \textstyle\sum_i
              p_i^{(1 - \alpha) / 2} q_i^{(1 + \alpha) / 2}\right)

    Parameters
    ----------
    z, w : array, shape (..., c)
    alpha : float
        -1 gives KL(p, q), +1 gives KL(q, p); any real number is allowed.
    check : bool

    Returns
    -------
    array, shape (...)
        Not negative.

    Examples
    --------
    >>> float(alpha_divergence([800.0, -800.0], [-800.0, 800.0], alpha=0.0))
    4.0
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    p, q, log_p, ratio = _divergence_arguments(z, w, xp)
    return _divergence.alpha(p, q, log_p, ratio, _array.finite_number("alpha", alpha), xp)


def renyi_divergence(
    z: ArrayLike[A], w: ArrayLike[A], *, order: float, base: float | None = None, check: bool = True
) -> A:
    r"""Return the Renyi divergence.

    .. math:: R(p, q) = \frac{1}{\text{order} - 1}
              \log \textstyle\sum_i p_i^{\text{order}} q_i^{1 - \text{order}}

    Parameters
    ----------
    z, w : array, shape (..., c)
    order : float
        In [0, inf]; 1 gives KL(p, q).
    base : float, optional
    check : bool

    Returns
    -------
    array, shape (...)
        In nats; inf where the masks force it.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; NaN, +inf or rows of -inf; a negative order.

    Examples
    --------
    >>> float(renyi_divergence([800.0, -800.0], [-800.0, 800.0], order=np.inf))
    1600.0
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    p, q, log_p, ratio = _divergence_arguments(z, w, xp)
    order = _divergence.checked_order(order)
    return _divergence.renyi(p, q, log_p, ratio, order, xp) / _divergence.unit_of(base)


def _divergence_arguments(z: Array, w: Array, xp: Namespace) -> tuple[Array, Array, Array, Array]:
    p, q = _array.softmax(z, xp), _array.softmax(w, xp)
    return p, q, _array.log_softmax(z, xp), log_ratio_of(z, w, xp)
