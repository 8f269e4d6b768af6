r"""Confidence intervals for the Fisher-Rao distance of two estimated distributions.

The plug-in distance of two samples is too large: two samples of one distribution are about
sqrt((c - 1)(1/n + 1/m)) apart. The interval inverts the distribution of the squared chord
:math:`T = 4 N \sum_i (\sqrt{\hat p_i} - \sqrt{\hat q_i})^2`, N = nm / (n + m), given how often the
two samples together have seen each outcome: cells that are rarely seen then have the moments that
they really have, where the chi-square law of large samples fails.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaincinv, ndtri

from infogeo import _spaces
from infogeo._array import bad_value, finite_number
from infogeo._result import Result
from infogeo._system.registry import storable
from infogeo.inference import _normals
from infogeo.inference._bounds import one_sample_bounds, two_sample_bounds
from infogeo.inference._cells import BinomialCells, Cells, poisson_cells
from infogeo.inference._counts import two_samples
from infogeo.inference._frames import frame_of_fields
from infogeo.simplex import fisher_rao_distance

_LARGEST_VARIANCE = (0.25 * math.pi) ** 2  # of angles between 0 and pi / 2
_NORMAL = 1e6  # both parameters of a beta variable from which on it is as good as normal
_OPEN = 0.25  # the part of an interval from which on it is said that rare outcomes make it
_TOLERANCE = 3e-4  # of roots, in standard errors
_END = 2.0  # of the way; 1 is its middle, where most roots are before
_BLOCK = 100_000  # cells at a time: what is computed for each fits into the cache


@storable("Interval")
@dataclass(frozen=True, eq=False, repr=False)
class Interval(Result):
    """An interval for the distance of two distributions that were estimated.

    Parameters
    ----------
    estimate : array, shape (...)
        Estimate of the distance, in radians: too large as often as too small where outcomes are
        seen often. Where `unresolved` is large, the data prefer no distance between the ends.
    lower, upper : array, shape (...)
        Ends of the interval, in radians; lower is 0 where the samples may be of one distribution.
    distance : array, shape (...)
        The plug-in distance of the observed shares, which is too large.
    unseen : array, shape (...)
        Estimate of the probability of what neither sample has seen, from what was seen once
        (Good and Turing). 0 for normals.
    unresolved : array, shape (...)
        By how much the ends were moved apart because outcomes were seen too rarely to tell small
        probabilities from 0. Where this is most of the length, a coarser set of outcomes gives a
        shorter interval, for the distance between coarser distributions, which is smaller. 0 for
        normals.
    level : float
        The probability with which an interval holds the distance.
    """

    estimate: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    distance: np.ndarray
    unseen: np.ndarray
    unresolved: np.ndarray
    level: float

    def __str__(self) -> str:
        is_open = self.unresolved > _OPEN * (self.upper - self.lower)
        if self.estimate.ndim:
            shape = self.estimate.shape
            text = f"Interval: a batch of shape {shape} at the level {self.level:.15g}"
            number = int(is_open.sum())
            return f"{text}; rare outcomes make {number} of them long" if number else text
        text = (
            f"{self.estimate:.4g} rad, from {self.lower:.4g} to {self.upper:.4g} at the level "
            f"{self.level:.15g} (plug-in distance {self.distance:.4g})"
        )
        return f"{text}; rare outcomes make {self.unresolved:.4g} of it" if is_open else text

    def to_frame(self) -> Any:
        """Return a pandas frame with one row for each pair of distributions.

        Returns
        -------
        pandas.DataFrame
            With the fields as columns.
        """
        names = ("estimate", "lower", "upper", "distance", "unseen", "unresolved")
        return frame_of_fields(self, *names)


def interval(
    counts_a: Any,
    counts_b: Any,
    *,
    size_a: float | None = None,
    size_b: float | None = None,
    level: float = 0.95,
) -> Interval:
    r"""Estimate the distance of two sampled distributions, with a confidence interval.

    Parameters
    ----------
    counts_a, counts_b : array, shape (..., c), or fitted normals
        How often each outcome was seen in each sample, in whole numbers; leading axes broadcast.
        Or two batches of `Normal` or of `MultivariateNormal`, fitted by maximum likelihood.
    size_a, size_b : float, optional
        Where one is given, that argument holds probabilities in the place of counts: observed
        shares of a sample of this size (of a weighted sample its effective size), or with
        ``math.inf`` a distribution that is known. At most one of them can be known. Of normals the
        number of samples, an array if it differs in the batch, at least d + 2; needed where the
        normals do not carry it, as those of ``fit`` do.
    level : float
        The probability with which the interval is to hold the distance; of normals at most 0.995.

    Returns
    -------
    Interval
        Estimate and ends, one for each row.

    Raises
    ------
    ValueError
        Counts that are negative, no whole numbers, all 0 or of more than 1e14 observations;
        samples with different names of outcomes; sizes below 1; two known distributions; a level
        outside (0, 1). Points of other spaces; normals of unknown sizes, as shrunken ones are, or
        of more than 128 features.
    TypeError
        Dicts and Counters, which `infogeo.interop.frames.matched_counts` turns into counts.

    See Also
    --------
    infogeo.fisher_rao_distance : The distance of distributions that are known.
    infogeo.interop.frames.matched_counts : Counts of dicts, Counters and series by their names.

    Notes
    -----
    Given the total of each outcome, its count in the first sample is binomial. Mean and variance
    of T follow exactly for each outcome, and to second order with the sizes of the samples held
    fixed; a scaled chi-square with these moments is inverted along pairs of distributions at
    growing distance. The pairs keep the direction of the observed difference, where the
    difference of rarely seen outcomes is brought to the size that those of often seen outcomes
    let expect, so that how often an outcome was seen does not decide how different it is. Where
    T is below its median for equal distributions, the upper end is that of the median.

    Rare outcomes are where such pairs can be wrong. Two sums over the outcomes bound the affinity
    sum sqrt(p q) on average, for every pair of distributions: their tables are polynomials on one
    side of the root, found by linear programs. The ends are moved apart to hold both, and
    `unresolved` says by how much. Samples that are not much larger than the number of outcomes
    leave most of the distance open, and such an interval is long: that is what they know. The page
    on estimated distributions has a table of how often the intervals hold the distance, and of
    their lengths.

    The ends are roots, found to 3e-4 of the standard error of the square root of T. They depend
    neither on the other rows of a batch nor on the order of the outcomes and of the samples, but
    for rounding.

    Of normals the law of the plug-in distance is simulated, always with the same random numbers,
    at pairs of growing distance (see the page on normals from samples): it is right for normal
    samples of any size, and takes some 20 to 100 ms for a pair.

    Examples
    --------
    The shares are .22 rad apart, and the samples may be of one distribution.

    >>> from infogeo.inference import interval
    >>> found = interval([53, 28, 12, 7], [46, 26, 17, 11])
    >>> print(found)
    0 rad, from 0 to 0.4362 at the level 0.95 (plug-in distance 0.2164)
    """
    level = checked_level(level)
    space = _spaces.of_point(counts_a) or _spaces.of_point(counts_b)
    if space is not None:
        points = {"counts_a": counts_a, "counts_b": counts_b}
        sizes = {"size_a": size_a, "size_b": size_b}
        return between_normals(space, points, sizes, level)
    x, n, y, m = two_samples(counts_a, counts_b, size_a, size_b)
    batch = x.shape[:-1]
    x, n, y, m = (v.reshape(-1, v.shape[-1]) for v in (x, n, y, m))
    found = np.zeros((6, len(x)))
    for part in _parts(*x.shape):
        found[:, part] = _solved(x[part], n[part], y[part], m[part], level)
    estimate, lower, upper, distance, unseen, unresolved = found.reshape(6, *batch)
    return Interval(estimate, lower, upper, distance, unseen, unresolved, level)


# ---------------------------------------------------------------- arguments


def between_normals(
    space: Any, points: dict[str, Any], sizes: dict[str, Any], level: float, **options: bool
) -> Interval:
    """Return the interval of fitted points; the arguments are those of `_normals.estimated`."""
    found = _normals.estimated(space, points, sizes, level, **options)
    nothing = np.zeros_like(found[0])
    return Interval(*found, unseen=nothing, unresolved=nothing, level=level)


def checked_level(level: Any) -> float:
    level = finite_number("level", level)
    if not 0.0 < level < 1.0:
        raise bad_value("level", "lie between 0 and 1", f"got {level:g}")
    return level


def _parts(num_rows: int, num_outcomes: int) -> Iterator[slice]:
    step = max(1, _BLOCK // (6 * num_outcomes))
    return (slice(start, start + step) for start in range(0, num_rows, step))


# ---------------------------------------------------------------- the solve


def _solved(x: np.ndarray, n: np.ndarray, y: np.ndarray, m: np.ndarray, level: float) -> np.ndarray:
    """Return estimate, lower and upper end, plug-in distance and unseen mass of each row."""
    if x.shape[-1] == 1:
        return np.zeros((6, len(x)))
    x, n, y, m = _in_order(x, n, y, m)
    pairs = (_OneSample if np.isinf(m).all() else _TwoSamples)(x, n, y, m)
    rows, tail = np.arange(len(x)), 0.5 * (1.0 - level)
    largest = 8.0 * pairs.scale[:, 0]
    at_equal = pairs.moments(np.zeros(len(x)), rows)
    # Where T is below its median for equal distributions, that median decides the upper end.
    least = _quantile(0.5, *at_equal, largest)
    below, above = pairs.statistic - 0.5 * pairs.gaps[0], pairs.statistic + 0.5 * pairs.gaps[1]
    values = [pairs.statistic, np.maximum(below, 0.0), np.maximum(above, least)]
    probabilities = np.repeat([0.5, 1.0 - tail, tail], len(x))
    row = np.tile(rows, 3)
    place = _place(pairs, row, np.concatenate(values), probabilities, largest, at_equal)
    distances = fisher_rao_distance(*pairs.at(place, row), check=False)
    distances = np.where(place == 0.0, 0.0, distances)  # not what rounding leaves
    estimate, lower, upper = distances.reshape(3, -1)
    upper = np.where(place[2 * len(x) :] == _END, np.pi, upper)  # no distance is too large
    lower, upper, unresolved = _moved(estimate, lower, upper, pairs.bounds(), tail)
    informed = pairs.is_informed()
    estimate, lower = np.where(informed, estimate, 0.0), np.where(informed, lower, 0.0)
    upper = np.minimum(np.where(informed, upper, np.pi), pairs.farthest(tail))
    unresolved = np.minimum(unresolved, upper - lower)
    return np.stack([estimate, lower, upper, pairs.plug_in, pairs.unseen, unresolved])


def _in_order(x: np.ndarray, n: np.ndarray, y: np.ndarray, m: np.ndarray) -> list[np.ndarray]:
    """Return each row with its samples and its outcomes in an order that is always the same.

    Where the data do not say which sample has more of an outcome, its place decides. Because of
    this order, results depend neither on the order in which outcomes are listed nor on which sample
    is given first. The smaller sample becomes the first one, a known distribution the second one.
    """
    tables = []
    for a, b, sizes in ((x, y, (n, m)), (y, x, (m, n))):
        order = np.lexsort((b, a), axis=-1)
        sorted_counts = [np.take_along_axis(v, order, -1) for v in (a, b)]
        tables.append(np.concatenate([*sizes, *sorted_counts], axis=-1))
    first = (tables[0] != tables[1]).argmax(-1)[:, None]  # the first entry that differs decides
    one, other = (np.take_along_axis(table, first, -1) for table in tables)
    n, m, x, y = np.split(np.where(one <= other, *tables), [1, 2, 2 + x.shape[-1]], axis=-1)
    return [x, n, y, m]


def _moved(
    estimate: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    tail: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ends moved apart by what rare outcomes leave open, and by how much.

    They are at least as far apart as the bounds on the affinity, each with its sampling error. That
    is the one which the interval has itself, or the jackknife's if it is smaller: the jackknife
    exaggerates where many outcomes are seen a few times. It is at least what one rare outcome has
    alone, which is no sum of many small parts.
    """
    (least, most), errors = bounds
    own = np.cos(0.5 * np.stack([estimate, lower])) - np.cos(0.5 * np.stack([upper, estimate]))
    of_all, of_rare = -ndtri(tail) * errors
    low, high = np.maximum(np.minimum(own, of_all), of_rare)
    farther = 2.0 * np.arccos(np.clip(least - low, 0.0, 1.0))
    nearer = 2.0 * np.arccos(np.clip(most + high, 0.0, 1.0))
    moved = np.minimum(lower, nearer), np.maximum(upper, farther)
    return *moved, moved[1] - upper + lower - moved[0]


