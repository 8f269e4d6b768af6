r"""Training along the natural gradient: the steepest descent as the predictions measure steps."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from infogeo._docs import finish
from infogeo.pullback import heads
from infogeo.pullback._checks import check_count, check_number
from infogeo.pullback._network import Inputs
from infogeo.pullback._weights import chosen_parameters
from infogeo.pullback.heads import Head
from infogeo.pullback.metric import Spectrum
from infogeo.pullback.weights import WeightMetric

__all__ = ["NaturalGradient"]


class NaturalGradient(torch.optim.Optimizer):
    r"""An optimiser that steps along the natural gradient of a small network.

    .. math:: w \leftarrow w - \eta \, (G(w) + \lambda)^{-1} \nabla \mathrm{loss}

    with the metric of `WeightMetric` on the batch. With small damping the predictions of a network
    with enough weights follow the Fisher-Rao gradient flow of the loss, whatever its weights are:
    for half the squared distance from a target that is the geodesic.

    Parameters
    ----------
    model : torch.nn.Module
        Maps x of shape (batch, ...) to raw outputs.
    head : Head
        What the raw outputs stand for.
    lr : float
        The step size; 1 is a step of Gauss and Newton.
    damping : float
        Positive; large damping makes small steps along the gradient itself.
    names : list of str or None
        Which parameters, as for `WeightMetric`.
    refresh : int
        The eigenvectors that precondition the solution are computed anew in every so many steps.

    Raises
    ------
    TypeError, ValueError
        Parameters or settings that cannot be used.

    Notes
    -----
    A step takes the batch: ``step(x)``, after ``loss.backward()``. Metrics with more than 4096
    rows take some hundred products a step. A system that does not converge raises `SolveError`
    before the weights have changed.

    References
    ----------
    S. Amari, Natural gradient works efficiently in learning, Neural Comput. 10, 1998.

    Examples
    --------
    One step solves a linear regression:

    >>> import torch
    >>> from infogeo.pullback import NaturalGradient, heads
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    >>> optimizer = NaturalGradient(model, heads.normal_fixed_std(1.0), damping=1e-6)
    >>> loss = 0.5 * (model(x) - x @ torch.tensor([[3.0], [4.0]])).square().mean()
    >>> loss.backward()
    >>> optimizer.step(x)
    >>> model.weight.data.round(decimals=2)
    tensor([[3., 4.]])
    """

    def __init__(
        self,
        model: nn.Module,
        head: Head = heads.categorical,
        *,
        lr: float = 1.0,
        damping: float = 1e-3,
        names: Sequence[str] | None = None,
        refresh: int = 10,
    ):
        check_number("lr", lr)
        check_number("damping", damping)
        check_count("refresh", refresh)
        self.model, self.head, self.names, self.refresh = model, head, names, refresh
        self._spectrum: Spectrum | None = None
        self._num_steps = 0
        chosen = chosen_parameters(model, names)
        super().__init__(chosen.values(), {"lr": lr, "damping": damping})

    def step(self, x: Any, *, inputs: Inputs = None) -> None:  # type: ignore[override]
        r"""Move the weights by one step, from the gradients that backward() has left.

        Parameters
        ----------
        x : torch.Tensor, shape (n, ...)
            The batch that the metric is taken on, usually that of the loss.
        inputs : torch.Tensor, tuple or mapping of torch.Tensor, or None
            What the model takes beside x, as for `WeightMetric`.

        Raises
        ------
        TypeError, ValueError
            A batch that cannot be used; parameters without a gradient.
        SolveError
            Conjugate gradients did not converge.

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import NaturalGradient
        >>> model, x = torch.nn.Linear(2, 3), torch.randn(20, 2)
        >>> optimizer = NaturalGradient(model)
        >>> torch.nn.functional.cross_entropy(model(x), torch.arange(20) % 3).backward()
        >>> optimizer.step(x)
        """
        metric = WeightMetric(self.model, x, self.head, names=self.names, inputs=inputs)
        known = dict(self.model.named_parameters())
        gradients = {name: _gradient_of(name, known[name]) for name in metric.shapes}
        group = self.param_groups[0]
        if self._num_steps % self.refresh == 0:
            self._spectrum = None
        direction = metric.solve(gradients, group["damping"], spectrum=self._spectrum)
        if self._spectrum is None and self.refresh > 1:
            self._spectrum = direction.spectrum
        with torch.no_grad():
            for name, move in direction.vector.items():
                known[name].add_(move.to(known[name].dtype), alpha=-group["lr"])
        self._num_steps += 1


def _gradient_of(name: str, parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        raise ValueError(
            f"model must have gradients: that of {name!r} is None. Call loss.backward() before "
            "step(x), or name the parameters that the loss depends on."
        )
    return parameter.grad


finish(globals())
