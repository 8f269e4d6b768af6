"""Networks as points of a space of functions: distances and lengths by their predictions.

The functions are methods of `WeightMetric`.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from infogeo._array import bad_value
from infogeo._docs import finish
from infogeo.pullback._checks import check_count, check_input, check_number, require_distance
from infogeo.pullback._derivatives import Tangent, apply_head
from infogeo.pullback._polygons import Length, polygon_length
from infogeo.pullback._weight_network import Vector, Weights
from infogeo.pullback._weights import OfWeights, Samples, mean_head

if TYPE_CHECKING:
    from infogeo.pullback.weights import WeightMetric

__all__ = ["distance", "joint_norm", "length", "segment_length"]


def distance(self: "WeightMetric", w0: Weights, w1: Weights) -> Tensor:
    r"""Return the root mean square Fisher-Rao distance of the predictions of two networks.

    Parameters
    ----------
    w0, w1 : torch.nn.Module or mapping of str to torch.Tensor
        Weights of this model: state dicts, or parts of one. What is missing is the model's own.

    Returns
    -------
    torch.Tensor, shape ()
        A distance of functions: 0 for networks that predict the same on the samples.

    Raises
    ------
    TypeError, ValueError
        Weights of another model; a head without a distance.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import WeightMetric, heads
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> metric = WeightMetric(model, torch.tensor([[3.0]]), heads.normal_fixed_std(1.0))
    >>> metric.distance({"weight": torch.zeros(1, 1)}, {"weight": torch.ones(1, 1)})
    tensor(3.)
    """
    return _length_of(self, (("w0", w0), ("w1", w1)))


def length(self: "WeightMetric", path: Iterable[Weights]) -> Tensor:
    r"""Return the length of a path of networks, for instance of the checkpoints of a training.

    Parameters
    ----------
    path : iterable of torch.nn.Module or mapping of str to torch.Tensor
        Weights of this model, in their order. They are read one after the other.

    Returns
    -------
    torch.Tensor, shape ()
        The sum of the distances from one to the next. What lies between is not seen.

    Raises
    ------
    TypeError, ValueError
        Weights of another model; a head without a distance; fewer than two points.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import WeightMetric, heads
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> metric = WeightMetric(model, torch.tensor([[3.0]]), heads.normal_fixed_std(1.0))
    >>> metric.length([{"weight": torch.full((1, 1), w)} for w in (0.0, 1.0, 0.0)])
    tensor(6.)
    """
    return _length_of(self, ((f"path[{k}]", weights) for k, weights in enumerate(path)))


def _length_of(self: "WeightMetric", path: Iterable[tuple[str, Weights]]) -> Tensor:
    """Return the length of a path of networks, each with its name in messages."""
    require_distance(self.head)
    self._parts.examine()
    head = mean_head(self.head, self._parts.num_samples)
    before, total = None, []
    for name, weights in path:
        z = self._parts.predictions(name, weights).reshape(1, -1)
        if before is not None:
            total.append(head.distance(before, z)[0])  # type: ignore[misc]
        before = z
    if not total:
        raise bad_value("path", "have at least two points", f"it has {int(before is not None)}")
    return torch.stack(total).sum()


def segment_length(
    self: "WeightMetric", w0: Weights, w1: Weights, *, num_segments: int = 8, rtol: float = 1e-4
) -> Length:
    r"""Return the length of the straight line of weights between two networks.

    Parameters
    ----------
    w0, w1 : torch.nn.Module or mapping of str to torch.Tensor
        As for `distance`. Entries that are no floating-point numbers stay those of w0.
    num_segments : int
        Pieces to start with.
    rtol : float
        Relative error to aim at.

    Returns
    -------
    Length
        Of shape (). Its ratio to `distance` is 1 on a geodesic of functions, and large where
        the line climbs over a barrier.

    Raises
    ------
    TypeError, ValueError
        Weights of another model; a head without a distance.

    Notes
    -----
    Forward passes only; see `PullbackMetric.segment_length`.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import WeightMetric, heads
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> metric = WeightMetric(model, torch.tensor([[3.0]]), heads.normal_fixed_std(1.0))
    >>> found = metric.segment_length({"weight": torch.zeros(1, 1)}, model)
    >>> bool(abs(found.value - 3.0 * model.weight.abs().sum()) < 1e-3)
    True
    """
    check_count("num_segments", num_segments)
    check_number("rtol", rtol)
    require_distance(self.head)
    function, start, end = self._parts.line(w0, w1)
    network = replace(
        self._parts.network,
        model=_AllOutputs(function, self._parts.samples),
        head=mean_head(self.head, self._parts.num_samples),
        temperature=1.0,
    )
    steps = torch.linspace(0.0, 1.0, num_segments + 1, dtype=start.dtype, device=start.device)
    corners = torch.lerp(start[None], end[None], steps[:, None, None])
    eps = self._parts.eps
    found = polygon_length(network, corners, rtol, rtol, eps)
    return Length(
        found.value[0], found.error[0], found.num_segments[0], found.status,
        np.asarray(found.member_status)[0],
    )  # fmt: skip


def joint_norm(self: "WeightMetric", dx: Tensor, dw: Vector) -> Tensor:
    r"""Return how far each prediction moves if its input and the weights move together.

    .. math:: | A (J_x \, dx + J_w \, dw) |

    Parameters
    ----------
    dx : torch.Tensor, shape (n, ...)
        Of the shape of the samples, which have to be a tensor.
    dw : torch.Tensor, shape (P,), or mapping of str to torch.Tensor
        A tangent vector, as for `WeightMetric.norm`.

    Returns
    -------
    torch.Tensor, shape (n,)
        With dx or dw 0 it is what the other one moves.

    Raises
    ------
    TypeError, ValueError

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import WeightMetric, heads
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> _ = torch.nn.init.ones_(model.weight)
    >>> x = torch.tensor([[2.0]])
    >>> metric = WeightMetric(model, x, heads.normal_fixed_std(1.0))
    >>> metric.joint_norm(torch.ones(1, 1), -torch.ones(1))  # 1 * 1 - 1 * 2
    tensor([1.])
    """
    if not isinstance(self.x, Tensor):
        raise TypeError("x must be one tensor for a joint metric: it is a loader of batches.")
    check_input(self.x, check=self.check, dx=dx)
    vector, _ = self._parts.layout.vector("dw", dw, self.check)
    start, moved = 0, []
    for x, inputs in self._parts.samples.parts():
        part = dx[start : start + len(x)]
        start += len(x)
        z, by_weights = self._parts.pushed(vector, x, inputs)
        network = replace(self._parts.network, inputs=inputs)
        _, by_inputs = network.push(x, part)
        rows, log_scales = apply_head(self.head, z, Tangent(by_weights + by_inputs))
        moved.append((log_scales.exp() * rows[..., 0]).norm(dim=-1))
    return torch.cat(moved)


class _AllOutputs:
    """The outputs at all samples as one row, for each of several vectors of weights."""

    def __init__(self, function: OfWeights, samples: Samples):
        self._function, self._samples = function, samples

    def __call__(self, vectors: Tensor) -> Tensor:
        rows = [self._function.everywhere(vector, self._samples) for vector in vectors]
        return torch.stack(rows).flatten(1)


finish(globals())
