"""Every space keeps the one contract, and the contract notices those that do not."""

from types import SimpleNamespace

import numpy as np
import pytest

from infogeo import _spaces, logits, manifolds, multivariate_normal, normal, simplex, testing
from infogeo.manifolds import (
    beta,
    centered_normal,
    dirichlet,
    gamma,
    inverse_wishart,
    matrix_normal,
    poisson,
    von_mises,
    von_mises_fisher,
    wishart,
)
from infogeo.manifolds._family import Family


def simplex_vector(rng, p):
    v = np.sqrt(p) * rng.normal(size=p.shape)
    return v - p * v.sum()


def multivariate_point(rng):
    root = np.eye(3) + 0.1 * rng.normal(size=(3, 3))  # well conditioned
    return multivariate_normal.MultivariateNormal(rng.normal(size=3), root @ root.T)


def multivariate_vector(rng, p):
    change = rng.normal(size=(3, 3))
    return multivariate_normal.Tangent(rng.normal(size=3), change + change.T)


def matrix_point(rng, kind, *constants):
    return kind(*constants, multivariate_point(rng).cov)


def matrix_vector(rng, module):
    return module.Tangent(multivariate_vector(rng, None).cov)


def direction_point(rng):
    x = rng.normal(size=3)
    return von_mises_fisher.VonMisesFisher(x / np.linalg.norm(x), np.exp(rng.normal()))


def direction_vector(rng, a):
    x = rng.normal(size=3)
    m = a.mean_direction
    return von_mises_fisher.Tangent(x - (m @ x) * m, rng.normal())


# For each space its points, its tangent vectors, and what the contract is told of it.
SPACES = {
    "simplex": (
        lambda rng: rng.dirichlet(np.full(6, 3.0)),
        simplex_vector,
        {"dimension": 5, "curvature": 0.25},
    ),
    "logits": (
        lambda rng: rng.normal(size=6),
        lambda rng, z: rng.normal(size=z.shape),
        {"dimension": 5, "curvature": 0.25},
    ),
    "normal": (
        lambda rng: normal.Normal(rng.normal(), np.exp(0.5 * rng.normal())),
        lambda rng, a: normal.Tangent(*rng.normal(size=2)),
        {"dimension": 2, "curvature": -0.5},
    ),
    "multivariate_normal": (multivariate_point, multivariate_vector, {"dimension": 9}),
    "centered_normal": (
        lambda rng: matrix_point(rng, centered_normal.CenteredNormal),
        lambda rng, a: matrix_vector(rng, centered_normal),
        {"dimension": 6},
    ),
    "matrix_normal": (
        lambda rng: matrix_normal.MatrixNormal(
            multivariate_point(rng).cov[:2, :2], multivariate_point(rng).cov
        ),
        lambda rng, a: matrix_normal.Tangent(
            multivariate_vector(rng, None).cov[:2, :2], multivariate_vector(rng, None).cov
        ),
        {"dimension": 8},
    ),
    "wishart": (
        lambda rng: matrix_point(rng, wishart.Wishart, 5.0),
        lambda rng, a: matrix_vector(rng, wishart),
        {"dimension": 6},
    ),
    "inverse_wishart": (
        lambda rng: matrix_point(rng, inverse_wishart.InverseWishart, 5.0),
        lambda rng, a: matrix_vector(rng, inverse_wishart),
        {"dimension": 6},
    ),
    "von_mises": (
        lambda rng: von_mises.VonMises(rng.uniform(-1.5, 1.5), np.exp(rng.normal())),
        lambda rng, a: von_mises.Tangent(*rng.normal(size=2)),
        {"dimension": 2},
    ),
    "von_mises_fisher": (direction_point, direction_vector, {"dimension": 3}),
    "gamma": (
        lambda rng: gamma.Gamma(*np.exp(rng.normal(size=2))),
        lambda rng, a: gamma.Tangent(*rng.normal(size=2)),
        {"dimension": 2},
    ),
    "poisson": (
        lambda rng: poisson.Poisson(np.exp(rng.normal())),
        lambda rng, a: poisson.Tangent(rng.normal()),
        {"dimension": 1},
    ),
    "dirichlet": (
        lambda rng: dirichlet.Dirichlet(np.exp(rng.normal(size=3))),
        lambda rng, a: dirichlet.Tangent(rng.normal(size=3)),
        {"dimension": 3, "slack": 30.0},
    ),
    "beta": (
        lambda rng: beta.Beta(*np.exp(rng.normal(size=2))),
        lambda rng, a: beta.Tangent(*rng.normal(size=2)),
        {"dimension": 2, "slack": 30.0},
    ),
}
# What a space lacks for a law.
ABSENT = {
    "matrix_normal": {
        "curvature_is_what_is_said": "a constant curvature of planes",
        "e_and_m_transports_are_dual": "e_transport, m_transport",
    },
    "multivariate_normal": {
        "transport_is_an_isometry_along_the_geodesic": "parallel_transport",
        "curvature_is_what_is_said": "a constant curvature of planes",
    },
    **{
        name: {"curvature_is_what_is_said": "a constant curvature of planes"}
        for name in (
            "poisson",
            "dirichlet",
            "beta",
            "gamma",
            "centered_normal",
            "wishart",
            "inverse_wishart",
            "von_mises",
            "von_mises_fisher",
        )
    },
}


