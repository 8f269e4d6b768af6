"""What can be wrong with a model, its inputs and settings."""

import itertools
import math
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from infogeo._array import REAL, bad_value, gate, look_like_probabilities
from infogeo.pullback._references import modules_in


def check_number(name, value):
    try:
        is_positive = 0.0 < float(value) < math.inf
    except (TypeError, ValueError):
        is_positive = False
    if not is_positive:
        raise bad_value(name, "be a positive number", f"got {value!r}")


def check_count(name, value):
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise bad_value(name, "be a positive integer", f"got {value!r}")


def check_input(x, name="x", *, check, **tangents):
    for key, value in {name: x, **tangents}.items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(
                f"{key} must be a torch tensor: got {type(value).__name__}. "
                f"{way_to_tensor(key, value)}"
            )
        if not value.is_floating_point():
            raise TypeError(
                f"{key} must hold floating-point numbers: its dtype is {value.dtype}. "
                f"{_way_to_floats(key, value)}"
            )
    for key, value in {name: x, **tangents}.items():
        check_has_numbers(key, key, value, "Make it on another device.")
    if x.ndim < 2:
        raise bad_value(
            name,
            "have shape (batch, *input)",
            f"its shape is {tuple(x.shape)}",
            f"Use {name}[None].",
        )
    for key, value in tangents.items():
        if value.shape != x.shape:
            raise bad_value(
                key,
                f"have the shape of {name}, one tangent vector for each input",
                f"{name} has shape {tuple(x.shape)} and {key} {tuple(value.shape)}",
            )
    gate(check, **{key: (REAL, value) for key, value in {name: x, **tangents}.items()})


def way_to_tensor(name, value):
    """Return what to pass in place of something that is no tensor."""
    if isinstance(value, Mapping):
        first, *others = map(str, value) if value else ["x"]
        further = f", and inputs={{{others[0]!r}: ...}} for the others" if others else ""
        return f"Pass one of its entries, for instance {name}[{first!r}]{further}."
    return f"Use torch.as_tensor({name})."


def _way_to_floats(name, value):
    if value.is_complex():
        return (
            f"Use torch.view_as_real({name}), and for the model lambda x: "
            "model(torch.view_as_complex(x))."
        )
    return (
        f"Use {name}.float() for pixels; token ids are no vectors: split the model after its "
        "embedding and measure what the embedding returns."
    )


def check_pair(x0, x1, *, check):
    """Refuse two batches of inputs that do not go together."""
    check_input(x0, "x0", check=check)
    check_input(x1, "x1", check=check)
    if x0.shape[1:] != x1.shape[1:] or (len(x0) != len(x1) and 1 not in (len(x0), len(x1))):
        raise ValueError(
            "x0 and x1 must have the same shape, or one of them a batch of length 1: "
            f"their shapes are {tuple(x0.shape)} and {tuple(x1.shape)}."
        )
    if (x0.dtype, x0.device) != (x1.dtype, x1.device):
        raise TypeError(
            "x0 and x1 must have the same dtype and device: "
            f"they are {x0.dtype} on {x0.device} and {x1.dtype} on {x1.device}."
        )


def require_distance(head: Any) -> Callable[..., torch.Tensor]:
    """Return the distance of a head; refuse one that knows none."""
    if head.distance is None:
        raise ValueError(
            "head must know the distance of two outputs: this Head has none. "
            "Pass Head(factor, distance=...)."
        )
    return head.distance


def check_gradients(rows):
    if math.isfinite(float(rows.sum())):  # one fast pass; a sum may also overflow
        return
    wrong = ~torch.isfinite(rows).all(-1).all(-1)
    if bool(wrong.any()):
        raise bad_value(
            "model",
            "have finite gradients at x",
            f"those at row {int(torch.argwhere(wrong)[0])} of x are NaN or infinite",
        )


def warn_of_probabilities(z):
    """Warn of logits that are probabilities."""
    if look_like_probabilities(z):
        warnings.warn(
            "The outputs of model at x are probabilities: every row sums to 1. The categorical "
            "head takes logits: leave out the model's last softmax.",
            stacklevel=2,
        )


_MANY = 8  # numbers between 0 and 1: of so many logits some are negative, or above 1


def warn_of_sigmoids(model, z):
    """Warn of logits of labels that are probabilities, of few ones if the model tells."""
    while isinstance(model, torch.nn.Sequential) and len(model):
        model = model[-1]
    is_told = isinstance(model, torch.nn.Sigmoid) and z.numel() > 0
    if not (is_told or (z.numel() >= _MANY and float(z.min()) < float(z.max()))):
        return
    if float(z.min()) >= 0.0 and float(z.max()) <= 1.0 and bool((z % 1.0 > 0.0).any()):
        warnings.warn(
            "The outputs of model at x are probabilities: all lie between 0 and 1. The Bernoulli "
            "head takes logits: leave out the model's last sigmoid.",
            stacklevel=2,
        )


