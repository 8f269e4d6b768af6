import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from infogeo import SolveError, Status
from infogeo.pullback import PullbackMetric, fit_temperature


def sample(scale=3.0, n=60, c=5, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, c)) * 2.0
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    labels = np.array([rng.choice(c, p=row) for row in p])
    return scale * z, labels


def exact_temperature(z, labels):
    """Solve sum_i (E_p[z_i] - z_iy) = 0 at 40 digits."""
    with mpmath.workdps(40):
        rows = [[mpmath.mpf(float(value)) for value in row] for row in z]

        def slope(beta):
            total = mpmath.mpf(0)
            for row, y in zip(rows, labels, strict=True):
                weights = [mpmath.exp(beta * (value - max(row))) for value in row]
                mean = mpmath.fsum(w * v for w, v in zip(weights, row, strict=True))
                total += mean / mpmath.fsum(weights) - row[y]
            return total

        start = 1.0 / fit_temperature(z, labels).temperature
        return float(1 / mpmath.findroot(slope, (0.99 * start, 1.01 * start)))


@pytest.mark.parametrize("scale", [1e-9, 0.3, 3.0, 1e5])
def test_temperature_is_exact(scale):
    z, labels = sample(scale)
    fit = fit_temperature(z, labels)
    assert fit.temperature == pytest.approx(exact_temperature(z, labels), rel=4e-15, abs=0.0)
    assert fit.status is Status.CONVERGED
    assert fit.loss_after <= fit.loss_before


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.01, 100.0))
def test_two_classes_have_a_closed_form(right, wrong, gap):
    z = np.array([[0.0, gap]] * (right + wrong))
    labels = np.array([1] * right + [0] * wrong)
    if right <= wrong:
        assert fit_temperature(z, labels, throw=False).temperature == math.inf
        return
    fit = fit_temperature(z, labels)
    odds = math.log(right / wrong)
    assert fit.temperature == pytest.approx(gap / odds, rel=1e-13 + 1e-15 / odds)
    # beta has the information n gap^2 p (1 - p), and T = 1 / beta.
    p = right / (right + wrong)
    error = fit.temperature**2 / (gap * math.sqrt((right + wrong) * p * (1.0 - p)))
    assert fit.standard_error == pytest.approx(error, rel=1e-12)


def test_the_temperature_of_the_sampler_is_found_within_its_standard_error():
    fit = fit_temperature(*sample(3.0, n=20_000))
    assert abs(fit.temperature - 3.0) < 4.0 * fit.standard_error < 0.2


def test_it_is_the_minimum_and_losses_are_those_of_cross_entropy():
    z, labels = sample()
    fit = fit_temperature(torch.tensor(z), torch.tensor(labels))
    assert fit == fit_temperature(z, labels)
    cross_entropy = torch.nn.functional.cross_entropy
    for temperature, loss in [(1.0, fit.loss_before), (fit.temperature, fit.loss_after)]:
        expected = cross_entropy(torch.tensor(z) / temperature, torch.tensor(labels)).item()
        assert loss == pytest.approx(expected, rel=1e-13)
    for factor in (0.99, 1.01):
        other = cross_entropy(torch.tensor(z) / (factor * fit.temperature), torch.tensor(labels))
        assert other > fit.loss_after


def test_scaled_logits_have_a_scaled_temperature_and_one_metric():
    z, labels = sample()
    first, second = (fit_temperature(s * z, labels).temperature for s in (1.0, 2.0**5))
    assert second == pytest.approx(2.0**5 * first, rel=1e-14)
    x = torch.randn(3, 4, dtype=torch.float64)
    plain = PullbackMetric(lambda x: x, temperature=first)
    scaled = PullbackMetric(lambda x: 2.0**5 * x, temperature=second)
    torch.testing.assert_close(plain.matrix(x), scaled.matrix(x), rtol=1e-12, atol=1e-15)


