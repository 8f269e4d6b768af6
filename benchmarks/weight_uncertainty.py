"""How far predictions of digits are off by the weights: the delta method beside what it stands for.

A model with weight decay is trained to its optimum on some digits. The root mean square distance to
which its predictions spread is then seen in six ways, at digits that none were chosen from:

- posterior: weights drawn from the posterior itself by Hamiltonian Monte Carlo, from the optimum;
- labels and prior anew: trained again with labels that the model draws, and with weights that decay
  towards a draw from the prior. Of a linear model with normal errors these are posterior samples;
- labels anew: the same, with weights that decay towards 0;
- bootstrap: trained again on the same digits, drawn with replacement;
- other digits: trained again on digits that are drawn from all the others;
- other starts: trained again on the same digits, from other random weights.

`prediction_std` of the delta method, of the sandwich (`losses=`), and the spread over weights that
are drawn from the normal distribution of the delta method and put into the model as it is, are
compared with them: the median ratio over the digits, and the rank correlation. Each number is the
mean over training sets, ± their spread. The precision of the prior is the one of PRECISIONS that
has the largest evidence (`log_marginal_likelihood`), whose table comes first.

    python benchmarks/weight_uncertainty.py
"""

import copy
import math

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import nn
from torch.func import functional_call

from infogeo import logits
from infogeo.pullback import WeightMetric

NUM_NEW, NUM_MEMBERS, NUM_SETS, NUM_DRAWS = 150, 12, 3, 400
PRECISIONS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # weight decay of the sum of the losses
ACCEPTED = 0.7  # the step of the sampler is changed until so many of its proposals are

IMAGES, LABELS = (torch.tensor(part) for part in load_digits(return_X_y=True))
IMAGES = IMAGES / 16.0


def components(x, number):
    """Return the first principal components of images, of variance 1 on average."""
    centred = x - x.mean(0)
    scores = centred @ torch.linalg.svd(centred, full_matrices=False)[2][:number].T
    return scores / scores.std()


FEW = LABELS < 3
ABOUT = {  # what is compared with each spread, beside the delta method alone
    "posterior": ("delta method", "weights drawn", "first half of the chain"),
    "bootstrap": ("delta method", "sandwich"),
    "other digits": ("delta method", "sandwich"),
}
CASES = {  # images, labels, how many of them are trained, and the model
    "softmax of 4 components, 10 classes, 400 digits": (
        components(IMAGES, 4), LABELS, 400, lambda: nn.Sequential(nn.Linear(4, 10)),
    ),
    "softmax of 8 components, 3 classes, 300 digits, which it separates": (
        components(IMAGES[FEW], 8), LABELS[FEW], 300, lambda: nn.Sequential(nn.Linear(8, 3)),
    ),
    "softmax of 64 pixels, 10 classes, 200 digits": (
        IMAGES, LABELS, 200, lambda: nn.Sequential(nn.Linear(64, 10)),
    ),
    "network of 8 tanh units, 10 classes, 200 digits": (
        IMAGES, LABELS, 200,
        lambda: nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10)),
    ),
}  # fmt: skip


def trained(start, x, y, precision, center=0.0):
    """Return a model at the optimum of its losses and its prior."""
    net = copy.deepcopy(start)
    optimiser = torch.optim.LBFGS(
        net.parameters(), max_iter=300, tolerance_grad=1e-4, line_search_fn="strong_wolfe"
    )

    def loss():
        optimiser.zero_grad()
        weights = nn.utils.parameters_to_vector(net.parameters()) - center
        found = nn.functional.cross_entropy(net(x), y, reduction="sum")
        found = found + 0.5 * precision * weights.square().sum()
        found.backward()
        return found

    optimiser.step(loss)
    return net


