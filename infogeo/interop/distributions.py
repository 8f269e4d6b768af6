"""Distributions of torch and of scipy as points of infogeo's spaces.

A distribution is read whole or refused: no parameter that moves it is left out. Neither library is
imported here: a distribution of one of them comes with its library. A space declares which of them
are its points (``DISTRIBUTIONS``); what takes more than the names of the parameters is read here.
"""

import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from infogeo import _spaces, logits, multivariate_normal, normal, simplex
from infogeo._array import (
    LOGITS,
    POSITIVE,
    PROBABILITIES,
    REAL,
    Array,
    bad_value,
    gate,
    is_readable,
)
from infogeo._docs import finish
from infogeo._spaces import Foreign
from infogeo.manifolds._family import moved
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal

__all__ = ["from_distribution"]


_Reader = Callable[[Any, bool], "Reading"]


def from_distribution(
    distribution: Any, *, space: Any = None, check: bool = True
) -> Normal | MultivariateNormal | Array:
    """Return the point of infogeo that is the given distribution of torch or scipy.

    Parameters
    ----------
    distribution : torch.distributions.Distribution, or distribution of scipy.stats
        A normal or lognormal one of one or more dimensions, a categorical one, a Bernoulli one, or
        one of a family of `infogeo.manifolds` (whose `infogeo.manifolds.to_distribution` leads
        back). Those of scipy are frozen, or of its newer kind
        (`scipy.stats.Normal`).
    space : module, object, name or None
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
    wanted = None if space is None else _spaces.resolve(space)
    read = reading(distribution, check, wanted)
    if wanted is None:
        wanted = read.space if _spaces.chart_of(read.space) is None else simplex
    return in_space(read, wanted, check).point


@dataclass(frozen=True)
class Reading:
    """What a distribution of another library is here.

    Parameters
    ----------
    space : module or object
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


def is_distribution(value: object) -> bool:
    """Tell whether something is a distribution of torch or scipy, known or not."""
    distributions = sys.modules.get("torch.distributions")
    if distributions is not None and isinstance(value, distributions.Distribution):
        return True  # by its class, or one that was derived from it
    return type(value).__module__.split(".")[:2] == ["scipy", "stats"]


def reading(distribution: Any, check: bool, space: Any = None) -> Reading:
    """Read a distribution in a space that declares it, else in the one that knows most of it."""
    cls: Any
    for cls in type(distribution).__mro__:
        read = _reader("torch.distributions", cls.__name__, space)
        if read is not None and cls.__module__.startswith("torch.distributions."):
            if type(distribution).log_prob is not cls.log_prob:
                raise _refused(distribution, f"Its log_prob is not that of {cls.__name__}.")
            return read(distribution, check)
    cls = type(distribution)
    if cls.__module__.startswith("scipy.stats."):
        name = cls.__name__
        if name in _SCIPY_FROZEN:
            return _SCIPY_FROZEN[name](distribution, check, space)
        read = _reader("scipy.stats", name.removesuffix("_frozen"), space)
        if read is not None:
            return read(distribution, check)
    raise _refused(distribution)


@functools.cache
def _declared(library: str) -> dict[str, tuple[Any, Foreign]]:
    """Return the space of each distribution of a library that one declares, and its parameters."""
    return {
        name: declared
        for space in _spaces.registered().values()
        for name, declared in _declared_by(space, library).items()
    }


def _declared_by(space: Any, library: str) -> dict[str, tuple[Any, Foreign]]:
    return {
        name.removeprefix(f"{library}."): (space, _spaces.foreign(parameters))
        for name, parameters in getattr(space, "DISTRIBUTIONS", {}).items()
        if name.startswith(f"{library}.")
    }


def _reader(library: str, name: str, space: Any) -> _Reader | None:
    """Return what reads a distribution: the space's own names, a function below, or any space's."""
    own = _declared_by(space, library).get(name)
    special = _TORCH if library.startswith("torch") else _SCIPY
    if own is None and name in special:
        return special[name]
    declared = own or _declared(library).get(name)
    return None if declared is None else functools.partial(_by_parameters, *declared)


