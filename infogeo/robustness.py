r"""How near a prediction is to another decision, what moves it there, and how to train against it.

The Fisher-Rao distance to the decision boundary is exact (`boundary_distance`). Divided by how fast
the network moves its prediction it is an indicator of robustness; the directions in which it moves
fastest are attacks, and how fast it moves can be penalised in training.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from infogeo._array import Array
from infogeo._docs import finish
from infogeo._result import Table
from infogeo._system.extras import missing
from infogeo._system.registry import storable

try:
    import torch
    from torch import Tensor
except ModuleNotFoundError as error:
    raise missing(error, "infogeo.robustness") from None

import math

from array_api_compat import torch as torch_namespace

from infogeo import _array
from infogeo._array import NON_NEGATIVE, POSITIVE, REAL, bad_value, gate
from infogeo.lipschitz.certificates import boundary_distance
from infogeo.pullback import Head, PullbackMetric, heads
from infogeo.pullback._checks import check_count, check_gradients, check_input
from infogeo.pullback._derivatives import Tangent, apply_head, pull_back
from infogeo.pullback._network import Inputs, network_of

__all__ = [
    "Attack",
    "MarginAttack",
    "boundary_distance",
    "isometry_criterion",
    "isometry_penalty",
    "pgd_attack",
    "robustness_indicator",
    "spectral_attack",
    "trace_penalty",
]


@storable("Attack")
@dataclass(frozen=True, eq=False, repr=False)
class Attack(Table):
    """Inputs moved to where a model may no longer predict the same class.

    Parameters
    ----------
    points : array, shape (batch, ...)
        The inputs after the attack.
    success : bool array, shape (batch,)
        Whether the predicted class has changed.
    distances : array, shape (batch,)
        How far the points are from the inputs in the l2 norm: the radius, unless the box that
        they were held in ends before.
    temperature : float
        The softmax temperature the metric was taken at.
    """

    axes: ClassVar = {"sample": None}

    points: Array
    success: Array
    distances: Array
    temperature: float


@storable("MarginAttack")
@dataclass(frozen=True, eq=False, repr=False)
class MarginAttack(Table):
    """Inputs moved to the lowest margin of their class that an attack has seen.

    Parameters
    ----------
    points : array, shape (batch, ...)
        The inputs after the attack.
    success : bool array, shape (batch,)
        Whether the class predicted there is another one than the target.
    margins : array, shape (batch,)
        The logit of the target less the largest of the others: negative where it succeeds.
    distances : array, shape (batch,)
        How far the points are from the inputs, in the norm of the attack.
    order : float
        The norm: 2 or inf.
    """

    axes: ClassVar = {"sample": None}

    points: Array
    success: Array
    margins: Array
    distances: Array
    order: float


def robustness_indicator(
    model: Callable[..., Tensor],
    x: Tensor,
    *,
    inputs: Inputs = None,
    head: Head = heads.categorical,
    temperature: float = 1.0,
    check: bool = True,
) -> Tensor:
    r"""Return the distance at which the decision would change if the network stayed as steep.

    .. math:: \frac{d_B(x)}{\sqrt{\lambda_{\max}(x)}}

    with the Fisher-Rao distance of the prediction to the decision boundary and the largest
    eigenvalue of the pullback metric.

    Parameters
    ----------
    model : torch.nn.Module or callable
    x : torch.Tensor, shape (batch, ...)
    inputs : torch.Tensor, tuple or mapping of torch.Tensor, or None
    head : Head
    temperature : float
        Outputs are divided by it. The indicator depends on it.
    check : bool

    Returns
    -------
    torch.Tensor, shape (batch,)
        In the l2 norm of the input; inf where no direction moves the prediction, and where the
        dtype holds no number as large as that.

    Raises
    ------
    TypeError, ValueError
        A model, inputs, outputs or gradients that cannot be used.

    Notes
    -----
    It ranks inputs and certifies nothing: the metric at x says how fast the prediction starts to
    move, not how it goes on. On ordinary networks adversarial inputs lie nearer than that
    distance; `infogeo.lipschitz.certificates` has radii that hold.

    References
    ----------
    L. Shi-Garrier, N. C. Bouaynaya and D. Delahaye, Adversarial robustness with partial isometry,
    Entropy 26(2), 2024.

    Examples
    --------
    Two classes with logits (x, -x) are decided at 0. Where the prediction saturates the network
    is flat, and the indicator far above the distance ``|x|`` to the boundary.

    >>> import torch
    >>> from infogeo.robustness import robustness_indicator
    >>> x = torch.tensor([[0.01], [1.0], [4.0]])
    >>> robustness_indicator(lambda x: torch.cat([x, -x], dim=1), x)
    tensor([1.0000e-02, 1.3360e+00, 4.1895e+01])
    """
    metric = PullbackMetric(model, head, inputs=inputs, temperature=temperature, check=check)
    distance = _boundary_distance(head, _outputs(metric, x))
    log_largest = metric.log_spectrum(x)[:, 0]
    return torch.where(distance > 0.0, torch.exp(torch.log(distance) - 0.5 * log_largest), distance)


def isometry_criterion(
    model: Callable[..., Tensor],
    x: Tensor,
    *,
    radius: float | Tensor,
    inputs: Inputs = None,
    head: Head = heads.categorical,
    temperature: float = 1.0,
    check: bool = True,
) -> Tensor:
    r"""Return whether the network is too flat at x for a perturbation to change the decision.

    .. math:: \sqrt{\lambda_{\max}(x)} \le \frac{d_B(x)}{r}

    Parameters
    ----------
    model : torch.nn.Module or callable
    x : torch.Tensor, shape (batch, ...)
    radius : float or torch.Tensor, shape (batch,)
        The l2 size of the perturbation, positive.
    inputs : torch.Tensor, tuple or mapping of torch.Tensor, or None
    head : Head
    temperature : float
        Outputs are divided by it. The criterion depends on it.
    check : bool

    Returns
    -------
    bool torch.Tensor, shape (batch,)
        True where `robustness_indicator` is at least the radius.

    Raises
    ------
    TypeError, ValueError
        A model, inputs, a radius, outputs or gradients that cannot be used.

    Notes
    -----
    A partial isometry up to the factor d_B / r satisfies it with equality. It is what
    `isometry_penalty` trains for, with the exact distance to the decision boundary in the place
    of the distance to the centre of the simplex. It holds to first order and certifies nothing.

    References
    ----------
    L. Shi-Garrier, N. C. Bouaynaya and D. Delahaye, Adversarial robustness with partial isometry,
    Entropy 26(2), 2024.

    Examples
    --------
    >>> import torch
    >>> from infogeo.robustness import isometry_criterion
    >>> x = torch.tensor([[0.1], [1.0]])
    >>> isometry_criterion(lambda x: torch.cat([x, -x], dim=1), x, radius=0.5)
    tensor([False,  True])
    """
    indicator = robustness_indicator(
        model, x, inputs=inputs, head=head, temperature=temperature, check=check
    )
    return indicator >= _radius(radius, indicator, check)


# ---------------------------------------------------------------- attacks


def spectral_attack(
    model: Callable[..., Tensor],
    x: Tensor,
    *,
    radius: float | Tensor,
    num_steps: int = 1,
    clip: tuple[float | Tensor, float | Tensor] | None = None,
    inputs: Inputs = None,
    temperature: float = 1.0,
    check: bool = True,
) -> Attack:
    r"""Move inputs along the direction in which the prediction moves fastest.

    Each step goes along the top eigenvector of the pullback metric where it starts, in the sense
    that lowers the probability of the class predicted at x. The whole of the change is then scaled
    to the part of the radius that the steps so far have used.

    Parameters
    ----------
    model : torch.nn.Module or callable
        Maps x to logits of shape (batch, c), each input for itself.
    x : torch.Tensor, shape (batch, ...)
    radius : float or torch.Tensor, shape (batch,)
        The l2 size of the attack, positive.
    num_steps : int
        How often the direction is computed anew. Of k steps the i-th uses a share of the radius
        proportional to k + 2 - i: 3/5 and 2/5 of two steps.
    clip : None or (low, high)
        The box that the points stay in, numbers or tensors that broadcast to the shape of x. What
        it takes away from some entries the others get: the change grows until it has the size
        radius, or until the box ends.
    inputs : torch.Tensor, tuple or mapping of torch.Tensor, or None
    temperature : float
        Outputs are divided by it. The direction depends on it.
    check : bool

    Returns
    -------
    Attack
        The points, and whether their predicted class is another one than at x.

    Raises
    ------
    TypeError, ValueError
        A model, inputs, a radius, a box, outputs or gradients that cannot be used.

    Notes
    -----
    A step costs c - 1 backward and two forward passes. The points are never farther from x than
    the radius, nor outside of the box, after rounding to the dtype of x, too.

    References
    ----------
    C. Zhao, P. T. Fletcher, M. Yu, Y. Peng, G. Zhang and C. Shen, The adversarial attack and
    detection under the Fisher information metric, AAAI 2019 (one step).
    E. Tron, N. Couellan and S. Puechmorel, Adversarial attacks on neural networks through
    canonical Riemannian foliations, Machine Learning 113, 2024 (two steps).

    Examples
    --------
    For two classes and an affine model one step takes the shortest way to the boundary.

    >>> import torch
    >>> from infogeo.robustness import spectral_attack
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.eye_(model.weight)
    >>> attack = spectral_attack(model, torch.tensor([[1.0, 0.0], [3.0, 0.0]]), radius=0.8)
    >>> attack.points, attack.success
    (tensor([[0.4343, 0.5657],
            [2.4343, 0.5657]]), tensor([ True, False]))
    """
    metric = PullbackMetric(model, inputs=inputs, temperature=temperature, check=check)
    check_count("num_steps", num_steps)
    x = x.detach() if isinstance(x, torch.Tensor) else x
    z = _outputs(metric, x)
    radii = _radius(radius, x.flatten(1)[:, 0], check)
    box = _box(clip, x, check)
    label = z.argmax(-1, keepdim=True)
    points, used = x, 0.0
    for share in _shares(num_steps):
        direction = metric.spectrum(points, num_values=1).vectors[:, 0].to(_wide(x))
        change, step = points.to(_wide(x)) - x, _beside(share * radii, x) * direction
        used = used + share
        one, other = (_end(x, change + s * step, used * radii, box) for s in (1.0, -1.0))
        odds = [_log_odds(_outputs(metric, end), label) for end in (one, other)]
        points = torch.where(_beside(odds[0] <= odds[1], x), one, other)
    z = _outputs(metric, points)
    distances = _norm(points.to(_wide(x)) - x).to(z.dtype)
    return Attack(points, z.argmax(-1) != label[:, 0], distances, metric.temperature)


def pgd_attack(
    model: Callable[..., Tensor],
    x: Tensor,
    *,
    radius: float | Tensor,
    target: Tensor | None = None,
    order: float = 2,
    num_steps: int = 40,
    restarts: int = 1,
    clip: tuple[float | Tensor, float | Tensor] | None = None,
    generator: torch.Generator | None = None,
    inputs: Inputs = None,
    check: bool = True,
) -> MarginAttack:
    r"""Lower the margin of a class by projected gradient descent, from several starts.

    .. math:: \min_{|y - x|_p \le r} \; z_t(y) - \max_{j \ne t} z_j(y)

    The first run starts at x and lowers the log-odds of the target. The others start at random
    points of the ball, and each raises another class above the target: the runner-up at x first,
    and so on, again and again. What counts is the lowest margin at any step of any run.

    Parameters
    ----------
    model : torch.nn.Module or callable
        Maps x to logits of shape (batch, c), each input for itself.
    x : torch.Tensor, shape (batch, ...)
    radius : float or torch.Tensor, shape (batch,)
        The size of the attack, not negative.
    target : torch.Tensor, shape (batch,), optional
        The classes that are attacked, integers: the true ones, to measure what accuracy an attack
        leaves; by default the predicted ones, to try certificates.
    order : 2 or inf
        The p of the norm that the radius is for.
    num_steps : int
        Steps of each run, of length 2.5 r / num_steps.
    restarts : int
        How many runs there are, each from another start.
    clip : None or (low, high)
        The box that the points stay in, numbers or tensors that broadcast to the shape of x.
    generator : torch.Generator or None
        What draws the starts, on the device of x; None takes torch's own.
    inputs : torch.Tensor, tuple or mapping of torch.Tensor, or None
    check : bool

    Returns
    -------
    MarginAttack
        The points, the margins there, and whether another class is predicted.

    Raises
    ------
    TypeError, ValueError
        A model, inputs, classes, a radius, an order, a box, outputs or gradients that cannot be
        used.

    Notes
    -----
    That it fails proves nothing: only certificates do. A certificate that it breaks is wrong. The
    points are never farther from x than the radius, nor outside of the box, after rounding to the
    dtype of x, too.

    References
    ----------
    A. Madry, A. Makelov, L. Schmidt, D. Tsipras and A. Vladu, Towards deep learning models
    resistant to adversarial attacks, ICLR 2018.

    Examples
    --------
    >>> import torch
    >>> from infogeo.robustness import pgd_attack
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.eye_(model.weight)
    >>> attack = pgd_attack(model, torch.tensor([[1.0, 0.0], [3.0, 0.0]]), radius=0.8)
    >>> attack.points, attack.success, attack.margins
    (tensor([[0.4343, 0.5657],
            [2.4343, 0.5657]]), tensor([ True, False]), tensor([-0.1314,  1.8686]))
    """
    metric = PullbackMetric(model, inputs=inputs, check=check)
    check_count("num_steps", num_steps)
    check_count("restarts", restarts)
    if isinstance(order, bool) or order not in (2, math.inf):
        raise bad_value("order", "be 2 or inf", f"got {order!r}")
    x = x.detach() if isinstance(x, torch.Tensor) else x
    z = _outputs(metric, x)
    label = _classes(target, z, check)
    ball = _Ball(
        x,
        _radius(radius, x.flatten(1)[:, 0], check, NON_NEGATIVE).to(_wide(x)),
        float(order),
        _box(clip, x, check),
    )
    points, lowest = x, _margin(z, label)
    for run in range(restarts):
        start = torch.zeros_like(x, dtype=_wide(x)) if run == 0 else ball.draw(generator)
        change = ball.held(start)
        rival = None if run == 0 else _rival(z, label, run - 1)
        for _ in range(num_steps + 1):
            point = ball.at(change)
            margin, gradient = _margin_and_gradient(metric, point, label, rival)
            is_better = margin < lowest
            lowest = torch.where(is_better, margin, lowest)
            points = torch.where(_beside(is_better, x), point, points)
            change = ball.held(change - ball.step(gradient, 2.5 / num_steps))
    z = _outputs(metric, points)
    distances = ball.size(points.to(_wide(x)) - x).to(z.dtype)
    success = z.argmax(-1) != label[:, 0]
    return MarginAttack(points, success, _margin(z, label), distances, float(order))


@dataclass(frozen=True)
class _Ball:
    """The l2 or l_inf balls around inputs, cut by a box."""

    x: torch.Tensor
    radius: torch.Tensor
    order: float
    box: tuple[torch.Tensor, torch.Tensor] | None

    def size(self, v):
        """Return the norms of a batch."""
        return _norm(v) if self.order == 2 else v.flatten(1).abs().amax(1)

    def held(self, change):
        """Return the change cut by the box and then, drawn towards 0, by the ball."""
        if self.box is not None:
            x = self.x.to(change.dtype)
            change = change.clamp(*(bound.to(change.dtype) - x for bound in self.box))
        if self.order == 2:
            allowed = self.radius * (1.0 - 16.0 * torch.finfo(change.dtype).eps)
            size = self.size(change)
            share = torch.where(size > allowed, allowed / size, 1.0)
            return _beside(share, change) * change
        radius = _beside(self.radius, change)
        return torch.minimum(torch.maximum(change, -radius), radius)

    def at(self, change):
        """Return x + change, rounded towards x: short steps would be lost if the sum were kept."""
        end = (self.x.to(change.dtype) + change).to(self.x.dtype)
        is_beyond = (end.double() - self.x.double()).abs() > change.abs().double()
        end = torch.where(is_beyond, torch.nextafter(end, self.x), end)
        return end if self.box is None else torch.clamp(end, *self.box)

    def step(self, gradient, share):
        """Return the change of that share of the radius that raises a function fastest."""
        if self.order == 2:
            unit = gradient.flatten(1)
            unit = unit / unit.abs().amax(1, keepdim=True).clamp_min(torch.finfo(unit.dtype).tiny)
            direction = (unit / _norm(unit)[:, None].clamp_min(1.0)).reshape(gradient.shape)
        else:
            direction = gradient.sign()
        return _beside(share * self.radius, direction) * direction

    def draw(self, generator):
        """Return random points of the balls around 0, uniform in volume."""
        like = {"dtype": self.radius.dtype, "device": self.x.device, "generator": generator}
        if self.order == math.inf:
            return (2.0 * torch.rand(self.x.shape, **like) - 1.0) * _beside(self.radius, self.x)
        v = torch.randn(self.x.shape, **like)
        share = torch.rand(len(self.x), **like) ** (1.0 / max(self.x[0:1].numel(), 1))
        return v * _beside(self.radius * share / _norm(v).clamp_min(1e-30), v)


def _classes(target, z, check):
    """Return the classes that are attacked, with an axis added."""
    if z.shape[-1] < 2:
        raise bad_value("model", "return at least two logits", f"got shape {tuple(z.shape)}")
    if target is None:
        return z.argmax(-1, keepdim=True)
    if not isinstance(target, torch.Tensor):
        raise TypeError(f"target must be a torch tensor: got {type(target).__name__}.")
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise TypeError(f"target must hold classes as integers: its dtype is {target.dtype}.")
    if target.shape != z.shape[:1]:
        raise bad_value(
            "target",
            "have one class for each input",
            f"its shape is {tuple(target.shape)} for {len(z)} inputs",
        )
    if check and len(z) and not 0 <= int(target.min()) <= int(target.max()) < z.shape[-1]:
        raise bad_value(
            "target",
            f"hold classes from 0 to {z.shape[-1] - 1}",
            f"its entries range from {int(target.min())} to {int(target.max())}",
        )
    return target.to(z.device).long()[:, None]


def _margin(z, label):
    others = z.scatter(-1, label, -math.inf).amax(-1)
    own = z.gather(-1, label)[:, 0]
    return torch.where(own == others, 0.0, own - others)  # a masked class at a masked one


def _rival(z, label, place):
    """Return a class to raise, the same in all steps: the place-th after the target at x."""
    others = z.scatter(-1, label, -math.inf)
    count = torch.isfinite(others).sum(-1, keepdim=True).clamp_min(1)
    return others.argsort(-1, descending=True).gather(-1, place % count)


def _margin_and_gradient(metric, point, label, rival):
    """Return margins, and gradients of the target's log-odds or of its lead over one class."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = point.clone().requires_grad_()
        z = network_of(metric).outputs(leaf)
        if rival is None:
            goal = _log_odds(z, label)
        else:
            goal = (z.gather(-1, label) - z.gather(-1, rival))[:, 0]
        goal = torch.where(torch.isfinite(goal), goal, 0.0)  # of a class beside masked ones alone
        (gradient,) = torch.autograd.grad(goal.sum(), leaf)
    gradient = gradient.to(_wide(point))
    if metric.check:
        check_gradients(gradient.flatten(1)[:, None])
    return _margin(z.detach(), label), gradient


