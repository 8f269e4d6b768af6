"""One distance picks the space; what it does not know it lists."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.stats
import torch
from torch import distributions

import infogeo
from infogeo import logits, multivariate_normal, normal, simplex
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal

P, Q = [0.2, 0.3, 0.5], [0.6, 0.4, 0.0]


def tensor(x):
    return torch.tensor(x, dtype=torch.float64)


@pytest.mark.parametrize("make", [list, np.array, tensor])
def test_arrays_are_probabilities(make):
    p, q = make(P), make(Q)
    assert infogeo.fisher_rao_distance(p, q) == simplex.fisher_rao_distance(p, q)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (Normal(0.0, 1.0), Normal(1.0, 2.0), "normal"),
        (Normal(0.0, 1.0), scipy.stats.norm(1.0, 2.0), "normal"),
        (scipy.stats.norm(loc=0.0), scipy.stats.norm(1.0, scale=2.0), "normal"),
        (
            distributions.Normal(tensor(0.0), tensor(1.0)),
            distributions.Normal(tensor(1.0), tensor(2.0)),
            "normal",
        ),
        (
            scipy.stats.multivariate_normal([0.0, 0.0], np.eye(2)),
            MultivariateNormal([1.0, 0.0], [[2.0, 0.5], [0.5, 1.0]]),
            "multivariate",
        ),
        (scipy.stats.bernoulli(0.3), scipy.stats.bernoulli(p=0.9), "bernoulli"),
        (distributions.Bernoulli(tensor(0.3)), distributions.Bernoulli(tensor(0.9)), "bernoulli"),
        (scipy.stats.bernoulli(0.3), [0.1, 0.9], "bernoulli"),
        (
            distributions.Categorical(probs=tensor(P)),
            distributions.Categorical(logits=tensor([0.1, -3.0, 0.4])),
            "categorical",
        ),
    ],
)
def test_distributions_go_to_their_space(a, b, expected):
    closed = {
        "normal": normal.fisher_rao_distance(Normal(0.0, 1.0), Normal(1.0, 2.0)),
        "multivariate": multivariate_normal.fisher_rao_distance(
            MultivariateNormal([0.0, 0.0], np.eye(2)),
            MultivariateNormal([1.0, 0.0], [[2.0, 0.5], [0.5, 1.0]]),
        ),
        "bernoulli": 2.0 * (np.arcsin(np.sqrt(0.9)) - np.arcsin(np.sqrt(0.3))),
        "categorical": simplex.fisher_rao_distance(P, logits.to_simplex([0.1, -3.0, 0.4])),
    }[expected]
    np.testing.assert_allclose(float(infogeo.fisher_rao_distance(a, b)), closed, rtol=1e-13)


def test_categoricals_made_from_logits_keep_what_probabilities_lose():
    """exp(-800) is 0 in float64; the logits still know how far apart the two are."""
    z, w = tensor([0.0, -700.0, -700.0]), tensor([0.0, -700.0 + 1e-9, -700.0])
    d = infogeo.fisher_rao_distance(
        distributions.Categorical(logits=z), distributions.Categorical(logits=w)
    )
    assert d > 0.0
    np.testing.assert_allclose(float(d), np.exp(-350.0) * 1e-9, rtol=1e-3)


def test_independent_components_are_one_joint_normal(rng):
    mean, std = torch.tensor(rng.standard_normal((2, 4, 3)))
    std = std.exp().requires_grad_()
    a = distributions.Independent(distributions.Normal(mean, std), 1)
    b = distributions.MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    d = infogeo.fisher_rao_distance(a, b)
    assert d.shape == (4,)
    joint = MultivariateNormal(mean.numpy(), np.stack([np.diag(s) for s in std.detach() ** 2]))
    other = MultivariateNormal(np.zeros(3), np.eye(3))
    expected = multivariate_normal.fisher_rao_distance(joint, other)
    np.testing.assert_allclose(d.detach(), expected, rtol=1e-12)
    inside = normal.diagonal_fisher_rao_distance(
        Normal(mean.numpy(), std.detach().numpy()), Normal(np.zeros(3), np.ones(3))
    )
    assert np.all(expected <= inside)
    d.sum().backward()
    assert torch.isfinite(std.grad).all()


def test_frames_are_compared_by_names_and_keep_their_index():
    a = pd.DataFrame([P, Q], columns=list("xyz"), index=["one", "two"])
    d = infogeo.fisher_rao_distance(a, a[["z", "x", "y"]].iloc[::-1])
    assert list(d.index) == ["one", "two"]
    assert (d == 0.0).all()
    assert isinstance(infogeo.fisher_rao_distance(pl.from_pandas(a), pl.from_pandas(a)), pl.Series)


def test_series_are_compared_by_names():
    p, q = pd.Series(P, index=list("xyz")), pd.Series(Q, index=list("xyz"))
    expected = simplex.fisher_rao_distance(P, Q)
    assert infogeo.fisher_rao_distance(p, q[["z", "x", "y"]]) == expected
    frame = pd.DataFrame([P, Q], columns=list("zyx"), index=["one", "two"])
    d = infogeo.fisher_rao_distance(p, frame)
    assert list(d.index) == ["one", "two"]
    np.testing.assert_array_equal(d, simplex.fisher_rao_distance(P[::-1], [P, Q]))
    assert infogeo.fisher_rao_distance(pl.Series(P), pl.Series(Q)) == expected


class Derived(distributions.Categorical):
    pass


class Masked(distributions.Categorical):
    """Mends the probabilities that torch has made; the first ones stay its parameter."""

    def __init__(self, probs, mask):
        super().__init__(probs=probs)
        kept = self.probs * mask
        self.probs = kept / kept.sum(-1, keepdim=True)


@pytest.mark.parametrize(
    ("a", "expected"),
    [
        (Derived(probs=tensor(P)), P),
        (Derived(logits=tensor(P).log()), P),
        (Masked(tensor(P), tensor([1.0, 1.0, 0.0])), [0.4, 0.6, 0.0]),
    ],
)
@pytest.mark.parametrize("cls", [Derived, distributions.Categorical])
def test_classes_that_users_derive_from_those_of_torch(a, expected, cls):
    d = infogeo.fisher_rao_distance(a, cls(probs=tensor(Q)))
    np.testing.assert_allclose(float(d), simplex.fisher_rao_distance(expected, Q), rtol=1e-14)


def test_masked_classes_stay_at_zero():
    """torch clips zeros when it makes logits of probabilities."""
    left, right = (Masked(tensor(P), tensor(mask)) for mask in ([1.0, 0, 0], [0.0, 1, 1]))
    assert float(infogeo.fisher_rao_distance(left, right)) == np.pi


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (Normal(0.0, 1.0), P, "of one kind: got Normal .* and list .*Known are two arrays"),
        (Normal(0.0, 1.0), MultivariateNormal([0.0], [[1.0]]), "of one kind"),
        (scipy.stats.triang(0.2), scipy.stats.triang(0.3), "must be one of these"),
        (
            distributions.Kumaraswamy(1.0, 1.0),
            distributions.Kumaraswamy(2.0, 1.0),
            "must be one of these",
        ),
        ("a", P, "must be an array"),
        (pd.DataFrame([P]), np.array([P]), "must be a data frame"),
        (pd.Series(P), P, "must be a data frame"),
        (np.array(P), tensor(P), "same library"),
    ],
)
def test_unknown_pairs_say_what_is_known(a, b, message):
    with pytest.raises(TypeError, match=message):
        infogeo.fisher_rao_distance(a, b)


def test_values_are_checked_unless_told_otherwise():
    with pytest.raises(ValueError, match=r"largest \|sum - 1\|"):
        infogeo.fisher_rao_distance([0.5, 0.6], [0.5, 0.5])
    assert np.isfinite(infogeo.fisher_rao_distance([0.5, 0.6], [0.5, 0.5], check=False))
