"""Normals and their velocities, what they are gated by, and the algebra of their arrays."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from array_api_compat import is_torch_array

from infogeo import _array, _points
from infogeo._array import REAL, Array, Namespace, bad_value
from infogeo._docs import finish
from infogeo._names import is_tensor
from infogeo._points import Points, Vectors, fill, make
from infogeo._system.registry import storable
from infogeo.multivariate_normal._fit import correlation, moments

_RULES = {
    "mean": _array.along(REAL, "coordinates"),
    "cov": _array.along(REAL, "coordinates", "coordinates"),
}


@storable("MultivariateNormal")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class MultivariateNormal(Points):
    """A normal distribution, or a batch of them.

    Parameters
    ----------
    mean : array, shape (..., d)
        Means along the last axis.
    cov : array, shape (..., d, d)
        Covariances: symmetric, positive definite. Leading axes broadcast with those of the means.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

    Attributes
    ----------
    mean, cov : array, shape (..., d) and (..., d, d)
        Of one batch shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries, shapes that do not fit together, values that are not
        finite, covariances that are not symmetric or not positive definite.

    Notes
    -----
    Covariances may be asymmetric by rounding; the symmetric part counts. A batch has a length
    and is indexed along its batch axes; `stack` makes one of a list.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> batch = MultivariateNormal([[0.0, 0.0], [1.0, 0.0]], np.eye(2))
    >>> len(batch), batch.dim, batch[1].mean
    (2, 2, array([1., 0.]))
    """

    mean: Array
    cov: Array

    rules: ClassVar = _RULES

    def __init__(self, mean: Any, cov: Any, *, check: bool = True):
        fill(self, check, mean=mean, cov=cov)
        if check and _array.is_readable(self.cov):
            _require_symmetric("cov", to_host(self.cov))
            host_of(self)  # the factorisation is the test

    @property
    def dim(self) -> int:
        """Number of coordinates d."""
        return int(self.mean.shape[-1])

    @staticmethod
    def fit(
        samples: Array, labels: Array | None = None, *, shrinkage: Any = None, check: bool = True
    ) -> "MultivariateNormal":
        """Estimate a normal from samples, or one for each class.

        Parameters
        ----------
        samples : array, shape (n, d)
            One sample per row.
        labels : array or list, shape (n,), or None
            Numbers or strings: the class of each sample. None: all samples are of one class. A
            series and samples in a frame are matched by the names of their rows.
        shrinkage : float, scikit-learn covariance estimator, or None
            None: maximum likelihood (division by n), which needs more samples than coordinates.
            A number in [0, 1]: that share of the average variance on the diagonal
            (``sklearn.covariance.shrunk_covariance``): the units of the coordinates count, unlike
            without it. An estimator, such as
            ``sklearn.covariance.LedoitWolf()``, is cloned and fitted to each class.
        check : bool
            Verify the values. Shapes and dtypes are always verified.

        Returns
        -------
        MultivariateNormal
            In the library, dtype and device of the samples. With labels a batch with one for each
            class, in the order of ``numpy.unique(labels)``. Without shrinkage `num_samples` says
            how many samples each was fitted to.

        Raises
        ------
        TypeError, ValueError
            Samples that are not finite rows; a class whose correlations are singular; variances
            that overflow or underflow.

        Examples
        --------
        >>> from infogeo.multivariate_normal import MultivariateNormal
        >>> square = [[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]]
        >>> MultivariateNormal.fit(square).cov
        array([[1., 0.],
               [0., 1.]])
        """
        given, (xp, samples) = samples, _array.gate(check, samples=(REAL, samples))
        if len(samples.shape) != 2 or 0 in samples.shape:
            raise bad_value(
                "samples", "have shape (n, d), one sample per row", f"got {tuple(samples.shape)}"
            )
        values, limits = to_host(samples), xp.finfo(samples.dtype)

        def fit_rows(name: str, rows: np.ndarray | None) -> list[Array]:
            chosen = values if rows is None else values[rows]
            return [as_like(x, samples, xp) for x in moments(name, chosen, shrinkage, limits)]

        return _points.fit(
            MultivariateNormal,
            given,
            labels,
            values.shape,
            fit_rows,
            xp,
            is_likeliest=shrinkage is None,
        )


@storable("multivariate_normal.Tangent")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Tangent(Vectors):
    """A batch of tangent vectors: velocities of normal distributions.

    They can be added, subtracted, and multiplied or divided by numbers and by arrays over the
    batch.

    Parameters
    ----------
    mean : array, shape (..., d)
        Velocities of the means.
    cov : array, shape (..., d, d)
        Velocities of the covariances, symmetric. Leading axes broadcast with the others.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

    Attributes
    ----------
    mean, cov : array, shape (..., d) and (..., d, d)
        Of one batch shape, library, dtype and device.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries, shapes that do not fit together, values that are not
        finite.

    Examples
    --------
    >>> from infogeo.multivariate_normal import Tangent
    >>> v = Tangent([1.0, 0.0], np.eye(2))
    >>> (0.5 * v - v).mean
    array([-0.5,  0. ])
    """

    mean: Array
    cov: Array

    rules: ClassVar = _RULES

    def __init__(self, mean: Any, cov: Any, *, check: bool = True):
        fill(self, check, mean=mean, cov=cov)


class Host(NamedTuple):
    """Normals in float64 numpy."""

    mean: np.ndarray  # (..., d)
    cov: np.ndarray  # (..., d, d)
    factor: np.ndarray  # (..., d, d), lower triangular


def host_of(a: MultivariateNormal) -> Host:
    """Return a normal in float64 on the host, with the Cholesky factors of the covariances.

    The object keeps it until a field changes: steps of an optimiser change tensors in place.
    """
    versions = [_version_of(x) for x in _points.fields(a)]
    kept = vars(a).get("_kept")
    if kept is None or kept[0] != versions:
        mean, cov = to_host(a.mean), to_host(a.cov)
        cov = 0.5 * (cov + transposed(cov))
        kept = versions, Host(mean, cov, _cholesky(cov))
        object.__setattr__(a, "_kept", kept)
    return kept[1]


def location_scale(a: MultivariateNormal) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and Cholesky factor: the map that makes the distribution from N(0, I)."""
    host = host_of(a)
    return host.mean, host.factor