def _by_parameters(space: Any, parameters: Foreign, distribution: Any, check: bool) -> Reading:
    """Read a distribution that has its parameters as attributes."""
    is_of_logits = "probs" in parameters.names and _is_made_from_logits(distribution)
    values = [getattr(distribution, parameter) for parameter in parameters.names]
    if check and is_of_logits:
        _require_kept(distribution.logits, distribution.probs)
    return _of_values(space, parameters, values, check)


def _of_values(space: Any, parameters: Foreign, values: Iterable[Any], check: bool) -> Reading:
    arrays = (np.asarray(x) if isinstance(x, list | tuple) else x for x in values)
    return Reading(space, space.POINTS(*parameters.to_fields(*arrays), check=check))


def in_space(read: Reading, space: Any, check: bool) -> Reading:
    """Return a reading in another space that has the same distributions."""
    point = read.point
    if space is read.space:
        return read
    if _spaces.chart_of(read.space) is not None and _spaces.chart_of(space) is not None:
        point = _spaces.converted(point, read.space, space, check=check, argument="distribution")
        return replace(read, space=space, point=point)
    if space is joint(read).space:
        return joint(read)
    raise bad_value(
        "space",
        "have this distribution among its points",
        f"it is a point of {_spaces.title_of(read.space)}, got {_spaces.name_of(space)!r}",
    )


def joint(read: Reading) -> Reading:
    """Return the multivariate normals of independent components, and other readings as they are."""
    if not read.num_event_axes:
        return read
    mean, std = read.point.mean, read.point.std
    xp = array_namespace(mean)
    identity = xp.eye(mean.shape[-1], dtype=mean.dtype, device=std.device)
    point = MultivariateNormal(mean, (std * std)[..., None] * identity)
    return Reading(multivariate_normal, point, 0, read.of_logarithms)


def _refused(distribution: Any, reason: str = "") -> TypeError:
    cls = type(distribution)
    of_torch, of_scipy = (_declared(library) for library in ("torch.distributions", "scipy.stats"))
    return TypeError(
        "distribution must be one of these: torch.distributions: "
        f"{', '.join(of_torch)}, Independent(Normal(...), n) and of MultivariateNormal, LogNormal, "
        "Categorical, OneHotCategorical, Bernoulli, Binomial and Multinomial of total_count 1, "
        "Uniform(0, 1); "
        f"scipy.stats, with their parameters: {', '.join(f'{name}(...)' for name in of_scipy)}, "
        "lognorm(...), bernoulli(...), binom(1, ...), multinomial(1, ...), Binomial(n=1, ...), "
        f"make_distribution of these. Got {cls.__module__}.{cls.__qualname__}: {distribution!r}."
        f" {reason or _reason(distribution) or _NO_SPACE}"
    )


_NO_SPACE = (
    "No space of infogeo has its family. infogeo.manifolds.ExponentialFamily makes one from a "
    "log-partition, docs/adding_a_space.md from formulas, and probabilities of the same bins are "
    "points of infogeo.simplex."
)
_MOVES = (
    "Its support moves with its parameters: such families have no Fisher metric. Fix the ends of "
    "the support, or take probabilities of the same bins as points of infogeo.simplex."
)
_MIXED = (
    "A mixture has no closed form. Take infogeo.family.MixtureFamily of what it mixes on a set of "
    "outcomes, or probabilities of the same bins as points of infogeo.simplex."
)
_IS_GAMMA = "has a gamma distribution, and the same distances: pass that."
_ONE_TO_ONE = (
    "A one-to-one function of a variable changes no distance: pass the distribution of the "
    "variable itself, if the function is the same for all."
)
# Why distributions have no point, by their names in torch and in scipy, and the way out.
_REASONS = {
    _MOVES: (
        *("Uniform", "GeneralizedPareto", "TruncatedDistribution", "LogUniform", "uniform"),
        *("randint", "loguniform", "reciprocal", "truncnorm", "truncexpon", "truncpareto"),
        *("truncweibull_min", "genpareto", "genextreme", "genhalflogistic", "tukeylambda"),
        *("kappa4", "jf_skew_t"),
    ),
    _MIXED: ("MixtureSameFamily", "Mixture"),
    _ONE_TO_ONE: ("TransformedDistribution", "MonotonicTransformedDistribution"),
    f"The reciprocal of its variable {_IS_GAMMA}": ("InverseGamma", "invgamma"),
    f"The exponential of its variable {_IS_GAMMA}": ("loggamma",),
    f"The absolute value of its variable {_IS_GAMMA}": ("dgamma",),
    f"The square of its variable {_IS_GAMMA}": ("chi", "nakagami"),
    "Its logits are normal: pass MultivariateNormal of their mean and covariance.": (
        "LogisticNormal",
    ),
}


