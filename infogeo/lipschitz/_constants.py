"""The Lipschitz constants of layers, one rule for each kind, and why others have none."""

import math

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules import conv

from infogeo.lipschitz._activations import (
    AbsoluteValue,
    FullSort,
    GroupSort,
    Householder,
    NormPool,
    Scaling,
)
from infogeo.lipschitz._convolution import convolution_norm, copies


class UnboundedError(Exception):
    """There is no bound of a layer; the text says why, or names the way out."""


def constant_of(module, order, sizes):
    """Return a bound of a layer's constant from lp to lp; raises UnboundedError.

    sizes is the shape of its input with the batch axis, or None if it is not known.
    """
    rule = rule_of(module)
    if rule is None:
        raise UnboundedError(_UNKNOWN)
    return rule(module, order, sizes)


def rule_of(module):
    """Return the rule for a layer, None if there is none: a subclass may compute otherwise."""
    kind = type(module)
    for base in kind.__mro__:
        if base in RULES:
            own = [name for name in _METHODS if hasattr(base, name)]
            is_same = all(getattr(kind, name) is getattr(base, name) for name in own)
            return RULES[base] if is_same else None
    return None


_METHODS = ("forward", "_conv_forward", "_output_padding", "_check_input_dim")
_UNKNOWN = (
    "Put the parts of a module of your own into nn.Sequential, give input_shape so that it can be "
    "traced, or bound the parts that are known and multiply by your own bounds for the others."
)
_NEEDS_SHAPE = "Its constant depends on the size of its input: give input_shape."


def _is(constant):
    return lambda module, order, sizes: constant


def _refuse(text):
    def rule(module, order, sizes):
        raise UnboundedError(text)

    return rule


def _only_in_eval(rule):
    def checked(module, order, sizes):
        if module.training:
            raise UnboundedError("in training mode. Call model.eval() first.")
        return rule(module, order, sizes)

    return checked


def _largest(x):
    return float(x.detach().abs().max())


# ---------------------------------------------------------------- linear maps


def _linear(module, order, sizes):
    return float(torch.linalg.matrix_norm(module.weight.detach(), order))


def _convolution(module, order, sizes):
    weight = module.weight.detach().unflatten(0, (module.groups, -1))
    factor = 1.0
    if isinstance(module, conv._ConvTransposeNd):  # the transpose of a convolution, and cut
        order = {1: math.inf, math.inf: 1}.get(order, order)
    elif module.padding_mode != "zeros":
        factor = _convolution_padding(module, sizes) ** (1.0 / order)
    return factor * convolution_norm(weight, module.stride, module.dilation, order)


def _convolution_padding(module, sizes):
    """Return how often the padding repeats an entry, 1 where it makes the axis a circle."""
    pads = module._reversed_padding_repeated_twice
    num_axes, factor = len(module.stride), 1
    for axis in range(num_axes):
        before, after = pads[2 * (num_axes - 1 - axis) :][:2]
        size = None if sizes is None or len(sizes) < num_axes else sizes[axis - num_axes]
        reach = (module.kernel_size[axis] - 1) * module.dilation[axis]
        stride = module.stride[axis]
        fits = stride == 1 or (size is not None and size % stride == 0)
        if not (module.padding_mode == "circular" and before + after <= reach and fits):
            factor *= copies(module.padding_mode, size, before, after)
    return factor


