r"""Beta distributions with the Fisher metric: the surface of Dirichlet distributions of two shares.

A point is a `Beta`, of two concentrations.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo import _array
from infogeo._array import POSITIVE, REAL, Array, bad_value, entries
from infogeo._docs import finish
from infogeo._points import Points, Vectors, fill
from infogeo._spaces import Foreign
from infogeo._system.registry import storable
from infogeo.manifolds._concentrations import Concentrations, fitted

__all__ = ["Beta", "Tangent"]

_SHARES = entries(
    "lie strictly between 0 and 1",
    lambda x, coarseness: bool(x.min() > 0.0) and bool(x.max() < 1.0),
    lambda x: (x > 0.0) & (x < 1.0),
)


@storable("Beta")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Beta(Points):
    r"""A batch of beta distributions.

    Parameters
    ----------
    concentration1, concentration0 : array, shape (...)
        The exponents of x and of 1 - x, plus 1: alpha and beta. Positive and finite.
    check : bool

    Attributes
    ----------
    concentration1, concentration0 : array, shape (...)
        Of one batch shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError
        Something else than real numbers; concentrations that are not positive or not finite;
        batches that do not broadcast.

    Notes
    -----
    The Fisher metric is that of Dirichlet distributions of two shares.

    Examples
    --------
    >>> from infogeo import manifolds
    >>> a, b = Beta(3.0, 4.0), Beta(3e4, 4e4)
    >>> round(float(manifolds.fisher_rao_distance(a, b)), 12)
    6.563333854088
    """

    concentration1: Array
    concentration0: Array

    rules: ClassVar = {"concentration1": POSITIVE, "concentration0": POSITIVE}

    def __init__(self, concentration1: Any, concentration0: Any, *, check: bool = True):
        fill(self, check, concentration1=concentration1, concentration0=concentration0)

    @staticmethod
    def fit(samples: Array, labels: Array | None = None, *, check: bool = True) -> "Beta":
        """Fit beta distributions to samples by maximum likelihood, one for each class.

        Parameters
        ----------
        samples : array, shape (n,) or (n, num_components)
            Numbers between 0 and 1, one sample per row; the components are independent.
        labels : array or list, shape (n,), or None
            Numbers or strings: the class of each sample. None: all samples are of one class. A
            series and samples in a frame are matched by the names of their rows.
        check : bool

        Returns
        -------
        Beta
            Of shape () or (num_components,). With labels one such distribution for each class,
            along a new first axis, in the order of ``numpy.unique(labels)``.

        Raises
        ------
        TypeError, ValueError
            Samples that are not between 0 and 1; samples that do not vary, whose likelihood grows
            without end.

        Examples
        --------
        >>> fitted = Beta.fit([0.2, 0.4, 0.3, 0.7])
        >>> round(float(fitted.concentration1), 3), round(float(fitted.concentration0), 3)
        (2.725, 3.999)
        """
        given, (xp, samples) = samples, _array.gate(check, samples=(_SHARES, samples))
        if samples.ndim not in (1, 2):
            raise bad_value(
                "samples",
                "have shape (n,) or (n, num_components)",
                f"got shape {tuple(samples.shape)}",
            )

        def logarithms(x: np.ndarray) -> np.ndarray:
            return np.stack([np.log(x), np.log1p(-x)], axis=-1)

        return fitted(Beta, given, labels, samples, logarithms, check, xp)


@storable("beta.Tangent")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Tangent(Vectors):
    """A batch of tangent vectors: velocities of beta distributions.

    They can be added, subtracted, and multiplied or divided by numbers and by arrays over the
    batch.

    Parameters
    ----------
    concentration1, concentration0 : array, shape (...)
        Velocities of the concentrations.
    check : bool

    Attributes
    ----------
    concentration1, concentration0 : array, shape (...)
        As given.

    Raises
    ------
    TypeError, ValueError
        Something else than finite real numbers.

    Examples
    --------
    >>> 2.0 * Tangent(1.0, -1.0)
    Tangent(concentration1=2.0, concentration0=-2.0)
    """

    concentration1: Array
    concentration0: Array

    rules: ClassVar = {"concentration1": REAL, "concentration0": REAL}

    def __init__(self, concentration1: Any, concentration0: Any, *, check: bool = True):
        fill(self, check, concentration1=concentration1, concentration0=concentration0)


def _log_density(point: Any, x: Any) -> Any:
    r"""Return :math:`(\alpha - 1) \log x + (\beta - 1) \log (1 - x) - \log B(\alpha, \beta)`."""
    from scipy.special import betaln, xlog1py, xlogy

    a, b = np.asarray(point.concentration1), np.asarray(point.concentration0)
    return xlogy(a - 1.0, x) + xlog1py(b - 1.0, -x) - betaln(a, b)


def _draw(point: Any, size: Any, rng: Any) -> Any:
    """Return the share of one gamma variate in two, by their logarithms: small ones underflow."""
    logs = [
        np.log(rng.standard_gamma(a + 1.0, size)) - rng.standard_exponential(size) / a
        for a in (np.asarray(point.concentration1), np.asarray(point.concentration0))
    ]
    return _array.softmax(np.stack(logs, axis=-1), np)[..., 0]


@dataclass(frozen=True)
class _Space(Concentrations):
    def REFLECTED(self, point: Beta) -> tuple[Any, Beta, float]:  # noqa: N802  a declaration
        """Return the distribution of 1 - X."""
        return self, Beta(point.concentration0, point.concentration1), 1.0

    def window(self, point: Any) -> Any:
        """Return the shares to show; densities may be infinite at 0 and at 1."""
        return np.linspace(0.0, 1.0, 402)[1:-1]


SPACE = _Space(
    POINTS=Beta,
    TANGENTS=Tangent,
    DISTRIBUTIONS={
        "torch.distributions.Beta": ("concentration1", "concentration0"),
        "scipy.stats.beta": ("a", "b"),
        "scipy.stats.arcsine": Foreign((), lambda: (0.5, 0.5)),
        "scipy.stats.powerlaw": Foreign(("a",), lambda a: (a, 1.0)),
        "scipy.stats.uniform": Foreign((), lambda: (1.0, 1.0)),
    },
    log_density=_log_density,
    draw=_draw,
)


finish(globals())
