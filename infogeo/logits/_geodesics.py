"""Geodesics of logits, and the maps between velocities and points."""

from __future__ import annotations

import math

from infogeo import _array, _geodesic, _sphere
from infogeo._array import LOGITS, UNIT_INTERVAL, VECTOR, Array, Namespace, bad_value, gate
from infogeo.logits._distance import (
    chord_of,
    log_ratio_of,
    normalised,
    root_difference,
    unnormalised,
)
from infogeo.logits._fisher import score_of
from infogeo.simplex._distance import angle_of_chord
from infogeo.typing import A, ArrayLike


def fisher_rao_geodesic(
    z: ArrayLike[A], w: ArrayLike[A], t: ArrayLike[A], *, check: bool = True
) -> A:
    r"""Return the point at t of the Fisher-Rao geodesic from z (t = 0) to w (t = 1).

    .. math:: \sqrt{\gamma(t)} = \frac{\sin((1 - t)\varphi) \sqrt p + \sin(t \varphi) \sqrt q}
              {\sin \varphi}, \qquad \varphi = d(z, w) / 2

    Parameters
    ----------
    z, w : array, shape (..., c)
    t : float or array
    check : bool

    Returns
    -------
    array, shape t.shape + (..., c)
        Logits with sum zero.

    Examples
    --------
    >>> fisher_rao_geodesic([1.0, -1.0], [-1.0, 1.0], 0.5).round(12) + 0.0
    array([0., 0.])
    """
    xp, z, w, t = gate(check, z=(LOGITS, z), w=(LOGITS, w), t=(UNIT_INTERVAL, t))
    delta = root_difference(z, w, xp)
    angle = 0.5 * angle_of_chord(_array.norm(delta, xp), xp)[..., None]
    from_z, from_w = _sphere.slerp_weights(angle, _array.as_leading(t, delta, xp), xp)
    log_p, log_q = _array.log_softmax(z, xp), _array.log_softmax(w, xp)
    roots = _log_mixture(from_z, 0.5 * log_p, from_w, 0.5 * log_q, xp)
    return _array.centred(2.0 * roots, xp)


