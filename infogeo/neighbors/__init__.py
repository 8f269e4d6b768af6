r"""Distances between all pairs of points, and nearest neighbours, in Fisher-Rao geometry.

Pairs of predictions go through one matrix product; those that are too near for its rounding are
measured again, by differences or one by one. The search for neighbours is exact.
"""

from __future__ import annotations

import functools
import math
import operator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, overload

import numpy as np
import scipy.sparse
from array_api_compat import is_dask_array

from infogeo import _array, _names, _spaces
from infogeo._array import Array, Rule, bad_value, finite_number, gate
from infogeo._docs import finish
from infogeo._result import Table
from infogeo._system.registry import storable
from infogeo.neighbors._any_space import all_distances_with, searched_with
from infogeo.neighbors._blocks import length_of
from infogeo.neighbors._distances import all_distances
from infogeo.neighbors._graph import graph_of, graph_within
from infogeo.neighbors._lazy import lazy_nearest, lazy_pairwise
from infogeo.neighbors._search import in_order, nearest_predictions
from infogeo.neighbors._sparse import gate_sparse, has_sparse, sparse_nearest, sparse_pairwise
from infogeo.typing import A, ArrayLike

__all__ = ["nearest", "pairwise_distance", "within"]


@storable("Neighbors")
@dataclass(frozen=True, eq=False, repr=False)
class Neighbors(Table):
    """The nearest points of each query, nearest first.

    Parameters
    ----------
    indices : int64 array, shape (n, num_neighbors)
        Rows of the points; equal distances are in the order of the rows.
    distances : array, shape (n, num_neighbors)
        Fisher-Rao distances, ascending.
    """

    axes: ClassVar = {"query": None, "neighbor": None}

    indices: Array
    distances: Array

    def graph(self, num_points: int) -> scipy.sparse.csr_array:
        """Return the distances as a sparse matrix, which scikit-learn takes as ``"precomputed"``.

        Parameters
        ----------
        num_points : int
            How many points there were to choose from.

        Returns
        -------
        scipy.sparse.csr_array, shape (n, num_points)
            The distance of every query and each of its neighbours, nearest first in a row; copies
            of a query have a stored 0.

        Raises
        ------
        ValueError
            A number that is no integer, or below the largest index.

        Examples
        --------
        >>> nearest([[0.9, 0.1], [0.2, 0.8], [0.8, 0.2]], num_neighbors=1).graph(3).shape
        (3, 3)
        """
        indices, distances = (np.asarray(_array.on_host(x)) for x in (self.indices, self.distances))
        least = int(indices.max(initial=-1)) + 1
        num_points = _integer(
            "num_points", f"be an integer from {least} on", num_points, least, math.inf
        )
        return graph_of(indices, distances, num_points)


@overload
def pairwise_distance(
    a: ArrayLike[A],
    b: ArrayLike[A] | None = None,
    *,
    space: Any = "simplex",
    block_size: int | None = None,
    check: bool = True,
) -> A: ...


@overload
def pairwise_distance(
    a: Any,
    b: Any = None,
    *,
    space: Any,
    block_size: int | None = None,
    check: bool = True,
) -> Array: ...


def pairwise_distance(
    a: Any,
    b: Any = None,
    *,
    space: Any = "simplex",
    block_size: int | None = None,
    check: bool = True,
) -> Array:
    r"""Return the Fisher-Rao distances between all points of a and all points of b.

    .. math:: D_{ij} = d(a_i, b_j)

    Parameters
    ----------
    a : array or sparse matrix, shape (n, c)
        One point per row; for spaces with points of another kind, a batch of n of them.
        Probabilities may stand in a sparse matrix of scipy.
    b : array or sparse matrix, shape (m, c), or None
        The other points. None: the distances within a, symmetric, with 0 on the diagonal.
    space : module, object or name
        What the points are: `infogeo.simplex` (probabilities), `infogeo.logits`, or anything
        with a function ``fisher_rao_distance`` that broadcasts. It is called with
        ``a[i, None, ...]`` and ``b[None, j, ...]`` for slices i and j; batches need a length.
    block_size : int or None
        Rows of a and of b that are worked on at a time: beside the result, a few arrays of that
        many points take memory. None: 4096, fewer from 256 outcomes on so that such an array
        takes 8 MiB, but at least 256 (other spaces: as many as make 65,536 numbers).
    check : bool
        Verify the values. Shapes and dtypes are always verified. Spaces other than
        `infogeo.simplex` and `infogeo.logits` verify by their own rules.

    Returns
    -------
    array, shape (n, m)
        Of the library, dtype and device of the points.

    Raises
    ------
    TypeError, ValueError
        Points that are not rows of one library, differ in their number of outcomes or break the
        rules of the space; a space without a distance; a block size below 1.

    Notes
    -----
    The relative error of every distance is below 1e-10 in float64 and 1e-4 in float32, near pairs
    and saturated predictions included. Matrix products are taken in float64 for both, where the
    device has it. Far pairs cost a matrix product and an arccos. Pairs closer than about 0.02 (10
    outcomes) to 0.04 (1000) cost some 10 to 50 times that, and of these the ones that agree to 4
    digits, counted from their common vertex, one call of `fisher_rao_distance`.

    Dask arrays give a lazy result with the same chunks of rows; the last axis is gathered into
    one chunk. Of sparse matrices, blocks of rows are made dense, in the outcomes that they have: a
    block takes some 64 MB.

    Examples
    --------
    >>> pairwise_distance([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]) / np.pi
    array([[0. , 1. , 0.5],
           [1. , 0. , 0.5],
           [0.5, 0.5, 0. ]])
    """
    block_size = _checked_block_size(block_size)
    given = {"a": a} if b is None else {"a": a, "b": b}
    space = _spaces.with_distance(space)
    if has_sparse(given):
        return sparse_pairwise(_gate_sparse(check, space, given), space, block_size)
    if _spaces.chart_of(space) is None:
        return all_distances_with(_as_batches(given), space.fisher_rao_distance, block_size)
    _, *points = gate_rows(check, space.POINTS, given)
    if is_dask_array(points[0]):
        return lazy_pairwise(points, space, block_size)
    return all_distances(points, space, block_size)


