r"""The probability simplex with the Fisher metric: points are probabilities, last axis.

The metric is :math:`g_p(u, v) = \sum_i u_i v_i / p_i`, so that :math:`p \mapsto 2\sqrt p` is an
isometry onto the positive orthant of the sphere of radius 2. Sums that differ from 1 by rounding
are harmless: every function is that of the normalised vectors.
"""

from infogeo import _array
from infogeo._array import PROBABILITIES, UNIT_INTERVAL, gate

__all__ = ["e_geodesic", "fisher_rao_distance", "fisher_rao_geodesic", "m_geodesic"]


def fisher_rao_distance(p, q, *, check=True):
    r"""Fisher-Rao distance between categorical distributions, in [0, pi].

    .. math:: d(p, q) = 2 \arccos \textstyle\sum_i \sqrt{p_i q_i}

    Parameters
    ----------
    p, q : array, shape (..., c)
        Probabilities along the last axis; leading axes broadcast.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

    Returns
    -------
    array, shape (...)
        In radians of the sphere of radius 2; same library, dtype and device as the inputs.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; entries that are not probabilities.

    Notes
    -----
    Evaluated as 4 arcsin(|delta| / 2) with delta = (p - q) / (sqrt p + sqrt q): arccos loses all
    digits near d = 1e-8, the difference sqrt p - sqrt q half of them.

    References
    ----------
    C. R. Rao, Information and the accuracy attainable in the estimation of statistical
    parameters, Bull. Calcutta Math. Soc. 37, 1945.

    Examples
    --------
    >>> float(fisher_rao_distance([1.0, 0.0], [0.0, 1.0])) == np.pi
    True
    >>> float(fisher_rao_distance([0.5, 0.5], [0.5 + 2**-40, 0.5 - 2**-40])) * 2**40
    2.0
    """
    xp, p, q = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q))
    return _array.angle_of_chord(_array.norm(_root_difference(p, q, xp), xp), xp)


def _root_difference(p, q, xp):
    """Return sqrt(p) - sqrt(q) of the normalised vectors, to full relative precision."""
    total = xp.sum(q, axis=-1, keepdims=True)
    difference = p - q
    # Sums off by 5e-7 would drown a separation of 1e-8. Correcting the two norms afterwards
    # would cancel: q is brought to the sum of p within the difference itself.
    excess = xp.sum(difference, axis=-1, keepdims=True) / total
    roots = xp.sqrt(p) + xp.sqrt(q + q * excess)
    is_zero = roots == 0.0
    difference = _without_excess(difference, q, excess, total, xp)
    delta = difference / xp.where(is_zero, xp.ones_like(roots), roots)
    return delta / xp.sqrt(total + total * excess)


def _without_excess(difference, q, excess, total, xp):
    """Return difference - q excess without the rounding error of the product."""
    is_rounding = difference.dtype != xp.float64 or (
        _array.is_readable(excess) and bool(xp.all(xp.abs(excess) < 1e-14))
    )
    if is_rounding:
        return difference - q * excess
    q_high, excess_high = _leading_bits(q, xp), _leading_bits(excess, xp)
    low = q_high * (excess - excess_high) + (q - q_high) * excess
    difference = (difference - q_high * excess_high) - low  # that product is exact
    return difference - q * (xp.sum(difference, axis=-1, keepdims=True) / total)


def _leading_bits(x, xp):
    return xp.astype(xp.astype(x, xp.float32), xp.float64)


