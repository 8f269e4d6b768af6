"""What reports say of sensitivities: the sign of directions, and what confidence leaves."""

import numpy as np
import pytest
import torch

from infogeo import pullback
from infogeo.cli._sensitivity import beyond_confidence, downhill


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_direction_makes_the_predicted_class_less_likely(dtype):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(12, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4)
    ).to(dtype)
    x = torch.rand(30, 3, 4, dtype=dtype)
    spectrum = pullback.PullbackMetric(model).spectrum(x)
    with torch.no_grad():
        found = downhill(model, x, spectrum)
        assert torch.equal(found.values, spectrum.values)
        assert torch.equal(found.vectors.abs(), spectrum.vectors.abs())
        before = model(x).double().log_softmax(-1)
        predicted = before.argmax(-1, keepdim=True)
        for k in range(3):
            moved = model(x + 0.01 * found.vectors[:, k]).double().log_softmax(-1)
            change = (moved - before).gather(-1, predicted)
            assert (change < 0.0).float().mean() > 0.9  # a step is not yet a derivative
            assert change.max() < 1e-4


def test_of_two_classes_and_a_linear_network_confidence_explains_all():
    """The largest eigenvalue is p (1 - p) |w|^2 exactly."""
    weight = torch.tensor([[0.3, -1.2, 0.8], [0.1, 0.5, -0.4]], dtype=torch.float64)
    x = 3.0 * torch.randn(40, 3, dtype=torch.float64, generator=torch.manual_seed(0))
    metric = pullback.PullbackMetric(lambda x: x @ weight.T)
    logs = 0.5 * metric.log_spectrum(x)[:, 0].numpy()
    doubt = (x @ weight.T).softmax(-1).amin(-1).numpy()
    found = beyond_confidence(logs, doubt)
    assert found.explained == pytest.approx(1.0, abs=1e-12)
    assert found.slope == pytest.approx(0.5, rel=1e-9)
    np.testing.assert_allclose(found.factors, 1.0, rtol=1e-9)
    length = float((weight[0] - weight[1]).norm())
    np.testing.assert_allclose(
        found.expected(np.array([0.5, 1e-6, 1e-300])),
        length * np.sqrt([0.25, 1e-6 * (1.0 - 1e-6), 1e-300]),
        rtol=1e-7,
    )


def test_what_is_left_is_that_of_least_squares(rng):
    doubt = 10.0 ** rng.uniform(-20.0, -0.5, 50)
    logs = 0.4 * np.log(doubt) + rng.normal(size=50)
    found = beyond_confidence(logs, doubt)
    columns = np.stack([np.log(doubt) + np.log1p(-doubt), np.ones(50)], axis=-1)
    (slope, intercept), (rest,), *_ = np.linalg.lstsq(columns, logs, rcond=None)
    assert found.slope == pytest.approx(slope)
    assert found.intercept == pytest.approx(intercept)
    assert found.explained == pytest.approx(1.0 - rest / ((logs - logs.mean()) ** 2).sum())
    np.testing.assert_allclose(np.log(found.factors), logs - columns @ [slope, intercept])
    # Inputs without a sensitivity, or without a doubt, change nothing and have no factor.
    found = beyond_confidence(np.r_[logs, -np.inf, 0.0], np.r_[doubt, 0.3, 0.0])
    assert found.slope == pytest.approx(slope)
    assert np.isnan(found.factors[-2:]).all()


@pytest.mark.parametrize(
    ("logs", "doubt"),
    [
        ([0.0, 1.0], [0.1, 0.2]),
        ([0.0, 1.0, 2.0], [0.1, 0.1, 0.1]),
        ([1.0, 1.0, 1.0], [0.1, 0.2, 0.3]),
        ([-np.inf] * 4, [0.1, 0.2, 0.3, 0.4]),
    ],
)
def test_where_nothing_can_be_told_apart_nothing_is_said(logs, doubt):
    assert beyond_confidence(np.array(logs), np.array(doubt)) is None
