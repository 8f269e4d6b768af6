r"""Geometric distributions with the Fisher metric: a line.

A point is a `Geometric`, of the probability of success. 1 is its end.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo._array import Array
from infogeo._docs import finish
from infogeo._points import fill, tangents
from infogeo._spaces import Foreign
from infogeo._system.registry import storable
from infogeo.manifolds._counts import COUNTS, POSITIVE_SHARES, waiting
from infogeo.manifolds._family import Family
from infogeo.manifolds._line import Line

__all__ = ["Geometric", "Tangent"]


@storable("Geometric")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Geometric(Family):
    r"""A batch of geometric distributions: the number of failures before the first success.

    .. math:: P(x) = p (1 - p)^x, \qquad x = 0, 1, 2, \ldots

    Parameters
    ----------
    probs : array, shape (...)
        Probabilities of success, positive, up to 1.
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
    The metric is :math:`dp^2 / (p^2 (1 - p))`. Counts begin with 0, as in torch; those of scipy
    begin with 1, unless they are shifted by ``loc=-1``.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> d = manifolds.fisher_rao_distance(Geometric(0.5), Geometric(1.0))
    >>> round(float(d), 12)
    1.762747174039
    """

    probs: Array

    rules: ClassVar = {"probs": POSITIVE_SHARES}

    def __init__(self, probs: Any, *, check: bool = True):
        fill(self, check, probs=probs)


Tangent = storable("geometric.Tangent")(tangents(Geometric))


def _log_density(a: Geometric, x: Any) -> Any:
    from scipy.special import xlog1py

    return np.log(a.probs) + xlog1py(x, -a.probs)


SPACE = Line(
    POINTS=Geometric,
    TANGENTS=Tangent,
    **waiting(1.0),
    DISTRIBUTIONS={
        "torch.distributions.Geometric": ("probs",),
        "scipy.stats.geom": Foreign(("p",), neutral={"loc": -1.0}),
    },
    log_density=_log_density,
    window=lambda a: np.arange(min(1000, int(8.0 / float(np.min(a.probs))) + 2)),
    SAMPLES=COUNTS,
    estimate=lambda x, xp: (1.0 / (1.0 + xp.mean(x, axis=0)),),
)


finish(globals())
