"""What explains a change of predictions: new inputs, new weights, and what is left."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from infogeo._array import bad_value
from infogeo._docs import finish
from infogeo.plot._style import BLUE, VERMILLION, as_numpy, open_axes

if TYPE_CHECKING:
    from infogeo.pullback import ExplainedChange

__all__ = ["explained_change"]

_COLOURS = {"inputs": BLUE, "weights": VERMILLION, "remainder": "0.75"}


def explained_change(
    found: "ExplainedChange", *, num_groups: int = 5, ax: Axes | None = None
) -> Axes:
    """Show what inputs and weights explain of a change, from small changes to large ones.

    Parameters
    ----------
    found : ExplainedChange
        What `WeightMetric.explained_change` returns.
    num_groups : int
        The samples are put into so many groups, by how far their predictions have moved.
    ax : matplotlib.axes.Axes or None

    Returns
    -------
    matplotlib.axes.Axes
        One bar to each group, in percent of its mean squared distance; parts below 0 undo a part of
        the others. The root mean square of the distances stands below it, in radians.

    Raises
    ------
    TypeError, ValueError
        Results of another kind; fewer than one group; no prediction that has moved.

    Examples
    --------
    >>> import torch
    >>> from infogeo import plot
    >>> from infogeo.pullback import WeightMetric
    >>> model, x = torch.nn.Linear(3, 2), torch.randn(20, 3)
    >>> found = WeightMetric(model, x).explained_change(x + 0.1, torch.nn.Linear(3, 2))
    >>> ax = plot.explained_change(found)
    >>> ax.get_ylabel()
    '% of the squared distance'
    """
    if not all(hasattr(found, name) for name in ("squared_distance", "by_inputs", "by_weights")):
        raise TypeError(
            f"found must be what WeightMetric.explained_change returns: got {type(found).__name__}."
        )
    if num_groups < 1:
        raise bad_value("num_groups", "be at least 1", f"got {num_groups}")
    squares = as_numpy("found.squared_distance", found.squared_distance).astype(float)
    if not squares.max() > 0.0:
        raise bad_value("found", "hold a change of predictions", "none has moved")
    parts = {
        "inputs": as_numpy("found.by_inputs", found.by_inputs).astype(float),
        "weights": as_numpy("found.by_weights", found.by_weights).astype(float),
        "remainder": as_numpy("found.remainder", found.remainder).astype(float),
    }
    if ax is None:
        _, ax = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
    order = np.argsort(squares, kind="stable")
    groups = [g for g in np.array_split(order, num_groups) if g.size and squares[g].sum() > 0.0]
    sums = {
        name: [100.0 * x[g].sum() / squares[g].sum() for g in groups] for name, x in parts.items()
    }
    ups, downs = np.zeros(len(groups)), np.zeros(len(groups))
    for name, heights in sums.items():
        share = 100.0 * parts[name].sum() / squares.sum()
        base = np.where(np.array(heights) >= 0.0, ups, downs)
        label = f"{name}: {share:.0f} % of all"
        ax.bar(range(len(groups)), heights, 0.75, base, color=_COLOURS[name], label=label)
        ups, downs = ups + np.maximum(heights, 0.0), downs + np.minimum(heights, 0.0)
    ax.axhline(0.0, color="black", linewidth=0.8)
    ax.set_xticks(range(len(groups)), [f"{np.sqrt(squares[g].mean()):.2g}" for g in groups])
    ax.set_xlabel("how far predictions moved (rad)")
    ax.set_ylabel("% of the squared distance")
    ax.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    open_axes(ax, grid="y")
    return ax


finish(globals())
