r"""The contract of a space: laws that its distance, its metric and its maps have to keep.

`check_space` takes any space, one of infogeo or your own, and checks that its functions belong
together. It knows no formula of the space. The laws are those of the table `LAWS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from infogeo import _spaces
from infogeo._array import bad_value
from infogeo._docs import finish
from infogeo._points import fields
from infogeo._result import Result
from infogeo._system.registry import storable

__all__ = ["LAWS", "Report", "check_space"]


@storable("testing.Report")
@dataclass(frozen=True, repr=False)
class Report(Result):
    """What `check_space` has found.

    Parameters
    ----------
    held : tuple of str
        The laws that were checked; all of them hold.
    skipped : dict of str
        The laws that the caller left out, with the reasons.
    absent : dict of str
        The laws about verbs that the space does not have, with what is missing.
    """

    held: tuple[str, ...]
    skipped: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def check_space(
    space: Any,
    draw_point: Callable[[np.random.Generator], Any],
    draw_vector: Callable[[np.random.Generator, Any], Any] | None = None,
    *,
    dimension: int,
    curvature: float | None = None,
    reach: float = 0.1,
    slack: float = 1.0,
    num_draws: int = 3,
    skip: Mapping[str, str] | None = None,
) -> Report:
    r"""Check that the functions of a space keep the laws of a statistical manifold.

    Parameters
    ----------
    space : module, object or name
        The space. Verbs that it lacks are derived where they can be; laws about others are left
        out.
    draw_point : callable
        ``draw_point(rng)``: a point, drawn with a `numpy.random.Generator`; float64 of numpy. The
        points should lie well inside the space.
    draw_vector : callable or None
        ``draw_vector(rng, point)``: a tangent vector at a point, not 0. None: the velocity to
        another drawn point, which needs ``log_map``.
    dimension : int
        The number of parameters of the space.
    curvature : float or None
        The sectional curvature, if it is the same everywhere.
    reach : float
        How far from a drawn point geodesics certainly stay inside the space.
    slack : float
        The tolerances of all laws are multiplied by this: 1 for closed formulas, more for
        distances that are solved for.
    num_draws : int
        How often each law is checked, with other points.
    skip : dict of str or None
        Laws to leave out, by name, each with the reason why the space does not keep it.

    Returns
    -------
    Report
        Which laws hold, and which were not checked, and why.

    Raises
    ------
    AssertionError
        A law that does not hold: its name, what it says, and the numbers.
    ValueError
        A name to skip that is no law, or no reason.

    Notes
    -----
    The laws are listed in ``docs/spaces.md``. Their tolerances are those of closed formulas in
    float64, for vectors of norm 1.

    Examples
    --------
    >>> from infogeo import normal, testing
    >>> def draw(rng):
    ...     return normal.Normal(rng.normal(), np.exp(rng.normal()))
    >>> report = testing.check_space("normal", draw, dimension=2, curvature=-0.5)
    >>> len(report.held), report.absent
    (16, {})
    """
    skip = dict(skip or {})
    for name, reason in skip.items():
        if name not in LAWS or not isinstance(reason, str) or not reason.strip():
            raise bad_value(
                "skip",
                f"give a reason for each law to leave out ({', '.join(LAWS)})",
                f"got {name!r}: {reason!r}",
            )
    space = _spaces.with_distance(space)
    case = _Case(space, draw_point, draw_vector, dimension, curvature, reach, slack)
    held, absent = [], {}
    for name, law in LAWS.items():
        missing = case.missing(law.needs)
        if name in skip:
            continue
        if missing:
            absent[name] = missing
            continue
        for seed in range(num_draws):
            try:
                law.check(case, np.random.default_rng(seed))
            except AssertionError as error:
                raise AssertionError(
                    f"the law {name} does not hold for {_spaces.title_of(space)} "
                    f"(draw {seed}): {law.statement}\n{error}"
                ) from None
        held.append(name)
    return Report(tuple(held), skip, absent)


# ---------------------------------------------------------------- what the laws use


@dataclass(frozen=True)
class _Case:
    """A space under test."""

    space: Any
    draw_point: Callable[[np.random.Generator], Any]
    given_vector: Callable[[np.random.Generator, Any], Any] | None
    dimension: int
    curvature: float | None
    reach: float
    slack: float

    def __getattr__(self, name: str) -> Callable:
        """Return a verb of the space."""
        return _spaces.verb(self.space, name)

    def missing(self, needs: tuple[str, ...]) -> str:
        """Return what the space lacks for a law; empty if nothing."""
        lacking = [name for name in needs if name != "curvature" and not self._has(name)]
        if "curvature" in needs and (self.curvature is None or self.dimension < 2):
            lacking.append("a constant curvature of planes")
        return ", ".join(lacking)

    def _has(self, name: str) -> bool:
        try:
            _spaces.verb(self.space, name)
        except TypeError:
            return False
        return True

    def draw_vector(self, rng: np.random.Generator, p: Any) -> Any:
        """Return a tangent vector of norm 1 at p."""
        if self.given_vector is None:
            v = self.log_map(p, self.draw_point(rng))
        else:
            v = self.given_vector(rng, p)
        return v / self.norm(p, v)

    def coordinates(self, point: Any) -> np.ndarray:
        """Return an array in which two representations of one point agree."""
        if hasattr(point, "event_axes"):
            return np.concatenate([np.ravel(x) for x in fields(point)])
        return self.space.canonical(point) if hasattr(self.space, "canonical") else point

    def stacked(self, points: list[Any]) -> Any:
        """Return a batch of points."""
        cls = type(points[0])
        return cls.stack(points) if hasattr(cls, "stack") else np.stack(points)

    def close(self, seen: Any, expected: Any, *, rtol: float = 0.0, atol: float = 0.0) -> None:
        """Raise unless numbers agree within the slack of this space."""
        np.testing.assert_allclose(seen, expected, rtol=self.slack * rtol, atol=self.slack * atol)


@dataclass(frozen=True)
class Law:
    """Something that holds in every space.

    Parameters
    ----------
    statement : str
        What has to hold.
    check : callable
        ``check(case, rng)`` raises an AssertionError where the law does not hold.
    needs : tuple of str
        The verbs it is about.
    """

    statement: str
    check: Callable[[_Case, np.random.Generator], None]
    needs: tuple[str, ...]


LAWS: dict[str, Law] = {}


def _law(statement: str, *needs: str) -> Callable:
    """Put a function into the table of laws."""

    def register(check: Callable) -> Callable:
        LAWS[check.__name__.removeprefix("_")] = Law(statement, check, needs)
        return check

    return register


# ---------------------------------------------------------------- distance and metric


@_law(
    "The distance is symmetric, 0 from a point to itself, and keeps the triangle inequality.",
    "fisher_rao_distance",
)
def _distance_is_a_metric(case, rng):
    p, q, r = (case.draw_point(rng) for _ in range(3))
    d = case.fisher_rao_distance
    case.close(d(p, q), d(q, p), rtol=1e-14)
    assert d(p, r) <= (d(p, q) + d(q, r)) * (1.0 + 1e-14 * case.slack)
    assert d(p, p) == 0.0


@_law("The squared distance is the square of the distance.", "fisher_rao_squared_distance")
def _squared_distance_is_the_square(case, rng):
    p, q = case.draw_point(rng), case.draw_point(rng)
    d = case.fisher_rao_distance(p, q)
    case.close(case.fisher_rao_squared_distance(p, q), d * d, rtol=1e-14)


@_law("The distances of a batch are those of its points.", "fisher_rao_distance")
def _batches_agree_with_their_points(case, rng):
    p, *others = (case.draw_point(rng) for _ in range(4))
    expected = [case.fisher_rao_distance(p, q) for q in others]
    case.close(case.fisher_rao_distance(p, case.stacked(others)), expected, rtol=1e-13)


@_law("The inner product of u and v is (|u + v|^2 - |u - v|^2) / 4.", "norm", "inner_product")
def _inner_product_polarises_the_norm(case, rng):
    p = case.draw_point(rng)
    u, v = case.draw_vector(rng, p), case.draw_vector(rng, p)
    plus, minus = case.norm(p, u + v) ** 2, case.norm(p, u - v) ** 2
    case.close(case.inner_product(p, u, v), (plus - minus) / 4, rtol=1e-12, atol=1e-14)


@_law(
    "Of one tangent vector more than the dimension, all but one are independent.",
    "dimension",
    "inner_product",
)
def _dimension_is_the_rank_of_the_metric(case, rng):
    p = case.draw_point(rng)
    assert case.space.dimension(p) == case.dimension
    vectors = [case.draw_vector(rng, p) for _ in range(case.dimension + 1)]
    gram = np.array([[float(case.inner_product(p, u, v)) for u in vectors] for v in vectors])
    sizes = np.linalg.eigvalsh(gram)
    assert abs(sizes[0]) < 1e-13 * case.slack * len(sizes) < sizes[1]


@_law("The squared distance to exp(h v) is h^2 <v, v> for small h.", "exp_map", "inner_product")
def _metric_is_the_limit_of_squared_distance(case, rng):
    p = case.draw_point(rng)
    v = case.draw_vector(rng, p)
    h = 1e-4
    squared = case.fisher_rao_squared_distance(p, case.exp_map(p, h * v)) / h**2
    case.close(squared, case.inner_product(p, v, v), rtol=1e-11)


@_law(
    "d(exp tu, exp tv)^2 = t^2 |u - v|^2 - K / 3 t^4 (|u|^2 |v|^2 - <u, v>^2) + O(t^6).",
    "exp_map",
    "curvature",
)
def _curvature_is_what_is_said(case, rng):
    p = case.draw_point(rng)
    u, v = case.draw_vector(rng, p), case.draw_vector(rng, p)
    area = 1.0 - case.inner_product(p, u, v) ** 2
    if area < 0.1:  # nearly parallel: the difference of the two terms has no digits
        return

    def estimate(t: float) -> float:
        ends = [case.exp_map(p, t * x) for x in (u, v)]
        squared = case.fisher_rao_squared_distance(*ends)
        return 3.0 * (t**2 * case.norm(p, u - v) ** 2 - squared) / (t**4 * area)

    t = case.reach / 4
    extrapolated = (4.0 * estimate(t / 2) - estimate(t)) / 3.0
    case.close(extrapolated, case.curvature, atol=1e-4)


# ---------------------------------------------------------------- geodesics


@_law("The velocity to the point that a velocity reaches is that velocity.", "exp_map", "log_map")
def _log_inverts_exp(case, rng):
    p = case.draw_point(rng)
    for length in (1e-8, 1e-3, case.reach):
        v = length * case.draw_vector(rng, p)
        back = case.log_map(p, case.exp_map(p, v))
        case.close(case.norm(p, back - v), 0.0, atol=1e-14)


@_law("The velocity to a point reaches it.", "exp_map", "log_map")
def _exp_inverts_log(case, rng):
    p, q = case.draw_point(rng), case.draw_point(rng)
    reached = case.exp_map(p, case.log_map(p, q))
    case.close(case.coordinates(reached), case.coordinates(q), rtol=1e-11)


@_law("The velocity to a point is as long as the point is far.", "log_map", "norm")
def _norm_of_log_is_distance(case, rng):
    p, q = case.draw_point(rng), case.draw_point(rng)
    d = case.fisher_rao_distance(p, q)
    case.close(case.norm(p, case.log_map(p, q)), d, rtol=1e-13)


@_law(
    "Points at equal steps of t are at equal distances, and the distance grows as t.",
    "fisher_rao_geodesic",
)
def _geodesic_has_constant_speed(case, rng):
    p, q = case.draw_point(rng), case.draw_point(rng)
    d = case.fisher_rao_distance(p, q)
    t = np.linspace(0.0, 1.0, 6)
    points = case.fisher_rao_geodesic(p, q, t)
    case.close(case.fisher_rao_distance(p, points), t * d, rtol=1e-14, atol=4e-15)
    steps = case.fisher_rao_distance(points[1:], points[:-1])
    case.close(steps, d / 5, rtol=1e-13)


@_law(
    "The geodesic at t is what t times the velocity reaches.",
    "fisher_rao_geodesic",
    "exp_map",
    "log_map",
)
def _geodesic_is_exp_of_log(case, rng):
    p, q = case.draw_point(rng), case.draw_point(rng)
    for t in (0.2, 0.9):
        by_exp = case.exp_map(p, t * case.log_map(p, q))
        on_geodesic = case.fisher_rao_geodesic(p, q, t)
        case.close(case.coordinates(by_exp), case.coordinates(on_geodesic), rtol=1e-11)


# ---------------------------------------------------------------- transports and divergences


@_law(
    "Transport keeps inner products, and takes the velocity of the geodesic to that at its end.",
    "parallel_transport",
    "log_map",
)
def _transport_is_an_isometry_along_the_geodesic(case, rng):
    p, q = case.draw_point(rng), case.draw_point(rng)
    u, v = case.draw_vector(rng, p), case.draw_vector(rng, p)
    moved = [case.parallel_transport(p, q, x) for x in (u, v)]
    case.close(case.inner_product(q, *moved), case.inner_product(p, u, v), atol=1e-13)
    arrived = case.parallel_transport(p, q, case.log_map(p, q))
    onwards = -case.log_map(q, p)
    case.close(case.norm(q, arrived - onwards), 0.0, atol=1e-13)


@_law(
    "Transporting u by the e-connection and v by the m-connection keeps their inner product.",
    "e_transport",
    "m_transport",
)
def _e_and_m_transports_are_dual(case, rng):
    p, q = case.draw_point(rng), case.draw_point(rng)
    u, v = case.draw_vector(rng, p), case.draw_vector(rng, p)
    moved = case.e_transport(p, q, u), case.m_transport(p, q, v)
    size = max(1.0, float(case.norm(q, moved[0]) * case.norm(q, moved[1])))
    case.close(case.inner_product(q, *moved), case.inner_product(p, u, v), atol=1e-13 * size)


@_law(
    "The mean of the divergences to exp(v) and exp(-v) is |v|^2 / 2 for small v.",
    "kl_divergence",
    "exp_map",
)
def _kl_is_half_the_squared_distance_to_third_order(case, rng):
    p = case.draw_point(rng)
    h = 1e-3
    v = h * case.draw_vector(rng, p)
    there, back = case.exp_map(p, v), case.exp_map(p, -v)
    mean = 0.5 * (case.kl_divergence(p, there) + case.kl_divergence(p, back))
    case.close(mean, 0.5 * h * h, rtol=1e-4)


@_law(
    "The Jeffreys divergence is the sum of the divergences in the two directions.",
    "kl_divergence",
    "jeffreys_divergence",
)
def _jeffreys_is_the_sum_of_both_divergences(case, rng):
    p, q = case.draw_point(rng), case.draw_point(rng)
    both = case.kl_divergence(p, q) + case.kl_divergence(q, p)
    case.close(case.jeffreys_divergence(p, q), both, rtol=1e-12)


finish(globals())
