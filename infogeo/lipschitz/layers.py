r"""Layers with a known Lipschitz constant, from l2 to l2.

A composition of `OrthogonalLinear` and `GroupSort` is 1-Lipschitz whatever its parameters, and
where the layers do not widen it also preserves the norm of gradients. Train such a network,
then `freeze` it: the frozen one is plain torch, fast, and strictly 1-Lipschitz.
"""

import copy
import math

import numpy as np

from infogeo._array import bad_value
from infogeo._extras import missing

try:
    import torch
    from torch import nn
    from torch.nn.utils import parametrize
except ModuleNotFoundError as error:
    raise missing(error, "infogeo.lipschitz.layers") from None

__all__ = ["QR", "GroupSort", "OrthogonalLinear", "freeze", "lipschitz_bound"]


class QR(nn.Module):
    r"""Torch parametrisation by matrices with orthonormal columns (or rows, if they are wide).

    .. math:: W = Q R, \quad R_{ii} > 0 \quad \mapsto \quad Q

    Notes
    -----
    A parametrisation for `torch.nn.utils.parametrize.register_parametrization`, without any state.
    Wide matrices are transposed first. With the signs fixed, Q is a smooth function of a W of full
    rank, to all orders, and Q itself is mapped to Q; W with dependent columns has no derivative.

    References
    ----------
    M. Lezcano-Casado, Trivializations for gradient-based optimization on manifolds, NeurIPS 2019.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.layers import QR
    >>> QR()(torch.tensor([[3.0, -5.0], [4.0, 10.0]]))
    tensor([[ 0.6000, -0.8000],
            [ 0.8000,  0.6000]])
    """

    def __init__(self):  # nn.Module's own takes any arguments
        super().__init__()

    def forward(self, weight):
        """Orthogonalise a matrix.

        Parameters
        ----------
        weight : torch.Tensor, shape (..., out_features, in_features)
            Any matrix of full rank.

        Returns
        -------
        torch.Tensor, shape (..., out_features, in_features)
            Its Q factor.
        """
        _check_precision(weight)
        if weight.shape[-2] < weight.shape[-1]:
            return self.forward(weight.mT).mT
        q, r = torch.linalg.qr(weight)
        is_flipped = torch.diagonal(r, dim1=-2, dim2=-1) < 0.0
        return torch.where(is_flipped[..., None, :], -q, q)

    def right_inverse(self, weight):
        """Return a matrix that `forward` maps to the given orthogonal one: itself.

        Parameters
        ----------
        weight : torch.Tensor, shape (..., out_features, in_features)
            Orthonormal columns (rows, if wide); of any other matrix, `forward` takes the Q factor.

        Returns
        -------
        torch.Tensor, shape (..., out_features, in_features)
            The same.
        """
        return weight


class OrthogonalLinear(nn.Linear):
    r"""Affine layer with an orthogonal matrix: all its singular values are 1.

    .. math:: y = W x + b, \qquad W^\top W = 1 \text{ or } W W^\top = 1

    Parameters
    ----------
    in_features, out_features : int
        Sizes of the last axis before and after. The layer preserves norms where it does not
        narrow, and norms of gradients where it does not widen.
    bias : bool
        Whether to add b.
    parametrization : class
        What makes the matrix orthogonal: a torch parametrisation, made without arguments, that
        also has a ``right_inverse``.
    generator : torch.Generator, optional
        Source of the start; torch's global one by default.
    device, dtype : optional
        As for `torch.nn.Linear`.

    Notes
    -----
    The start is uniform among the orthogonal matrices, and b = 0. The matrix is made anew at each
    call: use `freeze` once the training is over, `torch.nn.utils.parametrize.cached` before.

    References
    ----------
    C. Anil, J. Lucas and R. Grosse, Sorting out Lipschitz function approximation, ICML 2019.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.layers import OrthogonalLinear
    >>> layer = OrthogonalLinear(64, 10)
    >>> bool(torch.allclose(layer.weight @ layer.weight.T, torch.eye(10), atol=1e-6))
    True
    """

    def __init__(
        self,
        in_features,
        out_features,
        bias=True,
        *,
        parametrization=QR,
        generator=None,
        device=None,
        dtype=None,
    ):
        for name, size in (("in_features", in_features), ("out_features", out_features)):
            _check_size(name, size, 1)
        # nn.Linear's own __init__ would draw another start, from the global generator.
        nn.Module.__init__(self)
        self.in_features = in_features
        self.out_features = out_features
        weight = torch.empty(out_features, in_features, device=device, dtype=dtype)
        _check_precision(weight)
        self.weight = nn.Parameter(nn.init.orthogonal_(weight, generator=generator))
        self.bias = nn.Parameter(weight.new_zeros(out_features)) if bias else None
        parametrize.register_parametrization(self, "weight", parametrization())

    def reset_parameters(self, generator=None):
        """Start again from a random orthogonal matrix and no bias.

        Parameters
        ----------
        generator : torch.Generator, optional
            Source of the start; torch's global one by default.
        """
        with torch.no_grad():
            self.weight = nn.init.orthogonal_(torch.empty_like(self.weight), generator=generator)
            if self.bias is not None:
                self.bias.zero_()


