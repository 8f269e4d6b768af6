"""Points in cells, of which a search skips those that are too far from a query.

The cells are those of a k-d tree of the unit vectors in their principal directions. A projection
makes no distance longer, so a query is at least as far from all points of a cell as its
coordinates in these directions are from the box of the cell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from infogeo._array import Array
from infogeo.neighbors._blocks import panel_rows, slices
from infogeo.neighbors._distances import panel_of

_CELL = 240  # points in a cell, at most: enough for a matrix product
_DIRECTIONS = 16  # more hardly ever part fewer than many millions of points
_SAMPLE = 512  # points that the directions are taken from: all directions are right


class _Split(NamedTuple):
    """A box in two: one side reaches up to `low` along an axis, the other begins at `high`."""

    axis: int
    low: float
    high: float
    sides: tuple[_Node, _Node]


_Node: TypeAlias = _Split | int  # of a cell its number


@dataclass(frozen=True)
class Cells:
    """Points in cells.

    Parameters
    ----------
    points : array, shape (n, c)
        As given.
    space : module
        The space of the points, which has a sphere chart.
    center : float64 array, shape (c,)
        Where the coordinates are 0.
    directions : float64 array, shape (c, m)
        Orthonormal columns.
    root : _Split or int
        The tree.
    rows : list of int array
        The points of each cell, ascending.
    """

    points: Array
    space: Any
    center: Array
    directions: Array
    root: _Node
    rows: list[Array]

    def coordinates(self, points: Array) -> Array:
        """Return the coordinates (m, n) of the unit vectors of points (n, c)."""
        return _coordinates(points, self.space, self.center, self.directions)

    def reach(self, chords: Array) -> Array:
        """Return how far in coordinates a point may be that is within chords, with the rounding."""
        length, num_directions = self.directions.shape
        error = 4.0 * (length + 16.0) * math.sqrt(num_directions) * float(np.finfo(np.float64).eps)
        return chords * (1.0 + 1e-9) + error

    def homes(self, coordinates: Array) -> Iterator[tuple[int, Array]]:
        """Yield the cells that are the home of some columns of coordinates, and these."""
        yield from _homes(self.root, coordinates, np.arange(coordinates.shape[1]))

    def visits(self, coordinates: Array, reach: Array) -> Iterator[tuple[int, Array, Array]]:
        """Yield the cells within reach of some columns, these, and their squared distances.

        What a column reaches is read anew at every cell: it may shrink in between.
        """
        columns, along = np.arange(coordinates.shape[1]), np.zeros_like(coordinates)
        start = np.zeros(columns.size)
        yield from _visits(self.root, coordinates, reach, columns, start, along)


def cells_of(points: Array, space: Any) -> Cells:
    """Put points into cells."""
    sample = panel_of(points[:: max(1, points.shape[0] // _SAMPLE), :], space).roots
    center = sample.mean(axis=0)
    _, _, directions = np.linalg.svd(sample - center, full_matrices=False)
    directions = np.ascontiguousarray(directions[:_DIRECTIONS].T)
    cells: list[Array] = []
    coordinates = _coordinates(points, space, center, directions)
    root = _tree(coordinates, np.arange(points.shape[0]), cells)
    return Cells(points, space, center, directions, root, cells)


def _coordinates(points: Array, space: Any, center: Array, directions: Array) -> Array:
    coordinates = np.empty((directions.shape[1], points.shape[0]))
    for block in slices(0, points.shape[0], panel_rows(points)):
        coordinates[:, block] = ((panel_of(points[block, :], space).roots - center) @ directions).T
    return coordinates


def _tree(coordinates: Array, columns: Array, cells: list[Array]) -> _Node:
    """Return the tree of some points, whose cells are added to the list."""
    if columns.size <= _CELL:
        cells.append(np.sort(columns))
        return len(cells) - 1
    values = coordinates[:, columns]
    axis = int(np.argmax(values.var(axis=1)))
    half = (columns.size // _CELL + 1) // 2 * _CELL  # all cells but one are full
    order = np.argpartition(values[axis], half)
    low, high = order[:half], order[half:]
    below, above = (_tree(coordinates, columns[part], cells) for part in (low, high))
    lowest, highest = float(values[axis, high].min()), float(values[axis, low].max())
    return _Split(axis, highest, lowest, (below, above))


def _homes(node: _Node, coordinates: Array, columns: Array) -> Iterator[tuple[int, Array]]:
    if columns.size == 0:
        return
    if isinstance(node, int):
        yield node, columns
        return
    is_high = coordinates[node.axis, columns] > 0.5 * (node.low + node.high)
    for side, part in zip(node.sides, (~is_high, is_high), strict=True):
        yield from _homes(side, coordinates, columns[part])


def _visits(
    node: _Node, coordinates: Array, reach: Array, columns: Array, squared: Array, along: Array
) -> Iterator[tuple[int, Array, Array]]:
    """Yield what `Cells.visits` does, for the cells of a node.

    `along` holds the distances of all columns from the box of the node along the axes, and
    `squared` the sums of their squares for the columns that have reached it.
    """
    is_near = squared <= reach[columns] ** 2
    columns, squared = columns[is_near], squared[is_near]
    if columns.size == 0:
        return
    if isinstance(node, int):
        yield node, columns, squared
        return
    x, before = coordinates[node.axis, columns], along[node.axis, columns]
    for side, gap in zip(node.sides, (x - node.low, node.high - x), strict=True):
        gap = np.maximum(gap, before)
        along[node.axis, columns] = gap
        farther = squared + (gap * gap - before * before)
        yield from _visits(side, coordinates, reach, columns, farther, along)
    along[node.axis, columns] = before
