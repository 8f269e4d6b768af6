"""How far predictions of digits are off by the weights: the delta method beside ensembles.

A small network with weight decay is trained to its optimum on some digits. Two ensembles are
trained from there to theirs: on new draws of the same digits (the bootstrap), and on other digits,
a few of them the same. The root mean square distance of their predictions from those of the network
is compared with `prediction_std`, with and without losses (the sandwich), at digits that none
were chosen from: the ratio, the median over these digits, and the rank correlation. Each line is
the mean over several training sets, ± their spread.

    python benchmarks/weight_uncertainty.py
"""

import copy

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import nn

from infogeo import logits
from infogeo.pullback import WeightMetric

NUM_TRAINING, NUM_NEW, NUM_MEMBERS, NUM_SETS = 200, 200, 10, 3
PRECISIONS = (1.0,)  # of the prior: weight decay of the sum of the losses


def trained(start, x, y, precision):
    """Return a network at the optimum of its losses and its prior."""
    net = copy.deepcopy(start)
    optimiser = torch.optim.LBFGS(
        net.parameters(), max_iter=200, tolerance_grad=1e-4, line_search_fn="strong_wolfe"
    )

    def loss():
        optimiser.zero_grad()
        weights = sum(w.square().sum() for w in net.parameters())
        found = nn.functional.cross_entropy(net(x), y, reduction="sum") + 0.5 * precision * weights
        found.backward()
        return found

    optimiser.step(loss)
    return net


def spread(net, members, new):
    """Return the root mean square distance of the members from a network at each new digit."""
    with torch.no_grad():
        center, z = net(new).numpy(), np.stack([member(new).numpy() for member in members])
    return np.sqrt((logits.fisher_rao_distance(center, z) ** 2).mean(0))


def compared(seed, precision):
    """Return ratios and rank correlations of both methods with both ensembles, of one set."""
    rng = np.random.default_rng(seed)
    order = torch.tensor(rng.permutation(len(IMAGES)))
    new, rest = IMAGES[order[:NUM_NEW]], order[NUM_NEW:]
    x, y = IMAGES[rest[:NUM_TRAINING]], LABELS[rest[:NUM_TRAINING]]
    torch.manual_seed(seed)
    start = nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10)).double()
    net = trained(start, x, y, precision)
    metric = WeightMetric(net, x)

    def losses(z):
        return nn.functional.cross_entropy(z, y, reduction="none")

    methods = {
        "delta method": metric.prediction_std(new, precision).numpy(),
        "sandwich": metric.prediction_std(new, precision, losses=losses).numpy(),
    }
    draws = {
        "bootstrap": [
            torch.tensor(rng.integers(0, NUM_TRAINING, NUM_TRAINING)) for _ in range(NUM_MEMBERS)
        ],
        "other digits": [
            torch.tensor(rng.permutation(len(rest))[:NUM_TRAINING]) for _ in range(NUM_MEMBERS)
        ],
    }
    found = {}
    for name, chosen in draws.items():
        if name == "bootstrap":
            members = [trained(net, x[k], y[k], precision) for k in chosen]
        else:
            members = [trained(net, IMAGES[rest[k]], LABELS[rest[k]], precision) for k in chosen]
        seen = spread(net, members, new)
        for method, std in methods.items():
            ratio = float(np.median(std / seen))
            found[method, name] = ratio, float(spearmanr(std, seen).statistic)
    return found


def main():
    """Print one line for each precision, method and ensemble."""
    print(f"{NUM_TRAINING} digits, {NUM_MEMBERS} members, {NUM_SETS} training sets")
    for precision in PRECISIONS:
        found = [compared(seed, precision) for seed in range(NUM_SETS)]
        for key in found[0]:
            rows = np.array([one[key] for one in found])
            (ratio, rank), (ratio_spread, rank_spread) = rows.mean(0), rows.std(0, ddof=1)
            print(
                f"precision {precision:g}, {key[0]} over {key[1]}: ratio {ratio:.2f} ± "
                f"{ratio_spread:.2f}, rank correlation {rank:.2f} ± {rank_spread:.2f}"
            )


IMAGES, LABELS = (torch.tensor(part) for part in load_digits(return_X_y=True))
IMAGES = IMAGES / 16.0

if __name__ == "__main__":
    main()
