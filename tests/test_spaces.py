"""Spaces are accepted as modules, objects and names, wherever an argument is one."""

import importlib
import inspect
import pkgutil
import types

import numpy as np
import pandas as pd
import pytest
import torch

import infogeo
from infogeo import _spaces, logits, multivariate_normal, normal, simplex
from infogeo.interop import frames
from infogeo.interop.distributions import from_distribution
from infogeo.interop.torch import DistanceMeter, FisherRaoLoss, JeffreysLoss
from infogeo.maxent import estimate_frequencies, match_frequencies
from infogeo.mean import frechet_mean
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.neighbors import nearest, pairwise_distance
from infogeo.normal import Normal

Z = np.array([[0.0, 1.0, -2.0], [3.0, 0.0, 0.5], [1.0, 1.0, 1.0]])
T = torch.tensor(Z)


def meter_mean(space):
    meter = DistanceMeter(space=space)
    meter.update(T, T.roll(1, 0))
    return meter.compute().mean


# What each public argument that is a space makes of logits.
USES = {
    ("mean.frechet_mean", "space"): lambda s: frechet_mean(Z, space=s).point,
    ("neighbors.pairwise_distance", "space"): lambda s: pairwise_distance(Z, space=s),
    ("neighbors.nearest", "space"): lambda s: nearest(Z, num_neighbors=1, space=s).distances,
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
    ("interop.torch.FisherRaoLoss", "target_space"): lambda s: FisherRaoLoss(target_space=s)(
        T, T.roll(1, 0)
    ),
    ("interop.torch.JeffreysLoss", "target_space"): lambda s: JeffreysLoss(target_space=s)(
        T, T.roll(1, 0)
    ),
}


def arguments_that_are_spaces():
    for info in pkgutil.walk_packages(infogeo.__path__, "infogeo."):
        if any(part.startswith("_") or part == "geomstats" for part in info.name.split(".")):
            continue
        module = importlib.import_module(info.name)
        for name in getattr(module, "__all__", ()):
            target = getattr(module, name)
            if inspect.isfunction(target) or inspect.isclass(target):
                for argument in inspect.signature(target).parameters:
                    if argument == "space" or argument.endswith("_space"):
                        yield f"{info.name}.{name}".removeprefix("infogeo."), argument


def test_every_argument_that_is_a_space_is_tested_here():
    assert set(arguments_that_are_spaces()) == set(USES)


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
    monkeypatch.setitem(__import__("sys").modules, "space_of_a_user", module)
    p = simplex.from_natural_parameters(Z)
    for space in (module, "space_of_a_user"):
        np.testing.assert_allclose(
            pairwise_distance(p, space=space), 2.0 * pairwise_distance(p), rtol=1e-12
        )


def test_points_know_their_space():
    assert _spaces.of_point(Normal(0.0, 1.0)) is normal
    assert _spaces.of_point(MultivariateNormal(np.zeros(2), np.eye(2))) is multivariate_normal
    assert _spaces.of_point(Z) is None
