r"""Pareto distributions of a fixed scale with the Fisher metric: a line.

A point is a `Pareto`, of a scale, which all points of one call share, and an exponent alpha.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo._array import POSITIVE, Array, Namespace, bad_value
from infogeo._docs import finish
from infogeo._points import fill, tangents
from infogeo._spaces import Foreign
from infogeo._system.registry import storable
from infogeo.manifolds._family import Family
from infogeo.manifolds._line import scale_family

__all__ = ["Pareto", "Tangent"]


@storable("Pareto")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Pareto(Family):
    r"""A batch of Pareto distributions.

    .. math:: p(x) = \frac{\alpha s^\alpha}{x^{\alpha + 1}}, \qquad x \ge s

    Parameters
    ----------
    scale : array, shape (...)
        Where the support begins: positive, the same for all points of one call.
    alpha : array, shape (...)
        Exponents, positive and finite.
    check : bool

    Attributes
    ----------
    scale, alpha : array, shape (...)
        Of one shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError

    Notes
    -----
    The metric is 1 / alpha^2. Pareto distributions of different scales have different supports, so
    that no Fisher information belongs to the scale: points of one call have to share it.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> d = manifolds.fisher_rao_distance(Pareto(1.0, 2.0), Pareto(1.0, 2.0 * np.e))
    >>> round(float(d), 12)
    1.0
    """

    scale: Array
    alpha: Array

    rules: ClassVar = {"scale": POSITIVE, "alpha": POSITIVE}
    constants: ClassVar = ("scale",)

    def __init__(self, scale: Any, alpha: Any, *, check: bool = True):
        fill(self, check, scale=scale, alpha=alpha)


Tangent = storable("pareto.Tangent")(tangents(Pareto))


def _estimate(x: Array, xp: Namespace, scale: Array) -> tuple[Array]:
    """Return 1 over the mean of log(x / scale)."""
    logs = xp.log(x / scale)
    if bool(xp.any(logs < 0.0)):
        raise bad_value("samples", "be at least the scale", "one is smaller")
    return (1.0 / xp.mean(logs, axis=0),)


SPACE = scale_family(
    Pareto,
    Tangent,
    shape=1.0,
    exponent=1.0,
    DISTRIBUTIONS={
        "torch.distributions.Pareto": ("scale", "alpha"),
        "scipy.stats.pareto": Foreign(("scale", "b")),
    },
    log_density=lambda a, x: np.where(
        x < a.scale,
        -np.inf,
        np.log(a.alpha) + a.alpha * np.log(a.scale) - (a.alpha + 1.0) * np.log(x),
    ),
    window=lambda a: np.linspace(1.0, 5.0, 400) * float(np.max(a.scale)),
    SAMPLES=POSITIVE,
    estimate=_estimate,
)


finish(globals())
