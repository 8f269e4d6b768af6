"""Squares of the gradients of linear layers, from activations instead of gradients."""

import contextlib
import math
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from infogeo.pullback._graph import count_uses
from infogeo.pullback._network import SampleInputs
from infogeo.pullback._referee import is_as_written
from infogeo.pullback._weight_products import weighted_seeds
from infogeo.pullback._weights import OfWeights


class LinearLayers:
    """The linear layers of a network whose weights are their own.

    The gradient of an output by the weights of y = W h + b is the product of two vectors, that by y
    and h. So squares of gradients, summed over outputs and samples, are a matrix product, and the
    gradients themselves, which are as many as there are weights, are never formed.

    That holds where each row of h belongs to the sample of its number, and where the weights act
    through calls of the layer alone. A network may decide that anew for each batch, as a mixture
    of experts does, so that it is verified at all samples.

    Parameters
    ----------
    function : OfWeights
        The outputs of the network as a function of its weights.
    eps : float
        Of the precision in which the model computes.
    """

    def __init__(self, function: OfWeights, eps: float):
        self._function, self._eps = function, eps
        model = function.network.model
        tied = dict(model.named_parameters(remove_duplicate=False))  # type: ignore[attr-defined]
        uses = Counter(map(id, tied.values()))
        self._layers: dict[str, nn.Linear] = {}
        for prefix, part in model.named_modules():  # type: ignore[attr-defined]
            own = dict(part.named_parameters(recurse=False))
            is_own = "weight" in own and all(uses[id(p)] == 1 for p in own.values())
            names = {_join(prefix, name) for name in own}
            is_plain = set(own) <= {"weight", "bias"} and names <= set(function.layout.shapes)
            if type(part) is nn.Linear and is_own and is_plain and is_as_written(part):
                self._layers[prefix] = part

    def squares(
        self, vector: Tensor, x: Tensor, inputs: SampleInputs
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return sums of squares over the rows of the factor at some samples, and z.

        The sums are those of the weights of layers where they are right; others have none.
        """
        with torch.inference_mode(False), torch.enable_grad(), self._recording() as calls:
            typed = self._function.layout.typed(vector)
            weights = {name: w.detach().clone().requires_grad_() for name, w in typed.items()}
            z = self._function.with_weights(weights, x, inputs)
        uses = count_uses(z)
        used = {name: uses.get(weight, 0) for name, weight in weights.items()}
        found: dict[str, dict[str, Tensor]] = {}
        for prefix, part in self._layers.items():
            names = [_join(prefix, name) for name, _ in part.named_parameters()]
            records = calls[prefix]
            has_rows = all(h.ndim > 1 and len(h) == len(x) for h, _ in records)
            if has_rows and all(used[name] <= len(records) for name in names):
                found[prefix] = {
                    n: torch.zeros_like(weights[n], dtype=torch.float64) for n in names
                }
        self._add(found, {prefix: calls[prefix] for prefix in found}, z)
        return {name: part for parts in found.values() for name, part in parts.items()}, z.detach()

    def _add(
        self,
        found: dict[str, dict[str, Tensor]],
        calls: dict[str, list[tuple[Tensor, Tensor]]],
        z: Tensor,
    ) -> None:
        """Add squares to those found, and leave out layers whose rows are of other samples."""
        flat = {
            prefix: torch.zeros_like(records[0][1], dtype=torch.float64).flatten(1)
            for prefix, records in calls.items()
            if len(records) == 1 and records[0][0].ndim == 2
        }
        outputs = [y for records in calls.values() for _, y in records]
        generator = torch.Generator().manual_seed(0)
        mixed, sum_of_seeds = [torch.zeros_like(y) for y in outputs], torch.zeros_like(z)
        for seed in self._seeds(z) if outputs else ():
            pulled = _pulled(z, outputs, seed)
            factor = torch.randn((), generator=generator).to(z)
            sum_of_seeds += factor * seed
            for total, slope in zip(mixed, pulled, strict=True):
                total += factor.to(slope.dtype) * slope
            slopes = iter(pulled)
            for prefix, records in calls.items():
                pairs = [(h, next(slopes)) for h, _ in records]
                if prefix in flat:
                    flat[prefix] += pairs[0][1].double().square()
                    continue
                for name, part in _sums(pairs, self._layers[prefix]).items():
                    found[prefix][_join(prefix, name)] += part
        for prefix, squares in flat.items():  # of one place for each sample: one matrix product
            h = calls[prefix][0][0].double()
            found[prefix][_join(prefix, "weight")] += squares.mT @ h.square()
            if self._layers[prefix].bias is not None:
                found[prefix][_join(prefix, "bias")] += squares.sum(0)
        if not outputs:
            return
        # Rows of the samples of their numbers are as many times as large as the seeds there.
        times = torch.randn(len(z), generator=generator).to(z)
        again = _pulled(z, outputs, times[:, None] * sum_of_seeds)
        pairs_of_all = iter(zip(mixed, again, strict=True))
        for prefix, records in calls.items():
            for total, slope in [next(pairs_of_all) for _ in records]:
                expected = times.to(total.dtype).reshape(-1, *(1,) * (total.ndim - 1)) * total
                error, size = (slope - expected).abs().amax(), expected.abs().amax()
                if not error <= math.sqrt(self._eps) * size:
                    found.pop(prefix, None)

    def _seeds(self, z: Tensor) -> Iterator[Tensor]:
        """Yield the rows of A(z), shape (n, m)."""
        for part in weighted_seeds(self._function.network.head, z.detach(), z.shape[1]):
            yield from part.unbind(1)

    @contextlib.contextmanager
    def _recording(self) -> Iterator[dict[str, list[tuple[Tensor, Tensor]]]]:
        """Record what goes into each layer and comes out of it, at each of its calls."""
        calls: dict[str, list[tuple[Tensor, Tensor]]] = {prefix: [] for prefix in self._layers}

        def hook(
            prefix: str, inputs: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor
        ) -> Tensor:
            if not output.requires_grad:  # under torch.no_grad
                return output
            calls[prefix].append(((inputs[0] if inputs else named["input"]).detach(), output))
            return output.clone()  # what changes it in place leaves the record as it is

        handles = [
            part.register_forward_hook(
                lambda _, h, named, y, prefix=prefix: hook(prefix, h, named, y), with_kwargs=True
            )
            for prefix, part in self._layers.items()
        ]
        try:
            yield calls
        finally:
            for handle in handles:
                handle.remove()


def _pulled(z: Tensor, outputs: list[Tensor], seed: Tensor) -> list[Tensor]:
    """Return the gradients of a seed times z by outputs of layers."""
    found = torch.autograd.grad(z, outputs, seed, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(y) if g is None else g for y, g in zip(outputs, found, strict=True)]


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _sums(pairs: list[tuple[Tensor, Tensor]], layer: nn.Linear) -> dict[str, Tensor]:
    """Return the squares of sum_t slope_t h_t' of each sample, summed over the samples."""
    if not pairs:
        return {}
    h, slopes = (torch.cat([y.flatten(1, -2) if y.ndim > 2 else y[:, None] for y in part], dim=1)
                 for part in zip(*pairs, strict=True))  # fmt: skip
    # Under autocast slopes are coarser than h, which the layer itself rounds.
    dtype = torch.promote_types(torch.promote_types(h.dtype, slopes.dtype), torch.float32)
    h, slopes = h.to(dtype), slopes.to(dtype)
    sums = {"weight": torch.bmm(slopes.mT, h).square().sum(0, dtype=torch.float64)}
    if layer.bias is not None:
        sums["bias"] = slopes.sum(1).square().sum(0, dtype=torch.float64)
    return sums
