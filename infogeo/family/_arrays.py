"""Arrays of features on the host, and the directions in which they vary."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_dask_array

from infogeo import _array
from infogeo._array import (
    Array,
    Namespace,
    bad_value,
)

# How often over its rounding errors a combination of features has to vary to count as varying.
_CAUTION = 8.0


def to_host(name: str, x: Array) -> np.ndarray:
    """Return the values as float64 of numpy, by which ranks are decided."""
    if not (_array.is_readable(x) or is_dask_array(x)):
        raise TypeError(
            f"{name} must have values that can be read: ranks are not found inside jax.jit, "
            "torch.func or torch.compile. Make the family outside."
        )
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        x = x.detach().cpu().numpy()
    return np.asarray(x).astype(np.float64, copy=False)


def points_on_host(points: Array) -> np.ndarray:
    """Return the normalised points, shape (k, c), in float64."""
    if len(points.shape) != 2 or points.shape[0] == 0:
        raise bad_value(
            "points",
            "have shape (k, c), one distribution in each of k rows",
            f"got shape {tuple(points.shape)}",
        )
    host = to_host("points", points)
    return host / host.sum(axis=-1, keepdims=True)


def as_like(x: Array, array: Array, xp: Namespace) -> Array:
    return xp.asarray(x, dtype=array.dtype, device=_array.device_of(array))


def roundoff_of(x: Array, xp: Namespace) -> float:
    return float(xp.finfo(x.dtype).eps)


def as_integer(counts: np.ndarray, like: Array) -> Any:
    """Return a Python int, or for a batch an int array of the library of `like`."""
    if counts.ndim == 0:
        return int(counts)
    xp = array_namespace(like)
    return xp.asarray(counts, device=_array.device_of(like))


def failed_members(flags: np.ndarray) -> tuple[int, ...] | None:
    """Return the numbers of the flagged members of a batch, None if it is no batch."""
    return tuple(int(i) for i in np.flatnonzero(flags)) if flags.ndim else None


def normalised(p: Array, xp: Namespace) -> Array:
    return p / xp.sum(p, axis=-1, keepdims=True)


def combined(theta: Array, F: Array, xp: Namespace) -> Array:
    """Return theta'F, shape (..., c)."""
    if len(F.shape) == 2:
        return xp.matmul(theta, F)
    return xp.matmul(theta[..., None, :], F)[..., 0, :]


def expectation_of(p: Array, F: Array, xp: Namespace) -> Array:
    """Return E_p[F], shape (..., m)."""
    if len(F.shape) == 2:
        return xp.matmul(p, xp.matrix_transpose(F))
    return xp.matmul(F, p[..., None])[..., 0]


def centred_features(z: Array, F: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return the probabilities of logits, and the features less their expectations."""
    p = _array.softmax(z, xp)
    # The rounding error of the expectation enters the covariance by its square only.
    return p, F - expectation_of(p, F, xp)[..., None]


@dataclass(frozen=True)
class Span:
    """The span of features modulo constants, for a batch: what is not there is zero.

    Parameters
    ----------
    rank : int array, shape (...)
        How many directions act on distributions.
    acts : bool array, shape (..., k)
        Which of the k = min(m, c) directions act: the first `rank`.
    directions : array, shape (..., m, k)
        Orthonormal combinations that act; those orthogonal to them give constants.
    rows : array, shape (..., k, c)
        Orthonormal basis of the features less their means.
    inverse : array, shape (..., m, k)
        theta = inverse @ rows @ g is the theta of minimum norm with theta'F = g + constant,
        for g in the span.
    """

    rank: np.ndarray
    acts: np.ndarray
    directions: np.ndarray
    rows: np.ndarray
    inverse: np.ndarray


def decompose(F: np.ndarray, allowed: np.ndarray, roundoff: float) -> Span:
    """Decompose features (..., m, c) over the allowed outcomes (..., c), in float64.

    Rows count in units of their own rounding errors: what is below them all is a constant.
    """
    num_features, num_outcomes = F.shape[-2:]
    weight = allowed[..., None, :] * 1.0
    centred = F * weight
    blur = roundoff * np.abs(centred).max(axis=-1, keepdims=True)
    blur = np.where(blur > 0.0, blur, 1.0)
    for _ in range(2):  # the first mean leaves a rounding error
        mean = centred.sum(axis=-1, keepdims=True) / weight.sum(axis=-1, keepdims=True)
        centred = (centred - mean) * weight
    # QR first: a third of the time for many outcomes.
    basis, factor = np.linalg.qr(np.swapaxes(centred / blur, -1, -2))
    left, size, rows = np.linalg.svd(np.swapaxes(factor, -1, -2), full_matrices=False)
    rows = rows @ np.swapaxes(basis, -1, -2)
    acts = size > _CAUTION * math.sqrt(num_features * num_outcomes)
    rank = acts.sum(axis=-1)
    left, rows = left * acts[..., None, :], rows * acts[..., :, None]
    directions, _ = np.linalg.qr(blur * left)
    directions = directions * acts[..., None, :]
    is_full = (rank == num_features)[..., None, None]
    if is_full.any():  # any basis will do, and this one does not mix the units of features
        directions = np.where(is_full, np.eye(num_features), directions)
    # Products first: a blur alone may be too small to divide by.
    inverse = left / (blur * np.where(acts, size, 1.0 / roundoff)[..., None, :])
    inverse = directions @ (np.swapaxes(directions, -1, -2) @ inverse)
    return Span(rank, acts, directions, rows, inverse)


def principal_rows(centred: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """Return orthonormal rows that span those of `centred`, beyond the rounding of its entries."""
    _, size, rows = np.linalg.svd(centred, full_matrices=False)
    return rows[size > _CAUTION * np.linalg.norm(rounding)]


def complement_of(rows: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the vectors orthogonal to the rows and to the constants."""
    basis = np.concatenate([np.ones((1, rows.shape[1])), rows])
    complete, _ = np.linalg.qr(basis.T, mode="complete")
    return complete[:, len(basis) :].T
