"""What all figures have in common: colours, open axes, names shown as they are."""

import textwrap

from matplotlib.mathtext import MathTextParser

# Okabe and Ito's colours, which colour-blind readers tell apart.
BLUE, VERMILLION, GREEN = "#0072b2", "#d55e00", "#009e73"
INK = "0.35"
GEODESICS = {"Fisher-Rao": (BLUE, "-"), "e": (VERMILLION, "--"), "m": (GREEN, ":")}


def open_axes(ax, *, grid="both"):
    """Give axes a faint grid below what is drawn, and no frame to the top and the right."""
    ax.grid(True, axis=grid, color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def as_text(name, *, width, most):
    """Return what shows a name that may be long, with matplotlib's mathematics or lone dollars.

    In lines of a width, the middle left out of more than so many letters.
    """
    if "$" in name and _is_math(name):
        return {"text": name}
    return {"text": textwrap.fill(shortened(name, most), width), "parse_math": False}


def _is_math(text):
    try:
        MathTextParser("path").parse(text)
    except ValueError:
        return False
    return True


def shortened(name, most):
    """Return a name with its middle left out if it is long: the ends tell names apart."""
    name = name if name.isprintable() else repr(name)
    if len(name) <= most:
        return name
    end = most // 3
    return f"{name[: most - end - 1]}\u2026{name[-end:]}"
