"""Squares of the gradients of linear layers, from activations instead of gradients."""

import contextlib
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from infogeo.pullback._network import SampleInputs
from infogeo.pullback._weights import OfWeights


class LinearLayers:
    """The linear layers of a network whose weights are their own.

    The gradient of an output by the weights of y = W h + b is the product of two vectors, that by y
    and h. So squares of gradients, summed over outputs and samples, are a matrix product, and the
    gradients themselves, which are as many as there are weights, are never formed.

    Parameters
    ----------
    function : OfWeights
        The outputs of the network as a function of its weights.
    """

    def __init__(self, function: OfWeights):
        self._function = function
        model = function.network.model
        tied = dict(model.named_parameters(remove_duplicate=False))  # type: ignore[attr-defined]
        uses = Counter(map(id, tied.values()))
        self._layers: dict[str, nn.Linear] = {}
        for prefix, part in model.named_modules():  # type: ignore[attr-defined]
            own = list(part.parameters(recurse=False))
            names = [f"{prefix}.{n}" if prefix else n for n, _ in part.named_parameters()]
            is_own = own and all(uses[id(p)] == 1 for p in own)
            if type(part) is nn.Linear and is_own and set(names) <= set(function.layout.shapes):
                self._layers[prefix] = part
        self.names = {
            f"{prefix}.{n}" if prefix else n
            for prefix, part in self._layers.items()
            for n, _ in part.named_parameters()
        }

    def squares(
        self, vector: Tensor, seeds: Tensor, x: Tensor, inputs: SampleInputs
    ) -> dict[str, Tensor]:
        """Return the sums of squared gradients of seeds (n, r, m) times the outputs, by names."""
        if not self._layers:
            return {}
        with torch.inference_mode(False), torch.enable_grad(), self._recording() as calls:
            leaf = vector.clone().requires_grad_()
            z = self._function.at(leaf, x, inputs)
        found: dict[str, Tensor] = {}
        for seed in seeds.unbind(1):
            outputs = [y for records in calls.values() for _, y in records]
            pulled = torch.autograd.grad(z, outputs, seed, retain_graph=True, allow_unused=True)
            slopes = iter(pulled)
            for prefix, records in calls.items():
                pairs = [(h, slope) for (h, _) in records if (slope := next(slopes)) is not None]
                for name, part in _sums(pairs, self._layers[prefix]).items():
                    key = f"{prefix}.{name}" if prefix else name
                    found[key] = found[key] + part if key in found else part
        return found

    @contextlib.contextmanager
    def _recording(self) -> Iterator[dict[str, list[tuple[Tensor, Tensor]]]]:
        """Record what goes into each layer and comes out of it, at each of its calls."""
        calls: dict[str, list[tuple[Tensor, Tensor]]] = {prefix: [] for prefix in self._layers}

        def hook(prefix: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls[prefix].append((inputs[0].detach(), output))

        handles = [
            part.register_forward_hook(lambda _, h, y, prefix=prefix: hook(prefix, h, y))
            for prefix, part in self._layers.items()
        ]
        try:
            yield calls
        finally:
            for handle in handles:
                handle.remove()


def _sums(pairs: list[tuple[Tensor, Tensor]], layer: nn.Linear) -> dict[str, Tensor]:
    """Return the squares of sum_t slope_t h_t' of each sample, summed over the samples."""
    if not pairs:
        return {}
    h, slopes = (torch.cat([y.flatten(1, -2) if y.ndim > 2 else y[:, None] for y in part], dim=1)
                 for part in zip(*pairs, strict=True))  # fmt: skip
    if h.shape[1] == 1:
        weight = slopes[:, 0].double().square().mT @ h[:, 0].double().square()
    else:
        weight = torch.bmm(slopes.mT, h).square().sum(0, dtype=torch.float64)
    sums = {"weight": weight}
    if layer.bias is not None:
        sums["bias"] = slopes.sum(1).square().sum(0, dtype=torch.float64)
    return sums
