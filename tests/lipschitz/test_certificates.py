"""Certificates attacked; output layers, smoothing and losses against closed forms and mpmath."""

import importlib
import itertools
import math
import pickle
from pathlib import Path

import attacks
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from scipy.special import ndtr

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrize  # noqa: E402

from infogeo import logits as logit_geometry  # noqa: E402
from infogeo.lipschitz import certificates, layers, losses, output_layers, smoothing  # noqa: E402
from infogeo.lipschitz.output_layers import Arcsine, Softmax, SphereExponential  # noqa: E402
from infogeo.pullback import PullbackMetric, fit_temperature  # noqa: E402
from infogeo.robustness import boundary_distance  # noqa: E402
from infogeo.simplex import fisher_rao_distance  # noqa: E402

INF = math.inf
NUM_POINTS = 1000


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(5)


# ---------------------------------------------------------------- certificates under attack


@pytest.fixture(scope="module")
def digits():
    """Handwritten digits, pixels from 0 to 1, the last of them kept for attacks."""
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    images, labels = sklearn_datasets.load_digits(return_X_y=True)
    images, labels = torch.from_numpy(images / 16.0), torch.from_numpy(labels)
    return images[:-NUM_POINTS], labels[:-NUM_POINTS], images[-NUM_POINTS:]


def train(modules, x, loss, num_steps=60):
    torch.manual_seed(2)
    net = nn.Sequential(*modules).double()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    for _ in range(num_steps):
        optimizer.zero_grad()
        loss(net(x)).backward()
        optimizer.step()
    return net


@pytest.fixture(scope="module")
def classifier(digits):
    x, y, _ = digits
    modules = [layers.OrthogonalLinear(64, 32), layers.GroupSort(), layers.OrthogonalLinear(32, 10)]
    return layers.freeze(
        train(modules, x, lambda z: losses.tau_cross_entropy(z, y, tau=10.0)).double()
    )


def is_broken(value, x, radius, *, order=2, num_restarts=10):
    """Whether PGD with restarts finds a point of the ball where the value is negative."""

    def two_classes(y):
        return torch.stack((value(y), torch.zeros(len(y), dtype=y.dtype)), dim=-1)

    label = torch.zeros(len(x), dtype=torch.int64)
    point = attacks.pgd(
        two_classes,
        x,
        radius=radius,
        label=label,
        order=order,
        num_steps=10,
        num_restarts=num_restarts,
    )
    assert bool((attacks.size(point - x, order) <= radius + 1e-12).all())
    return value(point).detach() < -1e-9


def are_radii_broken(model, x, radii, *, order=2):
    """Whether PGD or DeepFool changes the class within the radius, for each input."""
    radii = torch.as_tensor(radii)
    label = attacks.predicted_class(model, x)
    by_pgd = is_broken(lambda y: attacks.margin(model(y), label), x, radii, order=order)
    near = attacks.deepfool(model, x, num_steps=6, num_restarts=4)
    is_fooled = attacks.predicted_class(model, near) != label
    return by_pgd | (is_fooled & (attacks.size(near - x, order) < radii * (1 - 1e-9)))


def test_margin_radius_survives_and_a_wrong_one_does_not(digits, classifier):
    x = digits[2]
    z = classifier(x)
    for radius in (certificates.margin_radius, certificates.fisher_rao_radius):
        assert not are_radii_broken(classifier, x, radius(z, lipschitz_constant=1.0)).any()
    wrong = certificates.margin_radius(z, lipschitz_constant=1.0 / math.sqrt(2.0))
    assert are_radii_broken(classifier, x, wrong).double().mean() > 0.5


def test_pairwise_radius_survives_and_a_wrong_one_does_not(digits):
    x, y, points = digits
    modules = [layers.OrthogonalLinear(64, 32), layers.GroupSort(), nn.Linear(32, 10)]
    net = train(modules, x, lambda z: losses.tau_cross_entropy(z, y, tau=1.0))
    weight = net[2].weight.detach()
    z = net(points).detach()
    radii = certificates.pairwise_radius(z, weight, lipschitz_constant=1.0)
    norm = float(torch.linalg.matrix_norm(weight, 2))
    weaker = certificates.margin_radius(z, lipschitz_constant=norm)
    assert bool((radii >= weaker * (1 - 1e-12)).all())
    assert float((radii / weaker).mean()) > 1.1
    assert not are_radii_broken(net, points, radii).any()
    assert are_radii_broken(net, points, 1.5 * radii).double().mean() > 0.2


def test_binary_radius_survives_and_a_wrong_one_does_not(digits):
    x, y, points = digits
    sign = torch.where(y < 5, -1.0, 1.0).double()
    modules = [layers.OrthogonalLinear(64, 32), layers.GroupSort(), layers.OrthogonalLinear(32, 1)]
    net = train(modules, x, lambda f: losses.hkr(f[..., 0], sign, margin=0.3, weight=10.0))
    model = nn.Sequential(layers.freeze(net), nn.ZeroPad1d((1, 0)))  # logits (0, f)
    radii = certificates.binary_radius(model(points)[:, 1], lipschitz_constant=1.0)
    assert not are_radii_broken(model, points, radii).any()
    assert are_radii_broken(model, points, 1.5 * radii).double().mean() > 0.2


def test_l_inf_radius_survives_and_a_wrong_one_does_not(digits):
    x, y, points = digits
    net = nn.Sequential(nn.Linear(64, 32), layers.GroupSort(), nn.Linear(32, 10))
    for layer in (net[0], net[2]):
        parametrize.register_parametrization(layer, "weight", layers.L1Projection())
    net = train(list(net), x, lambda z: losses.multiclass_hinge(z, y, margin=0.4))
    net = layers.freeze(net, order=INF)
    constant = layers.lipschitz_bound(net, order=INF)
    assert constant <= 1.0
    radii = certificates.l_inf_radius(net(points), lipschitz_constant=constant)
    assert not are_radii_broken(net, points, radii, order=INF).any()
    quarter = 4.0 * radii  # a margin of K r / 2
    assert are_radii_broken(net, points, quarter, order=INF).double().mean() > 0.5


