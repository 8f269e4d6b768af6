"""What does a classifier gain that rejects what it has no certificate for?

A classifier that may reject has one class more. Two rules, on two networks: accept an input if the
margin certifies the radius eps, or if the prediction is confident, with the threshold at which as
many images are accepted. A certificate is a statement about every attacked input: whatever is
accepted within eps of an image has the class that the network gives to the image itself. Both
networks are attacked towards every class. Rejecting has a price, and the rejected class an area:
its share of triangles that are spanned by three images of different classes.

Draws rejection.png.
"""

from dataclasses import dataclass

import numpy as np
import torch
from common import climb, digits, group_sort_network, log_odds, relu_network, spread, table, train
from matplotlib import pyplot as plt
from torch import nn

from infogeo.lipschitz import certificates, layers, losses

SEEDS, EPS, PRICE = range(3), (0.3, 0.6), 0.1
RADII = torch.linspace(0.0, 1.2, 121)


@dataclass(frozen=True)
class Rule:
    """When a network accepts what."""

    model: nn.Module
    is_accepted: object  # of logits, a boolean each
    progress: object  # of logits and a target: what an attack on this rule makes large


def lead(z, target):
    """Return by how much the logit of the target exceeds all others."""
    own = z.gather(1, target[:, None])[:, 0]
    return own - z.scatter(1, target[:, None], -torch.inf).amax(1)


def confidence(z):
    """Return the logarithm of the odds of the predicted class: it does not saturate."""
    return log_odds(z, z.argmax(1))


def networks(x, y, seed):
    """Return a 1-Lipschitz network and an ordinary one."""

    def offset(z, y):
        return losses.offset_cross_entropy(z, y, offset=0.7, tau=5.0)

    lipschitz = train(group_sort_network((64, 64, 10), seed), x, y, offset, seed=seed)
    ordinary = relu_network((64, 64, 10), seed)
    train(ordinary, x, y, nn.functional.cross_entropy, seed=seed)
    return layers.freeze(lipschitz).requires_grad_(False), ordinary.requires_grad_(False)


def by_certificate(model, bound, eps):
    """Return the rule that accepts what has a certificate of eps."""
    return Rule(
        model, lambda z: certificates.accept(z, eps, lipschitz_constant=bound, check=False), lead
    )


def by_confidence(model, scale, least):
    """Return the rule that accepts what is confident."""
    return Rule(
        model,
        lambda z: confidence(scale * z) > least,
        lambda z, target: log_odds(scale * z, target),
    )


def rules(lipschitz, ordinary, bound, x, eps):
    """Return the four rules; both by confidence accept as many as the certificate of the first."""
    first = by_certificate(lipschitz, 1.0, eps)
    share = float(first.is_accepted(lipschitz(x)).float().mean())
    found = {"1-Lipschitz, certificate": first}
    for name, model, scale in (("1-Lipschitz", lipschitz, 5.0), ("ordinary", ordinary, 1.0)):
        least = float(confidence(scale * model(x)).quantile(1.0 - share))
        found[f"{name}, confidence"] = by_confidence(model, scale, least)
    found["ordinary, certificate"] = by_certificate(ordinary, bound, eps)
    return found


def replaced(rule, x, y, eps):
    """Return for each image whether a right answer was replaced by a wrong one that is accepted."""
    is_right = rule.model(x).argmax(-1) == y
    is_lost = torch.zeros(len(x), dtype=torch.bool)
    for shift in range(1, 10):
        target = (y + shift) % 10

        def objective(points, target=target):
            return rule.progress(rule.model(points), target)

        z = rule.model(climb(objective, x, eps, 20))
        is_lost |= (z.argmax(-1) != y) & rule.is_accepted(z)
    return is_lost & is_right


