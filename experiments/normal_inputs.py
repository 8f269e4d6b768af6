"""From a normal input to a categorical prediction, with a metric at both ends

A measurement with an error is not a point: it is a normal distribution, and so is what the network
knows of its input. Its mean and its standard deviations then have a metric, the Fisher metric of
normals; so has the categorical prediction. The map between the two, normal -> network -> softmax
-> categorical, takes no distance to a longer one (Chentsov's theorem: the network and the draw of
a class add no information about the input).

`lipschitz.propagation` makes the map a differentiable function: moments through the layers, then
the mean of the softmax. It is compared with samples, and the pulled-back metric with that of the
inputs. Writes normal_inputs.png into the current folder.
"""

import numpy as np
import torch
from common import table
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap
from torch import nn

from infogeo import normal, plot, simplex
from infogeo.lipschitz import layers, losses
from infogeo.lipschitz.propagation import linearize, propagate
from infogeo.normal import Normal
from infogeo.pullback import PullbackMetric, input_metrics

CENTRES = torch.tensor([[-1.5, -1.0], [1.5, -1.0], [0.0, 1.6]], dtype=torch.float64)
COLOURS = ("#0072B2", "#E69F00", "#009E73")
STARTS = ((-1.2, -0.6), (0.1, 0.3), (0.9, -1.0))
MARKERS = "os^"
STDS = torch.tensor([0.05, 0.1, 0.2, 0.4, 0.8, 1.6], dtype=torch.float64)


def train(generator):
    """Return a 1-Lipschitz classifier of three clouds of points, times 4."""
    modules, sizes = [], (2, 16, 16, 3)
    for i in range(3):
        modules += [
            layers.OrthogonalLinear(
                sizes[i], sizes[i + 1], dtype=torch.float64, generator=generator
            ),
            layers.GroupSort() if i < 2 else layers.Scaling(4.0),
        ]
    model = nn.Sequential(*modules)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(250):
        target = torch.randint(3, (128,), generator=generator)
        noise = torch.randn(128, 2, dtype=torch.float64, generator=generator)
        optimizer.zero_grad()
        losses.tau_cross_entropy(model(CENTRES[target] + 0.6 * noise), target, tau=1.0).backward()
        optimizer.step()
    return layers.freeze(model)


def log_mean_softmax(point, num_nodes=16):
    """Return the logarithms of E[softmax(z)] for three normal logits z: a rule of 256 nodes."""
    # Only differences of logits count: two of them.
    differences = torch.tensor([[1.0, 0.0, -1.0], [0.0, 1.0, -1.0]], dtype=torch.float64)
    mean = point.mean @ differences.T
    factor = torch.linalg.cholesky(differences @ point.cov @ differences.T)
    nodes, weights = (torch.from_numpy(x) for x in np.polynomial.hermite_e.hermegauss(num_nodes))
    grid, weights = torch.cartesian_prod(nodes, nodes), torch.outer(weights, weights).flatten()
    z = mean[..., None, :] + grid @ factor.mT
    z = torch.nn.functional.pad(z, (0, 1))
    return (torch.log_softmax(z, -1) + (weights / weights.sum()).log()[:, None]).logsumexp(-2)


def predictor(model, moments):
    """Return the map from means x[:, 0] and standard deviations x[:, 1] to a prediction."""

    def predict(x):
        point = moments(model, Normal(x[:, 0], x[:, 1], check=False), check=False)
        return log_mean_softmax(point)

    return predict


@torch.no_grad()
def sampled(model, x, num, generator):
    """Return the mean prediction for samples of each input."""
    noise = torch.randn(num, len(x), 2, dtype=x.dtype, generator=generator)
    z = model((x[:, 0] + x[:, 1] * noise).flatten(0, 1)).reshape(num, len(x), 3)
    return torch.softmax(z, -1).mean(0)


def print_errors(model, predict, generator):
    """Print how far the predictions are from those of samples."""
    means = 1.5 * torch.randn(100, 2, dtype=torch.float64, generator=generator)
    linear = predictor(model, linearize)
    rows = []
    for std in STDS:
        x = torch.stack((means, std.expand_as(means)), dim=1)
        truth = sampled(model, x, 4_000, generator)
        row = [f"{float(std):g}"]
        for p in (torch.softmax(model(means), -1), linear(x).exp(), predict(x).exp()):
            distance = simplex.fisher_rao_distance(p.detach(), truth)
            row.append(f"{float(distance.median()):.4f} ({float(distance.max()):.4f})")
        rows.append(row)
    table(
        "| std of the input | softmax at the mean | derivative at the mean (`linearize`) "
        "| moments (`propagate`) |",
        rows,
    )