def nearest(
    queries: Any,
    points: Any = None,
    *,
    num_neighbors: int,
    space: Any = "simplex",
    check: bool = True,
) -> Neighbors:
    r"""Find the points nearest to each query, in Fisher-Rao distance.

    Parameters
    ----------
    queries : array or sparse matrix, shape (n, c)
        One point per row; for spaces with points of another kind, a batch of n of them.
        Probabilities may stand in a sparse matrix of scipy.
    points : array or sparse matrix, shape (m, c), or None
        Where to look. None: among the queries themselves, each without itself (its duplicates
        stay).
    num_neighbors : int
        How many, from 1 to the number of points to choose from.
    space : module, object or name
        What the points are, as in `pairwise_distance`.
    check : bool
        Verify the values. Shapes and dtypes are always verified. Spaces other than
        `infogeo.simplex` and `infogeo.logits` verify by their own rules.

    Returns
    -------
    Neighbors
        ``indices`` (n, num_neighbors) of int64 and ``distances`` (n, num_neighbors), nearest
        first, in the library and on the device of the points.

    Raises
    ------
    TypeError, ValueError
        As `pairwise_distance`; a number of neighbours that is no integer or out of range.

    Notes
    -----
    The search is exact. Candidates are compared with a relative error below 1e-10 (1e-4 in
    float32), then measured with `fisher_rao_distance`. Copies of a point (rows of an array with
    equal entries) are at one distance and come in the order of their rows, on every processor.
    Different points whose distances agree to rounding may come in either order. Matrix products
    propose the candidates. From 10,000 points on in the computer's own memory, points are put into
    cells along the principal directions of :math:`\sqrt p`, and those that are too far from a query
    are not multiplied with it: few of ten outcomes or of a network of some classes are left, and
    all where points fill more than about 15 dimensions. Up to 5 outcomes a k-d tree proposes the
    candidates. Beside the points, memory is that of 16 numbers a point and of some blocks.

    Dask arrays give lazy results; the last axis is gathered into one chunk. Blocks of sparse
    matrices are made dense, as in `pairwise_distance`.

    Examples
    --------
    >>> found = nearest([[0.9, 0.1], [0.2, 0.8], [0.8, 0.2], [0.1, 0.9]], num_neighbors=1)
    >>> found.indices[:, 0]
    array([2, 3, 0, 1])
    >>> found.distances[:, 0].round(6)
    array([0.283794, 0.283794, 0.283794, 0.283794])
    """
    given = {"queries": queries} if points is None else {"queries": queries, "points": points}
    space = _spaces.with_distance(space)
    if has_sparse(given):
        arrays = _gate_sparse(check, space, given)
        num_neighbors = _checked_num_neighbors(num_neighbors, arrays)
        return Neighbors(*sparse_nearest(arrays, space, num_neighbors))
    if _spaces.chart_of(space) is None:
        batches = _as_batches(given)
        num_neighbors = _checked_num_neighbors(num_neighbors, batches)
        search = functools.partial(searched_with, distance=space.fisher_rao_distance)
        return Neighbors(*in_order(search, batches, num_neighbors))
    _, *arrays = gate_rows(check, space.POINTS, given)
    num_neighbors = _checked_num_neighbors(num_neighbors, arrays)
    if is_dask_array(arrays[0]):
        return Neighbors(*lazy_nearest(arrays, space, num_neighbors))
    return Neighbors(*nearest_predictions(arrays, space, num_neighbors))


