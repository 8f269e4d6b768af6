"""Known class frequencies: matching the average against Bayes' correction of the prior
====================================================================================

A classifier of handwritten digits (bundled with scikit-learn) meets data in which the frequencies
have shifted. Both corrections are told the new frequencies.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB

from infogeo.maxent import match_frequencies

STYLES = {"as it is": "s:", "Bayes' prior": "^--", "matched": "o-"}


def loss(p, labels):
    """Return the mean negative log-probability of the labels, in nats."""
    return -np.log(np.maximum(p[np.arange(labels.size), labels], 1e-300)).mean()


def main():
    """Compare both corrections for a calibrated and for an overconfident classifier."""
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    x = x + rng.normal(scale=6.0, size=x.shape)  # so that there is something to correct
    train_x, rest_x, train_y, rest_y = train_test_split(x, y, test_size=0.6, random_state=0)
    keep = rng.random(rest_y.size) < np.where(rest_y < 5, 0.15, 1.0)
    test_x, test_y = rest_x[keep], rest_y[keep]
    prior = np.bincount(train_y, minlength=10) / train_y.size
    frequencies = np.bincount(test_y, minlength=10) / test_y.size
    print("training frequencies", prior.round(3))
    print("new frequencies     ", frequencies.round(3))

    models = {
        "logistic regression": LogisticRegression(C=1e-3, max_iter=500),
        "naive Bayes (overconfident)": GaussianNB(),
    }
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.6), layout="constrained", sharey=True)
    for ax, (name, model) in zip(axes, models.items(), strict=True):
        p = model.fit(train_x, train_y).predict_proba(test_x)
        bayes = p * frequencies / prior
        bayes /= bayes.sum(axis=1, keepdims=True)
        found = match_frequencies(p, frequencies)
        print(f"\n{name}: {found.status.value} in {found.steps} passes")
        predictions = {"as it is": p, "Bayes' prior": bayes, "matched": found.probabilities}
        for how, q in predictions.items():
            gap = np.abs(q.mean(axis=0) - frequencies).max()
            accuracy = (q.argmax(axis=1) == test_y).mean()
            print(f"  {how:13} average off by {gap:7.1e}, accuracy {accuracy:.3f}, "
                  f"loss {loss(q, test_y):.3f} nats")  # fmt: skip
            ax.plot(range(10), q.mean(axis=0) - frequencies, STYLES[how], label=how, markersize=5)
        ax.set(title=name, xlabel="digit", xticks=range(10))
        ax.grid(color="0.9")
    axes[0].set_ylabel("average prediction - true share")
    axes[0].legend(frameon=False)
    figure.savefig("match_frequencies.png", dpi=110)


if __name__ == "__main__":
    main()