def _shares(num_steps):
    """Return the parts of the radius that the steps use, decreasing, with sum 1."""
    weights = [num_steps + 1.0 - i for i in range(num_steps)]
    return [weight / sum(weights) for weight in weights]


def _log_odds(z, label):
    """Return log p / (1 - p) of the label: no digit is lost where p is next to 1."""
    others = z.scatter(-1, label, -math.inf)
    return z.gather(-1, label)[:, 0] - torch.logsumexp(others, dim=-1)


def _end(x, direction, radius, box):
    """Return x + t direction, held in the box, with the t that makes its distance the radius.

    Rounding to the dtype of x goes towards x, so that the distance is never above the radius.
    """
    unit = direction.flatten(1)
    unit = unit / unit.abs().amax(1, keepdim=True).clamp_min(torch.finfo(unit.dtype).tiny)
    radius = radius.to(unit.dtype) * (1.0 - 16.0 * torch.finfo(unit.dtype).eps)
    if box is None:
        length = _norm(unit)
        t = torch.where(length > 0.0, radius / length, 0.0)
        change = t[:, None] * unit
    else:
        low, high = (bound.to(unit.dtype).flatten(1) for bound in box)
        start = x.to(unit.dtype).flatten(1)
        room = torch.where(unit > 0.0, high - start, start - low)
        change = unit.sign() * _held(unit.abs(), room, radius)
    change = change.reshape(x.shape)
    end = (x + change).to(x.dtype)
    is_beyond = (end.to(change.dtype) - x).abs() > change.abs()
    end = torch.where(is_beyond, torch.nextafter(end, x), end)
    return end if box is None else torch.clamp(end, *box)