class GroupSort(nn.Module):
    """Sort neighbouring features in groups: 1-Lipschitz, and it preserves norms of gradients.

    Parameters
    ----------
    group_size : int
        Features per group, at least 2; it divides the length of the last axis.

    Notes
    -----
    The Jacobian is a permutation everywhere, at ties as well. Groups of two, "MaxMin", are the
    fastest and already make universal approximators of 1-Lipschitz functions.

    References
    ----------
    C. Anil, J. Lucas and R. Grosse, Sorting out Lipschitz function approximation, ICML 2019.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.layers import GroupSort
    >>> GroupSort()(torch.tensor([4.0, 1.0, 2.0, 3.0]))
    tensor([1., 4., 2., 3.])
    """

    def __init__(self, group_size=2):
        super().__init__()
        _check_size("group_size", group_size, 2)
        self.group_size = group_size

    def forward(self, x):
        """Sort.

        Parameters
        ----------
        x : torch.Tensor, shape (..., features)
            With or without batch axes.

        Returns
        -------
        torch.Tensor, shape (..., features)
            Ascending within each group.
        """
        if x.ndim == 0 or x.shape[-1] % self.group_size:
            raise bad_value(
                "the input of GroupSort",
                f"have a last axis that is a multiple of group_size = {self.group_size}",
                f"got shape {tuple(x.shape)}",
            )
        groups = x.unflatten(-1, (-1, self.group_size))
        if self.group_size > 2:
            return groups.sort(dim=-1).values.flatten(-2)
        # Twice as fast as sort. Minimum and maximum would share the gradient at ties.
        is_swapped = (groups[..., :1] > groups[..., 1:]).long()
        return groups.gather(-1, torch.cat((is_swapped, 1 - is_swapped), dim=-1)).flatten(-2)

    def extra_repr(self):
        """Return what `repr` shows between the brackets.

        Returns
        -------
        str
            The arguments.
        """
        return f"group_size={self.group_size}"


