r"""Whether a model is what all results take it for: looked at once for a model and a kind of input.

A model must treat each sample by itself and always in the same way, and its derivatives must be
those of what it computes. Forward and reverse mode differentiate what autograd has recorded: they
disagree with each other, or with the model, where something runs under `torch.no_grad`, in
compiled functions and behind hooks. Differences are the referee.
"""

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch

from infogeo._array import bad_value
from infogeo.pullback._checks import modules_in
from infogeo.pullback._derivatives import pull_back, push_by_two_backwards, push_forward
from infogeo.pullback._graph import read_graph

_KNOWN: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
# TorchScript optimises a function after it has seen some calls, and is another one then; a
# small dropout may leave everything as it is in one call.
_RUNS = 3


def once(examine, model, call, x, *settings, about=()):
    """Return examine(call, x, *settings), remembered for a model, its hooks and kind of input.

    `about` is what `call` depends on besides x: a model may do other things with other inputs.
    """
    kind = (examine, *settings, about, x.shape[1:], x.dtype, x.device, len(x) > 1, num_hooks(model))
    try:
        known = _KNOWN.setdefault(model, {})
    except TypeError:  # a model that cannot be remembered
        return examine(call, x, *settings)
    if kind not in known:
        known[kind] = examine(call, x, *settings)
    return known[kind]


def num_hooks(model):
    """Return how many hooks there are: with another one a model may be another function."""
    return _num_hooks_at(p for m in modules_in(model) for p in m.modules())


def is_as_written(part):
    """Return whether a module does what its class does: without hooks and a forward of its own."""
    return _num_hooks_at([part]) == 0 and "forward" not in vars(part)


def _num_hooks_at(parts):
    everywhere = torch.nn.modules.module
    return sum(len(getattr(part, name, ())) for part in (everywhere, *parts) for name in _HOOKS)


_HOOKS = tuple(
    f"{scope}{kind}_hooks"
    for scope in ("_", "_global_")
    for kind in ("forward", "forward_pre", "backward", "backward_pre")
)


# ---------------------------------------------------------------- samples


def check_samples(call, x):
    """Refuse outputs that depend on other samples, on chance, or on how often the model ran.

    `call` maps rows, and the samples that they belong to, to the raw outputs of the model.
    """
    if len(x) == 0:
        return
    rows = torch.arange(min(len(x), 4), device=x.device)
    if len(rows) == 1:
        near, _ = _point(call, x, rows)
        rows, x = rows.repeat(2), torch.cat([x, near])
    whole, x = x, x[: len(rows)].detach()
    try:
        z, eps = _asked(call, x, rows)
    except Exception as error:  # of whatever kind the model raises
        if len(x) < len(whole):
            _asked(call, whole, None)  # which may be wrong, too
            raise _fails_alone(f"model(x[:{len(x)}])", error) from error
        raise
    if not _is_readable(z, len(rows)):
        return  # what is wrong with it is said elsewhere
    slack = _slack(z, eps)
    change = max(_difference(_asked(call, x, rows)[0], z) for _ in range(_RUNS))
    if not change <= slack:
        raise bad_value("model", *_not_the_same(change))
    rounded = x[:1] * (1.0 - torch.finfo(x.dtype).eps * _every_other(x[:1]))
    try:
        alone, moved = (_asked(call, point, rows[:1])[0] for point in (x[:1], rounded))
    except Exception as error:
        raise _fails_alone("model(x[:1])", error) from error
    if alone.shape != z[:1].shape:
        shapes = f"{tuple(alone.shape)} and {tuple(z[:1].shape)}"
        seen = f"model(x[:1]) and model(x)[:1] have the shapes {shapes}"
        raise bad_value("model", "treat each input by itself", seen, _MIXING)
    if not _difference(alone, z[:1]) <= slack + 100.0 * _difference(moved, alone):
        raise bad_value(
            "model",
            "treat each input by itself",
            f"model(x[:1]) and model(x)[:1] differ by {_difference(alone, z[:1]):.3g}",
            _MIXING,
        )


def _fails_alone(what, error):
    seen = f"{what} fails, and model(x) does not: {str(error).splitlines()[0].rstrip('.')}"
    return bad_value("model", "treat each input by itself", seen, _MIXING)


_MIXING = (
    "Leave out what is computed from the whole batch; a tensor that belongs to the samples goes "
    "into inputs=, not into a closure."
)


def _not_the_same(difference):
    return (
        "always treat an input in the same way",
        f"two calls with the same x differ by {difference:.3g}",
        "Call eval() on all its parts, and leave out what is random or counts its calls.",
    )


