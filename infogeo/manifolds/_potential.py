r"""The calculus of a log-partition: derivatives by torch, of single points (k,).

The Fisher metric of natural parameters is the second derivative of the log-partition
:math:`\psi`. With its third derivative T the Christoffel symbols are :math:`\tfrac12 H^{-1} T`, and
the curvature of a plane needs no more than T. Other parameters come in through a chart.

Differences of near points are integrals of derivatives, by Gauss' rule: nothing cancels. Those of
far points are differences. The one whose error is estimated to be smaller is taken.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_RULES = [np.polynomial.legendre.leggauss(n) for n in (20, 14)]
_NODES = 0.5 * (np.concatenate([nodes for nodes, _ in _RULES]) + 1.0)
_WEIGHTS = [0.5 * weights for _, weights in _RULES]
_EPS = float(np.finfo(np.float64).eps)
# Newton's method for means of statistics ends at a step of this Fisher length, or where a step
# below the second one is rounding: the next is no shorter. The step before must not have changed
# the metric: towards a boundary the steps become as short, but each changes it by a factor.
_SHORT, _ROUNDING, _MAX_STEPS = 1e-9, 1e-4, 100


@dataclass(frozen=True)
class Potential:
    """A log-partition with the chart of its points.

    Parameters
    ----------
    psi : callable
        The log-partition of natural parameters (k,).
    to_natural, from_natural : callable or None
        Between the parameters of points and the natural ones; None if these are the same.
    """

    psi: Callable[[Any], Any]
    to_natural: Callable[[Any], Any] | None
    from_natural: Callable[[Any], Any] | None

    def theta(self, x: Any) -> Any:
        """Return the natural parameters of a point."""
        return x if self.to_natural is None else self.to_natural(x)

    def point(self, theta: Any) -> Any:
        """Return the point of natural parameters."""
        return theta if self.from_natural is None else self.from_natural(theta)

    def slope(self, theta: Any) -> Any:
        """Return the means of the sufficient statistics."""
        import torch

        return torch.func.grad(self.psi)(theta)

    def hessian(self, theta: Any) -> Any:
        """Return the Fisher information of natural parameters."""
        import torch

        return torch.func.jacrev(self.slope)(theta)

    def moved(self, theta: Any, p: Any) -> Any:
        """Return the velocity of the means of the statistics, from that of theta."""
        import torch

        return torch.func.grad(lambda y: (self.slope(y) * p).sum())(theta)

    def jacobian(self, x: Any) -> Any:
        """Return the derivative of the natural parameters by those of the point."""
        import torch

        return torch.func.jacrev(self.theta)(x)

    def pushed(self, x: Any, *vectors: Any) -> tuple[Any, ...]:
        """Return the velocities of the natural parameters."""
        if self.to_natural is None:
            return vectors
        jacobian = self.jacobian(x)
        return tuple(jacobian @ v for v in vectors)

    def pulled(self, x: Any, w: Any) -> Any:
        """Return the velocity of the parameters of a point, from that of the natural ones."""
        return w if self.to_natural is None else solved(self.jacobian(x), w)

    # ------------------------------------------------------------ metric, connection, curvature

    def metric(self, x: Any, u: Any, v: Any) -> Any:
        """Return the inner product of two velocities at a point."""
        p, q = self.pushed(x, u, v)
        return (self.moved(self.theta(x), p) * q).sum()

    def information(self, x: Any) -> Any:
        """Return the Fisher information of the parameters of a point."""
        matrix = self.hessian(self.theta(x))
        if self.to_natural is None:
            return matrix
        jacobian = self.jacobian(x)
        return jacobian.mT @ matrix @ jacobian

    def bend(self, x: Any, u: Any, v: Any) -> Any:
        """Return minus the Christoffel symbols times two velocities.

        Twice the same velocity of a geodesic gives its second derivative.
        """
        if self.to_natural is None:
            return -0.5 * solved(self.hessian(x), self._third(x, u, v))
        theta, (curves, jacobian) = self.theta(x), _with_slope(self.jacobian, x)
        covector = self._third(theta, jacobian @ u, jacobian @ v)
        w = 0.5 * solved(self.hessian(theta), covector) + curves @ v @ u
        return -solved(jacobian, w)

    def carried(self, x: Any, y: Any, v: Any) -> Any:
        """Return the velocity at y that moves the means of the statistics as v at x does."""
        covector = self.moved(self.theta(x), *self.pushed(x, v))
        return self.pulled(y, solved(self.hessian(self.theta(y)), covector))

    def curvature(self, x: Any, u: Any, v: Any) -> Any:
        """Return the sectional curvature of the plane of two velocities; NaN if it is none."""
        theta, (p, q) = self.theta(x), self.pushed(x, u, v)
        matrix = self.hessian(theta)
        square = (p * (matrix @ p)).sum()
        q = q - (p * (matrix @ q)).sum() / square * p
        mixed, first, second = (self._third(theta, *pair) for pair in ((p, q), (p, p), (q, q)))
        excess = (mixed * solved(matrix, mixed)).sum() - (first * solved(matrix, second)).sum()
        return 0.25 * excess / (square * (q * (matrix @ q)).sum())

    def _third(self, theta: Any, p: Any, q: Any) -> Any:
        """Return the third derivative of the log-partition along two directions, a covector."""
        import torch

        return torch.func.grad(lambda y: (self.moved(y, p) * q).sum())(theta)

    def doubt(self, x: Any, v: Any) -> Any:
        """Return a lower bound on the relative error of the squared speed of a velocity.

        Along a step of Fisher length 1/2 the integral of the second derivative is compared with the
        difference of the first, which is right to its rounding.
        """
        a, (p,) = self.theta(x), self.pushed(x, v)
        d = 0.5 * p / (self.moved(a, p) * p).sum().sqrt()
        fine, coarse = _integrals(lambda s: (self.moved(a + s * d, d) * d).sum(), d)
        ends = self.slope(a), self.slope(a + d)
        rounding = 8.0 * _EPS * (d.abs() * (ends[0].abs() + ends[1].abs() + a.abs())).sum()
        apart = (fine - (d * (ends[1] - ends[0])).sum()).abs() - rounding - (fine - coarse).abs()
        share = (apart / fine).clamp(min=0.0).nan_to_num(0.0, 0.0, 0.0)
        return self.psi(a + d).isfinite() * share  # nothing is said where the step leads outside

    # ------------------------------------------------------------ differences

    def step(self, x: Any, y: Any) -> Any:
        """Return the difference of the natural parameters of two points."""
        if self.to_natural is None:
            return y - x
        a, b, d = self.theta(x), self.theta(y), y - x
        fine, coarse = _integrals(lambda s: self.pushed(x + s * d, d)[0], d)
        is_exact = (fine - coarse).abs() <= _EPS * (a.abs() + b.abs() + 8.0 * fine.abs())
        return _chosen(is_exact, fine, b - a)

    def kl(self, a: Any, d: Any) -> Any:
        """Return the Kullback-Leibler divergence from natural parameters a to a + d."""

        def density(s: Any) -> Any:
            return (1.0 - s) * (self.moved(a + s * d, d) * d).sum()

        fine, coarse = _integrals(density, d)
        linear = d * self.slope(a)
        ends = self.psi(a), self.psi(a + d)
        sizes = abs(ends[0]) + abs(ends[1]) + linear.abs().sum()
        is_exact = (fine - coarse).abs() <= _EPS * (sizes + 8.0 * fine.abs())
        return _chosen(is_exact, fine, ends[1] - ends[0] - linear.sum())

    def renyi(self, x: Any, y: Any, order: float) -> Any:
        """Return the Renyi divergence of a finite order, inf where it does not exist.

        It is the mean of the divergences from the point between to both.
        """
        a, d = self.theta(x), self.step(x, y)
        if order == 1.0:
            return self.kl(a, d)
        share = 1.0 - order
        is_inside = self.psi(a + share * d).isfinite()
        share = is_inside * share
        between = a + share * d
        made = order / (1.0 - order) * self.kl(between, -share * d)
        made = made + self.kl(between, (1.0 - share) * d)
        return _chosen(is_inside, made, made * 0.0 + float("inf"))


def over(function: Callable[..., Any], *tensors: Any) -> Any:
    """Return a function of single points (k,) for all points of batches that broadcast."""
    import torch

    shapes = torch.broadcast_shapes(*(x.shape for x in tensors))
    batch, num = shapes[:-1], shapes[:-1].numel()
    flat = [x.broadcast_to(shapes).reshape(num, shapes[-1]) for x in tensors]
    if num == 0:  # torch maps nothing over an empty batch
        flat = [x.new_ones(1, shapes[-1]) for x in flat]
    made = torch.func.vmap(function)(*flat)[:num]
    return made.reshape((*batch, *made.shape[1:]))


def solved(matrix: Any, vector: Any) -> Any:
    """Return the solution of a linear system, infinite or NaN for a singular one."""
    import torch

    return torch.linalg.solve_ex(matrix, vector[..., None])[0][..., 0]


def _with_slope(function: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
    """Return the derivative of a function, its axis the last one, and the value."""
    import torch

    def twice(y: Any) -> tuple[Any, Any]:
        value = function(y)
        return value, value

    return torch.func.jacrev(twice, has_aux=True)(x)


def _integrals(density: Callable[[Any], Any], like: Any) -> tuple[Any, Any]:
    """Return the integral of a function over [0, 1] by two rules, the better one first."""
    import torch

    values = torch.func.vmap(density)(like.new_tensor(_NODES))
    parts = values.split([len(weights) for weights in _WEIGHTS])
    fine, coarse = (
        torch.tensordot(like.new_tensor(w), part, dims=1)
        for w, part in zip(_WEIGHTS, parts, strict=True)
    )
    return fine, coarse


def _chosen(condition: Any, first: Any, second: Any) -> Any:
    import torch

    return torch.where(condition, first, second)


# ---------------------------------------------------------------- from means of statistics


def theta_of_means(potential: Potential, eta: Any, start: Any) -> tuple[Any, Any]:
    """Return the natural parameters (n, k) of means (n, k), and the Fisher length of what is left.

    Newton's method on psi(theta) - theta' eta, which is convex, from natural parameters (n, k). The
    last step carries the derivatives by eta: the inverse of the Hessian.
    """
    import torch

    slope, hessian = (torch.func.vmap(f) for f in (potential.slope, potential.hessian))

    def objective(theta: Any) -> Any:
        return torch.func.vmap(potential.psi)(theta) - (theta * eta).sum(-1)

    def is_allowed(theta: Any) -> Any:
        return torch.func.vmap(potential.point)(theta).isfinite().all(-1)

    with torch.no_grad():
        theta, last = start.clone(), torch.full_like(eta[:, 0], float("inf"))
        is_open, matrix = torch.ones_like(last, dtype=torch.bool), hessian(theta)
        before = torch.zeros_like(matrix)
        for _ in range(_MAX_STEPS):
            gradient, value = eta - slope(theta), objective(theta)
            step = solved(matrix, gradient)
            size = (step * gradient).sum(-1).abs().sqrt()
            is_short = (size <= _SHORT) & _is_even(before, matrix, 1e-6)
            is_rounding = (size < _ROUNDING) & (size > 0.5 * last) & _is_even(before, matrix, 0.1)
            last = torch.where(is_open, size, last)
            is_open = is_open & ~is_short & ~is_rounding
            if not is_open.any():
                break
            share = is_open.to(size.dtype)
            slack = 64.0 * _EPS * (1.0 + value.abs() + (theta * eta).abs().sum(-1))
            for _ in range(90):
                tried = theta + share[:, None] * step
                goal = value - 1e-4 * share * size**2 + slack
                is_good = (objective(tried) <= goal) & is_allowed(tried)
                if (is_good | ~is_open).all():
                    break
                share = torch.where(is_good, share, 0.5 * share)
            theta = torch.where((is_open & is_good)[:, None], tried, theta)
            last = torch.where(is_open & ~is_good, float("inf"), last)
            is_open = is_open & is_good
            is_whole = (share == 1.0)[:, None, None]
            before, matrix = torch.where(is_whole, matrix, 0.0), hessian(theta)
        left = torch.where(is_open | ~_is_known(theta, eta, slope, hessian), float("inf"), last)
    return theta + solved(hessian(theta), eta - slope(theta)), left


def _is_even(first: Any, second: Any, share: float) -> Any:
    """Tell whether two metrics differ by no more than a share of the first, in all directions."""
    import torch

    scale = first.diagonal(dim1=-2, dim2=-1).sqrt()
    change = torch.linalg.solve_ex(first, second - first)[0] * scale[..., None]
    return torch.linalg.matrix_norm(change / scale[..., None, :]) <= share


def _is_known(theta: Any, eta: Any, slope: Any, hessian: Any) -> Any:
    """Tell whether natural parameters are those of their means, also if these are a bit off."""
    import torch

    matrix, off = hessian(theta), 16.0 * _EPS * eta
    variances = matrix.diagonal(dim1=-2, dim2=-1)
    scale = variances.sqrt()
    unit = (matrix / scale[..., None] / scale[..., None, :]).nan_to_num(0.0, 0.0, 0.0)
    known = torch.linalg.eigvalsh(unit)[..., 0] > 1e-14
    steps = torch.linalg.solve_ex(matrix, torch.diag_embed(off))[0]
    for i, step in enumerate(steps.unbind(-1)):
        moved = (slope(theta + step) - slope(theta))[..., i]
        # A variance as small as this may be the rounding of a square.
        is_real = variances[..., i] > _EPS * 16.0 * eta[..., i] ** 2
        is_real |= (moved - off[..., i]).abs() <= 0.5 * off[..., i].abs()
        known &= is_real & _is_even(matrix, hessian(theta + step), 0.1)
    return known
