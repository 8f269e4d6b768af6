r"""Layers with a known Lipschitz constant, and the bounds of networks made of them.

A composition of `OrthogonalLinear` and `GroupSort` is 1-Lipschitz from l2 to l2 whatever its
parameters, and where the layers do not widen it also preserves the norm of gradients. Train such a
network, then `freeze` it: the frozen one is plain torch, fast, and strictly 1-Lipschitz.
"""

from collections.abc import Callable

from infogeo._docs import finish
from infogeo._system.extras import missing

try:
    import torch
    from torch import nn
    from torch.nn.utils import parametrize
except ModuleNotFoundError as error:
    raise missing(error, "infogeo.lipschitz.layers") from None

from infogeo.lipschitz._activations import (
    AbsoluteValue,
    FullSort,
    GroupSort,
    Householder,
    NormPool,
    Scaling,
)
from infogeo.lipschitz._affine import as_linear
from infogeo.lipschitz._bounds import (
    freeze,
    jacobian_spectrum,
    lipschitz_bound,
    operator_norm,
)
from infogeo.lipschitz._checks import check_precision, check_size
from infogeo.lipschitz._orthogonal_convolution import OrthogonalConv2d
from infogeo.lipschitz._parametrizations import QR, Bjorck, Cayley, L1Projection, parseval_step

__all__ = [
    "QR",
    "AbsoluteValue",
    "Bjorck",
    "Cayley",
    "FullSort",
    "GroupSort",
    "Householder",
    "L1Projection",
    "NormPool",
    "OrthogonalConv2d",
    "OrthogonalLinear",
    "Scaling",
    "as_linear",
    "freeze",
    "jacobian_spectrum",
    "lipschitz_bound",
    "operator_norm",
    "parseval_step",
]


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
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        parametrization: Callable[[], nn.Module] = QR,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        for name, size in (("in_features", in_features), ("out_features", out_features)):
            check_size(name, size, 1)
        # nn.Linear's own __init__ would draw another start, from the global generator.
        nn.Module.__init__(self)
        self.in_features = in_features
        self.out_features = out_features
        weight = torch.empty(out_features, in_features, device=device, dtype=dtype)
        check_precision(weight)
        self.weight = nn.Parameter(nn.init.orthogonal_(weight, generator=generator))
        start = nn.Parameter(weight.new_zeros(out_features)) if bias else None
        self.register_parameter("bias", start)
        parametrize.register_parametrization(self, "weight", parametrization())

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
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


finish(globals())
