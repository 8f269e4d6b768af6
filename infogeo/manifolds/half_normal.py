r"""Half-normal distributions with the Fisher metric: a line.

A point is a `HalfNormal`, of a scale.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo._array import NON_NEGATIVE, POSITIVE, Array
from infogeo._docs import finish
from infogeo._points import fill, tangents
from infogeo._system.registry import storable
from infogeo.manifolds._family import Family, root_mean_square
from infogeo.manifolds._line import scale_family

__all__ = ["HalfNormal", "Tangent"]


@storable("HalfNormal")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class HalfNormal(Family):
    r"""A batch of half-normal distributions.

    .. math:: p(x) = \sqrt{\frac{2}{\pi}} \frac{1}{\sigma} e^{-x^2 / 2 \sigma^2}, \qquad x \ge 0

    Parameters
    ----------
    scale : array, shape (...)
    check : bool

    Attributes
    ----------
    scale : array, shape (...)
        As given.

    Raises
    ------
    TypeError, ValueError

    Notes
    -----
    The distance is :math:`\sqrt{2}` times the absolute logarithm of the ratio of the scales.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> d = manifolds.fisher_rao_distance(HalfNormal(1.0), HalfNormal(np.e))
    >>> round(float(d), 12)
    1.414213562373
    """

    scale: Array

    rules: ClassVar = {"scale": POSITIVE}

    def __init__(self, scale: Any, *, check: bool = True):
        fill(self, check, scale=scale)


Tangent = storable("half_normal.Tangent")(tangents(HalfNormal))

SPACE = scale_family(
    HalfNormal,
    Tangent,
    shape=0.5,
    exponent=-2.0,
    factor=0.5,
    DISTRIBUTIONS={
        "torch.distributions.HalfNormal": ("scale",),
        "scipy.stats.halfnorm": ("scale",),
    },
    log_density=lambda a, x: 0.5 * np.log(2.0 / np.pi) - np.log(a.scale) - 0.5 * (x / a.scale) ** 2,
    window=lambda a: np.linspace(0.0, 5.0 * float(np.max(a.scale)), 400),
    SAMPLES=NON_NEGATIVE,
    estimate=lambda x, xp: (root_mean_square(x, xp),),
)


finish(globals())
