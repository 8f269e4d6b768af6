r"""The probability simplex with the Fisher metric: points are probabilities, last axis.

The metric is :math:`g_p(u, v) = \sum_i u_i v_i / p_i`, so that :math:`p \mapsto 2\sqrt p` is an
isometry onto the positive orthant of the sphere of radius 2: diameter pi, sectional curvature
+1/4. Tangent vectors sum to 0. Sums of p that differ from 1 by rounding are harmless: every
function is that of the normalised vectors.

Where p or q excludes an outcome, some functions have an infinite slope by its probability.
Automatic differentiation gives the derivative within the face there, which is finite: a root of 0
counts as a constant. An outcome that both exclude has the derivative 0. So has every outcome where
the Fisher-Rao or Hellinger distance is 0 or as large as it can be, and where a divergence is
infinite.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from array_api_compat import numpy as numpy_namespace

from infogeo import _array, _divergence, _geodesic, _spaces, _sphere
from infogeo._array import (
    PROBABILITIES,
    TANGENT,
    UNIT_INTERVAL,
    VECTOR,
    Array,
    Namespace,
    Rule,
    bad_value,
    gate,
)
from infogeo._docs import finish
from infogeo.typing import A, ArrayLike

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "alpha_divergence",
    "alpha_geodesic",
    "bhattacharyya_coefficient",
    "boundary_time",
    "christoffel_symbols",
    "dimension",
    "e_geodesic",
    "e_mean",
    "e_representation",
    "e_transport",
    "entropy",
    "exp_map",
    "expectation_parameters",
    "fisher_information",
    "fisher_rao_distance",
    "fisher_rao_geodesic",
    "fisher_rao_squared_distance",
    "from_expectation_parameters",
    "from_natural_parameters",
    "from_sphere",
    "hellinger_distance",
    "inner_product",
    "jeffreys_divergence",
    "kl_divergence",
    "log_map",
    "m_geodesic",
    "m_mean",
    "m_representation",
    "m_transport",
    "natural_parameters",
    "norm",
    "parallel_transport",
    "random_uniform",
    "renyi_divergence",
    "sphere_embedding",
    "volume",
]

POINTS = PROBABILITIES


def _unit_vectors(p: Array, xp: Namespace) -> Array:
    return _array.safe_sqrt(p, xp) / xp.sqrt(xp.sum(p, axis=-1, keepdims=True))


def _combined(coefficients: Array, p: Array, xp: Namespace) -> Array:
    roots = _array.safe_sqrt(_normalised(p, xp), xp)
    return _normalised(xp.matmul(coefficients[..., None, :], roots)[..., 0, :] ** 2, xp)


SPHERE = _spaces.SphereChart(
    unit_vectors=_unit_vectors,
    combined=_combined,
    probabilities=lambda p, xp: p,
    logits=_array.safe_log,
    converted=lambda chart, points, xp: chart.probabilities(points, xp),
    cooled=lambda p, temperature: p ** (1.0 / temperature),
    excluded=0.0,
)


# ---------------------------------------------------------------- distance


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

    Raises
    ------
    TypeError, ValueError

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
    return _sphere.angle_of_chord(_chord(p, q, xp), xp)


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

    Raises
    ------
    TypeError, ValueError

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
    return _sphere.squared_angle_of_chord(_squared_chord(p, q, xp), xp)


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
    return xp.where(is_lost, _array.norm(_root_difference(p, q, xp), xp), chord)


def _squared_chord(p: Array, q: Array, xp: Namespace) -> Array:
    r"""Return |sqrt p - sqrt q|^2 of the normalised vectors, to full relative precision.

    With X = |sqrt p - sqrt q|^2 as given, sums P, Q and D = P - Q it is

    .. math:: (X - D^2 / (\sqrt P + \sqrt Q)^2) / \sqrt{P Q}

    unless the difference of the sums drowns that of the points; those rows take the other form.
    """
    if isinstance(p, np.ndarray):
        return _array.by_blocks(_squared_chord_of_block, p, q, xp)
    p, q = _without_common_zeros(p, q, xp)
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


def _without_common_zeros(p: Array, q: Array, xp: Namespace) -> tuple[Array, Array]:
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
    if length > _array.BLOCK_SIZE:
        return _near_squared_chord(p, q, total, _chord_and_excess_of_pieces(p, q)).reshape(batch)
    p, q, roots, scratch = _with_roots(p, q)
    mean = np.sqrt(p.dot(ones) * total)
    chord = 2.0 * (mean - roots.dot(ones)) / mean
    is_near = chord < _sphere.far_squared_chord(length)
    num_near = np.count_nonzero(is_near)
    if 2 * num_near > len(chord):
        chord = _near_squared_chord(p, q, total, _chord_and_excess(p, q, roots, scratch))
    elif num_near:
        rows = np.flatnonzero(is_near)
        p, q, roots, scratch, total = (x.take(rows, axis=0) for x in (p, q, roots, scratch, total))
        chord[rows] = _near_squared_chord(p, q, total, _chord_and_excess(p, q, roots, scratch))
    return chord.reshape(batch)


def _with_roots(p: Array, q: Array) -> tuple[Array, Array, Array, Array]:
    """Return p and q in one memory layout, sqrt(p q), and an empty array of that layout."""
    if p.strides != q.strides:
        p, q = np.ascontiguousarray(p), np.ascontiguousarray(q)
    # Memory in one piece: the C library would take two pieces back from every call.
    is_by_columns = p.strides[0] < p.strides[1]
    memory = np.empty((2, *(p.T if is_by_columns else p).shape), p.dtype)
    roots, scratch = memory.mT if is_by_columns else memory
    np.multiply(p, q, out=roots)
    np.sqrt(roots, out=roots)
    return p, q, roots, scratch


def _near_squared_chord(
    p: Array, q: Array, total: Array, chord_and_excess: tuple[Array, Array]
) -> Array:
    """Return the squared chord of normalised vectors from sum(q) and what the given ones have."""
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
    """Return |sqrt p - sqrt q|^2 and sum(p - q); roots = sqrt(p q) are used up."""
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


def _chord_and_excess_of_pieces(p: Array, q: Array) -> Array:
    """Return |sqrt p - sqrt q|^2 and sum(p - q), summed piece by piece: rows exceed the cache."""
    starts = range(0, p.shape[-1], _array.BLOCK_SIZE)
    pieces = [(..., slice(start, start + _array.BLOCK_SIZE)) for start in starts]
    return sum(np.stack(_chord_and_excess(*_with_roots(p[piece], q[piece]))) for piece in pieces)


def _without_sums(chord: Array, excess: Array, total: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return the squared chord of the normalised vectors, and flags where rounding drowns it."""
    p_total = total + excess
    mean = xp.sqrt(p_total * total)
    between_sums = excess**2 / (p_total + total + 2.0 * mean)
    return (chord - between_sums) / mean, between_sums > 0.1 * chord


