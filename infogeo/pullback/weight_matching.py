"""Two networks from two seeds: which hidden units are the same, and what lies between the networks.

The functions are methods of `WeightMetric`.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from infogeo._array import Array, bad_value
from infogeo._docs import finish
from infogeo._result import Result, Table
from infogeo._status import SolveError, Status
from infogeo._system.registry import storable
from infogeo.pullback._chains import Hidden, hidden_units
from infogeo.pullback._checks import check_count
from infogeo.pullback._weight_network import WeightNetwork, Weights

if TYPE_CHECKING:
    from infogeo.pullback.weights import WeightMetric

__all__ = ["Barrier", "Matching", "barrier", "match_activations", "match_weights"]


@storable("Matching")
@dataclass(frozen=True, eq=False, repr=False)
class Matching(Result):
    """A network whose hidden units have been put in the order of those of another one.

    Parameters
    ----------
    weights : dict of str to array
        All entries of the network, its units in their new order. It is the same function.
    permutations : dict of str to array
        For each layer with hidden units behind it the number that each unit had before.
    before, after : float
        What is made small: the Euclidean distance of the weights, or the root mean square over the
        samples of the distance of all hidden activations.
    steps : int
        Passes over the layers.
    status : Status
        CONVERGED if no change of one layer alone makes it smaller; of activations, no change at
        all. Else MAX_STEPS.
    """

    weights: Any
    permutations: Any
    before: float
    after: float
    steps: int
    status: Status


@storable("Barrier")
@dataclass(frozen=True, eq=False, repr=False)
class Barrier(Table):
    """The losses on the straight line of weights between two networks.

    Parameters
    ----------
    value : float
        The most that a loss is above the straight line between the losses of the ends.
    share : float
        Where that is: 0 at the first network, 1 at the second.
    shares : array, shape (num_points,)
        Places on the line, from 0 to 1.
    losses : array, shape (num_points,)
        The losses there.
    """

    axes: ClassVar = {"point": None}

    value: float
    share: float
    shares: Array
    losses: Array


def match_weights(
    self: "WeightMetric", w0: Weights, w1: Weights, *, max_steps: int = 100, throw: bool = True
) -> Matching:
    r"""Return the second network with its hidden units in the order of the nearest weights.

    .. math:: \min_{P_1, P_2, \dots} \sum_l | W_l - P_l W'_l P_{l-1}^\top |^2

    Parameters
    ----------
    w0, w1 : torch.nn.Module or mapping of str to torch.Tensor
        Weights of this model, as for `distance`. The first network stays as it is.
    max_steps : int
        How often all layers are gone through at most.
    throw : bool

    Returns
    -------
    Matching
        Of the second network.

    Raises
    ------
    TypeError, ValueError
        A model that is not one chain of linear layers and convolutions; weights of another model.
    SolveError
        The passes did not suffice; `result` has what was found.

    Notes
    -----
    Layer by layer, each as a linear assignment with all others as they are, until no layer changes.
    It is a local optimum; for one hidden layer it is the best of all orders. That the order of the
    units makes no difference to the model is verified at a few samples. Batch norms keep the
    statistics of each network, and are interpolated with all else on the straight line.

    References
    ----------
    S. Ainsworth, J. Hayase, S. Srinivasa, Git Re-Basin: merging models modulo permutation
    symmetries, ICLR 2023.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import WeightMetric
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> other = {n: w[[2, 0, 1]] if n[0] == "0" else w for n, w in model.state_dict().items()}
    >>> other["2.weight"] = other["2.weight"][:, [2, 0, 1]]
    >>> metric = WeightMetric(model, torch.randn(5, 2))
    >>> found = metric.match_weights(model, other)
    >>> found.permutations["0"], found.after
    (tensor([1, 2, 0]), 0.0)
    """
    check_count("max_steps", max_steps)
    hidden, first, second = _networks(self._parts, w0, w1)
    trained = {name for name, _ in self.model.named_parameters()}
    orders = {units.source: torch.arange(units.num_units) for units in hidden}
    steps, has_changed, found = 0, True, second
    while has_changed and steps < max_steps:
        steps, has_changed = steps + 1, False
        for units in hidden:
            wanted, seen = (units.matrix(state, trained) for state in (first, found))
            order = _assigned(wanted @ seen.mT)
            if order is not None:
                found, has_changed = units.permuted(found, order), True
                orders[units.source] = orders[units.source][order]
    before, after = (_weight_distance(first, state, trained) for state in (second, found))
    status = Status.MAX_STEPS if has_changed else Status.CONVERGED
    matching = Matching(found, orders, before, after, steps, status)
    if throw and has_changed:
        raise SolveError(
            f"Units still change places after {steps} passes over the layers. Raise max_steps; "
            "error.result holds what was found.",
            matching,
        )
    return matching


def match_activations(self: "WeightMetric", w0: Weights, w1: Weights) -> Matching:
    r"""Return the second network with its hidden units in the order of the most alike activations.

    .. math:: \min_{P_l} \mathrm{E}_x \, | h_l(x) - P_l h'_l(x) |^2

    where h are the activations that the next layer takes.

    Parameters
    ----------
    w0, w1 : torch.nn.Module or mapping of str to torch.Tensor
        Weights of this model, as for `distance`. The first network stays as it is.

    Returns
    -------
    Matching
        Of the second network: for each layer the best of all orders.

    Raises
    ------
    TypeError, ValueError
        A model that is not one chain of linear layers and convolutions; weights of another model.

    Notes
    -----
    One forward pass of each network over the samples of the metric; the channels of convolutions
    are compared at all pixels. Units that are 0 at all samples keep any order.

    References
    ----------
    Y. Li, J. Yosinski, J. Clune, H. Lipson, J. Hopcroft, Convergent learning: do different neural
    networks learn the same representations? ICLR 2016.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import WeightMetric
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> metric = WeightMetric(model, torch.randn(50, 2))
    >>> found = metric.match_activations(model, model)
    >>> found.permutations["0"], found.after < 1e-3
    (tensor([0, 1, 2]), True)
    """
    parts = self._parts
    hidden, first, second = _networks(parts, w0, w1)
    products = [torch.zeros(u.num_units, u.num_units, dtype=torch.float64) for u in hidden]
    squares = torch.zeros((), dtype=torch.float64)
    for x, inputs in parts.samples.parts():
        seen = []
        for state in (first, second):
            with torch.no_grad(), _recording(parts.model, hidden) as records:
                parts.function_of(state)(x, inputs)
            seen.append(records)
        for k, (h0, h1) in enumerate(zip(*seen, strict=True)):
            products[k] += h0 @ h1.mT
            squares += h0.square().sum() + h1.square().sum()
    products, squares = [parts.shards.sum(p) for p in products], parts.shards.sum(squares)
    found, orders, gains = second, {}, torch.zeros(2, dtype=torch.float64)
    for units, product in zip(hidden, products, strict=True):
        order = _assigned(product)
        same = torch.arange(units.num_units)
        orders[units.source] = same if order is None else order
        if order is not None:
            found = units.permuted(found, order)
        gains += torch.stack([product[same, o].sum() for o in (same, orders[units.source])])
    means = (squares - 2.0 * gains).clamp(min=0.0) / parts.num_samples
    before, after = means.sqrt().tolist()
    return Matching(found, orders, before, after, 1, Status.CONVERGED)


def barrier(
    self: "WeightMetric",
    w0: Weights,
    w1: Weights,
    loss: Callable[[Tensor], Tensor],
    *,
    num_points: int = 25,
) -> Barrier:
    r"""Return how far the loss rises on the straight line of weights between two networks.

    .. math:: \max_t L(w_t) - (1 - t) L(w_0) - t L(w_1), \qquad w_t = (1 - t) w_0 + t w_1

    Parameters
    ----------
    w0, w1 : torch.nn.Module or mapping of str to torch.Tensor
        As for `segment_length`.
    loss : callable
        The loss of the outputs at all samples, shape (n, m), divided by the temperature, as one
        number, a mean over the samples where processes share them. For instance
        ``lambda z: torch.nn.functional.cross_entropy(z, labels)``.
    num_points : int
        Places on the line, the ends among them; at least 3.

    Returns
    -------
    Barrier
        Its value is at least 0, and at most that of a finer line.

    Raises
    ------
    TypeError, ValueError
        Weights of another model; a loss that is not one finite number.

    Notes
    -----
    Two networks of different seeds are to be matched first; see `match_weights`.

    References
    ----------
    J. Frankle, G. Dziugaite, D. Roy, M. Carbin, Linear mode connectivity and the lottery ticket
    hypothesis, ICML 2020.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import WeightMetric, heads
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> metric = WeightMetric(model, torch.ones(1, 1), heads.normal_fixed_std(1.0))
    >>> ends = {"weight": torch.zeros(1, 1)}, {"weight": torch.ones(1, 1)}
    >>> found = metric.barrier(*ends, lambda z: (z * (1.0 - z)).sum(), num_points=3)
    >>> found.value, found.share
    (0.25, 0.5)
    """
    check_count("num_points", num_points)
    if num_points < 3:
        raise bad_value("num_points", "be at least 3", f"got {num_points}")
    self._parts.check_outputs()
    function, first, last = self._parts.line(w0, w1)
    shares = torch.linspace(0.0, 1.0, num_points, dtype=torch.float64)
    losses = []
    for share in shares:
        weight = share.to(first.device, first.dtype)
        z = function.everywhere(torch.lerp(first, last, weight), self._parts.samples)
        found = loss(z)
        if not isinstance(found, Tensor) or found.numel() != 1 or not bool(found.isfinite()):
            seen = f"at {float(share):.3g} of the line it is {found!r}"
            raise bad_value("loss", "return one finite number", seen)
        total = found.detach().double().reshape(()) * len(z)
        losses.append(self._parts.shards.mean(total, len(z)).cpu())
    values = torch.stack(losses)
    heights = values - torch.lerp(values[0], values[-1], shares)
    heights[0] = heights[-1] = 0.0
    top = int(heights.argmax())
    return Barrier(float(heights[top]), float(shares[top]), shares, values)


# ---------------------------------------------------------------- units and their orders


def _networks(
    parts: WeightNetwork, w0: Weights, w1: Weights
) -> tuple[list[Hidden], dict[str, Tensor], dict[str, Tensor]]:
    """Return the hidden units of the model, which are verified, and all entries of two networks."""
    parts.check_outputs()
    hidden = hidden_units(parts.model)
    first, second = parts.state("w0", w0), parts.state("w1", w1)
    for state in (first, second):  # weights that have not been trained may hide what they do
        _check_orders(parts, hidden, state)
    return hidden, first, second


def _check_orders(parts: WeightNetwork, hidden: list[Hidden], state: dict[str, Tensor]) -> None:
    """Refuse a network that is another function when its hidden units change places."""
    x, inputs = parts.samples.few()
    mixed, generator = state, torch.Generator().manual_seed(0)
    for units in hidden:
        order = torch.randperm(units.num_units, generator=generator)
        is_same = torch.equal(order, order.sort().values)
        mixed = units.permuted(mixed, order.roll(1) if is_same else order)
    with torch.no_grad():
        z, moved = (parts.function_of(weights)(x, inputs) for weights in (state, mixed))
    size = z[z.isfinite()].abs().amax() if bool(z.isfinite().any()) else 1.0
    if not bool((((z - moved).abs() <= parts.eps**0.5 * size) | (z == moved)).all()):
        raise bad_value(
            "model",
            "be the same function when hidden units change places",
            f"with the units of {hidden[0].source!r} and later ones in another order, its outputs "
            "are others",
            "Its layers are no chain as far as units go: match its parts, or not at all.",
        )


def _assigned(gains: Tensor) -> Tensor | None:
    """Return the order with the largest sum of gains, None if the present one is as good."""
    rows, columns = linear_sum_assignment(gains.numpy(), maximize=True)
    gain = gains[rows, columns].sum() - gains.diagonal().sum()
    is_rounding = gain <= 1e-12 * gains.diagonal().abs().sum()
    return None if bool(is_rounding) else torch.as_tensor(columns)


def _weight_distance(first: dict[str, Tensor], second: dict[str, Tensor], names: set[str]) -> float:
    parts = [(first[n].double() - second[n].double()).flatten().cpu() for n in sorted(names)]
    return float(torch.linalg.vector_norm(torch.cat(parts)))


@contextlib.contextmanager
def _recording(model: nn.Module, hidden: Sequence[Hidden]) -> Iterator[list[Tensor]]:
    """Record what the layers behind hidden units take, each as (units, samples)."""
    records: list[Tensor] = []

    def hook(part: nn.Module, given: tuple[Tensor, ...], units: Hidden) -> None:
        h = given[0].detach().double().cpu()
        h = h.unflatten(-1, (units.num_units, units.spread)) if type(part) is nn.Linear else h
        axis = -2 if type(part) is nn.Linear else 1
        records.append(h.movedim(axis, 0).flatten(1))

    handles = [
        model.get_submodule(units.target).register_forward_pre_hook(
            lambda part, given, units=units: hook(part, given, units)
        )
        for units in hidden
    ]
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()


finish(globals())
