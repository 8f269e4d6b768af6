"""Standard errors: resampling of rows, and of means and distances in any space."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace

from infogeo import _array, _spaces, mean, neighbors
from infogeo._array import REAL, Array, bad_value
from infogeo._result import Result, Table
from infogeo._status import Status
from infogeo._system.registry import storable

_NUM_GROUPS = 100


# ---------------------------------------------------------------- results


@storable("Bootstrap")
@dataclass(frozen=True, eq=False, repr=False)
class Bootstrap(Result):
    """A statistic of samples, and of samples whose rows were drawn from theirs.

    Parameters
    ----------
    value : array, shape (...)
        The statistic of the samples.
    standard_error : array, shape (...)
        Standard deviation of the draws.
    bias : array, shape (...)
        Mean of the draws less the value: about what the value itself is too large, if small.
    draws : array, shape (num_draws, ...)
        The statistic of each draw.
    status : Status
        UNDECIDED where a draw has no finite value: leave such draws out by hand, or use more
        rows.
    """

    value: np.ndarray
    standard_error: np.ndarray
    bias: np.ndarray
    draws: np.ndarray
    status: Status

    def __str__(self) -> str:
        return _summary(self, f"{len(self.draws)} draws")

    def to_frame(self) -> Any:
        """Return a pandas frame with one row for each entry of the statistic.

        Returns
        -------
        pandas.DataFrame
            With the fields as columns.
        """
        return _frame_of_errors(self)


@storable("Jackknife")
@dataclass(frozen=True, eq=False, repr=False)
class Jackknife(Result):
    """A statistic of samples, and of what remains without each group of rows.

    Parameters
    ----------
    value : array, shape (...)
        The statistic of the samples.
    standard_error : array, shape (...)
        Of the value, over samples.
    bias : array, shape (...)
        Of the value, to first order in the number of rows: the value less this is better.
    num_groups : int
        Groups of rows of all samples together.
    status : Status
        UNDECIDED where a group leaves no finite value.
    """

    value: np.ndarray
    standard_error: np.ndarray
    bias: np.ndarray
    num_groups: int
    status: Status

    def __str__(self) -> str:
        return _summary(self, f"{self.num_groups} groups")

    def to_frame(self) -> Any:
        """Return a pandas frame with one row for each entry of the statistic.

        Returns
        -------
        pandas.DataFrame
            With the fields as columns.
        """
        return _frame_of_errors(self)


@storable("MeanEstimate")
@dataclass(frozen=True, eq=False, repr=False)
class MeanEstimate(Result):
    """A Frechet mean with its standard error.

    Parameters
    ----------
    point : array, shape (c,), or point of the space
        The mean.
    standard_error : float
        Root mean square of the distance from the mean of the sample to that of the population.
    spread : float
        Root mean square of the distances from the points to their mean.
    num_groups : int
        Groups of points that were left out in turn.
    status : Status
        The worst of the means that were computed.
    """

    point: Any
    standard_error: float
    spread: float
    num_groups: int
    status: Status

    def __str__(self) -> str:
        return (
            f"standard error {self.standard_error:.4g} rad, spread {self.spread:.4g} rad "
            f"({self.num_groups} groups)"
        )

    def to_frame(self) -> Any:
        """Return a pandas frame of one row.

        Returns
        -------
        pandas.DataFrame
            With the fields as columns.
        """
        return frame_of({"standard_error": [self.standard_error], "spread": [self.spread]})


@storable("DistanceTable")
@dataclass(frozen=True, eq=False, repr=False)
class DistanceTable(Table):
    """Distances between estimated distributions, with their standard errors.

    Parameters
    ----------
    distance : array, shape (k, k)
        The plug-in distances, in radians.
    standard_error : array, shape (k, k)
        Of each distance, to first order; the diagonal is 0.
    is_far : bool array, shape (k, k)
        Whether a distance is more than three standard errors: only there a standard error
        describes it. Nearer pairs need an `interval`.
    status : Status
        CONVERGED if all pairs are far, else UNDECIDED.
    """

    axes: ClassVar = {"first": None, "second": None}

    distance: np.ndarray
    standard_error: np.ndarray
    is_far: np.ndarray
    status: Status

    def __str__(self) -> str:
        k = len(self.distance)
        num_far = int(np.triu(self.is_far, 1).sum())
        return (
            f"DistanceTable: {k} distributions, {num_far} of {k * (k - 1) // 2} distances are "
            "more than three standard errors"
        )


def frame_of(columns: dict[str, Any], index: Any = None) -> Any:
    """Return a frame of pandas, which is imported only here."""
    return importlib.import_module("pandas").DataFrame(columns, index=index)


def _frame_of_errors(result: Any) -> Any:
    names = ("value", "standard_error", "bias")
    return frame_of({name: np.ravel(getattr(result, name)) for name in names})


def _summary(result: Any, effort: str) -> str:
    name = type(result).__name__
    if result.value.ndim:
        return f"{name}: a statistic of shape {result.value.shape}, {effort}"
    return (
        f"{result.value:.4g}, standard error {result.standard_error:.4g}, bias {result.bias:.4g} "
        f"({effort})"
    )


# ---------------------------------------------------------------- resampling of rows


def bootstrap(
    statistic: Callable[..., Any],
    *samples: Any,
    num_draws: int = 999,
    seed: int = 0,
    batch_size: int | None = None,
) -> Bootstrap:
    """Estimate the standard error of any statistic of samples, by drawing their rows anew.

    Parameters
    ----------
    statistic : callable
        ``statistic(*samples)`` is a number or an array, of the same shape for all draws.
    *samples : array, shape (n, ...)
        Independent samples, one row for each observation; their numbers may differ.
    num_draws : int
        How often rows are drawn.
    seed : int
        Of the random draws; the same seed gives the same result.
    batch_size : int or None
        None: the statistic gets one draw of each sample, of the shape of the sample. A number: it
        gets that many draws at a time (fewer at the end), of shape (batch, n, ...), and returns an
        array of shape (batch, ...).

    Returns
    -------
    Bootstrap
        Value, standard error, bias and the draws.

    Raises
    ------
    TypeError, ValueError
        No samples; samples without rows; draws, seeds or sizes that are no such integers.

    Notes
    -----
    Draws of samples repeat the bias of a plug-in distance and add their own: two samples of one
    distribution are at a positive distance, and resampled ones farther. Percentiles of the draws
    are therefore no interval for a distance near 0; use `interval` for counts and normals.

    Examples
    --------
    >>> from infogeo.inference import bootstrap
    >>> rng = np.random.default_rng(0)
    >>> found = bootstrap(np.mean, rng.normal(size=400))
    >>> round(float(found.standard_error), 3)
    0.05
    """
    rng = generator(num_draws, seed)
    arrays = _samples(samples)
    if batch_size is not None:
        require_integer("batch_size", batch_size, 1)
    draws: list[np.ndarray] = []
    step = batch_size or 1
    for start in range(0, num_draws, step):
        size = min(step, num_draws - start)
        rows = [rng.integers(len(x), size=(size, len(x))) for x in arrays]
        if batch_size is None:
            rows = [part[0] for part in rows]
        found = _value(statistic, [_taken(x, i) for x, i in zip(arrays, rows, strict=True)])
        draws.extend([found] if batch_size is None else found)
    values = np.stack(draws)
    whole = [x if batch_size is None else x[None, ...] for x in arrays]
    value = _value(statistic, whole)
    value = value if batch_size is None else value[0]
    is_finite = bool(np.isfinite(values).all())
    with np.errstate(invalid="ignore"):
        error, bias = values.std(axis=0, ddof=min(1, num_draws - 1)), values.mean(axis=0) - value
    status = Status.CONVERGED if is_finite else Status.UNDECIDED
    return Bootstrap(value, error, bias, values, status)


def jackknife(
    statistic: Callable[..., Any], *samples: Any, num_groups: int = _NUM_GROUPS, seed: int = 0
) -> Jackknife:
    r"""Estimate standard error and bias of a smooth statistic, by leaving out groups of rows.

    .. math:: \mathrm{se}^2 = \textstyle\sum_{\text{samples}} \frac{G - 1}{G}
              \sum_g (\theta_{-g} - \bar\theta)^2

    Parameters
    ----------
    statistic : callable
        ``statistic(*samples)`` is a number or an array, of the same shape for all groups.
    *samples : array, shape (n, ...)
        Independent samples, one row for each observation; their numbers may differ.
    num_groups : int
        Groups of each sample, of equal size but for one row; samples with fewer rows have one
        row in each.
    seed : int
        Of the division into groups, at random.

    Returns
    -------
    Jackknife
        Value, standard error and bias.

    Raises
    ------
    TypeError, ValueError
        No samples; samples of fewer than 2 rows; numbers of groups or seeds that are no such
        integers.

    Notes
    -----
    A statistic has to be smooth in the rows: a median is not, nor is the distance of two samples
    where it is near 0.

    References
    ----------
    B. Efron and C. Stein, The jackknife estimate of variance, Ann. Statist. 9, 1981.

    Examples
    --------
    >>> from infogeo.inference import jackknife
    >>> x = np.arange(10.0)
    >>> found = jackknife(np.mean, x)
    >>> bool(np.isclose(found.standard_error, x.std(ddof=1) / 10**0.5))
    True
    """
    rng = generator(num_groups, seed, name="num_groups", least=2)
    arrays = _samples(samples, least=2)
    value = _value(statistic, arrays)
    variance, bias, count = np.zeros_like(value), np.zeros_like(value), 0
    is_finite = bool(np.isfinite(value).all())
    for k, array in enumerate(arrays):
        groups = _groups(len(array), num_groups, rng)
        left = np.stack(
            [
                _value(statistic, [*arrays[:k], _taken(array, rows), *arrays[k + 1 :]])
                for rows in groups
            ]
        )
        share = (len(groups) - 1) / len(groups)
        with np.errstate(invalid="ignore"):
            variance = variance + share * ((left - left.mean(axis=0)) ** 2).sum(axis=0)
            bias = bias + (len(groups) - 1) * (left.mean(axis=0) - value)
        count += len(groups)
        is_finite = is_finite and bool(np.isfinite(left).all())
    status = Status.CONVERGED if is_finite else Status.UNDECIDED
    return Jackknife(value, np.sqrt(variance), bias, count, status)


def _value(statistic: Callable[..., Any], samples: list[Any]) -> np.ndarray:
    return np.asarray(_array.on_host(statistic(*samples)), dtype=np.float64)


def _taken(array: Array, rows: np.ndarray) -> Array:
    """Return rows of an array, in its library and on its device."""
    if isinstance(array, np.ndarray):
        return array[rows]
    xp = array_namespace(array)
    return array[xp.asarray(rows, device=_array.device_of(array))]


def _samples(samples: tuple[Any, ...], least: int = 1) -> list[Array]:
    if not samples:
        raise TypeError("samples must be given: at least one array, one observation per row.")
    found = []
    for i, sample in enumerate(samples):
        _, array = _array.gate(False, **{f"samples[{i}]": (REAL, sample)})
        if not array.shape or array.shape[0] < least:
            raise bad_value(
                f"samples[{i}]",
                f"have at least {least} rows, one for each observation",
                f"got shape {tuple(array.shape)}",
            )
        found.append(array)
    return found


def _groups(num_rows: int, num_groups: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return what remains of the rows without each group."""
    order = rng.permutation(num_rows)
    parts = np.array_split(order, min(num_groups, num_rows))
    return [np.setdiff1d(order, part, assume_unique=True) for part in parts]