def _asked(call, x, rows):
    """Return the outputs, and the epsilon of the precision in which the model computed them."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = x.clone().requires_grad_()
        z = call(leaf, rows)
    is_tensor = isinstance(z, torch.Tensor) and z.is_floating_point()
    return (z.detach(), read_graph(z, leaf).eps) if is_tensor else (z, math.nan)


def _is_readable(z, num_rows):
    return isinstance(z, torch.Tensor) and z.is_floating_point() and z.shape[:1] == (num_rows,)


def _difference(z, w):
    """Return the largest difference of finite entries; inf where other entries are finite."""
    if z.shape != w.shape:
        return math.inf
    z, w = z.double(), w.double()
    same = (z == w) | (z.isnan() & w.isnan())
    return float(torch.where(same, 0.0, (z - w).abs()).nan_to_num(math.inf).amax())


def _slack(z, eps):
    """Return how far apart outputs may be by rounding in the precision of the model."""
    finite = z.double()[torch.isfinite(z)]
    size = float(finite.abs().amax()) if finite.numel() else 0.0
    return size * math.sqrt(eps)


def _every_other(x):
    return (torch.arange(x.numel(), device=x.device) % 2).to(x.dtype).reshape(x.shape)


# ---------------------------------------------------------------- derivatives


@dataclass(frozen=True)
class Verdict:
    """How J v may be taken so that it belongs to the rows, and what is wrong with the rows.

    The complaint is what `bad_value` says of the model; none if all is well.
    """

    push: Callable | None
    complaint: tuple[str, str, str] | None


def judge(call, x, has_constants):
    """Compare the derivatives of the outputs along a random direction, in all ways there are.

    What is compared are functions <u, z> with random u, at points beside the inputs, where no kink
    lies that an input was put on. Without `has_constants` the sum of u is 0: a constant added to
    all logits changes nothing, whether autograd knows of it or not.
    """
    if len(x) == 0:
        return Verdict(push_forward, None)
    rows = torch.arange(len(x), device=x.device)
    few = rows[:: max(1, len(x) - 1)]
    try:
        return _judge_at(call, x.detach()[few], few, has_constants)
    except Exception:  # of a model that is tied to the whole batch by what its closure holds
        if len(few) == len(x):
            raise
        return _judge_at(call, x.detach(), rows, has_constants)


def _judge_at(call, x, rows, has_constants):
    probe = _probe(call, x, rows, has_constants, 0)
    complaint = _complaint_of_samples(probe)
    pushed = {push: _along(push, probe) for push in (push_forward, push_by_two_backwards)}
    fits = [push for push, value in pushed.items() if value is not None and _fits(value, probe)]
    if complaint is None:
        complaint = _complaint_of_gradients(probe, pushed[push_forward])
    if complaint is not None and complaint[0] == _WRONG:
        # A kink between the ends of a difference looks the same, but not at two places.
        elsewhere = _probe(call, x, rows, has_constants, 10)
        complaint = complaint if _complaint_of_gradients(elsewhere, None) else None
    return Verdict(fits[0] if fits else None, complaint)


@dataclass(frozen=True)
class _Probe:
    """A random function <u, z> of outputs at points near samples, and its gradient there."""

    outputs: Callable
    is_inside: bool  # whether the points lie where the model can be asked
    x: torch.Tensor
    v: torch.Tensor
    z: torch.Tensor
    u: torch.Tensor
    gradient: torch.Tensor
    eps: float  # of the precision in which the model computes

    @property
    def size(self):
        """The length of the gradient at each sample; its products with v are about as large."""
        return _rows_norm(self.gradient)

    @property
    def reverse(self):
        return _products(self.gradient, self.v)


def _probe(call, x, rows, has_constants, seed):
    def outputs(y):
        return call(y, rows)

    with torch.inference_mode(False), torch.enable_grad():
        near, is_inside = _point(call, x, rows, seed)
        leaf = near.clone().requires_grad_()
        z = outputs(leaf)
        u = _ends(z.detach(), has_constants, seed + 1)
        gradient = pull_back(z, leaf, u)
    v = _random(near, seed + 2)
    return _Probe(outputs, is_inside, leaf, v, z, u, gradient, read_graph(z, leaf).eps)


def _ends(z, has_constants, seed):
    """Return random u with 0 where a class is masked, and with sum 0 where constants are none."""
    is_finite = torch.isfinite(z)
    u = torch.where(is_finite, _random(z, seed), 0.0)
    if has_constants:
        return u
    mean = u.sum(-1, keepdim=True) / is_finite.sum(-1, keepdim=True).clamp(min=1)
    return torch.where(is_finite, u - mean, 0.0)


def _fits(value, probe):
    slack = math.sqrt(probe.eps) * _most(probe.size, value)
    return bool(((value - probe.reverse).abs() <= slack).all())


def _complaint_of_samples(probe):
    """Say whether outputs are random, or have gradients by another sample's input."""
    z, x = probe.z.detach(), probe.x
    with torch.inference_mode(False), torch.enable_grad():
        change = max(_difference(probe.outputs(x).detach(), z) for _ in range(_RUNS))
        if not change <= _slack(z, probe.eps):
            return _not_the_same(change)
        first = torch.zeros_like(probe.u)
        first[:1] = probe.u[:1]
        others = _rows_norm(pull_back(probe.z, x, first))[1:]
    if bool((others > math.sqrt(probe.eps) * probe.size[:1]).any()):
        seen = "the outputs of one sample have gradients by the inputs of another one"
        return "treat each input by itself", seen, _MIXING
    return None


