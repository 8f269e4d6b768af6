"""Networks as points of a space of functions: distances and lengths by their predictions.

The functions are methods of `WeightMetric`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from infogeo._array import Array, bad_value
from infogeo._docs import finish
from infogeo._result import Table
from infogeo._system.registry import storable
from infogeo.pullback._checks import check_count, check_input, check_number, require_distance
from infogeo.pullback._derivatives import Tangent, apply_head
from infogeo.pullback._polygons import Length, polygon_length
from infogeo.pullback._weight_network import Vector, WeightNetwork, Weights
from infogeo.pullback._weights import Layout, OfWeights, Samples, mean_head
from infogeo.pullback.heads import Head

if TYPE_CHECKING:
    from infogeo.pullback.weights import WeightMetric

__all__ = [
    "ExplainedChange",
    "distance",
    "explained_change",
    "joint_norm",
    "length",
    "segment_length",
]


@storable("ExplainedChange")
@dataclass(frozen=True, eq=False, repr=False)
class ExplainedChange(Table):
    """How much of a change of predictions new inputs and new weights explain, sample by sample.

    ``squared_distance`` is ``by_inputs + by_weights + remainder``.

    Parameters
    ----------
    squared_distance : array, shape (n,)
        Squared Fisher-Rao distance of each prediction from what it was.
    by_inputs : array, shape (n,)
        What the inputs contribute, to first order. It is negative where they undo a part of what
        the weights do.
    by_weights : array, shape (n,)
        What the weights contribute, to first order.
    remainder : array, shape (n,)
        What the first order leaves: large changes are no sum of two.
    """

    axes: ClassVar = {"sample": None}

    squared_distance: Array
    by_inputs: Array
    by_weights: Array
    remainder: Array

    def shares(self) -> dict[str, float]:
        """Return the shares of the mean squared distance that the parts have.

        Returns
        -------
        dict of str to float
            Of inputs, weights and remainder, with the sum 1; all 0 if no prediction has changed.

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import WeightMetric, heads
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.ones_(model.weight)
        >>> metric = WeightMetric(model, torch.ones(4, 1), heads.normal_fixed_std(1.0))
        >>> metric.explained_change(torch.full((4, 1), 4.0), {}).shares()
        {'inputs': 1.0, 'weights': 0.0, 'remainder': 0.0}
        """
        total = float(self.squared_distance.sum()) or 1.0
        parts = {"inputs": self.by_inputs, "weights": self.by_weights, "remainder": self.remainder}
        return {name: float(part.sum()) / total for name, part in parts.items()}


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
    self._parts.check_outputs()
    head = _head_of(self._parts)
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
    self._parts.check_outputs()
    function, start, end = self._parts.line(w0, w1)
    network = replace(
        self._parts.network,
        model=_AllOutputs(function, self._parts.samples),
        head=_head_of(self._parts),
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


def explained_change(self: "WeightMetric", x1: Tensor, w1: Weights) -> ExplainedChange:
    r"""Return how much of the change of predictions new inputs and new weights explain.

    .. math:: d(f_{w_0}(x_0), f_{w_1}(x_1))^2 \approx |a_x + a_w|^2
              = \langle a_x, a_x + a_w \rangle + \langle a_w, a_x + a_w \rangle

    where a_x and a_w are the moves of the predictions by the inputs and by the weights, both taken
    in the middle between old and new.

    Parameters
    ----------
    x1 : torch.Tensor, shape (n, ...)
        The samples as they are now, row by row those of the metric: seen by another camera, a day
        later. The samples of the metric have to be a tensor.
    w1 : torch.nn.Module or mapping of str to torch.Tensor
        The network as it is now, as for `distance`; that of the metric is the old one.

    Returns
    -------
    ExplainedChange
        With what the first order leaves.

    Raises
    ------
    TypeError, ValueError
        Samples of another shape; weights of another model; a head without a distance.

    Notes
    -----
    Two derivatives in the middle make the remainder one of fourth order in the size of the change.
    The parts of inputs and of weights are the Shapley values of the first order, between what each
    would do alone and what it adds to the other.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import WeightMetric, heads
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> _ = torch.nn.init.ones_(model.weight)
    >>> x = torch.tensor([[2.0]])
    >>> metric = WeightMetric(model, x, heads.normal_fixed_std(1.0))
    >>> found = metric.explained_change(x + 1.0, {"weight": torch.full((1, 1), 2.0)})
    >>> found.squared_distance, found.by_inputs, found.by_weights  # from 2 to 6, by 3/2 and 5/2
    (tensor([16.]), tensor([6.]), tensor([10.]))
    """
    if not isinstance(self.x, Tensor):
        raise TypeError("x must be one tensor for a joint metric: it is a loader of batches.")
    distance = require_distance(self.head)
    if isinstance(x1, Tensor) and x1.shape != self.x.shape:
        raise bad_value("x1", "have the shape of x", f"its shape is {tuple(x1.shape)}")
    check_input(self.x, check=self.check, x1=x1)
    parts = self._parts
    states = [parts.state(name, w) for name, w in (("model", {}), ("w1", w1))]
    middle = {
        n: w.lerp(states[1][n], 0.5) if w.is_floating_point() else w for n, w in states[0].items()
    }
    own = dict(parts.model.named_parameters())
    layout = Layout.of({n: w for n, w in middle.items() if n in own and w.is_floating_point()})
    constants = {n: w for n, w in middle.items() if n not in layout.shapes}
    function = OfWeights(parts.network, layout, constants)
    vector, step = layout.flatten(middle), layout.flatten(states[1]) - layout.flatten(states[0])
    before, after = (parts.function_of(middle | {n: s[n] for n in constants}) for s in states)
    ends = [parts.function_of(state) for state in states]
    start, found = 0, []
    for x, inputs in parts.samples.parts():
        new = x1[start : start + len(x)].detach()
        start += len(x)
        half = torch.lerp(x, new, 0.5)
        z, by_weights = parts.pushed_along(function.on(half, inputs), vector, step)
        network = replace(parts.network, model=function.model_at(vector), inputs=inputs)
        _, by_inputs = parts.pushed_along(network.outputs, half, new - x)
        with torch.no_grad():  # statistics of batch norms have no derivatives: a difference
            by_weights = by_weights + (after(half, inputs) - before(half, inputs))
            square = distance(ends[0](x, inputs), ends[1](new, inputs)) ** 2
        moves = []
        for move in (by_inputs, by_weights):
            rows, log_scales = apply_head(self.head, z, Tangent(move))
            moves.append(log_scales.exp() * rows[..., 0])
        both = moves[0] + moves[1]
        explained = [(move * both).sum(-1) for move in moves]
        found.append(torch.stack([square, *explained, square - both.square().sum(-1)]))
    return ExplainedChange(*torch.cat(found, dim=1))


def _head_of(parts: WeightNetwork) -> Head:
    return mean_head(parts.head, parts.num_here, parts.shards, parts.num_samples)


class _AllOutputs:
    """The outputs at all samples as one row, for each of several vectors of weights."""

    def __init__(self, function: OfWeights, samples: Samples):
        self._function, self._samples = function, samples

    def __call__(self, vectors: Tensor) -> Tensor:
        rows = [self._function.everywhere(vector, self._samples) for vector in vectors]
        return torch.stack(rows).flatten(1)


finish(globals())
