"""Products of the metric on the weights with vectors, and the eigenvalues that they show."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from infogeo.pullback._derivatives import Outputs, Tangent, apply_head, pull_back
from infogeo.pullback._network import SampleInputs
from infogeo.pullback._shards import Shards
from infogeo.pullback._spectrum import MeasuredFactor
from infogeo.pullback._weights import SEEDS_AT_ONCE, OfWeights, Samples
from infogeo.pullback.heads import Head


def moves_along(
    function: OfWeights, push: object, vector: Tensor, v: Tensor, x: Tensor, inputs: SampleInputs
) -> tuple[Tensor, Tensor, Tensor]:
    """Return z, and A(z) J v as entries and log_scales of shape (n, r), at some samples."""
    if push is None:  # neither forward-mode derivatives nor second ones
        factor = function.rows(vector, x, inputs)
        z = function.at(vector, x, inputs).detach()
        return z, factor.rows @ v.to(factor.rows.dtype), factor.log_scales
    with torch.inference_mode(False), torch.enable_grad():
        leaf = vector.clone().requires_grad_()
        z, moved = push(function.on(x, inputs), leaf, v.to(leaf.dtype).clone())  # type: ignore[operator]
    rows, log_scales = apply_head(function.network.head, z, Tangent(moved))
    return z, rows[..., 0], log_scales


def cotangents(function: OfWeights, z: Tensor, weights: Tensor) -> Tensor:
    """Return A(z)' diag(exp(log_scales)) w as the derivative of what it is multiplied with."""
    with torch.inference_mode(False), torch.enable_grad():
        z, weights = z.clone(), weights.clone()  # autograd takes none that inference mode has made
        moved = torch.zeros_like(z, requires_grad=True)
        rows, _ = apply_head(function.network.head, z, Tangent(moved))
        return torch.autograd.grad((weights * rows[..., 0]).sum(), moved)[0]


