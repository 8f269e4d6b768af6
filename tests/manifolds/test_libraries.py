"""Families on arrays of dask, which stay lazy, and of jax: what numpy says of the same points."""

import numpy as np
import pytest

from infogeo import _spaces, manifolds
from infogeo._points import fields

FAMILIES = [
    *("poisson", "exponential", "bernoulli", "geometric", "half_normal", "rayleigh", "maxwell"),
    *("laplace", "logistic", "cauchy", "gumbel", "gumbel_min", "weibull", "frechet", "log_normal"),
    *("inverse_gaussian", "gamma", "von_mises", "beta"),
]
SOLVED = {"gamma", "von_mises", "beta"}


def drawn(name, rng):
    """Return fields that points of all these families may have."""
    kind = _spaces.resolve(name).POINTS
    return kind, [rng.uniform(0.1, 0.9, 6) for _ in kind.rules]


def made(name, convert):
    rng = np.random.default_rng(1)
    return [kind(*map(convert, x)) for kind, x in (drawn(name, rng) for _ in range(2))]


@pytest.mark.parametrize("name", FAMILIES)
def test_distances_are_lazy_on_dask_or_refused(name):
    da = pytest.importorskip("dask.array")
    a, b = made(name, lambda x: da.from_array(x, chunks=3))
    if name in SOLVED:
        with pytest.raises(TypeError, match="points must have values that can be read here"):
            manifolds.fisher_rao_distance(a, b)
        return
    d = manifolds.fisher_rao_distance(a, b)
    assert isinstance(d, da.Array)
    expected = manifolds.fisher_rao_distance(*made(name, np.asarray))
    np.testing.assert_allclose(d.compute(scheduler="synchronous"), expected, rtol=1e-13)


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.parametrize("name", FAMILIES)
def test_jax_says_what_numpy_says(name):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    pairs = made(name, jax.numpy.asarray), made(name, np.asarray)
    for verb in ("fisher_rao_distance", "log_map"):
        found, expected = (getattr(manifolds, verb)(*pair) for pair in pairs)
        if verb == "log_map":
            assert all(isinstance(x, jax.Array) for x in fields(found))
            found, expected = (np.stack(fields(v)) for v in (found, expected))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.parametrize("name", [n for n in FAMILIES if n not in SOLVED])
def test_distances_of_jax_have_the_gradient_0_at_equal_points(name):
    """The derivative of jax's absolute value at 0 is 1."""
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    kind, values = drawn(name, np.random.default_rng(1))
    x = jax.numpy.asarray(np.stack(values)[:, 0])
    for verb in (manifolds.fisher_rao_distance, manifolds.fisher_rao_squared_distance):
        slope = jax.grad(lambda y, verb=verb: verb(kind(*y, check=False), kind(*x, check=False)))
        np.testing.assert_array_equal(slope(x), 0.0)
