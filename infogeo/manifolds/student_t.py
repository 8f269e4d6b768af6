r"""Student's t distributions of fixed degrees of freedom with the Fisher metric: a half-plane.

A point is a `StudentT`, of degrees of freedom, which all points of one call share, location and
scale.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo._array import POSITIVE, REAL, Array
from infogeo._docs import finish
from infogeo._points import fill, tangents
from infogeo._system.registry import storable
from infogeo.manifolds import _estimates
from infogeo.manifolds._family import Family, mirrored
from infogeo.manifolds._half_plane import NO_DIVERGENCES, HalfPlane

__all__ = ["StudentT", "Tangent"]


@storable("StudentT")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class StudentT(Family):
    r"""A batch of Student's t distributions.

    Parameters
    ----------
    df : array, shape (...)
        Degrees of freedom, positive: the same for all points of one call.
    loc : array, shape (...)
    scale : array, shape (...)
    check : bool

    Attributes
    ----------
    df, loc, scale : array, shape (...)
        Of one shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError

    Notes
    -----
    With :math:`\nu` degrees of freedom the metric is :math:`((\nu + 1) \, d\mu^2 + 2 \nu \, ds^2)
    / (\nu + 3) s^2`, of the curvature :math:`-(\nu + 3) / 2 \nu`.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> d = manifolds.fisher_rao_distance(StudentT(3.0, 0.0, 1.0), StudentT(3.0, 0.0, np.e))
    >>> round(float(d), 12)
    1.0
    """

    df: Array
    loc: Array
    scale: Array

    rules: ClassVar = {"df": POSITIVE, "loc": REAL, "scale": POSITIVE}
    constants: ClassVar = ("df",)

    def __init__(self, df: Any, loc: Any, scale: Any, *, check: bool = True):
        fill(self, check, df=df, loc=loc, scale=scale)


Tangent = storable("student_t.Tangent")(tangents(StudentT))


def _log_density(a: StudentT, x: Any) -> Any:
    from scipy.special import betaln

    norm = np.log(a.scale) + 0.5 * np.log(a.df) + betaln(0.5, 0.5 * a.df)
    return -0.5 * (a.df + 1.0) * np.log1p(((x - a.loc) / a.scale) ** 2 / a.df) - norm


SPACE = HalfPlane(
    POINTS=StudentT,
    TANGENTS=Tangent,
    metric=lambda xp, df: ((df + 1.0) / (df + 3.0), 0.0, 2.0 * df / (df + 3.0)),
    DISTRIBUTIONS={
        "torch.distributions.StudentT": ("df", "loc", "scale"),
        "scipy.stats.t": ("df", "loc", "scale"),
    },
    log_density=_log_density,
    window=lambda a: np.linspace(np.min(a.loc - 6.0 * a.scale), np.max(a.loc + 6.0 * a.scale), 400),
    REFLECTED=mirrored("student_t"),
    SAMPLES=REAL,
    estimate=lambda x, xp, df: _estimates.by_components(x, xp, _estimates.student_t, df),
    REFUSED=NO_DIVERGENCES,
)


finish(globals())