def test_drift_confidence_and_total_variation_survive_and_wrong_ones_do_not(digits, classifier):
    radius = 0.2
    x, constant = digits[2], 6.0
    model = nn.Sequential(classifier, layers.Scaling(constant))
    assert layers.lipschitz_bound(model) <= constant
    z = model(x)
    p = torch.softmax(z, -1)
    top = z.argmax(-1, keepdim=True)
    drift = float(certificates.drift_bound(radius, lipschitz_constant=constant))
    variation = float(certificates.total_variation_bound(radius, lipschitz_constant=constant))
    confidence = certificates.confidence_bound(z, radius, lipschitz_constant=constant)

    def left_of_drift(y, bound=drift):
        return bound - logit_geometry.fisher_rao_distance(z, model(y), check=False)

    def left_of_variation(y, bound=variation):
        return bound - 0.5 * (torch.softmax(model(y), -1) - p).abs().sum(-1)

    def left_of_confidence(y, bound=confidence):
        return torch.softmax(model(y), -1).gather(-1, top)[:, 0] - bound

    for left, wrong in (
        (left_of_drift, 0.9 * drift),
        (left_of_variation, 0.9 * variation),
        (left_of_confidence, confidence + 0.03 * (p.amax(-1) - confidence)),
    ):
        assert not is_broken(left, x, radius, num_restarts=5).any()
        assert is_broken(lambda y, f=left, b=wrong: f(y, b), x, radius, num_restarts=5).any()


def test_what_is_accepted_stays_in_its_class_or_is_rejected(digits, classifier):
    x = digits[2]
    z = classifier(x)
    accepted = certificates.accept(z, 0.3, lipschitz_constant=1.0)
    assert 0.3 < accepted.double().mean() < 1.0
    x, label = x[accepted], z.argmax(-1)[accepted]

    def left(y, radius=0.3):
        return attacks.margin(classifier(y), label) - math.sqrt(2.0) * (0.3 - radius)

    for moved in (0.1, 0.3):  # accepted for 0.3, and hence for 0.3 - moved after a move
        assert not is_broken(lambda y, s=moved: left(y, s), x, moved).any()
        near = attacks.pgd(classifier, x, radius=moved, label=label, num_steps=8)
        left_over = max(0.0, 0.3 - moved - 1e-9)
        assert bool(certificates.accept(classifier(near), left_over, lipschitz_constant=1.0).all())
    assert is_broken(lambda y: left(y, 0.1), x, 0.15).any()


# ---------------------------------------------------------------- certificates in closed form


def test_new_certificates_in_closed_form():
    assert certificates.binary_radius([-3.0, 0.0], lipschitz_constant=2.0).tolist() == [1.5, 0.0]
    assert float(certificates.l_inf_radius([5.0, 1.0, -INF], lipschitz_constant=0.5)) == 4.0
    assert float(certificates.l_inf_radius([5.0, -INF], lipschitz_constant=0.5)) == INF
    w = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    by_pairs = certificates.pairwise_radius
    assert float(by_pairs([2.0, 1.0, 0.0], w, lipschitz_constant=1.0)) == pytest.approx(
        2 / math.sqrt(2), rel=1e-15
    )
    assert float(by_pairs([2.0, 2.0, 0.0], w, lipschitz_constant=1.0)) == 0.0
    assert float(by_pairs([2.0, 1.0, -INF], w, lipschitz_constant=1.0)) == INF
    assert float(by_pairs([2.0], w[:1], lipschitz_constant=1.0)) == INF
    assert certificates.accept([[1.0, 1.0], [1.0, 0.0]], 0.0, lipschitz_constant=1.0).tolist() == [
        False, True,
    ]  # fmt: skip


def test_pairwise_radius_is_exact_for_linear_classifiers(rng):
    weight, bias = rng.normal(size=(5, 7)), rng.normal(size=5)
    x = rng.normal(size=(3, 20, 7))
    z = x @ weight.T + bias
    radii = certificates.pairwise_radius(z, weight, lipschitz_constant=1.0)
    for point, radius in zip(x.reshape(-1, 7), radii.reshape(-1), strict=True):
        k = (weight @ point + bias).argmax()
        gaps = (weight[k] - weight) @ point + bias[k] - bias
        normals = np.linalg.norm(weight[k] - weight, axis=-1)
        expected = min(gaps[j] / normals[j] for j in range(5) if j != k)
        assert radius == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(("dtype", "size"), [(np.float64, 1e-170), (np.float32, 1e-25)])
@pytest.mark.parametrize("library", [np, torch])
def test_pairwise_radius_of_tiny_rows_is_finite(library, dtype, size):
    """Squares of the rows underflow: parallel rows would have an infinite radius."""
    weight = library.asarray(np.array([[size, 0.0], [-size, 0.0]], dtype))
    z = library.asarray(np.array([size, -size], dtype))
    radius = certificates.pairwise_radius(z, weight, lipschitz_constant=1.0)
    assert float(radius) == pytest.approx(1.0, rel=1e-6)


