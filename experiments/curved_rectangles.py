"""One rectangle, three metrics: curvature 0, 1/4 and -1/2

A pair of numbers (a, b) in a rectangle can be read as the means of two measurements of known
deviation, as the probabilities of two of three outcomes, or as mean and deviation of a normal
distribution. Each reading has its Fisher metric, of curvature 0, 1/4 and -1/2. In all three a
distance means the same for near points: how many samples it takes to tell them apart. In the
large they differ: a plane, a sphere on which nothing is farther than pi, a hyperbolic plane on
which the distance to a deviation of 0 is infinite.

Draws curved_rectangles.png.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from common import table
from matplotlib import pyplot as plt
from scipy.special import ndtr

from infogeo import normal, simplex

LOW, HIGH = 0.08, 0.44  # of the rectangle, in both directions
STD = 0.1  # of the measurements
NUM_TRIALS, NUM_SAMPLES = 40_000, 400
DISTANCE = 0.2  # of two points to tell apart: sqrt(400) 0.2 / 2 = 2 standard deviations
FRAME = np.array([[1.0, 0.0, -1.0], [0.0, 1.0, -1.0]])  # d/da and d/db of the probabilities
CENTRES = np.array([[0.18, 0.18], [0.18, 0.36], [0.35, 0.24]])


@dataclass(frozen=True)
class Reading:
    """What the pair (a, b) stands for, and the geometry that follows from it."""

    name: str
    curvature: float
    distance: Callable  # (x, y)
    circle: Callable  # (x, radius, directions): the points at that distance from x
    segment: Callable  # (x, y, t): the geodesic
    log_ratios: Callable  # (x, y, rng): log-likelihoods of x less y, for samples of x


def probabilities(points):
    """Return (a, b, 1 - a - b)."""
    return np.concatenate([points, 1.0 - points.sum(-1, keepdims=True)], axis=-1)


def normals(points):
    """Return normals of mean a and deviation b."""
    return normal.Normal(points[..., 0], points[..., 1])


def on_sphere(x, radius, directions):
    """Walk along geodesics of the simplex, in an orthonormal frame at x."""
    p = probabilities(x)
    u = FRAME[0] / simplex.norm(p, FRAME[0])
    v = FRAME[1] - simplex.inner_product(p, u, FRAME[1]) * u
    step = radius * directions @ np.stack([u, v / simplex.norm(p, v)])
    return simplex.exp_map(p, step)[:, :2]


def on_half_plane(x, radius, directions):
    """Walk along geodesics of the normals."""
    step = radius * x[1] * directions / np.array([1.0, math.sqrt(2.0)])
    found = normal.exp_map(normals(x), normal.Tangent(step[:, 0], step[:, 1]))
    return np.stack([found.mean, found.std], axis=-1)


def segment_of_normals(x, y, t):
    """Return points of the half-plane's geodesic."""
    found = normal.fisher_rao_geodesic(normals(x), normals(y), t)
    return np.stack([found.mean, found.std], axis=-1)


def ratios_of_measurements(x, y, rng):
    """Draw the means of 400 measurements of a and b, which is all that matters of them."""
    means = x + STD / math.sqrt(NUM_SAMPLES) * rng.standard_normal((NUM_TRIALS, 2))
    return ((means - y) ** 2 - (means - x) ** 2).sum(-1)


def ratios_of_counts(x, y, rng):
    """Draw how often each outcome occurs."""
    p, q = probabilities(x), probabilities(y)
    return rng.multinomial(NUM_SAMPLES, p, size=NUM_TRIALS) @ np.log(p / q)


def ratios_of_normals(x, y, rng):
    """Draw mean and mean square deviation of 400 samples."""
    n = NUM_SAMPLES
    mean = x[0] + x[1] / math.sqrt(n) * rng.standard_normal(NUM_TRIALS)
    spread = x[1] ** 2 * rng.chisquare(n - 1, size=NUM_TRIALS) / n

    def log_likelihood(point):
        return -math.log(point[1]) - 0.5 * (spread + (mean - point[0]) ** 2) / point[1] ** 2

    return log_likelihood(x) - log_likelihood(y)


