"""The numbers of the demo: training, distances, sensitivities and C-maximisation.

Each stage is a function that returns frozen numbers; all are float64.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import optimize, special
from scipy.spatial import distance
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from infogeo import logits, robustness
from infogeo._system.progress import Progress
from infogeo.cli._sensitivity import Beyond, beyond_confidence, downhill
from infogeo.lipschitz import certificates, layers, losses
from infogeo.maxent import c_maximize
from infogeo.maxent._dual.projection import Projection
from infogeo.neighbors import pairwise_distance
from infogeo.plot.explorer import embed
from infogeo.pullback import PullbackMetric
from infogeo.pullback.metric import Spectrum

INPUT_UNIT = "l2 norm, pixels from 0 to 1"
NUM_DIGITS = 10
ATTACK_RADII = tuple(k / 10 for k in range(1, 13))
CLOSED_LOOPS = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 2.0, 1.0])  # in the digit's shape
# E. T. Jaynes, Where do we stand on maximum entropy?, in The Maximum Entropy Formalism, 1979.
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

    spectrum: Spectrum  # all directions lower the predicted class
    ranks: np.ndarray  # (n,)
    eigenvalue_bound: float  # L^2 / (2 T^2)
    dense_eigenvalues: np.ndarray  # (64,), of the whole matrix at one image
    dense_index: int
    step_ratios: np.ndarray  # (n,), distance moved by a small step over the distance foretold
    random_speeds: np.ndarray  # (n,), root mean square over all directions, rad per unit
    doubt: np.ndarray  # (n,), the probability of all digits but the predicted one
    beyond: Beyond | None  # what confidence leaves of the sensitivities

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
    """All that the demo measures."""

    digits: Digits
    classifiers: dict[str, Classifier]  # "lipschitz" and "relu", here and below
    distances: dict[str, Distances]
    between: np.ndarray  # (n,), between the two networks' predictions for the same image
    sensitivity: dict[str, Sensitivity]
    maximised: Maximised
    attacks: dict[str, np.ndarray]  # the shares that stay right, one for each of ATTACK_RADII


def measure(settings: Settings, *, progress: Progress = lambda stage, fraction: None) -> Outcome:
    """Run the stages."""
    digits = load(settings)
    images, labels = digits.test[0], digits.test[1].numpy()
    classifiers = train(digits, settings, progress=lambda stage, part: progress(stage, 0.7 * part))
    progress("distances between predictions", 0.7)
    distances: dict[str, Distances] = {}
    for key, classifier in classifiers.items():
        start = distances["lipschitz"].embedding if distances else None
        distances[key] = compare_predictions(classifier, images.numpy(), labels, start=start)
    between = logits.fisher_rao_distance(*(c.logits for c in classifiers.values()))
    progress("sensitivity of the inputs", 0.9)
    sensitivity = {key: pull_back(classifier, images) for key, classifier in classifiers.items()}
    progress("C-maximisation", 0.95)
    maximised = maximise(classifiers["lipschitz"], labels)
    attacks = {key: attack(c, digits, seed=settings.seed) for key, c in classifiers.items()}
    return Outcome(digits, classifiers, distances, between, sensitivity, maximised, attacks)


# ---------------------------------------------------------------- stage 1: training


def load(settings: Settings) -> Digits:
    """Split scikit-learn's handwritten digits."""
    bunch = load_digits()
    images, labels = bunch.images / 16.0, bunch.target
    held = []
    for size in (settings.num_test, settings.num_calibration):
        images, held_images, labels, held_labels = train_test_split(
            images, labels, test_size=size, random_state=settings.seed, stratify=labels
        )
        held.append((torch.from_numpy(held_images), torch.from_numpy(held_labels)))
    return Digits((torch.from_numpy(images), torch.from_numpy(labels)), held[1], held[0])


