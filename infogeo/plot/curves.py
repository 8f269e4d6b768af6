"""What lies on a ternary diagram: geodesics, balls, level sets, families."""

import numpy as np
from scipy import linalg

from infogeo import simplex as geometry
from infogeo._array import PROBABILITIES, bad_value, gate
from infogeo.family import ExponentialFamily, MixtureFamily, e_projection
from infogeo.plot.simplex import simplex, to_ternary

__all__ = ["balls", "family", "geodesics", "level_sets"]

_KINDS = {  # name: (function, colour of Okabe and Ito, line)
    "Fisher-Rao": (geometry.fisher_rao_geodesic, "#0072b2", "-"),
    "e": (geometry.e_geodesic, "#d55e00", "--"),
    "m": (geometry.m_geodesic, "#009e73", ":"),
}
_NUM_POINTS = 201
_GRID = 241  # points to a side of the triangle that level sets are drawn from
_LARGEST_EXPONENT = 60.0  # e^-60 is nothing to be seen


def geodesics(p, q, *, ax=None):
    """Draw the three geodesics between two distributions over three outcomes.

    Parameters
    ----------
    p, q : array, shape (3,)
        Probabilities. Where one of them is 0 there is no e-geodesic, and none is drawn.
    ax : matplotlib.axes.Axes or None
        From `simplex`; None makes a new one.

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
    ends = np.stack([_point("p", p), _point("q", q)])
    ax = simplex() if ax is None else ax
    t = np.linspace(0.0, 1.0, _NUM_POINTS)
    for name, (curve, colour, line) in _KINDS.items():
        if name == "e" and (ends == 0.0).any():
            continue
        points = to_ternary(curve(*ends, t))
        ax.plot(*points.T, line, color=colour, linewidth=1.8, label=f"{name} geodesic")
    ax.plot(*to_ternary(ends).T, "o", color="0.1", markersize=5, label="_ends")
    return ax


def level_sets(function, levels, *, ax=None, colors="0.35"):
    """Draw where a function of distributions over three outcomes has given values.

    Parameters
    ----------
    function : callable
        Maps probabilities of shape (n, 3) to shape (n,), such as
        ``lambda p: simplex.kl_divergence(p, q)``.
    levels : sequence of float
        The values, ascending.
    ax : matplotlib.axes.Axes or None
        From `simplex`; None makes a new one.
    colors : color or sequence of colors
        As matplotlib's ``tricontour`` takes them.

    Returns
    -------
    matplotlib.axes.Axes
        With lines through the inside of the triangle.

    Raises
    ------
    ValueError
        A function that does not return one number for each distribution.

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
    values = np.asarray(function(p))
    if values.shape != (len(p),):
        raise bad_value(
            "function",
            "return one number for each distribution",
            f"for shape {p.shape} it returned shape {values.shape}",
        )
    ax.tricontour(*to_ternary(p).T, values, levels=levels, colors=colors, linewidths=1.3)
    return ax


def balls(center, radii, *, ax=None, colors="0.35"):
    """Draw Fisher-Rao circles around a distribution over three outcomes.

    Parameters
    ----------
    center : array, shape (3,)
        Probabilities.
    radii : sequence of float
        In radians of the sphere of radius 2, ascending.
    ax : matplotlib.axes.Axes or None
        From `simplex`; None makes a new one.
    colors : color or sequence of colors
        As matplotlib's ``tricontour`` takes them.

    Returns
    -------
    matplotlib.axes.Axes
        With the circles, as far as they lie in the triangle, and their centre.

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities of three outcomes.

    Examples
    --------
    >>> from infogeo import plot
    >>> ax = plot.balls([0.2, 0.3, 0.5], [0.25, 0.5, 0.75])
    """
    center = _point("center", center)
    ax = level_sets(lambda p: geometry.fisher_rao_distance(p, center), radii, ax=ax, colors=colors)
    ax.plot(*to_ternary(center), "o", color="0.1", markersize=4, label="_center")
    return ax


def family(member, *, ax=None, **line):
    """Draw a one-dimensional family of distributions over three outcomes.

    Parameters
    ----------
    member : ExponentialFamily or MixtureFamily
        Of dimension 1, no batch.
    ax : matplotlib.axes.Axes or None
        From `simplex`; None makes a new one.
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
    draw = _tilts if isinstance(member, ExponentialFamily) else _segment
    ax.plot(*to_ternary(draw(member)).T, **{"linewidth": 1.6, **line})
    return ax


def _tilts(member):
    """Return members from end to end: along the one direction in which features move them."""
    F = np.asarray(member.features, dtype=float)
    _, _, directions = linalg.svd(F - F.mean(axis=-1, keepdims=True), full_matrices=False)
    f = directions[0]
    base = np.zeros(3) if member.log_base is None else np.asarray(member.log_base, dtype=float)
    gap = min(np.diff(np.sort(f))[np.diff(np.sort(f)) > 1e-9 * np.ptp(f)])
    reach = (_LARGEST_EXPONENT + np.ptp(base)) / gap
    s = np.arcsinh(reach) * np.linspace(-1.0, 1.0, 2 * _NUM_POINTS - 1)
    z = base + np.sinh(s)[:, None] * f
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def _segment(member):
    """Return the two ends of a mixture family."""
    F = np.asarray(member.features, dtype=float)
    (v,) = linalg.null_space(np.vstack([F, np.ones(3)])).T
    middle = np.asarray(e_projection(np.full(3, 1.0 / 3.0), member).probabilities, dtype=float)
    ends = []
    for w in (v, -v):
        steps = middle[w < 0.0] / -w[w < 0.0]
        ends.append(np.maximum(middle + steps.min() * w, 0.0))
    return np.stack(ends)


def _point(name, p):
    _, p = gate(True, **{name: (PROBABILITIES, p)})
    p = np.asarray(p.detach().cpu() if hasattr(p, "detach") else p, dtype=float)
    if p.shape != (3,):
        raise bad_value(name, "have shape (3,)", f"its shape is {p.shape}")
    return p / p.sum()
