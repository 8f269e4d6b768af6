"""Standard errors: resampling of rows, and of means and distances in any space."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace

from infogeo import _array, _names, _points, _spaces, mean, neighbors
from infogeo._array import REAL, bad_value
from infogeo._result import Result, Table
from infogeo._status import Status
from infogeo._system.registry import storable
from infogeo.inference._draws import generator, require_integer
from infogeo.inference._frames import frame_of, frame_of_fields

_NUM_GROUPS = 100


# ---------------------------------------------------------------- results


@storable("Bootstrap")
@dataclass(frozen=True, eq=False, repr=False)
class Bootstrap(Result):
    """A statistic of samples, and of samples whose rows were drawn from theirs.

    Parameters
    ----------
    value : array, shape (...)
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
        return frame_of_fields(self, "value", "standard_error", "bias")


@storable("Jackknife")
@dataclass(frozen=True, eq=False, repr=False)
class Jackknife(Result):
    """A statistic of samples, and of what remains without each group of rows.

    Parameters
    ----------
    value : array, shape (...)
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
        return frame_of_fields(self, "value", "standard_error", "bias")


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
    names : tuple or None
        Of the distributions, where the points were given as a frame whose rows have names.
    """

    axes: ClassVar = {"first": "names", "second": "names"}

    distance: np.ndarray
    standard_error: np.ndarray
    is_far: np.ndarray
    status: Status
    names: tuple[Any, ...] | None = None

    def __str__(self) -> str:
        k = len(self.distance)
        num_far = int(np.triu(self.is_far, 1).sum())
        return (
            f"DistanceTable: {k} distributions, {num_far} of {k * (k - 1) // 2} distances are "
            "more than three standard errors"
        )


def _summary(result: Any, effort: str) -> str:
    if result.status is Status.UNDECIDED:
        effort += ", not all of them finite"
    if result.value.ndim:
        return f"{type(result).__name__}: a statistic of shape {result.value.shape}, {effort}"
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
    *samples : array, shape (n, ...), series or data frame
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
        No samples; samples of fewer than 2 rows; fewer than 2 draws; draws, seeds or sizes that
        are no such integers; a statistic that returns something else than real numbers of one
        shape.

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
    rng = generator(num_draws, seed, least=2)
    arrays = _samples(samples)
    if batch_size is not None:
        require_integer("batch_size", batch_size, 1)
        _require_arrays(arrays)
    draws: list[np.ndarray] = []
    step = batch_size or 1
    for start in range(0, num_draws, step):
        size = min(step, num_draws - start)
        rows = [rng.integers(len(x), size=(size, len(x))) for x in arrays]
        if batch_size is None:
            rows = [part[0] for part in rows]
        taken = [_taken(x, i) for x, i in zip(arrays, rows, strict=True)]
        draws += _values_of_batch(statistic, taken, size if batch_size else None)
    whole = [x if batch_size is None else x[None, ...] for x in arrays]
    (value,) = _values_of_batch(statistic, whole, 1 if batch_size else None)
    values = _stacked([value, *draws])[1:]
    is_finite = bool(np.isfinite(values).all())
    with np.errstate(invalid="ignore"):
        away = values - value
        bias = away.mean(axis=0)
        error = _root_sum_of_squares(away - bias, 1.0 / (num_draws - 1))
    status = Status.CONVERGED if is_finite else Status.UNDECIDED
    return Bootstrap(value, error, bias, values, status)


