"""Figures of the literature, drawn again
======================================

What is known of these geometries stands in papers with figures. Here are four, after such papers,
one for each kind of space.
"""

# %%
# The half-plane of normals
# -------------------------
# S. Costa, S. Santos and J. Strapasson, Fisher information distance: a geometrical reading,
# Discrete Applied Mathematics 197, 2015. Univariate normals are points of the half-plane with
# the metric of
# constant curvature -1/2: geodesics are half-ellipses around the axis of standard deviation 0, and
# equal steps of the mean are the shorter the larger the deviation: C and D have the means of A and
# B, and are nearer.
import numpy as np
from matplotlib import pyplot as plt

from infogeo import manifolds, multivariate_normal, normal, plot, simplex
from infogeo.manifolds import Beta
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal

points = {"A": (1.5, 0.75), "B": (3.5, 0.75), "C": (1.5, 1.5), "D": (3.5, 1.5)}
normals = {name: Normal(*x) for name, x in points.items()}
figure, ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
plot.half_plane(ax, mean_limits=(0.5, 4.5), max_std=2.6)
for first, second in ("AB", "CD"):
    way = normal.fisher_rao_geodesic(normals[first], normals[second], np.linspace(0.0, 1.0, 101))
    ax.plot(way.mean, way.std, color="#0072b2", linewidth=2.0)
    # An ellipse whose half-axis along the mean is sqrt(2) times that along the deviation.
    radii = np.sqrt((way.mean - 2.5) ** 2 / 2.0 + way.std**2)
    assert np.ptp(radii) < 1e-12
    distance = normal.fisher_rao_distance(normals[first], normals[second])
    print(f"d({first}, {second}) = {distance:.6f}")
for name, (x, y) in points.items():
    ax.plot(x, y, "o", color="black")
    ax.annotate(name, (x, y), (6, -12), textcoords="offset points")
figure.savefig("literature_1_half_plane.png", dpi=110)

# %%
# The simplex as an eighth of a sphere
# ------------------------------------
# R. Kass, The geometry of asymptotic inference, Statistical Science 4, 1989. Twice the root of the
# probabilities maps the simplex of three outcomes to the sphere of radius 2: geodesics are arcs of
# great circles, and circles of equal distance are circles of the sphere.
figure = plt.figure(figsize=(8.6, 4.2), layout="constrained")
flat = figure.add_subplot(1, 2, 1)
plot.simplex(flat)
sphere = figure.add_subplot(1, 2, 2, projection="3d")
u, v = np.meshgrid(np.linspace(0.0, np.pi / 2, 40), np.linspace(0.0, np.pi / 2, 40))
surface = 2.0 * np.stack([np.sin(v) * np.cos(u), np.sin(v) * np.sin(u), np.cos(v)])
sphere.plot_surface(*surface, color="0.9", alpha=0.5, linewidth=0.0)
ends = [([0.9, 0.05, 0.05], [0.05, 0.9, 0.05]), ([0.05, 0.9, 0.05], [0.05, 0.05, 0.9])]
ends += [([0.05, 0.05, 0.9], [0.9, 0.05, 0.05])]
for p, q in ends:
    way = simplex.fisher_rao_geodesic(p, q, np.linspace(0.0, 1.0, 61))
    flat.plot(*plot.to_ternary(way).T, color="#0072b2", linewidth=2.0)
    sphere.plot(*(2.0 * np.sqrt(way)).T, color="#0072b2", linewidth=2.0)
    # On a great circle: all points are orthogonal to one direction.
    across = np.cross(np.sqrt(p), np.sqrt(q))
    assert abs(np.sqrt(way) @ across).max() < 1e-15
sphere.set(box_aspect=(1, 1, 1), xlabel=r"$2\sqrt{p_0}$", ylabel=r"$2\sqrt{p_1}$")
sphere.set(xticks=[0, 1, 2], yticks=[0, 1, 2], zticks=[0, 1, 2])
sphere.view_init(25, 40)
figure.savefig("literature_2_sphere.png", dpi=110)

# %%
# The beta distributions
# ----------------------
# A. Le Brigant and S. Puechmorel, The Fisher-Rao geometry of beta distributions applied to the
# study of canonical moments, 2019 (arXiv:1904.08247). The manifold is curved negatively everywhere,
# and not evenly; geodesics and circles around the uniform distribution and around Beta(4, 2).
figure, axes = plt.subplots(1, 2, figsize=(8.6, 4.2), layout="constrained")
for ax, center in zip(axes, (Beta(1.0, 1.0), Beta(4.0, 2.0)), strict=True):
    plot.geodesic_polar(center, [0.5, 1.0, 1.5], ax)
    units = manifolds.beta.Tangent(1.0, 0.0), manifolds.beta.Tangent(0.0, 1.0)
    curvature = float(manifolds.sectional_curvature(center, *units))
    ax.set_title(f"curvature {curvature:.4f} at the centre", fontsize=10.5)
    assert -0.5 < curvature < 0.0
figure.savefig("literature_3_beta.png", dpi=110)

# %%
# Multivariate normals
# --------------------
# M. Calvo and J. Oller, An explicit solution of information geodesic equations for the multivariate
# normal model, Statistics and Decisions 9, 1991. Between normals of different means the deviations
# grow along the way: it pays to be wide while one moves.
ends = (
    MultivariateNormal([-3.0, 0.0], np.diag([1.0, 0.15])),
    MultivariateNormal([3.0, 0.0], np.diag([0.15, 1.0])),
)
way = multivariate_normal.fisher_rao_geodesic(*ends, np.linspace(0.0, 1.0, 11))
figure, ax = plt.subplots(figsize=(7.0, 4.4), layout="constrained")
plot.normal_ellipses(way, ax)
areas = np.sqrt(np.linalg.det(way.cov))
print("area of the ellipses over that at the ends:", (areas / areas[0]).round(2))
assert areas.argmax() in (4, 5, 6)
figure.savefig("literature_4_ellipses.png", dpi=110)
