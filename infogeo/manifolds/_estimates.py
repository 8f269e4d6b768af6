r"""Maximum likelihood for families of a location and a scale, where it takes iterations.

They run in numpy, in float64, for each component, whose samples are moved and scaled to [0, 1].
Estimates carry no gradients.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from infogeo import _array, _names
from infogeo._array import Array, Namespace

_STEPS = 20_000


def by_components(
    samples: Array, xp: Namespace, estimate: Callable[..., tuple[float, float]], *constants: Any
) -> tuple[Array, Array]:
    """Return location and scale of each column of samples, in the library of the samples."""
    columns = np.asarray(_array.on_host(samples), dtype=np.float64)
    shape = columns.shape[1:]
    fixed = [
        np.broadcast_to(np.asarray(_array.on_host(x), dtype=np.float64), shape) for x in constants
    ]
    found = np.empty((2, *shape))
    for index in np.ndindex(shape):
        column = columns[(slice(None), *index)]
        numbers = (float(x[index]) for x in fixed)
        low, spread = column.min(), column.max() - column.min()
        loc, scale = 0.0, 0.0  # of equal samples: no scale is the most likely one
        if spread > 0.0:  # in units in which no square overflows or underflows
            loc, scale = estimate((column - low) / spread, *numbers)
        found[(slice(None), *index)] = low + spread * loc, spread * scale
    device = {"device": samples.device} if _names.is_tensor(samples) else {}
    loc, scale = (xp.asarray(x, dtype=samples.dtype, **device) for x in found)
    return loc, scale


def gumbel(x: np.ndarray) -> tuple[float, float]:
    """Return the estimate for maxima: the scale solves s = mean x - (mean of x, weights e^-x/s)."""
    from scipy.optimize import brentq

    y = x - x.min()

    def excess(s: float) -> float:
        weights = np.exp(-y / s)
        return float(s - y.mean() + weights @ y / weights.sum())

    s = brentq(excess, 1e-3 / len(y), 1.0, xtol=1e-300, rtol=1e-15)
    return x.min() - s * np.log(np.mean(np.exp(-y / s))), s


def gumbel_of_minima(x: np.ndarray) -> tuple[float, float]:
    """Return the estimate for minima, by that for the maxima of -x."""
    loc, scale = gumbel(-x)
    return -loc, scale


def logistic(x: np.ndarray) -> tuple[float, float]:
    """Return the estimate by weights tanh(z / 2) / z, which raise the likelihood at each step."""
    return _reweighted(x, _logistic_weights, by_number=True)


def student_t(x: np.ndarray, df: float) -> tuple[float, float]:
    """Return the estimate by weights (df + 1) / (df + z^2), which raise the likelihood."""
    return _reweighted(x, lambda z: (df + 1.0) / (df + z * z), by_number=False)


def _logistic_weights(z: np.ndarray) -> np.ndarray:
    is_small = abs(z) < 1e-4
    ratio = np.tanh(0.5 * z) / np.where(is_small, 1.0, z)
    return np.where(is_small, 0.5 - z * z / 24.0, ratio)


def _reweighted(
    x: np.ndarray, weigh: Callable[[np.ndarray], np.ndarray], *, by_number: bool
) -> tuple[float, float]:
    """Return the fixed point of weighted mean and spread; the spread by the number or weights."""
    loc = float(np.median(x))
    scale = float(np.mean(abs(x - loc)))
    for _ in range(_STEPS):
        weights = weigh((x - loc) / scale)
        total = weights.sum()
        new = loc + float(weights @ (x - loc) / total)
        squares = float(weights @ (x - new) ** 2)
        spread = np.sqrt(squares / (len(x) if by_number else total))
        change = abs(new - loc) + abs(spread - scale)
        loc, scale = new, float(spread)
        if not change > 1e-15 * scale:
            break
    return loc, scale


def generalized_normal(x: np.ndarray, power: float) -> tuple[float, float]:
    """Return the estimate; up to power 1 the location is one of the samples."""
    from scipy.optimize import brentq

    if power <= 1.0:
        sums = np.array([np.sum(abs(x - center) ** power) for center in x])
        best = np.flatnonzero(sums == sums.min())
        loc = 0.5 * (x[best].min() + x[best].max()) if power == 1.0 else x[best[0]]
    else:

        def slope(center: float) -> float:
            z = center - x
            return float(np.sum(np.sign(z) * abs(z) ** (power - 1.0)))

        loc = brentq(slope, 0.0, 1.0, xtol=1e-15, rtol=1e-15)
    return loc, float((power * np.mean(abs(x - loc) ** power)) ** (1.0 / power))
