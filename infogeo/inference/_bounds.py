r"""Bounds on the affinity of two distributions that hold however rare their outcomes are.

The affinity :math:`\sum_i \sqrt{p_i q_i}` has no unbiased estimate: nobody can tell from a few
observations of an outcome whether its probability is small or 0. Of two sums over the outcomes one
has a mean that is at most the affinity, the other one a mean that is at least the affinity,
whatever the distributions are. The distance between the two means is what samples of these sizes
leave open, and it vanishes where every outcome is seen often.

Given its total t, the count x of an outcome in the first sample is binomial with a share s. A
table h_t(x) has as its mean a polynomial of s of degree t, and a linear program finds the one that
stays on one side of :math:`t \sqrt{s (1 - s)}` and is close to it, most of all where the
distributions are equal. Outcomes with large totals take the product of the root of the larger count
and a table for Poisson variables, and so do samples beside a distribution that is known.
"""

import functools
from collections.abc import Callable

import numpy as np
from scipy.optimize import linprog
from scipy.stats import binom, poisson

_LARGEST = 32  # totals that have a table of their own
_ANGLES = 9  # tables differ by the sizes of the samples: asin sqrt(n / (n + m)) in so many steps
_COUNTS = 60  # of the tables for Poisson variables; beyond, the root has next to no bias
_RARE = 4.0  # an outcome is rare that fewer observations than these have in one of the samples
_ROOT_STEP = 0.5  # tables beside a known distribution differ by the root of what it expects
# How much smaller a mean distance from the root has to become for each unit by which a table is
# changed. Tables that follow the root more closely vary more from sample to sample.
_ROUGHNESS = {-1: 0.3, 1: 0.1}


