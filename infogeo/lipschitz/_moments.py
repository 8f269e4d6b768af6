r"""Moments of functions of normals: kinks, squares and smooth functions.

A function with kinks is affine but for rectified normals r = max(0, v), whose v are given a mean
of at most 0 by their sign: then nothing cancels in the tails. With t = -mean(v) / std(v),

.. math:: J_n(t) = \frac1{n!} \int_0^\infty x^n \varphi(x + t)\, dx, \qquad
          P(v > 0) = J_0, \quad E[r] = s J_1, \quad E[r^2] = 2 s^2 J_2,

and for two of them with correlation :math:`\varrho`, by Price's theorem applied twice,

.. math:: \operatorname{Cov}(r, r') = s s' \Bigl(\varrho J_0(t) J_0(t') +
          \int_0^\varrho (\varrho - \tau)\, \varphi_2(t, t'; \tau)\, d\tau\Bigr).
"""

import math

import numpy as np
import torch

_ANGLES, _ANGLE_WEIGHTS = (x.tolist() for x in np.polynomial.legendre.leggauss(32))
_FARTHEST = 1e3  # in standard deviations; beyond 39 all of it is 0 in float64


# ---------------------------------------------------------------- kinks at 0


def two_slopes(negative, positive, mean, cov):
    """Return the moments of negative * min(0, x) + positive * max(0, x)."""
    is_positive = mean > 0.0
    ones = torch.ones_like(mean)
    linear = torch.where(is_positive, positive * ones, negative * ones)
    sign = torch.where(is_positive, -ones, ones)
    jump = (positive - negative) * torch.eye(mean.shape[-1]).to(mean)
    return _with_rectified(torch.diag_embed(linear), torch.diag_embed(sign), jump, mean, cov)


def sorted_pairs(mean, cov):
    """Return the moments of (min, max) of neighbouring features."""
    size = mean.shape[-1]
    identity = torch.eye(size).to(mean)
    first, second = identity[::2], identity[1::2]
    is_ascending = (mean[..., 1::2] > mean[..., ::2])[..., None]
    low, high = torch.where(is_ascending, first, second), torch.where(is_ascending, second, first)
    # min = low - max(0, low - high), max = high + max(0, low - high)
    linear = torch.stack((low, high), dim=-2).flatten(-3, -2)
    return _with_rectified(linear, low - high, second.mT - first.mT, mean, cov)


def _with_rectified(linear, inner, outer, mean, cov):
    """Return the moments of linear x + outer max(0, inner x), where inner x has a mean <= 0."""
    probability, rectified, variation = _rectified(
        (inner @ mean[..., None])[..., 0], inner @ cov @ inner.mT
    )
    cross = linear @ cov @ inner.mT * probability[..., None, :] @ outer.mT  # Stein's lemma
    out = linear @ mean[..., None] + outer @ rectified[..., None]
    return out[..., 0], linear @ cov @ linear.mT + cross + cross.mT + outer @ variation @ outer.mT


def _rectified(mean, cov):
    """Return P(v > 0), and mean and covariance of max(0, v), for v of mean <= 0."""
    variance = cov.diagonal(dim1=-2, dim2=-1)
    is_fixed = variance <= 0.0
    safe = torch.where(is_fixed, 1.0, variance).sqrt()
    std = torch.where(is_fixed, 0.0, safe)
    t = torch.where(is_fixed, _FARTHEST, (-mean / safe).clamp(0.0, _FARTHEST))
    j0, j1, j2 = _tail_moments(t)
    is_diagonal = torch.eye(t.shape[-1], dtype=torch.bool, device=t.device)
    rho = torch.where(is_diagonal, 0.0, cov / (safe[..., :, None] * safe[..., None, :]))
    pairs = rho * j0[..., :, None] * j0[..., None, :] + _orthant_integral(t, rho)
    pairs = torch.where(is_diagonal, (2.0 * j2 - j1 * j1)[..., None], pairs)
    return j0, std * j1, std[..., :, None] * std[..., None, :] * pairs


