r"""Directions along which the prediction stays, and directions along which it moves.

The kernel of the metric G is tangent to the sets of inputs with one prediction. Its orthogonal
complement, the horizontal space, has one dimension for each way in which the prediction can move.
The functions are methods of `PullbackMetric`.

References
----------
E. Grementieri and R. Fioresi, Model-centric data manifold: the data through the eyes of the model,
SIAM J. Imaging Sci. 15, 2022.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from infogeo._array import Array, bad_value
from infogeo._docs import finish
from infogeo._result import Table
from infogeo._system.registry import storable
from infogeo.pullback._checks import check_count, check_input, check_pair, require_distance
from infogeo.pullback._lift import move_to_output
from infogeo.pullback._network import network_of
from infogeo.pullback._spectrum import relative_factor, triangle_of

if TYPE_CHECKING:
    from infogeo.pullback.metric import PullbackMetric


__all__ = ["horizontal", "kernel_walk", "leaf_curvature", "leaf_path", "vertical"]


@storable("KernelWalk")
@dataclass(frozen=True, eq=False, repr=False)
class KernelWalk(Table):
    """Walks among inputs that the network cannot tell apart.

    Parameters
    ----------
    points : array, shape (num_steps + 1, batch, ...)
        The inputs, from the one where the walk starts.
    drift : array, shape (num_steps + 1, batch)
        Fisher-Rao distance of their predictions from the first one, in radians.
    """

    axes: ClassVar = {"step": None, "sample": None}

    points: Array
    drift: Array


@storable("LeafPath")
@dataclass(frozen=True, eq=False, repr=False)
class LeafPath(Table):
    """Paths that move only where the prediction moves, from one input towards another.

    Parameters
    ----------
    points : array, shape (num_steps + 1, batch, ...)
        The inputs on the way, from the first one.
    outputs : array, shape (num_steps + 1, batch, c)
        The network's outputs there, divided by the temperature.
    labels : int array, shape (num_steps + 1, batch)
        The largest of the outputs: the predicted class of a classifier.
    length : array, shape (batch,)
        In radians: the sum of the distances between consecutive predictions.
    remainder : array, shape (batch,)
        The horizontal part of what is left to the target, in units of the input: 0 where the path
        ends as near to the target as its leaf goes.
    """

    axes: ClassVar = {"step": None, "sample": None}

    points: Array
    outputs: Array
    labels: Array
    length: Array
    remainder: Array


def horizontal(self: "PullbackMetric", x: Tensor, v: Tensor) -> Tensor:
    r"""Return the part of tangent vectors that moves the prediction: orthogonal to the kernel.

    Parameters
    ----------
    x : torch.Tensor, shape (batch, ...)
    v : torch.Tensor, shape (batch, ...)

    Returns
    -------
    torch.Tensor, shape (batch, ...)
        The orthogonal projection of v on the span of the factor's rows, to first order all of v
        that the prediction sees. It has the norm of v in this metric and is the shortest such
        vector.

    Raises
    ------
    TypeError, ValueError
        Inputs, vectors, outputs or gradients that cannot be used.

    Notes
    -----
    Orthogonal in the metric of the inputs, Euclidean by default. Directions count as horizontal by
    the rule of `rank`, however little the probabilities make of them.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import PullbackMetric
    >>> x, v = torch.zeros(1, 3), torch.tensor([[1.0, 2.0, 6.0]])
    >>> PullbackMetric(lambda x: x).horizontal(x, v).round(decimals=5)
    tensor([[-2., -1.,  3.]])
    """
    check_input(x, check=self.check, v=v)
    return _horizontal(self, x, v)


def vertical(self: "PullbackMetric", x: Tensor, v: Tensor) -> Tensor:
    r"""Return the part of tangent vectors that the prediction does not see: in the kernel of G.

    Parameters
    ----------
    x : torch.Tensor, shape (batch, ...)
    v : torch.Tensor, shape (batch, ...)

    Returns
    -------
    torch.Tensor, shape (batch, ...)
        v without its `horizontal` part.

    Raises
    ------
    TypeError, ValueError
        Inputs, vectors, outputs or gradients that cannot be used.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import PullbackMetric
    >>> x, v = torch.zeros(1, 3), torch.tensor([[1.0, 2.0, 6.0]])
    >>> PullbackMetric(lambda x: x).vertical(x, v).round(decimals=5)
    tensor([[3., 3., 3.]])
    """
    check_input(x, check=self.check, v=v)
    return _vertical(self, x, v)


def kernel_walk(
    self: "PullbackMetric", x: Tensor, v: Tensor, *, num_steps: int = 20, num_corrections: int = 2
) -> KernelWalk:
    r"""Walk from inputs among those that the network cannot tell from them.

    .. math:: \dot x = P_{\ker G(x)} \, v

    Parameters
    ----------
    x : torch.Tensor, shape (batch, ...)
        Where the walks start.
    v : torch.Tensor, shape (batch, ...)
        Where they want to go and how far, for instance to another input: x1 - x.
    num_steps : int
        Steps of the walk.
    num_corrections : int
        Newton steps, the shortest ones, that bring the prediction back after each step; 0 for none.

    Returns
    -------
    KernelWalk
        The inputs, of shape (num_steps + 1, batch, ...), and how far their predictions have
        drifted.

    Raises
    ------
    TypeError, ValueError
        Inputs, vectors, outputs, gradients or numbers that cannot be used; a head without a
        distance; a v without a vertical part, or only one that is rounding.

    Notes
    -----
    A step of length h along the kernel changes the prediction by h^2, all steps together by h;
    a Newton step leaves the square of what it finds, so that two of them reach rounding for small
    steps. They cost one factor each.

    Examples
    --------
    Along the unit circle, in 8 steps of 1/8:

    >>> import torch
    >>> from infogeo.pullback import PullbackMetric
    >>> metric = PullbackMetric(lambda x: torch.stack([x.square().sum(1), 0.0 * x[:, 0]], dim=1))
    >>> x, v = torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[0.0, 1.0]]).double()
    >>> walk = metric.kernel_walk(x, v, num_steps=8)
    >>> walk.points[-1].norm(), walk.drift.max() < 1e-7
    (tensor(1.0000, dtype=torch.float64), tensor(True))
    """
    check_input(x, check=self.check, v=v)
    check_count("num_steps", num_steps)
    if num_corrections != 0:
        check_count("num_corrections", num_corrections)
    require_distance(self.head)
    x, v, network = x.detach(), v.detach(), network_of(self)
    start, points = network.predictions(x), [x]
    for _ in range(num_steps):
        step = _vertical(self, points[-1], v)
        if len(points) == 1:
            _check_vertical(step, v)
        ahead = points[-1] + step / num_steps
        points.append(move_to_output(network, ahead, start, num_corrections, self.input_metric))
    walk = torch.stack(points)
    return KernelWalk(walk, network.distances(network.predictions_along(walk), start))


def leaf_path(
    self: "PullbackMetric",
    x0: Tensor,
    x1: Tensor,
    *,
    num_steps: int = 50,
    clip: tuple[float, float] | None = None,
) -> LeafPath:
    r"""Move from inputs towards others only where the prediction moves, with all labels on the way.

    .. math:: \dot x = \frac{P_{\mathrm{hor}}(x) \, (x_1 - x)}{1 - t}, \qquad x(0) = x_0

    Parameters
    ----------
    x0, x1 : torch.Tensor, shape (batch, ...)
        Where the paths start, and where they want to go; one of the two batches may have
        length 1.
    num_steps : int
        Steps of the path, by the midpoint rule.
    clip : (float, float) or None
        Smallest and largest value of an input, for instance of a pixel. Clipping makes a step
        that is not horizontal: the path leaves its leaf.

    Returns
    -------
    LeafPath
        The inputs, of shape (num_steps + 1, batch, ...), the outputs and labels on the way, the
        lengths, and what horizontal part is left to the target.

    Raises
    ------
    TypeError, ValueError
        Inputs, outputs, gradients or settings that cannot be used; a head without a distance.

    Notes
    -----
    The path does not reach x1 but what on its leaf is nearest to it: what the network does not
    see of the difference stays as it was. On a network that is linear between the two the path
    is straight, and its end has the prediction of x1. The horizontal directions are tangent to
    leaves within a linear region of a network; in general they are not.

    Steps are of second order in their length; the last ones, where all of the rest is due, of
    first order. At a kink the horizontal directions jump: with many kinks near the end, the end
    depends on the number of steps, and the remainder does not fall to 0.

    References
    ----------
    E. Grementieri and R. Fioresi, Model-centric data manifold: the data through the eyes of the
    model, SIAM J. Imaging Sci. 15, 2022.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import PullbackMetric
    >>> metric = PullbackMetric(lambda x: x[:, :2])
    >>> path = metric.leaf_path(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([[0.0, 4.0, 5.0]]),
    ...                         num_steps=4)
    >>> path.points[-1], path.labels[:, 0]
    (tensor([[-1.,  3.,  0.]]), tensor([0, 0, 1, 1, 1]))
    """
    check_pair(x0, x1, check=self.check)
    check_count("num_steps", num_steps)
    clip = _checked_clip(clip)
    require_distance(self.head)
    x, x1 = torch.broadcast_tensors(x0.detach(), x1.detach())
    points = [x]
    for k in range(num_steps):
        middle = _on_the_way(self, x + _towards(self, x, x1) / (2.0 * (num_steps - k)))
        x = x + _towards(self, middle, x1) / (num_steps - k - 0.5)
        x = _on_the_way(self, x if clip is None else x.clamp(*clip))
        points.append(x)
    path, network = torch.stack(points), network_of(self)
    z = network.predictions_along(path)
    remainder = _towards(self, x, x1).flatten(1).norm(dim=-1)
    return LeafPath(path, z, z.argmax(-1), network.distances(z[:-1], z[1:]).sum(0), remainder)


def leaf_curvature(self: "PullbackMetric", x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    r"""Return the sectional curvature of the space transverse to the kernel, as G measures it.

    With g the metric on the inputs x + y for horizontal y, in coordinates in which g = I at x and
    u and v span the first two axes:

    .. math:: K = \partial_1 \partial_2 g_{12} - \tfrac12 (\partial_2^2 g_{11} +
              \partial_1^2 g_{22}) + |\Gamma_{12}|^2 - \langle \Gamma_{11}, \Gamma_{22} \rangle,
              \qquad \Gamma_{ab,k} = \tfrac12 (\partial_a g_{bk} + \partial_b g_{ak} -
              \partial_k g_{ab})

    Parameters
    ----------
    x : torch.Tensor, shape (batch, ...)
    u, v : torch.Tensor, shape (batch, ...)
        Two tangent vectors at each input; their horizontal parts span the plane.

    Returns
    -------
    torch.Tensor, shape (batch,)
        In 1 / squared radians of the sphere of radius 2.

    Raises
    ------
    TypeError, ValueError
        Inputs, vectors, outputs or gradients that cannot be used; horizontal parts that span no
        plane; a model whose third derivatives torch does not know.

    Notes
    -----
    Where the rank of G is constant, the kernel's directions change neither predictions nor
    lengths: every surface transverse to the kernel has the metric of the leaves, and this one is
    the easiest. A categorical head at full rank must give 1/4, because its leaves are then
    isometric to pieces of the sphere of radius 2: with another value something is wrong with a
    metric. Networks that cannot reach all predictions near by have other curvatures.

    Derivatives are those of autograd. The rounding error grows with the coordinates' own
    curvature, like eps divided by the smallest probability: use float64.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import PullbackMetric
    >>> x = torch.tensor([[0.5, 1.0, -1.0]], dtype=torch.float64)
    >>> u, v = torch.eye(3, dtype=torch.float64)[:2, None]
    >>> PullbackMetric(lambda x: x + 0.3 * x**2).leaf_curvature(x, u, v)
    tensor([0.2500], dtype=torch.float64)
    """
    check_input(x, check=self.check, u=u, v=v)
    spectrum, ranks, network = self.spectrum(x), self.rank(x), network_of(self)
    curvatures = [
        _curvature(
            network.at_sample(i),
            self.input_metric,
            x[i : i + 1].detach(),
            spectrum.values[i, : ranks[i]],
            spectrum.vectors[i, : ranks[i]].flatten(1),
            torch.stack([u[i], v[i]]).detach().flatten(1),
            i,
        )
        for i in range(len(x))
    ]
    return torch.stack(curvatures)


# ---------------------------------------------------------------- projections


def _horizontal_basis(metric, x):
    """Return an orthonormal basis of the horizontal space, shape (batch, n, r), filled up by 0.

    In orthonormal frames of the input metric, of n vectors.
    """
    basis, triangle = triangle_of(relative_factor(metric, x))
    U, values, _ = np.linalg.svd(triangle.directions, full_matrices=False)
    U = np.where(triangle.are_clear(values)[:, None, :], U, 0.0)
    return basis @ triangle.tensor(U)


def _horizontal(metric, x, v):
    """Return the horizontal part of v."""
    basis = _horizontal_basis(metric, x)
    x, v = x.detach().to(basis.dtype), v.detach().to(basis.dtype)
    w = metric.input_metric.coordinates(x, v.flatten(1)[:, None])
    return metric.input_metric.push(x, w @ basis @ basis.mT).reshape(v.shape)


def _vertical(metric, x, v):
    """Return the vertical part of v, without rounding of a large horizontal part."""
    basis = _horizontal_basis(metric, x)
    x, v = x.detach().to(basis.dtype), v.detach().to(basis.dtype)
    w = metric.input_metric.coordinates(x, v.flatten(1)[:, None])
    for _ in range(2):
        w = w - w @ basis @ basis.mT
    return metric.input_metric.push(x, w).reshape(v.shape)


def _check_vertical(step, v):
    sizes = step.flatten(1).norm(dim=-1)
    rounding = 64.0 * torch.finfo(sizes.dtype).eps * v.flatten(1).norm(dim=-1).to(sizes)
    if bool((sizes <= rounding).any()):
        i = int(torch.argwhere(sizes <= rounding)[0])
        raise bad_value(
            "v",
            "have a part along the kernel of G",
            f"that at row {i} is horizontal to rounding",
            "Every direction of it moves the prediction.",
        )


def _towards(metric, x, target):
    """Return the horizontal part of what is left to the target."""
    return _horizontal(metric, x, target - x)


def _on_the_way(metric, x):
    """Return x, unless the way leads out of the space of the input metric."""
    if metric.check:
        metric.input_metric.check_points(x, "the points on the way")
    return x


def _checked_clip(clip):
    if clip is None:
        return None
    try:
        low, high = (float(value) for value in clip)
    except (TypeError, ValueError):
        low = high = math.nan
    if not low < high:
        raise bad_value("clip", "be a pair (smallest, largest)", f"got {clip!r}")
    return low, high


# ---------------------------------------------------------------- curvature


def _curvature(network, input_metric, x, values, vectors, plane, row):
    """Return the curvature of one plane, from two derivatives of the metric around one input."""
    along, plane = (
        input_metric.coordinates(x.to(vectors.dtype), v[None])[0]
        for v in (vectors, plane.to(vectors.dtype))
    )
    axes = _rotation(values, plane @ along.mT, row) @ (vectors / values.sqrt()[:, None])
    with torch.inference_mode(False), torch.enable_grad():
        y = torch.zeros(len(axes), dtype=axes.dtype, device=axes.device, requires_grad=True)
        z = network.outputs(x + (y @ axes).reshape(x.shape).to(x.dtype))
        J = torch.stack([_grad(part, y, row) for part in z[0]])
        columns = network.head.factor(z)[0] @ J
        g = columns.mT @ columns[:, :2]  # (k, 2)
        first = torch.stack([_grad(entry, y, row) for entry in g.flatten()])
        first = first.reshape(len(y), 2, len(y))  # [k, a, m]: the derivative of g_ka by y_m
        g_11, g_12, g_22 = first[0, 0], first[0, 1], first[1, 1]
        second = (
            _grad(g_12[0], y, row)[1]
            - 0.5 * _grad(g_11[1], y, row)[1]
            - 0.5 * _grad(g_22[0], y, row)[0]
        )
    gamma_11 = first[:, 0, 0] - 0.5 * g_11
    gamma_22 = first[:, 1, 1] - 0.5 * g_22
    gamma_12 = 0.5 * (first[:, 1, 0] + first[:, 0, 1] - g_12)
    return (second + gamma_12 @ gamma_12 - gamma_11 @ gamma_22).detach()


def _rotation(values, in_plane, row):
    """Return rows that G, with these eigenvalues, finds orthonormal, two of them in the plane."""
    in_plane = in_plane * values.sqrt()
    sizes = in_plane.norm(dim=-1, keepdim=True)
    in_plane = in_plane / torch.where(sizes > 0.0, sizes, 1.0)
    if len(values) < 2 or int(torch.linalg.matrix_rank(in_plane)) < 2:
        raise ValueError(
            f"u and v must have horizontal parts that span a plane: those at row {row} do not. "
            "A curvature needs a metric of rank 2 or more; see rank and horizontal."
        )
    identity = torch.eye(len(values), dtype=values.dtype, device=values.device)
    return torch.linalg.qr(torch.cat([in_plane.mT, identity], dim=1)).Q.mT


def _grad(value, y, row):
    """Return the gradient of a number, itself with a graph; 0 if it does not depend on y."""
    if not value.requires_grad:
        return torch.zeros_like(y)
    try:
        (gradient,) = torch.autograd.grad(
            value, y, create_graph=True, allow_unused=True, materialize_grads=True
        )
    except RuntimeError as error:
        raise bad_value(
            "model",
            "have derivatives up to the third order in torch",
            f"torch says: {error}",
            "Curvature is not for this model.",
        ) from error
    return gradient


finish(globals())
