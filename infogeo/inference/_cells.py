r"""Moments of one cell's part of the squared chord between two samples, given its total.

Given its total t, the count x of a cell in the first sample is binomial with the probability pi.
Its part of the squared chord holds :math:`g = \sqrt{x (t - x)}`, whose moments have no closed
form. Up to a total of 256 they are read off tables over the angle asin(sqrt(pi)), which are made
once for each total; beyond, a Taylor series about the mean is exact enough where both sides are
expected 64 times, and a sum over the outcomes does the rest. Against a distribution that is known,
x is a Poisson variable and g is its root. The moments are good to some 1e-4 of a cell's part,
which is far below the error of what is made of them.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammaln

_LARGEST_TABLE = 256  # totals
_FEW = 64.0  # fewer expected counts than these on either side need more than a series


@dataclass(frozen=True, eq=False)
class Cells:
    """Moments of x and of g in cells, each an array of the shape of the cells.

    Parameters
    ----------
    variance, third : array
        Central moments of x.
    g, g_x, g_xx : array
        Means of g, of g (x - mean) and of g (x - mean)^2.
    g_excess : array
        Mean of g, less g at the mean of x.
    g_variance : array
        Variance of g. In large totals it is far below the rounding of g^2, as the excess is.
    """

    variance: np.ndarray
    third: np.ndarray
    g: np.ndarray
    g_x: np.ndarray
    g_xx: np.ndarray
    g_excess: np.ndarray
    g_variance: np.ndarray

    def times(self, factor: np.ndarray) -> "Cells":
        """Return the moments of x and of g times a factor."""
        return Cells(
            variance=self.variance,
            third=self.third,
            g=factor * self.g,
            g_x=factor * self.g_x,
            g_xx=factor * self.g_xx,
            g_excess=factor * self.g_excess,
            g_variance=factor**2 * self.g_variance,
        )


class BinomialCells:
    """Binomial cells with whole totals: what depends on the totals alone is found once.

    Parameters
    ----------
    totals : array, shape (rows, c)
        Whole numbers.
    """

    def __init__(self, totals: np.ndarray) -> None:
        self.totals = totals
        self.is_small = totals <= _LARGEST_TABLE
        small = np.where(self.is_small, totals, 0.0).astype(np.int64)
        distinct = np.flatnonzero(np.bincount(small.ravel()))
        tables = [_table(int(total)) for total in distinct]
        self.table = np.concatenate(tables, axis=1)
        lengths, starts = np.zeros((2, _LARGEST_TABLE + 1), dtype=np.int64)
        lengths[distinct] = [table.shape[1] for table in tables]
        starts[distinct] = np.cumsum(lengths[distinct]) - lengths[distinct]
        self.starts, self.steps = starts[small], lengths[small] - 1

    def moments(self, share: np.ndarray, row: np.ndarray) -> Cells:
        """Return the moments of the cells of some rows, of shape (..., c) as the shares are."""
        totals, is_small = self.totals[row], self.is_small[row]
        mean, odds = totals * share, share * (1.0 - share)
        variance = totals * odds
        found = np.zeros((5, *totals.shape))
        is_smooth = ~is_small & (totals * np.minimum(share, 1.0 - share) >= _FEW)
        place = np.arcsin(np.sqrt(share)) * (2.0 / np.pi)
        of_table = functools.partial(_interpolated, self.table)
        _fill(found, is_small, of_table, place, self.starts[row], self.steps[row])
        _fill(found, is_smooth, _from_series, totals, share)
        _fill(found, ~is_small & ~is_smooth, _from_sums, totals, share)
        square = mean * (totals - 1.0) * (1.0 - share)
        _complete(found, ~is_smooth, totals * np.sqrt(odds), square)
        return Cells(variance, variance * (1.0 - 2.0 * share), *found)


def poisson_cells(mean: np.ndarray) -> Cells:
    """Return the moments of Poisson cells: g is the root of the count."""
    found = np.zeros((5, *mean.shape))
    is_small = mean < _FEW
    _fill(found, is_small, _from_poisson_table, mean)
    _fill(found, ~is_small, _from_poisson_series, mean)
    _complete(found, is_small, np.sqrt(mean), mean)
    return Cells(mean, mean, *found)


def _fill(
    found: np.ndarray, mask: np.ndarray, moments: Callable[..., np.ndarray], *arguments: np.ndarray
) -> None:
    if not mask.any():
        return
    if mask.all():  # which is common, and much faster
        values = moments(*(x.ravel() for x in arguments))
        found[: len(values)] = values.reshape(-1, *mask.shape)
    else:
        values = moments(*(x[mask] for x in arguments))
        found[: len(values), mask] = values


def _complete(found: np.ndarray, mask: np.ndarray, middle: np.ndarray, square: np.ndarray) -> None:
    """Fill in excess and variance of g from its mean, its value at the mean, and that of g^2."""
    np.subtract(found[0], middle, out=found[3], where=mask)
    np.subtract(square, found[0] ** 2, out=found[4], where=mask)


# ---------------------------------------------------------------- tables


@functools.lru_cache(maxsize=_LARGEST_TABLE + 1)
def _table(total: int) -> np.ndarray:
    """Return the moments of g at equal steps of the angle from 0 to pi / 2.

    The moments change over angles of about 1 / sqrt(total), so that the steps do, too.
    """
    angle = np.linspace(0.0, 0.5 * np.pi, 33 + 16 * int(np.sqrt(total)))[:, None]
    share = np.sin(angle) ** 2
    return _sums(np.arange(total + 1.0), float(total), share)


def _interpolated(
    table: np.ndarray, place: np.ndarray, start: Any = 0, steps: Any = None
) -> np.ndarray:
    """Return the columns of a table at places from 0 to 1, by cubics through four of them."""
    steps = table.shape[1] - 1 if steps is None else steps
    x = place * steps
    k = np.minimum(np.maximum(x.astype(np.int64), 1), steps - 2)
    s = x - k
    k += start - 1
    up, down, far = s + 1.0, s - 1.0, s - 2.0
    product, outer = s * down, up * far
    weights = (
        product * far * (-1.0 / 6.0),
        outer * down * 0.5,
        outer * s * -0.5,
        product * up * (1.0 / 6.0),
    )
    found = np.zeros((len(table), *place.shape))
    for i, weight in enumerate(weights):
        for line, total in zip(table, found, strict=True):
            total += line.take(k + i) * weight  # much faster than columns of the table at once
    return found


def _sums(x: np.ndarray, total: Any, share: np.ndarray) -> np.ndarray:
    """Return the moments of g by the sum over the outcomes x, 0 and up, along the last axis."""
    y = total - x
    with np.errstate(divide="ignore", invalid="ignore"):
        # Not from log-factorials of the total, which would round off all digits of large ones.
        falling = np.cumsum(np.where(x > 1.0, np.log1p((1.0 - x) / total), 0.0), axis=-1)
        logs = falling - gammaln(x + 1.0) + np.where(x > 0.0, x * np.log(total * share), 0.0)
        logs = logs + np.where(y > 0.0, y * np.log1p(-share), 0.0)
        weighted = np.where(y >= 0.0, np.exp(logs) * np.sqrt(x * np.maximum(y, 0.0)), 0.0)
    return _three(weighted, x - total * share)


def _three(weighted: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    first = weighted * deviation
    return np.stack([weighted.sum(-1), first.sum(-1), (first * deviation).sum(-1)])


def _from_sums(totals: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the moments by sums where one side is expected a few times in a large total."""
    is_swapped = share > 0.5
    small = np.where(is_swapped, 1.0 - share, share)
    x = np.arange(_FEW + 8.0 * np.sqrt(_FEW) + 13.0)
    found = np.concatenate(
        [
            _sums(x, totals[part, None], small[part, None])
            for part in np.array_split(np.arange(len(totals)), 1 + len(totals) // 2000)
        ],
        axis=-1,
    )
    found[1] *= np.where(is_swapped, -1.0, 1.0)
    return found


@functools.cache
def _poisson_table() -> np.ndarray:
    root = np.linspace(0.0, np.sqrt(_FEW), 257)[:, None]
    x = np.arange(_FEW + 10.0 * np.sqrt(_FEW) + 13.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(x > 0.0, 2.0 * x * np.log(root), 0.0) - root**2 - gammaln(x + 1.0)
    return _three(np.exp(logs) * np.sqrt(x), x - root**2)


def _from_poisson_table(mean: np.ndarray) -> np.ndarray:
    return _interpolated(_poisson_table(), np.sqrt(mean / _FEW))


# ---------------------------------------------------------------- series


def _from_series(totals: np.ndarray, share: np.ndarray) -> np.ndarray:
    mean, odds = totals * share, share * (1.0 - share)
    variance, skew = totals * odds, 1.0 - 2.0 * share
    cumulants = (
        variance,
        variance * skew,
        variance * (1.0 - 6.0 * odds),
        variance * skew * (1.0 - 12.0 * odds),
        variance * (1.0 - 30.0 * odds * (1.0 - 4.0 * odds)),
    )
    # g^2 = x (t - x) is a quadratic of the deviation, which gives the coefficients of g.
    square = (mean * (totals - mean), totals - 2.0 * mean, -np.ones_like(mean))
    return _series(square, cumulants)


def _from_poisson_series(mean: np.ndarray) -> np.ndarray:
    return _series((mean, np.ones_like(mean), np.zeros_like(mean)), (mean,) * 5)


def _series(square: tuple[np.ndarray, ...], cumulants: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return the moments of the root of a quadratic, to the sixth power of the deviation.

    Excess and variance are sums of what is beyond the value at the mean, which takes no part.
    """
    coefficients = [np.sqrt(square[0])]
    for k in range(1, 7):
        rest = square[k] if k < 3 else 0.0
        rest = rest - sum(coefficients[j] * coefficients[k - j] for j in range(1, k))
        coefficients.append(rest / (2.0 * coefficients[0]))
    moments = _central_moments(*cumulants)
    three = [sum(a * moments[k + power] for k, a in enumerate(coefficients)) for power in (0, 1, 2)]
    excess = sum(a * moments[k] for k, a in enumerate(coefficients) if k)
    variance = sum(
        a * b * (moments[k + j] - moments[k] * moments[j])
        for k, a in enumerate(coefficients)
        for j, b in enumerate(coefficients)
        if k and j and k + j < len(moments)
    )
    return np.stack([*three, excess, variance])


def _central_moments(
    k2: np.ndarray, k3: np.ndarray, k4: np.ndarray, k5: np.ndarray, k6: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Return the central moments 0 to 8; the seventh and eighth cumulants no longer matter."""
    return (
        np.ones_like(k2),
        np.zeros_like(k2),
        k2,
        k3,
        k4 + 3.0 * k2**2,
        k5 + 10.0 * k2 * k3,
        k6 + 15.0 * k2 * k4 + 10.0 * k3**2 + 15.0 * k2**3,
        21.0 * k2 * k5 + 35.0 * k3 * k4 + 105.0 * k2**2 * k3,
        28.0 * k2 * k6
        + 56.0 * k3 * k5
        + 35.0 * k4**2
        + 210.0 * k2**2 * k4
        + 280.0 * k2 * k3**2
        + 105.0 * k2**4,
    )