def jackknife(
    statistic: Callable[..., Any], *samples: Any, num_groups: int = _NUM_GROUPS, seed: int = 0
) -> Jackknife:
    r"""Estimate standard error and bias of a smooth statistic, by leaving out groups of rows.

    .. math:: \mathrm{se}^2 = \textstyle\sum_{\text{samples}} \frac1G \sum_g (h_g - 1)
              (\theta_{-g} - \bar\theta)^2, \qquad h_g = n / n_g

    Parameters
    ----------
    statistic : callable
        ``statistic(*samples)`` is a number or an array, of the same shape for all groups.
    *samples : array, shape (n, ...), series or data frame
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
        integers; a statistic that returns something else than real numbers of one shape.

    Notes
    -----
    A statistic has to be smooth in the rows: a median is not, nor is the distance of two samples
    where it is near 0. The factors h - 1 are those of groups of unequal sizes; of equal groups all
    are G - 1. Of a mean the bias is 0.

    References
    ----------
    B. Efron and C. Stein, The jackknife estimate of variance, Ann. Statist. 9, 1981.
    F. Busing, E. Meijer and R. van der Leeden, Delete-m jackknife for unequal m, Statistics and
    Computing 9, 1999.

    Examples
    --------
    >>> from infogeo.inference import jackknife
    >>> x = np.arange(10.0)
    >>> found = jackknife(np.mean, x)
    >>> bool(np.isclose(found.standard_error, x.std(ddof=1) / 10**0.5))
    True
    """
    rng = generator(num_groups, seed, name="num_groups", least=2)
    arrays = _samples(samples)
    value = _value(statistic, arrays)
    errors, bias, count = [], np.zeros_like(value), 0
    is_finite = bool(np.isfinite(value).all())
    for k, array in enumerate(arrays):
        groups = _groups(len(array), num_groups, rng)
        left = [
            _value(statistic, [*arrays[:k], _taken(array, rows), *arrays[k + 1 :]])
            for rows in groups
        ]
        found = _stacked([value, *left])[1:]
        weight = _weights(groups, len(array)).reshape(-1, *(1,) * value.ndim)
        with np.errstate(invalid="ignore"):
            away = found - value
            own = (away * (weight / (1.0 + weight))).sum(axis=0)
            errors.append(_root_sum_of_squares(away * weight - own, 1.0 / (len(groups) * weight)))
            bias = bias + own
        count += len(groups)
        is_finite = is_finite and bool(np.isfinite(found).all())
    status = Status.CONVERGED if is_finite else Status.UNDECIDED
    return Jackknife(value, _root_sum_of_squares(np.stack(errors), 1.0), bias, count, status)


def _root_sum_of_squares(x: np.ndarray, factor: Any) -> np.ndarray:
    """Return the root of the sum of factor x^2 over the first axis, of any scale."""
    scale = abs(x).max(axis=0)
    unit = x / np.where((scale > 0.0) & np.isfinite(scale), scale, 1.0)
    return np.sqrt((factor * unit**2).sum(axis=0)) * np.where(np.isfinite(scale), scale, np.nan)


def _value(statistic: Callable[..., Any], samples: list[Any]) -> np.ndarray:
    """Return what the statistic says of samples, as an array of float64."""
    found = statistic(*samples)
    try:
        value = np.asarray(_array.on_host(found))
    except (TypeError, ValueError):  # lists of unequal lengths, for example
        value = np.asarray(None)
    if value.dtype.kind not in "biuf":
        raise TypeError(
            "statistic must return a real number or an array of such numbers: it returned a "
            f"{type(found).__name__}{f' of dtype {value.dtype}' if value.ndim else ''}."
        )
    return value.astype(np.float64)


def _values_of_batch(
    statistic: Callable[..., Any], samples: list[Any], size: int | None
) -> list[np.ndarray]:
    """Return what the statistic says of a batch of draws, one entry for each; None: of one draw."""
    found = _value(statistic, samples)
    if size is None:
        return [found]
    if found.shape[:1] != (size,):
        raise bad_value(
            "statistic",
            "return an array with one entry for each draw in the batch",
            f"of {size} draws it returned shape {found.shape}",
            "Let it work along the axis of the rows, which comes second, or leave out batch_size.",
        )
    return list(found)


def _stacked(values: list[np.ndarray]) -> np.ndarray:
    other = next((value for value in values if value.shape != values[0].shape), None)
    if other is not None:
        raise bad_value(
            "statistic",
            "return arrays of one shape",
            f"of the samples it returned shape {values[0].shape}, of some of their rows "
            f"{other.shape}",
        )
    return np.stack(values)


def _taken(sample: Any, rows: np.ndarray) -> Any:
    """Return rows of a sample, in its library and on its device."""
    if hasattr(sample, "iloc"):
        return sample.iloc[rows]
    if isinstance(sample, np.ndarray) or _is_of_polars(sample):
        return sample[rows]
    xp = array_namespace(sample)
    return sample[xp.asarray(rows, device=_array.device_of(sample))]


def _is_of_polars(sample: Any) -> bool:
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(sample, polars.DataFrame | polars.Series)


