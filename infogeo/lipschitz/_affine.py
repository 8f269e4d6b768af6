"""Affine layers as matrices, and the proof that a layer is affine."""

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from infogeo._array import bad_value
from infogeo.lipschitz._checks import check_calls, check_module, check_size
from infogeo.pullback._checks import check_modes


def as_linear(layer: nn.Module, input_shape: int | Sequence[int]) -> nn.Linear:
    r"""Write an affine layer, such as a convolution, as an `nn.Linear` on flattened inputs.

    .. math:: W = \frac{\partial y}{\partial x}, \qquad b = y(0)

    The matrix is exact, whatever the padding and the stride, and so is its norm: the way to bounds
    and to `freeze` for convolutions on images that are not large.

    Parameters
    ----------
    layer : torch.nn.Module
        A layer with y(x) = W x + b: a convolution, a mean over windows, several of them in
        `nn.Sequential`, batch normalisation in eval mode. It is left as it is, with its
        parametrisations and their state.
    input_shape : tuple of int
        The shape of one input, without the batch axis.

    Returns
    -------
    torch.nn.Linear
        From the flattened inputs to the flattened outputs, of the layer's dtype and device.

    Raises
    ------
    TypeError
        Something else than a layer; hooks, and calls that are not those of `torch.nn.Module`.
    ValueError
        A layer that is not affine.

    Notes
    -----
    W has a row for each output and a column for each input. Behind it, `nn.Unflatten` restores the
    shape.

    A layer counts as affine if each operation on what comes from its input is: sums, products with
    constants, convolutions, copies and permutations. That its values agree with an affine map would
    not be enough: far from its kink, ReLU is the identity.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from infogeo.lipschitz.layers import as_linear, lipschitz_bound
    >>> mean = as_linear(nn.AvgPool2d(2), (1, 4, 4))
    >>> mean
    Linear(in_features=16, out_features=4, bias=True)
    >>> lipschitz_bound(mean)
    0.5
    """
    check_module(layer, "layer")
    for path, module in layer.named_modules():
        check_calls(module, path, "layer")
    shape = checked_shape(input_shape)
    like = next(layer.parameters(), torch.empty(()))
    with torch.inference_mode(False), torch.autocast(like.device.type, enabled=False):
        layer = without_parametrizations(layer)  # spectral norms in training mode stay as they are
        check_modes(layer, "layer")
        zero = torch.zeros(shape, dtype=like.dtype, device=like.device)
        return _matrix(layer, zero)


def _matrix(layer, zero):
    def flat(point):
        y = layer(point[None])
        if not isinstance(y, torch.Tensor):
            raise TypeError(f"layer must return a tensor: it returned {type(y).__name__}.")
        return y.flatten()

    with torch.no_grad():
        with _AffineOperations(zero):
            bias = flat(zero)
        is_widening = bias.numel() > zero.numel()
    derivative = torch.func.jacfwd(flat) if is_widening else torch.func.jacrev(flat)
    weight = derivative(zero).detach().reshape(bias.numel(), zero.numel())
    linear = nn.Linear(zero.numel(), bias.numel(), device="meta", dtype=zero.dtype)
    linear = linear.to_empty(device=zero.device)
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
        _check_values(flat, linear, zero)
    return linear


def checked_shape(input_shape):
    shape = tuple(input_shape) if isinstance(input_shape, list | tuple) else (input_shape,)
    for size in shape:
        check_size("each size in input_shape", size, 1)
    return shape


def without_parametrizations(layer):
    """Copy a layer with the weights it computes: some parametrisations change a state in place.

    torch's remove_parametrizations would not do: a parametrised module and its copies share a
    class of their own, from which it takes the weight, so that the caller's layer would lose it.
    """
    layer = copy.deepcopy(layer)
    for module in layer.modules():
        if parametrize.is_parametrized(module):
            with torch.no_grad():
                weights = {name: getattr(module, name) for name in module.parametrizations}
            del module.parametrizations
            module.__class__ = parametrize.type_before_parametrizations(module)
            for name, weight in weights.items():
                module.register_buffer(name, weight)
    return layer


