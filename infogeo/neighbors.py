r"""Distances between all pairs of points, and nearest neighbours, in Fisher-Rao geometry.

On the simplex the unit vectors :math:`x = \sqrt p` turn all pairs into one matrix product:
:math:`d = 2 \arccos x \cdot y`. That is good for far pairs; near ones drown in the rounding of
the product. So each pair takes the first of three forms whose error bound is small enough for it:
the product; the chord :math:`|x - y|`, measured from a common vertex if both points are close to
one; `fisher_rao_distance` itself.
"""

import functools
import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import (
    array_namespace,
    is_array_api_obj,
    is_dask_array,
    is_jax_array,
    is_torch_array,
    is_writeable_array,
)

from infogeo import _array, _names, _spaces, logits, simplex
from infogeo._array import (
    Array,
    Namespace,
    Rule,
    bad_value,
    gate,
)
from infogeo._system.registry import storable

__all__ = ["nearest", "pairwise_distance"]


@storable("Neighbors")
@dataclass(frozen=True, eq=False)
class Neighbors:
    """The nearest points of each query, nearest first.

    Parameters
    ----------
    indices : int64 array, shape (n, num_neighbors)
        Rows of the points; equal distances are in the order of the rows.
    distances : array, shape (n, num_neighbors)
        Fisher-Rao distances, ascending.
    """

    indices: Array
    distances: Array


def pairwise_distance(a, b=None, *, space=simplex, block_size=None, check=True):
    r"""Fisher-Rao distances between all points of a and all points of b.

    .. math:: D_{ij} = d(a_i, b_j)

    Parameters
    ----------
    a : array, shape (n, c)
        One point per row; for spaces with points of another kind, a batch of n of them.
    b : array, shape (m, c), or None
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
    one chunk.

    Examples
    --------
    >>> pairwise_distance([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]) / np.pi
    array([[0. , 1. , 0.5],
           [1. , 0. , 0.5],
           [0.5, 0.5, 0. ]])
    """
    block_size = _checked_block_size(block_size)
    given = {"a": a} if b is None else {"a": a, "b": b}
    space, rule = _space_and_rule(space)
    if rule is None:
        return _pairwise_with(_as_batches(given), space.fisher_rao_distance, block_size)
    _, *points = _gate_rows(check, rule, given)
    if is_dask_array(points[0]):
        return _lazy_pairwise(points, space, block_size)
    return _pairwise(points, space, block_size)


def nearest(queries, points=None, *, num_neighbors, space=simplex, check=True):
    r"""Nearest points of each query, in Fisher-Rao distance.

    Parameters
    ----------
    queries : array, shape (n, c)
        One point per row; for spaces with points of another kind, a batch of n of them.
    points : array, shape (m, c), or None
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
    Different points whose distances agree to rounding may come in either order. Up to 7 outcomes
    and from 10,000 points on a k-d tree of :math:`\sqrt p` proposes the candidates, if they are
    in the computer's own memory; otherwise blocks of matrix products do. Memory is bounded as in
    `pairwise_distance`.

    Dask arrays give lazy results; the last axis is gathered into one chunk.

    Examples
    --------
    >>> found = nearest([[0.9, 0.1], [0.2, 0.8], [0.8, 0.2], [0.1, 0.9]], num_neighbors=1)
    >>> found.indices[:, 0]
    array([2, 3, 0, 1])
    >>> found.distances[:, 0].round(6)
    array([0.283794, 0.283794, 0.283794, 0.283794])
    """
    given = {"queries": queries} if points is None else {"queries": queries, "points": points}
    space, rule = _space_and_rule(space)
    if rule is None:
        batches = _as_batches(given)
        num_neighbors = _checked_num_neighbors(num_neighbors, batches)
        search = functools.partial(_searched_with, distance=space.fisher_rao_distance)
        return Neighbors(*_in_order(search, batches, num_neighbors))
    _, *arrays = _gate_rows(check, rule, given)
    num_neighbors = _checked_num_neighbors(num_neighbors, arrays)
    if is_dask_array(arrays[0]):
        return Neighbors(*_lazy_nearest(arrays, space, num_neighbors))
    return Neighbors(*_nearest(arrays, space, num_neighbors))


# ---------------------------------------------------------------- arguments


def _space_and_rule(space: Any) -> tuple[Any, Rule | None]:
    """Return the space and its rule for arrays, None for spaces with rules of their own."""
    space = _spaces.with_distance(space)
    return space, _spaces.rule_of(space)


def _gate_rows(check: bool, rule: Rule, given: dict[str, Any]) -> tuple[Any, ...]:
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


def _as_batches(given: dict[str, Any]) -> list[Any]:
    """Return batches that can be indexed, of any kind of point."""
    batches = []
    values, _ = _names.matched(list(given), [("columns",)] * len(given), list(given.values()))
    for name, value in zip(given, values, strict=True):
        batch = np.asarray(value) if isinstance(value, list | tuple) else value
        try:
            _length(batch)
        except (TypeError, IndexError):
            raise TypeError(
                f"{name} must be a batch of points with a length: got {type(value).__name__}."
            ) from None
        batches.append(batch)
    return batches


def _length(batch: Any) -> int:
    return batch.shape[0] if is_array_api_obj(batch) else len(batch)


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
    available = _length(batches[-1])
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


# ---------------------------------------------------------------- blocks

