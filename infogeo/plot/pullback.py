"""Paths between images, spectra, and the metric of a plane: what a network makes of its inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from infogeo._array import POSITIVE, Array, bad_value, gate
from infogeo._docs import finish
from infogeo.plot._style import BLUE, as_numpy, as_text, open_axes

if TYPE_CHECKING:
    import torch

    from infogeo.pullback import PullbackMetric, Spectrum


__all__ = ["ellipses", "filmstrip", "spectrum"]

_GAP = 0.12  # between frames, in widths of a frame
_LETTER = 5.6  # points: the width of a letter of a caption, by and large
_LINE = 12.0  # points: the height of a line of it
_MOST_MARKS = 60


def filmstrip(
    points: Array,
    *,
    captions: Sequence[str] | None = None,
    num_frames: int | None = None,
    limits: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Show images along a path as the frames of a film, from left to right.

    Parameters
    ----------
    points : array, shape (n, height, width) or (n, channels, height, width)
        The images of one path: of a batch of paths, ``path.points[:, i]``. With 1 channel or
        without, ink is dark; 3 channels are red, green and blue.
    captions : sequence of str or None
        A text above each image, for instance its predicted class; in several lines if the frames
        are narrow, without its middle if these are more than three.
    num_frames : int or None
        Show as many of the images, the first and the last among them, evenly chosen; None for all.
    limits : (float, float) or None
        The values shown as white and as black, or with 3 channels as black and as full colour;
        None for the smallest and the largest.
    ax : matplotlib.axes.Axes or None

    Returns
    -------
    matplotlib.axes.Axes
        The frames, without axes.

    Raises
    ------
    TypeError, ValueError
        Points that are not images; captions that are not as many as the images; a number of
        frames or limits that cannot be.

    Examples
    --------
    >>> import torch
    >>> from infogeo import plot
    >>> t = torch.linspace(0.0, 1.0, 33)[:, None, None]
    >>> ax = plot.filmstrip(t * torch.rand(8, 8), num_frames=9)
    >>> len(ax.images)
    9
    """
    images = _images(points)
    shown = _chosen(num_frames, len(images))
    if captions is not None and len(captions) != len(images):
        raise ValueError(
            f"captions must be as many as points: got {len(captions)} for {len(images)} images."
        )
    low, high = _limits(limits, images)
    height, width = images.shape[1:3]
    pitch = (1.0 + _GAP) * width
    size = 12.0 / max(len(shown), 8)  # inches
    if ax is not None:
        size = ax.get_window_extent().width / ax.figure.dpi / len(shown)
    texts = [] if captions is None else [_caption(captions[k], 72.0 * size) for k in shown]
    if ax is None:
        lines = [_LINE * (text["text"].count("\n") + 1) + 9.0 for text in texts]
        room = max(lines, default=0.0) / 72.0
        figure_size = (size * len(shown), size * height / width + room)
        _, ax = plt.subplots(figsize=figure_size, layout="constrained")
    for place, k in enumerate(shown):
        left = place * pitch
        frame = images[k]
        if frame.ndim == 3:
            frame = np.clip((frame - low) / ((high - low) or 1.0), 0.0, 1.0)
        ax.imshow(
            frame, cmap="Greys", vmin=low, vmax=high, extent=(left, left + width, height, 0.0)
        )
        box = [left, left, left + width, left + width, left], [0.0, height, height, 0.0, 0.0]
        ax.plot(*box, color="0.6", linewidth=0.6, clip_on=False)
        if texts:
            middle = left + 0.5 * width
            ax.annotate(
                **texts[place],
                xy=(middle, 0.0),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
            )
    ax.set_xlim(0.0, (len(shown) - 1) * pitch + width)
    ax.set_ylim(height, 0.0)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def spectrum(
    spectrum: Spectrum, *, label: str | None = None, color: Any = BLUE, ax: Axes | None = None
) -> Axes:
    r"""Show the eigenvalues of a pullback metric over a batch, on a logarithmic scale.

    Parameters
    ----------
    spectrum : infogeo.pullback.Spectrum
        What ``PullbackMetric.spectrum(x)`` returned.
    label : str or None
        What the legend calls it, if several are drawn on the same axes.
    color : matplotlib colour
        Of the medians and the bands around them.
    ax : matplotlib.axes.Axes or None

    Returns
    -------
    matplotlib.axes.Axes
        For each place in the descending order the median over the batch, with dark and light
        bands for the middle half and the middle 90 % of it. Eigenvalues that are 0 are left out;
        if all are, the legend says so.

    Raises
    ------
    TypeError, ValueError
        Something else than a spectrum.

    Examples
    --------
    >>> import torch
    >>> from infogeo import plot, pullback
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 5))
    >>> ax = plot.spectrum(pullback.PullbackMetric(model).spectrum(torch.rand(50, 8)))
    >>> ax.get_yscale()
    'log'
    """
    values = as_numpy("spectrum.values", spectrum.values)
    if values.ndim != 2 or 0 in values.shape:
        raise bad_value("spectrum.values", "have shape (batch, k)", f"its shape is {values.shape}")
    if ax is None:
        _, ax = plt.subplots(figsize=(5.2, 3.8), layout="constrained")
    places = np.arange(1, values.shape[1] + 1)
    low, lower, median, upper, high = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
    smallest = np.finfo(values.dtype).tiny
    for bottom, top, alpha in ((low, high, 0.15), (lower, upper, 0.3)):
        is_seen = top > smallest
        bottom = np.where(is_seen, np.maximum(bottom, smallest), np.nan)
        top = np.where(is_seen, top, np.nan)
        ax.fill_between(places, bottom, top, color=color, alpha=alpha, linewidth=0.0)
    if (high > smallest).any():
        ax.set_yscale("log")
    else:  # which a logarithmic scale could not show
        label = f"{label or 'eigenvalues'}: all 0"
    median = np.where(median > smallest, median, np.nan)
    marks = "o-" if len(places) <= _MOST_MARKS else "-"
    ax.plot(places, median, marks, color=color, markersize=4.0, linewidth=1.4, label=label)
    ax.set(xlabel="place, from the largest", ylabel="eigenvalue (rad² per squared unit)")
    steps = [1.0, 2.0, 2.5, 5.0, 10.0]
    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=steps, integer=True, min_n_ticks=1))
    open_axes(ax)
    if label is not None:
        ax.legend(frameon=False)
    return ax


