"""Families of two parameters: geodesics, circles, and how they are curved
=======================================================================

Above: geodesics from one distribution and Fisher-Rao circles of radius 0.5, 1 and 1.5 around it, in
six families. Where all are curved alike the family is a hyperbolic half-plane. Below: the curvature
of such families, and that of those whose curvature depends on a parameter. Writes families.png into
the current folder.
"""

import importlib

import numpy as np
from matplotlib import pyplot as plt

from infogeo import manifolds, normal, plot

CENTERS = {
    "normal": normal.Normal(0.0, 1.0),
    "Weibull": manifolds.Weibull(1.0, 1.5),
    "inverse Gaussian": manifolds.InverseGaussian(1.0, 1.0),
    "gamma": manifolds.Gamma(1.5, 1.0),
    "beta": manifolds.Beta(1.5, 1.5),
    "von Mises": manifolds.VonMises(0.0, 1.5),
}
CONSTANT = {
    "normal, lognormal": manifolds.LogNormal(0.0, 1.0),
    "Laplace": manifolds.Laplace(0.0, 1.0),
    "logistic": manifolds.Logistic(0.0, 1.0),
    "Student, 3 degrees": manifolds.StudentT(3.0, 0.0, 1.0),
    "Cauchy": manifolds.Cauchy(0.0, 1.0),
    "Gumbel, Weibull, Frechet": manifolds.Gumbel(0.0, 1.0),
    "generalized normal, power 4": manifolds.GeneralizedNormal(0.0, 1.0, 4.0),
}
SIZES = np.geomspace(1e-3, 1e4, 141)
VARYING = {
    "gamma, by concentration": (manifolds.Gamma(SIZES, 1.0), "-", "#0072b2"),
    "von Mises, by concentration": (manifolds.VonMises(0.0, SIZES), "--", "#d55e00"),
    "beta, by both concentrations": (manifolds.Beta(SIZES, SIZES), ":", "#009e73"),
}


def curvature(points):
    """Return the curvature of the plane of the two parameters."""
    tangent = importlib.import_module(type(points).__module__).Tangent
    units = ((1.0, 0.0), (0.0, 1.0))
    return manifolds.sectional_curvature(points, *(tangent(*x) for x in units))


def main():
    """Draw the figure and print the curvatures."""
    figure = plt.figure(figsize=(9.6, 9.6), layout="constrained")
    grid = figure.add_gridspec(3, 3, height_ratios=(1.0, 1.0, 1.1))
    for k, (name, center) in enumerate(CENTERS.items()):
        ax = figure.add_subplot(grid[k // 3, k % 3])
        plot.geodesic_polar(center, [0.5, 1.0, 1.5], ax)
        ax.set_title(name, fontsize=10.5)
    constants = {name: float(curvature(point)) for name, point in CONSTANT.items()}
    ax = figure.add_subplot(grid[2, 0])
    ax.barh(list(constants), list(constants.values()), color="#0072b2", height=0.55)
    ax.invert_yaxis()
    ax.set(xlabel="curvature")
    ax.tick_params(axis="y", labelsize=8.5)
    ax.spines[["top", "right"]].set_visible(False)
    ax = figure.add_subplot(grid[2, 1:])
    for name, (points, style, color) in VARYING.items():
        ax.semilogx(SIZES, curvature(points), style, color=color, linewidth=2.0, label=name)
    ax.axhline(-0.5, color="0.6", linewidth=0.8, label="normal")
    ax.set(xlabel="concentration", ylabel="curvature")
    ax.legend(frameon=False, loc="upper right", fontsize=8.5)
    figure.savefig("families.png", dpi=110)
    for name, value in constants.items():
        print(f"{name}: {value:.6f}")
    for name, (points, *_) in VARYING.items():
        values = curvature(points)
        print(f"{name}: {values[0]:.6f} at {SIZES[0]:g}, {values[-1]:.6f} at {SIZES[-1]:g}")


if __name__ == "__main__":
    main()