def _reason(distribution: Any) -> str:
    """Return why a distribution is none of the known ones, if that is known."""
    if not is_distribution(distribution):
        return "Arrays of probabilities and points of infogeo are used as they are."
    if hasattr(distribution, "freeze") or hasattr(distribution, "_frozen"):
        return "It is a family without parameters: call it with some, as norm(0.0, 1.0)."
    family = getattr(distribution, "dist", None) or _made_from(type(distribution))
    name = getattr(family, "name", type(distribution).__name__)
    return next((reason for reason, names in _REASONS.items() if name in names), "")


def _of_probabilities(p: Array, check: bool) -> Reading:
    """Return the reading of probabilities; those of half precision are divided by their sum."""
    xp, wide = gate(check, distribution=(PROBABILITIES, p))
    is_half = wide.dtype != p.dtype
    return Reading(simplex, wide / xp.sum(wide, axis=-1, keepdims=True) if is_half else wide)


def _of_success(p: Array, check: bool) -> Reading:
    """Return the reading of a Bernoulli distribution."""
    xp, p = gate(False, p=(REAL, p))  # in float32, in which 1 - p is exact for halves
    return _of_probabilities(xp.stack([1.0 - p, p], axis=-1), check)


# ---------------------------------------------------------------- torch


def _torch_lognormal(distribution: Any, check: bool) -> Reading:
    return replace(reading(distribution.base_dist, check), of_logarithms=True)


def _torch_independent(distribution: Any, check: bool) -> Reading:
    num_axes = distribution.reinterpreted_batch_ndims
    read = reading(distribution.base_dist, check)
    if num_axes == 0:
        return read
    product = _PRODUCTS.get(_spaces.name_of(read.space))
    if product is not None:
        return product(read, num_axes)
    raise _refused(
        distribution,
        "A product of distributions that are not normal is no point of a space: base_dist is a "
        "batch of its factors, whose squared distances and whose divergences add up.",
    )


def _diagonal(read: Reading, num_axes: int) -> Reading:
    """Read independent univariate normals along batch axes."""
    flat = -(num_axes + read.num_event_axes)
    mean, std = (x.flatten(flat) for x in (read.point.mean, read.point.std))
    return replace(read, point=Normal(mean, std, check=False), num_event_axes=1)


def _block_diagonal(read: Reading, num_axes: int) -> Reading:
    """Read independent multivariate normals along batch axes."""
    point = read.point
    mean = point.mean.flatten(-1 - num_axes)
    cov = point.cov.flatten(-2 - num_axes, -3)
    num_blocks, dim = cov.shape[-3:-1]
    xp = array_namespace(cov)
    identity = xp.eye(num_blocks, dtype=cov.dtype, device=cov.device)
    blocks = cov[..., :, :, None, :] * identity[:, None, :, None]
    cov = blocks.reshape(*mean.shape[:-1], *2 * (num_blocks * dim,))
    return replace(read, point=MultivariateNormal(mean, cov))


_PRODUCTS = {"normal": _diagonal, "multivariate_normal": _block_diagonal}


def _torch_categorical(distribution: Any, check: bool) -> Reading:
    if not _is_made_from_logits(distribution):
        return _of_probabilities(distribution.probs, check)
    _, z = gate(check, distribution=(LOGITS, distribution.logits))
    return Reading(logits, z)


def _torch_one_hot(distribution: Any, check: bool) -> Reading:
    return _torch_categorical(distribution._categorical, check)


def _torch_bernoulli(distribution: Any, check: bool) -> Reading:
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


def _is_made_from_logits(distribution: Any) -> bool:
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


def _require_kept(logit: Array, p: Array) -> None:
    """Refuse probabilities that have become 0 though their logits are finite."""
    if not is_readable(p):
        return
    lost = logit.detach()[(p.detach() == 0.0) & logit.detach().isfinite()]
    if lost.numel():
        raise bad_value(
            "distribution",
            f"have logits whose probabilities are above 0 in {str(p.dtype).rpartition('.')[2]}",
            f"that of the logit {float(lost.min()):g} is rounded to 0",
            "Make it of float64, or of logits that are bounded from below.",
        )


