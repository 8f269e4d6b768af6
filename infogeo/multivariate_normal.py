r"""Multivariate normals with the Fisher metric: points are `MultivariateNormal(mean, cov)`.

The metric is :math:`ds^2 = d\mu' S^{-1} d\mu + \tfrac12 \operatorname{tr}((S^{-1} dS)^2)`. It is
invariant under affine maps. No closed form of its distance is known; here it is exact to rounding,
by a minimisation over the fibre of a Riemannian submersion (`infogeo._fibre` has the formulas).
Everything is computed in float64 and returned in the dtype of the points.
"""

import functools
import math
import sys
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from array_api_compat import array_namespace, is_torch_array

from infogeo import _array, _divergence, _fibre, _points
from infogeo._array import REAL, UNIT_INTERVAL, Array, Rule, bad_value, gate
from infogeo._status import SolveError, Status
from infogeo._system.registry import storable

__all__ = [
    "MultivariateNormal",
    "Tangent",
    "connect",
    "distance_bounds",
    "e_geodesic",
    "e_mean",
    "e_transport",
    "entropy",
    "exp_map",
    "expectation_parameters",
    "fisher_information",
    "fisher_rao_distance",
    "fisher_rao_geodesic",
    "fisher_rao_squared_distance",
    "fixed_covariance_distance",
    "fixed_mean_distance",
    "from_expectation_parameters",
    "from_natural_parameters",
    "hellinger_distance",
    "inner_product",
    "jeffreys_divergence",
    "kl_divergence",
    "log_map",
    "m_geodesic",
    "m_mean",
    "m_transport",
    "natural_parameters",
    "norm",
]


# ---------------------------------------------------------------- points and velocities


@storable("Connection")
@dataclass(frozen=True, eq=False)
class Connection:
    """The geodesic between two normals, with what its solve left over.

    Parameters
    ----------
    distance : array, shape (...)
        Its length, the Fisher-Rao distance.
    initial_velocity : Tangent
        At the first point: the log map.
    final_velocity : Tangent
        On arrival at the second point.
    residual : array, shape (...)
        The part of the length that is left in the fibre, 0 but for rounding: the velocities are
        off by about as much, the distance by its square.
    steps : int array, shape (...)
        Newton steps taken.
    status : Status
        How the solve ended; for a batch the worst of its members.
    """

    distance: Array
    initial_velocity: Any
    final_velocity: Any
    residual: Array
    steps: Array
    status: Status


@storable("Bounds")
@dataclass(frozen=True, eq=False)
class Bounds:
    """A certified bracket.

    Parameters
    ----------
    lower, upper : array, shape (...)
        No value below the one or above the other is possible.
    """

    lower: Array
    upper: Array


