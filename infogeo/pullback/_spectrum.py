"""Singular values of a scaled factor, accurate relative to each of them."""

import math

import numpy as np
import torch
from array_api_compat import torch as xp
from scipy.linalg import lapack

from infogeo import _array
from infogeo._result import ScaledFactor
from infogeo.pullback._checks import check_gradients


def relative_factor(metric, x):
    """Return the factor of a metric in orthonormal frames of its input metric."""
    return relative(metric, x, metric.scaled_factor(x))


def relative(metric, x, factor):
    """Return a factor in orthonormal frames of the input metric."""
    if metric.check:
        metric.input_metric.check_points(x)
    rows = metric.input_metric.pull(x.detach().to(factor.rows.dtype), factor.rows)
    return ScaledFactor(rows, factor.log_scales, factor.temperature)


def triangle_of(factor):
    """Return Q, T and log_scales with A' = Q T diag(exp(log_scales)), columns in descending order.

    T (float64, on the host) has columns of length 1 or 0 and is upper triangular. The order is
    what makes LAPACK's singular values of T diag(exp(log_scales)) accurate to rounding relative
    to each of them, not only to the largest: tested over 260 orders of magnitude.
    """
    lengths = _lengths(factor.rows)
    log_scales = factor.log_scales.double() + lengths.double().log()
    log_scales, order = torch.sort(log_scales, dim=-1, descending=True, stable=True)
    batch = torch.arange(len(order), device=order.device)[:, None]
    units, lengths = factor.rows[batch, order], lengths[batch, order]
    units /= torch.where(lengths == 0.0, 1.0, lengths)[..., None]
    basis, triangle = torch.linalg.qr(units.mT)
    triangle = triangle.cpu().double().numpy()
    if not np.isfinite(triangle).all():  # only without checks: LAPACK needs numbers
        check_gradients(factor.rows)
    return basis, triangle, log_scales.cpu().numpy()


def _lengths(rows):
    """Return the lengths of the rows, also where their squares leave the range of the dtype."""
    lengths = torch.linalg.vector_norm(rows, dim=-1)
    limits = torch.finfo(rows.dtype)
    low, high = math.sqrt(limits.tiny / limits.eps), math.sqrt(limits.max)
    is_safe = bool(((lengths > low) & (lengths < high)).all())
    return lengths if is_safe else _array.norm(rows, xp)


def decompose(triangle, log_scales):
    """Return the logarithms of the eigenvalues and the eigenvectors in the basis of the triangle.

    The QR iteration (gesvd) keeps small values accurate; divide and conquer (gesdd), which
    torch uses, returns rounding of the largest in place of all that is 1e16 times smaller.
    """
    batch, height, width = triangle.shape
    num_values = min(height, width)
    log_values = np.empty((batch, num_values))
    vectors = np.empty((batch, height, num_values))
    for i in range(batch):
        top = _finite(log_scales[i, 0])
        vectors[i], values, _, failed = lapack.dgesvd(
            triangle[i] * np.exp(log_scales[i] - top), full_matrices=False
        )
        if failed:
            raise np.linalg.LinAlgError(f"the singular values of input {i} did not converge")
        log_values[i] = 2.0 * (_log(values) + top)
    return log_values, vectors


_WINDOW = 600.0  # nats: squares of its numbers are normal floating-point numbers
_MARGIN = 40.0  # nats: exp(-40) squared is far below rounding


def log_eigenvalues(triangle, log_scales):
    """Return the logarithms of the squared singular values of T diag(exp(log_scales)), a batch."""
    values = np.empty((triangle.shape[0], min(triangle.shape[1:])))
    for i, (square, scales) in enumerate(zip(triangle, log_scales, strict=True)):
        values[i] = _log_singular_values(square, scales)
    return 2.0 * values


def rounding_of(num_rows, eps):
    """Return what rounding of gradients may do to singular values of unit rows: seen were 7 eps."""
    return 32.0 * num_rows**0.5 * eps


def rank_of(triangle, log_scales, eps):
    """Return the rank of the rows, scaled to unit length, as far as rounding can tell."""
    directions = np.where(np.isneginf(log_scales)[:, None, :], 0.0, triangle)
    values = np.linalg.svd(directions, compute_uv=False)
    return (values > rounding_of(triangle.shape[2], eps) * values[:, :1]).sum(-1)


def _log_singular_values(triangle, log_scales):
    """Return the logarithms of the singular values of T diag(exp(log_scales)), one matrix."""
    logs = np.full(min(triangle.shape), -np.inf)
    log_scales = log_scales[log_scales > -np.inf]
    limit = min(len(logs), len(log_scales))
    done = 0
    while done < limit:
        # The columns before `start` are so much larger that only their directions matter, and T
        # holds what is left without them.
        start = int(np.sum(log_scales > log_scales[done] + _MARGIN))
        stop = int(np.sum(log_scales >= log_scales[start] - _WINDOW))
        scales = np.exp(log_scales[start:stop] - log_scales[start])
        values = np.linalg.svd(triangle[start:stop, start:stop] * scales, compute_uv=False)
        known = len(log_scales)
        if stop < known:  # the end of the window feels what comes after it
            known = int(np.sum(log_scales > log_scales[stop] + _MARGIN))
        known = min(known, limit)
        logs[done:known] = log_scales[start] + _log(values[done - start : known - start])
        done = known
    return logs


def _log(values):
    with np.errstate(divide="ignore"):
        return np.log(values)


def _finite(value):
    return value if np.isfinite(value) else 0.0
