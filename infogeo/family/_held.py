"""What families hold and take: rules for the gate, and checks of shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from infogeo import _array
from infogeo._array import (
    PROBABILITIES,
    REAL,
    Array,
    Namespace,
    Rule,
    along,
    bad_value,
    gate,
)
from infogeo._names import Named

# What a family holds was looked at when the family was made.
HELD = Rule("", lambda array, coarseness: True, REAL.explain)
FEATURES = along(REAL, "features", "outcomes")
OF_FEATURES = along(REAL, "features")  # theta, eta, targets
RULES_HELD = {
    "features": along(HELD, "features", "outcomes"),
    "log_base": along(HELD, "outcomes"),
    "targets": along(HELD, "features"),
    "features of M": along(HELD, "features of M", "outcomes"),
    "targets of M": along(HELD, "features of M"),
}


def is_list_or_number(value: Any) -> bool:
    return isinstance(value, bool | int | float | list | tuple)


def _is_double(value: Any) -> bool:
    return type(value) is np.ndarray and value.dtype == np.float64


def hold(family: Any, **values: Any) -> None:
    """Set attributes of a frozen dataclass while it is being made."""
    for name, value in values.items():
        object.__setattr__(family, name, value)


def held_by(family: Any, arguments: Mapping[str, tuple[Rule, Any]]) -> dict[str, tuple[Rule, Any]]:
    """Return what the family holds for the gate: as lists, if it was made of lists only.

    Lists adopt the library, dtype and device of the arrays that they meet.
    """
    held = {name: getattr(family, name) for name in RULES_HELD if hasattr(family, name)}
    given = [value for _, value in arguments.values()]
    if family._is_weak and not all(_is_double(x) or is_list_or_number(x) for x in given):
        held = {name: x.tolist() for name, x in held.items()}
    if family._names:
        held = {name: Named(x, family._names) for name, x in held.items()}
    return {name: (RULES_HELD[name], x) for name, x in held.items()}


def gated(family: Any, **arguments: tuple[Rule, Any]) -> tuple[Any, ...]:
    """Return the namespace, what the family holds and the arguments, of one library and dtype."""
    held = held_by(family, arguments)
    xp, F, base_or_targets, *given = gate(family.check, **held, **arguments)
    _, name_held = held
    batches = {"features": F.shape[:-2], name_held: base_or_targets.shape[:-1]}
    for (name, (rule, _)), x in zip(arguments.items(), given, strict=True):
        if rule is OF_FEATURES:
            check_last_axis(name, x, F.shape[-2], "feature")
        elif rule is PROBABILITIES:
            check_last_axis(name, x, F.shape[-1], "outcome")
        else:
            continue
        batches[name] = x.shape[:-1]
    check_batches(**batches)
    return xp, F, base_or_targets, *given


def require_family(name: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind):
        noun = "an" if kind.__name__.startswith("E") else "a"
        raise TypeError(f"{name} must be {noun} {kind.__name__}: got {type(value).__name__}.")


def check_features(F: Array) -> None:
    rule = "have shape (..., m, c), one row of c outcome values for each of m features"
    if len(F.shape) < 2:
        advice = "Write features[None, :] for a single feature." if F.shape else ""
        raise bad_value("features", rule, f"got shape {tuple(F.shape)}", advice)
    if 0 in F.shape[-2:]:
        raise bad_value("features", rule, f"got shape {tuple(F.shape)}, which is empty")


def check_last_axis(name: str, x: Array, size: int, noun: str) -> None:
    if len(x.shape) == 0 or x.shape[-1] != size:
        raise bad_value(
            name,
            f"have one entry for each {noun} in the last axis",
            f"there are {size}, and its shape is {tuple(x.shape)}",
        )


def check_batches(**batches: tuple[int, ...]) -> None:
    try:
        np.broadcast_shapes(*batches.values())
    except ValueError:
        listed = ", ".join(f"{name} {tuple(batch)}" for name, batch in batches.items())
        raise ValueError(f"The leading axes must broadcast: they are {listed}.") from None


def checked_tolerance(tol: float | None, like: Array, xp: Namespace) -> float:
    if tol is None:
        return math.sqrt(float(xp.finfo(like.dtype).eps))
    tol = _array.finite_number("tol", tol)
    if tol < 0.0:
        raise bad_value("tol", "not be negative", f"got {tol}")
    return tol
