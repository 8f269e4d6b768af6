"""Ternary diagrams: distributions over three outcomes as points of a triangle."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from infogeo._array import PROBABILITIES, Array, bad_value, gate
from infogeo._docs import finish
from infogeo.plot._style import INK, as_text

__all__ = ["simplex", "to_ternary"]

_HEIGHT = math.sqrt(3.0) / 2.0
_GRID = (0.2, 0.4, 0.6, 0.8)
_TICK_LENGTH = 0.018
_LABEL_WIDTH, _LABEL_LENGTH = 16, 40  # in letters: of a line, of all lines


def to_ternary(p: Array, *, check: bool = True) -> Array:
    r"""Return Cartesian coordinates of distributions over three outcomes, for `simplex`.

    .. math:: x = p_1 + p_2 / 2, \qquad y = \sqrt 3 \, p_2 / 2

    Parameters
    ----------
    p : array, shape (..., 3)
        Probabilities along the last axis.
    check : bool

    Returns
    -------
    array, shape (..., 2)
        Outcome 0 is the lower left corner (0, 0), outcome 1 the lower right one (1, 0), outcome 2
        the top. Straight lines are mixtures (m-geodesics).

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities of three outcomes.

    Examples
    --------
    >>> to_ternary([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    array([[0., 0.], [1., 0.]])
    """
    xp, p = gate(check, p=(PROBABILITIES, p))
    if p.shape[-1] != 3:
        raise bad_value(
            "p",
            "have 3 outcomes along its last axis",
            f"it has {p.shape[-1]}",
            "Sum outcomes into three groups, or select three and divide by their sum.",
        )
    total = xp.sum(p, axis=-1)
    x = (p[..., 1] + 0.5 * p[..., 2]) / total
    y = _HEIGHT * p[..., 2] / total
    return xp.stack([x, y], axis=-1)


def simplex(ax: Axes | None = None, *, labels: Sequence[str] = ("0", "1", "2")) -> Axes:
    """Make axes with an empty ternary diagram, the simplex of three outcomes.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or None
    labels : sequence of str
        Names of the three outcomes: lower left, lower right, top. Long ones take several lines,
        very long ones lose their middle.

    Returns
    -------
    matplotlib.axes.Axes
        Draw probabilities on it through `to_ternary`. The cursor reads off probabilities.

    Raises
    ------
    ValueError
        Not three labels.

    Notes
    -----
    A tick mark points along the grid line it belongs to: the outcome's probability is the same
    on all of that line.

    Examples
    --------
    >>> from infogeo import plot
    >>> ax = plot.simplex(labels=("cat", "dog", "owl"))
    >>> points = plot.to_ternary([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])
    >>> line, = ax.plot(*points.T, "o-")
    >>> ax.figure.savefig("ternary.png")  # doctest: +SKIP
    """
    labels = tuple(map(str, labels))
    if len(labels) != 3:
        raise bad_value("labels", "name the 3 outcomes", f"got {len(labels)}")
    if ax is None:
        _, ax = plt.subplots(figsize=(5.0, 4.2), layout="constrained")
    ax.set_axis_off()
    ax.set_aspect("equal")
    ax.set_xlim(-0.14, 1.14)
    ax.set_ylim(-0.11, _HEIGHT + 0.09)
    for level in _GRID:
        _draw_level(ax, level)
    _draw_border(ax, labels)
    ax.format_coord = _format_position  # type: ignore[method-assign]
    return ax


def _draw_border(ax: Axes, labels: tuple[str, ...]) -> None:
    corners = to_ternary(np.eye(3)[[0, 1, 2, 0]])
    ax.plot(*corners.T, color=INK, linewidth=1.2, zorder=1.5, label="_border")
    places = (((0, -17), "top"), ((0, -17), "top"), ((0, 8), "bottom"))
    for label, corner, (offset, vertical) in zip(labels, corners, places, strict=False):
        ax.annotate(
            **as_text(label, width=_LABEL_WIDTH, most=_LABEL_LENGTH),
            xy=corner,
            xytext=offset,
            textcoords="offset points",
            ha="center",
            va=vertical,
            fontsize=12,
        )


def _draw_level(ax: Axes, level: float) -> None:
    """Draw the line on which each outcome in turn has this probability, with tick and number."""
    rest = 1.0 - level
    for outcome in range(3):
        before, after = (outcome - 1) % 3, (outcome + 1) % 3
        ends = np.zeros((2, 3))
        ends[:, outcome] = level
        ends[0, before] = ends[1, after] = rest
        start, end = to_ternary(ends)
        ax.plot(
            *zip(start, end, strict=True), color="0.85", linewidth=0.8, zorder=0.5, label="_grid"
        )
        outward = (start - end) / rest  # a line's length is what the other two share
        tick = start + _TICK_LENGTH * outward
        ax.plot(*zip(start, tick, strict=True), color=INK, linewidth=0.8, zorder=1.5, label="_tick")
        x, y = start + 2.6 * _TICK_LENGTH * outward
        ax.text(
            x,
            y,
            f"{level:g}",
            color=INK,
            fontsize=9,
            ha="center",
            va="center",
        )


def _format_position(x: float, y: float) -> str:
    top = y / _HEIGHT
    right = x - 0.5 * top
    return f"p = ({1.0 - right - top:.3f}, {right:.3f}, {top:.3f})"


finish(globals())
