r"""Rayleigh distributions with the Fisher metric: a line, :math:`ds^2 = 4 \, d\sigma^2 / \sigma^2`.

A point is a `Rayleigh`, of a scale.
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

__all__ = ["Rayleigh", "Tangent"]


@storable("Rayleigh")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Rayleigh(Family):
    r"""A batch of Rayleigh distributions.

    .. math:: p(x) = \frac{x}{\sigma^2} e^{-x^2 / 2 \sigma^2}, \qquad x \ge 0

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
    The distance is :math:`\sqrt{4}` times the absolute logarithm of the ratio of the scales.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> d = manifolds.fisher_rao_distance(Rayleigh(1.0), Rayleigh(np.e))
    >>> round(float(d), 12)
    2.0
    """

    scale: Array

    rules: ClassVar = {"scale": POSITIVE}

    def __init__(self, scale: Any, *, check: bool = True):
        fill(self, check, scale=scale)


Tangent = storable("rayleigh.Tangent")(tangents(Rayleigh))

SPACE = scale_family(
    Rayleigh,
    Tangent,
    shape=1.0,
    exponent=-2.0,
    factor=0.5,
    DISTRIBUTIONS={"scipy.stats.rayleigh": ("scale",)},
    log_density=lambda a, x: np.log(x) - 2.0 * np.log(a.scale) - 0.5 * (x / a.scale) ** 2,
    window=lambda a: np.linspace(1e-3 * float(np.min(a.scale)), 5.0 * float(np.max(a.scale)), 400),
    SAMPLES=NON_NEGATIVE,
    estimate=lambda x, xp: (root_mean_square(x, xp) / 2.0**0.5,),
)


finish(globals())
