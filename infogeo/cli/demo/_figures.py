"""The figures of the demo, drawn from its numbers alone."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from infogeo import plot
from infogeo.cli._sensitivity import draw_factors, log_axis
from infogeo.cli.demo._stages import ATTACK_RADII, INPUT_UNIT, NUM_DIGITS, Outcome
from infogeo.plot import explorer, report
from infogeo.plot._style import BLUE, CLASSES, GREEN, INK, REPORT, VERMILLION, hide_label

# A colour means one thing in all figures: blue and grey a network; red the family of a prediction,
# green what is known, black where they meet; orange what lowers the predicted digit, purple what
# raises it; the others digits.
_COLOURS = {"lipschitz": BLUE, "relu": INK}
_MEETING = "black"


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _show(ax: Axes, image: torch.Tensor) -> None:
    ax.imshow(image.numpy(), cmap="Greys", vmin=0.0, vmax=1.0)
    ax.spines[:].set_visible(True)
    ax.set_xticks([])
    ax.set_yticks([])


def _draw_certified_accuracy(outcome: Outcome) -> Figure:
    figure = _figure(7.2, 4.0)
    ax = figure.subplots()
    radii = np.linspace(0.0, 1.2, 241)
    for key, classifier in outcome.classifiers.items():
        shares = [100.0 * classifier.certified_accuracy(radius) for radius in radii]
        label = f"{classifier.name}: certified with L = {classifier.lipschitz_bound:.4g}"
        ax.plot(radii, shares, color=_COLOURS[key], linewidth=2.0, label=label)
        left = [100.0 * classifier.accuracy, *(100.0 * outcome.attacks[key])]
        ax.plot(
            (0.0, *ATTACK_RADII), left, "s--", color=_COLOURS[key], linewidth=1.2, markersize=3.5,
            label=f"{classifier.name}: left by an attack",
        )  # fmt: skip
        ax.plot(0.0, 100.0 * classifier.accuracy, "o", color=_COLOURS[key], clip_on=False)
    ax.set(
        xlabel=f"radius ({INPUT_UNIT})",
        ylabel="right (% of test images)",
        xlim=(0.0, 1.2),
        ylim=(0.0, 102.0),
    )
    ax.grid(color="0.9")
    ax.legend(frameon=False)
    return figure


def _draw_pairs(outcome: Outcome) -> Figure:
    distances, (images, labels) = outcome.distances["lipschitz"], outcome.digits.test
    rows = {
        "nearest": distances.nearest,
        "nearest of\ndifferent digits": distances.nearest_of_different_digits,
        "farthest": distances.farthest,
    }
    num_columns = max(len(pairs) for pairs in rows.values())
    figure = _figure(9.2, 4.9)
    grid = figure.add_gridspec(len(rows), 3 * num_columns, width_ratios=(1, 1, 0.2) * num_columns)
    for row, (name, pairs) in enumerate(rows.items()):
        for column, pair in enumerate(pairs):
            axes = [figure.add_subplot(grid[row, 3 * column + side]) for side in (0, 1)]
            for ax, k in zip(axes, pair, strict=True):
                _show(ax, images[k])
                ax.set_xlabel(f"a {int(labels[k])}")
            axes[0].set_title(f"{distances.matrix[pair]:.3g} rad", x=1.05, fontsize=10.5)
            if column == 0:
                axes[0].set_ylabel(name, fontsize=11.5)
    return figure


def _draw_class_distances(outcome: Outcome) -> Figure:
    figure = _figure(9.8, 4.8)
    axes = figure.subplots(1, 2, sharey=True)
    norm = PowerNorm(3.0, 0.0, math.pi)  # most pairs of digits are far apart: there colour counts
    for ax, (key, distances) in zip(axes, outcome.distances.items(), strict=True):
        shown = ax.imshow(distances.by_class, cmap="cividis", norm=norm)
        for (i, j), value in np.ndenumerate(distances.by_class):
            colour = "white" if norm(value) < 0.5 else "black"
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8.5)
        ax.set_title(outcome.classifiers[key].name)
        ax.set(xticks=range(NUM_DIGITS), yticks=range(NUM_DIGITS), xlabel="digit")
        ax.spines[:].set_visible(False)
    axes[0].set_ylabel("digit")
    bar = figure.colorbar(shown, ax=axes, shrink=0.85, ticks=[0.0, 2.0, 2.5, 2.8, math.pi])
    bar.ax.set_yticklabels(["0", "2", "2.5", "2.8", "π"])
    bar.set_label("mean Fisher-Rao distance (rad)")
    return figure


def _draw_embedding(outcome: Outcome) -> Figure:
    labels = outcome.digits.test[1].numpy()
    figure = _figure(9.2, 5.3)
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    for ax, (key, distances) in zip(axes, outcome.distances.items(), strict=True):
        for digit in range(NUM_DIGITS):
            points = distances.embedding[labels == digit]
            ax.scatter(
                *points.T,
                s=42,
                marker=f"${digit}$",
                color=CLASSES[digit],
                linewidths=0.3,
            )
        ax.set_title(outcome.classifiers[key].name)
        ax.set(xlabel="rad", xlim=(-2.6, 2.6), ylim=(-2.6, 2.6))
        ax.set_box_aspect(1.0)
        ax.grid(color="0.93")
        ax.set_axisbelow(True)
    axes[0].set_ylabel("rad")
    return figure


def _draw_spectrum(outcome: Outcome) -> Figure:
    figure = _figure(9.2, 4.0)
    left, right = figure.subplots(1, 2)
    for key, sensitivity in outcome.sensitivity.items():
        name, colour = outcome.classifiers[key].name, _COLOURS[key]
        values = np.maximum(np.abs(sensitivity.dense_eigenvalues), 1e-22)
        left.semilogy(range(1, len(values) + 1), values, ".", color=colour, label=name)
        speeds = np.sort(sensitivity.speeds)
        shares = 100.0 * (np.arange(len(speeds)) + 1.0) / len(speeds)
        right.plot(speeds, shares, color=colour, linewidth=2.0, label=name)
    left.axvline(9.5, color=INK, linewidth=0.9, linestyle="--")
    left.annotate(
        "10 classes: rank 9 at most", (9.5, 0.93), (6, 0), xycoords=("data", "axes fraction"),
        textcoords="offset points", va="center", color=INK,
    )  # fmt: skip
    left.set(xlabel="number of the eigenvalue", ylabel="eigenvalue (rad² per unit²)")
    left.legend(frameon=False, loc="center right")
    bound = math.sqrt(outcome.sensitivity["lipschitz"].eigenvalue_bound)
    right.axvline(bound, color=BLUE, linewidth=1.2, linestyle="--")
    right.annotate(
        "bound of the\n1-Lipschitz\nnetwork",
        (bound, 30.0), (-6, 0), textcoords="offset points", ha="right", va="center", color=BLUE,
    )  # fmt: skip
    right.set_xscale("log")
    right.set(
        xlabel="sensitivity √λ (rad per unit of input)",
        ylabel="% of test images below",
        ylim=(0.0, 102.0),
    )
    right.grid(color="0.9")
    right.legend(frameon=False, loc="upper left")
    return figure


def _draw_sensitivity(outcome: Outcome) -> Figure:
    images, labels = outcome.digits.test
    examples = [_typical(outcome, labels.numpy(), digit) for digit in (0, 3, 5, 8)]
    figure = _figure(10.0, 7.4)
    axes = figure.subplots(3, len(examples))
    for ax, index in zip(axes[0], examples, strict=True):
        _show(ax, images[index])
        ax.set_title(f"a {int(labels[index])}")
    axes[0, 0].set_ylabel("input", fontsize=11.5)
    for axes_row, (key, classifier) in zip(axes[1:], outcome.classifiers.items(), strict=True):
        _overlay_row(axes_row, outcome, key, examples)
        axes_row[0].set_ylabel(classifier.name, fontsize=11.5)
    return figure


def _typical(outcome: Outcome, labels: np.ndarray, digit: int) -> int:
    """Return the image of a digit whose sensitivity is the median one."""
    members = np.flatnonzero(labels == digit)
    speeds = outcome.sensitivity["lipschitz"].speeds[members]
    return int(members[np.argsort(speeds, kind="stable")[len(members) // 2]])


def _draw_beyond_confidence(outcome: Outcome) -> Figure:
    figure = _figure(9.2, 4.0)
    left, right = figure.subplots(1, 2)
    every = np.concatenate([s.doubt for s in outcome.sensitivity.values()])
    for key, sensitivity in outcome.sensitivity.items():
        name, doubt = outcome.classifiers[key].name, sensitivity.doubt
        dots = {"s": 9.0, "color": _COLOURS[key], "alpha": 0.5}
        left.scatter(doubt, sensitivity.speeds, linewidths=0.0, label=name, **dots)
        found = sensitivity.beyond
        if found is not None:
            along = np.geomspace(doubt[doubt > 0.0].min(), doubt.max(), 200)
            left.plot(along, found.expected(along), color=_COLOURS[key], linewidth=1.2)
            draw_factors(right, doubt, found, **dots)
    left.set(
        xlabel="1 − probability of the predicted digit", ylabel="sensitivity √λ (rad per unit)"
    )
    log_axis(left, "x", every)
    log_axis(left, "y", np.concatenate([s.speeds for s in outcome.sensitivity.values()]))
    for ax in (left, right):
        ax.grid(color="0.9")
    left.legend(frameon=False)
    return figure


_EXTREMES = ("most", "most", "least", "least")


def _draw_extremes(outcome: Outcome) -> Figure:
    labels = outcome.digits.test[1]
    figure = _figure(10.0, 6.0)
    axes = figure.subplots(2, 4)
    for axes_row, (key, classifier) in zip(axes, outcome.classifiers.items(), strict=True):
        order = np.argsort(outcome.sensitivity[key].speeds, kind="stable")
        examples = [order[-1], order[-2], order[0], order[1]]
        _overlay_row(axes_row, outcome, key, examples)
        axes_row[0].set_ylabel(classifier.name, fontsize=11.5)
        for rank, ax, index in zip(_EXTREMES, axes_row, examples, strict=True):
            said = int(classifier.logits[index].argmax())
            ax.set_xlabel(f"{rank} sensitive:\na {int(labels[index])}, predicted {said}")
    return figure


def _overlay_row(axes: Sequence[Axes], outcome: Outcome, key: str, examples: Sequence[int]) -> None:
    images, spectrum = outcome.digits.test[0], outcome.sensitivity[key].spectrum
    for ax, index in zip(axes, examples, strict=True):
        plot.sensitivity(images, spectrum, index=int(index), ax=ax)
        ax.spines[:].set_visible(True)
        if ax is not axes[-1]:
            hide_label(ax)


def _draw_loaded_die(outcome: Outcome) -> Figure:
    die = outcome.maximised.die
    figure = _figure(6.0, 3.4)
    ax = figure.subplots()
    faces = np.arange(1, 7)
    bars = ax.bar(faces, die.projection.probabilities, color=_MEETING, width=0.7)
    ax.bar_label(bars, fmt="%.5f", fontsize=10, padding=2)
    ax.axhline(1.0 / 6.0, color=VERMILLION, linewidth=1.0, linestyle="--", zorder=0)
    ax.text(0.5, 1.0 / 6.0, "fair die", ha="left", va="bottom", color=VERMILLION)
    ax.set(xlabel="face", ylabel="probability", ylim=(0.0, 0.4))
    return figure


def _draw_three_digits(outcome: Outcome) -> Figure:
    three = outcome.maximised.three_digits
    figure = _figure(9.2, 5.0)
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 3.0))
    _show(left, outcome.digits.test[0][three.index])
    left.set_title("the image")
    names = [f"{digit} ({_loops(n)})" for digit, n in zip(three.digits, three.loops, strict=True)]
    ax = plot.simplex(right, labels=names)
    best = three.projection.probabilities
    known = f"$M_D$: {three.target:g} loops on average"
    ax.plot(*plot.to_ternary(three.mixture_points).T, color=GREEN, linewidth=2.2, label=known)
    tilted = "$E_C$: the prediction, tilted"
    ax.plot(*plot.to_ternary(three.family_points).T, color=VERMILLION, linewidth=2.2, label=tilted)
    for p, marker, size, colour, name in (
        (three.prediction, "o", 8.0, VERMILLION, "$q$: the prediction"),
        (best, "*", 17.0, _MEETING, "$p^*$: the nearest to $q$ in $M_D$"),
        (three.drawn_point, "s", 7.5, GREEN, "$p$: another point of $M_D$"),
    ):
        ax.plot(
            *plot.to_ternary(p), marker, markersize=size, color=colour, markeredgecolor="white",
            label=name,
        )  # fmt: skip
        ax.annotate(
            name.partition(":")[0], plot.to_ternary(p), (9, 7), textcoords="offset points",
            fontsize=14, path_effects=[withStroke(linewidth=3.0, foreground="white")],
        )  # fmt: skip
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.72, 1.0))
    return figure


def _loops(number: float) -> str:
    return {0: "no loop", 1: "one loop", 2: "two loops"}[int(number)]


def _draw_frequencies(outcome: Outcome) -> Figure:
    frequencies = outcome.maximised.frequencies
    figure = _figure(8.2, 3.6)
    ax = figure.subplots()
    series = (
        ("predicted: $q$", frequencies.predicted, VERMILLION),
        ("corrected: $p^*$", frequencies.projection.probabilities, _MEETING),
        ("true: $p$", frequencies.truth, GREEN),
    )
    for k, (name, values, colour) in enumerate(series):
        at = np.arange(NUM_DIGITS) + 0.27 * (k - 1)
        ax.bar(at, 100.0 * values, width=0.25, color=colour, label=name)
    ax.set(xlabel="digit", ylabel="share of the images (%)", xticks=range(NUM_DIGITS))
    ax.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    return figure


_FIGURES = {
    "certified_accuracy": _draw_certified_accuracy,
    "pairs": _draw_pairs,
    "class_distances": _draw_class_distances,
    "embedding": _draw_embedding,
    "sensitivity": _draw_sensitivity,
    "extremes": _draw_extremes,
    "spectrum": _draw_spectrum,
    "beyond_confidence": _draw_beyond_confidence,
    "loaded_die": _draw_loaded_die,
    "three_digits": _draw_three_digits,
    "class_frequencies": _draw_frequencies,
}


def draw_all(
    outcome: Outcome, *, progress: Callable[[float], object] = lambda fraction: None
) -> dict[str, bytes]:
    """Draw all figures."""
    images: dict[str, bytes] = {}
    with style.context(REPORT):  # whatever style the user has set
        for name, draw in _FIGURES.items():
            progress(len(images) / len(_FIGURES))
            images[name] = report.to_png(draw(outcome))
    return images


def draw_maps(outcome: Outcome) -> dict[str, str]:
    """Return the interactive map of each network's predictions."""
    images, labels = outcome.digits.test
    return {
        key: explorer.explorer(
            classifier.logits,
            inputs=images,
            spectrum=outcome.sensitivity[key].spectrum,
            labels=labels.tolist(),
            positions=outcome.distances[key].embedding,
        )
        for key, classifier in outcome.classifiers.items()
    }
