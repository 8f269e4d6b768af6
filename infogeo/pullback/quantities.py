r"""What a scan can measure at every input.

A quantity is a function ``quantity(metric, x)`` of a `PullbackMetric` and a batch of inputs that
returns one value, or one array, for each input. The methods of the metric are quantities too:
``PullbackMetric.trace``, ``PullbackMetric.log_spectrum``, ``PullbackMetric.rank``.
"""

from typing import TYPE_CHECKING

from torch import Tensor

from infogeo._docs import finish
from infogeo.pullback._checks import check_input
from infogeo.pullback._network import network_of

if TYPE_CHECKING:
    from infogeo.pullback.metric import PullbackMetric


__all__ = ["direction", "outputs", "sensitivity"]


def outputs(metric: "PullbackMetric", x: Tensor) -> Tensor:
    r"""Return the raw outputs of the model, divided by the temperature.

    Parameters
    ----------
    metric : PullbackMetric
        The metric whose model it is.
    x : torch.Tensor, shape (batch, ...)

    Returns
    -------
    torch.Tensor, shape (batch, c)
        For the categorical head: logits.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import PullbackMetric, quantities
    >>> quantities.outputs(PullbackMetric(lambda x: x, temperature=2.0), torch.ones(1, 3))
    tensor([[0.5000, 0.5000, 0.5000]])
    """
    check_input(x, check=metric.check)
    return network_of(metric).outputs_alone(x)


def sensitivity(metric: "PullbackMetric", x: Tensor) -> Tensor:
    r"""Return how far the prediction moves at most, for each unit of length that x moves.

    .. math:: \sqrt{\lambda_1(G(x))}

    Parameters
    ----------
    metric : PullbackMetric
        The metric.
    x : torch.Tensor, shape (batch, ...)

    Returns
    -------
    torch.Tensor, shape (batch,)
        In radians of the sphere of radius 2 per unit of input.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import PullbackMetric, quantities
    >>> quantities.sensitivity(PullbackMetric(lambda x: x), torch.zeros(1, 2))
    tensor([0.7071])
    """
    return (0.5 * metric.log_spectrum(x)[:, 0]).exp()


def direction(metric: "PullbackMetric", x: Tensor) -> Tensor:
    r"""Return the direction in which the prediction moves most.

    Parameters
    ----------
    metric : PullbackMetric
        The metric.
    x : torch.Tensor, shape (batch, ...)

    Returns
    -------
    torch.Tensor, shape (batch, ...)
        Of unit length and of the shape of x: the eigenvector of the largest eigenvalue, whose
        sign is arbitrary.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import PullbackMetric, quantities
    >>> quantities.direction(PullbackMetric(lambda x: x), torch.zeros(1, 2)).abs()
    tensor([[0.7071, 0.7071]])
    """
    return metric.spectrum(x, num_values=1).vectors[:, 0]


finish(globals())
