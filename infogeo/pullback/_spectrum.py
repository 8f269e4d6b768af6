"""Singular values of a scaled factor, accurate relative to each of them."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from array_api_compat import torch as xp
from scipy import linalg
from scipy.linalg import lapack

from infogeo import _array
from infogeo._array import Array
from infogeo._result import Result
from infogeo._system.registry import storable
from infogeo.pullback._checks import check_gradients, check_input
from infogeo.pullback._derivatives import apply_head
from infogeo.pullback._memory import remembered
from infogeo.pullback._network import network_of


@storable("ScaledFactor")
@dataclass(frozen=True, eq=False, repr=False)
class ScaledFactor(Result):
    """The factor A = diag(exp(log_scales)) rows of a pullback metric, before it can underflow.

    Parameters
    ----------
    rows : array, shape (batch, r, d)
        Directions, of the size of the network's Jacobian.
    log_scales : array, shape (batch, r)
        Logarithms of the rows' weights, descending; in a product of heads within each part.
    temperature : float
        The softmax temperature the metric was taken at.
    """

    rows: Array
    log_scales: Array
    temperature: float


@dataclass(frozen=True, eq=False)
class MeasuredFactor(ScaledFactor):
    """A factor that knows how exact its rows are.

    Parameters
    ----------
    origin : torch.Tensor, shape (batch, r)
        Lengths of the gradients from which the head made the rows: those of their rounding are
        eps times as large, however much has cancelled.
    eps : float
        Of the precision in which the model computed.
    """

    origin: torch.Tensor
    eps: float


class Measuring:
    """Derivatives as a head asks for them; it keeps their lengths, which the head overwrites."""

    def __init__(self, derivative):
        self._derivative, self.lengths = derivative, []

    def outputs(self, i):
        return self._measured(self._derivative.outputs(i))

    def differences(self, i, j):
        return self._measured(self._derivative.differences(i, j))

    def combinations(self, weights):
        return self._measured(self._derivative.combinations(weights))

    def _measured(self, rows):
        self.lengths.append(lengths_of(rows))
        return rows

    def origin(self, rows):
        """Return the largest length of what each row came from, at least its own."""
        known = [y.detach() for y in self.lengths if y.shape == rows.shape[:2]]
        return torch.stack([lengths_of(rows), *known]).amax(0)


@remembered
def gradients_at(metric, x):
    """Return the derivatives of the outputs of a metric's network at x."""
    return network_of(metric).gradients(x)


@remembered
def factor_from(metric, gradients):
    """Return the factor of a metric where these are the derivatives of the outputs.

    Others may be given the same factor, which is not to be changed.
    """
    measuring = Measuring(gradients)
    with torch.inference_mode(False), torch.enable_grad():
        rows, log_scales = apply_head(metric.head, gradients.z.detach(), measuring)
    if metric.check:
        check_gradients(rows)
    origin, eps = measuring.origin(rows), gradients.forward_pass.eps
    return MeasuredFactor(rows, log_scales, metric.temperature, origin, eps)


def relative_factor(metric, x):
    """Return the factor of a metric at x in orthonormal frames of its input metric."""
    check_input(x, check=metric.check)
    return relative(metric, x, factor_from(metric, gradients_at(metric, x)))


@remembered
def relative_triangle(metric, x):
    """Return the triangle of the factor in orthonormal frames of the input metric."""
    return triangle_alone(relative_factor(metric, x))


def relative(metric, x, factor):
    """Return a factor in orthonormal frames of the input metric: `origin` stays in proportion."""
    if metric.check:
        metric.input_metric.check_points(x)
    rows = metric.input_metric.pull(x.detach().to(factor.rows.dtype), factor.rows)
    origin = factor.origin
    if rows is not factor.rows:
        before = lengths_of(factor.rows)
        origin = origin * (lengths_of(rows) / torch.where(before > 0.0, before, 1.0))
    return replace(factor, rows=rows, origin=origin)


