"""What if there are more features than the simplex has dimensions, n + 1 > c - 1?

Beside the constant no more than c - 1 features of c outcomes are independent. From then on the
exponential family is the whole open simplex whatever C is, the mixture family of the moments that
a distribution has is this one distribution, and nearly all other moments are those of none.
`maxent.c_maximize` says which, with proofs.
"""

import numpy as np
from common import spread, table

from infogeo import maxent

NUM_OUTCOMES, SEEDS, NUMBERS = 5, range(20), (1, 2, 3, 4, 6, 12)


def check_theta(F, found):
    """Return the dimension of all theta with these probabilities; check that it is the shortest.

    Rows of F that are combinations of each other and of the constant leave theta free.
    """
    rows = F - F.mean(1, keepdims=True)
    null = np.linalg.svd(rows)[0][:, np.linalg.matrix_rank(rows) :].T
    for vector in null:
        logits = (found.theta + vector) @ F
        q = np.exp(logits - logits.max())
        assert np.abs(q / q.sum() - found.probabilities).max() < 1e-9
        assert abs(vector @ found.theta) < 1e-9 * (1.0 + np.linalg.norm(found.theta))
    return len(null)


def is_proved_empty(F, targets):
    """Return whether no distribution has the moments; check the proof: one eta for all outcomes."""
    found = maxent.c_maximize(F, targets, throw=False)
    if found.status.name != "INFEASIBLE":
        assert found.status.name == "CONVERGED"
        return False
    gains = found.certificate @ (F - targets[:, None])
    assert gains.min() > 0.0
    return True


def study(seed, num):
    """Return what the moments of a distribution decide, and what rounded ones are."""
    rng = np.random.default_rng(seed)
    F, p = rng.standard_normal((num, NUM_OUTCOMES)), rng.dirichlet(np.full(NUM_OUTCOMES, 2.0))
    base, b = rng.standard_normal(NUM_OUTCOMES), F @ p
    found = maxent.c_maximize(F, b)
    other = maxent.c_maximize(F, b, log_base=base)
    rounded = np.round(b, 4)
    near = maxent.c_maximize(F, rounded, penalty=1e8)
    return {
        "dimension": np.linalg.matrix_rank(F - F.mean(1, keepdims=True)),
        "null": check_theta(F, found),
        "off": np.abs(found.probabilities - p).max(),
        "moved": np.abs(found.probabilities - other.probabilities).max(),
        "empty": is_proved_empty(F, rounded),
        "near": np.abs(near.probabilities - found.probabilities).max(),
    }


def check_last_layers():
    """Check how many dimensions the predictions of a last layer fill, at one and at many inputs."""
    rng, center = np.random.default_rng(0), np.eye(NUM_OUTCOMES) - 1.0 / NUM_OUTCOMES
    for num_inputs, width in ((1, 1), (1, 8), (6, 3), (6, 6), (6, 8)):
        by_weights = np.kron(rng.standard_normal((num_inputs, width)), center)
        dimension = np.linalg.matrix_rank(by_weights)
        assert dimension == min(num_inputs, width) * (NUM_OUTCOMES - 1)


def tiny(values):
    """Return a cell of numbers that are rounding or are not."""
    return "below 1e-12" if max(values) < 1e-12 else spread(values, "{:.2g}")


def main():
    """Maximise the entropy with fewer, as many and more features."""
    check_last_layers()
    rows = []
    for num in NUMBERS:
        runs = [study(seed, num) for seed in SEEDS]
        columns = {key: [run[key] for run in runs] for key in runs[0]}
        is_full = num >= NUM_OUTCOMES - 1
        assert (max(columns["off"]) < 1e-12) == is_full
        assert (max(columns["moved"]) < 1e-12) == is_full
        assert set(columns["dimension"]) == {min(num, NUM_OUTCOMES - 1)}
        assert set(columns["null"]) == {max(0, num - NUM_OUTCOMES + 1)}
        assert set(columns["empty"]) == {num > NUM_OUTCOMES - 1}
        assert max(columns["near"]) < 0.01
        rows.append(
            [
                str(num),
                str(columns["dimension"][0]),
                str(columns["null"][0]),
                tiny(columns["off"]),
                tiny(columns["moved"]),
                f"{sum(columns['empty'])} of {len(SEEDS)}",
                spread(columns["near"], "{:.1g}"),
            ]
        )
    table(
        "| features | dimension of the family | free dimensions of theta "
        "| maximum entropy, off by | moved by another C | rounded moments proved to be of none "
        "| with a price for the misfit, moved by |",
        rows,
    )


if __name__ == "__main__":
    main()