Z = [[3.0, -1.0, 1.0], [1e-9, 0.0, -2.0], [800.0, 0.0, -800.0], [0.25, -INF, 0.0]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("radius", [0.0, 1e-8, 0.3, 2.0, 60.0, 1e3])
def test_confidence_and_total_variation_against_mpmath(lib, dtype, radius):
    z = lib.array(Z, dtype)
    found = certificates.confidence_bound(z, radius, lipschitz_constant=0.7)
    variation = certificates.total_variation_bound(lib.array(radius, dtype), lipschitz_constant=0.7)
    assert lib.owns(found)
    assert lib.dtype_name(found) == dtype
    eps = np.finfo(dtype).eps
    with mpmath.workdps(500):
        shrunk = mpmath.exp(-mpmath.mpf(radius) * mpmath.mpf(0.7) * mpmath.sqrt(2))
        expected = []
        for row in lib.to_numpy(z):
            weights = [mpmath.exp(mpmath.mpf(float(v))) for v in row]
            top = max(weights)
            expected.append(float(top * shrunk / (top * shrunk + mpmath.fsum(weights) - top)))
        bound = float((1 - mpmath.sqrt(shrunk)) / (1 + mpmath.sqrt(shrunk)))
    # The exponent is rounded to eps of its size, below 1000: so many eps are lost in the tail.
    smallest = np.finfo(dtype).tiny
    np.testing.assert_allclose(lib.to_numpy(found), expected, rtol=2e3 * eps, atol=smallest)
    np.testing.assert_allclose(lib.to_numpy(variation), bound, rtol=8 * eps, atol=0)


def lowest_odds(z, radius, num_starts=3):
    """Lower the log-odds of class 0 within a radius of the logits as far as ascent gets.

    The odds are a concave function of the logits, so that each step to the point of the sphere in
    the direction of the gradient lowers them. Starts: z, and its nearest ties.
    """
    lowest = torch.full(z.shape[:1], INF, dtype=z.dtype)
    order = z[:, 1:].argsort(-1, descending=True) + 1
    for place in range(min(num_starts, z.shape[1])):
        step = torch.zeros_like(z)
        if place > 0:
            step.scatter_(1, order[:, place - 1 : place], radius)
        for _ in range(60):
            slope = torch.cat((-torch.ones_like(z[:, :1]), softmax((z + step)[:, 1:])), -1)
            step = radius * slope / slope.norm(dim=-1, keepdim=True)
        moved = z + step
        lowest = torch.minimum(lowest, moved[:, 0] - moved[:, 1:].logsumexp(-1))
    return lowest


def softmax(z):
    return torch.softmax(z, -1)


def predictions(num_classes, spread=3.0, num=100):
    """Logits whose largest is that of class 0."""
    return (spread * torch.randn(num, num_classes, dtype=torch.float64)).sort(descending=True)[0]


@pytest.mark.parametrize("num_classes", [2, 10, 1000])
@pytest.mark.parametrize("radius", [0.3, 3.0])
def test_confidence_under_attacks_on_the_logits(num_classes, radius):
    z = predictions(num_classes)
    bound = certificates.confidence_bound(z, radius, lipschitz_constant=1.0)
    attacked = torch.sigmoid(lowest_odds(z, radius))
    assert bool((bound <= attacked * (1 + 1e-12)).all())
    if num_classes == 2:
        torch.testing.assert_close(bound, attacked, rtol=1e-12, atol=0.0)
    angle = torch.acos(softmax(z)[:, 0].sqrt().clamp(max=1.0))
    angle = angle + 0.5 * certificates.drift_bound(radius, lipschitz_constant=1.0)
    by_drift = torch.cos(angle.clamp(max=0.5 * math.pi)) ** 2
    assert bool((bound >= by_drift * (1 - 1e-12)).all())


def over_distance(radii, model, x, near, order=2):
    """Return certified radii over the distances to inputs of another class."""
    assert bool((attacks.predicted_class(model, near) != attacks.predicted_class(model, x)).all())
    return radii / attacks.size(near - x, order)


def ratio_of_margins():
    z = predictions(10)
    radii = certificates.margin_radius(z, lipschitz_constant=1.0)
    return over_distance(radii, nn.Identity(), z, attacks.deepfool(nn.Identity(), z))


def ratio_of_pairs():
    model = nn.Linear(20, 10, dtype=torch.float64).requires_grad_(False)
    x = 5.0 * torch.randn(100, 20, dtype=torch.float64)
    radii = certificates.pairwise_radius(model(x), model.weight, lipschitz_constant=1.0)
    return over_distance(radii, model, x, attacks.deepfool(model, x))


def ratio_of_one_output():
    model, f = nn.ZeroPad1d((1, 0)), torch.randn(100, 1, dtype=torch.float64)  # logits (0, f)
    radii = certificates.binary_radius(f[:, 0], lipschitz_constant=1.0)
    return over_distance(radii, model, f, attacks.deepfool(model, f))


def ratio_of_maximum_norms():
    z = predictions(10)
    radii = certificates.l_inf_radius(z, lipschitz_constant=1.0)
    near = attacks.pgd(nn.Identity(), z, radius=radii * (1 + 1e-6), order=INF, num_restarts=2)
    return over_distance(radii, nn.Identity(), z, near, order=INF)


def ratio_of_ties(distance, bound, radius=1.0):
    """Return the largest distance reached over the bound: from random logits, and near ties."""
    z = torch.cat((predictions(10), torch.full((40, 10), -40.0, dtype=torch.float64)))
    z[-40:, 0], z[-40:, 1] = 0.0, torch.linspace(0.0, 1.0, 40)

    def left(y):
        return torch.stack((bound - distance(softmax(z), softmax(y)), torch.zeros(len(y))), -1)

    near = attacks.pgd(left, z, radius=radius, num_steps=300, num_restarts=3)
    assert bool((attacks.size(near - z) <= radius + 1e-12).all())
    return (distance(softmax(z), softmax(near)) / bound).max(0, keepdim=True).values


def ratio_of_drifts():
    bound = float(certificates.drift_bound(1.0, lipschitz_constant=1.0))
    return ratio_of_ties(lambda p, q: fisher_rao_distance(p, q, check=False), bound)


def ratio_of_variations():
    bound = float(certificates.total_variation_bound(1.0, lipschitz_constant=1.0))
    return ratio_of_ties(lambda p, q: 0.5 * (p - q).abs().sum(-1), bound)


def ratio_of_confidences(num_classes, radius):
    z = predictions(num_classes)
    bound = certificates.confidence_bound(z, radius, lipschitz_constant=1.0)
    return bound / torch.sigmoid(lowest_odds(z, radius))


def ratio_to_the_boundary(probability):
    z = torch.tensor([[math.log(probability / (1 - probability)), 0.0]], dtype=torch.float64)
    radii = certificates.fisher_rao_radius(z, lipschitz_constant=1.0)
    return over_distance(radii, nn.Identity(), z, attacks.deepfool(nn.Identity(), z))


RATIOS = {
    "`margin_radius`, `accept`": ratio_of_margins,
    "`pairwise_radius`": ratio_of_pairs,
    "`binary_radius`": ratio_of_one_output,
    "`l_inf_radius`": ratio_of_maximum_norms,
    "`drift_bound`": ratio_of_drifts,
    "`total_variation_bound`": ratio_of_variations,
    "`confidence_bound`, 2 classes, $Lr$ = 0.3": lambda: ratio_of_confidences(2, 0.3),
    "`confidence_bound`, 2 classes, $Lr$ = 3": lambda: ratio_of_confidences(2, 3.0),
    "`confidence_bound`, 10 classes, $Lr$ = 0.3": lambda: ratio_of_confidences(10, 0.3),
    "`confidence_bound`, 10 classes, $Lr$ = 3": lambda: ratio_of_confidences(10, 3.0),
    "`confidence_bound`, 1,000 classes, $Lr$ = 0.3": lambda: ratio_of_confidences(1000, 0.3),
    "`confidence_bound`, 1,000 classes, $Lr$ = 3": lambda: ratio_of_confidences(1000, 3.0),
    "`fisher_rao_radius`, $p$ = 0.51": lambda: ratio_to_the_boundary(0.51),
    "`fisher_rao_radius`, $p$ = 0.9": lambda: ratio_to_the_boundary(0.9),
    "`fisher_rao_radius`, $p$ = 0.999": lambda: ratio_to_the_boundary(0.999),
}


@pytest.mark.parametrize("row", RATIOS)
def test_bounds_over_what_attacks_on_the_logits_reach(row):
    """No attack gets past a bound; the table of docs/lipschitz.md says how near they get."""
    ratio = RATIOS[row]()
    line = f"| {row} | {ratio.median():.2f} | {ratio.min():.2f} |"
    print(line)
    assert float(ratio.max()) <= 1.0 + 1e-9
    assert line in (Path(__file__).parent.parent.parent / "docs" / "lipschitz.md").read_text()


def test_confidence_bound_of_the_only_class_and_far_away():
    z = [[10.0, -INF], [1e3, 0.0], [-INF, 5.0]]
    found = certificates.confidence_bound(z, [[0.0], [1e5], [INF]], lipschitz_constant=1.0)
    assert found.tolist() == [[1.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, 1.0]]
    found = certificates.confidence_bound([10.0, 0.0], math.sqrt(2.0), lipschitz_constant=1.0)
    assert float(found) == pytest.approx(0.9996646498695336, rel=1e-14)
    z = torch.tensor([[10.0, -INF], [1e3, 0.0], [3.0, 1.0]], requires_grad=True)
    certificates.confidence_bound(z, 1.0, lipschitz_constant=1.0).sum().backward()
    assert bool(torch.isfinite(z.grad).all())
    q = 1.0 / (1.0 + math.exp(math.sqrt(2.0) - 2.0))
    assert z.grad[2].tolist() == pytest.approx([q * (1 - q), q * (q - 1)], rel=1e-6)


@pytest.mark.parametrize("radius", [0.1, 1.0])
def test_confidence_and_total_variation_are_attained_across_a_tie(radius):
    half = radius / math.sqrt(8.0)
    p = 1 / (1 + math.exp(-2 * half))
    variation = certificates.total_variation_bound(radius, lipschitz_constant=1.0)
    assert float(variation) == pytest.approx(2 * p - 1, rel=1e-14)
    confidence = certificates.confidence_bound([half, -half], radius, lipschitz_constant=1.0)
    assert float(confidence) == pytest.approx(1 - p, rel=1e-14)


def test_coverage_by_counting(rng):
    z, y = rng.normal(size=(200, 4)), rng.integers(4, size=200)
    radii = np.array([0.0, 0.2, 0.9, 50.0])
    found = certificates.coverage(z, y, radii, lipschitz_constant=1.5)
    margins = np.sort(z, axis=-1)
    margins = (margins[:, -1] - margins[:, -2]) / (math.sqrt(2.0) * 1.5)
    for i, radius in enumerate(radii):
        kept = [k for k in range(200) if margins[k] > radius]
        right = sum(z[k].argmax() == y[k] for k in kept)
        assert found.coverage[i] == pytest.approx(len(kept) / 200)
        assert found.certified_accuracy[i] == pytest.approx(right / 200)
        if kept:
            assert found.accuracy[i] == pytest.approx(right / len(kept))
    assert math.isnan(found.accuracy[-1])
    tensors = certificates.coverage(
        torch.from_numpy(z).float(), torch.from_numpy(y), radii.tolist(), lipschitz_constant=1.5
    )
    np.testing.assert_allclose(tensors.accuracy.numpy(), found.accuracy, rtol=1e-6)


@pytest.mark.parametrize("order", [1, 2, INF])
def test_accept_and_coverage_in_each_norm(order, rng):
    # The steepest margin of logits z = (w, -w) x with a bound of 1: that of one feature.
    slope = {1: 0.5, 2: math.sqrt(0.5), INF: 1.0}[order]
    radii = np.array([0.999, 1.001]) * 3.0 / (2.0 * slope)
    z, bound = [1.5, -1.5], {"lipschitz_constant": 1.0, "order": order}
    assert certificates.accept(z, radii, **bound).tolist() == [True, False]
    assert certificates.coverage([z], [0], radii, **bound).coverage.tolist() == [1.0, 0.0]
    single = torch.tensor([z], dtype=torch.float32)
    assert certificates.coverage(single, [0], radii.tolist(), **bound).coverage.tolist() == [
        1.0,
        0.0,
    ]
    # No affine network with that bound loses a class that was accepted.
    weight, b = rng.normal(size=(4, 6)), rng.normal(size=4)
    weight /= np.linalg.norm(weight, order)
    x = rng.normal(size=(50, 6))
    z = x @ weight.T + b
    top = z.argmax(1)
    dual = {1: INF, 2: 2, INF: 1}[order]
    steep = np.linalg.norm(weight[top][:, None] - weight, dual, axis=-1)
    gaps = np.take_along_axis(z, top[:, None], 1) - z
    nearest = np.where(steep > 0.0, gaps / np.where(steep > 0.0, steep, 1.0), INF).min(1)
    radius = np.quantile(nearest, 0.3)
    accepted = certificates.accept(z, radius, **bound)
    assert accepted.any()
    assert (nearest[accepted] > radius).all()


# ---------------------------------------------------------------- probabilities for logits

TAKE_LOGITS = {
    "margin_radius": lambda z: certificates.margin_radius(z, lipschitz_constant=1.0),
    "l_inf_radius": lambda z: certificates.l_inf_radius(z, lipschitz_constant=1.0),
    "fisher_rao_radius": lambda z: certificates.fisher_rao_radius(z, lipschitz_constant=1.0),
    "pairwise_radius": lambda z: certificates.pairwise_radius(
        z, [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], lipschitz_constant=1.0
    ),
    "confidence_bound": lambda z: certificates.confidence_bound(z, 0.1, lipschitz_constant=1.0),
    "accept": lambda z: certificates.accept(z, 0.1, lipschitz_constant=1.0),
    "coverage": lambda z: certificates.coverage(
        z, [0] * len(z), 0.1, lipschitz_constant=1.0
    ),
    "fit_temperature": lambda z: fit_temperature(z, [0] * len(z), throw=False),
    "boundary_distance": boundary_distance,
    "tau_cross_entropy": lambda z: losses.tau_cross_entropy(
        torch.as_tensor(z), torch.zeros(len(z), dtype=torch.int64), tau=1.0
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKE_LOGITS)
@pytest.mark.parametrize("num", [1, 50])
def test_probabilities_in_the_place_of_logits_are_pointed_out(name, num):
    call = TAKE_LOGITS[name]
    p = softmax(3.0 * torch.randn(num, 3, dtype=torch.float64))
    given = [p, p.float(), p.half(), p.bfloat16(), p.bfloat16().float(), p.numpy()]
    given += [p.numpy().astype(np.float16)]
    for z in given:
        with pytest.warns(UserWarning, match="logits holds probabilities") as caught:
            call(z)
        is_direct = name != "tau_cross_entropy"
        assert not is_direct or caught[0].filename == __file__
    # Silent: logits, log-probabilities, one row of many a distribution, classes that are certain.
    for z in (3.0 * p, p.log(), torch.eye(3)[[0] * num], torch.full((num, 3), 1 / 3)):
        call(z)
    call(torch.cat((p, torch.tensor([[2.0, 0.0, 1.0]]))))


# ---------------------------------------------------------------- losses


def mp_mean(values):
    return float(mpmath.fsum(values) / len(values))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("tau", "offset"), [(1.0, 0.0), (0.1, 2.0), (30.0, 0.5)])
def test_offset_cross_entropy_against_mpmath(tau, offset, dtype):
    z, y = torch.randn(12, 4, dtype=dtype), torch.randint(4, (12,))
    tau, offset = (float(torch.tensor(v, dtype=dtype)) for v in (tau, offset))
    found = losses.offset_cross_entropy(z, y, offset=offset, tau=tau)
    with mpmath.workdps(50):
        rows = []
        for row, label in zip(z.tolist(), y.tolist(), strict=True):
            gaps = [mpmath.mpf(v) - mpmath.mpf(row[label]) + offset for v in row]
            others = [mpmath.exp(tau * g) for j, g in enumerate(gaps) if j != label]
            rows.append(mpmath.log1p(mpmath.fsum(others)) / tau)
        expected = mp_mean(rows)
    assert found.item() == pytest.approx(expected, rel=20 * torch.finfo(dtype).eps)


def test_offset_cross_entropy_bounds_the_attacked_one(digits, classifier):
    x, radius = digits[2], 0.2
    y = classifier(x).argmax(-1)
    bound = losses.offset_cross_entropy(classifier(x), y, offset=math.sqrt(2.0) * radius, tau=5.0)
    attacked = attacks.pgd(classifier, x, radius=radius, label=y, num_steps=12)
    attacked = losses.tau_cross_entropy(classifier(attacked), y, tau=5.0)
    clean = losses.tau_cross_entropy(classifier(x), y, tau=5.0)
    assert clean.item() < attacked.item() <= bound.item()
    without = losses.offset_cross_entropy(classifier(x), y, offset=0.0, tau=5.0)
    assert without.item() == clean.item()


@pytest.mark.parametrize("tau", [0.1, 1.0, 50.0])
def test_binary_cross_entropy_against_mpmath(tau):
    f, y = torch.randn(20, dtype=torch.float64) * 3, torch.randint(2, (20,)) * 2 - 1
    found = losses.binary_tau_cross_entropy(f, y, tau=tau)
    with mpmath.workdps(100):
        rows = [
            mpmath.log1p(mpmath.exp(-mpmath.mpf(tau) * b * mpmath.mpf(a))) / tau
            for a, b in zip(f.tolist(), y.tolist(), strict=True)
        ]
        expected = mp_mean(rows)
    assert found.item() == pytest.approx(expected, rel=1e-14)
    z = torch.stack((torch.zeros_like(f), f), dim=-1)
    multi = losses.tau_cross_entropy(z, (y + 1) // 2, tau=tau)
    assert multi.item() == pytest.approx(expected, rel=1e-14)


def test_multiclass_hinge_against_loops():
    z, y = torch.randn(3, 4, 5, dtype=torch.float64), torch.randint(5, (3, 4))
    total = 0.0
    for row, label in zip(z.reshape(-1, 5).tolist(), y.reshape(-1).tolist(), strict=True):
        total += sum(max(0.0, 0.7 - row[label] + v) for j, v in enumerate(row) if j != label)
    assert losses.multiclass_hinge(z, y, margin=0.7).item() == pytest.approx(total / 12, rel=1e-14)


def test_binary_losses_by_hand():
    f = torch.tensor([2.0, 0.5, -1.0, 0.25], dtype=torch.float64)
    y = torch.tensor([1, 1, -1, -1])
    assert losses.kantorovich_rubinstein(f, y).item() == -0.375 - 1.25
    hinge = (0.0 + 0.5 + 0.0 + 1.25) / 4
    assert losses.hkr(f, y, margin=1.0, weight=3.0).item() == -1.625 + 3 * hinge
    assert losses.mean_certifiable_robustness(f, y).item() == -(2.0 + 0.5 + 1.0 - 0.25) / 4


def test_kantorovich_rubinstein_against_the_wasserstein_distance():
    a, b = torch.randn(30, dtype=torch.float64), torch.randn(40, dtype=torch.float64) + 0.7
    points, y = torch.cat((a, b)), torch.cat((-torch.ones(30), torch.ones(40)))
    exact = stats.wasserstein_distance(a.numpy(), b.numpy())
    # The optimal f on a line: its slope is the sign of the difference of the distributions.
    order = points.argsort()
    gaps = points[order].diff()
    below = torch.stack([(y[order] == s).double().cumsum(0) / n for s, n in ((-1, 30), (1, 40))])
    slopes = torch.sign(below[0] - below[1])[:-1]
    f = torch.zeros_like(points)
    f[order[1:]] = (slopes * gaps).cumsum(0)
    assert losses.kantorovich_rubinstein(f, y).item() == pytest.approx(-exact, rel=1e-12)


def test_binary_limit_of_small_tau():
    f, y = torch.randn(9, dtype=torch.float64), torch.tensor([1, -1, 1] * 3)
    found = losses.binary_tau_cross_entropy(f, y, tau=1e-7) - math.log(2.0) / 1e-7
    expected = 0.5 * losses.mean_certifiable_robustness(f, y)
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        lambda f, y: losses.binary_tau_cross_entropy(f, y, tau=3.0),
        losses.kantorovich_rubinstein,
        lambda f, y: losses.hkr(f, y, margin=0.5, weight=2.0),
        losses.mean_certifiable_robustness,
    ],
)
def test_gradients_of_binary_losses(loss):
    f = torch.randn(8, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([1, -1] * 4)
    assert torch.autograd.gradcheck(lambda f: loss(f, y), f)
    batch = torch.randn(3, 8, dtype=torch.float64)
    torch.testing.assert_close(
        torch.vmap(lambda f: loss(f, y))(batch), torch.stack([loss(f, y) for f in batch])
    )
    half = loss(batch[0].to(torch.bfloat16), y)
    assert half.dtype == torch.float32


def test_gradients_of_losses_of_logits():
    z, y = torch.randn(6, 4, dtype=torch.float64, requires_grad=True), torch.randint(4, (6,))
    for loss in (
        lambda z: losses.offset_cross_entropy(z, y, offset=0.5, tau=4.0),
        lambda z: losses.multiclass_hinge(z, y, margin=0.8),
    ):
        assert torch.autograd.gradcheck(loss, z)


# ---------------------------------------------------------------- output layers


HEADS = [(Softmax(), 4), (Arcsine(), 1), (Arcsine(), 3),
         (SphereExponential(), 2), (SphereExponential(), 5)]  # fmt: skip


def sphere_points(head, z):
    """Return 2 sqrt(p), whose Euclidean metric is the Fisher metric."""
    return 2.0 * (0.5 * head(z)).exp()


@pytest.mark.parametrize("name", ["Arcsine", "Softmax", "SphereExponential"])
def test_the_former_name_of_output_layers(name):
    former = importlib.import_module("infogeo.lipschitz").heads
    with pytest.warns(DeprecationWarning, match=rf"use output_layers\.{name}$") as caught:
        found = getattr(former, name)
    assert found is getattr(output_layers, name)
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="use output_layers"):  # of a model that was saved
        kept = pickle.loads(b"cinfogeo.lipschitz.heads\n%b\n." % name.encode())
    assert kept is found
    with pytest.raises(AttributeError, match="has no attribute 'Cosine'"):
        former.Cosine  # noqa: B018


