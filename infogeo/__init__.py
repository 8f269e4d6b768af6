"""Information geometry of predictions.

Distances between predictions (`infogeo.simplex`, `infogeo.logits`), distances between
inputs as a network sees them (`infogeo.pullback`), families of distributions
(`infogeo.family`), and the one that constraints single out (`infogeo.maxent`). Submodules load
when they are first used, so that ``import infogeo`` costs no more than numpy.
"""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = [
    "BadValueError",
    "SolveError",
    "Status",
    "__version__",
    "family",
    "fisher_rao_distance",
    "inference",
    "interop",
    "lipschitz",
    "load",
    "logits",
    "manifolds",
    "maxent",
    "mean",
    "multivariate_normal",
    "neighbors",
    "normal",
    "plot",
    "pullback",
    "results",
    "robustness",
    "save",
    "simplex",
    "testing",
]

if TYPE_CHECKING:
    from infogeo import (
        family,
        inference,
        interop,
        lipschitz,
        logits,
        manifolds,
        maxent,
        mean,
        multivariate_normal,
        neighbors,
        normal,
        plot,
        pullback,
        results,
        robustness,
        simplex,
        testing,
    )
    from infogeo._array import BadValueError
    from infogeo._status import SolveError, Status
    from infogeo._system.storage import load, save
    from infogeo._system.version import __version__
    from infogeo.interop.distance import fisher_rao_distance

# Where the names live that are not submodules.
_HOMES = {
    "BadValueError": "infogeo._array",
    "SolveError": "infogeo._status",
    "Status": "infogeo._status",
    "__version__": "infogeo._system.version",
    "fisher_rao_distance": "infogeo.interop.distance",
    "load": "infogeo._system.storage",
    "save": "infogeo._system.storage",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'infogeo' has no attribute {name!r}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    return importlib.import_module(f"infogeo.{name}")


def __dir__() -> list[str]:
    return sorted(__all__)
