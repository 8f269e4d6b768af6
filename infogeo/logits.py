r"""The simplex in logits: points of the quotient R^c/1, last axis; a constant changes nothing.

Every function is that of the probabilities softmax(z), computed without forming them: classes of
probability 1e-300 count, and -inf masks a class.
"""

from infogeo import _array
from infogeo._array import LOGITS, gate

__all__ = ["fisher_rao_distance"]


def fisher_rao_distance(z, w, *, check=True):
    r"""Fisher-Rao distance between the categorical distributions of two logit vectors, in [0, pi].

    .. math:: d(z, w) = 2 \arccos \textstyle\sum_i \sqrt{p_i q_i}, \qquad
              p = \mathrm{softmax}(z), \; q = \mathrm{softmax}(w)

    Parameters
    ----------
    z, w : array, shape (..., c)
        Logits along the last axis, -inf for a masked class; leading axes broadcast.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

    Returns
    -------
    array, shape (...)
        In radians of the sphere of radius 2; same library, dtype and device as the inputs.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; NaN, +inf or rows of -inf.

    Notes
    -----
    Relative accuracy holds for near points and for probabilities that underflow: from two
    softmaxes in float64 the distance of logits 1e-10 apart has no correct digit.

    References
    ----------
    C. R. Rao, Information and the accuracy attainable in the estimation of statistical
    parameters, Bull. Calcutta Math. Soc. 37, 1945.

    Examples
    --------
    >>> float(fisher_rao_distance([0.0, -np.inf], [-np.inf, 0.0])) == np.pi
    True
    >>> f"{fisher_rao_distance([0.0, 0.0], [1e-10, 0.0]):.6e}"
    '5.000000e-11'
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    return _array.angle_of_chord(_array.norm(_root_difference(z, w, xp), xp), xp)


def _root_difference(z, w, xp):
    """Return sqrt(p) - sqrt(q) for p = softmax(z), q = softmax(w), to full relative precision."""
    (log_p, sum_p), (log_q, sum_q) = _unnormalised(z, xp), _unnormalised(w, xp)
    ratio = _log_ratio(z, w, xp)
    p_is_larger = ratio > 0.0
    # sqrt(larger) (1 - exp(-|ratio| / 2)): the sinh form of the difference would overflow.
    root_of_larger = xp.exp(0.5 * xp.where(p_is_larger, log_p, log_q)) / xp.sqrt(
        xp.where(p_is_larger, sum_p, sum_q)
    )
    shrinkage = xp.expm1(0.5 * xp.where(p_is_larger, -ratio, ratio))
    return xp.where(p_is_larger, -root_of_larger, root_of_larger) * shrinkage


def _unnormalised(z, xp):
    """Return log-probabilities up to a constant, at most 0, and the sum of their exponentials.

    Kept apart: their quotient has every digit, log p = z - logsumexp(z) loses those of |z|.
    """
    shifted = z - xp.max(z, axis=-1, keepdims=True)
    return shifted, xp.sum(xp.exp(shifted), axis=-1, keepdims=True)


def _log_ratio(z, w, xp):
    """Return log(p / q) to full relative precision; 0 where both are masked.

    For near points log p - log q cancels. There log(p / q) = v - log E_q[exp v] for any
    v = z - w - constant; the constant that makes E_q[v] = 0 leaves an expectation of 1 plus a
    small number, and the small number is what is summed.
    """
    (log_p, sum_p), (log_q, sum_q) = _unnormalised(z, xp), _unnormalised(w, xp)
    q = xp.exp(log_q) / sum_q
    in_p, in_q = log_p > -xp.inf, log_q > -xp.inf
    in_both = in_p & in_q
    zero = xp.zeros_like(q + sum_p)
    v, rounding = _two_difference(xp.where(in_both, z, zero), xp.where(in_both, w, zero))
    mean = xp.sum(q * v, axis=-1, keepdims=True)
    v = xp.where(in_both, (v - mean) + rounding, zero)
    # q exp(v) - q, from expm1 where that cancels, from one exponential where q underflows.
    # Beyond exp(40) the points are far apart, and the other formula takes over.
    q_exp_v = xp.exp(xp.clip(z - _array.logsumexp(w, xp) - mean, max=40.0))
    change = xp.where(in_both & (v < 1.0), q * xp.expm1(xp.clip(v, max=1.0)), q_exp_v - q)
    change = xp.sum(change, axis=-1, keepdims=True)
    is_near = xp.abs(change) < 0.5
    near = v - xp.log1p(xp.where(is_near, change, xp.zeros_like(change)))
    far = xp.where(in_both, log_p, zero) - xp.where(in_both, log_q, zero) - xp.log(sum_p / sum_q)
    ratio = xp.where(is_near, near, far)
    ratio = xp.where(in_p & ~in_q, zero + xp.inf, ratio)
    return xp.where(in_p, ratio, xp.where(in_q, zero - xp.inf, zero))


def _two_difference(a, b):
    """Return a - b as a rounded difference and its rounding error (Knuth's TwoSum).

    Representatives of near points may sit far apart in the quotient: the constant between them
    must not cost the digits of the difference.
    """
    difference = a - b
    back = difference - a
    return difference, (a - (difference - back)) - (b + back)
