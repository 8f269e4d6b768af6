"""What lies on a ternary diagram: geodesics, balls, means, level sets, families."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array
from scipy import linalg

from infogeo import simplex as geometry
from infogeo._array import POSITIVE, PROBABILITIES, Array, bad_value, gate, on_host
from infogeo._docs import finish
from infogeo._names import matched, matched_rows
from infogeo.family import ExponentialFamily, MixtureFamily, e_projection
from infogeo.mean import frechet_mean
from infogeo.plot._style import BLUE, GEODESICS, GREEN, INK, VERMILLION
from infogeo.plot.simplex import simplex, to_ternary

__all__ = ["balls", "family", "geodesics", "level_sets", "means"]

_FUNCTIONS = {
    "Fisher-Rao": geometry.fisher_rao_geodesic,
    "e": geometry.e_geodesic,
    "m": geometry.m_geodesic,
}
_MARKS = {  # largest first, so that all are seen where they agree
    "m mean": ("^", 13.0, GREEN),
    "e mean": ("s", 9.0, VERMILLION),
    "Frechet mean": ("o", 6.0, BLUE),
}
_NUM_POINTS = 201
_NUM_CORNERS = 361  # of a circle
_GRID = 241  # points to a side of the triangle that level sets are drawn from
_LARGEST_EXPONENT = 60.0  # e^-60 is nothing to be seen


def geodesics(p: Array, q: Array, *, ax: Axes | None = None) -> Axes:
    """Draw the three geodesics between two distributions over three outcomes.

    Parameters
    ----------
    p, q : array, shape (3,)
        Probabilities. Where one of them is 0 there is no e-geodesic, and none is drawn.
    ax : matplotlib.axes.Axes or None

    Returns
    -------
    matplotlib.axes.Axes
        The curves are labelled for a legend.

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities of three outcomes.

    Examples
    --------
    >>> from infogeo import plot
    >>> ax = plot.geodesics([0.8, 0.1, 0.1], [0.1, 0.2, 0.7])
    >>> legend = ax.legend()
    """
    (p, q), _ = matched(["p", "q"], [("outcomes",)] * 2, [p, q])
    ends = np.stack([_point("p", p), _point("q", q)])
    ax = simplex() if ax is None else ax
    t = np.linspace(0.0, 1.0, _NUM_POINTS)
    for name, (colour, line) in GEODESICS.items():
        if name == "e" and (ends == 0.0).any():
            continue
        points = to_ternary(_FUNCTIONS[name](ends[0], ends[1], t))
        ax.plot(*points.T, line, color=colour, linewidth=1.8, label=f"{name} geodesic")
    ax.plot(*to_ternary(ends).T, "o", color="0.1", markersize=5, label="_ends")
    return ax


def level_sets(
    function: Callable[[np.ndarray], Array],
    levels: Sequence[float],
    *,
    ax: Axes | None = None,
    colors: Any = INK,
) -> Axes:
    """Draw where a function of distributions over three outcomes has given values.

    Parameters
    ----------
    function : callable
        Maps probabilities of shape (n, 3) to shape (n,), such as
        ``lambda p: simplex.kl_divergence(p, q)``.
    levels : sequence of float
        The values, ascending.
    ax : matplotlib.axes.Axes or None
    colors : color or sequence of colors
        As matplotlib's ``tricontour`` takes them.

    Returns
    -------
    matplotlib.axes.Axes
        With lines through the inside of the triangle.

    Raises
    ------
    ValueError
        A function that does not return one finite number for each distribution.

    Examples
    --------
    >>> from infogeo import plot, simplex
    >>> q = np.array([0.2, 0.3, 0.5])
    >>> ax = plot.level_sets(lambda p: simplex.kl_divergence(p, q), [0.05, 0.2])
    """
    ax = simplex() if ax is None else ax
    i, j = np.triu_indices(_GRID)
    p = np.stack([i, j - i, _GRID - 1.0 - j], axis=-1) + 1.0 / 3.0  # no point lies on a face
    p /= p.sum(axis=-1, keepdims=True)
    values = np.asarray(on_host(function(p)))
    if values.shape != (len(p),):
        raise bad_value(
            "function",
            "return one number for each distribution",
            f"for shape {p.shape} it returned shape {values.shape}",
        )
    if not np.isfinite(values).all():
        raise bad_value(
            "function",
            "return finite numbers inside the triangle",
            f"{np.count_nonzero(~np.isfinite(values))} of {len(p)} are not finite",
            "A divergence from a distribution on a face is infinite: move it off the face.",
        )
    x, y = to_ternary(p).T
    ax.tricontour(x, y, values, levels=levels, colors=colors, linewidths=1.3, linestyles="solid")
    return ax


def balls(
    center: Array, radii: Sequence[float] | Array, *, ax: Axes | None = None, colors: Any = INK
) -> Axes:
    """Draw Fisher-Rao circles around a distribution over three outcomes.

    Parameters
    ----------
    center : array, shape (3,)
        Probabilities.
    radii : sequence of float
        In radians of the sphere of radius 2, positive.
    ax : matplotlib.axes.Axes or None
    colors : color or sequence of colors
        One for all, or one for each radius in turn.

    Returns
    -------
    matplotlib.axes.Axes
        With the circles, as far as they lie in the triangle, and their centre.

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities of three outcomes; radii that are not positive.

    Examples
    --------
    >>> from infogeo import plot
    >>> ax = plot.balls([0.2, 0.3, 0.5], [0.25, 0.5, 0.75])
    """
    center = _point("center", center)
    _, radii = gate(True, radii=(POSITIVE, radii))
    radii = np.atleast_1d(np.asarray(on_host(radii), dtype=float))
    ax = simplex() if ax is None else ax
    for radius, color in zip(radii, itertools.cycle(to_rgba_array(colors)), strict=False):
        points = to_ternary(_circle(center, radius), check=False)
        ax.plot(*points.T, color=color, linewidth=1.3, label="_circle")
    ax.plot(*to_ternary(center), "o", color="0.1", markersize=4, label="_center")
    return ax


def _circle(center: np.ndarray, radius: float) -> np.ndarray:
    """Return a circle, with NaN where it is outside the triangle; its ends lie on the edges."""
    root = np.sqrt(center)
    _, _, directions = np.linalg.svd(root[None])
    along, (a, b) = math.cos(0.5 * radius) * root, math.sin(0.5 * radius) * directions[1:]
    size = np.hypot(a, b)
    is_met = (size > 0.0) & (np.abs(along) <= size)  # the circle meets this edge's great circle
    half = np.arccos(-along[is_met] / size[is_met])
    middle = np.arctan2(b, a)[is_met]
    ends = np.concatenate([middle - half, middle + half]) % (2.0 * math.pi)
    angle = np.sort(np.concatenate([np.linspace(0.0, 2.0 * math.pi, _NUM_CORNERS), ends]))[:, None]
    u = along + np.cos(angle) * a + np.sin(angle) * b
    is_inside = (u > -1e-12).all(axis=-1, keepdims=True)  # the ends themselves are rounded
    return np.where(is_inside, np.maximum(u, 0.0) ** 2, np.nan)


def means(points: Array, *, weights: Array | None = None, ax: Axes | None = None) -> Axes:
    """Draw distributions over three outcomes with their Frechet mean, e-mean and m-mean.

    Parameters
    ----------
    points : array, shape (n, 3)
        Probabilities. Without an outcome that all of them have there is no e-mean, and none is
        drawn.
    weights : array, shape (n,), or None
        Not negative. None: equal weights. A point's area is in proportion to its weight.
    ax : matplotlib.axes.Axes or None

    Returns
    -------
    matplotlib.axes.Axes
        The means are labelled for a legend, in the colours of `geodesics`. The smaller lies on
        the larger mark, so that means that agree are seen together.

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities of three outcomes; weights that do not belong to them.

    Examples
    --------
    >>> from infogeo import plot
    >>> ax = plot.means([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.01, 0.01, 0.98]])
    >>> legend = ax.legend()
    """
    weights = matched_rows("points", points, "weights", weights)
    _, points = gate(True, points=(PROBABILITIES, points))
    points = np.asarray(on_host(points), dtype=float)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise bad_value("points", "have shape (n, 3)", f"its shape is {points.shape}")
    share = np.ones(len(points)) if weights is None else np.asarray(on_host(weights), dtype=float)
    if share.shape != (len(points),):
        raise bad_value("weights", f"have shape ({len(points)},)", f"its shape is {share.shape}")
    found = {"m mean": geometry.m_mean(points, weights=share)}
    if (points[share > 0.0] > 0.0).all(axis=0).any():
        found["e mean"] = geometry.e_mean(points, weights=share)
    found["Frechet mean"] = frechet_mean(points, weights=share).point
    ax = simplex() if ax is None else ax
    area = 26.0 * share / share[share > 0.0].mean()
    x, y = to_ternary(points).T
    ax.scatter(x, y, s=area, color=INK, alpha=0.7, linewidths=0.0, label="_points")
    for name, mean in found.items():
        marker, size, color = _MARKS[name]
        style: dict[str, Any] = {
            "markersize": size,
            "markeredgecolor": "white",
            "markeredgewidth": 0.8,
        }
        ax.plot(*to_ternary(mean), marker, color=color, label=name, zorder=3, **style)
    return ax


def family(
    member: ExponentialFamily | MixtureFamily, *, ax: Axes | None = None, **line: Any
) -> Axes:
    """Draw a one-dimensional family of distributions over three outcomes.

    Parameters
    ----------
    member : ExponentialFamily or MixtureFamily
        Of dimension 1, no batch.
    ax : matplotlib.axes.Axes or None
    **line : object
        Properties of matplotlib lines, such as ``color`` and ``label``.

    Returns
    -------
    matplotlib.axes.Axes
        With the curve of an exponential family, the straight line of a mixture family.

    Raises
    ------
    TypeError, ValueError
        Something else; a family over more outcomes or of another dimension.

    Examples
    --------
    >>> from infogeo import plot
    >>> from infogeo.family import ExponentialFamily, MixtureFamily
    >>> ax = plot.family(ExponentialFamily([[0.0, 1.0, 3.0]]), label="E")
    >>> ax = plot.family(MixtureFamily([[0.0, 1.0, 3.0]], [1.5]), ax=ax, label="M")
    """
    if not isinstance(member, ExponentialFamily | MixtureFamily):
        raise TypeError(
            f"member must be an ExponentialFamily or a MixtureFamily: got {type(member).__name__}."
        )
    if member.features.ndim != 2 or member.features.shape[-1] != 3 or member.dimension != 1:
        raise bad_value(
            "member",
            "be one family over 3 outcomes of dimension 1",
            f"its features have shape {tuple(member.features.shape)}, its dimension is "
            f"{member.dimension}",
        )
    ax = simplex() if ax is None else ax
    curve = _tilts(member) if isinstance(member, ExponentialFamily) else _segment(member)
    ax.plot(*to_ternary(curve).T, **{"linewidth": 1.6, **line})
    return ax


def _tilts(member: ExponentialFamily) -> np.ndarray:
    """Return members from end to end: along the one direction in which features move them."""
    F = np.asarray(member.features, dtype=float)
    _, _, directions = linalg.svd(F - F.mean(axis=-1, keepdims=True), full_matrices=False)
    f = directions[0]
    base = np.zeros(3) if member.log_base is None else np.asarray(member.log_base, dtype=float)
    gap = np.min(np.diff(np.sort(f))[np.diff(np.sort(f)) > 1e-9 * np.ptp(f)])
    reach = (_LARGEST_EXPONENT + np.ptp(base)) / gap
    s = np.arcsinh(reach) * np.linspace(-1.0, 1.0, 2 * _NUM_POINTS - 1)
    z = base + np.sinh(s)[:, None] * f
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def _segment(member: MixtureFamily) -> np.ndarray:
    """Return the two ends of a mixture family."""
    F = np.asarray(member.features, dtype=float)
    (v,) = linalg.null_space(np.vstack([F, np.ones(3)])).T
    middle = np.asarray(e_projection(np.full(3, 1.0 / 3.0), member).probabilities, dtype=np.float64)
    ends = []
    for w in (v, -v):
        steps = middle[w < 0.0] / -w[w < 0.0]
        ends.append(np.maximum(middle + steps.min() * w, 0.0))
    return np.stack(ends)


def _point(name: str, p: Array) -> np.ndarray:
    _, p = gate(True, **{name: (PROBABILITIES, p)})
    p = np.asarray(on_host(p), dtype=float)
    if p.shape != (3,):
        raise bad_value(name, "have shape (3,)", f"its shape is {p.shape}")
    return p / p.sum()


finish(
    globals(),
    {
        "ax : matplotlib.axes.Axes or None": "From `simplex`; None makes a new one.",
    },
)
