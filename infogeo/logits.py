r"""The simplex in logits: points of the quotient R^c/1, last axis; a constant changes nothing.

Every function is that of the probabilities softmax(z), computed without forming them: classes of
probability 1e-300 count, and -inf masks a class. So does a large negative number, -1e9 or
``finfo.min``: no result is rounded by it. Functions that return a point return the representative
with sum zero. Masked classes are left out of that sum, and so are those more than 1416.8 below the
largest (174.7 in float32), where even the root of the probability underflows. A tangent vector v is
a change of the logits, again up to a constant; it acts on the probabilities as dp = p (v - E_p[v]).
Functions that return a tangent vector return the representative with E_p[v] = 0, which is the
score.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from array_api_compat import numpy as numpy_namespace

from infogeo import _array, _divergence, _geodesic, _spaces, _sphere
from infogeo._array import (
    LOGITS,
    PROBABILITIES,
    UNIT_INTERVAL,
    VECTOR,
    Array,
    Namespace,
    bad_value,
    gate,
)
from infogeo._docs import finish
from infogeo.typing import A, ArrayLike

__all__ = [
    "alpha_divergence",
    "alpha_geodesic",
    "apply_fisher",
    "apply_inverse_fisher",
    "bhattacharyya_coefficient",
    "boundary_time",
    "canonical",
    "dimension",
    "e_geodesic",
    "e_mean",
    "e_transport",
    "entropy",
    "exp_map",
    "fisher_information",
    "fisher_rao_distance",
    "fisher_rao_geodesic",
    "fisher_rao_squared_distance",
    "from_simplex",
    "hellinger_distance",
    "inner_product",
    "jeffreys_divergence",
    "kl_divergence",
    "log_map",
    "m_geodesic",
    "m_mean",
    "m_transport",
    "natural_gradient",
    "norm",
    "parallel_transport",
    "quotient_norm",
    "renyi_divergence",
    "sphere_embedding",
    "to_simplex",
]

POINTS = LOGITS


def _unit_vectors(z: Array, xp: Namespace) -> Array:
    return xp.exp(0.5 * _array.log_softmax(z, xp))


def _combined(coefficients: Array, z: Array, xp: Namespace) -> Array:
    terms = _array.safe_log(coefficients, xp)[..., None] + 0.5 * _array.log_softmax(z, xp)
    return _array.centred(2.0 * _divergence.log_sum_exp(xp.moveaxis(terms, -2, -1), xp), xp)


SPHERE = _spaces.SphereChart(
    unit_vectors=_unit_vectors,
    combined=_combined,
    probabilities=_array.softmax,
    logits=lambda z, xp: z,
    converted=lambda chart, points, xp: _array.centred(chart.logits(points, xp), xp),
    cooled=lambda z, temperature: z / temperature,
    excluded=-math.inf,
)


# ---------------------------------------------------------------- the quotient


def canonical(z: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the representative of logits with sum zero.

    .. math:: z_i - \frac1c \textstyle\sum_j z_j

    Parameters
    ----------
    z : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        The logits sum to 0, those of masked classes left out (see the module), which stay -inf
        or far below.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> canonical([1.0, 2.0, 3.0])
    array([-1.,  0.,  1.])
    """
    xp, z = gate(check, z=(LOGITS, z))
    return _array.centred(z, xp)


