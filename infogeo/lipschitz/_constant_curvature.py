"""Spaces of constant curvature, whose points are vectors, and what else layers go between."""

import math
from dataclasses import dataclass

import torch
from array_api_compat import torch as xp
from torch import Tensor

from infogeo._array import REAL, bad_value, finite_number, gate, is_readable
from infogeo._array import norm as norm_of
from infogeo._docs import finish
from infogeo.lipschitz._checks import check_size


@dataclass(frozen=True)
class Space:
    r"""A space of constant sectional curvature, with points :math:`t^2 + \kappa |x|^2 = 1`.

    Parameters
    ----------
    kappa : float
        The curvature: positive, 0 or negative.
    dim : int
        The dimension. A point has dim + 1 entries.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz import curved
    >>> sphere = curved.Space(1.0, 2)
    >>> sphere.distance(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]))
    tensor(1.5708)
    """

    kappa: float
    dim: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "kappa", finite_number("kappa", self.kappa))
        check_size("dim", self.dim, 1)

    @property
    def size(self) -> int:
        """Return the number of entries of a point, dim + 1."""
        return self.dim + 1

    def distance(self, z: Tensor, w: Tensor, *, check: bool = True) -> Tensor:
        r"""Return the geodesic distance of points.

        Parameters
        ----------
        z, w : torch.Tensor, shape (..., dim + 1)
            Points; leading axes are broadcast.
        check : bool

        Returns
        -------
        torch.Tensor, shape (...)
            Its relative error is a few roundings, times how much larger the points' entries are
            than their distance: entries grow as cosh of the distance from the origin, if kappa is
            negative.

        Raises
        ------
        TypeError, ValueError
            What is no tensor of points, or lies beside the surface.

        Examples
        --------
        >>> import math, torch
        >>> from infogeo.lipschitz import curved
        >>> hyperboloid = curved.Space(-1.0, 1)
        >>> z = torch.tensor([[1.0, 0.0], [math.cosh(2.0), math.sinh(2.0)]])
        >>> hyperboloid.distance(z[0], z[1])
        tensor(2.)
        """
        z, w = self._points(check, z=z, w=w)
        root = math.sqrt(abs(self.kappa))
        if self.kappa >= 0.0:
            scale = z.new_tensor([1.0, *([root or 1.0] * self.dim)])
            chord, across = norm_of((z - w) * scale, xp), norm_of((z + w) * scale, xp)
            return 2.0 * torch.atan2(chord, across) / root if root else chord
        # The chord of the points in the ball of Poincare, x / (1 + t), over the scales there.
        ratio = torch.sqrt((1.0 + z[..., :1]) / (1.0 + w[..., :1]))
        chord = norm_of(z[..., 1:] / ratio - w[..., 1:] * ratio, xp)
        return 2.0 * torch.asinh(0.5 * root * chord) / root

    def from_conformal(self, y: Tensor) -> Tensor:
        r"""Return the points with conformal coordinates, those of `input_metrics`.

        .. math:: t = \frac{1 - k |y|^2}{1 + k |y|^2}, \quad x = \frac{y}{1 + k |y|^2}, \quad
                  k = \kappa / 4

        Parameters
        ----------
        y : torch.Tensor, shape (..., dim)
            Coordinates of `infogeo.pullback.input_metrics.constant_curvature`; in the ball of
            radius :math:`2/\sqrt{-\kappa}` if kappa is negative.

        Returns
        -------
        torch.Tensor, shape (..., dim + 1)
            The points.

        Raises
        ------
        TypeError, ValueError
            What is no tensor of this size; coordinates outside of the ball.

        Examples
        --------
        >>> import torch
        >>> from infogeo.lipschitz import curved
        >>> curved.Space(1.0, 2).from_conformal(torch.tensor([2.0, 0.0]))
        tensor([0., 1., 0.])
        """
        (y,) = tensors_of(self.dim, True, y=y)
        square = 0.25 * self.kappa * y.square().sum(-1, keepdim=True)
        if self.kappa < 0.0 and is_readable(square) and bool((square <= -1.0).any()):
            raise bad_value(
                "y",
                f"lie in the ball of radius 2 / sqrt(-kappa) = {2 / math.sqrt(-self.kappa):.6g}",
                f"the largest norm is {float(norm_of(y, xp).max()):.6g}",
            )
        return torch.cat((1.0 - square, y), dim=-1) / (1.0 + square)

    def to_conformal(self, z: Tensor, *, check: bool = True) -> Tensor:
        r"""Return the conformal coordinates of points, 2 x / (1 + t).

        Parameters
        ----------
        z : torch.Tensor, shape (..., dim + 1)
            Points. That with t = -1, opposite to the origin of a sphere, has none (inf or NaN).
        check : bool

        Returns
        -------
        torch.Tensor, shape (..., dim)
            Coordinates of `infogeo.pullback.input_metrics.constant_curvature`.

        Raises
        ------
        TypeError, ValueError
            What is no tensor of points, or lies beside the surface.

        Examples
        --------
        >>> import torch
        >>> from infogeo.lipschitz import curved
        >>> curved.Space(1.0, 2).to_conformal(torch.tensor([0.0, 1.0, 0.0]))
        tensor([2., 0.])
        """
        (z,) = self._points(check, z=z)
        return 2.0 * z[..., 1:] / (1.0 + z[..., :1])

    def _points(self, check: bool, **named: Tensor) -> tuple[Tensor, ...]:
        """Return tensors of points, in float32 at least; beside the surface they are refused."""
        tensors = tensors_of(self.size, check, **named)
        for name, z in zip(named, tensors, strict=True):
            if not (check and is_readable(z)) or z.numel() == 0:
                continue
            values = z.detach()
            size = values.abs().amax(-1, keepdim=True).clamp_min(1.0)  # squares may overflow
            t, x, one = (
                (part / size).square().sum(-1)
                for part in (values[..., :1], values[..., 1:], torch.ones_like(size))
            )
            off = (t + self.kappa * x - one).abs() / (t + abs(self.kappa) * x + one)
            rule = f"hold points (t, x) with t^2 + {self.kappa:g} |x|^2 = 1"
            if float(off.max()) > 1e3 * torch.finfo(z.dtype).eps:
                raise bad_value(name, rule, f"one is off by {float(off.max()):.3g}")
            if self.kappa <= 0.0 and bool((values[..., 0] < 0.0).any()):
                raise bad_value(
                    name, rule + " and t > 0", f"t is {float(values[..., 0].min()):.3g}"
                )
        return tensors


@dataclass(frozen=True)
class Vectors:
    """Vectors with the norm l2."""

    size: int

    def __str__(self) -> str:
        return f"vectors of {self.size} entries"


@dataclass(frozen=True)
class Simplex:
    """Log-probabilities, with the Fisher-Rao distance of the probabilities."""

    size: int

    def __str__(self) -> str:
        return f"log-probabilities of {self.size} classes"


def tensors_of(size, check, **named):
    """Return floating-point tensors whose last axis has that size, half precision in float32."""
    for name, z in named.items():
        if not isinstance(z, Tensor) or not z.dtype.is_floating_point:
            seen = z.dtype if isinstance(z, Tensor) else type(z).__name__
            raise TypeError(f"{name} must be a floating-point torch tensor: got {seen}.")
        if z.ndim == 0 or z.shape[-1] != size:
            raise bad_value(
                name, f"have {size} entries along its last axis", f"got shape {tuple(z.shape)}"
            )
    _, *tensors = gate(check, **{name: (REAL, z) for name, z in named.items()})
    return tuple(tensors)


finish(globals())