def train(
    digits: Digits, settings: Settings, *, progress: Progress = lambda stage, fraction: None
) -> dict[str, Classifier]:
    """Train a 1-Lipschitz classifier and an ordinary one, and calibrate both."""
    width = settings.width

    def lipschitz_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return losses.tau_cross_entropy(output, target, tau=settings.tau, check=False)

    sizes = ((64, width), (width, width), (width, NUM_DIGITS))
    lipschitz = _network(layers.OrthogonalLinear, layers.GroupSort, sizes)
    relu = _network(nn.Linear, nn.ReLU, sizes)
    stage = "training the 1-Lipschitz network"
    _fit(lipschitz, lipschitz_loss, 1e-2, digits, settings, lambda f: progress(stage, 0.7 * f))
    other_stage = "training the ReLU network"
    loss = nn.functional.cross_entropy
    _fit(relu, loss, 3e-3, digits, settings, lambda f: progress(other_stage, 0.7 + 0.3 * f))
    lipschitz = layers.freeze(lipschitz)
    relu.eval().requires_grad_(False)
    return {
        "lipschitz": _classifier("1-Lipschitz network", lipschitz, digits),
        "relu": _classifier("ReLU network", relu, digits),
    }


def _network(
    linear: Callable[..., nn.Module],
    activation: Callable[[], nn.Module],
    sizes: Sequence[tuple[int, int]],
) -> nn.Sequential:
    hidden = [
        module
        for num_in, num_out in sizes[:-1]
        for module in (linear(num_in, num_out, dtype=torch.float64), activation())
    ]
    return nn.Sequential(nn.Flatten(), *hidden, linear(*sizes[-1], dtype=torch.float64))


def _fit(
    model: nn.Module,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    learning_rate: float,
    digits: Digits,
    settings: Settings,
    progress: Callable[[float], object],
) -> None:
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
def _classifier(name: str, model: nn.Module, digits: Digits) -> Classifier:
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


