"""Gradients of the solution by the implicit function theorem, for torch.

With u = p (v - p.v) for a cotangent v of p, mu = E_p[F] and w = H^+ (F - mu) u, the gradients are
w for b, u - p (F - mu)'w for C, and theta (x) that - w (x) p for F. On a face they are the
derivatives within the face: the outcomes off it stay where they are. A penalty rho adds 1 / rho
to the diagonal of H.
"""

import functools
import sys
from dataclasses import replace

import numpy as np


def wants_gradient(arrays):
    """Whether one of the arrays is a tensor that a gradient is asked for."""
    torch = sys.modules.get("torch")
    return torch is not None and any(
        isinstance(x, torch.Tensor) and x.requires_grad and torch.is_grad_enabled() for x in arrays
    )


def refuse_gradients(**arguments):
    """Refuse tensors whose gradient a solve without gradients would lose without a word."""
    for name, x in arguments.items():
        if wants_gradient([x]):
            raise ValueError(
                f"{name} must not require a gradient: it is a tensor with requires_grad=True, and "
                f"gradients through this solve are not offered. Pass {name}.detach()."
            )


def met_bounds(result, lower, upper):
    """Return the bounds that the expectations meet as targets, 0 for features that meet none."""
    import torch

    lower, upper = (x.broadcast_to(result.theta.shape) for x in (lower, upper))
    side = result.theta
    if result.direction is not None:  # theta - s direction for large s
        side = torch.where(result.direction.nan_to_num() != 0.0, -result.direction, side)
    other = torch.where(side < 0.0, upper, torch.where(lower == upper, lower, 0.0))
    return torch.where(side > 0.0, lower, other)


def attach(result, solutions, F, b, C, penalty):
    """Return the result with gradients: of p, log p, theta, log_partition, value and entropy."""
    import torch

    batch, (num_features, num_outcomes) = result.theta.shape[:-1], F.shape[-2:]
    F = F.broadcast_to((*batch, num_features, num_outcomes))
    b = b.broadcast_to((*batch, num_features))
    C = C.broadcast_to((*batch, num_outcomes))
    transforms, is_free = _transforms(solutions, num_features)
    solved = [status.is_solution for status in solutions.status]
    constants = (
        torch.tensor(transforms.reshape(*batch, num_features, num_features), device=F.device),
        torch.tensor(is_free.reshape(*batch, num_features), device=F.device),
        torch.tensor(solved, device=F.device).reshape(batch),
        torch.tensor(np.zeros(num_features) if penalty is None else 1.0 / penalty).to(F.device),
    )
    p, theta, log_partition, value = _solution().apply(F, b, C, result, constants)
    log_p = C + (theta[..., None, :] @ F)[..., 0, :] - log_partition[..., None]
    log_p = torch.where(result.support, log_p, 0.0)
    expected_base = (p * torch.where(result.support, C, 0.0)).sum(-1)
    change = value - expected_base
    return replace(
        result,
        probabilities=p,
        theta=theta,
        log_partition=log_partition,
        value=value,
        # As they were computed: the differences lose digits, their gradients do not.
        entropy=result.entropy + (change - change.detach()),
        log_probabilities=result.log_probabilities + (log_p - log_p.detach()),
    )


def _transforms(solutions, num_features):
    """Return matrices T, (n, m, m), with H^+ = T (T'HT)^-1 T', and which columns are empty."""
    count = len(solutions.transforms)
    matrices = np.zeros((count, num_features, num_features))
    is_used = np.zeros((count, num_features), dtype=bool)
    for k, transform in enumerate(solutions.transforms):
        if transform.ndim == 1:  # the scales of independent features
            transform = np.diag(1.0 / transform)
        rank = transform.shape[1]
        matrices[k, :, :rank] = transform
        is_used[k, :rank] = True
    return matrices, ~is_used


@functools.cache
def _solution():
    """Return the autograd function; torch is imported only where a gradient is asked for."""
    import torch

    class Solution(torch.autograd.Function):
        @staticmethod
        def forward(ctx, F, b, C, result, constants):
            ctx.constants, ctx.support = constants, result.support
            p, theta = result.probabilities, result.theta
            ctx.save_for_backward(F, p, theta)
            return p, theta, result.log_partition, result.value

        @staticmethod
        def backward(ctx, of_p, of_theta, of_log_partition, of_value):
            transforms, is_free, is_solved, ridge = ctx.constants
            dtype = ctx.saved_tensors[0].dtype
            F, p, theta = (x.to(torch.float64) for x in ctx.saved_tensors)
            of_p = torch.where(ctx.support, of_p, 0.0).to(torch.float64)
            of_theta = of_theta.to(torch.float64)
            of_log_partition = of_log_partition.to(torch.float64)[..., None]
            of_value = of_value.to(torch.float64)[..., None]
            mean = torch.einsum("...mc,...c->...m", F, p)
            centred = F - mean[..., None]
            u = p * (of_p - (p * of_p).sum(-1, keepdim=True))
            reduced = transforms.mT @ centred
            covariance = (reduced * p[..., None, :]) @ reduced.mT
            covariance = covariance + (transforms.mT * ridge[..., None, :]) @ transforms
            # Unused columns, and members without a solution, get the identity.
            covariance = covariance + torch.diag_embed(is_free.to(torch.float64))
            identity = torch.eye(F.shape[-2], dtype=torch.float64, device=F.device)
            covariance = torch.where(is_solved[..., None, None], covariance, identity)
            a = torch.einsum("...mc,...c->...m", centred, u) + of_theta + of_log_partition * mean
            a = a + of_value * ridge * theta
            w = transforms @ torch.linalg.solve(covariance, transforms.mT @ a[..., None])
            w = w[..., 0]
            of_base = u + (of_log_partition + of_value) * p
            of_base = of_base - p * torch.einsum("...m,...mc->...c", w, centred)
            of_features = theta[..., None] * of_base[..., None, :] - w[..., None] * p[..., None, :]
            of_targets = w - of_value * theta
            gradients = (of_features, of_targets, of_base)
            return *(_known(x, is_solved).to(dtype) for x in gradients), None, None

    def _known(x, is_solved):
        """Put NaN where there is no solution to have a derivative."""
        is_solved = is_solved.reshape(is_solved.shape + (1,) * (x.ndim - is_solved.ndim))
        return torch.where(is_solved, x, torch.nan)

    return Solution
