"""Squares of the gradients of linear layers, from activations instead of gradients."""

import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from infogeo.pullback._network import SampleInputs
from infogeo.pullback._referee import num_hooks
from infogeo.pullback._weight_products import weighted_seeds
from infogeo.pullback._weights import OfWeights


class LinearLayers:
    """The linear layers of a network whose weights are their own.

    The gradient of an output by the weights of y = W h + b is the product of two vectors, that by y
    and h. So squares of gradients, summed over outputs and samples, are a matrix product, and the
    gradients themselves, which are as many as there are weights, are never formed.

    That holds where the first axis of h is that of the samples, and where the weights act through
    the layer alone. Whether it is so shows at a few samples, where the squares are compared with
    those of the gradients; a layer that differs is none of these.

    Parameters
    ----------
    function : OfWeights
        The outputs of the network as a function of its weights.
    vector : torch.Tensor, shape (P,)
        The weights.
    x, inputs
        A few samples with their further inputs.
    eps : float
        Of the precision in which the model computes.
    known : dict
        What earlier looks have found, for this one to use and to be added to.
    """

    def __init__(
        self,
        function: OfWeights,
        vector: Tensor,
        x: Tensor,
        inputs: SampleInputs,
        eps: float,
        known: dict[Any, dict[str, nn.Linear]],
    ):
        self._function = function
        model = function.network.model
        tied = dict(model.named_parameters(remove_duplicate=False))  # type: ignore[attr-defined]
        uses = Counter(map(id, tied.values()))
        self._layers: dict[str, nn.Linear] = {}
        for prefix, part in model.named_modules():  # type: ignore[attr-defined]
            own = dict(part.named_parameters(recurse=False))
            is_own = "weight" in own and all(uses[id(p)] == 1 for p in own.values())
            names = {_join(prefix, name) for name in own}
            is_plain = set(own) <= {"weight", "bias"} and names <= set(function.layout.shapes)
            if type(part) is nn.Linear and is_own and is_plain:
                self._layers[prefix] = part
        kind = num_hooks(model), tuple(self._layers.items())
        if kind not in known:
            is_sure = self._keep_right_ones(vector, x, inputs, eps)
            if is_sure:
                known[kind] = self._layers
        self._layers = known.get(kind, self._layers)
        self.names = {
            _join(prefix, name)
            for prefix, part in self._layers.items()
            for name, _ in part.named_parameters()
        }

    def squares(
        self, vector: Tensor, x: Tensor, inputs: SampleInputs, seeds: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return the sums of squared gradients of seeds (n, r, m) times the outputs, by names.

        Seeds are those of the rows of the factor if none are given, and are returned, too.
        """
        with torch.inference_mode(False), torch.enable_grad(), self._recording() as calls:
            leaf = vector.clone().requires_grad_()
            z = self._function.at(leaf, x, inputs)
        if seeds is None:
            seeds = weighted_seeds(self._function.network.head, z.detach())
        for prefix, records in calls.items():
            if any(h.ndim < 2 or len(h) != len(x) for h, _ in records):
                calls[prefix] = []  # the first axis is not that of the samples
        flat = {
            prefix: torch.zeros_like(records[0][1], dtype=torch.float64).flatten(1)
            for prefix, records in calls.items()
            if len(records) == 1 and records[0][0].numel() == len(x) * records[0][0].shape[-1]
        }
        found: dict[str, Tensor] = {}
        outputs = [y for records in calls.values() for _, y in records]
        for seed in seeds.unbind(1) if outputs else ():
            pulled = torch.autograd.grad(z, outputs, seed, retain_graph=True, allow_unused=True)
            slopes = iter(pulled)
            for prefix, records in calls.items():
                pairs = [(h, slope) for (h, _) in records if (slope := next(slopes)) is not None]
                if prefix in flat and pairs:
                    flat[prefix] += pairs[0][1].double().square().flatten(1)
                    continue
                for name, part in _sums(pairs, self._layers[prefix]).items():
                    key = _join(prefix, name)
                    found[key] = found[key] + part if key in found else part
        for prefix, squares in flat.items():  # of one place for each sample: one matrix product
            h = calls[prefix][0][0].double().flatten(1)
            found[_join(prefix, "weight")] = squares.mT @ h.square()
            if self._layers[prefix].bias is not None:
                found[_join(prefix, "bias")] = squares.sum(0)
        return found, seeds

    def _keep_right_ones(self, vector: Tensor, x: Tensor, inputs: SampleInputs, eps: float) -> bool:
        """Leave out layers whose squares are not those of gradients, along random outputs.

        Returns whether all that is left has been seen at work: gradients that are all 0 say
        nothing of how the weights are used once they are others.
        """
        if not self._layers:
            return True
        z = self._function.at(vector, x, inputs).detach()
        generator = torch.Generator().manual_seed(0)
        seeds = torch.randn(z.shape, generator=generator).to(z)
        seeds = torch.where(torch.isfinite(z), seeds, 0.0)[:, None]
        found, _ = self.squares(vector, x, inputs, seeds)
        rows = self._function.gradients(vector, seeds, x, inputs)
        exact = self._function.layout.unflatten(rows.square().sum((0, 1), dtype=torch.float64))
        is_sure = True
        for prefix, part in list(self._layers.items()):
            for name in (_join(prefix, n) for n, _ in part.named_parameters()):
                error, size = (found.get(name, 0.0) - exact[name]).abs().amax(), exact[name].amax()
                if not error <= math.sqrt(eps) * size:
                    self._layers.pop(prefix, None)
                is_sure = is_sure and bool(size > 0.0)
        return is_sure

    @contextlib.contextmanager
    def _recording(self) -> Iterator[dict[str, list[tuple[Tensor, Tensor]]]]:
        """Record what goes into each layer and comes out of it, at each of its calls."""
        calls: dict[str, list[tuple[Tensor, Tensor]]] = {prefix: [] for prefix in self._layers}

        def hook(
            prefix: str, inputs: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor
        ) -> Tensor:
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


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _sums(pairs: list[tuple[Tensor, Tensor]], layer: nn.Linear) -> dict[str, Tensor]:
    """Return the squares of sum_t slope_t h_t' of each sample, summed over the samples."""
    if not pairs:
        return {}
    h, slopes = (torch.cat([y.flatten(1, -2) if y.ndim > 2 else y[:, None] for y in part], dim=1)
                 for part in zip(*pairs, strict=True))  # fmt: skip
    sums = {"weight": torch.bmm(slopes.mT, h).square().sum(0, dtype=torch.float64)}
    if layer.bias is not None:
        sums["bias"] = slopes.sum(1).square().sum(0, dtype=torch.float64)
    return sums
