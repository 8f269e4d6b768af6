"""Derivatives of a network's outputs by its inputs: gradients as rows, or along one direction."""

import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from infogeo._array import BadValueError, bad_value
from infogeo.pullback._graph import read_graph


def apply_head(head, z, derivative):
    """Return rows and log_scales of A(z) times a derivative of z (gradients, or a tangent)."""
    if head.scaled_factor is not None:
        return head.scaled_factor(z, derivative)
    weights = head.factor(z)
    if weights.ndim != 3 or (len(weights), weights.shape[2]) != z.shape:
        raise bad_value(
            "head.factor",
            "return a matrix for each output, shape (batch, r, m)",
            f"for outputs of shape {tuple(z.shape)} it returned {tuple(weights.shape)}",
        )
    rows = derivative.combinations(weights.to(z))
    return rows, torch.zeros(rows.shape[:2], dtype=rows.dtype, device=rows.device)


@dataclass(frozen=True)
class Outputs:
    """The outputs as functions of themselves: their derivatives are rows of the identity."""

    z: torch.Tensor

    def outputs(self, i):
        return torch.nn.functional.one_hot(i, self.z.shape[1]).to(self.z)

    def differences(self, i, j):
        return self.outputs(i) - self.outputs(j)

    def combinations(self, weights):
        return weights


@dataclass(frozen=True)
class Tangent:
    """The derivative of the outputs along one direction, shape (batch, m)."""

    values: torch.Tensor

    def outputs(self, i):
        return self.values.gather(1, i)[..., None]

    def differences(self, i, j):
        return self.outputs(i) - self.outputs(j)

    def combinations(self, weights):
        return weights @ self.values[..., None]


@dataclass(frozen=True)
class Gradients:
    """The derivatives of the outputs z by x, as rows: `pull` takes `chunk_size` at once.

    It maps z, x and cotangents of shape (k, batch, m) to gradients of shape (k, *x.shape).
    """

    z: torch.Tensor
    x: torch.Tensor
    pull: Callable
    chunk_size: int | None

    def outputs(self, i):
        """Return the gradients of z_i, shape (batch, r, d)."""
        return self._rows(lambda rows: self._one_hot(i[:, rows]), i.shape[1])

    def differences(self, i, j):
        """Return the gradients of z_i - z_j, shape (batch, r, d).

        Each is one backward pass: the difference of two computed gradients would carry the
        rounding of what they have in common.
        """
        i, j = torch.broadcast_tensors(i, j)
        return self._rows(
            lambda rows: self._one_hot(i[:, rows]) - self._one_hot(j[:, rows]), i.shape[1]
        )

    def combinations(self, weights):
        """Return the gradients of sum_j weights_ij z_j, shape (batch, r, d)."""
        return self._rows(lambda rows: weights[:, rows].transpose(0, 1).clone(), weights.shape[1])

    @functools.cached_property
    def forward_pass(self):
        """Return what the graph tells of the forward pass."""
        return read_graph(self.z, self.x)

    @property
    def num_at_once(self):
        """Return how many gradients, or directions, are computed at once.

        On the way back a gradient is as large as the largest activation.
        """
        return self.chunk_size or max(1, 2**22 // max(1, self.forward_pass.largest))

    def _one_hot(self, i):
        return torch.nn.functional.one_hot(i.T, self.z.shape[1]).to(self.z.dtype)

    def _rows(self, cotangents, num_rows):
        batch, d = len(self.x), math.prod(self.x.shape[1:])
        size = self.num_at_once
        if num_rows <= size:
            pulled = self.pull(self.z, self.x, cotangents(slice(None))).to(self.z.dtype)
            return pulled.reshape(num_rows, batch, d).contiguous().transpose(0, 1)
        rows = self.z.new_empty(batch, num_rows, d)
        for start in range(0, num_rows, size):
            chunk = slice(start, min(start + size, num_rows))
            pulled = self.pull(self.z, self.x, cotangents(chunk))
            rows[:, chunk] = pulled.reshape(len(pulled), batch, d).transpose(0, 1)
        return rows


class NoForwardModeError(RuntimeError):
    """Neither forward-mode derivatives nor second ones."""


def push_forward(outputs, x, v):
    """Return z and J v by forward-mode differentiation."""
    _load_forward_mode()
    # Of the attention kernels only the plain one has a forward-mode rule.
    with forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH):
        z, tangent = forward_ad.unpack_dual(outputs(forward_ad.make_dual(x, v)))
    if tangent is None:
        raise _not_differentiable()
    return z.detach(), tangent.detach()


def push_by_two_backwards(outputs, x, v):
    """Return z and J v, the gradient of w -> <J'w, v>, which is linear in w."""
    z = outputs(x)
    w = torch.zeros_like(z, requires_grad=True)
    pulled = pull_back(z, x, w, create_graph=True)
    return z.detach(), torch.autograd.grad(pulled, w, v)[0]


def pull_back(z, x, seeds, **options):
    """Return J' seeds for seeds of shape (batch, m), or (k, batch, m) with is_grads_batched."""
    if not z.requires_grad:
        raise _not_differentiable()
    options |= {"retain_graph": True, "allow_unused": True}
    (gradient,) = torch.autograd.grad(z, x, seeds, **options)
    if gradient is None:
        raise _not_differentiable()
    return gradient


class NotDifferentiableError(BadValueError):
    """Autograd knows of no way from the outputs to what they are differentiated by."""


def _not_differentiable():
    return NotDifferentiableError(
        "model",
        "be differentiable by torch",
        "its outputs do not depend on x through autograd, or not on its weights",
        "Remove torch.no_grad(), .detach(), numpy and reentrant checkpoints from its forward.",
    )


@functools.cache
def _load_forward_mode():
    """Let torch load its forward-mode rules, without its warning about how it does that."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.filterwarnings("ignore", ".*torch.jit.script", DeprecationWarning)
        forward_ad.make_dual(torch.zeros(1), torch.zeros(1))
