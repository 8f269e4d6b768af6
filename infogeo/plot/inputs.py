"""Inputs and the directions in which a network is sensitive to them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from infogeo._array import Array, bad_value
from infogeo._docs import finish
from infogeo.plot._style import as_numpy

if TYPE_CHECKING:
    from infogeo.pullback import Spectrum


__all__ = ["sensitivity"]


def sensitivity(
    x: Array, spectrum: Spectrum, *, index: int = 0, component: int = 0, ax: Axes | None = None
) -> Axes:
    r"""Show an image with the direction in which the network is most sensitive, in colour.

    Parameters
    ----------
    x : array, shape (batch, height, width) or (batch, channels, height, width)
        The images that the spectrum belongs to. Of several channels the mean is shown in grey.
    spectrum : infogeo.pullback.Spectrum
        What ``PullbackMetric.spectrum(x)`` returned.
    index : int
        Which image of the batch.
    component : int
        Which eigenvector; 0 is the one of the largest eigenvalue.
    ax : matplotlib.axes.Axes or None

    Returns
    -------
    matplotlib.axes.Axes
        The image, the coloured direction with its colour bar, and the square root of the
        eigenvalue as title: how far the prediction moves, in radians of the Fisher-Rao metric,
        for each unit of length that the input moves along the direction.

    Raises
    ------
    TypeError, ValueError
        Inputs that are not images, or not those of the spectrum.
    IndexError
        An index or a component that does not exist.

    Notes
    -----
    An eigenvector's sign is arbitrary: orange and purple may be exchanged together. Of several
    channels each pixel shows the entry that is largest in absolute value. The less a pixel
    matters the more transparent is its colour.

    Examples
    --------
    >>> import torch
    >>> from infogeo import plot, pullback
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).double()
    >>> x = torch.rand(5, 4, 4, dtype=torch.float64)
    >>> ax = plot.sensitivity(x, pullback.PullbackMetric(model).spectrum(x), index=2)
    >>> ax.figure.savefig("sensitivity.png")  # doctest: +SKIP
    """
    image, direction, value = _select(x, spectrum, index, component)
    if ax is None:
        _, ax = plt.subplots(figsize=(4.4, 3.6), layout="constrained")
    limit = float(np.abs(direction).max()) or 1.0
    # Ink stops at mid-grey, so that it is not mistaken for a strong colour.
    low, high = float(image.min()), float(image.max())
    ax.imshow(image, cmap="Greys", vmin=low, vmax=low + 1.8 * ((high - low) or 1.0))
    overlay = ax.imshow(
        direction, cmap="PuOr_r", vmin=-limit, vmax=limit, alpha=_opacity(direction / limit)
    )
    ax.set_xticks([])
    ax.set_yticks([])
    bar = ax.figure.colorbar(overlay, ax=ax, fraction=0.046, pad=0.04)
    bar.set_label("direction (unit norm)")
    ax.set_title(f"prediction moves {math.sqrt(value):.3g} rad\nper unit of input", fontsize=10)
    return ax


def _opacity(direction: np.ndarray) -> np.ndarray:
    """Return 0 where the direction vanishes, near 1 where it is strong."""
    return 0.95 * np.abs(direction) ** 0.75


def _select(
    x: Array, spectrum: Spectrum, index: int, component: int
) -> tuple[np.ndarray, np.ndarray, float]:
    images = as_numpy("x", x)
    vectors = as_numpy("spectrum.vectors", spectrum.vectors)
    values = as_numpy("spectrum.values", spectrum.values)
    if images.ndim not in (3, 4):
        raise bad_value(
            "x",
            "hold images, shape (batch, height, width) or (batch, channels, height, width)",
            f"its shape is {images.shape}",
            "Reshape it, and put torch.nn.Flatten() before a model that wants flat inputs.",
        )
    if vectors.shape[:1] + vectors.shape[2:] != images.shape:
        raise ValueError(
            f"x and spectrum must belong together: x has shape {images.shape} and "
            f"spectrum.vectors {vectors.shape}. Pass the x that the spectrum was computed at."
        )
    _check_index("index", index, images.shape[0])
    _check_index("component", component, vectors.shape[1])
    image, direction = images[index], vectors[index, component]
    if image.ndim == 3:
        image = image.mean(axis=0)
        strongest = np.abs(direction).argmax(axis=0, keepdims=True)
        direction = np.take_along_axis(direction, strongest, axis=0)[0]
    value = max(float(values[index, component]), 0.0)  # a zero may be rounded
    return image, direction, value


def _check_index(name: str, value: int, length: int) -> None:
    if not -length <= value < length:
        raise IndexError(f"{name} must be below {length}: got {value}.")


finish(globals())
