"""Estimated distances with what samples leave open: side by side, and window after window."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from infogeo._array import bad_value
from infogeo._docs import finish
from infogeo.plot._style import BLUE, INK, VERMILLION, open_axes, shortened

__all__ = ["drift_over_time", "intervals"]

_NAME_LENGTH = 32
_MOST_NAMES = 8  # of times that stand below an axis
# What an interval says of a tolerance: its colour, and its words.
_VERDICTS = (
    (BLUE, "below the tolerance"),
    (VERMILLION, "above the tolerance"),
    (INK, "not enough data"),
)


def intervals(
    found: Any,
    *,
    names: Sequence[str] | None = None,
    tolerance: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show intervals for distances side by side, with their estimates.

    Parameters
    ----------
    found : infogeo.inference.Interval
        Of one pair of samples, or of a batch with one axis.
    names : list of str, optional
        What each is of. Long names lose their middle.
    tolerance : float or None
    ax : matplotlib.axes.Axes or None

    Returns
    -------
    matplotlib.axes.Axes
        The distance to the right, in radians; a line for each interval, the first at the top. A
        dot is the estimate, a cross the plug-in distance, which is too large.

    Raises
    ------
    TypeError
        Something that is no interval.
    ValueError
        A batch with several axes, names of another number, a tolerance that is no distance.

    Examples
    --------
    >>> from infogeo import plot
    >>> from infogeo.inference import interval
    >>> found = interval([[53, 28, 12, 7], [46, 26, 17, 11]], [530, 280, 120, 70])
    >>> ax = plot.intervals(found, names=["January", "February"], tolerance=0.2)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['January', 'February']
    """
    estimate, lower, upper, distance = _batch(found)
    tolerance = _tolerance(tolerance)
    size = len(estimate)
    shown = [str(i) for i in range(size)] if names is None else [str(name) for name in names]
    if len(shown) != size:
        raise bad_value("names", "have one for each interval", f"got {len(shown)} for {size}")
    if ax is None:
        _, ax = plt.subplots(figsize=(6.0, 1.4 + 0.32 * size), layout="constrained")
    places = np.arange(size)
    for color, word, members in _by_verdict(lower, upper, tolerance):
        ax.hlines(places[members], lower[members], upper[members], color=color, linewidth=2.5)
        ax.plot(estimate[members], places[members], "o", color=color, markersize=6, label=word)
    ax.plot(distance, places, "x", color="0.6", markersize=5, label="plug-in distance", zorder=1)
    _draw_tolerance(ax.axvline, tolerance)
    ax.set_yticks(places, [shortened(name, _NAME_LENGTH) for name in shown], parse_math=False)
    ax.set_ylim(size - 0.4, -0.6)
    ax.set_xlim(0.0, _end(upper, distance, tolerance))
    ax.set_xlabel("Fisher-Rao distance (rad)")
    _legend(ax, ncols=2)
    open_axes(ax, grid="x")
    return ax


