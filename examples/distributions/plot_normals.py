"""The three geodesics between two normal distributions, and their lengths
=======================================================================

Above: univariate normals as points of the half-plane. Below: ellipses of two standard deviations
of bivariate normals along each geodesic. Writes normals.png into the current folder.
"""

import numpy as np
from matplotlib import pyplot as plt

from infogeo import multivariate_normal, normal, plot
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal

KINDS = {  # name: (function, colour, line style)
    "Fisher-Rao": ("fisher_rao_geodesic", "#0072B2", "-"),
    "e-geodesic": ("e_geodesic", "#D55E00", "--"),
    "m-geodesic": ("m_geodesic", "#009E73", ":"),
}
UNIVARIATE = Normal(-2.0, 0.35), Normal(2.0, 0.8)
BIVARIATE = (
    MultivariateNormal([0.0, 0.0], np.diag([1.0, 0.1])),
    MultivariateNormal([4.0, 3.0], np.diag([0.1, 1.0])),
)


def geodesic(space, kind, ends, num_points):
    """Return points of a geodesic of one kind, evenly spaced in its parameter."""
    function, *_ = KINDS[kind]
    return getattr(space, function)(*ends, np.linspace(0.0, 1.0, num_points))


def length(space, path):
    """Sum the Fisher-Rao distances of neighbours on a path."""
    return float(space.fisher_rao_distance(path[:-1], path[1:]).sum())


def lengths(space, ends):
    """Return the length of each kind of geodesic."""
    return {kind: length(space, geodesic(space, kind, ends, 2001)) for kind in KINDS}


def draw_half_plane(ax, found):
    """Draw the three geodesics of the univariate pair, and circles for the scale."""
    plot.half_plane(ax, mean_limits=(-4.0, 4.0), max_std=3.3)
    centers = Normal([-3.2, -2.6, 3.0, 3.0], [0.2, 1.6, 0.35, 1.6])
    circles = plot.geodesic_circle(centers, 0.5)
    lines = ax.plot(circles.mean, circles.std, color="0.6", linewidth=1.2)
    lines[0].set_label("circles of radius 0.5")
    for kind, (_, colour, style) in KINDS.items():
        path = geodesic(normal, kind, UNIVARIATE, 201)
        label = f"{kind}, length {found[kind]:.3f}"
        ax.plot(path.mean, path.std, style, color=colour, linewidth=2.0, label=label)
    for end in UNIVARIATE:
        ax.plot(end.mean, end.std, "o", color="black", markersize=5)
    ax.legend(frameon=False, loc="upper center", ncols=2)


def draw_ellipses(axes, found):
    """Draw the three geodesics of the bivariate pair."""
    for ax, kind in zip(axes, KINDS, strict=True):
        plot.normal_ellipses(geodesic(multivariate_normal, kind, BIVARIATE, 9), ax)
        ax.set_title(f"{kind}, length {found[kind]:.3f}", fontsize=10.5)
        ax.set(xlabel="first coordinate")
    axes[0].set_ylabel("second coordinate")


def main():
    """Draw the figure and print the lengths."""
    figure = plt.figure(figsize=(9.6, 7.2), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=(1.7, 1.0))
    lower = figure.add_subplot(grid[1, 0])
    axes = [lower, *(figure.add_subplot(grid[1, k], sharex=lower, sharey=lower) for k in (1, 2))]
    found = {
        "univariate": lengths(normal, UNIVARIATE),
        "bivariate": lengths(multivariate_normal, BIVARIATE),
    }
    draw_half_plane(figure.add_subplot(grid[0, :]), found["univariate"])
    draw_ellipses(axes, found["bivariate"])
    figure.savefig("normals.png", dpi=110)
    distances = {
        "univariate": normal.fisher_rao_distance(*UNIVARIATE),
        "bivariate": multivariate_normal.fisher_rao_distance(*BIVARIATE),
    }
    for name, values in found.items():
        listed = ", ".join(f"{kind} {value:.6f}" for kind, value in values.items())
        print(f"{name}: distance {distances[name]:.6f}; lengths: {listed}")
        assert min(values, key=values.get) == "Fisher-Rao"
    print("The Fisher-Rao geodesic is the shortest of the three in both cases: see normals.png.")


if __name__ == "__main__":
    main()
