r"""The factor as an operator: products with A J B and its transpose, where rows would be too many.

B holds orthonormal frames of the input metric. All products are scaled by exp(-log_scale), which
keeps the weights of a saturated prediction among the numbers of its dtype.
"""

import math
from dataclasses import dataclass

import torch

from infogeo._docs import finish
from infogeo.pullback._checks import check_gradients
from infogeo.pullback._derivatives import Tangent, apply_head, pull_back
from infogeo.pullback._network import network_of
from infogeo.pullback._spectrum import rounding_of


class FactorProducts:
    """Products of the scaled factor S of each input with vectors, k at once.

    Parameters
    ----------
    metric : PullbackMetric
        The metric.
    x : torch.Tensor, shape (batch, ...)
    gradients : Gradients
        Pulls back cotangents at x.
    """

    def __init__(self, metric, x, gradients):
        self._metric, self._x, self._gradients = metric, x.detach(), gradients
        self._z = gradients.z.detach()
        rows, log_scales = apply_head(metric.head, self._z, Tangent(torch.zeros_like(self._z)))
        self.num_rows = rows.shape[1]
        top = log_scales.double().amax(-1)
        self._top = self.log_scale = torch.where(torch.isfinite(top), top, 0.0)
        """Shape (batch,)"""
        zeros = torch.zeros_like(self._x.flatten(1)[:, None], dtype=self._z.dtype)
        self.num_columns = metric.input_metric.pull(self._x.to(zeros.dtype), zeros).shape[-1]
        self.dtype, self.eps = self._z.dtype, gradients.forward_pass.eps
        self._cotangent, self._pulled = self._graph_of_pull()
        self._unit = 1.0
        self._take_unit()

    def transposed(self, w):
        """Return S'w, shape (batch, k, n), for w of shape (batch, k, r)."""
        rows = self._gradients.combinations(self._cotangents(w.to(self._z.dtype)))
        if self._metric.check:
            check_gradients(rows)
        return self._metric.input_metric.pull(self._x.to(rows.dtype), rows) / self._unit

    def __call__(self, v):
        """Return S v, shape (batch, k, r), for v of shape (batch, k, n)."""
        k = v.shape[1]
        tangents = self._metric.input_metric.push(self._x.to(v.dtype), v)
        moves = self._push(tangents.reshape(len(v), k, *self._x.shape[1:]))
        rows, weights = self._head_products(moves.flatten(0, 1))
        return (weights * rows).reshape(len(v), k, self.num_rows) / self._unit

    def _take_unit(self):
        """Measure S in units of its own size: products with slopes of 1e20 would overflow."""
        w = torch.ones_like(self.log_scale)[:, None, None].repeat(1, 1, self.num_rows)
        w[..., 1::2] = -1.0
        size = self.transposed(w).abs().amax((1, 2))
        size = torch.where(size > 0.0, size, 1.0)
        self._unit = size[:, None, None]
        self.log_scale = self.log_scale + size.double().log()

    def _push(self, tangents):
        """Return J v for tangents of shape (batch, k, ...).

        From the same graph as J'w where it can be differentiated again. Another forward pass
        rounds in another way, and where an activation is near a kink, its J is another one.
        """
        seeds, size = tangents.transpose(0, 1).to(self._x.dtype), self._gradients.num_at_once
        if self._pulled is not None:
            try:
                parts = [
                    self._gradients.pull(self._pulled, self._cotangent, seeds[start : start + size])
                    for start in range(0, len(seeds), size)
                ]
                return torch.cat(parts).transpose(0, 1)
            except RuntimeError:  # an operation without a second derivative
                self._pulled = None
        return torch.stack(
            [network_of(self._metric).push(self._x, seed)[1] for seed in seeds], dim=1
        )

    def _graph_of_pull(self):
        """Return a cotangent w and J'w, to be differentiated by w; None where that is not J.

        A backward pass may have no derivative, or be constant for autograd in some of its branches.
        """
        z = self._gradients.z
        w = torch.zeros_like(z, requires_grad=True)
        generator = torch.Generator().manual_seed(0)
        v, seed = (torch.randn(y.shape, generator=generator).to(y) for y in (self._x, z))
        try:
            pulled = pull_back(z, self._gradients.x, w, create_graph=True)
            options = {"retain_graph": True, "allow_unused": True}
            (pushed,) = torch.autograd.grad(pulled, w, v, **options)
            image = pull_back(z, self._gradients.x, seed)
        except RuntimeError:
            return w, None
        if pushed is None:
            return w, None
        one, other = (y.double().flatten(1) for y in (pushed * seed, image * v))
        size = one.norm(dim=1) + other.norm(dim=1)
        is_same = (one.sum(1) - other.sum(1)).abs() <= 8.0 * self.eps**0.5 * size
        return w, pulled if bool(is_same.all()) else None

    def _head_products(self, moves):
        """Return the rows of A(z) dz for moves dz, shape (batch k, m), and their scaled weights."""
        k = len(moves) // max(1, len(self._z))
        z = self._z.repeat_interleave(k, 0)
        rows, log_scales = apply_head(self._metric.head, z, Tangent(moves))
        log_weights = log_scales.double() - self._top.repeat_interleave(k)[:, None]
        return rows[..., 0], log_weights.exp().to(z.dtype)

    def _cotangents(self, w):
        """Return A(z)'w, shape (batch, k, m), as the derivative of w'A(z) dz by dz."""
        batch, k, _ = w.shape
        moves = self._z.new_zeros(batch * k, self._z.shape[1], requires_grad=True)
        rows, weights = self._head_products(moves)
        weighted = weights * w.flatten(0, 1) * rows
        return torch.autograd.grad(weighted.sum(), moves)[0].unflatten(0, (batch, k))


