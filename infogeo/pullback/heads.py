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
- ``product(*parts)``: the outputs of its parts in turn, the sum of theirs, the largest constant.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from array_api_compat import torch as xp

from infogeo import _array, logits
from infogeo import normal as normals
from infogeo._array import bad_value
from infogeo.pullback._derivatives import apply_head

__all__ = [
    "Head",
    "bernoulli",
    "categorical",
    "normal",
    "normal_fixed_std",
    "poisson",
    "product",
]


@dataclass(frozen=True)
class Head:
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


@dataclass(frozen=True)
class _Outputs:
    """The outputs as functions of themselves: their derivatives are rows of the identity."""

    z: torch.Tensor

    def outputs(self, i):
        return torch.nn.functional.one_hot(i, self.z.shape[1]).to(self.z)

    def differences(self, i, j):
        return self.outputs(i) - self.outputs(j)

    def combinations(self, weights):
        return weights


def _factor(scaled_factor, z):
    """Return A(z), shape (batch, r, m), from the factor of a network."""
    rows, log_scales = scaled_factor(z, _Outputs(z))
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
    return 2.0 * torch.asin(_array.boundary_sine(z, xp))


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


# ---------------------------------------------------------------- labels, each for itself


def _bernoulli_scaled_factor(z, derivative):
    """Return the rows dz_i with the logarithms of sqrt(p_i (1 - p_i)) = 1 / (2 cosh(z_i / 2))."""
    size = z.abs()
    return _diagonal(-0.5 * size - torch.log1p(torch.exp(-size)), derivative)


def _bernoulli_distance(z, w):
    return _array.norm(logits.fisher_rao_distance(_pair(z), _pair(w), check=False), xp)


def _bernoulli_geodesic(z, w, t):
    path = logits.fisher_rao_geodesic(_pair(z), _pair(w), t, check=False)
    return path[..., 1] - path[..., 0]


def _pair(z):
    """Return the logits (0, z) of the two outcomes of each label."""
    return torch.stack([torch.zeros_like(z), z], dim=-1)


def _bernoulli_boundary_distance(z):
    """Return the smallest |theta - pi / 2| of the angles with p = sin^2(theta / 2).

    Each label is decided at p = 1/2 and moves in its own factor of the product, so that the
    nearest other decision changes the one label nearest to 1/2.
    """
    return 2.0 * torch.atan(torch.tanh(0.25 * z.abs().amin(-1)))


bernoulli = _head(
    _bernoulli_scaled_factor,
    _bernoulli_distance,
    boundary_distance=_bernoulli_boundary_distance,
    lipschitz_constant=0.5,
    geodesic=_bernoulli_geodesic,
)
"""A logit for each of m labels that hold or not independently: p = sigmoid(z)."""


# ---------------------------------------------------------------- numbers and counts


def _normal_scaled_factor(z, derivative):
    """Return the rows dmu_i and dlog s_i with the logarithms of 1 / s_i and sqrt 2."""
    _, log_std = _means_and_log_stds(z)
    return _diagonal(
        torch.cat([-log_std, torch.full_like(log_std, 0.5 * math.log(2.0))], dim=-1), derivative
    )


def _normal_distance(z, w):
    r"""Return the root of the sum of squares of the hyperbolic distances of the components.

    With l the difference of the log stds and g their mean, the distance of one component is
    2 sqrt2 arcsinh(hypot(sinh(l / 2), dmu exp(-g) / sqrt 8)). No std is formed: where the terms
    reach exp(20), the larger one is taken out, and arcsinh x is log 2x to rounding.
    """
    (mean_z, log_z), (mean_w, log_w) = _means_and_log_stds(z), _means_and_log_stds(w)
    step = (mean_z - mean_w).abs()
    half, level = 0.5 * (log_z - log_w).abs(), 0.5 * (log_z + log_w)
    log_step = torch.where(step > 0.0, step, 1.0).log()
    t = torch.where(step > 0.0, log_step - level, half).maximum(half)
    is_far = t > 20.0
    t = torch.where(is_far, t, 0.0)
    root = torch.where(step > 0.0, 0.5 * (-level - t), 0.0).exp()
    across = root * (root * step) / math.sqrt(8.0)
    along = -0.5 * torch.expm1(-2.0 * half) * torch.exp(half - t)
    scaled = _array.norm(torch.stack([across, along], dim=-1), xp)
    arc = torch.where(is_far, t + torch.where(is_far, 2.0 * scaled, 1.0).log(), scaled.asinh())
    return _array.norm(2.0 * math.sqrt(2.0) * arc, xp)


def _normal_geodesic(z, w, t):
    """Return semicircles of the half-plane; stds in the widest dtype, where their range is."""
    wide = _array.widest_dtype(z, xp)
    ends = (_means_and_log_stds(y.to(wide)) for y in (z, w))
    a, b = (normals.Normal(mean, log_std.exp(), check=False) for mean, log_std in ends)
    path = normals.fisher_rao_geodesic(a, b, t.to(wide), check=False)
    return torch.cat([path.mean, path.std.log()], dim=-1).to(z.dtype)


def _means_and_log_stds(z):
    if z.shape[-1] % 2:
        raise bad_value(
            "model",
            "return means and then as many logarithms of standard deviations",
            f"its output has shape {tuple(z.shape)}",
            "If the standard deviations are known, use heads.normal_fixed_std(std).",
        )
    return z.chunk(2, dim=-1)


normal = _head(
    _normal_scaled_factor,
    _normal_distance,
    lipschitz_constant=math.inf,
    geodesic=_normal_geodesic,
)
"""Means and logarithms of the standard deviations of independent normals: z = (mu, log s)."""


def normal_fixed_std(std):
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


def _poisson_scaled_factor(z, derivative):
    return _diagonal(0.5 * z, derivative)


def _poisson_distance(z, w):
    """Return the distance of the points 2 sqrt(rate), in which the metric is flat."""
    decrease = -2.0 * _array.expm1(-0.5 * (z - w).abs(), xp)
    steps = _array.times_exp(decrease, 0.5 * torch.maximum(z, w), xp)
    is_finite = steps.amax(-1, keepdim=True) < math.inf
    return _array.norm(torch.where(is_finite, steps, 0.0), xp).where(is_finite[..., 0], math.inf)


def _poisson_geodesic(z, w, t):
    """Return the straight line between the roots of the rates."""
    t = t[:, None, None]
    return 2.0 * torch.logaddexp(0.5 * z + torch.log1p(-t), 0.5 * w + t.log())


poisson = _head(
    _poisson_scaled_factor,
    _poisson_distance,
    lipschitz_constant=math.inf,
    geodesic=_poisson_geodesic,
)
"""Logarithms of the rates of independent Poisson distributions: rate = exp(z)."""


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


def product(*parts):
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
    constants = [head.lipschitz_constant for head in known]
    return Head(
        functools.partial(_factor, functools.partial(_product_scaled_factor, parts)),
        functools.partial(_product_distance, parts) if all(h.distance for h in known) else None,
        functools.partial(_product_scaled_factor, parts),
        functools.partial(_product_boundary_distance, parts)
        if any(h.boundary_distance for h in known)
        else None,
        None if None in constants else max(constants),
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