def test_every_space_of_the_registry_is_here():
    others = {n for n, s in _spaces.registered().items() if n not in SPACES}
    # Those of `infogeo.manifolds` are in tests/manifolds, test_families.py and test_products.py.
    classes = [_spaces.resolve(name).POINTS for name in others]
    assert all(issubclass(x, Family | manifolds.Product) for x in classes)


@pytest.mark.parametrize("name", SPACES)
def test_contract(name):
    draw_point, draw_vector, known = SPACES[name]
    report = testing.check_space(name, draw_point, draw_vector, num_draws=5, **known)
    assert report.absent == ABSENT.get(name, {})
    assert set(report.held) == set(testing.LAWS) - set(report.absent) - set(report.skipped)


# ---------------------------------------------------------------- broken spaces


def spoilt(verb, change, name="normal"):
    """Return a space with one verb changed."""
    space = _spaces.resolve(name)
    verbs = {attribute: getattr(space, attribute) for attribute in dir(space)}
    own = verbs[verb]
    return SimpleNamespace(**verbs | {verb: lambda *a, **k: change(own(*a, **k))})


def scaled(x):
    return 1.001 * x


def swapped(v):
    return normal.Tangent(1.001 * v.mean, v.std)


BROKEN = {
    "distance_is_a_metric": ("fisher_rao_distance", lambda d: d + 1e-9),
    "squared_distance_is_the_square": ("fisher_rao_squared_distance", scaled),
    "batches_agree_with_their_points": (
        "fisher_rao_distance",
        lambda d: d * (1.0 + np.size(d) / 1e6),
    ),
    "inner_product_polarises_the_norm": ("inner_product", scaled),
    "dimension_is_the_rank_of_the_metric": ("dimension", lambda n: n + 1),
    "metric_is_the_limit_of_squared_distance": ("fisher_rao_squared_distance", scaled),
    "curvature_is_what_is_said": ("fisher_rao_squared_distance", lambda d: d + d * d),
    "log_inverts_exp": ("log_map", swapped),
    "exp_inverts_log": ("log_map", swapped),
    "norm_of_log_is_distance": ("log_map", swapped),
    "geodesic_has_constant_speed": ("fisher_rao_distance", lambda d: d + d * d),
    "geodesic_is_exp_of_log": ("log_map", swapped),
    "transport_is_an_isometry_along_the_geodesic": ("parallel_transport", swapped),
    "e_and_m_transports_are_dual": ("e_transport", swapped),
    "kl_is_half_the_squared_distance_to_third_order": ("kl_divergence", scaled),
    "jeffreys_is_the_sum_of_both_divergences": ("jeffreys_divergence", scaled),
}


def test_every_law_is_broken_here():
    assert set(BROKEN) == set(testing.LAWS)


@pytest.mark.parametrize("law", BROKEN)
def test_a_law_notices_a_space_that_breaks_it(law):
    space = spoilt(*BROKEN[law])
    draw_point, draw_vector, known = SPACES["normal"]
    others = dict.fromkeys(set(testing.LAWS) - {law}, "this test is about one law")
    with pytest.raises(AssertionError, match=f"the law {law} does not hold for SimpleNamespace"):
        testing.check_space(space, draw_point, draw_vector, skip=others, **known)
    testing.check_space("normal", draw_point, draw_vector, skip=others, **known)


