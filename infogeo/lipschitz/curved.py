r"""Layers between spaces of constant curvature: spheres, planes and hyperbolic spaces.

A point of the space of curvature kappa is z = (t, x) with

.. math:: t^2 + \kappa |x|^2 = 1, \qquad ds^2 = |dx|^2 + dt^2 / \kappa :

a sphere of radius :math:`1/\sqrt\kappa`, the plane t = 1 for kappa = 0, and a hyperboloid, t > 0,
if kappa is negative. Isometries are linear in z. `Network` composes layers whose spaces fit, and
knows the Lipschitz constant.
"""

import itertools
import math
from dataclasses import dataclass

from infogeo._array import REAL, bad_value, finite_number, gate, is_readable
from infogeo._array import norm as norm_of
from infogeo._docs import finish
from infogeo._system.extras import missing

try:
    import torch
    from array_api_compat import torch as xp
    from torch import Tensor, nn

    from infogeo.lipschitz._activations import AbsoluteValue, FullSort, GroupSort, Householder
    from infogeo.lipschitz._checks import check_finite, check_size
    from infogeo.lipschitz._constants import RULES, UnboundedError
    from infogeo.lipschitz.layers import OrthogonalLinear
except ModuleNotFoundError as error:
    raise missing(error, "infogeo.lipschitz.curved") from None

__all__ = [
    "Exponential",
    "Fold",
    "Hopf",
    "Isometry",
    "Layer",
    "Logarithm",
    "Network",
    "Probabilities",
    "Projection",
    "Rescaling",
    "Space",
]


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
        (y,) = _tensors(self.dim, True, y=y)
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
        tensors = _tensors(self.size, check, **named)
        for name, z in zip(named, tensors, strict=True):
            if not (check and is_readable(z)) or z.numel() == 0:
                continue
            values = z.detach()
            t, x = (part.square().sum(-1) for part in (values[..., :1], values[..., 1:]))
            off = (t + self.kappa * x - 1.0).abs() / (t + abs(self.kappa) * x + 1.0)
            rule = f"hold points (t, x) with t^2 + {self.kappa:g} |x|^2 = 1"
            if float(off.max()) > 1e3 * torch.finfo(z.dtype).eps:
                raise bad_value(name, rule, f"one is off by {float(off.max()):.3g}")
            if self.kappa <= 0.0 and bool((values[..., 0] < 0.0).any()):
                raise bad_value(
                    name, rule + " and t > 0", f"t is {float(values[..., 0].min()):.3g}"
                )
        return tensors


@dataclass(frozen=True)
class _Vectors:
    """Vectors with the norm l2."""

    size: int

    def __str__(self) -> str:
        return f"vectors of {self.size} entries"


@dataclass(frozen=True)
class _Simplex:
    """Log-probabilities, with the Fisher-Rao distance of the probabilities."""

    size: int

    def __str__(self) -> str:
        return f"log-probabilities of {self.size} classes"


class Layer(nn.Module):
    """What all layers here have: a domain, a codomain and a Lipschitz constant.

    Attributes
    ----------
    domain, codomain : Space, or what describes vectors or log-probabilities
        Where inputs and outputs lie; its ``size`` is the length of their last axis.
    lipschitz_constant : float
        How much distances grow at most, inf if there is no bound.

    Notes
    -----
    Not to be made itself: its subclasses are.

    Examples
    --------
    >>> from infogeo.lipschitz import curved
    >>> hopf = curved.Hopf(curved.Space(1.0, 3))
    >>> hopf.domain, hopf.codomain, hopf.lipschitz_constant
    (Space(kappa=1.0, dim=3), Space(kappa=4.0, dim=2), 1.0)
    """

    domain: Space | _Vectors | _Simplex
    codomain: Space | _Vectors | _Simplex
    lipschitz_constant: float = 1.0

    def __init__(self) -> None:  # nn.Module's own takes any arguments
        super().__init__()

    def extra_repr(self) -> str:
        """Return what `repr` shows between the brackets.

        Returns
        -------
        str
            Domain and codomain.
        """
        return f"{self.domain} -> {self.codomain}"

    def _checked(self, z: Tensor) -> Tensor:
        (z,) = _tensors(self.domain.size, False, z=z)
        return z


