r"""Independent distributions of several families at once: products of spaces.

A point is a `Product`, of one point in each of its spaces. Squared distances, inner products and
divergences add up, and everything else goes part by part:

.. math:: d(a, b) = \sqrt{\textstyle\sum_i d(a_i, b_i)^2}
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace

from infogeo import _array, _spaces
from infogeo._array import Array, bad_value
from infogeo._docs import finish
from infogeo._points import Points, Vectors, fields
from infogeo._system.registry import storable
from infogeo.manifolds import _family

__all__ = ["Product", "Tangent"]


class _Parts:
    """What points and vectors of a product have in common."""

    parts: Sequence[Any]
    __array_ufunc__ = None  # numpy leaves the products of its numbers and a vector to the vector

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the batch."""
        return self.parts[0].shape

    @classmethod
    def stack(cls, points: Sequence[Any]) -> Any:
        """Stack batches along a new first axis."""
        columns = zip(*(point.parts for point in points), strict=True)
        return cls(tuple(type(column[0]).stack(list(column)) for column in columns))  # type: ignore

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, key: Any) -> Any:
        return type(self)(tuple(part[key] for part in self.parts))  # type: ignore[call-arg]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))


def _require_parts(parts: Any, kind: type) -> tuple[Any, ...]:
    """Return the parts as a tuple, of one batch shape."""
    parts = tuple(parts)
    if not parts or not all(isinstance(part, kind) for part in parts):
        seen = ", ".join(type(part).__name__ for part in parts) or "none"
        what = kind.__name__.lower()
        raise TypeError(f"parts must be {what} of spaces, such as Poisson: got {seen}.")
    shapes = [part.shape for part in parts]
    if any(shape != shapes[0] for shape in shapes):
        raise bad_value("parts", "have one batch shape", f"got {', '.join(map(str, shapes))}")
    return parts


@storable("Product")
@dataclass(frozen=True, eq=False)
class Product(_Parts):
    """A batch of distributions of several independent variables, one of each family.

    Parameters
    ----------
    parts : list or tuple
        Points of any families, of one batch shape: `Weibull`, `infogeo.normal.Normal`.

    Attributes
    ----------
    parts : tuple
        As given.

    Raises
    ------
    TypeError, ValueError
        Something else than points; different batch shapes.

    Notes
    -----
    This is the family of independent variables. In a family that knows dependence, as
    `infogeo.multivariate_normal`, there may be shorter ways.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> from infogeo.manifolds import Exponential, Poisson
    >>> a = Product([Poisson(4.0), Exponential(1.0)])
    >>> b = Product([Poisson(6.25), Exponential(1.0)])
    >>> float(manifolds.fisher_rao_distance(a, b))
    1.0
    """

    parts: Sequence[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _require_parts(self.parts, Points))


