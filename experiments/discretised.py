"""Discretised inputs: frequencies in cells, and their Fisher-Rao chi-square

Cut the inputs into cells and count the classes in each. The squared Fisher-Rao distance from the
frequencies of n samples to the probabilities they are drawn from, times n, has a chi-square
distribution of c - 1 degrees of freedom for large n. So each cell tests what a model predicts in
it, the sum over the cells tests the model, and a map of them shows where it is wrong. For small n
the distribution is another one; how soon it is near is measured first.

Draws discretised.png.
"""

import numpy as np
from common import table
from matplotlib import pyplot as plt
from scipy.special import softmax
from scipy.stats import chi2, chi2_contingency
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from infogeo import simplex

NUM_CELLS, NUM_SAMPLES, LEVEL = 10, 20_000, 0.05


def null_rates(rng):
    """Print how often the three statistics exceed the chi-square's 95 % quantile under the null."""
    p = np.array([0.6, 0.3, 0.1])
    limit = chi2.isf(LEVEL, len(p) - 1)
    rates = {}
    for n in (10, 30, 100, 1_000):
        f = rng.multinomial(n, p, size=200_000) / n
        statistics = {
            "Fisher-Rao": n * simplex.fisher_rao_distance(f, p) ** 2,
            "Pearson": n * ((f - p) ** 2 / p).sum(-1),
            "likelihood ratio": 2.0 * n * simplex.kl_divergence(f, p),
        }
        rates[n] = {name: np.mean(values > limit) for name, values in statistics.items()}
    table(
        "| n | Fisher-Rao | Pearson | likelihood ratio |",
        [[f"{n:,}", *(f"{rate:.3f}" for rate in of_n.values())] for n, of_n in rates.items()],
    )
    assert abs(rates[1_000]["Fisher-Rao"] - LEVEL) < 0.003
    return rates


def truth(x):
    """Return the probabilities of three classes at points of the square from -2 to 2."""
    a, b = x[..., 0], x[..., 1]
    return softmax(np.stack([a, b, 0.5 * a * b], axis=-1), axis=-1)


def cells(x):
    """Return the number of the cell that each point is in."""
    i, j = np.clip(((x + 2.0) / 4.0 * NUM_CELLS).astype(int), 0, NUM_CELLS - 1).T
    return NUM_CELLS * i + j


def counts(x, y):
    """Return how often each class occurs in each cell."""
    table = np.zeros((NUM_CELLS**2, 3))
    np.add.at(table, (cells(x), y), 1.0)
    return table


def cell_statistics(model, x, y):
    """Return n d^2 for each cell: d from its frequencies to the mean prediction in it."""
    table = counts(x, y)
    n = table.sum(1)
    mean = np.zeros_like(table)
    np.add.at(mean, cells(x), model(x))
    mean /= n[:, None]
    return n * simplex.fisher_rao_distance(table / n[:, None], mean) ** 2


def neighbours_differ(x, y):
    """Compare cells that share an edge: the two-sample statistic, and Pearson's from scipy."""
    table = counts(x, y).reshape(NUM_CELLS, NUM_CELLS, 3)
    first, second = table[:-1].reshape(-1, 3), table[1:].reshape(-1, 3)
    n, m = first.sum(1), second.sum(1)
    d = simplex.fisher_rao_distance(first / n[:, None], second / m[:, None])
    found = n * m / (n + m) * d**2
    pairs = np.stack([first, second], axis=1)
    return found, np.array([chi2_contingency(pair).statistic for pair in pairs])


def draw(rates, maps):
    """Draw rates of rejection over n, and the maps of both models."""
    figure, ax = plt.subplots(1, 3, figsize=(11.4, 3.6), layout="constrained")
    for name, mark, colour in (
        ("Fisher-Rao", "o-", "#0072B2"),
        ("Pearson", "s--", "#D55E00"),
        ("likelihood ratio", "^:", "#009E73"),
    ):
        ax[0].plot(list(rates), [r[name] for r in rates.values()], mark, color=colour, label=name)
    ax[0].axhline(LEVEL, color="0.6", linewidth=1.0)
    ax[0].set(xscale="log", xlabel="samples n", ylabel="share beyond the 95 % quantile")
    ax[0].set(title="Under the null", ylim=(0.0, None))
    ax[0].legend(frameon=False)
    for axis, (name, values) in zip(ax[1:], maps.items(), strict=True):
        image = axis.imshow(
            values.reshape(NUM_CELLS, NUM_CELLS).T,
            origin="lower",
            extent=(-2, 2, -2, 2),
            cmap="cividis",
            vmin=0.0,
            vmax=20.0,
        )
        axis.set(title=name, xlabel="first input", ylabel="second input")
    figure.colorbar(image, ax=ax[2], label="n d², mean 2 if right", extend="max")
    figure.savefig("discretised.png", dpi=110)


def main():
    """Measure the null distribution, test two models, compare cells with their neighbours."""
    rng = np.random.default_rng(0)
    rates = null_rates(rng)
    x = rng.uniform(-2.0, 2.0, size=(2, NUM_SAMPLES, 2))
    y = (truth(x).cumsum(-1)[..., :2] < rng.uniform(size=(2, NUM_SAMPLES, 1))).sum(-1)
    maps, rows = {}, []
    for name, degree in (("linear: wrong", 1), ("with products: right", 2)):
        model = make_pipeline(PolynomialFeatures(degree), LogisticRegression(C=1e4))
        model.fit(x[0], y[0])
        maps[name] = cell_statistics(model.predict_proba, x[1], y[1])
        total, freedom = maps[name].sum(), 2 * NUM_CELLS**2
        accuracy = model.score(x[1], y[1])
        p_value = f"{chi2.sf(total, freedom):.2g}"
        beyond = f"{100 * np.mean(maps[name] > chi2.isf(LEVEL, 2)):.0f} %"
        rows.append([name, f"{accuracy:.3f}", f"{total:.1f}", p_value, beyond])
    table(
        "| logistic regression | accuracy | sum of n d², 200 degrees of freedom | p "
        "| cells beyond their 95 % quantile |",
        rows,
    )
    assert chi2.sf(maps["linear: wrong"].sum(), 200) < 1e-6
    assert chi2.sf(maps["with products: right"].sum(), 200) > 0.01
    found, pearson = neighbours_differ(x[1], y[1])
    ratio = found / pearson
    assert 0.99 < ratio.min() < np.median(ratio) < 1.02
    assert ratio.max() < 1.12
    print(
        f"{len(found)} pairs of neighbours: {np.mean(found > chi2.isf(LEVEL, 2)):.0%} told apart; "
        f"Fisher-Rao over Pearson: median {np.median(ratio):.3f}, from {ratio.min():.3f} to "
        f"{ratio.max():.3f}"
    )
    draw(rates, maps)


if __name__ == "__main__":
    main()
