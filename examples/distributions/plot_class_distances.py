"""How far apart are the classes of a data set? Four answers for handwritten digits
================================================================================

Each class is a normal distribution in the ten principal components of scikit-learn's digits. The
exact Fisher-Rao distances of all pairs, with the bounds that need no solve, stand beside the
2-Wasserstein distance and the square root of the Jeffreys divergence. Writes class_distances.png
into the current folder.
"""

import numpy as np
from matplotlib import pyplot as plt
from scipy.stats import kendalltau
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from infogeo import multivariate_normal
from infogeo.multivariate_normal import MultivariateNormal

EXACT, WASSERSTEIN, JEFFREYS = "Fisher-Rao", "2-Wasserstein", "√Jeffreys"
COLOURS = {"upper bound": "#E69F00", "lower bound": "#56B4E9", JEFFREYS: "#D55E00"}


def wasserstein_distance(a, b):
    """Return the 2-Wasserstein distance of normals: Euclidean in the coordinates of the samples."""
    factor = np.linalg.cholesky(a.cov)
    cross = np.linalg.eigvalsh(np.swapaxes(factor, -1, -2) @ b.cov @ factor)
    spread = np.trace(a.cov + b.cov, axis1=-2, axis2=-1) - 2.0 * np.sqrt(cross).sum(-1)
    return np.sqrt(((a.mean - b.mean) ** 2).sum(-1) + spread)


def answers(classes, i, j):
    """Return each distance of all pairs by its name."""
    a, b = classes[i], classes[j]
    bounds = multivariate_normal.distance_bounds(a, b)
    return {
        EXACT: multivariate_normal.fisher_rao_distance(a, b),
        "lower bound": bounds.lower,
        "upper bound": bounds.upper,
        JEFFREYS: np.sqrt(multivariate_normal.jeffreys_divergence(a, b)),
        WASSERSTEIN: wasserstein_distance(a, b),
    }


def square(values, i, j, num_classes):
    """Return the symmetric matrix with these values at i, j."""
    matrix = np.zeros((num_classes, num_classes))
    matrix[i, j] = matrix[j, i] = values
    return matrix


def draw_matrix(ax, name, values, i, j):
    """Draw a distance of all pairs as a heat map."""
    matrix = square(values, i, j, 10)
    shown = ax.imshow(np.where(matrix > 0.0, matrix, np.nan), cmap="cividis")
    threshold = 0.5 * (values.min() + values.max())
    for row, column in [*zip(i, j, strict=True), *zip(j, i, strict=True)]:
        value = matrix[row, column]
        colour = "white" if value < threshold else "black"
        ax.text(column, row, f"{value:.1f}", ha="center", va="center", color=colour, fontsize=8)
    ax.set(xticks=range(10), yticks=range(10), xlabel="digit", ylabel="digit", title=name)
    ax.spines[:].set_visible(False)
    ax.figure.colorbar(shown, ax=ax, shrink=0.85)


def draw_against_exact(ax, found):
    """Draw the bounds and the square root of Jeffreys as shares of the exact distance."""
    exact = found[EXACT]
    ax.axhline(1.0, color="0.35", linewidth=1.0)
    for name, marker in zip(COLOURS, "^vo", strict=True):
        ratio = found[name] / exact
        ax.plot(exact, ratio, marker, color=COLOURS[name], markersize=4.5, label=name)
    ax.set(xlabel="exact Fisher-Rao distance", ylabel="ratio to the exact distance")
    ax.set_title("Bounds and √Jeffreys")
    ax.legend(frameon=False)
    ax.grid(color="0.9")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def draw_ranks(ax, found, i, j):
    """Draw the order of the pairs by one distance against that by another."""
    ranks = {name: found[name].argsort().argsort() + 1 for name in (EXACT, WASSERSTEIN)}
    ax.plot([1, len(i)], [1, len(i)], color="0.35", linewidth=1.0)
    gap = np.abs(ranks[EXACT] - ranks[WASSERSTEIN])
    ax.plot(ranks[EXACT], ranks[WASSERSTEIN], "o", color="#0072B2", markersize=4.5)
    for k in np.argsort(gap)[-4:]:
        place = ranks[EXACT][k], ranks[WASSERSTEIN][k]
        name = f"{i[k]} and {j[k]}"
        ax.annotate(name, place, (7, -3), textcoords="offset points", fontsize=9)
    ax.set(xlabel="rank by Fisher-Rao", ylabel="rank by 2-Wasserstein")
    ax.set_title("The two rank pairs differently")
    ax.set_aspect("equal")
    ax.grid(color="0.9")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def print_table(found, i, j):
    """Print the nearest and the farthest pairs, and how far the rankings agree."""
    print("pair  " + "".join(f"{name:>15}" for name in found))
    order = np.argsort(found[EXACT])
    for k in [*order[:4], None, *order[-4:]]:
        if k is None:
            print("...")
        else:
            numbers = "".join(f"{values[k]:15.4f}" for values in found.values())
            print(f"{i[k]}, {j[k]}  {numbers}")
    print(
        "\nagreement of the ranking with that of the exact distance (Kendall's tau, 1 = the same)"
    )
    for name, values in found.items():
        if name != EXACT:
            print(f"  {name:15}{kendalltau(found[EXACT], values).statistic:6.2f}")


def main():
    """Fit the classes, compare them, draw the figure and print the table."""
    images, labels = load_digits(return_X_y=True)
    samples = PCA(10, svd_solver="full").fit_transform(images / 16.0)
    classes = MultivariateNormal.fit(samples, labels, shrinkage=LedoitWolf())
    i, j = np.triu_indices(10, 1)
    found = answers(classes, i, j)
    figure, axes = plt.subplots(2, 2, figsize=(10.4, 8.8), layout="constrained")
    draw_matrix(axes[0, 0], f"{EXACT}, exact", found[EXACT], i, j)
    draw_matrix(axes[0, 1], WASSERSTEIN, found[WASSERSTEIN], i, j)
    draw_against_exact(axes[1, 0], found)
    draw_ranks(axes[1, 1], found, i, j)
    figure.savefig("class_distances.png", dpi=110)
    print_table(found, i, j)


if __name__ == "__main__":
    main()