def _torch_of_one_trial(read: _Reader) -> _Reader:
    def read_one(distribution: Any, check: bool) -> Reading:
        if not bool(np.all(np.asarray(distribution.total_count) == 1)):
            several = _declared("torch.distributions").get(type(distribution).__name__)
            if several is not None:
                return _by_parameters(*several, distribution, check)
            raise _refused(
                distribution,
                "With more than one trial the distances are sqrt(total_count) times those of one: "
                "use a distribution of one trial.",
            )
        return read(distribution, check)

    return read_one


def _standard_uniform(low: str, high: str) -> _Reader:
    """Return what reads the uniform distribution on [0, 1], a beta distribution."""

    def read(distribution: Any, check: bool) -> Reading:
        start, end = (getattr(distribution, name) for name in (low, high))
        if not bool((abs(start) + abs(end - 1.0) == 0.0).all()):
            raise _refused(distribution)
        one = start + 1.0
        space = _spaces.resolve("beta")
        return Reading(space, space.POINTS(one, one, check=check))

    return read


_TORCH = {
    "LogNormal": _torch_lognormal,
    "Independent": _torch_independent,
    "Categorical": _torch_categorical,
    "OneHotCategorical": _torch_one_hot,
    "Bernoulli": _torch_bernoulli,
    "Binomial": _torch_of_one_trial(_torch_bernoulli),
    "Multinomial": _torch_of_one_trial(_torch_one_hot),
    "Uniform": _standard_uniform("low", "high"),
}


# ---------------------------------------------------------------- scipy


def _scipy_frozen(distribution: Any, check: bool, space: Any) -> Reading:
    read = _family(distribution, distribution.dist, space)
    shapes = distribution.dist.shapes
    names = [*(shapes.split(", ") if shapes else ()), "loc", "scale"]
    # The parameters that it was given by position or by name.
    given = dict(zip(names, distribution.args, strict=False)) | distribution.kwds
    return read(distribution, {"loc": 0.0, "scale": 1.0} | given, check)


def _family(
    distribution: Any, family: Any, space: Any
) -> Callable[[Any, dict[str, Any], bool], Reading]:
    """Return what reads one of scipy's families from its parameters."""
    own = _declared_by(space, "scipy.stats")
    for name in (*own, *_FAMILIES, *_declared("scipy.stats")):
        usual: Any = getattr(sys.modules["scipy.stats"], name, None)
        # An instance of one's own may have another support.
        is_usual = usual is not None and type(family) is type(usual)
        if is_usual and (family.a, family.b) == (usual.a, usual.b):
            if name in _FAMILIES and name not in own:
                return _FAMILIES[name]
            return functools.partial(
                _scipy_declared, *(own.get(name) or _declared("scipy.stats")[name])
            )
    raise _refused(distribution)


def _scipy_declared(
    space: Any, parameters: Foreign, distribution: Any, given: dict[str, Any], check: bool
) -> Reading:
    neutral = {"loc": 0.0, "scale": 1.0} | dict(parameters.neutral)
    _require_neutral(distribution, given, neutral.keys() - set(parameters.names), neutral)
    return _of_values(space, parameters, (given[name] for name in parameters.names), check)


def _scipy_lognormal(distribution: Any, given: dict[str, Any], check: bool) -> Reading:
    _require_neutral(distribution, given, {"loc"})
    xp, scale = gate(check, scale=(POSITIVE, given["scale"]))
    return Reading(normal, Normal(xp.log(scale), given["s"], check=check), of_logarithms=True)


def _scipy_bernoulli(distribution: Any, given: dict[str, Any], check: bool) -> Reading:
    _require_neutral(distribution, given, {"loc"})
    if np.any(np.asarray(given.get("n", 1)) != 1):
        return _scipy_declared(*_declared("scipy.stats")["binom"], distribution, given, check)
    return _of_success(given["p"], check)


_FAMILIES = {
    "lognorm": _scipy_lognormal,
    "bernoulli": _scipy_bernoulli,
    "binom": _scipy_bernoulli,
}


