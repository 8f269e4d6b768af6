"""The class of every result, for annotations: each stands beside the function that returns it.

The classes are imported when they are first used, so that results of the simplex need no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from infogeo._docs import finish

if TYPE_CHECKING:  # the aliases tell type checkers that the names are there to be imported
    from infogeo.family import Alternation as Alternation
    from infogeo.inference import Bootstrap as Bootstrap
    from infogeo.inference import DistanceTable as DistanceTable
    from infogeo.inference import Interval as Interval
    from infogeo.inference import Jackknife as Jackknife
    from infogeo.inference import KSampleTest as KSampleTest
    from infogeo.inference import MeanEstimate as MeanEstimate
    from infogeo.inference import PredictionTest as PredictionTest
    from infogeo.inference import Test as Test
    from infogeo.interop.torch import DistanceSummary as DistanceSummary
    from infogeo.lipschitz.certificates import Coverage as Coverage
    from infogeo.lipschitz.smoothing import Smoothed as Smoothed
    from infogeo.maxent import Balance as Balance
    from infogeo.maxent import BalanceDiagnostics as BalanceDiagnostics
    from infogeo.maxent import ConditionalProjection as ConditionalProjection
    from infogeo.maxent import FrequencyEstimate as FrequencyEstimate
    from infogeo.maxent import FrequencyMatch as FrequencyMatch
    from infogeo.maxent import Projection as Projection
    from infogeo.maxent import Separation as Separation
    from infogeo.mean import Mean as Mean
    from infogeo.multivariate_normal import Bounds as Bounds
    from infogeo.multivariate_normal import Connection as Connection
    from infogeo.neighbors import Neighbors as Neighbors
    from infogeo.pullback import Barrier as Barrier
    from infogeo.pullback import Calibration as Calibration
    from infogeo.pullback import ExplainedChange as ExplainedChange
    from infogeo.pullback import KernelWalk as KernelWalk
    from infogeo.pullback import Kinks as Kinks
    from infogeo.pullback import LeafPath as LeafPath
    from infogeo.pullback import Length as Length
    from infogeo.pullback import Matching as Matching
    from infogeo.pullback import Path as Path
    from infogeo.pullback import ScaledFactor as ScaledFactor
    from infogeo.pullback import Scan as Scan
    from infogeo.pullback import SpectralDensity as SpectralDensity
    from infogeo.pullback import Spectrum as Spectrum
    from infogeo.pullback import TraceEstimate as TraceEstimate
    from infogeo.pullback import WeightSolution as WeightSolution
    from infogeo.robustness import Attack as Attack
    from infogeo.robustness import MarginAttack as MarginAttack
    from infogeo.testing import Report as Report

_HOMES = {
    "Alternation": "infogeo.family",
    "Attack": "infogeo.robustness",
    "Balance": "infogeo.maxent",
    "BalanceDiagnostics": "infogeo.maxent",
    "Barrier": "infogeo.pullback",
    "Bootstrap": "infogeo.inference",
    "Bounds": "infogeo.multivariate_normal",
    "Calibration": "infogeo.pullback",
    "ConditionalProjection": "infogeo.maxent",
    "Connection": "infogeo.multivariate_normal",
    "Coverage": "infogeo.lipschitz.certificates",
    "DistanceSummary": "infogeo.interop.torch",
    "DistanceTable": "infogeo.inference",
    "ExplainedChange": "infogeo.pullback",
    "FrequencyEstimate": "infogeo.maxent",
    "FrequencyMatch": "infogeo.maxent",
    "Interval": "infogeo.inference",
    "Jackknife": "infogeo.inference",
    "KSampleTest": "infogeo.inference",
    "KernelWalk": "infogeo.pullback",
    "Kinks": "infogeo.pullback",
    "LeafPath": "infogeo.pullback",
    "Length": "infogeo.pullback",
    "MarginAttack": "infogeo.robustness",
    "Matching": "infogeo.pullback",
    "Mean": "infogeo.mean",
    "MeanEstimate": "infogeo.inference",
    "Neighbors": "infogeo.neighbors",
    "Path": "infogeo.pullback",
    "PredictionTest": "infogeo.inference",
    "Projection": "infogeo.maxent",
    "Report": "infogeo.testing",
    "ScaledFactor": "infogeo.pullback",
    "Scan": "infogeo.pullback",
    "Separation": "infogeo.maxent",
    "Smoothed": "infogeo.lipschitz.smoothing",
    "SpectralDensity": "infogeo.pullback",
    "Spectrum": "infogeo.pullback",
    "Test": "infogeo.inference",
    "TraceEstimate": "infogeo.pullback",
    "WeightSolution": "infogeo.pullback",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'infogeo.results' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


finish(globals())