@storable("MultivariateNormal")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class MultivariateNormal:
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

    event_axes: ClassVar = {"mean": 1, "cov": 2}
    rules: ClassVar = {
        "mean": _array.along(REAL, "coordinates"),
        "cov": _array.along(REAL, "coordinates", "coordinates"),
    }
    __array_ufunc__ = None

    def __init__(self, mean: Any, cov: Any, *, check: bool = True):
        _set_fields(self, mean, cov, check)
        if check and _array.is_readable(self.cov):
            _require_symmetric("cov", _to_host(self.cov))
            self._host  # noqa: B018  the factorisation is the test

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the batch, () for a single distribution."""
        return _points.batch_shape(self)

    @property
    def dim(self) -> int:
        """Number of coordinates d."""
        return int(self.mean.shape[-1])

    @functools.cached_property
    def _host(self) -> "_Host":
        """The same in float64 on the host, with the Cholesky factors of the covariances."""
        mean, cov = _to_host(self.mean), _to_host(self.cov)
        cov = 0.5 * (cov + _t(cov))
        return _Host(mean, cov, _cholesky(cov))

    @staticmethod
    def stack(points) -> "MultivariateNormal":
        """Stack batches of one shape along a new first axis.

        Parameters
        ----------
        points : list of MultivariateNormal
            Of one dimension, library and device.

        Returns
        -------
        MultivariateNormal
            Of batch shape (len(points), ...).

        Raises
        ------
        TypeError, ValueError
            Something else than normals; arrays of different libraries; an empty list; different
            shapes.

        Examples
        --------
        >>> from infogeo.multivariate_normal import MultivariateNormal
        >>> one = MultivariateNormal([0.0, 0.0], np.eye(2))
        >>> MultivariateNormal.stack([one, one]).shape
        (2,)
        """
        return _points.stack(MultivariateNormal, points)

    @staticmethod
    def fit(samples, labels=None, *, shrinkage=None, check=True) -> "MultivariateNormal":
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
            class, in the order of ``numpy.unique(labels)``.

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
        given, (xp, samples) = samples, gate(check, samples=(REAL, samples))
        if len(samples.shape) != 2 or 0 in samples.shape:
            raise bad_value(
                "samples", "have shape (n, d), one sample per row", f"got {tuple(samples.shape)}"
            )
        rows, classes, limits = _to_host(samples), None, xp.finfo(samples.dtype)
        if labels is None:
            moments = _moments("samples", rows, shrinkage, limits)
        else:
            names, members = _points.rows_of_classes(labels, given, rows.shape[0])
            classes = names.tolist()
            fitted = [
                _moments(f"samples of class {name!r}", rows[member], shrinkage, limits)
                for name, member in zip(classes, members, strict=True)
            ]
            moments = tuple(np.stack(parts) for parts in zip(*fitted, strict=True))
        made = _points.make(MultivariateNormal, *(_like(part, samples, xp) for part in moments))
        _points.keep_names_of_fit(made, given, 2, labels, classes)
        return made

    def __len__(self) -> int:
        return _points.length(self)

    def __getitem__(self, key: Any) -> "MultivariateNormal":
        return _points.getitem(self, key)

    def __iter__(self):
        return _points.iterate(self)

    def __repr__(self) -> str:
        return _points.describe(self)


POINTS = MultivariateNormal


@storable("multivariate_normal.Tangent")
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Tangent:
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

    event_axes: ClassVar = MultivariateNormal.event_axes
    rules: ClassVar = MultivariateNormal.rules
    __array_ufunc__ = None  # so that numpy leaves its numbers times a vector to the vector

    def __init__(self, mean: Any, cov: Any, *, check: bool = True):
        _set_fields(self, mean, cov, check)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the batch, () for a single vector."""
        return _points.batch_shape(self)

    def __add__(self, other: Any) -> "Tangent":
        return _points.add(self, other, 1.0)

    def __sub__(self, other: Any) -> "Tangent":
        return _points.add(self, other, -1.0)

    def __neg__(self) -> "Tangent":
        return _points.make(Tangent, -self.mean, -self.cov)

    def __mul__(self, factor: Any) -> "Tangent":
        return _points.scale(self, factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> "Tangent":
        return _points.scale(self, divisor, invert=True)

    def __len__(self) -> int:
        return _points.length(self)

    def __getitem__(self, key: Any) -> "Tangent":
        return _points.getitem(self, key)

    def __iter__(self):
        return _points.iterate(self)

    def __repr__(self) -> str:
        return _points.describe(self)


def _set_fields(self, mean, cov, check):
    """Gate mean and covariance, of a point or of a velocity, and bring them to one batch shape."""
    given = {"mean": (_MEAN, mean), "cov": (_COV, cov)}
    xp, mean, cov = gate(check, **given)
    shape, d = tuple(cov.shape), mean.shape[-1]
    if len(shape) < 2 or shape[-2:] != (d, d):
        raise bad_value(
            "cov",
            "hold one d x d matrix for each mean of d entries",
            f"its shape is {shape} and that of mean is {tuple(mean.shape)}",
        )
    batches = {"mean": tuple(mean.shape[:-1]), "cov": shape[:-2]}
    _points.require_broadcast(batches)
    batch = np.broadcast_shapes(*batches.values())
    object.__setattr__(self, "mean", xp.broadcast_to(mean, (*batch, d)))
    object.__setattr__(self, "cov", xp.broadcast_to(cov, (*batch, d, d)))
    _points.keep_names(self, **given)


class _Host(NamedTuple):
    """Normals in float64 numpy."""

    mean: np.ndarray  # (..., d)
    cov: np.ndarray  # (..., d, d)
    factor: np.ndarray  # (..., d, d), lower triangular


_MEAN = Rule("coordinates", REAL.is_plausible, REAL.explain)
_COV = MultivariateNormal.rules["cov"]


def _t(x):
    return np.swapaxes(x, -1, -2) if isinstance(x, np.ndarray) else x.mT


def _to_host(x):
    """Return the values in float64 numpy."""
    if not _array.is_readable(x):
        raise TypeError(
            "normals must have values that can be read here: not inside torch.compile or jax.jit, "
            "nor on dask arrays. Call it outside."
        )
    x = x.detach().cpu().numpy() if hasattr(x, "detach") else np.asarray(x)
    return x.astype(np.float64, copy=False)


def _like(x, like, xp):
    """Return numpy values in the library, dtype and device of another array."""
    if isinstance(like, np.ndarray):
        return np.asarray(x).astype(like.dtype, copy=False)[()]
    return xp.asarray(x, dtype=like.dtype, device=_array.device_of(like))


def _require_symmetric(name, cov):
    scale = np.sqrt(np.abs(np.einsum("...ii->...i", cov)))
    excess = np.abs(cov - _t(cov)) / np.maximum(scale[..., :, None] * scale[..., None, :], 1e-300)
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


def _cholesky(cov):
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
    has_variances = (np.diagonal(cov, axis1=-2, axis2=-1) > 0.0).all(-1)[..., None, None]
    judged = np.where(has_variances, _correlation(np.where(has_variances, cov, 1.0)), cov)
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


def _moments(name, rows, shrinkage, limits):
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
    eigenvalues = np.linalg.eigvalsh(_correlation(cov))
    if not eigenvalues[0] > 8.0 * np.finfo(np.float64).eps * len(eigenvalues) * eigenvalues[-1]:
        raise bad_value(
            name,
            "span all coordinates",
            f"the covariance of {rows.shape[0]} samples in {rows.shape[1]} coordinates is singular",
            "Pass shrinkage=0.1 or an estimator such as sklearn.covariance.LedoitWolf().",
        )
    return mean, cov


def _maximum_likelihood(name, rows, limits):
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


def _correlation(cov):
    """Return the correlation matrix, NaN where a variance is 0."""
    std = np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return cov / std[..., :, None] / std[..., None, :]


# ---------------------------------------------------------------- arguments


def _gate_pair(a, b):
    """Return the namespace and two normals of one library and dtype, whose batches broadcast."""
    xp, fields_a, fields_b = _points.gate(
        False, a=(MultivariateNormal, a), b=(MultivariateNormal, b)
    )
    if a.dim != b.dim:
        raise ValueError(f"a and b must have the same dimension: a has {a.dim} and b has {b.dim}.")
    return xp, _regated(a, fields_a), _regated(b, fields_b)


def _regated(a, fields):
    """Return the same object if the gate changed nothing: it keeps its Cholesky factor."""
    is_same = all(x is y for x, y in zip(_points.fields(a), fields, strict=True))
    return a if is_same else _points.make(MultivariateNormal, *fields)


def _gate_tangent(check, a, **vectors):
    """Return the namespace and tangent vectors at a in its library and dtype."""
    given = {name: (Tangent, v) for name, v in vectors.items()}
    xp, _, *gated = _points.gate(check, a=(MultivariateNormal, a), **given)
    for (name, v), (_, cov) in zip(vectors.items(), gated, strict=True):
        if v.mean.shape[-1] != a.dim:
            raise ValueError(
                f"a and {name} must have the same dimension: a has {a.dim} and {name} has "
                f"{v.mean.shape[-1]}."
            )
        if check and _array.is_readable(cov) and _array.is_readable(a.cov):
            _require_symmetric_velocity(f"{name}.cov", _to_host(cov), _to_host(a.cov))
    return xp, *(_points.make(Tangent, *fields) for fields in gated)


def _require_symmetric_velocity(name, cov, at):
    excess = np.abs(cov - _t(cov)).max(axis=(-2, -1))
    scale = np.abs(cov).max(axis=(-2, -1)) + np.abs(at).max(axis=(-2, -1))
    if not (excess <= 1e-6 * scale).all():  # differences of velocities may be all rounding
        raise bad_value(
            name,
            "be symmetric",
            f"largest |{name}[i, j] - {name}[j, i]| is {excess.max():.3g}",
            f"Pass ({name} + {name}.T) / 2 if that is what is meant.",
            where=excess == excess.max(),
        )


def _wide(x, xp):
    """Return the array in the widest dtype of its library and device."""
    return xp.astype(x, _array.widest_dtype(x, xp), copy=False)


def _narrow(x, like, xp):
    return _array.as_number(xp.astype(x, like.dtype, copy=False))


def _factor(a, xp):
    """Return the Cholesky factor of the covariance, differentiable in its library."""
    if isinstance(a.cov, np.ndarray):
        return a._host.factor
    return xp.linalg.cholesky(_wide(a.cov, xp))


def _solve_lower(factor, x, xp):
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


def _solve_lower_vector(factor, x, xp):
    return _solve_lower(factor, x[..., None], xp)[..., 0]


def _matvec(matrix, x, xp):
    return xp.matmul(matrix, x[..., None])[..., 0]


def _whitened(factor, matrix, xp):
    """Return factor^-1 matrix factor^-T for a symmetric matrix."""
    half = _solve_lower(factor, matrix, xp)
    full = _solve_lower(factor, _t(half), xp)
    return 0.5 * (full + _t(full))


# ---------------------------------------------------------------- distance


def fisher_rao_distance(a, b, *, rtol=1e-12, max_steps=100, check=True):
    r"""Fisher-Rao distance between multivariate normals.

    .. math:: d(a, b) = \min_\gamma \int \sqrt{\dot\mu' S^{-1} \dot\mu
              + \tfrac12 \operatorname{tr} (S^{-1} \dot S)^2} \, dt

    Parameters
    ----------
    a, b : MultivariateNormal
        Of one dimension; batches broadcast.
    rtol : float
        A solve has converged when a further step would change the distance by less, relative, or
        by no more than rounding.
    max_steps : int
        The most Newton steps. A few suffice.
    check : bool
        Accepted by every function; the values of normals are verified when they are built.

    Returns
    -------
    array, shape (...)
        In the library, dtype and device of the points.

    Raises
    ------
    TypeError, ValueError
        Arguments that are not normals of one dimension, library and device; batches that do not
        broadcast; values that cannot be read (inside ``torch.compile`` or ``jax.jit``).
    SolveError
        A solve that did not converge. It carries ``.result`` (a `Connection`) and, for a batch,
        ``.failed``: the positions in the flattened batch. The message has the certified bracket.

    Notes
    -----
    The distance is a function of the singular values of a d x (d + 1) matrix that is affine in
    d (d - 1) / 2 unknowns; Newton's method with conjugate gradients minimises it. Near points keep
    full relative precision: that matrix is small and no digits cancel. Rounding limits the result
    to about eps times the condition number of one covariance relative to the other's Cholesky
    factor, in practice 1e-14 up to distance 10, 1e-12 up to 20.

    On torch tensors the distance has first derivatives: the gradient of its square is -2 times
    the log map. It is 0 at a = b. Second derivatives raise an error.

    `infogeo.normal.diagonal_fisher_rao_distance` is the distance inside the diagonal normals,
    which is longer.

    References
    ----------
    P. S. Eriksen, Geodesics connected with the Fisher metric on the multivariate normal
    manifold, 1987.
    S. Kobayashi, Geodesics of multivariate normal distributions and a Toda lattice type Lax
    pair, Phys. Scr. 98, 2023.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([1.0, 1.0], np.eye(2))
    >>> round(float(fisher_rao_distance(a, b)), 12)
    1.361072578747
    """
    xp, a, b = _gate_pair(a, b)
    _require_controls(rtol, max_steps)
    if _needs_autograd(a, b):
        return _array.safe_sqrt(_differentiable_squared_distance(a, b, rtol, max_steps), xp)
    return _connected(a, b, rtol, max_steps, True, xp).distance


def fisher_rao_squared_distance(a, b, *, rtol=1e-12, max_steps=100, check=True):
    r"""Square of the Fisher-Rao distance between multivariate normals.

    .. math:: d(a, b)^2

    Parameters
    ----------
    a, b : MultivariateNormal
        Of one dimension; batches broadcast.
    rtol, max_steps : float, int
        As in `fisher_rao_distance`.
    check : bool
        Accepted by every function; the values of normals are verified when they are built.

    Returns
    -------
    array, shape (...)
        Differentiable once on torch tensors, with gradient 0 at a = b.

    Raises
    ------
    TypeError, ValueError, SolveError
        As `fisher_rao_distance`.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([0.0, 0.0], np.exp(2.0) * np.eye(2))
    >>> round(float(fisher_rao_squared_distance(a, b)), 12)
    4.0
    """
    xp, a, b = _gate_pair(a, b)
    _require_controls(rtol, max_steps)
    if _needs_autograd(a, b):
        return _differentiable_squared_distance(a, b, rtol, max_steps)
    return _connected(a, b, rtol, max_steps, True, xp).distance ** 2


def connect(a, b, *, rtol=1e-12, max_steps=100, throw=True, check=True):
    r"""Solve for the geodesic between two normals: its length and its velocities at both ends.

    Parameters
    ----------
    a, b : MultivariateNormal
        Of one dimension; batches broadcast.
    rtol, max_steps : float, int
        As in `fisher_rao_distance`.
    throw : bool
        Raise if a solve did not converge; otherwise the status says so.
    check : bool
        Accepted by every function; the values of normals are verified when they are built.

    Returns
    -------
    Connection
        ``distance`` (...); ``initial_velocity`` at a (the log map) and ``final_velocity`` at b;
        ``residual`` (...), the part of the length that is left in the fibre: velocities are off by
        about that much; ``steps`` (...); ``status``.

    Raises
    ------
    TypeError, ValueError, SolveError
        As `fisher_rao_distance`; tensors that require a gradient, which velocities do not have.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([2.0, 1.0], [[2.0, 0.5], [0.5, 1.0]])
    >>> found = connect(a, b)
    >>> round(float(found.distance), 12), bool(found.residual < 1e-13)
    (1.806090621218, True)
    """
    xp, a, b = _gate_pair(a, b)
    _require_controls(rtol, max_steps)
    _require_no_gradient(a, b)
    return _connected(a, b, rtol, max_steps, throw, xp)


def distance_bounds(a, b, *, check=True):
    r"""Certified bounds on the Fisher-Rao distance, without a solve.

    .. math:: \sqrt{\tfrac12 \textstyle\sum \log^2 \operatorname{eig} (P_a^{-1} P_b)} \le d(a, b),
              \qquad P = \begin{pmatrix} S + \mu \mu' & \mu \\ \mu' & 1 \end{pmatrix}

    Parameters
    ----------
    a, b : MultivariateNormal
        Of one dimension; batches broadcast.
    check : bool
        Accepted by every function; the values of normals are verified when they are built.

    Returns
    -------
    Bounds
        ``lower`` (Calvo and Oller's embedding into the positive definite matrices) and ``upper``
        (the length of a lift that ends at the origin of the fibre), each of shape (...), widened
        by a few units of rounding.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`.

    References
    ----------
    M. Calvo and J. M. Oller, A distance between multivariate normal distributions based in an
    embedding into the Siegel group, J. Multivariate Anal. 35, 1990.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.diag([1.0, 0.1]))
    >>> b = MultivariateNormal([1.0, 1.0], np.diag([0.1, 1.0]))
    >>> found = distance_bounds(a, b)
    >>> round(float(found.lower), 4), round(float(found.upper), 4)
    (3.047, 3.2093)
    """
    xp, a, b = _gate_pair(a, b)
    frame = _frame(a, b)
    return Bounds(*(_like(x.reshape(frame.batch), a.mean, xp) for x in _bounds(frame)))


def _bounds(frame):
    m, log_w = frame.m, frame.log_w
    n, d = m.shape
    w = np.exp(log_w)
    root = np.zeros((n, d + 1, d + 1))  # P = root root'; that of N(0, I) is the identity
    i = np.arange(d)
    root[:, i, i] = np.sqrt(w)
    root[:, :d, d] = m
    root[:, d, d] = 1.0
    logs = 2.0 * np.log(np.linalg.svd(root, compute_uv=False))
    excess = np.zeros_like(root)  # P - I keeps the digits of near points
    excess[:, :d, :d] = m[:, :, None] * m[:, None, :]
    excess[:, i, i] += np.expm1(log_w)
    excess[:, :d, d] = excess[:, d, :d] = m
    is_near = np.linalg.norm(excess, axis=(-2, -1)) < 0.5
    if is_near.any():
        logs[is_near] = np.log1p(np.linalg.eigvalsh(excess[is_near]))
    lower = math.sqrt(0.5) * _array.norm(logs, np)
    slack = 32.0 * np.finfo(np.float64).eps * math.sqrt(d)
    return lower * (1.0 - slack), _fibre.upper_bound(m, log_w) * (1.0 + slack)


def fixed_mean_distance(a, b, *, check=True):
    r"""Distance between normals of one mean, which is also their distance inside that family.

    .. math:: d = \sqrt{\tfrac12 \textstyle\sum_i \log^2 l_i}, \qquad
              l = \operatorname{eig}(S_a^{-1} S_b)

    Parameters
    ----------
    a, b : MultivariateNormal
        With the same means; batches broadcast.
    check : bool
        Verify that the means are the same.

    Returns
    -------
    array, shape (...)
        The submanifold is totally geodesic: the distance in the full family is the same.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; means that differ.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([0.0, 0.0], np.diag([np.e, 1 / np.e]))
    >>> round(float(fixed_mean_distance(a, b)), 12)
    1.0
    """
    xp, a, b = _gate_pair(a, b)
    _require_equal(check, "mean", a.mean, b.mean, xp)
    log_ratios = _log_ratios(a, b, xp)
    return _narrow(_array.norm(log_ratios, xp) / math.sqrt(2.0), a.mean, xp)


def fixed_covariance_distance(a, b, *, check=True):
    r"""Distance inside the normals of one covariance: the Mahalanobis distance.

    .. math:: d = \sqrt{(\mu_a - \mu_b)' S^{-1} (\mu_a - \mu_b)}

    Parameters
    ----------
    a, b : MultivariateNormal
        With the same covariances; batches broadcast.
    check : bool
        Verify that the covariances are the same.

    Returns
    -------
    array, shape (...)
        An upper bound on the distance in the full family, whose geodesics widen on their way:
        that is sqrt2 arccosh(1 + d^2 / 4).

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; covariances that differ.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], 4 * np.eye(2))
    >>> b = MultivariateNormal([3.0, 4.0], 4 * np.eye(2))
    >>> float(fixed_covariance_distance(a, b))
    2.5
    """
    xp, a, b = _gate_pair(a, b)
    _require_equal(check, "cov", a.cov, b.cov, xp)
    difference = _wide(b.mean, xp) - _wide(a.mean, xp)
    whitened = _solve_lower_vector(_factor(a, xp), difference, xp)
    return _narrow(_array.norm(whitened, xp), a.mean, xp)


def _require_equal(check, name, x, y, xp):
    if check and _array.is_readable(x) and bool(xp.any(x != y)):
        raise bad_value(
            f"a.{name} and b.{name}",
            "be the same",
            f"they differ by up to {float(_array.on_host(xp.max(xp.abs(x - y)))):.3g}",
            "fisher_rao_distance has no such condition.",
        )


def _require_controls(rtol, max_steps):
    if not (isinstance(rtol, int | float | np.number) and 0.0 < rtol < 1.0):
        raise bad_value("rtol", "be a number between 0 and 1", f"got {rtol!r}")
    if isinstance(max_steps, bool) or not isinstance(max_steps, int | np.integer) or max_steps < 1:
        raise bad_value("max_steps", "be a positive integer", f"got {max_steps!r}")


# ---------------------------------------------------------------- the solve


class _Frame(NamedTuple):
    """A pair of normals as N(0, I) and N(m, diag w), flattened to n pairs."""

    batch: tuple[int, ...]
    m: np.ndarray  # (n, d)
    log_w: np.ndarray  # (n, d)
    start: np.ndarray  # (n, d, d): y = a.mean + start @ z, the first of them in the coordinates z
    end: np.ndarray  # (n, d, d): y = b.mean + end @ z makes the second N(0, I)


def _frame(a, b):
    """Standardise pairs: an affine map makes the first N(0, I), a rotation the second diagonal."""
    a, b = a._host, b._host
    batch = np.broadcast_shapes(a.mean.shape[:-1], b.mean.shape[:-1])
    d = a.mean.shape[-1]

    def flat(x, *event):
        return np.broadcast_to(x, (*batch, *event)).reshape(-1, *event)

    difference = flat(b.mean - a.mean, d)
    L0, L1 = flat(a.factor, d, d), flat(b.factor, d, d)
    V, s, _ = np.linalg.svd(_solve_lower(L0, L1, np))
    log_w = 2.0 * np.log(s)
    # The eigenvalues of a difference keep the digits of near covariances.
    excess = _whitened(L0, flat(b.cov - a.cov, d, d), np)
    (near,) = np.nonzero(np.linalg.norm(excess, axis=(-2, -1)) < 0.5)
    if near.size:
        ratios, V[near] = np.linalg.eigh(excess[near])
        log_w[near] = np.log1p(ratios)
    start = L0 @ V
    m = (_t(V) @ _solve_lower(L0, difference[..., None], np))[..., 0]
    return _Frame(batch, m, log_w, start, start * np.exp(0.5 * log_w)[:, None, :])


def _velocity(frame_matrix, x, B):
    """Return the velocity with (x, B) at N(0, I) in the coordinates y."""
    cov = frame_matrix @ B @ _t(frame_matrix)
    return (frame_matrix @ x[..., None])[..., 0], 0.5 * (cov + _t(cov))


def _connected(a, b, rtol, max_steps, throw, xp):
    frame, solution = _solved(a, b, rtol, max_steps)
    result = _connection(frame, solution, a.mean, xp)
    if throw and not solution.is_solved.all():
        raise _solve_error(frame, solution, result)
    return result


def _solved(a, b, rtol, max_steps):
    frame = _frame(a, b)
    return frame, _fibre.solve(frame.m, frame.log_w, rtol, max_steps)


def _connection(frame, solution, like, xp):
    d = frame.m.shape[-1]

    def back(x, *event):
        return _like(x.reshape((*frame.batch, *event)), like, xp)

    def tangent(matrix, x, B):
        mean, cov = _velocity(matrix, x, B)
        return Tangent(back(mean, d), back(cov, d, d))

    steps = solution.steps.reshape(frame.batch)
    return Connection(
        distance=back(solution.distance),
        initial_velocity=tangent(frame.start, solution.x, solution.b),
        final_velocity=-tangent(frame.end, solution.end_x, solution.end_b),
        residual=back(solution.residual),
        steps=_array.as_number(xp.asarray(steps, device=_array.device_of(like))),
        status=Status.CONVERGED if solution.is_solved.all() else Status.MAX_STEPS,
    )


def _solve_error(frame, solution, result):
    failed = np.flatnonzero(~solution.is_solved)
    lower, upper = _bounds(frame)
    first = failed[0]
    upper = min(upper[first], solution.distance[first])
    seen = (
        f"after {solution.steps[first]} steps {solution.residual[first]:.2g} of the length is left "
        f"in the fibre, and the distance lies in [{lower[first]:.6g}, {upper:.6g}]"
    )
    advice = "Raise max_steps, or standardise coordinates of very different scale."
    if not frame.batch:
        return SolveError(f"The geodesic did not converge: {seen}. {advice}", result)
    listed = ", ".join(str(i) for i in failed[:8]) + (", ..." if failed.size > 8 else "")
    return SolveError(
        f"{failed.size} of {solution.distance.size} geodesics did not converge (at {listed}); the "
        f"others are solved in the result. At {first}: {seen}. {advice}",
        result,
        tuple(int(i) for i in failed),
    )


# ---------------------------------------------------------------- gradients on torch


def _needs_autograd(*normals):
    torch = sys.modules.get("torch")
    tensors = [x for normal in normals for x in (normal.mean, normal.cov)]
    if torch is None or not all(isinstance(x, torch.Tensor) for x in tensors):
        return False
    return not _array.is_readable(tensors[0]) or (
        torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    )


def _require_no_gradient(*normals):
    torch = sys.modules.get("torch")
    for normal in normals:
        for x in (normal.mean, normal.cov):
            if (
                torch is not None
                and isinstance(x, torch.Tensor)
                and x.requires_grad
                and torch.is_grad_enabled()
            ):
                raise ValueError(
                    "a and b must not require a gradient here: velocities of geodesics have none. "
                    "Build them from mean.detach() and cov.detach(), or use "
                    "fisher_rao_squared_distance, which has one."
                )


def _differentiable_squared_distance(a, b, rtol, max_steps):
    import torch

    batch = np.broadcast_shapes(a.shape, b.shape)
    arrays = (
        torch.broadcast_to(x, (*batch, *event))
        for x, event in (
            (a.mean, a.mean.shape[-1:]),
            (a.cov, a.cov.shape[-2:]),
            (b.mean, b.mean.shape[-1:]),
            (b.cov, b.cov.shape[-2:]),
        )
    )
    return _squared_distance_function().apply(*arrays, rtol, max_steps)[0]


@functools.cache
def _squared_distance_function():
    """Return the squared distance as a torch function: its gradient is -2 times the log map."""
    import torch

    class NoSecondDerivative(torch.autograd.Function):
        """Identity on gradients; differentiating them raises instead of giving zeros."""

        generate_vmap_rule = True

        @staticmethod
        def forward(gradient, *points):
            return gradient.clone()

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, *gradients):
            raise NotImplementedError(
                "The Fisher-Rao distance of multivariate normals has first derivatives only."
            )

    class SquaredDistance(torch.autograd.Function):
        @staticmethod
        def forward(mean_a, cov_a, mean_b, cov_b, rtol, max_steps):
            a = MultivariateNormal(mean_a, cov_a, check=False)
            b = MultivariateNormal(mean_b, cov_b, check=False)
            squared, *gradients = _squared_distance_and_gradients(a, b, rtol, max_steps)
            return tuple(_like(x, mean_a, array_namespace(mean_a)) for x in (squared, *gradients))

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.mark_non_differentiable(*output[1:])
            ctx.save_for_backward(*inputs[:4], *output[1:])

        @staticmethod
        def backward(ctx, gradient, *_):
            *points, mean_a, cov_a, mean_b, cov_b = ctx.saved_tensors
            vector, matrix = gradient[..., None], gradient[..., None, None]
            products = vector * mean_a, matrix * cov_a, vector * mean_b, matrix * cov_b
            return *(NoSecondDerivative.apply(x, *points) for x in products), None, None

        @staticmethod
        def vmap(info, in_dims, *arguments):
            *arrays, rtol, max_steps = arguments
            moved = (
                x.unsqueeze(0).expand(info.batch_size, *x.shape)
                if dim is None
                else x.movedim(dim, 0)
                for x, dim in zip(arrays, in_dims, strict=False)
            )
            return SquaredDistance.apply(*moved, rtol, max_steps), (0,) * 5

    return SquaredDistance


