"""How is the EM algorithm a pair of projections?

Outcomes are pairs (what is seen, which component it comes from). The model of the pairs is an
exponential family E, and the pairs whose first part has the frequencies seen are a mixture family
M. The E-step is the e-projection onto M, the M-step the m-projection onto E. Two models: the
weights of known components, whose likelihood is concave, and two binomials with unknown ones.
"""

import numpy as np
from common import table
from scipy.stats import binom

from infogeo import simplex
from infogeo.family import ExponentialFamily, MixtureFamily, e_projection, em, m_projection

NUM_THROWS = 6
SEEN = np.arange(NUM_THROWS + 1)
KNOWN = np.array([binom.pmf(SEEN, NUM_THROWS, p) for p in (0.15, 0.5, 0.8)])
FREQUENCIES = np.array([0.2, 0.3, 0.3]) @ KNOWN + 0.2 / len(SEEN)


def marginal_of(num_components):
    """Return the mixture family of pairs with the frequencies seen."""
    features = np.tile(np.eye(len(SEEN)), num_components)
    return MixtureFamily(features, FREQUENCIES)


def weights_model():
    """Return the exponential family of pairs with known components and unknown weights."""
    return ExponentialFamily(np.kron(np.eye(3), np.ones(len(SEEN))), np.log(KNOWN).ravel())


def binomials_model():
    """Return that of two binomials: an indicator of the first, and the heads of each."""
    ones, zeros = np.ones(len(SEEN)), np.zeros(len(SEEN))
    rows = [np.r_[ones, zeros], np.r_[SEEN, zeros], np.r_[zeros, SEEN]]
    return ExponentialFamily(rows, np.tile(np.log(binom.pmf(SEEN, NUM_THROWS, 0.5)), 2))


def textbook_weights(weights):
    """Return the next weights, by the EM algorithm of textbooks."""
    joint = weights[:, None] * KNOWN
    return (joint / joint.sum(0)) @ FREQUENCIES


def textbook_binomials(weight, heads):
    """Return the next weight of the first binomial, and the next probabilities of heads."""
    joint = np.array([weight, 1.0 - weight])[:, None] * np.array(
        [binom.pmf(SEEN, NUM_THROWS, p) for p in heads]
    )
    shares = joint / joint.sum(0) * FREQUENCIES
    return shares[0].sum(), shares @ SEEN / shares.sum(1) / NUM_THROWS


def log_likelihood(q, num_components):
    """Return the mean log-likelihood of what was seen."""
    return float(FREQUENCIES @ np.log(q.reshape(num_components, -1).sum(0)))


def check_steps(E, M, theta, num_components, num_steps):
    """Check Pythagoras' theorem at each step, and that the likelihood rises by as much."""
    q = E.probabilities(theta)
    p = e_projection(q, M).probabilities
    before = log_likelihood(q, num_components)
    for _ in range(num_steps):
        next_q = m_projection(p, E).probabilities
        next_p = e_projection(next_q, M).probabilities
        gain = simplex.kl_divergence(p, next_p) + simplex.kl_divergence(next_q, q)
        after = log_likelihood(next_q, num_components)
        assert abs(after - before - gain) < 1e-11
        q, p, before = next_q, next_p, after


def rate_of(divergences):
    """Return by what factor gains shrink at the end."""
    gains = -np.diff(divergences)
    gains = gains[gains > 1e-9]
    return gains[-1] / gains[-2]


def known_components():
    """Return the row of the concave problem."""
    E, M = weights_model(), marginal_of(3)
    check_steps(E, M, np.zeros(3), 3, 20)
    found = em(E, M, np.zeros(3), tol=1e-13, max_steps=5000)
    weights = np.full(3, 1.0 / 3.0)
    for _ in range(found.steps):
        weights = textbook_weights(weights)
    assert np.abs(found.q.reshape(3, -1).sum(1) - weights).max() < 1e-10
    # The maximum: no component would gain from more weight.
    ratios = KNOWN @ (FREQUENCIES / (weights @ KNOWN))
    assert np.abs(ratios - 1.0).max() < 1e-5
    # The rate is the largest share of information that is missing: 1 - observed / complete.
    scaled = KNOWN / (weights @ KNOWN) * np.sqrt(weights)[:, None]
    shares = np.linalg.eigvalsh((scaled * FREQUENCIES) @ scaled.T)
    rate = (1.0 - shares[0]) ** 2
    assert abs(rate_of(found.divergences) - rate) < 0.02
    other = em(E, M, [3.0, -2.0, 1.0], tol=1e-13, max_steps=5000)
    assert np.abs(other.q - found.q).max() < 1e-5
    return ["weights of three known binomials", found, rate, "from everywhere the same"]


def unknown_components():
    """Return the row of the problem with several stationary points."""
    E, M = binomials_model(), marginal_of(2)
    start = np.array([0.1, -0.5, 0.5])
    check_steps(E, M, start, 2, 20)
    found = em(E, M, start, tol=1e-13, max_steps=5000)
    q = E.probabilities(start).reshape(2, -1)
    weight, heads = q[0].sum(), q @ SEEN / q.sum(1) / NUM_THROWS
    for _ in range(found.steps):
        weight, heads = textbook_binomials(weight, heads)
    assert abs(found.q[: len(SEEN)].sum() - weight) < 1e-10
    # Exchanged, it is another maximum; a symmetric start stays on the line between them.
    swapped = em(E, M, [0.1, 0.5, -0.5], tol=1e-13, max_steps=5000)
    ends = [log_likelihood(one.q, 2) for one in (found, swapped)]
    assert abs(ends[0] - ends[1]) < 1e-6
    assert np.abs(found.q - swapped.q).max() > 0.05
    saddle = em(E, M, [0.0, 0.0, 0.0])
    lost = ends[0] - log_likelihood(saddle.q, 2)
    assert lost > 0.05
    said = f"two maxima, and a saddle {lost:.3f} nats below"
    return ["two unknown binomials", found, rate_of(found.divergences), said]


def main():
    """Compare both models with textbooks, and print what they end at."""
    rows = []
    for name, found, rate, ends in (known_components(), unknown_components()):
        assert (np.diff(found.divergences) <= 1e-12).all()
        kl = f"{found.divergences[0]:.4f}", f"{found.divergences[-1]:.4f}"
        rows.append([name, *kl, f"{rate:.3f}", ends])
    table("| model | KL(p, q) at the start | at the end | gains shrink by | ends |", rows)


if __name__ == "__main__":
    main()
