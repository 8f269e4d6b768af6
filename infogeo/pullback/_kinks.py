"""Where a network is not differentiable: ties of a maximum, kinks of an activation."""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from infogeo._array import Array, on_host
from infogeo._docs import finish
from infogeo._result import Table
from infogeo._system.registry import storable
from infogeo.pullback._checks import check_input, check_model, check_number
from infogeo.pullback._network import (
    Inputs,
    SampleInputs,
    call_model,
    check_samples_once,
    refused_shape,
)
from infogeo.pullback._references import modules_in

__all__ = ["check_differentiable"]


@storable("Kinks")
@dataclass(frozen=True, eq=False, repr=False)
class Kinks(Table):
    """Where a network is not differentiable at its inputs.

    Parameters
    ----------
    is_differentiable : bool array, shape (batch,)
        Whether no kink was found at the input.
    operations : tuple of str
        The operations with kinks, and the modules that they belong to.
    counts : int array, shape (batch, len(operations))
        How many entries of their results are at a kink.
    """

    axes: ClassVar = {"sample": None, "operation": "operations"}

    is_differentiable: Array
    operations: tuple[str, ...]
    counts: Array

    def __str__(self) -> str:
        is_smooth, counts = on_host(self.is_differentiable), on_host(self.counts)
        lines = [f"Kinks: {int((~is_smooth).sum())} of {_counted(len(is_smooth), 'input')} at one"]
        for name, column in list(zip(self.operations, counts.T, strict=True))[:_MANY]:
            entries = _counted(int(column.sum()), "entry", "entries")
            lines.append(f"{name}: {entries} of {_counted(int((column > 0).sum()), 'input')}")
        if len(self.operations) > _MANY:
            lines.append(f"and {_counted(len(self.operations) - _MANY, 'operation')} more")
        return "\n  ".join(lines)


_MANY = 12  # operations that are shown


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def check_differentiable(
    model: Callable[..., Tensor],
    x: Tensor,
    *,
    inputs: Inputs = None,
    step: float | None = None,
    check: bool = True,
) -> Kinks:
    r"""Look for kinks of a network at its inputs: where a derivative depends on the side.

    Each input is moved a little, forwards and backwards along a random direction. Where an
    operation is on another piece at the two ends (a ReLU on and off, another maximum of a pooling
    window, another order of a sort), a kink lies between them.

    Parameters
    ----------
    model : torch.nn.Module or callable
        Maps x to raw outputs, each input for itself.
    x : torch.Tensor, shape (batch, ...)
    inputs : torch.Tensor, tuple or mapping of torch.Tensor, or None
    step : float or None
        The entries of x move by this times normal random numbers. None takes 100 eps of the dtype
        times the largest entry of each input: as near as rounding allows.
    check : bool
        Verify the values of the inputs.

    Returns
    -------
    Kinks
        Whether each input is free of kinks, and how many entries of which operations are at one.

    Raises
    ------
    TypeError, ValueError
        A model, inputs or a step that cannot be used.

    Notes
    -----
    A kink at x is seen for almost all directions, which are the same in each call. Ties that
    change nothing are not kinks: the maximum of a window of zeros after a ReLU that is off stays 0.
    What a derivative at a kink is good for: autograd picks one of the sides, and so does the
    pullback metric.

    Comparisons, roundings and maxima in any form are recognised, in modules and functions alike.
    Not seen are singular derivatives (a square root, a norm or a complex absolute value at 0), what
    leaves torch, and what TorchScript has fused.
    The cost is two forward passes for each input, one by one.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import check_differentiable
    >>> model = torch.nn.Sequential(torch.nn.MaxPool1d(2), torch.nn.ReLU(), torch.nn.Flatten())
    >>> x = torch.tensor([[[2.0, 1.0, 0.0, -1.0]], [[1.0, 1.0, 3.0, 1.0]], [[1.0, 2.0, 3.0, 4.0]]])
    >>> print(check_differentiable(model, x))
    Kinks: 2 of 3 inputs at one
      max_pool2d_with_indices in 0 (MaxPool1d): 1 entry of 1 input
      relu in 1 (ReLU): 1 entry of 1 input
    """
    check_input(x, check=check)
    if step is not None:
        check_number("step", step)
    check_model(model)
    further = SampleInputs.of(inputs, len(x))
    if check:
        check_samples_once(model, x, further)
    generator = torch.Generator().manual_seed(0)
    found = []
    for i, sample in enumerate(x.detach()):
        scale = float(sample.abs().amax()) or 1.0
        size = 100.0 * torch.finfo(x.dtype).eps * scale if step is None else float(step)
        direction = torch.randn(sample.shape, generator=generator, dtype=torch.float64)
        shift = size * direction.to(sample.device, sample.dtype)
        own = further.select(slice(i, i + 1))
        ends = [_pieces(model, (sample + sign * shift)[None], own) for sign in (1.0, -1.0)]
        found.append(_compare(*ends))
    operations = tuple(dict.fromkeys(name for counts in found for name in counts))
    counts = torch.tensor(
        [[counts.get(name, 0) for name in operations] for counts in found], dtype=torch.int64
    ).reshape(len(found), len(operations))
    seen = [j for j in range(len(operations)) if bool(counts[:, j].any())]
    counts = counts[:, seen].to(x.device)
    return Kinks(~counts.any(1), tuple(operations[j] for j in seen), counts)