def test_rows_in_blocks_and_masked_classes_are_those_of_the_others():
    z, labels = sample(n=500)
    wide = np.full((500, 3000), -np.inf)
    wide[:, 7:12] = z
    fit, other = fit_temperature(z, labels), fit_temperature(wide, labels + 7)
    assert other.temperature == pytest.approx(fit.temperature, rel=1e-13)
    assert other.loss_after == pytest.approx(fit.loss_after, rel=1e-13)


@pytest.mark.parametrize("factor", [2.0**-1000, 2.0**-530, 2.0**530, 2.0**1000])
def test_the_size_of_logits_does_not_matter(factor):
    z, labels = sample()
    fit, other = fit_temperature(z, labels), fit_temperature(factor * z, labels)
    assert other.status is Status.CONVERGED
    assert other.temperature / factor == pytest.approx(fit.temperature, rel=1e-13)
    assert other.standard_error / factor == pytest.approx(fit.standard_error, rel=1e-11)
    assert other.loss_after == pytest.approx(fit.loss_after, rel=1e-13)


@pytest.mark.parametrize("gap", [1e-15, 1e-60, 1e-200])
def test_almost_separated_labels(gap):
    """gap sigmoid(gap / T) = sigmoid(-1 / T): Newton's steps alone are 1 each in 1 / T."""
    fit = fit_temperature([[0.0, gap], [0.0, 1.0]], [0, 1])
    with mpmath.workdps(30):
        g = mpmath.mpf(gap)
        beta = mpmath.findroot(
            lambda b: mpmath.log(g / (1 + mpmath.exp(-g * b))) + mpmath.log1p(mpmath.exp(b)),
            -mpmath.log(g / 2),
        )
        assert fit.temperature == pytest.approx(float(1 / beta), rel=1e-13)


BOUNDARY = {
    "separated": ([[0.0, 1.0], [3.0, 1.0]], [1, 0], 0.0, 0.0, "largest logit.*more held-out data"),
    "tied": ([[1.0, 1.0], [3.0, 1.0]], [1, 0], 0.0, 0.5 * math.log(2.0), "largest logit"),
    "wrong": ([[0.0, 1.0, 0.5]], [0], math.inf, math.log(3.0), "Check that labels belong"),
    "silent": ([[2.0, 2.0]], [0], math.inf, math.log(2.0), "temperature inf is best"),
}


@pytest.mark.parametrize(
    ("z", "labels", "limit", "loss", "message"), BOUNDARY.values(), ids=BOUNDARY
)
def test_no_temperature_is_best(z, labels, limit, loss, message):
    with pytest.raises(SolveError, match=message) as caught:
        fit_temperature(z, labels)
    result = caught.value.result
    assert result == fit_temperature(z, labels, throw=False) or math.isnan(result.standard_error)
    assert result.status is Status.BOUNDARY
    assert result.temperature == limit
    assert result.loss_after == pytest.approx(loss, abs=1e-15)


@pytest.mark.parametrize(
    ("z", "labels", "error", "message"),
    [
        ([0.0, 1.0], [1], ValueError, r"logits must have shape \(n, c\)"),
        (np.zeros((0, 3)), np.zeros(0, int), ValueError, r"shape \(n, c\).*\(0, 3\)"),
        ([[0.0, math.nan]], [1], ValueError, r"logits must"),
        ([[0.0, 1.0]], [1.0], TypeError, r"labels must be integers.*float64"),
        ([[0.0, 1.0]], [1, 0], ValueError, r"one class for each row.*\(1, 2\) and labels \(2,\)"),
        ([[0.0, 1.0]], [2], ValueError, r"labels must be from 0 to 1.*from 2 to 2"),
        ([[0.0, 1.0]], [-1], ValueError, r"labels must be from 0 to 1"),
        ([[0.0, -math.inf]], [1], ValueError, r"logit of the label of row 0 is -inf"),
    ],
)
def test_bad_arguments(z, labels, error, message):
    with pytest.raises(error, match=message):
        fit_temperature(z, labels)