def fisher_rao_geodesic(p, q, t, *, check=True):
    r"""Point of the Fisher-Rao geodesic from p (t = 0) to q (t = 1).

    .. math:: \sqrt{\gamma(t)} = \frac{\sin((1 - t)\varphi) \sqrt p + \sin(t \varphi) \sqrt q}
              {\sin \varphi}, \qquad \varphi = d(p, q) / 2

    Parameters
    ----------
    p, q : array, shape (..., c)
        Probabilities along the last axis; leading axes broadcast.
    t : float or array
        Parameter in [0, 1], proportional to arc length. Its axes come first in the result.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

    Returns
    -------
    array, shape (*t.shape, ..., c)
        Probabilities.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; t outside [0, 1].

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> fisher_rao_geodesic([1.0, 0.0], [0.0, 1.0], 0.5).round(12)
    array([0.5, 0.5])
    """
    xp, p, q, t = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q), t=(UNIT_INTERVAL, t))
    delta = _root_difference(p, q, xp)
    angle = 0.5 * _array.angle_of_chord(_array.norm(delta, xp), xp)[..., None]
    t = _array.as_leading(t, delta, xp)
    is_zero = angle == 0.0
    sine = xp.where(is_zero, xp.ones_like(angle), xp.sin(angle))
    from_p = xp.where(is_zero, 1.0 - t, xp.sin((1.0 - t) * angle) / sine)
    from_q = xp.where(is_zero, t, xp.sin(t * angle) / sine)
    return _normalised((from_p * xp.sqrt(p) + from_q * xp.sqrt(q)) ** 2, xp)


def e_geodesic(p, q, t, *, check=True):
    r"""Point of the e-geodesic from p (t = 0) to q (t = 1): straight in log-probabilities.

    .. math:: \gamma(t) \propto p^{1 - t} q^t

    Parameters
    ----------
    p, q : array, shape (..., c)
        Probabilities along the last axis; leading axes broadcast.
    t : float or array
        Parameter in [0, 1]. Its axes come first in the result.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

    Returns
    -------
    array, shape (*t.shape, ..., c)
        Probabilities. Inside (0, 1) an outcome that p or q excludes has probability 0.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; t outside [0, 1]; p and q without a common outcome.

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> e_geodesic([0.8, 0.2], [0.2, 0.8], [0.0, 0.5, 1.0]).round(12)
    array([[0.8, 0.2],
           [0.5, 0.5],
           [0.2, 0.8]])
    """
    xp, p, q, t = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q), t=(UNIT_INTERVAL, t))
    joint = (p > 0.0) & (q > 0.0)
    if check and _array.is_readable(joint) and not bool(xp.all(xp.any(joint, axis=-1))):
        raise _array.bad_value(
            "p and q",
            "have an outcome in common for an e-geodesic to join them",
            "their supports are disjoint",
            "The Fisher-Rao and m-geodesics join any two distributions.",
        )
    t = _array.as_leading(t, joint, xp)
    log_p = xp.log(xp.where(joint, p, xp.ones_like(p)))
    log_q = xp.log(xp.where(joint, q, xp.ones_like(q)))
    theta = xp.where(joint, (1.0 - t) * log_p + t * log_q, -xp.inf)
    inside = xp.exp(_array.log_softmax(theta, xp))
    # The curve jumps at its ends when one of them has outcomes that the other excludes.
    at_ends = xp.where(t == 0.0, _normalised(p, xp), _normalised(q, xp))
    return xp.where((t == 0.0) | (t == 1.0), at_ends, inside)


def m_geodesic(p, q, t, *, check=True):
    r"""Point of the m-geodesic from p (t = 0) to q (t = 1): straight in probabilities.

    .. math:: \gamma(t) = (1 - t) p + t q

    Parameters
    ----------
    p, q : array, shape (..., c)
        Probabilities along the last axis; leading axes broadcast.
    t : float or array
        Parameter in [0, 1]. Its axes come first in the result.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

    Returns
    -------
    array, shape (*t.shape, ..., c)
        Probabilities.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; t outside [0, 1].

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> m_geodesic([1.0, 0.0], [0.0, 1.0], 0.25)
    array([0.75, 0.25])
    """
    xp, p, q, t = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q), t=(UNIT_INTERVAL, t))
    p, q = _normalised(p, xp), _normalised(q, xp)
    t = _array.as_leading(t, p + q, xp)
    return (1.0 - t) * p + t * q


def _normalised(p, xp):
    return p / xp.sum(p, axis=-1, keepdims=True)
