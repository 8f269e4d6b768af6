"""Networks with a known Lipschitz constant, and what that certifies about their predictions.

`certificates` works on the logits of any library; `layers` and `losses` need torch and load
when they are first used.
"""

import importlib
from typing import TYPE_CHECKING

__all__ = ["certificates", "layers", "losses"]

if TYPE_CHECKING:
    from infogeo.lipschitz import certificates, layers, losses


def __getattr__(name):
    if name in __all__:
        return importlib.import_module(f"infogeo.lipschitz.{name}")
    raise AttributeError(f"module 'infogeo.lipschitz' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
