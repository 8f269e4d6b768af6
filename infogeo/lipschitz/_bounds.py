"""Operator norms, the bounds they make, and networks for which the bounds hold strictly."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import overload

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from infogeo._array import REAL, bad_value, gate
from infogeo._docs import finish
from infogeo.lipschitz._affine import checked_shape, without_parametrizations
from infogeo.lipschitz._checks import check_calls, check_finite, check_module, check_size, named
from infogeo.lipschitz._constants import rule_of
from infogeo.lipschitz._convolution import convolution_norm
from infogeo.lipschitz._network import bound_module
from infogeo.lipschitz._orthogonal_convolution import OrthogonalConv2d
from infogeo.pullback._checks import check_modes


@overload
def freeze(model: nn.Sequential, *, order: float = 2) -> nn.Sequential: ...
@overload
def freeze(model: nn.Module, *, order: float = 2) -> nn.Module: ...


def freeze(model: nn.Module, *, order: float = 2) -> nn.Module:
    r"""Copy a trained network into plain layers whose Lipschitz bound holds strictly.

    .. math:: W \leftarrow W / \max(1, |W|_{p \to p})

    Parameters
    ----------
    model : torch.nn.Module
        Any network; its linear layers have norm 1 at most, rounding apart.
    order : 1, 2 or inf
        The p of the norms; that of l2 is the largest singular value.

    Returns
    -------
    torch.nn.Module
        The same function to rounding, for evaluation: `nn.Linear` in place of every linear layer,
        `nn.Conv2d` in place of `OrthogonalConv2d`, no parametrisations, eval mode, parameters
        without gradients, same dtypes and devices. Other convolutions stay as they are.

    Raises
    ------
    TypeError
        Something else than a network; a parametrised module that is not a linear layer.
    ValueError
        A linear layer that is not 1-Lipschitz or not finite.

    Notes
    -----
    The matrices are computed anew in float64, and what counts is the matrix that is stored: after
    the rounding to its dtype, its norm in float64 is at most 1 less the error of computing that
    norm. What a forward pass in floating point adds to it
    is not accounted for.

    Examples
    --------
    >>> from torch import nn
    >>> from infogeo.lipschitz import layers
    >>> model = nn.Sequential(layers.OrthogonalLinear(8, 4), layers.GroupSort())
    >>> layers.freeze(model)
    Sequential(
      (0): Linear(in_features=8, out_features=4, bias=True)
      (1): GroupSort(group_size=2)
    )
    >>> layers.lipschitz_bound(layers.freeze(model)) <= 1.0
    True
    """
    check_module(model)
    order = _own_order(order)
    frozen = {}
    for path, module in model.named_modules():
        check_calls(module, path)
        if _is_linear(module):
            frozen[id(module)] = _frozen(module, path, order)
        elif parametrize.is_parametrized(module):
            raise TypeError(
                "model must have no parametrised modules but linear layers: "
                f"{named(path, module)}. Remove its parametrisation first."
            )
    # deepcopy takes what its memo holds for a layer, wherever and however often it is used.
    return copy.deepcopy(model, frozen).eval().requires_grad_(False)


def lipschitz_bound(
    model: nn.Module, *, order: float = 2, input_shape: int | Sequence[int] | None = None
) -> float:
    r"""Return an upper bound on the Lipschitz constant of a network.

    .. math:: L(g \circ f) \le L(g) L(f), \qquad L(f + g) \le L(f) + L(g), \qquad
              L((f, g)) \le (L(f)^p + L(g)^p)^{1/p}

    Parameters
    ----------
    model : torch.nn.Module
        A layer, `nn.Sequential` of layers, nested as you like, or, with input_shape, a module
        of your own whose forward method `torch.fx` can trace.
    order : 1, 2 or inf
        The p of the norm, the same for inputs and outputs.
    input_shape : int or tuple of int, optional
        The shape of one input, without the batch axis. Needed where forward methods of your own
        are traced, and by layers whose constant depends on the size, such as adaptive pooling;
        the errors say so. The bound then holds for inputs of that shape; without it, for all.

    Returns
    -------
    float
        The bound, in float64.

    Raises
    ------
    TypeError
        A module or an operation with an unknown constant, or with none; the message names it.
    ValueError
        Weights that are not finite; another order; inputs of that shape that do not fit.

    Notes
    -----
    The constant of a network is at most this, and often far below. From l2 to l2 it is attained by
    networks of orthogonal layers and GroupSort that do not widen.

    A convolution has the norm of the convolution on an infinite grid [1]_, with its stride and
    dilation, which restricting it by padding with zeros cannot exceed. Its supremum over all
    frequencies is bounded by branch and bound with Bernstein's inequality, rounding included: to
    1e-6, or less closely if that takes more than 5e10 operations, as for 512 channels. Where the
    first grid would take more than 4e11, as for 7 x 7 x 7 taps of 128 channels, taps of an axis
    are bounded by the inequality of Cauchy and Schwarz. Other
    paddings count how often they repeat an entry. A maximum over windows has the root of the
    number of windows that an entry is in; LayerNorm has 1 / sqrt(eps), where its input is
    constant. Norms of matrices are computed to rounding in float64.

    References
    ----------
    .. [1] H. Sedghi, V. Gupta and P. M. Long, The singular values of convolutional layers, ICLR
       2019; for bounds between the points of a grid, L. Pfister and Y. Bresler, Bounding
       multivariate trigonometric polynomials, IEEE Trans. Signal Process. 67, 2019.

    Examples
    --------
    >>> from torch import nn
    >>> from infogeo.lipschitz.layers import lipschitz_bound
    >>> model = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1))
    >>> for layer in (model[0], model[2]):
    ...     _ = nn.init.constant_(layer.weight, 3.0)
    >>> round(lipschitz_bound(model), 12)
    36.0
    >>> lipschitz_bound(model, order=np.inf)
    36.0
    >>> lipschitz_bound(nn.MaxPool2d(3, stride=2))
    2.0
    """
    check_module(model)
    order = _own_order(order)
    sizes = None if input_shape is None else (1, *checked_shape(input_shape))
    example = None if sizes is None else torch.zeros(sizes, dtype=torch.float64)
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        bound, _ = bound_module(_checked_copy(model), "", order, example)
    return bound


def operator_norm(weight: Tensor, *, domain_order: float = 2, codomain_order: float = 2) -> Tensor:
    r"""Return the norm of a matrix as a linear map, where it can be computed.

    .. math:: |W|_{p \to q} = \max_{x \ne 0} |W x|_q / |x|_p

    Parameters
    ----------
    weight : torch.Tensor, shape (..., out_features, in_features)
        The matrix.
    domain_order, codomain_order : float
        p and q, from 1 to inf. One of these has to hold: p = 1; q = inf; p = q = 2.

    Returns
    -------
    torch.Tensor, shape (...)
        The largest q-norm of a column if p = 1; the largest norm of a row, of the order dual to
        p, if q = inf; the largest singular value if p = q = 2. Of half precision in float32.

    Raises
    ------
    TypeError
        Something else than a floating-point tensor.
    ValueError
        Orders for which no method is known whose time is polynomial; the message says what is.
        Entries that are not finite.

    Notes
    -----
    All other norms are out of reach in general. For p > q they are NP-hard [1]_, from the maximum
    norm to l1 even to approximate; so are those with p = q apart from 1, 2 and inf, if p is
    rational [2]_, and those from l2 to q-norms with q > 2 that are even integers [3]_.

    References
    ----------
    .. [1] D. Steinberg, Computation of matrix norms with applications to robust optimization,
       Technion, 2005.
    .. [2] J. M. Hendrickx and A. Olshevsky, Matrix p-norms are NP-hard to approximate if p is not
       1, 2 or infinity, SIAM J. Matrix Anal. Appl. 31, 2010.
    .. [3] B. Barak, F. Brandao, A. Harrow, J. Kelner, D. Steurer and Y. Zhou, Hypercontractivity,
       sum-of-squares proofs, and their applications, STOC 2012.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.layers import operator_norm
    >>> weight = torch.tensor([[3.0, 0.0], [4.0, 1.0]])
    >>> operator_norm(weight, domain_order=1, codomain_order=2)
    tensor(5.)
    >>> operator_norm(weight, domain_order=2, codomain_order=np.inf)
    tensor(4.1231)
    """
    if not isinstance(weight, torch.Tensor) or not weight.dtype.is_floating_point:
        kind = getattr(weight, "dtype", type(weight).__name__)
        raise TypeError(f"weight must be a floating-point torch tensor: got {kind}.")
    if weight.ndim < 2:
        raise bad_value("weight", "be a matrix", f"got shape {tuple(weight.shape)}")
    _, weight = gate(True, weight=(REAL, weight))  # half precision in float32
    p = _norm_order("domain_order", domain_order)
    q = _norm_order("codomain_order", codomain_order)
    if p == 1.0:
        return torch.linalg.vector_norm(weight, q, dim=-2).amax(-1)
    if q == math.inf:
        dual = 1.0 if p == math.inf else p / (p - 1.0)
        return torch.linalg.vector_norm(weight, dual, dim=-1).amax(-1)
    if p == q == 2.0:
        return torch.linalg.matrix_norm(weight, 2)
    raise bad_value(
        "domain_order and codomain_order",
        "be orders whose norm can be computed",
        f"got p = {p:g} and q = {q:g}, {_hardness(p, q)}",
        "Use p = 1, q = inf or p = q = 2, or bound it: |W|_pq <= |W|_pr |1|_rq.",
    )


def jacobian_spectrum(
    model: Callable[[Tensor], Tensor], x: Tensor, *, chunk_size: int | None = None
) -> Tensor:
    r"""Return the singular values of the Jacobian of a network, at each input.

    Parameters
    ----------
    model : callable
        Maps inputs of shape (batch, ...) to outputs of shape (batch, ...), row by row: in eval
        mode, if it has modules that depend on it.
    x : torch.Tensor, shape (batch, ...)
    chunk_size : int, optional
        Inputs whose Jacobians are held at a time; all by default.

    Returns
    -------
    torch.Tensor, shape (batch, k)
        Descending, k the smaller one of the sizes of an input and an output; computed in float64
        from the Jacobian, of the dtype of x, or float32 if that is half precision.

    Raises
    ------
    TypeError
        An x, or outputs, that are not a floating-point tensor.
    ValueError
        An x without inputs or not finite; a network with parts in training mode that are random or
        mix inputs, also where a function keeps it.

    Notes
    -----
    The largest one at any input is a lower bound of the Lipschitz constant, from l2 to l2. A
    network that preserves the norms of gradients has no other value than its constant; dynamical
    isometry asks for the same at the start of training only.

    References
    ----------
    J. Pennington, S. S. Schoenholz and S. Ganguli, Resurrecting the sigmoid in deep learning
    through dynamical isometry, NeurIPS 2017.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from infogeo.lipschitz import layers
    >>> model = nn.Sequential(layers.OrthogonalLinear(8, 4), layers.GroupSort())
    >>> layers.jacobian_spectrum(model, torch.randn(2, 8))
    tensor([[1.0000, 1.0000, 1.0000, 1.0000],
            [1.0000, 1.0000, 1.0000, 1.0000]])
    """
    if not isinstance(x, torch.Tensor) or not x.dtype.is_floating_point:
        kind = getattr(x, "dtype", type(x).__name__)
        raise TypeError(f"x must be a floating-point torch tensor: got {kind}.")
    if x.ndim < 2 or x.numel() == 0:
        raise bad_value("x", "be a batch of inputs", f"got shape {tuple(x.shape)}")
    gate(True, x=(REAL, x))
    if chunk_size is not None:
        check_size("chunk_size", chunk_size, 1)
    check_modes(model)

    def flat(point):
        y = model(point[None])
        if not isinstance(y, torch.Tensor):
            raise TypeError(f"model must return a tensor: it returned {type(y).__name__}.")
        return y.flatten()

    with torch.no_grad():
        is_widening = flat(x[0]).numel() > x[0].numel()
    derivative = torch.func.jacfwd(flat) if is_widening else torch.func.jacrev(flat)
    dtype = torch.promote_types(x.dtype, torch.float32)
    spectra = []
    for part in x.detach().split(chunk_size or len(x)):
        jacobian = torch.vmap(derivative)(part).flatten(2).detach()
        spectra.append(torch.linalg.svdvals(jacobian.to(torch.float64)).to(dtype))
    return torch.cat(spectra)


# ---------------------------------------------------------------- freezing

_ROUNDING = 0.01  # above 1, what may still be rounding: the norm of bfloat16 weights


def _frozen(layer, path, order):
    # In float64 on the host before the parametrisation runs: not orthogonal only to float32.
    weight = copy.deepcopy(layer).to("cpu", torch.float64).weight.detach()
    check_finite(layer, path)
    norm = _norm(weight, order)
    if norm > 1.0 + _ROUNDING:
        raise ValueError(
            f"model must have linear layers of {_NORMS[order]} norm at most 1: "
            f"{named(path, layer)} of norm {norm:.6g}. Use {_CURES[order]}, or divide the layer "
            "by its norm yourself: it changes the function."
        )
    frozen = _plain(layer).to_empty(device=layer.weight.device)
    with torch.no_grad():
        frozen.weight.copy_(_strict_contraction(weight, max(1.0, norm), layer.weight.dtype, order))
        if frozen.bias is not None:
            frozen.bias.copy_(layer.bias)
    return frozen


def _plain(layer):
    has_bias, dtype = layer.bias is not None, layer.weight.dtype
    if isinstance(layer, OrthogonalConv2d):
        sizes = layer.in_channels, layer.out_channels, layer.kernel_size
        padding = {"padding": "same", "padding_mode": "circular"}
        return nn.Conv2d(*sizes, **padding, bias=has_bias, device="meta", dtype=dtype)
    sizes = layer.in_features, layer.out_features
    return nn.Linear(*sizes, bias=has_bias, device="meta", dtype=dtype)


def _norm(weight, order):
    if weight.ndim == 2:
        return float(torch.linalg.matrix_norm(weight, order))
    return convolution_norm(weight[None], (1, 1), (1, 1), order)


def _strict_contraction(weight, divisor, dtype, order):
    """Divide a float64 matrix or kernel such that its norm is at most 1 when rounded to dtype."""
    largest = 1.0 - max(weight.shape) * torch.finfo(torch.float64).eps
    least_step = 1.0 + 0.25 * torch.finfo(dtype).eps
    while True:
        rounded = (weight / divisor).to(dtype)
        norm = _norm(rounded.to(torch.float64), order)
        if norm <= largest:
            return rounded
        divisor *= max(norm / largest, least_step)


# ---------------------------------------------------------------- bounds


def _checked_copy(model):
    """Copy a model in float64 on the host, with the weights that parametrisations compute."""
    for path, module in model.named_modules():
        if any(map(is_lazy, (*module._parameters.values(), *module._buffers.values()))):
            raise bad_value(
                "model",
                "have weights",
                f"{named(path, module)} that has not seen an input yet",
                "Call it once.",
            )
        check_calls(module, path)
    return without_parametrizations(model).to("cpu", torch.float64)


_NORMS = {1: "l1", 2: "spectral", math.inf: "maximum"}
_CURES = {1: "weights of small columns", 2: "OrthogonalLinear", math.inf: "L1Projection"}


def _hardness(p, q):
    if p > q:
        return "which is NP-hard (Steinberg 2005)"
    if p == q:
        return "which is NP-hard (Hendrickx and Olshevsky 2010)"
    return "for which no method is known whose time is polynomial (Barak et al. 2012)"


# ---------------------------------------------------------------- checks


def _is_linear(module):
    return isinstance(module, nn.Linear | OrthogonalConv2d) and rule_of(module) is not None


def _own_order(order):
    order = _norm_order("order", order)
    if order not in _NORMS:
        raise bad_value("order", "be 1, 2 or inf", f"got {order:g}")
    return order


def _norm_order(name, order):
    if isinstance(order, bool) or not isinstance(order, int | float | np.number):
        raise TypeError(f"{name} must be a number: got {order!r}.")
    if not order >= 1:
        raise bad_value(name, "be from 1 to inf", f"got {order!r}")
    return float(order)


finish(globals())