def _held(speed, room, radius):
    """Return min(t speed, room) with the t at which its norm is the radius, or room if none is.

    Entries reach their room in the order of room / speed. Once j of them have, the squared norm is
    F_j + t^2 W_j, with the squares of their room in F_j and those of the other speeds in W_j.
    """
    time = torch.where(speed > 0.0, room / speed, math.inf)
    time, order = torch.sort(time, dim=1)
    held = torch.where(time < math.inf, room.gather(1, order), 0.0).square().cumsum(1)
    held = torch.nn.functional.pad(held, (1, 0))
    moving = speed.gather(1, order).square().flip(1).cumsum(1).flip(1)
    moving = torch.nn.functional.pad(moving, (0, 1))
    reached = torch.where(time < math.inf, held[:, :-1] + time.square() * moving[:, :-1], math.inf)
    j = (reached <= radius.square()[:, None]).sum(1, keepdim=True)
    left = radius.square()[:, None] - held.gather(1, j)
    moving = moving.gather(1, j)
    t = torch.where(moving > 0.0, torch.sqrt(left.clamp_min(0.0) / moving), math.inf)
    return torch.where(speed > 0.0, torch.minimum(t * speed, room), 0.0)


# ---------------------------------------------------------------- penalties


def isometry_penalty(
    model: Callable[..., Tensor],
    x: Tensor,
    *,
    radius: float | Tensor,
    inputs: Inputs = None,
    head: Head = heads.categorical,
    temperature: float = 1.0,
    check: bool = True,
) -> Tensor:
    r"""Return how far the network is from a partial isometry, to be added to a training loss.

    .. math:: \frac1n \sum_x \Bigl\| A(x) A(x)^\top
              - \Bigl(\frac{d_B(x)}{r}\Bigr)^2 I \Bigr\|_F^2

    with the factor A of the pullback metric, G = A'A, and the Fisher-Rao distance of the
    prediction to the decision boundary. It is 0 if the network stretches the leaf transverse to
    the kernel of G by d_B / r in all directions: just so much that a perturbation of size r does
    not reach the boundary, to first order.

    Parameters
    ----------
    model : torch.nn.Module or callable
    x : torch.Tensor, shape (batch, ...)
        The inputs, of no fewer than c - 1 entries each.
    radius : float or torch.Tensor, shape (batch,)
        The l2 size of the perturbations to withstand, positive.
    inputs : torch.Tensor, tuple or mapping of torch.Tensor, or None
    head : Head
    temperature : float
        Outputs are divided by it. The penalty depends on it.
    check : bool
        Verify the values. On an accelerator every call then waits for them.

    Returns
    -------
    torch.Tensor, shape ()
        The mean over the batch, differentiable by the parameters of the model and by x; without
        a graph under `torch.no_grad`.

    Raises
    ------
    TypeError, ValueError
        A model, inputs, a radius or outputs that cannot be used.

    Notes
    -----
    It takes c - 1 backward passes that are themselves differentiated: see `trace_penalty` for
    one. BatchNorm and Dropout in training mode raise: call ``model.eval()`` before and
    ``model.train()`` after it.

    References
    ----------
    L. Shi-Garrier, N. C. Bouaynaya and D. Delahaye, Adversarial robustness with partial isometry,
    Entropy 26(2), 2024 (with the distance to the centre of the simplex in the place of d_B).

    Examples
    --------
    >>> import torch
    >>> from infogeo.robustness import isometry_penalty
    >>> model = torch.nn.Linear(6, 3)
    >>> x, target = torch.rand(8, 6), torch.randint(3, (8,))
    >>> loss = torch.nn.functional.cross_entropy(model(x), target)
    >>> loss = loss + 0.1 * isometry_penalty(model, x, radius=0.5)
    >>> loss.backward()
    """
    metric = PullbackMetric(model, head, inputs=inputs, temperature=temperature, check=check)

    def penalty(z, x):
        target = _boundary_distance(head, z) / _radius(radius, z[:, 0], check)
        weights = head.factor(z)
        rows = torch.stack([_pull(z, x, w) for w in weights.unbind(1)], dim=1).flatten(2)
        identity = torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
        return (rows @ rows.mT - target.square()[:, None, None] * identity).square().sum((1, 2))

    return _mean(metric, x, penalty)


