"""What new inputs and new weights explain of a change, and covariances of weights from scores."""

import math

import pytest
import torch
from torch import nn

import infogeo
from infogeo.pullback import Head, WeightMetric, heads

F64 = torch.float64


def net(seed=0, dtype=F64):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).to(dtype)


def inputs(num=8, dtype=F64, seed=1):
    return torch.randn(num, 4, generator=torch.Generator().manual_seed(seed), dtype=F64).to(dtype)


def moved(model, size, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: w + size * torch.randn(w.shape, generator=generator, dtype=F64).to(w.dtype)
        for name, w in model.state_dict().items()
    }


# ---------------------------------------------------------------- inputs and weights


def test_a_bilinear_change_has_no_remainder():
    """z = w x: from 2 * 3 to 5 * 7 the change 29 is 4 * 3.5 by x and 3 * 5 by w (Shapley)."""
    model = nn.Linear(1, 1, bias=False).double()
    model.weight.data.fill_(3.0)
    x = torch.full((2, 1), 2.0, dtype=F64)
    metric = WeightMetric(model, x, heads.normal_fixed_std(0.5), temperature=2.0)
    found = metric.explained_change(
        torch.tensor([[7.0], [2.0]], dtype=F64), {"weight": torch.full((1, 1), 5.0, dtype=F64)}
    )
    expected = torch.tensor([[29.0**2, 20.0 * 29.0, 9.0 * 29.0], [16.0, 0.0, 16.0]], dtype=F64)
    rows = torch.stack([found.squared_distance, found.by_inputs, found.by_weights], 1)
    torch.testing.assert_close(rows, expected)
    torch.testing.assert_close(found.remainder, torch.zeros(2, dtype=F64), atol=1e-10, rtol=0.0)
    whole = 29.0**2 + 16.0
    shares = {"inputs": 580.0 / whole, "weights": 277.0 / whole, "remainder": 0.0}
    assert found.shares() == pytest.approx(shares, abs=1e-12)
    assert len(found.to_frame()) == 2


def test_moves_that_cancel_have_parts_of_both_signs():
    model = nn.Linear(1, 1, bias=False).double()
    model.weight.data.fill_(2.0)
    x = torch.ones(1, 1, dtype=F64)
    metric = WeightMetric(model, x, heads.normal_fixed_std(1.0))
    found = metric.explained_change(x * 2.0, {"weight": torch.ones(1, 1, dtype=F64)})
    assert float(found.squared_distance) == 0.0  # 2 * 1 and 1 * 2
    assert float(found.by_inputs) == float(found.by_weights) == 0.0
    found = metric.explained_change(x * 3.0, {"weight": torch.ones(1, 1, dtype=F64)})
    assert (float(found.by_inputs), float(found.by_weights)) == (3.0, -2.0)  # from 2 to 3


@pytest.mark.parametrize("head", [heads.categorical, heads.poisson])
def test_parts_add_up_and_the_remainder_is_of_fourth_order(head):
    model, x = net(), inputs()
    metric = WeightMetric(model, x, head, chunk_size=3)
    remainders = []
    for size in (0.1, 0.05):
        found = metric.explained_change(x + size * inputs(seed=3), moved(model, size))
        other = net()
        other.load_state_dict(moved(model, size))
        z = model(x).detach(), other(x + size * inputs(seed=3)).detach()
        torch.testing.assert_close(found.squared_distance, head.distance(*z) ** 2)
        total = found.by_inputs + found.by_weights + found.remainder
        torch.testing.assert_close(total, found.squared_distance)
        remainders.append(found.remainder.abs().sum())
    assert 10.0 < float(remainders[0] / remainders[1]) < 24.0  # 16


def test_small_changes_are_those_of_the_joint_metric():
    model, x = net(), inputs()
    metric = WeightMetric(model, x)
    dx, state = 1e-6 * inputs(seed=3), moved(model, 1e-6)
    own = dict(model.named_parameters())
    dw = {name: state[name] - w.detach() for name, w in own.items()}
    found = metric.explained_change(x + dx, state)
    explained = found.by_inputs + found.by_weights
    torch.testing.assert_close(explained.sqrt(), metric.joint_norm(dx, dw), rtol=1e-4, atol=0.0)
    alone = metric.explained_change(x, state)
    assert bool((alone.by_inputs == 0.0).all())
    same = metric.explained_change(x, {})
    assert same.shares() == {"inputs": 0.0, "weights": 0.0, "remainder": 0.0}
    single = WeightMetric(net(dtype=torch.float32), inputs(dtype=torch.float32))
    rounded = single.explained_change(
        inputs(dtype=torch.float32) + inputs(dtype=torch.float32, seed=3), {}
    )
    exact = metric.explained_change(x + inputs(seed=3), {})
    torch.testing.assert_close(rounded.by_inputs.double(), exact.by_inputs, rtol=1e-4, atol=1e-5)
    assert single.x.dtype == rounded.remainder.dtype


