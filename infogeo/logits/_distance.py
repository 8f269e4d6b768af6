"""Distances of logits, without forming the probabilities."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from array_api_compat import numpy as numpy_namespace

from infogeo import _array, _blocks
from infogeo._array import LOGITS, Array, Namespace, gate
from infogeo.logits._fisher import is_largest
from infogeo.simplex._distance import angle_of_chord, far_squared_chord, squared_angle_of_chord
from infogeo.typing import A, ArrayLike


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
    return angle_of_chord(chord_of(z, w, xp), xp)


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

    Examples
    --------
    >>> round(float(fisher_rao_squared_distance([0.0, -np.inf], [0.0, 0.0])) * 4 / np.pi**2, 12)
    1.0
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    return squared_angle_of_chord(_squared_chord(z, w, xp), xp)


def chord_of(z: Array, w: Array, xp: Namespace) -> Array:
    """Return |sqrt p - sqrt q|, to full relative precision."""
    if isinstance(z, np.ndarray):
        return _blocks.by_blocks(_chord_of_block, z, w, xp)
    return _array.norm(root_difference(z, w, xp), xp)


def _squared_chord(z: Array, w: Array, xp: Namespace) -> Array:
    if isinstance(z, np.ndarray):
        return chord_of(z, w, xp) ** 2
    return xp.sum(root_difference(z, w, xp) ** 2, axis=-1)


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
    rows = np.flatnonzero(squared < far_squared_chord(length))
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
        chord[others] = _array.norm(root_difference(z[others], w[others], xp), xp)
    return chord


def root_difference(z: Array, w: Array, xp: Namespace) -> Array:
    """Return sqrt(p) - sqrt(q) for p = softmax(z), q = softmax(w), to full relative precision."""
    z, w = _with_balanced_gradient(z, xp), _with_balanced_gradient(w, xp)
    of_z, of_w = unnormalised(z, xp), unnormalised(w, xp)
    ratio = _log_ratio_of(z, w, of_z, of_w, xp)
    p_is_larger = ratio > 0.0
    # sqrt(larger) (1 - exp(-|ratio| / 2)): the sinh form of the difference would overflow.
    shrinkage = _array.expm1(0.5 * xp.where(p_is_larger, -ratio, ratio), xp)
    return xp.where(p_is_larger, -normalised(of_z, xp), normalised(of_w, xp)) * shrinkage


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


def unnormalised(z: Array, xp: Namespace) -> _Unnormalised:
    log = z - xp.max(z, axis=-1, keepdims=True)
    root = xp.exp(0.5 * log)
    return _Unnormalised(log, root, xp.sum(root * root, axis=-1, keepdims=True))


def normalised(of_z: _Unnormalised, xp: Namespace) -> Array:
    """Return the square roots of the probabilities."""
    return of_z.root / xp.sqrt(of_z.total)


def log_ratio_of(z: Array, w: Array, xp: Namespace) -> Array:
    """Return log(p / q) to full relative precision; 0 where both are masked."""
    return _log_ratio_of(z, w, unnormalised(z, xp), unnormalised(w, xp), xp)


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
    is_top = is_largest(0.5 * of_z.log + 0.5 * of_w.log, xp) & in_both

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

    Examples
    --------
    >>> round(float(hellinger_distance([0.0, -np.inf], [-np.inf, 0.0])), 12)
    1.0
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    return _array.clip(math.sqrt(0.5) * chord_of(z, w, xp), xp, max=1.0)


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

    Examples
    --------
    >>> float(bhattacharyya_coefficient([1.0, 2.0], [1.0, 2.0])).__round__(12)
    1.0
    """
    xp, z, w = gate(check, z=(LOGITS, z), w=(LOGITS, w))
    of_z, of_w = unnormalised(z, xp), unnormalised(w, xp)
    roots = xp.sum(of_z.root * of_w.root, axis=-1)
    return _array.clip(roots / xp.sqrt(of_z.total * of_w.total)[..., 0], xp, max=1.0)