def _squared_distance_and_gradients(a, b, rtol, max_steps):
    """Return d^2 and its derivatives by the means and covariances of a and b, in numpy."""
    frame, solution = _solved(a, b, rtol, max_steps)
    if not solution.is_solved.all():
        result = _connection(frame, solution, a.mean, array_namespace(a.mean))
        raise _solve_error(frame, solution, result)
    d = a.dim
    results = [(solution.distance**2).reshape(frame.batch)]
    ends = ((frame.start, solution.x, solution.b), (frame.end, solution.end_x, solution.end_b))
    for matrix, x, B in ends:
        inverse = _t(np.linalg.inv(matrix))
        results.append((-2.0 * (inverse @ x[..., None])[..., 0]).reshape((*frame.batch, d)))
        results.append((-(inverse @ B @ _t(inverse))).reshape((*frame.batch, d, d)))
    return results


# ---------------------------------------------------------------- geodesics


def fisher_rao_geodesic(a, b, t, *, rtol=1e-12, max_steps=100, check=True):
    r"""Point of the Fisher-Rao geodesic from a (t = 0) to b (t = 1).

    .. math:: \gamma(t) = \exp_a(t \log_a b)

    Parameters
    ----------
    a, b : MultivariateNormal
        Of one dimension; batches broadcast.
    t : float or array
        Parameter in [0, 1], proportional to arc length. Its axes come first in the result.
    rtol, max_steps : float, int
        As in `fisher_rao_distance`.
    check : bool
        Verify t.

    Returns
    -------
    MultivariateNormal
        A batch of shape t.shape + (...).

    Raises
    ------
    TypeError, ValueError, SolveError
        As `connect`; t outside [0, 1] (`exp_map` goes beyond).

    Notes
    -----
    Points are reached from the nearer end, so that both ends are met exactly.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([-1.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([1.0, 0.0], np.eye(2))
    >>> fisher_rao_geodesic(a, b, 0.5).cov.round(6)  # wider on its way
    array([[1.5, 0. ],
           [0. , 1. ]])
    """
    xp, a, b = _gate_pair(a, b)
    _, t, _ = gate(check, t=(UNIT_INTERVAL, t), a=(REAL, a.mean))
    _require_controls(rtol, max_steps)
    _require_no_gradient(a, b)
    frame, solution = _solved(a, b, rtol, max_steps)
    if not solution.is_solved.all():
        raise _solve_error(frame, solution, _connection(frame, solution, a.mean, xp))
    times = _to_host(t).reshape(-1)
    d = a.dim
    mean, cov = (np.empty((times.size, *x.shape)) for x in (frame.m, solution.b))
    ends = (
        (times <= 0.5, times, a, frame.start, solution.x, solution.b),
        (times > 0.5, 1.0 - times, b, frame.end, solution.end_x, solution.end_b),
    )
    for which, time, origin, matrix, x, B in ends:
        duration = time[which][:, None, None]
        center, factor = _flow(duration * x, duration[..., None] * B, np)
        base = np.broadcast_to(origin._host.mean, (*frame.batch, d)).reshape(-1, d)
        mean[which] = base + _matvec(matrix, center, np)
        factor = matrix @ factor
        cov[which] = factor @ _t(factor)
    shape = (*t.shape, *frame.batch)
    mean, cov = mean.reshape(*shape, d), cov.reshape(*shape, d, d)
    return MultivariateNormal(_like(mean, a.mean, xp), _like(cov, a.mean, xp), check=False)