def _pieces(model, x, inputs):
    """Return (name, piece) of each operation that has pieces, in the order of the forward pass."""
    with torch.inference_mode(False), torch.enable_grad(), _named(model) as path:
        # With a gradient to compute, torch takes no fused path that hides operations.
        leaf = x.clone().requires_grad_()
        with _Recorder(path) as recorder:
            z = call_model(model, leaf, inputs)
    if isinstance(z, torch.Tensor) and z.ndim and len(z) != 1:
        raise refused_shape(x, z)
    return recorder.pieces


def _compare(forward, backward):
    """Return how many entries of each operation are on another piece at the other end."""
    counts = {}
    for (name, one), (other_name, other) in zip(forward, backward, strict=False):
        if name != other_name or one.shape != other.shape:
            break
        counts[name] = counts.get(name, 0) + one.count_changes(other)
    else:
        if len(forward) == len(backward):
            return counts
    return counts | {"another branch of the forward pass": 1}


@contextlib.contextmanager
def _named(model):
    """Yield a list that holds, during a forward pass, the names of the modules that are running."""
    path, hooks = [], []
    modules = [pair for root in modules_in(model) for pair in root.named_modules()]
    for name, module in modules:
        if isinstance(module, torch.jit.ScriptModule):
            continue  # which take no hooks
        label = f"{name} ({type(module).__name__})" if name else type(module).__name__

        def enter(module, arguments, label=label):
            path.append(label)

        def leave(module, arguments, output):
            path.pop()

        hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield path
    finally:
        for hook in hooks:
            hook.remove()


