"""A network as a function of its weights: which of them, on which samples, and its derivatives.

Weights are vectors, all entries of the chosen parameters one after the other. The samples come in
parts, so that nothing that is as large as all of them is held, but their outputs.
"""

import difflib
import functools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from array_api_compat import torch as xp
from torch import Tensor, nn

from infogeo import _array
from infogeo._array import REAL, bad_value, gate
from infogeo.pullback._checks import (
    check_gradients,
    check_has_numbers,
    check_has_shape,
    require_distance,
)
from infogeo.pullback._derivatives import Tangent, apply_head, pull_back
from infogeo.pullback._loaders import batches, check_loader
from infogeo.pullback._network import (
    Network,
    SampleInputs,
    check_numbered_samples,
    kind_of_sample,
)
from infogeo.pullback._referee import Verdict, judge, once
from infogeo.pullback._shards import Shards
from infogeo.pullback._spectrum import MeasuredFactor, Measuring
from infogeo.pullback.heads import Head

# ---------------------------------------------------------------- which weights


@dataclass(frozen=True)
class Layout:
    """Where the entries of named tensors stand in one vector.

    Parameters
    ----------
    shapes : dict of str to torch.Size
        Of the tensors, in their order.
    dtypes : dict of str to torch.dtype
        In which the model takes them.
    dtype, device
        Of the vector.
    """

    shapes: dict[str, torch.Size]
    dtypes: dict[str, torch.dtype]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Layout":
        """Return the layout of tensors, in their order."""
        dtype = functools.reduce(
            torch.promote_types, (t.dtype for t in tensors.values()), torch.float32
        )
        if all(t.dtype == torch.float64 for t in tensors.values()):
            dtype = torch.float64
        return cls(
            {name: t.shape for name, t in tensors.items()},
            {name: t.dtype for name, t in tensors.items()},
            dtype,
            next(iter(tensors.values())).device,
        )

    @functools.cached_property
    def sizes(self) -> list[int]:
        """The number of entries of each tensor."""
        return [math.prod(shape) for shape in self.shapes.values()]

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the vector of named tensors."""
        parts = [
            tensors[name].detach().to(self.device, self.dtype).flatten() for name in self.shapes
        ]
        return torch.cat(parts)

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """Return the named tensors of a vector: its last axis is taken apart."""
        parts = vector.split(self.sizes, dim=-1)
        return {
            name: part.reshape((*vector.shape[:-1], *shape))
            for part, (name, shape) in zip(parts, self.shapes.items(), strict=True)
        }

    def typed(self, vector: Tensor) -> dict[str, Tensor]:
        """Return the tensors of one vector in the dtypes that the model takes."""
        return {n: t.to(self.dtypes[n]) for n, t in self.unflatten(vector).items()}

    def vector(self, name: str, value: Any, check: bool) -> tuple[Tensor, bool]:
        """Return a vector that a user gave, as one or by names, and whether it came by names."""
        is_named = isinstance(value, Mapping)
        if is_named:
            self._check_names(name, value)
            value = self.flatten(value)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            seen = (
                f"a tensor of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
            )
            raise TypeError(
                f"{name} must be a tensor of floating-point numbers, or a mapping of the names of "
                f"parameters to such tensors: got {seen}."
            )
        size = sum(self.sizes)
        if value.shape != (size,):
            raise bad_value(
                name,
                f"have one entry for each of the {size} weights",
                f"its shape is {tuple(value.shape)}",
                "Pass a mapping of names to tensors, as metric.unflatten returns it.",
            )
        gate(check, **{name: (REAL, value)})
        return value.detach().to(self.device, self.dtype), is_named

    def _check_names(self, name: str, value: Mapping[str, Tensor]) -> None:
        missing = [key for key in self.shapes if key not in value]
        unknown = [key for key in value if key not in self.shapes]
        if missing or unknown:
            what, key = ("is missing", missing[0]) if missing else ("is none of them", unknown[0])
            raise bad_value(
                name, "have the names of the metric's parameters", f"{key!r} {what}",
                "The attribute shapes of the metric lists them.",
            )  # fmt: skip
        for key, shape in self.shapes.items():
            if not isinstance(value[key], Tensor) or value[key].shape != shape:
                seen = tuple(getattr(value[key], "shape", ()))
                raise bad_value(
                    f"{name}[{key!r}]", f"have shape {tuple(shape)}", f"its shape is {seen}"
                )


def chosen_parameters(model: nn.Module, names: Sequence[str] | None) -> dict[str, Tensor]:
    """Return the parameters that a user has chosen, or all that are trained."""
    known = dict(model.named_parameters())
    for name, parameter in known.items():
        check_has_shape(name, parameter)
        check_has_numbers("model", repr(name), parameter)
    chosen = _chosen(model, names, known)
    for name, tensor in chosen.items():
        if tensor.layout != torch.strided:
            seen = f"{name!r} is sparse"
            raise bad_value(
                "names", "name dense parameters", seen, "Use to_dense() or leave it out."
            )
    _check_embeddings(model, chosen)
    return chosen


def _check_embeddings(model: nn.Module, chosen: Mapping[str, Tensor]) -> None:
    """Refuse embeddings with derivatives that cannot be replaced, or that change themselves."""
    for name, part in model.named_modules():
        is_embedding = isinstance(part, nn.Embedding | nn.EmbeddingBag)
        if not is_embedding or not any(part.weight is p for p in chosen.values()):
            continue
        if part.sparse:
            raise bad_value(
                "model", "have dense gradients", f"the embedding {name!r} has sparse=True",
                "Set its attribute sparse to False; its weights stay as they are.",
            )  # fmt: skip
        if part.max_norm is not None:
            raise bad_value(
                "model", "keep its weights in each call",
                f"the embedding {name!r} has a max_norm and rescales them",
                "Rescale its rows once and set its attribute max_norm to None.",
            )  # fmt: skip


def _chosen(
    model: nn.Module, names: Sequence[str] | None, known: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    chosen_names = list(known) if names is None else names
    is_complex = [n for n, p in known.items() if n in chosen_names and p.is_complex()]
    if is_complex and known[is_complex[0]].requires_grad:
        raise bad_value(
            "names",
            "name parameters of real numbers",
            f"{is_complex[0]!r} holds complex ones",
            "Name the others, or hold real and imaginary parts in the model (torch.view_as_real).",
        )
    if names is None:
        chosen: dict[str, Tensor] = {
            n: p for n, p in known.items() if p.requires_grad and p.is_floating_point()
        }
        if not chosen:
            can_move = any(p.is_floating_point() for p in known.values())
            advice = (
                "Call model.requires_grad_() on what the metric is to be of."
                if can_move
                else "Hold weights as nn.Parameter and parts as attributes, nn.ModuleList or "
                "nn.ModuleDict. A network that was quantised has none: take the one before that."
            )
            seen = "all of them are frozen" if can_move else "it has none"
            raise bad_value("model", "have parameters that are trained", seen, advice)
        return chosen
    if isinstance(names, str) or not all(isinstance(n, str) for n in names):
        raise TypeError(f"names must be a list of names of parameters: got {names!r}.")
    if len(names) == 0:
        raise bad_value("names", "name at least one parameter", "there is none")
    for name in names:
        if name not in known:
            raise bad_value("names", *_why_unknown(model, name, known))
        if not known[name].is_floating_point():
            raise bad_value(
                "names", "name parameters of floating-point numbers",
                f"{name!r} holds {known[name].dtype}",
                "What is quantised cannot move: name others.",
            )  # fmt: skip
        if not known[name].requires_grad:
            raise bad_value(
                "names", "be of parameters that are trained",
                f"{name!r} is frozen", "Call requires_grad_() on it.",
            )  # fmt: skip
    return {name: known[name] for name in known if name in set(names)}


def check_kind(name: str, value: Tensor, own: Tensor, check: bool) -> None:
    """Refuse an entry of a network that holds other things than the model's own, or no numbers."""
    if _kind(value) != _kind(own):
        raise bad_value(
            name, f"hold numbers as the model does, in {own.dtype}", f"it holds {value.dtype}",
            "Give quantised weights as the floating-point numbers that they stand for.",
        )  # fmt: skip
    if check and not bool((value.to(own.device).isfinite() | ~own.isfinite()).all()):
        wrong = int((~value.isfinite()).sum())
        seen = f"{wrong} of its {value.numel()} entries are NaN or infinite"
        raise bad_value(name, "hold finite numbers where the model does", seen)


