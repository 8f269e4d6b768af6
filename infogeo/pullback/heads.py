r"""What the raw outputs of a network stand for: the statistical manifold at its end.

A head knows a factor A(z) of the Fisher information of the distribution that the outputs z
parametrise, A'A = F(z), and, where they are known, the Fisher-Rao distance of two outputs, the
Lipschitz constant of the outputs' map into that geometry, and the distance to the nearest other
decision.

- ``categorical``: logits of c classes, metric sum p_i (dz_i - sum p_j dz_j)^2, constant 1 / sqrt 2.
- ``bernoulli``: a logit for each label, sum p_i (1 - p_i) dz_i^2, constant 1 / 2.
- ``normal``: means and then log stds, sum (dmu_i^2 + 2 dsigma_i^2) / sigma_i^2, no constant.
- ``normal_fixed_std(std)``: means, sum (dz_i / sigma_i)^2, constant 1 / min std.
- ``poisson``: logarithms of rates, sum exp(z_i) dz_i^2, no constant.
- ``dirichlet()``, ``beta()``: logarithms of concentrations, or outputs with a function to these.
- ``von_mises``: angles and then log concentrations, sum (k A dm^2 + k^2 A' dlog k^2), no constant.
- ``of_space(space, to_point)``: parameters of the points of any space.
- ``product(*parts)``: the outputs of its parts in turn, the sum of theirs, the largest constant.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from array_api_compat import torch as xp

from infogeo import _array, _spaces, _sphere, logits, manifolds
from infogeo import normal as normals
from infogeo._array import bad_value
from infogeo._docs import finish
from infogeo._points import Points, fields, make
from infogeo._result import Shown
from infogeo.manifolds import _special
from infogeo.manifolds import poisson as poissons
from infogeo.manifolds import von_mises as angles
from infogeo.manifolds._differences import excess_fall
from infogeo.manifolds._family import require_exponentials
from infogeo.pullback._derivatives import Outputs, apply_head
from infogeo.typing import Array

__all__ = [
    "Head",
    "bernoulli",
    "beta",
    "categorical",
    "dirichlet",
    "normal",
    "normal_fixed_std",
    "of_space",
    "poisson",
    "product",
    "von_mises",
]


@dataclass(frozen=True, repr=False)
class Head(Shown):
    r"""The family of distributions that the raw outputs of a network parametrise.

    Parameters
    ----------
    factor : callable
        ``factor(z) -> A``: for outputs of shape (batch, m) a factor of their Fisher information,
        shape (batch, r, m), A'A = F(z). The fewer rows the cheaper: each costs one backward pass.
    distance : callable or None
        ``distance(z, w)``: the Fisher-Rao distance of two outputs, shape (batch,).
        Without it the metric has norms and spectra but no distances.
    scaled_factor : callable or None
        ``scaled_factor(z, derivative) -> (rows, log_scales)``: the factor of the network
        itself, A(z) J = diag(exp(log_scales)) rows, for families whose scales underflow. With
        index arrays i and j of shape (batch, r) or (batch, 1), ``derivative.outputs(i)`` is the
        derivative of z_i and ``derivative.differences(i, j)`` that of z_i - z_j, and with weights
        of shape (batch, r, m) ``derivative.combinations(weights)`` that of sum_j weights_ij z_j;
        all are new tensors of shape (batch, r, d), which may be overwritten.
    boundary_distance : callable or None
        ``boundary_distance(z)``: the Fisher-Rao distance from an output to the nearest one with
        another decision, shape (batch,). None if the outputs stand for no decision.
    lipschitz_constant : float or None
        Of the map from z, in the l2 norm, to its distribution, in the Fisher-Rao distance; inf if
        there is none, None if it is not known.
    allows_masks : bool
        Whether an output may be -inf, as the logit of a class that is left out.
    geodesic : callable or None
        ``geodesic(z, w, t)``: outputs on the shortest path of distributions between two outputs,
        for t of shape (k,) of shape (k, batch, m).

    Notes
    -----
    A model whose outputs are means of normal distributions with standard deviation 0.1 has
    F = I / 0.01, as in the example below (it is ``heads.normal_fixed_std(0.1)``).

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import Head, PullbackMetric
    >>> head = Head(lambda z: torch.eye(z.shape[-1], dtype=z.dtype).expand(len(z), -1, -1) / 0.1)
    >>> metric = PullbackMetric(lambda x: 3.0 * x, head)
    >>> metric.matrix(torch.zeros(1, 2, dtype=torch.float64))
    tensor([[[900.,   0.],
             [  0., 900.]]], dtype=torch.float64)
    """

    factor: Callable
    distance: Callable | None = None
    scaled_factor: Callable | None = None
    boundary_distance: Callable | None = None
    lipschitz_constant: float | None = None
    allows_masks: bool = False
    geodesic: Callable | None = None

    def __post_init__(self):
        for name in ("factor", "distance", "scaled_factor", "boundary_distance", "geodesic"):
            value = getattr(self, name)
            if not callable(value) and (value is not None or name == "factor"):
                raise TypeError(f"{name} must be a function: got {type(value).__name__}.")


def _factor(scaled_factor, z):
    """Return A(z), shape (batch, r, m), from the factor of a network."""
    rows, log_scales = scaled_factor(z, Outputs(z))
    return log_scales.exp()[..., None] * rows


def _head(scaled_factor, distance, **properties):
    """Build a head whose factor is its scaled factor; it can be pickled."""
    return Head(functools.partial(_factor, scaled_factor), distance, scaled_factor, **properties)


def _diagonal(log_scales, derivative):
    """Return the factor of sum_i exp(2 log_scales_i) dz_i^2, its rows in descending order."""
    log_scales, order = torch.sort(log_scales, dim=-1, descending=True, stable=True)
    return derivative.outputs(order), log_scales


# ---------------------------------------------------------------- one of c classes


def _categorical_scaled_factor(z, derivative):
    r"""Return (R, log s) with s_i R_i = sqrt(p_i) (D_i - sum_j p_j D_j / (1 + sqrt p_k)).

    Here k is the most probable class, D_i the derivative of z_i - z_k, and i runs over the other
    classes in descending order. The rows are exact: with m = sum_j p_j D_j, summed over j != k,

        sum_i p_i (D_i - a m)(D_i - a m)' = sum_i p_i D_i D_i' - m m'   for a = 1 / (1 + sqrt p_k),

    because (1 - p_k) a^2 - 2 a = -1. Nothing cancels: diag p - p p' is never formed, a constant
    added to all outputs drops out of D, and 1 - p_k out of a.
    """
    _check_num_classes(z)
    z, order = torch.sort(z, dim=-1, descending=True, stable=True)
    log_p = torch.log_softmax(z, dim=-1)
    p = log_p.exp()
    rows = derivative.differences(order[:, 1:], order[:, :1])
    weights = p[:, 1:] / (1.0 + p[:, :1].sqrt())
    mean = weights[:, None, :] @ rows
    return (rows - mean if mean.requires_grad else rows.sub_(mean)), 0.5 * log_p[:, 1:]


def _categorical_distance(z, w):
    _check_num_classes(z)
    return logits.fisher_rao_distance(z, w, check=False)  # the metric has looked at the values


def _categorical_boundary_distance(z):
    """Return 2 arcsin((sqrt p_1 - sqrt p_2) / sqrt 2): the nearest tie is with the runner-up."""
    _check_num_classes(z)
    return 2.0 * torch.asin(_sphere.boundary_sine(z, xp))


def _check_num_classes(z):
    if z.shape[-1] < 2:
        raise bad_value(
            "model",
            "return at least two logits for each input",
            f"its output has shape {tuple(z.shape)}",
            "A single logit of a binary classifier belongs to heads.bernoulli.",
        )


def _categorical_geodesic(z, w, t):
    return logits.fisher_rao_geodesic(z, w, t, check=False)


categorical = _head(
    _categorical_scaled_factor,
    _categorical_distance,
    boundary_distance=_categorical_boundary_distance,
    lipschitz_constant=math.sqrt(0.5),
    allows_masks=True,
    geodesic=_categorical_geodesic,
)
"""Logits of a categorical distribution: p = softmax(z)."""


# ---------------------------------------------------------------- from the parameters of a space


def _of_raw(raw, advice="", **properties):
    """Build the head of independent points, with all first parameters before all second ones."""
    functions = (_raw_scaled_factor, _raw_distance, _raw_geodesic)
    scaled_factor, distance, geodesic = (functools.partial(f, raw, advice) for f in functions)
    return _head(scaled_factor, distance, geodesic=geodesic, **properties)


def _parameters(raw, advice, z):
    if z.shape[-1] % len(raw.names):
        raise bad_value(
            "model",
            f"return {' and then as many '.join(raw.names)}",
            f"its output has shape {tuple(z.shape)}",
            advice,
        )
    return z.chunk(len(raw.names), dim=-1)


def _raw_scaled_factor(raw, advice, z, derivative):
    log_lengths = raw.log_lengths(_parameters(raw, advice, z), xp)
    return _diagonal(torch.cat(log_lengths, dim=-1), derivative)


def _raw_distance(raw, advice, z, w):
    """Return the root of the sum of squares; inf where the distance of one component overflows."""
    parts = raw.distance(*(_parameters(raw, advice, y) for y in (z, w)), xp)
    is_finite = parts.amax(-1, keepdim=True) < math.inf
    return _array.norm(torch.where(is_finite, parts, 0.0), xp).where(is_finite[..., 0], math.inf)


def _raw_geodesic(raw, advice, z, w, t):
    ends = (_parameters(raw, advice, y) for y in (z, w))
    return torch.cat(raw.geodesic(*ends, t, xp), dim=-1)


def of_space(
    space: Any,
    to_point: Callable[[torch.Tensor], Any] | None = None,
    from_point: Callable[[Any], torch.Tensor] | None = None,
) -> Head:
    r"""Return the head of outputs that are parameters of the points of a space.

    .. math:: |dz|^2 = \textstyle\sum_k g_{f(z)}(df_k, df_k), \qquad
              d(z, w) = \sqrt{\textstyle\sum_k d(f_k(z), f_k(w))^2}

    Parameters
    ----------
    space : module, object or name
        A space with a distance and an inner product: `infogeo.manifolds.poisson`, "normal".
    to_point : callable or None
        ``to_point(z) -> point``: the points f(z) of outputs of shape (batch, m), differentiable. Of
        batch shape (batch,), or (batch, k) for k independent components. None: the parameters
        that the space itself declares as those of a network, which know no overflow.
    from_point : callable or None
        ``from_point(point) -> z``: the way back. Without it the head knows no geodesics.

    Returns
    -------
    Head
        With the factor and the distance of the space. Its Lipschitz constant is not known, but for
        the parameters that the space declares, which have none.

    Raises
    ------
    TypeError
        A space without a distance or an inner product; a space that declares no parameters of a
        network, without a function; points that are objects in a space that does not declare the
        class of their tangent vectors.

    Notes
    -----
    The factor is the symmetric root of the Fisher information of z, from derivatives of to_point
    along all outputs. Its error is that of the root of a matrix: the smallest of its singular
    values are known to the root of the rounding of the largest. The heads of this module have
    factors of their own without that loss.

    Examples
    --------
    Rates that are the softplus of the outputs:

    >>> import torch
    >>> from infogeo.manifolds import Poisson
    >>> from infogeo.pullback import PullbackMetric, heads
    >>> head = heads.of_space("poisson", lambda z: Poisson(torch.nn.functional.softplus(z)))
    >>> metric = PullbackMetric(lambda x: x, head)
    >>> z = torch.tensor([[0.0]], dtype=torch.float64)
    >>> metric.matrix(z) * torch.log(torch.tensor(2.0)) * 4.0
    tensor([[[1.0000]]], dtype=torch.float64)
    """
    space = _spaces.with_distance(space)
    if to_point is None:
        raw = getattr(space, "RAW", None)
        if raw is None:
            raise TypeError(
                "to_point must be a function that makes points of outputs: "
                f"{_spaces.title_of(space)} declares no parameters of a network."
            )
        return _of_raw(raw, lipschitz_constant=math.inf)
    _spaces.verb(space, "inner_product")
    name, geodesic = _spaces.name_of(space), None  # a module cannot be pickled
    if from_point is not None:
        geodesic = functools.partial(_geodesic_of_points, name, to_point, from_point)
    return Head(
        functools.partial(_factor_of_points, name, to_point),
        functools.partial(_distance_of_points, name, to_point),
        geodesic=geodesic,
    )


def _factor_of_points(name, to_point, z):
    """Return the symmetric root of the matrix of inner products of the derivatives of to_point."""
    space = _spaces.resolve(name)
    point = to_point(z)
    is_object = isinstance(point, Points)
    if is_object and not hasattr(space, "TANGENTS"):
        raise TypeError("space must declare TANGENTS, the class of its tangent vectors.")

    def arrays(y):
        moving = to_point(y)  # its constants do not move, and vectors have no such field
        return tuple(getattr(moving, f) for f in space.TANGENTS.rules) if is_object else (moving,)

    def along(direction):
        return torch.func.jvp(arrays, (z,), (direction.expand_as(z),))[1]

    directions = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    moved = [torch.stack(column) for column in zip(*map(along, directions), strict=True)]
    u, v = ([x.unsqueeze(axis) for x in moved] for axis in (0, 1))
    if is_object:
        u, v = (make(space.TANGENTS, *x) for x in (u, v))
    else:
        (u,), (v,) = u, v
    information = _spaces.verb(space, "inner_product")(point, u, v, check=False)
    if information.ndim > 3:
        information = information.flatten(3).sum(-1)
    values, vectors = torch.linalg.eigh(information.movedim(-1, 0))
    return values.clamp(min=0.0).sqrt()[..., None] * vectors.mT


def _distance_of_points(name, to_point, z, w):
    d = _spaces.resolve(name).fisher_rao_distance(to_point(z), to_point(w), check=False)
    return d if d.ndim == 1 else _array.norm(d.flatten(1), xp)


def _geodesic_of_points(name, to_point, from_point, z, w, t):
    geodesic = _spaces.verb(_spaces.resolve(name), "fisher_rao_geodesic")
    return from_point(geodesic(to_point(z), to_point(w), t, check=False))


# ---------------------------------------------------------------- labels, each for itself


def _bernoulli_log_lengths(z, xp):
    """Return the logarithm of sqrt(p (1 - p)) = 1 / (2 cosh(z / 2))."""
    size = xp.abs(z[0])
    return (-0.5 * size - xp.log1p(xp.exp(-size)),)


def _bernoulli_distance(z, w, xp):
    return logits.fisher_rao_distance(_pair(z[0]), _pair(w[0]), check=False)


def _bernoulli_geodesic(z, w, t, xp):
    path = logits.fisher_rao_geodesic(_pair(z[0]), _pair(w[0]), t, check=False)
    return (path[..., 1] - path[..., 0],)


def _pair(z):
    """Return the logits (0, z) of the two outcomes of each label."""
    return torch.stack([torch.zeros_like(z), z], dim=-1)


def _bernoulli_boundary_distance(z):
    """Return the smallest |theta - pi / 2| of the angles with p = sin^2(theta / 2).

    Each label is decided at p = 1/2 and moves in its own factor of the product, so that the
    nearest other decision changes the one label nearest to 1/2.
    """
    return 2.0 * torch.atan(torch.tanh(0.25 * z.abs().amin(-1)))


bernoulli = _of_raw(
    _spaces.RawParameters(
        ("logits",), _bernoulli_log_lengths, _bernoulli_distance, _bernoulli_geodesic
    ),
    boundary_distance=_bernoulli_boundary_distance,
    lipschitz_constant=0.5,
)
"""A logit for each of m labels that hold or not independently: p = sigmoid(z)."""


# ---------------------------------------------------------------- numbers and counts


normal = _of_raw(
    normals.RAW,
    "If the standard deviations are known, use heads.normal_fixed_std(std).",
    lipschitz_constant=math.inf,
)
"""Means and logarithms of the standard deviations of independent normals: z = (mu, log s)."""


def normal_fixed_std(std: Array) -> Head:
    r"""Return the head of regression: means of independent normals with known deviations.

    .. math:: |dz|^2 = \textstyle\sum_i (dz_i / \sigma_i)^2, \qquad
              d(z, w) = \sqrt{\textstyle\sum_i ((z_i - w_i) / \sigma_i)^2}

    Parameters
    ----------
    std : float or array, shape (m,)
        Standard deviations, of all outputs or of each; the root mean squared error on held-out
        data, for instance.

    Returns
    -------
    Head
        The geometry is flat and its distance is in standard deviations.

    Raises
    ------
    TypeError, ValueError
        Standard deviations that are not positive or not a vector.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import PullbackMetric, heads
    >>> metric = PullbackMetric(lambda x: x, heads.normal_fixed_std([0.5, 2.0]))
    >>> metric.output_distance(torch.zeros(1, 2), torch.tensor([[1.5, 8.0]]))
    tensor([5.])
    """
    _, std = _array.gate(True, std=(_array.POSITIVE, std))
    std = torch.atleast_1d(torch.as_tensor(std, dtype=torch.float64, device="cpu"))
    if std.ndim > 1:
        raise bad_value("std", "be a number or a vector", f"its shape is {tuple(std.shape)}")
    return _head(
        functools.partial(_fixed_std_scaled_factor, std),
        functools.partial(_fixed_std_distance, std),
        lipschitz_constant=1.0 / float(std.min()),
        geodesic=_straight_line,
    )


def _fixed_std_scaled_factor(std, z, derivative):
    return _diagonal(-_of_outputs(std, z).log().expand_as(z), derivative)


def _fixed_std_distance(std, z, w):
    return _array.norm((z - w) / _of_outputs(std, z), xp)


def _straight_line(z, w, t):
    return torch.lerp(z, w, t[:, None, None])


def _of_outputs(std, z):
    if len(std) not in (1, z.shape[-1]):
        raise bad_value(
            "model",
            f"return {len(std)} outputs, one for each standard deviation",
            f"its output has shape {tuple(z.shape)}",
        )
    return std.to(z)


poisson = _of_raw(poissons.SPACE.RAW, lipschitz_constant=math.inf)
"""Logarithms of the rates of independent Poisson distributions: rate = exp(z)."""


von_mises = _of_raw(angles.SPACE.RAW, lipschitz_constant=math.inf)
"""Angles and logarithms of the concentrations of independent von Mises distributions."""


# ---------------------------------------------------------------- concentrations


@dataclass(frozen=True)
class _Logarithms:
    """The derivatives of logarithms of concentrations, functions of z[:, index] one by one."""

    whole: Any
    index: torch.Tensor
    slopes: torch.Tensor | None

    def outputs(self, i):
        rows = self.whole.outputs(self.index[i])
        return rows if self.slopes is None else self.slopes.gather(1, i)[..., None] * rows

    def differences(self, i, j):
        if self.slopes is None:
            return self.whole.differences(self.index[i], self.index[j])
        return self.outputs(i) - self.outputs(j)

    def combinations(self, weights, num_outputs):
        weights = weights if self.slopes is None else weights * self.slopes[:, None]
        wide = weights.new_zeros(*weights.shape[:2], num_outputs)
        return self.whole.combinations(wide.index_copy(2, self.index, weights))


def dirichlet(log_concentration: Callable[[torch.Tensor], torch.Tensor] | None = None) -> Head:
    r"""Return the head of Dirichlet distributions: of an evidential network.

    .. math:: |dz|^2 = \textstyle\sum_i \psi_1(a_i) \, da_i^2 - \psi_1(S) \, dS^2, \quad
              S = \sum_i a_i

    Parameters
    ----------
    log_concentration : callable or None
        ``log_concentration(z)``: the logarithms of the concentrations a of outputs (batch, k), each
        from its own output, differentiable. None: the outputs are these logarithms.

    Returns
    -------
    Head
        It has 2 k - 1 rows, which keep the digits of small and of large concentrations. It knows
        geodesics if the outputs are the logarithms. Its Lipschitz constant is infinite for these,
        and not known for others.

    Raises
    ------
    TypeError
        Something else than a function.

    Notes
    -----
    Distances are solved for, on the host, of concentrations between exp(-700) and exp(700). They
    have derivatives of first order. The metric takes any logarithms.

    Examples
    --------
    Evidence that is the softplus of the outputs, and a concentration of 1 without evidence:

    >>> import torch
    >>> from infogeo.pullback import PullbackMetric, heads
    >>> def log_concentration(z):
    ...     return torch.log1p(torch.nn.functional.softplus(z))
    >>> metric = PullbackMetric(lambda x: x, heads.dirichlet(log_concentration))
    >>> z = torch.tensor([[0.0, 1.0, -1.0]], dtype=torch.float64)
    >>> metric.output_distance(z, z + 0.1)
    tensor([0.0321], dtype=torch.float64)
    """
    return _of_concentrations(log_concentration, manifolds.Dirichlet, is_pair=False)


def beta(log_concentration: Callable[[torch.Tensor], torch.Tensor] | None = None) -> Head:
    r"""Return the head of independent beta distributions, of rates or of shares.

    Parameters
    ----------
    log_concentration : callable or None
        As in `dirichlet`. The outputs are all first concentrations, those of x, and then as many
        second ones, those of 1 - x.

    Returns
    -------
    Head
        As that of `dirichlet`, with three rows for each component.

    Raises
    ------
    TypeError
        Something else than a function.

    Examples
    --------
    >>> import torch
    >>> from infogeo.pullback import heads
    >>> z = torch.tensor([[3.0, 4.0], [3e4, 4e4]], dtype=torch.float64).log()
    >>> heads.beta().distance(z[:1], z[1:])
    tensor([6.5633], dtype=torch.float64)
    """
    return _of_concentrations(log_concentration, manifolds.Beta, is_pair=True)


def _of_concentrations(log_concentration, kind, is_pair):
    if log_concentration is not None and not callable(log_concentration):
        seen = type(log_concentration).__name__
        raise TypeError(f"log_concentration must be a function: got {seen}.")
    of_head = log_concentration, is_pair
    is_plain = log_concentration is None
    return _head(
        functools.partial(_concentrations_scaled_factor, *of_head),
        functools.partial(_concentrations_distance, *of_head, kind),
        lipschitz_constant=math.inf if is_plain else None,
        geodesic=functools.partial(_concentrations_geodesic, is_pair, kind) if is_plain else None,
    )


def _groups(is_pair, z):
    """Return which outputs belong together, (groups, k)."""
    m = z.shape[-1]
    if m < 2 or (is_pair and m % 2):
        raise bad_value(
            "model",
            "return first concentrations and then as many second ones"
            if is_pair
            else "return at least two concentrations for each input",
            f"its output has shape {tuple(z.shape)}",
        )
    every = torch.arange(m, device=z.device)
    return every.reshape(2, -1).mT if is_pair else every[None]


def _concentrations_scaled_factor(log_concentration, is_pair, z, derivative):
    logs, slopes = z, None
    if log_concentration is not None:
        logs, slopes = torch.func.jvp(log_concentration, (z,), (torch.ones_like(z),))
    pieces = []
    for index in _groups(is_pair, z):
        own = None if slopes is None else slopes[:, index]
        moved = _Logarithms(derivative, index, own)
        pieces += _dirichlet_pieces(logs[:, index], moved, z.shape[1])
    rows, log_scales = (torch.cat(parts, dim=1) for parts in zip(*pieces, strict=True))
    log_scales, order = torch.sort(log_scales, dim=1, descending=True, stable=True)
    return rows.gather(1, order[..., None].expand_as(rows)), log_scales


def _dirichlet_pieces(logs, moved, num_outputs):
    r"""Return rows and scales of the two parts of the metric, for velocities w of log a.

    With p = a / S, m = sum p_i w_i, and f(a) = a^2 psi_1(a) - a between 1/2 and 1, it is

        S sum p_i (w_i - m)^2 + sum f(a_i) w_i^2 - f(S) m^2.

    The first part is S times the metric of the categorical distribution of the logits log a. The
    matrix of the second is D (1 - u u') D with D_i = sqrt(f(a_i)) and u_i = p_i sqrt(f(S)) / D_i,
    whose root is 1 - u u' / (1 + s) with s^2 = 1 - u'u, a sum of positive terms.
    """
    rows, log_scales = _categorical_scaled_factor(logs, moved)
    log_sum = torch.logsumexp(logs, dim=-1, keepdim=True)
    log_p = logs - log_sum
    p, others = log_p.exp(), _others(log_p.exp())
    bound = 0.5 * math.log(torch.finfo(logs.dtype).max)  # beyond, f is 1 or 1/2 to all digits
    near = logs.clamp(-bound, bound)
    f = _special.trigamma_excess(near.exp(), xp)
    is_top = p > 0.5  # its distance from the sum is rounded in the logarithms
    top_gap = torch.log1p(others / torch.where(is_top, p, 1.0))
    gap = torch.where(is_top, top_gap, log_sum.clamp(-bound, bound) - near)
    fall = excess_fall(near, gap, xp)
    square = p * p * (1.0 - fall / f)  # of u
    s = (p * (others + p * (fall / f))).sum(-1, keepdim=True).sqrt()
    u, size = square.sqrt(), f.sqrt()
    on_diagonal = (s + s * s + _others(square)) / (1.0 + s)
    across = -u[..., :, None] * (u / (1.0 + s))[..., None, :]
    is_own = torch.eye(u.shape[-1], dtype=torch.bool, device=u.device)
    weights = torch.where(is_own, on_diagonal[..., None], across) * size[..., None, :]
    sizes = weights.abs().amax(-1, keepdim=True)
    sizes = torch.where(sizes > 0.0, sizes, 1.0)
    whole = moved.combinations(weights / sizes, num_outputs), sizes[..., 0].log()
    return (rows, log_scales + 0.5 * log_sum), whole


def _others(x):
    """Return the sum of all other entries, which is no difference."""
    mask = 1.0 - torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return x @ mask


def _concentration_points(is_pair, kind, logs):
    """Return the points of logarithms, in float64, whose range is wider."""
    require_exponentials(logs, -700.0, xp)
    a = logs.to(torch.float64).exp()
    return kind(*a.chunk(2, dim=-1), check=False) if is_pair else kind(a, check=False)


def _concentrations_distance(log_concentration, is_pair, kind, z, w):
    _groups(is_pair, z)
    ends = (z, w) if log_concentration is None else map(log_concentration, (z, w))
    points = (_concentration_points(is_pair, kind, y) for y in ends)
    d = manifolds.fisher_rao_distance(*points, check=False).to(z.dtype)
    return _array.norm(d, xp) if is_pair else d


def _concentrations_geodesic(is_pair, kind, z, w, t):
    points = (_concentration_points(is_pair, kind, y) for y in (z, w))
    path = manifolds.fisher_rao_geodesic(*points, t.to(torch.float64), check=False)
    return torch.cat(fields(path), dim=-1).log().to(z.dtype)


# ---------------------------------------------------------------- several heads at once


@dataclass(frozen=True)
class _Part:
    """The derivatives of z[:, start : start + size] as a head sees them that knows no others."""

    whole: object
    start: int
    num_after: int

    def outputs(self, i):
        return self.whole.outputs(i + self.start)

    def differences(self, i, j):
        return self.whole.differences(i + self.start, j + self.start)

    def combinations(self, weights):
        return self.whole.combinations(
            torch.nn.functional.pad(weights, (self.start, self.num_after))
        )


def product(*parts: tuple[Head, int]) -> Head:
    r"""Return the head of outputs that stand for several things, independent given the input.

    .. math:: |dz|^2 = \textstyle\sum_k |dz_k|_k^2, \qquad
              d(z, w) = \sqrt{\textstyle\sum_k d_k(z_k, w_k)^2}

    Parameters
    ----------
    *parts : (Head, int)
        For each part its head and how many outputs belong to it, in the order of the outputs.

    Returns
    -------
    Head
        It knows distances and geodesics if all parts do. Its boundary distance is the smallest of
        the parts', its Lipschitz constant the largest.

    Raises
    ------
    TypeError, ValueError
        Parts that are not pairs of a head and a positive number of outputs.

    Examples
    --------
    A detector that returns the class of an object, out of three, and its position to 0.1:

    >>> import torch
    >>> from infogeo.pullback import PullbackMetric, heads
    >>> head = heads.product((heads.categorical, 3), (heads.normal_fixed_std(0.1), 2))
    >>> metric = PullbackMetric(lambda x: x, head)
    >>> x0, x1 = torch.zeros(1, 5), torch.tensor([[0.0, 0.0, 0.0, 0.3, 0.4]])
    >>> metric.output_distance(x0, x1)
    tensor([5.])
    """
    parts = tuple(_checked_part(part) for part in parts)
    if not parts:
        raise bad_value("parts", "hold at least one (Head, number of outputs)", "there are none")
    known = [head for head, _ in parts]
    constants = [h.lipschitz_constant for h in known if h.lipschitz_constant is not None]
    return Head(
        functools.partial(_factor, functools.partial(_product_scaled_factor, parts)),
        functools.partial(_product_distance, parts) if all(h.distance for h in known) else None,
        functools.partial(_product_scaled_factor, parts),
        functools.partial(_product_boundary_distance, parts)
        if any(h.boundary_distance for h in known)
        else None,
        max(constants) if len(constants) == len(known) else None,
        all(h.allows_masks for h in known),
        functools.partial(_product_geodesic, parts) if all(h.geodesic for h in known) else None,
    )


def _checked_part(part):
    try:
        head, size = part
    except TypeError:
        head = size = None
    if not isinstance(head, Head):
        raise TypeError(
            f"parts must be pairs (Head, number of outputs): got {part!r}. "
            "For instance: product((heads.categorical, 10), (heads.bernoulli, 3))."
        )
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise bad_value("parts", "have a positive number of outputs each", f"got {size!r}")
    return head, size


def _pieces(parts, z):
    """Yield each head, its outputs and where they begin."""
    total = sum(size for _, size in parts)
    if z.shape[-1] != total:
        raise bad_value(
            "model",
            f"return {total} outputs, as many as the parts of the head",
            f"its output has shape {tuple(z.shape)}",
        )
    start = 0
    for head, size in parts:
        yield head, z[..., start : start + size], start
        start += size


def _product_scaled_factor(parts, z, derivative):
    pieces = [
        apply_head(head, piece, _Part(derivative, start, z.shape[-1] - start - piece.shape[-1]))
        for head, piece, start in _pieces(parts, z)
    ]
    rows, log_scales = zip(*pieces, strict=True)
    return torch.cat(rows, dim=1), torch.cat(log_scales, dim=1)


def _product_distance(parts, z, w):
    pairs = zip(_pieces(parts, z), _pieces(parts, w), strict=True)
    distances = [head.distance(one, other) for (head, one, _), (_, other, _) in pairs]
    return _array.norm(torch.stack(distances, dim=-1), xp)


def _product_geodesic(parts, z, w, t):
    """Return the geodesics of the parts, all at the same time: each at its own constant speed."""
    pairs = zip(_pieces(parts, z), _pieces(parts, w), strict=True)
    return torch.cat([head.geodesic(a, b, t) for (head, a, _), (_, b, _) in pairs], dim=-1)


def _product_boundary_distance(parts, z):
    """Return the smallest: a path that changes one decision need not move the other parts."""
    distances = [
        head.boundary_distance(piece)
        for head, piece, _ in _pieces(parts, z)
        if head.boundary_distance is not None
    ]
    return torch.stack(distances, dim=-1).amin(-1)


finish(globals())
