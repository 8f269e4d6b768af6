"""Every space keeps the one contract."""

import contract
import numpy as np
import pytest

from infogeo import logits, normal, simplex


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


SPACES = {
    "simplex": contract.Space(
        simplex, lambda rng: rng.dirichlet(np.full(6, 3.0)), simplex_vector, 0.25, 0.1
    ),
    "logits": contract.Space(logits, lambda rng: rng.normal(size=6), logits_vector, 0.25, 0.1),
    "normal": contract.Space(normal, normal_point, normal_vector, -0.5, 0.1),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_contract(space, check, seed):
    check(space, np.random.default_rng(seed))