def two_sample_bounds(
    x: np.ndarray, n: np.ndarray, y: np.ndarray, m: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return bounds on the affinity (2, rows) and their standard errors (2, 2, rows).

    The lower bound is the first. The standard errors are those of the jackknife over the
    observations, which are too large rather than too small: of all outcomes, and the largest part
    that a rare one has.
    """
    angle = np.arcsin(np.sqrt(n / (n + m)))
    step = np.minimum((angle * (2.0 / np.pi) * _ANGLES).astype(int), _ANGLES - 1)
    # What the other sample lets expect of the smaller count decides between tables for it.
    expected = np.where(x <= y, y * (n / m), x * (m / n))
    which = np.broadcast_to(step, x.shape), _root_step(expected)
    bounds, errors = [], []
    for sign in (-1, 1):
        here = _of_cells(x, y, which, sign)
        rare = np.minimum(x, y) < _RARE
        square = np.zeros((2, len(x)))
        for count, size, one, expected in ((x, n, (1.0, 0.0), y / m), (y, m, (0.0, 1.0), x / n)):
            below = _of_cells(np.maximum(x - one[0], 0.0), np.maximum(y - one[1], 0.0), which, sign)
            square = square + _jackknife(here - below, count, size, rare)
            if sign > 0:
                above = _of_cells(x + one[0], y + one[1], which, sign)
                square = square + _of_unseen(above - here, count, size * expected)
        bounds.append(here.sum(-1) / np.sqrt(n * m)[:, 0])
        errors.append(np.sqrt(square / (n * m)[:, 0]))
    # Counts whose sum is fixed vary less than Poisson variables, which raises the mean of roots.
    correction = 1.0 - 0.125 * (1.0 / n + 1.0 / m)[:, 0]
    return np.stack(bounds) * correction, np.stack(errors, axis=1)


def one_sample_bounds(x: np.ndarray, n: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return bounds on the affinity of a sample's distribution with q, and standard errors."""
    which, root = _root_step(n * q), np.sqrt(q)
    bounds, errors = [], []
    for sign in (-1, 1):
        part = functools.partial(_of_count, which=which, sign=sign)
        here = root * _mixed(part, x)
        below = root * _mixed(part, np.maximum(x - 1.0, 0.0))
        bounds.append(here.sum(-1) / np.sqrt(n)[:, 0])
        square = _jackknife(here - below, x, n, x < _RARE)
        if sign > 0:
            above = root * _mixed(part, x + 1.0)
            square = square + _of_unseen(above - here, x, n * q)
        errors.append(np.sqrt(square / n[:, 0]))
    return np.stack(bounds) * (1.0 - 0.125 / n[:, 0]), np.stack(errors, axis=1)


def _root_step(expected: np.ndarray) -> np.ndarray:
    """Return which table for Poisson variables is close where so many are expected."""
    most = int(np.sqrt(_COUNTS) / _ROOT_STEP)
    return np.minimum(np.rint(np.sqrt(expected) / _ROOT_STEP), most).astype(int)


def _jackknife(
    change: np.ndarray, count: np.ndarray, size: np.ndarray, rare: np.ndarray
) -> np.ndarray:
    """Return the variance of a sum that an observation changes so much; a rare outcome's part."""
    mean = (count * change).sum(-1, keepdims=True) / size
    square = count * (change - mean) ** 2
    return np.stack([square.sum(-1), (square * rare).max(-1)])


def _of_unseen(change: np.ndarray, count: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the variance that outcomes add whose count is 0, which the jackknife does not see.

    Half an observation stands in the place of none, where the other sample lets expect as much. All
    of them together have about as many as there are such outcomes with one observation (Good and
    Turing), and one more.
    """
    likely = np.minimum(expected, 0.5)
    none, once = likely * (count == 0.0), likely * (count == 1.0)
    share = (1.0 + 2.0 * once.sum(-1)) / np.maximum(none.sum(-1), 1e-300)
    square = np.minimum(share, 1.0)[:, None] * none * change**2
    return np.stack([square.sum(-1), square.max(-1)])


def _mixed(function: Callable[[np.ndarray], np.ndarray], count: np.ndarray) -> np.ndarray:
    """Return the values at counts; between whole numbers they are mixtures of the two."""
    low = np.floor(count)
    part = count - low
    if not part.any():
        return function(low.astype(int))
    return (1.0 - part) * function(low.astype(int)) + part * function(low.astype(int) + 1)


def _of_cells(
    x: np.ndarray, y: np.ndarray, which: tuple[np.ndarray, np.ndarray], sign: int
) -> np.ndarray:
    """Return each outcome's part of the bound, times sqrt(n m)."""
    return _mixed(lambda a: _mixed(lambda b: _of_whole(a, b, which, sign), y), x)


def _of_whole(
    x: np.ndarray, y: np.ndarray, which: tuple[np.ndarray, np.ndarray], sign: int
) -> np.ndarray:
    total, (step, root_step) = x + y, which
    is_small = total <= _LARGEST
    tables = np.zeros((_ANGLES, _LARGEST + 1, _LARGEST + 1))
    for k in np.unique(step[:, :1]):
        tables[k] = _tables(int(k), sign)
    capped = np.where(is_small, total, 0)
    found = tables[step, capped, np.where(is_small, x, 0)]
    rest = ~is_small
    if not rest.any():
        return found
    small, large = np.minimum(x, y)[rest], np.maximum(x, y)[rest]
    root = _of_count(small, root_step[rest], sign)
    found[rest] = root * np.sqrt(large + 0.25)  # the mean of this root is that of large, nearly
    return found


def _of_count(x: np.ndarray, which: np.ndarray, sign: int) -> np.ndarray:
    """Return the part of a Poisson count in the bound on the root of its mean."""
    distinct, place = np.unique(which, return_inverse=True)
    tables = np.stack([_poisson_table(int(step), sign) for step in distinct])
    inverse = 0.125 / np.maximum(x, 1)
    beyond = np.sqrt(x) * (1.0 + inverse)
    place = place.reshape(which.shape)
    return np.where(x < _COUNTS, tables[place, np.minimum(x, _COUNTS - 1)], beyond)


# ---------------------------------------------------------------- tables


@functools.cache
def _tables(step: int, sign: int) -> np.ndarray:
    """Return the tables of all totals up to the largest: rows are totals, columns counts."""
    middle = (step + 0.5) / _ANGLES * 0.5 * np.pi
    found = np.zeros((_LARGEST + 1, _LARGEST + 1))
    for total in range(1, _LARGEST + 1):
        angle = np.linspace(0.0, 0.5 * np.pi, 60 + 8 * int(np.sqrt(total)))
        angle = np.sort(np.append(angle, middle))
        share = np.sin(angle) ** 2
        x = np.arange(total + 1.0)
        near = np.sqrt(x * (total - x)) if sign < 0 else np.sqrt((x + 0.25) * (total - x + 0.25))
        found[total, : total + 1] = _on_one_side(
            binom.pmf(x, total, share[:, None]),
            total * np.sin(angle) * np.cos(angle),
            _weights(angle, middle, 0.15),
            near,
            sign,
        )
    return found


@functools.cache
def _poisson_table(step: int, sign: int) -> np.ndarray:
    """Return a table for Poisson variables, close near the root mean of a step, or at all (-1)."""
    root = np.linspace(0.0, 6.0, 200)
    x = np.arange(2.0 * _COUNTS)
    law = poisson.pmf(x, root[:, None] ** 2)
    beyond = np.sqrt(x[_COUNTS:]) + 0.125 / np.sqrt(x[_COUNTS:])
    middle = None if step < 0 else step * _ROOT_STEP
    return _on_one_side(
        law[:, :_COUNTS],
        root - law[:, _COUNTS:] @ beyond,
        _weights(root, middle, 0.5),
        np.sqrt(x[:_COUNTS] + (0.0 if sign < 0 else 0.25)),
        sign,
    )


def _weights(places: np.ndarray, middle: float | None, width: float) -> np.ndarray:
    """Return how much the distance from the root counts at each place."""
    peak = 0.0 if middle is None else 8.0 * np.exp(-0.5 * ((places - middle) / width) ** 2)
    weights = np.ones_like(places) + peak
    return weights / weights.sum()


def _on_one_side(
    law: np.ndarray, root: np.ndarray, weights: np.ndarray, near: np.ndarray, sign: int
) -> np.ndarray:
    """Return the table whose mean stays on one side of the root and is close to it.

    The mean is ``law @ table``, the root is at the same places, and `near` is a table to start at.
    """
    law_of_all = weights @ law
    up, down = (_ROUGHNESS[sign] + sign) * law_of_all, (_ROUGHNESS[sign] - sign) * law_of_all
    slack = 1e-4 * root.max() + 1e-9
    found = linprog(
        np.concatenate([up, down]),
        A_ub=-sign * np.hstack([law, -law]),
        b_ub=-sign * (root - law @ near) + slack,
        bounds=(0.0, 4.0 * np.sqrt(len(near))),
        method="highs",
    )
    up, down = np.split(found.x, 2)
    return near + up - down
