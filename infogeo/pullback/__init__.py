"""The metric that a network induces on its inputs: how far apart they are, as the model sees them.

`PullbackMetric` takes a torch model and measures inputs by what moves the prediction; `heads`
says what the model's raw outputs stand for, `input_metrics` what its inputs are measured by, and
`comparison` whether it stretches what it measures. `scan` measures a data set, in batches that
survive a kill, and `quantities` is what it can measure.
"""

from infogeo._docs import finish
from infogeo._system.extras import missing

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise missing(error, "infogeo.pullback") from None

from infogeo.pullback import comparison, heads, input_metrics, quantities
from infogeo.pullback._kinks import Kinks, check_differentiable
from infogeo.pullback._network import check_independent
from infogeo.pullback._scan import Scan, merge_scans, read_scan, scan
from infogeo.pullback._spectrum import ScaledFactor
from infogeo.pullback.heads import Head
from infogeo.pullback.input_metrics import InputMetric
from infogeo.pullback.leaves import KernelWalk, LeafPath
from infogeo.pullback.metric import PullbackMetric, Spectrum, TraceEstimate
from infogeo.pullback.natural_gradient import NaturalGradient
from infogeo.pullback.paths import Length, Path
from infogeo.pullback.strategies import Batched, Loop, Operator
from infogeo.pullback.temperature import Calibration, fit_temperature
from infogeo.pullback.weight_matching import Barrier, Matching
from infogeo.pullback.weight_paths import ExplainedChange
from infogeo.pullback.weight_systems import WeightSolution
from infogeo.pullback.weights import SpectralDensity, WeightMetric

__all__ = [
    "Barrier",
    "Batched",
    "Calibration",
    "ExplainedChange",
    "Head",
    "InputMetric",
    "KernelWalk",
    "Kinks",
    "LeafPath",
    "Length",
    "Loop",
    "Matching",
    "NaturalGradient",
    "Operator",
    "Path",
    "PullbackMetric",
    "ScaledFactor",
    "Scan",
    "SpectralDensity",
    "Spectrum",
    "TraceEstimate",
    "WeightMetric",
    "WeightSolution",
    "check_differentiable",
    "check_independent",
    "comparison",
    "fit_temperature",
    "heads",
    "input_metrics",
    "merge_scans",
    "quantities",
    "read_scan",
    "scan",
]


finish(globals())
