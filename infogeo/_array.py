"""The gate, and the few array functions that the array API standard lacks.

Every public function hands its arguments to `gate` in its first line and gets back the array
namespace and the arguments as arrays of one library, dtype and device; nothing below that
line looks at them again. What an argument has to be is a `Rule`.

Values are not read where they do not exist yet: inside ``torch.func``, ``torch.compile`` and
``jax.jit``, and on dask arrays.
"""

import contextlib
import functools
import math
import reprlib
import sys
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import (
    array_namespace,
    is_array_api_obj,
    is_dask_array,
    is_jax_array,
)
from array_api_compat import numpy as numpy_namespace

from infogeo import _names
from infogeo._blocks import BLOCK_SIZE, row_blocks
from infogeo._names import is_nameless, is_tensor, is_weak
from infogeo.typing import Array

Namespace: TypeAlias = Any  # the array API namespace of an array


@dataclass(frozen=True)
class Rule:
    """What an argument has to be.

    Parameters
    ----------
    events : str
        What lies along the last axis, in the plural ("outcomes"); "" if there is no such axis.
        Arguments with the same events agree in that axis and broadcast in the others.
    is_plausible : callable
        ``is_plausible(array, coarseness)``: a fast test of all values at once, on the array's
        own device. It may reject good values (`explain` has the last word), not accept bad ones.
    explain : callable
        ``explain(name, array, coarseness)``: the same test with care, on a numpy array; raises
        the ValueError that says where the values break the rule.
    axes : tuple of str, optional
        By what frames and series are matched: what the last axes hold, after "..." if those
        before them are rows that arguments share, as `infogeo._names.matched` takes it. Default:
        ``("...", events)``, or ``("...",)`` without events.

    Notes
    -----
    Coarseness is the unit roundoff of a half-precision input, 0 for all others.
    """

    events: str
    is_plausible: Callable[[Array, float], bool]
    explain: Callable[[str, np.ndarray, float], None]
    axes: tuple[str, ...] | None = None


def gate(check: bool, **arguments: tuple[Rule, Any]) -> tuple[Any, ...]:
    """Check the arguments of a public function and bring them to one library and dtype.

    Parameters
    ----------
    check : bool
        Whether to look at the values. Libraries, dtypes and shapes are always looked at.
    **arguments : (Rule, object)
        For each argument its rule and what the user gave.

    Returns
    -------
    xp, *arrays
        The array namespace and the arguments as floating-point arrays of one dtype and device.

    Raises
    ------
    TypeError
        Arrays of different libraries or devices; things that are not real numbers.
    ValueError
        Shapes or names that do not fit together; values that break a rule.
    """
    rules = [rule for rule, _ in arguments.values()]
    arrays = [value for _, value in arguments.values()]
    coarseness = [0.0] * len(arrays)
    xp = _uniform_namespace(arrays)
    if xp is None:
        names = list(arguments)
        if not all(map(is_nameless, arrays)):
            arrays, _ = _names.matched(names, [axes_of(rule) for rule in rules], arrays)
        xp, arrays, coarseness = _unify(names, arrays)
    if not _are_alike(rules, arrays):
        _check_shapes(list(arguments), rules, arrays)
    if check and not _is_tracing():
        for name, rule, array, coarse in zip(arguments, rules, arrays, coarseness, strict=True):
            if rule is PROBABILITIES and _is_small_distribution(array):
                continue
            view = _view(array)
            if view is not None:
                _check_values(name, rule, view, coarse)
    return (xp, *arrays)


def axes_of(rule: Rule) -> tuple[str, ...]:
    """Return by what the axes of an argument are matched."""
    if rule.axes is not None:
        return rule.axes
    return ("...", rule.events) if rule.events else ("...",)


def along(rule: Rule, *axes: str) -> Rule:
    """Return the rule for arguments whose last axes hold what is named, after those of rows."""
    return replace(rule, axes=("...", *axes))


def names_along(**arguments: tuple[Rule, Any]) -> dict[Hashable, Any]:
    """Return the names along the axes of arguments that `gate` matches; {} if they have none."""
    values = [value for _, value in arguments.values()]
    if all(map(is_nameless, values)):
        return {}
    axes = [axes_of(rule) for rule, _ in arguments.values()]
    return _names.matched(list(arguments), axes, values)[1]


def matched(**arguments: tuple[Rule, Any]) -> list[Any]:
    """Return arguments in one order of names, for what the gate does not see together."""
    values = [value for _, value in arguments.values()]
    if all(map(is_nameless, values)):
        return values
    return _names.matched(
        list(arguments), [axes_of(rule) for rule, _ in arguments.values()], values
    )[0]