def drift_over_time(
    found: Any,
    *,
    times: Any = None,
    tolerance: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show how far the windows of a stream are from a reference, with a band of what is open.

    Parameters
    ----------
    found : infogeo.inference.Interval
        Of a batch with one axis: one interval for each window, in the order of time.
    times : array, shape (n,), optional
        When each window was: numbers, dates or names, which may repeat; of many names some are
        shown. None counts them.
    tolerance : float or None
    ax : matplotlib.axes.Axes or None

    Returns
    -------
    matplotlib.axes.Axes
        The time to the right, the distance upwards, in radians. The band joins the intervals, and
        each window has its own level: of 20 windows without drift one leaves it at .95.

    Raises
    ------
    TypeError
        Something that is no interval.
    ValueError
        A batch with several axes, times of another number, a tolerance that is no distance.

    Examples
    --------
    >>> from infogeo import plot
    >>> from infogeo.inference import interval
    >>> windows = [[52, 31, 17], [47, 36, 17], [35, 40, 25], [21, 44, 35]]
    >>> ax = plot.drift_over_time(interval(windows, [500, 330, 170]), tolerance=0.3)
    >>> ax.get_ylabel()
    'Fisher-Rao distance (rad)'
    """
    estimate, lower, upper, _ = _batch(found)
    tolerance = _tolerance(tolerance)
    x = np.arange(len(estimate)) if times is None else np.asarray(times)
    if x.shape != estimate.shape:
        seen = f"got shape {x.shape} for {len(estimate)}"
        raise bad_value("times", "have one for each interval", seen)
    if ax is None:
        _, ax = plt.subplots(figsize=(7.0, 3.6), layout="constrained")
    if all(isinstance(time, str) for time in x.tolist()):
        names, x = [str(time) for time in x], np.arange(len(x))
        step = -(-len(names) // _MOST_NAMES)
        shown = [shortened(name, _NAME_LENGTH // 2) for name in names[::step]]
        ax.set_xticks(x[::step], shown, parse_math=False)
    label = f"interval at the level {found.level:.15g}"
    ax.fill_between(x, lower, upper, color=BLUE, alpha=0.18, linewidth=0.0, label=label)
    ax.plot(x, estimate, color=BLUE, linewidth=1.2, alpha=0.6)
    for color, word, members in _by_verdict(lower, upper, tolerance):
        ax.plot(x[members], estimate[members], "o", color=color, markersize=4.5, label=word)
    _draw_tolerance(ax.axhline, tolerance)
    ax.set_ylim(0.0, _end(upper, estimate, tolerance))
    ax.set_ylabel("Fisher-Rao distance (rad)")
    _legend(ax, ncols=3)
    open_axes(ax, grid="y")
    return ax


def _batch(found: Any) -> list[np.ndarray]:
    """Return the estimates, both ends and the plug-in distances of intervals."""
    keys = ("estimate", "lower", "upper", "distance")
    if not all(hasattr(found, key) for key in (*keys, "level")):
        raise TypeError(
            f"found must be an interval: got {type(found).__name__}. "
            "infogeo.inference.interval(counts_a, counts_b) returns one."
        )
    parts = [np.atleast_1d(np.asarray(getattr(found, key), dtype=float)) for key in keys]
    if parts[0].ndim != 1 or not parts[0].size:
        rule = "be intervals along one axis, at least one"
        raise bad_value("found", rule, f"its shape is {parts[0].shape}", "Draw one row at a time.")
    return parts


def _tolerance(tolerance: float | None) -> float | None:
    if tolerance is None:
        return None
    if not 0.0 <= tolerance <= np.pi:
        raise bad_value("tolerance", "be a distance, from 0 to pi", f"got {tolerance!r}")
    return float(tolerance)


def _by_verdict(
    lower: np.ndarray, upper: np.ndarray, tolerance: float | None
) -> list[tuple[str, str, np.ndarray]]:
    """Return a colour, words and the members of each verdict that occurs."""
    if tolerance is None:
        return [(BLUE, "estimate", np.full(lower.shape, True))]
    is_below, is_above = upper <= tolerance, lower > tolerance
    members = (is_below, is_above, ~(is_below | is_above))
    return [
        (color, word, which)
        for (color, word), which in zip(_VERDICTS, members, strict=True)
        if which.any()
    ]


def _draw_tolerance(draw: Any, tolerance: float | None) -> None:
    if tolerance is not None:
        draw(tolerance, color="black", linewidth=1.0, linestyle="--", label="tolerance")


def _end(upper: np.ndarray, other: np.ndarray, tolerance: float | None) -> float:
    """Return where an axis of distances ends: beyond all that is shown."""
    return 1.06 * max(float(upper.max()), float(other.max()), tolerance or 0.0, 1e-3)


def _legend(ax: Axes, *, ncols: int) -> None:
    ax.legend(fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=ncols, frameon=False)


finish(
    globals(),
    {
        "tolerance : float or None": "The distance that does not matter, in radians. Intervals "
        "are coloured by what\nthey say of it: below, above, not enough data.",
    },
)
