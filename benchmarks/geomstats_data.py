"""The values and the laws of geomstats' own tests, run against infogeo: who is right?

Run this file with python and the folder of a checkout of geomstats, whose tests it reads:

    git clone --depth 1 https://github.com/geomstats/geomstats
    python benchmarks/geomstats_data.py geomstats

The first table is of the numbers that those tests expect: squared distances, metrics, and
likelihood estimates of gamma distributions. The second one is of the laws that they try on random
points: distances are symmetric, the exponential map undoes the logarithm. The third one compares
the distances of such points, and where they differ a third value decides, by shooting
(`family_distances.py`), or a closed form by mpmath.
"""

import importlib
import sys

import mpmath
import numpy as np
from family_distances import point, shooting

from infogeo import manifolds
from infogeo.manifolds import Binomial, Exponential, Gamma, Geometric, Poisson
from infogeo.normal import Normal

# What geomstats calls the data of its tests, and the point of infogeo that its points are.
DATA = "tests.tests_geomstats.test_information_geometry.data"
EXPECTED = [
    ("poisson", "PoissonMetricSmokeTestData", Poisson),
    ("exponential", "ExponentialMetricSmokeTestData", Exponential),
    ("geometric", "GeometricMetricSmokeTestData", Geometric),
    ("binomial", "Binomial5MetricTestData", lambda p: Binomial(5.0, p)),
    ("binomial", "Binomial7MetricTestData", lambda p: Binomial(7.0, p)),
    ("binomial", "Binomial10MetricTestData", lambda p: Binomial(10.0, p)),
    ("beta", "BetaMetricSmokeTestData", None),
    ("gamma", "GammaDistributionsSmokeTestData", None),
]
# Families with a random point of geomstats' spaces: points of gamma as shape and mean.
RANDOM = ("Poisson", "Exponential", "Geometric", "Binomial", "Normal", "Gamma", "Beta")
NUM_PAIRS = 12
AGREE = 5e-7  # relative: values of the tests have seven digits or more


def off(found, expected):
    """Return the largest relative difference."""
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    return float(np.max(np.abs(found - expected) / np.maximum(np.abs(expected), 1.0)))


def checked_values(file, name, kind):
    """Yield what is compared, how many numbers, and how far infogeo is off."""
    data = getattr(importlib.import_module(f"{DATA}.{file}"), name)()
    if hasattr(data, "squared_dist_test_data"):
        errors = []
        for row in data.squared_dist_test_data():
            a, b = (kind(np.ravel(row[key])) for key in ("point_a", "point_b"))
            found = manifolds.fisher_rao_squared_distance(a, b)
            errors.append(off(found, np.ravel(row["expected"])))
        yield "squared distance", len(errors), max(errors)
    if hasattr(data, "metric_matrix_test_data"):
        errors = []
        for row in data.metric_matrix_test_data():
            x, expected = np.asarray(row["base_point"]), np.asarray(row["expected"])
            a = point("Beta", x) if kind is None else kind(x[..., 0])
            errors.append(off(manifolds.fisher_information(a), expected))
        yield "metric", len(errors), max(errors)
    if hasattr(data, "maximum_likelihood_fit_test_data"):
        errors = []
        for row in data.maximum_likelihood_fit_test_data():
            ragged = row["data"] if np.ndim(row["data"][0]) else [row["data"]]
            for samples, (shape, mean) in zip(
                ragged, np.reshape(row["expected"], (-1, 2)), strict=True
            ):
                fitted = Gamma.fit(np.asarray(samples, dtype=float))
                k = float(fitted.concentration)
                errors.append(off([k, k / float(fitted.rate)], [shape, mean]))
        yield "likelihood estimate", len(errors), max(errors)


def space_of(family):
    """Return geomstats' space."""
    names = {
        "Binomial": ("binomial", "BinomialDistributions", (5,)),
        "Normal": ("normal", "UnivariateNormalDistributions", ()),
    }
    file, name, given = names.get(family, (family.lower(), f"{family}Distributions", ()))
    module = importlib.import_module(f"geomstats.information_geometry.{file}")
    return getattr(module, name)(*given)


def as_point(family, x):
    """Return the point of infogeo that geomstats' coordinates are."""
    kinds = {"Poisson": Poisson, "Exponential": Exponential, "Geometric": Geometric}
    if family in kinds:
        return kinds[family](x[0])
    if family == "Binomial":
        return Binomial(5.0, x[0])
    return Normal(x[0], x[1]) if family == "Normal" else point(family, x)


