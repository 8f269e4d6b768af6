"""Distributions of torch and of scipy as points of infogeo's spaces.

A distribution is read whole or refused: no parameter that moves it is left out. Neither library is
imported here: a distribution of one of them comes with its library.
"""

import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from infogeo import _spaces, logits, multivariate_normal, normal, simplex
from infogeo._array import LOGITS, POSITIVE, PROBABILITIES, REAL, bad_value, gate, is_readable
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal

__all__ = ["from_distribution"]

_KNOWN = (
    "torch.distributions: Normal, LogNormal, MultivariateNormal, LowRankMultivariateNormal, "
    "Independent(Normal(...), n) and of the three others, Categorical, OneHotCategorical, "
    "Bernoulli, Binomial and Multinomial of total_count 1",
    "scipy.stats, with their parameters: norm(...), lognorm(...), multivariate_normal(...), "
    "bernoulli(...), binom(1, ...), multinomial(1, ...), Normal(...), Binomial(n=1, ...), "
    "make_distribution of norm, lognorm and bernoulli",
)


def from_distribution(distribution, *, space=None, check=True):
    """Point of infogeo that is the given distribution of torch or scipy.

    Parameters
    ----------
    distribution : torch.distributions.Distribution, or distribution of scipy.stats
        A normal or lognormal one of one or more dimensions, a categorical one, or a Bernoulli one.
        Those of scipy are frozen, or of its newer kind (`scipy.stats.Normal`).
    space : module, name or None
        The space that the point has to be of: `infogeo.simplex` or `infogeo.logits` for
        categorical and Bernoulli distributions, `infogeo.normal` or `infogeo.multivariate_normal`
        for normal ones. None: probabilities, and normals as described below.
    check : bool
        Verify the values.

    Returns
    -------
    Normal, MultivariateNormal or array
        Univariate normals become an `infogeo.normal.Normal`, batches of independent ones too, with
        the components along the last axis (several axes of components become one). Multivariate
        normals become an `infogeo.multivariate_normal.MultivariateNormal`, in whatever way
        torch was given the covariance. Of a lognormal distribution the point is the normal of the
        logarithms: all distances and divergences are those of the normals. Categorical and
        Bernoulli distributions become probabilities for `infogeo.simplex`, shape (..., c), or, on
        request, logits, which know what the probabilities have rounded away if the distribution
        was made from logits; those of a Bernoulli distribution are of failure and success. Tensors
        of torch pass their gradients on.

    Raises
    ------
    TypeError
        Any other distribution; the message lists those above, and says what is in the way.
    ValueError
        Parameters that no distribution has, such as a singular covariance; a space whose points
        are other distributions.

    Notes
    -----
    Half precision is computed in float32, in which probabilities are divided by their sum: it is
    off by the rounding of halves.

    Examples
    --------
    >>> import scipy.stats
    >>> from_distribution(scipy.stats.norm(1.0, 2.0))
    Normal(mean=1.0, std=2.0)
    >>> from_distribution(scipy.stats.bernoulli(0.25))
    array([0.75, 0.25])
    """
    read = reading(distribution, check)
    if space is not None:
        space = _spaces.resolve(space)
    elif read.space is logits:
        space = simplex
    else:
        space = read.space
    return in_space(read, space, check).point


@dataclass(frozen=True)
class Reading:
    """What a distribution of another library is here.

    Parameters
    ----------
    space : module
        The space that knows most of it.
    point : Normal, MultivariateNormal or array
        Its point.
    num_event_axes : int
        How many of the last axes of a batch of normals are components of one distribution.
    of_logarithms : bool
        Whether the point is that of the logarithms.
    """

    space: Any
    point: Any
    num_event_axes: int = 0
    of_logarithms: bool = False


def is_distribution(value):
    """Tell whether something is a distribution of torch or scipy, known or not."""
    distributions = sys.modules.get("torch.distributions")
    if distributions is not None and isinstance(value, distributions.Distribution):
        return True  # by its class, or one that was derived from it
    return type(value).__module__.split(".")[:2] == ["scipy", "stats"]


def reading(distribution, check):
    """Read a distribution in the space that knows most of it."""
    for cls in type(distribution).__mro__:
        read = _TORCH.get(cls.__name__)
        if read is not None and cls.__module__.startswith("torch.distributions."):
            if type(distribution).log_prob is not cls.log_prob:
                raise _refused(distribution, f"Its log_prob is not that of {cls.__name__}.")
            return read(distribution, check)
    cls = type(distribution)
    if cls.__module__.startswith("scipy.stats.") and cls.__name__ in _SCIPY:
        return _SCIPY[cls.__name__](distribution, check)
    raise _refused(distribution)


def in_space(read, space, check):
    """Return a reading in another space that has the same distributions."""
    point = read.point
    if space is read.space:
        return read
    if (read.space, space) == (logits, simplex):
        return replace(read, space=space, point=logits.to_simplex(point, check=check))
    if (read.space, space) == (simplex, logits):
        return replace(read, space=space, point=logits.from_simplex(point, check=check))
    if (read.space, space) == (normal, multivariate_normal) and read.num_event_axes:
        return Reading(space, _joint(point), 0, read.of_logarithms)
    raise bad_value(
        "space",
        "have this distribution among its points",
        f"it is a point of {read.space.__name__}, got {space!r}",
    )