def check_model(model):
    """Refuse what makes the metric of a batch another thing than that of its inputs."""
    check_modes(model)
    for module in modules_in(model):
        _check_tensors(module)


def check_modes(model, name="model"):
    """Refuse parts that are random, or mix samples, in the mode that they are in."""
    for module in modules_in(model):
        for path, part in module.named_modules():
            if _is_random_or_mixing(part):
                raise bad_value(
                    name,
                    "treat each input by itself, and always in the same way",
                    f"{_named(path, part)} is in training mode",
                    f"Call {name}.eval() first.",
                )
            if issubclass(_kind(part), _BATCH_NORMS) and part.running_mean is None:
                raise bad_value(
                    name,
                    "treat each input by itself",
                    f"{_named(path, part)} has no running statistics and uses those of the batch "
                    f"in {name}.eval(), too",
                    "Train it with track_running_stats=True.",
                )


def _check_tensors(module):
    for name, tensor in itertools.chain(module.named_parameters(), module.named_buffers()):
        check_has_shape(name, tensor)
        if tensor.is_inference():
            raise bad_value(
                "model",
                "have parameters that autograd can use",
                f"'{name}' was made under torch.inference_mode()",
                "Build or load the model outside of it; torch.no_grad() does no harm.",
            )


def check_has_shape(name, tensor):
    """Refuse a parameter of a lazy layer that has met no input yet."""
    if isinstance(tensor, torch.nn.parameter.UninitializedTensorMixin):
        raise bad_value(
            "model",
            "have parameters that hold numbers",
            f"{name!r} is of a lazy layer and has no shape yet",
            "Call the model once with a batch of inputs.",
        )


_LOAD = "Load its weights first, for instance by load_state_dict(..., assign=True)."


def check_has_numbers(owner, name, tensor, advice=_LOAD):
    """Refuse a tensor that has a shape and no numbers."""
    if tensor.is_meta:
        raise bad_value(
            owner, "hold numbers", f"{name} is on the meta device, which has none", advice
        )


_BATCH_NORMS = torch.nn.modules.batchnorm._BatchNorm
_DROPOUTS = torch.nn.modules.dropout._DropoutNd
_SPECTRAL_NORM = torch.nn.utils.parametrizations._SpectralNorm
_SPECTRAL_NORM_OF_OLD = sys.modules["torch.nn.utils.spectral_norm"].SpectralNorm


def _named(name, part):
    kind = _kind(part).__name__
    return f"{kind} '{name}'" if name else kind


def _kind(part):
    """Return the class of a module, also of one that TorchScript has compiled."""
    if isinstance(part, torch.jit.ScriptModule):
        kind = getattr(torch.nn, part.original_name, None)
        return kind if isinstance(kind, type) else type(part)
    return type(part)


def _is_random_or_mixing(part):
    if not getattr(part, "training", False):  # frozen modules of TorchScript have no modes
        return False
    kind = _kind(part)
    if issubclass(kind, _DROPOUTS):
        return part.p > 0.0
    if issubclass(kind, _SPECTRAL_NORM) or _has_spectral_norm_of_old(part):
        return True  # each call moves its vectors, and the model with them
    if issubclass(kind, torch.nn.RNNBase | torch.nn.MultiheadAttention):
        return part.dropout > 0.0
    if issubclass(kind, torch.nn.modules.instancenorm._InstanceNorm):
        return part.track_running_stats
    return issubclass(kind, _BATCH_NORMS | torch.nn.RReLU)


def _has_spectral_norm_of_old(part):
    hooks = getattr(part, "_forward_pre_hooks", {}).values()
    return any(isinstance(hook, _SPECTRAL_NORM_OF_OLD) for hook in hooks)


def explain_mismatch(model, x, error):
    """Raise what is wrong if the input and the parameters differ in dtype or device."""
    parameters = [p for module in modules_in(model) for p in module.parameters()]
    for parameter in parameters:
        check_has_numbers("model", "one of its parameters", parameter)
    parameter = next((p for p in parameters if p.is_floating_point() or p.is_complex()), None)
    if parameter is None or (parameter.dtype, parameter.device) == (x.dtype, x.device):
        return
    is_about_types = "type" in str(error) or "not implemented for '" in str(error)
    if not (x.is_floating_point() or is_about_types or parameter.device != x.device):
        return  # token ids are integers with good reason: something else is wrong
    if parameter.is_complex():
        raise TypeError(
            f"model has complex parameters and takes {x.dtype} badly: {str(error).splitlines()[0]} "
            "Let it convert real inputs, for instance lambda x: model(x + 0j).abs()."
        ) from error
    raise TypeError(
        "x must have the dtype and the device of the model's parameters: "
        f"x is {x.dtype} on {x.device} and they are {parameter.dtype} on {parameter.device}. "
        "Use x.to(next(model.parameters()))."
    ) from error


def result_dtype(z, x):
    dtype = torch.promote_types(z.dtype, x.dtype)
    return torch.float32 if dtype.itemsize < 4 else dtype