def e_geodesic(z: ArrayLike[A], w: ArrayLike[A], t: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the point at t of the e-geodesic from z to w, which is straight in logits.

    .. math:: \gamma(t) = (1 - t) z + t w

    Parameters
    ----------
    z, w : array, shape (..., c)
    t : float or array
    check : bool

    Returns
    -------
    array, shape t.shape + (..., c)
        Logits with sum zero; strictly inside, classes masked in z or in w are masked.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; NaN, +inf or rows of -inf; no common class.

    Examples
    --------
    >>> e_geodesic([1.0, -1.0], [-1.0, 1.0], 0.25)
    array([ 0.5, -0.5])
    """
    xp, z, w, t = gate(check, z=(LOGITS, z), w=(LOGITS, w), t=(UNIT_INTERVAL, t))
    joint = (z > -xp.inf) & (w > -xp.inf)
    _geodesic.require_common_outcome("z and w", joint, check, xp)
    t = _array.as_leading(t, joint, xp)
    z, w = (x - xp.max(x, axis=-1, keepdims=True) for x in (z, w))
    zero = xp.zeros_like(z)
    line = (1.0 - t) * xp.where(joint, z, zero) + t * xp.where(joint, w, zero)
    inside = xp.where(joint, line, xp.full_like(line, -xp.inf))
    differ = (z > -xp.inf) != (w > -xp.inf)
    return _array.centred(_geodesic.with_ends(inside, z, w, t, differ, xp), xp)


def m_geodesic(z: ArrayLike[A], w: ArrayLike[A], t: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the point at t of the m-geodesic from z to w, which is straight in probabilities.

    .. math:: \gamma(t) = \log((1 - t) p + t q)

    Parameters
    ----------
    z, w : array, shape (..., c)
    t : float or array
    check : bool

    Returns
    -------
    array, shape t.shape + (..., c)
        Logits with sum zero.

    Examples
    --------
    >>> m_geodesic([1.0, -1.0], [-1.0, 1.0], 0.5).round(12) + 0.0
    array([0., 0.])
    """
    xp, z, w, t = gate(check, z=(LOGITS, z), w=(LOGITS, w), t=(UNIT_INTERVAL, t))
    log_p, log_q = _array.log_softmax(z, xp), _array.log_softmax(w, xp)
    t = _array.as_leading(t, xp.zeros_like(z) + xp.zeros_like(w), xp)
    return _array.centred(_log_mixture(1.0 - t, log_p, t, log_q, xp), xp)


def alpha_geodesic(
    z: ArrayLike[A], w: ArrayLike[A], t: ArrayLike[A], *, alpha: float, check: bool = True
) -> A:
    r"""Return the point at t of the geodesic of Amari's alpha-connection from z to w.

    As `infogeo.simplex.alpha_geodesic`, without forming probabilities.

    Parameters
    ----------
    z, w : array, shape (..., c)
    t : float or array
    alpha : float
        +1 is the e-connection, -1 the m-connection, 0 Levi-Civita; any real number is allowed.
    check : bool

    Returns
    -------
    array, shape t.shape + (..., c)
        Logits with sum zero.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; NaN, +inf or rows of -inf; for alpha >= 1, no common class.

    Examples
    --------
    >>> z, w = [1.0, 0.0, -1.0], [0.0, 3.0, 0.0]
    >>> np.allclose(alpha_geodesic(z, w, 0.3, alpha=0.0), fisher_rao_geodesic(z, w, 0.3))
    True
    """
    xp, z, w, t = gate(check, z=(LOGITS, z), w=(LOGITS, w), t=(UNIT_INTERVAL, t))
    alpha = _array.finite_number("alpha", alpha)
    closed = {1.0: e_geodesic, 0.0: fisher_rao_geodesic, -1.0: m_geodesic}.get(alpha)
    if closed is not None:
        return closed(z, w, t, check=check)
    joint = (z > -xp.inf) & (w > -xp.inf)
    if alpha > 1.0:
        _geodesic.require_common_outcome("z and w", joint, check, xp)
    log_p, log_q = _array.log_softmax(z, xp), _array.log_softmax(w, xp)
    t = _array.as_leading(t, joint, xp)
    inside = _geodesic.log_alpha_geodesic(log_p, log_q, t, 0.5 * (1.0 - alpha), xp)
    differ = (z > -xp.inf) != (w > -xp.inf)
    return _array.centred(_geodesic.with_ends(inside, log_p, log_q, t, differ, xp), xp)


def _log_mixture(weight_a: Array, a: Array, weight_b: Array, b: Array, xp: Namespace) -> Array:
    """Return log(weight_a exp a + weight_b exp b), -inf where that is 0.

    It is counted from the larger term, so that a class underflows only where both do. A term of
    weight 0 has a derivative by its weight, but may be too large for it.
    """
    b_leads = a + _array.safe_log(weight_a, xp) <= b + _array.safe_log(weight_b, xp)
    lead, other = xp.where(b_leads, b, a), xp.where(b_leads, a, b)
    lead_weight = xp.where(b_leads, weight_b, weight_a)
    other_weight = xp.where(b_leads, weight_a, weight_b)
    in_lead = lead > -xp.inf
    lead = xp.where(in_lead, lead, xp.zeros_like(lead))
    gap = other - lead
    bound = math.log(xp.finfo(gap.dtype).max) - 2.0
    half = xp.exp(0.5 * xp.where(other_weight > 0.0, gap, _array.clip(gap, xp, max=bound)))
    total = _array.safe_log(lead_weight + other_weight * half * half, xp)
    return xp.where(in_lead, lead + total, -xp.inf)


def exp_map(z: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the point that the Fisher-Rao geodesic from z with velocity v reaches at time 1.

    .. math:: \log p + 2 \log\left(\cos(|s| / 2) + \frac{\sin(|s| / 2)}{|s|} s\right),
              \qquad s = v - E_p[v]

    Parameters
    ----------
    z : array, shape (..., c)
    v : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        Logits with sum zero, at Fisher-Rao distance ``norm(z, v)`` from z.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; NaN, +inf or rows of -inf; a geodesic that leaves the simplex
        before time 1 (see `boundary_time`).

    Examples
    --------
    >>> exp_map([0.0, 0.0], [np.pi / 2, -np.pi / 2])[1] < -70
    np.True_
    """
    xp, z, v = gate(check, z=(LOGITS, z), v=(VECTOR, v))
    of_z, score, length = polar(z, v, xp)
    growth = xp.cos(0.5 * length) + 0.5 * _sphere.sinc(0.5 * length, xp) * score
    if check and _array.is_readable(growth):
        _sphere.require_inside(_boundary_time(of_z.log, score, length, xp), xp)
    return _array.centred(of_z.log + 2.0 * _array.safe_log(growth, xp), xp)


def log_map(z: ArrayLike[A], w: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the velocity at z of the Fisher-Rao geodesic that reaches w at time 1.

    .. math:: v_i = \frac{2 \varphi}{\sin \varphi}
              \left(\sqrt{q_i / p_i} - \cos \varphi\right), \qquad \varphi = d(z, w) / 2

    Parameters
    ----------
    z, w : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        Tangent vector at z with mean 0 under p: the inverse of `exp_map`.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; NaN, +inf or rows of -inf; a class of w that z masks.

    Examples
    --------
    >>> log_map([0.0, 0.0], [0.0, -np.inf]).round(6)
    array([ 1.570796, -1.570796])
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    leaves_face = (z == -xp.inf) & (w > -xp.inf)
    if check and _array.is_readable(leaves_face) and bool(xp.any(leaves_face)):
        raise bad_value(
            "w",
            "be masked where z is",
            "it has a class that z masks, and no finite velocity leaves a face",
        )
    angle = 0.5 * angle_of_chord(chord_of(z, w, xp), xp)[..., None]
    # The score of sqrt(q / p): that is cos(angle) on average.
    change = finite_where_masked(_array.expm1(-0.5 * log_ratio_of(z, w, xp), xp), w, xp)
    with _array.overflowing(xp):
        v = 2.0 / _sphere.sinc(angle, xp) * score_of(_array.softmax(z, xp), change, xp)
    return xp.where((z > -xp.inf) | (w > -xp.inf), v, xp.zeros_like(v))


def finite_where_masked(v: Array, z: Array, xp: Namespace) -> Array:
    """Return v with large numbers in the place of infinities at classes that are masked in z.

    Where z and w mask a class by numbers of different size, the ratio of the probabilities
    overflows. Nothing else depends on it, but with an infinite entry the result would be no
    tangent vector.
    """
    largest = float(xp.finfo(v.dtype).max) / 16.0
    is_masked = z - xp.max(z, axis=-1, keepdims=True) <= -_array.masked_gap(z.dtype, xp)
    return xp.where(is_masked, _array.clip(v, xp, min=-largest, max=largest), v)


def boundary_time(z: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the time at which the geodesic from z with velocity v leaves the simplex.

    .. math:: t = \min_i \frac{2}{|s|} \operatorname{atan2}(|s|, -s_i), \qquad s = v - E_p[v]

    over the classes that are not masked (by -inf, or by a number so low that the root of the
    probability underflows).

    Parameters
    ----------
    z : array, shape (..., c)
    v : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        Time > 0; inf for a constant v.

    Examples
    --------
    >>> round(float(boundary_time([0.0, 0.0], [1.0, -1.0])) * 2 / np.pi, 12)
    1.0
    """
    xp, z, v = gate(check, z=(LOGITS, z), v=(VECTOR, v))
    of_z, score, length = polar(z, v, xp)
    return _boundary_time(of_z.log, score, length, xp)


def polar(z: Array, v: Array, xp: Namespace) -> tuple[Array, Array, Array]:
    """Return z with largest entry 0, the score of v, and its Fisher norm."""
    of_z = unnormalised(z, xp)
    roots = normalised(of_z, xp)
    score = score_of(roots * roots, v, xp)
    return of_z, score, _array.norm(roots * score, xp)[..., None]


def _boundary_time(log: Array, score: Array, length: Array, xp: Namespace) -> Array:
    is_zero = length == 0.0
    unit = xp.where(is_zero, xp.ones_like(length), length)
    counts = (log > -_array.masked_gap(log.dtype, xp)) & ~is_zero
    with _array.overflowing(xp):
        time = 2.0 * xp.atan2(length, -score) / unit
    return xp.min(xp.where(counts, time, xp.full_like(time, xp.inf)), axis=-1)
