"""Fisher-Rao distances as metrics of torchmetrics, for Lightning's ``self.log`` and collections.

Each metric keeps a sum (or a maximum) in float64 and a count, which torchmetrics adds up over
processes. `infogeo.interop.torch.DistanceMeter` needs no torchmetrics and returns all figures at
once.
"""

from __future__ import annotations

from typing import Any

from infogeo import _spaces
from infogeo._docs import finish
from infogeo._system.extras import missing

try:
    import torch
    import torchmetrics
except ModuleNotFoundError as error:
    raise missing(error, "infogeo.interop.torchmetrics") from None

__all__ = ["LargestDistance", "MeanDistance", "RootMeanSquareDistance"]


class _Distance(torchmetrics.Metric):
    """Distances between two streams of predictions, from which `compute` makes one number.

    Parameters
    ----------
    space : module, object or name
    **kwargs : object
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    plot_lower_bound = 0.0
    value: torch.Tensor
    count: torch.Tensor

    def __init__(self, *, space: Any = "logits", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _spaces.with_distance(space)
        self.space = _spaces.name_of(space)
        zero = torch.zeros((), dtype=torch.float64)
        self.add_state("value", zero, dist_reduce_fx=self._reduction)
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    _reduction = "sum"

    def update(self, a: torch.Tensor, b: torch.Tensor) -> None:
        """Add a batch of pairs.

        Parameters
        ----------
        a, b : torch.Tensor, shape (..., c)
            Predictions; for spaces with points of another kind, such as normals, batches of these.
        """
        with torch.no_grad():
            d = torch.as_tensor(_spaces.resolve(self.space).fisher_rao_distance(a, b))
        if d.numel() > 0:
            self.value = self._joined(d.to(self.value.dtype))
            self.count = self.count + d.numel()

    def _joined(self, d: torch.Tensor) -> torch.Tensor:
        """Return the value after some more distances."""
        raise NotImplementedError

    def compute(self) -> torch.Tensor:
        """Return the figure of all pairs seen since the last reset.

        Returns
        -------
        torch.Tensor, shape ()
            In radians, in float64; NaN if no pairs were seen.
        """
        return torch.where(self.count > 0, self._figure(), torch.nan)

    def _figure(self) -> torch.Tensor:
        """Return the figure from value and count, where there are some."""
        raise NotImplementedError


class MeanDistance(_Distance):
    """Mean Fisher-Rao distance between two streams of predictions.

    Parameters
    ----------
    space : module, object or name
    **kwargs : object

    Examples
    --------
    >>> import torch
    >>> from infogeo.interop.torchmetrics import MeanDistance
    >>> drift = MeanDistance(space="simplex")
    >>> drift.update(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([[0.5, 0.5], [0.5, 0.5]]))
    >>> round(float(drift.compute()), 6)  # of pi / 2 and 0
    0.785398
    """

    def _joined(self, d: torch.Tensor) -> torch.Tensor:
        return self.value + d.sum()

    def _figure(self) -> torch.Tensor:
        return self.value / self.count


class RootMeanSquareDistance(_Distance):
    """Root of the mean squared Fisher-Rao distance between two streams of predictions.

    Parameters
    ----------
    space : module, object or name
    **kwargs : object

    Examples
    --------
    >>> import torch
    >>> from infogeo.interop.torchmetrics import RootMeanSquareDistance
    >>> drift = RootMeanSquareDistance()
    >>> drift.update(torch.zeros(4, 2), torch.zeros(4, 2))
    >>> float(drift.compute())
    0.0
    """

    def _joined(self, d: torch.Tensor) -> torch.Tensor:
        return self.value + (d * d).sum()

    def _figure(self) -> torch.Tensor:
        return torch.sqrt(self.value / self.count)


class LargestDistance(_Distance):
    """Largest Fisher-Rao distance between two streams of predictions.

    Parameters
    ----------
    space : module, object or name
    **kwargs : object

    Examples
    --------
    >>> import torch
    >>> from infogeo.interop.torchmetrics import LargestDistance
    >>> drift = LargestDistance()
    >>> drift.update(torch.zeros(4, 2), torch.zeros(4, 2))
    >>> float(drift.compute())
    0.0
    """

    _reduction = "max"

    def _joined(self, d: torch.Tensor) -> torch.Tensor:
        return torch.maximum(self.value, d.max())

    def _figure(self) -> torch.Tensor:
        return self.value


finish(
    globals(),
    {
        "space : module, object or name": (
            "What the predictions are: `infogeo.logits`, `infogeo.simplex`, or anything with a\n"
            "function ``fisher_rao_distance``. Modules are stored by name."
        ),
        "**kwargs : object": "What every metric of torchmetrics takes.",
    },
)