def _place(
    pairs: "_TwoSamples | _OneSample",
    row: np.ndarray,
    values: np.ndarray,
    probability: np.ndarray,
    largest: np.ndarray,
    at_equal: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Return where on the way the statistic is below its value with the probability."""

    def excess(mean: np.ndarray, variance: np.ndarray, part: np.ndarray) -> np.ndarray:
        return values[part] - _quantile(probability[part], mean, variance, largest[row[part]])

    def at(place: np.ndarray, part: np.ndarray) -> np.ndarray:
        return excess(*pairs.moments(place, row[part]), part)

    mean, variance = at_equal
    at_start = excess(mean[row], variance[row], np.arange(len(row)))
    place, at_middle, at_end = np.zeros(len(row)), *np.full((2, len(row)), -1.0)
    part = np.flatnonzero(at_start > 0.0)
    # At the middle, which is a little farther than the observed distance, one look does for all.
    some, which = np.unique(row[part], return_inverse=True)
    mean, variance = pairs.moments(np.ones(len(some)), some)
    at_middle[part] = excess(mean[which], variance[which], part)
    part = np.flatnonzero(at_middle >= 0.0)
    at_end[part] = at(np.full(len(part), _END), part)
    place[at_end >= 0.0] = _END
    part = np.flatnonzero((at_start > 0.0) & (at_end < 0.0))
    start, middle, end, value = (x[part] for x in (at_start, at_middle, at_end, values))
    guess = _guessed(probability[part], value, start, middle)
    is_before = middle < 0.0
    low, high = np.where(is_before, 0.0, 1.0), np.where(is_before, 1.0, _END)
    at_low, at_high = np.where(is_before, start, middle), np.where(is_before, middle, end)
    place[part] = _root(
        lambda place, which: at(place, part[which]), value, guess, low, high, at_low, at_high
    )
    return place


def _guessed(
    probability: np.ndarray, value: np.ndarray, at_start: np.ndarray, at_middle: np.ndarray
) -> np.ndarray:
    """Return about where T has its value as the quantile, from what it exceeds at two places.

    The root of T is nearly normal with the variance 1, and its mean a root of the place.
    """
    roots = np.sqrt(np.maximum([value, value - at_start, value - at_middle], 0.0))
    here, start, middle = np.maximum(roots - ndtri(probability), 0.0) ** 2
    place = (here - start) / np.maximum(middle - start, 1e-100)
    return np.where(place < 1.0, place, _END - 1.0 / np.maximum(place, 1.0))


@np.errstate(divide="ignore", invalid="ignore")
def _root(
    function: Callable[..., np.ndarray],
    value: np.ndarray,
    guess: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    at_low: np.ndarray,
    at_high: np.ndarray,
) -> np.ndarray:
    """Return roots of functions that fall from a positive to a negative value.

    They are found to 3e-4 of the standard error of the root of T, which is about 1. What a
    function returns is `value` less T.

    Chandrupatla's method: the inverse quadratic through the newest point a, the other end b of
    what holds the root, and the point c before; the middle where these say that it is far from
    one. The last quadratic is taken without a look at what it finds, which has more digits still.
    """
    root, active = np.empty_like(low), np.arange(len(low))
    a, b, fa, fb = low, high, at_low, at_high
    part = (guess - a) / (b - a)
    part = np.where((part > 0.0) & (part < 1.0), part, 0.5)
    for _ in range(200):
        c, fc, a = a, fa, a + part * (b - a)
        fa = function(a, active)
        is_beyond = (fa > 0.0) != (fc > 0.0)
        b, c = np.where(is_beyond, (c, b), (b, c))
        fb, fc = np.where(is_beyond, (fc, fb), (fb, fc))
        xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
        step = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        is_smooth = (phi**2 < xi) & ((1.0 - phi) ** 2 < 1.0 - xi)
        root[active] = a + np.where(is_smooth, step, 0.0) * (b - a)
        is_near = abs(fa) <= _TOLERANCE * (np.sqrt(value) + np.sqrt(np.maximum(value - fa, 0.0)))
        is_open = ~is_near & (abs(b - a) > 1e-12 * np.maximum(np.maximum(a, b), 1e-12))
        part = np.where(is_smooth, step, 0.5)
        active, value, a, b, fa, fb, part = (
            x[is_open] for x in (active, value, a, b, fa, fb, part)
        )
        if not active.size:
            break
    return root


def _quantile(
    probability: Any, mean: np.ndarray, variance: np.ndarray, largest: np.ndarray
) -> np.ndarray:
    """Return the quantile of T: a multiple of a beta variable with these moments.

    T is at most `largest`; far below it the law is that of a multiple of a chi-square variable.
    """
    share = np.minimum(mean / largest, 1.0 - 1e-9)
    mean = share * largest
    total = np.maximum(mean * (largest - mean) / variance - 1.0, 1e-3)
    first, second = share * total, (1.0 - share) * total
    is_normal = np.minimum(first, second) > _NORMAL
    beta = betaincinv(*(np.where(is_normal, 1.0, v) for v in (first, second)), probability)
    return np.where(is_normal, mean + ndtri(probability) * np.sqrt(variance), largest * beta)


def _moments(
    slope: Any, factor: Any, chord: np.ndarray, cells: Cells, excess: Any, of_totals: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of T, a sum of constants + slope x - factor g over the cells.

    At the means of all x it is `chord`, which has its digits also where the constants are large.

    The sum of all x, known to exceed its mean so much, is held fixed: what T has of its Hermite
    polynomials of order 1 and 2 is taken out.
    """
    variance = cells.variance.sum(-1)
    total, g_x = np.maximum(variance, 1e-12), cells.g_x.sum(-1)
    first = (slope * variance - factor * g_x) / np.sqrt(total)
    second = cells.g_xx.sum(-1) - _dot(cells.g, cells.variance)
    second = (slope * cells.third.sum(-1) - factor * second) / total
    own = slope**2 * variance - 2.0 * slope * factor * g_x + factor**2 * cells.g_variance.sum(-1)
    # A sum so far off its mean is far from where the pairs are those of the samples.
    z = np.clip(excess / np.sqrt(total), -4.0, 4.0)
    mean = chord - factor * cells.g_excess.sum(-1) + first * z + 0.5 * second * (z**2 - 1.0)
    variance = own - first**2 - 0.5 * second**2 + of_totals
    floor = 1e-12 * (1.0 + chord)
    return np.maximum(mean, floor), np.maximum(variance, floor)


class _TwoSamples:
    """Pairs of distributions at growing distance with the observed totals, and T between samples.

    A cell's angle is asin(sqrt(share)), the share being that of the first sample in its total. All
    angles leave that of equal distributions in proportion, as far as 0 and pi / 2, and are moved
    together so that the shares add up to the sizes of the samples.
    """

    def __init__(self, x: np.ndarray, n: np.ndarray, y: np.ndarray, m: np.ndarray) -> None:
        self.x, self.n, self.y, self.m, self.totals = x, n, y, m, x + y
        self.scale = 1.0 / (1.0 / n + 1.0 / m)
        self.plug_in, self.statistic = _observed(x / n, y / m, self.scale)
        self.gaps = 8.0 * (self.scale / np.sqrt(n))[:, 0] * _gaps(x, y / m)
        self.cells = _Mixed(self.totals)
        is_seen = self.totals > 0.0
        once = (self.totals == 1.0).sum(-1) * (~is_seen).any(-1)
        self.unseen = np.minimum(once / (n + m)[:, 0], 0.9)
        unseen, num_unseen = self.unseen[:, None], (~is_seen).sum(-1, keepdims=True)
        spread = unseen * (n + m) / np.maximum(num_unseen, 1)
        self.mass = np.where(is_seen, self.totals * (1.0 - unseen), spread)
        size = np.where(is_seen, (x / n + y / m) * (1.0 - unseen), 2.0 * self.mass / (n + m))
        angle = _angles(x / n, y / m, 1.0 / n, self.scale, is_seen, size, self.statistic)
        self.equal = np.arcsin(np.sqrt(n / (n + m)))
        has_mass = self.mass > 0.0  # else an angle says nothing
        # The smaller sample decides: its probabilities are size times cos(angle)^2.
        most = np.divide(n * size, self.mass, out=np.ones_like(x), where=has_mass)
        self.way = np.arcsin(np.sqrt(np.minimum(most, 1.0)) * np.cos(angle)) - self.equal
        largest = np.maximum((abs(self.way) * has_mass).max(-1, keepdims=True), 1e-300)
        alternating = np.where(np.cumsum(has_mass, axis=-1) % 2, -0.1, 0.1)
        self.way = np.where(largest > 1e-9 / np.sqrt(self.scale), self.way / largest, alternating)
        self.way = self.way * has_mass
        # The middle of the way is two standard errors farther than the observed distance.
        square = (self.mass * self.way**2).sum(-1, keepdims=True) / (n + m)
        far = (np.sqrt(self.statistic) + 2.0)[:, None] / np.sqrt(self.scale)
        angle_of_far = 0.25 * np.sin(2.0 * self.equal) * far  # to first order
        self.way = self.way * (angle_of_far / np.sqrt(np.maximum(square, 1e-300)))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return bounds on the affinity and their standard errors."""
        return two_sample_bounds(self.x, self.n, self.y, self.m)

    def farthest(self, tail: float) -> np.ndarray:
        """Return a distance that no distributions exceed, from exact bounds on probabilities.

        All lower bounds hold together with the tail shared among them, and so does the affinity
        that they leave, or that with the rarest outcome. If one outcome alone was seen, two bounds
        on all others do. The larger sample has the smaller part of the tail: none at last.
        """
        parts = tail * self.m / (self.n + self.m), tail * self.n / (self.n + self.m)
        samples = (self.x, self.n, parts[0]), (self.y, self.m, parts[1])
        least = [np.sqrt(_least(*sample)) for sample in samples]
        affinity = np.maximum((least[0] * least[1]).sum(-1), np.max([v.min(-1) for v in least], 0))
        most = 2.0 * np.arccos(np.minimum(affinity, 1.0))
        missed = [-np.expm1(np.log(part) / size)[:, 0] for _, size, part in samples]
        of_others = sum(2.0 * np.arcsin(np.sqrt(share)) for share in missed)
        is_single = (self.totals > 0.0).sum(-1) == 1
        return np.minimum(most, np.where(is_single, of_others, np.pi))

    def is_informed(self) -> np.ndarray:
        """Whether T can differ between samples with these totals."""
        return ((self.totals > 0.0).sum(-1) > 1) & (self.totals > 1.0).any(-1)

    def shares(self, place: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Return the share of the first sample in each cell, at places from 0 to the end."""
        # T grows as the square of the distance, and so does the place up to 1.
        square = np.where(place < 1.0, place, 1.0 / np.maximum(_END - place, 1e-12))
        way = np.sqrt(square)[:, None] * self.way[row]
        n, mass = self.n[row, 0], self.mass[row]
        both = mass.sum(-1)
        middle, reach = self.equal[row] + way, 0.5 * np.pi + abs(way).max(-1)
        move, low, high = np.zeros_like(reach), -reach, reach
        is_done = np.full(reach.shape, False)
        for _ in range(60):
            angle = np.minimum(np.maximum(middle + move[:, None], 0.0), 0.5 * np.pi)
            share = np.sin(angle) ** 2
            excess = _dot(mass, share) - n
            # A row that is done stays as it is: what it becomes does not depend on the others.
            is_done |= abs(excess) < np.minimum(1e-10 * n, 1e-6 * np.sqrt(n))
            if is_done.all():
                break
            low, high = np.where(excess < 0.0, move, low), np.where(excess > 0.0, move, high)
            # Halley's method: the second derivative is known without another sum.
            slope = np.maximum(2.0 * _dot(mass, np.sqrt(share * (1.0 - share))), 1e-100)
            step = excess / slope
            bend = step * (both - 2.0 * (excess + n)) / slope
            step = move - step / (1.0 - np.minimum(np.maximum(bend, -0.5), 0.5))
            step = np.where((step > low) & (step < high), step, 0.5 * (low + high))
            move = np.where(is_done, move, step)
        return share

    def at(self, place: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the pair of each row at places from 0 to 1."""
        share, mass = self.shares(place, row), self.mass[row]
        p, q = mass * share, mass * (1.0 - share)
        return p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)

    def moments(self, place: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share = self.shares(place, row)
        n, m, totals, scale = self.n[row], self.m[row], self.totals[row], self.scale[row]
        cells, mean = self.cells.moments(share, row), totals * share
        of_cell = (np.sqrt(share / n) - np.sqrt((1.0 - share) / m)) ** 2
        weights = self.mass[row] / (n + m)
        spread = _dot(weights, of_cell**2) - _dot(weights, of_cell) ** 2
        return _moments(
            slope=(4.0 * scale * (1.0 / n - 1.0 / m))[:, 0],
            factor=(8.0 * scale / np.sqrt(n * m))[:, 0],
            chord=(4.0 * scale * (np.sqrt(mean / n) - np.sqrt((totals - mean) / m)) ** 2).sum(-1),
            cells=cells,
            excess=n[:, 0] - mean.sum(-1),
            of_totals=16.0 * scale[:, 0] ** 2 * (n + m)[:, 0] * spread,
        )


class _OneSample:
    """Distributions ever farther from one that is known, and T between it and samples of them."""

    def __init__(self, x: np.ndarray, n: np.ndarray, q: np.ndarray, m: np.ndarray) -> None:
        self.x, self.n, self.q, self.scale = x, n, q, n
        self.plug_in, self.statistic = _observed(x / n, q, n)
        self.unseen = np.zeros(len(x))
        self.gaps = 8.0 * np.sqrt(n[:, 0]) * _gaps(x, q)
        expected = n * q
        mass = x + expected
        angle = _angles(x / n, q, 1.0 / n, n, mass > 0.0, mass / n, self.statistic)
        size = np.sqrt(np.maximum(mass, 0.0))
        self.middle = np.sqrt(q)
        self.way = _orthogonal(_unit(size * np.cos(angle)) - self.middle, self.middle)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(self.way > 0.0, self.way / self.middle, 0.0).max(-1)
        # Beyond this angle no entry is positive; at it only the outcome with the largest ratio is.
        self.farthest_angle = (0.5 * np.pi + np.arctan(ratio)) * (1.0 - 1e-9)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return bounds on the affinity and their standard errors."""
        return one_sample_bounds(self.x, self.n, self.q)

    def farthest(self, tail: float) -> np.ndarray:
        """Return a distance that is not exceeded, and not more than that of the rarest outcome.

        It decides where outcomes were not seen: T is then largest at the observed shares.
        """
        affinity = np.sqrt(_least(self.x, self.n, np.full_like(self.n, tail)) * self.q).sum(-1)
        return 2.0 * np.arccos(np.minimum(np.maximum(affinity, np.sqrt(self.q.min(-1))), 1.0))

    def is_informed(self) -> np.ndarray:
        return np.full(len(self.q), True)

    def at(self, place: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the pair of each row at a place on the way."""
        middle = self.middle[row]
        angle = (self.farthest_angle[row] * np.sqrt(place / _END))[:, None]
        root = np.cos(angle) * middle + np.sin(angle) * self.way[row]
        return _probabilities(root), self.q[row]

    def moments(self, place: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p, q = self.at(place, row)
        n = self.n[row]
        mean, root = n * p, np.sqrt(n * q)
        return _moments(
            slope=4.0,
            factor=8.0,
            chord=(4.0 * (np.sqrt(mean) - root) ** 2).sum(-1),
            cells=poisson_cells(mean).times(root),
            excess=0.0,
            of_totals=0.0,
        )


def _least(x: np.ndarray, n: np.ndarray, tail: np.ndarray) -> np.ndarray:
    """Return lower bounds on the probabilities, which hold together but with this probability."""
    # Most counts are there often: each is looked at once.
    kinds, kind = np.unique(np.concatenate([n, tail], axis=-1), axis=0, return_inverse=True)
    pairs, place = np.unique(x + 1j * kind.reshape(-1, 1), return_inverse=True)
    count, (size, part) = pairs.real, kinds[pairs.imag.astype(int)].T
    share = betaincinv(np.maximum(count, 1e-9), size - count + 1.0, part / x.shape[-1])
    return np.where(count > 0.0, share, 0.0)[place.reshape(x.shape)]


def _observed(p: np.ndarray, q: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the plug-in distance and the statistic T."""
    chord = 4.0 * ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(-1)
    return fisher_rao_distance(p, q, check=False), scale[:, 0] * chord


def _gaps(x: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the least steps by which one observation raises and lowers a sum of sqrt(q x).

    The second is inf where no observation lowers it. Of two samples x is the smaller one, whose
    steps are the longer ones. Among many outcomes there is nearly always a move that changes next
    to nothing.
    """
    if x.shape[-1] > 16:
        return np.zeros((2, len(x)))
    gain = np.sqrt(q) / (np.sqrt(x + 1.0) + np.sqrt(x))
    loss = np.sqrt(q) / np.maximum(np.sqrt(x) + np.sqrt(np.maximum(x - 1.0, 0.0)), 0.5)
    step = gain[:, None, :] - np.where(x >= 1.0, loss, np.inf)[:, :, None]
    step = np.where(np.eye(x.shape[-1], dtype=bool) | np.isinf(step), 0.0, step)
    least = 1e-9 / x.sum(-1)[:, None, None]
    raised, lowered = (
        np.where(change > least, change, np.inf).min((-1, -2)) for change in (step, -step)
    )
    return np.stack([np.where(np.isinf(raised), 0.0, raised), lowered])


class _Mixed:
    """Cells whose totals may lie between whole numbers: mixtures of the two."""

    def __init__(self, totals: np.ndarray) -> None:
        low = np.floor(totals)
        self.part, self.low = totals - low, BinomialCells(low)
        self.high = BinomialCells(low + 1.0) if self.part.any() else None

    def moments(self, share: np.ndarray, row: np.ndarray) -> Cells:
        """Return the moments of the cells of some rows."""
        cells = self.low.moments(share, row)
        if self.high is None:
            return cells
        part, high = self.part[row], self.high.moments(share, row)
        found = {
            name: (1.0 - part) * value + part * getattr(high, name)
            for name, value in vars(cells).items()
        }
        found["g_variance"] += part * (1.0 - part) * (high.g - cells.g) ** 2  # between the two
        return Cells(**found)


def _angles(
    p: np.ndarray,
    q: np.ndarray,
    even: np.ndarray,
    scale: np.ndarray,
    is_seen: np.ndarray,
    size: np.ndarray,
    statistic: np.ndarray,
) -> np.ndarray:
    """Return the angle atan(sqrt(q / p)) of each cell, with differences of unbiased size.

    An observed angle is off by its standard error, and the smoothing has made it smaller, most
    where little was seen. Differences are taken to have the variance  a + b / size  over the cells,
    which is fitted to the observed ones, and each is scaled so that the variance of what is
    returned is that one; what was not seen gets differences of this size and alternating sign.
    """
    degrees = is_seen.sum(-1) - 1.0
    level = np.maximum((statistic - degrees) / scale[:, 0], 1.0 / scale[:, 0])[:, None] / 16.0
    error = 1.0 / (8.0 * scale * (p + q + even))
    inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > 1e-12)
    squares = _deviations(p, q, even, error, 0.5) ** 2 - error
    variance = _fitted(squares, error, inverse, size, is_seen & (error < 0.1), level)
    # At the largest variance every outcome is in one sample only, and nothing is off.
    inside = 1.0 - variance / _LARGEST_VARIANCE
    deviation = _deviations(p, q, even, error, 0.5 * inside / (1.0 + 0.05 / error))
    deviation = deviation * np.sqrt(variance / (variance + error * inside))
    alternating = np.where(np.arange(p.shape[-1]) % 2, 1.0, -1.0) * np.sqrt(variance)
    deviation = np.where(is_seen, deviation, alternating)
    return np.clip(deviation, -0.25 * np.pi, 0.25 * np.pi) + 0.25 * np.pi


def _deviations(
    p: np.ndarray, q: np.ndarray, even: np.ndarray, error: np.ndarray, added: Any
) -> np.ndarray:
    """Return how far angles are from those of equal shares, with so much of an observation added.

    What is added makes differences smaller; they are made as large again as they are on average.
    """
    angle = np.arctan2(np.sqrt(q + added * even), np.sqrt(p + added * even))
    return (angle - 0.25 * np.pi) * (1.0 + 8.0 * added * np.minimum(error, 0.25))


def _fitted(
    observed: np.ndarray,
    error: np.ndarray,
    inverse: np.ndarray,
    size: np.ndarray,
    is_used: np.ndarray,
    level: np.ndarray,
) -> np.ndarray:
    """Fit variances of angles to observed ones, by weighted least squares in each row.

    A root probability that is off by sd times its size has the angle atan(sd) from the middle:
    the variances are those of  a + b inverse  with a, b >= 0, bent to stay below the largest one.
    """
    most = _LARGEST_VARIANCE
    total = (level * size).sum(-1, keepdims=True)
    straight = np.broadcast_to(level * most / np.maximum(most - level, 0.05 * most), observed.shape)
    for _ in range(5):
        bend = most / (most + straight)
        weight = np.where(is_used, (bend**2 / (straight * bend + error)) ** 2, 0.0)
        seen = straight + (observed - straight * bend) / bend**2
        aa, ab, bb = (
            np.maximum((weight * inverse**k).sum(-1, keepdims=True), 1e-300) for k in (0, 1, 2)
        )
        a, b = ((weight * seen * inverse**k).sum(-1, keepdims=True) for k in (0, 1))
        determinant = aa * bb - ab**2
        is_regular = determinant > 1e-9 * aa * bb
        slope = (b * aa - a * ab) / np.where(is_regular, determinant, np.inf)
        slope = np.where(a < slope * ab, b / bb, slope)  # on the edge a = 0
        slope = np.maximum(slope, 0.0)
        straight = np.maximum(a - slope * ab, 0.0) / aa + slope * inverse
        straight = np.clip(straight, level / 64.0, 1e3 * most)
    for _ in range(3):  # in sum they are what the statistic says
        variance = straight * most / (most + straight)
        share = total / np.maximum((variance * size).sum(-1, keepdims=True), 1e-300)
        straight = straight * np.clip(share, 0.5, 2.0)
    return straight * most / (most + straight)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the sums of products along the last axis."""
    return np.einsum("...i,...i->...", a, b)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).sum(-1, keepdims=True))


def _orthogonal(x: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Return the unit vectors of the parts that are orthogonal, any ones where there is none."""
    other = np.where(np.arange(x.shape[-1]) % 2, 1.0, -1.0) * (to > 0.0)
    other = other + np.where((to > 0.0).sum(-1, keepdims=True) < 2, 1.0 * (to == 0.0), 0.0)
    parts = [v - (v * to).sum(-1, keepdims=True) * to for v in (x, other)]
    is_none = (parts[0] ** 2).sum(-1, keepdims=True) < 1e-20
    return _unit(np.where(is_none, parts[1], parts[0]))


def _probabilities(roots: np.ndarray) -> np.ndarray:
    squares = np.maximum(roots, 0.0) ** 2
    return squares / squares.sum(-1, keepdims=True)
