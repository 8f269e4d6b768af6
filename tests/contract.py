"""One contract for every space: what makes exp, log, distance and metric belong together.

A space is described by a `Space`; `test_contract.py` runs every check on each of them. Nothing here
knows a formula of the space: only that its functions must agree with one another.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Space:
    """A space under test: its verbs, how to draw from it, and its curvature if it is constant."""

    verbs: Any
    draw_point: Callable[[np.random.Generator], Any]  # an array, or an object made of arrays
    draw_vector: Callable[[np.random.Generator, Any], Any]  # of Fisher norm 1
    curvature: float | None
    reach: float  # how far from a drawn point the geodesics certainly stay inside

    def coordinates(self, point):
        """Return an array in which two representations of one point agree."""
        if dataclasses.is_dataclass(point):
            return np.concatenate(
                [np.ravel(field) for field in map(vars(point).get, point.event_axes)]
            )
        return self.verbs.canonical(point) if hasattr(self.verbs, "canonical") else point


def check_log_inverts_exp(space, rng):
    p = space.draw_point(rng)
    for length in (1e-8, 1e-3, space.reach):
        v = length * space.draw_vector(rng, p)
        back = space.verbs.log_map(p, space.verbs.exp_map(p, v))
        np.testing.assert_allclose(space.verbs.norm(p, back - v), 0.0, atol=1e-14)


def check_exp_inverts_log(space, rng):
    p, q = space.draw_point(rng), space.draw_point(rng)
    reached = space.verbs.exp_map(p, space.verbs.log_map(p, q))
    np.testing.assert_allclose(space.coordinates(reached), space.coordinates(q), rtol=1e-11)


def check_norm_of_log_is_distance(space, rng):
    p, q = space.draw_point(rng), space.draw_point(rng)
    d = space.verbs.fisher_rao_distance(p, q)
    np.testing.assert_allclose(space.verbs.norm(p, space.verbs.log_map(p, q)), d, rtol=1e-13)
    np.testing.assert_allclose(space.verbs.fisher_rao_squared_distance(p, q), d * d, rtol=1e-14)


def check_geodesic_has_constant_speed(space, rng):
    p, q = space.draw_point(rng), space.draw_point(rng)
    d = space.verbs.fisher_rao_distance(p, q)
    t = np.linspace(0.0, 1.0, 6)
    points = space.verbs.fisher_rao_geodesic(p, q, t)
    np.testing.assert_allclose(space.verbs.fisher_rao_distance(p, points), t * d, atol=2e-15)
    steps = space.verbs.fisher_rao_distance(points[1:], points[:-1])
    np.testing.assert_allclose(steps, d / 5, rtol=1e-13)


def check_geodesic_is_exp_of_log(space, rng):
    p, q = space.draw_point(rng), space.draw_point(rng)
    for t in (0.2, 0.9):
        by_exp = space.verbs.exp_map(p, t * space.verbs.log_map(p, q))
        on_geodesic = space.verbs.fisher_rao_geodesic(p, q, t)
        np.testing.assert_allclose(
            space.coordinates(by_exp), space.coordinates(on_geodesic), rtol=1e-11
        )


def check_metric_is_the_limit_of_squared_distance(space, rng):
    p = space.draw_point(rng)
    v = space.draw_vector(rng, p)
    h = 1e-4
    squared = space.verbs.fisher_rao_squared_distance(p, space.verbs.exp_map(p, h * v)) / h**2
    np.testing.assert_allclose(squared, space.verbs.inner_product(p, v, v), rtol=1e-11)


def check_inner_product_polarises_the_norm(space, rng):
    p = space.draw_point(rng)
    u, v = space.draw_vector(rng, p), space.draw_vector(rng, p)
    plus, minus = space.verbs.norm(p, u + v) ** 2, space.verbs.norm(p, u - v) ** 2
    np.testing.assert_allclose(
        space.verbs.inner_product(p, u, v), (plus - minus) / 4, rtol=1e-12, atol=1e-14
    )


def check_transport_is_an_isometry_along_the_geodesic(space, rng):
    p, q = space.draw_point(rng), space.draw_point(rng)
    u, v = space.draw_vector(rng, p), space.draw_vector(rng, p)
    moved = [space.verbs.parallel_transport(p, q, x) for x in (u, v)]
    np.testing.assert_allclose(
        space.verbs.inner_product(q, *moved), space.verbs.inner_product(p, u, v), atol=1e-13
    )
    arrived = space.verbs.parallel_transport(p, q, space.verbs.log_map(p, q))
    onwards = -space.verbs.log_map(q, p)
    np.testing.assert_allclose(space.verbs.norm(q, arrived - onwards), 0.0, atol=1e-13)


def check_e_and_m_transports_are_dual(space, rng):
    p, q = space.draw_point(rng), space.draw_point(rng)
    u, v = space.draw_vector(rng, p), space.draw_vector(rng, p)
    moved = space.verbs.e_transport(p, q, u), space.verbs.m_transport(p, q, v)
    np.testing.assert_allclose(
        space.verbs.inner_product(q, *moved), space.verbs.inner_product(p, u, v), atol=1e-13
    )


def check_curvature(space, rng):
    """d(exp tu, exp tv)^2 = t^2 |u - v|^2 - K / 3 t^4 (|u|^2 |v|^2 - <u, v>^2) + O(t^6)."""
    p = space.draw_point(rng)
    u, v = space.draw_vector(rng, p), space.draw_vector(rng, p)
    area = 1.0 - space.verbs.inner_product(p, u, v) ** 2

    def estimate(t):
        ends = [space.verbs.exp_map(p, t * x) for x in (u, v)]
        squared = space.verbs.fisher_rao_squared_distance(*ends)
        return 3.0 * (t**2 * space.verbs.norm(p, u - v) ** 2 - squared) / (t**4 * area)

    t = space.reach / 4
    extrapolated = (4.0 * estimate(t / 2) - estimate(t)) / 3.0
    np.testing.assert_allclose(extrapolated, space.curvature, rtol=0, atol=1e-4)


def check_distance_is_symmetric_and_triangular(space, rng):
    p, q, r = (space.draw_point(rng) for _ in range(3))
    d = space.verbs.fisher_rao_distance
    np.testing.assert_allclose(d(p, q), d(q, p), rtol=1e-14)
    assert d(p, r) <= d(p, q) + d(q, r)
    assert d(p, p) == 0.0


def check_kl_is_half_the_squared_distance_to_third_order(space, rng):
    p = space.draw_point(rng)
    h = 1e-3
    v = h * space.draw_vector(rng, p)
    there, back = space.verbs.exp_map(p, v), space.verbs.exp_map(p, -v)
    mean_kl = 0.5 * (space.verbs.kl_divergence(p, there) + space.verbs.kl_divergence(p, back))
    np.testing.assert_allclose(mean_kl, 0.5 * h * h, rtol=1e-4)


def isometry(space, rng, move):
    """Check that a pair of maps, of points and of tangent vectors, changes nothing measured."""
    p, q = space.draw_point(rng), space.draw_point(rng)
    u, v = space.draw_vector(rng, p), space.draw_vector(rng, p)
    move_point, move_vector = move
    moved_p, moved_q, moved_u, moved_v = (
        *map(move_point, (p, q)),
        *map(move_vector, (u, v)),
    )
    verbs = space.verbs
    np.testing.assert_allclose(
        verbs.fisher_rao_distance(moved_p, moved_q), verbs.fisher_rao_distance(p, q), rtol=1e-13
    )
    np.testing.assert_allclose(
        verbs.inner_product(moved_p, moved_u, moved_v), verbs.inner_product(p, u, v), atol=1e-13
    )
    np.testing.assert_allclose(
        space.coordinates(verbs.exp_map(moved_p, space.reach * moved_v)),
        space.coordinates(move_point(verbs.exp_map(p, space.reach * v))),
        rtol=1e-12,
    )


CHECKS = [check for name, check in sorted(globals().items()) if name.startswith("check_")]
