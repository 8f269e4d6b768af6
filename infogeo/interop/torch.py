"""Losses and a meter for torch's training loops, on logits along the last axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infogeo import _spaces, logits, robustness
from infogeo._array import bad_value, is_readable
from infogeo._docs import finish
from infogeo._result import Result
from infogeo._system.extras import missing
from infogeo._system.registry import storable

try:
    import torch
except ModuleNotFoundError as error:
    raise missing(error, "infogeo.interop.torch") from None

__all__ = [
    "DistanceMeter",
    "DistanceSummary",
    "FisherRaoLoss",
    "IsometryPenalty",
    "JeffreysLoss",
    "TracePenalty",
]


class _Loss(torch.nn.Module):
    """A divergence between predicted logits and targets, reduced to one number.

    Parameters
    ----------
    target_space : module or name
    reduce : callable
    check : bool
    """

    def __init__(
        self,
        *,
        target_space: Any = "simplex",
        reduce: Callable[[torch.Tensor], torch.Tensor] = torch.mean,
        check: bool = True,
    ) -> None:
        super().__init__()
        target_space = _spaces.of_predictions(target_space, argument="target_space")
        # By its name, because a module cannot be copied, pickled or saved.
        self.target_space = _spaces.name_of(target_space)
        self.reduce, self.check = reduce, check

    def forward(self, z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the reduced divergence.

        Parameters
        ----------
        z : torch.Tensor, shape (..., c)
            Predicted logits.
        target : torch.Tensor
            Class numbers, an integer tensor of shape (...), or distributions of shape (..., c).

        Returns
        -------
        torch.Tensor
            One number, if `reduce` makes one.
        """
        _check_samples(z, target, self.reduce)
        if not target.is_floating_point():
            w = _log_of_certainty(z, target, self.check)
        else:
            space = _spaces.resolve(self.target_space)
            w = _spaces.converted(target, space, logits, check=self.check, argument="target")
        return self.reduce(self._divergence(z, w))

    def _divergence(self, z: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class FisherRaoLoss(_Loss):
    r"""Squared Fisher-Rao distance between predictions and targets.

    .. math:: d(p, q)^2 = 4 \arccos^2 \textstyle\sum_i \sqrt{p_i q_i}

    Parameters
    ----------
    target_space : module or name
    reduce : callable
    check : bool

    Notes
    -----
    Class numbers stand for certainty; the distance to that is bounded by pi, so one mislabelled
    sample pulls less than under cross-entropy, which is unbounded. The square is smooth where
    prediction and target agree.

    Examples
    --------
    >>> import torch
    >>> from infogeo.interop.torch import FisherRaoLoss
    >>> z = torch.zeros(5, 2, requires_grad=True)
    >>> loss = FisherRaoLoss()(z, torch.tensor([0, 1, 0, 1, 1]))
    >>> bool(torch.isclose(loss, torch.tensor((np.pi / 2) ** 2, dtype=torch.float32)))
    True
    >>> loss.backward()
    """

    def _divergence(self, z: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return logits.fisher_rao_squared_distance(z, w, check=self.check)


class JeffreysLoss(_Loss):
    r"""Jeffreys divergence between predictions and targets, in nats.

    .. math:: J(p, q) = KL(p, q) + KL(q, p)

    Parameters
    ----------
    target_space : module or name
    reduce : callable
    check : bool

    Notes
    -----
    Targets have to be positive: to one without some class every prediction that has it is
    infinitely far. Class numbers are therefore refused.

    Examples
    --------
    >>> import torch
    >>> from infogeo import logits
    >>> from infogeo.interop.torch import JeffreysLoss
    >>> student, teacher = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 1.0]])
    >>> round(float(JeffreysLoss(target_space=logits)(student, teacher)), 4)
    0.2311
    """

    def forward(self, z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the reduced divergence.

        Parameters
        ----------
        z : torch.Tensor, shape (..., c)
            Predicted logits.
        target : torch.Tensor, shape (..., c)
            Distributions.

        Returns
        -------
        torch.Tensor
            One number, if `reduce` makes one.

        Raises
        ------
        TypeError
            Class numbers.
        """
        _check_tensors(z, target)
        if not target.is_floating_point():
            raise TypeError(
                "target must hold distributions: the Jeffreys divergence to a certain class is "
                "infinite. Smooth the labels, or use FisherRaoLoss."
            )
        return super().forward(z, target)

    def _divergence(self, z: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return logits.jeffreys_divergence(z, w, check=self.check)


def _check_tensors(z: Any, target: Any) -> None:
    for name, value in (("z", z), ("target", target)):
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{name} must be a torch tensor: got {type(value).__name__}.")


def _check_samples(
    z: torch.Tensor, target: torch.Tensor, reduce: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """Refuse what has no mean, and distributions that are none."""
    _check_tensors(z, target)
    if z.numel() == 0 and reduce is torch.mean:
        raise bad_value("z", "hold at least one prediction", f"its shape is {tuple(z.shape)}")
    if target.is_floating_point() and target.shape[-1:] != z.shape[-1:]:
        raise bad_value(
            "target",
            "hold class numbers as integers, or distributions over the classes of z",
            f"the shape of z is {tuple(z.shape)}, that of target {tuple(target.shape)}",
            "Use target.long() if these are class numbers.",
        )


def _log_of_certainty(z: torch.Tensor, target: torch.Tensor, check: bool) -> torch.Tensor:
    """Return logits of the distributions that are certain of a class: 0 there, -inf elsewhere."""
    if target.shape != z.shape[:-1]:
        raise bad_value(
            "target",
            "hold one class for each row of z",
            f"their shapes are {tuple(target.shape)} and {tuple(z.shape)}",
            "Classes lie along the last axis of z. Use target.argmax(-1) if it is one-hot.",
        )
    if check and target.numel() and is_readable(target):
        smallest, largest = int(target.min()), int(target.max())
        if smallest < 0 or largest >= z.shape[-1]:
            raise bad_value(
                "target",
                f"hold classes from 0 to {z.shape[-1] - 1}",
                f"its entries range from {smallest} to {largest}",
                "Leave out samples that are to be ignored.",
            )
    w = torch.full_like(z, -torch.inf, requires_grad=False)
    return w.scatter(-1, target.long().unsqueeze(-1), 0.0)


class IsometryPenalty(torch.nn.Module):
    """How far a network is from a partial isometry, as a module to be added to a loss.

    Parameters
    ----------
    radius : float
        Inputs may change by this much; see `infogeo.robustness.isometry_penalty`.
    temperature : float
        The logits are divided by it.

    Examples
    --------
    >>> import torch
    >>> from infogeo.interop.torch import IsometryPenalty
    >>> model, x = torch.nn.Linear(4, 3), torch.rand(2, 4)
    >>> loss = model(x).logsumexp(-1).mean() + 0.1 * IsometryPenalty(radius=0.5)(model, x)
    >>> loss.backward()
    """

    def __init__(self, *, radius: float, temperature: float = 1.0) -> None:
        super().__init__()
        self.radius, self.temperature = radius, temperature

    def forward(
        self, model: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor
    ) -> torch.Tensor:
        """Return the penalty, differentiable by the model's parameters.

        Parameters
        ----------
        model : torch.nn.Module or callable
            Maps inputs to logits.
        x : torch.Tensor, shape (batch, ...)
            Inputs.

        Returns
        -------
        torch.Tensor
            One number.
        """
        return robustness.isometry_penalty(
            model, x, radius=self.radius, temperature=self.temperature
        )


class TracePenalty(torch.nn.Module):
    """The mean trace of the pulled-back metric, as a module to be added to a loss.

    Parameters
    ----------
    temperature : float
        The logits are divided by it.

    Examples
    --------
    >>> import torch
    >>> from infogeo.interop.torch import TracePenalty
    >>> model, x = torch.nn.Linear(4, 3), torch.rand(2, 4)
    >>> loss = model(x).logsumexp(-1).mean() + 0.1 * TracePenalty()(model, x)
    >>> loss.backward()
    """

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(
        self, model: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor
    ) -> torch.Tensor:
        """Return an unbiased estimate of the mean trace: `infogeo.robustness.trace_penalty`.

        Parameters
        ----------
        model : torch.nn.Module or callable
            Maps inputs to logits.
        x : torch.Tensor, shape (batch, ...)
            Inputs.

        Returns
        -------
        torch.Tensor
            One number.
        """
        return robustness.trace_penalty(model, x, temperature=self.temperature)


@storable("DistanceSummary")
@dataclass(frozen=True, repr=False)
class DistanceSummary(Result):
    """What a `DistanceMeter` has seen.

    Parameters
    ----------
    count : int
        How many pairs.
    mean : float
        Mean distance, in radians.
    root_mean_square : float
        Root of the mean squared distance.
    largest : float
        Largest distance.
    """

    count: int
    mean: float
    root_mean_square: float
    largest: float


class DistanceMeter(torch.nn.Module):
    """Fisher-Rao distances between two streams of predictions, batch by batch.

    Parameters
    ----------
    space : module, object or name
        What the predictions are: `infogeo.logits`, `infogeo.simplex`, or anything with a function
        ``fisher_rao_distance``. Modules are stored by name.

    Notes
    -----
    Used like a metric of torchmetrics: ``update`` with each batch, ``compute`` at the end,
    ``reset`` before the next epoch. Sums are kept in float64 on the CPU; of several processes each
    has its own meter, and ``merge`` adds what another has seen. A copy and a pickled meter keep
    the sums; ``state_dict`` leaves them out, as torchmetrics does, so that a checkpoint taken in
    the middle of an epoch neither adds its batches twice nor needs a meter where it is loaded.

    Examples
    --------
    >>> import torch
    >>> from infogeo.interop.torch import DistanceMeter
    >>> meter = DistanceMeter()
    >>> for _ in range(3):
    ...     meter.update(torch.zeros(4, 2), torch.zeros(4, 2))
    >>> meter.compute()
    DistanceSummary(count=12, mean=0.0, root_mean_square=0.0, largest=0.0)
    """

    def __init__(self, *, space: Any = "logits") -> None:
        super().__init__()
        _spaces.with_distance(space)
        self.space = _spaces.name_of(space)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._count, self._sum, self._squares, self._largest = 0, 0.0, 0.0, 0.0

    @torch.no_grad()
    def update(self, a: torch.Tensor, b: torch.Tensor) -> None:
        """Add a batch of pairs.

        Parameters
        ----------
        a, b : torch.Tensor, shape (..., c)
            Predictions.
        """
        d = self._distance(a, b).double().reshape(-1)
        if d.numel() == 0:
            return
        self._count += d.numel()
        self._sum += float(d.sum())
        self._squares += float((d * d).sum())
        self._largest = max(self._largest, float(d.max()))

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Add a batch of pairs and return the distances of this batch.

        Parameters
        ----------
        a, b : torch.Tensor, shape (..., c)
            Predictions.

        Returns
        -------
        torch.Tensor, shape (...)
            Their distances.
        """
        self.update(a, b)
        return self._distance(a, b, check=False)

    def _distance(self, a: torch.Tensor, b: torch.Tensor, **options: bool) -> torch.Tensor:
        return _spaces.resolve(self.space).fisher_rao_distance(a, b, **options)

    def merge(self, other: DistanceMeter) -> None:
        """Add what another meter has seen.

        Parameters
        ----------
        other : DistanceMeter
            It stays as it is.
        """
        self._count += other._count
        self._sum += other._sum
        self._squares += other._squares
        self._largest = max(self._largest, other._largest)

    def compute(self) -> DistanceSummary:
        """Return the summary of all pairs seen since the last reset.

        Returns
        -------
        DistanceSummary
            Count, mean, root mean square and largest.

        Raises
        ------
        RuntimeError
            No pairs were seen.
        """
        if self._count == 0:
            raise RuntimeError("the meter has seen no predictions: call update first.")
        n = self._count
        return DistanceSummary(n, self._sum / n, (self._squares / n) ** 0.5, self._largest)


finish(
    globals(),
    {
        "target_space : module or name": (
            "What floating-point targets are: `infogeo.simplex` for probabilities (soft labels),\n"
            "`infogeo.logits` for the logits of another model (distillation). Stored by name."
        ),
        "reduce : callable": (
            "Makes one number of those of the samples, such as ``torch.mean`` or ``torch.sum``."
        ),
    },
)
