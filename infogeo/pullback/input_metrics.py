r"""What the inputs of a network stand for: the Riemannian metric h at its beginning.

Eigenvalues of a pullback metric, its trace and the Lipschitz constant of a network are relative
to a metric of the inputs. It is Euclidean unless an `InputMetric` says otherwise:

- ``euclidean``: the sum of squares of the entries.
- ``diagonal(weights)``, ``full(matrix)``: weights, or a matrix, constant or a function of x.
- ``bernoulli``: an entry is the probability of a white pixel; flat.
- ``categorical``: the entries are the probabilities of one outcome each; curvature +1/4.
- ``of_space(space)``: an entry is a point of a space, such as the rate of a Poisson distribution.
- ``constant_curvature(kappa, dim)``: spheres, planes and hyperbolic spaces of any dimension.
- ``normal``: x[:, 0] holds means and x[:, 1] standard deviations; curvature -1/2 for each pair.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from array_api_compat import torch as xp

from infogeo import _array, _points, _spaces, simplex
from infogeo import normal as normals
from infogeo._array import POSITIVE, PROBABILITIES, TANGENT, UNIT_INTERVAL, bad_value, gate
from infogeo._docs import finish
from infogeo._result import Shown
from infogeo.pullback._checks import check_count, check_input
from infogeo.typing import Array

__all__ = [
    "InputMetric",
    "bernoulli",
    "categorical",
    "constant_curvature",
    "diagonal",
    "euclidean",
    "full",
    "normal",
    "of_space",
]


@dataclass(frozen=True, repr=False)
class InputMetric(Shown):
    r"""A Riemannian metric of inputs, by frames: matrices B(x) with B B' = h(x)^-1.

    The n columns of B(x), shape (d, n), are orthonormal tangent vectors at x; n is d, or less
    where inputs live on a surface. All of its functions take inputs of shape (batch, ...), and
    tangent vectors flattened, shape (batch, k, d). The functions of this module build it.

    Parameters
    ----------
    pull : callable
        ``pull(x, rows)``: rows B(x), shape (batch, k, n), of gradients of shape (batch, k, d).
    push : callable
        ``push(x, w)``: the tangent vectors B(x) w, shape (batch, k, d), of coordinates w of shape
        (batch, k, n).
    coordinates : callable
        ``coordinates(x, v)``: the w with B(x) w = v, shape (batch, k, n).
    distance : callable or None
        ``distance(x0, x1)``: the geodesic distance of inputs, shape (batch,).
    require : callable or None
        ``require(name, x)`` raises a ValueError if x holds no points of this space.
    exp_map : callable or None
        ``exp_map(x, v)``: where the geodesic from x with velocity v is at time 1, in the shape
        of x.
    log_map : callable or None
        ``log_map(x, y)``: the velocity of the shortest geodesic from x to y, in the shape of x.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import PullbackMetric, input_metrics
    >>> metric = PullbackMetric(lambda x: x, input_metric=input_metrics.diagonal([1.0, 4.0]))
    >>> metric.spectrum(torch.zeros(1, 2)).values, metric.trace(torch.zeros(1, 2))
    (tensor([[0.3125]]), tensor([0.3125]))
    """

    pull: Callable
    push: Callable
    coordinates: Callable
    distance: Callable | None = None
    require: Callable | None = None
    exp_map: Callable | None = None
    log_map: Callable | None = None

    def norm(self, x: torch.Tensor, v: torch.Tensor, *, check: bool = True) -> torch.Tensor:
        r"""Return the length of tangent vectors, sqrt(v' h(x) v).

        Parameters
        ----------
        x : torch.Tensor, shape (batch, ...)
        v : torch.Tensor, shape (batch, ...)
        check : bool

        Returns
        -------
        torch.Tensor, shape (batch,)
            In units of the input metric; inf where the input is on the edge of its space and the
            vector leaves it.

        Raises
        ------
        TypeError, ValueError
            Inputs that are no points of this space, or vectors that cannot be used.

        Examples
        --------
        >>> import torch
        >>> from infogeo.pullback import input_metrics
        >>> input_metrics.bernoulli.norm(torch.tensor([[0.5, 0.2]]), torch.tensor([[0.3, 0.0]]))
        tensor([0.6000])
        """
        check_input(x, check=check, v=v)
        if check:
            self.check_points(x)
        w = self.coordinates(x, v.flatten(1)[:, None])[:, 0]
        is_infinite = torch.isinf(w).any(-1)
        return _array.norm(w, xp).where(~is_infinite, math.inf)

    def check_points(self, x: torch.Tensor, name: str = "x") -> None:
        """Raise a ValueError if x holds something else than points of this space.

        Parameters
        ----------
        x : torch.Tensor, shape (batch, ...)
        name : str
            What to call them.

        Raises
        ------
        ValueError
            Values or shapes that are not those of a point.
        """
        if self.require is not None:
            self.require(name, x)


# ---------------------------------------------------------------- flat


def _unchanged(x, rows):
    return rows


def _euclidean_distance(x0, x1):
    return _array.norm((x0 - x1).flatten(1), xp)


euclidean = InputMetric(_unchanged, _unchanged, _unchanged, _euclidean_distance)
"""The sum of squares of the entries."""


def _times(roots, x, rows):
    return rows * roots(x)[:, None]


def _divided(roots, x, v):
    """Return v / roots; 0 / 0 is 0, since a vector of length 0 has coordinates 0."""
    b = roots(x)[:, None]
    return torch.where(v == 0.0, 0.0, v / torch.where((b == 0.0) & (v == 0.0), 1.0, b))


def _by_roots(roots, **properties):
    """Build the diagonal metric of the vector field roots(x) = h^(-1/2), shape (batch, d)."""
    functions = (functools.partial(f, roots) for f in (_times, _times, _divided))
    return InputMetric(*functions, **properties)


def diagonal(weights: Array) -> InputMetric:
    r"""Return the metric of weighted squares, h = diag(weights).

    Parameters
    ----------
    weights : array, shape (d,) or that of an input
        Positive. For instance the squared inverse of the precision of each feature, so that
        lengths count in units of it.

    Returns
    -------
    InputMetric
        Flat; the same at each input.

    Raises
    ------
    TypeError, ValueError
        Weights that are not positive numbers.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import input_metrics
    >>> h = input_metrics.diagonal([1.0, 4.0])
    >>> h.norm(torch.zeros(1, 2), torch.tensor([[3.0, 2.0]]))
    tensor([5.])
    """
    _, weights = gate(True, weights=(POSITIVE, weights))
    root = torch.as_tensor(weights, dtype=torch.float64, device="cpu").flatten().rsqrt()
    return _by_roots(
        functools.partial(_constant_root, root),
        distance=functools.partial(_weighted_distance, root),
        require=functools.partial(_require_size, len(root), "weights"),
    )


def _constant_root(root, x):
    return root.to(x)[None]


def _weighted_distance(root, x0, x1):
    return _array.norm((x0 - x1).flatten(1) / root.to(x0), xp)


def _require_size(size, name_of_size, name, x):
    if math.prod(x.shape[1:]) != size:
        raise bad_value(
            name,
            f"have {size} entries for each input, as many as the {name_of_size}",
            f"its shape is {tuple(x.shape)}",
        )


def full(matrix: Any) -> InputMetric:
    r"""Return the metric of a symmetric positive definite matrix h.

    Parameters
    ----------
    matrix : array of shape (d, d), or callable
        The matrix; the inverse covariance of the inputs, for instance. Or a function
        ``matrix(x) -> h``, shape (batch, d, d), of inputs of shape (batch, ...).

    Returns
    -------
    InputMetric
        It knows the distance if the matrix is constant.

    Raises
    ------
    TypeError, ValueError
        A matrix that is not square, symmetric or positive definite.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import input_metrics
    >>> h = input_metrics.full([[2.0, 1.0], [1.0, 2.0]])
    >>> h.distance(torch.zeros(1, 2), torch.tensor([[1.0, 1.0]]))
    tensor([2.4495])
    """
    if callable(matrix):
        return _by_triangles(functools.partial(_triangle_at, matrix))
    _, matrix = gate(True, matrix=(_array.REAL, matrix))
    matrix = torch.as_tensor(matrix, dtype=torch.float64, device="cpu")
    if matrix.ndim != 2:
        raise bad_value("matrix", "have shape (d, d)", f"its shape is {tuple(matrix.shape)}")
    triangle = _cholesky(matrix[None])
    return _by_triangles(
        functools.partial(_constant_triangle, triangle),
        distance=functools.partial(_mahalanobis_distance, triangle),
        require=functools.partial(_require_size, len(matrix), "rows of the matrix"),
    )


def _by_triangles(triangles, **properties):
    """Build the metric of h = L L' from triangles(x) = L: its frame is B = L^-T."""
    functions = (
        functools.partial(f, triangles) for f in (_pull_triangle, _push_triangle, _by_triangle)
    )
    return InputMetric(*functions, **properties)


def _pull_triangle(triangles, x, rows):
    return _solve(triangles(x).to(rows), rows, upper=False)


def _push_triangle(triangles, x, w):
    return _solve(triangles(x).to(w).mT, w, upper=True)


def _solve(triangle, rows, *, upper):
    """Return rows triangle^-T; one triangle for all inputs is one problem."""
    columns = rows.flatten(0, 1)[None].mT if len(triangle) == 1 else rows.mT
    return torch.linalg.solve_triangular(triangle, columns, upper=upper).mT.reshape(rows.shape)


def _by_triangle(triangles, x, v):
    return v @ triangles(x).to(v)


def _constant_triangle(triangle, x):
    return triangle


def _triangle_at(matrix, x):
    h, d = matrix(x), math.prod(x.shape[1:])
    if not isinstance(h, torch.Tensor) or h.shape != (len(x), d, d):
        seen = tuple(h.shape) if isinstance(h, torch.Tensor) else type(h).__name__
        raise bad_value(
            "matrix", f"return a tensor of shape {(len(x), d, d)} here", f"it returned {seen}"
        )
    return _cholesky(h.detach())


def _mahalanobis_distance(triangle, x0, x1):
    step = (x0 - x1).flatten(1)
    return _array.norm(step @ triangle[0].to(step), xp)


def _cholesky(h):
    """Return L with h = L L', lower triangular."""
    if h.shape[-1] != h.shape[-2]:
        raise bad_value("matrix", "be square", f"its shape is {tuple(h.shape[-2:])}")
    size = h.abs().amax((-2, -1), keepdim=True)
    size = torch.where(size > 0.0, size, 1.0)
    asymmetry = float(((h - h.mT).abs() / size).amax()) if h.numel() else 0.0
    if not asymmetry <= 64.0 * torch.finfo(h.dtype).eps:
        raise bad_value(
            "matrix",
            "be symmetric",
            f"entries differ from their mirror images by {asymmetry:.3g} of the largest entry",
            "Use (matrix + matrix.T) / 2 if that is rounding.",
        )
    triangle, info = torch.linalg.cholesky_ex(h)
    if bool((info != 0).any()):
        smallest = float(torch.linalg.eigvalsh(h).amin())
        raise bad_value(
            "matrix", "be positive definite", f"its smallest eigenvalue is {smallest:.6g}"
        )
    return triangle


# ---------------------------------------------------------------- constant curvature


def constant_curvature(kappa: float, dim: int) -> InputMetric:
    r"""Return the metric of constant sectional curvature kappa, in conformal coordinates.

    .. math:: h = \frac{|dx|^2}{(1 + \kappa |x|^2 / 4)^2}

    A sphere of radius :math:`1/\sqrt\kappa` without a point, in stereographic projection; the
    plane; hyperbolic space in the ball of Poincare.

    Parameters
    ----------
    kappa : float
        The curvature: positive, 0 or negative.
    dim : int
        The number d of entries of an input.

    Returns
    -------
    InputMetric
        With distance, `exp_map` and `log_map`. It is Euclidean at x = 0. If kappa is negative,
        inputs lie in the ball of radius :math:`2/\sqrt{-\kappa}`: scale a rectangle into it.

    Raises
    ------
    TypeError, ValueError
        A curvature or a dimension that is no number or out of range.

    Notes
    -----
    With k = kappa / 4, geodesics from x are those from 0, straight lines, moved by

    .. math:: x \oplus y = \frac{(1 - 2 k \langle x, y \rangle - k |y|^2) x + (1 + k |x|^2) y}
              {1 - 2 k \langle x, y \rangle + k^2 |x|^2 |y|^2}

    which is an isometry in y.

    References
    ----------
    O. Ganea, G. Becigneul and T. Hofmann, Hyperbolic neural networks, NeurIPS 2018.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import input_metrics
    >>> h = input_metrics.constant_curvature(1.0, 2)
    >>> x, v = torch.zeros(1, 2), torch.tensor([[torch.pi / 2, 0.0]])
    >>> h.exp_map(x, v), h.distance(x, h.exp_map(x, v))
    (tensor([[2., 0.]]), tensor([1.5708]))
    """
    k = 0.25 * _array.finite_number("kappa", kappa)
    check_count("dim", dim)
    return _by_roots(
        functools.partial(_conformal_roots, k),
        distance=functools.partial(_conformal_distance, k),
        require=functools.partial(_require_ball, k, dim),
        exp_map=functools.partial(_conformal_exp_map, k),
        log_map=functools.partial(_conformal_log_map, k),
    )


def _conformal_scale(k, x):
    """Return 1 + k |x|^2, shape (batch, 1); near the edge of a ball nothing cancels."""
    size = math.sqrt(abs(k)) * _array.norm(x, xp)[:, None]
    return 1.0 + size * size if k >= 0.0 else (1.0 - size) * (1.0 + size)


def _conformal_roots(k, x):
    x = x.flatten(1)
    return _conformal_scale(k, x).expand(x.shape)


def _conformal_distance(k, x0, x1):
    x0, x1 = x0.flatten(1), x1.flatten(1)
    chord, root = _array.norm(x0 - x1, xp), math.sqrt(abs(k))
    if k == 0.0:
        return chord
    if k < 0.0:
        scale = _conformal_scale(k, x0) * _conformal_scale(k, x1)
        return torch.asinh(root * chord / scale[:, 0].sqrt()) / root
    # 1 + 2 k <x, y> + k^2 |x|^2 |y|^2 is a square, which vanishes at the antipode
    size = _array.norm(x0, xp)[:, None]
    unit = x0 / torch.where(size > 0.0, size, 1.0)
    opposite = torch.where(size[:, 0] > 0.0, _array.norm(unit + k * size * x1, xp), 1.0)
    return torch.atan2(root * chord, opposite) / root


def _moved(k, x, y):
    """Return y, moved by the isometry that takes 0 to x."""
    inner = 2.0 * k * (x * y).sum(1, keepdim=True)
    x_squared, y_squared = (k * z.square().sum(1, keepdim=True) for z in (x, y))
    return ((1.0 - inner - y_squared) * x + (1.0 + x_squared) * y) / (
        1.0 - inner + x_squared * y_squared
    )


def _conformal_exp_map(k, x, v):
    start, v = x.flatten(1), v.flatten(1)
    root, size = math.sqrt(abs(k)), _array.norm(v, xp)[:, None]
    length = size / _conformal_scale(k, start)
    if k:
        length = (torch.tan if k > 0.0 else torch.tanh)(root * length) / root
    return _moved(k, start, length * v / torch.where(size > 0.0, size, 1.0)).reshape(x.shape)


def _conformal_log_map(k, x, y):
    start, end = x.flatten(1), y.flatten(1)
    towards = _moved(k, -start, end)
    size = _array.norm(towards, xp)[:, None]
    length = _conformal_distance(k, x, y)[:, None] * _conformal_scale(k, start)
    return (length * towards / torch.where(size > 0.0, size, 1.0)).reshape(x.shape)


def _require_ball(k, dim, name, x):
    _require_size(dim, "dimensions", name, x)
    if k < 0.0 and bool((_conformal_scale(k, x.flatten(1)) <= 0.0).any()):
        raise bad_value(
            name,
            f"lie in the ball of radius 2 / sqrt(-kappa) = {1.0 / math.sqrt(-k):.6g}",
            f"the largest norm is {float(_array.norm(x.flatten(1), xp).max()):.6g}",
        )


# ---------------------------------------------------------------- pixels as distributions


def _bernoulli_roots(x):
    x = x.flatten(1)
    return (x * (1.0 - x)).sqrt()


def _bernoulli_distance(x0, x1):
    pairs = (torch.stack([x, 1.0 - x], dim=-1).flatten(1, -2) for x in (x0, x1))
    return _array.norm(simplex.fisher_rao_distance(*pairs, check=False), xp)


def _require_unit_interval(name, x):
    gate(True, **{name: (UNIT_INTERVAL, x)})


bernoulli = _by_roots(
    _bernoulli_roots, distance=_bernoulli_distance, require=_require_unit_interval
)
r"""Each entry x_i in [0, 1] is the probability of a white pixel: h = diag 1 / (x_i (1 - x_i)).

Flat: with x_i = sin^2(theta_i / 2) the distance is |theta - theta'|. Black and white pixels are
corners, which no differentiable path leaves at a finite speed in x: they do not move.
"""


def of_space(space: Any) -> InputMetric:
    r"""Return the metric of inputs whose entries are points of a space, independent of each other.

    .. math:: |v|^2 = \textstyle\sum_i g_{x_i}(v_i, v_i), \qquad
              d(x, y) = \sqrt{\textstyle\sum_i d(x_i, y_i)^2}

    Parameters
    ----------
    space : module, object or name
        A space whose points are objects with orthogonal coordinates: "normal", "poisson".

    Returns
    -------
    InputMetric
        Of inputs of shape (batch, ...) if a point has one field, as the rate of "poisson"; else the
        fields lie along axis 1, in the order of the constructor.

    Raises
    ------
    TypeError
        A space of other points.

    Examples
    --------
    Pixels that count photons:

    >>> import torch
    >>> from infogeo.pullback import input_metrics
    >>> photons = input_metrics.of_space("poisson")
    >>> photons.distance(torch.tensor([[4.0, 0.0]]), torch.tensor([[9.0, 4.0]]))
    tensor([4.4721])
    """
    space = _spaces.with_distance(space)
    kind = getattr(space, "POINTS", None)
    if not (getattr(space, "ORTHOGONAL", False) and hasattr(space, "TANGENTS")):
        raise TypeError(
            "space must have points that are objects with orthogonal coordinates (ORTHOGONAL, "
            f"TANGENTS): got {_spaces.title_of(space)}. Use input_metrics.full, or categorical "
            "for probabilities."
        )
    name = _spaces.name_of(space)  # a module cannot be pickled
    return _by_roots(
        functools.partial(_roots_of_points, name),
        distance=functools.partial(_distance_of_points, name),
        require=functools.partial(_require_points, kind),
    )


def _fields(kind, x):
    """Return the fields of a point for each entry, shape (batch, n) each."""
    num_fields = len(kind.rules)
    return x.flatten(1).chunk(num_fields, dim=1)


def _roots_of_points(name, x):
    """Return 1 over the Fisher lengths of the unit vectors, 0 at an edge of the space."""
    space = _spaces.resolve(name)
    arrays = _fields(space.POINTS, x)
    point, one = _points.make(space.POINTS, *arrays), torch.ones_like(arrays[0])
    lengths = []
    for direction in torch.eye(len(arrays), dtype=x.dtype, device=x.device):
        unit = _points.make(space.TANGENTS, *(part * one for part in direction))
        lengths.append(_spaces.verb(space, "norm")(point, unit, check=False))
    return 1.0 / torch.cat(lengths, dim=1)


def _distance_of_points(name, x0, x1):
    space = _spaces.resolve(name)
    points = (_points.make(space.POINTS, *_fields(space.POINTS, x)) for x in (x0, x1))
    return _array.norm(space.fisher_rao_distance(*points, check=False), xp)


def _require_points(kind, name, x):
    names = list(kind.rules)
    if len(names) == 1:
        gate(True, **{name: (kind.rules[names[0]], x)})
        return
    places = [f"{name}[:, {i}]" for i in range(len(names))]
    if x.shape[1] != len(names):
        held = " and ".join(f"{n}s in {place}" for n, place in zip(names, places, strict=True))
        raise bad_value(
            name,
            f"hold {held}",
            f"its shape is {tuple(x.shape)}",
            f"Use torch.stack([{', '.join(names)}], dim=1).",
        )
    for i, rule in enumerate(kind.rules.values()):
        gate(True, **{places[i]: (rule, x[:, i])})


normal = of_space(normals)
r"""Each pixel is a normal distribution, inputs have shape (batch, 2, ...): means, stds.

The metric is h = sum_i (dmean_i^2 + 2 dstd_i^2) / std_i^2, a product of hyperbolic planes.
"""


# ---------------------------------------------------------------- an image as one distribution


def _reflection(x):
    """Return sqrt(x), u and 1 + sqrt(x_1) of the reflection 1 - u u' / (1 + sqrt(x_1)).

    It exchanges -sqrt(x) with the first unit vector, so that its other columns are an orthonormal
    basis of the tangent space of the sphere at sqrt(x). Nothing cancels in u = sqrt(x) + e_1.
    """
    root = simplex.SPHERE.unit_vectors(x.flatten(1), xp)
    u = root.clone()
    u[:, 0] += 1.0
    return root[:, None], u[:, None], u[:, None, :1]


def _reflected(rows, u, scale):
    return rows - (rows * u).sum(-1, keepdim=True) / scale * u


def _categorical_pull(x, rows):
    root, u, scale = _reflection(x)
    return _reflected(rows * root, u, scale)[..., 1:]


def _categorical_push(x, w):
    root, u, scale = _reflection(x)
    return _reflected(torch.nn.functional.pad(w, (1, 0)), u, scale) * root


def _categorical_coordinates(x, v):
    gate(True, v=(TANGENT, v))
    root, u, scale = _reflection(x)
    slope = torch.where(v == 0.0, 0.0, v / torch.where((root == 0.0) & (v == 0.0), 1.0, root))
    is_finite = torch.isfinite(slope).all(-1, keepdim=True)
    inside = _reflected(torch.where(is_finite, slope, 0.0), u, scale)[..., 1:]
    return torch.where(is_finite, inside, math.inf)


def _categorical_distance(x0, x1):
    return simplex.fisher_rao_distance(x0.flatten(1), x1.flatten(1), check=False)


def _require_probabilities(name, x):
    if math.prod(x.shape[1:]) < 2:
        raise bad_value(
            name, "have at least two entries for each input", f"its shape is {tuple(x.shape)}"
        )
    try:
        gate(True, **{name: (PROBABILITIES, x.flatten(1))})
    except ValueError as error:
        raise ValueError(
            f"{error} As an input it must have sum 1 over all its entries: measure "
            f"lambda p: model(total * p) at p = {name} / total."
        ) from None


categorical = InputMetric(
    _categorical_pull,
    _categorical_push,
    _categorical_coordinates,
    _categorical_distance,
    _require_probabilities,
)
r"""The entries of an input are the probabilities of one outcome each: h = diag 1 / x_i, sum x = 1.

Tangent vectors have sum 0, so that there are d - 1 directions. A photon of the image falls on
pixel i with probability x_i.
"""


finish(globals())
