"""Maps onto matrices of norm 1: parametrisations for torch, stateless but for Cayley's signs."""

import torch
from torch import Tensor, nn

from infogeo._array import bad_value, finite_number
from infogeo.lipschitz._checks import check_precision, check_size


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

    def __init__(self) -> None:  # nn.Module's own takes any arguments
        super().__init__()

    def forward(self, weight: Tensor) -> Tensor:
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
        check_precision(weight)
        if weight.shape[-2] < weight.shape[-1]:
            return self.forward(weight.mT).mT
        q, r = torch.linalg.qr(weight)
        # A product with signs has a cheaper derivative than a choice between q and -q.
        signs = 1.0 - 2.0 * (torch.diagonal(r, dim1=-2, dim2=-1) < 0.0).to(q.dtype)
        return q * signs[..., None, :]

    def right_inverse(self, weight: Tensor) -> Tensor:
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


class Cayley(nn.Module):
    r"""Torch parametrisation by matrices with orthonormal columns (or rows), smooth everywhere.

    .. math:: W = \begin{pmatrix} U \\ B \end{pmatrix}, \quad A = U - U^\top + B^\top B
              \quad \mapsto \quad
              \begin{pmatrix} 1 - A \\ -2 B \end{pmatrix} (1 + A)^{-1} D

    Notes
    -----
    A parametrisation for `torch.nn.utils.parametrize.register_parametrization`. Wide matrices are
    transposed first. There is no W without an image, and no derivative that does not exist: the
    symmetric part of A is never negative, so that 1 + A can always be inverted. D is a diagonal of
    signs, +1 unless `right_inverse` chooses others: with them every orthogonal matrix can be
    reached, those with the eigenvalue -1 too. It is a buffer, "signs", part of the state.

    References
    ----------
    A. Trockman and J. Z. Kolter, Orthogonalizing convolutional layers with the Cayley transform,
    ICLR 2021. The signs are those of G. Ballard, J. Demmel, L. Grigori, M. Jacquelin, H. D. Nguyen
    and E. Solomonik, Reconstructing Householder vectors from tall-skinny QR, IPDPS 2014.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.layers import Cayley
    >>> Cayley()(torch.tensor([[0.0, 0.5], [0.0, 0.0]]))
    tensor([[ 0.6000, -0.8000],
            [ 0.8000,  0.6000]])
    """

    signs: torch.Tensor | None

    def __init__(self) -> None:  # nn.Module's own takes any arguments
        super().__init__()
        self.register_buffer("signs", None)

    def forward(self, weight: Tensor) -> Tensor:
        """Map a matrix to an orthogonal one.

        Parameters
        ----------
        weight : torch.Tensor, shape (..., out_features, in_features)
            Any matrix.

        Returns
        -------
        torch.Tensor, shape (..., out_features, in_features)
            Its columns are orthonormal, or its rows if it is wide.
        """
        check_precision(weight)
        if weight.shape[-2] < weight.shape[-1]:
            return self.forward(weight.mT).mT
        square, below = _cut(weight)
        identity = torch.eye(square.shape[-1], dtype=weight.dtype, device=weight.device)
        inverse = torch.linalg.inv(identity + square - square.mT + below.mT @ below)
        q = torch.cat((2.0 * inverse - identity, -2.0 * below @ inverse), dim=-2)
        return q if self.signs is None else q * self.signs[..., None, :]

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return a matrix that `forward` maps to the given orthogonal one, and choose the signs.

        Parameters
        ----------
        weight : torch.Tensor, shape (..., out_features, in_features)
            Orthonormal columns (rows, if wide); any other matrix stands for its Q factor.

        Returns
        -------
        torch.Tensor, shape (..., out_features, in_features)
            The matrix, its square part skew-symmetric.
        """
        check_precision(weight)
        if weight.shape[-2] < weight.shape[-1]:
            return self.right_inverse(weight.mT).mT
        q = QR()(weight.to(torch.float64))
        signs = _well_conditioned_signs(_cut(q)[0])
        square, below = _cut(q * signs[..., None, :])
        identity = torch.eye(square.shape[-1], dtype=q.dtype, device=q.device)
        inverse = torch.linalg.inv(identity + square)  # (1 + A) / 2
        self.signs = signs.to(weight.dtype)
        return torch.cat((0.5 * (inverse - inverse.mT), -below @ inverse), dim=-2).to(weight.dtype)


class Bjorck(nn.Module):
    r"""Torch parametrisation by the nearest matrix with orthonormal columns (or rows), by steps.

    .. math:: A_0 = W / \sqrt{|W|_1 |W|_\infty}, \quad
              A_{k+1} = \tfrac12 A_k (3 - A_k^\top A_k)

    It is the method that others are compared with: `QR` and `Cayley` are exact, and faster.

    Parameters
    ----------
    num_steps : int
        Steps taken. A singular value grows by half in each until it is near 1.

    Notes
    -----
    A parametrisation for `torch.nn.utils.parametrize.register_parametrization`, without any state.
    The limit is the polar factor of W. The iteration finds it if the singular values are between
    0 and sqrt(3), flips their sign from there to 2.14776, and diverges beyond sqrt(5): hence
    the division by an upper bound of the largest. A singular value of s times that bound takes
    log(1/s) / log(1.5) steps and about 4 more. After any number of steps no singular value
    exceeds 1 but by rounding, so that the layer is 1-Lipschitz even where it is not orthogonal.

    References
    ----------
    A. Bjorck and C. Bowie, An iterative algorithm for computing the best estimate of an orthogonal
    matrix, SIAM J. Numer. Anal. 8, 1971.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.layers import Bjorck
    >>> Bjorck()(torch.tensor([[3.0, 0.0], [0.0, -0.1]]))
    tensor([[ 1.,  0.],
            [ 0., -1.]])
    """

    def __init__(self, num_steps: int = 25) -> None:
        super().__init__()
        check_size("num_steps", num_steps, 1)
        self.num_steps = num_steps

    def forward(self, weight: Tensor) -> Tensor:
        """Approach the polar factor.

        Parameters
        ----------
        weight : torch.Tensor, shape (..., out_features, in_features)
            Any matrix. Of 0, which has no polar factor, the result is 0.

        Returns
        -------
        torch.Tensor, shape (..., out_features, in_features)
            Of spectral norm 1 at most, and orthogonal if the steps are enough.
        """
        check_precision(weight)
        size = weight.abs()
        rows, columns = size.sum(-1).amax(-1), size.sum(-2).amax(-1)
        is_zero = rows == 0.0
        # Roots first: the product of the two would under- and overflow.
        roots = [torch.sqrt(torch.where(is_zero, 1.0, norm)) for norm in (rows, columns)]
        a = weight / roots[0][..., None, None] / roots[1][..., None, None]
        for _ in range(self.num_steps):
            a = _parseval_step(a, 0.5)
        return a

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return a matrix that `forward` maps to the given orthogonal one: itself.

        Parameters
        ----------
        weight : torch.Tensor, shape (..., out_features, in_features)
            Orthonormal columns (rows, if wide); of any other matrix, `forward` takes the polar
            factor.

        Returns
        -------
        torch.Tensor, shape (..., out_features, in_features)
            The same.
        """
        return weight