def triangles(x, y, seed, num=400, num_points=50):
    """Return points spread evenly over triangles of three images of different classes."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(len(x), size=(4 * num, 3))
    classes = y.numpy()[corners]
    differ = (classes[:, 0] != classes[:, 1]) & (classes[:, 1] != classes[:, 2])
    corners = corners[differ & (classes[:, 0] != classes[:, 2])][:num]
    weights = torch.from_numpy(rng.dirichlet(np.ones(3), size=(num, num_points))).float()
    return (weights @ x[corners]).reshape(-1, x.shape[1])


def measure(rule, x, y, eps, seed):
    """Return the numbers of a row."""
    z = rule.model(x)
    is_accepted, is_right = rule.is_accepted(z), z.argmax(-1) == y
    lost = replaced(rule, x, y, eps)
    wrong = is_accepted & ~is_right
    rejected = 1.0 - rule.is_accepted(rule.model(triangles(x, y, seed))).float().mean()
    return {
        "accepted": float(is_accepted.float().mean()),
        "right": float(is_right[is_accepted].float().mean()) if is_accepted.any() else 1.0,
        "replaced": int(lost.sum()),
        "cost": float((wrong + PRICE * ~is_accepted).mean()),
        "attacked": float(((wrong | lost) + PRICE * ~(is_accepted | lost)).mean()),
        "area": float(rejected),
    }


def main():
    """Train, attack both rules on both networks, print and draw."""
    rows = {}
    for seed in SEEDS:
        train_set, (x, y) = digits(seed)
        lipschitz, ordinary = networks(*train_set, seed)
        bound = layers.lipschitz_bound(ordinary)
        for eps in EPS:
            for name, rule in rules(lipschitz, ordinary, bound, x, eps).items():
                found = measure(rule, x, y, eps, seed)
                assert found["replaced"] == 0 or "confidence" in name
                rows.setdefault((eps, name), []).append(found)
        # A threshold that is too low for this radius must fail, or the attack proves nothing.
        too_low = by_certificate(lipschitz, 1.0, 0.5 * EPS[1])
        assert int(replaced(too_low, x, y, EPS[1]).sum()) > 0
        if seed == 0:
            draw(lipschitz(x), ordinary(x), bound, y)
    lost = {key: [run["replaced"] for run in runs] for key, runs in rows.items()}
    for eps in EPS:
        assert min(lost[eps, "ordinary, confidence"]) > max(lost[eps, "1-Lipschitz, confidence"])
    table(
        "| eps | network, rule | accepted | right of those | right answers replaced "
        "| cost, no attack | attacked | area rejected |",
        [
            [
                f"{eps:g}" if name == "1-Lipschitz, certificate" else "",
                name,
                *(spread([run[key] for run in runs]) for key in ("accepted", "right")),
                spread([run["replaced"] for run in runs], "{:.0f}"),
                *(spread([run[key] for run in runs]) for key in ("cost", "attacked", "area")),
            ]
            for (eps, name), runs in rows.items()
        ],
    )


def draw(z, w, bound, y):
    """Draw coverage over the radius, and accuracy over coverage, of the first seed."""
    figure, ax = plt.subplots(1, 2, figsize=(9.0, 3.7), layout="constrained")
    found = certificates.coverage(z, y, RADII, lipschitz_constant=1.0)
    other = certificates.coverage(w, y, RADII, lipschitz_constant=bound)
    ax[0].plot(RADII, found.coverage, color="#0072B2", label="coverage, 1-Lipschitz")
    ax[0].plot(RADII, found.certified_accuracy, "--", color="#D55E00", label="accepted and right")
    ax[0].plot(RADII, other.coverage, ":", color="#009E73", label="coverage, ordinary")
    ax[0].set(xlabel="radius certified (l2)", ylabel="share of images", ylim=(0.0, 1.02))
    num = torch.arange(1, len(y) + 1)
    for name, outputs, by, style, colour in (
        (
            "1-Lipschitz, certificate",
            z,
            z.topk(2).values @ z.new_tensor([1.0, -1.0]),
            "-",
            "#0072B2",
        ),
        ("1-Lipschitz, confidence", z, confidence(5.0 * z), "--", "#D55E00"),
        ("ordinary, confidence", w, confidence(w), ":", "#009E73"),
    ):
        order = by.argsort(descending=True)
        is_right = (outputs.argmax(-1) == y)[order].double().cumsum(0)
        ax[1].plot(num / len(y), is_right / num, style, color=colour, label=name)
    ax[1].set(xlabel="coverage", ylabel="accuracy of the accepted", ylim=(0.94, 1.002))
    for axis, place in zip(ax, ("upper right", "lower left"), strict=True):
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, loc=place)
    figure.savefig("rejection.png", dpi=110)


if __name__ == "__main__":
    main()
