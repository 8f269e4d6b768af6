r"""What the raw outputs of a network stand for: the statistical manifold at its end.

A head knows a factor A(z) of the Fisher information of the distribution that the outputs z
parametrise, A'A = F(z), and, where it is known, the Fisher-Rao distance of two outputs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from infogeo import logits
from infogeo._array import bad_value

__all__ = ["Head", "categorical"]


@dataclass(frozen=True)
class Head:
    r"""The family of distributions that the raw outputs of a network parametrise.

    Parameters
    ----------
    factor : callable
        ``factor(z) -> A``: for outputs of shape (batch, m) a factor of their Fisher information,
        shape (batch, r, m), A'A = F(z). The fewer rows the cheaper: each costs one backward pass.
    distance : callable or None
        ``distance(z, w)``: the Fisher-Rao distance of two outputs, shape (batch,).
        Without it the metric has norms and spectra but no distances.
    scaled_factor : callable or None
        ``scaled_factor(z, differences) -> (rows, log_scales)``: the factor of the network
        itself, A(z) J = exp(log_scales) rows, for families whose scales underflow. With index
        arrays i and j of shape (batch, r) or (batch, 1), ``differences(i, j)`` is the derivative
        of z_i - z_j, shape (batch, r, d); it is a new tensor, which may be overwritten.
    geodesic : callable or None
        ``geodesic(z, w, t)``: outputs on the shortest path of distributions between two outputs,
        for t of shape (k,) of shape (k, batch, m).

    Notes
    -----
    A model whose outputs are means of normal distributions with standard deviation 0.1 has
    F = I / 0.01, as in the example below.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import Head, PullbackMetric
    >>> head = Head(lambda z: torch.eye(z.shape[-1], dtype=z.dtype).expand(len(z), -1, -1) / 0.1)
    >>> metric = PullbackMetric(lambda x: 3.0 * x, head)
    >>> metric.matrix(torch.zeros(1, 2, dtype=torch.float64))
    tensor([[[900.,   0.],
             [  0., 900.]]], dtype=torch.float64)
    """

    factor: Callable
    distance: Callable | None = None
    scaled_factor: Callable | None = None
    geodesic: Callable | None = None


def _categorical_scaled_factor(z, differences):
    r"""Return (R, log s) with s_i R_i = sqrt(p_i) (D_i - sum_j p_j D_j / (1 + sqrt p_k)).

    Here k is the most probable class, D_i the derivative of z_i - z_k, and i runs over the other
    classes in descending order. The rows are exact: with m = sum_j p_j D_j, summed over j != k,

        sum_i p_i (D_i - a m)(D_i - a m)' = sum_i p_i D_i D_i' - m m'   for a = 1 / (1 + sqrt p_k),

    because (1 - p_k) a^2 - 2 a = -1. Nothing cancels: diag p - p p' is never formed, a constant
    added to all outputs drops out of D, and 1 - p_k out of a.
    """
    _check_num_classes(z)
    z, order = torch.sort(z, dim=-1, descending=True, stable=True)
    log_p = torch.log_softmax(z, dim=-1)
    p = log_p.exp()
    rows = differences(order[:, 1:], order[:, :1])
    weights = p[:, 1:] / (1.0 + p[:, :1].sqrt())
    mean = weights[:, None, :] @ rows
    rows = rows - mean if mean.requires_grad else rows.sub_(mean)  # a graph needs the old rows
    return rows, 0.5 * log_p[:, 1:]


def _categorical_factor(z):
    """Return A(z), shape (batch, c - 1, c), with A'A = diag p - p p'."""

    def differences(i, j):
        basis = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
        return basis[i] - basis[j]

    rows, log_scales = _categorical_scaled_factor(z, differences)
    return log_scales.exp()[..., None] * rows


def _categorical_distance(z, w):
    _check_num_classes(z)
    return logits.fisher_rao_distance(z, w, check=False)  # the metric has looked at the values


def _check_num_classes(z):
    if z.shape[-1] < 2:
        raise bad_value(
            "model",
            "return at least two logits for each input",
            f"its output has shape {tuple(z.shape)}",
            "A single logit z of a binary classifier is the pair (0, z): "
            "lambda x: torch.nn.functional.pad(model(x), (1, 0)).",
        )


def _categorical_geodesic(z, w, t):
    return logits.fisher_rao_geodesic(z, w, t, check=False)


categorical = Head(
    _categorical_factor,
    _categorical_distance,
    _categorical_scaled_factor,
    geodesic=_categorical_geodesic,
)
"""Logits of a categorical distribution: p = softmax(z)."""