def _kind(tensor: Tensor) -> tuple[bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex()


def _why_unknown(model: nn.Module, name: str, known: Mapping[str, Tensor]) -> tuple[str, str, str]:
    rule = "be names of parameters of the model"
    tied = dict(model.named_parameters(remove_duplicate=False))
    if name in tied:
        first = next(n for n, p in known.items() if p is tied[name])
        return rule, f"{name!r} is tied to {first!r}", f"Name {first!r}: the metric moves both."
    if name in dict(model.named_buffers()):
        return rule, f"{name!r} is a buffer", "Buffers are constants of the metric."
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"They are {', '.join(list(known)[:8])} ..."
    return rule, f"there is no {name!r}", hint


# ---------------------------------------------------------------- on which samples


@dataclass(frozen=True, eq=False)
class Samples:
    """The inputs at which a network is looked at, in parts.

    Parameters
    ----------
    x : torch.Tensor or iterable of batches
        All samples, or what yields them.
    inputs : object
        What goes with a tensor x, or a function of a batch, or None.
    chunk_size : int
        The most samples of a part.
    """

    x: Any
    inputs: Any
    chunk_size: int

    def __post_init__(self) -> None:
        if isinstance(self.x, Tensor):
            if self.x.ndim < 1 or len(self.x) == 0:
                raise bad_value(
                    "x", "hold at least one sample", f"its shape is {tuple(self.x.shape)}"
                )
            check_has_numbers("x", "x", self.x, "Make it on another device.")
            SampleInputs.of(self.inputs, len(self.x))
            return
        check_loader(self.x, "x")
        if self.inputs is not None and not callable(self.inputs):
            raise TypeError(
                "inputs must be a function of a batch where x is a loader: got "
                f"{type(self.inputs).__name__}. For instance operator.itemgetter(1)."
            )

    def parts(self, size: int | None = None) -> Iterator[tuple[Tensor, SampleInputs]]:
        """Yield parts of at most `size` samples with their further inputs."""
        size = self.chunk_size if size is None else size
        for x, inputs in self._batches():
            inputs.check_for(len(x))
            for start in range(0, len(x), size):
                part = slice(start, start + size)
                yield x[part].detach(), inputs.select(part)

    def few(self) -> tuple[Tensor, SampleInputs]:
        """Return the first samples, at most four."""
        return next(self.parts(4))

    def _batches(self) -> Iterator[tuple[Tensor, SampleInputs]]:
        if isinstance(self.x, Tensor):
            yield self.x, SampleInputs.of(self.inputs)
            return
        for _, x, inputs in batches(self.x, range(len(self.x)), self.inputs, "x"):
            yield x, inputs


# ---------------------------------------------------------------- outputs and derivatives


@dataclass(frozen=True, eq=False)
class Reweighted:
    """A module with other weights; it keeps its own."""

    module: Any
    weights: dict[str, Tensor]

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return torch.func.functional_call(self.module, self.weights, arguments, named)


class OfWeights:
    """The outputs of a network at some samples, as a function of its weights.

    Parameters
    ----------
    network : Network
        Its model is a module.
    layout : Layout
        Of the weights that vary.
    fixed : dict of str to torch.Tensor
        Other entries of the model that are not its own.
    """

    def __init__(self, network: Network, layout: Layout, fixed: dict[str, Tensor] | None = None):
        self.network, self.layout, self.fixed = network, layout, fixed or {}

    def at(self, vector: Tensor, x: Tensor, inputs: SampleInputs) -> Tensor:
        """Return the outputs of shape (n, m) at one vector of weights."""
        return self.with_weights(self.layout.typed(vector), x, inputs)

    def with_weights(self, weights: dict[str, Tensor], x: Tensor, inputs: SampleInputs) -> Tensor:
        """Return the outputs of shape (n, m) with weights in the dtypes that the model takes."""
        model = Reweighted(self.network.model, weights | self.fixed)
        return replace(self.network, model=model, inputs=inputs).outputs(x)

    def model_at(self, vector: Tensor) -> "Reweighted":
        """Return the model with one vector of weights."""
        return Reweighted(self.network.model, self.layout.typed(vector) | self.fixed)

    def on(self, x: Tensor, inputs: SampleInputs) -> Callable[[Tensor], Tensor]:
        """Return the outputs at samples as a function of one vector."""
        return functools.partial(self.at, x=x, inputs=inputs)

    def everywhere(self, vector: Tensor, samples: Samples) -> Tensor:
        """Return the outputs at all samples, without a graph."""
        with torch.no_grad():
            return torch.cat([self.at(vector, *part) for part in samples.parts()])

    def verdict(self, vector: Tensor, samples: Samples) -> Verdict:
        """Return how J v may be taken, and what is wrong with the gradients by the weights."""
        x, inputs = samples.few()

        def outputs(vectors: Tensor, rows: Tensor) -> Tensor:
            z = torch.stack([self.at(vector, x, inputs) for vector in vectors])
            if self.network.head.allows_masks:  # a constant added to all logits changes nothing
                z = torch.log_softmax(z, dim=-1)
            return z.flatten(1)

        weights = tuple(self.layout.dtypes.items()), self.network.head.allows_masks
        about = *weights, *kind_of_sample(x, inputs)
        return once(judge, self.network.model, outputs, vector[None], True, about=about)

    def check_samples(self, samples: Samples) -> None:
        """Refuse a network that mixes samples, or is random."""
        check_numbered_samples(self.network.model, *next(samples.parts()))

    def gradients(self, vector: Tensor, seeds: Tensor, x: Tensor, inputs: SampleInputs) -> Tensor:
        """Return the gradients of seeds of shape (n, r, m) times the outputs, shape (n, r, P)."""
        with torch.inference_mode(False), torch.enable_grad():
            rows = _Gradients(self, vector, x, inputs, seeds[:, 0]).combinations(seeds)
        if self.network.check:
            check_gradients(rows)
        return rows

    def rows(self, vector: Tensor, x: Tensor, inputs: SampleInputs) -> MeasuredFactor:
        """Return the factor of each sample: rows of shape (n, r, P)."""
        with torch.inference_mode(False), torch.enable_grad():
            z = self.at(vector, x, inputs).detach()
            measuring = Measuring(_Gradients(self, vector, x, inputs, z))
            rows, log_scales = apply_head(self.network.head, z, measuring)
        if self.network.check:
            check_gradients(rows)
        eps = torch.finfo(z.dtype).eps
        temperature = self.network.temperature
        return MeasuredFactor(rows, log_scales, temperature, measuring.origin(rows), eps)


SEEDS_AT_ONCE = 2**24  # numbers of seeds of rows that are held at once


@dataclass(frozen=True, eq=False)
class _Gradients:
    """The derivatives of the outputs at each sample by the weights, as rows."""

    function: OfWeights
    vector: Tensor
    x: Tensor
    inputs: SampleInputs
    z: Tensor

    def outputs(self, i: Tensor) -> Tensor:
        return self._in_parts(self._one_hot, i)

    def differences(self, i: Tensor, j: Tensor) -> Tensor:
        i, j = torch.broadcast_tensors(i, j)
        return self._in_parts(lambda i, j: self._one_hot(i) - self._one_hot(j), i, j)

    def _in_parts(self, seeds: Callable[..., Tensor], *indices: Tensor) -> Tensor:
        """Return the rows of seeds, of which many classes have too many to hold all of them."""
        size = max(1, SEEDS_AT_ONCE // self.z.numel())
        parts = zip(*(i.split(size, 1) for i in indices), strict=True)
        rows = [self.combinations(seeds(*part)) for part in parts]
        return rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)

    def combinations(self, weights: Tensor) -> Tensor:
        """Return the gradients of sum_j weights_ij z_j, shape (n, r, P)."""
        modules = self.function.network.model.modules()  # type: ignore[attr-defined]
        if not any(isinstance(part, nn.RNNBase) for part in modules):
            try:
                return self._together(weights).to(self.z.dtype).detach()
            except RuntimeError:  # an operation without a batching rule
                pass
        # Of recurrent layers torch takes the samples one after the other, too, but more slowly.
        return self._one_by_one(weights).to(self.z.dtype).detach()

    def _one_hot(self, i: Tensor) -> Tensor:
        return nn.functional.one_hot(i, self.z.shape[1]).to(self.z.dtype)

    def _together(self, weights: Tensor) -> Tensor:
        module, layout = self.function.network.model, self.function.layout
        temperature, dtype = self.function.network.temperature, self.z.dtype
        inputs = self.inputs.rows(len(self.x))

        def of_sample(x: Tensor, positional: Any, named: Any, seeds: Tensor) -> Tensor:
            def outputs(vector: Tensor) -> Tensor:
                model = Reweighted(module, layout.typed(vector) | self.function.fixed)
                alone = [value[None] for value in positional]
                z = model(x[None].clone(), *alone, **{k: v[None] for k, v in named.items()})
                return z[0].to(dtype) / temperature

            pull = torch.func.vjp(outputs, self.vector)[1]
            return torch.func.vmap(lambda seed: pull(seed)[0])(seeds)

        pulled = torch.func.vmap(of_sample)
        with warnings.catch_warnings():  # of torch, where it takes samples one after the other
            warnings.filterwarnings("ignore", ".*batching rule", UserWarning)
            return pulled(self.x, inputs.positional, inputs.named, weights.to(dtype))

    def _one_by_one(self, weights: Tensor) -> Tensor:
        rows = []
        for k, seeds in enumerate(weights):
            one = slice(k, k + 1)
            leaf = self.vector.clone().requires_grad_()
            z = self.function.at(leaf, self.x[one], self.inputs.select(one))
            rows.append(torch.stack([pull_back(z, leaf, seed[None]) for seed in seeds]))
        return torch.stack(rows)


# ---------------------------------------------------------------- the space of all predictions


def mean_head(head: Head, num_samples: int, shards: Shards, num_everywhere: int) -> Head:
    """Return the head of the outputs at all samples together: the mean of squared lengths.

    The outputs are those of the samples of this process, the distance is that of all processes.
    """
    distance = None
    if head.distance is not None:
        distance = functools.partial(_mean_distance, head, num_samples, shards, num_everywhere)
    factor = functools.partial(_mean_factor, head, num_samples)
    return Head(_no_matrix, distance, factor, allows_masks=head.allows_masks)


def _mean_distance(
    head: Head, num_samples: int, shards: Shards, num_everywhere: int, z: Tensor, w: Tensor
) -> Tensor:
    z, w = (y.reshape(len(y) * num_samples, -1) for y in (z, w))
    distances = require_distance(head)(z, w).reshape(-1, num_samples)
    return shards.norm(_array.norm(distances, xp)) / math.sqrt(num_everywhere)


def _mean_factor(
    head: Head, num_samples: int, z: Tensor, derivative: Tangent
) -> tuple[Tensor, Tensor]:
    moves = Tangent(derivative.values.reshape(len(z) * num_samples, -1))
    rows, log_scales = apply_head(head, z.reshape(len(z) * num_samples, -1), moves)
    log_scales = log_scales.reshape(len(z), -1) - 0.5 * math.log(num_samples)
    return rows.reshape(len(z), -1, 1), log_scales


def _no_matrix(z: Tensor) -> Tensor:
    raise TypeError("The factor of the outputs at all samples is taken row by row.")