def _point(call, x, rows, seed=0):
    """Return points near the inputs at which the model can be asked, or the inputs themselves."""
    near = x + 0.1 * _scale(x) * _random(x, seed).abs()  # what is positive stays so
    try:
        z, _ = _asked(call, near, rows)
    except Exception:  # whatever a model does with inputs that are none of its own
        return x, False
    is_inside = _is_readable(z, len(x)) and not bool(z.isnan().any())
    return (near, True) if is_inside else (x, False)


def _scale(x):
    """Return the typical size of the entries of each input."""
    size = x.flatten(1).double().square().mean(1).sqrt().to(x.dtype)
    size = torch.where(size > 0.0, size, 1.0)
    return size.reshape(-1, *(1,) * (x.ndim - 1))


def _random(like, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(like.shape, generator=generator, dtype=torch.float64)
    return values.to(like.device, like.dtype)


def _products(a, b):
    return (a.double() * b.double()).flatten(1).sum(1)


def _rows_norm(g):
    return g.double().flatten(1).norm(dim=1)


def _most(size, *values):
    """Return the scale of comparison: of the gradient, or of a derivative that is larger."""
    known = [value.abs() for value in values if value is not None]
    return torch.stack([size, *known]).amax(0)


def _along(push, probe):
    """Return <u, J v> as a mode has it in the long run; None where it fails."""
    try:
        with torch.inference_mode(False), torch.enable_grad():
            for _ in range(_RUNS if push is push_forward else 1):
                leaf = probe.x.detach().clone().requires_grad_()
                _, tangent = push(probe.outputs, leaf, probe.v.clone())
    except (RuntimeError, ValueError):  # no such derivatives, or none that depends on x
        return None
    return _products(torch.where(probe.u == 0.0, 0.0, tangent), probe.u)


def _differences(probe, scale):
    """Return the derivative by differences, and how far it may be off; NaN where nobody knows."""
    x, u = probe.x.detach(), probe.u
    spread = (torch.where(u == 0.0, 0.0, probe.z.detach()).double() * u).abs().sum(1)
    step = torch.finfo(x.dtype).eps ** (1.0 / 3.0) * _scale(x).flatten().double()
    # A model that is steep everywhere is asked within the part of its range that stays linear.
    steepest = torch.where(probe.size > 0.0, probe.size, 1.0)
    step = torch.minimum(step, 0.01 * spread / steepest).clamp(min=1e-300)
    slopes = []
    for h in (step, 0.25 * step):
        move = h.to(x.dtype).reshape(-1, *(1,) * (x.ndim - 1)) * probe.v
        with torch.inference_mode(False), torch.enable_grad():  # a model may set hooks on a graph
            ends = [probe.outputs((x + side * move).requires_grad_()) for side in (1.0, -1.0)]
        plus, minus = (torch.where(u == 0.0, 0.0, end.detach()).double() for end in ends)
        slopes.append(_products(plus - minus, u) / (2.0 * h))
    scale = _most(scale, *slopes)
    error = (slopes[0] - slopes[1]).abs() + 32.0 * probe.eps * spread / step
    error = torch.where(error <= 0.02 * scale, error, math.nan)
    return slopes[1], torch.maximum(10.0 * error, torch.finfo(x.dtype).eps ** 0.25 * scale)


def _complaint_of_gradients(probe, forward):
    """Say what is wrong with the gradients; nothing where they are right, or nobody knows."""
    if not probe.is_inside:
        return None
    reverse = probe.reverse
    found, allowed = _differences(probe, _most(probe.size, forward))
    is_wrong = (found - reverse).abs() > allowed
    if not bool(is_wrong.any()):
        return None
    i = int(torch.argwhere(is_wrong)[0])
    by_mode = [f"{float(reverse[i]):.3g} by reverse mode"]
    if forward is not None:
        by_mode.append(f"{float(forward[i]):.3g} by forward mode")
    return (
        _WRONG,
        f"along a random direction near x it is {float(found[i]):.3g} by differences of outputs, "
        f"{' and '.join(by_mode)}",
        "Look for torch.no_grad(), detach(), hooks and backwards of your own; check=False takes "
        "gradients as they are.",
    )


_WRONG = "have gradients that are the derivatives of what it computes"