@dataclass(frozen=True)
class Ritz:
    """The largest eigenvalues of S S' as a Krylov space knows them, in float64.

    Parameters
    ----------
    values, errors : torch.Tensor, shape (batch, k)
        Lower bounds of the eigenvalues, and by how much they can be too low.
    vectors : torch.Tensor, shape (batch, k, r)
        Orthonormal.
    steps : int
        How many blocks of products it took.
    is_converged : bool
        Whether the errors are as small as was asked for.
    """

    values: torch.Tensor
    errors: torch.Tensor
    vectors: torch.Tensor
    steps: int
    is_converged: bool

    @property
    def relative_error(self):
        """Return the largest error relative to its value."""
        return float((self.errors / self.values).max())


def largest(products, num_values, operator):
    r"""Find the largest eigenvalues of M = S S' by block Lanczos from random vectors.

    The basis is orthogonalised in full, and M in it, T = Q'MQ, computed by products, not from the
    recurrence. A Ritz value is never above the eigenvalue it stands for. It lies within |M u -
    value u| =: r of some eigenvalue, and within r^2 / gap where the rest of the spectrum is that
    far away (Kato and Temple).

    That it is the one of its rank rests on the random start. The block has three columns more than
    there are values to find, against multiple eigenvalues and unlucky draws; before the sixth
    block, r may be small because many eigenvalues are near each other and the largest of them not
    yet in sight. From then on r was too small in one of a hundred adversarial spectra, by 1.9 at
    most, and the errors stated are four times as large. The rounding of the products is added.
    """
    batch, num_rows = len(products.log_scale), products.num_rows
    width = min(num_values + _EXTRA_COLUMNS, num_rows)
    device = products.log_scale.device
    block = _random(num_rows, width, 0, device).expand(batch, -1, -1)
    basis = images = block.new_zeros(batch, 0, num_rows)
    rounding = rounding_of(num_rows, products.eps)
    if products.eps <= torch.finfo(products.dtype).eps:
        rounding /= 8.0
    for step in range(1, operator.max_steps + 1):
        image = products(products.transposed(block.to(products.dtype))).double()
        basis, images = torch.cat([basis, block], 1), torch.cat([images, image], 1)
        ritz = _ritz(basis, images, num_values, step, rounding, operator.rtol)
        room = num_rows - basis.shape[1]
        if room == 0 or (ritz.is_converged and step >= _MIN_STEPS):
            break
        spare = _random(num_rows, width, step, device)
        block = _orthonormal_to(basis, image, spare)[:, :room]
    return ritz