def _careful_squared_chord(p: Array, q: Array, xp: Namespace) -> Array:
    difference, growth, total = _matched_difference(p, q, xp)
    terms = _squared_difference_of_roots(difference, p, q * growth, xp)
    return xp.sum(terms / total, axis=-1)


def _root_difference(p: Array, q: Array, xp: Namespace) -> Array:
    """Return sqrt(p) - sqrt(q) of the normalised vectors, to full relative precision."""
    difference, growth, total = _matched_difference(p, q, xp)
    q = q * growth
    roots, is_excluded = _sum_of_roots(p, q, xp)
    excluded = _array.safe_sqrt(p, xp) - _array.safe_sqrt(q, xp)
    return xp.where(is_excluded, excluded, difference / roots) / xp.sqrt(total)


def _matched_difference(p: Array, q: Array, xp: Namespace) -> tuple[Array, Array, Array]:
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


def _normalised(p: Array, xp: Namespace) -> Array:
    return p / xp.sum(p, axis=-1, keepdims=True)


# ---------------------------------------------------------------- geodesics


def fisher_rao_geodesic(
    p: ArrayLike[A], q: ArrayLike[A], t: ArrayLike[A], *, check: bool = True
) -> A:
    r"""Return the point at t of the Fisher-Rao geodesic from p (t = 0) to q (t = 1).

    .. math:: \sqrt{\gamma(t)} = \frac{\sin((1 - t)\varphi) \sqrt p + \sin(t \varphi) \sqrt q}
              {\sin \varphi}, \qquad \varphi = d(p, q) / 2

    Parameters
    ----------
    p, q : array, shape (..., c)
    t : float or array
        Parameter in [0, 1], proportional to arc length. Its axes come first in the result.
    check : bool

    Returns
    -------
    array, shape t.shape + (..., c)
        Probabilities.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; t outside [0, 1] (`exp_map` goes beyond).

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
    angle = 0.5 * _sphere.angle_of_chord(_array.norm(delta, xp), xp)[..., None]
    t = _array.as_leading(t, delta, xp)
    from_p, from_q = _sphere.slerp_weights(angle, t, xp)
    root_p, root_q = (_array.safe_sqrt(_normalised(x, xp), xp) for x in (p, q))
    return _normalised((from_p * root_p + from_q * root_q) ** 2, xp)


def e_geodesic(p: ArrayLike[A], q: ArrayLike[A], t: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the point at t of the e-geodesic from p to q, which is straight in log-probabilities.

    .. math:: \gamma(t) \propto p^{1 - t} q^t

    Parameters
    ----------
    p, q : array, shape (..., c)
    t : float or array
    check : bool

    Returns
    -------
    array, shape t.shape + (..., c)
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
    _geodesic.require_common_outcome("p and q", joint, check, xp)
    t = _array.as_leading(t, joint, xp)
    one = xp.ones_like(p + q)
    log_p, log_q = xp.log(xp.where(joint, p, one)), xp.log(xp.where(joint, q, one))
    theta = xp.where(joint, (1.0 - t) * log_p + t * log_q, -xp.inf)
    return _with_ends(xp.exp(_array.log_softmax(theta, xp)), p, q, t, xp)


def m_geodesic(p: ArrayLike[A], q: ArrayLike[A], t: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the point at t of the m-geodesic from p to q, which is straight in probabilities.

    .. math:: \gamma(t) = (1 - t) p + t q

    Parameters
    ----------
    p, q : array, shape (..., c)
    t : float or array
    check : bool

    Returns
    -------
    array, shape t.shape + (..., c)
        Probabilities.

    Raises
    ------
    TypeError, ValueError

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


def alpha_geodesic(
    p: ArrayLike[A], q: ArrayLike[A], t: ArrayLike[A], *, alpha: float, check: bool = True
) -> A:
    r"""Return the point at t of the geodesic of Amari's alpha-connection from p to q.

    As a set it is the normalised straight line between the alpha-representations
    p^beta and q^beta, beta = (1 - alpha) / 2:

    .. math:: \gamma \propto ((1 - s) p^\beta + s q^\beta)^{1 / \beta}, \qquad
              t(s) \propto \int_0^s Z(\sigma)^{-2 \beta} d\sigma

    with Z the sum before normalisation; the time change t(s) makes the parameter affine.

    Parameters
    ----------
    p, q : array, shape (..., c)
    t : float or array
    alpha : float
        +1 is the e-connection, -1 the m-connection, 0 Levi-Civita; any real number is allowed.
    check : bool

    Returns
    -------
    array, shape t.shape + (..., c)
        Probabilities.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; t outside [0, 1]; for alpha >= 1, p and q without a common
        outcome.

    Notes
    -----
    t(s) is integrated by Gauss' rule on panels that are halved where the integrand bends, and
    inverted by Newton's method; alpha = 0 and +-1 have closed forms. Inside ``jax.jit`` and
    ``torch.func``, where values cannot be read, the panels are fixed, and tails lose digits for
    alpha in (0.8, 1).

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.6.

    Examples
    --------
    >>> p, q = [0.7, 0.2, 0.1], [0.1, 0.1, 0.8]
    >>> np.allclose(alpha_geodesic(p, q, 0.3, alpha=0.0), fisher_rao_geodesic(p, q, 0.3))
    True
    """
    xp, p, q, t = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q), t=(UNIT_INTERVAL, t))
    alpha = _array.finite_number("alpha", alpha)
    closed = {1.0: e_geodesic, 0.0: fisher_rao_geodesic, -1.0: m_geodesic}.get(alpha)
    if closed is not None:
        return closed(p, q, t, check=check)
    beta = 0.5 * (1.0 - alpha)
    joint = (p > 0.0) & (q > 0.0)
    if beta < 0.0:
        _geodesic.require_common_outcome("p and q", joint, check, xp)
    log_p, log_q = (_array.safe_log(_normalised(x, xp), xp) for x in (p, q))
    t = _array.as_leading(t, joint, xp)
    log_point = _geodesic.log_alpha_geodesic(log_p, log_q, t, beta, xp)
    return _with_ends(xp.exp(log_point), p, q, t, xp)


def _with_ends(inside: Array, p: Array, q: Array, t: Array, xp: Namespace) -> Array:
    p, q = _normalised(p, xp), _normalised(q, xp)
    return _geodesic.with_ends(inside, p, q, t, (p > 0.0) != (q > 0.0), xp)


# ---------------------------------------------------------------- exponential and logarithm


def exp_map(p: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the point that the Fisher-Rao geodesic from p with velocity v reaches at time 1.

    .. math:: \sqrt{\exp_p v} = \cos(|x|) \sqrt p + \frac{\sin |x|}{|x|} x,
              \qquad x = \frac{v}{2 \sqrt p}

    Parameters
    ----------
    p : array, shape (..., c)
    v : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        Probabilities, at Fisher-Rao distance ``norm(p, v)`` from p.

    Raises
    ------
    TypeError, ValueError
        Values that are not probabilities or not tangent; a geodesic that leaves the simplex
        before time 1 (see `boundary_time`): the formula would reflect it, and a reflected curve
        is no geodesic.

    Examples
    --------
    >>> exp_map([0.5, 0.5], [np.pi / 4, -np.pi / 4]).round(12)
    array([1., 0.])
    """
    xp, p, v = gate(check, p=(PROBABILITIES, p), v=(TANGENT, v))
    root, x, length = _on_sphere(p, v, check, xp)
    time = _boundary_time(root, x, length, xp)
    if check and _array.is_readable(time):
        _sphere.require_inside(time, xp)
    return _normalised((xp.cos(length) * root + _sphere.sinc(length, xp) * x) ** 2, xp)


