"""How often the tests of two sets of predictions alarm at the level of 5 %, as a table.

python benchmarks/prediction_test_power.py

Sets of 100 predictions each: of one distribution, with more of one class, with classes that have
changed places, and with logits divided by a temperature, for predictions of little and of much
confidence. 200 pairs of sets for each row, 199 divisions.
"""

import numpy as np

from infogeo import logits
from infogeo.inference import prediction_test


def draw(kind, scale, rng):
    """Return two sets of logits of 100 rows and 10 classes."""
    z, w = scale * rng.normal(size=(2, 100, 10))
    z[:, 0] += 0.5 * scale
    w[:, 0] += 0.5 * scale
    if kind == "more of one class":
        w[:, 0] += 0.5 * scale
    elif kind == "two classes change places":
        w[:, [0, 1]] = w[:, [1, 0]]
    elif kind == "temperature 0.8":
        w /= 0.8
    return z, w


def main():
    rng = np.random.default_rng(20261130)
    print("| difference | logits | energy test | test of confidences |")
    print("|---|---|---|---|")
    for kind in ("none", "more of one class", "two classes change places", "temperature 0.8"):
        for scale in (1.0, 4.0):
            alarms = []
            for _ in range(200):
                found = prediction_test(*draw(kind, scale, rng), space=logits, num_draws=199)
                alarms.append((found.p_value <= 0.05, found.confidence_p_value <= 0.05))
            energy, confidences = np.mean(alarms, axis=0)
            print(f"| {kind} | spread {scale:g} | {energy:.2f} | {confidences:.2f} |", flush=True)


if __name__ == "__main__":
    main()
