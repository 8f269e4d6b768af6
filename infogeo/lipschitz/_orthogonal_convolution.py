"""Convolutions that are orthogonal, from orthogonal matrices and projectors."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from infogeo._array import bad_value
from infogeo._docs import finish
from infogeo.lipschitz._checks import check_precision, check_size
from infogeo.lipschitz._constants import RULES
from infogeo.lipschitz._convolution import convolution_norm
from infogeo.lipschitz._parametrizations import QR


class OrthogonalConv2d(nn.Module):
    r"""Convolution of images with circular padding that is orthogonal: all singular values are 1.

    .. math:: \hat W(\omega) = Q \prod_k \bigl(P_k + e^{-i \omega_{a(k)}} (1 - P_k)\bigr),
              \qquad Q^\top Q = 1, \quad P_k = U_k U_k^\top, \quad U_k^\top U_k = 1

    Parameters
    ----------
    in_channels, out_channels : int
        The layer preserves norms where it does not narrow, and norms of gradients where it does
        not widen.
    kernel_size : int
        Taps along each axis.
    bias : bool
        Whether to add a number to each channel.
    generator : torch.Generator, optional
        Source of the start; torch's global one by default.
    device, dtype : optional
        As for `torch.nn.Conv2d`.

    Notes
    -----
    Each factor keeps half of the channels, and moves the others by a pixel: up or sideways, in
    turn. Q and the U are the Q factors of free matrices, the parameters ``turn`` and ``halves``.
    The convolution is orthogonal to rounding on images of any size from kernel_size on. Not all
    orthogonal convolutions are of this form; from one channel to one it is a shift. The kernel is
    made anew at each call: use `freeze` once the training is over. For a stride of s, put
    ``nn.PixelUnshuffle(s)`` before it, which gives s^2 times as many channels.

    References
    ----------
    Q. Li, S. Haque, C. Anil, J. Lucas, R. Grosse and J.-H. Jacobsen, Preventing gradient
    attenuation in Lipschitz constrained convolutional networks, NeurIPS 2019.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.layers import OrthogonalConv2d
    >>> layer, images = OrthogonalConv2d(4, 8, 3), torch.randn(2, 4, 16, 16)
    >>> bool(torch.allclose(layer(images).norm(), images.norm()))
    True
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        bias: bool = True,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = {"in_channels": in_channels, "out_channels": out_channels}
        for name, size in (sizes | {"kernel_size": kernel_size}).items():
            check_size(name, size, 1)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = kernel_size
        size = max(in_channels, out_channels)
        self.turn = nn.Parameter(torch.empty(size, size, device=device, dtype=dtype))
        shape = 2 * (kernel_size - 1), size, (size + 1) // 2
        self.halves = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        check_precision(self.turn)
        start = nn.Parameter(self.turn.new_zeros(out_channels)) if bias else None
        self.register_parameter("bias", start)
        with torch.no_grad():
            for parameter in (self.turn, self.halves):
                parameter.copy_(QR()(nn.init.normal_(parameter, generator=generator)))

    @property
    def weight(self) -> Tensor:
        """Return the kernel, shape (out_channels, in_channels, kernel_size, kernel_size)."""
        kernel = QR()(self.turn)[..., None, None]
        bases = QR()(self.halves)
        for k, projector in enumerate(bases @ bases.mT):
            kept = torch.einsum("oihw,ij->ojhw", kernel, projector)
            moved, last, first = kernel - kept, [0, 0, 0, 0], [0, 0, 0, 0]
            last[2 * (k % 2) + 1], first[2 * (k % 2)] = 1, 1
            kernel = functional.pad(kept, last) + functional.pad(moved, first)
        return kernel[: self.out_channels, : self.in_channels]

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution.

        Parameters
        ----------
        x : torch.Tensor, shape (..., in_channels, height, width)
            Images, with one batch axis or none.

        Returns
        -------
        torch.Tensor, shape (..., out_channels, height, width)
            Of the same norm, if the layer does not narrow.
        """
        size, reach = self.kernel_size, self.kernel_size - 1
        if x.ndim not in (3, 4) or x.shape[-3] != self.in_channels or min(x.shape[-2:]) < size:
            raise bad_value(
                "the input of OrthogonalConv2d",
                f"hold {self.in_channels} channels of images of at least {size} x {size} pixels",
                f"got shape {tuple(x.shape)}",
            )
        x = x if reach == 0 else functional.pad(x, [reach // 2, reach - reach // 2] * 2, "circular")
        return functional.conv2d(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return what `repr` shows between the brackets.

        Returns
        -------
        str
            The arguments.
        """
        end = "" if self.bias is not None else ", bias=False"
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}{end}"


def _constant(module, order, sizes):
    """Bound it as a convolution on a circle that it fits; see `_constants.constant_of`."""
    return convolution_norm(module.weight.detach()[None], (1, 1), (1, 1), order)


RULES[OrthogonalConv2d] = _constant

finish(globals())
