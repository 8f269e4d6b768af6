"""Networks with a known Lipschitz constant, and what that certifies about their predictions.

`certificates` works on the logits of any library; the others need torch. All load when they are
first used.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from infogeo._docs import finish

__all__ = [
    "certificates",
    "curved",
    "layers",
    "losses",
    "output_layers",
    "propagation",
    "smoothing",
]

if TYPE_CHECKING:
    from infogeo.lipschitz import (
        certificates,
        curved,
        layers,
        losses,
        output_layers,
        propagation,
        smoothing,
    )


def __getattr__(name: str) -> ModuleType:
    if name in __all__ or name == "heads":  # the former name of output_layers
        return importlib.import_module(f"infogeo.lipschitz.{name}")
    raise AttributeError(f"module 'infogeo.lipschitz' has no attribute {name!r}")


finish(globals())
