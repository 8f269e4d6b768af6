"""The summary, the figures and the report of a scan."""

import json
import math
import re
from typing import Any, Protocol

import numpy as np
import torch
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from infogeo import plot
from infogeo.cli._sensitivity import Beyond, beyond_confidence, draw_factors, log_axis
from infogeo.plot import explorer, report
from infogeo.plot._style import BLUE, INK, REPORT, hide_label
from infogeo.pullback import Scan, Spectrum, heads, input_metrics
from infogeo.pullback._fingerprint import describe

_QUANTILES = {"smallest": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "largest": 1.0}
_NUM_EXAMPLES = 4
_NUM_LISTED = 10
_NUM_MAPPED = 400
_NUM_DIRECTIONS = 3
_UNIT = "rad per unit of input"


class Samples(Protocol):
    """What shows single inputs of a scan."""

    def spectra(self, indices: np.ndarray, num_values: int) -> tuple[torch.Tensor, Spectrum]:
        """Return inputs and the spectra there, of so many directions."""


def write(scan: Scan, samples: Samples | None = None) -> dict[str, Any]:
    """Write summary.json, report.html and the figures into the folder of a complete scan.

    Parameters
    ----------
    scan : infogeo.pullback.Scan
        With the columns log_eigenvalues, rank, and logits for categorical predictions.
    samples : object or None
        Its ``spectra(indices, num_values)`` returns inputs and the spectra there, of so many
        directions. None: no inputs are shown.

    Returns
    -------
    dict
        What summary.json holds.
    """
    logs = 0.5 * scan.column("log_eigenvalues")[:, 0].astype(np.float64)
    ranks, order = scan.column("rank"), np.argsort(-logs, kind="stable")
    logits = scan.column("logits").astype(np.float64) if "logits" in scan.names else None
    predicted, doubt = _predictions(logits)
    beyond = None if doubt is None else beyond_confidence(logs, doubt)
    summary = {
        "inputs": len(logs),
        "temperature": scan.settings["temperature"],
        "sensitivity": _quantiles(logs),
        "rank": {"smallest": int(ranks.min()), "largest": int(ranks.max())},
        "most sensitive": [
            _row(int(i), logs, ranks, predicted, doubt) for i in order[:_NUM_LISTED]
        ],
        "folder": str(scan.folder),
    }
    if beyond is not None:
        left = np.argsort(-np.nan_to_num(beyond.factors), kind="stable")[:_NUM_LISTED]
        summary["beyond confidence"] = {
            "explained": beyond.explained,
            "most sensitive": [
                _row(int(i), logs, ranks, predicted, doubt) | {"factor": float(beyond.factors[i])}
                for i in left
                if beyond.factors[i] > 0.0
            ],
        }
    with style.context(REPORT):  # whatever style the user has set
        images = {"sensitivities": report.to_png(_draw_sensitivities(logs, doubt, beyond))}
        if samples is not None:
            images["maps"] = report.to_png(_draw_maps(samples, order, predicted, doubt))
    for name, png in images.items():
        report.write_file(scan.folder / f"{name}.png", png)
    text = json.dumps(summary, indent=2) + "\n"
    report.write_file(scan.folder / "summary.json", text)
    shown = min(_NUM_DIRECTIONS, scan.column("log_eigenvalues").shape[1])
    listed = [row["input"] for row in _listed(summary)]
    map_of_predictions = None if logits is None else _map(samples, logits, order, listed, shown)
    report.write_file(scan.folder / "report.html", _page(scan, summary, images, map_of_predictions))
    return summary


def as_text(summary: dict[str, Any]) -> str:
    """Return a summary for people."""
    values = ", ".join(f"{name} {value:.4g}" for name, value in summary["sensitivity"].items())
    return (
        f"{summary['inputs']} inputs, temperature {summary['temperature']:g}\n"
        f"sensitivity ({_UNIT}): {values}\n"
        f"rank: {_span(summary['rank'])}\n"
        f"{_explained(summary)}"
        f"most sensitive: {', '.join(str(row['input']) for row in summary['most sensitive'])}\n"
        f"report: {summary['folder']}/report.html"
    )