def as_coordinates(family, a):
    """Return geomstats' coordinates of a point of infogeo."""
    if family == "Gamma":
        return np.array([a.concentration, a.concentration / a.rate], dtype=float)
    fields = [getattr(a, name) for name in type(a).rules if name not in type(a).constants]
    return np.ravel(np.array(fields, dtype=float))


def exact(family, x, y):
    """Return the distance by a formula in mpmath; by shooting where there is none."""
    a, b = mpmath.mpf(float(x[0])), mpmath.mpf(float(y[0]))
    with mpmath.workdps(40):
        if family == "Poisson":
            return float(2 * abs(mpmath.sqrt(a) - mpmath.sqrt(b)))
        if family == "Exponential":
            return float(abs(mpmath.log(a / b)))
        if family == "Geometric":
            roots = [mpmath.atanh(mpmath.sqrt(1 - z)) for z in (a, b)]
            return float(2 * abs(roots[0] - roots[1]))
        if family == "Binomial":
            sines = [mpmath.asin(mpmath.sqrt(z)) for z in (a, b)]
            return float(2 * mpmath.sqrt(5) * abs(sines[0] - sines[1]))
        if family == "Normal":
            s, t = mpmath.mpf(float(x[1])), mpmath.mpf(float(y[1]))
            chord = ((a - b) ** 2 / 2 + (s - t) ** 2) / (4 * s * t)
            return float(2 * mpmath.sqrt(2) * mpmath.asinh(mpmath.sqrt(chord)))
    return shooting(family, tuple(map(float, x)), tuple(map(float, y)))[0]


def laws(family):
    """Return the misses of both: symmetry, exp after log, and distances by a third value."""
    np.random.seed(0)  # noqa: NPY002  geomstats draws from numpy's own generator
    space = space_of(family)
    points = np.reshape(space.random_point(2 * NUM_PAIRS), (2, NUM_PAIRS, -1))
    rows = []
    for x, y in zip(*points, strict=True):
        a, b = as_point(family, x), as_point(family, y)
        ours = float(manifolds.fisher_rao_distance(a, b))
        reached = as_coordinates(family, manifolds.exp_map(a, manifolds.log_map(a, b)))
        back = float(manifolds.fisher_rao_distance(b, a))
        mine = [abs(back / ours - 1.0), off(reached, y)]
        try:
            theirs = float(np.squeeze(space.metric.dist(x, y)))
            turned = float(np.squeeze(space.metric.dist(y, x)))
            other = [abs(turned / theirs - 1.0)]
            velocity = space.metric.log(y, base_point=x)
            other.append(off(np.ravel(space.metric.exp(velocity, base_point=x)), y))
        except (NotImplementedError, ValueError, ArithmeticError):
            theirs, other = np.nan, [np.nan, np.nan]
        third = exact(family, x, y)
        rows.append([*mine, abs(ours / third - 1.0), *other, abs(theirs / third - 1.0)])
    return np.array(rows)


def main(folder):
    """Print the tables."""
    sys.path.insert(0, folder)
    print("Numbers that geomstats' tests expect\n")
    print(f"{'family':12}{'':22}{'numbers':>8}{'infogeo off by':>16}")
    for file, name, kind in EXPECTED:
        for what, count, worst in checked_values(file, name, kind):
            word = "agree" if worst <= AGREE else "DIFFER"
            print(f"{file:12}{what:22}{count:8}{worst:16.1e}  {word}")
    print(f"\nLaws on {NUM_PAIRS} pairs of geomstats' random points, the worst relative misses\n")
    print(f"{'':12}{'infogeo':^36}{'geomstats':^36}")
    head = f"{'symmetry':>12}{'exp of log':>12}{'distance':>12}"
    print(f"{'family':12}{head}{head}  wrong by more than 1e-6")
    for family in RANDOM:
        rows = laws(family)
        worst = np.nanmax(np.where(np.isnan(rows).all(0), 0.0, rows), axis=0)
        wrong = [int(np.sum(~(rows[:, i] < 1e-6))) for i in (2, 5)]
        print(
            f"{family:12}"
            + "".join(f"{x:12.1e}" for x in worst)
            + f"  infogeo {wrong[0]}, geomstats {wrong[1]} of {len(rows)}"
        )


if __name__ == "__main__":
    main(sys.argv[1])