_TILE = 500  # rows and columns of a block of distances: 2 MB of float64, often in the cache
_LARGE_TILE = 1000  # for long products, and for libraries that pay more for a call than numpy
_PANEL_ENTRIES = 2_000_000  # numbers in the largest panel, 16 MB of float64
_PAIR_ENTRIES = 65_536  # numbers in a batch of pairs that are measured one by one


def _tile_rows(points: Array) -> int:
    is_small = isinstance(points, np.ndarray) and points.shape[-1] < 256
    return _TILE if is_small else _LARGE_TILE


def _panel_rows(points: Array) -> int:
    """Return the rows of a panel: whole tiles, so that none is cut."""
    return max(1, min(4, _PANEL_ENTRIES // (1000 * points.shape[-1]))) * 1000


def _pair_rows(points: Array) -> int:
    entries = _PAIR_ENTRIES if isinstance(points, np.ndarray) else 16 * _PAIR_ENTRIES
    return max(1, entries // max(1, math.prod(points.shape[1:])))


def _spans(start: int, stop: int, step: int) -> Iterator[slice]:
    """Yield slices from start to stop; one empty slice if there is nothing."""
    for first in range(start, max(stop, start + 1), step):
        yield slice(first, min(first + step, stop))


def _grid(
    n: int, m: int, panel: int, tile: int, is_symmetric: bool
) -> Iterator[tuple[slice, slice]]:
    """Yield the tiles of an n x m matrix, panel by panel; of a symmetric one the upper half."""
    for outer_rows in _spans(0, n, panel):
        for outer_columns in _spans(0, m, panel):
            for rows in _spans(outer_rows.start, outer_rows.stop, tile):
                for columns in _spans(outer_columns.start, outer_columns.stop, tile):
                    if not is_symmetric or columns.start >= rows.start:
                        yield rows, columns


def _assembled(
    measure: Callable[[slice, slice], Array],
    grid: Iterator[tuple[slice, slice]],
    shape: tuple[int, int],
    is_symmetric: bool,
) -> Array:
    """Return the matrix of all tiles, mirrored if it is symmetric."""
    result, tiles = None, {}
    for rows, columns in grid:
        tile = measure(rows, columns)
        xp = array_namespace(tile)
        if is_symmetric and rows == columns:
            upper = xp.triu(tile, k=1)
            tile = upper + upper.T
        if not (is_writeable_array(tile) and _array.is_readable(tile)):
            tiles[rows.start, columns.start] = tile
            continue
        if result is None:
            result = xp.empty(shape, dtype=tile.dtype, device=_array.device_of(tile))
        result[rows, columns] = tile
        if is_symmetric and rows != columns:
            result[columns, rows] = tile.T
    return _joined(tiles, is_symmetric) if result is None else result


def _joined(tiles: dict[tuple[int, int], Array], is_symmetric: bool) -> Array:
    """Join tiles of a library whose arrays cannot be written to."""
    if is_symmetric:
        tiles |= {(j, i): tile.T for (i, j), tile in tiles.items() if i != j}
    xp = array_namespace(tiles[0, 0])
    starts, column_starts = ({key[axis]: None for key in sorted(tiles)} for axis in (0, 1))
    strips = [xp.concat([tiles[i, j] for j in sorted(column_starts)], axis=1) for i in starts]
    return xp.concat(strips, axis=0)


def _pairwise(points: list[Array], space: Any, block_size: int | None) -> Array:
    """Return all distances of probabilities or logits."""
    a, b = points[0], points[-1]
    among = len(points) == 1
    shape = a.shape[0], b.shape[0]
    if 0 in shape:
        xp = array_namespace(a)
        return xp.empty(shape, dtype=a.dtype, device=_array.device_of(a))
    if not (_array.is_readable(a) and _array.is_readable(b)):
        unchecked = functools.partial(space.fisher_rao_distance, check=False)
        return _pairwise_with(points, unchecked, block_size)
    panel = block_size or _panel_rows(a)

    @functools.lru_cache(maxsize=2)
    def prepared(which: int, start: int) -> _Panel:
        return _panel(points[which][start : min(start + panel, shape[which]), :], space)

    def measure(rows: slice, columns: slice) -> Array:
        left = prepared(0, rows.start // panel * panel)
        right = prepared(len(points) - 1, columns.start // panel * panel)
        return _distances(left, _within(rows, panel), right, _within(columns, panel))

    return _assembled(measure, _grid(*shape, panel, _tile_rows(a), among), shape, among)


def _within(rows: slice, panel: int) -> slice:
    """Return the same rows, counted from the start of their panel."""
    start = rows.start % panel
    return slice(start, start + rows.stop - rows.start)


# ---------------------------------------------------------------- points, prepared


@dataclass(frozen=True)
class _Panel:
    """Rows of points, ready to be compared.

    Parameters
    ----------
    points : array, shape (n, c)
        As given.
    roots : array, shape (n, c)
        The unit vectors sqrt(p), in the widest floating-point type of the device.
    space : module
        `simplex` or `logits`.
    xp : module
        The array namespace.
    """

    points: Array
    roots: Array
    space: Any
    xp: Namespace

    @functools.cached_property
    def narrow_roots(self) -> Array:
        """The roots in float32, without those whose products underflow slowly."""
        narrow = self.xp.astype(self.roots, self.xp.float32)
        return _without(narrow, narrow < 1e-15, self.xp)

    @functools.cached_property
    def offsets(self) -> Array:
        """The roots minus the vertex they are close to, with all digits; only for numpy."""
        offsets, (rows,) = self.roots.copy(), np.nonzero(self.vertices.label >= 0)
        offsets[rows, self.vertices.label[rows]] = -self.vertices.gap[rows]
        return offsets

    @functools.cached_property
    def vertices(self) -> "_Vertices":
        """Where the rows are, seen from the vertices of the simplex."""
        return _vertices(self.roots, self.xp)


class _Vertices(NamedTuple):
    """Unit vectors seen from the vertex (one-hot point) they are close to."""

    label: Array  # (n,) the outcome of probability above 3/4, -1 if there is none
    gap: Array  # (n,) 1 - x of that outcome, to full relative precision
    error: Array  # (n,) bound on the rounding error of the vector from the vertex to x


def _panel(points: Array, space: Any) -> _Panel:
    xp = array_namespace(points)
    wide = xp.astype(points, _array.widest_dtype(points, xp), copy=False)
    if space is logits:
        roots = xp.exp(0.5 * (wide - xp.max(wide, axis=-1, keepdims=True)))
        total = xp.sum(roots * roots, axis=-1, keepdims=True)
    else:
        roots = _array.safe_sqrt(wide, xp)
        total = xp.sum(wide, axis=-1, keepdims=True)
    scale = 1.0 / xp.sqrt(total)
    if isinstance(roots, np.ndarray):
        roots *= scale
    else:
        roots = roots * scale
    return _Panel(points, roots, space, xp)


def _vertices(x: Array, xp: Namespace) -> _Vertices:
    top = xp.argmax(x, axis=-1)
    is_top = _count(x.shape[-1], x) == top[:, None]
    rest = xp.sum(xp.where(is_top, 0.0, x) ** 2, axis=-1)
    is_close = rest < 0.25
    gap = xp.where(is_close, rest / (1.0 + xp.sqrt(1.0 - rest)), 1.0)
    # Squares that underflow have no digits: such gaps count as larger than they are. Logits
    # that are t below the largest are rounded by t units, and gap is about exp(-t).
    size = _array.clip(gap, xp, min=float(xp.finfo(x.dtype).smallest_normal) ** 0.9)
    error = _unit_error(x, xp) * (1.0 - xp.log(size) / 16.0) * xp.sqrt(2.0 * size)
    return _Vertices(xp.where(is_close, top, -1), gap, error)


def _unit_error(x: Array, xp: Namespace) -> float:
    """Bound the rounding error of a unit vector, relative to its length."""
    return (16.0 + math.log(x.shape[-1])) * 0.5 * float(xp.finfo(x.dtype).eps)


# ---------------------------------------------------------------- the three forms


def _tolerance(points: Array, xp: Namespace) -> float:
    """Return half the promised relative error."""
    return 5e-11 if xp.finfo(points.dtype).bits == 64 else 5e-5


def _sum_length(x: Array, xp: Namespace) -> int:
    """Return how long a sum of products may be: its error bound grows with the length."""
    return 512 if xp.finfo(x.dtype).bits == 64 else 256


def _cosines(x: Array, y: Array, xp: Namespace) -> Array:
    """Return the products of all rows of x with all rows of y."""
    multiply = functools.partial(xp.matmul, precision="highest") if is_jax_array(x) else xp.matmul
    cosines = None
    for columns in _spans(0, x.shape[-1], _sum_length(x, xp)):
        part = multiply(x[:, columns], y[:, columns].T)
        cosines = part if cosines is None else cosines + part
    return cosines


def _cosine_error(panel: _Panel, x: Array) -> float:
    """Bound the rounding error of `_cosines` for x, the unit vectors of the panel."""
    unit = 0.5 * float(panel.xp.finfo(x.dtype).eps)
    step = _sum_length(x, panel.xp)
    num_sums = min(x.shape[-1], step) + x.shape[-1] // step
    return (num_sums + 2) * unit + 2.0 * _unit_error(panel.roots, panel.xp)


def _distances(left: _Panel, rows: slice, right: _Panel, columns: slice) -> Array:
    """Return the distances of some rows of one panel to some rows of another."""
    xp = left.xp
    for x, y in _factors(left, right):
        cosines = _cosines(x[rows, :], y[columns, :], xp)
        # d = 2 arccos(g) turns an error e of g into the relative error e / (2 (1 - g)).
        limit = 1.0 - _cosine_error(left, x) / (2.0 * _tolerance(left.points, xp))
        if bool(xp.max(cosines) < limit):
            return xp.astype(_arcs(cosines, xp), left.points.dtype, copy=False)
        is_near = cosines >= limit
        i, j = _positions(is_near, xp)
        if i.shape[0] < _FEW * math.prod(cosines.shape):
            break
    chords = _near_chords(left, rows, right, columns, is_near, i, j)
    arcs = xp.astype(_arcs(_without(cosines, is_near, xp), xp), left.points.dtype, copy=False)
    return _scattered(arcs, is_near, xp.astype(4.0 * xp.asin(0.5 * chords), arcs.dtype), xp)


_FEW = 1 / 32  # the share of near pairs that is better measured pair by pair than multiplied anew


def _factors(left: _Panel, right: _Panel) -> Iterator[tuple[Array, Array]]:
    """Yield the unit vectors to multiply, in float32 first if that can do for the points."""
    if left.points.dtype == left.xp.float32 and _is_exact_to_float32(left.points):
        yield left.narrow_roots, right.narrow_roots
    yield left.roots, right.roots


def _is_exact_to_float32(x: Array) -> bool:
    """Whether float32 is an extra, and products of float32 matrices have all its digits."""
    if is_torch_array(x) and not x.is_cpu:
        import torch

        return x.device.type == "cuda" and torch.get_float32_matmul_precision() == "highest"
    return not is_jax_array(x) or _is_in_host_memory(x)


def _arcs(cosines: Array, xp: Namespace) -> Array:
    if not isinstance(cosines, np.ndarray):
        return 2.0 * xp.acos(cosines)
    np.arccos(cosines, out=cosines)
    cosines *= 2.0
    return cosines


def _without(values: Array, flags: Array, xp: Namespace) -> Array:
    """Return the values with 0 in place of the flagged ones."""
    if not isinstance(values, np.ndarray):
        return xp.where(flags, xp.zeros_like(values), values)
    values[flags] = 0.0
    return values


def _near_chords(
    left: _Panel, rows: slice, right: _Panel, columns: slice, is_near: Array, i: Array, j: Array
) -> Array:
    """Return the chords of the flagged pairs of a tile; i and j are their positions."""
    i, j = i + rows.start, j + columns.start
    if not isinstance(is_near, np.ndarray) or i.size < _DENSE * is_near.size:
        return _chords(left, i, right, j)
    from scipy.spatial.distance import cdist

    vertices, others = left.vertices, right.vertices
    squared = cdist(left.offsets[rows], right.offsets[columns], "sqeuclidean")[is_near]
    error = vertices.error[i] + others.error[j]
    error[vertices.label[i] != others.label[j]] = np.inf
    return _settled(squared, error, left, i, right, j)


_DENSE = 1 / 6  # the share of near pairs from which on all differences cost less than theirs


def _chords(left: _Panel, i: Array, right: _Panel, j: Array) -> Array:
    """Return |x - y| for rows i of one panel and rows j of another, pair by pair."""
    spans = _spans(0, i.shape[0], _pair_rows(left.points))
    parts = [_squared_chords(left, i[pairs], right, j[pairs]) for pairs in spans]
    squared, error = (left.xp.concat(part) for part in zip(*parts, strict=True))
    return _settled(squared, error, left, i, right, j)


def _squared_chords(left: _Panel, i: Array, right: _Panel, j: Array) -> tuple[Array, Array]:
    """Return |x - y|^2 and bounds on the error of |x - y|."""
    xp = left.xp
    label, gap, error = (xp.take(part, i) for part in left.vertices)
    other_label, other_gap, other_error = (xp.take(part, j) for part in right.vertices)
    difference = xp.take(left.roots, i, axis=0) - xp.take(right.roots, j, axis=0)
    # From a common vertex, errors are relative to the distance from it, not to 1.
    is_shared = (label == other_label) & (label >= 0)
    difference = _with_entries(difference, is_shared, label, other_gap - gap, xp)
    error = xp.where(is_shared, error + other_error, 2.0 * _unit_error(left.roots, xp))
    return xp.vecdot(difference, difference), error


def _settled(
    squared: Array, error: Array, left: _Panel, i: Array, right: _Panel, j: Array
) -> Array:
    """Return the chords, from `fisher_rao_distance` where the error may break the promise."""
    xp = left.xp
    is_sure = squared * _tolerance(left.points, xp) ** 2 > error**2
    chords = xp.sqrt(xp.where(is_sure, squared, xp.ones_like(squared)))
    (unsure,) = xp.nonzero(~is_sure)
    if unsure.shape[0] == 0:
        return chords
    i, j = xp.take(i, unsure), xp.take(j, unsure)
    d = [
        left.space.fisher_rao_distance(
            xp.astype(xp.take(left.points, i[pairs], axis=0), chords.dtype, copy=False),
            xp.astype(xp.take(right.points, j[pairs], axis=0), chords.dtype, copy=False),
            check=False,
        )
        for pairs in _spans(0, i.shape[0], _pair_rows(left.points))
    ]
    exact = 2.0 * xp.sin(0.25 * xp.concat(d))
    return _scattered(chords, ~is_sure, exact, xp)


def _positions(flags: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return the rows and columns of the flagged entries, row by row."""
    if isinstance(flags, np.ndarray):
        return np.divmod(np.flatnonzero(flags), flags.shape[1])
    (flat,) = xp.nonzero(xp.reshape(flags, (-1,)))
    return flat // flags.shape[1], flat % flags.shape[1]


def _scattered(values: Array, flags: Array, new: Array, xp: Namespace) -> Array:
    """Return the values with the flagged entries, in their order, replaced by new ones."""
    if isinstance(values, np.ndarray):
        values[flags] = new
        return values
    rank = xp.cumulative_sum(xp.astype(xp.reshape(flags, (-1,)), xp.int64)) - 1
    spread = xp.take(new, _array.clip(rank, xp, min=0))
    return xp.where(flags, xp.reshape(spread, values.shape), values)


def _with_entries(values: Array, flags: Array, columns: Array, new: Array, xp: Namespace) -> Array:
    """Return the values with one entry of each flagged row replaced."""
    if isinstance(values, np.ndarray):
        (rows,) = np.nonzero(flags)
        values[rows, columns[rows]] = new[rows]
        return values
    column = xp.arange(values.shape[1], device=_array.device_of(values))
    return xp.where(flags[:, None] & (column == columns[:, None]), new[:, None], values)


# ---------------------------------------------------------------- nearest

_TREE_OUTCOMES, _TREE_POINTS = 7, 10_000  # where a k-d tree starts to beat matrix products


def _nearest(batches: list[Array], space: Any, num_neighbors: int) -> tuple[Array, Array]:
    """Return indices and distances of the nearest probabilities or logits."""
    queries, points = batches[0], batches[-1]
    if queries.shape[0] == 0:
        xp = array_namespace(queries)
        nothing = xp.zeros((0, num_neighbors), dtype=points.dtype, device=_array.device_of(points))
        return xp.astype(nothing, _count(0, points).dtype), nothing
    distance = functools.partial(space.fisher_rao_distance, check=False)
    if _array.is_readable(queries) and _array.is_readable(points):
        search = functools.partial(_searched, space=space, distance=distance)
    else:
        search = functools.partial(_searched_with, distance=distance)
    return _in_order(search, batches, num_neighbors)


def _searched(
    queries: Array, points: Array, num: int, *, space: Any, distance: Callable
) -> tuple[Array, Array]:
    """Return indices and distances of the nearest points, in no order."""
    xp = array_namespace(queries)
    chords, indices = _candidates(queries, points, space, num)
    d = _with_ties(_measured(queries, points, indices, distance), chords, xp)
    return indices, xp.astype(d, points.dtype, copy=False)


def _in_order(search: Callable, batches: list[Any], num: int) -> tuple[Array, Array]:
    """Return indices and distances of the nearest points, from a search among different ones.

    How a batch is summed may part the distances of copies by a unit in the last place, and they
    would lose their order: so a point is measured once for all its copies.
    """
    queries, points = batches[0], batches[-1]
    among = len(batches) == 1
    copies = _copies(points)
    if copies is not None:
        points = array_namespace(points).take(points, copies.firsts, axis=0)
    width = min(num + among, _length(points))
    indices, d = search(queries, points, width)
    xp, parts = array_namespace(d), []
    for rows in _spans(0, d.shape[0], max(1, _PAIR_ENTRIES // width**2)):
        index, distance = indices[rows, :], d[rows, :]
        if copies is not None:
            index, distance = _with_copies(index, distance, copies, num + among, xp)
        if among:
            row = _count(rows.stop, d)[rows][:, None]
            distance = xp.where(index == row, xp.inf, distance)
        parts.append(_sorted(index, distance, num, xp))
    indices, d = (xp.concat(part, axis=0) for part in zip(*parts, strict=True))
    return indices, d


def _count(stop: int, like: Array) -> Array:
    """Return 0, 1, ..., stop - 1 beside an array."""
    return array_namespace(like).arange(stop, device=_array.device_of(like))


def _measured(queries: Array, points: Array, indices: Array, distance: Callable) -> Array:
    """Return the distances of each query to its candidates."""
    xp = array_namespace(queries)
    num, wide = indices.shape[1], _array.widest_dtype(points, xp)
    parts = []
    for rows in _spans(0, queries.shape[0], max(1, _pair_rows(points) // num)):
        flat = xp.reshape(indices[rows, :], (-1,))
        found = xp.reshape(xp.take(points, flat, axis=0), (-1, num, points.shape[1]))
        near = xp.astype(queries[rows, None, :], wide, copy=False)
        parts.append(distance(near, xp.astype(found, wide, copy=False)))
    return xp.concat(parts, axis=0)


def _with_ties(d: Array, keys: Array, xp: Namespace) -> Array:
    """Return the distances with one value for neighbouring candidates of one key."""
    ties = keys[:, 1:] == keys[:, :-1]
    if not bool(xp.any(ties)):
        return d
    columns = [d[:, 0]]
    for column in range(1, d.shape[1]):
        columns.append(xp.where(ties[:, column - 1], columns[-1], d[:, column]))
    return xp.stack(columns, axis=1)


def _sorted(indices: Array, d: Array, num: int, xp: Namespace) -> tuple[Array, Array]:
    """Return the first candidates, by distance and then by index."""
    order = xp.argsort(indices, axis=1)
    indices, d = xp.take_along_axis(indices, order, axis=1), xp.take_along_axis(d, order, axis=1)
    order = xp.argsort(d, axis=1, stable=True)[:, :num]
    return xp.take_along_axis(indices, order, axis=1), xp.take_along_axis(d, order, axis=1)


def _candidates(queries: Array, points: Array, space: Any, num: int) -> tuple[Array, Array]:
    """Return chords and indices of the points next to each query, sorted by both."""
    queries, points = _detached(queries), _detached(points)
    if (
        points.shape[1] <= _TREE_OUTCOMES
        and points.shape[0] >= max(_TREE_POINTS, 2 * num)
        and _is_in_host_memory(points)
    ):
        return _from_tree(queries, points, space, num)
    return _from_blocks(queries, points, space, num)


def _detached(x: Array) -> Array:
    return x.detach() if is_torch_array(x) else x


def _is_in_host_memory(x: Array) -> bool:
    if is_jax_array(x):
        return all(device.platform == "cpu" for device in x.devices())
    return not is_torch_array(x) or x.is_cpu


def _from_blocks(queries: Array, points: Array, space: Any, num: int) -> tuple[Array, Array]:
    """Find candidates by matrix products, tile by tile."""
    xp, panel, tile = array_namespace(points), _panel_rows(points), _tile_rows(points)
    best = []
    for outer in _spans(0, queries.shape[0], panel):
        left = _panel(queries[outer, :], space)
        spans = list(_spans(0, outer.stop - outer.start, tile))
        found = [_no_candidates(rows, num, left) for rows in spans]
        for inner in _spans(0, points.shape[0], panel):
            right = _panel(points[inner, :], space)
            for columns in _spans(0, inner.stop - inner.start, 4 * tile):
                found = [
                    _improved(best_yet, left, rows, right, columns, inner.start)
                    for best_yet, rows in zip(found, spans, strict=True)
                ]
        best += found
    chords, indices, _ = zip(*best, strict=True)
    return xp.concat(chords, axis=0), xp.concat(indices, axis=0)


class _Candidates(NamedTuple):
    """The best points yet for some rows, by chord and then by index."""

    chords: Array  # (rows, num)
    indices: Array  # (rows, num)
    is_spread: bool  # products in float32 have told the points apart so far


def _no_candidates(rows: slice, num: int, left: _Panel) -> _Candidates:
    xp, shape, device = left.xp, (rows.stop - rows.start, num), _array.device_of(left.roots)
    chords = xp.full(shape, xp.inf, dtype=left.roots.dtype, device=device)
    indices = xp.zeros(shape, dtype=_count(0, left.roots).dtype, device=device)
    return _Candidates(chords, indices, _is_exact_to_float32(left.points))


def _improved(
    best: _Candidates, left: _Panel, rows: slice, right: _Panel, columns: slice, first: int
) -> _Candidates:
    """Return the candidates after a look at some columns of a panel that starts at `first`."""
    xp, (num_rows, num) = left.xp, best.chords.shape
    if best.is_spread:
        i, j = _within_reach(best, left, left.narrow_roots[rows, :], right.narrow_roots[columns, :])
        best = best._replace(is_spread=i.shape[0] < 4 * num * num_rows)
    if not best.is_spread:
        i, j = _within_reach(best, left, left.roots[rows, :], right.roots[columns, :])
    if i.shape[0] == 0:
        return best
    new = _chords(left, i + rows.start, right, j + columns.start)
    (is_better,) = xp.nonzero(new < xp.take(best.chords[:, -1], i))
    new, i, j = (xp.take(part, is_better) for part in (new, i, j))
    return _merged(best, i, new, j + columns.start + first, xp)


def _within_reach(best: _Candidates, left: _Panel, x: Array, y: Array) -> tuple[Array, Array]:
    """Return the positions of the pairs of rows of x and y that may better the candidates."""
    xp, farthest = left.xp, best.chords[:, -1]
    slack = 2.0 * _cosine_error(left, x)
    # Nothing is nearer than 0, and among copies the first ones win.
    bar = xp.where(farthest == 0.0, xp.inf, 1.0 - 0.5 * farthest**2 - slack)
    bar = xp.astype(bar, x.dtype, copy=False)
    return _above(_cosines(x, y, xp), bar, best.chords.shape[1], slack, xp)


def _above(
    cosines: Array, bar: Array, num: int, slack: float, xp: Namespace
) -> tuple[Array, Array]:
    """Return the positions of the cosines that reach the bar of their row.

    If they are many, the bar rises to where each row still keeps the `num` largest.
    """
    num_rows, length = cosines.shape
    depth = 20 if length % 20 == 0 else 1
    # The largest of 20 each: most of these are below the bar.
    peaks = xp.max(xp.reshape(cosines, (num_rows, depth, -1)), axis=1)
    i, peak = _positions(peaks >= bar[:, None], xp)
    if i.shape[0] > num * num_rows and length >= num:
        values = peaks if peaks.shape[1] >= num else cosines
        bar = xp.maximum(bar, _largest(values, num, xp) - slack)
        i, peak = _positions(peaks >= bar[:, None], xp)
    columns = peak[:, None] + length // depth * _count(depth, cosines)
    found = xp.take(xp.reshape(cosines, (-1,)), xp.reshape(i[:, None] * length + columns, (-1,)))
    is_above = xp.reshape(found, columns.shape) >= xp.take(bar, i)[:, None]
    k, member = _positions(is_above, xp)
    return xp.take(i, k), xp.take(xp.reshape(columns, (-1,)), k * depth + member)


def _largest(x: Array, num: int, xp: Namespace) -> Array:
    """Return the entry of that rank of each row."""
    if isinstance(x, np.ndarray):
        return -np.partition(-x, num - 1, axis=1)[:, num - 1]
    if is_torch_array(x):
        return x.topk(num, dim=1).values[:, -1]
    return xp.sort(x, axis=1, descending=True)[:, num - 1]


def _merged(best: _Candidates, i: Array, new: Array, j: Array, xp: Namespace) -> _Candidates:
    """Return the candidates with new ones: point j at a chord from row i, i ascending."""
    if i.shape[0] == 0:
        return best
    chords, indices, is_spread = best
    num = chords.shape[1]
    (ends,) = xp.nonzero(i[1:] != i[:-1])
    rows = xp.concat([i[:1], xp.take(i, ends + 1)])
    row = xp.concat([xp.repeat(rows, num), i])
    chord = xp.concat([xp.reshape(xp.take(chords, rows, axis=0), (-1,)), new])
    index = xp.concat([xp.reshape(xp.take(indices, rows, axis=0), (-1,)), j])
    order = xp.argsort(index, stable=True)
    for key in (chord, row):
        order = xp.take(order, xp.argsort(xp.take(key, order), stable=True))
    starts = xp.searchsorted(xp.take(row, order), rows)
    kept = xp.take(order, xp.reshape(starts[:, None] + _count(num, chords), (-1,)))
    chords = _with_rows(chords, rows, xp.reshape(xp.take(chord, kept), (-1, num)), xp)
    indices = _with_rows(indices, rows, xp.reshape(xp.take(index, kept), (-1, num)), xp)
    return _Candidates(chords, indices, is_spread)


def _with_rows(values: Array, rows: Array, new: Array, xp: Namespace) -> Array:
    """Return the values with some rows, in ascending order, replaced."""
    if isinstance(values, np.ndarray):
        values[rows] = new
        return values
    place = xp.searchsorted(rows, _count(values.shape[0], values))
    place = _array.clip(place, xp, max=rows.shape[0] - 1)
    is_new = xp.take(rows, place) == _count(values.shape[0], values)
    return xp.where(is_new[:, None], xp.take(new, place, axis=0), values)


def _from_tree(queries: Array, points: Array, space: Any, num: int) -> tuple[Array, Array]:
    """Find candidates by a k-d tree; where it is not certain to have all, by matrix products."""
    from scipy.spatial import cKDTree

    xp = array_namespace(points)
    tree = cKDTree(np.asarray(_panel(points, space).roots, dtype=np.float64))
    roots = _panel(queries, space).roots
    chords, indices = tree.query(np.asarray(roots, dtype=np.float64), k=num + 1, workers=-1)
    (unsure,) = np.nonzero(chords[:, num] - chords[:, num - 1] <= 4.0 * _unit_error(roots, xp))
    chords, indices = chords[:, :num], indices[:, :num]
    if unsure.size:
        some = xp.take(queries, xp.asarray(unsure, device=_array.device_of(queries)), axis=0)
        found = _from_blocks(some, points, space, num)
        chords[unsure], indices[unsure] = (np.asarray(part) for part in found)
    device = _array.device_of(points)
    dtype = _count(0, points).dtype
    return xp.asarray(chords, device=device), xp.asarray(indices, dtype=dtype, device=device)


# ---------------------------------------------------------------- copies of a point


class _Copies(NamedTuple):
    """Which rows of points are copies of others."""

    firsts: Array  # (u,) the first row of each point, ascending
    starts: Array  # (u,) where its rows start in `rows`
    counts: Array  # (u,) how many they are
    rows: Array  # (n,) the rows of one point after the other, ascending for each


def _copies(points: Any) -> _Copies | None:
    """Return which rows are copies; None if there are none, or rows that cannot be compared."""
    if not (is_array_api_obj(points) and _array.is_readable(points)):
        return None
    xp = array_namespace(points)
    if not xp.isdtype(points.dtype, "real floating") or xp.finfo(points.dtype).bits > 64:
        return None
    keys = _keys(points)
    order = np.argsort(keys, kind="stable")
    (places,) = np.nonzero(keys[order[1:]] == keys[order[:-1]])
    if places.size == 0:
        return None
    is_first = np.ones(order.size, dtype=bool)
    is_first[places + 1] = ~_are_equal(points, order[places], order[places + 1])
    first = np.empty_like(order)
    first[order] = order[is_first][np.cumsum(is_first) - 1]
    firsts, counts = np.unique(first, return_counts=True)
    parts = firsts, np.cumsum(counts) - counts, counts, np.argsort(first, kind="stable")
    return _Copies(*(xp.asarray(part, device=_array.device_of(points)) for part in parts))


def _keys(points: Array) -> np.ndarray:
    """Return an integer for each row of points: sums of integers are the same everywhere."""
    if points.shape[0] == 0:
        return np.zeros(0, np.int64)
    step = _pair_rows(points)
    flat = array_namespace(points).reshape(_detached(points), (points.shape[0], -1))
    factors = 2 * np.random.default_rng(0).integers(2**62, size=flat.shape[1]) + 1
    return np.concatenate([_keys_of(flat[i, :], factors) for i in _spans(0, flat.shape[0], step)])


def _keys_of(x: Array, factors: np.ndarray) -> np.ndarray:
    positive = x + 0.0  # of both zeros
    if is_torch_array(x):
        import torch

        bits = positive.contiguous().view(getattr(torch, f"int{8 * x.dtype.itemsize}"))
        bits = bits.to(torch.int64)
        scaled = (bits ^ (bits >> 47)) * torch.from_numpy(factors).to(x.device)
        return scaled.sum(-1).numpy(force=True)
    values = np.ascontiguousarray(np.asarray(positive))
    bits = values.view(f"i{values.itemsize}").astype(np.int64)
    return (bits ^ (bits >> 47)) @ factors


def _are_equal(points: Array, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Return whether rows i and j of the points have equal entries, pair by pair."""
    xp, device = array_namespace(points), _array.device_of(points)
    parts = []
    for pairs in _spans(0, i.size, _pair_rows(points)):
        one, other = (
            xp.take(_detached(points), xp.asarray(rows[pairs], device=device), axis=0)
            for rows in (i, j)
        )
        is_equal = xp.all(xp.reshape(one == other, (one.shape[0], -1)), axis=1)
        parts.append(is_equal.numpy(force=True) if is_torch_array(one) else np.asarray(is_equal))
    return np.concatenate(parts)


def _with_copies(
    indices: Array, d: Array, copies: _Copies, num: int, xp: Namespace
) -> tuple[Array, Array]:
    """Return rows and distances of up to `num` copies of each candidate, inf where it has fewer."""
    flat = xp.reshape(indices, (-1,))
    starts, counts = (xp.take(part, flat)[:, None] for part in (copies.starts, copies.counts))
    number = _count(num, d)[None, :]
    is_there = number < counts
    rows = xp.take(copies.rows, xp.reshape(xp.where(is_there, starts + number, 0), (-1,)))
    d = xp.where(xp.reshape(is_there, (*d.shape, num)), d[:, :, None], xp.inf)
    shape = d.shape[0], -1
    return xp.reshape(rows, shape), xp.reshape(d, shape)


# ---------------------------------------------------------------- any space


def _pairwise_with(batches: list[Any], distance: Callable, block_size: int | None) -> Array:
    """Return all distances, from a function that broadcasts."""
    a, b = batches[0], batches[-1]
    among = len(batches) == 1
    shape = _length(a), _length(b)
    tile = block_size or _direct_rows(a)

    def measure(rows: slice, columns: slice) -> Array:
        return distance(a[rows, None, ...], b[None, columns, ...])

    return _assembled(measure, _grid(*shape, tile, tile, among), shape, among)


def _searched_with(
    queries: Any, points: Any, num: int, *, distance: Callable
) -> tuple[Array, Array]:
    """Return indices and distances of the nearest points, from a function that broadcasts."""
    tile = _direct_rows(queries)
    best = []
    for rows in _spans(0, _length(queries), tile):
        d = indices = None
        for columns in _spans(0, _length(points), tile):
            block = distance(queries[rows, None, ...], points[None, columns, ...])
            xp = array_namespace(block)
            column = xp.broadcast_to(_count(columns.stop, block)[columns], block.shape)
            d = block if d is None else xp.concat([d, block], axis=1)
            indices = column if indices is None else xp.concat([indices, column], axis=1)
            order = xp.argsort(d, axis=1, stable=True)[:, :num]
            d = xp.take_along_axis(d, order, axis=1)
            indices = xp.take_along_axis(indices, order, axis=1)
        best.append((indices, d))
    indices, d = (xp.concat(part, axis=0) for part in zip(*best, strict=True))
    return indices, d


def _direct_rows(batch: Any) -> int:
    """Return the rows of a block: a quarter million numbers, 4096 pairs of unknown size."""
    if not is_array_api_obj(batch):
        return 64
    return max(1, math.isqrt(4 * _PAIR_ENTRIES // max(1, math.prod(batch.shape[1:]))))


# ---------------------------------------------------------------- dask


def _lazy_pairwise(batches: list[Array], space: Any, block_size: int | None) -> Array:
    """Return all distances of dask arrays, block by block."""
    import dask.array

    a, b = _in_rows(batches)
    block = functools.partial(_pairwise_block, space, block_size, len(batches) == 1)
    return dask.array.blockwise(
        block, "ij", a, "ik", b, "jk", _numbers(a), "i", _numbers(b), "j",
        dtype=a.dtype, meta=a._meta, concatenate=True, align_arrays=False,
    )  # fmt: skip


def _in_rows(batches: list[Array]) -> tuple[Array, Array]:
    batches = [batch.rechunk({1: -1}) for batch in batches]
    return batches[0], batches[-1]


def _numbers(a: Array) -> Array:
    """Return the numbers of the blocks of rows, one in each block."""
    import dask.array

    return dask.array.arange(a.numblocks[0], chunks=1)


def _pairwise_block(
    space: Any, block_size: int | None, among: bool, a: Array, b: Array, i: Array, j: Array
) -> Array:
    if not among or i[0] < j[0]:
        return _pairwise([a, b], space, block_size)
    if i[0] == j[0]:
        return _pairwise([a], space, block_size)
    return _pairwise([b, a], space, block_size).T  # the very numbers of the block it mirrors


def _lazy_nearest(batches: list[Array], space: Any, num: int) -> tuple[Array, Array]:
    """Return the nearest points of dask arrays: block by block, then the best of all blocks."""
    import dask.array

    queries, points = _in_rows(batches)
    record = np.dtype([("index", np.int64), ("distance", points.dtype), ("key", np.int64)])
    found = dask.array.blockwise(
        functools.partial(_nearest_block, space, num, len(batches) == 1, record),
        "ij", queries, "ik", points, "jk", _starts(queries), "i", _starts(points), "j",
        adjust_chunks={"j": num}, dtype=record, meta=np.empty((0, 0), record),
        concatenate=True, align_arrays=False,
    )  # fmt: skip
    best = dask.array.reduction(
        found,
        chunk=_unchanged,
        aggregate=functools.partial(_best_of_blocks, num),
        axis=1,
        keepdims=True,
        dtype=record,
        meta=np.empty((0, 0), record),
        split_every=8,
        output_size=num,
    )
    return best["index"], best["distance"]


def _starts(a: Array) -> Array:
    """Return the number of the first row of each block, one in each block."""
    import dask.array

    return dask.array.from_array(np.cumsum((0, *a.chunks[0]))[:-1], chunks=1)


def _nearest_block(
    space: Any, num: int, among: bool, record: Any, queries: Any, points: Any, i: Any, j: Any
) -> np.ndarray:
    is_diagonal = among and i[0] == j[0]
    batches = [queries] if is_diagonal else [queries, points]
    found = np.zeros((queries.shape[0], num), record)
    found["distance"] = np.inf
    num = min(num, points.shape[0] - is_diagonal)
    if num > 0:
        indices, d = _nearest(batches, space, num)
        found["index"][:, :num] = np.asarray(indices) + j[0]
        found["distance"][:, :num] = np.asarray(d)
        found["key"][:, :num] = _keys(points)[np.asarray(indices)]
    return found


def _unchanged(found: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    return found


def _best_of_blocks(num: int, found: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    order = np.lexsort((found["distance"], found["key"]), axis=1)
    found = np.take_along_axis(found, order, axis=1)
    found["distance"] = _with_ties(found["distance"], found["key"], np)  # copies in other blocks
    order = np.lexsort((found["index"], found["distance"]), axis=1)[:, :num]
    return np.take_along_axis(found, order, axis=1)
