r"""How a network f: (M, h) -> (N, g) compares the metrics at its two ends.

M is the space of the inputs with the `InputMetric` h of a `PullbackMetric`, N that of the
predictions with the Fisher metric g of its head, of dimension r: c - 1 for c classes. Let s_i be
the square roots of the eigenvalues of f*g relative to h, the singular values of f at x. Then f is

- *locally 1-Lipschitz* at x if no s_i is above 1: no direction of the input moves the prediction
  faster than the input;
- a *partial isometry* if each s_i is 0 or 1: an isometry on the directions orthogonal to the
  kernel, and on the leaf through x if these directions are those of a leaf;
- *gradient-norm preserving* if there are r values and all are 1: gradients keep their norms on
  their way back to the input. Such an f is a Riemannian submersion.

They are statements about one point. A network that is locally 1-Lipschitz at all points of a
geodesically convex set is 1-Lipschitz there: the Fisher-Rao distance of two predictions is at
most the distance of their inputs.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from infogeo._docs import finish
from infogeo.pullback._checks import check_number
from infogeo.pullback._spectrum import (
    log_eigenvalues,
    rank_of,
    relative_factor,
    rounding_of,
    triangle_alone,
)

if TYPE_CHECKING:
    from infogeo.pullback.metric import PullbackMetric


__all__ = [
    "is_gradient_norm_preserving",
    "is_locally_lipschitz",
    "isometry_defect",
    "lipschitz_constant_at",
]


def lipschitz_constant_at(metric: "PullbackMetric", x: Tensor) -> Tensor:
    r"""Return the local Lipschitz constant, the largest singular value of the network at x.

    .. math:: \max_v \frac{|v|_{f^*g}}{|v|_h} = \sqrt{\lambda_1}

    Parameters
    ----------
    metric : PullbackMetric
    x : torch.Tensor, shape (batch, ...)

    Returns
    -------
    torch.Tensor, shape (batch,)
        How far the prediction moves at most, in Fisher-Rao distance, for each unit of length that
        x moves in its own metric.

    Raises
    ------
    TypeError, ValueError
        Inputs, outputs or gradients that cannot be used.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import PullbackMetric, comparison
    >>> metric = PullbackMetric(lambda x: x)
    >>> comparison.lipschitz_constant_at(metric, torch.tensor([[0.0, 0.0], [9.0, 0.0]]))
    tensor([0.7071, 0.0157])
    """
    return _singular_values(metric, x)[0][:, 0]


def is_locally_lipschitz(
    metric: "PullbackMetric", x: Tensor, *, constant: float = 1.0, rtol: float | None = None
) -> Tensor:
    r"""Return whether the local Lipschitz constant of the network is at most `constant`.

    Parameters
    ----------
    metric : PullbackMetric
    x : torch.Tensor, shape (batch, ...)
    constant : float
        The bound.
    rtol : float or None
        By how much, relative to the constant, it may be exceeded; None for the rounding of
        gradients, 32 sqrt(r) eps of their dtype.

    Returns
    -------
    bool tensor, shape (batch,)
        `lipschitz_constant_at` <= constant (1 + rtol).

    Raises
    ------
    TypeError, ValueError
        Inputs, outputs, gradients or parameters that cannot be used.

    Examples
    --------
    The softmax at temperature 1 / sqrt 2 has the Lipschitz constant 1.

    >>> import torch
    >>> from infogeo.pullback import PullbackMetric, comparison
    >>> x = torch.tensor([[0.0, 0.0, -20.0]])
    >>> for temperature in (0.7, 0.5**0.5):
    ...     metric = PullbackMetric(lambda x: x, temperature=temperature)
    ...     print(comparison.is_locally_lipschitz(metric, x))
    tensor([False])
    tensor([True])
    """
    check_number("constant", constant)
    values, _, dimension, eps = _singular_values(metric, x)
    return values[:, 0] <= constant * (1.0 + _tolerance(rtol, values, dimension, eps))


def isometry_defect(metric: "PullbackMetric", x: Tensor) -> Tensor:
    r"""Return how far the network is from a partial isometry: its nonzero stretches from 1.

    .. math:: \max_{s_i > 0} |s_i - 1|

    Parameters
    ----------
    metric : PullbackMetric
    x : torch.Tensor, shape (batch, ...)

    Returns
    -------
    torch.Tensor, shape (batch,)
        0 if the network changes no length in the directions that it sees at all; also where
        there are none. The values above 0 are as many as `PullbackMetric.rank` says.

    Raises
    ------
    TypeError, ValueError
        Inputs, outputs or gradients that cannot be used.

    Notes
    -----
    With Euclidean inputs and r = 2 or more visible directions that are those of a leaf, no network
    has the defect 0 on an open set: the leaf is flat and predictions have the curvature 1/4. The
    exponential map of the sphere shows by how much it must fail: its singular values at the
    distance R from the base point are 1 and sin(R / 2) / (R / 2), a defect of R^2 / 24 nearby.
    Visible directions of no leaf need the right curl (O'Neill): 3/4 of the squared length of the
    vertical part of [X, Y] would have to be 1/4 for all orthonormal X, Y.

    References
    ----------
    B. O'Neill, The fundamental equations of a submersion, Michigan Math. J. 13, 1966.

    Examples
    --------
    A network with p = sin^2(x / 2) moves its prediction as far as its input.

    >>> import torch
    >>> from infogeo.pullback import PullbackMetric, comparison, heads
    >>> metric = PullbackMetric(lambda x: 2.0 * (x / 2.0).tan().log(), heads.bernoulli)
    >>> x = torch.tensor([[0.1], [1.0], [3.0]], dtype=torch.float64)
    >>> bool(comparison.isometry_defect(metric, x).max() < 1e-15)
    True
    """
    values, rank, _, _ = _singular_values(metric, x)
    is_seen = torch.arange(values.shape[1], device=values.device) < rank[:, None]
    return torch.where(is_seen, (values - 1.0).abs(), 0.0).amax(-1)


def is_gradient_norm_preserving(
    metric: "PullbackMetric", x: Tensor, *, rtol: float | None = None
) -> Tensor:
    r"""Return whether all r singular values of the network are 1.

    Parameters
    ----------
    metric : PullbackMetric
    x : torch.Tensor, shape (batch, ...)
    rtol : float or None
        By how much the values may differ from 1; None for the rounding of gradients,
        32 sqrt(r) eps of their dtype.

    Returns
    -------
    bool tensor, shape (batch,)
        False wherever the inputs have fewer dimensions than the predictions. A class that is
        masked is not one of the c.

    Raises
    ------
    TypeError, ValueError
        Inputs, outputs, gradients or a tolerance that cannot be used.

    Notes
    -----
    The dimension r is the number of rows of the head's factor: a head of one's own must not have
    rows that depend on each other.

    References
    ----------
    C. Anil, J. Lucas and R. Grosse, Sorting out Lipschitz function approximation, ICML 2019.

    Examples
    --------
    An orthonormal map to the means of a regression, and its transpose, which has a larger image:

    >>> import torch
    >>> from infogeo.pullback import PullbackMetric, comparison, heads
    >>> Q = torch.linalg.qr(torch.eye(3, 2) + 0.1)[0]
    >>> down = PullbackMetric(lambda x: x @ Q, heads.normal_fixed_std(1.0))
    >>> comparison.is_gradient_norm_preserving(down, torch.zeros(1, 3))
    tensor([True])
    >>> up = PullbackMetric(lambda x: x @ Q.T, heads.normal_fixed_std(1.0))
    >>> x = torch.zeros(1, 2)
    >>> comparison.is_gradient_norm_preserving(up, x), comparison.is_locally_lipschitz(up, x)
    (tensor([False]), tensor([True]))
    """
    values, _, dimension, eps = _singular_values(metric, x)
    index = torch.arange(values.shape[1], device=values.device)
    is_one = (values - 1.0).abs() <= _tolerance(rtol, values, dimension, eps)[:, None]
    fits = dimension <= values.shape[1]
    return (is_one | (index >= dimension[:, None])).all(-1) & fits


def _singular_values(metric, x):
    """Return the singular values, how many are not 0, the dimension of the predictions, and eps."""
    factor = relative_factor(metric, x)
    triangle = triangle_alone(factor)
    values = triangle.tensor(0.5 * log_eigenvalues(triangle)).exp()
    rank = torch.asarray(rank_of(triangle), device=triangle.device)
    dimension = (factor.log_scales > -math.inf).sum(-1)
    return values, rank, dimension, factor.eps


def _tolerance(rtol, values, dimension, eps):
    """Return the tolerance for each input."""
    if rtol is None:
        num_rows = dimension.to(values.dtype).clamp(min=1.0)
        return torch.as_tensor(rounding_of(num_rows, eps)).expand_as(num_rows)
    check_number("rtol", rtol)
    return torch.full_like(values[:, 0], rtol)


finish(
    globals(),
    {
        "metric : PullbackMetric": "The network with its head and its input metric.",
    },
)
