"""What the demo found: the numbers of results.json, the text on the terminal and the report."""

import html
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import scipy
import sklearn
import torch

from infogeo._system.version import __version__
from infogeo.cli.demo._stages import (
    ATTACK_RADII,
    INPUT_UNIT,
    JAYNES_DIE,
    NUM_DIGITS,
    Distances,
    Frequencies,
    LoadedDie,
    Outcome,
    Settings,
    ThreeDigits,
)
from infogeo.maxent import Projection
from infogeo.plot import report


def results(outcome: Outcome, settings: Settings, seconds: dict[str, float]) -> dict[str, Any]:
    """Return all numbers worth keeping, for results.json."""
    return {
        "versions": _versions(),
        "command": f"infogeo demo --seed {settings.seed}",
        "settings": asdict(settings),
        "seed": settings.seed,
        "dtype": "float64",
        "units": {
            "input": INPUT_UNIT,
            "distance": "rad (Fisher-Rao, sphere of radius 2: at most pi)",
            "sensitivity": "rad per unit of input",
            "eigenvalue": "rad^2 per unit^2",
            "divergence": "nats",
        },
        "num_images": {
            name: len(getattr(outcome.digits, name)[1]) for name in ("train", "calibration", "test")
        },
        "networks": {key: _network_results(outcome, key) for key in outcome.classifiers},
        "between_networks": {
            "median_distance": float(np.median(outcome.between)),
            "largest_distance": float(outcome.between.max()),
        },
        "loaded_die": _die_results(outcome.maximised.die),
        "three_digits": _three_digits_results(outcome.maximised.three_digits),
        "class_frequencies": _frequencies_results(outcome.maximised.frequencies),
        "timings_seconds": seconds,
    }


def _versions() -> dict[str, str]:
    modules = (np, scipy, torch, sklearn, matplotlib)
    return {
        "infogeo": __version__,
        "python": platform.python_version(),
        **{module.__name__: str(module.__version__) for module in modules},
    }


def _network_results(outcome: Outcome, key: str) -> dict[str, Any]:
    classifier, distances = outcome.classifiers[key], outcome.distances[key]
    sensitivity = outcome.sensitivity[key]
    same = np.diag(distances.by_class)
    different = distances.by_class[~np.eye(NUM_DIGITS, dtype=bool)]
    speeds = sensitivity.speeds
    return {
        "name": classifier.name,
        "accuracy": classifier.accuracy,
        "temperature": classifier.temperature,
        "lipschitz_bound": classifier.lipschitz_bound,
        "certified_accuracy": {
            f"{radius:g}": classifier.certified_accuracy(radius)
            for radius in (0.05, 0.1, 0.2, 0.3, 0.5)
        },
        "attacked_accuracy": {
            f"{radius:g}": float(share)
            for radius, share in zip(ATTACK_RADII, outcome.attacks[key], strict=True)
        },
        "distances": {
            "nearest_pairs": _pair_results(distances, distances.nearest),
            "nearest_pairs_of_different_digits": _pair_results(
                distances, distances.nearest_of_different_digits
            ),
            "farthest_pairs": _pair_results(distances, distances.farthest),
            "mean_for_the_same_digit": float(same.mean()),
            "mean_for_different_digits": float(different.mean()),
            "embedding_error": distances.stress,
            "pairs_beyond_the_drift_bound": distances.num_beyond_drift_bound,
        },
        "sensitivity": {
            "least": float(speeds.min()),
            "median": float(np.median(speeds)),
            "largest": float(speeds.max()),
            "median_in_a_random_direction": float(np.median(sensitivity.random_speeds)),
            "least_sensitive_image": int(speeds.argmin()),
            "most_sensitive_image": int(speeds.argmax()),
            "largest_eigenvalue": float(sensitivity.spectrum.values.max()),
            "eigenvalue_bound": sensitivity.eigenvalue_bound,
            "largest_rank": int(sensitivity.ranks.max()),
            "tenth_eigenvalue_over_first": float(
                abs(sensitivity.dense_eigenvalues[NUM_DIGITS - 1])
                / sensitivity.dense_eigenvalues[0]
            ),
            "explained_by_confidence": sensitivity.beyond and sensitivity.beyond.explained,
            "largest_error_of_a_foretold_step": float(np.abs(sensitivity.step_ratios - 1.0).max()),
        },
    }


