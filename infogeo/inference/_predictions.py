"""A test whether two sets of predictions are of one distribution, by permutation of their rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from infogeo import _array, _spaces, neighbors
from infogeo._array import Array, Namespace, bad_value
from infogeo._result import Result
from infogeo._status import Status
from infogeo._system.registry import storable
from infogeo.inference._resampling import frame_of, generator, require_integer

_ROWS = 4000  # of a block of distances: 128 MB
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
        CONVERGED: the p-values are exact up to the number of draws.
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
        Rows whose distances are in memory at a time, squared. None: 4000.
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

    Of N = n + m rows all N^2 / 2 distances are taken once, block by block, and each costs one
    multiplication for each draw: 2e5 rows with 199 draws are 4e12 of these.

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
    members = _divisions(num_rows, n, num_draws, rng)
    within, between, others = _sums_of_distances(rows, members, space, block_size, xp)
    m = num_rows - n
    energies = 2.0 * between / (n * m) - within / n**2 - others / m**2
    largest = xp.max(space.SPHERE.probabilities(rows, xp), axis=-1)
    gaps = _largest_gaps(np.asarray(_array.on_host(largest)), members, n)
    slack = 1e-12 * float(between[0]) / (n * m)  # what rounding leaves between equal statistics
    return PredictionTest(
        statistic=max(float(energies[0]), 0.0),
        p_value=_p_value(energies, slack),
        confidence_statistic=float(gaps[0]),
        confidence_p_value=_p_value(gaps, 1e-12),
        num_draws=num_draws,
        status=Status.CONVERGED,
    )


def _p_value(statistics: np.ndarray, slack: float) -> float:
    """Return the share of statistics that are at least the first one, which is among them."""
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


def _divisions(num_rows: int, n: int, num_draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return which rows are of the first set: as observed, then in random divisions."""
    members = np.zeros((num_rows, num_draws + 1), dtype=bool)
    members[:n, 0] = True
    for draw in range(1, num_draws + 1):
        members[rng.permutation(num_rows)[:n], draw] = True
    return members


def _sums_of_distances(
    rows: Array, members: np.ndarray, space: Any, block: int, xp: Namespace
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sums of distances within the first sets, between, and within the second sets."""
    num_rows = rows.shape[0]
    dtype, device = _array.widest_dtype(rows, xp), _array.device_of(rows)
    of_row = np.zeros(num_rows)
    within = np.zeros(members.shape[1])
    starts = range(0, num_rows, block)

    def chosen(part: slice) -> Array:
        return xp.astype(xp.asarray(members[part], device=device), dtype)

    def to_host(x: Array) -> np.ndarray:
        return np.asarray(_array.on_host(x))

    for i, start in enumerate(starts):
        own = slice(start, start + block)
        left = chosen(own)
        for other in (slice(k, k + block) for k in starts[i:]):
            d = neighbors.pairwise_distance(rows[own, :], rows[other, :], space=space, check=False)
            d = xp.astype(d, dtype, copy=False)
            is_diagonal = other.start == start
            right = left if is_diagonal else chosen(other)
            sums = to_host(xp.sum(left * xp.matmul(d, right), axis=0))
            within += sums if is_diagonal else 2.0 * sums
            of_row[own] += to_host(xp.sum(d, axis=1))
            if not is_diagonal:
                of_row[other] += to_host(xp.sum(d, axis=0))
    between = of_row @ members - within
    return within, between, of_row.sum() - within - 2.0 * between


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
