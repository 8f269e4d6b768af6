"""The registry of spaces: the one place that knows their names.

A space is a module or an object with ``fisher_rao_distance``. Each module of the registry declares
``POINTS``, what its points are: a `Rule` of the gate for predictions as arrays, or the class of
points that are objects. Modules are imported when a space is first asked for.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

from infogeo._array import Rule, bad_value

# A new space adds its line here.
_MODULES = {
    "simplex": "infogeo.simplex",
    "logits": "infogeo.logits",
    "normal": "infogeo.normal",
    "multivariate_normal": "infogeo.multivariate_normal",
}
_NAMES = {module: name for name, module in _MODULES.items()}


def resolve(space: Any, *, argument: str = "space") -> Any:
    """Return the space that a name stands for; modules and objects are returned as they are.

    A name is one of the registry, or the dotted name of any other module that is a space.
    """
    if not isinstance(space, str):
        return space
    try:
        return importlib.import_module(_MODULES.get(space, space))
    except (ImportError, ValueError, TypeError):  # no such module; an empty or a relative name
        raise bad_value(
            argument,
            f"be a space or the name of one ({', '.join(_MODULES)})",
            f"got {space!r}",
        ) from None


def with_distance(space: Any, *, argument: str = "space") -> Any:
    """Return the space of a name, module or object, which has to have a distance."""
    resolved = resolve(space, argument=argument)
    if not callable(getattr(resolved, "fisher_rao_distance", None)):
        raise TypeError(
            f"{argument} must have a function fisher_rao_distance: got {space!r}. Pass a module "
            "such as infogeo.simplex, its name, or an object with that function."
        )
    return resolved


def name_of(space: Any) -> Any:
    """Return the name that stands for a module, to be stored; objects stand for themselves."""
    if isinstance(space, ModuleType):
        space = space.__name__
    return _NAMES.get(space, space) if isinstance(space, str) else space


def rule_of(space: Any) -> Rule | None:
    """Return the gate's rule for predictions as arrays, None for spaces with rules of their own.

    Other people's spaces have rules of their own, even one that hands on what a module of the
    registry declares: their geometry need not be the sphere's.
    """
    name = name_of(space)
    if not isinstance(name, str) or name not in _MODULES:
        return None
    declared = resolve(name).POINTS
    return declared if isinstance(declared, Rule) else None


def of_predictions(space: Any, *, argument: str = "space") -> Any:
    """Return the space of a name, module or object, which has to be one of predictions."""
    resolved = resolve(space, argument=argument)
    if rule_of(resolved) is None:
        raise bad_value(argument, "be infogeo.simplex or infogeo.logits", f"got {space!r}")
    return resolved


def of_point(point: Any) -> Any:
    """Return the space whose points are objects of this one's class, None if there is none."""
    loaded = (sys.modules.get(module) for module in _MODULES.values())
    for space in loaded:
        declared = getattr(space, "POINTS", None)
        if isinstance(declared, type) and isinstance(point, declared):
            return space
    return None