def plain_number(name: str, value: Any) -> float:
    """Return a parameter as a Python float, so that it cannot change the dtype of arrays."""
    is_other = isinstance(value, str | bytes | bool | np.bool_) or getattr(value, "shape", ()) != ()
    try:
        number = None if is_other else float(value)
    except (TypeError, ValueError):
        number = None
    if number is None:
        raise TypeError(f"{name} must be a number: got {reprlib.repr(value)}.")
    return number


def finite_number(name: str, value: Any) -> float:
    """Return a parameter that has to be finite as a Python float."""
    number = plain_number(name, value)
    if not math.isfinite(number):
        raise bad_value(name, "be finite", f"got {value!r}")
    return number


class BadValueError(ValueError):
    """An argument that breaks a rule: a ValueError whose message comes in parts.

    Parameters
    ----------
    argument : str
        Which argument.
    rule : str
        What it must do: "be finite".
    seen : str
        What it does instead.
    advice : str
        The way out; may be empty.
    row : int, tuple of int, or None
        The first row of a batch that breaks the rule, if it is known.
    """

    __module__ = "infogeo"  # where it is public: tracebacks show it

    def __init__(self, argument: str, rule: str, seen: Any, advice: str = "", row: Any = None):
        super().__init__(f"{argument} must {rule}: {seen}.{' ' if advice else ''}{advice}")
        self.argument, self.rule, self.seen, self.advice = argument, rule, seen, advice
        self.row = row

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.argument, self.rule, self.seen, self.advice, self.row)


def bad_value(
    name: str, rule: str, seen: Any, advice: str = "", *, where: Any = None
) -> BadValueError:
    """Build the package's one error message: who, the rule, what was seen, the way out.

    Flags say where in a batch: the first flagged row is named after what was seen.
    """
    if where is None:
        return BadValueError(name, rule, seen, advice)
    return BadValueError(name, rule, f"{seen}{row(where)}", advice, first_row(where))


# ---------------------------------------------------------------- library, dtype, device

_FLOATS = (np.dtype(np.float64), np.dtype(np.float32))


def _uniform_namespace(arrays: Sequence[Any]) -> Namespace | None:
    """Return the namespace if there is nothing to unify: a short cut that saves microseconds."""
    first = arrays[0]
    cls = type(first)
    if cls is np.ndarray:
        dtype = first.dtype
        if dtype not in _FLOATS:
            return None
        for array in arrays:
            if type(array) is not cls or array.dtype is not dtype:
                return None
        return numpy_namespace
    if cls is _torch_tensor():
        dtype = first.dtype
        if not dtype.is_floating_point or dtype.itemsize < 4:
            return None
        device = None if first.is_cpu else first.device  # to ask for a device takes a microsecond
        for array in arrays:
            if type(array) is not cls or array.dtype is not dtype:
                return None
            if not array.is_cpu if device is None else array.device != device:
                return None
        return _torch_namespace()
    return None


def _torch_namespace() -> Namespace:
    # array_namespace does not compile, and an import statement takes a microsecond.
    found = sys.modules.get("array_api_compat.torch")
    if found is None:
        from array_api_compat import torch as found
    return found


def _torch_tensor() -> Any:
    torch = sys.modules.get("torch")
    return torch.Tensor if torch is not None else None


def _unify(names: list[str], given: list[Any]) -> tuple[Namespace, list[Array], list[float]]:
    given = [_to_array_or_weak(name, value) for name, value in zip(names, given, strict=True)]
    strong = {n: value for n, value in zip(names, given, strict=True) if not is_weak(value)}
    xp = _common_namespace(strong)
    device = _common_device(strong)
    dtypes = [_working_dtype(name, value.dtype, xp) for name, value in strong.items()]
    dtype = xp.result_type(*dtypes) if dtypes else xp.float64
    arrays = [
        _from_weak(name, value, xp, dtype, device)
        if is_weak(value)
        else xp.astype(value, dtype, copy=False)
        for name, value in zip(names, given, strict=True)
    ]
    coarseness = [0.0 if is_weak(value) else _coarseness(value.dtype, xp) for value in given]
    return xp, arrays, coarseness


_ACCEPTED = "Arrays of numpy, torch, jax and dask are accepted, and frames of pandas and polars."


def _to_array_or_weak(name: str, value: Any) -> Any:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must not be a masked array: what a mask does to a distribution is not clear. "
            "Drop or fill the masked entries."
        )
    if is_nameless(value):
        return value
    ways_out = [method for method in ("collect", "toarray") if hasattr(value, method)]
    raise TypeError(
        f"{name} must be an array, a list or a number: got {type(value).__name__}. "
        f"{_ACCEPTED}{f' Call {ways_out[0]}() first.' if ways_out else ''}"
    )