def to_simplex(z: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the probabilities of logits, by the softmax.

    .. math:: p_i = \exp(z_i) / \textstyle\sum_j \exp(z_j)

    Parameters
    ----------
    z : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        Probabilities; 0 for masked classes and where the exponential underflows.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> to_simplex([0.0, 0.0])
    array([0.5, 0.5])
    """
    xp, z = gate(check, z=(LOGITS, z))
    return _array.softmax(z, xp)


def sphere_embedding(z: ArrayLike[A], *, check: bool = True) -> A:
    r"""Map logits to the positive orthant of the sphere of radius 2, isometrically.

    .. math:: u_i = 2 \sqrt{p_i} = 2 \exp(\tfrac12 \log p_i)

    Parameters
    ----------
    z : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        Of Euclidean norm 2: `infogeo.simplex.sphere_embedding` of the probabilities, also of
        those that underflow and whose roots do not.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> sphere_embedding(np.log([0.25, 0.75])).round(6)
    array([1.      , 1.732051])
    """
    xp, z = gate(check, z=(LOGITS, z))
    return 2.0 * xp.exp(0.5 * _array.log_softmax(z, xp))


def from_simplex(p: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the logits of probabilities, with sum zero.

    .. math:: z_i = \log p_i - \frac1c \textstyle\sum_j \log p_j

    Parameters
    ----------
    p : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        Logits, -inf where p is 0.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> from_simplex([0.5, 0.5, 0.0])
    array([  0.,   0., -inf])
    """
    xp, p = gate(check, p=(PROBABILITIES, p))
    return _array.centred(_array.safe_log(p, xp), xp)


def quotient_norm(z: ArrayLike[A], *, order: float = 2, check: bool = True) -> A:
    r"""Return the norm of logits modulo constants, the least norm of a representative.

    .. math:: \min_a |z - a 1|

    attained at the mean (order 2), a median (1) and the mid-range (inf).

    Parameters
    ----------
    z : array, shape (..., c)
    order : {1, 2, inf}
        Which norm of R^c.
    check : bool

    Returns
    -------
    array, shape (...)
        In nats; inf if a class is masked.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; NaN, +inf or rows of -inf; another order.

    Examples
    --------
    >>> float(quotient_norm([0.0, 4.0], order=np.inf))
    2.0
    """
    if order not in (1, 2, math.inf):
        raise bad_value("order", "be 1, 2 or inf", f"got {order!r}")
    xp, z = gate(check, z=(LOGITS, z))
    is_masked = z == -xp.inf
    size = _quotient_norm(xp.where(is_masked, xp.zeros_like(z), z), order, xp)
    size = xp.where(xp.any(is_masked, axis=-1), xp.zeros_like(size) + xp.inf, size)
    return _array.as_number(size)


def _quotient_norm(z: Array, order: float, xp: Namespace) -> Array:
    largest, smallest = (f(z, axis=-1, keepdims=True) for f in (xp.max, xp.min))
    half = 0.5 * largest - 0.5 * smallest
    if order == math.inf:
        return half[..., 0]
    # In units of half the range nothing overflows before the norm itself does.
    unit = (z - largest) / xp.where(half > 0.0, half, xp.ones_like(half))
    if order == 2:
        size = _array.norm(unit - xp.mean(unit, axis=-1, keepdims=True), xp)
    else:
        ordered, num = xp.sort(unit, axis=-1), z.shape[-1] // 2
        upper = ordered[..., z.shape[-1] - num :]
        size = xp.sum(upper, axis=-1) - xp.sum(ordered[..., :num], axis=-1)
    with _array.overflowing(xp):
        return half[..., 0] * size


def dimension(z: ArrayLike[A], *, check: bool = True) -> int:
    """Return the number of parameters of the distributions.

    Parameters
    ----------
    z : array, shape (..., c)
        Logits along the last axis.
    check : bool

    Returns
    -------
    int
        One less than the number of classes: c - 1.

    Raises
    ------
    TypeError, ValueError
        Entries that are not logits.

    Examples
    --------
    >>> dimension([0.0, 1.0, -2.0])
    2
    """
    _, z = gate(check, z=(LOGITS, z))
    return int(z.shape[-1]) - 1


def fisher_information(z: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the Fisher information matrix in logits, of rank c - 1.

    .. math:: F_{ij} = p_i \delta_{ij} - p_i p_j

    Parameters
    ----------
    z : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c, c)
        Its kernel is the constants. `apply_fisher` multiplies by it without forming it.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> fisher_information([0.0, 0.0])
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """
    xp, z = gate(check, z=(LOGITS, z))
    p = _array.softmax(z, xp)
    identity = xp.eye(p.shape[-1], dtype=p.dtype, device=_array.device_of(p))
    off_diagonal = -p[..., :, None] * p[..., None, :] * (1.0 - identity)
    # p (1 - p) cancels where p is near 1; the rest of the row has the digits.
    return off_diagonal - identity * xp.sum(off_diagonal, axis=-1, keepdims=True)


def apply_fisher(z: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Multiply a vector by the Fisher information matrix, in O(c).

    .. math:: F v = p (v - E_p[v])

    Parameters
    ----------
    z : array, shape (..., c)
    v : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        A vector with sum 0: the change dp of the probabilities.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> apply_fisher([0.0, 0.0], [1.0, 0.0])
    array([ 0.25, -0.25])
    """
    xp, z, v = gate(check, z=(LOGITS, z), v=(VECTOR, v))
    p = _array.softmax(z, xp)
    return p * _score(p, v, xp)


def apply_inverse_fisher(z: ArrayLike[A], g: ArrayLike[A], *, check: bool = True) -> A:
    r"""Multiply a vector by the pseudo-inverse of the Fisher information matrix, in O(c).

    .. math:: F^+ g = \frac{\hat g}{p} - \frac1c \textstyle\sum_j \frac{\hat g_j}{p_j},
              \qquad \hat g = g - \frac1c \textstyle\sum_j g_j

    Parameters
    ----------
    z : array, shape (..., c)
        Logits along the last axis, all finite.
    g : array, shape (..., c)
        Vector of which the part orthogonal to the constants counts; a sum within rounding of 0
        is taken for 0. Leading axes broadcast.
    check : bool

    Returns
    -------
    array, shape (..., c)
        The solution of F v = g with sum zero.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> apply_inverse_fisher([0.0, 0.0], [0.25, -0.25])
    array([ 0.5, -0.5])
    """
    xp, z, g = gate(check, z=(LOGITS, z), g=(VECTOR, g))
    _require_unmasked(z, check, xp)
    g = _without_constant(g, xp)
    growth = -_array.log_softmax(z, xp)
    # 1 / p may overflow where g is 0, and g / p may although its differences do not.
    top = xp.max(xp.where(g != 0.0, growth, xp.zeros_like(g)), axis=-1, keepdims=True)
    v = g * xp.exp(_array.clip(growth - top, xp, max=40.0))
    return _array.times_exp(v - xp.mean(v, axis=-1, keepdims=True), top, xp)


def natural_gradient(z: ArrayLike[A], g: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the natural gradient of a loss, which is steepest in the Fisher metric, in O(c).

    .. math:: \tilde g = F^+ g

    Parameters
    ----------
    z : array, shape (..., c)
        Logits along the last axis, all finite.
    g : array, shape (..., c)
        Gradient of a loss with respect to the logits. It sums to 0 if the loss depends on the
        prediction only; what does not is left out. Leading axes broadcast.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Tangent vector with sum zero: the one that the metric pairs with v to g'v.

    Raises
    ------
    TypeError, ValueError

    References
    ----------
    S. Amari, Natural gradient works efficiently in learning, Neural Computation 10, 1998.

    Examples
    --------
    >>> natural_gradient([0.0, 0.0], [0.25, -0.25])
    array([ 0.5, -0.5])
    """
    return apply_inverse_fisher(z, g, check=check)


def _without_constant(g: Array, xp: Namespace) -> Array:
    """Return the part of g orthogonal to the constants, g itself if its sum is only rounding.

    The gradient of a loss is 0 at a class without probability, and has to stay 0 there: a rest
    of the mean, divided by that probability, would be all that is left of the solution.
    """
    total = xp.sum(g, axis=-1, keepdims=True)
    size = xp.sum(xp.abs(g), axis=-1, keepdims=True)
    is_rounding = xp.abs(total) <= 32.0 * xp.finfo(g.dtype).eps * size
    return g - xp.where(is_rounding, xp.zeros_like(total), total / g.shape[-1])


def _score(p: Array, v: Array, xp: Namespace) -> Array:
    """Return the representative of a tangent vector with mean 0 under p.

    From the differences to the most likely class: its own difference from the mean would cancel
    where p is near 1. Classes without probability do not count, were they infinite.
    """
    is_top = _is_largest(p, xp)
    top = xp.sum(xp.where(is_top, v, xp.zeros_like(v)), axis=-1, keepdims=True)
    difference = v - top
    counted = xp.where(p > 0.0, difference, xp.zeros_like(difference))
    return difference - xp.sum(p * counted, axis=-1, keepdims=True)


def _is_largest(x: Array, xp: Namespace) -> Array:
    """Return flags for one largest entry of each row."""
    index = xp.arange(x.shape[-1], device=_array.device_of(x))
    return index == xp.argmax(x, axis=-1, keepdims=True)


def _require_unmasked(z: Array, check: bool, xp: Namespace) -> None:
    if check and _array.is_readable(z) and bool(xp.any(z == -xp.inf)):
        raise bad_value(
            "z", "be finite here", "it has masked classes", "Leave them out of the vectors."
        )


# ---------------------------------------------------------------- distance


def fisher_rao_distance(z: ArrayLike[A], w: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the Fisher-Rao distance between the distributions of two logit vectors, in [0, pi].

    .. math:: d(z, w) = 2 \arccos \textstyle\sum_i \sqrt{p_i q_i}, \qquad
              p = \mathrm{softmax}(z), \; q = \mathrm{softmax}(w)

    Parameters
    ----------
    z, w : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        In radians of the sphere of radius 2; same library, dtype and device as the inputs.

    Raises
    ------
    TypeError, ValueError

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
    return _sphere.angle_of_chord(_chord(z, w, xp), xp)


def fisher_rao_squared_distance(z: ArrayLike[A], w: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the square of the Fisher-Rao distance, which is smooth at equal points.

    .. math:: d(z, w)^2 = 4 \arccos^2 \textstyle\sum_i \sqrt{p_i q_i}

    Parameters
    ----------
    z, w : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        In squared radians, in [0, pi^2].

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> round(float(fisher_rao_squared_distance([0.0, -np.inf], [0.0, 0.0])) * 4 / np.pi**2, 12)
    1.0
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    return _sphere.squared_angle_of_chord(_squared_chord(z, w, xp), xp)


def _chord(z: Array, w: Array, xp: Namespace) -> Array:
    """Return |sqrt p - sqrt q|, to full relative precision."""
    if isinstance(z, np.ndarray):
        return _array.by_blocks(_chord_of_block, z, w, xp)
    return _array.norm(_root_difference(z, w, xp), xp)


def _squared_chord(z: Array, w: Array, xp: Namespace) -> Array:
    if isinstance(z, np.ndarray):
        return _chord(z, w, xp) ** 2
    return xp.sum(_root_difference(z, w, xp) ** 2, axis=-1)


def _chord_of_block(z: Array, w: Array, xp: Namespace) -> Array:
    """Return the chord with numpy's ufuncs, from one sum of roots where the pair is far."""
    *batch, length = z.shape
    z, w = z.reshape(-1, length), w.reshape(-1, length)
    ones = _array.ones(length, z.dtype)
    p, q = _roots(z), _roots(w)
    affinity = (p * q).dot(ones)
    p *= p
    q *= q
    total = q.dot(ones)
    mean = np.sqrt(p.dot(ones) * total)
    squared = 2.0 * (mean - affinity) / mean
    rows = np.flatnonzero(squared < _sphere.far_squared_chord(length))
    if rows.size == len(squared):
        return _near_chord(z, w, q, total, xp).reshape(batch)
    chord = np.sqrt(np.maximum(squared, 0.0))
    if rows.size:
        z, w, q, total = (x.take(rows, axis=0) for x in (z, w, q, total))
        chord[rows] = _near_chord(z, w, q, total, xp)
    return chord.reshape(batch)


def _roots(z: Array) -> Array:
    """Return the square roots of probabilities up to a constant."""
    root = z - z.max(-1, keepdims=True)
    root *= 0.5
    return np.exp(root, out=root)


def _near_chord(z: Array, w: Array, q: Array, total: Array, xp: Namespace) -> Array:
    """Return the chord from z - w; q are the probabilities of w up to a factor, with their sum.

    With v = log(p / q) up to a constant, h = exp(v / 2) - 1 and g^2 = 1 + E_q[(2 + h) h], the
    change of the normaliser, it is the root of E_q[(h + 1 - g)^2] over g. The constant makes v = 0
    at the most likely class: there even h + 1 - g has all its digits, however saturated the pair
    is. Rows with a mask of one alone, or with v so large that a tail of q may count, take the
    other form.
    """
    ones = _array.ones(z.shape[-1], z.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        v, rounding = _two_difference(z, w)
        top = np.arange(len(v)), q.argmax(-1)
        v -= v[top][:, None]
        rounding -= rounding[top][:, None]
        v += rounding
        largest = v.max(-1)
        if np.isnan(largest).any():
            v[(z == -np.inf) & (w == -np.inf)] = 0.0
            largest = v.max(-1)
        is_tame = largest < 40.0
        v *= 0.5
        h = np.expm1(v, out=v)
        terms = h + 2.0
        terms *= h
        terms *= q
        change = terms.dot(ones) / total
        growth = np.sqrt(1.0 + change)
        h -= (change / (1.0 + growth))[:, None]
        np.multiply(h, h, out=terms)
        terms *= q
        squared = terms.dot(ones) / total
        is_tame &= squared > np.finfo(z.dtype).tiny * 1e20
        chord = np.sqrt(squared) / growth
    if not is_tame.all():
        is_equal = (z == w).all(-1)
        chord[is_equal] = 0.0
        others = ~(is_tame | is_equal)
        chord[others] = _array.norm(_root_difference(z[others], w[others], xp), xp)
    return chord


def _root_difference(z: Array, w: Array, xp: Namespace) -> Array:
    """Return sqrt(p) - sqrt(q) for p = softmax(z), q = softmax(w), to full relative precision."""
    z, w = _with_balanced_gradient(z, xp), _with_balanced_gradient(w, xp)
    of_z, of_w = _unnormalised(z, xp), _unnormalised(w, xp)
    ratio = _log_ratio_of(z, w, of_z, of_w, xp)
    p_is_larger = ratio > 0.0
    # sqrt(larger) (1 - exp(-|ratio| / 2)): the sinh form of the difference would overflow.
    shrinkage = _array.expm1(0.5 * xp.where(p_is_larger, -ratio, ratio), xp)
    return xp.where(p_is_larger, -_normalised(of_z, xp), _normalised(of_w, xp)) * shrinkage


def _with_balanced_gradient(z: Array, xp: Namespace) -> Array:
    """Return z, with gradients that sum to 0 to their last digits.

    What does not depend on a constant in z depends on the differences to the largest logit alone.
    With these as the variables its own derivative is minus the sum of the others: computed by
    itself it would be a difference that rounds to 0 where its probability rounds to 1.
    """
    if xp is numpy_namespace:
        return z
    value = _array.detached(z)
    is_top = value == xp.max(value, axis=-1, keepdims=True)
    ties = xp.sum(xp.astype(is_top, z.dtype), axis=-1, keepdims=True)
    zero = xp.zeros_like(value)
    difference = z - xp.sum(xp.where(is_top, z, zero), axis=-1, keepdims=True) / ties
    is_fixed = (is_top & (ties == 1.0)) | ~xp.isfinite(_array.detached(difference))
    difference = xp.where(is_fixed, zero, difference)
    return value + (difference - _array.detached(difference))


class _Unnormalised(NamedTuple):
    """Logits with the largest at 0, their probabilities up to a constant.

    The sum is kept apart: the quotient has every digit, log p = z - logsumexp(z) loses those of
    |z|. So is the root: it does not underflow where the probability does.
    """

    log: _array.Array  # z - max z
    root: _array.Array  # exp(log / 2)
    total: _array.Array  # the sum of root^2, (..., 1)


def _unnormalised(z: Array, xp: Namespace) -> _Unnormalised:
    log = z - xp.max(z, axis=-1, keepdims=True)
    root = xp.exp(0.5 * log)
    return _Unnormalised(log, root, xp.sum(root * root, axis=-1, keepdims=True))


def _normalised(of_z: _Unnormalised, xp: Namespace) -> Array:
    """Return the square roots of the probabilities."""
    return of_z.root / xp.sqrt(of_z.total)


def _log_ratio(z: Array, w: Array, xp: Namespace) -> Array:
    """Return log(p / q) to full relative precision; 0 where both are masked."""
    return _log_ratio_of(z, w, _unnormalised(z, xp), _unnormalised(w, xp), xp)


def _log_ratio_of(
    z: Array, w: Array, of_z: _Unnormalised, of_w: _Unnormalised, xp: Namespace
) -> Array:
    """Return log(p / q) of logits whose largest entries and sums of exponentials are known.

    For near points log p - log q cancels. There log(p / q) = v - log E_q[exp v] for any
    v = z - w - constant. The constant makes v = 0 at the class of largest p q: no other class
    loses digits to it, and for near points the expectation is 1 plus a small number, whose terms
    are summed.
    """
    q = of_w.root * of_w.root / of_w.total
    in_p, in_q = of_z.log > -xp.inf, of_w.log > -xp.inf
    in_both = in_p & in_q
    zero = xp.zeros_like(q + of_z.total)
    is_top = _is_largest(0.5 * of_z.log + 0.5 * of_w.log, xp) & in_both

    def of_top(x: Array) -> Array:
        return xp.sum(xp.where(is_top, x, zero), axis=-1, keepdims=True)

    v, rounding = _two_difference(xp.where(in_both, z, zero), xp.where(in_both, w, zero))
    v = xp.where(in_both, (v - of_top(v)) + (rounding - of_top(rounding)), zero)
    # q exp(v) - q, from expm1 where that cancels, from p where q underflows. Beyond exp(40) the
    # points are far apart, and the other formula takes over.
    growth = of_top(of_w.log) - of_top(of_z.log) - xp.log(of_w.total)
    q_exp_v = of_z.root * of_z.root * xp.exp(_array.clip(growth, xp, max=40.0))
    change = xp.where(in_both & (v < 1.0), q * xp.expm1(_array.clip(v, xp, max=1.0)), q_exp_v - q)
    change = xp.sum(change, axis=-1, keepdims=True)
    is_near = xp.abs(change) < 0.5
    near = v - xp.log1p(xp.where(is_near, change, xp.zeros_like(change)))
    far = xp.where(in_both, of_z.log, zero) - xp.where(in_both, of_w.log, zero)
    ratio = xp.where(is_near, near, far - xp.log(of_z.total / of_w.total))
    ratio = xp.where(in_p & ~in_q, zero + xp.inf, ratio)
    return xp.where(in_p, ratio, xp.where(in_q, zero - xp.inf, zero))


def _two_difference(a: Array, b: Array) -> tuple[Array, Array]:
    """Return a - b as a rounded difference and its rounding error (Knuth's TwoSum).

    Representatives of near points may sit far apart in the quotient: the constant between them
    must not cost the digits of the difference.
    """
    difference = a - b
    back = difference - a
    return difference, (a - (difference - back)) - (b + back)


# ---------------------------------------------------------------- geodesics


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

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> fisher_rao_geodesic([1.0, -1.0], [-1.0, 1.0], 0.5).round(12) + 0.0
    array([0., 0.])
    """
    xp, z, w, t = gate(check, z=(LOGITS, z), w=(LOGITS, w), t=(UNIT_INTERVAL, t))
    delta = _root_difference(z, w, xp)
    angle = 0.5 * _sphere.angle_of_chord(_array.norm(delta, xp), xp)[..., None]
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

    Raises
    ------
    TypeError, ValueError

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


# ---------------------------------------------------------------- exponential and logarithm


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
    of_z, score, length = _polar(z, v, xp)
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
    angle = 0.5 * _sphere.angle_of_chord(_chord(z, w, xp), xp)[..., None]
    # The score of sqrt(q / p): that is cos(angle) on average.
    change = _finite_where_masked(_array.expm1(-0.5 * _log_ratio(z, w, xp), xp), w, xp)
    with _array.overflowing(xp):
        v = 2.0 / _sphere.sinc(angle, xp) * _score(_array.softmax(z, xp), change, xp)
    return xp.where((z > -xp.inf) | (w > -xp.inf), v, xp.zeros_like(v))


def _finite_where_masked(v: Array, z: Array, xp: Namespace) -> Array:
    """Return v with large numbers in the place of infinities at classes that are masked in z.

    Masks of different depth have ratios of probabilities that overflow, and nothing else
    depends on them. With an infinity the vector would not be one.
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

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> round(float(boundary_time([0.0, 0.0], [1.0, -1.0])) * 2 / np.pi, 12)
    1.0
    """
    xp, z, v = gate(check, z=(LOGITS, z), v=(VECTOR, v))
    of_z, score, length = _polar(z, v, xp)
    return _boundary_time(of_z.log, score, length, xp)


def _polar(z: Array, v: Array, xp: Namespace) -> tuple[Array, Array, Array]:
    """Return z with largest entry 0, the score of v, and its Fisher norm."""
    of_z = _unnormalised(z, xp)
    roots = _normalised(of_z, xp)
    score = _score(roots * roots, v, xp)
    return of_z, score, _array.norm(roots * score, xp)[..., None]


def _boundary_time(log: Array, score: Array, length: Array, xp: Namespace) -> Array:
    is_zero = length == 0.0
    unit = xp.where(is_zero, xp.ones_like(length), length)
    counts = (log > -_array.masked_gap(log.dtype, xp)) & ~is_zero
    with _array.overflowing(xp):
        time = 2.0 * xp.atan2(length, -score) / unit
    return xp.min(xp.where(counts, time, xp.full_like(time, xp.inf)), axis=-1)


# ---------------------------------------------------------------- tangent vectors


def inner_product(z: ArrayLike[A], u: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the inner product of two tangent vectors, which is their covariance under p.

    .. math:: g_z(u, v) = E_p[u v] - E_p[u] E_p[v]

    Parameters
    ----------
    z : array, shape (..., c)
    u, v : array, shape (..., c)
        Tangent vectors: changes of the logits, up to constants. Leading axes broadcast.
    check : bool

    Returns
    -------
    array, shape (...)
        In squared radians of the sphere of radius 2.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> float(inner_product([0.0, 0.0], [1.0, -1.0], [1.0, -1.0]))
    1.0
    """
    xp, z, u, v = gate(check, z=(LOGITS, z), u=(VECTOR, u), v=(VECTOR, v))
    p = _array.softmax(z, xp)
    return xp.sum(p * _score(p, u, xp) * _score(p, v, xp), axis=-1)


def norm(z: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the length of a tangent vector, which is its standard deviation under p.

    .. math:: |v|_z = \sqrt{E_p[(v - E_p[v])^2]}

    Parameters
    ----------
    z : array, shape (..., c)
    v : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        In radians of the sphere of radius 2.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> round(float(norm([0.0, 0.0], [1.0, -1.0])), 12)
    1.0
    """
    xp, z, v = gate(check, z=(LOGITS, z), v=(VECTOR, v))
    return _array.as_number(_polar(z, v, xp)[2][..., 0])


def parallel_transport(
    z: ArrayLike[A], w: ArrayLike[A], v: ArrayLike[A], *, check: bool = True
) -> A:
    r"""Transport a tangent vector from z to w along the Fisher-Rao geodesic (Levi-Civita).

    With :math:`x = \sqrt p, y = \sqrt q, \xi = x s / 2`, s the score of v:

    .. math:: \xi \mapsto \xi - \frac{\langle y, \xi \rangle}{1 + \langle x, y \rangle} (x + y)

    Parameters
    ----------
    z, w : array, shape (..., c)
    v : array, shape (..., c)
        Tangent vector at z: a change of the logits, up to a constant.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Tangent vector at w with mean 0 under q and the same norm.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> z, w, v = [0.0, 1.0, 2.0], [1.0, 0.0, 0.0], [1.0, 0.0, 2.0]
    >>> bool(np.isclose(norm(w, parallel_transport(z, w, v)), norm(z, v)))
    True
    """
    xp, z, w, v = gate(check, z=(LOGITS, z), w=(LOGITS, w), v=(VECTOR, v))
    p, q = _array.softmax(z, xp), _array.softmax(w, xp)
    root_p, root_q = (_normalised(_unnormalised(x, xp), xp) for x in (z, w))
    score = _score(p, v, xp)
    along = xp.sum(root_p * root_q * score, axis=-1, keepdims=True)
    along = along / (1.0 + xp.sum(root_p * root_q, axis=-1, keepdims=True))
    moved = _array.times_exp(score - along, 0.5 * _log_ratio(z, w, xp), xp)
    moved = _score(q, _finite_where_masked(moved, w, xp), xp)  # - along would cancel
    return xp.where(w > -xp.inf, moved, xp.zeros_like(moved))


def e_transport(z: ArrayLike[A], w: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Transport a tangent vector from z to w by the e-connection: the same change of logits.

    .. math:: v \mapsto v - E_q[v]

    Parameters
    ----------
    z, w : array, shape (..., c)
    v : array, shape (..., c)
        Tangent vector at z: a change of the logits, up to a constant.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Tangent vector at w with mean 0 under q.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> e_transport([1.0, 0.0], [0.0, 0.0], [1.0, 0.0])
    array([ 0.5, -0.5])
    """
    xp, z, w, v = gate(check, z=(LOGITS, z), w=(LOGITS, w), v=(VECTOR, v))
    return _score(_array.softmax(w, xp), v, xp) + xp.zeros_like(z)


def m_transport(z: ArrayLike[A], w: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Transport a tangent vector from z to w by the m-connection: the same change of p.

    .. math:: v \mapsto \frac{p}{q} (v - E_p[v])

    Parameters
    ----------
    z, w : array, shape (..., c)
    v : array, shape (..., c)
        Tangent vector at z: a change of the logits, up to a constant.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Tangent vector at w with mean 0 under q.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> m_transport([0.0, 0.0], [0.0, 0.0], [1.0, 0.0])
    array([ 0.5, -0.5])
    """
    xp, z, w, v = gate(check, z=(LOGITS, z), w=(LOGITS, w), v=(VECTOR, v))
    score = _score(_array.softmax(z, xp), v, xp)
    leaves_face = (w == -xp.inf) & (z > -xp.inf) & (score != 0.0)
    if check and _array.is_readable(leaves_face) and bool(xp.any(leaves_face)):
        raise bad_value(
            "w",
            "have the classes of z that v changes",
            "it masks one of them, where the same change of p leaves a face",
        )
    return _finite_where_masked(_array.times_exp(score, _log_ratio(z, w, xp), xp), z, xp)


# ---------------------------------------------------------------- entropy and divergences


def entropy(z: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the Shannon entropy.

    .. math:: H = -\sum_i p_i \log p_i

    Parameters
    ----------
    z : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        In nats, in [0, log c].

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> round(float(entropy([0.0, 0.0, -np.inf])), 6)
    0.693147
    """
    xp, z = gate(check, z=(LOGITS, z))
    log_p, root, total = _unnormalised(z, xp)
    p = root * root / total
    counted = xp.where(p > 0.0, log_p, xp.zeros_like(log_p))
    # The largest logit is 0 now: log(total) is log1p of the others, without the 1.
    others = xp.sum(xp.where(log_p < 0.0, xp.exp(log_p), xp.zeros_like(log_p)), axis=-1)
    ties = xp.sum(xp.astype(log_p == 0.0, log_p.dtype), axis=-1)
    return xp.log(ties) + xp.log1p(others / ties) - xp.sum(p * counted, axis=-1)


def kl_divergence(z: ArrayLike[A], w: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the Kullback-Leibler divergence of p from q.

    .. math:: \mathrm{KL}(p, q) = \sum_i p_i \log \frac{p_i}{q_i}

    Parameters
    ----------
    z, w : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        In nats; inf where w masks a class of z.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> float(kl_divergence([800.0, -800.0], [-800.0, 800.0]))
    1600.0
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    p, q, _, ratio = _divergence_arguments(z, w, xp)
    return _divergence.kullback_leibler(p, q, ratio, xp)


def jeffreys_divergence(z: ArrayLike[A], w: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the Jeffreys divergence, the sum of the two Kullback-Leibler divergences.

    .. math:: J(p, q) = \sum_i (p_i - q_i) \log \frac{p_i}{q_i}

    Parameters
    ----------
    z, w : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        In nats; inf where the masks differ.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> float(jeffreys_divergence([800.0, -800.0], [-800.0, 800.0]))
    3200.0
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    p, q, _, ratio = _divergence_arguments(z, w, xp)
    return _divergence.jeffreys(p, q, ratio, xp)


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

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> float(alpha_divergence([800.0, -800.0], [-800.0, 800.0], alpha=0.0))
    4.0
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    p, q, log_p, ratio = _divergence_arguments(z, w, xp)
    return _divergence.alpha(p, q, log_p, ratio, _array.finite_number("alpha", alpha), xp)


def renyi_divergence(z: ArrayLike[A], w: ArrayLike[A], *, order: float, check: bool = True) -> A:
    r"""Return the Renyi divergence.

    .. math:: R(p, q) = \frac{1}{\text{order} - 1}
              \log \textstyle\sum_i p_i^{\text{order}} q_i^{1 - \text{order}}

    Parameters
    ----------
    z, w : array, shape (..., c)
    order : float
        In [0, inf]; 1 gives KL(p, q).
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
    return _divergence.renyi(p, q, log_p, ratio, order, xp)


def hellinger_distance(z: ArrayLike[A], w: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the Hellinger distance, in [0, 1].

    .. math:: H(p, q) = \sqrt{\textstyle\frac12 \sum_i (\sqrt{p_i} - \sqrt{q_i})^2}

    Parameters
    ----------
    z, w : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        Not squared.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> round(float(hellinger_distance([0.0, -np.inf], [-np.inf, 0.0])), 12)
    1.0
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    return _array.clip(math.sqrt(0.5) * _chord(z, w, xp), xp, max=1.0)


def bhattacharyya_coefficient(z: ArrayLike[A], w: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the Bhattacharyya coefficient, the cosine of half the Fisher-Rao distance.

    .. math:: B(p, q) = \sum_i \sqrt{p_i q_i}

    Parameters
    ----------
    z, w : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        1 for equal points, 0 for disjoint masks.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> float(bhattacharyya_coefficient([1.0, 2.0], [1.0, 2.0])).__round__(12)
    1.0
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    of_z, of_w = _unnormalised(z, xp), _unnormalised(w, xp)
    roots = xp.sum(of_z.root * of_w.root, axis=-1)
    return _array.clip(roots / xp.sqrt(of_z.total * of_w.total)[..., 0], xp, max=1.0)


def _divergence_arguments(z: Array, w: Array, xp: Namespace) -> tuple[Array, Array, Array, Array]:
    p, q = _array.softmax(z, xp), _array.softmax(w, xp)
    return p, q, _array.log_softmax(z, xp), _log_ratio(z, w, xp)


# ---------------------------------------------------------------- means


def e_mean(
    points: ArrayLike[A], *, weights: ArrayLike[A] | None = None, axis: int = 0, check: bool = True
) -> A:
    r"""Return the mean in e-coordinates, which is the arithmetic mean of the logits.

    .. math:: \bar z = \sum_k w_k z_k

    Parameters
    ----------
    points : array, shape (..., n, ..., c)
        Logits along the last axis, -inf for a masked class.
    weights : array or None
    axis : int
    check : bool

    Returns
    -------
    array, shape (..., c)
        Logits with sum zero; a class is masked where a point of positive weight masks it.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; NaN, +inf or rows of -inf; weights without a positive sum;
        points without a common class.

    Examples
    --------
    >>> e_mean([[2.0, 0.0], [0.0, 0.0]])
    array([ 0.5, -0.5])
    """
    xp, points, weights = _array.gate_mean(check, LOGITS, points, weights, axis)
    # Masks by the smallest number may sum up to -inf, which masks as well.
    with _array.overflowing(xp):
        relative = points - xp.max(points, axis=-1, keepdims=True)
        mean = _array.weighted_sum(relative, weights, axis, xp)
    if check and _array.is_readable(mean) and bool(xp.any(xp.all(mean == -xp.inf, axis=-1))):
        raise bad_value(
            "points", "have a class in common for an e-mean", "every class is masked in one"
        )
    return _array.centred(mean, xp)


def m_mean(
    points: ArrayLike[A], *, weights: ArrayLike[A] | None = None, axis: int = 0, check: bool = True
) -> A:
    r"""Return the mean in m-coordinates: the logits of the arithmetic mean of the probabilities.

    .. math:: \bar z = \log \textstyle\sum_k w_k p_k

    Parameters
    ----------
    points : array, shape (..., n, ..., c)
        Logits along the last axis, -inf for a masked class.
    weights : array or None
    axis : int
    check : bool

    Returns
    -------
    array, shape (..., c)
        Logits with sum zero.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; NaN, +inf or rows of -inf; weights without a positive sum.

    Examples
    --------
    >>> m_mean([[0.0, -np.inf], [-np.inf, 0.0]])
    array([0., 0.])
    """
    xp, points, weights = _array.gate_mean(check, LOGITS, points, weights, axis)
    log_p = _array.log_softmax(points, xp)
    if weights is not None:
        log_p = log_p + _array.safe_log(weights, xp)[..., None]
    mean = _divergence.log_sum_exp(xp.moveaxis(log_p, axis, -1), xp)
    return _array.centred(mean, xp)


finish(
    globals(),
    {
        "TypeError, ValueError": "Arrays of different libraries; NaN, +inf or rows of -inf.",
        "z, w : array, shape (..., c)": (
            "Logits along the last axis, -inf for a masked class; leading axes broadcast."
        ),
        "z : array, shape (..., c)": "Logits along the last axis, -inf for a masked class.",
        "v : array, shape (..., c)": (
            "Tangent vector: a change of the logits, up to a constant. Leading axes broadcast."
        ),
    },
)
