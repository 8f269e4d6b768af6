"""Two networks of two seeds: orders of hidden units, and what lies between the networks."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn

import infogeo
from infogeo._status import Status
from infogeo.pullback import WeightMetric, heads

F64 = torch.float64


class Functional(nn.Module):
    """A small network of digits as people write them."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 2, padding=1)
        self.norm, self.drop = nn.BatchNorm2d(4), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(16, 5), nn.Linear(5, 4)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = nn.functional.avg_pool2d(self.norm(self.conv2(x)), 2)
        x = x.view(x.size(0), -1)
        x = self.drop(nn.functional.relu(self.fc1(x)))
        return nn.functional.log_softmax(self.fc2(x), dim=1)


def mlp(*widths, activation=nn.ReLU):
    layers = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), activation()]
    return nn.Sequential(*layers[:-1])


def conv_net():
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.PReLU(3)),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 4, 3),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(16, 6),
        nn.LayerNorm(6),
        nn.SiLU(),
        nn.Linear(6, 3),
    )


NETS = {
    "mlp": (lambda: mlp(5, 7, 6, 4), (5,)),
    "convolutions": (conv_net, (1, 8, 8)),
    "functional": (Functional, (1, 8, 8)),
    "normed": (
        lambda: nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)),
        (5,),
    ),
}


def whole(net, seed):
    """Give a network small whole numbers as weights: sums of products are exact in any order."""
    generator = torch.Generator().manual_seed(seed)
    net = net.double().eval()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            low = 1 if name.endswith("running_var") else -4
            numbers = torch.randint(low, 5, tensor.shape, generator=generator)
            tensor.copy_(numbers)
    return net


def shuffled(state, layers, seed):
    """Return a state dict with the units of layers in other orders, by hand."""
    generator, state = torch.Generator().manual_seed(seed), dict(state)
    orders = {}
    for own, following, spread in layers:
        first, *more = own
        count = len(state[f"{first}.weight"])
        order = orders[first] = torch.randperm(count, generator=generator)
        for name, tensor in state.items():
            if name.rpartition(".")[0] in (first, *more) and tensor.ndim:
                state[name] = tensor[order]
        columns = (order[:, None] * spread + torch.arange(spread)).flatten()
        state[f"{following}.weight"] = state[f"{following}.weight"][:, columns]
    return state, orders


LAYERS = {
    "mlp": [(["0"], "2", 1), (["2"], "4", 1)],
    "convolutions": [(["0.0", "0.1", "0.2"], "2", 1), (["2"], "5", 4), (["5", "6"], "8", 1)],
    "functional": [(["conv1"], "conv2", 1), (["conv2", "norm"], "fc1", 4), (["fc1"], "fc2", 1)],
    "normed": [(["0", "1"], "3", 1)],
}


def trained_like(name, seed):
    torch.manual_seed(seed)
    make, shape = NETS[name]
    net = make().double().eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean.uniform_(-0.5, 0.5)
            part.running_var.uniform_(0.5, 2.0)
    return net, shape


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("kind", ["match_weights", "match_activations"])
def test_units_that_changed_places_are_put_back(name, kind):
    net, shape = trained_like(name, 1)  # in which no unit is 0 everywhere
    x = 9.0 * torch.randn(30, *shape, dtype=F64, generator=torch.Generator().manual_seed(1))
    other, orders = shuffled(net.state_dict(), LAYERS[name], 2)
    metric = WeightMetric(net, x, chunk_size=13)
    torch.testing.assert_close(metric.distance(net, other), torch.zeros((), dtype=F64))
    found = getattr(metric, kind)(net, other)
    assert found.status is Status.CONVERGED
    assert found.after == 0.0 or (kind == "match_activations" and found.after < 1e-6 * found.before)
    assert found.before > 0.1
    for layer, order in orders.items():
        assert torch.equal(found.permutations[layer], torch.argsort(order))
    assert list(found.weights) == [*dict(net.named_parameters()), *dict(net.named_buffers())]
    for key, tensor in net.state_dict().items():
        assert torch.equal(found.weights[key], tensor)
    length = metric.segment_length(net, found.weights)
    assert float(length.value) == 0.0