def trace_penalty(
    model: Callable[..., Tensor],
    x: Tensor,
    *,
    num_probes: int = 1,
    generator: torch.Generator | None = None,
    inputs: Inputs = None,
    head: Head = heads.categorical,
    temperature: float = 1.0,
    check: bool = True,
) -> Tensor:
    r"""Return an estimate of the mean trace of the metric, to be added to a training loss.

    .. math:: \frac1n \sum_x \operatorname{tr} G(x)
              = \frac1n \sum_x \mathrm E_v \bigl| J^\top A(z)^\top v \bigr|^2

    with the factor A(z) of the Fisher information of the outputs and random signs v.

    Parameters
    ----------
    model : torch.nn.Module or callable
    x : torch.Tensor, shape (batch, ...)
    num_probes : int
        How many v are drawn for each input.
    generator : torch.Generator or None
        What draws them, on the device of x; None takes torch's own.
    inputs : torch.Tensor, tuple or mapping of torch.Tensor, or None
    head : Head
        What the raw outputs stand for.
    temperature : float
        Outputs are divided by it. The penalty depends on it.
    check : bool
        Verify the values. On an accelerator every call then waits for them.

    Returns
    -------
    torch.Tensor, shape ()
        An unbiased estimate, with unbiased gradients, of the mean of ``PullbackMetric.trace``:
        squared radians per squared unit of input. Differentiable by the parameters of the model
        and by x; without a graph under `torch.no_grad`.

    Raises
    ------
    TypeError, ValueError
        A model, inputs, outputs or a number of probes that cannot be used.

    Notes
    -----
    It takes one backward pass for each probe, which is itself differentiated. The probes live in
    the c - 1 rows of the factor and not in the input: the variance, twice the sum of
    the squares off the diagonal of A A', knows nothing of the size of the input. BatchNorm and
    Dropout in training mode raise: call ``model.eval()`` before and ``model.train()`` after it.

    References
    ----------
    M. F. Hutchinson, A stochastic estimator of the trace of the influence matrix for Laplacian
    smoothing splines, Comm. Statist. Simulation Comput. 18, 1989.

    Examples
    --------
    For two classes the factor has one row, and the estimate is exact.

    >>> import torch
    >>> from infogeo.robustness import trace_penalty
    >>> trace_penalty(lambda x: torch.cat([x, -x], dim=1), torch.zeros(3, 1))
    tensor(1., grad_fn=<MeanBackward0>)
    """
    metric = PullbackMetric(model, head, inputs=inputs, temperature=temperature, check=check)
    check_count("num_probes", num_probes)

    def penalty(z, x):
        squares = []
        for _ in range(num_probes):
            pulled = _pull(z, x, _signed_sum(head, z, generator))
            squares.append(pulled.flatten(1).square().sum(1))
        return torch.stack(squares).mean(0)

    return _mean(metric, x, penalty)