def log_map(p: ArrayLike[A], q: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the velocity at p of the Fisher-Rao geodesic that reaches q at time 1.

    .. math:: \log_p q = \frac{2 \varphi}{\sin \varphi}
              \sqrt p \left(\sqrt q - \cos(\varphi) \sqrt p\right), \qquad \varphi = d(p, q) / 2

    Parameters
    ----------
    p, q : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        Tangent vector at p, of norm d(p, q): the inverse of `exp_map`.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; an outcome of q that p excludes: leaving a face takes infinite
        speed in probabilities (the chart `sphere_embedding` has no such limit).

    Examples
    --------
    >>> log_map([0.5, 0.5], [1.0, 0.0]).round(6)
    array([ 0.785398, -0.785398])
    """
    xp, p, q = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q))
    leaves_face = (p == 0.0) & (q > 0.0)
    if check and _array.is_readable(leaves_face) and bool(xp.any(leaves_face)):
        raise bad_value(
            "q",
            "be 0 where p is",
            "it has an outcome that p excludes, and no finite velocity leaves a face",
            "Work with sphere_embedding(p), or with distances.",
        )
    delta = -_root_difference(p, q, xp)
    squared_chord = xp.sum(delta**2, axis=-1, keepdims=True)
    angle = 0.5 * _sphere.angle_of_chord(_array.norm(delta, xp), xp)[..., None]
    root = _array.safe_sqrt(_normalised(p, xp), xp)
    # sqrt q - cos(angle) sqrt p, with 1 - cos(angle) = |delta|^2 / 2
    return 2.0 / _sphere.sinc(angle, xp) * root * (delta + 0.5 * squared_chord * root)


def boundary_time(p: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the time at which the geodesic from p with velocity v leaves the simplex.

    .. math:: t = \min_i \frac{1}{|x|} \operatorname{atan2}(|x| \sqrt{p_i}, -x_i),
              \qquad x = \frac{v}{2 \sqrt p}

    Parameters
    ----------
    p : array, shape (..., c)
    v : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        Time > 0 of the first face outside p's own; inf for v = 0.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> round(float(boundary_time([0.5, 0.5], [0.5, -0.5])) * 2 / np.pi, 12)
    1.0
    """
    xp, p, v = gate(check, p=(PROBABILITIES, p), v=(TANGENT, v))
    return _boundary_time(*_on_sphere(p, v, check, xp), xp)


def _on_sphere(p: Array, v: Array, check: bool, xp: Namespace) -> tuple[Array, Array, Array]:
    """Return sqrt p, the vector v / (2 sqrt p) tangent to the unit sphere there, and its norm."""
    root, score = _array.safe_sqrt(_normalised(p, xp), xp), _score(p, v, check, xp)
    x = 0.5 * root * score
    return root + xp.zeros_like(x), x, _array.norm(x, xp)[..., None]


def _score(p: Array, v: Array, check: bool, xp: Namespace) -> Array:
    """Return the e-representation v / p, 0 where p is 0, with its mean under p removed."""
    is_zero = p == 0.0
    leaves_face = is_zero & (v != 0.0)
    if check and _array.is_readable(leaves_face) and bool(xp.any(leaves_face)):
        raise bad_value(
            "v", "be 0 where p is", "it leaves a face, where its Fisher norm is infinite"
        )
    p = _normalised(p, xp)
    score = v / xp.where(is_zero, xp.ones_like(p), p)
    return xp.where(is_zero, score, score - xp.sum(v, axis=-1, keepdims=True))


def _boundary_time(root: Array, x: Array, length: Array, xp: Namespace) -> Array:
    is_zero = length == 0.0
    angle = xp.atan2(length * root, -x)
    angle = xp.where((root == 0.0) & (x == 0.0), xp.full_like(angle, xp.inf), angle)
    time = angle / xp.where(is_zero, xp.ones_like(length), length)
    return xp.min(xp.where(is_zero, xp.full_like(time, xp.inf), time), axis=-1)


# ---------------------------------------------------------------- tangent vectors


def inner_product(p: ArrayLike[A], u: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the inner product of two tangent vectors in the Fisher metric.

    .. math:: g_p(u, v) = \sum_i \frac{u_i v_i}{p_i}

    Parameters
    ----------
    p : array, shape (..., c)
    u, v : array, shape (..., c)
        Tangent vectors: they sum to 0, and are 0 where p is. Leading axes broadcast.
    check : bool

    Returns
    -------
    array, shape (...)
        In squared radians.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> float(inner_product([0.5, 0.5], [1.0, -1.0], [0.5, -0.5]))
    2.0
    """
    xp, p, u, v = gate(check, p=(PROBABILITIES, p), u=(TANGENT, u), v=(TANGENT, v))
    first, second = _score(p, u, check, xp), _score(p, v, check, xp)
    return xp.sum(_normalised(p, xp) * first * second, axis=-1)


def norm(p: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the length of a tangent vector in the Fisher metric.

    .. math:: |v|_p = \sqrt{\textstyle\sum_i v_i^2 / p_i}

    Parameters
    ----------
    p : array, shape (..., c)
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
    >>> round(float(norm([0.5, 0.5], [0.5, -0.5])), 12)
    1.0
    """
    xp, p, v = gate(check, p=(PROBABILITIES, p), v=(TANGENT, v))
    return 2.0 * _on_sphere(p, v, check, xp)[2][..., 0]


def parallel_transport(
    p: ArrayLike[A], q: ArrayLike[A], v: ArrayLike[A], *, check: bool = True
) -> A:
    r"""Transport a tangent vector from p to q along the Fisher-Rao geodesic (Levi-Civita).

    In the sphere chart :math:`x = \sqrt p, y = \sqrt q, \xi = v / (2 \sqrt p)`:

    .. math:: \xi \mapsto \xi - \frac{\langle y, \xi \rangle}{1 + \langle x, y \rangle} (x + y)

    Parameters
    ----------
    p, q : array, shape (..., c)
    v : array, shape (..., c)
        Tangent vector at p: sums to 0, and is 0 where p is.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Tangent vector at q with the same norm, for q inside p's own face.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> p, q, v = [0.2, 0.3, 0.5], [0.1, 0.6, 0.3], [0.1, 0.1, -0.2]
    >>> bool(np.isclose(norm(q, parallel_transport(p, q, v)), norm(p, v)))
    True
    """
    xp, p, q, v = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q), v=(TANGENT, v))
    x, xi, _ = _on_sphere(p, v, check, xp)
    y = _array.safe_sqrt(_normalised(q, xp), xp)
    along = xp.sum(y * xi, axis=-1, keepdims=True)
    return 2.0 * y * (xi - along / (1.0 + xp.sum(x * y, axis=-1, keepdims=True)) * (x + y))


