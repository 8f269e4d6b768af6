"""Gradients of distances between saturated predictions, against closed forms."""

import math

import numpy as np
import pytest
import torch

from infogeo import logits, normal, robustness
from infogeo.normal import Normal
from infogeo.pullback import heads


def angle_gradient(logit):
    """Return sqrt(p (1 - p)), the derivative of 2 arcsin sqrt(p) by the logit."""
    s = math.exp(-abs(logit))
    return math.exp(-0.5 * abs(logit)) / (1.0 + s)


@pytest.mark.parametrize("logit", [0.0, 1.0, 20.0, 50.0, 200.0, -200.0, 600.0])
@pytest.mark.parametrize("other", [0.5, -190.0])
def test_gradients_of_saturated_pairs_keep_their_digits(logit, other):
    """Those of the class of probability near 1, too: minus the sum of the others."""
    z = torch.tensor([0.0, logit], dtype=torch.float64, requires_grad=True)
    w = torch.tensor([0.0, other], dtype=torch.float64)
    logits.fisher_rao_distance(z, w).backward()
    expected = math.copysign(angle_gradient(logit), logit - other)
    np.testing.assert_allclose(z.grad, [-expected, expected], rtol=1e-10)


def test_gradients_of_saturated_pairs_in_single_precision_and_on_jax():
    jax = pytest.importorskip("jax")
    z = torch.tensor([0.0, 60.0], requires_grad=True)
    logits.fisher_rao_distance(z, torch.tensor([0.0, 0.5])).backward()
    np.testing.assert_allclose(z.grad[1], angle_gradient(60.0), rtol=1e-5)

    def distance(x):
        return logits.fisher_rao_distance(x, jax.numpy.asarray([0.0, 0.5]), check=False)

    grad = jax.grad(distance)(jax.numpy.asarray([0.0, 60.0]))
    np.testing.assert_allclose(grad[1], angle_gradient(60.0), rtol=1e-4)


@pytest.mark.parametrize("gap", [1.0, 30.0, 90.0, 300.0])
def test_gradients_of_other_saturated_quantities_keep_their_digits(gap):
    """Whatever is made of exp(x) - 1: libraries take its derivative as (exp(x) - 1) + 1."""
    z = torch.tensor([gap, 0.0], dtype=torch.float64, requires_grad=True)
    robustness.boundary_distance(z).backward()
    expected = angle_gradient(gap)  # the angle to the boundary is that to p = 1/2
    np.testing.assert_allclose(z.grad[1], -expected, rtol=1e-12)

    mean = torch.tensor(gap, dtype=torch.float64, requires_grad=True)
    other = Normal(torch.zeros_like(mean), 1.0)
    normal.hellinger_distance(Normal(mean, 1.0), other).backward()
    tail = math.exp(-(gap**2) / 8.0)  # H^2 = 1 - tail
    expected = 0.25 * gap * tail / (2.0 * math.sqrt(1.0 - tail))
    np.testing.assert_allclose(mean.grad, expected, rtol=1e-11)

    log_rate = torch.tensor([[-gap]], dtype=torch.float64, requires_grad=True)
    heads.poisson.distance(log_rate, torch.zeros(1, 1, dtype=torch.float64)).sum().backward()
    np.testing.assert_allclose(log_rate.grad, [[-math.exp(-0.5 * gap)]], rtol=1e-12)