class Exponential(Layer):
    r"""Take vectors to a space, along geodesics from its origin, t = 1.

    .. math:: v \mapsto \bigl(\cos \sqrt\kappa |v|, \;
              \tfrac{\sin \sqrt\kappa |v|}{\sqrt\kappa |v|} \, v \bigr)

    Parameters
    ----------
    space : Space
    radius : float, optional
        Longer vectors are shortened to this length, which enlarges no distance.

    Notes
    -----
    1-Lipschitz if kappa is not negative, by Rauch's comparison theorem. If it is, cosh and sinh
    take the place of cos and sin, and the constant is sinh(a) / a with a = radius sqrt(-kappa): a
    network needs the radius.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz import curved
    >>> into = curved.Exponential(curved.Space(-1.0, 2), radius=2.0)
    >>> into(torch.tensor([1.0, 0.0]))
    tensor([1.5431, 1.1752, 0.0000])
    >>> round(into.lipschitz_constant, 4)
    1.8134
    """

    codomain: Space

    def __init__(self, space: Space, *, radius: float | None = None) -> None:
        super().__init__()
        self.domain, self.codomain = _Vectors(_space(space).dim), space
        self.radius = math.inf if radius is None else _positive("radius", radius)
        if space.kappa < 0.0:
            reach = math.sqrt(-space.kappa) * self.radius
            self.lipschitz_constant = math.sinh(reach) / reach if reach < 700.0 else math.inf

    def forward(self, v: Tensor) -> Tensor:
        """Map vectors to points.

        Parameters
        ----------
        v : torch.Tensor, shape (..., dim)
            Any vectors.

        Returns
        -------
        torch.Tensor, shape (..., dim + 1)
            Points of the codomain.
        """
        v = self._checked(v)
        if self.radius < math.inf:
            size = norm_of(v, xp)[..., None]
            is_long = size > self.radius
            v = torch.where(is_long, self.radius / torch.where(is_long, size, 1.0), 1.0) * v
        cosine, ratio, _ = _cosine_and_ratios(self.codomain.kappa, v)
        return torch.cat((cosine, ratio * v), dim=-1)


class Logarithm(Layer):
    r"""Take points to vectors: the velocity of the geodesic from the origin, t = 1.

    .. math:: (t, x) \mapsto \frac{r}{|x|} \, x, \qquad
              r = \frac1{\sqrt\kappa} \operatorname{atan2}(\sqrt\kappa |x|, t)

    Parameters
    ----------
    space : Space

    Notes
    -----
    1-Lipschitz if kappa is not positive, with asinh in place of the angle. On a sphere it has no
    constant: it jumps at the point that is opposite to the origin. Use `Projection` there.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz import curved
    >>> curved.Logarithm(curved.Space(-1.0, 2))(torch.tensor([1.5431, 1.1752, 0.0]))
    tensor([1.0000, 0.0000])
    """

    domain: Space

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.domain, self.codomain = _space(space), _Vectors(space.dim)
        self.lipschitz_constant = 1.0 if space.kappa <= 0.0 else math.inf

    def forward(self, z: Tensor) -> Tensor:
        """Take logarithms.

        Parameters
        ----------
        z : torch.Tensor, shape (..., dim + 1)

        Returns
        -------
        torch.Tensor, shape (..., dim)
            Their lengths are the distances from the origin.
        """
        z = self._checked(z)
        t, x, kappa = z[..., :1], z[..., 1:], self.domain.kappa
        square = kappa * x.square().sum(-1, keepdim=True)
        is_near = (square.abs() < _NEAR) & (t > 0.0)
        root = torch.sqrt(torch.where(is_near, 1.0, square.abs()))
        angle = torch.atan2(root, t) if kappa > 0.0 else torch.asinh(root)
        near = _polynomial(_ARCSINE, torch.where(is_near, square, 0.0))
        return torch.where(is_near, near, angle / root) * x


