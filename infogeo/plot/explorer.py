"""The interactive map of predictions for reports: one block of HTML that needs nothing else."""

from __future__ import annotations

import base64
import importlib.resources
import json
import math
from collections.abc import Sequence, Sized
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from scipy import linalg
from scipy.spatial import distance

from infogeo import logits
from infogeo._array import LOGITS, REAL, Array, bad_value, gate, on_host
from infogeo._docs import finish
from infogeo._names import matched_rows
from infogeo.neighbors import pairwise_distance
from infogeo.plot._style import CLASSES

if TYPE_CHECKING:
    from infogeo.pullback import Spectrum


__all__ = ["explorer"]

_NUM_NEAREST = 5
_NUM_BARS = 10
_LARGEST_SIDE = 48  # of an image in the page, in pixels


def explorer(
    z: Array,
    *,
    inputs: Array | None = None,
    spectrum: Spectrum | None = None,
    labels: Array | None = None,
    classes: Sequence[str] | None = None,
    numbers: Sequence[int] | Array | None = None,
    positions: Array | None = None,
) -> str:
    """Return an interactive map of predictions as a block of HTML.

    Pointing near a prediction shows its input and its probabilities; a click shows the directions
    that the input is most sensitive to and the nearest predictions, and again the next one of those
    in the same place. The arrow keys and a list reach all of them; the map zooms. Maps of one page
    show the same input, and so do tables (`infogeo.plot.report.table` with ``inputs``). Works
    offline, in a dark page, too.

    Parameters
    ----------
    z : array, shape (n, c)
        Logits of the predictions, a few hundred at most to be told apart.
    inputs : array, shape (n, h, w) or (n, channels, h, w), or None
        Images. Large ones are averaged down. None, or of another shape: no images are shown.
        Pixels that are not finite count as missing: they are hatched, and neither averages nor
        the range of brightness take part of them.
    spectrum : infogeo.pullback.Spectrum or None
        Of the inputs; finite.
    labels : sequence of int, of length n, or None
        True classes.
    classes : sequence of str, of length c, or None
        Their names; None numbers them.
    numbers : sequence of int, of length n, or None
        What the inputs are called; None numbers them.
    positions : array, shape (n, 2), or None
        Where to place them; None asks `embed`.

    Returns
    -------
    str
        HTML for `infogeo.plot.report.page`. In the file, ``#input-17`` after the address selects
        the input called 17.

    Raises
    ------
    TypeError, ValueError
        Logits that are none; numbers of things that do not fit together.

    Examples
    --------
    >>> from infogeo.plot import explorer, report
    >>> block = explorer.explorer([[2.0, 0.0], [0.0, 1.0], [0.5, 0.4]], classes=["cat", "dog"])
    >>> text = report.page("Three predictions", block)
    """
    of_rows = {"labels": labels, "numbers": numbers, "positions": positions}
    labels, numbers, positions = (matched_rows("z", z, *pair) for pair in of_rows.items())
    _, z = gate(True, z=(LOGITS, z))
    z = _on_host(z)
    if z.ndim != 2 or len(z) < 2:
        raise bad_value("z", "hold two or more rows of logits", f"its shape is {z.shape}")
    classes = [str(i) for i in range(z.shape[1])] if classes is None else list(map(str, classes))
    _require_length("classes", classes, z.shape[1])
    matrix = pairwise_distance(z, space=logits)
    data = {
        "positions": _rounded(embed(matrix) if positions is None else positions, 5),
        "predicted": z.argmax(-1).tolist(),
        "labels": None if labels is None else [int(label) for label in labels],
        "classes": classes,
        "colours": _colours(len(classes)),
        "numbers": list(range(len(z))) if numbers is None else [int(i) for i in numbers],
        "probabilities": _largest(logits.to_simplex(z)),
        "nearest": _nearest(matrix),
        "images": None,
        "directions": None,
        "speeds": None,
    }
    for name in ("positions", "labels", "numbers"):
        if data[name] is not None:
            _require_length(name, data[name], len(z))
    if len(set(data["numbers"])) < len(z):
        repeated = next(i for i in data["numbers"] if data["numbers"].count(i) > 1)
        raise bad_value("numbers", "be different", f"{repeated} is there twice")
    _require_classes(data["labels"], len(classes))
    images = None if inputs is None else _as_images(_on_host(inputs))
    if images is not None:
        _require_length("inputs", images, len(z))
        data["images"] = _packed_images(images)
    if spectrum is not None:
        data |= _sensitivity(spectrum, images, len(z))
    return _html(data)


