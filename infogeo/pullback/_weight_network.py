"""The parts of a metric on weights: the network, its samples, its products and its factor."""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from infogeo._array import bad_value
from infogeo._status import SolveError
from infogeo.pullback._derivatives import NotDifferentiableError
from infogeo.pullback._graph import read_graph
from infogeo.pullback._linear_layers import LinearLayers
from infogeo.pullback._network import Inputs, Network, SampleInputs, call_model
from infogeo.pullback._operator import largest, right_vectors
from infogeo.pullback._shards import Shards
from infogeo.pullback._spectrum import MeasuredFactor, folded, joined
from infogeo.pullback._weight_products import (
    ProductsInHand,
    Transposed,
    WeightProducts,
    cotangents,
    moves_along,
    pulled_back,
    weighted_seeds,
)
from infogeo.pullback._weights import (
    Layout,
    OfWeights,
    Samples,
    check_kind,
    chosen_parameters,
)
from infogeo.pullback.heads import Head
from infogeo.pullback.metric import Spectrum
from infogeo.pullback.strategies import Operator

Vector = Tensor | Mapping[str, Tensor]
Weights = nn.Module | Mapping[str, Tensor]

_EXACT_ROWS, _EXACT_NUMBERS = 4096, 2**27  # of a factor that is decomposed as a whole
_ROWS_AT_ONCE = 2**25  # numbers of rows that are held at once
_WEIGHTS_PER_FOLD = 4  # as many rows for each weight are folded into one
_MOST_BLOCKS = 600  # times rows of a sample: about 100 products with the metric


