"""Activations: 1-Lipschitz in each of the norms, or by a known constant."""

import math

import torch
from torch import Tensor, nn

from infogeo._array import bad_value, finite_number
from infogeo._docs import finish
from infogeo.lipschitz._checks import check_size, whole_number


class GroupSort(nn.Module):
    """Sort neighbouring features in groups: 1-Lipschitz, and it preserves norms of gradients.

    Parameters
    ----------
    group_size : int
        Features per group, at least 2; it divides the length of the axis.
    dim : int
        The axis of the features: 1 for the channels of images, behind a convolution.

    Notes
    -----
    The Jacobian is a permutation everywhere, at ties as well. Groups of two, "MaxMin", are the
    fastest and already make universal approximators: with the first matrix of norm 1 from l_p to
    l_infinity and the others of norm 1 in l_infinity (rows of absolute sum 1), they are dense in
    the real functions on a compact set that are 1-Lipschitz in l_p, in the maximum norm (Anil,
    Lucas and Grosse). That says nothing of orthogonal matrices, for which it is not proved.

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

    def __init__(self, group_size: int = 2, *, dim: int = -1) -> None:
        super().__init__()
        check_size("group_size", group_size, 2)
        self.group_size, self.dim = group_size, whole_number("dim", dim)

    def forward(self, x: Tensor) -> Tensor:
        """Sort.

        Parameters
        ----------
        x : torch.Tensor, shape (..., features)

        Returns
        -------
        torch.Tensor, shape (..., features)
            Ascending within each group.
        """
        if not torch.jit.is_scripting():
            _check_groups(x, self)
        if self.dim != -1:
            return self._sorted(x.movedim(self.dim, -1)).movedim(-1, self.dim)
        return self._sorted(x)

    def _sorted(self, x: Tensor) -> Tensor:
        groups = x.unflatten(-1, (-1, self.group_size))
        if self.group_size > 2:
            return groups.sort(dim=-1).values.flatten(-2)
        # Twice as fast as sort. Minimum and maximum would share the gradient at ties.
        is_swapped = (groups[..., :1] > groups[..., 1:]).long()
        return groups.gather(-1, torch.cat((is_swapped, 1 - is_swapped), dim=-1)).flatten(-2)

    def extra_repr(self) -> str:
        """Return what `repr` shows between the brackets.

        Returns
        -------
        str
            The arguments.
        """
        return f"group_size={self.group_size}" + ("" if self.dim == -1 else f", dim={self.dim}")


class Householder(nn.Module):
    r"""Reflect pairs of features at a learned line: 1-Lipschitz in l2, keeps norms of gradients.

    .. math:: y = \begin{cases} x & v^\top x > 0 \\ x - 2 v v^\top x & v^\top x \le 0
              \end{cases}, \qquad v = (\sin \tfrac\theta2, -\cos \tfrac\theta2)

    Parameters
    ----------
    num_features : int
        The length of the axis of the features, even: one angle for each two that are neighbours.
    dim : int
        The axis of the features: 1 for the channels of images, behind a convolution.
    device, dtype : optional
        As for `torch.nn.Linear`.

    Notes
    -----
    The Jacobian is orthogonal everywhere, and the map is continuous. The start, an angle of
    pi / 2, sorts each pair in descending order.

    References
    ----------
    S. Singla, S. Singla and S. Feizi, Improved deterministic l2 robustness on CIFAR-10 and
    CIFAR-100, ICLR 2022.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.layers import Householder
    >>> Householder(4)(torch.tensor([4.0, 1.0, 2.0, 3.0]))
    tensor([4., 1., 3., 2.], grad_fn=...)
    """

    def __init__(
        self,
        num_features: int,
        *,
        dim: int = -1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_size("num_features", num_features, 2)
        if num_features % 2:
            raise bad_value("num_features", "be even", f"got {num_features}")
        self.num_features, self.dim = num_features, whole_number("dim", dim)
        angle = torch.full((num_features // 2,), 0.5 * math.pi, device=device, dtype=dtype)
        self.angle = nn.Parameter(angle)

    def forward(self, x: Tensor) -> Tensor:
        """Reflect.

        Parameters
        ----------
        x : torch.Tensor, shape (..., features)

        Returns
        -------
        torch.Tensor, shape (..., features)
            Of the same norm.
        """
        if not torch.jit.is_scripting():
            _check_features(x, self)
        pairs = x.movedim(self.dim, -1).unflatten(-1, (-1, 2))
        sine, cosine = torch.sin(0.5 * self.angle), torch.cos(0.5 * self.angle)
        normal = torch.stack((sine, -cosine), dim=-1)
        height = (pairs * normal).sum(-1, keepdim=True)
        moved = torch.where(height > 0.0, pairs, pairs - 2.0 * height * normal)
        return moved.flatten(-2).movedim(-1, self.dim)

    def extra_repr(self) -> str:
        """Return what `repr` shows between the brackets.

        Returns
        -------
        str
            The arguments.
        """
        text = f"num_features={self.num_features}"
        return text if self.dim == -1 else f"{text}, dim={self.dim}"


class FullSort(nn.Module):
    """Sort all features: 1-Lipschitz, and it preserves norms of gradients.

    Notes
    -----
    `GroupSort` with one group, whatever the number of features.

    References
    ----------
    C. Anil, J. Lucas and R. Grosse, Sorting out Lipschitz function approximation, ICML 2019.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.layers import FullSort
    >>> FullSort()(torch.tensor([4.0, 1.0, 2.0, 3.0]))
    tensor([1., 2., 3., 4.])
    """

    def __init__(self) -> None:  # nn.Module's own takes any arguments
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Sort.

        Parameters
        ----------
        x : torch.Tensor, shape (..., features)

        Returns
        -------
        torch.Tensor, shape (..., features)
            Ascending.
        """
        if not torch.jit.is_scripting() and x.ndim == 0:
            raise bad_value("the input of FullSort", "have a last axis", "got shape ()")
        return x.sort(dim=-1).values


