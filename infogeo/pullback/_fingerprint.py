"""What a result depends on, as short texts that are equal only if it is the same."""

import dataclasses
import functools
import hashlib
import itertools
import re
import types

import numpy as np
import torch

from infogeo.pullback._references import modules_in, references


def digest_of(*values):
    """Return a digest of bytes, text, and of the dtype, shape and numbers of arrays."""
    state = hashlib.blake2b(digest_size=16)
    for value in values:
        if isinstance(value, torch.Tensor):
            state.update(f"{value.dtype} {tuple(value.shape)}".encode())
            dense = value.detach().cpu().to_dense() if value.is_mkldnn else value.detach().cpu()
            flat = dense.contiguous().reshape(-1)
            state.update(flat.view(torch.uint8).numpy())
        elif isinstance(value, np.ndarray):
            state.update(f"{value.dtype} {value.shape}".encode())
            state.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
        else:
            state.update(value if isinstance(value, bytes) else str(value).encode())
    return state.hexdigest()


def describe(value):
    """Return a text for a setting: a number, a function, a model, or an object that holds them.

    Functions stand for themselves by their name and by the models, arrays and numbers that they
    refer to: that their code has changed is not seen.
    """
    if isinstance(value, torch.nn.Module):
        return f"{type(value).__qualname__} {structure_of(value)} {weights_of(value)}"
    if isinstance(value, torch.Tensor | np.ndarray):
        return f"array {digest_of(value)}"
    if isinstance(value, functools.partial):
        parts = [describe(value.func), *map(describe, value.args)]
        parts += [f"{name}={describe(part)}" for name, part in value.keywords.items()]
        return f"partial({', '.join(parts)})"
    if isinstance(value, types.MethodType):
        return f"{describe(value.__self__)}.{value.__name__}"
    if isinstance(value, types.FunctionType):
        return f"{value.__module__}.{value.__qualname__}{_captured(value)}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [
            f"{field.name}={describe(getattr(value, field.name))}"
            for field in dataclasses.fields(value)
        ]
        return f"{type(value).__qualname__}({', '.join(parts)})"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(describe, value))})"
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, torch.jit.ScriptFunction):
        return f"{value.name} {digest_of(value.code)}"
    if networks := modules_in(value):
        return f"{type(value).__qualname__}[{', '.join(map(describe, networks))}]"
    return _without_addresses(repr(value))


def structure_of(module):
    """Return a digest of the layers of a model, of its code where TorchScript has compiled it."""
    code = module.code if isinstance(module, torch.jit.ScriptModule) else ""
    return digest_of(_without_addresses(repr(module)), code)


def weights_of(module):
    """Return a digest of the parameters, buffers and constants of a model, by name."""
    tensors = dict(itertools.chain(module.named_parameters(), module.named_buffers()))
    if isinstance(module, torch.jit.ScriptModule):  # the weights of a frozen one are constants
        constants = module.code_with_constants[1].const_mapping
        tensors |= {name: t for name, t in constants.items() if isinstance(t, torch.Tensor)}
    return digest_of(*itertools.chain.from_iterable(sorted(tensors.items())))


_NUMBERS = (torch.Tensor, np.ndarray, bool, int, float)


def _captured(function):
    """Describe the arrays and numbers around a function that it uses, and all its networks."""
    found = sorted(references(function).items())
    parts = [f"{name}={describe(value)}" for name, value in found if isinstance(value, _NUMBERS)]
    parts += map(describe, modules_in(function))
    return f"[{', '.join(parts)}]" if parts else ""


def _without_addresses(text):
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)
