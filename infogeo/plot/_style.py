"""What all figures have in common: colours, open axes, names shown as they are."""

import textwrap
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.mathtext import MathTextParser

from infogeo._array import REAL, Array, gate, on_host

# Okabe and Ito's colours, which colour-blind readers tell apart.
BLUE, VERMILLION, GREEN = "#0072b2", "#d55e00", "#009e73"
INK = "0.35"
# Of classes: on white paper and on black, and none of the three above, which mean something else.
CLASSES = (
    "#6b7786",
    "#b07d00",
    "#2f8fd0",
    "#0a9a72",
    "#7d8000",
    "#8a63d2",
    "#d0405f",
    "#c0609e",
    "#96624c",
    "#008f9c",
)
GEODESICS = {"Fisher-Rao": (BLUE, "-"), "e": (VERMILLION, "--"), "m": (GREEN, ":")}

# Of the figures of reports, whatever style the user has set.
REPORT: list[Any] = [
    "default",
    {"font.size": 10.5, "axes.spines.top": False, "axes.spines.right": False},
]


def as_numpy(name: str, values: Array) -> np.ndarray:
    """Return an argument as an array of numpy, if it holds finite numbers."""
    _, array = gate(True, **{name: (REAL, values)})
    return np.asarray(on_host(array))


def open_axes(ax: Axes, *, grid: Literal["both", "x", "y"] = "both") -> None:
    """Give axes a faint grid below what is drawn, and no frame to the top and the right."""
    ax.grid(True, axis=grid, color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def hide_label(ax: Axes) -> None:
    """Take the label off the colour bar of an image: one label is enough for a row of them."""
    bar = ax.images[-1].colorbar
    if bar is not None:
        bar.set_label("")


def sequence(cmap: str | Colormap, num_colors: int) -> np.ndarray:
    """Return colours of a map in its order, without its lightest fifth."""
    return mpl.colormaps.get_cmap(cmap)(np.linspace(0.0, 0.8, num_colors))


def as_text(name: str, *, width: int, most: int) -> dict[str, Any]:
    """Return what shows a name that may be long, with matplotlib's mathematics or lone dollars.

    In lines of a width, the middle left out of more than so many letters.
    """
    if "$" in name and _is_math(name):
        return {"text": name}
    return {"text": textwrap.fill(shortened(name, most), width), "parse_math": False}


def _is_math(text: str) -> bool:
    try:
        MathTextParser("path").parse(text)
    except ValueError:
        return False
    return True


def shortened(name: str, most: int) -> str:
    """Return a name with its middle left out if it is long: the ends tell names apart."""
    name = name if name.isprintable() else repr(name)
    if len(name) <= most:
        return name
    end = most // 3
    return f"{name[: most - end - 1]}\u2026{name[-end:]}"