def generator(
    num_draws: Any, seed: Any, *, name: str = "num_draws", least: int = 1
) -> np.random.Generator:
    """Return a generator of random numbers, after a look at how many draws are asked for."""
    require_integer(name, num_draws, least)
    require_integer("seed", seed, 0)
    return np.random.default_rng(seed)


def require_integer(name: str, value: Any, least: int) -> None:
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_integer or value < least:
        raise bad_value(name, f"be an integer, at least {least}", f"got {value!r}")


# ---------------------------------------------------------------- means and distances


def mean_standard_error(
    points: Any, *, space: Any = "simplex", num_groups: int = _NUM_GROUPS, seed: int = 0
) -> MeanEstimate:
    r"""Find a Frechet mean and its standard error, by the jackknife.

    .. math:: \mathrm{se}^2 = \tfrac{G - 1}{G} \textstyle\sum_g d(\bar p, \bar p_{-g})^2

    Parameters
    ----------
    points : array, shape (n, c), or batch of n points of the space
        Independent draws from one population of points.
    space : module, object or name
        What the points are, as in `infogeo.mean.frechet_mean`.
    num_groups : int
        Groups of points that are left out in turn; with fewer points each is a group.
    seed : int
        Of the division into groups, at random.

    Returns
    -------
    MeanEstimate
        The mean, its standard error and the spread of the points.

    Raises
    ------
    TypeError, ValueError
        As `infogeo.mean.frechet_mean`; fewer than 2 points.
    SolveError
        A mean that did not converge.

    See Also
    --------
    jackknife : Standard errors of the entries of a mean, or of any other statistic.

    Examples
    --------
    >>> from infogeo.inference import mean_standard_error
    >>> rng = np.random.default_rng(0)
    >>> found = mean_standard_error(rng.dirichlet([4.0, 2.0, 1.0], size=200))
    >>> print(found)
    standard error 0.03681 rad, spread 0.5122 rad (100 groups)
    """
    space = _spaces.with_distance(space)
    rng = generator(num_groups, seed, name="num_groups", least=2)
    if _spaces.chart_of(space) is not None:
        _, points = _array.gate(True, points=(space.POINTS, points))
        shape = tuple(points.shape)[:-1]
    else:
        shape = tuple(points.shape)
    if len(shape) != 1 or shape[0] < 2:
        raise bad_value("points", "be a batch of at least 2 points", f"its batch shape is {shape}")
    whole = mean.frechet_mean(points, space=space)
    means, kept = [], _groups(shape[0], num_groups, rng)
    for rows in kept:
        weights = np.zeros(shape[0])
        weights[rows] = 1.0
        means.append(mean.frechet_mean(points, space=space, weights=weights.tolist()).point)

    def mean_square(others: Any) -> float:
        apart = [space.fisher_rao_distance(whole.point, other) for other in others]
        return float(np.mean([float(d) ** 2 for d in apart]))

    error = float(np.sqrt((len(kept) - 1) * mean_square(means)))
    spread = float(np.sqrt(mean_square(points[i] for i in range(shape[0]))))
    return MeanEstimate(whole.point, error, spread, len(kept), whole.status)