def _explained(summary: dict[str, Any]) -> str:
    found = summary.get("beyond confidence")
    if found is None:
        return ""
    most = ", ".join(str(row["input"]) for row in found["most sensitive"])
    return (
        f"confidence explains {found['explained']:.1%} of the variance of log sensitivity; beyond "
        f"it, most sensitive: {most}\n"
    )


# ---------------------------------------------------------------- numbers


def _listed(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the inputs that the tables list."""
    beyond = summary.get("beyond confidence", {"most sensitive": []})
    return [*summary["most sensitive"], *beyond["most sensitive"]]


def _quantiles(logs: np.ndarray) -> dict[str, float]:
    """Return quantiles of the sensitivities; of their logarithms, so that none underflows early."""
    return {
        name: float(np.exp(np.quantile(logs, q, method="inverted_cdf")))
        for name, q in _QUANTILES.items()
    }


def _predictions(logits: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Return the predicted classes, and the probability of all others, which 1 - p would round."""
    if logits is None:
        return None, None
    weights = np.exp(np.sort(logits - logits.max(-1, keepdims=True), axis=-1))
    return logits.argmax(-1), weights[:, :-1].sum(-1) / weights.sum(-1)


def _span(ends: dict[str, int]) -> str:
    low, high = ends.values()
    return f"{low}" if low == high else f"{low} to {high}"


def _row(
    i: int,
    logs: np.ndarray,
    ranks: np.ndarray,
    predicted: np.ndarray | None,
    doubt: np.ndarray | None,
) -> dict[str, Any]:
    row = {"input": i, "sensitivity": math.exp(logs[i]), "rank": int(ranks[i])}
    if predicted is not None and doubt is not None:
        row |= {"predicted": int(predicted[i]), "probability": float(1.0 - doubt[i])}
    return row


# ---------------------------------------------------------------- figures


def _draw_sensitivities(
    logs: np.ndarray, doubt: np.ndarray | None, beyond: Beyond | None
) -> Figure:
    num_panels = 1 + (doubt is not None) + (beyond is not None)
    figure = Figure(figsize=(0.6 + 3.8 * num_panels, 3.7), layout="constrained")
    axes = figure.subplots(1, num_panels, squeeze=False)[0]
    values = np.exp(logs)
    shares = 100.0 * (np.arange(len(values)) + 1.0) / len(values)
    shown = np.sort(values)
    axes[0].step(shown[shown > 0.0], shares[shown > 0.0], color=BLUE, linewidth=2.0, where="post")
    axes[0].set(xlabel=f"sensitivity √λ ({_UNIT})", ylabel="% of inputs below", ylim=(0.0, 102.0))
    log_axis(axes[0], "x", values)
    if doubt is not None:
        dots = {"s": float(np.clip(4000.0 / len(logs), 2.0, 16.0)), "color": BLUE, "alpha": 0.5}
        axes[1].scatter(doubt, values, linewidths=0.0, **dots)
        axes[1].set(
            xlabel="1 − probability of the predicted class", ylabel=f"sensitivity √λ ({_UNIT})"
        )
        log_axis(axes[1], "x", doubt)
        log_axis(axes[1], "y", values)
        if beyond is not None:
            known = doubt[doubt > 0.0]
            along = np.geomspace(known.min(), known.max(), 200)
            axes[1].plot(along, beyond.expected(along), color=INK, linewidth=1.2, linestyle="--")
            draw_factors(axes[2], doubt, beyond, **dots)
    for ax in axes:
        ax.grid(color="0.9")
    return figure


def _draw_maps(
    samples: Samples, order: np.ndarray, predicted: np.ndarray | None, doubt: np.ndarray | None
) -> Figure:
    num = min(_NUM_EXAMPLES, len(order))
    middle = max(0, (len(order) - num) // 2)
    rows = {
        "most sensitive": order[:num],
        "in the middle": order[middle : middle + num],
        "least sensitive": order[::-1][:num],
    }
    figure = Figure(figsize=(2.6 * num + 0.6, 8.6), layout="constrained")
    axes = figure.subplots(len(rows), num, squeeze=False)
    for axes_row, (name, indices) in zip(axes, rows.items(), strict=True):
        x, spectrum = samples.spectra(indices, 1)
        draw = _draw_image if _are_images(x) else _draw_profile
        for k, ax in enumerate(axes_row):
            draw(x, spectrum, k, ax, is_last=k == num - 1)
            ax.set_xlabel(_label(indices[k], predicted, doubt))
        axes_row[0].set_ylabel(f"{name}\n{axes_row[0].get_ylabel()}".strip(), fontsize=11.5)
    return figure


def _label(i: int, predicted: np.ndarray | None, doubt: np.ndarray | None) -> str:
    if predicted is None or doubt is None:
        return f"input {i}"
    share = f"{100.0 * (1.0 - doubt[i]):.1f}" if doubt[i] >= 5e-4 else "> 99.9"
    return f"input {i}: class {predicted[i]}, {share} %"


def _draw_image(x: torch.Tensor, spectrum: Spectrum, k: int, ax: Axes, *, is_last: bool) -> None:
    plot.sensitivity(x, spectrum, index=k, ax=ax)
    ax.spines[:].set_visible(True)
    if not is_last:
        hide_label(ax)


def _are_images(x: torch.Tensor) -> bool:
    is_image = x.ndim == 3 or (x.ndim == 4 and x.shape[1] in (1, 3, 4))
    return is_image and min(x.shape[-2:]) > 1


def _draw_profile(x: torch.Tensor, spectrum: Spectrum, k: int, ax: Axes, *, is_last: bool) -> None:
    """Show the direction at an input that is no image, entry by entry."""
    direction = spectrum.vectors[k, 0].reshape(-1).cpu().numpy()
    ax.bar(np.arange(len(direction)), direction, width=0.8, color=BLUE)
    ax.axhline(0.0, color=INK, linewidth=0.8)
    speed = math.sqrt(float(spectrum.values[k, 0]))
    ax.set_title(f"prediction moves {speed:.3g} rad\nper unit of input", fontsize=10)
    ax.set(ylim=(-1.05, 1.05), yticks=(-1.0, 0.0, 1.0))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if k == 0:
        ax.set_ylabel("entries of the direction")


# ---------------------------------------------------------------- the report


def _map(
    samples: Samples | None,
    logits: np.ndarray,
    order: np.ndarray,
    listed: list[int],
    num_directions: int,
) -> str | None:
    """Return the interactive map: of all predictions, or of those spread over the sensitivities.

    What the tables list is among them.
    """
    if len(order) < 2:
        return None
    chosen = np.arange(len(order))
    if len(order) > _NUM_MAPPED:
        places = np.linspace(0, len(order) - 1, _NUM_MAPPED).round().astype(int)
        chosen = np.union1d(order[places], np.array(listed, dtype=order.dtype))
    x, spectrum = (None, None) if samples is None else samples.spectra(chosen, num_directions)
    return explorer.explorer(logits[chosen], inputs=x, spectrum=spectrum, numbers=chosen)


def _page(
    scan: Scan, summary: dict[str, Any], images: dict[str, bytes], map_of_predictions: str | None
) -> str:
    blocks = [_sensitivities(scan, summary, images["sensitivities"])]
    if "maps" in images:
        blocks.append(
            report.section(
                "Where they are sensitive",
                report.figure(
                    images["maps"],
                    caption="The direction of the input that moves the prediction most, at the "
                    "most sensitive inputs, at those in the middle of the order, and at the least "
                    "sensitive ones. "
                    + (
                        "The sign of a direction is arbitrary."
                        if map_of_predictions is None
                        else "More on orange and less on purple makes the predicted class less "
                        "likely."
                    ),
                    description="directions of the input that move the prediction most",
                ),
            )
        )
    if map_of_predictions is not None:
        is_whole = summary["inputs"] <= _NUM_MAPPED
        blocks.append(
            report.section(
                "Look for yourself",
                report.paragraph(
                    "The predictions"
                    + ("" if is_whole else f" at some {_NUM_MAPPED} of the inputs")
                    + ". Point at one to see its input; click to see the directions that it is "
                    "most sensitive to (more on orange and less on purple makes the predicted "
                    "class less likely), and to walk to its nearest predictions. Another click "
                    "goes to the next one in the same place, the arrow keys and the list to all "
                    "of them."
                ),
                map_of_predictions,
            )
        )
    blocks += _tables_of_inputs(summary)
    blocks.append(report.section("What was scanned", _table_of_settings(scan)))
    return report.page(
        "infogeo pullback: the geometry of a data set, as a model sees it",
        report.paragraph(
            f"{summary['inputs']} inputs were measured, at temperature "
            f"{summary['temperature']:g}. The sensitivity at an input is the largest singular "
            "value of the network's derivative, the prediction being measured by the Fisher-Rao "
            "metric: how far it moves at most, in radians from 0 to π, for each unit of length "
            f"that the input moves. The rank, {_span(summary['rank'])}, is the number of "
            "directions in which it can move."
        ),
        *blocks,
    )


def _sensitivities(scan: Scan, summary: dict[str, Any], image: bytes) -> str:
    return report.section(
        "How sensitive the predictions are",
        _table_of_quantiles(summary),
        report.figure(
            image,
            caption="Left: the share of the inputs whose sensitivity is below a value."
            + _words_on_confidence(scan, summary),
            description="distribution of the sensitivities",
        ),
    )


def _table_of_quantiles(summary: dict[str, Any]) -> str:
    values = summary["sensitivity"]
    return report.table(
        ["", *values],
        [[f"sensitivity ({_UNIT})", *(f"{value:.4g}" for value in values.values())]],
        caption=f"Quantiles over {summary['inputs']} inputs.",
    )


def _words_on_confidence(scan: Scan, summary: dict[str, Any]) -> str:
    if "logits" not in scan.names:
        return ""
    found = summary.get("beyond confidence")
    if found is None:
        return " Right: each input, by the probability that is left for other classes."
    return (
        " In the middle: each input, by the probability that is left for other classes; the line "
        "is a power of p (1 − p), p being the probability of the predicted class, and explains "
        f"{found['explained']:.1%} of the variance of the logarithms. Right: what is left, the "
        "sensitivity over that of the line."
    )


def _tables_of_inputs(summary: dict[str, Any]) -> list[str]:
    found = [
        report.section("The most sensitive inputs", _table_of_inputs(summary["most sensitive"]))
    ]
    beyond = summary.get("beyond confidence", {"most sensitive": []})
    if beyond["most sensitive"]:
        found.append(
            report.section(
                "The most sensitive ones for their confidence",
                report.paragraph(
                    "An undecided prediction moves easily, whatever the network does. These inputs "
                    "move more than others whose predictions are as certain."
                ),
                _table_of_inputs(beyond["most sensitive"]),
            )
        )
    return found


def _table_of_inputs(rows: list[dict[str, Any]]) -> str:
    header = {
        "input": "input",
        "sensitivity": f"sensitivity ({_UNIT})",
        "rank": "rank",
        "predicted": "predicted class",
        "probability": "its probability",
        "factor": "times that of equal confidence",
    }
    keys = [key for key in header if key in rows[0]]
    cells = [
        [f"{row[key]:.4g}" if isinstance(row[key], float) else row[key] for key in keys]
        for row in rows
    ]
    return report.table(
        [header[key] for key in keys],
        cells,
        caption="Numbered from 0.",
        inputs=[row["input"] for row in rows] if "predicted" in rows[0] else None,
    )


def _table_of_settings(scan: Scan) -> str:
    rows = [[key, _public(value)] for key, value in scan.settings.items()]
    return report.table(["setting", "value"], rows, caption="Digests stand for numbers.")


def _public(value: Any) -> str:
    """Return a setting without what is private: objects by their public names."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_public(entry)}" for name, entry in value.items())
    if isinstance(value, list):
        return " × ".join(map(str, value))
    known = {
        describe(shown): f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in (heads, input_metrics)
        for name in module.__all__
        if isinstance(shown := getattr(module, name), heads.Head | input_metrics.InputMetric)
    }
    text = known.get(str(value), str(value))
    if text in ("()", "[]"):
        return "none"
    name, _, rest = text.partition("(")
    text = f"{name}, one of your own" if "infogeo." in rest else text
    return re.sub(r"\binfogeo\.(\w+\.)*(?=\w+\.\w+$)", "", text)