class L1Projection(nn.Module):
    r"""Torch parametrisation by matrices whose rows have l1 norm 1 at most.

    .. math:: |W x|_\infty \le \max_i |w_i|_1 \, |x|_\infty \le |x|_\infty

    Each row is projected on the l1 ball, so that the layer is 1-Lipschitz in the maximum norm.

    Notes
    -----
    A parametrisation for `torch.nn.utils.parametrize.register_parametrization`, without any state.
    Rows inside the ball stay as they are. The projection is piecewise linear: its derivative is a
    constant wherever it exists. Entries are sorted, as in the method of Held, Wolfe and Crowder;
    Condat compares the methods, which agree.

    References
    ----------
    L. Condat, Fast projection onto the simplex and the l1 ball, Math. Program. 158, 2016.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.layers import L1Projection
    >>> L1Projection()(torch.tensor([[0.9, -0.5], [0.2, 0.3]]))
    tensor([[ 0.7000, -0.3000],
            [ 0.2000,  0.3000]])
    """

    def __init__(self) -> None:  # nn.Module's own takes any arguments
        super().__init__()

    def forward(self, weight: Tensor) -> Tensor:
        """Project each row.

        Parameters
        ----------
        weight : torch.Tensor, shape (..., out_features, in_features)
            Any matrix.

        Returns
        -------
        torch.Tensor, shape (..., out_features, in_features)
            The nearest matrix, in the sum of squares, whose rows have l1 norm 1 at most.
        """
        check_precision(weight)
        size = weight.abs()
        top = size.amax(-1, keepdim=True)  # without it, 1 would be lost beside large entries
        descending = (size - top).sort(dim=-1, descending=True).values
        count = torch.arange(1, size.shape[-1] + 1, dtype=size.dtype, device=size.device)
        thresholds = (descending.cumsum(-1) - 1.0) / count
        num_kept = (descending > thresholds).sum(-1, keepdim=True)
        threshold = thresholds.gather(-1, (num_kept - 1).clamp_min(0))  # of NaN, none is kept
        projected = weight.sign() * torch.relu(size - top - threshold)
        return torch.where(size.sum(-1, keepdim=True) <= 1.0, weight, projected)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return a matrix that `forward` maps to the given one of the right norms: itself.

        Parameters
        ----------
        weight : torch.Tensor, shape (..., out_features, in_features)
            Rows of l1 norm 1 at most; of any other matrix, `forward` takes the projection.

        Returns
        -------
        torch.Tensor, shape (..., out_features, in_features)
            The same.
        """
        return weight


def parseval_step(weight: Tensor, *, beta: float) -> Tensor:
    r"""Move a matrix towards one with orthonormal columns (or rows), after a step of training.

    .. math:: W \leftarrow (1 + \beta) W - \beta W W^\top W

    Parameters
    ----------
    weight : torch.Tensor, shape (..., out_features, in_features)
        The matrix. Its singular values should be below sqrt(1 + 1/beta): larger ones change sign.
    beta : float
        Step size, from 0 to 1/2, which is one step of `Bjorck`'s iteration.

    Returns
    -------
    torch.Tensor, shape (..., out_features, in_features)
        The singular vectors stay, a singular value s becomes s + beta (s - s^3).

    Raises
    ------
    TypeError, ValueError
        A matrix in half precision; beta out of range.

    Notes
    -----
    A method to compare with: the matrix stays near the orthogonal ones and its norm can exceed 1,
    so that a bound must come from `lipschitz_bound`.

    References
    ----------
    M. Cisse, P. Bojanowski, E. Grave, Y. Dauphin and N. Usunier, Parseval networks: improving
    robustness to adversarial examples, ICML 2017.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz.layers import parseval_step
    >>> parseval_step(torch.tensor([[0.5, 0.0], [0.0, 1.0]]), beta=0.5)
    tensor([[0.6875, 0.0000],
            [0.0000, 1.0000]])
    """
    check_precision(weight)
    beta = finite_number("beta", beta)
    if not 0.0 <= beta <= 0.5:
        raise bad_value("beta", "be from 0 to 0.5", f"got {beta!r}")
    return _parseval_step(weight, beta)


def _parseval_step(weight, beta):
    is_wide = weight.shape[-2] < weight.shape[-1]
    if is_wide:  # the smaller Gram matrix
        return (1.0 + beta) * weight - beta * (weight @ weight.mT) @ weight
    return (1.0 + beta) * weight - beta * weight @ (weight.mT @ weight)


def _cut(tall):
    """Return the square part and the rows below it."""
    return tall[..., : tall.shape[-1], :], tall[..., tall.shape[-1] :, :]


def _well_conditioned_signs(square):
    """Return the signs d for which the LU factors of square + diag(d) have pivots of 1 or more."""
    rest, signs = square.clone(), []
    for _ in range(square.shape[-1]):
        corner = rest[..., 0, 0]
        signs.append(torch.where(corner < 0.0, -1.0, 1.0).to(square.dtype))
        pivot = (corner + signs[-1])[..., None, None]
        rest = rest[..., 1:, 1:] - rest[..., 1:, :1] @ rest[..., :1, 1:] / pivot
    return torch.stack(signs, dim=-1)