@pytest.mark.parametrize(("head", "num_features"), HEADS)
def test_output_layers_are_1_lipschitz_distributions(head, num_features):
    z, w = torch.randn(2, 2000, num_features, dtype=torch.float64) * 2.0
    w[::2] = z[::2] + 0.01 * w[::2]
    p = head(z).exp()
    torch.testing.assert_close(p.sum(-1), torch.ones(2000, dtype=torch.float64))
    moved = logit_geometry.fisher_rao_distance(head(z), head(w))
    distance = (z - w).norm(dim=-1)
    assert bool((moved <= distance * (1 + 1e-9)).all())
    assert float((moved / distance).max()) > 0.9
    jacobians = torch.vmap(torch.func.jacrev(lambda z: sphere_points(head, z)))(z)
    assert float(torch.linalg.svdvals(jacobians).max()) <= 1 + 1e-9


def test_softmax_head_attains_its_constant():
    z = torch.tensor([[0.5, 0.5, -60.0, -60.0]], dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda z: sphere_points(Softmax(), z))(z[0])
    assert float(torch.linalg.svdvals(jacobian)[0]) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("num_features", [1, 2, 4])
def test_arcsine_head_is_an_isometry(num_features):
    z = torch.randn(200, num_features, dtype=torch.float64)
    jacobians = torch.vmap(torch.func.jacrev(lambda z: sphere_points(Arcsine(), z)))(z)
    identity = torch.eye(num_features, dtype=torch.float64).expand(200, -1, -1)
    torch.testing.assert_close(jacobians.mT @ jacobians, identity, atol=1e-12, rtol=0)


