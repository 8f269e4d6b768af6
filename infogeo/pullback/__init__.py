"""The metric that a network induces on its inputs: how far apart they are, as the model sees them.

`PullbackMetric` takes a torch model and measures inputs by what moves the prediction; `heads`
says what the model's raw outputs stand for.
"""

from infogeo._extras import missing

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise missing(error, "infogeo.pullback") from None

from infogeo._result import KernelWalk, LeafPath, Length, Path, ScaledFactor, Spectrum
from infogeo.pullback import heads
from infogeo.pullback.heads import Head
from infogeo.pullback.metric import PullbackMetric

__all__ = [
    "Head",
    "KernelWalk",
    "LeafPath",
    "Length",
    "Path",
    "PullbackMetric",
    "ScaledFactor",
    "Spectrum",
    "heads",
]
