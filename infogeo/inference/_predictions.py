"""A test whether two sets of predictions are of one distribution, by permutation of their rows."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from infogeo import _array, _spaces, neighbors
from infogeo._array import Array, Namespace, bad_value
from infogeo._result import Result
from infogeo._status import Status
from infogeo._system.registry import storable
from infogeo.inference._draws import generator, require_integer
from infogeo.inference._frames import frame_of

_ROWS = 4000  # of a block of distances: 128 MB
_GROUPS = 4000  # that change sides together, at most: their sums of distances take 128 MB
_FEWEST = 50  # groups of the smaller set: if it has few rows, groups are small
_ENTRIES = 20_000_000  # of cumulative counts at a time


@storable("PredictionTest")
@dataclass(frozen=True, eq=False, repr=False)
class PredictionTest(Result):
    """A test whether two sets of predictions are of one distribution.

    Parameters
    ----------
    statistic : float
        The energy distance in radians: twice the mean distance between the sets less the mean
        distances within them, 0 if the sets are equal.
    p_value : float
        How often a random division of all rows gives a statistic that is as large or larger; the
        observed one is counted as one of the draws.
    confidence_statistic : float
        The largest difference of the distribution functions of the largest probability in a row
        (Kolmogorov and Smirnov).
    confidence_p_value : float
        The same for this statistic.
    num_draws : int
        Random divisions.
    status : Status
        CONVERGED: the p-values are exact up to the number of draws. UNDECIDED, with p-values NaN,
        if distances are, of values that were not checked.
    """

    statistic: float
    p_value: float
    confidence_statistic: float
    confidence_p_value: float
    num_draws: int
    status: Status

    def __str__(self) -> str:
        return (
            f"predictions: p = {self.p_value:.4g} (energy distance {self.statistic:.4g}); "
            f"confidences: p = {self.confidence_p_value:.4g} (difference "
            f"{self.confidence_statistic:.4g}); {self.num_draws} draws"
        )

    def to_frame(self) -> Any:
        """Return a pandas frame with one row for each of the two tests.

        Returns
        -------
        pandas.DataFrame
            With the fields as columns.
        """
        return frame_of(
            {
                "statistic": [self.statistic, self.confidence_statistic],
                "p_value": [self.p_value, self.confidence_p_value],
            },
            index=["predictions", "confidences"],
        )


def prediction_test(
    p: Any,
    q: Any,
    *,
    space: Any = "simplex",
    num_draws: int = 999,
    seed: int = 0,
    block_size: int | None = None,
    check: bool = True,
) -> PredictionTest:
    r"""Measure whether two sets of predictions may be of one distribution, with exact p-values.

    .. math:: E = \frac{2}{nm} \sum_{ij} d(p_i, q_j) - \frac{1}{n^2} \sum_{ij} d(p_i, p_j)
              - \frac{1}{m^2} \sum_{ij} d(q_i, q_j)

    Parameters
    ----------
    p, q : array, shape (n, c) and (m, c)
        Predictions for two independent samples of inputs, one row for each.
    space : module, object or name
        What the predictions are: `infogeo.simplex` (probabilities) or `infogeo.logits`.
    num_draws : int
        Random divisions: the smallest p-value is 1 / (num_draws + 1).
    seed : int
        Of the random draws; the same seed gives the same p-values.
    block_size : int or None
        About how many rows, whose distances among each other are in memory at a time. None: 4000.
    check : bool

    Returns
    -------
    PredictionTest
        Both statistics and their p-values.

    Raises
    ------
    TypeError, ValueError
        Predictions that are not rows of one library with the same outcomes; fewer than 2 rows;
        draws or seeds that are no such integers.

    Notes
    -----
    The rows have to be independent. Predictions of two models for the same inputs are pairs: look
    at their distances, ``fisher_rao_distance(p, q)``, instead.

    The energy distance is 0 for equal distributions of predictions alone, so that large samples
    show every difference: root probabilities lie in an open half of a sphere, whose distance is of
    strong negative type. It has little power where sure predictions have only become a little more
    or less sure: rows move little then. That is what the second test is for; it sees the largest
    probability alone, not of which class it is.

    Of N = n + m rows all N^2 / 2 distances are taken once, block by block. Beyond 4,000 rows, the
    rows of each set are put together at random, in groups of one size, and the draws divide the
    groups: such divisions are permutations of the rows as well, under which equal distributions
    stay as they are. Of a set that is much smaller than the other one there are at least 50 groups,
    or each of its rows is one; 4,000 groups, at most, take part. All other rows stay in their set.
    So a draw costs next to nothing beside the distances. The p-values depend on the order of the
    rows and of the sets as they do on the seed, as chance does in so many draws.

    References
    ----------
    G. J. Szekely and M. L. Rizzo, Energy statistics, J. Statist. Plann. Inference 143, 2013.
    R. Lyons, Strong negative type in spheres, Pacific J. Math. 307, 2020.

    Examples
    --------
    >>> from infogeo.inference import prediction_test
    >>> rng = np.random.default_rng(0)
    >>> p, q = rng.dirichlet([4, 2, 1], size=100), rng.dirichlet([3, 3, 1], size=80)
    >>> found = prediction_test(p, q)
    >>> found.p_value < 0.01, found.confidence_p_value < 0.01
    (True, False)
    """
    space = _spaces.of_predictions(space)
    rng = generator(num_draws, seed)
    block_size = _ROWS if block_size is None else block_size
    require_integer("block_size", block_size, 1)
    xp, rows, n = _pooled(p, q, space, check)
    num_rows = rows.shape[0]
    m = num_rows - n
    groups = _Groups(n, m, rng)
    rows = xp.take(rows, xp.asarray(groups.order, device=_array.device_of(rows)), axis=0)
    divisions = groups.divisions(num_draws, rng)
    sums = _sums_of_distances(rows, groups, space, block_size, xp)
    first, all_sums = divisions.astype(np.float64), sums.sum(axis=1)
    within = (first * (sums @ first)).sum(axis=0)
    between = all_sums @ first - within
    others = all_sums.sum() - within - 2.0 * between
    energies = 2.0 * between / (n * m) - within / n**2 - others / m**2
    largest = xp.max(space.SPHERE.probabilities(rows, xp), axis=-1)
    members = divisions[groups.of_row]
    gaps = _largest_gaps(np.asarray(_array.on_host(largest)), members, n)
    slack = 1e-12 * float(between[0]) / (n * m)  # what rounding leaves between equal statistics
    p_value = _p_value(energies, slack)
    return PredictionTest(
        statistic=float(np.maximum(energies[0], 0.0)),
        p_value=p_value,
        confidence_statistic=float(gaps[0]),
        confidence_p_value=_p_value(gaps, 1e-12),
        num_draws=num_draws,
        status=Status.UNDECIDED if math.isnan(p_value) else Status.CONVERGED,
    )


def _p_value(statistics: np.ndarray, slack: float) -> float:
    """Return the share of statistics that are at least the first one, which is among them."""
    if not np.isfinite(statistics).all():
        return math.nan
    return float(np.mean(statistics >= statistics[0] - slack))


def _pooled(p: Any, q: Any, space: Any, check: bool) -> tuple[Namespace, Array, int]:
    """Return the rows of both sets, and how many are of the first."""
    xp, first, second = neighbors.gate_rows(check, space.POINTS, {"p": p, "q": q})
    for name, rows in (("p", first), ("q", second)):
        if rows.shape[0] < 2:
            raise bad_value(
                name, "have at least 2 rows, one prediction each", f"it has {rows.shape[0]}"
            )
        if not _array.is_readable(rows):
            raise TypeError(f"{name} must have values that can be read. Call it outside of traces.")
    return xp, xp.concat([first, second], axis=0), first.shape[0]


class _Groups:
    """Rows that change sides together: groups of one size, and for each set what stays in it.

    Parameters
    ----------
    n, m : int
        Rows of the two sets, of which the first n are the first.
    rng : numpy.random.Generator
        Decides which rows are together.
    """

    def __init__(self, n: int, m: int, rng: np.random.Generator) -> None:
        self.size = max(1, min(-(-(n + m) // _GROUPS), min(n, m) // _FEWEST))
        # Rows of the larger set that are too many for so small groups stay in it.
        fewer = min(n, m) // self.size
        self.numbers = tuple(min(rows // self.size, _GROUPS - fewer) for rows in (n, m))
        first, second = rng.permutation(n), n + rng.permutation(m)
        whole = [number * self.size for number in self.numbers]
        parts = [first[: whole[0]], second[: whole[1]], first[whole[0] :], second[whole[1] :]]
        self.order = np.concatenate(parts)  # of the rows, group by group
        self.left = len(parts[2]), len(parts[3])
        sizes = [self.size] * sum(self.numbers) + [left for left in self.left if left]
        self.of_row = np.repeat(np.arange(len(sizes)), sizes)

    def divisions(self, num_draws: int, rng: np.random.Generator) -> np.ndarray:
        """Return which groups are of the first set: as observed, then in random divisions."""
        number, total = self.numbers[0], sum(self.numbers)
        found = np.zeros((self.of_row[-1] + 1, num_draws + 1), dtype=bool)
        found[:number, 0] = True
        for draw in range(1, num_draws + 1):
            found[rng.permutation(total)[:number], draw] = True
        if self.left[0]:
            found[total] = True  # the rest of the first set stays there
        return found

    def blocks(self, num_rows: int) -> list[tuple[slice, int, slice]]:
        """Return slices of rows, of about so many, the size of their groups and which these are."""
        step = max(1, num_rows // self.size)
        total = sum(self.numbers)
        found = []
        for start in range(0, total, step):
            end = min(start + step, total)
            rows = slice(start * self.size, end * self.size)
            found.append((rows, self.size, slice(start, end)))
        start, group = total * self.size, total
        for left in self.left:
            end = start + left
            for first in range(start, end, num_rows):
                last = min(first + num_rows, end)
                found.append((slice(first, last), last - first, slice(group, group + 1)))
            start, group = end, group + (left > 0)
        return found


def _sums_of_distances(
    rows: Array, groups: _Groups, space: Any, num_rows: int, xp: Namespace
) -> np.ndarray:
    """Return the sums of the distances between the rows of each two groups."""
    dtype = _array.widest_dtype(rows, xp)
    found = np.zeros((groups.of_row[-1] + 1,) * 2)
    blocks = groups.blocks(num_rows)
    for i, (own, size, here) in enumerate(blocks):
        for j, (other, other_size, there) in enumerate(blocks[i:], start=i):
            d = neighbors.pairwise_distance(rows[own, :], rows[other, :], space=space, check=False)
            d = xp.astype(d, dtype, copy=False)
            d = xp.sum(xp.reshape(d, (-1, size, d.shape[1])), axis=1)
            d = xp.sum(xp.reshape(d, (d.shape[0], -1, other_size)), axis=2)
            sums = np.asarray(_array.on_host(d))
            found[here, there] += sums
            if j > i:
                found[there, here] += sums.T
    return found


def _largest_gaps(values: np.ndarray, members: np.ndarray, n: int) -> np.ndarray:
    """Return the largest differences of the distribution functions of the two sets."""
    num_rows, num_sets = members.shape
    order = np.argsort(values, kind="stable")
    # Steps are complete where the next value is another one.
    ends = np.flatnonzero(np.append(np.diff(values[order]) > 0.0, True))
    found = np.empty(num_sets)
    step = max(1, _ENTRIES // num_rows)
    for start in range(0, num_sets, step):
        part = slice(start, start + step)
        first = np.cumsum(members[order, part], axis=0)[ends]
        second = (ends + 1)[:, None] - first
        found[part] = abs(first / n - second / (num_rows - n)).max(axis=0)
    return found
