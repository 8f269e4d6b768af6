"""One distance for everything that infogeo knows: it picks the space by what it is given."""

from typing import Any

from infogeo import _spaces, simplex
from infogeo._docs import finish
from infogeo.interop import frames
from infogeo.interop.distributions import Reading, in_space, is_distribution, joint, reading

__all__ = ["fisher_rao_distance"]


def fisher_rao_distance(a: Any, b: Any, *, check: bool = True) -> Any:
    """Return the Fisher-Rao distance of two distributions of any kind that infogeo knows.

    Parameters
    ----------
    a, b : array, Normal, MultivariateNormal, distribution of torch or scipy, or data frame
        Two of one kind. Plain arrays (and lists) are probabilities, shape (..., c). Distributions
        are those of `infogeo.interop.distributions.from_distribution`. Data frames of pandas or
        polars hold probabilities, one class to each column; a series of pandas is one distribution,
        with the classes in its index, for two series or beside every row of a frame. Classes are
        compared by name.
    check : bool

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
    the diagonal ones it is longer: `infogeo.normal.diagonal_fisher_rao_distance`. Categorical and
    Bernoulli distributions that torch was given as logits are compared by their logits, which know
    what the probabilities have rounded away. The distance of two lognormal distributions is that
    of the normal distributions of the logarithms.

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
    read, other = _reading(a, check), _reading(b, check)
    charts = [_spaces.chart_of(one.space) for one in (read, other)]
    if read.space is not other.space and None not in charts:  # predictions of two kinds
        read, other = (in_space(one, simplex, check) for one in (read, other))
    if (read.space, read.of_logarithms) != (other.space, other.of_logarithms):
        raise TypeError(
            "a and b must be distributions of one kind: got "
            f"{_described(a, read)} and {_described(b, other)}. Known are two arrays of "
            "probabilities, two data frames or series of them, two points of one space "
            f"({', '.join(_spaces.names())}), and two distributions of one kind of "
            "torch.distributions or scipy.stats, as from_distribution reads them."
        )
    return read.space.fisher_rao_distance(read.point, other.point, check=check)


def _reading(value: Any, check: bool) -> Reading:
    space = _spaces.of_point(value)
    if space is not None:
        return Reading(space, value)
    if not is_distribution(value):
        return Reading(simplex, value)  # whose gate says what is wrong with anything but an array
    return joint(reading(value, check))


def _described(value: Any, read: Reading) -> str:
    suffix = ", by its logarithms" if read.of_logarithms else ""
    return f"{type(value).__name__} (of {_spaces.title_of(read.space)}{suffix})"


finish(globals())