@dataclass(frozen=True, eq=False)
class WeightNetwork:
    """A network, its samples and its head, as a metric on weights is given them."""

    model: nn.Module
    x: Any
    head: Head
    names: Sequence[str] | None
    inputs: Any
    temperature: float
    chunk_size: int
    group: Any
    check: bool

    @cached_property
    def layout(self) -> Layout:
        """Where the entries of the parameters stand in a vector."""
        return Layout.of(chosen_parameters(self.model, self.names))

    @cached_property
    def samples(self) -> Samples:
        """The samples that the metric is the mean over."""
        return Samples(self.x, self.inputs, self.chunk_size)

    @cached_property
    def shards(self) -> Shards:
        """The processes that have the other samples."""
        return Shards(self.group)

    @property
    def vector(self) -> Tensor:
        """The weights that the model has now: it may have been trained since the last call."""
        return self.layout.flatten(dict(self.model.named_parameters()))

    @cached_property
    def network(self) -> Network:
        """The model as all results see it."""
        none = SampleInputs.of(None)
        return Network(self.model, self.head, self.temperature, none, None, None, self.check)

    @cached_property
    def function(self) -> OfWeights:
        """The outputs as a function of the weights."""
        return OfWeights(self.network, self.layout)

    @cached_property
    def push(self) -> object:
        """The way to J v that agrees with gradients; models and gradients that are wrong raise."""
        self.check_outputs()
        try:
            verdict = self.function.verdict(self.vector, self.samples)
        except NotDifferentiableError:
            self._refuse_what_is_not_used()
            raise
        if self.check and verdict.complaint:
            raise bad_value("model", *verdict.complaint)
        return verdict.push

    def _refuse_what_is_not_used(self) -> None:
        """Refuse parameters that the outputs do not depend on, where they depend on others."""
        known = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        x, inputs = self.samples.few()
        with torch.inference_mode(False), torch.enable_grad():
            z = call_model(self.model, x, inputs)
            if not z.requires_grad:
                return
            slopes = torch.autograd.grad(z.sum(), list(known.values()), allow_unused=True)
        used = [n for n, slope in zip(known, slopes, strict=True) if slope is not None]
        if used:
            raise bad_value(
                "names", "name parameters that the outputs depend on",
                f"they do not depend on {next(iter(self.layout.shapes))!r}",
                f"They depend on {', '.join(used[:8])}{' and others' if len(used) > 8 else ''}.",
            )  # fmt: skip

    @cached_property
    def eps(self) -> float:
        """The epsilon of the precision in which the model computes."""
        with torch.inference_mode(False), torch.enable_grad():
            leaf = self.vector.clone().requires_grad_()
            return read_graph(self.function.at(leaf, *self.samples.few()), leaf).eps

    @property
    def at(self) -> tuple[OfWeights, object, Tensor]:
        """What derivatives are taken of, how, and where."""
        return self.function, self.push, self.vector

    @property
    def products(self) -> WeightProducts:
        """The factor as an operator, with the weights that the model has now."""
        return WeightProducts(*self.at, self.samples, self.shards)

    @cached_property
    def _counts(self) -> tuple[int, int, int]:
        outputs_alone = self.function, None, self.vector
        products = WeightProducts(*outputs_alone, self.samples, self.shards)
        return products.num_rows, products.num_samples, products.num_here

    @property
    def num_rows(self) -> int:
        """How many rows the factor of all samples has."""
        return self._counts[0]

    @property
    def num_samples(self) -> int:
        """How many samples there are."""
        return self._counts[1]

    @property
    def num_here(self) -> int:
        """How many of them this process has."""
        return self._counts[2]

    @property
    def is_small(self) -> bool:
        """Whether all rows of the factor may be held."""
        numbers = self.num_rows * len(self.vector)
        return self.num_rows <= _EXACT_ROWS and numbers <= _EXACT_NUMBERS

    @property
    def has_few_pairs(self) -> bool:
        """Whether the products of all pairs of rows cost less than eigenvectors by Lanczos."""
        per_sample = self.num_rows // self.num_samples
        blocks = -(-self.num_samples // self._samples_at_once)
        can_pair = self.group is None and self.num_rows <= min(_EXACT_ROWS, len(self.vector))
        is_cheap = per_sample * (blocks + 1) <= _MOST_BLOCKS
        return can_pair and is_cheap and per_sample * len(self.vector) <= _EXACT_NUMBERS

    @property
    def _samples_at_once(self) -> int:
        per_sample = max(1, self.num_rows // self.num_samples) * len(self.vector)
        return max(1, min(self.chunk_size, _ROWS_AT_ONCE // per_sample))

    def as_given(self, vector: Tensor, is_named: bool) -> Vector:
        """Return a vector in the form that the user gave another one in."""
        return self.layout.unflatten(vector) if is_named else vector

    def moves(self, name: str, v: Vector) -> Iterable[tuple[Tensor, Tensor]]:
        """Yield A(z) J v of shape (n, r), and z, part by part."""
        vector, _ = self.layout.vector(name, v, self.check)
        for x, inputs in self.samples.parts():
            z, moved, log_scales = moves_along(*self.at, vector, x, inputs)
            yield log_scales.exp() * moved, z

    def product(self, v: Tensor) -> Tensor:
        """Return G v."""
        total, count = torch.zeros_like(self.vector), 0
        for x, inputs in self.samples.parts():
            z, moved, log_scales = moves_along(*self.at, v, x, inputs)
            weights = (2.0 * log_scales).exp() * moved
            seeds = [cotangents(self.function, z.detach(), weights)]
            total += pulled_back(self.function, self.vector, seeds, x, inputs)[0]
            count += len(x)
        return self.shards.mean(total, count)

    def pushed(self, v: Tensor, x: Tensor, inputs: SampleInputs) -> tuple[Tensor, Tensor]:
        """Return z and J v at some samples."""
        return self.pushed_along(self.function.on(x, inputs), self.vector, v)

    def pushed_along(
        self, outputs: Callable[[Tensor], Tensor], at: Tensor, v: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return z and its derivative along a vector, of outputs by weights or by inputs."""
        push = self.push
        if push is None:
            raise RuntimeError(
                "The joint metric needs forward-mode derivatives of the model, or second ones, and "
                "there are none."
            )
        with torch.inference_mode(False), torch.enable_grad():
            leaf = at.clone().requires_grad_()
            return push(outputs, leaf, v.to(leaf.dtype).clone())  # type: ignore[operator]

    def factors(self) -> Iterable[MeasuredFactor]:
        """Yield the factors of parts of the samples, shape (n, r, P)."""
        self.examine()
        for x, inputs in self.samples.parts(self._samples_at_once):
            yield self.function.rows(self.vector, x, inputs)

    def diagonal(self) -> Tensor:
        """Return the diagonal of the metric: of linear layers without their rows."""
        self.examine()
        num_rows = max(1, self.num_rows // self.num_samples)
        if self.push is not None and len(self.vector) < num_rows:
            return self._diagonal_by_columns()
        cheap = LinearLayers(self.function, self.eps)
        total = {n: torch.zeros(s, dtype=torch.float64) for n, s in self.layout.shapes.items()}
        for x, inputs in self.samples.parts():
            found, z = cheap.squares(self.vector, x, inputs)
            others = {n: s for n, s in self.layout.shapes.items() if n not in found}
            if others:
                found |= self._squares_of_rows(others, x, inputs, z)
            for name, part in found.items():
                total[name] = total[name].to(part.device) + part
        return self.shards.sum(self.layout.flatten(total)) / self.num_samples

    def _squares_of_rows(
        self, shapes: dict[str, torch.Size], x: Tensor, inputs: SampleInputs, z: Tensor
    ) -> dict[str, Tensor]:
        """Return sums of squares over the rows of the factor, by the weights of some shapes."""
        rest = OfWeights(self.network, replace(self.layout, shapes=shapes))
        vector = rest.layout.flatten(self.layout.unflatten(self.vector))
        at_once = max(1, _ROWS_AT_ONCE // len(vector))  # rows
        size = max(1, at_once // z.shape[1])
        total = torch.zeros_like(vector, dtype=torch.float64)
        for start in range(0, len(x), size):
            part = slice(start, start + size)
            for some in weighted_seeds(self.head, z[part], at_once):
                rows = rest.gradients(vector, some, x[part], inputs.select(part))
                total += rows.square().sum((0, 1), dtype=torch.float64)
        return rest.layout.unflatten(total)

    def _diagonal_by_columns(self) -> Tensor:
        """Return the diagonal as the squared lengths of unit vectors."""
        units = (torch.eye(1, len(self.vector))[0].roll(k) for k in range(len(self.vector)))
        lengths = [
            sum((row.double().square().sum() for row, _ in self.moves("v", unit)), torch.zeros(()))
            for unit in units
        ]
        return (self.shards.sum(torch.stack(lengths)) / self.num_samples).to(self.vector)

    def whole_factor(self) -> MeasuredFactor:
        """Return a factor of the metric itself, shape (1, k, P): all rows, or few for many.

        Of many rows and few weights no more is held than some rows for each weight.
        """
        is_folded = not self.is_small
        if is_folded and len(self.vector) > _EXACT_ROWS:
            raise bad_value(
                "x",
                f"make at most {_EXACT_ROWS} rows, of at most {_EXACT_NUMBERS} numbers, where all "
                f"eigenvalues of more than {_EXACT_ROWS} weights are asked for",
                f"{self.num_samples} samples make {self.num_rows} rows of {len(self.vector)}",
                "Take fewer samples or parameters, spectrum(num_values=...) or spectral_density().",
            )
        parts: list[MeasuredFactor] = []
        for part in self.factors():
            parts.append(part)
            num_rows = sum(p.log_scales.numel() for p in parts)
            if is_folded and num_rows > _WEIGHTS_PER_FOLD * len(self.vector):
                parts = [folded(joined(parts))]
        own = joined(parts)
        gathered = {
            name: self.shards.rows(getattr(own, name)[0])[None]
            for name in ("rows", "log_scales", "origin")
        }
        factor = replace(own, **gathered)
        factor = folded(factor) if is_folded else factor
        return replace(factor, log_scales=factor.log_scales - 0.5 * math.log(self.num_samples))

    def pairs_of_rows(self) -> Tensor:
        """Return the products of all pairs of rows of the factor, shape (N r, N r), in float64.

        The rows come in blocks, of which two are held at once.
        """
        blocks = []
        for k, factor in enumerate(self.factors()):
            rows = _weighted(factor)
            others = itertools.islice(self.factors(), k)
            blocks.append([(rows @ _weighted(other).mT).double() for other in others])
            blocks[-1].append((rows @ rows.mT).double())
        full = [
            torch.cat([*row, *(blocks[j][i].mT for j in range(i + 1, len(blocks)))], dim=1)
            for i, row in enumerate(blocks)
        ]
        return torch.cat(full) / self.num_samples

    def scaled_rows(self, x: Tensor, inputs: Inputs) -> Tensor:
        """Return the factor at inputs with its weights, shape (n, r, P)."""
        if not isinstance(x, Tensor):
            raise TypeError(f"x must be a tensor of inputs: got {type(x).__name__}.")
        self.examine()
        samples = Samples(x, inputs, self.chunk_size)
        factors = [self.function.rows(self.vector, *part) for part in samples.parts()]
        return torch.cat([_weighted(f).reshape(f.rows.shape) for f in factors])

    def losses_of(self, losses: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
        """Return the losses of outputs, one of each sample; refuse others."""
        found = losses(z)
        if not isinstance(found, Tensor) or found.shape != z.shape[:1]:
            raise bad_value(
                "losses", f"return one number for each of {len(z)} samples",
                f"its shape is {tuple(getattr(found, 'shape', ()))}",
                'Losses of torch do with reduction="none".',
            )  # fmt: skip
        if not found.is_floating_point():
            seen = f"their dtype is {found.dtype}"
            raise bad_value("losses", "return negative log-likelihoods", seen)
        if self.check and bool(found.isnan().any()):
            seen = f"{int(found.isnan().sum())} of {len(z)} are NaN"
            raise bad_value("losses", "return numbers", seen)
        return found

    def scores(self, losses: Callable[[Tensor], Tensor]) -> Iterable[Tensor]:
        """Yield the gradients of the losses of the samples by the weights, shape (n, P)."""
        self.examine()
        leaf = self.function.everywhere(self.vector, self.samples).requires_grad_()
        with torch.inference_mode(False), torch.enable_grad():
            found = self.losses_of(losses, leaf)
            if not found.requires_grad:
                raise bad_value(
                    "losses", "return a function of the outputs that autograd can follow",
                    "it has no gradient", "Compute it from its argument, with torch.",
                )  # fmt: skip
            slopes = torch.autograd.grad(found.sum(), leaf)[0]
        start = 0
        size = max(1, min(self.chunk_size, _ROWS_AT_ONCE // len(self.vector)))
        for x, inputs in self.samples.parts(size):
            seeds = slopes[start : start + len(x), None]
            start += len(x)
            yield self.function.gradients(self.vector, seeds, x, inputs)[:, 0]

    def spectrum_by_products(self, num_values: int) -> Spectrum:
        """Return the largest eigenvalues by block Lanczos."""
        products: Any = self.products
        sides, operator = products, Operator()
        is_shared = self.group is not None  # no process has whole vectors of rows
        is_wide = not self.is_small and (is_shared or products.num_columns < products.num_rows)
        if self.is_small:
            products = sides = ProductsInHand(self.whole_factor())
        elif is_wide:
            sides = Transposed(products)
        ritz = largest(sides, num_values, operator)
        vectors = ritz.vectors.to(products.dtype) if is_wide else right_vectors(sides, ritz.vectors)
        scale = (2.0 * products.log_scale).exp()
        values, errors = ((scale * y[0]).to(products.dtype) for y in (ritz.values, ritz.errors))
        spectrum = Spectrum(values, vectors[0], self.temperature, errors)
        if ritz.is_converged:
            return spectrum
        raise SolveError(
            f"The {num_values} largest eigenvalues did not converge in {ritz.steps} steps: the "
            f"largest error relative to the value is {ritz.relative_error:.1e}. error.result holds "
            "what was found.",
            spectrum,
        )

    def random_signs(self, count: int, generator: torch.Generator | None) -> Tensor:
        """Return random vectors of entries 1 and -1."""
        device = self.layout.device if generator is None else generator.device
        shape = count, len(self.vector)
        signs = torch.randint(2, shape, generator=generator, device=device)
        return self.shards.first((2.0 * signs - 1.0).to(self.layout.device, self.layout.dtype))

    def state(self, name: str, weights: Weights) -> dict[str, Tensor]:
        """Return all entries of the model with those that are given in their places."""
        given = weights.state_dict() if isinstance(weights, nn.Module) else weights
        if not isinstance(given, Mapping):
            raise TypeError(
                f"{name} must be a module or a mapping of names to tensors: got "
                f"{type(weights).__name__}."
            )
        own = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        tied = dict(self.model.named_parameters(remove_duplicate=False))
        for key, value in given.items():
            if key not in own and key not in tied:
                raise bad_value(
                    name, "hold weights of this model", f"it has no {key!r}",
                    "Leave out prefixes such as module.; strip what wraps the state dict.",
                )  # fmt: skip
            there = own[key] if key in own else tied[key]
            if not isinstance(value, Tensor) or value.shape != there.shape:
                seen = f"its shape is {tuple(getattr(value, 'shape', ()))}"
                raise bad_value(f"{name}[{key!r}]", f"have shape {tuple(there.shape)}", seen)
            check_kind(f"{name}[{key!r}]", value, there, self.check)
        given = _by_first_names(name, given, tied)
        return {k: given.get(k, v).detach().to(v.device, v.dtype) for k, v in own.items()}

    def function_of(self, state: dict[str, Tensor]) -> Callable[[Tensor, SampleInputs], Tensor]:
        """Return the outputs with all entries of another network, as a function of samples."""
        function = OfWeights(self.network, Layout.of(_floating(state)), _others(state))
        return functools.partial(function.at, function.layout.flatten(state))

    def predictions(self, name: str, weights: Weights) -> Tensor:
        """Return the outputs at all samples with other weights."""
        outputs = self.function_of(self.state(name, weights))
        with torch.no_grad():
            return torch.cat([outputs(*part) for part in self.samples.parts()])

    def line(self, w0: Weights, w1: Weights) -> tuple[OfWeights, Tensor, Tensor]:
        """Return the outputs by all entries that can move, and these at two networks."""
        ends = [self.state(name, w) for name, w in (("w0", w0), ("w1", w1))]
        function = OfWeights(self.network, Layout.of(_floating(ends[0])), _others(ends[0]))
        first, last = (function.layout.flatten(end) for end in ends)
        return function, first, last

    def check_parts(self) -> None:
        """Refuse parameters and samples that cannot be used."""
        self.layout, self.samples, self.shards  # noqa: B018

    def check_outputs(self) -> None:
        """Refuse models that mix samples or are random; outputs alone need no gradients."""
        if self.check:
            self.function.check_samples(self.samples)

    def examine(self) -> None:
        """Refuse models and gradients that are wrong, once."""
        self.push  # noqa: B018


def _weighted(factor: MeasuredFactor) -> Tensor:
    """Return the rows of a factor with their weights, shape (n r, P)."""
    return (factor.rows * factor.log_scales.exp()[..., None]).flatten(0, 1)


def _by_first_names(
    name: str, given: Mapping[str, Tensor], tied: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Return weights by the first names of tied ones; a file may have another of their names."""
    first: dict[Tensor, str] = {}
    found: dict[str, Tensor] = {}
    for key, value in given.items():
        one = key
        if key in tied:
            one = first.setdefault(tied[key], next(n for n, p in tied.items() if p is tied[key]))
        if one in found and not torch.equal(found[one], value.to(found[one])):
            raise bad_value(
                name, f"hold one value of weights that the model ties, as {one!r} and {key!r}",
                "they differ", "Untie them in the model, too, if they were trained apart.",
            )  # fmt: skip
        found[one] = value
    return found


def _floating(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if value.is_floating_point()}


def _others(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not value.is_floating_point()}