@dataclass(frozen=True, eq=False)
class Triangle:
    """The triangle T of a QR decomposition A' = Q T diag(exp(log_scales)), on the host.

    Parameters
    ----------
    columns : numpy array, shape (batch, k, r)
        Upper triangular, with columns of length 1 or 0.
    log_scales : numpy array, shape (batch, r)
        Descending.
    clarity : numpy array, shape (batch, r)
        Lengths of the rows relative to those of the gradients that they came from, at most 1.
    eps : float
        Of the precision in which the model computed.
    dtype, device
        Of the results.
    """

    columns: np.ndarray
    log_scales: np.ndarray
    clarity: np.ndarray
    eps: float
    dtype: torch.dtype
    device: torch.device

    def tensor(self, values):
        """Return values of floating-point numbers where the results are."""
        return torch.asarray(values, dtype=self.dtype, device=self.device)

    @property
    def directions(self):
        """The columns, scaled so that the rounding of each is eps; 0 where the weight is 0."""
        is_masked = np.isneginf(self.log_scales)[:, None, :]
        return np.where(is_masked, 0.0, self.columns * self.clarity[:, None, :])

    def are_clear(self, values):
        """Return which singular values of the directions rounding can tell from 0."""
        return values > rounding_of(self.columns.shape[2], self.eps) * values[:, :1]


def triangle_of(factor):
    """Return Q and T of A' = Q T diag(exp(log_scales)), with the columns in descending order.

    The order is what makes LAPACK's singular values of T diag(exp(log_scales)) accurate to
    rounding relative to each of them, not only to the largest: tested over 260 orders of magnitude.
    """
    units, build = _sorted(factor)
    basis, columns = torch.linalg.qr(units(slice(None)))
    return basis, build(columns)


_BLOCK = 2**22  # numbers that are sorted and scaled at once


