r"""How the rows of the factor A J are computed: one by one, many at once, or not at all.

`Loop` and `Batched` cost what autograd must do, one forward pass and one backward pass for each
row; which of them is faster depends on the network, the batch and the machine. `Operator` finds
the largest eigenvalues for many classes.
"""

import time
import weakref
from dataclasses import dataclass
from typing import Any

import torch

from infogeo._docs import finish
from infogeo.pullback._checks import check_count, check_number
from infogeo.pullback._derivatives import pull_back

__all__ = ["Batched", "Loop", "Operator"]


@dataclass(frozen=True)
class Loop:
    r"""One backward pass for each row.

    The faster way through convolutions, and the one that takes the least memory: beside the rows
    themselves no more than a training step.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import Loop, PullbackMetric
    >>> PullbackMetric(lambda x: 2.0 * x, strategy=Loop()).trace(torch.zeros(1, 2))
    tensor([2.])
    """


@dataclass(frozen=True)
class Batched:
    r"""One backward pass for `chunk_size` rows at once, vectorised as by `torch.vmap`.

    The faster way through small dense layers. It takes `chunk_size` times the memory of a training
    step, and fails where an operation cannot be vectorised.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import Batched, PullbackMetric
    >>> PullbackMetric(lambda x: 2.0 * x, strategy=Batched()).trace(torch.zeros(1, 2))
    tensor([2.])
    """


@dataclass(frozen=True)
class Operator:
    r"""No rows: the largest eigenvalues from products of the metric with vectors.

    For many classes and few eigenvalues, which cost about 20 products each, of one forward-mode
    and one backward pass. What needs all rows takes them one by one.

    Parameters
    ----------
    rtol : float
        How exact the eigenvalues are asked to be, relative to each. Eigenvectors are off by an
        angle of at most about sqrt(rtol), times the root of their value over its gap to the others.
    max_steps : int
        How many blocks of products, each of one more than there are values to find.

    Raises
    ------
    ValueError
        A tolerance or number of steps that cannot be used.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import Operator, PullbackMetric
    >>> metric = PullbackMetric(lambda x: 2.0 * x, strategy=Operator())
    >>> spectrum = metric.spectrum(torch.zeros(1, 1000, dtype=torch.float64), num_values=1)
    >>> spectrum.values, bool(spectrum.errors < 1e-8)
    (tensor([[0.0040]], dtype=torch.float64), True)
    """

    rtol: float = 1e-6
    max_steps: int = 50

    def __post_init__(self) -> None:
        check_number("rtol", self.rtol)
        check_count("max_steps", self.max_steps)


def puller(strategy, model):
    """Return the function that pulls back rows: of the strategy asked for, or the fastest.

    It maps z, x and cotangents of shape (k, batch, m) to gradients of shape (k, *x.shape).
    """
    if isinstance(strategy, Loop | Operator):
        return _one_by_one
    if isinstance(strategy, Batched):
        return _together_or_explain
    return _Fastest(model)


def _one_by_one(z, x, seeds):
    return torch.stack([pull_back(z, x, seed) for seed in seeds])


def _together(z, x, seeds):
    return pull_back(z, x, seeds, is_grads_batched=True)


def _together_or_explain(z, x, seeds):
    try:
        return _together(z, x, seeds)
    except RuntimeError as error:
        raise RuntimeError(
            f"strategy=Batched() failed for this model: {str(error).splitlines()[0]} "
            "Use strategy=Loop(), or a smaller chunk_size if memory ran out."
        ) from error


@dataclass(frozen=True)
class _Fastest:
    """The faster of the two for a model, measured once for each kind of input."""

    model: Any

    def __call__(self, z, x, seeds):
        try:
            return self._choice(z, x, seeds)(z, x, seeds)
        except RuntimeError:  # an operation without a batching rule, or too little memory
            return _one_by_one(z, x, seeds)

    def _choice(self, z, x, seeds):
        if len(seeds) == 1 or seeds.numel() == 0:
            return _one_by_one
        if torch.are_deterministic_algorithms_enabled():
            return _by_kind(self.model)
        try:
            known = _CHOICES.setdefault(self.model, {})
        except TypeError:  # a model that cannot be remembered
            return _by_kind(self.model)
        # The size of the batch counts by its power of 2: the last one of a data set is smaller.
        kind = (len(x).bit_length(), x.shape[1:], x.dtype, x.device, len(seeds).bit_length())
        if kind not in known:
            known[kind] = _measure(z, x, seeds[:_NUM_MEASURED])
        return known[kind]


_CHOICES: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_NUM_MEASURED = 8
_CONVOLUTIONS = torch.nn.modules.conv._ConvNd


def _by_kind(model):
    """Return what is faster on most machines, without a measurement."""
    modules = model.modules() if isinstance(model, torch.nn.Module) else ()
    has_convolution = any(isinstance(part, _CONVOLUTIONS) for part in modules)
    return _one_by_one if has_convolution else _together


def usual(model):
    """Return the strategy that is faster on most machines: the same in every run."""
    return Loop() if _by_kind(model) is _one_by_one else Batched()


def _measure(z, x, seeds):
    """Return the faster one: the better of two runs each, as the first warms up."""
    times = {}
    for pull in (_one_by_one, _together) * 2:
        _wait_for(x.device)
        start = time.perf_counter()
        try:
            pull(z, x, seeds)
        except RuntimeError:
            return _one_by_one
        _wait_for(x.device)
        seconds = time.perf_counter() - start
        times[pull] = min(seconds, times.get(pull, seconds))
    return min(times, key=times.__getitem__)


def _wait_for(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


finish(globals())
