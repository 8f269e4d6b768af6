"""Raking a biased sample to known shares, and what a contradiction looks like
===========================================================================

A population is made from scikit-learn's diabetes data; a survey of it reaches the old and the heavy
too often. Knowing shares and means of the population, the weights repair a mean that was not
used for them.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_diabetes

from infogeo import SolveError
from infogeo.maxent import balance


def main():
    """Draw a biased sample, balance it, and print what changed."""
    data = load_diabetes(as_frame=True, scaled=False).frame
    data["sex"] = np.where(data["sex"] == 1.0, "a", "b")
    data["old"] = np.where(data["age"] >= 50, "50+", "under 50")
    rng = np.random.default_rng(0)
    reach = np.exp(0.03 * (data["age"] - 50) + 0.08 * (data["bmi"] - 26))
    sample = data.iloc[rng.choice(len(data), size=200, p=reach / reach.sum())]

    known = {
        "sex": data["sex"].value_counts(normalize=True).to_dict(),
        "old": data["old"].value_counts(normalize=True).to_dict(),
        "age": data["age"].mean(),
        "bmi": data["bmi"].mean(),
    }
    found = balance(sample, known)
    print(found.diagnostics)
    print(f"error of every log-weight at most {found.projection.error_bound:.1e}")

    figure, ax = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    dots = ax.scatter(sample["age"], sample["bmi"], s=9000.0 * found.weights, alpha=0.5)
    dots.set_facecolor(np.where(sample["sex"] == "a", "#0072b2", "#d55e00"))
    ax.set(xlabel="age", ylabel="body mass index", title="area of a dot: its weight", ylim=(16, 46))
    figure.savefig("raking.png", dpi=110)

    truth = data["target"].mean()
    drawn, weighted = sample["target"].mean(), sample["target"] @ found.weights
    print(
        f"\nprogression of the disease: population {truth:.1f}, sample as drawn {drawn:.1f}, "
        f"weighted {weighted:.1f}"
    )

    print("\nThe same with a mean age that the shares rule out:")
    try:
        balance(sample, known | {"age": 30.0, "old": {"50+": 0.9, "under 50": 0.1}})
    except SolveError as error:
        print(error)


if __name__ == "__main__":
    main()
