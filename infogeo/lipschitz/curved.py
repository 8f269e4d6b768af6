r"""Layers between spaces of constant curvature: spheres, planes and hyperbolic spaces.

A point of the space of curvature kappa is z = (t, x) with

.. math:: t^2 + \kappa |x|^2 = 1, \qquad ds^2 = |dx|^2 + dt^2 / \kappa :

a sphere of radius :math:`1/\sqrt\kappa`, the plane t = 1 for kappa = 0, and a hyperboloid, t > 0,
if kappa is negative. Isometries are linear in z. `Network` composes layers whose spaces fit, and
knows the Lipschitz constant.
"""

import itertools
import math

from infogeo._array import bad_value, finite_number
from infogeo._array import norm as norm_of
from infogeo._docs import finish
from infogeo._system.extras import missing

try:
    import torch
    from array_api_compat import torch as xp
    from torch import Tensor, nn

    from infogeo.lipschitz._activations import AbsoluteValue, FullSort, GroupSort, Householder
    from infogeo.lipschitz._checks import check_finite
    from infogeo.lipschitz._constant_curvature import Simplex, Space, Vectors, tensors_of
    from infogeo.lipschitz._constants import RULES, UnboundedError, rule_of
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

    domain: Space | Vectors | Simplex
    codomain: Space | Vectors | Simplex

    def __init__(self) -> None:  # nn.Module's own takes any arguments
        super().__init__()

    @property
    def lipschitz_constant(self) -> float:
        """Return how much distances grow at most, inf if there is no bound."""
        return math.inf

    def extra_repr(self) -> str:
        """Return what `repr` shows between the brackets.

        Returns
        -------
        str
            Domain and codomain.
        """
        return f"{self.domain} -> {self.codomain}"

    def _checked(self, z: Tensor) -> Tensor:
        (z,) = tensors_of(self.domain.size, False, z=z)
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
        self.domain, self.codomain = Vectors(_space(space).dim), space
        self._radius = math.inf if radius is None else _positive("radius", radius)

    @property
    def radius(self) -> float:
        """Return the length that longer vectors are shortened to, inf if there is none."""
        return self._radius

    @property
    def lipschitz_constant(self) -> float:
        """Return 1, or sinh(a) / a with a = radius sqrt(-kappa) if kappa is negative."""
        reach = math.sqrt(max(0.0, -self.codomain.kappa)) * min(self._radius, 1e300)
        if reach < 1e-8:
            return 1.0
        return max(1.0, math.sinh(reach) / reach) if reach < 700.0 else math.inf

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
        if self._radius < math.inf:
            size = norm_of(v, xp)[..., None]
            is_long = size > self._radius
            v = torch.where(is_long, self._radius / torch.where(is_long, size, 1.0), 1.0) * v
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
    constant: it jumps at the point that is opposite to the origin, where it is NaN. Use
    `Projection` there.

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
        self.domain, self.codomain = _space(space), Vectors(space.dim)

    @property
    def lipschitz_constant(self) -> float:
        """Return 1, or inf on a sphere."""
        return 1.0 if self.domain.kappa <= 0.0 else math.inf

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
        # Squares of far points may overflow, and the norm has no second derivative at 0.
        root = math.sqrt(abs(kappa)) * norm_of(torch.where(is_near, 1.0, x), xp)[..., None]
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
        self.domain, self.codomain = _space(space), Vectors(space.dim)

    @property
    def lipschitz_constant(self) -> float:
        """Return 1, or inf in hyperbolic space."""
        return 1.0 if self.domain.kappa >= 0.0 else math.inf

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

    @property
    def lipschitz_constant(self) -> float:
        """Return 1."""
        return 1.0

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
        _check_activation(activation)
        self.domain = self.codomain = _space(space)
        self.activation = activation

    @property
    def lipschitz_constant(self) -> float:
        """Return 1."""
        return 1.0

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
        self._factor, self.domain = _positive("factor", factor), _space(space)
        square = self._factor * self._factor
        kappa = space.kappa / square if square > 0.0 else math.inf
        if kappa == math.inf or (kappa == 0.0) != (space.kappa == 0.0):
            raise bad_value(
                "factor",
                "leave a curvature between the least and the largest float",
                f"{space.kappa!r} / {factor!r}^2",
            )
        self.codomain = Space(kappa, space.dim)

    @property
    def factor(self) -> float:
        """Return the factor."""
        return self._factor

    @property
    def lipschitz_constant(self) -> float:
        """Return the factor."""
        return self._factor

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
        return torch.cat((z[..., :1], self._factor * z[..., 1:]), dim=-1)


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

    @property
    def lipschitz_constant(self) -> float:
        """Return 1."""
        return 1.0

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
        self.domain, self.codomain = space, Simplex(space.size)

    @property
    def lipschitz_constant(self) -> float:
        """Return 2 sqrt(kappa)."""
        return 2.0 * math.sqrt(self.domain.kappa)

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
    Its constant is the product of theirs. Curvatures fit that are the same to 12 digits.
    `layers.lipschitz_bound` takes a network from vectors to vectors as a layer of a larger model.

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
        _checked_layers(layers)
        self.layers = nn.Sequential(*layers)
        self.domain, self.codomain = layers[0].domain, layers[-1].codomain

    @property
    def lipschitz_constant(self) -> float:
        """Return the product of the constants of the layers."""
        return math.prod(layer.lipschitz_constant for layer in _checked_layers(self.layers))

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
    constant = module.lipschitz_constant
    domain, codomain = module.layers[0].domain, module.layers[-1].codomain
    if not isinstance(domain, Vectors) or not isinstance(codomain, Vectors):
        raise UnboundedError(
            f"It goes from {domain} to {codomain}: begin with curved.Exponential, "
            "and end with curved.Logarithm or curved.Projection."
        )
    if constant == math.inf:
        raise UnboundedError(
            "It has no constant: give curved.Exponential a radius if kappa < 0, and end with "
            "curved.Projection on a sphere, with curved.Logarithm if kappa < 0."
        )
    for name, part in module.named_modules():
        check_finite(part, name)
        if isinstance(part, Layer) and rule_of(part) is None:
            raise UnboundedError(f"{name} is of a class of your own, whose constant is not known.")
        if isinstance(part, Fold):
            _check_activation(part.activation)
        if isinstance(part, Isometry):
            size, turn = part.domain.dim, part.turn
            is_linear = isinstance(turn, nn.Linear) and rule_of(turn) is not None
            if not is_linear or turn.bias is not None or turn.weight.shape != (size, size):
                raise UnboundedError(
                    f"{name}.turn is not a linear layer of {size} features without a bias."
                )
            turn = turn.weight.detach()
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