class Projection(Layer):
    r"""Leave out t: points to vectors, (t, x) to x.

    Parameters
    ----------
    space : Space

    Notes
    -----
    1-Lipschitz if kappa is not negative: a sphere is projected on a plane through its centre. In
    hyperbolic space it has no constant. Use `Logarithm` there.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz import curved
    >>> curved.Projection(curved.Space(1.0, 2))(torch.tensor([0.0, 0.6, 0.8]))
    tensor([0.6000, 0.8000])
    """

    domain: Space

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.domain, self.codomain = _space(space), _Vectors(space.dim)
        self.lipschitz_constant = 1.0 if space.kappa >= 0.0 else math.inf

    def forward(self, z: Tensor) -> Tensor:
        """Project.

        Parameters
        ----------
        z : torch.Tensor, shape (..., dim + 1)

        Returns
        -------
        torch.Tensor, shape (..., dim)
            The entries x.
        """
        return self._checked(z)[..., 1:]


class Isometry(Layer):
    r"""Move a space by a trained isometry: all distances stay as they are.

    .. math:: z \mapsto T_v \begin{pmatrix} t \\ Q x \end{pmatrix}, \qquad T_v \begin{pmatrix} t \\
              x \end{pmatrix} = \begin{pmatrix} C t - \kappa S \langle u, x \rangle \\
              x + (S t + (C - 1) \langle u, x \rangle) u \end{pmatrix}

    Parameters
    ----------
    space : Space
    generator : torch.Generator, optional
        Source of the start; torch's global one by default.
    device, dtype : optional
        As for `torch.nn.Linear`.

    Notes
    -----
    Q is orthogonal (`OrthogonalLinear`, the parameter ``turn``). :math:`T_v` takes the origin to
    the exponential of v = r u, the parameter ``move``, with :math:`C = \cos \sqrt\kappa r` and
    :math:`S = \sin(\sqrt\kappa r) / \sqrt\kappa`, cosh and sinh if kappa is negative. Each
    isometry is of this form: those of the sphere are the orthogonal matrices O(dim + 1), those of
    the plane the motions of Euclid, those of the hyperboloid the Lorentz matrices O(1, dim) that
    keep the sign of t. They are so to rounding for all values of the parameters. The start is a
    random Q, and v = 0.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz import curved
    >>> space = curved.Space(-1.0, 3)
    >>> layer = curved.Isometry(space)
    >>> z = curved.Exponential(space)(torch.randn(2, 3))
    >>> bool(torch.isclose(space.distance(*layer(z)), space.distance(*z)))
    True
    """

    domain: Space

    def __init__(
        self,
        space: Space,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.domain = self.codomain = _space(space)
        self.turn = OrthogonalLinear(
            space.dim, space.dim, False, generator=generator, device=device, dtype=dtype
        )
        self.move = nn.Parameter(torch.zeros(space.dim, device=device, dtype=dtype))

    def forward(self, z: Tensor) -> Tensor:
        """Move points.

        Parameters
        ----------
        z : torch.Tensor, shape (..., dim + 1)

        Returns
        -------
        torch.Tensor, shape (..., dim + 1)
            Points at the same distances from each other.
        """
        z = self._checked(z)
        t, x, kappa, v = z[..., :1], self.turn(z[..., 1:]), self.domain.kappa, self.move
        cosine, sine, versine = _cosine_and_ratios(kappa, v)
        along = (x * v).sum(-1, keepdim=True)
        moved = x + (sine * t - kappa * versine * along) * v
        return torch.cat((cosine * t - kappa * sine * along, moved), dim=-1)

    def matrix(self) -> Tensor:
        """Return the matrix of the isometry.

        Returns
        -------
        torch.Tensor, shape (dim + 1, dim + 1)
            M with M z what z is moved to; M' diag(1, kappa, ...) M = diag(1, kappa, ...).

        Examples
        --------
        >>> from infogeo.lipschitz import curved
        >>> curved.Isometry(curved.Space(1.0, 2)).matrix().shape
        torch.Size([3, 3])
        """
        like = self.move
        return self(torch.eye(self.domain.size, dtype=like.dtype, device=like.device)).mT


class Fold(Layer):
    """Fold a space by an activation of the entries x that permutes or reflects them.

    Parameters
    ----------
    space : Space
    activation : GroupSort, FullSort, AbsoluteValue or Householder
        One of `infogeo.lipschitz.layers`.

    Notes
    -----
    It is an isometry between hyperplanes through the origin, totally geodesic ones, and continuous
    across them: 1-Lipschitz, and it preserves the norms of gradients almost everywhere. Between two
    isometries it is a fold at any totally geodesic hyperplanes.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz import curved, layers
    >>> fold = curved.Fold(curved.Space(1.0, 2), layers.GroupSort())
    >>> fold(torch.tensor([0.0, 0.8, 0.6]))
    tensor([0.0000, 0.6000, 0.8000])
    """

    def __init__(self, space: Space, activation: nn.Module) -> None:
        super().__init__()
        kinds = (AbsoluteValue, FullSort, GroupSort, Householder)
        if type(activation) not in kinds or getattr(activation, "dim", -1) != -1:
            raise bad_value(
                "activation",
                "be one of GroupSort, FullSort, AbsoluteValue and Householder along the last axis",
                f"got {activation}",
                "Other activations do not keep the norm of x, so that they leave the space.",
            )
        self.domain = self.codomain = _space(space)
        self.activation = activation

    def forward(self, z: Tensor) -> Tensor:
        """Reflect points.

        Parameters
        ----------
        z : torch.Tensor, shape (..., dim + 1)

        Returns
        -------
        torch.Tensor, shape (..., dim + 1)
            Points at the same distance from the origin.
        """
        z = self._checked(z)
        return torch.cat((z[..., :1], self.activation(z[..., 1:])), dim=-1)


class Rescaling(Layer):
    r"""Multiply all distances by a number s, and so change the curvature to kappa / s^2.

    Parameters
    ----------
    space : Space
    factor : float
        s, positive; the Lipschitz constant.

    Examples
    --------
    >>> from infogeo.lipschitz import curved
    >>> curved.Rescaling(curved.Space(1.0, 2), 2.0).codomain
    Space(kappa=0.25, dim=2)
    """

    def __init__(self, space: Space, factor: float) -> None:
        super().__init__()
        self.factor = self.lipschitz_constant = _positive("factor", factor)
        self.domain = _space(space)
        self.codomain = Space(space.kappa / self.factor**2, space.dim)

    def forward(self, z: Tensor) -> Tensor:
        """Multiply distances.

        Parameters
        ----------
        z : torch.Tensor, shape (..., dim + 1)

        Returns
        -------
        torch.Tensor, shape (..., dim + 1)
            (t, s x).
        """
        z = self._checked(z)
        return torch.cat((z[..., :1], self.factor * z[..., 1:]), dim=-1)


class Hopf(Layer):
    r"""Project a sphere of dimension 3 to one of dimension 2 and four times the curvature.

    .. math:: (t, x) \mapsto \bigl(t^2 + \kappa (x_1^2 - x_2^2 - x_3^2), \;
              \sqrt\kappa x_1 x_2 + t x_3, \; \sqrt\kappa x_1 x_3 - t x_2 \bigr)

    Parameters
    ----------
    space : Space
        Of dimension 3 and positive curvature.

    Notes
    -----
    A Riemannian submersion: it keeps the length of vectors that are orthogonal to its fibres, great
    circles, and so the norms of gradients. O'Neill's formula says how it adds curvature: kappa +
    3/4 :math:`|[X, Y]^v|^2` = 4 kappa.

    References
    ----------
    B. O'Neill, The fundamental equations of a submersion, Michigan Math. J. 13, 1966.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz import curved
    >>> curved.Hopf(curved.Space(1.0, 3))(torch.tensor([0.6, 0.8, 0.0, 0.0]))
    tensor([1., 0., 0.])
    """

    domain: Space

    def __init__(self, space: Space) -> None:
        super().__init__()
        if _space(space).dim != 3 or not space.kappa > 0.0:
            raise bad_value(
                "space", "be a sphere of dimension 3: curved.Space(kappa, 3)", f"got {space}"
            )
        self.domain, self.codomain = space, Space(4.0 * space.kappa, 2)

    def forward(self, z: Tensor) -> Tensor:
        """Project.

        Parameters
        ----------
        z : torch.Tensor, shape (..., 4)
            Points of the sphere of dimension 3.

        Returns
        -------
        torch.Tensor, shape (..., 3)
            The fibres that the points are in.
        """
        kappa = self.domain.kappa
        t, a, b, c = self._checked(z).unbind(-1)
        root = math.sqrt(kappa)
        height = t * t + kappa * (a * a - b * b - c * c)
        return torch.stack((height, root * a * b + t * c, root * a * c - t * b), dim=-1)


class Probabilities(Layer):
    r"""Take points of a sphere to predictions: an isometry behind folds, if kappa is 1/4.

    .. math:: p = (t^2, \kappa x_1^2, \ldots, \kappa x_n^2)

    Parameters
    ----------
    space : Space
        Of positive curvature; dim + 1 is the number of classes.

    Notes
    -----
    2 sqrt(p) lies on the sphere of radius 2, whose curvature is 1/4, and the Fisher-Rao distance is
    the one there. What has negative entries is folded to the orthant of positive ones. The constant
    is 2 sqrt(kappa), from the distance of the sphere to the Fisher-Rao distance.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz import curved
    >>> curved.Probabilities(curved.Space(0.25, 1))(torch.tensor([0.6, -1.6])).exp()
    tensor([0.3600, 0.6400])
    """

    domain: Space

    def __init__(self, space: Space) -> None:
        super().__init__()
        if not _space(space).kappa > 0.0:
            raise bad_value("space", "be a sphere, kappa > 0", f"got {space}")
        self.domain, self.codomain = space, _Simplex(space.size)
        self.lipschitz_constant = 2.0 * math.sqrt(space.kappa)

    def forward(self, z: Tensor) -> Tensor:
        """Return the log-probabilities.

        Parameters
        ----------
        z : torch.Tensor, shape (..., dim + 1)

        Returns
        -------
        torch.Tensor, shape (..., dim + 1)
            Logarithms of the probabilities, -inf where an entry is 0.
        """
        z = self._checked(z)
        scale = z.new_tensor([1.0, *([math.sqrt(self.domain.kappa)] * self.domain.dim)])
        return 2.0 * (scale * z).abs().log()


class Network(Layer):
    """Apply layers in turn, whose spaces have to fit.

    Parameters
    ----------
    *layers : Layer
        At least one; each begins where the one before it ends.

    Notes
    -----
    Its constant is the product of theirs. `layers.lipschitz_bound` takes a network from vectors to
    vectors as a layer of a larger model.

    Examples
    --------
    >>> from infogeo.lipschitz import curved
    >>> ball, sphere = curved.Space(-1.0, 4), curved.Space(0.25, 4)
    >>> net = curved.Network(
    ...     curved.Exponential(sphere), curved.Isometry(sphere), curved.Projection(sphere)
    ... )
    >>> net.lipschitz_constant
    1.0
    >>> curved.Network(curved.Exponential(sphere), curved.Isometry(ball))
    Traceback (most recent call last):
    ...
    infogeo.BadValueError: layers must fit: 1 begins in Space(kappa=-1.0, dim=4), and 0 ends in ...
    """

    def __init__(self, *layers: Layer) -> None:
        super().__init__()
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"layers must be those of infogeo.lipschitz.curved: got {type(layer).__name__}."
                    " Put others before or behind the network, in nn.Sequential."
                )
        if not layers:
            raise bad_value("layers", "be at least one", "got none")
        for k, (one, other) in enumerate(itertools.pairwise(layers)):
            if one.codomain != other.domain:
                raise bad_value(
                    "layers",
                    "fit",
                    f"{k + 1} begins in {other.domain}, and {k} ends in {one.codomain}",
                )
        self.layers = nn.Sequential(*layers)
        self.domain, self.codomain = layers[0].domain, layers[-1].codomain
        self.lipschitz_constant = math.prod(layer.lipschitz_constant for layer in layers)

    def forward(self, z: Tensor) -> Tensor:
        """Apply the layers.

        Parameters
        ----------
        z : torch.Tensor, shape (..., domain.size)
            Points of the domain of the first layer.

        Returns
        -------
        torch.Tensor, shape (..., codomain.size)
            What the last layer returns.
        """
        return self.layers(z)


