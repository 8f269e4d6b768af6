"""How often the tests of `infogeo.inference` call samples different, printed as a table.

python benchmarks/equality_tests.py          some minutes
python benchmarks/equality_tests.py 0.1      a tenth of the samples
python benchmarks/equality_tests.py sizes    the sizes by ranks, as below

Size is the share of p-values up to .05 among pairs of samples of one distribution, power the share
among samples of two distributions whose distance d is sqrt(4 sqrt(c - 1) / N), N = nm / (n + m), as
`interval_coverage.py` draws them. Beside `homogeneity_test` stand Pearson's chi-square and the
likelihood ratio G with their law of large samples, over the outcomes that were seen, and Pearson's
chi-square by permutation: draws of the same law as those of `homogeneity_test`, as many of them.

Sizes by ranks are free of the chance of so many pairs of samples: given the totals every draw is as
likely as the observed sample to be the one that is tested, and from the ranks of 999 draws follows
how often the test rejects. That is below .05 where the statistic has few values, and .05 where it
has many. Samples are of the uniform and of the Zipf distribution, with 100 totals for each row.
"""

import math
import sys

import numpy as np
from interval_coverage import draw_pair
from scipy.special import bdtr, chdtrc, xlogy

from infogeo.inference import goodness_of_fit, homogeneity_test

NUM_DRAWS = 199
OUTCOMES = (2, 5, 50, 200)
SIZES = ((50, 50), (200, 200), (50, 500))


def statistics(x, y):
    """Return Pearson's chi-square and G of each table, and their degrees of freedom."""
    totals = x + y
    share = x.sum(-1, keepdims=True) / totals.sum(-1, keepdims=True)
    pearson, ratio = 0.0, 0.0
    for count, expected in ((x, totals * share), (y, totals * (1.0 - share))):
        positive = np.where(expected > 0.0, expected, 1.0)
        pearson = pearson + ((count - expected) ** 2 / positive).sum(-1)
        ratio = ratio + 2.0 * (xlogy(count, count) - xlogy(count, positive)).sum(-1)
    return pearson, ratio, (totals > 0).sum(-1) - 1.0


def permuted(x, y, rng):
    """Return the p-values of Pearson's chi-square by permutation."""
    values = []
    for a, b in zip(x, y, strict=True):
        totals = a + b
        drawn = rng.multivariate_hypergeometric(totals, a.sum(), NUM_DRAWS, method="marginals")
        least = statistics(a, b)[0] * (1.0 - 1e-12)
        values.append((1 + (statistics(drawn, totals - drawn)[0] >= least).sum()) / (1 + NUM_DRAWS))
    return np.array(values)


def size_by_ranks(values):
    """Return how often a test with NUM_DRAWS draws rejects one of these statistics, drawn alike."""
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values * (1.0 - 1e-12) - 1e-12)
    p_value = 1.0 - below / len(values)
    return bdtr(math.floor(0.05 * (1 + NUM_DRAWS)) - 1, NUM_DRAWS, p_value).mean()


def chords(x, p, y, q):
    """Return squared chords between the shares p of x and q of y, up to a factor."""
    return ((np.sqrt(p / x) - np.sqrt(q / y)) ** 2).sum(-1)


def sizes_by_ranks(q, n, m, rng):
    """Return the sizes of both tests of this package for samples of q."""
    found = []
    for _ in range(100):
        totals = rng.multinomial(n, q) + rng.multinomial(m, q)
        drawn = rng.multivariate_hypergeometric(totals, n, 999, method="marginals")
        found.append(size_by_ranks(chords(n, drawn, m, totals - drawn)))
    fit = chords(n, rng.multinomial(n, q, size=20_000), 1.0, q)
    return np.mean(found), size_by_ranks(fit)


def rejected(p, q, n, m, num_samples, rng):
    """Return how often each test calls samples of p and q different."""
    x, y = rng.multinomial(n, p, size=num_samples), rng.multinomial(m, q, size=num_samples)
    pearson, ratio, degrees = statistics(x, y)
    found = [
        homogeneity_test(x, y, num_draws=NUM_DRAWS).p_value,
        permuted(x, y, rng),
        chdtrc(degrees, pearson),
        chdtrc(degrees, ratio),
        goodness_of_fit(x, q, num_draws=NUM_DRAWS).p_value,
    ]
    return [(value <= 0.05).mean() for value in found]


def main(share=1.0):
    rng = np.random.default_rng(20261201)
    names = (
        "test | permuted Pearson | Pearson | G | goodness of fit | test, by ranks | fit, by ranks"
    )
    print(f"| distribution | c | n, m | {names} |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for kind in ("uniform", "Zipf"):
        for num_outcomes in OUTCOMES:
            for n, m in SIZES:
                size = n * m / (n + m)
                distance = min(2.5, math.sqrt(4.0 * math.sqrt(num_outcomes - 1.0) / size))
                num_samples = int(share * min(4000, 400_000 // num_outcomes))
                p, q = draw_pair(kind, num_outcomes, distance, rng)
                found = zip(
                    rejected(q, q, n, m, num_samples, rng),
                    rejected(p, q, n, m, num_samples, rng),
                    strict=True,
                )
                cells = "".join(f" {size:.3f}, {power:.2f} |" for size, power in found)
                print(f"| {kind} | {num_outcomes} | {n}, {m} |{cells}", flush=True)


def main_of_sizes():
    print("| distribution | c | n, m | test | goodness of fit |")
    print("|---|---|---|---|---|")
    for kind in ("uniform", "Zipf"):
        for num_outcomes in OUTCOMES:
            for n, m in SIZES:
                rng = np.random.default_rng([num_outcomes, n, m])
                q, _ = draw_pair(kind, num_outcomes, 0.0, rng)
                cells = "".join(f" {size:.3f} |" for size in sizes_by_ranks(q, n, m, rng))
                print(f"| {kind} | {num_outcomes} | {n}, {m} |{cells}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["sizes"]:
        main_of_sizes()
    else:
        main(*map(float, sys.argv[1:2]))
