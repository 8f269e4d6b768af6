"""The demo: its numbers agree with independent ones, repeat, and end up in the report."""

import base64
import json
import math
import re

import matplotlib as mpl
import mpmath
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from matplotlib import image as mpl_image  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402

from infogeo.cli import demo  # noqa: E402
from infogeo.cli.demo import _stages as stages  # noqa: E402
from infogeo.plot._style import CLASSES  # noqa: E402
from infogeo.plot.explorer import embed  # noqa: E402

SMALL = demo.Settings(seed=3, num_epochs=3, num_test=150, num_calibration=100)
FIGURES = {
    "certified_accuracy", "pairs", "class_distances", "embedding", "sensitivity", "extremes",
    "spectrum", "beyond_confidence", "loaded_die", "three_digits", "class_frequencies",
}  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return the folder and the results of a short run."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, demo.run(folder, SMALL)


@pytest.fixture(scope="module")
def outcome():
    return stages.measure(SMALL)


# ---------------------------------------------------------------- what is written


def test_all_files_are_there_and_whole(small):
    folder, _ = small
    names = {f"{name}.png" for name in FIGURES} | {"report.html", "results.json"}
    assert {path.name for path in folder.iterdir()} == names
    for name in FIGURES:
        height, width = mpl_image.imread(folder / f"{name}.png").shape[:2]
        assert 500 <= width <= 1200
        assert 300 <= height <= 900


def test_the_report_needs_nothing_but_itself(small):
    folder, _ = small
    text = (folder / "report.html").read_text(encoding="utf-8")
    references = re.findall(r"(?:src|href)\s*=\s*\"([^\"#]+)\"", text)
    assert len(references) == len(FIGURES)
    embedded = set()
    for reference in references:
        head, _, data = reference.partition(",")
        assert head == "data:image/png;base64"
        embedded.add(base64.b64decode(data))
    assert embedded == {(folder / f"{name}.png").read_bytes() for name in FIGURES}
    assert set(re.findall(r"https?://[^\s\"]+", text)) == {"http://www.w3.org/2000/svg"}
    assert re.search(r"\b(nan|inf)\b", re.sub(r"data:[^\"]*", "", text)) is None


def test_the_contents_lead_to_every_section(small):
    text = (small[0] / "report.html").read_text(encoding="utf-8")
    (contents,) = re.findall("<nav.*?</nav>", text, re.DOTALL)
    links = dict(re.findall('<a href="#(.*?)">(.*?)</a>', contents))
    assert links == dict(re.findall('<h2 id="(.*?)">(.*?)</h2>', text))
    assert len(links) == text.count("<h2") == 7


def test_units_and_names_are_typeset(small):
    text = re.sub("<script.*?</script>", "", (small[0] / "report.html").read_text(), flags=re.S)
    assert "rad² per unit²" in text
    assert "<i>M</i><sub>D</sub>" in text
    for raw in ("^2", "M_D", "E_C"):
        assert raw not in text


def test_both_maps_hold_all_images_in_one_palette(small):
    """They stand beside each other, and each number in one is a number in the other."""
    text = (small[0] / "report.html").read_text(encoding="utf-8")
    first, second = (
        json.loads(x) for x in re.findall('application/json">(.*?)</script>', text, re.DOTALL)
    )
    assert first["numbers"] == second["numbers"] == list(range(150))
    assert first["colours"] == second["colours"] == list(CLASSES)
    assert text.count('<div class="explorers">') == 1


def test_an_attack_leaves_no_less_than_is_certified(outcome):
    for key, shares in outcome.attacks.items():
        classifier = outcome.classifiers[key]
        # The certificates say strictly less than a radius; the attack reaches it.
        certified = [classifier.certified_accuracy(1.000001 * r) for r in stages.ATTACK_RADII]
        assert (shares >= certified).all()
        assert (np.diff(shares, prepend=classifier.accuracy) <= 0.0).all()
        assert shares[-1] < classifier.accuracy


def test_results_are_plain_json_and_say_how_they_were_made(small):
    folder, found = small

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    read = json.loads((folder / "results.json").read_text(), parse_constant=refuse)
    assert read == found
    assert read["seed"] == SMALL.seed
    assert read["dtype"] == "float64"
    assert read["versions"]["torch"] == torch.__version__
    assert set(read["versions"]) >= {"infogeo", "python", "numpy", "torch"}
    for network in read["networks"].values():
        assert network["temperature"] > 0.0