def embed(matrix: Array, *, start: Array | None = None, num_steps: int = 300) -> np.ndarray:
    """Place points in the plane so that their distances are near the given ones.

    Parameters
    ----------
    matrix : array, shape (n, n)
        Distances.
    start : array, shape (n, 2), or None
        Where to begin; the result is turned to be near it. None: classical scaling.
    num_steps : int
        Steps, each of which lowers the squared error of the distances.

    Returns
    -------
    numpy array, shape (n, 2)
        Centred points.

    References
    ----------
    I. Borg and P. Groenen, Modern Multidimensional Scaling, 2005, chapter 8 (Guttman transform).

    Examples
    --------
    >>> points = embed(np.array([[0.0, 3.0, 4.0], [3.0, 0.0, 5.0], [4.0, 5.0, 0.0]]))
    >>> round(float(np.linalg.norm(points[1] - points[2])), 6)
    5.0
    """
    points = _classical_scaling(matrix) if start is None else start
    for _ in range(num_steps):
        now = distance.cdist(points, points)
        ratio = np.divide(matrix, now, out=np.zeros_like(now), where=now > 0.0)
        points = (ratio.sum(1, keepdims=True) * points - ratio @ points) / len(points)
    if start is not None:
        turn, _ = linalg.orthogonal_procrustes(points, start)
        points = points @ turn
    return points


def _classical_scaling(matrix: np.ndarray) -> np.ndarray:
    squares = matrix**2
    rows = squares.mean(0)
    values, vectors = np.linalg.eigh(-0.5 * (squares - rows - rows[:, None] + rows.mean()))
    return vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0.0))


# ---------------------------------------------------------------- what the page is told


def _on_host(x: Array) -> np.ndarray:
    return np.asarray(on_host(x))


def _require_length(name: str, values: Sized, length: int) -> None:
    if len(values) != length:
        raise bad_value(name, f"have {length} entries", f"it has {len(values)}")


def _require_classes(labels: list[int], num_classes: int) -> None:
    for i, label in enumerate(labels or ()):
        if not 0 <= label < num_classes:
            raise bad_value(
                "labels",
                f"hold numbers of classes, from 0 to {num_classes - 1}",
                f"entry {i} is {label}",
            )


def _rounded(x: np.ndarray, digits: int) -> Any:
    x = _on_host(x).astype(float)
    if x.shape[1:] != (2,) or not np.isfinite(x).all():
        raise bad_value("positions", "hold two finite numbers for each row", f"got {x.shape}")
    return np.round(x, digits).tolist()


def _colours(num_classes: int) -> list[str]:
    """Return a colour for each class; names or signs tell them apart for those who see fewer."""
    if num_classes <= len(CLASSES):
        return list(CLASSES[:num_classes])
    return [to_hex(colormaps["turbo"](0.05 + 0.9 * k / num_classes)) for k in range(num_classes)]


def _largest(p: np.ndarray) -> list[list[list[float]]]:
    """Return the classes of every row with their probabilities, the most probable first."""
    order = np.argsort(-p, axis=-1, kind="stable")[:, :_NUM_BARS]
    values = np.take_along_axis(p, order, axis=-1)
    return [
        [[int(k), round(float(x), 6)] for k, x in zip(*row, strict=True)]
        for row in zip(order, values, strict=True)
    ]


