r"""Dirichlet distributions with the Fisher metric: a space of negative curvature.

A point is a `Dirichlet`, of concentrations. Its samples are probabilities of k outcomes. Without a
formula for it, the Fisher-Rao distance is solved for, and a bracket proves it (see `connect`).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo import _array
from infogeo._array import POSITIVE, PROBABILITIES, REAL, Array, along, bad_value
from infogeo._docs import finish
from infogeo._points import Points, Vectors, fill
from infogeo._system.registry import storable
from infogeo.manifolds._concentrations import Concentrations, fitted

__all__ = ["Dirichlet", "Tangent"]


@storable("Dirichlet")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Dirichlet(Points):
    r"""A batch of Dirichlet distributions.

    Parameters
    ----------
    concentration : array, shape (..., k)
        Positive and finite, at least two along the last axis.
    check : bool

    Attributes
    ----------
    concentration : array, shape (..., k)
        As given.

    Raises
    ------
    TypeError, ValueError
        Something else than real numbers; concentrations that are not positive or not finite; a
        single one.

    Notes
    -----
    The Fisher metric is :math:`\operatorname{diag} \psi_1(a_i) - \psi_1(\sum a)`, with the trigamma
    function. Its curvature is negative, so that any two points are joined by one geodesic.

    References
    ----------
    A. Le Brigant, S. C. Preston and S. Puechmorel, Fisher-Rao geometry of Dirichlet distributions,
    Differential Geom. Appl. 74, 2021.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> a, b = Dirichlet([1.0, 2.0, 3.0]), Dirichlet([3.0, 1.0, 2.0])
    >>> round(float(manifolds.fisher_rao_distance(a, b)), 12)
    1.994655744106
    """

    concentration: Array

    rules: ClassVar = {"concentration": along(POSITIVE, "components")}

    def __init__(self, concentration: Any, *, check: bool = True):
        fill(self, check, concentration=concentration)
        if self.concentration.shape[-1] < 2:
            raise bad_value(
                "concentration",
                "have at least two entries along the last axis",
                f"got shape {tuple(self.concentration.shape)}",
            )

    @staticmethod
    def fit(samples: Array, labels: Array | None = None, *, check: bool = True) -> "Dirichlet":
        """Fit Dirichlet distributions to samples by maximum likelihood, one for each class.

        Parameters
        ----------
        samples : array, shape (n, k)
            Probabilities, one sample per row.
        labels : array or list, shape (n,), or None
            Numbers or strings: the class of each sample. None: all samples are of one class. A
            series and samples in a frame are matched by the names of their rows.
        check : bool

        Returns
        -------
        Dirichlet
            Of shape (). With labels one for each class, along a first axis, in the order of
            ``numpy.unique(labels)``.

        Raises
        ------
        TypeError, ValueError
            Samples that are not probabilities or have zeros; samples that do not vary, whose
            likelihood grows without end.

        Examples
        --------
        >>> samples = [[0.2, 0.3, 0.5], [0.4, 0.2, 0.4], [0.1, 0.5, 0.4]]
        >>> Dirichlet.fit(samples).concentration.round(3)
        array([3.832, 5.688, 7.7  ])
        """
        given, (xp, samples) = samples, _array.gate(check, samples=(PROBABILITIES, samples))
        if samples.ndim != 2:
            raise bad_value("samples", "have shape (n, k)", f"got shape {tuple(samples.shape)}")
        return fitted(Dirichlet, given, labels, samples, lambda x: np.log(x), check, xp)


@storable("dirichlet.Tangent")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Tangent(Vectors):
    """A batch of tangent vectors: velocities of Dirichlet distributions.

    They can be added, subtracted, and multiplied or divided by numbers and by arrays over the
    batch.

    Parameters
    ----------
    concentration : array, shape (..., k)
        Velocities of the concentrations.
    check : bool

    Attributes
    ----------
    concentration : array, shape (..., k)
        As given.

    Raises
    ------
    TypeError, ValueError
        Something else than finite real numbers.

    Examples
    --------
    >>> 2.0 * Tangent([1.0, -1.0])
    Tangent(concentration=[2.0, -2.0])
    """

    concentration: Array

    rules: ClassVar = {"concentration": along(REAL, "components")}

    def __init__(self, concentration: Any, *, check: bool = True):
        fill(self, check, concentration=concentration)


def _log_density(point: Any, x: Any) -> Any:
    r"""Return :math:`\sum (a_i - 1) \log x_i - \sum \log \Gamma(a_i) + \log \Gamma(\sum a)`."""
    from scipy.special import gammaln, xlogy

    a = np.asarray(point.concentration)
    return xlogy(a - 1.0, x).sum(-1) - gammaln(a).sum(-1) + gammaln(a.sum(-1))


def _draw(point: Any, size: Any, rng: Any) -> Any:
    """Return normalised gamma variates, by their logarithms: small ones underflow."""
    a = np.asarray(point.concentration)
    size = (*size, a.shape[-1])
    logs = np.log(rng.standard_gamma(a + 1.0, size)) - rng.standard_exponential(size) / a
    return _array.softmax(logs, np)


SPACE = Concentrations(
    POINTS=Dirichlet,
    TANGENTS=Tangent,
    DISTRIBUTIONS={
        "torch.distributions.Dirichlet": ("concentration",),
        "scipy.stats.dirichlet": ("alpha",),
    },
    log_density=_log_density,
    draw=_draw,
)


finish(globals())
