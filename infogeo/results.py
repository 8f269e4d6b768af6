"""The class of every result, for annotations: each stands beside the function that returns it.

The classes are imported when they are first used, so that results of the simplex need no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

_HOMES = {
    "Attack": "infogeo.robustness",
    "Balance": "infogeo.maxent",
    "BalanceDiagnostics": "infogeo.maxent",
    "Bounds": "infogeo.multivariate_normal",
    "Calibration": "infogeo.pullback",
    "ConditionalProjection": "infogeo.maxent",
    "Connection": "infogeo.multivariate_normal",
    "Coverage": "infogeo.lipschitz.certificates",
    "DistanceSummary": "infogeo.interop.torch",
    "FrequencyEstimate": "infogeo.maxent",
    "FrequencyMatch": "infogeo.maxent",
    "KernelWalk": "infogeo.pullback",
    "Kinks": "infogeo.pullback",
    "LeafPath": "infogeo.pullback",
    "Length": "infogeo.pullback",
    "Mean": "infogeo.mean",
    "Neighbors": "infogeo.neighbors",
    "Path": "infogeo.pullback",
    "Projection": "infogeo.maxent",
    "ScaledFactor": "infogeo.pullback",
    "Scan": "infogeo.pullback",
    "Separation": "infogeo.maxent",
    "Smoothed": "infogeo.lipschitz.smoothing",
    "Spectrum": "infogeo.pullback",
    "TraceEstimate": "infogeo.pullback",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'infogeo.results' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
