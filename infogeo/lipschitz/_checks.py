"""What is asked of layers and of their arguments."""

import numpy as np
import torch
from torch import nn
from torch.nn.modules import module as torch_module

from infogeo._array import bad_value


def check_precision(weight):
    if not weight.dtype.is_floating_point or weight.dtype.itemsize < 4:
        raise TypeError(
            f"weight must be float32 or float64: its dtype is {weight.dtype}. Train in float32 "
            "(autocast is fine), and convert to half precision what freeze returns."
        )
    if weight.ndim < 2:
        raise bad_value("weight", "be a matrix", f"got shape {tuple(weight.shape)}")


def check_size(name, size, smallest):
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < smallest:
        raise bad_value(name, f"be an integer, at least {smallest}", f"got {size!r}")


def whole_number(name, value):
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer: got {value!r}.")
    return int(value)


def check_calls(module, path, name="model"):
    """Refuse what changes a module's outputs from outside of its forward method."""
    hooks = (
        module._forward_hooks, module._forward_pre_hooks,
        torch_module._global_forward_hooks, torch_module._global_forward_pre_hooks,
    )  # fmt: skip
    if any(hooks):  # older reparametrisations change weights by them
        raise TypeError(
            f"{name} must have no forward hooks: {named(path, module)} with one. Remove it "
            "(torch.nn.utils.weight_norm and spectral_norm have functions for that), or use the "
            "successors in torch.nn.utils.parametrizations."
        )
    if isinstance(module, torch.jit.ScriptModule):
        raise TypeError(
            f"{name} must not be compiled by torch.jit: {named(path, module)}. Pass the module "
            "that was scripted or traced."
        )
    replaced = [call for call in ("forward", "_call_impl") if call in vars(module)]
    if replaced:
        raise TypeError(
            f"{name} must have the forward methods of its classes: "
            f"{named(path, module)} whose {replaced[0]} was replaced. Delete that attribute, "
            "or pass the module that was compiled, scripted or wrapped."
        )
    kind, own = type(module), module._parameters.values()
    if any(getattr(kind, call) is not getattr(nn.Module, call) for call in _CALLS):
        raise TypeError(
            f"{name} must be called as every torch.nn.Module is: {named(path, module)} with a "
            "__call__ of its own. Do in forward what that does, or pass the module inside."
        )
    if any(parameter is not None and parameter.is_complex() for parameter in own):
        raise TypeError(
            f"{name} must have real weights: {named(path, module)} with complex ones. Write it as "
            "a layer of real and imaginary parts: A + iB becomes [[A, -B], [B, A]]."
        )


_CALLS = ("__call__", "_call_impl", "_wrapped_call_impl")


def check_finite(module, path):
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    if not all(bool(torch.isfinite(tensor).all()) for tensor in own):
        raise bad_value(
            "model", "have finite weights", f"{named(path, module)} with NaN or infinite entries"
        )


def named(path, module):
    kind = type(module).__name__.removeprefix("Parametrized")
    return f"'{path}' is a {kind}" if path else f"it is a {kind}"


def check_module(model, name="model"):
    if not isinstance(model, nn.Module):
        raise TypeError(f"{name} must be a torch.nn.Module: got {type(model).__name__}.")
