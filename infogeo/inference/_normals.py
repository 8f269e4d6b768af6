r"""Intervals for the distance of two normal distributions that were fitted to samples.

Maximum-likelihood estimates move with the samples under affine maps, and distances do not change.
So the law of the distance of two estimates depends only on the sizes of the samples and on the
second distribution, seen from the first. It is simulated: estimates of pairs at growing distance
are drawn, always from the same random numbers, until the observed distance is the wanted quantile
of theirs. The pairs leave equality in the direction of the observed one, less what noise adds to
the difference of means, of the sizes and of the shapes of the covariances.

The distance of drawn estimates is that of a lift to the origin of the fibre (see
``multivariate_normal/_fibre.py``). With m and F F' mean and covariance of the second estimate,
seen from the first,

.. math:: d^2 \approx 2 \textstyle\sum_i \operatorname{arsinh}^2 s_i, \qquad
          s = \operatorname{sv} \bigl(\tfrac12 (F^{-T} - F) + \tfrac14 m m' F^{-T}
          \,\big|\, m / \sqrt 2\bigr),

exact for one feature and at most a few percent too large for more. By how much along the way is
known, as the distance is known there; by how much for noise is measured on some draws.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from scipy.special import digamma
from scipy.stats import chi2

from infogeo import _array, _points, multivariate_normal
from infogeo._array import bad_value
from infogeo._points import make
from infogeo.multivariate_normal import MultivariateNormal, Tangent

_NUM_EQUAL = 2000  # draws of equal distributions: once for all samples of the same sizes
_NUM_EXACT = 32
_MOST_FEATURES = 128  # half a gigabyte of draws
_HIGHEST_LEVEL = 0.995  # beyond it too few draws decide


class _Normals(NamedTuple):
    """Products of normals: means (..., components, d), factors of covariances (..., d, d)."""

    mean: np.ndarray
    factor: np.ndarray

    def point(self) -> MultivariateNormal:
        return make(MultivariateNormal, self.mean, self.factor @ self.factor.swapaxes(-1, -2))


# ---------------------------------------------------------------- arguments


def estimated(
    space: Any,
    points: dict[str, Any],
    sizes: dict[str, Any],
    level: float,
    *,
    is_product: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return estimate, lower end, upper end and plug-in distance of fitted points.

    Parameters
    ----------
    space : space
        Of the first point.
    points, sizes : dict
        The two points and the numbers of their samples (None: those that they carry), by the
        names of the arguments.
    level : float
        Of the interval.
    is_product : bool
        Whether the last batch axis holds independent components of one distribution.
    """
    if not hasattr(space, "LOCATION_SCALE"):
        raise bad_value(
            next(iter(points)),
            "hold counts or fitted normals, whose sampling laws are known",
            f"got {next(iter(points.values()))!r}",
            "Resample the data with infogeo.inference.bootstrap.",
        )
    if level > _HIGHEST_LEVEL:
        raise bad_value("level", f"be at most {_HIGHEST_LEVEL} for normals", f"got {level:g}")
    kind = space.POINTS
    _, *gated = _points.gate(True, **{name: (kind, point) for name, point in points.items()})
    pair = [make(kind, *fields) for fields in gated]
    measure = space.diagonal_fisher_rao_distance if is_product else space.fisher_rao_distance
    plug_in = np.asarray(_array.on_host(measure(*pair)), dtype=np.float64)
    normals = [_Normals(*map(_as_float64, space.LOCATION_SCALE(point))) for point in pair]
    if not is_product:
        normals = [_Normals(x.mean[..., None, :], x.factor[..., None, :, :]) for x in normals]
    batch = plug_in.shape
    numbers = [
        np.broadcast_to(_sizes(name, size, point, x.mean.shape[-1], is_product), batch)
        for (name, size), point, x in zip(sizes.items(), points.values(), normals, strict=True)
    ]
    _require_some_estimate(list(sizes), numbers)
    means, factors = (
        [np.broadcast_to(x[k], (*batch, *x[k].shape[-2 - k :])) for x in normals] for k in (0, 1)
    )
    found = np.zeros((3, *batch))
    for row in np.ndindex(*batch):
        a, b = (_Normals(means[i][row], factors[i][row]) for i in (0, 1))
        n, m = (float(x[row]) for x in numbers)
        found[(..., *row)] = _solved(a, b, n, m, level)
    return found[0], found[1], found[2], plug_in


