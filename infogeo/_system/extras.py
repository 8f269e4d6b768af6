"""Optional dependencies: one line that names the extra when one is missing."""

import importlib.util

_EXTRAS = {
    "torch": "torch",
    "matplotlib": "plot",
    "sklearn": "sklearn",
    "rich": "cli",
    "geomstats": "geomstats",
    "pyarrow": "parquet",
    "torchmetrics": "torchmetrics",
}
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}


def missing(error: ModuleNotFoundError, user: str) -> ModuleNotFoundError:
    """Return the error to raise when a part of infogeo lacks its optional dependency.

    Anything else that is missing (something that the dependency itself needs) stays as it is.
    """
    if error.name not in _EXTRAS:
        return error
    package = _DISTRIBUTIONS.get(error.name, error.name)
    return ModuleNotFoundError(
        f"{user} needs {package}: pip install 'infogeo[{_EXTRAS[error.name]}]'", name=error.name
    )


def is_installed(module: str) -> bool:
    """Whether a module can be found, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