def e_geodesic(a, b, t, *, check=True):
    r"""Point of the e-geodesic from a (t = 0) to b (t = 1): straight in natural parameters.

    .. math:: S^{-1} = (1 - t) S_a^{-1} + t S_b^{-1}, \qquad
              S^{-1} \mu = (1 - t) S_a^{-1} \mu_a + t S_b^{-1} \mu_b

    Parameters
    ----------
    a, b : MultivariateNormal
        Of one dimension; batches broadcast.
    t : float or array
        Parameter in [0, 1]. Its axes come first in the result.
    check : bool
        Verify t.

    Returns
    -------
    MultivariateNormal
        A batch of shape t.shape + (...).

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; t outside [0, 1].

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([3.0, 0.0], np.eye(2) / 2)
    >>> e_geodesic(a, b, 0.5).mean
    array([2., 0.])
    """
    xp, a, b, t, like = _gate_time(a, b, t, check)
    S_a, S_b, L_a, L_b = (_wide(a.cov, xp), _wide(b.cov, xp), _factor(a, xp), _factor(b, xp))
    matrix_t = t[..., None]
    mixed = (1.0 - matrix_t) * S_b + matrix_t * S_a
    # S = S_a mixed^-1 S_b, written so that it is symmetric and positive to rounding.
    from_a = xp.matmul(_t(L_a), xp.linalg.solve(mixed, S_b + xp.zeros_like(mixed)))
    from_b = xp.matmul(_t(L_b), xp.linalg.solve(mixed, S_a + xp.zeros_like(mixed)))
    cov = (1.0 - matrix_t) * xp.matmul(_t(from_a), from_a)
    cov = cov + matrix_t * xp.matmul(_t(from_b), from_b)
    difference = _wide(b.mean, xp) - _wide(a.mean, xp)
    moved = xp.linalg.solve(mixed, (t * difference)[..., None])
    mean = _wide(a.mean, xp) + xp.matmul(S_a, moved)[..., 0]
    return _normal(mean, cov, like, xp)