def test_a_batch_norm_that_has_moved_counts_as_weights():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double().eval()
    state = dict(model.state_dict()) | {"1.running_mean": torch.ones(3, dtype=F64)}
    found = WeightMetric(model, inputs()).explained_change(inputs(), state)
    assert bool((found.by_inputs == 0.0).all())  # the logits all moved by the same number
    state["1.running_mean"][0] = 2.0
    found = WeightMetric(model, inputs()).explained_change(inputs(), state)
    assert 0.9 < found.shares()["weights"] < 1.1


def test_changes_that_cannot_be_explained():
    model, x = net(), inputs()
    metric = WeightMetric(model, x)
    with pytest.raises(infogeo.BadValueError, match="x1 must have the shape of x: its shape is"):
        metric.explained_change(x[:1], {})
    with pytest.raises(infogeo.BadValueError, match="w1 must hold weights of this model"):
        metric.explained_change(x, {"bogus": x})
    with pytest.raises(TypeError, match="one tensor"):
        WeightMetric(model, [x]).explained_change(x, {})
    with pytest.raises(ValueError, match="distance"):
        WeightMetric(model, x, Head(lambda z: torch.eye(3))).explained_change(x, {})


# ---------------------------------------------------------------- the sandwich


def test_the_sandwich_of_a_linear_regression():
    """White's covariance with a ridge, in closed form."""
    std, q, new = 0.7, 0.4, inputs(3, seed=5)
    x = inputs(30)
    noise = inputs(30, seed=6)[:, 0] * (1.0 + x[:, 0].abs())
    y = x @ torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=F64) + noise
    H = x.T @ x / std**2 + q * torch.eye(4, dtype=F64)
    model = nn.Linear(4, 1, bias=False).double()
    model.weight.data = torch.linalg.solve(H, x.T @ y / std**2)[None]  # the optimum
    scores = x * ((x @ model.weight[0] - y) / std**2).detach()[:, None]
    scores = scores - scores.mean(0)
    sandwich = torch.linalg.inv(H) @ scores.T @ scores @ torch.linalg.inv(H)
    expected = new @ sandwich @ new.T / std**2
    metric = WeightMetric(model, x, heads.normal_fixed_std(std), chunk_size=7)

    def losses(z):
        return 0.5 * ((z[:, 0] - y) / std) ** 2

    found = metric.prediction_covariance(new, q, losses=losses)
    torch.testing.assert_close(found[:, 0, 0], expected.diagonal())
    std_found = metric.prediction_std(new, q, losses=losses)
    torch.testing.assert_close(std_found, expected.diagonal().sqrt())


def test_the_sandwich_of_classes_is_that_of_dense_matrices():
    model, x, new, q = net(), inputs(9), inputs(2, seed=5), 0.3
    y = torch.arange(9) % 3

    def of(parameters, x):
        return torch.func.functional_call(model, parameters, (x,))

    parameters = {n: w.detach() for n, w in model.named_parameters()}

    def rows(x):
        found = torch.func.jacrev(of)(parameters, x)
        return torch.cat([found[name].flatten(2) for name in parameters], -1)

    def information(x):
        p = of(parameters, x).softmax(-1)
        return torch.diag_embed(p) - p[:, :, None] * p[:, None, :]

    J, F = rows(x), information(x)
    H = torch.einsum("iap,iab,ibq->pq", J, F, J) + q * torch.eye(J.shape[-1], dtype=F64)
    slopes = of(parameters, x).softmax(-1) - nn.functional.one_hot(y, 3)
    scores = torch.einsum("ia,iap->ip", slopes, J)
    scores = scores - scores.mean(0)
    sandwich = torch.linalg.inv(H) @ scores.T @ scores @ torch.linalg.inv(H)
    expected = torch.einsum("iab,ibp,pq,iaq->i", information(new), rows(new), sandwich, rows(new))
    found = WeightMetric(model, x).prediction_std(
        new, q, losses=lambda z: nn.functional.cross_entropy(z, y, reduction="none")
    )
    torch.testing.assert_close(found**2, expected)


def test_losses_that_are_no_row():
    metric = WeightMetric(net(), inputs())
    with pytest.raises(infogeo.BadValueError, match="losses must return one number for each of 8"):
        metric.prediction_std(inputs(), 1.0, losses=lambda z: z.sum())
    assert math.isclose(
        float(metric.prediction_std(inputs(), 1.0, losses=lambda z: 0.0 * z.sum(1)).sum()), 0.0
    )
