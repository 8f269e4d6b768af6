"""Distances that are solved for on the host, with the gradients that theory gives them.

The gradient of the squared distance by an end is -2 times the metric applied to the velocity
there, towards the other end: the curve between them is a minimum, so that its change does not
count.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from array_api_compat import array_namespace

from infogeo import _array
from infogeo._array import Array, Namespace

# d(a, b)^2 of arrays of numpy in float64, and, if they are asked for, its derivatives by a and b.
Solve = Callable[[np.ndarray, np.ndarray, bool], tuple[np.ndarray, ...]]


def to_host(x: Array) -> np.ndarray:
    """Return the values of an array in float64 of numpy."""
    if not _array.is_readable(x):
        raise TypeError(
            "points must have values that can be read here: not inside torch.compile or jax.jit, "
            "nor on dask arrays. Call it outside, or on .compute()."
        )
    return np.asarray(_array.on_host(x)).astype(np.float64, copy=False)


def as_like(x: np.ndarray, like: Array, xp: Namespace) -> Array:
    """Return an array of numpy in the library, dtype and device of another."""
    if isinstance(like, np.ndarray):
        return _array.as_number(x.astype(like.dtype, copy=False))
    return xp.asarray(x, dtype=like.dtype, device=_array.device_of(like))


def needs_gradient(*arrays: Array) -> bool:
    """Whether torch asks for derivatives, or traces."""
    torch = sys.modules.get("torch")
    if torch is None or not all(isinstance(x, torch.Tensor) for x in arrays):
        return False
    return not _array.is_readable(arrays[0]) or (
        torch.is_grad_enabled() and any(x.requires_grad for x in arrays)
    )


def require_no_gradient(*arrays: Array) -> None:
    """Raise for tensors whose gradient is asked for, where there is none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.is_grad_enabled():
        return
    if any(isinstance(x, torch.Tensor) and x.requires_grad for x in arrays):
        raise ValueError(
            "a and b must not require a gradient here: velocities of geodesics have none. "
            "Detach them, or use fisher_rao_squared_distance, which has one."
        )


def squared_distance(a: Array, b: Array, solve: Solve, xp: Namespace) -> Array:
    """Return d(a, b)^2 of packed points (..., k), with its gradient if one is asked for."""
    batch = np.broadcast_shapes(tuple(a.shape), tuple(b.shape))
    a, b = (xp.broadcast_to(x, batch) for x in (a, b))
    if needs_gradient(a, b):
        return _function().apply(a, b, solve)[0]
    return as_like(solve(to_host(a), to_host(b), False)[0], a, xp)


@functools.cache
def _function() -> Any:
    """Return the squared distance as a function of torch."""
    import torch

    class NoSecondDerivative(torch.autograd.Function):
        """Identity on gradients; differentiating them raises instead of giving zeros."""

        generate_vmap_rule = True

        @staticmethod
        def forward(gradient: Any, *points: Any) -> Any:
            return gradient.clone()

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> NoReturn:
            raise NotImplementedError(
                "This Fisher-Rao distance is solved for, and has first derivatives only. At equal "
                "points the second ones of the squared distance are 2 * fisher_information(a). "
                "Elsewhere take differences of its gradient, or detach the gradient."
            )

    class SquaredDistance(torch.autograd.Function):
        @staticmethod
        def forward(a: Any, b: Any, solve: Solve) -> tuple[Any, ...]:
            xp = array_namespace(a)
            return tuple(as_like(x, a, xp) for x in solve(to_host(a), to_host(b), True))

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.mark_non_differentiable(*output[1:])
            ctx.save_for_backward(*inputs[:2], *output[1:])

        @staticmethod
        def backward(ctx: Any, gradient: Any, *_: Any) -> tuple[Any, ...]:
            a, b, *by_ends = ctx.saved_tensors
            apply: Any = NoSecondDerivative.apply
            return *(apply(gradient[..., None] * x, a, b) for x in by_ends), None

        @staticmethod
        def vmap(info: Any, in_dims: Any, a: Any, b: Any, solve: Solve) -> tuple[Any, ...]:
            moved = (
                x.unsqueeze(0).expand(info.batch_size, *x.shape)
                if dim is None
                else x.movedim(dim, 0)
                for x, dim in zip((a, b), in_dims, strict=False)
            )
            apply: Any = SquaredDistance.apply
            return apply(*moved, solve), (0,) * 3

    return SquaredDistance