def _nearest(matrix: np.ndarray) -> list[list[list[float]]]:
    hidden = matrix + np.diag(np.full(len(matrix), np.inf))
    order = np.argsort(hidden, axis=-1, kind="stable")[:, : min(_NUM_NEAREST, len(matrix) - 1)]
    return [[[int(j), float(f"{matrix[i, j]:.6g}")] for j in row] for i, row in enumerate(order)]


def _as_images(x: np.ndarray) -> np.ndarray | None:
    """Return images as (n, channels, h, w), averaged down to fit, or None if they are none."""
    x = x[:, None] if x.ndim == 3 else x
    if x.ndim != 4 or x.shape[1] not in (1, 3) or min(x.shape[2:]) < 2:
        return None
    return _averaged(x)


def _averaged(x: np.ndarray) -> np.ndarray:
    """Return means of square blocks, over what is finite in them; NaN where nothing is."""
    step = math.ceil(max(x.shape[-2:]) / _LARGEST_SIDE)
    if step == 1:
        return x
    is_seen = np.isfinite(x)
    total, count = _block_sums(np.where(is_seen, x, 0.0), step), _block_sums(is_seen, step)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _block_sums(x: np.ndarray, step: int) -> np.ndarray:
    height, width = (side // step * step for side in x.shape[-2:])
    blocks = x[..., :height, :width].reshape(
        *x.shape[:-2], height // step, step, width // step, step
    )
    return blocks.sum(axis=(-3, -1))


def _packed_images(images: np.ndarray) -> dict[str, Any]:
    is_seen = np.isfinite(images)
    seen = images[is_seen] if is_seen.any() else np.zeros(1)
    low, high = float(seen.min()), float(seen.max())
    shares = (np.where(is_seen, images, low) - low) / ((high - low) or 1.0)
    levels = np.rint(255.0 * shares).astype(np.uint8)
    if images.shape[1] == 1:
        levels = 255 - levels  # ink on paper
    is_missing = ~is_seen.all(axis=1)
    return {
        "channels": images.shape[1],
        "height": images.shape[2],
        "width": images.shape[3],
        "pixels": _base64(levels),
        "missing": _base64(is_missing.astype(np.uint8)) if is_missing.any() else None,
    }


def _sensitivity(spectrum: Spectrum, images: np.ndarray | None, num_inputs: int) -> dict[str, Any]:
    for name in ("values", "vectors"):
        gate(True, **{f"spectrum.{name}": (REAL, getattr(spectrum, name))})
    values, vectors = _on_host(spectrum.values)[:, :3], _on_host(spectrum.vectors)[:, :3]
    _require_length("spectrum.values", values, num_inputs)
    speeds = [[float(f"{v:.4g}") for v in row] for row in np.sqrt(values).tolist()]
    if images is None:
        return {"speeds": speeds}
    if vectors.ndim == 5:  # of several channels the strongest
        strongest = np.abs(vectors).argmax(axis=2, keepdims=True)
        vectors = np.take_along_axis(vectors, strongest, axis=2)[:, :, 0]
    vectors = _averaged(vectors)
    size = np.abs(vectors).max(axis=(-2, -1), keepdims=True)
    levels = np.rint(128.0 + 127.0 * vectors / np.where(size > 0.0, size, 1.0)).astype(np.uint8)
    return {"speeds": speeds, "directions": {"count": vectors.shape[1], "pixels": _base64(levels)}}


def _base64(levels: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(levels).tobytes()).decode("ascii")


def _html(data: dict[str, Any]) -> str:
    files = importlib.resources.files("infogeo.plot")
    style, script = ((files / f"explorer.{kind}").read_text("utf-8") for kind in ("css", "js"))
    # No text in the data may end the element that holds it.
    content = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f"<style>\n{style}</style>\n"
        f'<section class="explorer"><script type="application/json">{content}</script></section>\n'
        f"<script>\n{script}</script>"
    )


finish(globals())