def _version_of(x: Array) -> Any:
    """Return what differs once a tensor has changed in place; inference mode counts no changes."""
    if isinstance(x, np.ndarray) or not is_tensor(x):
        return 0
    return object() if x.is_inference() else x._version


def _cholesky(cov: np.ndarray) -> np.ndarray:
    try:
        factor = np.linalg.cholesky(cov)
    except np.linalg.LinAlgError:
        factor = None
    if factor is not None and np.isfinite(factor).all():
        return factor
    finite = np.isfinite(cov).all(axis=(-2, -1))
    if not finite.all():
        raise bad_value("cov", "be finite", "it has NaN or infinite entries", where=~finite)
    # Of the correlations where there are any: units do not count.
    has_variances = np.all(np.diagonal(cov, axis1=-2, axis2=-1) > 0.0, axis=-1)[..., None, None]
    judged = np.where(has_variances, correlation(np.where(has_variances, cov, 1.0)), cov)
    eigenvalues = np.linalg.eigvalsh(judged)
    smallest, largest = eigenvalues[..., 0], eigenvalues[..., -1]
    share = smallest / np.maximum(np.abs(largest), 1e-300)
    raise bad_value(
        "cov",
        "be positive definite",
        f"smallest eigenvalue {smallest[share == share.min()].flat[0]:.6g}, the largest is "
        f"{largest[share == share.min()].flat[0]:.6g}",
        "For a singular estimate use MultivariateNormal.fit(samples, shrinkage=0.1), or leave out "
        "coordinates that others determine.",
        where=share == share.min(),
    )


def _require_symmetric(name: str, cov: np.ndarray) -> None:
    scale = np.sqrt(np.abs(np.einsum("...ii->...i", cov)))
    excess = np.abs(cov - transposed(cov)) / np.maximum(
        scale[..., :, None] * scale[..., None, :], 1e-300
    )
    worst = excess.max(axis=(-2, -1))
    if not (worst <= 1e-6).all():
        raise bad_value(
            name,
            "be symmetric",
            f"largest |{name}[i, j] - {name}[j, i]|, relative to the variances, is "
            f"{worst.max():.3g}",
            f"Pass ({name} + {name}.T) / 2 if that is what is meant.",
            where=worst == worst.max(),
        )


# ---------------------------------------------------------------- the gate


def gate_pair(a: Any, b: Any) -> tuple[Any, ...]:
    """Return the namespace and two normals of one library and dtype, whose batches broadcast.

    Their values were verified when they were built.
    """
    return gate(False, a=(MultivariateNormal, a), b=(MultivariateNormal, b))


def gate(check: bool, **arguments: tuple[Any, Any]) -> tuple[Any, ...]:
    """Return the namespace and the arguments as `_points.gate`, normals and vectors as objects."""
    xp, *gated = _points.gate(check, **arguments)
    made = [_regated(given, x) for (_, given), x in zip(arguments.values(), gated, strict=True)]
    for name, v in zip(arguments, made, strict=True):
        if check and isinstance(v, Tangent) and _array.is_readable(v.cov):
            _require_symmetric_velocity(f"{name}.cov", to_host(v.cov), to_host(made[0].cov))
    return xp, *made