def _common_namespace(strong: dict[str, Array]) -> Namespace:
    if not strong:
        return numpy_namespace
    if all(map(is_tensor, strong.values())):
        return _torch_namespace()
    namespaces = {name: array_namespace(value) for name, value in strong.items()}
    (first, xp), *others = namespaces.items()
    for name, other in others:
        if other is not xp:
            raise TypeError(
                f"{first} and {name} must come from the same library: {first} is a "
                f"{_type_name(strong[first])} and {name} a {_type_name(strong[name])}. "
                "Convert one of them, or pass it as a list."
            )
    if is_dask_array(strong[first]):
        from infogeo import _dask

        return _dask
    return xp


def _common_device(strong: dict[str, Array]) -> Any:
    """Return the torch device of the arguments; other libraries place arrays themselves."""
    tensor = _torch_tensor()
    devices = {n: value.device for n, value in strong.items() if tensor and type(value) is tensor}
    for name, device in devices.items():
        first = next(iter(devices))
        if device != devices[first]:
            raise TypeError(
                f"{first} and {name} must be on the same device: {first} is on "
                f"{devices[first]} and {name} on {device}. Move one of them with .to(...)."
            )
    return next(iter(devices.values()), None)


def _type_name(value: Any) -> str:
    return f"{type(value).__module__.partition('.')[0]} {type(value).__name__}"


def _working_dtype(name: str, dtype: Any, xp: Namespace) -> Any:
    """Return the dtype to compute in: halves in float32, integers in the library's default."""
    try:
        if xp.isdtype(dtype, "real floating"):
            return xp.float32 if xp.finfo(dtype).bits < 32 else dtype
        if xp.isdtype(dtype, ("bool", "integral")):
            return xp.asarray(0.0).dtype
    except (TypeError, ValueError):  # strings, objects, dates: not a dtype of the standard
        pass
    raise TypeError(f"{name} must hold real numbers: its dtype is {dtype}.")


def _coarseness(dtype: Any, xp: Namespace) -> float:
    if not xp.isdtype(dtype, "real floating") or xp.finfo(dtype).bits >= 32:
        return 0.0
    return float(xp.finfo(dtype).eps)


def _from_weak(name: str, value: Any, xp: Namespace, dtype: Any, device: Any) -> Array:
    if isinstance(value, int | float):
        return xp.asarray(float(value), dtype=dtype, device=device)
    leaf = value
    while isinstance(leaf, list | tuple) and leaf:
        leaf = leaf[0]
    if not (is_weak(leaf) or isinstance(leaf, np.ndarray)) and is_array_api_obj(leaf):
        raise TypeError(
            f"{name} must be one array: got a list of {_type_name(leaf)}s. Stack them first."
        )
    try:
        plain = np.asarray(value)
        if plain.dtype.kind in "biuf":
            with overflowing(xp):  # a mask of -1e308 is -inf in float32
                return xp.asarray(plain.astype(np.float64).tolist(), dtype=dtype, device=device)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a rectangular list of numbers: {error}.") from None
    raise TypeError(f"{name} must hold real numbers: its dtype is {plain.dtype}.")


# ---------------------------------------------------------------- shapes


def _are_alike(rules: Sequence[Rule], arrays: Sequence[Array]) -> bool:
    """Whether all arguments have one rule and one shape that has events: most often they do."""
    rule, shape = rules[0], arrays[0].shape
    if not rule.events or not shape or shape[-1] == 0:
        return False
    return all(r is rule for r in rules[1:]) and all(a.shape == shape for a in arrays[1:])


def _check_shapes(names: list[str], rules: Sequence[Rule], arrays: Sequence[Array]) -> None:
    first: dict[str, int] = {}
    for i, (rule, array) in enumerate(zip(rules, arrays, strict=True)):
        if not rule.events:
            continue
        shape = array.shape
        j = first.setdefault(rule.events, i)
        if j == i:
            if len(shape) == 0 or shape[-1] == 0:
                raise bad_value(
                    names[i],
                    f"have its {rule.events} along the last axis",
                    f"got shape {tuple(shape)}",
                )
        elif shape != arrays[j].shape:
            _check_pair(rule.events, names[j], arrays[j].shape, names[i], shape)


def _check_pair(
    events: str, name: str, shape: tuple[int, ...], other: str, other_shape: tuple[int, ...]
) -> None:
    if not other_shape or shape[-1] != other_shape[-1]:
        raise ValueError(
            f"{name} and {other} must have the same {events} along the last axis: "
            f"{name} has shape {tuple(shape)} and {other} has {tuple(other_shape)}."
        )
    for k in range(2, min(len(shape), len(other_shape)) + 1):
        length, other_length = shape[-k], other_shape[-k]
        is_known = length == length and other_length == other_length  # dask may not know: NaN
        if is_known and length != other_length and 1 not in (length, other_length):
            raise ValueError(
                f"{name} and {other} must have leading axes that broadcast: their shapes are "
                f"{tuple(shape)} and {tuple(other_shape)}."
            )


# ---------------------------------------------------------------- values