@pytest.mark.parametrize("kind", ["match_weights", "match_activations"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: mlp(5, 7, 6, 4),
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 6),
            nn.ReLU(), nn.Linear(6, 3),
        ),
    ],
)  # fmt: skip
def test_the_matched_network_is_the_same_function_to_the_last_bit(make, kind):
    """Weights and inputs are whole numbers, so that no sum is rounded."""
    first, second = whole(make(), 0), whole(make(), 1)
    shape = (5,) if isinstance(first[0], nn.Linear) else (1, 6, 6)
    generator = torch.Generator().manual_seed(2)
    x = torch.randint(-3, 4, (20, *shape), generator=generator).double()
    metric = WeightMetric(first, x)
    found = getattr(metric, kind)(first, second)
    assert found.after < found.before
    moved = [p for p in found.permutations.values() if not torch.equal(p, torch.arange(len(p)))]
    assert moved
    z = torch.func.functional_call(first, found.weights, (x,))
    assert torch.equal(z, second(x))


def test_one_hidden_layer_has_the_best_of_all_orders():
    torch.manual_seed(3)
    first, second = mlp(3, 5, 2).double(), mlp(3, 5, 2).double()
    x = torch.randn(40, 3, dtype=F64)
    metric = WeightMetric(first, x)

    def weights(net, order):
        first_layer = torch.cat([net[0].weight, net[0].bias[:, None]], 1)[order]
        return torch.cat([first_layer, net[2].weight[:, order].T], 1).detach()

    def activations(net, order):
        return torch.relu(net[0](x))[:, order].detach()

    same = torch.arange(5)
    rest = float((first[2].bias - second[2].bias).detach().square().sum())
    orders = [torch.tensor(order) for order in itertools.permutations(range(5))]
    squares = [(weights(first, same) - weights(second, o)).square().sum().item() for o in orders]
    found = metric.match_weights(first, second)
    best = min(range(len(orders)), key=squares.__getitem__)
    assert torch.equal(found.permutations["0"], orders[best])
    assert math.isclose(found.after, math.sqrt(squares[best] + rest), rel_tol=1e-12)
    assert math.isclose(found.before, math.sqrt(squares[0] + rest), rel_tol=1e-12)
    means = [
        (activations(first, same) - activations(second, o)).square().sum(1).mean().item()
        for o in orders
    ]
    found = metric.match_activations(first, second)
    best = min(range(len(orders)), key=means.__getitem__)
    assert torch.equal(found.permutations["0"], orders[best])
    assert math.isclose(found.after, math.sqrt(means[best]), rel_tol=1e-12)
    assert math.isclose(found.before, math.sqrt(means[0]), rel_tol=1e-12)


def test_scales_and_precisions():
    torch.manual_seed(4)
    for scale, dtype in ((1e30, F64), (1e-30, F64), (1.0, torch.float32), (1.0, torch.bfloat16)):
        net = mlp(5, 7, 4).to(dtype)
        with torch.no_grad():
            net[0].weight.mul_(scale), net[0].bias.mul_(scale), net[2].weight.div_(scale)
        other, orders = shuffled(net.state_dict(), [(["0"], "2", 1)], 5)
        found = WeightMetric(net, torch.randn(9, 5, dtype=dtype)).match_weights(net, other)
        assert torch.equal(found.permutations["0"], torch.argsort(orders["0"]))
        assert all(w.dtype == dtype for w in found.weights.values())


def test_passes_that_do_not_suffice_say_so():
    torch.manual_seed(6)
    first, second = mlp(3, 9, 9, 9, 2).double(), mlp(3, 9, 9, 9, 2).double()
    metric = WeightMetric(first, torch.randn(5, 3, dtype=F64))
    with pytest.raises(infogeo.SolveError, match="Raise max_steps") as caught:
        metric.match_weights(first, second, max_steps=1)
    partly = metric.match_weights(first, second, max_steps=1, throw=False)
    assert partly.status is Status.MAX_STEPS
    assert partly.after == caught.value.result.after
    full = metric.match_weights(first, second)
    assert full.after <= partly.after < partly.before
    again = metric.match_weights(first, full.weights)
    assert again.steps == 1
    assert again.after == again.before == full.after


def test_the_barrier_of_a_double_well():
    """(w^2 - 1)^2 between its minima is 1 high; between others it stands on a slope."""
    model = nn.Linear(1, 1, bias=False).double()
    metric = WeightMetric(model, torch.ones(1, 1, dtype=F64), heads.normal_fixed_std(1.0))

    def at(w):
        return {"weight": torch.full((1, 1), float(w), dtype=F64)}

    def well(z):
        return ((z**2 - 1.0) ** 2).mean()

    found = metric.barrier(at(-1), at(1), well)
    assert (found.value, found.share) == (1.0, 0.5)
    assert (found.losses[0], found.losses[-1]) == (0.0, 0.0)
    assert metric.barrier(at(0.9), at(1.1), well).value == 0.0  # convex there
    slope = metric.barrier(at(-1), at(2), well, num_points=301)
    # (3t - 1 - 1)^2 ... less the line from 0 to 9, at w = 3t - 1
    w = torch.linspace(-1, 2, 301, dtype=F64)
    heights = (w**2 - 1.0) ** 2 - 9.0 * torch.linspace(0, 1, 301, dtype=F64)
    assert math.isclose(slope.value, float(heights.max()), rel_tol=1e-12)
    with pytest.raises(infogeo.BadValueError, match="num_points must be at least 3"):
        metric.barrier(at(0), at(1), well, num_points=2)
    with pytest.raises(infogeo.BadValueError, match="loss must return one finite number"):
        metric.barrier(at(0), at(1), lambda z: z.flatten().repeat(2))
    with pytest.raises(infogeo.BadValueError, match="loss must return one finite number"):
        metric.barrier(at(0), at(1), lambda z: z.sum() / 0.0)


