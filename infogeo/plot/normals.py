"""Normal distributions: the half-plane of univariate ones, ellipses of bivariate ones."""

import math
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import Colormap

from infogeo import _array, _points
from infogeo._array import POSITIVE, Array, bad_value
from infogeo._docs import finish
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal
from infogeo.plot._style import open_axes, sequence

__all__ = ["geodesic_circle", "half_plane", "normal_ellipses"]

_ROOT_2 = math.sqrt(2.0)
_NUM_CORNERS = 181  # of a closed curve, the first of them twice: one every 2 degrees


def half_plane(
    ax: Axes | None = None, *, mean_limits: tuple[float, float] = (-3.0, 3.0), max_std: float = 3.0
) -> Axes:
    r"""Make axes for univariate normal distributions, the hyperbolic half-plane.

    .. math:: ds^2 = \frac{d\mu^2 + 2 \, d\sigma^2}{\sigma^2}

    Parameters
    ----------
    ax : matplotlib.axes.Axes or None
    mean_limits : (float, float)
        The means shown.
    max_std : float
        The largest standard deviation shown.

    Returns
    -------
    matplotlib.axes.Axes
        The mean to the right, the standard deviation upwards, from 0. Draw on it with
        ``ax.plot(points.mean, points.std)``.

    Raises
    ------
    ValueError
        Limits that leave nothing to show.

    Notes
    -----
    A standard deviation is drawn sqrt2 times as long as the same difference of means. Angles are
    then those of the metric, geodesics are half-circles around points of the axis std = 0, and
    geodesic circles are circles, with their centres too high. The axis itself is infinitely far.

    Examples
    --------
    >>> from infogeo import normal, plot
    >>> a, b = normal.Normal(-1.5, 0.4), normal.Normal(1.5, 0.4)
    >>> path = normal.fisher_rao_geodesic(a, b, np.linspace(0.0, 1.0, 50))
    >>> ax = plot.half_plane()
    >>> line, = ax.plot(path.mean, path.std)
    >>> ax.figure.savefig("half_plane.png")  # doctest: +SKIP
    """
    low, high = mean_limits
    if not (low < high and max_std > 0.0):
        raise bad_value(
            "mean_limits and max_std",
            "span a part of the half-plane",
            f"got {mean_limits!r} and {max_std!r}",
        )
    if ax is None:
        _, ax = plt.subplots(figsize=(5.6, 4.2), layout="constrained")
    ax.set_aspect(_ROOT_2)
    ax.set_xlim(low, high)
    ax.set_ylim(0.0, max_std)
    ax.set_xlabel("mean")
    ax.set_ylabel("standard deviation")
    open_axes(ax)
    ax.format_coord = _format_position  # type: ignore[method-assign]
    return ax


def _format_position(x: float, y: float) -> str:
    return f"mean {x:.3f}, std {y:.3f}"


def geodesic_circle(
    center: Normal, radius: float | Array, *, num_points: int = _NUM_CORNERS, check: bool = True
) -> Normal:
    r"""Return the normals at one Fisher-Rao distance from a given one, for `half_plane`.

    With :math:`\rho = r / \sqrt 2`, for angles :math:`\varphi` from 0 to :math:`2 \pi`:

    .. math:: \mu = \mu_0 + \sqrt 2 \, \sigma_0 \sinh \rho \, \sin \varphi, \qquad
              \sigma = \sigma_0 (\cosh \rho + \sinh \rho \, \cos \varphi)

    Parameters
    ----------
    center : Normal
        The centre; several of them are the last axes of the result.
    radius : float or array
        Fisher-Rao distances, positive. Broadcasts with the centres.
    num_points : int
        Points of the closed curve; the last of them is the first again.
    check : bool
        Verify the values.

    Returns
    -------
    Normal
        Of batch shape (num_points, ...), evenly spaced on the circle as it is drawn.

    Raises
    ------
    TypeError, ValueError
        A centre that is not a normal; radii that are not positive; fewer than 2 points.

    Examples
    --------
    >>> from infogeo import normal, plot
    >>> circle = plot.geodesic_circle(normal.Normal(0.0, 1.0), 1.0)
    >>> normal.fisher_rao_distance(normal.Normal(0.0, 1.0), circle)[:3].round(12)
    array([1., 1., 1.])
    """
    xp, (mean, std), radius = _points.gate(
        check, center=(Normal, center), radius=(POSITIVE, radius)
    )
    if isinstance(num_points, bool) or not isinstance(num_points, int) or num_points < 2:
        raise bad_value("num_points", "be an integer of at least 2", f"got {num_points!r}")
    mean, std, radius = xp.broadcast_arrays(mean, std, radius)
    angle = np.linspace(-math.pi, math.pi, num_points)
    angle = xp.asarray(angle, dtype=mean.dtype, device=_array.device_of(mean))
    angle = _array.as_leading(angle, mean, xp)
    rho = radius / _ROOT_2
    # cosh + sinh cos, without the cancellation at the bottom of large circles.
    height = xp.exp(-rho) + 2.0 * xp.sinh(rho) * xp.cos(0.5 * angle) ** 2
    return Normal(mean + _ROOT_2 * std * xp.sinh(rho) * xp.sin(angle), std * height, check=False)


