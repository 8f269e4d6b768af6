"""Spaces are accepted as modules, objects and names, wherever an argument is one."""

import importlib
import inspect
import pkgutil
import re
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch

import infogeo
from infogeo import _spaces, logits, multivariate_normal, normal, simplex
from infogeo.inference import distance_standard_errors, mean_standard_error, prediction_test
from infogeo.interop import distributions, frames
from infogeo.interop.distributions import from_distribution
from infogeo.interop.torch import DistanceMeter, FisherRaoLoss, JeffreysLoss
from infogeo.interop.torchmetrics import LargestDistance, MeanDistance, RootMeanSquareDistance
from infogeo.maxent import estimate_frequencies, match_frequencies
from infogeo.mean import frechet_mean
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.neighbors import nearest, pairwise_distance, within
from infogeo.normal import Normal
from infogeo.pullback import heads, input_metrics
from infogeo.testing import LAWS, check_space

Z = np.array([[0.0, 1.0, -2.0], [3.0, 0.0, 0.5], [1.0, 1.0, 1.0]])
T = torch.tensor(Z)


def figure_of(metric):
    metric.update(T, -T)
    return metric.compute()


def meter_mean(space):
    meter = DistanceMeter(space=space)
    meter.update(T, T.roll(1, 0))
    return meter.compute().mean


def laws_that_hold(space):
    report = check_space(
        space, lambda rng: rng.normal(size=3), lambda rng, z: rng.normal(size=3), dimension=2
    )
    return np.array(report.held)


# What each public argument that is a space makes of logits.
USES = {
    ("mean.frechet_mean", "space"): lambda s: frechet_mean(Z, space=s).point,
    ("neighbors.pairwise_distance", "space"): lambda s: pairwise_distance(Z, space=s),
    ("neighbors.nearest", "space"): lambda s: nearest(Z, num_neighbors=1, space=s).distances,
    ("neighbors.within", "space"): lambda s: within(Z, radius=3.2, space=s).toarray(),
    ("interop.frames.nearest", "space"): lambda s: frames.nearest(
        pd.DataFrame(Z), num_neighbors=1, space=s
    )["distance"],
    ("inference.prediction_test", "space"): lambda s: prediction_test(Z, Z[:2], space=s).statistic,
    ("inference.mean_standard_error", "space"): lambda s: mean_standard_error(Z, space=s).spread,
    ("inference.distance_standard_errors", "space"): lambda s: (
        distance_standard_errors(Z, [9, 9, 9], space=s).distance
    ),
    ("interop.frames.pairwise_distance", "space"): lambda s: frames.pairwise_distance(
        pd.DataFrame(Z), space=s
    ),
    ("maxent.match_frequencies", "space"): lambda s: (
        match_frequencies(Z, [0.2, 0.3, 0.5], space=s).probabilities
    ),
    ("maxent.estimate_frequencies", "space"): lambda s: (
        estimate_frequencies(Z, [0.2, 0.3, 0.5], space=s).frequencies
    ),
    ("interop.distributions.from_distribution", "space"): lambda s: from_distribution(
        torch.distributions.Categorical(logits=T), space=s
    ),
    ("interop.torch.DistanceMeter", "space"): meter_mean,
    ("interop.torchmetrics.MeanDistance", "space"): lambda s: figure_of(MeanDistance(space=s)),
    ("interop.torchmetrics.RootMeanSquareDistance", "space"): lambda s: figure_of(
        RootMeanSquareDistance(space=s)
    ),
    ("interop.torchmetrics.LargestDistance", "space"): lambda s: figure_of(
        LargestDistance(space=s)
    ),
    ("pullback.heads.of_space", "space"): lambda s: heads.of_space(s, torch.clone).distance(T, -T),
    ("testing.check_space", "space"): laws_that_hold,
    ("interop.torch.FisherRaoLoss", "target_space"): lambda s: FisherRaoLoss(target_space=s)(
        T, T.roll(1, 0)
    ),
    ("interop.torch.JeffreysLoss", "target_space"): lambda s: JeffreysLoss(target_space=s)(
        T, T.roll(1, 0)
    ),
}


def arguments_that_are_spaces():
    for info in pkgutil.walk_packages(infogeo.__path__, "infogeo."):
        # The spaces of `lipschitz.curved` have a curvature and are no sets of distributions.
        others = ("geomstats", "curved")
        if any(part.startswith("_") or part in others for part in info.name.split(".")):
            continue
        module = importlib.import_module(info.name)
        for name in getattr(module, "__all__", ()):
            target = getattr(module, name)
            if inspect.isfunction(target) or inspect.isclass(target):
                for argument in inspect.signature(target).parameters:
                    if argument == "space" or argument.endswith("_space"):
                        yield f"{info.name}.{name}".removeprefix("infogeo."), argument


# Inputs are points that are objects.
OF_POINTS = {("pullback.input_metrics.of_space", "space"): input_metrics.of_space}


def test_every_argument_that_is_a_space_is_tested_here():
    assert set(arguments_that_are_spaces()) == set(USES) | set(OF_POINTS)


@pytest.mark.parametrize("use", OF_POINTS.values())
def test_spaces_of_points_go_by_their_names(use):
    x, v = torch.rand(2, 2, 3), torch.rand(2, 2, 3)
    expected = use(normal).norm(x, v)
    for name in ("normal", "infogeo.normal"):
        assert torch.equal(use(name).norm(x, v), expected)