def _fit_temperature(output: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the temperature at which held-out labels are most likely."""

    def loss(log_temperature: float) -> float:
        return float(nn.functional.cross_entropy(output / math.exp(log_temperature), labels))

    found = optimize.minimize_scalar(loss, bounds=(math.log(1e-3), math.log(1e3)), method="bounded")
    return math.exp(found.x)


# ---------------------------------------------------------------- stage 2: distances


def compare_predictions(
    classifier: Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    start: np.ndarray | None = None,
) -> Distances:
    """Measure the Fisher-Rao distances between the predictions for all pairs of images.

    The embedding begins at `start`, shape (n, 2), so that it can be compared with another one; None
    takes classical scaling.
    """
    z = classifier.logits
    matrix = pairwise_distance(z, space=logits)
    is_pair = np.triu(np.ones(matrix.shape, bool), 1)
    is_different = labels[:, None] != labels
    embedding = embed(matrix, start=start)
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


def _first_pairs(
    matrix: np.ndarray, is_candidate: np.ndarray, num_pairs: int = 4
) -> list[tuple[int, int]]:
    """Return the pairs with the smallest entries, no image in two of them."""
    rows, columns = np.nonzero(is_candidate)
    pairs = []
    used: set[int] = set()
    for k in np.argsort(matrix[rows, columns], kind="stable"):
        i, j = int(rows[k]), int(columns[k])
        if not used & {i, j}:
            pairs.append((i, j))
            used |= {i, j}
        if len(pairs) == num_pairs:
            break
    return pairs


def _class_means(matrix: np.ndarray, labels: np.ndarray) -> np.ndarray:
    member = np.eye(NUM_DIGITS)[labels]
    counts = member.sum(0)
    pairs = np.outer(counts, counts) - np.diag(counts)  # an image is not paired with itself
    return member.T @ matrix @ member / pairs


# ---------------------------------------------------------------- stage 3: sensitivity


def pull_back(classifier: Classifier, images: torch.Tensor) -> Sensitivity:
    """Pull the Fisher metric of the predictions back to the inputs."""
    metric = PullbackMetric(classifier.model, temperature=classifier.temperature)
    spectrum = downhill(
        lambda x: classifier.model(x) / classifier.temperature, images, metric.spectrum(images)
    )
    values, vectors = spectrum.values, spectrum.vectors
    step = 1e-5
    moved = metric.output_distance(images, images + step * vectors[:, 0])
    index = int(values[:, 0].argmax())
    dense = metric.matrix(images[index : index + 1])[0]
    p = np.sort(special.softmax(classifier.logits, axis=-1), axis=-1)
    doubt = p[:, :-1].sum(-1)
    return Sensitivity(
        spectrum=Spectrum(values.numpy(), vectors.numpy(), spectrum.temperature),
        ranks=metric.rank(images).numpy(),
        eigenvalue_bound=classifier.drift_constant**2 / 2.0,
        dense_eigenvalues=torch.linalg.eigvalsh(dense).flip(0).numpy(),
        dense_index=index,
        step_ratios=(moved / (step * values[:, 0].sqrt())).numpy(),
        random_speeds=(values.sum(-1) / images[0].numel()).sqrt().numpy(),
        doubt=doubt,
        beyond=beyond_confidence(0.5 * np.log(values[:, 0].numpy()), doubt),
    )


# ---------------------------------------------------------------- an attack, beside certificates


def attack(classifier: Classifier, digits: Digits, *, seed: int) -> np.ndarray:
    """Return the shares of images that stay right under an attack, one for each of ATTACK_RADII."""
    images, labels = digits.test
    generator = torch.Generator().manual_seed(seed)
    alive = classifier.is_right.copy()
    shares = []
    for radius in ATTACK_RADII:
        (places,) = np.nonzero(alive)
        if len(places):
            found = robustness.pgd_attack(
                classifier.model, images[places], radius=radius, target=labels[places],
                num_steps=20, generator=generator,
            )  # fmt: skip
            alive[places[found.success.numpy()]] = False
        shares.append(float(alive.mean()))
    return np.array(shares)


# ---------------------------------------------------------------- stage 4: C-maximisation


def maximise(classifier: Classifier, labels: np.ndarray) -> Maximised:
    """Solve the C-maximisation problems: a loaded die, three digits, class frequencies."""
    return Maximised(
        _loaded_die(),
        _three_digits(classifier.logits),
        _frequencies(classifier, labels),
    )


def _loaded_die() -> LoadedDie:
    faces = np.arange(1.0, 7.0)
    projection = c_maximize(faces[None], [4.5], log_base=np.zeros(6), tol=1e-12)
    # p_y = x^y / sum, so that sum (y - 4.5) x^y = 0: its positive root is exp(theta).
    roots = np.roots((faces - 4.5)[::-1])
    theta = math.log(float(roots[(abs(roots.imag) < 1e-12) & (roots.real > 0.0)].real[0]))
    return LoadedDie(
        projection=projection,
        theta=theta,
        theta_error=abs(float(projection.theta[0]) - theta),
        published_error=float(abs(projection.probabilities - JAYNES_DIE).max()),
    )


def _three_digits(z: np.ndarray) -> ThreeDigits:
    """Take the image most undecided among digits of 0, 1 and 2 loops, and learn their mean."""
    by_loops = [np.flatnonzero(number == CLOSED_LOOPS) for number in (0.0, 1.0, 2.0)]
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


def _segment(feature: np.ndarray, target: float, num_points: int) -> np.ndarray:
    """Return points of {p : E_p[feature] = target} for three outcomes, end to end."""
    ends = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        share = (target - feature[i]) / (feature[j] - feature[i])
        if 0.0 < share < 1.0:
            ends.append((1.0 - share) * np.eye(3)[i] + share * np.eye(3)[j])
    t = np.linspace(0.0, 1.0, num_points)[:, None]
    return (1.0 - t) * ends[0] + t * ends[1]


def _frequencies(classifier: Classifier, labels: np.ndarray) -> Frequencies:
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


def _kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return special.rel_entr(p, q).sum(-1)


def _triangle(p: np.ndarray, best: np.ndarray, q: np.ndarray) -> dict[str, float]:
    return {
        "KL(p, q)": float(_kl(p, q)),
        "KL(p, p*)": float(_kl(p, best)),
        "KL(p*, q)": float(_kl(best, q)),
    }


def _pythagorean_error(p: np.ndarray, best: np.ndarray, q: np.ndarray) -> float:
    return float(np.abs(_kl(p, q) - _kl(p, best) - _kl(best, q)).max())