def _pair_results(distances: Distances, pairs: list[tuple[int, int]]) -> list[dict[str, Any]]:
    return [{"images": list(pair), "distance": float(distances.matrix[pair])} for pair in pairs]


def _projection_results(projection: Projection) -> dict[str, Any]:
    return {
        "probabilities": projection.probabilities.tolist(),
        "theta": projection.theta.tolist(),
        "status": projection.status.name,
        "residual": float(projection.residual),
        "error_bound": float(projection.error_bound),
    }


def _die_results(die: LoadedDie) -> dict[str, Any]:
    return {
        **_projection_results(die.projection),
        "entropy": float(die.projection.entropy),
        "theta_from_polynomial": die.theta,
        "theta_error": die.theta_error,
        "published_probabilities": JAYNES_DIE.tolist(),
        "largest_difference_from_published": die.published_error,
    }


def _three_digits_results(three: ThreeDigits) -> dict[str, Any]:
    return {
        "image": three.index,
        "digits": three.digits,
        "loops": three.loops.tolist(),
        "target": three.target,
        "prediction": three.prediction.tolist(),
        **_projection_results(three.projection),
        "divergences": three.divergences,
        "pythagorean_error": three.pythagorean_error,
        "num_pairs": len(three.mixture_points) * len(three.family_points),
    }


def _frequencies_results(frequencies: Frequencies) -> dict[str, Any]:
    return {
        "num_images": len(frequencies.indices),
        "truth": frequencies.truth.tolist(),
        "predicted": frequencies.predicted.tolist(),
        "targets": frequencies.targets,
        **_projection_results(frequencies.projection),
        "divergences": frequencies.divergences,
        "pythagorean_error": frequencies.pythagorean_error,
    }


def summary(found: dict[str, Any], folder: str | Path) -> str:
    """Return the short text that the command prints.

    Parameters
    ----------
    found : dict
        The results.
    folder : str or pathlib.Path
        Where they were written.

    Returns
    -------
    str
        A table of what was found, and where it is.
    """
    folder = Path(folder)
    header = ("", *(network["name"] for network in found["networks"].values()))
    lines = [_aligned(row) for row in (header, *_network_rows(found))]
    die, three = found["loaded_die"], found["three_digits"]
    known = found["class_frequencies"]
    agrees = die["largest_difference_from_published"] <= 0.5e-5
    lines += [
        "",
        f"loaded die           theta = {die['theta'][0]:.9f}, off by {die['theta_error']:.0e}; "
        f"published digits {'all agree' if agrees else 'DO NOT AGREE'}",
        f"Pythagorean relation off by {three['pythagorean_error']:.0e} nats at most, over "
        f"{three['num_pairs']} pairs of points",
        f"class frequencies    {known['divergences']['KL(p, q)']:.4f} nats from the truth; "
        f"{known['divergences']['KL(p, p*)']:.4f} once two are known",
        "",
        f"Report   {folder / 'report.html'} (open it in a browser)",
        f"Numbers  {folder / 'results.json'}",
        f"Figures  {folder / '*.png'}",
    ]
    return "\n".join(lines)


def _aligned(row: Sequence[str]) -> str:
    first, *others = row
    return f"{first:<38}" + "".join(f"{cell:>21}" for cell in others)


