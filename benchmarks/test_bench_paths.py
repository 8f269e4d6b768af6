"""Lengths, distances and walks in the pulled-back metric, beside quadrature and energies by hand.

The network is the one of docs/paths.md: random features of scikit-learn's digits with least squares
on top of them. The errors are

- of a length: relative to the sum over 20,000 pieces of the line, the largest of the first eight;
- of a short path: what it has more than the distance of its two predictions, relative, the mean;
- of a walk: how far the prediction drifts, the largest, in radians;
- of a leaf path: what horizontal part of the way to the target remains, relative, the largest.
"""

import functools
import itertools

import pytest
import scipy.optimize

torch = pytest.importorskip("torch")

from infogeo.pullback import PullbackMetric  # noqa: E402


@functools.cache
def network():
    """Return the network and the digits."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images, labels = torch.tensor(images / 16.0), torch.tensor(labels)
    torch.manual_seed(0)
    embed = torch.nn.Sequential(torch.nn.Linear(64, 400), torch.nn.Tanh()).double()
    net = torch.nn.Sequential(embed, torch.nn.Linear(400, 10, bias=False).double())
    with torch.no_grad():
        features = embed(images)
        one_hot = torch.nn.functional.one_hot(labels).double()
        penalised = features.T @ features + 0.1 * torch.eye(400)
        net[1].weight.copy_(10.0 * torch.linalg.solve(penalised, features.T @ one_hot).T)
    return net.requires_grad_(False), images


def problem(num_pairs):
    """Return the metric and pairs of digits."""
    net, images = network()
    return PullbackMetric(net), images[:num_pairs], images[num_pairs : 2 * num_pairs]


def spaced(x0, x1, num_pieces):
    t = torch.linspace(0.0, 1.0, num_pieces + 1, dtype=x0.dtype)
    return x0 + t.reshape(-1, *(1,) * x0.ndim) * (x1 - x0)


# ---------------------------------------------------------------- straight lines


def by_forward_passes(metric, x0, x1):
    return metric.segment_length(x0, x1).value


def by_jvp(num_points):
    """Return the trapezoid rule for |dx|, from directional derivatives by torch.func.jvp."""

    def length(metric, x0, x1):
        x = spaced(x0, x1, num_points - 1).flatten(0, 1)
        v = (x1 - x0).repeat(num_points, 1)
        z, dz = torch.func.jvp(metric.model, (x,), (v,))
        p = torch.softmax(z, -1)
        centred = dz - (p * dz).sum(-1, keepdim=True)
        speed = (p * centred.square()).sum(-1).sqrt().reshape(num_points, -1)
        return (speed[1:] + speed[:-1]).sum(0) / (2.0 * (num_points - 1))

    return length


STRAIGHT = {
    "infogeo": by_forward_passes,
    "`torch.func.jvp` at 33 points": by_jvp(33),
    "`torch.func.jvp` at 513 points": by_jvp(513),
}


@pytest.mark.parametrize("who", STRAIGHT)
def test_straight_lines(benchmark, who):
    metric, x0, x1 = problem(64)
    benchmark.group = "lengths of 64 straight lines"
    found = benchmark.pedantic(STRAIGHT[who], args=(metric, x0, x1), rounds=5, warmup_rounds=1)
    lines = zip(x0[:8], x1[:8], strict=True)
    exact = torch.stack([metric.length(spaced(start, end, 20_000)) for start, end in lines])
    benchmark.extra_info["error"] = float(((found[:8] - exact).abs() / exact).max())


# ---------------------------------------------------------------- short paths


def by_distance(metric, x0, x1):
    return metric.distance(x0, x1).points


def by_energy(metric, x0, x1, num_segments=32):
    """Return the corners of the polygon of least energy, by scipy's L-BFGS from the straight line.

    The energy is that of the spherical distances of the predictions at the corners.
    """

    def shorten(start, end):
        line = spaced(start, end, num_segments)

        def energy(inner):
            y = torch.tensor(inner).reshape(-1, *start.shape).requires_grad_()
            u = torch.softmax(metric.model(torch.cat([line[:1], y, line[-1:]])), -1).sqrt()
            angle = 2.0 * torch.asin(0.5 * (u[1:] - u[:-1]).norm(dim=-1))
            value = 2.0 * num_segments * angle.square().sum()
            value.backward()
            return float(value.detach()), y.grad.numpy().ravel()

        found = scipy.optimize.minimize(
            energy, line[1:-1].numpy().ravel(), jac=True, method="L-BFGS-B"
        )
        return torch.cat([line[:1], torch.tensor(found.x).reshape(line[1:-1].shape), line[-1:]])

    return torch.stack([shorten(*pair) for pair in zip(x0, x1, strict=True)], dim=1)


SHORT = {"infogeo": by_distance, "energy of 32 segments, scipy L-BFGS": by_energy}


@pytest.mark.parametrize("who", SHORT)
def test_short_paths(benchmark, who):
    metric, x0, x1 = problem(2)
    benchmark.group = "short paths of 2 pairs"
    points = benchmark.pedantic(SHORT[who], args=(metric, x0, x1), rounds=1)
    pieces = torch.cat([spaced(a, b, 100)[:-1] for a, b in itertools.pairwise(points)])
    pieces = torch.cat([pieces, points[-1:]])
    lengths = torch.stack([metric.length(pieces[:, i]) for i in range(len(x0))])
    above = lengths / metric.output_distance(x0, x1) - 1.0
    benchmark.extra_info["error"] = float(above.mean())


# ---------------------------------------------------------------- walks and leaves


@pytest.mark.parametrize(
    ("who", "num_corrections"),
    [("infogeo", 2), ("infogeo, `num_corrections=0`", 0)],
)
def test_kernel_walks(benchmark, who, num_corrections):
    metric, x0, x1 = problem(64)
    benchmark.group = "kernel walks of 20 steps, 64 pairs"
    call = functools.partial(metric.kernel_walk, num_corrections=num_corrections)
    walk = benchmark.pedantic(call, args=(x0, x1 - x0), rounds=3, warmup_rounds=1)
    benchmark.extra_info["error"] = float(walk.drift.max())


@pytest.mark.parametrize("who", ["infogeo"])
def test_leaf_paths(benchmark, who):
    metric, x0, x1 = problem(64)
    benchmark.group = "leaf paths of 50 steps, 64 pairs"
    path = benchmark.pedantic(metric.leaf_path, args=(x0, x1), rounds=3, warmup_rounds=1)
    benchmark.extra_info["error"] = float((path.remainder / (x1 - x0).norm(dim=1)).max())
