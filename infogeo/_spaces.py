"""Spaces: what the package asks of a statistical manifold, and the registry of those it knows.

A space is a module, or an object, whose attributes are those of this table. ``docs/spaces.md``
says each of them in full, and `tests` compare the two. Nothing else in the package knows which
space it is given: the distance of two objects, neighbours, means, files, heads and plots ask it.

Declared:

- ``POINTS``: a `Rule` of the gate for points that are arrays, or the class of points that are
  objects (see `infogeo._points`).
- ``TANGENTS``: the class of the tangent vectors, beside points that are objects.
- ``SPHERE``: the `SphereChart` of a space whose points are distributions over outcomes.
- ``DISTRIBUTIONS``: which distributions of torch and scipy are points, by the names of the
  parameters that make the point: ``{"scipy.stats.poisson": ("mu",)}``; or a `Foreign`.
- ``RAW``: the `RawParameters` that a network may put out, for a head.
- ``ORTHOGONAL``: True if the fields of points are orthogonal coordinates of the Fisher metric.
- ``REFUSED``: verbs that the space lacks for a reason, with the reason.
- ``SAMPLES``, ``estimate``: the rule for samples, and the parameters that are most likely after
  them, ``estimate(samples, xp, *constants)``.
- ``AFFINE``: ``AFFINE(point, shift, factor, check=True)`` is the distribution of shift + factor X,
  in a space that has it.
- ``REFLECTED``: ``REFLECTED(point)`` is the space and the point of c - X, and the number c, in a
  space that has such a number.
- ``LOCATION_SCALE``: in a space of normals, ``LOCATION_SCALE(point)`` is the vector (..., d) and
  the matrix (..., d, d) with which shift + matrix Z is of the distribution, Z being standard
  normal. So `inference` knows the law of estimates.

Required verbs: ``fisher_rao_distance``, and ``inner_product`` or ``norm``. Optional ones:
``dimension``, ``exp_map``, ``log_map``, ``parallel_transport``, ``e_transport``, ``m_transport``,
``kl_divergence``, ``log_density``, ``window``, ``christoffel_symbols``, ``sectional_curvature``.
Derived from these where a space has none of its
own (`verb`): the other one of ``inner_product`` and ``norm``, ``fisher_rao_squared_distance``,
``fisher_rao_geodesic``, ``jeffreys_divergence``.

A file that builds its space as an object calls that object ``SPACE``. Modules are imported when a
space is first asked for.
"""

import functools
import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj

from infogeo import _array
from infogeo._array import Array, Namespace, bad_value, gate

# A new space adds its line here.
_MODULES = {
    "simplex": "infogeo.simplex",
    "logits": "infogeo.logits",
    "normal": "infogeo.normal",
    "multivariate_normal": "infogeo.multivariate_normal",
    "gamma": "infogeo.manifolds.gamma",
    "poisson": "infogeo.manifolds.poisson",
    "dirichlet": "infogeo.manifolds.dirichlet",
    "beta": "infogeo.manifolds.beta",
    "von_mises": "infogeo.manifolds.von_mises",
    "von_mises_fisher": "infogeo.manifolds.von_mises_fisher",
    "wishart": "infogeo.manifolds.wishart",
    "centered_normal": "infogeo.manifolds.centered_normal",
    "matrix_normal": "infogeo.manifolds.matrix_normal",
    "exponential": "infogeo.manifolds.exponential",
    "inverse_wishart": "infogeo.manifolds.inverse_wishart",
    "laplace": "infogeo.manifolds.laplace",
    "bernoulli": "infogeo.manifolds.bernoulli",
    "binomial": "infogeo.manifolds.binomial",
    "cauchy": "infogeo.manifolds.cauchy",
    "frechet": "infogeo.manifolds.frechet",
    "generalized_normal": "infogeo.manifolds.generalized_normal",
    "geometric": "infogeo.manifolds.geometric",
    "gumbel": "infogeo.manifolds.gumbel",
    "gumbel_min": "infogeo.manifolds.gumbel_min",
    "half_normal": "infogeo.manifolds.half_normal",
    "inverse_gaussian": "infogeo.manifolds.inverse_gaussian",
    "log_normal": "infogeo.manifolds.log_normal",
    "logistic": "infogeo.manifolds.logistic",
    "maxwell": "infogeo.manifolds.maxwell",
    "multinomial": "infogeo.manifolds.multinomial",
    "product": "infogeo.manifolds.product",
    "negative_binomial": "infogeo.manifolds.negative_binomial",
    "negative_multinomial": "infogeo.manifolds.negative_multinomial",
    "pareto": "infogeo.manifolds.pareto",
    "rayleigh": "infogeo.manifolds.rayleigh",
    "student_t": "infogeo.manifolds.student_t",
    "weibull": "infogeo.manifolds.weibull",
}


