r"""Negative binomial distributions of a fixed number of failures with the Fisher metric: a line.

A point is a `NegativeBinomial`, of a number of failures, which all points of one call share, and
the probability of success.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo._array import POSITIVE, Array
from infogeo._docs import finish
from infogeo._points import fill, tangents
from infogeo._spaces import Foreign
from infogeo._system.registry import storable
from infogeo.manifolds._counts import COUNTS, SHARES_BELOW_1, waiting
from infogeo.manifolds._family import Family
from infogeo.manifolds._line import Line

__all__ = ["NegativeBinomial", "Tangent"]


@storable("NegativeBinomial")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class NegativeBinomial(Family):
    r"""A batch of negative binomial distributions: the successes before a number of failures.

    Parameters
    ----------
    total_count : array, shape (...)
        The number r of failures, positive: the same for all points of one call.
    probs : array, shape (...)
        Probabilities of success, in [0, 1).
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
    As in torch, ``probs`` is the probability of what is counted, and the mean is :math:`m = r p /
    (1 - p)`. scipy's is 1 minus it. In means the distance of r failures is
    :math:`2 \sqrt r \, |\operatorname{arsinh} \sqrt{m / r} - \operatorname{arsinh} \sqrt{m' / r}|`.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> d = manifolds.fisher_rao_distance(NegativeBinomial(4.0, 0.0), NegativeBinomial(4.0, 0.5))
    >>> round(float(d), 12)
    3.525494348078
    """

    total_count: Array
    probs: Array

    rules: ClassVar = {"total_count": POSITIVE, "probs": SHARES_BELOW_1}
    constants: ClassVar = ("total_count",)

    def __init__(self, total_count: Any, probs: Any, *, check: bool = True):
        fill(self, check, total_count=total_count, probs=probs)


Tangent = storable("negative_binomial.Tangent")(tangents(NegativeBinomial))


def _log_density(a: NegativeBinomial, x: Any) -> Any:
    from scipy.special import gammaln, xlog1py, xlogy

    return (
        gammaln(a.total_count + x)
        - gammaln(a.total_count)
        - gammaln(x + 1.0)
        + xlogy(x, a.probs)
        + xlog1py(a.total_count, -a.probs)
    )


def _window(a: NegativeBinomial) -> np.ndarray:
    """Return the counts up to some four standard deviations above the mean, or 1000 of them."""
    mean = a.total_count * a.probs / (1.0 - a.probs)
    return np.arange(min(1000, int(np.max(mean + 4.0 * (mean / (1.0 - a.probs)) ** 0.5)) + 4))


SPACE = Line(
    POINTS=NegativeBinomial,
    TANGENTS=Tangent,
    **waiting(-1.0),
    DISTRIBUTIONS={
        "torch.distributions.NegativeBinomial": ("total_count", "probs"),
        "scipy.stats.nbinom": Foreign(
            ("n", "p"), lambda n, p: (n, 1.0 - p), lambda r, probs: (r, 1.0 - probs)
        ),
    },
    log_density=_log_density,
    window=_window,
    SAMPLES=COUNTS,
    estimate=lambda x, xp, r: (xp.mean(x, axis=0) / (r + xp.mean(x, axis=0)),),
    copies="total_count",
)


finish(globals())