def triangle_alone(factor):
    """Return the triangle without Q, block by block of the entries of the inputs."""
    batch, num_rows, d = factor.rows.shape
    units, build = _sorted(factor)
    size = max(4 * num_rows, _BLOCK // max(1, batch * num_rows))
    columns = torch.linalg.qr(units(slice(0, size)), mode="r").R
    for start in range(size, d, size):
        below = units(slice(start, start + size))
        columns = torch.linalg.qr(torch.cat([columns, below], dim=1), mode="r").R
    return build(columns)


def _sorted(factor):
    """Return two functions: one gives entries of the sorted unit rows, one makes the triangle."""
    lengths = lengths_of(factor.rows)
    log_scales = factor.log_scales.double() + lengths.double().log()
    log_scales, order = torch.sort(log_scales, dim=-1, descending=True, stable=True)
    batch = torch.arange(len(order), device=order.device)[:, None]
    lengths = torch.where(lengths == 0.0, 1.0, lengths)[batch, order]
    origin = factor.origin[batch, order].double()
    clarity = lengths.double() / torch.where(origin == 0.0, 1.0, origin)

    def units(entries):
        return (factor.rows[..., entries][batch, order] / lengths[..., None]).mT

    def build(columns):
        columns = columns.cpu().double().numpy()
        if not np.isfinite(columns).all():  # only without checks: LAPACK needs numbers
            check_gradients(factor.rows)
        host = (y.cpu().numpy() for y in (log_scales, clarity.clamp(max=1.0)))
        return Triangle(columns, *host, factor.eps, lengths.dtype, lengths.device)

    return units, build


def lengths_of(rows):
    """Return the lengths of the rows, also where their squares leave the range of the dtype."""
    lengths = torch.linalg.vector_norm(rows, dim=-1)
    limits = torch.finfo(rows.dtype)
    low, high = math.sqrt(limits.tiny / limits.eps), math.sqrt(limits.max)
    is_safe = bool(((lengths > low) & (lengths < high)).all())
    return lengths if is_safe else _array.norm(rows, xp)


def decompose(triangle):
    """Return the logarithms of the eigenvalues and the eigenvectors in the basis of the triangle.

    The QR iteration (gesvd) keeps small values accurate; divide and conquer (gesdd), which
    torch uses, returns rounding of the largest in place of all that is 1e16 times smaller.
    """
    columns, log_scales = triangle.columns, triangle.log_scales
    batch, height, width = columns.shape
    num_values = min(height, width)
    log_values = np.empty((batch, num_values))
    vectors = np.empty((batch, height, num_values))
    for i in range(batch):
        top = _finite(log_scales[i, 0])
        vectors[i], values, _, failed = lapack.dgesvd(
            columns[i] * np.exp(log_scales[i] - top), full_matrices=False
        )
        if failed:
            raise np.linalg.LinAlgError(f"the singular values of input {i} did not converge")
        log_values[i] = 2.0 * (_log(values) + top)
    return log_values, vectors


_WINDOW = 600.0  # nats: squares of its numbers are normal floating-point numbers
_MARGIN = 40.0  # nats: exp(-40) squared is far below rounding


def log_eigenvalues(triangle):
    """Return the logarithms of the squared singular values of T diag(exp(log_scales)), a batch."""
    columns, scales = triangle.columns, triangle.log_scales
    values, top = np.empty((len(columns), min(columns.shape[1:]))), scales[:, :1]
    fits = (np.isfinite(scales) & (scales >= top - _WINDOW)).all(axis=1)
    if fits.any():  # most often all: one call for all of them
        relative = np.exp(scales[fits] - top[fits])[:, None, :]
        found = np.linalg.svd(columns[fits] * relative, compute_uv=False)
        values[fits] = top[fits] + _log(found)
    for i in np.flatnonzero(~fits):
        values[i] = _log_singular_values(columns[i], scales[i])
    return 2.0 * values


def joined(factors):
    """Return the rows of several factors of one metric as those of one factor."""
    names = "rows", "log_scales", "origin"
    rows = {n: torch.cat([getattr(f, n).flatten(0, 1) for f in factors])[None] for n in names}
    return replace(factors[0], **rows)


def folded(factor):
    """Return a factor of the same metric with few rows, of one with many rows, shape (1, r, P).

    Orthogonal transformations of rows change neither singular values nor right vectors, so that the
    triangle R of a QR decomposition stands for them, where no number has been squared. Rows in
    descending order and columns by pivoting let each row keep its digits (A. Cox, N. Higham,
    Stability of Householder QR factorization for weighted least squares problems, 1998). At most P
    rows are left of those whose weights are floating-point numbers together.
    """
    if not bool(factor.rows.isfinite().all()):  # only without checks: LAPACK needs numbers
        check_gradients(factor.rows)
    lengths = lengths_of(factor.rows[0]).double()
    logs = (factor.log_scales[0].double() + lengths.log()).cpu().numpy()
    units = factor.rows[0].double() / torch.where(lengths == 0.0, 1.0, lengths)[:, None]
    units, num_columns = units.cpu().numpy(), units.shape[1]
    windows = np.round(np.where(np.isneginf(logs), 0.0, logs) / _WINDOW)
    parts = []
    for window in np.unique(windows)[::-1]:
        part, part_logs = units[windows == window], logs[windows == window]
        if len(part) > num_columns:
            order = np.argsort(-part_logs, kind="stable")
            top = _finite(part_logs[order[0]])
            scaled = part[order] * np.exp(part_logs[order] - top)[:, None]
            triangle, places = linalg.qr(scaled, mode="r", pivoting=True, overwrite_a=True)
            part = np.empty((num_columns, num_columns))
            part[:, places] = triangle[:num_columns]
            sizes = np.linalg.norm(part, axis=1)
            part, part_logs = part / np.where(sizes == 0.0, 1.0, sizes)[:, None], _log(sizes) + top
        parts.append((part, part_logs))
    rows, logs = (np.concatenate(part) for part in zip(*parts, strict=True))
    rows = torch.asarray(rows).to(factor.rows)[None]
    logs = torch.asarray(logs, device=rows.device)[None]
    return replace(factor, rows=rows, log_scales=logs, origin=lengths_of(rows))


_HALF = 1e-4  # the epsilon of half precision, and of TF32, is larger


def rounding_of(num_rows, eps):
    """Return what rounding of gradients may do to singular values, of rows whose own is eps.

    Seen were 7 eps of float32 and float64, and 3 eps of half precision, in which each product is
    rounded once, after its sum in float32.
    """
    return 8.0 * eps if eps > _HALF else 32.0 * num_rows**0.5 * eps


def rank_of(triangle):
    """Return the rank of the rows, as far as rounding can tell."""
    values = np.linalg.svd(triangle.directions, compute_uv=False)
    return triangle.are_clear(values).sum(-1)


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
