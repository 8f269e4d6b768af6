"""The pullback metric of a classifier by its textbook formula and at many digits."""

import math

import mpmath
import numpy as np
import torch


def jacobian(net, x):
    """J of each sample, one at a time, shape (batch, c, d)."""
    rows = [torch.autograd.functional.jacobian(net, sample[None])[0, :, 0] for sample in x]
    return torch.stack([row.reshape(len(row), -1) for row in rows])


def dense_matrix(net, x):
    """J'(diag p - p p')J as the textbook has it."""
    J = jacobian(net, x)
    p = torch.softmax(net(x).detach(), -1)
    return J.mT @ (torch.diag_embed(p) - p[:, :, None] * p[:, None, :]) @ J


def exact_log_eigenvalues(J, z):
    """Logarithms of the eigenvalues of G for one sample, at as many digits as z needs."""
    c, d = J.shape
    with mpmath.workdps(60 + int(2 * (max(z) - min(z)) / math.log(10))):
        p = [mpmath.exp(mpmath.mpf(float(value))) for value in z]
        p = [value / mpmath.fsum(p) for value in p]
        J = mpmath.matrix(J.tolist())
        if d < c:
            F = mpmath.diag(p) - mpmath.matrix(p) * mpmath.matrix(p).T
            small = J.T * F * J
        else:  # F = B'B with rows sqrt(p_i) (e_i - p): the same eigenvalues as those of B J J'B'
            mean = mpmath.matrix(p).T * J
            B = mpmath.matrix(c, d)
            for i in range(c):
                for j in range(d):
                    B[i, j] = mpmath.sqrt(p[i]) * (J[i, j] - mean[j])
            small = B * B.T
        values = sorted(mpmath.eigsy(small, eigvals_only=True), reverse=True)
        return np.array([float(mpmath.log(abs(value))) for value in values[: min(c - 1, d)]])


def exact_norm(J, z, v):
    """sqrt(sum_i p_i (a_i - mean a)^2) for a = J v, at 600 digits."""
    with mpmath.workdps(600):
        p = [mpmath.exp(mpmath.mpf(float(value))) for value in z]
        p = [value / mpmath.fsum(p) for value in p]
        a = mpmath.matrix(J.tolist()) * mpmath.matrix(v.tolist())
        mean = mpmath.fsum(w * value for w, value in zip(p, a, strict=True))
        return mpmath.sqrt(mpmath.fsum(w * (y - mean) ** 2 for w, y in zip(p, a, strict=True)))
