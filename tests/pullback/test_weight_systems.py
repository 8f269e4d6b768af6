"""Uncertain weights, their evidence and linear systems, of few rows and of many."""

import copy
import math
import subprocess
import sys

import mpmath
import pytest
import torch
from torch import nn

import infogeo
from infogeo.pullback import WeightMetric, _weight_network, heads

F32, F64 = torch.float32, torch.float64


def mlp(gain, dtype):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4)).to(F64)
    with torch.no_grad():
        net[-1].weight.mul_(gain)
    return net.to(dtype)


def samples(num, shape=(5,), dtype=F64):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(num, *shape, generator=generator, dtype=F64).to(dtype)


def dense(net, x):
    """Return the metric of classes in float64, from Jacobians and the textbook information."""
    net = copy.deepcopy(net).double()
    total = 0.0
    for row in x.double():
        z = net(row)
        slopes = [torch.autograd.grad(y, list(net.parameters()), retain_graph=True) for y in z]
        J = torch.stack([torch.cat([part.flatten() for part in parts]) for parts in slopes])
        p = torch.softmax(z.detach(), -1)
        total = total + J.mT @ (torch.diag(p) - torch.outer(p, p)) @ J
    return total / len(x)


@pytest.mark.parametrize(
    ("gain", "head", "dtype"),
    [
        (1.0, heads.categorical, F64),
        (30.0, heads.categorical, F64),
        (30.0, heads.categorical, F32),
        (1.0, heads.normal, F64),
    ],
)
def test_many_rows_of_few_weights_are_folded(monkeypatch, gain, head, dtype):
    net, x, new = mlp(gain, dtype), samples(70, dtype=dtype), samples(3, dtype=dtype)

    def losses(z):
        return z.square().sum(-1)

    def measured(metric):
        return (
            metric.prediction_std(new, 1e-6),
            metric.prediction_covariance(new, 0.1, losses=losses),
            metric.log_marginal_likelihood(0.1, losses),
            metric.effective_dimension(1e-3),
        )

    metric, parts = WeightMetric(net, x, head), WeightMetric(net, list(x.split(30)), head)
    rows, expected = metric.log_spectrum(), measured(metric)
    monkeypatch.setattr(_weight_network, "_EXACT_ROWS", 64)
    assert not parts._parts.is_small
    assert parts._parts.whole_factor().rows.shape == (1, 64, 64)
    eps = torch.finfo(dtype).eps
    clear = rows > rows[0] + 2.0 * math.log(eps) + 10.0  # others are rounding of rows
    assert int(clear.sum()) > 40
    difference = (parts.log_spectrum() - rows)[clear].abs() * (0.5 * (rows - rows[0])[clear]).exp()
    assert bool((difference < 100.0 * eps).all())
    rtol = 1e-10 if dtype == F64 else 1e-3
    for found, value in zip(measured(parts), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=rtol, atol=rtol * float(value.abs().max()))


def test_rows_beyond_the_range_of_numbers_are_folded(monkeypatch):
    """Weights of rows from 1 to exp(-1500): eigenvalues from a 3 x 3 matrix of 2000 digits."""
    model = nn.Linear(3, 1, bias=False).to(F64)
    model.weight.data = torch.tensor([[0.0, -1500.0, -40.0]], dtype=F64)
    a = samples(20, (1,))
    zeros, ones = torch.zeros_like(a), torch.ones_like(a)
    x = torch.cat([torch.cat([a, zeros, zeros], 1), torch.cat([2.0 * a, ones, zeros], 1),
                   torch.cat([a, zeros, ones], 1)])[torch.randperm(60)]  # fmt: skip
    monkeypatch.setattr(_weight_network, "_EXACT_ROWS", 4)
    found = WeightMetric(model, x, heads.bernoulli, chunk_size=7).log_spectrum()
    with mpmath.workdps(2000):
        G = mpmath.zeros(3)
        for row in x.tolist():
            z = mpmath.mpf(-1500) * row[1] - 40 * row[2]
            r = mpmath.matrix(row)
            G += mpmath.exp(z) / (1 + mpmath.exp(z)) ** 2 * r * r.T / 60
        values = sorted(mpmath.eigsy(G, eigvals_only=True), reverse=True)
        expected = torch.tensor([float(mpmath.log(value)) for value in values], dtype=F64)
    assert float(expected[-1]) < -1500.0
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("gain", "damping", "dtype", "rtol"),
    [(1.0, 1e-3, F64, 1e-10), (30.0, 1e-6, F64, 1e-6), (1.0, 1e-3, F32, 1e-5)],
)
def test_a_system_of_few_rows_is_solved_by_their_products(
    monkeypatch, tmp_path, gain, damping, dtype, rtol
):
    net, x, g = mlp(gain, dtype), samples(12, dtype=dtype), samples(1, (64,), dtype)[0]
    monkeypatch.setattr(_weight_network, "_EXACT_NUMBERS", 2000)  # not all rows at once
    monkeypatch.setattr(_weight_network, "_ROWS_AT_ONCE", 64 * 3 * 5)  # of five samples
    metric = WeightMetric(net, x)
    G = dense(net, x)
    expected = torch.linalg.solve(G + damping * torch.eye(64, dtype=F64), g.double()).to(dtype)
    found = metric.solve(g, damping)
    assert found.spectrum is None
    assert found.steps <= 4
    torch.testing.assert_close(
        found.vector, expected, rtol=rtol, atol=rtol * float(expected.norm())
    )
    infogeo.save(found, tmp_path / "solution.npz")
    assert infogeo.load(tmp_path / "solution.npz").spectrum is None
    monkeypatch.setattr(_weight_network, "_MOST_BLOCKS", 10)  # too many pairs of blocks
    by_products = metric.solve(g, damping)
    assert by_products.spectrum is not None
    assert by_products.steps > found.steps