class Posterior:
    """The posterior of the weights around an optimum, in coordinates where it is about standard."""

    def __init__(self, net, x, y, precision):
        self.net, self.x, self.y, self.precision = net, x, y, precision
        metric = WeightMetric(net, x)
        self.vectors = metric.spectrum().vectors
        values = len(x) * metric.spectrum().values
        self.shrink = (precision / (values + precision)).sqrt()
        self.named = metric.unflatten
        self.center = metric.flatten({name: w.detach() for name, w in net.named_parameters()})

    def weights(self, u):
        """Return the weights of standard coordinates."""
        along = self.vectors @ u
        rest = u - along @ self.vectors
        return self.center + (rest + (self.shrink * along) @ self.vectors) / self.precision**0.5

    def outputs(self, u, x):
        """Return the outputs of the model with these weights."""
        return functional_call(self.net, self.named(self.weights(u)), (x,))

    def energy(self, u):
        """Return the negative log-posterior and its gradient."""
        leaf = u.clone().requires_grad_()
        found = nn.functional.cross_entropy(self.outputs(leaf, self.x), self.y, reduction="sum")
        found = found + 0.5 * self.precision * self.weights(leaf).square().sum()
        return found.item(), torch.autograd.grad(found, leaf)[0]

    def draws(self, new, generator):
        """Return outputs at new inputs with weights of a Hamiltonian chain, after it has warmed up.

        Eight steps of the leapfrog a draw; the length of the steps is fixed after the warm-up.
        """
        at = torch.zeros_like(self.center)
        energy, slope = self.energy(at)
        step, found = 0.9 * len(at) ** -0.25, []
        for k in range(-NUM_DRAWS // 3, NUM_DRAWS):
            momentum = torch.randn(len(at), generator=generator, dtype=at.dtype)
            total = energy + 0.5 * momentum.square().sum().item()
            length = step * (0.8 + 0.4 * torch.rand(1, generator=generator).item())
            there, pull = at, slope
            for _ in range(8):
                momentum = momentum - 0.5 * length * pull
                there = there + length * momentum
                height, pull = self.energy(there)
                momentum = momentum - 0.5 * length * pull
            rise = height + 0.5 * momentum.square().sum().item() - total
            is_accepted = torch.rand(1, generator=generator).item() < math.exp(-max(rise, 0.0))
            if is_accepted:
                at, energy, slope = there, height, pull
            if k < 0:
                step *= math.exp(0.1 * (is_accepted - ACCEPTED))
            else:
                found.append(self.outputs(at, new).detach().numpy())
        return np.stack(found)


def spread(center, z):
    """Return the root mean square distance of outputs from others at each new digit."""
    return np.sqrt((logits.fisher_rao_distance(center, z) ** 2).mean(0))


def split(case, seed):
    """Return new digits with labels, digits to train on, and all those that are not new."""
    images, labels, number, make = CASES[case]
    order = torch.tensor(np.random.default_rng(seed).permutation(len(images)))
    new, rest = order[:NUM_NEW], order[NUM_NEW:]
    torch.manual_seed(seed)
    return images, labels, new, rest, rest[:number], make().double()


def chosen(case, seed):
    """Return the evidence and the loss at new digits for each precision."""
    images, labels, new, _, used, start = split(case, seed)
    x, y, rows = images[used], labels[used], []
    for precision in PRECISIONS:
        net = trained(start, x, y, precision)

        def losses(z):
            return nn.functional.cross_entropy(z, y, reduction="none")

        evidence = WeightMetric(net, x).log_marginal_likelihood(precision, losses)
        with torch.no_grad():
            loss = nn.functional.cross_entropy(net(images[new]), labels[new])
        rows.append((evidence.item(), loss.item()))
    return np.array(rows)


def members(case, seed, net, precision):
    """Return how each ensemble is trained: functions that make one member."""
    images, labels, _, rest, used, _ = split(case, seed)
    x, y, make = images[used], labels[used], CASES[case][3]
    generator = torch.Generator().manual_seed(seed)
    size = sum(w.numel() for w in net.parameters())
    p = torch.softmax(net(x), -1).detach()

    def drawn():
        return torch.multinomial(p, 1, generator=generator)[:, 0]

    def from_prior():
        return torch.randn(size, generator=generator, dtype=x.dtype) / precision**0.5

    def again():
        return torch.randint(len(used), (len(used),), generator=generator)

    def on(k):
        return trained(net, images[k], labels[k], precision)

    def others():
        return rest[torch.randperm(len(rest), generator=generator)[: len(used)]]

    ways = {
        "labels and prior anew": lambda: trained(net, x, drawn(), precision, from_prior()),
        "labels anew": lambda: trained(net, x, drawn(), precision),
        "bootstrap": lambda: on(used[again()]),
        "other digits": lambda: on(others()),
    }
    if len(list(net.parameters())) > 2:  # else there is one optimum
        ways["other starts"] = lambda: trained(make().double(), x, y, precision)
    return ways


def compared(case, seed, precision):
    """Return ratios and rank correlations of each method with each spread, of one training set."""
    images, labels, new, _, used, start = split(case, seed)
    x, y, new = images[used], labels[used], images[new]
    net = trained(start, x, y, precision)
    metric = WeightMetric(net, x)
    posterior = Posterior(net, x, y, precision)
    generator = torch.Generator().manual_seed(seed)
    center = net(new).detach().numpy()
    normal = torch.randn(100, len(posterior.center), generator=generator, dtype=x.dtype)
    methods = {
        "delta method": metric.prediction_std(new, precision).numpy(),
        "weights drawn": spread(
            center, np.stack([posterior.outputs(u, new).detach().numpy() for u in normal])
        ),
        "sandwich": metric.prediction_std(
            new, precision, losses=lambda z: nn.functional.cross_entropy(z, y, reduction="none")
        ).numpy(),
    }
    chain = posterior.draws(new, generator)
    seen = {"posterior": spread(center, chain)}
    half = len(chain) // 2
    methods["first half of the chain"] = spread(center, chain[:half])
    for name, make in members(case, seed, net, precision).items():
        found = [make()(new).detach().numpy() for _ in range(NUM_MEMBERS)]
        seen[name] = spread(center, np.stack(found))
    return {
        (method, name): (float(np.median(std / found)), float(spearmanr(std, found).statistic))
        for name, found in seen.items()
        for method, std in methods.items()
        if method in ABOUT.get(name, ("delta method",))
    }


def main():
    """Print the evidence of each case, and a line for each method and spread."""
    torch.set_num_threads(1)
    print(f"{NUM_SETS} training sets, {NUM_MEMBERS} members, {NUM_DRAWS} draws of a chain")
    for case in CASES:
        print(f"\n{case}")
        rows = np.mean([chosen(case, seed) for seed in range(NUM_SETS)], axis=0)
        for precision, (evidence, loss) in zip(PRECISIONS, rows, strict=True):
            print(
                f"precision {precision:g}: evidence {evidence:.1f}, loss at new digits {loss:.3f}"
            )
        precision = PRECISIONS[int(rows[:, 0].argmax())]
        found = [compared(case, seed, precision) for seed in range(NUM_SETS)]
        for method, name in found[0]:
            rows = np.array([one[method, name] for one in found])
            (ratio, rank), (ratio_spread, rank_spread) = rows.mean(0), rows.std(0, ddof=1)
            print(
                f"precision {precision:g}, {method} over {name}: ratio {ratio:.2f} ± "
                f"{ratio_spread:.2f}, rank correlation {rank:.2f} ± {rank_spread:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