def normal_ellipses(
    normals: MultivariateNormal,
    ax: Axes | None = None,
    *,
    scale: float = 2.0,
    color: Any = None,
    cmap: str | Colormap = "viridis",
    check: bool = True,
) -> Axes:
    r"""Draw bivariate normals as ellipses, in a sequence of colours.

    .. math:: \{x : (x - \mu)' S^{-1} (x - \mu) = \mathrm{scale}^2\}

    Parameters
    ----------
    normals : MultivariateNormal
        Of dimension 2; one, or a batch that is drawn in its order.
    ax : matplotlib.axes.Axes or None
    scale : float
        Half-axes of the ellipses in standard deviations. Inside is the share
        1 - exp(-scale^2 / 2) of each distribution: 86 % for 2.
    color : matplotlib colour or None
        One colour for all; None takes colours from the map, dark for the first.
    cmap : str or matplotlib.colors.Colormap
        Where the colours come from. Its lightest fifth is left out.
    check : bool
        Verify the values.

    Returns
    -------
    matplotlib.axes.Axes
        With equal scales on both axes, named if they are new. A dot marks each mean.

    Raises
    ------
    TypeError, ValueError
        Something else than normals of two dimensions; a scale that is not positive.

    Examples
    --------
    >>> from infogeo import multivariate_normal, plot
    >>> a = multivariate_normal.MultivariateNormal([0.0, 0.0], np.diag([1.0, 0.1]))
    >>> b = multivariate_normal.MultivariateNormal([4.0, 3.0], np.diag([0.1, 1.0]))
    >>> path = multivariate_normal.fisher_rao_geodesic(a, b, np.linspace(0.0, 1.0, 7))
    >>> ax = plot.normal_ellipses(path)
    >>> ax.figure.savefig("ellipses.png")  # doctest: +SKIP
    """
    mean, cov = _bivariate(normals)
    _, scale = _array.gate(check, scale=(POSITIVE, scale))
    if ax is None:
        _, ax = plt.subplots(figsize=(5.0, 4.2), layout="constrained")
        ax.set(xlabel="first coordinate", ylabel="second coordinate")
    ax.set_aspect("equal")
    open_axes(ax)
    angle = np.linspace(0.0, 2.0 * math.pi, _NUM_CORNERS)
    circle = float(scale) * np.stack([np.cos(angle), np.sin(angle)])
    colors = [color] * len(mean) if color is not None else sequence(cmap, len(mean))
    for center, factor, shade in zip(mean, np.linalg.cholesky(cov), colors, strict=True):
        ax.plot(*(center[:, None] + factor @ circle), color=shade, linewidth=1.6)
        ax.plot(*center, "o", color=shade, markersize=3.5)
    return ax


def _bivariate(normals: MultivariateNormal) -> tuple[np.ndarray, np.ndarray]:
    """Return means and covariances in float64 numpy, of shapes (n, 2) and (n, 2, 2)."""
    _points.require_kind("normals", MultivariateNormal, normals)
    if normals.dim != 2:
        raise bad_value(
            "normals",
            "have dimension 2",
            f"got {normals!r}",
            "Draw two coordinates: mean[..., [0, 1]] and cov[..., [0, 1], :][..., [0, 1]].",
        )
    mean, cov = (np.asarray(_array.on_host(x), float) for x in (normals.mean, normals.cov))
    return mean.reshape(-1, 2), cov.reshape(-1, 2, 2)


finish(globals())