def test_a_complete_basis_leaves_no_rest():
    """In float32 the rest of rows beside all eigenvectors is rounding: 1 / q may be large."""
    model, x, new = nn.Linear(5, 1, bias=False), samples(9, dtype=F32), samples(3, dtype=F32) + 0.5
    found = WeightMetric(model, x, heads.normal_fixed_std(1.0)).prediction_std(new, 1e-13) ** 2
    inverse = torch.linalg.inv(x.double().mT @ x.double())
    expected = torch.einsum("ip,pq,iq->i", new.double(), inverse, new.double()).float()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize(("scale", "dtype"), [(1.0, F64), (1e-100, F64), (1e154, F64), (1.0, F32)])
def test_the_evidence_of_a_linear_model_is_exact(scale, dtype):
    """Labels are normal of covariance 1 + X X' / q, whatever the weights are scaled by."""
    x, y, q = samples(9), torch.linspace(-2.0, 3.0, 9, dtype=F64), 0.7
    ridge = torch.linalg.solve(x.mT @ x + q * torch.eye(5, dtype=F64), x.mT @ y)
    model = nn.Linear(5, 1, bias=False).to(F64)
    model.weight.data = scale * ridge[None]
    model.to(dtype)
    metric = WeightMetric(model, (x / scale).to(dtype), heads.normal_fixed_std(1.0))

    def losses(z):
        return 0.5 * (z[:, 0] - y.to(dtype)) ** 2 + 0.5 * math.log(2.0 * math.pi)

    found = metric.log_marginal_likelihood(q / scale**2, losses)
    law = torch.distributions.MultivariateNormal(
        torch.zeros(9, dtype=F64), torch.eye(9, dtype=F64) + x @ x.mT / q
    )
    rtol = 1e-12 if dtype == F64 else 1e-5
    torch.testing.assert_close(found, law.log_prob(y).to(dtype), rtol=rtol, atol=0.0)
    assert found.dtype == dtype


def test_the_delta_method_agrees_with_the_posterior_where_it_is_narrow():
    few, some, many = (_off_the_posterior(repeats) for repeats in (4, 16, 64))
    assert many < 0.02
    assert many < 0.5 * some < 0.25 * few


def _off_the_posterior(repeats):
    """Return how far it is off for a logistic model of two weights, by sums over a grid of them."""
    x = torch.tensor([[1.0, -2.0], [1.0, -0.5], [1.0, 0.3], [1.0, 1.7]], dtype=F64)
    y, q = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=F64), 0.5
    model = nn.Linear(2, 1, bias=False).to(F64)

    def energy(w):
        z = w @ x.mT
        losses = nn.functional.softplus(z) - y * z
        return repeats * losses.sum(-1) + 0.5 * q * w.square().sum(-1)

    def step():
        optimiser.zero_grad()
        found = energy(model.weight[0])
        found.backward()
        return found

    optimiser = torch.optim.LBFGS(
        model.parameters(), max_iter=100, tolerance_grad=1e-12, line_search_fn="strong_wolfe"
    )
    optimiser.step(step)
    new, center = torch.tensor([[1.0, 3.0]], dtype=F64), model.weight.detach()[0]
    std = WeightMetric(model, x.repeat(repeats, 1), heads.bernoulli).prediction_std(new, q)
    axis = torch.linspace(-15.0, 15.0, 301, dtype=F64) / repeats**0.5
    grid = center + torch.cartesian_prod(axis, axis)
    weights = torch.softmax(-energy(grid), 0)
    angles, middle = (2.0 * torch.asin(torch.sigmoid(w @ new[0]).sqrt()) for w in (grid, center))
    seen = (weights @ (angles - middle).square()).sqrt()
    return float(abs(std[0] / seen - 1.0))


MANY_CLASSES = """
import resource, torch
from infogeo.pullback import WeightMetric

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10

first, last = torch.nn.Linear(4, 4), torch.nn.Linear(4, 20_000)
model = torch.nn.Sequential(first, torch.nn.Tanh(), last)
metric = WeightMetric(model, torch.randn(1, 4), names=["0.weight", "0.bias"])
metric.norm(torch.ones(20))
before = peak()
values = metric.log_spectrum()
print(len(values), peak() - before)
"""


@pytest.mark.campaign
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_memory_of_20000_classes_is_bounded():
    """A square matrix of the classes alone has 1526 MiB."""
    done = subprocess.run(
        [sys.executable, "-c", MANY_CLASSES], capture_output=True, text=True, check=True
    )
    count, mebibytes = done.stdout.split()
    assert int(count) == 20
    assert float(mebibytes) < 400.0
