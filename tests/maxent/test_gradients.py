"""Gradients through the solve: against finite differences, closed values and each other."""

import numpy as np
import pytest

from infogeo import SolveError, Status
from infogeo.maxent import c_maximize, max_entropy

torch = pytest.importorskip("torch")

FIELDS = ("probabilities", "theta", "log_partition", "value", "entropy")


def draw(seed, num_features, num_outcomes, batch=()):
    rng = np.random.default_rng(seed)
    F = rng.normal(size=(*batch, num_features, num_outcomes))
    p = rng.dirichlet(np.full(num_outcomes, 2.0), size=batch)
    C = rng.normal(size=(*batch, num_outcomes))
    arrays = (F, (F * p[..., None, :]).sum(-1), C)
    return tuple(torch.tensor(x, requires_grad=True) for x in arrays)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("shape", [(1, 2), (3, 7)])
def test_gradcheck(field, shape):
    def solve(F, b, C):
        return getattr(c_maximize(F, b, log_base=C), field)

    assert torch.autograd.gradcheck(solve, draw(0, *shape))


@pytest.mark.parametrize("field", ["probabilities", "theta", "value"])
def test_gradcheck_of_the_gradient(field):
    def solve(F, b, C):
        return getattr(c_maximize(F, b, log_base=C), field)

    assert torch.autograd.gradgradcheck(solve, draw(1, 2, 5))


def test_gradcheck_of_a_batch_that_broadcasts():
    F, _, C = draw(2, 2, 6)
    weights = np.random.default_rng(3).dirichlet(np.full(6, 2.0), size=4)
    b = torch.tensor(weights @ F.detach().numpy().T, requires_grad=True)

    def solve(F, b, C):
        found = c_maximize(F, b, log_base=C)
        return found.probabilities, found.theta

    assert torch.autograd.gradcheck(solve, (F, b, C))


def test_gradients_within_a_face():
    # Outcomes 2 and 3 are impossible, and stay so: moving targets along the face moves p.
    F = torch.tensor([[0.0, 0, 1, 2, 0], [0, 1, 5, -7, 3]], dtype=torch.float64)
    C = torch.randn(5, dtype=torch.float64, generator=torch.manual_seed(0)).requires_grad_()
    second = torch.tensor(1.25, dtype=torch.float64, requires_grad=True)

    def solve(second, C):
        found = c_maximize(F, torch.stack([torch.zeros_like(second), second]), log_base=C)
        assert found.status is Status.BOUNDARY
        return found.probabilities

    assert torch.autograd.gradcheck(solve, (second, C))
    (of_base,) = torch.autograd.grad(solve(second, C)[1], C)
    assert (of_base[2:4] == 0.0).all()
    assert (of_base[:2] != 0.0).all()


def test_redundant_features_and_ruled_out_outcomes():
    F, b, C = (x.detach() for x in draw(4, 2, 6))
    C = torch.cat([C, torch.tensor([-torch.inf])]).requires_grad_()
    F = torch.cat([F, torch.full((2, 1), 1e3)], dim=1)
    F = torch.cat([F, F[:1] - F[1:]]).requires_grad_()
    b = b.requires_grad_()

    def solve(b, C):
        targets = torch.cat([b, b[:1] - b[1:]])
        found = c_maximize(F, targets, log_base=torch.cat([C, torch.tensor([-torch.inf])]))
        return found.probabilities, found.value

    assert torch.autograd.gradcheck(solve, (b, C.detach()[:-1].requires_grad_()))
    found = c_maximize(F, torch.cat([b, b[:1] - b[1:]]), log_base=C)
    found.probabilities.log()[:-1].sum().backward()
    assert torch.isfinite(C.grad).all()
    assert C.grad[-1] == 0.0


def test_the_envelope_theorem():
    # The value changes with a target by -theta, with the base by p.
    F, b, C = draw(5, 3, 9)
    found = c_maximize(F, b, log_base=C)
    of_features, of_targets, of_base = torch.autograd.grad(found.value, (F, b, C))
    torch.testing.assert_close(of_targets, -found.theta)
    torch.testing.assert_close(of_base, found.probabilities)
    torch.testing.assert_close(of_features, found.theta[:, None] * found.probabilities)


def test_one_bit_in_closed_form():
    # theta = log(b / (1 - b)), so d theta / d b = 1 / (b (1 - b)); far out as well.
    for mean in (0.3, 1e-9):
        b = torch.tensor([mean], dtype=torch.float64, requires_grad=True)
        found = max_entropy(torch.tensor([[0.0, 1.0]], dtype=torch.float64), b)
        (slope,) = torch.autograd.grad(found.theta.sum(), b)
        torch.testing.assert_close(slope.item(), 1.0 / (mean * (1.0 - mean)), rtol=1e-8, atol=0)


def test_float32_gradients():
    F, b, C = draw(6, 2, 8)
    coarse = [x.detach().float().requires_grad_() for x in (F, b, C)]
    weights = torch.arange(8.0)
    exact = torch.autograd.grad(
        (c_maximize(F, b, log_base=C).probabilities * weights).sum(), (F, b, C)
    )
    found = torch.autograd.grad(
        (c_maximize(coarse[0], coarse[1], log_base=coarse[2]).probabilities * weights).sum(),
        coarse,
    )
    for rough, fine in zip(found, exact, strict=True):
        assert rough.dtype == torch.float32
        torch.testing.assert_close(rough.double(), fine, rtol=1e-4, atol=1e-5)


def test_members_without_a_solution_have_no_gradient():
    b = torch.tensor([[4.5], [7.0]], dtype=torch.float64, requires_grad=True)
    faces = torch.arange(1.0, 7.0, dtype=torch.float64)[None]
    found = max_entropy(faces, b, throw=False)
    (slope,) = torch.autograd.grad(found.theta.sum(), b)
    assert slope[0, 0] > 0.0
    assert torch.isnan(slope[1, 0])
    with pytest.raises(SolveError):
        max_entropy(faces, b)


def test_no_gradient_where_none_is_wanted():
    F, b, C = draw(7, 2, 5)
    assert not c_maximize(F.detach(), b.detach(), log_base=C.detach()).theta.requires_grad
    with torch.no_grad():
        assert not c_maximize(F, b, log_base=C).theta.requires_grad
    assert "converged" in str(c_maximize(F, b, log_base=C))