def _regated(given: Any, fields: Any) -> Any:
    """Return the same object if the gate changed nothing: it keeps its Cholesky factor."""
    if not isinstance(fields, tuple):
        return fields
    is_same = all(x is y for x, y in zip(_points.fields(given), fields, strict=True))
    return given if is_same else make(type(given), *fields)


def _require_symmetric_velocity(name: str, cov: np.ndarray, at: np.ndarray) -> None:
    excess = np.abs(cov - transposed(cov)).max(axis=(-2, -1))
    scale = np.abs(cov).max(axis=(-2, -1)) + np.abs(at).max(axis=(-2, -1))
    if not (excess <= 1e-6 * scale).all():  # differences of velocities may be all rounding
        raise bad_value(
            name,
            "be symmetric",
            f"largest |{name}[i, j] - {name}[j, i]| is {excess.max():.3g}",
            f"Pass ({name} + {name}.T) / 2 if that is what is meant.",
            where=excess == excess.max(),
        )


# ---------------------------------------------------------------- arrays


def transposed(x: Array) -> Array:
    return np.swapaxes(x, -1, -2) if isinstance(x, np.ndarray) else x.mT


def to_host(x: Array) -> np.ndarray:
    """Return the values in float64 numpy."""
    if not _array.is_readable(x):
        raise TypeError(
            "normals must have values that can be read here: not inside torch.compile or jax.jit, "
            "nor on dask arrays. Call it outside."
        )
    return np.asarray(_array.on_host(x)).astype(np.float64, copy=False)


def as_like(x: Array, like: Array, xp: Namespace) -> Array:
    """Return numpy values in the library, dtype and device of another array."""
    if isinstance(like, np.ndarray):
        return np.asarray(x).astype(like.dtype, copy=False)[()]
    return xp.asarray(x, dtype=like.dtype, device=_array.device_of(like))


def wide(x: Array, xp: Namespace) -> Array:
    """Return the array in the widest dtype of its library and device."""
    return xp.astype(x, _array.widest_dtype(x, xp), copy=False)


def narrow(x: Array, like: Array, xp: Namespace) -> Array:
    return _array.as_number(xp.astype(x, like.dtype, copy=False))


def normal_of(mean: Array, cov: Array, like: Array, xp: Namespace) -> MultivariateNormal:
    mean, cov = narrow(mean, like, xp), narrow(0.5 * (cov + transposed(cov)), like, xp)
    return make(MultivariateNormal, mean, cov)


def factor_of(a: MultivariateNormal, xp: Namespace) -> Array:
    """Return the Cholesky factor of the covariance, differentiable in its library."""
    if isinstance(a.cov, np.ndarray):
        return host_of(a).factor
    return xp.linalg.cholesky(wide(a.cov, xp))


def precision_of(a: MultivariateNormal, xp: Namespace) -> Array:
    """Return the inverse covariance."""
    factor = factor_of(a, xp)
    identity = xp.eye(a.dim, dtype=factor.dtype, device=_array.device_of(a.mean))
    half = solve_lower(factor, identity + xp.zeros_like(factor), xp)
    return xp.matmul(transposed(half), half)


def solve_lower(factor: Array, x: Array, xp: Namespace) -> Array:
    """Return factor^-1 x for lower triangular factors and matrices x."""
    if is_torch_array(x):
        import torch

        return torch.linalg.solve_triangular(factor, x, upper=False)
    if not isinstance(x, np.ndarray):
        return xp.linalg.solve(factor, x)
    batch = np.broadcast_shapes(factor.shape[:-2], x.shape[:-2])
    result = np.array(np.broadcast_to(x, (*batch, *x.shape[-2:])))
    for i in range(x.shape[-2]):
        if i:
            result[..., i, :] -= (factor[..., i, None, :i] @ result[..., :i, :])[..., 0, :]
        result[..., i, :] /= factor[..., i, i, None]
    return result


def solve_lower_vector(factor: Array, x: Array, xp: Namespace) -> Array:
    return solve_lower(factor, x[..., None], xp)[..., 0]


def matvec(matrix: Array, x: Array, xp: Namespace) -> Array:
    return xp.matmul(matrix, x[..., None])[..., 0]


def whitened(factor: Array, matrix: Array, xp: Namespace) -> Array:
    """Return factor^-1 matrix factor^-T for a symmetric matrix."""
    half = solve_lower(factor, matrix, xp)
    full = solve_lower(factor, transposed(half), xp)
    return 0.5 * (full + transposed(full))


finish(globals())
