"""The gamma function's logarithm and its derivatives, against mpmath."""

import mpmath
import numpy as np
import pytest
import torch
from array_api_compat import array_namespace

from infogeo.manifolds import _special

X = np.concatenate(
    [10.0 ** np.arange(-300, 301, 25.0), np.geomspace(1e-3, 1e3, 61), [1.0, 2.0, 9.999999, 10.0]]
)


def exact(function, x):
    """Return values with digits enough for the cancellation at large x."""
    values = []
    for number in map(mpmath.mpf, x):
        with mpmath.workdps(40 + 4 * max(0, int(mpmath.log10(number)))):
            values.append(float(function(number)))
    return np.array(values)


EXACT = {
    "binet": lambda x: (
        mpmath.loggamma(x) - (x - 0.5) * mpmath.log(x) + x - mpmath.log(2 * mpmath.pi) / 2
    ),
    "binet_slope": lambda x: mpmath.psi(0, x) - mpmath.log(x) + 1 / (2 * x),
    "trigamma_excess": lambda x: x * x * mpmath.psi(1, x) - x,
    "trigamma_excess_slope": lambda x: (
        x * (2 * x * mpmath.psi(1, x) + x * x * mpmath.psi(2, x) - 1)
    ),
    "digamma": lambda x: mpmath.psi(0, x),
    "trigamma": lambda x: mpmath.psi(1, x),
}
# How large the terms are whose rounding counts.
TERMS = {
    "binet": lambda x: np.where(x < 10.0, 1.0 + abs(np.log(x)), 0.0),
    "binet_slope": lambda x: np.where(x < 10.0, 1.0 + 1.0 / x, 0.0),
    "trigamma_excess_slope": lambda x: np.where(x < 10.0, 1.0, 0.0),
    "digamma": lambda x: 1.0 + abs(np.log(x)) + 1.0 / x,
}


def safe(name):
    """Return the arguments whose values, and terms, are numbers."""
    power = {"trigamma": 2, "binet_slope": 2}.get(name, 1)
    return X[abs(np.log10(X)) < 300 / power]


@pytest.mark.parametrize("name", EXACT)
def test_values_have_all_their_digits(name):
    x = safe(name)
    expected = exact(EXACT[name], x)
    size = TERMS[name](x) if name in TERMS else abs(expected)
    found = getattr(_special, name)(x, array_namespace(x))
    assert np.max(abs(found - expected) / np.maximum(size, abs(expected))) < 2e-15


@pytest.mark.parametrize("name", EXACT)
def test_all_libraries_and_float32(lib, name):
    x = np.float32([1e-4, 0.3, 1.0, 5.0, 9.5, 11.0, 300.0, 1e8])
    expected = exact(EXACT[name], x.astype(float))
    size = np.maximum(abs(expected), TERMS[name](x) if name in TERMS else 0.0)
    for dtype, tolerance in (("float32", 2e-6), ("float64", 4e-15)):
        arrays = lib.array(x, dtype=dtype)
        found = getattr(_special, name)(arrays, array_namespace(arrays))
        assert lib.owns(found)
        assert lib.dtype_name(found) == dtype
        assert np.max(abs(lib.to_numpy(found) - expected) / size) < tolerance


def test_values_at_the_ends_of_the_range():
    x = np.array([5e-324, 1e-200, 1e308])
    xp = array_namespace(x)
    np.testing.assert_array_equal(_special.trigamma_excess(x, xp), [1.0, 1.0, 0.5])
    np.testing.assert_allclose(_special.trigamma(x, xp), [np.inf, np.inf, 1e-308])
    np.testing.assert_allclose(_special.digamma(x[1:], xp), [-1e200, np.log(1e308)])


@pytest.mark.parametrize(
    ("name", "slope"),
    [
        ("binet", "binet_slope"),
        ("digamma", "trigamma"),
    ],
)
def test_derivatives_are_the_next_function(name, slope):
    x = torch.tensor([1e-3, 0.4, 3.0, 9.9, 10.1, 1e4], dtype=torch.float64, requires_grad=True)
    xp = array_namespace(x)
    getattr(_special, name)(x, xp).sum().backward()
    expected = getattr(_special, slope)(x.detach(), xp)
    np.testing.assert_allclose(x.grad, expected, rtol=1e-12)
