"""Containers of normal distributions and of their tangent vectors."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from infogeo import _array, _points
from infogeo._array import POSITIVE, REAL, Array, Namespace, bad_value, gate
from infogeo._points import Points, Vectors, fill
from infogeo._system.registry import storable


@storable("Normal")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Normal(Points):
    """A batch of univariate normal distributions; of diagonal ones along its last axis.

    Parameters
    ----------
    mean : array, shape (...)
        Means.
    std : array, shape (...)
        Standard deviations, positive. Broadcasts with the means.
    check : bool

    Attributes
    ----------
    mean, std : array, shape (...)
        Of one shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; shapes that do not broadcast; values that are not finite;
        standard deviations that are not positive.

    Examples
    --------
    >>> batch = Normal([0.0, 1.0, 2.0], 0.5)
    >>> batch.shape
    (3,)
    >>> batch[1]
    Normal(mean=1.0, std=0.5)
    """

    mean: Array
    std: Array

    rules: ClassVar = {"mean": REAL, "std": POSITIVE}

    def __init__(self, mean: Any, std: Any, *, check: bool = True):
        fill(self, check, mean=mean, std=std)

    @staticmethod
    def fit(samples: Array, labels: Array | None = None, *, check: bool = True) -> "Normal":
        """Fit normals to samples by maximum likelihood, one for each class.

        Parameters
        ----------
        samples : array, shape (n,) or (n, num_components)
            One sample per row; the components are independent.
        labels : array or list, shape (n,), or None
            Numbers or strings: the class of each sample. None: all samples are of one class. A
            series and samples in a frame are matched by the names of their rows.
        check : bool

        Returns
        -------
        Normal
            Mean and standard deviation (with divisor n) along the first axis, of shape () or
            (num_components,). With labels one such distribution for each class, along a new
            first axis, in the order of ``numpy.unique(labels)``. `num_samples` says how many
            samples each was fitted to.

        Raises
        ------
        TypeError, ValueError
            Samples that are not finite numbers; a class of fewer than 2 samples, or without
            spread in a component.

        Examples
        --------
        >>> Normal.fit([1.0, 3.0, 5.0, 7.0], labels=["a", "a", "b", "b"]).mean
        array([2., 6.])
        """
        given, (xp, samples) = samples, gate(check, samples=(REAL, samples))
        if samples.ndim not in (1, 2):
            raise bad_value(
                "samples",
                "have shape (n,) or (n, num_components)",
                f"got shape {tuple(samples.shape)}",
            )

        def fit_rows(name: str, rows: np.ndarray | None) -> tuple[Array, Array]:
            if rows is None:
                return _moments(name, samples, check, xp)
            index = xp.asarray(rows, device=_array.device_of(samples))
            return _moments(name, xp.take(samples, index, axis=0), check, xp)

        return _points.fit(Normal, given, labels, tuple(samples.shape), fit_rows, xp)


@storable("normal.Tangent")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Tangent(Vectors):
    """A batch of tangent vectors: velocities of normal distributions.

    They can be added, subtracted, and multiplied or divided by numbers and by arrays over the
    batch.

    Parameters
    ----------
    mean : array, shape (...)
        Velocities of the means.
    std : array, shape (...)
        Velocities of the standard deviations. Broadcasts with the others.
    check : bool

    Attributes
    ----------
    mean, std : array, shape (...)
        Of one shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; shapes that do not broadcast; values that are not finite.

    Examples
    --------
    >>> 0.5 * Tangent(1.0, 2.0) - Tangent(0.0, 1.0)
    Tangent(mean=0.5, std=0.0)
    """

    mean: Array
    std: Array

    rules: ClassVar = {"mean": REAL, "std": REAL}

    def __init__(self, mean: Any, std: Any, *, check: bool = True):
        fill(self, check, mean=mean, std=std)


def _moments(name: str, samples: Array, check: bool, xp: Namespace) -> tuple[Array, Array]:
    """Return mean and standard deviation of samples."""
    if samples.shape[0] < 2:
        raise bad_value(name, "number at least 2, for a spread", f"there are {samples.shape[0]}")
    is_constant = xp.max(samples, axis=0) == xp.min(samples, axis=0)
    if check and _array.is_readable(is_constant) and bool(xp.any(is_constant)):
        columns = np.flatnonzero(np.asarray(_array.on_host(is_constant)))
        seen = f"component {columns[0]} does not" if samples.ndim == 2 else "they are all equal"
        raise bad_value(name, "vary", seen, "A constant has no density: leave it out.")
    mean = xp.mean(samples, axis=0)
    mean = mean + xp.mean(samples - mean, axis=0)
    deviation = samples - mean
    # The largest one as the unit, so that squares neither overflow nor underflow.
    unit = xp.max(xp.abs(deviation), axis=0)
    std = unit * xp.sqrt(xp.mean((deviation / unit) ** 2, axis=0))
    return mean, std