def test_arcsine_head_certifies_with_the_fisher_rao_distance():
    f = torch.linspace(-1.5, 1.5, 31, dtype=torch.float64)[:, None]
    log_p = Arcsine()(f)
    distances = logit_geometry.fisher_rao_distance(log_p[:, None], log_p)
    torch.testing.assert_close(distances, (f - f.T).abs(), atol=1e-12, rtol=1e-12)
    to_undecided = logit_geometry.fisher_rao_distance(log_p, [0.0, 0.0])
    radii = certificates.binary_radius(f[:, 0], lipschitz_constant=1.0)
    torch.testing.assert_close(to_undecided, radii, atol=1e-12, rtol=1e-12)


def test_arcsine_head_is_a_product_of_bernoullis():
    z = torch.tensor([0.3, -0.4, 1.0], dtype=torch.float64)
    yes = [math.sin((math.pi / 2 + v) / 2) ** 2 for v in z.tolist()]
    expected = [
        math.prod(p if bit else 1 - p for p, bit in zip(yes, bits, strict=True))
        for bits in itertools.product([0, 1], repeat=3)
    ]
    np.testing.assert_allclose(Arcsine()(z).exp().numpy(), expected, rtol=1e-14)


def test_sphere_head_is_the_exponential_map():
    z = torch.randn(50, 4, dtype=torch.float64) * 0.3
    v = z - z.mean(-1, keepdim=True)
    distances = logit_geometry.fisher_rao_distance(SphereExponential()(z), [0.0] * 4)
    torch.testing.assert_close(distances, v.norm(dim=-1), atol=1e-12, rtol=1e-12)
    centre = SphereExponential()(torch.full((4,), 3.0, dtype=torch.float64))
    torch.testing.assert_close(centre.exp(), torch.full((4,), 0.25, dtype=torch.float64))
    slopes = torch.func.jacrev(lambda z: sphere_points(SphereExponential(), z))(torch.zeros(4))
    torch.testing.assert_close(torch.linalg.svdvals(slopes), torch.tensor([1.0, 1.0, 1.0, 0.0]),
                               atol=1e-6, rtol=0)  # fmt: skip