def test_the_same_seed_gives_the_same_and_nothing_global_counts_or_changes(
    small, tmp_path, monkeypatch
):
    folder, found = small
    monkeypatch.setitem(mpl.rcParams, "font.size", 23.0)
    threads, figures = torch.get_num_threads(), plt.get_fignums()
    torch.set_num_threads(2)
    try:
        expected = draw_after_seeding()
        seed_global_generators()
        again = demo.run(tmp_path, SMALL)
        assert np.array_equal(draw(), expected)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert not torch.are_deterministic_algorithms_enabled()
    assert mpl.rcParams["font.size"] == 23.0
    assert plt.get_fignums() == figures
    assert without_timings(again) == without_timings(found)
    for name in FIGURES:
        path = f"{name}.png"
        assert (tmp_path / path).read_bytes() == (folder / path).read_bytes()


def seed_global_generators():
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002


def draw():
    return [*torch.rand(3).tolist(), *np.random.random(3)]  # noqa: NPY002


def draw_after_seeding():
    seed_global_generators()
    return draw()


def without_timings(found):
    return {key: value for key, value in found.items() if key != "timings_seconds"}


def test_the_summary_fits_a_terminal_and_says_where_things_are(small):
    folder, found = small
    text = demo.summary(found, folder)
    table, where = text.rsplit("\n\n", 1)
    assert max(map(len, table.splitlines())) <= 84
    assert f"{found['networks']['lipschitz']['accuracy']:.1%}" in table
    for name in ("report.html", "results.json", "*.png"):
        assert str(folder / name) in where
    assert text.isascii() or not str(folder).isascii()


def test_progress_goes_from_stage_to_stage(small, tmp_path, monkeypatch):
    folder, _ = small
    png = (folder / "pairs.png").read_bytes()

    def draw_nothing(outcome, *, progress):
        progress(0.0)
        return dict.fromkeys(FIGURES, png)

    monkeypatch.setattr(demo, "draw_all", draw_nothing)
    calls = []
    few = demo.Settings(num_epochs=2, num_test=60, num_calibration=40)
    demo.run(tmp_path, few, progress=lambda stage, fraction: calls.append((stage, fraction)))
    fractions = [fraction for _, fraction in calls]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert list(dict.fromkeys(stage for stage, _ in calls)) == [
        "training the 1-Lipschitz network",
        "training the ReLU network",
        "distances between predictions",
        "sensitivity of the inputs",
        "C-maximisation",
        "figures and report",
    ]


# ---------------------------------------------------------------- the numbers


def test_the_parts_of_the_data_are_apart_and_balanced(outcome):
    digits = outcome.digits
    parts = (digits.train, digits.calibration, digits.test)
    images = torch.cat([part[0] for part in parts]).flatten(1)
    assert len(images) == 1797
    assert len(torch.unique(images, dim=0)) == 1797
    assert (float(images.min()), float(images.max())) == (0.0, 1.0)
    for _, labels in parts:
        counts = torch.bincount(labels)
        assert counts.max() - counts.min() <= 0.02 * len(labels) + 2


def test_temperatures_are_where_held_out_labels_are_most_likely(outcome):
    images, labels = outcome.digits.calibration
    for classifier in outcome.classifiers.values():
        output = classifier.model(images).detach()

        def loss(temperature, output=output):
            return float(torch.nn.functional.cross_entropy(output / temperature, labels))

        best = loss(classifier.temperature)
        assert all(
            best <= loss(factor * classifier.temperature) for factor in (0.9, 0.99, 1.01, 1.1)
        )


def test_certified_images_stay_right(outcome):
    """Steps of the certified length along the gradient of the margin do not change the class."""
    classifier = outcome.classifiers["lipschitz"]
    assert classifier.lipschitz_bound <= 1.0
    x = outcome.digits.test[0].clone().requires_grad_()
    top = classifier.model(x).topk(2).values
    (gradient,) = torch.autograd.grad((top[:, 0] - top[:, 1]).sum(), x)
    direction = gradient / gradient.flatten(1).norm(dim=1)[:, None, None]
    radii = torch.from_numpy(classifier.certified_radii)[:, None, None]
    moved = classifier.model(x.detach() - 0.999 * radii * direction).argmax(-1)
    right = torch.from_numpy(classifier.is_right)
    assert right.sum() > 100
    assert torch.equal(moved[right], outcome.digits.test[1][right])


def test_certified_accuracy_counts(outcome):
    classifier = outcome.classifiers["lipschitz"]
    assert classifier.certified_accuracy(0.0) == classifier.accuracy
    radius = float(np.median(classifier.certified_radii))
    assert classifier.certified_accuracy(radius) == np.mean(classifier.certified_radii >= radius)


