r"""Tests whether samples are of one distribution, by simulation of what is random given the totals.

The statistic is N times the squared chord between the observed shares on the sphere of root
probabilities. Under equality the counts of a sample given the totals of all samples do not depend
on the distribution: they are drawn from that law, and the share of draws that are at least as far
apart is a p-value that is right at every sample size, with empty and rare outcomes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.stats import random_table

from infogeo import mean
from infogeo._array import PROBABILITIES, bad_value
from infogeo._result import Result, Table
from infogeo._system.registry import storable
from infogeo.inference._counts import COUNTS, gate_counts
from infogeo.inference._draws import generator
from infogeo.inference._frames import frame_of_fields

_BLOCK = 1_000_000  # drawn counts at a time
_LARGEST = 10**9  # observations: the random number generators take fewer than these


@storable("Test")
@dataclass(frozen=True, eq=False, repr=False)
class Test(Result):
    """A test of equality.

    Parameters
    ----------
    statistic : array, shape (...)
        What was measured, in squared radians times the number of observations.
    p_value : array, shape (...)
        How often equal distributions give a statistic that is as large or larger; the observed
        one is counted as one of the draws.
    num_draws : int
        Draws of the simulation.
    """

    __test__ = False  # pytest takes it for a class of tests by its name

    statistic: np.ndarray
    p_value: np.ndarray
    num_draws: int

    def __str__(self) -> str:
        if self.p_value.ndim:
            return f"Test: a batch of shape {self.p_value.shape}, {self.num_draws} draws"
        return f"p = {self.p_value:.4g} (statistic {self.statistic:.4g}, {self.num_draws} draws)"

    def to_frame(self) -> Any:
        """Return a pandas frame with one row for each test.

        Returns
        -------
        pandas.DataFrame
            With the fields as columns.
        """
        return frame_of_fields(self, "statistic", "p_value")


@storable("KSampleTest")
@dataclass(frozen=True, eq=False, repr=False)
class KSampleTest(Table):
    """A test whether several samples are of one distribution.

    Parameters
    ----------
    statistic : float
        The sum of n_j d^2 between the samples and their mean.
    p_value : float
        As for `Test`.
    num_draws : int
        Draws of the simulation.
    mean : array, shape (c,)
        The Frechet mean of the observed shares, weighted by the sizes of the samples.
    pairs : array, shape (k, k)
        p-values of each two samples, adjusted by Holm's method: to call all pairs different whose
        entry is below a level errs once at most with the probability of that level. The diagonal
        is 1.
    """

    axes: ClassVar = {"first": None, "second": None}

    statistic: float
    p_value: float
    num_draws: int
    mean: np.ndarray
    pairs: np.ndarray

    def __str__(self) -> str:
        num_different = int((self.pairs < 0.05).sum()) // 2
        num_pairs = len(self.pairs) * (len(self.pairs) - 1) // 2
        return (
            f"p = {self.p_value:.4g} (statistic {self.statistic:.4g}, {self.num_draws} draws); "
            f"{num_different} of {num_pairs} pairs differ at the level 0.05 (Holm)"
        )


def homogeneity_test(counts_a: Any, counts_b: Any, *, num_draws: int = 9999, seed: int = 0) -> Test:
    """Check whether two samples may be of one distribution, with an exact p-value.

    Parameters
    ----------
    counts_a, counts_b : array, shape (..., c)
        How often each outcome was seen in each sample; leading axes broadcast.
    num_draws : int
    seed : int

    Returns
    -------
    Test
        The statistic and its p-value, one for each row.

    Raises
    ------
    TypeError
        Dicts and Counters: `infogeo.interop.frames.matched_counts` turns them into counts.
    ValueError
        Counts that are negative, no whole numbers or all 0; samples with different names of
        outcomes; a billion observations or more.

    Notes
    -----
    Given the totals, the counts of the first sample are multivariate hypergeometric. A test that
    is repeated while data come in errs more often than its level says: divide the level by the
    number of looks.

    Examples
    --------
    >>> from infogeo.inference import homogeneity_test
    >>> print(homogeneity_test([53, 28, 12, 7], [46, 26, 17, 11]))
    p = 0.5264 (statistic 2.338, 9999 draws)
    """
    given = gate_counts(counts_a=(COUNTS, counts_a), counts_b=(COUNTS, counts_b))
    x, y = (v.astype(np.int64) for v in np.broadcast_arrays(*given))
    _limit("counts_a and counts_b", x.sum(-1) + y.sum(-1))
    rng = generator(num_draws, seed)

    def draws(row: Any, size: int) -> np.ndarray:
        totals = x[row] + y[row]
        drawn = rng.multivariate_hypergeometric(
            totals, int(x[row].sum()), size=size, method="marginals"
        )
        return _statistic(drawn, totals - drawn)

    return _simulated(_statistic(x, y), draws, x.shape, num_draws)


def goodness_of_fit(counts: Any, p: Any, *, num_draws: int = 9999, seed: int = 0) -> Test:
    """Check whether a sample may be of a distribution that is known, with an exact p-value.

    Parameters
    ----------
    counts : array, shape (..., c)
        How often each outcome was seen.
    p : array, shape (..., c)
        The distribution; leading axes broadcast.
    num_draws : int
    seed : int

    Returns
    -------
    Test
        The statistic and its p-value, one for each row.

    Raises
    ------
    ValueError
        Counts that are negative, no whole numbers, all 0 or of more than 1e14 observations; p that
        are no probabilities.

    Examples
    --------
    >>> from infogeo.inference import goodness_of_fit
    >>> print(goodness_of_fit([18, 22, 15, 17, 19, 29], [1 / 6] * 6))
    p = 0.3446 (statistic 5.71, 9999 draws)
    """
    x, p = np.broadcast_arrays(*gate_counts(counts=(COUNTS, counts), p=(PROBABILITIES, p)))
    p = p / p.sum(-1, keepdims=True)
    rng = generator(num_draws, seed)

    def draws(row: Any, size: int) -> np.ndarray:
        drawn = rng.multinomial(int(x[row].sum()), p[row], size=size)
        return _statistic(drawn, p[row], is_known=True)

    return _simulated(_statistic(x, p, is_known=True), draws, x.shape, num_draws)


def k_sample_test(counts: Any, *, num_draws: int = 9999, seed: int = 0) -> KSampleTest:
    """Check whether several samples may be of one distribution, and which of them differ.

    Parameters
    ----------
    counts : array, shape (k, c)
        How often each outcome was seen in each of k samples.
    num_draws : int
    seed : int

    Returns
    -------
    KSampleTest
        The statistic, its p-value, the mean, and the p-values of pairs.

    Raises
    ------
    ValueError
        Fewer than two samples; counts that are negative, no whole numbers or all 0; a billion
        observations or more.

    Notes
    -----
    Tables with the totals of the rows and columns that were observed are drawn by Patefield's
    algorithm. The statistic of a table takes the nearest point of the chords as its mean, which is
    close to the Frechet mean and has a closed form.

    Examples
    --------
    >>> from infogeo.inference import k_sample_test
    >>> print(k_sample_test([[53, 28, 12, 7], [46, 26, 17, 11], [22, 30, 29, 19]]))
    p = 0.0002 (statistic 29.16, 9999 draws); 2 of 3 pairs differ at the level 0.05 (Holm)
    """
    x = gate_counts(counts=(COUNTS, counts))[0].astype(np.int64)
    if x.ndim != 2 or len(x) < 2:
        raise bad_value(
            "counts", "have one row for each of at least two samples", f"got shape {x.shape}"
        )
    _limit("counts", x.sum(-1, dtype=np.float64).sum())
    rng = generator(num_draws, seed)
    columns = x.sum(0)
    if len(columns) == 1:  # for which the generator is wrong; zeros beside it change nothing
        columns = np.append(columns, 0)
    table = random_table(x.sum(-1), columns)

    def draws(row: Any, size: int) -> np.ndarray:
        return _spread(table.rvs(size=size, random_state=rng)[..., : x.shape[1]])

    found = _simulated(_spread(x)[None], draws, (1, x.size), num_draws)
    shares = x / x.sum(-1, keepdims=True)
    first, second = np.triu_indices(len(x), 1)
    pairs = homogeneity_test(x[first], x[second], num_draws=num_draws, seed=seed)
    return KSampleTest(
        statistic=float(found.statistic[0]),
        p_value=float(found.p_value[0]),
        num_draws=num_draws,
        mean=mean.frechet_mean(shares, weights=x.sum(-1)).point,
        pairs=_table_of(_holm(pairs.p_value), first, second, len(x)),
    )


def _limit(names: str, observed: np.ndarray) -> None:
    """Refuse more observations than can be drawn."""
    if observed.size and observed.max() >= _LARGEST:
        raise bad_value(
            names,
            f"count fewer than {_LARGEST:,} observations in all",
            f"got {observed.max():,.0f}",
            "The interval of infogeo.inference.interval has no such limit.",
        )


def _statistic(x: np.ndarray, other: np.ndarray, *, is_known: bool = False) -> np.ndarray:
    """Return N times the squared chord of each row."""
    n = x.sum(-1)
    m = other.sum(-1)  # 1 for a distribution
    inverse = 1.0 / n if is_known else 1.0 / n + 1.0 / m
    p, q = x / n[..., None], other / m[..., None]
    return 4.0 / inverse * ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(-1)


def _spread(x: np.ndarray) -> np.ndarray:
    """Return the sum of n_j times the squared chord between samples and their mean."""
    n = x.sum(-1, keepdims=True)
    roots = np.sqrt(x / n)
    middle = (n * roots).sum(-2, keepdims=True)
    middle = middle / np.sqrt((middle**2).sum(-1, keepdims=True))
    return 4.0 * (n * (roots - middle) ** 2).sum((-1, -2))


def _simulated(
    statistic: np.ndarray,
    draws: Callable[[Any, int], np.ndarray],
    shape: tuple[int, ...],
    num_draws: int,
) -> Test:
    """Return the test of each row: how often a draw is as far away, or farther."""
    p_value = np.empty(shape[:-1])
    size = max(1, _BLOCK // shape[-1])
    for row in np.ndindex(*shape[:-1]):
        # Equal tables differ by the order of sums, and where all shares are equal by rounding.
        least = statistic[row] * (1.0 - 1e-12) - 1e-12
        sizes = [min(size, num_draws - done) for done in range(0, num_draws, size)]
        above = sum(int((draws(row, k) >= least).sum()) for k in sizes)
        p_value[row] = (1 + above) / (1 + num_draws)
    return Test(statistic, p_value, num_draws)


def _holm(p_values: np.ndarray) -> np.ndarray:
    """Return p-values adjusted so that the smallest are right for all of them at once."""
    order = np.argsort(p_values)
    raised = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted


def _table_of(values: np.ndarray, first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray:
    table = np.ones((size, size))
    table[first, second] = table[second, first] = values
    return table