# ---------------------------------------------------------------- what is refused


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        h = self.first(x).relu()
        return self.last(h + self.second(h).relu())


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x):
        h = self.first(x)
        return self.last(h.relu() if bool(h.sum() > 0.0) else h)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.last(self.first(self.first(x).relu()).relu())


class Ranked(nn.Module):
    """Not alike for all units, though its steps are."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.first(x).cumsum(1))


def tied():
    net = mlp(5, 5, 5, 3)
    net[2].weight = net[0].weight
    return net


def pooled():  # what pools the units themselves
    return nn.Sequential(
        nn.Linear(5, 8), nn.Unflatten(1, (1, 8)), nn.AvgPool1d(2), nn.Flatten(), nn.Linear(4, 3)
    )


REFUSED = [
    (Residual, (5,), "takes more, or other things, than what comes before it"),
    (Branching, (5,), "its layers cannot be read"),
    (Twice, (5,), "'first' is used more than once"),
    (Ranked, (5,), r"after 'first' there is 'cumsum' \(cumsum\), which may tell units apart"),
    (tied, (5,), "'2.weight' is tied to '0.weight'"),
    (pooled, (5,), "unflatten"),
    (lambda: nn.Linear(5, 3), (5,), "no hidden units"),
    (lambda: nn.Sequential(nn.Linear(5, 3), nn.Tanh()), (5,), "no hidden units"),
    (
        lambda: nn.Sequential(nn.Conv1d(4, 4, 1), nn.Conv1d(4, 4, 1, groups=2), nn.Flatten()),
        (4, 1),
        "'1' has 2 groups of channels",
    ),
    (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.GroupNorm(2, 4), nn.Linear(4, 3)),
        (5,),
        r"'1' \(groupnorm\)",
    ),
    (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.Softmax(1), nn.Linear(4, 3)),
        (5,),
        r"'1' \(softmax\)",
    ),
    (lambda: nn.Sequential(nn.LSTM(5, 4), nn.Linear(4, 3)), (5,), "."),
    (
        # Along the last axis a layer acts on pixels, not on channels.
        lambda: nn.Sequential(nn.Conv1d(1, 2, 1), nn.ReLU(), nn.Linear(4, 3), nn.Flatten()),
        (1, 4),
        "be the same function when hidden units change places",
    ),
]


@pytest.mark.parametrize(("make", "shape", "words"), REFUSED)
def test_networks_that_are_no_chain_are_refused(make, shape, words):
    torch.manual_seed(7)
    net = make().double().eval()
    metric = WeightMetric(net, torch.randn(6, *shape, dtype=F64))
    for match in (metric.match_weights, metric.match_activations):
        with pytest.raises((infogeo.BadValueError, TypeError), match=words):
            match(net, copy.deepcopy(net))


def test_a_norm_that_tells_units_apart_only_once_it_is_trained():
    """A layer norm along four pixels of four channels; new ones multiply by 1."""

    def net():
        body = (nn.Conv1d(1, 4, 1), nn.LayerNorm(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
        return nn.Sequential(*body).double()

    torch.manual_seed(0)
    first, second = net(), net()
    metric = WeightMetric(first, torch.randn(6, 1, 4, dtype=F64))
    metric.match_weights(first, first)
    nn.init.normal_(second[1].weight)
    for match in (metric.match_weights, metric.match_activations):
        with pytest.raises(ValueError, match="change places"):
            match(first, second)


def test_weights_of_another_model_are_refused():
    net = mlp(5, 4, 3)
    metric = WeightMetric(net, torch.randn(6, 5))
    with pytest.raises(infogeo.BadValueError, match=r"w1\['0.weight'\] must have shape"):
        metric.match_weights(net, mlp(5, 6, 3))
    with pytest.raises(infogeo.BadValueError, match="max_steps"):
        metric.match_weights(net, net, max_steps=0)