def m_geodesic(a, b, t, *, check=True):
    r"""Point of the m-geodesic from a (t = 0) to b (t = 1): straight in expectation parameters.

    .. math:: \mu = (1 - t) \mu_a + t \mu_b, \qquad
              S = (1 - t) S_a + t S_b + t (1 - t) (\mu_b - \mu_a)(\mu_b - \mu_a)'

    Parameters
    ----------
    a, b : MultivariateNormal
        Of one dimension; batches broadcast.
    t : float or array
        Parameter in [0, 1]. Its axes come first in the result.
    check : bool
        Verify t.

    Returns
    -------
    MultivariateNormal
        A batch of shape t.shape + (...): the normals with the moments of the mixtures.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; t outside [0, 1].

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([-1.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([1.0, 0.0], np.eye(2))
    >>> m_geodesic(a, b, 0.5).cov
    array([[2., 0.],
           [0., 1.]])
    """
    xp, a, b, t, like = _gate_time(a, b, t, check)
    mean_a, difference = _wide(a.mean, xp), _wide(b.mean, xp) - _wide(a.mean, xp)
    spread = difference[..., :, None] * difference[..., None, :]
    s = t[..., None]
    cov = (1.0 - s) * _wide(a.cov, xp) + s * _wide(b.cov, xp) + s * (1.0 - s) * spread
    return _normal(mean_a + t * difference, cov, like, xp)


def _gate_time(a, b, t, check):
    """Return the namespace, the pair, t with its axes before those of the means, and a dtype."""
    xp, a, b = _gate_pair(a, b)
    _, t, _ = gate(check, t=(UNIT_INTERVAL, t), a=(REAL, a.mean))
    num_axes = max(len(a.mean.shape), len(b.mean.shape))
    return xp, a, b, xp.reshape(_wide(t, xp), (*t.shape, *(1,) * num_axes)), a.mean


def _normal(mean, cov, like, xp):
    mean, cov = _narrow(mean, like, xp), _narrow(0.5 * (cov + _t(cov)), like, xp)
    return _points.make(MultivariateNormal, mean, cov)


def exp_map(a, v, *, check=True):
    r"""Point reached from a along the Fisher-Rao geodesic with velocity v, at time 1.

    With a = N(0, I) and v = (x, B) it is, for :math:`Z = B^2 + 2 x x'`,

    .. math:: S^{-1} = \tfrac12 \bigl(1 + B \tfrac{\cosh \sqrt Z - 1}{Z} B
              - B \tfrac{\sinh \sqrt Z}{\sqrt Z} - \tfrac{\sinh \sqrt Z}{\sqrt Z} B
              + \cosh \sqrt Z\bigr), \qquad
              \mu = S \bigl(\tfrac{\sinh \sqrt Z}{\sqrt Z} - B \tfrac{\cosh \sqrt Z - 1}{Z}\bigr) x

    Parameters
    ----------
    a : MultivariateNormal
        Where the geodesic starts.
    v : Tangent
        Its velocity: of the mean and of the covariance. Batches broadcast.
    check : bool
        Verify that v is finite and symmetric.

    Returns
    -------
    MultivariateNormal
        At distance ``norm(a, v)`` along the geodesic, which exists for all times.

    Raises
    ------
    TypeError, ValueError
        Arguments of another kind; velocities that are not finite or not symmetric.

    Notes
    -----
    Evaluated in steps of length about 1 that start anew in coordinates in which the point reached
    is N(0, I): one step over a distance of 15 would lose 13 digits, steps lose what geodesics of
    negative curvature lose by diverging (5 digits). Differentiable in torch and jax; where values
    cannot be read (torch.func) 32 steps are taken, enough for norms up to 40.

    References
    ----------
    P. S. Eriksen, Geodesics connected with the Fisher metric on the multivariate normal
    manifold, 1987.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal, Tangent
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> exp_map(a, Tangent([0.0, 0.0], np.diag([1.0, -1.0]))).cov.round(6)
    array([[2.718282, 0.      ],
           [0.      , 0.367879]])
    """
    xp, v = _gate_tangent(check, a, v=v)
    factor, x, B = _in_frame(a, v, xp)
    center, root = _flow(x, B, xp)
    root = xp.matmul(factor, root)
    mean = _wide(a.mean, xp) + _matvec(factor, center, xp)
    return _normal(mean, xp.matmul(root, _t(root)), a.mean, xp)


def log_map(a, b, *, rtol=1e-12, max_steps=100, check=True):
    r"""Velocity at a of the Fisher-Rao geodesic that reaches b at time 1.

    .. math:: \exp_a(\log_a b) = b, \qquad |\log_a b| = d(a, b)

    Parameters
    ----------
    a, b : MultivariateNormal
        Of one dimension; batches broadcast.
    rtol, max_steps : float, int
        As in `fisher_rao_distance`.
    check : bool
        Accepted by every function; the values of normals are verified when they are built.

    Returns
    -------
    Tangent
        Velocities of the mean and of the covariance.

    Raises
    ------
    TypeError, ValueError, SolveError
        As `connect`.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([0.0, 0.0], np.diag([np.e, 1 / np.e]))
    >>> log_map(a, b).cov.round(12)
    array([[ 1.,  0.],
           [ 0., -1.]])
    """
    return connect(a, b, rtol=rtol, max_steps=max_steps).initial_velocity