def _check_values(name: str, rule: Rule, array: Array, coarseness: float) -> None:
    if 0 in array.shape or rule.is_plausible(array, coarseness):
        return
    rule.explain(name, array if isinstance(array, np.ndarray) else array.cpu().numpy(), coarseness)


def is_readable(array: Array) -> bool:
    """Whether the values exist already: not while a function is being traced."""
    return not _is_tracing() and _view(array) is not None


def has_derivatives(*arrays: Array) -> bool:
    """Whether derivatives may be asked for: not of numpy's arrays, nor of tensors without any."""
    if all(isinstance(array, np.ndarray) for array in arrays):
        return False
    torch = _torch_tensor()
    if torch is None or _is_tracing() or not all(type(array) is torch for array in arrays):
        return True
    return any(array.requires_grad for array in arrays)


def _is_tracing() -> bool:
    """Whether torch is running a program over stand-ins for values."""
    torch = sys.modules.get("torch")
    return torch is not None and (
        torch.compiler.is_compiling()
        or torch._C._functorch.peek_interpreter_stack() is not None  # inside torch.func
        or torch._C._get_tracing_state() is not None
    )


def _view(array: Array) -> Array | None:
    """Return the array for reading: as numpy if that is free, None if it has no values yet."""
    cls = type(array)
    if cls is np.ndarray:
        return array
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if torch is not None and (cls is torch.Tensor or cls is torch.nn.Parameter):
        if array.is_cpu:
            return (array.detach() if array.requires_grad else array).numpy()
        return None if array.is_meta else array.detach()
    if jax is not None and isinstance(array, jax.core.Tracer):
        return None
    # Subclasses of tensors are fake or proxy tensors.
    return None if is_tensor(array) or is_dask_array(array) else np.asarray(array)


def first_row(flags: Any) -> Any:
    """Return the index of the first flagged row of a batch; None for a single point."""
    if flags.ndim == 0:
        return None
    index = tuple(int(i) for i in np.argwhere(flags)[0])
    return index[0] if len(index) == 1 else index


def row(flags: Any) -> str:
    """Name the first flagged row of a batch; nothing for a single point."""
    return "" if flags.ndim == 0 else f" (row {first_row(flags)})"


def _tolerance(num_outcomes: int, coarseness: float) -> float:
    """How far from 1 rounding alone may take the sum of probabilities."""
    return max(2e-6 * math.sqrt(num_outcomes), 4.0 * coarseness)


def _is_small_distribution(p: Array) -> bool:
    """Whether p is one short vector of probabilities: a list takes a fifth of array operations."""
    shape = p.shape
    if len(shape) != 1 or shape[0] > 32 or not (type(p) is np.ndarray or _is_on_cpu(p)):
        return False
    values = p.tolist()
    return min(values) >= 0.0 and abs(sum(values) - 1.0) <= 2e-6  # NaN is neither


def _is_on_cpu(array: Array) -> bool:
    return type(array) is _torch_tensor() and array.is_cpu


@functools.lru_cache(maxsize=8)
def ones(num_outcomes: int, dtype: np.dtype) -> np.ndarray:
    return np.ones(num_outcomes, dtype)


def _smallest(x: Array) -> float:
    # argmin with item costs a third of min on the small arrays where calls are counted in
    # microseconds; both report NaN.
    return x.item(x.argmin()) if type(x) is np.ndarray and x.size < 1024 else float(x.min())


def _are_probabilities(p: Array, coarseness: float) -> bool:
    if type(p) is np.ndarray and p.ndim > 1 and p.size > BLOCK_SIZE:  # one trip from memory
        return all(_are_probabilities_at_once(p[rows], coarseness) for rows in row_blocks(p.shape))
    return _are_probabilities_at_once(p, coarseness)


def _are_probabilities_at_once(p: Array, coarseness: float) -> bool:
    if not _smallest(p) >= 0.0:  # NaN fails too
        return False
    num_outcomes = p.shape[-1]
    tolerance = _tolerance(num_outcomes, coarseness)
    if type(p) is np.ndarray:  # a BLAS product of two axes is several times faster than sum(-1)
        total = p.reshape(-1, num_outcomes).dot(ones(num_outcomes, p.dtype))
    else:
        total = p.sum(-1).reshape(-1)
    excess = total - 1.0
    return bool(excess.dot(excess) <= tolerance * tolerance or abs(excess).max() <= tolerance)


