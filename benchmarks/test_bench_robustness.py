"""Spectral attacks beside gradient attacks, and training steps with and without penalties."""

import functools
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from infogeo import robustness  # noqa: E402

sys.path.append(str(Path(__file__).parent.parent / "tests"))
import attacks  # noqa: E402

BOX, RADIUS = (0.0, 1.0), 0.75


@functools.cache
def digits():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return torch.from_numpy(bunch.images[:, None] / 16.0).float(), torch.from_numpy(bunch.target)


def mlp():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(64, 256),
        torch.nn.ReLU(),
        torch.nn.Linear(256, 256),
        torch.nn.ReLU(),
        torch.nn.Linear(256, 10),
    )


def cnn():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 5, padding=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 32, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(512, 64),
        torch.nn.ReLU(),
        torch.nn.Linear(64, 10),
    )


NETS = {"MLP 64-256-256-10": mlp, "CNN of 8 x 8 images": cnn}


# ---------------------------------------------------------------- training


def by_jacobian(model, x):
    """The isometry penalty from jacrev and A = diag(sqrt p) (I - 1 p'), c rows, autograd's own."""
    z = model(x)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda y: model(y[None])[0]))(x).flatten(2)
    p = torch.softmax(z, -1)
    factor = p.sqrt()[..., None] * (jacobian - p[:, None] @ jacobian)
    top = torch.topk(p, 2).values.sqrt()
    target = 2.0 * torch.asin((top[:, 0] - top[:, 1]) / 2.0**0.5) / RADIUS
    gram = factor @ factor.mT
    identity = torch.eye(10) - p.sqrt()[..., None] * p.sqrt()[:, None]  # the range of the factor
    return (gram - target.square()[:, None, None] * identity).square().sum((1, 2)).mean()


PENALTIES = {
    "cross-entropy alone": lambda model, x: 0.0,
    "with `trace_penalty`": lambda model, x: robustness.trace_penalty(model, x, check=False),
    "with `isometry_penalty`": lambda model, x: robustness.isometry_penalty(
        model, x, radius=RADIUS, check=False
    ),
    "the same by `torch.func.jacrev`": by_jacobian,
}


@pytest.mark.parametrize("who", PENALTIES)
@pytest.mark.parametrize("net", NETS)
def test_training_step(benchmark, net, who):
    x, target = (part[:64] for part in digits())
    model = NETS[net]()
    optimizer = torch.optim.Adam(model.parameters())

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), target) + PENALTIES[who](model, x)
        loss.backward()
        optimizer.step()

    benchmark.group = net
    if who == "the same by `torch.func.jacrev`":
        exact = robustness.isometry_penalty(model.double(), x.double(), radius=RADIUS)
        seen = PENALTIES[who](model.float(), x)
        benchmark.extra_info["error"] = abs(float((seen - exact).detach() / exact.detach()))
    benchmark.pedantic(step, rounds=15, warmup_rounds=3)


# ---------------------------------------------------------------- attacks


@functools.cache
def trained():
    model = cnn()
    x, target = digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(8):
        for batch in torch.randperm(1300).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[batch]), target[batch]).backward()
            optimizer.step()
    model.eval().requires_grad_(False)
    held, labels = x[1300:], target[1300:]
    return model, held[model(held).argmax(1) == labels][:200]


def spectral(model, x, num_steps):
    attack = robustness.spectral_attack(model, x, radius=RADIUS, num_steps=num_steps, clip=BOX)
    return attack.points


def gradient(model, x):
    """Go along the gradient of the margin until the budget is spent in the box."""
    label = model(x).argmax(1)
    y = x.clone().requires_grad_()
    (direction,) = torch.autograd.grad(-attacks.margin(model(y), label).sum(), y)
    low, high = torch.zeros(len(x)), torch.full((len(x),), 100.0 / float(direction.abs().mean()))
    for _ in range(50):
        t = 0.5 * (low + high)
        end = (x + t[:, None, None, None] * direction).clamp(*BOX)
        is_inside = attacks.size(end - x) <= RADIUS
        low, high = torch.where(is_inside, t, low), torch.where(is_inside, high, t)
    return (x + low[:, None, None, None] * direction).clamp(*BOX)


def pgd(model, x, num_steps):
    return attacks.pgd(model, x, radius=RADIUS, clip=BOX, num_steps=num_steps)


ATTACKS = {
    "gradient": gradient,
    "spectral, 1 step": functools.partial(spectral, num_steps=1),
    "spectral, 2 steps": functools.partial(spectral, num_steps=2),
    "spectral, 5 steps": functools.partial(spectral, num_steps=5),
    "PGD, 5 steps": functools.partial(pgd, num_steps=5),
    "PGD, 20 steps": functools.partial(pgd, num_steps=20),
    "PGD, 100 steps": functools.partial(pgd, num_steps=100),
}


@pytest.mark.parametrize("who", ATTACKS)
def test_attack(benchmark, who):
    model, x = trained()
    benchmark.group = f"200 digits, l2 {RADIUS}, pixels in [0, 1]"
    points = benchmark.pedantic(ATTACKS[who], args=(model, x), rounds=3, warmup_rounds=1)
    assert points.min() >= 0.0
    assert points.max() <= 1.0
    assert (attacks.size(points - x) <= RADIUS * (1.0 + 1e-5)).all()
    share = (model(points).argmax(1) != model(x).argmax(1)).double().mean()
    benchmark.extra_info["changed predictions"] = f"{100.0 * share:.1f} %"
