"""The metric that a network induces on its inputs: how far apart they are, as the model sees them.

`PullbackMetric` takes a torch model and measures inputs by what moves the prediction; `heads`
says what the model's raw outputs stand for.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError:  # pragma: no cover
    raise ImportError('infogeo.pullback needs torch: pip install "infogeo[torch]"') from None

from infogeo._result import ScaledFactor, Spectrum
from infogeo.pullback import heads
from infogeo.pullback.heads import Head
from infogeo.pullback.metric import PullbackMetric

__all__ = ["Head", "PullbackMetric", "ScaledFactor", "Spectrum", "heads"]