def _in_frame(a, v, xp):
    """Return the Cholesky factor of a and the velocity in the coordinates that make a N(0, I)."""
    factor = _factor(a, xp)
    x = _solve_lower_vector(factor, _wide(v.mean, xp), xp)
    return factor, x, _whitened(factor, _wide(v.cov, xp), xp)


_NUM_TERMS = 10  # of the series of cosh and sinh: what is left out is below 1 / 20! at norm 1


def _flow(x, B, xp):
    """Return mean and a root of the covariance at time 1, from N(0, I) with velocity (x, B)."""
    x = x + 0.0 * B[..., 0]  # broadcast both to one batch
    B = B + 0.0 * x[..., None]
    num_steps = 32
    if _array.is_readable(x) and 0 not in x.shape:
        squares = (_to_host(B) ** 2).sum((-2, -1)) + 2.0 * (_to_host(x) ** 2).sum(-1)
        num_steps = max(1, math.ceil(math.sqrt(squares.max())))
    x, B = x / num_steps, B / num_steps
    mean, root = _step(x, B, xp)
    center, factor = mean, root
    for _ in range(num_steps - 1):
        # S^-1 dmu and dS S^-1 + mu (S^-1 dmu)' are conserved; root makes the point N(0, I).
        B = B - mean[..., :, None] * x[..., None, :]
        B = xp.matmul(xp.linalg.solve(root, B), root)
        x, B = _matvec(_t(root), x, xp), 0.5 * (B + _t(B))
        mean, root = _step(x, B, xp)
        center, factor = center + _matvec(factor, mean, xp), xp.matmul(factor, root)
    return center, factor


def _step(x, B, xp):
    """Return mean and a root of the covariance at time 1, for velocities of norm about 1."""
    identity = xp.eye(x.shape[-1], dtype=x.dtype, device=_array.device_of(x)) + xp.zeros_like(B)
    Z = xp.matmul(B, B) + 2.0 * x[..., :, None] * x[..., None, :]
    cosh, sinh, rest = (identity / math.factorial(2 * _NUM_TERMS - 2 + k) for k in (0, 1, 2))
    for n in range(2 * _NUM_TERMS - 4, -1, -2):  # Horner's rule: n!, (n + 1)!, (n + 2)!
        cosh = xp.matmul(Z, cosh) + identity / math.factorial(n)
        sinh = xp.matmul(Z, sinh) + identity / math.factorial(n + 1)
        rest = xp.matmul(Z, rest) + identity / math.factorial(n + 2)
    B_sinh, B_rest = xp.matmul(B, sinh), xp.matmul(B, rest)
    precision = 0.5 * (identity + xp.matmul(B_rest, B) - B_sinh - _t(B_sinh) + cosh)
    root = _t(xp.linalg.inv(xp.linalg.cholesky(0.5 * (precision + _t(precision)))))
    mean = _matvec(root, _matvec(_t(root), _matvec(sinh - B_rest, x, xp), xp), xp)
    return mean, root


# ---------------------------------------------------------------- tangent vectors


def inner_product(a, u, v, *, check=True):
    r"""Fisher metric of two tangent vectors.

    .. math:: g_a(u, v) = u_\mu' S^{-1} v_\mu + \tfrac12 \operatorname{tr}(S^{-1} u_S S^{-1} v_S)

    Parameters
    ----------
    a : MultivariateNormal
        The point.
    u, v : Tangent
        Velocities of mean and covariance. Batches broadcast.
    check : bool
        Verify that the velocities are finite and symmetric.

    Returns
    -------
    array, shape (...)
        Squared Fisher-Rao length.

    Raises
    ------
    TypeError, ValueError
        As `exp_map`.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal, Tangent
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> u, v = Tangent([1.0, 0.0], np.eye(2)), Tangent([3.0, 1.0], np.eye(2))
    >>> float(inner_product(a, u, v))
    4.0
    """
    xp, u, v = _gate_tangent(check, a, u=u, v=v)
    _, x, B = _in_frame(a, u, xp)
    _, y, C = _in_frame(a, v, xp)
    product = xp.sum(x * y, axis=-1) + 0.5 * xp.sum(B * C, axis=(-2, -1))
    return _narrow(product, a.mean, xp)


def norm(a, v, *, check=True):
    r"""Fisher norm of a tangent vector.

    .. math:: |v|_a = \sqrt{g_a(v, v)}

    Parameters
    ----------
    a : MultivariateNormal
        The point.
    v : Tangent
        Velocities of mean and covariance. Batches broadcast.
    check : bool
        Verify that the velocities are finite and symmetric.

    Returns
    -------
    array, shape (...)
        Fisher-Rao length; its gradient at 0 is 0.

    Raises
    ------
    TypeError, ValueError
        As `exp_map`.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal, Tangent
    >>> a = MultivariateNormal([0.0, 0.0], 4 * np.eye(2))
    >>> float(norm(a, Tangent([2.0, 0.0], np.zeros((2, 2)))))
    1.0
    """
    xp, v = _gate_tangent(check, a, v=v)
    _, x, B = _in_frame(a, v, xp)
    flat = xp.reshape(B / math.sqrt(2.0), (*B.shape[:-2], a.dim * a.dim))
    x = x + 0.0 * flat[..., : a.dim]
    flat = flat + 0.0 * x[..., :1]
    return _narrow(_array.norm(xp.concat([x, flat], axis=-1), xp), a.mean, xp)


def e_transport(a, b, v, *, check=True):
    r"""Transport a tangent vector from a to b by the e-connection: natural velocities stay.

    .. math:: S_b^{-1} w_S S_b^{-1} = S_a^{-1} v_S S_a^{-1}

    Parameters
    ----------
    a, b : MultivariateNormal
        Of one dimension; batches broadcast.
    v : Tangent
        Velocity at a.
    check : bool
        Verify that the velocity is finite and symmetric.

    Returns
    -------
    Tangent
        Velocity at b with the same velocity of the natural parameters.

    Raises
    ------
    TypeError, ValueError
        As `exp_map` and `fisher_rao_distance`.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal, Tangent
    >>> a = MultivariateNormal([0.0], [[1.0]])
    >>> b = MultivariateNormal([0.0], [[2.0]])
    >>> e_transport(a, b, Tangent([1.0], [[1.0]])).cov
    array([[4.]])
    """
    xp, a, b = _gate_pair(a, b)
    _, v = _gate_tangent(check, a, v=v)
    # d(S^-1) = -S^-1 dS S^-1 and d(S^-1 mu) = S^-1 (dmu - dS S^-1 mu)
    L_a, x, B = _in_frame(a, v, xp)
    ratio = _solve_lower(L_a, _factor(b, xp), xp)  # S_a^-1 = L_a^-T L_a^-1
    C = xp.matmul(_t(ratio), xp.matmul(B, ratio))
    difference = _solve_lower_vector(L_a, _wide(b.mean, xp) - _wide(a.mean, xp), xp)
    y = _matvec(_t(ratio), x + _matvec(B, difference, xp), xp)
    L_b = _factor(b, xp)
    cov = xp.matmul(L_b, xp.matmul(C, _t(L_b)))
    mean = _matvec(L_b, y, xp)
    return Tangent(_narrow(mean, a.mean, xp), _narrow(0.5 * (cov + _t(cov)), a.mean, xp))


def m_transport(a, b, v, *, check=True):
    r"""Transport a tangent vector from a to b by the m-connection: expectation velocities stay.

    .. math:: w_\mu = v_\mu, \qquad w_S = v_S - v_\mu (\mu_b - \mu_a)' - (\mu_b - \mu_a) v_\mu'

    Parameters
    ----------
    a, b : MultivariateNormal
        Of one dimension; batches broadcast.
    v : Tangent
        Velocity at a.
    check : bool
        Verify that the velocity is finite and symmetric.

    Returns
    -------
    Tangent
        Velocity at b with the same velocity of the first and second moments.

    Raises
    ------
    TypeError, ValueError
        As `exp_map` and `fisher_rao_distance`.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal, Tangent
    >>> a = MultivariateNormal([0.0], [[1.0]])
    >>> b = MultivariateNormal([2.0], [[1.0]])
    >>> m_transport(a, b, Tangent([1.0], [[1.0]])).cov
    array([[-3.]])
    """
    xp, a, b = _gate_pair(a, b)
    _, v = _gate_tangent(check, a, v=v)
    x, difference = _wide(v.mean, xp), _wide(b.mean, xp) - _wide(a.mean, xp)
    outer = x[..., :, None] * difference[..., None, :]
    cov = _wide(v.cov, xp) - outer - _t(outer)
    mean = x + xp.zeros_like(difference)
    return Tangent(_narrow(mean, a.mean, xp), _narrow(cov, a.mean, xp))


