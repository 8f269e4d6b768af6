"""Losses whose values and gradients are right, and a meter that adds up."""

import copy
import io
import math
import pickle

import numpy as np
import pytest
import torch

from infogeo import logits, normal, robustness, simplex
from infogeo.interop.torch import (
    DistanceMeter,
    DistanceSummary,
    FisherRaoLoss,
    IsometryPenalty,
    JeffreysLoss,
    TracePenalty,
)


@pytest.fixture
def z(rng):
    return torch.tensor(rng.normal(0.0, 3.0, (6, 4)), requires_grad=True)


def each(x):
    """Reduce nothing."""
    return x


def test_certain_targets_have_the_closed_form(z):
    """d = 2 arccos sqrt(p_y), which in the margin m of the class is 2 arctan exp(-m / 2)."""
    y = torch.arange(6) % 4
    loss = FisherRaoLoss(reduce=each)(z, y)
    others = z.masked_fill(torch.nn.functional.one_hot(y, 4).bool(), -torch.inf)
    margin = z[torch.arange(6), y] - torch.logsumexp(others, -1)
    torch.testing.assert_close(loss, (2.0 * torch.atan(torch.exp(-margin / 2.0))) ** 2)
    ours = torch.autograd.grad(loss.sum(), z, retain_graph=True)[0]
    closed = torch.autograd.grad(((2.0 * torch.atan(torch.exp(-margin / 2.0))) ** 2).sum(), z)[0]
    torch.testing.assert_close(ours, closed, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("scale", [1.0, 40.0, 800.0])
def test_gradients_are_finite_on_saturated_predictions(scale):
    z = scale * torch.tensor([[1.0, 0.0, -1.0], [-1.0, 0.0, 1.0]])
    z.requires_grad_()
    FisherRaoLoss()(z, torch.tensor([0, 0])).backward()
    assert torch.isfinite(z.grad).all()


def test_soft_labels_and_teachers(z, rng):
    q = torch.tensor(rng.dirichlet(np.ones(4), 6))
    expected = simplex.fisher_rao_distance(logits.to_simplex(z.detach()), q) ** 2
    loss = FisherRaoLoss(reduce=torch.sum)(z, q)
    torch.testing.assert_close(loss, expected.sum(), rtol=1e-12, atol=0.0)
    teacher = torch.log(q)
    torch.testing.assert_close(
        FisherRaoLoss(target_space=logits, reduce=torch.sum)(z, teacher), loss
    )
    jeffreys = JeffreysLoss(reduce=each)(z, q)
    torch.testing.assert_close(
        jeffreys, simplex.jeffreys_divergence(logits.to_simplex(z.detach()), q)
    )


@pytest.mark.parametrize("loss", [FisherRaoLoss(), JeffreysLoss()])
def test_gradients_agree_with_finite_differences(loss, z, rng):
    q = torch.tensor(rng.dirichlet(np.ones(4), 6), requires_grad=False)
    assert torch.autograd.gradcheck(lambda x: loss(x, q), z)


def test_loss_vanishes_with_its_gradient_at_the_target(z):
    loss = FisherRaoLoss(target_space=logits)(z, z.detach())
    loss.backward()
    assert loss == 0.0
    assert (z.grad == 0.0).all()


def test_a_classifier_learns_from_it():
    torch.manual_seed(0)
    x = torch.randn(200, 2)
    y = (x[:, 0] > x[:, 1]).long()
    model, loss = torch.nn.Linear(2, 2), FisherRaoLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
    assert (model(x).argmax(-1) == y).float().mean() > 0.97


def test_refusals_say_what_to_do(z):
    with pytest.raises(TypeError, match="Smooth the labels"):
        JeffreysLoss()(z, torch.zeros(6, dtype=torch.int64))
    with pytest.raises(ValueError, match="one class for each row"):
        FisherRaoLoss()(z, torch.zeros(5, dtype=torch.int64))
    for space in (normal, "normal", DistanceMeter):
        with pytest.raises(ValueError, match=r"be infogeo\.simplex or infogeo\.logits"):
            FisherRaoLoss(target_space=space)
    with pytest.raises(TypeError, match="space must have a function fisher_rao_distance"):
        DistanceMeter(space=torch)
    with pytest.raises(ValueError, match="probabilities"):
        FisherRaoLoss()(z, torch.ones(6, 4))


@pytest.mark.parametrize(
    ("target", "kind", "words"),
    [
        (torch.tensor([0, 4]), ValueError, "classes from 0 to 3: its entries range from 0 to 4"),
        (torch.tensor([0, -100]), ValueError, "Leave out samples that are to be ignored"),
        (torch.tensor([0.0, 1.0]), ValueError, r"Use target\.long\(\)"),
        (torch.eye(4, dtype=torch.int64)[:2], ValueError, r"target\.argmax\(-1\) if it is one-hot"),
        ([0, 1], TypeError, "target must be a torch tensor: got list"),
    ],
)
def test_targets_that_are_no_classes(target, kind, words):
    with pytest.raises(kind, match=words):
        FisherRaoLoss()(torch.zeros(2, 4), target)


def test_no_samples_have_a_sum_and_no_mean():
    z, target = torch.zeros(0, 4, requires_grad=True), torch.zeros(0, dtype=torch.int64)
    assert FisherRaoLoss(reduce=torch.sum)(z, target) == 0.0
    with pytest.raises(ValueError, match="z must hold at least one prediction"):
        FisherRaoLoss()(z, target)
    with pytest.raises(ValueError, match="z must hold at least one prediction"):
        JeffreysLoss()(z, torch.zeros(0, 4))


def test_meter_says_what_one_large_batch_says(z, rng):
    w = torch.tensor(rng.normal(0.0, 3.0, (6, 4)))
    meter, other = DistanceMeter(), DistanceMeter()
    torch.testing.assert_close(meter(z, w)[:2], logits.fisher_rao_distance(z, w)[:2])
    meter.reset()
    meter.update(z[:1], w[:1])
    meter.update(z[1:4], w[1:4])
    other.update(z[4:], w[4:])
    meter.merge(other)
    d = logits.fisher_rao_distance(z.detach(), w)
    summary = meter.compute()
    assert isinstance(summary, DistanceSummary)
    assert summary.count == 6
    assert summary.largest == float(d.max())
    assert math.isclose(summary.mean, float(d.mean()), rel_tol=1e-14)
    assert math.isclose(summary.root_mean_square, float((d * d).mean().sqrt()), rel_tol=1e-14)


def test_meter_that_saw_nothing_says_so():
    meter = DistanceMeter(space=simplex)
    meter.update(torch.zeros(0, 3), torch.zeros(0, 3))
    with pytest.raises(RuntimeError, match="call update first"):
        meter.compute()


def test_penalties_are_those_of_robustness_and_reach_the_parameters():
    torch.manual_seed(0)
    model, x = torch.nn.Linear(5, 3).double(), torch.rand(4, 5).double()
    ours = IsometryPenalty(radius=0.3, temperature=2.0)(model, x)
    assert ours == robustness.isometry_penalty(model, x, radius=0.3, temperature=2.0)
    ours.backward()
    assert model.weight.grad.abs().sum() > 0.0
    torch.manual_seed(1)
    trace = TracePenalty(temperature=2.0)(model, x)
    torch.manual_seed(1)
    assert trace == robustness.trace_penalty(model, x, temperature=2.0)


def saved_and_loaded(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x)), saved_and_loaded]
)
@pytest.mark.parametrize("space", ["logits", "simplex"])
def test_losses_and_meters_are_copied_pickled_and_saved(space, again, z, rng):
    """Also as a part of a larger module, as in Lightning, and with what a meter has seen."""
    q = torch.tensor(rng.dirichlet(np.ones(4), 6))
    for loss in (FisherRaoLoss(target_space=space), JeffreysLoss(target_space=space)):
        assert again(loss)(z, q) == loss(z, q)
        assert again(torch.nn.ModuleList([loss]))[0].target_space == space
    for penalty in (IsometryPenalty(radius=0.3), TracePenalty()):
        assert again(penalty).temperature == 1.0
    meter = DistanceMeter(space=space)
    meter.update(q, q.roll(1, 0))
    copied = again(meter)
    assert copied.compute() == meter.compute()
    copied.update(q, q)
    assert (copied.compute().count, meter.compute().count) == (12, 6)


def test_checkpoints_do_not_hold_what_a_meter_has_seen(z):
    """As in torchmetrics: a checkpoint loads with and without meters, which go on as they were."""
    network = torch.nn.Linear(2, 2)
    saved = torch.nn.ModuleDict({"network": network}).state_dict()
    meter = DistanceMeter()
    meter.update(z, z)
    whole = torch.nn.ModuleDict({"network": network, "meter": meter})
    assert set(whole.state_dict()) == set(saved)
    whole.load_state_dict(saved)
    assert meter.compute().count == 6


def test_meters_take_spaces_of_other_people(z):
    class Chords:
        def fisher_rao_distance(self, a, b, *, check=True):
            return torch.linalg.vector_norm(a - b, dim=-1)

    meter = DistanceMeter(space=Chords())
    meter.update(torch.zeros(2, 3), torch.ones(2, 3))
    assert math.isclose(meter.compute().mean, math.sqrt(3.0), rel_tol=1e-6)
