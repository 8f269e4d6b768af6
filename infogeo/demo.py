"""The demo: what infogeo does, on handwritten digits, from the training to a report.

The stages are `train`, `compare_predictions`, `pull_back` and `maximise`; each returns frozen
numbers. The figures and the text are made from these numbers alone. Everything is computed in
float64, in one thread and from generators of its own, so that a seed decides the numbers.
"""

import contextlib
import json
import math
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import scipy
import sklearn
import torch
from matplotlib import style
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from scipy import optimize, special
from scipy.spatial import distance
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from infogeo import __version__, logits, plot
from infogeo._result import Projection, Spectrum
from infogeo.lipschitz import certificates, layers, losses
from infogeo.maxent import c_maximize
from infogeo.plot import report
from infogeo.pullback import PullbackMetric

__all__ = ["Settings", "compare_predictions", "maximise", "pull_back", "run", "summary", "train"]

Progress = Callable[[str, float], None]

NUM_DIGITS = 10
CLOSED_LOOPS = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 2.0, 1.0])  # in the digit's shape
# E. T. Jaynes, Where do we stand on maximum entropy?, 1978, section C: five printed digits.
JAYNES_DIE = np.array([0.05435, 0.07877, 0.11416, 0.16545, 0.23977, 0.34749])


@dataclass(frozen=True)
class Settings:
    """What decides the numbers.

    Parameters
    ----------
    seed : int
        Of the split, the start and the order of the training examples.
    num_epochs : int
        Passes through the training images.
    num_test : int
        Held-out images that everything is measured on.
    num_calibration : int
        Images that the temperatures are fitted on.
    batch_size : int
        Images in a training step.
    width : int
        Features in the two hidden layers.
    tau : float
        Of the tau-cross-entropy: smaller asks for larger margins.
    """

    seed: int = 0
    num_epochs: int = 40
    num_test: int = 500
    num_calibration: int = 300
    batch_size: int = 64
    width: int = 128
    tau: float = 8.0


@dataclass(frozen=True)
class Digits:
    """Images with pixels from 0 (paper) to 1 (ink), shape (n, 8, 8), and what they show."""

    train: tuple[torch.Tensor, torch.Tensor]
    calibration: tuple[torch.Tensor, torch.Tensor]
    test: tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Classifier:
    """A trained network and what it says about the test images."""

    name: str
    model: nn.Module
    lipschitz_bound: float  # of the logits the network returns, l2 to l2
    temperature: float  # the prediction is softmax(logits / temperature)
    logits: np.ndarray  # (n, 10), divided by the temperature
    accuracy: float
    is_right: np.ndarray  # (n,)
    certified_radii: np.ndarray  # (n,), l2; 0 where the prediction is wrong

    @property
    def drift_constant(self) -> float:
        """Lipschitz constant of the logits that the prediction is the softmax of."""
        return self.lipschitz_bound / self.temperature

    def certified_accuracy(self, radius: float) -> float:
        """Share of images classified right, whatever changes the input by less than the radius."""
        return float(np.mean(self.is_right & (self.certified_radii >= radius)))


@dataclass(frozen=True)
class Distances:
    """Fisher-Rao distances between the predictions for all pairs of test images, in radians."""

    matrix: np.ndarray  # (n, n)
    nearest: list[tuple[int, int]]
    nearest_of_different_digits: list[tuple[int, int]]
    farthest: list[tuple[int, int]]
    by_class: np.ndarray  # (10, 10), means over pairs of two images
    embedding: np.ndarray  # (n, 2)
    stress: float  # relative root mean square error of the embedding's distances
    num_beyond_drift_bound: int  # pairs farther apart than their inputs allow: none, if all is well


@dataclass(frozen=True)
class Sensitivity:
    """The pulled-back metric at every test image."""

    spectrum: Spectrum  # the top direction lowers the predicted class
    ranks: np.ndarray  # (n,)
    eigenvalue_bound: float  # L^2 / (2 T^2)
    dense_eigenvalues: np.ndarray  # (64,), of the whole matrix at one image
    dense_index: int
    step_ratios: np.ndarray  # (n,), distance moved by a small step over the distance foretold
    random_speeds: np.ndarray  # (n,), root mean square over all directions, rad per unit

    @property
    def speeds(self) -> np.ndarray:
        """Radians that the prediction moves per unit of input, in the worst direction."""
        return np.sqrt(self.spectrum.values[:, 0])


