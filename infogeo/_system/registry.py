"""Which classes `infogeo.save` and `infogeo.load` know: each registers itself where it stands."""

from collections.abc import Callable
from typing import TypeVar

Class = TypeVar("Class", bound=type)

STORABLE: dict[str, type] = {}


def storable(kind: str) -> Callable[[Class], Class]:
    """Register a dataclass with `infogeo.save` and `infogeo.load`.

    Parameters
    ----------
    kind : str
        What files call it: this stays when the class is moved or renamed.

    Returns
    -------
    callable
        The decorator, in a line of its own: `infogeo.load` finds there which module it has to
        import.
    """

    def register(cls: Class) -> Class:
        known = STORABLE.setdefault(kind, cls)
        # The front of a folder makes the classes of its private files its own.
        folders = {one.__module__.partition("._")[0] for one in (known, cls)}
        if len(folders) > 1 or known.__qualname__ != cls.__qualname__:
            raise ValueError(f"{kind} is registered already, for {known!r}")
        STORABLE[kind] = cls  # the same class again where its module is reloaded
        return cls

    return register
