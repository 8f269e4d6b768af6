"""What does randomised smoothing cost in votes?

If n votes all agree, Clopper and Pearson's bound certifies s times the normal quantile of
(alpha / c)^(1 / n), and no more. That gives the fewest votes for a radius. What is expected of
votes that may disagree is summed here over the exact binomial distribution of their number.
"""

import math

import numpy as np
from common import table
from scipy.special import log_ndtr, ndtr, ndtri
from scipy.stats import binom

from infogeo.lipschitz import certificates, smoothing

CONFIDENCE, NUM_CLASSES, DISTANCE, STD = 0.999, 2, 1.5, 0.5
RADII = (0.0, 0.5, 1.0, 1.5)
NUM_VOTES = (100, 1_000, 10_000, 100_000)


def fewest_votes(ratio, num_classes):
    """Return how many votes that all agree certify the radius ratio times std."""
    return math.ceil(math.log((1.0 - CONFIDENCE) / num_classes) / log_ndtr(ratio))


def radius_of(agreeing, num_votes, num_classes):
    """Return what votes certify, in units of std."""
    counts = np.zeros((len(agreeing), num_classes))
    counts[:, 0], counts[:, 1] = agreeing, num_votes - agreeing
    found = smoothing.certify(counts, std=1.0, confidence=CONFIDENCE)
    return np.where(found.predicted == 0, found.radius, 0.0)


def certified_accuracy(num_votes):
    """Return the share of inputs that are certified, on average over inputs and votes.

    The classes are normals of variance 1 at +-DISTANCE along a line, the classifier is the sign
    of that coordinate. With noise of deviation s it says its class at f with Phi(f / s).
    """
    agreeing = np.arange(num_votes // 2, num_votes + 1)
    radius = STD * radius_of(agreeing, num_votes, NUM_CLASSES)
    f = DISTANCE + ndtri((np.arange(20_000) + 0.5) / 20_000)
    shares = []
    for least in RADII:
        enough = agreeing[radius > least]
        shares.append(
            np.mean(binom.sf(enough[0] - 1, num_votes, ndtr(f / STD))) if len(enough) else 0.0
        )
    return shares


def main():
    """Print the fewest votes by radius, and what a given number certifies on two normals."""
    rows, ratios = [], (1.0, 2.0, 3.0, 4.0, 5.0)
    for ratio in ratios:
        few = fewest_votes(ratio, 2)
        for num_votes, is_enough in ((few, True), (few - 1, False)):
            assert (radius_of(np.array([num_votes]), num_votes, 2)[0] >= ratio) == is_enough
        many = fewest_votes(ratio, 1000)
        rows.append([f"{ratio:g}", f"{few:,}", f"{many:,}"])
    table("| radius / s | fewest votes, 2 classes | 1,000 classes |", rows)
    # Beyond that the votes for a radius grow like exp(r^2 / (2 s^2)), up to a factor r / s.
    growth = math.log(fewest_votes(5.0, 2) / fewest_votes(4.0, 2))
    assert 4.5 < growth < 4.5 + math.log(5.0 / 4.0) + 0.1
    exact = [float(ndtr(DISTANCE - least)) for least in RADII]
    found = [certified_accuracy(n) for n in NUM_VOTES]
    for shares, better in zip(found, [*found[1:], exact], strict=True):
        assert all(a <= b + 1e-3 for a, b in zip(shares, better, strict=True))
    rows = [
        [f"{n:,} votes", *(f"{share:.3f}" for share in shares)]
        for n, shares in zip(NUM_VOTES, found, strict=True)
    ]
    f = DISTANCE + ndtri((np.arange(20_000) + 0.5) / 20_000)
    for least, share in zip(RADII, exact, strict=True):  # one evaluation of a 1-Lipschitz function
        one = certificates.binary_radius(f[f > 0.0], lipschitz_constant=1.0)
        assert abs(np.sum(one > least) / len(f) - share) < 1e-3
    rows.append(["1-Lipschitz, one evaluation", *(f"{share:.3f}" for share in exact)])
    table("| | r = 0 | r = 0.5 | r = 1 | r = 1.5 |", rows)
    # All predictions, not the class alone: frequencies are as near as sqrt((c - 1) / n).
    rows = []
    for num_votes in NUM_VOTES:
        bounds = [
            smoothing.sampling_bound(num_votes, c, confidence=CONFIDENCE) for c in (2, 10, 1000)
        ]
        rows.append([f"{num_votes:,}", *(f"{bound:.3f}" for bound in bounds)])
    table("| votes | frequencies off by at most, rad, 2 classes | 10 | 1,000 |", rows)


if __name__ == "__main__":
    main()
