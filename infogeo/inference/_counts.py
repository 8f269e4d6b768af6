"""Counts of outcomes as arguments: what they have to be, and two samples brought together."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from infogeo import _names
from infogeo._array import PROBABILITIES, Rule, bad_value, gate, on_host

_MOST = 1e14  # observations: beyond, the rounding of an affinity is as large as what they tell
_WAY_OUT = (
    "infogeo.interop.frames.matched_counts returns the counts of both by the names of their "
    "classes, with 0 for what one of them lacks"
)

_OF_MISSING = (
    "Fill in 0 if the outcome was looked for and not seen. Else leave it out of both samples."
)


def _explain_counts(advice: str) -> Callable[[str, np.ndarray, float], None]:
    """Return what raises the error for an argument that holds no counts, with this advice."""

    @np.errstate(over="ignore")
    def explain(name: str, x: np.ndarray, coarseness: float) -> None:
        wrong = ~(np.isfinite(x) & (x >= 0.0) & (x == np.round(x)))
        if wrong.any():
            entry = float(x[wrong][0])
            is_share = entry > 0.0 and math.isfinite(entry)
            of_shares = advice.format(size=name.replace("counts", "size")) if is_share else ""
            raise bad_value(
                name,
                "hold counts: whole numbers that are not negative",
                f"it has the entry {entry!r}",
                _OF_MISSING if math.isnan(entry) else of_shares,
                where=wrong.any(-1),
            )
        total = _totals(x)[..., 0]
        if (total == 0.0).any():
            raise bad_value(name, "count something", "all counts are 0", where=total == 0.0)
        if (total > _MOST).any():
            raise bad_value(
                name,
                "count at most 1e14 observations",
                f"it counts {total.max():.6g}",
                "What chance leaves open is near the rounding there: the distance of the shares, "
                "infogeo.fisher_rao_distance, is as good.",
                where=total > _MOST,
            )

    return explain


@np.errstate(over="ignore")
def _are_counts(x: Any, coarseness: float) -> bool:
    total = x.sum(-1)[..., None]
    return bool(((x >= 0.0) & (x == x.round()) & (total > 0.0) & (total < _MOST)).all())


_SIZED = Rule(
    "outcomes",
    _are_counts,
    _explain_counts("Shares or weighted counts need their sample size: {size}=."),
)
COUNTS = Rule(
    "outcomes",
    _are_counts,
    _explain_counts("There is no exact test for weights: see infogeo.inference.interval."),
)


def gate_counts(**arguments: tuple[Rule, Any]) -> list[np.ndarray]:
    """Return what `infogeo._array.gate` makes of arguments, as numpy arrays of float64.

    Dicts, and series or frames that know different classes, are refused with the way out.
    """
    for name, (_, value) in arguments.items():
        parts = value if isinstance(value, list | tuple) else [value]
        mapping = next((part for part in parts if isinstance(part, Mapping)), None)
        if mapping is not None:
            raise TypeError(
                f"{name} must be an array, a list of numbers, a series or a frame: got a "
                f"{type(mapping).__name__}. {_WAY_OUT}."
            )
    counts = {name: value for name, (rule, value) in arguments.items() if rule is not PROBABILITIES}
    if len(counts) == 2:
        _require_the_same_classes(counts)
    _, *given = gate(True, **arguments)
    return [np.asarray(on_host(x), dtype=np.float64) for x in given]


def _require_the_same_classes(counts: dict[str, Any]) -> None:
    """Refuse two samples whose names of outcomes are not the same."""
    labels = [_names.labels_of(value) for value in counts.values()]
    if any(axes is None or axes[-1] is None for axes in labels):
        return
    ours, theirs = ([*axes[-1]] for axes in labels if axes is not None)
    known = set(ours) & set(theirs)
    only = [label for label in [*ours, *theirs] if label not in known]
    if only:
        first, second = counts
        raise ValueError(
            f"{first} and {second} must have the same names of outcomes: only one of them has "
            f"{_names.listed(only)}. {_WAY_OUT}."
        )


def two_samples(
    counts_a: Any, counts_b: Any, size_a: float | None, size_b: float | None
) -> list[np.ndarray]:
    """Return both counts, as float64 arrays of one shape, and their sums along the last axis.

    A distribution that is known stands as it is, with the size inf.
    """
    sizes = [_size("size_a", size_a), _size("size_b", size_b)]
    if sizes == [math.inf, math.inf]:
        raise bad_value(
            "size_a and size_b",
            "leave a distribution to estimate",
            "both are inf",
            "Use infogeo.fisher_rao_distance for distributions that are known.",
        )
    rules = [_SIZED if size is None else PROBABILITIES for size in sizes]
    # Weak scalars aside, counts are of whole-number dtypes, in which no two libraries differ.
    given = gate_counts(counts_a=(rules[0], counts_a), counts_b=(rules[1], counts_b))
    arrays = np.broadcast_arrays(*given)
    found = []
    for array, size in zip(arrays, sizes, strict=True):
        total = _totals(array)
        share = array / total
        n = total if size is None else np.full_like(total, size)
        found += [share if size == math.inf else array if size is None else _counted(share, n), n]
    return found


def _totals(x: np.ndarray) -> np.ndarray:
    """Return the sums along the last axis, kept, which are the same for each order."""
    return np.sort(x, axis=-1).sum(-1, keepdims=True)


def _counted(share: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return how many observations shares are: whole numbers where only rounding hides them."""
    count = share * size
    whole = np.round(count)
    return np.where(abs(count - whole) <= 1e-6 * whole, whole, count)


def _size(name: str, size: float | None) -> float | None:
    if size is None:
        return None
    is_number = isinstance(size, int | float | np.number) and not isinstance(size, bool)
    if not is_number or not (1.0 <= size <= _MOST or size == math.inf):
        raise bad_value(
            name,
            "be a number of observations, from 1 to 1e14, or inf for a distribution that is known",
            f"got {size!r}",
        )
    return float(size)