def fisher_information(a, *, check=True):
    r"""Fisher information in the coordinates (mean, lower triangle of the covariance).

    .. math:: g_{\mu} = S^{-1}, \qquad g_{(ij)(kl)} = f_{ij} f_{kl} \bigl(S^{-1}_{ik} S^{-1}_{jl}
              + S^{-1}_{il} S^{-1}_{jk}\bigr), \qquad f_{ij} = 1 - \tfrac12 \delta_{ij}

    Parameters
    ----------
    a : MultivariateNormal
        The point, or a batch.
    check : bool
        Accepted by every function; the values of normals are verified when they are built.

    Returns
    -------
    array, shape (..., k, k)
        k = d + d (d + 1) / 2: first the d coordinates of the mean, then the entries of the
        covariance with row >= column, row by row (as ``numpy.tril_indices``).

    Raises
    ------
    TypeError
        a is not a MultivariateNormal.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> fisher_information(MultivariateNormal([0.0], [[0.5]]))
    array([[2., 0.],
           [0., 2.]])
    """
    xp, _ = _points.gate(False, a=(MultivariateNormal, a))
    precision = _precision(a, xp)
    i, j = np.tril_indices(a.dim)
    weight = np.where(i == j, 0.5, 1.0)
    weights = xp.asarray(
        (weight[:, None] * weight).tolist(), dtype=precision.dtype, device=_array.device_of(a.mean)
    )
    i, j = (xp.asarray(k, device=_array.device_of(a.mean)) for k in (i, j))

    def entries(rows, columns):
        return xp.take(xp.take(precision, rows, axis=-2), columns, axis=-1)

    of_cov = weights * (entries(i, i) * entries(j, j) + entries(i, j) * entries(j, i))
    corner = xp.zeros_like(entries(xp.arange(a.dim, device=_array.device_of(a.mean)), i))
    upper = xp.concat([precision, corner], axis=-1)
    lower = xp.concat([_t(corner), of_cov], axis=-1)
    return _narrow(xp.concat([upper, lower], axis=-2), a.mean, xp)


def _precision(a, xp):
    """Return the inverse covariance."""
    factor = _factor(a, xp)
    identity = xp.eye(a.dim, dtype=factor.dtype, device=_array.device_of(a.mean))
    half = _solve_lower(factor, identity + xp.zeros_like(factor), xp)
    return xp.matmul(_t(half), half)


# ---------------------------------------------------------------- coordinates


def natural_parameters(a, *, check=True):
    r"""Natural parameters, in which e-geodesics are straight.

    .. math:: \theta_1 = S^{-1} \mu, \qquad \theta_2 = -\tfrac12 S^{-1}

    Parameters
    ----------
    a : MultivariateNormal
        The point, or a batch.
    check : bool
        Accepted by every function; the values of normals are verified when they are built.

    Returns
    -------
    theta_1, theta_2 : array, shape (..., d) and (..., d, d)
        Coefficients of y and of y y' in the logarithm of the density.

    Raises
    ------
    TypeError
        a is not a MultivariateNormal.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> natural_parameters(MultivariateNormal([1.0], [[0.5]]))
    (array([2.]), array([[-1.]]))
    """
    xp, _ = _points.gate(False, a=(MultivariateNormal, a))
    precision = _precision(a, xp)
    theta_1 = _matvec(precision, _wide(a.mean, xp), xp)
    return _narrow(theta_1, a.mean, xp), _narrow(-0.5 * precision, a.mean, xp)


def from_natural_parameters(theta_1, theta_2, *, check=True):
    r"""Return the normal with given natural parameters.

    .. math:: S = (-2 \theta_2)^{-1}, \qquad \mu = S \theta_1

    Parameters
    ----------
    theta_1 : array, shape (..., d)
        Coefficient of y.
    theta_2 : array, shape (..., d, d)
        Coefficient of y y': symmetric, negative definite.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

    Returns
    -------
    MultivariateNormal
        The inverse of `natural_parameters`.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries or shapes; -2 theta_2 that is not positive definite.

    Examples
    --------
    >>> from_natural_parameters([2.0], [[-1.0]]).cov
    array([[0.5]])
    """
    xp, theta_1, theta_2 = gate(check, theta_1=(_MEAN, theta_1), theta_2=(_COV, theta_2))
    try:
        inverse = MultivariateNormal(theta_1, -2.0 * theta_2, check=check)
        covariance = _precision(inverse, xp)
    except ValueError as error:
        raise ValueError(f"theta_2 must make -2 theta_2 a precision matrix: {error}") from None
    mean = _matvec(covariance, _wide(inverse.mean, xp), xp)
    return _normal(mean, covariance, theta_1, xp)


def expectation_parameters(a, *, check=True):
    r"""Coordinates in which m-geodesics are straight.

    .. math:: \eta_1 = \mu, \qquad \eta_2 = S + \mu \mu'

    Parameters
    ----------
    a : MultivariateNormal
        The point, or a batch.
    check : bool
        Accepted by every function; the values of normals are verified when they are built.

    Returns
    -------
    eta_1, eta_2 : array, shape (..., d) and (..., d, d)
        Expectations of y and of y y'.

    Raises
    ------
    TypeError
        a is not a MultivariateNormal.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> expectation_parameters(MultivariateNormal([2.0], [[1.0]]))
    (array([2.]), array([[5.]]))
    """
    _points.gate(False, a=(MultivariateNormal, a))
    return a.mean, a.cov + a.mean[..., :, None] * a.mean[..., None, :]


def from_expectation_parameters(eta_1, eta_2, *, check=True):
    r"""Return the normal with given expectation parameters.

    .. math:: \mu = \eta_1, \qquad S = \eta_2 - \eta_1 \eta_1'

    Parameters
    ----------
    eta_1 : array, shape (..., d)
        Expectation of y.
    eta_2 : array, shape (..., d, d)
        Expectation of y y'.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

    Returns
    -------
    MultivariateNormal
        The inverse of `expectation_parameters`.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries or shapes; moments of no normal distribution.

    Examples
    --------
    >>> from_expectation_parameters([2.0], [[5.0]]).cov
    array([[1.]])
    """
    _, eta_1, eta_2 = gate(check, eta_1=(_MEAN, eta_1), eta_2=(_COV, eta_2))
    return MultivariateNormal(eta_1, eta_2 - eta_1[..., :, None] * eta_1[..., None, :], check=check)


# ---------------------------------------------------------------- divergences


def kl_divergence(a, b, *, check=True):
    r"""Kullback-Leibler divergence, in nats.

    .. math:: \mathrm{KL}(a, b) = \tfrac12 \bigl(\textstyle\sum_i (e^{-\lambda_i} - 1 + \lambda_i)
              + (\mu_b - \mu_a)' S_b^{-1} (\mu_b - \mu_a)\bigr), \qquad
              e^\lambda = \operatorname{eig}(S_a^{-1} S_b)

    Parameters
    ----------
    a, b : MultivariateNormal
        Of one dimension; batches broadcast.
    check : bool
        Accepted by every function; the values of normals are verified when they are built.

    Returns
    -------
    array, shape (...)
        The sum has no term of either sign to cancel: near normals keep their digits.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([1.0, 0.0], np.eye(2))
    >>> float(kl_divergence(a, b))
    0.5
    """
    xp, a, b = _gate_pair(a, b)
    terms = _excess_of_exp(-_log_ratios(a, b, xp), xp)
    return _narrow(0.5 * (xp.sum(terms, axis=-1) + _mahalanobis(a, b, b, xp)), a.mean, xp)


