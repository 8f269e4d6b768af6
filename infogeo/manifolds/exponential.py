r"""Exponential distributions with the Fisher metric: a line, :math:`ds^2 = d\lambda^2 / \lambda^2`.

A point is an `Exponential`, of a rate.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo._array import NON_NEGATIVE, POSITIVE, Array
from infogeo._docs import finish
from infogeo._points import fill, tangents
from infogeo._spaces import Foreign
from infogeo._system.registry import storable
from infogeo.manifolds._family import Family
from infogeo.manifolds._line import scale_family

__all__ = ["Exponential", "Tangent"]


@storable("Exponential")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Exponential(Family):
    r"""A batch of exponential distributions, of the density :math:`\lambda e^{-\lambda x}`.

    Parameters
    ----------
    rate : array, shape (...)
        1 over the mean, positive and finite.
    check : bool

    Attributes
    ----------
    rate : array, shape (...)
        As given.

    Raises
    ------
    TypeError, ValueError

    Notes
    -----
    The logarithm of the rate measures distances.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> d = manifolds.fisher_rao_distance(Exponential(2.0), Exponential(2.0 * np.e))
    >>> round(float(d), 12)
    1.0
    """

    rate: Array

    rules: ClassVar = {"rate": POSITIVE}

    def __init__(self, rate: Any, *, check: bool = True):
        fill(self, check, rate=rate)


Tangent = storable("exponential.Tangent")(tangents(Exponential))

SPACE = scale_family(
    Exponential,
    Tangent,
    shape=1.0,
    exponent=1.0,
    DISTRIBUTIONS={
        "torch.distributions.Exponential": ("rate",),
        "scipy.stats.expon": Foreign(("scale",), lambda x: (1.0 / x,), lambda x: (1.0 / x,)),
    },
    log_density=lambda a, x: np.log(a.rate) - a.rate * x,
    window=lambda a: np.linspace(0.0, 5.0 / float(np.min(a.rate)), 400),
    SAMPLES=NON_NEGATIVE,
    estimate=lambda x, xp: (1.0 / xp.mean(x, axis=0),),
)


finish(globals())