def weighted_seeds(head: Head, z: Tensor, size: int) -> Iterator[Tensor]:
    """Yield at most `size` rows of A(z), shape (n, k, m): pulled back they are the factor's.

    Of few classes A(z) is formed at once. Else parts of it come from products with unit vectors.
    """
    size = max(1, min(size, SEEDS_AT_ONCE // z.numel()))
    if z.shape[1] <= size:
        rows, log_scales = apply_head(head, z, Outputs(z))
        yield from (rows * log_scales.exp()[..., None]).split(size, 1)
        return
    with torch.inference_mode(False), torch.enable_grad():
        moved = torch.zeros_like(z, requires_grad=True)
        rows, log_scales = apply_head(head, z.clone(), Tangent(moved))
        images = rows[..., 0] * log_scales.exp()
        for places in torch.arange(images.shape[1], device=z.device).split(size):
            units = nn.functional.one_hot(places, images.shape[1]).to(images.dtype)
            units = units[:, None].expand(-1, len(z), -1)
            (seeds,) = torch.autograd.grad(
                images, moved, units, retain_graph=True, is_grads_batched=True
            )
            yield seeds.transpose(0, 1).detach()


def pulled_back(
    function: OfWeights, vector: Tensor, seeds: list[Tensor], x: Tensor, inputs: SampleInputs
) -> Tensor:
    """Return J' seeds for each of several seeds of shape (n, m), from one forward pass."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = vector.clone().requires_grad_()
        z = function.at(leaf, x, inputs)
        return torch.stack([pull_back(z, leaf, seed) for seed in seeds])


@dataclass(eq=False)
class WeightProducts:
    """Products of the scaled factor S of all samples, shape (1, N r, P), as `largest` asks for.

    Parameters
    ----------
    function : OfWeights
        The outputs as a function of the weights.
    push : callable or None
        How J v is taken.
    vector : torch.Tensor, shape (P,)
        The weights.
    samples : Samples
        Where the outputs are taken.
    shards : Shards
        Who has other samples; vectors of rows are those of this process.
    """

    function: OfWeights
    push: object
    vector: Tensor
    samples: Samples
    shards: Shards

    def __post_init__(self) -> None:
        tops, self.num_here, num_rows = [], 0, 0
        for x, inputs in self.samples.parts():
            z = self.function.at(self.vector, x, inputs).detach()
            head = self.function.network.head
            rows, log_scales = apply_head(head, z, Tangent(torch.zeros_like(z)))
            tops.append(log_scales.double().amax())
            self.num_here += len(z)
            num_rows += rows.shape[0] * rows.shape[1]
        counts = self.shards.sum(torch.tensor([self.num_here, num_rows], device=z.device))
        self.num_samples, self.num_rows = counts.tolist()
        self.dtype, self.eps = z.dtype, torch.finfo(z.dtype).eps
        top = self.shards.largest(torch.stack(tops).amax())
        self._top = torch.where(torch.isfinite(top), top, 0.0)
        self.log_scale = (self._top - 0.5 * math.log(self.num_samples))[None]
        self.num_columns = len(self.vector)

    def __call__(self, v: Tensor) -> Tensor:
        """Return S v, shape (1, k, N r), for v of shape (1, k, P)."""
        images = []
        for x, inputs in self.samples.parts():
            found = [moves_along(*self._at, y, x, inputs) for y in v[0].to(self.vector.dtype)]
            images.append(torch.stack([self._weights(s) * rows for _, rows, s in found]).flatten(1))
        return torch.cat(images, dim=1)[None]

    def transposed(self, w: Tensor) -> Tensor:
        """Return S'w, shape (1, k, P), for w of shape (1, k, N r)."""
        total, start = None, 0
        for x, inputs in self.samples.parts():
            z = self.function.at(self.vector, x, inputs).detach()
            head = self.function.network.head
            _, log_scales = apply_head(head, z, Tangent(torch.zeros_like(z)))
            weights, stop = self._weights(log_scales), start + log_scales.numel()
            seeds = [
                cotangents(self.function, z, weights * y.reshape(weights.shape))
                for y in w[0, :, start:stop].to(z.dtype)
            ]
            part = pulled_back(self.function, self.vector, seeds, x, inputs)
            total, start = part if total is None else total + part, stop
        return self.shards.sum(total)[None]  # type: ignore[arg-type]

    @property
    def _at(self) -> tuple[OfWeights, object, Tensor]:
        return self.function, self.push, self.vector

    def _weights(self, log_scales: Tensor) -> Tensor:
        return (log_scales.double() - self._top).exp().to(log_scales.dtype)


class ProductsInHand:
    """Products of a factor whose rows are at hand, of one metric.

    Parameters
    ----------
    factor : MeasuredFactor
        Rows of shape (1, r, P).
    """

    def __init__(self, factor: MeasuredFactor):
        top = factor.log_scales.amax()
        self.log_scale = torch.where(torch.isfinite(top), top, 0.0).double()[None]
        scales = (factor.log_scales - self.log_scale).exp().to(factor.rows.dtype)
        self._rows = factor.rows[0] * scales[0, :, None]
        self.num_rows, self.dtype, self.eps = len(self._rows), self._rows.dtype, factor.eps

    def __call__(self, v: Tensor) -> Tensor:
        """Return S v."""
        return v.to(self.dtype) @ self._rows.mT

    def transposed(self, w: Tensor) -> Tensor:
        """Return S'w."""
        return w.to(self.dtype) @ self._rows


class Transposed:
    """The products of S' in place of those of S: where there are fewer weights than rows."""

    def __init__(self, products: WeightProducts):
        self.transposed, self._call = products, products.transposed
        self.log_scale, self.num_rows = products.log_scale, products.num_columns
        self.dtype, self.eps = products.dtype, products.eps

    def __call__(self, v: Tensor) -> Tensor:
        """Return S'v."""
        return self._call(v)
