"""One distance for everything that infogeo knows: it picks the space by what it is given."""

import sys

from infogeo import logits, multivariate_normal, normal, simplex
from infogeo.interop import frames
from infogeo.interop.distributions import from_distribution
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal

__all__ = ["fisher_rao_distance"]


def fisher_rao_distance(a, b, *, check=True):
    """Fisher-Rao distance between two distributions of any kind that infogeo knows.

    Parameters
    ----------
    a, b : array, Normal, MultivariateNormal, distribution of torch or scipy, or data frame
        Two of one kind. Plain arrays (and lists) are probabilities, shape (..., c). Distributions
        are those of `infogeo.interop.distributions.from_distribution`. Data frames of pandas or
        polars hold probabilities, one class to each column; a series of pandas is one distribution,
        with the classes in its index, for two series or beside every row of a frame. Classes are
        compared by name.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

    Returns
    -------
    array, shape (...)
        In radians of the sphere of radius 2 for probabilities; of the library of the input. With
        data frames a series, with the index of the first.

    Raises
    ------
    TypeError
        Two of different kinds, or something that is none of them; the message lists what is known.
    ValueError
        Values that no distribution has; shapes that do not fit together; frames with different
        classes or rows.

    See Also
    --------
    infogeo.logits.fisher_rao_distance : For logits, which as arrays cannot be told from others.
    infogeo.neighbors.pairwise_distance : All pairs.

    Notes
    -----
    Distributions of torch over several independent normals are taken as the multivariate normals
    that they are, and the distance is that of the family of all normals; inside the family of
    the diagonal ones it is longer: `infogeo.normal.diagonal_fisher_rao_distance`. Categorical
    distributions that torch was given as logits are compared by their logits, which know what the
    probabilities have rounded away.

    Examples
    --------
    >>> import scipy.stats
    >>> from infogeo import fisher_rao_distance
    >>> float(fisher_rao_distance([1.0, 0.0], [0.0, 1.0])) == np.pi
    True
    >>> d = fisher_rao_distance(scipy.stats.norm(0.0, 1.0), scipy.stats.norm(0.0, 2.0))
    >>> bool(np.isclose(d, np.sqrt(2.0) * np.log(2.0), rtol=1e-15))
    True
    """
    if frames.has_names(a) or frames.has_names(b):
        return frames.apply(simplex.fisher_rao_distance, a, b, check=check)
    if _has_logits(a) and _has_logits(b):
        return logits.fisher_rao_distance(a.logits, b.logits, check=check)
    (p, space), (q, other) = (_point_and_space(value, check) for value in (a, b))
    if space is not other:
        raise TypeError(
            "a and b must be distributions of one kind: got "
            f"{_described(a, space)} and {_described(b, other)}. Known are {_KNOWN}."
        )
    return space.fisher_rao_distance(p, q, check=check)


_KNOWN = (
    "two arrays of probabilities, two data frames or series of them, and two categorical, two "
    "Bernoulli, two univariate normal or two multivariate normal distributions of infogeo, "
    "torch.distributions or scipy.stats"
)


def _has_logits(value):
    """Tell whether it is a categorical distribution of torch that was made from logits."""
    distributions = sys.modules.get("torch.distributions")
    if distributions is None or not isinstance(value, distributions.Categorical):
        return False
    given = vars(value)
    return "logits" in given and given.get("_param") is given["logits"]


def _point_and_space(value, check):
    if isinstance(value, Normal):
        return value, normal
    if isinstance(value, MultivariateNormal):
        return value, multivariate_normal
    if not _is_distribution(value):
        return value, simplex  # whose gate says what is wrong with anything but an array
    point = from_distribution(value, check=check)
    if isinstance(point, Normal) and _is_joint(value):
        return _joint(point), multivariate_normal
    if isinstance(point, Normal | MultivariateNormal):
        return _point_and_space(point, check)
    return point, simplex


def _is_distribution(value):
    distributions = sys.modules.get("torch.distributions")
    if distributions is not None and isinstance(value, distributions.Distribution):
        return True  # by its class, or one that was derived from it
    return type(value).__module__.split(".")[:2] == ["scipy", "stats"]


def _is_joint(distribution):
    """Tell whether a distribution of torch is over vectors."""
    return bool(getattr(distribution, "event_shape", ()))


def _joint(independent):
    """Return the multivariate normal of independent components along the last axis."""
    from array_api_compat import array_namespace

    mean, std = independent.mean, independent.std
    xp = array_namespace(mean)
    identity = xp.eye(mean.shape[-1], dtype=mean.dtype, device=std.device)
    return MultivariateNormal(mean, (std * std)[..., None] * identity)


def _described(value, space):
    return f"{type(value).__name__} (of {space.__name__})"
