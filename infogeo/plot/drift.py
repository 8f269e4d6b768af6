"""How far predictions moved: the distribution of distances, and class by class."""

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from infogeo._array import Array, bad_value
from infogeo._docs import finish
from infogeo._names import matched_rows
from infogeo.plot._style import BLUE, VERMILLION, as_numpy, open_axes, shortened

__all__ = ["distances", "distances_by_class"]

_MOST_CLASSES = 40
_NAME_LENGTH = 24
_FEW = 50  # distances; their shares are one or two decades, and powers of 10 say little


def distances(
    d: Array, *, quantiles: Sequence[float] = (0.5, 0.9, 0.99), ax: Axes | None = None
) -> Axes:
    """Show the share of distances that is larger than each distance.

    Parameters
    ----------
    d : array, shape (n,)
        Distances, at least one.
    quantiles : tuple of float
        Which quantiles to mark, in (0, 1). One above all but the largest of the distances lies
        below the axes and is not seen.
    ax : matplotlib.axes.Axes or None

    Returns
    -------
    matplotlib.axes.Axes
        The distance to the right, in radians; the share upwards, on a logarithmic scale.

    Raises
    ------
    ValueError
        Values that are not finite; no distances; anything but a single row of them.

    Examples
    --------
    >>> from infogeo import plot
    >>> ax = plot.distances([0.1, 0.2, 0.4])
    >>> ax.get_ylabel()
    'share of rows further apart'
    """
    d = np.sort(_distances(d))
    if ax is None:
        _, ax = plt.subplots(figsize=(5.0, 4.0), layout="constrained")
    # The k-th smallest of n is exceeded by n - k; the largest, by none, ends the curve.
    share = np.arange(d.size - 1, -1, -1) / d.size
    ax.step(np.r_[0.0, d], np.r_[1.0, share], where="post", color=BLUE, linewidth=1.6)
    ax.set_yscale("log")
    ax.set_ylim(min(0.6 / d.size, 0.4), 1.25)
    if d.size <= _FEW:
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(0.0, 1.05 * float(d[-1]) or 1.0)
    for q in quantiles:
        at = float(np.quantile(d, q))
        ax.plot([at], [1.0 - q], "o", color=VERMILLION, markersize=5)
        is_left = at < 0.55 * ax.get_xlim()[1]  # else there is no room to the right
        ax.annotate(
            f"{q:.4g} quantile: {at:.3g}",
            (at, 1.0 - q),
            xytext=(7, 4) if is_left else (-7, -4),
            ha="left" if is_left else "right",
            va="bottom" if is_left else "top",
            textcoords="offset points",
            fontsize=9,
        )
    ax.set_xlabel("Fisher-Rao distance (rad)")
    ax.set_ylabel("share of rows further apart")
    open_axes(ax)
    return ax


def distances_by_class(d: Array, classes: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Show the distances class by class: the middle half, the median and the largest.

    Parameters
    ----------
    d : array, shape (n,)
        Distances, at least one.
    classes : list of str, of length n
        The class of each. Of more than 40 those with the largest medians are shown, and the
        figure says so. Long names lose their middle.
    ax : matplotlib.axes.Axes or None

    Returns
    -------
    matplotlib.axes.Axes
        One line to each class, the distance upwards, in radians.

    Raises
    ------
    ValueError
        Values that are not finite; no distances; a list of another length.

    Examples
    --------
    >>> from infogeo import plot
    >>> ax = plot.distances_by_class([0.1, 0.2, 0.4], ["cat", "dog", "cat"])
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['cat', 'dog']
    """
    given = np.asarray(matched_rows("d", d, "classes", classes), dtype=str)
    d = _distances(d)
    if given.shape != d.shape:
        raise bad_value(
            "classes", "name the class of each distance", f"got {given.size} for {d.size}"
        )
    if ax is None:
        _, ax = plt.subplots(figsize=(6.0, 4.0), layout="constrained")
    names = _shown(d, given)
    for place, name in enumerate(names):
        low, middle, high = np.quantile(d[given == name], [0.25, 0.5, 0.75])
        ax.plot([place, place], [low, high], color=BLUE, linewidth=7, solid_capstyle="butt")
        ax.plot([place], [middle], "_", color="white", markersize=8, markeredgewidth=2)
        ax.plot(
            [place], [d[given == name].max()], "o", color=VERMILLION, markersize=4, clip_on=False
        )
    ax.plot([], [], color=BLUE, linewidth=7, label="middle half, median in white")
    ax.plot([], [], "o", color=VERMILLION, markersize=4, label="largest")
    num_classes = len(set(given.tolist()))
    ax.legend(
        title=f"{len(names)} of {num_classes} classes" if len(names) < num_classes else None,
        fontsize=9,
        title_fontsize=9,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=2,
        frameon=False,
    )
    shown = [shortened(name, _NAME_LENGTH) for name in names]
    long = max(map(len, shown)) * len(shown) > 60
    ax.set_xticks(
        range(len(shown)),
        shown,
        parse_math=False,
        rotation=60 if long else 0,
        ha="right" if long else "center",
    )
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_ylim(bottom=0.0)
    ax.set_ylabel("Fisher-Rao distance (rad)")
    open_axes(ax, grid="y")
    return ax


def _shown(d: np.ndarray, classes: np.ndarray) -> list[str]:
    """Return the names to show: numbers in their order, other names as they are spelt."""
    names = sorted(set(classes.tolist()))
    if all(name.isdigit() for name in names):
        names.sort(key=int)
    if len(names) <= _MOST_CLASSES:
        return names
    medians = {name: np.median(d[classes == name]) for name in names}
    return sorted(names, key=lambda name: medians[name], reverse=True)[:_MOST_CLASSES]


def _distances(d: Array) -> np.ndarray:
    d = as_numpy("d", d).astype(float)
    if d.ndim != 1 or d.size == 0:
        raise bad_value("d", "be one row of distances", f"its shape is {d.shape}")
    return d


finish(globals())