class _Recorder(TorchDispatchMode):
    """Notes the piece that each operation is on, while a model runs."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.pieces = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__.rstrip("_")
        has_pieces = name in _PIECES and args and isinstance(args[0], torch.Tensor)
        x = args[0].detach().clone() if has_pieces else None  # it may be worked on in place
        if x is not None and x.is_mkldnn:
            x = x.to_dense()
        output = func(*args, **(kwargs or {}))
        if x is not None:
            piece = _piece(name, x, output, _arguments(func, args, kwargs or {}))
            if piece is not None:
                self.pieces.append((f"{name} in {self.path[-1]}" if self.path else name, piece))
        return output


def _arguments(func, args, kwargs):
    """Return the arguments of an operation by name, with its defaults."""
    declared = func._schema.arguments
    defaults = {a.name: a.default_value for a in declared if a.has_default_value()}
    return defaults | {a.name: value for a, value in zip(declared, args, strict=False)} | kwargs


# ---------------------------------------------------------------- pieces


def _piece(name, x, output, arguments):
    """Return the piece that an operation is on; None where it has no others."""
    if x.is_complex() and name != "linalg_vector_norm":
        return None  # complex numbers have no order, and their absolute values a kink only at 0
    return _PIECES[name](x, output, arguments)


class _Sides:
    """Values that are constant on each piece."""

    def __init__(self, values):
        self.values = values
        self.shape = values.shape

    def count_changes(self, other):
        return int((self.values != other.values).sum())


class _Choice:
    """Entries picked from x along its last axis; another one of equal value is no change."""

    def __init__(self, x, picked):
        self.x = x
        self.picked = picked
        self.shape = picked.shape

    def count_changes(self, other):
        changes = [
            end.x.gather(-1, self.picked) != end.x.gather(-1, other.picked) for end in (self, other)
        ]
        return int((changes[0] | changes[1]).sum())


def _split_at(*names_or_numbers):
    """Return the rule of pieces that end at thresholds: numbers, or names of arguments."""

    def piece(x, output, arguments):
        bounds = [arguments.get(b) if isinstance(b, str) else b for b in names_or_numbers]
        return _Sides(sum((x > b).to(torch.int8) for b in bounds if b is not None))

    return piece


def _shrink(x, output, arguments):
    return _Sides(
        (x > arguments["lambd"]).to(torch.int8) - (x < -arguments["lambd"]).to(torch.int8)
    )


def _elu(x, output, arguments):
    is_smooth = abs(arguments["alpha"] * arguments["input_scale"] - 1.0) < 1e-12
    return None if is_smooth else _Sides(x > 0.0)


def _discrete(x, output, arguments):
    return _Sides(output.detach().clone())


def _pooling(num_axes):
    def piece(x, output, arguments):
        return _Choice(x.flatten(-num_axes), output[1].detach().flatten(-num_axes))

    return piece


def _selection(extreme):
    """Return the rule of what picks entries along an axis, or of all entries their extreme."""

    def piece(x, output, arguments):
        axis = arguments.get("dim")
        if axis is None:
            return _Sides(x == extreme(x, tuple(range(x.ndim)), keepdim=True))
        places = (output[1] if isinstance(output, tuple | list) else output).detach()
        places = places.unsqueeze(axis) if places.ndim < x.ndim else places
        return _Choice(x.movedim(axis, -1), places.movedim(axis, -1))

    return piece


def _reduction(extreme):
    def piece(x, output, arguments):
        return _Sides(x == extreme(x, arguments["dim"], keepdim=True))

    return piece


def _both_extremes(x, output, arguments):
    axis = tuple(range(x.ndim)) if arguments["dim"] is None else arguments["dim"]
    is_smallest, is_largest = (x == f(x, axis, keepdim=True) for f in (torch.amin, torch.amax))
    return _Sides(is_smallest.to(torch.int8) + 2 * is_largest.to(torch.int8))


def _norm(x, output, arguments):
    order, axis = arguments["ord"], arguments["dim"]
    sign = torch.ones_like(x) if x.is_complex() else x.sign()
    if order == 1.0:
        return None if x.is_complex() else _Sides(sign > 0.0)
    if abs(order) != math.inf:
        return None
    extreme = torch.amax if order > 0.0 else torch.amin
    size, axis = x.abs(), tuple(range(x.ndim)) if axis is None else axis
    return _Sides(sign * (size == extreme(size, axis, keepdim=True)))


def _remainder(rounding):
    def piece(x, output, arguments):
        return _Sides(rounding(x / arguments["other"]))

    return piece


def _divided(x, output, arguments):
    is_rounded = arguments.get("rounding_mode") is not None
    return _Sides(output.detach().clone()) if is_rounded else None


def _converted(x, output, arguments):
    is_rounded = x.is_floating_point() and not (output.is_floating_point() or output.is_complex())
    return _Sides(output.detach().clone()) if is_rounded else None


_PIECES = {
    **dict.fromkeys(
        (
            *("relu", "leaky_relu", "_prelu_kernel", "rrelu_with_noise"),
            *("abs", "sign", "sgn", "signbit", "heaviside"),
        ),
        _split_at(0.0),
    ),
    **dict.fromkeys(("hardswish", "hardsigmoid"), _split_at(-3.0, 3.0)),
    "hardtanh": _split_at("min_val", "max_val"),
    "threshold": _split_at("threshold"),
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max"), _split_at("min", "max")),
    **dict.fromkeys(("maximum", "minimum", "fmax", "fmin"), _split_at("other")),
    **dict.fromkeys(("softshrink", "hardshrink"), _shrink),
    "elu": _elu,
    **dict.fromkeys(
        (
            *("gt", "ge", "lt", "le", "bucketize", "searchsorted"),
            *("floor", "ceil", "round", "trunc", "floor_divide"),
        ),
        _discrete,
    ),
    "frac": lambda x, output, arguments: _Sides(x.trunc()),
    "remainder": _remainder(torch.floor),
    "fmod": _remainder(torch.trunc),
    "div": _divided,
    "_to_copy": _converted,
    **dict.fromkeys(
        ("max_pool2d_with_indices", "adaptive_max_pool2d", "fractional_max_pool2d"), _pooling(2)
    ),
    **dict.fromkeys(
        ("max_pool3d_with_indices", "adaptive_max_pool3d", "fractional_max_pool3d"), _pooling(3)
    ),
    **dict.fromkeys(("max", "argmax", "sort", "topk", "cummax"), _selection(torch.amax)),
    **dict.fromkeys(("min", "argmin", "cummin"), _selection(torch.amin)),
    **dict.fromkeys(("kthvalue", "median", "nanmedian"), _selection(torch.amin)),
    "amax": _reduction(torch.amax),
    "amin": _reduction(torch.amin),
    "aminmax": _both_extremes,
    "linalg_vector_norm": _norm,
}


finish(globals())