class AbsoluteValue(nn.Module):
    """Take the absolute value of each feature: 1-Lipschitz, and it preserves norms of gradients.

    Notes
    -----
    The slope at 0 is 1, where that of `torch.abs` is 0. Between orthogonal layers it can do what
    `GroupSort` of pairs does: the larger one of two numbers is half their sum and half the size of
    their difference.

    References
    ----------
    C. Anil, J. Lucas and R. Grosse, Sorting out Lipschitz function approximation, ICML 2019.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.layers import AbsoluteValue
    >>> AbsoluteValue()(torch.tensor([-2.0, 0.0, 3.0]))
    tensor([2., 0., 3.])
    """

    def __init__(self) -> None:  # nn.Module's own takes any arguments
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Take absolute values.

        Parameters
        ----------
        x : torch.Tensor
            Of any shape.

        Returns
        -------
        torch.Tensor
            Of the same shape.
        """
        return torch.where(x < 0.0, -x, x)


class Scaling(nn.Module):
    """Multiply by a fixed number, which is the Lipschitz constant.

    Parameters
    ----------
    factor : float
        Any number; its size is the Lipschitz constant.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.layers import Scaling, lipschitz_bound
    >>> Scaling(-2.5)(torch.tensor([1.0, 2.0]))
    tensor([-2.5000, -5.0000])
    >>> lipschitz_bound(Scaling(-2.5))
    2.5
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = finite_number("factor", factor)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply.

        Parameters
        ----------
        x : torch.Tensor
            Of any shape.

        Returns
        -------
        torch.Tensor
            Of the same shape.
        """
        return self.factor * x

    def extra_repr(self) -> str:
        """Return what `repr` shows between the brackets.

        Returns
        -------
        str
            The arguments.
        """
        return f"factor={self.factor}"


class NormPool(nn.Module):
    r"""Replace neighbouring features in groups by their l2 norm: 1-Lipschitz.

    .. math:: y_j = \Bigl(\sum_{i \in \text{group } j} x_i^2\Bigr)^{1/2}

    Parameters
    ----------
    group_size : int
        Features per group; it divides the length of the last axis.

    Notes
    -----
    It preserves the norms of gradients, except where a whole group is 0: there the gradient is
    the subgradient 0. From the maximum norm to the maximum norm its constant is sqrt(group_size).

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.layers import NormPool
    >>> NormPool(2)(torch.tensor([3.0, -4.0, 0.0, 5.0]))
    tensor([5., 5.])
    """

    def __init__(self, group_size: int) -> None:
        super().__init__()
        check_size("group_size", group_size, 1)
        self.group_size = group_size

    def forward(self, x: Tensor) -> Tensor:
        """Take the norm of each group.

        Parameters
        ----------
        x : torch.Tensor, shape (..., features)

        Returns
        -------
        torch.Tensor, shape (..., features / group_size)
            The norms.
        """
        if not torch.jit.is_scripting():
            _check_groups(x, self)
        groups = x.unflatten(-1, (-1, self.group_size))
        scale = groups.detach().abs().amax(-1, keepdim=True)  # squares under- and overflow
        is_zero = scale == 0.0
        scale = torch.where(is_zero, 1.0, scale)
        squares = (groups / scale).square().sum(-1)
        # The root of 0 would have derivatives, the second too, that are infinite times 0.
        root = torch.sqrt(torch.where(is_zero[..., 0], 1.0, squares))
        return torch.where(is_zero[..., 0], 0.0, root * scale[..., 0])

    def extra_repr(self) -> str:
        """Return what `repr` shows between the brackets.

        Returns
        -------
        str
            The arguments.
        """
        return f"group_size={self.group_size}"


def _check_features(x, layer):
    """Refuse complex numbers, and another number of features."""
    has_axis = -x.ndim <= layer.dim < x.ndim
    if x.is_complex() or not has_axis or x.shape[layer.dim] != layer.num_features:
        raise bad_value(
            f"the input of {type(layer).__name__}",
            f"be real, with {layer.num_features} features along axis {layer.dim}",
            f"got {x.dtype} of shape {tuple(x.shape)}",
        )


def _check_groups(x, layer):
    """Refuse complex numbers, and a last axis that cannot be cut into groups."""
    if x.is_complex():
        raise TypeError(
            f"the input of {type(layer).__name__} must be real: its dtype is {x.dtype}. Use "
            "torch.view_as_real(x).flatten(-2), which holds real and imaginary parts side by side."
        )
    dim = getattr(layer, "dim", -1)
    axis = "a last axis" if dim == -1 else f"an axis {dim}"
    if not -x.ndim <= dim < x.ndim or x.shape[dim] % layer.group_size:
        raise bad_value(
            f"the input of {type(layer).__name__}",
            f"have {axis} that is a multiple of group_size = {layer.group_size}",
            f"got shape {tuple(x.shape)}",
        )


finish(
    globals(),
    {
        "x : torch.Tensor, shape (..., features)": "With or without batch axes.",
    },
)
