"""What users write, for type checkers: `test_types.py` runs mypy and pyright on it."""

from typing import Any, assert_type

import jax.numpy as jnp
import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

import infogeo
from infogeo import (
    logits,
    maxent,
    mean,
    multivariate_normal,
    neighbors,
    normal,
    results,
    simplex,
)
from infogeo.family import ExponentialFamily, MixtureFamily, e_projection
from infogeo.pullback import PullbackMetric, heads
from infogeo.robustness import robustness_indicator
from infogeo.typing import A, Array, ArrayLike

p = np.array([0.2, 0.3, 0.5])
half: NDArray[np.float32] = np.full(3, 1 / 3, dtype=np.float32)
z = torch.zeros(3, requires_grad=True)

# The library of the result is that of the arguments, lists and frames beside them.
assert_type(simplex.fisher_rao_distance(p, p), NDArray[Any])
assert_type(simplex.fisher_rao_distance(p, [0.5, 0.25, 0.25]), NDArray[Any])
assert_type(simplex.fisher_rao_distance([0.5, 0.5], [1.0, 0.0]), NDArray[Any])
assert_type(simplex.fisher_rao_distance(pl.DataFrame({"a": [1.0]}), [1.0]), NDArray[Any])
assert_type(simplex.e_mean(half[None, :], weights=[1.0], axis=0), NDArray[Any])
assert_type(simplex.random_uniform(3, (2, 5), rng=0), NDArray[np.float64])
assert_type(simplex.volume(3), float)
assert_type(logits.kl_divergence(z, torch.nn.Parameter(torch.ones(3))), torch.Tensor)
assert_type(logits.fisher_rao_geodesic([0.0, 1.0, 2.0], z, 0.5), torch.Tensor)
logits.fisher_rao_distance(z, [0.0, 0.0, 1.0]).backward()
d = logits.fisher_rao_distance(jnp.zeros(3), jnp.ones(3))
print(float(d), 1.0 - d, d.shape)

# A tensor beside an array of numpy is refused: both checkers would report an unused comment.
simplex.fisher_rao_distance(p, z)  # type: ignore
logits.entropy({"a": 0.5})  # type: ignore


def standardised(x: ArrayLike[A], y: ArrayLike[A]) -> A:
    """A function of the user's own keeps the types."""
    return simplex.norm(x, simplex.log_map(x, y))


assert_type(standardised(z, [0.2, 0.3, 0.5]), torch.Tensor)

# Points, solves and results.
a, b = normal.Normal(0.0, 1.0), normal.Normal([0.0, 1.0], 2.0)
distances: Array = normal.fisher_rao_distance(a, b)
points = multivariate_normal.MultivariateNormal(np.zeros(2), np.eye(2))
print(multivariate_normal.fisher_rao_distance(points, points) + distances)
print(infogeo.fisher_rao_distance(a, b), infogeo.fisher_rao_distance(p, half))
assert_type(neighbors.pairwise_distance(z, space=logits), torch.Tensor)
found = neighbors.nearest(p[None, :], [[0.5, 0.25, 0.25]], num_neighbors=1)
print(found.indices[0, 0], found.distances)
center = mean.frechet_mean(b, space="normal", max_steps=20)
print(center.point, center.status.name)
family = ExponentialFamily([[1, 2, 3]])
die = maxent.c_maximize([[1.0, 2.0, 3.0]], [2.5], throw=False)
assert_type(die, results.Projection)
assert_type(center, results.Mean)
print(
    family.probabilities([0.1]), die.probabilities, e_projection(p, MixtureFamily([[1, 2, 3]], [2]))
)

metric = PullbackMetric(torch.nn.Linear(4, 3), heads.categorical)
x = torch.zeros(2, 4)
print(metric.trace(x).sum(), robustness_indicator(metric.model, x).item())
