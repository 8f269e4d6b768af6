"""Ways to compute the rows of the factor: the same numbers, at the cost that was promised."""

import gc
import weakref

import pytest
import torch
from torch import nn

from infogeo.pullback import Batched, Loop, PullbackMetric, strategies

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


def dense_net(num_classes=7, dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(9, 16), nn.GELU(), nn.Linear(16, num_classes)).to(dtype)


def conv_net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5)).double()


class NotBatchable(torch.autograd.Function):
    """x^2 whose derivative cannot be vectorised."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        return torch.from_numpy((2.0 * ctx.saved_tensors[0] * gradient).detach().numpy().copy())


@pytest.fixture
def measured(monkeypatch):
    """Count the measurements; the faster way is named by `measured.winner`."""

    class Count:
        calls = 0
        winner = staticmethod(strategies._one_by_one)

        def __call__(self, z, x, seeds):
            self.calls += 1
            return self.winner

    count = Count()
    monkeypatch.setattr(strategies, "_measure", count)
    return count


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize("strategy", [Loop(), Batched(), None])
@pytest.mark.parametrize(("net", "shape"), [(dense_net(), (9,)), (conv_net(), (1, 6, 6))])
def test_all_strategies_give_the_rows_of_the_jacobian(net, shape, strategy, chunk_size, device):
    net = net.to(device)
    x = torch.randn(4, *shape, dtype=torch.float64, device=device)
    pulled = PullbackMetric(net, strategy=strategy, chunk_size=chunk_size)
    J = torch.func.vmap(torch.func.jacrev(lambda y: net(y[None])[0]))(x).flatten(2)
    p = torch.softmax(net(x), -1)
    G = (J.mT @ (torch.diag_embed(p) - p[:, :, None] * p[:, None]) @ J).detach()
    factor = pulled.factor(x)
    assert factor.device == x.device
    torch.testing.assert_close(factor.mT @ factor, G, rtol=0.0, atol=1e-13 * float(G.abs().max()))


def test_the_measurement_is_made_once_for_a_model_and_a_kind_of_input(measured):
    net = dense_net()
    for _ in range(2):
        PullbackMetric(net).factor(torch.randn(5, 9, dtype=torch.float64))
    PullbackMetric(net).norm(*torch.randn(2, 5, 9, dtype=torch.float64))
    PullbackMetric(net).factor(torch.randn(6, 9, dtype=torch.float64))  # 4 to 7 are alike
    assert measured.calls == 1
    PullbackMetric(net).factor(torch.randn(50, 9, dtype=torch.float64))
    assert measured.calls == 2
    PullbackMetric(dense_net()).factor(torch.randn(5, 9, dtype=torch.float64))
    assert measured.calls == 3


@pytest.mark.parametrize("winner", [strategies._one_by_one, strategies._together])
def test_the_winner_is_used(winner, measured, monkeypatch):
    measured.winner = winner
    net, x = dense_net(7), torch.randn(5, 9, dtype=torch.float64)
    PullbackMetric(net, strategy=Loop()).factor(x)  # looks at the model, once
    seen = []
    plain = torch.autograd.grad
    monkeypatch.setattr(
        torch.autograd, "grad", lambda *args, **options: seen.append(1) or plain(*args, **options)
    )
    PullbackMetric(net).factor(x)
    assert len(seen) == (6 if winner is strategies._one_by_one else 1)


def test_a_measurement_takes_the_faster_way(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(strategies.time, "perf_counter", lambda: now[0])
    x = torch.zeros(2, 3)
    for slow, fast in [("_one_by_one", "_together"), ("_together", "_one_by_one")]:

        def take(seconds):
            def pull(*arguments):
                now[0] += seconds

            return pull

        monkeypatch.setattr(strategies, slow, take(2.0))
        monkeypatch.setattr(strategies, fast, take(1.0))
        assert strategies._measure(None, x, x) is getattr(strategies, fast)


def test_deterministic_algorithms_are_not_chosen_by_the_clock(measured):
    torch.use_deterministic_algorithms(True)
    try:
        PullbackMetric(dense_net()).factor(torch.randn(5, 9, dtype=torch.float64))
    finally:
        torch.use_deterministic_algorithms(False)
    assert measured.calls == 0
    assert strategies._by_kind(conv_net()) is strategies._one_by_one
    assert strategies._by_kind(dense_net()) is strategies._together


def test_a_model_is_not_kept_alive():
    net = dense_net()
    PullbackMetric(net).factor(torch.randn(5, 9, dtype=torch.float64))
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


def test_a_model_that_cannot_be_remembered_needs_no_measurement(measured):
    class Unhashable:
        __hash__ = None

        def __call__(self, x):
            return x

    x = torch.randn(5, 9)
    torch.testing.assert_close(
        PullbackMetric(Unhashable()).matrix(x), PullbackMetric(lambda x: x).matrix(x)
    )
    assert measured.calls == 1  # of the lambda


def test_what_cannot_be_vectorised_goes_one_by_one_or_says_so():
    last = nn.Linear(9, 4, dtype=torch.float64)
    x = torch.randn(3, 9, dtype=torch.float64)

    def net(x):
        return last(NotBatchable.apply(x))

    expected = PullbackMetric(lambda x: last(x * x)).factor(x)
    torch.testing.assert_close(PullbackMetric(net).factor(x), expected)
    torch.testing.assert_close(PullbackMetric(net, strategy=Loop()).factor(x), expected)
    with pytest.raises(RuntimeError, match=r"Batched\(\) failed for this model: .*strategy=Loop"):
        PullbackMetric(net, strategy=Batched()).factor(x)


@pytest.mark.parametrize("strategy", [Loop(), Batched()])
def test_gradients_that_share_memory_are_copied(strategy):
    # The gradient of a sum is one number, expanded; that of the identity is the cotangent itself.
    x = torch.randn(3, 4, dtype=torch.float64)
    pulled = PullbackMetric(lambda x: torch.stack([x.sum(1), 0.0 * x[:, 0]], 1), strategy=strategy)
    p = torch.sigmoid(x.sum(1))
    expected = (p * (1.0 - p))[:, None, None] * torch.ones(4, 4, dtype=torch.float64)
    torch.testing.assert_close(pulled.matrix(x), expected)
    same = PullbackMetric(lambda x: x, strategy=strategy)
    p = torch.softmax(x, -1)
    expected = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    torch.testing.assert_close(same.matrix(x), expected)
