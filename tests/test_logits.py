"""Logits: the distance against 80-digit references, without ever forming probabilities."""

import mpmath
import numpy as np
import pytest

from infogeo import logits, simplex


def exact_distance(z, w):
    with mpmath.workdps(80):
        roots = []
        for row in (z, w):
            e = [mpmath.exp(mpmath.mpf(float(x)) / 2) for x in row]
            norm = mpmath.sqrt(mpmath.fsum(x * x for x in e))
            roots.append([x / norm for x in e])
        chord = mpmath.sqrt(mpmath.fsum((a - b) ** 2 for a, b in zip(*roots, strict=True)))
        return 4 * mpmath.asin(chord / 2)


def relative_error(value, reference):
    return float(abs(mpmath.mpf(float(value)) - reference) / reference)


@pytest.mark.parametrize("num_outcomes", [2, 3, 10, 1000])
@pytest.mark.parametrize("scale", [1.0, 30.0, 700.0])
@pytest.mark.parametrize("separation", [1e-12, 1e-8, 1e-4, 1e-2, 0.3, 3.0, 30.0, 1400.0])
def test_distance_against_80_digits(rng, num_outcomes, scale, separation):
    z = rng.uniform(-scale, scale, num_outcomes)
    z[1] = z[0]  # two classes share the mass, so that the separation shows
    z[2:] -= np.maximum(0.0, z[2:] - z[0])
    w = z + separation * rng.uniform(-1, 1, num_outcomes)
    assert relative_error(logits.fisher_rao_distance(z, w), exact_distance(z, w)) < 1e-13


@pytest.mark.parametrize("constant", [-1e4, 1e3, 12345.678])
def test_the_representative_costs_no_digits(rng, constant):
    z = rng.normal(size=10)
    w = z + 1e-6 * rng.normal(size=10) + constant
    assert relative_error(logits.fisher_rao_distance(z, w), exact_distance(z, w)) < 1e-13


@pytest.mark.parametrize(
    ("z", "w"),
    [
        ([0.0, 0.1, -700.0], [1e-9, 0.1, -705.0]),
        ([0.0, 0.0, -700.0], [0.0, 0.0, -705.0]),
        ([0.0, 0.0, -1300.0], [0.0, 0.0, -1310.0]),
        ([700.0, -700.0], [700.0, -699.0]),
        ([800.0, -600.0, 0.0], [-600.0, 800.0, 0.0]),
    ],
)
def test_tails_count(z, w):
    assert relative_error(logits.fisher_rao_distance(z, w), exact_distance(z, w)) < 1e-13


@pytest.mark.parametrize(
    ("z", "w", "expected"),
    [
        ([0.0, -np.inf], [-np.inf, 0.0], np.pi),
        ([3.0, -np.inf], [7.0, -np.inf], 0.0),
        ([0.0, 0.0, -np.inf], [0.0, 0.0, 0.0], 2 * np.arccos(np.sqrt(2 / 3))),
        ([0.0, 0.0, -np.inf], [0.0, 0.0, -600.0], np.sqrt(2) * np.exp(-300)),
        ([1.0, 2.0, 3.0], [101.0, 102.0, 103.0], 0.0),
    ],
)
def test_closed_values(lib, z, w, expected):
    d = lib.to_numpy(logits.fisher_rao_distance(lib.array(z), lib.array(w)))
    np.testing.assert_allclose(d, expected, rtol=1e-15, atol=1e-29 if expected == 0.0 else 0)


def test_agrees_with_the_simplex(lib, rng):
    z, w = rng.normal(size=(2, 20, 7))
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (z, w))
    d = lib.to_numpy(logits.fisher_rao_distance(lib.array(z), lib.array(w)))
    np.testing.assert_allclose(d, simplex.fisher_rao_distance(p, q), rtol=1e-14)


def test_float32(rng):
    z = rng.normal(size=(50, 10)).astype(np.float32)
    w = (z + 1e-4 * rng.normal(size=z.shape)).astype(np.float32)
    d = logits.fisher_rao_distance(z, w)
    assert d.dtype == np.float32
    assert max(relative_error(d[i], exact_distance(z[i], w[i])) for i in range(50)) < 2e-6


def test_gradient_is_finite_everywhere():
    torch = pytest.importorskip("torch")
    z = torch.randn(6, dtype=torch.float64, generator=torch.manual_seed(0), requires_grad=True)
    w = torch.randn(6, dtype=torch.float64, generator=torch.manual_seed(1))
    assert torch.autograd.gradcheck(lambda x: logits.fisher_rao_distance(x, w), (z,))
    near = (z + 1e-3 * w).detach()
    assert torch.autograd.gradcheck(lambda x: logits.fisher_rao_distance(x, near), (z,))
    for other in (z.detach(), z.detach() + 5.0):
        (gradient,) = torch.autograd.grad(logits.fisher_rao_distance(z, other), z)
        assert torch.isfinite(gradient).all()
    saturated = torch.tensor([800.0, -800.0, -float("inf"), 0.0], requires_grad=True)
    for other in (
        [-800.0, 800.0, 0.0, 0.0],
        [800.0, -800.0, 0.0, 1.0],
        [0.0, 0.0, -float("inf"), 0.0],
    ):
        (gradient,) = torch.autograd.grad(logits.fisher_rao_distance(saturated, other), saturated)
        assert torch.isfinite(gradient).all()


def test_bad_input_names_the_logits():
    with pytest.raises(ValueError, match=r"w must hold logits .* NaN or \+inf"):
        logits.fisher_rao_distance([0.0, 1.0], [np.nan, 1.0])