def _joint(independent):
    """Return the multivariate normal of independent components along the last axis."""
    mean, std = independent.mean, independent.std
    xp = array_namespace(mean)
    identity = xp.eye(mean.shape[-1], dtype=mean.dtype, device=std.device)
    return MultivariateNormal(mean, (std * std)[..., None] * identity)


def _refused(distribution, reason=""):
    cls = type(distribution)
    return TypeError(
        f"distribution must be one of these: {'; '.join(_KNOWN)}. Got {cls.__module__}."
        f"{cls.__qualname__}: {distribution!r}.{' ' if reason else ''}{reason}"
    )


def _of_probabilities(p, check):
    """Return the reading of probabilities; those of half precision are divided by their sum."""
    xp, wide = gate(check, distribution=(PROBABILITIES, p))
    is_half = wide.dtype != p.dtype
    return Reading(simplex, wide / xp.sum(wide, axis=-1, keepdims=True) if is_half else wide)


def _of_success(p, check):
    """Return the reading of a Bernoulli distribution."""
    xp, p = gate(False, p=(REAL, p))  # in float32, in which 1 - p is exact for halves
    return _of_probabilities(xp.stack([1.0 - p, p], axis=-1), check)


# ---------------------------------------------------------------- torch


def _torch_normal(distribution, check):
    return Reading(normal, Normal(distribution.loc, distribution.scale, check=check))


def _torch_lognormal(distribution, check):
    return replace(_torch_normal(distribution.base_dist, check), of_logarithms=True)


def _torch_multivariate_normal(distribution, check):
    point = MultivariateNormal(distribution.loc, distribution.covariance_matrix, check=check)
    return Reading(multivariate_normal, point)


def _torch_independent(distribution, check):
    num_axes = distribution.reinterpreted_batch_ndims
    read = reading(distribution.base_dist, check)
    if num_axes == 0:
        return read
    point = read.point
    if read.space is normal:
        flat = -(num_axes + read.num_event_axes)
        flattened = Normal(point.mean.flatten(flat), point.std.flatten(flat), check=False)
        return replace(read, point=flattened, num_event_axes=1)
    if read.space is multivariate_normal:
        return Reading(multivariate_normal, _block_diagonal(point, num_axes), 0)
    raise _refused(
        distribution,
        "A product of categorical distributions is no point of a space: base_dist is a batch of "
        "its factors, whose squared distances and whose divergences add up.",
    )


def _block_diagonal(point, num_axes):
    """Return the joint distribution of independent multivariate normals along batch axes."""
    mean = point.mean.flatten(-1 - num_axes)
    cov = point.cov.flatten(-2 - num_axes, -3)
    num_blocks, dim = cov.shape[-3:-1]
    xp = array_namespace(cov)
    identity = xp.eye(num_blocks, dtype=cov.dtype, device=cov.device)
    blocks = cov[..., :, :, None, :] * identity[:, None, :, None]
    return MultivariateNormal(mean, blocks.reshape(*mean.shape[:-1], *2 * (num_blocks * dim,)))


def _torch_categorical(distribution, check):
    if not _is_made_from_logits(distribution):
        return _of_probabilities(distribution.probs, check)
    _, z = gate(check, distribution=(LOGITS, distribution.logits))
    return Reading(logits, z)


def _torch_one_hot(distribution, check):
    return _torch_categorical(distribution._categorical, check)


def _torch_bernoulli(distribution, check):
    import torch

    if not _is_made_from_logits(distribution):
        return _of_success(distribution.probs, check)
    _, logit = gate(False, logits=(REAL, distribution.logits))
    # Halves have the difference to its last digit, also near 0; those of inf are no logits.
    is_certain = torch.isinf(logit)
    z = [
        torch.where(is_certain, torch.nn.functional.logsigmoid(side), 0.5 * side)
        for side in (-logit, logit)
    ]
    _, z = gate(check, distribution=(LOGITS, torch.stack(z, dim=-1)))
    return Reading(logits, z)


def _is_made_from_logits(distribution):
    """Tell whether a distribution of torch has logits that know all of it.

    torch adds the other parameter when it is asked for, and after ``expand`` takes the logits for
    the one that was given. Those that it made from probabilities are clipped: then the softmax is
    not what the probabilities are.
    """
    import torch

    given = vars(distribution)
    if "logits" not in given or "probs" not in given:
        return "logits" in given
    if distribution._param is not given["logits"]:
        return False
    z, p = (given[name].detach().double() for name in ("logits", "probs"))
    if not is_readable(z):
        return True
    is_binary = not hasattr(distribution, "_num_events")
    implied = torch.sigmoid(z) if is_binary else torch.softmax(z, dim=-1)
    precision = torch.finfo(given["probs"].dtype)
    return bool((abs(implied - p) <= 32.0 * precision.eps * p + precision.tiny).all())