@dataclass(frozen=True)
class LoadedDie:
    """A die that shows 4.5 on average."""

    projection: Projection
    theta: float  # from the root of a polynomial
    theta_error: float
    published_error: float


@dataclass(frozen=True)
class ThreeDigits:
    """One prediction, among three digits, and what is left of it when a mean is known."""

    index: int
    digits: list[int]
    loops: np.ndarray
    target: float
    prediction: np.ndarray
    projection: Projection
    mixture_points: np.ndarray  # of M_D
    family_points: np.ndarray  # of E_C
    drawn_point: np.ndarray  # of M_D, a corner of the triangle
    divergences: dict[str, float]  # of the triangle that is drawn
    pythagorean_error: float  # the largest over all pairs of points


@dataclass(frozen=True)
class Frequencies:
    """Class frequencies of a group of images, corrected by what is known of two groups."""

    indices: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    targets: dict[str, float]
    projection: Projection
    divergences: dict[str, float]
    pythagorean_error: float


@dataclass(frozen=True)
class Maximised:
    """The C-maximisation problems."""

    die: LoadedDie
    three_digits: ThreeDigits
    frequencies: Frequencies


@dataclass(frozen=True)
class Outcome:
    """All that the demo found; `results` is what results.json holds."""

    digits: Digits
    classifiers: dict[str, Classifier]
    distances: dict[str, Distances]
    between: np.ndarray  # (n,), between the two networks' predictions for the same image
    sensitivity: dict[str, Sensitivity]
    maximised: Maximised
    results: dict[str, Any]
    files: list[Path]


def run(folder, settings=None, *, progress=lambda stage, fraction: None):
    """Run all stages and write ``report.html``, ``results.json`` and the figures.

    Parameters
    ----------
    folder : str or pathlib.Path
        Where to write; it has to exist. Files of the same names are replaced.
    settings : Settings or None
        None takes the defaults.
    progress : callable
        Called as ``progress(stage, fraction)`` with a text and the part of the whole done.

    Returns
    -------
    Outcome
        The numbers of all stages and the files written.
    """
    settings, folder = settings or Settings(), Path(folder)
    seconds: dict[str, float] = {}
    with _reproducible(settings.seed), style.context(_STYLE):
        digits = _load(settings)
        with _timed(seconds, "training"):
            classifiers = train(digits, settings, progress=progress)
        images, labels = digits.test[0], digits.test[1].numpy()
        progress("distances between predictions", 0.5)
        with _timed(seconds, "distances"):
            distances = {
                key: compare_predictions(classifier, images.numpy(), labels)
                for key, classifier in classifiers.items()
            }
            between = logits.fisher_rao_distance(*(c.logits for c in classifiers.values()))
        progress("sensitivity of the inputs", 0.65)
        with _timed(seconds, "sensitivity"):
            sensitivity = {
                key: pull_back(classifier, images) for key, classifier in classifiers.items()
            }
        progress("C-maximisation", 0.75)
        with _timed(seconds, "C-maximisation"):
            maximised = maximise(classifiers["lipschitz"], labels)
        progress("report", 0.8)
        outcome = Outcome(digits, classifiers, distances, between, sensitivity, maximised, {}, [])
        with _timed(seconds, "figures"):
            images_by_name = {
                name: report.to_png(draw(outcome)) for name, (draw, *_) in _FIGURES.items()
            }
        outcome = replace(outcome, results=_results(outcome, settings, seconds))
        files = _write(folder, outcome, images_by_name)
    progress("report", 1.0)
    return replace(outcome, files=files)


