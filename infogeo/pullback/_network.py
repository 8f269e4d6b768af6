"""A network as all results see it: its outputs, divided by the temperature and checked.

Points that are not the samples themselves (on paths, in perturbed copies, in parts of a batch) say
which sample each of them belongs to, so that the further inputs of the model follow them.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from infogeo._array import LOGITS, VECTOR, bad_value, gate
from infogeo._docs import finish
from infogeo.pullback import heads
from infogeo.pullback._checks import (
    check_input,
    check_model,
    explain_mismatch,
    result_dtype,
    warn_of_probabilities,
    warn_of_sigmoids,
)
from infogeo.pullback._derivatives import Gradients, NoForwardModeError
from infogeo.pullback._referee import check_samples, judge, once
from infogeo.pullback._references import eagerly, is_compiled
from infogeo.pullback.heads import Head
from infogeo.pullback.strategies import puller

Inputs: TypeAlias = Tensor | Sequence[Tensor] | Mapping[str, Tensor] | None

_PART = 2**22  # numbers of an input batch that the model sees at once


@dataclass(frozen=True, eq=False)
class SampleInputs:
    """What a model takes beside x: tensors with one row for each sample, or one for all."""

    positional: tuple[torch.Tensor, ...]
    named: dict[str, torch.Tensor]

    @classmethod
    def of(cls, inputs: "Inputs | SampleInputs", num_samples: int | None = None) -> "SampleInputs":
        """Return the further inputs that a user gave, for so many samples if that is known."""
        if isinstance(inputs, cls):
            return inputs
        named = dict(inputs) if isinstance(inputs, Mapping) else {}
        positional = () if inputs is None or isinstance(inputs, Mapping) else inputs
        if isinstance(positional, torch.Tensor):
            positional = (positional,)
        if not isinstance(positional, tuple | list) or not all(isinstance(n, str) for n in named):
            raise TypeError(
                "inputs must be a tensor, a tuple of tensors or a mapping of names to tensors: got "
                f"{type(inputs).__name__}."
            )
        found = cls(tuple(positional), named)
        found._check()
        if num_samples is not None:
            found.check_for(num_samples)
        return found

    @property
    def num_samples(self):
        """Return how many samples the inputs are for; 1 if they are for all."""
        return max((len(value) for _, value in self.items()), default=1)

    @property
    def kind(self):
        """The names, shapes and dtypes of the inputs of a sample."""
        return tuple((name, value.shape[1:], value.dtype) for name, value in self.items())

    def items(self):
        """Yield the name and the tensor of each input."""
        yield from ((f"inputs[{k}]", value) for k, value in enumerate(self.positional))
        yield from ((f"inputs[{name!r}]", value) for name, value in self.named.items())

    def map(self, function):
        """Return the inputs after a function of each."""
        positional = tuple(map(function, self.positional))
        return SampleInputs(positional, {k: function(value) for k, value in self.named.items()})

    def check_for(self, num_samples, name="x"):
        """Refuse inputs of another number of samples."""
        for key, value in self.items():
            if len(value) not in (1, num_samples):
                raise bad_value(
                    key,
                    f"have one row for each sample of {name}, or one for all",
                    f"it has {len(value)} rows, and {name} has {num_samples}",
                )

    def select(self, samples):
        """Return the rows of samples: a slice, or the number of the sample of each row."""
        return self.map(lambda value: value if len(value) == 1 else value[samples])

    def rows(self, num_rows):
        """Return the inputs with that many rows, as tensors that a model may work on in place."""
        return self.map(lambda value: value.detach().expand(num_rows, *value.shape[1:]).clone())

    def _check(self):
        for key, value in self.items():
            if not isinstance(value, torch.Tensor):
                raise TypeError(
                    f"{key} must be a torch tensor: got {type(value).__name__}. "
                    "Use torch.as_tensor."
                )
            if value.ndim == 0 or len(value) == 0:
                raise bad_value(
                    key,
                    "have one row for each sample, or one for all",
                    f"its shape is {tuple(value.shape)}",
                )


@dataclass(frozen=True, eq=False)
class Network:
    """A model with its temperature and further inputs, and how its derivatives are taken."""

    model: Callable
    head: Head
    temperature: float
    inputs: SampleInputs
    strategy: object
    chunk_size: int | None
    check: bool

    def outputs(self, x, samples=None):
        """Return model(x) / temperature, in the dtype of the results, checked.

        `samples` holds the sample that each row of x belongs to; None: there are no others.
        """
        z = self.raw(x, samples)
        z = z.to(result_dtype(z, x)) / self.temperature
        self._check_outputs(z, x)
        return z

    def raw(self, x, samples=None):
        """Return model(x) as it is, a floating-point tensor."""
        z = call_model(self.model, x, self.inputs, samples)
        if not isinstance(z, torch.Tensor) or not z.is_floating_point():
            seen = f"a tensor of {z.dtype}" if isinstance(z, torch.Tensor) else type(z).__name__
            if isinstance(z, Mapping):
                seen += f" with the entries {', '.join(map(repr, z))}"
            raise TypeError(
                f"model must return a floating-point tensor of raw outputs: it returned {seen}. "
                "Wrap it, for instance as lambda x: model(x).logits; for a metric on weights in a "
                "torch.nn.Module whose forward returns that."
            )
        if z.ndim != 2 or len(z) != len(x):
            raise refused_shape(x, z)
        return z

    def outputs_alone(self, x, samples=None):
        """Return the outputs without a graph."""
        with torch.no_grad():
            return self.outputs(x, samples)

    def outputs_in_parts(self, x, samples=None):
        """Return the outputs at any number of points: of many of them in several calls."""
        size = max(1, _PART // max(1, math.prod(x.shape[1:])))
        if len(x) <= size:
            return self.outputs(x, samples)
        samples = torch.arange(len(x), device=x.device) if samples is None else samples
        parts = zip(x.split(size), samples.split(size), strict=True)
        return torch.cat([self.outputs(*part) for part in parts])

    def predictions(self, x, samples=None):
        """Return the outputs at any number of points, without a graph."""
        with torch.no_grad():
            return self.outputs_in_parts(x, samples)

    def predictions_along(self, paths):
        """Return the outputs, shape (n, batch, m), at points of shape (n, batch, ...)."""
        samples = torch.arange(paths.shape[1], device=paths.device).repeat(len(paths))
        z = self.predictions(paths.flatten(0, 1), samples)
        return z.reshape(*paths.shape[:2], z.shape[1])

    def distances(self, z, w):
        """Return the distances of outputs of shape (..., m), which broadcast, shape (...)."""
        shape = torch.broadcast_shapes(z.shape, w.shape)
        z, w = (y.expand(shape).reshape(-1, shape[-1]) for y in (z, w))
        return self.head.distance(z, w).reshape(shape[:-1])

    def at_sample(self, i):
        """Return the network with the further inputs of one sample, for all points."""
        if self.inputs.num_samples == 1:
            return self
        return dataclasses.replace(self, inputs=self.inputs.select(slice(i, i + 1)))

    def gradients(self, x):
        """Return the derivatives of the outputs at x, from which rows are pulled back."""
        with torch.inference_mode(False), torch.enable_grad():
            leaf = x.detach().clone().requires_grad_()
            z = self.outputs(leaf)
        if self.check:
            self.examine(x)
        return Gradients(z, leaf, puller(self.strategy, self.model), self.chunk_size)

    def push(self, x, v):
        """Return z and J v, shape (batch, m), from one jvp, or else from two vjps."""
        push = self.examine(x)
        if push is not None:
            with torch.inference_mode(False), torch.enable_grad():
                leaf = x.detach().clone().requires_grad_()
                return push(self.outputs, leaf, v.detach().to(leaf.dtype).clone())
        self.outputs_alone(x)  # what is wrong with them comes first
        raise NoForwardModeError(
            "strategy=Operator() needs forward-mode derivatives of the model, or second ones, that "
            "agree with its gradients, and there are none. Use strategy=Loop()."
        )

    def examine(self, x):
        """Return the way to J v that agrees with gradients; refuse gradients that are wrong."""
        has_constants = not self.head.allows_masks
        verdict = once(judge, self.model, self.raw, x, has_constants, about=self.inputs.kind)
        if self.check and verdict.complaint:
            raise bad_value("model", *verdict.complaint)
        return verdict.push

    def check_samples(self, x):
        """Refuse a model that mixes samples, or is random, if the metric checks anything."""
        if self.check:
            check_samples_once(self.model, x, self.inputs)

    def _check_outputs(self, z, x):
        rule = LOGITS if self.head.allows_masks else VECTOR
        gate(self.check, **{"model(x)": (rule, z.detach())})
        if self.check and self.head is heads.categorical:
            warn_of_probabilities(z.detach() * self.temperature)
        if self.check and self.head is heads.bernoulli:
            warn_of_sigmoids(self.model, z.detach() * self.temperature)


def check_samples_once(model, x, inputs):
    """Refuse a model that mixes samples, or is random; looked at once for a kind of input."""
    further = SampleInputs.of(inputs)
    if not x.is_floating_point():
        check_numbered_samples(model, x, further)
        return

    def call(y, rows):
        return call_model(model, y, further, rows)

    once(check_samples, model, call, x, about=further.kind)


def check_numbered_samples(model, x, inputs):
    """Refuse a model that mixes samples, or is random, by their numbers: also of token ids."""
    numbers = torch.arange(len(x), device=x.device).to(torch.float32)[:, None]

    def outputs(y, rows):  # of a leaf, also if x is integers
        z = call_model(model, x if rows is None else x[rows], inputs, rows)
        is_readable = isinstance(z, Tensor) and z.is_floating_point()
        return z + 0.0 * y.sum() if is_readable else z

    once(check_samples, model, outputs, numbers, about=kind_of_sample(x, inputs))


def kind_of_sample(x, inputs):
    """Return the shape and the dtype of a sample and of what goes with it."""
    return x.shape[1:], x.dtype, inputs.kind


def call_model(model, x, inputs, samples=None):
    """Return what a model makes of x and of the further inputs of the samples of its rows."""
    check_model(model)
    if samples is None:
        inputs.check_for(len(x))
    else:
        inputs = inputs.select(samples)
    inputs = inputs.rows(len(x))
    try:
        with (
            eagerly if torch.is_grad_enabled() and is_compiled(model) else contextlib.nullcontext()
        ):
            # A model may work in place on its input.
            return model(x.clone(), *inputs.positional, **inputs.named)
    except Exception as error:
        if isinstance(error, RuntimeError):
            explain_mismatch(model, x, error)
        error.add_note(f"The model was called with x of shape {tuple(x.shape)} and {x.dtype}.")
        raise


def check_independent(model: Callable[..., Tensor], x: Tensor, *, inputs: Inputs = None) -> None:
    """Verify that a model treats each input by itself, and always in the same way.

    The model is called twice with the same inputs, and with the first one alone. Dropout, what is
    computed from the whole batch and what changes from call to call shows.

    Parameters
    ----------
    model : torch.nn.Module or callable
        Maps x to raw outputs, one row for each input.
    x : torch.Tensor, shape (batch, ...)
        Some inputs; the first four are looked at.
    inputs : torch.Tensor, tuple or mapping of torch.Tensor, or None

    Raises
    ------
    TypeError, ValueError
        A model that mixes its inputs, or that is random or has a memory; parts in training mode;
        inputs that cannot be used.

    Notes
    -----
    `PullbackMetric`, `scan` and `smoothing.votes` do it by themselves, once for a model and a kind
    of input. Outputs may differ by rounding: by the root of the machine epsilon, relative to the
    largest one.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import check_independent
    >>> check_independent(lambda x: x - x.mean(0), torch.eye(2))
    Traceback (most recent call last):
        ...
    infogeo.BadValueError: model must treat each input by itself: ... differ ...
    """
    check_input(x, check=True)
    further = SampleInputs.of(inputs, len(x))
    check_samples(lambda y, rows: call_model(model, y, further, rows), x)


def refused_shape(x, z):
    """Return the error of outputs that are not one row for each input."""
    return bad_value(
        "model",
        f"return outputs of shape (batch, c), with batch = {len(x)} here",
        f"x has shape {tuple(x.shape)} and model(x) {tuple(z.shape)}",
        "Add the batch axis, x[None], if x is a single input; flatten or select the outputs if "
        "there is more than one axis of them.",
    )


def network_of(metric):
    """Return the network of a metric."""
    return Network(
        metric.model,
        metric.head,
        metric.temperature,
        SampleInputs.of(metric.inputs),
        metric.strategy,
        metric.chunk_size,
        metric.check,
    )


finish(globals())