def _samples(samples: tuple[Any, ...]) -> list[Any]:
    """Return samples whose rows can be taken: arrays of any dtype, series and frames."""
    if not samples:
        raise TypeError("samples must be given: at least one array, one observation per row.")
    found = []
    for i, sample in enumerate(map(_names.computed, samples)):
        if not (hasattr(sample, "iloc") or _is_of_polars(sample)):
            if isinstance(sample, list | tuple):
                sample = np.asarray(sample)
            elif not _names.is_nameless(sample):  # a table of arrow, for example
                _, sample = _array.gate(False, **{f"samples[{i}]": (REAL, sample)})
        shape = tuple(getattr(sample, "shape", ()))
        if not shape or shape[0] < 2:
            raise bad_value(
                f"samples[{i}]",
                "have at least 2 rows, one for each observation",
                f"got shape {shape}",
            )
        found.append(sample)
    return found


def _require_arrays(samples: list[Any]) -> None:
    for i, sample in enumerate(samples):
        if hasattr(sample, "iloc") or _is_of_polars(sample):
            raise TypeError(
                f"samples[{i}] must be an array, of which batches can be made: got a "
                f"{type(sample).__name__}. Pass its to_numpy(), or leave out batch_size."
            )


def _groups(num_rows: int, num_groups: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return what remains of the rows without each group."""
    order = rng.permutation(num_rows)
    parts = np.array_split(order, min(num_groups, num_rows))
    return [np.setdiff1d(order, part, assume_unique=True) for part in parts]


def _weights(groups: list[np.ndarray], num_rows: int) -> np.ndarray:
    """Return how many rows remain without each group, as a multiple of the group."""
    left = np.array([len(rows) for rows in groups])
    return left / (num_rows - left)


# ---------------------------------------------------------------- means and distances


def mean_standard_error(
    points: Any, *, space: Any = "simplex", num_groups: int = _NUM_GROUPS, seed: int = 0
) -> MeanEstimate:
    r"""Find a Frechet mean and its standard error, by the jackknife.

    .. math:: \mathrm{se}^2 = \tfrac1G \textstyle\sum_g (h_g - 1)\, d(\bar p, \bar p_{-g})^2,
              \qquad h_g = n / n_g

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

    def squares(others: Any) -> np.ndarray:
        apart = [space.fisher_rao_distance(whole.point, other) for other in others]
        return np.array([float(d) for d in apart]) ** 2

    error = float(np.sqrt(np.mean(_weights(kept, shape[0]) * squares(means))))
    spread = float(np.sqrt(np.mean(squares(points[i] for i in range(shape[0])))))
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
        How many observations each was estimated from, inf for one that is known. None: the
        numbers that fitted points carry.
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
    if sizes is None:
        sizes = getattr(points, "num_samples", None)
    if sizes is None:
        raise bad_value(
            "sizes",
            "say how many observations each point was estimated from",
            "they are not given, and the points do not carry them",
        )
    names = _names.rows_of(points)
    points, sizes = _matched_sizes(space, points, sizes)
    _, given = _array.gate(False, sizes=(REAL, sizes))
    numbers = np.asarray(_array.on_host(given), dtype=np.float64)
    distance = neighbors.pairwise_distance(points, space=space)
    distance = np.asarray(_array.on_host(distance), dtype=np.float64)
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
    status = Status.CONVERGED if is_all else Status.UNDECIDED
    return DistanceTable(distance, error, is_far, status, names)


def _matched_sizes(space: Any, points: Any, sizes: Any) -> tuple[Any, Any]:
    """Return points, and their sizes in the same order: where both have names, these decide."""
    if _spaces.chart_of(space) is not None:
        _array.gate(True, points=(space.POINTS, points))
        rule = _array.weights_rule(space.POINTS, points, sizes, 0)
        points, sizes = _array.matched(points=(space.POINTS, points), sizes=(rule, sizes))
    elif isinstance(points, _points.Points) and not _names.is_nameless(sizes):
        field, rule = next(iter(points.rules.items()))
        rule = _array.weights_rule(rule, getattr(points, field), sizes, 0)
        *_, sizes = _points.gate(False, points=(type(points), points), sizes=(rule, sizes))
    return points, sizes