def _check_activation(activation):
    kinds = (AbsoluteValue, FullSort, GroupSort, Householder)
    if type(activation) not in kinds or getattr(activation, "dim", -1) != -1:
        raise bad_value(
            "activation",
            "be one of GroupSort, FullSort, AbsoluteValue and Householder along the last axis",
            f"got {activation}",
            "Other activations do not keep the norm of x, so that they leave the space.",
        )


def _checked_layers(layers):
    if type(layers) not in (tuple, nn.Sequential):
        raise TypeError(f"layers must be held by an nn.Sequential: got {type(layers).__name__}.")
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(
                f"layers must be those of infogeo.lipschitz.curved: got {type(layer).__name__}."
                " Put others before or behind the network, in nn.Sequential."
            )
    if not layers:
        raise bad_value("layers", "be at least one", "got none")
    for k, (one, other) in enumerate(itertools.pairwise(layers)):
        if not _is_same(one.codomain, other.domain):
            raise bad_value(
                "layers",
                "fit",
                f"{k + 1} begins in {other.domain}, and {k} ends in {one.codomain}",
            )
    return layers


def _is_same(one, other):
    if not (isinstance(one, Space) and isinstance(other, Space)):
        return one == other
    return one.dim == other.dim and math.isclose(one.kappa, other.kappa, rel_tol=1e-12)


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
