"""The distributions of a family: as densities, and as points of a plane with its geodesics."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.ticker import NullFormatter
from matplotlib.typing import ColorType

from infogeo import _array, _spaces
from infogeo._array import POSITIVE, Array, Rule, bad_value
from infogeo._docs import finish
from infogeo._points import fields, make
from infogeo.plot._style import BLUE, INK, open_axes, sequence

__all__ = ["densities", "geodesic_polar"]

_CORNERS = 241  # of a circle, the first of them twice
_STEPS = 41  # along a geodesic


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


def geodesic_polar(
    center: Any,
    radii: Sequence[float] | Array,
    ax: Axes | None = None,
    *,
    num_geodesics: int = 12,
    color: ColorType = BLUE,
) -> Axes:
    """Draw geodesics from a distribution, and the Fisher-Rao circles around it.

    Parameters
    ----------
    center : point of a space
        A single one, of a family with two parameters: `infogeo.normal`, and those of
        `infogeo.manifolds`, such as gamma, beta, Weibull and von Mises distributions, or negative
        multinomial ones of two probabilities.
    radii : sequence of float
        Of the circles, in units of the Fisher metric, positive. The geodesics are as long as the
        largest.
    ax : matplotlib.axes.Axes or None
        Empty axes, new ones if None, get a logarithmic scale for parameters that are positive.
    num_geodesics : int
        How many; the angles between neighbours are equal in the Fisher metric.
    color : matplotlib colour
        Of the circles.

    Returns
    -------
    matplotlib.axes.Axes
        The parameters of the family are its coordinates. What leaves the family is left out, and
        curves are cut where an angle goes on from the other end.

    Raises
    ------
    TypeError, ValueError
        Something else than a single point of two parameters; radii that are not positive.

    Notes
    -----
    These are the geodesic polar coordinates of the manifold. Curvature shows in them: where it is
    negative, circles grow faster than their radii and geodesics part.

    Examples
    --------
    >>> from infogeo import manifolds, plot
    >>> ax = plot.geodesic_polar(manifolds.Gamma(2.0, 1.0), [0.5, 1.0])
    >>> ax.figure.savefig("gamma.png")  # doctest: +SKIP
    """
    space, labels = _plane_of(center)
    _, radii = _array.gate(True, radii=(POSITIVE, radii))
    radii = np.atleast_1d(np.asarray(_array.on_host(radii), dtype=float))
    arrays = (np.asarray(_array.on_host(x), dtype=float) for x in fields(center))
    point = make(type(center), *arrays)
    if ax is None:
        _, ax = plt.subplots(figsize=(5.0, 4.2), layout="constrained")
    if not ax.has_data():
        for (label, rule), axis, put in zip(labels, (ax.xaxis, ax.yaxis), "xy", strict=True):
            if rule.is_plausible is POSITIVE.is_plausible:
                ax.set(**{f"{put}scale": "log"})
                axis.set_minor_formatter(NullFormatter())
            axis.set_label_text(label.replace("_", " "))
    open_axes(ax)
    turn = np.linspace(0.0, 2.0 * math.pi, num_geodesics, endpoint=False)
    rays = _reached(space, point, np.linspace(0.0, radii.max(), _STEPS)[:, None], turn)
    ax.plot(*rays, color=INK, linewidth=0.8, label="_geodesics")
    circle = np.linspace(0.0, 2.0 * math.pi, _CORNERS)[:, None]
    ax.plot(*_reached(space, point, radii, circle), color=color, label="_circles")
    ax.plot(*_coordinates(point), "o", color="0.1", markersize=4)
    return ax


def _plane_of(center: Any) -> tuple[Any, list[tuple[str, Rule]]]:
    """Return the space of a single point of two parameters, and their names and rules."""
    space = _spaces.of_point(center)
    if space is None or not hasattr(type(center), "rules"):
        raise TypeError(f"center must be a point of a family: got {type(center).__name__}.")
    labels = []
    for field in _fields(center):
        numbers = [""]
        if center.event_axes[field]:
            numbers = [f" {i + 1}" for i in range(int(getattr(center, field).shape[-1]))]
        labels += [(f"{field}{number}", center.rules[field]) for number in numbers]
    is_plane = len(labels) == 2 and space.dimension(center) == 2
    if center.shape or not is_plane:
        raise bad_value("center", "be a single point of two parameters", f"got {center!r}")
    return space, labels


def _fields(point: Any) -> list[str]:
    """Return the fields that are coordinates."""
    return [field for field in point.rules if field not in point.constants]


def _coordinates(point: Any) -> list[np.ndarray]:
    """Return the two parameters of points, of two fields or along the last axis of one."""
    arrays = [np.asarray(getattr(point, field), dtype=float) for field in _fields(point)]
    return arrays if len(arrays) == 2 else [arrays[0][..., 0], arrays[0][..., 1]]


def _velocity(space: Any, x: Any, y: Any) -> Any:
    """Return the tangent vector of velocities of the two parameters."""
    is_one_field = len(space.TANGENTS.rules) == 1
    return space.TANGENTS(*([np.stack([x, y], axis=-1)] if is_one_field else [x, y]))


def _reached(space: Any, point: Any, radius: np.ndarray, angle: np.ndarray) -> list[np.ndarray]:
    """Return the parameters at radii and angles, NaN outside the family."""
    radius, angle = np.broadcast_arrays(radius, angle)
    units = [_velocity(space, *x) for x in np.eye(2)]
    g = [[float(space.inner_product(point, u, v)) for u in units] for v in units]
    # The columns of the inverse of L' are orthonormal in the metric L L'.
    frame = np.linalg.inv(np.linalg.cholesky(np.array(g)).T)
    across, along = radius * np.cos(angle), radius * np.sin(angle)
    parts = [row[0] * across + row[1] * along for row in frame]
    with np.errstate(all="ignore"):
        found = space.exp_map(point, _velocity(space, *parts), check=False)
    curves = _coordinates(found)
    is_cut = np.zeros(radius.shape, dtype=bool)
    for x in curves:
        # No step is half as wide as the figure, but that of an angle from one end to the other.
        is_cut[1:] |= np.abs(np.diff(x, axis=0)) > 0.5 * (np.nanmax(x) - np.nanmin(x))
    return [np.where(is_cut, np.nan, x) for x in curves]


finish(globals())
