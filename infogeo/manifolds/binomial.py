r"""Binomial distributions of a fixed number of trials with the Fisher metric: a line.

A point is a `Binomial`, of a number of trials, which all points of one call share, and the
probability of success.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo._array import Array
from infogeo._docs import finish
from infogeo._points import fill, tangents
from infogeo._spaces import Foreign
from infogeo._system.registry import storable
from infogeo.manifolds._counts import COUNTS, TRIALS, UNIT_ENTRIES, WHOLE
from infogeo.manifolds._family import Family
from infogeo.manifolds._line import Line

__all__ = ["Binomial", "Tangent"]


@storable("Binomial")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Binomial(Family):
    r"""A batch of binomial distributions: how many of a number of trials succeed.

    Parameters
    ----------
    total_count : array, shape (...)
        The number n of trials, a positive integer: the same for all points of one call.
    probs : array, shape (...)
        Probabilities of success, in [0, 1].
    check : bool

    Attributes
    ----------
    total_count, probs : array, shape (...)
        Of one shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError

    Notes
    -----
    The metric is :math:`n \, dp^2 / (p (1 - p))`: distances are :math:`\sqrt n` times those of one
    trial.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> d = manifolds.fisher_rao_distance(Binomial(4, 0.0), Binomial(4, 1.0))
    >>> round(float(d), 12)
    6.28318530718
    """

    total_count: Array
    probs: Array

    rules: ClassVar = {"total_count": WHOLE, "probs": UNIT_ENTRIES}
    constants: ClassVar = ("total_count",)

    def __init__(self, total_count: Any, probs: Any, *, check: bool = True):
        fill(self, check, total_count=total_count, probs=probs)


Tangent = storable("binomial.Tangent")(tangents(Binomial))


def _log_density(a: Binomial, x: Any) -> Any:
    from scipy.special import gammaln, xlog1py, xlogy

    return (
        gammaln(a.total_count + 1.0)
        - gammaln(x + 1.0)
        - gammaln(a.total_count - x + 1.0)
        + xlogy(x, a.probs)
        + xlog1py(a.total_count - x, -a.probs)
    )


SPACE = Line(
    POINTS=Binomial,
    TANGENTS=Tangent,
    **TRIALS,
    DISTRIBUTIONS={
        "torch.distributions.Binomial": ("total_count", "probs"),
        "scipy.stats.binom": Foreign(
            ("n", "p"), from_fields=lambda n, p: (np.rint(n).astype(int), p)
        ),
        "scipy.stats.Binomial": ("n", "p"),
    },
    log_density=_log_density,
    window=lambda a: np.arange(int(np.max(a.total_count)) + 1),
    SAMPLES=COUNTS,
    estimate=lambda x, xp, n: (xp.mean(x, axis=0) / n,),
    copies="total_count",
)


finish(globals())
