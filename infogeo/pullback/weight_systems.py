"""Linear systems with the metric on weights, its kernel, and the uncertainty of predictions.

The functions are methods of `WeightMetric`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from infogeo._docs import finish
from infogeo._result import Result
from infogeo._status import SolveError, Status
from infogeo._system.registry import storable
from infogeo.pullback._checks import check_count, check_number
from infogeo.pullback._network import Inputs
from infogeo.pullback._weight_network import Vector, WeightNetwork
from infogeo.pullback.metric import Spectrum

if TYPE_CHECKING:
    from infogeo.pullback.weights import WeightMetric

__all__ = ["gram", "prediction_covariance", "prediction_std", "solve"]


@storable("WeightSolution")
@dataclass(frozen=True, eq=False, repr=False)
class WeightSolution(Result):
    """The solution of a linear system with a damped metric on weights.

    Parameters
    ----------
    vector : array, shape (P,), or dict of str to array
        As the right side was given.
    residual : float
        Length of what is left of the right side, relative to it.
    steps : int
        Products with the metric that it took.
    status : Status
        CONVERGED, or MAX_STEPS.
    spectrum : Spectrum or None
        What it was preconditioned with, to be used again nearby. None: the rows of the factor were
        so few that the system was solved by them.
    """

    vector: Any
    residual: float
    steps: int
    status: Status
    spectrum: Spectrum | None


def gram(
    self: "WeightMetric", x1: Tensor, x2: Tensor | None = None, *, inputs: Inputs = None
) -> Tensor:
    r"""Return the tangent kernel of the predictions, A_1 J_1 J_2' A_2'.

    Parameters
    ----------
    x1, x2 : torch.Tensor, shape (n, ...)
        Inputs; x2 None for x1 itself.
    inputs : torch.Tensor, tuple or mapping of torch.Tensor, or None

    Returns
    -------
    torch.Tensor, shape (n1, r, n2, r)
        In orthonormal coordinates of each prediction. A step of the weights along the gradient
        of a function of prediction 2 moves prediction 1 by it.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import WeightMetric, heads
    >>> model = torch.nn.Linear(2, 1)
    >>> metric = WeightMetric(model, torch.eye(2), heads.normal_fixed_std(1.0))
    >>> metric.gram(torch.tensor([[3.0, 4.0]]))
    tensor([[[[26.]]]])
    """
    first = self._parts.scaled_rows(x1, inputs)
    second = first if x2 is None else self._parts.scaled_rows(x2, inputs)
    return torch.einsum("irp,jsp->irjs", first, second)


def solve(
    self: "WeightMetric",
    g: Vector,
    damping: float,
    *,
    spectrum: Spectrum | None = None,
    tol: float = 1e-6,
    max_steps: int = 200,
    throw: bool = True,
) -> WeightSolution:
    r"""Solve (G + damping) v = g by preconditioned conjugate gradients: a natural gradient.

    Parameters
    ----------
    g : torch.Tensor, shape (P,), or mapping of str to torch.Tensor
        For instance the gradient of a loss.
    damping : float
        Positive.
    spectrum : Spectrum or None
        Of this metric or of one nearby: its eigenvectors are the preconditioner, which
        saturated networks need. None: all of them where the metric is small, else the products of
        all rows of the factor where these are few, else the largest 16.
    tol : float
        Of the residual, relative to g.
    max_steps : int
        The most products with the metric.
    throw : bool

    Returns
    -------
    WeightSolution
        With the residual, the number of products and how it ended.

    Raises
    ------
    TypeError, ValueError
    SolveError
        The steps did not suffice; `result` has what was found.

    Notes
    -----
    A large network at few samples, G = A'A with few rows of A, needs no eigenvectors:

    .. math:: (G + \lambda)^{-1} = \big( 1 - A^\top (A A^\top + \lambda)^{-1} A \big) / \lambda

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import WeightMetric, heads
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> metric = WeightMetric(model, torch.eye(2), heads.normal_fixed_std(1.0))
    >>> metric.solve(torch.tensor([1.0, 2.0]), 0.5).vector  # G = 1/2
    tensor([1., 2.])
    """
    check_number("damping", damping)
    check_number("tol", tol)
    check_count("max_steps", max_steps)
    parts = self._parts
    right, is_named = parts.layout.vector("g", g, self.check)
    if spectrum is None and not parts.is_small and parts.has_few_pairs:
        inverse = _inverse_by_rows(parts, damping)
    else:
        if spectrum is None:
            count = None if parts.is_small else min(16, parts.num_rows, len(right))
            spectrum = self.spectrum(num_values=count)
        inverse = _inverse_by_eigenvectors(parts, damping, spectrum)
    found, residual, steps = _conjugate(parts, right, damping, inverse, tol, max_steps)
    status = Status.CONVERGED if residual <= tol else Status.MAX_STEPS
    solution = WeightSolution(parts.as_given(found, is_named), residual, steps, status, spectrum)
    if throw and status is not Status.CONVERGED:
        raise SolveError(
            f"The residual is {residual:.1e} of the right side after {steps} products. Raise "
            "max_steps, damping or tol, or pass a spectrum with more values.",
            solution,
        )
    return solution


def _inverse_by_eigenvectors(
    parts: WeightNetwork, damping: float, spectrum: Spectrum
) -> Callable[[Tensor], Tensor]:
    """Return the inverse of G + damping as far as these eigenvectors know it."""
    vectors = torch.as_tensor(spectrum.vectors).to(parts.layout.device).double()
    values = torch.as_tensor(spectrum.values).to(parts.layout.device).double()

    def inverse(y: Tensor) -> Tensor:
        along = vectors @ y
        return (y - along @ vectors) / damping + (along / (values + damping)) @ vectors

    return inverse


def _inverse_by_rows(parts: WeightNetwork, damping: float) -> Callable[[Tensor], Tensor]:
    """Return the inverse of G + damping, exact to the rounding of products with the factor."""
    products = parts.products
    scale = products.log_scale.exp()
    pairs = parts.pairs_of_rows()
    triangle = torch.linalg.cholesky(pairs + damping * torch.eye(len(pairs)).to(pairs))

    def inverse(y: Tensor) -> Tensor:
        along = scale * products(y[None, None].to(products.dtype))[0].double()
        weights = scale * torch.cholesky_solve(along.mT, triangle).mT
        return (y - products.transposed(weights[None])[0, 0].double()) / damping

    return inverse


def _conjugate(
    parts: WeightNetwork,
    right: Tensor,
    damping: float,
    inverse: Callable[[Tensor], Tensor],
    tol: float,
    max_steps: int,
) -> tuple[Tensor, float, int]:
    """Return v, the residual and the number of products, preconditioned with a near inverse."""
    size = float(right.double().norm())
    if size == 0.0:
        return torch.zeros_like(right), 0.0, 0
    found, rest = torch.zeros_like(right, dtype=torch.float64), right.double() / size
    better = direction = inverse(rest)
    steps, residual = 0, 1.0
    while residual > tol and steps < max_steps:
        image = parts.product(direction.to(right.dtype)).double() + damping * direction
        factor = (rest @ better) / (direction @ image)
        found, rest_next = found + factor * direction, rest - factor * image
        steps, residual = steps + 1, float(rest_next.norm())
        improved = inverse(rest_next)
        # Polak and Ribiere: products in the precision of the model are not quite linear.
        beta = (rest_next - rest) @ improved / (rest @ better)
        rest, better, direction = rest_next, improved, improved + beta * direction
    return (size * found).to(right.dtype), residual, steps


def prediction_covariance(
    self: "WeightMetric",
    x: Tensor,
    prior_precision: float,
    *,
    inputs: Inputs = None,
    losses: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    r"""Return how uncertain predictions are by the uncertainty of the weights.

    .. math:: A J \, (N G + q)^{-1} J^\top A^\top

    or, with losses, the sandwich of two of these inverses and of S, the sum of the outer products
    of the gradients of the losses by the weights, each less their mean:

    .. math:: A J \, (N G + q)^{-1} S \, (N G + q)^{-1} J^\top A^\top

    Parameters
    ----------
    x : torch.Tensor, shape (n, ...)
        New inputs.
    prior_precision : float
        q, of a normal prior of the weights around their values.
    inputs : torch.Tensor, tuple or mapping of torch.Tensor, or None
    losses : callable or None
        Negative log-likelihoods of all samples of the metric, shape (N,), from the outputs there,
        shape (N, m), divided by the temperature. For instance ``lambda z:
        torch.nn.functional.cross_entropy(z, labels, reduction="none")``.

    Returns
    -------
    torch.Tensor, shape (n, r, r)
        In orthonormal coordinates of each prediction, those of its factor.

    Raises
    ------
    TypeError, ValueError
        Inputs or a precision that cannot be used; a metric that is too large.

    Notes
    -----
    The delta method, or Laplace's approximation for the linearised network. It holds if the
    network is at an optimum and the model is right. With losses the weights have the sandwich
    covariance, which is that of networks that are trained on other samples of as many, to first
    order, also where the model is wrong. Both need an optimum, of the losses and q / 2 times the
    squared weights.

    References
    ----------
    D. MacKay, A practical Bayesian framework for backpropagation networks, Neural Comput. 4, 1992.
    H. White, Maximum likelihood estimation of misspecified models, Econometrica 50, 1982.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import WeightMetric, heads
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> metric = WeightMetric(model, torch.ones(99, 1), heads.normal_fixed_std(1.0))
    >>> metric.prediction_covariance(torch.tensor([[3.0]]), 1.0)  # 9 / (99 + 1)
    tensor([[[0.0900]]])
    """
    check_number("prior_precision", prior_precision)
    spectrum = self.spectrum()
    rows = self._parts.scaled_rows(x, inputs)
    along = rows @ spectrum.vectors.mT
    rest = rows - along @ spectrum.vectors
    if len(spectrum.values) == rows.shape[-1]:  # a basis of all weights: the rest is rounding
        rest = torch.zeros_like(rest)
    weights = 1.0 / (self._parts.num_samples * spectrum.values + prior_precision)
    if losses is None:
        return (along * weights) @ along.mT + rest @ rest.mT / prior_precision
    moved = (along * weights) @ spectrum.vectors + rest / prior_precision
    found = torch.cat([moved @ scores.mT for scores in self._parts.scores(losses)], dim=-1)
    shards = self._parts.shards
    centred = found - shards.mean(found.sum(-1), found.shape[-1])[..., None]
    return shards.sum(centred @ centred.mT)


def prediction_std(
    self: "WeightMetric",
    x: Tensor,
    prior_precision: float,
    *,
    inputs: Inputs = None,
    losses: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    r"""Return how far predictions may be off by the uncertainty of the weights.

    Parameters
    ----------
    x : torch.Tensor, shape (n, ...)
        New inputs.
    prior_precision : float
        As for `prediction_covariance`.
    inputs : torch.Tensor, tuple or mapping of torch.Tensor, or None
    losses : callable or None
        As for `prediction_covariance`: with them the sandwich.

    Returns
    -------
    torch.Tensor, shape (n,)
        Root mean square of the Fisher-Rao distance, to first order: the root of the trace of
        `prediction_covariance`.

    Raises
    ------
    TypeError, ValueError
        Inputs or a precision that cannot be used; a metric that is too large.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import WeightMetric, heads
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> metric = WeightMetric(model, torch.ones(99, 1), heads.normal_fixed_std(1.0))
    >>> metric.prediction_std(torch.tensor([[3.0]]), 1.0)
    tensor([0.3000])
    """
    covariance = self.prediction_covariance(x, prior_precision, inputs=inputs, losses=losses)
    return covariance.diagonal(dim1=-2, dim2=-1).sum(-1).clamp(min=0.0).sqrt()


finish(globals())
