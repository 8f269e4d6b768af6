"""What a model refers to: the networks and numbers that a function finds around itself."""

import contextlib
import dis
import functools
import sys
import sysconfig
import threading
import types
from collections import deque
from collections.abc import Mapping

import numpy as np
import torch

_LONGEST = 1000  # of a container that is looked through
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


def references(function):
    """Return what a function uses from around it, by name: closures, defaults and globals.

    The globals of functions that are installed, not the user's own, are none of the model's.
    """
    code = function.__code__
    found = dict(_cells(function))
    names = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    found |= dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    found |= function.__kwdefaults__ or {}
    if not code.co_filename.startswith(_LIBRARIES):
        around = function.__globals__
        found |= {name: around[name] for name in _globals_in(code) if name in around}
    return found


def modules_in(model):
    """Return the networks that a model consists of, by walking what it refers to."""
    return [value for value in _walk(model) if isinstance(value, torch.nn.Module)]


def is_compiled(model):
    """Return whether `torch.compile` has made a part of a model."""
    if "torch._dynamo" not in sys.modules:
        return False
    for value in _walk(model):
        parts = value.modules() if isinstance(value, torch.nn.Module) else (value,)
        if any(_COMPILED.intersection(_vars(part)) for part in parts):
            return True
    return False


_COMPILED = frozenset(("_torchdynamo_orig_callable", "_compiled_call_impl"))


class _Eagerly:
    """Let what `torch.compile` has made run as it was written, while any thread asks for that.

    A compiled function has one backward pass, in reverse mode, and frees what others would need.
    How functions run is set for all threads at once.
    """

    def __init__(self):
        self._lock, self._num_users, self._before = threading.Lock(), 0, contextlib.ExitStack()

    def __enter__(self):
        with self._lock:
            if self._num_users == 0 and hasattr(torch.compiler, "set_stance"):  # from torch 2.6 on
                self._before.enter_context(torch.compiler.set_stance("force_eager"))
            self._num_users += 1

    def __exit__(self, *error):
        with self._lock:
            self._num_users -= 1
            if self._num_users == 0:
                self._before.close()


eagerly = _Eagerly()


def _walk(model):
    """Yield what a model refers to, but for what networks are made of."""
    seen, left = set(), deque([model])
    while left:
        value = left.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if not isinstance(value, torch.nn.Module):
            left += _parts(value)


def attributes_of(value):
    """Return the attributes of an object that is called, or of a user's own class, by name."""
    kind = type(value)
    if isinstance(value, type | types.ModuleType | torch.Tensor | np.ndarray):
        return {}
    if not (callable(value) or _is_own(kind)):
        return {}
    slots = {name for base in kind.__mro__ for name in getattr(base, "__slots__", ())}
    found = {name: getattr(value, name) for name in sorted(slots) if hasattr(value, name)}
    return found | _vars(value)


def _vars(value):
    return getattr(value, "__dict__", {})


def _is_own(kind):
    """Return whether a class is none of an installed package, or of Python."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return kind.__module__ == "__main__" or (file is not None and not file.startswith(_LIBRARIES))


def _parts(value):
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.MethodType):
        owner = value.__self__
        is_module = isinstance(owner, torch.nn.Module)
        return [owner, value.__func__, *([] if is_module else _vars(owner).values())]
    if isinstance(value, types.FunctionType):
        return [*references(value).values()]
    if isinstance(value, tuple | list | set | frozenset):
        return list(value) if len(value) <= _LONGEST else []
    if isinstance(value, Mapping):
        return list(value.values()) if len(value) <= _LONGEST else []
    kinds = type(value).__mro__ if _is_own(type(value)) else ()
    calls = [vars(kind)["__call__"] for kind in kinds if "__call__" in vars(kind)]
    return [*attributes_of(value).values(), *calls[:1]]


def _cells(function):
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # a variable that has no value yet
            continue


@functools.lru_cache(maxsize=1024)
def _globals_in(code):
    """Return the names of the globals that code loads, in functions inside of it, too."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname in _LOADS}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _globals_in(constant)
    return frozenset(names)


_LOADS = ("LOAD_GLOBAL", "LOAD_NAME")