def _explain_probabilities(name: str, p: np.ndarray, coarseness: float) -> None:
    rule = "hold probabilities in its last axis"
    finite = np.isfinite(p).all(-1)
    if not finite.all():
        raise bad_value(name, rule, "it has NaN or infinite entries", where=~finite)
    smallest = p.min(-1)
    excess = np.abs(p.sum(-1, dtype=np.float64) - 1.0)
    tolerance = _tolerance(p.shape[-1], coarseness)
    if smallest.min() >= 0.0 and excess.max() <= tolerance:
        return
    seen, where = "", excess == excess.max()
    if smallest.min() < 0.0:
        seen, is_worst = f"smallest entry {smallest.min():.6g}", smallest == smallest.min()
        if excess.max() > tolerance:
            seen += f"{row(is_worst)}, "
        else:
            where = is_worst
    if excess.max() > tolerance:
        seen += f"largest |sum - 1| = {excess.max():.6g}"
    if smallest.min() >= 0.0:
        advice = f"Divide by {name}.sum(-1, keepdims=True) if these are counts."
    else:
        advice = "If these are logits, use infogeo.logits."
    raise bad_value(name, rule, seen, advice, where=where)


def _are_finite(x: Array, coarseness: float) -> bool:
    return -math.inf < _smallest(x) and float(x.max()) < math.inf


def _are_logits(z: Array, coarseness: float) -> bool:
    # -inf masks a class; only rows that are masked entirely need the closer look.
    return _are_finite(z, coarseness)


def _explain_logits(name: str, z: np.ndarray, coarseness: float) -> None:
    rule = "hold logits in its last axis, finite or -inf for a masked class"
    wrong = (np.isnan(z) | np.isposinf(z)).any(-1)
    if wrong.any():
        raise bad_value(name, rule, "it has NaN or +inf entries", where=wrong)
    masked = np.isneginf(z).all(-1)
    if masked.any():
        raise bad_value(name, rule, "all its classes are masked", where=masked)


def look_like_probabilities(z: Array) -> bool:
    """Whether all rows sum to 1 and none is negative; vertices and uniform rows say nothing.

    Sums are off by the rounding of the entries, which may have been half precision once: their
    digits tell. That logits look so by chance is rare even for one row: one in a hundred of
    bfloat16, one in a million else.
    """
    if 0 in z.shape or z.ndim == 0 or z.shape[-1] < 2 or not _smallest(z) >= 0.0:
        return False
    excess = float(abs(z.sum(-1) - 1.0).max()) - _tolerance(z.shape[-1], 0.0)
    if not (excess <= 0.0 or (excess <= 2.0**-8 and excess <= _unit_roundoff(z))):
        return False
    return bool(((z != z[..., :1]).any(-1) & ((z > 0.0) & (z < 1.0)).any(-1)).any())


def _unit_roundoff(z: Array) -> float:
    """Return that of the half precision that holds all entries, 0 if none does."""
    frexp = np.frexp if isinstance(z, np.ndarray) else sys.modules["torch"].frexp
    mantissa, _ = frexp(z)
    for bits in (8, 11):
        scaled = mantissa * 2.0**bits
        if float(abs(scaled - scaled.round()).max()) < 1e-3:  # a temperature may add rounding
            return 2.0**-bits
    return 0.0


def _are_logits_of_a_model(z: Array, coarseness: float) -> bool:
    return _are_logits(z, coarseness) and not look_like_probabilities(z)


def _explain_logits_of_a_model(name: str, z: np.ndarray, coarseness: float) -> None:
    _explain_logits(name, z, coarseness)
    if look_like_probabilities(z):
        warnings.warn(
            f"{name} holds probabilities: every row sums to 1. Logits are wanted: leave out the "
            "model's last softmax, or take the logarithm.",
            stacklevel=5,  # of the caller of the function that called the gate
        )


def _explain_finite(name: str, x: np.ndarray, coarseness: float) -> None:
    wrong = ~np.isfinite(x)
    if wrong.any():
        raise bad_value(name, "be finite", "it has NaN or infinite entries", where=wrong)


def _are_in_unit_interval(t: Array, coarseness: float) -> bool:
    return float(t.min()) >= 0.0 and float(t.max()) <= 1.0


def _are_positive(x: Array, coarseness: float) -> bool:
    return _smallest(x) > 0.0 and float(x.max()) < math.inf  # NaN fails both


def _are_negative(x: Array, coarseness: float) -> bool:
    return _are_positive(-x, coarseness)


def _are_not_negative(x: Array, coarseness: float) -> bool:
    return float(x.min()) >= 0.0


def entries(
    text: str, is_plausible: Callable[[Array, float], bool], is_good: Callable[[Array], Array]
) -> Rule:
    """Return the rule that each entry has to be what a text says; the first other one is shown."""

    def explain(name: str, x: np.ndarray, coarseness: float) -> None:
        wrong = ~is_good(x)
        if wrong.any():
            raise bad_value(name, text, f"it has the entry {x[wrong][0]:.6g}", where=wrong)

    return Rule("", is_plausible, explain)


def _explain_finite_entries(name: str, v: np.ndarray, coarseness: float) -> None:
    wrong = ~np.isfinite(v).all(-1)
    if wrong.any():
        raise bad_value(name, "be finite", "it has NaN or infinite entries", where=wrong)