def _padding(mode):
    def rule(module, order, sizes):
        pads, factor = module.padding, 1
        if mode == "circular" and min(pads) < 0:
            raise UnboundedError("It leaves entries without a value where a size is below 0.")
        for axis in range(len(pads) // 2):  # from the last axis on
            size = None if sizes is None else sizes[-1 - axis]
            pair = [max(0, pad) for pad in pads[2 * axis : 2 * axis + 2]]  # a negative one cuts
            factor *= copies(mode, size, *pair)
        return factor ** (1.0 / order)

    return rule


def _affine_normalization(module, order, sizes):
    if module.running_var is None:
        raise UnboundedError("It divides by the statistics of a batch: keep running statistics.")
    squares = module.running_var + module.eps
    if not bool((squares > 0.0).all()):
        raise UnboundedError("It divides by the root of a variance that is not above 0.")
    slopes = squares.rsqrt()
    return _largest(slopes if module.weight is None else slopes * module.weight)


def _normalization(module, order, sizes):
    """Bound the slope where all entries are the same, which is the largest: 1 / sqrt(eps)."""
    if order != 2:
        raise UnboundedError("Its constant is known from l2 to l2 only: leave out order.")
    if not module.eps > 0.0:
        raise UnboundedError(
            "It is not Lipschitz where its input is constant: its eps must be above 0."
        )
    return (1.0 if module.weight is None else _largest(module.weight)) / math.sqrt(module.eps)


def _rms_normalization(module, order, sizes):
    if module.eps is None:
        raise UnboundedError("Its eps depends on the dtype of its input: give it one.")
    return _normalization(module, order, sizes)


def _instance_normalization(module, order, sizes):
    is_affine = module.track_running_stats and not module.training
    return (_affine_normalization if is_affine else _normalization)(module, order, sizes)


# ---------------------------------------------------------------- windows


def _average_pool(num_axes):
    def rule(module, order, sizes):
        kernel, stride, padding = (
            _each(value, num_axes) for value in (module.kernel_size, module.stride, module.padding)
        )
        divisor = getattr(module, "divisor_override", None)
        is_uniform = not module.ceil_mode and (module.count_include_pad or not any(padding))
        if divisor is not None or is_uniform:
            weight = torch.ones(1, 1, 1, *kernel, dtype=torch.float64)
            weight = weight / (math.prod(kernel) if divisor is None else divisor)
            return convolution_norm(weight, stride, (1,) * num_axes, order)

        def windows(x, axis):
            arguments = (kernel[axis], stride[axis], padding[axis])
            return functional.avg_pool1d(x, *arguments, module.ceil_mode, module.count_include_pad)

        return _separable(windows, num_axes, order, sizes)

    return rule


def _adaptive_average_pool(num_axes):
    def rule(module, order, sizes):
        outputs = _each(module.output_size, num_axes)
        if sizes is None and all(n == 1 for n in outputs):
            return 1.0

        def windows(x, axis):
            size = x.shape[-1] if outputs[axis] is None else outputs[axis]
            return functional.adaptive_avg_pool1d(x, size)

        return _separable(windows, num_axes, order, sizes)

    return rule


def _max_pool(num_axes):
    """Count the windows that hold an entry: each can take it for its maximum."""

    def rule(module, order, sizes):
        _check_one_output(module)
        kernel, stride, dilation = (
            _each(value, num_axes) for value in (module.kernel_size, module.stride, module.dilation)
        )
        count = 1
        for k, s, d in zip(kernel, stride, dilation, strict=True):
            phases = torch.arange(k) * d % s
            count *= int(torch.bincount(phases).max())
        return count ** (1.0 / order)

    return rule


def _adaptive_max_pool(num_axes):
    def rule(module, order, sizes):
        _check_one_output(module)
        outputs = _each(module.output_size, num_axes)
        if all(n == 1 for n in outputs):
            return 1.0
        count = 1
        for n, size in zip(_spatial(sizes, num_axes), outputs, strict=False):
            shares = functional.adaptive_avg_pool1d(_identity(n), n if size is None else size)
            count *= int((shares > 0.0).sum(-1).max())
        return count ** (1.0 / order)

    return rule


def _upsample(module, order, sizes):
    modes = {"bilinear": "linear", "trilinear": "linear", "bicubic": None}
    mode = modes.get(module.mode, module.mode)
    if mode is None:
        raise UnboundedError(
            "Its mode has no rule: take linear ones, or as_linear for small images."
        )
    num_axes = 0 if sizes is None else len(sizes) - 2

    def samples(x, axis):
        size, factor = (
            None if value is None else _each(value, num_axes)[axis]
            for value in (module.size, module.scale_factor)
        )
        options = {"size": size, "scale_factor": factor, "mode": mode}
        if mode == "linear":
            options["align_corners"] = module.align_corners
        return functional.interpolate(
            x, **options, recompute_scale_factor=module.recompute_scale_factor
        )

    return _separable(samples, num_axes, order, sizes)


def _separable(operator, num_axes, order, sizes):
    """Return the norm of a product of maps of single axes, from their matrices."""
    norms = []
    for axis, size in enumerate(_spatial(sizes, num_axes)):
        matrix = operator(_identity(size), axis)[:, 0].mT
        norms.append(float(torch.linalg.matrix_norm(matrix, order)))
    return math.prod(norms)


def _identity(size):
    return torch.eye(size, dtype=torch.float64)[:, None]


def _spatial(sizes, num_axes):
    if sizes is None:
        raise UnboundedError(_NEEDS_SHAPE)
    return sizes[max(0, len(sizes) - num_axes) :]


def _check_one_output(module):
    if module.return_indices:
        raise UnboundedError("It returns indices, too: set return_indices=False.")


def _each(value, num_axes):
    value = tuple(value) if isinstance(value, tuple | list) else (value,)
    return value * num_axes if len(value) == 1 else value


# ---------------------------------------------------------------- activations


def _softmax(module, order, sizes):
    return 0.5


def _log_softmax(module, order, sizes):
    if sizes is None:
        raise UnboundedError(_NEEDS_SHAPE)
    if module.dim is None:
        raise UnboundedError("Its dim is not set.")
    num_classes = sizes[module.dim]
    return {1: max(1.0, num_classes - 1.0), 2: math.sqrt(num_classes)}.get(order, 2.0)


def _prelu(module, order, sizes):
    return max(1.0, _largest(module.weight))


def _rrelu(module, order, sizes):
    return max(1.0, abs(0.5 * (module.lower + module.upper)))


def _gelu(module, order, sizes):
    return 1.128993068658772 if module.approximate == "tanh" else 1.128904145185155


def _celu(module, order, sizes):
    if not module.alpha > 0.0:
        raise UnboundedError("Its alpha must be above 0.")
    return 1.0


def _householder(module, order, sizes):
    if order == 2:
        return 1.0
    angle = module.angle.detach()
    return max(1.0, float((angle.cos().abs() + angle.sin().abs()).max()))


_ATTENTION = (
    "Attention by scalar products is not Lipschitz on all inputs (Kim, Papamakarios and Mnih, ICML "
    "2021). Bound the parts before and after it, and itself on the inputs that can occur."
)
_PRODUCT = "A product of two parts that depend on the input is not Lipschitz on all inputs."
_JUMP = "It jumps. Use an activation without a jump, as nn.ReLU or -nn.LogSigmoid()(-x)."
_RECURRENT = "It has no rule. Bound one step of it, or give the unrolled network."
_IDS = (
    "Its inputs are integers, which have no distance. Bound the network behind it, as a function "
    "of what the embedding returns."
)

# The largest slopes of smooth activations are rounded up; GELU's is at the root of 2.
RULES = {
    nn.Linear: _linear,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _convolution),
    **dict.fromkeys(
        (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
        _only_in_eval(_affine_normalization),
    ),
    **dict.fromkeys((nn.LayerNorm, nn.GroupNorm), _normalization),
    nn.RMSNorm: _rms_normalization,
    **dict.fromkeys(
        (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _instance_normalization
    ),
    nn.AvgPool1d: _average_pool(1),
    nn.AvgPool2d: _average_pool(2),
    nn.AvgPool3d: _average_pool(3),
    nn.AdaptiveAvgPool1d: _adaptive_average_pool(1),
    nn.AdaptiveAvgPool2d: _adaptive_average_pool(2),
    nn.AdaptiveAvgPool3d: _adaptive_average_pool(3),
    nn.MaxPool1d: _max_pool(1),
    nn.MaxPool2d: _max_pool(2),
    nn.MaxPool3d: _max_pool(3),
    nn.AdaptiveMaxPool1d: _adaptive_max_pool(1),
    nn.AdaptiveMaxPool2d: _adaptive_max_pool(2),
    nn.AdaptiveMaxPool3d: _adaptive_max_pool(3),
    **dict.fromkeys((nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d), _padding("circular")),
    **dict.fromkeys(
        (nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d), _padding("reflect")
    ),
    **dict.fromkeys(
        (nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d), _padding("replicate")
    ),
    **dict.fromkeys((nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d), _is(1.0)),
    **dict.fromkeys((nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d), _is(1.0)),
    **dict.fromkeys((nn.Identity, nn.Flatten, nn.Unflatten), _is(1.0)),
    **dict.fromkeys((nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle), _is(1.0)),
    **dict.fromkeys((AbsoluteValue, FullSort, GroupSort), _is(1.0)),
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Tanh, nn.Softsign), _is(1.0)),
    **dict.fromkeys((nn.Softshrink, nn.Tanhshrink, nn.LogSigmoid), _is(1.0)),
    **dict.fromkeys(
        (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), _only_in_eval(_is(1.0))
    ),
    **dict.fromkeys((nn.AlphaDropout, nn.FeatureAlphaDropout), _only_in_eval(_is(1.0))),
    nn.Upsample: _upsample,
    NormPool: lambda module, order, sizes: module.group_size**0.5 if order == math.inf else 1.0,
    Householder: _householder,
    Scaling: lambda module, order, sizes: abs(module.factor),
    nn.LeakyReLU: lambda module, order, sizes: max(1.0, abs(module.negative_slope)),
    nn.ELU: lambda module, order, sizes: max(1.0, abs(module.alpha)),
    nn.PReLU: _prelu,
    nn.RReLU: _only_in_eval(_rrelu),
    nn.CELU: _celu,
    nn.SELU: _is(1.7580993408473769),
    nn.GELU: _gelu,
    nn.SiLU: _is(1.0998393201288671),
    nn.Mish: _is(1.088498161251728),
    nn.Hardswish: _is(1.5),
    nn.Hardsigmoid: _is(0.16666668),
    nn.Sigmoid: _is(0.25),
    **dict.fromkeys((nn.Softmax, nn.Softmin, nn.Softmax2d), _softmax),
    nn.LogSoftmax: _log_softmax,
    **dict.fromkeys((nn.Softplus, nn.Hardshrink, nn.Threshold), _refuse(_JUMP)),
    **dict.fromkeys((nn.GLU, nn.Bilinear), _refuse(_PRODUCT)),
    **dict.fromkeys((nn.Embedding, nn.EmbeddingBag), _refuse(_IDS)),
    **dict.fromkeys((nn.MultiheadAttention, nn.Transformer), _refuse(_ATTENTION)),
    **dict.fromkeys((nn.TransformerEncoder, nn.TransformerEncoderLayer), _refuse(_ATTENTION)),
    **dict.fromkeys((nn.TransformerDecoder, nn.TransformerDecoderLayer), _refuse(_ATTENTION)),
    **dict.fromkeys(
        (nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell), _refuse(_RECURRENT)
    ),
}
