"""The summary, the figures and the report of a scan."""

import json
import math

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure

from infogeo import plot
from infogeo.plot import report

_BLUE, _INK = "#0072B2", "0.25"
_STYLE = ["default", {"font.size": 10.5, "axes.spines.top": False, "axes.spines.right": False}]
_QUANTILES = {"smallest": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "largest": 1.0}
_NUM_EXAMPLES = 4
_NUM_LISTED = 10
_UNIT = "rad per unit of input"


def write(scan, explorer=None):
    """Write summary.json, report.html and the figures into the folder of a complete scan.

    Parameters
    ----------
    scan : infogeo.pullback.Scan
        With the columns log_eigenvalues, rank, and logits for categorical predictions.
    explorer : object or None
        Its ``top(indices)`` returns inputs and their spectra. None: no maps are drawn.

    Returns
    -------
    dict
        What summary.json holds.
    """
    logs = 0.5 * scan.column("log_eigenvalues")[:, 0].astype(np.float64)
    ranks, order = scan.column("rank"), np.argsort(-logs, kind="stable")
    logits = scan.column("logits").astype(np.float64) if "logits" in scan.names else None
    predicted, confidence = _predictions(logits)
    summary = {
        "inputs": len(logs),
        "temperature": scan.settings["temperature"],
        "sensitivity": _quantiles(logs),
        "rank": {"smallest": int(ranks.min()), "largest": int(ranks.max())},
        "most sensitive": [
            _row(int(i), logs, ranks, predicted, confidence) for i in order[:_NUM_LISTED]
        ],
        "folder": str(scan.folder),
    }
    with style.context(_STYLE):  # whatever style the user has set
        images = {"sensitivities": report.to_png(_draw_sensitivities(logs, confidence))}
        if explorer is not None:
            maps = _draw_maps(explorer, order, predicted, confidence)
            images["maps"] = report.to_png(maps)
    for name, png in images.items():
        report.write_file(scan.folder / f"{name}.png", png)
    text = json.dumps(summary, indent=2) + "\n"
    report.write_file(scan.folder / "summary.json", text)
    report.write_file(scan.folder / "report.html", _page(scan, summary, images))
    return summary


def as_text(summary):
    """Return a summary for people."""
    values = ", ".join(f"{name} {value:.4g}" for name, value in summary["sensitivity"].items())
    return (
        f"{summary['inputs']} inputs, temperature {summary['temperature']:g}\n"
        f"sensitivity ({_UNIT}): {values}\n"
        f"rank: {summary['rank']['smallest']} to {summary['rank']['largest']}\n"
        f"most sensitive: {', '.join(str(row['input']) for row in summary['most sensitive'])}\n"
        f"report: {summary['folder']}/report.html"
    )


# ---------------------------------------------------------------- numbers


def _quantiles(logs):
    """Return quantiles of the sensitivities; of their logarithms, so that none underflows early."""
    return {
        name: float(np.exp(np.quantile(logs, q, method="inverted_cdf")))
        for name, q in _QUANTILES.items()
    }


def _predictions(logits):
    if logits is None:
        return None, None
    shifted = logits - logits.max(-1, keepdims=True)
    return logits.argmax(-1), 1.0 / np.exp(shifted).sum(-1)


def _row(i, logs, ranks, predicted, confidence):
    row = {"input": i, "sensitivity": math.exp(logs[i]), "rank": int(ranks[i])}
    if predicted is not None:
        row |= {"predicted": int(predicted[i]), "confidence": float(confidence[i])}
    return row


# ---------------------------------------------------------------- figures


def _draw_sensitivities(logs, confidence):
    figure = Figure(figsize=(9.2, 3.8) if confidence is not None else (5.2, 3.8))
    figure.set_layout_engine("constrained")
    axes = np.atleast_1d(figure.subplots(1, 1 if confidence is None else 2))
    values = np.exp(np.sort(logs))
    is_shown = values > 0.0
    shares = 100.0 * (np.arange(len(values)) + 1.0) / len(values)
    axes[0].step(values[is_shown], shares[is_shown], color=_BLUE, linewidth=2.0, where="post")
    axes[0].set(xlabel=f"sensitivity √λ ({_UNIT})", ylabel="% of inputs below", ylim=(0.0, 102.0))
    if is_shown.any():
        axes[0].set_xscale("log")
    axes[0].grid(color="0.9")
    if confidence is not None:
        values = np.exp(logs)
        is_shown = values > 0.0
        size = float(np.clip(2000.0 / len(logs), 2.0, 16.0))
        axes[1].scatter(
            confidence[is_shown], values[is_shown], s=size, color=_BLUE, alpha=0.5, linewidths=0.0
        )
        axes[1].set(xlabel="probability of the predicted class", ylabel=f"sensitivity √λ ({_UNIT})")
        if is_shown.any():
            axes[1].set_yscale("log")
        axes[1].grid(color="0.9")
    return figure