@contextlib.contextmanager
def _reproducible(seed):
    """Fix what the numbers depend on, and put it back."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach GPUs too
        # At these sizes threads cost more than they gain, and sums depend on their number.
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


@contextlib.contextmanager
def _timed(seconds, name):
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 2)


# ---------------------------------------------------------------- stage 1: training


def _load(settings):
    bunch = load_digits()
    images, labels = bunch.images / 16.0, bunch.target
    halves = []
    for size in (settings.num_test, settings.num_calibration):
        images, held_images, labels, held_labels = train_test_split(
            images, labels, test_size=size, random_state=settings.seed, stratify=labels
        )
        halves.append((torch.from_numpy(held_images), torch.from_numpy(held_labels)))
    return Digits((torch.from_numpy(images), torch.from_numpy(labels)), halves[1], halves[0])


def train(digits, settings, *, progress=lambda stage, fraction: None):
    """Train a 1-Lipschitz classifier and an ordinary one, and calibrate both.

    Parameters
    ----------
    digits : Digits
        The images.
    settings : Settings
        Sizes of the networks, and how long to train.
    progress : callable
        Called as ``progress(stage, fraction)``.

    Returns
    -------
    dict of str to Classifier
        "lipschitz" and "relu", in eval mode.
    """
    width = settings.width

    def lipschitz_loss(output, target):
        return losses.tau_cross_entropy(output, target, tau=settings.tau, check=False)

    sizes = ((64, width), (width, width), (width, NUM_DIGITS))
    lipschitz = _network(layers.OrthogonalLinear, layers.GroupSort, sizes)
    relu = _network(nn.Linear, nn.ReLU, sizes)
    stage = "training the 1-Lipschitz network"
    _fit(lipschitz, lipschitz_loss, 1e-2, digits, settings, lambda f: progress(stage, 0.35 * f))
    lipschitz = layers.freeze(lipschitz)
    stage = "training the ReLU network"
    _fit(
        relu,
        nn.functional.cross_entropy,
        3e-3,
        digits,
        settings,
        lambda f: progress(stage, 0.35 + 0.15 * f),
    )
    relu.eval().requires_grad_(False)
    return {
        "lipschitz": _classifier("1-Lipschitz network", lipschitz, digits),
        "relu": _classifier("ReLU network", relu, digits),
    }


def _network(linear, activation, sizes):
    hidden = [
        module
        for num_in, num_out in sizes[:-1]
        for module in (linear(num_in, num_out, dtype=torch.float64), activation())
    ]
    return nn.Sequential(nn.Flatten(), *hidden, linear(*sizes[-1], dtype=torch.float64))


def _fit(model, loss, learning_rate, digits, settings, progress):
    images, labels = digits.train
    num_batches = math.ceil(len(images) / settings.batch_size)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=learning_rate, total_steps=settings.num_epochs * num_batches
    )
    for epoch in range(settings.num_epochs):
        progress(epoch / settings.num_epochs)
        for batch in torch.randperm(len(images)).split(settings.batch_size):
            optimizer.zero_grad()
            loss(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def _classifier(name, model, digits):
    bound = layers.lipschitz_bound(model)
    images, labels = digits.test
    output = model(images).numpy()
    is_right = output.argmax(-1) == labels.numpy()
    radii = certificates.margin_radius(output, lipschitz_constant=bound)
    temperature = _fit_temperature(model(digits.calibration[0]), digits.calibration[1])
    return Classifier(
        name=name,
        model=model,
        lipschitz_bound=bound,
        temperature=temperature,
        logits=output / temperature,
        accuracy=float(is_right.mean()),
        is_right=is_right,
        certified_radii=np.where(is_right, radii, 0.0),
    )


def _fit_temperature(output, labels):
    """Return the temperature at which held-out labels are most likely."""

    def loss(log_temperature):
        return float(nn.functional.cross_entropy(output / math.exp(log_temperature), labels))

    found = optimize.minimize_scalar(loss, bounds=(math.log(1e-3), math.log(1e3)), method="bounded")
    return math.exp(found.x)


# ---------------------------------------------------------------- stage 2: distances


def compare_predictions(classifier, images, labels):
    """Measure the Fisher-Rao distances between the predictions for all pairs of images.

    Parameters
    ----------
    classifier : Classifier
        Whose predictions.
    images : numpy array, shape (n, 8, 8)
        The test images.
    labels : numpy array, shape (n,)
        What they show.

    Returns
    -------
    Distances
        The distances and what can be read off them.
    """
    z = classifier.logits
    matrix = logits.fisher_rao_distance(z[:, None], z[None])
    is_pair = np.triu(np.ones(matrix.shape, bool), 1)
    is_different = labels[:, None] != labels
    embedding = _embed(matrix)
    embedded = distance.cdist(embedding, embedding)
    bound = certificates.drift_bound(
        distance.cdist(images.reshape(len(images), -1), images.reshape(len(images), -1)),
        lipschitz_constant=classifier.drift_constant,
    )
    return Distances(
        matrix=matrix,
        nearest=_first_pairs(matrix, is_pair),
        nearest_of_different_digits=_first_pairs(matrix, is_pair & is_different),
        farthest=_first_pairs(-matrix, is_pair),
        by_class=_class_means(matrix, labels),
        embedding=embedding,
        stress=float(np.linalg.norm(embedded - matrix) / np.linalg.norm(matrix)),
        num_beyond_drift_bound=int((matrix > bound * (1.0 + 1e-12)).sum()),
    )


def _first_pairs(matrix, is_candidate, num_pairs=4):
    """Return the pairs with the smallest entries, no image in two of them."""
    rows, columns = np.nonzero(is_candidate)
    pairs: list[tuple[int, int]] = []
    used: set[int] = set()
    for k in np.argsort(matrix[rows, columns], kind="stable"):
        i, j = int(rows[k]), int(columns[k])
        if not used & {i, j}:
            pairs.append((i, j))
            used |= {i, j}
        if len(pairs) == num_pairs:
            break
    return pairs


def _class_means(matrix, labels):
    member = np.eye(NUM_DIGITS)[labels]
    counts = member.sum(0)
    pairs = np.outer(counts, counts) - np.diag(counts)  # an image is not paired with itself
    return member.T @ matrix @ member / pairs


def _embed(matrix, num_steps=300):
    """Place points in the plane so that their distances are near the given ones.

    Classical scaling gives the start, then each Guttman transform lowers the squared error of
    the distances (I. Borg and P. Groenen, Modern Multidimensional Scaling, 2005, chapter 8).
    """
    n = len(matrix)
    centred = matrix**2 - (matrix**2).mean(0)
    centred -= centred.mean(1, keepdims=True)
    values, vectors = np.linalg.eigh(-0.5 * (centred + centred.T) / 2.0)
    points = vectors[:, -2:] * np.sqrt(values[-2:])
    for _ in range(num_steps):
        now = distance.cdist(points, points)
        ratio = np.divide(matrix, now, out=np.zeros_like(now), where=now > 0.0)
        points = (ratio.sum(1, keepdims=True) * points - ratio @ points) / n
    return points


# ---------------------------------------------------------------- stage 3: sensitivity


def pull_back(classifier, images):
    """Pull the Fisher metric of the predictions back to the inputs.

    Parameters
    ----------
    classifier : Classifier
        The network.
    images : torch tensor, shape (n, 8, 8)
        The test images.

    Returns
    -------
    Sensitivity
        The spectrum at every image, and how it compares with its bounds.
    """
    metric = PullbackMetric(classifier.model, temperature=classifier.temperature)
    spectrum = _downhill(classifier, images, metric.spectrum(images))
    values, vectors = spectrum.values, spectrum.vectors
    step = 1e-5
    moved = metric.output_distance(images, images + step * vectors[:, 0])
    index = int(values[:, 0].argmax())
    dense = metric.matrix(images[index : index + 1])[0]
    return Sensitivity(
        spectrum=Spectrum(values.numpy(), vectors.numpy(), spectrum.temperature),
        ranks=metric.rank(images).numpy(),
        eigenvalue_bound=classifier.drift_constant**2 / 2.0,
        dense_eigenvalues=torch.linalg.eigvalsh(dense).flip(0).numpy(),
        dense_index=index,
        step_ratios=(moved / (step * values[:, 0].sqrt())).numpy(),
        random_speeds=(values.sum(-1) / images[0].numel()).sqrt().numpy(),
    )


def _downhill(classifier, images, spectrum):
    """Give the top direction the sign that lowers the predicted class; the others stay."""
    step = 1e-4 * spectrum.vectors[:, 0]
    predicted = torch.from_numpy(classifier.logits.argmax(-1))[:, None]
    ahead, behind = (
        torch.log_softmax(classifier.model(x) / classifier.temperature, -1).gather(-1, predicted)
        for x in (images + step, images - step)
    )
    vectors = spectrum.vectors.clone()
    vectors[:, 0] *= torch.where(ahead > behind, -1.0, 1.0)[..., None]
    return replace(spectrum, vectors=vectors)


# ---------------------------------------------------------------- stage 4: C-maximisation


def maximise(classifier, labels):
    """Solve the C-maximisation problems: a loaded die, three digits, class frequencies.

    Parameters
    ----------
    classifier : Classifier
        Whose predictions are corrected.
    labels : numpy array, shape (n,)
        What the test images show.

    Returns
    -------
    Maximised
        The solutions and their checks.
    """
    return Maximised(
        _loaded_die(),
        _three_digits(classifier.logits),
        _frequencies(classifier, labels),
    )


def _loaded_die():
    faces = np.arange(1.0, 7.0)
    projection = c_maximize(faces[None], [4.5], log_base=np.zeros(6))
    # p_y = x^y / sum, so that sum (y - 4.5) x^y = 0: its positive root is exp(theta).
    roots = np.roots((faces - 4.5)[::-1])
    theta = math.log(float(roots[(abs(roots.imag) < 1e-12) & (roots.real > 0.0)].real[0]))
    return LoadedDie(
        projection=projection,
        theta=theta,
        theta_error=abs(float(projection.theta[0]) - theta),
        published_error=float(abs(projection.probabilities - JAYNES_DIE).max()),
    )


def _three_digits(z):
    """Take the image most undecided among digits of 0, 1 and 2 loops, and learn their mean."""
    by_loops = [np.flatnonzero(CLOSED_LOOPS == number) for number in (0.0, 1.0, 2.0)]
    best = np.stack([z[:, digits].max(-1) for digits in by_loops], -1)
    index = int(special.log_softmax(best, -1).min(-1).argmax())
    digits = [int(group[z[index, group].argmax()]) for group in by_loops]
    log_base = special.log_softmax(z[index, digits])
    prediction = np.exp(log_base)
    loops = CLOSED_LOOPS[digits]
    target = 1.3 if prediction @ loops < 1.0 else 0.7
    projection = c_maximize(loops[None], [target], log_base=log_base)
    family = special.softmax(log_base + np.linspace(-9.0, 9.0, 181)[:, None] * loops, axis=-1)
    mixture = _segment(loops, target, 61)
    best, drawn = projection.probabilities, mixture[12]
    return ThreeDigits(
        index=index,
        digits=digits,
        loops=loops,
        target=target,
        prediction=prediction,
        projection=projection,
        mixture_points=mixture,
        family_points=family,
        drawn_point=drawn,
        divergences=_triangle(drawn, best, prediction),
        pythagorean_error=_pythagorean_error(mixture[:, None], best, family),
    )


def _segment(feature, target, num_points):
    """Return points of {p : E_p[feature] = target} for three outcomes, end to end."""
    ends = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        share = (target - feature[i]) / (feature[j] - feature[i])
        if 0.0 < share < 1.0:
            ends.append((1.0 - share) * np.eye(3)[i] + share * np.eye(3)[j])
    t = np.linspace(0.0, 1.0, num_points)[:, None]
    return (1.0 - t) * ends[0] + t * ends[1]


def _frequencies(classifier, labels):
    """Correct the mean prediction for the least certain images by two known frequencies."""
    top = np.sort(classifier.logits, axis=-1)
    indices = np.argsort(top[:, -1] - top[:, -2], kind="stable")[: max(10, len(labels) // 10)]
    predicted = special.softmax(classifier.logits[indices], axis=-1).mean(0)
    truth = np.bincount(labels[indices], minlength=NUM_DIGITS) / len(indices)
    groups = np.stack([np.arange(NUM_DIGITS) % 2 == 0, CLOSED_LOOPS > 0.0]).astype(float)
    targets = groups @ truth
    projection = c_maximize(groups, targets, log_base=np.log(predicted))
    best = projection.probabilities
    return Frequencies(
        indices=indices,
        truth=truth,
        predicted=predicted,
        targets={"even": float(targets[0]), "with a closed loop": float(targets[1])},
        projection=projection,
        divergences=_triangle(truth, best, predicted),
        pythagorean_error=_pythagorean_error(truth, best, predicted),
    )


def _kl(p, q):
    return special.rel_entr(p, q).sum(-1)


def _triangle(p, best, q):
    return {
        "KL(p, q)": float(_kl(p, q)),
        "KL(p, p*)": float(_kl(p, best)),
        "KL(p*, q)": float(_kl(best, q)),
    }


def _pythagorean_error(p, best, q):
    return float(np.abs(_kl(p, q) - _kl(p, best) - _kl(best, q)).max())


# ---------------------------------------------------------------- figures

_BLUE, _VERMILLION, _GREEN, _ORANGE, _INK = "#0072B2", "#D55E00", "#009E73", "#E69F00", "0.25"
_COLOURS = {"lipschitz": _BLUE, "relu": _VERMILLION}
# Okabe and Ito's colours; the digits themselves are the markers, so that colour is only a help.
_DIGIT_COLOURS = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#A89B00",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#7F7F7F",
    "#5D3A9B",
)
_STYLE = ["default", {"font.size": 10.5, "axes.spines.top": False, "axes.spines.right": False}]
_UNIT = "l2 norm, pixels from 0 to 1"


def _figure(width, height):
    return Figure(figsize=(width, height), layout="constrained")


def _show(ax, image):
    ax.imshow(image, cmap="Greys", vmin=0.0, vmax=1.0)
    ax.spines[:].set_visible(True)
    ax.set_xticks([])
    ax.set_yticks([])


def _draw_certified_accuracy(outcome):
    figure = _figure(7.2, 4.0)
    ax = figure.subplots()
    radii = np.linspace(0.0, 1.2, 241)
    for key, classifier in outcome.classifiers.items():
        shares = [100.0 * classifier.certified_accuracy(radius) for radius in radii]
        label = f"{classifier.name}: bound L = {classifier.lipschitz_bound:.4g}"
        ax.plot(radii, shares, color=_COLOURS[key], linewidth=2.0, label=label)
        ax.plot(0.0, 100.0 * classifier.accuracy, "o", color=_COLOURS[key], clip_on=False)
    ax.set(
        xlabel=f"radius ({_UNIT})",
        ylabel="right and certified (% of test images)",
        xlim=(0.0, 1.2),
        ylim=(0.0, 102.0),
    )
    ax.grid(color="0.9")
    ax.legend(frameon=False)
    return figure


def _draw_pairs(outcome):
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
            axes[0].set_title(f"{distances.matrix[pair]:.4g} rad", x=1.05, fontsize=10.5)
            if column == 0:
                axes[0].set_ylabel(name, fontsize=11.5)
    return figure


def _draw_class_distances(outcome):
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
    bar = figure.colorbar(shown, ax=axes, shrink=0.85, ticks=[0.0, 1.0, 2.0, 2.5, 2.8, math.pi])
    bar.ax.set_yticklabels(["0", "1", "2", "2.5", "2.8", "π"])
    bar.set_label("mean Fisher-Rao distance (rad)")
    return figure


def _draw_embedding(outcome):
    labels = outcome.digits.test[1].numpy()
    figure = _figure(9.2, 4.9)
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    for ax, (key, distances) in zip(axes, outcome.distances.items(), strict=True):
        for digit in range(NUM_DIGITS):
            points = distances.embedding[labels == digit]
            ax.scatter(
                *points.T,
                s=42,
                marker=f"${digit}$",
                color=_DIGIT_COLOURS[digit],
                linewidths=0.3,
            )
        ax.set_title(outcome.classifiers[key].name)
        ax.set(aspect="equal", xlabel="rad")
        ax.grid(color="0.93")
        ax.set_axisbelow(True)
    axes[0].set_ylabel("rad")
    return figure


def _draw_spectrum(outcome):
    figure = _figure(9.2, 4.0)
    left, right = figure.subplots(1, 2)
    for key, sensitivity in outcome.sensitivity.items():
        name, colour = outcome.classifiers[key].name, _COLOURS[key]
        values = np.maximum(np.abs(sensitivity.dense_eigenvalues), 1e-22)
        left.semilogy(range(1, len(values) + 1), values, ".", color=colour, label=name)
        speeds = np.sort(sensitivity.speeds)
        shares = 100.0 * (np.arange(len(speeds)) + 1.0) / len(speeds)
        right.plot(speeds, shares, color=colour, linewidth=2.0, label=name)
    left.axvline(9.5, color=_INK, linewidth=0.9, linestyle="--")
    left.annotate(
        "10 classes: rank 9 at most", (9.5, 0.93), (6, 0), xycoords=("data", "axes fraction"),
        textcoords="offset points", va="center", color=_INK,
    )  # fmt: skip
    left.set(xlabel="number of the eigenvalue", ylabel="eigenvalue (rad² per unit²)")
    left.legend(frameon=False, loc="center right")
    bound = math.sqrt(outcome.sensitivity["lipschitz"].eigenvalue_bound)
    right.axvline(bound, color=_BLUE, linewidth=1.2, linestyle="--")
    right.annotate(
        "bound of the\n1-Lipschitz\nnetwork",
        (bound, 30.0), (-6, 0), textcoords="offset points", ha="right", va="center", color=_BLUE,
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


def _draw_sensitivity(outcome):
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


def _typical(outcome, labels, digit):
    """Return the image of a digit whose sensitivity is the median one."""
    members = np.flatnonzero(labels == digit)
    speeds = outcome.sensitivity["lipschitz"].speeds[members]
    return int(members[np.argsort(speeds, kind="stable")[len(members) // 2]])


def _draw_extremes(outcome):
    labels = outcome.digits.test[1]
    figure = _figure(10.0, 6.0)
    axes = figure.subplots(2, 4)
    for axes_row, (key, classifier) in zip(axes, outcome.classifiers.items(), strict=True):
        order = np.argsort(outcome.sensitivity[key].speeds, kind="stable")
        examples = [*order[::-1][:2], *order[:2]]
        _overlay_row(axes_row, outcome, key, examples)
        axes_row[0].set_ylabel(classifier.name, fontsize=11.5)
        for rank, ax, index in zip(("most", "most", "least", "least"), axes_row, examples):
            said = int(classifier.logits[index].argmax())
            ax.set_xlabel(f"{rank} sensitive:\na {int(labels[index])}, predicted {said}")
    return figure


def _overlay_row(axes, outcome, key, examples):
    images, spectrum = outcome.digits.test[0], outcome.sensitivity[key].spectrum
    for ax, index in zip(axes, examples, strict=True):
        plot.sensitivity(images, spectrum, index=int(index), ax=ax)
        ax.spines[:].set_visible(True)
        if ax is not axes[-1]:
            ax.images[-1].colorbar.set_label("")  # one label for the row


def _draw_loaded_die(outcome):
    die = outcome.maximised.die
    figure = _figure(6.0, 3.4)
    ax = figure.subplots()
    faces = np.arange(1, 7)
    bars = ax.bar(faces, die.projection.probabilities, color=_BLUE, width=0.7)
    ax.bar_label(bars, fmt="%.5f", fontsize=10, padding=2)
    ax.axhline(1.0 / 6.0, color=_INK, linewidth=1.0, linestyle="--", zorder=0)
    ax.text(0.5, 1.0 / 6.0, "fair die", ha="left", va="bottom", color=_INK)
    ax.set(xlabel="face", ylabel="probability", ylim=(0.0, 0.4))
    return figure


def _draw_three_digits(outcome):
    three = outcome.maximised.three_digits
    figure = _figure(9.2, 5.0)
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 3.0))
    _show(left, outcome.digits.test[0][three.index])
    left.set_title("the image")
    names = [f"{digit} ({_loops(n)})" for digit, n in zip(three.digits, three.loops, strict=True)]
    ax = plot.simplex(right, labels=names)
    best = three.projection.probabilities
    known = f"M_D: {three.target:g} loops on average"
    ax.plot(*plot.to_ternary(three.mixture_points).T, color=_BLUE, linewidth=2.2, label=known)
    tilted = "E_C: the prediction, tilted"
    ax.plot(*plot.to_ternary(three.family_points).T, color=_VERMILLION, linewidth=2.2, label=tilted)
    for p, marker, size, colour, name in (
        (three.prediction, "o", 8.0, _VERMILLION, "q: the prediction"),
        (best, "*", 17.0, "black", "p*: the nearest"),
        (three.drawn_point, "s", 7.5, _BLUE, "p: another point of M_D"),
    ):
        ax.plot(
            *plot.to_ternary(p), marker, markersize=size, color=colour, markeredgecolor="white",
            label=name,
        )  # fmt: skip
        ax.annotate(
            name.partition(":")[0], plot.to_ternary(p), (9, 7), textcoords="offset points",
            fontsize=12, weight="bold",
        )  # fmt: skip
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.72, 1.0))
    return figure


def _loops(number):
    return {0: "no loop", 1: "one loop", 2: "two loops"}[int(number)]


def _draw_frequencies(outcome):
    frequencies = outcome.maximised.frequencies
    figure = _figure(8.2, 3.6)
    ax = figure.subplots()
    series = (
        ("predicted: q", frequencies.predicted, _ORANGE),
        ("corrected: p*", frequencies.projection.probabilities, _BLUE),
        ("true: p", frequencies.truth, _INK),
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
    "loaded_die": _draw_loaded_die,
    "three_digits": _draw_three_digits,
    "class_frequencies": _draw_frequencies,
}
