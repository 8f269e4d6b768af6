"""The distributions of a family, drawn as what they are: densities or probabilities."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.typing import ColorType

from infogeo import _array, _spaces
from infogeo._array import bad_value
from infogeo._docs import finish
from infogeo._points import fields, make
from infogeo.plot._style import open_axes, sequence

__all__ = ["densities"]


def densities(
    points: Any,
    ax: Axes | None = None,
    *,
    color: ColorType | None = None,
    cmap: str | Colormap = "viridis",
) -> Axes:
    """Draw the densities of distributions, in a sequence of colours.

    Parameters
    ----------
    points : point of a space
        One, or a batch of shape (n,) that is drawn in its order: a geodesic, for instance. Of a
        space that knows its densities: `infogeo.normal`, the families of `infogeo.manifolds`.
    ax : matplotlib.axes.Axes or None
    color : matplotlib colour or None
        One colour for all; None takes colours from the map, dark for the first.
    cmap : str or matplotlib.colors.Colormap
        Where the colours come from. Its lightest fifth is left out.

    Returns
    -------
    matplotlib.axes.Axes
        Densities as lines; probabilities of counts as dots that thin lines join.

    Raises
    ------
    TypeError
        Something else than points of a space that knows its densities.
    ValueError
        A batch with more than one axis.

    Examples
    --------
    >>> from infogeo import manifolds, plot
    >>> a, b = manifolds.Poisson(2.0), manifolds.Poisson(20.0)
    >>> path = manifolds.fisher_rao_geodesic(a, b, np.linspace(0.0, 1.0, 5))
    >>> ax = plot.densities(path)
    >>> ax.figure.savefig("poisson.png")  # doctest: +SKIP
    """
    space = _spaces.of_point(points)
    if not all(hasattr(space, verb) for verb in ("log_density", "window")):
        raise TypeError(
            "points must be of a space that knows its densities (log_density and window): got "
            f"{type(points).__name__}."
        )
    if len(points.shape) > 1:
        raise bad_value("points", "have at most one batch axis", f"got {points!r}")
    arrays = (np.asarray(_array.on_host(x), dtype=float) for x in fields(points))
    shown = make(type(points), *(np.atleast_1d(x) for x in arrays))
    if ax is None:
        _, ax = plt.subplots(figsize=(5.6, 3.6), layout="constrained")
    open_axes(ax)
    x = space.window(shown)
    is_discrete = x.dtype.kind == "i"
    style: dict[str, Any] = (
        {"marker": "o", "markersize": 3.5, "linewidth": 0.6} if is_discrete else {}
    )
    colors = [color] * len(shown) if color is not None else sequence(cmap, len(shown))
    for point, shade in zip(shown, colors, strict=True):
        ax.plot(x, np.exp(space.log_density(point, x)), color=shade, **style)
    ax.set_xlabel("count" if is_discrete else "value")
    ax.set_ylabel("probability" if is_discrete else "density")
    ax.set_ylim(bottom=0.0)
    return ax


finish(globals())