def _draw_maps(explorer, order, predicted, confidence):
    num = min(_NUM_EXAMPLES, len(order))
    middle = max(0, (len(order) - num) // 2)
    rows = {
        "most sensitive": order[:num],
        "in the middle": order[middle : middle + num],
        "least sensitive": order[::-1][:num],
    }
    figure = Figure(figsize=(2.6 * num + 0.6, 9.6), layout="constrained")
    axes = figure.subplots(len(rows), num, squeeze=False)
    for axes_row, (name, indices) in zip(axes, rows.items(), strict=True):
        x, spectrum = explorer.top(indices)
        draw = plot.sensitivity if _are_images(x) else _draw_profile
        for k, ax in enumerate(axes_row):
            draw(x, spectrum, index=k, ax=ax)
            label = f"input {indices[k]}"
            if predicted is not None:
                label += f": class {predicted[indices[k]]}, {100.0 * confidence[indices[k]]:.3g} %"
            ax.set_xlabel(label)
            if ax is not axes_row[-1] and ax.images:
                ax.images[-1].colorbar.set_label("")  # one label for the row
        axes_row[0].set_ylabel(name, fontsize=11.5)
    return figure


def _are_images(x):
    is_image = x.ndim == 3 or (x.ndim == 4 and x.shape[1] in (1, 3, 4))
    return is_image and min(x.shape[-2:]) > 1


def _draw_profile(x, spectrum, *, index, ax):
    """Show the direction of an input that is no image, entry by entry."""
    direction = spectrum.vectors[index, 0].reshape(-1).cpu().numpy()
    ax.bar(np.arange(len(direction)), direction, width=0.8, color=_BLUE)
    ax.axhline(0.0, color=_INK, linewidth=0.8)
    speed = math.sqrt(float(spectrum.values[index, 0]))
    ax.set_title(f"prediction moves {speed:.3g} rad\nper unit of input", fontsize=10)
    ax.set(ylim=(-1.05, 1.05))


# ---------------------------------------------------------------- the report


def _page(scan, summary, images):
    blocks = [
        report.section(
            "How sensitive the predictions are",
            _table_of_quantiles(summary),
            report.figure(
                images["sensitivities"],
                caption="Left: the share of the inputs whose sensitivity is below a value."
                + (
                    " Right: each input, by the probability of its predicted class."
                    if "logits" in scan.names
                    else ""
                ),
                description="distribution of the sensitivities",
            ),
        )
    ]
    if "maps" in images:
        blocks.append(
            report.section(
                "Where they are sensitive",
                report.figure(
                    images["maps"],
                    caption="The direction of the input that moves the prediction most, at the "
                    "most sensitive inputs, at those in the middle of the order, and at the least "
                    "sensitive ones. The sign of a direction is arbitrary.",
                    description="directions of the input that move the prediction most",
                ),
            )
        )
    blocks.append(report.section("The most sensitive inputs", _table_of_inputs(summary)))
    blocks.append(report.section("What was scanned", _table_of_settings(scan)))
    return report.page(
        "infogeo pullback: the geometry of a data set, as a model sees it",
        report.paragraph(
            f"{summary['inputs']} inputs were measured, at temperature "
            f"{summary['temperature']:g}. The sensitivity at an input is the largest singular "
            "value of the network's derivative, the prediction being measured by the Fisher-Rao "
            "metric: how far it moves at most, in radians from 0 to π, for each unit of length "
            f"that the input moves. The rank, {summary['rank']['smallest']} to "
            f"{summary['rank']['largest']}, is the number of directions in which it can move."
        ),
        *blocks,
    )


def _table_of_quantiles(summary):
    values = summary["sensitivity"]
    return report.table(
        ["", *values],
        [[f"sensitivity ({_UNIT})", *(f"{value:.4g}" for value in values.values())]],
        caption=f"Quantiles over {summary['inputs']} inputs.",
    )


def _table_of_inputs(summary):
    rows = summary["most sensitive"]
    header = {
        "input": "input",
        "sensitivity": f"sensitivity ({_UNIT})",
        "rank": "rank",
        "predicted": "predicted class",
        "confidence": "its probability",
    }
    keys = [key for key in header if key in rows[0]]
    cells = [
        [f"{row[key]:.4g}" if isinstance(row[key], float) else row[key] for key in keys]
        for row in rows
    ]
    return report.table([header[key] for key in keys], cells, caption="Numbered from 0.")


def _table_of_settings(scan):
    rows = [
        [key, json.dumps(value) if isinstance(value, dict) else value]
        for key, value in scan.settings.items()
    ]
    return report.table(["setting", "value"], rows, caption="Digests stand for numbers.")