def distance_standard_errors(
    points: Any, sizes: Any = None, *, space: Any = "simplex"
) -> DistanceTable:
    r"""Measure all distances between estimated distributions, with their standard errors.

    .. math:: \mathrm{se}_{ij} = \sqrt{1 / n_i + 1 / n_j}

    Parameters
    ----------
    points : array, shape (k, c), or batch of k points of the space
        Maximum-likelihood estimates: the observed shares of outcomes, or what ``fit`` returns.
    sizes : array, shape (k,), or None
        How many observations each was estimated from. None: the numbers that fitted points
        carry.
    space : module, object or name
        What the points are, as in `infogeo.neighbors.pairwise_distance`.

    Returns
    -------
    DistanceTable
        Distances and standard errors, and which pairs are far.

    Raises
    ------
    TypeError, ValueError
        As `infogeo.neighbors.pairwise_distance`; sizes that are missing, below 1 or not k.

    See Also
    --------
    interval : Intervals that hold for near distributions and small samples, too.

    Notes
    -----
    The delta method: a distance grows by 1 for each unit that a point moves away, and a
    maximum-likelihood estimate from n observations has the covariance 1 / n in every direction of
    the Fisher metric. So the first order is the same in all spaces. The plug-in distance is too
    large by the second order, which counts where it is only a few standard errors.

    Examples
    --------
    >>> from infogeo.inference import distance_standard_errors
    >>> shares = [[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.5, 0.2, 0.3]]
    >>> found = distance_standard_errors(shares, [400, 400, 100])
    >>> found.standard_error.round(3)
    array([[0.   , 0.071, 0.112],
           [0.071, 0.   , 0.112],
           [0.112, 0.112, 0.   ]])
    >>> found.is_far[0]
    array([False,  True, False])
    """
    space = _spaces.with_distance(space)
    distance = neighbors.pairwise_distance(points, space=space)
    distance = np.asarray(_array.on_host(distance), dtype=np.float64)
    if sizes is None:
        sizes = getattr(points, "num_samples", None)
    if sizes is None:
        raise bad_value(
            "sizes",
            "say how many observations each point was estimated from",
            "they are not given, and the points do not carry them",
        )
    _, given = _array.gate(False, sizes=(REAL, sizes))
    numbers = np.asarray(_array.on_host(given), dtype=np.float64)
    rule = f"have one number for each of the {len(distance)} points, at least 1"
    if numbers.shape != (len(distance),):
        raise bad_value("sizes", rule, f"got shape {numbers.shape}")
    if not (numbers >= 1.0).all():
        raise bad_value("sizes", rule, f"the smallest is {numbers.min():g}")
    error = np.sqrt(1.0 / numbers[:, None] + 1.0 / numbers)
    np.fill_diagonal(error, 0.0)
    is_far = distance > 3.0 * error
    np.fill_diagonal(is_far, False)
    is_all = bool(is_far[np.triu_indices(len(distance), 1)].all())
    return DistanceTable(distance, error, is_far, Status.CONVERGED if is_all else Status.UNDECIDED)