@storable("product.Tangent")
@dataclass(frozen=True, eq=False)
class Tangent(_Parts):
    """A batch of tangent vectors of a product: one vector for each part.

    They can be added, subtracted, and multiplied or divided by numbers and by arrays over the
    batch.

    Parameters
    ----------
    parts : list or tuple
        Tangent vectors, of one batch shape.

    Attributes
    ----------
    parts : tuple
        As given.

    Raises
    ------
    TypeError, ValueError
        Something else than tangent vectors; different batch shapes.

    Examples
    --------
    >>> from infogeo.manifolds import poisson
    >>> 2.0 * Tangent([poisson.Tangent(3.0)])
    Tangent(parts=(Tangent(rate=6.0),))
    """

    parts: Sequence[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _require_parts(self.parts, Vectors))

    def _with(self, combine: Callable[..., Any], other: Any = None) -> "Tangent":
        others = other.parts if isinstance(other, Tangent) else [other] * len(self.parts)
        return Tangent(tuple(combine(x, y) for x, y in zip(self.parts, others, strict=True)))

    def __add__(self, other: "Tangent") -> "Tangent":
        return self._with(lambda x, y: x + y, other)

    def __sub__(self, other: "Tangent") -> "Tangent":
        return self._with(lambda x, y: x - y, other)

    def __neg__(self) -> "Tangent":
        return self._with(lambda x, _: -x)

    def __mul__(self, factor: Any) -> "Tangent":
        return self._with(lambda x, y: x * y, factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> "Tangent":
        return self._with(lambda x, y: x / y, divisor)


# ---------------------------------------------------------------- the space


def _by_parts(name: str, given: tuple[Any, ...], options: dict[str, Any]) -> list[Any]:
    """Return what a verb says of each part; arguments that are no products go to all of them."""
    first = given[0]
    if type(first) is not Product:
        raise TypeError(f"a must be a Product: got {type(first).__name__}.")
    for value in given[1:]:
        is_other = isinstance(value, Points | Vectors | _Parts)
        if is_other and (not isinstance(value, _Parts) or len(value.parts) != len(first.parts)):
            raise TypeError(f"a and b must have the same parts: got {first!r} and {value!r}.")
    found = []
    for i, part in enumerate(first.parts):
        space = _spaces.of_point(part)
        arguments = (x.parts[i] if isinstance(x, _Parts) else x for x in given)
        found.append(_spaces.verb(space, name)(*arguments, **options))
    return found


def _sum(name: str) -> Callable[..., Array]:
    def verb(*given: Any, **options: Any) -> Array:
        return sum(_by_parts(name, given, options))

    return verb


def _root_of_sum(name: str) -> Callable[..., Array]:
    def verb(*given: Any, **options: Any) -> Array:
        sizes = _by_parts(name, given, options)
        xp = array_namespace(fields(given[0].parts[0])[0])
        return _array.norm(xp.stack(xp.broadcast_arrays(*sizes), axis=-1), xp)

    return verb


def _parts_of(name: str, kind: type) -> Callable[..., Any]:
    def verb(*given: Any, **options: Any) -> Any:
        return kind(tuple(_by_parts(name, given, options)))

    return verb


def _hellinger(a: Any, b: Any, *, check: bool = True) -> Array:
    """Return the root of 1 minus the product of the affinities, 1 - H^2 of the parts."""
    parts = _by_parts("hellinger_distance", (a, b), {"check": check})
    xp = array_namespace(fields(a.parts[0])[0])
    largest = 1.0 - float(xp.finfo(parts[0].dtype).eps) / 2.0
    logs = sum(xp.log1p(-_array.clip(h * h, xp, max=largest)) for h in parts)
    return _array.as_number(_array.safe_sqrt(-_array.expm1(logs, xp), xp))


def _bhattacharyya(a: Any, b: Any, *, check: bool = True) -> Array:
    """Return the product of the coefficients of the parts."""
    return math.prod(_by_parts("bhattacharyya_coefficient", (a, b), {"check": check}))


def _tuple(name: str) -> Callable[..., tuple[Any, ...]]:
    def verb(*given: Any, **options: Any) -> tuple[Any, ...]:
        return tuple(_by_parts(name, given, options))

    return verb


def _on_diagonal(name: str, rank: int) -> Callable[..., Array]:
    def verb(*given: Any, **options: Any) -> Array:
        blocks = _by_parts(name, given, options)
        return _family.on_diagonal(blocks, rank, array_namespace(blocks[0]))

    return verb


def _sectional_curvature(a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
    """Return the mean of the curvatures of the parts, weighted by the squared areas of the plane.

    Parts of one parameter, and those in which the plane is a line, have none.
    """
    lengths = [_root_of_sum("norm")(a, w, check=check) for w in (u, v)]
    xp = array_namespace(fields(a.parts[0])[0])
    u, v = (w / _or_one(size, xp) for w, size in zip((u, v), lengths, strict=True))
    v = v - _sum("inner_product")(a, u, v, check=False) * u
    size = _root_of_sum("norm")(a, v, check=False)
    v = v / _or_one(size, xp)
    total = 0.0 * size
    for part, x, y in zip(a.parts, u.parts, v.parts, strict=True):
        space = _spaces.of_point(part)
        if _spaces.verb(space, "dimension")(part, check=False) == 1:
            continue
        xx, yy, xy = (
            space.inner_product(part, s, t, check=False) for s, t in ((x, x), (y, y), (x, y))
        )
        area = xx * yy - xy * xy
        curvature = _spaces.verb(space, "sectional_curvature")(part, x, y, check=False)
        total = total + xp.where(area > 0.0, area * curvature, 0.0 * area)
    return _array.as_number(xp.where(size > 1e-7, total, xp.nan * total))


def _or_one(size: Array, xp: Any) -> Array:
    return xp.where(size > 0.0, size, xp.ones_like(size))


class _Space:
    """The space of all products; which spaces are multiplied is what a point says."""

    POINTS = Product
    TANGENTS = Tangent
    REFUSED: ClassVar = {"connect": "connect the points of its parts."}
    dimension = staticmethod(_sum("dimension"))
    fisher_rao_distance = staticmethod(_root_of_sum("fisher_rao_distance"))
    fisher_rao_squared_distance = staticmethod(_sum("fisher_rao_squared_distance"))
    norm = staticmethod(_root_of_sum("norm"))
    inner_product = staticmethod(_sum("inner_product"))
    kl_divergence = staticmethod(_sum("kl_divergence"))
    jeffreys_divergence = staticmethod(_sum("jeffreys_divergence"))
    renyi_divergence = staticmethod(_sum("renyi_divergence"))
    hellinger_distance = staticmethod(_hellinger)
    bhattacharyya_coefficient = staticmethod(_bhattacharyya)
    natural_parameters = staticmethod(_tuple("natural_parameters"))
    expectation_parameters = staticmethod(_tuple("expectation_parameters"))
    fisher_information = staticmethod(_on_diagonal("fisher_information", 2))
    christoffel_symbols = staticmethod(_on_diagonal("christoffel_symbols", 3))
    sectional_curvature = staticmethod(_sectional_curvature)
    fisher_rao_geodesic = staticmethod(_parts_of("fisher_rao_geodesic", Product))
    e_geodesic = staticmethod(_parts_of("e_geodesic", Product))
    m_geodesic = staticmethod(_parts_of("m_geodesic", Product))
    exp_map = staticmethod(_parts_of("exp_map", Product))
    log_map = staticmethod(_parts_of("log_map", Tangent))
    parallel_transport = staticmethod(_parts_of("parallel_transport", Tangent))
    e_transport = staticmethod(_parts_of("e_transport", Tangent))
    m_transport = staticmethod(_parts_of("m_transport", Tangent))
    e_mean = staticmethod(_parts_of("e_mean", Product))
    m_mean = staticmethod(_parts_of("m_mean", Product))

    @staticmethod
    def canonical(a: Product, *, check: bool = True) -> np.ndarray:
        """Return all fields in one array, in which points are compared."""
        return np.concatenate([np.ravel(x) for part in a.parts for x in fields(part)])


SPACE = _Space()


finish(globals())