def jeffreys_divergence(a, b, *, check=True):
    r"""Jeffreys divergence KL(a, b) + KL(b, a), in nats.

    .. math:: J(a, b) = \textstyle\sum_i 2 \sinh^2(\lambda_i / 2)
              + \tfrac12 (\mu_b - \mu_a)' (S_a^{-1} + S_b^{-1}) (\mu_b - \mu_a)

    Parameters
    ----------
    a, b : MultivariateNormal
        Of one dimension; batches broadcast.
    check : bool
        Accepted by every function; the values of normals are verified when they are built.

    Returns
    -------
    array, shape (...)
        Its square root is no distance, and at least the Fisher-Rao distance.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([1.0, 0.0], np.eye(2))
    >>> float(jeffreys_divergence(a, b))
    1.0
    """
    xp, a, b = _gate_pair(a, b)
    half = 0.5 * _log_ratios(a, b, xp)
    of_means = 0.5 * (_mahalanobis(a, b, a, xp) + _mahalanobis(a, b, b, xp))
    return _narrow(2.0 * xp.sum(xp.sinh(half) ** 2, axis=-1) + of_means, a.mean, xp)


def hellinger_distance(a, b, *, check=True):
    r"""Hellinger distance, in [0, 1].

    .. math:: H^2 = 1 - \exp\bigl(-\tfrac18 (\mu_b - \mu_a)' \bigl(\tfrac{S_a + S_b}{2}\bigr)^{-1}
              (\mu_b - \mu_a) - \tfrac12 \textstyle\sum_i \log \cosh(\lambda_i / 2)\bigr)

    Parameters
    ----------
    a, b : MultivariateNormal
        Of one dimension; batches broadcast.
    check : bool
        Accepted by every function; the values of normals are verified when they are built.

    Returns
    -------
    array, shape (...)
        H, not its square.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> a = MultivariateNormal([0.0, 0.0], np.eye(2))
    >>> b = MultivariateNormal([2.0, 0.0], np.eye(2))
    >>> round(float(hellinger_distance(a, b)), 6)  # sqrt(1 - exp(-1/2))
    0.627271
    """
    xp, a, b = _gate_pair(a, b)
    middle = 0.5 * (_wide(a.cov, xp) + _wide(b.cov, xp))
    difference = _wide(b.mean, xp) - _wide(a.mean, xp)
    whitened = _solve_lower_vector(xp.linalg.cholesky(middle), difference, xp)
    quarter = 0.25 * _log_ratios(a, b, xp)
    log_cosh = xp.log1p(2.0 * xp.sinh(quarter) ** 2)
    exponent = 0.125 * xp.sum(whitened**2, axis=-1) + 0.5 * xp.sum(log_cosh, axis=-1)
    # H of near points, for which the square of H may underflow.
    is_near = exponent < float(xp.finfo(exponent.dtype).eps)
    parts = xp.where(
        is_near[..., None], xp.concat([math.sqrt(0.125) * whitened, quarter], axis=-1), 0.0
    )
    far = _array.safe_sqrt(-_array.expm1(-exponent, xp), xp)
    return _narrow(xp.where(is_near, _array.norm(parts, xp), far), a.mean, xp)


def entropy(a, *, check=True):
    r"""Differential entropy, in nats.

    .. math:: H = \tfrac12 \log \det (2 \pi e S)

    Parameters
    ----------
    a : MultivariateNormal
        The point, or a batch.
    check : bool
        Accepted by every function; the values of normals are verified when they are built.

    Returns
    -------
    array, shape (...)
        Negative for narrow distributions.

    Raises
    ------
    TypeError
        a is not a MultivariateNormal.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> round(float(entropy(MultivariateNormal([0.0, 0.0], np.eye(2)))), 6)
    2.837877
    """
    xp, _ = _points.gate(False, a=(MultivariateNormal, a))
    diagonal = xp.linalg.diagonal(_factor(a, xp))
    constant = 0.5 * a.dim * (1.0 + math.log(2.0 * math.pi))
    return _narrow(constant + xp.sum(xp.log(diagonal), axis=-1), a.mean, xp)


def _log_ratios(a, b, xp):
    """Return the logarithms of the eigenvalues of S_a^-1 S_b, with the digits of near ones.

    Only eigenvalues are taken: their symmetric functions have derivatives where they coincide.
    """
    L_a = _factor(a, xp)
    difference = _wide(b.cov, xp) - _wide(a.cov, xp)
    excess = _whitened(L_a, difference, xp)
    is_near = xp.sum(excess * excess, axis=(-2, -1), keepdims=True) < 0.25
    near = xp.log1p(xp.linalg.eigvalsh(xp.where(is_near, excess, xp.zeros_like(excess))))
    ratio = _solve_lower(L_a, _factor(b, xp) + xp.zeros_like(excess), xp)
    far = 2.0 * xp.log(xp.linalg.svdvals(ratio))
    return xp.where(is_near[..., 0], near, far)


def _mahalanobis(a, b, of, xp):
    """Return the squared distance of the means in the metric of one of the covariances."""
    difference = _wide(b.mean, xp) - _wide(a.mean, xp)
    return xp.sum(_solve_lower_vector(_factor(of, xp), difference, xp) ** 2, axis=-1)


def _excess_of_exp(y, xp):
    """Return exp(y) - 1 - y."""
    is_small = xp.abs(y) < 1.0
    small = _divergence.expm1_minus(xp.where(is_small, y, xp.zeros_like(y)), xp)
    return xp.where(is_small, small, _array.expm1(y, xp) - y)


# ---------------------------------------------------------------- means


def e_mean(points, *, weights=None, axis=0, check=True):
    r"""Mean of the e-connection: the average of the natural parameters.

    .. math:: S^{-1} = \textstyle\sum_k w_k S_k^{-1}, \qquad
              \mu = S \textstyle\sum_k w_k S_k^{-1} \mu_k

    Parameters
    ----------
    points : MultivariateNormal
        A batch.
    weights : array or None
        Not negative, of shape (n,) or one that broadcasts to the batch; divided by their sum.
    axis : int
        The batch axis to average over.
    check : bool
        Verify the weights.

    Returns
    -------
    MultivariateNormal
        The minimiser of the weighted sum of KL(mean, point): the normalised geometric mean.

    Raises
    ------
    TypeError, ValueError
        Points that are no batch; weights without a positive sum.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> points = MultivariateNormal([[0.0], [3.0]], [[[1.0]], [[0.5]]])
    >>> e_mean(points).mean
    array([2.])
    """
    xp, (mean, cov), weights = _points.gate_mean(check, MultivariateNormal, points, weights, axis)
    axis = int(axis)
    mean, cov, weights = (_wide(x, xp) for x in (mean, cov, weights))
    each = _points.make(MultivariateNormal, mean, cov)
    precision = _precision(each, xp)
    start = xp.sum(weights[..., None] * mean, axis=axis, keepdims=True)  # no digits lost far off 0
    pull = _matvec(precision, mean - start, xp)
    precision = xp.sum(weights[..., None, None] * precision, axis=axis)
    average = MultivariateNormal(
        xp.sum(weights[..., None] * pull, axis=axis), precision, check=False
    )
    covariance = _precision(average, xp)
    mean = xp.squeeze(start, axis=axis) + _matvec(covariance, average.mean, xp)
    return _normal(mean, covariance, points.mean, xp)


def m_mean(points, *, weights=None, axis=0, check=True):
    r"""Mean of the m-connection: moment matching.

    .. math:: \mu = \textstyle\sum_k w_k \mu_k, \qquad
              S = \textstyle\sum_k w_k (S_k + (\mu_k - \mu)(\mu_k - \mu)')

    Parameters
    ----------
    points : MultivariateNormal
        A batch.
    weights : array or None
        Not negative, of shape (n,) or one that broadcasts to the batch; divided by their sum.
    axis : int
        The batch axis to average over.
    check : bool
        Verify the weights.

    Returns
    -------
    MultivariateNormal
        The minimiser of the weighted sum of KL(point, mean): it has mean and covariance of the
        mixture.

    Raises
    ------
    TypeError, ValueError
        As `e_mean`.

    Examples
    --------
    >>> from infogeo.multivariate_normal import MultivariateNormal
    >>> points = MultivariateNormal([[-1.0], [1.0]], [[[1.0]], [[1.0]]])
    >>> m_mean(points).cov
    array([[2.]])
    """
    xp, (mean, cov), weights = _points.gate_mean(check, MultivariateNormal, points, weights, axis)
    axis = int(axis)
    mean, cov, weights = (_wide(x, xp) for x in (mean, cov, weights))
    center = xp.sum(weights[..., None] * mean, axis=axis, keepdims=True)
    offset = mean - center
    spread = cov + offset[..., :, None] * offset[..., None, :]
    cov = xp.sum(weights[..., None, None] * spread, axis=axis)
    return _normal(xp.squeeze(center, axis=axis), cov, points.mean, xp)
