"""Bridges to other libraries, one module each; each needs that library and nothing else does.

The modules load when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["distance", "distributions", "frames", "geomstats", "sklearn", "torch", "torchmetrics"]

if TYPE_CHECKING:
    from infogeo.interop import (
        distance,
        distributions,
        frames,
        geomstats,
        sklearn,
        torch,
        torchmetrics,
    )


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"infogeo.interop.{name}")
    raise AttributeError(f"module 'infogeo.interop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
