"""How well a prior of the weights fits: the evidence, or marginal likelihood of the labels.

The function is a method of `WeightMetric`.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from infogeo._docs import finish
from infogeo.pullback._checks import check_number

if TYPE_CHECKING:
    from infogeo.pullback.weights import WeightMetric

__all__ = ["log_marginal_likelihood"]


def log_marginal_likelihood(
    self: "WeightMetric", prior_precision: float, losses: Callable[[Tensor], Tensor]
) -> Tensor:
    r"""Return the logarithm of the evidence, by Laplace's approximation at the weights.

    .. math:: - \sum_x \mathrm{loss}(x) - \frac q 2 |w|^2
              - \frac 1 2 \log \det \Big( 1 + \frac{N G}{q} \Big)

    Parameters
    ----------
    prior_precision : float
        q, of a normal prior of the weights around 0.
    losses : callable
        Negative log-likelihoods of all samples of the metric, as for `prediction_covariance`.

    Returns
    -------
    torch.Tensor, shape ()
        In nats, of the dtype of the weights.

    Raises
    ------
    TypeError, ValueError
        Losses or a precision that cannot be used; a metric that is too large.

    Notes
    -----
    It compares precisions, and networks of other sizes, on the same samples. It holds at an
    optimum of the sum of the losses and q / 2 times the squared weights, and for the linearised
    network. Train a network with each precision that is compared: with the weights G changes, too,
    and the best precision for weights that stay as they are may be several times another one. For
    models that are linear in their weights, with `heads.normal_fixed_std`, it is exact.

    Only the weights of the metric have a prior; others are taken as known.

    References
    ----------
    D. MacKay, A practical Bayesian framework for backpropagation networks, Neural Comput. 4, 1992.

    Examples
    --------
    One observation 0 of a normal variable of variance 1 around a weight that is 0:

    >>> import torch
    >>> from infogeo.pullback import WeightMetric, heads
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> _ = torch.nn.init.zeros_(model.weight)
    >>> metric = WeightMetric(model, torch.ones(1, 1), heads.normal_fixed_std(1.0))
    >>> metric.log_marginal_likelihood(1.0, lambda z: 0.5 * z[:, 0] ** 2)  # -log(1 + 1) / 2
    tensor(-0.3466)
    """
    check_number("prior_precision", prior_precision)
    parts = self._parts
    log_ratio = math.log(parts.num_samples) - math.log(prior_precision)
    log_values = self.log_spectrum().double() + log_ratio
    determinant = torch.nn.functional.softplus(log_values).sum()
    z = parts.function.everywhere(parts.vector, parts.samples)
    total = parts.shards.sum(parts.losses_of(losses, z).detach().double().sum())
    square = (math.sqrt(prior_precision) * parts.vector.double()).square().sum()
    found = -total - 0.5 * (square + determinant.to(total.device))
    return found.to(parts.vector.dtype)


finish(globals())