# ---------------------------------------------------------------- functions of kappa |v|^2


def _reciprocal_factorials():
    return [(-1.0) ** k / math.factorial(2 * k + 1) for k in range(10)]


def _arcsine_coefficients():
    return [math.comb(2 * k, k) / 4.0**k / (2 * k + 1) for k in range(13)]


_SINE, _ARCSINE = _reciprocal_factorials(), _arcsine_coefficients()
_NEAR = 0.05  # where the series of the arcsine, cut, is exact to rounding


def _polynomial(coefficients, s):
    value = torch.zeros_like(s)
    for coefficient in reversed(coefficients):
        value = value * s + coefficient
    return value


def _sine_ratio(kappa, s):
    """Return sin(a) / a of a = sqrt(s), sinh(a) / a of a = sqrt(-s) below 0: analytic in s."""
    is_small = s.abs() < 1.0
    root = torch.sqrt(torch.where(is_small, 1.0, s.abs()))
    far = (torch.sin if kappa > 0.0 else torch.sinh)(root) / root
    return torch.where(is_small, _polynomial(_SINE, torch.where(is_small, s, 0.0)), far)


def _cosine_and_ratios(kappa, v):
    """Return C, S / r and (1 - C) / (kappa r^2) for r = |v|, with derivatives also at 0."""
    s = kappa * v.square().sum(-1, keepdim=True)
    versine = 0.5 * _sine_ratio(kappa, 0.25 * s).square()
    return 1.0 - s * versine, _sine_ratio(kappa, s), versine