def _torch_of_one_trial(read):
    def read_one(distribution, check):
        if not bool(np.all(np.asarray(distribution.total_count) == 1)):
            raise _refused(
                distribution,
                "With more than one trial the distances are sqrt(total_count) times those of one: "
                "use a distribution of one trial.",
            )
        return read(distribution, check)

    return read_one


_TORCH = {
    "Normal": _torch_normal,
    "LogNormal": _torch_lognormal,
    "MultivariateNormal": _torch_multivariate_normal,
    "LowRankMultivariateNormal": _torch_multivariate_normal,
    "Independent": _torch_independent,
    "Categorical": _torch_categorical,
    "OneHotCategorical": _torch_one_hot,
    "Bernoulli": _torch_bernoulli,
    "Binomial": _torch_of_one_trial(_torch_bernoulli),
    "Multinomial": _torch_of_one_trial(_torch_one_hot),
}


# ---------------------------------------------------------------- scipy


def _scipy_frozen(distribution, check):
    names, read = _family(distribution, distribution.dist)
    # The parameters that it was given by position or by name.
    given = dict(zip(names, distribution.args, strict=False)) | distribution.kwds
    return read(distribution, {"loc": 0.0, "scale": 1.0} | given, check)


def _family(distribution, family):
    """Return the names of the parameters of one of scipy's families, and how it is read."""
    for name, kind in _FAMILIES.items():
        usual = getattr(sys.modules["scipy.stats"], name)
        # An instance of one's own may have another support.
        if type(family) is type(usual) and (family.a, family.b) == (usual.a, usual.b):
            return kind
    raise _refused(distribution)


def _scipy_normal(distribution, given, check):
    return Reading(normal, Normal(given["loc"], given["scale"], check=check))


def _scipy_lognormal(distribution, given, check):
    _require_no_shift(distribution, given)
    xp, scale = gate(check, scale=(POSITIVE, given["scale"]))
    return Reading(normal, Normal(xp.log(scale), given["s"], check=check), of_logarithms=True)


def _scipy_bernoulli(distribution, given, check):
    _require_no_shift(distribution, given)
    _require_one_trial(distribution, given.get("n", 1))
    return _of_success(given["p"], check)


# The names of the parameters of scipy's older families in the order of their positions.
_FAMILIES = {
    "norm": (("loc", "scale"), _scipy_normal),
    "lognorm": (("s", "loc", "scale"), _scipy_lognormal),
    "bernoulli": (("p", "loc"), _scipy_bernoulli),
    "binom": (("n", "p", "loc"), _scipy_bernoulli),
}


def _require_no_shift(distribution, given):
    if np.any(np.asarray(given["loc"]) != 0.0):
        raise _refused(
            distribution, f"Its loc is {given['loc']!r}: a shift has no place in the space."
        )


def _require_one_trial(distribution, n):
    if np.any(np.asarray(n) != 1):
        raise _refused(
            distribution,
            "With more than one trial the distances are sqrt(n) times those of one: use a "
            "distribution of one trial.",
        )


def _scipy_multivariate_normal(distribution, check):
    point = MultivariateNormal(distribution.mean, distribution.cov, check=check)
    return Reading(multivariate_normal, point)


def _scipy_multinomial(distribution, check):
    _require_one_trial(distribution, distribution.n)
    return _of_probabilities(distribution.p, check)


def _scipy_new_normal(distribution, check):
    return Reading(normal, Normal(distribution.mu, distribution.sigma, check=check))


def _scipy_new_binomial(distribution, check):
    _require_one_trial(distribution, distribution.n)
    return _of_success(distribution.p, check)


def _scipy_shifted(distribution, check):
    """Read loc + scale X for a normal X; the scale may be negative."""
    read = reading(distribution._dist, check)
    if read.space is not normal or read.of_logarithms:
        raise _refused(distribution, "Only of a normal variable a multiple or a shift is known.")
    mean = distribution.loc + distribution.scale * read.point.mean
    return Reading(normal, Normal(mean, abs(distribution.scale) * read.point.std, check=check))


def _scipy_made(distribution, check):
    """Read what make_distribution has made of an older family, whose formulas it holds."""
    cls = type(distribution)
    formulas = (getattr(cls, name, None) for name in ("_logpdf_formula", "_logpmf_formula"))
    owners = [x.__self__ for x in formulas if hasattr(x, "__self__")]  # they are its methods
    _, read = _family(distribution, owners[0] if owners else None)
    given = {name: getattr(distribution, name) for name in distribution._parameters}
    return read(distribution, {"loc": 0.0, "scale": 1.0} | given, check)


_SCIPY = {
    "rv_continuous_frozen": _scipy_frozen,
    "rv_discrete_frozen": _scipy_frozen,
    "multivariate_normal_frozen": _scipy_multivariate_normal,
    "multinomial_frozen": _scipy_multinomial,
    "Normal": _scipy_new_normal,
    "StandardNormal": _scipy_new_normal,
    "Binomial": _scipy_new_binomial,
    "ShiftedScaledDistribution": _scipy_shifted,
    "CustomDistribution": _scipy_made,
}
