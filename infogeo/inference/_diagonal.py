"""The interval for diagonal normals: components that are independent."""

from typing import Any

from infogeo import normal
from infogeo.inference._interval import Interval, between_normals, checked_level
from infogeo.normal import Normal


def diagonal_interval(
    a: Normal, b: Normal, *, size_a: Any = None, size_b: Any = None, level: float = 0.95
) -> Interval:
    r"""Estimate the distance of two fitted diagonal normals, with a confidence interval.

    Parameters
    ----------
    a, b : Normal
        Maximum-likelihood estimates; the last axis holds the components, which have to be
        independent in the samples. Leading axes broadcast.
    size_a, size_b : float or array, shape (...), optional
        How many samples each was fitted to, at least 3; ``math.inf`` for a distribution that is
        known. None: the numbers that ``Normal.fit`` keeps.
    level : float
        The probability with which the interval is to hold the distance, at most 0.995.

    Returns
    -------
    Interval
        The interval, the estimate and the plug-in distance, each of shape (...).

    Raises
    ------
    TypeError, ValueError
        Something else than normals with the same components; sizes that are missing or too
        small; two known distributions; a level outside (0, 0.995].

    See Also
    --------
    interval : Of a `Normal` it takes each component for itself.
    infogeo.normal.diagonal_fisher_rao_distance : The distance that is estimated.

    Notes
    -----
    As for other normals in `interval`. Components that are correlated in the samples make the
    interval too short: fit a `MultivariateNormal`.

    Examples
    --------
    >>> from infogeo.inference import diagonal_interval
    >>> from infogeo.normal import Normal
    >>> rng = np.random.default_rng(0)
    >>> a, b = Normal.fit(rng.normal(size=(40, 3))), Normal.fit(rng.normal(size=(60, 3)))
    >>> found = diagonal_interval(a, b)
    >>> bool(found.lower < found.estimate < found.distance < found.upper)
    True
    """
    level = checked_level(level)
    points, sizes = {"a": a, "b": b}, {"size_a": size_a, "size_b": size_b}
    return between_normals(normal, points, sizes, level, is_product=True)
