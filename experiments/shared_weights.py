"""What do the features of a whole network's tangent say? Moments of dz/dw, and shared weights

The features of a network's tangent at its weights w are F_i(x, y) = dz_y/dw_i, one for each weight.
The gradient of the mean log-likelihood is the moment E[F_i] over the data less that over the
predictions: where training ends all these moments agree. With ReLU and no biases the logits
are w'F / 2 for two layers, so that the predictions lie in the exponential family of F, and are
those of maximum entropy which have these moments. The feature of a weight that is used at several
places is the sum of the features of the places. A small convolutional network is trained to the
end, and the predictions of maximum entropy are found again by `maxent.c_maximize`.
"""

import numpy as np
import torch
from common import spread, table
from scipy.optimize import minimize
from torch.func import jacrev, vmap
from torch.nn.functional import cross_entropy

from infogeo import maxent

SEEDS, LENGTH, KERNEL, NUM_CHANNELS, NUM_CLASSES = range(3), 8, 3, 3, 3
NUM_PLACES, NUM_FIRST = LENGTH - KERNEL + 1, NUM_CHANNELS * KERNEL
SEEN, OTHERS = range(3), range(3, NUM_PLACES)  # places of the pattern in training, and not
NUM_TRAIN, NUM_NEW = 300, 3_000
PATTERNS = torch.tensor([[1.0, -1.0, 1.0], [-1.0, 1.0, 1.0], [1.0, 1.0, -1.0]]).double()
PARTS = ("kernels", "last layer")


def sample(num, places, generator):
    """Return sequences with the pattern of a class at some place, and labels, a fifth by chance."""
    y = torch.randint(NUM_CLASSES, (num,), generator=generator)
    x = 0.5 * torch.randn(num, LENGTH, generator=generator, dtype=torch.float64)
    at = places[0] + torch.randint(len(places), (num,), generator=generator)
    for k in range(KERNEL):
        x[torch.arange(num), at + k] += PATTERNS[y, k]
    by_chance = torch.rand(num, generator=generator) < 0.2
    return x, torch.where(by_chance, torch.randint(NUM_CLASSES, (num,), generator=generator), y)


def logits(first, last, x):
    """Return the logits of one sequence; first has a kernel for each place, or one for all."""
    inner = torch.einsum("pck,pk->cp", first.expand(NUM_PLACES, -1, -1), x.unfold(0, KERNEL, 1))
    return last @ torch.relu(inner).mean(1)


def split(w):
    """Return the kernels and the last layer of a vector of weights."""
    first, last = w.split([NUM_FIRST, NUM_CLASSES * NUM_CHANNELS])
    return first.reshape(1, NUM_CHANNELS, KERNEL), last.reshape(NUM_CLASSES, NUM_CHANNELS)


def predictions(w, x):
    """Return the logits of all sequences."""
    return vmap(lambda row: logits(*split(w), row))(x)


def features(w, x):
    """Return F for all sequences and classes, of the parts of the network."""
    first, last = split(w)
    each = first.expand(NUM_PLACES, -1, -1).contiguous()
    of_last = vmap(jacrev(lambda v, row: logits(first, v, row)), (None, 0))(last, x)
    of_places = vmap(jacrev(lambda v, row: logits(v, last, row)), (None, 0))(each, x)
    return {
        "kernels": of_places.sum(2).flatten(2),
        "last layer": of_last.flatten(2),
        "kernels at each place": of_places.flatten(2),
    }


def train(x, y, seed, *, is_whole):
    """Return the weights where training ends, of the whole network or of its last layer alone."""
    generator = torch.Generator().manual_seed(seed)
    size = NUM_FIRST + NUM_CLASSES * NUM_CHANNELS
    start = torch.randn(size, generator=generator, dtype=torch.float64)
    is_free = torch.arange(size) >= (0 if is_whole else NUM_FIRST)

    def loss(free):
        w = start.masked_scatter(is_free, torch.from_numpy(free)).requires_grad_(True)
        value = cross_entropy(predictions(w, x), y)
        (gradient,) = torch.autograd.grad(value, w)
        return value.item(), gradient[is_free].numpy()

    options = {"maxiter": 5_000, "maxfun": 10_000, "ftol": 0.0, "gtol": 1e-10, "maxcor": 30}
    found = minimize(loss, start[is_free].numpy(), jac=True, method="L-BFGS-B", options=options)
    return start.masked_scatter(is_free, torch.from_numpy(found.x))


