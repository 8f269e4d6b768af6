"""Distances on the simplex, by the chord between the roots of probabilities."""

from __future__ import annotations

import math

import numpy as np
from array_api_compat import numpy as numpy_namespace

from infogeo import _array, _blocks
from infogeo._array import PROBABILITIES, Array, Namespace, gate
from infogeo.typing import A, ArrayLike


def fisher_rao_distance(p: ArrayLike[A], q: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the Fisher-Rao distance between categorical distributions, in [0, pi].

    .. math:: d(p, q) = 2 \arccos \textstyle\sum_i \sqrt{p_i q_i}

    Parameters
    ----------
    p, q : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        In radians of the sphere of radius 2; same library, dtype and device as the inputs.

    Notes
    -----
    Evaluated as 4 arcsin(norm(delta) / 2) with delta = (p - q) / (sqrt p + sqrt q): arccos loses
    all digits near d = 1e-8, the difference sqrt p - sqrt q half of them. Of numpy's arrays, pairs
    beyond 0.6 (0.9 for more than 100 outcomes) take norm(delta)^2 = 2 - 2 sum sqrt(p q), which is
    faster and loses them one digit at most. The gradient at p = q, where the distance has a cone,
    is 0 (`fisher_rao_squared_distance` is smooth there), and so is that at distance pi.

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
    return angle_of_chord(_chord(p, q, xp), xp)


def fisher_rao_squared_distance(p: ArrayLike[A], q: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the square of the Fisher-Rao distance, which is smooth at p = q.

    .. math:: d(p, q)^2 = 4 \arccos^2 \textstyle\sum_i \sqrt{p_i q_i}

    Parameters
    ----------
    p, q : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        In squared radians, in [0, pi^2].

    Notes
    -----
    Automatic differentiation gives the gradient 0 and, on tangent vectors, the Hessian 2 g at
    p = q: the series of arcsin^2 in the squared chord has no root to differentiate.

    Examples
    --------
    >>> round(float(fisher_rao_squared_distance([1.0, 0.0], [0.5, 0.5])) * 4 / np.pi**2, 12)
    1.0
    """
    xp, p, q = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q))
    return squared_angle_of_chord(_squared_chord(p, q, xp), xp)


def angle_of_chord(chord: Array, xp: Namespace) -> Array:
    """Return 4 arcsin(chord / 2): the arc on the sphere of radius 2 over |sqrt p - sqrt q|."""
    if xp is numpy_namespace:
        return np.minimum(4.0 * np.arcsin(0.5 * chord), math.pi)
    # Rounding may add one ulp to pi. Where it does the derivative is still that of the arc.
    arc = 4.0 * xp.asin(0.5 * chord)
    return arc + _array.detached(_array.clip(arc, xp, max=math.pi) - arc)


def squared_angle_of_chord(squared_chord: Array, xp: Namespace) -> Array:
    """Return (4 arcsin(chord / 2))^2, analytic in the squared chord, at 0 too.

    From 16 arcsin^2(sqrt(x) / 2) = 8 sum x^n / (n^2 binomial(2n, n)) near 0, so that automatic
    differentiation finds the gradient 0 and the Hessian 2 g there.
    """
    is_near = squared_chord < 0.01
    x = xp.where(is_near, squared_chord, xp.zeros_like(squared_chord))
    series = xp.zeros_like(x)
    for n in range(8, 0, -1):
        series = (series + 8.0 / (n * n * math.comb(2 * n, n))) * x
    x = xp.where(is_near, xp.ones_like(squared_chord), squared_chord)
    return _array.as_number(xp.where(is_near, series, 16.0 * xp.asin(0.5 * xp.sqrt(x)) ** 2))


def far_squared_chord(num_outcomes: int) -> float:
    """Return the squared chord from which on 2 - 2 sum sqrt(p q) keeps the digits of it.

    The distance is at most ten times less exact than the sum. Longer sums are less exact
    themselves, so that they may lose less.
    """
    return 0.1 if num_outcomes <= 100 else 0.2


def _chord(p: Array, q: Array, xp: Namespace) -> Array:
    """Return |sqrt p - sqrt q| of the normalised vectors, also where its square underflows."""
    squared = _squared_chord(p, q, xp)
    chord = _array.safe_sqrt(squared, xp)
    if isinstance(p, np.ndarray) and squared.min(initial=1.0) >= _SMALLEST_SQUARE[p.dtype]:
        return chord
    is_lost = squared < float(xp.finfo(squared.dtype).smallest_normal / xp.finfo(squared.dtype).eps)
    if _array.is_readable(squared):
        is_lost = is_lost & xp.any(p != q, axis=-1)
        if not bool(xp.any(is_lost)):
            return chord
    p, q = (xp.where(is_lost[..., None], x, xp.ones_like(x) / x.shape[-1]) for x in (p, q))
    return xp.where(is_lost, _array.norm(root_difference(p, q, xp), xp), chord)


def _squared_chord(p: Array, q: Array, xp: Namespace) -> Array:
    r"""Return |sqrt p - sqrt q|^2 of the normalised vectors, to full relative precision.

    With X = |sqrt p - sqrt q|^2 as given, sums P, Q and D = P - Q it is

    .. math:: (X - D^2 / (\sqrt P + \sqrt Q)^2) / \sqrt{P Q}

    unless the difference of the sums is so large that its rounding hides that of the points. For
    such rows q is first scaled to the sum of p (`_careful_squared_chord`).
    """
    if isinstance(p, np.ndarray):
        return _blocks.by_blocks(_squared_chord_of_block, p, q, xp)
    p, q = without_common_zeros(p, q, xp)
    if not _array.is_readable(p) or not _array.is_readable(q):
        return _careful_squared_chord(p, q, xp)
    difference = p - q
    chord = xp.sum(_squared_difference_of_roots(difference, p, q, xp), axis=-1)
    excess, total = xp.sum(difference, axis=-1), xp.sum(q, axis=-1)
    chord, is_drowned = _without_sums(chord, excess, total, xp)
    if not bool(xp.any(is_drowned)):
        return chord
    # Other rows are kept out of it: where has no way to stop their infinite derivatives.
    one = xp.ones_like(difference)
    p, q = (xp.where(is_drowned[..., None], x, one / p.shape[-1]) for x in (p, q))
    return xp.where(is_drowned, _careful_squared_chord(p, q, xp), chord)


def without_common_zeros(p: Array, q: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return p and q as arrays whose derivative is 0 at outcomes that both exclude."""
    if not _array.has_derivatives(p, q):  # the same
        return p, q
    is_zero = (p == 0.0) & (q == 0.0)
    zero = xp.zeros_like(p + q)
    return xp.where(is_zero, zero, p), xp.where(is_zero, zero, q)


def _squared_difference_of_roots(difference: Array, p: Array, q: Array, xp: Namespace) -> Array:
    """Return (sqrt p - sqrt q)^2, with a finite slope where one of the two excludes an outcome."""
    if not _array.has_derivatives(p, q):
        roots = xp.sqrt(p) + xp.sqrt(q)
        return (difference / xp.where(roots > 0.0, roots, xp.ones_like(roots))) ** 2
    roots, is_excluded = _sum_of_roots(p, q, xp)
    return xp.where(is_excluded, p + q, (difference / roots) ** 2)


def _sum_of_roots(p: Array, q: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return sqrt(p) + sqrt(q), 2 where one of the two is 0, and flags for that."""
    is_excluded = (p == 0.0) | (q == 0.0)
    one = xp.ones_like(p + q)
    roots = [xp.sqrt(xp.where(is_excluded, one, x)) for x in (p, q)]
    return roots[0] + roots[1], is_excluded


def _squared_chord_of_block(p: Array, q: Array, xp: Namespace) -> Array:
    """Return the squared chord of numpy's arrays, by 2 - 2 sum sqrt(p q) for far pairs."""
    *batch, length = p.shape
    p, q = p.reshape(-1, length), q.reshape(-1, length)
    ones = _array.ones(length, p.dtype)  # a product with them is a fast sum, even of short rows
    total = q.dot(ones)
    if length > _blocks.BLOCK_SIZE:
        return _near_squared_chord(p, q, total, _chord_and_excess_of_pieces(p, q)).reshape(batch)
    p, q, roots, scratch = _with_scratch(p, q)
    next_to_each_other = _chord_and_excess_of_next(p, q, roots, scratch)
    if next_to_each_other is not None:
        return _near_squared_chord(p, q, total, next_to_each_other).reshape(batch)
    _take_roots(p, q, roots)
    mean = np.sqrt(p.dot(ones) * total)
    chord = 2.0 * (mean - roots.dot(ones)) / mean
    is_near = chord < far_squared_chord(length)
    num_near = np.count_nonzero(is_near)
    if 2 * num_near > len(chord):
        chord = _near_squared_chord(p, q, total, _chord_and_excess(p, q, roots, scratch))
    elif num_near:
        rows = np.flatnonzero(is_near)
        p, q, roots, scratch, total = (x.take(rows, axis=0) for x in (p, q, roots, scratch, total))
        chord[rows] = _near_squared_chord(p, q, total, _chord_and_excess(p, q, roots, scratch))
    return chord.reshape(batch)


def _with_scratch(p: Array, q: Array) -> tuple[Array, Array, Array, Array]:
    """Return p and q in one memory layout, and two empty arrays of that layout."""
    if p.strides != q.strides:
        p, q = np.ascontiguousarray(p), np.ascontiguousarray(q)
    # Memory in one piece: the C library would take two pieces back from every call.
    is_by_columns = p.strides[0] < p.strides[1]
    memory = np.empty((2, *(p.T if is_by_columns else p).shape), p.dtype)
    return p, q, *(memory.mT if is_by_columns else memory)


def _take_roots(p: Array, q: Array, roots: Array) -> None:
    """Write sqrt(p q)."""
    np.multiply(p, q, out=roots)
    np.sqrt(roots, out=roots)


def _near_squared_chord(
    p: Array, q: Array, total: Array, chord_and_excess: tuple[Array, Array]
) -> Array:
    """Return the squared chord of the normalised vectors.

    `total` is sum(q), and `chord_and_excess` are the squared chord of the given vectors and
    sum(p - q).
    """
    given, excess = chord_and_excess
    chord, is_drowned = _without_sums(given, excess, total, np)
    smallest = p.shape[-1] * _UNDERFLOW[p.dtype]
    if given.min(initial=1.0) < smallest:
        is_drowned |= (given > 0.0) & (given < smallest)
    if is_drowned.any():
        chord[is_drowned] = _careful_squared_chord(p[is_drowned], q[is_drowned], np)
    return chord


# A squared chord below this may have lost digits to underflow.
_SMALLEST_SQUARE = {
    np.dtype(kind): np.finfo(kind).smallest_normal / np.finfo(kind).eps
    for kind in (np.float32, np.float64, np.longdouble)
}


# The root of p q is wrong where p q underflows. A squared chord below this, times the number of
# outcomes, may show it.
_UNDERFLOW = {
    np.dtype(kind): np.sqrt(2 * np.finfo(kind).smallest_subnormal) / np.finfo(kind).eps
    for kind in (np.float32, np.float64, np.longdouble)
}


def _chord_and_excess(p: Array, q: Array, roots: Array, difference: Array) -> tuple[Array, Array]:
    """Return |sqrt p - sqrt q|^2 and sum(p - q); the array `roots` of sqrt(p q) is overwritten."""
    np.subtract(p, q, out=difference)
    # (sqrt p + sqrt q)^2 as 2 (q + sqrt(p q)) + p - q: one root instead of two.
    terms = roots
    terms += q
    terms += terms
    terms += difference
    with np.errstate(invalid="ignore"):  # 0 / 0 where both exclude an outcome
        np.divide(difference, terms, out=terms)
    terms *= difference
    ones = _array.ones(p.shape[-1], p.dtype)
    chord, excess = terms.dot(ones), difference.dot(ones)
    if np.isnan(chord).any():
        terms[difference == 0.0] = 0.0
        chord = terms.dot(ones)
    return chord, excess


# |p - q| / (p + q) of outcomes whose roots need not be taken: its fourth power is below rounding.
_NEXT = {
    np.dtype(kind): 0.8 * np.finfo(kind).eps ** 0.25
    for kind in (np.float32, np.float64, np.longdouble)
}
_MANY_ENTRIES = 8192  # from so many on, a look at a few of them costs nothing beside the others


def _chord_and_excess_of_next(
    p: Array, q: Array, x: Array, difference: Array
) -> tuple[Array, Array] | None:
    r"""Return what `_chord_and_excess` does, without roots, or None if an outcome is not near.

    With x = (p - q) / (p + q) the terms are (p - q) x / (1 + \sqrt{1 - x^2}), which is
    (p - q) x / 2 (1 + x^2 / 4) up to a share of x^4 / 8. The arrays `x` and `difference` are
    overwritten.
    """
    limit = _NEXT[p.dtype]
    few = slice(None, None, max(1, len(p) // 8)), slice(None, 32)
    if p.size < _MANY_ENTRIES or (np.abs(p[few] - q[few]) > limit * (p[few] + q[few])).any():
        return None
    np.subtract(p, q, out=difference)
    np.add(p, q, out=x)
    with np.errstate(invalid="ignore"):  # 0 / 0 where both exclude an outcome
        np.divide(difference, x, out=x)
    largest = max(x.max(initial=0.0), -x.min(initial=0.0))
    if np.isnan(largest):
        x[difference == 0.0] = 0.0
        largest = max(x.max(initial=0.0), -x.min(initial=0.0))
    if not largest <= limit:
        return None
    ones = _array.ones(p.shape[-1], p.dtype)
    excess = difference.dot(ones)
    difference *= x
    chord = difference.dot(ones)
    if largest**2 > np.finfo(p.dtype).eps:
        x *= x
        x *= difference
        chord += 0.25 * x.dot(ones)
    return 0.5 * chord, excess


def _chord_and_excess_of_pieces(p: Array, q: Array) -> Array:
    """Return |sqrt p - sqrt q|^2 and sum(p - q) of long rows, by pieces that fit into the cache."""
    starts = range(0, p.shape[-1], _blocks.BLOCK_SIZE)
    pieces = [(..., slice(start, start + _blocks.BLOCK_SIZE)) for start in starts]
    return sum(np.stack(_chord_and_excess_of_piece(p[piece], q[piece])) for piece in pieces)


def _chord_and_excess_of_piece(p: Array, q: Array) -> tuple[Array, Array]:
    p, q, roots, scratch = _with_scratch(p, q)
    _take_roots(p, q, roots)
    return _chord_and_excess(p, q, roots, scratch)


def _without_sums(chord: Array, excess: Array, total: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return the squared chord of the normalised vectors, and flags where rounding drowns it."""
    p_total = total + excess
    mean = xp.sqrt(p_total * total)
    between_sums = excess**2 / (p_total + total + 2.0 * mean)
    return (chord - between_sums) / mean, between_sums > 0.1 * chord


def _careful_squared_chord(p: Array, q: Array, xp: Namespace) -> Array:
    difference, growth, total = matched_difference(p, q, xp)
    terms = _squared_difference_of_roots(difference, p, q * growth, xp)
    return xp.sum(terms / total, axis=-1)


def root_difference(p: Array, q: Array, xp: Namespace) -> Array:
    """Return sqrt(p) - sqrt(q) of the normalised vectors, to full relative precision."""
    difference, growth, total = matched_difference(p, q, xp)
    q = q * growth
    roots, is_excluded = _sum_of_roots(p, q, xp)
    excluded = _array.safe_sqrt(p, xp) - _array.safe_sqrt(q, xp)
    return xp.where(is_excluded, excluded, difference / roots) / xp.sqrt(total)


def matched_difference(p: Array, q: Array, xp: Namespace) -> tuple[Array, Array, Array]:
    """Return p - q', q' / q and their common sum, where q' is q scaled to the sum of p.

    Sums off by 5e-7 would drown a separation of 1e-8, and correcting the two norms afterwards
    would cancel: the excess is taken out of the difference itself.
    """
    total = xp.sum(q, axis=-1, keepdims=True)
    difference = p - q
    excess = xp.sum(difference, axis=-1, keepdims=True) / total
    difference = _without_excess(difference, q, excess, total, xp)
    return difference, 1.0 + excess, total + total * excess


def _without_excess(
    difference: Array, q: Array, excess: Array, total: Array, xp: Namespace
) -> Array:
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


def _leading_bits(x: Array, xp: Namespace) -> Array:
    return xp.astype(xp.astype(x, xp.float32), xp.float64)


def normalised(p: Array, xp: Namespace) -> Array:
    return p / xp.sum(p, axis=-1, keepdims=True)


def hellinger_distance(p: ArrayLike[A], q: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the Hellinger distance, in [0, 1].

    .. math:: H(p, q) = \sqrt{\textstyle\frac12 \sum_i (\sqrt{p_i} - \sqrt{q_i})^2}
              = \sqrt 2 \sin(d(p, q) / 4)

    Parameters
    ----------
    p, q : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        Not squared.

    Examples
    --------
    >>> round(float(hellinger_distance([1.0, 0.0], [0.0, 1.0])), 12)
    1.0
    """
    xp, p, q = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q))
    return _array.clip(math.sqrt(0.5) * _chord(p, q, xp), xp, max=1.0)


def bhattacharyya_coefficient(p: ArrayLike[A], q: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the Bhattacharyya coefficient, the cosine of half the Fisher-Rao distance.

    .. math:: B(p, q) = \sum_i \sqrt{p_i q_i}

    Parameters
    ----------
    p, q : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        1 for p = q, 0 for disjoint supports.

    Examples
    --------
    >>> round(float(bhattacharyya_coefficient([1.0, 0.0], [0.25, 0.75])), 12)
    0.5
    """
    xp, p, q = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q))
    totals = xp.sum(p, axis=-1) * xp.sum(q, axis=-1)
    roots = xp.sum(_array.safe_sqrt(p, xp) * _array.safe_sqrt(q, xp), axis=-1)
    coefficient = roots / xp.sqrt(totals)
    if xp is numpy_namespace:
        return np.minimum(coefficient, 1.0)
    # Near 1 rounding may exceed 1, and a clip would lose the derivatives.
    near = 1.0 - 0.5 * _squared_chord(p, q, xp)
    return xp.where(near > 0.5, near, coefficient)