_EXTRA_COLUMNS, _MIN_STEPS, _SAFETY = 3, 6, 4.0


def _random(num_rows, width, seed, device):
    generator = torch.Generator().manual_seed(seed)
    block = torch.randn(num_rows, width, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(block)[0].T.to(device)


def _orthonormal_to(basis, block, spare):
    """Return an orthonormal basis of what the rows of a block have beside those of a basis.

    Rows that have nothing are replaced by spare ones: the space goes on, without them it would end
    before it has shown that nothing is missing.
    """
    lengths = torch.linalg.vector_norm(block, dim=-1, keepdim=True)
    block = block / torch.where(lengths == 0.0, 1.0, lengths)
    for is_first in (True, False, False):
        block = block - (block @ basis.mT) @ basis
        unit, triangle = torch.linalg.qr(block.mT)
        block = unit.mT
        if is_first:
            is_lost = triangle.diagonal(dim1=1, dim2=2).abs() < 1e-10
            block = torch.where(is_lost[..., None], spare, block)
    return block


def _ritz(basis, images, num_values, step, rounding, rtol):
    """Return what the space of a basis, shape (batch, l, r), knows, with M times the basis."""
    T = basis @ images.mT
    values, coefficients = torch.linalg.eigh(0.5 * (T + T.mT))
    values, coefficients = values.flip(-1).clamp(min=0.0), coefficients.flip(-1).mT
    residuals = torch.linalg.vector_norm(
        coefficients @ images - values[..., None] * (coefficients @ basis), dim=-1
    )
    top = values[:, :1]
    errors = _SAFETY * _bounds(values, residuals)[:, :num_values] + rounding * top
    values, coefficients = values[:, :num_values], coefficients[:, :num_values]
    goal = rtol * values + 2.0 * rounding * top
    is_converged = bool((errors <= goal).all()) and values.shape[1] == num_values
    return Ritz(values, errors, coefficients @ basis, step, is_converged)


def _bounds(values, residuals):
    """Return min(r, r^2 / gap): the gap to the other values, less the residuals of those."""
    if values.shape[1] == 1:
        return residuals
    gaps = (values[:, :, None] - values[:, None]).abs() - residuals[:, None]
    gaps.diagonal(dim1=1, dim2=2).fill_(math.inf)
    gap = gaps.amin(-1)
    return torch.where(gap > residuals, residuals**2 / gap, residuals)


def right_vectors(products, w):
    """Return the images S'w of left singular vectors w, made orthonormal in their order."""
    images = products.transposed(w).double()
    lengths = torch.linalg.vector_norm(images, dim=-1, keepdim=True)
    images = images / torch.where(lengths == 0.0, 1.0, lengths)
    basis, triangle = torch.linalg.qr(images.mT)
    signs = torch.where(triangle.diagonal(dim1=1, dim2=2) < 0.0, -1.0, 1.0)
    return (signs[..., None] * basis.mT).to(products.dtype)


def squared_lengths(products, num_samples, size, generator):
    """Return |S'w|^2 for random signs w, shape (batch, num_samples), `size` of them at once."""
    batch, num_rows = len(products.log_scale), products.num_rows
    device = products.log_scale.device if generator is None else generator.device
    parts = []
    for start in range(0, num_samples, size):
        shape = batch, min(size, num_samples - start), num_rows
        signs = torch.randint(2, shape, generator=generator, device=device)
        images = products.transposed(2.0 * signs.to(products.log_scale) - 1.0)
        parts.append(images.double().square().sum(-1))
    return torch.cat(parts, dim=1)


finish(globals())