def misfit(F, z, y):
    """Return the largest difference of the moments, in standard errors of a mean over the data."""
    difference = F[torch.arange(len(y)), y] - (F * z.softmax(1)[..., None]).sum(1)
    return float((difference.mean(0).abs() / difference.std(0)).max() * len(y) ** 0.5)


def of_maximum_entropy(F, y):
    """Return theta of the p(y | x) of maximum entropy that have the moments of F in the data."""
    num = len(y)
    inputs = np.kron(np.eye(num), np.ones(NUM_CLASSES))  # each sequence keeps its share
    rows = F.permute(2, 0, 1).reshape(F.shape[2], -1).numpy()
    targets = F[torch.arange(num), y].mean(0).numpy()
    found = maxent.c_maximize(
        np.concatenate([inputs, rows]), np.concatenate([np.full(num, 1.0 / num), targets])
    )
    return torch.from_numpy(found.theta[num:])


def joined(parts, names):
    """Return the features of several parts side by side."""
    return torch.cat([parts[name] for name in names], 2)


def study(seed):
    """Return the misfits of moments, and the cross-entropies of three predictions."""
    generator = torch.Generator().manual_seed(seed)
    x, y = sample(NUM_TRAIN, SEEN, generator)
    news = [(x, y), *(sample(NUM_NEW, places, generator) for places in (SEEN, OTHERS))]
    misfits = {}
    for name, is_whole in (("the last layer alone", False), ("the whole network", True)):
        w = train(x, y, seed, is_whole=is_whole)
        z, parts = predictions(w, x), features(w, x)
        assert float((joined(parts, PARTS) @ w / 2.0 - z).abs().max()) < 1e-12
        misfits[name] = {part: misfit(F, z, y) for part, F in parts.items()}
    losses = {"network": [float(cross_entropy(predictions(w, a), b)) for a, b in news]}
    gaps = {}
    for name, chosen in (("shared", PARTS), ("free", ("kernels at each place", "last layer"))):
        theta = of_maximum_entropy(joined(parts, chosen), y)
        found = [joined(features(w, a), chosen) @ theta for a, _ in news]
        losses[name] = [float(cross_entropy(v, b)) for v, (_, b) in zip(found, news, strict=True)]
        gaps[name] = float((found[0].softmax(1) - z.softmax(1)).abs().max())
    return misfits, losses, gaps


NAMES = {
    "network": "the network",
    "shared": "maximum entropy, its 18 moments",
    "free": "maximum entropy, a kernel for each place: 63 moments",
}


def main():
    """Train, compare moments, and maximise the entropy with and without shared weights."""
    torch.set_num_threads(1)
    misfits, losses, gaps = zip(*[study(seed) for seed in SEEDS], strict=True)
    rows = []
    for name in misfits[0]:
        values = {part: [run[name][part] for run in misfits] for part in misfits[0][name]}
        cells = ("below 0.1" if max(v) < 0.1 else spread(v, "{:.1f}") for v in values.values())
        rows.append([name, *cells])
        assert max(values["last layer"]) < 0.1
        assert min(values["kernels at each place"]) > 2.0
        if name == "the whole network":
            assert max(values["kernels"]) < 0.1
        else:
            assert min(values["kernels"]) > 1.0
    table(
        "| trained | misfit of the moments of the kernels | of the last layer "
        "| of the kernels at each place |",
        rows,
    )
    table(
        "| predictions | cross-entropy on the training sequences | on new ones "
        "| on new ones with the pattern at other places |",
        [
            [title, *(spread(c) for c in zip(*[run[name] for run in losses], strict=True))]
            for name, title in NAMES.items()
        ],
    )
    assert max(run["shared"] for run in gaps) < 0.02
    assert min(run["free"] for run in gaps) > 0.3
    for run in losses:
        assert run["free"][0] < run["network"][0] - 0.1
        assert run["free"][1] < run["network"][1]
        assert run["free"][2] > run["network"][2] + 0.3


if __name__ == "__main__":
    main()
