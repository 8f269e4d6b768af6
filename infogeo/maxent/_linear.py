"""Linear algebra that keeps its digits."""

import math

import numpy as np
import scipy.linalg


def power_of_two(x):
    """Return powers of two of the size of x, by which scaling is exact; 1 where x is 0."""
    return np.ldexp(1.0, np.frexp(x)[1])


def is_identity(lower):
    return np.array_equal(lower, np.eye(lower.shape[0]))


def solve_lower(lower, right, *, transposed=False):
    """Solve lower @ x = right (or lower.T @ x = right) for a lower triangular matrix."""
    if is_identity(lower):
        return right
    return scipy.linalg.solve_triangular(lower, right, lower=True, trans=int(transposed))


def combined(inverse, F, b, scale):
    """Return inverse @ ((F - b) / scale) as if it were computed exactly and then rounded.

    The combinations of nearly dependent rows cancel: of monomials up to the 12th power, all but
    seven digits. What is lost there is lost for the probabilities.
    """
    high = F - b[:, None]
    if scale.size == 0:
        return high
    back = high - F
    low = (F - (high - back)) - (b[:, None] + back)  # the rounding error of F - b
    high /= scale[:, None]
    low /= scale[:, None]
    num_parts = 3
    bits = (53 - math.ceil(math.log2(scale.size))) // 2
    right_parts = _split(high, bits, num_parts, axis=0)
    total, carry = np.zeros_like(high), inverse @ low
    for i, left in enumerate(_split(inverse, bits, num_parts, axis=1)):
        for right in right_parts[: num_parts - i]:
            term = left @ right  # exact: sums of integers below 2^53, scaled
            total, before = total + term, total
            back = total - before
            carry += (before - (total - back)) + (term - back)
    return total + carry


def _split(x, bits, num_parts, axis):
    """Split x into parts of few leading bits, relative to the largest entries along an axis."""
    parts = []
    for _ in range(num_parts):
        unit = np.ldexp(power_of_two(np.abs(x).max(axis=axis, keepdims=True)), -bits)
        parts.append(np.rint(x / unit) * unit)
        x = x - parts[-1]
    return parts


def covariance_of(rows, weights, mean):
    """Return the covariance of the rows, without letting it cancel."""
    second = (rows * weights) @ rows.T
    covariance = second - np.outer(mean, mean)
    if (np.diagonal(covariance) > 0.01 * np.diagonal(second)).all():
        return covariance
    roots = (rows - mean[:, None]) * np.sqrt(weights)
    return roots @ roots.T


def whitener_of(reduced, point):
    """Return W with W'W the inverse of the Hessian, and whether it is known well enough."""
    rows, ridge = reduced.rows, np.broadcast_to(reduced.ridge, point.t.shape)
    try:
        covariance = covariance_of(rows, point.p, point.mean)
        lower = np.linalg.cholesky(covariance + np.diag(ridge) if ridge.any() else covariance)
        diagonal = np.diagonal(lower)
        is_reliable = diagonal.size == 0 or bool(diagonal.min() > 1e-3 * diagonal.max())
    except np.linalg.LinAlgError:
        is_reliable = False
    if not is_reliable:
        roots = (rows - point.mean[:, None]) * np.sqrt(point.p)
        if ridge.any():
            roots = np.hstack([roots, np.diag(np.sqrt(ridge))])
        lower, is_reliable = _orthogonal_factor(roots)
    return solve_lower(lower, np.eye(lower.shape[0])), is_reliable


def _orthogonal_factor(roots):
    """Return L with LL' the covariance, without squaring its condition as Cholesky does.

    Directions in which it vanishes to working precision get a small variance: enough for a
    direction of descent, and the second value says that no bound can be built on it.
    """
    upper = np.linalg.qr(roots.T, mode="r")
    diagonal = np.abs(np.diagonal(upper))
    if diagonal.min() > 1e-12 * diagonal.max():
        return upper.T, True
    smallest = max(1e-7 * diagonal.max(), 1e-40)
    padded = np.vstack([upper, smallest * np.eye(upper.shape[0])])
    return np.linalg.qr(padded, mode="r").T, False