@dataclass(frozen=True)
class SphereChart:
    r"""How points that are predictions lie on the unit sphere, as the vectors sqrt(p).

    Its functions take arrays that the gate has seen, and their namespace.

    Parameters
    ----------
    unit_vectors : callable
        ``unit_vectors(points, xp)``: the vectors sqrt(p), shape (..., c).
    combined : callable
        ``combined(coefficients, points, xp)``: the point whose root is proportional to the sum
        of the roots of points (..., n, c) times coefficients (..., n) that are not negative.
    probabilities, logits : callable
        ``probabilities(points, xp)``, ``logits(points, xp)``: what the points are as these.
    converted : callable
        ``converted(chart, points, xp)``: the points of this space that are those of another chart.
    cooled : callable
        ``cooled(points, temperature)``: points with their logits divided by a number, up to a
        factor of the probabilities.
    excluded : float
        The entry of an outcome of probability 0.
    """

    unit_vectors: Callable[[Array, Namespace], Array]
    combined: Callable[[Array, Array, Namespace], Array]
    probabilities: Callable[[Array, Namespace], Array]
    logits: Callable[[Array, Namespace], Array]
    converted: Callable[["SphereChart", Array, Namespace], Array]
    cooled: Callable[[Array, float], Array]
    excluded: float


@dataclass(frozen=True)
class RawParameters:
    """Parameters of points that may be any real numbers, as a network puts them out.

    Each point has a fixed number of them, and they are orthogonal in the Fisher metric. The
    functions work where the point itself would overflow or underflow: a rate of exp(1000). They
    take tuples with one array for each parameter, and can be pickled.

    Parameters
    ----------
    names : tuple of str
        What the parameters are, in the plural: as messages call them.
    log_lengths : callable
        ``log_lengths(z, xp)``: for each parameter the logarithm of the Fisher length of its unit
        vector.
    distance : callable
        ``distance(z, w, xp)``: the Fisher-Rao distance.
    geodesic : callable
        ``geodesic(z, w, t, xp)``: the parameters on the shortest path, for t of shape (k,), whose
        axis comes first in the result.
    """

    names: tuple[str, ...]
    log_lengths: Callable[[Any, Namespace], tuple[Array, ...]]
    distance: Callable[[Any, Any, Namespace], Array]
    geodesic: Callable[[Any, Any, Array, Namespace], tuple[Array, ...]]


def _as_they_are(*values: Any) -> tuple[Any, ...]:
    return values


@dataclass(frozen=True)
class Foreign:
    """How another library writes the parameters of a distribution.

    Parameters
    ----------
    names : tuple of str
        What it calls them.
    to_fields, from_fields : callable
        The fields of the point from their values, and the way back; both return tuples.
    neutral : dict of float
        What ``loc`` and ``scale`` have to be, where they are none of the names.
    """

    names: tuple[str, ...]
    to_fields: Callable[..., tuple[Any, ...]] = _as_they_are
    from_fields: Callable[..., tuple[Any, ...]] = _as_they_are
    neutral: Mapping[str, float] = field(default_factory=dict)


def foreign(declared: Any) -> Foreign:
    """Return an entry of ``DISTRIBUTIONS`` in full."""
    return declared if isinstance(declared, Foreign) else Foreign(declared)


# ---------------------------------------------------------------- names and objects


def resolve(space: Any, *, argument: str = "space") -> Any:
    """Return the space that a name stands for; modules and objects are returned as they are.

    A name is one of the registry, or the dotted name of any other module that is a space.
    """
    if isinstance(space, str):
        try:
            space = importlib.import_module(_MODULES.get(space, space))
        except (ImportError, ValueError, TypeError):  # no such module; an empty or a relative name
            raise bad_value(
                argument,
                f"be a space or the name of one ({', '.join(_MODULES)})",
                f"got {space!r}",
            ) from None
    return getattr(space, "SPACE", space)


def name_of(space: Any) -> Any:
    """Return the name that stands for a space, to be stored; other objects stand for themselves."""
    if isinstance(space, ModuleType):
        space = space.__name__
    if isinstance(space, str):
        return next((name for name, module in _MODULES.items() if space == module), space)
    return next((name for name, known in _loaded().items() if known is space), space)


def title_of(space: Any) -> str:
    """Return what messages call a space: the name of its module."""
    name = name_of(space)
    return _MODULES.get(name, name) if isinstance(name, str) else type(space).__name__


