"""Gradients of distances between saturated predictions, against closed forms."""

import math

import numpy as np
import pytest
import torch

from infogeo import logits


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