def print_contraction(predict, generator):
    """Print how much of the distance between two inputs is left in the predictions."""
    shape = (2, 400, 2)
    mean = torch.randn(shape, dtype=torch.float64, generator=generator)
    std = torch.exp(0.7 * torch.randn(shape, dtype=torch.float64, generator=generator) - 0.7)
    a, b = (Normal(m, s) for m, s in zip(mean, std, strict=True))
    before = normal.diagonal_fisher_rao_distance(a, b)
    p, q = (predict(torch.stack((point.mean, point.std), dim=1)).exp() for point in (a, b))
    ratio = simplex.fisher_rao_distance(p.detach(), q.detach()) / before
    print(f"\nratio of the distances after and before, 400 pairs: at most {float(ratio.max()):.3f}")
    assert float(ratio.max()) <= 1.0


def draw_inputs(ax, model):
    """Draw the decisions of the network, and input normals of three means."""
    grid = torch.linspace(-3.2, 3.2, 161, dtype=torch.float64)
    a, b = torch.meshgrid(grid, grid, indexing="xy")
    with torch.no_grad():
        classes = model(torch.stack((a, b), -1).reshape(-1, 2)).argmax(-1).reshape(a.shape)
    ax.pcolormesh(grid, grid, classes, cmap=ListedColormap(COLOURS), alpha=0.25, rasterized=True)
    for start, marker in zip(STARTS, MARKERS, strict=True):
        ax.plot(*start, marker, color="black", markersize=5)
        for std in STDS[2:]:
            ax.add_patch(plt.Circle(start, float(std), fill=False, color="0.25", linewidth=0.8))
    ax.set(xlabel="first feature", ylabel="second feature", xlim=(-3.2, 3.2), ylim=(-3.2, 3.2))
    ax.set_title("Inputs: means, one standard deviation")
    ax.set_aspect("equal")


def draw_predictions(ax, predict, model, generator):
    """Draw the predictions as the standard deviation grows, with those of samples."""
    plot.simplex(ax, labels=("class 0", "class 1", "class 2"))
    stds = torch.logspace(-2.0, 0.5, 60, dtype=torch.float64)
    for start, marker in zip(STARTS, MARKERS, strict=True):
        mean = torch.tensor(start, dtype=torch.float64)
        curves = [
            torch.stack((mean.expand(len(s), 2), s[:, None].expand(-1, 2)), 1) for s in (stds, STDS)
        ]
        curve = plot.to_ternary(predict(curves[0]).detach().exp().numpy())
        truth = plot.to_ternary(sampled(model, curves[1], 4_000, generator).numpy())
        ax.plot(*curve.T, color="#D55E00", linewidth=1.5)
        ax.plot(*truth.T, marker, color="black", markersize=5, markerfacecolor="none")
    ax.set_title("Predictions: moments (line), samples (marks)")


def draw_contraction(ax, predict):
    """Draw the largest speed of the prediction for inputs of unit Fisher speed."""
    grid = torch.linspace(-3.2, 3.2, 33, dtype=torch.float64)
    a, b = torch.meshgrid(grid, grid, indexing="xy")
    means = torch.stack((a, b), -1).reshape(-1, 2)
    x = torch.stack((means, torch.full_like(means, 0.5)), dim=1)
    metric = PullbackMetric(predict, input_metric=input_metrics.normal)
    speeds = metric.spectrum(x, num_values=1).values[:, 0].sqrt()
    print(
        f"largest speed at std 0.5: {float(speeds.max()):.3f}, median {float(speeds.median()):.3f}"
    )
    assert float(speeds.max()) <= 1.0
    shown = ax.pcolormesh(grid, grid, speeds.reshape(a.shape), cmap="cividis", vmin=0.0, vmax=1.0)
    ax.figure.colorbar(shown, ax=ax, shrink=0.8, label="radians of output per radian of input")
    ax.set(xlabel="mean of the first feature", ylabel="mean of the second feature")
    ax.set_title("Pulled-back metric against that of inputs, std 0.5")
    ax.set_aspect("equal")


def main():
    """Train, compare with samples, pull the metric back and draw the figure."""
    generator = torch.Generator().manual_seed(0)
    model = train(generator)
    predict = predictor(model, propagate)
    print_errors(model, predict, generator)
    print_contraction(predict, generator)
    figure, axes = plt.subplots(1, 3, figsize=(15.0, 4.8), layout="constrained")
    draw_inputs(axes[0], model)
    draw_predictions(axes[1], predict, model, generator)
    draw_contraction(axes[2], predict)
    figure.savefig("normal_inputs.png", dpi=110)


if __name__ == "__main__":
    main()