def test_distances_are_those_of_the_probabilities(outcome):
    for key, classifier in outcome.classifiers.items():
        z = classifier.logits
        p = np.exp(z - z.max(-1, keepdims=True))
        roots = np.sqrt(p / p.sum(-1, keepdims=True))
        expected = 2.0 * np.arccos(np.clip(roots @ roots.T, 0.0, 1.0))
        np.testing.assert_allclose(outcome.distances[key].matrix, expected, atol=1e-6)


def test_pairs_are_the_extreme_ones(outcome):
    labels = outcome.digits.test[1].numpy()
    for distances in outcome.distances.values():
        upper = distances.matrix[np.triu_indices(len(labels), 1)]
        assert distances.matrix[distances.nearest[0]] == upper.min()
        assert distances.matrix[distances.farthest[0]] == upper.max()
        i, j = distances.nearest_of_different_digits[0]
        different = labels[:, None] != labels
        assert distances.matrix[i, j] == distances.matrix[different].min()
        for pairs in (distances.nearest, distances.farthest):
            assert len(set(sum(pairs, ()))) == 2 * len(pairs) == 8


def test_class_means_leave_out_an_image_and_itself(outcome):
    labels = outcome.digits.test[1].numpy()
    distances = outcome.distances["relu"]
    for a, b in ((0, 0), (3, 8)):
        values = [
            distances.matrix[i, j]
            for i in np.flatnonzero(labels == a)
            for j in np.flatnonzero(labels == b)
            if i != j
        ]
        assert distances.by_class[a, b] == pytest.approx(np.mean(values), rel=1e-12, abs=0)


def test_points_of_a_plane_are_embedded_exactly(rng):
    points = rng.standard_normal((40, 2))
    matrix = np.linalg.norm(points[:, None] - points, axis=-1)
    embedded = embed(matrix)
    np.testing.assert_allclose(
        np.linalg.norm(embedded[:, None] - embedded, axis=-1), matrix, atol=1e-10
    )
    turned = embed(matrix, start=points)
    np.testing.assert_allclose(turned, points - points.mean(0), atol=1e-10)


def test_no_pair_is_beyond_the_drift_bound(outcome):
    for distances in outcome.distances.values():
        assert distances.num_beyond_drift_bound == 0


def test_sensitivities_are_those_of_the_whole_jacobian(outcome):
    images = outcome.digits.test[0][:20]
    for key, classifier in outcome.classifiers.items():
        found = outcome.sensitivity[key]

        def logits(x, classifier=classifier):
            return classifier.model(x[None])[0] / classifier.temperature

        J = torch.func.vmap(torch.func.jacrev(logits))(images).flatten(2)
        p = torch.softmax(classifier.model(images) / classifier.temperature, -1)
        # diag p - p p' loses the digits of saturated predictions; E_p[(J_k - E J)(J_k - E J)'] with
        # E J taken from differences keeps them.
        centred = ((J[:, :, None] - J[:, None]) * p[:, None, :, None]).sum(2)
        factor = (p.sqrt()[..., None] * centred).detach()
        values = torch.linalg.svdvals(factor) ** 2
        top = values[:, :1].numpy()
        np.testing.assert_allclose(
            found.spectrum.values[:20] / top, values[:, :9].numpy() / top, atol=1e-12
        )
        np.testing.assert_allclose(
            found.random_speeds[:20] ** 2, (factor**2).sum((1, 2)).numpy() / 64, rtol=1e-10
        )


def test_top_directions_are_unit_and_lower_the_predicted_class(outcome):
    images = outcome.digits.test[0]
    for key, classifier in outcome.classifiers.items():
        vectors = torch.from_numpy(outcome.sensitivity[key].spectrum.vectors[:, 0])
        np.testing.assert_allclose(vectors.flatten(1).norm(dim=1), 1.0, rtol=1e-12)
        before = torch.log_softmax(classifier.model(images) / classifier.temperature, -1)
        after = torch.log_softmax(
            classifier.model(images + 1e-4 * vectors) / classifier.temperature, -1
        )
        predicted = before.argmax(-1, keepdim=True)
        change = (after - before).gather(-1, predicted)
        assert float((change < 0.0).double().mean()) == 1.0