READINGS = (
    Reading(
        "means of two measurements, deviation 0.1",
        0.0,
        lambda x, y: np.linalg.norm((x - y) / STD, axis=-1),
        lambda x, radius, directions: x + radius * STD * directions,
        lambda x, y, t: x + t[:, None] * (y - x),
        ratios_of_measurements,
    ),
    Reading(
        "probabilities of two of three outcomes",
        0.25,
        lambda x, y: simplex.fisher_rao_distance(probabilities(x), probabilities(y)),
        on_sphere,
        lambda x, y, t: simplex.fisher_rao_geodesic(probabilities(x), probabilities(y), t)[:, :2],
        ratios_of_counts,
    ),
    Reading(
        "mean and deviation of a normal",
        -0.5,
        lambda x, y: normal.fisher_rao_distance(normals(x), normals(y)),
        on_half_plane,
        segment_of_normals,
        ratios_of_normals,
    ),
)


def directions(num):
    """Return unit vectors all around, the first one again at the end."""
    angle = np.linspace(0.0, 2.0 * math.pi, num + 1)
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def seen_curvature(reading, x, radius=0.05):
    """Return 3 (2 pi r - C) / (pi r^3) of a small circle of circumference C."""
    around = reading.circle(x, radius, directions(20_000))
    circumference = reading.distance(around[1:], around[:-1]).sum()
    return 3.0 * (2.0 * math.pi * radius - circumference) / (math.pi * radius**3)


def draw(ax, reading):
    """Draw circles of equal radius, and the geodesics between the corners of the rectangle."""
    corners = np.array([[LOW, LOW], [HIGH, LOW], [HIGH, HIGH], [LOW, HIGH]])
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        ax.plot(*np.stack([start, end]).T, color="0.6", linewidth=1.0, linestyle=":")
        line = reading.segment(start, end, np.linspace(0.0, 1.0, 100))
        (geodesic,) = ax.plot(*line.T, color="#0072B2")
    for centre in CENTRES:
        (circle,) = ax.plot(*reading.circle(centre, 0.3, directions(200)).T, color="#D55E00")
        ax.plot(*centre, ".", color="#D55E00")
    ax.set(title=f"{reading.name}\ncurvature {reading.curvature:g}", xlabel="a", aspect="equal")
    ax.set(xlim=(0.0, 0.52), ylim=(0.0, 0.66))
    ax.spines[["top", "right"]].set_visible(False)
    return geodesic, circle


def main():
    """Measure curvature, the meaning of distance, and its range; draw."""
    rng = np.random.default_rng(0)
    figure, ax = plt.subplots(1, 3, figsize=(9.6, 4.4), layout="constrained", sharey=True)
    expected = ndtr(-0.5 * math.sqrt(NUM_SAMPLES) * DISTANCE)
    x, rows = CENTRES[0], []
    for axis, reading in zip(ax, READINGS, strict=True):
        curvature = seen_curvature(reading, x)
        assert abs(curvature - reading.curvature) < 1e-4
        y = reading.circle(x, DISTANCE, directions(8))[1]
        wrong = [np.mean(reading.log_ratios(*pair, rng) < 0.0) for pair in ((x, y), (y, x))]
        assert abs(np.mean(wrong) - expected) < 0.25 * expected
        diagonal = reading.distance(np.array([LOW, LOW]), np.array([HIGH, HIGH]))
        edge = reading.distance(x, np.array([x[0], 1e-12]))
        found = f"{abs(curvature) * np.sign(reading.curvature):.4f}", f"{diagonal:.3f}"
        rows.append([reading.name, *found, f"{edge:.3f}", f"{np.mean(wrong):.4f}"])
        handles = draw(axis, reading)
    rows.append(["by the formula", "0, 1/4, -1/2", "", "", f"{expected:.4f}"])
    table(
        "| a and b are | curvature seen | diagonal | from (0.18, 0.18) to b = 1e-12 "
        "| told apart wrongly, n = 400, d = 0.2 |",
        rows,
    )
    ax[0].set_ylabel("b")
    labels = ["geodesics between the corners", "distance 0.3 from a point"]
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=2)
    figure.savefig("curved_rectangles.png", dpi=110)


if __name__ == "__main__":
    main()