def ellipses(
    metric: PullbackMetric,
    xs: torch.Tensor,
    *,
    radius: float | None = None,
    reach: float | None = None,
    color: Any = BLUE,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw how far each input of a plane can move until its prediction has moved by a radius.

    .. math:: \{x + v : v' G(x) \, v = \mathrm{radius}^2\}

    Parameters
    ----------
    metric : infogeo.pullback.PullbackMetric
        Of a model with two numbers as input.
    xs : torch.Tensor, shape (n, 2)
        The centres.
    radius : float or None
        In radians of the Fisher-Rao metric; None takes one that keeps ellipses apart.
    reach : float or None
        Ellipses are not drawn farther than this from their centres; None takes half the typical
        distance between centres. What the prediction does not see has no end.
    color : matplotlib colour
        Of the ellipses.
    ax : matplotlib.axes.Axes or None

    Returns
    -------
    matplotlib.axes.Axes
        With equal scales on both axes. Open curves are ellipses cut off at the reach; a dot alone
        is an input whose ellipse lies beyond it. The title tells the radius, if it was not given.

    Raises
    ------
    TypeError, ValueError
        Inputs that are not in a plane; a radius or a reach that is not positive.

    Examples
    --------
    >>> import torch
    >>> from infogeo import plot, pullback
    >>> x = torch.cartesian_prod(torch.linspace(-2, 2, 7), torch.linspace(-2, 2, 7))
    >>> ax = plot.ellipses(pullback.PullbackMetric(torch.nn.Linear(2, 3)), x)
    >>> ax.get_aspect()
    1.0
    """
    centers = as_numpy("xs", xs).astype(float)
    if centers.ndim != 2 or centers.shape[1] != 2 or len(centers) == 0:
        raise bad_value("xs", "have shape (n, 2)", f"its shape is {centers.shape}")
    factors = as_numpy("factor", metric.factor(xs)).astype(float)
    _, speeds, directions = np.linalg.svd(factors, full_matrices=True)
    slow = speeds[:, 1] if speeds.shape[1] > 1 else np.zeros(len(speeds))
    spacing = _spacing(centers)
    is_automatic = radius is None
    if is_automatic:
        fast = speeds[:, 0][speeds[:, 0] > 0.0]
        radius = _rounded(0.25 * spacing * float(np.quantile(fast, 0.75))) if fast.size else 1.0
    reach = 0.5 * spacing if reach is None else reach
    _, radius, reach = gate(True, radius=(POSITIVE, radius), reach=(POSITIVE, reach))
    if ax is None:
        _, ax = plt.subplots(figsize=(5.4, 5.0), layout="constrained")
    curves = [
        _curve(*parts, float(radius), float(reach))
        for parts in zip(centers, speeds[:, 0], slow, directions, strict=True)
    ]
    ax.plot(*np.concatenate(curves).T, color=color, linewidth=1.1)
    ax.plot(*centers.T, ".", color="0.25", markersize=2.5)
    ax.set_aspect("equal")
    ax.set(xlabel="first input", ylabel="second input")
    open_axes(ax)
    if is_automatic:
        ax.set_title(f"inputs at {float(radius):.3g} rad", fontsize=10)
    return ax


# ---------------------------------------------------------------- images


def _caption(caption: str, room: float) -> dict[str, Any]:
    """Return a caption, each of its lines in lines that fit into so many points."""
    width = max(3, int(room / (1.0 + _GAP) / _LETTER))
    lines = [as_text(line, width=width, most=3 * width) for line in str(caption).split("\n")]
    return {
        "text": "\n".join(line["text"] for line in lines),
        "parse_math": all(line.get("parse_math", True) for line in lines),
    }


def _images(points: Array) -> np.ndarray:
    images = as_numpy("points", points)
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.size > 0:
        return images[:, 0] if images.shape[1] == 1 else np.moveaxis(images, 1, -1)
    if images.ndim != 3 or images.size == 0:
        raise bad_value(
            "points",
            "hold images, shape (n, height, width) or (n, channels, height, width) with 1 or 3 "
            "channels",
            f"its shape is {images.shape}",
            "Of a batch of paths take one, path.points[:, i]; reshape flat inputs.",
        )
    return images


def _chosen(num_frames: int | None, num_images: int) -> Sequence[int] | np.ndarray:
    if num_frames is None:
        return range(num_images)
    if isinstance(num_frames, bool) or not isinstance(num_frames, int) or num_frames < 2:
        raise bad_value("num_frames", "be an integer of at least 2", f"got {num_frames!r}")
    return np.unique(np.linspace(0, num_images - 1, num_frames).round().astype(int))


def _limits(limits: tuple[float, float] | None, images: np.ndarray) -> tuple[float, float]:
    if limits is None:
        return float(images.min()), float(images.max())
    low, high = limits
    if not low < high:
        raise bad_value("limits", "be a pair (smallest, largest)", f"got {limits!r}")
    return float(low), float(high)


# ---------------------------------------------------------------- ellipses


def _spacing(centers: np.ndarray) -> float:
    """Return the median distance of a centre from its nearest neighbour, 1 for a single one."""
    if len(centers) == 1:
        return 1.0
    gaps = np.linalg.norm(centers[:, None] - centers, axis=-1)
    np.fill_diagonal(gaps, np.inf)
    return float(np.median(gaps.min(axis=1))) or 1.0


def _rounded(value: float) -> float:
    """Return the number 1, 2 or 5 times a power of 10 that is next below."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(m for m in (1.0, 2.0, 5.0) if m * power <= value * (1.0 + 1e-12)) * power


def _curve(
    center: np.ndarray,
    fast: float,
    slow: float,
    directions: np.ndarray,
    radius: float,
    reach: float,
) -> np.ndarray:
    """Return the ellipse inside the reach as points, two arcs with NaN after each.

    Along the slow direction from end to end, so that an ellipse without end has its points, too.
    """
    if fast * reach <= radius:
        return np.full((1, 2), np.nan)
    share = min(1.0, math.sqrt(_share_inside(fast, slow, radius, reach)))
    angle = np.linspace(-0.5 * math.pi, 0.5 * math.pi, 91)
    # v = (cos, sin) radius / speeds, with the sine scaled to the part inside
    sine = share * np.sin(angle)
    across = radius / fast * np.sqrt(1.0 - sine**2)
    along = sine * (radius / slow if slow > 0.0 else 0.0)
    if slow * reach < radius * 1e-3 or slow == 0.0:  # the curve is straight to the eye
        along, across = reach * np.sin(angle), np.full_like(angle, radius / fast)
    arcs = [np.stack([sign * across, along], axis=-1) @ directions for sign in (1.0, -1.0)]
    nan = np.full((1, 2), np.nan)
    return np.concatenate([center + arcs[0], nan, center + arcs[1], nan])


def _share_inside(fast: float, slow: float, radius: float, reach: float) -> float:
    """Return sin^2 of the angle at which the ellipse leaves the reach; above 1 if it never does."""
    short, long_inverse = radius / fast, slow / radius
    if long_inverse * reach >= 1.0:
        return 1.0
    # short^2 (1 - s^2) + s^2 / long_inverse^2 = reach^2
    return (reach**2 - short**2) * long_inverse**2 / (1.0 - (short * long_inverse) ** 2)


finish(globals())