def test_the_rank_and_the_bound_hold(outcome):
    for found in outcome.sensitivity.values():
        assert found.ranks.max() <= 9
        assert found.dense_eigenvalues.shape == (64,)
        assert np.abs(found.dense_eigenvalues[9:]).max() < 1e-13 * found.dense_eigenvalues[0]
        assert found.spectrum.values.max() <= found.eigenvalue_bound * (1.0 + 1e-12)
        np.testing.assert_allclose(found.step_ratios, 1.0, atol=1e-3)


def test_the_die_is_the_published_one(outcome):
    die = outcome.maximised.die
    with mpmath.workdps(30):
        theta = mpmath.findroot(
            lambda t: sum((y - mpmath.mpf("4.5")) * mpmath.exp(t * y) for y in range(1, 7)), 0.4
        )
        weight = [mpmath.exp(theta * y) for y in range(1, 7)]
        exact = np.array([float(w / sum(weight)) for w in weight])
    np.testing.assert_allclose(die.projection.probabilities, exact, rtol=1e-12)
    np.testing.assert_array_equal(np.round(exact, 5), stages.JAYNES_DIE)
    assert die.theta == pytest.approx(float(theta), rel=1e-14, abs=0)
    assert die.theta_error < 1e-12
    assert die.published_error < 0.5e-5


def test_the_three_digits_meet_the_constraint_and_pythagoras(outcome):
    three = outcome.maximised.three_digits
    best = three.projection.probabilities
    assert list(stages.CLOSED_LOOPS[three.digits]) == [0.0, 1.0, 2.0]
    assert best @ three.loops == pytest.approx(three.target, abs=1e-12)
    np.testing.assert_allclose(three.mixture_points @ three.loops, three.target, atol=1e-12)
    np.testing.assert_allclose(three.mixture_points.sum(-1), 1.0, rtol=1e-12)
    assert three.mixture_points[[0, -1]].min(axis=1) == pytest.approx([0.0, 0.0], abs=1e-15)
    tilts = np.log(three.family_points / three.prediction)
    np.testing.assert_allclose(  # linear in the number of loops
        tilts[:, 2] - tilts[:, 1], tilts[:, 1] - tilts[:, 0], atol=1e-9
    )
    assert three.pythagorean_error < 1e-11
    terms = three.divergences
    assert terms["KL(p, q)"] == pytest.approx(terms["KL(p, p*)"] + terms["KL(p*, q)"], abs=1e-12)
    assert min(terms.values()) > 0.01


def test_known_frequencies_bring_the_truth_nearer(outcome):
    known = outcome.maximised.frequencies
    best = known.projection.probabilities
    even, loops = [0, 2, 4, 6, 8], [0, 6, 8, 9]
    assert best[even].sum() == pytest.approx(known.truth[even].sum(), abs=1e-12)
    assert best[loops].sum() == pytest.approx(known.truth[loops].sum(), abs=1e-12)
    assert list(known.targets.values()) == pytest.approx(
        [known.truth[even].sum(), known.truth[loops].sum()]
    )
    terms = known.divergences
    assert terms["KL(p, p*)"] < terms["KL(p, q)"]
    assert known.pythagorean_error < 1e-12


# ---------------------------------------------------------------- the whole


@pytest.mark.slow
@pytest.mark.campaign
def test_the_whole_demo(tmp_path):
    found = demo.run(tmp_path)
    lipschitz, relu = (found["networks"][key] for key in ("lipschitz", "relu"))
    assert lipschitz["accuracy"] >= 0.96
    assert relu["accuracy"] >= 0.95
    assert 0.999 <= lipschitz["lipschitz_bound"] <= 1.0
    assert lipschitz["certified_accuracy"]["0.1"] >= 0.9
    for network in (lipschitz, relu):
        sensitivity = network["sensitivity"]
        assert sensitivity["largest_rank"] <= 9
        assert sensitivity["tenth_eigenvalue_over_first"] < 1e-13
        assert sensitivity["largest_eigenvalue"] <= sensitivity["eigenvalue_bound"] * (1 + 1e-12)
        assert network["distances"]["pairs_beyond_the_drift_bound"] == 0
        assert sensitivity["largest_error_of_a_foretold_step"] < 1e-3
    bound = (lipschitz["lipschitz_bound"] / lipschitz["temperature"]) ** 2 / 2.0
    assert lipschitz["sensitivity"]["eigenvalue_bound"] == pytest.approx(bound, rel=1e-12, abs=0)
    assert found["three_digits"]["pythagorean_error"] < 1e-11
    assert found["class_frequencies"]["pythagorean_error"] < 1e-12
    assert math.isclose(found["loaded_die"]["entropy"], 1.61358, abs_tol=0.5e-5)