def _as_float64(x: Any) -> np.ndarray:
    return np.asarray(_array.on_host(x), dtype=np.float64)


def _sizes(name: str, size: Any, point: Any, num_features: int, is_product: bool) -> np.ndarray:
    """Return the numbers of samples of points, which have to be enough for an estimate."""
    if size is None:
        size = point.num_samples
        if size is None:
            raise bad_value(
                name,
                "say how many samples the distribution was fitted to",
                f"it is not given, and {point!r} does not carry it",
                f"{type(point).__name__}.fit keeps it, but not of a shrunken covariance, whose law "
                "is not known. For another maximum-likelihood estimate (a covariance divided by "
                f"the number n of samples) pass {name}=n, for a known distribution math.inf.",
            )
        size = size[..., 0] if is_product else size
    if num_features > _MOST_FEATURES:
        raise bad_value(
            f"the points of {name}",
            f"have at most {_MOST_FEATURES} features",
            f"they have {num_features}",
            "Project the samples onto fewer directions, chosen from other data.",
        )
    sizes = np.asarray(size, dtype=np.float64) if not isinstance(size, bool) else np.array(np.nan)
    least = num_features + 2
    if not (sizes >= least).all():
        raise bad_value(
            name,
            f"be at least {least}: two samples more than features",
            f"got {size!r}" if sizes.ndim == 0 else f"the smallest is {sizes.min():g}",
        )
    return sizes


def _require_some_estimate(names: list[str], numbers: list[np.ndarray]) -> None:
    if (np.isinf(numbers[0]) & np.isinf(numbers[1])).any():
        raise bad_value(
            " and ".join(names),
            "leave a distribution to estimate",
            "both are inf",
            "Use infogeo.fisher_rao_distance for distributions that are known.",
        )


# ---------------------------------------------------------------- drawn estimates


class _Estimates(NamedTuple):
    """Estimates of N(0, I) from samples of one size; their covariances have no bias in the log."""

    mean: np.ndarray  # (draws, components, d)
    factor: np.ndarray  # (draws, components, d, d), lower triangular
    inverse: np.ndarray  # of the factor


def _drawn(stream: int, size: float, shape: tuple[int, int, int]) -> _Estimates:
    """Draw estimates, shape (draws, components, features); covariances by Bartlett's factors."""
    num_features = shape[-1]
    if math.isinf(size):
        identity = np.zeros((*shape, num_features)) + np.eye(num_features)
        return _Estimates(np.zeros(shape), identity, identity)
    rng = np.random.default_rng([stream, *shape])
    factor = np.tril(rng.standard_normal((*shape, num_features)), -1)
    i = np.arange(num_features)
    factor[..., i, i] = np.sqrt(chi2.ppf(rng.random(shape), size - 1.0 - i))
    factor *= _unbiased_scale(size, num_features) / math.sqrt(size)
    return _Estimates(rng.standard_normal(shape) / math.sqrt(size), factor, np.linalg.inv(factor))


def _unbiased_scale(size: float, num_features: int) -> float:
    """Return the factor of a Cholesky factor after which its log-determinant has no bias."""
    if math.isinf(size):
        return 1.0
    degrees = size - 1.0 - np.arange(num_features)
    return math.exp(-0.5 * float(np.mean(digamma(0.5 * degrees) - math.log(0.5 * size))))


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the product of matrices; those of one entry are multiplied as numbers, much faster."""
    return a * b if a.shape[-2:] == (1, 1) == b.shape[-2:] else a @ b


def _inverse(matrix: np.ndarray) -> np.ndarray:
    return 1.0 / matrix if matrix.shape[-1] == 1 else np.linalg.inv(matrix)


def _lift_length(mean: np.ndarray, factor: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Return the approximate distance from N(0, I) of products of normals."""
    m = mean[..., None]
    block = 0.5 * (inverse.swapaxes(-1, -2) - factor) + 0.25 * m * _product(inverse, m).swapaxes(
        -1, -2
    )
    gram = _product(block, block.swapaxes(-1, -2)) + 0.5 * m * m.swapaxes(-1, -2)
    squares = gram[..., 0] if gram.shape[-1] == 1 else np.linalg.eigvalsh(gram)
    squares = np.maximum(squares, 0.0)
    return np.sqrt(2.0 * (np.arcsinh(np.sqrt(squares)) ** 2).sum((-1, -2)))