def _require_neutral(
    distribution: Any,
    given: dict[str, Any],
    names: Iterable[str],
    neutral: Mapping[str, float] = {"loc": 0.0, "scale": 1.0},
) -> None:
    """Raise unless the distribution is neither shifted nor scaled, as far as names say."""
    for name, change in (("loc", "shift"), ("scale", "scale")):
        if name in names and np.any(np.asarray(given[name]) != neutral[name]):
            unless = f" other than {neutral[name]:g}" if name == "loc" and neutral[name] else ""
            raise _refused(
                distribution,
                _reason(distribution)
                or f"Its {name} is {given[name]!r}: a {change}{unless} has no place in the space. "
                "Leave it out where all distributions share it: then it changes no distance.",
            )


def _require_one_trial(distribution: Any, n: Any) -> None:
    if np.any(np.asarray(n) != 1):
        raise _refused(
            distribution,
            "With more than one trial the distances are sqrt(n) times those of one: use a "
            "distribution of one trial.",
        )


def _scipy_multinomial(distribution: Any, check: bool) -> Reading:
    if np.any(np.asarray(distribution.n) != 1):
        return _by_parameters(*_declared("scipy.stats")["multinomial"], distribution, check)
    return _of_probabilities(distribution.p, check)


def _scipy_new_binomial(distribution: Any, check: bool) -> Reading:
    if np.any(np.asarray(distribution.n) != 1):
        return _by_parameters(*_declared("scipy.stats")["Binomial"], distribution, check)
    return _of_success(distribution.p, check)


def _scipy_shifted(distribution: Any, check: bool) -> Reading:
    """Read loc + scale X; a negative scale reflects."""
    read = reading(distribution._dist, check)
    shift, factor = distribution.loc, distribution.scale
    is_multiple = not np.any(np.asarray(shift) != 0.0) and np.all(np.asarray(factor) > 0.0)
    if read.of_logarithms and is_multiple:
        log = np.log(np.asarray(factor))
        return replace(read, point=normal.AFFINE(read.point, log, 1.0, check=check))
    affine = getattr(read.space, "AFFINE", None)
    if affine is not None and not read.of_logarithms:
        return replace(read, point=affine(read.point, shift, factor, check=check))
    if isinstance(getattr(read.space, "POINTS", None), type) and not read.of_logarithms:
        known = moved(read.space, read.point, shift, factor, check)
        if known is not None:
            return Reading(*known)
    raise _refused(
        distribution,
        f"loc {shift!r} and scale {factor!r} are not known for the family of the variable. "
        "Families that have a scale know positive multiples of it, those that have a location "
        f"shifts and reflections too. {_ONE_TO_ONE}",
    )


def _scipy_transformed(distribution: Any, check: bool) -> Reading:
    """Read exp(X) of normals and log(X) of lognormals."""
    read = reading(distribution._dist, check)
    leads_to = {np.exp: True, np.log: False}.get(distribution._g)
    if hasattr(read.space, "LOCATION_SCALE") and leads_to is (not read.of_logarithms):
        return replace(read, of_logarithms=leads_to)
    raise _refused(distribution)


def _scipy_made(distribution: Any, check: bool, space: Any) -> Reading:
    """Read what make_distribution has made of an older family, whose formulas it holds."""
    read = _family(distribution, _made_from(type(distribution)), space)
    given = {name: getattr(distribution, name) for name in distribution._parameters}
    return read(distribution, {"loc": 0.0, "scale": 1.0} | given, check)


def _made_from(cls: type) -> Any:
    """Return the older family whose methods are the formulas of a class, None for others."""
    names = (f"_{kind}_formula" for kind in ("logpdf", "logpmf", "pdf", "pmf"))
    formulas: Iterable[Any] = (getattr(cls, name, None) for name in names)
    return next((x.__self__ for x in formulas if hasattr(x, "__self__")), None)


_SCIPY_FROZEN = {  # which hold an instance of one of scipy's families
    "rv_continuous_frozen": _scipy_frozen,
    "rv_discrete_frozen": _scipy_frozen,
    "CustomDistribution": _scipy_made,
}
_SCIPY = {
    "multinomial": _scipy_multinomial,
    "Binomial": _scipy_new_binomial,
    "ShiftedScaledDistribution": _scipy_shifted,
    "MonotonicTransformedDistribution": _scipy_transformed,
    "Uniform": _standard_uniform("a", "b"),
}


finish(globals())