def _loaded() -> dict[str, Any]:
    """Return the spaces of the registry whose modules have been imported, by their names."""
    modules = {name: sys.modules.get(module) for name, module in _MODULES.items()}
    return {name: getattr(m, "SPACE", m) for name, m in modules.items() if m is not None}


def names() -> tuple[str, ...]:
    """Return the names of the registry."""
    return tuple(_MODULES)


def registered() -> dict[str, Any]:
    """Return all spaces of the registry by their names."""
    return {name: resolve(name) for name in _MODULES}


def of_point(point: Any) -> Any:
    """Return the space whose points are objects of this one's class, None if there is none."""
    for space in _loaded().values():
        declared = getattr(space, "POINTS", None)
        if isinstance(declared, type) and isinstance(point, declared):
            return space
    return None


# ---------------------------------------------------------------- what a space has


def with_distance(space: Any, *, argument: str = "space") -> Any:
    """Return the space of a name, module or object, which has to have a distance."""
    resolved = resolve(space, argument=argument)
    if not callable(getattr(resolved, "fisher_rao_distance", None)):
        raise TypeError(
            f"{argument} must have a function fisher_rao_distance: got {space!r}. Pass a module "
            "such as infogeo.simplex, its name, or an object with that function."
        )
    return resolved


def chart_of(space: Any) -> SphereChart | None:
    """Return the sphere chart of a space of predictions, None for any other space."""
    return getattr(space, "SPHERE", None)


def of_predictions(space: Any, *, argument: str = "space") -> Any:
    """Return the space of a name, module or object, which has to be one of predictions."""
    resolved = resolve(space, argument=argument)
    if chart_of(resolved) is None:
        raise bad_value(argument, "be infogeo.simplex or infogeo.logits", f"got {space!r}")
    return resolved


def converted(points: Any, source: Any, target: Any, *, check: bool, argument: str) -> Array:
    """Return predictions of one space as points of another one."""
    if source is target:
        return points
    xp, points = gate(check, **{argument: (source.POINTS, points)})
    return target.SPHERE.converted(source.SPHERE, points, xp)


# ---------------------------------------------------------------- derived verbs


def verb(space: Any, name: str) -> Callable[..., Any]:
    """Return a verb of a space: its own, or the one that follows from the others.

    Raises
    ------
    TypeError
        A space that has neither.
    """
    own = getattr(space, name, None)
    if own is not None:
        return own
    for needed, derive in _DERIVED.get(name, ()):
        if all(getattr(space, part, None) is not None for part in needed):
            return functools.partial(derive, space)
    reason = getattr(space, "REFUSED", {}).get(name)
    if reason is not None:
        raise TypeError(f"{name} is not known for {title_of(space)}: {reason}")
    ways = [" and ".join(needed) for needed, _ in _DERIVED.get(name, ())]
    raise TypeError(f"space must have {' or '.join([name, *ways])}: got {name_of(space)!r}.")


def _norm(space: Any, p: Any, v: Any, **options: Any) -> Array:
    squared = space.inner_product(p, v, v, **options)
    xp = array_namespace(squared)
    return _array.safe_sqrt(_array.clip(squared, xp, min=0.0), xp)


def _inner_product(space: Any, p: Any, u: Any, v: Any, **options: Any) -> Array:
    plus, minus = (space.norm(p, x, **options) for x in (u + v, u - v))
    return 0.25 * (plus**2 - minus**2)


def _squared_distance(space: Any, p: Any, q: Any, **options: Any) -> Array:
    return space.fisher_rao_distance(p, q, **options) ** 2


def _geodesic(space: Any, p: Any, q: Any, t: Any, **options: Any) -> Any:
    v = space.log_map(p, q, **options)
    t = t if is_array_api_obj(t) else np.asarray(t)
    times = _array.as_leading(t, v, array_namespace(t)) if t.shape else t[()]
    return space.exp_map(p, times * v, **options)


def _jeffreys_divergence(space: Any, p: Any, q: Any, **options: Any) -> Array:
    return space.kl_divergence(p, q, **options) + space.kl_divergence(q, p, **options)


# For each verb the ways to derive it: what a space needs for it, and how.
_DERIVED: dict[str, tuple[tuple[tuple[str, ...], Callable[..., Any]], ...]] = {
    "norm": ((("inner_product",), _norm),),
    "inner_product": ((("norm",), _inner_product),),
    "fisher_rao_squared_distance": ((("fisher_rao_distance",), _squared_distance),),
    "fisher_rao_geodesic": ((("exp_map", "log_map"), _geodesic),),
    "jeffreys_divergence": ((("kl_divergence",), _jeffreys_divergence),),
}
