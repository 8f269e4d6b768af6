"""The volume of the simplex, and random points that are uniform for it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from infogeo._array import bad_value

if TYPE_CHECKING:
    from numpy.typing import NDArray


def volume(num_outcomes: int) -> float:
    r"""Return the Fisher-Rao volume of the open simplex.

    .. math:: \pi^{c / 2} / \Gamma(c / 2)

    Parameters
    ----------
    num_outcomes : int
        c, at least 1.

    Returns
    -------
    float
        In radians to the power c - 1.

    Raises
    ------
    ValueError
        A number of outcomes below 1.

    Examples
    --------
    >>> volume(2) == np.pi
    True
    """
    num_outcomes = _checked_num_outcomes(num_outcomes)
    half = 0.5 * num_outcomes
    if num_outcomes <= 300:
        return math.pi**half / math.gamma(half)
    return math.exp(half * math.log(math.pi) - math.lgamma(half))


def random_uniform(
    num_outcomes: int,
    size: int | tuple[int, ...] = (),
    *,
    rng: np.random.Generator | int | None = None,
) -> NDArray[np.float64]:
    r"""Draw distributions uniformly for the Fisher-Rao volume (the Jeffreys prior).

    A Dirichlet distribution with all parameters 1/2, drawn as the squares of a uniform point on
    the sphere.

    Parameters
    ----------
    num_outcomes : int
        c, at least 1.
    size : int or tuple of int
        Shape of the batch.
    rng : numpy.random.Generator, int or None
        Source of randomness or its seed.

    Returns
    -------
    numpy array, shape size + (c,)
        Probabilities in float64.

    Raises
    ------
    ValueError
        A number of outcomes below 1.

    Examples
    --------
    >>> random_uniform(3, 5, rng=0).shape
    (5, 3)
    """
    shape = tuple(size) if isinstance(size, tuple | list) else (int(size),)
    num_outcomes = _checked_num_outcomes(num_outcomes)
    x = np.random.default_rng(rng).standard_normal((*shape, num_outcomes)) ** 2
    return x / x.sum(-1, keepdims=True)


def _checked_num_outcomes(num_outcomes: int) -> int:
    if not isinstance(num_outcomes, int | np.integer) or num_outcomes < 1:
        raise bad_value("num_outcomes", "be an integer of at least 1", f"got {num_outcomes!r}")
    return int(num_outcomes)
