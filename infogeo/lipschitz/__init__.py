"""Networks with a known Lipschitz constant, and what that certifies about their predictions.

`certificates` works on the logits of any library; the others need torch. All load when they are
first used.
"""

import importlib
from typing import TYPE_CHECKING

__all__ = ["certificates", "heads", "layers", "losses", "propagation", "smoothing"]

if TYPE_CHECKING:
    from infogeo.lipschitz import certificates, heads, layers, losses, propagation, smoothing


def __getattr__(name):
    if name in __all__:
        return importlib.import_module(f"infogeo.lipschitz.{name}")
    raise AttributeError(f"module 'infogeo.lipschitz' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