def test_laws_are_skipped_with_a_reason():
    draw_point, draw_vector, known = SPACES["normal"]
    broken = spoilt("kl_divergence", scaled)
    skip = {
        "kl_is_half_the_squared_distance_to_third_order": "the divergence is in other units",
        "jeffreys_is_the_sum_of_both_divergences": "so is that one",
    }
    report = testing.check_space(broken, draw_point, draw_vector, skip=skip, **known)
    assert report.skipped == skip
    for name, reason in (("no law", "why not"), ("log_inverts_exp", " ")):
        with pytest.raises(ValueError, match="skip must give a reason for each law"):
            testing.check_space("normal", draw_point, skip={name: reason}, **known)


def test_a_space_of_two_verbs_is_checked_as_far_as_they_go():
    """What follows from distance and norm is derived; the other laws say what is missing."""
    space = SimpleNamespace(
        fisher_rao_distance=lambda x, y: np.linalg.norm(x - y, axis=-1),
        norm=lambda x, v: np.linalg.norm(v, axis=-1),
    )
    report = testing.check_space(
        space,
        lambda rng: rng.normal(size=3),
        lambda rng, x: rng.normal(size=3),
        dimension=3,
        curvature=0.0,
    )
    assert report.held == (
        "distance_is_a_metric",
        "squared_distance_is_the_square",
        "batches_agree_with_their_points",
        "inner_product_polarises_the_norm",
    )
    assert report.absent["dimension_is_the_rank_of_the_metric"] == "dimension"
    assert report.absent["geodesic_is_exp_of_log"] == "fisher_rao_geodesic, exp_map, log_map"


# ---------------------------------------------------------------- isometries


def isometry(name, rng, move_point, move_vector, reach=0.1):
    """Check that a pair of maps, of points and of tangent vectors, changes nothing measured."""
    space, (draw_point, draw_vector, _) = _spaces.resolve(name), SPACES[name]
    p, q = draw_point(rng), draw_point(rng)
    u, v = (x / space.norm(p, x) for x in (draw_vector(rng, p), draw_vector(rng, p)))
    moved_p, moved_q, moved_u, moved_v = (*map(move_point, (p, q)), *map(move_vector, (u, v)))
    np.testing.assert_allclose(
        space.fisher_rao_distance(moved_p, moved_q), space.fisher_rao_distance(p, q), rtol=1e-13
    )
    np.testing.assert_allclose(
        space.inner_product(moved_p, moved_u, moved_v), space.inner_product(p, u, v), atol=1e-13
    )
    reached = space.exp_map(moved_p, reach * moved_v), move_point(space.exp_map(p, reach * v))
    canonical = getattr(space, "canonical", lambda x: x)
    np.testing.assert_allclose(*map(canonical, reached), rtol=1e-12)


def reverse(x):
    return x[::-1]


def split(x):
    """Split the first outcome in two, 3 : 7: a sufficient statistic loses nothing."""
    return np.concatenate([[0.3 * x[0], 0.7 * x[0]], x[1:]])


def split_logits(z):
    return np.concatenate([[z[0] + np.log(0.3), z[0] + np.log(0.7)], z[1:]])


def repeat_first(v):
    return np.concatenate([v[:1], v])


ISOMETRIES = {
    "simplex, permuted": ("simplex", reverse, reverse),
    "simplex, an outcome split": ("simplex", split, split),
    "logits, permuted": ("logits", reverse, reverse),
    "logits, another representative": ("logits", lambda z: z + 3.0, lambda v: v - 7.0),
    "logits, a class split": ("logits", split_logits, repeat_first),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("name", "move_point", "move_vector"), ISOMETRIES.values(), ids=ISOMETRIES)
def test_isometries(name, move_point, move_vector, seed):
    isometry(name, np.random.default_rng(seed), move_point, move_vector)


def test_logits_and_simplex_are_one_manifold(rng):
    z, w = rng.normal(size=(2, 6))
    np.testing.assert_allclose(
        logits.fisher_rao_distance(z, w),
        simplex.fisher_rao_distance(logits.to_simplex(z), logits.to_simplex(w)),
        rtol=1e-13,
    )