def within(
    queries: Any,
    points: Any = None,
    *,
    radius: float,
    space: Any = "simplex",
    check: bool = True,
) -> scipy.sparse.csr_array:
    r"""Find all points within a Fisher-Rao distance of each query, as a sparse matrix.

    Parameters
    ----------
    queries : array or sparse matrix, shape (n, c)
        One point per row; for spaces with points of another kind, a batch of n of them.
        Probabilities may stand in a sparse matrix of scipy.
    points : array or sparse matrix, shape (m, c), or None
        Where to look. None: among the queries themselves, each without itself (its duplicates
        stay).
    radius : float
        In radians, not negative. Pairs at exactly this distance are within it.
    space : module, object or name
        What the points are, as in `pairwise_distance`.
    check : bool

    Returns
    -------
    scipy.sparse.csr_array, shape (n, m)
        The distances, nearest first in a row; copies of a query have a stored 0. scikit-learn's
        ``DBSCAN``, ``KNeighborsClassifier`` and others take it with ``metric="precomputed"``.

    Raises
    ------
    TypeError, ValueError
        As `pairwise_distance`; a radius that is negative or no number.

    Notes
    -----
    The distances are those of `pairwise_distance`, whose relative error of 1e-10 (1e-4 in float32)
    decides about pairs so near to the radius. All pairs are measured, a block at a time: memory is
    that of the result and of a few million numbers. Dask arrays are computed.

    Examples
    --------
    >>> near = within([[0.9, 0.1], [0.2, 0.8], [0.8, 0.2]], radius=0.3)
    >>> near.toarray().round(4)
    array([[0.    , 0.    , 0.2838],
           [0.    , 0.    , 0.    ],
           [0.2838, 0.    , 0.    ]])
    """
    radius = finite_number("radius", radius)
    if radius < 0.0:
        raise bad_value("radius", "not be negative", f"got {radius!r}")
    given = {"queries": queries} if points is None else {"queries": queries, "points": points}
    space = _spaces.with_distance(space)
    if has_sparse(given):
        batches = _gate_sparse(check, space, given)
    elif _spaces.chart_of(space) is None:
        batches = _as_batches(given)
    else:
        _, *batches = gate_rows(check, space.POINTS, given)
    measure = functools.partial(pairwise_distance, space=space, check=False)
    return graph_within(batches, radius, measure)


# ---------------------------------------------------------------- arguments


def gate_rows(check: bool, rule: Rule, given: dict[str, Any]) -> tuple[Any, ...]:
    """Gate arguments that share their outcomes but not their number of rows."""
    for name, value in given.items():
        _, array = gate(check, **{name: (rule, value)})
        if len(array.shape) != 2:
            raise bad_value(
                name,
                "have shape (n, c), one point per row",
                f"got shape {tuple(array.shape)}",
                f"Pass {name}[None, :] for a single point."
                if len(array.shape) == 1
                else f"Pass {name}.reshape(-1, {array.shape[-1]}) for a batch with more axes.",
            )
    any_shape = replace(rule, events="", axes=(rule.events,))  # each has rows of its own
    xp, *arrays = gate(False, **{name: (any_shape, value) for name, value in given.items()})
    shapes = {name: tuple(array.shape) for name, array in zip(given, arrays, strict=True)}
    if len({shape[1] for shape in shapes.values()}) > 1:
        (first, shape), (second, other) = shapes.items()
        raise ValueError(
            f"{first} and {second} must have the same outcomes along the last axis: "
            f"{first} has shape {shape} and {second} has {other}."
        )
    return (xp, *arrays)


def _gate_sparse(check: bool, space: Any, given: dict[str, Any]) -> list[Any]:
    return gate_sparse(check, getattr(space, "POINTS", None), given, gate_rows)


def _as_batches(given: dict[str, Any]) -> list[Any]:
    """Return batches that can be indexed, of any kind of point."""
    batches = []
    values, _ = _names.matched(list(given), [("columns",)] * len(given), list(given.values()))
    for name, value in zip(given, values, strict=True):
        batch = np.asarray(value) if isinstance(value, list | tuple) else value
        try:
            length_of(batch)
        except (TypeError, IndexError):
            raise TypeError(
                f"{name} must be a batch of points with a length: got {type(value).__name__}."
            ) from None
        batches.append(batch)
    return batches


def _integer(name: str, rule: str, value: Any, low: int, high: float) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must {rule}: got {value!r}.") from None
    if isinstance(value, bool) or not low <= number <= high:
        raise bad_value(name, rule, f"got {value!r}")
    return number


def _checked_block_size(block_size: Any) -> int | None:
    if block_size is None:
        return None
    return _integer("block_size", "be a positive number of rows", block_size, 1, math.inf)


def _checked_num_neighbors(num_neighbors: Any, batches: list[Any]) -> int:
    among = len(batches) == 1
    available = length_of(batches[-1])
    if math.isnan(available):
        raise bad_value(
            "points",
            "have a known length",
            "dask has not counted them",
            "Call compute_chunk_sizes().",
        )
    if available == among:
        seen = "there is only one" if among else "there is none"
        rule = f"hold at least {1 + among} points to choose from"
        raise bad_value("queries" if among else "points", rule, seen)
    rule = (
        f"be an integer from 1 to {available - among}, "
        f"the number of {'other ' if among else ''}points"
    )
    return _integer("num_neighbors", rule, num_neighbors, 1, available - among)


finish(globals())