def e_transport(p: ArrayLike[A], q: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Transport a tangent vector from p to q by the e-connection, the same along any path.

    The score v / p keeps its values up to its mean under q:

    .. math:: v \mapsto q \left(\frac{v}{p} - E_q\left[\frac{v}{p}\right]\right)

    Parameters
    ----------
    p, q : array, shape (..., c)
    v : array, shape (..., c)
        Tangent vector at p: sums to 0, and is 0 where p is.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Tangent vector at q.

    Raises
    ------
    TypeError, ValueError

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> e_transport([0.5, 0.5], [0.2, 0.8], [0.1, -0.1]).round(12)
    array([ 0.064, -0.064])
    """
    xp, p, q, v = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q), v=(TANGENT, v))
    score, q = _score(p, v, check, xp), _normalised(q, xp)
    return q * (score - xp.sum(q * score, axis=-1, keepdims=True))


def m_transport(p: ArrayLike[A], q: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Transport a tangent vector from p to q by the m-connection: the same vector.

    Parameters
    ----------
    p, q : array, shape (..., c)
    v : array, shape (..., c)
        Tangent vector at p: sums to 0.
    check : bool

    Returns
    -------
    array, shape (..., c)
        v, broadcast against p and q.

    Raises
    ------
    TypeError, ValueError

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> m_transport([0.5, 0.5], [0.2, 0.8], [0.1, -0.1])
    array([ 0.1, -0.1])
    """
    xp, p, q, v = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q), v=(TANGENT, v))
    return v + xp.zeros_like(p + q)