# ---------------------------------------------------------------- rules of lipschitz_bound


def _constant(module, order, sizes):
    """Return the constant of a network from vectors to vectors; see `_constants.constant_of`."""
    if order != 2:
        raise UnboundedError("Its constant is known from l2 to l2 only: leave out order.")
    if not isinstance(module.domain, _Vectors) or not isinstance(module.codomain, _Vectors):
        raise UnboundedError(
            f"It goes from {module.domain} to {module.codomain}: begin with curved.Exponential, "
            "and end with curved.Logarithm or curved.Projection."
        )
    constant = module.lipschitz_constant
    if constant == math.inf:
        raise UnboundedError(
            "It has no constant: give curved.Exponential a radius if kappa < 0, and end with "
            "curved.Projection on a sphere, with curved.Logarithm if kappa < 0."
        )
    for name, part in module.named_modules():
        check_finite(part, name)
        if isinstance(part, Isometry):
            turn = part.turn.weight.detach()
            if float((turn.mT @ turn - torch.eye(len(turn)).to(turn)).abs().max()) > 1e-4:
                raise UnboundedError(f"The matrix of {name}.turn is not orthogonal.")
            constant *= max(1.0, float(torch.linalg.matrix_norm(turn, 2)))
    return constant


def _of_a_network(module, order, sizes):
    raise UnboundedError("Put it into curved.Network, from vectors to vectors.")


RULES.update(
    dict.fromkeys(
        (Exponential, Fold, Hopf, Isometry, Logarithm, Probabilities, Projection, Rescaling),
        _of_a_network,
    )
)
RULES[Network] = _constant


# ---------------------------------------------------------------- checks


def _tensors(size, check, **named):
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


def _space(space):
    if not isinstance(space, Space):
        raise TypeError(f"space must be a curved.Space: got {type(space).__name__}.")
    return space


def _positive(name, value):
    value = finite_number(name, value)
    if not value > 0.0:
        raise bad_value(name, "be above 0", f"got {value!r}")
    return value


finish(
    globals(),
    {
        "space : Space": "The space of the points.",
        "z : torch.Tensor, shape (..., dim + 1)": "Points of the domain.",
    },
)