def _tail_moments(t):
    """Return J_0, J_1, J_2 for t >= 0, with full relative precision.

    The recurrence n J_n = J_(n-2) - t J_(n-1) cancels as it stands. Run backwards, as the
    continued fraction of the ratios q_n = J_n / J_(n-1), it adds positive numbers only.
    """
    density = torch.exp(-0.5 * t * t) / math.sqrt(2.0 * math.pi)
    far = t.clamp_min(2.0)
    num_terms = 110
    q = 2.0 / (far + torch.sqrt(far * far + 4.0 * num_terms))  # where the ratios settle
    ratios = []
    for n in range(num_terms, 0, -1):
        q = 1.0 / (far + n * q)
        if n <= 3:
            ratios.append(q)
    q2, q1, q0 = ratios
    near = t.clamp_max(2.0)
    n0 = torch.special.ndtr(-near)
    n1 = torch.exp(-0.5 * near * near) / math.sqrt(2.0 * math.pi) - near * n0
    is_near = t < 2.0
    j0 = torch.where(is_near, n0, density * q0)
    j1 = torch.where(is_near, n1, density * q0 * q1)
    j2 = torch.where(is_near, 0.5 * (n0 - near * n1), density * q0 * q1 * q2)
    return j0, j1, j2


def _orthant_integral(t, rho):
    """Return the integral of (rho - r) phi_2(t, t'; r) over r from 0 to rho, r = sin(angle)."""
    limit = 1.0 - 2.0**-50  # the derivative of arcsin at 1 is infinite
    angle = torch.asin(rho.clamp(-limit, limit))
    gap = 0.5 * (t[..., :, None] - t[..., None, :]).square()
    product = t[..., :, None] * t[..., None, :]
    total = torch.zeros_like(rho)
    for node, weight in zip(_ANGLES, _ANGLE_WEIGHTS, strict=True):
        theta = 0.5 * (1.0 + node) * angle
        sine = theta.sin()
        exponent = gap / theta.cos().square() + product / (1.0 + sine)
        total = total + weight * (rho - sine) * torch.exp(-exponent)
    return total * angle / (4.0 * math.pi)


# ---------------------------------------------------------------- squares, smooth functions


def squares(mean, cov):
    """Return the moments of x^2, feature by feature."""
    product = mean[..., :, None] * mean[..., None, :]
    variance = cov.diagonal(dim1=-2, dim2=-1)
    return mean * mean + variance, 2.0 * cov * (2.0 * product + cov)


def smooth(function, mean, cov, num_nodes):
    """Return the moments of function(x), feature by feature.

    In normalised Hermite polynomials h_k, f(mean + std z) = sum_k c_k h_k(z), and two features
    have the covariance sum_k rho^k c_k c_k' (Mehler); k = 0 is the mean.
    """
    variance = cov.diagonal(dim1=-2, dim2=-1)
    is_fixed = variance <= 0.0
    safe = torch.where(is_fixed, 1.0, variance).sqrt()
    nodes, basis = _hermite(num_nodes)
    nodes, basis = torch.from_numpy(nodes).to(mean), torch.from_numpy(basis).to(mean)
    values = function(mean + torch.where(is_fixed, 0.0, safe) * nodes.view(-1, *[1] * mean.ndim))
    coefficients = torch.tensordot(basis, values, dims=1)
    is_diagonal = torch.eye(mean.shape[-1], dtype=torch.bool, device=mean.device)
    rho = cov / (safe[..., :, None] * safe[..., None, :])
    rho = torch.where(is_diagonal, 1.0, rho.clamp(-1.0, 1.0))
    total = torch.zeros_like(cov)
    for c in coefficients[1:].flip(0):  # Horner's scheme
        total = rho * (total + c[..., :, None] * c[..., None, :])
    return coefficients[0], total


def _hermite(num_nodes):
    """Return the nodes, and the matrix from values there to coefficients c_k."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(num_nodes)
    rows = [np.ones(num_nodes), nodes]
    for k in range(2, num_nodes):
        rows.append((nodes * rows[-1] - math.sqrt(k - 1) * rows[-2]) / math.sqrt(k))
    return nodes, np.stack(rows) * (weights / weights.sum())