@pytest.mark.parametrize("use", USES.values(), ids=map(".".join, USES))
def test_names_modules_and_dotted_names_are_one(use):
    expected = np.asarray(use(logits))
    for name in ("logits", "infogeo.logits"):
        np.testing.assert_array_equal(np.asarray(use(name)), expected)
    with pytest.raises(ValueError, match=r"must be .*simplex.*logits.*got 'logit'"):
        use("logit")
    with pytest.raises((TypeError, ValueError), match=r"space must .*got 3|space must .*3 lacks"):
        use(3)


def test_names_stand_for_modules():
    for space in (simplex, logits, normal, multivariate_normal):
        name = space.__name__.removeprefix("infogeo.")
        assert _spaces.name_of(space) == _spaces.name_of(space.__name__) == name
        assert _spaces.resolve(name) is space
    other = object()
    assert _spaces.resolve(other) is _spaces.name_of(other) is other
    for name in ("", ".logits", "no such module"):
        with pytest.raises(ValueError, match="space must be a space or the name of one"):
            _spaces.resolve(name)


def test_other_spaces_of_names_are_asked_for_their_own_distance(monkeypatch):
    """Neither a module of the user's nor one that hands on our declarations takes our geometry."""
    module = types.ModuleType("space_of_a_user")
    module.fisher_rao_distance = lambda p, q: 2.0 * simplex.fisher_rao_distance(p, q)
    module.POINTS = simplex.POINTS
    monkeypatch.setitem(sys.modules, "space_of_a_user", module)
    p = simplex.from_natural_parameters(Z)
    for space in (module, "space_of_a_user"):
        np.testing.assert_allclose(
            pairwise_distance(p, space=space), 2.0 * pairwise_distance(p), rtol=1e-12
        )


def test_points_know_their_space():
    assert _spaces.of_point(Normal(0.0, 1.0)) is normal
    assert _spaces.of_point(MultivariateNormal(np.zeros(2), np.eye(2))) is multivariate_normal
    assert _spaces.of_point(Z) is None


# ---------------------------------------------------------------- a new space, by the page


@pytest.fixture
def newcomer(monkeypatch, kinds_of_its_own):
    """Add the space of the page "Adding a space": its file, and its line in the table."""
    page = Path(infogeo.__file__).parent.parent / "docs" / "adding_a_space.md"
    code = re.search(r"```python\n(.*?)```", page.read_text(), re.DOTALL)[1]
    name = "infogeo.manifolds.power"
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(code, vars(module))
    monkeypatch.setitem(_spaces._MODULES, "power", name)
    distributions._declared.cache_clear()
    yield module
    distributions._declared.cache_clear()


def test_a_space_is_one_file_and_one_line(newcomer, tmp_path):
    a, b = newcomer.Power(2.0), newcomer.Power([4.0, 8.0, 16.0])
    expected = np.log([2.0, 4.0, 8.0])
    np.testing.assert_allclose(infogeo.fisher_rao_distance(a, b), expected, rtol=1e-15)
    np.testing.assert_allclose(infogeo.manifolds.fisher_rao_distance(a, b), expected, rtol=1e-15)
    given = scipy.stats.powerlaw(a=2.0), scipy.stats.powerlaw(4.0)
    np.testing.assert_allclose(infogeo.fisher_rao_distance(*given), np.log(2.0), rtol=1e-15)
    assert from_distribution(given[0], space="power").exponent == 2.0
    with pytest.raises(TypeError, match="a shift has no place in the space"):
        from_distribution(scipy.stats.powerlaw(1.0, 2.0))
    assert nearest(b, space="power", num_neighbors=1).indices[0, 0] == 1
    assert frechet_mean(b, space="power").point.exponent == pytest.approx(8.0, rel=1e-14)
    infogeo.save(b, tmp_path / "b.json")
    np.testing.assert_array_equal(infogeo.load(tmp_path / "b.json").exponent, b.exponent)
    meter = DistanceMeter(space=newcomer)
    assert meter.space == "power"
    middle = infogeo.manifolds.fisher_rao_geodesic(a, b[1], 0.5)
    np.testing.assert_allclose(middle.exponent, 4.0, rtol=1e-15)
    assert newcomer.Power.fit(np.exp([-0.5, -1.5])).exponent == pytest.approx(1.0, rel=1e-14)


def page_tables():
    """Return the first cells of all tables of the page about spaces."""
    text = (Path(infogeo.__file__).parent.parent / "docs" / "spaces.md").read_text()
    rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in text.splitlines() if "|" in line]
    return {name: row for row in rows for name in re.findall(r"`(\w+)", row[0])}


def test_the_page_lists_what_there_is():
    rows = page_tables()
    assert set(_spaces.names()) <= set(rows)
    for name, law in LAWS.items():
        assert rows[name][1].replace("\\", "") == law.statement
    for name, space in _spaces.registered().items():
        assert f"`{_spaces.title_of(space)}`" == rows[name][2], name
    summary = _spaces.__doc__
    for declared in re.findall(r"^- ``(\w+)``:", summary, re.MULTILINE):
        assert declared in rows
    verbs = set(re.findall(r"``([a-z_]+)``", summary)) - {"inner_product", "norm"}
    assert verbs <= set(rows)
    for name in _spaces._DERIVED:
        assert name in rows