def _network_rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the comparison of the two networks, a row for each quantity, as text."""
    networks = list(found["networks"].values())

    def row(name: str, show: Callable[[dict[str, Any]], str]) -> tuple[str, ...]:
        return (name, *(show(network) for network in networks))

    return [
        row("right on held-out digits", lambda n: f"{n['accuracy']:.1%}"),
        row("right and certified within radius 0.1", lambda n: _certified(n, "0.1")),
        row("right and certified within radius 0.3", lambda n: _certified(n, "0.3")),
        row("Lipschitz bound L of the logits", lambda n: f"{n['lipschitz_bound']:.4g}"),
        row("calibrated temperature T", lambda n: f"{n['temperature']:.4g}"),
        row("mean distance, same digit (rad)", _distance("mean_for_the_same_digit")),
        row("mean distance, different digits (rad)", _distance("mean_for_different_digits")),
        row("median sensitivity (rad per unit)", _sensitivity("median")),
        row("largest sensitivity (rad per unit)", _sensitivity("largest")),
        row("largest eigenvalue (rad^2 per unit^2)", _sensitivity("largest_eigenvalue")),
        row("its bound L^2 / (2 T^2)", _sensitivity("eigenvalue_bound")),
        row("largest rank (10 classes: 9 at most)", _sensitivity("largest_rank")),
    ]


def _certified(network: dict[str, Any], radius: str) -> str:
    return f"{network['certified_accuracy'][radius]:.1%}"


def _distance(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda network: f"{network['distances'][name]:.3f}"


def _sensitivity(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda network: f"{network['sensitivity'][name]:.3g}"


# ---------------------------------------------------------------- report

_DESCRIPTIONS = {
    "certified_accuracy": "falling curves of certified and of attacked accuracy over the radius",
    "pairs": "twelve pairs of digits with the distance between their predictions",
    "class_distances": "two 10 by 10 heat maps of mean distances between digits",
    "embedding": "two maps of the test images, each image drawn as its digit",
    "sensitivity": "four digits, and below them their most sensitive directions in colour",
    "extremes": "the two most and the two least sensitive digits of each network",
    "spectrum": "64 eigenvalues of which 9 are not zero, and curves of the sensitivities",
    "beyond_confidence": "sensitivities over confidence, and what a line leaves of them",
    "loaded_die": "bars of six probabilities that rise from face 1 to face 6",
    "three_digits": "a triangle in which a straight line and a curve meet",
    "class_frequencies": "bars of predicted, corrected and true class frequencies",
}


def write(
    folder: Path, found: dict[str, Any], images: dict[str, bytes], maps: dict[str, str]
) -> None:
    """Write the report, the numbers and the figures, each file whole or not at all."""
    files: dict[str, str | bytes] = {
        **{f"{name}.png": png for name, png in images.items()},
        "results.json": json.dumps(found, indent=2, ensure_ascii=False) + "\n",
        "report.html": _page(found, images, maps),
    }
    for name, content in files.items():
        report.write_file(folder / name, content)


def _page(found: dict[str, Any], images: dict[str, bytes], maps: dict[str, str]) -> str:
    def figure(name: str, caption: str) -> str:
        return report.figure(images[name], caption=caption, description=_DESCRIPTIONS[name])

    text = report.page(
        "infogeo demo: the geometry of two digit classifiers",
        *_introduction(found),
        _training_section(found, figure),
        _distances_section(found, figure),
        _maps_section(found, maps),
        _sensitivity_section(found, figure),
        _die_section(found, figure),
        _projection_section(found, figure),
        _method_section(found),
    )
    for name in ("M_D", "E_C"):
        text = text.replace(name, "<i>{}</i><sub>{}</sub>".format(*name.split("_")))
    return text


def _introduction(found: dict[str, Any]) -> tuple[str, ...]:
    num = found["num_images"]
    names = [network["name"] for network in found["networks"].values()]
    return (
        report.paragraph(
            "Two networks learn to read handwritten digits (8 by 8 pixels, from scikit-learn). "
            "One is built so that its logits cannot change faster than its input: it is "
            "1-Lipschitz. The other is an ordinary ReLU network of the same size. A prediction is "
            "a probability distribution over ten digits, and the Fisher-Rao distance measures how "
            "far two of them are apart: from 0 (the same) to π = 3.14 radians (nothing in common)."
        ),
        report.paragraph(
            f"Everything below is measured on {num['test']} images that neither network was "
            f"trained on ({num['train']} were used for training, {num['calibration']} to fit the "
            "softmax temperatures, so that probabilities mean what they say). One unit of input "
            "is a change of l2 norm 1, with pixels from 0 (paper) to 1 (ink)."
        ),
        report.table(
            ["", *names],
            [[cell.replace("^2", "²") for cell in row] for row in _network_rows(found)],
            caption="A prediction is the softmax of the logits divided by T, so that L / T bounds "
            "how fast its logits change. The certificates do not depend on T.",
        ),
    )


def _training_section(found: dict[str, Any], figure: Callable[[str, str], str]) -> str:
    lipschitz = found["networks"]["lipschitz"]
    return report.section(
        "What the Lipschitz constant certifies",
        report.paragraph(
            "The weights of the 1-Lipschitz network are orthogonal matrices and its activations "
            "sort pairs of features; after training, the product of the largest singular values "
            f"was computed in float64: {lipschitz['lipschitz_bound']:.15f}. If the largest logit "
            "leads the second by m, no change of the input smaller than m / (√2 L) can change "
            "the predicted digit, rounding apart. This is a proof, not an experiment."
        ),
        figure(
            "certified_accuracy",
            "Share of test images that are classified right and stay so whatever changes the "
            "input by less than the radius. The dots are the plain accuracies. Dashed: what "
            "projected gradient descent on the input leaves, an upper bound; the truth lies "
            "between the two curves of a network. The ReLU network's certificate uses the product "
            "of its layers' norms, which is a bound, but a poor one: the gap says how poor.",
        ),
    )


def _distances_section(found: dict[str, Any], figure: Callable[[str, str], str]) -> str:
    networks = found["networks"]
    between = found["between_networks"]
    num_pairs = found["num_images"]["test"] * (found["num_images"]["test"] - 1) // 2
    exceeding = networks["lipschitz"]["distances"]["pairs_beyond_the_drift_bound"]
    return report.section(
        "How far apart the predictions are",
        report.paragraph(
            "The Fisher-Rao distance between two predictions is the length of the shortest path "
            "between them when a short step is measured by how well it can be told from no step "
            f"at all. Of the {num_pairs} pairs of images, {exceeding} are farther apart in the "
            "1-Lipschitz network's predictions than their difference in pixels allows. The two "
            f"networks' predictions for the same image differ by {between['median_distance']:.3f} "
            f"rad in the median and {between['largest_distance']:.2f} rad at most."
        ),
        figure(
            "pairs",
            "Pairs of test images whose predictions by the 1-Lipschitz network are nearest to "
            "each other, nearest among different digits, and farthest. No image is shown in two "
            "pairs of a row.",
        ),
        figure(
            "class_distances",
            "Mean distance between the predictions for two images of the digits in the row and "
            "the column. The diagonal says how much the predictions for one digit scatter; "
            "darker cells off the diagonal are digits that the network finds alike. The colour "
            "scale is stretched near π.",
        ),
        figure(
            "embedding",
            "The test images, each drawn as the digit it shows, placed in the plane such that "
            "their distances come as near as possible to the Fisher-Rao distances (metric "
            "multidimensional scaling). Ten predictions at distance π from each other do not "
            "fit into a plane: the relative error of the distances is "
            f"{networks['lipschitz']['distances']['embedding_error']:.0%} and "
            f"{networks['relu']['distances']['embedding_error']:.0%}. What can be relied on is "
            "which images lie apart from their digit, and towards which other digit. The second "
            "map starts from the first one, so that they can be compared.",
        ),
    )


def _maps_section(found: dict[str, Any], maps: dict[str, str]) -> str:
    blocks = []
    for key, block in maps.items():
        name = html.escape(found["networks"][key]["name"])
        blocks.append(f"<div><h3>{name}</h3>\n{block}</div>")
    return report.section(
        "Look for yourself",
        report.paragraph(
            "The same two maps. Point at an image to see what both networks say about it; click to "
            "keep it, to see the directions that its prediction is most sensitive to, and to walk "
            "to its nearest predictions. Another click goes to the next image in the same place; "
            "the arrow keys and the list go to all of them."
        ),
        '<div class="explorers">',
        *blocks,
        "</div>",
    )


def _sensitivity_section(found: dict[str, Any], figure: Callable[[str, str], str]) -> str:
    networks = found["networks"]
    lipschitz, relu = (networks[key]["sensitivity"] for key in ("lipschitz", "relu"))
    return report.section(
        "What the networks are sensitive to",
        report.paragraph(
            "The Fisher metric of the predictions, pulled back to the input, is a 64 by 64 matrix "
            "at every image. The square root of its largest eigenvalue is how many radians the "
            "prediction moves per unit of input in the worst direction, and the eigenvector is "
            f"that direction. The 1-Lipschitz network moves {lipschitz['median']:.3g} rad per unit "
            f"in the median, {lipschitz['median_in_a_random_direction']:.3g} in a random "
            f"direction; the ReLU network {relu['median']:.3g} and "
            f"{relu['median_in_a_random_direction']:.3g}. Small steps along the direction moved "
            "the predictions as far as foretold, to a relative error of "
            f"{max(n['largest_error_of_a_foretold_step'] for n in (lipschitz, relu)):.0e}."
        ),
        figure(
            "sensitivity",
            "Four digits and the direction in which the prediction changes fastest. More ink on "
            "orange and less on purple pixels makes the predicted digit less likely. Each "
            "digit's image is the one of median sensitivity for the 1-Lipschitz network.",
        ),
        figure(
            "extremes",
            "The most and the least sensitive test images of each network. The most sensitive "
            "ones lie between two digits.",
        ),
        figure(
            "spectrum",
            "Left: the absolute eigenvalues of the whole matrix at the image to which each "
            "network is most sensitive. With ten classes there are nine directions a prediction "
            "can move in; the other 55 eigenvalues are zero to rounding. Right: the share of "
            "images whose sensitivity is below a value. The eigenvalues of the 1-Lipschitz "
            f"network are at most L²/(2T²) = {lipschitz['eigenvalue_bound']:.3g} rad² per unit²; "
            f"the largest one found is {lipschitz['largest_eigenvalue']:.3g}.",
        ),
        report.paragraph(
            "An undecided prediction moves easily, whatever the network does. A line through the "
            "sensitivities by p (1 − p), p being the probability of the predicted digit, explains "
            + " and ".join(_explained(n) for n in (lipschitz, relu))
            + " of the variance of their logarithms, for the 1-Lipschitz and the ReLU network. "
            "What is left is how much more, or less, the network moves there than elsewhere at "
            "equal confidence."
        ),
        figure(
            "beyond_confidence",
            "Left: each test image, by the probability that is left for other digits; the lines "
            "are powers of p (1 − p). Right: the sensitivity over that of the line.",
        ),
    )


def _explained(sensitivity: dict[str, Any]) -> str:
    share = sensitivity["explained_by_confidence"]
    return "nothing" if share is None else f"{share:.1%}"


def _die_section(found: dict[str, Any], figure: Callable[[str, str], str]) -> str:
    die = found["loaded_die"]
    rows = [
        (face + 1, f"{ours:.10f}", f"{theirs:.5f}")
        for face, (ours, theirs) in enumerate(
            zip(die["probabilities"], die["published_probabilities"], strict=True)
        )
    ]
    return report.section(
        "The loaded die",
        report.paragraph(
            "A die shows 4.5 on average instead of 3.5. What are the probabilities of its faces? "
            "Many distributions have this mean; the one of largest entropy assumes nothing else. "
            f"It is p = exp(θ y) / Z with θ = {die['theta'][0]:.15f}, and the root of the "
            f"polynomial that θ has to solve differs from it by {die['theta_error']:.0e}. The "
            f"entropy is {die['entropy']:.5f} nats. No log-probability is off by more than "
            f"{die['error_bound']:.0e}: the solver proves this bound."
        ),
        figure("loaded_die", "The probabilities of the faces."),
        report.table(
            ["face", "probability", "published"],
            rows,
            caption="Published: E. T. Jaynes, Where do we stand on maximum entropy?, in The "
            "Maximum Entropy Formalism, 1979.",
        ),
    )


def _projection_section(found: dict[str, Any], figure: Callable[[str, str], str]) -> str:
    three, known = found["three_digits"], found["class_frequencies"]
    digits = ", ".join(str(digit) for digit in three["digits"][:-1])
    digits = f"{digits} and {three['digits'][-1]}"
    return report.section(
        "Predictions corrected by what is known",
        report.paragraph(
            f"The 1-Lipschitz network hesitates between {digits} in the image below. Suppose we "
            f"learn that the number of closed loops in it is {three['target']:g} on average. All "
            "distributions that agree form the mixture family M_D, a straight line. The "
            "prediction q, tilted by exp(θ times the number of loops), runs through the "
            "exponential family E_C. They meet in one point p*: of all distributions in M_D it "
            "is the nearest to q, in the sense of the smallest Kullback-Leibler divergence."
        ),
        figure(
            "three_digits",
            "The distributions over three digits: a corner is certainty, a tick mark points "
            "along the line on which a digit has that probability. For any p in M_D and any q "
            "in E_C the Pythagorean relation KL(p, q) = KL(p, p*) + KL(p*, q) holds: p* is the "
            "right angle of a triangle.",
        ),
        _divergence_table(three, "the triangle in the figure"),
        report.paragraph(
            f"Over {three['num_pairs']} pairs of points of M_D and E_C the two sides of the "
            f"relation differ by {three['pythagorean_error']:.0e} nats at most."
        ),
        report.paragraph(
            f"The same for a group of images: the {known['num_images']} that the network is least "
            "certain of. Their mean prediction q estimates the class frequencies, and suppose "
            "that two numbers are known: "
            + " and ".join(f"{value:.0%} are {name}" for name, value in known["targets"].items())
            + ". The true frequencies p agree with both, so they lie in M_D, and by the "
            "Pythagorean relation the corrected frequencies p* are nearer to them than q was, by "
            "exactly KL(p*, q), whatever the truth is."
        ),
        figure(
            "class_frequencies",
            "Class frequencies among the least certain images: as predicted, after the "
            "correction, and as they are.",
        ),
        _divergence_table(known, "the class frequencies: p true, q predicted, p* corrected"),
    )


def _divergence_table(known: dict[str, Any], name: str) -> str:
    rows = [(term, f"{value:.15f}") for term, value in known["divergences"].items()]
    total = known["divergences"]["KL(p, p*)"] + known["divergences"]["KL(p*, q)"]
    rows.append(("KL(p, p*) + KL(p*, q)", f"{total:.15f}"))
    return report.table(["divergence", "nats"], rows, caption=f"For {name}.")


def _method_section(found: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return report.section(
        "How this was made",
        report.paragraph(
            f"Command: {found['command']}. All numbers are computed in {found['dtype']}; the "
            f"seed is {found['seed']}, and the same seed gives the same numbers on the same "
            "machine. results.json beside this file holds all of them."
        ),
        report.paragraph(f"Versions: {versions}."),
        report.paragraph(
            "Seconds: "
            + ", ".join(f"{name} {spent:g}" for name, spent in found["timings_seconds"].items())
            + "."
        ),
    )