def _excess_of_tangent(v: Array) -> Array:
    """Return |sum v| in units of what a difference of probabilities may show by rounding."""
    return abs(v.sum(-1)) / (1.0 + abs(v).max())


def _are_tangent(v: Array, coarseness: float) -> bool:
    return _are_finite(v, coarseness) and bool(
        _excess_of_tangent(v).max() <= _tolerance(v.shape[-1], coarseness)
    )


def _explain_tangent(name: str, v: np.ndarray, coarseness: float) -> None:
    _explain_finite_entries(name, v, coarseness)
    excess = _excess_of_tangent(v.astype(np.float64))
    if excess.max() > _tolerance(v.shape[-1], coarseness):
        worst = excess == excess.max()
        raise bad_value(
            name,
            "sum to 0 along its last axis, as tangent vectors of the simplex do",
            f"largest |sum| = {abs(v.sum(-1)).max():.6g}",
            f"Subtract p * {name}.sum(-1, keepdims=True) to project it.",
            where=worst,
        )


def _are_weights(w: Array, coarseness: float) -> bool:
    return _are_finite(w, coarseness) and _smallest(w) >= 0.0


PROBABILITIES = Rule("outcomes", _are_probabilities, _explain_probabilities)
LOGITS = Rule("outcomes", _are_logits, _explain_logits)
MODEL_LOGITS = Rule("outcomes", _are_logits_of_a_model, _explain_logits_of_a_model)
TANGENT = Rule("outcomes", _are_tangent, _explain_tangent)
VECTOR = Rule("outcomes", _are_finite, _explain_finite_entries)
REAL = Rule("", _are_finite, _explain_finite)
WEIGHTS = entries("be finite and not negative", _are_weights, lambda x: (x >= 0.0) & (x < math.inf))
UNIT_INTERVAL = replace(  # the parameter of a curve, which adds axes of its own
    entries("lie in [0, 1]", _are_in_unit_interval, lambda x: (x >= 0.0) & (x <= 1.0)), axes=()
)
POSITIVE = entries("be positive and finite", _are_positive, lambda x: (x > 0.0) & (x < math.inf))
NEGATIVE = entries("be negative and finite", _are_negative, lambda x: (x < 0.0) & (x > -math.inf))
NON_NEGATIVE = entries("not be negative", _are_not_negative, lambda x: x >= 0.0)


# ---------------------------------------------------------------- functions


def logsumexp(z: Array, xp: Namespace) -> Array:
    """Return log sum exp over the last axis, kept; rows may hold -inf but not only -inf."""
    top = xp.max(z, axis=-1, keepdims=True)
    return top + xp.log(xp.sum(xp.exp(z - top), axis=-1, keepdims=True))


def log_softmax(z: Array, xp: Namespace) -> Array:
    """Return the log-probabilities of logits, without overflow."""
    shifted = z - xp.max(z, axis=-1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))


def softmax(z: Array, xp: Namespace) -> Array:
    """Return the probabilities of logits."""
    unnormalised = xp.exp(z - xp.max(z, axis=-1, keepdims=True))
    return unnormalised / xp.sum(unnormalised, axis=-1, keepdims=True)


def masked_gap(dtype: Any, xp: Namespace) -> float:
    """Return how far below the largest logit a class is as good as masked: sqrt(p) underflows.

    That is 1416.8 in float64 and 174.7 in float32. Masks of -1e9 or ``finfo.min`` are far beyond.
    """
    return -2.0 * math.log(xp.finfo(dtype).smallest_normal)


def centred(z: Array, xp: Namespace) -> Array:
    """Return the representative of logits whose entries sum to 0, those of masked classes left out.

    A finite mask in the sum would move the representative so far that all others are rounded away.
    """
    z = z - xp.max(z, axis=-1, keepdims=True)
    counts = z > -masked_gap(z.dtype, xp)
    total = xp.sum(xp.where(counts, z, xp.zeros_like(z)), axis=-1, keepdims=True)
    return z - total / xp.sum(xp.astype(counts, z.dtype), axis=-1, keepdims=True)


def norm(x: Array, xp: Namespace) -> Array:
    """Return the Euclidean norm over the last axis; its gradient at 0 is 0, and tiny x count."""
    # The norm does not depend on the scale, whose gradient would overflow where it is subnormal.
    scale = detached(xp.max(xp.abs(x), axis=-1, keepdims=True))
    is_zero = xp.squeeze(scale == 0.0, axis=-1)
    scale = clip(scale, xp, min=float(xp.finfo(x.dtype).smallest_normal))
    unit = x / scale
    squared = xp.sum(unit * unit, axis=-1)
    root = xp.sqrt(xp.where(is_zero, xp.ones_like(squared), squared))
    return as_number(xp.where(is_zero, xp.zeros_like(root), xp.squeeze(scale, axis=-1) * root))


