"""Fixtures shared by all tests: array libraries and a fixed random generator."""

import importlib.util

import hypothesis
import mpmath
import numpy as np
import pytest

hypothesis.settings.register_profile("infogeo", derandomize=True, deadline=None, max_examples=60)
hypothesis.settings.load_profile("infogeo")

# Of all tests: what one file set would be another one's, in the same process.
mpmath.mp.dps = 50

# Code for type checkers, with calls that they have to refuse: it is not run.
collect_ignore = ["project/user_code.py"]

LIBRARIES = ("numpy", "torch", "array_api_strict", "jax", "dask")


class Library:
    """One array library: how to make its arrays and read them back."""

    def __init__(self, name):
        self.name = name
        if name == "torch":
            import torch

            self.make = lambda x, dtype: torch.tensor(x, dtype=getattr(torch, dtype))
        elif name == "array_api_strict":
            import array_api_strict

            self.make = lambda x, dtype: array_api_strict.asarray(
                x, dtype=getattr(array_api_strict, dtype)
            )
        elif name == "jax":
            import jax

            jax.config.update("jax_enable_x64", True)
            self.make = lambda x, dtype: jax.numpy.asarray(x, dtype=dtype)
        elif name == "dask":
            import dask.array

            self.make = lambda x, dtype: dask.array.from_array(np.asarray(x, dtype=dtype))
        else:
            self.make = lambda x, dtype: np.asarray(x, dtype=dtype)

    def __repr__(self):
        return self.name

    def array(self, x, dtype="float64"):
        return self.make(np.asarray(x).tolist(), dtype)

    def to_numpy(self, x):
        return np.asarray(x.compute() if self.name == "dask" else x)

    def dtype_name(self, x):
        return str(x.dtype).rpartition(".")[2]

    def owns(self, x):
        return type(x) is type(self.array([0.5])) or (
            self.name == "numpy" and isinstance(x, np.generic)
        )


@pytest.fixture(params=LIBRARIES)
def lib(request):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return Library(request.param)


# What `make campaign` alone runs. Which formula is taken depends on the precision, not on the
# library: numpy, torch and array_api_strict meet both, the others the one that is their default.
RARE = {("jax", "float64"), ("dask", "float32")}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        given = item.callspec.params if hasattr(item, "callspec") else {}
        long_for = item.get_closest_marker("long_for")
        is_long = long_for is not None and given.get("lib") in long_for.args
        if is_long or (given.get("lib"), given.get("dtype")) in RARE:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.campaign)


def pytest_runtest_setup(item):
    if item.get_closest_marker("cuda"):
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("no GPU")


@pytest.fixture
def rng():
    return np.random.default_rng(20261123)


@pytest.fixture
def kinds_of_its_own():
    """Forget the classes that a test registers with `infogeo.save`: another defines them again."""
    from infogeo._system import registry, storage

    yield
    for kind in registry.STORABLE.keys() - storage._homes().keys():
        del registry.STORABLE[kind]


def pytest_addoption(parser):
    parser.addoption(
        "--write-baselines",
        action="store_true",
        help="draw the baselines of tests/plot/test_images.py anew: look at them afterwards",
    )