# ---------------------------------------------------------------- charts and representations


def sphere_embedding(p: ArrayLike[A], *, check: bool = True) -> A:
    r"""Map probabilities to the positive orthant of the sphere of radius 2, isometrically.

    .. math:: u = 2 \sqrt p

    Parameters
    ----------
    p : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        Of Euclidean norm 2. The Fisher-Rao distance is the arc between two of them.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> sphere_embedding([0.25, 0.75]).round(6)
    array([1.      , 1.732051])
    """
    xp, p = gate(check, p=(PROBABILITIES, p))
    return 2.0 * _array.safe_sqrt(_normalised(p, xp), xp)


def from_sphere(u: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the probabilities of a point on the positive orthant of the sphere of radius 2.

    .. math:: p = u^2 / 4

    Parameters
    ----------
    u : array, shape (..., c)
        Not negative, of Euclidean norm 2.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Probabilities: the inverse of `sphere_embedding`.

    Raises
    ------
    TypeError, ValueError
        Negative entries; a norm that is not 2.

    Examples
    --------
    >>> from_sphere([2.0, 0.0])
    array([1., 0.])
    """
    xp, u = gate(check, u=(_ON_SPHERE, u))
    return _normalised(0.25 * u * u, xp)


def _is_on_sphere(u: Array, coarseness: float) -> bool:
    excess = 0.25 * (u * u).sum(-1) - 1.0
    tolerance = 4e-6 * math.sqrt(u.shape[-1]) + 8.0 * coarseness
    return bool((u >= 0.0).all()) and bool((abs(excess) <= tolerance).all())


def _explain_sphere(name: str, u: Array, coarseness: float) -> None:
    if not _is_on_sphere(u, coarseness):
        off = abs(0.25 * (u * u).sum(-1) - 1.0).max()
        raise bad_value(
            name,
            "lie on the positive orthant of the sphere of radius 2",
            f"smallest entry {u.min():.6g}, largest ||{name}|^2 / 4 - 1| = {off:.6g}",
            f"Use 2 * {name} / norm({name}) for a direction with entries that are not negative.",
        )


_ON_SPHERE = Rule("outcomes", _is_on_sphere, _explain_sphere)


def natural_parameters(p: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the e-coordinates, which are the logits with sum zero.

    .. math:: \theta_i = \log p_i - \frac1c \textstyle\sum_j \log p_j

    Parameters
    ----------
    p : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        -inf where p is 0; the finite ones sum to 0.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> natural_parameters([0.5, 0.5])
    array([0., 0.])
    """
    xp, p = gate(check, p=(PROBABILITIES, p))
    return _array.centred(_array.safe_log(p, xp), xp)


def from_natural_parameters(theta: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the probabilities of e-coordinates, by the softmax.

    .. math:: p_i = \exp(\theta_i - \psi), \qquad \psi = \log \textstyle\sum_j \exp \theta_j

    Parameters
    ----------
    theta : array, shape (..., c)
        Logits along the last axis, -inf for probability 0; a constant changes nothing.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Probabilities: the inverse of `natural_parameters`.

    Raises
    ------
    TypeError, ValueError
        NaN, +inf or rows of -inf.

    Examples
    --------
    >>> from_natural_parameters([1.0, 1.0])
    array([0.5, 0.5])
    """
    xp, theta = gate(check, theta=(_array.LOGITS, theta))
    return _array.softmax(theta, xp)


def expectation_parameters(p: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the m-coordinates, which are the probabilities of all outcomes but the last.

    Parameters
    ----------
    p : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c - 1)
        The coordinates eta in which `fisher_information` and `christoffel_symbols` are given.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> expectation_parameters([0.25, 0.25, 0.5])
    array([0.25, 0.25])
    """
    xp, p = gate(check, p=(PROBABILITIES, p))
    return _normalised(p, xp)[..., :-1]


def from_expectation_parameters(eta: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the probabilities of m-coordinates: the last outcome has what is missing to 1.

    Parameters
    ----------
    eta : array, shape (..., c - 1)
        Not negative, with sum at most 1.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Probabilities: the inverse of `expectation_parameters`.

    Raises
    ------
    TypeError, ValueError
        Entries that are not the beginning of a distribution.

    Examples
    --------
    >>> from_expectation_parameters([0.25, 0.25])
    array([0.25, 0.25, 0.5 ])
    """
    xp, eta = gate(check, eta=(_BEGINNING, eta))
    if len(eta.shape) == 0:
        raise bad_value("eta", "have shape (..., c - 1)", "got a number")
    last = 1.0 - xp.sum(eta, axis=-1, keepdims=True)
    last = xp.where(last < 0.0, xp.zeros_like(last), last)  # rounding of a sum of 1
    return _normalised(xp.concat([eta, last], axis=-1), xp)


def _begins_distribution(eta: Array, coarseness: float) -> bool:
    tolerance = 2e-6 * math.sqrt(eta.shape[-1] + 1) + 4.0 * coarseness if eta.ndim else 0.0
    return bool((eta >= 0.0).all()) and bool((eta.sum(-1) <= 1.0 + tolerance).all())


def _explain_beginning(name: str, eta: Array, coarseness: float) -> None:
    if not _begins_distribution(eta, coarseness):
        raise bad_value(
            name,
            "hold the first c - 1 of c probabilities",
            f"smallest entry {eta.min():.6g}, largest sum {eta.sum(-1).max():.6g}",
        )


_BEGINNING = Rule("", _begins_distribution, _explain_beginning)


def e_representation(p: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the score of a tangent vector, which is the derivative of log p along it.

    .. math:: s_i = v_i / p_i

    Parameters
    ----------
    p : array, shape (..., c)
    v : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        Of mean 0 under p; 0 where p is 0.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> e_representation([0.25, 0.75], [0.1, -0.1]).round(6)
    array([ 0.4     , -0.133333])
    """
    xp, p, v = gate(check, p=(PROBABILITIES, p), v=(TANGENT, v))
    return _score(p, v, check, xp)


def m_representation(p: ArrayLike[A], score: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the tangent vector of a score, which is the derivative of p.

    .. math:: v_i = p_i (s_i - E_p[s])

    Parameters
    ----------
    p : array, shape (..., c)
    score : array, shape (..., c)
        Derivative of the logits; a constant changes nothing. Leading axes broadcast.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Tangent vector: the inverse of `e_representation`.

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities or not finite.

    Examples
    --------
    >>> m_representation([0.5, 0.5], [2.0, 0.0])
    array([ 0.5, -0.5])
    """
    xp, p, score = gate(check, p=(PROBABILITIES, p), score=(VECTOR, score))
    p = _normalised(p, xp)
    return p * (score - xp.sum(p * score, axis=-1, keepdims=True))


def dimension(p: ArrayLike[A], *, check: bool = True) -> int:
    """Return the number of parameters of the distributions.

    Parameters
    ----------
    p : array, shape (..., c)
    check : bool

    Returns
    -------
    int
        One less than the number of outcomes: c - 1.

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities.

    Examples
    --------
    >>> dimension([0.2, 0.3, 0.5])
    2
    """
    _, p = gate(check, p=(PROBABILITIES, p))
    return int(p.shape[-1]) - 1


def fisher_information(p: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the Fisher information matrix in expectation coordinates.

    .. math:: g_{ij} = \delta_{ij} / p_i + 1 / p_c, \qquad i, j < c

    Parameters
    ----------
    p : array, shape (..., c)
        Probabilities along the last axis, all positive.
    check : bool

    Returns
    -------
    array, shape (..., c - 1, c - 1)
        In squared radians per squared unit of probability.

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities, or 0.

    Examples
    --------
    >>> fisher_information([0.5, 0.25, 0.25])
    array([[6., 4.],
           [4., 8.]])
    """
    xp, p = gate(check, p=(PROBABILITIES, p))
    p = _interior(p, check, xp)
    identity = xp.eye(p.shape[-1] - 1, dtype=p.dtype, device=_array.device_of(p))
    return identity / p[..., :-1, None] + 1.0 / p[..., -1:, None]


def christoffel_symbols(p: ArrayLike[A], *, alpha: float = 0.0, check: bool = True) -> A:
    r"""Return the Christoffel symbols of the alpha-connection in expectation coordinates.

    .. math:: \Gamma^k_{ij} = -\frac{1 + \alpha}{2} \left(\frac{\delta_{ijk}}{p_k}
              - \frac{p_k \delta_{ij}}{p_i} - \frac{p_k}{p_c}\right), \qquad i, j, k < c

    Parameters
    ----------
    p : array, shape (..., c)
        Probabilities along the last axis, all positive.
    alpha : float
        +1 is the e-connection, -1 the m-connection (flat in these coordinates), 0 Levi-Civita.
    check : bool

    Returns
    -------
    array, shape (..., c - 1, c - 1, c - 1)
        The upper index k first, then i and j.

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities, or 0.

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> christoffel_symbols([0.25, 0.75])
    array([[[-1.33333333]]])
    """
    xp, p = gate(check, p=(PROBABILITIES, p))
    p = _interior(p, check, xp)
    identity = xp.eye(p.shape[-1] - 1, dtype=p.dtype, device=_array.device_of(p))
    upper, lower = p[..., :-1, None, None], p[..., None, :-1, None]
    cubic = identity[:, :, None] * identity[:, None, :] / upper
    cubic = cubic - upper * identity / lower - upper / p[..., -1:, None, None]
    return -0.5 * (1.0 + _array.finite_number("alpha", alpha)) * cubic


def _interior(p: Array, check: bool, xp: Namespace) -> Array:
    """Return the normalised p; raise if it has zeros, where coordinates are infinite."""
    if check and _array.is_readable(p) and bool(xp.any(p == 0.0)):
        raise bad_value(
            "p",
            "have positive probabilities only",
            "it has zeros, where the coordinates of the metric are infinite",
            "Leave out the outcomes of probability 0.",
        )
    return _normalised(p, xp)


# ---------------------------------------------------------------- entropy and divergences


def entropy(p: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the Shannon entropy.

    .. math:: H(p) = -\sum_i p_i \log p_i

    Parameters
    ----------
    p : array, shape (..., c)
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
    >>> round(float(entropy([0.5, 0.5, 0.0])), 6)
    0.693147
    """
    xp, p = gate(check, p=(PROBABILITIES, p))
    p = _normalised(p, xp)
    # Near a vertex the largest logarithm is that of 1 minus the sum of the others.
    is_top, zero = p > 0.5, xp.zeros_like(p)
    rest = xp.sum(xp.where(is_top, zero, p), axis=-1, keepdims=True)
    log_top = xp.log1p(-xp.where(is_top, rest, zero))
    log_p = xp.where(is_top, log_top, xp.log(xp.where(p > 0.0, p, zero + 1.0)))
    return xp.sum(p * -log_p, axis=-1)


def kl_divergence(p: ArrayLike[A], q: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the Kullback-Leibler divergence of p from q.

    .. math:: \mathrm{KL}(p, q) = \sum_i p_i \log \frac{p_i}{q_i}

    Parameters
    ----------
    p, q : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        In nats; inf where q excludes an outcome of p.

    Raises
    ------
    TypeError, ValueError

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
    return _divergence.kullback_leibler(p, q, ratio, xp)


def jeffreys_divergence(p: ArrayLike[A], q: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the Jeffreys divergence, the sum of the two Kullback-Leibler divergences.

    .. math:: J(p, q) = \sum_i (p_i - q_i) \log \frac{p_i}{q_i}

    Parameters
    ----------
    p, q : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        In nats; inf where the supports differ.

    Raises
    ------
    TypeError, ValueError

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
    return _divergence.jeffreys(p, q, ratio, xp)


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

    Raises
    ------
    TypeError, ValueError

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


def renyi_divergence(p: ArrayLike[A], q: ArrayLike[A], *, order: float, check: bool = True) -> A:
    r"""Return the Renyi divergence.

    .. math:: R(p, q) = \frac{1}{\text{order} - 1}
              \log \textstyle\sum_i p_i^{\text{order}} q_i^{1 - \text{order}}

    Parameters
    ----------
    p, q : array, shape (..., c)
    order : float
        In [0, inf]: 1 gives KL(p, q), inf the logarithm of the largest ratio p / q, 0 minus the
        logarithm of q's probability of the support of p.
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
    return _divergence.renyi(p, q, log_p, ratio, _divergence.checked_order(order), xp)


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

    Raises
    ------
    TypeError, ValueError

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

    Raises
    ------
    TypeError, ValueError

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


def _log_ratio(p: Array, q: Array, xp: Namespace) -> tuple[Array, Array, Array, Array]:
    """Return the normalised p and q, log p, and log(p / q) to full relative precision."""
    p, q = _without_common_zeros(p, q, xp)
    difference, growth, total = _matched_difference(p, q, xp)
    q_scaled = q * growth
    is_near = xp.abs(difference) < 0.5 * q_scaled
    one = xp.ones_like(q_scaled)
    relative = xp.where(is_near, difference, 0.0 * one) / xp.where(is_near, q_scaled, one)
    log_p = _array.safe_log(p, xp) - xp.log(total)
    far = _far_log_ratio(p, q, xp) - xp.log(growth)
    return p / total, q_scaled / total, log_p, xp.where(is_near, xp.log1p(relative), far)


def _far_log_ratio(p: Array, q: Array, xp: Namespace) -> Array:
    """Return log(p / q), from the quotient: the difference of two logarithms has fewer digits.

    That of the roots neither overflows nor do its derivatives.
    """
    in_p, in_q = p > 0.0, q > 0.0
    one = xp.ones_like(p + q)
    root_p, root_q = (xp.sqrt(xp.where(in_p & in_q, x, one)) for x in (p, q))
    ratio = 2.0 * xp.log(root_p / root_q)
    return xp.where(in_p & ~in_q, xp.inf * one, xp.where(in_q & ~in_p, -xp.inf * one, ratio))


# ---------------------------------------------------------------- means


def e_mean(
    points: ArrayLike[A], *, weights: ArrayLike[A] | None = None, axis: int = 0, check: bool = True
) -> A:
    r"""Return the mean in e-coordinates, which is the normalised geometric mean.

    .. math:: \bar p \propto \prod_k p_k^{w_k}

    It minimises :math:`\sum_k w_k \mathrm{KL}(p, p_k)` over p.

    Parameters
    ----------
    points : array, shape (..., n, ..., c)
        Probabilities along the last axis.
    weights : array or None
    axis : int
    check : bool

    Returns
    -------
    array, shape (..., c)
        Probabilities: 0 where a point of positive weight is 0.

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities; weights without a positive sum; points without a
        common outcome.

    Examples
    --------
    >>> e_mean([[0.8, 0.2], [0.2, 0.8]]).round(12)
    array([0.5, 0.5])
    """
    xp, points, weights = _array.gate_mean(check, PROBABILITIES, points, weights, axis)
    theta = _array.weighted_sum(_array.safe_log(points, xp), weights, axis, xp)
    if check and _array.is_readable(theta) and bool(xp.any(xp.all(theta == -xp.inf, axis=-1))):
        raise bad_value(
            "points", "have an outcome in common for an e-mean", "their supports are disjoint"
        )
    return _array.softmax(theta, xp)


def m_mean(
    points: ArrayLike[A], *, weights: ArrayLike[A] | None = None, axis: int = 0, check: bool = True
) -> A:
    r"""Return the mean in m-coordinates, which is the arithmetic mean.

    .. math:: \bar p = \sum_k w_k p_k

    It minimises :math:`\sum_k w_k \mathrm{KL}(p_k, p)` over p.

    Parameters
    ----------
    points : array, shape (..., n, ..., c)
        Probabilities along the last axis.
    weights : array or None
    axis : int
    check : bool

    Returns
    -------
    array, shape (..., c)
        Probabilities.

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities; weights without a positive sum.

    Examples
    --------
    >>> m_mean([[1.0, 0.0], [0.0, 1.0]], weights=[3.0, 1.0])
    array([0.75, 0.25])
    """
    xp, points, weights = _array.gate_mean(check, PROBABILITIES, points, weights, axis)
    return _array.weighted_sum(_normalised(points, xp), weights, axis, xp)


# ---------------------------------------------------------------- the whole simplex


def volume(num_outcomes: int) -> float:
    r"""Return the Fisher-Rao volume of the open simplex.

    .. math:: \pi^{c / 2} / \Gamma(c / 2)

    Parameters
    ----------
    num_outcomes : int
        c, at least 1.

    Returns
    -------
    float
        In radians to the power c - 1.

    Raises
    ------
    ValueError
        A number of outcomes below 1.

    Examples
    --------
    >>> volume(2) == np.pi
    True
    """
    num_outcomes = _checked_num_outcomes(num_outcomes)
    half = 0.5 * num_outcomes
    if num_outcomes <= 300:
        return math.pi**half / math.gamma(half)
    return math.exp(half * math.log(math.pi) - math.lgamma(half))


def random_uniform(
    num_outcomes: int,
    size: int | tuple[int, ...] = (),
    *,
    rng: np.random.Generator | int | None = None,
) -> NDArray[np.float64]:
    r"""Draw distributions uniformly for the Fisher-Rao volume (the Jeffreys prior).

    A Dirichlet distribution with all parameters 1/2, drawn as the squares of a uniform point on
    the sphere.

    Parameters
    ----------
    num_outcomes : int
        c, at least 1.
    size : int or tuple of int
        Shape of the batch.
    rng : numpy.random.Generator, int or None
        Source of randomness or its seed.

    Returns
    -------
    numpy array, shape size + (c,)
        Probabilities in float64.

    Raises
    ------
    ValueError
        A number of outcomes below 1.

    Examples
    --------
    >>> random_uniform(3, 5, rng=0).shape
    (5, 3)
    """
    shape = tuple(size) if isinstance(size, tuple | list) else (int(size),)
    num_outcomes = _checked_num_outcomes(num_outcomes)
    x = np.random.default_rng(rng).standard_normal((*shape, num_outcomes)) ** 2
    return x / x.sum(-1, keepdims=True)


def _checked_num_outcomes(num_outcomes: int) -> int:
    if not isinstance(num_outcomes, int | np.integer) or num_outcomes < 1:
        raise bad_value("num_outcomes", "be an integer of at least 1", f"got {num_outcomes!r}")
    return int(num_outcomes)


finish(
    globals(),
    {
        "p, q : array, shape (..., c)": (
            "Probabilities along the last axis; leading axes broadcast."
        ),
        "v : array, shape (..., c)": (
            "Tangent vector: sums to 0, and is 0 where p is. Leading axes broadcast."
        ),
    },
)
