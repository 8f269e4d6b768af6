"""The former name of `infogeo.lipschitz.output_layers`, deprecated.

The heads of `infogeo.pullback` say what outputs stand for; these are layers that make outputs.
"""

import warnings
from typing import TYPE_CHECKING, Any

from infogeo.lipschitz import output_layers

__all__: list[str] = []  # the names are known, to code that has them already

if TYPE_CHECKING:
    from infogeo.lipschitz.output_layers import Arcsine as Arcsine
    from infogeo.lipschitz.output_layers import Softmax as Softmax
    from infogeo.lipschitz.output_layers import SphereExponential as SphereExponential


def __getattr__(name: str) -> Any:
    if name not in output_layers.__all__:
        raise AttributeError(f"module 'infogeo.lipschitz.heads' has no attribute {name!r}")
    warnings.warn(
        f"infogeo.lipschitz.heads is now infogeo.lipschitz.output_layers: use output_layers.{name}",
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(output_layers, name)


def __dir__() -> list[str]:
    return __all__
