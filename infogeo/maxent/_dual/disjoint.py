"""One margin, or two without a common axis: how such a table becomes a matrix, and back."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from infogeo._status import Status
from infogeo.maxent._dual.problem import CAUTION, EPS
from infogeo.maxent._dual.projection import Projection
from infogeo.maxent._dual.scaling import Lines, Scaled, SparseLines, Sums, rounding, scale

if TYPE_CHECKING:
    from infogeo.maxent._cells import Table

# A matrix of no more than so many entries for each cell of the table is stored as a whole.
_SPARSITY = 4
# Factors whose logarithms ran off further are no start for another method.
_LARGEST_START = 1e3


def are_disjoint(margins):
    """Whether there is one margin, or two without a common axis."""
    axes = [axis for margin in margins for axis in margin.axes]
    return len(margins) <= 2 and len(set(axes)) == len(axes)


def fit_disjoint(table, margins, roundoff, max_steps):
    """Fit one margin, or two without a common axis.

    Returns
    -------
    Projection or None
        None if zeros of the table may force other zeros, or may make it impossible: if it falls
        into parts, has lines without cells, or if no factors were found.
    str
        What to tell if it is no solution.
    array
        Natural parameters to go on from.
    """
    plane = _Plane.of(table, margins)
    totals = [math.fsum(a) for a in plane.values]
    gap = abs(totals[1] / totals[0] - 1.0)
    no_theta = np.zeros(sum(margin.values.size for margin in margins))
    if gap > 2.0 * CAUTION * roundoff * max(a.size for a in plane.values):
        eta = np.repeat([1.0, -1.0], [a.size for a in plane.values])[: no_theta.size]
        scaled = _nothing(Status.INFEASIBLE, plane)
        found = plane.projection(scaled, certificate=eta if totals[0] < totals[1] else -eta)
        return found, "", no_theta
    matrix = plane.matrix()
    if matrix is None:
        return None, "", no_theta
    roundoff = max(roundoff, gap)
    sums = [Sums(a[k], roundoff) for a, k in zip(plane.logs, plane.kept, strict=True)]
    scaled = scale(matrix, *sums, max_steps)
    found = plane.projection(scaled)
    if isinstance(matrix, SparseLines) and not found.status.is_solution:
        has_start = np.abs(found.theta).max() < _LARGEST_START
        return None, "", found.theta if has_start else no_theta
    return found, _reason(found.status), found.theta


def _reason(status):
    if status is Status.MAX_STEPS:
        return "The Newton steps ran out: raise max_steps."
    return (
        "Undecided: the table nearly falls into parts. How much mass lies between them depends on "
        "digits of the margins that their dtype does not hold. The table in error.result has these "
        "margins to rounding; its smallest entries are not known."
    )


def _nothing(status, plane):
    """Return what stands for factors where there are none."""
    rows, columns = (np.zeros(int(k.sum())) for k in plane.kept)
    return Scaled(status, rows, columns, 0)


@dataclass(frozen=True)
class _Plane:
    """A table as a matrix, whose lines are the cells of two margins."""

    table: "Table"
    num_margins: int  # of one margin: the total is the other
    lines: list[np.ndarray]  # for each margin, in which line each cell of the table is
    values: list[np.ndarray]
    logs: list[np.ndarray]
    kept: list[np.ndarray]  # bool, for each margin: the lines that are not empty
    allowed: np.ndarray  # bool (c,): the cells that are no structural zeros
    support: np.ndarray  # bool (c,): those of them in lines that are not empty

    @classmethod
    def of(cls, table, margins):
        """Return the table as a matrix."""
        values = [margin.values.reshape(-1) for margin in margins]
        logs = [margin.logs.reshape(-1) for margin in margins]
        lines = [table.lines(margin.axes) for margin in margins]
        if len(margins) == 1:
            values, logs = [*values, np.ones(1)], [*logs, np.zeros(1)]
            lines = [*lines, table.lines(())]
        kept = [a > -math.inf for a in logs]
        allowed = table.logs > -math.inf
        support = allowed & kept[0][lines[0]] & kept[1][lines[1]]
        return cls(table, len(margins), lines, values, logs, kept, allowed, support)

    def matrix(self):
        """Return its rows that are not empty; None if they have no entries or fall into parts."""
        shape = tuple(int(k.sum()) for k in self.kept)
        cells = self.support
        rows, columns = (
            (np.cumsum(k) - 1)[i[cells]] for k, i in zip(self.kept, self.lines, strict=True)
        )
        logs, blur = self.table.logs[cells], self.table.blur[cells]
        size = shape[0] * shape[1]
        if size <= _SPARSITY * self.table.logs.size + sum(shape):
            logs, blur = _summed(rows * shape[1] + columns, logs, blur, size)
            if (logs > -math.inf).all():
                return Lines(logs.reshape(shape), blur.reshape(shape))
            (cells,) = np.nonzero(logs > -math.inf)
            rows, columns = np.divmod(cells, shape[1])
            logs, blur = logs[cells], blur[cells]
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
        order = np.lexsort((columns, rows))
        entries = (logs[order], columns[order], starts)
        sparse = SparseLines(scipy.sparse.csr_array(entries, shape=shape), blur[order])
        return sparse if _is_connected(sparse.logs) else None

    def projection(self, scaled, certificate=None):
        """Return the result in the cells of the table."""
        factors = [np.zeros(k.size) for k in self.kept]
        for factor, k, part in zip(factors, self.kept, (scaled.rows, scaled.columns), strict=True):
            factor[k] = part
        logs, cells = self.table.logs, self.support if self.support.any() else self.allowed
        log_p = np.full(logs.size, -math.inf)
        log_p[cells] = logs[cells] + sum(
            f[i[cells]] for f, i in zip(factors, self.lines, strict=True)
        )
        status, bound = scaled.status, scaled.error
        if status is Status.CONVERGED:
            bound += float(rounding(self.table.blur[cells], logs[cells], log_p[cells]).max())
            if not cells[self.allowed].all():
                status = Status.BOUNDARY
        else:
            log_p -= log_p.max() + math.log(np.exp(log_p - log_p.max()).sum())
        return self._described(status, log_p, factors, bound, scaled.steps, certificate)

    def _described(self, status, log_p, factors, bound, steps, certificate):
        p = np.exp(log_p)
        misses = [
            np.bincount(i, p, minlength=a.size) - a
            for i, a in zip(self.lines, self.values, strict=True)
        ]
        centres = [float(f[k].mean()) for f, k in zip(factors, self.kept, strict=True)]
        theta = [
            np.where(k, f - m, 0.0) for f, k, m in zip(factors, self.kept, centres, strict=True)
        ]
        direction = [np.where(k, 0.0, 1.0) for k in self.kept]
        count, on = self.num_margins, p > 0.0
        entropy = max(0.0, -float((p[on] * log_p[on]).sum()))
        return Projection(
            probabilities=p,
            log_probabilities=log_p,
            theta=np.concatenate(theta[:count]),
            log_partition=np.float64(self.table.shift - sum(centres)),
            value=np.float64(entropy + float(p[on] @ self.table.logs[on]) + self.table.shift),
            entropy=np.float64(entropy),
            residual=np.float64(max(np.abs(x).max() for x in misses[:count])),
            error_bound=np.float64(bound),
            dual_gap=np.float64(bound**2),
            status=status,
            support=log_p > -math.inf,
            rank=np.int64(sum(int(k.sum()) for k in self.kept) - 2),
            steps=np.int64(steps),
            certificate=certificate,
            direction=np.concatenate(direction[:count]) if status is Status.BOUNDARY else None,
            member_status=np.array(status, dtype=object),
        )


def _summed(where, logs, blur, size):
    """Return the logarithms of sums of cells, and how well they are known."""
    if where.size == size and (np.bincount(where, minlength=size) == 1).all():
        order = np.argsort(where)
        return logs[order], blur[order]
    top = np.full(size, -math.inf)
    np.maximum.at(top, where, logs)
    terms = np.exp(logs - top[where])
    total = np.bincount(where, terms, minlength=size)
    is_sum = total > 0.0
    safe = np.where(is_sum, total, 1.0)
    of_terms = np.bincount(where, terms * blur, minlength=size) / safe
    sums = np.where(is_sum, top + np.log(safe), -math.inf)
    num_terms = float(np.bincount(where, minlength=size).max())
    return sums, of_terms + EPS * (num_terms + 6.0 + np.where(is_sum, np.abs(sums), 0.0))


def _is_connected(rows):
    """Whether every line has entries, and none of their parts is a table of its own."""
    graph = scipy.sparse.csr_array((np.ones(rows.nnz), rows.indices, rows.indptr), shape=rows.shape)
    both = scipy.sparse.block_array([[None, graph], [graph.T, None]])
    return connected_components(both, directed=False, return_labels=False) == 1