def _mean(metric, x, penalty):
    """Return the mean of penalty(z, x) over the batch, with a graph if the caller has one."""
    check_input(x, check=metric.check)
    if len(x) == 0:
        raise bad_value("x", "hold at least one input", f"its shape is {tuple(x.shape)}")
    keeps_graph = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        leaf = x.clone()
        if not leaf.requires_grad:
            leaf.requires_grad_()
        network = network_of(metric)
        z = network.outputs(leaf)
        if metric.check:
            network.examine(x)
        value = penalty(z, leaf).mean()
    return value if keeps_graph else value.detach()


def _pull(z, x, weights):
    """Return J' weights, differentiable."""
    pulled = pull_back(z, x, weights, create_graph=True)
    return pulled.to(z.dtype)  # z is float32 at least: squares of half precision overflow


def _signed_sum(head, z, generator):
    """Return A(z)'v for random signs v, in O(c): as the derivative of u -> v'A(z) u."""
    u = torch.zeros_like(z, requires_grad=True)
    rows, log_scales = apply_head(head, z, Tangent(u))
    pushed = log_scales.exp() * rows[..., 0]
    v = torch.empty_like(pushed, requires_grad=False).bernoulli_(0.5, generator=generator)
    (summed,) = torch.autograd.grad(pushed, u, 2.0 * v - 1.0, create_graph=True)
    return summed


