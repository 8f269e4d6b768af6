r"""Bernoulli distributions with the Fisher metric: a line of length pi.

A point is a `Bernoulli`, of the probability of success. 0 and 1 are its ends.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo._array import Array
from infogeo._docs import finish
from infogeo._points import fill, tangents
from infogeo._system.registry import storable
from infogeo.manifolds._counts import COUNTS, TRIALS, UNIT_ENTRIES
from infogeo.manifolds._family import Family
from infogeo.manifolds._line import Line

__all__ = ["Bernoulli", "Tangent"]


@storable("Bernoulli")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Bernoulli(Family):
    r"""A batch of Bernoulli distributions, of one trial each.

    Parameters
    ----------
    probs : array, shape (...)
        Probabilities of success, in [0, 1].
    check : bool

    Attributes
    ----------
    probs : array, shape (...)
        As given.

    Raises
    ------
    TypeError, ValueError

    Notes
    -----
    The metric is :math:`dp^2 / (p (1 - p))`. The angle :math:`2 \arcsin \sqrt p` measures
    distances.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> d = manifolds.fisher_rao_distance(Bernoulli(0.0), Bernoulli(1.0))
    >>> round(float(d), 12)
    3.14159265359
    """

    probs: Array

    rules: ClassVar = {"probs": UNIT_ENTRIES}

    def __init__(self, probs: Any, *, check: bool = True):
        fill(self, check, probs=probs)


Tangent = storable("bernoulli.Tangent")(tangents(Bernoulli))


def _log_density(a: Bernoulli, x: Any) -> Any:
    from scipy.special import xlog1py, xlogy

    return xlogy(x, a.probs) + xlog1py(1.0 - x, -a.probs)


SPACE = Line(
    POINTS=Bernoulli,
    TANGENTS=Tangent,
    **TRIALS,
    DISTRIBUTIONS={
        "torch.distributions.Bernoulli": ("probs",),
        "scipy.stats.bernoulli": ("p",),
    },
    log_density=_log_density,
    window=lambda a: np.arange(2),
    SAMPLES=COUNTS,
    estimate=lambda x, xp: (xp.mean(x, axis=0),),
)


finish(globals())