# ---------------------------------------------------------------- is it affine?


class _AffineOperations(TorchDispatchMode):
    """Let through, of the operations on what comes from an input, only those that are affine.

    What comes from the input is known by its storage, which views share and changes in place keep.
    """

    def __init__(self, point):
        super().__init__()
        self.dependent = {}  # the tensors are kept alive: their addresses are not used again
        self._add(point)

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        dependent = [x for x in _tensors((args, kwargs)) if self._is_dependent(x)]
        name = operation.overloadpacket.__name__.rstrip("_")
        if not dependent or name in _SHAPE_ONLY:
            return result
        found = _tensors(result)
        is_integer = any(not (x.is_floating_point() or x.is_complex()) for x in found)
        if is_integer or not _is_affine(name, dependent, args, kwargs or {}):
            raise bad_value(
                "layer",
                "be affine",
                f"it takes {operation} of what comes from its input",
                "Convert the affine layers between the activations, each by itself.",
            )
        for x in found:
            self._add(x)
        return result

    def _add(self, x):
        self.dependent[x.untyped_storage().data_ptr()] = x

    def _is_dependent(self, x):
        return x.layout is torch.strided and x.untyped_storage().data_ptr() in self.dependent


def _is_affine(name, dependent, args, kwargs):
    if name in _JOINTLY_AFFINE:
        return True
    if name not in _AFFINE_IN_ONE or len(dependent) > 1:
        return False
    if name == "div":
        return dependent[0] is args[0] and kwargs.get("rounding_mode") is None
    return not (name in _BATCH_NORMS and any(argument is True for argument in args))  # in training


def _tensors(tree):
    return [x for x in tree_leaves(tree) if isinstance(x, torch.Tensor)]


def _names(text):
    return frozenset(text.split())


# Operations of torch by their names in aten, without the underscore of those in place.
_SHAPE_ONLY = _names("""
    empty_like full_like new_empty new_empty_strided new_full new_ones new_zeros ones_like
    zeros_like
""")
_JOINTLY_AFFINE = _names("""
    _adaptive_avg_pool2d _adaptive_avg_pool3d _conj _fft_c2c _fft_c2r _fft_r2c _neg_view
    _reshape_alias _to_copy _unsafe_view _upsample_bicubic2d_aa _upsample_bilinear2d_aa
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d add alias
    as_strided avg_pool1d avg_pool2d avg_pool3d cat channel_shuffle clone col2im constant_pad_nd
    copy cumsum detach diagonal expand fill flip gather im2col index index_add index_copy
    index_put index_select lift_fresh masked_fill mean native_channel_shuffle neg permute
    pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d reflection_pad3d repeat
    replication_pad1d replication_pad2d replication_pad3d roll rsub scatter scatter_add select
    slice split split_with_sizes squeeze stack sub sum t transpose tril triu unbind unfold
    unsafe_split unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_linear1d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d view
    view_as_complex view_as_real where zero
""")
_BATCH_NORMS = _names("""
    _batch_norm_no_update _native_batch_norm_legit _native_batch_norm_legit_no_training
    cudnn_batch_norm native_batch_norm
""")
_AFFINE_IN_ONE = _BATCH_NORMS | _names("""
    _sparse_addmm _sparse_mm _trilinear addbmm addmm addmv baddbmm bmm convolution div dot mm mul
    mv
""")


def _check_values(flat, linear, zero):
    """Compare at a point and far from it."""
    signs = torch.ones_like(zero)
    signs.view(-1)[::2] = -1.0
    for scale in (0.01, -1.0, 100.0):
        point = scale * signs
        found, expected = flat(point), linear(point.flatten())
        rounding = zero.numel() * torch.finfo(zero.dtype).eps
        size = linear.weight.abs() @ point.flatten().abs() + linear.bias.abs()
        if bool(((found - expected).abs() > rounding * size).any()):
            raise bad_value(
                "layer",
                "be affine",
                f"it differs from W x + b by {float((found - expected).abs().max()):.3g}",
                "Convert the affine layers between the activations, each by itself.",
            )