def as_number(x: Array) -> Array:
    """Return a result without axes as numpy's arithmetic does; anything else as it is."""
    return x[()] if isinstance(x, np.ndarray) else x


def clip(x: Array, xp: Namespace, *, min: float | None = None, max: float | None = None) -> Array:
    """Return x within bounds that are numbers.

    array-api-compat's clip of tensors loses the gradient in version 1.11, does not work under vmap
    before 1.14, and since then torch.compile cannot trace it with torch 2.5 to 2.8.
    """
    return getattr(xp, "clamp", xp.clip)(x, min=min, max=max)  # clamp is torch's own


def top_two(z: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return the predicted class's logit and the largest of the others (-inf if there is none)."""
    predicted = xp.argmax(z, axis=-1, keepdims=True)
    is_top = xp.arange(z.shape[-1], device=device_of(z)) == predicted
    top = xp.sum(xp.where(is_top, z, xp.zeros_like(z)), axis=-1)
    second = xp.max(xp.where(is_top, xp.full_like(z, -math.inf), z), axis=-1)
    return top, second


def expm1(x: Array, xp: Namespace) -> Array:
    """Return exp(x) - 1, inf without a warning where it overflows.

    Libraries differentiate their own as expm1(x) + 1, which is 0 for x below -37.
    """
    overflows, is_far = x > math.log(xp.finfo(x.dtype).max), x < -1.0
    zero = xp.zeros_like(x)
    near = xp.expm1(xp.where(overflows | is_far, zero, x))
    far = xp.exp(xp.where(is_far, x, zero)) - 1.0
    return xp.where(overflows, zero + xp.inf, xp.where(is_far, far, near))


def overflowing(xp: Namespace) -> contextlib.AbstractContextManager[None]:
    """Return a context in which an overflow to inf is a result: numpy does not warn of it.

    Other libraries never do, and torch.compile cannot trace numpy's.
    """
    return np.errstate(over="ignore") if xp is numpy_namespace else contextlib.nullcontext()


def quiet(xp: Namespace) -> contextlib.AbstractContextManager[None]:
    """Return a context in which numpy does not warn, for numbers that `mended` looks at.

    Arrays of other libraries may hold numpy's. torch.compile cannot trace the context.
    """
    is_torch = xp.__name__.endswith("torch")
    return contextlib.nullcontext() if is_torch else np.errstate(all="ignore")


def mended(found: Array, is_right: Array, careful: Callable[..., Array], *arrays: Array) -> Array:
    """Return what a fast formula found where flags say that it is right, else a careful formula.

    Parameters
    ----------
    found, is_right : array, shape (...)
        The numbers and the flags.
    careful : callable
        ``careful(*arrays)``: the same from arrays that broadcast to (...). Of numpy's arrays it is
        given the wrong entries alone. Elsewhere it is given all, if any entry is wrong, and where
        values cannot be read: derivatives of what is wrong must not be mixed in.
    """
    view = None if _is_tracing() else _view(is_right)
    if view is not None:
        if bool(view.all()):
            return found
        if isinstance(found, np.ndarray) and found.ndim:
            wrong = ~is_right
            found[wrong] = careful(*(np.broadcast_to(x, found.shape)[wrong] for x in arrays))
            return found
    return careful(*arrays)


def times_exp(factor: Array, exponent: Array, xp: Namespace) -> Array:
    """Return factor * exp(exponent): 0 where the factor is, inf without a warning on overflow."""
    overflows = exponent > math.log(xp.finfo(exponent.dtype).max)
    zero = xp.zeros_like(exponent)
    with overflowing(xp):
        product = factor * xp.exp(xp.where(overflows, zero, exponent))
    infinite = xp.where(factor > 0.0, zero + xp.inf, zero - xp.inf)
    return xp.where(overflows & (factor != 0.0), infinite, product)


def safe_sqrt(x: Array, xp: Namespace) -> Array:
    """Return the square root with the gradient 0 at 0."""
    if xp is numpy_namespace:
        return np.sqrt(x)
    is_zero = x == 0.0
    return xp.where(is_zero, xp.zeros_like(x), xp.sqrt(xp.where(is_zero, xp.ones_like(x), x)))


def safe_abs(x: Array, xp: Namespace) -> Array:
    """Return the absolute value with the gradient 0 at 0, which is 1 in jax."""
    return xp.abs(x if xp is numpy_namespace else xp.where(x == 0.0, xp.zeros_like(x), x))


def safe_log(p: Array, xp: Namespace) -> Array:
    """Return log p, -inf at 0 without a warning and with the gradient 0."""
    is_positive = p > 0.0
    return xp.where(is_positive, xp.log(xp.where(is_positive, p, xp.ones_like(p))), -xp.inf)


def gate_mean(check: bool, rule: Rule, points: Any, weights: Any, axis: int) -> tuple[Any, ...]:
    """Gate the arguments of a mean; the weights come back with sum 1 over the axis, or as None.

    The axis counts the batch axes only: the event axis cannot be averaged over.
    """
    if weights is None:
        xp, points = gate(check, points=(rule, points))
    else:
        given = weights_rule(rule, points, weights, axis), weights
        xp, points, weights = gate(check, points=(rule, points), weights=given)
    num_batch_axes = len(points.shape) - 1
    if not is_axis(axis, num_batch_axes):
        raise bad_value(
            "axis",
            "name one of the batch axes of the points",
            f"got {axis!r} for points of shape {tuple(points.shape)}",
        )
    if points.shape[axis] == 0:
        raise bad_value("points", "hold at least one point", f"got shape {tuple(points.shape)}")
    if weights is None:
        return xp, points, None
    return xp, points, normalised_weights(weights, points.shape[:-1], axis, check, xp)


def weights_rule(rule: Rule, points: Any, weights: Any, axis: Any) -> Rule:
    """Return the rule of weights: those of one axis are matched with the axis of the points."""
    if is_nameless(weights) or len(getattr(weights, "shape", ())) != 1:
        return WEIGHTS
    along = _names.keys(axes_of(rule), len(getattr(points, "shape", ())))
    return replace(WEIGHTS, axes=(along[axis],)) if axis in range(len(along)) else WEIGHTS


def is_axis(axis: Any, num_axes: int) -> bool:
    """Whether this is the number of one of so many axes, numpy's integers included."""
    is_integer = isinstance(axis, int | np.integer) and not isinstance(axis, bool)
    return is_integer and 0 <= axis < num_axes


def normalised_weights(
    weights: Array, batch: tuple[int, ...], axis: int, check: bool, xp: Namespace
) -> Array:
    axis = int(axis)  # torch takes no integers of numpy
    if len(weights.shape) == 1 and weights.shape[0] == batch[axis]:
        weights = xp.reshape(weights, (-1, *(1,) * (len(batch) - 1 - axis)))
    if all(n == n for n in batch):  # dask may not know: NaN
        try:
            weights = xp.broadcast_to(weights, batch)
        except (ValueError, RuntimeError):
            raise bad_value(
                "weights",
                f"have one entry for each of the {batch[axis]} points",
                f"got shape {tuple(weights.shape)} for points of batch shape {tuple(batch)}",
            ) from None
    largest = xp.max(weights, axis=axis, keepdims=True)
    if check and is_readable(largest) and not bool(xp.all(largest > 0.0)):
        raise bad_value("weights", "have a positive sum", "the sum is 0")
    weights = weights / largest  # their sum might overflow
    return weights / xp.sum(weights, axis=axis, keepdims=True)


def weighted_sum(x: Array, weights: Array | None, axis: int, xp: Namespace) -> Array:
    """Return the weighted mean over an axis; weight 0 leaves out even infinite entries."""
    axis = int(axis)  # torch takes no integers of numpy
    if weights is None:
        return xp.mean(x, axis=axis)
    weights = weights[..., None]
    terms = weights * xp.where(weights > 0.0, x, xp.zeros_like(x))
    return xp.sum(terms, axis=axis)


def widest_dtype(x: Array, xp: Namespace) -> Any:
    """Return float64, or float32 where there is nothing wider."""
    if is_tensor(x):
        return xp.float32 if x.device.type == "mps" else xp.float64
    return xp.asarray(0.0).dtype if is_jax_array(x) else xp.float64


def on_host(x: Array) -> Array:
    """Return a torch tensor detached and on the CPU, for numpy to read; anything else as it is."""
    return x.detach().cpu() if hasattr(x, "detach") else x


def detached(x: Array) -> Array:
    """Return an array whose derivative is 0."""
    if hasattr(x, "detach"):
        return x.detach()
    jax = sys.modules.get("jax")
    return jax.lax.stop_gradient(x) if jax is not None and isinstance(x, jax.Array) else x


def device_of(x: Array) -> Any:
    """Return the device for new arrays beside x; None where the library decides by itself."""
    return x.device if is_tensor(x) else None


def with_axis_moved(x: Array, source: int, destination: int, xp: Namespace) -> Array:
    """Return ``moveaxis``, which torch cannot do inside ``torch.func.vmap``."""
    order = list(range(x.ndim))
    moved = order.pop(source)
    order.insert(destination % x.ndim, moved)
    return xp.permute_dims(x, tuple(order))


def as_leading(t: Array, point: Array, xp: Namespace) -> Array:
    """Return t with an axis of length 1 for each axis of the point, so that its own come first."""
    return xp.reshape(t, (*t.shape, *(1,) * len(point.shape)))
