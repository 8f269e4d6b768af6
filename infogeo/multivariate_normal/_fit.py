"""Mean and covariance of samples, in which no unit of a coordinate shows."""

from typing import Any

import numpy as np

from infogeo._array import Array, bad_value


def moments(
    name: str, rows: np.ndarray, shrinkage: Any, limits: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of samples."""
    if shrinkage is None or isinstance(shrinkage, int | float):
        mean, cov = _maximum_likelihood(name, rows, limits)
        if shrinkage is not None:
            if not 0.0 <= shrinkage <= 1.0:
                raise bad_value("shrinkage", "lie in [0, 1]", f"got {shrinkage!r}")
            average = np.diagonal(cov).mean()
            cov = (1.0 - shrinkage) * cov + shrinkage * average * np.eye(len(cov))
    elif hasattr(shrinkage, "fit"):
        from sklearn.base import clone

        estimator = clone(shrinkage).fit(rows)
        mean, cov = estimator.location_, estimator.covariance_
    else:
        raise TypeError(
            "shrinkage must be a number in [0, 1] or a covariance estimator of scikit-learn: got "
            f"{shrinkage!r}."
        )
    is_constant = np.diagonal(cov) == 0.0
    if is_constant.any():
        raise bad_value(
            name,
            "span all coordinates",
            f"coordinate {int(np.argmax(is_constant))} does not vary",
            "A constant has no density: leave it out.",
        )
    eigenvalues = np.linalg.eigvalsh(correlation(cov))
    if not eigenvalues[0] > 8.0 * np.finfo(np.float64).eps * len(eigenvalues) * eigenvalues[-1]:
        raise bad_value(
            name,
            "span all coordinates",
            f"the covariance of {rows.shape[0]} samples in {rows.shape[1]} coordinates is singular",
            "Pass shrinkage=0.1 or an estimator such as sklearn.covariance.LedoitWolf().",
        )
    return mean, cov


def _maximum_likelihood(name: str, rows: np.ndarray, limits: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance, in which no unit of a coordinate shows."""
    # Powers of 2 as units: nothing is rounded, and neither sums nor squares overflow.
    largest = np.abs(rows).max(axis=0)
    exponent = np.frexp(np.where(largest > 0.0, largest, 1.0))[1]
    mean = np.ldexp(rows, -exponent).mean(axis=0)
    centred = np.ldexp(rows, -exponent) - mean
    mean = mean + centred.mean(axis=0)
    spread = np.abs(centred - centred.mean(axis=0)).max(axis=0)
    shift = np.frexp(np.where(spread > 0.0, spread, 1.0))[1]
    centred = np.ldexp(centred - centred.mean(axis=0), -shift)
    shift = shift + exponent
    cov = centred.T @ centred / rows.shape[0]
    is_spread = np.diagonal(cov) > 0.0
    with np.errstate(over="ignore", under="ignore"):
        cov = np.ldexp(cov, shift[:, None] + shift)
    variances = np.diagonal(cov)
    is_lost = (variances > limits.max) | ((variances < limits.smallest_normal) & is_spread)
    if is_lost.any():
        column = int(np.argmax(is_lost))
        raise bad_value(
            name,
            f"have variances that are numbers of {limits.dtype}".replace("torch.", ""),
            f"coordinate {column} has values up to {largest[column]:.3g}",
            "Divide it by its unit.",
        )
    return np.ldexp(mean, exponent), cov


def correlation(cov: np.ndarray) -> Array:
    """Return the correlation matrix, NaN where a variance is 0."""
    std = np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return cov / std[..., :, None] / std[..., None, :]
