"""Every space keeps the one contract."""

import contract
import numpy as np
import pytest

from infogeo import logits, multivariate_normal, normal, simplex


def simplex_vector(rng, p):
    v = np.sqrt(p) * rng.normal(size=p.shape)
    v -= p * v.sum()
    return v / simplex.norm(p, v)


def logits_vector(rng, z):
    v = rng.normal(size=z.shape)
    return v / logits.norm(z, v)


def normal_point(rng):
    return normal.Normal(rng.normal(), np.exp(0.5 * rng.normal()))


def normal_vector(rng, p):
    v = normal.Tangent(*rng.normal(size=2))
    return v / normal.norm(p, v)


def multivariate_point(rng):
    root = np.eye(3) + 0.1 * rng.normal(size=(3, 3))  # well conditioned
    return multivariate_normal.MultivariateNormal(rng.normal(size=3), root @ root.T)


def multivariate_vector(rng, p):
    change = rng.normal(size=(3, 3))
    v = multivariate_normal.Tangent(rng.normal(size=3), change + change.T)
    return v / multivariate_normal.norm(p, v)


SPACES = {
    "simplex": contract.Space(
        simplex, lambda rng: rng.dirichlet(np.full(6, 3.0)), simplex_vector, 0.25, 0.1
    ),
    "logits": contract.Space(logits, lambda rng: rng.normal(size=6), logits_vector, 0.25, 0.1),
    "normal": contract.Space(normal, normal_point, normal_vector, -0.5, 0.1),
    "multivariate_normal": contract.Space(
        multivariate_normal, multivariate_point, multivariate_vector, None, 0.1
    ),
}
# Its curvature is not constant, and its Levi-Civita transport has no closed form.
LEFT_OUT = {
    ("multivariate_normal", contract.check_curvature),
    ("multivariate_normal", contract.check_transport_is_an_isometry_along_the_geodesic),
}
KEPT = [
    pytest.param(space, check, id=f"{name}-{check.__name__}")
    for name, space in SPACES.items()
    for check in contract.CHECKS
    if (name, check) not in LEFT_OUT
]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("space", "check"), KEPT)
def test_contract(space, check, seed):
    check(space, np.random.default_rng(seed))


def reverse(x):
    return x[::-1]


def split(x):
    """Split the first outcome in two, 3 : 7: a sufficient statistic loses nothing."""
    return np.concatenate([[0.3 * x[0], 0.7 * x[0]], x[1:]])


def split_logits(z):
    return np.concatenate([[z[0] + np.log(0.3), z[0] + np.log(0.7)], z[1:]])


def repeat_first(v):
    return np.concatenate([v[:1], v])


ISOMETRIES = {
    "simplex, permuted": ("simplex", (reverse, reverse)),
    "simplex, an outcome split": ("simplex", (split, split)),
    "logits, permuted": ("logits", (reverse, reverse)),
    "logits, another representative": ("logits", (lambda z: z + 3.0, lambda v: v - 7.0)),
    "logits, a class split": ("logits", (split_logits, repeat_first)),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("space", "move"), ISOMETRIES.values(), ids=ISOMETRIES)
def test_isometries(space, move, seed):
    contract.isometry(SPACES[space], np.random.default_rng(seed), move)
