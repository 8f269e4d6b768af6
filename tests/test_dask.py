"""Functions of simplex, logits and normal on dask rows of unknown number, an empty block too."""

import inspect

import numpy as np
import pytest

from infogeo import logits, normal, simplex
from infogeo.normal import Normal, Tangent

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

KEPT = np.arange(12) % 2 == 0
KEPT[:4] = False  # the first block keeps no row


def lazily(x):
    """Return the kept rows, whose number dask does not know."""
    kept = da.from_array(KEPT, chunks=4)
    return da.from_array(x, chunks=(4, *x.shape[1:]))[kept]


def eagerly(x):
    return x[KEPT]


def arguments(space, verb, select, rng):
    """Return arguments for the parameters that the function has."""
    p, q = rng.dirichlet(np.ones(3), (2, 12))
    v = 0.01 * p * rng.normal(size=(12, 3))
    v -= p * v.sum(-1, keepdims=True)
    if space is normal:
        first, second = (Normal(select(x[:, 0]), select(y[:, 1])) for x, y in ((p, q), (q, p)))
        tangent = Tangent(select(v[:, 0]), select(v[:, 1]))
    else:
        of_points = (lambda x: x) if space is simplex or verb == "from_simplex" else np.log
        first, second = select(of_points(p)), select(of_points(q))
        tangent = select(2.0 * np.sqrt(p) if verb == "from_sphere" else v)
    known = {
        **dict.fromkeys(("p", "z", "a", "points"), first),
        **dict.fromkeys(("q", "w", "b"), second),
        **dict.fromkeys(("u", "v", "score", "g"), tangent),
        "eta": select(p[:, :2]),
        "theta": select(np.log(p)),
        **dict.fromkeys(("theta_1", "eta_1"), select(p[:, 0])),
        "theta_2": select(-q[:, 0]),
        "eta_2": select(p[:, 0] ** 2 + q[:, 0]),
        "t": 0.3,
        "alpha": 0.5,
        "order": 2,
    }
    names = inspect.signature(getattr(space, verb)).parameters
    return {name: known[name] for name in names if name in known}


def arrays_of(result):
    if isinstance(result, Normal | Tangent):
        return [result.mean, result.std]
    return list(result) if isinstance(result, tuple) else [result]


def verbs_of(space):
    left_out = {"random_uniform", "volume", "dimension", "Normal", "Tangent"}
    left_out.add("alpha_geodesic")  # a large graph: a campaign of tests/test_simplex.py
    return [
        verb for verb in space.__all__ if verb not in left_out and not verb.startswith("diagonal_")
    ]


@pytest.mark.parametrize("space", [simplex, logits, normal], ids=lambda space: space.__name__)
def test_rows_of_unknown_number(space):
    expected, lazy = {}, {}
    for verb in verbs_of(space):
        function = getattr(space, verb)
        given = [
            arguments(space, verb, select, np.random.default_rng(5)) for select in (eagerly, lazily)
        ]
        expected[verb] = arrays_of(function(**given[0]))
        lazy[verb] = arrays_of(function(**given[1]))
        assert all(isinstance(x, da.Array) for x in lazy[verb]), verb
    (computed,) = dask.compute(lazy)
    for verb, values in expected.items():
        for value, seen in zip(values, computed[verb], strict=True):
            np.testing.assert_allclose(seen, value, rtol=1e-9, atol=1e-12, err_msg=verb)