def freeze(model):
    r"""Copy a trained network into plain layers whose Lipschitz bound holds strictly.

    .. math:: W \leftarrow W / \max(1, \sigma_{\max}(W))

    Parameters
    ----------
    model : torch.nn.Module
        Any network; its linear layers have spectral norm 1 at most, rounding apart.

    Returns
    -------
    torch.nn.Module
        The same function to rounding, for evaluation: `nn.Linear` in place of every linear layer,
        no parametrisations, eval mode, parameters without gradients, same dtypes and devices.

    Raises
    ------
    TypeError
        Something else than a network; a parametrised module that is not a linear layer.
    ValueError
        A linear layer that is not 1-Lipschitz or not finite.

    Notes
    -----
    The orthogonal matrices are computed anew in float64, and what counts is the matrix that is
    stored: after the rounding to its dtype, its spectral norm in float64 is at most 1 less the
    error of the singular value decomposition. What a forward pass in floating point adds to that
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
    _check_module(model)
    frozen = {}
    for path, module in model.named_modules():
        _check_hooks(module, path)
        if _is_linear(module):
            frozen[id(module)] = _frozen_linear(module, path)
        elif parametrize.is_parametrized(module):
            raise TypeError(
                "model must have no parametrised modules but linear layers: "
                f"{_named(path, module)}. Remove its parametrisation first."
            )
    # deepcopy takes what its memo holds for a layer, wherever and however often it is used.
    return copy.deepcopy(model, frozen).eval().requires_grad_(False)


def lipschitz_bound(model):
    r"""Upper bound on the Lipschitz constant of a network, from l2 to l2.

    .. math:: L = \prod_i \sigma_{\max}(W_i)

    Parameters
    ----------
    model : torch.nn.Module
        A layer, or `nn.Sequential` of layers, nested as you like: linear layers and activations
        with a known constant.

    Returns
    -------
    float
        The product of the spectral norms, in float64, and of the constants of the activations.

    Raises
    ------
    TypeError
        A module with an unknown constant; the message names it.
    ValueError
        Weights that are not finite.

    Notes
    -----
    The constant of a network is at most this, and often far below. It is attained by networks of
    orthogonal layers and GroupSort that do not widen.

    Examples
    --------
    >>> from torch import nn
    >>> from infogeo.lipschitz.layers import lipschitz_bound
    >>> model = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1))
    >>> for layer in (model[0], model[2]):
    ...     _ = nn.init.constant_(layer.weight, 3.0)
    >>> round(lipschitz_bound(model), 12)
    36.0
    """
    _check_module(model)
    return _bound(model, "")


# ---------------------------------------------------------------- freezing

_ROUNDING = 0.01  # above 1, what may still be rounding: a spectral norm of bfloat16 weights


def _frozen_linear(layer, path):
    # In float64 on the host before the parametrisation runs: not orthogonal only to float32.
    weight = copy.deepcopy(layer).to("cpu", torch.float64).weight.detach()
    norm = _spectral_norm(weight, path, layer)
    if norm > 1.0 + _ROUNDING:
        raise ValueError(
            f"model must have linear layers of spectral norm at most 1: {_named(path, layer)} of "
            f"norm {norm:.6g}. Use OrthogonalLinear, or divide the layer by its norm yourself: it "
            "changes the function."
        )
    frozen = nn.Linear(
        layer.in_features,
        layer.out_features,
        bias=layer.bias is not None,
        device="meta",
        dtype=layer.weight.dtype,
    ).to_empty(device=layer.weight.device)
    with torch.no_grad():
        frozen.weight.copy_(_strict_contraction(weight, max(1.0, norm), layer.weight.dtype))
        if frozen.bias is not None:
            frozen.bias.copy_(layer.bias)
    return frozen


def _strict_contraction(weight, divisor, dtype):
    """Divide a float64 matrix such that its norm is at most 1 after the rounding to dtype."""
    largest = 1.0 - max(weight.shape) * torch.finfo(torch.float64).eps
    least_step = 1.0 + 0.25 * torch.finfo(dtype).eps
    while True:
        rounded = (weight / divisor).to(dtype)
        norm = float(torch.linalg.matrix_norm(rounded.to(torch.float64), 2))
        if norm <= largest:
            return rounded
        divisor *= max(norm / largest, least_step)


# ---------------------------------------------------------------- bounds

# Not here: Softplus and GELU-like functions; the first jumps at its threshold, the others
# have slopes above 1.
_CONSTANTS = {
    GroupSort: 1.0,
    nn.Identity: 1.0,
    nn.Flatten: 1.0,
    nn.Unflatten: 1.0,
    nn.ReLU: 1.0,
    nn.ReLU6: 1.0,
    nn.Hardtanh: 1.0,
    nn.Tanh: 1.0,
    nn.Softsign: 1.0,
    nn.Softshrink: 1.0,
    nn.Tanhshrink: 1.0,
    nn.LogSigmoid: 1.0,
    nn.Sigmoid: 0.25,
}


def _bound(module, path):
    _check_hooks(module, path)
    if _is_linear(module):
        weight = module.weight.detach().to("cpu", torch.float64)
        return _spectral_norm(weight, path, module)
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        children = module._modules.items()  # named_children() leaves out repetitions
        return math.prod(_bound(child, f"{path}.{name}".strip(".")) for name, child in children)
    constant = _activation_constant(module)
    if constant is None:
        if isinstance(module, nn.Dropout):
            seen, advice = f"{_named(path, module)} in training mode", "Call model.eval() first."
        else:
            seen = _named(path, module)
            advice = (
                "Put the parts of a module of your own into nn.Sequential, or bound the parts "
                "that are known and multiply by your own bounds for the others."
            )
        raise TypeError(
            f"model must be made of modules with a known Lipschitz constant: {seen}. {advice}"
        )
    return constant


def _activation_constant(module):
    """Return the largest slope of an activation; None for anything else."""
    kind = type(module)  # a subclass may compute something else
    if kind is nn.LeakyReLU:
        return max(1.0, abs(module.negative_slope))
    if kind is nn.PReLU:
        slope = float(module.weight.detach().abs().max())
        return slope if slope > 1.0 or math.isnan(slope) else 1.0
    if kind is nn.ELU:
        return max(1.0, abs(module.alpha))
    if kind is nn.Dropout and not module.training:
        return 1.0
    return _CONSTANTS.get(kind)


def _spectral_norm(weight, path, layer):
    if not bool(torch.isfinite(weight).all()):
        raise bad_value(
            "model", "have finite weights", f"{_named(path, layer)} with NaN or infinite entries"
        )
    return float(torch.linalg.matrix_norm(weight, 2))


# ---------------------------------------------------------------- checks


def _check_hooks(module, path):
    """Refuse hooks: they may change outputs; older reparametrisations change weights by them."""
    if module._forward_hooks or module._forward_pre_hooks:
        raise TypeError(
            f"model must have no forward hooks: {_named(path, module)} with one. Remove it "
            "(torch.nn.utils.weight_norm and spectral_norm have functions for that), or use the "
            "successors in torch.nn.utils.parametrizations."
        )


def _is_linear(module):
    return isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward


def _named(path, module):
    kind = type(module).__name__.removeprefix("Parametrized")
    return f"'{path}' is a {kind}" if path else f"it is a {kind}"


def _check_module(model):
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module: got {type(model).__name__}.")


def _check_precision(weight):
    if weight.dtype.itemsize < 4:
        raise TypeError(
            f"weight must be float32 or float64: its dtype is {weight.dtype}. Train in float32 "
            "(autocast is fine), and convert to half precision what freeze returns."
        )


def _check_size(name, size, smallest):
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < smallest:
        raise bad_value(name, f"be an integer, at least {smallest}", f"got {size!r}")