# ---------------------------------------------------------------- arguments


def _outputs(metric, x):
    """Return the checked outputs of the model at checked inputs, without a graph."""
    check_input(x, check=metric.check)
    return network_of(metric).outputs_alone(x)


def _boundary_distance(head, z):
    if head.boundary_distance is None:
        raise ValueError(
            "head must know how far an output is from another decision: this Head does not. "
            "Pass Head(factor, boundary_distance=...)."
        )
    return head.boundary_distance(z)


def _radius(radius, like, check, rule=POSITIVE):
    """Return the radius as one number for each input."""
    _, radius, like = gate(check, radius=(rule, radius), x=(REAL, like.detach()))
    if radius.ndim > 1 or (radius.ndim == 1 and len(radius) not in (1, len(like))):
        raise bad_value(
            "radius",
            "be a number or hold one for each input",
            f"its shape is {tuple(radius.shape)} for {len(like)} inputs",
        )
    return radius.expand(len(like))


def _box(clip, x, check):
    """Return the bounds of the box in the dtype and the shape of x."""
    if clip is None:
        return None
    if not isinstance(clip, tuple | list) or len(clip) != 2:
        raise TypeError(f"clip must be None or a pair (low, high): got {clip!r}.")
    box = []
    for name, bound in zip(("clip low", "clip high"), clip, strict=True):
        _, bound, _ = gate(check, **{name: (REAL, bound), "x": (REAL, x)})
        try:
            box.append(bound.to(x.dtype).expand(x.shape))
        except RuntimeError:
            raise bad_value(
                name,
                "broadcast to the shape of x",
                f"x has shape {tuple(x.shape)} and {name} {tuple(bound.shape)}",
            ) from None
    low, high = box
    if check and not bool(((low <= x) & (x <= high)).all()):
        raise bad_value(
            "x",
            "lie in the box that clip describes",
            f"its entries range from {float(x.min()):.6g} to {float(x.max()):.6g}, and clip from "
            f"{float(low.min()):.6g} to {float(high.max()):.6g}",
        )
    return low, high


def _wide(x):
    return _array.widest_dtype(x, torch_namespace)


def _norm(v):
    return _array.norm(v.flatten(1), torch_namespace)


def _beside(values, x):
    """Return values of shape (batch,) with an axis of length 1 for each axis of an input."""
    return values.reshape(-1, *(1,) * (x.ndim - 1))


finish(
    globals(),
    {
        "model : torch.nn.Module or callable": (
            "Maps x to raw outputs of shape (batch, c), each input for itself."
        ),
        "head : Head": "What the raw outputs stand for; it has to know its boundary distance.",
        "check : bool": (
            "Verify the values of inputs, outputs and gradients. Shapes and dtypes are always\n"
            "verified."
        ),
    },
)