@pytest.mark.parametrize("head", [Softmax(), Arcsine(), SphereExponential()])
def test_output_layers_of_integers_and_half_precision(head):
    z = torch.tensor([[1, 0, 0]])
    expected = head(z.double())
    torch.testing.assert_close(head(z), expected.float())
    for dtype in (torch.float16, torch.bfloat16):
        found = head(z.to(dtype))
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), expected, rtol=0.05, atol=0.02)


def test_the_metric_behind_an_isometric_head_is_a_projector():
    net = nn.Sequential(
        layers.OrthogonalLinear(8, 6, dtype=torch.float64),
        layers.GroupSort(),
        layers.OrthogonalLinear(6, 2, dtype=torch.float64),
        Arcsine(),
    )
    matrices = PullbackMetric(net).matrix(0.5 * torch.randn(20, 8, dtype=torch.float64))
    torch.testing.assert_close(matrices @ matrices, matrices, atol=1e-12, rtol=0)
    traces = matrices.diagonal(dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close(traces, torch.full((20,), 2.0, dtype=torch.float64))


# ---------------------------------------------------------------- smoothing


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_smoothed_drift_against_mpmath(lib, dtype):
    radius = lib.array([0.0, 1e-30, 1e-12, 1e-3, 0.3, 2.0, 11.0, INF], dtype)
    found = smoothing.drift_bound(radius, std=0.5)
    assert lib.owns(found)
    with mpmath.workdps(80):
        ratios = [mpmath.mpf(float(r)) * 2 for r in lib.to_numpy(radius)]
        expected = [float(2 * mpmath.acos(mpmath.exp(-(r**2) / 8))) for r in ratios]
    np.testing.assert_allclose(lib.to_numpy(found), expected, rtol=8 * np.finfo(dtype).eps)


@given(
    hnp.arrays(np.float64, 12, elements=st.floats(-3, 3)),
    hnp.arrays(np.int64, 13, elements=st.integers(0, 3)),
    st.floats(-2, 2), st.floats(-2, 2), st.floats(0.2, 2.0),
)  # fmt: skip
def test_smoothed_classifiers_are_lipschitz(cuts, classes, x, y, std):
    """The line cut into pieces, each of some class: probabilities are normal integrals."""
    cuts = np.concatenate([[-INF], np.sort(cuts), [INF]])

    def prediction(x):
        return np.bincount(classes, weights=np.diff(ndtr((cuts - x) / std)), minlength=4)

    affinity = min(1.0, np.sqrt(prediction(x) * prediction(y)).sum())
    bound = float(smoothing.drift_bound(abs(x - y), std=std))
    assert 2 * math.acos(affinity) <= bound + 1e-7
    assert bound <= abs(x - y) / std * (1 + 1e-15)


def test_votes_of_a_linear_classifier():
    w = torch.tensor([0.6, -0.8], dtype=torch.float64)
    x = torch.randn(7, 2, dtype=torch.float64)

    def model(x):
        return torch.stack((torch.zeros(len(x)), x @ w), dim=-1)

    counts = smoothing.votes(
        model, x, std=0.7, num_samples=20_000, generator=torch.Generator().manual_seed(1),
        chunk_size=1000,
    )  # fmt: skip
    assert bool((counts.sum(-1) == 20_000).all())
    expected = ndtr((x @ w).numpy() / 0.7)
    np.testing.assert_allclose(counts[:, 1].numpy() / 20_000, expected, atol=5 * 0.5 / 20_000**0.5)
    again = smoothing.votes(
        model, x, std=0.7, num_samples=20_000, generator=torch.Generator().manual_seed(1),
        chunk_size=1000,
    )  # fmt: skip
    assert torch.equal(again, counts)
    # The distance to the boundary is |w x|, and the certificate all but finds it.
    found = smoothing.certify(counts, std=0.7)
    assert found.radius.dtype == torch.float32
    truth = (x @ w).abs()
    assert bool((found.radius <= truth).all())
    assert bool((found.radius >= truth - 0.2)[truth < 1.0].all())


@pytest.mark.parametrize("confidence", [0.9, 0.999])
def test_certify_against_clopper_and_pearson(confidence):
    counts = np.array([[70, 20, 10], [34, 33, 33], [0, 100, 0]])
    found = smoothing.certify(counts, std=2.0, confidence=confidence)
    assert found.predicted.tolist() == [0, 0, 1]
    for i, k in enumerate((70, 34, 100)):
        test = stats.binomtest(k, 100).proportion_ci(1 - 2 * (1 - confidence) / 3, method="exact")
        assert found.probability[i] == pytest.approx(test.low, rel=1e-9)
        assert found.radius[i] == pytest.approx(2 * max(0.0, stats.norm.ppf(test.low)), rel=1e-9)


def test_certificates_of_samples_hold_as_often_as_they_say(rng):
    for p in ([0.5, 0.5], [0.7, 0.2, 0.1], [0.36, 0.34, 0.3]):
        counts = rng.multinomial(60, p, size=20_000)
        found = smoothing.certify(counts, std=1.0, confidence=0.9)
        wrong = found.radius > np.maximum(stats.norm.ppf(p), 0.0)[found.predicted]
        assert wrong.mean() < 0.1
        distances = 2 * np.arccos(np.minimum(1.0, np.sqrt(counts / 60 * p).sum(-1)))
        bound = smoothing.sampling_bound(60, len(p), confidence=0.9)
        assert (distances > bound).mean() < 0.1


@pytest.mark.parametrize("n", [1, 10, 200])
def test_sampling_bound_of_coins_by_enumeration(n):
    k = np.arange(n + 1)
    for confidence in (0.5, 0.9, 0.999):
        bound = smoothing.sampling_bound(n, 2, confidence=confidence)
        for p in (0.001, 0.1, 0.37, 0.5):
            affinity = np.sqrt(k / n * p) + np.sqrt((1 - k / n) * (1 - p))
            is_far = 2 * np.arccos(np.minimum(affinity, 1.0)) > bound
            assert stats.binom.pmf(k, n, p)[is_far].sum() <= 1 - confidence


@pytest.mark.parametrize("counts", [[[2**25 + 3, 7]], [[2**24, 2**24 + 1, 0]]])
def test_certify_counts_every_vote(counts):
    """In float32, of more than 2^24 votes the last ones are lost, and the class with them."""
    found, exact = (smoothing.certify(c, std=1.0) for c in (torch.tensor(counts), np.array(counts)))
    assert found.predicted.tolist() == exact.predicted.tolist() == [np.argmax(counts)]
    assert found.probability.dtype == torch.float32
    assert found.probability.tolist() == exact.probability.astype(np.float32).tolist()
    assert found.radius.tolist() == exact.radius.astype(np.float32).tolist()


@pytest.mark.parametrize("confidence", [1e-12, 1e-33, 1e-300])
def test_sampling_bound_of_no_confidence(confidence):
    """The root tends to where its equation has slope 0."""
    limit = 2 * math.acos(math.exp(-0.5 / 10))
    found = smoothing.sampling_bound(10, 2, confidence=confidence)
    assert found == pytest.approx(limit, rel=1e-5)


def test_sampling_bound_solves_its_equation():
    for n, c, confidence in ((1000, 10, 0.999), (50, 2, 0.5), (10**7, 1000, 1 - 1e-12)):
        distance = smoothing.sampling_bound(n, c, confidence=confidence)
        with mpmath.workdps(40):
            epsilon = -2 * mpmath.log(mpmath.cos(mpmath.mpf(distance) / 2))
            x = n * epsilon / (c - 1)
            tail = (c - 1) * (1 + mpmath.log(x) - x)
        assert float(tail) == pytest.approx(math.log1p(-confidence), rel=1e-9)


# ---------------------------------------------------------------- bad arguments

F, Y = torch.zeros(4), torch.tensor([1, -1, 1, -1])
LABELS = torch.zeros(4, dtype=torch.int64)
BAD_ARGUMENTS = [
    (lambda: losses.kantorovich_rubinstein(F, torch.tensor([0, 1, 1, 0])), ValueError,
     "y must hold classes -1 and 1: it has the entry 0. Use 2 y - 1 if the classes are 0 and 1."),
    (lambda: losses.kantorovich_rubinstein(F, torch.ones(4)), ValueError,
     "y must have both classes, -1 and 1: all are 1."),
    (lambda: losses.hkr(F[:, None], Y, margin=1.0, weight=1.0), ValueError, "f.squeeze(-1)"),
    (lambda: losses.hkr(F, Y, margin=0.0, weight=1.0), ValueError, "margin must be positive"),
    (lambda: losses.hkr(F, Y, margin=1.0, weight=-1.0), ValueError, "weight must not be negative"),
    (lambda: losses.hkr(F, Y, margin=[1.0, 2.0], weight=1.0), ValueError,
     "margin must be one number: got shape (2,)."),
    (lambda: losses.mean_certifiable_robustness(F.numpy(), Y), TypeError,
     "f must be a torch tensor: got ndarray."),
    (lambda: losses.mean_certifiable_robustness(F + math.nan, Y), ValueError, "f must be finite"),
    (lambda: losses.mean_certifiable_robustness(F[:0], Y[:0]), ValueError, "there must be one"),
    (lambda: losses.offset_cross_entropy(F[:, None], LABELS, offset=-1.0), ValueError,
     "offset must not be negative"),
    (lambda: losses.multiclass_hinge(F[:, None], LABELS + 1, margin=1.0), ValueError,
     "target must hold classes from 0 to 0"),
    (lambda: certificates.binary_radius([math.nan], lipschitz_constant=1.0), ValueError,
     "f must be finite"),
    (lambda: certificates.pairwise_radius([1.0, 2.0], [[1.0], [2.0], [3.0]],
                                          lipschitz_constant=1.0), ValueError,
     "weight must have one row for each of the 2 classes: got shape (3, 1)."),
    (lambda: certificates.accept([1.0, 2.0], -1.0, lipschitz_constant=1.0), ValueError,
     "radius must not be negative"),
    (lambda: certificates.accept([1.0, 2.0], 1.0, lipschitz_constant=1.0, order=3), ValueError,
     "order must be 1, 2 or inf: got 3"),
    (lambda: certificates.coverage([[1.0, 2.0]], [1], 1.0, lipschitz_constant=1.0, order="inf"),
     ValueError, "order must be 1, 2 or inf: got 'inf'"),
    (lambda: certificates.coverage([[1.0, 2.0]] * 2, [1.0, 0.5], 1.0, lipschitz_constant=1.0),
     ValueError, "target must hold classes as integers from 0 on: it has the entry 0.5 (row 1)."),
    (lambda: certificates.coverage([[1.0, 2.0]], [1, 0], 1.0, lipschitz_constant=1.0), ValueError,
     "their shapes are (1, 2) and (2,)."),
    (lambda: certificates.coverage(np.zeros((0, 2)), np.zeros(0, int), 1.0,
                                   lipschitz_constant=1.0), ValueError, "at least one"),
    (lambda: certificates.margin_radius([1.0, 2.0], lipschitz_constant=0.0), ValueError,
     "lipschitz_constant must be positive and finite: it has the entry 0."),
    (lambda: certificates.coverage([[1.0, 2.0]], [2], 1.0, lipschitz_constant=1.0), ValueError,
     "target must hold classes from 0 to 1: it has the entry 2."),
    (lambda: smoothing.votes(nn.Identity(), F[None] + math.nan, std=1.0, num_samples=5),
     ValueError, "x must be finite"),
    (lambda: smoothing.votes(lambda x: x * math.nan, F[None], std=1.0, num_samples=5),
     ValueError, "model must return logits: it returned NaN."),
    (lambda: smoothing.votes(lambda x: (x,), F[None], std=1.0, num_samples=5), TypeError,
     "model must return a tensor of logits: it returned tuple."),
    (lambda: smoothing.votes(lambda x: x[:, :1], F[None], std=1.0, num_samples=5), ValueError,
     "with batch = 5 here and c at least 2: it returned shape (5, 1)."),
    (lambda: smoothing.votes(nn.BatchNorm1d(4), F[None], std=1.0, num_samples=5), ValueError,
     "BatchNorm1d is in training mode. Call model.eval() first."),
    (lambda: smoothing.votes(nn.Identity(), F, std=1.0, num_samples=5), ValueError,
     "x must have shape (batch, *input): its shape is (4,). Use x[None]."),
    (lambda: smoothing.votes(nn.Identity(), F[None], std=0.0, num_samples=5), ValueError,
     "std must be positive: got 0.0."),
    (lambda: smoothing.votes(nn.Identity(), F[None], std=1.0, num_samples=0), ValueError,
     "num_samples must be an integer, at least 1: got 0."),
    (lambda: smoothing.certify([3, -1], std=1.0), ValueError,
     "counts must hold numbers of votes: it has the entry -1."),
    (lambda: smoothing.certify([0, 0], std=1.0), ValueError, "counts must have votes in each row"),
    (lambda: smoothing.certify([math.inf, 1], std=1.0), ValueError,
     "counts must hold numbers of votes: it has the entry inf."),
    (lambda: smoothing.certify(torch.tensor([990, 10]).bfloat16(), std=1.0), ValueError,
     "counts must be exact: in half precision, the entry 992 may have been rounded. Count in"),
    (lambda: smoothing.certify(np.array([4096, 10], np.float16), std=1.0), ValueError,
     "the entry 4096 may have been rounded"),
    (lambda: smoothing.certify([3, 1], std=1.0, confidence=1.0), ValueError,
     "confidence must be between 0 and 1: got 1.0."),
    (lambda: smoothing.sampling_bound(10, 1), ValueError,
     "num_outcomes must be an integer, at least 2: got 1."),
    (lambda: SphereExponential()(torch.ones(3, 1)), ValueError, "z must have one feature"),
    (lambda: Softmax()(np.ones(3)), TypeError,
     "z must be a torch tensor of real features: got float64."),
    (lambda: SphereExponential()(torch.ones(3) + 1j), TypeError, "got torch.complex64."),
    (lambda: Arcsine()(torch.tensor(1.0)), ValueError, "got shape ()."),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_certify_few_votes_in_half_precision(dtype):
    counts = torch.tensor([[200, 10], [3, 1]])
    found, exact = (smoothing.certify(c, std=0.5) for c in (counts.to(dtype), counts.double()))
    torch.testing.assert_close(found.radius, exact.radius.float(), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("call", "error", "message"), BAD_ARGUMENTS)
def test_bad_arguments(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