def _parts(mean: np.ndarray, logs: np.ndarray) -> list[np.ndarray]:
    """Return squares of what separates normals from N(0, I): of means, sizes and shapes.

    The logs are those of the eigenvalues of the covariances, (..., components, d).
    """
    middle = logs.mean(-1, keepdims=True)
    return [(x**2).sum((-2, -1)) for x in (mean, middle, logs - middle)]


class _Pairs:
    """Pairs of normals at growing distance, and the distances of their estimates."""

    def __init__(self, n: float, m: float, num_components: int, num_features: int, num_draws: int):
        shape = num_draws, num_components, num_features
        self.first, self.second = _drawn(0, n, shape), _drawn(1, m, shape)
        zeros = np.zeros(shape[1:])
        self.origin = make(MultivariateNormal, zeros, zeros[..., None] + np.eye(num_features))
        logs = 2.0 * np.log(
            np.linalg.svd(self.first.inverse @ self.second.factor, compute_uv=False)
        )
        shift = self.first.inverse @ (self.second.mean - self.first.mean)[..., None]
        self.noise = [float(part.mean()) for part in _parts(shift[..., 0], logs)]
        # By how much noise of the first covariance enlarges squares of means seen from it.
        self.inflation = float((self.first.inverse**2).sum((-1, -2)).mean() / num_features)
        self.share = self._share() if num_features > 1 else 1.0

    def _share(self) -> float:
        """Return what the exact distances of some draws are of the approximate ones."""
        few = [_Normals(x.mean[:_NUM_EXACT], x.factor[:_NUM_EXACT]).point() for x in self.drawn()]
        exact = np.asarray(multivariate_normal.fisher_rao_distance(*few))
        approximate = self._lengths(np.eye(self.origin.dim), self.second.mean)[:_NUM_EXACT]
        return float(np.linalg.norm(exact) / np.linalg.norm(approximate))

    def drawn(self) -> tuple[_Estimates, _Estimates]:
        return self.first, self.second

    def _lengths(self, factor: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Return approximate distances of estimates, the second ones moved to mean and factor."""
        seen = _product(self.first.inverse, (mean - self.first.mean)[..., None])
        own = _product(_product(self.first.inverse, factor), self.second.factor)
        inverse = _product(_product(self.second.inverse, _inverse(factor)), self.first.factor)
        return _lift_length(seen[..., 0], own, inverse)

    def at_equality(self) -> np.ndarray:
        """Return the distances of estimates of equal distributions, one for each draw."""
        return self.share * self._lengths(np.eye(self.origin.dim), self.second.mean)

    def distances(self, way: Tangent, distance: float) -> np.ndarray:
        """Return the distances of estimates of pairs at a distance, one for each draw."""
        end = multivariate_normal.exp_map(self.origin, distance * way)
        factor = np.linalg.cholesky(end.cov)
        mean = end.mean + _product(factor, self.second.mean[..., None])[..., 0]
        approximate = _lift_length(end.mean, factor, _inverse(factor))
        return self.share * distance / approximate * self._lengths(factor, mean)

    def way(self, mean: np.ndarray, factor: np.ndarray) -> Tangent | None:
        """Return the velocity of length 1 that goes from N(0, I) as the observed pair, less noise.

        None is for a pair without a direction, whose distance is 0.
        """
        vectors, roots, _ = np.linalg.svd(factor)
        # The signs of singular vectors are chance: of all images of the pair one is taken.
        mean = abs(vectors.swapaxes(-1, -2) @ mean[..., None])[..., 0]
        logs = 2.0 * np.log(roots)
        left = [
            math.sqrt(max(0.0, 1.0 - noise / seen)) if seen > 0.0 else 0.0
            for seen, noise in zip(map(float, _parts(mean, logs)), self.noise, strict=True)
        ]
        if any(left):  # else the observed direction is as good as any
            middle = logs.mean(-1, keepdims=True)
            mean = left[0] * mean / math.sqrt(self.inflation)
            logs = left[1] * middle + left[2] * (logs - middle)
        end = _Normals(mean, np.exp(0.5 * logs)[..., None] * np.eye(self.origin.dim)).point()
        v = multivariate_normal.log_map(self.origin, end)
        length = float(np.linalg.norm(multivariate_normal.norm(self.origin, v)))
        return v / length if length > 0.0 else None


@functools.lru_cache(maxsize=16)
def _pairs(n: float, m: float, num_components: int, num_features: int, level: float) -> _Pairs:
    num_draws = max(min(20_000 // num_features**2, 1000), 500, round(20.0 / (1.0 - level)))
    return _Pairs(n, m, num_components, num_features, num_draws)


@functools.lru_cache(maxsize=256)
def _at_equality(
    n: float, m: float, num_components: int, num_features: int, level: float
) -> tuple[float, ...]:
    """Return quantiles of the distance of estimates of equal distributions."""
    num_draws = max(_NUM_EQUAL, round(40.0 / (1.0 - level)))
    found = _Pairs(n, m, num_components, num_features, num_draws).at_equality()
    return tuple(np.quantile(found, [0.5, 0.5 + 0.5 * level, 0.5 - 0.5 * level]).tolist())


# ---------------------------------------------------------------- the solve


def _solved(a: _Normals, b: _Normals, n: float, m: float, level: float) -> list[float]:
    """Return estimate, lower and upper end of the distance of a product of normals."""
    # What is seen from the larger sample has less noise. Between samples of one size the wider
    # distribution decides, so that it does not matter which of them is given first.
    if (n, _log_volume(a)) < (m, _log_volume(b)):
        a, b, n, m = b, a, m, n
    num_components, num_features = a.mean.shape
    sizes = n, m, num_components, num_features, level
    pairs = _pairs(*sizes)
    median, high, low = _at_equality(*sizes)
    unit_a, unit_b = (_unbiased_scale(size, num_features) for size in (n, m))
    inverse = _inverse(a.factor * unit_a)
    mean = (inverse @ (b.mean - a.mean)[..., None])[..., 0]
    factor = inverse @ b.factor * unit_b
    if num_components > 1:  # draws belong to places: the order of the components must not matter
        order = np.lexsort((abs(mean[:, 0]), factor[:, 0, 0]))
        mean, factor = mean[order], factor[order]
    observed = _Normals(mean, factor).point()
    apart = multivariate_normal.fisher_rao_distance(pairs.origin, observed)
    distance = float(np.linalg.norm(apart))
    way = pairs.way(mean, factor)
    if way is None:
        return [0.0, 0.0, _nearest_upper_end(pairs, level, median)]
    tail = 0.5 * (1.0 - level)
    return [
        _inverted(pairs, way, 0.5, distance, median),
        _inverted(pairs, way, 1.0 - tail, distance, high),
        # Where the distance is below its median for equal distributions, that decides.
        _inverted(pairs, way, tail, max(distance, median), low),
    ]


def _log_volume(x: _Normals) -> float:
    return float(np.linalg.slogdet(x.factor)[1].sum())


def _nearest_upper_end(pairs: _Pairs, level: float, median: float) -> float:
    """Return the upper end for estimates that are equal, along a change of the first scale."""
    d = pairs.origin.dim
    cov = np.zeros(pairs.origin.cov.shape)
    cov[0, 0, 0] = math.sqrt(2.0)
    way = make(Tangent, np.zeros((len(cov), d)), cov)
    tail = 0.5 * (1.0 - level)
    return _inverted(pairs, way, tail, median, 0.0)


def _inverted(
    pairs: _Pairs, way: Tangent, probability: float, value: float, at_equality: float
) -> float:
    """Return at which distance estimates are nearer than a value with a probability."""
    if value <= at_equality:
        return 0.0
    # Squares of the quantile grow nearly as those of the distance: secants are there in few steps.
    # The value at an end that stays is halved, so that both ends move (the Illinois method).
    low, below = 0.0, at_equality**2 - value**2
    high = above = math.inf
    square, side = -below, 0
    for _ in range(40):
        found = pairs.distances(way, math.sqrt(square))
        quantile = float(np.quantile(found, probability))
        if abs(quantile - value) < 0.02 * float(found.std()):
            break
        if square < 1e-4 * value**2:  # these draws have their quantile a little beyond the value
            return 0.0
        excess = quantile**2 - value**2
        if excess < 0.0:
            low, below, above = square, excess, above * (0.5 if side < 0 else 1.0)
            side = -1
        else:
            high, above, below = square, excess, below * (0.5 if side > 0 else 1.0)
            side = 1
        if math.isinf(high):
            square -= 1.2 * excess
        else:
            square = low + (high - low) * below / (below - above)
    return math.sqrt(square)
